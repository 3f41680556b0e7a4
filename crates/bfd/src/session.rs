//! One session (RFC 5880 6.8).

mod detection;
mod echo;
mod machine;
mod receive;
mod transmit;

use std::net::IpAddr;
use std::time::{Duration, Instant};

pub(crate) use detection::LATE;
use detection::Silence;
use echo::EchoState;
use rand::rngs::ChaCha8Rng;

use crate::negotiation::{Intervals, Negotiation};
use crate::status::{Counters, PeerStatus, Status};
use crate::{Cause, ControlPacket, Diagnostic, EventKind, Path, Settings, State};

/// The least interval to ask for and to send at while a session is not up (RFC 5880 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// Whether the session is held down on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admin {
    /// It is not.
    Enabled,
    /// It is. The peer is told until then, at this interval.
    Disabled { until: Instant, interval: Duration },
}

/// One session, without its place among the others.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent of each other"
)]
pub(crate) struct Session {
    discriminator: u32,
    path: Path,
    settings: Settings,
    state: State,
    since: Instant,
    diagnostic: Diagnostic,
    admin: Admin,
    /// It is removed as soon as the peer was told that it is down.
    retiring: bool,
    /// The last packet, and when it came. None if nothing came for the detection time: then the
    /// peer's discriminator counts as 0, and its other values as they are at first (6.8.1).
    heard: Option<(Instant, ControlPacket)>,
    /// The interface that the peer's packets come by, by its index.
    interface: Option<u32>,
    /// The address that they are sent to.
    local: Option<IpAddr>,
    /// Set while the peer is silent for too long, but may have been heard if this process had run.
    silence: Option<Silence>,
    negotiation: Negotiation,
    /// The last packet but for P and F, and when it was sent.
    sent: Option<(Instant, ControlPacket)>,
    /// The interval that `next_send` was made with.
    interval: Option<Duration>,
    next_send: Option<Instant>,
    /// A packet is to be sent before its time.
    urgent: bool,
    /// The peer waits for a Final.
    owes_final: bool,
    echo: EchoState,
    counters: Counters,
    /// When the schedule has it.
    pub(crate) armed: Option<Instant>,
    /// Whether it is among those that want to send.
    pub(crate) queued: bool,
}

impl Session {
    pub(crate) fn new(now: Instant, discriminator: u32, path: Path, settings: Settings) -> Self {
        let wanted = Intervals {
            transmit: settings.transmit_interval.max(SLOW),
            receive: settings.receive_interval,
            echo: None,
        };
        Self {
            discriminator,
            path,
            settings,
            state: State::Down,
            since: now,
            diagnostic: Diagnostic::None,
            admin: Admin::Enabled,
            retiring: false,
            heard: None,
            interface: None,
            local: None,
            silence: None,
            negotiation: Negotiation::new(wanted),
            sent: None,
            interval: None,
            next_send: None,
            urgent: false,
            owes_final: false,
            echo: EchoState::default(),
            counters: Counters::default(),
            armed: None,
            queued: false,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes new settings. Intervals are negotiated; the session goes on.
    pub(crate) fn set_settings(&mut self, now: Instant, settings: Settings) {
        self.settings = settings;
        self.negotiate(now);
    }

    /// Holds the session down, and tells the peer for the detection time that it has for us
    /// (RFC 5880 6.8.16).
    ///
    /// The peer is told at the interval it was sent to before, not at that of a session which is
    /// not up: were the one packet lost, the peer would take the path as down after that time.
    pub(crate) fn disable(&mut self, now: Instant) -> Option<EventKind> {
        if self.admin != Admin::Enabled {
            return None;
        }
        let interval = self.agreed_interval();
        let told = if self.state == State::Up {
            interval * u32::from(self.settings.detect_multiplier)
        } else {
            Duration::ZERO
        };
        self.admin = Admin::Disabled {
            until: now + told,
            interval,
        };
        self.diagnostic = Diagnostic::AdministrativelyDown;
        self.go(now, State::AdminDown, Cause::Disabled)
    }

    /// Holds the session down no longer.
    pub(crate) fn enable(&mut self, now: Instant) -> Option<EventKind> {
        if self.admin == Admin::Enabled || self.retiring {
            return None;
        }
        self.admin = Admin::Enabled;
        self.diagnostic = Diagnostic::None;
        self.go(now, State::Down, Cause::Enabled)
    }

    /// Disables the session for good.
    pub(crate) fn retire(&mut self, now: Instant) -> Option<EventKind> {
        let event = self.disable(now);
        self.retiring = true;
        event
    }

    pub(crate) fn retiring(&self) -> bool {
        self.retiring
    }

    /// Whether it was retired and the peer was told.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let Admin::Disabled { until, .. } = self.admin else {
            return false;
        };
        self.retiring && now >= until && !self.urgent && !self.owes_final
    }

