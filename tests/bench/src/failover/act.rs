//! One round of a case: a stream of requests, what happens meanwhile, and what came of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use herald_lab::{Cut, Look, MacWatch, Report, Sample, Traffic};

use super::args::FailoverArgs;
use super::case::{Case, Target};
use super::cluster::{Cluster, OWNER};
use super::outcome::{Looks, Outcome, Requests};

/// A new TCP connection so often.
const EVERY: Duration = Duration::from_millis(10);
/// Less than the second after which a lost first packet is sent again: a request that loses one
/// has failed.
const TIMEOUT: Duration = Duration::from_millis(900);
/// How long all must be well before anything happens.
const LEAD: Duration = Duration::from_secs(1);
/// How long requests go on after what happened: 20 rounds of it are more than 5,000 requests.
const AFTER: Duration = Duration::from_secs(3);
/// A gap that has not ended by then is no failover.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two questions about who has an address.
const LOOK: Duration = Duration::from_millis(200);
/// After a rolling restart's pod is ready again the next one is stopped.
const NEXT: Duration = Duration::from_secs(1);

/// Goes through a case once, from a cluster as new.
pub(crate) async fn round(case: Case, cluster: &Cluster, args: &FailoverArgs) -> Result<Outcome> {
    cluster.fresh().await?;
    match case.target() {
        Target::OneAnswer => healed(case, cluster, args).await,
        Target::NoMove => busy(cluster, args).await,
        Target::GapOnly => outage(cluster, args).await,
        Target::Gap | Target::NoFailure => request(case, cluster).await,
    }
}

fn traffic(cluster: &Cluster) -> Result<Vec<Traffic>> {
    let stream = |address| cluster.lab.traffic("client", address, 80, EVERY, TIMEOUT);
    cluster.addresses.into_iter().map(stream).collect()
}

fn watches(cluster: &Cluster) -> Result<Vec<MacWatch>> {
    let watch = |address| cluster.lab.watch_macs(address, LOOK);
    cluster.addresses.into_iter().map(watch).collect()
}

async fn reports(traffic: Vec<Traffic>) -> Result<Vec<Report>> {
    try_join_all(traffic.into_iter().map(Traffic::stop)).await
}

/// Waits until all has been well for a while, so that what follows is the case's doing.
async fn lead(traffic: &[Traffic]) -> Result<()> {
    tokio::time::sleep(LEAD).await;
    for stream in traffic {
        let samples = stream.samples();
        let failed = samples
            .iter()
            .find_map(|sample| sample.answer.as_ref().err());
        ensure!(
            samples.len() > 50 && failed.is_none(),
            "{} requests before anything happened, of which some failed: {failed:?}",
            samples.len()
        );
    }
    Ok(())
}

