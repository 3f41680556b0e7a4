//! Whether addresses go back to the node that the election prefers.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whether an address goes back to the node that the election prefers.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum Failback {
    /// It does, as soon as that node is ready (as in MetalLB).
    #[default]
    Revertive,
    /// It stays with the node that has it as long as that node can have it.
    Sticky,
}

/// A text that is no [`Failback`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown failback policy {0:?}: use revertive or sticky")]
pub struct UnknownFailback(String);

impl FromStr for Failback {
    type Err = UnknownFailback;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "revertive" => Ok(Self::Revertive),
            "sticky" => Ok(Self::Sticky),
            _ => Err(UnknownFailback(text.to_owned())),
        }
    }
}
