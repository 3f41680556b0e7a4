//! A session with routes: only as fast as the peer takes them, and never by touching the session.

use super::script::{Script, config, peer_open, raw, secs};
use crate::routes::{Feed, Path, Table};
use crate::session::State;
use crate::wire::{Family, Message, Prefix, RefreshKind, RouteRefresh};

fn prefix(number: u32) -> Prefix {
    Prefix::new(std::net::Ipv4Addr::from(0x0a00_0000 + number).into(), 32).unwrap()
}

struct Peer {
    script: Script,
    connection: crate::session::ConnectionId,
    feed: Feed,
    table: Table,
}

impl Peer {
    fn new(routes: u32) -> Self {
        let (script, connection) = Script::established(config(), &peer_open());
        let (mut table, mut feed) = (Table::new(), Feed::new("router"));
        table.set_complete(true);
        for number in 0..routes {
            table.set(prefix(number), &[Path::default()]);
        }
        for (_, event) in &script.events {
            feed.handle_event(event, &script.session, &mut table);
        }
        let mut peer = Self {
            script,
            connection,
            feed,
            table,
        };
        peer.fill();
        peer
    }

    fn fill(&mut self) {
        let session = &mut self.script.session;
        self.feed.fill(self.script.now, session, &mut self.table);
        self.script.drain();
    }

    /// Fills until there is nothing left, with all that the peer says passed on.
    fn settle(&mut self) {
        for (_, event) in std::mem::take(&mut self.script.events) {
            self.feed
                .handle_event(&event, &self.script.session, &mut self.table);
        }
        for _ in 0..1000 {
            let count = self.script.sent.len();
            self.fill();
            if self.script.sent.len() == count {
                return;
            }
        }
        panic!("it never ends");
    }
}

#[test]
fn one_changed_route_is_one_update() {
    let mut peer = Peer::new(5000);
    peer.settle();
    peer.script.sent.clear();
    peer.table.set(prefix(9999), &[Path::default()]);
    peer.settle();
    assert_eq!(peer.script.updates().len(), 1);
    peer.table.remove(prefix(17));
    peer.settle();
    assert_eq!(peer.script.updates().len(), 2);
    assert_eq!(peer.script.session.counters().ups, 1);
    assert_eq!(peer.script.session.state(), State::Established);
}

#[test]
fn nothing_is_sent_when_nothing_changes_for_the_peer() {
    let mut peer = Peer::new(100);
    peer.settle();
    peer.script.sent.clear();
    // LOCAL_PREF is for the own AS only, and this peer is in another.
    let mut path = Path::default();
    path.attributes.local_pref = Some(200);
    for number in 0..100 {
        assert!(peer.table.set(prefix(number), &[path.clone()]));
    }
    peer.settle();
    assert!(peer.script.updates().is_empty());
}

#[test]
fn a_peer_that_reads_nothing_gets_no_more_than_there_is_room_for() {
    let mut peer = Peer::new(0);
    peer.settle();
    peer.script.sent.clear();
    peer.script.stuck = true;
    for number in 0..200_000 {
        peer.table.set(prefix(number), &[Path::default()]);
    }
    for _ in 0..100 {
        peer.fill();
    }
    assert_eq!(peer.script.session.room(), 0);
    let bytes: usize = peer
        .script
        .updates()
        .iter()
        .map(|body| 19 + body.len())
        .sum();
    assert!((128 * 1024..132 * 1024).contains(&bytes), "{bytes}");
    // Churn while it is stuck is not kept.
    for number in 100_000..200_000 {
        peer.table.remove(prefix(number));
    }
    peer.fill();
    peer.script.stuck = false;
    peer.script
        .session
        .handle_sent(peer.script.now, peer.connection, 0, 0);
    peer.settle();
    let outbound = peer.feed.outbound().unwrap();
    assert_eq!(peer.table.told(outbound, Family::Ipv4Unicast), 100_000);
    assert_eq!(peer.table.waiting(outbound), 0);
}

