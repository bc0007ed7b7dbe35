//! Programs on a real kernel, judged by the oracle: the newest kernel of the lock, or the one that `MMDIFF_KERNEL` names (a series, a
//! release, or the path of an image). Glue only: see `harness::fuzzing::machine`.
//!
//! `cargo xtask fuzz vm_x86_64`, or `cargo +nightly fuzz run vm_x86_64`.
#![no_main]

use libfuzzer_sys::{fuzz_target, Corpus};
use vm_images::Arch;

fuzz::mutate_programs!();

fuzz_target!(init: fuzz::machine::boot(Arch::X86_64), |data: &[u8]| -> Corpus {
    fuzz::machine::run(data)
});
