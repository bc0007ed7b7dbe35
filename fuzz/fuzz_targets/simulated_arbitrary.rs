//! The target `simulated` on bytes that the generator reads as choices, changed as bytes: what mutation of programs is compared with.
//! Glue only: see `harness::fuzzing::simulated`.
//!
//! `cargo +nightly fuzz run simulated_arbitrary -- -max_len=2048 -len_control=0`: a program uses up to 2 KiB.
#![no_main]

use harness::fuzzing::simulated::simulated_arbitrary;
use libfuzzer_sys::{fuzz_target, Corpus};

fuzz_target!(|data: &[u8]| -> Corpus { fuzz::simulated::run(data, simulated_arbitrary) });
