//! ARP from the client's side of the LAN: who answers, how fast, and at what cost.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use herald_lab::{Arp, Lab, PacketSocket, Process};
use tokio::task::spawn_blocking;

use crate::args::Plan;
use crate::contestant::Contestant;
use crate::figures::{Figures, Metric};
use crate::setup::{ELSEWHERE, SENDERS, SPAN};
use crate::usage;

/// How long an answer may be under way at the end.
const GRACE: Duration = Duration::from_millis(500);

/// The client's end of the LAN. A packet socket does not see what it sends itself, so one sends and
/// the other sees.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    sender: Arc<PacketSocket>,
    receiver: Arc<PacketSocket>,
}

/// Measures a speaker that announces these addresses.
pub(crate) async fn measure(
    client: &Client,
    contestant: Contestant,
    speaker: &Process,
    addresses: &[Ipv4Addr],
    plan: &Plan,
    figures: &mut Figures,
) -> Result<()> {
    let idle = usage::share(speaker, plan.asking).await?;
    figures.add(Metric::IdleCpu, contestant, idle);
    for &rate in &plan.rates {
        let before = usage::cpu(speaker)?;
        let mut asked = client.ask(addresses, rate, plan.asking).await?;
        let used = usage::cpu(speaker)?.saturating_sub(before);
        let answers = u32::try_from(asked.latencies.len())?;
        let share = f64::from(answers) / f64::from(asked.requests);
        figures.add(Metric::ArpAnswered(rate), contestant, share);
        let metrics = [Metric::ArpP50(rate), Metric::ArpP99(rate)];
        figures.add_samples(metrics, contestant, &mut asked.latencies);
        let each = used.as_secs_f64() / f64::from(answers.max(1));
        figures.add(Metric::ArpCpu(rate), contestant, each);
    }
    let elsewhere: Vec<_> = (0..SPAN).map(|host| plus(ELSEWHERE, host)).collect();
    let (start, before) = (Instant::now(), usage::cpu(speaker)?);
    let asked = client
        .ask(&elsewhere, plan.foreign_rate, plan.foreign)
        .await?;
    let used = usage::cpu(speaker)?.saturating_sub(before);
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
    figures.add(Metric::ForeignCpu, contestant, share);
    if !asked.latencies.is_empty() {
        bail!(
            "{contestant} answered {} requests for addresses of others",
            asked.latencies.len()
        );
    }
    Ok(())
}

/// What came of a number of requests.
#[derive(Debug, Default)]
struct Asked {
    requests: u32,
    latencies: Vec<Duration>,
}

impl Client {
    /// Opens the client's interface.
    pub(crate) fn open(lab: &Lab) -> Result<Self> {
        let open = || PacketSocket::open(&lab.netns("client"), "lan0");
        Ok(Self {
            sender: Arc::new(open()?),
            receiver: Arc::new(open()?),
        })
    }

    /// Asks until every address has answered at least once; when the last one did.
    pub(crate) async fn all_answered(
        &self,
        addresses: &[Ipv4Addr],
        timeout: Duration,
    ) -> Result<Instant> {
        let client = self.clone();
        let addresses: Vec<_> = addresses.to_vec();
        spawn_blocking(move || client.sweep(&addresses, timeout)).await?
    }

