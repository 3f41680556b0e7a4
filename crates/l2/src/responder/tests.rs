use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::testing::{
    Arp, CLIENT_MAC, CLIENT_V4, CLIENT_V6, Ndp, OTHER_MAC, OUR_MAC, VIP_V4, VIP_V6, announced,
    link_layer_option, responder,
};
use crate::{AddressSet, solicited_node};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// The announced addresses are answered for.
fn attention() -> Attention {
    Attention::new(announced(), [])
}

/// The answer to a frame, or why there is none. Panics if there is only something to see.
fn handle(frame: &[u8]) -> Result<Vec<u8>, Ignored> {
    let mut out = [0xaa; MAX_FRAME_LEN];
    match responder().handle(frame, &attention(), &mut out) {
        Verdict::Reply { len, .. } => Ok(out[..len].to_vec()),
        Verdict::Ignored(reason) => Err(reason),
        Verdict::Seen(sighting) => panic!("{sighting:?}"),
    }
}

fn arp(change: impl FnOnce(&mut Arp)) -> Result<Arp, Ignored> {
    let mut request = Arp::request(VIP_V4);
    change(&mut request);
    handle(&request.bytes()).map(|reply| Arp::read(&reply))
}

fn ndp(change: impl FnOnce(&mut Ndp)) -> Result<Ndp, Ignored> {
    let mut solicitation = Ndp::solicitation(VIP_V6);
    change(&mut solicitation);
    handle(&solicitation.bytes()).map(|reply| Ndp::read(&reply))
}

#[track_caller]
fn ignores_arp(reason: Ignored, change: impl FnOnce(&mut Arp)) {
    assert_eq!(arp(change).map(|_| ()), Err(reason));
}

#[track_caller]
fn ignores_ndp(reason: Ignored, change: impl FnOnce(&mut Ndp)) {
    assert_eq!(ndp(change).map(|_| ()), Err(reason));
}

#[test]
fn a_request_gets_a_unicast_reply_with_the_mac_of_the_interface() {
    let reply = arp(|_| ()).expect("answered");
    assert_eq!(
        (reply.destination, reply.source, reply.ethertype),
        (CLIENT_MAC, OUR_MAC, 0x0806)
    );
    assert_eq!(
        (reply.hardware_type, reply.protocol_type, reply.lengths),
        (1, 0x0800, [6, 4])
    );
    assert_eq!(reply.operation, 2);
    assert_eq!((reply.sender, reply.sender_address), (OUR_MAC, VIP_V4));
    assert_eq!(
        (reply.target, reply.target_address),
        (CLIENT_MAC, CLIENT_V4)
    );
}

#[test]
fn the_verdict_names_the_address_that_was_asked_for() {
    let mut out = [0; MAX_FRAME_LEN];
    for (frame, address, len) in [
        (Arp::request(VIP_V4).bytes(), IpAddr::V4(VIP_V4), 60),
        (Ndp::solicitation(VIP_V6).bytes(), IpAddr::V6(VIP_V6), 86),
    ] {
        let verdict = responder().handle(&frame, &attention(), &mut out);
        let seen = None;
        assert_eq!(verdict, Verdict::Reply { len, address, seen });
    }
}

#[test]
fn a_request_to_our_own_mac_is_answered_but_not_one_to_another_station() {
    assert!(arp(|request| request.destination = OUR_MAC).is_ok());
    ignores_arp(Ignored::NotToUs, |request| request.destination = OTHER_MAC);
}

#[test]
fn an_arp_probe_is_answered() {
    let reply = arp(|request| request.sender_address = Ipv4Addr::UNSPECIFIED).expect("answered");
    assert_eq!(reply.target_address, Ipv4Addr::UNSPECIFIED);
    assert_eq!(reply.destination, CLIENT_MAC);
}

#[test]
fn the_reply_goes_to_the_sender_in_the_packet_not_to_the_relay_of_the_frame() {
    let reply = arp(|request| request.source = OTHER_MAC).expect("answered");
    assert_eq!((reply.destination, reply.target), (CLIENT_MAC, CLIENT_MAC));
}

