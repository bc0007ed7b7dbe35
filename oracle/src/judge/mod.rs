//! Comparing what was seen with what is allowed.

mod observation;
mod oracle;
pub mod strip;
mod tightness;
mod verdict;

pub use observation::*;
pub use oracle::Oracle;
pub use tightness::Tightness;
pub use verdict::{Class, Details, Divergence, Verdict};
