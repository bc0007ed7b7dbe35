//! Messages that claim to come from a guest: whatever they say is converted and judged, or refused. Glue only: see
//! `harness::fuzzing::message`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| harness::fuzzing::message::wire(data));
