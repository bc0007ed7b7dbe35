//! The list of all rules, and sets of them.

use serde::{Serialize, Serializer};
use std::fmt;

/// A named piece of the oracle's semantics.
pub struct Rule {
    /// `family/subject/behaviour`, such as `guard/install/zaps-populated`.
    pub name: &'static str,
    /// What it says, in one paragraph.
    pub text: &'static str,
    /// Where it is known from.
    pub source: &'static str,
    /// The kernels it holds for.
    pub since: &'static str,
}

/// The name of a rule: cheap to copy, prints as the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub &'static str);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.0)
    }
}

/// A set of rules: those that a step exercised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleSet {
    bits: [u64; 4],
}

impl RuleSet {
    pub const EMPTY: RuleSet = RuleSet { bits: [0; 4] };

    /// Adds the rule at `index` of [`RULES`].
    pub(crate) fn insert_index(&mut self, index: usize) {
        self.bits[index / 64] |= 1 << (index % 64);
    }

    /// Whether the rule of this name is in the set.
    pub fn contains(&self, rule: RuleId) -> bool {
        self.iter().any(|r| r == rule)
    }

    /// The rules, in the order of [`RULES`].
    pub fn iter(&self) -> impl Iterator<Item = RuleId> + '_ {
        RULES
            .iter()
            .enumerate()
            .filter(|&(i, _)| self.bits[i / 64] >> (i % 64) & 1 == 1)
            .map(|(_, r)| RuleId(r.name))
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: &RuleSet) {
        for (a, b) in self.bits.iter_mut().zip(other.bits) {
            *a |= b;
        }
    }
}

/// Every rule, family by family.
pub static RULES: &[&Rule] = &[];
