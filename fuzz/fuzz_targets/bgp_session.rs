#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| herald_fuzz::run("bgp_session", bytes));
