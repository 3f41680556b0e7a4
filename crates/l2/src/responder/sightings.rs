//! What is seen in the frames of other stations.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::AddressSet;
use crate::testing::{
    Arp, CLIENT_MAC, CLIENT_V6, NONCE, Ndp, OTHER_MAC, OUR_MAC, VIP_V4, VIP_V6, announced,
    link_layer_option, responder,
};

/// The announced addresses are watched, and not answered for.
fn watching() -> Attention {
    Attention::new(AddressSet::default(), announced().iter())
}

fn watch(frame: &[u8]) -> Verdict {
    responder().handle(frame, &watching(), &mut [0; MAX_FRAME_LEN])
}

/// The same for a node that answers for the addresses.
fn hold(frame: &[u8]) -> Verdict {
    let attention = Attention::new(announced(), []);
    responder().handle(frame, &attention, &mut [0; MAX_FRAME_LEN])
}

fn seen(address: impl Into<IpAddr>, mac: MacAddress, kind: SightingKind) -> Verdict {
    Verdict::Seen(sighting(address, mac, kind))
}

fn sighting(address: impl Into<IpAddr>, mac: MacAddress, kind: SightingKind) -> Sighting {
    Sighting {
        address: address.into(),
        mac,
        kind,
    }
}

#[test]
fn announcements_and_answers_are_seen_by_those_who_watch_and_those_who_answer() {
    let gratuitous_reply = Arp {
        operation: 2,
        ..Arp::announcement(VIP_V4)
    };
    let unicast_claim = Arp {
        destination: OUR_MAC,
        ..gratuitous_reply.clone()
    };
    let broadcast_reply = Arp {
        destination: MacAddress::BROADCAST,
        ..Arp::answer(VIP_V4)
    };
    let question_from_it = Arp {
        sender_address: VIP_V4,
        source: OTHER_MAC,
        sender: OTHER_MAC,
        ..Arp::request(Ipv4Addr::new(192, 0, 2, 1))
    };
    let (announced, answered) = (SightingKind::Announced, SightingKind::Answered);
    for (frame, kind) in [
        (Arp::announcement(VIP_V4), announced),
        (gratuitous_reply, announced),
        (unicast_claim, announced),
        (broadcast_reply, announced),
        (question_from_it, announced),
        (Arp::answer(VIP_V4), answered),
    ] {
        let expected = seen(VIP_V4, OTHER_MAC, kind);
        assert_eq!(watch(&frame.bytes()), expected, "{frame:?}");
        assert_eq!(hold(&frame.bytes()), expected, "{frame:?}");
    }
    let question_from_it = Ndp {
        source: VIP_V6,
        link_source: OTHER_MAC,
        options: link_layer_option(1, OTHER_MAC),
        ..Ndp::solicitation(CLIENT_V6)
    };
    let question_for_itself = Ndp {
        target: VIP_V6,
        destination: crate::solicited_node(VIP_V6),
        link_destination: multicast_mac(crate::solicited_node(VIP_V6)),
        ..question_from_it.clone()
    };
    for (frame, kind) in [
        (Ndp::announcement(VIP_V6), announced),
        (question_from_it, announced),
        (question_for_itself, announced),
        (Ndp::answer(VIP_V6), answered),
    ] {
        let expected = seen(VIP_V6, OTHER_MAC, kind);
        assert_eq!(watch(&frame.bytes()), expected, "{frame:?}");
        assert_eq!(hold(&frame.bytes()), expected, "{frame:?}");
    }
}

#[test]
fn probes_are_seen_and_answered_by_who_has_the_address() {
    let probe = Arp {
        sender_address: Ipv4Addr::UNSPECIFIED,
        ..Arp::request(VIP_V4)
    };
    let detection = Ndp::detection(VIP_V6);
    for (frame, address, len) in [
        (probe.bytes(), IpAddr::V4(VIP_V4), 60),
        (detection.bytes(), IpAddr::V6(VIP_V6), 86),
    ] {
        let probed = sighting(address, CLIENT_MAC, SightingKind::Probed);
        assert_eq!(watch(&frame), Verdict::Seen(probed));
        let seen = Some(probed);
        assert_eq!(hold(&frame), Verdict::Reply { len, address, seen });
    }
}

