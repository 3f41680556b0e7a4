//! The scripted peer's checks: all hold for Herald, and for FRR's bfdd and BIRD but for what is known
//! of these versions.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_bfd::{Path, Settings};
use herald_interop::bfd::{RawBfd, checks};
use herald_interop::raw::cases::Outcome;
use herald_interop::{Config, Router};
use herald_lab::Bare;
use herald_speaker::bfd::{PathFailed, Request};

use crate::speaker::Bfd;

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);

fn peer(n: usize) -> Ipv4Addr {
    let host = u8::try_from(n + 10).expect("there are fewer checks than addresses");
    Ipv4Addr::new(10, 99, 1, host)
}

/// Makes a peer for each check, starts a speaker, and plays the checks at the same time. What is known
/// is named by its check, with a part of what is seen then.
fn run<S>(
    start: impl FnOnce(&Bare) -> Result<S>,
    stop: impl FnOnce(S) -> Result<()>,
    known: &[(&str, &str)],
) -> Result<()> {
    let checks = checks::all();
    let bare = Bare::new(&["router", "raw"])?;
    bare.link(("router", "eth0"), ("raw", "eth0"))?;
    bare.ip("router", [format!("addr add {ROUTER}/24 dev eth0")])?;
    let addresses = (0..checks.len()).map(|n| format!("addr add {}/24 dev eth0", peer(n)));
    bare.ip("raw", addresses)?;
    let raw = bare.netns("raw");
    let mut peers = Vec::new();
    for n in 0..checks.len() {
        peers.push(RawBfd::new(&raw, "eth0", peer(n), ROUTER)?);
    }
    let speaker = start(&bare)?;

    let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
        let threads: Vec<_> = checks
            .iter()
            .zip(&mut peers)
            .map(|(check, peer)| scope.spawn(|| check.run(peer)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().expect("a script does not panic")
        };
        threads.into_iter().map(join).collect()
    });
    let mut wrong = Vec::new();
    for (check, outcome) in checks.iter().zip(&outcomes) {
        let seen = match outcome {
            Ok(outcome) => outcome.to_string(),
            Err(error) => format!("ERROR: {error:#}"),
        };
        println!("{:26} {seen}", check.id);
        let right = match known.iter().find(|(id, _)| *id == check.id) {
            Some((_, how)) => seen.contains(how),
            None => matches!(outcome, Ok(Outcome::AsExpected(_))),
        };
        if !right {
            wrong.push(format!("{}: expected {}, {seen}", check.id, check.expected));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    stop(speaker)?;
    bare.down();
    Ok(())
}

fn run_router(config: &Config, known: &[(&str, &str)]) -> Result<()> {
    let start = |bare: &Bare| Router::start(bare, "router", "router", config);
    let stop = |router: Router| router.stop().context("the router does not end");
    run(start, stop, known)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn herald_passes_all_bfd_checks() -> Result<()> {
    let start = |bare: &Bare| {
        let (bfd, requests) = Bfd::start(&bare.netns("router"));
        for n in 0..checks::all().len() {
            let request = Request {
                path: Path::SingleHop {
                    peer: peer(n).into(),
                    interface: None,
                },
                local: ROUTER.into(),
                vrf: None,
                settings: Settings {
                    transmit_interval: Duration::from_millis(50),
                    receive_interval: Duration::from_millis(50),
                    ..Settings::default()
                },
                failed: PathFailed::default(),
            };
            requests.set(&n.to_string(), Some(request));
        }
        Ok((bfd, requests))
    };
    let stop = |(mut bfd, requests): (Bfd, _)| {
        drop(requests);
        bfd.stop()
    };
    run(start, stop, &[])
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn bird_passes_the_bfd_checks_but_for_what_is_known() -> Result<()> {
    let mut text = format!(
        "router id {ROUTER};
log stderr all;
protocol device {{}}
protocol bfd {{
  interface \"*\" {{ min rx interval 50 ms; min tx interval 50 ms; multiplier 3; }};
"
    );
    for n in 0..checks::all().len() {
        writeln!(text, "  neighbor {} dev \"eth0\" local {ROUTER};", peer(n))?;
    }
    text += "}\n";
    run_router(&Config::Bird(text), BIRD)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn frr_passes_the_bfd_checks_but_for_what_is_known() -> Result<()> {
    let mut bfdd = "bfd\n".to_owned();
    for n in 0..checks::all().len() {
        writeln!(
            bfdd,
            " peer {} local-address {ROUTER} interface eth0\n  detect-multiplier 3\n  \
             receive-interval 50\n  transmit-interval 50\n  no shutdown",
            peer(n)
        )?;
    }
    let config = Config::Frr {
        zebra: String::new(),
        bgpd: "router bgp 65001\n".into(),
        bfdd: Some(bfdd),
    };
    run_router(&config, FRR)
}

/// How BIRD 2.0.12 is known to differ: it takes any port.
const BIRD: &[(&str, &str)] = &[("port", "port ")];

/// How FRR 8.4.4 is: it does not look at the multipoint bit and the authentication bit, and hears a
/// changed interval only with a Poll.
const FRR: &[(&str, &str)] = &[
    ("multipoint", "OTHERWISE"),
    ("authentication", "OTHERWISE"),
    ("receive-zero", "OTHERWISE"),
    ("receive-300", "OTHERWISE"),
];
