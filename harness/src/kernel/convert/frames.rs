//! The page frames of `convert`: what /proc/kpageflags says of the frames behind present pages, against what pagemap shows.

use super::super::Disagreement;
use super::pages::{check_run, is_zero, FILE, PRESENT};
use super::Bad;
use oracle::geometry::Geometry;
use oracle::judge::{VmFlag, VmaSeen};
use wire::frames::{ANON, HUGETLB, MMAP, NEVER, THP, ZERO_PAGE};

/// Contradictions between frames and pages. Frames are told of present pages alone, and of those that have not changed meanwhile.
pub fn compare(
    frames: &[wire::FrameRun],
    pages: &[wire::PageRun],
    vmas: &[VmaSeen],
    actor: u8,
    g: Geometry,
) -> Result<(), Bad> {
    let mut free_from = 0;
    let (mut pages, mut vmas) = (pages.iter().peekable(), vmas.iter().peekable());
    for frame in frames {
        check_run(
            "frame run",
            frame.start,
            frame.len,
            free_from,
            g.arena_pages(),
        )?;
        let mut at = frame.start;
        free_from = frame.start + frame.len;
        while at < free_from {
            while pages.next_if(|run| run.start + run.len <= at).is_some() {}
            while vmas.next_if(|vma| vma.end <= at).is_some() {}
            let run = pages
                .peek()
                .filter(|run| run.start <= at && run.pagemap & PRESENT != 0);
            let (Some(run), Some(vma)) = (run, vmas.peek().filter(|vma| vma.start <= at)) else {
                return Err(format!("a frame of page {at}, which is not present").into());
            };
            let end = free_from.min(run.start + run.len).min(vma.end);
            if let Some((left, right)) = contradiction(frame.flags, run, vma) {
                return Err(Bad::Disagree(Disagreement {
                    actor,
                    pages: (at, end - at),
                    views: "kpageflags/pagemap",
                    left: left.into(),
                    right: right.into(),
                    note: Some(format!("flags {:#x}", frame.flags)),
                }));
            }
            at = end;
        }
    }
    Ok(())
}

/// What the frame is said to be, and what its page is.
fn contradiction(
    flags: u32,
    run: &wire::PageRun,
    vma: &VmaSeen,
) -> Option<(&'static str, &'static str)> {
    let has = |bits| flags & bits != 0;
    let zero = is_zero(run);
    let file = run.pagemap & FILE != 0;
    let huge = run.scan.is_some_and(|scan| scan & wire::scan::HUGE != 0);
    let of_hugetlb = vma
        .flags
        .as_ref()
        .map(|flags| flags.contains(&VmFlag(*b"ht")));
    if has(NEVER) {
        return Some(("no page of a process", "present"));
    }
    match (has(ZERO_PAGE), zero) {
        (true, false) => return Some(("a zero page", "not the zero page")),
        (false, true) => return Some(("not a zero page", "the zero page")),
        (true, true) => return None,
        (false, false) => {}
    }
    if !has(MMAP) {
        return Some(("in no page table", "present"));
    }
    match (has(ANON), file) {
        (true, true) => return Some(("anonymous", "of a file")),
        (false, false) => return Some(("not anonymous", "of no file")),
        _ => {}
    }
    if of_hugetlb.is_some_and(|of_hugetlb| of_hugetlb != has(HUGETLB)) {
        return Some(match has(HUGETLB) {
            true => ("of hugetlb", "in a mapping that is not"),
            false => ("not of hugetlb", "in a mapping of hugetlb"),
        });
    }
    // Of shared memory a large folio is not always called so: older kernels want it on a list first.
    if huge && has(ANON) && !has(HUGETLB) && !has(THP) {
        return Some(("no large folio", "mapped by a PMD"));
    }
    None
}