#[test]
fn arp_that_is_no_question_to_us_is_ignored() {
    ignores_arp(Ignored::NotAnnounced, |request| {
        request.target_address = CLIENT_V4;
    });
    ignores_arp(Ignored::NotAnnounced, |request| request.operation = 2);
    for operation in [0, 3, 4, 8, 9, 0x0100] {
        ignores_arp(Ignored::OtherMessage, |request| {
            request.operation = operation;
            request.sender_address = VIP_V4;
        });
    }
    ignores_arp(Ignored::Own, |request| request.source = OUR_MAC);
    ignores_arp(Ignored::Own, |request| request.sender = OUR_MAC);
    ignores_arp(Ignored::EtherType, |request| request.ethertype = 0x0800);
    for tag in [0x8100, 0x88a8, 0x9100] {
        ignores_arp(Ignored::VlanTagged, |request| request.ethertype = tag);
    }
}

#[test]
fn malformed_arp_is_ignored() {
    ignores_arp(Ignored::ArpFormat, |request| request.hardware_type = 6);
    ignores_arp(Ignored::ArpFormat, |request| request.protocol_type = 0x86dd);
    ignores_arp(Ignored::ArpFormat, |request| request.lengths = [8, 4]);
    ignores_arp(Ignored::ArpFormat, |request| request.lengths = [6, 16]);
    for sender in [[0; 6], [0xff; 6], [0x01, 0, 0x5e, 0, 0, 1]] {
        ignores_arp(Ignored::SenderAddress, |request| {
            request.sender = sender.into();
        });
    }
}

#[test]
fn a_solicitation_gets_an_advertisement_from_the_target() {
    let reply = ndp(|_| ()).expect("answered");
    assert_eq!(
        (reply.link_destination, reply.link_source, reply.ethertype),
        (CLIENT_MAC, OUR_MAC, 0x86dd)
    );
    assert_eq!(
        (reply.version, reply.next_header, reply.hop_limit),
        (6, 58, 255)
    );
    assert_eq!((reply.source, reply.destination), (VIP_V6, CLIENT_V6));
    assert_eq!((reply.icmp_type, reply.code), (136, 0));
    assert_eq!(reply.flags, SOLICITED, "neither router nor override");
    assert_eq!(reply.target, VIP_V6);
    assert_eq!(reply.options, link_layer_option(2, OUR_MAC));
}

#[test]
fn a_solicitation_without_link_layer_option_is_answered_to_the_source_of_the_frame() {
    let reply = ndp(|solicitation| {
        solicitation.options.clear();
        solicitation.link_source = OTHER_MAC;
    });
    assert_eq!(reply.expect("answered").link_destination, OTHER_MAC);
}

#[test]
fn the_link_layer_option_goes_before_the_source_of_the_frame() {
    let reply = ndp(|solicitation| solicitation.link_source = OTHER_MAC);
    assert_eq!(reply.expect("answered").link_destination, CLIENT_MAC);
}

#[test]
fn other_options_are_passed_over() {
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let reply = ndp(|solicitation| {
        solicitation.options.splice(0..0, nonce);
        solicitation.options.extend([200, 2]);
        solicitation.options.extend([0; 14]);
    });
    assert_eq!(reply.expect("answered").link_destination, CLIENT_MAC);
}

#[test]
fn a_solicitation_to_the_address_itself_is_answered() {
    let unicast = |solicitation: &mut Ndp| {
        solicitation.destination = VIP_V6;
        solicitation.link_destination = OUR_MAC;
        solicitation.options.clear();
    };
    assert_eq!(ndp(unicast).expect("answered").destination, CLIENT_V6);
    // A multicast that was made a frame for one station on its way.
    assert!(ndp(|solicitation| solicitation.link_destination = OUR_MAC).is_ok());
    // The opposite never is a neighbor's.
    for group in [solicited_node(VIP_V6), VIP_V6] {
        ignores_ndp(Ignored::NotToUs, |solicitation| {
            solicitation.destination = VIP_V6;
            solicitation.link_destination = multicast_mac(group);
        });
    }
}

#[test]
fn of_two_link_layer_options_the_first_counts() {
    let reply = ndp(|solicitation| solicitation.options.extend(link_layer_option(1, OTHER_MAC)));
    assert_eq!(reply.expect("answered").link_destination, CLIENT_MAC);
}

