//! The metrics that MetalLB's processes have (compat.md 6.1), beside a scrape of ours.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use herald_chart::root;

use crate::scrape::Scrape;

/// A counter without the suffix, for which the text format has no type.
const BARE: &str = "unknown";

/// Where a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    Controller,
    Speaker,
}

use Process::{Controller, Speaker};

/// Processes, type, what the names begin with, how they go on, and labels.
type Row = (
    &'static [Process],
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const BGP: &[&str] = &["metallb_bgp_", "frrk8s_bgp_"];
const BFD: &[&str] = &["metallb_bfd_", "frrk8s_bfd_"];

const ROWS: &[Row] = &[
    (
        &[Controller],
        "gauge",
        &["metallb_allocator_"],
        &[
            "addresses_total",
            "addresses_in_use_total",
            "ipv4_addresses_total",
            "ipv4_addresses_in_use_total",
            "ipv6_addresses_total",
            "ipv6_addresses_in_use_total",
            "services_allocated_total",
        ],
        &["pool"],
    ),
    (
        &[Controller, Speaker],
        "counter",
        &["metallb_k8s_client_"],
        &["updates_total", "update_errors_total"],
        &[],
    ),
    (
        &[Controller, Speaker],
        "gauge",
        &["metallb_k8s_client_"],
        &["config_loaded_bool", "config_stale_bool"],
        &[],
    ),
    (
        &[Speaker],
        "gauge",
        &["metallb_speaker_"],
        &["announced"],
        &["service", "protocol", "node", "ip"],
    ),
    (
        &[Speaker],
        BARE,
        &["metallb_layer2_"],
        &["requests_received", "responses_sent", "gratuitous_sent"],
        &["ip"],
    ),
    (
        &[Speaker],
        "gauge",
        BGP,
        &["session_up", "announced_prefixes_total"],
        &["peer", "vrf"],
    ),
    (
        &[Speaker],
        "gauge",
        &["metallb_bgp_"],
        &["pending_prefixes_total"],
        &["peer"],
    ),
    (&[Speaker], "counter", BGP, &["updates_total"], &["peer"]),
    (
        &[Speaker],
        BARE,
        BGP,
        &[
            "opens_sent",
            "opens_received",
            "notifications_sent",
            "updates_total_received",
            "keepalives_sent",
            "keepalives_received",
            "route_refresh_sent",
            "total_sent",
            "total_received",
        ],
        &["peer", "vrf"],
    ),
    (&[Speaker], "gauge", BFD, &["session_up"], &["peer", "vrf"]),
    (
        &[Speaker],
        BARE,
        BFD,
        &[
            "control_packet_input",
            "control_packet_output",
            "echo_packet_input",
            "echo_packet_output",
            "session_up_events",
            "session_down_events",
            "zebra_notifications",
        ],
        &["peer", "vrf"],
    ),
    (
        &[Controller, Speaker],
        "counter",
        &["process_"],
        &["cpu_seconds_total"],
        &[],
    ),
    (
        &[Controller, Speaker],
        "gauge",
        &["process_"],
        &[
            "resident_memory_bytes",
            "virtual_memory_bytes",
            "virtual_memory_max_bytes",
            "open_fds",
            "max_fds",
            "start_time_seconds",
        ],
        &[],
    ),
];

/// What MetalLB has and Herald does not, as `docs/differences.md` has to say.
const ABSENT: &[&str] = &[
    "frrk8s_bgp_received_prefixes_total",
    "go_*",
    "process_network_*",
    "controller_runtime_*",
    "workqueue_*",
    "rest_client_*",
];

/// The names of all series that there have to be.
pub(crate) fn names() -> BTreeSet<String> {
    let rows = ROWS.iter();
    rows.flat_map(|(.., prefixes, names, _)| full(prefixes, names))
        .collect()
}

fn full<'a>(prefixes: &'a [&str], names: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    let each = prefixes.iter();
    each.flat_map(move |prefix| names.iter().map(move |name| format!("{prefix}{name}")))
}

/// What a process shows has the types and at least the labels that it has to.
pub(crate) fn check(process: Process, scrape: &Scrape) -> Result<()> {
    for (processes, kind, prefixes, names, labels) in ROWS {
        if !processes.contains(&process) {
            continue;
        }
        for name in full(prefixes, names) {
            let found = scrape.labels(&name);
            let found = found.with_context(|| format!("{process:?} has no {name}"))?;
            let missing = labels.iter().find(|label| !found.contains(**label));
            ensure!(missing.is_none(), "{name} has no label {missing:?}");
            let shown = scrape.kind(&name);
            ensure!(shown == Some(kind), "{name} is {shown:?}, not {kind}");
        }
    }
    Ok(())
}

/// What there is not is documented, and is not there.
pub(crate) fn check_absent(scrape: &Scrape) -> Result<()> {
    let page = fs::read_to_string(root().join("docs/differences.md"))?;
    for name in ABSENT {
        ensure!(
            page.contains(&format!("`{name}`")),
            "docs/differences.md does not say that there is no {name}"
        );
        let prefix = name.trim_end_matches('*');
        let found = scrape.names().find(|found| found.starts_with(prefix));
        ensure!(found.is_none(), "there is {found:?}");
    }
    Ok(())
}
