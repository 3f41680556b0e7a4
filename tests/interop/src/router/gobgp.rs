//! `GoBGP` 4, asked by its own client.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use herald_lab::{Netns, Process, ProcessSpec};
use serde_json::Value;

use super::types::{Attributes, BfdSession, Family, Neighbor, Route, State};
use super::{Control, Place, text};

/// Where `tests/interop/gobgp/build.sh` puts the programs.
fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("HERALD_GOBGP") {
        return Ok(folder.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Ok(cache
        .context("neither HOME nor HERALD_GOBGP is set")?
        .join("herald/gobgp"))
}

pub(super) fn start(place: &Place<'_>, config: &str) -> Result<(Vec<Process>, Box<dyn Control>)> {
    let folder = folder()?;
    let server = folder.join("gobgpd");
    ensure!(
        server.exists(),
        "there is no {}: run tests/interop/gobgp/build.sh",
        server.display()
    );
    let file = place.file("gobgp.toml", config)?;
    let spec = ProcessSpec::new(place.name, server).args([
        "-f",
        text(&file)?,
        "--api-hosts",
        "127.0.0.1:50051",
    ]);
    let control = Gobgp {
        client: folder.join("gobgp"),
        netns: place.ground.netns(place.part),
    };
    Ok((vec![place.spawn(spec)?], Box::new(control)))
}

struct Gobgp {
    client: PathBuf,
    netns: Netns,
}

impl Gobgp {
    fn ask(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("ip")
            .args(["netns", "exec", self.netns.name()])
            .arg(&self.client)
            .args(args)
            .output()?;
        // Its errors are on either output.
        ensure!(
            output.status.success(),
            "`gobgp {}`: {}{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stdout).trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    fn json(&self, args: &[&str]) -> Result<Value> {
        let args: Vec<&str> = std::iter::once("-j").chain(args.iter().copied()).collect();
        let answer = self.ask(&args)?;
        serde_json::from_str(&answer).with_context(|| format!("`gobgp {}`", args.join(" ")))
    }
}

fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn session(value: &Value, now: u64) -> Result<Neighbor> {
    let state = match value["state"]["session_state"].as_u64() {
        Some(1) => State::Idle,
        Some(2) => State::Connect,
        Some(3) => State::Active,
        Some(4) => State::OpenSent,
        Some(5) => State::OpenConfirm,
        Some(6) => State::Established,
        _ => State::Down,
    };
    let since = value["timers"]["state"]["uptime"]["seconds"].as_u64();
    let families = value["afi_safis"].as_array().into_iter().flatten();
    let prefixes = families
        .filter_map(|family| family["state"]["accepted"].as_u64())
        .sum::<u64>();
    let address = value["state"]["neighbor_address"]
        .as_str()
        .or_else(|| value["conf"]["neighbor_address"].as_str());
    let address = address.context("a neighbour without an address")?;
    Ok(Neighbor {
        address: address.split('%').next().unwrap_or_default().parse()?,
        remote_as: number(&value["state"]["peer_asn"]),
        state,
        uptime: since
            .filter(|_| state == State::Established)
            .map(|since| Duration::from_secs(now.saturating_sub(since))),
        prefixes: usize::try_from(prefixes)?,
    })
}

/// It says what it is set to, and not what it has agreed on with the peer.
fn bfd_session(value: &Value) -> Result<BfdSession> {
    let config = &value["conf"]["bfd"];
    let setting = |name: &str| config[name].as_u64().unwrap_or_default();
    let detection = setting("required_minimum_receive") * setting("detection_multiplier");
    Ok(BfdSession {
        peer: session(value, 0)?.address,
        up: value["state"]["bfd_state"]["session_state"].as_u64() == Some(1),
        detection: Duration::from_micros(detection),
        echoes: None,
        remote_discriminator: None,
    })
}

fn attributes(list: &Value) -> Attributes {
    let mut all = Attributes::default();
    for attribute in list.as_array().into_iter().flatten() {
        let value = &attribute["value"];
        match attribute["type"].as_u64() {
            Some(2) => {
                all.as_path = attribute["as_paths"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|segment| segment["asns"].as_array())
                    .flatten()
                    .filter_map(number)
                    .collect();
            }
            Some(3 | 14) => {
                let hop: Option<IpAddr> = attribute["nexthop"]
                    .as_str()
                    .and_then(|hop| hop.parse().ok());
                all.next_hops.extend(hop);
            }
            Some(4) => all.med = number(&attribute["metric"]).or_else(|| number(value)),
            Some(5) => all.local_pref = number(value),
            Some(8) => {
                let list = attribute["communities"].as_array().into_iter().flatten();
                all.communities = list
                    .filter_map(number)
                    .map(|community| format!("{}:{}", community >> 16, community & 0xffff))
                    .collect();
            }
            Some(16) => {
                let list = value.as_array().into_iter().flatten();
                all.extended = list.map(ToString::to_string).collect();
            }
            Some(32) => {
                let list = value.as_array().into_iter().flatten();
                all.large = list
                    .map(|one| {
                        format!("{}:{}:{}", one["ASN"], one["LocalData1"], one["LocalData2"])
                    })
                    .collect();
            }
            _ => {}
        }
    }
    all
}

impl Control for Gobgp {
    fn ready(&self) -> Result<bool> {
        self.ask(&["global"]).map(|_| true)
    }

    fn command(&self, command: &str) -> Result<String> {
        self.ask(&command.split_whitespace().collect::<Vec<_>>())
    }

    fn neighbors(&self) -> Result<Vec<Neighbor>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let list = self.json(&["neighbor"])?;
        let list = list.as_array().into_iter().flatten();
        list.map(|value| session(value, now)).collect()
    }

    fn routes(&self, family: Family) -> Result<Vec<Route>> {
        let family = match family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let table: BTreeMap<String, Vec<Value>> =
            serde_json::from_value(self.json(&["global", "rib", "-a", family])?)?;
        let mut routes = Vec::new();
        for (prefix, paths) in table {
            for path in paths {
                // One without a peer is the router's own.
                let peer = path["peer-address"].as_str().unwrap_or_default();
                let Ok(from) = peer.split('%').next().unwrap_or_default().parse() else {
                    continue;
                };
                routes.push(Route {
                    prefix: prefix.parse()?,
                    from,
                    best: path["best"] == true,
                    attributes: attributes(&path["attrs"]),
                });
            }
        }
        Ok(routes)
    }

    fn bfd(&self) -> Result<Vec<BfdSession>> {
        let list = self.json(&["neighbor"])?;
        let list = list.as_array().into_iter().flatten();
        let watched = list.filter(|value| value["state"]["bfd_state"].is_object());
        watched.map(bfd_session).collect()
    }
}
