//! The timers of a session (compat.md 1.8, rule 12).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::problem::Fault;
use crate::kinds::BGPPeerSpec;

/// The timers of a session in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// How long the session lives without a message; zero for ever. The peer may ask for less.
    pub hold: Duration,
    /// How often a message is sent; zero if `hold` is.
    pub keepalive: Duration,
    /// How long to wait at first before a connection is tried again.
    pub connect: Duration,
}

impl Default for Timers {
    /// RFC 4271, section 10, and MetalLB's own BGP implementation have 90 s and a third of it. The
    /// RFC's two minutes between two attempts to connect are for routers of other people; ours is in
    /// the same rack, and clients wait.
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(90),
            keepalive: Duration::from_secs(30),
            connect: Duration::from_secs(10),
        }
    }
}

impl Timers {
    /// What the object says, and the default for what it leaves open: a keepalive time alone means
    /// three times as much to hold, a hold time alone a third of it. A keepalive time of zero does
    /// not turn messages off as long as the hold time runs.
    pub(super) fn parse(spec: &BGPPeerSpec) -> Result<Self, Fault> {
        const SHORTEST: i64 = 3;
        const LONGEST: i64 = 65_535;
        let default = Self {
            connect: connect(spec)?,
            ..Self::default()
        };
        let (hold, keepalive) = match (spec.hold_time, spec.keepalive_time) {
            (None, None) => return Ok(default),
            (Some(hold), None) => (hold.seconds(), 0),
            (None, Some(keepalive)) => (keepalive.seconds().saturating_mul(3), keepalive.seconds()),
            (Some(hold), Some(keepalive)) => (hold.seconds(), keepalive.seconds()),
        };
        if hold != 0 && !(SHORTEST..=LONGEST).contains(&hold) {
            let message =
                format!("invalid hold time \"{hold}s\": must be 0 or >=3s and at most 65535s");
            return Err(Fault::new("spec.holdTime", message));
        }
        if !(0..=hold).contains(&keepalive) {
            let message = format!(
                "invalid keepaliveTime \"{keepalive}s\": must not be above holdTime \"{hold}s\""
            );
            return Err(Fault::new("spec.keepaliveTime", message));
        }
        let keepalive = if keepalive == 0 { hold / 3 } else { keepalive };
        // Both have been found to be neither negative nor large.
        let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        Ok(Self {
            hold: seconds(hold),
            keepalive: seconds(keepalive),
            ..default
        })
    }
}

fn connect(spec: &BGPPeerSpec) -> Result<Duration, Fault> {
    let Some(time) = spec.connect_time else {
        return Ok(Timers::default().connect);
    };
    let whole = time.nanoseconds() % 1_000_000_000 == 0 && (1..=65_535).contains(&time.seconds());
    match time.to_std() {
        Some(time) if whole => Ok(time),
        _ => {
            let message = format!("invalid connect time \"{time}\": use whole seconds, 1 to 65535");
            Err(Fault::new("spec.connectTime", message))
        }
    }
}