    /// Changes the state, with all that depends on it.
    fn go(&mut self, now: Instant, to: State, cause: Cause) -> Option<EventKind> {
        let from = std::mem::replace(&mut self.state, to);
        if from == to {
            return None;
        }
        self.since = now;
        self.silence = None;
        if from == State::Up {
            self.counters.downs += 1;
        }
        if to == State::Up {
            self.counters.ups += 1;
            self.diagnostic = Diagnostic::None;
            self.negotiation.begin(self.wanted());
        } else {
            self.negotiation.set(self.wanted());
        }
        Some(EventKind::Changed { from, to, cause })
    }

    /// The intervals that the state and the settings ask for.
    fn wanted(&self) -> Intervals {
        let least = if self.state == State::Up {
            Duration::ZERO
        } else {
            SLOW
        };
        Intervals {
            transmit: self.settings.transmit_interval.max(least),
            receive: self.settings.receive_interval,
            echo: self.echo_wanted(),
        }
    }

    fn negotiate(&mut self, now: Instant) {
        let wanted = self.wanted();
        if self.state == State::Up {
            // No answer to a Poll is under way any more once the peer must have been heard again.
            let patience = self.detection_time().unwrap_or_default();
            self.negotiation.request(now, wanted, patience);
        } else {
            self.negotiation.set(wanted);
        }
    }

    fn peer_packet(&self) -> Option<&ControlPacket> {
        self.heard.as_ref().map(|(_, packet)| packet)
    }

    /// Brings timers and what is to be sent in line with what changed.
    pub(crate) fn settle(&mut self, now: Instant, rng: &mut ChaCha8Rng) {
        let interval = self.periodic_interval(now);
        if interval != self.interval {
            self.interval = interval;
            self.next_send = interval.map(|interval| self.next_at(now, interval, rng));
        }
        self.settle_echo(now, rng);
        let said = self.sent.as_ref().map(|(_, packet)| packet);
        if self.may_speak(now) && said != Some(&self.content()) {
            self.urgent = true;
        }
    }

    /// When to be looked at next.
    pub(crate) fn wake(&self) -> Option<Instant> {
        let told = match self.admin {
            Admin::Disabled { until, .. } if self.retiring || self.interval.is_some() => {
                Some(until)
            }
            _ => None,
        };
        // One that waits to be taken is sent without a timer.
        let next_send = self.next_send.filter(|_| !self.queued);
        let times = [next_send, self.detection_wake(), self.echo_wake(), told];
        times.into_iter().flatten().min()
    }

    pub(crate) fn count_discarded(&mut self) {
        self.counters.discarded += 1;
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            state: self.state,
            since: self.since,
            diagnostic: self.diagnostic,
            peer: self.peer_packet().map(PeerStatus::from),
            transmit_interval: self.interval,
            detection_time: self.detection_time(),
            polling: self.negotiation.polling(),
            echo: self.echo_status(),
            counters: self.counters,
        }
    }
}
