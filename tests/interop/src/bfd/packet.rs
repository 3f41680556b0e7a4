//! BFD control packets (RFC 5880, 4.1), right and wrong.

/// A session's state.
pub const ADMIN_DOWN: u8 = 0;
/// A session's state.
pub const DOWN: u8 = 1;
/// A session's state.
pub const INIT: u8 = 2;
/// A session's state.
pub const UP: u8 = 3;

/// A control packet; every field can be given a value that no session would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "the protocol's flags")]
pub struct Packet {
    /// 1 is right.
    pub version: u8,
    /// Why the session last went down.
    pub diagnostic: u8,
    /// [`ADMIN_DOWN`] to [`UP`].
    pub state: u8,
    /// P.
    pub poll: bool,
    /// F.
    pub final_: bool,
    /// A: an authentication section follows.
    pub authentication: bool,
    /// M: must not be set.
    pub multipoint: bool,
    /// Intervals that make a detection time.
    pub multiplier: u8,
    /// The length that the packet claims.
    pub length: u8,
    /// The sender's discriminator.
    pub mine: u32,
    /// The receiver's, as the sender knows it.
    pub yours: u32,
    /// Desired minimum transmit interval in microseconds.
    pub transmit: u32,
    /// Required minimum receive interval in microseconds.
    pub receive: u32,
}

impl Packet {
    /// A packet of a session that is down and would like `interval` microseconds both ways.
    pub fn down(mine: u32, interval: u32) -> Self {
        Self {
            version: 1,
            diagnostic: 0,
            state: DOWN,
            poll: false,
            final_: false,
            authentication: false,
            multipoint: false,
            multiplier: 3,
            length: 24,
            mine,
            yours: 0,
            transmit: interval,
            receive: interval,
        }
    }

    /// The 24 octets.
    pub fn to_bytes(self) -> Vec<u8> {
        let flags = [
            (self.poll, 0x20),
            (self.final_, 0x10),
            (self.authentication, 0x04),
            (self.multipoint, 0x01),
        ];
        let flags = flags.iter().filter(|(set, _)| *set).map(|(_, bit)| bit);
        let mut bytes = vec![
            self.version << 5 | self.diagnostic,
            self.state << 6 | flags.sum::<u8>(),
            self.multiplier,
            self.length,
        ];
        for word in [self.mine, self.yours, self.transmit, self.receive, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes
    }

    /// Reads a packet; `None` if it is shorter than one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [first, second, multiplier, length, rest @ ..] = bytes else {
            return None;
        };
        let word = |n: usize| {
            let octets: &[u8; 4] = rest.get(4 * n..)?.first_chunk()?;
            Some(u32::from_be_bytes(*octets))
        };
        word(4)?;
        Some(Self {
            version: first >> 5,
            diagnostic: first & 0x1f,
            state: second >> 6,
            poll: second & 0x20 != 0,
            final_: second & 0x10 != 0,
            authentication: second & 0x04 != 0,
            multipoint: second & 0x01 != 0,
            multiplier: *multiplier,
            length: *length,
            mine: word(0)?,
            yours: word(1)?,
            transmit: word(2)?,
            receive: word(3)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_the_same_after_writing_and_reading() {
        let packet = Packet {
            yours: 7,
            poll: true,
            state: UP,
            diagnostic: 3,
            ..Packet::down(0x0102_0304, 50_000)
        };
        let bytes = packet.to_bytes();
        assert_eq!(bytes.len(), 24);
        assert_eq!(Packet::read(&bytes), Some(packet));
        assert_eq!(Packet::read(&bytes[..23]), None);
    }
}
