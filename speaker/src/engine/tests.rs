//! The engine without an API: events in, desired addresses out.

use std::net::IpAddr;
use std::time::Duration;

use herald_api::kinds::ConfigurationState;
use herald_api::slim;
use herald_model::MacAddress;
use herald_ownership::Duty;
use herald_runtime::supervise::Supervisor;
use herald_runtime::watch::{Event, Malformed, ObjectName};
use herald_runtime::{debug, events, health::Readiness};
use kube::{Client, Config};
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::convert;
use crate::group::{LinkEnd, link};

mod bgp_sessions;
mod grouped;

struct Running {
    inputs: mpsc::Sender<Input>,
    interfaces: watch::Sender<Option<Vec<LanInterface>>>,
    desired: watch::Receiver<Arc<Desired>>,
    commands: mpsc::Receiver<Command>,
    sightings: mpsc::Sender<Sighting>,
    conflicts: watch::Receiver<Conflicting>,
    findings: watch::Receiver<Option<Findings>>,
    plans: watch::Receiver<Arc<bgp::Plans>>,
    routes: bgp::RouteQueue,
    sessions: watch::Sender<Arc<bgp::Statuses>>,
    statuses: status::Queues,
    readiness: Readiness,
    shown: watch::Receiver<Shown>,
    token: CancellationToken,
    task: JoinHandle<TaskResult>,
    group: Option<LinkEnd>,
    supervisor: Supervisor,
    directory: tempfile::TempDir,
    asker: debug::Asker,
    _events: events::Sender,
    state_writer: JoinHandle<TaskResult>,
}

/// An engine of node `me` that has got nothing yet and is in no group.
async fn start() -> Running {
    let directory = tempfile::tempdir().expect("a directory");
    start_in(directory, false).await
}

/// The same with a group, and with what is in the directory.
async fn start_in(directory: tempfile::TempDir, grouped: bool) -> Running {
    start_in_boot(directory, grouped, "the boot").await
}

/// The same in this boot of the node.
async fn start_in_boot(directory: tempfile::TempDir, grouped: bool, boot: &str) -> Running {
    // Installed by another test already, perhaps.
    herald_runtime::install_crypto_provider();
    let nowhere = Config::new("http://127.0.0.1:1".parse().expect("valid"));
    let client = Client::try_from(nowhere).expect("a client connects only when used");
    let mut registry = Registry::default();
    let (recorder, sender) = events::recorder(client, "test", "me", &mut registry);
    let (inputs, inputs_here) = mpsc::channel(100);
    let (interfaces, interfaces_here) = watch::channel(None);
    let (desired_here, desired) = watch::channel(Arc::default());
    let (findings_here, findings) = watch::channel(None);
    let (plans_here, plans) = watch::channel(Arc::default());
    let routes = bgp::RouteQueue::default();
    let (sessions, sessions_here) = watch::channel(Arc::default());
    let statuses = status::Queues::default();
    let readiness = Readiness::new();
    let (shown_here, shown) = watch::channel(None);
    let (commands_here, commands) = mpsc::channel(1000);
    let (sightings, sightings_here) = mpsc::channel(100);
    let (conflicts_here, conflicts) = watch::channel(Conflicting::new());
    let (link, group) = if grouped {
        let (link, end) = link(1);
        (Some(link), Some(end))
    } else {
        (None, None)
    };
    let mut supervisor = Supervisor::new();
    let (asker, questions) = debug::channel();
    let opened = crate::state::open::<Kept>(directory.path().to_owned(), "me".into()).await;
    let writer = tokio::spawn(opened.writer.run());
    let io = Io {
        inputs: inputs_here,
        interfaces: interfaces_here,
        desired: desired_here,
        commands: commands_here,
        sightings: sightings_here,
        group: link,
        conflicts: conflicts_here,
        drain: Some(supervisor.drain(Duration::from_secs(20))),
        plans: plans_here,
        routes: routes.clone(),
        sessions: sessions_here,
        statuses: statuses.clone(),
        events: recorder,
        findings: findings_here,
        shown: shown_here,
        ready: Some(readiness.block("the stores")),
        questions,
    };
    let settings = Settings {
        me: "me".into(),
        class: String::new(),
        ignore_exclude: false,
        handover: Duration::from_secs(5),
        bgp_shutdown_wait: Duration::from_millis(300),
        boot: Some(boot.to_owned()),
    };
    let metrics = Metrics::register(&mut registry, &"me".into());
    let token = supervisor.token();
    let engine = Engine::new(Instant::now(), settings, io, metrics, opened.saved);
    let task = tokio::spawn(engine.run(opened.journal, token.clone()));
    Running {
        inputs,
        interfaces,
        desired,
        commands,
        sightings,
        conflicts,
        findings,
        plans,
        routes,
        sessions,
        statuses,
        readiness,
        shown,
        token,
        task,
        group,
        supervisor,
        directory,
        asker,
        _events: sender,
        state_writer: writer,
    }
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("valid")
}

