//! Text that may be a program: what is understood reads back as it prints, and what is fit to run obeys every law. Glue only: see
//! `harness::fuzzing::text`.
//!
//! `cargo xtask fuzz program_text`, or `cargo +nightly fuzz run program_text fuzz/corpus/program_text corpus/guard`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(broken) = harness::fuzzing::text::program_text(data) {
        panic!("{broken}");
    }
});
