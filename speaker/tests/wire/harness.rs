//! A node with a driver, and a client at the other end of its cables.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc as jobs;
use std::thread;
use std::time::{Duration, Instant};

use herald_announce::Interfaces;
use herald_model::LanInterface;
use herald_ownership::{Command as Order, Duty, Sighting, Task};
use herald_runtime::health::Readiness;
use herald_speaker::layer2::{
    Desired, Driver, DriverIo, Exclude, Lease, Metrics, names as names_of,
};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(crate) const V4: &str = "192.0.2.100";
pub(crate) const V6: &str = "2001:db8::100";

/// A thread in a network namespace of its own that runs what it is sent.
pub(crate) struct Namespace {
    pub(crate) path: String,
    pub(crate) jobs: jobs::Sender<Box<dyn FnOnce() + Send>>,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (jobs, queue) = jobs::channel::<Box<dyn FnOnce() + Send>>();
        let (path_sender, path) = jobs::channel();
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

    pub(crate) fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (sender, result) = jobs::channel();
        let job = move || {
            let _ = sender.send(job());
        };
        self.jobs.send(Box::new(job)).expect("the thread runs");
        result.recv().expect("the job did not panic")
    }

    pub(crate) fn ip(&self, arguments: &str) {
        let arguments = arguments.to_owned();
        self.run(move || ip(&arguments));
    }

    /// The MAC that the kernel's own ARP or NDP finds for `address`, starting cold.
    pub(crate) fn resolve(&self, address: &str) -> Option<String> {
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
pub(crate) fn poke(address: &str) {
    let address: IpAddr = address.parse().expect("valid");
    let local: IpAddr = if address.is_ipv4() {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    let socket = std::net::UdpSocket::bind((local, 0)).expect("bound");
    let _ = socket.send_to(b"?", (address, 9));
}

pub(crate) fn neighbour(address: &str) -> Option<String> {
    let output = Command::new("ip")
        .args(["neigh", "show", address])
        .output()
        .expect("ip runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace().skip_while(|w| *w != "lladdr");
    words.nth(1).map(str::to_owned)
}

pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

pub(crate) fn mac_of(name: &str) -> String {
    let output = Command::new("ip")
        .args(["-o", "link", "show", name])
        .output()
        .expect("ip runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace().skip_while(|w| *w != "link/ether");
    words.nth(1).expect("an Ethernet interface").to_owned()
}

/// A node's side, in the namespace of the test's thread.
pub(crate) struct Node {
    pub(crate) client: Namespace,
    pub(crate) desired: watch::Sender<Arc<Desired>>,
    pub(crate) interfaces: watch::Receiver<Option<Vec<LanInterface>>>,
    pub(crate) commands: mpsc::Sender<Order>,
    pub(crate) sightings: mpsc::Receiver<Sighting>,
    pub(crate) lease: Lease,
    pub(crate) readiness: Readiness,
    registry: Registry,
    pub(crate) token: CancellationToken,
    _exclude: watch::Sender<Exclude>,
}

impl Node {
    pub(crate) fn want(&self, wanted: &[(&str, Interfaces)]) {
        self.want_to(Duty::Announce, wanted);
    }

    pub(crate) fn want_to(&self, duty: Duty, wanted: &[(&str, Interfaces)]) {
        let desired: Desired = wanted
            .iter()
            .map(|(address, interfaces)| {
                let interfaces = interfaces.clone();
                (address.parse().expect("valid"), Task { duty, interfaces })
            })
            .collect();
        self.desired.send_replace(Arc::new(desired));
    }

    /// True if addresses of the family of this one can be announced on the interface.
    pub(crate) fn can(&self, name: &str, address: IpAddr) -> bool {
        let interfaces = self.interfaces.borrow();
        let mut all = interfaces.iter().flatten().filter(|i| i.name == name);
        all.any(|i| if address.is_ipv4() { i.arp } else { i.ndp })
    }

    /// The value of a series, 0 if there is none.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("encodes");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// The value of a series with the label `ip`.
    pub(crate) fn metric_of(&self, name: &str, address: &str) -> u64 {
        self.metric(&format!("{name}{{ip=\"{address}\"}}"))
    }

    pub(crate) fn both(&self) {
        self.want(&[(V4, Interfaces::All), (V6, Interfaces::All)]);
    }

    /// Waits until exactly these interfaces are announced on.
    pub(crate) async fn announces_on(&mut self, names: &[&str]) {
        let names: BTreeSet<_> = names.iter().map(|n| (*n).to_owned()).collect();
        let reached = self
            .interfaces
            .wait_for(|i| i.as_deref().map(names_of) == Some(names.clone()));
        tokio::time::timeout(Duration::from_secs(5), reached)
            .await
            .unwrap_or_else(|_| panic!("not announcing on {names:?}"))
            .expect("the driver runs");
    }

    /// A client at the other end of interface `name`.
    pub(crate) fn cable(&self, name: &str) {
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
    pub(crate) async fn resolve(&self, address: &'static str) -> Option<String> {
        let jobs = Namespace {
            path: String::new(),
            jobs: self.client.jobs.clone(),
        };
        tokio::task::spawn_blocking(move || jobs.resolve(address))
            .await
            .expect("no panic")
    }

    /// The link-local address comes a moment after the link.
    pub(crate) async fn resolves_v6(&self, mac: &str) {
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
pub(crate) fn with_node(test: impl AsyncFnOnce(&mut Node) + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(async {
                let (desired, desired_here) = watch::channel(Arc::default());
                let (interfaces_here, interfaces) = watch::channel(None);
                let (commands, commands_here) = mpsc::channel(64);
                let (sightings_here, sightings) = mpsc::channel(64);
                let lease = Lease::new(Duration::from_hours(1));
                lease.renew(Instant::now());
                let (exclude, exclude_here) = watch::channel(Exclude::default());
                let readiness = Readiness::new();
                let io = DriverIo {
                    desired: desired_here,
                    exclude: exclude_here,
                    commands: commands_here,
                    sightings: sightings_here,
                    interfaces: interfaces_here,
                    lease: lease.clone(),
                    ready: Some(readiness.block("sockets")),
                };
                let token = CancellationToken::new();
                let mut registry = Registry::default();
                let driver = Driver::new(io, Metrics::register(&mut registry), None);
                let task = tokio::spawn(driver.run(token.clone()));
                let mut node = Node {
                    client: Namespace::new(),
                    desired,
                    interfaces,
                    commands,
                    sightings,
                    lease,
                    readiness,
                    registry,
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
