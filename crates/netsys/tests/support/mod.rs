//! Network namespaces with cables between them, for all tests of this crate against the kernel.
#![allow(
    dead_code,
    reason = "it is compiled into every test binary, and each uses a part of it"
)]

use std::fs::{self, File};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use herald_netsys::Error;
use nix::sched::{CloneFlags, setns, unshare};

/// How long anything may take on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `test` on a thread in a new network namespace, which goes away with it.
pub(crate) fn in_new_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` in the namespace of this thread.
pub(crate) fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// Sets a value below `/proc/sys/net` in the namespace of this thread.
pub(crate) fn sysctl(name: &str, value: &str) {
    fs::write(format!("/proc/sys/net/{name}"), value).expect("the setting exists");
}

/// Waits until `ready` holds.
pub(crate) async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ready() {
        assert!(Instant::now() < deadline, "{what}: not in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A counter of this thread's namespace, in a file of two lines for each protocol.
pub(crate) fn counter(file: &str, protocol: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).expect("counters");
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let names = lines.next().expect("the names").split_whitespace();
    let values = lines.next().expect("the values").split_whitespace();
    let value = names.zip(values).find(|(n, _)| *n == name);
    let (_, value) = value.unwrap_or_else(|| panic!("no counter {name}"));
    value.parse().expect("a number")
}

/// Opens a socket on a port that another has just left. It may be taken a little longer: a process that
/// another test starts has all descriptors of this one until it begins with its own program.
pub(crate) fn opened<T>(open: impl Fn() -> Result<T, Error>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open() {
            Ok(socket) => return socket,
            Err(Error::Socket { source, .. })
                if source.kind() == ErrorKind::AddrInUse && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The index of an interface of this thread's namespace.
pub(crate) fn index_of(name: &str) -> u32 {
    let text = fs::read_to_string(format!("/proc/thread-self/net/dev_snmp6/{name}"));
    let text = text.expect("an interface with IPv6");
    let mut words = text.split_whitespace();
    words.nth(1).and_then(|i| i.parse().ok()).expect("an index")
}

/// Waits until an interface of this thread's namespace is in operation. What is sent on a link that is
/// up but not yet in operation the kernel drops without an error.
pub(crate) async fn until_in_operation(name: &str) {
    until(&format!("{name} comes up"), || in_operation(name)).await;
}

fn in_operation(name: &str) -> bool {
    let arguments = ["link", "show", "dev", name, "up"];
    let output = Command::new("ip").args(arguments).output();
    let output = output.expect("ip runs").stdout;
    String::from_utf8_lossy(&output).contains("state UP")
}

/// Another network namespace, with the other ends of cables, for as long as this lives.
pub(crate) struct Namespace(File);

impl Namespace {
    pub(crate) fn new() -> Self {
        let thread = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
            this_namespace()
        });
        Self(thread.join().expect("the thread ends"))
    }

    /// Runs `job` in this namespace. A socket stays in the namespace it was made in.
    pub(crate) fn within<R>(&self, job: impl FnOnce() -> R) -> R {
        let _back = Back(this_namespace());
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the namespace is there");
        job()
    }

    /// The same for something that waits.
    pub(crate) async fn within_async<R>(&self, job: impl Future<Output = R>) -> R {
        let mut job = pin!(job);
        poll_fn(|context| self.within(|| job.as_mut().poll(context))).await
    }

    /// The namespace of this thread.
    pub(crate) fn current() -> Self {
        Self(this_namespace())
    }

    /// A counter of the kernel about TCP, by its name in `nstat`, without the `TcpExt` in front.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.within(|| counter("netstat", "TcpExt:", name))
    }

    pub(crate) fn ip(&self, arguments: &str) {
        self.within(|| ip(arguments));
    }

    /// A cable between interfaces of one name, both switched on; returns the index of the end here.
    /// If both namespaces are new, both have one index: the kernel takes the end here for a real one,
    /// whose loss is not urgent.
    pub(crate) fn cable(&self, name: &str) -> u32 {
        let there = format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd());
        ip(&format!(
            "link add {name} type veth peer name {name} netns {there}"
        ));
        ip(&format!("link set {name} up"));
        self.ip(&format!("link set {name} up"));
        index_of(name)
    }

    /// A cable by which both ends can reach each other at once, by addresses that end in `1` here and
    /// in `2` there: `fe80::`, `2001:db8:{subnet}::`, and `192.0.{subnet}.` Returns the index here.
    pub(crate) async fn routed_cable(&self, name: &str, subnet: u8) -> u32 {
        let prepare = || {
            sysctl("ipv6/conf/all/accept_dad", "0");
            sysctl("ipv6/conf/default/accept_dad", "0");
        };
        prepare();
        self.within(prepare);
        let index = self.cable(name);
        let address = |host: u8| {
            ip(&format!("addr add 192.0.{subnet}.{host}/24 dev {name}"));
            let global = Ipv6Addr::new(0x2001, 0xdb8, subnet.into(), 0, 0, 0, 0, host.into());
            ip(&format!("addr add {global}/64 dev {name} nodad"));
            ip(&format!("addr add fe80::{host}/64 dev {name} nodad"));
        };
        address(1);
        self.within(|| address(2));
        until_in_operation(name).await;
        self.within_async(until_in_operation(name)).await;
        index
    }
}

/// Goes back to a namespace, also after a panic.
struct Back(File);

impl Drop for Back {
    fn drop(&mut self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).expect("the namespace is there");
    }
}

fn this_namespace() -> File {
    File::open("/proc/thread-self/ns/net").expect("a namespace")
}
