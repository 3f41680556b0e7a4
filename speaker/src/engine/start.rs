//! When the engine begins to decide, and what it keeps for the next one.

use std::time::{Duration, Instant};

use super::{Engine, Kept};

/// How long the API has to tell everything before what the disk has is taken up.
const API_PATIENCE: Duration = Duration::from_secs(3);

/// How long the others in the group have to be heard before this node decides without them.
const GROUP_PATIENCE: Duration = Duration::from_secs(1);

/// A node that has not begun after so long has neither heard the API nor found anything on its
/// disk, or does not know its interfaces, and may have to wait for long.
const LOST: Duration = Duration::from_secs(4);

/// The time until the engine decides.
#[derive(Debug)]
pub(super) struct Start {
    started: Instant,
    /// What the speaker before this one left, as long as nothing was decided.
    saved: Option<Box<Kept>>,
    begun: bool,
}

impl Start {
    pub(super) fn new(now: Instant, saved: Option<Kept>) -> Self {
        Self {
            started: now,
            saved: saved.map(Box::new),
            begun: false,
        }
    }

    /// Decisions are made.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// This node cannot decide yet, and nobody can say when it will: it knows nothing of the cluster,
    /// or of its own interfaces. What the others gave it now nobody would answer for.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        !self.begun && now.saturating_duration_since(self.started) >= LOST
    }

    /// There is something worth keeping: until decisions are made, what is on disk already.
    pub(super) fn may_save(&self) -> bool {
        self.begun || self.saved.is_some()
    }

    /// When to look again whether to begin, after that was last done at `now`.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        (!self.begun).then(|| {
            let times = [GROUP_PATIENCE, API_PATIENCE, LOST];
            let mut times = times.map(|patience| self.started + patience);
            times.sort_unstable();
            times.into_iter().find(|time| *time > now)
        })?
    }
}

impl Engine {
    /// True if decisions can be made, from now on.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        if self.start.begun {
            return true;
        }
        let waited = now.saturating_duration_since(self.start.started);
        let heard = || {
            let mut others = self.standpoint.view().members.values();
            others.any(|member| member.live && member.state.is_some())
        };
        let joined = self.io.group.is_none()
            || waited >= GROUP_PATIENCE
            || heard()
            || self.cluster.is_complete() && !self.cluster.has_others();
        if !joined || self.io.interfaces.borrow().is_none() {
            return false;
        }
        if self.cluster.is_complete() {
            self.start.saved = None;
            tracing::info!("all stores are complete");
        } else {
            if waited < API_PATIENCE {
                return false;
            }
            let Some(saved) = self.start.saved.take() else {
                return false;
            };
            tracing::warn!(
                event = "startWithoutApi",
                services = saved.world.services.len(),
                "the API server has not told everything yet: going on with what was known when \
                 this node's speaker ended"
            );
            self.cluster.resume(saved.world);
        }
        self.start.begun = true;
        true
    }

    /// What the next speaker of this node should know.
    pub(super) fn kept(&self, left_cleanly: bool) -> Kept {
        let group = self.io.group.as_ref();
        let generation = group.map_or(0, |group| *group.generation.borrow());
        let damping = self.myself.comings().clone();
        match &self.start.saved {
            Some(saved) => Kept {
                damping,
                generation: generation.max(saved.generation),
                left_cleanly,
                ..saved.as_ref().clone()
            },
            None => Kept {
                world: self.cluster.world.export(),
                members: self.standpoint.view().members.clone(),
                damping,
                generation,
                held: self.held.clone(),
                left_cleanly,
                boot: self.settings.boot.clone(),
            },
        }
    }
}
