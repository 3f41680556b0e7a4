//! What is promised, as times.

use std::time::Duration;

/// A cluster has come together, and every address has an owner, so long after the last of its
/// speakers started: they find each other within half a second, settle for 0.3 s, and probe for
/// what nobody had yet.
pub const FORMED: Duration = Duration::from_secs(3);

/// A speaker that was stopped counts again so long after it goes on: it is fenced until it knows
/// that the others take it as alive.
pub const REJOINED: Duration = Duration::from_secs(1);

/// An address answers again so long after something failed: the failure is noticed within 400 ms,
/// the news travels for 100 ms, and with half of the speakers three probes take 120 ms.
pub const SERVED: Duration = Duration::from_millis(700);

/// The same for a sticky address whose owner failed and was back before anybody missed it: it is asked
/// for nine times in 360 ms, as another may have kept it.
pub const SERVED_STICKY: Duration = Duration::from_millis(900);

/// The same where the group is cut: one that the others cannot see there may have had it, so that the
/// LAN has to show that it is gone. Six questions go without an answer in 700 ms, the first of them up
/// to 200 ms after the last answer.
pub const SERVED_WATCHED: Duration = Duration::from_secs(1);

/// The same where a network loses some of what is sent, so that probes have to be repeated; where the
/// group has only just healed, or its members do not know the same of the nodes; and in a group of more
/// than thirty, where the news takes some rounds to reach all.
pub const SERVED_LOSSY: Duration = Duration::from_millis(1500);

/// The same where a node is silent on the LAN, but lives in the group: 0.3 s for five questions for
/// its canary and the votes of those who sent them, and three to nine probes for the address.
pub const SERVED_BY_VOTE: Duration = Duration::from_secs(1);

/// The same where a network loses some of what is sent: up to sixteen questions go without an answer
/// by chance, and one vote may be told later.
pub const SERVED_BY_VOTE_LOSSY: Duration = Duration::from_secs(2);

/// A planned move, a return or a heal leaves no address without an answer for longer than the news
/// takes from one node to another.
pub const BLINK: Duration = Duration::from_millis(50);

/// The same where a network loses some of what is sent: news are told again after 100 ms, or a quick
/// look of three probes in 120 ms has to do.
pub const BLINK_LOSSY: Duration = Duration::from_millis(250);

/// The same for a sticky address: at a heal none of the others may know for sure who kept it, so that
/// it is asked for nine times in 360 ms; or the one that they watch had left it to another that the
/// heal ends, so that six questions stay unanswered, in 900 ms.
pub const BLINK_STICKY: Duration = Duration::from_secs(1);

/// Two nodes that hear each other on the LAN do not both answer for an address so long after the
/// last change: the announcements of both are repeated until the better one has been heard.
pub const TWO_OWNERS: Duration = Duration::from_secs(1);

/// The same where they are not in one group, and the LAN loses some of what they tell each other there.
pub const TWO_OWNERS_LOSSY: Duration = Duration::from_millis(1250);

/// The same where neither the group nor the LAN could tell them when they took it, and the LAN has
/// healed since: each asks it after an eighth of the time since it took the address, at least every
/// ten seconds.
pub fn two_owners_unaware(age: Duration) -> Duration {
    TWO_OWNERS + (age / 8).clamp(Duration::from_secs(1), Duration::from_secs(10))
}

/// The same where they hear each other in the group only: the one that hands over waits 10 s for
/// an announcement that it cannot hear.
pub const TWO_OWNERS_APART: Duration = Duration::from_secs(12);

/// So long after the last change nothing moves: votes are counted, contests are over.
pub const CALM: Duration = Duration::from_secs(5);

/// A sticky address leaves a node at most so long after something happened to that node.
pub const STICKY: Duration = Duration::from_secs(5);

/// The most that the networks may lose, of a thousand, for all this to hold.
pub const MOST_LOSS: u32 = 100;
