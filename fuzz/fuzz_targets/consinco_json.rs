//! `consinco` in JSON. Input: tests/golden.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sidegate_fuzz::consinco::check(data, "application/json"));
