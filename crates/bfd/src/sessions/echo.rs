//! Echo packets of all sessions.

use std::net::IpAddr;
use std::time::Instant;

use super::{SessionId, Sessions, UnknownSession};
use crate::echo::{Echo, EchoArrival, EchoPacket, EchoTransmit, RETURNED_TTL};
use crate::{Discard, Path, TTL};

impl Sessions {
    /// The interface, by its index, on which this session needs echo packets to be sent, received and
    /// returned; none if it needs that nowhere, or the peer was not heard yet.
    pub fn echo_interface(&self, session: SessionId) -> Option<u32> {
        self.all.get(&session.0)?.echo_interface()
    }

    /// Says whether that is done. Only then echo packets are sent, and the peer is told that it may
    /// send some.
    pub fn set_echo_open(
        &mut self,
        now: Instant,
        session: SessionId,
        open: bool,
    ) -> Result<(), UnknownSession> {
        self.change(now, session, |session, now| {
            session.set_echo_open(now, open);
            None
        })
    }

    /// The next echo packet to send. May give one after any other call; a session has one at most.
    pub fn poll_echo(&mut self, now: Instant) -> Option<EchoTransmit> {
        let now = self.last.map_or(now, |last| now.max(last));
        loop {
            let id = self.echo_outbox.pop_front()?;
            let Some(session) = self.all.get_mut(&id.0) else {
                continue;
            };
            *session.echo_queued() = false;
            let payload = session.send_echo(now, &mut self.rng);
            self.settle(now, id, None);
            if let Some(payload) = payload {
                return Some(EchoTransmit {
                    session: id,
                    payload,
                });
            }
        }
    }

    /// Takes a datagram that was received at [`ECHO_PORT`](crate::ECHO_PORT), and says what it is, or
    /// why it was dropped. That is counted already.
    ///
    /// What was returned has another TTL than what is to be returned: no packet goes round twice.
    pub fn handle_echo(
        &mut self,
        now: Instant,
        arrival: &EchoArrival,
        payload: &[u8],
    ) -> Result<Echo, Discard> {
        let now = self.enter(now);
        let taken = match arrival.ttl {
            RETURNED_TTL => self.take_ours(now, payload),
            TTL => self.take_peers(now, arrival),
            _ => Err(Discard::Ttl),
        };
        if let Err(reason) = taken {
            self.discards.add(reason);
        }
        taken
    }

    fn take_ours(&mut self, now: Instant, payload: &[u8]) -> Result<Echo, Discard> {
        let packet = EchoPacket::parse(payload).ok_or(Discard::EchoUnwanted)?;
        let id = SessionId(packet.discriminator);
        let session = self.all.get_mut(&id.0).ok_or(Discard::EchoUnwanted)?;
        session.echo_returned(now, &packet)?;
        self.settle(now, id, None);
        Ok(Echo::Ours(id))
    }

    fn take_peers(&mut self, now: Instant, arrival: &EchoArrival) -> Result<Echo, Discard> {
        let path = |interface| Path::SingleHop {
            peer: IpAddr::V4(arrival.from),
            interface,
        };
        let narrow = self.demultiplexer.at(&path(Some(arrival.interface)));
        let found = narrow.or_else(|| self.demultiplexer.at(&path(None)));
        let id = found.ok_or(Discard::EchoUnwanted)?;
        let session = self.all.get_mut(&id.0).ok_or(Discard::EchoUnwanted)?;
        session.returns_echo(now, arrival)?;
        Ok(Echo::Peers(id))
    }
}
