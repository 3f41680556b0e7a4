//! What is measured, sample by sample, and the file that keeps the samples.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::sender::Sender;

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Receiver {
    /// A counter on the wire.
    Wire,
    /// FRR.
    Frr,
    /// BIRD 2.
    Bird,
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wire => "the wire",
            Self::Frr => "FRR",
            Self::Bird => "BIRD",
        })
    }
}

/// What was measured of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figure {
    /// Seconds from the command to announce until the last route is there.
    Announced,
    /// The same for other attributes of all routes.
    Replaced,
    /// The same for all routes going away.
    Withdrawn,
    /// UPDATEs that announced them.
    AnnounceUpdates,
    /// UPDATEs that replaced them.
    ReplaceUpdates,
    /// UPDATEs that withdrew them.
    WithdrawUpdates,
    /// The fewest UPDATEs that could have announced them.
    FewestAnnounce,
    /// The fewest that could have withdrawn them.
    FewestWithdraw,
    /// Seconds of CPU from the command to announce until all is quiet.
    Cpu,
    /// Seconds from the command to have a session until it is established.
    Established,
    /// Seconds of that after the router has accepted the connection.
    Opened,
    /// Resident bytes.
    Resident,
    /// Proportional set: resident bytes, with its share of what others have too.
    Proportional,
    /// The greatest number of resident bytes ever.
    Peak,
    /// Seconds from the decision until all peers have one route more.
    OneMore,
    /// The greatest number of UPDATEs that a peer got for it.
    OneMoreUpdates,
    /// Routes that should have stayed and were away at some time.
    Lost,
    /// Sessions that went down and should not have.
    Flaps,
    /// Seconds from a silent cut until the router's kernel has the route no more.
    Gone,
    /// BFD sessions that went down although nothing was cut.
    Downs,
}

/// Which samples belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) figure: Figure,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    /// How many routes.
    pub(crate) routes: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sample {
    #[serde(flatten)]
    key: Key,
    /// None if it could not be done.
    value: Option<f64>,
}

/// All samples, and the file that keeps them, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    all: BTreeMap<Key, Vec<Option<f64>>>,
    file: Option<(PathBuf, File)>,
}

impl Samples {
    /// With the samples that the file has. Several runs may write into it at a time.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let mut samples = Self::default();
        let Some(path) = path else {
            return Ok(samples);
        };
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).read(true).open(path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        for (index, line) in text.lines().enumerate() {
            // A run that was ended while it wrote has left a line cut short.
            if line.is_empty() || line.starts_with('{') && !line.ends_with('}') {
                continue;
            }
            let sample: Sample = serde_json::from_str(line)
                .with_context(|| format!("{}, line {}, is no sample", path.display(), index + 1))?;
            samples
                .all
                .entry(sample.key)
                .or_default()
                .push(sample.value);
        }
        samples.file = Some((path.to_owned(), file));
        Ok(samples)
    }

    /// Adds one; `None` if it could not be done.
    pub(crate) fn add(&mut self, key: Key, value: Option<f64>) -> Result<()> {
        self.all.entry(key).or_default().push(value);
        let Some((path, file)) = &mut self.file else {
            return Ok(());
        };
        // In one write, so that the lines of two runs do not mix; on a line of its own, whatever a
        // run that was ended has left.
        let line = format!("\n{}\n", serde_json::to_string(&Sample { key, value })?);
        file.write_all(line.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// How many there are, with those that could not be done.
    pub(crate) fn count(&self, key: Key) -> usize {
        self.all.get(&key).map_or(0, Vec::len)
    }

    /// Those that could be done.
    pub(crate) fn values(&self, key: Key) -> Vec<f64> {
        self.all.get(&key).map_or_else(Vec::new, |values| {
            values.iter().flatten().copied().collect()
        })
    }

    /// The numbers of routes for which there are samples of a figure, in ascending order.
    pub(crate) fn sizes(&self, figure: Figure) -> Vec<usize> {
        let keys = self.all.keys().filter(|key| key.figure == figure);
        let mut sizes: Vec<usize> = keys.map(|key| key.routes).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(routes: usize) -> Key {
        Key {
            figure: Figure::Announced,
            sender: Sender::Herald,
            receiver: Receiver::Wire,
            routes,
        }
    }

    #[test]
    fn samples_come_back_as_they_were_kept() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("samples");
        let mut samples = Samples::open(Some(&path))?;
        samples.add(key(10), Some(0.25))?;
        samples.add(key(10), None)?;
        let half = std::fs::read_to_string(&path)? + r#"{"figure":"anno"#;
        std::fs::write(&path, half)?;
        Samples::open(Some(&path))?.add(key(20), Some(0.5))?;
        let samples = Samples::open(Some(&path))?;
        assert_eq!(samples.count(key(10)), 2);
        assert_eq!(samples.values(key(10)), [0.25]);
        assert_eq!(samples.values(key(20)), [0.5]);
        assert_eq!(samples.sizes(Figure::Announced), [10, 20]);
        assert!(samples.sizes(Figure::Gone).is_empty());
        std::fs::write(&path, "no sample\n")?;
        let error = Samples::open(Some(&path));
        assert!(error.is_err_and(|error| error.to_string().contains("line 1")));
        Ok(())
    }
}
