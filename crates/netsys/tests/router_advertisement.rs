//! Router advertisements between two network namespaces that forward, as Kubernetes nodes do.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};
    use std::time::Duration;

    use herald_netsys::router_advertisement::{Message, RouterSocket};
    use socket2::{Domain, Protocol, Socket, Type};
    use tokio::time::{sleep, timeout};

    use crate::support::{Namespace, PATIENCE, in_new_namespace, ip, sysctl, until};

    const HERE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const THERE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    const HERE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const THERE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

    /// A socket at each end of a cable.
    struct Link {
        far: Namespace,
        index: u32,
        here: RouterSocket,
        there: RouterSocket,
    }

    async fn link() -> Link {
        let far = Namespace::new();
        sysctl("ipv6/conf/all/forwarding", "1");
        far.within(|| sysctl("ipv6/conf/all/forwarding", "1"));
        let index = far.routed_cable("lan", 7).await;
        // A kernel that forwards believes what a solicitation says.
        ip("link set lan address 02:00:00:00:00:01");
        far.ip("link set lan address 02:00:00:00:00:02");
        let here = RouterSocket::open(index).expect("opens");
        let there = far.within(|| RouterSocket::open(index)).expect("opens");
        Link {
            far,
            index,
            here,
            there,
        }
    }

    const fn from_here() -> Message {
        Message::Advertisement {
            from: HERE,
            lifetime: 0,
            mac: Some(HERE_MAC),
        }
    }

    const fn from_there() -> Message {
        Message::Advertisement {
            from: THERE,
            lifetime: 0,
            mac: Some(THERE_MAC),
        }
    }

    /// Calls `send` again and again until messages arrive; returns the first one.
    async fn first(socket: &RouterSocket, send: impl Fn()) -> Message {
        let mut messages = Vec::new();
        let again = async {
            loop {
                send();
                sleep(Duration::from_millis(50)).await;
            }
        };
        let receive = async {
            while messages.is_empty() {
                let received = socket.receive(|message| messages.push(message)).await;
                received.expect("received");
            }
        };
        let received = async {
            tokio::select! {
                () = receive => {}
                () = again => unreachable!("it goes on"),
            }
        };
        timeout(PATIENCE, received).await.expect("it arrives");
        messages[0]
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn routers_learn_of_each_other_though_they_forward() {
        in_new_namespace(|| async {
            let link = link().await;
            let advertise = || link.here.advertise(HERE, HERE_MAC, None).expect("sent");
            assert_eq!(first(&link.there, advertise).await, from_here());
            // Nor has the sender heard itself.
            let answer = || link.there.advertise(THERE, THERE_MAC, None).expect("sent");
            assert_eq!(first(&link.here, answer).await, from_there());
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_solicitation_is_heard_and_can_be_answered_to_one() {
        in_new_namespace(|| async {
            let link = link().await;
            let solicit = || link.there.solicit(THERE, THERE_MAC).expect("sent");
            let solicitation = Message::Solicitation {
                from: THERE,
                mac: Some(THERE_MAC),
            };
            assert_eq!(first(&link.here, solicit).await, solicitation);
            let answer = || {
                let to = Some(THERE);
                link.here.advertise(HERE, HERE_MAC, to).expect("sent");
            };
            assert_eq!(first(&link.there, answer).await, from_here());
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn what_was_forwarded_and_what_is_no_advertisement_is_not_heard() {
        in_new_namespace(|| async {
            let link = link().await;
            let other = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6));
            let other = other.expect("a raw socket");
            other.set_multicast_hops_v6(64).expect("set");
            other.set_multicast_if_v6(link.index).expect("set");
            let all = "ff02::1".parse().expect("an address");
            let to = SocketAddrV6::new(all, 0, 0, link.index).into();
            let heard = || link.far.within(|| counter6("Icmp6InRouterAdvertisements"));
            let before = heard();
            // An advertisement of no default router without options, and an echo request.
            let mut advertisement = [0; 16];
            advertisement[0] = 134;
            until("one has arrived", || {
                other.send_to(&advertisement, &to).expect("sent");
                other
                    .send_to(&[128, 0, 0, 0, 0, 1, 0, 1], &to)
                    .expect("sent");
                heard() > before
            })
            .await;
            let advertise = || link.here.advertise(HERE, HERE_MAC, None).expect("sent");
            assert_eq!(first(&link.there, advertise).await, from_here());
        });
    }

    /// A counter of this thread's namespace about IPv6.
    fn counter6(name: &str) -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/net/snmp6").expect("counters");
        let mut lines = text
            .lines()
            .filter_map(|line| line.split_once(char::is_whitespace));
        let (_, value) = lines.find(|(n, _)| *n == name).expect("the counter");
        value.trim().parse().expect("a number")
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn an_error_names_the_address_or_the_interface() {
        in_new_namespace(|| async {
            let link = link().await;
            let absent = "fe80::77".parse().expect("an address");
            let error = link.here.advertise(absent, HERE_MAC, None);
            let error = error.expect_err("is not here").to_string();
            assert!(error.contains("send from fe80::77"), "{error}");
            assert!(error.contains("does not have that address"), "{error}");
            let error = RouterSocket::open(4711)
                .expect_err("is not there")
                .to_string();
            assert!(error.contains("interface 4711"), "{error}");
            assert!(error.contains("this node has no interface"), "{error}");
        });
    }
}
