//! The allocator: who has what, and the operations that change it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use herald_model::ServiceKey;

use crate::converge::would_get;
use crate::decision::{Assignment, Decision, Reason};
use crate::held::Held;
use crate::ledger::{Claim, Ledger};
use crate::pool::Pool;
use crate::queue::Queue;
use crate::request::Request;
use crate::space::{Position, Space, Usage};
use crate::stock::Stock;

/// Gives Services addresses of pools.
///
/// The caller sets the pools, restores what the Services' statuses hold, and then converges each
/// Service whenever it changes. Every operation returns the Services that must be converged again
/// because of it; once nothing is left to converge, no Service waits for an address that it could
/// have. What a Service is known to hold is the truth from then on, so a status that lags behind
/// cannot undo a decision.
///
/// Memory and the cost of one operation depend neither on the size of a prefix nor on the number
/// of Services; replacing the pools or restoring is linear in the number of Services.
#[derive(Debug, Default)]
pub struct Allocator {
    pub(crate) stock: Stock,
    /// An address of this that is in a pool and not avoided is in the ledger. The others were
    /// taken away by a change of the pools; they stay here until the Service is converged, so that
    /// they come back if the pool does first.
    pub(crate) held: HashMap<ServiceKey, Held>,
    pub(crate) queue: Queue,
}

impl Allocator {
    /// An allocator without pools and Services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the pools. An address that a pool still contains stays with its Service, whatever
    /// else was edited.
    ///
    /// Returns, sorted, the Services to converge again: those whose pool has another name now or
    /// other rules of who may use it, those that lost an address, and of those that wait the ones
    /// whose answer differs now (these may be more than the new pools can serve).
    #[must_use = "Services wait for an address until they are converged again"]
    pub fn set_pools(&mut self, pools: Vec<Pool>) -> Vec<ServiceKey> {
        let before = std::mem::take(&mut self.stock.space);
        self.rebuild(pools, &HashSet::new());
        let mut revisit: BTreeSet<ServiceKey> = self
            .held
            .iter()
            .filter(|(_, held)| self.is_unsettled(&before, held))
            .map(|(service, _)| service.clone())
            .collect();
        for mut waiting in self.queue.drain() {
            let outcome = would_get(&mut self.stock, &self.held, &waiting);
            if outcome.as_ref().err() == Some(&waiting.reason) {
                let place = self.place(&waiting.request, &waiting.reason, waiting.partial);
                self.queue.park(
                    waiting.request,
                    waiting.claim,
                    waiting.reason,
                    waiting.partial,
                    place,
                );
                continue;
            }
            revisit.insert(waiting.request.service.clone());
            if let Err(reason) = outcome {
                waiting.reason = reason;
            }
            self.queue.insert_woken(waiting);
        }
        revisit.into_iter().collect()
    }

