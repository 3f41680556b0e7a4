//! Frames that the client sees and sends.

use std::thread;
use std::time::{Duration, Instant};

use herald_netsys::{EtherType, Instruction, PacketSocket};

use crate::harness::{Namespace, Node, V6};

/// Frames of `ether_type` that the client's side of `lan` receives within `time`.
pub(crate) async fn capture(node: &Node, ether_type: EtherType, time: Duration) -> Vec<Vec<u8>> {
    let frames = capture_timed(node, ether_type, time).await.into_iter();
    frames.map(|(_, frame)| frame).collect()
}

/// The same, with the time of each.
pub(crate) async fn capture_timed(
    node: &Node,
    ether_type: EtherType,
    time: Duration,
) -> Vec<(Instant, Vec<u8>)> {
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
                    socket.receive(&mut buffer, |frame| {
                        frames.push((Instant::now(), frame.to_vec()));
                    }),
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

/// Sends frames that start like questions for our addresses, cut and changed at random but the
/// same in every run, so that many pass the filter; returns how many were sent.
pub(crate) fn send_junk(interface: &str, count: usize) -> usize {
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
