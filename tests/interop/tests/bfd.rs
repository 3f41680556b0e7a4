//! The BFD checks against FRR's bfdd and BIRD: all hold but what is known of these versions.
#![cfg(test)]

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use herald_interop::bfd::{RawBfd, checks};
use herald_interop::raw::cases::Outcome;
use herald_interop::{Config, Router};
use herald_lab::Bare;

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);

fn peer(n: usize) -> Ipv4Addr {
    let host = u8::try_from(n + 10).expect("there are fewer checks than addresses");
    Ipv4Addr::new(10, 99, 1, host)
}

fn run(config: &Config, known: &[(&str, &str)]) -> Result<()> {
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
    let router = Router::start(&bare, "router", "router", config)?;

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
    router.stop().context("the router does not end")?;
    bare.down();
    Ok(())
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
    run(&Config::Bird(text), BIRD)
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
    run(&config, FRR)
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
