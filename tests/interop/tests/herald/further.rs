//! What `GoBGP` and `OpenBGPD` can besides: routers behind others, in the own AS, that connect themselves,
//! that take any node of a network, roles, policies, and routes of last resort.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_announce::bgp::{Attributes, Community};
use herald_api::config::bgp::{BgpPeer, Connection, Password};
use herald_bgp::session::{Restart, RoleConfig};
use herald_bgp::wire::Role;
use herald_interop::{Config, Route, Router, State, eventually, lan};
use herald_lab::Bare;
use herald_speaker::bgp::{PeerPlan, Plans};
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host, planned_as};
use crate::support::{ASN, peer};

const GOBGP: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
const OPENBGPD: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 3);
const NAMES: [&str; 2] = ["gobgp", "openbgpd"];
const AS: u32 = 65002;
const VIP: &str = "198.51.100.1/32";
const VIP6: &str = "fd98::1/128";

const FAMILIES: [&str; 2] = ["ipv4-unicast", "ipv6-unicast"];

/// `GoBGP` in this AS; `tables` are of `neighbors`.
fn gobgp(asn: u32, herald: Ipv4Addr, tables: &str) -> Config {
    let families = FAMILIES.map(|family| {
        format!(
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n"
        )
    });
    Config::Gobgp(format!(
        "[global.config]\nas = {asn}\nrouter-id = \"{GOBGP}\"\n[[neighbors]]\n\
         [neighbors.config]\nneighbor-address = \"{herald}\"\npeer-as = {ASN}\n{tables}{}",
        families.concat()
    ))
}

/// `OpenBGPD` in this AS; `neighbor` is an address or a network, `lines` are of it.
fn openbgpd(asn: u32, neighbor: &str, lines: &str) -> Config {
    Config::Openbgpd(format!(
        "AS {asn}\nrouter-id {OPENBGPD}\nfib-update no\nlisten on {OPENBGPD}\n\
         neighbor {neighbor} {{\n remote-as {ASN}\n announce IPv4 unicast\n \
         announce IPv6 unicast\n{lines}}}\nallow from any\nallow from ibgp\n"
    ))
}

const GOBGP_WAITS: &str = "[neighbors.transport.config]\npassive-mode = true\n";

fn start(bare: &Bare, configs: &[Config; 2]) -> Result<[Router; 2]> {
    let [gobgp, openbgpd] = configs;
    Ok([
        Router::start(bare, "gobgp", "gobgp", gobgp)?,
        Router::start(bare, "openbgpd", "openbgpd", openbgpd)?,
    ])
}

/// Sessions with both, which are in this AS.
fn plans(
    asn: u32,
    of_peer: impl Fn(&mut BgpPeer),
    of_plan: impl Fn(&mut PeerPlan),
) -> Result<Plans> {
    let both = NAMES.into_iter().zip([GOBGP, OPENBGPD]).map(|(name, at)| {
        let mut one = peer(name, at.into(), asn);
        of_peer(&mut one);
        one
    });
    planned_as(both.collect(), false, of_plan)
}

fn herald(bare: &Bare, part: &str, plans: Plans) -> Herald {
    let mut herald = Herald::with_plans(&bare.netns(part), plans, CancellationToken::new());
    herald.announce("web", &[host(VIP), host(VIP6)], &Attributes::default());
    herald
}

fn wait_route(router: &Router) -> Result<Route> {
    let what = format!("{VIP} at {}", router.name());
    eventually(SOON, &what, || Ok(router.paths(VIP.parse()?)?.pop()))
}

