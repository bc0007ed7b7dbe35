//! Model and judge against the laws of `oracle::laws`, one for each input. Glue only: see `harness::fuzzing::laws`.
//!
//! `cargo xtask fuzz oracle_laws`, or `cargo +nightly fuzz run oracle_laws`.
#![no_main]

use libfuzzer_sys::{fuzz_target, Corpus};

/// The model has no unsafe code: a sanitizer that watches each of its small allocations takes two fifths of the time, and can find
/// nothing there.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

fuzz::mutate_programs!(laws);

fuzz_target!(|data: &[u8]| -> Corpus {
    match harness::fuzzing::laws::laws(data) {
        Ok(true) => Corpus::Keep,
        Ok(false) => Corpus::Reject,
        Err(broken) => panic!("{broken}"),
    }
});
