//! Splitting, merging, anon_vmas.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{anon_vma, fork, guard, merge};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &merge::SPLIT,
        "mmap 0+0..0+6 rw private fixed\nmprotect 0+2..0+4 r\n    => 0+0 |rw-p ..|r--p ..|rw-p ..|\n",
    ),
    Case::new(
        &merge::NEW_LEFT,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw private fixed\n    => 0+0 |rw-p ....|\n",
    ),
    // Two anon_vmas: the bridge goes to the left one.
    Case::new(
        &merge::NEW_LEFT,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nguard-install 0+0..0+1\nguard-install 0+5..0+6\n\
         mmap 0+2..0+4 rw private fixed\n    => 0+0 |G...|.G|\n",
    ),
    Case::new(
        &merge::NEW_RIGHT,
        "mmap 0+2..0+4 rw private fixed\nmmap 0+0..0+2 rw private fixed\n    => 0+0 |rw-p ....|\n",
    ),
    // Before 6.12 the bridge between two anon_vmas went to the right one.
    Case::new(
        &merge::NEW_RIGHT,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nwrite 0+0..0+1 tag 1\nwrite 0+5..0+6 tag 2\n\
         mmap 0+2..0+4 rw private fixed\n    => 0+0 |a.|...a|\n",
    )
    .on(6, 1, X86_64),
    Case::new(
        &merge::NEW_BOTH,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nwrite 0+5..0+6 tag 1\n\
         mmap 0+2..0+4 rw private fixed\n    => 0+0 |rw-p .....a|\n",
    ),
    Case::new(
        &merge::EXISTING,
        "mmap 0+0..0+6 rw private fixed\nhugepage 0+2..0+6\nhugepage 0+0..0+1\n    => 0+0 |.|.|....|\nhugepage 0+1..0+2\n    => 0+0 |......|\n",
    )
    .flags(&[(0, "hg")]),
    // Part of a VMA goes over to its neighbour.
    Case::new(
        &merge::EXISTING,
        "mmap 0+0..0+6 rw shared fixed\nmprotect 0+3..0+6 r\nmprotect 0+3..0+4 rw\n    => 0+0 |rw-s ....|r--s ..|\n\
         mprotect 0+2..0+4 r\n    => 0+0 |rw-s ..|r--s ....|\n",
    ),
    Case::new(
        &merge::STICKY,
        "mmap 0+0..0+2 rw private fixed\nguard-install 0+0..0+1\nmmap 0+2..0+4 rw private fixed\n    => 0+0 |G...|\n",
    )
    .flags(&[(3, "gu")]),
    Case::new(
        &merge::ANON_VMA_BLOCKS,
        "mmap 0+0..0+2 rw private fixed\nnohugepage 0+0..0+2\nmmap 0+2..0+4 rw private fixed\nguard-install 0+0..0+1\nguard-install 0+3..0+4\n\
         nohugepage 0+2..0+4\n    => 0+0 |G.|.G|\n",
    ),
    // Before 6.16 memory with an anon_vma did not join a neighbour without one.
    Case::new(
        &merge::ANON_VMA_BLOCKS,
        "mmap 0+0..0+4 rw private fixed\nnohugepage 0+2..0+4\nwrite 0+0..0+1 tag 1\nnohugepage 0+0..0+2\n    => 0+0 |a.|..|\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &anon_vma::FRESH,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nread 0+0..0+1\nwrite 0+5..0+6 tag 1\n\
         mmap 0+2..0+4 rw private fixed\n    => 0+0 |z....a|\n",
    ),
    Case::new(
        &anon_vma::REUSED,
        "mmap 0+0..0+4 rw private fixed\nmprotect 0+2..0+4 rwx\nwrite 0+0..0+1 tag 1\nwrite 0+3..0+4 tag 2\n\
         mprotect 0+2..0+4 rw\n    => 0+0 |rw-p a..a|\n",
    ),
    // Different accounting: not reused, so the two never join again.
    Case::new(
        &anon_vma::FRESH,
        "mmap 0+0..0+4 rw private fixed\nmprotect 0+2..0+4 r\nguard-install 0+0..0+1\nguard-install 0+3..0+4\n\
         mprotect 0+2..0+4 rw\n    => 0+0 |rw-p G.|rw-p .G|\n",
    ),
    Case::new(
        &fork::NEW_ANON_VMA,
        "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\nmmap 0+2..0+3 rw private fixed\n    => 0+0 |s..|\n\
         1: mmap 0+2..0+3 rw private fixed\n    => 1: 0+0 |s.|.|\n",
    ),
    Case::new(
        &guard::INSTALL_FILE_ANON_VMA,
        "mmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+1 tag 1\nguard-install 0+2..0+3\nfork 1\n    => 1: 0+0 |m.G.|\n",
    )
    .on(6, 16, X86_64)
    .flags(&[(0, "!gu")]),
];
