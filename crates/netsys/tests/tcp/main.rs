//! Connections for BGP between two network namespaces.

#[cfg(test)]
mod passwords;
#[cfg(test)]
#[path = "../support/mod.rs"]
mod support;
#[cfg(test)]
mod wire;

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::net::SocketAddr;
    use std::num::NonZeroU8;

    use herald_netsys::Dscp;
    use herald_netsys::tcp::{
        self, Hops, ListenOptions, Options, connect, listen, queued, set_hops,
    };
    use socket2::SockRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use crate::support::{Namespace, PATIENCE, in_new_namespace, ip, opened, until};
    use crate::wire::{Capture, Header, refused, talk, there};

    fn within(hops: u8) -> Hops {
        Hops::Within(NonZeroU8::new(hops).expect("not zero"))
    }

    fn limit(hops: u8) -> Hops {
        Hops::Limit(NonZeroU8::new(hops).expect("not zero"))
    }

    fn listening_with(far: &Namespace, address: SocketAddr, hops: Hops) -> tcp::Listener {
        let options = ListenOptions {
            hops,
            ..ListenOptions::at(address)
        };
        far.within(|| opened(|| listen(&options)))
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn ttl_security_takes_255_and_drops_254_and_64() {
        in_new_namespace(|| async {
            let far = Namespace::new();
            let index = far.routed_cable("lan", 7).await;
            for remote in there(7, index) {
                let listener = listening_with(&far, remote, within(1));
                let options = |hops| Options {
                    hops,
                    ..Options::to(remote)
                };
                for hops in [within(1), limit(255)] {
                    let connected = connect(&options(hops)).await.expect("connects");
                    let (accepted, _) = listener.accept().await.expect("accepts");
                    talk(connected, accepted).await;
                }
                for hops in [limit(254), limit(64), limit(1)] {
                    refused(&options(hops), &far, "TCPMinTTLDrop").await;
                }
                drop(listener);
                // A neighbour of a neighbour.
                let listener = listening_with(&far, remote, within(2));
                connect(&options(limit(254))).await.expect("connects");
                listener.accept().await.expect("accepts");
                refused(&options(limit(253)), &far, "TCPMinTTLDrop").await;
            }
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn ttl_security_holds_for_the_answers_too_and_can_be_changed_for_a_connection() {
        in_new_namespace(|| async {
            let far = Namespace::new();
            let here = Namespace::current();
            let index = far.routed_cable("lan", 7).await;
            for remote in there(7, index) {
                let listener = listening_with(&far, remote, limit(64));
                let mut options = Options::to(remote);
                options.hops = within(1);
                refused(&options, &here, "TCPMinTTLDrop").await;
                options.hops = Hops::ONE;
                let mut connected = connect(&options).await.expect("connects");
                let (mut accepted, _) = listener.accept().await.expect("accepts");
                set_hops(&accepted, within(1)).expect("set");
                let drops = far.counter("TCPMinTTLDrop");
                connected.write_all(b"late").await.expect("written");
                until("what has a TTL of 1 is dropped", || {
                    far.counter("TCPMinTTLDrop") > drops
                })
                .await;
                set_hops(&connected, within(1)).expect("set");
                let mut read = [0; 4];
                let reading = timeout(PATIENCE, accepted.read_exact(&mut read));
                reading.await.expect("sent again").expect("read");
                assert_eq!(&read, b"late");
                set_hops(&accepted, Hops::ONE).expect("set");
                set_hops(&connected, Hops::ONE).expect("set");
                talk(connected, accepted).await;
            }
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn every_packet_has_the_ttl_and_the_code_point() {
        in_new_namespace(|| async {
            let far = Namespace::new();
            let here = Namespace::current();
            let index = far.routed_cable("lan", 7).await;
            for remote in there(7, index) {
                let expected = |hop_limit, traffic_class| Header {
                    hop_limit,
                    traffic_class,
                };
                let af21 = Dscp::new(18).expect("six bits");
                for (hops, dscp, wanted) in [
                    (Hops::ONE, Dscp::CS6, expected(1, 0xc0)),
                    (limit(7), af21, expected(7, 0x48)),
                    (within(1), Dscp::DEFAULT, expected(255, 0)),
                ] {
                    let listener = listening_with(&far, remote, Hops::ANY);
                    let sent = Capture::open(&far, remote);
                    let answers = Capture::open(&here, remote);
                    let options = Options {
                        hops,
                        dscp,
                        ..Options::to(remote)
                    };
                    let connected = connect(&options).await.expect("connects");
                    let (accepted, from) = listener.accept().await.expect("accepts");
                    // Open until the end: the kernel itself answers what is late, with other headers.
                    let _open = talk(connected, accepted).await;
                    let to_server = sent.headers(from.port(), remote.port());
                    // A SYN, an ACK, and data.
                    assert!(to_server.len() >= 3, "{to_server:?}");
                    assert!(to_server.iter().all(|h| *h == wanted), "{to_server:?}");
                    let to_client = answers.headers(remote.port(), from.port());
                    assert!(to_client.len() >= 2, "{to_client:?}");
                    let answer = expected(255, 0xc0);
                    assert!(to_client.iter().all(|h| *h == answer), "{to_client:?}");
                }
            }
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_connection_comes_from_the_address_it_is_told() {
        in_new_namespace(|| async {
            let far = Namespace::new();
            let index = far.routed_cable("lan", 7).await;
            ip("addr add 192.0.7.9/24 dev lan");
            ip("addr add 2001:db8:7::9/64 dev lan nodad");
            ip("addr add fe80::9/64 dev lan nodad");
            let sources = ["192.0.7.9", "2001:db8:7::9", "fe80::9"];
            let absent = ["192.0.7.77", "2001:db8:7::77", "fe80::77"];
            for ((remote, source), absent) in there(7, index).into_iter().zip(sources).zip(absent) {
                let listener = listening_with(&far, remote, Hops::ANY);
                let options = |local: &str| Options {
                    local: Some(local.parse().expect("an address")),
                    ..Options::to(remote)
                };
                let _connected = connect(&options(source)).await.expect("connects");
                let (_accepted, from) = listener.accept().await.expect("accepts");
                assert_eq!(from.ip().to_string(), source);
                let error = connect(&options(absent)).await.expect_err("is not here");
                let error = error.to_string();
                assert!(error.contains(absent), "{error}");
                assert!(error.contains("no interface of this node has"), "{error}");
                assert!(error.contains(&remote.to_string()), "{error}");
            }
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_connection_and_a_listener_keep_to_their_interface() {
        in_new_namespace(|| async {
            let far = Namespace::new();
            far.routed_cable("one", 1).await;
            far.routed_cable("two", 2).await;
            let options = |remote: &str, interface: Option<&str>| Options {
                interface: interface.map(str::to_owned),
                ..Options::to(remote.parse().expect("an address"))
            };
            for (first, port, second, source) in [
                ("192.0.1.2", 179, "192.0.2.2", "192.0.2.1"),
                ("[2001:db8:1::2]", 179, "[2001:db8:2::2]", "2001:db8:2::1"),
            ] {
                let any = if first.starts_with('[') {
                    "[::]:179"
                } else {
                    "0.0.0.0:179"
                };
                let bound = ListenOptions {
                    interface: Some("two".to_owned()),
                    ..ListenOptions::at(any.parse().expect("an address"))
                };
                let listener = far.within(|| opened(|| listen(&bound)));
                let over = |address: &str, interface| {
                    let options = options(&format!("{address}:{port}"), interface);
                    async move { timeout(PATIENCE, connect(&options)).await.expect("in time") }
                };
                let error = over(first, None).await.expect_err("nobody listens there");
                assert!(error.to_string().contains("refused"), "{error}");
                let _connected = over(second, None).await.expect("connects");
                let (_accepted, _) = listener.accept().await.expect("accepts");
                if first.starts_with('[') {
                    continue;
                }
                // The address of the other interface, over this one.
                let _connected = over(first, Some("two")).await.expect("connects");
                let (_accepted, from) = listener.accept().await.expect("accepts");
                assert_eq!(from.ip().to_string(), source);
            }
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_vrf_or_an_interface_that_is_not_there_is_named() {
        in_new_namespace(|| async {
            ip("link set lo up");
            let address = "127.0.0.1:179".parse().expect("an address");
            let expected = "no interface and no VRF of that name";
            let options = Options {
                interface: Some("vrf-blue".to_owned()),
                ..Options::to(address)
            };
            let error = connect(&options).await.expect_err("is not there");
            let error = error.to_string();
            assert!(error.contains("bind to the interface vrf-blue"), "{error}");
            assert!(error.contains(expected), "{error}");
            let options = ListenOptions {
                interface: Some("vrf-blue".to_owned()),
                ..ListenOptions::at(address)
            };
            let error = listen(&options).expect_err("is not there").to_string();
            assert!(error.contains("BGP listener at 127.0.0.1:179"), "{error}");
            assert!(error.contains(expected), "{error}");
            let link_local = "[fe80::1]:179".parse().expect("an address");
            let error = connect(&Options::to(link_local)).await;
            let error = error.expect_err("of which link?").to_string();
            assert!(error.contains("needs its interface"), "{error}");
            let first = ListenOptions::at(address);
            let _first = listen(&first).expect("listens");
            let error = listen(&first).expect_err("is taken").to_string();
            assert!(error.contains("another program"), "{error}");
        });
    }

    /// How many bytes `stream` has received that nobody has read.
    fn unread(stream: &TcpStream) -> usize {
        let mut buffer = vec![MaybeUninit::uninit(); 16 << 20];
        SockRef::from(stream).peek(&mut buffer).unwrap_or(0)
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn what_a_peer_does_not_take_stays_in_the_queue() {
        in_new_namespace(|| async {
            let far = Namespace::new();
            let index = far.routed_cable("lan", 7).await;
            let [remote, ..] = there(7, index);
            let listener = listening_with(&far, remote, Hops::ANY);
            let connected = connect(&Options::to(remote)).await.expect("connects");
            let (mut accepted, _) = listener.accept().await.expect("accepts");
            let mut written = 0;
            let block = [7; 4096];
            until("the connection is full", || {
                while let Ok(count) = connected.try_write(&block) {
                    written += count;
                }
                let queue = queued(&connected).expect("a number");
                queue > 65536 && queue + unread(&accepted) == written
            })
            .await;
            let mut read = vec![0; written];
            let reading = timeout(PATIENCE, accepted.read_exact(&mut read));
            reading.await.expect("in time").expect("read");
            until("the queue is empty", || {
                queued(&connected).expect("a number") == 0
            })
            .await;
        });
    }
}
