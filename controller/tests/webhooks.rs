//! The webhooks of a controller, called by a real API server.

#![allow(
    clippy::tests_outside_test_module,
    reason = "an integration test is a test module"
)]

mod support;
mod webhooks_support;

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use support::{ControlPlane, NAMESPACE, eventually};
use webhooks_support::{CONFIGURATION, Case, Hooks, objects_path};

const SOON: Duration = Duration::from_secs(30);

/// Not a test of its own: the other tests run this program again as a controller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the other tests as a process of its own"]
async fn controller_process() {
    support::be_controller().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn every_rule_is_kept_by_the_api_server() {
    let hooks = Hooks::start().await;
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!(
        "../../crates/api/src/config/admission/cases.yaml"
    ))
    .expect("valid cases");
    let (mut by_webhook, mut by_schema, mut allowed) = (0, 0, 0);
    for case in &cases {
        // What cannot be stored cannot be changed.
        if case.needs_more_than_the_api() || !hooks.store(case).await {
            hooks.clear().await;
            continue;
        }
        let answer = hooks.change(case).await;
        let text = format!("{}: {answer:#?}", case.name);
        if answer.status == 422 && !case.errors.is_empty() {
            // The schema was first.
            by_schema += 1;
        } else if case.errors.is_empty() {
            assert!(answer.succeeded(), "{text}");
            allowed += 1;
            assert_eq!(answer.warnings.len(), case.warnings.len(), "{text}");
            for (warning, parts) in answer.warnings.iter().zip(&case.warnings) {
                assert!(parts.iter().all(|part| warning.contains(part)), "{text}");
            }
        } else {
            assert_eq!(answer.status, 403, "{text}");
            assert!(answer.message.contains("denied the request"), "{text}");
            let parts = case.errors.iter().flatten();
            for part in parts {
                assert!(answer.message.contains(part), "{part:?} is missing: {text}");
            }
            by_webhook += 1;
        }
        hooks.clear().await;
    }
    // None of the three is there by chance.
    assert!(by_webhook >= 30, "{by_webhook} of {}", cases.len());
    assert!(allowed >= 20, "{allowed} of {}", cases.len());
    assert!(by_schema <= 10, "{by_schema} of {}", cases.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn a_peer_is_the_same_in_both_versions() {
    let hooks = Hooks::start().await;
    let old = |name: &str| format!("{}/{name}", objects_path("v1beta1", NAMESPACE, "bgppeers"));
    let new = |name: &str| format!("{}/{name}", objects_path("v1beta2", NAMESPACE, "bgppeers"));

    let peer = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer", "metadata": { "name": "old" },
        "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1",
                  "nodeSelectors": [{ "matchLabels": { "rack": "a" } }] },
    });
    let path = objects_path("v1beta1", NAMESPACE, "bgppeers");
    let made = hooks.request(Method::POST, &path, Some(&peer)).await;
    assert!(made.succeeded(), "{made:?}");
    let read = hooks.request(Method::GET, &new("old"), None).await.object();
    assert_eq!(read["spec"]["peerPort"], 179, "{read}");
    assert_eq!(read["spec"]["holdTime"], Value::Null, "{read}");
    assert_eq!(read["spec"]["nodeSelectors"], peer["spec"]["nodeSelectors"]);

    // One of the old version is judged by the rules of the new one.
    let mut bad = peer.clone();
    bad["metadata"]["name"] = json!("bad");
    bad["spec"]["myASN"] = json!(0);
    let refused = hooks.request(Method::POST, &path, Some(&bad)).await;
    assert!(refused.message.contains("missing local ASN"), "{refused:?}");

    let peer = json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": { "name": "new" },
        "spec": { "myASN": 1, "dynamicASN": "external", "interface": "eth0", "vrf": "red",
                  "connectTime": "10s", "passwordSecret": { "name": "s" } },
    });
    let path = objects_path("v1beta2", NAMESPACE, "bgppeers");
    let made = hooks.request(Method::POST, &path, Some(&peer)).await;
    assert!(made.succeeded(), "{made:?}");
    let mut read = hooks.request(Method::GET, &old("new"), None).await.object();
    assert_eq!(read["spec"]["vrf"], Value::Null, "{read}");
    read["spec"]["bfdProfile"] = json!("fast");
    let written = hooks.request(Method::PUT, &old("new"), Some(&read)).await;
    assert!(written.succeeded(), "{written:?}");
    let read = hooks.request(Method::GET, &new("new"), None).await.object();
    for field in [
        "dynamicASN",
        "interface",
        "vrf",
        "connectTime",
        "passwordSecret",
    ] {
        assert_eq!(read["spec"][field], peer["spec"][field], "{field}: {read}");
    }
    assert_eq!(read["spec"]["bfdProfile"], "fast");
    assert_eq!(read["metadata"]["annotations"], Value::Null, "{read}");
    let path = objects_path("v1beta1", NAMESPACE, "bgppeers");
    let list = hooks.request(Method::GET, &path, None).await.object();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");
}

