use std::time::{Duration, Instant};

use herald_api::slim;
use herald_model::Cidr;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

/// An API server for one core: applies the patches of services/status.
struct World {
    core: Core,
    services: HashMap<String, Value>,
    version: u64,
    writes: usize,
    now: Instant,
    date: Timestamp,
}

impl World {
    fn new(pools: &[(&str, &str)]) -> Self {
        let mut world = Self {
            core: Core::new(String::new()),
            services: HashMap::new(),
            version: 100,
            writes: 0,
            now: Instant::now(),
            date: Timestamp::UNIX_EPOCH,
        };
        world.pools(pools);
        world
    }

    fn pools(&mut self, pools: &[(&str, &str)]) {
        let pools = pools.iter().map(|(name, cidr)| Pool {
            name: (*name).to_owned(),
            cidrs: vec![cidr.parse::<Cidr>().expect("a prefix")],
            auto_assign: true,
            avoid_buggy_ips: false,
            allocation: None,
        });
        self.core.set_pools(pools.collect());
    }

    /// Creates or changes a Service and lets the watch show it.
    fn put(&mut self, name: &str, change: &Value) {
        self.edit(name, change);
        self.show(name);
    }

    /// Creates or changes a Service unseen.
    fn edit(&mut self, name: &str, change: &Value) {
        self.version += 1;
        let object = self.services.entry(name.to_owned()).or_insert_with(|| {
            json!({
                "metadata": {"namespace": "d", "name": name, "uid": name},
                "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]},
            })
        });
        merge(object, change);
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
    }

    fn show(&mut self, name: &str) {
        let service = self.service(name);
        self.core.apply(service);
    }

    fn service(&self, name: &str) -> Service {
        serde_json::from_value(self.services[name].clone()).expect("a Service")
    }

    fn begin(&mut self) {
        let all = self
            .services
            .keys()
            .map(|name| self.service(name))
            .collect();
        self.core
            .begin(all, &HashSet::new(), &self.version.to_string());
    }

    /// Sends the next write. True if there was one.
    fn send(&mut self) -> Option<Write> {
        self.core.decide();
        self.core.next_write(self.now, self.date)
    }

    /// What the API server makes of a write.
    fn receive(&mut self, write: &Write) {
        let name = write.service.name().to_owned();
        let Some(object) = self.services.get(&name) else {
            self.core.written(&write.service, Written::Gone);
            return;
        };
        if object["metadata"]["resourceVersion"] == write.patch["metadata"]["resourceVersion"] {
            self.writes += 1;
            self.edit(&name, &write.patch);
        }
        let now = Box::new(self.service(&name));
        self.core.written(&write.service, Written::Now(now));
    }

    /// A read of the Service as it is now.
    fn find(&mut self, name: &str) {
        let key = ServiceKey::new("d", name);
        let uid = self.core.uid(&key);
        let now = Box::new(self.service(name));
        self.core.found(&key, uid.as_deref(), Written::Now(now));
    }

    /// Writes until nothing is left to write.
    fn settle(&mut self) {
        while let Some(write) = self.send() {
            self.receive(&write);
        }
    }

    fn ip(&self, name: &str) -> Option<String> {
        let service = self.service(name);
        request::status_addresses(&service)
            .first()
            .map(ToString::to_string)
    }

    fn reasons(&mut self) -> Vec<&'static str> {
        self.core
            .take_notes()
            .iter()
            .map(|(_, note)| note.reason)
            .collect()
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (field, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("object").remove(field);
        } else {
            merge(&mut target[field], value);
        }
    }
}

#[test]
fn nothing_is_written_before_the_beginning() {
    let mut world = World::new(&[("p", "192.0.2.0/30")]);
    world.put("a", &json!({}));
    assert_eq!(world.send(), None);
    world.begin();
    world.settle();
    assert_eq!(world.ip("a").as_deref(), Some("192.0.2.0"));
    assert_eq!(world.reasons(), ["IPAllocated"]);
}

