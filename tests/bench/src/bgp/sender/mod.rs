//! The speakers that are measured: Herald's own sessions and others, told alike what to announce.

mod bird;
mod socket;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use herald_lab::{Process, ProcessSpec};
use serde::{Deserialize, Serialize};

use self::bird::Bird;
use self::socket::Socket;
use super::ground::{Ground, Neighbor, SPEAKER};

/// Who announces.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sender {
    /// This project.
    Herald,
    /// BIRD 2.
    Bird,
    /// MetalLB's native speaker.
    Metallb,
    /// `GoBGP`'s library, one path a call.
    Gobgp,
    /// `GoBGP`'s library, all paths in one call.
    GobgpBulk,
}

impl Sender {
    /// All, in the order of the tables.
    pub(crate) const ALL: [Self; 5] = [
        Self::Herald,
        Self::Bird,
        Self::Metallb,
        Self::Gobgp,
        Self::GobgpBulk,
    ];
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Herald => "Herald",
            Self::Bird => "BIRD",
            Self::Metallb => "MetalLB native",
            Self::Gobgp => "GoBGP, a path a call",
            Self::GobgpBulk => "GoBGP, in bulk",
        })
    }
}

/// Host routes that are announced and withdrawn together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    /// The number of the first.
    pub(crate) from: usize,
    pub(crate) count: usize,
    /// The second half of their community.
    pub(crate) community: u16,
}

impl Batch {
    /// The first `count` host routes.
    pub(crate) fn first(count: usize, community: u16) -> Self {
        Self {
            from: 0,
            count,
            community,
        }
    }
}

/// A speaker that runs.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    control: Control,
    batches: Vec<Batch>,
    neighbors: Vec<Neighbor>,
    /// Paths are watched by BFD.
    bfd: bool,
}

#[derive(Debug)]
enum Control {
    Socket(Socket),
    Bird(Bird),
}

impl Running {
    /// Starts a speaker, without a session. It will be told of no other batches than these; of two
    /// with the same routes, the later is told later.
    pub(crate) fn start(sender: Sender, ground: &Ground, batches: &[Batch]) -> Result<Self> {
        Self::launch(sender, ground, batches, false)
    }

    /// The same for one whose paths are watched by BFD at 50 ms × 3.
    pub(crate) fn start_with_bfd(
        sender: Sender,
        ground: &Ground,
        batches: &[Batch],
    ) -> Result<Self> {
        Self::launch(sender, ground, batches, true)
    }

    fn launch(sender: Sender, ground: &Ground, batches: &[Batch], bfd: bool) -> Result<Self> {
        let neighbors = ground.neighbors.clone();
        let id = neighbors.first().context("no router")?.own;
        let dir = ground.bare.dir();
        let path = dir.join("sender");
        let spec = |program: PathBuf| {
            ProcessSpec::new("sender", program)
                .arg(&path)
                .arg(id.to_string())
        };
        let spec = match sender {
            Sender::Herald if bfd => spec(own_program()?).arg("--bfd"),
            Sender::Herald => spec(own_program()?),
            Sender::Bird => bird::spec(dir, &path, &neighbors, batches, bfd)?,
            _ if bfd => bail!("{sender} has no BFD"),
            Sender::Metallb => spec(others()?.join("metallb")),
            Sender::Gobgp => spec(others()?.join("gobgp")).arg("single"),
            Sender::GobgpBulk => spec(others()?.join("gobgp")).arg("bulk"),
        };
        let process = ground.bare.spawn(SPEAKER, spec)?;
        let control = match sender {
            Sender::Bird => Control::Bird(Bird::new(path)),
            _ => Control::Socket(Socket::connect(&path, &process)?),
        };
        let mut running = Self {
            process,
            control,
            batches: batches.to_vec(),
            neighbors,
            bfd,
        };
        running.wait_ready()?;
        Ok(running)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let Control::Bird(bird) = &self.control else {
            return Ok(());
        };
        herald_interop::eventually(Duration::from_mins(1), "BIRD's answer", || {
            Ok(bird.ask("show status").is_ok().then_some(()))
        })
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Asks for the session with a router. When that was.
    pub(crate) fn connect(&mut self, router: usize) -> Result<Instant> {
        let Neighbor { address, own, asn } =
            *self.neighbors.get(router).context("no such router")?;
        match &mut self.control {
            // Only Herald's sender has BFD, and knows of own addresses.
            Control::Socket(socket) if self.bfd => {
                socket.ask(&format!("peer {address} {asn} {own}"))
            }
            Control::Socket(socket) => socket.ask(&format!("peer {address} {asn}")),
            Control::Bird(bird) => bird.timed(&format!("enable p{router}")),
        }
    }

    /// Announces a batch. When that was asked.
    pub(crate) fn announce(&mut self, batch: usize) -> Result<Instant> {
        let Batch {
            from,
            count,
            community,
        } = *self.batches.get(batch).context("no such batch")?;
        match &mut self.control {
            Control::Socket(socket) => socket.ask(&format!("announce {from} {count} {community}")),
            Control::Bird(bird) => bird.timed(&format!("enable b{batch}")),
        }
    }

    /// Withdraws a batch. When that was asked.
    pub(crate) fn withdraw(&mut self, batch: usize) -> Result<Instant> {
        let Batch { from, count, .. } = *self.batches.get(batch).context("no such batch")?;
        match &mut self.control {
            Control::Socket(socket) => socket.ask(&format!("withdraw {from} {count}")),
            Control::Bird(bird) => {
                // Earlier batches with the same routes must not come back.
                for earlier in 0..batch {
                    if self.batches.get(earlier).is_some_and(|b| b.from == from) {
                        bird.ask(&format!("disable b{earlier}"))?;
                    }
                }
                bird.timed(&format!("disable b{batch}"))
            }
        }
    }
}

/// Herald's sender, built beside this program.
fn own_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("herald-bgp-sender");
    if !program.is_file() {
        bail!("there is no {}: build herald-bench", program.display());
    }
    Ok(program)
}

/// Where `peer/senders/build.sh` puts the others.
fn others() -> Result<PathBuf> {
    let dir = match std::env::var_os("HERALD_SENDERS") {
        Some(dir) => PathBuf::from(dir),
        None => match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
            (Some(cache), _) => PathBuf::from(cache).join("herald/bgp-senders"),
            (None, Some(home)) => PathBuf::from(home).join(".cache/herald/bgp-senders"),
            (None, None) => bail!("neither HERALD_SENDERS nor HOME is set"),
        },
    };
    if !dir.join("metallb").is_file() {
        bail!(
            "{} has no metallb: run tests/bench/peer/senders/build.sh",
            dir.display()
        );
    }
    Ok(dir)
}
