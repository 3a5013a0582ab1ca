//! libFuzzer's door to [`fixgw_fuzz::parse`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fixgw_fuzz::parse(bytes));
