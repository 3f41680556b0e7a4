//! What elections see of a node, to find out what a change of it means.

use std::sync::Arc;

use herald_announce::{L2Advertisement, Node, Speaker};
use herald_model::MemberState;

/// True if nothing is different but how ready the node is: it can announce the same as before.
pub(super) fn changed_phase(before: Option<&Node>, after: Option<&Node>) -> bool {
    let (Some(before), Some(after)) = (before, after) else {
        return false;
    };
    let (Speaker::Live(told), Speaker::Live(tells)) = (&before.speaker, &after.speaker) else {
        return false;
    };
    let mut alike = MemberState::clone(told);
    alike.phase = tells.phase;
    Speaker::Live(Arc::new(alike)).elects_like(&after.speaker)
        && (before.unheard, before.excluded) == (after.unheard, after.excluded)
        && (before.network_unavailable, before.out_of_service)
            == (after.network_unavailable, after.out_of_service)
        && before.labels == after.labels
}

/// True if nothing is different but that the node's speaker left the group.
pub(super) fn went_down(before: Option<&Node>, after: Option<&Node>) -> bool {
    let (Some(before), Some(after)) = (before, after) else {
        return false;
    };
    let Speaker::Down { last } = &after.speaker else {
        return false;
    };
    // Its place among those that would be candidates must be the same.
    let left = match (&before.speaker, last) {
        (Speaker::Live(state), Some(last)) => {
            Speaker::Live(Arc::clone(state)).elects_like(&Speaker::Live(Arc::clone(last)))
        }
        _ => false,
    };
    left && (before.unheard, before.draining, before.out_of_service)
        == (after.unheard, after.draining, after.out_of_service)
        && (before.network_unavailable, before.excluded)
            == (after.network_unavailable, after.excluded)
        && before.labels == after.labels
}

/// All that an election over these advertisements sees of a node.
#[derive(PartialEq)]
pub(super) struct View<'a> {
    flags: [bool; 5],
    speaker: Seen<'a>,
    scores: Vec<Option<u64>>,
}

/// A speaker, compared by what an election sees of it.
struct Seen<'a>(&'a Speaker);

impl PartialEq for Seen<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.elects_like(other.0)
    }
}

pub(super) fn view<'a>(
    node: Option<&'a Node>,
    advertisements: &[L2Advertisement],
) -> Option<View<'a>> {
    let node = node?;
    let scores = advertisements
        .iter()
        .map(|ad| ad.covers_node(node).then(|| ad.preference(node)));
    Some(View {
        flags: [
            node.network_unavailable,
            node.excluded,
            node.out_of_service,
            node.draining,
            node.unheard,
        ],
        speaker: Seen(&node.speaker),
        scores: scores.collect(),
    })
}
