//! How fast the group notices that a member is gone.

use std::time::Duration;

/// The timers of a group. All members should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// How often a member is probed. One that does not answer by the end is suspected.
    pub probe_period: Duration,
    /// How long the probed member has before others are asked to probe it too.
    pub probe_timeout: Duration,
    /// How many others are asked.
    pub indirect_probes: usize,
    /// How long a suspected member has to show that it lives.
    pub suspicion: Duration,
    /// How often what changed in the group is passed on.
    pub gossip: Duration,
    /// To how many members it is passed on each time.
    pub gossip_fanout: usize,
    /// How often those that are down or have not come yet are called.
    pub reach_out: Duration,
    /// By how much the own clockwork may be late before others get that much more time.
    pub lateness: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(60),
            probe_timeout: Duration::from_millis(25),
            indirect_probes: 3,
            suspicion: Duration::from_millis(150),
            gossip: Duration::from_millis(100),
            gossip_fanout: 3,
            reach_out: Duration::from_millis(200),
            lateness: Duration::from_millis(25),
        }
    }
}

impl Timers {
    /// For nodes that are far from each other or on a network that loses much: some ten times
    /// slower than the default.
    pub fn wan() -> Self {
        Self {
            probe_period: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(400),
            indirect_probes: 3,
            suspicion: Duration::from_secs(2),
            gossip: Duration::from_millis(300),
            gossip_fanout: 4,
            reach_out: Duration::from_secs(1),
            lateness: Duration::from_millis(100),
        }
    }

    /// Checks that the timers fit together.
    pub fn check(&self) -> Result<(), TimersError> {
        let least = Duration::from_millis(1);
        for (name, value) in [
            ("the probe interval", self.probe_period),
            ("the probe timeout", self.probe_timeout),
            ("the suspicion time", self.suspicion),
            ("the gossip interval", self.gossip),
            ("the reach-out interval", self.reach_out),
            ("the lateness allowance", self.lateness),
        ] {
            if value < least || value > MOST {
                return Err(TimersError::OutOfRange { name, value });
            }
        }
        if self.probe_timeout >= self.probe_period {
            return Err(TimersError::TimeoutTooLong {
                timeout: self.probe_timeout,
                period: self.probe_period,
            });
        }
        for (name, value) in [
            ("the number of indirect probes", self.indirect_probes),
            ("the number of gossip targets", self.gossip_fanout),
        ] {
            if !(1..=32).contains(&value) {
                return Err(TimersError::CountOutOfRange { name, value });
            }
        }
        Ok(())
    }

    /// The least time after which a member that fell silent can be declared down.
    pub fn least_detection(&self) -> Duration {
        self.probe_period + self.suspicion
    }
}

/// No timer may be longer.
const MOST: Duration = Duration::from_mins(10);

/// Why timers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimersError {
    /// A time is too short or too long.
    #[error("{name} of the membership is {value:?}: set it between 1ms and 10min")]
    OutOfRange {
        /// Which.
        name: &'static str,
        /// What it is.
        value: Duration,
    },
    /// A number is too small or too large.
    #[error("{name} of the membership is {value}: set it between 1 and 32")]
    CountOutOfRange {
        /// Which.
        name: &'static str,
        /// What it is.
        value: usize,
    },
    /// The probe timeout leaves no time for others to probe.
    #[error(
        "the membership's probe timeout {timeout:?} is not shorter than its probe interval \
         {period:?}: make it at most half of it"
    )]
    TimeoutTooLong {
        /// The probe timeout.
        timeout: Duration,
        /// The probe interval.
        period: Duration,
    },
}
