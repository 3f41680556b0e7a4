//! Two sessions against each other: whatever the network does, they come up, on one connection.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::net::{Net, config};
use super::script::secs;
use crate::routes::Path;
use crate::session::{Config, Direction, Down, Event, Reason, Restart, Session, Stop};
use crate::wire::{ErrorCode, Notification, Prefix};

fn both(host: usize) -> Config {
    Config {
        direction: Direction::Both,
        ..config(host)
    }
}

fn one_dials() -> [Config; 2] {
    let accepts = Config {
        direction: Direction::Accept,
        ..config(1)
    };
    [config(0), accepts]
}

fn graceful(mut config: Config) -> Config {
    config.restart = Some(Restart {
        time: 60,
        long_lived: None,
        restarted: Some(Instant::now() + Duration::from_mins(2)),
        forwarding_kept: true,
    });
    config
}

fn prefix(number: u32) -> Prefix {
    Prefix::new(Ipv4Addr::from(0x0a00_0000 + number).into(), 32).unwrap()
}

/// Asserts that both are up on the only connection there is, and stay so.
#[track_caller]
fn assert_settled(net: &mut Net, seed: u64) {
    assert!(
        net.is_up(),
        "seed {seed}: {} and {}",
        net.hosts[0].session.state(),
        net.hosts[1].session.state()
    );
    let ups = net.hosts.each_ref().map(|host| host.session.counters().ups);
    net.pass(secs(60));
    assert!(net.is_up(), "seed {seed}");
    let still = net.hosts.each_ref().map(|host| host.session.counters().ups);
    assert_eq!(ups, still, "seed {seed}: it went down again");
    assert_eq!(net.open_wires(), 1, "seed {seed}");
}

/// Asserts that each has exactly what the other one announces.
#[track_caller]
fn assert_routes(net: &Net, seed: u64) {
    for (from, to) in [(0, 1), (1, 0)] {
        let (from, rib) = (&net.hosts[from], net.rib(to));
        let outbound = from.feed.outbound().expect("it is up");
        let told: BTreeMap<_, _> = from.table.advertised(outbound).collect();
        assert_eq!(told.len(), from.table.len(), "seed {seed}");
        let has: Vec<_> = rib.routes.keys().collect();
        assert_eq!(has, told.keys().collect::<Vec<_>>(), "seed {seed}");
        for (prefix, attributes) in &rib.routes {
            let (med, _) = attributes[&4].split_first_chunk().unwrap();
            let expected = told[prefix].med().unwrap();
            assert_eq!(u32::from_be_bytes(*med), expected, "seed {seed}");
        }
        assert_eq!(rib.ends.len(), 2, "seed {seed}");
    }
}

fn change_routes(net: &mut Net) {
    for host in 0..2 {
        for _ in 0..net.rng.random_range(0..20) {
            let prefix = prefix(net.rng.random_range(0..50));
            if net.rng.random_bool(0.3) {
                net.hosts[host].table.remove(prefix);
            } else {
                let mut path = Path::default();
                path.attributes.med = Some(net.rng.random_range(0..5));
                net.hosts[host].table.set(prefix, &[path]);
            }
        }
    }
    net.fill();
}

#[test]
fn a_session_is_up_two_round_trips_after_the_start() {
    let mut net = Net::new(1, one_dials());
    net.delay = (Duration::from_millis(10), Duration::from_millis(10));
    net.start_both();
    net.pass(Duration::from_millis(39));
    assert!(!net.is_up());
    net.pass(Duration::from_millis(1));
    assert!(net.is_up());
    assert_settled(&mut net, 1);
}

#[test]
fn of_two_that_dial_at_the_same_time_one_connection_is_kept() {
    let (mut at_once, mut again) = (0, 0);
    for seed in 0..3000 {
        let mut net = Net::new(seed, [both(0), both(1)]);
        let head_start = Duration::from_micros(net.rng.random_range(0..3000));
        net.start(usize::from(seed % 2 == 0));
        net.pass(head_start);
        net.start(usize::from(seed % 2 == 1));
        net.pass(secs(30));
        assert_settled(&mut net, seed);
        for host in &net.hosts {
            assert_eq!(host.session.counters().downs, 0, "seed {seed}");
        }
        match net.hosts[0].session.counters().dials {
            1 => at_once += 1,
            _ => again += 1,
        }
    }
    // Each side may drop another one (RFC 4271 6.8 knows no way around that); it is rare.
    assert!(again < at_once / 20, "{again} of {at_once}");
}

#[test]
fn it_comes_up_through_trouble_and_each_has_the_others_routes() {
    for seed in 0..1500 {
        let configs = match seed % 3 {
            0 => one_dials(),
            1 => [both(0), both(1)],
            _ => [graceful(both(0)), graceful(both(1))],
        };
        let mut net = Net::new(seed, configs);
        net.start_both();
        for _ in 0..net.rng.random_range(1..8) {
            trouble(&mut net);
            for _ in 0..4 {
                let pause = net.rng.random_range(0..5000);
                net.pass(Duration::from_millis(pause));
                change_routes(&mut net);
            }
        }
        net.listening = [true; 2];
        net.delay = (Duration::from_micros(50), Duration::from_millis(2));
        net.start_both();
        // The longest: the partition, the hold time, the wait for OPEN and the waits.
        net.pass(secs(90));
        assert_settled(&mut net, seed);
        net.fill();
        net.pass(secs(1));
        assert_routes(&net, seed);
    }
}

