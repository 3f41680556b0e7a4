//! Why a received packet was dropped.

use std::fmt;

/// Why a received packet has no consequence. Meant to be counted: [`Discard::name`] is a label's
/// value and [`Discard::ALL`] has all of them.
///
/// The checks are those of RFC 5880 6.8.6, RFC 5881 5 and RFC 5883 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[must_use]
pub enum Discard {
    /// Shorter than a control packet's 24 bytes.
    #[error("the packet is shorter than 24 bytes")]
    Truncated,
    /// The version is not 1.
    #[error("the packet's version is not 1")]
    Version,
    /// The length in the packet is less than 24, or than 26 with authentication.
    #[error("the packet's length field is too small")]
    LengthTooSmall,
    /// The length in the packet is more than there is.
    #[error("the packet's length field is more than was received")]
    LengthTooLarge,
    /// The detection multiplier is 0.
    #[error("the packet's detection multiplier is 0")]
    DetectMultiplier,
    /// The multipoint bit is set.
    #[error("the packet's multipoint bit is set")]
    Multipoint,
    /// The sender's discriminator is 0.
    #[error("the packet's own discriminator is 0")]
    MyDiscriminator,
    /// The packet claims authentication, which no session here has.
    #[error("the packet is authenticated, but no authentication is set up")]
    Authenticated,
    /// The packet names no session, but its sender claims to be in one.
    #[error("the packet's state needs a discriminator of ours, but it has none")]
    YourDiscriminatorMissing,
    /// There is no session with the discriminator that the packet names.
    #[error("no session has the discriminator that the packet names")]
    UnknownDiscriminator,
    /// There is no session with the sender.
    #[error("there is no session with the sender")]
    UnknownPeer,
    /// The session is of another port, family or interface.
    #[error("the packet came by another port, family or interface than its session's")]
    WrongPath,
    /// The TTL or hop limit is too small: the sender is farther away than it may be.
    #[error("the packet's TTL is too small")]
    Ttl,
    /// The session is held down on purpose.
    #[error("the session is administratively down")]
    AdminDown,
    /// An echo packet that no session has sent, or that none returns.
    #[error("no session has sent this echo packet, and none returns it")]
    EchoUnwanted,
    /// An echo packet of ours that is not awaited, or none of ours at all.
    #[error("the echo packet came back too late, or before, or is forged")]
    EchoStale,
    /// The peer sends more echo packets than it was told to.
    #[error("the peer sends more echo packets than it may")]
    EchoRate,
}

impl Discard {
    /// All there are.
    pub const ALL: [Self; 17] = [
        Self::Truncated,
        Self::Version,
        Self::LengthTooSmall,
        Self::LengthTooLarge,
        Self::DetectMultiplier,
        Self::Multipoint,
        Self::MyDiscriminator,
        Self::Authenticated,
        Self::YourDiscriminatorMissing,
        Self::UnknownDiscriminator,
        Self::UnknownPeer,
        Self::WrongPath,
        Self::Ttl,
        Self::AdminDown,
        Self::EchoUnwanted,
        Self::EchoStale,
        Self::EchoRate,
    ];

    /// The reason as one word, for a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Version => "version",
            Self::LengthTooSmall => "length_too_small",
            Self::LengthTooLarge => "length_too_large",
            Self::DetectMultiplier => "detect_multiplier",
            Self::Multipoint => "multipoint",
            Self::MyDiscriminator => "my_discriminator",
            Self::Authenticated => "authenticated",
            Self::YourDiscriminatorMissing => "your_discriminator_missing",
            Self::UnknownDiscriminator => "unknown_discriminator",
            Self::UnknownPeer => "unknown_peer",
            Self::WrongPath => "wrong_path",
            Self::Ttl => "ttl",
            Self::AdminDown => "admin_down",
            Self::EchoUnwanted => "echo_unwanted",
            Self::EchoStale => "echo_stale",
            Self::EchoRate => "echo_rate",
        }
    }
}

/// How many packets were dropped for each reason.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Discards([u64; Discard::ALL.len()]);

impl Discards {
    /// How many for this reason.
    pub fn count(&self, reason: Discard) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or_default()
    }

    /// How many for each reason, also those that are none.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> {
        Discard::ALL.into_iter().zip(self.0)
    }

    pub(crate) fn add(&mut self, reason: Discard) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

impl fmt::Debug for Discards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.iter().filter(|(_, count)| *count > 0);
        let counted = counted.map(|(reason, count)| (reason.name(), count));
        f.debug_map().entries(counted).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_is_counted_apart_under_a_name_of_its_own() {
        let names: BTreeSet<_> = Discard::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Discard::ALL.len());
        let mut discards = Discards::default();
        for (times, reason) in Discard::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| discards.add(reason));
        }
        for (times, (reason, count)) in (0..).zip(discards.iter()) {
            assert_eq!(count, times);
            assert_eq!(discards.count(reason), times);
        }
    }
}
