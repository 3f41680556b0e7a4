//! BIRD 2, asked by its control socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use herald_lab::{Process, ProcessSpec};

use super::types::{Attributes, BfdSession, Family, Neighbor, Prefix, Route, State};
use super::{Control, Place, text};

pub(super) fn start(place: &Place<'_>, config: &str) -> Result<(Vec<Process>, Box<dyn Control>)> {
    // Times as seconds since the epoch, which need no guess at the time zone.
    let config = format!("timeformat protocol \"%s\";\n{config}\n");
    let file = place.file("bird.conf", &config)?;
    let socket = place.dir.join("control");
    let spec = ProcessSpec::new(place.name, "bird")
        .args(["-f", "-c", text(&file)?, "-s", text(&socket)?])
        .args(["-P", text(&place.dir.join("pid"))?]);
    Ok((vec![place.spawn(spec)?], Box::new(Bird { socket })))
}

struct Bird {
    socket: PathBuf,
}

impl Bird {
    /// The lines of the answer to a command, without their codes.
    fn ask(&self, command: &str) -> Result<Vec<String>> {
        let stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("cannot connect to {}", self.socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut banner = String::new();
        reader.read_line(&mut banner)?;
        (&stream).write_all(format!("{command}\n").as_bytes())?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                bail!("BIRD closed its socket after `{command}`");
            }
            let line = line.trim_end_matches('\n');
            // `1006-text` goes on, `0000 text` ends, ` text` continues with the last code.
            let (code, rest) = match line.split_at_checked(5) {
                Some((code, rest)) if code.starts_with(|c: char| c.is_ascii_digit()) => {
                    (code, rest)
                }
                _ => {
                    lines.push(line.strip_prefix(' ').unwrap_or(line).to_owned());
                    continue;
                }
            };
            if code.starts_with(['8', '9']) {
                bail!("`{command}`: {rest}");
            }
            if !rest.is_empty() {
                lines.push(rest.to_owned());
            }
            if code.ends_with(' ') && code.starts_with('0') {
                return Ok(lines);
            }
        }
    }
}

/// What follows a name in lines like `  BGP state:          Established`.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.trim_start().strip_prefix(name).map(str::trim)
}

/// Lists like `(65001,100) (65001,200)`, with colons.
fn tuples(text: &str) -> Vec<String> {
    text.split(')')
        .filter_map(|part| part.trim().strip_prefix('('))
        .map(|part| {
            let parts: Vec<&str> = part.split(',').map(str::trim).collect();
            parts.join(":")
        })
        .collect()
}

impl Control for Bird {
    fn ready(&self) -> Result<bool> {
        self.ask("show status").map(|_| true)
    }

    fn command(&self, command: &str) -> Result<String> {
        Ok(self.ask(command)?.join("\n"))
    }

    fn neighbors(&self) -> Result<Vec<Neighbor>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        neighbors(&self.ask("show protocols all")?, now)
    }

    fn routes(&self, family: Family) -> Result<Vec<Route>> {
        let table = match family {
            Family::Ipv4 => "master4",
            Family::Ipv6 => "master6",
        };
        routes(&self.ask(&format!(
            "show route table {table} all where source = RTS_BGP"
        ))?)
    }

    fn bfd(&self) -> Result<Vec<BfdSession>> {
        let mut sessions = Vec::new();
        for line in self.ask("show bfd sessions")? {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [address, _, state, .., timeout] = words.as_slice() else {
                continue;
            };
            // A heading is no address.
            if let Ok(peer) = address.parse() {
                sessions.push(BfdSession {
                    peer,
                    up: *state == "Up",
                    detection: Duration::try_from_secs_f64(timeout.parse()?)?,
                    echoes: None,
                    remote_discriminator: None,
                });
            }
        }
        Ok(sessions)
    }
}

/// Reads `show protocols all`: a line for each protocol, then its details, indented.
fn neighbors(lines: &[String], now: u64) -> Result<Vec<Neighbor>> {
    let mut neighbors: Vec<Neighbor> = Vec::new();
    let (mut since, mut state) = (None, State::Down);
    for line in lines {
        if !line.starts_with(' ') {
            let words: Vec<&str> = line.split_whitespace().collect();
            since = match words.as_slice() {
                [_, "BGP", _, _, since, ..] => since.parse::<u64>().ok(),
                _ => None,
            };
        } else if let Some(name) = field(line, "BGP state:") {
            state = State::named(name);
        } else if let Some(address) = field(line, "Neighbor address:") {
            let address = address.split('%').next().unwrap_or_default();
            neighbors.push(Neighbor {
                address: address.parse()?,
                remote_as: None,
                state,
                uptime: since
                    .filter(|_| state == State::Established)
                    .map(|since| Duration::from_secs(now.saturating_sub(since))),
                prefixes: 0,
            });
        } else if let Some(last) = neighbors.last_mut() {
            if let Some(asn) = field(line, "Neighbor AS:") {
                last.remote_as = asn.parse().ok();
            } else if let Some(routes) = field(line, "Routes:") {
                let imported = routes.split_whitespace().next().unwrap_or_default();
                last.prefixes += imported.parse::<usize>().unwrap_or(0);
            }
        }
    }
    Ok(neighbors)
}

/// Reads `show route all`. A path begins with `<prefix> unicast [<protocol> <time> from <peer>] *`,
/// or without the prefix if it is that of the path before; its attributes follow, indented.
fn routes(lines: &[String]) -> Result<Vec<Route>> {
    let mut routes: Vec<Route> = Vec::new();
    let mut prefix: Option<Prefix> = None;
    for line in lines {
        if let Some((head, rest)) = line.split_once('[') {
            if let Some(word) = head
                .split_whitespace()
                .next()
                .filter(|word| word.contains('/'))
            {
                prefix = Some(word.parse()?);
            }
            let (inside, flags) = rest.split_once(']').unwrap_or((rest, ""));
            let from = inside.split_once("from ").map_or("", |(_, from)| from);
            let from = from.split(['%', ' ']).next().unwrap_or_default().parse();
            routes.push(Route {
                prefix: prefix.context("a path without a prefix")?,
                // A path of the peer that is also the next hop does not say so.
                from: from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                best: flags.contains('*'),
                attributes: Attributes::default(),
            });
            continue;
        }
        let Some(route) = routes.last_mut() else {
            continue;
        };
        let attributes = &mut route.attributes;
        if let Some(via) = field(line, "via ") {
            let via = via.split_whitespace().next().unwrap_or_default();
            if route.from.is_unspecified() {
                route.from = via.parse()?;
            }
        } else if let Some(hops) = field(line, "BGP.next_hop:") {
            attributes.next_hops = hops
                .split_whitespace()
                .filter_map(|hop| hop.parse().ok())
                .collect();
        } else if let Some(path) = field(line, "BGP.as_path:") {
            attributes.as_path = path
                .split_whitespace()
                .filter_map(|asn| asn.parse().ok())
                .collect();
        } else if let Some(value) = field(line, "BGP.local_pref:") {
            attributes.local_pref = value.parse().ok();
        } else if let Some(value) = field(line, "BGP.med:") {
            attributes.med = value.parse().ok();
        } else if let Some(list) = field(line, "BGP.community:") {
            attributes.communities = tuples(list);
        } else if let Some(list) = field(line, "BGP.large_community:") {
            attributes.large = tuples(list);
        } else if let Some(list) = field(line, "BGP.ext_community:") {
            attributes.extended = tuples(list);
        }
    }
    Ok(routes)
}
