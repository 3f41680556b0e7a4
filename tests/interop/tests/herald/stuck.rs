//! A peer that keeps its connection open and takes nothing from it (RFC 9687).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use herald_announce::bgp::Attributes;
use herald_interop::eventually;
use herald_interop::raw::wire::keepalive;
use herald_interop::raw::{RawPeer, Speaker};
use herald_lab::Bare;
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host, many, planned_as};
use crate::support::{ASN, peer};

const STUCK: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
const GOOD: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 3);
const RAW_AS: u32 = 65002;
const SEND_HOLD: Duration = Duration::from_secs(4);

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_9687_a_peer_that_takes_nothing_is_left_and_the_others_do_not_notice() -> Result<()> {
    let bare = Bare::new(&["herald", "raw"])?;
    bare.link(("herald", "eth0"), ("raw", "eth0"))?;
    bare.ip("herald", [format!("addr add {HERALD}/24 dev eth0")])?;
    bare.ip(
        "raw",
        [STUCK, GOOD].map(|own| format!("addr add {own}/24 dev eth0")),
    )?;
    let speaker = Speaker {
        asn: ASN,
        id: HERALD,
        redial: Duration::from_secs(8),
        has_route: None,
        terminate: Arc::new(|| bail!("no case ends this speaker")),
    };
    let raw = bare.netns("raw");
    let [stuck, good] =
        [STUCK, GOOD].map(|own| RawPeer::listen(&raw, own, HERALD, RAW_AS, speaker.clone()));
    let (stuck, good) = (stuck?, good?);
    stuck.take_little()?;
    let peers = [("stuck", STUCK), ("good", GOOD)];
    let peers = peers.map(|(name, own)| peer(name, own.into(), RAW_AS));
    let plans = planned_as(peers.into(), false, |plan| {
        plan.session.timers.send_hold = Some(SEND_HOLD);
    })?;
    let mut herald = Herald::with_plans(&bare.netns("herald"), plans, CancellationToken::new());
    let mut kept = good.establish()?;
    let mut ignored = stuck.establish()?;
    good.settle(&mut kept)?;
    stuck.settle(&mut ignored)?;

    // The stuck one shows signs of life all the time, but reads nothing from here on.
    let begun = Instant::now();
    herald.announce("many", &many(30_000), &Attributes::default());
    eventually(SOON, "the end of the session with the stuck peer", || {
        ignored.send(&keepalive())?;
        let down = herald.last_down("stuck").unwrap_or_default();
        Ok(down.contains("takes nothing from it").then_some(()))
    })?;
    let after = begun.elapsed();
    let longest = SEND_HOLD * 2 + Duration::from_secs(2);
    ensure!(after >= SEND_HOLD && after < longest, "after {after:?}");

    let mut routes = 0;
    for message in good.settle(&mut kept)? {
        if let Some(update) = message.update() {
            routes += update?.announced.len();
        }
    }
    ensure!(routes == 30_000, "{routes} routes at the good peer");
    herald.announce("one", &[host("198.51.100.1/32")], &Attributes::default());
    let more = kept.receive_until(Instant::now() + SOON, |message| {
        let update = message.update()?.ok()?;
        (update.announced.len() == 1).then_some(())
    })?;
    ensure!(more == Ok(()), "{more:?}");
    ensure!(
        herald.last_down("good").is_none(),
        "the good peer's session ended"
    );
    herald.stop()?;
    bare.down();
    Ok(())
}
