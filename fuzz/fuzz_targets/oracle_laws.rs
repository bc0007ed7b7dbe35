//! Generator, text form, model and judge against the laws of `oracle::laws`: bytes become a program, the program runs on the
//! model. Glue only; `cargo test -p oracle laws` runs the same function over seeds, on stable Rust.
//!
//! `cargo +nightly fuzz run oracle_laws -- -max_len=2048 -len_control=0`: a program uses up to 2 KiB, and short input is dull.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(broken) = oracle::laws::check_bytes(data) {
        panic!("{broken}");
    }
});
