//! Programs on two real kernels, against each other and the oracle: those that `MMDIFF_KERNEL` names (`7.2,7.3`), or the newest of the two
//! newest series. Glue only: see `harness::campaign::Pairing`.
//!
//! `cargo xtask fuzz vm_pair`, or `cargo +nightly fuzz run vm_pair`.
#![no_main]

use libfuzzer_sys::{fuzz_target, Corpus};
use vm_images::Arch;

fuzz::mutate_programs!();

fuzz_target!(init: fuzz::machine::boot_pair(Arch::X86_64), |data: &[u8]| -> Corpus {
    fuzz::machine::run_pair(data)
});
