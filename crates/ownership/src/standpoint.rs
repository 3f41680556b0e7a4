//! How this node stands in its group, and in which order that is told.

use std::sync::Arc;
use std::time::Instant;

use herald_model::{GroupView, MemberState};

use crate::Ownership;

/// The group as this node last looked at it, with what the node tells at present, which the group
/// may not know yet.
///
/// ```text
///   follow ─▶ (true) ─▶ the election, the LAN watch ◀─ view
///                       tell ─▶ Ownership ◀─ claims
///                               Ownership ◀─ tell_return
/// ```
#[derive(Debug)]
pub struct Standpoint {
    /// As the group gave it.
    seen: Arc<GroupView>,
    view: Arc<GroupView>,
    generation: u64,
    /// It was fenced before the last look, or was and is not any longer, all since the one before.
    was_fenced: bool,
    /// It is not fenced any longer, which is yet to be told.
    returns: bool,
}

impl Standpoint {
    /// Nothing is known of the group but the generation that this node has in it.
    pub fn new(generation: u64) -> Self {
        Self {
            seen: Arc::default(),
            view: Arc::default(),
            generation,
            was_fenced: false,
            returns: false,
        }
    }

    /// Takes over how the group looks and what this node tells. True if anything of it is new: then
    /// all who look at the group are to be told of [`view`](Self::view), and ownership by
    /// [`tell`](Self::tell).
    pub fn follow(&mut self, view: Arc<GroupView>, generation: u64, state: MemberState) -> bool {
        let before = std::mem::replace(&mut self.generation, generation);
        let renewed = before != generation;
        if Arc::ptr_eq(&view, &self.seen) && state == self.view.me && !renewed {
            return false;
        }
        self.was_fenced = self.view.fenced || renewed;
        self.seen = Arc::clone(&view);
        self.view = view;
        if self.view.me != state {
            Arc::make_mut(&mut self.view).me = state;
        }
        true
    }

    /// The group with what this node tells at present.
    pub fn view(&self) -> &Arc<GroupView> {
        &self.view
    }

    /// True if this is what the group gave last.
    pub fn has_seen(&self, view: &Arc<GroupView>) -> bool {
        Arc::ptr_eq(view, &self.seen)
    }

    /// The generation in the group by the last look.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Tells ownership how the group looks. One that was fenced is so until the claims are those of
    /// a node that came back: what follows from them as they were is given up, and nothing taken.
    pub fn tell(&mut self, now: Instant, ownership: &mut Ownership) {
        self.returns = self.was_fenced && !self.view.fenced;
        if self.returns {
            let mut fenced = self.view.as_ref().clone();
            fenced.fenced = true;
            ownership.set_group(now, &fenced);
        } else {
            ownership.set_group(now, &self.view);
        }
    }

    /// Tells ownership that the node is not fenced any longer, if so. To be called when it has the
    /// claims that follow from the view.
    pub fn tell_return(&mut self, now: Instant, ownership: &mut Ownership) {
        if std::mem::take(&mut self.returns) {
            ownership.set_group(now, &self.view);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use herald_announce::Interfaces;
    use herald_model::{LanInterface, MacAddress, Phase, Standing};

    use super::*;
    use crate::{Claim, Failback, Limits, Status};

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

    fn state(phase: Phase) -> MemberState {
        let interface = LanInterface {
            name: "eth0".to_owned(),
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            arp: true,
            ndp: true,
            prefixes: [].into(),
            canary: None,
        };
        MemberState {
            phase,
            interfaces: vec![interface],
            ..MemberState::default()
        }
    }

    fn view(fenced: bool) -> Arc<GroupView> {
        Arc::new(GroupView {
            standing: Standing::Majority,
            fenced,
            ..GroupView::default()
        })
    }

    fn mine() -> Claim {
        Claim::Mine {
            interfaces: Interfaces::All,
            order: vec!["me".into()],
            failback: Failback::Revertive,
        }
    }

    #[test]
    fn what_is_as_it_was_is_nothing_new() {
        let mut standpoint = Standpoint::new(1);
        let first = view(false);
        assert!(standpoint.follow(Arc::clone(&first), 1, state(Phase::Settling)));
        assert!(standpoint.has_seen(&first));
        assert!(!standpoint.follow(Arc::clone(&first), 1, state(Phase::Settling)));
        assert!(standpoint.follow(Arc::clone(&first), 1, state(Phase::Ready)));
        assert_eq!(standpoint.view().me, state(Phase::Ready));
        assert!(standpoint.follow(Arc::clone(&first), 2, state(Phase::Ready)));
        assert!(standpoint.follow(view(false), 2, state(Phase::Ready)));
        assert!(!standpoint.has_seen(&first));
    }

    #[test]
    fn one_that_came_back_is_fenced_until_its_claims_are_told_although_nobody_saw_the_fence() {
        let now = Instant::now();
        let limits = Limits {
            probes: 0,
            ..Limits::default()
        };
        let mut ownership = Ownership::new("me".into(), limits);
        let mut standpoint = Standpoint::new(1);
        standpoint.follow(view(false), 1, state(Phase::Ready));
        standpoint.tell(now, &mut ownership);
        ownership.set_claim(now, ADDRESS, Some(mine()));
        assert_eq!(ownership.status(ADDRESS), Status::Held);
        for generation in [2, 3] {
            standpoint.follow(view(false), generation, state(Phase::Settling));
            standpoint.tell(now, &mut ownership);
            assert_eq!(ownership.status(ADDRESS), Status::Fenced);
            standpoint.tell_return(now, &mut ownership);
            ownership.handle_timeout(now);
            assert_eq!(ownership.status(ADDRESS), Status::Held);
        }
        standpoint.follow(view(true), 3, state(Phase::Settling));
        standpoint.tell(now, &mut ownership);
        standpoint.tell_return(now, &mut ownership);
        ownership.handle_timeout(now);
        assert_eq!(ownership.status(ADDRESS), Status::Fenced);
    }
}
