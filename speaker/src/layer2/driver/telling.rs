//! What the driver tells: which interfaces are announced on, and what it cannot do.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use herald_model::{IpFamily, LanInterface, MacAddress};
use herald_ownership::{Duty, Task};

use super::{Driver, SETTLED, covers};
use crate::channel::send_if_other;
use crate::layer2::Unusable;
use crate::layer2::arbiters::Arbiters;
use crate::layer2::lan::{MAX_INTERFACES, canary, prefixes, told};
use crate::layer2::port::Port;

/// The interface on which kube-proxy puts the addresses of all Services in its mode IPVS.
const IPVS: &str = "kube-ipvs0";

impl Driver {
    /// Warns, once, of addresses that this node is to announce and cannot on any interface.
    pub(super) fn tell_unserved(&mut self) {
        self.check = None;
        let desired = Arc::clone(&self.io.desired.borrow());
        let serves = |port: &Port, address: &IpAddr, task: &Task| {
            port.is_open(IpFamily::of(*address)) && covers(&task.interfaces, &port.name)
        };
        let unserved: BTreeSet<IpAddr> = desired
            .iter()
            .filter(|(_, task)| task.duty != Duty::Watch)
            .filter(|(address, task)| !self.ports.values().any(|p| serves(p, address, task)))
            .map(|(address, _)| *address)
            .collect();
        for address in unserved.difference(&self.unserved) {
            let remedy = match IpFamily::of(*address) {
                IpFamily::V4 => "an interface that is up and can do broadcasts",
                IpFamily::V6 => "an interface that is up and has an IPv6 link-local address",
            };
            tracing::warn!(
                ip = %address,
                family = %IpFamily::of(*address),
                interfaces = ?desired.get(address).map(|task| &task.interfaces),
                "this node is to announce the address, but none of the interfaces can: give it \
                 {remedy}, or leave the node out by the nodeSelectors of the L2Advertisement"
            );
        }
        self.unserved = unserved;
    }

    /// Decides anew on which interfaces it counts what is seen.
    fn choose_arbiters(&mut self) {
        let mut arbiters = Arbiters::default();
        for port in self.ports.values() {
            let known = self.known.get(&port.index);
            let mut prefixes = known.map(prefixes).unwrap_or_default();
            prefixes.retain(|prefix| port.is_open(prefix.family()));
            arbiters.add(port.index, &port.name, prefixes);
        }
        if arbiters != self.arbiters {
            self.arbiters = arbiters;
            let indexes: Vec<_> = self.ports.keys().copied().collect();
            for index in indexes {
                self.apply_to(index);
            }
        }
    }

    /// Tells which interfaces are announced on.
    pub(super) fn publish(&mut self) {
        self.choose_arbiters();
        self.check.get_or_insert_with(|| Instant::now() + SETTLED);
        if let Some(carriers) = &self.carriers {
            let absent = self.unusable.iter();
            let absent = absent.filter(|(_, reason)| **reason == Unusable::NoCarrier);
            let ports = self.ports.keys().chain(absent.map(|(index, _)| index));
            carriers.set(&ports.copied().collect());
        }
        let macs = self.known.values().filter_map(|interface| interface.mac);
        self.shared.set_own(macs.map(MacAddress).collect());
        let interfaces: Vec<_> = self
            .ports
            .values()
            .map(|port| LanInterface {
                name: port.name.clone(),
                mac: MacAddress(port.usable.mac),
                arp: port.is_open(IpFamily::V4),
                ndp: port.is_open(IpFamily::V6),
                prefixes: self
                    .known
                    .get(&port.index)
                    .map(prefixes)
                    .unwrap_or_default(),
                canary: self.known.get(&port.index).and_then(canary),
            })
            .filter(|interface| interface.arp || interface.ndp)
            .collect();
        if interfaces.len() > MAX_INTERFACES && !std::mem::replace(&mut self.too_many, true) {
            tracing::warn!(
                interfaces = interfaces.len(),
                "only {MAX_INTERFACES} interfaces take part in the election, those with addresses \
                 before others and then by name: exclude those without clients by \
                 announcedInterfacesToExclude in the exclude file"
            );
        }
        let interfaces = Some(told(interfaces));
        send_if_other(&self.io.interfaces, interfaces);
        self.closed.clear();
        if !self.ports.values().any(Port::lacks_socket) {
            self.io.ready = None;
        }
    }

    /// Warns, once, of interfaces on which the kernel answers ARP for the addresses of all Services,
    /// as it does without kube-proxy's strictARP. It does that on every node, so that another than
    /// the one that announces an address may be believed to have it.
    pub(super) fn tell_kernel_answers(&mut self) {
        let mut known = self.known.values();
        let has_services = known.any(|interface| {
            let mut addresses = interface.addresses.iter();
            interface.name == IPVS && addresses.any(|a| a.address.is_ipv4())
        });
        let ports = self.ports.values().filter(|_| has_services);
        let answering: BTreeSet<String> = ports
            .filter(|port| port.is_open(IpFamily::V4) && answers_for_all(&port.name))
            .map(|port| port.name.clone())
            .collect();
        if !answering.is_subset(&self.kernel_answers) {
            tracing::warn!(
                interfaces = ?answering,
                "the kernel of this node answers ARP for the addresses of all Services, which \
                 kube-proxy put on {IPVS}, also if another node announces them: set ipvs.strictARP \
                 to true in the configuration of kube-proxy"
            );
        }
        self.kernel_answers = answering;
    }
}

/// True if the kernel answers ARP on an interface also for the addresses of other interfaces
/// (`arp_ignore`, of which the greater of two values counts). What cannot be read says nothing.
fn answers_for_all(interface: &str) -> bool {
    let value = |name: &str| -> Option<u32> {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore");
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    value("all") == Some(0) && value(interface) == Some(0)
}
