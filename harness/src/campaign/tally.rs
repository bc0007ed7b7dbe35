//! What is counted for one kernel.

use oracle::judge::Tightness;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Counts of one kernel, or of one block on one kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Programs that ran, whatever became of them.
    pub programs: u64,
    /// Ops that were judged.
    pub ops: u64,
    /// Ops that did what the oracle expects first.
    pub agree: u64,
    /// Ops that did another thing that a rule permits.
    pub allowed: u64,
    /// Programs that diverged and that no known finding explains.
    pub divergences: u64,
    /// Programs that a known finding explains.
    pub known: u64,
    /// Programs that met a limit, after which nothing can be judged.
    pub poisoned: u64,
    /// Programs of the corpus whose expectations were skipped because the kernel lacks what they need. They ran and were
    /// judged by the oracle alone.
    pub skipped: u64,
    /// Programs with an op that did not return.
    pub hangs: u64,
    /// Programs during which the kernel reported a crash.
    pub crashes: u64,
    /// Failures of the infrastructure: boots, lost VMs, reports that make no sense.
    pub infra_errors: u64,
    /// How many of the observed values the oracle had fixed.
    pub tightness: Tightness,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.programs += other.programs;
        self.ops += other.ops;
        self.agree += other.agree;
        self.allowed += other.allowed;
        self.divergences += other.divergences;
        self.known += other.known;
        self.poisoned += other.poisoned;
        self.skipped += other.skipped;
        self.hangs += other.hangs;
        self.crashes += other.crashes;
        self.infra_errors += other.infra_errors;
        self.tightness += other.tightness;
    }
}
