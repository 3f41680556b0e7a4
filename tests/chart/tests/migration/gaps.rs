//! What clients notice: requests of each family all the time, and the longest time without an answer.

use std::time::Duration;

use anyhow::{Result, ensure};
use herald_lab::{Report, Traffic};

use super::cluster::Cluster;
use super::services::{BGP, WEB};

const EVERY: Duration = Duration::from_millis(10);
/// Less than the second after which a lost first packet is sent again.
const TIMEOUT: Duration = Duration::from_millis(900);

/// How long clients may be without an answer on a busy machine. On layer 2 no such time is expected at
/// all; with BGP the routers wait for the next attempt.
const LAYER2: Duration = Duration::from_secs(2);
const ROUTED: Duration = Duration::from_secs(20);

/// Requests from the LAN to an address of each family, and from behind the router to one with a route.
#[derive(Debug)]
pub(crate) struct Streams(Vec<(&'static str, Duration, Traffic)>);

impl Streams {
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let lab = &cluster.lab;
        let [v4, v6] = WEB;
        let mut streams = Vec::new();
        for (what, longest, part, address) in [
            ("layer 2, IPv4", LAYER2, "client", v4),
            ("layer 2, IPv6", LAYER2, "client", v6),
            ("BGP, IPv4", ROUTED, cluster.tor.client, BGP),
        ] {
            let traffic = lab.traffic(part, address.parse()?, 80, EVERY, TIMEOUT)?;
            streams.push((what, longest, traffic));
        }
        Ok(Self(streams))
    }

    /// Ends the streams, prints what they noticed, and makes sure that it was not too much.
    #[expect(clippy::print_stderr, reason = "figures of the page")]
    pub(crate) async fn stop(self, step: &str) -> Result<()> {
        for (what, longest, traffic) in self.0 {
            let report = traffic.stop().await?;
            let (gap, late) = worst(&report);
            eprintln!(
                "{step}: {what}: {} requests, {} failed, {} of them reset; longest silence {gap:?}, \
                 the client late for {late:?} of it",
                report.samples.len(),
                report.failures().len(),
                report.broken_off().len(),
            );
            ensure!(report.answered() > 50, "{step}: {what}: hardly an answer");
            ensure!(
                gap <= longest + late * 2,
                "{step}: {what}: silent for {gap:?}"
            );
        }
        Ok(())
    }
}

/// The longest silence, and for how long of it the client itself was late.
fn worst(report: &Report) -> (Duration, Duration) {
    let silences = report.silences(EVERY * 3).into_iter();
    let worst = silences.max_by_key(|(silence, late)| silence.saturating_sub(*late * 2));
    worst.unwrap_or_default()
}
