//! Metrics of the controller (compat.md 6.1).

use std::collections::HashSet;

use herald_ipam::Usage;
use herald_runtime::metrics::{ClientMetrics, Seconds};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

type PoolGauge = Family<PoolLabel, Gauge>;

/// All metrics of the controller.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Those that the speaker has too.
    pub(crate) client: ClientMetrics,
    /// 1 while this process leads.
    pub(crate) leader: Gauge,
    /// Status writes that succeeded.
    pub(crate) writes: Counter,
    /// Status writes that failed and are tried again.
    pub(crate) write_errors: Counter,
    /// Status writes refused because the Service had changed.
    pub(crate) write_conflicts: Counter,
    /// From the first sight of a Service to its address.
    pub(crate) address_time: Seconds,
    total: PoolGauge,
    in_use: PoolGauge,
    total_ipv4: PoolGauge,
    in_use_ipv4: PoolGauge,
    total_ipv6: PoolGauge,
    in_use_ipv6: PoolGauge,
    services: PoolGauge,
    pools: HashSet<String>,
}

impl Metrics {
    /// New metrics, registered under their names.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            client: ClientMetrics::register(registry),
            ..Self::default()
        };
        let pool_gauges = [
            ("addresses_total", "Addresses of the pool", &metrics.total),
            (
                "addresses_in_use_total",
                "Addresses of the pool that Services have",
                &metrics.in_use,
            ),
            (
                "ipv4_addresses_total",
                "IPv4 addresses of the pool",
                &metrics.total_ipv4,
            ),
            (
                "ipv4_addresses_in_use_total",
                "IPv4 addresses of the pool that Services have",
                &metrics.in_use_ipv4,
            ),
            (
                "ipv6_addresses_total",
                "IPv6 addresses of the pool",
                &metrics.total_ipv6,
            ),
            (
                "ipv6_addresses_in_use_total",
                "IPv6 addresses of the pool that Services have",
                &metrics.in_use_ipv6,
            ),
            (
                "services_allocated_total",
                "Services that have an address of the pool",
                &metrics.services,
            ),
        ];
        for (name, help, gauge) in pool_gauges {
            registry.register(format!("metallb_allocator_{name}"), help, gauge.clone());
        }
        registry.register(
            "herald_controller_leader_bool",
            "1 if this replica leads",
            metrics.leader.clone(),
        );
        registry.register(
            "herald_status_writes",
            "Writes of Service statuses that succeeded",
            metrics.writes.clone(),
        );
        registry.register(
            "herald_status_write_errors",
            "Writes of Service statuses that failed and are tried again",
            metrics.write_errors.clone(),
        );
        registry.register(
            "herald_status_write_conflicts",
            "Writes of Service statuses refused because the Service had changed meanwhile",
            metrics.write_conflicts.clone(),
        );
        registry.register(
            "herald_service_address_seconds",
            "Time from when a Service was first seen without an address until it had one",
            metrics.address_time.clone(),
        );
        metrics
    }

    /// Shows the counters of the pools as they are now; pools that are gone lose their series.
    pub(crate) fn show<'a>(&mut self, usage: impl IntoIterator<Item = &'a (String, Usage, usize)>) {
        let mut gone = std::mem::take(&mut self.pools);
        for (pool, usage, services) in usage {
            gone.remove(pool);
            self.pools.insert(pool.clone());
            let label = PoolLabel { pool: pool.clone() };
            let set = |gauge: &PoolGauge, value: i64| {
                gauge.get_or_create(&label).set(value);
            };
            set(
                &self.total,
                usage.total_ipv4.saturating_add(usage.total_ipv6),
            );
            set(
                &self.in_use,
                usage.assigned_ipv4.saturating_add(usage.assigned_ipv6),
            );
            set(&self.total_ipv4, usage.total_ipv4);
            set(&self.in_use_ipv4, usage.assigned_ipv4);
            set(&self.total_ipv6, usage.total_ipv6);
            set(&self.in_use_ipv6, usage.assigned_ipv6);
            set(&self.services, i64::try_from(*services).unwrap_or(i64::MAX));
        }
        for pool in gone {
            let label = PoolLabel { pool };
            for gauge in [
                &self.total,
                &self.in_use,
                &self.total_ipv4,
                &self.in_use_ipv4,
                &self.total_ipv6,
                &self.in_use_ipv6,
                &self.services,
            ] {
                gauge.remove(&label);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).expect("encodes");
        text
    }

    #[test]
    fn the_series_of_a_pool_come_and_go_under_their_names() {
        let mut registry = Registry::default();
        let mut metrics = Metrics::register(&mut registry);
        let usage = Usage {
            total_ipv4: 4,
            total_ipv6: i64::MAX,
            assigned_ipv4: 1,
            assigned_ipv6: 2,
            available_ipv4: 3,
            available_ipv6: i64::MAX,
        };
        metrics.show(&[("a".to_owned(), usage, 2)]);
        let shown = text(&registry);
        for line in [
            "metallb_allocator_addresses_total{pool=\"a\"} 9223372036854775807",
            "metallb_allocator_addresses_in_use_total{pool=\"a\"} 3",
            "metallb_allocator_ipv4_addresses_total{pool=\"a\"} 4",
            "metallb_allocator_ipv4_addresses_in_use_total{pool=\"a\"} 1",
            "metallb_allocator_ipv6_addresses_total{pool=\"a\"} 9223372036854775807",
            "metallb_allocator_ipv6_addresses_in_use_total{pool=\"a\"} 2",
            "metallb_allocator_services_allocated_total{pool=\"a\"} 2",
        ] {
            assert!(
                shown.lines().any(|l| l == line),
                "{line} is missing in\n{shown}"
            );
        }
        metrics.show(&[]);
        assert!(!text(&registry).contains("pool=\"a\""));
    }
}
