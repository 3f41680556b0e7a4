//! Which nodes take part: selectors, preferences, labels, conditions, sharing, classes.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::net::IpAddr;

use anyhow::{Result, ensure};
use herald_e2e::layer2::{
    self, address_of, advertise_with, elected, names, wait_nobody, wait_owner, wait_status,
};
use herald_e2e::objects::{SOON, ip};
use herald_lab::{Lab, Network, ProxyMode, eventually};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// Labels a node; `null` takes a label away.
async fn label(lab: &Lab, node: &str, labels: Value) -> Result<()> {
    let api: Api<Node> = Api::all(lab.client());
    let patch = json!({"metadata": {"labels": labels}});
    api.patch(node, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

async fn reaches(lab: &Lab, address: IpAddr, port: u16) -> Result<()> {
    let what = format!("an answer from {address} port {port}");
    eventually(SOON, &what, async || {
        Ok(Some(lab.ask("client", address, port).await?))
    })
    .await?;
    Ok(())
}

const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn nodes_are_chosen_by_selectors_preferences_labels_and_conditions() -> Result<()> {
    let lab = layer2::start(Lab::builder().proxy(ProxyMode::None)).await?;
    let all = names(&lab);
    lab.backends("web", &["n1"]).await?;
    let address = address_of("n3", &all, 0);
    let web = lab
        .service("web")
        .annotation("metallb.io/loadBalancerIPs", &address.to_string())
        .create()
        .await?;
    wait_owner(&lab, address, "n3").await?;

    // A node that says it wants no external traffic, or that has no network.
    let rest = elected(address, &["n1", "n2"]);
    label(&lab, "n3", json!({EXCLUDE: ""})).await?;
    wait_owner(&lab, address, &rest).await?;
    wait_status(&lab, "web", &rest).await?;
    label(&lab, "n3", json!({EXCLUDE: null})).await?;
    wait_owner(&lab, address, "n3").await?;
    lab.set_node_condition("n3", "NetworkUnavailable", true)
        .await?;
    wait_owner(&lab, address, &rest).await?;
    lab.set_node_condition("n3", "NetworkUnavailable", false)
        .await?;
    wait_owner(&lab, address, "n3").await?;
    wait_status(&lab, "web", "n3").await?;

    // The advertisement's nodes, by labels that come and go.
    label(&lab, "n1", json!({"rack": "a"})).await?;
    let spec = json!({"nodeSelectors": [{"matchLabels": {"rack": "a"}}]});
    advertise_with(&lab, "all", spec).await?;
    wait_owner(&lab, address, "n1").await?;
    label(&lab, "n1", json!({"rack": null})).await?;
    wait_nobody(&lab, address).await?;
    label(&lab, "n2", json!({"rack": "a"})).await?;
    wait_owner(&lab, address, "n2").await?;

    // Preferences add up, and no preference excludes.
    let preference = |weight: u8, rack: &str| json!({"weight": weight, "preference": {"matchLabels": {"rack": rack}}});
    label(&lab, "n1", json!({"rack": "b"})).await?;
    let spec = json!({"preferredNodeSelectors": [
        preference(10, "a"), preference(6, "b"), preference(6, "b"),
    ]});
    advertise_with(&lab, "all", spec).await?;
    wait_owner(&lab, address, "n1").await?;
    label(&lab, "n1", json!({"rack": null})).await?;
    wait_owner(&lab, address, "n2").await?;
    label(&lab, "n2", json!({"rack": null})).await?;
    wait_owner(&lab, address, "n3").await?;

    // The advertisement's Services.
    let spec = json!({"serviceSelectors": [{"matchLabels": {"tier": "front"}}]});
    advertise_with(&lab, "all", spec).await?;
    wait_nobody(&lab, address).await?;
    web.patch(json!({"metadata": {"labels": {"tier": "front"}}}))
        .await?;
    wait_owner(&lab, address, "n3").await?;

    // Another pool's.
    advertise_with(&lab, "all", json!({"ipAddressPools": ["other"]})).await?;
    wait_nobody(&lab, address).await?;
    advertise_with(&lab, "all", json!({"ipAddressPools": ["other", "lan"]})).await?;
    wait_owner(&lab, address, "n3").await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn only_nodes_that_have_the_interface_take_part() -> Result<()> {
    let lab = layer2::start(Lab::builder().proxy(ProxyMode::None)).await?;
    let second = Network::Other("lan2".into());
    lab.backends("web", &["n1", "n2", "n3"]).await?;
    // Without lan1 it would be n3's.
    let address = address_of("n3", &names(&lab), 0);
    let IpAddr::V4(four) = address else {
        unreachable!("the pool's addresses are IPv4")
    };
    let web = lab
        .service("web")
        .annotation(
            "metallb.io/loadBalancerIPs",
            &format!("{address},fd10::a:7"),
        )
        .dual_stack()
        .create()
        .await?;
    wait_owner(&lab, address, "n3").await?;
    lab.add_interface("client", "lan1", &second, None).await?;
    advertise_with(&lab, "all", json!({"interfaces": ["lan1"]})).await?;
    wait_nobody(&lab, address).await?;

    // The first node that has it is the owner, there and not on lan0.
    let owners = async |macs: &[herald_lab::Mac]| {
        eventually(SOON, &format!("{macs:?} to answer on lan1"), async || {
            let found = lab.arp_probe("client", "lan1", four).await?;
            ensure!(found == macs, "{found:?} answer");
            Ok(Some(()))
        })
        .await
    };
    lab.add_interface("n2", "lan1", &second, None).await?;
    owners(&[lab.mac("n2", "lan1")?]).await?;
    let status = wait_status(&lab, "web", "n2").await?;
    let interfaces: Vec<&str> = status.interfaces.iter().map(|i| i.name.as_str()).collect();
    ensure!(interfaces == ["lan1"], "{status:?}");
    ensure!(
        lab.owners(address).await?.is_empty(),
        "lan0 is not advertised on"
    );
    ensure!(
        lab.owners(ip("fd10::a:7")).await?.is_empty(),
        "lan0 is not advertised on"
    );

    // A second one: the election decides between these two.
    lab.add_interface("n1", "lan1", &second, None).await?;
    let node = elected(address, &["n1", "n2"]);
    owners(&[lab.mac(&node, "lan1")?]).await?;
    wait_status(&lab, "web", &node).await?;

    // The owner loses the interface.
    lab.delete_interface(&node, "lan1").await?;
    let other = if node == "n1" { "n2" } else { "n1" };
    owners(&[lab.mac(other, "lan1")?]).await?;
    wait_status(&lab, "web", other).await?;
    web.delete().await?;
    owners(&[]).await?;
    lab.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn services_that_share_an_address_have_one_owner() -> Result<()> {
    let lab = layer2::start(Lab::builder()).await?;
    lab.backends("web", &["n1", "n2"]).await?;
    let shared = |name, port| {
        let service = lab.service(name).selector("app", "web").port(port);
        service.annotation("metallb.io/allow-shared-ip", "one")
    };
    let one = shared("one", 80).create().await?;
    let address = one.wait_addresses(1).await?[0];
    let two = shared("two", 8081).create().await?;
    ensure!(two.wait_addresses(1).await? == [address]);
    wait_owner(&lab, address, &elected(address, &names(&lab))).await?;
    reaches(&lab, address, 80).await?;
    reaches(&lab, address, 8081).await?;

    // With a Service whose endpoints are gone the other goes on.
    two.patch(json!({"spec": {"selector": {"app": "nothing"}}}))
        .await?;
    one.delete().await?;
    wait_nobody(&lab, address).await?;
    two.patch(json!({"spec": {"selector": {"app": "web"}}}))
        .await?;
    wait_owner(&lab, address, &elected(address, &names(&lab))).await?;
    two.delete().await?;
    wait_nobody(&lab, address).await?;

    // Local: both have the same pods, so both have the same owner.
    let one = shared("one", 80).local().create().await?;
    let address = one.wait_addresses(1).await?[0];
    let two = shared("two", 8081).local().create().await?;
    ensure!(two.wait_addresses(1).await? == [address]);
    let node = elected(address, &["n1", "n2"]);
    wait_owner(&lab, address, &node).await?;
    for port in [80, 8081] {
        reaches(&lab, address, port).await?;
        ensure!(lab.ask("client", address, port).await?.node == node);
    }
    // An advertisement that picks Services would split what is shared: nobody announces.
    let spec = json!({"serviceSelectors": [{"matchExpressions": [
        {"key": "tier", "operator": "DoesNotExist"},
    ]}]});
    advertise_with(&lab, "all", spec).await?;
    wait_nobody(&lab, address).await?;
    lab.down().await
}
