//! IPv6 multicast groups of neighbor discovery.

use std::net::Ipv6Addr;

use herald_model::MacAddress;

/// `ff02::1`, every station on the link.
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The group that solicitations for `address` go to: `ff02::1:ff00:0` and the last 24 bits of the
/// address (RFC 4291 2.7.1). Many addresses may have the same one.
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Ipv6Addr::from(PREFIX | (u128::from(address) & 0x00ff_ffff))
}

/// The hardware address of an IPv6 multicast group: `33:33` and the group's last 32 bits
/// (RFC 2464 7).
pub fn multicast_mac(group: Ipv6Addr) -> MacAddress {
    let [.., a, b, c, d] = group.octets();
    MacAddress([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_has_the_last_24_bits_and_the_mac_the_last_32() {
        let address: Ipv6Addr = "2001:db8::1234:5678:9abc".parse().expect("valid");
        let group = solicited_node(address);
        assert_eq!(group.to_string(), "ff02::1:ff78:9abc");
        assert_eq!(multicast_mac(group).to_string(), "33:33:ff:78:9a:bc");
        assert_eq!(multicast_mac(ALL_NODES).to_string(), "33:33:00:00:00:01");
    }
}
