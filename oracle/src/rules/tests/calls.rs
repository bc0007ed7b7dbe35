//! Arguments, mmap, munmap, mprotect, madvise.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{args, madvise, mmap, mprotect, munmap, tables};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &args::ALIGNMENT,
        "mmap 0+0.1..0+2 rw private fixed => EINVAL\nmunmap 0+0.1..0+0.1 => EINVAL\n\
         mprotect 0+0.1..0+0.1 r => EINVAL\ndontneed 0+0.1..0+0.1 => EINVAL\n",
    ),
    Case::new(
        &args::EMPTY,
        "mmap 0+0..0+0 rw private fixed => EINVAL\nmunmap 0+0..0+0 => EINVAL\n\
         mprotect 0+0..0+0 r => ok\nguard-install 0+9..0+9 => ok\n",
    ),
    Case::new(
        &args::WRAPS,
        "mmap 0+4..0+0 rw private fixed => ENOMEM\nmunmap 0+4..0+0 => EINVAL\n\
         mprotect 0+4..0+0 r => ENOMEM\ndontneed 0+4..0+3.4095 => EINVAL\n",
    ),
    Case::new(
        &mmap::MAPS,
        "mmap 0+1..0+2.1 rx shared fixed => ok\n    => 0+0 _|r-xs ..|_\n",
    ),
    Case::new(
        &mmap::NEW_IS_EMPTY,
        "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nmmap 0+1..0+3 rw private fixed\n    => 0+0 |a..|\n",
    )
    .resident(&[(0, 1)]),
    Case::new(
        &mmap::FIXED_REPLACES,
        "mmap 0+0..0+4 r private fixed\nguard-install 0+1..0+3\nmmap 0+2..0+6 rw private fixed => ok\n    => 0+0 |r--p .G|rw-p ....|\n",
    ),
    // Every VMA in the range goes, and with the last one its block's page table.
    Case::new(
        &munmap::FREES_TABLES,
        "mmap 1-2..1+0 r private fixed\nmmap 1+0..1+2 rw private fixed\nmmap 1+2..1+4 r private fixed\nguard-install 1-1..1+4\n\
         mmap 1-2..1+4 rwx private fixed\n    => 1-2 |rwxp ......|\n",
    ),
    Case::new(
        &mmap::HINT_FREE,
        "mmap 0+0..0+2 rw private hint => ok\n    => 0+0 |rw-p ..|_\n",
    ),
    Case::new(
        &mmap::HINT_TAKEN,
        "mmap 0+1..0+2 r private fixed\nmmap 0+0..0+2 rw private hint\n    => 0+0 _|r--p .|_\n",
    ),
    Case::new(
        &mmap::HINT_TAKEN,
        "mmap 0+0..0+5 none private memfd1+5 fixed\nmmap 0+1..0+2 rw private memfd1+8 hint\nmlockall future\nmmap 0+1..0+3 rw private memfd1+9 hint\n",
    )
    .resident(&[(4, 1)]),
    Case::new(
        &mmap::HINT_ROUNDS_DOWN,
        "mmap 0+0..0+1 rw private fixed\nmmap 0+1.5..0+3 rw private hint\n    => 0+0 |rw-p .|__\n",
    ),
    Case::new(
        &mmap::ACCOUNTS,
        "mmap 0+0..0+1 rw private fixed\nmmap 0+1..0+2 r private fixed\nmmap 0+2..0+3 rw shared fixed\n    => 0+0 |rw-p .|r--p .|rw-s .|\n",
    )
    .flags(&[(0, "ac"), (1, "!ac"), (2, "!ac sh ms")]),
    Case::new(
        &mmap::SHARED_OBJECT,
        "mmap 0+0..0+2 rw shared fixed\nmmap 0+2..0+4 rw shared fixed\n    => 0+0 |rw-s ..|rw-s ..|\n",
    ),
    Case::new(
        &munmap::REMOVES,
        "mmap 0+0..0+6 rw private fixed\nwrite 0+0..0+6 tag 1\nguard-install 0+3..0+4\nmunmap 0+1..0+5 => ok\n    => 0+0 |a|____|a|\n",
    )
    .resident(&[(0, 1), (5, 1)]),
    Case::new(
        &munmap::HOLES,
        "mmap 0+0..0+1 rw private fixed\nmunmap 0+4..0+8 => ok\nmunmap 0-2..0+4 => ok\n    => 0+0 _\n",
    ),
    Case::new(
        &munmap::FREES_TABLES,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nguard-install 0+0..0+1\nmunmap 0+0..1+0\n\
         mmap 0+0..1+0 rw private fixed\nwrite 0+1..0+2 tag 1\n    => 0+0 |A*pmd|\n",
    ),
    Case::new(
        &mprotect::KEEPS_PAGES,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+1 tag 1\nread 0+1..0+2\nguard-install 0+2..0+3\n\
         mprotect 0+0..0+4 none\n    => 0+0 |---p azG.|\n",
    ),
    Case::new(
        &mprotect::CHANGES,
        "mmap 0+0..0+4 rw private fixed\nmmap 0+4..0+8 rx private fixed\nmprotect 0+2..0+6 none => ok\n    => 0+0 |rw-p ..|---p ....|r-xp ..|\n",
    ),
    Case::new(
        &mprotect::SAME,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+1 tag 1\nmprotect 0+0..0+4 r\nmprotect 0+1..0+2 r => ok\n    => 0+0 |r--p a...|\n",
    )
    .flags(&[(0, "ac")]),
    Case::new(
        &mprotect::FIRST_UNMAPPED,
        "mmap 0+1..0+3 rw private fixed\nmprotect 0+0..0+2 r => ENOMEM\n    => 0+0 _|rw-p ..|\n",
    ),
    Case::new(
        &mprotect::HOLE,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+3..0+4 rw private fixed\nmprotect 0+1..0+4 r => ENOMEM\n    => 0+0 |rw-p .|r--p .|_|rw-p .|\n",
    ),
    Case::new(
        &mprotect::ACCOUNTS,
        "mmap 0+0..0+2 r private fixed\nmprotect 0+0..0+1 rw\nwrite 0+0..0+1 tag 1\nmprotect 0+0..0+1 r\n    => 0+0 |r--p a|r--p .|\n",
    )
    .flags(&[(0, "ac"), (1, "!ac")]),
    Case::new(
        &mprotect::UNACCOUNTS,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nguard-install 0+4..0+5\n\
         mprotect 0+0..0+2 r => ok\nmprotect 0+4..0+6 r => ok\n",
    )
    .flags(&[(0, "!ac"), (4, "ac")]),
    // Before 6.3 nothing was unaccounted.
    Case::new(
        &mprotect::ACCOUNTS,
        "mmap 0+0..0+2 rw private fixed\nmprotect 0+0..0+2 r => ok\n",
    )
    .on(6, 1, X86_64)
    .flags(&[(0, "ac")]),
    Case::new(
        &madvise::UNKNOWN,
        "mmap 0+0..0+2 rw private fixed\nguard-install 0+0.1..0+0 => EINVAL\nguard-remove 0+0..0+0 => EINVAL\nguard-install 0+0..0+1 => EINVAL\n    => 0+0 |..|\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &madvise::WALK,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw shared fixed\nguard-install 0+0..0+4 => EINVAL\n    => 0+0 |~~|..|\n",
    )
    .on(6, 14, X86_64),
    Case::new(
        &madvise::HOLE,
        "mmap 0+0..0+1 rw private fixed\nmmap 0+3..0+4 rw private fixed\nguard-install 0+0..0+6 => ENOMEM\n    => 0+0 |G|__|G|__\n",
    ),
    Case::new(
        &madvise::HUGE_FLAGS,
        "mmap 0+0..0+4 rw private fixed\nhugepage 0+1..0+3 => ok\n    => 0+0 |.|..|.|\nnohugepage 0+1..0+2 => ok\nnohugepage 0+2..0+3 => ok\n    => 0+0 |.|..|.|\n",
    )
    .flags(&[(0, "!hg !nh"), (1, "nh !hg"), (3, "!hg !nh")]),
    Case::new(
        &madvise::DONTNEED,
        "mmap 0+0..0+3 rw private fixed\nwrite 0+0..0+3 tag 1\nmprotect 0+0..0+3 none\ndontneed 0+1..0+2 => ok\n    => 0+0 |---p a.a|\n\
         mprotect 0+0..0+3 r\nread 0+0..0+3 => reads 1 0 1\n",
    ),
    Case::new(
        &madvise::DONTNEED_SHARED,
        "mmap 0+0..0+3 rw shared fixed\nwrite 0+0..0+2 tag 1\ndontneed 0+0..0+3 => ok\n    => 0+0 |...|\n",
    )
    .resident(&[(0, 2)]),
    Case::new(
        &madvise::DONTNEED_KEEPS_GUARDS,
        "mmap 0+0..0+3 rw private fixed\nguard-install 0+1..0+2\nwrite 0+0..0+1 tag 1\ndontneed 0+0..0+3 => ok\n    => 0+0 |.G.|\n",
    ),
    Case::new(
        &madvise::DONTNEED_FREES_TABLE,
        "thp always\n\nmmap 0+0..1+4 rw private fixed\nguard-install 0+0..0+1\nguard-remove 0+0..0+1\ndontneed 0+0..1+4\n\
         write 0+0..0+1 tag 1\n    => 0+0 |A*pmd ....|\n",
    ),
    // Part of a block, or on a kernel without CONFIG_PT_RECLAIM: the table stays.
    Case::new(
        &tables::ZAP,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nguard-install 0+0..0+1\nguard-remove 0+0..0+1\nwrite 0+5..0+6 tag 1\n\
         dontneed 0+1..1+0\nwrite 0+0..0+1 tag 1\n    => 0+0 |a.*pmd-1|\n",
    ),
    Case::new(
        &tables::ZAP,
        "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\n1: dontneed 0+0..0+1\n    => 1: 0+0 |.s|\n    => 0: 0+0 |as|\n",
    ),
    Case::new(
        &tables::ZAP_WHOLE_HUGE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\ndontneed 0+0..1+0\n    => 0+0 |.*pmd|\n\
         write 0+0..0+1 tag 1\n    => 0+0 |A*pmd|\n",
    ),
    Case::new(
        &tables::ZAP_SPLITS_HUGE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+2 tag 1\ndontneed 0+1..0+2\n    => 0+0 |a.a*pmd-2|\nread 0+0..0+2 => reads 1 0\n",
    ),
];
