//! The lab's address plan. Labs are closed worlds, so every lab uses the same addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One address of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Addresses {
    /// Both, IPv4 first.
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// A network that a link of the lab is plugged into: a bridge in the namespace `sw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// 172.30.0.0/24 and `fd30::/64`: the API server and the nodes' `InternalIP`.
    Mgmt,
    /// 192.168.0.0/16 and `fd10::/64`: where Services' addresses are announced.
    Lan,
    /// Another layer 2 network of the test's own, by the name of its bridge (at most 15 bytes).
    Other(String),
}

impl Network {
    /// The name of the bridge in `sw`.
    pub fn bridge(&self) -> &str {
        match self {
            Self::Mgmt => "mgmt",
            Self::Lan => "lan",
            Self::Other(name) => name,
        }
    }
}

pub(crate) const SERVICE_CIDR: &str = "10.96.0.0/16,fd96::/112";
pub(crate) const POD_CIDR: &str = "10.244.0.0/16,fd44::/48";
pub(crate) const MGMT_PREFIX: (u8, u8) = (24, 64);
pub(crate) const LAN_PREFIX: (u8, u8) = (16, 64);
/// The second network, behind the router.
pub(crate) const FAR_PREFIX: (u8, u8) = (24, 64);

/// The control plane on the management network.
pub(crate) const CONTROL_PLANE: Addresses = mgmt(2);
/// The router on the LAN.
pub(crate) const ROUTER: Addresses = lan(1);
/// The client on the LAN.
pub(crate) const CLIENT: Addresses = lan(100);
/// The router on the far network.
pub(crate) const ROUTER_FAR: Addresses = far(1);
/// The client on the far network.
pub(crate) const REMOTE: Addresses = far(10);
/// The second router on the LAN, in labs that have one.
pub(crate) const ROUTER2: Addresses = lan(2);
/// The second router on the network behind it.
pub(crate) const ROUTER2_FAR: Addresses = far2(1);
/// The client behind the second router.
pub(crate) const REMOTE2: Addresses = far2(10);
/// The network behind the second router.
pub(crate) const FAR2: [&str; 2] = ["203.0.113.0/24", "fd9a::/64"];

const fn mgmt(host: u8) -> Addresses {
    Addresses {
        v4: Ipv4Addr::new(172, 30, 0, host),
        v6: Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, host as u16),
    }
}

const fn lan(host: u8) -> Addresses {
    Addresses {
        v4: Ipv4Addr::new(192, 168, 0, host),
        v6: Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, host as u16),
    }
}

const fn far(host: u8) -> Addresses {
    Addresses {
        v4: Ipv4Addr::new(198, 51, 100, host),
        v6: Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, host as u16),
    }
}

const fn far2(host: u8) -> Addresses {
    Addresses {
        v4: Ipv4Addr::new(203, 0, 113, host),
        v6: Ipv6Addr::new(0xfd9a, 0, 0, 0, 0, 0, 0, host as u16),
    }
}

/// A node of the lab and its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// `n1`, `n2`, …: the name of the Node object and of the namespace.
    pub name: String,
    /// 1 for `n1`.
    pub index: u8,
    /// On `mgmt0`.
    pub mgmt: Addresses,
    /// On `lan0`.
    pub lan: Addresses,
    /// The Node's `InternalIP`s: those on `mgmt0` unless the lab is of one network.
    pub internal: Addresses,
    /// Of its `InternalIP`s the Node object shows the IPv6 one only.
    pub ipv6_only: bool,
}

impl Node {
    pub(crate) fn new(index: u8, one_network: bool, ipv6_only: bool) -> Self {
        let host = 10 + index;
        let (mgmt, lan) = (mgmt(host), lan(host));
        Self {
            name: format!("n{index}"),
            index,
            mgmt,
            lan,
            internal: if one_network { lan } else { mgmt },
            ipv6_only,
        }
    }

    /// The `InternalIP`s that the Node object shows.
    pub fn internal_ips(&self) -> Vec<IpAddr> {
        let all = self.internal.both();
        all.into_iter()
            .filter(|address| !self.ipv6_only || address.is_ipv6())
            .collect()
    }

    /// Where its speaker is a member of the group.
    pub fn member_address(&self) -> IpAddr {
        if self.ipv6_only {
            self.internal.v6.into()
        } else {
            self.internal.v4.into()
        }
    }

    /// The node's `podCIDRs`, IPv4 and IPv6.
    pub fn pod_cidrs(&self) -> [String; 2] {
        [
            format!("10.244.{}.0/24", self.index),
            format!("fd44:0:0:{:x}::/64", self.index),
        ]
    }

    /// The node's own addresses in its pod network, on `cni0`.
    pub fn pod_gateway(&self) -> Addresses {
        self.pod(1)
    }

    /// The address of a host in the node's pod network; 1 is the node's own on `cni0`.
    pub(crate) fn pod(&self, host: u8) -> Addresses {
        Addresses {
            v4: Ipv4Addr::new(10, 244, self.index, host),
            v6: Ipv6Addr::new(0xfd44, 0, 0, self.index.into(), 0, 0, 0, host.into()),
        }
    }
}
