//! What the speakers of a lab keep on disk for their group: the key they share, and each one's
//! state.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::lab::Lab;

impl Lab {
    /// The folder with the key of the speakers' group, as the Secret is mounted in a pod: the file
    /// `secretkey`, random, of this lab alone.
    pub fn member_key(&self) -> PathBuf {
        key_dir(self.dir())
    }

    /// The folder where a node's speaker keeps its state. It stays when the speaker starts again.
    pub fn state_dir(&self, node: &str) -> PathBuf {
        self.dir().join("state").join(node)
    }

    /// Forgets what a node's speaker has kept, as if the node were new.
    pub fn wipe_state(&self, node: &str) -> Result<()> {
        let dir = self.state_dir(node);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        }
        Ok(())
    }
}

fn key_dir(dir: &Path) -> PathBuf {
    dir.join("member-key")
}

/// Writes a key for the lab with this folder.
pub(crate) fn write_key(dir: &Path) -> Result<()> {
    let dir = key_dir(dir);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(dir.join("secretkey"), random_key()?)?;
    Ok(())
}

/// 32 random bytes as text.
pub(crate) fn random_key() -> Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}")?;
    }
    Ok(text)
}
