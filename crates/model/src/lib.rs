//! The words that all of Herald shares: addresses, families, labels, and the names of objects.
//!
//! Plain values without behaviour of their own beyond parsing, ordering and matching. Nothing here
//! knows Kubernetes' wire types, a clock, a task or a socket.

mod address;
mod cidr_map;
mod labels;
mod member;
mod names;

pub use address::{AddressParseError, Cidr, IpFamily, address_number, parse_addresses};
pub use cidr_map::{CidrMap, NeighbourHasher, Neighbours};
pub use labels::{LabelSelector, Labels, Operator, Requirement, SelectorError};
pub use member::{GroupView, LanInterface, MacAddress, Member, MemberState, Phase, Standing};
pub use names::{NodeName, ServiceKey};
