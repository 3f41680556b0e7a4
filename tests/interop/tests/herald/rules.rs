//! Rules whose cases need a speaker, or a peer, that is set up for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use herald_announce::bgp::Attributes;
use herald_api::config::bgp::{self, BgpPeer};
use herald_interop::eventually;
use herald_interop::raw::wire::{Open, capability, four_octet_as, multiprotocol, route_refresh};
use herald_interop::raw::{Connection, Event, Message, OpenSeen, RawPeer, Speaker, UpdateSeen};
use herald_lab::Bare;
use herald_model::Cidr;
use herald_speaker::bgp::{PeerPlan, Plans};
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host, many, planned_as};
use crate::support::{ASN, peer};

const RAW: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
const RAW_AS: u32 = 65002;
const RAW6: Ipv6Addr = Ipv6Addr::new(0xfd99, 1, 0, 0, 0, 0, 0, 2);
const LARGE_AS: u32 = 4_200_000_001;

/// Herald and one scripted peer on a link.
struct Pair {
    bare: Bare,
    peer: RawPeer,
}

impl Pair {
    fn new() -> Result<Self> {
        Self::at(RAW.into(), HERALD.into())
    }

    /// With a session between these addresses.
    fn at(own: IpAddr, herald: IpAddr) -> Result<Self> {
        let bare = Bare::new(&["herald", "raw"])?;
        bare.link(("herald", "eth0"), ("raw", "eth0"))?;
        for (part, last) in [("herald", 1), ("raw", 2)] {
            bare.ip(
                part,
                [
                    format!("addr add 10.99.1.{last}/24 dev eth0"),
                    format!("addr add fd99:1::{last}/64 dev eth0 nodad"),
                ],
            )?;
        }
        let speaker = Speaker {
            asn: ASN,
            id: HERALD,
            redial: Duration::from_secs(8),
            has_route: None,
            terminate: Arc::new(|| bail!("no case ends this speaker")),
        };
        let ends = (own, herald);
        let peer = RawPeer::listen_at(&bare.netns("raw"), ends, RAW, RAW_AS, speaker)?;
        Ok(Self { bare, peer })
    }

    /// Herald announces these prefixes to the peer.
    fn herald(&self, plans: Plans, prefixes: &[Cidr]) -> Herald {
        let netns = self.bare.netns("herald");
        let mut herald = Herald::with_plans(&netns, plans, CancellationToken::new());
        herald.announce("web", prefixes, &Attributes::default());
        herald
    }

    fn down(self, mut herald: Herald) -> Result<()> {
        herald.stop()?;
        self.bare.down();
        Ok(())
    }
}

fn plans(change: impl Fn(&mut BgpPeer), more: impl Fn(&mut PeerPlan)) -> Result<Plans> {
    let mut one = peer("raw", RAW.into(), RAW_AS);
    change(&mut one);
    planned_as(vec![one], false, more)
}

fn few() -> [Cidr; 3] {
    ["198.51.100.1/32", "198.51.100.2/32", "fd98::1/128"].map(host)
}

/// What is announced on a session until nothing more comes.
fn updates(peer: &RawPeer, connection: &mut Connection) -> Result<Vec<UpdateSeen>> {
    let messages = peer.settle(connection)?;
    let updates: Vec<UpdateSeen> = messages
        .iter()
        .filter_map(Message::update)
        .collect::<Result<_>>()?;
    updates.iter().try_for_each(UpdateSeen::check)?;
    Ok(updates)
}

fn owned((code, subcode, data): (u8, u8, &[u8])) -> (u8, u8, Vec<u8>) {
    (code, subcode, data.to_vec())
}

