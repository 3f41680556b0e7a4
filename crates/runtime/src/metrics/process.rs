//! What Prometheus' own clients say of their process, under the names that they have in common:
//! processor time, memory, open files, the start. Read when they are asked for.
//!
//! What cannot be read, because `/proc` is not mounted or another's, has no series.

use std::fmt::{self, Debug};
use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::time::ClockId;
use nix::unistd::{SysconfVar, sysconf};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

/// Registers the `process_…` metrics.
pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process { start: start() }));
}

#[derive(Debug)]
struct Process {
    /// Since the epoch. The clock may be set later, which does not move the start.
    start: Option<Duration>,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(time) = processor_time() {
            let seconds = time.as_secs_f64();
            encoder
                .encode_descriptor(
                    "process_cpu_seconds",
                    "User and system processor time spent",
                    None,
                    MetricType::Counter,
                )?
                .encode_counter(&seconds, None::<&Exemplar<NoLabelSet, f64>>)?;
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory",
                bytes(&status, "VmRSS:"),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory",
                bytes(&status, "VmSize:"),
            ),
            (
                "process_virtual_memory_max_bytes",
                "Virtual memory that the process may have",
                limit(Resource::RLIMIT_AS),
            ),
            ("process_open_fds", "Open file descriptors", open_files()),
            (
                "process_max_fds",
                "File descriptors that the process may open",
                limit(Resource::RLIMIT_NOFILE),
            ),
        ]
        .into_iter();
        gauges.try_for_each(|(name, help, value)| gauge(&mut encoder, name, help, value))?;
        gauge(
            &mut encoder,
            "process_start_time_seconds",
            "Start of the process, since the epoch",
            self.start.map(|start| start.as_secs_f64()),
        )
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: Option<impl EncodeGaugeValue>,
) -> fmt::Result {
    let Some(value) = value else {
        return Ok(());
    };
    encoder
        .encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(&value)
}

fn processor_time() -> Option<Duration> {
    ClockId::CLOCK_PROCESS_CPUTIME_ID
        .now()
        .ok()
        .map(Duration::from)
}

fn limit(resource: Resource) -> Option<u64> {
    getrlimit(resource).ok().map(|(soft, _)| soft)
}

fn open_files() -> Option<u64> {
    let all = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is that of the folder.
    u64::try_from(all).ok()?.checked_sub(1)
}

/// A line of `/proc/self/status`, which is in KiB.
fn bytes(status: &str, field: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// When the process began, since the epoch.
fn start() -> Option<Duration> {
    let process = fs::read_to_string("/proc/self/stat").ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let ticks = sysconf(SysconfVar::CLK_TCK).ok()??;
    since_epoch(&process, &system, u64::try_from(ticks).ok()?)
}

/// The same, of what is in `/proc/self/stat` and `/proc/stat`.
fn since_epoch(process: &str, system: &str, ticks_per_second: u64) -> Option<Duration> {
    // The name, in parentheses, may hold anything. The 22nd field is the 20th after it.
    let (_, fields) = process.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    let mut lines = system.lines();
    let boot = lines.find_map(|line| line.strip_prefix("btime "))?;
    let boot: u64 = boot.trim().parse().ok()?;
    let after = Duration::from_millis(ticks.checked_mul(1000)?.checked_div(ticks_per_second)?);
    Duration::from_secs(boot).checked_add(after)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_process_shows_itself() {
        let mut registry = Registry::default();
        register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let value = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
            value.trim().parse().expect("a number")
        };
        assert!(value("process_cpu_seconds_total ") > 0.0);
        let resident = value("process_resident_memory_bytes ");
        assert!(resident > 100_000.0);
        assert!(value("process_virtual_memory_bytes ") > resident);
        assert!(value("process_virtual_memory_max_bytes ") > resident);
        let open = value("process_open_fds ");
        assert!(open > 2.0 && open < value("process_max_fds "));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let age = now.expect("after it").as_secs_f64() - value("process_start_time_seconds ");
        // The time of boot is in whole seconds.
        assert!((-2.0..86_400.0).contains(&age), "{age} seconds old");
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let fields: Vec<String> = (3..=30).map(|field| (field * 100).to_string()).collect();
        let process = format!("17 (a) b (c) {}\n", fields.join(" "));
        let start = since_epoch(&process, "cpu 1 2\nbtime 1000\n", 100);
        assert_eq!(start, Some(Duration::from_secs(1022)));
        assert_eq!(since_epoch("", "btime 1000\n", 100), None);
        assert_eq!(since_epoch(&process, "cpu 1 2\n", 100), None);
        assert_eq!(since_epoch(&process, "btime 1000\n", 0), None);
    }

    #[test]
    fn memory_is_in_bytes() {
        let status = "VmPeak:\t  9 kB\nVmRSS:\t    2 kB\n";
        assert_eq!(bytes(status, "VmRSS:"), Some(2048));
        assert_eq!(bytes(status, "VmSize:"), None);
    }
}
