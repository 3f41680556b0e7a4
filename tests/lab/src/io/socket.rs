//! A packet socket on one interface, made from safe calls only.
//!
//! A `sockaddr_ll` cannot be built without `unsafe`, but `getifaddrs` hands out one for every
//! interface. Its protocol is zero, which makes bind(2) keep the protocol of socket(2).

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind,
    recvmsg, send, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use crate::net::netns::Netns;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Mac {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);
}

/// `sll_pkttype` of frames that this machine sends.
const PACKET_OUTGOING: u8 = 4;

/// A frame as it was on the wire, from the Ethernet header on.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When the kernel saw it.
    pub time: SystemTime,
    /// Whether this machine sent it (rather than received it) on the interface.
    pub outgoing: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// All frames of an interface, in and out.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    index: usize,
    mac: Mac,
}

impl PacketSocket {
    /// Opens a socket on an interface of a namespace.
    pub fn open(netns: &Netns, interface: &str) -> Result<Self> {
        netns.run(|| Self::open_here(interface))?.with_context(|| {
            format!(
                "cannot open a packet socket on {interface} in {}",
                netns.name()
            )
        })
    }

    fn open_here(interface: &str) -> Result<Self> {
        let address = link_address(interface)?;
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        )?;
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&fd, sockopt::RcvBufForce, &(8 << 20))?;
        bind(fd.as_raw_fd(), &address)?;
        let mac = Mac(address
            .addr()
            .context("the interface has no Ethernet address")?);
        Ok(Self {
            fd,
            index: address.ifindex(),
            mac,
        })
    }

    /// The interface's own address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.fd.as_raw_fd(), frame, MsgFlags::empty())?;
        anyhow::ensure!(sent == frame.len(), "sent {sent} of {} bytes", frame.len());
        Ok(())
    }

    /// The next frame until the deadline; `None` when there is none.
    pub fn receive(&self, deadline: Instant) -> Result<Option<Frame>> {
        let mut buffer = vec![0; 65536];
        loop {
            if let Some(frame) = self.try_receive(&mut buffer)? {
                return Ok(Some(frame));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = PollTimeout::try_from(left.min(Duration::from_hours(1)))
                .unwrap_or(PollTimeout::MAX);
            match poll(
                &mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)],
                timeout,
            ) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn try_receive(&self, buffer: &mut [u8]) -> Result<Option<Frame>> {
        loop {
            let mut control = nix::cmsg_space!(TimeSpec);
            let mut slices = [IoSliceMut::new(buffer)];
            let received = recvmsg::<LinkAddr>(
                self.fd.as_raw_fd(),
                &mut slices,
                Some(&mut control),
                MsgFlags::empty(),
            );
            let message = match received {
                Ok(message) => message,
                Err(Errno::EAGAIN) => return Ok(None),
                // The interface went down or away: nothing more comes, or later it does again.
                Err(Errno::ENETDOWN | Errno::EINTR) => continue,
                Err(error) => return Err(io::Error::from(error).into()),
            };
            let stamp = message.cmsgs()?.find_map(|control| match control {
                ControlMessageOwned::ScmTimestampns(time) => {
                    Some(UNIX_EPOCH + Duration::from(time))
                }
                _ => None,
            });
            let from = message.address;
            // Between socket(2) and bind(2) frames of other interfaces may have come in.
            if from.is_some_and(|from| from.ifindex() != self.index) {
                continue;
            }
            let outgoing = from.is_some_and(|from| from.pkttype() == PACKET_OUTGOING);
            let time = stamp.unwrap_or_else(SystemTime::now);
            let length = message.bytes;
            return Ok(Some(Frame {
                time,
                outgoing,
                bytes: buffer[..length].to_vec(),
            }));
        }
    }
}

fn link_address(interface: &str) -> Result<LinkAddr> {
    getifaddrs()?
        .filter(|address| address.interface_name == interface)
        .find_map(|address| address.address?.as_link_addr().copied())
        .with_context(|| format!("there is no interface {interface}"))
}

/// The Ethernet address of an interface in a namespace.
pub(crate) fn mac_of(netns: &Netns, interface: &str) -> Result<Mac> {
    let address = netns.run(|| link_address(interface))??;
    Ok(Mac(address
        .addr()
        .context("the interface has no Ethernet address")?))
}
