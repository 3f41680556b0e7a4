//! MetalLB's settings of its membership (compat.md 4.2) as timers.

use std::time::Duration;

use serde::Deserialize;

use crate::{Timers, TimersError};

/// The JSON of the `ConfigMap`. All fields are mandatory there, and times are nanoseconds.
#[derive(Debug, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "these are the fields that MetalLB has"
)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Memberlist {
    #[serde(rename = "TCPTimeout")]
    tcp_timeout: i64,
    indirect_checks: i64,
    retransmit_mult: i64,
    suspicion_mult: i64,
    suspicion_max_timeout_mult: i64,
    push_pull_interval: i64,
    probe_timeout: i64,
    probe_interval: i64,
    disable_tcp_pings: bool,
    awareness_max_multiplier: i64,
    gossip_nodes: i64,
    gossip_interval: i64,
    gossip_to_the_dead_time: i64,
    gossip_verify_incoming: bool,
    gossip_verify_outgoing: bool,
    enable_compression: bool,
    handoff_queue_depth: i64,
    #[serde(rename = "UDPBufferSize")]
    udp_buffer_size: i64,
    queue_check_interval: i64,
}

/// Why the JSON cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemberlistError {
    /// It is not what is expected.
    #[error("the memberlist configuration is not valid: {0}; give all of its 19 fields")]
    Json(#[from] serde_json::Error),
    /// A number is below zero or far too large.
    #[error("{field} of the memberlist configuration is {value}: give a positive number")]
    Number {
        /// Which.
        field: &'static str,
        /// What it is.
        value: i64,
    },
    /// What comes out does not fit together.
    #[error("the memberlist configuration cannot be used: {0}")]
    Timers(#[from] TimersError),
}

impl Timers {
    /// Takes the timers from MetalLB's JSON. The second part names, in a sentence each, what was
    /// set there and has no effect here.
    pub fn from_memberlist_json(json: &str) -> Result<(Self, Vec<String>), MemberlistError> {
        let list: Memberlist = serde_json::from_str(json)?;
        let period = nanoseconds("ProbeInterval", list.probe_interval)?;
        let factor = u32::try_from(list.suspicion_mult)
            .ok()
            .filter(|factor| *factor > 0)
            .ok_or(MemberlistError::Number {
                field: "SuspicionMult",
                value: list.suspicion_mult,
            })?;
        let timers = Self {
            probe_period: period,
            probe_timeout: nanoseconds("ProbeTimeout", list.probe_timeout)?,
            indirect_probes: number("IndirectChecks", list.indirect_checks)?,
            suspicion: period.saturating_mul(factor),
            gossip: nanoseconds("GossipInterval", list.gossip_interval)?,
            gossip_fanout: number("GossipNodes", list.gossip_nodes)?,
            ..Self::default()
        };
        timers.check()?;
        Ok((timers, list.without_effect()))
    }
}

impl Memberlist {
    /// What differs from MetalLB's default, which nobody needs to be told of, and has no
    /// counterpart.
    fn without_effect(&self) -> Vec<String> {
        let second = 1_000_000_000;
        let others: [(&str, bool, &str); 13] = [
            (
                "TCPTimeout",
                self.tcp_timeout == 10 * second || self.tcp_timeout == 30 * second,
                "the membership uses no TCP",
            ),
            (
                "RetransmitMult",
                self.retransmit_mult == 4,
                "it follows from the number of members",
            ),
            (
                "SuspicionMaxTimeoutMult",
                self.suspicion_max_timeout_mult == 6,
                "the suspicion time does not grow",
            ),
            (
                "PushPullInterval",
                self.push_pull_interval == 30 * second || self.push_pull_interval == 60 * second,
                "states are exchanged when they change",
            ),
            (
                "DisableTcpPings",
                !self.disable_tcp_pings,
                "the membership uses no TCP",
            ),
            (
                "AwarenessMaxMultiplier",
                self.awareness_max_multiplier == 8,
                "a speaker that is late gives others as much more time",
            ),
            (
                "GossipToTheDeadTime",
                self.gossip_to_the_dead_time == 30 * second
                    || self.gossip_to_the_dead_time == 60 * second,
                "members that are down are called for as long as they are expected",
            ),
            (
                "GossipVerifyIncoming",
                self.gossip_verify_incoming,
                "every datagram must be sealed",
            ),
            (
                "GossipVerifyOutgoing",
                self.gossip_verify_outgoing,
                "every datagram is sealed",
            ),
            (
                "EnableCompression",
                self.enable_compression,
                "datagrams are short",
            ),
            (
                "HandoffQueueDepth",
                self.handoff_queue_depth == 1024,
                "there is no such queue",
            ),
            (
                "UDPBufferSize",
                self.udp_buffer_size == 1400,
                "datagrams have at most 1,400 bytes",
            ),
            (
                "QueueCheckInterval",
                self.queue_check_interval == 30 * second,
                "there is no such queue",
            ),
        ];
        others
            .into_iter()
            .filter(|(_, usual, _)| !usual)
            .map(|(field, _, why)| {
                format!("{field} of the memberlist configuration has no effect: {why}")
            })
            .collect()
    }
}

fn nanoseconds(field: &'static str, value: i64) -> Result<Duration, MemberlistError> {
    u64::try_from(value)
        .map(Duration::from_nanos)
        .map_err(|_| MemberlistError::Number { field, value })
}

fn number(field: &'static str, value: i64) -> Result<usize, MemberlistError> {
    usize::try_from(value).map_err(|_| MemberlistError::Number { field, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT_LAN: &str = r#"{
        "TCPTimeout": 10000000000, "IndirectChecks": 3, "RetransmitMult": 4, "SuspicionMult": 4,
        "SuspicionMaxTimeoutMult": 6, "PushPullInterval": 30000000000, "ProbeTimeout": 500000000,
        "ProbeInterval": 1000000000, "DisableTcpPings": false, "AwarenessMaxMultiplier": 8,
        "GossipNodes": 3, "GossipInterval": 200000000, "GossipToTheDeadTime": 30000000000,
        "GossipVerifyIncoming": true, "GossipVerifyOutgoing": true, "EnableCompression": true,
        "HandoffQueueDepth": 1024, "UDPBufferSize": 1400, "QueueCheckInterval": 30000000000
    }"#;

    #[test]
    fn takes_what_has_a_counterpart_without_a_word() {
        let (timers, warnings) = Timers::from_memberlist_json(DEFAULT_LAN).unwrap();
        assert_eq!(timers.probe_period, Duration::from_secs(1));
        assert_eq!(timers.probe_timeout, Duration::from_millis(500));
        assert_eq!(timers.suspicion, Duration::from_secs(4));
        assert_eq!(timers.gossip, Duration::from_millis(200));
        assert_eq!((timers.indirect_probes, timers.gossip_fanout), (3, 3));
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn says_what_has_no_effect() {
        let json = DEFAULT_LAN
            .replace(r#""DisableTcpPings": false"#, r#""DisableTcpPings": true"#)
            .replace(
                r#""GossipVerifyIncoming": true"#,
                r#""GossipVerifyIncoming": false"#,
            );
        let (_, warnings) = Timers::from_memberlist_json(&json).unwrap();
        assert_eq!(
            warnings,
            [
                "DisableTcpPings of the memberlist configuration has no effect: the membership \
                 uses no TCP",
                "GossipVerifyIncoming of the memberlist configuration has no effect: every \
                 datagram must be sealed",
            ]
        );
    }

    #[test]
    fn refuses_what_is_missing_unknown_or_makes_no_sense() {
        for (from, to) in [
            (r#""GossipNodes": 3,"#, ""),
            (r#""GossipNodes": 3,"#, r#""GossipNodes": 3, "Gossip": 3,"#),
            (r#""GossipNodes": 3"#, r#""GossipNodes": -3"#),
            (r#""SuspicionMult": 4"#, r#""SuspicionMult": 0"#),
            (
                r#""ProbeTimeout": 500000000"#,
                r#""ProbeTimeout": 2000000000"#,
            ),
            (
                r#""ProbeInterval": 1000000000"#,
                r#""ProbeInterval": 9000000000000000000"#,
            ),
        ] {
            let json = DEFAULT_LAN.replace(from, to);
            assert_ne!(json, DEFAULT_LAN);
            assert!(Timers::from_memberlist_json(&json).is_err(), "{to}");
        }
    }

    #[test]
    fn the_presets_fit_together() {
        assert_eq!(Timers::default().check(), Ok(()));
        assert_eq!(Timers::wan().check(), Ok(()));
    }
}
