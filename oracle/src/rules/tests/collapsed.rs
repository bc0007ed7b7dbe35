//! madvise COLLAPSE.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{collapse, limits};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &collapse::MAKES_HUGE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+1..0+3 tag 1\nread 0+4..0+5\ncollapse 0+0..1+0\n    => ok\n\
         => 0+0 |A*pmd|\nread 0+0..0+5 => reads 0 1*2 0*2\n",
    )
    .resident(&[(0, 512)]),
    // A table with nothing in it will do, and so will memory that may not be read.
    Case::new(
        &collapse::MAKES_HUGE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\ndontneed 0+0..0+1\nmprotect 0+0..1+0 none\n\
         collapse 0+0..1+0\n    => ok\n    => 0+0 |A*pmd|\n",
    ),
    // What was shared since a fork is copied; the child keeps the page.
    Case::new(
        &collapse::MAKES_HUGE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\ncollapse 0+0..1+0\n    => ok\n    => 0: 0+0 |A*pmd|\n\
         => 1: 0+0 |aa..\nread 0+0..0+3 => reads 1*2 0\n",
    ),
    // Lazily freed pages are safe in it.
    Case::new(
        &collapse::MAKES_HUGE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+2 tag 1\nfree 0+0..0+2\ncollapse 0+0..1+0\n\
         pageout 0+0..0+1\nread 0+0..0+2 => reads 1*2\n",
    ),
    Case::new(
        &collapse::NOT_ELIGIBLE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nread 0+0..0+1\ncollapse 0+0..1+0\n    => EINVAL\n    => 0+0 |z...\n",
    ),
    Case::new(
        &collapse::NOT_ELIGIBLE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nnohugepage 0+0..1+0\ncollapse 0+0..1+0\n    => EINVAL\n",
    ),
    Case::new(
        &collapse::NOT_ELIGIBLE,
        "thp never\n\nmmap 0+1..1+1 rw private fixed\nwrite 0+1..0+2 tag 1\ncollapse 0+1..0+4\n    => EINVAL\n",
    ),
    Case::new(
        &collapse::NOT_ELIGIBLE,
        "mmap 0+0..1+0 rw shared memfd0+1 fixed\ncollapse 0+0..1+0\n    => EINVAL\n",
    ),
    Case::new(
        &collapse::NOT_ELIGIBLE,
        "mmap 0+0..1+0 rw shared ramfs0 fixed\ncollapse 0+0..1+0\n    => EINVAL\n",
    ),
    Case::new(
        &collapse::WHOLE_BLOCKS,
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nwrite 0+0..0+1 tag 1\nwrite 1+0..1+1 tag 2\ncollapse 0+1..2-1\n    => ok\n\
         collapse 0+1..0+3\n    => ok\n    => 0+0 |a.\ncollapse 0+1..2+0\n    => ok\n    => 0+0 |a.*pmd-1A*pmd|\n",
    ),
    Case::new(
        &collapse::WHOLE_BLOCKS,
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nwrite 0+0..0+1 tag 1\ncollapse 0+1..1-1\n    => EINVAL\n\
         collapse 0+1..1+0\n    => ok\ncollapse 0+1..1+1\n    => ok\ncollapse 0+0..0+4\n    => ok\n    => 0+0 |a.\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &collapse::EMPTY,
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nwrite 1+0..1+1 tag 1\ncollapse 0+0..2+0\n    => EINVAL\n    => 0+0 |.*pmdA*pmd|\n",
    ),
    Case::new(
        &collapse::EMPTY,
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nwrite 1+0..1+1 tag 1\ncollapse 0+0..2+0\n    => EINVAL\n    => 0+0 |.*pmda.*pmd-1|\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &collapse::GUARD,
        "thp never\n\nmmap 0+0..3+0 rw private fixed\nwrite 0+0..0+1 tag 1\nwrite 1+0..1+1 tag 1\nwrite 2+0..2+1 tag 1\n\
         guard-install 1+4..1+5\ncollapse 0+0..3+0\n    => EINVAL\n    => 0+0 |A*pmda...G.*pmd-5a.*pmd-1|\n",
    ),
    Case::new(
        &collapse::GUARD,
        "thp never\nswap on\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+4 tag 1\npageout 0+0..0+4\nguard-install 0+2..0+3\n\
         collapse 0+0..1+0\n    => EINVAL\n    => 0+0 |aaG~.*pmd-4|\n",
    ),
    // Only zero pages: no entry is writable. Then a page that is.
    Case::new(
        &collapse::NEEDS_WRITABLE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\ndontneed 0+0..0+1\nread 0+0..0+1\n\
         collapse 0+0..1+0\n    => EINVAL\nwrite 0+0..0+1 tag 1\ncollapse 0+0..1+0\n    => ok\nmprotect 0+0..1+0 r\n\
         collapse 0+0..1+0\n    => ok\n    => 0+0 |A*pmd|\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &collapse::NEEDS_WRITABLE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmprotect 0+0..1+0 r\ncollapse 0+0..1+0\n    => EINVAL\n\
         => 0+0 |a...\n",
    )
    .on(6, 1, X86_64),
    // What a fork has made is not writable until a store takes it back.
    Case::new(
        &collapse::NEEDS_WRITABLE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\ncollapse 0+0..1+0\n    => EINVAL\n\
         => 0: 0+0 |ss..\nwrite 0+1..0+2 tag 2\ncollapse 0+0..1+0\n    => ok\n    => 0: 0+0 |AAA\n",
    )
    .on(6, 1, X86_64),
    // After an mprotect it may be this way.
    Case::new(
        &collapse::WRITABLE_UNKNOWN,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmprotect 0+0..1+0 r\nmprotect 0+0..1+0 rw\n\
         collapse 0+0..1+0\n    => EINVAL\n    => 0+0 |a...\n",
    )
    .on(6, 1, X86_64)
    .unusual_end(),
    Case::new(
        &collapse::MAY_FAIL,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\ncollapse 0+0..1+0\n    => ENOMEM\n    => 0+0 |a...\n",
    )
    .unusual_end(),
    Case::new(
        &limits::COLLAPSE_OF_FILES,
        "mmap 0+0..1+0 rw shared fixed\nguard-install 0+0..0+1\ncollapse 0+0..1+0\n    => 0+0 |G\n",
    ),
];
