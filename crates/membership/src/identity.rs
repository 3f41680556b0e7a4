//! Who a member is to the SWIM protocol.

use std::net::SocketAddr;

use herald_model::NodeName;
use serde::{Deserialize, Deserializer, Serialize};

/// A run of a speaker as a member of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The node. Two identities with one name are two runs of one member.
    #[serde(deserialize_with = "bounded_name")]
    pub(crate) name: NodeName,
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// The greater is the later.
    pub(crate) generation: u64,
}

impl foca::Identity for Identity {
    type Addr = NodeName;

    /// The group renews its identity itself: it knows which generation the others have seen.
    fn renew(&self) -> Option<Self> {
        None
    }

    fn addr(&self) -> NodeName {
        self.name.clone()
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.generation, self.address) > (adversary.generation, adversary.address)
    }
}

/// The name of a node is that of a DNS subdomain: at most 253 bytes.
fn bounded_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeName, D::Error> {
    let name = <&str>::deserialize(deserializer)?;
    if name.is_empty() || name.len() > 253 {
        return Err(serde::de::Error::custom("a node name has 1 to 253 bytes"));
    }
    Ok(NodeName::new(name))
}

/// Whether two addresses are one: IPv4 may be mapped, scope and flow do not count.
pub(crate) fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
}
