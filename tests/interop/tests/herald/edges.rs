//! Herald's sessions where the network decides: peers that connect.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use herald_announce::bgp::Attributes;
use herald_api::config::bgp::{BgpPeer, Connection, Password};
use herald_interop::{Config, Neighbor, Router, State, eventually, lan};
use herald_lab::Bare;
use tokio_util::sync::CancellationToken;

use super::speaker::{HERALD, Herald, SOON, host};
use crate::support::{ASN, peer};

const FRR: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
const BIRD: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 3);
/// Another address of the part `bird`.
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 9);

/// Longer than any router's wait before it tries again.
const IN_VAIN: Duration = Duration::from_secs(6);

fn network() -> Result<Bare> {
    let bare = lan("herald", &["frr", "bird"])?;
    bare.ip("herald", ["addr add fd99:1::1/64 dev br0 nodad"])?;
    bare.ip("bird", [format!("addr add {STRANGER}/24 dev eth0")])?;
    Ok(bare)
}

fn frr(more: &str) -> Config {
    Config::frr(format!(
        "router bgp 65002\n bgp router-id {FRR}\n no bgp ebgp-requires-policy\n \
         neighbor {HERALD} remote-as {ASN}\n neighbor {HERALD} timers connect 1\n{more} \
         address-family ipv6 unicast\n  neighbor {HERALD} activate\n"
    ))
}

fn bird(more: &str) -> Config {
    Config::Bird(format!(
        "router id {BIRD};\nlog stderr all;\nprotocol device {{}}\n\
         protocol bgp herald {{ local {BIRD} as 65003; neighbor {HERALD} as {ASN};\n\
         connect delay time 1; connect retry time 1; error wait time 1,2; {more}\n\
         ipv4 {{ import all; export none; }}; ipv6 {{ import all; export none; }}; }}\n"
    ))
}

/// FRR and BIRD, which connect as `connection` says.
fn peers(connection: Connection) -> [BgpPeer; 2] {
    let mut peers = [
        peer("frr", FRR.into(), 65002),
        peer("bird", BIRD.into(), 65003),
    ];
    for peer in &mut peers {
        peer.connection = connection;
    }
    peers
}

fn wait_routes(router: &Router) -> Result<Neighbor> {
    let what = format!("two routes at {}", router.name());
    eventually(SOON, &what, || {
        let neighbor = router.neighbor(HERALD.into())?;
        Ok(neighbor.filter(|neighbor| neighbor.prefixes == 2))
    })
}

/// The session does not come up, however often the router tries.
fn stays_down(router: &Router) -> Result<()> {
    std::thread::sleep(IN_VAIN);
    let neighbor = router.neighbor(HERALD.into())?;
    ensure!(
        neighbor.is_none_or(|neighbor| neighbor.state != State::Established),
        "{} has a session",
        router.name()
    );
    Ok(())
}

