//! What Herald and real routers must both be set up for: passwords and TTL security, an AS in common,
//! roles, and the texts at the end of a session.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_announce::bgp::Attributes;
use herald_bgp::session::RoleConfig;
use herald_bgp::wire::Role;
use herald_interop::{Config, Router, State, eventually, lan};
use herald_lab::Bare;
use herald_netsys::tcp;
use herald_speaker::bgp::{PeerPlan, Plans};
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host, planned_as};
use crate::support::{ASN, peer};

const FRR: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
const BIRD: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 3);
const VIP: &str = "198.51.100.1/32";

/// Herald, FRR and BIRD on one bridge.
pub(super) struct Triangle {
    pub(super) bare: Bare,
    pub(super) routers: [Router; 2],
}

impl Triangle {
    /// The routers are in `asn`; `frr` are lines about the neighbour, `bird` are of its protocol.
    pub(super) fn new(asn: u32, frr: &[&str], bird: &str) -> Result<Self> {
        let bare = lan("hub", &["frr", "bird"])?;
        let lines: String = frr
            .iter()
            .map(|line| match line.strip_prefix("bgp ") {
                Some(_) => format!(" {line}\n"),
                None => format!(" neighbor {HERALD} {line}\n"),
            })
            .collect();
        let frr = Config::frr(format!(
            "router bgp {asn}\n bgp router-id {FRR}\n no bgp ebgp-requires-policy\n \
             neighbor {HERALD} remote-as {ASN}\n neighbor {HERALD} passive\n{lines}"
        ));
        let bird = Config::Bird(format!(
            "router id {BIRD};\nlog stderr all;\nprotocol device {{}}\n\
             protocol bgp herald {{ local {BIRD} as {asn}; neighbor {HERALD} as {ASN}; passive on;\n\
             {bird}\nipv4 {{ import all; export none; }}; }}\n"
        ));
        let routers = [
            Router::start(&bare, "frr", "frr", &frr)?,
            Router::start(&bare, "bird", "bird", &bird)?,
        ];
        Ok(Self { bare, routers })
    }

    /// Herald announces one address to both.
    pub(super) fn herald(&self, plans: Plans) -> Herald {
        let netns = self.bare.netns("hub");
        let mut herald = Herald::with_plans(&netns, plans, CancellationToken::new());
        herald.announce("web", &[host(VIP)], &Attributes::default());
        herald
    }
}

/// Waits until a router has the address.
pub(super) fn wait_route(router: &Router) -> Result<herald_interop::Route> {
    let what = format!("{VIP} at {}", router.name());
    eventually(SOON, &what, || Ok(router.paths(VIP.parse()?)?.pop()))
}

/// Sessions with both routers, which are in `asn`.
pub(super) fn plans(
    asn: u32,
    graceful: bool,
    restarted: bool,
    change: impl Fn(&mut PeerPlan),
) -> Result<Plans> {
    let both = [("frr", FRR), ("bird", BIRD)].map(|(name, address)| {
        let mut one = peer(name, IpAddr::V4(address), asn);
        one.graceful_restart = graceful;
        one
    });
    planned_as(both.into(), restarted, change)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_2385_and_5082_a_session_needs_the_password_and_the_ttl_of_a_neighbour() -> Result<()> {
    let frr = ["password s3cret", "ttl-security hops 1"];
    let triangle = Triangle::new(65002, &frr, "password \"s3cret\"; ttl security on;")?;
    let with = |password: &'static str, ttl: bool| {
        plans(65002, false, false, move |plan| {
            plan.password = tcp::Password::new(password.as_bytes()).ok();
            if ttl {
                plan.hops = tcp::Hops::Within(std::num::NonZeroU8::MIN);
            }
            plan.session.timers.dial = Duration::from_secs(2);
        })
    };
    let mut herald = triangle.herald(with("wrong", true)?);
    for wrong in [None, Some(with("s3cret", false)?)] {
        let wrong_password = wrong.is_none();
        if let Some(plans) = wrong {
            herald.set_plans(plans);
        }
        let end = Instant::now() + Duration::from_secs(4);
        while Instant::now() < end {
            for router in &triangle.routers {
                let neighbor = router.neighbor(HERALD.into())?;
                let state = neighbor.map(|neighbor| neighbor.state);
                ensure!(
                    state != Some(State::Established),
                    "{} takes it",
                    router.name()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // Without the password nothing is answered; what is too far away may be taken first.
        for name in ["frr", "bird"].into_iter().filter(|_| wrong_password) {
            let error = herald.problem(name).context("a reason")?;
            ensure!(error.starts_with("cannot connect"), "{error}");
        }
    }
    herald.set_plans(with("s3cret", true)?);
    for router in &triangle.routers {
        wait_route(router)?;
    }
    herald.stop()?;
    triangle.bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_4271_routers_of_the_own_as_get_local_pref_and_an_empty_path() -> Result<()> {
    let triangle = Triangle::new(ASN, &[], "")?;
    let mut herald = triangle.herald(plans(ASN, false, false, |_| {})?);
    let chosen = Attributes {
        local_pref: Some(250),
        ..Attributes::default()
    };
    for (attributes, local_pref) in [(Attributes::default(), 100), (chosen, 250)] {
        herald.announce("web", &[host(VIP)], &attributes);
        for router in &triangle.routers {
            let what = format!("LOCAL_PREF {local_pref} at {}", router.name());
            let route = eventually(SOON, &what, || {
                let route = router.paths(VIP.parse()?)?.pop();
                Ok(route.filter(|route| route.attributes.local_pref == Some(local_pref)))
            })?;
            ensure!(route.attributes.as_path.is_empty(), "{route:?}");
            ensure!(
                route.attributes.next_hops == [IpAddr::V4(HERALD)],
                "{route:?}"
            );
        }
    }
    herald.stop()?;
    triangle.bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_9003_the_text_of_an_operator_is_told_here_and_ours_is_told_there() -> Result<()> {
    let triangle = Triangle::new(65002, &[], "")?;
    let mut herald = triangle.herald(plans(65002, false, false, |_| {})?);
    let [_, bird] = &triangle.routers;
    wait_route(bird)?;
    bird.command("disable herald \"line card is replaced\"")?;
    eventually(SOON, "the text of BIRD's operator", || {
        let error = herald.last_down("bird").unwrap_or_default();
        Ok(error.contains("line card is replaced").then_some(()))
    })?;
    bird.command("enable herald")?;
    wait_route(bird)?;
    herald.stop()?;
    eventually(SOON, "Herald's text at BIRD", || {
        let protocol = bird.command("show protocols all herald")?;
        ensure!(
            protocol.contains("the speaker of this node ends"),
            "{protocol}"
        );
        Ok(Some(()))
    })?;
    triangle.bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_9234_a_provider_is_taken_and_another_customer_is_not() -> Result<()> {
    let customer = |plan: &mut PeerPlan| {
        plan.session.role = Some(RoleConfig {
            role: Role::Customer,
            strict: true,
        });
    };
    for (role, fits) in [("provider", true), ("customer", false)] {
        let frr = format!("local-role {role}");
        let triangle = Triangle::new(65002, &[&frr], &format!("local role {role};"))?;
        let mut herald = triangle.herald(plans(65002, false, false, customer)?);
        for router in &triangle.routers {
            if fits {
                wait_route(router)?;
                continue;
            }
            eventually(SOON, "a word about the roles", || {
                let error = herald.problem(router.name()).unwrap_or_default();
                Ok((error.contains("role")).then_some(()))
            })?;
        }
        herald.stop()?;
        triangle.bare.down();
    }
    Ok(())
}
