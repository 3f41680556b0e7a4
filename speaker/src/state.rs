//! What a speaker keeps on disk, so that one that starts while the API does not answer can go on
//! where the last one ended.
//!
//! ```text
//!   engine: journal.changed() … journal.due() ─▶ journal.put(Saved) ──▶ writer ──▶ state file
//!              ▲                                                          │
//!              └────────────────── again, if it failed ───────────────────┘
//! ```
//! The file is a help, never a condition: one that is missing, damaged or of another version is
//! said and left out, and a directory that cannot be written is said once. It is replaced as a
//! whole, so that a crash leaves the old one or the new one.
//!
//! The journal keeps no copy of what it is given: the engine makes a [`Saved`] when it is asked to,
//! at most once a second, and the writer lets go of it when it is written. What is large in it
//! should be shared (`Arc`) with the engine.

mod directory;
mod file;
mod journal;
#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use herald_model::{Member, NodeName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use journal::{Journal, Writer};

/// How long the start of the speaker waits for the disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is kept. `W` is what is known of the cluster, `D` how often this node came and went.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Saved<W, D> {
    /// What the API told.
    pub world: W,
    /// The speakers that were known, without this one.
    pub members: BTreeMap<NodeName, Member>,
    /// How often this node and its interfaces came and went.
    pub damping: D,
    /// The generation of this speaker in the group.
    pub generation: u64,
    /// The addresses that it answered for.
    pub held: BTreeSet<IpAddr>,
    /// It handed over what it had before it ended.
    pub left_cleanly: bool,
    /// The boot of the node that it ran in, if the kernel tells.
    pub boot: Option<String>,
}

/// What tells one boot of the node from all others; in a container too it is that of the node.
pub(crate) fn boot() -> Option<String> {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(boot) => Some(boot.trim().to_owned()),
        Err(error) => {
            tracing::warn!(
                %error,
                "the kernel does not tell which boot of the node this is: routers with graceful \
                 restart are told that it may have begun anew"
            );
            None
        }
    }
}

/// What [`open`] gives.
#[derive(Debug)]
pub struct Opened<T> {
    /// What the last speaker of this node kept, if it can be used.
    pub saved: Option<T>,
    /// Where the engine tells of changes.
    pub journal: Journal<T>,
    /// The task that writes.
    pub writer: Writer<T>,
}

/// Reads the state of the speaker of node `me` in `directory`, which is made if it is not there.
///
/// Never fails: whatever is in the way is logged with its path, and the writer tries again. Waits
/// for the disk two seconds at most.
pub async fn open<T>(directory: PathBuf, me: NodeName) -> Opened<T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let (journal, mut writer) = journal::new(directory, me);
    let saved = writer.take_up(PATIENCE).await;
    Opened {
        saved,
        journal,
        writer,
    }
}
