//! Comparing what was seen with what is allowed.
//!
//! | file | subject |
//! | --- | --- |
//! | `observation` | what a run saw after an op |
//! | `oracle` | the set of worlds that explain a run so far |
//! | `compare` | the first difference between a branch and an observation |
//! | `events` | what userfaultfds tell |
//! | `words` | stable words for differences |
//! | `count` | counting how much the oracle commits itself |
//! | `tightness` | the counts, as a whole and by op |
//! | `strip` | pages as a line of letters |

mod compare;
mod count;
mod events;
mod observation;
mod oracle;
pub mod strip;
#[cfg(test)]
mod tests;
mod tightness;
mod verdict;
mod words;

pub use events::{event_words, Event};
pub use observation::*;
pub use oracle::Oracle;
pub use tightness::{ByOp, OpTightness, Tightness};
pub use verdict::{Class, Details, Divergence, Verdict};
