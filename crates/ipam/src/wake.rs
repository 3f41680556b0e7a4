//! Who is told when an address becomes free, or free to be joined.
//!
//! For one address one Service is told: the first that the address would serve. Once that one has
//! been converged (or is gone) the address is looked at again, for the next, so an address that it
//! did not take, or that others can share with it, is never forgotten; and those whom the address
//! cannot serve are not disturbed. Services that ask for the very address come first, then those
//! without any address, then those that lack the second family; each by name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use herald_model::{IpFamily, ServiceKey};

use crate::allocator::Allocator;
use crate::converge::would_get;
use crate::queue::{Need, Turn};

impl Allocator {
    /// The Services to converge because something about these addresses changed.
    pub(crate) fn wake(&mut self, touched: BTreeSet<IpAddr>) -> Vec<ServiceKey> {
        if self.queue.is_empty() {
            return Vec::new();
        }
        let mut woken = BTreeSet::new();
        for address in touched {
            if let Some(service) = self.next_for(address)
                && self.queue.wake(&service, address)
            {
                woken.insert(service);
            }
        }
        woken.into_iter().collect()
    }

    /// The first parked Service that can be served because of `address`.
    fn next_for(&mut self, address: IpAddr) -> Option<ServiceKey> {
        let at = self.stock.space.locate(address).ok()?;
        let turns: Vec<Turn> = self.queue.for_address(address).cloned().collect();
        if let Some(turn) = turns.into_iter().find(|turn| self.is_served(turn)) {
            return Some(turn.1);
        }
        if self.stock.ledger.is_free(address) {
            return self.next_of_pool(at.pool, at.family);
        }
        let sharing = self.stock.ledger.sharing(address)?;
        let ledger = &self.stock.ledger;
        let turns: Vec<Turn> = self
            .queue
            .for_sharing(sharing)
            .filter(|(_, service)| {
                let waiting = self.queue.get(service);
                waiting.is_some_and(|w| ledger.check(address, service, &w.claim).is_ok())
            })
            .cloned()
            .collect();
        let next = turns.into_iter().find(|turn| self.is_served(turn))?;
        Some(next.1)
    }

    /// The first who waits for the pool and can be served now that it has a free address of
    /// `family`.
    fn next_of_pool(&mut self, pool: usize, family: IpFamily) -> Option<ServiceKey> {
        let has_both = self.stock.space.first_free(pool, family.other()).is_some();
        let mut firsts: BTreeSet<Turn> = BTreeSet::new();
        let mut doubtful: BTreeSet<Turn> = BTreeSet::new();
        for class in self.queue.classes(pool) {
            for (&(need, shares), turns) in &class.turns {
                match need {
                    Need::Family(needed) if needed != family => {}
                    // Without a free address of the other family only one to share can help.
                    Need::Both if !has_both && !shares => {}
                    Need::Both if !has_both => doubtful.extend(turns.iter().cloned()),
                    _ => firsts.extend(turns.first().cloned()),
                }
            }
        }
        firsts.extend(doubtful);
        let next = firsts.into_iter().find(|turn| self.is_served(turn))?;
        Some(next.1)
    }

    fn is_served(&mut self, (_, service): &Turn) -> bool {
        let waiting = self.queue.get(service);
        waiting.is_some_and(|waiting| would_get(&mut self.stock, &self.held, waiting).is_ok())
    }
}