#[test]
fn the_steady_state_writes_nothing() {
    let mut world = World::new(&[("p", "192.0.2.0/30")]);
    world.put("a", &json!({}));
    world.begin();
    world.settle();
    assert_eq!(world.writes, 1);
    world.put("a", &json!({"metadata": {"labels": {"x": "y"}}}));
    world.pools(&[("p", "192.0.2.0/24")]);
    world.settle();
    world.begin();
    world.settle();
    assert_eq!(world.writes, 1);
    assert_eq!(world.reasons(), ["IPAllocated"]);
}

#[test]
fn addresses_survive_a_new_leader_in_any_order() {
    let mut world = World::new(&[("p", "192.0.2.0/24")]);
    for name in ["a", "b", "c", "d"] {
        world.put(name, &json!({}));
    }
    world.begin();
    world.settle();
    let before: Vec<_> = ["a", "b", "c", "d"].map(|name| world.ip(name)).into();
    // A new one that sorts before all others must not take what they have.
    world.put("0", &json!({}));
    world.core = Core::new(String::new());
    world.pools(&[("p", "192.0.2.0/24")]);
    world.begin();
    world.settle();
    let after: Vec<_> = ["a", "b", "c", "d"].map(|name| world.ip(name)).into();
    assert_eq!(before, after);
    assert_eq!(world.ip("0").as_deref(), Some("192.0.2.4"));
}

#[test]
fn what_came_from_a_pool_that_cannot_be_used_stays_until_it_is_corrected_or_deleted() {
    let good = ("good", "192.0.2.0/24");
    let mut world = World::new(&[good, ("typo", "198.51.100.0/30")]);
    let wish = json!({"metadata": {"annotations": {"metallb.io/address-pool": "typo"}}});
    world.put("kept", &wish);
    world.begin();
    world.settle();
    assert_eq!(world.ip("kept").as_deref(), Some("198.51.100.0"));

    // A new leader that never saw a version of the pool that it could read.
    let unusable = || BTreeSet::from(["typo".to_owned()]);
    world.core = Core::new(String::new());
    world.core.set_unusable_pools(unusable());
    world.pools(&[good]);
    world.begin();
    world.put("late", &wish);
    world.settle();
    assert_eq!(world.ip("kept").as_deref(), Some("198.51.100.0"));
    let reason = |world: &World, name: &str| {
        let condition = &world.services[name]["status"]["conditions"][0];
        (condition["status"].clone(), condition["reason"].clone())
    };
    let expected = |status: &str| (json!(status), json!("UnusablePool"));
    assert_eq!(reason(&world, "kept"), expected("True"));
    assert_eq!(reason(&world, "late"), expected("False"));
    assert_eq!(world.reasons(), ["AllocationFailed"], "of late only");

    // Corrected, it gives nobody else what is held of it, in whatever order they are decided.
    let writes = world.writes;
    world.core.set_unusable_pools(BTreeSet::new());
    world.pools(&[good, ("typo", "198.51.100.0/31")]);
    world.settle();
    assert_eq!(world.ip("kept").as_deref(), Some("198.51.100.0"));
    assert_eq!(world.ip("late").as_deref(), Some("198.51.100.1"));
    assert_eq!(world.writes, writes + 2);

    // Wrong again for a new leader, and a Service that asks for another pool moves.
    world.core = Core::new(String::new());
    world.core.set_unusable_pools(unusable());
    world.pools(&[good]);
    world.begin();
    let other = json!({"metadata": {"annotations": {"metallb.io/address-pool": "good"}}});
    world.put("late", &other);
    world.settle();
    assert_eq!(world.ip("late").as_deref(), Some("192.0.2.0"));
    assert_eq!(world.ip("kept").as_deref(), Some("198.51.100.0"));

    // Deleted is deleted.
    world.core.set_unusable_pools(BTreeSet::new());
    world.settle();
    assert_eq!(world.ip("kept"), None);
}

