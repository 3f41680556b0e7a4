//! A `BGPSessionState` for each session.
//!
//! An object says whether there is a session, not which of the states on the way to one it is in: a
//! peer that cannot be reached changes those every few seconds, on all nodes. Of a session that
//! flaps, what is written is a few changes, then one a minute.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_bfd::State;
use herald_runtime::supervise::TaskResult;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::credit::Credit;
use super::until;
use crate::bfd::{BfdStatus, BfdStatuses};
use crate::bgp::{PeerStatus, Statuses};
use crate::status::{SessionKey, SessionWords, Sessions, StatusQueue, session_label};

/// How many changes of an object are written at once: a session that comes up with BFD makes four, and is to
/// be seen going down after that.
const CREDIT: u32 = 8;

/// How long it takes until one more may be written.
const REFILL: Duration = Duration::from_mins(1);

/// How long after the start no session means that there is to be none: what an earlier life left is
/// deleted then.
const SETTLED: Duration = Duration::from_secs(30);

/// Says what the objects are to say.
pub(super) struct Objects {
    statuses: watch::Receiver<Arc<Statuses>>,
    paths: watch::Receiver<Arc<BfdStatuses>>,
    queue: StatusQueue<Sessions>,
}

impl Objects {
    /// Of the sessions with these statuses, and of their paths, into this queue.
    pub(super) fn new(
        statuses: watch::Receiver<Arc<Statuses>>,
        paths: watch::Receiver<Arc<BfdStatuses>>,
        queue: StatusQueue<Sessions>,
    ) -> Self {
        Self {
            statuses,
            paths,
            queue,
        }
    }

    /// Runs until `token` is cancelled. The objects go with the Pod, or are the next speaker's.
    pub(super) async fn run(mut self, token: CancellationToken) -> TaskResult {
        token
            .run_until_cancelled(self.watch())
            .await
            .unwrap_or(Ok(()))
    }

    async fn watch(&mut self) -> TaskResult {
        let settled = Instant::now() + SETTLED;
        let mut begun = false;
        let mut said = Sayings::default();
        loop {
            let now = Instant::now();
            let statuses = Arc::clone(&self.statuses.borrow_and_update());
            let paths = Arc::clone(&self.paths.borrow_and_update());
            for (key, words) in said.look(now, &statuses, &paths) {
                self.queue.set(&key, words);
            }
            if !begun && (!statuses.is_empty() || now >= settled) {
                begun = true;
                self.queue.begin();
            }
            let due = said.next_timeout().into_iter();
            let due = due.chain((!begun).then_some(settled)).min();
            tokio::select! {
                changed = self.statuses.changed() => changed?,
                changed = self.paths.changed() => changed?,
                () = until(due) => {}
            }
        }
    }
}

/// What the objects say, by the names of the `BGPPeer`s: where a peer is may change as often as how
/// its session is.
#[derive(Debug, Default)]
struct Sayings(BTreeMap<String, Saying>);

#[derive(Debug)]
struct Saying {
    key: SessionKey,
    words: SessionWords,
    credit: Credit,
    /// Something else is to be said when there is credit again.
    waits: bool,
}

impl Sayings {
    /// What is to be said otherwise from now on, or no longer (`None`).
    fn look(
        &mut self,
        now: Instant,
        statuses: &Statuses,
        paths: &BfdStatuses,
    ) -> Vec<(SessionKey, Option<SessionWords>)> {
        let mut changes = Vec::new();
        self.0.retain(|name, saying| {
            let stays = statuses.contains_key(name);
            if !stays {
                changes.push((saying.key.clone(), None));
            }
            stays
        });
        for (name, status) in statuses {
            let (key, words) = (key(name, status), words(status, paths.peers.get(name)));
            let saying = self.0.entry(name.clone()).or_insert_with(|| Saying {
                key: key.clone(),
                words: SessionWords::default(),
                credit: Credit::new(now, CREDIT, REFILL),
                waits: false,
            });
            saying.waits = (&saying.key, &saying.words) != (&key, &words);
            if saying.waits && saying.credit.has_some(now) {
                saying.credit.spend(now);
                saying.waits = false;
                saying.words = words.clone();
                let before = std::mem::replace(&mut saying.key, key.clone());
                if before != key {
                    changes.push((before, None));
                }
                changes.push((key, Some(words)));
            }
        }
        changes
    }

    fn next_timeout(&self) -> Option<Instant> {
        let waiting = self.0.values().filter(|saying| saying.waits);
        waiting.filter_map(|saying| saying.credit.next()).min()
    }
}

fn key(name: &str, status: &PeerStatus) -> SessionKey {
    SessionKey {
        name: name.to_owned(),
        peer: session_label(&status.host()),
        vrf: status.plan.vrf.clone(),
    }
}

