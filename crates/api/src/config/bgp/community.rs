//! BGP communities and their names (compat.md 1.6 and 1.8, rule 9).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::config::keep::Parsed;
use crate::config::problem::Fault;
use crate::kinds;

/// A community of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BgpCommunity {
    /// RFC 1997: `65535:65281`.
    Standard(u16, u16),
    /// RFC 8092: `large:1:2:3`.
    Large(u32, u32, u32),
}

/// Why a text is not a community.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommunityError {
    /// Neither of the two forms.
    #[error(
        "invalid community format: {0:?}: write 65535:65281 or large:1:2:3, or define the name in a Community"
    )]
    Format(String),
    /// `large:` without three numbers.
    #[error("expected community to be of format large:<uint32>:<uint32>:<uint32>, have {0:?}")]
    Large(String),
    /// A number that is none, or too large.
    #[error("invalid community value: invalid section {section:?} of community {community:?}")]
    Section {
        /// The part between colons.
        section: String,
        /// All of it.
        community: String,
    },
}

impl FromStr for BgpCommunity {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn number<T: FromStr>(section: &str, community: &str) -> Result<T, CommunityError> {
            section.parse().map_err(|_| CommunityError::Section {
                section: section.to_owned(),
                community: community.to_owned(),
            })
        }
        match *text.split(':').collect::<Vec<_>>() {
            ["large", a, b, c] => Ok(Self::Large(
                number(a, text)?,
                number(b, text)?,
                number(c, text)?,
            )),
            ["large", ..] if text.contains(':') => Err(CommunityError::Large(text.to_owned())),
            [a, b] => Ok(Self::Standard(number(a, text)?, number(b, text)?)),
            _ => Err(CommunityError::Format(text.to_owned())),
        }
    }
}

impl fmt::Display for BgpCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(a, b) => write!(f, "{a}:{b}"),
            Self::Large(a, b, c) => write!(f, "large:{a}:{b}:{c}"),
        }
    }
}

/// The names that one `Community` object defines.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) struct Aliases {
    object: String,
    pub(in crate::config) values: BTreeMap<String, BgpCommunity>,
}

impl Aliases {
    pub(in crate::config) fn parse(name: &str, object: &kinds::Community) -> Result<Self, Fault> {
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

/// The communities of an advertisement, names looked up.
pub(super) fn resolve(
    texts: &BTreeSet<&str>,
    aliases: &BTreeMap<String, BgpCommunity>,
) -> Result<BTreeSet<BgpCommunity>, Fault> {
    texts
        .iter()
        .map(|text| match aliases.get(*text) {
            Some(community) => Ok(*community),
            None => text
                .parse()
                .map_err(|error: CommunityError| Fault::new("spec.communities", error.to_string())),
        })
        .collect()
}
