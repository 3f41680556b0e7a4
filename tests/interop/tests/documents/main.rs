//! The configurations in docs/routers are run as they are there, with Herald on the nodes and with BIRD:
//! sessions of nodes that come and go come up with MD5, GTSM and BFD, what is not of the pool stays out,
//! flows are spread, a node that drains is left alone, one that dies is gone.
#![cfg(test)]

mod nodes;
#[path = "../bfd/speaker.rs"]
mod speaker;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_interop::{Config, Family, Prefix, Router, State, document, eventually};
use herald_lab::Bare;

use nodes::{Bird, Node, peers};
use speaker::Herald;

const SOON: Duration = Duration::from_secs(40);
/// The numbers of the nodes in both networks.
const NODES: [u8; 4] = [11, 12, 13, 14];
const NETS: [&str; 2] = ["10.0.1.", "fd00:0:0:1::"];

fn docs() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/routers"))
}

/// Three nodes with the right password and one with another, on one bridge with the router.
fn network(files: &BTreeMap<String, String>) -> Result<Bare> {
    let bare = Bare::new(&["lan", "tor", "n11", "n12", "n13", "n14"])?;
    let lines = [
        "link add bridge type bridge forward_delay 0 mcast_snooping 0",
        "link set bridge up",
    ];
    bare.ip("lan", lines)?;
    let hosts = NODES.iter().map(|node| (format!("n{node}"), *node));
    for (part, host) in hosts.chain([("tor".to_owned(), 1)]) {
        bare.link(("lan", &part), (&part, "eth1"))?;
        bare.ip("lan", [format!("link set {part} master bridge")])?;
        let addresses = [
            format!("addr add 10.0.1.{host}/24 dev eth1"),
            format!("addr add fd00:0:0:1::{host}/64 dev eth1 nodad"),
        ];
        bare.ip(&part, addresses)?;
    }
    let sysctls = files.get("sysctl.conf").context("no sysctl.conf")?;
    for line in sysctls.lines() {
        let (key, value) = line.split_once(" = ").context("no setting")?;
        bare.exec("tor", &["sysctl", "-qw", &format!("{key}={value}")])?;
    }
    Ok(bare)
}

/// Waits until the router's kernel spreads both addresses over just these nodes.
fn spread(router: &Router, nodes: &[u8]) -> Result<()> {
    for (prefix, net) in ["198.51.100.10", "fd98::10"].into_iter().zip(NETS) {
        let prefix: Prefix = prefix.parse()?;
        let address = |node: &u8| format!("{net}{node}").parse::<IpAddr>();
        let wanted: Vec<IpAddr> = nodes.iter().map(address).collect::<Result<_, _>>()?;
        router.wait_spread(prefix, &wanted, SOON)?;
    }
    Ok(())
}

/// The router of a page with its nodes.
struct Site<N> {
    bare: Bare,
    tor: Router,
    /// At the numbers of [`NODES`]; the last has a wrong password.
    nodes: Vec<N>,
}

/// What a page promises of its router.
fn works<N: Node>(
    page: &str,
    config: fn(&BTreeMap<String, String>) -> Result<Config>,
) -> Result<Site<N>> {
    let files = document::files(&docs().join(page))?;
    let bare = network(&files)?;
    let tor = Router::start(&bare, "tor", "tor", &config(&files)?)?;
    let mut nodes = Vec::new();
    for host in NODES {
        let password = if host == 14 { "wrong" } else { "s3cret" };
        nodes.push(N::at(&bare, host, password)?);
    }
    spread(&tor, &[11, 12, 13])?;
    only_the_pool(&tor)?;
    watched(&tor, &[11, 12, 13])?;
    eventually(SOON, "all ways to be taken", || by_ports(&bare).map(Some))?;

    // n11 drains: the others carry on.
    let first = nodes.first_mut().context("no nodes")?;
    first.drain()?;
    spread(&tor, &[12, 13])?;
    eventually(SOON, "n11's route with the least preference", || {
        let mut routes = tor.paths("198.51.100.10".parse()?)?;
        routes.retain(|route| route.from == IpAddr::from([10, 0, 1, 11]));
        let drained = routes.first().context("it is gone")?;
        ensure!(drained.attributes.local_pref == Some(0), "{drained:?}");
        Ok(Some(()))
    })?;

    // All this time nobody was told anything, and the fourth has not come in.
    for (host, node) in NODES.iter().zip(&nodes) {
        let told = node.received()?;
        ensure!(told == 0, "n{host} was told {told} routes");
        if *host == 14 {
            ensure!(!node.is_up()?, "n{host} has a session");
            continue;
        }
        eventually(SOON, &format!("n{host} to have a session"), || {
            Ok(node.is_up()?.then_some(()))
        })?;
    }
    for neighbor in tor.neighbors()? {
        let last = neighbor.address.to_string();
        let wrong = last.ends_with(".14") || last.ends_with(":14");
        ensure!(
            !wrong || neighbor.state != State::Established,
            "{neighbor:?}"
        );
    }
    Ok(Site { bare, tor, nodes })
}

/// The router has taken nothing else.
fn only_the_pool(tor: &Router) -> Result<()> {
    let only = ["198.51.100.10/32", "fd98::10/128"];
    for family in [Family::Ipv4, Family::Ipv6] {
        let mut routes = tor.routes(family)?;
        routes.retain(|route| !only.contains(&route.prefix.to_string().as_str()));
        ensure!(routes.is_empty(), "more than the pool: {routes:?}");
    }
    Ok(())
}

