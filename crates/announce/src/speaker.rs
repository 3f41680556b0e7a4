//! The speaker of a node, as far as the election cares.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use herald_model::{IpFamily, LanInterface, MemberState};

use crate::Interfaces;

/// What is known of the speaker of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// There is no group to be a member of. The node takes part.
    Unknown {
        /// The interfaces it announces on; `None` as long as it has not said.
        interfaces: Option<BTreeSet<String>>,
    },
    /// It is not in the group.
    Down {
        /// What it last told, if it ever was in the group.
        last: Option<Arc<MemberState>>,
    },
    /// It is in the group, but has not told its state yet.
    Joining,
    /// It is in the group and has told this.
    Live(Arc<MemberState>),
}

impl Default for Speaker {
    fn default() -> Self {
        Self::Unknown { interfaces: None }
    }
}

impl Speaker {
    /// True if no election comes out otherwise with `other` in place of this one. MAC addresses,
    /// canaries and what a member hears of others have no part in it.
    pub fn elects_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Live(one), Self::Live(other))
            | (Self::Down { last: Some(one) }, Self::Down { last: Some(other) }) => {
                alike(one, other)
            }
            _ => self == other,
        }
    }

    /// What it last told, in the group or not.
    pub fn state(&self) -> Option<&Arc<MemberState>> {
        match self {
            Self::Live(state) => Some(state),
            Self::Down { last } => last.as_ref(),
            Self::Unknown { .. } | Self::Joining => None,
        }
    }
}

fn alike(one: &MemberState, other: &MemberState) -> bool {
    let same = |(one, other): (&LanInterface, &LanInterface)| {
        let facts = |i: &LanInterface| (i.arp, i.ndp);
        one.name == other.name && facts(one) == facts(other) && one.prefixes == other.prefixes
    };
    one.phase == other.phase
        && one.interfaces.len() == other.interfaces.len()
        && one.interfaces.iter().zip(&other.interfaces).all(same)
}

/// How many of a Service's addresses a node can announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Coverage {
    /// All of them.
    #[default]
    All,
    /// Those of the first one's family.
    First,
    /// Those of the other family.
    Other,
}

/// What a node can do for the addresses of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reach {
    pub(crate) coverage: Coverage,
    /// The first family that it cannot announce.
    pub(crate) lacks: Option<IpFamily>,
    /// How many of the addresses lie in none of its prefixes.
    pub(crate) strange: usize,
}

/// Why a node can do nothing for a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoReach {
    /// It has none of the interfaces.
    Interface,
    /// Its interfaces can announce no address of this family, nor of another that is asked for.
    Family(IpFamily),
}

/// What a member in this state can do for `addresses` on `interfaces`.
pub(crate) fn reach(
    state: &MemberState,
    interfaces: &Interfaces,
    addresses: &[IpAddr],
) -> Result<Reach, NoReach> {
    let allowed = || {
        let all = state.interfaces.iter();
        all.filter(|interface| interfaces.contain(&interface.name))
    };
    if allowed().next().is_none() {
        return Err(NoReach::Interface);
    }
    let announces = |family| allowed().any(|interface| can_announce(interface, family));
    let lacks = addresses
        .iter()
        .map(|address| IpFamily::of(*address))
        .find(|family| !announces(*family));
    let first = addresses.first().map(|address| IpFamily::of(*address));
    let coverage = match lacks {
        None => Coverage::All,
        Some(lacking) if first != Some(lacking) => Coverage::First,
        Some(lacking) => {
            let other = addresses.iter().map(|address| IpFamily::of(*address));
            if !other.into_iter().any(announces) {
                return Err(NoReach::Family(lacking));
            }
            Coverage::Other
        }
    };
    let has_subnet_of = |address: &IpAddr| {
        allowed()
            .filter(|interface| can_announce(interface, IpFamily::of(*address)))
            .flat_map(|interface| &interface.prefixes)
            .any(|prefix| prefix.contains(*address))
    };
    let strange = addresses.iter().filter(|a| !has_subnet_of(a)).count();
    Ok(Reach {
        coverage,
        lacks,
        strange,
    })
}

fn can_announce(interface: &LanInterface, family: IpFamily) -> bool {
    match family {
        IpFamily::V4 => interface.arp,
        IpFamily::V6 => interface.ndp,
    }
}
