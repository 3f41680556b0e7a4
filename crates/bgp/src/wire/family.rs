//! The two address families that Herald announces.

use std::fmt;

pub use herald_model::Cidr as Prefix;
use herald_model::IpFamily;

/// An address family and its subsequent one (RFC 4760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// The family of a prefix's routes.
    pub fn of(prefix: Prefix) -> Self {
        match prefix.family() {
            IpFamily::V4 => Self::Ipv4Unicast,
            IpFamily::V6 => Self::Ipv6Unicast,
        }
    }

    /// The family with these numbers, if it is one of the two.
    pub fn from_codes(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::Ipv4Unicast),
            (2, 1) => Some(Self::Ipv6Unicast),
            _ => None,
        }
    }

    /// The address family identifier.
    pub fn afi(self) -> u16 {
        match self {
            Self::Ipv4Unicast => 1,
            Self::Ipv6Unicast => 2,
        }
    }

    /// The subsequent address family identifier.
    pub fn safi(self) -> u8 {
        1
    }

    /// The family of its addresses.
    pub fn addresses(self) -> IpFamily {
        match self {
            Self::Ipv4Unicast => IpFamily::V4,
            Self::Ipv6Unicast => IpFamily::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "ipv4 unicast",
            Self::Ipv6Unicast => "ipv6 unicast",
        })
    }
}

/// One value for each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PerFamily<T> {
    /// That of [`Family::Ipv4Unicast`].
    pub ipv4: T,
    /// That of [`Family::Ipv6Unicast`].
    pub ipv6: T,
}

impl<T> PerFamily<T> {
    /// The value of `family`.
    pub fn get(&self, family: Family) -> &T {
        match family {
            Family::Ipv4Unicast => &self.ipv4,
            Family::Ipv6Unicast => &self.ipv6,
        }
    }

    /// The value of `family`, to be changed.
    pub fn get_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::Ipv4Unicast => &mut self.ipv4,
            Family::Ipv6Unicast => &mut self.ipv6,
        }
    }
}

/// A set of families.
pub type Families = PerFamily<bool>;

impl PerFamily<bool> {
    /// The empty set.
    pub const NONE: Self = Self {
        ipv4: false,
        ipv6: false,
    };

    /// Both families.
    pub const BOTH: Self = Self {
        ipv4: true,
        ipv6: true,
    };

    /// The set that has only `family`.
    pub fn only(family: Family) -> Self {
        let mut set = Self::NONE;
        set.insert(family);
        set
    }

    /// True if `family` is in the set.
    pub fn contains(self, family: Family) -> bool {
        *self.get(family)
    }

    /// Adds `family`.
    pub fn insert(&mut self, family: Family) {
        *self.get_mut(family) = true;
    }

    /// What is in both sets.
    pub fn intersection(self, other: Self) -> Self {
        Self {
            ipv4: self.ipv4 && other.ipv4,
            ipv6: self.ipv6 && other.ipv6,
        }
    }

    /// True if nothing is in the set.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// The families of the set, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL
            .into_iter()
            .filter(move |family| self.contains(*family))
    }
}
