//! The ledger against an API server of a few lines.

use std::collections::BTreeMap;

use herald_api::annotations::{LABEL_NODE, LABEL_SERVICE_NAME, LABEL_SERVICE_NAMESPACE};
use herald_api::kinds::{InterfaceInfo, ServiceL2Status, ServiceL2StatusStatus};
use herald_model::ServiceKey;
use herald_runtime::watch::ObjectName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::*;
use crate::status::Layer2;

type Ledger = super::Ledger<Layer2>;
type Step = super::Step<Vec<InterfaceInfo>>;

const ME: &str = "n1";
const POD: &str = "pod-of-this-life";

/// The objects that there are, and the clock.
struct Server {
    now: Instant,
    revision: u64,
    objects: BTreeMap<String, ServiceL2Status>,
    /// What the watch has not yet told.
    events: Vec<Event<ServiceL2Status>>,
    requests: usize,
}

fn web() -> ServiceKey {
    ServiceKey::new("shop", "web")
}

fn named(names: &[&str]) -> Vec<InterfaceInfo> {
    names
        .iter()
        .map(|name| InterfaceInfo {
            name: (*name).to_owned(),
        })
        .collect()
}

fn owner(uid: &str) -> Vec<OwnerReference> {
    vec![OwnerReference {
        uid: uid.to_owned(),
        ..OwnerReference::default()
    }]
}

impl Server {
    fn new() -> Self {
        Self {
            now: Instant::now(),
            revision: 0,
            objects: BTreeMap::new(),
            events: Vec::new(),
            requests: 0,
        }
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new(ME.into(), Some(POD.to_owned()));
        ledger.take(self.now, self.list());
        ledger
    }

    fn list(&self) -> Event<ServiceL2Status> {
        Event::Restarted {
            objects: self.objects.values().cloned().collect(),
            malformed: Vec::new(),
        }
    }

    /// Somebody makes an object.
    fn make(
        &mut self,
        node: &str,
        key: &ServiceKey,
        pod: &str,
        said: Option<&[&str]>,
    ) -> ServiceL2Status {
        let labels = [
            (LABEL_NODE, node),
            (LABEL_SERVICE_NAME, key.name()),
            (LABEL_SERVICE_NAMESPACE, key.namespace()),
        ];
        let name = format!("l2-{}", self.revision);
        let object = ServiceL2Status {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                uid: Some(format!("uid of {name}")),
                labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
                owner_references: Some(owner(pod)),
                ..ObjectMeta::default()
            },
            status: said.map(|names| ServiceL2StatusStatus {
                node: node.to_owned(),
                service_name: key.name().to_owned(),
                service_namespace: key.namespace().to_owned(),
                interfaces: named(names),
            }),
            ..ServiceL2Status::default()
        };
        self.store(object)
    }

    fn store(&mut self, mut object: ServiceL2Status) -> ServiceL2Status {
        self.revision += 1;
        object.metadata.resource_version = Some(self.revision.to_string());
        self.objects.insert(object.name_any(), object.clone());
        self.events.push(Event::Applied(object.clone()));
        object
    }

    /// Somebody deletes an object, or the garbage collector does.
    fn delete(&mut self, name: &str) {
        if self.objects.remove(name).is_some() {
            self.events.push(Event::Deleted(ObjectName {
                namespace: None,
                name: name.to_owned(),
            }));
        }
    }

    fn delete_all(&mut self) {
        let names: Vec<_> = self.objects.keys().cloned().collect();
        for name in names {
            self.delete(&name);
        }
    }

    fn request(&mut self, ledger: &mut Ledger, key: &ServiceKey, step: &Step) {
        self.requests += 1;
        let answer = match step {
            Step::Create => Some(self.make(ME, key, POD, None)),
            Step::Own { name } => self.objects.get(name).cloned().map(|mut object| {
                object.metadata.owner_references = Some(owner(POD));
                self.store(object)
            }),
            Step::Say { name, content } => self.objects.get(name).cloned().map(|mut object| {
                object.status = Some(ServiceL2StatusStatus {
                    node: ME.to_owned(),
                    service_name: key.name().to_owned(),
                    service_namespace: key.namespace().to_owned(),
                    interfaces: content.clone(),
                });
                self.store(object)
            }),
            Step::Delete { name } => {
                self.delete(name);
                ledger.deleted(name);
                return;
            }
        };
        match answer {
            Some(object) => ledger.changed(&object),
            None => ledger.failed(self.now, key, step, &Failure::Gone),
        }
    }

    fn watch(&mut self, ledger: &mut Ledger) {
        for event in std::mem::take(&mut self.events) {
            ledger.take(self.now, event);
        }
    }

    /// Until nothing is left to do; the watch tells late of everything. How many requests it took.
    fn settle(&mut self, ledger: &mut Ledger) -> usize {
        let before = self.requests;
        for _ in 0..5000 {
            if let Some((key, step)) = ledger.next(self.now) {
                self.request(ledger, &key, &step);
            } else if !self.events.is_empty() {
                self.watch(ledger);
            } else if let Some(due) = ledger.next_due() {
                self.now = self.now.max(due);
            } else {
                return self.requests - before;
            }
        }
        panic!("no end in sight after {} requests", self.requests);
    }

    /// Node, owner and interfaces of each object.
    fn says(&self) -> Vec<(String, String, Vec<InterfaceInfo>)> {
        self.objects
            .values()
            .map(|object| {
                let status = object.status.clone().unwrap_or_default();
                let owner = object.owner_references()[0].uid.clone();
                (status.node, owner, status.interfaces)
            })
            .collect()
    }

    fn only_mine(&self, names: &[&str]) {
        assert_eq!(self.says(), [(ME.to_owned(), POD.to_owned(), named(names))]);
    }
}

