//! What others pass on of a member, right or wrong.

use std::net::SocketAddr;

use super::net::{Net, SECRET, ms, name};
use crate::Keyring;
use crate::directory::Directory;
use crate::envelope::{Envelope, MAX_STATE, Passed, Sees, Told, encode_state};
use crate::seal::Seal;
use herald_model::{MemberState, Phase, Standing};

fn state(phase: Phase) -> MemberState {
    MemberState {
        phase,
        ..MemberState::default()
    }
}

/// The phase of a node as another knows it.
fn phase(net: &Net, of: usize, at: usize) -> Option<Phase> {
    let member = net.view(at).members.get(&name(of))?;
    member.state.as_ref().map(|state| state.phase)
}

/// Has the key, speaks as node 1, and says what it likes.
struct Liar {
    address: SocketAddr,
    seal: Seal,
    directory: Directory,
}

impl Liar {
    fn new(net: &mut Net) -> Self {
        net.hosts[1].dead = true;
        let address = net.address(1);
        let keys = Keyring::new([SECRET]).unwrap();
        Self {
            address,
            seal: Seal::new(name(1), address, keys, [7; 16], 1),
            directory: Directory::new(name(1), address),
        }
    }

    /// Tells node 0 that another node is in this phase, by such a version.
    fn tell(&mut self, net: &mut Net, of: usize, version: u64, phase: Phase) {
        let name = name(of);
        let (state, _) = encode_state(&state(phase), MAX_STATE);
        let told = Told {
            version,
            state: &state,
        };
        let envelope = Envelope {
            generation: 1,
            known: 1,
            sees: Sees::Live,
            standing: Standing::Majority,
            fitness: 3,
            heard: 0,
            seen: 0,
            reply: false,
            leaving: false,
            told: None,
            pass: None,
            passed: Some(Passed {
                name: name.as_str(),
                generation: 1,
                told,
            }),
            swim: &[],
        };
        let (now, other) = (net.now, net.address(0));
        let body = postcard::to_stdvec(&envelope).unwrap();
        self.seal.send(now, other, body);
        let group = &mut net.hosts[0].group;
        // Enough for the handshake and what it is for.
        for _ in 0..4 {
            while let Some((_, bytes)) = self.seal.poll() {
                group.handle_datagram(now, self.address, &bytes);
            }
            while let Some((to, bytes)) = group.poll_transmit() {
                if to == self.address {
                    let _ = self.seal.open(now, other, &bytes, &self.directory);
                }
            }
        }
    }
}

#[test]
fn what_another_says_wrongly_of_a_member_is_put_right_by_that_one() {
    for seed in 0..10 {
        let mut net = Net::new(3, seed);
        net.until(ms(2000), Net::whole);
        net.run(ms(500));
        let mut liar = Liar::new(&mut net);
        liar.tell(&mut net, 2, u64::MAX, Phase::Draining);
        assert_eq!(phase(&net, 2, 0), Some(Phase::Draining), "it is believed");
        net.until(ms(100), |net| phase(net, 2, 0) == Some(Phase::Ready));
        let now = net.now;
        net.hosts[2].group.set_state(now, state(Phase::Settling));
        net.until(ms(100), |net| phase(net, 2, 0) == Some(Phase::Settling));
    }
}

#[test]
fn what_another_says_wrongly_of_a_member_that_is_not_heard_lasts_until_that_one_says_more() {
    for seed in 0..10 {
        let mut net = Net::new(5, seed);
        net.until(ms(2000), Net::whole);
        net.part(&[0], &[2]);
        net.run(ms(500));
        let mut liar = Liar::new(&mut net);
        liar.tell(&mut net, 2, u64::MAX, Phase::Draining);
        assert_eq!(phase(&net, 2, 0), Some(Phase::Draining), "it is believed");
        net.run(ms(500));
        let now = net.now;
        net.hosts[2].group.set_state(now, state(Phase::Settling));
        net.until(ms(2000), |net| phase(net, 2, 0) == Some(Phase::Settling));
        let now = net.now;
        net.hosts[2].group.set_state(now, state(Phase::Ready));
        net.until(ms(1000), |net| phase(net, 2, 0) == Some(Phase::Ready));
    }
}

#[test]
fn a_run_that_counts_anew_is_passed_on_to_one_that_knows_a_later_version_of_the_run_before() {
    for seed in 0..10 {
        let mut net = Net::new(4, seed);
        net.until(ms(2000), Net::whole);
        for round in 0..40 {
            let phases = [Phase::Settling, Phase::Ready];
            let now = net.now;
            let state = state(phases[round % 2]);
            net.hosts[2].group.set_state(now, state);
            net.run(ms(20));
        }
        net.part(&[0], &[2]);
        net.run(ms(1500));
        assert_eq!(phase(&net, 2, 0), Some(Phase::Ready));
        // Its disk is lost, and it is back before anybody misses it.
        net.restart(2, 1);
        net.hosts[2].events.clear();
        let now = net.now;
        net.hosts[2].group.set_state(now, state(Phase::Draining));
        net.until(ms(3000), |net| phase(net, 2, 1) == Some(Phase::Draining));
        net.until(ms(2000), |net| phase(net, 2, 0) == Some(Phase::Draining));
    }
}
