//! libFuzzer's door to [`fixgw_fuzz::readings`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fixgw_fuzz::readings(bytes));
