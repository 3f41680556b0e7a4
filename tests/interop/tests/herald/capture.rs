//! What Herald sends, read by a parser that is not Herald's and not this crate's: Wireshark's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use herald_announce::bgp::{Attributes, Community};
use herald_api::config::bgp::BgpPeer;
use herald_interop::eventually;
use herald_interop::raw::wire::{capability, four_octet_as, multiprotocol, route_refresh};
use herald_interop::raw::{Connection, Event, RawPeer, Speaker};
use herald_lab::{Bare, ProcessSpec};
use herald_speaker::bgp::Plans;
use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host, many, planned};
use crate::support::{ASN, peer};

const HERALD6: Ipv6Addr = Ipv6Addr::new(0xfd99, 1, 0, 0, 0, 0, 0, 1);
const PLAIN: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 10);
const OLD: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 11);
const OWN_AS: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 12);
const ALL: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 13);
const OVER6: Ipv6Addr = Ipv6Addr::new(0xfd99, 1, 0, 0, 0, 0, 0, 2);
const RAW_AS: u32 = 65002;
/// Of IPv4; there is one of IPv6 beside.
const ROUTES: u32 = 3000;

/// As it has to be to a peer on the same link.
const NEIGHBOUR: &str = "\"Time To Live\" only 1";

/// A line for each packet of Herald's with BGP in it.
#[derive(Debug)]
struct Seen {
    to: String,
    kinds: Vec<String>,
    announced: usize,
    withdrawn: usize,
    complaints: Vec<String>,
}

/// What tshark makes of the packets that Herald sent.
fn read(capture: &str) -> Result<Vec<Seen>> {
    let fields = [
        "ip.dst",
        "ipv6.dst",
        "bgp.type",
        "bgp.nlri_prefix",
        "bgp.mp_reach_nlri_ipv4_prefix",
        "bgp.mp_reach_nlri_ipv6_prefix",
        "bgp.withdrawn_prefix",
        "bgp.mp_unreach_nlri_ipv4_prefix",
        "bgp.mp_unreach_nlri_ipv6_prefix",
        "_ws.expert.message",
        "_ws.malformed",
    ];
    let mut command = Command::new("tshark");
    command.args([
        "-n",
        "-r",
        capture,
        "-T",
        "fields",
        "-E",
        "occurrence=a",
        "-E",
        "aggregator=;",
    ]);
    let from = format!("bgp && (ip.src == {HERALD} || ipv6.src == {HERALD6})");
    command.args(["-Y", &from]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().context("cannot run tshark")?;
    ensure!(
        output.status.success(),
        "tshark: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [to4, to6, kinds, n1, n2, n3, w1, w2, w3, expert, malformed] = columns[..] else {
                bail!("{} columns: {line}", columns.len());
            };
            let count = |column: &str| column.split(';').filter(|one| !one.is_empty()).count();
            Ok(Seen {
                to: [to4, to6].concat(),
                kinds: kinds.split(';').map(str::to_owned).collect(),
                announced: [n1, n2, n3].map(count).iter().sum(),
                withdrawn: [w1, w2, w3].map(count).iter().sum(),
                complaints: expert
                    .split(';')
                    .chain([malformed])
                    .filter(|complaint| !complaint.is_empty() && *complaint != NEIGHBOUR)
                    .map(str::to_owned)
                    .collect(),
            })
        })
        .collect()
}

struct Rig {
    bare: Bare,
    speaker: Speaker,
}

impl Rig {
    fn new() -> Result<Self> {
        let bare = Bare::new(&["herald", "raw"])?;
        bare.link(("herald", "eth0"), ("raw", "eth0"))?;
        let own = [
            format!("addr add {HERALD}/24 dev eth0"),
            format!("addr add {HERALD6}/64 dev eth0 nodad"),
        ];
        bare.ip("herald", own)?;
        let mut lines = vec![format!("addr add {OVER6}/64 dev eth0 nodad")];
        lines.extend([PLAIN, OLD, OWN_AS, ALL].map(|own| format!("addr add {own}/24 dev eth0")));
        bare.ip("raw", lines)?;
        let speaker = Speaker {
            asn: ASN,
            id: HERALD,
            redial: Duration::from_secs(8),
            has_route: None,
            terminate: Arc::new(|| bail!("no case ends this speaker")),
        };
        Ok(Self { bare, speaker })
    }

    fn listen(&self, own: IpAddr, id: Ipv4Addr, asn: u32) -> Result<RawPeer> {
        let herald = match own {
            IpAddr::V4(_) => IpAddr::V4(HERALD),
            IpAddr::V6(_) => IpAddr::V6(HERALD6),
        };
        let raw = self.bare.netns("raw");
        RawPeer::listen_at(&raw, (own, herald), id, asn, self.speaker.clone())
    }
}

/// All but long messages: tshark 4.0 takes none of more than 4096 octets.
fn all_capabilities() -> Vec<Vec<u8>> {
    vec![
        multiprotocol(1, 1),
        multiprotocol(2, 1),
        capability(2, &[]),
        capability(5, &[0, 1, 0, 1, 0, 2]),
        capability(64, &[0x40, 120, 0, 1, 1, 0x80, 0, 2, 1, 0x80]),
        four_octet_as(RAW_AS),
        capability(70, &[]),
    ]
}

