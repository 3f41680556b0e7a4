//! The conformance cases against BIRD and FRR: the scripts are right if speakers that the world runs
//! take them as expected, but for what is known of these versions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_interop::raw::cases::{self, Case, Outcome};
use herald_interop::raw::{RawPeer, Speaker};
use herald_interop::{Config, Router};
use herald_lab::Bare;

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
const ASN: u32 = 65001;
const PEERS: u32 = 65002;

/// The case's own peer.
fn peer(n: usize) -> Ipv4Addr {
    let host = u8::try_from(n + 10).expect("there are fewer cases than addresses");
    Ipv4Addr::new(10, 99, 1, host)
}

/// The AS of a case's peer.
fn peer_as(case: &Case) -> u32 {
    if case.internal { ASN } else { PEERS }
}

fn network(cases: usize) -> Result<Bare> {
    let bare = Bare::new(&["router", "raw"])?;
    bare.link(("router", "eth0"), ("raw", "eth0"))?;
    let own = [
        format!("addr add {ROUTER}/24 dev eth0"),
        "addr add fd99:1::1/64 dev eth0 nodad".into(),
    ];
    bare.ip("router", own)?;
    let mut lines = vec!["addr add fd99:1::2/64 dev eth0 nodad".to_owned()];
    lines.extend((0..cases).map(|n| format!("addr add {}/24 dev eth0", peer(n))));
    bare.ip("raw", lines)?;
    Ok(bare)
}

