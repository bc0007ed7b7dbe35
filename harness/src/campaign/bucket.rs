//! Buckets: divergences with the same cause as far as can be told.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Op, rule, expected and observed class of a divergence.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bucket {
    /// Name of the op, as in the text form.
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
