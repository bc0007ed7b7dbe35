//! Who gets VmFlags (smaps) read, and when: the costliest view, about as dear as all the others together.

use crate::kernel::Smaps;

/// Corpus programs and re-runs are few: after every op.
pub const CORPUS: Smaps = Smaps::Every;

/// Generated programs: after every op that can change a flag, and after the last.
pub const GENERATED: Smaps = Smaps::Changes;
