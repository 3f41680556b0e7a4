//! How faults begin and end.

use crate::bounds::REJOINED;
use crate::cluster::{Cluster, Event};
use crate::fault::Fault;
use crate::wires::Wires;

impl Cluster {
    /// Lets something go wrong now.
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.history.say(self.now, || fault.to_string());
        self.note(&fault, true);
        match &fault {
            Fault::PowerOff { node, wipe } => {
                self.kill(*node, *wipe);
                if let Some(machine) = self.machines.get_mut(*node) {
                    machine.power = false;
                }
            }
            Fault::Kill { node } => self.kill(*node, false),
            Fault::Terminate { node } => self.terminate(*node),
            Fault::Stop { node } => self.stop(*node),
            Fault::Busy { node } => {
                if let Some(machine) = self.machines.get_mut(*node) {
                    machine.busy = true;
                }
                self.queue.push(self.now, Event::Turn(*node));
            }
            Fault::Carrier { node, gossip } => {
                if *gossip {
                    self.isolate(*node, Wires::cut);
                }
                self.set_carrier(*node, false);
            }
            Fault::Drain { node } | Fault::OutOfService { node } => {
                self.mark(&fault, *node, true);
            }
            Fault::Cut { .. } => self.wire(&fault, Wires::cut),
            Fault::Loss { network, loss } => {
                if network.gossips() {
                    self.gossip.extra_loss += loss;
                }
                if network.is_lan() {
                    self.lan.extra_loss += loss;
                }
            }
        }
        self.active.push(fault);
    }

    /// Ends what went wrong.
    pub(crate) fn heal(&mut self, fault: &Fault) {
        let Some(index) = self.active.iter().position(|active| active == fault) else {
            return;
        };
        self.active.swap_remove(index);
        self.history.say(self.now, || format!("over: {fault}"));
        self.note(fault, false);
        if fault.cuts_group() {
            self.healed = self.now;
        }
        if matches!(fault, Fault::Busy { .. }) {
            self.healed = self.now;
            self.checks.struck(self.now);
        }
        match fault {
            Fault::PowerOff { node, .. } | Fault::Kill { node } | Fault::Terminate { node } => {
                self.kill(*node, false);
                self.start(*node);
            }
            Fault::Stop { node } => self.resume(*node),
            Fault::Busy { node } => {
                if let Some(machine) = self.machines.get_mut(*node) {
                    machine.busy = false;
                }
                self.resume(*node);
            }
            Fault::Carrier { node, gossip } => {
                if *gossip {
                    self.isolate(*node, Wires::mend);
                }
                self.set_carrier(*node, true);
            }
            Fault::Drain { node } | Fault::OutOfService { node } => {
                self.mark(fault, *node, false);
            }
            Fault::Cut { .. } => self.wire(fault, Wires::mend),
            Fault::Loss { network, loss } => {
                if network.gossips() {
                    self.gossip.extra_loss -= loss;
                }
                if network.is_lan() {
                    self.lan.extra_loss -= loss;
                }
            }
        }
    }

    fn terminate(&mut self, node: usize) {
        let Some(machine) = self.machines.get_mut(node) else {
            return;
        };
        let now = machine.clock.show(self.now);
        if let Some(process) = &mut machine.process {
            process.terminate(now);
        }
        self.step(node);
    }

    fn set_carrier(&mut self, node: usize, carrier: bool) {
        let Some(machine) = self.machines.get_mut(node) else {
            return;
        };
        machine.carrier = carrier;
        let now = machine.clock.show(self.now);
        if let Some(process) = &mut machine.process {
            process.set_carrier(now, carrier);
        }
        self.step(node);
    }

    fn mark(&mut self, fault: &Fault, node: usize, set: bool) {
        if let Some(facts) = self.facts.get_mut(node) {
            match fault {
                Fault::Drain { .. } => facts.draining = set,
                _ => facts.out_of_service = set,
            }
        }
        self.publish(node);
    }

    fn isolate(&mut self, node: usize, change: fn(&mut Wires, usize, usize)) {
        for other in 0..self.machines.len() {
            if other != node {
                change(&mut self.gossip, node, other);
                change(&mut self.gossip, other, node);
            }
        }
    }

    fn wire(&mut self, fault: &Fault, change: fn(&mut Wires, usize, usize)) {
        let Fault::Cut {
            network,
            from,
            to,
            both_ways,
        } = fault
        else {
            return;
        };
        let nodes = self.machines.len();
        for (wires, used) in [
            (&mut self.gossip, network.gossips()),
            (&mut self.lan, network.is_lan()),
        ] {
            let on_it = |station: &usize| *station < nodes || wires.stations() > nodes;
            let pairs: Vec<_> = from
                .iter()
                .filter(|from| on_it(from))
                .flat_map(|from| to.iter().filter(|to| on_it(to)).map(move |to| (*from, *to)))
                .filter(|_| used)
                .collect();
            for (from, to) in pairs {
                change(wires, from, to);
                if *both_ways {
                    change(wires, to, from);
                }
            }
        }
    }

    /// Tells the checks whom this concerns.
    fn note(&mut self, fault: &Fault, begins: bool) {
        self.checks.changed(self.now);
        // One that leaves while the group is cut, or has not met again, cannot hand over to whom it
        // does not see.
        let cut = self.active.iter().any(Fault::cuts_group) || self.now < self.healed + REJOINED;
        // Nor can one that is just looking whether it can take over.
        let looking = self.checks.sees_failover(self.now);
        if begins && (cut || looking || !fault.is_planned()) {
            self.checks.struck(self.now);
        }
        match fault {
            Fault::Cut { from, to, .. } => {
                for node in from.iter().chain(to) {
                    self.checks.disturbed(self.now, *node);
                }
            }
            Fault::Loss { .. } => {
                for node in 0..self.machines.len() {
                    self.checks.disturbed(self.now, node);
                }
            }
            _ => {
                if let Some(node) = fault.node() {
                    self.checks.disturbed(self.now, node);
                }
            }
        }
    }
}
