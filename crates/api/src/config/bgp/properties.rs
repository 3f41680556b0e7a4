//! What holds of any advertisements, whatever they were before.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{Configurator, Problem};
use crate::kinds;

/// What an advertisement of the tests says.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    pool: Option<&'static str>,
    preference: u32,
    length: u8,
    length_v6: u8,
    peers: BTreeSet<String>,
    rack: Option<&'static str>,
    created: u8,
}

fn said() -> impl Strategy<Value = Said> {
    let pool = prop::option::of(prop::sample::select(vec!["v4", "both"]));
    let rack = prop::option::of(prop::sample::select(vec!["a", "b", "nowhere"]));
    let length = prop::sample::select(vec![24_u8, 32]);
    let length_v6 = prop::sample::select(vec![64_u8, 128]);
    let peers = prop::collection::btree_set("[pq]", 0..2);
    (pool, 0..3_u32, length, length_v6, peers, rack, 1..4_u8).prop_map(
        |(pool, preference, length, length_v6, peers, rack, created)| Said {
            pool,
            preference,
            length,
            length_v6,
            peers,
            rack,
            created,
        },
    )
}

impl Said {
    fn object(&self, name: &str) -> kinds::BGPAdvertisement {
        let selectors = self.rack.iter();
        let spec = json!({
            "ipAddressPools": self.pool.iter().collect::<Vec<_>>(),
            "localPref": self.preference,
            "aggregationLength": self.length,
            "aggregationLengthV6": self.length_v6,
            "peers": self.peers,
            "nodeSelectors": selectors
                .map(|rack| json!({ "matchLabels": { "rack": rack } }))
                .collect::<Vec<_>>(),
        });
        let spec = serde_json::from_value(spec).expect("valid");
        let mut object = kinds::BGPAdvertisement::new(name, spec);
        let created = format!("2026-01-0{}T00:00:00Z", self.created);
        object.metadata.creation_timestamp =
            Some(serde_json::from_value(json!(created)).expect("a time"));
        object
    }

    /// Whether the two want different preferences for a route, written without their sets.
    fn conflicts(&self, other: &Self) -> bool {
        let both = [self, other];
        let nodes = ["a", "b"].iter().any(|rack| {
            both.iter()
                .all(|said| said.rack.is_none_or(|own| own == *rack))
        });
        let peers = ["p", "q"].iter().any(|peer| {
            both.iter()
                .all(|said| said.peers.is_empty() || said.peers.contains(*peer))
        });
        let has = |pool: &str| {
            both.iter()
                .all(|said| said.pool.is_none_or(|own| own == pool))
        };
        let v4 = self.length == other.length && (has("v4") || has("both"));
        let v6 = self.length_v6 == other.length_v6 && has("both");
        self.preference != other.preference && nodes && peers && (v4 || v6)
    }
}

fn cluster() -> Resources {
    let pool = |name: &str, addresses: &[&str]| {
        let spec = serde_json::from_value(json!({ "addresses": addresses }));
        kinds::IPAddressPool::new(name, spec.expect("valid"))
    };
    let node = |name: &str, rack: &str| {
        let labels = [("rack".to_owned(), rack.to_owned())].into();
        (name.to_owned(), labels)
    };
    let v4 = pool("v4", &["192.0.2.0/24"]);
    let both = pool("both", &["198.51.100.0/24", "2001:db8::/64"]);
    Resources {
        pools: [v4, both].into_iter().collect(),
        nodes: [node("one", "a"), node("two", "b")].into(),
        ..Resources::default()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Apply(usize, Said),
    Remove(usize),
}

fn history() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        4 => (0..5_usize, said()).prop_map(|(n, said)| Step::Apply(n, said)),
        1 => (0..5_usize).prop_map(Step::Remove),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..4), 1..8)
}

fn in_use(keepers: &Configurator) -> BTreeMap<String, Advertisement> {
    let good = keepers.bgp.advertisements.good().iter();
    good.map(|(name, parsed)| (name.clone(), parsed.advertisement.clone()))
        .collect()
}

#[test]
fn one_that_gives_way_to_another_that_does_too_is_tried_again() {
    let said = |preference, length, length_v6, rack| Said {
        pool: None,
        preference,
        length,
        length_v6,
        peers: BTreeSet::new(),
        rack,
        created: 1,
    };
    let mut resources = cluster();
    let mut configurator = Configurator::default();
    let mut apply = |number: usize, said: Said| {
        let object = said.object(&format!("adv-{number}"));
        resources.bgp_advertisements.apply(object);
        resources.clone()
    };
    configurator.update(&apply(3, said(2, 32, 64, Some("b"))));
    configurator.update(&apply(2, said(0, 24, 64, Some("a"))));
    configurator.update(&apply(0, said(0, 24, 128, None)));
    apply(4, said(0, 24, 128, None));
    apply(2, said(0, 24, 128, None));
    let all = apply(0, said(2, 24, 64, None));
    configurator.update(&all);
    let used = in_use(&configurator);
    assert_eq!(used["adv-2"].aggregation_length_v6, 128);
    configurator.update(&all);
    assert_eq!(in_use(&configurator), used);
}

proptest! {
    #[test]
    fn advertisements_in_use_never_conflict_and_keep_their_place(history in history()) {
        let mut resources = cluster();
        let mut configurator = Configurator::default();
        let mut objects: BTreeMap<String, Said> = BTreeMap::new();
        for steps in history {
            let before = in_use(&configurator);
            for step in steps {
                let (Step::Apply(number, _) | Step::Remove(number)) = step;
                let name = format!("adv-{number}");
                match step {
                    Step::Apply(_, said) => {
                        resources.bgp_advertisements.apply(said.object(&name));
                        objects.insert(name, said);
                    }
                    Step::Remove(_) => {
                        resources.bgp_advertisements.remove(&name);
                        objects.remove(&name);
                    }
                }
            }
            let (_, problems) = configurator.update(&resources);
            let after = in_use(&configurator);
            let wrong = problems.iter().filter(|p| p.consequence != Consequence::Harmless);
            let bad: BTreeSet<_> = wrong.map(|Problem { name, .. }| name.clone()).collect();
            // What is used as it is does not conflict.
            let good: Vec<_> = objects.iter().filter(|(name, _)| !bad.contains(*name)).collect();
            for (index, (one, said)) in good.iter().enumerate() {
                for (other, also) in good.iter().skip(index + 1) {
                    prop_assert!(!said.conflicts(also), "{one} and {other}");
                }
            }
            // Nothing goes because of another.
            for name in before.keys().filter(|name| objects.contains_key(*name)) {
                prop_assert!(after.contains_key(name), "{name} is lost");
                if bad.contains(name) {
                    prop_assert_eq!(&after[name], &before[name]);
                }
            }
            // A problem has a cause.
            for name in &bad {
                let own = &objects[name];
                let mut known = objects.iter().filter(|(other, _)| *other != name);
                let mut versions = after.iter().filter(|(other, _)| *other != name);
                let some = known.any(|(_, said)| own.conflicts(said));
                let stale = versions.any(|(other, _)| bad.contains(other));
                prop_assert!(some || stale, "{name} is refused without a reason");
            }
            // The same again changes nothing.
            configurator.update(&resources);
            prop_assert_eq!(in_use(&configurator), after);
        }
    }
}
