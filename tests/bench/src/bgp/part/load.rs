//! BFD with many peers while routes are pushed to all of them and every core is busy.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_interop::{Router, State, eventually};

use super::super::ground::Ground;
use super::super::sample::{Figure, Key, Receiver, Samples};
use super::super::sender::{Batch, Running, Sender};
use super::PATIENCE;
use super::cut::wait_watched;

/// How many sessions there are.
pub(crate) const SESSIONS: usize = 100;

/// How often the routes come and go.
const CHANGE: Duration = Duration::from_secs(10);

pub(crate) fn measure(
    sender: Sender,
    routes: usize,
    duration: Duration,
    samples: &mut Samples,
) -> Result<()> {
    let ground = Ground::crowded(SESSIONS)?;
    let peer = ground.bird_with_bfd()?;
    let_watch_as_another_machine(&peer)?;
    let mut running = Running::start_with_bfd(sender, &ground, &[Batch::first(routes, 1)])?;
    for session in 0..SESSIONS {
        running.connect(session)?;
    }
    wait_established(&peer)?;
    wait_watched(&peer, SESSIONS)?;
    // All timers have their final values.
    thread::sleep(Duration::from_secs(3));

    let mut watched = Watched::default();
    watched.look(&look(&peer)?);
    let up = watched.up();
    ensure!(up == SESSIONS, "{up} of {SESSIONS} BFD sessions are up");
    let cores = thread::available_parallelism()?.get();
    let over = AtomicBool::new(false);
    let looked = thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let looked = watch(&mut running, &peer, duration, &mut watched);
        over.store(true, Ordering::Relaxed);
        looked
    });
    looked?;
    let least = eventually(PATIENCE, "BIRD's answer", || {
        received(&peer.command("show protocols all")?).map(Some)
    })?;
    eprintln!(
        "{sender}: {} of {SESSIONS} BFD sessions are up after {duration:?}, {} went down; at least {least} \
         changes of routes have reached each peer",
        watched.up(),
        watched.downs
    );
    // With a session that begins anew BIRD's count does, too.
    ensure!(
        least > 0 || watched.downs > 0,
        "a peer has received no route: nothing was pushed to it"
    );
    let key = Key {
        figure: Figure::Downs,
        sender,
        receiver: Receiver::Bird,
        routes,
    };
    samples.add(key, Some(watched.downs.into()))?;
    ground.bare.down();
    Ok(())
}

/// Runs the router's BFD, a thread beside its first one, before all that is not real-time: it is another
/// machine, which the loops do not slow.
fn let_watch_as_another_machine(router: &Router) -> Result<()> {
    let mut threads = 0;
    for process in router.processes() {
        let first = process.pid().to_string();
        for task in fs::read_dir(format!("/proc/{first}/task"))? {
            let task = task?.file_name();
            if *task == *first {
                continue;
            }
            let mut chrt = Command::new("chrt");
            let status = chrt.args(["--rr", "--pid", "1"]).arg(&task).status();
            let status = status.context("cannot run chrt")?;
            ensure!(status.success(), "chrt: {status}");
            threads += 1;
        }
    }
    ensure!(threads > 0, "BIRD has no thread for BFD");
    Ok(())
}

fn wait_established(peer: &Router) -> Result<()> {
    eventually(PATIENCE, "all sessions to be established", || {
        let neighbors = peer.neighbors()?.into_iter();
        let up = neighbors.filter(|neighbor| neighbor.state == State::Established);
        Ok((up.count() == SESSIONS).then_some(()))
    })
}

fn watch(
    running: &mut Running,
    peer: &Router,
    duration: Duration,
    watched: &mut Watched,
) -> Result<()> {
    let begun = Instant::now();
    let (mut changes, mut announced) = (0, false);
    while begun.elapsed() < duration {
        if begun.elapsed() >= CHANGE * changes {
            changes += 1;
            announced = !announced;
            if announced {
                running.announce(0)?;
            } else {
                running.withdraw(0)?;
            }
        }
        thread::sleep(Duration::from_secs(1));
        watched.look(&look(peer)?);
    }
    Ok(())
}

