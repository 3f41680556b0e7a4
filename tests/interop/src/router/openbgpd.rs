//! `OpenBGPD`, asked by its own client. On Linux it writes no routes to the kernel and has no BFD.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use herald_lab::{Process, ProcessSpec};
use serde_json::Value;

use super::types::{Attributes, BfdSession, Family, Neighbor, Route, State};
use super::{Control, Place, text};

pub(super) fn start(place: &Place<'_>, config: &str) -> Result<(Vec<Process>, Box<dyn Control>)> {
    // It changes its root to this folder, which the package leaves to the service's start.
    fs::create_dir_all("/run/openbgpd").context("cannot make /run/openbgpd")?;
    let socket = place.dir.join("control");
    let config = format!("socket \"{}\"\n{config}\n", text(&socket)?);
    let file = place.file("bgpd.conf", &config)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    let spec =
        ProcessSpec::new(place.name, "/usr/sbin/bgpd").args(["-d", "-v", "-f", text(&file)?]);
    Ok((vec![place.spawn(spec)?], Box::new(Openbgpd { socket })))
}

struct Openbgpd {
    socket: PathBuf,
}

impl Openbgpd {
    fn ask(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("bgpctl")
            .arg("-s")
            .arg(&self.socket)
            .args(args)
            .output()
            .context("cannot run bgpctl: run tests/lab/install-packages")?;
        ensure!(
            output.status.success(),
            "`bgpctl {}`: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

impl Control for Openbgpd {
    fn ready(&self) -> Result<bool> {
        self.ask(&["show"]).map(|_| true)
    }

    fn command(&self, command: &str) -> Result<String> {
        self.ask(&command.split_whitespace().collect::<Vec<_>>())
    }

    fn neighbors(&self) -> Result<Vec<Neighbor>> {
        let answer: Value = serde_json::from_str(&self.ask(&["-j", "show", "neighbor"])?)?;
        let list = answer["neighbors"].as_array().into_iter().flatten();
        list.filter_map(|value| Some((value, value["remote_addr"].as_str()?.parse().ok()?)))
            .map(|(value, address)| {
                let state = State::named(value["state"].as_str().unwrap_or_default());
                let since = value["last_updown_sec"].as_u64();
                let prefixes = &value["stats"]["prefixes"]["received"];
                Ok(Neighbor {
                    address,
                    remote_as: value["remote_as"].as_str().and_then(|asn| asn.parse().ok()),
                    state,
                    uptime: since
                        .filter(|_| state == State::Established)
                        .map(Duration::from_secs),
                    prefixes: usize::try_from(prefixes.as_u64().unwrap_or(0))?,
                })
            })
            .collect()
    }

    fn routes(&self, family: Family) -> Result<Vec<Route>> {
        let answer = self.ask(&["-j", "show", "rib", "detail"])?;
        let answer: Value = serde_json::from_str(&answer)?;
        let mut routes = Vec::new();
        for value in answer["rib"].as_array().into_iter().flatten() {
            let prefix = value["prefix"]
                .as_str()
                .context("a route without a prefix")?;
            let path = value["aspath"].as_str().unwrap_or_default();
            let from = value["neighbor"]["remote_addr"]
                .as_str()
                .unwrap_or_default();
            let hop = value["exit_nexthop"]
                .as_str()
                .and_then(|hop| hop.parse().ok());
            let prefix: super::types::Prefix = prefix.parse()?;
            // A route of its own has no neighbour.
            let Ok(from) = from.parse() else { continue };
            if prefix.address.is_ipv4() != (family == Family::Ipv4) {
                continue;
            }
            routes.push(Route {
                prefix,
                from,
                best: value["best"] == true,
                attributes: Attributes {
                    next_hops: hop.into_iter().collect(),
                    as_path: path
                        .split_whitespace()
                        .filter_map(|a| a.parse().ok())
                        .collect(),
                    local_pref: number(&value["localpref"]),
                    med: number(&value["metric"]),
                    communities: strings(&value["communities"]),
                    large: strings(&value["large_communities"]),
                    extended: strings(&value["extended_communities"]),
                },
            });
        }
        Ok(routes)
    }

    fn bfd(&self) -> Result<Vec<BfdSession>> {
        bail!("OpenBGPD has no BFD on Linux")
    }
}
