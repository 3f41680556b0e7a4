//! What is sent, and when (RFC 5880 6.8.7).

use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::{Admin, Session};
use crate::{ControlPacket, State};

impl Session {
    /// The next packet but for P and F.
    pub(super) fn content(&self) -> ControlPacket {
        let advertised = self.negotiation.advertised();
        ControlPacket {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: false,
            is_final: false,
            independent: self.settings.control_plane_independent,
            demand: false,
            detect_multiplier: self.settings.detect_multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.peer_packet().map_or(0, |peer| peer.my_discriminator),
            desired_min_tx: microseconds(advertised.transmit),
            required_min_rx: microseconds(advertised.receive),
            required_min_echo_rx: advertised.echo.map_or(0, microseconds),
        }
    }

    /// Whether anything may be sent: the passive side does not speak first, and one that is held
    /// down only until the peer was told.
    pub(super) fn may_speak(&self, now: Instant) -> bool {
        let told = match self.admin {
            Admin::Enabled => false,
            Admin::Disabled { until, .. } => {
                let said = self.sent.as_ref().map(|(_, packet)| packet.state);
                now >= until && said == Some(State::AdminDown)
            }
        };
        !told && (!self.settings.passive || self.heard.is_some())
    }

    /// The interval that both sides agree on: what we would like, but no faster than the peer
    /// receives.
    pub(super) fn agreed_interval(&self) -> Duration {
        let peer = self.peer_packet().map_or(0, |peer| peer.required_min_rx);
        let peer = Duration::from_micros(u64::from(peer));
        self.negotiation.in_force().transmit.max(peer)
    }

    /// The interval at which to send by the clock; none if nothing is to be sent.
    pub(super) fn periodic_interval(&self, now: Instant) -> Option<Duration> {
        if !self.may_speak(now) {
            return None;
        }
        if let Some(peer) = self.peer_packet() {
            let both_up = self.state == State::Up && peer.state == State::Up;
            let demanded = peer.demand && both_up && !self.negotiation.polling();
            if demanded || peer.required_min_rx == 0 {
                return None;
            }
        }
        match self.admin {
            Admin::Enabled => Some(self.agreed_interval()),
            Admin::Disabled { until, interval } => (now < until).then_some(interval),
        }
    }

    /// When to send next now that the interval is another one.
    ///
    /// A packet that was to be sent sooner is still, if the peer's Required Min RX allows it: the
    /// peer may have confirmed the longer interval, and then received an older packet that was
    /// overtaken.
    pub(super) fn next_at(
        &self,
        now: Instant,
        interval: Duration,
        rng: &mut ChaCha8Rng,
    ) -> Instant {
        let Some((sent, _)) = self.sent else {
            return now;
        };
        let next = sent + self.jittered(interval, rng);
        let peer = self.peer_packet().map_or(0, |peer| peer.required_min_rx);
        let least = Duration::from_micros(u64::from(peer)) / 4 * 3;
        let planned = self.next_send.filter(|at| *at >= sent + least);
        planned.map_or(next, |planned| planned.min(next)).max(now)
    }

    /// An interval less 0 to 25 % by chance, so that many sessions do not send at the same moments.
    /// If one missing packet is too much for the peer, there must be time left for it to arrive: at
    /// least 10 % (6.8.7).
    pub(super) fn jittered(&self, interval: Duration, rng: &mut ChaCha8Rng) -> Duration {
        const WHOLE: u32 = 1 << 16;
        let most = if self.settings.detect_multiplier == 1 {
            WHOLE / 10 * 9
        } else {
            WHOLE
        };
        interval * rng.random_range(WHOLE / 4 * 3..=most) / WHOLE
    }

    /// Whether a packet is to be sent now.
    pub(crate) fn wants_to_send(&self, now: Instant) -> bool {
        self.urgent || self.owes_final || self.next_send.is_some_and(|at| at <= now)
    }

    /// The packet to send now, if one still is. An answer with F carries no P.
    pub(crate) fn send(&mut self, now: Instant, rng: &mut ChaCha8Rng) -> Option<ControlPacket> {
        if !self.wants_to_send(now) {
            return None;
        }
        self.negotiate(now);
        let content = self.content();
        let is_final = std::mem::take(&mut self.owes_final);
        let poll = self.negotiation.polling() && !is_final;
        if poll {
            self.negotiation.sent_poll(now);
        }
        self.urgent = false;
        self.sent = Some((now, content));
        self.counters.sent += 1;
        self.interval = self.periodic_interval(now);
        self.next_send = self
            .interval
            .map(|interval| now + self.jittered(interval, rng));
        Some(ControlPacket {
            poll,
            is_final,
            ..content
        })
    }
}

fn microseconds(interval: Duration) -> u32 {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX)
}
