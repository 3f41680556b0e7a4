//! The error codes of a NOTIFICATION and their names.

use std::fmt;

/// Code and subcode of a [`Notification`](super::Notification).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode {
    /// The kind of error.
    pub code: u8,
    /// Which one of its kind; 0 if it says no more.
    pub subcode: u8,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal / $subcode:literal, $text:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self { code: $code, subcode: $subcode };)*

            /// The words for the error, if it is known.
            pub fn name(self) -> Option<&'static str> {
                match (self.code, self.subcode) {
                    $(($code, $subcode) => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// The marker is not all ones (RFC 4271 6.1).
    CONNECTION_NOT_SYNCHRONIZED = 1/1, "connection not synchronized";
    /// Data: the length in the header (RFC 4271 6.1).
    BAD_MESSAGE_LENGTH = 1/2, "bad message length";
    /// Data: the type in the header (RFC 4271 6.1).
    BAD_MESSAGE_TYPE = 1/3, "bad message type";
    /// An OPEN that does not parse (RFC 4271 6.2).
    OPEN_UNSPECIFIC = 2/0, "error in OPEN";
    /// Data: the version that is spoken here, two octets (RFC 4271 6.2).
    UNSUPPORTED_VERSION = 2/1, "unsupported version number";
    /// The AS is not the one configured, or 0 (RFC 4271 6.2, RFC 7607).
    BAD_PEER_AS = 2/2, "bad peer AS";
    /// 0, or our own within our AS (RFC 6286).
    BAD_BGP_IDENTIFIER = 2/3, "bad BGP identifier";
    /// An optional parameter that is not capabilities (RFC 4271 6.2).
    UNSUPPORTED_OPTIONAL_PARAMETER = 2/4, "unsupported optional parameter";
    /// One or two seconds, or one that is refused here (RFC 4271 6.2).
    UNACCEPTABLE_HOLD_TIME = 2/6, "unacceptable hold time";
    /// Data: the capabilities that the peer would have to have (RFC 5492).
    UNSUPPORTED_CAPABILITY = 2/7, "unsupported capability";
    /// The two roles do not fit (RFC 9234).
    ROLE_MISMATCH = 2/11, "role mismatch";
    /// An UPDATE whose fields do not add up (RFC 4271 6.3).
    MALFORMED_ATTRIBUTE_LIST = 3/1, "malformed attribute list";
    /// Data: the attribute (RFC 4271 6.3).
    UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE = 3/2, "unrecognized well-known attribute";
    /// Data: the type that is missing (RFC 4271 6.3).
    MISSING_WELL_KNOWN_ATTRIBUTE = 3/3, "missing well-known attribute";
    /// Data: the attribute (RFC 4271 6.3).
    ATTRIBUTE_FLAGS_ERROR = 3/4, "attribute flags error";
    /// Data: the attribute (RFC 4271 6.3).
    ATTRIBUTE_LENGTH_ERROR = 3/5, "attribute length error";
    /// Data: the attribute (RFC 4271 6.3).
    INVALID_ORIGIN_ATTRIBUTE = 3/6, "invalid ORIGIN attribute";
    /// Data: the attribute (RFC 4271 6.3).
    INVALID_NEXT_HOP_ATTRIBUTE = 3/8, "invalid NEXT_HOP attribute";
    /// Data: the attribute (RFC 4271 6.3).
    OPTIONAL_ATTRIBUTE_ERROR = 3/9, "optional attribute error";
    /// A prefix that does not parse (RFC 4271 6.3).
    INVALID_NETWORK_FIELD = 3/10, "invalid network field";
    /// Malformed AS path (RFC 4271 6.3).
    MALFORMED_AS_PATH = 3/11, "malformed AS_PATH";
    /// The peer was silent for the hold time (RFC 4271 6.5).
    HOLD_TIMER_EXPIRED = 4/0, "hold timer expired";
    /// A message that the state does not allow (RFC 4271 6.6).
    FSM_UNSPECIFIC = 5/0, "finite state machine error";
    /// Data: the type of the message (RFC 6608).
    UNEXPECTED_IN_OPEN_SENT = 5/1, "unexpected message in OpenSent";
    /// Data: the type of the message (RFC 6608).
    UNEXPECTED_IN_OPEN_CONFIRM = 5/2, "unexpected message in OpenConfirm";
    /// Data: the type of the message (RFC 6608).
    UNEXPECTED_IN_ESTABLISHED = 5/3, "unexpected message in Established";
    /// A Cease that says no more (RFC 4271 6.7).
    CEASE_UNSPECIFIC = 6/0, "cease";
    /// Data: family and limit (RFC 4486).
    MAXIMUM_PREFIXES_REACHED = 6/1, "maximum number of prefixes reached";
    /// Data: a text (RFC 4486, RFC 9003).
    ADMINISTRATIVE_SHUTDOWN = 6/2, "administrative shutdown";
    /// The peer is no longer configured (RFC 4486).
    PEER_DE_CONFIGURED = 6/3, "peer de-configured";
    /// Data: a text (RFC 4486, RFC 9003).
    ADMINISTRATIVE_RESET = 6/4, "administrative reset";
    /// The connection is not wanted (RFC 4486).
    CONNECTION_REJECTED = 6/5, "connection rejected";
    /// Something else of the peer's configuration changed (RFC 4486).
    OTHER_CONFIGURATION_CHANGE = 6/6, "other configuration change";
    /// The other one of two connections is kept (RFC 4271 6.8, RFC 4486).
    CONNECTION_COLLISION = 6/7, "connection collision resolution";
    /// Not enough memory or the like (RFC 4486).
    OUT_OF_RESOURCES = 6/8, "out of resources";
    /// Data: the reason, another code, subcode and data (RFC 8538).
    HARD_RESET = 6/9, "hard reset";
    /// BFD says that the peer is gone (RFC 9384).
    BFD_DOWN = 6/10, "BFD down";
    /// Data: the message (RFC 7313).
    INVALID_REFRESH_LENGTH = 7/1, "invalid ROUTE-REFRESH length";
    /// The peer took nothing for the send hold time (RFC 9687).
    SEND_HOLD_TIMER_EXPIRED = 8/0, "send hold timer expired";
}

impl ErrorCode {
    /// The words for its kind, if that is known.
    fn kind(self) -> Option<&'static str> {
        Some(match self.code {
            1 => "message header error",
            2 => "OPEN message error",
            3 => "UPDATE message error",
            4 => "hold timer expired",
            5 => "finite state machine error",
            6 => "cease",
            7 => "ROUTE-REFRESH message error",
            8 => "send hold timer expired",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, subcode } = self;
        match self.name().or_else(|| self.kind()) {
            Some(words) => write!(f, "{words} ({code}/{subcode})"),
            None => write!(f, "unknown error ({code}/{subcode})"),
        }
    }
}