/// Runs all cases at once, those that end the speaker at last. What came of each.
fn run(config: &Config, redial: Duration, known: &[(&str, &str)]) -> Result<()> {
    let cases = cases::all();
    let bare = network(cases.len())?;
    let router: Arc<std::sync::OnceLock<Router>> = Arc::default();
    let (eye, end) = (Arc::clone(&router), Arc::clone(&router));
    let speaker = Speaker {
        asn: ASN,
        id: ROUTER,
        redial,
        has_route: Some(Arc::new(move |prefix| {
            let router = eye.get().context("the router has not started")?;
            Ok(!router.paths(prefix)?.is_empty())
        })),
        terminate: Arc::new(move || {
            let router = end.get().context("the router has not started")?;
            router.stop()
        }),
    };
    let raw = bare.netns("raw");
    let mut peers = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        let speaker = speaker.clone();
        peers.push(RawPeer::listen(
            &raw,
            peer(n),
            ROUTER,
            peer_as(case),
            speaker,
        )?);
    }
    let started = Router::start(&bare, "router", "router", config)?;
    ensure!(router.set(started).is_ok(), "started twice");

    let mut outcomes: BTreeMap<&str, Result<Outcome>> = BTreeMap::new();
    let start = Instant::now();
    for last in [false, true] {
        thread::scope(|scope| {
            let all = cases.iter().zip(&peers);
            let threads: Vec<_> = all
                .filter(|(case, _)| case.ends_speaker() == last)
                .map(|(case, peer)| (case.id, scope.spawn(|| case.run(peer))))
                .collect();
            for (id, thread) in threads {
                let outcome = thread.join().expect("a script does not panic");
                outcomes.insert(id, outcome);
            }
        });
        // A machine that is busy spoils a case now and then, and a wrong speaker each time.
        for (case, peer) in cases.iter().zip(&peers) {
            let seen = outcomes.get(case.id).filter(|_| !last);
            if seen.is_some_and(|seen| !is_as_known(case, seen, known)) {
                outcomes.insert(case.id, case.run(peer));
            }
        }
    }
    println!("{} cases in {:?}", cases.len(), start.elapsed());

    let mut wrong = Vec::new();
    for case in &cases {
        let outcome = outcomes.get(case.id).context("a case has not run")?;
        let seen = in_words(outcome);
        println!("{:4} {:60} {seen}", case.id, case.what);
        if !is_as_known(case, outcome, known) {
            wrong.push(format!(
                "{} ({}): expected {}, {seen}",
                case.id, case.what, case.expected
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    bare.down();
    Ok(())
}

fn in_words(outcome: &Result<Outcome>) -> String {
    match outcome {
        Ok(outcome) => outcome.to_string(),
        Err(error) => format!("ERROR: {error:#}"),
    }
}

/// As it should be, or in the way that is known of this speaker.
fn is_as_known(case: &Case, outcome: &Result<Outcome>, known: &[(&str, &str)]) -> bool {
    match known.iter().find(|(id, _)| *id == case.id) {
        Some((_, ways)) => {
            let seen = in_words(outcome);
            ways.split('|').any(|how| seen.contains(how))
        }
        None => matches!(outcome, Ok(Outcome::AsExpected(_))),
    }
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn bird_takes_the_cases_as_it_is_known_to() -> Result<()> {
    let mut text = format!(
        "router id {ROUTER};
log stderr all;
protocol device {{}}
protocol static s4 {{ ipv4; route 198.51.100.1/32 blackhole; route 198.51.100.2/32 blackhole; }}
protocol static s6 {{ ipv6; route fd98::1/128 blackhole; }}
template bgp T {{
  local {ROUTER} as {ASN};
  connect delay time 1; connect retry time 1; error wait time 1,2; error forget time 1;
  ipv4 {{ import all; export where source = RTS_STATIC; next hop self; }};
  ipv6 {{ import all; export where source = RTS_STATIC; next hop self; }};
}}
"
    );
    for (n, case) in cases::all().iter().enumerate() {
        let asn = peer_as(case);
        writeln!(
            text,
            "protocol bgp p{n} from T {{ neighbor {} as {asn}; }}",
            peer(n)
        )?;
    }
    run(&Config::Bird(text), Duration::from_secs(8), BIRD)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn frr_takes_the_cases_as_it_is_known_to() -> Result<()> {
    let mut text = format!(
        "ip prefix-list OWN seq 5 permit 198.51.100.0/24 le 32
router bgp {ASN}
 bgp router-id {ROUTER}
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp coalesce-time 100
"
    );
    let mut six = String::new();
    for (n, case) in cases::all().iter().enumerate() {
        let (address, asn) = (peer(n), peer_as(case));
        writeln!(
            text,
            " neighbor {address} remote-as {asn}\n neighbor {address} timers connect 1\n \
             neighbor {address} prefix-list OWN out"
        )?;
        writeln!(six, "  neighbor {address} activate")?;
    }
    writeln!(
        text,
        " address-family ipv4 unicast\n  network 198.51.100.1/32\n  network 198.51.100.2/32\n \
         exit-address-family\n address-family ipv6 unicast\n  network fd98::1/128\n{six} \
         exit-address-family"
    )?;
    run(&Config::frr(text), Duration::from_secs(8), FRR)
}

/// How BIRD 2.0.12 is known to take cases in its own way: a part of what is seen, or
/// several.
const BIRD: &[(&str, &str)] = &[
    ("h3", "NOTIFICATION 1/2"),
    ("h4", "OTHERWISE: silence"),
    ("o1", "OTHERWISE: NOTIFICATION 2/1"),
    ("o20", "OTHERWISE: NOTIFICATION 2/7"),
    // Sometimes twice the hold time.
    ("t1", "NOTIFICATION 4/0"),
    ("f3", "OTHERWISE: silence"),
    ("u8", "OTHERWISE: silence"),
    ("a1", "OTHERWISE: the route is there"),
    ("x1", "OTHERWISE: long messages are not offered"),
];

/// How FRR 8.4.4 is: after an attribute to be treated as withdrawn it reads the routes wrongly.
const FRR: &[(&str, &str)] = &[
    ("o20", "OTHERWISE: NOTIFICATION 2/7"),
    ("o21", "OTHERWISE: no session: NOTIFICATION 2/4"),
    ("t2", "OTHERWISE: gaps"),
    ("f4", "OTHERWISE: closed"),
    ("u1", "OTHERWISE: NOTIFICATION 3/10|the route is gone"),
    ("u2", "OTHERWISE: NOTIFICATION 3/10|the route is gone"),
    ("u5", "OTHERWISE: NOTIFICATION 3/10|the route is gone"),
    ("u7", "OTHERWISE: NOTIFICATION 3/10|the route is gone"),
    ("u8", "OTHERWISE: NOTIFICATION 3/1"),
    ("u11", "OTHERWISE: NOTIFICATION 3/5"),
    ("u14", "OTHERWISE: NOTIFICATION 3/1"),
    ("u16", "OTHERWISE: NOTIFICATION 3/1"),
    ("u18", "OTHERWISE: closed"),
    ("r2", "OTHERWISE: BoRR false"),
    ("r3", "OTHERWISE: NOTIFICATION 6/0"),
    // It answers a refresh within seconds, or not at all.
    ("x3", "as expected|OTHERWISE: no answer to a refresh"),
];
