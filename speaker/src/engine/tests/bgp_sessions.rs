//! The engine of a node with BGP peers: plans and routes out.

use std::collections::BTreeMap;

use herald_announce::bgp::Route;
use herald_api::kinds::{BGPAdvertisement, BGPPeer};
use herald_model::Cidr;

use super::*;

/// What the sessions of the node were told.
#[derive(Default)]
struct Told {
    routes: BTreeMap<Cidr, Arc<Route>>,
    complete: bool,
}

impl Told {
    /// Takes in what comes until the peer `name` gets just these prefixes.
    async fn reaches(&mut self, running: &Running, name: &str, prefixes: &[&str]) {
        let wanted: Vec<Cidr> = prefixes.iter().map(|p| p.parse().expect("valid")).collect();
        let reached = async {
            loop {
                self.take(running);
                let told = self.routes.iter();
                let told = told.filter(|(_, route)| route.for_peer(name).is_some());
                if self.complete && told.map(|(prefix, _)| prefix).eq(wanted.iter()) {
                    return;
                }
                running.routes.changed().await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(5), reached).await;
        reached.unwrap_or_else(|_| panic!("{name} has not {prefixes:?}: {:?}", self.routes));
    }

    fn take(&mut self, running: &Running) {
        let waiting = running.routes.take();
        self.complete |= waiting.complete;
        for (prefix, route) in waiting.changes {
            match route {
                Some(route) => self.routes.insert(prefix, route),
                None => self.routes.remove(&prefix),
            };
        }
    }
}

fn peer(name: &str, spec: &Value) -> BGPPeer {
    let mut whole = json!({ "myASN": 65001, "peerASN": 65002, "peerAddress": "198.51.100.9" });
    if let (Value::Object(whole), Value::Object(more)) = (&mut whole, spec) {
        whole.extend(more.clone());
    }
    object(json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": { "name": name, "namespace": "metallb-system" },
        "spec": whole,
    }))
}

fn advertisement(name: &str, spec: &Value) -> BGPAdvertisement {
    object(json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "BGPAdvertisement",
        "metadata": { "name": name, "namespace": "metallb-system" },
        "spec": spec,
    }))
}

fn node(labels: &Value) -> slim::Node {
    let address = json!({ "type": "InternalIP", "address": "198.51.100.1" });
    object(json!({
        "metadata": { "name": "me", "labels": labels },
        "status": { "addresses": [address] },
    }))
}

fn rack(number: &str) -> Value {
    json!({ "nodeSelectors": [{ "matchLabels": { "rack": number } }] })
}

impl Running {
    /// Everything for the Services `a` and `b`, with no advertisement on layer 2.
    async fn send_with_bgp(&self, peers: Vec<BGPPeer>) {
        self.send_the_rest().await;
        self.send(Input::Advertisements(all(Vec::new()))).await;
        self.send(Input::Peers(all(peers))).await;
        let everything = advertisement("all", &json!({}));
        self.send(Input::BgpAdvertisements(all(vec![everything])))
            .await;
        self.send(Input::Nodes(all(vec![node(&json!({ "rack": "1" }))])))
            .await;
        let both = vec![service("a", "192.0.2.1"), service("b", "192.0.2.2")];
        self.send(Input::Services(all(both))).await;
    }

    /// Waits until the sessions are to be these.
    async fn plans(&mut self, names: &[&str]) -> Arc<bgp::Plans> {
        let reached = self
            .plans
            .wait_for(|plans| plans.keys().map(String::as_str).eq(names.iter().copied()));
        let plans = tokio::time::timeout(Duration::from_secs(5), reached).await;
        let plans = plans.unwrap_or_else(|_| panic!("the sessions are not {names:?}"));
        Arc::clone(&plans.expect("the engine runs"))
    }
}

#[tokio::test]
async fn a_peer_is_a_session_and_a_service_a_route() {
    let mut running = start().await;
    running.send_with_bgp(vec![peer("tor", &json!({}))]).await;
    let plans = running.plans(&["tor"]).await;
    let tor = &plans["tor"];
    assert_eq!(
        tor.connection.remote,
        "198.51.100.9:179".parse().expect("valid")
    );
    assert_eq!(tor.session.id.0, std::net::Ipv4Addr::new(198, 51, 100, 1));
    let mut told = Told::default();
    told.reaches(&running, "tor", &["192.0.2.1/32", "192.0.2.2/32"])
        .await;
    assert!(running.desired.borrow().is_empty(), "nothing on layer 2");
    running
        .send(Input::Slices(Event::Applied(slice("a", false))))
        .await;
    told.reaches(&running, "tor", &["192.0.2.2/32"]).await;
    running
        .send(Input::Slices(Event::Applied(slice("a", true))))
        .await;
    told.reaches(&running, "tor", &["192.0.2.1/32", "192.0.2.2/32"])
        .await;
    assert!(!running.plans.has_changed().expect("the engine runs"));
    running.end().await;
}

#[tokio::test]
async fn nothing_is_told_to_routers_before_every_store_is_complete() {
    let mut running = start().await;
    running.send_the_rest().await;
    running
        .send(Input::Nodes(Event::Applied(node(&json!({})))))
        .await;
    let everything = advertisement("all", &json!({}));
    running
        .send(Input::BgpAdvertisements(Event::Applied(everything)))
        .await;
    running
        .send(Input::Peers(Event::Applied(peer("tor", &json!({})))))
        .await;
    let first = service("a", "192.0.2.1");
    running.send(Input::Services(Event::Applied(first))).await;
    running.idle().await;
    let waiting = running.routes.take();
    assert!(waiting.changes.is_empty() && !waiting.complete);
    assert!(running.plans.borrow().is_empty());
    let both = vec![service("a", "192.0.2.1"), service("b", "192.0.2.2")];
    running.send(Input::Services(all(both))).await;
    running.plans(&["tor"]).await;
    let mut told = Told::default();
    told.reaches(&running, "tor", &["192.0.2.1/32", "192.0.2.2/32"])
        .await;
    running.end().await;
}

#[tokio::test]
async fn the_labels_of_the_node_decide_which_sessions_it_has() {
    let mut running = start().await;
    let same_router = [peer("one", &rack("1")), peer("two", &rack("2"))];
    running.send_with_bgp(same_router.into()).await;
    running.plans(&["one"]).await;
    let mut told = Told::default();
    let both = ["192.0.2.1/32", "192.0.2.2/32"];
    told.reaches(&running, "one", &both).await;
    let moved = node(&json!({ "rack": "2" }));
    running.send(Input::Nodes(Event::Applied(moved))).await;
    running.plans(&["two"]).await;
    told.reaches(&running, "two", &both).await;
    running.idle().await;
    let problems = running.problems.borrow().clone();
    assert_eq!(problems, Some(Vec::new()), "they never meet on this node");
    let nowhere = node(&json!({}));
    running.send(Input::Nodes(Event::Applied(nowhere))).await;
    running.plans(&[]).await;
    told.reaches(&running, "two", &[]).await;
    running.end().await;
}
