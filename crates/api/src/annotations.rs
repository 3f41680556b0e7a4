//! Annotations, labels and conditions by name (compat.md 2.1, 2.2).

use std::collections::BTreeMap;

/// An annotation of a Service that has a current and a deprecated key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotation {
    /// The key under `metallb.io/`.
    pub key: &'static str,
    /// The key under `metallb.universe.tf/`, read if the current one is absent.
    pub deprecated_key: &'static str,
}

/// The pool that the address must come from.
pub const ADDRESS_POOL: Annotation = Annotation {
    key: "metallb.io/address-pool",
    deprecated_key: "metallb.universe.tf/address-pool",
};

/// The requested addresses: one, or one of each family, with commas between.
pub const LOAD_BALANCER_IPS: Annotation = Annotation {
    key: "metallb.io/loadBalancerIPs",
    deprecated_key: "metallb.universe.tf/loadBalancerIPs",
};

/// The key that Services which share an address have in common.
pub const ALLOW_SHARED_IP: Annotation = Annotation {
    key: "metallb.io/allow-shared-ip",
    deprecated_key: "metallb.universe.tf/allow-shared-ip",
};

/// Written by the controller: the pool that the addresses came from.
pub const IP_ALLOCATED_FROM_POOL: Annotation = Annotation {
    key: "metallb.io/ip-allocated-from-pool",
    deprecated_key: "metallb.universe.tf/ip-allocated-from-pool",
};

/// The condition of a Service that says whether it has its addresses, and why not.
pub const CONDITION_ADDRESS_ASSIGNED: &str = "herald.io/AddressAssigned";

/// The condition of a `BGPPeer` that says whether all nodes that are to have a session have one.
pub const CONDITION_ESTABLISHED: &str = "herald.io/Established";

/// The condition of a `BGPPeer` that says whether the router learns of a dead node within a fraction of
/// a second, and what that costs.
pub const CONDITION_FAST_FAILURE_DETECTION: &str = "herald.io/FastFailureDetection";

/// A label that keeps a node from announcing, whatever its value.
pub const LABEL_EXCLUDE_NODE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The annotation of a Service or an `L2Advertisement` that says whether an address goes back to the
/// node that the election prefers: `revertive` (the default) or `sticky`. The Service's wins.
pub const FAILBACK: &str = "herald.io/failback";

/// The annotation of a `BGPAdvertisement` that sets `MULTI_EXIT_DISC`: 0 to 4294967295. Routers prefer
/// the lowest among paths from one neighbouring system.
pub const BGP_MED: &str = "herald.io/bgp-med";

/// The annotation of a `BGPAdvertisement` that says how many more times our number is put before the
/// path: 0 to 16.
pub const BGP_AS_PATH_PREPEND: &str = "herald.io/bgp-as-path-prepend";

/// The annotation of a `BGPAdvertisement` that announces Services of external traffic policy `Local`
/// with the number of their endpoints on the node as link bandwidth: `true` or `false` (the default).
pub const BGP_LINK_BANDWIDTH: &str = "herald.io/bgp-link-bandwidth";

/// The annotation of a `BGPAdvertisement` with an aggregation length that announces Services of
/// external traffic policy `Local` with their host route as well, so that no other node's aggregate
/// attracts their traffic: `true` or `false` (the default).
pub const BGP_LOCAL_HOST_ROUTES: &str = "herald.io/bgp-local-host-routes";

/// The annotation of a `BGPAdvertisement` that limits how many nodes announce a Service by it: 1 or
/// more.
pub const BGP_MAX_NODES: &str = "herald.io/bgp-max-nodes";

/// The annotation of a `BGPPeer` without address and interface: the peer is where the node's default
/// route goes, `ipv4` or `ipv6`.
pub const BGP_PEER_GATEWAY: &str = "herald.io/bgp-peer-gateway";

/// The annotation of a `BGPPeer` that drops packets from farther away than so many hops (RFC 5082):
/// 1 to 254. The peer has to do the same.
pub const BGP_TTL_SECURITY: &str = "herald.io/bgp-ttl-security";

/// The annotation of a `BGPPeer` that says who connects: `outbound` (we do, the default), `inbound`
/// (the peer does), or `both`.
pub const BGP_CONNECTION: &str = "herald.io/bgp-connection";

