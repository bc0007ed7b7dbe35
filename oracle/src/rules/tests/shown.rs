//! How the kernel shows it.

use super::{Case, NO_SIZES};
use crate::judge::Sizes;
use crate::profile::Arch::{Aarch64, X86_64};
use crate::rules::{report, sizes};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &report::UNTOUCHED,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nfork 1\n1: munmap 0+1..0+2\n1: mprotect 0+2..0+3 r\n    => 0: 0+0 |rw-p sass|\n",
    ),
    Case::new(
        &report::VM_FLAGS,
        "mmap 0+0..0+1 rwx shared fixed\nmmap 0+1..0+2 none private fixed\n",
    )
    .flags(&[(0, "rd wr ex sh ms mr mw me sd !ac"), (1, "mr mw me sd !rd !wr !ex !sh !ms")]),
    Case::new(&report::VM_FLAGS, "mmap 0+0..0+1 rw private fixed\n")
        .on(7, 3, Aarch64)
        .flags(&[(0, "!sd")]),
    Case::new(
        &report::VM_FLAGS,
        "mmap 0+0..0+2 rw private fixed\nmlock-onfault 0+0..0+1\nmlock 0+1..0+2\n",
    )
    .on(6, 1, X86_64)
    .flags(&[(0, "lo ?? !lf"), (1, "lo !??")]),
    Case::new(
        &report::RESIDENT,
        "mmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+2 tag 1\nguard-install 0+1..0+3\nmmap 0+4..0+6 r private fixed\nread 0+4..0+5\n",
    )
    .resident(&[(0, 2), (4, 1)]),
    Case::new(
        &report::EXCLUSIVE,
        "mmap 0+0..0+2 rw shared fixed\nwrite 0+0..0+2 tag 1\nfork 1\n1: write 0+1..0+2 tag 2\n    => 0: 0+0 |fm|\n    => 1: 0+0 |.m|\n",
    ),
    Case::new(
        &report::HUGE_EXCLUSIVE_HEAD,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\n1: write 0+0..0+1 tag 2\n    => 0: 0+0 |A*pmd|\n    => 1: 0+0 |as*pmd-1|\n",
    ),
    // In between, page by page.
    Case::new(
        &report::EXCLUSIVE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\n1: write 0+1..0+2 tag 2\n    => 0: 0+0 |SAS*pmd-2|\n",
    )
    .on(6, 12, X86_64),
    // A page of two processes counts half in each of them, one of three a third: 4 + 2 + 1.33 KiB.
    Case::new(
        &sizes::ADDS_UP,
        "mmap 0+0..0+8 rw private fixed\nwrite 0+0..0+4 tag 1\nread 0+5..0+6\nguard-install 0+3..0+4\nmlock 0+0..0+3\n\
         fork 1\nfork 2\n1: write 0+0..0+2 tag 2\n2: write 0+0..0+1 tag 2\n",
    )
    .sizes(&[
        (0, Sizes { rss: 12, pss: 7, private: 4, anonymous: 12, locked: 7, ..NO_SIZES }),
        (3, NO_SIZES),
    ]),
    // Two mappings of a file in one process count as two.
    Case::new(
        &sizes::ADDS_UP,
        "mmap 0+0..0+4 rw shared memfd0 fixed\nmmap 0+8..0+10 rw private memfd0 fixed\nwrite 0+0..0+2 tag 1\n\
         write 0+8..0+9 tag 1\nread 0+9..0+10\n    => 0+8 |am|\n",
    )
    .sizes(&[
        (0, Sizes { rss: 8, pss: 6, private: 4, ..NO_SIZES }),
        (8, Sizes { rss: 8, pss: 6, private: 4, anonymous: 4, ..NO_SIZES }),
    ]),
    Case::new(
        &sizes::ADDS_UP,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\n1: write 0+0..0+1 tag 2\n",
    )
    .sizes(&[(0, Sizes { rss: 2048, pss: 1026, private: 4, anonymous: 2048, anon_huge: 2048, ..NO_SIZES })]),
    Case::new(
        &sizes::ADDS_UP,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmprotect 0+0..1+0 none\n",
    )
    .on(6, 1, X86_64)
    .sizes(&[(0, NO_SIZES)]),
    Case::new(
        &sizes::LAZY_FREE,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nfree 0+0..0+3\nwrite 0+0..0+1 tag 2\n",
    )
    .sizes(&[(0, Sizes { rss: 16, pss: 16, private: 16, anonymous: 16, lazy_free: 8, ..NO_SIZES })]),
    Case::new(
        &report::GUARD_AS_SWAP,
        "mmap 0+0..0+2 r private fixed\nguard-install 0+0..0+1\n    => 0+0 |~.|\n",
    )
    .on(6, 14, X86_64),
    Case::new(
        &report::LOOK,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nlook 0+0..0+4 => ok\nguard-remove 0+1..0+2\nlook 0+0..0+4 => ok\n",
    ),
    Case::new(
        &report::LOOK,
        "mmap 0+0..0+4 rw private fixed\nlook 0+0..0+4 => ok\nguard-install 0+1..0+2\nlook 0+1..0+2 => unflagged\nlook 0+2..0+4 => ok\n",
    )
    .on(6, 17, X86_64),
    // pagemap does not show guards as such.
    Case::new(
        &report::LOOK,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nlook 0+0..0+4 => ok\n",
    )
    .on(6, 14, X86_64),
];
