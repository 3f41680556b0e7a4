//! The rights are enough and all of use in every mode that has others: each is run, and what the API
//! server was asked is compared with what the chart gives.

use anyhow::{Result, ensure};
use herald_chart::Helm;
use herald_lab::{Lab, NAMESPACE, User};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;

use crate::release::{CONTROLLER, Release, SPEAKER};
use crate::{VALUES, cert_manager, deeds, granted, pods, webhooks};

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn rights_are_enough_and_all_of_use() -> Result<()> {
    let release = Release::install(VALUES).await?;
    let lab = &release.lab;
    let controller = release.controller()?.start_ready().await?;
    let speaker = release.speaker()?.start_ready().await?;
    herald_e2e::webhooks::lead(lab).await?;
    deeds::configure(lab).await?;
    webhooks::answer(lab).await?;
    deeds::the_key_is_made(lab).await?;
    deeds::ask_for_metrics(lab, "cp", &controller).await?;
    deeds::ask_for_metrics(lab, "n1", &speaker).await?;
    deeds::a_service_comes_and_goes(lab).await?;
    webhooks::mend_certificates(lab).await?;
    deeds::lease_goes_with_deployment(lab, "herald-controller").await?;
    release
        .check(&[(&controller, CONTROLLER), (&speaker, SPEAKER)])
        .await?;
    others_are_denied(lab).await?;
    pods::meet_their_standards(lab, &release.rendered).await?;
    release.lab.down().await
}

/// All that takes rights away at once, and leaves allocation and announcement.
const LEAST: &str = r"
prometheus: {security: tls}
controller: {webhookMode: disabled, serviceAccount: {name: controller}}
speaker: {memberlist: {enabled: false}, serviceAccount: {name: speaker}}
";

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn rights_are_enough_without_webhooks_group_and_readers_of_metrics() -> Result<()> {
    let release = Release::install(LEAST).await?;
    let lab = &release.lab;
    let controller = release.controller()?.start_ready().await?;
    let speaker = release.speaker()?.start_ready().await?;
    deeds::configure(lab).await?;
    deeds::a_service_comes_and_goes(lab).await?;
    release
        .check(&[(&controller, CONTROLLER), (&speaker, SPEAKER)])
        .await?;
    release.lab.down().await
}

const OF_CERT_MANAGER: &str = r"
controller: {certManager: {enabled: true}, serviceAccount: {name: controller}}
speaker: {serviceAccount: {name: speaker}}
";

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn rights_are_enough_with_a_certificate_of_cert_manager() -> Result<()> {
    let release = Release::install(OF_CERT_MANAGER).await?;
    let lab = &release.lab;
    let controller = cert_manager::mount(&release, release.controller()?).await?;
    let controller = controller.start_ready().await?;
    let speaker = release.speaker()?.start_ready().await?;
    herald_e2e::webhooks::lead(lab).await?;
    deeds::configure(lab).await?;
    webhooks::answer(lab).await?;
    deeds::ask_for_metrics(lab, "cp", &controller).await?;
    deeds::ask_for_metrics(lab, "n1", &speaker).await?;
    deeds::the_key_is_made(lab).await?;
    deeds::a_service_comes_and_goes(lab).await?;
    release
        .check(&[(&controller, CONTROLLER), (&speaker, SPEAKER)])
        .await?;
    release.lab.down().await
}

/// Where others allocate.
const ONLY_WEBHOOKS: &str = r"
controller: {webhookMode: onlywebhook, serviceAccount: {name: controller}}
speaker: {enabled: false}
";

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn a_controller_that_only_serves_webhooks_has_the_rights_for_that() -> Result<()> {
    let release = Release::install(ONLY_WEBHOOKS).await?;
    let lab = &release.lab;
    let controller = release.controller()?.start_ready().await?;
    herald_e2e::webhooks::lead(lab).await?;
    deeds::configure(lab).await?;
    webhooks::answer(lab).await?;
    deeds::ask_for_metrics(lab, "cp", &controller).await?;
    webhooks::mend_certificates(lab).await?;
    deeds::lease_goes_with_deployment(lab, "herald-webhook").await?;
    release.check(&[(&controller, CONTROLLER)]).await?;
    release.lab.down().await
}

/// The same with the certificate of somebody else, before and after that conversions are taken back.
fn only_webhooks_of_cert_manager(conversion: bool) -> String {
    format!(
        "controller: {{webhookMode: onlywebhook, webhookConversion: {conversion}, \
         certManager: {{enabled: true}}, serviceAccount: {{name: controller}}}}\n\
         speaker: {{enabled: false}}\n\
         prometheus: {{security: none}}\n"
    )
}

#[tokio::test]
#[ignore = "needs root, the lab and Helm: run by make test"]
async fn a_controller_that_only_serves_webhooks_needs_less_with_cert_manager() -> Result<()> {
    let mut release = Release::install(&only_webhooks_of_cert_manager(true)).await?;
    let controller = cert_manager::mount(&release, release.controller()?).await?;
    let controller = controller.start_ready().await?;
    herald_e2e::webhooks::lead(&release.lab).await?;
    deeds::configure(&release.lab).await?;
    webhooks::answer(&release.lab).await?;
    release.check(&[(&controller, CONTROLLER)]).await?;

    // What it has applied it needs the same rights for to take back.
    let before = granted::rights(&release.rendered, "controller");
    release.rendered =
        Helm::new()?.template_in(NAMESPACE, &only_webhooks_of_cert_manager(false))?;
    assert_eq!(granted::rights(&release.rendered, "controller"), before);
    let controller = cert_manager::mount(&release, release.controller()?).await?;
    let controller = controller.start_ready().await?;
    webhooks::conversion_is_taken_back(&release.lab).await?;
    release.check(&[(&controller, CONTROLLER)]).await?;
    release.lab.down().await
}

/// What the chart does not give is forbidden, and written down.
async fn others_are_denied(lab: &Lab) -> Result<()> {
    let client = lab.client_of(User::Speaker)?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    secrets.list(&ListParams::default()).await?;
    let mine = serde_json::from_value(json!({"metadata": {"name": "mine"}}))?;
    let made = secrets.create(&PostParams::default(), &mine).await;
    ensure!(matches!(made, Err(kube::Error::Api(status)) if status.code == 403));
    let elsewhere: Api<Secret> = Api::namespaced(client, "default");
    let listed = elsewhere.list(&ListParams::default()).await;
    ensure!(matches!(listed, Err(kube::Error::Api(status)) if status.code == 403));
    let denied = granted::denied(&lab.requests(User::Speaker)?);
    assert_eq!(denied.len(), 2, "{denied:?}");
    Ok(())
}