/// Code, subcode and data of the NOTIFICATION that ends a session; `None` if it ends without one.
fn last_word(connection: &mut Connection) -> Result<Option<(u8, u8, Vec<u8>)>> {
    let ended = connection.receive_until(Instant::now() + SOON, |message| {
        message.notification().map(owned)
    })?;
    match ended {
        Ok(notification) => Ok(Some(notification)),
        Err(Event::Closed | Event::Reset) => Ok(None),
        Err(event) => bail!("the session goes on: {event}"),
    }
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_6793_a_peer_of_two_octets_gets_as_trans_and_the_whole_path_in_as4_path() -> Result<()> {
    let pair = Pair::new()?;
    let large = plans(|peer| peer.local_asn = Some(LARGE_AS), |_| {})?;
    let herald = pair.herald(large, &few());
    let old = Open {
        parameters: Vec::new(),
        ..pair.peer.open()
    };
    let (mut connection, open): (Connection, OpenSeen) = pair.peer.establish_with(&old)?;
    ensure!(open.asn == 23456, "{open:?}");
    ensure!(open.capability(65) == [LARGE_AS.to_be_bytes()], "{open:?}");
    let updates = updates(&pair.peer, &mut connection)?;
    let announced: Vec<_> = updates
        .iter()
        .filter(|update| !update.announced.is_empty())
        .collect();
    ensure!(!announced.is_empty(), "no routes");
    for update in announced {
        let path = update.attribute(2).context("AS_PATH")?;
        ensure!(path == [2, 1, 0x5b, 0xa0], "{path:?}");
        let path = update.attribute(17).context("AS4_PATH")?;
        let whole = [&[2, 1], LARGE_AS.to_be_bytes().as_slice()].concat();
        ensure!(path == whole, "{path:?}");
        // Without capabilities there is IPv4 alone (RFC 4760 section 8).
        ensure!(
            update.announced.iter().all(|one| one.address.is_ipv4()),
            "{update:?}"
        );
    }
    pair.down(herald)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_8654_messages_are_long_where_both_take_them_and_only_there() -> Result<()> {
    for long in [false, true] {
        let pair = Pair::new()?;
        let herald = pair.herald(plans(|_| {}, |_| {})?, &many(30_000));
        let mut all = vec![multiprotocol(1, 1), four_octet_as(RAW_AS)];
        if long {
            all.push(capability(6, &[]));
        }
        let open = pair.peer.open().capabilities(&all);
        let (mut connection, _) = pair.peer.establish_with(&open)?;
        let messages = pair.peer.settle(&mut connection)?;
        let mut routes = 0;
        let mut lengths = Vec::new();
        for message in &messages {
            let Some(update) = message.update().transpose()? else {
                continue;
            };
            routes += update.announced.len();
            lengths.push(message.body.len() + 19);
        }
        let longest = lengths.iter().copied().max().unwrap_or_default();
        ensure!(routes == 30_000, "{routes} routes");
        // 150,000 octets of prefixes.
        if long {
            ensure!(longest > 60_000 && lengths.len() <= 4, "{lengths:?}");
        } else {
            // The last one is the End-of-RIB.
            ensure!(longest <= 4096 && lengths.len() <= 39, "{lengths:?}");
        }
        pair.down(herald)?;
    }
    Ok(())
}

/// A peer's graceful restart capability for both families, with or without N.
fn keeps_routes(by_notification: bool) -> Vec<u8> {
    let head = if by_notification { 0x40 } else { 0 };
    capability(64, &[head, 120, 0, 1, 1, 0x80, 0, 2, 1, 0x80])
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_8538_a_peer_that_keeps_routes_at_a_notification_is_told_a_hard_reset() -> Result<()> {
    for by_notification in [false, true] {
        let pair = Pair::new()?;
        let herald = pair.herald(plans(|peer| peer.graceful_restart = true, |_| {})?, &few());
        let all = [
            multiprotocol(1, 1),
            multiprotocol(2, 1),
            keeps_routes(by_notification),
            four_octet_as(RAW_AS),
        ];
        let open = pair.peer.open().capabilities(&all);
        let (mut connection, seen) = pair.peer.establish_with(&open)?;
        let offered = seen.capability(64);
        let offered = offered.first().context("graceful restart is offered")?;
        ensure!(
            offered.first().is_some_and(|head| head & 0x40 != 0),
            "{offered:?}"
        );
        pair.peer.settle(&mut connection)?;
        herald.set_plans(Plans::new());
        let expected = if by_notification {
            (6, 9, vec![6, 3])
        } else {
            (6, 3, vec![])
        };
        let word = last_word(&mut connection)?;
        ensure!(word == Some(expected), "{word:?}");
        pair.down(herald)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_4724_and_9003_the_end_of_the_process_is_silent_for_peers_that_keep_routes_and_told_to_others()
-> Result<()> {
    for (graceful, leaves) in [(false, false), (true, false), (true, true)] {
        let pair = Pair::new()?;
        let plans = plans(|peer| peer.graceful_restart = graceful, |_| {})?;
        let mut herald = pair.herald(plans, &few());
        let all = [
            multiprotocol(1, 1),
            keeps_routes(true),
            four_octet_as(RAW_AS),
        ];
        let open = pair.peer.open().capabilities(&all);
        let (mut connection, _) = pair.peer.establish_with(&open)?;
        pair.peer.settle(&mut connection)?;
        if leaves {
            herald.leave()?;
        } else {
            herald.stop()?;
        }
        match (graceful && !leaves, last_word(&mut connection)?) {
            (true, None) => {}
            // RFC 8538: no other word makes the peer drop the routes.
            (false, Some((6, 9, data))) if graceful => {
                ensure!(data.starts_with(&[6, 2]), "{data:?}");
            }
            (false, Some((6, 2, data))) if !graceful => {
                let (length, text) = data.split_first().context("a text")?;
                ensure!(
                    usize::from(*length) == text.len() && !text.is_empty(),
                    "{data:?}"
                );
                std::str::from_utf8(text)?;
            }
            (_, word) => bail!("graceful {graceful}, leaves {leaves}: {word:?}"),
        }
        pair.bare.down();
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_4271_a_peer_that_takes_the_connection_and_says_nothing_is_left_and_dialled_again()
-> Result<()> {
    let pair = Pair::new()?;
    let plans = plans(
        |_| {},
        |plan| plan.session.timers.open = Duration::from_secs(3),
    )?;
    let herald = pair.herald(plans, &few());
    let (mut connection, _) = pair.peer.opened()?;
    let word = last_word(&mut connection)?;
    ensure!(word == Some((4, 0, vec![])), "{word:?}");
    // Herald's clock runs a moment before this one.
    let after = connection.opened().elapsed();
    ensure!((2500..6000).contains(&after.as_millis()), "after {after:?}");
    drop(connection);
    let mut connection = pair.peer.establish()?;
    ensure!(
        !updates(&pair.peer, &mut connection)?.is_empty(),
        "no routes"
    );
    pair.down(herald)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_4271_a_peer_that_answers_no_syn_is_tried_again_and_found_when_it_does() -> Result<()> {
    let pair = Pair::new()?;
    let rules = "add table inet hole; add chain inet hole in { type filter hook input priority 0; }; \
                 add rule inet hole in tcp dport 179 drop";
    pair.bare.exec("raw", &["nft", rules])?;
    let plans = plans(
        |_| {},
        |plan| plan.session.timers.dial = Duration::from_secs(1),
    )?;
    let herald = pair.herald(plans, &few());
    eventually(SOON, "an attempt that is given up", || {
        let error = herald.problem("raw");
        Ok(error.filter(|error| error == "cannot connect: no answer"))
    })?;
    pair.bare.exec("raw", &["nft", "flush ruleset"])?;
    let mut connection = pair.peer.establish()?;
    ensure!(
        !updates(&pair.peer, &mut connection)?.is_empty(),
        "no routes"
    );
    pair.down(herald)
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_8950_ipv4_routes_have_an_ipv6_next_hop_only_where_both_take_it() -> Result<()> {
    for agreed in [false, true] {
        let herald6 = IpAddr::from([0xfd99, 1, 0, 0, 0, 0, 0, 1]);
        let pair = Pair::at(RAW6.into(), herald6)?;
        let one = peer("raw", RAW6.into(), RAW_AS);
        let herald = pair.herald(planned_as(vec![one], false, |_| {})?, &few());
        let mut all = vec![
            multiprotocol(1, 1),
            multiprotocol(2, 1),
            four_octet_as(RAW_AS),
        ];
        if agreed {
            all.push(capability(5, &[0, 1, 0, 1, 0, 2]));
        }
        let open = pair.peer.open().capabilities(&all);
        let (mut connection, _) = pair.peer.establish_with(&open)?;
        let updates = updates(&pair.peer, &mut connection)?;
        let four = updates
            .iter()
            .find(|update| update.announced.iter().any(|one| one.address.is_ipv4()))
            .context("IPv4 routes")?;
        // AFI 1, SAFI 1, a next hop of 16 octets or 32 with the link-local one.
        let reach = four.attribute(14);
        let six = matches!(reach, Some([0, 1, 1, 16 | 32, ..]));
        ensure!(six == agreed, "{four:?}");
        ensure!(four.attribute(3).is_some() != agreed, "{four:?}");
        if !agreed {
            ensure!(four.attribute(3) == Some(&HERALD.octets()[..]), "{four:?}");
        }
        pair.down(herald)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn rfc_4486_a_peer_with_too_many_connections_is_told_so_and_keeps_its_session() -> Result<()> {
    let pair = Pair::new()?;
    let herald = pair.herald(
        plans(|peer| peer.connection = bgp::Connection::Both, |_| {})?,
        &few(),
    );
    let mut session = pair.peer.establish()?;
    pair.peer.settle(&mut session)?;
    // Each takes the place of the one before, which is closed a second later: a machine that is busy
    // may be too slow to have as many as that at the same time.
    let mut told = None;
    for _ in 0..5 {
        let mut burst = Vec::new();
        for _ in 0..11 {
            burst.push(pair.peer.dial()?);
            std::thread::sleep(Duration::from_millis(10));
        }
        let last = burst.last_mut().context("one")?;
        let soon = Instant::now() + Duration::from_millis(1500);
        told = last
            .receive_until(soon, |message| message.notification().map(owned))?
            .ok();
        if told == Some((6, 8, vec![])) {
            break;
        }
    }
    ensure!(told == Some((6, 8, vec![])), "{told:?}");
    // When they are closed there is room again, for a word about the collision.
    std::thread::sleep(Duration::from_secs(2));
    let mut next = pair.peer.dial()?;
    next.send(&pair.peer.open().message())?;
    let word = last_word(&mut next)?;
    ensure!(word == Some((6, 7, vec![])), "{word:?}");
    // The session has noticed nothing.
    session.send(&route_refresh(1, 0, 1))?;
    let again = updates(&pair.peer, &mut session)?;
    ensure!(!again.is_empty(), "the session has ended");
    pair.down(herald)
}
