//! A live connection whose password or hop limits are changed.
//!
//! The other end gets the same change, but at another moment, and then does one of two things: it gives
//! the connection what is new (as IOS does), or it ends the session and waits for the next one (as FRR
//! and BIRD do), with last words that go by what was old. Whoever has changed the connection before
//! does not hear these, and takes it for alive until the hold time is over.
//!
//! So for a while both count. The hop limits are those that let either pass. Of passwords the kernel
//! knows one for a connection: the old one, and when the peer acknowledges nothing any more, the two
//! take turns.

use std::time::{Duration, Instant};

use herald_netsys::tcp::{Hops, Password};

/// For how long what was changed still counts.
const BOTH: Duration = Duration::from_mins(3);

/// How often it is looked at what the peer has acknowledged.
const LOOK: Duration = Duration::from_millis(500);

/// How long the old password stays with a peer that acknowledges nothing: for two looks at what waits,
/// as what was written right before the first has had no time to be acknowledged.
const FIRST_TURN: Duration = Duration::from_secs(1);

/// The turns after that, which become longer: the kernel tries again ever less often.
const NEXT_TURN: Duration = Duration::from_secs(3);
const LONGEST_TURN: Duration = Duration::from_secs(24);

/// What a connection is secured by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Security {
    pub(super) hops: Hops,
    pub(super) password: Option<Password>,
}

/// From one security to another.
#[derive(Debug)]
pub(super) struct Transition {
    old: Option<Password>,
    new: Security,
    /// What lets both sides pass.
    hops: Hops,
    /// The new password has its turn.
    newer: bool,
    turn: Duration,
    /// When nothing waited or something was acknowledged at a look, or the other password had its turn.
    turn_begun: Instant,
    /// What the peer had acknowledged when it was looked at last.
    acknowledged: u64,
    look: Instant,
    until: Instant,
}

impl Transition {
    /// From `old`, which the connection has, to `new`.
    pub(super) fn new(now: Instant, old: Security, new: Security, acknowledged: u64) -> Self {
        Self {
            hops: old.hops.or(new.hops),
            old: old.password,
            new,
            newer: false,
            turn: FIRST_TURN,
            turn_begun: now,
            acknowledged,
            look: now + LOOK,
            until: now + BOTH,
        }
    }

    /// What the connection should have at present.
    pub(super) fn security(&self) -> Security {
        let password = if self.newer {
            &self.new.password
        } else {
            &self.old
        };
        Security {
            hops: self.hops,
            password: password.clone(),
        }
    }

    /// When to [look](Self::look) next.
    pub(super) fn next_look(&self) -> Instant {
        self.look
    }

    /// Looks at what the peer does: so many bytes are `unacknowledged`, and so many were `acknowledged`
    /// since the connection began. What the connection should have from now on, if that is something
    /// else, and whether the transition is over.
    pub(super) fn look(
        &mut self,
        now: Instant,
        unacknowledged: usize,
        acknowledged: u64,
    ) -> (Option<Security>, bool) {
        if now >= self.until {
            return (Some(self.new.clone()), true);
        }
        if now < self.look {
            return (None, false);
        }
        self.look = now + LOOK;
        let heard = std::mem::replace(&mut self.acknowledged, acknowledged) != acknowledged;
        if self.old == self.new.password {
            return (None, false);
        }
        if heard || unacknowledged == 0 {
            if heard && self.newer {
                // The peer has it.
                self.old.clone_from(&self.new.password);
            }
            self.turn_begun = now;
        } else if now.saturating_duration_since(self.turn_begun) >= self.turn {
            self.newer = !self.newer;
            self.turn_begun = now;
            self.turn = (self.turn * 2).clamp(NEXT_TURN, LONGEST_TURN);
            return (Some(self.security()), false);
        }
        (None, false)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;

    const SECURED: Hops = Hops::Within(NonZeroU8::MIN);

    fn security(hops: Hops, password: &str) -> Security {
        let password = Password::new(password).expect("a password");
        Security {
            hops,
            password: Some(password),
        }
    }

    /// Looks every half second for so long, at a peer that acknowledges nothing; what was set, with the
    /// half seconds until then.
    fn silence(transition: &mut Transition, start: Instant, looks: u32) -> Vec<(u32, Security)> {
        let looks = (1..=looks).filter_map(|n| {
            let (set, _) = transition.look(start + LOOK * n, 7, 100);
            set.map(|set| (n, set))
        });
        looks.collect()
    }

    #[test]
    fn the_old_password_stays_while_it_works() {
        let start = Instant::now();
        let (old, new) = (security(SECURED, "old"), security(SECURED, "new"));
        let mut transition = Transition::new(start, old.clone(), new.clone(), 100);
        assert_eq!(transition.security(), old);
        for n in 1..300 {
            let acknowledged = 100 + u64::from(n);
            let (set, over) = transition.look(start + LOOK * n, 7, acknowledged);
            assert_eq!((set, over), (None, false));
        }
        // And no longer than for a while.
        let end = transition.look(start + BOTH, 7, 1000);
        assert_eq!(end, (Some(new), true));
    }

    #[test]
    fn the_two_take_turns_while_nothing_is_acknowledged_and_the_new_one_stays_when_it_works() {
        let start = Instant::now();
        let (old, new) = (security(SECURED, "old"), security(SECURED, "new"));
        let mut transition = Transition::new(start, old.clone(), new.clone(), 100);
        let set = silence(&mut transition, start, 8);
        assert_eq!(set, [(2, new.clone()), (8, old.clone())]);
        let set = silence(&mut transition, start, 20);
        assert_eq!(set, [(20, new.clone())]);
        assert_eq!(transition.look(start + LOOK * 21, 0, 107), (None, false));
        let later = start + LOOK * 21;
        assert_eq!(silence(&mut transition, later, 100), []);
        assert_eq!(transition.security(), new);
    }

    #[test]
    fn what_was_written_right_before_a_look_may_be_acknowledged_by_the_next() {
        let start = Instant::now();
        let (old, new) = (security(SECURED, "old"), security(SECURED, "new"));
        let mut transition = Transition::new(start, old, new, 100);
        for n in 1..300 {
            let (unacknowledged, acknowledged) = if n % 2 == 0 { (0, 107) } else { (7, 100) };
            let acknowledged = acknowledged + u64::from(n / 2) * 7;
            let look = transition.look(start + LOOK * n, unacknowledged, acknowledged);
            assert_eq!(look, (None, false), "look {n}");
        }
    }

    #[test]
    fn nothing_that_waits_means_nothing() {
        let start = Instant::now();
        let (old, new) = (security(SECURED, "old"), security(SECURED, "new"));
        let mut transition = Transition::new(start, old, new, 100);
        for n in 1..300 {
            assert_eq!(transition.look(start + LOOK * n, 0, 100), (None, false));
        }
    }

    #[test]
    fn hop_limits_let_either_side_pass() {
        let start = Instant::now();
        let transition = |old, new| {
            let (old, new) = (security(old, "same"), security(new, "same"));
            Transition::new(start, old, new, 0)
        };
        let to = transition(Hops::ONE, SECURED);
        assert_eq!(to.security().hops, Hops::ANY);
        let mut from = transition(SECURED, Hops::ONE);
        assert_eq!(from.security().hops, Hops::ANY);
        let end = from.look(start + BOTH, 0, 0);
        assert_eq!(end, (Some(security(Hops::ONE, "same")), true));
    }
}
