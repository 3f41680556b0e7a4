//! What a Service asks of the allocator, read from its object (compat.md 2.1).

use std::net::IpAddr;

use herald_api::annotations::{self, Annotation};
use herald_api::slim::{Service, ServicePort};
use herald_ipam::{Backend, FamilyPolicy, Port, Protocol, Request};
use herald_model::{IpFamily, ServiceKey};

/// What reading a Service gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// What it asks for; `None` if it cannot have an address at all. With a problem of
    /// [`Problem::keeps_addresses`] this is the request without the part that is wrong, good for
    /// keeping what the Service has, not for giving it something new.
    pub(crate) request: Option<Request>,
    /// What is wrong with it.
    pub(crate) problem: Option<Problem>,
    /// The deprecated annotations that were used.
    pub(crate) deprecated: Vec<&'static str>,
}

/// Why a Service's wishes cannot be read. `Display` names field and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// No cluster IP, so no family; the API server assigns one soon, or never will.
    #[error(
        "the service has no cluster IP, so it has no address family: leave spec.clusterIP to the API server"
    )]
    NoClusterIp,
    /// A headless Service, or a cluster IP that is not an address.
    #[error(
        "Failed to retrieve ClusterIPs IPFamily {0:?}: a LoadBalancer Service cannot be headless"
    )]
    BadClusterIp(Vec<String>),
    /// Annotation and field at once.
    #[error("service can not have both {} and svc.Spec.LoadBalancerIP: remove one", annotations::LOAD_BALANCER_IPS.key)]
    BothRequested,
    /// A requested address that is none.
    #[error(
        "{text:?} of {origin} is not an IP address: write one IPv4 or IPv6 address, or one of each, separated by a comma"
    )]
    NotAnAddress {
        /// What is written there.
        text: String,
        /// The annotation or field.
        origin: String,
    },
    /// Three addresses or more, or two of one family.
    #[error(
        "{origin} has {count} addresses of which at most one of each family is possible: {text:?}"
    )]
    TooMany {
        /// The annotation or field.
        origin: String,
        /// How many there are.
        count: usize,
        /// What is written there.
        text: String,
    },
}

impl Problem {
    /// The reason of the condition, one word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::NoClusterIp => "NoClusterIP",
            Self::BadClusterIp(_) => "InvalidClusterIP",
            Self::BothRequested | Self::NotAnAddress { .. } | Self::TooMany { .. } => {
                "InvalidRequest"
            }
        }
    }

    /// True if the Service keeps the addresses it has until the problem is mended.
    pub(crate) fn keeps_addresses(&self) -> bool {
        self.name() == "InvalidRequest"
    }
}

/// The key of a Service; `None` for an object without a name, which the API never gives.
pub(crate) fn key(service: &Service) -> Option<ServiceKey> {
    let namespace = service.metadata.namespace.as_deref()?;
    let name = service.metadata.name.as_deref()?;
    Some(ServiceKey::new(namespace, name))
}

/// True if the Service is one that this controller gives an address: of type `LoadBalancer` and of
/// our class. An empty `class` means the Services without one.
pub(crate) fn is_ours(service: &Service, class: &str) -> bool {
    is_load_balancer(service) && has_class(service, class)
}

/// True if the Service is of type `LoadBalancer`.
pub(crate) fn is_load_balancer(service: &Service) -> bool {
    service.spec.type_.as_deref() == Some("LoadBalancer")
}

/// True if the Service's class is the one that we handle.
pub(crate) fn has_class(service: &Service, class: &str) -> bool {
    match service.spec.load_balancer_class.as_deref() {
        None => class.is_empty(),
        Some(own) => !class.is_empty() && own == class,
    }
}

/// The addresses in the status, in its order; entries that are no address are left out.
pub(crate) fn status_addresses(service: &Service) -> Vec<IpAddr> {
    let ingress = service
        .status
        .load_balancer
        .ingress
        .as_deref()
        .unwrap_or_default();
    ingress
        .iter()
        .filter_map(|entry| entry.ip.as_deref()?.parse().ok())
        .collect()
}