#[test]
fn a_duplicate_address_detection_is_told_to_all_nodes() {
    let reply = handle(&Ndp::detection(VIP_V6).bytes()).expect("answered");
    let reply = Ndp::read(&reply);
    assert_eq!(reply.destination, ALL_NODES);
    assert_eq!(reply.link_destination.to_string(), "33:33:00:00:00:01");
    assert_eq!(reply.flags, OVERRIDE, "not solicited");
    assert_eq!(reply.options, link_layer_option(2, OUR_MAC));
    // Enhanced detection (RFC 7527) brings a nonce.
    let mut enhanced = Ndp::detection(VIP_V6);
    enhanced.options = vec![14, 1, 1, 2, 3, 4, 5, 6];
    assert!(handle(&enhanced.bytes()).is_ok());
}

#[test]
fn ndp_that_is_no_question_to_us_is_ignored() {
    let other = Ndp::solicitation(CLIENT_V6);
    assert_eq!(handle(&other.bytes()), Err(Ignored::NotAnnounced));
    ignores_ndp(Ignored::OtherMessage, |solicitation| {
        solicitation.icmp_type = 137;
    });
    ignores_ndp(Ignored::OtherMessage, |solicitation| {
        solicitation.next_header = 17;
    });
    // Hop-by-hop, routing, fragment and destination options headers.
    for header in [0, 43, 44, 60] {
        ignores_ndp(Ignored::OtherMessage, |solicitation| {
            solicitation.next_header = header;
        });
    }
    ignores_ndp(Ignored::Own, |solicitation| {
        solicitation.link_source = OUR_MAC;
    });
    ignores_ndp(Ignored::Own, |solicitation| {
        solicitation.options = link_layer_option(1, OUR_MAC);
    });
    ignores_ndp(Ignored::NotToUs, |solicitation| {
        solicitation.link_destination = OTHER_MAC;
    });
    ignores_ndp(Ignored::NotToUs, |solicitation| {
        solicitation.link_destination = multicast_mac(ALL_NODES);
    });
    ignores_ndp(Ignored::VlanTagged, |solicitation| {
        solicitation.ethertype = 0x8100;
    });
}

#[test]
fn malformed_solicitations_are_ignored() {
    ignores_ndp(Ignored::HopLimit, |solicitation| {
        solicitation.hop_limit = 254;
    });
    ignores_ndp(Ignored::Code, |solicitation| solicitation.code = 1);
    ignores_ndp(Ignored::IpVersion, |solicitation| solicitation.version = 4);
    ignores_ndp(Ignored::MulticastTarget, |solicitation| {
        solicitation.target = ALL_NODES;
    });
    ignores_ndp(Ignored::Source, |solicitation| {
        solicitation.source = ALL_NODES;
    });
    ignores_ndp(Ignored::Source, |solicitation| {
        solicitation.source = Ipv6Addr::LOCALHOST;
    });
    ignores_ndp(Ignored::Destination, |solicitation| {
        solicitation.destination = ALL_NODES;
        solicitation.link_destination = multicast_mac(ALL_NODES);
    });
    for address in [[0; 6], [0xff; 6]] {
        ignores_ndp(Ignored::SenderAddress, |solicitation| {
            solicitation.options = link_layer_option(1, address.into());
        });
    }
    ignores_ndp(Ignored::SenderAddress, |solicitation| {
        solicitation.options.clear();
        solicitation.link_source = [0x33, 0x33, 0, 0, 0, 1].into();
    });

    let mut bytes = Ndp::solicitation(VIP_V6).bytes();
    bytes[56] ^= 1;
    assert_eq!(handle(&bytes), Err(Ignored::Checksum));
}

#[test]
fn malformed_options_drop_the_message() {
    let nothing = vec![14, 0, 1, 2, 3, 4, 5, 6];
    let after_a_good_one = [link_layer_option(1, CLIENT_MAC), nothing.clone()].concat();
    let beyond = vec![14, 2, 1, 2, 3, 4, 5, 6];
    let too_long = [&[1, 2][..], &[2; 14]].concat();
    let cut = vec![1];
    for options in [nothing, after_a_good_one, beyond, too_long, cut] {
        ignores_ndp(Ignored::Options, |solicitation| {
            solicitation.options = options;
        });
    }
}

