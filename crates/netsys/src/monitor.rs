//! The interfaces of this host, and every change of them.
//!
//! ```text
//!   RTNLGRP_LINK, _IPV4_IFADDR, _IPV6_IFADDR ──▶ Table ──▶ Change
//!   dump at the start, after an overrun     ───▶  (diff)
//!   and once in a minute                            ▲
//!   RTM_GETLINK for chosen ones, every 50 ms ───────┘ the carrier only
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{MulticastGroup, new_connection, new_multicast_connection};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Error;

mod carrier;
mod table;

pub use carrier::CarrierWatch;
use carrier::{Carriers, Report};
use table::Table;
pub use table::{Change, Interface, InterfaceAddress};

/// What changes of are followed.
const GROUPS: &[MulticastGroup] = &[
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
];

/// How long a dump may take.
const DUMP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait before netlink is opened again after it failed.
const RETRY: Duration = Duration::from_millis(500);

/// How often all interfaces are read again though nothing seems lost: a notification that could not
/// be decoded leaves no trace.
const CHECK: Duration = Duration::from_mins(1);

/// Follows the interfaces by netlink. Holds what is known, so that notifications lost in an overrun
/// are made up for by a new dump, of which only the differences are reported.
#[derive(Debug)]
pub struct Monitor {
    table: Table,
    pending: VecDeque<Change>,
    subscription: Subscription,
    carriers: Carriers,
    /// What has yet to be made up for.
    loss: Option<Loss>,
    /// When everything is read again in any case.
    check: Instant,
}

/// What went wrong with notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// There were more than the socket's buffer holds.
    Messages,
    /// The socket is of no use any more.
    Socket,
    /// Perhaps nothing.
    Unknown,
}

/// Notifications of the kernel.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) messages: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    /// Ends with this.
    _connection: JoinSet<()>,
}

impl Monitor {
    /// Subscribes and reads what is there; [`next`](Self::next) then reports every interface once.
    /// Sees the network namespace of the calling thread. Must be called within a tokio runtime.
    pub async fn start() -> Result<Self, Error> {
        // Subscribed first: what changes during the dump is reported after it.
        let subscription = Subscription::open(GROUPS)?;
        let carriers = Carriers::start().map_err(|error| failed("carriers", &error))?;
        let mut table = Table::default();
        let pending = table.replace(dump().await?).into();
        Ok(Self {
            table,
            pending,
            subscription,
            carriers,
            loss: None,
            check: Instant::now() + CHECK,
        })
    }

    /// Chooses the interfaces whose carrier the kernel is asked for all the time; none at first. Of
    /// the others a loss may become known a second late.
    pub fn carriers(&self) -> CarrierWatch {
        self.carriers.watch()
    }

    /// Sends every change until nobody listens any more, or there are no more. Waits while the
    /// channel is full.
    pub async fn run(mut self, changes: mpsc::Sender<Change>) {
        while let Ok(permit) = changes.reserve().await {
            tokio::select! {
                change = self.next() => match change {
                    Some(change) => permit.send(change),
                    None => return,
                },
                () = changes.closed() => return,
            }
        }
    }

