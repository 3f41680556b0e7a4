//! Answers for people, in the forms that users of `vtysh` and `birdc` know, and as JSON.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;

use super::answers::{Ended, Messages, Neighbor, Route};

/// What a neighbor has been told.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Told {
    #[serde(rename = "neighbor", serialize_with = "name")]
    pub(super) neighbor: Neighbor,
    pub(super) routes: Vec<Route>,
}

fn name<S: serde::Serializer>(neighbor: &Neighbor, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&neighbor.name)
}

pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

pub(super) fn summary(out: &mut dyn Write, all: &[Neighbor]) -> io::Result<()> {
    let head = [
        "Name", "Neighbor", "AS", "MsgRcvd", "MsgSent", "Waiting", "Up/Down", "State", "PfxSnt",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for neighbor in all {
        let peer_as = neighbor.session.as_ref().map(|it| it.peer_as.to_string());
        rows.push([
            neighbor.name.clone(),
            neighbor.address.clone(),
            peer_as.unwrap_or_else(|| "-".to_owned()),
            neighbor.received.total.to_string(),
            neighbor.sent.total.to_string(),
            neighbor.prefixes.waiting.to_string(),
            age(neighbor.since_seconds),
            neighbor.state.clone(),
            told(neighbor).to_string(),
        ]);
    }
    table(out, &rows)?;
    let up = all.iter().filter(|it| it.session.is_some()).count();
    writeln!(out, "\n{up} of {} sessions are up", all.len())?;
    for neighbor in all.iter().filter(|it| it.session.is_none()) {
        if let Some(ended) = problem(neighbor) {
            let Neighbor { name, .. } = neighbor;
            let ago = age(ended.seconds_ago);
            writeln!(out, "{name}: {} ({ago} ago)", ended.reason)?;
        }
    }
    Ok(())
}

pub(super) fn neighbors(out: &mut dyn Write, all: &[Neighbor]) -> io::Result<()> {
    for (index, neighbor) in all.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        one(out, neighbor)?;
    }
    Ok(())
}

