//! Messages out of a stream of bytes, and their header (RFC 4271 4.1, RFC 8654).
//!
//! ```text
//! | marker: 16 bytes of 0xff | length, header included: 2 | type: 1 | body |
//! ```

use super::{ErrorCode, Notification};

/// The length of a message's header.
pub const HEADER_LEN: usize = 19;
/// The longest message (RFC 4271 4.1).
pub const STANDARD_LIMIT: usize = 4096;
/// The longest message where both offered to take longer ones (RFC 8654). OPEN and KEEPALIVE stay at
/// the standard one.
pub const EXTENDED_LIMIT: usize = 65_535;

const MARKER: [u8; 16] = [0xff; 16];
const OPEN_MIN: usize = 29;
const UPDATE_MIN: usize = 23;
const NOTIFICATION_MIN: usize = 21;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// The first message of either side.
    Open,
    /// Routes.
    Update,
    /// The last message of a session.
    Notification,
    /// A sign of life.
    Keepalive,
    /// A wish to hear all routes again (RFC 2918).
    RouteRefresh,
}

impl MessageType {
    /// The number in the header.
    pub fn code(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Open,
            2 => Self::Update,
            3 => Self::Notification,
            4 => Self::Keepalive,
            5 => Self::RouteRefresh,
            _ => return None,
        })
    }

    /// The lengths that RFC 4271 6.1 allows, the header's included. One of ROUTE-REFRESH has an error
    /// of its own (RFC 7313), which its decoder finds.
    fn allows(self, len: usize, limit: usize) -> bool {
        match self {
            Self::Open => (OPEN_MIN..=STANDARD_LIMIT).contains(&len),
            Self::Update => (UPDATE_MIN..=limit).contains(&len),
            Self::Notification => (NOTIFICATION_MIN..=limit).contains(&len),
            Self::Keepalive => len == HEADER_LEN,
            Self::RouteRefresh => (HEADER_LEN..=limit).contains(&len),
        }
    }
}

/// A message with a correct header; the body is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    /// What it is.
    pub kind: MessageType,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// Cuts a stream of bytes into messages.
///
/// [`push`](Self::push) what was read, then call [`next`](Self::next) until it has no more: then at
/// most one incomplete message stays in memory. After an error the stream is of no use: every further
/// call returns the same error.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes of the buffer's beginning that were handed out already.
    consumed: usize,
    limit: usize,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer {
    /// For a new connection: messages of the standard size.
    pub fn new() -> Self {
        Self {
            buffer: Vec::new(),
            consumed: 0,
            limit: STANDARD_LIMIT,
        }
    }

    /// The longest message that is taken from now on: [`Negotiated::message_limit`], as soon as the
    /// OPENs of both are known.
    ///
    /// [`Negotiated::message_limit`]: super::Negotiated::message_limit
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(STANDARD_LIMIT, EXTENDED_LIMIT);
    }

    /// Appends bytes that were read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes are kept.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.consumed
    }

    /// The next message; `None` if it is not complete yet. An error is found as soon as the header is
    /// there (RFC 4271 6.1).
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator's None is its end; here it means: not yet"
    )]
    pub fn next(&mut self) -> Result<Option<RawMessage>, Notification> {
        let unread = self.buffer.get(self.consumed..).unwrap_or_default();
        let Some(header) = unread.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let (kind, len) = check(header, self.limit)?;
        let Some(body) = unread.get(HEADER_LEN..len) else {
            return Ok(None);
        };
        let body = body.to_vec();
        self.consumed += len;
        Ok(Some(RawMessage { kind, body }))
    }
}

/// Type and length of a message, if its header is correct.
fn check(header: &[u8; HEADER_LEN], limit: usize) -> Result<(MessageType, usize), Notification> {
    let [marker @ .., high, low, code] = header;
    if *marker != MARKER {
        return Err(Notification::new(ErrorCode::CONNECTION_NOT_SYNCHRONIZED));
    }
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if !(HEADER_LEN..=limit).contains(&len) {
        return Err(bad_length(len));
    }
    let kind = MessageType::from_code(*code)
        .ok_or_else(|| Notification::with_data(ErrorCode::BAD_MESSAGE_TYPE, [*code]))?;
    if kind.allows(len, limit) {
        Ok((kind, len))
    } else {
        Err(bad_length(len))
    }
}

/// The error of a message whose length, the header's included, is `len`.
pub(super) fn bad_length(len: usize) -> Notification {
    let len = u16::try_from(len).unwrap_or(u16::MAX);
    Notification::with_data(ErrorCode::BAD_MESSAGE_LENGTH, len.to_be_bytes())
}

/// Appends a message whose body `write` appends.
pub(super) fn message(out: &mut Vec<u8>, kind: MessageType, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(MARKER);
    out.extend([0, 0, kind.code()]);
    write(out);
    let len = u16::try_from(out.len() - start).expect("every writer keeps to the limit");
    if let Some(field) = out.get_mut(start + MARKER.len()..start + MARKER.len() + 2) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}
