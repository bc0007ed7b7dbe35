//! Who gets VmFlags (smaps) read, and when: the costliest view, about as dear as all the others together.

use crate::kernel::Smaps;
use oracle::program::Program;

/// Corpus programs and re-runs are few: after every op.
pub const CORPUS: Smaps = Smaps::Every;

/// Generated programs: after every op that can change a flag, and after the last.
pub const GENERATED: Smaps = Smaps::Changes;

/// When two kernels are compared: where somebody has written down what is to be seen, it must be looked at.
pub fn compared(program: &Program) -> Smaps {
    match program.steps.iter().all(|step| step.expect.is_empty()) {
        true => GENERATED,
        false => CORPUS,
    }
}
