//! The layer 2 driver against the kernel of a cold client: two network namespaces with a cable
//! between them, real sockets, no API.

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use herald_announce::Interfaces;
    use herald_netsys::{EtherType, Instruction, PacketSocket};
    use herald_runtime::health::Readiness;
    use herald_speaker::layer2::{Desired, Driver, DriverIo, Exclude, Metrics};
    use nix::sched::{CloneFlags, unshare};
    use nix::unistd::gettid;
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    const V4: &str = "192.0.2.100";
    const V6: &str = "2001:db8::100";

    /// A thread in a network namespace of its own that runs what it is sent.
    struct Namespace {
        path: String,
        jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    }

    impl Namespace {
        fn new() -> Self {
            let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
            let (path_sender, path) = mpsc::channel();
            thread::spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
                let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), gettid());
                path_sender.send(path).expect("waited for");
                for job in queue {
                    job();
                }
            });
            let path = path.recv().expect("the thread runs");
            Self { path, jobs }
        }

        fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
            let (sender, result) = mpsc::channel();
            let job = move || {
                let _ = sender.send(job());
            };
            self.jobs.send(Box::new(job)).expect("the thread runs");
            result.recv().expect("the job did not panic")
        }

        fn ip(&self, arguments: &str) {
            let arguments = arguments.to_owned();
            self.run(move || ip(&arguments));
        }

        /// The MAC that the kernel's own ARP or NDP finds for `address`, starting cold.
        fn resolve(&self, address: &str) -> Option<String> {
            let address = address.to_owned();
            self.run(move || {
                // The command fails if there is nothing to flush.
                let _ = Command::new("ip").args(["neigh", "flush", "all"]).output();
                poke(&address);
                let deadline = Instant::now() + Duration::from_secs(4);
                while Instant::now() < deadline {
                    if let Some(mac) = neighbour(&address) {
                        return Some(mac);
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                None
            })
        }
    }

    /// Sends a datagram, so that the kernel has to resolve the address.
    fn poke(address: &str) {
        let address: IpAddr = address.parse().expect("valid");
        let local: IpAddr = if address.is_ipv4() {
            [0; 4].into()
        } else {
            [0; 16].into()
        };
        let socket = std::net::UdpSocket::bind((local, 0)).expect("bound");
        let _ = socket.send_to(b"?", (address, 9));
    }

    fn neighbour(address: &str) -> Option<String> {
        let output = Command::new("ip")
            .args(["neigh", "show", address])
            .output()
            .expect("ip runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.split_whitespace().skip_while(|w| *w != "lladdr");
        words.nth(1).map(str::to_owned)
    }

    fn ip(arguments: &str) {
        let output = Command::new("ip")
            .args(arguments.split_whitespace())
            .output()
            .expect("ip runs");
        assert!(output.status.success(), "ip {arguments}: {output:?}");
    }

    fn mac_of(name: &str) -> String {
        let output = Command::new("ip")
            .args(["-o", "link", "show", name])
            .output()
            .expect("ip runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.split_whitespace().skip_while(|w| *w != "link/ether");
        words.nth(1).expect("an Ethernet interface").to_owned()
    }

    /// A node's side, in the namespace of the test's thread.
    struct Node {
        client: Namespace,
        desired: watch::Sender<Arc<Desired>>,
        interfaces: watch::Receiver<Option<BTreeSet<String>>>,
        readiness: Readiness,
        token: CancellationToken,
        _exclude: watch::Sender<Exclude>,
    }

    impl Node {
        fn want(&self, wanted: &[(&str, Interfaces)]) {
            let desired: Desired = wanted
                .iter()
                .map(|(address, interfaces)| (address.parse().expect("valid"), interfaces.clone()))
                .collect();
            self.desired.send_replace(Arc::new(desired));
        }

        fn both(&self) {
            self.want(&[(V4, Interfaces::All), (V6, Interfaces::All)]);
        }

        /// Waits until exactly these interfaces are announced on.
        async fn announces_on(&mut self, names: &[&str]) {
            let names: BTreeSet<_> = names.iter().map(|n| (*n).to_owned()).collect();
            let reached = self.interfaces.wait_for(|i| i.as_ref() == Some(&names));
            tokio::time::timeout(Duration::from_secs(5), reached)
                .await
                .unwrap_or_else(|_| panic!("not announcing on {names:?}"))
                .expect("the driver runs");
        }

        /// A client at the other end of interface `name`.
        fn cable(&self, name: &str) {
            ip(&format!(
                "link add {name} type veth peer name {name} netns {}",
                self.client.path
            ));
            ip(&format!("link set {name} up"));
            self.client.ip(&format!("link set {name} up"));
            self.client.ip(&format!("addr add 192.0.2.1/24 dev {name}"));
            self.client
                .ip(&format!("addr add 2001:db8::1/64 dev {name} nodad"));
        }

        /// Resolving off the runtime's thread: the driver runs on it.
        async fn resolve(&self, address: &'static str) -> Option<String> {
            let jobs = Namespace {
                path: String::new(),
                jobs: self.client.jobs.clone(),
            };
            tokio::task::spawn_blocking(move || jobs.resolve(address))
                .await
                .expect("no panic")
        }

        /// The link-local address comes a moment after the link.
        async fn resolves_v6(&self, mac: &str) {
            let deadline = Instant::now() + Duration::from_secs(8);
            loop {
                let found = self.resolve(V6).await;
                if found.as_deref() == Some(mac) {
                    return;
                }
                assert!(Instant::now() < deadline, "found {found:?}, not {mac}");
            }
        }
    }

    /// Runs `test` with a driver in a new network namespace.
    fn with_node(test: impl AsyncFnOnce(&mut Node) + Send + 'static) {
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(async {
                    let (desired, desired_here) = watch::channel(Arc::default());
                    let (interfaces_here, interfaces) = watch::channel(None);
                    let (exclude, exclude_here) = watch::channel(Exclude::default());
                    let readiness = Readiness::new();
                    let io = DriverIo {
                        desired: desired_here,
                        exclude: exclude_here,
                        interfaces: interfaces_here,
                        ready: Some(readiness.block("sockets")),
                    };
                    let token = CancellationToken::new();
                    let driver = Driver::new(io, Metrics::default(), None);
                    let task = tokio::spawn(driver.run(token.clone()));
                    let mut node = Node {
                        client: Namespace::new(),
                        desired,
                        interfaces,
                        readiness,
                        token: token.clone(),
                        _exclude: exclude,
                    };
                    test(&mut node).await;
                    token.cancel();
                    task.await.expect("no panic").expect("asked to end");
                });
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

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

    /// Frames of `ether_type` that the client's side of `lan` receives within `time`.
    async fn capture(node: &Node, ether_type: EtherType, time: Duration) -> Vec<Vec<u8>> {
        let jobs = Namespace {
            path: String::new(),
            jobs: node.client.jobs.clone(),
        };
        let capture = move || {
            jobs.run(move || {
                let index = std::fs::read_to_string("/proc/thread-self/net/dev_snmp6/lan")
                    .ok()
                    .and_then(|text| text.split_whitespace().nth(1)?.parse().ok())
                    .expect("the client's interface");
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    let all = [Instruction {
                        code: 6,
                        jt: 0,
                        jf: 0,
                        k: u32::MAX,
                    }];
                    let socket = PacketSocket::open(index, ether_type, &all).expect("opens");
                    let (mut frames, mut buffer) = (Vec::new(), [0; 2048]);
                    let end = tokio::time::Instant::now() + time;
                    while let Ok(received) = tokio::time::timeout_at(
                        end,
                        socket.receive(&mut buffer, |frame| frames.push(frame.to_vec())),
                    )
                    .await
                    {
                        if received.is_err() {
                            break;
                        }
                    }
                    frames
                })
            })
        };
        tokio::task::spawn_blocking(capture)
            .await
            .expect("no panic")
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

    /// Sends frames that start like questions for our addresses, cut and changed at random but the
    /// same in every run, so that many pass the filter; returns how many were sent.
    fn send_junk(interface: &str, count: usize) -> usize {
        let path = format!("/proc/thread-self/net/dev_snmp6/{interface}");
        let text = std::fs::read_to_string(path).expect("the interface");
        let index = text.split_whitespace().nth(1).and_then(|w| w.parse().ok());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let _guard = runtime.enter();
        let none = [Instruction {
            code: 6,
            jt: 0,
            jf: 0,
            k: 0,
        }];
        let socket = PacketSocket::open(index.expect("an index"), EtherType::Arp, &none);
        let socket = socket.expect("opens");
        let mut arp = vec![0xff; 6];
        arp.extend([2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        arp.extend([
            2, 0, 0, 0, 0, 9, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 192, 0, 2, 100,
        ]);
        let mut ndp = vec![0x33, 0x33, 0xff, 0, 1, 0, 2, 0, 0, 0, 0, 9, 0x86, 0xdd];
        ndp.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
        let address = |text: &str| -> [u8; 16] {
            let address: std::net::Ipv6Addr = text.parse().expect("valid");
            address.octets()
        };
        ndp.extend(address("2001:db8::9"));
        ndp.extend(address("ff02::1:ff00:100"));
        ndp.extend([135, 0, 0, 0, 0, 0, 0, 0]);
        ndp.extend(address(V6));
        ndp.extend([1, 1, 2, 0, 0, 0, 0, 9]);
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed >> 33).expect("31 bits") % below
        };
        let mut sent = 0;
        while sent < count {
            let mut frame = if random(2) == 0 {
                arp.clone()
            } else {
                ndp.clone()
            };
            for _ in 0..random(4) {
                let at = random(frame.len());
                frame[at] = u8::try_from(random(256)).expect("below 256");
            }
            if random(3) == 0 {
                frame.truncate(14 + random(frame.len() - 14));
            }
            match socket.send(&frame) {
                Ok(()) => sent += 1,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("cannot send: {error}"),
            }
        }
        sent
    }
}
