//! Who uses which address, and who may join (compat.md 3.3).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use herald_model::{IpFamily, ServiceKey};

use crate::decision::Reason;
use crate::request::{Backend, Port, Request};
use crate::space::{PoolId, Position};

/// What must be equal between Services that share an address.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sharing {
    key: String,
    backend: Backend,
}

/// The part of a request that decides whom a Service can share an address with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// `None` if the Service shares with nobody.
    pub(crate) sharing: Option<Arc<Sharing>>,
    /// Sorted, without repeats.
    pub(crate) ports: Box<[Port]>,
}

impl Claim {
    pub(crate) fn of(request: &Request) -> Self {
        let sharing = match (&request.sharing_key, &request.backend) {
            // An empty key is no key, and endpoints that are not known by a selector are nobody
            // else's, so traffic for them must not be mixed with any other.
            (None, _) | (_, Backend::LocalWithoutSelector) => None,
            (Some(key), _) if key.is_empty() => None,
            (Some(key), backend) => Some(Arc::new(Sharing {
                key: key.clone(),
                backend: backend.clone(),
            })),
        };
        let ports: BTreeSet<Port> = request.ports.iter().copied().collect();
        Self {
            sharing,
            ports: ports.into_iter().collect(),
        }
    }
}

/// The users of one address.
#[derive(Debug)]
enum Use {
    /// One Service that shares with nobody.
    Exclusive(ServiceKey),
    /// One or more that share with whoever has the same [`Sharing`] and other ports.
    Shared(Box<Shared>),
}

#[derive(Debug)]
struct Shared {
    sharing: Arc<Sharing>,
    users: BTreeSet<ServiceKey>,
    ports: BTreeMap<Port, ServiceKey>,
}

/// The addresses of one [`Sharing`], in the order in which they are given out.
#[derive(Debug, Default)]
struct Group {
    addresses: BTreeSet<Position>,
    /// For a set of ports: no address of that pool and family before the position has them all
    /// free. Many Services with one key and the same port would otherwise each look at the
    /// addresses of all the others.
    hints: HashMap<(PoolId, IpFamily, Box<[Port]>), Position>,
}

/// More sets of ports than this in one group are looked up without a hint.
const MAX_HINTS: usize = 64;

impl Group {
    /// Something left `at`, or it is new here: what did not fit may fit now.
    fn reopen(&mut self, at: Position) {
        for hint in self.hints.values_mut() {
            if (hint.pool, hint.family) == (at.pool, at.family) && *hint > at {
                *hint = at;
            }
        }
    }
}

/// The users of all addresses.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    uses: HashMap<IpAddr, Use>,
    groups: HashMap<Arc<Sharing>, Group>,
}

impl Ledger {
    /// True if `service` is a user of `address`.
    pub(crate) fn has(&self, address: IpAddr, service: &ServiceKey) -> bool {
        match self.uses.get(&address) {
            None => false,
            Some(Use::Exclusive(user)) => user == service,
            Some(Use::Shared(shared)) => shared.users.contains(service),
        }
    }

    /// True if nobody uses `address`.
    pub(crate) fn is_free(&self, address: IpAddr) -> bool {
        !self.uses.contains_key(&address)
    }

    /// What the users of `address` have in common, if they share.
    pub(crate) fn sharing(&self, address: IpAddr) -> Option<&Arc<Sharing>> {
        match self.uses.get(&address)? {
            Use::Exclusive(_) => None,
            Use::Shared(shared) => Some(&shared.sharing),
        }
    }

    /// Whether `service` may use `address` with `claim`, now or still.
    pub(crate) fn check(
        &self,
        address: IpAddr,
        service: &ServiceKey,
        claim: &Claim,
    ) -> Result<(), Reason> {
        let refuse = |users: Vec<ServiceKey>| Reason::NotShareable {
            service: service.clone(),
            address,
            users,
        };
        match self.uses.get(&address) {
            None => Ok(()),
            Some(Use::Exclusive(user)) if user == service => Ok(()),
            Some(Use::Exclusive(user)) => Err(refuse(vec![user.clone()])),
            Some(Use::Shared(shared)) => {
                let alone = shared.users.len() == 1 && shared.users.contains(service);
                if !alone && claim.sharing.as_ref() != Some(&shared.sharing) {
                    let others = shared.users.iter().filter(|&user| user != service);
                    return Err(refuse(others.cloned().collect()));
                }
                match shared.conflict(service, &claim.ports) {
                    None => Ok(()),
                    Some((port, user)) => Err(Reason::PortInUse {
                        port,
                        address,
                        user: user.clone(),
                    }),
                }
            }
        }
    }

