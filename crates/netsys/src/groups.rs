//! Membership in IPv6 multicast groups.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;

use socket2::{Domain, Socket, Type};

use crate::Error;

/// The groups joined on one interface. While joined, the interface lets the group's frames in and
/// the kernel tells switches and routers by MLD (RFC 3810); the frames themselves are for a
/// [`PacketSocket`](crate::PacketSocket) to read. All groups are left when this is dropped.
///
/// The kernel charges each membership to its socket and refuses (`ENOMEM`) above
/// `net.core.optmem_max`, which is 2,730 groups on a current kernel and about 420 on an older one.
/// So there are as many sockets as it takes.
#[derive(Debug)]
pub struct GroupMemberships {
    interface: u32,
    sockets: Vec<Member>,
    /// Group to index into `sockets`.
    joined: BTreeMap<Ipv6Addr, usize>,
}

#[derive(Debug)]
struct Member {
    socket: Socket,
    /// The kernel refused another group on this socket.
    full: bool,
}

impl GroupMemberships {
    /// No groups yet, on the interface with index `interface`.
    pub fn new(interface: u32) -> Self {
        Self {
            interface,
            sockets: Vec::new(),
            joined: BTreeMap::new(),
        }
    }

    /// Joins groups, and then leaves others, so that exactly those of `wanted` are joined. Goes on
    /// after an error; the errors are returned, and a group that failed is tried again by the next
    /// call. May take long: the more groups there are the longer each takes, 30 ms to 150 ms for a
    /// thousand, and others may hold a lock that the kernel needs for it.
    pub fn set(&mut self, wanted: &BTreeSet<Ipv6Addr>) -> Vec<Error> {
        let mut errors = Vec::new();
        for group in wanted {
            if self.joined.contains_key(group) {
                continue;
            }
            match self.join(group) {
                Ok(index) => {
                    self.joined.insert(*group, index);
                }
                Err(source) => errors.push(Error::JoinGroup {
                    group: *group,
                    interface: self.interface,
                    source,
                }),
            }
        }
        let unwanted: Vec<_> = self
            .joined
            .iter()
            .filter(|(group, _)| !wanted.contains(group))
            .map(|(group, socket)| (*group, *socket))
            .collect();
        for (group, index) in unwanted {
            self.joined.remove(&group);
            if let Some(member) = self.sockets.get_mut(index) {
                // Fails only if the interface is gone, and the membership with it.
                let _ = member.socket.leave_multicast_v6(&group, self.interface);
                member.full = false;
            }
        }
        errors
    }

    /// How many groups are joined.
    pub fn len(&self) -> usize {
        self.joined.len()
    }

    /// True if no group is joined.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    /// How many sockets the kernel's limit made necessary.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    fn join(&mut self, group: &Ipv6Addr) -> io::Result<usize> {
        for (index, member) in self.sockets.iter_mut().enumerate() {
            if member.full {
                continue;
            }
            match member.socket.join_multicast_v6(group, self.interface) {
                Ok(()) => return Ok(index),
                Err(error) if is_full(&error) => member.full = true,
                Err(error) => return Err(error),
            }
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.join_multicast_v6(group, self.interface)?;
        self.sockets.push(Member {
            socket,
            full: false,
        });
        Ok(self.sockets.len() - 1)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS))
}
