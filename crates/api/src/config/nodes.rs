//! Whether two objects may meet on a node.

use std::collections::{BTreeMap, BTreeSet};

use herald_model::{LabelSelector, Labels};

/// The nodes that an object selects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NodeSet {
    /// All, or nobody knows.
    All,
    /// These.
    These(BTreeSet<String>),
}

impl NodeSet {
    /// The nodes among `nodes` that one of the selectors matches. As long as no node is known any
    /// object may be on any node.
    pub(super) fn selected(selectors: &[LabelSelector], nodes: &BTreeMap<String, Labels>) -> Self {
        if selectors.is_empty() || nodes.is_empty() {
            return Self::All;
        }
        let matching = nodes.iter().filter(|(_, labels)| {
            let mut selectors = selectors.iter();
            selectors.any(|selector| selector.matches(labels))
        });
        Self::These(matching.map(|(name, _)| name.clone()).collect())
    }

    /// True if there is a node in both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::All, Self::These(nodes)) | (Self::These(nodes), Self::All) => !nodes.is_empty(),
            (Self::These(nodes), Self::These(others)) => !nodes.is_disjoint(others),
        }
    }
}
