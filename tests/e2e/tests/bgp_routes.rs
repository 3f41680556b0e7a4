//! A Service's addresses are routes to the nodes that serve them, and clients behind the routers are
//! served: both families, both traffic policies, over all the nodes.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_e2e::bgp::{Fabric, NODES, OWN_AS, Tor, advertisement};
use herald_e2e::layer2::{advertise_with, wait_owner};
use herald_e2e::objects::{SOON, pool, wait_event};
use herald_interop::{Config, Prefix, document};
use herald_lab::{Lab, always, eventually};
use serde_json::json;

const REQUESTS: usize = 60;

/// Makes sure that the client behind a router is served, over all of these nodes.
async fn served(lab: &Lab, tor: &Tor, addresses: &[IpAddr], nodes: &[&str]) -> Result<()> {
    for &address in addresses {
        tor.wait_served(lab, address).await?;
        let shares = tor.shares(lab, address, REQUESTS).await?;
        // By chance a node gets less than a fifth of what is its share less than once in ten million.
        let fair = REQUESTS / nodes.len() / 5;
        ensure!(
            shares.keys().eq(nodes) && shares.values().all(|share| *share > fair),
            "{address} for {}: {shares:?}",
            tor.client
        );
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn addresses_are_routes_to_the_nodes_that_serve_them_and_clients_are_served() -> Result<()> {
    let fabric = Fabric::start(Lab::builder()).await?;
    let lab = &fabric.lab;
    let mut pods = lab.backends("web", &["n1", "n2"]).await?;
    let web = lab.service("web").dual_stack().create().await?;
    let addresses = web.wait_addresses(2).await?;
    fabric.peers(json!({}), json!({})).await?;

    // Cluster: any node will do, whether it has a backend or not.
    fabric.wait_nodes(&addresses, &NODES).await?;
    for tor in fabric.tors() {
        let path: &[u32] = if tor.client == "remote" {
            &[OWN_AS]
        } else {
            &[]
        };
        for &address in &addresses {
            let paths = tor.paths(Prefix::host(address)).await?;
            for node in lab.nodes() {
                let found = &paths[&node.name];
                let hop: IpAddr = node.lan.both()[usize::from(address.is_ipv6())];
                ensure!(
                    found.as_path == path && found.next_hops.contains(&hop),
                    "{address} from {}: {found:?}",
                    node.name
                );
            }
        }
        served(lab, tor, &addresses, &NODES).await?;
    }
    wait_event(lab, "web", "nodeAssigned", "protocol \"bgp\"").await?;

    // Local: the nodes with backends, which see the client.
    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    web.patch(local).await?;
    fabric.wait_nodes(&addresses, &["n1", "n2"]).await?;
    for tor in fabric.tors() {
        served(lab, tor, &addresses, &["n1", "n2"]).await?;
        let answer = lab.ask(tor.client, addresses[0], 80).await?;
        let far = answer.client.ip();
        let own: [IpAddr; 2] = ["198.51.100.10".parse()?, "203.0.113.10".parse()?];
        ensure!(own.contains(&far), "{answer:?}");
    }

    // A backend goes: its node's route goes, that of the other stays.
    let sessions = fabric.sessions().await?;
    let gone = pods.remove(0);
    gone.set_ready(false).await?;
    for tor in fabric.tors() {
        let prefix = Prefix::host(addresses[0]);
        let what = "n2 is a next hop all the time";
        let kept = always(Duration::from_secs(1), what, async || {
            Ok(tor.nodes(prefix).await?.contains(&"n2".to_owned()))
        });
        kept.await?;
    }
    fabric.wait_nodes(&addresses, &["n2"]).await?;
    for tor in fabric.tors() {
        served(lab, tor, &addresses, &["n2"]).await?;
    }
    // On its way out, but still serving: it is all that there is.
    pods[0].terminate().await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    fabric.wait_nodes(&addresses, &["n2"]).await?;
    pods[0].set_ready(false).await?;
    fabric.wait_nodes(&addresses, &[]).await?;
    gone.set_ready(true).await?;
    fabric.wait_nodes(&addresses, &["n1"]).await?;
    // The same with another that is ready: the routers prefer that one before the backend is gone.
    let late = lab.pod("web-late").app("web").on("n3").create().await?;
    fabric.wait_nodes(&addresses, &["n1", "n3"]).await?;
    late.terminate().await?;
    fabric.wait_nodes(&addresses, &["n1"]).await?;
    for tor in fabric.tors() {
        let paths = tor.paths(Prefix::host(addresses[0])).await?;
        ensure!(paths.contains_key("n3"), "{paths:?}");
    }
    late.set_ready(false).await?;
    for tor in fabric.tors() {
        eventually(SOON, "the path of n3 to go", async || {
            let paths = tor.paths(Prefix::host(addresses[0])).await?;
            ensure!(!paths.contains_key("n3"), "{paths:?}");
            Ok(Some(()))
        })
        .await?;
    }

    // Not of type LoadBalancer any longer, and again: other addresses or the same, and their routes.
    web.patch(json!({"spec": {"type": "ClusterIP", "externalTrafficPolicy": null}}))
        .await?;
    fabric.wait_nodes(&addresses, &[]).await?;
    web.patch(json!({"spec": {"type": "LoadBalancer"}})).await?;
    let addresses = web.wait_addresses(2).await?;
    fabric.wait_nodes(&addresses, &NODES).await?;
    web.delete().await?;
    fabric.wait_nodes(&addresses, &[]).await?;
    fabric.same_sessions(&sessions, "all that").await?;
    fabric.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn layer_2_and_bgp_announce_what_their_advertisements_say_each_for_itself() -> Result<()> {
    let fabric = Fabric::start(Lab::builder()).await?;
    let lab = &fabric.lab;
    pool(lab, "lan", &["192.168.10.1-192.168.10.99"]).await?;
    advertise_with(lab, "lan", json!({"ipAddressPools": ["lan"]})).await?;
    fabric.peers(json!({}), json!({})).await?;
    lab.backends("web", &["n1", "n2", "n3"]).await?;
    let in_pool = |name: &str, pool: &str| {
        let service = lab.service(name).selector("app", "web");
        service.annotation("metallb.io/address-pool", pool)
    };
    let near = in_pool("near", "lan").create().await?;
    let far = in_pool("far", "bgp").create().await?;
    let near = near.wait_addresses(1).await?;
    let far = far.wait_addresses(1).await?;

    // Each by one of the two alone.
    let owner = herald_e2e::layer2::owner(lab, near[0]).await?;
    fabric.wait_nodes(&far, &NODES).await?;
    let event = format!("announcing from node \"{owner}\" with protocol \"layer2\"");
    wait_event(lab, "near", "nodeAssigned", &event).await?;
    for tor in fabric.tors() {
        let routes = tor.paths(Prefix::host(near[0])).await?;
        ensure!(routes.is_empty(), "{near:?}: {routes:?}");
    }
    ensure!(lab.owners(far[0]).await?.is_empty());

    // By both.
    let both = json!({"ipAddressPools": ["lan"]});
    fabric.apply(&advertisement("lan", both)).await?;
    fabric.wait_nodes(&near, &NODES).await?;
    wait_owner(lab, near[0], &owner).await?;
    let asked = lab.ask("remote2", near[0], 80).await?;
    ensure!(asked.pod.starts_with("web-"), "{asked:?}");
    // The node that answers ARP goes out of service: both know it.
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(lab.client());
    let exclude = |value| {
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        kube::api::Patch::Merge(json!({"metadata": {"labels": {label: value}}}))
    };
    let params = kube::api::PatchParams::default();
    nodes.patch(&owner, &params, &exclude(Some(""))).await?;
    let others: Vec<&str> = NODES.into_iter().filter(|node| *node != owner).collect();
    fabric.wait_nodes(&near, &others).await?;
    fabric.wait_nodes(&far, &others).await?;
    eventually(SOON, "another to answer", async || {
        let owners = lab.owner_nodes(near[0]).await?;
        ensure!(owners.len() == 1 && owners[0] != owner, "{owners:?}");
        Ok(Some(()))
    })
    .await?;
    nodes.patch(&owner, &params, &exclude(None)).await?;
    fabric.wait_nodes(&near, &NODES).await?;
    fabric.down().await
}

/// What the document's example is called on the lab.
const HERE: [(&str, &str); 3] = [
    ("10.0.1.", "192.168.0."),
    ("198.51.100.", "10.50.0."),
    ("fd98::", "fd50::"),
];

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn what_the_document_says_leads_from_nothing_to_a_route() -> Result<()> {
    let page = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bgp.md"));
    let files = document::files(page)?;
    let file = |name: &str| {
        let text = files
            .get(name)
            .with_context(|| format!("no {name} in the document"))?;
        let here = HERE.iter().fold(text.clone(), |text, (there, here)| {
            text.replace(there, here)
        });
        anyhow::Ok(here)
    };
    let lab = Lab::builder().start().await?;
    let config = Config::Frr {
        zebra: String::new(),
        bgpd: file("bgpd.conf")?,
        bfdd: None,
    };
    let tor = Tor::start(&lab, "tor", "router", "remote", &config)?;
    lab.start_herald().await?;
    lab.apply_yaml(&file("cluster.yaml")?).await?;
    lab.backends("web", &["n1", "n2"]).await?;
    let web = lab.service("web").dual_stack().create().await?;
    let addresses = web.wait_addresses(2).await?;
    for address in &addresses {
        tor.wait_nodes(Prefix::host(*address), &NODES).await?;
    }
    served(&lab, &tor, &addresses, &NODES).await?;
    // A node that drains is left alone, by the file's own rule.
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(lab.client());
    let drain = json!({"metadata": {"labels": {"herald.io/drain": ""}}});
    let drain = kube::api::Patch::Merge(drain);
    nodes
        .patch("n2", &kube::api::PatchParams::default(), &drain)
        .await?;
    for address in addresses {
        tor.wait_nodes(Prefix::host(address), &["n1", "n3"]).await?;
    }
    lab.down().await
}
