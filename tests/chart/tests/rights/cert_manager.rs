//! A stand-in for cert-manager, and for the kubelet that mounts its Secret.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use herald_lab::{HeraldBuilder, NAMESPACE};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::release::Release;

/// Writes the Secret of the chart's Certificate and the bundle of those who ask for its authority, and
/// has the controller find the Secret in a folder.
pub(crate) async fn mount<'a>(
    release: &Release,
    controller: HeraldBuilder<'a>,
) -> Result<HeraldBuilder<'a>> {
    let certificate = &release.rendered.object("Certificate", "herald-webhook")?["spec"];
    let names: Vec<String> = serde_json::from_value(certificate["dnsNames"].clone())?;
    let name = certificate["secretName"].as_str().context("no Secret")?;
    let (authority, data) = issue(names)?;
    let lab = &release.lab;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "stringData": data,
    });
    lab.apply_yaml(&secret.to_string()).await?;
    inject(release, &authority).await?;

    let folder = lab.dir().join(name);
    fs::create_dir_all(&folder)?;
    let secrets: Api<Secret> = Api::namespaced(lab.client(), NAMESPACE);
    for (file, bytes) in secrets.get(name).await?.data.context("no data")? {
        fs::write(folder.join(file), bytes.0)?;
    }
    Ok(controller.arg(format!("--cert-dir={}", folder.display())))
}

/// An authority, and what a Secret has of a certificate that it signed.
fn issue(names: Vec<String>) -> Result<(String, Value)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let data = json!({
        "ca.crt": authority.pem(),
        "tls.crt": certificate.pem(),
        "tls.key": key.serialize_pem(),
    });
    Ok((authority.pem(), data))
}

/// Has the webhooks trusted that are annotated with the Certificate.
async fn inject(release: &Release, authority: &str) -> Result<()> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(release.lab.client());
    let mut found = api.get("metallb-webhook-configuration").await?;
    let from = found.annotations().get("cert-manager.io/inject-ca-from");
    let certificate = format!("{NAMESPACE}/herald-webhook");
    ensure!(from == Some(&certificate), "nobody asks for it: {from:?}");
    for webhook in found.webhooks.iter_mut().flatten() {
        webhook.client_config.ca_bundle = Some(ByteString(authority.as_bytes().to_vec()));
    }
    let name = found.name_any();
    api.replace(&name, &PostParams::default(), &found).await?;
    Ok(())
}
