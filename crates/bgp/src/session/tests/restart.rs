//! Graceful restart as the side that restarts (RFC 4724, 8538, 9494), and the end of each family.

use std::time::{Duration, Instant};

use super::script::{Script, config, endpoints, peer_open};
use crate::routes::{Feed, Path, Table};
use crate::session::{Config, Event, Restart, Stop};
use crate::wire::{Families, Family, GracefulRestart, LongLived, Open, PerFamily};

/// How long the peer keeps routes of the earlier life.
const WINDOW: Duration = Duration::from_mins(2);

const END_OF_IPV4: &[u8] = &[0, 0, 0, 0];
const END_OF_IPV6: &[u8] = &[0, 0, 0, 6, 0x90, 15, 0, 3, 0, 2, 1];

fn restarting() -> Config {
    Config {
        restart: Some(Restart {
            time: 120,
            long_lived: Some(3600),
            restarted: Some(Instant::now() + WINDOW),
            forwarding_kept: true,
        }),
        ..config()
    }
}

fn is_end(body: &[u8], family: Family) -> bool {
    let short = [&END_OF_IPV6[..4], &[0x80, 15, 3, 0, 2, 1][..]].concat();
    match family {
        Family::Ipv4Unicast => body == END_OF_IPV4,
        Family::Ipv6Unicast => body == END_OF_IPV6 || body.len() == 10 && body[4..] == short[4..],
    }
}

fn up(script: &Script, feed: &mut Feed, table: &mut Table) {
    for (_, event) in &script.events {
        feed.handle_event(event, &script.session, table);
    }
}

#[test]
fn the_open_says_that_it_has_restarted_and_what_is_kept() {
    let (script, connection) = Script::connected(restarting());
    let capabilities = &script.sent_open(connection).capabilities;
    assert_eq!(
        capabilities.graceful_restart,
        Some(GracefulRestart {
            restarting: true,
            notification: true,
            restart_time: 120,
            families: Families::BOTH,
            forwarding: Families::BOTH,
        })
    );
    let long_lived = Some(LongLived {
        forwarding: true,
        stale_time: 3600,
    });
    assert_eq!(
        capabilities.long_lived_graceful_restart,
        Some(PerFamily {
            ipv4: long_lived,
            ipv6: long_lived,
        })
    );
}

#[test]
fn a_node_that_restarted_itself_has_kept_nothing() {
    let mut config = restarting();
    config.restart.as_mut().unwrap().forwarding_kept = false;
    config.families = Families::only(Family::Ipv4Unicast);
    let (script, connection) = Script::connected(config);
    let capabilities = &script.sent_open(connection).capabilities;
    let graceful_restart = capabilities.graceful_restart.unwrap();
    assert_eq!(graceful_restart.forwarding, Families::NONE);
    assert_eq!(
        graceful_restart.families,
        Families::only(Family::Ipv4Unicast)
    );
    let long_lived = capabilities.long_lived_graceful_restart.unwrap();
    assert!(!long_lived.ipv4.unwrap().forwarding);
    assert_eq!(long_lived.ipv6, None);
}

#[test]
fn it_has_restarted_until_the_peer_was_told_all() {
    let (mut table, mut feed) = (Table::new(), Feed::new("router"));
    table.set_complete(true);
    let (mut script, connection) = Script::established(restarting(), &peer_open());
    // The session breaks before anything was told.
    script.session.handle_closed(script.now, connection, None);
    script.drain();
    script.until_dial();
    let connection = script.connect();
    let restart = |script: &Script, connection| {
        let open: &Open = script.sent_open(connection);
        open.capabilities.graceful_restart.unwrap()
    };
    assert!(restart(&script, connection).restarting);

    script.open(connection, &peer_open());
    script.events.clear();
    script.keepalive(connection);
    up(&script, &mut feed, &mut table);
    feed.fill(script.now, &mut script.session, &mut table);
    script.session.stop(script.now, &Stop::Reset(String::new()));
    script.drain();
    script.until_dial();
    let connection = script.connect();
    assert!(!restart(&script, connection).restarting);
    assert_eq!(restart(&script, connection).forwarding, Families::BOTH);
}

#[test]
fn it_has_restarted_no_longer_than_the_peer_keeps_what_it_had() {
    let (mut script, first) = Script::connected(restarting());
    script.pass(WINDOW);
    script.session.handle_closed(script.now, first, None);
    script.drain();
    script.until_dial();
    let connection = script.connect();
    let open = script.sent_open(connection);
    let restart = open.capabilities.graceful_restart.unwrap();
    assert!(!restart.restarting);
    assert_eq!(restart.forwarding, Families::BOTH);
}

