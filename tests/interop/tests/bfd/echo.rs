//! Echo packets, with FRR.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use herald_api::config::bgp::BgpPeer;
use herald_bfd::{Diagnostic, Discard, EchoOff, EchoStatus, Status};
use herald_interop::{Config, Router, eventually};
use herald_lab::Bare;
use herald_netsys::bfd_echo::{Datagram, Sender};

use crate::lan::{SOON, address, asn, cut, lan, mend, wait_down, wait_up};
use crate::speaker::{Herald, ID, profile};
use crate::support::peer;

/// FRR that sends echo packets, and takes them, every 50 ms; control packets go every 300 ms. It has
/// the kernel return those of others.
fn frr(bare: &Bare) -> Result<Router> {
    forward(bare, "frr", true)?;
    let config = Config::Frr {
        zebra: String::new(),
        bgpd: format!(
            "router bgp {}\n bgp router-id {}\n no bgp ebgp-requires-policy\n \
             neighbor {ID} remote-as 65001\n neighbor {ID} passive\n neighbor {ID} bfd\n \
             neighbor {ID} bfd profile echo\n",
            asn(0),
            address(0)
        ),
        bfdd: Some(
            "bfd\n profile echo\n  echo-mode\n  echo transmit-interval 50\n  \
             echo receive-interval 50\n"
                .into(),
        ),
    };
    Router::start(bare, "frr", "frr", &config)
}

/// Switches the forwarding plane of a part on or off. Neither BGP nor control packets need it.
fn forward(bare: &Bare, part: &str, on: bool) -> Result<()> {
    let value = format!("net.ipv4.ip_forward={}", u8::from(on));
    bare.exec(part, &["sysctl", "-qw", &value]).map(drop)
}

fn herald(bare: &Bare, echo: bool) -> Result<Herald> {
    let mut bfd = profile(300);
    bfd.profile.echo_mode = echo;
    let wanted = BgpPeer {
        bfd: Some(bfd),
        ..peer("frr", address(0), asn(0))
    };
    // Its kernel returns nothing: what comes back to FRR is from Herald.
    forward(bare, "herald", false)?;
    Herald::start(&bare.netns("herald"), &[wanted], false)
}

fn session(herald: &Herald) -> Result<Status> {
    let status = herald.bfd.status("frr").context("it is watched")?;
    status.session.context("there is a session")
}

/// How many echo packets Herald and FRR have sent, and how many of each came back.
fn counted(herald: &Herald, frr: &Router) -> Result<[(u64, u64); 2]> {
    let counters = session(herald)?.counters;
    let of_frr = frr.bfd()?.first().and_then(|session| session.echoes);
    let of_frr = of_frr.context("FRR tells of echo packets")?;
    Ok([(counters.echo_sent, counters.echo_received), of_frr])
}

/// Waits until so many more have come back to both.
fn wait_returned(herald: &Herald, frr: &Router, more: u64) -> Result<()> {
    let [ours, its] = counted(herald, frr)?.map(|(_, returned)| returned + more);
    eventually(SOON, "echo packets that come back on both sides", || {
        let [(_, here), (_, there)] = counted(herald, frr)?;
        Ok((here >= ours && there >= its).then_some(()))
    })
}

/// The session stays up while 40 echo packets come back. A machine that is busy for 150 ms may end it
/// by itself, but not three times.
fn stays_up(herald: &Herald, frr: &Router) -> Result<()> {
    for _ in 0..3 {
        wait_up(herald, frr, ID.into())?;
        let before = session(herald)?.counters.downs;
        wait_returned(herald, frr, 40)?;
        if session(herald)?.counters.downs == before {
            return Ok(());
        }
    }
    bail!("it goes down again and again: {:?}", session(herald)?);
}

