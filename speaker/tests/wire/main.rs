//! The layer 2 driver against the kernel of a cold client: two network namespaces with a cable
//! between them, real sockets, no API.

#[cfg(test)]
mod frames;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod listening;
#[cfg(test)]
mod many;

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    use herald_announce::Interfaces;
    use herald_netsys::EtherType;

    use crate::frames::{capture, send_junk};
    use crate::harness::{Namespace, V4, V6, ip, mac_of, neighbour, with_node};

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_cold_client_resolves_both_families() {
        with_node(async |node| {
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            assert!(node.readiness.pending().is_empty());
            assert_eq!(node.resolve(V4).await, None, "nothing is announced yet");
            node.both();
            let mac = mac_of("lan");
            assert_eq!(node.resolve(V4).await.as_deref(), Some(mac.as_str()));
            node.resolves_v6(&mac).await;
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn an_address_that_is_withdrawn_is_no_longer_answered_for() {
        with_node(async |node| {
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            node.both();
            assert!(node.resolve(V4).await.is_some());
            node.want(&[]);
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(node.resolve(V4).await, None);
            assert_eq!(node.resolve(V6).await, None);
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn an_interface_that_appears_later_is_served() {
        with_node(async |node| {
            node.both();
            node.announces_on(&[]).await;
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            let mac = mac_of("lan");
            assert_eq!(node.resolve(V4).await.as_deref(), Some(mac.as_str()));
            node.resolves_v6(&mac).await;
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn an_interface_that_is_not_named_is_silent() {
        with_node(async |node| {
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            let other = Interfaces::Named(["other".to_owned()].into());
            node.want(&[(V4, other)]);
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(node.resolve(V4).await, None);
            let lan = Interfaces::Named(["lan".to_owned()].into());
            node.want(&[(V4, lan)]);
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(node.resolve(V4).await.is_some());
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_mac_address_that_changes_is_announced() {
        with_node(async |node| {
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            node.both();
            assert!(node.resolve(V4).await.is_some());
            ip("link set lan address 02:00:00:00:00:77");
            // The client learns it from the gratuitous frames, without asking.
            let client = node.client.jobs.clone();
            let learnt = tokio::task::spawn_blocking(move || {
                let jobs = Namespace {
                    path: String::new(),
                    jobs: client,
                };
                jobs.run(|| {
                    let deadline = Instant::now() + Duration::from_secs(3);
                    while Instant::now() < deadline {
                        if neighbour(V4).as_deref() == Some("02:00:00:00:00:77") {
                            return true;
                        }
                        thread::sleep(Duration::from_millis(20));
                    }
                    false
                })
            });
            assert!(learnt.await.expect("no panic"));
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn taking_an_address_and_a_link_that_comes_back_are_announced_at_once() {
        with_node(async |node| {
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            let count = |frames: Vec<Vec<u8>>| {
                let octets: [u8; 4] = [192, 0, 2, 100];
                let ours = |frame: &Vec<u8>| frame.get(28..32) == Some(&octets[..]);
                frames.iter().filter(|f| ours(f)).count()
            };
            let time = Duration::from_millis(700);
            let ((), frames) = tokio::join!(
                async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    node.want(&[(V4, Interfaces::All)]);
                },
                capture(node, EtherType::Arp, time)
            );
            // Request and reply at 0, 0.1 and 0.3 s.
            assert_eq!(count(frames), 6);
            node.client.ip("link set lan down");
            node.announces_on(&[]).await;
            node.client.ip("link set lan up");
            node.client.ip("addr replace 192.0.2.1/24 dev lan");
            let frames = capture(node, EtherType::Arp, time).await;
            assert!(count(frames) >= 4);
            node.announces_on(&["lan"]).await;
            assert!(node.resolve(V4).await.is_some());
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_neighbour_check_by_unicast_is_answered() {
        with_node(async |node| {
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            node.both();
            let mac = mac_of("lan");
            node.resolves_v6(&mac).await;
            // A stale entry that is used makes the kernel ask the neighbour itself, after 5 s;
            // probing at once takes the state `probe`.
            node.client.ip(&format!(
                "neigh replace {V6} lladdr {mac} dev lan nud probe"
            ));
            let jobs = node.client.jobs.clone();
            let reachable = tokio::task::spawn_blocking(move || {
                let jobs = Namespace {
                    path: String::new(),
                    jobs,
                };
                jobs.run(|| {
                    let deadline = Instant::now() + Duration::from_secs(5);
                    while Instant::now() < deadline {
                        let output = Command::new("ip")
                            .args(["neigh", "show", V6])
                            .output()
                            .expect("ip runs");
                        let text = String::from_utf8_lossy(&output.stdout).into_owned();
                        if text.contains("REACHABLE") {
                            return text;
                        }
                        thread::sleep(Duration::from_millis(50));
                    }
                    String::new()
                })
            });
            assert!(reachable.await.expect("no panic").contains("REACHABLE"));
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_part_of_a_bridge_is_left_to_the_bridge() {
        with_node(async |node| {
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            node.both();
            ip("link add br0 type bridge forward_delay 0");
            ip("link set lan master br0");
            node.announces_on(&[]).await;
            ip("link set br0 up");
            node.announces_on(&["br0"]).await;
            let mac = mac_of("br0");
            assert_eq!(node.resolve(V4).await.as_deref(), Some(mac.as_str()));
            ip("link set lan nomaster");
            node.announces_on(&["lan"]).await;
            assert!(!node.token.is_cancelled());
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn an_address_is_answered_for_on_ipv6_after_the_link_was_away() {
        with_node(async |node| {
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            node.both();
            let mac = mac_of("lan");
            node.resolves_v6(&mac).await;
            ip("link set lan down");
            node.announces_on(&[]).await;
            ip("link set lan up");
            node.announces_on(&["lan"]).await;
            node.resolves_v6(&mac).await;
        });
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn no_frame_stops_the_answers() {
        with_node(async |node| {
            node.cable("lan");
            node.announces_on(&["lan"]).await;
            node.both();
            let mac = mac_of("lan");
            node.resolves_v6(&mac).await;
            let jobs = Namespace {
                path: String::new(),
                jobs: node.client.jobs.clone(),
            };
            let sent = tokio::task::spawn_blocking(move || jobs.run(|| send_junk("lan", 20_000)));
            assert_eq!(sent.await.expect("no panic"), 20_000);
            assert_eq!(node.resolve(V4).await.as_deref(), Some(mac.as_str()));
            node.resolves_v6(&mac).await;
        });
    }
}
