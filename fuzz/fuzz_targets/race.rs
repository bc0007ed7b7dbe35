//! Sections of threads: every order of the kernel's steps keeps what guard regions promise, and is what the judge allows. Glue only:
//! see `harness::fuzzing::race`.
//!
//! `cargo xtask fuzz race`, or `cargo +nightly fuzz run race`.
#![no_main]

use libfuzzer_sys::{fuzz_target, Corpus};

fuzz_target!(|data: &[u8]| -> Corpus {
    match harness::fuzzing::race::race(data, &mut fuzz::mark) {
        Ok(true) => Corpus::Keep,
        Ok(false) => Corpus::Reject,
        Err(wrong) => panic!("{wrong}"),
    }
});
