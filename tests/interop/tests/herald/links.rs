//! Herald's sessions where the network changes: routers without addresses, default gateways, own
//! addresses that come and go, and a peer that takes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_announce::bgp::Attributes;
use herald_api::config::bgp::{BgpPeer, Connection, PeerAsn, PeerEndpoint};
use herald_api::kinds::DynamicAsn;
use herald_interop::raw::{RawPeer, Speaker};
use herald_interop::{Config, Neighbor, Prefix, Router, eventually, lan};
use herald_lab::{Bare, Netns};
use herald_model::{Cidr, IpFamily};
use herald_speaker::bgp::PeerStatus;
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host, planned};
use crate::support::{ASN, peer};

const FRR: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
const BIRD: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 3);

fn start(bare: &Bare, peers: Vec<BgpPeer>) -> Result<Herald> {
    let mut herald = Herald::start(&bare.netns("herald"), peers, CancellationToken::new())?;
    let prefixes = ["198.51.100.1/32", "fd98::1/128"].map(host);
    herald.announce("web", &prefixes, &Attributes::default());
    Ok(herald)
}

/// The link-local address of an interface, once it may be used.
fn link_local(bare: &Bare, part: &str, interface: &str) -> Result<Ipv6Addr> {
    let shown = [
        "ip", "-6", "-o", "addr", "show", "dev", interface, "scope", "link",
    ];
    eventually(SOON, "a link-local address", || {
        let shown = bare.exec(part, &shown)?;
        let ready = !shown.contains("tentative");
        let word = shown
            .split_whitespace()
            .find(|word| word.starts_with("fe80:"));
        let address = word.and_then(|word| word.split('/').next()?.parse().ok());
        Ok(address.filter(|_| ready))
    })
}

/// A session that has so many routes, and the neighbour as the router sees it.
fn wait_any(router: &Router, prefixes: usize) -> Result<Neighbor> {
    let what = format!("{prefixes} routes at {}", router.name());
    eventually(SOON, &what, || {
        let mut neighbors = router.neighbors()?;
        neighbors.retain(|neighbor| neighbor.prefixes == prefixes);
        Ok(neighbors.pop())
    })
}

fn wait_next_hop(router: &Router, prefix: &str, next_hop: IpAddr) -> Result<()> {
    let prefix: Prefix = prefix.parse()?;
    let what = format!("{prefix} via {next_hop} at {}", router.name());
    eventually(SOON, &what, || {
        let path = router.paths(prefix)?.pop();
        let hops = path.map(|path| path.attributes.next_hops);
        Ok(hops.filter(|hops| hops.contains(&next_hop)).map(drop))
    })
}

fn wait_problem(herald: &Herald, name: &str, words: &str) -> Result<()> {
    eventually(SOON, &format!("{name} to say {words:?}"), || {
        let statuses = herald.statuses.borrow().clone();
        let problem = statuses.get(name).and_then(PeerStatus::problem);
        Ok(problem.filter(|problem| problem.contains(words)).map(drop))
    })
}

/// The peer without an address of its own, in whichever AS it is.
fn placed(name: &str, endpoint: PeerEndpoint) -> BgpPeer {
    let mut peer = peer(name, FRR.into(), 0);
    peer.peer_asn = PeerAsn::Dynamic(DynamicAsn::External);
    peer.endpoint = endpoint;
    peer
}

const UNNUMBERED_FRR: &str = "router bgp 65002\n bgp router-id 10.99.1.2\n \
    no bgp ebgp-requires-policy\n neighbor eth0 interface remote-as 65001\n \
    neighbor eth0 timers connect 1\n address-family ipv4 unicast\n  neighbor eth0 activate\n \
    exit-address-family\n address-family ipv6 unicast\n  neighbor eth0 activate\n";

