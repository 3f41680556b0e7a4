//! What can go wrong, and what a person may do.

use std::fmt;

/// Something that begins, and ends again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The node loses power; later it starts again, perhaps with an empty disk.
    PowerOff {
        /// Which.
        node: usize,
        /// The state on disk is lost.
        wipe: bool,
    },
    /// The speaker is killed; the node and its kernel live on. Later it is started again.
    Kill {
        /// Whose.
        node: usize,
    },
    /// The speaker is told to end (SIGTERM), and later started again.
    Terminate {
        /// Whose.
        node: usize,
    },
    /// The speaker is stopped (SIGSTOP), and goes on later.
    Stop {
        /// Whose.
        node: usize,
    },
    /// The node gets its processor only now and then.
    Busy {
        /// Which.
        node: usize,
    },
    /// The announcing interface has no carrier.
    Carrier {
        /// Whose.
        node: usize,
        /// The group is spoken over the same interface.
        gossip: bool,
    },
    /// A person drains the node.
    Drain {
        /// Which.
        node: usize,
    },
    /// A person taints the node as out of service.
    OutOfService {
        /// Which.
        node: usize,
    },
    /// Some stations cannot be heard by others. The last station of the LAN, after the nodes, is
    /// the client.
    Cut {
        /// On which network.
        network: Network,
        /// Who is not heard.
        from: Vec<usize>,
        /// By whom.
        to: Vec<usize>,
        /// Nor the other way round.
        both_ways: bool,
    },
    /// More is lost.
    Loss {
        /// On which network.
        network: Network,
        /// Of a thousand.
        loss: u32,
    },
}

/// A network between the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Where the group is spoken.
    Gossip,
    /// Where addresses are announced.
    Lan,
    /// Both, which may be the same wire.
    Both,
}

impl Network {
    pub(crate) fn gossips(self) -> bool {
        self != Self::Lan
    }

    pub(crate) fn is_lan(self) -> bool {
        self != Self::Gossip
    }
}

impl Fault {
    /// The one node that it strikes.
    pub(crate) fn node(&self) -> Option<usize> {
        match self {
            Self::PowerOff { node, .. }
            | Self::Kill { node }
            | Self::Terminate { node }
            | Self::Stop { node }
            | Self::Busy { node }
            | Self::Carrier { node, .. }
            | Self::Drain { node }
            | Self::OutOfService { node } => Some(*node),
            Self::Cut { .. } | Self::Loss { .. } => None,
        }
    }

    /// The group is not whole because of it.
    pub(crate) fn cuts_group(&self) -> bool {
        match self {
            Self::Cut { network, .. } => network.gossips(),
            Self::Carrier { gossip, .. } => *gossip,
            _ => false,
        }
    }

    /// Nothing is lost by it: what it takes is handed over first.
    pub(crate) fn is_planned(&self) -> bool {
        matches!(self, Self::Terminate { .. } | Self::Drain { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PowerOff { node, wipe: false } => write!(f, "n{node} loses power"),
            Self::PowerOff { node, wipe: true } => write!(f, "n{node} loses power and disk"),
            Self::Kill { node } => write!(f, "the speaker of n{node} is killed"),
            Self::Terminate { node } => write!(f, "the speaker of n{node} gets SIGTERM"),
            Self::Stop { node } => write!(f, "the speaker of n{node} gets SIGSTOP"),
            Self::Busy { node } => write!(f, "n{node} is busy"),
            Self::Carrier { node, gossip } => {
                let too = if *gossip { " and the group" } else { "" };
                write!(f, "n{node} loses carrier{too}")
            }
            Self::Drain { node } => write!(f, "n{node} is drained"),
            Self::OutOfService { node } => write!(f, "n{node} is out of service"),
            Self::Cut {
                network,
                from,
                to,
                both_ways,
            } => {
                let way = if *both_ways { "<->" } else { "->" };
                write!(f, "{network:?} cut: {from:?} {way} {to:?}")
            }
            Self::Loss { network, loss } => {
                write!(f, "{network:?} loses {loss} of a thousand more")
            }
        }
    }
}
