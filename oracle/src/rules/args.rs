//! Which ranges the calls accept.

use super::registry::Rule;
use crate::geometry::{Geometry, Range};
use crate::judge::Class;

pub const ALIGNMENT: Rule = Rule {
    name: "args/start-aligned",
    text: "munmap, mprotect, madvise, mremap and mmap with MAP_FIXED refuse a start that is not page aligned with EINVAL, before \
           they look at the length and whatever is mapped; mremap also refuses such a new address.",
    source: "mm/vma.c do_vmi_munmap, mm/mprotect.c do_mprotect_pkey, mm/madvise.c, __get_unmapped_area",
    since: "all",
    about: &[Class::Errno],
};

pub const EMPTY: Rule = Rule {
    name: "args/empty-range",
    text: "An empty range is EINVAL for munmap and mmap, and success without effect for mprotect and madvise.",
    source: "as for args/start-aligned",
    since: "all",
    about: &[Class::Errno],
};

pub const WRAPS: Rule = Rule {
    name: "args/wraps",
    text: "A length that rounds up to zero or wraps around the address space is EINVAL for munmap and madvise, ENOMEM for \
           mprotect and mmap.",
    source: "as for args/start-aligned",
    since: "all",
    about: &[Class::Errno],
};

/// A range as a system call sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The start is page aligned.
    pub aligned: bool,
    /// The length is zero.
    pub empty: bool,
    /// The length, rounded up to pages, is zero or leads around the end of the address space.
    pub wraps: bool,
    /// First page (rounded down) and the page after the last (length rounded up), from the arena's start.
    pub start: i64,
    pub end: i64,
}

impl Span {
    pub fn new(range: Range, g: Geometry) -> Span {
        let page = i64::from(g.page_size);
        let from = range.start.byte_offset(g);
        let to = range.end.byte_offset(g);
        let start = from.div_euclid(page);
        // The kernel rounds the length up and adds it to the start; the starts of hints are rounded down first.
        let pages = (to - from + page - 1).div_euclid(page);
        Span {
            aligned: from.rem_euclid(page) == 0,
            empty: from == to,
            wraps: to < from,
            start,
            end: start + pages,
        }
    }

    /// As a call sees it that rounds the start down and lets the length reach from there.
    pub fn whole_pages(range: Range, g: Geometry) -> Span {
        let page = i64::from(g.page_size);
        let start = range.start.page_index(g);
        let bytes = range.end.byte_offset(g) - start * page;
        let pages = (bytes + page - 1).div_euclid(page);
        Span {
            aligned: true,
            empty: pages == 0,
            wraps: pages < 0,
            start,
            end: start + pages,
        }
    }

    /// The part inside the arena, and whether there is a part outside, where nothing is ever mapped.
    pub fn clip(self, g: Geometry) -> (u32, u32, bool) {
        let limit = i64::from(g.arena_pages());
        let start = self.start.clamp(0, limit);
        let end = self.end.clamp(start, limit);
        (start as u32, end as u32, self.start < 0 || self.end > limit)
    }
}