    /// Asks for the addresses in turn, at a rate that no slow answer changes.
    async fn ask(&self, addresses: &[Ipv4Addr], rate: u32, period: Duration) -> Result<Asked> {
        let client = self.clone();
        let addresses: Vec<_> = addresses.to_vec();
        spawn_blocking(move || {
            let over = AtomicBool::new(false);
            thread::scope(|scope| {
                let receiver = scope.spawn(|| receive(&client.receiver, &over));
                let sent = send(&client.sender, &addresses, rate, period);
                thread::sleep(GRACE);
                over.store(true, Ordering::Relaxed);
                let latencies = match receiver.join() {
                    Ok(latencies) => latencies?,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
                Ok(Asked {
                    requests: sent?,
                    latencies,
                })
            })
        })
        .await?
    }

    fn sweep(&self, addresses: &[Ipv4Addr], timeout: Duration) -> Result<Instant> {
        /// Few enough at a time to leave the speaker to its start.
        const AT_A_TIME: usize = 500;
        const TURN: Duration = Duration::from_millis(100);
        let start = Instant::now();
        let mut silent: HashSet<Ipv4Addr> = addresses.iter().copied().collect();
        let mut turn = addresses.iter().copied().cycle();
        let mut last = start;
        while !silent.is_empty() {
            if start.elapsed() > timeout {
                bail!("{} addresses have not answered", silent.len());
            }
            let next = turn.by_ref().take(addresses.len());
            for target in next
                .filter(|target| silent.contains(target))
                .take(AT_A_TIME)
            {
                let request = Arp::request(self.sender.mac(), SENDERS, target);
                self.sender.send(&request.to_frame())?;
            }
            let deadline = Instant::now() + TURN;
            while let Some(frame) = self.receiver.receive(deadline)? {
                let answer = Arp::parse(&frame.bytes)
                    .filter(|arp| !frame.outgoing && arp.operation == 2 && arp.target == SENDERS);
                if answer.is_some_and(|arp| silent.remove(&arp.sender)) {
                    last = Instant::now();
                }
                if silent.is_empty() || Instant::now() > deadline {
                    break;
                }
            }
        }
        Ok(last)
    }
}

fn plus(base: Ipv4Addr, host: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(base) + host % SPAN)
}

/// Sends each request when its time has come, from the next of the senders; how many were sent.
fn send(socket: &PacketSocket, targets: &[Ipv4Addr], rate: u32, period: Duration) -> Result<u32> {
    let start = Instant::now();
    let mut sent = 0;
    for (number, target) in (0..).zip(targets.iter().cycle()) {
        let due = Duration::from_secs(1) * number / rate;
        if due >= period {
            break;
        }
        let early = due.saturating_sub(start.elapsed());
        if !early.is_zero() {
            thread::sleep(early);
        }
        let request = Arp::request(socket.mac(), plus(SENDERS, number), *target);
        socket.send(&request.to_frame())?;
        sent += 1;
    }
    Ok(sent)
}

/// Pairs requests and answers by the sender's address. Both times are the kernel's, taken where the
/// frames pass the client's interface, so a slow receiver here lengthens nothing.
fn receive(socket: &PacketSocket, over: &AtomicBool) -> Result<Vec<Duration>> {
    let mut asked: Vec<Option<SystemTime>> = vec![None; SPAN as usize];
    let mut latencies = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let deadline = Instant::now() + Duration::from_millis(50);
        let Some(frame) = socket.receive(deadline)? else {
            continue;
        };
        let Some(arp) = Arp::parse(&frame.bytes) else {
            continue;
        };
        match (frame.outgoing, arp.operation) {
            (true, 1) => {
                if let Some(slot) = slot(arp.sender) {
                    asked[slot] = Some(frame.time);
                }
            }
            (false, 2) => {
                let time = slot(arp.target).and_then(|slot| asked[slot].take());
                if let Some(time) = time {
                    latencies.push(frame.time.duration_since(time).unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    Ok(latencies)
}

/// The place of a sender's address; `None` for any other address.
fn slot(sender: Ipv4Addr) -> Option<usize> {
    let host = u32::from(sender).checked_sub(u32::from(SENDERS))?;
    (host < SPAN).then_some(host as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_have_a_place_each_and_others_none() {
        assert_eq!(slot(plus(SENDERS, 0)), Some(0));
        assert_eq!(slot(plus(SENDERS, SPAN - 1)), Some(SPAN as usize - 1));
        assert_eq!(plus(SENDERS, SPAN), SENDERS);
        assert_eq!(slot(ELSEWHERE), None);
        assert_eq!(slot(Ipv4Addr::new(192, 168, 0, 100)), None);
    }
}