fn service(name: &str, ip: &str) -> slim::Service {
    object(json!({
        "metadata": { "name": name, "namespace": "shop", "uid": name },
        "spec": { "type": "LoadBalancer" },
        "status": { "loadBalancer": { "ingress": [{ "ip": ip }] } },
    }))
}

fn slice(name: &str, ready: bool) -> slim::EndpointSlice {
    object(json!({
        "metadata": {
            "name": name, "namespace": "shop",
            "labels": { "kubernetes.io/service-name": name },
        },
        "addressType": "IPv4",
        "endpoints": [
            { "addresses": ["10.0.0.1"], "nodeName": "me", "conditions": { "ready": ready } },
        ],
    }))
}

fn all<K>(objects: Vec<K>) -> Event<K> {
    Event::Restarted {
        objects,
        malformed: Vec::new(),
    }
}

fn malformed(name: &str, namespace: &str) -> Malformed {
    Malformed {
        name: ObjectName {
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        },
        uid: None,
        error: "spec: not a map".to_owned(),
    }
}

fn pool(addresses: &str) -> herald_api::IPAddressPool {
    object(json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": { "name": "pool", "namespace": "metallb-system" },
        "spec": { "addresses": [addresses] },
    }))
}

fn lan(name: &str) -> LanInterface {
    LanInterface {
        name: name.to_owned(),
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        arp: true,
        ndp: true,
        prefixes: BTreeSet::new(),
        canary: None,
    }
}

/// What the speaker of `node` published.
fn state(node: &str, interfaces: &str) -> ConfigurationState {
    object(json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState",
        "metadata": {
            "name": format!("speaker-{node}"), "namespace": "metallb-system",
            "labels": { "metallb.io/node-name": node },
            "annotations": { convert::INTERFACES: interfaces },
        },
        "spec": {},
    }))
}

fn announced(desired: &Desired) -> impl Iterator<Item = &IpAddr> {
    let announced = desired
        .iter()
        .filter(|(_, task)| task.duty == Duty::Announce);
    announced.map(|(address, _)| address)
}

impl Running {
    async fn send(&self, input: Input) {
        self.inputs.send(input).await.expect("the engine runs");
    }

    /// Everything for the Services `a` (192.0.2.1) and `b` (192.0.2.2), except the Services.
    async fn send_the_rest(&self) {
        self.interfaces.send_replace(Some(vec![lan("eth0")]));
        self.send(Input::Slices(all(vec![slice("a", true), slice("b", true)])))
            .await;
        let node = json!({ "metadata": { "name": "me" } });
        self.send(Input::Nodes(all(vec![object(node)]))).await;
        self.send(Input::Pools(all(vec![pool("192.0.2.0/24")])))
            .await;
        let advertisement = object(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
            "metadata": { "name": "all", "namespace": "metallb-system" },
            "spec": {},
        }));
        self.send(Input::Advertisements(all(vec![advertisement])))
            .await;
        self.send_no_bgp().await;
        self.send(Input::Speakers(all(Vec::new()))).await;
    }

    async fn send_no_bgp(&self) {
        self.send(Input::BgpAdvertisements(all(Vec::new()))).await;
        self.send(Input::Peers(all(Vec::new()))).await;
        self.send(Input::Profiles(all(Vec::new()))).await;
        self.send(Input::Communities(all(Vec::new()))).await;
        self.send(Input::Secrets(all(Vec::new()))).await;
    }

    async fn announces(&mut self, addresses: &[&str]) {
        let wanted: Vec<IpAddr> = addresses
            .iter()
            .map(|a| a.parse().expect("valid"))
            .collect();
        let reached = self
            .desired
            .wait_for(|desired| announced(desired).eq(wanted.iter()));
        tokio::time::timeout(Duration::from_secs(5), reached)
            .await
            .unwrap_or_else(|_| panic!("not announcing {addresses:?}"))
            .expect("the engine runs");
    }

    /// Lets the engine handle all that was sent.
    async fn idle(&self) {
        while self.inputs.capacity() < self.inputs.max_capacity() {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
    }

    /// Ends as a process does that is killed, and leaves what is on its disk.
    async fn killed(self) -> tempfile::TempDir {
        self.task.abort();
        self.state_writer.abort();
        let _ = self.state_writer.await;
        self.directory
    }

    async fn end(self) {
        self.token.cancel();
        self.task.await.expect("no panic").expect("asked to end");
    }
}

