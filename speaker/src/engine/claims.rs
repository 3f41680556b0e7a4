//! What the elections of all Services come to for each address on this node.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use herald_announce::{Decision, Failback, Interfaces};
use herald_model::{NodeName, ServiceKey};
use herald_ownership::Claim;

use crate::world::Outcome;

/// The claims of all Services. An address that several share is claimed as long as one of them
/// claims it; they have agreed on one owner.
#[derive(Debug)]
pub(super) struct Claims {
    me: NodeName,
    /// Others see what this node has: it may keep what the election gives one of them.
    grouped: bool,
    services: HashMap<ServiceKey, Vec<IpAddr>>,
    by_address: HashMap<IpAddr, BTreeMap<ServiceKey, Claim>>,
}

impl Claims {
    /// Nothing is claimed yet. Without a group nobody can tell whether another has kept an address,
    /// so none is sticky.
    pub(super) fn new(me: NodeName, grouped: bool) -> Self {
        Self {
            me,
            grouped,
            services: HashMap::new(),
            by_address: HashMap::new(),
        }
    }

    /// Takes over the outcome for a Service with these addresses. Gives what is claimed now of
    /// every address that this may have changed; `None` if no Service has it any longer.
    pub(super) fn settle(
        &mut self,
        key: &ServiceKey,
        addresses: &[IpAddr],
        outcome: &Outcome,
    ) -> Vec<(IpAddr, Option<Claim>)> {
        let claim = match outcome {
            Outcome::NotOurs(_) => None,
            Outcome::Decided(decision) => Some(self.claim(decision)),
        };
        let now = claim.as_ref().map_or(&[][..], |_| addresses);
        let before = if now.is_empty() {
            self.services.remove(key)
        } else {
            self.services.insert(key.clone(), now.to_vec())
        };
        let mut touched = BTreeSet::new();
        for address in before.unwrap_or_default() {
            if let Some(claims) = self.by_address.get_mut(&address) {
                claims.remove(key);
            }
            touched.insert(address);
        }
        if let Some(claim) = claim {
            for address in now {
                let claims = self.by_address.entry(*address).or_default();
                claims.insert(key.clone(), claim.clone());
                touched.insert(*address);
            }
        }
        let settled = touched.into_iter().map(|address| {
            let claims = self.by_address.get(&address).into_iter().flatten();
            let merged = claims.map(|(_, claim)| claim.clone()).reduce(merge);
            if merged.is_none() {
                self.by_address.remove(&address);
            }
            (address, merged)
        });
        settled.collect()
    }

    /// All addresses that some Service has.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.keys().copied()
    }

    /// True if some Service has this address.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// The Services that have this address.
    pub(super) fn services_of(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.by_address
            .get(&address)
            .into_iter()
            .flat_map(BTreeMap::keys)
    }

    /// What a decision comes to on this node.
    fn claim(&self, decision: &Decision) -> Claim {
        let Some(owner) = decision.owner() else {
            return Claim::Nobody;
        };
        let failback = match decision.failback {
            Failback::Sticky if self.grouped => Failback::Sticky,
            Failback::Sticky | Failback::Revertive => Failback::Revertive,
        };
        if owner.node == self.me {
            return Claim::Mine {
                interfaces: owner.interfaces.clone(),
                order: decision.order.clone(),
                failback,
            };
        }
        let mut candidates = decision.candidates.iter();
        let own = candidates.find(|candidate| candidate.node == self.me);
        Claim::Theirs {
            owner: owner.node.clone(),
            interfaces: own.map(|candidate| candidate.interfaces.clone()),
            failback,
        }
    }
}

/// What two Services with the same address come to.
fn merge(one: Claim, other: Claim) -> Claim {
    match (one, other) {
        (Claim::Nobody, claim) | (claim, Claim::Nobody) => claim,
        (
            Claim::Mine {
                interfaces,
                order,
                failback,
            },
            Claim::Mine {
                interfaces: more,
                failback: too,
                ..
            },
        ) => Claim::Mine {
            interfaces: union(interfaces, more),
            order,
            failback: failback.max(too),
        },
        (mine @ Claim::Mine { .. }, _) | (_, mine @ Claim::Mine { .. }) => mine,
        (
            Claim::Theirs {
                owner,
                interfaces,
                failback,
            },
            Claim::Theirs {
                interfaces: more,
                failback: too,
                ..
            },
        ) => Claim::Theirs {
            owner,
            interfaces: match (interfaces, more) {
                (Some(one), Some(other)) => Some(union(one, other)),
                (one, other) => one.or(other),
            },
            failback: failback.max(too),
        },
    }
}

fn union(one: Interfaces, other: Interfaces) -> Interfaces {
    match (one, other) {
        (Interfaces::Named(mut one), Interfaces::Named(other)) => {
            one.extend(other);
            Interfaces::Named(one)
        }
        _ => Interfaces::All,
    }
}

#[cfg(test)]
mod tests {
    use herald_announce::Candidate;
    use herald_model::Phase;