const UNNUMBERED_BIRD: &str = "router id 10.99.1.3;\nlog stderr all;\nprotocol device {}\n\
    protocol radv { interface \"eth0\" { max ra interval 4; }; }\n\
    protocol bgp herald { local as 65003; neighbor range fe80::/10 as 65001; interface \"eth0\";\n\
    dynamic name \"d_\"; connect delay time 1; error wait time 1,2;\n\
    ipv4 { import all; export none; extended next hop on; };\n\
    ipv6 { import all; export none; }; }\n";

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn routers_without_addresses_are_found_on_their_links() -> Result<()> {
    let bare = Bare::new(&["herald", "frr", "bird"])?;
    let unnumbered = |name: &str| {
        let mut peer = placed(name, PeerEndpoint::Interface(name.to_owned()));
        // FRR dials as soon as it has heard Herald.
        peer.connection = Connection::Both;
        peer
    };
    // The sessions wait for their links.
    let mut herald = start(&bare, vec![unnumbered("frr"), unnumbered("bird")])?;
    wait_problem(&herald, "frr", "no interface frr")?;
    let mut routers = Vec::new();
    for (part, config) in [
        ("frr", Config::frr(UNNUMBERED_FRR)),
        ("bird", Config::Bird(UNNUMBERED_BIRD.into())),
    ] {
        bare.link(("herald", part), (part, "eth0"))?;
        wait_problem(&herald, part, "no router has been heard")?;
        link_local(&bare, part, "eth0")?;
        routers.push(Router::start(&bare, part, part, &config)?);
    }
    for router in &routers {
        let own = IpAddr::V6(link_local(&bare, "herald", router.name())?);
        let neighbor = wait_any(router, 2)?;
        ensure!(neighbor.address == own, "{neighbor:?} is not {own}");
        for prefix in ["198.51.100.1/32", "fd98::1/128"] {
            wait_next_hop(router, prefix, own)?;
        }
    }
    // IPv4 goes to an IPv6 next hop in the router's kernel (RFC 8950).
    let own = link_local(&bare, "herald", "frr")?;
    eventually(SOON, "the route in FRR's kernel", || {
        let shown = bare.exec("frr", &["ip", "route", "show", "198.51.100.1"])?;
        Ok(shown.contains(&format!("inet6 {own}")).then_some(()))
    })?;

    // Another router in the place of FRR has another address.
    routers.remove(0).stop()?;
    bare.ip(
        "frr",
        [
            "link set eth0 down",
            "link set eth0 address 02:00:00:00:00:99",
            "link set eth0 up",
        ],
    )?;
    let new = link_local(&bare, "frr", "eth0")?;
    let router = Router::start(&bare, "frr", "frr2", &Config::frr(UNNUMBERED_FRR))?;
    let patience = Duration::from_secs(90);
    eventually(patience, "a session with the new router", || {
        let neighbors = router.neighbors()?;
        Ok(neighbors.iter().any(|it| it.prefixes == 2).then_some(()))
    })?;
    let statuses = herald.statuses.borrow().clone();
    let remote = statuses.get("frr").and_then(PeerStatus::remote);
    ensure!(
        remote.map(|remote| remote.ip()) == Some(new.into()),
        "{remote:?}"
    );
    herald.stop()?;
    bare.down();
    Ok(())
}

/// It sends no router advertisements, and takes for the neighbour the one that the kernel knows on the
/// link when it starts.
const UNNUMBERED_GOBGP: &str = "[global.config]\nas = 65004\nrouter-id = \"10.99.1.4\"\n\
    [[neighbors]]\n[neighbors.config]\nneighbor-interface = \"eth0\"\npeer-as = 65001\n\
    [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv4-unicast\"\n\
    [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv6-unicast\"\n";

