//! One interface that is announced on: its sockets and the tasks that answer.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use herald_l2::{Attention, Interface, MAX_FRAME_LEN, Responder, filter};
use herald_l2::{gratuitous, probe, solicited_node};
use herald_model::{IpFamily, MacAddress};
use herald_netsys::{Error, EtherType, Instruction, PacketSocket};
use tokio::task::{AbortHandle, Id, JoinSet};

use super::answering::{Shared, answer};
use super::{Metrics, Usable};

/// The end of an answering task: always a failure of its socket.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) interface: u32,
    pub(super) family: IpFamily,
    pub(super) error: io::Error,
}

/// An open interface. Dropping it stops the answers.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) usable: Usable,
    /// The last attempt to open a socket failed, and that has been said.
    pub(super) failing: bool,
    arp: Option<Half>,
    ndp: Option<Half>,
    attention: Arc<ArcSwap<Attention>>,
}

/// What one family needs.
#[derive(Debug)]
struct Half {
    socket: Arc<PacketSocket>,
    task: AbortHandle,
}

impl Drop for Half {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Port {
    /// A port without sockets; [`open`](Self::open) gives it what it can have.
    pub(super) fn new(index: u32, name: String, usable: Usable) -> Self {
        Self {
            index,
            name,
            usable,
            failing: false,
            arp: None,
            ndp: None,
            attention: Arc::default(),
        }
    }

    /// True if addresses of the family are answered for.
    pub(super) fn is_open(&self, family: IpFamily) -> bool {
        self.half(family).is_some()
    }

    /// True if the task is the one that answers for the family now.
    pub(super) fn is_served_by(&self, family: IpFamily, task: Id) -> bool {
        self.half(family).is_some_and(|half| half.task.id() == task)
    }

    /// True if a family that can be had is not.
    pub(super) fn lacks_socket(&self) -> bool {
        (self.usable.arp && self.arp.is_none()) || (self.usable.ndp.is_some() && self.ndp.is_none())
    }

    /// Makes the sockets equal to what `usable` says: opens what is missing, closes what is too
    /// much. A MAC address that changed makes all of it new. One family that fails does not keep the
    /// other from being opened; the first error is returned.
    pub(super) fn open(
        &mut self,
        usable: Usable,
        tasks: &mut JoinSet<Ended>,
        shared: &Shared,
    ) -> Result<(), Error> {
        let new_mac = usable.mac != self.usable.mac;
        self.usable = usable;
        if new_mac || !usable.arp {
            self.close(IpFamily::V4);
        }
        if new_mac || usable.ndp.is_none() {
            self.close(IpFamily::V6);
        }
        let mut outcome = Ok(());
        if usable.arp && self.arp.is_none() {
            let half = self.half_open(IpFamily::V4, tasks, shared);
            self.arp = half.map_err(|error| outcome = Err(error)).ok();
        }
        if usable.ndp.is_some() && self.ndp.is_none() {
            let half = self.half_open(IpFamily::V6, tasks, shared);
            let half = half.map_err(|error| {
                if outcome.is_ok() {
                    outcome = Err(error);
                }
            });
            self.ndp = half.ok();
        }
        outcome
    }

    /// Closes the socket of a family.
    pub(super) fn close(&mut self, family: IpFamily) {
        match family {
            IpFamily::V4 => self.arp = None,
            IpFamily::V6 => self.ndp = None,
        }
    }