fn peers() -> Vec<BgpPeer> {
    let mut old = peer("old", OLD.into(), RAW_AS);
    old.local_asn = Some(4_200_000_001);
    let mut all = peer("all", ALL.into(), RAW_AS);
    all.graceful_restart = true;
    vec![
        peer("plain", PLAIN.into(), RAW_AS),
        old,
        peer("own-as", OWN_AS.into(), ASN),
        all,
        peer("over6", OVER6.into(), RAW_AS),
    ]
}

/// Herald says everything that it can say to five peers of different kinds.
fn talk(rig: &Rig) -> Result<()> {
    let scripts = [
        rig.listen(PLAIN.into(), PLAIN, RAW_AS)?,
        rig.listen(OLD.into(), OLD, RAW_AS)?,
        rig.listen(OWN_AS.into(), OWN_AS, ASN)?,
        rig.listen(ALL.into(), ALL, RAW_AS)?,
        rig.listen(OVER6.into(), Ipv4Addr::new(10, 99, 1, 14), RAW_AS)?,
    ];
    let netns = rig.bare.netns("herald");
    let mut herald = Herald::with_plans(&netns, planned(peers())?, CancellationToken::new());
    let attributes = Attributes {
        med: Some(7),
        prepend: 2,
        communities: ["65001:100", "large:65001:1:2", "no-export"]
            .map(|text| text.parse::<Community>().expect("a community"))
            .into(),
        ..Attributes::default()
    };
    let routes: Vec<_> = many(ROUTES)
        .into_iter()
        .chain([host("fd98::1/128")])
        .collect();
    herald.announce("web", &routes, &attributes);
    let mut sessions: Vec<(&RawPeer, Connection)> = Vec::new();
    for (n, script) in scripts.iter().enumerate() {
        let mut open = script.open();
        match n {
            1 => open.parameters.clear(),
            3 | 4 => open = open.capabilities(&all_capabilities()),
            _ => {}
        }
        let (mut connection, _) = script.establish_with(&open)?;
        script.settle(&mut connection)?;
        if n != 1 {
            // All of IPv4 once more, between marks.
            connection.send(&route_refresh(1, 0, 1))?;
            script.settle(&mut connection)?;
        }
        sessions.push((script, connection));
    }
    herald.announce("web", &[], &Attributes::default());
    for (script, connection) in &mut sessions {
        script.settle(connection)?;
    }
    // One by a hard reset, the others by a Cease.
    herald.set_plans(Plans::new());
    for (_, connection) in &mut sessions {
        let deadline = std::time::Instant::now() + SOON;
        let end = connection.receive_until(deadline, |_| None::<()>)?;
        ensure!(matches!(end, Err(Event::Closed | Event::Reset)), "{end:?}");
    }
    herald.stop()?;
    Ok(())
}

/// All was said, and all was understood.
fn check(seen: &[Seen]) -> Result<()> {
    let mut by_peer = BTreeMap::<&str, (Vec<&str>, usize, usize)>::new();
    for packet in seen {
        ensure!(packet.complaints.is_empty(), "{packet:?}");
        let (kinds, announced, withdrawn) = by_peer.entry(&packet.to).or_default();
        kinds.extend(packet.kinds.iter().map(String::as_str));
        *announced += packet.announced;
        *withdrawn += packet.withdrawn;
    }
    let four = usize::try_from(ROUTES)?;
    for (own, twice, six) in [
        (IpAddr::V4(PLAIN), true, 1),
        (OLD.into(), false, 0),
        (OWN_AS.into(), true, 1),
        (ALL.into(), true, 1),
        (OVER6.into(), true, 1),
    ] {
        let own = own.to_string();
        let (kinds, announced, withdrawn) = by_peer.remove(own.as_str()).context("packets")?;
        let times = 1 + usize::from(twice);
        ensure!(
            announced == four * times + six,
            "{own}: {announced} announced"
        );
        ensure!(withdrawn == four + six, "{own}: {withdrawn} withdrawn");
        // OPEN, UPDATE, NOTIFICATION, KEEPALIVE, and the marks of a refresh.
        let expected: &[&str] = if twice {
            &["1", "2", "3", "4", "5"]
        } else {
            &["1", "2", "3", "4"]
        };
        for kind in expected {
            ensure!(kinds.contains(kind), "{own}: no message of type {kind}");
        }
        ensure!(
            kinds.iter().filter(|kind| **kind == "1").count() == 1,
            "{own}: OPENs"
        );
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn wireshark_understands_all_that_is_sent_and_has_nothing_to_complain_about() -> Result<()> {
    let rig = Rig::new()?;
    let file = rig.bare.dir().join("bgp.pcap");
    let file = file.to_str().context("a name")?;
    let tcpdump = ProcessSpec::new("tcpdump", "tcpdump").args([
        "-i",
        "eth0",
        "-U",
        "-s",
        "0",
        "-B",
        "65536",
        "-w",
        file,
        "tcp port 179",
    ]);
    let tcpdump = rig.bare.spawn("raw", tcpdump)?;
    eventually(SOON, "tcpdump to listen", || {
        Ok(tcpdump.log().contains("listening on").then_some(()))
    })?;

    talk(&rig)?;
    tcpdump.signal(Signal::SIGTERM)?;
    eventually(SOON, "tcpdump to end", || {
        Ok((!tcpdump.is_running()).then_some(()))
    })?;

    check(&read(file)?)?;
    rig.bare.down();
    Ok(())
}