#[test]
fn questions_of_others_for_an_address_that_is_only_watched_are_nothing() {
    let nothing = Verdict::Ignored(Ignored::NotAnnounced);
    assert_eq!(watch(&Arp::request(VIP_V4).bytes()), nothing);
    assert_eq!(watch(&Ndp::solicitation(VIP_V6).bytes()), nothing);
}

#[test]
fn a_question_from_one_address_for_another_is_answered_and_seen() {
    let other_v4 = Ipv4Addr::new(192, 0, 2, 11);
    let other_v6: Ipv6Addr = "2001:db8::11".parse().expect("valid");
    let both = [IpAddr::V4(other_v4), IpAddr::V6(other_v6)];
    let attention = Attention::new(announced(), both);
    let from_v4 = Arp {
        sender_address: other_v4,
        ..Arp::request(VIP_V4)
    };
    let from_v6 = Ndp {
        source: other_v6,
        ..Ndp::solicitation(VIP_V6)
    };
    for (frame, from, address, len) in [
        (
            from_v4.bytes(),
            IpAddr::V4(other_v4),
            IpAddr::V4(VIP_V4),
            60,
        ),
        (
            from_v6.bytes(),
            IpAddr::V6(other_v6),
            IpAddr::V6(VIP_V6),
            86,
        ),
    ] {
        let verdict = responder().handle(&frame, &attention, &mut [0; MAX_FRAME_LEN]);
        let seen = Some(sighting(from, CLIENT_MAC, SightingKind::Announced));
        assert_eq!(verdict, Verdict::Reply { len, address, seen });
    }
}

#[test]
fn what_is_said_of_other_addresses_is_not_seen() {
    let nothing = Verdict::Ignored(Ignored::NotAnnounced);
    let other = Ipv4Addr::new(192, 0, 2, 200);
    for frame in [Arp::announcement(other), Arp::answer(other)] {
        assert_eq!(watch(&frame.bytes()), nothing);
    }
    for frame in [
        Ndp::announcement(CLIENT_V6),
        Ndp::answer(CLIENT_V6),
        Ndp::detection(CLIENT_V6),
    ] {
        assert_eq!(watch(&frame.bytes()), nothing);
    }
}

#[test]
fn the_station_of_an_advertisement_is_the_one_in_its_option() {
    let mut relayed = Ndp::announcement(VIP_V6);
    relayed.link_source = CLIENT_MAC;
    let by_option = seen(VIP_V6, OTHER_MAC, SightingKind::Announced);
    assert_eq!(watch(&relayed.bytes()), by_option);
    relayed.options.clear();
    let by_frame = seen(VIP_V6, CLIENT_MAC, SightingKind::Announced);
    assert_eq!(watch(&relayed.bytes()), by_frame);
}

#[test]
fn what_this_interface_says_itself_is_not_seen_when_it_comes_back() {
    let own = Verdict::Ignored(Ignored::Own);
    let mut out = [0; MAX_FRAME_LEN];
    for address in announced().iter() {
        let len = crate::probe::write(address, OUR_MAC, NONCE, &mut out);
        assert_eq!(watch(&out[..len]), own);
        assert_eq!(hold(&out[..len]), own);
        for form in crate::gratuitous::Form::of(address) {
            let len = crate::gratuitous::write(*form, OUR_MAC, address, &mut out);
            let frame = &mut out[..len.expect("right family")];
            assert_eq!(watch(frame), own);
            // Sent on by a station that puts its own address into the header.
            frame[6..12].copy_from_slice(&OTHER_MAC.0);
            assert_eq!(watch(frame), own);
        }
    }
    // A detection has no other sign of its sender than the nonce.
    let mut relayed = Ndp::detection(VIP_V6);
    relayed.link_source = OTHER_MAC;
    relayed.options = [&[14, 1][..], &NONCE.0].concat();
    assert_eq!(watch(&relayed.bytes()), own);
    relayed.options = vec![14, 1, 0, 0, 0, 0, 0, 1];
    let probed = seen(VIP_V6, OTHER_MAC, SightingKind::Probed);
    assert_eq!(watch(&relayed.bytes()), probed);
}