/// Reads what a Service of ours asks for.
pub(crate) fn read(key: &ServiceKey, service: &Service) -> Reading {
    let mut deprecated = Vec::new();
    let mut annotation = |which: &Annotation| {
        let found = which.find(service.metadata.annotations.as_ref())?;
        deprecated.extend(found.deprecated_key);
        Some(found.value.to_owned())
    };
    let pool = annotation(&annotations::ADDRESS_POOL).filter(|pool| !pool.is_empty());
    let sharing_key = annotation(&annotations::ALLOW_SHARED_IP).filter(|value| !value.is_empty());
    let wanted_ips = annotation(&annotations::LOAD_BALANCER_IPS).filter(|ips| !ips.is_empty());

    let families = match families(service) {
        Ok(families) => families,
        Err(problem) => {
            return Reading {
                request: None,
                problem: Some(problem),
                deprecated,
            };
        }
    };
    let (addresses, problem) = match requested_addresses(service, wanted_ips.as_deref()) {
        Ok(addresses) => (addresses, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let request = Request {
        service: key.clone(),
        labels: service.metadata.labels.clone().unwrap_or_default(),
        families,
        family_policy: family_policy(service),
        addresses,
        pool,
        sharing_key,
        backend: backend(service),
        ports: service
            .spec
            .ports
            .iter()
            .flatten()
            .filter_map(port)
            .collect(),
        current: status_addresses(service),
    };
    Reading {
        request: Some(request),
        problem,
        deprecated,
    }
}

fn families(service: &Service) -> Result<Vec<IpFamily>, Problem> {
    let several = service.spec.cluster_ips.iter().flatten();
    let mut texts: Vec<&str> = several
        .map(String::as_str)
        .filter(|text| !text.is_empty())
        .collect();
    if texts.is_empty() {
        texts.extend(
            service
                .spec
                .cluster_ip
                .as_deref()
                .filter(|text| !text.is_empty()),
        );
    }
    let mut families = Vec::with_capacity(2);
    for text in &texts {
        let Ok(address) = text.parse::<IpAddr>() else {
            let all = texts.iter().map(|text| (*text).to_owned()).collect();
            return Err(Problem::BadClusterIp(all));
        };
        let family = IpFamily::of(address);
        if !families.contains(&family) {
            families.push(family);
        }
    }
    if families.is_empty() {
        return Err(Problem::NoClusterIp);
    }
    Ok(families)
}

fn requested_addresses(
    service: &Service,
    annotation: Option<&str>,
) -> Result<Vec<IpAddr>, Problem> {
    let field = service
        .spec
        .load_balancer_ip
        .as_deref()
        .filter(|text| !text.is_empty());
    let (text, origin) = match (annotation, field) {
        (None, None) => return Ok(Vec::new()),
        (Some(_), Some(_)) => return Err(Problem::BothRequested),
        (Some(text), None) => (text, annotations::LOAD_BALANCER_IPS.key),
        (None, Some(text)) => (text, "spec.loadBalancerIP"),
    };
    let mut addresses: Vec<IpAddr> = Vec::with_capacity(2);
    for part in text.split(',').map(str::trim) {
        let address = part.parse().map_err(|_| Problem::NotAnAddress {
            text: part.to_owned(),
            origin: origin.to_owned(),
        })?;
        addresses.push(address);
    }
    let one_family = |a: &IpAddr, b: &IpAddr| IpFamily::of(*a) == IpFamily::of(*b);
    let too_many = match addresses.as_slice() {
        [_] => false,
        [first, second] => origin == "spec.loadBalancerIP" || one_family(first, second),
        _ => true,
    };
    if too_many {
        return Err(Problem::TooMany {
            origin: origin.to_owned(),
            count: addresses.len(),
            text: text.to_owned(),
        });
    }
    Ok(addresses)
}

fn family_policy(service: &Service) -> FamilyPolicy {
    match service.spec.ip_family_policy.as_deref() {
        Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
        Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
        _ => FamilyPolicy::SingleStack,
    }
}

fn backend(service: &Service) -> Backend {
    if service.spec.external_traffic_policy.as_deref() != Some("Local") {
        return Backend::Cluster;
    }
    match service
        .spec
        .selector
        .as_ref()
        .filter(|selector| !selector.is_empty())
    {
        None => Backend::LocalWithoutSelector,
        Some(selector) => {
            // The map is sorted by key.
            let pairs: Vec<_> = selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
            Backend::LocalSelector(pairs.join(","))
        }
    }
}

fn port(port: &ServicePort) -> Option<Port> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        // The API knows no other.
        Some(_) => return None,
    };
    let number = u16::try_from(port.port).ok()?;
    Some(Port { protocol, number })
}

#[cfg(test)]
mod tests;
