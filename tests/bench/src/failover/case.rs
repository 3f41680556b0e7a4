//! The cases: what happens, on which network, and what the client may see of it.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What happens to the node that owns the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Case {
    /// Its link loses the carrier.
    CutCarrier,
    /// Its link loses every packet, without a sign.
    CutSilent,
    /// It falls silent on every network, and its speaker dies.
    PowerOff,
    /// Its speaker is killed; the node goes on.
    Kill,
    /// Its speaker is asked to end.
    Terminate,
    /// A person drains it.
    Drain,
    /// The advertisement's node selector leaves it out.
    Selector,
    /// Every speaker is stopped and started, one after the other.
    Rolling,
    /// Its link is silent for five seconds.
    Heal5,
    /// … for twenty seconds.
    Heal20,
    /// … for two minutes.
    Heal120,
    /// API server and etcd are away; in the middle of it the node falls silent.
    Outage,
    /// Other processes take all the cores.
    Busy,
    /// The LAN's link loses its carrier; the speakers' group has another network.
    LanCarrier,
    /// The LAN's link is silent; the speakers' group has another network.
    LanSilent,
}

/// Cases that share a lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// The speakers find each other on the LAN, as in most clusters.
    OneNetwork,
    /// They have a network of their own.
    TwoNetworks,
}

impl Group {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::OneNetwork, Self::TwoNetworks];
}

/// What a client may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A gap of 500 ms at worst, 300 ms in the median, a tenth of MetalLB's.
    Gap,
    /// No failed request.
    NoFailure,
    /// One and only one MAC address answers from a second after the heal on, and no request fails.
    OneAnswer,
    /// A gap as without the outage, and no failed request besides.
    GapOnly,
    /// The address stays where it is.
    NoMove,
}

impl Case {
    /// All, in the order of the table.
    pub(crate) const ALL: [Self; 15] = [
        Self::CutCarrier,
        Self::CutSilent,
        Self::PowerOff,
        Self::LanCarrier,
        Self::LanSilent,
        Self::Kill,
        Self::Terminate,
        Self::Drain,
        Self::Selector,
        Self::Rolling,
        Self::Heal5,
        Self::Heal20,
        Self::Heal120,
        Self::Outage,
        Self::Busy,
    ];

    /// The lab that it needs.
    pub(crate) fn group(self) -> Group {
        match self {
            Self::LanCarrier | Self::LanSilent => Group::TwoNetworks,
            _ => Group::OneNetwork,
        }
    }

    /// What a client may see of it.
    pub(crate) fn target(self) -> Target {
        match self {
            Self::CutCarrier
            | Self::CutSilent
            | Self::PowerOff
            | Self::LanCarrier
            | Self::LanSilent => Target::Gap,
            Self::Kill | Self::Terminate | Self::Drain | Self::Selector | Self::Rolling => {
                Target::NoFailure
            }
            Self::Heal5 | Self::Heal20 | Self::Heal120 => Target::OneAnswer,
            Self::Outage => Target::GapOnly,
            Self::Busy => Target::NoMove,
        }
    }

    /// How long the node is away before it is back, if it is a case of that kind.
    pub(crate) fn away(self) -> Option<Duration> {
        match self {
            Self::Heal5 => Some(Duration::from_secs(5)),
            Self::Heal20 => Some(Duration::from_secs(20)),
            Self::Heal120 => Some(Duration::from_mins(2)),
            _ => None,
        }
    }

    /// Whether it lasts as long as the command line says.
    pub(crate) fn takes_duration(self) -> bool {
        matches!(self, Self::Outage | Self::Busy)
    }

    /// Whether the addresses of other nodes stay where they are, and with them the connections to
    /// them.
    pub(crate) fn spares_others(self) -> bool {
        self != Self::Rolling
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CutCarrier => "link cut, carrier lost",
            Self::CutSilent => "link cut, silent",
            Self::PowerOff => "power-off",
            Self::Kill => "SIGKILL of the speaker",
            Self::Terminate => "SIGTERM of the speaker",
            Self::Drain => "node drained",
            Self::Selector => "node selector changed",
            Self::Rolling => "rolling restart of all speakers",
            Self::Heal5 => "link silent for 5 s, then healed",
            Self::Heal20 => "link silent for 20 s, then healed",
            Self::Heal120 => "link silent for 120 s, then healed",
            Self::Outage => "API and etcd stopped, power-off in the middle",
            Self::Busy => "all cores busy",
            Self::LanCarrier => "LAN cut, carrier lost, group elsewhere",
            Self::LanSilent => "LAN cut, silent, group elsewhere",
        })
    }
}