/// What advertises the router in its place, as radvd does.
const ADVERTISER: &str = "router id 10.99.1.4;\nlog stderr all;\nprotocol device {}\n\
    protocol radv { interface \"eth0\" { max ra interval 4; }; }\n";

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn gobgp_without_addresses_is_found_on_its_link_if_something_advertises_it() -> Result<()> {
    let bare = Bare::new(&["herald", "gobgp"])?;
    bare.link(("herald", "gobgp"), ("gobgp", "eth0"))?;
    let remote = link_local(&bare, "gobgp", "eth0")?;
    let own = link_local(&bare, "herald", "gobgp")?;
    let unnumbered = placed("gobgp", PeerEndpoint::Interface("gobgp".to_owned()));
    let mut herald = start(&bare, vec![unnumbered])?;
    wait_problem(&herald, "gobgp", "no router has been heard")?;

    let advertiser = Config::Bird(ADVERTISER.into());
    Router::start(&bare, "gobgp", "advertiser", &advertiser)?;
    // Herald asks for it now, and by that its kernel knows Herald.
    let known = ["ip", "-6", "neigh", "show", &own.to_string(), "dev", "eth0"];
    eventually(
        SOON,
        "Herald among the neighbours of GoBGP's kernel",
        || Ok(bare.exec("gobgp", &known)?.contains("lladdr").then_some(())),
    )?;
    let config = Config::Gobgp(UNNUMBERED_GOBGP.into());
    let router = Router::start(&bare, "gobgp", "gobgp", &config)?;
    let neighbor = wait_any(&router, 2)?;
    ensure!(neighbor.address == own, "{neighbor:?} is not {own}");
    for prefix in ["198.51.100.1/32", "fd98::1/128"] {
        wait_next_hop(&router, prefix, own.into())?;
    }
    let statuses = herald.statuses.borrow().clone();
    let peer = statuses.get("gobgp").and_then(PeerStatus::remote);
    ensure!(
        peer.map(|peer| peer.ip()) == Some(remote.into()),
        "{peer:?}"
    );
    herald.stop()?;
    bare.down();
    Ok(())
}

fn frr() -> Config {
    Config::frr(format!(
        "router bgp 65002\n bgp router-id {FRR}\n no bgp ebgp-requires-policy\n \
         neighbor {HERALD} remote-as {ASN}\n neighbor {HERALD} passive\n \
         address-family ipv6 unicast\n  neighbor {HERALD} activate\n"
    ))
}

