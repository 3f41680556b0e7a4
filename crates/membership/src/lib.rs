//! Which speakers there are, and what each tells of itself: a SWIM group over sealed datagrams.
//!
//! No I/O, no clock, no randomness but that of a seed.
