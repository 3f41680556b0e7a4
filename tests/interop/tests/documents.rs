//! The configurations in docs/routers are run as they are there: sessions of nodes that come and go
//! come up with MD5, GTSM and BFD, what is not of the pool stays out, flows are spread, a node that
//! drains is left alone.
#![cfg(test)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_interop::{Config, Family, Prefix, Router, State, document, eventually};
use herald_lab::Bare;

const SOON: Duration = Duration::from_secs(40);
const TOR: &str = "10.0.1.1";
const NODES: [u8; 4] = [11, 12, 13, 14];

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

/// A node's side: the pool's address and one that it should not announce.
fn node(host: u8, password: &str) -> Config {
    Config::Bird(format!(
        r#"
router id 10.0.1.{host};
log stderr all;
protocol device {{}}
protocol static s4 {{ ipv4; route 198.51.100.10/32 blackhole; route 203.0.113.1/32 blackhole; }}
protocol static s6 {{ ipv6; route fd98::10/128 blackhole; route fd97::1/128 blackhole; }}
protocol bfd {{ interface "*" {{ min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }}; }}
filter drain {{ if source != RTS_STATIC then reject; bgp_community.add((65535, 0)); accept; }}
filter serve {{ if source != RTS_STATIC then reject; accept; }}
template bgp tor {{
  local as 65001; password "{password}"; ttl security on; bfd on;
  connect delay time 1; connect retry time 1; error wait time 1,2;
}}
protocol bgp tor4 from tor {{
  neighbor 10.0.1.1 as 65100;
  ipv4 {{ import all; export filter serve; next hop self; }};
}}
protocol bgp tor6 from tor {{
  neighbor fd00:0:0:1::1 as 65100;
  ipv6 {{ import all; export filter serve; next hop self; }};
}}
"#
    ))
}

fn spread(router: &Router, nodes: &[u8]) -> Result<()> {
    for (prefix, net) in [("198.51.100.10", "10.0.1."), ("fd98::10", "fd00:0:0:1::")] {
        let prefix: Prefix = prefix.parse()?;
        let address = |node: &u8| format!("{net}{node}").parse::<IpAddr>();
        let wanted: Vec<IpAddr> = nodes.iter().map(address).collect::<Result<_, _>>()?;
        router.wait_spread(prefix, &wanted, SOON)?;
    }
    Ok(())
}

fn works(page: &str, config: impl Fn(&BTreeMap<String, String>) -> Result<Config>) -> Result<()> {
    let files = document::files(&docs().join(page))?;
    let bare = network(&files)?;
    let tor = Router::start(&bare, "tor", "tor", &config(&files)?)?;
    let mut nodes = Vec::new();
    for host in NODES {
        let name = format!("n{host}");
        let password = if host == 14 { "wrong" } else { "s3cret" };
        nodes.push(Router::start(&bare, &name, &name, &node(host, password))?);
    }
    spread(&tor, &[11, 12, 13])?;
    for family in [Family::Ipv4, Family::Ipv6] {
        let routes = tor.routes(family)?;
        let only = ["198.51.100.10/32", "fd98::10/128"];
        ensure!(
            routes
                .iter()
                .all(|route| only.contains(&route.prefix.to_string().as_str())),
            "more than the pool: {routes:?}"
        );
        for node in &nodes {
            let back = node.routes(family)?;
            ensure!(back.is_empty(), "{} was told {back:?}", node.name());
        }
    }
    for net in ["10.0.1.", "fd00:0:0:1::"] {
        for host in [11, 12, 13] {
            let peer: IpAddr = format!("{net}{host}").parse()?;
            eventually(SOON, &format!("BFD with {peer}"), || {
                let up = tor.bfd()?.iter().any(|bfd| bfd.peer == peer && bfd.up);
                Ok(up.then_some(()))
            })?;
        }
    }

    // The hash looks at ports: forty connections of one client do not all take one way.
    let mut ways = std::collections::BTreeSet::new();
    for port in 40000..40040 {
        let port = port.to_string();
        let get = ["ip", "route", "get", "198.51.100.10", "ipproto", "tcp"];
        let ports = ["sport", &port, "dport", "80"];
        let answer = bare.exec("tor", &[get.as_slice(), &ports].concat())?;
        let via = answer.split("via ").nth(1).unwrap_or_default();
        ways.insert(via.split(' ').next().unwrap_or_default().to_owned());
    }
    ensure!(ways.len() == 3, "40 connections took the ways {ways:?}");

    // n11 drains: the others carry on.
    let [first, .., wrong] = nodes.as_slice() else {
        unreachable!("there are four nodes");
    };
    let text = std::fs::read_to_string(bare.dir().join("n11/bird.conf"))?;
    let text = text.replace("export filter serve", "export filter drain");
    std::fs::write(bare.dir().join("n11/bird.conf"), text)?;
    first.command("configure")?;
    spread(&tor, &[12, 13])?;
    let one = tor.paths("198.51.100.10".parse()?)?;
    let drained = one
        .iter()
        .find(|route| route.from == IpAddr::from([10, 0, 1, 11]));
    let drained = drained.context("the draining node's route is gone already")?;
    ensure!(drained.attributes.local_pref == Some(0), "{drained:?}");

    // All this time the fourth has not come in.
    thread::sleep(Duration::from_millis(500));
    let state = wrong
        .neighbor(TOR.parse()?)?
        .context("no session is configured")?
        .state;
    ensure!(state != State::Established, "a wrong password was taken");
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn the_page_for_frr_works() -> Result<()> {
    works("frr.md", |files| {
        Ok(Config::Frr {
            zebra: String::new(),
            bgpd: files.get("bgpd.conf").context("no bgpd.conf")?.clone(),
            bfdd: Some(files.get("bfdd.conf").context("no bfdd.conf")?.clone()),
        })
    })
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn the_page_for_bird_works() -> Result<()> {
    works("bird.md", |files| {
        let text = files.get("bird.conf").context("no bird.conf")?;
        Ok(Config::Bird(text.clone()))
    })
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