/// The sessions at present. BIRD answers late when it has many routes to take in.
fn look(peer: &Router) -> Result<Sessions> {
    eventually(PATIENCE, "BIRD's answer", || {
        sessions(&peer.command("show bfd sessions")?).map(Some)
    })
}

/// Sessions by address: whether they are up, and since when, in seconds since the epoch.
type Sessions = BTreeMap<IpAddr, (bool, u64)>;

/// Reads BIRD's `show bfd sessions`: address, interface, state, since, interval, timeout.
fn sessions(answer: &str) -> Result<Sessions> {
    let mut sessions = Sessions::new();
    for line in answer.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _, state, since, ..] = words.as_slice() else {
            continue;
        };
        // A heading is no address.
        let Ok(address) = address.parse() else {
            continue;
        };
        // Fractions of a second may follow.
        let whole = since.split('.').next().unwrap_or_default();
        let since = whole
            .parse()
            .with_context(|| format!("no time in {line:?}"))?;
        sessions.insert(address, (*state == "Up", since));
    }
    Ok(sessions)
}

/// Reads BIRD's `show protocols all`, a line for each protocol, then its details, indented: the
/// fewest routes, and withdrawals, that a BGP peer has sent.
fn received(answer: &str) -> Result<u64> {
    let mut peers: Vec<u64> = Vec::new();
    let mut is_peer = false;
    for line in answer.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, protocol, ..] if !line.starts_with(' ') => {
                is_peer = *protocol == "BGP";
                if is_peer {
                    peers.push(0);
                }
            }
            ["Import", "updates:" | "withdraws:", received, ..] if is_peer => {
                if let Some(count) = peers.last_mut() {
                    *count += received.parse::<u64>()?;
                }
            }
            _ => {}
        }
    }
    peers.into_iter().min().context("the router has no peer")
}

/// What was seen of the sessions.
#[derive(Debug, Default)]
struct Watched {
    last: Sessions,
    /// How often one went down.
    downs: u32,
}

impl Watched {
    /// How many are up.
    fn up(&self) -> usize {
        self.last.values().filter(|(up, _)| *up).count()
    }

    fn look(&mut self, now: &Sessions) {
        for (address, (was_up, since)) in &self.last {
            let same = now.get(address).is_some_and(|(up, at)| *up && at == since);
            self.downs += u32::from(*was_up && !same);
        }
        self.last.clone_from(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "bfd1:\nIP address  Interface  State  Since  Interval  Timeout\n";

    #[test]
    fn a_session_that_is_down_or_up_anew_went_down_once() -> Result<()> {
        let look = |state, since| {
            sessions(&format!(
                "{HEAD}10.99.0.1  eth0  {state}  {since}  0.050  0.150\n"
            ))
        };
        let mut watched = Watched::default();
        for (state, since) in [("Up", "100.25"), ("Up", "100.25"), ("Down", "107")] {
            watched.look(&look(state, since)?);
        }
        assert_eq!(watched.downs, 1);
        watched.look(&look("Up", "108")?);
        assert_eq!(watched.downs, 1, "it came back");
        watched.look(&look("Up", "111")?);
        assert_eq!(watched.downs, 2, "it was down between two looks");
        watched.look(&Sessions::new());
        assert_eq!(watched.downs, 3, "it is not there at all");
        assert!(look("Up", "yesterday").is_err());
        Ok(())
    }

    #[test]
    fn the_peer_that_was_told_least_counts_and_other_protocols_do_not() -> Result<()> {
        let stats = |updates, withdraws| {
            format!(
                "    Route change stats:     received   rejected   filtered    ignored   accepted\n\
                 \x20     Import updates:     {updates}          0          {updates}          0          0\n\
                 \x20     Import withdraws:   {withdraws}          0        ---          {withdraws}          0\n\
                 \x20     Export updates:              7          7          0        ---          0\n"
            )
        };
        let answer = format!(
            "Name       Proto      Table      State  Since         Info\n\
             kernel1    Kernel     master4    up     1763765000\n{}\
             speaker0   BGP        ---        up     1763765001    Established\n{}\
             speaker1   BGP        ---        up     1763765002    Established\n{}",
            stats(0, 0),
            stats(300, 200),
            stats(300, 100)
        );
        assert_eq!(received(&answer)?, 400);
        assert!(received("").is_err());
        Ok(())
    }
}
