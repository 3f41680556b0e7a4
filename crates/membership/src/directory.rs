//! Whose address is whose.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use herald_model::NodeName;

use crate::ProblemKind;
use crate::identity::same;

/// The nodes of the cluster, and this one.
#[derive(Debug)]
pub(crate) struct Directory {
    me: NodeName,
    address: SocketAddr,
    nodes: BTreeMap<NodeName, BTreeSet<IpAddr>>,
    owners: BTreeMap<IpAddr, NodeName>,
}

impl Directory {
    pub(crate) fn new(me: NodeName, address: SocketAddr) -> Self {
        Self {
            me,
            address,
            nodes: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    pub(crate) fn nodes(&self) -> &BTreeMap<NodeName, BTreeSet<IpAddr>> {
        &self.nodes
    }

    pub(crate) fn set(&mut self, nodes: BTreeMap<NodeName, BTreeSet<IpAddr>>) {
        self.owners = nodes
            .iter()
            .flat_map(|(name, addresses)| {
                addresses
                    .iter()
                    .map(|address| (address.to_canonical(), name.clone()))
            })
            .collect();
        self.nodes = nodes;
    }

    /// Whether there may be a member at this address: a node has it, or none is known.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        address.port() == self.address.port()
            && (self.owners.is_empty() || self.owners.contains_key(&ip))
    }

    /// Whether a member of this name may be at this address: one of its node, or, if none is known,
    /// of no other. All members have the same port.
    pub(crate) fn check(&self, name: &NodeName, address: SocketAddr) -> Result<(), ProblemKind> {
        if *name == self.me {
            return if same(address, self.address) {
                Ok(())
            } else {
                Err(ProblemKind::OwnName)
            };
        }
        let ip = address.ip().to_canonical();
        if address.port() != self.address.port() || ip.is_unspecified() || ip.is_multicast() {
            return Err(ProblemKind::WrongAddress);
        }
        let own = self.nodes.get(name).filter(|own| !own.is_empty());
        let allowed = match own {
            Some(own) => own.iter().any(|one| one.to_canonical() == ip),
            None => self.owners.get(&ip).is_none_or(|owner| owner == name),
        };
        if allowed {
            Ok(())
        } else {
            Err(ProblemKind::WrongAddress)
        }
    }
}