/// BFD with these nodes is up, and as fast as the page says.
fn watched(tor: &Router, nodes: &[u8]) -> Result<()> {
    for net in NETS {
        for host in nodes {
            let peer: IpAddr = format!("{net}{host}").parse()?;
            eventually(SOON, &format!("BFD with {peer}"), || {
                let mut sessions = tor.bfd()?.into_iter();
                // One that has just come up is slow at first.
                let quick = Duration::from_secs(2);
                let up = sessions.any(|bfd| bfd.peer == peer && bfd.up && bfd.detection < quick);
                Ok(up.then_some(()))
            })?;
        }
    }
    Ok(())
}

/// The kernel's hash looks at ports: forty connections of one client do not all take one way.
fn by_ports(bare: &Bare) -> Result<()> {
    for address in ["198.51.100.10", "fd98::10"] {
        let mut ways = BTreeSet::new();
        for port in 40000..40040 {
            let port = port.to_string();
            let get = ["ip", "route", "get", address, "ipproto", "tcp"];
            let ports = ["sport", &port, "dport", "80"];
            let answer = bare.exec("tor", &[get.as_slice(), &ports].concat())?;
            let via = answer.split("via ").nth(1).unwrap_or_default();
            ways.insert(via.split(' ').next().unwrap_or_default().to_owned());
        }
        ensure!(
            ways.len() == 3,
            "40 connections to {address} took the ways {ways:?}"
        );
    }
    Ok(())
}

/// The same with Herald, and what its own side of it says: a node that is cut off is gone by BFD, and a
/// password that is mended is enough for the session.
fn works_with_herald(
    page: &str,
    config: fn(&BTreeMap<String, String>) -> Result<Config>,
) -> Result<()> {
    let mut site = works::<Herald>(page, config)?;
    let [_, second, _, wrong] = site.nodes.as_mut_slice() else {
        unreachable!("there are four nodes");
    };
    wrong.set_peers(&peers(14, "s3cret"))?;
    spread(&site.tor, &[12, 13, 14])?;
    watched(&site.tor, &[12, 13, 14])?;
    for name in ["tor4", "tor6"] {
        eventually(SOON, &format!("BFD with {name} at n14"), || {
            let session = wrong.bfd.status(name).and_then(|status| status.session);
            Ok(session.filter(|session| session.state == herald_bfd::State::Up))
        })?;
    }

    // A machine that is busy for 300 ms ends BFD by itself. If that was a moment before the cut, only
    // the hold time is left to notice it.
    let mut by_bfd = false;
    for _ in 0..3 {
        watched(&site.tor, &[12, 13, 14])?;
        let cut = Instant::now();
        // Its end of the cable stays up; nothing passes it.
        site.bare.ip("lan", ["link set n12 nomaster"])?;
        spread(&site.tor, &[13, 14])?;
        let mut ends = Vec::new();
        for name in ["tor4", "tor6"] {
            ends.push(eventually(SOON, &format!("{name} to end at n12"), || {
                let last = second.status(name).and_then(|status| status.last_down);
                let last = last.filter(|(at, _)| *at >= cut);
                Ok(last.map(|(_, down)| down.to_string()))
            })?);
        }
        site.bare.ip("lan", ["link set n12 master bridge"])?;
        spread(&site.tor, &[12, 13, 14])?;
        by_bfd = ends.iter().all(|end| end.contains("BFD"));
        if by_bfd {
            break;
        }
        println!("n12 was cut off, and its sessions ended: {ends:?}");
    }
    ensure!(by_bfd, "BFD has not noticed that n12 was cut off");
    for node in &mut site.nodes {
        node.stop()?;
    }
    site.bare.down();
    Ok(())
}

fn frr(files: &BTreeMap<String, String>) -> Result<Config> {
    Ok(Config::Frr {
        zebra: String::new(),
        bgpd: files.get("bgpd.conf").context("no bgpd.conf")?.clone(),
        bfdd: Some(files.get("bfdd.conf").context("no bfdd.conf")?.clone()),
    })
}

fn bird(files: &BTreeMap<String, String>) -> Result<Config> {
    let text = files.get("bird.conf").context("no bird.conf")?;
    Ok(Config::Bird(text.clone()))
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn the_page_for_frr_works() -> Result<()> {
    works::<Bird>("frr.md", frr)?.bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn the_page_for_bird_works() -> Result<()> {
    works::<Bird>("bird.md", bird)?.bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn the_page_for_frr_works_with_herald() -> Result<()> {
    works_with_herald("frr.md", frr)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn the_page_for_bird_works_with_herald() -> Result<()> {
    works_with_herald("bird.md", bird)
}

#[test]
fn every_page_says_how_to_check_ecmp_and_whether_it_was_tested() -> Result<()> {
    let mut pages = 0;
    for entry in std::fs::read_dir(docs())? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        let page = path.display();
        assert!(text.contains("## Check that ECMP works"), "{page}");
        if path.ends_with("README.md") {
            continue;
        }
        let tested = path.ends_with("frr.md") || path.ends_with("bird.md");
        let not = text.contains("**Not tested by us.**");
        assert_eq!(tested, !not, "{page}");
        pages += 1;
    }
    assert_eq!(pages, 9);
    Ok(())
}
