//! Router solicitations and advertisements as bytes (RFC 4861 sections 4.1 and 4.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  +-------+-------+---------------+  +------------------------------+
//!  | type  | code  |   checksum    |  | options: type, length in     |
//!  +-------+-------+-------+-------+  | units of 8 bytes, content    |
//!  | hops  | flags |   lifetime    |  +------------------------------+
//!  +-------+-------+---------------+   A solicitation has four bytes of
//!  |        reachable time         |   no meaning in the place of the
//!  +-------------------------------+   three lines from "hops" on.
//!  |         retrans timer         |
//!  +-------------------------------+
//! ```

use std::net::Ipv6Addr;

/// The ICMP type of a router solicitation.
pub(super) const SOLICITATION: u8 = 133;
/// The ICMP type of a router advertisement.
pub(super) const ADVERTISEMENT: u8 = 134;

/// Where the options of a solicitation begin.
const SOLICITATION_HEADER: usize = 8;
/// Where the options of an advertisement begin.
const ADVERTISEMENT_HEADER: usize = 16;
/// Where the lifetime of an advertisement is.
const LIFETIME: usize = 6;

/// The option with the MAC address of the sender.
const SOURCE_LINK_ADDRESS: u8 = 1;
/// Its length in units of 8 bytes.
const LINK_ADDRESS_UNITS: u8 = 1;

/// What a router or host on the link says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// A host or router wants advertisements now.
    Solicitation {
        /// Its address; unspecified if it has none yet.
        from: Ipv6Addr,
        /// Its MAC address, if it says so.
        mac: Option<[u8; 6]>,
    },
    /// There is a router.
    Advertisement {
        /// Its link-local address.
        from: Ipv6Addr,
        /// For how many seconds it is a default router; 0 if it is none.
        lifetime: u16,
        /// Its MAC address, if it says so.
        mac: Option<[u8; 6]>,
    },
}

/// An advertisement of a router that is no default router, nor says anything else but its MAC
/// address. The kernel fills in the checksum.
pub(super) fn advertisement(mac: [u8; 6]) -> [u8; ADVERTISEMENT_HEADER + 8] {
    message(ADVERTISEMENT, mac)
}

/// A solicitation of advertisements.
pub(super) fn solicitation(mac: [u8; 6]) -> [u8; SOLICITATION_HEADER + 8] {
    message(SOLICITATION, mac)
}

/// A message of zeros with the MAC address at its end.
fn message<const N: usize>(kind: u8, mac: [u8; 6]) -> [u8; N] {
    let mut bytes = [0; N];
    let option = [SOURCE_LINK_ADDRESS, LINK_ADDRESS_UNITS];
    let option = option.into_iter().chain(mac);
    let end = bytes.iter_mut().rev();
    end.zip(option.rev()).for_each(|(to, from)| *to = from);
    if let Some(first) = bytes.first_mut() {
        *first = kind;
    }
    bytes
}

impl Message {
    /// The message of an ICMP packet, if it is one of the two and valid (RFC 4861 sections 6.1.1 and
    /// 6.1.2). The kernel has checked the checksum.
    pub fn parse(from: Ipv6Addr, hop_limit: u8, packet: &[u8]) -> Option<Self> {
        parse(from, hop_limit, packet)
    }
}

fn parse(from: Ipv6Addr, hop_limit: u8, packet: &[u8]) -> Option<Message> {
    // Else a router has forwarded it, from another link.
    if hop_limit != u8::MAX {
        return None;
    }
    let (&[kind, code], _) = packet.split_first_chunk()?;
    if code != 0 {
        return None;
    }
    match kind {
        SOLICITATION => {
            let mac = source_mac(packet.get(SOLICITATION_HEADER..)?)?;
            // Who has no address has nothing to be reached by.
            if from.is_unspecified() && mac.is_some() {
                return None;
            }
            Some(Message::Solicitation { from, mac })
        }
        ADVERTISEMENT if from.is_unicast_link_local() => {
            let mac = source_mac(packet.get(ADVERTISEMENT_HEADER..)?)?;
            let lifetime = packet.get(LIFETIME..)?.first_chunk()?;
            Some(Message::Advertisement {
                from,
                lifetime: u16::from_be_bytes(*lifetime),
                mac,
            })
        }
        _ => None,
    }
}

