//! What a change of an object would do to the configuration, before it is made (compat.md 1.8).
//!
//! There is no second set of rules: the stored objects and the changed one are put before the
//! [`Configurator`] that both daemons use, and what it says of the changed one is the answer. Three
//! things are left to time, as in MetalLB: a BFD profile, the name of a community, and a Secret may be
//! made after the object that names them. The first two are warned of; Secrets are not looked at.

mod change;
mod later;

use kube::ResourceExt as _;

use super::{Configurator, Consequence, Problem, Resources};

pub use change::{Change, Object};
pub use later::trust_secrets;

/// The answer to a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why it must not be made; empty if it may.
    pub errors: Vec<String>,
    /// What its author should know, made or not.
    pub warnings: Vec<String>,
}

/// Judges a change, given what is stored: with or without the object as it was. `namespace` is the
/// one that the configuration is read from.
pub fn review(stored: &Resources, namespace: &str, change: &Change) -> Verdict {
    match change {
        Change::Create(new) => {
            if new.meta().namespace.as_deref() != Some(namespace) {
                let (kind, name) = (new.kind(), new.name());
                let error = format!(
                    "{kind} {name:?}: resource must be created in {namespace} namespace: nothing \
                     reads it elsewhere"
                );
                return Verdict {
                    errors: vec![error],
                    warnings: Vec::new(),
                };
            }
            put(stored, new)
        }
        Change::Update { old, new } => {
            let elsewhere = new.meta().namespace.as_deref() != Some(namespace);
            // One that is on its way out may always lose its finalizers, and so may one that was bad
            // before there was a webhook.
            if elsewhere || new.meta().deletion_timestamp.is_some() || new.says_the_same_as(old) {
                return Verdict::default();
            }
            put(stored, new)
        }
        Change::Delete(old) => {
            if old.meta().namespace.as_deref() != Some(namespace) {
                return Verdict::default();
            }
            delete(stored, old)
        }
    }
}

fn put(stored: &Resources, new: &Object) -> Verdict {
    let (configurator, before) = configured(stored);
    let mut after = stored.clone();
    new.clone().apply_to(&mut after);
    let mut complete = after.clone();
    later::complete(&mut complete, new);
    let found = problems(configurator.clone(), complete);
    let errors: Vec<_> = found
        .iter()
        .filter(|problem| is_about(problem, new))
        .filter(|problem| {
            matches!(
                problem.consequence,
                Consequence::LastGood | Consequence::Unused
            )
        })
        .map(refusal)
        .collect();
    if !errors.is_empty() {
        return Verdict {
            errors,
            warnings: Vec::new(),
        };
    }
    Verdict {
        errors: Vec::new(),
        warnings: news(&before, &problems(configurator, after), Some(new)),
    }
}

fn delete(stored: &Resources, old: &Object) -> Verdict {
    let mut verdict = Verdict::default();
    if let Object::BfdProfile(profile) = old {
        let name = profile.name_any();
        let user = stored.bgp_peers.iter().find(|(_, peer)| {
            let peer = peer
                .ok()
                .filter(|peer| peer.metadata.deletion_timestamp.is_none());
            peer.is_some_and(|peer| peer.spec.bfd_profile == name)
        });
        if let Some((peer, _)) = user {
            verdict.errors.push(format!(
                "failed to delete BFDProfile {name}, used by BGPPeer {peer}: remove it from \
                 spec.bfdProfile there first"
            ));
            return verdict;
        }
    }
    let (configurator, before) = configured(stored);
    let mut after = stored.clone();
    old.remove_from(&mut after);
    verdict.warnings = news(&before, &problems(configurator, after), None);
    verdict
}

/// A configurator that knows what is stored as what was last good, and what is wrong with it.
fn configured(stored: &Resources) -> (Configurator, Vec<Problem>) {
    let mut configurator = Configurator::default();
    let mut stored = stored.clone();
    trust_secrets(&mut stored);
    let (_, problems) = configurator.update(&stored);
    (configurator, problems)
}

/// What is wrong with these objects for a configurator that knows what was good.
fn problems(mut configurator: Configurator, mut resources: Resources) -> Vec<Problem> {
    trust_secrets(&mut resources);
    configurator.update(&resources).1
}

fn is_about(problem: &Problem, object: &Object) -> bool {
    problem.kind == object.kind() && problem.name == object.name()
}

/// Like [`Problem`]'s own text, but nothing has been taken over yet.
fn refusal(problem: &Problem) -> String {
    let Problem {
        kind,
        name,
        field,
        message,
        ..
    } = problem;
    if field.is_empty() {
        return format!("{kind} {name:?}: {message}");
    }
    format!("{kind} {name:?}, field {field}: {message}")
}

/// What is wrong after the change and was not before, and all that is wrong with the changed object.
fn news(before: &[Problem], after: &[Problem], changed: Option<&Object>) -> Vec<String> {
    let is_changed = |problem: &Problem| changed.is_some_and(|new| is_about(problem, new));
    let told = after.iter().filter(|problem| {
        let known = before.iter().any(|old| {
            (old.kind, &old.name, &old.message) == (problem.kind, &problem.name, &problem.message)
        });
        !known || is_changed(problem)
    });
    told.map(|problem| match (is_changed(problem), problem.consequence) {
        // What becomes of it is not what the daemons would say: they do not have it yet.
        (true, Consequence::LastGood | Consequence::Unused) => {
            format!("{}; it waits for that", refusal(problem))
        }
        _ => problem.to_string(),
    })
    .collect()
}

#[cfg(test)]
mod tests;
