//! Services that wait for an address, indexed by what could serve them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use herald_model::{IpFamily, ServiceKey};

use crate::decision::Reason;
use crate::ledger::{Claim, Sharing};
use crate::request::Request;
use crate::space::PoolId;

/// A place in a queue: those without any address are before those that lack the second family,
/// and each of the two sort by name.
pub(crate) type Turn = (bool, ServiceKey);

/// Which free addresses of a pool serve a waiting Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// One of this family.
    Family(IpFamily),
    /// One of any family.
    Either,
    /// One of each family.
    Both,
}

/// What a Service waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing that another Service could free: only other pools or another request help.
    Nowhere,
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// Addresses of any of these pools.
    Pools {
        /// In the order of trying.
        pools: Vec<PoolId>,
        /// What is needed of one of them.
        need: Need,
    },
}

/// A Service that has no address, or only one of two.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) request: Request,
    pub(crate) claim: Claim,
    pub(crate) reason: Reason,
    /// True if it has one of two addresses.
    pub(crate) partial: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// In the queues of this place.
    Parked(Place),
    /// The caller has been told to converge it, and nothing has come of that yet. The addresses
    /// are those that it was told for: should it leave them, somebody else must be told.
    Woken(BTreeSet<IpAddr>),
}

/// Services that wait for addresses of the same pools.
#[derive(Debug, Default)]
pub(crate) struct Class {
    /// By need, and whether the Service can share an address.
    pub(crate) turns: BTreeMap<(Need, bool), BTreeSet<Turn>>,
}

/// All waiting Services.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: HashMap<ServiceKey, Box<Waiting>>,
    classes: Vec<Class>,
    class_of: HashMap<Vec<PoolId>, usize>,
    classes_of_pool: HashMap<PoolId, Vec<usize>>,
    by_sharing: HashMap<Arc<Sharing>, BTreeSet<Turn>>,
    by_address: HashMap<IpAddr, BTreeSet<Turn>>,
}

impl Queue {
    pub(crate) fn get(&self, service: &ServiceKey) -> Option<&Waiting> {
        self.waiting.get(service).map(AsRef::as_ref)
    }

    pub(crate) fn contains(&self, service: &ServiceKey) -> bool {
        self.waiting.contains_key(service)
    }

    /// Lets a Service wait in the queues of `place`.
    pub(crate) fn park(
        &mut self,
        request: Request,
        claim: Claim,
        reason: Reason,
        partial: bool,
        place: Place,
    ) {
        let service = request.service.clone();
        let turn = (partial, service.clone());
        self.enter(&place, &claim, &turn);
        let waiting = Waiting {
            request,
            claim,
            reason,
            partial,
            state: State::Parked(place),
        };
        self.waiting.insert(service, Box::new(waiting));
    }

    /// Takes a Service out of its queues for the caller to converge; `offer` is the address that
    /// it is told for. False if it was not parked.
    pub(crate) fn wake(&mut self, service: &ServiceKey, offer: IpAddr) -> bool {
        let Some(mut waiting) = self.waiting.remove(service) else {
            return false;
        };
        let parked = matches!(waiting.state, State::Parked(_));
        if parked {
            self.leave(&waiting);
            waiting.state = State::Woken(BTreeSet::from([offer]));
        }
        self.waiting.insert(service.clone(), waiting);
        parked
    }

    /// Puts a Service in as one that the caller has been told to converge.
    pub(crate) fn insert_woken(&mut self, mut waiting: Waiting) {
        waiting.state = State::Woken(BTreeSet::new());
        let service = waiting.request.service.clone();
        self.waiting.insert(service, Box::new(waiting));
    }

    /// Forgets a Service. What it was told for comes back, for somebody else.
    pub(crate) fn remove(
        &mut self,
        service: &ServiceKey,
    ) -> Option<(Box<Waiting>, BTreeSet<IpAddr>)> {
        let mut waiting = self.waiting.remove(service)?;
        self.leave(&waiting);
        let offers = match &mut waiting.state {
            State::Parked(_) => BTreeSet::new(),
            State::Woken(offers) => std::mem::take(offers),
        };
        Some((waiting, offers))
    }

    /// Empties every queue; who waited comes back by name.
    pub(crate) fn drain(&mut self) -> Vec<Waiting> {
        let waiting = std::mem::take(self).waiting.into_values();
        let mut all: Vec<Waiting> = waiting.map(|waiting| *waiting).collect();
        all.sort_unstable_by(|a, b| a.request.service.cmp(&b.request.service));
        all
    }

    /// Those who wait for an address of the pool.
    pub(crate) fn classes(&self, pool: PoolId) -> impl Iterator<Item = &Class> {
        let classes = self.classes_of_pool.get(&pool);
        classes
            .into_iter()
            .flatten()
            .filter_map(|&class| self.classes.get(class))
    }

    /// Those who wait for this very address.
    pub(crate) fn for_address(&self, address: IpAddr) -> impl Iterator<Item = &Turn> {
        self.by_address.get(&address).into_iter().flatten()
    }

    /// Those who could share an address that is used with `sharing`.
    pub(crate) fn for_sharing(&self, sharing: &Arc<Sharing>) -> impl Iterator<Item = &Turn> {
        self.by_sharing.get(sharing).into_iter().flatten()
    }

    /// True if nobody is parked.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn enter(&mut self, place: &Place, claim: &Claim, turn: &Turn) {
        match place {
            Place::Nowhere => {}
            Place::Addresses(addresses) => {
                for address in addresses {
                    let turns = self.by_address.entry(*address).or_default();
                    turns.insert(turn.clone());
                }
            }
            Place::Pools { pools, need } => {
                let class = self.class(pools);
                let turns = self.classes[class]
                    .turns
                    .entry((*need, claim.sharing.is_some()))
                    .or_default();
                turns.insert(turn.clone());
                if let Some(sharing) = &claim.sharing {
                    let turns = self.by_sharing.entry(Arc::clone(sharing)).or_default();
                    turns.insert(turn.clone());
                }
            }
        }
    }

    fn leave(&mut self, waiting: &Waiting) {
        let State::Parked(place) = &waiting.state else {
            return;
        };
        let turn = (waiting.partial, waiting.request.service.clone());
        match place {
            Place::Nowhere => {}
            Place::Addresses(addresses) => {
                for address in addresses {
                    remove_turn(&mut self.by_address, address, &turn);
                }
            }
            Place::Pools { pools, need } => {
                let class = self.class(pools);
                let kind = (*need, waiting.claim.sharing.is_some());
                if let Some(turns) = self.classes[class].turns.get_mut(&kind) {
                    turns.remove(&turn);
                }
                if let Some(sharing) = &waiting.claim.sharing {
                    remove_turn(&mut self.by_sharing, sharing, &turn);
                }
            }
        }
    }

    fn class(&mut self, pools: &[PoolId]) -> usize {
        if let Some(&class) = self.class_of.get(pools) {
            return class;
        }
        let class = self.classes.len();
        for &pool in pools {
            self.classes_of_pool.entry(pool).or_default().push(class);
        }
        self.class_of.insert(pools.to_vec(), class);
        self.classes.push(Class {
            turns: BTreeMap::new(),
        });
        class
    }
}

fn remove_turn<K: std::hash::Hash + Eq>(
    queues: &mut HashMap<K, BTreeSet<Turn>>,
    key: &K,
    turn: &Turn,
) {
    if let Some(turns) = queues.get_mut(key) {
        turns.remove(turn);
        if turns.is_empty() {
            queues.remove(key);
        }
    }
}
