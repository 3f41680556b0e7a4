//! What the sessions of all nodes come to. No I/O, no clock.

use std::collections::{BTreeMap, BTreeSet};

use herald_api::annotations::{
    CONDITION_ESTABLISHED, CONDITION_FAST_FAILURE_DETECTION, SESSION_PEER_NAME,
};
use herald_api::kinds::{BGPPeer, BGPPeerNode, BGPPeerStatus, BGPSessionState};
use herald_api::slim::{Node, Pod};
use herald_runtime::watch::Event;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt as _;

use super::detection::Detection;
use super::lives::{Lives, Speaker, Word};

/// How many nodes a status names at most.
const MOST_NODES: usize = 32;

/// How many nodes the message of a condition names at most.
const EXAMPLES: usize = 3;

/// The longest reason that is passed on, in bytes.
const LONGEST_REASON: usize = 300;

/// How a session is that is up.
const ESTABLISHED: &str = "Established";

/// How a session is of which nobody knows.
const UNKNOWN: &str = "Unknown";

/// The sessions of all nodes, and what the API has of them.
#[derive(Debug, Default)]
pub(super) struct Summaries {
    /// `None` as long as the watch has not told of all.
    peers: Option<BTreeMap<String, Peer>>,
    /// By the names of the objects.
    sessions: Option<BTreeMap<String, Session>>,
    lives: Lives,
    /// The peers that are to be looked at.
    marked: BTreeSet<String>,
    /// Those that are to be looked at after all others.
    put_off: BTreeSet<String>,
}

/// A peer, with what its status says.
#[derive(Debug, Clone)]
struct Peer {
    detection: Detection,
    status: BGPPeerStatus,
}

/// A session of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Session {
    peer: String,
    speaker: Speaker,
    state: String,
    reason: String,
}

impl Summaries {
    pub(super) fn take_peer(&mut self, event: Event<BGPPeer>) {
        let status = |peer: BGPPeer| {
            let known = Peer {
                detection: Detection::of(&peer.spec),
                status: peer.status.clone().unwrap_or_default(),
            };
            (peer.name_any(), known)
        };
        match event {
            Event::Restarted { objects, malformed } => {
                let known = self.peers.take().unwrap_or_default();
                let kept = malformed.into_iter().map(|bad| bad.name.name);
                let kept = kept.filter_map(|name| Some((name.clone(), known.get(&name)?.clone())));
                let peers: BTreeMap<_, _> = objects.into_iter().map(status).chain(kept).collect();
                self.marked.extend(peers.keys().cloned());
                self.peers = Some(peers);
            }
            Event::Applied(peer) => {
                let (name, status) = status(peer);
                self.marked.insert(name.clone());
                self.peers.get_or_insert_default().insert(name, status);
            }
            Event::Deleted(object) => self.gone(&object.name),
            Event::Malformed(_) => {}
        }
    }

    pub(super) fn take_session(&mut self, event: Event<BGPSessionState>) {
        match event {
            Event::Restarted { objects, .. } => {
                let sessions = objects.iter().filter_map(session).collect();
                let before = self.sessions.replace(sessions).unwrap_or_default();
                let now = self.sessions.iter().flatten();
                let all = before.iter().chain(now);
                self.marked.extend(all.map(|(_, it)| it.peer.clone()));
                // A peer that no node has a session with is to say so, too.
                self.marked
                    .extend(self.peers.iter().flatten().map(|(name, _)| name.clone()));
            }
            Event::Applied(object) => {
                let sessions = self.sessions.get_or_insert_default();
                let before = sessions.remove(&object.name_any());
                let now = session(&object);
                let both = before.iter().chain(now.as_ref().map(|(_, it)| it));
                self.marked.extend(both.map(|it| it.peer.clone()));
                sessions.extend(now);
            }
            Event::Deleted(object) => {
                let sessions = self.sessions.get_or_insert_default();
                self.marked
                    .extend(sessions.remove(&object.name).map(|it| it.peer));
            }
            Event::Malformed(_) => {}
        }
    }

    pub(super) fn take_node(&mut self, event: Event<Node>) {
        let nodes: BTreeSet<_> = self.lives.take_node(event).into_iter().collect();
        self.mark(|speaker| nodes.contains(&speaker.node));
    }

    pub(super) fn take_pod(&mut self, event: Event<Pod>) {
        let pods: BTreeSet<_> = self.lives.take_pod(event).into_iter().collect();
        self.mark(|speaker| {
            let pod = speaker.pod.as_ref();
            pod.is_some_and(|(name, _)| pods.contains(name))
        });
    }

    /// The peers that these speakers have a session with are to be looked at.
    fn mark(&mut self, are: impl Fn(&Speaker) -> bool) {
        let sessions = self.sessions.iter().flat_map(BTreeMap::values);
        let theirs = sessions.filter(|session| are(&session.speaker));
        self.marked.extend(theirs.map(|it| it.peer.clone()));
    }

