//! Speakers with the commands of `peer/senders/control.go`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use herald_lab::Process;

/// The connection to one of them.
#[derive(Debug)]
pub(super) struct Socket(BufReader<UnixStream>);

impl Socket {
    /// Waits until a process listens.
    pub(super) fn connect(path: &Path, process: &Process) -> Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return Ok(Self(BufReader::new(stream))),
                Err(error) if Instant::now() > deadline || !process.is_running() => {
                    bail!("{}: {error}\n{}", path.display(), process.log_tail(20));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Has a command carried out; when it was sent.
    pub(super) fn ask(&mut self, command: &str) -> Result<Instant> {
        let begun = Instant::now();
        self.0
            .get_mut()
            .write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        self.0.read_line(&mut answer)?;
        match answer.trim() {
            "ok" => Ok(begun),
            "" => bail!("the speaker has ended at `{command}`"),
            error => bail!("`{command}`: {error}"),
        }
    }
}
