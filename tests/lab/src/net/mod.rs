//! Namespaces, links, addresses and faults of the lab's network.

pub(crate) mod address;
pub(crate) mod build;
pub(crate) mod command;
pub(crate) mod fault;
pub(crate) mod host;
pub(crate) mod link;
pub(crate) mod netns;
pub(crate) mod outage;
pub(crate) mod router;