fn one(out: &mut dyn Write, it: &Neighbor) -> io::Result<()> {
    let since = age(it.since_seconds);
    writeln!(out, "BGP neighbor {}, {}", it.name, it.address)?;
    if !it.vrf.is_empty() {
        writeln!(out, "  VRF {}", it.vrf)?;
    }
    let up = if it.session.is_some() { "up" } else { "down" };
    writeln!(out, "  State {}, {up} for {since}", it.state)?;
    writeln!(out, "  Local AS {}, router ID {}", it.local_as, it.local_id)?;
    if let Some(session) = &it.session {
        let (asn, id) = (session.peer_as, &session.peer_id);
        writeln!(out, "  Remote AS {asn}, router ID {id}")?;
        if let Some(local) = &session.local_address {
            writeln!(out, "  Connection {local} to {}", it.address)?;
        }
        let hold = match session.hold_time {
            0 => "without limit".to_owned(),
            seconds => format!("{seconds} s"),
        };
        writeln!(out, "  Hold time {hold}")?;
        writeln!(out, "  Address families: {}", list(&session.families))?;
        writeln!(out, "  Capabilities: {}", list(&session.capabilities))?;
        if let Some(seconds) = session.graceful_restart_seconds {
            writeln!(
                out,
                "  Graceful restart: the peer's takes {seconds} s at most"
            )?;
        }
    }
    let prefixes = &it.prefixes;
    writeln!(
        out,
        "  Prefixes told: {} IPv4, {} IPv6; {} waiting, {} wanted; {} received, none taken",
        prefixes.told_ipv4,
        prefixes.told_ipv6,
        prefixes.waiting,
        prefixes.wanted,
        prefixes.received
    )?;
    writeln!(
        out,
        "  Established {} times, lost {} times, {} attempts to connect",
        it.established, it.lost, it.connects
    )?;
    if let Some(bfd) = &it.bfd {
        let since = age(bfd.since_seconds);
        write!(out, "  BFD {} for {since}", bfd.state)?;
        if let Some(milliseconds) = bfd.detection_milliseconds {
            write!(out, ", detects within {milliseconds} ms")?;
        }
        if let Some(milliseconds) = bfd.echo_detection_milliseconds {
            write!(out, ", by echo within {milliseconds} ms")?;
        }
        writeln!(out, ", up {} times, down {} times", bfd.ups, bfd.downs)?;
        if let Some(problem) = &bfd.problem {
            writeln!(out, "    {problem}")?;
        }
        if let Some(off) = &bfd.echo_off {
            writeln!(out, "    without echo: {off}")?;
        }
    }
    let row = |what: &str, count: fn(&Messages) -> u64| {
        let (sent, received) = (count(&it.sent).to_string(), count(&it.received).to_string());
        [format!("    {what}"), sent, received]
    };
    let head = ["  Messages", "sent", "received"].map(str::to_owned);
    table(
        out,
        &[
            head,
            row("OPEN", |it| it.opens),
            row("UPDATE", |it| it.updates),
            row("NOTIFICATION", |it| it.notifications),
            row("KEEPALIVE", |it| it.keepalives),
            row("ROUTE-REFRESH", |it| it.refreshes),
            row("all", |it| it.total),
        ],
    )?;
    for (what, ended) in [
        ("Last reset", &it.last_down),
        ("Last failed attempt", &it.last_failure),
    ] {
        if let Some(ended) = ended {
            let ago = age(ended.seconds_ago);
            let (reason, state) = (&ended.reason, &ended.state);
            writeln!(out, "  {what} {ago} ago, in {state}: {reason}")?;
        }
    }
    for (what, last) in [
        ("sent", &it.last_notification_sent),
        ("received", &it.last_notification_received),
    ] {
        if let Some(last) = last {
            writeln!(out, "  Last NOTIFICATION {what}: {last}")?;
        }
    }
    Ok(())
}

pub(super) fn routes(out: &mut dyn Write, all: &[Told]) -> io::Result<()> {
    for (index, Told { neighbor, routes }) in all.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let Neighbor { name, address, .. } = neighbor;
        if neighbor.session.is_none() {
            let state = &neighbor.state;
            writeln!(out, "{name}, {address}: the session is not up ({state})")?;
            continue;
        }
        let count = routes.len();
        writeln!(out, "{name}, {address} has been told {count} routes")?;
        if routes.is_empty() {
            continue;
        }
        let head = [
            "Network",
            "Next hop",
            "MED",
            "LocPrf",
            "Path",
            "Communities",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(routes.iter().map(route));
        table(out, &rows)?;
    }
    Ok(())
}

fn route(route: &Route) -> [String; 6] {
    let number = |number: Option<u32>| number.map(|it| it.to_string()).unwrap_or_default();
    let path: Vec<_> = route.as_path.iter().map(ToString::to_string).collect();
    let next_hop = match route.link_local_next_hop {
        Some(beside) => format!("{} ({beside})", route.next_hop),
        None => match route.next_hop {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => address.to_string(),
        },
    };
    let communities = route.communities.iter();
    let communities: Vec<_> = communities
        .chain(&route.large_communities)
        .chain(&route.extended_communities)
        .map(String::as_str)
        .collect();
    [
        route.prefix.to_string(),
        next_hop,
        number(route.med),
        number(route.local_pref),
        path.join(" "),
        communities.join(" "),
    ]
}

fn told(neighbor: &Neighbor) -> usize {
    neighbor.prefixes.told_ipv4 + neighbor.prefixes.told_ipv6
}

/// Why a session is not up.
fn problem(neighbor: &Neighbor) -> Option<&Ended> {
    let Neighbor {
        last_failure,
        last_down,
        ..
    } = neighbor;
    last_failure.as_ref().or(last_down.as_ref())
}

fn list(all: &[String]) -> String {
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    }
}

