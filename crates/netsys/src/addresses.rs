//! The addresses of this host.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// All addresses of the interface that has `local`, `local` among them, in the kernel's order, without
/// those that only this host knows; none if no interface has it.
pub fn addresses_beside(local: IpAddr) -> io::Result<Vec<IpAddr>> {
    let all: Vec<(String, IpAddr)> = getifaddrs()?
        .filter_map(|entry| Some((interface_of(&entry.interface_name), ip(entry.address?)?)))
        .collect();
    let of_local = all.iter().find(|(_, address)| *address == local);
    let Some((interface, _)) = of_local else {
        return Ok(Vec::new());
    };
    let beside = all.iter().filter(|(name, address)| {
        name == interface && (*address == local || !address.is_loopback())
    });
    Ok(beside.map(|(_, address)| *address).collect())
}

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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_of_this_host_is_beside_itself_and_a_strange_one_beside_none() {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let beside = addresses_beside(loopback).expect("the kernel tells");
        assert!(beside.contains(&loopback), "{beside:?}");
        let strange = IpAddr::from([192, 0, 2, 77]);
        let beside = addresses_beside(strange).expect("the kernel tells");
        assert!(beside.is_empty(), "{beside:?}");
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
