//! Reads the default routes of a table, and of a large table little else.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::option::{self, ON};
use crate::socket::register;

/// As much as the kernel gives at once.
const BUFFER: usize = 32 * 1024;

/// `NETLINK_GET_STRICT_CHK`: what a request asks for is heeded.
const STRICT_CHECKS: libc::c_int = 12;

/// The unicast default routes of a family in a table; none if there is no such table.
///
/// There may be a million other routes. The kernel is asked for this table only, and gives IPv4 routes
/// in the order of their addresses, so that reading ends where others begin. IPv6 default routes come
/// last: the others are passed over without being decoded. Other tasks have their turn between.
pub(super) async fn default_routes(v6: bool, table: u32) -> io::Result<Vec<RouteMessage>> {
    let socket = open()?;
    // Before Linux 4.20 all tables are given.
    let _ = option::set(&socket, libc::SOL_NETLINK, STRICT_CHECKS, &ON);
    let socket = register(socket)?;
    socket.get_ref().send(&request(v6, table))?;
    let mut routes = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = read(&socket, &mut buffer).await?;
        for message in messages(buffer.get(..length).unwrap_or_default()) {
            match message.kind {
                // The end may tell an error, too.
                DONE | ERROR => match message.error() {
                    // No such table.
                    Some(libc::ENOENT) => return Ok(routes),
                    Some(error) => return Err(io::Error::from_raw_os_error(error)),
                    None if message.kind == DONE => return Ok(routes),
                    None => {}
                },
                _ if v6 && !message.is_default_route() => {}
                _ => {
                    let Some(RouteNetlinkMessage::NewRoute(route)) = message.decode() else {
                        continue;
                    };
                    let wanted = table_of(&route) == table;
                    if wanted && route.header.destination_prefix_length == 0 {
                        routes.push(route);
                    } else if wanted && !v6 && !is_at_zero(&route) {
                        return Ok(routes);
                    }
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

/// A netlink socket that never blocks, with an address: without one it would not be told anything.
pub(super) fn open() -> io::Result<Socket> {
    let mut socket = rtnetlink::sys::Socket::new(rtnetlink::sys::protocols::NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    Ok(socket.as_fd().try_clone_to_owned()?.into())
}

/// Waits for the next messages and returns their length. Cancel-safe.
pub(super) async fn read(socket: &AsyncFd<Socket>, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = |mut socket: &Socket| socket.read(buffer);
    socket.async_io(Interest::READABLE, &mut read).await
}

fn request(v6: bool, table: u32) -> Vec<u8> {
    let mut route = RouteMessage::default();
    route.header.address_family = if v6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    // Others need not be given.
    route.header.kind = RouteType::Unicast;
    route.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    route.attributes.push(RouteAttribute::Table(table));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = 1;
    let payload = NetlinkPayload::InnerMessage(RouteNetlinkMessage::GetRoute(route));
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

pub(super) fn table_of(route: &RouteMessage) -> u32 {
    let table = route.attributes.iter().find_map(|it| match it {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    table.unwrap_or_else(|| route.header.table.into())
}

/// The destination begins at 0.0.0.0, as that of a default route does.
fn is_at_zero(route: &RouteMessage) -> bool {
    route.attributes.iter().all(|it| match it {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => v4.is_unspecified(),
        _ => true,
    })
}

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A netlink message of which only the header is decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    kind: u16,
    bytes: &'a [u8],
}

impl Message<'_> {
    /// Of a message about a route: it is one to everywhere (`rtm_dst_len`).
    fn is_default_route(&self) -> bool {
        self.bytes.get(HEADER + 1) == Some(&0)
    }

    /// The number of an error; `None` if it says that there was none.
    fn error(&self) -> Option<i32> {
        let code = self.bytes.get(HEADER..HEADER + 4)?;
        let code = i32::from_ne_bytes(code.try_into().ok()?);
        (code != 0).then_some(code.saturating_neg())
    }

    /// All of it; `None` if it is nothing about routes, links or addresses.
    pub(super) fn decode(&self) -> Option<RouteNetlinkMessage> {
        let message = NetlinkMessage::deserialize(self.bytes).ok()?;
        match message.payload {
            NetlinkPayload::InnerMessage(message) => Some(message),
            _ => None,
        }
    }
}

/// The messages in a buffer.
pub(super) fn messages(mut buffer: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(buffer.get(..4)?.try_into().ok()?);
        let length = usize::try_from(length).ok()?;
        let kind = u16::from_ne_bytes(buffer.get(4..6)?.try_into().ok()?);
        let bytes = buffer.get(..length).filter(|_| length >= HEADER)?;
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, bytes })
    })
}
