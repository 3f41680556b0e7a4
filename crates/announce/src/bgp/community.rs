//! Communities as advertisements write them (compat.md 1.3 and 1.8, rule 9).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ExtendedCommunity;

/// A community of a route.
///
/// The text is `A:B`, `large:A:B:C`, an [`ExtendedCommunity`], or the name of one that is well known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Community {
    /// RFC 1997: `65535:65281`.
    Standard(u16, u16),
    /// RFC 8092: `large:1:2:3`.
    Large(u32, u32, u32),
    /// RFC 4360: `rt:65000:1`.
    Extended(ExtendedCommunity),
}

/// Why a text is not a community.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommunityError {
    /// None of the forms, and no name that is known.
    #[error(
        "invalid community format: {0:?}: write 65535:65281, large:1:2:3, rt:1:2, soo:1:2 or link-bandwidth:1:125000, a well-known name such as no-export, or define the name in a Community"
    )]
    Format(String),
    /// `large:` without three numbers.
    #[error("expected community to be of format large:<uint32>:<uint32>:<uint32>, have {0:?}")]
    Large(String),
    /// The word of an extended community without two parts behind it.
    #[error(
        "expected community to be of format rt:<AS or IPv4>:<number>, soo:<AS or IPv4>:<number> or link-bandwidth:<AS>:<bytes a second>, have {0:?}"
    )]
    Extended(String),
    /// A number that is none, or too large.
    #[error("invalid community value: invalid section {section:?} of community {community:?}")]
    Section {
        /// The part between colons.
        section: String,
        /// All of it.
        community: String,
    },
}

/// Names of IANA's registry of well-known communities, and those that routers use for them. What a
/// speaker has no reason to originate (`llgr-stale`, route filters) is left out.
const WELL_KNOWN: [(&str, Community); 12] = [
    ("graceful-shutdown", Community::GRACEFUL_SHUTDOWN),
    ("gshut", Community::GRACEFUL_SHUTDOWN),
    ("accept-own", Community::Standard(0xffff, 0x0001)),
    ("no-llgr", Community::Standard(0xffff, 0x0007)),
    ("blackhole", Community::Standard(0xffff, 0x029a)),
    ("no-export", Community::Standard(0xffff, 0xff01)),
    ("no-advertise", Community::Standard(0xffff, 0xff02)),
    ("no-export-subconfed", Community::Standard(0xffff, 0xff03)),
    ("local-as", Community::Standard(0xffff, 0xff03)),
    ("no-peer", Community::Standard(0xffff, 0xff04)),
    ("nopeer", Community::Standard(0xffff, 0xff04)),
    ("internet", Community::Standard(0, 0)),
];

impl Community {
    /// RFC 8326: the path goes away soon, prefer another.
    pub const GRACEFUL_SHUTDOWN: Self = Self::Standard(0xffff, 0x0000);

    /// The community that everybody knows by this name.
    pub fn well_known(name: &str) -> Option<Self> {
        let mut known = WELL_KNOWN.iter();
        known.find(|(known, _)| *known == name).map(|(_, c)| *c)
    }
}

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(known) = Self::well_known(text) {
            return Ok(known);
        }
        match *text.split(':').collect::<Vec<_>>() {
            ["large", a, b, c] => Ok(Self::Large(
                number(a, text)?,
                number(b, text)?,
                number(c, text)?,
            )),
            ["large", _, ..] => Err(CommunityError::Large(text.to_owned())),
            [word @ ("rt" | "soo" | "link-bandwidth"), a, b] => {
                ExtendedCommunity::parse(word, a, b, text).map(Self::Extended)
            }
            ["rt" | "soo" | "link-bandwidth", _, ..] => {
                Err(CommunityError::Extended(text.to_owned()))
            }
            [a, b] => Ok(Self::Standard(number(a, text)?, number(b, text)?)),
            _ => Err(CommunityError::Format(text.to_owned())),
        }
    }
}

/// The number that a section of `community` writes.
pub(super) fn number<T: FromStr>(section: &str, community: &str) -> Result<T, CommunityError> {
    let decimal = section.bytes().all(|byte| byte.is_ascii_digit());
    let number = decimal.then(|| section.parse().ok()).flatten();
    number.ok_or_else(|| CommunityError::Section {
        section: section.to_owned(),
        community: community.to_owned(),
    })
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(a, b) => write!(f, "{a}:{b}"),
            Self::Large(a, b, c) => write!(f, "large:{a}:{b}:{c}"),
            Self::Extended(extended) => extended.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::super::Administrator;
    use super::*;

    #[test]
    fn every_form_is_understood() {
        use Administrator::{As2, As4, Ipv4};
        use ExtendedCommunity::{LinkBandwidth, RouteOrigin, RouteTarget};
        let ip = Ipv4Addr::new(192, 0, 2, 1);
        for (text, expected) in [
            ("65535:65281", Community::Standard(65535, 65281)),
            ("0:0", Community::Standard(0, 0)),
            ("no-export", Community::Standard(65535, 65281)),
            ("no-advertise", Community::Standard(65535, 65282)),
            ("no-export-subconfed", Community::Standard(65535, 65283)),
            ("no-peer", Community::Standard(65535, 65284)),
            ("graceful-shutdown", Community::Standard(65535, 0)),
            ("blackhole", Community::Standard(65535, 666)),
            ("large:1:2:4294967295", Community::Large(1, 2, u32::MAX)),
            (
                "rt:65000:4294967295",
                Community::Extended(RouteTarget(As2(65000, u32::MAX))),
            ),
            (
                "rt:65536:65535",
                Community::Extended(RouteTarget(As4(65536, u16::MAX))),
            ),
            (
                "soo:192.0.2.1:7",
                Community::Extended(RouteOrigin(Ipv4(ip, 7))),
            ),
            (
                "link-bandwidth:65000:125000",
                Community::Extended(LinkBandwidth {
                    asn: 65000,
                    bytes_per_second: 125_000,
                }),
            ),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("", "invalid community format"),
            ("no-such-name", "invalid community format"),
            ("No-Export", "invalid community format"),
            ("1:2:3", "invalid community format"),
            ("large", "invalid community format"),
            ("large:1:2", "expected community to be of format large:"),
            ("large:1:2:3:4", "expected community to be of format large:"),
            ("1:65536", "invalid section \"65536\""),
            (":1", "invalid section \"\""),
            ("+1:1", "invalid section \"+1\""),
            (" 1:1", "invalid section \" 1\""),
            ("large:1:2:4294967296", "invalid section \"4294967296\""),
            ("rt:1", "expected community to be of format rt:"),
            ("rt:1:2:3", "expected community to be of format rt:"),
            ("rt:65536:65536", "invalid section \"65536\""),
            ("rt:192.0.2.1:65536", "invalid section \"65536\""),
            ("rt:192.0.2:1", "invalid section \"192.0.2\""),
            ("soo:4294967296:1", "invalid section \"4294967296\""),
            ("link-bandwidth:65536:1", "invalid section \"65536\""),
            ("link-bandwidth:1:1.5", "invalid section \"1.5\""),
        ] {
            let error = text.parse::<Community>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_written_so_that_it_means_the_same(
            text in "(large:|rt:|soo:|link-bandwidth:)?[0-9.]{1,9}(:[0-9]{1,10}){0,3}|\\PC{0,20}",
        ) {
            if let Ok(community) = text.parse::<Community>() {
                prop_assert_eq!(community.to_string().parse(), Ok(community));
            }
        }
    }
}
