//! BFD: whether the path to a peer works, known within a fraction of a second.
//!
//! No I/O, no clock, no randomness but that of a seed. [`Sessions`] takes packets and times, and
//! gives packets to send, events and the time when it wants to be called again:
//!
//! - the packet: RFC 5880 4.1, with all checks of 6.8.6 and each as a [`Discard`] that is counted;
//! - the state machine, its timers and Poll sequences: RFC 5880 6;
//! - one hop (RFC 5881), link-local peers among them, and several hops (RFC 5883): [`Path`];
//! - what users of a session may conclude (RFC 5882): [`Event::path_failed`].
//!
//! # The caller
//!
//! After each call: send what [`Sessions::poll_transmit`] gives, take all of
//! [`Sessions::poll_event`], and sleep until [`Sessions::next_timeout`] or a packet. One that wakes
//! up first sends what is due ([`Inbox::Waiting`]): its peers wait for that. Then it reads all
//! there is, and then looks who is silent ([`Inbox::Empty`]).
//!
//! Every session sends from a socket of its own, with a source port of 49152 to 65535 that stays
//! the same (RFC 5881 4), to [`Hops::port`], with a TTL of [`TTL`].
//!
//! A call takes less than a microsecond per session that is due, so that one thread serves a
//! thousand sessions. It should be a thread of its own, with a priority above the rest of the
//! process: the peer can't know that we were only late.
//!
//! # Echo
//!
//! With [`Settings::echo`] packets of a session's own go to its peer and are to come back, over one hop
//! of IPv4 ([`ECHO_PORT`]). They need sockets of another kind, which the caller opens on
//! [`Sessions::echo_interface`] and tells of with [`Sessions::set_echo_open`]; then it also asks
//! [`Sessions::poll_echo`] what to send, hands over what arrives to [`Sessions::handle_echo`], and
//! returns what is the peer's.
//!
//! Each echo packet has a number and a random token, and counts once when it comes back. Of a stranger's
//! packets none counts, also if he knows the session.
//!
//! Control packets go on at their intervals. RFC 5880 6.8.3 allows to slow them down, but then a path
//! whose echo is answered by something other than the peer would be noticed as down later than without.
//!
//! # When this process is late
//!
//! A process that does not run hears nothing, which says nothing about its peers. So the caller
//! says with each [`Sessions::handle_timeout`] whether packets wait to be read ([`Inbox`]), and a
//! session is not taken as down before they have been, for at most another detection time. If
//! timers were late themselves, the whole machine may have stood still: then a peer has one more
//! of its intervals to be heard, once for each silence.
//!
//! # What is not done
//!
//! - Authentication: such packets are dropped.
//! - Demand mode is not asked for. If a peer asks for it, nothing is sent to it while both are up,
//!   except in a Poll sequence.
//!
//! # Example
//!
//! ```
//! use std::net::{IpAddr, Ipv4Addr};
//! use std::time::{Duration, Instant};
//!
//! use herald_bfd::{Arrival, Hops, Inbox, Path, Sessions, Settings, State, TTL};
//!
//! let addresses = [1, 2].map(|host| IpAddr::from(Ipv4Addr::new(192, 0, 2, host)));
//! let mut now = Instant::now();
//! // In a program each node is another process, and the seed is random.
//! let mut nodes = [1, 2].map(|seed| Sessions::new([seed; 32]));
//! for (node, peer) in nodes.iter_mut().zip([addresses[1], addresses[0]]) {
//!     let path = Path::SingleHop { peer, interface: None };
//!     node.add(now, path, Settings::default())?;
//! }
//! for _ in 0..10 {
//!     for (from, to) in [(0, 1), (1, 0)] {
//!         while let Some(transmit) = nodes[from].poll_transmit(now) {
//!             let arrival = Arrival {
//!                 hops: Hops::Single,
//!                 from: addresses[from],
//!                 to: addresses[to],
//!                 interface: 2,
//!                 ttl: TTL,
//!             };
//!             let _ = nodes[to].handle_packet(now, &arrival, &transmit.payload);
//!         }
//!         while let Some(event) = nodes[to].poll_event() {
//!             assert!(!event.path_failed());
//!         }
//!     }
//!     now = nodes.iter().filter_map(Sessions::next_timeout).min().unwrap_or(now);
//!     nodes.iter_mut().for_each(|node| node.handle_timeout(now, Inbox::Empty));
//! }
//! for node in &nodes {
//!     let status = node.iter().next().and_then(|session| node.status(session));
//!     let status = status.expect("it was added");
//!     assert_eq!(status.state, State::Up);
//!     assert_eq!(status.detection_time, Some(Duration::from_millis(900)));
//! }
//! # Ok::<(), herald_bfd::AddError>(())
//! ```

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod demultiplexer;
mod discard;
mod echo;
mod event;
mod negotiation;
mod packet;
mod path;
mod schedule;
mod session;
mod sessions;
mod settings;
mod state;
mod status;
#[cfg(test)]
mod tests;

pub use discard::{Discard, Discards};
pub use echo::{ECHO_LEN, ECHO_PORT, Echo, EchoArrival, EchoTransmit, RETURNED_TTL};
pub use event::{Cause, Event, EventKind};
pub use packet::{ControlPacket, PACKET_LEN};
pub use path::{Arrival, Hops, Path, PathError, TTL};
pub use sessions::{
    AddError, Inbox, MAX_SESSIONS, ReconfigureError, SessionId, Sessions, Transmit, UnknownSession,
};
pub use settings::{Settings, SettingsError};
pub use state::{Diagnostic, State};
pub use status::{Counters, EchoOff, EchoStatus, PeerStatus, Status};
