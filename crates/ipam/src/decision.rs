//! What the allocator answers.

use std::net::IpAddr;

use herald_model::{IpFamily, ServiceKey};

use crate::request::Port;

/// The answer to a [`Request`](crate::Request): what the Service has from now on, and what is worth
/// telling its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What the Service has from now on.
    pub outcome: Outcome,
    /// What happened on the way, in order, each an event of compat.md 3.6.
    pub notices: Vec<Notice>,
    /// Other Services whose outcome may now differ, because this one let go of an address or
    /// changed how it shares one; the caller converges each of them again. Sorted, without repeats.
    pub revisit: Vec<ServiceKey>,
}

/// What a Service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// These addresses.
    Assigned(Assignment),
    /// None, for this reason; its status is to be empty.
    Pending(Reason),
}

/// The addresses of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The pool that all of them are from.
    pub pool: String,
    /// One address, or one of each family: in the order of the request if it named addresses, else
    /// IPv4 first.
    pub addresses: Vec<IpAddr>,
}

/// Something that happened while a request was decided and that the Service's owner should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Addresses were given (`IPAllocated`).
    Allocated(Vec<IpAddr>),
    /// The second family was added to a `PreferDualStack` Service (`IPAllocated`).
    AllocatedAdditional(IpAddr),
    /// The second family could not be added (`AdditionalAssignFailed`).
    AdditionalFailed(Reason),
    /// What the Service held is no longer allowed and was taken from it (`ClearAssignment`).
    Cleared {
        /// The addresses it held.
        addresses: Vec<IpAddr>,
        /// Why it may not keep them.
        reason: Reason,
    },
}

/// Why a Service has no address, or may not keep or share one. `Display` gives the sentence that
/// goes into events and conditions; [`Reason::name`] the word that goes into a condition's reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no pool at all.
    #[error("no IPAddressPool is configured: create one")]
    NoPools,
    /// No pool that the Service may use has a free address of a family it needs.
    #[error("no available IPs")]
    NoAvailableAddresses,
    /// `RequireDualStack`, but the cluster gave the Service one family.
    #[error("Service requires dual stack but not enough clusterips {0:?}")]
    NotDualStack(Vec<IpFamily>),
    /// The requested pool does not exist.
    #[error("unknown pool {0:?}")]
    UnknownPool(String),
    /// The requested pool, or the pool of a requested address, is not open to this Service.
    #[error("pool {pool:?} is not compatible with this service: {why}")]
    IncompatiblePool {
        /// The pool.
        pool: String,
        /// Which part of its `serviceAllocation` excludes the Service.
        why: Incompatibility,
    },
    /// The requested pool has no free address of the families needed.
    #[error("no available IPs in pool {pool:?}")]
    PoolExhausted {
        /// The pool.
        pool: String,
    },
    /// An address that is in no pool.
    #[error("{0} is not in any IPAddressPool: request an address of a pool, or extend a pool")]
    NotInAnyPool(IpAddr),
    /// Two requested addresses are of different pools.
    #[error("{first} and {second} are in different pools: request both from one pool")]
    DifferentPools {
        /// The first requested address.
        first: IpAddr,
        /// The one that is in another pool.
        second: IpAddr,
    },
    /// A requested address lies outside the requested pool.
    #[error("{address} is not in the requested pool {pool:?}")]
    NotInRequestedPool {
        /// The address.
        address: IpAddr,
        /// The pool asked for.
        pool: String,
    },
    /// The families of the requested addresses are not those of the Service.
    #[error(
        "requested addresses {addresses:?} do not match the families {families:?} of the service"
    )]
    FamilyMismatch {
        /// The requested addresses.
        addresses: Vec<IpAddr>,
        /// The families of the Service's cluster IPs.
        families: Vec<IpFamily>,
    },
    /// `avoidBuggyIPs` forbids the address.
    #[error("{address} ends in .0 or .255, which avoidBuggyIPs of pool {pool:?} forbids")]
    BuggyAddress {
        /// The address.
        address: IpAddr,
        /// Its pool.
        pool: String,
    },
    /// The address belongs to other Services and the sharing keys do not allow another.
    #[error("can't change sharing key for \"{service}\", address also in use by {users}: \
        share {address} with the same allow-shared-ip value and other ports, or request another",
        users = join(users))]
    NotShareable {
        /// The Service that asks.
        service: ServiceKey,
        /// The address.
        address: IpAddr,
        /// Those who have it, sorted.
        users: Vec<ServiceKey>,
    },
    /// The address is shared, but one of the ports is taken.
    #[error("port {port} is already in use on \"{address}\" by {user}")]
    PortInUse {
        /// The port that both want.
        port: Port,
        /// The address.
        address: IpAddr,
        /// The Service that has the port.
        user: ServiceKey,
    },
}

/// Which part of a pool's `serviceAllocation` excludes a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Incompatibility {
    /// `namespaces` and `namespaceSelectors` leave out the Service's namespace.
    #[error("its serviceAllocation does not include the namespace of the service")]
    Namespace,
    /// No service selector matches the Service's labels.
    #[error("none of its serviceSelectors matches the labels of the service")]
    ServiceLabels,
}

impl Reason {
    /// The reason as one CamelCase word, for a condition's `reason`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoPools => "NoPools",
            Self::NoAvailableAddresses => "NoAvailableAddresses",
            Self::NotDualStack(_) => "NotDualStack",
            Self::UnknownPool(_) => "UnknownPool",
            Self::IncompatiblePool { .. } => "IncompatiblePool",
            Self::PoolExhausted { .. } => "PoolExhausted",
            Self::NotInAnyPool(_) => "NotInAnyPool",
            Self::DifferentPools { .. } => "DifferentPools",
            Self::NotInRequestedPool { .. } => "NotInRequestedPool",
            Self::FamilyMismatch { .. } => "FamilyMismatch",
            Self::BuggyAddress { .. } => "BuggyAddress",
            Self::NotShareable { .. } => "NotShareable",
            Self::PortInUse { .. } => "PortInUse",
        }
    }
}

impl Notice {
    /// The reason of the event that tells it (compat.md 3.6).
    pub fn event_reason(&self) -> &'static str {
        match self {
            Self::Allocated(_) | Self::AllocatedAdditional(_) => "IPAllocated",
            Self::AdditionalFailed(_) => "AdditionalAssignFailed",
            Self::Cleared { .. } => "ClearAssignment",
        }
    }

    /// The message of that event, for the Service that was decided about.
    pub fn message(&self, service: &ServiceKey) -> String {
        match self {
            Self::Allocated(addresses) => {
                let quoted: Vec<_> = addresses.iter().map(|a| format!("\"{a}\"")).collect();
                format!("Assigned IP [{}]", quoted.join(" "))
            }
            Self::AllocatedAdditional(address) => format!("Assigned additional IP \"{address}\""),
            Self::AdditionalFailed(reason) => {
                format!("cannot assign additional IP in PreferDualStack: {reason}")
            }
            Self::Cleared { reason, .. } => format!(
                "current IP for \"{service}\" not allowed by config, will attempt for new IP \
                 assignment: {reason}"
            ),
        }
    }
}

fn join(keys: &[ServiceKey]) -> String {
    keys.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}
