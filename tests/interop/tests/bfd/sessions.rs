//! What BFD does for BGP, with FRR and BIRD.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_api::config::bgp::BgpPeer;
use herald_bfd::{Diagnostic, State};
use herald_bgp::session::Reason;
use herald_interop::bfd::RawBfd;
use herald_interop::bfd::packet::{ADMIN_DOWN, DOWN};
use herald_interop::raw::{Message, RawPeer, Speaker};
use herald_interop::{Router, eventually};
use herald_lab::Bare;

use crate::lan::{
    ROUTE, ROUTERS, SOON, cut, lan, mend, peers, routers, wait_all_up, wait_down, wait_route,
};
use crate::speaker::{Herald, ID, profile};
use crate::support::peer;

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_silent_cut_ends_both_sides_within_the_detection_time_and_all_comes_back() -> Result<()> {
    let bare = lan()?;
    let routers = routers(&bare, false)?;
    let mut herald = Herald::start(&bare.netns("herald"), &peers(50), false)?;
    herald.announce(&[ROUTE.parse()?]);
    // A machine that is busy for 150 ms ends BFD by itself. If that was a moment before the cut, only
    // the hold time is left to notice it.
    let mut times = Vec::new();
    let noticed = loop {
        wait_all_up(&herald, &routers)?;
        wait_route(&routers)?;
        cut(&bare)?;
        let noticed = notices(&herald, &routers)?;
        mend(&bare)?;
        times.push(noticed);
        if noticed.is_some() || times.len() == 3 {
            break noticed;
        }
    };
    ensure!(noticed.is_some(), "{times:?}");
    wait_all_up(&herald, &routers)?;
    wait_route(&routers)?;
    herald.stop()?;
    bare.down();
    Ok(())
}

/// How long both sides need to notice that the path is cut; `None` if that is not by BFD, whose
/// detection time is 150 ms.
fn notices(herald: &Herald, routers: &[Router]) -> Result<Option<Duration>> {
    let begun = Instant::now();
    let mut by_bfd = true;
    for router in routers {
        let name = router.name();
        let dropped = eventually(Duration::from_secs(5), &format!("{name} to drop"), || {
            let hops = router.kernel_next_hops(ROUTE.parse()?)?;
            Ok(hops.is_empty().then_some(()))
        });
        if dropped.is_err() {
            return Ok(None);
        }
        println!("the route is gone from {name} after {:?}", begun.elapsed());
        let reason = wait_down(herald, name)?;
        println!("{name}: {reason}");
        by_bfd &= reason.contains("BFD");
    }
    let after = begun.elapsed();
    Ok(Some(after).filter(|after| by_bfd && *after < Duration::from_secs(2)))
}

