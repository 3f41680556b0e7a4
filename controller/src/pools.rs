//! The pools: from objects to a configuration, and their status counters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use herald_api::config::{Configurator, Consequence, Problem, Resources};
use herald_api::kinds::{IPAddressPool, IPAddressPoolStatus};
use herald_api::slim::Namespace;
use herald_ipam::{Pool, Usage};
use herald_model::Labels;
use herald_runtime::events::Subject;
use herald_runtime::watch::Event;
use kube::ResourceExt as _;

/// The pools and namespaces that the API shows, and the configuration they make.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    resources: Resources,
    configurator: Configurator,
    subjects: HashMap<String, Subject>,
    /// What each pool's object was made a configuration of.
    traces: HashMap<String, Trace>,
    /// The status that each pool's object shows.
    shown: BTreeMap<String, Option<IPAddressPoolStatus>>,
    in_force: Vec<Pool>,
    problems: Vec<Problem>,
    loaded: bool,
}

/// What tells one version of a pool's object from another, but for its status.
#[derive(Debug, PartialEq)]
struct Trace {
    uid: Option<String>,
    labels: Option<Labels>,
    spec: serde_json::Value,
}

impl Trace {
    fn of(object: &IPAddressPool) -> Self {
        Self {
            uid: object.metadata.uid.clone(),
            labels: object.metadata.labels.clone(),
            spec: serde_json::to_value(&object.spec).unwrap_or_default(),
        }
    }
}

/// What an [`update`](Pools::update) changed.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// The new pools, if they differ.
    pub(crate) pools: Option<Vec<Pool>>,
    /// Problems that were not there before.
    pub(crate) new_problems: Vec<Problem>,
    /// True if something of the configuration is refused.
    pub(crate) stale: bool,
    /// The pools that exist and are not in force, not even in an earlier version.
    pub(crate) unusable: BTreeSet<String>,
}

impl Pools {
    /// No pools, whose objects are of this namespace.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes in a change of the pools' objects. True if the configuration may change by it: our own
    /// writes of their status come back too.
    pub(crate) fn handle_pool(&mut self, event: Event<IPAddressPool>) -> bool {
        if let Event::Applied(object) = &event
            && let Some(trace) = self.traces.get(&object.name_any())
            && *trace == Trace::of(object)
        {
            self.shown.insert(object.name_any(), object.status.clone());
            return false;
        }
        match event {
            Event::Restarted { objects, malformed } => {
                self.resources.pools.clear();
                self.traces.clear();
                self.subjects.clear();
                self.shown.clear();
                for object in objects {
                    self.apply(object);
                }
                for bad in malformed {
                    self.malformed(bad.name.namespace, bad.name.name, bad.uid, &bad.error);
                }
            }
            Event::Applied(object) => self.apply(object),
            Event::Malformed(bad) => {
                self.malformed(bad.name.namespace, bad.name.name, bad.uid, &bad.error);
            }
            Event::Deleted(name) => {
                self.resources.pools.remove(&name.name);
                self.traces.remove(&name.name);
                self.subjects.remove(&name.name);
                self.shown.remove(&name.name);
            }
        }
        true
    }

    /// Takes in a change of the namespaces. A malformed one keeps the labels it had.
    pub(crate) fn handle_namespace(&mut self, event: Event<Namespace>) {
        let namespaces = &mut self.resources.namespaces;
        match event {
            Event::Restarted { objects, malformed } => {
                let kept: HashSet<String> = malformed.into_iter().map(|m| m.name.name).collect();
                namespaces.retain(|name, _| kept.contains(name));
                namespaces.extend(objects.into_iter().map(name_and_labels));
            }
            Event::Applied(object) => namespaces.extend([name_and_labels(object)]),
            Event::Deleted(name) => {
                namespaces.remove(&name.name);
            }
            Event::Malformed(_) => {}
        }
    }

    /// The configuration of the objects as they are now.
    pub(crate) fn update(&mut self) -> Change {
        let (config, problems) = self.configurator.update(&self.resources);
        let fresh = problems
            .iter()
            .filter(|problem| !self.problems.contains(problem));
        let new_problems = fresh.cloned().collect();
        let changed = config.pools != self.in_force;
        let change = Change {
            pools: changed.then(|| config.pools.clone()),
            new_problems,
            stale: !problems.is_empty(),
            unusable: problems
                .iter()
                .filter(|problem| problem.consequence == Consequence::Unused)
                .map(|problem| problem.name.clone())
                .collect(),
        };
        self.in_force = config.pools;
        self.problems = problems;
        self.loaded = true;
        change
    }

    /// All problems there are, each with the object to tell of them.
    pub(crate) fn problems(&self) -> impl Iterator<Item = (&Problem, Option<&Subject>)> {
        self.problems
            .iter()
            .map(|problem| (problem, self.subject(problem)))
    }

    /// The object to tell of a problem.
    pub(crate) fn subject(&self, problem: &Problem) -> Option<&Subject> {
        self.subjects.get(&problem.name)
    }

    /// True if a configuration was made, even one without pools.
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// The new status of the pool if its object shows another.
    pub(crate) fn status_to_write(&self, pool: &str, usage: &Usage) -> Option<IPAddressPoolStatus> {
        let status = IPAddressPoolStatus {
            assigned_ipv4: usage.assigned_ipv4,
            assigned_ipv6: usage.assigned_ipv6,
            available_ipv4: usage.available_ipv4,
            available_ipv6: usage.available_ipv6,
        };
        (self.shown.get(pool)?.as_ref() != Some(&status)).then_some(status)
    }

