//! NOTIFICATION: why a session ends (RFC 4271 4.5 and 6).

mod codes;

use std::fmt;

pub use codes::ErrorCode;

use super::framing::{self, MessageType, STANDARD_LIMIT};
use super::{Capability, Families};

/// The longest text of a shutdown communication, in bytes (RFC 9003).
pub const SHUTDOWN_TEXT_LIMIT: usize = 255;

/// The most data that a message of the standard size holds: header and the two codes are 21 bytes.
const DATA_LIMIT: usize = STANDARD_LIMIT - 21;

/// Why a session ends, as one peer tells the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub struct Notification {
    /// What went wrong.
    pub error: ErrorCode,
    /// More about it, in the form that the RFC of the error defines.
    pub data: Vec<u8>,
}

impl Notification {
    /// A notification without data.
    pub fn new(error: ErrorCode) -> Self {
        Self {
            error,
            data: Vec::new(),
        }
    }

    /// A notification with data. Longer data than fits into a message is cut off when it is written.
    pub fn with_data(error: ErrorCode, data: impl Into<Vec<u8>>) -> Self {
        Self {
            error,
            data: data.into(),
        }
    }

    /// A Cease with a text for the peer's operator, cut to 255 bytes (RFC 9003). `error` is
    /// [`ErrorCode::ADMINISTRATIVE_SHUTDOWN`] or [`ErrorCode::ADMINISTRATIVE_RESET`].
    pub fn with_text(error: ErrorCode, text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(SHUTDOWN_TEXT_LIMIT)];
        let mut data = vec![u8::try_from(text.len()).unwrap_or(u8::MAX)];
        data.extend(text.as_bytes());
        Self { error, data }
    }

    /// The text that came with an administrative shutdown or reset, also within a hard reset. Bytes
    /// that are no UTF-8 are replaced.
    pub fn text(&self) -> Option<String> {
        match self.error {
            ErrorCode::ADMINISTRATIVE_SHUTDOWN | ErrorCode::ADMINISTRATIVE_RESET => {
                let (len, rest) = self.data.split_first()?;
                let text = rest.get(..usize::from(*len))?;
                (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
            }
            ErrorCode::HARD_RESET => self.within_hard_reset()?.text(),
            _ => None,
        }
    }

    /// True if the text that came is not as RFC 9003 says: longer than the data, or no UTF-8. It is no
    /// error of the session, but to be told.
    fn has_malformed_text(&self) -> bool {
        match (self.error, self.data.split_first()) {
            (
                ErrorCode::ADMINISTRATIVE_SHUTDOWN | ErrorCode::ADMINISTRATIVE_RESET,
                Some((len, rest)),
            ) => rest
                .get(..usize::from(*len))
                .is_none_or(|text| std::str::from_utf8(text).is_err()),
            _ => false,
        }
    }

    /// Tells a peer with graceful restart that this end is final: its routes go at once (RFC 8538).
    pub fn hard_reset(why: &Self) -> Self {
        let mut data = vec![why.error.code, why.error.subcode];
        data.extend(&why.data);
        Self::with_data(ErrorCode::HARD_RESET, data)
    }

    /// The reason of a hard reset; `None` for other notifications. A hard reset within a hard reset
    /// is taken as having no reason.
    pub fn within_hard_reset(&self) -> Option<Self> {
        match self.data.as_slice() {
            [code, subcode, data @ ..] if self.error == ErrorCode::HARD_RESET => {
                let error = ErrorCode {
                    code: *code,
                    subcode: *subcode,
                };
                (error != ErrorCode::HARD_RESET).then(|| Self::with_data(error, data))
            }
            _ => None,
        }
    }

    /// The peer lacks what this session cannot do without: the families (RFC 5492 section 5).
    pub fn unsupported_families(families: Families) -> Self {
        let mut data = Vec::new();
        for family in families.iter() {
            Capability::multiprotocol(family).encode(&mut data);
        }
        Self::with_data(ErrorCode::UNSUPPORTED_CAPABILITY, data)
    }

    /// Reads the body of a message.
    pub(super) fn decode(body: &[u8]) -> Result<Self, Self> {
        match body {
            [code, subcode, data @ ..] => Ok(Self::with_data(
                ErrorCode {
                    code: *code,
                    subcode: *subcode,
                },
                data,
            )),
            _ => Err(framing::bad_length(framing::HEADER_LEN + body.len())),
        }
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let data = self.data.get(..DATA_LIMIT).unwrap_or(&self.data);
        framing::message(out, MessageType::Notification, |out| {
            out.extend([self.error.code, self.error.subcode]);
            out.extend(data);
        });
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        if let Some(why) = self.within_hard_reset() {
            return write!(f, ": {why}");
        }
        if let Some(text) = self.text() {
            write!(f, ": {text:?}")?;
        }
        if self.has_malformed_text() {
            f.write_str(" (with a text that is not as RFC 9003 says)")?;
        }
        Ok(())
    }
}
