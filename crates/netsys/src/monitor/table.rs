//! What is known about the interfaces, kept from netlink messages.

use std::collections::{BTreeMap, btree_map::Entry};
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are the kernel's flags, each of its own meaning"
)]
pub struct Interface {
    /// The kernel's number of it; a new interface of the same name has another.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Its frames have Ethernet headers.
    pub ethernet: bool,
    /// `IFF_UP`: switched on.
    pub up: bool,
    /// `IFF_LOWER_UP`: the wire is connected.
    pub carrier: bool,
    /// `IFF_BROADCAST`.
    pub broadcast: bool,
    /// `IFF_NOARP`.
    pub no_arp: bool,
    /// `IFF_LOOPBACK`.
    pub loopback: bool,
    /// The index of the bridge, bond or VRF it belongs to.
    pub master: Option<u32>,
    /// What drives it, in the words of `ip link` (`bridge`, `vlan`, …); physical ones have none.
    pub kind: Option<String>,
    /// Its addresses, sorted.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are the kernel's flags, each of its own meaning"
)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of its prefix.
    pub prefix_len: u8,
    /// Duplicate address detection has not finished.
    pub tentative: bool,
    /// Duplicate address detection found another owner.
    pub dad_failed: bool,
    /// Not to be used for anything new.
    pub deprecated: bool,
    /// Made for privacy, to be replaced after some days at most (RFC 8981).
    pub temporary: bool,
}

/// What happened to an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is new, or something about it is; this is all of it.
    Present(Interface),
    /// It is no longer there.
    Gone {
        /// The index it had.
        index: u32,
        /// The name it had.
        name: String,
    },
}

impl Interface {
    /// An IPv6 link-local address that works: duplicate address detection did not fail.
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|a| match a.address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() && !a.dad_failed => Some(v6),
            _ => None,
        })
    }
}

/// The interfaces by index.
#[derive(Debug, Default)]
pub(super) struct Table {
    interfaces: BTreeMap<u32, Interface>,
}

impl Table {
    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values()
    }

    /// Takes in one notification.
    pub(super) fn apply(&mut self, message: RouteNetlinkMessage) -> Option<Change> {
        match message {
            RouteNetlinkMessage::NewLink(link) => self.new_link(link),
            RouteNetlinkMessage::DelLink(link) => self.del_link(&link),
            RouteNetlinkMessage::NewAddress(message) => self.address(&message, true),
            RouteNetlinkMessage::DelAddress(message) => self.address(&message, false),
            _ => None,
        }
    }

    /// Puts a dump (links before addresses) in the place of all; returns the differences.
    pub(super) fn replace(&mut self, dump: Vec<RouteNetlinkMessage>) -> Vec<Change> {
        let mut fresh = Self::default();
        for message in dump {
            fresh.apply(message);
        }
        let old = std::mem::replace(&mut self.interfaces, fresh.interfaces);
        let gone = old
            .values()
            .filter(|interface| !self.interfaces.contains_key(&interface.index))
            .map(|interface| Change::Gone {
                index: interface.index,
                name: interface.name.clone(),
            });
        let present = self
            .interfaces
            .values()
            .filter(|interface| old.get(&interface.index) != Some(*interface))
            .map(|interface| Change::Present(interface.clone()));
        gone.chain(present).collect()
    }

    /// The carrier of an interface is known otherwise than by a notification.
    pub(super) fn set_carrier(&mut self, index: u32, carrier: bool) -> Option<Change> {
        let interface = self.interfaces.get_mut(&index)?;
        let before = std::mem::replace(&mut interface.carrier, carrier);
        (before != carrier).then(|| Change::Present(interface.clone()))
    }

    fn new_link(&mut self, link: LinkMessage) -> Option<Change> {
        // A bridge sends notes about its ports under its own family; they describe the port only.
        if link.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        // A note of the wireless driver, with a name and little else.
        if link
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, LinkAttribute::Wireless(_)))
        {
            return None;
        }
        let partial = !link
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, LinkAttribute::Address(_)));
        let mut interface = parse_link(link)?;
        match self.interfaces.entry(interface.index) {
            Entry::Occupied(mut known) => {
                interface.addresses.clone_from(&known.get().addresses);
                // A whole message always has the MAC address of an interface that has one. In one
                // without, absence says nothing about the rest either.
                if partial && known.get().mac.is_some() {
                    interface.mac = known.get().mac;
                    interface.master = interface.master.or_else(|| known.get().master);
                    interface.kind = interface.kind.or_else(|| known.get().kind.clone());
                }
                if *known.get() == interface {
                    return None;
                }
                known.insert(interface.clone());
            }
            Entry::Vacant(vacant) => {
                vacant.insert(interface.clone());
            }
        }
        Some(Change::Present(interface))
    }

    fn del_link(&mut self, link: &LinkMessage) -> Option<Change> {
        // As above: with the bridge's family it means that a port left the bridge.
        if link.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let gone = self.interfaces.remove(&link.header.index)?;
        Some(Change::Gone {
            index: gone.index,
            name: gone.name,
        })
    }

    fn address(&mut self, message: &AddressMessage, present: bool) -> Option<Change> {
        let address = parse_address(message)?;
        let interface = self.interfaces.get_mut(&message.header.index)?;
        let addresses = &mut interface.addresses;
        let known = addresses
            .iter()
            .position(|a| (a.address, a.prefix_len) == (address.address, address.prefix_len));
        match (known, present) {
            (Some(index), true) if addresses.get(index) == Some(&address) => return None,
            (None, false) => return None,
            (Some(index), _) => {
                addresses.remove(index);
            }
            (None, true) => {}
        }
        if present {
            addresses.push(address);
            addresses.sort_unstable();
        }
        Some(Change::Present(interface.clone()))
    }
}

fn parse_link(link: LinkMessage) -> Option<Interface> {
    let flags = link.header.flags;
    let mut interface = Interface {
        index: link.header.index,
        name: String::new(),
        mac: None,
        ethernet: link.header.link_layer_type == LinkLayerType::Ether,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        broadcast: flags.contains(LinkFlags::Broadcast),
        no_arp: flags.contains(LinkFlags::Noarp),
        loopback: flags.contains(LinkFlags::Loopback),
        master: None,
        kind: None,
        addresses: Vec::new(),
    };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name = name,
            LinkAttribute::Address(mac) => interface.mac = mac.try_into().ok(),
            LinkAttribute::Controller(master) if master != 0 => interface.master = Some(master),
            LinkAttribute::LinkInfo(infos) => {
                interface.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(InfoKind::Other(kind)) => Some(kind.clone()),
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    (!interface.name.is_empty()).then_some(interface)
}

fn parse_address(message: &AddressMessage) -> Option<InterfaceAddress> {
    let mut peer = None;
    let mut local = None;
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end's.
    Some(InterfaceAddress {
        address: local.or(peer)?,
        prefix_len: message.header.prefix_len,
        tentative: flags.contains(AddressFlags::Tentative),
        dad_failed: flags.contains(AddressFlags::Dadfailed),
        deprecated: flags.contains(AddressFlags::Deprecated),
        // The same bit means something else of IPv4.
        temporary: flags.contains(AddressFlags::Secondary)
            && message.header.family == AddressFamily::Inet6,
    })
}

#[cfg(test)]
mod tests;