fn words(status: &PeerStatus, path: Option<&BfdStatus>) -> SessionWords {
    let bgp = if status.is_up() {
        "Established"
    } else {
        "Active"
    };
    let bfd = match path {
        None => "N/A",
        Some(path)
            if path
                .session
                .as_ref()
                .is_some_and(|it| it.state == State::Up) =>
        {
            "up"
        }
        Some(_) => "down",
    };
    SessionWords {
        bgp: bgp.to_owned(),
        bfd: bfd.to_owned(),
        reason: Some(status.problem().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use herald_bgp::session;

    use super::*;
    use crate::bgp::testing;

    fn statuses(up: bool) -> Statuses {
        let address = "192.0.2.2:179";
        let (status, _) = if up {
            testing::up(address)
        } else {
            testing::down(address)
        };
        [("tor".to_owned(), status)].into()
    }

    fn look(
        said: &mut Sayings,
        now: Instant,
        statuses: &Statuses,
    ) -> Vec<(SessionKey, Option<SessionWords>)> {
        said.look(now, statuses, &BfdStatuses::default())
    }

    #[test]
    fn an_object_says_how_the_path_is() {
        let mut machine = herald_bfd::Sessions::new([1; 32]);
        let (peer, now) = ([192, 0, 2, 2].into(), Instant::now());
        let path = herald_bfd::Path::SingleHop {
            peer,
            interface: None,
        };
        let session = machine.add(now, path, herald_bfd::Settings::default());
        let status = BfdStatus {
            peer,
            local: [192, 0, 2, 1].into(),
            hops: herald_bfd::Hops::Single,
            vrf: None,
            session: machine.status(session.expect("added")),
            problem: None,
        };
        let mut paths = BfdStatuses::default();
        paths.peers.insert("tor".to_owned(), status);
        let mut said = Sayings::default();
        let first = said.look(now, &statuses(true), &paths);
        assert!(matches!(first.as_slice(), [(_, Some(words))] if words.bfd == "down"));
        if let Some(session) = paths
            .peers
            .get_mut("tor")
            .and_then(|it| it.session.as_mut())
        {
            session.state = State::Up;
        }
        let then = said.look(now, &statuses(true), &paths);
        assert!(matches!(then.as_slice(), [(_, Some(words))] if words.bfd == "up"));
        let without = look(&mut said, now, &statuses(true));
        assert!(matches!(without.as_slice(), [(_, Some(words))] if words.bfd == "N/A"));
    }

    #[test]
    fn an_object_says_whether_whether_there_is_a_session() {
        let (mut said, now) = (Sayings::default(), Instant::now());
        let first = look(&mut said, now, &statuses(false));
        let [(key, Some(words))] = first.as_slice() else {
            panic!("{first:?}");
        };
        assert_eq!((key.name.as_str(), key.peer.as_str()), ("tor", "192.0.2.2"));
        assert_eq!(words.bgp, "Active");
        let mut trying = statuses(false);
        for state in [
            session::State::Connect,
            session::State::OpenSent,
            session::State::Idle,
        ] {
            trying.get_mut("tor").expect("there").state = state;
            assert!(look(&mut said, now, &trying).is_empty(), "{state}");
        }
        let up = look(&mut said, now, &statuses(true));
        assert!(matches!(up.as_slice(), [(_, Some(words))] if words.bgp == "Established"));
        let gone = look(&mut said, now, &Statuses::new());
        assert!(matches!(gone.as_slice(), [(_, None)]));
    }

    #[test]
    fn a_session_that_flaps_causes_few_writes_and_the_last_word_is_right() {
        let (mut said, start) = (Sayings::default(), Instant::now());
        let mut writes = 0;
        let mut now = start;
        for n in 0..1000 {
            now = start + Duration::from_millis(100) * n;
            writes += look(&mut said, now, &statuses(n % 2 == 0)).len();
        }
        let refilled = 1;
        assert_eq!(writes, CREDIT as usize + refilled, "in 100 s");
        let mut last = None;
        while let Some(due) = said.next_timeout() {
            now = now.max(due);
            last = look(&mut said, now, &statuses(true)).pop().or(last);
        }
        let words = said
            .0
            .values()
            .next()
            .map(|saying| saying.words.bgp.clone());
        assert_eq!(words.as_deref(), Some("Established"));
    }
    #[test]
    fn a_peer_that_moves_again_and_again_causes_few_writes() {
        let (mut said, start) = (Sayings::default(), Instant::now());
        let at = |n: u32| -> Statuses {
            let (status, _) = testing::down(["192.0.2.2:179", "192.0.2.3:179"][n as usize % 2]);
            [("tor".to_owned(), status)].into()
        };
        let mut objects = std::collections::BTreeSet::new();
        let mut writes = 0;
        for n in 0..1000 {
            for (key, words) in look(&mut said, start + Duration::from_millis(10) * n, &at(n)) {
                writes += 1;
                if words.is_some() {
                    objects.insert(key);
                } else {
                    assert!(objects.remove(&key), "it was there");
                }
            }
        }
        let moves = CREDIT as usize - 1;
        assert_eq!(
            writes,
            1 + 2 * moves,
            "the first, and each time one goes and one comes"
        );
        assert_eq!(objects.len(), 1, "one at a time");
    }
}
