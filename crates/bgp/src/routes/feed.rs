//! One session tied to the table.

use std::net::IpAddr;
use std::time::Instant;

use super::table::{OutboundId, Table};
use super::view::{Addresses, View};
use crate::session::{Event, Session};

/// Opens and closes the session's side of the table as the session goes up and down, and hands the
/// messages on while the peer takes them.
#[derive(Debug)]
pub struct Feed {
    name: String,
    addresses: Addresses,
    draining: bool,
    /// Its side of the table and its own address, while it is up.
    open: Option<(OutboundId, IpAddr)>,
}

impl Feed {
    /// For the session with this name, which audiences are made of.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            addresses: Addresses::default(),
            draining: false,
            open: None,
        }
    }

    /// The session's side of the table, while it is up.
    pub fn outbound(&self) -> Option<OutboundId> {
        self.open.map(|(outbound, _)| outbound)
    }

    /// To be called with each event of the session.
    pub fn handle_event(&mut self, event: &Event, session: &Session, table: &mut Table) {
        match event {
            Event::Up(negotiated) => {
                self.close(table);
                if let Some(endpoints) = session.endpoints() {
                    let local = endpoints.local.ip();
                    let mut view = View::new(&self.name, negotiated.clone(), local, self.addresses);
                    view.draining = self.draining;
                    self.open = Some((table.open(view), local));
                }
            }
            Event::Down(_) => self.close(table),
            Event::Refresh(family) => {
                if let Some(outbound) = self.outbound() {
                    table.refresh(outbound, *family);
                }
            }
            Event::Failed(_) | Event::EndOfRib(_) | Event::Malformed(_) => {}
        }
    }

    /// Sets the own addresses that may be next hops beside that of the session itself.
    pub fn set_addresses(&mut self, addresses: Addresses, table: &mut Table) {
        self.addresses = addresses;
        if let Some((_, local)) = self.open {
            self.review(table, |view| view.addresses = addresses.with_local(local));
        }
    }

    /// Sets whether all routes say that they go away soon (RFC 8326).
    pub fn set_draining(&mut self, draining: bool, table: &mut Table) {
        self.draining = draining;
        self.review(table, |view| view.draining = draining);
    }

    /// Hands messages to the session while it has room for them. To be called after the table has
    /// changed and after the session has sent something.
    pub fn fill(&mut self, now: Instant, session: &mut Session, table: &mut Table) {
        let Some(outbound) = self.outbound() else {
            return;
        };
        let room = session.room();
        if room == 0 {
            return;
        }
        let mut messages = Vec::new();
        let written = table.poll_messages(outbound, room, &mut messages);
        session.submit(now, messages, written);
        if table.is_synchronized(outbound) {
            session.handle_synchronized();
        }
    }

    /// Ends the session's side of the table. Without this a session that is dropped stays in it.
    pub fn close(&mut self, table: &mut Table) {
        if let Some((outbound, _)) = self.open.take() {
            table.close(outbound);
        }
    }

    fn review(&self, table: &mut Table, change: impl FnOnce(&mut View)) {
        let Some(outbound) = self.outbound() else {
            return;
        };
        if let Some(mut view) = table.view(outbound).cloned() {
            change(&mut view);
            table.set_view(outbound, view);
        }
    }
}
