//! The session's echo packets, and those of its peer (RFC 5880 6.8.5 and 6.8.9).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::Session;
use super::detection::{Silence, Watch};
use crate::echo::{ECHO_LEN, EchoPacket};
use crate::status::{EchoOff, EchoStatus};
use crate::{Cause, Diagnostic, Discard, EchoArrival, EventKind, Inbox, State};

/// How many echo packets of the peer may be returned in a row, faster than it was told to send them:
/// they wait in queues.
const BURST: u32 = 8;

/// What a session knows of echo packets.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent of each other"
)]
pub(super) struct EchoState {
    /// The caller can send, receive and return echo packets.
    pub(super) open: bool,
    /// At which ours are sent; none while none are.
    interval: Option<Duration>,
    next_send: Option<Instant>,
    last_sent: Option<Instant>,
    /// Whether it is among those that want to send.
    pub(super) queued: bool,
    /// When the last one came back, or the first was to be sent.
    heard: Option<Instant>,
    silence: Option<Silence>,
    /// One came back since the session was added.
    proven: bool,
    /// None came back for the detection time, nor ever before.
    unanswered: bool,
    /// The tokens of the last that were sent; none of those that came back.
    awaited: VecDeque<Option<u64>>,
    /// The sequence number of the first of them.
    first: u32,
    /// When the peer may send its next one, if it sends as often as it may.
    peer_due: Option<Instant>,
}

impl Session {
    /// The interval that the settings ask for, on a path that echo is possible on.
    fn echo_asked_for(&self) -> Option<Duration> {
        self.settings.echo.filter(|_| self.path.takes_echo())
    }

    /// What the peer is told, and may count on.
    pub(super) fn echo_wanted(&self) -> Option<Duration> {
        self.echo_asked_for().filter(|_| self.echo.open)
    }

    /// The interface that echo packets are to be sent and received on: that of the peer's packets.
    pub(crate) fn echo_interface(&self) -> Option<u32> {
        let returns = self.negotiation.in_force().echo.is_some();
        let wanted = !self.retiring && (self.echo_asked_for().is_some() || returns);
        self.interface.filter(|_| wanted)
    }

    pub(crate) fn set_echo_open(&mut self, now: Instant, open: bool) {
        self.echo.open = open;
        self.negotiate(now);
    }

    /// The interval at which both sides agree that ours are sent.
    fn echo_interval(&self) -> Option<Duration> {
        let own = self.echo_wanted().filter(|_| self.state == State::Up)?;
        let peer = self.peer_packet()?.required_min_echo_rx;
        let peer = Duration::from_micros(u64::from(peer));
        (!peer.is_zero()).then(|| own.max(peer))
    }

    fn echo_detection_time(&self) -> Option<Duration> {
        Some(self.echo.interval? * u32::from(self.settings.detect_multiplier))
    }

    /// Begins to send at another interval, or ends to. The time without any that came back is counted
    /// anew: before, none may have been due.
    pub(super) fn settle_echo(&mut self, now: Instant, rng: &mut ChaCha8Rng) {
        let interval = self.echo_interval();
        if interval == self.echo.interval {
            return;
        }
        self.echo.interval = interval;
        self.echo.silence = None;
        self.echo.unanswered = false;
        self.echo.heard = interval.map(|_| now);
        self.echo.next_send = interval.map(|interval| {
            let last = self.echo.last_sent;
            last.map_or(now, |last| now.max(last + self.jittered(interval, rng)))
        });
    }

    /// When to be looked at next.
    pub(super) fn echo_wake(&self) -> Option<Instant> {
        let next_send = self.echo.next_send.filter(|_| !self.echo.queued);
        let detection = match &self.echo.silence {
            Some(silence) => Some(silence.look()),
            None => self.echo_deadline(),
        };
        next_send.into_iter().chain(detection).min()
    }

    fn echo_deadline(&self) -> Option<Instant> {
        let watched = self.echo.heard.filter(|_| !self.echo.unanswered)?;
        Some(watched + self.echo_detection_time()?)
    }

    pub(crate) fn wants_to_echo(&self, now: Instant) -> bool {
        self.echo.next_send.is_some_and(|at| at <= now)
    }

    pub(crate) fn echo_queued(&mut self) -> &mut bool {
        &mut self.echo.queued
    }

