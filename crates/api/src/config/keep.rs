//! Fail static: of every object the version that was last good.
//!
//! Some objects exclude each other: two pools must not have an address in common. Which of them
//! goes on is settled in rounds. In a round every object, best rank first, claims what it needs;
//! one that finds its claim taken falls back on its last good version and the round is repeated.
//! The last good versions never exclude each other and rank first, so no object loses what it had
//! because of another, and the rounds end: each one but the last makes one more object fall back.
//!
//! One that fell back because of another may find that the other has fallen back too. So all of it is
//! done again with what is good by then, until that changes nothing. This ends as well: what is used as
//! it is stays so.

use std::collections::{BTreeMap, BTreeSet};

use kube::Resource;

use super::objects::Objects;
use super::problem::{Consequence, Fault, Problem};

/// An object's parsed form.
pub(super) trait Parsed: Clone + PartialEq {
    /// What the accepted objects have claimed so far.
    type Claims: Default;

    /// Claims what the object needs for itself alone; on failure nothing is claimed.
    fn claim(&self, _claims: &mut Self::Claims) -> Result<(), Fault> {
        Ok(())
    }

    /// What is wrong with it without being a reason not to use it.
    fn remarks(&self) -> &[Fault] {
        &[]
    }
}

/// The last good version of each object of a kind.
#[derive(Debug, Clone)]
pub(super) struct Keeper<T> {
    good: BTreeMap<String, T>,
}

impl<T> Default for Keeper<T> {
    fn default() -> Self {
        Self {
            good: BTreeMap::new(),
        }
    }
}

struct Candidate<'a, T> {
    name: &'a str,
    /// Nanoseconds since 1970.
    created: i128,
    parsed: Result<T, Fault>,
}

impl<T: Parsed> Keeper<T> {
    /// The versions in use, by name.
    pub(super) fn good(&self) -> &BTreeMap<String, T> {
        &self.good
    }

    /// Takes over the objects as they are now and adds what is wrong with them to `problems`.
    pub(super) fn update<K: Resource>(
        &mut self,
        kind: &'static str,
        objects: &Objects<K>,
        problems: &mut Vec<Problem>,
        parse: impl Fn(&str, &K) -> Result<T, Fault>,
    ) {
        let candidates: Vec<_> = objects
            .iter()
            .map(|(name, object)| candidate(name, object, &parse))
            .collect();
        let (accepted, faults) = loop {
            let (accepted, faults) = self.settle(&candidates);
            if accepted == self.good {
                break (accepted, faults);
            }
            self.good = accepted;
        };
        let mut tell = |name: &str, fault: Fault, consequence| {
            problems.push(Problem {
                kind,
                name: name.to_owned(),
                field: fault.field,
                message: fault.message,
                consequence,
                waits: fault.waits,
            });
        };
        for (name, parsed) in &accepted {
            if faults.contains_key(name.as_str()) {
                continue;
            }
            for remark in parsed.remarks() {
                tell(name, remark.clone(), Consequence::FieldIgnored);
            }
        }
        for (name, fault) in faults {
            let consequence = if accepted.contains_key(name) {
                Consequence::LastGood
            } else {
                Consequence::Unused
            };
            tell(name, fault, consequence);
        }
    }

    fn settle<'a>(
        &self,
        candidates: &'a [Candidate<'a, T>],
    ) -> (BTreeMap<String, T>, BTreeMap<&'a str, Fault>) {
        let mut fallen: BTreeMap<&str, Fault> = candidates
            .iter()
            .filter_map(|candidate| {
                Some((candidate.name, candidate.parsed.as_ref().err()?.clone()))
            })
            .collect();
        loop {
            let mut choices: Vec<_> = candidates
                .iter()
                .filter_map(|candidate| {
                    let good = self.good.get(candidate.name);
                    let choice = match &candidate.parsed {
                        Ok(parsed) if !fallen.contains_key(candidate.name) => parsed,
                        _ => good?,
                    };
                    let rank = (good != Some(choice), good.is_none(), candidate.created);
                    Some((rank, candidate.name, choice))
                })
                .collect();
            choices.sort_by_key(|(rank, name, _)| (*rank, *name));

            let mut claims = T::Claims::default();
            let mut accepted = BTreeMap::new();
            let mut refused = BTreeMap::new();
            for (_, name, choice) in choices {
                match choice.claim(&mut claims) {
                    Ok(()) => {
                        accepted.insert(name.to_owned(), choice.clone());
                    }
                    Err(fault) => {
                        refused.insert(name, fault);
                    }
                }
            }
            let falling: BTreeSet<&str> = refused
                .keys()
                .copied()
                .filter(|name| self.good.contains_key(*name) && !fallen.contains_key(name))
                .collect();
            if falling.is_empty() {
                fallen.append(&mut refused);
                return (accepted, fallen);
            }
            refused.retain(|name, _| falling.contains(name));
            fallen.append(&mut refused);
        }
    }
}

fn candidate<'a, K: Resource, T>(
    name: &'a str,
    object: Result<&K, &str>,
    parse: impl Fn(&str, &K) -> Result<T, Fault>,
) -> Candidate<'a, T> {
    let created = object
        .ok()
        .and_then(|object| object.meta().creation_timestamp.as_ref())
        .map_or(i128::MAX, |time| time.0.as_nanosecond());
    let parsed = match object {
        Ok(object) => parse(name, object),
        Err(error) => Err(Fault::new(
            "",
            format!("it does not have the fields of its kind: {error}"),
        )),
    };
    Candidate {
        name,
        created,
        parsed,
    }
}
