//! Who gets VmFlags (smaps) read, and when: the costliest view, about as dear as all the others together.
//!
//! Corpus programs and re-runs: after every op. Generated programs: one in four after every op that can change a flag
//! and after the last one, the others after the last op only. VMA borders, protection and sharing are seen after every
//! op in all of them; what VmFlags add is sticky (`gu`, `hg`, `nh`, `ac`), so looking at the end of a program sees what
//! went wrong in it.

use crate::kernel::Smaps;

/// Corpus programs are few.
pub const CORPUS: Smaps = Smaps::Every;

/// The policy of the generated program of this number.
pub fn generated(number: u64) -> Smaps {
    if number.is_multiple_of(4) {
        Smaps::Changes
    } else {
        Smaps::End
    }
}
