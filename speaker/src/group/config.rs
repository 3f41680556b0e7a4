//! The timers of the group, from flags and MetalLB's file (compat.md 4.2).

use std::io::ErrorKind;
use std::path::Path;

use herald_membership::{Timers, TimersError};

use crate::args::MembershipArgs;

/// The timers that the flags and the file say. A file that cannot be used is said and left out;
/// flags that contradict each other are an error.
pub(crate) fn timers(args: &MembershipArgs) -> Result<Timers, TimersError> {
    let preset = if args.ml_wan_config {
        Timers::wan()
    } else {
        Timers::default()
    };
    let mut timers = from_file(&args.ml_config_file).unwrap_or(preset);
    if let Some(interval) = args.ml_probe_interval {
        // A timeout that was not given follows.
        timers.probe_timeout = interval.mul_f64(0.4);
        timers.probe_period = interval;
    }
    if let Some(timeout) = args.ml_probe_timeout {
        timers.probe_timeout = timeout;
    }
    if let Some(suspicion) = args.ml_suspicion {
        timers.suspicion = suspicion;
    }
    timers.check()?;
    Ok(timers)
}

/// What the file says, if there is one that can be used.
fn from_file(path: &Path) -> Option<Timers> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(
                event = "membershipConfig",
                file = %path.display(),
                %error,
                "the file with the timers of the speakers' group cannot be read: leaving it out"
            );
            return None;
        }
    };
    match Timers::from_memberlist_json(&text) {
        Ok((timers, warnings)) => {
            for warning in warnings {
                tracing::warn!(
                    event = "membershipConfig",
                    file = %path.display(),
                    "{warning}"
                );
            }
            Some(timers)
        }
        Err(error) => {
            tracing::error!(
                event = "membershipConfig",
                file = %path.display(),
                %error,
                "the file with the timers of the speakers' group cannot be used: leaving it out"
            );
            None
        }
    }
}
