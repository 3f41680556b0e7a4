//! Which speakers can still stand by what they said of their sessions. No I/O, no clock.
//!
//! A speaker that dies says nothing of it: its `BGPSessionState`s stay as they were until its Pod is
//! deleted. So they count only as far as its node and its Pod are known to live.

use std::collections::BTreeMap;

use herald_api::slim::{Node, Pod};
use herald_runtime::watch::Event;
use kube::ResourceExt as _;

/// The nodes of the cluster and the Pods of our namespace, as far as the watches have told.
#[derive(Debug, Default)]
pub(super) struct Lives {
    /// Whether each is heard of; `None` as long as the watch has not told of all.
    nodes: Option<BTreeMap<String, bool>>,
    pods: Option<BTreeMap<String, PodLife>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PodLife {
    uid: Option<String>,
    ready: bool,
}

/// Who speaks of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Speaker {
    pub(super) node: String,
    /// Name and UID of its Pod, if it is known.
    pub(super) pod: Option<(String, String)>,
}

/// How much a speaker's word is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It holds, as far as anybody knows.
    Good,
    /// How it is now nobody knows, and why.
    Stale(&'static str),
    /// There is no such speaker any longer.
    Void,
}

impl Lives {
    /// Returns the names of the nodes whose lives are not what they were.
    pub(super) fn take_node(&mut self, event: Event<Node>) -> Vec<String> {
        let life = |node: &Node| (node.name_any(), !node.is_unheard());
        follow(&mut self.nodes, event, life)
    }

    /// Returns the names of the Pods whose lives are not what they were.
    pub(super) fn take_pod(&mut self, event: Event<Pod>) -> Vec<String> {
        let life = |pod: &Pod| {
            let life = PodLife {
                uid: pod.uid(),
                ready: !pod.is_not_ready(),
            };
            (pod.name_any(), life)
        };
        follow(&mut self.pods, event, life)
    }

    pub(super) fn word(&self, speaker: &Speaker) -> Word {
        let node = self.nodes.as_ref().map(|nodes| nodes.get(&speaker.node));
        let pod = self.pods.as_ref().zip(speaker.pod.as_ref());
        let pod = pod.map(|(pods, (name, uid))| {
            let pod = pods.get(name);
            pod.filter(|pod| pod.uid.as_ref() == Some(uid))
        });
        match (node, pod) {
            (Some(None), _) | (_, Some(None)) => Word::Void,
            (Some(Some(false)), _) => {
                Word::Stale("nothing is heard of the node: its condition Ready is Unknown")
            }
            (_, Some(Some(pod))) if !pod.ready => {
                Word::Stale("the Pod of its speaker is not ready")
            }
            _ => Word::Good,
        }
    }
}

/// Takes in what a watch tells. Returns the names of those that are not what they were.
fn follow<K, L: PartialEq + Clone>(
    known: &mut Option<BTreeMap<String, L>>,
    event: Event<K>,
    life: impl Fn(&K) -> (String, L),
) -> Vec<String> {
    match event {
        Event::Restarted { objects, malformed } => {
            let mut now: BTreeMap<_, _> = objects.iter().map(life).collect();
            let before = known.take().unwrap_or_default();
            for bad in malformed {
                if let Some(life) = before.get(&bad.name.name) {
                    now.insert(bad.name.name, life.clone());
                }
            }
            let names = before.keys().chain(now.keys());
            let other = names.filter(|name| before.get(*name) != now.get(*name));
            let other = other.cloned().collect();
            *known = Some(now);
            other
        }
        Event::Applied(object) => {
            let (name, life) = life(&object);
            let known = known.get_or_insert_default();
            let other = known.get(&name) != Some(&life);
            known.insert(name.clone(), life);
            Some(name).filter(|_| other).into_iter().collect()
        }
        Event::Deleted(object) => {
            let gone = known.as_mut().and_then(|known| known.remove(&object.name));
            gone.map(|_| object.name).into_iter().collect()
        }
        Event::Malformed(_) => Vec::new(),
    }
}
