//! What the fuzz targets of `fuzz/` run on the bytes that libFuzzer makes. Stable Rust; a target is glue over one of these.
//!
//! | file | subject |
//! | --- | --- |
//! | `text` | the text form; programs as a fuzzer's bytes, changed with their meaning kept |
//! | `laws` | the laws of `oracle::laws` on such a program |
//! | `race` | sections of threads: all orders of the kernel's steps, against promises and the judge |
//! | `simulated` | the whole pipeline on the simulated kernel |
//! | `machine` | a real kernel, for as long as a fuzzer runs |
//! | `message` | what a guest may send |
//! | `marks` | what was observed, as numbers: coverage beyond the edges of our own code |
//! | `tally` | what a run of the fuzzer has reached, and when |

pub mod laws;
pub mod machine;
pub mod marks;
pub mod message;
pub mod race;
pub mod simulated;
pub mod tally;
pub mod text;

use std::hash::{DefaultHasher, Hash, Hasher};

/// A number that is the same for the same value in every run of a build.
fn number(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
