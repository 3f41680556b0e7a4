//! The keys that the speakers share, from the directory that their Secret is mounted at.
//!
//! File `secretkey` (compat.md 4.2) is what this speaker seals with. Files `secretkey-*` are accepted
//! too, which is how a key is replaced without a moment in which two speakers do not understand each
//! other: add the new key as `secretkey-new`, wait until all have it, swap the two, wait, remove the
//! old one.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use herald_membership::Keyring;
use herald_runtime::supervise::TaskResult;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the directory is read again. A kubelet takes up to a minute to bring a changed Secret.
const INTERVAL: Duration = Duration::from_secs(5);

const PRIMARY: &str = "secretkey";
const FURTHER: &str = "secretkey-";

/// A longer file is none that anybody meant.
const MAX_LENGTH: u64 = 4096;

/// What stands for the key where there is no Secret. It is no secret, so anybody can join; the
/// format on the wire stays one.
const NO_SECRET: &str = "herald without a membership Secret";

/// Why a directory gives no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// A file or the directory cannot be read.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file has no key.
    #[error("{0} is longer than {MAX_LENGTH} bytes; put a random key into it")]
    Length(PathBuf),
    /// The keys cannot be used.
    #[error("the keys in {directory} cannot be used: {error}")]
    Unusable {
        /// Where they are.
        directory: PathBuf,
        /// Why.
        error: herald_membership::KeyError,
    },
}

/// Reads the directory. `None`, no file `secretkey`, and one that cannot be used are warned of and
/// give a key that everybody knows, so that a group without a Secret works as one with it does. A
/// further file that cannot be used is warned of and left out.
pub(crate) fn load(directory: Option<&Path>) -> Keyring {
    let Some(directory) = directory else {
        tracing::warn!(
            event = "membershipNoKey",
            "no --ml-secret-key-path: whoever reaches the port of the speakers' group can join it \
             and take addresses over; mount the Secret with the file {PRIMARY} and give its \
             directory"
        );
        return no_secret();
    };
    match read(directory) {
        Ok(found) => found.usable(),
        Err(error) => {
            tracing::warn!(
                event = "membershipNoKey",
                %error,
                "no key for the speakers' group: whoever reaches its port can join it and take \
                 addresses over, and speakers with a key do not understand this one, until the \
                 file is there"
            );
            no_secret()
        }
    }
}

fn no_secret() -> Keyring {
    Keyring::new([NO_SECRET]).expect("one text of more than 16 bytes is a keyring")
}

/// What is in a directory with a usable file `secretkey`.
#[derive(Debug)]
struct Found {
    keys: Keyring,
    /// What is in the way of a further file, which is not among the keys.
    flaw: Option<KeyError>,
}

impl Found {
    /// The keys without what is flawed: a speaker that starts does not understand the others with
    /// none at all.
    fn usable(self) -> Keyring {
        if let Some(error) = self.flaw {
            tracing::warn!(
                event = "membershipKeys",
                %error,
                "leaving out a further key of the speakers' group"
            );
        }
        self.keys
    }

    /// The keys, if nothing is wrong with any.
    fn all(self) -> Result<Keyring, KeyError> {
        self.flaw.map_or(Ok(self.keys), Err)
    }
}

fn read(directory: &Path) -> Result<Found, KeyError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| KeyError::Read { path, error }
    };
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(failed(directory))? {
        let name = entry.map_err(failed(directory))?.file_name();
        if let Some(name) = name.to_str().filter(|name| name.starts_with(FURTHER)) {
            names.insert(name.to_owned());
        }
    }
    let unusable = |error| KeyError::Unusable {
        directory: directory.to_owned(),
        error,
    };
    let mut texts = vec![read_key(&directory.join(PRIMARY))?];
    let mut keys = Keyring::new(&texts).map_err(unusable)?;
    let mut flaw = None;
    for name in names {
        let more = read_key(&directory.join(name)).and_then(|text| {
            let more = [&texts[..], &[text]].concat();
            let keys = Keyring::new(&more).map_err(unusable)?;
            Ok((more, keys))
        });
        match more {
            Ok(more) => (texts, keys) = more,
            Err(error) => flaw = Some(error),
        }
    }
    Ok(Found { keys, flaw })
}

