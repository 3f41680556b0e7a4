//! Peers that are wrong, missing, or behave badly: what is said of them, and that they harm nobody.
#![expect(clippy::tests_outside_test_module, reason = "an integration test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_api::kinds::BGPPeer;
use herald_e2e::bgp::{Fabric, NODES, OWN_AS, Stream, Tor, peer, to_frr, with};
use herald_e2e::objects::{SOON, events_of, wait_event};
use herald_interop::{Config, Prefix, Router, State};
use herald_lab::{Lab, NAMESPACE, eventually};
use kube::Api;
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// The autonomous system of the bad peers, which are at the second router's address, each at a port of
/// its own.
const BAD_AS: u32 = 65200;
const AT: &str = "192.168.0.2";

/// A Service that all nodes announce, and requests for it all the time.
async fn web(fabric: &Fabric) -> Result<(IpAddr, Stream)> {
    fabric.lab.backends("web", &NODES).await?;
    let web = fabric.lab.service("web").local().create().await?;
    let address = web.wait_addresses(1).await?[0];
    fabric.apply(&peer("frr", to_frr())).await?;
    fabric.frr.wait_nodes(Prefix::host(address), &NODES).await?;
    fabric.frr.wait_served(&fabric.lab, address).await?;
    let stream = fabric.frr.traffic(&fabric.lab, address)?;
    Ok((address, stream))
}

/// A peer of n1's at the port.
fn bad(name: &str, port: u16, fields: Value) -> Value {
    let spec = json!({
        "myASN": 65001, "peerASN": BAD_AS, "peerAddress": AT, "peerPort": port, "connectTime": "1s",
        "nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": "n1"}}],
    });
    peer(name, with(spec, fields))
}

/// One more BIRD beside the second router: protocols of these names and options, from port 1791 on.
fn bird(id: &str, protocols: &[(&str, &str)], beside: &str) -> Config {
    let mut text = format!(
        "router id {id};\nlog stderr all;\nprotocol device {{}}\n{beside}\n\
         template bgp bad {{ local {AT} as {BAD_AS}; passive on; error wait time 1, 2; }}\n"
    );
    // BIRD has no two protocols for one port of a neighbour, though it never connects.
    for (port, (name, options)) in (1791..).zip(protocols) {
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "protocol bgp {name} from bad {{ local port {port};\n  \
             neighbor 192.168.0.11 port {port} as 65001; {options} }}"
        );
    }
    Config::Bird(text)
}

/// What a node does not have for a session is in the peer's status, and in one event however often it
/// is tried.
async fn what_a_node_lacks_is_told_once(fabric: &Fabric) -> Result<()> {
    let lab = &fabric.lab;
    let source = json!({"sourceAddress": "192.0.2.99"});
    fabric.apply(&bad("no-source", 1799, source)).await?;
    let spec = json!({"myASN": OWN_AS, "peerASN": BAD_AS, "interface": "eth9"});
    fabric.apply(&peer("no-interface", spec)).await?;
    for (name, field) in [
        ("no-source", "spec.sourceAddress"),
        ("no-interface", "spec.interface"),
    ] {
        fabric
            .wait_log("n1", &["sessionFailed", name, field])
            .await?;
        wait_event(lab, name, "SessionFailed", field).await?;
        let peers: Api<BGPPeer> = Api::namespaced(lab.client(), NAMESPACE);
        eventually(SOON, &format!("the status of {name}"), async || {
            let status = peers.get(name).await?.status.context("no status")?;
            let said = status.nodes.iter().find(|it| it.node == "n1");
            ensure!(
                said.is_some_and(|it| it.reason.contains(field)),
                "{status:?}"
            );
            let condition = status.conditions.first().context("no condition")?;
            ensure!(condition.message.contains(field), "{condition:?}");
            Ok(Some(()))
        })
        .await?;
    }
    // It is tried every second.
    tokio::time::sleep(SECOND * 3).await;
    for name in ["no-source", "no-interface"] {
        let mut times = BTreeMap::<String, i32>::new();
        for event in events_of(lab, name).await? {
            let (reason, message) = (event.reason.as_deref(), event.message.unwrap_or_default());
            ensure!(reason == Some("SessionFailed"), "{reason:?}: {message}");
            *times.entry(message).or_default() += event.count.unwrap_or(1);
        }
        ensure!(times.values().all(|times| *times == 1), "{times:?}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_wrong_peer_is_named_and_harms_no_other() -> Result<()> {
    let fabric = Fabric::start(Lab::builder()).await?;
    let lab = &fabric.lab;
    let (_, stream) = web(&fabric).await?;
    let sessions = fabric.frr.sessions().await?;

    let plain = "ipv4 { import all; export none; };";
    let secret = "password \"right\"; ipv4 { import all; export none; };";
    let internal = "local as 65001; direct; ipv4 { import all; export none; };";
    let protocols = [
        ("secret", secret),
        ("other_as", plain),
        ("same_id", plain),
        ("twin", plain),
        ("clash", internal),
    ];
    let config = bird("192.168.0.22", &protocols, "");
    let router = Tor::start(lab, "bad", "router2", "remote2", &config)?;

    let secret = |password: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": {"name": "key", "namespace": NAMESPACE},
            "stringData": {"username": "", "password": password},
        })
    };
    fabric.apply(&secret("wrong")).await?;
    let of_secret = json!({"passwordSecret": {"name": "key"}});
    fabric.apply(&bad("secret", 1791, of_secret)).await?;
    fabric
        .apply(&bad("other-as", 1792, json!({"peerASN": 65300})))
        .await?;
    // The peer's own identifier, in another autonomous system and in the same.
    let same = json!({"routerID": "192.168.0.22"});
    fabric.apply(&bad("same-id", 1793, same.clone())).await?;
    let clash = with(same, json!({"peerASN": OWN_AS}));
    fabric.apply(&bad("clash", 1795, clash)).await?;
    fabric.apply(&bad("twin", 1794, json!({}))).await?;
    fabric
        .apply(&bad("twin-again", 1794, json!({"holdTime": "30s"})))
        .await?;
    fabric.apply(&bad("nobody", 1799, json!({}))).await?;
    fabric
        .apply(&bad(
            "nowhere",
            179,
            json!({"peerAddress": "192.168.0.250"}),
        ))
        .await?;

    // The twin that was there first has its session, and of the others it is said what is wrong.
    let established = async |name: &'static str| {
        eventually(SOON, &format!("the session {name}"), async || {
            let command = format!("show protocols all {name}");
            let shown = router.ask(move |router| router.command(&command)).await?;
            ensure!(shown.contains("Established"), "{shown}");
            Ok(Some(()))
        })
        .await
    };
    established("twin").await?;
    for (name, why) in [
        (
            "other-as",
            "the peer is in AS 65200, not in AS 65300 as configured",
        ),
        ("secret", "no answer"),
        ("clash", "the peer has the router ID of this speaker"),
        ("nobody", "refused"),
        ("nowhere", "No route to host"),
        ("twin-again", "twin"),
    ] {
        fabric.wait_log("n1", &[name, why]).await?;
    }
    what_a_node_lacks_is_told_once(&fabric).await?;
    // In another autonomous system an identifier may be the same (RFC 6286).
    established("same_id").await?;
    // Once the password is right, the session comes up.
    fabric.apply(&secret("right")).await?;
    established("secret").await?;
    tokio::time::sleep(SECOND).await;
    fabric.frr.same_sessions(&sessions, "mistakes").await?;
    stream.none_failed(0, "mistakes").await?;
    fabric.down().await
}

