//! Names of communities (compat.md 1.6 and 1.8, rule 9).

use std::collections::{BTreeMap, BTreeSet};

use herald_announce::bgp::{Community, CommunityError};

use crate::config::keep::Parsed;
use crate::config::problem::Fault;
use crate::kinds;

/// The names that one `Community` object defines. A name may be one that is well known; then it
/// means what the object says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Aliases {
    object: String,
    pub(super) values: BTreeMap<String, Community>,
}

impl Aliases {
    pub(super) fn parse(name: &str, object: &kinds::Community) -> Result<Self, Fault> {
        const FIELD: &str = "spec.communities";
        let mut values = BTreeMap::new();
        for alias in &object.spec.communities {
            let value = alias
                .value
                .parse()
                .map_err(|error: CommunityError| Fault::new(FIELD, error.to_string()))?;
            if values.insert(alias.name.clone(), value).is_some() {
                let message = format!("duplicate definition of community {:?}", alias.name);
                return Err(Fault::new(FIELD, message));
            }
        }
        Ok(Self {
            object: name.to_owned(),
            values,
        })
    }
}

impl Parsed for Aliases {
    /// The names and the objects that define them.
    type Claims = BTreeMap<String, String>;

    fn claim(&self, claims: &mut Self::Claims) -> Result<(), Fault> {
        for alias in self.values.keys() {
            if let Some(owner) = claims.get(alias) {
                let message = format!(
                    "duplicate definition of community {alias:?}: it is also in Community \
                     {owner:?}, remove one of the two"
                );
                return Err(Fault::new("spec.communities", message));
            }
        }
        let names = self.values.keys().cloned();
        claims.extend(names.map(|alias| (alias, self.object.clone())));
        Ok(())
    }
}

/// The communities of an advertisement, names looked up. What can be no name is told before a name
/// that is not defined yet.
pub(super) fn resolve(
    texts: &BTreeSet<&str>,
    aliases: &BTreeMap<String, Community>,
) -> Result<BTreeSet<Community>, Fault> {
    const FIELD: &str = "spec.communities";
    let look_up = |text: &&str| match aliases.get(*text) {
        Some(community) => Ok(*community),
        None => text.parse().map_err(|error: CommunityError| {
            let message = error.to_string();
            if text.contains(':') {
                Fault::new(FIELD, message)
            } else {
                Fault::waiting(FIELD, message)
            }
        }),
    };
    let texts = texts.iter().copied();
    let (values, names): (Vec<&str>, Vec<_>) = texts.partition(|text| text.contains(':'));
    values.iter().chain(&names).map(look_up).collect()
}