#[test]
fn malformed_frames_are_never_seen() {
    let arp = |reason, change: fn(&mut Arp)| {
        for mut frame in [Arp::announcement(VIP_V4), Arp::answer(VIP_V4)] {
            change(&mut frame);
            assert_eq!(watch(&frame.bytes()), Verdict::Ignored(reason));
        }
    };
    arp(Ignored::ArpFormat, |frame| frame.hardware_type = 6);
    arp(Ignored::ArpFormat, |frame| frame.protocol_type = 0x86dd);
    arp(Ignored::ArpFormat, |frame| frame.lengths = [6, 16]);
    arp(Ignored::SenderAddress, |f| f.sender = MacAddress([0; 6]));
    arp(Ignored::SenderAddress, |f| f.sender = MacAddress::BROADCAST);
    arp(Ignored::NotToUs, |frame| frame.destination = CLIENT_MAC);
    arp(Ignored::VlanTagged, |frame| frame.ethertype = 0x8100);

    let ndp = |reason, change: fn(&mut Ndp)| {
        for mut frame in [Ndp::announcement(VIP_V6), Ndp::answer(VIP_V6)] {
            change(&mut frame);
            assert_eq!(watch(&frame.bytes()), Verdict::Ignored(reason));
        }
    };
    ndp(Ignored::HopLimit, |frame| frame.hop_limit = 254);
    ndp(Ignored::Code, |frame| frame.code = 1);
    ndp(Ignored::IpVersion, |frame| frame.version = 4);
    ndp(Ignored::Source, |f| f.source = Ipv6Addr::UNSPECIFIED);
    ndp(Ignored::Source, |f| f.source = Ipv6Addr::LOCALHOST);
    ndp(Ignored::NotToUs, |f| f.link_destination = CLIENT_MAC);
    ndp(Ignored::Options, |f| f.options.extend([14, 0, 0, 0]));
    ndp(Ignored::SenderAddress, |frame| {
        frame.options = link_layer_option(2, MacAddress([0; 6]));
    });
    ndp(Ignored::SenderAddress, |frame| {
        frame.options.clear();
        frame.link_source = MacAddress::BROADCAST;
    });
    ndp(Ignored::MulticastTarget, |frame| {
        frame.target = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    });

    let mut to_group = Ndp::announcement(VIP_V6);
    to_group.flags = 0x60;
    let reason = Ignored::SolicitedToGroup;
    assert_eq!(watch(&to_group.bytes()), Verdict::Ignored(reason));
    let mut unicast = Ndp::answer(VIP_V6);
    unicast.link_destination = multicast_mac(unicast.destination);
    assert_eq!(watch(&unicast.bytes()), Verdict::Ignored(Ignored::NotToUs));

    for good in [Ndp::announcement(VIP_V6), Ndp::detection(VIP_V6)] {
        let mut bytes = good.bytes();
        bytes[57] ^= 1;
        assert_eq!(watch(&bytes), Verdict::Ignored(Ignored::Checksum));
        let bytes = good.bytes();
        for len in 0..bytes.len() {
            let cut = watch(&bytes[..len]);
            assert_eq!(cut, Verdict::Ignored(Ignored::Truncated), "{len}");
        }
    }
}

#[test]
fn where_it_does_not_matter_questions_are_answered_and_nothing_is_seen() {
    let limited = Attention::new(announced(), []).limited(|_| false);
    let handle = |frame: &[u8]| responder().handle(frame, &limited, &mut [0; MAX_FRAME_LEN]);
    assert!(matches!(
        handle(&Arp::announcement(VIP_V4).bytes()),
        Verdict::Ignored(_)
    ));
    assert!(matches!(
        handle(&Arp::request(VIP_V4).bytes()),
        Verdict::Reply { seen: None, .. }
    ));
}