    /// A pool's object shows this status now.
    pub(crate) fn status_written(&mut self, pool: &str, status: IPAddressPoolStatus) {
        if let Some(shown) = self.shown.get_mut(pool) {
            *shown = Some(status);
        }
    }

    fn apply(&mut self, object: IPAddressPool) {
        let name = object.name_any();
        self.subjects.insert(name.clone(), Subject::of(&object));
        self.traces.insert(name.clone(), Trace::of(&object));
        self.shown.insert(name, object.status.clone());
        self.resources.pools.apply(object);
    }

    fn malformed(
        &mut self,
        namespace: Option<String>,
        name: String,
        uid: Option<String>,
        error: &str,
    ) {
        let subject = Subject {
            api_version: "metallb.io/v1beta1".to_owned(),
            kind: "IPAddressPool".to_owned(),
            namespace,
            name: name.clone(),
            uid,
        };
        self.subjects.insert(name.clone(), subject);
        self.traces.remove(&name);
        self.resources.pools.malformed(name, error);
    }
}

fn name_and_labels(namespace: Namespace) -> (String, Labels) {
    let labels = namespace.metadata.labels.unwrap_or_default();
    (namespace.metadata.name.unwrap_or_default(), labels)
}

#[cfg(test)]
mod tests {
    use herald_runtime::watch::{Malformed, ObjectName};
    use serde_json::json;

    use super::*;

    fn pool(name: &str, addresses: &[&str]) -> IPAddressPool {
        serde_json::from_value(json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": name, "namespace": "herald", "uid": "u"},
            "spec": {"addresses": addresses},
        }))
        .expect("a pool")
    }

    fn bad(name: &str) -> Malformed {
        Malformed {
            name: ObjectName {
                namespace: Some("herald".to_owned()),
                name: name.to_owned(),
            },
            uid: None,
            error: "spec: no".to_owned(),
        }
    }

    #[test]
    fn a_bad_pool_keeps_its_last_good_version_and_harms_no_other() {
        let mut pools = Pools::new();
        pools.handle_pool(Event::Restarted {
            objects: vec![
                pool("a", &["192.0.2.0/30"]),
                pool("b", &["198.51.100.0/24"]),
            ],
            malformed: vec![bad("c")],
        });
        let change = pools.update();
        assert_eq!(change.pools.expect("two").len(), 2);
        assert!(change.stale);
        let (problem, subject) = pools.problems().next().expect("one");
        assert_eq!(problem, &change.new_problems[0]);
        assert_eq!(
            (problem.name.as_str(), problem.consequence),
            ("c", Consequence::Unused)
        );
        assert_eq!(subject.expect("known").kind, "IPAddressPool");
        assert_eq!(change.unusable, BTreeSet::from(["c".to_owned()]));

        pools.handle_pool(Event::Applied(pool("a", &["192.0.2.9-192.0.2.1"])));
        let change = pools.update();
        assert!(change.pools.is_none(), "the last good version is in force");
        assert_eq!(change.new_problems.len(), 1, "c was told before");
        assert!(!change.unusable.contains("a"), "a is in force");
        assert_eq!(change.new_problems[0].consequence, Consequence::LastGood);

        let name = bad("c").name;
        pools.handle_pool(Event::Deleted(name));
        pools.handle_pool(Event::Applied(pool("a", &["192.0.2.0/29"])));
        let change = pools.update();
        assert!(change.pools.is_some() && !change.stale && change.new_problems.is_empty());
    }

    #[test]
    fn a_configuration_without_pools_is_one() {
        let mut pools = Pools::new();
        assert!(!pools.is_loaded());
        pools.update();
        assert!(pools.is_loaded());
    }

    #[test]
    fn a_change_of_the_status_alone_is_no_change_of_the_configuration() {
        let mut pools = Pools::new();
        let mut object = pool("a", &["192.0.2.0/30"]);
        assert!(pools.handle_pool(Event::Applied(object.clone())));
        object.status = Some(IPAddressPoolStatus {
            available_ipv4: 4,
            ..IPAddressPoolStatus::default()
        });
        assert!(!pools.handle_pool(Event::Applied(object.clone())));
        let usage = Usage {
            available_ipv4: 4,
            ..Usage::default()
        };
        assert_eq!(pools.status_to_write("a", &usage), None, "it is seen");
        object.metadata.labels = Some([("x".to_owned(), "y".to_owned())].into());
        assert!(pools.handle_pool(Event::Applied(object.clone())));
        object.spec = pool("a", &["192.0.2.0/29"]).spec;
        assert!(pools.handle_pool(Event::Applied(object.clone())));
        assert!(pools.handle_pool(Event::Malformed(bad("a"))));
        assert!(pools.handle_pool(Event::Applied(object)));
    }

    #[test]
    fn a_status_is_written_only_where_it_differs() {
        let mut pools = Pools::new();
        let mut object = pool("a", &["192.0.2.0/30"]);
        pools.handle_pool(Event::Applied(object.clone()));
        let usage = Usage {
            total_ipv4: 4,
            available_ipv4: 4,
            ..Usage::default()
        };
        let status = pools.status_to_write("a", &usage).expect("none is shown");
        pools.status_written("a", status.clone());
        assert_eq!(pools.status_to_write("a", &usage), None, "it is written");
        pools.handle_pool(Event::Applied(object.clone()));
        let again = pools.status_to_write("a", &usage);
        assert_eq!(again.as_ref(), Some(&status), "another undid it");
        object.status = Some(status);
        pools.handle_pool(Event::Applied(object));
        assert_eq!(pools.status_to_write("a", &usage), None);
        assert_eq!(pools.status_to_write("unknown", &usage), None);
    }
}
