//! What running processes show to whom.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_chart::{Helm, chart, metrics};
use herald_lab::{Arp, Herald, Lab, Mac, NAMESPACE, ProxyMode, eventually};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};

/// For what is done within seconds, on a machine that has more to do.
const PATIENCE: Duration = Duration::from_mins(2);

/// As in the tests of the rights, and a Prometheus that may read.
const VALUES: &str = r"
controller: {webhookMode: disabled, serviceAccount: {name: controller}}
speaker: {serviceAccount: {name: speaker}}
prometheus: {serviceAccount: prometheus, namespace: default, podMonitor: {enabled: true}}
";

/// The kinds of Prometheus' operator are not those of the API server.
const OPERATOR: &str = "monitoring.coreos.com/v1";

const CONFIGURATION: &str = r"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system}
spec: {addresses: [192.168.10.1-192.168.10.99]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: lan, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: lan, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 65001, peerASN: 65002, peerAddress: 192.168.10.250, bfdProfile: fast}
";

/// What curl gets of `/metrics`: the status, and the body.
async fn scrape(lab: &Lab, part: &str, herald: &Herald, more: &[&str]) -> Result<(u16, String)> {
    scrape_by("https", lab, part, herald, more).await
}

async fn scrape_by(
    scheme: &str,
    lab: &Lab,
    part: &str,
    herald: &Herald,
    more: &[&str],
) -> Result<(u16, String)> {
    let server = format!("localhost:{}", herald.metrics_port);
    let url = format!("{scheme}://{server}/metrics");
    let resolve = format!("{server}:127.0.0.1");
    let curl = [
        "curl",
        "--silent",
        "--show-error",
        "--write-out",
        "%{http_code}",
        "--resolve",
        &resolve,
        &url,
    ];
    let said = lab.exec(part, &[&curl, more].concat()).await?;
    let (body, code) = said.split_at(said.len().saturating_sub(3));
    Ok((code.parse()?, body.to_owned()))
}

/// A token of a service account in `default`.
async fn token(lab: &Lab, account: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::default_namespaced(lab.client());
    let object = serde_json::from_value(json!({"metadata": {"name": account}}))?;
    accounts.create(&PostParams::default(), &object).await?;
    let request = TokenRequest {
        spec: TokenRequestSpec::default(),
        ..TokenRequest::default()
    };
    let params = PostParams::default();
    let answer = accounts.create_token_request(account, &params, &request);
    let status = answer.await?.status.context("no token")?;
    Ok(format!("Authorization: Bearer {}", status.token))
}

/// How often the API server was asked who somebody is.
async fn reviews(lab: &Lab) -> Result<u64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = lab.client().request_text(request).await?;
    let of = |line: &&str| {
        line.starts_with("apiserver_request_total{") && line.contains("resource=\"tokenreviews\"")
    };
    let mut sum = 0;
    for line in text.lines().filter(of) {
        let (_, count) = line.rsplit_once(' ').context("no number")?;
        sum += count.parse::<u64>()?;
    }
    Ok(sum)
}