    /// A peer whose status is not as it should be, and the status that it should have. The same until
    /// [`written`](Self::written), [`gone`](Self::gone) or [`put_off`](Self::put_off) is called.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(String, BGPPeerStatus)> {
        let (Some(peers), Some(sessions)) = (&self.peers, &self.sessions) else {
            return None;
        };
        while let Some(name) = self.marked.first() {
            let wanted = peers.get(name).and_then(|current| {
                let of_it = sessions.values().filter(|session| session.peer == *name);
                let of_it = of_it.filter_map(|session| known(session, &self.lives));
                let wanted = status(of_it.collect(), current, now);
                (wanted != current.status).then_some(wanted)
            });
            if let Some(wanted) = wanted {
                return Some((name.clone(), wanted));
            }
            self.marked.pop_first();
        }
        None
    }

    /// The API has this status now.
    pub(super) fn written(&mut self, name: &str, status: BGPPeerStatus) {
        if let Some(current) = self.peers.as_mut().and_then(|peers| peers.get_mut(name)) {
            current.status = status;
        }
    }

    /// The API server refused the status of this peer: the others have their turn until
    /// [`resume`](Self::resume) is called.
    pub(super) fn put_off(&mut self, name: &str) {
        self.put_off.extend(self.marked.take(name));
    }

    /// What was put off is tried again.
    pub(super) fn resume(&mut self) {
        self.marked.append(&mut self.put_off);
    }

    /// There is no such peer.
    pub(super) fn gone(&mut self, name: &str) {
        if let Some(peers) = &mut self.peers {
            peers.remove(name);
        }
    }
}

/// `None` if it is not one of Herald's.
fn session(object: &BGPSessionState) -> Option<(String, Session)> {
    let peer = object.annotations().get(SESSION_PEER_NAME)?.clone();
    let status = object.status.clone().unwrap_or_default();
    // It says nothing yet.
    if status.node.is_empty() {
        return None;
    }
    let owners = object.owner_references().iter();
    let mut pods = owners.filter(|owner| owner.kind == "Pod");
    let session = Session {
        peer,
        speaker: Speaker {
            node: status.node,
            pod: pods.next().map(|pod| (pod.name.clone(), pod.uid.clone())),
        },
        state: status.bgp_status,
        reason: cut(status.reason.unwrap_or_default()),
    };
    Some((object.name_any(), session))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(LONGEST_REASON));
    text
}

/// What is known of a session now; `None` if there is no such session any longer.
fn known(session: &Session, lives: &Lives) -> Option<BGPPeerNode> {
    let (state, reason) = match lives.word(&session.speaker) {
        Word::Good => (session.state.as_str(), session.reason.as_str()),
        Word::Stale(why) => (UNKNOWN, why),
        Word::Void => return None,
    };
    Some(BGPPeerNode {
        node: session.speaker.node.clone(),
        state: state.to_owned(),
        reason: reason.to_owned(),
    })
}

fn status(mut sessions: Vec<BGPPeerNode>, peer: &Peer, now: Timestamp) -> BGPPeerStatus {
    let up = |session: &BGPPeerNode| session.state == ESTABLISHED;
    sessions.sort_by(|one, other| (up(one), &one.node).cmp(&(up(other), &other.node)));
    let down = sessions.partition_point(|session| !up(session));
    let all = sessions.len();
    let (truth, reason, message) = if all == 0 {
        let message = "no node has or tries a session with this router: if the object cannot be used, \
                       its events and the ConfigurationStates say why";
        ("Unknown", "NoSessions", message.to_owned())
    } else if down == 0 {
        let message = format!("all sessions are up: {all}");
        ("True", "AllEstablished", message)
    } else {
        let examples = sessions.iter().take(down).take(EXAMPLES);
        let mut examples: Vec<_> = examples
            .map(|session| match session.reason.as_str() {
                "" => session.node.clone(),
                reason => format!("{} ({reason})", session.node),
            })
            .collect();
        if down > EXAMPLES {
            examples.push(format!("and {} more", down - EXAMPLES));
        }
        let message = format!(
            "{down} of {all} nodes have no session: {}",
            examples.join(", ")
        );
        ("False", "NotEstablished", message)
    };
    sessions.truncate(MOST_NODES);
    let known = &peer.status.conditions;
    let fast = if peer.detection.is_fast() {
        "True"
    } else {
        "False"
    };
    let (how, explanation) = peer.detection.words();
    let conditions = [
        (CONDITION_ESTABLISHED, truth, reason, message),
        (
            CONDITION_FAST_FAILURE_DETECTION,
            fast,
            how,
            explanation.to_owned(),
        ),
    ];
    BGPPeerStatus {
        established: format!("{}/{all}", all - down),
        nodes: sessions,
        conditions: conditions.map(|it| condition(it, known, now)).into(),
    }
}

