//! `GoBGP` and `OpenBGPD` beside FRR and BIRD. These two write no routes to the kernel here, so what
//! counts is what they have learned.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use herald_e2e::bgp::{BIRD, Fabric, NODES, OWN_AS, Tor, peer};
use herald_e2e::objects::SOON;
use herald_interop::{Config, Prefix};
use herald_lab::{Lab, eventually};
use serde_json::json;

/// Both are at the second router's address, each at a port of its own.
const AT: &str = BIRD[0];
const GOBGP: (u32, u16) = (65200, 1790);
const OPENBGPD: (u32, u16) = (65300, 1791);

fn gobgp(lab: &Lab) -> Config {
    let (asn, port) = GOBGP;
    let mut text = format!(
        "[global.config]\nas = {asn}\nrouter-id = \"192.168.0.22\"\nport = {port}\n\
         local-address-list = [\"{AT}\"]\n"
    );
    for node in lab.nodes() {
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\npeer-as = {OWN_AS}\n\
             [neighbors.transport.config]\npassive-mode = true\n",
            node.lan.v4
        );
        for family in ["ipv4-unicast", "ipv6-unicast"] {
            let _ = write!(
                text,
                "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n"
            );
        }
    }
    Config::Gobgp(text)
}

fn openbgpd(lab: &Lab) -> Config {
    let (asn, port) = OPENBGPD;
    let mut text =
        format!("AS {asn}\nrouter-id 192.168.0.23\nfib-update no\nlisten on {AT} port {port}\n");
    for node in lab.nodes() {
        let _ = write!(
            text,
            "neighbor {} {{\n remote-as {OWN_AS}\n passive\n announce IPv4 unicast\n \
             announce IPv6 unicast\n}}\n",
            node.lan.v4
        );
    }
    text.push_str("allow from any\n");
    Config::Openbgpd(text)
}

/// Waits until a router has a path to an address from just these nodes, each by the node's own address.
async fn wait_paths(lab: &Lab, router: &Tor, address: IpAddr, nodes: &[&str]) -> Result<()> {
    let what = format!("{} to have {address} of {nodes:?}", router.router().name());
    eventually(SOON, &what, async || {
        let paths = router.paths(Prefix::host(address)).await?;
        ensure!(paths.keys().eq(nodes), "{paths:?}");
        for node in lab.nodes() {
            let Some(path) = paths.get(&node.name) else {
                continue;
            };
            let hop = node.lan.both()[usize::from(address.is_ipv6())];
            ensure!(
                path.next_hops.contains(&hop) && path.as_path == [OWN_AS],
                "{}: {path:?}",
                node.name
            );
        }
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn four_kinds_of_routers_learn_each_service_from_each_node_that_serves_it() -> Result<()> {
    let fabric = Fabric::start(Lab::builder()).await?;
    let lab = &fabric.lab;
    lab.backends("web", &["n1", "n2"]).await?;
    let web = lab.service("web").dual_stack().create().await?;
    let addresses = web.wait_addresses(2).await?;
    let others = [
        Tor::start(lab, "gobgp", "router2", "remote2", &gobgp(lab))?,
        Tor::start(lab, "openbgpd", "router2", "remote2", &openbgpd(lab))?,
    ];
    for (name, (asn, port)) in [("gobgp", GOBGP), ("openbgpd", OPENBGPD)] {
        let spec = json!({
            "myASN": OWN_AS, "peerASN": asn, "peerAddress": AT, "peerPort": port,
            "dualStackAddressFamily": true, "connectTime": "1s",
        });
        fabric.apply(&peer(name, spec)).await?;
    }
    fabric.peers(json!({}), json!({})).await?;
    for other in &others {
        other.wait_sessions(&NODES).await?;
    }

    let sessions = fabric.sessions().await?;
    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    for nodes in [&NODES[..], &["n1", "n2"]] {
        fabric.wait_nodes(&addresses, nodes).await?;
        for other in &others {
            for &address in &addresses {
                wait_paths(lab, other, address, nodes).await?;
            }
        }
        web.patch(local.clone()).await?;
    }
    web.delete().await?;
    fabric.wait_nodes(&addresses, &[]).await?;
    for other in &others {
        for &address in &addresses {
            wait_paths(lab, other, address, &[]).await?;
        }
        other.wait_sessions(&NODES).await?;
    }
    fabric.same_sessions(&sessions, "all that").await?;
    fabric.down().await
}