#[test]
fn a_leader_begins_with_what_the_last_one_wrote_unseen() {
    let mut world = World::new(&[("p", "192.0.2.0/24")]);
    world.put("a", &json!({}));
    world.put("b", &json!({}));
    // Another leader gave `b` the first address; our watch has not shown it.
    world.edit(
        "b",
        &json!({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.0"}]}}}),
    );
    world.begin();
    world.settle();
    assert_eq!(world.ip("b").as_deref(), Some("192.0.2.0"));
    assert_eq!(world.ip("a").as_deref(), Some("192.0.2.1"));
}

#[test]
fn one_write_at_a_time_for_a_service_and_the_next_is_made_of_its_result() {
    let mut world = World::new(&[("p", "192.0.2.0/24"), ("q", "198.51.100.0/24")]);
    world.put("a", &json!({}));
    world.begin();
    let first = world.send().expect("a write");
    world.put(
        "a",
        &json!({"metadata": {"annotations": {"metallb.io/address-pool": "q"}}}),
    );
    assert_eq!(world.send(), None, "one is under way");
    // The first is stale now: the API server refuses it, and what it shows is decided anew.
    world.receive(&first);
    assert_eq!(world.writes, 0);
    world.settle();
    assert_eq!(world.ip("a").as_deref(), Some("198.51.100.0"));
    assert_eq!(world.writes, 1);
}

#[test]
fn a_watch_that_lags_behind_a_write_undoes_nothing() {
    let mut world = World::new(&[("p", "192.0.2.0/24")]);
    world.put("a", &json!({}));
    let old = world.service("a");
    world.begin();
    world.settle();
    world.core.apply(old);
    world.settle();
    assert_eq!(world.writes, 1);
}

#[test]
fn a_freed_address_goes_to_the_one_that_waits_at_once() {
    let mut world = World::new(&[("p", "192.0.2.0/32")]);
    world.put("a", &json!({}));
    world.begin();
    world.settle();
    world.put("b", &json!({}));
    world.settle();
    assert_eq!(world.ip("b"), None);
    assert_eq!(world.reasons(), ["IPAllocated", "AllocationFailed"]);
    let condition = &world.services["b"]["status"]["conditions"][0];
    assert_eq!(
        (&condition["status"], &condition["reason"]),
        (&json!("False"), &json!("NoAvailableAddresses"))
    );
    world.services.remove("a");
    world.core.gone(&ServiceKey::new("d", "a"));
    world.settle();
    assert_eq!(world.ip("b").as_deref(), Some("192.0.2.0"));
    assert_eq!(world.reasons(), ["IPAllocated"]);
}

#[test]
fn a_service_that_changes_its_type_is_cleared_and_forgotten() {
    let mut world = World::new(&[("p", "192.0.2.0/32")]);
    world.put("a", &json!({}));
    world.put("b", &json!({}));
    world.begin();
    world.settle();
    // The API server empties the status itself; annotation and condition are ours to take away.
    world.put(
        "a",
        &json!({"spec": {"type": "ClusterIP"}, "status": {"loadBalancer": null}}),
    );
    world.settle();
    assert!(!status::is_marked(&world.service("a")));
    assert_eq!(world.ip("b").as_deref(), Some("192.0.2.0"));
    assert_eq!(world.core.services.len(), 1);
}

#[test]
fn what_is_not_ours_is_never_touched() {
    let mut world = World::new(&[("p", "192.0.2.0/24")]);
    let foreign = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}});
    world.put(
        "classed",
        &json!({"spec": {"loadBalancerClass": "x/y"}, "status": foreign}),
    );
    world.put("plain", &json!({"spec": {"type": "ClusterIP"}}));
    world.begin();
    world.settle();
    assert_eq!(world.writes, 0);
}