#[test]
fn a_duplicate_address_detection_must_go_to_the_group_and_tell_no_address() {
    let mut detection = Ndp::detection(VIP_V6);
    detection.destination = VIP_V6;
    detection.link_destination = OUR_MAC;
    assert_eq!(handle(&detection.bytes()), Err(Ignored::Destination));

    let mut detection = Ndp::detection(VIP_V6);
    detection.options = link_layer_option(1, CLIENT_MAC);
    assert_eq!(
        handle(&detection.bytes()),
        Err(Ignored::DetectionWithAddress)
    );
}

#[test]
fn every_cut_of_a_good_frame_is_truncated() {
    let request = Arp::request(VIP_V4).bytes();
    for len in 0..request.len() {
        assert_eq!(handle(&request[..len]), Err(Ignored::Truncated), "{len}");
    }
    let solicitation = Ndp::solicitation(VIP_V6).bytes();
    for len in 0..solicitation.len() {
        assert_eq!(
            handle(&solicitation[..len]),
            Err(Ignored::Truncated),
            "{len}"
        );
    }
    // An IPv6 payload length that is shorter than a solicitation, in a frame that is not.
    let mut short = solicitation;
    for len in 0..24 {
        short[19] = len;
        assert_eq!(handle(&short), Err(Ignored::Truncated), "{len}");
    }
}

#[test]
fn padding_after_the_packet_does_not_matter() {
    let mut request = Arp::request(VIP_V4).bytes();
    request.resize(60, 0x55);
    assert!(handle(&request).is_ok());
    let mut solicitation = Ndp::solicitation(VIP_V6).bytes();
    solicitation.extend([0x55; 9]);
    assert!(handle(&solicitation).is_ok());
}

#[test]
fn reasons_have_an_index_and_a_name_of_their_own() {
    let names: std::collections::BTreeSet<_> = Ignored::ALL.iter().map(|r| r.name()).collect();
    assert_eq!(names.len(), Ignored::ALL.len());
    for (index, reason) in Ignored::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, index);
    }
}

#[test]
fn nothing_is_allocated_for_a_frame() {
    let addresses = (0..5_000_u32).map(|n| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)));
    let answered: AddressSet = addresses.chain(announced().iter()).collect();
    let attention = Attention::new(answered, []);
    let frames = [
        Arp::request(VIP_V4).bytes(),
        Arp::request(CLIENT_V4).bytes(),
        Arp::announcement(VIP_V4).bytes(),
        Arp::answer(VIP_V4).bytes(),
        Ndp::solicitation(VIP_V6).bytes(),
        Ndp::detection(VIP_V6).bytes(),
        Ndp::announcement(VIP_V6).bytes(),
        Ndp::answer(VIP_V6).bytes(),
        Ndp::solicitation(CLIENT_V6).bytes(),
        vec![0; 7],
    ];
    let responder = responder();
    let mut out = [0; MAX_FRAME_LEN];
    let (mut replies, mut sightings) = (0, 0);
    let allocations = allocation_counter::measure(|| {
        for frame in &frames {
            match responder.handle(frame, &attention, &mut out) {
                Verdict::Reply { .. } => replies += 1,
                Verdict::Seen(_) => sightings += 1,
                Verdict::Ignored(_) => {}
            }
        }
    });
    assert_eq!((replies, sightings), (3, 4));
    let one = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 9])));
    assert_eq!(one.count_total, 1, "the counter counts");
    assert_eq!(allocations.count_total, 0);
}

/// A good frame with a few bytes changed: gets deeper into the code than random bytes.
fn nearly_good() -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![
        Just(Arp::request(VIP_V4).bytes()),
        Just(Ndp::solicitation(VIP_V6).bytes()),
        Just(Ndp::detection(VIP_V6).bytes()),
        Just(Arp::announcement(VIP_V4).bytes()),
        Just(Arp::answer(VIP_V4).bytes()),
        Just(Ndp::announcement(VIP_V6).bytes()),
        Just(Ndp::answer(VIP_V6).bytes()),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (good, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut frame, changes, end, cut)| {
            for (index, value) in changes {
                let index = index.index(frame.len());
                frame[index] = value;
            }
            if cut {
                frame.truncate(end.index(frame.len()));
            }
            frame
        },
    )
}

