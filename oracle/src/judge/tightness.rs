//! How much the oracle commits itself.

use crate::program::Step;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
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

impl Tightness {
    /// [`Tightness::share`] with four digits, cut and not rounded: what is not exact must not read 1.0000.
    pub fn text(self) -> String {
        format!("{:.4}", (self.share() * 1e4).floor() / 1e4)
    }
}

impl AddAssign for Tightness {
    fn add_assign(&mut self, other: Tightness) {
        self.values += other.values;
        self.exact += other.exact;
    }
}

/// Tightness by what was done: a line for each name of an op ([`Op::name`](crate::program::Op::name)), and one for what lies open
/// whatever the op ([`ByOp::OPEN`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByOp(BTreeMap<Cow<'static, str>, OpTightness>);

/// One line of [`ByOp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OpTightness {
    /// Ops of this name.
    pub ops: u64,
    #[serde(flatten)]
    pub tightness: Tightness,
}

impl ByOp {
    /// The line of memory that the kernel may take when it likes: lazily freed and droppable pages, counted after every op.
    pub const OPEN: &'static str = "(lazily freed, droppable)";

    /// The line of this name.
    pub fn line(&mut self, name: &'static str) -> &mut OpTightness {
        self.0.entry(Cow::Borrowed(name)).or_default()
    }

    /// Counts ops of which nothing was seen, `values` each, all of it loose.
    pub fn add_unseen(&mut self, steps: &[Step], values: u64) {
        for step in steps {
            let line = self.line(step.op.name());
            line.ops += 1;
            line.tightness.values += values;
        }
    }

    /// The lines, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, OpTightness)> + '_ {
        self.0.iter().map(|(name, line)| (name.as_ref(), *line))
    }

    /// All lines together.
    pub fn total(&self) -> Tightness {
        let mut total = Tightness::default();
        self.0.values().for_each(|line| total += line.tightness);
        total
    }
}

impl AddAssign<&ByOp> for ByOp {
    fn add_assign(&mut self, other: &ByOp) {
        for (name, theirs) in &other.0 {
            let line = self.0.entry(name.clone()).or_default();
            line.ops += theirs.ops;
            line.tightness += theirs.tightness;
        }
    }
}
