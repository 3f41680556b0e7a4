//! What is asked and answered, as JSON.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_bfd::EchoStatus;
use herald_bgp::session::{Down, MessageCounters};
use herald_bgp::wire::{Attributes, ExtendedCommunity, Families, Negotiated, NextHop};
use herald_model::Cidr;
use serde::{Deserialize, Serialize};

use crate::bfd::BfdStatus;
use crate::bgp::PeerStatus;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Request {
    /// How the sessions are.
    Neighbors {},
    /// What a peer has been told.
    Routes {
        /// The name of its `BGPPeer`.
        neighbor: String,
    },
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Part {
    Neighbors(Vec<Neighbor>),
    Routes(Vec<Route>),
    /// There is none.
    Error(String),
    /// That was all.
    End,
}

/// A session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Neighbor {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) vrf: String,
    pub(super) state: String,
    /// For how long it is up, or is not.
    pub(super) since_seconds: u64,
    pub(super) local_as: u32,
    pub(super) local_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<Agreed>,
    pub(super) sent: Messages,
    pub(super) received: Messages,
    pub(super) prefixes: Prefixes,
    /// How often the session came up.
    pub(super) established: u64,
    /// How often it went down.
    pub(super) lost: u64,
    /// Attempts to connect.
    pub(super) connects: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bfd: Option<Watched>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_down: Option<Ended>,
    /// Since it was up last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_failure: Option<Ended>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_notification_sent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_notification_received: Option<String>,
}

/// What holds while a session is up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Agreed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) local_address: Option<String>,
    pub(super) peer_as: u32,
    pub(super) peer_id: String,
    /// Seconds; 0 is for ever.
    pub(super) hold_time: u16,
    pub(super) families: Vec<String>,
    /// For how many seconds the peer says that its own restart takes, if both sides have graceful
    /// restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) graceful_restart_seconds: Option<u16>,
    /// What both sides can do beyond that.
    pub(super) capabilities: Vec<String>,
}

/// How BFD sees the path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Watched {
    pub(super) state: String,
    /// For how long it is in this state.
    pub(super) since_seconds: u64,
    /// How long the peer may be silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detection_milliseconds: Option<u64>,
    /// How long echo packets may stay away, while they watch the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) echo_detection_milliseconds: Option<u64>,
    /// Why they do not, if the profile asks for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) echo_off: Option<String>,
    /// How often it came up.
    pub(super) ups: u64,
    /// How often it went down.
    pub(super) downs: u64,
    /// What is in its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
}

/// Numbers of messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Messages {
    pub(super) opens: u64,
    pub(super) updates: u64,
    pub(super) notifications: u64,
    pub(super) keepalives: u64,
    pub(super) refreshes: u64,
    pub(super) total: u64,
}

/// Numbers of prefixes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Prefixes {
    /// The peer has been told.
    pub(super) told_ipv4: usize,
    pub(super) told_ipv6: usize,
    /// The peer is to have.
    pub(super) wanted: usize,
    /// Wait to be announced or withdrawn.
    pub(super) waiting: usize,
    /// The peer announced; they are not taken.
    pub(super) received: u64,
}

/// The end of a session or of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended {
    pub(super) seconds_ago: u64,
    pub(super) reason: String,
    /// The state that it ended in.
    pub(super) state: String,
}

/// A route as a peer has been told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Route {
    #[serde(with = "as_text")]
    pub(super) prefix: Cidr,
    pub(super) next_hop: IpAddr,
    /// Beside a global IPv6 address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link_local_next_hop: Option<IpAddr>,
    pub(super) as_path: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) med: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) local_pref: Option<u32>,
    pub(super) communities: Vec<String>,
    pub(super) large_communities: Vec<String>,
    pub(super) extended_communities: Vec<String>,
}

