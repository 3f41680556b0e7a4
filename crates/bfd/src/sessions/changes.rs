//! What is asked of sessions from outside: they are added, changed, held down, ended.

use std::time::Instant;

use rand::RngExt;

use super::{MAX_SESSIONS, SessionId, Sessions};
use crate::session::Session;
use crate::{EventKind, Path, PathError, Settings, SettingsError};

impl Sessions {
    /// Adds a session. An active one begins to send at once.
    ///
    /// A retired session of the same path, which still tells its peer, is gone with that: what there
    /// is to transmit should be sent before.
    pub fn add(
        &mut self,
        now: Instant,
        path: Path,
        settings: Settings,
    ) -> Result<SessionId, AddError> {
        let now = self.enter(now);
        settings.check()?;
        path.check()?;
        let path = path.canonical();
        if self.find(path).is_some() {
            return Err(AddError::Taken(path));
        }
        if let Some(retired) = self.demultiplexer.at(&path) {
            self.forget(retired);
        }
        if self.all.len() >= MAX_SESSIONS {
            return Err(AddError::TooMany);
        }
        let id = self.draw_discriminator();
        let session = Session::new(now, id.0, path, settings);
        self.all.insert(id.0, session);
        self.demultiplexer.insert(path, id);
        self.settle(now, id, None);
        Ok(id)
    }

    /// Takes new settings for a session. It goes on; intervals are negotiated with the peer.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        session: SessionId,
        settings: Settings,
    ) -> Result<(), ReconfigureError> {
        settings.check()?;
        self.change(now, session, |session, now| {
            session.set_settings(now, settings);
            None
        })?;
        Ok(())
    }

    /// Holds a session down on purpose, and tells the peer so that it does not take it for a
    /// failure.
    pub fn disable(&mut self, now: Instant, session: SessionId) -> Result<(), UnknownSession> {
        self.change(now, session, Session::disable)
    }

    /// Holds a session down no longer.
    pub fn enable(&mut self, now: Instant, session: SessionId) -> Result<(), UnknownSession> {
        self.change(now, session, Session::enable)
    }

    /// Ends a session for good: like [`Sessions::disable`], and when the peer was told, after its
    /// detection time at most, the session is gone and [`EventKind::Retired`] says so.
    pub fn retire(&mut self, now: Instant, session: SessionId) -> Result<(), UnknownSession> {
        self.change(now, session, Session::retire)
    }

    /// Ends all sessions for good, before this process ends. It should go on until there are none
    /// ([`Sessions::is_empty`]), which takes a detection time, so that BGP goes on at the peers.
    pub fn retire_all(&mut self, now: Instant) {
        let mut all: Vec<SessionId> = self.iter().collect();
        // With one seed always the same.
        all.sort_unstable();
        for session in all {
            // All exist.
            let _ = self.retire(now, session);
        }
    }

    pub(super) fn change(
        &mut self,
        now: Instant,
        id: SessionId,
        change: impl FnOnce(&mut Session, Instant) -> Option<EventKind>,
    ) -> Result<(), UnknownSession> {
        let now = self.enter(now);
        let session = self.all.get_mut(&id.0).ok_or(UnknownSession(id))?;
        let event = change(session, now);
        self.settle(now, id, event);
        Ok(())
    }

    fn draw_discriminator(&mut self) -> SessionId {
        loop {
            let drawn = self.rng.random();
            if drawn != 0 && !self.all.contains_key(&drawn) {
                return SessionId(drawn);
            }
        }
    }
}

/// Why a session was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The settings are not possible.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The path is not possible.
    #[error(transparent)]
    Path(#[from] PathError),
    /// There is one already.
    #[error("there is a BFD session with {} already: change its settings instead", .0.peer())]
    Taken(Path),
    /// There are [`MAX_SESSIONS`].
    #[error("there are {MAX_SESSIONS} BFD sessions: watch fewer peers")]
    TooMany,
}

/// There is no such session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no BFD session {0}: it was retired, add a new one")]
pub struct UnknownSession(pub SessionId);

/// Why settings were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    /// The settings are not possible.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no such session.
    #[error(transparent)]
    UnknownSession(#[from] UnknownSession),
}
