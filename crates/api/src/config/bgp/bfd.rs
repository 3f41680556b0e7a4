//! `BFDProfile`s (compat.md 1.5 and 1.8, rule 10).

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::keep::Parsed;
use crate::config::problem::Fault;
use crate::kinds;

/// How a path is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdProfile {
    /// The shortest interval between received packets.
    pub receive_interval: Duration,
    /// The interval between sent packets.
    pub transmit_interval: Duration,
    /// How many packets in a row may be missing.
    pub detect_multiplier: u8,
    /// The interval between echo packets.
    pub echo_interval: Duration,
    /// Whether echo packets are sent.
    pub echo_mode: bool,
    /// Whether the peer has to begin.
    pub passive_mode: bool,
    /// The lowest TTL over several hops, if one is set.
    pub minimum_ttl: Option<u8>,
}

impl Parsed for BfdProfile {
    type Claims = ();
}

impl BfdProfile {
    pub(in crate::config) fn parse(_: &str, object: &kinds::BFDProfile) -> Result<Self, Fault> {
        const INTERVAL: RangeInclusive<u32> = 10..=60_000;
        let spec = &object.spec;
        let interval = |field, value: Option<u32>, default| {
            let milliseconds = within(field, value, INTERVAL)?.unwrap_or(default);
            Ok(Duration::from_millis(u64::from(milliseconds)))
        };
        Ok(Self {
            receive_interval: interval("receiveInterval", spec.receive_interval, 300)?,
            transmit_interval: interval("transmitInterval", spec.transmit_interval, 300)?,
            detect_multiplier: byte("detectMultiplier", spec.detect_multiplier, 2..=255)?
                .unwrap_or(3),
            echo_interval: interval("echoInterval", spec.echo_interval, 50)?,
            echo_mode: spec.echo_mode.unwrap_or_default(),
            passive_mode: spec.passive_mode.unwrap_or_default(),
            minimum_ttl: byte("minimumTtl", spec.minimum_ttl, 1..=254)?,
        })
    }
}

fn within(
    field: &str,
    value: Option<u32>,
    range: RangeInclusive<u32>,
) -> Result<Option<u32>, Fault> {
    match value {
        Some(value) if !range.contains(&value) => Err(Fault::new(
            format!("spec.{field}"),
            format!(
                "invalid {field} value {value}: use {} to {}",
                range.start(),
                range.end()
            ),
        )),
        _ => Ok(value),
    }
}

fn byte(field: &str, value: Option<u32>, range: RangeInclusive<u32>) -> Result<Option<u8>, Fault> {
    let value = within(field, value, range)?;
    Ok(value.and_then(|value| u8::try_from(value).ok()))
}
