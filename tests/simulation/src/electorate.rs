//! The nodes as one speaker's elections see them.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::rc::Rc;
use std::sync::Arc;

use herald_announce::{Decision, Interfaces, Node, Speaker, decide};
use herald_model::{GroupView, Labels, Member, MemberState, NodeName};
use herald_ownership::Claim;

use crate::plan::Plan;

/// What the API says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    pub(crate) draining: bool,
    pub(crate) out_of_service: bool,
}

/// The nodes, with a digest of all that elections see.
#[derive(Debug)]
pub(crate) struct Electorate {
    me: NodeName,
    nodes: Vec<Node>,
    digests: Vec<u64>,
    digest: u64,
}

/// Decisions that were made before. Speakers that see the same decide the same, so that each is
/// made once for all of them: in a cluster of a thousand they would take all the time.
#[derive(Debug, Default)]
pub(crate) struct Decisions(HashMap<(u64, usize), Rc<Decision>>);

/// More than these are not kept.
const MOST_DECISIONS: usize = 4096;

impl Electorate {
    /// All nodes are down as long as nothing is known.
    pub(crate) fn new(plan: &Plan, me: usize, facts: &[Facts]) -> Self {
        let node = |(name, facts): (&NodeName, &Facts)| Node {
            name: name.clone(),
            labels: Labels::default(),
            network_unavailable: false,
            excluded: false,
            out_of_service: facts.out_of_service,
            draining: facts.draining,
            unheard: false,
            speaker: Speaker::Down { last: None },
        };
        let nodes: Vec<_> = plan.nodes.iter().zip(facts).map(node).collect();
        let digests: Vec<_> = nodes.iter().map(digest).collect();
        Self {
            me: plan.nodes.get(me).cloned().expect("a node of the plan"),
            digest: digests.iter().fold(0, |all, one| all.wrapping_add(*one)),
            nodes,
            digests,
        }
    }

    /// Sets what the API says of a node.
    pub(crate) fn set_facts(&mut self, number: usize, facts: Facts) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.draining = facts.draining;
            node.out_of_service = facts.out_of_service;
        }
        self.redigest(number);
    }

    /// Takes over how the group looks, and who is not heard on the LAN.
    pub(crate) fn set_group(&mut self, view: &GroupView, unheard: &BTreeSet<NodeName>) {
        for number in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(number) else {
                break;
            };
            let mine = node.name == self.me;
            let known = &node.speaker;
            let speaker = if mine {
                (!says(known, &view.me)).then(|| Speaker::Live(Arc::new(view.me.clone())))
            } else {
                let member = view.members.get(&node.name);
                (!is(known, member)).then(|| speaker_of(member))
            };
            let heard = !unheard.contains(&node.name);
            if speaker.is_none() && heard != node.unheard {
                continue;
            }
            node.unheard = !heard;
            if let Some(speaker) = speaker {
                node.speaker = speaker;
            }
            self.redigest(number);
        }
    }

    fn redigest(&mut self, number: usize) {
        if let (Some(node), Some(old)) = (self.nodes.get(number), self.digests.get_mut(number)) {
            let new = digest(node);
            self.digest = self.digest.wrapping_sub(*old).wrapping_add(new);
            *old = new;
        }
    }

    /// What the election of a Service comes to on this node.
    pub(crate) fn claim(&self, plan: &Plan, service: usize, made: &mut Decisions) -> Option<Claim> {
        if made.0.len() > MOST_DECISIONS {
            made.0.clear();
        }
        let facts = plan.services.get(service)?;
        let decision = made.0.entry((self.digest, service)).or_insert_with(|| {
            let advertisements = [&plan.advertisement];
            Rc::new(decide(facts, advertisements, &self.nodes))
        });
        Some(claim(decision, &self.me))
    }
}

fn claim(decision: &Decision, me: &NodeName) -> Claim {
    let Some(owner) = decision.owner() else {
        return Claim::Nobody;
    };
    if owner.node == *me {
        return Claim::Mine {
            interfaces: Interfaces::All,
            order: decision.order.clone(),
            failback: decision.failback,
        };
    }
    Claim::Theirs {
        owner: owner.node.clone(),
        interfaces: decision.candidate(me).map(|own| own.interfaces.clone()),
        failback: decision.failback,
    }
}

fn says(known: &Speaker, state: &MemberState) -> bool {
    matches!(known, Speaker::Live(told) if **told == *state)
}

/// True if that is what the member is.
fn is(known: &Speaker, member: Option<&Member>) -> bool {
    let Some(member) = member else {
        return *known == Speaker::Down { last: None };
    };
    let same = |told: Option<&Arc<MemberState>>| told == member.state.as_ref();
    match known {
        Speaker::Live(told) => member.live && same(Some(told)),
        Speaker::Down { last } => !member.live && same(last.as_ref()),
        Speaker::Joining => member.live && member.state.is_none(),
        Speaker::Unknown { .. } => false,
    }
}

fn speaker_of(member: Option<&Member>) -> Speaker {
    let Some(member) = member else {
        return Speaker::Down { last: None };
    };
    match (member.live, member.state.clone()) {
        (true, Some(told)) => Speaker::Live(told),
        (true, None) => Speaker::Joining,
        (false, last) => Speaker::Down { last },
    }
}

/// All of a node that an election looks at.
fn digest(node: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    let of_api = (node.draining, node.out_of_service, node.unheard);
    (&node.name, of_api).hash(&mut hasher);
    std::mem::discriminant(&node.speaker).hash(&mut hasher);
    if let Some(state) = node.speaker.state() {
        state.phase.hash(&mut hasher);
        for interface in &state.interfaces {
            let facts = (&interface.name, interface.arp, interface.ndp);
            (facts, &interface.prefixes).hash(&mut hasher);
        }
    }
    hasher.finish()
}
