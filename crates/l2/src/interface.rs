//! The interface that frames come in on and go out of.

use herald_model::MacAddress;
use pnet_base::MacAddr;

/// An interface that addresses are announced on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's index of it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, which answers give out.
    pub mac: MacAddress,
}

/// The address as the packet crate has it.
pub(crate) fn from_wire(address: MacAddr) -> MacAddress {
    MacAddress(address.octets())
}

/// The address as the packet crate wants it.
pub(crate) fn to_wire(address: MacAddress) -> MacAddr {
    MacAddr::from(address.0)
}