#[test]
fn many_withdrawals_at_once_fit_into_messages_and_keep_the_session() {
    for count in [1, 814, 815, 5000, 100_000] {
        let mut peer = Peer::new(count + 10);
        peer.settle();
        peer.script.sent.clear();
        for number in 0..count {
            peer.table.remove(prefix(number));
        }
        peer.settle();
        let updates = peer.script.updates();
        let longest = updates.iter().map(|body| 19 + body.len()).max().unwrap();
        assert!(longest <= 4096, "{longest}");
        let withdrawn: usize = updates
            .iter()
            .map(|body| usize::from(u16::from_be_bytes([body[0], body[1]])) / 5)
            .sum();
        assert_eq!(withdrawn, usize::try_from(count).unwrap());
        let optimum = withdrawn.div_ceil((4096 - 23) / 5);
        assert_eq!(updates.len(), optimum);
        assert_eq!(peer.script.session.state(), State::Established);
        let outbound = peer.feed.outbound().unwrap();
        assert_eq!(peer.table.told(outbound, Family::Ipv4Unicast), 10);
    }
}

#[test]
fn r1_r2_a_refresh_is_answered_with_all_routes_between_its_marks() {
    for enhanced in [false, true] {
        let mut open = peer_open();
        open.capabilities.enhanced_route_refresh = enhanced;
        let mut peer = Peer::new(0);
        let (script, connection) = Script::established(config(), &open);
        (peer.script, peer.connection) = (script, connection);
        for number in 0..2000 {
            peer.table.set(prefix(number), &[Path::default()]);
        }
        peer.settle();
        peer.script.sent.clear();
        let family = Family::Ipv4Unicast;
        peer.script
            .refresh(connection, RouteRefresh::new(family, RefreshKind::Request));
        peer.settle();
        let messages: Vec<_> = peer
            .script
            .sent
            .iter()
            .map(|(_, _, it)| it.clone())
            .collect();
        assert_eq!(peer.script.updates().len(), 3);
        if enhanced {
            let mark = |kind| Message::RouteRefresh(RouteRefresh::new(family, kind));
            assert_eq!(messages.first(), Some(&mark(RefreshKind::Begin)));
            assert_eq!(messages.last(), Some(&mark(RefreshKind::End)));
            assert_eq!(messages.len(), 5);
            assert_eq!(peer.script.session.counters().sent.refreshes, 2);
        } else {
            assert_eq!(messages.len(), 3);
        }
    }
}

#[test]
fn a_peer_that_asks_for_all_again_and_again_is_told_as_fast_as_it_reads() {
    let mut peer = Peer::new(50_000);
    peer.settle();
    peer.script.stuck = true;
    let request = raw(5, &[0, 1, 0, 1]).repeat(10_000);
    peer.script.bytes(peer.connection, &request);
    peer.script.sent.clear();
    for _ in 0..20 {
        for (_, event) in std::mem::take(&mut peer.script.events) {
            peer.feed
                .handle_event(&event, &peer.script.session, &mut peer.table);
        }
        peer.fill();
    }
    let bytes: usize = peer
        .script
        .updates()
        .iter()
        .map(|body| 19 + body.len())
        .sum();
    assert!(bytes < 140 * 1024, "{bytes}");
    peer.script.stuck = false;
    peer.script
        .session
        .handle_sent(peer.script.now, peer.connection, 0, 0);
    peer.settle();
    // However many requests there were, it was told once, or once more.
    let rounds = peer
        .script
        .sent
        .iter()
        .filter(|(_, _, message)| matches!(message, Message::RouteRefresh(_)))
        .count();
    assert!(rounds <= 4, "{rounds}");
    peer.script.pass(secs(1));
    assert_eq!(peer.script.session.state(), State::Established);
}

#[test]
fn routes_go_to_the_session_that_is_up_and_all_of_them_to_the_next() {
    let mut peer = Peer::new(1000);
    peer.settle();
    peer.script
        .session
        .handle_closed(peer.script.now, peer.connection, None);
    peer.script.drain();
    peer.settle();
    assert_eq!(peer.feed.outbound(), None);
    peer.table.set(prefix(5000), &[Path::default()]);
    peer.script.until_dial();
    peer.connection = peer.script.connect();
    peer.script.open(peer.connection, &peer_open());
    peer.script.keepalive(peer.connection);
    peer.settle();
    let outbound = peer.feed.outbound().unwrap();
    assert_eq!(peer.table.told(outbound, Family::Ipv4Unicast), 1001);
}