#[test]
fn a_takeover_costs_what_it_changes_and_rest_costs_nothing() {
    let mut server = Server::new();
    server.make("n2", &web(), "other", Some(&[]));
    let mut ledger = server.ledger();
    assert_eq!(server.settle(&mut ledger), 0, "it is not ours to judge");
    ledger.want(server.now, web(), Some(named(&["eth0"])));
    // Create, status, and the deletion of the other's.
    assert_eq!(server.settle(&mut ledger), 3);
    server.only_mine(&["eth0"]);
    // The same again, a relist, and the watch's echo.
    ledger.want(server.now, web(), Some(named(&["eth0"])));
    let list = server.list();
    ledger.take(server.now, list);
    assert_eq!(server.settle(&mut ledger), 0);
    ledger.want(server.now, web(), Some(named(&["eth1"])));
    assert_eq!(server.settle(&mut ledger), 1);
    server.only_mine(&["eth1"]);
    ledger.want(server.now, web(), None);
    assert_eq!(server.settle(&mut ledger), 1);
    assert_eq!(server.says(), []);
}

#[test]
fn what_an_earlier_life_left_is_made_ours_or_taken_away() {
    let mut server = Server::new();
    let old = server.make(ME, &web(), "dead", Some(&[]));
    server.make(ME, &web(), "dead", Some(&[]));
    server.make(ME, &ServiceKey::new("shop", "gone"), "dead", Some(&[]));
    server.make("n2", &ServiceKey::new("shop", "theirs"), "other", Some(&[]));
    let mut ledger = Ledger::new(ME.into(), Some(POD.to_owned()));
    ledger.want(server.now, web(), Some(Vec::new()));
    assert_eq!(ledger.next(server.now), None, "nothing is known yet");
    let list = server.list();
    ledger.take(server.now, list);
    server.settle(&mut ledger);
    let says = server.says();
    assert_eq!(says.len(), 2, "{says:?}");
    assert!(says.contains(&(ME.to_owned(), POD.to_owned(), Vec::new())));
    assert!(says.contains(&("n2".to_owned(), "other".to_owned(), Vec::new())));
    assert_ne!(old.owner_references()[0].uid, POD);
}

#[test]
fn an_object_that_goes_with_its_dead_owner_is_made_again() {
    let mut server = Server::new();
    let old = server.make(ME, &web(), "dead", Some(&[]));
    let mut ledger = server.ledger();
    ledger.want(server.now, web(), Some(Vec::new()));
    // Collected between the watch's word and our request: the request does not find it.
    server.delete(&old.name_any());
    let now = server.now;
    server.settle(&mut ledger);
    server.only_mine(&[]);
    assert_eq!(server.now, now, "not found is no reason to wait");
    // And so again whenever somebody deletes it.
    for _ in 0..3 {
        server.delete_all();
        assert_eq!(server.settle(&mut ledger), 2);
        server.only_mine(&[]);
    }
}

