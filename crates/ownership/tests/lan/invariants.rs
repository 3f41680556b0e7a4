//! What must never last.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use herald_ownership::Duty;

use crate::cluster::Cluster;

/// Since when something is so, and how long it has been so at most.
#[derive(Default)]
pub(crate) struct Watch {
    /// Two that hear each other on the LAN hold one address.
    double: BTreeMap<(IpAddr, usize, usize), Instant>,
    /// Nobody answers for an address.
    nobody: BTreeMap<IpAddr, Instant>,
    pub(crate) longest_double: Duration,
    pub(crate) longest_nobody: Duration,
    /// How many times each address went to another holder than before.
    pub(crate) moves: BTreeMap<IpAddr, usize>,
    holder: BTreeMap<IpAddr, usize>,
}

impl Watch {
    /// Begins to count anew.
    pub(crate) fn reset(&mut self) {
        self.double.clear();
        self.nobody.clear();
        self.moves.clear();
        self.longest_double = Duration::ZERO;
        self.longest_nobody = Duration::ZERO;
    }
}

/// Who has the duty to announce an address.
pub(crate) fn holders(cluster: &Cluster, address: IpAddr) -> Vec<usize> {
    let hosts = 0..cluster.hosts.len();
    hosts
        .filter(|host| cluster.is_up(*host) && cluster.duty(*host, address) == Some(Duty::Announce))
        .collect()
}

fn is_answered(cluster: &Cluster, address: IpAddr) -> bool {
    (0..cluster.hosts.len()).any(|host| {
        let duty = cluster.duty(host, address);
        cluster.is_up(host) && matches!(duty, Some(Duty::Announce | Duty::Answer))
    })
}

/// Notes how things are from the cluster's `now` to `until`.
pub(crate) fn check(cluster: &mut Cluster, until: Instant) {
    let now = cluster.now;
    for address in cluster.addresses.clone() {
        let holders = holders(cluster, address);
        let answered = is_answered(cluster, address);
        let mut double = Vec::new();
        for (index, first) in holders.iter().enumerate() {
            for second in holders.iter().skip(index + 1) {
                let deaf = cluster.deaf.contains(&(*first, *second))
                    || cluster.deaf.contains(&(*second, *first));
                if !deaf {
                    double.push((address, *first, *second));
                }
            }
        }
        let watch = &mut cluster.watch;
        watch
            .double
            .retain(|key, _| key.0 != address || double.contains(key));
        for key in double {
            let since = *watch.double.entry(key).or_insert(now);
            let lasted = until.saturating_duration_since(since);
            watch.longest_double = watch.longest_double.max(lasted);
        }
        if answered {
            watch.nobody.remove(&address);
        } else {
            let since = *watch.nobody.entry(address).or_insert(now);
            let lasted = until.saturating_duration_since(since);
            watch.longest_nobody = watch.longest_nobody.max(lasted);
        }
        if let [holder] = holders.as_slice()
            && watch.holder.insert(address, *holder) != Some(*holder)
        {
            *watch.moves.entry(address).or_default() += 1;
        }
    }
}
