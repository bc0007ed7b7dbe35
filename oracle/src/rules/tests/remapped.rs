//! How mremap moves, and what it leaves.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{merge, moves};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &moves::COPIES_VMA,
        "needs guards\nthp never\n\nmmap 0+0..0+6 rw private fixed\nguard-install 0+5..0+6\ndontdump 0+0..0+6\n\
         mremap 0+2..0+4 0+10..0+12 fixed\n    => ok\n    => 0+0 |rw-p ..|__|rw-p .G|____|rw-p ..|\n",
    )
    .flags(&[(0, "gu dd ac"), (4, "gu dd ac"), (10, "gu dd ac wr")]),
    Case::new(
        &moves::KEEPS_PAGES,
        "needs guards\nthp never\n\nmmap 0+0..0+5 rw private fixed\nwrite 0+0..0+2 tag 1\nread 0+2..0+3\nguard-install 0+3..0+4\nfork 1\n\
         write 0+0..0+1 tag 2\nmremap 0+0..0+5 0+10..0+16 fixed\n    => ok\n    => 0+0 _*10|aszG..|_\n    => 1: 0+0 |aszG.|\n\
         read 0+10..0+13\n    => reads 2 1 0\nread 0+13..0+14\n    => SIGSEGV MAPERR\nwrite 0+11..0+12 tag 3\n    => 0+10 |aazG..|\n\
         => 1: 0+0 |aazG.|\n",
    )
    .resident(&[(10, 3)]),
    Case::new(
        &moves::OFFSET,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmmap 0+8..0+9 rw private fixed\nmremap 0+2..0+4 0+9..0+11 fixed\n    => ok\n\
         => 0+0 |..|_*6|...|\nmremap 0+0..0+2 0+2..0+4 fixed\n    => ok\n    => 0+0 __|..|____|...|\n",
    ),
    Case::new(
        &moves::OFFSET,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmmap 0+8..0+9 rw private fixed\nwrite 0+0..0+1 tag 1\n\
         mremap 0+2..0+4 0+9..0+11 fixed\n    => 0+0 |a.|_*6|.|..|\nmremap 0+9..0+11 0+2..0+4 fixed\n    => 0+0 |a...|____|.|__\n",
    ),
    Case::new(
        &moves::OFFSET,
        "thp never\n\nmmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+4 tag 1\nmremap 0+2..0+4 0+8..0+10 fixed\n    => ok\n\
         read 0+8..0+10\n    => reads 1*2\n    => 0+0 |ff|_*6|ff|\nmremap 0+0..0+2 0+6..0+8 fixed\n    => 0+0 _*6|ffff|\n",
    ),
    // The block's table goes along, so that the old place may have a huge page; slots that go one by one leave it there.
    Case::new(
        &moves::TABLE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nnohugepage 0+0..1+0\nwrite 0+0..0+1 tag 1\nmremap 0+0..1+0 1+0..2+0 fixed-dontunmap\n\
         => 1+0 |a.\nhugepage 0+0..1+0\nwrite 0+1..0+2 tag 2\n    => 0+0 |AAA\nhugepage 1+0..2+0\nwrite 1+1..1+2 tag 3\n    => 1+0 aa..\n",
    ),
    Case::new(
        &moves::TABLE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nnohugepage 0+0..1+0\nwrite 0+0..0+1 tag 1\nmremap 0+0..1+0 1+1..2+1 fixed-dontunmap\n\
         => 1+0 _|a.\nhugepage 0+0..1+0\nwrite 0+1..0+2 tag 2\n    => 0+0 |.a.\n",
    ),
    Case::new(
        &moves::REALIGNED,
        "thp always\n\nmmap 0+4..1+0 rw private fixed\nwrite 0+4..0+5 tag 1\nmremap 0+4..1+0 1+4..2+0 fixed-dontunmap\n    => 1+4 |a.\n\
         mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+1 tag 2\n    => 0+0 |A*pmd|\n",
    ),
    Case::new(
        &moves::TABLE,
        "thp always\n\nmmap 0+4..1+0 rw private fixed\nwrite 0+4..0+5 tag 1\nmremap 0+4..1+0 1+4..2+0 fixed-dontunmap\n    => 1+4 |a.\n\
         mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+1 tag 2\n    => 0+0 |a.*pmd-1|\n",
    )
    .on(6, 1, X86_64),
    Case::new(
        &moves::TABLE,
        "thp always\n\nmmap 0+4..1+0 rw private fixed\nmmap 0+2..0+3 r private fixed\nwrite 0+4..0+5 tag 1\n\
         mremap 0+4..1+0 1+4..2+0 fixed-dontunmap\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+1 tag 2\n    => 0+0 |a.*pmd-1|\n",
    ),
    Case::new(
        &moves::HUGE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+3..0+4 tag 1\nmremap 0+0..1+0 2+0..3+0 fixed\n    => ok\n    => 0+0 _*pmd\n\
         => 2+0 |A*pmd|\nread 2+3..2+4\n    => reads 1\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 2\n    => 0+0 |A*pmd|\n",
    ),
    Case::new(
        &moves::HUGE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nread 0+3..0+4\n    => 0+0 |Z*pmd|\nmremap 0+0..1+0 2+0..3+0 fixed\n    => 2+0 |Z*pmd|\n\
         read 2+4..2+5\n    => reads 0\n",
    ),
    Case::new(
        &moves::SPLITS_HUGE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+4 tag 1\nmremap 0+0..0+2 2+0..2+2 fixed\n    => ok\n\
         => 0+0 __|a*pmd-2|\n    => 2+0 |aa|_\nread 2+0..2+2\n    => reads 1*2\nread 0+2..0+5\n    => reads 1*2 0\n",
    ),
    Case::new(
        &moves::SPLITS_HUGE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+4 tag 1\nmremap 0+0..1+0 1+1..2+1 fixed\n    => ok\n    => 1+0 _|a*pmd|_\n",
    ),
    Case::new(
        &moves::LEAVES_VMA,
        "needs guards\nthp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nguard-install 0+1..0+2\n\
         mremap 0+0..0+3 0+8..0+11 fixed-dontunmap\n    => ok\n    => 0+0 |...a|____|aGa|\nread 0+0..0+4\n    => reads 0*3 1\n\
         => 0+0 |zzza|\nmmap 0+20..0+22 rw shared fixed\nwrite 0+20..0+22 tag 2\nmremap 0+20..0+22 0+24..0+26 dontunmap\n    => 0+20 |..|__|ff|\n\
         read 0+20..0+21\n    => reads 2\n    => 0+20 |m",
    )
    .flags(&[(0, "gu ac"), (8, "gu ac")])
    .resident(&[(0, 4), (8, 1), (10, 1), (20, 2), (24, 2)]),
    Case::new(
        &moves::UNLINKS,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed-dontunmap\n\
         mmap 0+10..0+12 rw private fixed\nwrite 0+10..0+11 tag 2\nmmap 0+2..0+4 rw private fixed\n    => 0+0 |....|____|aa|a.|\n\
         mprotect 0+0..0+4 r\n    => ok\n",
    )
    .flags(&[(0, "!ac"), (8, "ac")]),
    Case::new(
        &moves::UNLINKS,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed-dontunmap\n\
         mremap 0+8..0+9 0+12..0+13 fixed-dontunmap\nmprotect 0+8..0+10 r\n    => 0+8 |.a|__|a|\n",
    )
    .flags(&[(8, "ac"), (12, "ac")]),
    Case::new(
        &moves::UNLINKS,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed\n\
         mremap 0+8..0+10 1+0..1+2 dontunmap\nmmap 0+10..0+12 rw private fixed\n    => 0+8 |..|..|\n",
    )
    .on(6, 17, X86_64),
    Case::new(
        &moves::UNACCOUNTS,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmremap 0+0..0+2 0+8..0+10 dontunmap\n    => 0+0 |....|____|..|\n",
    )
    .on(6, 16, X86_64)
    .flags(&[(0, "!ac"), (8, "ac")]),
    Case::new(
        &moves::COPIES_VMA,
        "mmap 0+0..0+2 rw private fixed\nmremap 0+0..0+2 0+2..0+4 dontunmap\n    => 0+0 |....|\n",
    )
    .on(7, 1, X86_64),
    Case::new(
        &moves::NO_SELF_MERGE,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nmremap 0+0..0+2 0+2..0+4 dontunmap\n    => ok\n    => 0+0 |..|....|\n\
         mmap 1+2..1+4 rw private fixed\nmremap 1+2..1+4 1+0..1+2 fixed-dontunmap\n    => 1+0 |..|..|\n",
    ),
    Case::new(
        &moves::NO_SELF_MERGE,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nmremap 0+0..0+2 0+2..0+4 dontunmap\n    => ok\n    => 0+0 |..|..|..|\n",
    )
    .on(6, 1, X86_64),
    Case::new(
        &moves::TABLE_ELSEWHERE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+3..0+4 tag 1\nmmap 1+0..1+1 r private fixed\n\
         mremap 0+0..1+0 1+0..2+0 dontunmap\n    => elsewhere\n    => 0+0 |.*pmd|.|\nwrite 0+3..0+4 tag 2\n    => 0+0 |...a.\n",
    ),
    Case::new(
        &moves::TABLE_ELSEWHERE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nmmap 1+0..1+1 r private fixed\npopulate-write 0+0..0+4\n\
         mremap 0+0..1+0 1+0..2+0 dontunmap\n    => elsewhere\n    => 0+0 |.*pmd|.|\npopulate-write 0+3..0+4\n    => ok\n",
    )
    .unusual(),
    Case::new(
        &merge::GROWN,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nwrite 0+4..0+5 tag 1\n\
         mremap 0+0..0+2 0+0..0+4 stay\n    => 0+0 |....a.|\n",
    ),
    Case::new(
        &merge::GROWN,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\n\
         1: mremap 0+0..0+2 0+0..0+4 stay\n    => 1: 0+0 |s.....|\n",
    ),
    Case::new(
        &merge::GROWN,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\n\
         1: mremap 0+0..0+2 0+0..0+4 stay\n    => 1: 0+0 |s...|..|\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &merge::MOVED,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nwrite 0+0..0+6 tag 1\nmremap 0+2..0+4 0+12..0+14 fixed\nmunmap 0+4..0+6\n\
         mmap 0+4..0+6 rw private fixed\nmremap 0+12..0+14 0+2..0+4 fixed\n    => 0+0 |aaaa..|_\n",
    ),
    Case::new(
        &merge::MOVED,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed\n\
         mmap 0+2..0+4 rw private fixed\nmremap 0+8..0+10 0+0..0+2 fixed\n    => 0+0 |aa..|\nfork 1\n    => 1: 0+0 |ss..|\n",
    ),
    Case::new(
        &merge::PRIVATE_FILE_OFFSETS,
        "thp never\n\nmmap 0+0..0+2 rw private memfd0 fixed\nwrite 0+0..0+1 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed\n\
         mmap 0+10..0+12 rw private memfd0+2 fixed\n    => 0+8 |a.|..|\n",
    ),
    Case::new(
        &merge::NEW_LEFT,
        "thp never\n\nmmap 0+0..0+2 rw private memfd0 fixed\nwrite 0+0..0+1 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed\n\
         mmap 0+10..0+12 rw private memfd0+2 fixed\n    => 0+8 |a...|\n",
    )
    .on(7, 2, X86_64),
    Case::new(
        &merge::MOVED_FORKED,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\n1: mremap 0+0..0+2 0+8..0+10 fixed\n\
         1: mmap 0+2..0+4 rw private fixed\n1: mremap 0+8..0+10 0+0..0+2 fixed\n    => 1: 0+0 |ss|..|\n",
    ),
    Case::new(
        &merge::MOVED,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\n1: mremap 0+0..0+2 0+8..0+10 fixed\n\
         1: mmap 0+2..0+4 rw private fixed\n1: mremap 0+8..0+10 0+0..0+2 fixed\n    => 1: 0+0 |ss..|\n",
    )
    .on(6, 17, X86_64),
    Case::new(
        &merge::MOVED_LOSES_ANON_VMA,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nmremap 0+0..0+2 0+8..0+10 fixed\n\
         mmap 0+2..0+4 rw private fixed\nmremap 0+8..0+10 0+0..0+2 fixed\n    => 0+0 |aa..|\nfork 1\n    => 1: 0+0 |....|\n    => 0+0 |aa..|\n\
         1: read 0+0..0+1\n    => reads 0\n",
    )
    .on(6, 17, X86_64),
];