#[test]
fn what_somebody_changed_is_put_right() {
    let mut server = Server::new();
    let mut ledger = server.ledger();
    ledger.want(server.now, web(), Some(Vec::new()));
    server.settle(&mut ledger);
    let mut object = server
        .objects
        .values()
        .next()
        .cloned()
        .expect("there is one");
    object.metadata.owner_references = Some(owner("somebody"));
    object.status.as_mut().expect("written").interfaces = named(&["eth9"]);
    let name = object.name_any();
    server.store(object);
    server.settle(&mut ledger);
    server.only_mine(&[]);
    // Without its labels it is nobody's, and another takes its place.
    let mut object = server.objects[&name].clone();
    object.metadata.labels = None;
    server.store(object);
    server.settle(&mut ledger);
    assert_eq!(server.objects.len(), 2);
    // One that names another node cannot be corrected.
    server.objects.remove(&name);
    let mut other = server
        .objects
        .values()
        .next()
        .cloned()
        .expect("there is one");
    other.status.as_mut().expect("written").node = "n7".to_owned();
    server.store(other);
    server.settle(&mut ledger);
    server.only_mine(&[]);
}

#[test]
fn two_that_both_believe_to_announce_do_not_race() {
    let mut server = Server::new();
    let mut ledger = server.ledger();
    ledger.want(server.now, web(), Some(Vec::new()));
    server.settle(&mut ledger);
    let start = server.now;
    for _ in 0..8 {
        server.delete_all();
        server.make("n2", &web(), "other", Some(&[]));
        server.settle(&mut ledger);
        server.only_mine(&[]);
    }
    // Pauses from 0.2 s, doubled each time, of which at least half is kept.
    assert!(
        server.now - start >= Duration::from_secs(12),
        "{:?}",
        server.now - start
    );
    // A new word from the engine is followed at once.
    server.delete_all();
    server.watch(&mut ledger);
    ledger.want(server.now, web(), Some(named(&["eth0"])));
    assert_eq!(ledger.next(server.now), Some((web(), Step::Create)));
}

#[test]
fn a_service_whose_object_is_refused_holds_up_no_other() {
    let mut server = Server::new();
    let mut ledger = server.ledger();
    let bad = ServiceKey::new("shop", "bad");
    ledger.want(server.now, bad.clone(), Some(Vec::new()));
    ledger.want(server.now, web(), Some(Vec::new()));
    let refused = Failure::Refused("no".to_owned());
    let mut attempts = 0;
    let start = server.now;
    while server.now < start + Duration::from_mins(2) {
        match ledger.next(server.now) {
            Some((key, step)) if key == bad => {
                attempts += 1;
                ledger.failed(server.now, &key, &step, &refused);
            }
            Some((key, step)) => {
                assert_eq!(server.now, start, "it does not wait");
                server.request(&mut ledger, &key, &step);
            }
            None => server.now = ledger.next_due().expect("bad is tried again"),
        }
    }
    server.only_mine(&[]);
    assert!((8..25).contains(&attempts), "{attempts}");
}

#[test]
fn an_api_server_that_is_not_available_is_asked_seldom() {
    let mut server = Server::new();
    let mut ledger = server.ledger();
    for number in 0..500 {
        let key = ServiceKey::new("shop", format!("s{number}"));
        ledger.want(server.now, key, Some(Vec::new()));
    }
    let down = Failure::Unavailable("connection refused".to_owned());
    let start = server.now;
    let mut attempts = 0;
    while server.now < start + Duration::from_mins(2) {
        match ledger.next(server.now) {
            Some((key, step)) => {
                attempts += 1;
                ledger.failed(server.now, &key, &step, &down);
            }
            None => server.now = ledger.next_due().expect("something is wanted"),
        }
    }
    assert!((8..25).contains(&attempts), "{attempts}");
    server.settle(&mut ledger);
    assert_eq!(server.objects.len(), 500);
}
