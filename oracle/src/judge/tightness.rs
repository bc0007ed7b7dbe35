//! How much the oracle commits itself.

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Of the values that were observed, for how many the oracle allowed exactly one before it saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tightness {
    /// Values observed, or that should have been: errno, signal, page state (one for each maximal run of pages with the
    /// same allowed set), VMA field.
    pub values: u64,
    /// Those with exactly one allowed value.
    pub exact: u64,
}

impl Tightness {
    /// Share of exact values; 1 when there were none.
    pub fn share(self) -> f64 {
        if self.values == 0 {
            1.0
        } else {
            self.exact as f64 / self.values as f64
        }
    }
}

impl AddAssign for Tightness {
    fn add_assign(&mut self, other: Tightness) {
        self.values += other.values;
        self.exact += other.exact;
    }
}
