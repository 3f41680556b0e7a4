//! Why this node comes to have an address or loses it, and how long new addresses take: what metrics
//! tell of owners.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_model::{GroupView, NodeName, Phase};
use herald_ownership::{Claim, Status};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Changes {
    addresses: HashMap<IpAddr, Entry>,
    /// Those of which this node heard in this round, for protocols that announce within it.
    fresh: HashMap<IpAddr, Instant>,
}

#[derive(Debug, Default)]
struct Entry {
    whose: Whose,
    /// The last node other than this one that the election gave it to.
    other: Option<NodeName>,
    /// Since when it waits for this node, which was the first to be given it.
    waits: Option<Instant>,
}

/// Who is to have an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Whose {
    #[default]
    Nobody,
    Mine,
    Theirs,
}

impl Changes {
    /// This is claimed now of an address; `new`: no Service had it before.
    pub(super) fn claimed(
        &mut self,
        now: Instant,
        address: IpAddr,
        new: bool,
        claim: Option<&Claim>,
    ) {
        let Some(claim) = claim else {
            self.addresses.remove(&address);
            return;
        };
        if new {
            self.fresh.insert(address, now);
        }
        let entry = self.addresses.entry(address).or_default();
        match claim {
            Claim::Mine { .. } => {
                entry.whose = Whose::Mine;
                if new {
                    entry.waits = Some(now);
                }
            }
            Claim::Theirs { owner, .. } => {
                *entry = Entry {
                    whose: Whose::Theirs,
                    other: Some(owner.clone()),
                    waits: None,
                };
            }
            Claim::Nobody => {
                entry.whose = Whose::Nobody;
                entry.waits = None;
            }
        }
    }

    /// This node has an address from now on: why, and how long it waited if it is a new one.
    pub(super) fn gained(
        &mut self,
        now: Instant,
        address: IpAddr,
        view: &GroupView,
    ) -> (&'static str, Option<Duration>) {
        let Some(entry) = self.addresses.get_mut(&address) else {
            return ("free", None);
        };
        let waited = entry.waits.take();
        let waited = waited.map(|since| now.saturating_duration_since(since));
        let Some(other) = entry.other.take() else {
            return ("free", waited);
        };
        let cause = match view.members.get(&other) {
            Some(member) if member.live => {
                let phase = member.state.as_ref().map(|state| state.phase);
                if phase == Some(Phase::Draining) {
                    "drain"
                } else {
                    "election"
                }
            }
            // Without a group nobody knows who is gone.
            None if view.members.is_empty() => "election",
            _ => "speaker_gone",
        };
        (cause, waited)
    }

    /// This node no longer has an address: why.
    pub(super) fn lost(&self, address: IpAddr, status: &Status, view: &GroupView) -> &'static str {
        match status {
            Status::Fenced => "fenced",
            Status::InUse(_) => "conflict",
            Status::NoMajority => "no_majority",
            Status::HeldBy(_) | Status::HandingOver(_) | Status::Probing => "yielded",
            Status::Held | Status::NotOurs => match self.addresses.get(&address) {
                None => "removed",
                Some(entry) if entry.whose != Whose::Theirs => "withheld",
                Some(_) if view.me.phase == Phase::Draining => "drain",
                Some(_) => "election",
            },
        }
    }

    /// Since when this node knows of an address, if it is new in this round.
    pub(super) fn fresh(&self, address: IpAddr) -> Option<Instant> {
        self.fresh.get(&address).copied()
    }

    /// The round is over.
    pub(super) fn end_round(&mut self) {
        self.fresh.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use herald_announce::{Failback, Interfaces};
    use herald_model::{Member, MemberState};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address() -> IpAddr {
        "192.0.2.1".parse().expect("valid")
    }

    fn mine() -> Claim {
        Claim::Mine {
            interfaces: Interfaces::All,
            order: Vec::new(),
            failback: Failback::Revertive,
        }
    }

    fn theirs() -> Claim {
        Claim::Theirs {
            owner: "n2".into(),
            interfaces: None,
            failback: Failback::Revertive,
        }
    }

    /// A group in which `n2` is live or not, and in this phase.
    fn group(live: bool, phase: Phase) -> GroupView {
        let state = MemberState {
            phase,
            ..MemberState::default()
        };
        let member = Member {
            address: "192.0.2.2:7946".parse().expect("valid"),
            live,
            state: Some(Arc::new(state)),
        };
        GroupView {
            members: [("n2".into(), member)].into(),
            ..GroupView::default()
        }
    }

    #[test]
    fn a_new_address_waits_for_the_node_that_is_given_it_first() {
        let (mut changes, start) = (Changes::default(), Instant::now());
        let view = group(true, Phase::Ready);
        changes.claimed(start, address(), true, Some(&mine()));
        assert_eq!(changes.fresh(address()), Some(start));
        changes.end_round();
        assert_eq!(changes.fresh(address()), None);
        changes.claimed(start + SECOND, address(), false, Some(&mine()));
        let gained = changes.gained(start + SECOND, address(), &view);
        assert_eq!(gained, ("free", Some(SECOND)));
        assert_eq!(changes.gained(start, address(), &view), ("free", None));

        // The first was another: what this node takes later is no new address.
        changes.claimed(start, address(), true, Some(&theirs()));
        changes.claimed(start + SECOND, address(), false, Some(&mine()));
        let gained = changes.gained(start + SECOND, address(), &view);
        assert_eq!(gained, ("election", None));
    }

    #[test]
    fn why_an_address_is_taken_from_another() {
        for (view, expected) in [
            (group(true, Phase::Ready), "election"),
            (group(true, Phase::Draining), "drain"),
            (group(false, Phase::Ready), "speaker_gone"),
            (GroupView::default(), "election"),
        ] {
            let (mut changes, now) = (Changes::default(), Instant::now());
            changes.claimed(now, address(), false, Some(&theirs()));
            changes.claimed(now, address(), false, Some(&mine()));
            assert_eq!(changes.gained(now, address(), &view), (expected, None));
        }
    }

    #[test]
    fn why_an_address_is_lost() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        let view = group(true, Phase::Ready);
        let lost = |changes: &Changes, status, view| changes.lost(address(), &status, view);
        changes.claimed(now, address(), false, Some(&mine()));
        assert_eq!(lost(&changes, Status::Fenced, &view), "fenced");
        assert_eq!(
            lost(&changes, Status::HeldBy("n2".into()), &view),
            "yielded"
        );
        changes.claimed(now, address(), false, Some(&theirs()));
        assert_eq!(lost(&changes, Status::NotOurs, &view), "election");
        let mut draining = view.clone();
        draining.me.phase = Phase::Draining;
        assert_eq!(lost(&changes, Status::NotOurs, &draining), "drain");
        changes.claimed(now, address(), false, Some(&Claim::Nobody));
        assert_eq!(lost(&changes, Status::NotOurs, &view), "withheld");
        changes.claimed(now, address(), false, None);
        assert_eq!(lost(&changes, Status::NotOurs, &view), "removed");
    }
}
