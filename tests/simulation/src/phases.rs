//! How ready a speaker says it is.

use std::time::{Duration, Instant};

use herald_membership::Damping;
use herald_model::Phase;

/// Settling for a while after each return: of the process, into the group, of the carrier.
#[derive(Debug)]
pub(crate) struct Phases {
    comings: Comings,
    /// When the node has settled.
    settled: Instant,
    /// When its interface has.
    interface_settled: Option<Instant>,
    fenced: bool,
    /// The generation that it had when it was last not fenced.
    generation: Option<u64>,
}

/// How often the node and its interface went, and came back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Comings {
    node: Damping,
    interface: Damping,
}

impl Phases {
    /// After a start. `clean`: the last run ended as it should.
    pub(crate) fn new(now: Instant, mut comings: Comings, clean: bool) -> Self {
        let wait = if clean {
            Damping::default().wait(now)
        } else {
            comings.node.departed(now);
            comings.node.wait(now)
        };
        Self {
            comings,
            settled: now + wait,
            interface_settled: None,
            fenced: false,
            generation: None,
        }
    }

    /// When the phase changes although nothing happens.
    pub(crate) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        [Some(self.settled), self.interface_settled]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }

    /// The node must not answer as long as it is fenced. One that had to join anew has returned.
    pub(crate) fn set_fenced(&mut self, now: Instant, fenced: bool, generation: u64) {
        self.fenced = fenced;
        if fenced {
            return;
        }
        let before = self.generation.replace(generation);
        if before.is_some_and(|before| before != generation) {
            self.comings.node.departed(now);
            self.settled = now + self.comings.node.wait(now);
        }
    }

    pub(crate) fn set_carrier(&mut self, now: Instant, carrier: bool) {
        if carrier {
            let wait: Duration = self.comings.interface.wait(now);
            self.interface_settled = Some(now + wait);
        } else {
            self.comings.interface.departed(now);
            self.interface_settled = None;
        }
    }

    pub(crate) fn phase(&self, now: Instant) -> Phase {
        let settling = now < self.settled || self.interface_settled.is_some_and(|at| now < at);
        if self.fenced || settling {
            Phase::Settling
        } else {
            Phase::Ready
        }
    }

    /// What is kept on disk.
    pub(crate) fn comings(&self) -> Comings {
        self.comings
    }
}
