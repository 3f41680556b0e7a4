//! Who answers for an address over a time, question by question.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::frame::{Advertisement, Arp, Solicitation};
use super::socket::{Mac, PacketSocket};
use crate::lab::Lab;
use crate::net::address::ROUTER;

/// One question and who answered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When it was asked.
    pub asked: Instant,
    /// The distinct Ethernet addresses in the answers: one is right, none is an outage, two is a
    /// split.
    pub macs: BTreeSet<Mac>,
}

/// Asks who has an address at an interval. Ends with [`MacWatch::stop`], when dropped, and with the
/// lab.
#[derive(Debug)]
pub struct MacWatch {
    looks: Arc<Mutex<Vec<Look>>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Lab {
    /// Asks by ARP or NDP who has an address on the LAN, at an interval. The router asks: the
    /// answers are its own and leave the client's neighbour table as it is.
    pub fn watch_macs(&self, address: IpAddr, every: Duration) -> Result<MacWatch> {
        let socket = self.packet_socket("router", "lan0")?;
        let question = question(&socket, address);
        let looks = Arc::new(Mutex::new(Vec::new()));
        let stop = self.shared.end.child_token();
        let (kept, until) = (Arc::clone(&looks), stop.clone());
        let thread = std::thread::spawn(move || {
            super::be_another_machine();
            let mut next = Instant::now();
            while !until.is_cancelled() {
                let asked = Instant::now();
                socket.send(&question)?;
                next += every;
                let mut macs = BTreeSet::new();
                while let Some(frame) = socket.receive(next)? {
                    if !frame.outgoing {
                        macs.extend(answer(&frame.bytes, address, socket.mac()));
                    }
                }
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Look { asked, macs });
            }
            Ok(())
        });
        Ok(MacWatch {
            looks,
            stop,
            thread: Some(thread),
        })
    }
}

fn question(socket: &PacketSocket, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => Arp::request(socket.mac(), ROUTER.v4, v4).to_frame(),
        IpAddr::V6(v6) => Solicitation {
            mac: socket.mac(),
            source: ROUTER.v6,
            target: v6,
            source_option: true,
            unicast: None,
            hop_limit: 255,
        }
        .to_frame(),
    }
}

/// Who answers in this frame. What is told to all is news and no answer.
fn answer(frame: &[u8], address: IpAddr, asker: Mac) -> Option<Mac> {
    match address {
        IpAddr::V4(v4) => {
            let arp = Arp::parse(frame)?;
            let answers = arp.operation == 2 && arp.sender == v4 && arp.target_mac == asker;
            answers.then_some(arp.sender_mac)
        }
        IpAddr::V6(v6) => {
            let told = Advertisement::parse(frame)?;
            let answers = told.target == v6 && told.solicited && is_unicast(told.destination);
            answers.then(|| told.target_mac.unwrap_or(told.from))
        }
    }
}

fn is_unicast(address: Ipv6Addr) -> bool {
    !address.is_multicast()
}

impl MacWatch {
    /// The questions so far whose time for answers is over.
    pub fn looks(&self) -> Vec<Look> {
        self.looks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks no more; all questions and their answers.
    pub async fn stop(mut self) -> Result<Vec<Look>> {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let joined = spawn_blocking(move || thread.join()).await?;
            joined.ok().context("the thread of the watch panicked")??;
        }
        Ok(self.looks())
    }
}

impl Drop for MacWatch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