/// Panics unless the bytes are a correct answer.
fn check_answer(bytes: &[u8]) {
    if let [0x08, 0x06] = bytes[12..14] {
        let reply = Arp::read(bytes);
        assert_eq!((reply.source, reply.sender), (OUR_MAC, OUR_MAC));
        assert_eq!((reply.operation, reply.sender_address), (2, VIP_V4));
        assert_eq!(reply.destination, reply.target);
        assert!(reply.destination.is_station());
    } else {
        let reply = Ndp::read(bytes);
        assert_eq!((reply.link_source, reply.source), (OUR_MAC, VIP_V6));
        assert_eq!((reply.icmp_type, reply.target), (136, VIP_V6));
        assert_eq!(reply.hop_limit, 255);
        if reply.flags == SOLICITED {
            assert!(reply.link_destination.is_station());
            assert!(!reply.destination.is_multicast());
        } else {
            assert_eq!((reply.flags, reply.destination), (OVERRIDE, ALL_NODES));
        }
        assert_eq!(reply.options, link_layer_option(2, OUR_MAC));
    }
}

/// Panics unless the frame is well-formed and says that.
fn check_sighting(frame: &[u8], sighting: Sighting) {
    assert!(sighting.mac.is_station() && sighting.mac != OUR_MAC);
    assert!(announced().contains(sighting.address));
    if let [0x08, 0x06] = frame[12..14] {
        let mut padded = frame[..42].to_vec();
        padded.resize(60, 0);
        let packet = Arp::read(&padded);
        assert_eq!(packet.sender, sighting.mac);
        assert_eq!((packet.hardware_type, packet.protocol_type), (1, 0x0800));
        let claimed = match sighting.kind {
            SightingKind::Probed => {
                assert_eq!(packet.operation, 1);
                assert_eq!(packet.sender_address, Ipv4Addr::UNSPECIFIED);
                packet.target_address
            }
            SightingKind::Announced => packet.sender_address,
            SightingKind::Answered => {
                assert_eq!((packet.operation, packet.destination), (2, OUR_MAC));
                packet.sender_address
            }
        };
        assert_eq!(IpAddr::V4(claimed), sighting.address);
    } else {
        // Reading it checks length and checksum.
        let end = 54 + usize::from(u16::from_be_bytes([frame[18], frame[19]]));
        let mut plain = frame[..end].to_vec();
        plain[14] &= 0xf0;
        plain[15..18].fill(0);
        plain[59..62].fill(0);
        if plain[59..62] != frame[59..62] {
            return;
        }
        let packet = Ndp::read(&plain);
        assert_eq!((packet.hop_limit, packet.code), (255, 0));
        let (icmp_type, claimed) = match sighting.kind {
            SightingKind::Probed => {
                assert!(packet.source.is_unspecified());
                (135, packet.target)
            }
            SightingKind::Announced if packet.icmp_type == 135 => (135, packet.source),
            SightingKind::Announced => {
                assert_eq!(packet.flags & SOLICITED, 0);
                (136, packet.target)
            }
            SightingKind::Answered => {
                assert_eq!(packet.flags & SOLICITED, SOLICITED);
                (136, packet.target)
            }
        };
        assert_eq!(packet.icmp_type, icmp_type);
        assert_eq!(IpAddr::V6(claimed), sighting.address);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_fine(frame in prop::collection::vec(any::<u8>(), 0..1600)) {
        let mut out = [0; MAX_FRAME_LEN];
        let _ = responder().handle(&frame, &attention(), &mut out);
    }

    #[test]
    fn what_is_answered_is_answered_well_and_what_is_seen_is_there(frame in nearly_good()) {
        let mut out = [0xaa; MAX_FRAME_LEN];
        let seen = match responder().handle(&frame, &attention(), &mut out) {
            Verdict::Reply { len, seen, .. } => {
                check_answer(&out[..len]);
                seen
            }
            Verdict::Seen(sighting) => Some(sighting),
            Verdict::Ignored(_) => None,
        };
        if let Some(sighting) = seen {
            check_sighting(&frame, sighting);
        }
    }

    #[test]
    fn only_announced_addresses_are_answered(number in any::<u32>(), low in any::<u64>()) {
        let address = Ipv4Addr::from(number);
        let answer = handle(&Arp::request(address).bytes());
        prop_assert_eq!(answer.is_ok(), address == VIP_V4);
        let address = Ipv6Addr::from(u128::from(VIP_V6) ^ u128::from(low));
        let answer = handle(&Ndp::solicitation(address).bytes());
        prop_assert_eq!(answer.is_ok(), address == VIP_V6);
    }
}
