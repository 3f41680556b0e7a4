//! Tables and sessions' sides of them.

mod histories;
mod memory;
pub(crate) mod rib;
mod table;