fn announce(herald: &mut Herald) {
    let prefixes = ["198.51.100.1/32", "fd98::1/128"].map(host);
    herald.announce("web", &prefixes, &Attributes::default());
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn routers_connect_and_strangers_do_not_get_a_byte() -> Result<()> {
    let bare = network()?;
    let routers = [
        Router::start(&bare, "frr", "frr", &frr(""))?,
        Router::start(&bare, "bird", "bird", &bird(""))?,
    ];
    let inbound = || peers(Connection::Inbound).to_vec();
    let end = CancellationToken::new();
    let mut herald = Herald::start(&bare.netns("herald"), inbound(), end)?;
    announce(&mut herald);
    for router in &routers {
        wait_routes(router)?;
    }
    let stranger = bare.netns("bird").run(|| -> Result<TcpStream> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((STRANGER, 0)).into())?;
        socket.connect(&SocketAddr::from((HERALD, 179)).into())?;
        Ok(socket.into())
    });
    // The reset may come before the connection is told of.
    if let Ok(mut stranger) = stranger? {
        stranger.set_read_timeout(Some(SOON))?;
        let mut bytes = Vec::new();
        let error = stranger.read_to_end(&mut bytes).err();
        let kind = error.context("it is closed by a reset")?.kind();
        ensure!(kind == std::io::ErrorKind::ConnectionReset, "{kind:?}");
        ensure!(bytes.is_empty(), "{bytes:?}");
    }

    // Nobody listens for a peer that Herald connects to, and a session that is up stays.
    herald.set_peers(peers(Connection::Outbound).to_vec())?;
    let nobody = || bare.exec("herald", &["ss", "-Hltn", "sport", "=", ":179"]);
    eventually(SOON, "the listener to go", || {
        Ok(nobody()?.trim().is_empty().then_some(()))
    })?;
    for router in &routers {
        let neighbor = wait_routes(router)?;
        ensure!(neighbor.state == State::Established, "{neighbor:?}");
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn two_that_connect_to_each_other_at_the_same_time_keep_one_session() -> Result<()> {
    let bare = network()?;
    let routers = [
        Router::start(&bare, "frr", "frr", &frr(""))?,
        Router::start(&bare, "bird", "bird", &bird(""))?,
    ];
    let both = || peers(Connection::Both).to_vec();
    let end = CancellationToken::new();
    let mut herald = Herald::start(&bare.netns("herald"), both(), end)?;
    announce(&mut herald);
    for round in 0..6 {
        for router in &routers {
            wait_routes(router).with_context(|| format!("round {round}"))?;
        }
        let connections = || {
            let all = bare.exec("herald", &["ss", "-Htn", "state", "established"])?;
            Ok((all.lines().count() == routers.len()).then_some(()))
        };
        eventually(SOON, "one connection with each", connections)?;
        if round % 2 == 0 {
            routers[0].command("clear bgp *")?;
            routers[1].command("restart herald")?;
        } else {
            // New sessions, which have not failed yet and connect at once.
            herald.set_peers(Vec::new())?;
            eventually(SOON, "the sessions to end", || {
                Ok(herald.statuses.borrow().is_empty().then_some(()))
            })?;
            herald.set_peers(both())?;
        }
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

fn password(text: &str) -> Password {
    Password::new(text.as_bytes()).expect("a password")
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn passwords_hold_whoever_connects() -> Result<()> {
    let bare = network()?;
    let secret = format!(" neighbor {HERALD} password secret\n");
    let routers = [
        Router::start(&bare, "frr", "frr", &frr(&secret))?,
        Router::start(&bare, "bird", "bird", &bird("password \"secret\";"))?,
    ];
    let with = |connection, text: &str| {
        let mut peers = peers(connection);
        for peer in &mut peers {
            peer.password = Some(password(text));
        }
        peers.to_vec()
    };
    let wrong = with(Connection::Both, "wrong");
    let end = CancellationToken::new();
    let mut herald = Herald::start(&bare.netns("herald"), wrong, end)?;
    announce(&mut herald);
    stays_down(&routers[0])?;
    stays_down(&routers[1])?;
    for connection in [Connection::Inbound, Connection::Outbound] {
        herald.set_peers(Vec::new())?;
        herald.set_peers(with(connection, "secret"))?;
        for router in &routers {
            wait_routes(router)?;
        }
    }
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn ttl_security_holds_for_a_router_that_connects() -> Result<()> {
    let bare = network()?;
    let secured = format!(" neighbor {HERALD} ttl-security hops 1\n");
    let routers = [
        Router::start(&bare, "frr", "frr", &frr(&secured))?,
        // With the TTL of any neighbour.
        Router::start(&bare, "bird", "bird", &bird("ttl security off;"))?,
    ];
    let mut secured = peers(Connection::Inbound);
    for peer in &mut secured {
        peer.ttl_security = Some(1);
    }
    let end = CancellationToken::new();
    let mut herald = Herald::start(&bare.netns("herald"), secured.to_vec(), end)?;
    announce(&mut herald);
    wait_routes(&routers[0])?;
    stays_down(&routers[1])?;
    secured[1].ttl_security = None;
    herald.set_peers(secured.to_vec())?;
    for router in &routers {
        wait_routes(router)?;
    }
    let told = herald
        .statuses
        .borrow()
        .values()
        .map(|s| s.counters().told())
        .sum::<usize>();
    ensure!(told == 4, "{told} prefixes are told");
    herald.stop()?;
    bare.down();
    Ok(())
}

#[test]
#[ignore = "needs root and the lab: run by make test"]
fn a_vrf_that_is_made_anew_is_listened_on_again() -> Result<()> {
    let bare = network()?;
    let routers = [
        Router::start(&bare, "frr", "frr", &frr(""))?,
        Router::start(&bare, "bird", "bird", &bird(""))?,
    ];
    // Any interface that routers can be reached by does for one.
    let mut inbound = peers(Connection::Inbound);
    for peer in &mut inbound {
        "br0".clone_into(&mut peer.vrf);
    }
    let end = CancellationToken::new();
    let mut herald = Herald::start(&bare.netns("herald"), inbound.to_vec(), end)?;
    announce(&mut herald);
    for router in &routers {
        wait_routes(router)?;
    }
    bare.ip("herald", ["link del br0"])?;
    for router in &routers {
        eventually(SOON / 3, "the end of a session without interface", || {
            let down = herald.last_down(router.name()).unwrap_or_default();
            Ok(down.contains("is gone").then_some(()))
        })?;
    }
    bare.ip(
        "herald",
        [
            "link add br0 type bridge forward_delay 0".to_owned(),
            "link set br0 up".to_owned(),
            format!("addr add {HERALD}/24 dev br0"),
            "addr add fd99:1::1/64 dev br0 nodad".to_owned(),
            "link set frr master br0".to_owned(),
            "link set bird master br0".to_owned(),
        ],
    )?;
    // They would notice it when something of theirs is not answered.
    routers[0].command("clear bgp *")?;
    routers[1].command("restart herald")?;
    for router in &routers {
        wait_routes(router)?;
    }
    herald.stop()?;
    bare.down();
    Ok(())
}
