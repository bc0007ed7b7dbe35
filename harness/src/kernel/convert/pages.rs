//! The page half of `convert`: pagemap and PAGEMAP_SCAN bits to page states, and their contradictions.

use super::super::Disagreement;
use super::{Bad, Views};
use oracle::judge::{PageKind, PageRun, PageSeen, VmFlag, VmaSeen};
use oracle::space::Content;

// Bits of a pagemap entry, shifted down by 55 as they are on the wire.
pub const SOFT_DIRTY: u16 = 1 << 0;
pub const EXCLUSIVE: u16 = 1 << 1;
pub const UFFD_WP: u16 = 1 << 2;
pub const GUARD: u16 = 1 << 3;
/// Bits 59 and 60, which mean nothing yet.
const UNKNOWN: u16 = 1 << 4 | 1 << 5;
pub const FILE: u16 = 1 << 6;
pub const SWAP: u16 = 1 << 7;
pub const PRESENT: u16 = 1 << 8;

// PAGEMAP_SCAN categories (include/uapi/linux/fs.h).
const SCAN_FILE: u16 = 1 << 2;
const SCAN_PRESENT: u16 = 1 << 3;
const SCAN_SWAPPED: u16 = 1 << 4;
const SCAN_PFNZERO: u16 = 1 << 5;
const SCAN_HUGE: u16 = 1 << 6;
const SCAN_SOFT_DIRTY: u16 = 1 << 7;
const SCAN_GUARD: u16 = 1 << 8;

/// The names in a VmFlags line of smaps, sorted.
pub fn vm_flags(line: &str) -> Result<Vec<VmFlag>, Bad> {
    let mut flags = Vec::new();
    for name in line.split_ascii_whitespace() {
        let bytes: [u8; 2] = name
            .as_bytes()
            .try_into()
            .map_err(|_| format!("VmFlags name {name:?}"))?;
        flags.push(VmFlag(bytes));
    }
    flags.sort_unstable();
    flags.dedup();
    Ok(flags)
}

/// Runs of resident pages, merged and checked.
pub fn resident(runs: &[(u32, u32)], limit: u32) -> Result<Vec<(u32, u32)>, Bad> {
    let mut merged: Vec<(u32, u32)> = Vec::with_capacity(runs.len());
    let mut free_from = 0;
    for &(start, len) in runs {
        check_run("resident run", start, len, free_from, limit)?;
        free_from = start + len;
        match merged.last_mut() {
            Some((first, pages)) if *first + *pages == start => *pages += len,
            _ => merged.push((start, len)),
        }
    }
    Ok(merged)
}

pub fn check_run(what: &str, start: u32, len: u32, free_from: u32, limit: u32) -> Result<(), Bad> {
    let end = start.checked_add(len);
    if len == 0 || start < free_from || end.is_none_or(|end| end > limit) {
        return Err(format!(
            "{what} of {len} pages at {start} after {free_from}, arena of {limit} pages"
        )
        .into());
    }
    Ok(())
}

/// Page runs as the oracle wants them: maximal runs of non-empty pages.
pub fn runs(
    reported: &[wire::PageRun],
    vmas: &[VmaSeen],
    actor: u8,
    limit: u32,
    views: Views,
) -> Result<Vec<PageRun>, Bad> {
    let mut runs: Vec<PageRun> = Vec::with_capacity(reported.len());
    let mut free_from = 0;
    let mut covered = Coverage::new(vmas);
    for run in reported {
        check_run("page run", run.start, run.len, free_from, limit)?;
        free_from = run.start + run.len;
        compare_views(run, actor, views).map_err(Bad::Disagree)?;
        let Some(page) = page(run) else { continue };
        if !covered.covers(run.start, run.len) {
            return Err(Bad::Disagree(Disagreement {
                actor,
                pages: (run.start, run.len),
                views: "pagemap/vmas",
                left: format!("{:?}", page.kind),
                right: "no VMA".into(),
                note: None,
            }));
        }
        push(
            &mut runs,
            PageRun {
                start: run.start,
                len: run.len,
                page,
            },
        );
    }
    Ok(runs)
}

/// Adds a run, merging it with the one before where they continue each other.
fn push(runs: &mut Vec<PageRun>, run: PageRun) {
    if let Some(before) = runs.last_mut() {
        let adjacent = before.start + before.len == run.start;
        let alike = PageSeen {
            content: None,
            ..before.page
        } == PageSeen {
            content: None,
            ..run.page
        };
        let follows = match (before.page.content, run.page.content) {
            (None, None) => true,
            (Some(first), Some(next)) => first.is_followed_by(next, before.len),
            _ => false,
        };
        if adjacent && alike && follows {
            before.len += run.len;
            return;
        }
    }
    runs.push(run);
}

