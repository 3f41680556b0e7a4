//! The driver's own steps, against the kernel: each test in a network namespace of its own.

use std::process::Command;
use std::thread;

use herald_ownership::Task;
use herald_runtime::health::Readiness;
use nix::sched::{CloneFlags, unshare};

use super::*;

/// A driver that is not running, with an interface `lan` that has a link.
struct Bench {
    driver: Driver,
    lan: Interface,
    desired: watch::Sender<Arc<Desired>>,
    readiness: Readiness,
    _commands: mpsc::Sender<herald_ownership::Command>,
    _sightings: mpsc::Receiver<Sighting>,
    _interfaces: watch::Receiver<Option<Vec<LanInterface>>>,
    _exclude: watch::Sender<Exclude>,
}

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

fn with_bench(test: impl AsyncFnOnce(Bench) + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(async { test(bench().await).await });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn announce() -> Task {
    Task {
        duty: Duty::Announce,
        interfaces: Interfaces::All,
    }
}

async fn bench() -> Bench {
    ip("link add lan type veth peer name other");
    ip("link set other up");
    ip("link set lan up");
    // In the place of an address that the kernel takes seconds to find free.
    ip("addr add fe80::1/64 dev lan nodad");
    let monitor = Monitor::start().await.expect("netlink");
    let lan = monitor.interfaces().find(|i| i.name == "lan").cloned();
    let (desired, desired_here) = watch::channel(Arc::default());
    let (interfaces_here, interfaces) = watch::channel(None);
    let (commands, commands_here) = mpsc::channel(16);
    let (sightings_here, sightings) = mpsc::channel(16);
    let (exclude, exclude_here) = watch::channel(Exclude::default());
    let readiness = Readiness::new();
    let io = DriverIo {
        desired: desired_here,
        exclude: exclude_here,
        commands: commands_here,
        sightings: sightings_here,
        interfaces: interfaces_here,
        lease: Lease::default(),
        ready: Some(readiness.block("sockets")),
    };
    Bench {
        driver: Driver::new(io, Metrics::default(), None),
        lan: lan.expect("just made"),
        desired,
        readiness,
        _commands: commands,
        _sightings: sightings,
        _interfaces: interfaces,
        _exclude: exclude,
    }
}

#[test]
#[ignore = "needs root: run by make test"]
fn the_late_end_of_an_old_socket_leaves_the_new_one_alone() {
    with_bench(async |mut bench| {
        bench.driver.changed(Change::Present(bench.lan.clone()));
        ip("link set lan down");
        let down = Interface {
            carrier: false,
            ..bench.lan.clone()
        };
        let ended = bench.driver.tasks.join_next_with_id().await;
        let (task, ended) = ended.expect("a task").expect("no panic");
        bench.driver.changed(Change::Present(down));
        ip("link set lan up");
        bench.driver.changed(Change::Present(bench.lan.clone()));
        let is_open = |driver: &Driver| driver.ports[&bench.lan.index].is_open(ended.family);
        assert!(is_open(&bench.driver));
        bench.driver.failed(task, &ended);
        assert!(is_open(&bench.driver), "the end was the old socket's");
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn an_address_that_no_interface_can_announce_is_noted_until_one_can() {
    with_bench(async |mut bench| {
        let v4: IpAddr = "192.0.2.100".parse().expect("valid");
        let v6: IpAddr = "2001:db8::100".parse().expect("valid");
        let desired = [(v4, announce()), (v6, announce())].into();
        bench.desired.send_replace(Arc::new(desired));
        let without_ipv6 = Interface {
            addresses: Vec::new(),
            ..bench.lan.clone()
        };
        bench.driver.changed(Change::Present(without_ipv6));
        bench.driver.apply();
        assert!(bench.driver.check.is_some());
        bench.driver.tell_unserved();
        assert!(bench.driver.unserved.iter().eq([&v6]));
        bench.driver.changed(Change::Present(bench.lan.clone()));
        bench.driver.tell_unserved();
        assert!(bench.driver.unserved.is_empty());
        assert!(!bench.readiness.pending().is_empty());
        bench.driver.publish();
        assert!(bench.readiness.pending().is_empty(), "the sockets are open");
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn what_was_withdrawn_while_the_driver_was_late_is_not_announced_again() {
    with_bench(async |mut bench| {
        let address: IpAddr = "192.0.2.100".parse().expect("valid");
        let lease = bench.driver.io.lease.clone();
        lease.renew(Instant::now());
        bench.driver.changed(Change::Present(bench.lan.clone()));
        bench
            .desired
            .send_replace(Arc::new([(address, announce())].into()));
        bench.driver.catch_up();
        assert!(bench.driver.announcer.next_timeout().is_some());
        bench.desired.send_replace(Arc::default());
        bench.driver.catch_up();
        assert_eq!(bench.driver.announcer.next_timeout(), None);
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn a_kernel_that_answers_for_the_addresses_of_all_services_is_noted() {
    with_bench(async |mut bench| {
        let arp_ignore = |value: &str| {
            let path = "/proc/sys/net/ipv4/conf/all/arp_ignore";
            std::fs::write(path, value).expect("written");
        };
        arp_ignore("0");
        bench.driver.changed(Change::Present(bench.lan.clone()));
        let told = |driver: &mut Driver| {
            driver.tell_kernel_answers();
            driver.kernel_answers.len()
        };
        assert_eq!(told(&mut bench.driver), 0, "kube-proxy does without");
        ip("link add kube-ipvs0 type bridge");
        ip("addr add 192.0.2.100/32 dev kube-ipvs0");
        let monitor = Monitor::start().await.expect("netlink");
        let ipvs = monitor.interfaces().find(|i| i.name == "kube-ipvs0");
        let ipvs = ipvs.expect("just made").clone();
        bench.driver.changed(Change::Present(ipvs));
        assert_eq!(told(&mut bench.driver), 1);
        arp_ignore("1");
        assert_eq!(told(&mut bench.driver), 0, "strictARP");
    });
}
