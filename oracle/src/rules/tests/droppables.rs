//! Droppable memory.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::droppable;

pub(super) const CASES: &[Case] = &[
    Case::new(
        &droppable::MAPS,
        "thp never\n\nmmap 0+0..0+4 rw droppable fixed\nwrite 0+0..0+2 tag 1\nguard-install 0+1..0+2\n    => 0+0 |rw-p aG..|\n\
         mmap 0+0..0+4 rw droppable fixed locked\n    => EINVAL\nread 0+0..0+1 => reads 1\nfork 1\n    => 1: 0+0 |....|\n",
    )
    .flags(&[(0, "dp nr wf dd !ac")]),
    Case::new(
        &droppable::MAPS,
        "mmap 0+0..0+4 rw private fixed\nmmap 0+0..0+4 rw droppable fixed\n    => EINVAL\n    => 0+0 |....|\n",
    )
    .on(6, 6, X86_64),
    Case::new(
        &droppable::ADVICE,
        "mmap 0+0..0+4 rw droppable fixed\nkeeponfork 0+0..0+2\n    => EINVAL\ndodump 0+0..0+2\n    => EINVAL\n\
         mergeable 0+0..0+2\n    => ok\n    => 0+0 |....|\n",
    )
    .flags(&[(0, "wf dd !mg")]),
    Case::new(
        &droppable::ALWAYS_FREE,
        "thp never\n\nmmap 0+0..0+4 rw droppable fixed\nwrite 0+0..0+2 tag 1\nwrite 0+0..0+2 tag 2\nread 0+2..0+3\npageout 0+0..0+4\n    => ok\n\
         => 0+0 |..z.|\nread 0+0..0+1 => reads 0\n",
    ),
    Case::new(
        &droppable::ALWAYS_FREE,
        "thp always\n\nmmap 0+0..1+0 rw droppable fixed\nwrite 0+0..0+2 tag 1\npageout 0+0..1+0\n    => 0+0 |.*pmd|\n",
    ),
    Case::new(
        &droppable::NOT_LOCKED,
        "thp never\n\nmmap 0+0..0+4 rw droppable fixed\nmlock-onfault 0+0..0+2\n    => ok\n    => 0+0 |aa..|\n",
    )
    .flags(&[(0, "!lo")]),
    Case::new(
        &droppable::NEW_IS_LOCKED,
        "thp never\n\nmlockall future onfault\nmmap 0+0..0+2 rw droppable fixed\n    => ok\n    => 0+0 |aa|\n",
    )
    .flags(&[(0, "!lo")]),
    Case::new(
        &droppable::NEW_IS_LOCKED,
        "thp never\n\nmlockall future onfault\nmmap 0+0..0+2 rw droppable fixed\nmunlockall\n    => ok\n    => 0+0 |..|\n",
    )
    .on(6, 17, X86_64)
    .flags(&[(0, "lo lf")]),
    Case::new(
        &droppable::NEW_IS_LOCKED,
        "thp never\n\nmmap 0+0..0+2 rw droppable fixed\nmlockall future onfault\nmmap 0+2..0+4 rw droppable fixed\n    => ok\n\
         => 0+0 |rw-p ..|rw-p aa|\nmunlockall\nmmap 0+4..0+6 rw droppable fixed\n    => 0+0 |rw-p ..|rw-p aa..|\n",
    )
    .flags(&[(2, "!lo")]),
];