/// Gives the processes of a lab the chart's rights instead of the lab's.
async fn give_rights(lab: &Lab) -> Result<()> {
    let rendered = Helm::new()?.template_in(NAMESPACE, VALUES)?;
    for object in &rendered.objects {
        if object["apiVersion"] != OPERATOR {
            lab.apply_yaml(&object.to_string()).await?;
        }
    }
    let bindings: Api<ClusterRoleBinding> = Api::all(lab.client());
    for name in ["herald-lab-controller", "herald-lab-speaker"] {
        bindings.delete(name, &DeleteParams::default()).await?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn who_may_read_the_metrics_is_asked_of_the_api_server() -> Result<()> {
    let lab = Lab::builder().nodes(1).proxy(ProxyMode::None);
    let lab = lab.start().await?;
    give_rights(&lab).await?;
    let secure = ("HERALD_METRICS_SECURITY", "authorized");
    let controller = lab.controller("controller")?.env(secure.0, secure.1);
    let controller = controller.start_ready().await?;
    let speaker = lab.speaker("n1")?.env(secure.0, secure.1);
    let speaker = speaker.start_ready().await?;
    let reader = token(&lab, "prometheus").await?;
    let other = token(&lab, "other").await?;
    let forged = reader.clone() + "A";

    let before = reviews(&lab).await?;
    for (part, process) in [("cp", &controller), ("n1", &speaker)] {
        for (headers, expected) in [
            (&["--insecure"][..], 401),
            (&["--insecure", "--header", &forged], 401),
            (&["--insecure", "--header", &other], 403),
        ] {
            let (status, body) = scrape(&lab, part, process, headers).await?;
            assert_eq!(status, expected, "{part} {headers:?}: {body}");
            ensure!(!body.contains("metallb_"), "{body}");
        }
        // The rights may be a moment old in the API server.
        let with = ["--insecure", "--header", &reader];
        let body = eventually(PATIENCE, "a scrape", async || {
            let (status, body) = scrape(&lab, part, process, &with).await?;
            ensure!(status == 200, "{status}: {body}");
            Ok(Some(body))
        });
        let body = body.await?;
        let config = "metallb_k8s_client_config_loaded_bool";
        ensure!(body.contains(config), "{body}");
        for _ in 0..40 {
            let (status, _) = scrape(&lab, part, process, &with).await?;
            assert_eq!(status, 200);
        }
    }
    let asked = reviews(&lab).await? - before;
    ensure!(asked >= 4, "{asked} reviews: who was asked?");
    ensure!(asked < 40, "{asked} reviews for 80 scrapes");
    for process in [&controller, &speaker] {
        ensure!(
            !process.log().contains("accessUnknown"),
            "{}",
            process.log_tail(20)
        );
    }
    speaker.stop().await?;

    controller.stop().await?;
    let plain = lab.controller("controller")?;
    let plain = plain.env(secure.0, "none").start_ready().await?;
    let (status, _) = scrape_by("http", &lab, "cp", &plain, &[]).await?;
    assert_eq!(status, 200);
    lab.down().await
}

fn write_certificate(folder: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(folder.join("tls.key"), made.signing_key.serialize_pem())?;
    fs::write(folder.join("tls.crt"), made.cert.pem())?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_certificate_that_is_renewed_is_presented_without_a_restart() -> Result<()> {
    let lab = Lab::builder().nodes(1).proxy(ProxyMode::None);
    let lab = lab.start().await?;
    let folder = lab.dir().join("metrics-tls");
    fs::create_dir(&folder)?;
    write_certificate(&folder)?;
    let controller = lab.controller("controller")?;
    let flag = format!("--metrics-cert-dir={}", folder.display());
    let controller = controller.arg(flag).start_ready().await?;
    let trusted = lab.dir().join("trusted.crt");
    let trust = ["--cacert", &*trusted.to_string_lossy()];
    fs::copy(folder.join("tls.crt"), &trusted)?;
    assert_eq!(scrape(&lab, "cp", &controller, &trust).await?.0, 200);

    write_certificate(&folder)?;
    fs::copy(folder.join("tls.crt"), &trusted)?;
    eventually(PATIENCE, "the new certificate", async || {
        Ok(scrape(&lab, "cp", &controller, &trust).await.ok())
    })
    .await?;
    // What cannot be used changes nothing.
    fs::write(folder.join("tls.key"), "rubbish")?;
    eventually(PATIENCE, "a warning", async || {
        let log = controller.log();
        Ok(log.contains("certificateFailed").then_some(()))
    })
    .await?;
    assert_eq!(scrape(&lab, "cp", &controller, &trust).await?.0, 200);
    lab.down().await
}

/// What curl gets of `/debug/state`.
async fn state(lab: &Lab, place: &str, port: u16) -> Result<Value> {
    let url = format!("http://127.0.0.1:{port}/debug/state");
    let said = lab
        .exec(place, &["curl", "--silent", "--show-error", "--fail", &url])
        .await?;
    Ok(serde_json::from_str(&said)?)
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn the_state_is_shown_on_loopback_where_it_is_asked_for() -> Result<()> {
    let lab = Lab::builder().nodes(1).proxy(ProxyMode::None);
    let lab = lab.start().await?;
    let controller = lab.controller("controller")?;
    let controller = controller.arg("--debug-bind-address=127.0.0.1:6061");
    let controller = controller.start_ready().await?;
    let speaker = lab.speaker("n1")?;
    let speaker = speaker.arg("--debug-bind-address=127.0.0.1:6062");
    let speaker = speaker.start_ready().await?;
    lab.apply_yaml(CONFIGURATION).await?;
    lab.backends("web", &["n1"]).await?;
    let service = lab.service("web").create().await?;
    eventually(PATIENCE, "an address in the state", async || {
        let addresses = service.addresses().await?;
        let address = addresses.first().context("no address")?.to_string();
        let seen = state(&lab, "cp", 6061).await?;
        let decision = &seen["services"]["default/web"]["decision"];
        ensure!(seen["leader"] == true, "{seen:#}");
        ensure!(decision["addresses"] == json!([address]), "{seen:#}");
        let seen = state(&lab, "n1", 6062).await?;
        let layer2 = &seen["services"]["default/web"]["layer2"];
        ensure!(layer2["announced"] == json!([address]), "{seen:#}");
        ensure!(seen["addresses"][&address]["status"] == "held", "{seen:#}");
        ensure!(seen["group"]["standing"] == "majority", "{seen:#}");
        ensure!(seen["sessions"]["tor"]["state"].is_string(), "{seen:#}");
        Ok(Some(()))
    })
    .await?;
    controller.stop().await?;
    speaker.stop().await?;

    // It is nowhere else, and nowhere if nobody asks for it.
    let open = lab.controller("controller")?;
    let open = open
        .arg("--debug-bind-address=0.0.0.0:6061")
        .start()
        .await?;
    eventually(PATIENCE, "the flag to be refused", async || {
        let log = open.log();
        Ok((!open.is_running() && log.contains("not on loopback")).then_some(()))
    })
    .await?;
    let silent = lab.start_controller("controller").await?;
    ensure!(state(&lab, "cp", 6061).await.is_err());
    silent.stop().await?;
    lab.down().await
}

/// All expressions of the rules and of the dashboard.
fn expressions() -> Result<String> {
    let values = "prometheus: {prometheusRule: {enabled: true}}";
    let rendered = Helm::new()?.template(values)?;
    let rules = rendered.object("PrometheusRule", "herald")?["spec"].clone();
    let text = fs::read_to_string(chart().join("dashboards/herald.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut all = String::new();
    collect(&rules, &mut all);
    collect(&dashboard, &mut all);
    Ok(all)
}

fn collect(value: &Value, all: &mut String) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if key == "expr" => {
                        all.push_str(text);
                        all.push('\n');
                    }
                    _ => collect(value, all),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, all)),
        _ => {}
    }
}

/// The names of the series in a scrape.
fn series(scrape: &str) -> impl Iterator<Item = &str> {
    let lines = scrape.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split(['{', ' ']).next())
}

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn whatever_rules_and_dashboard_name_is_in_a_scrape() -> Result<()> {
    let named = metrics::names(&expressions()?);
    ensure!(named.len() > 20, "{named:?}");
    let lab = Lab::builder().nodes(1).proxy(ProxyMode::None);
    let lab = lab.start().await?;
    let controller = lab.start_controller("controller").await?;
    let speaker = lab.start_speaker("n1").await?;
    lab.apply_yaml(CONFIGURATION).await?;
    lab.backends("web", &["n1"]).await?;
    let service = lab.service("web").create().await?;
    let addresses = eventually(PATIENCE, "an address", async || {
        let addresses = service.addresses().await?;
        Ok((!addresses.is_empty()).then_some(addresses))
    });
    let [IpAddr::V4(address)] = addresses.await?[..] else {
        anyhow::bail!("not one IPv4 address");
    };
    let client = lab.mac("client", "lan0")?;
    let member = lab.node("n1")?.member_address();
    let strange = lab.in_namespace("cp", || UdpSocket::bind("0.0.0.0:0"))??;
    let stolen = Arp {
        operation: 2,
        target_mac: Mac::BROADCAST,
        ..Arp::request(client, address, address)
    };
    eventually(PATIENCE, "all series", async || {
        // Some are there once something has happened: a question, a conflict, a strange datagram.
        lab.owners(address.into()).await?;
        lab.send_frame("client", "lan0", &stolen.to_frame())?;
        strange.send_to(b"strange", (member, 7946))?;
        let mut missing = named.clone();
        for (part, process) in [("cp", &controller), ("n1", &speaker)] {
            let (_, text) = scrape(&lab, part, process, &["--insecure"]).await?;
            for name in series(&text) {
                missing.remove(name);
            }
        }
        ensure!(missing.is_empty(), "no process shows {missing:?}");
        Ok(Some(()))
    })
    .await?;
    lab.down().await
}
