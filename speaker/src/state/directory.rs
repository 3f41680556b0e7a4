//! The directory of the state file: one speaker at a time, and no half-written file.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::file::MOST_WITH_HEADER;

const STATE: &str = "herald.state";
const NEW: &str = "herald.state.new";
const LOCK: &str = "herald.lock";

/// What is in the way of a file of the directory.
#[derive(Debug, thiserror::Error)]
pub(super) enum DirectoryError {
    /// The directory is not there and cannot be made.
    #[error("cannot make the directory: {0}")]
    Make(io::Error),
    /// The lock file cannot be opened or locked.
    #[error("cannot lock {LOCK} in it: {0}")]
    Lock(io::Error),
    /// Another speaker has it.
    #[error(
        "another process uses it (it holds {LOCK} in it): run one speaker on a node, and give each \
         a directory of its own"
    )]
    InUse,
    /// The state file cannot be read.
    #[error("cannot read {STATE} in it: {0}")]
    Read(io::Error),
    /// The state file is none that was written by a speaker.
    #[error("{STATE} in it is {0}")]
    Odd(&'static str),
}

/// A directory that this process alone writes to.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Directory {
    /// Makes the directory if need be, and takes it for this process.
    pub(super) fn open(path: &Path) -> Result<Self, DirectoryError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(DirectoryError::Make)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(DirectoryError::Lock)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse),
            Err(TryLockError::Error(error)) => Err(DirectoryError::Lock(error)),
        }
    }

    /// The bytes of the state file; `None` if there is none.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>, DirectoryError> {
        let path = self.state();
        // Opening a pipe would wait for a writer.
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(DirectoryError::Odd("no regular file"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DirectoryError::Read(error)),
        }
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MOST_WITH_HEADER + 1).read_to_end(&mut bytes))
            .map_err(DirectoryError::Read)?;
        if bytes.len() as u64 > MOST_WITH_HEADER {
            return Err(DirectoryError::Odd("larger than any state"));
        }
        Ok(Some(bytes))
    }

    /// Replaces the state file by what `write` writes. Whatever fails, and wherever the process or
    /// the machine ends: the file is then the old one or the new one, as a whole.
    pub(super) fn replace<E: From<io::Error>>(
        &self,
        write: impl FnOnce(&File) -> Result<(), E>,
    ) -> Result<(), E> {
        let new = self.path.join(NEW);
        // Of a process that ended here; made anew, so that its rights are ours.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let written = (|| {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&new)?;
            write(&file)?;
            file.sync_all()?;
            fs::rename(&new, self.state())?;
            Ok(())
        })();
        if written.is_err() {
            // It takes room on a disk that may be full.
            let _ = fs::remove_file(&new);
            return written;
        }
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }

    /// Gives the state file another name, with this suffix, in place of any that has it.
    pub(super) fn set_aside(&self, suffix: &str) -> io::Result<PathBuf> {
        let aside = self.path.join(format!("{STATE}.{suffix}"));
        fs::rename(self.state(), &aside)?;
        Ok(aside)
    }

    /// The path of the state file.
    pub(super) fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }
}