#[tokio::test]
async fn nothing_is_announced_before_every_store_is_complete() {
    let mut running = start().await;
    running.send_the_rest().await;
    running
        .send(Input::Services(Event::Applied(service("a", "192.0.2.1"))))
        .await;
    running.idle().await;
    assert!(running.desired.borrow().is_empty());
    assert_eq!(running.readiness.pending(), ["the stores"]);
    let both = vec![service("a", "192.0.2.1"), service("b", "192.0.2.2")];
    running.send(Input::Services(all(both))).await;
    running.announces(&["192.0.2.1", "192.0.2.2"]).await;
    running.idle().await;
    assert!(running.readiness.pending().is_empty());
    running.end().await;
}

#[tokio::test]
async fn endpoints_services_and_interfaces_are_followed() {
    let mut running = start().await;
    running.send_the_rest().await;
    let both = vec![service("a", "192.0.2.1"), service("b", "192.0.2.2")];
    running.send(Input::Services(all(both))).await;
    running.announces(&["192.0.2.1", "192.0.2.2"]).await;
    running
        .send(Input::Slices(Event::Applied(slice("a", false))))
        .await;
    running.announces(&["192.0.2.2"]).await;
    running
        .send(Input::Slices(Event::Applied(slice("a", true))))
        .await;
    running.announces(&["192.0.2.1", "192.0.2.2"]).await;
    let gone = ObjectName {
        namespace: Some("shop".to_owned()),
        name: "b".to_owned(),
    };
    running.send(Input::Services(Event::Deleted(gone))).await;
    running.announces(&["192.0.2.1"]).await;
    running.interfaces.send_replace(Some(Vec::new()));
    running.announces(&[]).await;
    running.interfaces.send_replace(Some(vec![lan("eth1")]));
    running.announces(&["192.0.2.1"]).await;
    running.end().await;
}

