//! clear_refs, and what it lets pagemap tell.

use super::Case;
use crate::profile::Arch::{Aarch64, X86_64};
use crate::rules::{folio, soft_dirty};

/// A mapping that is marked joins one that is not, which is the one that is changed.
const MERGE: &str =
    "mmap 0+0..0+2 rw private fixed\nclear-soft-dirty\nmmap 0+2..0+4 rwx private fixed\n\
                     mprotect 0+0..0+2 rwx\n    => 0+0 |....|\n";

/// A huge page is split that was stored to before clear_refs.
const SPLIT: &str =
    "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\n\
                     mprotect 0+0..0+8 r\n    => 0+0 |a*8|a*pmd-8|\n";

/// mprotect of a huge page before clear_refs, then its mapping is split.
const CLEANED: &str =
    "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmprotect 0+0..1+0 none\nclear-soft-dirty\n\
                       dontneed 0+0..0+1\n    => 0+0 |.a*pmd-1|\n";

pub(super) const CASES: &[Case] = &[
    Case::new(
        &soft_dirty::NEW,
        "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+1 tag 1\nread 0+1..0+2\nclear-soft-dirty\n\
         mmap 0+2..0+3 rw private fixed\n    => 0+0 |az.|\n",
    )
    .flags(&[(0, "sd")])
    .soft_dirty(&[(0, true), (1, true)]),
    Case::new(
        &soft_dirty::CLEARS,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\nguard-install 0+2..0+3\nclear-soft-dirty => ok\n    => 0+0 |aaG.|\n",
    )
    .flags(&[(0, "!sd gu")])
    .soft_dirty(&[(0, false), (1, false), (2, false)]),
    Case::new(
        &soft_dirty::CLEARS,
        "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+1 tag 1\nclear-soft-dirty => ok\nwrite 0+0..0+1 tag 2\n    => 0+0 |a.|\n",
    )
    .on(7, 3, Aarch64)
    .flags(&[(0, "!sd")])
    .soft_dirty(&[(0, false)]),
    // A store, a load, a page that is made ready for stores, a copy of a file's page, a discarded page that comes back.
    Case::new(
        &soft_dirty::CLEARS,
        "mmap 0+0..0+8 rw private fixed\nmmap 0+8..0+10 rw private memfd0 fixed\nwrite 0+0..0+3 tag 1\nclear-soft-dirty\n\
         write 0+1..0+3 tag 2\nread 0+4..0+5\npopulate-write 0+5..0+6\nwrite 0+8..0+9 tag 2\nread 0+9..0+10\n\
         dontneed 0+2..0+3\nread 0+2..0+3\n    => 0+0 |aaz.za..|\n    => 0+8 |af|\n",
    )
    .soft_dirty(&[(0, false), (1, true), (2, false), (4, false), (5, true), (8, true), (9, false)]),
    Case::new(
        &soft_dirty::SHOWN,
        "thp always\n\nmmap 0+0..2+0 rw private fixed\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\nwrite 1+0..1+1 tag 1\n\
         guard-install 1+8..1+9\n    => 1+0 <a*8 G a*pmd-9|\n",
    )
    .soft_dirty(&[(0, false), (511, false), (512, true), (520, false), (1023, true)]),
    Case::new(&soft_dirty::SPLIT, SPLIT).soft_dirty(&[(0, true), (9, true), (511, true)]),
    Case::new(&soft_dirty::CLEARS, SPLIT).on(6, 1, X86_64).soft_dirty(&[(0, false), (9, false)]),
    Case::new(
        &soft_dirty::CLEARS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nfree 0+0..1+0\nclear-soft-dirty\n\
         mprotect 0+0..0+8 r\n    => 0+0 |a*8|a*pmd-8|\n",
    )
    .soft_dirty(&[(0, false), (9, false)]),
    // Pages 0 and 1 are a batch, page 2 was stored to, page 3 is alone.
    Case::new(
        &soft_dirty::PROTECT,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nwipeonfork 0+0..0+8\nclear-soft-dirty\n\
         write 0+2..0+3 tag 2\nmprotect 0+0..0+4 r\n    => 0+0 |aaaa|aaaa|a*pmd-8|\n",
    )
    .soft_dirty(&[(0, true), (1, true), (2, true), (3, false), (4, false), (9, false)]),
    Case::new(
        &soft_dirty::CLEARS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nwipeonfork 0+0..0+8\nclear-soft-dirty\n\
         mprotect 0+0..0+4 r\n    => 0+0 |aaaa|aaaa|a*pmd-8|\n",
    )
    .on(6, 16, X86_64)
    .soft_dirty(&[(0, false), (1, false)]),
    Case::new(&soft_dirty::SPLIT, CLEANED).soft_dirty(&[(1, true), (511, true)]),
    Case::new(&soft_dirty::CLEANS, CLEANED).on(6, 16, X86_64).soft_dirty(&[(1, false), (511, false)]),
    // clear_refs first: stores need a fault then, and what mprotect does is forget nothing.
    Case::new(
        &soft_dirty::SPLIT,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\nmprotect 0+0..1+0 none\n\
         dontneed 0+0..0+1\n    => 0+0 |.a*pmd-1|\n",
    )
    .on(6, 16, X86_64)
    .soft_dirty(&[(1, true), (511, true)]),
    // A store after mprotect makes it dirty again.
    Case::new(
        &soft_dirty::SPLIT,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmprotect 0+0..1+0 rwx\nwrite 0+0..0+1 tag 2\n\
         clear-soft-dirty\ndontneed 0+0..0+1\n    => 0+0 |.a*pmd-1|\n",
    )
    .on(6, 16, X86_64)
    .soft_dirty(&[(1, true), (511, true)]),
    // On 6.1 the mapping's split has made the entries clean, so that the page's own split sets nothing.
    Case::new(
        &folio::SPLIT,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\ndontneed 0+0..0+1\n\
         cold 0+5..0+6\n    => 0+0 |.a*pmd-1|\n",
    )
    .on(6, 1, X86_64)
    .soft_dirty(&[(1, false), (5, false), (511, false)]),
    // Droppable pages may be taken at any time, as lazily freed ones, but their entries are dirty until they are freed.
    Case::new(
        &soft_dirty::SPLIT,
        "thp always\n\nmmap 0+0..1+0 rw droppable fixed\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\nmunmap 0+0..0+1\n\
             => 0+0 _|a*pmd-1|\n",
    )
    .soft_dirty(&[(1, true), (511, true)]),
    // A store to a huge page that is there counts for all of it.
    Case::new(
        &soft_dirty::SHOWN,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\nwrite 0+3..0+4 tag 2\n\
         munmap 0+9..0+10\n    => 0+0 |a*9|_|a*pmd-10|\n",
    )
    .soft_dirty(&[(0, true), (511, true)]),
    Case::new(
        &soft_dirty::SHOWN,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nclear-soft-dirty\nwrite 0+1..0+2 tag 2\nfork 1\n\
         1: write 0+2..0+3 tag 2\n    => 1: 0+0 |ssas|\n",
    )
    .soft_dirty(&[(1, true), (2, false), (10_000, false), (10_001, true), (10_002, true)]),
    Case::new(&soft_dirty::MERGES, MERGE).flags(&[(0, "sd"), (3, "sd")]),
    Case::new(&soft_dirty::MERGES, MERGE).on(6, 16, X86_64).flags(&[(0, "!sd"), (3, "!sd")]),
    Case::new(
        &soft_dirty::MERGES,
        "mmap 0+0..0+2 rw private fixed\nclear-soft-dirty\nmmap 0+2..0+4 rw private fixed noreserve\nmseal 0+2..0+4\n\
         munmap 0+0..0+2\nmmap 0+0..0+2 rw private fixed noreserve\nmseal 0+0..0+2\n    => 0+0 |....|\n",
    )
    .on(6, 16, X86_64)
    .flags(&[(0, "sd sl")]),
    Case::new(
        &folio::SPLIT,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\ncold 0+0..0+1\n    => 0+0 |a*pmd|\n",
    )
    .on(6, 1, X86_64)
    .soft_dirty(&[(0, true), (5, true)]),
    Case::new(
        &folio::SPLIT,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nclear-soft-dirty\ncold 0+0..0+1\n    => 0+0 |a\n",
    )
    .soft_dirty(&[(0, false), (5, false)]),
    Case::new(
        &folio::SPLIT_FINDS_ZEROS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nclear-soft-dirty\nwrite 0+0..0+1 tag 1\ncold 0+0..0+1\n\
             => 0+0 |az*pmd-1|\n",
    )
    .soft_dirty(&[(0, true), (5, true)]),
    Case::new(
        &folio::SPLIT_FINDS_ZEROS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nclear-soft-dirty\nwrite 0+0..0+1 tag 1\ncold 0+0..0+1\n\
             => 0+0 |az*pmd-1|\n",
    )
    .on(6, 16, X86_64)
    .soft_dirty(&[(0, true), (5, false)]),
    // What mremap moves entry by entry gets the bit; the mapping does not get the mark, and what is left has nothing.
    Case::new(
        &soft_dirty::SHOWN,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\nread 0+2..0+3\nguard-install 0+3..0+4\nclear-soft-dirty\n\
         populate-write 0+1..0+2\nmremap 0+0..0+4 1+0..1+4 fixed\n    => 1+0 |aazG|\n",
    )
    .flags(&[(512, "!sd")])
    .soft_dirty(&[(512, true), (513, true), (514, true), (515, true)]),
];
