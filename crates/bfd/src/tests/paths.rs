//! Which session a packet belongs to (RFC 5880 6.3, RFC 5881 3, RFC 5883 4).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use super::rig::{LOCAL, PEER, PEER_DISCRIMINATOR, arrival, fast, ms};
use crate::{
    AddError, Arrival, ControlPacket, Diagnostic, Discard, Hops, MAX_SESSIONS, Path, PathError,
    SessionId, Sessions, Settings, SettingsError, State,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn on(peer: &str, interface: Option<u32>) -> Path {
    Path::SingleHop {
        peer: ip(peer),
        interface,
    }
}

fn far(peer: &str, local: Option<&str>) -> Path {
    Path::MultiHop {
        peer: ip(peer),
        local: local.map(ip),
    }
}

fn hello(your_discriminator: u32) -> [u8; 24] {
    let packet = ControlPacket {
        diagnostic: Diagnostic::None,
        state: State::Down,
        poll: false,
        is_final: false,
        independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: PEER_DISCRIMINATOR,
        your_discriminator,
        desired_min_tx: 1_000_000,
        required_min_rx: 50_000,
        required_min_echo_rx: 0,
    };
    packet.encode()
}

fn add(sessions: &mut Sessions, path: Path) -> SessionId {
    sessions.add(Instant::now(), path, fast()).unwrap()
}

fn first(sessions: &mut Sessions, arrival: Arrival) -> Result<SessionId, Discard> {
    sessions.handle_packet(Instant::now(), &arrival, &hello(0))
}

fn single(from: &str, interface: u32) -> Arrival {
    Arrival {
        from: ip(from),
        interface,
        ..arrival()
    }
}

fn multi(from: &str, to: &str) -> Arrival {
    Arrival {
        hops: Hops::Multi,
        from: ip(from),
        to: ip(to),
        ..arrival()
    }
}

#[test]
fn a_first_packet_of_one_hop_is_told_by_address_and_interface() {
    let mut sessions = Sessions::new([1; 32]);
    let v4 = add(&mut sessions, on("10.99.1.2", None));
    let v6 = add(&mut sessions, on("fd99:1::2", None));
    let left = add(&mut sessions, on("fe80::1", Some(3)));
    let right = add(&mut sessions, on("fe80::1", Some(4)));
    let bound = add(&mut sessions, on("10.99.1.2", Some(4)));
    for (from, interface, expected) in [
        ("10.99.1.2", 3, Ok(v4)),
        ("::ffff:10.99.1.2", 3, Ok(v4)),
        ("10.99.1.2", 4, Ok(bound)),
        ("fd99:1::2", 9, Ok(v6)),
        ("fe80::1", 3, Ok(left)),
        ("fe80::1", 4, Ok(right)),
        ("fe80::1", 5, Err(Discard::UnknownPeer)),
        ("10.99.1.3", 3, Err(Discard::UnknownPeer)),
    ] {
        assert_eq!(first(&mut sessions, single(from, interface)), expected);
    }
    assert_eq!(
        first(&mut sessions, multi("10.99.1.2", "10.99.1.1")),
        Err(Discard::UnknownPeer)
    );
}

#[test]
fn a_first_packet_of_several_hops_is_told_by_both_addresses() {
    let mut sessions = Sessions::new([1; 32]);
    let any = add(&mut sessions, far("10.9.0.1", None));
    let one = add(&mut sessions, far("10.9.0.1", Some("10.1.0.1")));
    let v6 = add(&mut sessions, far("fd00::1", Some("fd00::2")));
    for (from, to, expected) in [
        ("10.9.0.1", "10.1.0.1", Ok(one)),
        ("10.9.0.1", "10.1.0.2", Ok(any)),
        ("fd00::1", "fd00::2", Ok(v6)),
        ("fd00::1", "fd00::3", Err(Discard::UnknownPeer)),
    ] {
        assert_eq!(first(&mut sessions, multi(from, to)), expected);
    }
    assert_eq!(
        first(&mut sessions, single("10.9.0.1", 3)),
        Err(Discard::UnknownPeer)
    );
}

#[test]
fn later_packets_are_told_by_our_discriminator_alone() {
    let mut sessions = Sessions::new([1; 32]);
    let id = add(&mut sessions, on("10.99.1.2", None));
    let named = hello(id.discriminator());
    let now = Instant::now();
    let moved = single("10.99.7.7", 8);
    assert_eq!(sessions.handle_packet(now, &moved, &named), Ok(id));
    let unbound = multi("10.99.1.2", "10.99.1.1");
    assert_eq!(
        sessions.handle_packet(now, &unbound, &named),
        Err(Discard::WrongPath),
        "the other port asks for a smaller TTL"
    );
}

#[test]
fn a_session_of_an_interface_takes_nothing_from_another() {
    let mut sessions = Sessions::new([1; 32]);
    let id = add(&mut sessions, on("fe80::1", Some(3)));
    let named = hello(id.discriminator());
    let now = Instant::now();
    let wrong = sessions.handle_packet(now, &single("fe80::1", 4), &named);
    assert_eq!(wrong, Err(Discard::WrongPath));
    assert_eq!(sessions.status(id).unwrap().counters.discarded, 1);
    assert_eq!(
        sessions.handle_packet(now, &single("fe80::1", 3), &named),
        Ok(id)
    );
}

#[test]
fn paths_that_can_not_be_are_refused_with_a_remedy() {
    let mut sessions = Sessions::new([1; 32]);
    let now = Instant::now();
    let families = far("10.9.0.1", Some("fd00::2"));
    for (path, expected) in [
        (on("fe80::1", None), PathError::NoInterface(ip("fe80::1"))),
        (far("fe80::1", None), PathError::LinkLocal(ip("fe80::1"))),
        (on("0.0.0.0", None), PathError::Peer(ip("0.0.0.0"))),
        (on("224.0.0.1", None), PathError::Peer(ip("224.0.0.1"))),
        (on("ff02::1", Some(3)), PathError::Peer(ip("ff02::1"))),
        (
            families,
            PathError::Families {
                peer: ip("10.9.0.1"),
                local: ip("fd00::2"),
            },
        ),
    ] {
        let refused = sessions.add(now, path, fast());
        assert_eq!(refused, Err(AddError::Path(expected)));
    }
    assert!(sessions.is_empty());
}

#[test]
fn settings_that_can_not_be_are_refused_and_leave_a_session_as_it_is() {
    let mut sessions = Sessions::new([1; 32]);
    let now = Instant::now();
    let id = add(&mut sessions, on("10.99.1.2", None));
    let zero = Settings {
        detect_multiplier: 0,
        ..fast()
    };
    let hasty = Settings {
        transmit_interval: ms(9),
        ..fast()
    };
    let lazy = Settings {
        receive_interval: ms(60_001),
        ..fast()
    };
    for settings in [zero.clone(), hasty, lazy] {
        assert!(sessions.reconfigure(now, id, settings).is_err());
        assert_eq!(sessions.settings(id), Some(&fast()));
    }
    assert_eq!(
        sessions.add(now, on("10.99.1.3", None), zero),
        Err(AddError::Settings(SettingsError::DetectMultiplier))
    );
}

#[test]
fn there_is_one_session_for_a_path() {
    let mut sessions = Sessions::new([1; 32]);
    let id = add(&mut sessions, on("10.99.1.2", None));
    let again = on("::ffff:10.99.1.2", None);
    assert_eq!(sessions.find(again), Some(id));
    let refused = sessions.add(Instant::now(), again, fast());
    assert_eq!(refused, Err(AddError::Taken(on("10.99.1.2", None))));
    assert_eq!(sessions.path(id), Some(&on("10.99.1.2", None)));
    assert_eq!((PEER, LOCAL), (ip("10.99.1.2"), ip("10.99.1.1")));
}

#[test]
fn discriminators_are_not_0_all_different_and_others_with_another_seed() {
    let now = Instant::now();
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let mut sessions = Sessions::new([seed; 32]);
        for n in 0..1_000_u32 {
            let path = on(&format!("10.0.{}.{}", n / 200, n % 200 + 1), None);
            let id = sessions.add(now, path, fast()).unwrap();
            assert_ne!(id.discriminator(), 0);
            seen.insert(id);
        }
    }
    // Of 20,000 out of 2^32 by chance, one pair of two seeds is the same every 20 times.
    assert!(seen.len() >= 19_990, "{}", seen.len());
}

#[test]
fn no_more_sessions_are_kept_than_there_are_source_ports() {
    let now = Instant::now();
    let mut sessions = Sessions::new([1; 32]);
    let address = |n: usize| {
        let n = u32::try_from(n).unwrap();
        IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + n))
    };
    let path = |n| Path::SingleHop {
        peer: address(n),
        interface: None,
    };
    for n in 1..=MAX_SESSIONS {
        sessions.add(now, path(n), fast()).unwrap();
    }
    let refused = sessions.add(now, path(MAX_SESSIONS + 1), fast());
    assert_eq!(refused, Err(AddError::TooMany));
}
