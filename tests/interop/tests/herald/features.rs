//! The features that a router has, with each router that has them: sessions over IPv6 (RFC 8950),
//! passwords, TTL security, listen ranges, and graceful restart where nothing else tests it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_announce::bgp::Attributes;
use herald_api::config::bgp::{BgpPeer, Password};
use herald_interop::{Config, Prefix, Router, State, eventually, lan};
use herald_lab::Bare;
use herald_speaker::bgp::Plans;
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host, planned_as};
use crate::support::{ASN, peer};

const ROUTERS: [&str; 4] = ["frr", "bird", "gobgp", "openbgpd"];
const HERALD6: &str = "fd99:1::1";
const VIP: &str = "198.51.100.1/32";
const VIP6: &str = "fd98::1/128";
/// Longer than any router's wait before it tries again.
const IN_VAIN: Duration = Duration::from_secs(6);

/// What packets must have to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Secured {
    /// Nothing.
    No,
    /// The TTL of a neighbour.
    ByTtl,
    /// That and a password.
    ByPassword,
}

/// What a router is to agree on with Herald.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// The session is over IPv6, and IPv4 goes over it, too.
    over6: bool,
    /// What the router takes.
    secured: Secured,
    /// FRR and BIRD take any peer of the network.
    range: bool,
}

const PLAIN: Wanted = Wanted {
    over6: false,
    secured: Secured::No,
    range: false,
};

fn router_as(n: usize) -> u32 {
    65002 + u32::try_from(n).expect("few routers")
}

fn router_address(n: usize, over6: bool) -> IpAddr {
    let last = n + 2;
    let text = if over6 {
        format!("fd99:1::{last}")
    } else {
        format!("10.99.1.{last}")
    };
    text.parse().expect("an address")
}

fn when(wanted: bool, text: &str) -> &str {
    if wanted { text } else { "" }
}

impl Secured {
    /// What stands in a configuration for the password, and for the TTL.
    fn lines(self, password: &str, ttl: &str) -> String {
        [
            when(self >= Self::ByPassword, password),
            when(self >= Self::ByTtl, ttl),
        ]
        .concat()
    }
}

fn config(n: usize, wanted: Wanted) -> Config {
    let (id, own) = (router_address(n, false), router_address(n, wanted.over6));
    let asn = router_as(n);
    let herald = if wanted.over6 {
        HERALD6.to_owned()
    } else {
        HERALD.to_string()
    };
    match ROUTERS[n] {
        "frr" => Config::frr(frr(asn, &id, &herald, wanted)),
        "bird" => Config::Bird(format!(
            "router id {id};\nlog stderr all;\nprotocol device {{}}\n\
             protocol bgp herald {{ local {own} as {asn}; {}; passive on;\n\
             error wait time 1,2;\n{}\
             ipv4 {{ import all; export none; {} }}; ipv6 {{ import all; export none; }}; }}\n",
            if wanted.range {
                format!("neighbor range 10.99.1.0/24 as {ASN}; dynamic name \"d_\"")
            } else {
                format!("neighbor {herald} as {ASN}")
            },
            wanted
                .secured
                .lines("password \"s3cret\";\n", "ttl security on;\n"),
            when(wanted.over6, "extended next hop on;"),
        )),
        "gobgp" => Config::Gobgp(gobgp(asn, &id, &herald, wanted.secured, false)),
        _ => Config::Openbgpd(format!(
            "AS {asn}\nrouter-id {id}\nfib-update no\nlisten on {own}\n\
             neighbor {herald} {{\n remote-as {ASN}\n passive\n announce IPv4 unicast\n \
             announce IPv6 unicast\n{}}}\nallow from any\n",
            wanted
                .secured
                .lines(" tcp md5sig password s3cret\n", " ttl-security yes\n"),
        )),
    }
}

