//! What is inside a sealed datagram between two members.

use herald_model::{MemberState, Standing};
use serde::{Deserialize, Serialize};

/// How much of an envelope the state may take.
pub(crate) const MAX_STATE: usize = 1100;

/// How the sender takes the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Sees {
    /// It does not know it, or not well.
    Unknown,
    /// As a live member.
    Live,
    /// As one that was declared down.
    Down,
}

/// What a member says to another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope<'a> {
    /// The sender's generation.
    pub(crate) generation: u64,
    /// The receiver's generation as the sender knows it; 0 if it does not.
    pub(crate) known: u64,
    /// How the sender takes that generation of the receiver.
    pub(crate) sees: Sees,
    /// How the sender would stand without the receiver.
    pub(crate) standing: Standing,
    /// How fit the sender is to own addresses: the greater the better. Counts in a tie.
    pub(crate) fitness: u8,
    /// The greatest counter that the sender has received from the receiver.
    pub(crate) heard: u64,
    /// Which version of the receiver's state the sender has; 0 if none.
    pub(crate) seen: u64,
    /// The sender wants an answer at once.
    pub(crate) reply: bool,
    /// The sender leaves the group for good reason.
    pub(crate) leaving: bool,
    /// The sender's state, if the receiver does not have it yet.
    #[serde(borrow)]
    pub(crate) told: Option<Told<'a>>,
    /// Whom the receiver is to pass the sender's state on to: the sender does not reach it.
    #[serde(borrow)]
    pub(crate) pass: Option<&'a str>,
    /// What another member told the sender, passed on to the receiver.
    #[serde(borrow)]
    pub(crate) passed: Option<Passed<'a>>,
    /// A message of the SWIM protocol, or nothing.
    pub(crate) swim: &'a [u8],
}

/// A version of a member's state.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Told<'a> {
    pub(crate) version: u64,
    pub(crate) state: &'a [u8],
}

/// A version of the state of a member that is not the sender.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Passed<'a> {
    pub(crate) name: &'a str,
    /// The member's generation.
    pub(crate) generation: u64,
    #[serde(borrow)]
    pub(crate) told: Told<'a>,
}

/// The bytes of a state, no more than `most` and [`MAX_STATE`], and whether something had to be left
/// out of it.
pub(crate) fn encode_state(state: &MemberState, most: usize) -> (Vec<u8>, bool) {
    let most = most.min(MAX_STATE);
    let mut state = state.clone();
    let mut trimmed = false;
    loop {
        let bytes = postcard::to_stdvec(&state).unwrap_or_default();
        if bytes.len() <= most {
            return (bytes, trimmed);
        }
        trimmed = true;
        let longest = state
            .interfaces
            .iter_mut()
            .max_by_key(|interface| interface.prefixes.len());
        let dropped = longest.is_some_and(|interface| interface.prefixes.pop_last().is_some())
            || state.unheard.pop_last().is_some()
            || state.interfaces.pop().is_some();
        if !dropped {
            return (Vec::new(), trimmed);
        }
    }
}
