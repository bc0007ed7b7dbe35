//! Flags of mmap.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::mmap;

pub(super) const CASES: &[Case] = &[
    Case::new(
        &mmap::NO_REPLACE,
        "mmap 0+0..0+4 rw private noreplace\n    => ok\nguard-install 0+3..0+4\nmmap 0+3..0+6 rw private noreplace\n    => EEXIST\n\
         => 0+0 |...G|__\nmmap 0+4..0+6 rw private noreplace\n    => ok\n",
    ),
    Case::new(
        &mmap::NO_RESERVE,
        "mmap 0+0..0+2 rw private fixed noreserve\nmmap 0+2..0+4 rw private fixed\n    => 0+0 |..|..|\n",
    )
    .flags(&[(0, "nr !ac"), (2, "ac !nr")]),
    Case::new(
        &mmap::NO_RESERVE,
        "mmap 0+0..0+2 r private fixed noreserve\nmprotect 0+0..0+2 rw\n    => ok\nmmap 0+2..0+4 rw shared fixed noreserve\n    => ok\n",
    )
    .flags(&[(0, "nr !ac"), (2, "nr !ac")]),
    Case::new(
        &mmap::STACK,
        "thp always\n\nmmap 0+0..2+0 rw private fixed stack\nwrite 0+0..0+1 tag 1\n    => 0+0 |a.\nhugepage 1+0..2+0\n    => ok\n",
    )
    .flags(&[(0, "nh !hg"), (512, "hg !nh")]),
    Case::new(
        &mmap::STACK,
        "thp always\n\nmmap 0+0..1+0 rw private fixed stack\nwrite 0+0..0+1 tag 1\n    => 0+0 |AA\n",
    )
    .on(6, 1, X86_64)
    .flags(&[(0, "!nh")]),
    Case::new(
        &mmap::POPULATES,
        "thp never\n\nmmap 0+0..0+2 rw private fixed populate\n    => 0+0 |aa|\nmmap 0+2..0+4 r private fixed populate\n    => 0+0 |aa|zz|\n\
         mmap 0+4..0+6 none private fixed populate\n    => 0+0 |aa|zz|..|\nmmap 0+6..0+8 rw shared fixed populate\n    => 0+6 |ff|\n",
    ),
    Case::new(
        &mmap::POPULATES,
        "thp never\n\nmmap 0+0..0+2 w shared noreplace populate\n    => 0+0 |ff|\nmmap 0+2..0+4 x private fixed populate\n    => 0+2 |..|\n",
    ),
    Case::new(
        &mmap::POPULATES,
        "thp always\n\nmmap 0+0..1+0 rw private fixed populate\n    => 0+0 |AA\n",
    ),
];