#[tokio::test]
async fn who_asks_is_told_all_that_was_decided_and_why() {
    let mut running = start().await;
    running.send_the_rest().await;
    let slices = all(vec![slice("a", true), slice("b", false)]);
    running.send(Input::Slices(slices)).await;
    let both = vec![service("a", "192.0.2.1"), service("b", "192.0.2.2")];
    running.send(Input::Services(all(both))).await;
    running.announces(&["192.0.2.1"]).await;
    let state = running.asker.ask().await.expect("the engine answers");
    assert_eq!(state["node"], "me");
    assert_eq!(state["begun"], true);
    assert_eq!(state["group"], Value::Null);
    assert_eq!(
        state["addresses"]["192.0.2.1"],
        json!({ "status": "held", "services": ["shop/a"] })
    );
    let layer2 = |name: &str| state["services"][name]["layer2"].clone();
    assert_eq!(
        layer2("shop/a"),
        json!({ "announced": ["192.0.2.1"], "interfaces": "all" })
    );
    let why = &layer2("shop/b")["withheld"];
    assert!(why.is_string(), "{state:#}");
    running.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_keeps_what_was_known_of_it() {
    let mut running = start().await;
    running.send_the_rest().await;
    let both = vec![service("a", "192.0.2.1"), service("b", "192.0.2.2")];
    running.send(Input::Services(all(both))).await;
    running.announces(&["192.0.2.1", "192.0.2.2"]).await;
    let relist = Event::Restarted {
        objects: Vec::new(),
        malformed: vec![malformed("a", "shop")],
    };
    running.send(Input::Services(relist)).await;
    running.announces(&["192.0.2.1"]).await;
    running
        .send(Input::Slices(Event::Malformed(malformed("a", "shop"))))
        .await;
    running
        .send(Input::Pools(Event::Applied(pool("backwards"))))
        .await;
    let told = running
        .findings
        .wait_for(|f| f.as_ref().is_some_and(|f| f.problems.len() == 1));
    told.await.expect("the engine runs");
    running.idle().await;
    running.announces(&["192.0.2.1"]).await;
    running.end().await;
}

#[tokio::test]
async fn a_pool_that_no_longer_has_the_address_withdraws_it() {
    let mut running = start().await;
    running.send_the_rest().await;
    running
        .send(Input::Services(all(vec![service("a", "192.0.2.1")])))
        .await;
    running.announces(&["192.0.2.1"]).await;
    running
        .send(Input::Pools(Event::Applied(pool("198.51.100.0/24"))))
        .await;
    running.announces(&[]).await;
    running
        .send(Input::Pools(Event::Applied(pool("192.0.2.0/24"))))
        .await;
    running.announces(&["192.0.2.1"]).await;
    running.end().await;
}

#[tokio::test]
async fn without_a_group_what_the_election_gives_another_is_let_go_and_nothing_is_asked() {
    let mut running = start().await;
    running.send_the_rest().await;
    let both = vec![service("a", "192.0.2.1"), service("b", "192.0.2.3")];
    running.send(Input::Services(all(both))).await;
    running.announces(&["192.0.2.1", "192.0.2.3"]).await;
    // The hash puts it first for 192.0.2.1, and second for 192.0.2.3.
    let node = object(json!({ "metadata": { "name": "other" } }));
    running.send(Input::Nodes(Event::Applied(node))).await;
    running
        .send(Input::Speakers(Event::Applied(state("other", "eth0"))))
        .await;
    running.announces(&["192.0.2.3"]).await;
    let gone = ObjectName {
        namespace: None,
        name: "other".to_owned(),
    };
    running.send(Input::Nodes(Event::Deleted(gone))).await;
    running.announces(&["192.0.2.1", "192.0.2.3"]).await;
    while let Ok(command) = running.commands.try_recv() {
        assert!(matches!(command, Command::Announce(_)), "{command:?}");
    }
    running.end().await;
}

#[tokio::test]
async fn that_the_others_end_too_is_no_failure() {
    for _ in 0..20 {
        let running = start().await;
        tokio::task::yield_now().await;
        running.token.cancel();
        drop((running.interfaces, running.sightings, running.commands));
        running.task.await.expect("no panic").expect("asked to end");
    }
}

#[tokio::test]
async fn what_the_api_shows_of_the_own_presence_is_passed_on() {
    let running = start().await;
    running.send_the_rest().await;
    running.idle().await;
    let mut shown = running.shown.clone();
    assert!(shown.borrow_and_update().is_none(), "the list is empty");
    let mine = state("me", "eth0");
    running
        .send(Input::Speakers(Event::Applied(mine.clone())))
        .await;
    shown.changed().await.expect("the engine runs");
    assert_eq!(shown.borrow_and_update().as_deref(), Some(&mine));
    running
        .send(Input::Speakers(Event::Applied(state("other", "eth9"))))
        .await;
    running.idle().await;
    assert!(!shown.has_changed().expect("the engine runs"));
    let gone = ObjectName {
        namespace: Some("metallb-system".to_owned()),
        name: "speaker-me".to_owned(),
    };
    running.send(Input::Speakers(Event::Deleted(gone))).await;
    shown.changed().await.expect("the engine runs");
    assert!(shown.borrow_and_update().is_none(), "it was deleted");
    // Somebody took its labels: it is ours by its name.
    let mut bare = mine.clone();
    bare.metadata.labels = None;
    running
        .send(Input::Speakers(Event::Applied(bare.clone())))
        .await;
    shown.changed().await.expect("the engine runs");
    assert_eq!(shown.borrow_and_update().as_deref(), Some(&bare));
    running.end().await;
}

#[tokio::test]
async fn an_interface_that_is_gained_counts_when_the_others_know_of_it_and_a_lost_one_at_once() {
    let mut running = start().await;
    running.send_the_rest().await;
    running
        .send(Input::Services(all(vec![service("a", "192.0.2.1")])))
        .await;
    // Not published yet: the others take this node for one with any interface.
    running.announces(&["192.0.2.1"]).await;
    let publish = async |running: &Running, interfaces: &str| {
        let state = Event::Applied(state("me", interfaces));
        running.send(Input::Speakers(state)).await;
        running.idle().await;
    };
    publish(&running, "eth0").await;
    running.announces(&["192.0.2.1"]).await;

    running.interfaces.send_replace(Some(Vec::new()));
    running.announces(&[]).await;
    publish(&running, "").await;
    running.interfaces.send_replace(Some(vec![lan("eth0")]));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(running.desired.borrow().is_empty(), "another node has it");
    publish(&running, "eth0").await;
    running.announces(&["192.0.2.1"]).await;

    // With nothing published any more, as at the start.
    publish(&running, "").await;
    running.announces(&[]).await;
    running.send(Input::Speakers(all(Vec::new()))).await;
    running.announces(&["192.0.2.1"]).await;
    running.end().await;
}
