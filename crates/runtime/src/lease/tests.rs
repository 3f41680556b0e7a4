//! Candidates in virtual time against one Lease with optimistic locking.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::machine::{Claim, Command, Elector, Input, Record, Timing};

const TICK: Duration = Duration::from_millis(100);

/// The API server's side.
#[derive(Default)]
struct Api {
    lease: Option<Record>,
    version: u64,
}

impl Api {
    fn write(&mut self, claim: Claim, wall: Timestamp) -> Input {
        let current = self
            .lease
            .as_ref()
            .map(|record| record.resource_version.clone());
        if current != claim.resource_version {
            return Input::Conflict;
        }
        self.version += 1;
        let record = Record {
            holder: claim.holder,
            transitions: claim.transitions,
            acquired: if claim.acquires {
                Some(wall)
            } else {
                claim.acquired
            },
            renewed: Some(wall),
            owners: claim.owners,
            resource_version: self.version.to_string(),
        };
        self.lease = Some(record.clone());
        Input::Written(record)
    }
}

struct Member {
    elector: Elector,
    /// Cut off from the API.
    isolated: bool,
    alive: bool,
    /// Its wall clock's error in seconds.
    skew: i64,
    wake: Option<Instant>,
}

struct World {
    api: Api,
    members: Vec<Member>,
    start: Instant,
    now: Instant,
}

impl World {
    fn new(members: usize) -> Self {
        let start = Instant::now();
        Self {
            api: Api::default(),
            members: (0..members)
                .map(|i| Member {
                    elector: Elector::new(format!("m{i}"), Timing::default()),
                    isolated: false,
                    alive: true,
                    skew: 0,
                    wake: None,
                })
                .collect(),
            start,
            now: start,
        }
    }

    fn leaders(&self) -> Vec<usize> {
        (0..self.members.len())
            .filter(|i| self.members[*i].alive && self.members[*i].elector.is_leader())
            .collect()
    }