fn read_key(path: &Path) -> Result<Vec<u8>, KeyError> {
    use std::io::Read as _;
    let failed = |error| KeyError::Read {
        path: path.to_owned(),
        error,
    };
    let mut key = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_LENGTH + 1)
        .read_to_end(&mut key)
        .map_err(failed)?;
    if key.len() as u64 > MAX_LENGTH {
        return Err(KeyError::Length(path.to_owned()));
    }
    // A key written by hand ends with a newline that its author does not see.
    Ok(key.trim_ascii_end().to_owned())
}

/// Reads the directory again and again and sends what changed. One that cannot be read changes
/// nothing, and is said once.
pub(crate) async fn watch(
    directory: Option<PathBuf>,
    keys: watch::Sender<Keyring>,
    token: CancellationToken,
) -> TaskResult {
    let Some(directory) = directory else {
        token.cancelled().await;
        return Ok(());
    };
    let mut reported = None;
    loop {
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let read_from = directory.clone();
        let read = move || read(&read_from).and_then(Found::all);
        match tokio::task::spawn_blocking(read).await? {
            Ok(new) => {
                reported = None;
                keys.send_if_modified(|current| {
                    let changed = *current != new;
                    if changed {
                        tracing::info!(
                            event = "membershipKeys",
                            keys = ?new,
                            "the keys of the speakers' group changed"
                        );
                        *current = new;
                    }
                    changed
                });
            }
            Err(error) => {
                let message = error.to_string();
                // Without a key it has been said at the start.
                if reported.as_ref() != Some(&message) && *keys.borrow() != no_secret() {
                    tracing::error!(
                        event = "membershipKeys",
                        error = message,
                        "keeping the keys as they were"
                    );
                }
                reported = Some(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).expect("written");
        }
        directory
    }

    const ONE: &[u8] = b"sixteen bytes or more";
    const TWO: &[u8] = b"another sixteen bytes";

    #[test]
    fn one_key_seals_and_the_others_are_accepted() {
        let directory = directory(&[
            ("secretkey", &[ONE, b"\n"].concat()),
            ("secretkey-old", TWO),
            ("other", b"no key"),
        ]);
        let keys = read(directory.path()).and_then(Found::all).expect("usable");
        assert_eq!(keys, Keyring::new([ONE, TWO]).expect("usable"));
        assert_ne!(keys, Keyring::new([TWO, ONE]).expect("usable"));
    }

    #[test]
    fn a_further_file_that_is_no_key_costs_a_speaker_that_starts_none_of_the_others() {
        let directory = directory(&[
            ("secretkey", ONE),
            ("secretkey-a", b"short"),
            ("secretkey-b", TWO),
        ]);
        let keys = load(Some(directory.path()));
        assert_eq!(keys, Keyring::new([ONE, TWO]).expect("usable"));
        let all = read(directory.path()).and_then(Found::all);
        let error = all.expect_err("one is no key").to_string();
        assert!(error.contains("5 bytes"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_an_error_that_names_the_place() {
        let short = directory(&[("secretkey", b" \n")]);
        let error = read(short.path()).expect_err("no key").to_string();
        assert!(error.contains("0 bytes"), "{error}");
        let long = directory(&[("secretkey", &[b'a'; 5000])]);
        assert!(matches!(read(long.path()), Err(KeyError::Length(_))));
        let none = directory(&[]);
        let error = read(none.path()).expect_err("no file").to_string();
        assert!(error.contains("/secretkey cannot be read"), "{error}");
        assert_eq!(load(Some(none.path())), no_secret());
        assert_eq!(load(None), no_secret());
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_directory_is_read_and_an_unreadable_one_changes_nothing() {
        let directory = directory(&[("secretkey", ONE)]);
        let (sender, mut keys) = watch::channel(load(Some(directory.path())));
        let token = CancellationToken::new();
        let path = directory.path().to_owned();
        let task = tokio::spawn(watch(Some(path), sender, token.clone()));
        let file = directory.path().join("secretkey");
        std::fs::write(&file, TWO).expect("written");
        let two = Keyring::new([TWO]).expect("usable");
        keys.wait_for(|keys| *keys == two).await.expect("followed");
        std::fs::remove_file(&file).expect("removed");
        tokio::time::sleep(INTERVAL * 3).await;
        assert_eq!(*keys.borrow(), two);
        token.cancel();
        task.await.expect("no panic").expect("asked to end");
    }
}