fn frr(asn: u32, id: &IpAddr, herald: &str, wanted: Wanted) -> String {
    // A listen range has a group in the place of the neighbour.
    let (name, head, tail) = if wanted.range {
        (
            "NODES",
            " neighbor NODES peer-group\n",
            " bgp listen range 10.99.1.0/24 peer-group NODES\n",
        )
    } else {
        (herald, "", "")
    };
    format!(
        "router bgp {asn}\n bgp router-id {id}\n no bgp ebgp-requires-policy\n{head} \
         neighbor {name} remote-as {ASN}\n{}{}{}{tail} \
         address-family ipv4 unicast\n  neighbor {name} activate\n exit-address-family\n \
         address-family ipv6 unicast\n  neighbor {name} activate\n",
        if wanted.range {
            String::new()
        } else {
            format!(" neighbor {name} passive\n")
        },
        wanted.secured.lines(
            &format!(" neighbor {name} password s3cret\n"),
            &format!(" neighbor {name} ttl-security hops 1\n"),
        ),
        if wanted.over6 {
            format!(" neighbor {name} capability extended-nexthop\n")
        } else {
            String::new()
        },
    )
}

/// With `restart` it keeps the routes of a peer that is away.
fn gobgp(asn: u32, id: &IpAddr, herald: &str, secured: Secured, restart: bool) -> String {
    let keeps = when(
        restart,
        "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n",
    );
    let families = ["ipv4-unicast", "ipv6-unicast"].map(|family| {
        format!(
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n\
             {keeps}"
        )
    });
    format!(
        "[global.config]\nas = {asn}\nrouter-id = \"{id}\"\n[[neighbors]]\n[neighbors.config]\n\
         neighbor-address = \"{herald}\"\npeer-as = {ASN}\n{}[neighbors.transport.config]\n\
         passive-mode = true\n{}{}{}",
        secured.lines("auth-password = \"s3cret\"\n", ""),
        secured.lines(
            "",
            "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n"
        ),
        when(
            restart,
            "[neighbors.graceful-restart.config]\nenabled = true\nhelper-only = true\n"
        ),
        families.concat(),
    )
}

fn network() -> Result<Bare> {
    let bare = lan("hub", &ROUTERS)?;
    bare.ip("hub", [format!("addr add {HERALD6}/64 dev br0 nodad")])?;
    Ok(bare)
}

/// These routers, on a bridge with Herald.
fn start(which: &[usize], wanted: Wanted) -> Result<(Bare, Vec<Router>)> {
    let bare = network()?;
    let routers = which
        .iter()
        .map(|n| Router::start(&bare, ROUTERS[*n], ROUTERS[*n], &config(*n, wanted)))
        .collect::<Result<_>>()?;
    Ok((bare, routers))
}

/// Sessions with these routers.
fn plans(
    which: &[usize],
    over6: bool,
    restarted: bool,
    change: impl Fn(&mut BgpPeer),
) -> Result<Plans> {
    let peers = which.iter().map(|n| {
        let mut one = peer(ROUTERS[*n], router_address(*n, over6), router_as(*n));
        change(&mut one);
        one
    });
    planned_as(peers.collect(), restarted, |_| {})
}

fn herald(bare: &Bare, plans: Plans) -> Herald {
    let mut herald = Herald::with_plans(&bare.netns("hub"), plans, CancellationToken::new());
    herald.announce("web", &[host(VIP), host(VIP6)], &Attributes::default());
    herald
}

