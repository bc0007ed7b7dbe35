//! FREE, COLD and PAGEOUT, and what becomes of huge pages that they are given a part of.

use super::Case;
use crate::profile::Arch;
use crate::rules::{folio, free, reclaim};

/// A program that starts with a huge page of which two pages were written.
macro_rules! huge {
    ($rest:literal) => {
        concat!(
            "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+2 tag 1\n",
            $rest
        )
    };
}

pub(super) const CASES: &[Case] = &[
    Case::new(
        &free::FREES,
        "mmap 0+0..0+6 rw private fixed\nwrite 0+0..0+3 tag 1\nguard-install 0+3..0+4\nread 0+4..0+5\nfree 0+0..0+6\n    => ok\n\
         => 0+0 |aaaGz.|\nread 0+0..0+3\n    => reads 1*3\n",
    )
    .resident(&[(0, 3), (4, 1)]),
    Case::new(
        &free::SHARED,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw shared fixed\nfree 0+0..0+4\n    => EINVAL\n",
    ),
    Case::new(
        &reclaim::PAGEOUT_TAKES,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nfree 0+0..0+4\nwrite 0+1..0+2 tag 2\npopulate-write 0+2..0+3\n\
         pageout 0+0..0+4\n    => 0+0 |.aa.|\nread 0+0..0+4\n    => reads 0 2 1 0\n",
    ),
    Case::new(
        &reclaim::PAGEOUT_TAKES,
        huge!("free 0+0..1+0\npageout 0+0..1+0\n    => 0+0 |.*pmd|\nwrite 0+4..0+5 tag 2\n    => 0+0 |A*pmd|\n"),
    ),
    Case::new(
        &reclaim::PAGEOUT_TAKES,
        huge!("free 0+0..1+0\npageout 0+0..1+0\n    => 0+0 |.*pmd|\nwrite 0+4..0+5 tag 2\n    => 0+0 |....a.*pmd-5|\n"),
    )
    .on(6, 1, Arch::X86_64),
    // A store to a huge page takes all of it back.
    Case::new(
        &reclaim::PAGEOUT_SPLITS,
        huge!("free 0+0..1+0\nwrite 0+8..0+9 tag 2\npageout 0+0..1+0\n    => 0+0 |aaz*6az*pmd-9|\n"),
    ),
    Case::new(
        &reclaim::COLD,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+6 rw shared fixed\nwrite 0+0..0+4 tag 1\nguard-install 0+4..0+5\n\
         cold 0+0..0+6\n    => ok\n    => 0+0 |aa|ffG.|\nread 0+0..0+4\n    => reads 1*4\n",
    ),
    Case::new(&reclaim::COLD, huge!("cold 0+0..1+0\n    => 0+0 |A*pmd|\n")),
    Case::new(
        &reclaim::PAGEOUT_NO_SWAP,
        "mmap 0+0..0+4 r private fixed\nread 0+0..0+1\nguard-install 0+1..0+2\nmprotect 0+2..0+4 rw\nwrite 0+2..0+3 tag 1\n\
         pageout 0+0..0+4\n    => ok\n    => 0+0 |zG|a.|\n",
    ),
    Case::new(
        &reclaim::PAGEOUT_SHARED,
        "mmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+1 tag 1\npopulate-write 0+1..0+2\nread 0+2..0+3\npageout 0+0..0+4\n\
         => 0+0 |....|\n",
    )
    .resident(&[(0, 2)]),
    Case::new(
        &reclaim::PAGEOUT_SHARED,
        "mmap 0+0..0+2 rw private memfd0 fixed\nread 0+0..0+2\nwrite 0+1..0+2 tag 1\nmmap 0+2..0+4 r shared memfd0+2 fixed\n\
         mmap 0+4..0+6 r shared memfd0+2 fixed\npopulate-read 0+2..0+4\npopulate-read 0+5..0+6\npageout 0+0..0+6\n    => 0+0 |.a|mm|mm|\n",
    ),
    Case::new(
        &reclaim::PAGEOUT_RAMFS,
        "mmap 0+0..0+2 rw shared ramfs0 fixed\nread 0+0..0+2\npageout 0+0..0+2\n    => 0+0 |ff|\n",
    ),
    Case::new(
        &reclaim::PAGEOUT_SKIPS_SHARED,
        "mmap 0+0..0+3 rw private fixed\nmmap 0+3..0+5 rw shared fixed\nwrite 0+0..0+3 tag 1\nfree 0+0..0+3\nfork 1\n\
         1: write 0+1..0+2 tag 2\nwrite 0+3..0+5 tag 3\n1: write 0+4..0+5 tag 4\npageout 0+0..0+5\n    => 0+0 |s.s|.m|\n",
    ),
    Case::new(
        &folio::SPLIT,
        huge!("free 0+0..0+1\n    => 0+0 |aaz*pmd-2|\nread 0+0..0+3\n    => reads 1*2 0\n"),
    ),
    // 6.1 does not look for zeros.
    Case::new(
        &folio::SPLIT,
        huge!("cold 0+1..0+2\n    => 0+0 |aa*pmd-1|\n"),
    )
    .on(6, 1, Arch::X86_64),
    // The mapping was split before: the pages next to it are seen to be zero all the same.
    Case::new(
        &folio::SPLIT_FINDS_ZEROS,
        huge!("dontneed 0+4..0+6\n    => 0+0 |aaaa..a*pmd-6|\npageout 0+1..0+2\n    => 0+0 |aazz..z*pmd-6|\n"),
    ),
    Case::new(
        &folio::STORE_COPIES,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmmap 1+0..2+0 rw private fixed\ndontneed 0+5..0+6\nfork 1\n\
         1: dontneed 0+0..0+1\nwrite 0+0..0+1 tag 2\n1: exit\nuffd-register-missing 1+0..2+0\nuffd-move 0+0..0+1 to 1+0 => ok\n    => 0+0 .aaaa.a\n",
    ),
    Case::new(
        &folio::STORE_COPIES,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmmap 1+0..2+0 rw private fixed\ndontneed 0+5..0+6\nfork 1\n\
         1: exit\nwrite 0+0..0+1 tag 2\nuffd-register-missing 1+0..2+0\nuffd-move 0+0..0+1 to 1+0 => ok\n    => 0+0 .aaaa.a\n",
    )
    .on(6, 12, Arch::X86_64),
    Case::new(
        &folio::SHARED_IS_LEFT,
        huge!("fork 1\n1: dontneed 0+1..1+0\npageout 0+0..0+4\n    => 0+0 |S*pmd|\n1: exit\npageout 0+0..0+4\n    => 0+0 |aaz*pmd-2|\n"),
    ),
    // The child's part is not the first page: kernels that guess split.
    Case::new(
        &folio::SPLIT,
        huge!("fork 1\n1: munmap 0+0..0+5\n1: munmap 0+6..1+0\ndontneed 0+8..0+16\ncold 0+0..0+1\n    => 0+0 |aaz*6.*8z*pmd-16|\n"),
    )
    .on(6, 12, Arch::X86_64),
    Case::new(
        &folio::SHARING_IS_ESTIMATED,
        huge!("fork 1\n1: fork 2\n1: exit\n2: exit\ndontneed 0+8..0+9\ncold 0+0..0+1\n    => 0+0 |aaa*6.>\n"),
    )
    .unusual_end(),
];
