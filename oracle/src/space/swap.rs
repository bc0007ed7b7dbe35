//! What is kept of swap space besides the entries in page tables.

use super::ranges::Ranges;

/// Anonymous pages that have been swapped out, by their numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Swap {
    /// Those that the last step has swapped out: reclaim may have left them where they were.
    pub leaving: Ranges,
    /// Those that may be in the swap cache: read in since they were swapped out, for one slot or for none.
    pub cached: Ranges,
}

/// What the last step did is no part of the machine.
impl PartialEq for Swap {
    fn eq(&self, other: &Swap) -> bool {
        self.cached == other.cached
    }
}

impl Eq for Swap {}

impl std::hash::Hash for Swap {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.cached.hash(state);
    }
}

impl Swap {
    /// Pages are written out, and gone from memory.
    pub fn out(&mut self, from: u64, to: u64) {
        self.leaving.insert(from, to);
        self.cached.remove(from, to);
    }

    /// Pages are read in; the copy in swap space may stay.
    pub fn read(&mut self, from: u64, to: u64) {
        self.leaving.remove(from, to);
        self.cached.insert(from, to);
    }
}
