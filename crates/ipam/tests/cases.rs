//! The cases of `tests/cases/*.yaml`: each a sentence and the steps that show it is true.
#![allow(
    clippy::tests_outside_test_module,
    reason = "an integration test is a test module"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use herald_ipam::{
    Allocator, Backend, FamilyPolicy, Outcome, Pool, Port, Protocol, Request, ServiceAllocation,
};
use herald_model::{IpFamily, LabelSelector, Labels, ServiceKey, parse_addresses};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    steps: Vec<Step>,
}

/// One thing that happens (`pools`, `service`, `release`, `restart` or nothing) and what is to be
/// seen after it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Step {
    /// These are the pools now.
    pools: Option<Vec<PoolSpec>>,
    /// This Service (`name`, or `namespace/name`) is converged: as it was without `spec`,
    /// else with these fields and the defaults.
    service: Option<String>,
    /// The fields of the Service.
    spec: Option<ServiceSpec>,
    /// This Service is gone.
    release: Option<String>,
    /// A new allocator restores and converges all Services, with these statuses instead of what
    /// they were given, where there are any.
    restart: Option<BTreeMap<String, Vec<IpAddr>>>,

    /// The addresses of the Service, in order.
    gets: Option<Vec<IpAddr>>,
    /// The pool they are of.
    from: Option<String>,
    /// The reason why it has none.
    pending: Option<String>,
    /// The sentence of that reason.
    says: Option<String>,
    /// All notices: the event's reason, a colon, the message.
    events: Option<Vec<String>>,
    /// All Services to converge again. Nobody if not given.
    revisit: BTreeSet<String>,
    /// What these Services have.
    have: BTreeMap<String, Vec<IpAddr>>,
    /// Some counters of some pools.
    usage: BTreeMap<String, BTreeMap<String, i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PoolSpec {
    name: String,
    addresses: Vec<String>,
    #[serde(default = "yes")]
    auto_assign: bool,
    #[serde(default, rename = "avoidBuggyIPs")]
    avoid_buggy_ips: bool,
    service_allocation: Option<AllocationSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AllocationSpec {
    #[serde(default)]
    priority: i32,
    /// `namespaces` and what `namespaceSelectors` select, together.
    namespaces: Option<BTreeSet<String>>,
    #[serde(default)]
    service_selectors: Vec<Labels>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServiceSpec {
    labels: Labels,
    families: Option<Vec<Family>>,
    policy: Policy,
    addresses: Vec<IpAddr>,
    pool: Option<String>,
    key: Option<String>,
    /// External traffic policy `Local` with this selector; the empty one is none.
    local: Option<String>,
    ports: Option<Vec<String>>,
    status: Vec<IpAddr>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Family {
    #[serde(rename = "v4")]
    V4,
    #[serde(rename = "v6")]
    V6,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Policy {
    #[default]
    Single,
    Prefer,
    Require,
}

fn yes() -> bool {
    true
}

fn key(text: &str) -> ServiceKey {
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    ServiceKey::new(namespace, name)
}

impl PoolSpec {
    fn pool(&self) -> Pool {
        let cidrs = self.addresses.iter();
        let cidrs = cidrs.flat_map(|entry| parse_addresses(entry).expect("an entry of addresses"));
        Pool {
            name: self.name.clone(),
            cidrs: cidrs.collect(),
            auto_assign: self.auto_assign,
            avoid_buggy_ips: self.avoid_buggy_ips,
            allocation: self
                .service_allocation
                .as_ref()
                .map(|spec| ServiceAllocation {
                    priority: spec.priority,
                    namespaces: spec.namespaces.clone(),
                    service_selectors: spec
                        .service_selectors
                        .iter()
                        .map(|labels| LabelSelector::new(labels.clone(), Vec::new()))
                        .collect(),
                }),
        }
    }
}

impl ServiceSpec {
    fn request(&self, service: ServiceKey) -> Request {
        let families = self.families.clone().unwrap_or_else(|| vec![Family::V4]);
        let ports = self.ports.clone();
        let ports = ports.unwrap_or_else(|| vec!["TCP/80".to_owned()]);
        Request {
            service,
            labels: self.labels.clone(),
            families: families
                .into_iter()
                .map(|family| match family {
                    Family::V4 => IpFamily::V4,
                    Family::V6 => IpFamily::V6,
                })
                .collect(),
            family_policy: match self.policy {
                Policy::Single => FamilyPolicy::SingleStack,
                Policy::Prefer => FamilyPolicy::PreferDualStack,
                Policy::Require => FamilyPolicy::RequireDualStack,
            },
            addresses: self.addresses.clone(),
            pool: self.pool.clone(),
            sharing_key: self.key.clone(),
            backend: match self.local.as_deref() {
                None => Backend::Cluster,
                Some("") => Backend::LocalWithoutSelector,
                Some(selector) => Backend::LocalSelector(selector.to_owned()),
            },
            ports: ports.iter().map(|text| port(text)).collect(),
            current: self.status.clone(),
        }
    }
}

fn port(text: &str) -> Port {
    let (protocol, number) = text.split_once('/').expect("TCP/80");
    Port {
        protocol: match protocol {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            other => unreachable!("no protocol: {other}"),
        },
        number: number.parse().expect("a port number"),
    }
}

#[derive(Default)]
struct Runner {
    allocator: Allocator,
    pools: Vec<Pool>,
    services: BTreeMap<ServiceKey, Request>,
}

impl Runner {
    fn run(&mut self, step: &Step) -> Result<(), String> {
        let mut revisit = Vec::new();
        if let Some(specs) = &step.pools {
            self.pools = specs.iter().map(PoolSpec::pool).collect();
            revisit.extend(self.allocator.set_pools(self.pools.clone()));
        }
        if let Some(name) = &step.service {
            let service = key(name);
            if let Some(spec) = &step.spec {
                self.services
                    .insert(service.clone(), spec.request(service.clone()));
            }
            let request = self.services.get(&service);
            let request = request.cloned().unwrap_or_else(|| {
                let default = ServiceSpec::default().request(service.clone());
                self.services.insert(service.clone(), default.clone());
                default
            });
            let decision = self.allocator.converge(&request);
            let again = self.allocator.assignment(&service);
            match (&decision.outcome, again) {
                (Outcome::Assigned(told), Some(kept)) if *told == kept => {}
                (Outcome::Pending(_), None) => {}
                (told, kept) => return Err(format!("told {told:?}, keeps {kept:?}")),
            }
            let events = decision.notices.iter();
            let events: Vec<_> = events
                .map(|n| format!("{}: {}", n.event_reason(), n.message(&service)))
                .collect();
            if let Some(expected) = &step.events {
                same("events", expected, &events)?;
            }
            check_outcome(step, &decision.outcome)?;
            revisit.extend(decision.revisit);
        } else if step.spec.is_some() || step.gets.is_some() || step.pending.is_some() {
            return Err("says something of a service, but names none".to_owned());
        }
        if let Some(name) = &step.release {
            self.services.remove(&key(name));
            revisit.extend(self.allocator.release(&key(name)));
        }
        if let Some(statuses) = &step.restart {
            revisit.extend(self.restart(statuses));
        }
        let revisit: BTreeSet<_> = revisit.iter().map(ToString::to_string).collect();
        let expected = step.revisit.iter().map(|name| key(name).to_string());
        same("revisit", &expected.collect(), &revisit)?;
        self.check_state(step)
    }

    fn restart(&mut self, statuses: &BTreeMap<String, Vec<IpAddr>>) -> Vec<ServiceKey> {
        for (service, request) in &mut self.services {
            let held = self.allocator.assignment(service);
            request.current = held.map(|held| held.addresses).unwrap_or_default();
        }
        for (name, addresses) in statuses {
            let service = key(name);
            let request = self.services.entry(service.clone());
            let request = request.or_insert_with(|| ServiceSpec::default().request(service));
            request.current.clone_from(addresses);
        }
        self.allocator = Allocator::new();
        let mut revisit = self.allocator.set_pools(self.pools.clone());
        self.allocator.restore(self.services.values());
        for request in self.services.values() {
            revisit.extend(self.allocator.converge(request).revisit);
        }
        revisit
    }

    fn check_state(&self, step: &Step) -> Result<(), String> {
        for (name, expected) in &step.have {
            let held = self.allocator.assignment(&key(name));
            let held = held.map(|held| held.addresses).unwrap_or_default();
            same(&format!("what {name} has"), expected, &held)?;
        }
        let usage = self.allocator.usage();
        for (pool, counters) in &step.usage {
            let Some(usage) = usage.get(pool) else {
                return Err(format!("no usage of pool {pool}"));
            };
            for (counter, expected) in counters {
                let value = match counter.as_str() {
                    "totalIPv4" => usage.total_ipv4,
                    "totalIPv6" => usage.total_ipv6,
                    "assignedIPv4" => usage.assigned_ipv4,
                    "assignedIPv6" => usage.assigned_ipv6,
                    "availableIPv4" => usage.available_ipv4,
                    "availableIPv6" => usage.available_ipv6,
                    other => return Err(format!("no counter {other}")),
                };
                same(&format!("{counter} of {pool}"), expected, &value)?;
            }
        }
        Ok(())
    }
}

fn check_outcome(step: &Step, outcome: &Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Assigned(assignment) => {
            let gets = step.gets.clone().unwrap_or_default();
            same("gets", &gets, &assignment.addresses)?;
            if let Some(pool) = &step.from {
                same("from", pool, &assignment.pool)?;
            }
            if step.pending.is_some() || step.says.is_some() {
                return Err("has an address, which is not expected".to_owned());
            }
        }
        Outcome::Pending(reason) => {
            let pending = step.pending.clone().unwrap_or_default();
            same("pending", pending.as_str(), reason.name())?;
            if let Some(says) = &step.says {
                same("says", says, &reason.to_string())?;
            }
            if step.gets.is_some() || step.from.is_some() {
                return Err(format!("is pending, which is not expected: {reason}"));
            }
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    expected: &T,
    got: &T,
) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, got {got:?}"))
}

#[test]
fn every_case_is_true() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of the cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut names = BTreeSet::new();
    let mut failures = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file of cases");
        let shown = file.file_name().unwrap_or_default().display();
        let cases: Vec<Case> =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{shown}: {error}"));
        for case in cases {
            assert!(names.insert(case.name.clone()), "twice: {}", case.name);
            let mut runner = Runner::default();
            for (number, step) in case.steps.iter().enumerate() {
                if let Err(error) = runner.run(step) {
                    let at = number + 1;
                    let _ = writeln!(failures, "{shown}: {}: step {at}: {error}", case.name);
                    break;
                }
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(names.len() >= 205, "only {} cases", names.len());
}
