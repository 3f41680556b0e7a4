//! The nodes of a cluster, with Herald or with BIRD in its place.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use herald_announce::bgp::{Attributes, Community};
use herald_api::config::bgp::{BgpPeer, Password};
use herald_bgp::wire;
use herald_interop::{Config, Family, Router, State};
use herald_lab::Bare;
use herald_model::Cidr;

use crate::speaker::{Herald, profile};
use crate::support::peer;

/// The router of all pages, by either family.
const TOR: [(&str, &str); 2] = [("tor4", "10.0.1.1"), ("tor6", "fd00:0:0:1::1")];
const TOR_AS: u32 = 65100;

/// The pool's addresses and those that it should not announce.
const ROUTES: [&str; 4] = [
    "198.51.100.10/32",
    "203.0.113.1/32",
    "fd98::10/128",
    "fd97::1/128",
];

/// A node that announces the pool's addresses and others.
pub(crate) trait Node {
    /// At this number of the LAN, with this password.
    fn at(bare: &Bare, host: u8, password: &str) -> Result<Self>
    where
        Self: Sized;

    /// It asks the routers to use others.
    fn drain(&mut self) -> Result<()>;

    /// It has a session with the router, of either family.
    fn is_up(&self) -> Result<bool>;

    /// How many prefixes the router has announced to it.
    fn received(&self) -> Result<u64>;
}

/// BIRD.
pub(crate) struct Bird {
    router: Router,
    config: PathBuf,
}

impl Node for Bird {
    fn at(bare: &Bare, host: u8, password: &str) -> Result<Self> {
        let name = format!("n{host}");
        let router = Router::start(bare, &name, &name, &bird(host, password))?;
        let config = bare.dir().join(name).join("bird.conf");
        Ok(Self { router, config })
    }

    fn drain(&mut self) -> Result<()> {
        let text = std::fs::read_to_string(&self.config)?;
        let text = text.replace("export filter serve", "export filter drain");
        std::fs::write(&self.config, text)?;
        self.router.command("configure")?;
        Ok(())
    }

    fn is_up(&self) -> Result<bool> {
        let neighbors = self.router.neighbors()?;
        Ok(neighbors.iter().any(|it| it.state == State::Established))
    }

    fn received(&self) -> Result<u64> {
        let [four, six] = [Family::Ipv4, Family::Ipv6].map(|family| self.router.routes(family));
        Ok(u64::try_from(four?.len() + six?.len())?)
    }
}

fn bird(host: u8, password: &str) -> Config {
    let [a4, b4, a6, b6] = ROUTES;
    Config::Bird(format!(
        r#"
router id 10.0.1.{host};
log stderr all;
protocol device {{}}
protocol static s4 {{ ipv4; route {a4} blackhole; route {b4} blackhole; }}
protocol static s6 {{ ipv6; route {a6} blackhole; route {b6} blackhole; }}
protocol bfd {{ interface "*" {{ min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }}; }}
filter drain {{ if source != RTS_STATIC then reject; bgp_community.add((65535, 0)); accept; }}
filter serve {{ if source != RTS_STATIC then reject; accept; }}
template bgp tor {{
  local as 65001; password "{password}"; ttl security on; bfd on;
  connect delay time 1; connect retry time 1; error wait time 1,2;
}}
protocol bgp tor4 from tor {{
  neighbor 10.0.1.1 as {TOR_AS};
  ipv4 {{ import all; export filter serve; next hop self; }};
}}
protocol bgp tor6 from tor {{
  neighbor fd00:0:0:1::1 as {TOR_AS};
  ipv6 {{ import all; export filter serve; next hop self; }};
}}
"#
    ))
}

impl Node for Herald {
    fn at(bare: &Bare, host: u8, password: &str) -> Result<Self> {
        let netns = bare.netns(&format!("n{host}"));
        let mut herald = Self::start(&netns, &peers(host, password), false)?;
        herald.announce(&prefixes());
        Ok(herald)
    }

    fn drain(&mut self) -> Result<()> {
        let leaving: Community = "graceful-shutdown".parse()?;
        let attributes = Attributes {
            communities: [leaving].into(),
            ..Attributes::default()
        };
        self.announce_with(&prefixes(), &attributes);
        Ok(())
    }

    fn is_up(&self) -> Result<bool> {
        let mut all = TOR.map(|(name, _)| self.status(name)).into_iter();
        Ok(all.any(|status| status.is_some_and(|status| status.is_up())))
    }

    fn received(&self) -> Result<u64> {
        let mut count = 0;
        for (name, _) in TOR {
            let announced = self.status(name).context("no session")?.counters();
            let announced = announced.session.announced;
            count += wire::Family::ALL
                .iter()
                .map(|it| *announced.get(*it))
                .sum::<u64>();
        }
        Ok(count)
    }
}

fn prefixes() -> [Cidr; 4] {
    ROUTES.map(|text| text.parse().expect("a prefix"))
}

/// The sessions of Herald's node at this place, as its side has to be for the pages of routers.
pub(crate) fn peers(host: u8, password: &str) -> Vec<BgpPeer> {
    let peers = TOR.map(|(name, address)| BgpPeer {
        router_id: Some(Ipv4Addr::new(10, 0, 1, host)),
        password: Password::new(password.as_bytes()),
        ttl_security: Some(1),
        bfd: Some(profile(100)),
        dual_stack: false,
        ..peer(name, address.parse().expect("an address"), TOR_AS)
    });
    peers.into()
}
