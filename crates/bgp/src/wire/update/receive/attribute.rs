//! Attributes as they follow each other (RFC 4271 4.3).
//!
//! ```text
//! | flags: 1 | type: 1 | length: 1, or 2 if the flags say so | value |
//! ```

use crate::wire::bytes::Reader;
use crate::wire::update::path::{EXTENDED_LENGTH, OPTIONAL, TRANSITIVE};
use crate::wire::{ErrorCode, Notification};

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub(super) flags: u8,
    pub(super) number: u8,
    pub(super) value: &'a [u8],
    /// With flags, type and length: the data of an error.
    pub(super) whole: &'a [u8],
}

impl Attribute<'_> {
    pub(super) fn is_optional(&self) -> bool {
        self.flags & OPTIONAL != 0
    }

    /// The flags that its type decides on.
    pub(super) fn kind(&self) -> u8 {
        self.flags & (OPTIONAL | TRANSITIVE)
    }

    /// What to close the session with if this optional attribute is wrong (RFC 4760 section 7).
    pub(super) fn error(&self) -> Notification {
        Notification::with_data(ErrorCode::OPTIONAL_ATTRIBUTE_ERROR, self.whole)
    }
}

/// What comes next.
pub(super) enum Next<'a> {
    Attribute(Attribute<'a>),
    /// An attribute that is longer than what is left, or less than its head.
    Broken {
        /// Its type; 0 if not even that is there.
        number: u8,
        rest: &'a [u8],
    },
    End,
}

/// The attributes that are still to be read.
pub(super) struct Attributes<'a>(Reader<'a>);

impl<'a> Attributes<'a> {
    pub(super) fn new(field: &'a [u8]) -> Self {
        Self(Reader::new(field))
    }

    pub(super) fn next(&mut self) -> Next<'a> {
        if self.0.is_empty() {
            return Next::End;
        }
        let rest = self.0.rest();
        match read(&mut self.0, rest) {
            Some(attribute) => Next::Attribute(attribute),
            None => Next::Broken {
                number: rest.get(1).copied().unwrap_or(0),
                rest,
            },
        }
    }
}

fn read<'a>(reader: &mut Reader<'a>, from: &'a [u8]) -> Option<Attribute<'a>> {
    let flags = reader.u8()?;
    let number = reader.u8()?;
    let len = if flags & EXTENDED_LENGTH == 0 {
        usize::from(reader.u8()?)
    } else {
        reader.u16()?.into()
    };
    let value = reader.take(len)?;
    let whole = from.get(..from.len() - reader.rest().len())?;
    Some(Attribute {
        flags,
        number,
        value,
        whole,
    })
}
