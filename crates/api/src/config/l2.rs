//! `L2Advertisement`s: compat.md 1.2 and 1.8, rule 5.

use herald_announce::{L2Advertisement, PreferredNodes, UnknownFailback};

use super::advertised::PoolSelection;
use super::annotated::Annotations;
use super::keep::Parsed;
use super::problem::Fault;
use super::selectors::{label_selector, no_repetition, strictly_distinct_selectors};
use crate::annotations::FAILBACK;
use crate::kinds;

/// An advertisement that is valid, before its pools are looked up.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ParsedL2Advertisement {
    pub(super) pools: PoolSelection,
    pub(super) advertisement: L2Advertisement,
    /// Annotations that say nothing that is known.
    remarks: Vec<Fault>,
}

impl Parsed for ParsedL2Advertisement {
    type Claims = ();

    fn remarks(&self) -> &[Fault] {
        &self.remarks
    }
}

impl ParsedL2Advertisement {
    pub(super) fn parse(name: &str, object: &kinds::L2Advertisement) -> Result<Self, Fault> {
        let spec = &object.spec;
        let pools = PoolSelection::parse(&spec.ip_address_pools, &spec.ip_address_pool_selectors)?;
        let mut annotations = Annotations::of(object);
        let failback = annotations.parsed(FAILBACK, |text| {
            text.parse()
                .map_err(|error: UnknownFailback| error.to_string())
        });
        let preferred = spec.preferred_node_selectors.iter().enumerate();
        Ok(Self {
            pools,
            advertisement: L2Advertisement {
                name: name.to_owned(),
                node_selectors: strictly_distinct_selectors(
                    "spec.nodeSelectors",
                    &spec.node_selectors,
                )?,
                service_selectors: strictly_distinct_selectors(
                    "spec.serviceSelectors",
                    &spec.service_selectors,
                )?,
                interfaces: spec.interfaces.iter().cloned().collect(),
                preferred_nodes: preferred
                    .map(|(index, entry)| preferred_nodes(index, entry))
                    .collect::<Result<_, _>>()?,
                failback,
            },
            remarks: annotations.remarks(),
        })
    }
}

fn preferred_nodes(
    index: usize,
    entry: &kinds::PreferredNodeSelector,
) -> Result<PreferredNodes, Fault> {
    let field = format!("spec.preferredNodeSelectors[{index}]");
    let weight = u32::try_from(entry.weight)
        .ok()
        .filter(|weight| (1..=100).contains(weight))
        .ok_or_else(|| {
            let message = format!("invalid weight {}: use 1 to 100", entry.weight);
            Fault::new(format!("{field}.weight"), message)
        })?;
    let preference = format!("{field}.preference");
    no_repetition(&preference, &entry.preference)?;
    let selector = label_selector(&preference, &entry.preference)
        .map_err(|error| Fault::new(&preference, error.source.to_string()))?;
    Ok(PreferredNodes { weight, selector })
}
