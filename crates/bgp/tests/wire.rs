//! Messages as bytes: what is taken, what is refused with which error, and what is written.
//!
//! The names of the cases (h1, o1, u1 …) are those of the scripted peers that are let loose on the
//! speaker itself.

#[cfg(test)]
mod wire {
    mod capabilities;
    mod header;
    mod malformed;
    mod notification;
    mod open;
    mod packing;
    mod properties;
    mod received_attributes;
    mod received_updates;
    mod refresh;
    mod second_parser;
    mod support;
}
