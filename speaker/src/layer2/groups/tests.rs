//! Against the kernel: each test in a network namespace of its own.

use std::process::Command;
use std::time::Instant;

use nix::sched::{CloneFlags, unshare};

use super::*;

const LAN: u32 = 77;

fn with_lan(test: impl AsyncFnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, as root");
        ip(&format!(
            "link add lan index {LAN} type veth peer name other"
        ));
        ip("link set other up");
        ip("link set lan up");
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

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

/// The identity of some task.
fn server() -> Id {
    tokio::spawn(async {}).id()
}

fn group(n: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff12, n)
}

/// How many of the groups of [`group`] the kernel knows on `lan`.
fn joined() -> usize {
    let text = std::fs::read_to_string("/proc/thread-self/net/igmp6").expect("igmp6");
    let ours = |line: &&str| line.contains("lan ") && line.contains("ff0200000000000000000001ff12");
    text.lines().filter(ours).count()
}

async fn until_joined(wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while joined() != wanted {
        assert!(Instant::now() < deadline, "{} joined", joined());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
#[ignore = "needs root: run by make test"]
fn groups_are_joined_and_left_while_the_caller_goes_on() {
    with_lan(async || {
        let groups = Groups::default();
        let ended = groups.start().expect("a thread");
        let first = server();
        let begun = Instant::now();
        groups.set(LAN, "lan", first, (0..3000).map(group).collect());
        let called = begun.elapsed();
        until_joined(3000).await;
        assert!(called < begun.elapsed() / 4, "{called:?}");
        groups.set(LAN, "lan", first, (5..10).map(group).collect());
        until_joined(5).await;
        // Only another server joins anew what the kernel lost.
        ip("link set lan mtu 1000");
        until_joined(0).await;
        ip("link set lan mtu 1500");
        groups.set(LAN, "lan", server(), (5..10).map(group).collect());
        until_joined(5).await;
        groups.close(LAN);
        until_joined(0).await;
        groups.set(LAN, "lan", server(), (5..10).map(group).collect());
        until_joined(5).await;
        drop(groups);
        ended.await.expect_err("the thread ends");
        until_joined(0).await;
    });
}

#[test]
#[ignore = "needs root: run by make test"]
fn a_group_that_cannot_be_joined_is_tried_again() {
    with_lan(async || {
        // Too small for IPv6: the kernel has no multicast there.
        ip("link set lan mtu 1000");
        let groups = Groups::default();
        let _ended = groups.start().expect("a thread");
        groups.set(LAN, "lan", server(), [group(1)].into());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(joined(), 0);
        ip("link set lan mtu 1500");
        until_joined(1).await;
    });
}
