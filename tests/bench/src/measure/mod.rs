//! One round of one contestant, from the first Service to the last ARP request.

mod arp;
mod writer;

use std::time::{Duration, Instant};

use anyhow::Result;
use herald_lab::{Lab, Process};

pub(crate) use self::writer::plain_writer;
use crate::args::{Part, Plan};
use crate::contestant::Contestant;
use crate::figures::{Figures, Metric};
use crate::observer::Observer;
use crate::{setup, usage};

/// Long enough for a contestant that is ten times slower than the slowest known.
const LONG: Duration = Duration::from_mins(15);
/// Before a start is timed, the API server finishes what creating the Services left it with.
const REST: Duration = Duration::from_secs(3);
/// Between two Services of a latency, so that each finds a controller at rest.
const PAUSE: Duration = Duration::from_millis(100);

/// Measures one contestant once, on labs of its own.
pub(crate) async fn contestant(
    contestant: Contestant,
    plan: &Plan,
    figures: &mut Figures,
) -> Result<()> {
    if plan.has(Part::Latency) {
        few(contestant, plan, figures).await?;
    }
    many(contestant, plan, figures).await
}

/// One more Service beside few.
async fn few(contestant: Contestant, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let lab = contestant.lab().await?;
    setup::pool(&lab).await?;
    let mut observer = Observer::start(&lab);
    setup::services(&lab, 0..plan.few).await?;
    let controller = contestant.controller(&lab).await?;
    observer.all(plan.few, LONG).await?;
    usage::settled(&controller).await?;
    let mut waits = one_more(&lab, &mut observer, plan.few, plan.tries).await?;
    let metrics = [Metric::FewP50, Metric::FewP99];
    figures.add_samples(metrics, contestant, &mut waits.address);
    figures.add_percentile(Metric::FewVisible, contestant, &mut waits.visible, 50);
    lab.down().await
}

/// Everything that is measured with all Services.
async fn many(contestant: Contestant, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let lab = contestant.lab().await?;
    setup::pool(&lab).await?;
    let mut observer = Observer::start(&lab);
    setup::services(&lab, 0..plan.services).await?;
    tokio::time::sleep(REST).await;

    let start = Instant::now();
    let controller = contestant.controller(&lab).await?;
    let last = observer.all(plan.services, LONG).await?;
    if plan.has(Part::Allocation) {
        let took = last.duration_since(start).as_secs_f64();
        figures.add(Metric::Allocation, contestant, took);
    }
    let mut count = plan.services;
    if plan.has(Part::Latency) {
        usage::settled(&controller).await?;
        let mut waits = one_more(&lab, &mut observer, count, plan.tries).await?;
        let metrics = [Metric::ManyP50, Metric::ManyP99];
        figures.add_samples(metrics, contestant, &mut waits.address);
        figures.add_percentile(Metric::ManyVisible, contestant, &mut waits.visible, 50);
        count += plan.tries;
    }
    if plan.has(Part::Memory) {
        usage::settled(&controller).await?;
        let metrics = [Metric::ControllerMemory, Metric::ControllerPeak];
        memory(metrics, contestant, &controller, figures)?;
    }
    if plan.has(Part::Memory) || plan.has(Part::Arp) {
        speaker(contestant, &lab, count, plan, figures).await?;
    }
    lab.down().await
}

/// How long each of several Services waited.
#[derive(Debug, Default)]
struct Waits {
    /// From the request to create it until it had an address.
    address: Vec<Duration>,
    /// Of which since a watch showed that it exists.
    visible: Vec<Duration>,
}

/// Creates Services one after the other, each beside a controller at rest.
async fn one_more(lab: &Lab, observer: &mut Observer, first: usize, tries: usize) -> Result<Waits> {
    let mut waits = Waits::default();
    for number in first..first + tries {
        let name = setup::name(number);
        let start = Instant::now();
        setup::service(lab, &name).await?;
        let (created, address) = observer.one(&name, LONG).await?;
        waits.address.push(address.duration_since(start));
        waits.visible.push(address.duration_since(created));
        tokio::time::sleep(PAUSE).await;
    }
    Ok(waits)
}

fn memory(
    [resident, peak]: [Metric; 2],
    contestant: Contestant,
    process: &Process,
    figures: &mut Figures,
) -> Result<()> {
    for (metric, bytes) in [
        (resident, process.rss_bytes()?),
        (peak, usage::peak_bytes(process)?),
    ] {
        #[expect(clippy::cast_precision_loss, reason = "no process has 2^52 bytes")]
        figures.add(metric, contestant, bytes as f64);
    }
    Ok(())
}

async fn speaker(
    contestant: Contestant,
    lab: &Lab,
    count: usize,
    plan: &Plan,
    figures: &mut Figures,
) -> Result<()> {
    setup::endpoints(lab, 0..count).await?;
    let addresses = setup::addresses(lab).await?;
    anyhow::ensure!(
        addresses.len() == count,
        "{} of {count} Services have an address",
        addresses.len()
    );
    tokio::time::sleep(REST).await;
    let client = arp::Client::open(lab)?;

    let start = Instant::now();
    let speaker = contestant.speaker_on(lab, "n1").await?;
    let last = client.all_answered(&addresses, LONG).await?;
    if plan.has(Part::Memory) {
        let took = last.duration_since(start).as_secs_f64();
        figures.add(Metric::Announced, contestant, took);
    }
    usage::settled(&speaker).await?;
    if plan.has(Part::Memory) {
        let metrics = [Metric::SpeakerMemory, Metric::SpeakerPeak];
        memory(metrics, contestant, &speaker, figures)?;
    }
    if plan.has(Part::Arp) {
        arp::measure(&client, contestant, &speaker, &addresses, plan, figures).await?;
    }
    Ok(())
}