impl Neighbor {
    pub(super) fn new(now: Instant, name: &str, status: &PeerStatus) -> Self {
        let counters = status.counters();
        let session = counters.session;
        let ended = |last: &(Instant, Down)| Ended {
            seconds_ago: now.saturating_duration_since(last.0).as_secs(),
            reason: last.1.to_string(),
            state: last.1.state.to_string(),
        };
        Self {
            name: name.to_owned(),
            address: status.peer(),
            vrf: status.plan.vrf.clone(),
            state: status.state.to_string(),
            since_seconds: now.saturating_duration_since(status.since).as_secs(),
            local_as: status.plan.session.local_as.0,
            local_id: status.plan.session.id.to_string(),
            session: status.up.as_ref().map(|up| {
                let local = up.endpoints.map(|endpoints| endpoints.local.to_string());
                agreed(local, &up.negotiated)
            }),
            sent: Messages::from(session.sent),
            received: Messages::from(session.received),
            prefixes: Prefixes {
                told_ipv4: counters.told.ipv4,
                told_ipv6: counters.told.ipv6,
                wanted: counters.wanted,
                waiting: counters.waiting,
                received: session.announced.ipv4 + session.announced.ipv6,
            },
            established: session.ups,
            lost: session.downs,
            connects: session.dials,
            bfd: None,
            last_down: status.last_down.as_ref().map(ended),
            last_failure: status.last_failure.as_ref().map(ended),
            last_notification_sent: status.last_sent.as_ref().map(ToString::to_string),
            last_notification_received: status.last_received.as_ref().map(ToString::to_string),
        }
    }

    /// With what BFD says of the path.
    pub(super) fn with_path(mut self, now: Instant, path: Option<&BfdStatus>) -> Self {
        self.bfd = path.map(|path| {
            let session = path.session.as_ref();
            let since = session.map(|it| now.saturating_duration_since(it.since).as_secs());
            let detection = session.and_then(|it| it.detection_time);
            let milliseconds = |time: Duration| u64::try_from(time.as_millis()).ok();
            let (echo, echo_off) = match session.and_then(|it| it.echo) {
                Some(EchoStatus::On { detection_time, .. }) => (Some(detection_time), None),
                Some(EchoStatus::Off(off)) => (None, Some(off.to_string())),
                None => (None, None),
            };
            Watched {
                state: session.map_or_else(|| "Down".to_owned(), |it| it.state.to_string()),
                since_seconds: since.unwrap_or_default(),
                detection_milliseconds: detection.and_then(milliseconds),
                echo_detection_milliseconds: echo.and_then(milliseconds),
                echo_off,
                ups: session.map_or(0, |it| it.counters.ups),
                downs: session.map_or(0, |it| it.counters.downs),
                problem: path.problem.clone(),
            }
        });
        self
    }

    /// True if this is its name or address, with or without the port.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let address = self.address.parse().map(|it: std::net::SocketAddr| it.ip());
        self.name == name
            || self.address == name
            || name.parse::<IpAddr>().is_ok_and(|name| address == Ok(name))
    }
}

fn agreed(local_address: Option<String>, negotiated: &Negotiated) -> Agreed {
    let can = [
        (negotiated.four_octet_as, "4-octet AS"),
        (negotiated.extended_next_hop, "extended next hop"),
        (negotiated.route_refresh, "route refresh"),
        (negotiated.enhanced_route_refresh, "enhanced route refresh"),
        (negotiated.message_limit > 4096, "extended messages"),
        (negotiated.graceful_restart.is_some(), "graceful restart"),
        (
            negotiated.notification_restart,
            "graceful restart by notification",
        ),
        (
            negotiated.long_lived_graceful_restart.is_some(),
            "long-lived graceful restart",
        ),
        (negotiated.peer_role.is_some(), "role"),
    ];
    let can = can.into_iter().filter(|(can, _)| *can);
    let families = |families: Families| families.iter().map(|f| f.to_string()).collect();
    Agreed {
        local_address,
        peer_as: negotiated.peer_as.0,
        peer_id: negotiated.peer_id.to_string(),
        hold_time: negotiated.hold_time,
        families: families(negotiated.families),
        graceful_restart_seconds: negotiated.graceful_restart.map(|it| it.restart_time),
        capabilities: can.map(|(_, name)| name.to_owned()).collect(),
    }
}

