//! Tests of Herald on the lab, against the real thing
