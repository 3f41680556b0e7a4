//! What the crate promises, against the running kernel: each test in a network namespace of its
//! own.

#[cfg(test)]
mod support;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv6Addr;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use herald_netsys::{
        Change, EtherType, GroupMemberships, Instruction, Interface, Monitor, PacketSocket,
    };
    use tokio::time::timeout;

    use crate::support::{in_new_namespace, index_of, ip, until, until_in_operation};

    /// A pair `left` and `right`, both in operation, and their indexes.
    async fn veth() -> (u32, u32) {
        ip("link add left type veth peer name right");
        ip("link set left up");
        ip("link set right up");
        until_in_operation("left").await;
        until_in_operation("right").await;
        (index_of("left"), index_of("right"))
    }

    async fn until_change(
        monitor: &mut Monitor,
        what: &str,
        wanted: impl Fn(&Change) -> bool,
    ) -> Change {
        let wait = async {
            loop {
                let change = monitor.next().await.expect("it goes on");
                if wanted(&change) {
                    return change;
                }
            }
        };
        timeout(Duration::from_secs(5), wait)
            .await
            .unwrap_or_else(|_| panic!("no change: {what}"))
    }

    fn is(change: &Change, name: &str, state: impl Fn(&Interface) -> bool) -> bool {
        matches!(change, Change::Present(i) if i.name == name && state(i))
    }

    const fn accept_all() -> [Instruction; 1] {
        [Instruction {
            code: 0x06,
            jt: 0,
            jf: 0,
            k: u32::MAX,
        }]
    }

    /// Passes frames whose byte at `offset` is `value`.
    const fn accept_byte(offset: u32, value: u32) -> [Instruction; 4] {
        const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
            Instruction { code, jt, jf, k }
        }
        [
            instruction(0x30, 0, 0, offset),
            instruction(0x15, 0, 1, value),
            instruction(0x06, 0, 0, u32::MAX),
            instruction(0x06, 0, 0, 0),
        ]
    }

    fn arp_frame(marker: u8) -> [u8; 60] {
        let mut frame = [0; 60];
        frame[..6].fill(0xff);
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        frame[14] = marker;
        frame
    }

    async fn markers(socket: &PacketSocket) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let mut seen = Vec::new();
        while let Ok(result) = timeout(
            Duration::from_millis(100),
            socket.receive(&mut buffer, |frame| seen.push(frame[14])),
        )
        .await
        {
            result.expect("the interface is up");
        }
        seen
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_socket_sees_what_arrives_and_not_what_it_sends() {
        in_new_namespace(|| async {
            let (left, right) = veth().await;
            let a = PacketSocket::open(left, EtherType::Arp, &accept_all()).expect("opens");
            let b = PacketSocket::open(right, EtherType::Arp, &accept_all()).expect("opens");
            a.send(&arp_frame(1)).expect("sent");
            assert_eq!(markers(&b).await, [1]);
            assert_eq!(markers(&a).await, [0; 0]);
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_filter_can_be_replaced_while_the_socket_is_open() {
        in_new_namespace(|| async {
            let (left, right) = veth().await;
            let a = PacketSocket::open(left, EtherType::Arp, &accept_all()).expect("opens");
            let b = PacketSocket::open(right, EtherType::Arp, &accept_byte(14, 1)).expect("opens");
            let send = || {
                a.send(&arp_frame(1)).expect("sent");
                a.send(&arp_frame(2)).expect("sent");
            };
            send();
            assert_eq!(markers(&b).await, [1]);
            b.set_filter(&accept_byte(14, 2)).expect("replaced");
            send();
            assert_eq!(markers(&b).await, [2]);
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn frames_of_an_interface_above_are_not_seen_below() {
        in_new_namespace(|| async {
            let (left, right) = veth().await;
            ip("link add link right name above type macvlan mode bridge");
            ip("link set above up");
            let above = index_of("above");
            let a = PacketSocket::open(left, EtherType::Arp, &accept_all()).expect("opens");
            let below = PacketSocket::open(right, EtherType::Arp, &accept_all()).expect("opens");
            let above_socket =
                PacketSocket::open(above, EtherType::Arp, &accept_all()).expect("opens");
            let monitor = Monitor::start().await.expect("netlink");
            let mac = monitor
                .interfaces()
                .find(|i| i.index == above)
                .and_then(|i| i.mac)
                .expect("a MAC");
            let mut frame = arp_frame(7);
            frame[..6].copy_from_slice(&mac);
            a.send(&frame).expect("sent");
            assert_eq!(markers(&above_socket).await, [7]);
            assert_eq!(markers(&below).await, [0; 0]);
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_socket_fails_when_its_interface_goes_away() {
        in_new_namespace(|| async {
            let (_, right) = veth().await;
            let socket = PacketSocket::open(right, EtherType::Arp, &accept_all()).expect("opens");
            ip("link del right");
            let mut buffer = [0; 64];
            let result = timeout(
                Duration::from_secs(5),
                socket.receive(&mut buffer, |_| panic!("no frame was sent")),
            );
            result.await.expect("wakes").expect_err("is an error");
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_flood_leaves_room_for_other_tasks_and_an_abort_ends_it() {
        in_new_namespace(|| async {
            let (left, right) = veth().await;
            let a = PacketSocket::open(left, EtherType::Arp, &accept_all()).expect("opens");
            let b = PacketSocket::open(right, EtherType::Arp, &accept_all()).expect("opens");
            // Every frame that is handled brings another: the socket is never empty.
            let frames = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&frames);
            let a = Arc::new(a);
            let echo = Arc::clone(&a);
            let flooded = tokio::spawn(async move {
                let mut buffer = [0; 64];
                loop {
                    let received = b.receive(&mut buffer, |_| {
                        // Ends a test that would hang.
                        if counter.fetch_add(1, Ordering::Relaxed) < 1_000_000 {
                            echo.send(&arp_frame(1)).expect("sent");
                        }
                    });
                    received.await.expect("the interface is up");
                }
            });
            // The kernel drops what is sent before the link is in full operation, without an error.
            let first = async {
                while frames.load(Ordering::Relaxed) == 0 {
                    for _ in 0..10 {
                        a.send(&arp_frame(1)).expect("sent");
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            timeout(Duration::from_secs(10), first)
                .await
                .expect("frames arrive");
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            flooded.abort();
            let error = flooded.await.expect_err("aborted");
            assert!(error.is_cancelled(), "{error}");
            let frames = frames.load(Ordering::Relaxed);
            assert!(
                (64..10_000).contains(&frames),
                "{frames} frames in seven turns"
            );
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn thousands_of_groups_are_joined_over_several_sockets_and_left_again() {
        in_new_namespace(|| async {
            let (left, _) = veth().await;
            let group = |n: u16| Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, n);
            let wanted: BTreeSet<_> = (0..6000).map(group).collect();
            let mut groups = GroupMemberships::new(left);
            let errors = groups.set(&wanted);
            assert!(errors.is_empty(), "{:?}", errors.first());
            assert_eq!(groups.len(), 6000);
            assert!(groups.sockets() > 1, "one socket was enough");
            let joined = || {
                let text = std::fs::read_to_string("/proc/thread-self/net/igmp6").expect("igmp6");
                text.lines()
                    .filter(|l| l.contains("left "))
                    .filter(|l| l.contains("ff0200000000000000000001ff12"))
                    .count()
            };
            assert_eq!(joined(), 6000);
            let fewer: BTreeSet<_> = (10..20).map(group).collect();
            assert!(groups.set(&fewer).is_empty());
            assert_eq!(joined(), 10);
            assert!(groups.set(&wanted).is_empty());
            assert_eq!(joined(), 6000);
            drop(groups);
            // A process that another test starts has the sockets for a moment too.
            until("all groups are left", || joined() == 0).await;
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn the_monitor_follows_links_and_addresses() {
        in_new_namespace(|| async {
            let mut monitor = Monitor::start().await.expect("netlink");
            until_change(&mut monitor, "lo is there", |c| is(c, "lo", |i| i.loopback)).await;
            ip("link add left type veth peer name right");
            ip("link set left up");
            ip("link set right up");
            until_change(&mut monitor, "left has carrier", |c| {
                is(c, "left", |i| {
                    i.up && i.carrier && i.broadcast && i.ethernet && i.mac.is_some()
                })
            })
            .await;
            until_change(&mut monitor, "left has a link-local address", |c| {
                is(c, "left", |i| i.link_local().is_some())
            })
            .await;
            ip("link set right down");
            until_change(&mut monitor, "left lost carrier", |c| {
                is(c, "left", |i| i.up && !i.carrier)
            })
            .await;
            ip("link add br0 type bridge");
            ip("link set left master br0");
            until_change(&mut monitor, "left has a master", |c| {
                is(c, "left", |i| i.master.is_some())
            })
            .await;
            ip("link set left nomaster");
            until_change(&mut monitor, "left has no master", |c| {
                is(c, "left", |i| i.master.is_none())
            })
            .await;
            ip("link del left");
            until_change(
                &mut monitor,
                "left is gone",
                |c| matches!(c, Change::Gone { name, .. } if name == "left"),
            )
            .await;
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn the_monitor_catches_up_after_an_overrun() {
        in_new_namespace(|| async {
            let mut monitor = Monitor::start().await.expect("netlink");
            ip("link add left type veth peer name right");
            // Nothing reads the socket meanwhile, and its buffer overflows.
            let flood = "for n in $(seq 1500); do echo link set left mtu $((1000 + n % 400)); done | ip -batch -";
            let status = Command::new("sh").args(["-c", flood]).status().expect("sh");
            assert!(status.success());
            ip("link set left up");
            ip("link del left");
            ip("link add last type veth peer name other");
            until_change(&mut monitor, "last is there", |c| is(c, "last", |_| true)).await;
            let names: BTreeSet<_> = monitor.interfaces().map(|i| i.name.clone()).collect();
            assert!(!names.contains("left"), "{names:?}");
        });
    }
}
