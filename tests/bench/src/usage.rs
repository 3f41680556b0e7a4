//! What a process uses: CPU by the scheduler's own clock, and memory.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use herald_lab::Process;

/// CPU time of all threads that live, in nanoseconds rather than in the 10 ms steps of
/// `/proc/<pid>/stat`.
pub(crate) fn cpu(process: &Process) -> Result<Duration> {
    let tasks = format!("/proc/{}/task", process.pid());
    let mut nanos = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
        // A thread may end between the listing and the look.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        nanos += running(&text).with_context(|| format!("schedstat says {text:?}"))?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The first number of a `schedstat`: nanoseconds spent running.
fn running(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

/// The greatest resident memory of its life, in bytes (`VmHWM`).
pub(crate) fn peak_bytes(process: &Process) -> Result<u64> {
    let path = format!("/proc/{}/status", process.pid());
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    high_water(&status).with_context(|| format!("{path} has no VmHWM"))
}

fn high_water(status: &str) -> Option<u64> {
    bytes_of("VmHWM:", status)
}

/// Resident memory in bytes, where what several processes have counts in shares (`Pss`).
pub(crate) fn proportional_bytes(process: &Process) -> Result<u64> {
    let path = format!("/proc/{}/smaps_rollup", process.pid());
    let maps = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    bytes_of("Pss:", &maps).with_context(|| format!("{path} has no Pss"))
}

/// What a line like `VmHWM:  13412 kB` says.
fn bytes_of(name: &str, text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The share of one core that a process uses in the next `period`.
pub(crate) async fn share(process: &Process, period: Duration) -> Result<f64> {
    let (start, before) = (Instant::now(), cpu(process)?);
    tokio::time::sleep(period).await;
    let used = cpu(process)?.saturating_sub(before);
    Ok(used.as_secs_f64() / start.elapsed().as_secs_f64())
}

/// Waits until a process has nothing left to do: three seconds, one after the other, with less
/// than 3 % of a core each.
pub(crate) async fn settled(process: &Process) -> Result<()> {
    const LIMIT: Duration = Duration::from_mins(3);
    let start = Instant::now();
    let mut calm = 0;
    while calm < 3 {
        if !process.is_running() {
            bail!("{} has ended:\n{}", process.name(), process.log_tail(20));
        }
        if start.elapsed() > LIMIT {
            bail!("{} is still busy after {LIMIT:?}", process.name());
        }
        let busy = share(process, Duration::from_secs(1)).await? >= 0.03;
        calm = if busy { 0 } else { calm + 1 };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_understood() {
        assert_eq!(running("81325171 1025 33\n"), Some(81_325_171));
        assert_eq!(running(""), None);
        let status = "VmPeak:\t 9 kB\nVmHWM:\t   13412 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(high_water(status), Some(13412 * 1024));
        assert_eq!(high_water("Name:\tx\n"), None);
        let maps = "5500-7ffd [rollup]\nRss:  4 kB\nPss:      3 kB\nPss_Anon: 1 kB\n";
        assert_eq!(bytes_of("Pss:", maps), Some(3 * 1024));
    }
}
