//! The routes in a namespace's kernel.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use herald_lab::Netns;
use serde::Deserialize;

use super::types::{Family, KernelRoute, Prefix};

#[derive(Deserialize)]
struct Line {
    dst: String,
    #[serde(default)]
    protocol: String,
    gateway: Option<IpAddr>,
    via: Option<Via>,
    #[serde(default)]
    nexthops: Vec<Hop>,
}

#[derive(Deserialize)]
struct Hop {
    gateway: Option<IpAddr>,
    via: Option<Via>,
    #[serde(default)]
    weight: Option<u32>,
}

/// A gateway of the other family (RFC 8950).
#[derive(Deserialize)]
struct Via {
    host: IpAddr,
}

/// The routes of a namespace's main table.
pub fn kernel_routes(netns: &Netns, family: Family) -> Result<Vec<KernelRoute>> {
    let family = match family {
        Family::Ipv4 => "-4",
        Family::Ipv6 => "-6",
    };
    let output = Command::new("ip")
        .args(["-n", netns.name(), "-j", family, "route"])
        .output()
        .context("cannot run ip")?;
    ensure!(
        output.status.success(),
        "cannot list the routes of {}: {}",
        netns.name(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let text = String::from_utf8(output.stdout)?;
    // An empty table is printed as nothing.
    let lines: Vec<Line> = if text.trim().is_empty() {
        Vec::new()
    } else {
        serde_json::from_str(&text)?
    };
    lines.into_iter().map(route).collect()
}

fn route(line: Line) -> Result<KernelRoute> {
    let prefix = if line.dst == "default" {
        Prefix {
            address: if family_of(&line) == Family::Ipv4 {
                IpAddr::from([0; 4])
            } else {
                IpAddr::from([0; 16])
            },
            length: 0,
        }
    } else {
        line.dst.parse()?
    };
    let single = line.gateway.or_else(|| line.via.map(|via| via.host));
    let mut next_hops: Vec<(IpAddr, u32)> = single
        .map(|gateway| (gateway, 1))
        .into_iter()
        .chain(line.nexthops.into_iter().filter_map(|hop| {
            let gateway = hop.gateway.or_else(|| hop.via.map(|via| via.host))?;
            Some((gateway, hop.weight.unwrap_or(1)))
        }))
        .collect();
    next_hops.sort_unstable();
    Ok(KernelRoute {
        prefix,
        next_hops,
        protocol: line.protocol,
    })
}

fn family_of(line: &Line) -> Family {
    let gateways = line
        .gateway
        .into_iter()
        .chain(line.nexthops.iter().filter_map(|hop| hop.gateway));
    if gateways.into_iter().any(|gateway| gateway.is_ipv6()) {
        Family::Ipv6
    } else {
        Family::Ipv4
    }
}
