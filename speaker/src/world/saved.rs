//! What the world is made of, to be kept on disk for a start without the API.

use std::collections::BTreeSet;

use herald_api::config::bgp::BgpPeer;
use herald_model::{NodeName, ServiceKey};
use serde::{Deserialize, Serialize};

use super::{EndpointFacts, NodeFacts, PoolFacts, ServiceFacts, SliceKey, World};

/// All facts of a [`World`] that come from the API. The group is not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The Services, without endpoints; sorted by key.
    pub services: Vec<ServiceFacts>,
    /// The slices with their Services; sorted by key.
    pub slices: Vec<(SliceKey, ServiceKey, Vec<EndpointFacts>)>,
    /// The nodes.
    pub nodes: Vec<(NodeName, NodeFacts)>,
    /// The interfaces that speakers published, as far as there is no group; sorted by node.
    pub interfaces: Vec<(NodeName, BTreeSet<String>)>,
    /// The pools with their advertisements.
    pub pools: Vec<PoolFacts>,
    /// The BGP peers, without their passwords.
    pub peers: Vec<BgpPeer>,
    /// The names of those that have a password.
    pub locked_peers: BTreeSet<String>,
}

impl World {
    /// All that is known, in an order that depends on nothing else.
    pub fn export(&self) -> Saved {
        let mut services: Vec<_> = self
            .services
            .values()
            .map(|entry| {
                let mut facts = entry.facts.clone();
                facts.service.endpoints = Vec::new();
                facts
            })
            .collect();
        services.sort_unstable_by(|one, other| one.service.key.cmp(&other.service.key));
        let mut slices: Vec<_> = self
            .slices
            .facts()
            .map(|(slice, service, endpoints)| (slice.clone(), service.clone(), endpoints.clone()))
            .collect();
        slices.sort_unstable();
        let interfaces = self.nodes.interfaces();
        let mut interfaces: Vec<_> = interfaces
            .map(|(name, interfaces)| (name.clone(), interfaces.clone()))
            .collect();
        interfaces.sort_unstable();
        Saved {
            services,
            slices,
            nodes: self.nodes.facts().collect(),
            interfaces,
            pools: self.pools.facts().cloned().collect(),
            peers: self.bgp.peers().to_vec(),
            locked_peers: self.bgp.with_password(),
        }
    }

    /// Takes over what was saved, in addition to what is known. Lists that come from the API later
    /// replace it as they replace what an earlier list said.
    pub fn import(&mut self, saved: Saved) {
        self.set_pools(saved.pools);
        self.set_bgp_peers(saved.peers, saved.locked_peers);
        for (name, facts) in saved.nodes {
            self.set_node(&name, Some(facts));
        }
        for (name, interfaces) in saved.interfaces {
            self.set_interfaces(&name, Some(interfaces));
        }
        for (slice, service, endpoints) in saved.slices {
            self.set_slice(&slice, Some((service, endpoints)));
        }
        for facts in saved.services {
            let key = facts.service.key.clone();
            self.set_service(&key, Some(facts));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::tests::*;
    use super::super::{NodeFacts, Outcome};
    use super::*;

    fn rich() -> World {
        let mut world = world();
        world.set_service(&key("three"), Some(local("three", &["192.0.2.3"])));
        let by_hand = vec![endpoint(None, &["10.244.2.5"])];
        world.set_slice(&slice("three"), Some((key("three"), by_hand)));
        let facts = NodeFacts {
            draining: true,
            addresses: ["192.0.2.201".parse().expect("valid")].into(),
            pod_cidrs: ["10.244.2.0/24".parse().expect("valid")].into(),
            ..labelled("rack", "2")
        };
        world.set_node(&"n2".into(), Some(facts));
        world.set_interfaces(&"n1".into(), Some(["eth0".to_owned()].into()));
        world
    }

    fn outcomes(world: &World) -> Vec<Outcome> {
        let names = ["one", "two", "three"].into_iter();
        names.map(|name| outcome(world, name)).collect()
    }

    #[test]
    fn a_world_that_was_saved_decides_the_same() {
        let world = rich();
        let text = serde_json::to_string(&world.export()).expect("plain data");
        let mut again = World::new();
        again.import(serde_json::from_str(&text).expect("as written"));
        assert_eq!(outcomes(&again), outcomes(&world));
        assert_eq!(owner(&again, "three").as_deref(), Some("n2"));
        assert_eq!(again.export(), world.export());
        assert_eq!(dirty(&mut again), ["one", "three", "two"]);
    }

    #[test]
    fn that_a_node_is_about_to_be_switched_off_is_not_believed_later() {
        let mut world = rich();
        let switched_off = NodeFacts {
            shutting_down: true,
            ..NodeFacts::default()
        };
        let both = NodeFacts {
            draining: true,
            ..switched_off.clone()
        };
        world.set_node(&"n1".into(), Some(switched_off));
        world.set_node(&"n2".into(), Some(both));
        let draining = |world: &World, name: &str| world.node(&name.into()).map(|n| n.draining);
        assert_eq!(draining(&world, "n1"), Some(true));
        let bytes = postcard::to_stdvec(&world.export()).expect("plain data");
        let mut again = World::new();
        again.import(postcard::from_bytes(&bytes).expect("as written"));
        assert_eq!(draining(&again, "n1"), Some(false), "it may have come back");
        assert_eq!(draining(&again, "n2"), Some(true), "somebody drains it");
        world.set_node(&"n1".into(), Some(NodeFacts::default()));
        assert_eq!(draining(&world, "n1"), Some(false));
    }

    #[test]
    fn the_first_lists_of_the_api_replace_what_was_saved_and_mark_only_what_differs() {
        let mut world = World::new();
        world.import(rich().export());
        world.take_outcomes();
        // The same lists, but that Service `three` and its slice were deleted meanwhile.
        let real = rich().export();
        let (one, two) = (key("one"), key("two"));
        world.retain_services(&[one.clone(), two.clone()].into());
        for facts in real
            .services
            .iter()
            .filter(|f| f.service.key != key("three"))
        {
            world.set_service(&facts.service.key, Some(facts.clone()));
        }
        let present: HashSet<_> = [slice("one"), slice("two")].into();
        world.retain_slices(&present);
        for (name, service, endpoints) in real.slices {
            if present.contains(&name) {
                world.set_slice(&name, Some((service, endpoints)));
            }
        }
        world.retain_nodes(&["n1".into(), "n2".into()].into());
        for (name, facts) in real.nodes {
            world.set_node(&name, Some(facts));
        }
        world.set_pools(real.pools);
        assert_eq!(dirty(&mut world), ["three"]);
        assert_eq!(world.export().services.len(), 2);
        assert_eq!(world.export().slices.len(), 2);
    }
}
