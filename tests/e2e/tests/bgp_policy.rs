//! What routers see of advertisements: communities, preferences, aggregates, weights, selectors. No
//! change of these, nor of any number of Services, touches a session.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use herald_e2e::bgp::{BIRD, Fabric, NODES, OWN_AS, advertisement, annotated, object, peer};
use herald_e2e::bgp::{to_bird, with};
use herald_e2e::layer2::elected;
use herald_e2e::objects::{SOON, delete_pool, ip, pool, pools};
use herald_interop::{Family, Prefix};
use herald_lab::{Lab, LabBuilder, NAMESPACE, ProxyMode, Service, always, eventually};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

fn lab() -> LabBuilder {
    // What is forwarded is another file's.
    Lab::builder().proxy(ProxyMode::None)
}

/// A Service with backends on all nodes at this address of the pool `bgp`.
async fn service(lab: &Lab, name: &str, address: &str) -> Result<Service> {
    let service = lab.service(name).selector("app", "web").dual_stack();
    let service = service.annotation("metallb.io/loadBalancerIPs", address);
    service.create().await
}

async fn label_node(lab: &Lab, node: &str, labels: Value) -> Result<()> {
    let nodes: Api<Node> = Api::all(lab.client());
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    nodes.patch(node, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn delete(lab: &Lab, version: &str, kind: &str, name: &str) -> Result<()> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("metallb.io", version, kind));
    let api: Api<DynamicObject> = Api::namespaced_with(lab.client(), NAMESPACE, &kind);
    api.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

fn hosts(n: u8) -> [IpAddr; 2] {
    [
        IpAddr::from([10, 50, 0, n]),
        IpAddr::from([0xfd50, 0, 0, 0, 0, 0, 0, u16::from(n)]),
    ]
}

fn both(n: u8) -> String {
    hosts(n).map(|address| address.to_string()).join(",")
}

/// The aggregates around the addresses of this number.
fn aggregates(n: u8) -> Result<[Prefix; 2]> {
    Ok([
        format!("10.50.0.{n}/26").parse()?,
        format!("fd50::{n:x}/122").parse()?,
    ])
}

/// Communities of every kind and by every kind of name, preference, MED, a longer path.
async fn attributes(fabric: &Fabric) -> Result<()> {
    let names = json!({"communities": [{"name": "rack", "value": "65001:7"}]});
    fabric
        .apply(&object("v1beta1", "Community", "names", names))
        .await?;
    let communities = [
        "65001:100",
        "large:65001:1:2",
        "rack",
        "no-export",
        "rt:65001:9",
    ];
    let say = |preference: u32| {
        let spec = json!({
            "ipAddressPools": ["bgp"], "localPref": preference, "communities": communities,
        });
        let annotations = json!({"herald.io/bgp-med": "7", "herald.io/bgp-as-path-prepend": "2"});
        annotated(advertisement("all", spec), annotations)
    };
    fabric.apply(&say(150)).await?;
    for address in hosts(1) {
        let prefix = Prefix::host(address);
        for node in NODES {
            let path = fabric.bird.wait_path(prefix, node, "a preference", |path| {
                path.local_pref == Some(150) && path.med == Some(7)
            });
            let path = path.await?;
            // A longer one would be a loop in the own autonomous system.
            ensure!(path.as_path.is_empty(), "{path:?}");
            for community in ["65001:100", "65001:7", "65535:65281"] {
                ensure!(path.communities.iter().any(|c| c == community), "{path:?}");
            }
            ensure!(path.large == ["65001:1:2"], "{path:?}");
            ensure!(path.extended.iter().any(|c| c == "rt:65001:9"), "{path:?}");
            // In another autonomous system nothing is heard of preferences.
            let path = fabric.frr.wait_path(prefix, node, "a longer path", |path| {
                path.as_path == [OWN_AS; 3] && path.med == Some(7)
            });
            let path = path.await?;
            ensure!(path.local_pref.is_none_or(|value| value != 150), "{path:?}");
            ensure!(path.large == ["65001:1:2"], "{path:?}");
        }
    }
    fabric.apply(&say(90)).await?;
    let names = json!({"communities": [{"name": "rack", "value": "65001:8"}]});
    fabric
        .apply(&object("v1beta1", "Community", "names", names))
        .await?;
    for address in hosts(1) {
        let path = fabric
            .bird
            .wait_path(Prefix::host(address), "n3", "the change", |path| {
                path.local_pref == Some(90) && path.communities.contains(&"65001:8".to_owned())
            });
        path.await?;
    }
    Ok(())
}

/// Who announces, and to whom.
async fn selection(fabric: &Fabric) -> Result<()> {
    let lab = &fabric.lab;
    // To one peer alone, from one node alone.
    let narrow = json!({
        "ipAddressPools": ["bgp"], "peers": ["frr", "nobody"],
        "nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "n2"}}],
    });
    fabric.apply(&advertisement("all", narrow)).await?;
    for address in hosts(1) {
        fabric
            .frr
            .wait_nodes(Prefix::host(address), &["n2"])
            .await?;
        fabric.bird.wait_nodes(Prefix::host(address), &[]).await?;
    }
    // As many nodes as it says; another takes the place of one that may not.
    let few = annotated(
        advertisement("all", json!({"ipAddressPools": ["bgp"]})),
        json!({"herald.io/bgp-max-nodes": "2"}),
    );
    fabric.apply(&few).await?;
    // Those that come first in the order of layer 2.
    let first = elected(hosts(1)[0], &NODES);
    let others: Vec<&str> = NODES.into_iter().filter(|node| *node != first).collect();
    let mut two = [first, elected(hosts(1)[0], &others)];
    two.sort_unstable();
    let wanted: Vec<&str> = two.iter().map(String::as_str).collect();
    fabric.wait_nodes(&hosts(1), &wanted).await?;
    let third = NODES.into_iter().find(|node| !wanted.contains(node));
    let exclude = "node.kubernetes.io/exclude-from-external-load-balancers";
    label_node(lab, &two[0], json!({exclude: ""})).await?;
    let mut now = vec![two[1].as_str()];
    now.extend(third);
    now.sort_unstable();
    fabric.wait_nodes(&hosts(1), &now).await?;
    label_node(lab, &two[0], json!({exclude: null})).await?;
    fabric.wait_nodes(&hosts(1), &wanted).await?;
    Ok(())
}

/// Aggregates are there as long as one of their members is served.
async fn aggregation(fabric: &Fabric, first: Service) -> Result<()> {
    let lab = &fabric.lab;
    let lengths = json!({
        "ipAddressPools": ["bgp"], "aggregationLength": 26, "aggregationLengthV6": 122,
    });
    fabric.apply(&advertisement("all", lengths)).await?;
    let second = service(lab, "second", &both(2)).await?;
    service(lab, "third", &both(66)).await?;
    for prefix in [aggregates(0)?, aggregates(64)?].concat() {
        for tor in fabric.tors() {
            tor.wait_nodes(prefix, &NODES).await?;
        }
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        eventually(SOON, "nothing but the aggregates", async || {
            let routes = fabric.frr.ask(move |router| router.routes(family)).await?;
            ensure!(routes.len() == 2 * NODES.len(), "{routes:?}");
            Ok(Some(()))
        })
        .await?;
    }
    first.delete().await?;
    let there = always(
        Duration::from_millis(500),
        "one member is left",
        async || Ok(fabric.bird.nodes(aggregates(0)?[0]).await?.len() == 3),
    );
    there.await?;
    second.delete().await?;
    for prefix in aggregates(0)? {
        for tor in fabric.tors() {
            tor.wait_nodes(prefix, &[]).await?;
        }
    }
    Ok(())
}

/// Another pool, which goes again while a Service has an address of it.
async fn pool_and_advertisement(fabric: &Fabric) -> Result<()> {
    let lab = &fabric.lab;
    pool(lab, "more", &["10.51.0.1-10.51.0.9"]).await?;
    let more = lab.service("more").selector("app", "web");
    let more = more
        .annotation("metallb.io/address-pool", "more")
        .create()
        .await?;
    let address = more.wait_addresses(1).await?;
    fabric
        .apply(&advertisement("more", json!({"ipAddressPools": ["more"]})))
        .await?;
    fabric.wait_nodes(&address, &NODES).await?;
    delete(lab, "v1beta1", "BGPAdvertisement", "more").await?;
    fabric.wait_nodes(&address, &[]).await?;
    fabric
        .apply(&advertisement("more", json!({"ipAddressPools": ["more"]})))
        .await?;
    fabric.wait_nodes(&address, &NODES).await?;
    delete_pool(lab, "more").await?;
    ensure!(pools(lab).list(&ListParams::default()).await?.items.len() == 1);
    fabric.wait_nodes(&address, &[]).await?;
    Ok(())
}

/// A peer for some nodes: the others lose their sessions.
async fn peers_for_some(fabric: &Fabric) -> Result<()> {
    let lab = &fabric.lab;
    for (name, address) in ["bird-v4", "bird-v6"].into_iter().zip(BIRD) {
        let some = json!({"nodeSelectors": [{"matchLabels": {"rack": "b"}}]});
        fabric
            .apply(&peer(name, with(to_bird(address), some)))
            .await?;
    }
    fabric.bird.wait_sessions(&[]).await?;
    label_node(lab, "n3", json!({"rack": "b"})).await?;
    fabric.bird.wait_sessions(&["n3"]).await?;
    fabric.bird.wait_nodes(aggregates(64)?[0], &["n3"]).await?;
    label_node(lab, "n3", json!({"rack": null})).await?;
    fabric.bird.wait_sessions(&[]).await?;
    fabric.bird.wait_nodes(aggregates(64)?[0], &[]).await?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn routers_see_what_advertisements_say_and_keep_their_sessions() -> Result<()> {
    let fabric = Fabric::start(lab()).await?;
    fabric.lab.backends("web", &NODES).await?;
    fabric.peers(json!({}), json!({})).await?;
    let first = service(&fabric.lab, "web", &both(1)).await?;
    fabric.wait_nodes(&hosts(1), &NODES).await?;
    let sessions = fabric.sessions().await?;
    attributes(&fabric).await?;
    selection(&fabric).await?;
    aggregation(&fabric, first).await?;
    pool_and_advertisement(&fabric).await?;
    fabric.same_sessions(&sessions, "policy").await?;
    peers_for_some(&fabric).await?;
    let [frr, _] = &sessions;
    fabric.frr.same_sessions(frr, "other peers").await?;
    fabric.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn routers_weight_nodes_by_their_endpoints() -> Result<()> {
    let fabric = Fabric::start(lab()).await?;
    let lab = &fabric.lab;
    let pods = lab.backends("web", &["n1", "n2", "n2", "n2"]).await?;
    fabric.peers(json!({}), json!({})).await?;
    let weighted = annotated(
        advertisement("all", json!({"ipAddressPools": ["bgp"]})),
        json!({"herald.io/bgp-link-bandwidth": "true"}),
    );
    fabric.apply(&weighted).await?;
    let web = lab.service("web").local().create().await?;
    let prefix = Prefix::host(web.wait_addresses(1).await?[0]);
    let shares = |wanted: (u32, u32)| {
        let frr = &fabric.frr;
        async move {
            // A weight that has changed stays for five seconds.
            eventually(SOON, "FRR's weights", async || {
                let spread = frr.spread(prefix).await?;
                let [(_, one), (_, two)] = spread.as_slice() else {
                    anyhow::bail!("{spread:?}");
                };
                let paths = frr.paths(prefix).await?;
                ensure!(one * wanted.1 == two * wanted.0, "{spread:?} by {paths:?}");
                Ok(Some(()))
            })
            .await
        }
    };
    shares((1, 3)).await?;
    pods[2].set_ready(false).await?;
    shares((1, 2)).await?;
    fabric.down().await
}

/// How many Services come, change and go.
const SERVICES: u8 = 250;

/// How often each of them changes: with their coming and going, Services change 5,000 times.
const CHANGES: usize = 18;

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn services_change_five_thousand_times_and_no_session_does() -> Result<()> {
    let fabric = Fabric::start(lab()).await?;
    let lab = &fabric.lab;
    lab.backends("web", &NODES).await?;
    fabric.peers(json!({}), json!({})).await?;
    service(lab, "kept", &both(254)).await?;
    fabric.wait_nodes(&hosts(254), &NODES).await?;
    let sessions = fabric.sessions().await?;
    let started = Instant::now();

    let count = async |count: usize| {
        for tor in fabric.tors() {
            let what = format!("{count} prefixes of each node, to {}", tor.client);
            eventually(SOON * 3, &what, async || {
                // BIRD has a session for each family, FRR one for both.
                let of_all: usize = tor.neighbors().await?.iter().map(|n| n.prefixes).sum();
                ensure!(of_all == count * NODES.len(), "{of_all} in all");
                Ok(Some(()))
            })
            .await?;
            let kept = tor.nodes(Prefix::host(ip("10.50.0.254"))).await?;
            ensure!(kept == NODES, "{kept:?}");
        }
        anyhow::Ok(())
    };
    let numbers = 1..=SERVICES;
    let create = async |n: u8| service(lab, &format!("s{n}"), &both(n)).await;
    let services: Vec<Service> = stream::iter(numbers.clone())
        .map(create)
        .buffered(16)
        .try_collect()
        .await?;
    count(2 + 2 * usize::from(SERVICES)).await?;
    println!("{SERVICES} came: {:?}", started.elapsed());
    let change = async |(service, policy): (&Service, &str)| {
        let policy = json!({"spec": {"externalTrafficPolicy": policy}});
        service.patch(policy).await.map(drop)
    };
    for policy in ["Local", "Cluster"].into_iter().cycle().take(CHANGES) {
        stream::iter(&services)
            .map(|service| change((service, policy)))
            .buffered(16)
            .try_collect::<Vec<_>>()
            .await?;
    }
    println!("and changed: {:?}", started.elapsed());
    count(2 + 2 * usize::from(SERVICES)).await?;
    let end = async |service: Service| service.delete().await;
    stream::iter(services)
        .map(end)
        .buffered(16)
        .try_collect::<Vec<_>>()
        .await?;
    count(2).await?;
    println!("and went: {:?}", started.elapsed());
    fabric.same_sessions(&sessions, "so many changes").await?;
    fabric.down().await
}
