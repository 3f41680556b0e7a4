//! One machine, its clock, and short words for what happens to it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_model::{
    GroupView, LanInterface, MacAddress, Member, MemberState, NodeName, Phase, Standing,
};
use herald_ownership::{Claim, Command, Duty, Failback, Kind, Limits, Ownership, Sighting, Status};

pub(crate) const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
pub(crate) const ME: &str = "me";
/// Two others; in the order of names `me` is between them.
pub(crate) const ANN: &str = "ann";
pub(crate) const ZOE: &str = "zoe";
/// The MAC address of a station that is no member.
pub(crate) const STRANGER: MacAddress = MacAddress([2, 0xff, 0, 0, 0, 1]);

pub(crate) struct Node {
    pub(crate) machine: Ownership,
    pub(crate) now: Instant,
    pub(crate) view: GroupView,
    pub(crate) failback: Failback,
    /// All commands so far and when they were given, since the start.
    pub(crate) commands: Vec<(Duration, Command)>,
    start: Instant,
}

pub(crate) fn mac(name: &str) -> MacAddress {
    let [first, ..] = name.as_bytes() else {
        return MacAddress([2, 0, 0, 0, 0, 0]);
    };
    MacAddress([2, 0, 0, 0, 0, *first])
}

pub(crate) fn state(name: &str, phase: Phase) -> MemberState {
    MemberState {
        phase,
        interfaces: vec![LanInterface {
            name: "eth0".to_owned(),
            mac: mac(name),
            arp: true,
            ndp: true,
            prefixes: BTreeSet::new(),
            canary: None,
        }],
        unheard: BTreeSet::new(),
    }
}

pub(crate) fn member(name: &str, live: bool) -> Member {
    Member {
        address: SocketAddr::from(([198, 51, 100, 1], 7946)),
        live,
        state: Some(state(name, Phase::Ready).into()),
    }
}

fn names(names: &[&str]) -> Vec<NodeName> {
    names.iter().map(|name| NodeName::from(*name)).collect()
}