/// A node, the pool `p` and Services with the addresses that they ask for.
async fn serve(hooks: &Hooks, addresses: &[(&str, &str)]) {
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" } });
    let made = hooks
        .request(Method::POST, "/api/v1/nodes", Some(&node))
        .await;
    assert!(made.succeeded(), "{made:?}");
    let pool = json!({ "addresses": ["192.0.2.0/28"] });
    hooks.make("IPAddressPool", "p", &pool).await;
    let services = Api::<Service>::namespaced(hooks.plane.client.clone(), "default");
    for (name, address) in addresses {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }],
                      "loadBalancerIP": address, "allocateLoadBalancerNodePorts": false },
        });
        let service = serde_json::from_value(service).expect("a Service");
        services
            .create(&PostParams::default(), &service)
            .await
            .expect("created");
        eventually("the Service has its address", SOON, async || {
            let service = services.get(name).await.expect("there");
            let status = service.status.and_then(|status| status.load_balancer);
            status.is_some_and(|status| status.ingress.is_some_and(|all| !all.is_empty()))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn an_edit_that_takes_addresses_has_to_be_confirmed() {
    let hooks = Hooks::start().await;
    serve(&hooks, &[("web", "192.0.2.9"), ("api", "192.0.2.3")]).await;
    let pool = format!("{}/p", objects_path("v1beta1", NAMESPACE, "ipaddresspools"));
    let edit = async |changes: Value| hooks.patch(&pool, &changes).await;

    let smaller = json!({ "spec": { "addresses": ["192.0.2.0/29"] } });
    let refused = edit(smaller.clone()).await;
    let one = "this takes the address from the Service default/web (192.0.2.9)";
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.message.contains(one), "{refused:?}");
    let way = "set the annotation herald.io/allow-address-loss: \"true\" on the IPAddressPool";
    assert!(refused.message.contains(way), "{refused:?}");
    let larger = edit(json!({ "spec": { "addresses": ["192.0.2.0/27"] } })).await;
    assert!(
        larger.succeeded() && larger.warnings.is_empty(),
        "{larger:?}"
    );
    let both = "from 2 Services: default/api (192.0.2.3), default/web (192.0.2.9)";
    let deleted = hooks.request(Method::DELETE, &pool, None).await;
    assert_eq!(deleted.status, 403, "{deleted:?}");
    assert!(deleted.message.contains(both), "{deleted:?}");
    // Nobody may use it any more: that takes all.
    let narrow = json!({ "spec": { "serviceAllocation": { "namespaces": ["other"] } } });
    let refused = edit(narrow).await;
    assert!(refused.message.contains(both), "{refused:?}");

    let confirm =
        json!({ "metadata": { "annotations": { "herald.io/allow-address-loss": "true" } } });
    let confirmed = edit(confirm).await;
    assert!(
        confirmed.succeeded() && confirmed.warnings.is_empty(),
        "{confirmed:?}"
    );
    let done = edit(smaller).await;
    assert!(done.succeeded(), "{done:?}");
    assert!(done.warnings[0].contains(one), "{done:?}");
    let done = hooks.request(Method::DELETE, &pool, None).await;
    assert!(done.succeeded(), "{done:?}");
    assert!(done.warnings[0].contains("default/api"), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn an_edit_that_leaves_services_without_an_announcer_is_warned_of() {
    let hooks = Hooks::start().await;
    let (web, api) = (("web", "192.0.2.9"), ("api", "192.0.2.3"));
    serve(&hooks, &[web, api]).await;
    let both = "2 Services: default/api (192.0.2.3), default/web (192.0.2.9) with no announcer";
    let elsewhere = json!({ "spec": { "nodeSelectors": [{ "matchLabels": { "rack": "z" } }] } });
    let warned = |answer: &webhooks_support::Answer, text: &str| {
        assert!(answer.succeeded(), "{answer:?}");
        let told = answer.warnings.first().map(String::as_str);
        assert!(told.unwrap_or_default().contains(text), "{answer:?}");
    };

    let layer2 = hooks.make("L2Advertisement", "l2", &json!({})).await;
    let of_web = json!({ "metadata": { "labels": { "app": "web" } } });
    let service = "/api/v1/namespaces/default/services/web";
    assert!(hooks.patch(service, &of_web).await.succeeded());
    let only_web = json!({ "spec": { "serviceSelectors": [{ "matchLabels": { "app": "web" } }] } });
    let left = "the Service default/api (192.0.2.3) with no announcer";
    let dry = |path: &str| format!("{path}?dryRun=All");
    warned(&hooks.patch(&dry(&layer2), &only_web).await, left);
    warned(&hooks.patch(&dry(&layer2), &elsewhere).await, both);
    let gone = hooks.request(Method::DELETE, &dry(&layer2), None).await;
    warned(&gone, both);

    // With BGP beside it nothing is lost; without it the peer counts as much as the advertisement.
    let bgp = hooks.make("BGPAdvertisement", "bgp", &json!({})).await;
    let router = json!({ "myASN": 65001, "peerASN": 65002, "peerAddress": "192.0.2.1" });
    let peer = hooks.make("BGPPeer", "tor", &router).await;
    let gone = hooks.request(Method::DELETE, &layer2, None).await;
    assert!(gone.succeeded() && gone.warnings.is_empty(), "{gone:?}");
    for path in [&bgp, &peer] {
        warned(&hooks.patch(&dry(path), &elsewhere).await, both);
        let gone = hooks.request(Method::DELETE, &dry(path), None).await;
        warned(&gone, both);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn a_certificate_is_changed_without_a_gap_and_without_a_fight() {
    let hooks = Hooks::start().await;
    let client = hooks.plane.client.clone();
    let secrets = Api::<Secret>::namespaced(client.clone(), NAMESPACE);
    let configurations = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let bundle = async || {
        let configuration = configurations.get(CONFIGURATION).await.expect("there");
        let webhooks = configuration.webhooks.unwrap_or_default();
        let first = webhooks.into_iter().next().expect("one");
        let bundle = first.client_config.ca_bundle.expect("one").0;
        String::from_utf8(bundle).expect("PEM")
    };
    let authorities = |bundle: &str| bundle.matches("BEGIN CERTIFICATE").count();
    assert_eq!(authorities(&bundle().await), 1);

    // Somebody applies the configuration anew, as Argo CD and Helm do: no conflict, no loss.
    let before = configurations.get(CONFIGURATION).await.expect("there");
    let again = Patch::Apply(hooks.configuration());
    let again = configurations
        .patch(CONFIGURATION, &PatchParams::apply("gitops"), &again)
        .await;
    let again = again.expect("no conflict");
    assert_eq!(before.webhooks, again.webhooks);
    let managers = again.managed_fields();
    let ours = managers
        .iter()
        .find(|entry| entry.manager.as_deref() == Some("herald-webhook-certificate"));
    let fields = serde_json::to_string(&ours.expect("ours").fields_v1).expect("JSON");
    assert!(
        fields.contains("f:caBundle") && !fields.contains("f:rules"),
        "{fields}"
    );

    // Time passes: the state says when what is due.
    let state = async || {
        let secret = secrets.get("metallb-webhook-cert").await.expect("there");
        let data = secret.data.expect("data");
        serde_json::from_slice::<Value>(&data["state.json"].0).expect("JSON")
    };
    let set = async |pointer: &str, value: Value| {
        let mut secret = secrets.get("metallb-webhook-cert").await.expect("there");
        let mut state = state().await;
        *state.pointer_mut(pointer).expect("there") = value;
        let data: BTreeMap<_, _> = [(
            "state.json".to_owned(),
            ByteString(state.to_string().into()),
        )]
        .into();
        secret.data.get_or_insert_default().extend(data);
        secrets
            .replace("metallb-webhook-cert", &PostParams::default(), &secret)
            .await
            .expect("nobody else writes");
    };
    let path = format!(
        "{}?dryRun=All",
        objects_path("v1beta1", NAMESPACE, "ipaddresspools")
    );
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": { "name": "p" },
        "spec": { "addresses": ["192.0.2.0/28"] },
    });
    let served = async |what: &str, condition: &dyn Fn(&Value, &str) -> bool| {
        eventually(what, SOON, async || {
            // A webhook that is not trusted would refuse it.
            let made = hooks.request(Method::POST, &path, Some(&pool)).await;
            assert!(made.succeeded(), "{what}: {made:?}");
            condition(&state().await, &bundle().await)
        })
        .await
    };
    let long_ago = json!("2020-01-01T00:00:00Z");
    let first = state().await["serving"]["certificate"].clone();
    set("/serving/renew", long_ago.clone()).await;
    served("both authorities are trusted", &|state, bundle| {
        // Since when is counted from what was found, so a moment later.
        !state["coming"][1].is_null() && authorities(bundle) == 2
    })
    .await;
    assert_eq!(state().await["serving"]["certificate"], first, "not yet");
    set("/coming/1", long_ago.clone()).await;
    served("the new one is presented", &|state, bundle| {
        state["serving"]["certificate"] != first && authorities(bundle) == 2
    })
    .await;
    set("/retired/1", long_ago).await;
    served("the old authority is gone", &|state, bundle| {
        state["retired"].is_null() && authorities(bundle) == 1
    })
    .await;
    // Long enough for the process to have read it and the API server to connect anew.
    tokio::time::sleep(Duration::from_secs(12)).await;
    served("it goes on", &|_, _| true).await;

    let crds = Api::<CustomResourceDefinition>::all(client);
    let crd = crds.get("bgppeers.metallb.io").await.expect("there");
    let webhook = crd
        .spec
        .conversion
        .and_then(|conversion| conversion.webhook);
    let trusted = webhook.and_then(|webhook| webhook.client_config?.ca_bundle);
    assert_eq!(trusted.expect("injected").0, bundle().await.into_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn of_two_replicas_both_answer_with_one_certificate() {
    let hooks = Hooks::start().await;
    let secrets = Api::<Secret>::namespaced(hooks.plane.client.clone(), NAMESPACE);
    let version = async || {
        let secret = secrets.get("metallb-webhook-cert").await.expect("there");
        secret.resource_version()
    };
    let before = version().await;
    // The same certificate from a directory, as of a mounted Secret, and from the Secret itself.
    let secret = secrets.get("metallb-webhook-cert").await.expect("there");
    let directory = tempfile::tempdir().expect("a directory");
    let data = secret.data.expect("data");
    for key in ["tls.crt", "tls.key"] {
        std::fs::write(directory.path().join(key), &data[key].0).expect("written");
    }
    let directory = directory.path().display().to_string();
    for flags in [
        vec![("HERALD_WEBHOOK_MODE", "enabled")],
        vec![
            ("HERALD_WEBHOOK_MODE", "onlywebhook"),
            ("HERALD_DISABLE_CERT_ROTATION", "true"),
            ("HERALD_CERT_DIR", directory.as_str()),
        ],
    ] {
        let (_second, port) = hooks.second(&flags);
        hooks.point_at(port).await;
        eventually("the other replica is asked", SOON, async || {
            let bad = json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                "metadata": { "name": "p" }, "spec": { "addresses": [] },
            });
            let path = objects_path("v1beta1", NAMESPACE, "ipaddresspools");
            let refused = hooks.request(Method::POST, &path, Some(&bad)).await;
            refused.message.contains("pool has no prefixes defined")
        })
        .await;
    }
    assert_eq!(
        version().await,
        before,
        "only the leader writes, and only what changes"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn requests_that_are_as_bad_as_they_may_be_take_bounded_memory() {
    const LARGEST: usize = 16 << 20;
    let hooks = Hooks::start().await;
    let before = hooks.controller.peak();
    let conversion = |object: &str| {
        let head = "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"ConversionReview\",\
                    \"request\":{\"uid\":\"u\",\"desiredAPIVersion\":\"metallb.io/v1beta2\",\"objects\":[";
        let count = (LARGEST - 1000) / (object.len() + 1);
        let mut body = head.as_bytes().to_vec();
        for number in 0..count {
            let comma = if number == 0 { "" } else { "," };
            body.extend_from_slice(comma.as_bytes());
            body.extend_from_slice(object.as_bytes());
        }
        body.extend_from_slice(b"]}}");
        body
    };
    // As many values as may be, each as costly as can be.
    let small = "{\"\":0},".repeat(20_000);
    let one = format!(
        "{{\"kind\":\"BGPPeer\",\"apiVersion\":\"metallb.io/v1beta1\",\"spec\":{{\"a\":[{small}0]}}}}"
    );
    let admission = format!(
        "{{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{{\"uid\":\
         \"u\",\"operation\":\"UPDATE\",\"kind\":{{\"group\":\"metallb.io\",\"kind\":\"IPAddressPool\"}},\
         \"object\":{one},\"oldObject\":{{\"metadata\":{{\"managedFields\":[{}0]}}}}}}}}",
        "{\"fieldsV1\":{\"\":0}},".repeat(10_000)
    );
    let bodies = [
        ("/convert", conversion("{}")),
        (
            "/convert",
            conversion("{\"kind\":\"BGPPeer\",\"apiVersion\":\"metallb.io/v1beta1\"}"),
        ),
        ("/convert", conversion(&one)),
        (
            "/validate-metallb-io-v1beta1-ipaddresspool",
            admission.into_bytes(),
        ),
    ];
    // Each of them several times, at one time.
    let all = bodies.iter().cycle().take(12);
    let answers = all.map(|(path, body)| hooks.send(path, body));
    let answers = futures::future::join_all(answers).await;
    let answered = answers.iter().filter(|text| text.starts_with("HTTP/1.1 "));
    assert!(answered.count() > 0);
    hooks.send("/convert", &bodies[1].1).await;
    let taken = (hooks.controller.peak() - before) / 1024;
    assert!(taken < 250, "{taken} MiB");

    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": { "name": "p" },
        "spec": { "addresses": ["192.0.2.0/28"] },
    });
    let path = objects_path("v1beta1", NAMESPACE, "ipaddresspools");
    let made = hooks.request(Method::POST, &path, Some(&pool)).await;
    assert!(made.succeeded(), "it answers on: {made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the test control plane: run by make test"]
async fn peers_are_converted_by_us_where_nobody_else_does_it_and_only_while_we_are_to() {
    let plane = ControlPlane::start().await;
    let crds = Api::<CustomResourceDefinition>::all(plane.client.clone());
    let get = async || crds.get("bgppeers.metallb.io").await.expect("there");
    let service = async || {
        let webhook = get().await.spec.conversion?.webhook?;
        let client = webhook.client_config?;
        let service = client.service?;
        client.ca_bundle.map(|_| (service.namespace, service.name))
    };
    let ours = Some((NAMESPACE.to_owned(), "metallb-webhook-service".to_owned()));
    let start = |conversion: &str| {
        let port = support::free_port().to_string();
        plane.controller_with(
            "one",
            &[
                ("HERALD_WEBHOOK_PORT", port.as_str()),
                ("HERALD_WEBHOOK_CONVERSION", conversion),
            ],
        )
    };
    let controller = start("true");
    eventually("the conversion is ours", SOON, async || {
        service().await == ours
    })
    .await;

    // The definition is applied anew, as Helm, Argo CD and Flux do, without a word about it.
    let mut applied = herald_api::crd::all()
        .into_iter()
        .find(|crd| crd.name_any() == "bgppeers.metallb.io")
        .expect("one of ours");
    applied.metadata.managed_fields = None;
    let before = get().await.spec.conversion;
    for _ in 0..2 {
        let params = PatchParams::apply("gitops");
        let patched = crds
            .patch("bgppeers.metallb.io", &params, &Patch::Apply(&applied))
            .await;
        assert_eq!(patched.expect("no conflict").spec.conversion, before);
    }
    // Somebody takes it away; nothing is written while it is right.
    let none = json!({ "spec": { "conversion": { "strategy": "None", "webhook": null } } });
    let params = PatchParams::default();
    let none = Patch::Merge(&none);
    let patched = crds.patch("bgppeers.metallb.io", &params, &none).await;
    patched.expect("valid");
    eventually("it is ours again", SOON, async || service().await == ours).await;
    let version = get().await.resource_version();
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(get().await.resource_version(), version);

    // Another one starts that is to leave it alone.
    controller.terminate();
    let controller = start("false");
    eventually("it is taken back", SOON, async || {
        let conversion = get().await.spec.conversion;
        conversion.is_none_or(|conversion| conversion.strategy == "None")
    })
    .await;

    // And what somebody else has said stays.
    controller.terminate();
    let other = json!({ "spec": { "conversion": { "strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"],
        "clientConfig": { "service": { "namespace": "other", "name": "other", "path": "/c" } },
    }}}});
    let other = Patch::Merge(&other);
    let patched = crds.patch("bgppeers.metallb.io", &params, &other).await;
    let version = patched.expect("valid").resource_version();
    let _controller = start("true");
    eventually("the controller is at work", SOON, async || {
        plane.log("one").contains("certificateLoaded")
    })
    .await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(get().await.resource_version(), version);
}