/// Whether a run's pages are the zero page, or of the huge one.
pub fn is_zero(run: &wire::PageRun) -> bool {
    run.scan.unwrap_or(0) & SCAN_PFNZERO != 0 || run.zero_pfn
}

/// The state behind a run's bits; `None` for an empty entry.
fn page(run: &wire::PageRun) -> Option<PageSeen> {
    let bits = run.pagemap;
    let kind = if bits & PRESENT != 0 {
        if is_zero(run) {
            PageKind::Zero
        } else if bits & FILE != 0 {
            PageKind::File
        } else {
            PageKind::Anon
        }
    } else if bits & (SWAP | GUARD) == SWAP | GUARD {
        PageKind::Guard
    } else if bits & SWAP != 0 {
        PageKind::Swap
    } else {
        return None;
    };
    let present = bits & PRESENT != 0;
    Some(PageSeen {
        kind,
        huge: run
            .scan
            .map(|categories| present && categories & SCAN_HUGE != 0),
        exclusive: bits & EXCLUSIVE != 0,
        soft_dirty: bits & SOFT_DIRTY != 0,
        uffd_wp: bits & UFFD_WP != 0,
        content: if present {
            run.value.map(Content)
        } else {
            None
        },
    })
}

/// Contradictions within one entry and between pagemap and PAGEMAP_SCAN.
fn compare_views(run: &wire::PageRun, actor: u8, views: Views) -> Result<(), Disagreement> {
    let bits = run.pagemap;
    let disagree = |views: &'static str, left: String, right: String| {
        Err(Disagreement {
            actor,
            pages: (run.start, run.len),
            views,
            left,
            right,
            note: None,
        })
    };
    if bits & PRESENT != 0 && bits & SWAP != 0 {
        return disagree("pagemap/pagemap", "present".into(), "swap".into());
    }
    if bits & UNKNOWN != 0 {
        let left = format!("unknown bits {:#x}", bits & UNKNOWN);
        return disagree("pagemap/pagemap", left, "none known".into());
    }
    // A guard is a swap-like entry: bit 58 never stands alone.
    if views.pagemap_guard && bits & GUARD != 0 && bits & SWAP == 0 {
        return disagree("pagemap/pagemap", "guard".into(), "not swap-like".into());
    }
    let Some(scan) = run.scan.filter(|_| views.scan) else {
        return Ok(());
    };
    let huge_zero = scan & (SCAN_PFNZERO | SCAN_HUGE) == SCAN_PFNZERO | SCAN_HUGE;
    let pairs = [
        ("present", PRESENT, SCAN_PRESENT, true),
        ("swap", SWAP, SCAN_SWAPPED, true),
        ("soft-dirty", SOFT_DIRTY, SCAN_SOFT_DIRTY, true),
        (
            if huge_zero {
                "file (huge zero page)"
            } else {
                "file"
            },
            FILE,
            SCAN_FILE,
            !(huge_zero && views.huge_zero_as_file),
        ),
        (
            "guard",
            GUARD,
            SCAN_GUARD,
            views.scan_guard && views.pagemap_guard,
        ),
    ];
    for (name, pagemap_bit, scan_bit, comparable) in pairs {
        let in_pagemap = bits & pagemap_bit != 0;
        let in_scan = scan & scan_bit != 0;
        if comparable && in_pagemap != in_scan {
            let say = |is: bool| {
                if is {
                    name.to_string()
                } else {
                    format!("not {name}")
                }
            };
            return disagree("pagemap/scan", say(in_pagemap), say(in_scan));
        }
    }
    Ok(())
}

/// Walks the VMAs along with ascending page runs.
struct Coverage<'a> {
    vmas: &'a [VmaSeen],
}

impl<'a> Coverage<'a> {
    fn new(vmas: &'a [VmaSeen]) -> Coverage<'a> {
        Coverage { vmas }
    }

    /// Whether VMAs cover the whole run. Runs must come in ascending order.
    fn covers(&mut self, start: u32, len: u32) -> bool {
        while self.vmas.first().is_some_and(|vma| vma.end <= start) {
            self.vmas = &self.vmas[1..];
        }
        let mut at = start;
        for vma in self.vmas {
            if vma.start > at {
                return false;
            }
            at = vma.end;
            if at >= start + len {
                return true;
            }
        }
        false
    }
}
