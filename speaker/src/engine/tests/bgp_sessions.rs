//! The engine of a node with BGP peers: plans and routes out.

use std::collections::BTreeMap;

use herald_announce::bgp::{Change, Route};
use herald_api::kinds::{BGPAdvertisement, BGPPeer, L2Advertisement};
use herald_bgp::wire::{Family, GracefulRestart, Negotiated};
use herald_model::{Cidr, ServiceKey};

use super::*;
use crate::bgp::{PeerCounters, testing};

/// What the sessions of the node were told.
#[derive(Default)]
struct Told {
    routes: BTreeMap<Cidr, Arc<Route>>,
    complete: bool,
    leaving: bool,
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

    /// Waits until what the peer `tor` gets is to be passed over, or not.
    async fn is_shut(&mut self, running: &Running, wanted: bool) {
        let reached = async {
            loop {
                self.take(running);
                let announced = self.routes.values().filter_map(|r| r.for_peer("tor"));
                let shut: BTreeSet<_> = announced
                    .map(|announced| announced.attributes.local_pref == Some(0))
                    .collect();
                if shut == [wanted].into() {
                    return;
                }
                running.routes.changed().await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(5), reached).await;
        reached.unwrap_or_else(|_| panic!("not so: {:?}", self.routes));
    }

    /// Waits until what the peer `tor` gets for 192.0.2.1 has this weight.
    async fn has_weight(&mut self, running: &Running, weight: u32) {
        let prefix: Cidr = "192.0.2.1/32".parse().expect("valid");
        let reached = async {
            loop {
                self.take(running);
                let route = self.routes.get(&prefix);
                let announced = route.and_then(|route| route.for_peer("tor"));
                if announced.is_some_and(|announced| announced.weight == Some(weight)) {
                    return;
                }
                running.routes.changed().await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(10), reached).await;
        reached.unwrap_or_else(|_| panic!("not {weight}: {:?}", self.routes));
    }

    fn take(&mut self, running: &Running) {
        let waiting = running.routes.take();
        self.complete |= waiting.complete;
        self.leaving |= waiting.leaving;
        for Change { prefix, route } in waiting.changes {
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

    /// The session with `tor` is up and has been told so many routes; with graceful restart or not.
    fn session(&self, told: usize, keeps: bool) {
        self.have_sessions(&[("tor", told, keeps)]);
    }

    /// The same of several peers.
    fn have_sessions(&self, sessions: &[(&str, usize, bool)]) {
        let statuses = sessions.iter().map(|(name, told, keeps)| {
            let (mut status, counters) = testing::up("198.51.100.9:179");
            let mut count = PeerCounters::default();
            *count.told.get_mut(Family::Ipv4Unicast) = *told;
            counters.set(count);
            if *keeps && let Some(up) = &mut status.up {
                up.negotiated = Arc::new(Negotiated {
                    graceful_restart: Some(GracefulRestart::default()),
                    ..up.negotiated.as_ref().clone()
                });
            }
            ((*name).to_owned(), status)
        });
        self.sessions.send_replace(Arc::new(statuses.collect()));
    }

    /// Ends when the engine has ended in order.
    async fn ended(self) {
        self.token.cancel();
        self.task.await.expect("no panic").expect("asked to end");
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
        (tor.endpoint.to_string().as_str(), tor.port),
        ("198.51.100.9", 179)
    );
    assert_eq!(tor.session.id.0, std::net::Ipv4Addr::new(198, 51, 100, 1));
    let mut told = Told::default();
    told.reaches(&running, "tor", &["192.0.2.1/32", "192.0.2.2/32"])
        .await;
    assert!(running.desired.borrow().is_empty(), "nothing on layer 2");
    let [a, b] = ["a", "b"].map(|name| ServiceKey::new("shop", name));
    let to_tor = Some(vec!["tor".to_owned()]);
    let said = running.statuses.bgp.take();
    assert_eq!(
        said,
        [(a.clone(), to_tor.clone()), (b, to_tor.clone())].into()
    );
    running
        .send(Input::Slices(Event::Applied(slice("a", false))))
        .await;
    told.reaches(&running, "tor", &["192.0.2.2/32"]).await;
    assert_eq!(running.statuses.bgp.take(), [(a.clone(), None)].into());
    running
        .send(Input::Slices(Event::Applied(slice("a", true))))
        .await;
    told.reaches(&running, "tor", &["192.0.2.1/32", "192.0.2.2/32"])
        .await;
    assert_eq!(running.statuses.bgp.take(), [(a, to_tor)].into());
    assert!(!running.plans.has_changed().expect("the engine runs"));
    running.end().await;
}

#[tokio::test]
async fn a_node_keeps_the_address_that_routers_know_it_by_while_it_has_no_better() {
    let with = |addresses: &[&str]| -> slim::Node {
        let addresses = addresses
            .iter()
            .map(|address| json!({ "type": "InternalIP", "address": address }));
        object(json!({
            "metadata": { "name": "me", "labels": { "rack": "1" } },
            "status": { "addresses": addresses.collect::<Vec<_>>() },
        }))
    };
    let mut running = start().await;
    running.send_with_bgp(vec![peer("tor", &json!({}))]).await;
    let before = running.plans(&["tor"]).await;
    // A cloud provider that starts anew may take all away for a while.
    for addresses in [&[][..], &["198.51.100.7", "198.51.100.1"]] {
        running
            .send(Input::Nodes(Event::Applied(with(addresses))))
            .await;
        running.idle().await;
        assert_eq!(*running.plans.borrow(), before, "{addresses:?}");
    }
    let renumbered = with(&["198.51.100.7"]);
    running.send(Input::Nodes(Event::Applied(renumbered))).await;
    running.idle().await;
    let id = running.plans.borrow()["tor"].session.id.0;
    assert_eq!(id, std::net::Ipv4Addr::new(198, 51, 100, 7));
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
    let findings = running.findings.borrow().clone();
    let none = Some(Findings::default());
    assert_eq!(findings, none, "they never meet on this node");
    let nowhere = node(&json!({}));
    running.send(Input::Nodes(Event::Applied(nowhere))).await;
    running.plans(&[]).await;
    told.reaches(&running, "two", &[]).await;
    running.end().await;
}

const BOTH: [&str; 2] = ["192.0.2.1/32", "192.0.2.2/32"];

/// A node that announces `a` and `b` to the peer `tor`.
async fn announcing() -> (Running, Told) {
    let running = start().await;
    running.send_with_bgp(vec![peer("tor", &json!({}))]).await;
    let mut told = Told::default();
    told.reaches(&running, "tor", &BOTH).await;
    (running, told)
}

#[tokio::test]
async fn before_the_end_routers_are_told_to_prefer_others_and_then_that_the_routes_are_gone() {
    let (running, mut told) = announcing().await;
    running.session(2, false);
    running.supervisor.draining().cancel();
    let begun = Instant::now();
    told.is_shut(&running, true).await;
    assert_eq!(told.routes.len(), 2);
    told.reaches(&running, "tor", &[]).await;
    assert!(begun.elapsed() >= Duration::from_millis(300), "too soon");
    assert!(!told.leaving, "the next process may go on");
    running.session(0, false);
    tokio::time::timeout(Duration::from_millis(500), running.supervisor.run())
        .await
        .expect("nothing is waited for any more")
        .expect("in order");
}

#[tokio::test]
async fn a_router_that_keeps_the_routes_for_the_next_process_notices_nothing() {
    let (running, mut told) = announcing().await;
    running.session(2, true);
    running.supervisor.draining().cancel();
    tokio::time::sleep(Duration::from_millis(400)).await;
    told.take(&running);
    told.is_shut(&running, false).await;
    assert_eq!(told.routes.len(), 2);
    assert!(!told.leaving);
    running.ended().await;
}

#[tokio::test]
async fn on_a_drained_node_every_router_is_told_at_once_and_none_keeps_the_routes() {
    let (running, mut told) = announcing().await;
    running.session(2, true);
    let drained = node(&json!({ "herald.io/drain": "" }));
    running.send(Input::Nodes(Event::Applied(drained))).await;
    told.is_shut(&running, true).await;
    assert_eq!(told.routes.len(), 2, "it is announced as long as it runs");
    tokio::time::sleep(Duration::from_millis(350)).await;
    running.supervisor.draining().cancel();
    let begun = Instant::now();
    told.reaches(&running, "tor", &[]).await;
    assert!(
        begun.elapsed() < Duration::from_millis(250),
        "it has waited"
    );
    assert!(told.leaving, "nobody takes up the session");
    running.ended().await;
}

#[tokio::test]
async fn a_node_that_turns_out_to_be_drained_after_sigterm_leaves_nothing_at_any_router() {
    let (running, mut told) = announcing().await;
    // The end waits for the one without graceful restart.
    running.have_sessions(&[("other", 2, false), ("tor", 2, true)]);
    running.supervisor.draining().cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    told.is_shut(&running, false).await;
    assert!(!told.leaving);
    let drained = node(&json!({ "herald.io/drain": "" }));
    running.send(Input::Nodes(Event::Applied(drained))).await;
    let begun = Instant::now();
    told.is_shut(&running, true).await;
    told.reaches(&running, "tor", &[]).await;
    assert!(begun.elapsed() >= Duration::from_millis(300), "too soon");
    assert!(told.leaving, "nobody takes up the session");
    running.ended().await;
}

#[tokio::test]
async fn what_is_announced_changes_without_touching_a_session() {
    let (mut running, mut told) = announcing().await;
    running.plans(&["tor"]).await;
    let preferred = advertisement("all", &json!({ "communities": ["65001:7"] }));
    running
        .send(Input::BgpAdvertisements(Event::Applied(preferred)))
        .await;
    let small = pool("192.0.2.2/32");
    running.send(Input::Pools(Event::Applied(small))).await;
    told.reaches(&running, "tor", &["192.0.2.2/32"]).await;
    assert!(!running.plans.has_changed().expect("the engine runs"));
    let other = peer("other", &json!({ "peerAddress": "198.51.100.10" }));
    running.send(Input::Peers(Event::Applied(other))).await;
    let before = Arc::clone(&running.plans.borrow()["tor"]);
    let plans = running.plans(&["other", "tor"]).await;
    assert_eq!(plans["tor"], before);
    running.end().await;
}

fn layer2() -> L2Advertisement {
    object(json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
        "metadata": { "name": "all", "namespace": "metallb-system" },
        "spec": {},
    }))
}

#[tokio::test]
async fn a_service_may_be_announced_with_both_protocols() {
    let (mut running, mut told) = announcing().await;
    running
        .send(Input::Advertisements(Event::Applied(layer2())))
        .await;
    running.announces(&["192.0.2.1", "192.0.2.2"]).await;
    told.reaches(&running, "tor", &BOTH).await;
    let none = all(Vec::new());
    running.send(Input::BgpAdvertisements(none)).await;
    told.reaches(&running, "tor", &[]).await;
    running.announces(&["192.0.2.1", "192.0.2.2"]).await;
    running.end().await;
}

#[tokio::test]
async fn a_weight_that_has_to_wait_is_told_when_it_is_time_without_any_other_news() {
    let (running, mut told) = announcing().await;
    let mut weighted = advertisement("all", &json!({}));
    weighted.metadata.annotations =
        Some([("herald.io/bgp-link-bandwidth".to_owned(), "true".to_owned())].into());
    running
        .send(Input::BgpAdvertisements(Event::Applied(weighted)))
        .await;
    let mut local = service("a", "192.0.2.1");
    local.spec.external_traffic_policy = Some("Local".to_owned());
    running.send(Input::Services(Event::Applied(local))).await;
    told.has_weight(&running, 1).await;
    let begun = Instant::now();
    let mut more = slice("a", true);
    let endpoint = more.endpoints.iter().flatten().next().cloned();
    let mut second = endpoint.expect("one");
    second.addresses = vec!["10.0.0.2".to_owned()];
    more.endpoints.get_or_insert_default().push(second);
    running.send(Input::Slices(Event::Applied(more))).await;
    told.has_weight(&running, 2).await;
    assert!(begun.elapsed() > Duration::from_secs(4), "it is damped");
    running.end().await;
}

fn secret(kind: &str, password: &str) -> slim::Secret {
    object(json!({
        "metadata": { "name": "key", "namespace": "metallb-system" },
        "type": kind,
        "data": { "password": password },
    }))
}

#[tokio::test]
async fn the_password_of_a_session_comes_from_a_secret() {
    let mut running = start().await;
    let locked = peer("tor", &json!({ "passwordSecret": { "name": "key" } }));
    running.send_with_bgp(vec![locked]).await;
    let told = running
        .findings
        .wait_for(|f| f.as_ref().is_some_and(|f| f.problems.len() == 1));
    told.await.expect("the engine runs");
    let basic_auth = secret(slim::Secret::BASIC_AUTH, "aHVudGVyMg==");
    running
        .send(Input::Secrets(Event::Applied(basic_auth)))
        .await;
    let plans = running.plans(&["tor"]).await;
    assert!(plans["tor"].password.is_some());
    assert!(!format!("{plans:?}").contains("hunter2"));
    // Deleted it stays in use, as the last good version does.
    let gone = ObjectName {
        namespace: Some("metallb-system".to_owned()),
        name: "key".to_owned(),
    };
    running.send(Input::Secrets(Event::Deleted(gone))).await;
    let told = running
        .findings
        .wait_for(|f| f.as_ref().is_some_and(|f| f.problems.len() == 1));
    told.await.expect("the engine runs");
    assert!(!running.plans.has_changed().expect("the engine runs"));
    running.end().await;
}

#[tokio::test]
async fn without_the_api_sessions_and_routes_are_those_of_the_disk_except_where_a_password_is() {
    let running = start().await;
    let with_password = json!({
        "peerAddress": "198.51.100.10", "passwordSecret": { "name": "key" },
    });
    let open = peer("tor", &json!({ "enableGracefulRestart": true }));
    let peers = vec![open, peer("locked", &with_password)];
    running.send_with_bgp(peers.clone()).await;
    let key = secret(slim::Secret::BASIC_AUTH, "aHVudGVyMg==");
    running.send(Input::Secrets(all(vec![key.clone()]))).await;
    let mut told = Told::default();
    told.reaches(&running, "tor", &BOTH).await;
    let file = running.directory.path().join("herald.state");
    let written = async {
        loop {
            let text = std::fs::read(&file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            if text.contains("locked") && text.contains("shop") {
                assert!(!text.contains("hunter2"), "a password on disk");
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let written = tokio::time::timeout(Duration::from_secs(5), written);
    written.await.expect("written");
    let directory = running.killed().await;

    let mut second = start_in(directory, false).await;
    second.interfaces.send_replace(Some(vec![lan("eth0")]));
    let plans = second.plans(&["tor"]).await;
    let restart = plans["tor"].session.restart;
    let restart = restart.expect("as the peer asks for");
    assert!(
        restart
            .restarted
            .is_some_and(|until| until > Instant::now())
    );
    assert!(
        restart.forwarding_kept,
        "the node has forwarded all the time"
    );
    let mut told = Told::default();
    told.reaches(&second, "locked", &BOTH).await;
    assert!(told.complete);

    // What is not told of BGP holds up nothing else, and is said.
    second
        .send(Input::Pools(all(vec![pool("192.0.2.0/24")])))
        .await;
    second
        .send(Input::Advertisements(all(vec![layer2()])))
        .await;
    second.announces(&["192.0.2.1", "192.0.2.2"]).await;
    told.reaches(&second, "tor", &BOTH).await;
    let said = second.findings.wait_for(|findings| {
        let mut unknown = findings.iter().flat_map(|findings| &findings.unknown);
        unknown.any(|text| text.contains("has not told of bgpadvertisements, bgppeers"))
    });
    said.await.expect("the engine runs");

    // When the API is back it has the last word, and the session goes on.
    second.send_with_bgp(peers).await;
    second.send(Input::Secrets(all(vec![key]))).await;
    let with_both = second.plans(&["locked", "tor"]).await;
    assert_eq!(with_both["tor"], plans["tor"]);
    told.reaches(&second, "tor", &BOTH).await;
    let none = second
        .findings
        .wait_for(|f| f.as_ref() == Some(&Findings::default()));
    none.await.expect("the engine runs");
    second.send(Input::Services(all(Vec::new()))).await;
    told.reaches(&second, "tor", &[]).await;
    second.end().await;
}

#[tokio::test]
async fn a_node_that_began_anew_has_not_forwarded_meanwhile() {
    let running = start().await;
    let graceful = json!({ "enableGracefulRestart": true });
    running.send_with_bgp(vec![peer("tor", &graceful)]).await;
    let mut told = Told::default();
    told.reaches(&running, "tor", &BOTH).await;
    let file = running.directory.path().join("herald.state");
    while !String::from_utf8_lossy(&std::fs::read(&file).unwrap_or_default()).contains("shop") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let directory = running.killed().await;
    let mut second = start_in_boot(directory, false, "another boot").await;
    second.interfaces.send_replace(Some(vec![lan("eth0")]));
    let plans = second.plans(&["tor"]).await;
    let restart = plans["tor"].session.restart.expect("as it asks for");
    assert!(
        restart.restarted.is_some() && !restart.forwarding_kept,
        "{restart:?}"
    );
    second.end().await;
}
