//! The control packet (RFC 5880 4.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       My Discriminator                        |
//! |                      Your Discriminator                       |
//! |                    Desired Min TX Interval                    |
//! |                   Required Min RX Interval                    |
//! |                 Required Min Echo RX Interval                 |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use crate::{Diagnostic, Discard, State};

/// The length of a packet without authentication, in bytes.
pub const PACKET_LEN: usize = 24;

const VERSION: u8 = 1;
/// The least length with an authentication section: its type and length.
const AUTHENTICATED_LEN: u8 = 26;

const POLL: u8 = 1 << 5;
const FINAL: u8 = 1 << 4;
const INDEPENDENT: u8 = 1 << 3;
const AUTHENTICATION: u8 = 1 << 2;
const DEMAND: u8 = 1 << 1;
const MULTIPOINT: u8 = 1;

/// What a packet without authentication says. Intervals are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "they are the packet's flags")]
pub struct ControlPacket {
    /// Why the sender's session is in its state.
    pub diagnostic: Diagnostic,
    /// The state of the sender's session.
    pub state: State,
    /// Poll: the sender wants an answer with Final at once.
    pub poll: bool,
    /// Final: an answer to Poll.
    pub is_final: bool,
    /// Control plane independent: the sender's BFD goes on while its control plane restarts.
    pub independent: bool,
    /// Demand: the sender wants no packets while both sessions are up.
    pub demand: bool,
    /// How many packets may be missing before the receiver of this one takes the path as down.
    pub detect_multiplier: u8,
    /// The sender's discriminator, not 0.
    pub my_discriminator: u32,
    /// The receiver's discriminator, 0 if the sender does not know it.
    pub your_discriminator: u32,
    /// The shortest interval that the sender would like to send at.
    pub desired_min_tx: u32,
    /// The shortest interval between received packets that the sender supports; 0: it wants none.
    pub required_min_rx: u32,
    /// The shortest interval between echo packets that the sender returns; 0: it returns none.
    pub required_min_echo_rx: u32,
}

impl ControlPacket {
    /// Reads the payload of a datagram. What follows the packet is not looked at.
    ///
    /// The checks are those of RFC 5880 6.8.6 that need no session, and that the packet has no
    /// authentication: no session here has any.
    pub fn parse(payload: &[u8]) -> Result<Self, Discard> {
        let header = payload.first_chunk::<PACKET_LEN>();
        let Some((words, [])) = header.map(|header| header.as_chunks::<4>()) else {
            return Err(Discard::Truncated);
        };
        let &[first, mine, yours, desired, required, echo] = words else {
            return Err(Discard::Truncated);
        };
        let [version, flags, detect_multiplier, length] = first;
        if version >> 5 != VERSION {
            return Err(Discard::Version);
        }
        let authenticated = flags & AUTHENTICATION != 0;
        if usize::from(length) < PACKET_LEN || authenticated && length < AUTHENTICATED_LEN {
            return Err(Discard::LengthTooSmall);
        }
        if usize::from(length) > payload.len() {
            return Err(Discard::LengthTooLarge);
        }
        if detect_multiplier == 0 {
            return Err(Discard::DetectMultiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(Discard::Multipoint);
        }
        let packet = Self {
            diagnostic: Diagnostic::from_wire(version),
            state: State::from_wire(flags >> 6),
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            independent: flags & INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            detect_multiplier,
            my_discriminator: u32::from_be_bytes(mine),
            your_discriminator: u32::from_be_bytes(yours),
            desired_min_tx: u32::from_be_bytes(desired),
            required_min_rx: u32::from_be_bytes(required),
            required_min_echo_rx: u32::from_be_bytes(echo),
        };
        if packet.my_discriminator == 0 {
            return Err(Discard::MyDiscriminator);
        }
        let unsettled = matches!(packet.state, State::Down | State::AdminDown);
        if packet.your_discriminator == 0 && !unsettled {
            return Err(Discard::YourDiscriminatorMissing);
        }
        if authenticated {
            return Err(Discard::Authenticated);
        }
        Ok(packet)
    }

    /// The packet as it is sent.
    pub fn encode(&self) -> [u8; PACKET_LEN] {
        let bit = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = self.state.to_wire() << 6
            | bit(self.poll, POLL)
            | bit(self.is_final, FINAL)
            | bit(self.independent, INDEPENDENT)
            | bit(self.demand, DEMAND);
        let words = [
            u32::from_be_bytes([
                VERSION << 5 | self.diagnostic.to_wire(),
                flags,
                self.detect_multiplier,
                24,
            ]),
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        let mut bytes = [0; PACKET_LEN];
        for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        bytes
    }
}
