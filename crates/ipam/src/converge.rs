//! The decision for one Service, step by step (compat.md 3.1).

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use herald_model::{IpFamily, ServiceKey};

use crate::allocator::Allocator;
use crate::decision::{Notice, Outcome, Reason};
use crate::held::Held;
use crate::ledger::Claim;
use crate::queue::{Need, Place, Waiting};
use crate::request::Request;
use crate::space::{PoolId, Position};
use crate::stock::{Stock, check_families, lacks_dual_stack, prefers_dual_stack};

impl Allocator {
    /// Decides; `touched` collects the addresses that others may now be able to use.
    pub(crate) fn decide(
        &mut self,
        request: &Request,
        touched: &mut BTreeSet<IpAddr>,
    ) -> (Outcome, Vec<Notice>) {
        let service = &request.service;
        let claim = Claim::of(request);
        let known = self.held.contains_key(service) || self.queue.contains(service);
        let told = self.queue.remove(service).and_then(|(waiting, offers)| {
            touched.extend(offers);
            waiting.partial.then_some(waiting.reason)
        });
        let mut held = match self.held.remove(service) {
            Some(held) => held,
            // Somebody else gave it these, or we did before a restart.
            None if !known => Held::new(&request.current, claim.clone()),
            None => Held::new(&[], claim.clone()),
        };
        held.ipv6_first = request.addresses.first().is_some_and(IpAddr::is_ipv6);
        let mut turn = Turnover {
            allocator: self,
            request,
            claim: &claim,
            touched,
            notices: Vec::new(),
        };
        let waits_for = turn.run(&mut held, told.as_ref());
        let notices = turn.notices;
        held.claim = claim.clone();
        let partial = !held.is_empty();
        if partial {
            self.held.insert(service.clone(), held);
        }
        if let Some(reason) = waits_for.clone() {
            let place = self.place(request, &reason, partial);
            self.queue
                .park(request.clone(), claim, reason, partial, place);
        }
        match (self.assignment(service), waits_for) {
            (Some(assignment), _) => (Outcome::Assigned(assignment), notices),
            (None, reason) => {
                let reason = reason.unwrap_or(Reason::NoAvailableAddresses);
                (Outcome::Pending(reason), notices)
            }
        }
    }

    /// What could serve a Service that waits for `reason`.
    pub(crate) fn place(&self, request: &Request, reason: &Reason, partial: bool) -> Place {
        let space = &self.stock.space;
        match reason {
            Reason::NotShareable { .. } | Reason::PortInUse { .. } => {
                Place::Addresses(request.addresses.clone())
            }
            Reason::PoolExhausted { pool } => {
                let held = self.held.get(&request.service).filter(|_| partial);
                let lacking = held
                    .and_then(|held| held.iter().next())
                    .map(|address| Need::Family(IpFamily::of(address).other()));
                Place::Pools {
                    pools: space.find(pool).into_iter().collect(),
                    need: lacking.unwrap_or_else(|| need(request)),
                }
            }
            Reason::NoAvailableAddresses => Place::Pools {
                pools: self.stock.candidates(request).concat(),
                need: need(request),
            },
            _ => Place::Nowhere,
        }
    }
}

/// What a waiting Service would get now.
pub(crate) fn would_get(
    stock: &mut Stock,
    held: &HashMap<ServiceKey, Held>,
    waiting: &Waiting,
) -> Result<Vec<Position>, Reason> {
    let held = held.get(&waiting.request.service);
    let Some(address) = held.and_then(|held| held.iter().next()) else {
        return stock.select(&waiting.request, &waiting.claim);
    };
    let pool = stock.space.locate(address)?.pool;
    let other = IpFamily::of(address).other();
    let found = stock.pick(pool, other, &waiting.claim);
    found
        .map(|at| vec![at])
        .ok_or_else(|| exhausted(stock, pool))
}

fn exhausted(stock: &Stock, pool: PoolId) -> Reason {
    Reason::PoolExhausted {
        pool: stock.space.pool(pool).name.clone(),
    }
}

fn need(request: &Request) -> Need {
    match request.families.as_slice() {
        [family] => Need::Family(*family),
        _ if prefers_dual_stack(request) => Need::Either,
        _ => Need::Both,
    }
}

/// One decision under way.
struct Turnover<'a> {
    allocator: &'a mut Allocator,
    request: &'a Request,
    claim: &'a Claim,
    touched: &'a mut BTreeSet<IpAddr>,
    notices: Vec<Notice>,
}

