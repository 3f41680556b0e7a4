//! FRR: zebra, bgpd and bfdd, asked by their vty sockets.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_lab::{Process, ProcessSpec};
use nix::unistd::{Group, User, chown};
use serde::Deserialize;
use serde_json::Value;

use super::types::{Attributes, BfdSession, Family, Neighbor, Route, State};
use super::{Control, Place, text};

const FOLDER: &str = "/usr/lib/frr";

pub(super) fn start(
    place: &Place<'_>,
    zebra: &str,
    bgpd: &str,
    bfdd: Option<&str>,
) -> Result<(Vec<Process>, Box<dyn Control>)> {
    let (user, group) = (User::from_name("frr")?, Group::from_name("frr")?);
    let owner = user.zip(group);
    let (user, group) = owner.context("FRR is not installed: run tests/lab/install-packages")?;
    chown(&place.dir, Some(user.uid), Some(group.gid))?;

    let mut daemons = vec![("zebra", zebra)];
    daemons.extend(bfdd.map(|config| ("bfdd", config)));
    daemons.push(("bgpd", bgpd));
    let mut processes = Vec::new();
    for (daemon, config) in daemons {
        let file = place.file(&format!("{daemon}.conf"), config)?;
        let dir = text(&place.dir)?;
        let mut spec = ProcessSpec::new(
            format!("{}-{daemon}", place.name),
            format!("{FOLDER}/{daemon}"),
        )
        .args(["-f", text(&file)?, "--vty_socket", dir])
        .args(["-i", &format!("{dir}/{daemon}.pid")])
        .args(["-z", &format!("{dir}/zserv.api")])
        .args(["-P", "0", "-A", "127.0.0.1", "--log", "stdout"]);
        if daemon == "bfdd" {
            spec = spec.args(["--bfdctl", &format!("{dir}/bfdd.sock")]);
        }
        processes.push(place.spawn(spec)?);
        // The others look for zebra once, and then again after ten seconds.
        let socket = place.dir.join(format!("{daemon}.vty"));
        crate::wait::eventually(super::READY, &format!("{daemon}'s socket"), || {
            Ok(Vty::open(&socket).is_ok().then_some(()))
        })
        .with_context(|| {
            processes
                .last()
                .map_or_else(String::new, |p| p.log_tail(10))
        })?;
    }
    Ok((
        processes,
        Box::new(Frr {
            dir: place.dir.clone(),
            bfd: bfdd.is_some(),
        }),
    ))
}

struct Frr {
    dir: PathBuf,
    bfd: bool,
}

/// A connection to a daemon's vty socket: a command and a zero byte go in; the answer ends with
/// three zero bytes and the command's result.
struct Vty(UnixStream);

impl Vty {
    fn open(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut vty = Self(stream);
        vty.ask("enable")?;
        Ok(vty)
    }

    fn ask(&mut self, command: &str) -> Result<String> {
        self.0.write_all(command.as_bytes())?;
        self.0.write_all(&[0])?;
        let mut answer = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            if let [text @ .., 0, 0, 0, code] = answer.as_slice() {
                let text = String::from_utf8_lossy(text).into_owned();
                ensure!(*code == 0, "`{command}`: result {code}: {}", text.trim());
                return Ok(text);
            }
            let length = self.0.read(&mut buffer)?;
            ensure!(length > 0, "the daemon closed its socket after `{command}`");
            answer.extend(buffer.iter().take(length));
        }
    }
}