/// The age of a session shows whether it has ever ended.
fn ensure_older(herald: &Herald, begun: Instant) -> Result<()> {
    for name in ROUTERS {
        let status = herald.status(name).context("a status")?;
        ensure!(
            status.is_up() && status.since <= begun,
            "{name}: {status:?}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn profiles_change_and_go_without_a_flap() -> Result<()> {
    let bare = lan()?;
    let routers = routers(&bare, false)?;
    // The detection time is long enough for any machine.
    let mut herald = Herald::start(&bare.netns("herald"), &peers(300), false)?;
    herald.announce(&[ROUTE.parse()?]);
    wait_all_up(&herald, &routers)?;
    let begun = Instant::now();

    for interval in [400, 200, 300] {
        herald.set_peers(&peers(interval))?;
        for name in ROUTERS {
            let what = format!("{interval} ms with {name}");
            eventually(SOON, &what, || {
                let session = herald.bfd.status(name).and_then(|status| status.session);
                let session = session.context("no session")?;
                let wanted = Duration::from_millis(interval);
                let right = session.transmit_interval == Some(wanted)
                    && session.detection_time == Some(wanted * 3)
                    && !session.polling;
                ensure!(right, "{session:?}");
                Ok(Some(()))
            })?;
        }
    }
    for name in ROUTERS {
        let session = herald.bfd.status(name).and_then(|status| status.session);
        let counters = session.context("no session")?.counters;
        ensure!(
            (counters.ups, counters.downs) == (1, 0),
            "{name}: {counters:?}"
        );
    }

    // BFD goes. The peers are told that it is on purpose, which FRR 8.4 and BIRD 2.0 take as a failure
    // all the same.
    ensure_older(&herald, begun)?;
    let without: Vec<BgpPeer> = peers(300)
        .into_iter()
        .map(|peer| BgpPeer { bfd: None, ..peer })
        .collect();
    herald.set_peers(&without)?;
    for name in ROUTERS {
        eventually(SOON, &format!("the end of the session with {name}"), || {
            ensure!(herald.bfd.status(name).is_none(), "BFD goes on");
            let status = herald.status(name).context("a status")?;
            let last = status.last_down.context("none has ended")?;
            let by_peer = matches!(last.1.reason, Reason::Notified(_));
            ensure!(by_peer, "ended here: {}", last.1);
            Ok(status.up.map(drop))
        })?;
    }
    // It comes again, which no session notices.
    let begun = Instant::now();
    herald.set_peers(&peers(300))?;
    wait_all_up(&herald, &routers)?;
    ensure_older(&herald, begun)?;
    herald.stop()?;
    bare.down();
    Ok(())
}

const SCRIPT: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 9);

fn scripted(bare: &Bare) -> Result<(RawPeer, RawBfd)> {
    bare.link(("herald", "eth0"), ("raw", "eth0"))?;
    bare.ip("herald", [format!("addr add {ID}/24 dev eth0")])?;
    bare.ip("raw", [format!("addr add {SCRIPT}/24 dev eth0")])?;
    let raw = bare.netns("raw");
    let speaker = Speaker {
        asn: 65001,
        id: ID,
        redial: Duration::from_secs(8),
        has_route: None,
        terminate: Arc::new(|| Ok(())),
    };
    let bgp = RawPeer::listen(&raw, SCRIPT, ID, 65002, speaker)?;
    Ok((bgp, RawBfd::new(&raw, "eth0", SCRIPT, ID)?))
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_peer_that_says_admin_down_keeps_bgp_and_one_that_falls_silent_gets_a_cease() -> Result<()> {
    let bare = Bare::new(&["herald", "raw"])?;
    let (bgp, mut bfd) = scripted(&bare)?;
    let wanted = BgpPeer {
        bfd: Some(profile(50)),
        ..peer("raw", SCRIPT.into(), 65002)
    };
    let mut herald = Herald::start(&bare.netns("herald"), std::slice::from_ref(&wanted), false)?;
    let mut connection = bgp.establish()?;
    bfd.up()?;

    bfd.packet.state = ADMIN_DOWN;
    bfd.run(Duration::from_secs(1))?;
    let status = herald.bfd.status("raw").and_then(|status| status.session);
    let status = status.context("no session")?;
    ensure!(
        (status.state, status.diagnostic) == (State::Down, Diagnostic::NeighborSignaledDown),
        "{status:?}"
    );
    ensure!(herald.status("raw").is_some_and(|status| status.is_up()));

    // Nor does Herald's own end of it touch BGP.
    bfd.up()?;
    let without = BgpPeer {
        bfd: None,
        ..wanted.clone()
    };
    herald.set_peers(&[without])?;
    let (heard, told) = bfd.run_until(Duration::from_secs(1), |one| {
        (one.packet.state, one.packet.diagnostic) == (ADMIN_DOWN, 7)
    })?;
    ensure!(told, "{:?}", heard.last());
    bfd.packet.state = DOWN;
    bfd.run(Duration::from_secs(1))?;
    let late = bfd.run(Duration::from_secs(1))?;
    ensure!(late.is_empty(), "{:?}", late.last());
    ensure!(herald.status("raw").is_some_and(|status| status.is_up()));

    herald.set_peers(&[wanted])?;
    bfd.up()?;
    bfd.silent = true;
    let deadline = Instant::now() + Duration::from_secs(10);
    let code = connection.receive_until(deadline, |message: &Message| {
        let (code, subcode, _) = message.notification()?;
        Some((code, subcode))
    })?;
    // RFC 9384.
    ensure!(matches!(code, Ok((6, 10))), "{code:?}");
    let reason = wait_down(&herald, "raw")?;
    ensure!(reason.contains("BFD"), "{reason}");
    herald.stop()?;
    bare.down();
    Ok(())
}
