//! What smaps adds up over each VMA.

use super::{found, Difference};
use crate::judge::{Class, Sizes, SpaceSeen};

/// A size by its name in smaps.
type Part = (&'static str, fn(&Sizes) -> u64);

/// Those that are known exactly.
const EXACT: [Part; 8] = [
    ("Rss", |s| s.rss),
    ("Anonymous", |s| s.anonymous),
    ("Swap", |s| s.swap),
    ("AnonHugePages", |s| s.anon_huge),
    ("ShmemPmdMapped and FilePmdMapped", |s| s.file_huge),
    ("Private_Clean and Private_Dirty", |s| s.private),
    ("Pss", |s| s.pss),
    ("Locked", |s| s.locked),
];

/// The first VMA with a size that is not what is expected, where both sides know sizes. The VMAs are known to be the same.
pub(super) fn sizes(e: &SpaceSeen, o: &SpaceSeen) -> Option<Difference> {
    for (a, b) in e.vmas.iter().zip(&o.vmas) {
        let (Some(ours), Some(theirs)) = (&a.sizes, &b.sizes) else {
            continue;
        };
        let odd = |(_, size): &&Part| size(ours) != size(theirs);
        // Which of the lazily freed pages the kernel has come to mark is its own affair.
        let lazy: Part = ("LazyFree", |s| s.lazy_free);
        let lazy = Some(&lazy).filter(|(_, size)| size(theirs) > size(ours));
        let Some((name, size)) = EXACT.iter().find(odd).or(lazy) else {
            continue;
        };
        let (ours, theirs) = (size(ours), size(theirs));
        let observed = if theirs > ours { "more" } else { "less" };
        let pages = (a.start, a.end);
        let mut difference = found(Class::Sizes, pages, "what-is-mapped", observed, name)?;
        difference.note = Some(format!("{theirs} KiB where {ours} are expected"));
        return Some(difference);
    }
    None
}
