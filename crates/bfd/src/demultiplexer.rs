//! Which session a packet belongs to (RFC 5880 6.3, RFC 5881 3, RFC 5883 4).

use std::collections::HashMap;

use crate::{Arrival, ControlPacket, Discard, Hops, Path, SessionId};

/// The sessions by path, for packets that name no session. All others name it by our discriminator,
/// which is the session's identity.
#[derive(Debug, Default)]
pub(crate) struct Demultiplexer(HashMap<Path, SessionId>);

impl Demultiplexer {
    /// The session that has this path.
    pub(crate) fn at(&self, path: &Path) -> Option<SessionId> {
        self.0.get(path).copied()
    }

    pub(crate) fn insert(&mut self, path: Path, session: SessionId) {
        self.0.insert(path, session);
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// The session that the packet names, which may not exist, or that its sender has.
    pub(crate) fn find(
        &self,
        arrival: &Arrival,
        packet: &ControlPacket,
    ) -> Result<SessionId, Discard> {
        if packet.your_discriminator != 0 {
            return Ok(SessionId::new(packet.your_discriminator));
        }
        let peer = arrival.from.to_canonical();
        let (narrow, wide) = match arrival.hops {
            Hops::Single => (
                Path::SingleHop {
                    peer,
                    interface: Some(arrival.interface),
                },
                Path::SingleHop {
                    peer,
                    interface: None,
                },
            ),
            Hops::Multi => (
                Path::MultiHop {
                    peer,
                    local: Some(arrival.to.to_canonical()),
                },
                Path::MultiHop { peer, local: None },
            ),
        };
        let found = self.at(&narrow).or_else(|| self.at(&wide));
        found.ok_or(Discard::UnknownPeer)
    }
}