/// The annotation of an `IPAddressPool` that lets a change of it take addresses from Services that have
/// them, which the webhook refuses otherwise: `true`.
pub const ALLOW_ADDRESS_LOSS: &str = "herald.io/allow-address-loss";

/// A label or taint of a node, whatever its value and effect, that moves addresses away from it.
pub const DRAIN: &str = "herald.io/drain";

/// Taints, whatever their value and effect, of nodes that are about to be taken away: by us, Cluster
/// Autoscaler, and Karpenter. Cordoning alone (`spec.unschedulable`) moves nothing.
pub const DRAIN_TAINTS: [&str; 3] = [
    DRAIN,
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
];

/// The taint of a node that the cloud's node controller knows to be switched off.
pub const TAINT_SHUTDOWN: &str = "node.cloudprovider.kubernetes.io/shutdown";

/// The taint of a node that an operator has declared dead. Nothing that may still run there counts.
pub const TAINT_OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The label of a status object: the node that it speaks of.
pub const LABEL_NODE: &str = "metallb.io/node";

/// The label of a status object: the name of the Service that it speaks of.
pub const LABEL_SERVICE_NAME: &str = "metallb.io/service-name";

/// The label of a status object: the namespace of the Service that it speaks of.
pub const LABEL_SERVICE_NAMESPACE: &str = "metallb.io/service-namespace";

/// The label of a `BGPSessionState`: the node.
pub const LABEL_SESSION_NODE: &str = "frrk8s.metallb.io/node";

/// The label of a `BGPSessionState`: the router's address.
pub const LABEL_SESSION_PEER: &str = "frrk8s.metallb.io/peer";

/// The label of a `BGPSessionState`: the VRF, empty for none.
pub const LABEL_SESSION_VRF: &str = "frrk8s.metallb.io/vrf";

/// The annotation of a `BGPSessionState`: the name of the `BGPPeer`.
pub const SESSION_PEER_NAME: &str = "herald.io/bgp-peer";

/// The label of a `ConfigurationState`: `controller` or `speaker`.
pub const LABEL_COMPONENT_TYPE: &str = "metallb.io/component-type";

/// The label of a `ConfigurationState`: the node of the speaker.
pub const LABEL_NODE_NAME: &str = "metallb.io/node-name";

/// The value of an annotation and where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The value as written.
    pub value: &'a str,
    /// The deprecated key, if that is where the value is; a Warning event is due then.
    pub deprecated_key: Option<&'static str>,
}

impl Annotation {
    /// The annotation's value; the current key wins over the deprecated one.
    pub fn find<'a>(&self, annotations: Option<&'a BTreeMap<String, String>>) -> Option<Found<'a>> {
        let annotations = annotations?;
        let current = annotations.get(self.key).map(|value| Found {
            value,
            deprecated_key: None,
        });
        current.or_else(|| {
            annotations.get(self.deprecated_key).map(|value| Found {
                value,
                deprecated_key: Some(self.deprecated_key),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_current_key_wins_and_the_deprecated_one_is_reported() {
        let both = annotations(&[
            ("metallb.io/address-pool", "new"),
            ("metallb.universe.tf/address-pool", "old"),
        ]);
        let old = annotations(&[("metallb.universe.tf/address-pool", "old")]);
        let find = |annotations| ADDRESS_POOL.find(Some(annotations));
        assert_eq!(
            find(&both),
            Some(Found {
                value: "new",
                deprecated_key: None
            })
        );
        assert_eq!(
            find(&old),
            Some(Found {
                value: "old",
                deprecated_key: Some("metallb.universe.tf/address-pool")
            })
        );
        assert_eq!(find(&BTreeMap::new()), None);
        assert_eq!(ADDRESS_POOL.find(None), None);
    }

    #[test]
    fn an_empty_value_is_a_value() {
        let empty = annotations(&[
            ("metallb.io/allow-shared-ip", ""),
            ("metallb.universe.tf/allow-shared-ip", "old"),
        ]);
        let found = ALLOW_SHARED_IP.find(Some(&empty)).expect("present");
        assert_eq!(found.value, "");
    }
}
