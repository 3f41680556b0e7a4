//! The interfaces of this host: their networks, and their names by number.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_indextoname;
use nix::sys::socket::SockaddrStorage;

/// Whether `peer` is in a network of the interface that has `local`: no router is between them.
pub fn is_on_link(local: IpAddr, peer: IpAddr) -> io::Result<bool> {
    if matches!(peer, IpAddr::V6(peer) if peer.is_unicast_link_local()) {
        return Ok(true);
    }
    let mut of_local = None;
    let mut links = Vec::new();
    for entry in getifaddrs()? {
        let (Some(address), mask) = (entry.address.and_then(ip), entry.netmask.and_then(ip)) else {
            continue;
        };
        let other_end = entry.destination.and_then(ip);
        if other_end == Some(peer) || mask.is_some_and(|mask| same_network(address, peer, mask)) {
            links.push(interface_of(&entry.interface_name));
        }
        if address == local {
            of_local = Some(interface_of(&entry.interface_name));
        }
    }
    Ok(of_local.is_some_and(|interface| links.contains(&interface)))
}

fn same_network(one: IpAddr, other: IpAddr, mask: IpAddr) -> bool {
    match (one, other, mask) {
        (IpAddr::V4(one), IpAddr::V4(other), IpAddr::V4(mask)) => one & mask == other & mask,
        (IpAddr::V6(one), IpAddr::V6(other), IpAddr::V6(mask)) => one & mask == other & mask,
        _ => false,
    }
}

/// An address with a label is told as that of `eth0:1`.
fn interface_of(name: &str) -> String {
    name.split(':').next().unwrap_or(name).to_owned()
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// The name of the interface with this index; `None` if there is none.
pub fn interface_name(index: u32) -> Option<String> {
    let name = if_indextoname(index).ok()?.into_string().ok()?;
    // The library does not notice that there is none.
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_known_by_its_index() {
        let index = nix::net::if_::if_nametoindex("lo").expect("every host has it");
        assert_eq!(interface_name(index).as_deref(), Some("lo"));
        assert_eq!(interface_name(u32::MAX), None);
    }

    #[test]
    fn the_network_of_an_interface_is_on_its_link_and_no_other() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let on_link =
            |local, peer| is_on_link(address(local), address(peer)).expect("the kernel tells");
        assert!(on_link("127.0.0.1", "127.8.9.10"));
        assert!(!on_link("127.0.0.1", "192.0.2.77"));
        assert!(!on_link("192.0.2.77", "127.0.0.1"));
        assert!(on_link("fe80::1", "fe80::2"));
    }
}
