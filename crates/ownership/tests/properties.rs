//! Any sequence of inputs: no panic, and duties that go with the statuses.
#![allow(
    clippy::tests_outside_test_module,
    reason = "an integration test is a test module"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_model::{
    GroupView, LanInterface, MacAddress, Member, MemberState, NodeName, Phase, Standing,
};
use herald_ownership::{
    Claim, Command, Duty, Failback, Kind, Limits, Ownership, Sighting, Status, not_heard,
};
use proptest::prelude::*;

const NAMES: [&str; 4] = ["a", "me", "x", "z"];

#[derive(Debug, Clone)]
enum Step {
    Claim(u8, Option<Claim>),
    Group(GroupView),
    Saw(Sighting),
    Pass(u64),
    /// Time passes and nothing is done, as in a process that stands still.
    Stall(u64),
    Collect,
    Leave,
}

fn address(number: u8) -> IpAddr {
    if number.is_multiple_of(2) {
        IpAddr::from([192, 0, 2, number])
    } else {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)])
    }
}

fn name() -> impl Strategy<Value = NodeName> {
    prop::sample::select(&NAMES[..]).prop_map(NodeName::from)
}

fn phase() -> impl Strategy<Value = Phase> {
    prop::sample::select(vec![Phase::Ready, Phase::Settling, Phase::Draining])
}

fn interfaces() -> impl Strategy<Value = Interfaces> {
    let named = prop::sample::select(vec!["eth0", "eth1"]);
    prop_oneof![
        Just(Interfaces::All),
        named.prop_map(|name| Interfaces::Named(BTreeSet::from([name.to_owned()]))),
    ]
}

fn failback() -> impl Strategy<Value = Failback> {
    prop::sample::select(vec![Failback::Revertive, Failback::Sticky])
}

fn claim() -> impl Strategy<Value = Claim> {
    let order = prop::collection::vec(name(), 0..5);
    let mine = (interfaces(), order, failback());
    let theirs = (name(), prop::option::of(interfaces()), failback());
    prop_oneof![
        4 => mine.prop_map(|(interfaces, order, failback)| Claim::Mine {
            interfaces,
            order,
            failback,
        }),
        4 => theirs.prop_map(|(owner, interfaces, failback)| Claim::Theirs {
            owner,
            interfaces,
            failback,
        }),
        1 => Just(Claim::Nobody),
    ]
}

fn state() -> impl Strategy<Value = MemberState> {
    let unheard = prop::collection::btree_set(name(), 0..2);
    let canary = prop::option::of(0..4_u8);
    (phase(), 0..6_u8, canary, unheard).prop_map(|(phase, mac, canary, unheard)| MemberState {
        phase,
        interfaces: vec![LanInterface {
            name: "eth0".to_owned(),
            mac: MacAddress([2, 0, 0, 0, 0, mac]),
            arp: true,
            ndp: true,
            prefixes: BTreeSet::new(),
            canary: canary.map(address),
        }],
        unheard,
    })
}

