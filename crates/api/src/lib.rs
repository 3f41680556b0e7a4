//! The kinds of metallb.io, annotations, and resources turned into a validated Config
