//! Comparing what was seen with what is allowed.

mod observation;

pub use observation::*;
