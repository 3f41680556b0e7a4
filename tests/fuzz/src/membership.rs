//! Datagrams of the group, from somebody who has not the key.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use herald_membership::{Event, Group, Keyring, MAX_DATAGRAM, Settings, Timers};
use herald_model::{MemberState, NodeName};

/// Nobody gets in, nothing is believed, and what is answered is no more than was asked.
pub(crate) fn datagram(bytes: &[u8]) {
    let now = Instant::now();
    let peer: SocketAddr = ([192, 0, 2, 2], 7946).into();
    let settings = Settings {
        me: NodeName::from("a"),
        address: ([192, 0, 2, 1], 7946).into(),
        timers: Timers::default(),
        keys: Keyring::new([b"a secret of enough bytes"]).expect("a key"),
        seed: 1,
        generation: 1,
    };
    let mut group = Group::new(now, settings, MemberState::default());
    let nodes = [(NodeName::from("b"), BTreeSet::from([peer.ip()]))];
    group.set_nodes(now, nodes.into());
    while group.poll_transmit().is_some() {}
    while group.poll_event().is_some() {}
    let before = group.view().clone();
    group.handle_datagram(now, peer, bytes);
    assert_eq!(*group.view(), before);
    let answers: Vec<_> = std::iter::from_fn(|| group.poll_transmit()).collect();
    assert!(answers.len() <= 1, "{}", answers.len());
    assert!(answers.iter().all(|(_, bytes)| bytes.len() <= MAX_DATAGRAM));
    while let Some(event) = group.poll_event() {
        assert!(
            matches!(event, Event::Changed | Event::Problem(_)),
            "{event:?}"
        );
    }
}
