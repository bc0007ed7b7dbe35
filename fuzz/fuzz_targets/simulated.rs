//! The whole pipeline on the simulated kernel, on programs in their text form: an honest kernel is never suspected, and with
//! `MMDIFF_FAULT=family/name` a program that shows the fault is a finding. Glue only: see `harness::fuzzing::simulated`.
//!
//! `cargo xtask fuzz simulated`, or `cargo +nightly fuzz run simulated`.
#![no_main]

use harness::fuzzing::simulated::simulated;
use libfuzzer_sys::{fuzz_target, Corpus};

fuzz::mutate_programs!();

fuzz_target!(|data: &[u8]| -> Corpus { fuzz::simulated::run(data, simulated) });
