//! BFD with many peers while routes are pushed to all of them and every core is busy.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use herald_interop::Router;

use super::super::ground::Ground;
use super::super::sample::{Figure, Key, Receiver, Samples};
use super::super::sender::{Batch, Running, Sender};
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
    let mut running = Running::start_with_bfd(sender, &ground, &[Batch::first(routes, 1)])?;
    for session in 0..SESSIONS {
        running.connect(session)?;
    }
    wait_watched(&peer, SESSIONS)?;
    thread::sleep(Duration::from_secs(3));

    let mut watched = Watched::default();
    watched.look(&sessions(&peer.command("show bfd sessions")?)?);
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
        watched.look(&sessions(&peer.command("show bfd sessions")?)?);
    }
    Ok(())
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

/// What was seen of the sessions.
#[derive(Debug, Default)]
struct Watched {
    last: Sessions,
    /// How often one went down.
    downs: u32,
}

impl Watched {
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
}