/// A condition of this type, status, reason and message. Its time is that of its last transition.
fn condition(
    (name, truth, reason, message): (&str, &str, &str, String),
    known: &[Condition],
    now: Timestamp,
) -> Condition {
    let mut known = known.iter();
    let same = known.find(|it| it.type_ == name && it.status == truth);
    let since = same.map_or_else(
        // The API has whole seconds.
        || Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
        |it| it.last_transition_time.clone(),
    );
    Condition {
        type_: name.to_owned(),
        status: truth.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since,
        observed_generation: None,
    }
}

#[cfg(test)]
mod tests {
    use herald_api::kinds::BGPSessionStateStatus;
    use herald_runtime::watch::ObjectName;
    use serde_json::json;

    use super::*;

    fn peer(name: &str) -> BGPPeer {
        let peer = json!({ "metadata": { "name": name }, "spec": { "myASN": 65001 } });
        serde_json::from_value(peer).expect("a peer")
    }

    fn object(peer: &str, node: &str, state: &str, reason: &str) -> BGPSessionState {
        let mut object = BGPSessionState::default();
        object.metadata.name = Some(format!("{node}-{peer}"));
        let annotation = (SESSION_PEER_NAME.to_owned(), peer.to_owned());
        object.metadata.annotations = Some([annotation].into());
        object.status = Some(BGPSessionStateStatus {
            node: node.to_owned(),
            bgp_status: state.to_owned(),
            reason: Some(reason.to_owned()),
            ..BGPSessionStateStatus::default()
        });
        object
    }