fn trouble(net: &mut Net) {
    match net.rng.random_range(0..11) {
        0 => net.break_all(),
        1 => net.kill_silently(&[0, 1]),
        2 => {
            let time = net.rng.random_range(1..20_000);
            net.partitioned = Some(net.now + Duration::from_millis(time));
        }
        3 => {
            let most = net.rng.random_range(3..500);
            net.delay = (Duration::from_micros(50), Duration::from_millis(most));
        }
        4 => {
            let host = net.rng.random_range(0..2);
            net.listening[host] = !net.listening[host];
        }
        5 => {
            let host = net.rng.random_range(0..2);
            let config = net.hosts[host].session.config().clone();
            let seed = net.rng.random();
            net.restart(host, config, seed);
        }
        6 => {
            let host = net.rng.random_range(0..2);
            let stop = match net.rng.random_range(0..4) {
                0 => Stop::Silently,
                1 => Stop::Shutdown("for a while".into()),
                2 => Stop::Deconfigured,
                _ => Stop::Reset("again".into()),
            };
            net.tell(host, |session, now| session.stop(now, &stop));
        }
        7 => {
            let host = net.rng.random_range(0..2);
            net.kill_silently(&[host]);
        }
        8 => {
            // The node has no time for the process, or the process is stopped.
            let (host, time) = (net.rng.random_range(0..2), net.rng.random_range(1..30_000));
            net.hosts[host].frozen = Some(net.now + Duration::from_millis(time));
        }
        9 => {
            let host = net.rng.random_range(0..2);
            let mut config = net.hosts[host].session.config().clone();
            config.timers.hold = net.rng.random_range(9..12);
            config.extended_messages = net.rng.random();
            net.tell(host, |session, now| {
                session.reconfigure(now, config);
            });
        }
        _ => net.tell(0, Session::handle_bfd_down),
    }
}

#[test]
fn a_partition_is_noticed_by_both_within_the_hold_time() {
    for seed in 0..200 {
        let mut net = Net::new(seed, one_dials());
        net.start_both();
        net.pass(secs(5));
        net.partitioned = Some(net.now + secs(60));
        net.pass(secs(9) + Duration::from_millis(10));
        for host in &net.hosts {
            let down = host.events.iter().find_map(|(at, event)| match event {
                Event::Down(Down {
                    reason: Reason::HoldExpired(9),
                    ..
                }) => Some(*at),
                _ => None,
            });
            let down = down.unwrap_or_else(|| panic!("seed {seed}: {:?}", host.events));
            assert!(down >= secs(5 + 6) && down <= secs(5 + 9), "{down:?}");
        }
        net.pass(secs(120));
        assert_settled(&mut net, seed);
    }
}

#[test]
fn a_delay_or_a_short_partition_brings_nothing_down() {
    for seed in 0..100 {
        let mut net = Net::new(seed, one_dials());
        net.start_both();
        net.pass(secs(5));
        for _ in 0..10 {
            net.partitioned = Some(net.now + secs(5));
            net.pass(secs(15));
        }
        net.delay = (Duration::from_millis(1), secs(2));
        net.pass(secs(200));
        for host in &net.hosts {
            assert_eq!(host.session.counters().downs, 0, "seed {seed}");
        }
    }
}

#[test]
fn what_one_says_at_the_end_the_other_one_hears() {
    let mut net = Net::new(1, one_dials());
    net.start_both();
    net.pass(secs(1));
    let stop = Stop::Shutdown("node is drained".into());
    net.tell(0, |session, now| session.stop(now, &stop));
    net.pass(secs(1));
    let said = Notification::with_text(ErrorCode::ADMINISTRATIVE_SHUTDOWN, "node is drained");
    assert_eq!(net.hosts[0].session.last_sent(), Some(&said));
    assert_eq!(net.hosts[1].session.last_received(), Some(&said));
}

#[test]
fn many_routes_pass_small_windows_and_stalls_whole_and_nobody_waits_for_ever() {
    for seed in 0..12 {
        let mut net = Net::new(seed, one_dials());
        for number in 0..20_000 {
            let mut path = Path::default();
            path.attributes.med = Some(number % 7);
            net.hosts[0].table.set(prefix(number), &[path]);
        }
        net.start_both();
        for _ in 0..3 {
            net.pass(Duration::from_millis(30));
            // Shorter than the hold time: nothing may come of it.
            net.hosts[1].frozen = Some(net.now + secs(5));
            for number in 0..2000 {
                net.hosts[0].table.remove(prefix(number * 3));
            }
            net.fill();
            net.pass(secs(7));
        }
        net.pass(secs(60));
        for host in &net.hosts {
            assert_eq!(host.session.counters().downs, 0, "seed {seed}");
        }
        assert_settled(&mut net, seed);
        assert_routes(&net, seed);
    }
}

#[test]
fn a_peer_that_is_away_is_dialled_less_and_less() {
    for seed in 0..100 {
        let mut net = Net::new(seed, one_dials());
        net.listening = [false; 2];
        net.start_both();
        net.pass(secs(300));
        // 1, 2 and 4 s, then 5 s each, less up to a quarter.
        let dials = net.hosts[0].session.counters().dials;
        assert!((60..=85).contains(&dials), "seed {seed}: {dials}");
        net.listening = [true; 2];
        net.pass(secs(6));
        assert_settled(&mut net, seed);
    }
}
