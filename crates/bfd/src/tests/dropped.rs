//! Packets that are dropped: each is counted with its reason and changes nothing.

use super::rig::{PEER, Rig, arrival, fast, ms};
use crate::{Arrival, Discard, Hops, Path, Settings, State};

/// The good packet of the peer of a session that is up, changed. It must be dropped; the peer is
/// not heard by it.
fn dropped(reason: Discard, change: impl Fn(&mut Arrival, &mut Vec<u8>)) {
    let mut rig = Rig::up(fast());
    rig.run(ms(100));
    let before = rig.status();
    rig.sent.clear();
    let mut arrival = arrival();
    let mut bytes = rig.peer(State::Up).encode().to_vec();
    // A Poll that is dropped is not answered.
    bytes[1] |= 0b10_0000;
    change(&mut arrival, &mut bytes);
    assert_eq!(rig.hear_bytes(&arrival, &bytes), Err(reason));
    assert_eq!(rig.sessions.discards().count(reason), 1);
    assert_eq!(rig.sent, []);
    assert_eq!(rig.events, []);
    let mut after = rig.status();
    after.counters.discarded = 0;
    assert_eq!(after, before);
    rig.run(ms(49));
    assert_eq!(rig.state(), State::Up);
    rig.run(ms(1));
    assert_eq!(rig.state(), State::Down, "it put off the detection");
}

#[test]
fn ttl_254() {
    dropped(Discard::Ttl, |arrival, _| arrival.ttl = 254);
}

#[test]
fn version_0_and_2() {
    dropped(Discard::Version, |_, bytes| bytes[0] &= 0b1_1111);
    dropped(Discard::Version, |_, bytes| bytes[0] = 2 << 5);
}

#[test]
fn detection_multiplier_0() {
    dropped(Discard::DetectMultiplier, |_, bytes| bytes[2] = 0);
}

#[test]
fn length_23() {
    dropped(Discard::LengthTooSmall, |_, bytes| bytes[3] = 23);
}

#[test]
fn length_longer_than_the_payload() {
    dropped(Discard::LengthTooLarge, |_, bytes| bytes[3] = 25);
}

#[test]
fn truncated() {
    dropped(Discard::Truncated, |_, bytes| bytes.truncate(23));
    dropped(Discard::Truncated, |_, bytes| bytes.clear());
}

#[test]
fn own_discriminator_0() {
    dropped(Discard::MyDiscriminator, |_, bytes| bytes[4..8].fill(0));
}

#[test]
fn no_discriminator_of_ours_though_up_or_init() {
    dropped(Discard::YourDiscriminatorMissing, |_, bytes| {
        bytes[8..12].fill(0);
    });
    dropped(Discard::YourDiscriminatorMissing, |_, bytes| {
        bytes[1] = 0b1000_0000;
        bytes[8..12].fill(0);
    });
}

#[test]
fn wrong_discriminator_of_ours() {
    dropped(Discard::UnknownDiscriminator, |_, bytes| bytes[8] ^= 1);
}

#[test]
fn unknown_peer() {
    dropped(Discard::UnknownPeer, |arrival, bytes| {
        arrival.from = "10.99.1.3".parse().unwrap();
        bytes[1] = 0b0100_0000;
        bytes[8..12].fill(0);
    });
}

#[test]
fn multipoint_bit() {
    dropped(Discard::Multipoint, |_, bytes| bytes[1] |= 1);
}

#[test]
fn authentication_bit_without_its_section() {
    dropped(Discard::LengthTooSmall, |_, bytes| bytes[1] |= 0b100);
}

#[test]
fn authentication_that_was_not_agreed_on() {
    dropped(Discard::Authenticated, |_, bytes| {
        bytes[1] |= 0b100;
        bytes[3] = 28;
        bytes.extend([1, 4, 1, b'x']);
    });
}

#[test]
fn the_other_port_the_other_family() {
    dropped(Discard::WrongPath, |arrival, _| arrival.hops = Hops::Multi);
    dropped(Discard::WrongPath, |arrival, _| {
        arrival.from = "fd99:1::2".parse().unwrap();
    });
}

#[test]
fn a_packet_that_is_followed_by_other_bytes_is_taken() {
    let mut rig = Rig::up(fast());
    let mut bytes = rig.peer(State::Up).encode().to_vec();
    bytes.extend([0xff; 40]);
    let id = rig.id;
    assert_eq!(rig.hear_bytes(&arrival(), &bytes), Ok(id));
}

#[test]
fn over_several_hops_the_least_ttl_is_as_set_and_254_by_default() {
    let path = Path::MultiHop {
        peer: PEER,
        local: None,
    };
    for (minimum_ttl, least) in [(None, 254), (Some(250), 250), (Some(1), 1)] {
        let mut rig = Rig::on(
            path,
            Settings {
                minimum_ttl,
                ..fast()
            },
        );
        let bytes = rig.peer(State::Down).encode();
        let from = |ttl| Arrival {
            hops: Hops::Multi,
            ttl,
            ..arrival()
        };
        assert_eq!(rig.hear_bytes(&from(least - 1), &bytes), Err(Discard::Ttl));
        assert!(rig.hear_bytes(&from(least), &bytes).is_ok());
        assert!(rig.hear_bytes(&from(255), &bytes).is_ok());
    }
}

#[test]
fn the_least_ttl_of_several_hops_does_not_count_for_one() {
    let mut rig = Rig::new(Settings {
        minimum_ttl: Some(1),
        ..fast()
    });
    let bytes = rig.peer(State::Down).encode();
    let far = Arrival {
        ttl: 254,
        ..arrival()
    };
    assert_eq!(rig.hear_bytes(&far, &bytes), Err(Discard::Ttl));
}