#[test]
fn an_unreadable_request_keeps_what_the_service_has_and_gets_nothing_new() {
    let mut world = World::new(&[("p", "192.0.2.0/24")]);
    let nonsense = json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "nonsense"}}});
    world.put("has", &json!({}));
    world.begin();
    world.settle();
    world.put("has", &nonsense);
    world.put("new", &nonsense);
    world.settle();
    assert_eq!(world.ip("has").as_deref(), Some("192.0.2.0"));
    assert_eq!(world.ip("new"), None);
    assert_eq!(
        world.reasons(),
        ["IPAllocated", "LoadBalancerFailed", "LoadBalancerFailed"]
    );
    // After a restart too.
    world.core = Core::new(String::new());
    world.pools(&[("p", "192.0.2.0/24")]);
    world.begin();
    world.settle();
    assert_eq!(world.ip("has").as_deref(), Some("192.0.2.0"));
    assert_eq!(world.reasons(), Vec::<&str>::new());
    // A pool that has it no more takes it, and no other takes its place.
    world.pools(&[("p", "198.51.100.0/24")]);
    world.settle();
    assert_eq!(world.ip("has"), None);
}

#[test]
fn a_failed_write_is_counted_and_made_again() {
    let mut world = World::new(&[("p", "192.0.2.0/24")]);
    world.put("a", &json!({}));
    world.begin();
    for failures in 1..=3 {
        let write = world.send().expect("a write");
        assert_eq!(
            world.core.written(&write.service, Written::Failed),
            Follow::ReadLater(failures)
        );
        assert_eq!(world.send(), None, "not before it is time");
        world.find("a");
    }
    world.settle();
    assert_eq!(world.ip("a").as_deref(), Some("192.0.2.0"));
    assert_eq!(world.reasons(), ["IPAllocated"]);
}

#[test]
fn a_service_deleted_during_its_write_gives_the_address_back() {
    let mut world = World::new(&[("p", "192.0.2.0/32")]);
    world.put("a", &json!({}));
    world.begin();
    let write = world.send().expect("a write");
    world.put("b", &json!({}));
    world.services.remove("a");
    world.receive(&write);
    world.settle();
    assert_eq!(world.ip("b").as_deref(), Some("192.0.2.0"));
}

#[test]
fn who_stops_leading_writes_no_more() {
    let mut world = World::new(&[("p", "192.0.2.0/24")]);
    world.put("a", &json!({}));
    world.begin();
    world.core.decide();
    world.core.stop();
    assert_eq!(world.send(), None);
    world.begin();
    world.settle();
    assert_eq!(world.ip("a").as_deref(), Some("192.0.2.0"));
}

#[test]
fn services_deleted_while_nobody_watched_are_found_by_the_list() {
    let mut world = World::new(&[("p", "192.0.2.0/32")]);
    world.put("a", &json!({}));
    world.put("b", &json!({}));
    world.begin();
    world.settle();
    world.core.stop();
    world.services.remove("a");
    world.version += 1;
    world.begin();
    world.settle();
    assert_eq!(world.ip("b").as_deref(), Some("192.0.2.0"));
}

#[test]
fn deprecated_annotations_are_told_when_the_service_changes() {
    let mut world = World::new(&[("p", "192.0.2.0/24")]);
    let old = json!({"metadata": {"annotations": {"metallb.universe.tf/address-pool": "p"}}});
    world.put("a", &old);
    world.begin();
    world.settle();
    assert_eq!(world.reasons(), ["IPAllocated", "deprecatedAnnotation"]);
    let mut trimmed = world.service("a");
    slim::trim(&mut trimmed);
    world.core.apply(trimmed);
    world.settle();
    assert_eq!(world.reasons(), Vec::<&str>::new());
}

#[test]
fn the_counters_follow_the_assignments() {
    let mut world = World::new(&[("p", "192.0.2.0/30")]);
    world.put("a", &json!({}));
    world.put("b", &json!({}));
    world.begin();
    world.settle();
    let usage: Vec<_> = world.core.usage().collect();
    let (pool, usage, services) = &usage[0];
    assert_eq!((pool.as_str(), *services), ("p", 2));
    assert_eq!(
        (usage.total_ipv4, usage.assigned_ipv4, usage.available_ipv4),
        (4, 2, 2)
    );
}