    /// The echo packet to send now, if one still is.
    pub(crate) fn send_echo(
        &mut self,
        now: Instant,
        rng: &mut ChaCha8Rng,
    ) -> Option<[u8; ECHO_LEN]> {
        if !self.wants_to_echo(now) {
            return None;
        }
        let interval = self.echo.interval?;
        let next = now + self.jittered(interval, rng);
        let token = rng.random();
        // Twice as many as are sent in the detection time, or a little more.
        let most = usize::from(self.settings.detect_multiplier) * 2 + 2;
        let echo = &mut self.echo;
        echo.last_sent = Some(now);
        echo.next_send = Some(next);
        echo.awaited.push_back(Some(token));
        while echo.awaited.len() > most {
            echo.awaited.pop_front();
            echo.first = echo.first.wrapping_add(1);
        }
        let behind = u32::try_from(echo.awaited.len()).unwrap_or_default();
        let sequence = echo.first.wrapping_add(behind).wrapping_sub(1);
        self.counters.echo_sent += 1;
        let packet = EchoPacket {
            discriminator: self.discriminator,
            sequence,
            token,
        };
        Some(packet.encode())
    }

    /// Takes one of ours that came back. Each does so once.
    pub(crate) fn echo_returned(
        &mut self,
        now: Instant,
        packet: &EchoPacket,
    ) -> Result<(), Discard> {
        let echo = &mut self.echo;
        if echo.interval.is_none() {
            return Err(Discard::EchoUnwanted);
        }
        let place = usize::try_from(packet.sequence.wrapping_sub(echo.first));
        let awaited = place.ok().and_then(|place| echo.awaited.get_mut(place));
        let awaited = awaited.filter(|awaited| **awaited == Some(packet.token));
        *awaited.ok_or(Discard::EchoStale)? = None;
        echo.heard = Some(now);
        echo.silence = None;
        echo.proven = true;
        echo.unanswered = false;
        self.counters.echo_received += 1;
        Ok(())
    }

    /// Whether one of the peer is to be returned. The peer was told how often it may send one.
    pub(crate) fn returns_echo(
        &mut self,
        now: Instant,
        arrival: &EchoArrival,
    ) -> Result<(), Discard> {
        let to_us = |local: Ipv4Addr| self.local == Some(IpAddr::V4(local));
        let from_here = self.interface == Some(arrival.interface);
        let announced = self.negotiation.in_force().echo;
        let up = self.state == State::Up && from_here;
        let announced = announced.filter(|_| up && self.echo.open);
        let addressed = arrival.to == arrival.from || to_us(arrival.to);
        let interval = announced.filter(|_| addressed);
        let interval = interval.ok_or(Discard::EchoUnwanted)? / 4 * 3;
        let due = self.echo.peer_due.map_or(now, |due| due.max(now));
        if due > now + interval * BURST {
            return Err(Discard::EchoRate);
        }
        self.echo.peer_due = Some(due + interval);
        Ok(())
    }

    /// Looks whether none came back for too long. `stalled` is when this process last ran again after
    /// it was late.
    ///
    /// A peer that never returned one takes them, by what it says, but does not forward them: that is
    /// how it is set up, and not a failure. Its session goes on without.
    pub(crate) fn detect_echo(
        &mut self,
        now: Instant,
        inbox: Inbox,
        stalled: Option<Instant>,
    ) -> Option<EventKind> {
        if now < self.echo_deadline()? {
            self.echo.silence = None;
            return None;
        }
        let watch = Watch {
            heard: self.echo.heard?,
            interval: self.echo.interval?,
            detection: self.echo_detection_time()?,
        };
        if !watch.is_certain(&mut self.echo.silence, now, inbox, stalled) {
            return None;
        }
        self.echo.silence = None;
        if !self.echo.proven {
            self.echo.unanswered = true;
            return None;
        }
        self.diagnostic = Diagnostic::EchoFailed;
        self.go(now, State::Down, Cause::EchoFailed)
    }

    pub(super) fn echo_status(&self) -> Option<EchoStatus> {
        self.settings.echo?;
        let off = |why| Some(EchoStatus::Off(why));
        if !self.path.takes_echo() {
            return off(EchoOff::Path);
        }
        if self.state != State::Up {
            return off(EchoOff::NotUp);
        }
        if !self.echo.open {
            return off(EchoOff::NotOpen);
        }
        match (self.echo.interval, self.echo_detection_time()) {
            _ if self.echo.unanswered => off(EchoOff::Unanswered),
            (Some(interval), Some(detection_time)) => Some(EchoStatus::On {
                interval,
                detection_time,
            }),
            _ => off(EchoOff::PeerTakesNone),
        }
    }
}
