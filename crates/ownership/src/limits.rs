//! The times and counts of the machine.

use std::time::Duration;

/// How long and how often; the defaults are what `docs/failover.md` promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many probes without an answer show that nobody has an address; 0: none are sent, and it
    /// is taken at once.
    pub probes: u32,
    /// How many times as many are sent for a sticky address: there a LAN that loses some must not
    /// take from another what it keeps.
    pub sticky_rounds: u32,
    /// Between two probes, and after the last one, before an address is first announced. RFC 5227
    /// 1.1 waits seconds there, for networks that are not ready yet; ours is.
    pub probe_pause: Duration,
    /// The same where a failover waits for it.
    pub look_pause: Duration,
    /// The same where one that was seen with the address comes back to the group, and may have had
    /// to give it up just now. At least this; longer where answers on the LAN take longer, up to
    /// `look_pause`.
    pub glance_pause: Duration,
    /// Between two probes of an address that another node keeps.
    pub watch_pause: Duration,
    /// The same after one that was not answered.
    pub watch_retry: Duration,
    /// How many such probes without an answer show that the node has it no longer. More than
    /// `probes`, as a LAN that loses frames must not move what should stay: if the node died, the
    /// group tells sooner.
    pub watch_misses: u32,
    /// Watching many addresses goes slower: each is asked for at most once in this time multiplied
    /// by how many there are.
    pub watch_spacing: Duration,
    /// Between two probes for an address that was taken from a member that is down, as that one may
    /// still answer for it where only the group's own datagrams do not get through. At first; an
    /// eighth of the time since it was taken later, up to ten times this.
    pub audit_pause: Duration,
    /// Auditing many addresses goes slower, as watching does.
    pub audit_spacing: Duration,
    /// How long a node answers for an address at most that its new owner does not announce.
    pub hand_over: Duration,
    /// The least time between two announcements of an address in answer to another's.
    pub announce_pause: Duration,
    /// How long two nodes that both hold that an address is theirs tell each other so before
    /// their names decide.
    pub contest: Duration,
    /// How often a foreign station's address is asked for again at most; it begins with a tenth.
    pub in_use_pause: Duration,
    /// The least time between two reports of a conflict over an address.
    pub conflict_pause: Duration,
    /// The most probes that are sent together.
    pub probe_burst: usize,
    /// The least time between two full bursts of probes.
    pub burst_pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            probes: 3,
            sticky_rounds: 3,
            probe_pause: Duration::from_millis(66),
            look_pause: Duration::from_millis(40),
            glance_pause: Duration::from_millis(10),
            watch_pause: Duration::from_millis(200),
            watch_retry: Duration::from_millis(100),
            watch_misses: 6,
            watch_spacing: Duration::from_millis(1),
            audit_pause: Duration::from_secs(1),
            audit_spacing: Duration::from_millis(10),
            hand_over: Duration::from_secs(10),
            announce_pause: Duration::from_millis(100),
            contest: Duration::from_millis(500),
            in_use_pause: Duration::from_secs(5),
            conflict_pause: Duration::from_mins(1),
            probe_burst: 64,
            burst_pause: Duration::from_millis(5),
        }
    }
}
