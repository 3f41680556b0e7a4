//! The objects of the configuration, for events about what is wrong with them.

use std::borrow::Cow;
use std::collections::HashMap;

use herald_api::config::{Objects, Problem};
use herald_runtime::events::Subject;
use herald_runtime::watch::{Event, Malformed};
use kube::{Resource, ResourceExt as _};

/// The kind of an object and its name.
type Key = (Cow<'static, str>, String);

/// An object that there is.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) subject: Subject,
    /// Which version of it: all speakers see the same. `None` for one that cannot be read.
    pub(super) generation: Option<i64>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    known: HashMap<Key, Known>,
}

impl Subjects {
    /// What a problem is about.
    pub(super) fn of(&self, problem: &Problem) -> Option<&Known> {
        let key = (Cow::Borrowed(problem.kind), problem.name.clone());
        self.known.get(&key)
    }

    /// Takes in what a watch told of the objects of one kind.
    pub(super) fn take<K: Resource<DynamicType = ()>>(
        &mut self,
        objects: &mut Objects<K>,
        event: Event<K>,
    ) {
        match event {
            Event::Restarted {
                objects: all,
                malformed,
            } => {
                objects.clear();
                self.known.retain(|(kind, _), _| *kind != K::kind(&()));
                for object in all {
                    self.apply(objects, object);
                }
                for object in malformed {
                    self.malformed(objects, object);
                }
            }
            Event::Applied(object) => self.apply(objects, object),
            Event::Deleted(name) => {
                objects.remove(&name.name);
                self.known.remove(&(K::kind(&()), name.name));
            }
            Event::Malformed(object) => self.malformed(objects, object),
        }
    }

    fn apply<K: Resource<DynamicType = ()>>(&mut self, objects: &mut Objects<K>, object: K) {
        let known = Known {
            subject: Subject::of(&object),
            generation: object.meta().generation,
        };
        self.known.insert((K::kind(&()), object.name_any()), known);
        objects.apply(object);
    }

    fn malformed<K: Resource<DynamicType = ()>>(
        &mut self,
        objects: &mut Objects<K>,
        object: Malformed,
    ) {
        let Malformed { name, uid, error } = object;
        let subject = Subject {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: name.namespace,
            name: name.name.clone(),
            uid,
        };
        let known = Known {
            subject,
            generation: None,
        };
        self.known.insert((K::kind(&()), name.name.clone()), known);
        objects.malformed(name.name, error);
    }
}

#[cfg(test)]
mod tests {
    use herald_api::config::Consequence;
    use herald_api::kinds::{BGPPeer, Community};
    use herald_runtime::watch::ObjectName;
    use serde_json::json;

    use super::*;

    fn about(kind: &'static str, name: &str) -> Problem {
        Problem {
            kind,
            name: name.to_owned(),
            field: String::new(),
            message: "wrong".to_owned(),
            consequence: Consequence::Unused,
            waits: false,
        }
    }

    fn named(name: &str) -> ObjectName {
        ObjectName {
            namespace: Some("ns".to_owned()),
            name: name.to_owned(),
        }
    }

    #[test]
    fn an_object_is_known_by_kind_and_name_readable_or_not() {
        let (mut subjects, mut communities) =
            (Subjects::default(), Objects::<Community>::default());
        let readable: Community = serde_json::from_value(json!({
            "metadata": { "name": "a", "namespace": "ns", "uid": "7", "generation": 3 },
            "spec": {},
        }))
        .expect("a Community");
        subjects.take(&mut communities, Event::Applied(readable.clone()));
        let peers = &mut Objects::<BGPPeer>::default();
        let odd = Malformed {
            name: named("a"),
            uid: Some("8".to_owned()),
            error: "odd".to_owned(),
        };
        subjects.take(peers, Event::Malformed(odd));

        let known = subjects.of(&about("Community", "a")).expect("known");
        assert_eq!(known.subject.uid.as_deref(), Some("7"));
        assert_eq!(known.generation, Some(3));
        let known = subjects.of(&about("BGPPeer", "a")).expect("known");
        assert_eq!(known.subject.api_version, "metallb.io/v1beta2");
        assert_eq!(known.subject.namespace.as_deref(), Some("ns"));
        assert_eq!(known.subject.uid.as_deref(), Some("8"));
        assert!(subjects.of(&about("BFDProfile", "a")).is_none());

        // A list of one kind says nothing of another.
        let none = Event::Restarted {
            objects: Vec::new(),
            malformed: Vec::new(),
        };
        subjects.take(&mut communities, none);
        assert!(subjects.of(&about("Community", "a")).is_none());
        assert_eq!(communities.iter().count(), 0);
        subjects.take(peers, Event::Deleted(named("a")));
        assert!(subjects.of(&about("BGPPeer", "a")).is_none());
        assert_eq!(peers.iter().count(), 0);
    }
}
