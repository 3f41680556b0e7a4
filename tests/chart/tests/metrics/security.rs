//! Who may read, and by which certificate the server is known.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use herald_chart::Helm;
use herald_lab::{Lab, NAMESPACE, ProxyMode, User, eventually};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::PATIENCE;
use crate::scrape::{scrape, scrape_by};

/// As in the tests of the rights, and a Prometheus that may read.
const VALUES: &str = r"
controller: {webhookMode: disabled, serviceAccount: {name: controller}}
speaker: {serviceAccount: {name: speaker}}
prometheus: {serviceAccount: prometheus, namespace: default, podMonitor: {enabled: true}}
";

/// The kinds of Prometheus' operator are not those of the API server.
const OPERATOR: &str = "monitoring.coreos.com/v1";

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

/// Gives the processes of a lab the chart's rights instead of the lab's, and waits until they may ask
/// who somebody is and what they may.
async fn give_rights(lab: &Lab) -> Result<()> {
    let rendered = Helm::new()?.template_in(NAMESPACE, VALUES)?;
    for object in &rendered.objects {
        if object["apiVersion"] != OPERATOR {
            lab.apply_yaml(&object.to_string()).await?;
        }
    }
    lab.take_rights().await?;
    for user in [User::Controller, User::Speaker] {
        for (group, resource) in [
            ("authentication.k8s.io", "tokenreviews"),
            ("authorization.k8s.io", "subjectaccessreviews"),
        ] {
            let review = ResourceAttributes {
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some("create".to_owned()),
                ..ResourceAttributes::default()
            };
            let what = format!("{user:?} to have the right to create {resource}");
            eventually(PATIENCE, &what, async || {
                Ok(lab.may(user, review.clone()).await?.then_some(()))
            })
            .await?;
        }
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
