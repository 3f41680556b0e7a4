//! Sessions with scripted peers, and with each other.