#[test]
fn what_was_lost_by_a_restart_of_the_node_is_made_up_for_when_all_was_told() {
    let mut config = restarting();
    config.restart.as_mut().unwrap().forwarding_kept = false;
    let (mut table, mut feed) = (Table::new(), Feed::new("router"));
    let (mut script, _) = Script::established(config, &peer_open());
    up(&script, &mut feed, &mut table);
    for (complete, forwarding) in [(false, Families::NONE), (true, Families::BOTH)] {
        table.set_complete(complete);
        feed.fill(script.now, &mut script.session, &mut table);
        script.events.clear();
        script.session.stop(script.now, &Stop::Reset(String::new()));
        script.drain();
        up(&script, &mut feed, &mut table);
        script.until_dial();
        let connection = script.connect();
        let open = script.sent_open(connection);
        let restart = open.capabilities.graceful_restart.unwrap();
        assert_eq!(restart.forwarding, forwarding);
        assert_eq!(restart.restarting, !complete);
        script.open(connection, &peer_open());
        script.events.clear();
        script.keepalive(connection);
        up(&script, &mut feed, &mut table);
    }
}

#[test]
fn what_the_peer_has_of_this_life_is_kept_though_it_was_not_told_all() {
    // Nothing is known of an earlier life, or the node restarted after it.
    for restarted in [None, Some(Instant::now() + WINDOW)] {
        let mut config = restarting();
        let restart = config.restart.as_mut().unwrap();
        (restart.restarted, restart.forwarding_kept) = (restarted, false);
        let forwarding = |script: &Script, connection| {
            let open: &Open = script.sent_open(connection);
            let capabilities = &open.capabilities;
            let long_lived = capabilities.long_lived_graceful_restart.unwrap();
            let forwarding = capabilities.graceful_restart.unwrap().forwarding;
            assert_eq!(long_lived.ipv4.unwrap().forwarding, forwarding.ipv4);
            forwarding
        };
        let (mut script, first) = Script::established(config, &peer_open());
        assert_eq!(forwarding(&script, first), Families::NONE);
        script.session.handle_closed(script.now, first, None);
        script.drain();
        script.until_dial();
        // The peer may not have seen that session come up, and then it has dropped nothing.
        let second = script.connect();
        assert_eq!(forwarding(&script, second), Families::NONE);
        script.open(second, &peer_open());
        script.keepalive(second);
        // What only a peer sends at whose end the session is up.
        script.update(second);
        script.session.handle_closed(script.now, second, None);
        script.drain();
        script.until_dial();
        let third = script.connect();
        assert_eq!(forwarding(&script, third), Families::BOTH);
        let open = script.sent_open(third);
        let restarting = open.capabilities.graceful_restart.unwrap().restarting;
        assert_eq!(restarting, restarted.is_some());
    }
}

#[test]
fn e1_the_end_of_each_family_is_told_even_if_there_is_nothing_else() {
    for restart in [None, restarting().restart] {
        let config = Config {
            restart,
            ..config()
        };
        let (mut table, mut feed) = (Table::new(), Feed::new("router"));
        table.set_complete(true);
        let (mut script, _) = Script::established(config, &peer_open());
        up(&script, &mut feed, &mut table);
        feed.fill(script.now, &mut script.session, &mut table);
        script.drain();
        let updates = script.updates();
        assert_eq!(updates.len(), 2);
        assert!(is_end(updates[0], Family::Ipv4Unicast), "{updates:?}");
        assert!(is_end(updates[1], Family::Ipv6Unicast), "{updates:?}");
    }
}

#[test]
fn the_end_waits_for_the_table_to_be_complete() {
    let (mut table, mut feed) = (Table::new(), Feed::new("router"));
    let (mut script, _) = Script::established(restarting(), &peer_open());
    up(&script, &mut feed, &mut table);
    let first = "192.0.2.1".parse().unwrap();
    let prefix = crate::wire::Prefix::new(first, 32).unwrap();
    table.set(prefix, &[Path::default()]);
    feed.fill(script.now, &mut script.session, &mut table);
    script.drain();
    assert_eq!(script.updates().len(), 1);
    assert!(!table.is_synchronized(feed.outbound().unwrap()));
    table.set_complete(true);
    feed.fill(script.now, &mut script.session, &mut table);
    script.drain();
    let updates = script.updates();
    assert_eq!(updates.len(), 3);
    assert!(is_end(updates[1], Family::Ipv4Unicast));
    assert!(table.is_synchronized(feed.outbound().unwrap()));
}

#[test]
fn the_end_of_a_family_that_is_not_negotiated_is_not_told() {
    let (mut table, mut feed) = (Table::new(), Feed::new("router"));
    table.set_complete(true);
    let mut open = peer_open();
    open.capabilities.families = Families::only(Family::Ipv6Unicast);
    let (mut script, _) = Script::established(config(), &open);
    up(&script, &mut feed, &mut table);
    feed.fill(script.now, &mut script.session, &mut table);
    script.drain();
    assert!(matches!(script.updates()[..], [body] if is_end(body, Family::Ipv6Unicast)));
    assert_eq!(script.session.endpoints(), Some(endpoints()));
    assert!(matches!(script.events[..], [(_, Event::Up(_))]));
}
