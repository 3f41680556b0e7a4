//! What arrives on a link: router advertisements, ARP and neighbor discovery.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use herald_l2::{
    AddressSet, Attention, Ignored, Interface, MAX_FRAME_LEN, Nonce, Responder, Verdict,
};
use herald_model::MacAddress;
use herald_netsys::router_advertisement::Message;

const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

/// The sender's address, the hop limit, and an ICMP packet.
pub(crate) fn router_advertisement(bytes: &[u8]) {
    let Some((from, [hop_limit, packet @ ..])) = bytes.split_first_chunk::<16>() else {
        return;
    };
    let from = Ipv6Addr::from(*from);
    match Message::parse(from, *hop_limit, packet) {
        Some(Message::Advertisement { from: router, .. }) => {
            assert!(*hop_limit == 255 && router == from && router.is_unicast_link_local());
        }
        Some(Message::Solicitation { from: host, mac }) => {
            assert!(*hop_limit == 255 && host == from);
            assert!(!host.is_unspecified() || mac.is_none());
        }
        None => {}
    }
}

/// A frame: what is answered is a frame of ours, which says nothing to ourselves.
pub(crate) fn neighbor_frame(frame: &[u8]) {
    let interface = Interface {
        index: 2,
        name: "eth0".to_owned(),
        mac: OURS,
    };
    let responder = Responder::new(interface, Nonce([7; 6]));
    let own: AddressSet = [
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456)),
    ]
    .into_iter()
    .collect();
    let watched = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
    let attention = Attention::new(own.clone(), [watched]);
    let mut out = [0; MAX_FRAME_LEN];
    match responder.handle(frame, &attention, &mut out) {
        Verdict::Reply { len, address, .. } => {
            assert!(own.contains(address), "{address} is not answered for");
            let reply = out.get(..len).expect("it is within the buffer");
            assert_eq!(reply.get(6..12), Some(OURS.0.as_slice()));
            let mut again = [0; MAX_FRAME_LEN];
            let verdict = responder.handle(reply, &attention, &mut again);
            assert_eq!(verdict, Verdict::Ignored(Ignored::Own));
        }
        Verdict::Seen(sighting) => {
            assert!(own.contains(sighting.address) || sighting.address == watched);
            assert_ne!(sighting.mac, OURS);
        }
        Verdict::Ignored(reason) => assert!(Ignored::ALL.contains(&reason)),
    }
}
