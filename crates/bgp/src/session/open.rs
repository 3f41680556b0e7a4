//! The OPENs of both sides: what is said, what is accepted, and which of two connections is kept.

use std::sync::Arc;
use std::time::Instant;

use super::connection::{Origin, Phase};
use super::{Connection, ConnectionId, Event, Reason, Session, State, Told};
use crate::wire::{
    Capabilities, ErrorCode, ExpectedAs, Families, GracefulRestart, LongLived, Negotiated,
    Notification, Open, PerFamily,
};

impl Session {
    /// What this side says of itself.
    pub(super) fn our_open(&self, now: Instant) -> Open {
        let config = &self.config;
        let families = config.families;
        // A session that comes back while this speaker lives has lost nothing.
        let lived = self.told >= Told::Open;
        let kept = |restart: &super::Restart| restart.forwarding_kept || lived;
        let restarting = |until: Option<Instant>| until.is_some_and(|until| now < until);
        let internal = match config.peer_as {
            ExpectedAs::Exactly(asn) => asn == config.local_as,
            ExpectedAs::Internal => true,
            ExpectedAs::External => false,
        };
        let graceful_restart = config.restart.as_ref().map(|restart| GracefulRestart {
            restarting: self.told < Told::All && restarting(restart.restarted),
            notification: true,
            restart_time: restart.time,
            families,
            forwarding: if kept(restart) {
                families
            } else {
                Families::NONE
            },
        });
        let long_lived_graceful_restart = config.restart.as_ref().and_then(|restart| {
            let stale_time = restart.long_lived?;
            let one = |named: bool| {
                named.then_some(LongLived {
                    forwarding: kept(restart),
                    stale_time,
                })
            };
            Some(PerFamily {
                ipv4: one(families.ipv4),
                ipv6: one(families.ipv6),
            })
        });
        let open = |capabilities| Open {
            my_as: config.local_as,
            hold_time: config.timers.hold,
            id: config.id,
            capabilities,
        };
        // A peer without capabilities exchanges IPv4 unicast and nothing else.
        if self.capabilities_refused && families.ipv4 {
            return open(Capabilities::default());
        }
        open(Capabilities {
            families,
            extended_next_hop: config.extended_next_hop && families.ipv4,
            route_refresh: true,
            enhanced_route_refresh: true,
            extended_message: config.extended_messages,
            four_octet_as: true,
            graceful_restart,
            long_lived_graceful_restart,
            // Roles are of sessions between two ASes (RFC 9234 4.1).
            role: config.role.filter(|_| !internal).map(|role| role.role),
            other: Vec::new(),
        })
    }

    /// The peer's OPEN has come.
    pub(super) fn handle_open(&mut self, now: Instant, id: ConnectionId, theirs: &Open) {
        let ours = self.our_open(now);
        let negotiated = match self.check(&ours, theirs) {
            Ok(negotiated) => Arc::new(negotiated),
            Err((reason, notification)) => {
                self.end(now, id, reason, Some(notification));
                return;
            }
        };
        if !self.resolve_collision(now, id, &negotiated) {
            return;
        }
        self.greet(now, id);
        let patience = self.config.timers.open;
        if let Some(connection) = self.connection_mut(id) {
            connection.framer.set_limit(negotiated.message_limit);
            connection.phase = Phase::OpenConfirm(negotiated);
            // Without a hold time it still has to get on.
            connection.deadline = Some(now + connection.hold().unwrap_or(patience));
        }
        // Nothing is to be gained by another connection.
        self.dial_at = None;
        self.write_keepalive(now, id);
    }

