//! Whole-system benchmarks that run a peer beside Herald
