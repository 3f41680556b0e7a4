//! The controller: watches, allocates, writes status
