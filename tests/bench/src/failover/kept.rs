//! Rounds in a file, so that a run of hours can be done in parts.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::outcome::{Outcome, Results};
use crate::contestant::Contestant;

/// The file that rounds are kept in, if there is one. Several runs may write into it at a time.
#[derive(Debug)]
pub(crate) struct Kept(Option<(PathBuf, File)>);

#[derive(Debug, Serialize, Deserialize)]
struct Round {
    case: Case,
    contestant: Contestant,
    outcome: Outcome,
}

impl Kept {
    /// Opens the file, or makes one.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self(None));
        };
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).open(path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self(Some((path.to_owned(), file))))
    }

    /// Adds the rounds of earlier runs.
    pub(crate) fn read(&self, results: &mut Results) -> Result<()> {
        let Some((path, _)) = &self.0 else {
            return Ok(());
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        for (index, line) in text.lines().enumerate() {
            // A run that was ended while it wrote has left a line cut short.
            if line.is_empty() || line.starts_with('{') && !line.ends_with('}') {
                continue;
            }
            let round: Round = serde_json::from_str(line)
                .with_context(|| format!("{}, line {}, is no round", path.display(), index + 1))?;
            results.add(round.case, round.contestant, round.outcome);
        }
        Ok(())
    }

    /// Keeps a round.
    pub(crate) fn add(
        &mut self,
        case: Case,
        contestant: Contestant,
        outcome: Outcome,
    ) -> Result<()> {
        let Some((path, file)) = &mut self.0 else {
            return Ok(());
        };
        let round = Round {
            case,
            contestant,
            outcome,
        };
        // In one write, so that the lines of two runs do not mix; on a line of its own, whatever a run
        // that was ended has left.
        let line = format!("\n{}\n", serde_json::to_string(&round)?);
        file.write_all(line.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Looks, Requests};
    use super::*;

    #[test]
    fn rounds_come_back_as_they_were_kept() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("rounds");
        let requests = Requests {
            sent: 100,
            silence: std::time::Duration::from_millis(230),
            ..Requests::default()
        };
        let outcome = Outcome {
            requests: [requests; 2],
            looks: [Looks::default(); 2],
            ..Outcome::default()
        };
        for _ in 0..2 {
            Kept::open(Some(&path))?.add(Case::PowerOff, Contestant::Peer, outcome)?;
        }
        let mut results = Results::default();
        Kept::open(Some(&path))?.read(&mut results)?;
        let rounds = results.rounds(Case::PowerOff, Contestant::Peer);
        assert_eq!(rounds.len(), 2);
        assert_eq!(format!("{:?}", rounds[1]), format!("{outcome:?}"));
        let begun = r#"{"case":"PowerOff","contes"#;
        let half = std::fs::read_to_string(&path)? + begun;
        std::fs::write(&path, half)?;
        Kept::open(Some(&path))?.add(Case::PowerOff, Contestant::Peer, outcome)?;
        let mut results = Results::default();
        Kept::open(Some(&path))?.read(&mut results)?;
        let rounds = results.rounds(Case::PowerOff, Contestant::Peer);
        assert_eq!(rounds.len(), 3, "what was cut short is passed over");
        std::fs::write(&path, "no round\n")?;
        let error = Kept::open(Some(&path))?.read(&mut Results::default());
        assert!(error.is_err_and(|error| error.to_string().contains("line 1")));
        Ok(())
    }

    #[test]
    fn without_a_file_nothing_is_kept() -> Result<()> {
        let mut kept = Kept::open(None)?;
        kept.add(Case::PowerOff, Contestant::Herald, Outcome::default())?;
        kept.read(&mut Results::default())
    }
}
