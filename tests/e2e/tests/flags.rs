//! The speaker's flags: class, exclude label, exclude file, refresh.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use herald_e2e::layer2::{advertise_with, wait_nobody, wait_owner};
use herald_e2e::objects::{ip, pool};
use herald_lab::{Arp, Herald, Lab, ProxyMode, Service, always, eventually};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// A Service whose address a test writes: without a controller the status says what is announced.
async fn service(lab: &Lab, name: &str, class: Option<&str>, address: IpAddr) -> Result<Service> {
    let mut service = lab.service(name).selector("app", "web");
    if let Some(class) = class {
        service = service.class(class);
    }
    let service = service.create().await?;
    service.set_addresses(&[address]).await?;
    Ok(service)
}

/// Stops the speaker of `n1` and starts it with these arguments.
async fn restarted(lab: &Lab, speaker: &Herald, arguments: &[&str]) -> Result<Herald> {
    speaker.stop().await?;
    let mut builder = lab.speaker("n1")?;
    for argument in arguments {
        builder = builder.arg(argument);
    }
    builder.start_ready().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_speaker_does_as_its_flags_say() -> Result<()> {
    let lab = Lab::builder()
        .nodes(1)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    pool(&lab, "lan", &["192.168.10.1-192.168.10.99"]).await?;
    advertise_with(&lab, "all", json!({})).await?;
    lab.backends("web", &["n1"]).await?;
    let addresses = [ip("192.168.10.1"), ip("192.168.10.2"), ip("192.168.10.3")];
    service(&lab, "plain", None, addresses[0]).await?;
    let ours = service(&lab, "ours", Some("example.com/ours"), addresses[1]).await?;
    service(&lab, "other", Some("example.com/other"), addresses[2]).await?;

    // Without --lb-class those without a class, with it those of exactly that one.
    let only = async |which: usize| {
        wait_owner(&lab, addresses[which], "n1").await?;
        let others = async || {
            for (i, address) in addresses.into_iter().enumerate() {
                if i != which && !lab.owners(address).await?.is_empty() {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        always(Duration::from_secs(1), "one class is announced", others).await
    };
    let speaker = lab.start_speaker("n1").await?;
    only(0).await?;
    let speaker = restarted(&lab, &speaker, &["--lb-class=example.com/ours"]).await?;
    only(1).await?;
    let written = ours.addresses().await?;
    ensure!(written == [addresses[1]], "{written:?}");

    // A node that is excluded announces if told to.
    let nodes: Api<Node> = Api::all(lab.client());
    let label = json!({"metadata": {"labels": {
        "node.kubernetes.io/exclude-from-external-load-balancers": "true",
    }}});
    nodes
        .patch("n1", &PatchParams::default(), &Patch::Merge(label))
        .await?;
    wait_nobody(&lab, addresses[1]).await?;
    let file = lab.dir().join("excludel2.yaml");
    let exclude = |patterns: &str| {
        let text = format!("announcedInterfacesToExclude: [{patterns}]\n");
        fs::write(&file, text)
    };
    exclude("'^mgmt'")?;
    let arguments = [
        "--ignore-exclude-lb",
        &format!("--l2-exclude-file={}", file.display()),
        "--gratuitous-arp-interval=1s",
    ];
    let capture = lab.capture("client", "lan0")?;
    let speaker = restarted(&lab, &speaker, &arguments).await?;
    wait_owner(&lab, addresses[0], "n1").await?;

    // After its rounds an address is announced again and again.
    let rounds = async || {
        let news = capture.find(|frame| {
            Arp::parse(&frame.bytes)
                .filter(|arp| arp.operation == 1 && IpAddr::from(arp.sender) == addresses[0])
        });
        // Seven rounds in the first eight seconds, then one a second.
        ensure!(news.len() >= 10, "{} announcements", news.len());
        Ok(Some(()))
    };
    eventually(Duration::from_secs(20), "announcements that go on", rounds).await?;

    // The exclude file is read again when it changes; one that cannot be read changes nothing.
    exclude("'^lan[0-9]$'")?;
    wait_nobody(&lab, addresses[0]).await?;
    exclude("'^mgmt'")?;
    wait_owner(&lab, addresses[0], "n1").await?;
    exclude("'(['")?;
    let stays = async || Ok(lab.owner_nodes(addresses[0]).await? == ["n1"]);
    always(Duration::from_secs(3), "a bad file changes nothing", stays).await?;
    let log = speaker.log();
    let told = log
        .lines()
        .any(|line| line.contains("excludel2.yaml") && line.contains("(["));
    ensure!(
        told,
        "the bad file was not reported: {}",
        speaker.log_tail(20)
    );
    lab.down().await
}
