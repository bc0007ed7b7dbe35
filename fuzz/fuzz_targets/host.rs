//! Programs on the running kernel, judged by the oracle: only with `MMDIFF_ALLOW_HOST=1`, as an ordinary user without capabilities, in
//! namespaces of its own, under limits. Glue only: see `harness::kernel::host`.
//!
//! `MMDIFF_ALLOW_HOST=1 cargo xtask fuzz host`, or `MMDIFF_ALLOW_HOST=1 cargo +nightly fuzz run host`.
#![no_main]

use libfuzzer_sys::{fuzz_target, Corpus};

fuzz::mutate_programs!();

fuzz_target!(init: fuzz::machine::boot_host(), |data: &[u8]| -> Corpus {
    fuzz::machine::run_host(data)
});
