//! The conformance cases: against BIRD and FRR, and where the document names them.
#![cfg(test)]

mod routers;
mod table;