    /// Makes `service` a user; [`check`](Self::check) must allow it. True if the address, as one
    /// to share, is new.
    pub(crate) fn attach(&mut self, at: Position, service: &ServiceKey, claim: &Claim) -> bool {
        let address = at.address();
        let Some(sharing) = &claim.sharing else {
            self.uses.insert(address, Use::Exclusive(service.clone()));
            return false;
        };
        if let Some(Use::Shared(shared)) = self.uses.get_mut(&address) {
            shared.join(service, claim);
            return false;
        }
        // One copy of the key for all who use it.
        let sharing = match self.groups.get_key_value(sharing) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::clone(sharing),
        };
        let mut shared = Shared {
            sharing: Arc::clone(&sharing),
            users: BTreeSet::new(),
            ports: BTreeMap::new(),
        };
        shared.join(service, claim);
        self.uses.insert(address, Use::Shared(Box::new(shared)));
        let group = self.groups.entry(sharing).or_default();
        group.addresses.insert(at);
        group.reopen(at);
        true
    }

    /// Ends the use by `service`, which has `claim` on it. True if the address has no user left.
    pub(crate) fn detach(&mut self, at: Position, service: &ServiceKey, claim: &Claim) -> bool {
        let address = at.address();
        let Some(Use::Shared(shared)) = self.uses.get_mut(&address) else {
            return self.uses.remove(&address).is_some();
        };
        shared.leave(service, claim);
        let freed = shared.users.is_empty();
        let sharing = Arc::clone(&shared.sharing);
        if freed {
            self.uses.remove(&address);
        }
        if let Some(group) = self.groups.get_mut(&sharing) {
            if freed {
                group.addresses.remove(&at);
            } else {
                group.reopen(at);
            }
            if group.addresses.is_empty() {
                self.groups.remove(&sharing);
            }
        }
        freed
    }

    /// The lowest address before `limit` that the claim can share.
    pub(crate) fn lowest_shared(
        &mut self,
        pool: PoolId,
        family: IpFamily,
        claim: &Claim,
        limit: Position,
    ) -> Option<Position> {
        let group = self.groups.get_mut(claim.sharing.as_ref()?)?;
        let hint_key = (pool, family, claim.ports.clone());
        let from = group.hints.get(&hint_key).copied();
        let from = from.unwrap_or_else(|| Position::start(pool, family));
        if from >= limit {
            return None;
        }
        let uses = &self.uses;
        let found = group.addresses.range(from..limit).copied().find(|at| {
            matches!(uses.get(&at.address()), Some(Use::Shared(shared))
                if claim.ports.iter().all(|port| !shared.ports.contains_key(port)))
        });
        if group.hints.len() >= MAX_HINTS && !group.hints.contains_key(&hint_key) {
            group.hints.clear();
        }
        group.hints.insert(hint_key, found.unwrap_or(limit));
        found
    }
}

impl Shared {
    /// A port that a user other than `service` has.
    fn conflict(&self, service: &ServiceKey, ports: &[Port]) -> Option<(Port, &ServiceKey)> {
        ports
            .iter()
            .filter_map(|port| Some((*port, self.ports.get(port)?)))
            .find(|&(_, user)| user != service)
    }

    fn join(&mut self, service: &ServiceKey, claim: &Claim) {
        self.users.insert(service.clone());
        for port in &claim.ports {
            self.ports.insert(*port, service.clone());
        }
    }

    fn leave(&mut self, service: &ServiceKey, claim: &Claim) {
        self.users.remove(service);
        for port in &claim.ports {
            if self.ports.get(port) == Some(service) {
                self.ports.remove(port);
            }
        }
    }
}