/// Waits until all streams have answers again; whether they have.
async fn answered(traffic: &[Traffic], since: Instant) -> bool {
    tokio::time::sleep(AFTER).await;
    loop {
        let fresh = Instant::now().checked_sub(Duration::from_millis(200));
        let well = |stream: &Traffic| stream.last_answer() > fresh;
        if traffic.iter().all(well) {
            // The end of the gap is part of the stream, and not its last word.
            tokio::time::sleep(Duration::from_millis(300)).await;
            return true;
        }
        if since.elapsed() > LIMIT {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Prints a request that failed, with its time before or after `start`.
fn say(sample: &Sample, start: Instant) {
    let sent = match sample.sent.checked_duration_since(start) {
        Some(after) => format!("{after:.3?} after"),
        None => format!("{:.3?} before", start - sample.sent),
    };
    let open = sample.connected.map(|open| open - sample.sent);
    let took = sample.ended - sample.sent;
    eprintln!(
        "  sent {sent}, open after {open:?}, for {took:.3?}: {:?}",
        sample.answer
    );
}

/// A case in which requests are counted.
async fn request(case: Case, cluster: &Cluster) -> Result<Outcome> {
    let lab = &cluster.lab;
    let kept = lab.connections("client", cluster.bystander, 80, 10, LOOK)?;
    let traffic = traffic(cluster)?;
    lead(&traffic).await?;
    let start = Instant::now();
    match case {
        Case::CutCarrier | Case::LanCarrier => lab.cut_link(OWNER, "lan0", Cut::Carrier).await?,
        Case::CutSilent | Case::LanSilent => lab.cut_link(OWNER, "lan0", Cut::Silent).await?,
        Case::PowerOff => {
            // heal() restores it; the speaker is started by fresh().
            let _off = lab.power_off(OWNER).await?;
            cluster.owner().kill().await?;
        }
        Case::Kill => drop(cluster.owner().kill().await?),
        Case::Terminate => drop(cluster.owner().stop().await?),
        Case::Drain => cluster.drain(true).await?,
        Case::Selector => cluster.deselect().await?,
        Case::Rolling => {
            for speaker in cluster.speakers() {
                speaker.stop().await?;
                speaker.restart().await?;
                tokio::time::sleep(NEXT).await;
            }
        }
        Case::Heal5 | Case::Heal20 | Case::Heal120 | Case::Outage | Case::Busy => {
            unreachable!("round() has functions of their own for them")
        }
    }
    let ended = answered(&traffic, start).await;
    let reports = reports(traffic).await?;
    if case.target() == Target::NoFailure {
        for sample in reports.iter().flat_map(Report::failures) {
            say(sample, start);
        }
    }
    let lost = kept.stop().await?.len();
    Ok(Outcome {
        requests: [0, 1].map(|family| Requests::from(&reports[family])),
        lost: if case.spares_others() { lost } else { 0 },
        unending: !ended,
        ..Outcome::default()
    })
}

/// The owner is away for a time; what counts is from its return on.
async fn healed(case: Case, cluster: &Cluster, args: &FailoverArgs) -> Result<Outcome> {
    let lab = &cluster.lab;
    let kept = lab.connections("client", cluster.bystander, 80, 10, LOOK)?;
    lab.cut_link(OWNER, "lan0", Cut::Silent).await?;
    tokio::time::sleep(case.away().unwrap_or_default()).await;
    let traffic = traffic(cluster)?;
    tokio::time::sleep(LEAD).await;
    lab.restore_link(OWNER, "lan0").await?;
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let watches = watches(cluster)?;
    tokio::time::sleep(args.watched()).await;
    let looks = try_join_all(watches.into_iter().map(MacWatch::stop)).await?;
    let reports = reports(traffic).await?;
    let reports: Vec<_> = reports.iter().map(|report| report.since(start)).collect();
    for report in &reports {
        report
            .failures()
            .iter()
            .for_each(|sample| say(sample, start));
    }
    Ok(Outcome {
        requests: [0, 1].map(|family| Requests::from(&reports[family])),
        looks: [0, 1].map(|family| counted(&looks[family], cluster)),
        lost: kept.stop().await?.len(),
        ..Outcome::default()
    })
}

/// The API server and its store are away; in the middle the owner falls silent.
async fn outage(cluster: &Cluster, args: &FailoverArgs) -> Result<Outcome> {
    let traffic = traffic(cluster)?;
    lead(&traffic).await?;
    cluster.api_off().await?;
    tokio::time::sleep(args.duration() / 2).await;
    let start = Instant::now();
    let _off = cluster.lab.power_off(OWNER).await?;
    cluster.owner().kill().await?;
    let ended = answered(&traffic, start).await;
    let back = Instant::now();
    tokio::time::sleep((args.duration() / 2).saturating_sub(start.elapsed())).await;
    cluster.api_on().await?;
    // Long enough for every watch to be made anew.
    tokio::time::sleep(args.watched().max(Duration::from_secs(5))).await;
    let reports = reports(traffic).await?;
    let besides = |report: &Report| {
        let apart = |sent: Instant| sent + TIMEOUT < start || sent > back;
        let failures = report.failures();
        let found = failures
            .iter()
            .filter(|sample| apart(sample.sent) && !sample.was_broken_off());
        found.inspect(|sample| say(sample, start)).count()
    };
    Ok(Outcome {
        requests: [0, 1].map(|family| Requests::from(&reports[family])),
        besides: [0, 1].map(|family| besides(&reports[family])),
        unending: !ended,
        ..Outcome::default()
    })
}

/// As many processes as there are cores want all of them.
async fn busy(cluster: &Cluster, args: &FailoverArgs) -> Result<Outcome> {
    let watches = watches(cluster)?;
    let cores = std::thread::available_parallelism()?.get();
    let busy = cluster.lab.busy_cores(cores)?;
    tokio::time::sleep(args.duration()).await;
    for process in busy {
        process.kill().await?;
    }
    let looks = try_join_all(watches.into_iter().map(MacWatch::stop)).await?;
    Ok(Outcome {
        looks: [0, 1].map(|family| counted(&looks[family], cluster)),
        ..Outcome::default()
    })
}

fn counted(looks: &[Look], cluster: &Cluster) -> Looks {
    let owner = BTreeSet::from([cluster.owner_mac()]);
    let count = |what: &dyn Fn(&Look) -> bool| looks.iter().filter(|look| what(look)).count();
    Looks {
        asked: looks.len(),
        silent: count(&|look| look.macs.is_empty()),
        split: count(&|look| look.macs.len() > 1),
        moved: count(&|look| !look.macs.is_subset(&owner)),
    }
}