/// Columns as wide as need be, two spaces apart.
fn table<const N: usize>(out: &mut dyn Write, rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells = row.iter().zip(widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

/// A time as routers write it: `00:01:02`, from a day on `1d02h03m`, from a week on `1w2d03h`.
fn age(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    const WEEK: u64 = 7 * DAY;
    let hours = seconds % DAY / HOUR;
    let minutes = seconds % HOUR / MINUTE;
    match seconds {
        0..DAY => format!("{hours:02}:{minutes:02}:{:02}", seconds % MINUTE),
        DAY..WEEK => format!("{}d{hours:02}h{minutes:02}m", seconds / DAY),
        WEEK.. => format!("{}w{}d{hours:02}h", seconds / WEEK, seconds % WEEK / DAY),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::bgp::testing;

    fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("a buffer takes all");
        String::from_utf8(out).expect("text")
    }

    fn all() -> [Neighbor; 2] {
        let (mut up, _) = testing::up("192.0.2.2:179");
        up.last_down = Some((up.since, testing::shut_down("reload")));
        up.last_received = match &up.last_down {
            Some((_, down)) => match &down.reason {
                herald_bgp::session::Reason::Notified(notification) => Some(notification.clone()),
                _ => None,
            },
            None => None,
        };
        let (mut down, _) = testing::down("[2001:db8::2]:179");
        down.last_failure = Some((down.since, testing::refused()));
        let now = Instant::now();
        let mut all = [("tor", up), ("far", down)].map(|(n, s)| Neighbor::new(now, n, &s));
        for neighbor in &mut all {
            neighbor.since_seconds = 3723;
        }
        all[0].bfd = Some(super::super::answers::Watched {
            state: "Up".to_owned(),
            since_seconds: 60,
            detection_milliseconds: Some(900),
            echo_detection_milliseconds: Some(150),
            ups: 1,
            ..super::super::answers::Watched::default()
        });
        all
    }

    #[test]
    fn the_summary_has_a_line_for_each_session_and_says_why_one_is_down() {
        let expected = "\
Name  Neighbor           AS     MsgRcvd  MsgSent  Waiting  Up/Down   State        PfxSnt
tor   192.0.2.2:179      65002  0        0        0        01:02:03  Established  0
far   [2001:db8::2]:179  -      0        0        0        01:02:03  Idle         0

1 of 2 sessions are up
far: cannot connect: Connection refused (os error 111) (00:00:00 ago)
";
        assert_eq!(text(|out| summary(out, &all())), expected);
    }

    #[test]
    fn a_neighbor_is_told_of_in_all_detail() {
        let text = text(|out| neighbors(out, &all()));
        for line in [
            "BGP neighbor tor, 192.0.2.2:179",
            "  State Established, up for 01:02:03",
            "  Local AS 65001, router ID 192.0.2.1",
            "  Remote AS 65002, router ID 192.0.2.2",
            "  Connection 192.0.2.1:40000 to 192.0.2.2:179",
            "  Hold time 90 s",
            "  BFD Up for 00:01:00, detects within 900 ms, by echo within 150 ms, up 1 times, \
             down 0 times",
            "  Address families: ipv4 unicast, ipv6 unicast",
            "  Last NOTIFICATION received: administrative shutdown (6/2): \"reload\"",
            "BGP neighbor far, [2001:db8::2]:179",
            "  State Idle, down for 01:02:03",
        ] {
            assert!(
                text.lines().any(|it| it == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(text.contains("Last failed attempt"), "{text}");
    }

    #[test]
    fn times_are_written_as_routers_do() {
        for (seconds, expected) in [
            (0, "00:00:00"),
            (86_399, "23:59:59"),
            (86_400, "1d00h00m"),
            (93_784, "1d02h03m"),
            (604_800, "1w0d00h"),
            (788_645, "1w2d03h"),
        ] {
            assert_eq!(age(seconds), expected);
        }
    }
}
