//! The pipeline on the simulated kernel: the first byte chooses a fault or none, the others make a program. An honest kernel is
//! never suspected. Glue only: see `harness::fuzzing::simulated`.
//!
//! `cargo +nightly fuzz run simulated -- -max_len=2048 -len_control=0`: a program uses up to 2 KiB, and short input is dull.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Err(wrong) = harness::fuzzing::simulated(data) {
        panic!("{wrong}");
    }
});