    use super::*;
    use crate::world::NotOurs;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("shop", name)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("valid")
    }

    fn named(names: &[&str]) -> Interfaces {
        Interfaces::Named(names.iter().map(|n| (*n).to_owned()).collect())
    }

    /// The candidates are these nodes in this order.
    fn decided(nodes: &[&str], interfaces: &Interfaces, failback: Failback) -> Outcome {
        let candidate = |node: &&str| Candidate {
            node: (*node).into(),
            score: 0,
            phase: Phase::Ready,
            interfaces: interfaces.clone(),
        };
        Outcome::Decided(Decision {
            candidates: nodes.iter().map(candidate).collect(),
            order: nodes.iter().map(|node| (*node).into()).collect(),
            failback,
            ..Decision::default()
        })
    }

    fn claims() -> Claims {
        Claims::new("me".into(), true)
    }

    #[test]
    fn without_a_group_no_address_is_sticky() {
        let mut claims = Claims::new("me".into(), false);
        let outcome = decided(&["other", "me"], &Interfaces::All, Failback::Sticky);
        let settled = claims.settle(&key("a"), &[address("192.0.2.1")], &outcome);
        assert!(
            matches!(
                settled[..],
                [(
                    _,
                    Some(Claim::Theirs {
                        failback: Failback::Revertive,
                        ..
                    })
                )]
            ),
            "{settled:?}"
        );
    }

    #[test]
    fn the_first_candidate_claims_and_the_others_know_whose_it_is() {
        let (mut claims, one) = (claims(), [address("192.0.2.1")]);
        let mine = decided(&["me", "other"], &Interfaces::All, Failback::Sticky);
        let settled = claims.settle(&key("a"), &one, &mine);
        let wanted = Claim::Mine {
            interfaces: Interfaces::All,
            order: vec!["me".into(), "other".into()],
            failback: Failback::Sticky,
        };
        assert_eq!(settled, [(one[0], Some(wanted))]);
        let candidate = decided(&["other", "me"], &named(&["eth0"]), Failback::Sticky);
        let settled = claims.settle(&key("a"), &one, &candidate);
        let theirs = |interfaces, failback| Claim::Theirs {
            owner: "other".into(),
            interfaces,
            failback,
        };
        let wanted = theirs(Some(named(&["eth0"])), Failback::Sticky);
        assert_eq!(settled, [(one[0], Some(wanted))]);
        let none = decided(&["other"], &Interfaces::All, Failback::Revertive);
        let settled = claims.settle(&key("a"), &one, &none);
        assert_eq!(settled, [(one[0], Some(theirs(None, Failback::Revertive)))]);
        let nobody = decided(&[], &Interfaces::All, Failback::Revertive);
        let settled = claims.settle(&key("a"), &one, &nobody);
        assert_eq!(settled, [(one[0], Some(Claim::Nobody))]);
    }

    #[test]
    fn a_shared_address_is_claimed_until_the_last_service_goes() {
        let (mut claims, shared) = (claims(), [address("192.0.2.1")]);
        let here = |name| decided(&["me"], &named(&[name]), Failback::Revertive);
        claims.settle(&key("a"), &shared, &here("eth0"));
        let both = claims.settle(&key("b"), &shared, &here("eth1"));
        let interfaces = |settled: &[(IpAddr, Option<Claim>)]| match settled {
            [(_, Some(Claim::Mine { interfaces, .. }))] => Some(interfaces.clone()),
            _ => None,
        };
        assert_eq!(interfaces(&both), Some(named(&["eth0", "eth1"])));
        assert_eq!(claims.services_of(shared[0]).count(), 2);
        let gone = Outcome::NotOurs(NotOurs::NotLoadBalancer);
        let one = claims.settle(&key("a"), &[], &gone);
        assert_eq!(interfaces(&one), Some(named(&["eth1"])));
        assert_eq!(claims.settle(&key("b"), &[], &gone), [(shared[0], None)]);
        assert!(claims.by_address.is_empty() && claims.services.is_empty());
    }

    #[test]
    fn a_service_that_must_not_be_announced_takes_nothing_from_one_that_shares_its_address() {
        let (mut claims, shared) = (claims(), [address("192.0.2.1")]);
        let mine = decided(&["me"], &Interfaces::All, Failback::Revertive);
        let nobody = decided(&[], &Interfaces::All, Failback::Revertive);
        claims.settle(&key("b"), &shared, &mine);
        let settled = claims.settle(&key("a"), &shared, &nobody);
        assert!(
            matches!(settled[..], [(_, Some(Claim::Mine { .. }))]),
            "{settled:?}"
        );
    }

    #[test]
    fn an_address_that_changes_is_let_go_and_the_new_one_claimed() {
        let mut claims = claims();
        let mine = decided(&["me"], &Interfaces::All, Failback::Revertive);
        let both = [address("192.0.2.1"), address("2001:db8::1")];
        claims.settle(&key("a"), &both, &mine);
        let now = [address("192.0.2.2"), both[1]];
        let settled = claims.settle(&key("a"), &now, &mine);
        let claimed: Vec<_> = settled.iter().map(|(a, c)| (*a, c.is_some())).collect();
        assert_eq!(claimed, [(both[0], false), (now[0], true), (both[1], true)]);
    }
}