fn wish(addresses: &str) -> Value {
    json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": addresses}}})
}

#[test]
fn an_address_is_shown_by_its_next_owner_only_after_the_last_one_shows_it_no_more() {
    let mut world = World::new(&[("p", "192.0.2.0/29")]);
    world.put("a", &wish("192.0.2.1"));
    world.put("b", &wish("192.0.2.1"));
    world.begin();
    world.settle();
    assert_eq!(world.ip("a").as_deref(), Some("192.0.2.1"));
    world.put("a", &wish("192.0.2.2"));
    let first = world.send().expect("a moves");
    assert_eq!(first.service.name(), "a");
    assert_eq!(world.send(), None, "b waits");
    // A failed write of `a` changes nothing.
    let follow = world.core.written(&first.service, Written::Failed);
    assert_eq!(follow, Follow::ReadLater(1));
    assert_eq!(world.send(), None, "b still waits");
    world.find("a");
    let again = world.send().expect("a moves");
    assert_eq!(again.service.name(), "a");
    assert_eq!(world.send(), None);
    world.receive(&again);
    world.settle();
    assert_eq!(world.ip("a").as_deref(), Some("192.0.2.2"));
    assert_eq!(world.ip("b").as_deref(), Some("192.0.2.1"));
}

#[test]
fn who_waits_for_an_address_gets_it_when_the_last_owner_is_gone() {
    let mut world = World::new(&[("p", "192.0.2.0/29")]);
    world.put("a", &wish("192.0.2.1"));
    world.put("b", &wish("192.0.2.1"));
    world.begin();
    world.settle();
    world.put("a", &wish("192.0.2.2"));
    world.send().expect("a moves");
    assert_eq!(world.send(), None, "b waits");
    world.core.gone(&ServiceKey::new("d", "a"));
    assert_eq!(world.send().expect("b").service.name(), "b");
}

#[test]
fn a_write_of_unknown_outcome_counts_as_shown() {
    let mut world = World::new(&[("p", "192.0.2.0/29")]);
    world.put("a", &wish("192.0.2.1"));
    world.begin();
    let lost = world.send().expect("a gets one");
    world.core.written(&lost.service, Written::Failed);
    // It wants another, and the address goes on.
    let mut unseen = world.service("a");
    unseen.metadata.annotations = Some(
        [(
            "metallb.io/loadBalancerIPs".to_owned(),
            "192.0.2.2".to_owned(),
        )]
        .into(),
    );
    world.core.apply(unseen);
    world.put("b", &wish("192.0.2.1"));
    let next = world.send().expect("a moves");
    assert_eq!(next.service.name(), "a");
    assert_eq!(world.send(), None, "the API may show the address for a");
}

#[test]
fn services_that_change_places_do_not_wait_for_each_other() {
    let mut world = World::new(&[("p", "192.0.2.0/29")]);
    world.put("a", &wish("192.0.2.1"));
    world.put("b", &wish("192.0.2.2"));
    world.begin();
    world.settle();
    world.put("a", &wish("192.0.2.2"));
    world.put("b", &wish("192.0.2.1"));
    while let Some(write) = world.send() {
        world.receive(&write);
        let (a, b) = (world.ip("a"), world.ip("b"));
        assert!(a.is_none() || a != b, "{a:?} twice");
    }
    assert_eq!(world.ip("a").as_deref(), Some("192.0.2.2"));
    assert_eq!(world.ip("b").as_deref(), Some("192.0.2.1"));
}

#[test]
fn a_late_answer_that_a_service_is_gone_does_not_concern_the_next_of_its_name() {
    let mut world = World::new(&[("p", "192.0.2.0/29")]);
    world.put("a", &json!({}));
    world.begin();
    let key = ServiceKey::new("d", "a");
    let before = world.core.uid(&key);
    let write = world.send().expect("a write");
    world.put("a", &json!({"metadata": {"uid": "second"}}));
    world.core.found(&key, before.as_deref(), Written::Gone);
    assert!(world.core.services.contains_key(&key));
    world.core.written(&write.service, Written::Gone);
    assert!(world.core.services.contains_key(&key));
    let now = world.core.uid(&key);
    world.core.found(&key, now.as_deref(), Written::Gone);
    assert!(!world.core.services.contains_key(&key));
}

