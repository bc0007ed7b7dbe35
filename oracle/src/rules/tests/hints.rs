//! madvise that sets flags, and what fork makes of them.

use super::Case;
use crate::rules::{fork, hints, madvise, merge};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &hints::READ_AHEAD,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nrandom 0+0..0+2\n    => 0+0 |.G|..|\nsequential 0+0..0+1\n\
         => 0+0 |.|G|..|\n",
    )
    .flags(&[(0, "sr !rr"), (1, "rr !sr gu"), (2, "!rr !sr gu")]),
    Case::new(
        &hints::READ_AHEAD,
        "mmap 0+0..0+4 rw shared fixed\nrandom 0+0..0+2\nnormal 0+0..0+2\n    => 0+0 |....|\n",
    )
    .flags(&[(0, "!rr !sr")]),
    Case::new(
        &hints::DUMP,
        "mmap 0+0..0+4 rw private fixed\ndontdump 0+0..0+4\ndodump 0+2..0+4\n    => 0+0 |..|..|\n",
    )
    .flags(&[(0, "dd"), (2, "!dd")]),
    Case::new(
        &hints::FORK,
        "mmap 0+0..0+4 rw shared fixed\ndontfork 0+0..0+4\ndofork 0+2..0+4\n    => 0+0 |..|..|\n",
    )
    .flags(&[(0, "dc"), (2, "!dc")]),
    Case::new(
        &hints::WIPE,
        "mmap 0+0..0+2 rw private fixed\nguard-install 0+0..0+1\nmmap 0+2..0+4 rw shared fixed\nwipeonfork 0+0..0+4\n    => EINVAL\n\
         => 0+0 |G.|..|\n",
    )
    .flags(&[(0, "wf gu"), (2, "!wf")]),
    Case::new(
        &hints::WIPE,
        "mmap 0+0..0+2 rw private fixed\nwipeonfork 0+0..0+2\nkeeponfork 0+0..0+1\n    => 0+0 |.|.|\n",
    )
    .flags(&[(0, "!wf"), (1, "wf")]),
    Case::new(
        &hints::KSM,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw shared fixed\nmergeable 0+0..0+4\n    => ok\nunmergeable 0+0..0+1\n\
         => 0+0 |.|.|..|\n",
    )
    .flags(&[(0, "!mg"), (1, "mg"), (2, "!mg")]),
    Case::new(
        &hints::WILLNEED,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nwrite 0+2..0+3 tag 1\nwillneed 0+0..0+4\n    => ok\n\
         => 0+0 |.Ga.|\n",
    ),
    Case::new(
        &madvise::UNKNOWN,
        "mmap 0+0..0+4 rw private fixed\nunknown-advice 0+4..0+4\n    => EINVAL\n",
    ),
    Case::new(
        &madvise::DONTNEED,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\ndontneed-locked 0+1..0+3\n    => 0+0 |a..a|\n",
    ),
    Case::new(
        &fork::LEAVES_OUT,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+3\ndontfork 0+2..0+4\nfork 1\n    => 1: 0+0 |.G|__\n    => 0+0 |.G|G.|\n",
    ),
    // The guard is gone in the child, its VMA keeps `gu`; nothing faults there.
    Case::new(
        &fork::WIPES,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nwrite 0+0..0+1 tag 1\nwipeonfork 0+0..0+4\nfork 1\n\
         => 1: 0+0 |....|\n    => 0+0 |aG..|\n1: read 0+1..0+2\n    => ok\n",
    ),
    // Without an anon_vma the child's VMA merges with new memory that has the same flags.
    Case::new(
        &fork::WIPES,
        "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+1 tag 1\nwipeonfork 0+0..0+2\nfork 1\n\
         1: mmap 0+2..0+4 rw private fixed\n1: wipeonfork 0+2..0+4\n    => 1: 0+0 |....|\n",
    ),
    // Memory with other hints does not merge.
    Case::new(
        &merge::SPLIT,
        "mmap 0+0..0+2 rw private fixed\nrandom 0+0..0+2\nmmap 0+2..0+4 rw private fixed\nrandom 0+3..0+4\n    => 0+0 |..|.|.|\n",
    ),
];
