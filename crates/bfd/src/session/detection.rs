//! Whether the peer is silent for too long (RFC 5880 6.8.4), and whether that is known.

use std::time::{Duration, Instant};

use super::Session;
use crate::{Cause, Diagnostic, EventKind, Inbox, State};

/// Timers that are later than this say that the process did not run.
pub(crate) const LATE: Duration = Duration::from_millis(20);

/// What is to be heard: packets of the peer, or our echo packets that come back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// When the last one was heard.
    pub(super) heard: Instant,
    /// How long it takes from one to the next.
    pub(super) interval: Duration,
    /// How long there may be none.
    pub(super) detection: Duration,
}

impl Watch {
    /// Whether it is certain that there was none, now that the detection time is over. `stalled` is
    /// when this process last ran again after it was late.
    pub(super) fn is_certain(
        &self,
        silence: &mut Option<Silence>,
        now: Instant,
        inbox: Inbox,
        stalled: Option<Instant>,
    ) -> bool {
        let silence = silence.get_or_insert_with(|| Silence {
            spared_until: stalled
                .filter(|stalled| *stalled > self.heard)
                .map(|stalled| stalled + self.interval + LATE),
            unread_until: now + self.detection,
            look: now,
        });
        if let Some(until) = silence.spared_until.filter(|until| now < *until) {
            silence.look = until;
            return false;
        }
        if inbox == Inbox::Waiting && now < silence.unread_until {
            silence.look = now;
            return false;
        }
        true
    }
}

/// The peer is silent for longer than it may be, but that is not certain yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Silence {
    /// Not before then, since this process did not run.
    spared_until: Option<Instant>,
    /// Before then only if all that was received is read.
    unread_until: Instant,
    /// When to look again.
    look: Instant,
}

impl Silence {
    pub(super) const fn look(&self) -> Instant {
        self.look
    }
}

impl Session {
    /// How long the peer may be silent, if it was heard.
    pub(super) fn detection_time(&self) -> Option<Duration> {
        let packet = self.peer_packet()?;
        Some(self.peer_interval()? * u32::from(packet.detect_multiplier))
    }

    /// The interval at which the peer sends.
    fn peer_interval(&self) -> Option<Duration> {
        let desired = Duration::from_micros(u64::from(self.peer_packet()?.desired_min_tx));
        Some(desired.max(self.negotiation.in_force().receive))
    }

    fn deadline(&self) -> Option<Instant> {
        let (heard, _) = self.heard.as_ref()?;
        Some(*heard + self.detection_time()?)
    }

    pub(super) fn detection_wake(&self) -> Option<Instant> {
        match &self.silence {
            Some(silence) => Some(silence.look),
            None => self.deadline(),
        }
    }

    /// Looks whether the detection time is over. `stalled` is when this process last ran again after
    /// it was late.
    pub(crate) fn detect(
        &mut self,
        now: Instant,
        inbox: Inbox,
        stalled: Option<Instant>,
    ) -> Option<EventKind> {
        let (heard, _) = *self.heard.as_ref()?;
        if now < self.deadline()? {
            self.silence = None;
            return None;
        }
        if matches!(self.state, State::Init | State::Up) {
            let watch = Watch {
                heard,
                interval: self.peer_interval()?,
                detection: self.detection_time()?,
            };
            if !watch.is_certain(&mut self.silence, now, inbox, stalled) {
                return None;
            }
        }
        self.lose_peer(now)
    }

    /// Forgets what the peer said: 6.8.1 says so of its discriminator. Its Required Min RX goes as
    /// well: a peer that asked for no packets and died could not be reached any more.
    fn lose_peer(&mut self, now: Instant) -> Option<EventKind> {
        self.heard = None;
        self.silence = None;
        self.owes_final = false;
        if !matches!(self.state, State::Init | State::Up) {
            return None;
        }
        self.diagnostic = Diagnostic::DetectionTimeExpired;
        self.go(now, State::Down, Cause::DetectionTimeExpired)
    }
}