    /// Starts afresh from the addresses that the Services' statuses hold, with the pools as they
    /// are. Every one that its Service may keep is its own before any other is given out; of two
    /// Services that cannot both have an address it stays with the one whose request still admits
    /// it, then with the one that has more addresses, then with the first by name, in whatever
    /// order they come. The caller converges every Service afterwards.
    pub fn restore<'a>(&mut self, requests: impl IntoIterator<Item = &'a Request>) {
        self.queue.drain();
        self.held.clear();
        let mut unwanted = HashSet::new();
        for request in requests {
            let held = Held::new(&request.current, Claim::of(request));
            for address in held.iter() {
                if !self.stock.would_keep(address, &held, request) {
                    unwanted.insert((request.service.clone(), address));
                }
            }
            self.held.insert(request.service.clone(), held);
        }
        let pools = std::mem::take(&mut self.stock.space).into_pools();
        self.rebuild(pools, &unwanted);
    }

    /// Decides what the Service of the request has from now on (compat.md 3.1). The same request
    /// again changes nothing.
    #[must_use = "the decision says which Services must be converged again"]
    pub fn converge(&mut self, request: &Request) -> Decision {
        let mut touched = BTreeSet::new();
        let (outcome, notices) = self.decide(request, &mut touched);
        Decision {
            outcome,
            notices,
            revisit: self.wake(touched),
        }
    }

    /// Forgets a Service that is gone, or is not for us any more, and frees what it had. Returns
    /// the Services to converge again.
    #[must_use = "Services wait for the freed address until they are converged again"]
    pub fn release(&mut self, service: &ServiceKey) -> Vec<ServiceKey> {
        let mut touched = BTreeSet::new();
        if let Some((_, offers)) = self.queue.remove(service) {
            touched.extend(offers);
        }
        if let Some(held) = self.held.remove(service) {
            for address in held.iter() {
                if self.stock.detach(address, service, &held.claim) {
                    touched.insert(address);
                }
            }
        }
        self.wake(touched)
    }

    /// What a Service has; `None` also while all it had is of a pool that is gone.
    pub fn assignment(&self, service: &ServiceKey) -> Option<Assignment> {
        let held = self.held.get(service)?;
        let mut addresses = held.addresses();
        addresses.retain(|address| self.stock.ledger.has(*address, service));
        let at = self.stock.space.locate(*addresses.first()?).ok()?;
        Some(Assignment {
            pool: self.stock.space.pool(at.pool).name.clone(),
            addresses,
        })
    }

    /// The counters of every pool, by name.
    pub fn usage(&self) -> BTreeMap<String, Usage> {
        let space = &self.stock.space;
        (0..space.len())
            .map(|id| (space.pool(id).name.clone(), space.usage(id)))
            .collect()
    }

    /// Lays out `pools` and puts everybody back to what they hold of them. Where two claims cannot
    /// both stand, those that are not `unwanted` go first, then those of Services that have more
    /// addresses, then by name.
    fn rebuild(&mut self, pools: Vec<Pool>, unwanted: &HashSet<(ServiceKey, IpAddr)>) {
        self.stock = Stock {
            space: Space::new(pools),
            ledger: Ledger::default(),
        };
        let mut services: Vec<_> = self
            .held
            .iter()
            .map(|(service, held)| (std::cmp::Reverse(held.len()), service.clone()))
            .collect();
        services.sort_unstable();
        for (_, service) in &services {
            self.put_back(service, |address| {
                !unwanted.contains(&(service.clone(), address))
            });
        }
        let owners: BTreeSet<_> = unwanted.iter().map(|(service, _)| service).collect();
        for (_, service) in services.iter().filter(|(_, s)| owners.contains(s)) {
            self.put_back(service, |address| {
                unwanted.contains(&(service.clone(), address))
            });
        }
        self.held.retain(|_, held| !held.is_empty());
    }

    /// Gives a Service those of its addresses that `which` selects, or takes from it what others
    /// have.
    fn put_back(&mut self, service: &ServiceKey, which: impl Fn(IpAddr) -> bool) {
        let Some(held) = self.held.get_mut(service) else {
            return;
        };
        for address in held.iter().filter(|&address| which(address)) {
            let Ok(at) = self.stock.space.locate(address) else {
                continue;
            };
            match self.stock.ledger.check(address, service, &held.claim) {
                Ok(()) => {
                    self.stock.attach(at, service, &held.claim);
                }
                Err(_) => held.remove(address),
            }
        }
    }

    /// True if the Service must be converged because its pool is not what it was in `before`.
    fn is_unsettled(&self, before: &Space, held: &Held) -> bool {
        let mut pools = BTreeSet::new();
        for address in held.iter() {
            let (Ok(then), Ok(now)) = (before.locate(address), self.stock.space.locate(address))
            else {
                return true;
            };
            let (then, now_pool) = (before.pool(then.pool), self.stock.space.pool(now.pool));
            if then.name != now_pool.name || then.allocation != now_pool.allocation {
                return true;
            }
            pools.insert(now.pool);
        }
        pools.len() > 1
    }

    /// The position of an address if its Service may keep it there.
    pub(crate) fn kept_position(
        &self,
        address: IpAddr,
        request: &Request,
        claim: &Claim,
    ) -> Result<Position, Reason> {
        let at = self.stock.space.locate(address)?;
        self.stock.admit(at.pool, request)?;
        self.stock.ledger.check(address, &request.service, claim)?;
        Ok(at)
    }
}
