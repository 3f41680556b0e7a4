//! What the `ConfigurationState`s say: every rule, healing, who writes and how often.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_api::kinds::{ConfigurationResult, ConfigurationState, ConfigurationStateStatus};
use herald_e2e::objects::{SOON, advertise, events_of, pool, wait_event};
use herald_e2e::rules::{
    self, Case, GOOD, apply, apply_secret, cases, delete, delete_secret, matches,
};
use herald_lab::{Herald, Lab, NAMESPACE, ProxyMode, always, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

/// The garbage collector looks for new kinds every half a minute, and has them all listed then.
const COLLECTED: Duration = Duration::from_mins(3);

const CONTROLLER: &str = "controller";
const SPEAKER: &str = "speaker-n1";

fn states(lab: &Lab) -> Api<ConfigurationState> {
    Api::namespaced(lab.client(), NAMESPACE)
}

async fn status(lab: &Lab, name: &str) -> Result<ConfigurationStateStatus> {
    let state = states(lab).get(name).await?;
    state.status.context("it says nothing yet")
}

/// The lines of a state; its fields agree with each other.
async fn lines(lab: &Lab, name: &str) -> Result<Vec<String>> {
    let status = status(lab, name).await?;
    let kind = if name == CONTROLLER {
        "poolReconcilerValid"
    } else {
        "configReconcilerValid"
    };
    let mut conditions = status.conditions.iter();
    let condition = conditions.find(|condition| condition.type_ == kind);
    let condition = condition.with_context(|| format!("{name} has no {kind}"))?;
    let summary = &status.error_summary;
    ensure!(condition.message == *summary, "{status:?}");
    let said = (condition.status.as_str(), condition.reason.as_str());
    let expected = if summary.is_empty() {
        (ConfigurationResult::Valid, ("True", "Reconciled"))
    } else {
        (
            ConfigurationResult::Invalid,
            ("False", "ConfigurationError"),
        )
    };
    ensure!(
        (status.result, said) == (Some(expected.0), expected.1),
        "{status:?}"
    );
    Ok(summary.lines().map(str::to_owned).collect())
}

/// Waits until a state says exactly this, beside what begins with `but`.
async fn wait_lines(lab: &Lab, name: &str, but: &str, found: &[Vec<String>]) -> Result<()> {
    eventually(SOON, &format!("{name} to say {found:?}"), async || {
        let lines = lines(lab, name).await?;
        let other = lines
            .iter()
            .filter(|line| but.is_empty() || !line.contains(but));
        matches(&other.map(String::as_str).collect::<Vec<_>>(), found)?;
        Ok(Some(()))
    })
    .await
}

/// Waits until controller and speaker have seen all that is stored now of these kinds: they tell of
/// objects of this name that nobody can read.
async fn wait_seen(lab: &Lab, kinds: &[&str], marker: &str) -> Result<()> {
    for kind in kinds {
        apply(lab, kind, marker, json!({ "spec": 7 })).await?;
    }
    for name in [CONTROLLER, SPEAKER] {
        let theirs = kinds
            .iter()
            .filter(|kind| name == SPEAKER || **kind == "IPAddressPool");
        for kind in theirs {
            let begin = format!("{kind} \"{marker}\"");
            eventually(SOON, &format!("{name} to say {begin}"), async || {
                let lines = lines(lab, name).await?;
                let told = lines.iter().any(|line| line.starts_with(&begin));
                Ok(told.then_some(()))
            })
            .await?;
        }
    }
    Ok(())
}

async fn check(lab: &Lab, case: &Case, number: usize) -> Result<()> {
    let kinds = case.kinds();
    case.store(lab, "n1").await?;
    if case.is_about_a_change() {
        wait_seen(lab, &kinds, &format!("marker-{number}-before")).await?;
    }
    case.change(lab).await?;
    wait_seen(lab, &kinds, &format!("marker-{number}")).await?;

    wait_lines(lab, SPEAKER, "\"marker-", &case.found()).await?;
    // The controller says the same of what it reads too.
    eventually(SOON, "the controller to say the same", async || {
        let is_of_pool = |line: &String| line.starts_with("IPAddressPool ");
        let mut speakers = lines(lab, SPEAKER).await?;
        speakers.retain(is_of_pool);
        let controllers = lines(lab, CONTROLLER).await?;
        ensure!(
            controllers == speakers,
            "{controllers:#?} and {speakers:#?}"
        );
        Ok(Some(()))
    })
    .await?;

    // `kubectl describe` of the object says so too.
    for line in lines(lab, SPEAKER).await? {
        if !line.contains("\"marker-") {
            let name = line.split('"').nth(1).context("no name")?;
            // An event has room for 1024 bytes.
            let begin = line.get(..1000).unwrap_or(&line);
            wait_event(lab, name, "InvalidConfiguration", begin).await?;
        }
    }

    // The rest goes on.
    let service = lab.service(&format!("beside-{number}")).create().await?;
    service.wait_addresses(1).await?;
    service.delete().await?;
    case.clear(lab, "n1").await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn every_rule_is_told_of_what_was_stored_unasked_while_the_rest_goes_on() -> Result<()> {
    let lab = Lab::builder().nodes(1).start().await?;
    lab.backends("web", &["n1"]).await?;
    let _herald = lab.start_herald().await?;
    pool(&lab, GOOD, &["192.168.10.0/24"]).await?;
    apply(&lab, "L2Advertisement", GOOD, json!({ "spec": {} })).await?;
    let web = lab.service("web").create().await?;
    let address = web.wait_addresses(1).await?[0];
    rules::loosen(&lab).await?;
    for name in [CONTROLLER, SPEAKER] {
        wait_lines(&lab, name, "", &[]).await?;
    }

    let (mut tried, mut wrong) = (0, 0);
    let mut failures = Vec::new();
    for (number, case) in cases()?.iter().enumerate() {
        if case.cannot_be_stored() {
            continue;
        }
        tried += 1;
        wrong += usize::from(!case.found().is_empty());
        if let Err(failure) = check(&lab, case, number).await {
            failures.push(format!("{}: {failure:#}", case.name));
            case.clear(&lab, "n1").await?;
        }
        lab.ask("client", address, 80)
            .await
            .with_context(|| case.name.clone())?;
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    // None of them is there by chance.
    ensure!(
        tried >= 70 && wrong >= 45,
        "{tried} cases, {wrong} of them wrong"
    );
    for name in [CONTROLLER, SPEAKER] {
        wait_lines(&lab, name, "", &[]).await?;
    }
    lab.down().await
}

/// A line with all these parts.
fn line(parts: &[&str]) -> Vec<Vec<String>> {
    vec![parts.iter().map(|part| (*part).to_owned()).collect()]
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn what_waits_for_a_reference_heals_when_it_comes_and_outlives_its_end() -> Result<()> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    let _herald = lab.start_herald().await?;
    pool(&lab, GOOD, &["192.168.10.0/24"]).await?;
    let peer = |more: serde_json::Value| {
        let mut spec = json!({ "myASN": 65001, "peerASN": 65002, "peerAddress": "192.0.2.1" });
        spec.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        json!({ "spec": spec })
    };
    let cases = [
        (
            (
                "BGPAdvertisement",
                json!({ "spec": { "communities": ["tenant"] } }),
            ),
            (
                "Community",
                "tenants",
                json!({ "spec": {
                "communities": [{ "name": "tenant", "value": "65001:7" }] } }),
            ),
            ["spec.communities", "invalid community format: \"tenant\""],
        ),
        (
            ("BGPPeer", peer(json!({ "bfdProfile": "fast" }))),
            (
                "BFDProfile",
                "fast",
                json!({ "spec": { "receiveInterval": 100 } }),
            ),
            [
                "spec.bfdProfile",
                "peer waits referencing non existing bfd profile fast",
            ],
        ),
        (
            (
                "BGPPeer",
                peer(json!({ "passwordSecret": { "name": "key" } })),
            ),
            (
                "Secret",
                "key",
                json!({ "type": "kubernetes.io/basic-auth",
                "stringData": { "password": "hunter2" } }),
            ),
            ["spec.passwordSecret", "secret ref not found"],
        ),
    ];
    for ((kind, waiting), (of, name, reference), [field, text]) in cases {
        let begin = format!("{kind} \"waits\", field {field}: ");
        apply(&lab, kind, "waits", waiting).await?;
        let told = line(&[
            &begin,
            text,
            "it waits for that, and is not used until then",
        ]);
        wait_lines(&lab, SPEAKER, "", &told).await?;
        store(&lab, of, name, &reference).await?;
        wait_lines(&lab, SPEAKER, "", &[]).await?;
        forget(&lab, of, name).await?;
        let told = line(&[
            &begin,
            text,
            "its last good version stays in use until then",
        ]);
        wait_lines(&lab, SPEAKER, "", &told).await?;
        store(&lab, of, name, &reference).await?;
        wait_lines(&lab, SPEAKER, "", &[]).await?;
        delete(&lab, kind, "waits").await?;
        forget(&lab, of, name).await?;
    }
    let said = lines(&lab, CONTROLLER).await?;
    ensure!(said.is_empty(), "the controller reads none of it: {said:?}");
    lab.down().await
}

async fn store(lab: &Lab, kind: &str, name: &str, raw: &serde_json::Value) -> Result<()> {
    if kind != "Secret" {
        return apply(lab, kind, name, raw.clone()).await;
    }
    apply_secret(lab, name, raw.clone()).await
}

async fn forget(lab: &Lab, kind: &str, name: &str) -> Result<()> {
    if kind != "Secret" {
        return delete(lab, kind, name).await;
    }
    delete_secret(lab, name).await
}

/// Name and UID of the only owner.
fn owner(state: &ConfigurationState) -> Result<(String, String)> {
    let [owner] = state.owner_references() else {
        anyhow::bail!("{} has not one owner", state.name_any());
    };
    ensure!(owner.kind == "Pod");
    Ok((owner.name.clone(), owner.uid.clone()))
}

/// The resource versions of all states.
async fn versions(lab: &Lab) -> Result<Vec<(String, Option<String>)>> {
    let all = states(lab).list(&ListParams::default()).await?;
    let versions = all.iter();
    Ok(versions
        .map(|state| (state.name_any(), state.resource_version()))
        .collect())
}

/// No state is written for a while.
async fn quiet(lab: &Lab) -> Result<()> {
    let before = versions(lab).await?;
    let same = async || Ok(versions(lab).await? == before);
    always(Duration::from_secs(4), "no state is written", same).await
}

/// A lab with two nodes, and the processes on it: two controllers of which the first leads, and the
/// speakers of both nodes.
async fn start_two() -> Result<(Lab, [Herald; 4])> {
    let lab = Lab::builder().nodes(2).proxy(ProxyMode::None);
    let lab = lab.start().await?;
    pool(&lab, GOOD, &["192.168.10.0/24"]).await?;
    advertise(&lab).await?;
    let first = lab.start_controller("first").await?;
    wait_lines(&lab, CONTROLLER, "", &[]).await?;
    let second = lab.start_controller("second").await?;
    let speakers = [
        lab.start_speaker("n1").await?,
        lab.start_speaker("n2").await?,
    ];
    for name in NAMES {
        wait_lines(&lab, name, "", &[]).await?;
    }
    let [n1, n2] = speakers;
    Ok((lab, [first, second, n1, n2]))
}

const SPEAKERS: [&str; 2] = [SPEAKER, "speaker-n2"];
const NAMES: [&str; 3] = [CONTROLLER, SPEAKERS[0], SPEAKERS[1]];

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn each_state_has_one_writer_which_writes_only_what_differs() -> Result<()> {
    let (lab, [_first, _second, _n1, speaker]) = start_two().await?;
    let pods: Api<Pod> = Api::namespaced(lab.client(), NAMESPACE);
    for (name, pod) in NAMES.into_iter().zip(["first", SPEAKER, "speaker-n2"]) {
        let state = states(&lab).get(name).await?;
        let labels = state.labels();
        let parts = name.split_once('-');
        let (component, node) = parts.map_or((name, None), |(c, n)| (c, Some(n)));
        assert_eq!(labels["metallb.io/component-type"], component);
        assert_eq!(labels.get("metallb.io/node-name").map(String::as_str), node);
        let manager = node.map_or("poolReconciler", |_| "configReconciler");
        let of_status = state.managed_fields().iter();
        let of_status: Vec<_> = of_status
            .filter(|entry| entry.subresource.as_deref() == Some("status"))
            .filter_map(|entry| entry.manager.as_deref())
            .collect();
        assert_eq!(of_status, [manager], "{name}");
        let uid = pods.get(pod).await?.uid().context("a Pod has a UID")?;
        assert_eq!(owner(&state)?, (pod.to_owned(), uid));
    }

    // What is no news is not written, nor when a speaker starts again.
    let before = versions(&lab).await?;
    for count in 0..3 {
        let addresses = format!("192.168.{}.0/24", 20 + count);
        pool(&lab, &format!("more-{count}"), &[&addresses]).await?;
        let service = lab.service(&format!("web-{count}")).create().await?;
        service.wait_addresses(1).await?;
    }
    speaker.restart().await?;
    speaker.wait_ready().await?;
    quiet(&lab).await?;
    assert_eq!(versions(&lab).await?, before);

    // What all have to tell they tell in an object each, once.
    pool(&lab, "typo", &["192.168.30.x"]).await?;
    for name in NAMES {
        wait_lines(&lab, name, "", &typo()).await?;
    }
    quiet(&lab).await?;

    // And their event is one, whoever was first, also after a new start.
    let bad = json!({ "spec": { "communities": ["1:65536"] } });
    apply(&lab, "BGPAdvertisement", "bad", bad).await?;
    let text = "invalid section \"65536\"";
    let told = line(&["BGPAdvertisement \"bad\", field spec.communities", text]);
    for name in SPEAKERS {
        wait_lines(&lab, name, "\"typo\"", &told).await?;
    }
    wait_event(&lab, "bad", "InvalidConfiguration", text).await?;
    speaker.restart().await?;
    speaker.wait_ready().await?;
    let one = async || Ok(events_of(&lab, "bad").await?.len() == 1);
    always(Duration::from_secs(4), "there is one event", one).await?;
    lab.down().await
}

fn typo() -> Vec<Vec<String>> {
    let begin = "IPAddressPool \"typo\", field spec.addresses";
    line(&[begin, "192.168.30.x"])
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_state_is_mended_taken_over_and_goes_with_its_pod() -> Result<()> {
    let (lab, [first, second, _n1, speaker]) = start_two().await?;
    pool(&lab, "typo", &["192.168.30.x"]).await?;
    let lie = Patch::Merge(json!({ "status": { "result": "Valid", "errorSummary": "" } }));
    for name in NAMES {
        wait_lines(&lab, name, "", &typo()).await?;
        let parameters = PatchParams::default();
        states(&lab).patch_status(name, &parameters, &lie).await?;
        wait_lines(&lab, name, "", &typo()).await?;
        states(&lab).delete(name, &DeleteParams::default()).await?;
        wait_lines(&lab, name, "", &typo()).await?;
    }

    first.stop().await?;
    eventually(SOON, "the state to be the next leader's", async || {
        let (pod, _) = owner(&states(&lab).get(CONTROLLER).await?)?;
        Ok((pod == "second").then_some(()))
    })
    .await?;
    pool(&lab, "typo", &["192.168.30.0/24"]).await?;
    for name in NAMES {
        wait_lines(&lab, name, "", &[]).await?;
    }

    let pods: Api<Pod> = Api::namespaced(lab.client(), NAMESPACE);
    let gone = [
        (&speaker, "speaker-n2", "speaker-n2"),
        (&second, "second", CONTROLLER),
    ];
    for (process, pod, name) in gone {
        process.stop().await?;
        let now = DeleteParams::default().grace_period(0);
        pods.delete(pod, &now).await?;
        eventually(COLLECTED, &format!("{name} to be gone"), async || {
            Ok(states(&lab).get_opt(name).await?.is_none().then_some(()))
        })
        .await?;
    }
    ensure!(states(&lab).get_opt(SPEAKER).await?.is_some());
    lab.down().await
}
