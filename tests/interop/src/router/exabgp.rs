//! `ExaBGP` 4: it has no table, so its events are kept in a file and read back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use herald_lab::{Process, ProcessSpec};
use serde_json::Value;

use super::types::{Attributes, BfdSession, Family, Neighbor, Prefix, Route, State};
use super::{Control, Place, text};

/// Writes events to a file and passes commands from another. It must keep its standard output.
const HELPER: &str = "#!/bin/sh
tail --pid=$$ -n +1 -f commands &
while read -r line; do printf '%s\\n' \"$line\" >>events; done
";

pub(super) fn start(
    place: &Place<'_>,
    config: &str,
    listen: Option<IpAddr>,
) -> Result<(Vec<Process>, Box<dyn Control>)> {
    let helper = place.file(
        "helper.sh",
        &format!("cd '{}'\n{HELPER}", text(&place.dir)?),
    )?;
    place.file("commands", "")?;
    place.file("events", "")?;
    let config = format!(
        "process events {{ run /bin/sh {}; encoder json; }}\n{config}\n",
        text(&helper)?
    );
    let file = place.file("exabgp.conf", &config)?;
    let listen = listen.map_or_else(String::new, |address| address.to_string());
    let spec = ProcessSpec::new(place.name, "exabgp")
        .env("exabgp.daemon.user", "root")
        .env("exabgp.daemon.drop", "false")
        .env("exabgp.api.cli", "false")
        .env("exabgp.api.ack", "false")
        .env("exabgp.log.destination", "stdout")
        .env("exabgp.tcp.bind", listen)
        .arg(text(&file)?);
    let control = Exabgp {
        dir: place.dir.clone(),
    };
    Ok((vec![place.spawn(spec)?], Box::new(control)))
}

struct Exabgp {
    dir: PathBuf,
}

#[derive(Default)]
struct Known {
    neighbors: BTreeMap<IpAddr, Neighbor>,
    routes: BTreeMap<(IpAddr, Prefix), Route>,
}

impl Exabgp {
    fn known(&self) -> Result<Known> {
        let events = fs::read_to_string(self.dir.join("events"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let mut known = Known::default();
        // The last line may be half written.
        for event in events
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
        {
            known.apply(&event, now)?;
        }
        for neighbor in known.neighbors.values_mut() {
            let routes = known.routes.keys();
            neighbor.prefixes = routes.filter(|(from, _)| *from == neighbor.address).count();
        }
        Ok(known)
    }
}

impl Known {
    fn apply(&mut self, event: &Value, now: f64) -> Result<()> {
        let value = &event["neighbor"];
        let Some(peer) = value["address"]["peer"].as_str() else {
            return Ok(());
        };
        let peer: IpAddr = peer.parse()?;
        if event["type"] == "state" {
            let up = value["state"] == "up";
            if !up {
                self.routes.retain(|(from, _), _| *from != peer);
            }
            let since = now - event["time"].as_f64().unwrap_or(now);
            let asn = value["asn"]["peer"].as_u64();
            let neighbor = Neighbor {
                address: peer,
                remote_as: asn.and_then(|asn| u32::try_from(asn).ok()),
                state: if up { State::Established } else { State::Down },
                uptime: up.then(|| Duration::from_secs_f64(since.max(0.0))),
                prefixes: 0,
            };
            self.neighbors.insert(peer, neighbor);
        }
        let update = &value["message"]["update"];
        for list in update["withdraw"]
            .as_object()
            .into_iter()
            .flat_map(|all| all.values())
        {
            for nlri in list.as_array().into_iter().flatten() {
                let prefix = nlri["nlri"]
                    .as_str()
                    .context("a withdrawal without a prefix")?;
                self.routes.remove(&(peer, prefix.parse()?));
            }
        }
        let mut fresh: BTreeMap<Prefix, Route> = BTreeMap::new();
        for hops in update["announce"]
            .as_object()
            .into_iter()
            .flat_map(|all| all.values())
        {
            for (hop, list) in hops.as_object().into_iter().flatten() {
                for nlri in list.as_array().into_iter().flatten() {
                    // An End-of-RIB is announced, too.
                    let Some(prefix) = nlri["nlri"].as_str() else {
                        continue;
                    };
                    let prefix: Prefix = prefix.parse()?;
                    // A pair of next hops is two announcements of one event.
                    let seen = fresh.entry(prefix).or_insert_with(|| Route {
                        prefix,
                        from: peer,
                        best: true,
                        attributes: attributes(&update["attribute"]),
                    });
                    seen.attributes.next_hops.extend(hop.parse::<IpAddr>());
                }
            }
        }
        for (prefix, mut route) in fresh {
            let hops = &mut route.attributes.next_hops;
            hops.sort_by_key(|hop| matches!(hop, IpAddr::V6(hop) if hop.is_unicast_link_local()));
            self.routes.insert((peer, prefix), route);
        }
        Ok(())
    }
}

fn attributes(value: &Value) -> Attributes {
    let number = |name: &str| value[name].as_u64().and_then(|one| u32::try_from(one).ok());
    let tuples = |name: &str| -> Vec<String> {
        let list = value[name].as_array().into_iter().flatten();
        list.filter_map(Value::as_array)
            .map(|parts| {
                let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
                parts.join(":")
            })
            .collect()
    };
    Attributes {
        next_hops: Vec::new(),
        as_path: value["as-path"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|asn| u32::try_from(asn.as_u64()?).ok())
            .collect(),
        local_pref: number("local-preference"),
        med: number("med"),
        communities: tuples("community"),
        large: tuples("large-community"),
        extended: value["extended-community"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["string"].as_str().map(str::to_owned))
            .collect(),
    }
}

impl Control for Exabgp {
    /// It says nothing to the helper before its first session; its log shows the helper.
    fn ready(&self) -> Result<bool> {
        Ok(true)
    }

    /// Gives a command of its API, e.g. `announce route 203.0.113.7/32 next-hop self`.
    fn command(&self, command: &str) -> Result<String> {
        let file = self.dir.join("commands");
        let mut file = File::options().append(true).open(file)?;
        file.write_all(format!("{command}\n").as_bytes())?;
        Ok(String::new())
    }

    fn neighbors(&self) -> Result<Vec<Neighbor>> {
        Ok(self.known()?.neighbors.into_values().collect())
    }

    fn routes(&self, family: Family) -> Result<Vec<Route>> {
        let mut routes: Vec<Route> = self.known()?.routes.into_values().collect();
        routes.retain(|route| route.prefix.address.is_ipv4() == (family == Family::Ipv4));
        Ok(routes)
    }

    fn bfd(&self) -> Result<Vec<BfdSession>> {
        bail!("ExaBGP has no BFD")
    }
}