#[tokio::test]
#[ignore = "needs root and the lab: run by make test"]
async fn a_peer_that_flaps_or_sends_a_hundred_thousand_routes_harms_no_other() -> Result<()> {
    let fabric = Fabric::start(Lab::builder()).await?;
    let lab = &fabric.lab;
    let (address, stream) = web(&fabric).await?;
    let sessions = fabric.frr.sessions().await?;
    let speaker = fabric.speaker("n1")?;
    let before = speaker.rss_bytes()?;

    let mut many = String::from("protocol static hosts { ipv4;\n");
    for n in 0..100_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let _ = writeln!(many, "route {}.{b}.{c}.1/32 blackhole;", 20 + a);
    }
    many.push('}');
    let sends = "ipv4 { import all; export all; };";
    let config = bird("192.168.0.22", &[("many", sends)], &many);
    let router = Tor::start(lab, "bad", "router2", "remote2", &config)?;
    fabric.apply(&bad("many", 1791, json!({}))).await?;
    // To list all that it has would keep it busy.
    let has_it = async || {
        let what = format!("{address} at the router of many");
        eventually(SOON, &what, async || {
            let command = format!("show route for {address} protocol many");
            let shown = router.ask(move |router| router.command(&command)).await?;
            ensure!(shown.contains("192.168.0.11"), "{shown}");
            Ok(Some(()))
        })
        .await
    };
    has_it().await?;
    eventually(SOON, "all to be sent", async || {
        let shown = router
            .ask(|router| router.command("show protocols all many"))
            .await?;
        ensure!(shown.contains("100000 exported"), "{shown}");
        Ok(Some(()))
    })
    .await?;
    tokio::time::sleep(SECOND).await;
    let grown = speaker.rss_bytes()?.saturating_sub(before);
    println!("100,000 routes: {} KiB more", grown / 1024);
    ensure!(
        grown < 4 << 20,
        "{grown} bytes for routes that nobody wants"
    );
    let kept = router.ask(Router::neighbors).await?;
    ensure!(
        kept.iter().any(|n| n.state == State::Established),
        "{kept:?}"
    );

    // Now it comes and goes. The speaker waits longer each time.
    for _ in 0..3 {
        let restart = router.ask(|router| router.command("restart many"));
        restart.await?;
        has_it().await?;
    }
    for process in router.router().processes() {
        process.kill().await?;
        process.restart().await?;
    }
    has_it().await?;
    fabric.frr.same_sessions(&sessions, "flaps").await?;
    stream.none_failed(0, "flaps").await?;
    fabric.down().await
}