fn group() -> impl Strategy<Value = GroupView> {
    let member = (any::<bool>(), prop::option::of(state())).prop_map(|(live, state)| Member {
        address: SocketAddr::from(([198, 51, 100, 1], 7946)),
        live,
        state: state.map(Arc::new),
    });
    let members = prop::collection::btree_map(name(), member, 0..4);
    let standings = vec![Standing::Minority, Standing::Half, Standing::Majority];
    let standing = prop::sample::select(standings);
    let fenced = prop::bool::weighted(0.1);
    (members, state(), standing, fenced).prop_map(|(members, me, standing, fenced)| GroupView {
        members,
        me,
        standing,
        fenced,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = vec![Kind::Announced, Kind::Answered, Kind::Probed];
    let saw = (0..4_u8, 0..8_u8, prop::sample::select(kinds)).prop_map(|(number, mac, kind)| {
        Step::Saw(Sighting {
            address: address(number),
            mac: MacAddress([2, 0, 0, 0, 0, mac]),
            kind,
        })
    });
    prop_oneof![
        4 => (0..4_u8, prop::option::weighted(0.9, claim())).prop_map(|(n, c)| Step::Claim(n, c)),
        3 => group().prop_map(Step::Group),
        4 => saw,
        4 => (0..3_000_u64).prop_map(Step::Pass),
        1 => (0..12_000_u64).prop_map(Step::Stall),
        1 => Just(Step::Collect),
        1 => prop::bool::weighted(0.05).prop_map(|leave| {
            if leave { Step::Leave } else { Step::Collect }
        }),
    ]
}

struct World {
    machine: Ownership,
    now: Instant,
    view: Option<GroupView>,
    claims: BTreeMap<IpAddr, Claim>,
    told: BTreeMap<IpAddr, Status>,
}

impl World {
    fn new() -> Self {
        let mut machine = Ownership::new(NodeName::from("me"), Limits::default());
        machine.resume([address(0), address(3)]);
        Self {
            machine,
            now: Instant::now(),
            view: None,
            claims: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Claim(number, claim) => {
                let address = address(number);
                match &claim {
                    Some(claim) => self.claims.insert(address, claim.clone()),
                    None => self.claims.remove(&address),
                };
                self.machine.set_claim(self.now, address, claim);
            }
            Step::Group(view) => {
                self.machine.set_group(self.now, &view);
                self.machine.handle_timeout(self.now);
                let _ = not_heard(&NodeName::from("me"), &view);
                self.view = Some(view);
            }
            Step::Saw(sighting) => self.machine.saw(self.now, sighting),
            Step::Pass(milliseconds) => self.pass(milliseconds),
            Step::Stall(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Step::Leave => self.machine.leaving(self.now),
            Step::Collect => {
                for (address, status) in self.machine.take_changes() {
                    let before = self.told.insert(address, status.clone());
                    assert_ne!(before, Some(status), "{address} has not changed");
                }
                for number in 0..4 {
                    let address = address(number);
                    let told = self.told.get(&address).cloned();
                    assert_eq!(
                        told.unwrap_or(Status::NotOurs),
                        self.machine.status(address)
                    );
                }
                self.machine.take_conflicts();
            }
        }
        self.check();
    }

    fn pass(&mut self, milliseconds: u64) {
        let end = self.now + Duration::from_millis(milliseconds);
        let mut steps = 0;
        while let Some(due) = self.machine.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.machine.handle_timeout(self.now);
            self.check();
            steps += 1;
            assert!(steps < 2_000, "the machine does not come to rest");
        }
        self.now = end;
    }

    fn check(&mut self) {
        let tasks = self.machine.tasks();
        for number in 0..4 {
            let address = address(number);
            let status = self.machine.status(address);
            let duty = match status {
                Status::Held => Some(Duty::Announce),
                Status::HandingOver(_) => Some(Duty::Answer),
                Status::Probing | Status::HeldBy(_) | Status::InUse(_) => Some(Duty::Watch),
                Status::NoMajority | Status::Fenced | Status::NotOurs => None,
            };
            assert_eq!(
                tasks.get(&address).map(|task| task.duty),
                duty,
                "{status:?}"
            );
            let claim = self.claims.get(&address);
            if matches!(claim, None | Some(Claim::Nobody)) {
                assert_eq!(status, Status::NotOurs);
            }
            if matches!(claim, Some(Claim::Mine { .. })) {
                assert!(!matches!(status, Status::HandingOver(_)));
            }
            let may_answer = self.view.as_ref().is_some_and(|view| !view.fenced);
            assert!(may_answer || duty.is_none(), "{status:?}");
            if let (
                Status::Held,
                Some(Claim::Theirs {
                    failback,
                    interfaces,
                    ..
                }),
            ) = (&status, claim)
            {
                let phase = self.view.as_ref().map(|view| view.me.phase);
                let settles = phase == Some(Phase::Settling);
                assert!(*failback == Failback::Sticky || settles);
                assert!(interfaces.is_some());
            }
        }
        assert!(tasks.len() <= 4);
        for command in self.machine.take_commands() {
            match command {
                Command::Probe(address) | Command::Ask { address, .. } => {
                    assert!(tasks.contains_key(&address));
                }
                Command::Announce(address) => {
                    assert_eq!(
                        tasks.get(&address).map(|task| task.duty),
                        Some(Duty::Announce)
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_inputs_makes_duties_and_statuses_differ(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
        }
    }
}
