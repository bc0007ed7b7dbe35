//! mremap of memory that is locked or sealed.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{mlock, moves, mseal};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &mseal::REMAP,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nmseal 0+0..0+4\nmremap 0+0..0+4 0+0..0+6 stay => EPERM\n\
         mremap 0+0..0+4 0+0..0+4 stay => EPERM\nmremap 0+0..0+4 0+0..0+2 stay => EPERM\nmremap 0+0..0+4 0+8..0+12 fixed => EPERM\n\
         mremap 0+0..0+4 0+8..0+12 dontunmap => EPERM\nmremap 0+0..0+0 0+8..0+12 fixed => EPERM\nmremap 0+4..0+6 0+8..0+10 fixed => EFAULT\n\
         => 0+0 |aaaa|\n",
    ),
    // The target's first VMA is split by then; what is moved stays.
    Case::new(
        &mseal::REMAP,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+8..0+12 rw private fixed\nwrite 0+8..0+12 tag 1\nmseal 0+10..0+11\n\
         mremap 0+0..0+2 0+9..0+11 fixed => EPERM\n    => 0+0 |..|_*6|a|a|a|a|\n",
    ),
    Case::new(
        &mseal::REMAP,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nmmap 0+8..0+10 rw private fixed\nwrite 0+0..0+6 tag 1\nmseal 0+4..0+6\n\
         mremap 0+0..0+5 0+0..0+2 stay => EPERM\n    => 0+0 |aa|aa|aa|\nmremap 0+0..0+5 0+8..0+10 fixed => EPERM\n\
         => 0+0 |aa|aa|aa|____\n",
    ),
    Case::new(
        &mseal::REMAP,
        "needs mremap-many\nthp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nmseal 0+2..0+4\n\
         mremap 0+0..0+4 0+8..0+12 fixed => EPERM\n    => 0+0 __|aa|____|aa|\n",
    ),
    Case::new(
        &mlock::GROWS,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmlock 0+0..0+2\nmremap 0+0..0+2 0+0..0+4 stay => ok\n    => 0+0 |aaaa|\n\
         mremap 0+0..0+4 0+8..0+13 fixed => ok\n    => 0+8 |aaaaa|\nmremap 0+8..0+13 0+0..0+3 fixed => ok\n    => 0+0 |aaa|\n",
    )
    .flags(&[(2, "lo !lf")]),
    Case::new(
        &mlock::GROWS,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmlock-onfault 0+0..0+2\nmremap 0+0..0+2 0+0..0+4 stay => ok\n    => 0+0 |....|\n\
         mmap 1+0..1+2 none private fixed locked\nmremap 1+0..1+2 1+0..1+4 stay => ok\n    => 1+0 |....|\n",
    )
    .flags(&[(2, "lo lf")]),
    // Two blocks are the limit. What is not locked does not care.
    Case::new(
        &mlock::REMAP_LIMIT,
        "thp never\n\nmmap 0+0..2-1 rw private fixed\nmlock-onfault 0+0..2-1\nmmap 2+100..2+102 rw shared fixed\n\
         mremap 0+0..2-1 0+0..2+1 stay => EAGAIN\nmremap 2-2..2-1 2+100..2+103 fixed => EAGAIN\n    => 2+100 |..|\n\
         mremap 0+0..2-1 0+0..2+0 stay => ok\nmlockall future\nmremap 2+100..2+102 2+100..2+104 stay => ok\n",
    )
    .flags(&[(1124, "!lo")]),
    Case::new(
        &mlock::REMAP_LIMIT,
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nmlock-onfault 0+0..2+0\nmmap 2+100..2+102 rw shared fixed\n\
         mremap 2-1..2+0 2+100..2+102 fixed => EAGAIN\n    => 2+100 __\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &moves::UNLOCKS,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmlock 0+0..0+4\nmremap 0+1..0+2 0+8..0+9 dontunmap => ok\n\
         => 0+0 |a|.|aa|____|a|\nread 0+1..0+2\n",
    )
    .flags(&[(0, "lo"), (1, "!lo !lf"), (2, "lo"), (8, "lo !lf")]),
    Case::new(
        &moves::UNLOCKS_ALL,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nmlock-onfault 0+0..1+0\nmremap 0+1..0+2 2+0..2+1 dontunmap => ok\n\
         => 0+0 |....\nmlock-onfault 0+0..1+0 => ENOMEM\nmlock-onfault 0+0..0+4 => ok\n",
    )
    .flags(&[(5, "!lo !lf"), (1024, "lo lf")])
    .on(7, 1, X86_64),
];