#[test]
fn a_late_event_of_a_deleted_service_does_not_replace_the_next_of_its_name() {
    let mut world = World::new(&[("p", "192.0.2.0/29")]);
    world.put("a", &json!({}));
    let old = world.service("a");
    world.put("a", &json!({"metadata": {"uid": "second"}}));
    world.core.apply(old);
    let uid = world.core.uid(&ServiceKey::new("d", "a"));
    assert_eq!(uid.as_deref(), Some("second"));
}

#[test]
fn the_answer_to_a_write_does_not_bring_back_a_deleted_service() {
    let mut world = World::new(&[("p", "192.0.2.0/29")]);
    world.put("a", &json!({}));
    world.begin();
    let write = world.send().expect("a write");
    world.core.gone(&write.service);
    let now = Written::Now(Box::new(world.service("a")));
    assert_eq!(world.core.written(&write.service, now), Follow::Read);
    assert!(world.core.services.is_empty());
}

#[test]
fn writes_that_another_controller_undoes_are_paced_and_told_once() {
    let mut world = World::new(&[("p", "192.0.2.0/29")]);
    world.put("a", &json!({}));
    world.begin();
    world.settle();
    world.reasons();
    let undo = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}});
    let key = ServiceKey::new("d", "a");
    for _ in 0..2 {
        world.put("a", &undo);
        world.settle();
        assert_eq!(world.ip("a").as_deref(), Some("192.0.2.0"), "at once");
    }
    for pauses in 1..=3 {
        world.put("a", &undo);
        world.settle();
        assert_eq!(world.ip("a").as_deref(), Some("203.0.113.1"), "not yet");
        assert_eq!(world.core.take_pauses(), [(key.clone(), pauses)]);
        world.core.resume(&key);
        world.settle();
        assert_eq!(world.ip("a").as_deref(), Some("192.0.2.0"));
    }
    assert_eq!(world.reasons(), ["StatusOverwritten"]);
    // A new decision is written at once.
    world.put("a", &wish("192.0.2.3"));
    world.settle();
    assert_eq!(world.ip("a").as_deref(), Some("192.0.2.3"));
}

#[test]
fn how_often_a_write_is_undone_does_not_depend_on_the_time_of_day() {
    let undo = json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}});
    for (pause, too_often) in [
        (Duration::from_secs(10), true),
        (Duration::from_mins(3), false),
    ] {
        let mut world = World::new(&[("p", "192.0.2.0/29")]);
        world.put("a", &json!({}));
        world.begin();
        world.settle();
        // The clock jumps by decades, forth and back.
        for date in [4_000_000_000, 0, 2_000_000_000, -1_000_000_000] {
            world.date = Timestamp::from_second(date).expect("in range");
            world.now += pause;
            world.put("a", &undo);
            world.settle();
        }
        assert_eq!(!world.core.take_pauses().is_empty(), too_often, "{pause:?}");
    }
}

#[test]
fn a_service_that_cannot_be_read_keeps_its_address_when_a_leader_begins() {
    let mut world = World::new(&[("p", "192.0.2.0/29")]);
    world.put("a", &json!({}));
    world.begin();
    world.settle();
    world.core.stop();
    world.put("b", &json!({}));
    world.version += 1;
    let list = vec![world.service("b")];
    let malformed = HashSet::from([ServiceKey::new("d", "a")]);
    let version = world.version.to_string();
    world.core.begin(list, &malformed, &version);
    world.settle();
    assert_eq!(world.ip("a").as_deref(), Some("192.0.2.0"));
    assert_eq!(world.ip("b").as_deref(), Some("192.0.2.1"));
}
