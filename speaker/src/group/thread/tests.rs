use std::sync::atomic::{AtomicBool, Ordering};

use herald_model::{MemberState, Phase};
use herald_runtime::thread::on_own_thread;

use super::*;
use crate::group::{Link, link, load_keys};

/// A group of one, and where it listens.
struct Running {
    link: Link,
    lease: Lease,
    address: SocketAddr,
    token: CancellationToken,
    task: tokio::task::JoinHandle<TaskResult>,
    _keys: watch::Sender<Keyring>,
}

fn start() -> Running {
    let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("it has one");
    drop(free);
    let (link, end) = link(1);
    let (keys, keys_here) = watch::channel(load_keys(None));
    let lease = Lease::default();
    let founding = Founding {
        me: "me".into(),
        address,
        timers: Timers::default(),
        seed: 1,
        generation: 1,
        keys: keys_here,
        lease: lease.clone(),
        metrics: Metrics::default(),
    };
    let token = CancellationToken::new();
    let theirs = token.clone();
    let task = tokio::spawn(on_own_thread("group", move || run(founding, end, theirs)));
    Running {
        link,
        lease,
        address,
        token,
        task,
        _keys: keys,
    }
}

impl Running {
    async fn shows(&mut self, phase: Phase) {
        let state = MemberState {
            phase,
            ..MemberState::default()
        };
        self.link.set_state(state.clone());
        let told = self.link.view.wait_for(|view| view.me == state);
        tokio::time::timeout(Duration::from_secs(2), told)
            .await
            .unwrap_or_else(|_| panic!("{phase:?} is not heard"))
            .expect("it runs");
    }
}

#[tokio::test]
async fn the_engine_is_heard_although_somebody_sends_garbage_without_end() {
    let mut running = start();
    running.shows(Phase::Ready).await;
    let over = Arc::new(AtomicBool::new(false));
    let address = running.address;
    let flood = |_| {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
            while !over.load(Ordering::Relaxed) {
                // Lost or not: there is always another.
                let _ = socket.send_to(&[7; 64], address);
            }
        })
    };
    let floods: Vec<_> = (0..4).map(flood).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.shows(Phase::Draining).await;
    running.shows(Phase::Ready).await;
    assert!(running.lease.is_valid(Instant::now()), "it may answer");
    running.link.leave().await;
    over.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.join().expect("no panic");
    }
    running.token.cancel();
    running.task.await.expect("no panic").expect("asked to end");
}

#[tokio::test]
async fn the_lease_is_not_renewed_before_the_engine_has_settled_with_the_generation() {
    let mut running = start();
    running.lease.revived().await;
    assert!(running.lease.is_valid(Instant::now()));
    running.link.set_settled(7);
    running.shows(Phase::Settling).await;
    tokio::time::sleep(TICK * 2).await;
    assert!(
        !running.lease.is_valid(Instant::now()),
        "not that generation"
    );
    running.link.set_settled(1);
    running.lease.revived().await;
    running.token.cancel();
    running.task.await.expect("no panic").expect("asked to end");
}
