//! The counters of `convert`: what /proc/PID/status counts for a process, against what smaps adds up.

use super::super::Disagreement;
use super::Views;
use oracle::geometry::Geometry;
use oracle::judge::{VmFlag, VmaSeen};

/// Contradictions between the counters of a process and its mappings.
pub fn compare(
    seen: &wire::Counters,
    vmas: &[VmaSeen],
    actor: u8,
    g: Geometry,
    views: Views,
) -> Result<(), Disagreement> {
    let kib = u64::from(g.page_size) / 1024;
    let locked = |vma: &&VmaSeen| {
        let flags = vma.flags.as_deref().unwrap_or_default();
        flags.contains(&VmFlag(*b"lo"))
    };
    let pages = vmas
        .iter()
        .filter(locked)
        .map(|v| u64::from(v.end - v.start));
    let locked = pages.sum::<u64>() * kib;
    let flags_are_known = vmas.iter().all(|vma| vma.flags.is_some());
    let rss = (seen.rss_file.checked_add(seen.rss_shmem))
        .and_then(|sum| sum.checked_add(seen.rss_anon))
        .unwrap_or(u64::MAX);
    let exact = views.exact_counters;
    // What is swapped out of shared memory counts for a mapping of it, not for the process.
    let of_files = vmas.iter().any(|vma| vma.file_page.is_some());
    let swap_must_agree = exact && (!of_files || seen.swap > seen.rollup_swap);
    let pairs = [
        (
            "VmLck",
            seen.locked.unwrap_or(locked),
            locked,
            flags_are_known,
        ),
        ("RssAnon", seen.rss_anon, seen.rollup_anonymous, exact),
        ("RssAnon, RssFile and RssShmem", rss, seen.rollup_rss, exact),
        ("VmSwap", seen.swap, seen.rollup_swap, swap_must_agree),
    ];
    for (name, counted, added_up, comparable) in pairs {
        if comparable && counted != added_up {
            let less = counted < added_up;
            return Err(Disagreement {
                actor,
                pages: (0, g.arena_pages()),
                views: "status/smaps",
                left: format!("{} {name}", if less { "less" } else { "more" }),
                right: "the mappings".into(),
                note: Some(format!("{counted} KiB, {added_up} KiB added up")),
            });
        }
    }
    Ok(())
}
