//! Whether BFD sessions stay up while the node is busy: a hundred of 50 ms times 3 between two of our own,
//! while FRR and BIRD get 100,000 routes again and again, on a machine without an idle processor. Goes on for
//! ten minutes, or as many seconds as its argument says, and fails if a session goes down. Needs root, like
//! the tests.
//!
//! BFD with the routers would measure theirs: on a machine of two cores they take Herald as dead every few
//! seconds then.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/bfd/lan.rs"]
mod lan;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/bfd/speaker.rs"]
mod speaker;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use herald_api::config::bgp::BgpPeer;
use herald_bfd::{Path, Settings, State};
use herald_interop::{Router, eventually};
use herald_lab::Bare;
use herald_model::Cidr;
use herald_speaker::bfd::{BfdStatuses, PathFailed, Request, Requests};

use crate::lan::{SOON, lan, peers, routers};
use crate::speaker::{Bfd, Herald, ID};

const SESSIONS: u8 = 100;
const ROUTES: u32 = 100_000;

/// A process that never waits for each processor.
struct Hogs(Vec<Child>);

impl Hogs {
    fn start() -> Result<Self> {
        let mut hogs = Self(Vec::new());
        for _ in 0..thread::available_parallelism()?.get() {
            let mut hog = Command::new("sh");
            hog.args(["-c", "while :; do :; done"]);
            hogs.0.push(hog.spawn().context("cannot run sh")?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

/// Host routes, others than those of the wave before.
fn routes(wave: u32) -> Result<Vec<Cidr>> {
    let first = if wave.is_multiple_of(2) { 20 } else { 40 };
    let prefix = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        Cidr::new(IpAddr::from([first + a, b, c, 1]), 32)
    };
    (0..ROUTES).map(|n| prefix(n).context("a prefix")).collect()
}

/// One of the addresses of either end.
fn host(end: u8, n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 98, end, n + 1)
}

/// Asks for a session with each address of the other end.
fn request_all(requests: &Requests, end: u8, other: u8) {
    let interval = Duration::from_millis(50);
    for n in 0..SESSIONS {
        let request = Request {
            path: Path::SingleHop {
                peer: host(other, n).into(),
                interface: None,
            },
            local: host(end, n).into(),
            vrf: None,
            settings: Settings {
                transmit_interval: interval,
                receive_interval: interval,
                ..Settings::default()
            },
            failed: PathFailed::default(),
        };
        requests.set(&format!("load-{n}"), Some(request));
    }
}

/// How many of these sessions are up, and how often they went down, all together.
fn ups_and_downs(statuses: &BfdStatuses, prefix: &str) -> (usize, u64) {
    let these = statuses
        .peers
        .iter()
        .filter(|(name, _)| name.starts_with(prefix));
    let sessions = these.filter_map(|(_, status)| status.session.as_ref());
    sessions.fold((0, 0), |(ups, downs), session| {
        let up = usize::from(session.state == State::Up);
        (ups + up, downs + session.counters.downs)
    })
}

fn push(herald: &mut Herald, routers: &[Router], wave: u32) -> Result<()> {
    herald.announce(&routes(wave)?);
    for router in routers {
        let what = format!("wave {wave} at {}", router.name());
        eventually(Duration::from_mins(5), &what, || {
            thread::sleep(Duration::from_millis(500));
            let neighbor = router.neighbor(ID.into())?.context("no neighbour")?;
            Ok((neighbor.prefixes == ROUTES as usize).then_some(()))
        })?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let seconds = std::env::args()
        .nth(1)
        .map_or(Ok(600), |text| text.parse())?;
    let bare = lan()?;
    let other = Bare::new(&["far"])?;
    let far_end = other.netns("far");
    bare.ip(
        "herald",
        [
            format!(
                "link add many type veth peer name many netns {}",
                far_end.name()
            ),
            "link set many up".to_owned(),
        ],
    )?;
    other.ip("far", ["link set many up"])?;
    for n in 0..SESSIONS {
        bare.ip("herald", [format!("addr add {}/16 dev many", host(1, n))])?;
        other.ip("far", [format!("addr add {}/16 dev many", host(2, n))])?;
    }
    let routers = routers(&bare, false)?;
    let unwatched: Vec<BgpPeer> = peers(50)
        .into_iter()
        .map(|peer| BgpPeer { bfd: None, ..peer })
        .collect();
    let mut herald = Herald::start(&bare.netns("herald"), &unwatched, false)?;
    let (mut far, far_requests) = Bfd::start(&far_end);
    let near_requests = herald.requests.clone().context("it runs")?;
    request_all(&near_requests, 1, 2);
    drop(near_requests);
    request_all(&far_requests, 2, 1);
    let near = herald.bfd.statuses.clone();
    for statuses in [&near, &far.statuses] {
        eventually(SOON, "all sessions", || {
            let (ups, _) = ups_and_downs(&statuses.borrow(), "load-");
            Ok((ups == usize::from(SESSIONS)).then_some(()))
        })?;
    }

    let hogs = Hogs::start()?;
    let begun = Instant::now();
    let mut wave = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        push(&mut herald, &routers, wave)?;
        wave += 1;
        let seen = [&near, &far.statuses].map(|s| ups_and_downs(&s.borrow(), "load-"));
        let after = begun.elapsed();
        eprintln!("{after:.1?}: {wave} waves, up and downs here and there {seen:?}");
        ensure!(seen == [(usize::from(SESSIONS), 0); 2], "{seen:?}");
    }
    drop(hogs);
    drop(far_requests);
    herald.stop()?;
    far.stop()?;
    other.down();
    bare.down();
    Ok(())
}
