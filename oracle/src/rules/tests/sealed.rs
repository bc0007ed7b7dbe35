//! mseal and what a seal refuses.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::mseal;

pub(super) const CASES: &[Case] = &[
    Case::new(
        &mseal::STALE_START,
        "mmap 0+0..0+5 rw private fixed\nmseal 0+1..0+2\nmseal 0+0..0+4\n    => 0+0 |..|..|.|_\n",
    )
    .on(6, 18, X86_64),
    Case::new(
        &mseal::SEALS,
        "mmap 0+0..0+5 rw private fixed\nmseal 0+1..0+2\nmseal 0+0..0+4\n    => 0+0 |....|.|_\n",
    ),
    Case::new(
        &mseal::SEALS,
        "mmap 0+0..0+4 rw private fixed\nmseal 0+1..0+2 => ok\n    => 0+0 |.|.|..|\nmseal 0+2..0+3.1 => ok\n    => 0+0 |.|...|\n\
         mseal 0+1..0+2 => ok\nmseal 0+0..0+0 => ok\nmseal 0+0.1..0+1 => EINVAL\nmseal 0+2..0+0 => EINVAL\n",
    )
    .flags(&[(0, "!sl"), (1, "sl"), (3, "sl")]),
    Case::new(&mseal::SEALS, "mmap 0+0..0+2 rw private fixed\nmseal 0+0..0+2\nfork 1\n1: munmap 0+0..0+1 => EPERM\n    => 1: 0+0 |..|\n"),
    Case::new(
        &mseal::MISSING,
        "mmap 0+0..0+1 rw private fixed\nmseal 0+0.1..0+0 => ENOSYS\nmseal-unknown-flag 0+0..0+1 => ENOSYS\n    => 0+0 |.|\n",
    )
    .on(6, 1, X86_64),
    Case::new(
        &mseal::UNKNOWN_FLAG,
        "mmap 0+0..0+1 rw private fixed\nmseal-unknown-flag 0+0..0+1 => EINVAL\nmseal-unknown-flag 0+0..0+0 => EINVAL\n",
    )
    .flags(&[(0, "!sl")]),
    Case::new(
        &mseal::HOLE,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+3..0+4 rw private fixed\nmseal 0+1..0+4 => ENOMEM\n    => 0+0 |..|_|.|\n\
         mseal 0-1..0+1 => ENOMEM\nmseal 0+3..0+5 => ENOMEM\n",
    )
    .flags(&[(0, "!sl"), (3, "!sl")]),
    // The VMA before the sealed one has been split by then.
    Case::new(
        &mseal::UNMAP,
        "mmap 0+0..0+6 rw private fixed\nwrite 0+0..0+6 tag 1\nmseal 0+2..0+4\nmunmap 0+1..0+6 => EPERM\n    => 0+0 |a|a|aa|aa|\n",
    ),
    Case::new(
        &mseal::UNMAP,
        "mmap 0+0..0+6 rw private fixed\nwrite 0+0..0+6 tag 1\nmseal 0+2..0+4\nmunmap 0+3..0+6 => EPERM\n    => 0+0 |aa|aa|aa|\n\
         mmap 0+3..0+4 r private fixed => EPERM\n    => 0+0 |aa|aa|aa|\nmmap 0+3..0+4 r private noreplace => EEXIST\n\
         munmap 0+4..0+5 => ok\n    => 0+0 |aa|aa|_|a|\n",
    ),
    Case::new(
        &mseal::PROTECT,
        "mmap 0+0..0+4 rw private fixed\nmseal 0+2..0+3\nmprotect 0+1..0+4 r => EPERM\n    => 0+0 |rw-p .|r--p .|rw-p .|rw-p .|\n\
         mprotect 0+2..0+3 rw => EPERM\n",
    ),
    Case::new(
        &mseal::DISCARD,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nmprotect 0+2..0+4 r\nmlock 0+3..0+4\nmseal 0+0..0+4\n\
         dontneed 0+0..0+4 => EPERM\n    => 0+0 |..|a|a|\nguard-install 0+3..0+4 => EPERM\ndontneed-locked 0+3..0+4 => EPERM\n\
         dontfork 0+2..0+3 => EPERM\nwipeonfork 0+2..0+3 => EPERM\nguard-remove 0+2..0+3 => ok\nrandom 0+2..0+3 => ok\n\
         guard-install 0+0..0+1 => ok\n",
    ),
    Case::new(
        &mseal::DISCARD,
        "mmap 0+0..0+2 none private fixed\nmmap 0+2..0+4 r shared fixed\nmseal 0+0..0+4\nguard-install 0+2..0+3 => ok\n\
         guard-install 0+0..0+1 => EPERM\n    => 0+0 |..|G.|\n",
    ),
];