/// The MAC address among options; `None` if they are not well-formed.
#[allow(
    clippy::option_option,
    reason = "the outer one is for the packet as a whole, and met by `?` alone"
)]
fn source_mac(mut options: &[u8]) -> Option<Option<[u8; 6]>> {
    let mut mac = None;
    while let [kind, units, ..] = *options {
        if units == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if (kind, units) == (SOURCE_LINK_ADDRESS, LINK_ADDRESS_UNITS) {
            mac = option.get(2..).and_then(|mac| mac.try_into().ok());
        }
        options = rest;
    }
    options.is_empty().then_some(mac)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn router() -> Ipv6Addr {
        "fe80::1".parse().expect("an address")
    }

    fn said(lifetime: u16, mac: Option<[u8; 6]>) -> Message {
        Message::Advertisement {
            from: router(),
            lifetime,
            mac,
        }
    }

    #[test]
    fn an_advertisement_says_the_mac_and_no_default_router() {
        let bytes = advertisement(MAC);
        assert_eq!(
            bytes,
            [
                134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1
            ]
        );
        assert_eq!(parse(router(), 255, &bytes), Some(said(0, Some(MAC))));
    }

    #[test]
    fn an_advertisement_of_another_router_is_read_with_and_without_options() {
        let mut bytes = advertisement(MAC);
        bytes[6..8].copy_from_slice(&1800_u16.to_be_bytes());
        assert_eq!(parse(router(), 255, &bytes[..16]), Some(said(1800, None)));
        // An MTU option, then the MAC.
        let mut long = bytes[..16].to_vec();
        long.extend([5, 1, 0, 0, 0, 0, 5, 220]);
        long.extend(&bytes[16..]);
        assert_eq!(parse(router(), 255, &long), Some(said(1800, Some(MAC))));
    }

    #[test]
    fn what_was_forwarded_or_is_not_valid_is_ignored() {
        let bytes = advertisement(MAC);
        assert_eq!(parse(router(), 254, &bytes), None, "hop limit");
        let global = "2001:db8::1".parse().expect("an address");
        assert_eq!(parse(global, 255, &bytes), None, "source");
        let with = |at: usize, value: u8| {
            let mut bytes = bytes;
            bytes[at] = value;
            parse(router(), 255, &bytes)
        };
        assert_eq!(with(0, 136), None, "type");
        assert_eq!(with(1, 1), None, "code");
        assert_eq!(with(17, 0), None, "an option of no length");
        assert_eq!(
            with(17, 2),
            None,
            "an option that is longer than the packet"
        );
        assert_eq!(parse(router(), 255, &bytes[..15]), None, "too short");
        assert_eq!(parse(router(), 255, &bytes[..17]), None, "half an option");
    }

    #[test]
    fn a_solicitation_may_come_from_nobody_but_then_has_no_mac() {
        let bare = [133, 0, 0, 0, 0, 0, 0, 0];
        let mac = [133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1];
        let asked = |from, mac| Some(Message::Solicitation { from, mac });
        let nobody = Ipv6Addr::UNSPECIFIED;
        assert_eq!(parse(nobody, 255, &bare), asked(nobody, None));
        assert_eq!(parse(nobody, 255, &mac), None);
        let host = router();
        assert_eq!(solicitation(MAC), mac);
        assert_eq!(parse(host, 255, &mac), asked(host, Some(MAC)));
        assert_eq!(parse(host, 255, &bare[..7]), None, "too short");
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(
            kind in 132_u8..136,
            rest in proptest::collection::vec(any::<u8>(), 0..64),
            from: u128,
        ) {
            let packet: Vec<u8> = [kind, 0].into_iter().chain(rest).collect();
            let from = Ipv6Addr::from_bits(from);
            if let Some(Message::Advertisement { from, .. }) = parse(from, 255, &packet) {
                prop_assert!(from.is_unicast_link_local());
            }
        }
    }
}