    /// The next change. Cancel-safe, but to give up a dump that is under way means to begin it anew:
    /// see [`run`](Self::run) for use beside other things. A broken netlink socket is opened again.
    /// `None` only if the thread that asks for carriers has ended, which is a defect.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.pending.pop_front() {
                if let Change::Present(interface) = &change {
                    self.carriers.learn(interface.index, interface.carrier);
                }
                return Some(change);
            }
            if let Some(loss) = self.loss {
                self.resync(loss).await;
                continue;
            }
            let message = self.subscription.messages.next();
            // Notifications first: what was asked for after them is newer.
            let message = tokio::select! {
                biased;
                message = tokio::time::timeout_at(self.check, message) => message,
                report = self.carriers.next() => {
                    self.correct(report?);
                    continue;
                }
            };
            let Ok(message) = message else {
                self.loss = Some(Loss::Unknown);
                continue;
            };
            match message {
                Some((message, _)) => match message.payload {
                    NetlinkPayload::InnerMessage(message) => {
                        self.pending.extend(self.table.apply(message));
                    }
                    NetlinkPayload::Overrun(_) => self.lost(Loss::Messages),
                    _ => {}
                },
                None => self.lost(Loss::Socket),
            }
        }
    }

    /// Takes in what the kernel says when asked.
    fn correct(&mut self, report: Report) {
        let Report { index, carrier, .. } = report;
        match self.table.set_carrier(index, carrier) {
            Some(change) => self.pending.push_back(change),
            None => self.carriers.learn(index, carrier),
        }
    }

    /// Everything known at present.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.table.interfaces()
    }

    fn lost(&mut self, loss: Loss) {
        tracing::info!("netlink notifications were lost, reading all interfaces again");
        self.loss = Some(loss);
    }

    /// Makes up for a loss. If this is dropped half-way, the loss stays noted.
    async fn resync(&mut self, loss: Loss) {
        match self.try_resync(loss == Loss::Socket).await {
            Ok(()) => self.loss = None,
            Err(error) => {
                self.loss = Some(Loss::Socket);
                tracing::warn!(%error, "netlink failed, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn try_resync(&mut self, reopen: bool) -> Result<(), Error> {
        if reopen {
            self.subscription = Subscription::open(GROUPS)?;
        }
        let dump = dump().await?;
        self.pending.extend(self.table.replace(dump));
        self.check = Instant::now() + CHECK;
        Ok(())
    }
}

impl Subscription {
    pub(crate) fn open(groups: &[MulticastGroup]) -> Result<Self, Error> {
        let (connection, _, messages) =
            new_multicast_connection(groups).map_err(|error| failed("subscribe", &error))?;
        let mut task = JoinSet::new();
        task.spawn(connection);
        Ok(Self {
            messages,
            _connection: task,
        })
    }
}

/// Links first, then addresses, over a connection of its own: replies must not get lost among
/// notifications.
async fn dump() -> Result<Vec<RouteNetlinkMessage>, Error> {
    let (connection, handle, _) = new_connection().map_err(|error| failed("open", &error))?;
    let mut task = JoinSet::new();
    task.spawn(connection);
    let read = async {
        let mut messages = Vec::new();
        let mut links = handle.link().get().execute();
        while let Some(link) = links
            .try_next()
            .await
            .map_err(|error| failed("dump of links", &error))?
        {
            messages.push(RouteNetlinkMessage::NewLink(link));
        }
        let mut addresses = handle.address().get().execute();
        while let Some(address) = addresses
            .try_next()
            .await
            .map_err(|error| failed("dump of addresses", &error))?
        {
            messages.push(RouteNetlinkMessage::NewAddress(address));
        }
        Ok(messages)
    };
    tokio::time::timeout(DUMP_TIMEOUT, read)
        .await
        .map_err(|error| failed("dump", &error))?
}

fn failed(step: &'static str, error: &dyn std::fmt::Display) -> Error {
    Error::Netlink {
        step,
        message: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_went_unnoticed_is_found_within_a_minute() {
        let mut monitor = Monitor::start().await.expect("netlink");
        assert!(monitor.pending.iter().any(is_lo));
        monitor.pending.clear();
        // As if the notification of it had not been understood.
        monitor.table = Table::default();
        let start = Instant::now();
        while !is_lo(&monitor.next().await.expect("it goes on")) {}
        assert!(start.elapsed() <= CHECK + DUMP_TIMEOUT);
    }

    #[tokio::test]
    async fn all_changes_are_sent_over_the_narrowest_channel_and_then_it_ends() {
        let monitor = Monitor::start().await.expect("netlink");
        let (sender, mut changes) = mpsc::channel(1);
        let task = tokio::spawn(monitor.run(sender));
        while !is_lo(&changes.recv().await.expect("it runs")) {}
        drop(changes);
        let ended = tokio::time::timeout(Duration::from_secs(5), task).await;
        ended.expect("nobody listens").expect("no panic");
    }

    fn is_lo(change: &Change) -> bool {
        matches!(change, Change::Present(interface) if interface.name == "lo")
    }
}
