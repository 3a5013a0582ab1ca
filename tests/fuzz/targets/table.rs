//! libFuzzer's door to [`fixgw_fuzz::table`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fixgw_fuzz::table(bytes));
