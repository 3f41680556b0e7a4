//! The addresses of this host.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

/// All addresses of the interface that has `local`, `local` among them, in the kernel's order, without
/// those that only this host knows; none if no interface has it.
pub fn addresses_beside(local: IpAddr) -> io::Result<Vec<IpAddr>> {
    let all: Vec<(String, IpAddr)> = getifaddrs()?
        .filter_map(|entry| {
            // An address with a label is told as that of `eth0:1`.
            let interface = entry.interface_name.split(':').next()?;
            Some((interface.to_owned(), ip(entry.address?)?))
        })
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
}