fn network() -> Result<Bare> {
    let bare = lan("hub", &NAMES)?;
    bare.ip("hub", ["addr add fd99:1::1/64 dev br0 nodad"])?;
    Ok(bare)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn gobgp_and_openbgpd_behind_a_router_are_reached_over_several_hops() -> Result<()> {
    let own = Ipv4Addr::new(10, 99, 2, 1);
    let bare = lan("transit", &["gobgp", "openbgpd", "herald"])?;
    bare.ip(
        "transit",
        [
            "link set herald nomaster",
            "addr add 10.99.2.254/24 dev herald",
        ],
    )?;
    bare.exec("transit", &["sysctl", "-qw", "net.ipv4.ip_forward=1"])?;
    bare.ip(
        "herald",
        [
            "addr flush dev eth0".to_owned(),
            format!("addr add {own}/24 dev eth0"),
            "route add 10.99.1.0/24 via 10.99.2.254".to_owned(),
        ],
    )?;
    for name in NAMES {
        bare.ip(name, ["route add 10.99.2.0/24 via 10.99.1.1"])?;
    }
    let far = "[neighbors.ebgp-multihop.config]\nenabled = true\nmultihop-ttl = 8\n";
    let routers = start(
        &bare,
        &[
            gobgp(AS, own, &format!("{GOBGP_WAITS}{far}")),
            openbgpd(AS, &own.to_string(), " passive\n multihop 8\n"),
        ],
    )?;
    let plans = plans(AS, |peer| peer.ebgp_multi_hop = true, |_| {})?;
    let mut herald = herald(&bare, "herald", plans);
    for router in &routers {
        let route = wait_route(router)?;
        ensure!(route.attributes.next_hops == [IpAddr::V4(own)], "{route:?}");
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn gobgp_and_openbgpd_of_the_own_as_get_local_pref_and_an_empty_path() -> Result<()> {
    let bare = network()?;
    let routers = start(
        &bare,
        &[
            gobgp(ASN, HERALD, GOBGP_WAITS),
            openbgpd(ASN, &HERALD.to_string(), " passive\n"),
        ],
    )?;
    let mut herald = herald(&bare, "hub", plans(ASN, |_| {}, |_| {})?);
    let chosen = Attributes {
        local_pref: Some(250),
        ..Attributes::default()
    };
    for (attributes, local_pref) in [(Attributes::default(), 100), (chosen, 250)] {
        herald.announce("web", &[host(VIP)], &attributes);
        for router in &routers {
            let what = format!("LOCAL_PREF {local_pref} at {}", router.name());
            let route = eventually(SOON, &what, || {
                let route = router.paths(VIP.parse()?)?.pop().context("no route")?;
                let right = route.attributes.local_pref == Some(local_pref);
                ensure!(right, "{route:?}");
                Ok(Some(route))
            })?;
            ensure!(route.attributes.as_path.is_empty(), "{route:?}");
        }
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

/// Each kind with routers of its own: they wait long before they dial again.
#[test]
#[ignore = "needs root and the lab: run by make test"]
fn gobgp_and_openbgpd_connect_and_of_two_connections_one_is_kept() -> Result<()> {
    for connection in [Connection::Inbound, Connection::Both] {
        let bare = network()?;
        let plans = plans(AS, |peer| peer.connection = connection, |_| {})?;
        let mut herald = herald(&bare, "hub", plans);
        eventually(SOON, "Herald to listen", || {
            let listens = bare.exec("hub", &["ss", "-Hltn", "sport", "=", ":179"])?;
            Ok((!listens.trim().is_empty()).then_some(()))
        })?;
        let timers =
            "[neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = 1\n";
        let routers = start(
            &bare,
            &[
                gobgp(AS, HERALD, timers),
                openbgpd(AS, &HERALD.to_string(), ""),
            ],
        )?;
        for router in &routers {
            let what = format!("the routes at {}, {connection:?}", router.name());
            eventually(2 * SOON, &what, || {
                let neighbor = router.neighbor(HERALD.into())?;
                Ok(neighbor.filter(|neighbor| neighbor.prefixes == 2))
            })?;
        }
        eventually(SOON, "one connection with each", || {
            let all = bare.exec("hub", &["ss", "-Htn", "state", "established"])?;
            Ok((all.lines().count() == routers.len()).then_some(()))
        })?;
        herald.stop()?;
        bare.down();
    }
    Ok(())
}

/// `OpenBGPD` has no passwords for networks on Linux.
#[test]
#[ignore = "needs root and the lab: run by make test"]
fn gobgp_and_openbgpd_take_any_node_of_a_network() -> Result<()> {
    let bare = network()?;
    let families = FAMILIES.map(|family| {
        format!(
            "[[peer-groups.afi-safis]]\n[peer-groups.afi-safis.config]\nafi-safi-name = \"{family}\"\n"
        )
    });
    let group = format!(
        "[global.config]\nas = {AS}\nrouter-id = \"{GOBGP}\"\n[[peer-groups]]\n\
         [peer-groups.config]\npeer-group-name = \"nodes\"\npeer-as = {ASN}\n\
         auth-password = \"s3cret\"\n{}[[dynamic-neighbors]]\n[dynamic-neighbors.config]\n\
         prefix = \"10.99.1.0/24\"\npeer-group = \"nodes\"\n",
        families.concat()
    );
    let routers = start(
        &bare,
        &[
            Config::Gobgp(group),
            openbgpd(AS, "10.99.1.0/24", " passive\n"),
        ],
    )?;
    let with = |password: &'static str| {
        let secured = move |peer: &mut BgpPeer| {
            let secret = (peer.name == "gobgp").then_some(password);
            peer.password = secret.and_then(|text| Password::new(text.as_bytes()));
        };
        plans(AS, secured, |_| {})
    };
    let mut herald = herald(&bare, "hub", with("wrong")?);
    let [gobgp, openbgpd] = &routers;
    wait_route(openbgpd)?;
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        let neighbors = gobgp.neighbors()?;
        let up = neighbors.iter().any(|one| one.state == State::Established);
        ensure!(!up, "GoBGP takes a wrong password");
        std::thread::sleep(Duration::from_millis(100));
    }
    herald.set_plans(with("s3cret")?);
    wait_route(gobgp)?;
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_9234_openbgpd_takes_a_customer_as_provider_and_not_as_customer() -> Result<()> {
    let customer = |plan: &mut PeerPlan| {
        plan.session.role = Some(RoleConfig {
            role: Role::Customer,
            strict: true,
        });
    };
    for (role, fits) in [("provider", true), ("customer", false)] {
        let bare = lan("hub", &NAMES)?;
        let lines = format!(" passive\n announce policy {role}\n");
        let config = openbgpd(AS, &HERALD.to_string(), &lines);
        let router = Router::start(&bare, "openbgpd", "openbgpd", &config)?;
        let mut plans = plans(AS, |_| {}, customer)?;
        plans.retain(|name, _| name == "openbgpd");
        let mut herald = herald(&bare, "hub", plans);
        if fits {
            wait_route(&router)?;
        } else {
            eventually(SOON, "a word about the roles", || {
                let error = herald.problem("openbgpd").unwrap_or_default();
                ensure!(error.contains("role"), "{error}");
                Ok(Some(()))
            })?;
        }
        herald.stop()?;
        bare.down();
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn gobgp_and_openbgpd_prefer_routes_by_their_communities() -> Result<()> {
    let bare = network()?;
    let policy = "[[defined-sets.bgp-defined-sets.community-sets]]\n\
        community-set-name = \"marked\"\ncommunity-list = [\"65001:100\"]\n\
        [[policy-definitions]]\nname = \"prefer\"\n[[policy-definitions.statements]]\n\
        [policy-definitions.statements.conditions.bgp-conditions.match-community-set]\n\
        community-set = \"marked\"\n[policy-definitions.statements.actions]\n\
        route-disposition = \"accept-route\"\n\
        [policy-definitions.statements.actions.bgp-actions]\nset-local-pref = 300\n\
        [global.apply-policy.config]\nimport-policy-list = [\"prefer\"]\n\
        default-import-policy = \"accept-route\"\n";
    let Config::Gobgp(plain) = gobgp(AS, HERALD, GOBGP_WAITS) else {
        unreachable!("it is GoBGP's");
    };
    let Config::Openbgpd(other) = openbgpd(AS, &HERALD.to_string(), " passive\n") else {
        unreachable!("it is OpenBGPD's");
    };
    let routers = start(
        &bare,
        &[
            Config::Gobgp(plain + policy),
            Config::Openbgpd(
                other + "match from any large-community 65001:1:2 set localpref 300\n",
            ),
        ],
    )?;
    let mut herald = herald(&bare, "hub", plans(AS, |_| {}, |_| {})?);
    let communities = ["65001:100", "large:65001:1:2"].map(str::parse::<Community>);
    let [standard, large] = communities;
    let marked = Attributes {
        communities: [standard?, large?].into(),
        ..Attributes::default()
    };
    for (attributes, preferred) in [(Attributes::default(), false), (marked, true)] {
        herald.announce("web", &[host(VIP)], &attributes);
        for router in &routers {
            let what = format!("{VIP} at {} as preferred: {preferred}", router.name());
            eventually(SOON, &what, || {
                let route = router.paths(VIP.parse()?)?.pop().context("no route")?;
                let found = route.attributes.local_pref == Some(300);
                ensure!(found == preferred, "{route:?}");
                Ok(Some(()))
            })?;
        }
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_9494_gobgp_keeps_the_routes_of_a_speaker_that_is_away_as_a_last_resort() -> Result<()> {
    let bare = network()?;
    let families = FAMILIES.map(|family| {
        format!(
            "[[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n\
             [neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n\
             [neighbors.afi-safis.long-lived-graceful-restart.config]\nenabled = true\n\
             restart-time = 60\n"
        )
    });
    let config = Config::Gobgp(format!(
        "[global.config]\nas = {AS}\nrouter-id = \"{GOBGP}\"\n[[neighbors]]\n\
         [neighbors.config]\nneighbor-address = \"{HERALD}\"\npeer-as = {ASN}\n{GOBGP_WAITS}\
         [neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 2\n\
         long-lived-enabled = true\n{}",
        families.concat()
    ));
    let router = Router::start(&bare, "gobgp", "gobgp", &config)?;
    let restarts = |restarted| {
        let with_times = |plan: &mut PeerPlan| {
            plan.session.restart = Some(Restart {
                time: 2,
                long_lived: Some(60),
                restarted: None,
                forwarding_kept: true,
            });
        };
        let router = peer("gobgp", GOBGP.into(), AS);
        planned_as(vec![router], restarted, with_times)
    };
    let mut first = herald(&bare, "hub", restarts(false)?);
    wait_route(&router)?;
    first.kill()?;
    // LLGR_STALE.
    let stale = |route: &Route| {
        route
            .attributes
            .communities
            .iter()
            .any(|it| it == "65535:6")
    };
    eventually(SOON, "a route that is marked as stale", || {
        Ok(router.paths(VIP.parse()?)?.pop().filter(stale))
    })?;
    let mut second = herald(&bare, "hub", restarts(true)?);
    eventually(SOON, "a route that is fresh", || {
        let route = router.paths(VIP.parse()?)?.pop();
        Ok(route.filter(|route| !stale(route)))
    })?;
    second.stop()?;
    bare.down();
    Ok(())
}