impl Turnover<'_> {
    /// Brings `held` to what the request is to have. Returns what it still waits for; `told` is
    /// what its owner knows to be the reason that the second family is missing.
    fn run(&mut self, held: &mut Held, told: Option<&Reason>) -> Option<Reason> {
        self.drop_unwanted(held);
        self.drop_forbidden(held);
        self.drop_unnamed(held);
        self.claim_kept(held);
        if held.len() == 1 && self.request.families.len() == 2 {
            if let Some(reason) = self.add_other_family(held) {
                if prefers_dual_stack(self.request) {
                    return Some(self.tell(reason, told));
                }
                // Both or nothing, and never of two pools: another pool must serve both.
                self.clear(held, reason);
            } else {
                return None;
            }
        }
        if !held.is_empty() {
            return None;
        }
        let found = match self.allocator.stock.select(self.request, self.claim) {
            Ok(found) => found,
            Err(reason) => return Some(reason),
        };
        for at in found {
            self.attach(held, at);
        }
        self.notices.push(Notice::Allocated(held.addresses()));
        if held.len() == 1 && prefers_dual_stack(self.request) {
            return self
                .add_other_family(held)
                .map(|reason| self.tell(reason, None));
        }
        None
    }

    /// Takes from the Service what it may no longer have: of no pool, avoided, of a pool that is
    /// closed to it, or in conflict with others.
    fn drop_forbidden(&mut self, held: &mut Held) {
        if self.allocator.stock.space.is_empty() {
            return self.clear(held, Reason::NoPools);
        }
        // In the order of the families, so that the primary one decides on the pool.
        let mut first: Option<Position> = None;
        for family in self.request.families.clone() {
            let Some(address) = held.of_family(family) else {
                continue;
            };
            let kept = self
                .allocator
                .kept_position(address, self.request, self.claim);
            let kept = kept.and_then(|at| match first {
                Some(first) if first.pool != at.pool => Err(Reason::DifferentPools {
                    first: first.address(),
                    second: address,
                }),
                _ => Ok(at),
            });
            match kept {
                Ok(at) => first = first.or(Some(at)),
                Err(reason) => {
                    self.detach(held, address);
                    self.note_cleared(vec![address], reason);
                }
            }
        }
    }

    /// Lets go of what the owner does not ask for any more. That is no news to the owner.
    fn drop_unwanted(&mut self, held: &mut Held) {
        let request = self.request;
        let cannot_be = check_families(request).is_err() || lacks_dual_stack(request);
        for address in held.iter() {
            let space = &self.allocator.stock.space;
            let other_pool = request.pool.as_ref().is_some_and(|wanted| {
                let at = space.locate(address);
                at.is_ok_and(|at| space.pool(at.pool).name != *wanted)
            });
            if cannot_be || other_pool || !request.families.contains(&IpFamily::of(address)) {
                self.detach(held, address);
            }
        }
    }

    /// Lets go of everything if it is not what the owner names: requested addresses come together
    /// or not at all.
    fn drop_unnamed(&mut self, held: &mut Held) {
        let wanted: BTreeSet<IpAddr> = self.request.addresses.iter().copied().collect();
        if !wanted.is_empty() && held.iter().collect::<BTreeSet<_>>() != wanted {
            for address in held.iter() {
                self.detach(held, address);
            }
        }
    }

    /// Books what stays, with the sharing key and the ports of now.
    fn claim_kept(&mut self, held: &mut Held) {
        for address in held.iter() {
            let stock = &mut self.allocator.stock;
            let Ok(at) = stock.space.locate(address) else {
                continue;
            };
            if !stock.ledger.has(address, &self.request.service) {
                self.attach(held, at);
            } else if held.claim != *self.claim {
                let service = &self.request.service;
                if stock.ledger.detach(at, service, &held.claim) {
                    stock.space.give(at);
                }
                self.touched.insert(address);
                self.attach(held, at);
            }
        }
    }

    /// Gives the Service an address of the other family from the pool of the one it has, or says
    /// why not.
    fn add_other_family(&mut self, held: &mut Held) -> Option<Reason> {
        let address = held.iter().next()?;
        let stock = &mut self.allocator.stock;
        let pool = match stock.space.locate(address) {
            Ok(at) => at.pool,
            Err(reason) => return Some(reason),
        };
        let other = IpFamily::of(address).other();
        let Some(at) = stock.pick(pool, other, self.claim) else {
            return Some(exhausted(stock, pool));
        };
        self.attach(held, at);
        self.notices.push(Notice::AllocatedAdditional(at.address()));
        None
    }

    /// Tells the owner that the second family is missing, once for each reason.
    fn tell(&mut self, reason: Reason, told: Option<&Reason>) -> Reason {
        if told != Some(&reason) {
            self.notices.push(Notice::AdditionalFailed(reason.clone()));
        }
        reason
    }

    fn clear(&mut self, held: &mut Held, reason: Reason) {
        let addresses = held.addresses();
        for &address in &addresses {
            self.detach(held, address);
        }
        if !addresses.is_empty() {
            self.note_cleared(addresses, reason);
        }
    }

    /// One notice for all that is taken in one decision, with the first reason.
    fn note_cleared(&mut self, lost: Vec<IpAddr>, reason: Reason) {
        match self.notices.last_mut() {
            Some(Notice::Cleared { addresses, .. }) => {
                addresses.extend(lost);
                addresses.sort_unstable();
            }
            _ => self.notices.push(Notice::Cleared {
                addresses: lost,
                reason,
            }),
        }
    }

    fn attach(&mut self, held: &mut Held, at: Position) {
        let stock = &mut self.allocator.stock;
        if stock.attach(at, &self.request.service, self.claim) {
            self.touched.insert(at.address());
        }
        held.insert(at.address());
    }

    fn detach(&mut self, held: &mut Held, address: IpAddr) {
        let stock = &mut self.allocator.stock;
        if stock.detach(address, &self.request.service, &held.claim) {
            self.touched.insert(address);
        }
        held.remove(address);
    }
}
