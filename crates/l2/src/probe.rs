//! Frames that ask whether anybody has an address, without claiming it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use herald_model::MacAddress;
use pnet_packet::arp::ArpOperations;

use crate::frame::MAX_FRAME_LEN;
use crate::{arp, ndp};

/// Six bytes that no other station has, by which a detection that comes back to its sender is known
/// although its MAC address was changed on the way (RFC 7527).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 6]);

/// Writes the frame by which the interface with this `mac` asks who has `address`; returns its
/// length. Nobody remembers anything because of it.
///
/// For IPv4 it is an ARP probe: a request from 0.0.0.0 (RFC 5227 2.1.1). For IPv6 it is a neighbor
/// solicitation as for duplicate address detection: from the unspecified address to the
/// solicited-node group, with the `nonce` (RFC 4862 5.4.2, RFC 7527 4.1).
pub fn write(
    address: IpAddr,
    mac: MacAddress,
    nonce: Nonce,
    out: &mut [u8; MAX_FRAME_LEN],
) -> usize {
    match address {
        IpAddr::V4(address) => {
            let probe = arp::Outgoing {
                destination: MacAddress::BROADCAST,
                operation: ArpOperations::Request,
                sender: mac,
                sender_address: Ipv4Addr::UNSPECIFIED,
                target: MacAddress([0; 6]),
                target_address: address,
            };
            arp::write(&probe, out)
        }
        IpAddr::V6(address) => ndp::write_detection(mac, address, nonce, out),
    }
}

/// Writes the frame by which a station asks another, which surely has `address`, for it, as one that
/// makes sure that it is still there (RFC 1122 2.3.2.1, RFC 4861 7.3.3); returns its length. It goes
/// to that `station` alone, and unlike a probe it disturbs none that is just about to find out
/// whether it may have the address.
///
/// `source_v4` is the asking interface's own IPv4 address, `source_v6` its link-local one. Without
/// the one for the family there is no such question, and the result is `None`.
pub fn ask(
    address: IpAddr,
    station: MacAddress,
    mac: MacAddress,
    source_v4: Option<Ipv4Addr>,
    source_v6: Option<Ipv6Addr>,
    out: &mut [u8; MAX_FRAME_LEN],
) -> Option<usize> {
    match address {
        IpAddr::V4(address) => {
            let question = arp::Outgoing {
                destination: station,
                operation: ArpOperations::Request,
                sender: mac,
                sender_address: source_v4?,
                target: MacAddress([0; 6]),
                target_address: address,
            };
            Some(arp::write(&question, out))
        }
        IpAddr::V6(address) => Some(ndp::write_question(mac, source_v6?, station, address, out)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Arp, Ndp, OUR_MAC, VIP_V4, VIP_V6};
    use crate::{multicast_mac, solicited_node};

    const NONCE: Nonce = Nonce([1, 2, 3, 4, 5, 6]);

    fn frame(address: IpAddr) -> Vec<u8> {
        let mut out = [0xaa; MAX_FRAME_LEN];
        let len = write(address, OUR_MAC, NONCE, &mut out);
        out[..len].to_vec()
    }

    #[test]
    fn the_arp_probe_claims_nothing() {
        let probe = Arp::read(&frame(VIP_V4.into()));
        assert_eq!(
            (probe.destination, probe.source, probe.ethertype),
            (MacAddress::BROADCAST, OUR_MAC, 0x0806)
        );
        assert_eq!(
            (probe.hardware_type, probe.protocol_type, probe.lengths),
            (1, 0x0800, [6, 4])
        );
        assert_eq!(probe.operation, 1);
        assert_eq!(
            (probe.sender, probe.sender_address),
            (OUR_MAC, Ipv4Addr::UNSPECIFIED)
        );
        assert_eq!(
            (probe.target, probe.target_address),
            (MacAddress([0; 6]), VIP_V4)
        );
    }

    #[test]
    fn a_question_goes_from_the_asker_to_the_station_alone() {
        let station = MacAddress([2, 0, 0, 0, 0, 7]);
        let (v4, v6) = (
            Ipv4Addr::new(192, 0, 2, 9),
            "fe80::9".parse().expect("valid"),
        );
        let mut out = [0xaa; MAX_FRAME_LEN];
        let mut asked = |address: IpAddr, v4, v6| {
            let len = ask(address, station, OUR_MAC, v4, v6, &mut out);
            len.map(|len| out[..len].to_vec())
        };
        let arp = asked(VIP_V4.into(), Some(v4), None).expect("has a source");
        assert_eq!(arp[..6], station.0);
        let arp = Arp::read(&arp);
        assert_eq!(
            (arp.operation, arp.sender, arp.sender_address),
            (1, OUR_MAC, v4)
        );
        assert_eq!(
            (arp.target, arp.target_address),
            (MacAddress([0; 6]), VIP_V4)
        );
        let ndp = asked(VIP_V6.into(), None, Some(v6)).expect("has a source");
        assert_eq!(ndp[..6], station.0);
        let ndp = Ndp::read(&ndp);
        assert_eq!((ndp.icmp_type, ndp.source, ndp.target), (135, v6, VIP_V6));
        assert_eq!(ndp.destination, VIP_V6);
        let [option, units, mac @ ..] = &ndp.options[..] else {
            panic!("no option");
        };
        assert_eq!((*option, *units, mac), (1, 1, &OUR_MAC.0[..]));
        assert_eq!(asked(VIP_V4.into(), None, Some(v6)), None);
        assert_eq!(asked(VIP_V6.into(), Some(v4), None), None);
    }

    #[test]
    fn the_detection_comes_from_nobody_and_has_a_nonce() {
        let detection = Ndp::read(&frame(VIP_V6.into()));
        let group = solicited_node(VIP_V6);
        assert_eq!(
            (detection.link_destination, detection.link_source),
            (multicast_mac(group), OUR_MAC)
        );
        assert_eq!((detection.ethertype, detection.version), (0x86dd, 6));
        assert_eq!((detection.next_header, detection.hop_limit), (58, 255));
        assert_eq!(
            (detection.source, detection.destination),
            (Ipv6Addr::UNSPECIFIED, group)
        );
        assert_eq!((detection.icmp_type, detection.code), (135, 0));
        assert_eq!((detection.flags, detection.target), (0, VIP_V6));
        assert_eq!(detection.options, [14, 1, 1, 2, 3, 4, 5, 6]);
    }
}
