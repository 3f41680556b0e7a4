//! Tables and sessions' sides of them.

mod table;
