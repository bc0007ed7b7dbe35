//! How the kernel shows it.

use super::Case;
use crate::profile::Arch::{Aarch64, X86_64};
use crate::rules::report;

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
    Case::new(
        &report::GUARD_AS_SWAP,
        "mmap 0+0..0+2 r private fixed\nguard-install 0+0..0+1\n    => 0+0 |~.|\n",
    )
    .on(6, 14, X86_64),
];
