//! One actor's address space: VMAs, page-table slots, and what each PMD entry of the arena holds.

use super::ranges::Ranges;
use super::slots::{PageId, Slot, Slots};
use super::vma::{Locked, Vma};
use crate::geometry::{Geometry, BLOCKS};
use crate::program::HugeSwitch;

/// What a PMD entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Table {
    /// Nothing: a fault may still choose a huge page.
    #[default]
    None,
    /// A page table, whose slots may all be empty.
    Pte,
    /// A huge page: every slot of the block is in use and part of it.
    Huge,
}

/// What the entry of an anonymous huge page says besides its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct HugeBits {
    /// A store needs no fault.
    pub write: bool,
    /// No fork has shared the page since it was last stored to.
    pub exclusive: bool,
    /// The entry knows that the page was stored to.
    pub dirty: bool,
}

impl HugeBits {
    /// As a store leaves it.
    pub const STORED: HugeBits = HugeBits {
        write: true,
        exclusive: true,
        dirty: true,
    };
}

impl Default for HugeBits {
    fn default() -> HugeBits {
        HugeBits::STORED
    }
}

/// An address space.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mm {
    /// Ascending, not overlapping.
    pub vmas: Vec<Vma>,
    pub slots: Slots,
    pub tables: [Table; BLOCKS as usize],
    /// Of those blocks that hold an anonymous huge page.
    pub huge: [HugeBits; BLOCKS as usize],
    /// Ids of anonymous pages that were lazily freed here and not stored to since: their mappings are clean, and the
    /// kernel may take the pages.
    pub lazy: Ranges,
    /// clear_refs was written, here or before the fork: from then on the soft-dirty bits of single entries can show.
    pub tells_soft_dirty: bool,
    /// What new mappings are, as mlockall said.
    pub new_are_locked: Locked,
    /// The program break, in bytes from the arena's start; `None` as long as nobody has called brk: where the heap begins.
    pub program_break: Option<i64>,
    /// What prctl(PR_SET_THP_DISABLE) said.
    pub huge_switch: HugeSwitch,
    /// A fork or an mprotect may have taken the right to write from page-table entries; what gives it back is not followed.
    pub may_be_write_protected: bool,
    /// Pages that count as locked though no VMA is any more.
    pub locked_lost: u32,
}

impl Mm {
    /// Index of the VMA that holds a page.
    pub fn vma_index(&self, page: u32) -> Option<usize> {
        let i = self.vmas.partition_point(|v| v.end <= page);
        self.vmas.get(i).filter(|v| v.start <= page).map(|_| i)
    }

    /// Index of the first VMA that ends after a page (it may start later).
    pub fn first_vma_after(&self, page: u32) -> usize {
        self.vmas.partition_point(|v| v.end <= page)
    }

    /// Whether any VMA reaches into `[start, end)`.
    pub fn is_mapped_in(&self, start: u32, end: u32) -> bool {
        self.vmas
            .get(self.first_vma_after(start))
            .is_some_and(|v| v.start < end)
    }

    /// A store to the pages `[start, end)` is noted in their entries.
    pub fn set_soft_dirty(&mut self, start: u32, end: u32) {
        if self.tells_soft_dirty {
            self.slots.set_soft_dirty(start, end);
        }
    }

    /// A store makes the mappings of `pages` pages from `id` on dirty, so they are no longer lazily freed.
    pub fn stored(&mut self, id: PageId, pages: u32) {
        self.lazy.remove(id.0, id.0 + u64::from(pages));
    }

    /// Whether all of the pages from `id` on are lazily freed here.
    pub fn all_lazy(&self, id: PageId, pages: u32) -> bool {
        self.lazy.contains_all(id.0, id.0 + u64::from(pages))
    }

    /// Pages that count against the limit of locked memory.
    pub fn locked_vm(&self) -> u32 {
        self.locked_pages(0, u32::MAX) + self.locked_lost
    }

    /// Pages of `[start, end)` that lie in locked VMAs, touched or not.
    pub fn locked_pages(&self, start: u32, end: u32) -> u32 {
        let locked = self.vmas.iter().filter(|v| v.locked != Locked::No);
        locked
            .map(|v| v.end.min(end).saturating_sub(v.start.max(start)))
            .sum()
    }

    /// Splits the huge mapping of a block: an anonymous one into the slots of a page table; one of shared memory is
    /// dropped whole, to be faulted in again from the object.
    pub fn split_pmd(&mut self, block: usize, g: Geometry) {
        if self.tables[block] != Table::Huge {
            return;
        }
        let (start, end) = block_pages(block, g);
        if self.slots.get(start) == Some(Slot::File) {
            self.slots.clear(start, end);
            self.tables[block] = Table::None;
        } else {
            self.tables[block] = Table::Pte;
            if !self.huge[block].dirty {
                self.slots.set_clean(start, end);
            }
        }
    }
}

/// The pages of a block: first, and one past the last.
pub(crate) fn block_pages(block: usize, g: Geometry) -> (u32, u32) {
    let start = block as u32 * g.pages_per_pmd;
    (start, start + g.pages_per_pmd)
}

/// The block of a page.
pub(crate) fn block_of(page: u32, g: Geometry) -> usize {
    (page / g.pages_per_pmd) as usize
}

/// The parts of `[start, end)` that lie in one block each: (block, start, end).
pub(crate) fn by_block(
    start: u32,
    end: u32,
    g: Geometry,
) -> impl Iterator<Item = (usize, u32, u32)> {
    let mut at = start;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let block = block_of(at, g);
        let to = block_pages(block, g).1.min(end);
        let part = (block, at, to);
        at = to;
        Some(part)
    })
}
