//! Buckets: divergences with the same cause as far as can be told.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Op, rule, expected and observed class of a divergence.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bucket {
    /// Name of the op, as in the text form; of threads that run at once those of all ops, with bars between them.
    pub op: String,
    /// Name of the rule that speaks about what differs.
    pub rule: String,
    /// What was expected, in words without positions and values.
    pub expected: String,
    /// What was observed, likewise.
    pub observed: String,
}

impl Bucket {
    /// A short name that is the same on every machine.
    pub fn id(&self) -> String {
        let hex = blake3::hash(self.to_string().as_bytes()).to_hex();
        format!("b-{}", &hex.as_str()[..10])
    }

    /// Whether it is the same but for ops of threads that the other one names besides.
    pub fn is_within(&self, other: &Bucket) -> bool {
        let names = || other.op.split('|');
        self.op.split('|').all(|op| names().any(|name| name == op))
            && self.rule == other.rule
            && self.expected == other.expected
            && self.observed == other.observed
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}: {} -> {}",
            self.op, self.rule, self.expected, self.observed
        )
    }
}

/// A short name for a divergence that is the same on every machine: from its bucket and its program's text.
pub fn divergence_id(bucket: &Bucket, program: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in [bucket.to_string().as_str(), program] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    let hex = hasher.finalize().to_hex();
    format!("d-{}", &hex.as_str()[..10])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_of_threads_is_within_one_with_more_of_them() {
        let bucket = |op: &str, rule: &str| Bucket {
            op: op.into(),
            rule: rule.into(),
            expected: "gu".into(),
            observed: "no-gu".into(),
        };
        let few = bucket("guard-install|mprotect", "r");
        assert!(few.is_within(&bucket("guard-install|mprotect|read", "r")));
        assert!(few.is_within(&few));
        assert!(!bucket("guard-install|read", "r").is_within(&few));
        assert!(!few.is_within(&bucket("guard-install|mprotect", "other")));
        // `read` is no part of the name `guard-read`.
        assert!(!bucket("read", "r").is_within(&bucket("guard-read", "r")));
    }
}
