//! The node that an endpoint without `nodeName` is on.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use herald_model::{Cidr, NodeName};

/// Finds the node of an address: of endpoints made by hand, which have an address only. Made anew
/// when nodes change; a lookup does not grow with the number of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeLocator {
    /// The nodes' own addresses and the prefixes of their pods; an address of the node is a prefix
    /// of full length. `None` if several nodes claim the prefix.
    prefixes: HashMap<Cidr, Option<NodeName>>,
    /// The lengths that occur.
    lengths: BTreeSet<u8>,
}

impl NodeLocator {
    /// Adds a node with the addresses of its status and the prefixes of `spec.podCIDRs`.
    pub fn add(
        &mut self,
        node: &NodeName,
        addresses: impl IntoIterator<Item = IpAddr>,
        pod_prefixes: impl IntoIterator<Item = Cidr>,
    ) {
        let addresses = addresses.into_iter().filter_map(host);
        for prefix in addresses.chain(pod_prefixes) {
            self.lengths.insert(prefix.prefix_len());
            self.prefixes
                .entry(prefix)
                .and_modify(|owner| {
                    if owner.as_ref() != Some(node) {
                        *owner = None;
                    }
                })
                .or_insert_with(|| Some(node.clone()));
        }
    }

    /// The node that has the address or the longest pod prefix around it; `None` if no node has,
    /// or several have the same.
    pub fn locate(&self, address: IpAddr) -> Option<&NodeName> {
        self.lengths
            .iter()
            .rev()
            .filter_map(|length| Cidr::new(address, *length))
            .find_map(|prefix| self.prefixes.get(&prefix))?
            .as_ref()
    }
}

/// The prefix that holds this address only.
fn host(address: IpAddr) -> Option<Cidr> {
    Cidr::new(address, if address.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    fn prefix(text: &str, length: u8) -> Cidr {
        Cidr::new(ip(text), length).expect("valid")
    }

    fn locator() -> NodeLocator {
        let mut locator = NodeLocator::default();
        locator.add(
            &"a".into(),
            [ip("192.0.2.1"), ip("2001:db8::1")],
            [prefix("10.244.1.0", 24), prefix("fd00:1::", 64)],
        );
        locator.add(
            &"b".into(),
            [ip("192.0.2.2")],
            [prefix("10.244.2.0", 24), prefix("10.244.1.128", 25)],
        );
        locator
    }

    fn locate(locator: &NodeLocator, address: &str) -> Option<String> {
        let node = locator.locate(ip(address));
        node.map(ToString::to_string)
    }

    #[test]
    fn addresses_and_pod_prefixes_of_both_families_lead_to_the_node() {
        let locator = locator();
        for (address, node) in [
            ("192.0.2.1", Some("a")),
            ("192.0.2.2", Some("b")),
            ("192.0.2.3", None),
            ("2001:db8::1", Some("a")),
            ("10.244.1.5", Some("a")),
            ("10.244.2.5", Some("b")),
            ("10.244.3.5", None),
            ("fd00:1::77", Some("a")),
            ("fd00:2::77", None),
        ] {
            assert_eq!(locate(&locator, address).as_deref(), node, "{address}");
        }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let locator = locator();
        assert_eq!(locate(&locator, "10.244.1.127").as_deref(), Some("a"));
        assert_eq!(locate(&locator, "10.244.1.128").as_deref(), Some("b"));
    }

    #[test]
    fn what_two_nodes_claim_is_on_neither() {
        let mut locator = locator();
        locator.add(&"c".into(), [ip("192.0.2.1")], []);
        assert_eq!(locate(&locator, "192.0.2.1"), None);
        // To say it again is no second claim.
        locator.add(&"b".into(), [ip("192.0.2.2")], []);
        assert_eq!(locate(&locator, "192.0.2.2").as_deref(), Some("b"));
    }
}
