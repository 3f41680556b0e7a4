//! The options of neighbor discovery messages.

use herald_model::MacAddress;
use pnet_packet::icmpv6::ndp::{NdpOptionType, NdpOptionTypes};

use crate::probe::Nonce;
use crate::verdict::Ignored;

/// The nonce option (RFC 3971 5.3.2, RFC 7527 4.1).
pub(super) const NONCE: NdpOptionType = NdpOptionType(14);

/// An option with six bytes of content, in the unit of the option's length field.
pub(super) const UNITS: u8 = 1;

/// The same in bytes.
pub(super) const OPTION_LEN: usize = 8;

/// The options that matter here, the first of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) source_link_layer: Option<MacAddress>,
    pub(super) target_link_layer: Option<MacAddress>,
    /// A nonce of six bytes; longer ones are none of ours.
    pub(super) nonce: Option<Nonce>,
}

impl Options {
    /// Reads all options; an error if any is malformed, because then the whole message must be
    /// dropped.
    ///
    /// By hand and not with the packet crate's option iterator, which takes a length of 0.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, Ignored> {
        let mut found = Self::default();
        while let [kind, units, ..] = *bytes {
            let len = usize::from(units) * 8;
            if len == 0 {
                return Err(Ignored::Options);
            }
            let (option, rest) = bytes.split_at_checked(len).ok_or(Ignored::Options)?;
            let content = option.get(2..).and_then(|c| <[u8; 6]>::try_from(c).ok());
            let link_layer = || content.map(MacAddress).ok_or(Ignored::Options);
            match NdpOptionType(kind) {
                NdpOptionTypes::SourceLLAddr => {
                    let address = link_layer()?;
                    found.source_link_layer.get_or_insert(address);
                }
                NdpOptionTypes::TargetLLAddr => {
                    let address = link_layer()?;
                    found.target_link_layer.get_or_insert(address);
                }
                NONCE if found.nonce.is_none() => found.nonce = content.map(Nonce),
                _ => {}
            }
            bytes = rest;
        }
        if bytes.is_empty() {
            Ok(found)
        } else {
            Err(Ignored::Options)
        }
    }
}
