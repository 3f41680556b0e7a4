//! One node, and only one, answers for an address, and the cluster shows which.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use herald_e2e::layer2::{
    self, elected, names, owner, sample, wait_nobody, wait_owner, wait_status,
};
use herald_e2e::objects::{SOON, events_of, metrics, wait_event};
use herald_lab::{Lab, ProxyMode, always, eventually};
use serde_json::json;

/// Requests from a part until every backend has answered.
async fn reaches_all(lab: &Lab, part: &str, address: IpAddr, pods: usize) -> Result<()> {
    let mut heard = BTreeSet::new();
    eventually(
        SOON,
        &format!("{address} to lead {part} to {pods} backends"),
        async || {
            heard.insert(lab.ask(part, address, 80).await?.pod);
            Ok((heard.len() == pods).then_some(()))
        },
    )
    .await
}

async fn serves(proxy: ProxyMode) -> Result<()> {
    let lab = layer2::start(Lab::builder().proxy(proxy)).await?;
    let pods = lab.backends("web", &["n1", "n2"]).await?.len();
    let builder = |name| lab.service(name).selector("app", "web");
    let (four, six, both) = tokio::try_join!(
        builder("four").create(),
        builder("six").ipv6().create(),
        builder("both").dual_stack().create(),
    )?;
    for (service, count) in [(&four, 1), (&six, 1), (&both, 2)] {
        let addresses = service.wait_addresses(count).await?;
        // All addresses of a Service are the same node's: the one elected for the first.
        let node = elected(addresses[0], &names(&lab));
        for &address in &addresses {
            wait_owner(&lab, address, &node).await?;
            for part in ["client", "remote"] {
                reaches_all(&lab, part, address, pods).await?;
            }
        }
        wait_status(&lab, &service.name, &node).await?;
    }
    let addresses = both.addresses().await?;
    both.delete().await?;
    for address in addresses {
        wait_nobody(&lab, address).await?;
    }
    // The others are none the worse for it.
    for service in [four, six] {
        let address = service.wait_addresses(1).await?[0];
        wait_owner(&lab, address, &elected(address, &names(&lab))).await?;
    }
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn one_mac_answers_and_clients_reach_every_backend_with_nftables() -> Result<()> {
    serves(ProxyMode::Nftables).await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn one_mac_answers_and_clients_reach_every_backend_with_iptables() -> Result<()> {
    serves(ProxyMode::Iptables).await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn statuses_events_and_metrics_tell_who_announces() -> Result<()> {
    let lab = Lab::builder()
        .nodes(2)
        .proxy(ProxyMode::None)
        .start()
        .await?;
    herald_e2e::objects::pool(&lab, "lan", &["192.168.10.1-192.168.10.99"]).await?;
    layer2::advertise_with(&lab, "all", json!({"interfaces": ["lan0"]})).await?;
    lab.start_controller("controller").await?;
    let speakers = [
        lab.start_speaker("n1").await?,
        lab.start_speaker("n2").await?,
    ];

    let pods = lab.backends("web", &["n1", "n2"]).await?;
    let web = lab.service("web").create().await?;
    let address = web.wait_addresses(1).await?[0];
    let node = owner(&lab, address).await?;
    let status = wait_status(&lab, "web", &node).await?;
    ensure!(status.service_namespace == "default", "{status:?}");
    let interfaces: Vec<&str> = status.interfaces.iter().map(|i| i.name.as_str()).collect();
    ensure!(interfaces == ["lan0"], "{status:?}");
    let text = wait_event(&lab, "web", "nodeAssigned", &format!("{node:?}")).await?;
    ensure!(text.contains("\"layer2\""), "{text}");

    // What the wire counts. The first questions may have come before the owner did.
    wait_owner(&lab, address, &node).await?;
    let speaker = |name: &str| usize::from(name == "n2");
    let announced = |node: &str| {
        format!(
            "metallb_speaker_announced{{service=\"default/web\",protocol=\"layer2\",\
             node=\"{node}\",ip=\"{address}\"}}"
        )
    };
    let counter = |what: &str| format!("metallb_layer2_{what}{{ip=\"{address}\"}}");
    eventually(SOON, "the owner's metrics", async || {
        let text = metrics(&lab, &node, &speakers[speaker(&node)]).await?;
        ensure!(sample(&text, &announced(&node)) == Some(1.0), "{text}");
        let value = |what| sample(&text, &counter(what)).unwrap_or(0.0);
        let (asked, answered) = (value("requests_received"), value("responses_sent"));
        // Each round of the announcement is two frames.
        let told = value("gratuitous_sent");
        ensure!(
            asked >= 2.0 && asked <= answered && told >= 2.0 && told % 2.0 == 0.0,
            "{text}"
        );
        Ok(Some(()))
    })
    .await?;
    let other = if node == "n1" { "n2" } else { "n1" };
    let text = metrics(&lab, other, &speakers[speaker(other)]).await?;
    ensure!(!text.contains("default/web"), "{text}");

    // Endpoints come and go, the owner stays: that is no news.
    let before = web.get().await?.metadata.resource_version;
    for pod in &pods {
        pod.set_ready(false).await?;
        wait_ready_endpoints(&lab, 1).await?;
        pod.set_ready(true).await?;
        wait_ready_endpoints(&lab, 2).await?;
    }
    wait_owner(&lab, address, &node).await?;
    let assigned = async || {
        let all = events_of(&lab, "web").await?.into_iter();
        let all = all.filter(|event| event.reason.as_deref() == Some("nodeAssigned"));
        Ok(all
            .map(|event| event.count.unwrap_or(1).max(1))
            .sum::<i32>()
            == 1)
    };
    always(
        Duration::from_secs(1),
        "nodeAssigned was told once",
        assigned,
    )
    .await?;
    ensure!(
        web.get().await?.metadata.resource_version == before,
        "the Service was written"
    );

    // No endpoint, no announcement.
    for pod in &pods {
        pod.set_ready(false).await?;
    }
    wait_nobody(&lab, address).await?;
    pods[0].set_ready(true).await?;
    wait_owner(&lab, address, &node).await?;

    web.delete().await?;
    wait_nobody(&lab, address).await?;
    eventually(SOON, "no status and no series to be left", async || {
        let left = layer2::statuses(&lab, "web").await?;
        ensure!(left.is_empty(), "{left:?}");
        let text = metrics(&lab, &node, &speakers[speaker(&node)]).await?;
        ensure!(!text.contains("default/web"), "{text}");
        Ok(Some(()))
    })
    .await?;
    lab.down().await
}

/// Waits until the `EndpointSlice`s of `web` show so many ready endpoints.
async fn wait_ready_endpoints(lab: &Lab, count: usize) -> Result<()> {
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    let api = kube::Api::<EndpointSlice>::namespaced(lab.client(), "default");
    let of_web = kube::api::ListParams::default().labels("kubernetes.io/service-name=web");
    eventually(SOON, &format!("{count} ready endpoints"), async || {
        let slices = api.list(&of_web).await?.items.into_iter();
        let endpoints = slices.flat_map(|slice| slice.endpoints);
        let ready = endpoints
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(true))
            .count();
        Ok((ready == count).then_some(()))
    })
    .await
}
