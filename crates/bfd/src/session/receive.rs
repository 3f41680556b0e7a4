//! A packet that is the session's (RFC 5880 6.8.6).

use std::time::Instant;

use super::{Session, machine};
use crate::{Arrival, Cause, ControlPacket, Diagnostic, Discard, EventKind, State};

impl Session {
    /// Takes a packet that passed all checks which need no session.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        arrival: &Arrival,
        packet: &ControlPacket,
    ) -> Result<Option<EventKind>, Discard> {
        if !self.path.admits(arrival) {
            return Err(Discard::WrongPath);
        }
        if arrival.ttl < self.path.least_ttl(&self.settings) {
            return Err(Discard::Ttl);
        }
        self.heard = Some((now, *packet));
        self.interface = Some(arrival.interface);
        self.local = Some(arrival.to.to_canonical());
        self.silence = None;
        if packet.is_final {
            self.negotiation.received_final();
            self.negotiate(now);
        }
        if self.state == State::AdminDown {
            return Err(Discard::AdminDown);
        }
        self.counters.received += 1;
        let event = self.follow(now, packet);
        self.owes_final |= packet.poll;
        Ok(event)
    }

    fn follow(&mut self, now: Instant, packet: &ControlPacket) -> Option<EventKind> {
        let next = machine::next(self.state, packet.state);
        if next == self.state {
            return None;
        }
        let cause = match (next, packet.state) {
            (State::Down, State::AdminDown) => Cause::PeerAdminDown,
            (State::Down, _) => Cause::NeighborSignaledDown(packet.diagnostic),
            _ => Cause::Handshake,
        };
        if next == State::Down {
            self.diagnostic = Diagnostic::NeighborSignaledDown;
        }
        self.go(now, next, cause)
    }
}