/// Waits until a router has the route by one of these next hops.
fn wait_hop(router: &Router, prefix: &str, hops: &[&str]) -> Result<()> {
    let prefix: Prefix = prefix.parse()?;
    let what = format!("{prefix} via one of {hops:?} at {}", router.name());
    eventually(SOON, &what, || {
        let route = router.paths(prefix)?.pop();
        let found = route.map(|route| route.attributes.next_hops);
        let found = found.unwrap_or_default();
        let right = |hop: &IpAddr| hops.iter().any(|one| one.parse() == Ok(*hop));
        ensure!(found.iter().any(right), "{found:?}");
        Ok(Some(()))
    })
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn over_ipv6_each_router_gets_both_families_by_rfc_8950_or_by_the_other_address() -> Result<()> {
    let wanted = Wanted {
        over6: true,
        ..PLAIN
    };
    let all = [0, 1, 2, 3];
    let (bare, routers) = start(&all, wanted)?;
    let mut herald = herald(&bare, plans(&all, true, false, |_| {})?);
    for router in &routers {
        // OpenBGPD 7.7 takes no such next hop: it gets IPv4 routes by the node's IPv4 address.
        let hop4 = if router.name() == "openbgpd" {
            "10.99.1.1"
        } else {
            HERALD6
        };
        wait_hop(router, VIP6, &[HERALD6])?;
        wait_hop(router, VIP, &[hop4])?;
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

/// With the password and TTL security, or with neither.
fn secure(peer: &mut BgpPeer, password: &str) {
    peer.password = Password::new(password.as_bytes());
    peer.ttl_security = Some(1);
}

/// No session comes up, however often both sides try.
fn stay_down(routers: &[Router], what: &str) -> Result<()> {
    let end = Instant::now() + IN_VAIN;
    while Instant::now() < end {
        for router in routers {
            let neighbors = router.neighbors()?;
            let up = neighbors.iter().any(|one| one.state == State::Established);
            ensure!(!up, "{} takes {what}", router.name());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn passwords(which: &[usize], wanted: Wanted) -> Result<()> {
    let (bare, routers) = start(which, wanted)?;
    let with = |password: &'static str| {
        plans(which, wanted.over6, false, move |peer| {
            secure(peer, password);
        })
    };
    let mut herald = herald(&bare, with("wrong")?);
    stay_down(&routers, "a wrong password")?;
    herald.set_plans(with("s3cret")?);
    let own = if wanted.over6 { HERALD6 } else { "10.99.1.1" };
    for router in &routers {
        wait_hop(router, if wanted.over6 { VIP6 } else { VIP }, &[own])?;
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn passwords_and_ttl_security_hold_with_gobgp_and_openbgpd_too() -> Result<()> {
    let secured = Wanted {
        secured: Secured::ByPassword,
        ..PLAIN
    };
    passwords(&[2, 3], secured)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn ttl_security_of_one_side_alone_is_no_session_with_any_router() -> Result<()> {
    let all = [0, 1, 2, 3];
    for over6 in [false, true] {
        // What the routers want, and what Herald does at first; then it does as they do.
        for (router, first, then) in [
            (Secured::ByTtl, None, Some(1)),
            (Secured::No, Some(1), None),
        ] {
            let wanted = Wanted {
                over6,
                secured: router,
                ..PLAIN
            };
            let (bare, routers) = start(&all, wanted)?;
            let with = |hops| {
                plans(&all, over6, false, move |peer: &mut BgpPeer| {
                    peer.ttl_security = hops;
                })
            };
            let mut herald = herald(&bare, with(first)?);
            stay_down(&routers, &format!("hops {first:?} for {router:?}"))?;
            herald.set_plans(with(then)?);
            let (prefix, own) = if over6 {
                (VIP6, HERALD6)
            } else {
                (VIP, "10.99.1.1")
            };
            for router in &routers {
                wait_hop(router, prefix, &[own])?;
            }
            herald.stop()?;
            bare.down();
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn passwords_and_ttl_security_hold_over_ipv6() -> Result<()> {
    let secured = Wanted {
        over6: true,
        secured: Secured::ByPassword,
        ..PLAIN
    };
    passwords(&[0, 1], secured)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_router_that_takes_a_whole_network_takes_herald_with_its_password() -> Result<()> {
    let range = Wanted {
        secured: Secured::ByPassword,
        range: true,
        ..PLAIN
    };
    passwords(&[0, 1], range)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_4724_gobgp_keeps_the_routes_of_a_speaker_that_is_killed_and_back() -> Result<()> {
    let bare = network()?;
    let text = gobgp(
        router_as(2),
        &router_address(2, false),
        &HERALD.to_string(),
        Secured::No,
        true,
    );
    let router = Router::start(&bare, "gobgp", "gobgp", &Config::Gobgp(text))?;
    let with = |restarted| plans(&[2], false, restarted, |peer| peer.graceful_restart = true);
    let mut first = herald(&bare, with(false)?);
    wait_hop(&router, VIP, &["10.99.1.1"])?;
    first.kill()?;
    let kept = |until: &dyn Fn() -> Result<bool>| -> Result<()> {
        let end = Instant::now() + SOON;
        while !until()? {
            ensure!(!router.paths(VIP.parse()?)?.is_empty(), "the route is away");
            ensure!(Instant::now() < end, "it takes too long");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    let is_up = || {
        let neighbor = router.neighbor(HERALD.into())?;
        Ok(neighbor.is_some_and(|one| one.state == State::Established))
    };
    kept(&|| Ok(!is_up()?))?;
    let mut second = herald(&bare, with(true)?);
    kept(&is_up)?;
    // What is not told again by the End-of-RIB goes then.
    let told = Instant::now() + Duration::from_secs(2);
    kept(&|| Ok(Instant::now() > told))?;
    second.stop()?;
    bare.down();
    Ok(())
}
