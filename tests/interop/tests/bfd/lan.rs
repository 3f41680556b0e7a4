//! A network with Herald, FRR and BIRD.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use herald_api::config::bgp::BgpPeer;
use herald_interop::{Config, Router, eventually};
use herald_lab::Bare;

use crate::speaker::{Herald, ID, profile};
use crate::support::peer;

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// What Herald announces.
pub(crate) const ROUTE: &str = "198.51.100.1/32";

/// At 10.99.1.2 and so on, in AS 65002 and so on.
pub(crate) const ROUTERS: [&str; 2] = ["frr", "bird"];

pub(crate) fn address(n: usize) -> IpAddr {
    IpAddr::from([10, 99, 1, u8::try_from(n + 2).expect("few routers")])
}

pub(crate) fn asn(n: usize) -> u32 {
    65002 + u32::try_from(n).expect("few routers")
}

/// A LAN: Herald at 10.99.1.1, `fd99:1::1` and `fe80::1`, the routers behind it.
pub(crate) fn lan() -> Result<Bare> {
    let bare = Bare::new(&["hub", "herald", "frr", "bird"])?;
    bare.ip(
        "hub",
        [
            "link add br0 type bridge forward_delay 0 mcast_snooping 0",
            "link set br0 up",
        ],
    )?;
    for (host, part) in (1..).zip(["herald", "frr", "bird"]) {
        bare.link(("hub", part), (part, "eth0"))?;
        bare.ip("hub", [format!("link set {part} master br0")])?;
        bare.ip(
            part,
            [
                format!("addr add 10.99.1.{host}/24 dev eth0"),
                format!("addr add fd99:1::{host}/64 dev eth0 nodad"),
                format!("addr add fe80::{host}/64 dev eth0 nodad"),
            ],
        )?;
    }
    Ok(bare)
}

/// Cuts Herald off without a word: its own end of the cable stays up.
pub(crate) fn cut(bare: &Bare) -> Result<()> {
    bare.ip("hub", ["link set herald nomaster"])
}

pub(crate) fn mend(bare: &Bare) -> Result<()> {
    bare.ip("hub", ["link set herald master br0"])
}

/// With BFD of 50 ms times 3; takes up again soon what has failed. `graceful`: BIRD is to keep the
/// routes of a peer that restarts although BFD goes down, as FRR does by itself.
pub(crate) fn config(n: usize, graceful: bool) -> Config {
    let (own, asn) = (address(n), asn(n));
    if ROUTERS[n] == "frr" {
        return Config::frr(format!(
            "router bgp {asn}\n bgp router-id {own}\n no bgp ebgp-requires-policy\n \
             neighbor {ID} remote-as 65001\n neighbor {ID} passive\n \
             neighbor {ID} bfd\n neighbor {ID} bfd profile fast\n"
        ));
    }
    let bfd = if graceful { "graceful" } else { "on" };
    bird(&format!(
        "protocol bgp herald {{ local {own} as {asn}; neighbor {ID} as 65001; passive on; bfd {bfd}; \
         error wait time 1,2; ipv4 {{ import all; export none; }}; }}\n"
    ))
}

/// BIRD with BFD of 50 ms times 3, and these protocols.
pub(crate) fn bird(protocols: &str) -> Config {
    let own = address(1);
    Config::Bird(format!(
        "router id {own};\nlog stderr all;\nprotocol device {{}}\nprotocol direct {{ ipv4; ipv6; }}\n\
         protocol kernel {{ ipv4 {{ export all; import none; }}; }}\n\
         protocol bfd {{ interface \"*\" {{ min rx interval 50 ms; min tx interval 50 ms; \
         multiplier 3; }}; multihop {{ min rx interval 50 ms; min tx interval 50 ms; multiplier 3; \
         }}; }}\n{protocols}"
    ))
}

pub(crate) fn routers(bare: &Bare, graceful: bool) -> Result<Vec<Router>> {
    let start = |n: usize| Router::start(bare, ROUTERS[n], ROUTERS[n], &config(n, graceful));
    (0..ROUTERS.len()).map(start).collect()
}

/// Both routers, watched at so many milliseconds times 3.
pub(crate) fn peers(interval: u64) -> Vec<BgpPeer> {
    let peers = (0..ROUTERS.len()).map(|n| BgpPeer {
        bfd: Some(profile(interval)),
        ..peer(ROUTERS[n], address(n), asn(n))
    });
    peers.collect()
}

/// Waits until BGP and BFD are up on both sides, and no longer as slow as at first; Herald is known to the router by this address.
pub(crate) fn wait_up(herald: &Herald, router: &Router, known: IpAddr) -> Result<()> {
    let name = router.name();
    router.wait_established(known, SOON)?;
    eventually(SOON, &format!("the BFD session of {name}"), || {
        let mut sessions = router.bfd()?.into_iter();
        let quick = Duration::from_secs(2);
        let there = sessions.any(|bfd| bfd.peer == known && bfd.up && bfd.detection < quick);
        Ok((there && bfd_up(herald, name)).then_some(()))
    })
}

pub(crate) fn wait_all_up(herald: &Herald, routers: &[Router]) -> Result<()> {
    for router in routers {
        wait_up(herald, router, ID.into())?;
    }
    Ok(())
}

/// Waits until the route is in all kernels.
pub(crate) fn wait_route(routers: &[Router]) -> Result<()> {
    for router in routers {
        router.wait_spread(ROUTE.parse()?, &[ID.into()], SOON)?;
    }
    Ok(())
}

pub(crate) fn bfd_up(herald: &Herald, peer: &str) -> bool {
    let status = herald.bfd.status(peer).and_then(|status| status.session);
    status.is_some_and(|session| session.state == herald_bfd::State::Up)
}

/// Waits until a router's session with Herald ends, and says why Herald thinks so.
pub(crate) fn wait_down(herald: &Herald, peer: &str) -> Result<String> {
    let what = format!("the end of the session with {peer}");
    eventually(SOON, &what, || {
        Ok(herald.status(peer).and_then(|status| status.problem()))
    })
}