impl Node {
    /// A node that knows no group yet.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            machine: Ownership::new(NodeName::from(ME), Limits::default()),
            now,
            view: GroupView {
                me: state(ME, Phase::Ready),
                standing: Standing::Majority,
                ..GroupView::default()
            },
            failback: Failback::Revertive,
            commands: Vec::new(),
            start: now,
        }
    }

    /// A node in a group with `ann` and `zoe`.
    pub(crate) fn of_three() -> Self {
        let mut node = Self::new();
        for name in [ANN, ZOE] {
            let member = member(name, true);
            node.view.members.insert(NodeName::from(name), member);
        }
        node.tell();
        node
    }

    /// A node in a group with `ann` alone.
    pub(crate) fn of_two() -> Self {
        let mut node = Self::new();
        let member = member(ANN, true);
        node.view.members.insert(NodeName::from(ANN), member);
        node.tell();
        node
    }

    pub(crate) fn sticky(mut self) -> Self {
        self.failback = Failback::Sticky;
        self
    }

    /// Tells how the group looks, which changes no claim.
    pub(crate) fn tell(&mut self) {
        self.machine.set_group(self.now, &self.view);
        self.machine.handle_timeout(self.now);
        self.collect();
    }

    /// Tells how the group looks, and then the claim that follows.
    pub(crate) fn tell_with(&mut self, claim: impl FnOnce(&mut Self)) {
        self.machine.set_group(self.now, &self.view);
        claim(self);
        self.machine.handle_timeout(self.now);
        self.collect();
    }

    pub(crate) fn down(&mut self, name: &str, standing: Standing) {
        self.view.members.get_mut(name).expect("a member").live = false;
        self.view.standing = standing;
        self.tell();
    }

    /// Lets this node be one that joined anew and has not met a member again yet.
    pub(crate) fn not_met(mut self, name: &str) -> Self {
        self.view.fenced = true;
        self.view.me.phase = Phase::Settling;
        self.down(name, self.view.standing);
        self.view.fenced = false;
        self.tell();
        self
    }

    pub(crate) fn up(&mut self, name: &str, standing: Standing) {
        self.view.members.get_mut(name).expect("a member").live = true;
        self.view.standing = standing;
        self.tell();
    }

    pub(crate) fn phase(&mut self, name: &str, phase: Phase) {
        let member = self.view.members.get_mut(name).expect("a member");
        member.state = Some(state(name, phase).into());
        self.tell();
    }

    /// A member is in another phase, and so the election says this.
    pub(crate) fn phase_and(&mut self, name: &str, phase: Phase, claim: impl FnOnce(&mut Self)) {
        let member = self.view.members.get_mut(name).expect("a member");
        member.state = Some(state(name, phase).into());
        self.tell_with(claim);
    }

    pub(crate) fn standing(&mut self, standing: Standing) {
        self.view.standing = standing;
        self.tell();
    }

    pub(crate) fn fenced(&mut self, fenced: bool) {
        self.view.fenced = fenced;
        self.tell();
    }

    pub(crate) fn mine(&mut self, order: &[&str]) {
        let claim = Claim::Mine {
            interfaces: Interfaces::All,
            order: names(order),
            failback: self.failback,
        };
        self.claim(Some(claim));
    }

    pub(crate) fn theirs(&mut self, owner: &str) {
        let claim = Claim::Theirs {
            owner: NodeName::from(owner),
            interfaces: Some(Interfaces::All),
            failback: self.failback,
        };
        self.claim(Some(claim));
    }

    /// It is another's, and this node is no candidate.
    pub(crate) fn theirs_only(&mut self, owner: &str) {
        let claim = Claim::Theirs {
            owner: NodeName::from(owner),
            interfaces: None,
            failback: self.failback,
        };
        self.claim(Some(claim));
    }

    pub(crate) fn claim(&mut self, claim: Option<Claim>) {
        self.machine.set_claim(self.now, ADDRESS, claim);
        self.collect();
    }

    /// Takes the address as its first owner, with nobody in the way.
    pub(crate) fn take(&mut self, order: &[&str]) {
        self.mine(order);
        self.pass(300);
        assert_eq!(self.status(), Status::Held);
        self.commands.clear();
    }

    pub(crate) fn saw(&mut self, name: &str, kind: Kind) {
        self.saw_station(mac(name), kind);
    }

    pub(crate) fn saw_station(&mut self, mac: MacAddress, kind: Kind) {
        let address = ADDRESS;
        self.machine.saw(self.now, Sighting { address, mac, kind });
        self.collect();
    }

    /// Lets time pass, and does what is due when it is due.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.pass_with(milliseconds, |_, _| {});
    }

    /// The same, while `answer` sees each probe and may let it be answered.
    pub(crate) fn pass_with(
        &mut self,
        milliseconds: u64,
        mut answer: impl FnMut(&mut Ownership, Instant),
    ) {
        let end = self.now + Duration::from_millis(milliseconds);
        while let Some(due) = self.machine.next_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.machine.handle_timeout(self.now);
            let before = self.commands.len();
            self.collect();
            for (_, command) in self.commands.iter().skip(before) {
                if matches!(command, Command::Probe(_)) {
                    answer(&mut self.machine, self.now);
                }
            }
            self.collect();
        }
        self.now = end;
    }

    /// Lets time pass while a member answers every probe.
    pub(crate) fn pass_answered_by(&mut self, name: &str, milliseconds: u64) {
        let sighting = Sighting {
            address: ADDRESS,
            mac: mac(name),
            kind: Kind::Answered,
        };
        self.pass_with(milliseconds, |machine, now| machine.saw(now, sighting));
    }

    /// Lets time pass while a foreign station answers every probe.
    pub(crate) fn pass_answered_by_stranger(&mut self, milliseconds: u64) {
        let sighting = Sighting {
            address: ADDRESS,
            mac: STRANGER,
            kind: Kind::Answered,
        };
        self.pass_with(milliseconds, |machine, now| machine.saw(now, sighting));
    }

    fn collect(&mut self) {
        let at = self.now - self.start;
        let commands = self.machine.take_commands();
        self.commands
            .extend(commands.into_iter().map(|command| (at, command)));
    }

    pub(crate) fn status(&self) -> Status {
        self.machine.status(ADDRESS)
    }

    pub(crate) fn duty(&self) -> Option<Duty> {
        self.machine.tasks().get(&ADDRESS).map(|task| task.duty)
    }

    pub(crate) fn probes(&self) -> usize {
        let probes = self.commands.iter();
        probes
            .filter(|(_, command)| matches!(command, Command::Probe(_)))
            .count()
    }

    pub(crate) fn announcements(&self) -> usize {
        self.commands.len() - self.probes()
    }
}

pub(crate) fn held_by(name: &str) -> Status {
    Status::HeldBy(NodeName::from(name))
}

pub(crate) fn handing_over(name: &str) -> Status {
    Status::HandingOver(NodeName::from(name))
}
