#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| herald_fuzz::run("membership_datagram", bytes));
