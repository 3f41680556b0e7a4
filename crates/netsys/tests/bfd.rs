//! BFD packets between two network namespaces.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{IpAddr, SocketAddr, SocketAddrV6};
    use std::time::Duration;

    use herald_netsys::bfd::{Receiver, Sender, Session};
    use socket2::SockRef;
    use tokio::net::UdpSocket;
    use tokio::time::{sleep, timeout};

    use crate::support::{Namespace, PATIENCE, counter, in_new_namespace, ip, opened, until};

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// The three kinds of addresses: there, here, and the unspecified one.
    fn addresses() -> [(IpAddr, IpAddr, IpAddr); 3] {
        [
            ("192.0.7.2", "192.0.7.1", "0.0.0.0"),
            ("2001:db8:7::2", "2001:db8:7::1", "::"),
            ("fe80::2", "fe80::1", "::"),
        ]
        .map(|(there, here, any)| (address(there), address(here), address(any)))
    }

    const SINGLE_HOP: u16 = 3784;
    const MULTIHOP: u16 = 4784;

    fn session(remote: IpAddr, port: u16, local: Option<IpAddr>) -> Session {
        Session {
            remote: SocketAddr::new(remote, port),
            local,
            interface: Some("lan".to_owned()),
        }
    }

    /// What a [`Datagram`](herald_netsys::bfd::Datagram) has, to keep.
    #[derive(Debug, PartialEq)]
    struct Kept {
        from: SocketAddr,
        local: IpAddr,
        interface: u32,
        ttl: u8,
        packet: Vec<u8>,
    }

    /// Calls `send` again and again until packets arrive, and returns them. The first packet to an
    /// address may be lost while its MAC address is asked for.
    async fn first(receiver: &Receiver, mut send: impl AsyncFnMut()) -> Vec<Kept> {
        let mut kept = Vec::new();
        let again = async {
            loop {
                send().await;
                sleep(Duration::from_millis(50)).await;
            }
        };
        let arrived = receiver.receive(|datagram| {
            kept.push(Kept {
                from: datagram.from,
                local: datagram.local,
                interface: datagram.interface,
                ttl: datagram.ttl,
                packet: datagram.packet.to_vec(),
            });
        });
        let either = async {
            tokio::select! {
                count = arrived => count.expect("received"),
                () = again => unreachable!("it goes on"),
            }
        };
        let count = timeout(PATIENCE, either).await.expect("it arrives");
        assert_eq!(kept.len(), count);
        kept
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_packet_arrives_with_its_ttl_its_interface_and_both_addresses() {
        in_new_namespace(|| async {
            let far = Namespace::new();
            // So that the indexes of the two ends differ.
            far.ip("link add first type bridge");
            let here = far.routed_cable("lan", 7).await;
            let lan = far.within(|| crate::support::index_of("lan"));
            assert_ne!(here, lan);
            for (there, here, any) in addresses() {
                for port in [SINGLE_HOP, MULTIHOP] {
                    let receiver = far
                        .within(|| opened(|| Receiver::open(SocketAddr::new(any, port), None, 1)));
                    let sender = Sender::open(&session(there, port, Some(here))).expect("opens");
                    let packet = [7; 24];
                    // What cannot be sent yet is sent the next time.
                    let arrived = first(&receiver, async || drop(sender.send(&packet))).await;
                    let port = sender.source_port();
                    assert!(port >= 49152, "{port}");
                    let from = match here {
                        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                            SocketAddrV6::new(v6, port, 0, lan).into()
                        }
                        other => SocketAddr::new(other, port),
                    };
                    let wanted = Kept {
                        from,
                        local: there,
                        interface: lan,
                        ttl: 255,
                        packet: packet.to_vec(),
                    };
                    assert!(arrived.iter().all(|kept| *kept == wanted), "{arrived:?}");
                }
            }
        });
    }

    /// An address and port on the link `index`, which only IPv6 names.
    fn scoped(address: IpAddr, port: u16, index: u32) -> SocketAddr {
        match address {
            IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, index).into(),
            IpAddr::V4(_) => SocketAddr::new(address, port),
        }
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_ttl_below_255_is_seen_if_it_may_be_and_what_is_too_long_is_cut() {
        in_new_namespace(|| async {
            let far = Namespace::new();
            let index = far.routed_cable("lan", 7).await;
            for (there, here, any) in addresses() {
                let open = || Receiver::open(SocketAddr::new(any, SINGLE_HOP), None, 254);
                let receiver = far.within(|| opened(open));
                let scoped = |address, port| scoped(address, port, index);
                let other = UdpSocket::bind(scoped(here, 0)).await.expect("binds");
                let raw = SockRef::from(&other);
                let set = if here.is_ipv4() {
                    raw.set_ttl_v4(254)
                } else {
                    raw.set_unicast_hops_v6(254)
                };
                set.expect("set");
                let to = scoped(there, SINGLE_HOP);
                let send = async || drop(other.send_to(&[7; 1000], to).await);
                let arrived = first(&receiver, send).await;
                for kept in arrived {
                    assert_eq!((kept.ttl, kept.packet.len()), (254, 255));
                }
            }
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_flood_from_farther_away_does_not_reach_the_buffer() {
        const FLOOD: u32 = 20_000;
        in_new_namespace(|| async {
            let far = Namespace::new();
            let index = far.routed_cable("lan", 7).await;
            for (there, here, any) in addresses() {
                let open = || Receiver::open(SocketAddr::new(any, SINGLE_HOP), None, 255);
                let receiver = far.within(|| opened(open));
                let scoped = |address, port| scoped(address, port, index);
                let near = Sender::open(&session(there, SINGLE_HOP, Some(here))).expect("opens");
                first(&receiver, async || drop(near.send(&[1; 24]))).await;
                let other = std::net::UdpSocket::bind(scoped(here, 0)).expect("binds");
                let raw = SockRef::from(&other);
                let set = if here.is_ipv4() {
                    raw.set_ttl_v4(254)
                } else {
                    raw.set_unicast_hops_v6(254)
                };
                set.expect("set");
                for _ in 0..FLOOD {
                    let to = scoped(there, SINGLE_HOP);
                    other.send_to(&[2; 24], to).expect("sent");
                }
                until("all of it has come", || {
                    receiver.drops().ok() == Some(FLOOD)
                })
                .await;
                near.send(&[3; 24]).expect("sent");
                let mut taken = Vec::new();
                until("the neighbour is heard", || {
                    let take = receiver.try_receive(|d| taken.push((d.ttl, d.packet[0])));
                    take.expect("works");
                    taken.last() == Some(&(255, 3))
                })
                .await;
                let strange = taken.iter().any(|(ttl, first)| *ttl < 255 || *first == 2);
                assert!(!strange, "{taken:?}");
                // Over several hops it may be another one, and may change.
                receiver.set_least(254).expect("set");
                let send = async || drop(other.send_to(&[2; 24], scoped(there, SINGLE_HOP)));
                let kept = first(&receiver, send).await;
                assert_eq!(kept[0].ttl, 254);
            }
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn sockets_know_when_their_interface_is_another_one() {
        in_new_namespace(|| async {
            ip("link set lo up");
            let make = || ip("link add blue type bridge");
            make();
            let any = SocketAddr::new(address("0.0.0.0"), SINGLE_HOP);
            let on_blue = Session {
                interface: Some("blue".to_owned()),
                ..session(address("127.0.0.1"), SINGLE_HOP, None)
            };
            let anywhere = Session {
                interface: None,
                ..on_blue.clone()
            };
            let open = || {
                let receiver = Receiver::open(any, Some("blue"), 255).expect("opens");
                (receiver, Sender::open(&on_blue).expect("opens"))
            };
            let (receiver, sender) = open();
            let free = Sender::open(&anywhere).expect("opens");
            assert!(!receiver.is_stranded() && !sender.is_stranded());
            ip("link del blue");
            assert!(receiver.is_stranded() && sender.is_stranded());
            make();
            assert!(receiver.is_stranded() && sender.is_stranded());
            drop((receiver, sender));
            let (receiver, sender) = open();
            assert!(!receiver.is_stranded() && !sender.is_stranded());
            ip("link set blue name green");
            assert!(receiver.is_stranded() && sender.is_stranded());
            assert!(!free.is_stranded());
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_receiver_keeps_to_its_interface() {
        in_new_namespace(|| async {
            let far = Namespace::new();
            far.routed_cable("one", 1).await;
            far.routed_cable("two", 2).await;
            let any = SocketAddr::new(address("0.0.0.0"), SINGLE_HOP);
            let receiver = far.within(|| Receiver::open(any, Some("two"), 255));
            let receiver = receiver.expect("opens");
            let over = |remote: &str| {
                let session = Session {
                    interface: None,
                    ..session(address(remote), SINGLE_HOP, None)
                };
                Sender::open(&session).expect("opens")
            };
            let (one, two) = (over("192.0.1.2"), over("192.0.2.2"));
            let nobody = || far.within(|| counter("snmp", "Udp:", "NoPorts"));
            until("what arrives on the other is for nobody", || {
                drop(one.send(&[1; 24]));
                nobody() > 0
            })
            .await;
            let arrived = first(&receiver, async || drop(two.send(&[2; 24]))).await;
            let two = far.within(|| crate::support::index_of("two"));
            for kept in arrived {
                assert_eq!((kept.interface, kept.packet[0]), (two, 2));
            }
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn what_is_there_is_taken_at_once_in_batches_until_nothing_is_left() {
        in_new_namespace(|| async {
            ip("link set lo up");
            let local = address("127.0.0.1");
            let any = SocketAddr::new(local, SINGLE_HOP);
            let receiver = Receiver::open(any, None, 255).expect("opens");
            let session = Session {
                interface: None,
                ..session(local, SINGLE_HOP, None)
            };
            let sender = Sender::open(&session).expect("opens");
            for n in 0..100 {
                sender.send(&[n; 24]).expect("sent");
            }
            let mut order = Vec::new();
            let mut take = || receiver.try_receive(|d| order.push(d.packet[0])).ok();
            assert_eq!([take(), take(), take()], [Some(64), Some(36), Some(0)]);
            assert!(order.into_iter().eq(0..100));
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn every_session_has_a_source_port_of_its_own() {
        in_new_namespace(|| async {
            ip("link set lo up");
            let session = Session {
                interface: None,
                ..session(address("127.0.0.1"), SINGLE_HOP, None)
            };
            let open = || Sender::open(&session).expect("opens");
            let senders: Vec<Sender> = (0..500).map(|_| open()).collect();
            let ports: BTreeSet<u16> = senders.iter().map(Sender::source_port).collect();
            assert_eq!(ports.len(), 500);
            assert!(ports.iter().all(|port| *port >= 49152), "{ports:?}");
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn an_error_says_what_is_in_the_way() {
        in_new_namespace(|| async {
            ip("link set lo up");
            let any = SocketAddr::new(address("::"), SINGLE_HOP);
            let open = |interface| Receiver::open(any, interface, 255);
            let _first = open(None).expect("opens");
            let error = open(None).expect_err("is taken").to_string();
            assert!(error.contains("BFD receiver at [::]:3784"), "{error}");
            assert!(error.contains("another program"), "{error}");
            let error = open(Some("vrf-blue"))
                .expect_err("is not there")
                .to_string();
            assert!(error.contains("no VRF of that name"), "{error}");
            let session = session(address("192.0.2.1"), MULTIHOP, None);
            let error = Sender::open(&session)
                .expect_err("is not there")
                .to_string();
            assert!(error.contains("BFD session with 192.0.2.1"), "{error}");
            assert!(error.contains("interface lan"), "{error}");
        });
    }
}
