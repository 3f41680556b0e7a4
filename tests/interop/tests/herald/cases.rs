//! Herald's own sessions by every case of the scripted peers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_announce::bgp::Attributes;
use herald_api::config::bgp::Connection;
use herald_interop::raw::cases::{self, Case, Outcome};
use herald_interop::raw::{RawPeer, Speaker};
use herald_lab::Bare;
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, host};
use crate::support::{ASN, peer};

/// The case's own peer.
fn script_address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 1, u8::try_from(n + 10).expect("few cases"))
}

fn script_as(case: &Case) -> u32 {
    if case.internal { ASN } else { 65002 }
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn herald_takes_every_case_as_the_rfcs_say() -> Result<()> {
    let cases = cases::all();
    let bare = Bare::new(&["herald", "raw"])?;
    bare.link(("herald", "eth0"), ("raw", "eth0"))?;
    bare.ip(
        "herald",
        [
            "addr add 10.99.1.1/24 dev eth0",
            "addr add fd99:1::1/64 dev eth0 nodad",
        ],
    )?;
    let mut lines = vec!["addr add fd99:1::2/64 dev eth0 nodad".to_owned()];
    lines.extend((0..cases.len()).map(|n| format!("addr add {}/24 dev eth0", script_address(n))));
    bare.ip("raw", lines)?;

    let end = CancellationToken::new();
    let asked = end.clone();
    let speaker = Speaker {
        asn: ASN,
        id: HERALD,
        redial: Duration::from_secs(8),
        has_route: None,
        terminate: Arc::new(move || {
            asked.cancel();
            Ok(())
        }),
    };
    let raw = bare.netns("raw");
    let mut scripts = Vec::new();
    let mut sessions = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        let (address, asn) = (script_address(n), script_as(case));
        scripts.push(RawPeer::listen(
            &raw,
            address,
            HERALD,
            asn,
            speaker.clone(),
        )?);
        let mut session = peer(case.id, address.into(), asn);
        if case.dials {
            session.connection = Connection::Both;
        }
        sessions.push(session);
    }
    let mut herald = Herald::start(&bare.netns("herald"), sessions, end)?;
    let prefixes = ["198.51.100.1/32", "198.51.100.2/32", "fd98::1/128"].map(host);
    herald.announce("web", &prefixes, &Attributes::default());

    let mut outcomes: BTreeMap<&str, Result<Outcome>> = BTreeMap::new();
    for last in [false, true] {
        thread::scope(|scope| {
            let these = cases.iter().zip(&scripts);
            let threads: Vec<_> = these
                .filter(|(case, _)| case.ends_speaker() == last)
                .map(|(case, script)| (case.id, scope.spawn(|| case.run(script))))
                .collect();
            for (id, thread) in threads {
                let outcome = thread.join().expect("a script does not panic");
                outcomes.insert(id, outcome);
            }
        });
    }
    herald.stop()?;
    let mut wrong = Vec::new();
    for case in &cases {
        let outcome = outcomes.get(case.id).context("a case has not run")?;
        let seen = match outcome {
            Ok(outcome) => outcome.to_string(),
            Err(error) => format!("ERROR: {error:#}"),
        };
        println!("{:4} {:60} {seen}", case.id, case.what);
        if !matches!(outcome, Ok(Outcome::AsExpected(_))) {
            let (id, what, expected) = (case.id, case.what, case.expected);
            wrong.push(format!("{id} ({what}): expected {expected}, {seen}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    bare.down();
    Ok(())
}
