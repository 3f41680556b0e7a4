//! What is done to a cluster.

use std::collections::BTreeSet;
use std::net::IpAddr;

use herald_model::Phase;
use herald_ownership::{Limits, Ownership};

use super::{Cluster, Event, ms};

impl Cluster {
    /// The API says who can own an address; each host hears of it in its time.
    pub(crate) fn set_candidates(&mut self, address: IpAddr, nodes: &BTreeSet<usize>) {
        for host in 0..self.hosts.len() {
            let delay = ms(self.dice.below(400));
            let nodes = nodes.clone();
            self.at(
                delay,
                Event::Candidates {
                    host,
                    address,
                    nodes,
                },
            );
        }
    }

    pub(crate) fn crash(&mut self, host: usize) {
        self.hosts[host].running = false;
        self.hosts[host].tasks.clear();
        self.changed();
    }

    /// Starts a host that crashed; it settles before it is ready.
    pub(crate) fn restart(&mut self, host: usize) {
        let name = self.hosts[host].name.clone();
        let it = &mut self.hosts[host];
        it.machine = Ownership::new(name, Limits::default());
        it.running = true;
        it.phase = Phase::Settling;
        for belief in it.beliefs.values_mut() {
            belief.0 = false;
        }
        self.tell(host);
        self.at(
            ms(2_000),
            Event::Phase {
                host,
                phase: Phase::Ready,
            },
        );
        self.changed();
    }

    pub(crate) fn pause(&mut self, host: usize) {
        self.hosts[host].paused = true;
        self.changed();
    }

    /// Goes on with one that was paused, so long that the others took it for dead: it knows at once
    /// and joins anew.
    pub(crate) fn resume(&mut self, host: usize) {
        self.hosts[host].paused = false;
        self.hosts[host].fenced = true;
        self.hosts[host].phase = Phase::Settling;
        self.tell(host);
        let delay = ms(50 + self.dice.below(300));
        self.at(delay, Event::Unfence { host });
        self.at(
            delay + ms(2_000),
            Event::Phase {
                host,
                phase: Phase::Ready,
            },
        );
        self.changed();
        // What the others learn once it is in the group again.
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            let delay = delay + ms(10 + self.dice.below(100));
            self.at(
                delay,
                Event::Belief {
                    host: other,
                    other: host,
                },
            );
        }
    }

    /// A host says that it leaves.
    pub(crate) fn leave(&mut self, host: usize) {
        let now = self.now;
        self.hosts[host].machine.leaving(now);
        self.set_phase(host, Phase::Draining);
    }

    pub(crate) fn is_quiet(&self, host: usize) -> bool {
        self.hosts[host].machine.is_quiet()
    }
}
