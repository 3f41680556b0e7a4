//! The file with names of interfaces that are not announced on (compat.md 4.3).

use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use herald_runtime::supervise::TaskResult;
use regex::RegexSet;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the file is read. A mounted `ConfigMap` itself follows its object only within a minute.
const INTERVAL: Duration = Duration::from_secs(2);

/// What is excluded while the file cannot be used and none was before: the list that MetalLB ships,
/// because answering on a container network by mistake is worse than not answering.
const FALLBACK: [&str; 14] = [
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo$",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    "^nodelocaldns.*",
    "^lxc.*",
];

/// Patterns of interface names, not anchored; one that matches is enough.
#[derive(Debug, Clone)]
pub struct Exclude {
    patterns: RegexSet,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExcludeError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is not what it should be.
    #[error("is not YAML with a list of patterns under announcedInterfacesToExclude: {0}")]
    Parse(String),
    /// A pattern is wrong.
    #[error("announcedInterfacesToExclude has an invalid regular expression: {0}")]
    Pattern(#[from] regex::Error),
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "announcedInterfacesToExclude", default)]
    patterns: Vec<String>,
}

impl Exclude {
    /// True if the interface is not to be announced on.
    pub fn matches(&self, name: &str) -> bool {
        self.patterns.is_match(name)
    }

    /// Reads the file once. Without a file nothing is excluded, as a chart without it means to say.
    /// One that cannot be used excludes what MetalLB does by default.
    pub fn load(path: &Path) -> Self {
        parse(std::fs::read_to_string(path)).unwrap_or_else(|error| {
            tracing::error!(
                file = %path.display(),
                %error,
                "the exclude file cannot be used: excluding the default names until it is repaired"
            );
            Self {
                patterns: RegexSet::new(FALLBACK).unwrap_or_default(),
            }
        })
    }
}

impl Default for Exclude {
    fn default() -> Self {
        Self {
            patterns: RegexSet::empty(),
        }
    }
}

impl PartialEq for Exclude {
    fn eq(&self, other: &Self) -> bool {
        self.patterns.patterns() == other.patterns.patterns()
    }
}

impl FromStr for Exclude {
    type Err = ExcludeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let file: File =
            serde_saphyr::from_str(text).map_err(|error| ExcludeError::Parse(error.to_string()))?;
        Ok(Self {
            patterns: RegexSet::new(file.patterns)?,
        })
    }
}

/// Reads the file again and again and sends what changed. A version that cannot be used is reported
/// once and changes nothing.
pub async fn watch_file(
    path: Arc<Path>,
    exclude: watch::Sender<Exclude>,
    token: CancellationToken,
) -> TaskResult {
    let mut reported = None;
    loop {
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let text = tokio::fs::read_to_string(&path).await;
        match parse(text) {
            Ok(new) => {
                reported = None;
                exclude.send_if_modified(|current| {
                    let changed = *current != new;
                    if changed {
                        tracing::info!(file = %path.display(), "the exclude file changed");
                        *current = new;
                    }
                    changed
                });
            }
            Err(error) => {
                let message = error.to_string();
                if reported.as_ref() != Some(&message) {
                    tracing::error!(
                        file = %path.display(),
                        error = message,
                        "the exclude file cannot be used: keeping what it said before"
                    );
                    reported = Some(message);
                }
            }
        }
    }
}

fn parse(text: std::io::Result<String>) -> Result<Exclude, ExcludeError> {
    match text {
        Ok(text) => text.parse(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Exclude::default()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_not_anchored_and_one_is_enough() {
        let exclude: Exclude = "announcedInterfacesToExclude: [\"^docker.*\", \"lan\"]"
            .parse()
            .expect("valid");
        assert!(exclude.matches("docker0"));
        assert!(exclude.matches("vlan7"));
        assert!(!exclude.matches("eth0"));
        assert!(!exclude.matches("mydocker0"));
    }

    #[test]
    fn an_empty_file_and_one_without_the_key_exclude_nothing() {
        for text in ["", "\n", "announcedInterfacesToExclude: []", "other: 1"] {
            let exclude: Exclude = text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"));
            assert!(!exclude.matches("lo"), "{text:?}");
        }
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        let error = "announcedInterfacesToExclude: ['eth(']".parse::<Exclude>();
        assert!(error.expect_err("unbalanced").to_string().contains("eth("));
    }

    #[test]
    fn the_fallback_is_valid() {
        let exclude = Exclude {
            patterns: RegexSet::new(FALLBACK).expect("valid"),
        };
        assert!(exclude.matches("lo") && exclude.matches("cali123"));
        assert!(!exclude.matches("eth0") && !exclude.matches("lo1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_file_changes_nothing_and_a_repaired_one_does() {
        let path: Arc<Path> = std::env::temp_dir()
            .join(format!("herald-exclude-{}.yaml", std::process::id()))
            .into();
        std::fs::write(&path, "announcedInterfacesToExclude: ['^a']").expect("written");
        let (sender, mut receiver) = watch::channel(Exclude::load(&path));
        assert!(receiver.borrow().matches("a0"));
        let token = CancellationToken::new();
        let task = tokio::spawn(watch_file(Arc::clone(&path), sender, token.clone()));
        std::fs::write(&path, "announcedInterfacesToExclude: [").expect("written");
        tokio::time::sleep(INTERVAL * 2).await;
        assert!(!receiver.has_changed().expect("the task runs"));
        std::fs::write(&path, "announcedInterfacesToExclude: ['^b']").expect("written");
        receiver.changed().await.expect("the task runs");
        assert!(receiver.borrow().matches("b0") && !receiver.borrow().matches("a0"));
        token.cancel();
        task.await.expect("no panic").expect("asked to end");
        std::fs::remove_file(&path).expect("removed");
    }
}