    fn listed<K>(objects: Vec<K>) -> Event<K> {
        Event::Restarted {
            objects,
            malformed: Vec::new(),
        }
    }

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(n).expect("in range")
    }

    #[test]
    fn a_status_sums_up_all_nodes_and_is_written_once() {
        let mut summaries = Summaries::default();
        summaries.take_peer(listed(vec![peer("tor")]));
        assert_eq!(summaries.next(second(1)), None, "not all is known");
        let foreign = BGPSessionState::default();
        let objects = vec![
            object("tor", "n2", "Active", "cannot connect: no answer"),
            object("tor", "n1", "Established", ""),
            object("other", "n1", "Active", ""),
            foreign,
        ];
        summaries.take_session(listed(objects));
        let (name, status) = summaries.next(second(1)).expect("news");
        assert_eq!((name.as_str(), status.established.as_str()), ("tor", "1/2"));
        assert_eq!(status.nodes[0].node, "n2", "those without a session first");
        assert_eq!(status.nodes[0].reason, "cannot connect: no answer");
        let condition = &status.conditions[0];
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            ("False", "NotEstablished")
        );
        assert_eq!(
            condition.message,
            "1 of 2 nodes have no session: n2 (cannot connect: no answer)"
        );
        let detection = &status.conditions[1];
        assert_eq!(
            (detection.status.as_str(), detection.reason.as_str()),
            ("False", "HoldTime")
        );
        summaries.written(&name, status.clone());
        assert_eq!(summaries.next(second(2)), None);
        // What the watch says of our own write is no news.
        let mut written = peer("tor");
        written.status = Some(status);
        summaries.take_peer(Event::Applied(written));
        assert_eq!(summaries.next(second(3)), None);
    }

    #[test]
    fn what_a_speaker_said_counts_as_long_as_it_is_known_to_live() {
        let node = |name: &str, ready: &str| -> Node {
            let ready = json!({ "type": "Ready", "status": ready });
            let node = json!({ "metadata": { "name": name }, "status": { "conditions": [ready] } });
            serde_json::from_value(node).expect("a node")
        };
        let pod = |name: &str, uid: &str, ready: &str| -> Pod {
            let ready = json!({ "type": "Ready", "status": ready });
            let metadata = json!({ "name": name, "uid": uid });
            let pod = json!({ "metadata": metadata, "status": { "conditions": [ready] } });
            serde_json::from_value(pod).expect("a Pod")
        };
        let name = |name: &str| ObjectName {
            namespace: None,
            name: name.to_owned(),
        };
        let said = |node: &str| {
            let mut object = object("tor", node, "Established", "");
            let owner = json!([{ "apiVersion": "v1", "kind": "Pod", "name": node, "uid": "1" }]);
            object.metadata.owner_references = serde_json::from_value(owner).expect("an owner");
            object
        };
        let mut summaries = Summaries::default();
        summaries.take_peer(listed(vec![peer("tor")]));
        summaries.take_session(listed(vec![said("n1"), said("n2")]));
        let next = |summaries: &mut Summaries| {
            let (name, status) = summaries.next(second(1))?;
            summaries.written(&name, status.clone());
            let first = status.nodes.first().cloned().unwrap_or_default();
            Some((status.established, first.state, first.reason))
        };
        let is = |established: &str, state: &str, reason: &str| {
            Some((established.to_owned(), state.to_owned(), reason.to_owned()))
        };
        let good = is("2/2", "Established", "");
        assert_eq!(
            next(&mut summaries),
            good,
            "who may not see nodes believes all"
        );
        let both = ["n1", "n2"];
        summaries.take_node(listed(both.map(|n| node(n, "True")).into()));
        summaries.take_pod(listed(both.map(|n| pod(n, "1", "True")).into()));
        assert_eq!(next(&mut summaries), None);

        // It is powered off: its kubelet is silent.
        summaries.take_node(Event::Applied(node("n1", "Unknown")));
        let silent = "nothing is heard of the node: its condition Ready is Unknown";
        assert_eq!(next(&mut summaries), is("1/2", "Unknown", silent));
        summaries.take_node(Event::Applied(node("n1", "False")));
        assert_eq!(next(&mut summaries), good, "it lives, and the speaker may");
        // Its speaker starts again and again.
        summaries.take_pod(Event::Applied(pod("n1", "1", "False")));
        let crashed = "the Pod of its speaker is not ready";
        assert_eq!(next(&mut summaries), is("1/2", "Unknown", crashed));
        // There is another Pod of its name, which has not said anything yet.
        summaries.take_pod(Event::Applied(pod("n1", "2", "True")));
        assert_eq!(next(&mut summaries), is("1/1", "Established", ""));
        summaries.take_pod(Event::Applied(pod("n1", "1", "True")));
        assert_eq!(next(&mut summaries), good);
        summaries.take_node(Event::Deleted(name("n1")));
        assert_eq!(next(&mut summaries), is("1/1", "Established", ""));
        summaries.take_pod(Event::Deleted(name("n2")));
        assert_eq!(next(&mut summaries), is("0/0", "", ""));
        summaries.take_node(listed(both.map(|n| node(n, "True")).into()));
        summaries.take_pod(listed(both.map(|n| pod(n, "1", "True")).into()));
        assert_eq!(next(&mut summaries), good);
    }

    #[test]
    fn the_time_of_a_condition_is_that_of_its_last_transition() {
        let mut summaries = Summaries::default();
        summaries.take_peer(listed(vec![peer("tor")]));
        summaries.take_session(listed(vec![object("tor", "n1", "Active", "a")]));
        let mut times = Vec::new();
        for (n, state, reason) in [
            (1, "Active", "a"),
            (2, "Active", "b"),
            (3, "Established", ""),
        ] {
            summaries.take_session(Event::Applied(object("tor", "n1", state, reason)));
            let (name, status) = summaries.next(second(n)).expect("news");
            times.push(status.conditions[0].last_transition_time.0.as_second());
            summaries.written(&name, status);
        }
        assert_eq!(times, [1, 1, 3]);
        summaries.take_session(Event::Deleted(ObjectName {
            namespace: None,
            name: "n1-tor".to_owned(),
        }));
        let (_, status) = summaries.next(second(4)).expect("news");
        assert_eq!(status.conditions[0].status, "Unknown");
        assert_eq!(status.established, "0/0");
        assert!(status.nodes.is_empty());
        summaries.gone("tor");
        assert_eq!(summaries.next(second(5)), None);
    }

    #[test]
    fn a_peer_whose_status_is_refused_keeps_no_other_waiting() {
        let mut summaries = Summaries::default();
        summaries.take_peer(listed(vec![peer("a"), peer("b")]));
        summaries.take_session(listed(Vec::new()));
        let (first, _) = summaries.next(second(1)).expect("news");
        assert_eq!(first, "a");
        summaries.put_off("a");
        let (other, status) = summaries.next(second(1)).expect("news");
        assert_eq!(other, "b");
        summaries.written("b", status);
        assert_eq!(summaries.next(second(1)), None);
        summaries.resume();
        let (again, _) = summaries.next(second(2)).expect("it is tried again");
        assert_eq!(again, "a");
    }

    #[test]
    fn a_thousand_nodes_make_a_small_status() {
        let mut summaries = Summaries::default();
        summaries.take_peer(listed(vec![peer("tor")]));
        let long = "ä".repeat(1000);
        let node = |n: usize| object("tor", &format!("n{n:04}"), "Active", &long);
        summaries.take_session(listed((0..1000).map(node).collect()));
        let (_, status) = summaries.next(second(1)).expect("news");
        assert_eq!(status.established, "0/1000");
        assert_eq!(status.nodes.len(), MOST_NODES);
        assert!(status.conditions[0].message.ends_with("and 997 more"));
        let size = serde_json::to_vec(&status).expect("plain").len();
        assert!(size < 16_384, "{size}");
    }
}
