//! The pools and who uses them, and what a request would get of them now.

use std::net::IpAddr;

use herald_model::{IpFamily, ServiceKey};

use crate::decision::Reason;
use crate::held::Held;
use crate::ledger::{Claim, Ledger};
use crate::request::{FamilyPolicy, Request};
use crate::space::{PoolId, Position, Space};

/// All addresses, free and used.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    pub(crate) space: Space,
    pub(crate) ledger: Ledger,
}

impl Stock {
    /// What a Service that holds nothing gets (compat.md 3.1 and 3.2): the requested addresses,
    /// else some of the requested pool, else of the first pool that fits. Nothing is changed but
    /// what is remembered to find it faster the next time.
    pub(crate) fn select(
        &mut self,
        request: &Request,
        claim: &Claim,
    ) -> Result<Vec<Position>, Reason> {
        if self.space.is_empty() {
            return Err(Reason::NoPools);
        }
        if lacks_dual_stack(request) {
            return Err(Reason::NotDualStack(request.families.clone()));
        }
        let requested_pool = match &request.pool {
            None => None,
            Some(name) => match self.space.find(name) {
                Some(id) => Some(id),
                None => return Err(Reason::UnknownPool(name.clone())),
            },
        };
        if !request.addresses.is_empty() {
            return self.select_addresses(request, claim, requested_pool);
        }
        if let Some(id) = requested_pool {
            self.admit(id, request)?;
            let found = self.best(&[id], request, claim);
            return found.ok_or_else(|| Reason::PoolExhausted {
                pool: self.space.pool(id).name.clone(),
            });
        }
        for pools in self.candidates(request) {
            if let Some(found) = self.best(&pools, request, claim) {
                return Ok(found);
            }
        }
        Err(Reason::NoAvailableAddresses)
    }

    /// The lowest address of a pool and family that the claim can have.
    pub(crate) fn pick(
        &mut self,
        pool: PoolId,
        family: IpFamily,
        claim: &Claim,
    ) -> Option<Position> {
        let free = self.space.first_free(pool, family);
        if claim.sharing.is_none() {
            return free;
        }
        let limit = free.unwrap_or_else(|| Position::end(pool, family));
        let shared = self.ledger.lowest_shared(pool, family, claim, limit);
        shared.or(free)
    }

    /// The pools that the Service may be given addresses of without asking for one.
    pub(crate) fn candidates(&self, request: &Request) -> [Vec<PoolId>; 2] {
        self.space.automatic().map(|pools| {
            let admitted = pools.iter().filter(|&&id| self.admit(id, request).is_ok());
            admitted.copied().collect()
        })
    }

    /// Whether the pool is open to the Service.
    pub(crate) fn admit(&self, id: PoolId, request: &Request) -> Result<(), Reason> {
        self.space
            .admits(id, request.service.namespace(), &request.labels)
            .map_err(|why| Reason::IncompatiblePool {
                pool: self.space.pool(id).name.clone(),
                why,
            })
    }

    /// True if the request admits an address of what its Service has: it is of its families, of
    /// the pool and the addresses it names, and its pool is open to it.
    pub(crate) fn would_keep(&self, address: IpAddr, held: &Held, request: &Request) -> bool {
        let Ok(at) = self.space.locate(address) else {
            return false;
        };
        let pool = &self.space.pool(at.pool).name;
        let named = &request.addresses;
        request.families.contains(&IpFamily::of(address))
            && !lacks_dual_stack(request)
            && request.pool.as_ref().is_none_or(|wanted| wanted == pool)
            && (named.is_empty()
                || named.len() == held.len() && held.iter().all(|has| named.contains(&has)))
            && self.admit(at.pool, request).is_ok()
    }

    /// Makes `service` a user of the address. True if others may now be able to join it.
    pub(crate) fn attach(&mut self, at: Position, service: &ServiceKey, claim: &Claim) -> bool {
        if self.ledger.is_free(at.address()) {
            self.space.take(at);
        }
        self.ledger.attach(at, service, claim)
    }

    /// Ends the use of the address by `service`, if it is a user.
    pub(crate) fn detach(&mut self, address: IpAddr, service: &ServiceKey, claim: &Claim) -> bool {
        if !self.ledger.has(address, service) {
            return false;
        }
        if let Ok(at) = self.space.locate(address)
            && self.ledger.detach(at, service, claim)
        {
            self.space.give(at);
        }
        true
    }

    fn select_addresses(
        &self,
        request: &Request,
        claim: &Claim,
        requested_pool: Option<PoolId>,
    ) -> Result<Vec<Position>, Reason> {
        check_families(request)?;
        let mut found: Vec<Position> = Vec::with_capacity(request.addresses.len());
        for &address in &request.addresses {
            let at = self.space.locate(address)?;
            if let Some(first) = found.first()
                && first.pool != at.pool
            {
                return Err(Reason::DifferentPools {
                    first: first.address(),
                    second: address,
                });
            }
            if let Some(pool) = requested_pool
                && pool != at.pool
            {
                return Err(Reason::NotInRequestedPool {
                    address,
                    pool: self.space.pool(pool).name.clone(),
                });
            }
            found.push(at);
        }
        for at in &found {
            self.admit(at.pool, request)?;
            self.ledger.check(at.address(), &request.service, claim)?;
        }
        Ok(found)
    }

    /// The best of `pools`: both families of the first pool that has them, for `PreferDualStack`
    /// failing that the primary family of the first pool that has it, then the other.
    fn best(
        &mut self,
        pools: &[PoolId],
        request: &Request,
        claim: &Claim,
    ) -> Option<Vec<Position>> {
        if let Some(found) = self.first_with(pools, &request.families, claim) {
            return Some(found);
        }
        if !prefers_dual_stack(request) {
            return None;
        }
        request
            .families
            .chunks(1)
            .find_map(|family| self.first_with(pools, family, claim))
    }

    fn first_with(
        &mut self,
        pools: &[PoolId],
        families: &[IpFamily],
        claim: &Claim,
    ) -> Option<Vec<Position>> {
        if families.is_empty() {
            return None;
        }
        pools.iter().find_map(|&pool| {
            let picked = families
                .iter()
                .map(|&family| self.pick(pool, family, claim));
            picked.collect()
        })
    }
}

/// True if the Service has both families and makes do with one.
pub(crate) fn prefers_dual_stack(request: &Request) -> bool {
    request.families.len() == 2 && request.family_policy == FamilyPolicy::PreferDualStack
}

/// True if the Service needs both families and has one.
pub(crate) fn lacks_dual_stack(request: &Request) -> bool {
    request.families.len() < 2 && request.family_policy == FamilyPolicy::RequireDualStack
}

/// Whether requested addresses, if any, are one of each family of the Service.
pub(crate) fn check_families(request: &Request) -> Result<(), Reason> {
    let addresses = &request.addresses;
    let mut asked: Vec<IpFamily> = addresses.iter().map(|&a| IpFamily::of(a)).collect();
    let mut wanted = request.families.clone();
    asked.sort_unstable();
    wanted.sort_unstable();
    if addresses.is_empty() || asked == wanted {
        return Ok(());
    }
    Err(Reason::FamilyMismatch {
        addresses: addresses.clone(),
        families: request.families.clone(),
    })
}
