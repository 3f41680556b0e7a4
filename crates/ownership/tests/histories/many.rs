//! Thousands of addresses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use herald_announce::Interfaces;
use herald_model::Standing;
use herald_ownership::{Claim, Command, Duty, Failback, Kind, Sighting, Status};

use crate::node::*;

const COUNT: u32 = 5_000;

fn addresses() -> impl Iterator<Item = IpAddr> {
    (0..COUNT).map(|number| IpAddr::from((0x0a00_0000 + number).to_be_bytes()))
}

fn mine(failback: Failback) -> Claim {
    Claim::Mine {
        interfaces: Interfaces::All,
        order: vec![ME.into(), ANN.into(), ZOE.into()],
        failback,
    }
}

fn theirs(owner: &str) -> Claim {
    Claim::Theirs {
        owner: owner.into(),
        interfaces: Some(Interfaces::All),
        failback: Failback::Revertive,
    }
}

fn claim_all(node: &mut Node, claim: &Claim) {
    for address in addresses() {
        node.machine
            .set_claim(node.now, address, Some(claim.clone()));
    }
}

#[test]
fn all_addresses_of_a_dead_node_are_taken_at_once() {
    let mut node = Node::of_three();
    claim_all(&mut node, &theirs(ANN));
    node.down(ANN, Standing::Majority);
    claim_all(&mut node, &mine(Failback::Revertive));
    let tasks = node.machine.tasks();
    assert_eq!(tasks.len(), 5_000);
    assert!(tasks.values().all(|task| task.duty == Duty::Announce));
    let changes = node.machine.take_changes();
    assert_eq!(changes.len(), 5_000);
    assert!(changes.iter().all(|(_, status)| *status == Status::Held));
    assert_eq!(node.machine.take_changes(), []);
}

#[test]
fn probes_are_sent_at_a_bounded_rate_and_all_are() {
    let mut node = Node::of_three();
    claim_all(&mut node, &mine(Failback::Revertive));
    node.pass(3_000);
    assert_eq!(node.probes(), 15_000);
    for window in 0..300 {
        let from = Duration::from_millis(window * 10);
        let until = from + Duration::from_millis(10);
        let sent = node.commands.iter();
        let sent = sent.filter(|(at, _)| (from..until).contains(at)).count();
        assert!(sent <= 192, "{sent} probes in 10 ms");
    }
    assert!(addresses().all(|address| node.machine.status(address) == Status::Held));
}

#[test]
fn a_failover_does_not_wait_behind_probes() {
    let mut node = Node::of_three();
    node.theirs(ANN);
    claim_all(&mut node, &mine(Failback::Revertive));
    node.pass(10);
    node.down(ANN, Standing::Majority);
    node.mine(&[ANN, ME]);
    assert_eq!(node.status(), Status::Held);
}

#[test]
fn watching_many_that_another_keeps_costs_a_bounded_number_of_probes() {
    let mut node = Node::of_three().sticky();
    claim_all(&mut node, &mine(Failback::Sticky));
    for address in addresses() {
        let kind = Kind::Answered;
        let mac = mac(ZOE);
        node.machine.saw(node.now, Sighting { address, mac, kind });
    }
    node.commands.clear();
    let mut now = node.now;
    let mut probes = 0;
    while let Some(due) = node.machine.next_timeout() {
        now = now.max(due);
        if now > node.now + Duration::from_mins(1) {
            break;
        }
        node.machine.handle_timeout(now);
        for command in node.machine.take_commands() {
            let Command::Probe(address) = command else {
                panic!("{command:?}");
            };
            probes += 1;
            let kind = Kind::Answered;
            let mac = mac(ZOE);
            node.machine.saw(now, Sighting { address, mac, kind });
        }
    }
    assert!(addresses().all(|address| node.machine.status(address) == held_by(ZOE)));
    // All at first, then each once in five seconds.
    assert!((55_000..70_000).contains(&probes), "{probes} in a minute");
}

#[test]
fn tasks_are_the_same_as_long_as_nothing_changes() {
    let mut node = Node::of_three();
    claim_all(&mut node, &theirs(ANN));
    node.pass(200);
    claim_all(&mut node, &mine(Failback::Revertive));
    let before = node.machine.tasks();
    claim_all(&mut node, &mine(Failback::Revertive));
    node.tell();
    node.pass(1_000);
    assert!(Arc::ptr_eq(&before, &node.machine.tasks()));
}

#[test]
fn asking_after_many_that_are_kept_costs_a_bounded_number_of_probes() {
    let mut node = Node::of_three().sticky();
    claim_all(&mut node, &mine(Failback::Sticky));
    node.pass(3_000);
    let kept = Claim::Theirs {
        owner: ANN.into(),
        interfaces: Some(Interfaces::All),
        failback: Failback::Sticky,
    };
    claim_all(&mut node, &kept);
    node.commands.clear();
    node.pass(60_000);
    assert!(addresses().all(|address| node.machine.status(address) == Status::Held));
    let probes = node.probes();
    // All at first, then each once in five seconds.
    assert!((55_000..70_000).contains(&probes), "{probes} in a minute");
    // Few are asked after often again.
    claim_all(&mut node, &mine(Failback::Sticky));
    node.pass(10_000);
    let one = addresses().next().expect("there are some");
    node.machine.set_claim(node.now, one, Some(kept));
    node.commands.clear();
    node.pass(1_000);
    assert!(
        (4..=6).contains(&node.probes()),
        "{} in a second",
        node.probes()
    );
}

#[test]
fn asking_after_many_that_a_station_has_that_may_be_a_members_costs_a_bounded_number_of_probes() {
    let mut node = Node::of_three();
    let zoe = node.view.members.get_mut(ZOE).expect("a member");
    zoe.state = None;
    zoe.live = false;
    node.tell();
    claim_all(&mut node, &mine(Failback::Revertive));
    let mut now = node.now;
    let mut probes = 0;
    while let Some(due) = node.machine.next_timeout() {
        now = now.max(due);
        if now > node.now + Duration::from_mins(1) {
            break;
        }
        node.machine.handle_timeout(now);
        for command in node.machine.take_commands() {
            let Command::Probe(address) = command else {
                panic!("{command:?}");
            };
            probes += 1;
            let kind = Kind::Answered;
            let mac = STRANGER;
            node.machine.saw(now, Sighting { address, mac, kind });
        }
    }
    let in_use = |address| node.machine.status(address) == Status::InUse(STRANGER);
    assert!(addresses().all(in_use));
    // All at first, then each once in five seconds.
    assert!((55_000..70_000).contains(&probes), "{probes} in a minute");
}