fn wait_diagnostic(herald: &Herald, expected: Diagnostic) -> Result<()> {
    eventually(SOON, "the diagnostic", || {
        Ok((session(herald)?.diagnostic == expected).then_some(()))
    })
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn echo_packets_go_both_ways_and_notice_a_cut_before_control_packets_do() -> Result<()> {
    let bare = lan()?;
    let frr = frr(&bare)?;
    let mut herald = herald(&bare, true)?;
    wait_up(&herald, &frr, ID.into())?;
    wait_returned(&herald, &frr, 40)?;
    let status = session(&herald)?;
    let on = EchoStatus::On {
        interval: Duration::from_millis(50),
        detection_time: Duration::from_millis(150),
    };
    ensure!(status.echo == Some(on), "{status:?}");
    let peers = status.peer.context("FRR is heard")?;
    ensure!(peers.required_min_echo_rx == Duration::from_millis(50));
    // A node that forwards returns FRR's packets as well, so that each comes back twice.
    forward(&bare, "herald", true)?;
    let [_, (sent, returned)] = counted(&herald, &frr)?;
    stays_up(&herald, &frr)?;
    let [_, (sent_since, returned_since)] = counted(&herald, &frr)?;
    let (sent, returned) = (sent_since - sent, returned_since - returned);
    ensure!(returned > sent * 3 / 2, "{returned} of {sent}");
    cut(&bare)?;
    let begun = Instant::now();
    wait_diagnostic(&herald, Diagnostic::EchoFailed)?;
    println!("the cut was noticed after {:?}", begun.elapsed());
    let reason = wait_down(&herald, "frr")?;
    ensure!(reason.contains("BFD"), "{reason}");
    mend(&bare)?;
    wait_up(&herald, &frr, ID.into())?;
    wait_returned(&herald, &frr, 10)?;
    herald.stop()?;
    bare.down();
    Ok(())
}

/// Forged and doubled packets meanwhile do not keep the session up.
#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_router_that_forwards_no_longer_is_left_though_its_control_packets_go_on() -> Result<()> {
    let bare = lan()?;
    let frr = frr(&bare)?;
    let mut herald = herald(&bare, true)?;
    wait_up(&herald, &frr, ID.into())?;
    wait_returned(&herald, &frr, 20)?;
    let stale = |herald: &Herald| {
        let statuses = herald.bfd.statuses.borrow();
        statuses.discards.count(Discard::EchoStale)
    };
    ensure!(stale(&herald) == 0, "all were ours, and came back once");
    // The session's own number, and what a stranger might guess of the rest.
    let number = frr.bfd()?.first().and_then(|it| it.remote_discriminator);
    let number = number.context("FRR tells of the session's number")?;
    let forged = [&number.to_be_bytes()[..], &[0; 12]].concat();
    let sender = bare.netns("frr").run(|| Sender::open(ID, None))??;
    let forge = || -> Result<()> {
        let packet = Datagram::new(ID, &forged).returned();
        sender.send(&packet)?;
        Ok(())
    };
    forge()?;
    eventually(SOON, "a forged packet that is counted", || {
        Ok((stale(&herald) > 0).then_some(()))
    })?;
    forward(&bare, "frr", false)?;
    eventually(SOON, "the end of the session", || {
        forge()?;
        Ok((session(&herald)?.diagnostic == Diagnostic::EchoFailed).then_some(()))
    })?;
    let reason = wait_down(&herald, "frr")?;
    ensure!(reason.contains("BFD"), "{reason}");
    forward(&bare, "frr", true)?;
    wait_up(&herald, &frr, ID.into())?;
    wait_returned(&herald, &frr, 10)?;
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_router_that_never_forwarded_and_one_without_echo_are_watched_by_control_packets() -> Result<()>
{
    let bare = lan()?;
    let frr = frr(&bare)?;
    // It says that it takes echo packets all the same.
    forward(&bare, "frr", false)?;
    let mut with = herald(&bare, true)?;
    wait_up(&with, &frr, ID.into())?;
    eventually(SOON, "a word about echo packets that stay away", || {
        let echo = session(&with)?.echo;
        Ok((echo == Some(EchoStatus::Off(EchoOff::Unanswered))).then_some(()))
    })?;
    thread::sleep(Duration::from_secs(1));
    let status = session(&with)?;
    ensure!(status.counters.downs == 0, "{status:?}");
    with.stop()?;

    // Without echo FRR is told to send none, and none are sent to it.
    let mut without = herald(&bare, false)?;
    wait_up(&without, &frr, ID.into())?;
    let [_, (before, _)] = counted(&without, &frr)?;
    thread::sleep(Duration::from_secs(1));
    let [ours, (after, _)] = counted(&without, &frr)?;
    ensure!(ours == (0, 0), "{ours:?}");
    ensure!(before == after, "FRR sent {before}, and then {after}");
    without.stop()?;
    bare.down();
    Ok(())
}
