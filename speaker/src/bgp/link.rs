//! A link with an unnumbered peer: router advertisements say where each of the two is (RFC 4861).
//!
//! ```text
//!   interfaces ──▶ usable? ──▶ RouterSocket ──▶ advertisements of this node, as Schedule says
//!                                   └─ advertisements of others ──▶ Routers ──▶ the peer's address
//! ```

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use herald_netsys::Interface;
use herald_netsys::router_advertisement::{Message, RouterSocket};
use tokio::sync::watch;

use super::next_hops::Interfaces;

mod routers;
mod schedule;

use routers::Routers;
use schedule::Schedule;

/// How long to wait before a socket that failed is opened again.
const RETRY: Duration = Duration::from_secs(5);

/// What of an interface advertisements need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Port {
    index: u32,
    mac: [u8; 6],
    address: Ipv6Addr,
}

/// Advertises this node on the interface and tells the address of the router there, or why it is not
/// known. Runs until `interfaces` has no sender.
pub(super) async fn follow(
    name: String,
    mut interfaces: watch::Receiver<Option<Interfaces>>,
    seed: u64,
    tell: impl Fn(Result<Ipv6Addr, String>),
) {
    let mut routers = Routers::default();
    let mut index = None;
    loop {
        let port = port(interfaces.borrow_and_update().as_deref(), &name);
        let port = match port {
            Ok(port) => port,
            Err(problem) => {
                tell(Err(problem));
                if interfaces.changed().await.is_err() {
                    return;
                }
                continue;
            }
        };
        // Another interface of that name has another link.
        if index.replace(port.index) != Some(port.index) {
            routers = Routers::default();
        }
        if let Err(problem) = serve(&name, port, &mut interfaces, seed, &mut routers, &tell).await {
            tracing::warn!(interface = name, problem, "router advertisements");
            tell(Err(problem));
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                changed = interfaces.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}

/// The interface as advertisements need it, or what is wrong with it.
fn port(interfaces: Option<&[Interface]>, name: &str) -> Result<Port, String> {
    let interface = interfaces.and_then(|all| all.iter().find(|it| it.name == name));
    let Some(interface) = interface else {
        return Err(format!(
            "this node has no interface {name}: correct spec.interface, or create it"
        ));
    };
    if !interface.up {
        return Err(format!("the interface {name} is down: set it up"));
    }
    let Some(mac) = interface.mac else {
        return Err(format!(
            "the interface {name} has no MAC address, as unnumbered peers need it: give the peer an \
             address in spec.peerAddress"
        ));
    };
    let own = interface.addresses.iter().find_map(|it| match it.address {
        std::net::IpAddr::V6(v6)
            if v6.is_unicast_link_local() && !it.tentative && !it.dad_failed =>
        {
            Some(v6)
        }
        _ => None,
    });
    match own {
        Some(address) => Ok(Port {
            index: interface.index,
            mac,
            address,
        }),
        None => Err(format!(
            "the interface {name} has no IPv6 link-local address that is ready for use: switch IPv6 \
             on (net.ipv6.conf.{name}.disable_ipv6=0)"
        )),
    }
}

/// Does so until the interface is another one.
async fn serve(
    name: &str,
    port: Port,
    interfaces: &mut watch::Receiver<Option<Interfaces>>,
    seed: u64,
    routers: &mut Routers,
    tell: &impl Fn(Result<Ipv6Addr, String>),
) -> Result<(), String> {
    let socket = RouterSocket::open(port.index).map_err(|error| error.to_string())?;
    let mut schedule = Schedule::new(Instant::now(), seed);
    // It answers, so that nobody waits until it is time for its next advertisement.
    let asked = socket.solicit(port.address, port.mac);
    asked.map_err(|error| error.to_string())?;
    loop {
        tell(routers.current().ok_or_else(|| {
            format!(
                "no router has been heard on {name}: its side has to send router advertisements \
                 (in FRR by `no ipv6 nd suppress-ra`)"
            )
        }));
        let due = routers.next_timeout().into_iter().chain([schedule.next()]);
        let due = due.min().unwrap_or_else(Instant::now);
        tokio::select! {
            changed = interfaces.changed() => {
                let known = interfaces.borrow_and_update();
                if changed.is_err() || self::port(known.as_deref(), name) != Ok(port) {
                    return Ok(());
                }
            }
            received = socket.receive(|message| match message {
                Message::Advertisement { from, lifetime, .. } => {
                    routers.hear(Instant::now(), from, lifetime);
                }
                Message::Solicitation { .. } => schedule.solicited(Instant::now()),
            }) => {
                received.map_err(|error| error.to_string())?;
            }
            () = tokio::time::sleep_until(due.into()) => {}
        }
        let now = Instant::now();
        routers.expire(now);
        if schedule.next() <= now {
            schedule.sent(now);
            let sent = socket.advertise(port.address, port.mac, None);
            sent.map_err(|error| error.to_string())?;
        }
    }
}

#[cfg(test)]
mod tests {
    use herald_netsys::InterfaceAddress;

    use super::*;

    fn interface() -> Interface {
        Interface {
            index: 7,
            name: "eth0".to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            ethernet: true,
            up: true,
            carrier: true,
            broadcast: true,
            no_arp: false,
            loopback: false,
            master: None,
            kind: None,
            addresses: vec![InterfaceAddress {
                address: "fe80::1".parse().expect("an address"),
                prefix_len: 64,
                tentative: false,
                dad_failed: false,
                deprecated: false,
                temporary: false,
            }],
        }
    }

    type Change = fn(&mut Interface);

    #[test]
    fn an_interface_that_cannot_be_used_is_told_of_with_the_remedy() {
        let found = |change: fn(&mut Interface)| {
            let mut interface = interface();
            change(&mut interface);
            port(Some(&[interface]), "eth0").map(|port| port.index)
        };
        assert_eq!(found(|_| {}), Ok(7));
        let cases: [(Change, &str); 5] = [
            (|it| it.name = "eth1".to_owned(), "no interface eth0"),
            (|it| it.up = false, "is down"),
            (|it| it.mac = None, "no MAC address"),
            (|it| it.addresses.clear(), "no IPv6 link-local address"),
            (|it| it.addresses[0].tentative = true, "ready for use"),
        ];
        for (change, words) in cases {
            let problem = found(change).expect_err(words);
            assert!(problem.contains(words), "{problem}");
        }
        port(None, "eth0").expect_err("nothing is known");
    }
}