impl Frr {
    fn vty(&self, daemon: &str) -> Result<Vty> {
        Vty::open(&self.dir.join(format!("{daemon}.vty")))
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, daemon: &str, command: &str) -> Result<T> {
        let answer = self.vty(daemon)?.ask(command)?;
        serde_json::from_str(&answer).with_context(|| format!("`{command}`: {answer}"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    #[serde(default)]
    routes: BTreeMap<String, Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnePath {
    #[serde(default)]
    valid: bool,
    bestpath: Option<Best>,
    aspath: Aspath,
    metric: Option<u32>,
    loc_prf: Option<u32>,
    locprf: Option<u32>,
    community: Option<List>,
    large_community: Option<List>,
    extended_community: Option<Text>,
    #[serde(default)]
    nexthops: Vec<Hop>,
    peer: Peer,
}

#[derive(Deserialize)]
struct Best {
    #[serde(default)]
    overall: bool,
    #[serde(default)]
    multipath: bool,
}

#[derive(Deserialize)]
struct Aspath {
    #[serde(default)]
    segments: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    list: Vec<u32>,
}

#[derive(Deserialize)]
struct List {
    list: Vec<String>,
}

#[derive(Deserialize)]
struct Text {
    string: String,
}

#[derive(Deserialize)]
struct Hop {
    ip: IpAddr,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    peer_id: IpAddr,
}

impl OnePath {
    fn route(self, prefix: &str) -> Result<Route> {
        Ok(Route {
            prefix: prefix.parse()?,
            from: self.peer.peer_id,
            best: self.valid
                && self
                    .bestpath
                    .is_some_and(|best| best.overall || best.multipath),
            attributes: Attributes {
                next_hops: self.nexthops.into_iter().map(|hop| hop.ip).collect(),
                as_path: self
                    .aspath
                    .segments
                    .into_iter()
                    .flat_map(|segment| segment.list)
                    .collect(),
                local_pref: self.loc_prf.or(self.locprf),
                med: self.metric,
                communities: self.community.map(|c| c.list).unwrap_or_default(),
                large: self.large_community.map(|c| c.list).unwrap_or_default(),
                extended: self
                    .extended_community
                    .map(|c| vec![c.string])
                    .unwrap_or_default(),
            },
        })
    }
}

impl Control for Frr {
    fn ready(&self) -> Result<bool> {
        self.vty("bgpd").map(|_| true)
    }

    fn command(&self, command: &str) -> Result<String> {
        // Lines of a configuration belong to one place in it.
        let mut vty = self.vty("bgpd")?;
        command.lines().map(|line| vty.ask(line)).collect()
    }

    fn neighbors(&self) -> Result<Vec<Neighbor>> {
        let all: BTreeMap<String, Value> = self.json("bgpd", "show bgp neighbors json")?;
        let mut neighbors = Vec::new();
        for (name, value) in all {
            // An unnumbered peer is named by its interface.
            let Some(address) = name
                .parse()
                .ok()
                .or_else(|| value.get("hostForeign")?.as_str()?.parse().ok())
            else {
                continue;
            };
            let state = State::named(value["bgpState"].as_str().unwrap_or_default());
            let uptime = value["bgpTimerUpMsec"].as_u64().map(Duration::from_millis);
            let prefixes = value["addressFamilyInfo"]
                .as_object()
                .into_iter()
                .flat_map(|families| families.values())
                .filter_map(|family| family["acceptedPrefixCounter"].as_u64())
                .sum::<u64>();
            neighbors.push(Neighbor {
                address,
                remote_as: value["remoteAs"]
                    .as_u64()
                    .and_then(|asn| u32::try_from(asn).ok()),
                state,
                uptime: uptime.filter(|_| state == State::Established),
                prefixes: usize::try_from(prefixes)?,
            });
        }
        Ok(neighbors)
    }

    fn routes(&self, family: Family) -> Result<Vec<Route>> {
        let family = match family {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        };
        let table: Table = self.json("bgpd", &format!("show bgp {family} unicast json detail"))?;
        let mut routes = Vec::new();
        for (prefix, paths) in table.routes {
            for path in paths {
                // The first element of each list describes the prefix.
                if path.get("aspath").is_some() {
                    routes.push(serde_json::from_value::<OnePath>(path)?.route(&prefix)?);
                }
            }
        }
        Ok(routes)
    }

    fn bfd(&self) -> Result<Vec<BfdSession>> {
        ensure!(self.bfd, "this FRR runs without bfdd");
        let peers: Vec<Value> = self.json("bfdd", "show bfd peers json")?;
        let counters: Vec<Value> = self.json("bfdd", "show bfd peers counters json")?;
        peers
            .iter()
            .map(|peer| {
                let number = |key: &str| peer[key].as_u64().unwrap_or_default();
                let interval = number("receive-interval").max(number("remote-transmit-interval"));
                let detection = interval * number("remote-detect-multiplier");
                let its = counters.iter().find(|other| other["peer"] == peer["peer"]);
                let counter = |key: &str| its.and_then(|it| it[key].as_u64());
                let echoes = counter("echo-packet-output").zip(counter("echo-packet-input"));
                Ok(BfdSession {
                    peer: peer["peer"].as_str().context("no peer")?.parse()?,
                    up: peer["status"] == "up",
                    detection: Duration::from_millis(detection),
                    echoes,
                    remote_discriminator: peer["remote-id"]
                        .as_u64()
                        .and_then(|number| u32::try_from(number).ok()),
                })
            })
            .collect()
    }
}
