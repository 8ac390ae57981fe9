//! Fuzzes `filter::filter`.
#![no_main]

#[path = "../filter.rs"]
mod filter;

libfuzzer_sys::fuzz_target!(|data: &[u8]| filter::filter(data));