    /// The peer's first KEEPALIVE has come.
    pub(super) fn establish(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        let Some(negotiated) = connection.negotiated().cloned() else {
            return;
        };
        connection.phase = Phase::Established(Arc::clone(&negotiated));
        connection.up = Some(now);
        connection.deadline = connection.hold().map(|hold| now + hold);
        self.counters.ups += 1;
        self.dial_at = None;
        let needless: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| !connection.greeted)
            .map(|(_, connection)| connection.id)
            .collect();
        for id in needless {
            let notification = Notification::new(ErrorCode::CONNECTION_COLLISION);
            self.end(now, id, Reason::Collision, Some(notification));
        }
        self.event(Event::Up(negotiated));
    }

    /// What holds for a session with a peer that says this, or why there can be none.
    fn check(&self, ours: &Open, theirs: &Open) -> Result<Negotiated, (Reason, Notification)> {
        theirs.check(ours, self.config.peer_as).map_err(|refusal| {
            let (our_role, their_role) = (ours.capabilities.role, theirs.capabilities.role);
            let reason = match (refusal.error, our_role) {
                (ErrorCode::BAD_PEER_AS, _) => Reason::WrongAs {
                    expected: self.config.peer_as,
                    local: ours.my_as,
                    found: theirs.my_as,
                },
                (ErrorCode::BAD_BGP_IDENTIFIER, _) => Reason::DuplicateId(theirs.id),
                (ErrorCode::ROLE_MISMATCH, Some(ours)) => Reason::WrongRole {
                    ours,
                    theirs: their_role,
                },
                _ => Reason::Malformed(refusal.clone()),
            };
            (reason, refusal)
        })?;
        if let (Some(ours), None, true) = (
            ours.capabilities.role,
            theirs.capabilities.role,
            self.config.role.is_some_and(|role| role.strict),
        ) {
            let reason = Reason::WrongRole { ours, theirs: None };
            return Err((reason, Notification::new(ErrorCode::ROLE_MISMATCH)));
        }
        let negotiated = Negotiated::new(ours, theirs);
        if negotiated.families.is_empty() {
            let refusal = Notification::unsupported_families(ours.capabilities.families);
            return Err((Reason::NoCommonFamily, refusal));
        }
        Ok(negotiated)
    }

    /// Of this connection, whose OPEN has come, and each other one only one is kept (RFC 4271 6.8).
    /// True if it is this one.
    ///
    /// An established one is kept, unless the peer has graceful restart: then the new one says that
    /// it has restarted (RFC 4724 section 5). Else that is kept which was opened by the side with the
    /// higher identifier, or the higher AS number if they are the same (RFC 6286).
    fn resolve_collision(
        &mut self,
        now: Instant,
        id: ConnectionId,
        negotiated: &Negotiated,
    ) -> bool {
        let ours = (self.config.id, self.config.local_as);
        let winner = if ours > (negotiated.peer_id, negotiated.peer_as) {
            Origin::Dialled
        } else {
            Origin::Accepted
        };
        let Some(origin) = self.origin(id) else {
            return false;
        };
        let others: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, other)| other.id != id)
            .map(|(origin, other)| (*origin, other.id, other.state(), restarts(other)))
            .collect();
        let collision = || Some(Notification::new(ErrorCode::CONNECTION_COLLISION));
        for (other_origin, other, state, restarts) in others {
            match state {
                State::Established if restarts && origin == Origin::Accepted => {
                    self.end(now, other, Reason::PeerRestarted, None);
                }
                // It would only come to lose.
                State::Connect if other_origin != winner => {
                    self.end(now, other, Reason::Collision, None);
                }
                State::OpenSent | State::OpenConfirm if origin == winner => {
                    self.end(now, other, Reason::Collision, collision());
                }
                State::OpenSent | State::OpenConfirm | State::Established => {
                    self.end(now, id, Reason::Collision, collision());
                    return false;
                }
                State::Idle | State::Connect | State::Active => {}
            }
        }
        true
    }

    fn origin(&self, id: ConnectionId) -> Option<Origin> {
        self.connections
            .iter()
            .find(|(_, connection)| connection.id == id)
            .map(|(origin, _)| *origin)
    }
}

/// True if the peer has said that its restarts are graceful.
fn restarts(connection: &Connection) -> bool {
    connection
        .negotiated()
        .and_then(|negotiated| negotiated.graceful_restart)
        .is_some_and(|restart| !restart.families.is_empty())
}
