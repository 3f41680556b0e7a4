//! What one Service asks of the allocator.

use std::fmt;
use std::net::IpAddr;

use herald_model::{IpFamily, Labels, ServiceKey};

/// Everything of a Service that allocation depends on (compat.md 2.1 and 3.1), already read from
/// the API's object. A Service that is not of type `LoadBalancer`, or not of our class, makes no
/// request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which Service this is.
    pub service: ServiceKey,
    /// Its labels, for pools with service selectors.
    pub labels: Labels,
    /// The families of its cluster IPs, in their order, without repeats; never empty.
    pub families: Vec<IpFamily>,
    /// `spec.ipFamilyPolicy`.
    pub family_policy: FamilyPolicy,
    /// The addresses it asks for (annotation `loadBalancerIPs` or `spec.loadBalancerIP`), in the
    /// order written: none, one, or one of each family.
    pub addresses: Vec<IpAddr>,
    /// The pool it asks for (annotation `address-pool`).
    pub pool: Option<String>,
    /// The value of `allow-shared-ip`; `None` if absent or empty.
    pub sharing_key: Option<String>,
    /// What must be equal between Services that share an address: empty with external traffic
    /// policy `Cluster`, the canonical selector with `Local`.
    pub backend: Backend,
    /// Protocol and port of each of its ports.
    pub ports: Vec<Port>,
    /// The addresses its status holds now, in the order of the status.
    pub current: Vec<IpAddr>,
}

/// `spec.ipFamilyPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FamilyPolicy {
    /// One family.
    #[default]
    SingleStack,
    /// Both where there are both, else one.
    PreferDualStack,
    /// Both or nothing.
    RequireDualStack,
}

/// The group of endpoints that traffic to a shared address may reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// External traffic policy `Cluster`: any node forwards to any Service's endpoints.
    Cluster,
    /// External traffic policy `Local` with this selector, canonical (`k=v,k=v`, keys sorted).
    LocalSelector(String),
    /// External traffic policy `Local` without a selector: only this Service itself is known to
    /// have these endpoints.
    LocalWithoutSelector,
}

/// A port of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port's number.
    pub number: u16,
}

/// A transport protocol of a Service's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, the API's default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Port {
    /// As in `TCP/80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        };
        write!(f, "{protocol}/{}", self.number)
    }
}