fn bird() -> Config {
    Config::Bird(format!(
        "router id {BIRD};\nlog stderr all;\nprotocol device {{}}\n\
         protocol bgp herald {{ local {BIRD} as 65003; neighbor {HERALD} as {ASN}; passive on;\n\
         ipv4 {{ import all; export none; }}; ipv6 {{ import all; export none; }}; }}\n"
    ))
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn the_peer_at_the_default_gateway_is_where_the_default_route_goes() -> Result<()> {
    let bare = lan("herald", &["frr", "bird"])?;
    bare.ip("herald", ["addr add fd99:1::1/64 dev br0 nodad"])?;
    let routers = [
        Router::start(&bare, "frr", "frr", &frr())?,
        Router::start(&bare, "bird", "bird", &bird())?,
    ];
    let gateway = placed("tor", PeerEndpoint::DefaultGateway(IpFamily::V4));
    let mut herald = start(&bare, vec![gateway.clone()])?;
    wait_problem(&herald, "tor", "no default route")?;
    bare.ip("herald", [format!("route add default via {FRR} metric 10")])?;
    wait_any(&routers[0], 2)?;
    bare.ip("herald", [format!("route add default via {BIRD} metric 5")])?;
    wait_any(&routers[1], 2)?;
    let gone = || {
        let kept = routers[0].routes(herald_interop::Family::Ipv4)?;
        Ok(kept.is_empty().then_some(()))
    };
    eventually(SOON, "FRR to have no routes", gone)?;

    // A session that is up needs no route.
    bare.ip(
        "herald",
        ["route del default metric 5", "route del default metric 10"],
    )?;
    std::thread::sleep(Duration::from_secs(2));
    wait_any(&routers[1], 2)?;
    herald.set_peers(Vec::new())?;
    eventually(SOON, "the session to end", || {
        Ok(herald.statuses.borrow().is_empty().then_some(()))
    })?;
    herald.set_peers(vec![gateway])?;
    wait_problem(&herald, "tor", "no default route")?;
    bare.ip("herald", [format!("route add default via {FRR}")])?;
    wait_any(&routers[0], 2)?;
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn next_hops_follow_the_addresses_of_the_node() -> Result<()> {
    let bare = lan("herald", &["frr", "bird"])?;
    let router = Router::start(&bare, "frr", "frr", &frr())?;
    // Its link-local address would do.
    bare.ip(
        "herald",
        [
            "link set br0 addrgenmode none",
            "addr flush dev br0 scope link",
        ],
    )?;
    let mut herald = start(&bare, vec![peer("frr", FRR.into(), 65002)])?;
    wait_any(&router, 1)?;
    let begun = Instant::now();
    bare.ip("herald", ["addr add fd99:1::1/64 dev br0 nodad"])?;
    wait_any(&router, 2)?;
    wait_next_hop(&router, "fd98::1/128", "fd99:1::1".parse()?)?;
    bare.ip(
        "herald",
        [
            "addr add fd99:1::7/64 dev br0 nodad",
            "addr del fd99:1::1/64 dev br0",
        ],
    )?;
    wait_next_hop(&router, "fd98::1/128", "fd99:1::7".parse()?)?;
    bare.ip("herald", ["addr del fd99:1::7/64 dev br0"])?;
    wait_any(&router, 1)?;
    let age = begun.elapsed();
    let neighbor = wait_any(&router, 1)?;
    let uptime = neighbor.uptime.context("a session that is up")?;
    ensure!(
        uptime + Duration::from_secs(1) >= age,
        "{uptime:?} of {age:?}"
    );
    herald.stop()?;
    bare.down();
    Ok(())
}

/// Host routes.
fn many(numbers: std::ops::Range<u32>) -> Vec<Cidr> {
    let one = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        Cidr::new(IpAddr::from([20 + a, b, c, 1]), 32).expect("a prefix")
    };
    numbers.map(one).collect()
}

fn raw_peer(netns: &Netns) -> Result<RawPeer> {
    let speaker = Speaker {
        asn: ASN,
        id: HERALD,
        redial: Duration::from_secs(8),
        has_route: None,
        terminate: Arc::new(|| Ok(())),
    };
    RawPeer::listen(netns, BIRD, HERALD, 65003, speaker)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_peer_that_reads_nothing_loses_the_session_and_one_that_is_slow_does_not() -> Result<()> {
    let bare = lan("herald", &["frr", "bird"])?;
    let script = raw_peer(&bare.netns("bird"))?;
    script.take_little()?;
    let mut herald = start(&bare, Vec::new())?;
    herald.announce("many", &many(0..50_000), &Attributes::default());
    let mut plans = planned(vec![peer("raw", BIRD.into(), 65003)])?;
    for plan in plans.values_mut() {
        Arc::make_mut(plan).session.timers.send_hold = Some(Duration::from_secs(4));
    }
    herald.plans.send_replace(Arc::new(plans));
    let mut slow = script.establish()?;
    let end = Instant::now() + Duration::from_secs(12);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_secs(1));
        let read = slow.receive_until(Instant::now() + Duration::from_millis(100), |_| None::<()>);
        let event = read?.expect_err("nothing is looked for");
        ensure!(event == herald_interop::raw::Event::Silence, "{event}");
    }
    // From now on it reads nothing. Its kernel takes a little of this, that of Herald's side the rest.
    herald.announce("more", &many(50_000..55_000), &Attributes::default());
    wait_problem(&herald, "raw", "takes nothing")?;
    herald.stop()?;
    bare.down();
    Ok(())
}
