//! Passwords and TTL security that are changed at both ends of a live session, one end after the other.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use herald_interop::{Router, State, eventually};
use herald_netsys::tcp::{Hops, Password};
use herald_speaker::bgp::Plans;

use super::agreements::{Triangle, plans, wait_route};
use super::speaker::{HERALD, Herald, SOON};
use crate::support::ASN;

const AS: u32 = 65002;
const BIRD: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 3);

/// How long the second end takes to get the change.
const BETWEEN: Duration = Duration::from_secs(3);

/// How long a session may be away at most: far less than the hold time.
const AWAY: Duration = Duration::from_secs(15);

/// What both ends have to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Secret {
    password: &'static str,
    ttl: bool,
}

const BEFORE: Secret = Secret {
    password: "before",
    ttl: false,
};

fn plans_with(secret: Secret) -> Result<Plans> {
    plans(AS, false, false, |plan| {
        plan.password = Password::new(secret.password).ok();
        plan.hops = if secret.ttl {
            Hops::Within(std::num::NonZeroU8::MIN)
        } else {
            Hops::ONE
        };
    })
}

fn bird(secret: Secret) -> String {
    let ttl = if secret.ttl { "on" } else { "off" };
    format!("password \"{}\"; ttl security {ttl};", secret.password)
}

fn change_routers(triangle: &Triangle, from: Secret, to: Secret) -> Result<()> {
    let [frr, bird_router] = &triangle.routers;
    let change = if from.ttl == to.ttl {
        format!("neighbor {HERALD} password {}", to.password)
    } else {
        let no = if to.ttl { "" } else { "no " };
        format!("{no}neighbor {HERALD} ttl-security hops 1")
    };
    frr.command(&format!(
        "enable\nconfigure terminal\nrouter bgp {AS}\n{change}"
    ))?;
    let file = std::env::temp_dir().join(format!("herald-bird-{}.conf", std::process::id()));
    std::fs::write(
        &file,
        format!(
            "timeformat protocol \"%s\";\nrouter id {BIRD};\nlog stderr all;\nprotocol device {{}}\n\
             protocol bgp herald {{ local {BIRD} as {AS}; neighbor {HERALD} as {ASN}; passive on;\n\
             {}\nipv4 {{ import all; export none; }}; }}\n",
            bird(to)
        ),
    )?;
    let configured = bird_router.command(&format!("configure \"{}\"", file.display()));
    std::fs::remove_file(&file)?;
    configured?;
    Ok(())
}

fn is_up(herald: &Herald, router: &Router) -> Result<bool> {
    let ours = herald.statuses.borrow();
    let ours = ours.get(router.name()).is_some_and(|it| it.up.is_some());
    let theirs = router.neighbor(HERALD.into())?;
    Ok(ours && theirs.is_some_and(|neighbor| neighbor.state == State::Established))
}

/// From one secret to the next and back, at the two ends in this order.
fn changed(herald_first: bool, after: Secret) -> Result<()> {
    let frr = [format!("password {}", BEFORE.password)];
    let frr: Vec<&str> = frr.iter().map(String::as_str).collect();
    let triangle = Triangle::new(AS, &frr, &bird(BEFORE))?;
    let mut herald = triangle.herald(plans_with(BEFORE)?);
    for router in &triangle.routers {
        wait_route(router)?;
    }
    for (from, to) in [(BEFORE, after), (after, BEFORE)] {
        if herald_first {
            herald.set_plans(plans_with(to)?);
            std::thread::sleep(BETWEEN);
            for router in &triangle.routers {
                ensure!(is_up(&herald, router)?, "{} has lost it", router.name());
            }
            change_routers(&triangle, from, to)?;
        } else {
            change_routers(&triangle, from, to)?;
            std::thread::sleep(BETWEEN);
            herald.set_plans(plans_with(to)?);
        }
        let begun = Instant::now();
        // A router may take a moment to do what it was told.
        std::thread::sleep(Duration::from_secs(1));
        for router in &triangle.routers {
            let what = format!("a session with {} by {to:?}", router.name());
            eventually(
                SOON * 4,
                &what,
                || Ok(is_up(&herald, router)?.then_some(())),
            )?;
            wait_route(router)?;
            let away = begun.elapsed();
            ensure!(away < AWAY, "{} was away for {away:?}", router.name());
        }
    }
    herald.stop()?;
    triangle.bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_password_that_herald_changes_first_costs_no_more_than_a_moment() -> Result<()> {
    changed(
        true,
        Secret {
            password: "after",
            ..BEFORE
        },
    )
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_password_that_the_routers_change_first_costs_no_more_than_a_moment() -> Result<()> {
    changed(
        false,
        Secret {
            password: "after",
            ..BEFORE
        },
    )
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn ttl_security_that_herald_changes_first_costs_no_more_than_a_moment() -> Result<()> {
    changed(
        true,
        Secret {
            ttl: true,
            ..BEFORE
        },
    )
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn ttl_security_that_the_routers_change_first_costs_no_more_than_a_moment() -> Result<()> {
    changed(
        false,
        Secret {
            ttl: true,
            ..BEFORE
        },
    )
}
