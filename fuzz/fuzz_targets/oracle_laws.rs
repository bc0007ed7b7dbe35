//! Model and judge against the laws of `oracle::laws`, one for each input. Glue only: see `harness::fuzzing::laws`.
//!
//! `cargo xtask fuzz oracle_laws`, or `cargo +nightly fuzz run oracle_laws`.
#![no_main]

use libfuzzer_sys::{fuzz_target, Corpus};

/// The model has no unsafe code: a sanitizer that watches each of its small allocations takes two fifths of the time, and can find
/// nothing there.
#[global_allocator]
static HEAP: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Nor does it copy anything by hand: looking up for each copy of a program, a page table or a run of bytes whether all of it may be read and
/// written takes a sixth of the time.
#[no_mangle]
pub extern "C" fn __asan_default_options() -> *const std::ffi::c_char {
    c"replace_intrin=0".as_ptr()
}

fuzz::mutate_programs!(laws);

fuzz_target!(|data: &[u8]| -> Corpus {
    match harness::fuzzing::laws::laws(data) {
        Ok(true) => Corpus::Keep,
        Ok(false) => Corpus::Reject,
        Err(broken) => panic!("{broken}"),
    }
});