    /// Runs for `time`; at no instant may two lead.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            for i in 0..self.members.len() {
                self.step(i);
                assert!(self.leaders().len() <= 1, "leaders {:?}", self.leaders());
            }
        }
    }

    fn step(&mut self, i: usize) {
        let (now, elapsed) = (self.now, self.now - self.start);
        let member = &mut self.members[i];
        // Leaders check their deadline even while they wait.
        let due = member.wake.is_none_or(|wake| now >= wake)
            || member.elector.leads_until().is_some_and(|end| now >= end);
        if !member.alive || !due {
            return;
        }
        for _ in 0..4 {
            let input = match member.elector.next(now) {
                Command::Wait(until) => {
                    member.wake = Some(until);
                    return;
                }
                _ if member.isolated => Input::Failed,
                Command::Read => Input::Observed(self.api.lease.clone()),
                Command::Write(claim) => {
                    let seconds = i64::try_from(elapsed.as_millis()).expect("short") / 1000;
                    let wall = Timestamp::from_second(1_000_000 + seconds + member.skew)
                        .expect("in range");
                    self.api.write(claim, wall)
                }
            };
            member.elector.handle(now, input);
        }
    }

    fn release(&mut self, i: usize) {
        let claim = self.members[i].elector.release().expect("leads");
        self.members[i].alive = false;
        let answer = self.api.write(claim, Timestamp::UNIX_EPOCH);
        assert!(matches!(answer, Input::Written(_)));
    }

    /// The others' watches deliver the Lease.
    fn deliver(&mut self) {
        for member in self.members.iter_mut().filter(|m| m.alive && !m.isolated) {
            member
                .elector
                .handle(self.now, Input::Watched(self.api.lease.clone()));
            member.wake = None;
        }
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn one_of_three_leads_and_goes_on_leading() {
    let mut world = World::new(3);
    world.run(seconds(1));
    let leaders = world.leaders();
    assert_eq!(leaders.len(), 1);
    world.run(seconds(300));
    assert_eq!(world.leaders(), leaders);
    assert_eq!(world.api.lease.expect("held").transitions, 0);
}

#[test]
fn a_dead_leader_is_followed_after_the_duration_and_not_before() {
    let mut world = World::new(2);
    world.run(seconds(5));
    let first = world.leaders()[0];
    world.members[first].alive = false;
    world.run(seconds(12));
    assert_eq!(world.leaders(), Vec::<usize>::new());
    world.run(seconds(6));
    assert_eq!(world.leaders(), vec![1 - first]);
    assert_eq!(world.api.lease.expect("held").transitions, 1);
}

#[test]
fn a_released_lease_is_taken_the_moment_it_is_seen() {
    let mut world = World::new(2);
    world.run(seconds(5));
    let first = world.leaders()[0];
    world.release(first);
    world.deliver();
    world.run(TICK);
    assert_eq!(world.leaders(), vec![1 - first]);
}

#[test]
fn a_leader_cut_off_stops_before_another_starts() {
    let mut world = World::new(3);
    world.run(seconds(5));
    let first = world.leaders()[0];
    world.members[first].isolated = true;
    // `run` asserts at every instant that never two lead.
    world.run(seconds(10) + TICK);
    assert!(!world.members[first].elector.is_leader());
    world.run(seconds(10));
    assert_eq!(world.leaders().len(), 1);
    assert_ne!(world.leaders()[0], first);
    world.members[first].isolated = false;
    world.run(seconds(60));
    assert_ne!(world.leaders()[0], first);
}

#[test]
fn an_outage_of_the_api_stops_the_leader_and_it_comes_back() {
    let mut world = World::new(2);
    world.run(seconds(5));
    for member in &mut world.members {
        member.isolated = true;
    }
    world.run(seconds(11));
    assert_eq!(world.leaders(), Vec::<usize>::new());
    world.run(seconds(60));
    for member in &mut world.members {
        member.isolated = false;
    }
    world.run(seconds(20));
    assert_eq!(world.leaders().len(), 1);
}

#[test]
fn wall_clocks_that_are_wrong_change_nothing() {
    for skew in [-86_400, 86_400] {
        let mut world = World::new(2);
        world.run(seconds(1));
        let first = world.leaders()[0];
        world.members[first].skew = skew;
        world.run(seconds(120));
        assert_eq!(world.leaders(), vec![first]);
    }
    // Or jump by decades, each in its way.
    let mut world = World::new(2);
    world.run(seconds(1));
    let first = world.leaders()[0];
    for skew in (0..60).map(|turn: i64| (turn % 3 - 1) * 1_000_000_000 + turn) {
        world.members[first].skew = skew;
        world.members[1 - first].skew = -skew;
        world.run(seconds(3));
        assert_eq!(world.leaders(), vec![first]);
    }
    assert_eq!(world.api.lease.expect("held").transitions, 0);
}

#[test]
fn a_candidate_that_starts_late_waits_a_whole_duration() {
    let mut world = World::new(2);
    world.members[1].alive = false;
    world.run(seconds(5));
    world.members[0].alive = false;
    world.run(seconds(100));
    world.members[1].alive = true;
    // It has never seen the Lease change, so it cannot know how old it is.
    world.run(seconds(14));
    assert_eq!(world.leaders(), Vec::<usize>::new());
    world.run(seconds(2));
    assert_eq!(world.leaders(), vec![1]);
}

#[test]
fn a_lease_taken_by_force_ends_the_leadership_at_once() {
    let mut world = World::new(1);
    world.run(seconds(1));
    assert_eq!(world.leaders(), vec![0]);
    let mut stolen = world.api.lease.clone().expect("held");
    stolen.holder = "somebody".to_owned();
    world.members[0]
        .elector
        .handle(world.now, Input::Watched(Some(stolen)));
    assert_eq!(world.leaders(), Vec::<usize>::new());
}

#[test]
fn what_a_watch_tells_too_late_ends_no_leadership() {
    let mut world = World::new(2);
    // So that versions as text would be in another order than as numbers.
    world.api.version = 7;
    world.run(seconds(5));
    let first = world.leaders()[0];
    world.release(first);
    let released = world.api.lease.clone();
    world.deliver();
    world.run(TICK);
    let second = 1 - first;
    assert_eq!(world.leaders(), vec![second]);
    world.members[second]
        .elector
        .handle(world.now, Input::Watched(released));
    assert_eq!(world.leaders(), vec![second]);
    world.run(seconds(60));
    assert_eq!(world.leaders(), vec![second]);
}

#[test]
fn a_lease_whose_versions_start_over_is_led_again() {
    let mut world = World::new(1);
    world.run(seconds(60));
    // The cluster's store is restored from long ago.
    world.api.version = 1;
    if let Some(lease) = &mut world.api.lease {
        lease.resource_version = "1".to_owned();
    }
    world.run(seconds(5));
    assert_eq!(world.leaders(), vec![0]);
    assert!(world.api.version > 1);
}

#[test]
fn a_lease_of_our_own_name_is_continued() {
    let mut world = World::new(1);
    world.run(seconds(1));
    world.members[0].elector = Elector::new("m0".to_owned(), Timing::default());
    world.members[0].wake = None;
    world.run(seconds(1));
    assert_eq!(world.leaders(), vec![0]);
    assert_eq!(world.api.lease.expect("held").transitions, 0);
}

#[test]
fn candidates_of_one_name_are_two() {
    let (one, two) = (super::holder("node-1"), super::holder("node-1"));
    assert_ne!(one, two);
    assert!(one.starts_with("node-1_"), "{one}");
    let mut world = World::new(2);
    for (member, holder) in world.members.iter_mut().zip([one, two]) {
        member.elector = Elector::new(holder, Timing::default());
    }
    // `run` asserts that never both lead.
    world.run(seconds(60));
    assert_eq!(world.leaders().len(), 1);
}
