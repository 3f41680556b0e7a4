//! What only long times and great numbers show.

use std::collections::BTreeSet;

use super::net::{Net, SECRET, ms, name};
use crate::{Group, Keyring, MAX_MEMBERS, Settings};
use herald_model::{MemberState, Standing};

#[test]
fn one_that_is_down_for_an_hour_counts_no_longer_until_it_is_back() {
    let mut net = Net::new(3, 11);
    net.timers = crate::Timers::wan();
    for index in 0..3 {
        net.restart(index, 1);
    }
    net.until(ms(20_000), Net::whole);
    net.hosts[2].dead = true;
    net.run(ms(3_590_000));
    assert_eq!(net.view(0).standing, Standing::Majority);
    // Two of three still: one that is left alone is in the minority.
    net.part(&[0], &[1]);
    net.run(ms(9_000));
    assert_eq!(net.view(0).standing, Standing::Minority);
    net.cut.clear();
    net.until(ms(20_000), Net::whole);
    // The hour is one in the majority.
    net.run(ms(3_590_000));
    net.part(&[0], &[1]);
    net.run(ms(9_000));
    assert_eq!(net.view(1).standing, Standing::Minority);
    net.cut.clear();
    net.until(ms(20_000), Net::whole);
    net.run(ms(3_620_000));
    // Now there are but two.
    net.part(&[0], &[1]);
    net.run(ms(9_000));
    assert_eq!(net.view(0).standing, Standing::Half);
    net.cut.clear();
    net.until(ms(20_000), Net::whole);
    net.restart(2, 2);
    net.until(ms(20_000), Net::whole);
    for index in 0..3 {
        assert_eq!(net.view(index).standing, Standing::Majority);
    }
    net.part(&[0], &[1, 2]);
    net.run(ms(9_000));
    assert_eq!(net.view(0).standing, Standing::Minority, "it counts again");
}

#[test]
fn more_members_than_are_kept_are_not_kept() {
    let mut net = Net::new(1, 12);
    let mine = net.address(0);
    let now = net.now;
    net.hosts[0].group.set_nodes(now, [].into());
    let mut crowded = 0;
    for index in 1..=MAX_MEMBERS + 100 {
        let address = net.address(index);
        let settings = Settings {
            me: name(index),
            address,
            timers: net.timers,
            keys: Keyring::new([SECRET]).unwrap(),
            seed: 99,
            generation: 1,
        };
        let mut other = Group::new(now, settings, MemberState::default());
        other.set_nodes(now, [(name(0), BTreeSet::from([mine.ip()]))].into());
        let group = &mut net.hosts[0].group;
        // Enough for the handshake and the first word.
        for _ in 0..4 {
            while let Some((_, bytes)) = other.poll_transmit() {
                group.handle_datagram(now, address, &bytes);
            }
            while let Some((to, bytes)) = group.poll_transmit() {
                if to == address {
                    other.handle_datagram(now, mine, &bytes);
                }
            }
        }
        while let Some(event) = group.poll_event() {
            if let crate::Event::Problem(problem) = event {
                crowded += usize::from(problem.kind == crate::ProblemKind::Crowded);
            }
        }
        assert!(group.view().members.len() <= MAX_MEMBERS);
    }
    assert_eq!(net.view(0).members.len(), MAX_MEMBERS);
    assert!(crowded >= 100, "{crowded}");
}