    /// Answers for and looks at exactly these addresses from now on. A family whose filter cannot be
    /// changed is closed, to be opened again.
    pub(super) fn set(&mut self, attention: Attention) -> Result<(), Error> {
        if **self.attention.load() == attention {
            return Ok(());
        }
        self.attention.store(Arc::new(attention));
        let mut outcome = Ok(());
        for family in [IpFamily::V4, IpFamily::V6] {
            let Some(half) = self.half(family) else {
                continue;
            };
            if let Err(error) = half.socket.set_filter(&self.filter(family)) {
                // A new socket gets the right filter, or says why not.
                self.close(family);
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Sends all forms of an announcement.
    pub(super) fn announce(&self, address: IpAddr, metrics: &Metrics) {
        let Some(half) = self.half(IpFamily::of(address)) else {
            return;
        };
        let mut frame = [0; MAX_FRAME_LEN];
        for form in gratuitous::Form::of(address) {
            let length = gratuitous::write(*form, MacAddress(self.usable.mac), address, &mut frame);
            let Some(bytes) = length.and_then(|length| frame.get(..length)) else {
                continue;
            };
            match half.socket.send(bytes) {
                Ok(()) => metrics.gratuitous(address),
                // The next round comes soon.
                Err(error) => tracing::debug!(
                    interface = self.name,
                    ip = %address,
                    %error,
                    "announcement not sent"
                ),
            }
        }
    }

    /// Asks the LAN who has the address, without claiming it.
    pub(super) fn probe(&self, address: IpAddr, shared: &Shared) {
        let mut frame = [0; MAX_FRAME_LEN];
        let mac = MacAddress(self.usable.mac);
        let length = probe::write(address, mac, shared.nonce, &mut frame);
        self.send_question(address, frame.get(..length), shared);
    }

    /// Asks a station for an address that it surely has.
    pub(super) fn ask(&self, address: IpAddr, station: MacAddress, shared: &Shared) {
        let mut frame = [0; MAX_FRAME_LEN];
        let Usable { mac, ndp, v4, .. } = self.usable;
        let length = probe::ask(address, station, MacAddress(mac), v4, ndp, &mut frame);
        self.send_question(address, length.and_then(|l| frame.get(..l)), shared);
    }

    fn send_question(&self, address: IpAddr, frame: Option<&[u8]>, shared: &Shared) {
        let (Some(half), Some(bytes)) = (self.half(IpFamily::of(address)), frame) else {
            return;
        };
        match half.socket.send(bytes) {
            Ok(()) => {
                shared.metrics.probes.inc();
            }
            // It is one of several.
            Err(error) => {
                tracing::debug!(interface = self.name, ip = %address, %error, "probe not sent");
            }
        }
    }

    fn half(&self, family: IpFamily) -> Option<&Half> {
        match family {
            IpFamily::V4 => self.arp.as_ref(),
            IpFamily::V6 => self.ndp.as_ref(),
        }
    }

    fn half_open(
        &self,
        family: IpFamily,
        tasks: &mut JoinSet<Ended>,
        shared: &Shared,
    ) -> Result<Half, Error> {
        let ether_type = match family {
            IpFamily::V4 => EtherType::Arp,
            IpFamily::V6 => EtherType::Ipv6,
        };
        let socket = PacketSocket::open(self.index, ether_type, &self.filter(family))?;
        let socket = Arc::new(socket);
        let interface = Interface {
            index: self.index,
            name: self.name.clone(),
            mac: MacAddress(self.usable.mac),
        };
        let responder = Responder::new(interface, shared.nonce);
        let (index, attention, shared) = (self.index, Arc::clone(&self.attention), shared.clone());
        let receiver = Arc::clone(&socket);
        let task = tasks.spawn(async move {
            let error = answer(&receiver, &responder, &attention, &shared).await;
            Ended {
                interface: index,
                family,
                error,
            }
        });
        Ok(Half { socket, task })
    }

    fn filter(&self, family: IpFamily) -> Vec<Instruction> {
        let attention = self.attention.load();
        let program = match family {
            IpFamily::V4 => filter::arp(&attention),
            IpFamily::V6 => filter::ndp(&attention),
        };
        program
            .into_iter()
            .map(|filter::Instruction { code, jt, jf, k }| Instruction { code, jt, jf, k })
            .collect()
    }

    /// The groups that solicitations for the addresses go to, and the task that answers them;
    /// `None` if there is none.
    pub(super) fn groups(&self) -> Option<(Id, BTreeSet<Ipv6Addr>)> {
        let server = self.ndp.as_ref()?.task.id();
        let attention = self.attention.load();
        let (answered, watched) = (attention.answered(), attention.watched());
        let all = answered.v6().iter().chain(watched.v6());
        Some((server, all.map(|a| solicited_node(*a)).collect()))
    }
}