impl From<MessageCounters> for Messages {
    fn from(counters: MessageCounters) -> Self {
        Self {
            opens: counters.opens,
            updates: counters.updates,
            notifications: counters.notifications,
            keepalives: counters.keepalives,
            refreshes: counters.refreshes,
            total: counters.total(),
        }
    }
}

impl Route {
    pub(super) fn new(prefix: Cidr, attributes: &Attributes) -> Self {
        let (next_hop, link_local_next_hop) = match attributes.next_hop() {
            NextHop::V4(address) => (address.into(), None),
            NextHop::V6 { global, link_local } => {
                let beside = link_local.filter(|address| *address != global);
                (global.into(), beside.map(IpAddr::V6))
            }
        };
        let texts = |all: &[_]| all.iter().map(ToString::to_string).collect();
        Self {
            prefix,
            next_hop,
            link_local_next_hop,
            as_path: attributes.as_path().iter().map(|asn| asn.0).collect(),
            med: attributes.med(),
            local_pref: attributes.local_pref(),
            communities: texts(attributes.communities()),
            large_communities: attributes.large().iter().map(ToString::to_string).collect(),
            extended_communities: attributes
                .extended()
                .iter()
                .map(|it| extended(*it))
                .collect(),
        }
    }
}

/// A prefix as people write it.
mod as_text {
    use herald_model::Cidr;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        prefix: &Cidr,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(prefix)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cidr, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A link bandwidth in bytes per second, or the digits of what has no better form.
fn extended(community: ExtendedCommunity) -> String {
    match community.0 {
        [0x40, 0x04, high, low, rest @ ..] => {
            let asn = u16::from_be_bytes([high, low]);
            let bytes = f32::from_be_bytes(rest);
            format!("link-bandwidth:{asn}:{bytes}")
        }
        _ => community.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use herald_bgp::wire::{Asn, Community, LargeCommunity};

    use super::*;
    use crate::bgp::testing;

    #[test]
    fn a_neighbor_goes_by_its_name_or_address() {
        let (status, _) = testing::up("[2001:db8::2]:179");
        let neighbor = Neighbor::new(Instant::now(), "tor", &status);
        for name in ["tor", "[2001:db8::2]:179", "2001:db8::2", "2001:DB8:0::2"] {
            assert!(neighbor.is_called(name), "{name}");
        }
        for name in ["", "to", "2001:db8::3", "[2001:db8::2]:180"] {
            assert!(!neighbor.is_called(name), "{name}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let (mut status, _) = testing::up("192.0.2.2:179");
        status.last_down = Some((status.since, testing::shut_down("reload")));
        let neighbor = Neighbor::new(Instant::now(), "tor", &status);
        assert_eq!(neighbor.local_as, 65_001);
        let session = neighbor.session.as_ref().expect("up");
        assert_eq!(session.families, ["ipv4 unicast", "ipv6 unicast"]);
        let next_hop = NextHop::V4([192, 0, 2, 1].into());
        let attributes = Attributes::new(next_hop)
            .with_as_path([Asn(65_001), Asn(65_001)])
            .with_med(Some(7))
            .with_communities([Community::new(65_001, 100)])
            .with_large([LargeCommunity {
                global: 1,
                local1: 2,
                local2: 3,
            }])
            .with_extended([ExtendedCommunity::link_bandwidth(Asn(65_001), 125_000.0)]);
        let route = Route::new("198.51.100.1/32".parse().expect("valid"), &attributes);
        assert_eq!(route.extended_communities, ["link-bandwidth:65001:125000"]);
        assert_eq!(route.communities, ["65001:100"]);
        assert_eq!(route.large_communities, ["1:2:3"]);
        for part in [
            Part::Neighbors(vec![neighbor]),
            Part::Routes(vec![route]),
            Part::End,
        ] {
            let text = serde_json::to_string(&part).expect("plain");
            let read: Part = serde_json::from_str(&text).expect("its own");
            assert_eq!(read, part, "{text}");
        }
    }
}
