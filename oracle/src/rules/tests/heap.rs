//! brk.

use super::Case;
use crate::profile::Arch::Aarch64;
use crate::rules::brk;

pub(super) const CASES: &[Case] = &[
    Case::new(
        &brk::GROWS,
        "thp never\n\nbrk 2+4\n    => ok\n    => 2+0 |rw-p ....|_\nwrite 2+0..2+4 tag 1\nguard-install 2+2..2+3\nbrk 2+6.8\n    => ok\n    => 2+0 |aaGa...|_\n\
         fork 1\n1: brk 2+8\n    => ok\n    => 1: 2+0 |ssGs...|.|_\n",
    )
    .flags(&[(1024, "ac rd wr !ex")]),
    Case::new(
        &brk::GROWS,
        "thp never\n\nmmap 2-2..2+0 rw private fixed\nbrk 2+2\n    => 2-2 ..|..|_\nmprotect 2+0..2+2 r\nbrk 2+4\n    => 2-2 ..|r--p ..|rw-p ..|_\n",
    ),
    Case::new(&brk::GROWS, "brk 2+2\nmmap 2+2..2+4 rw private fixed\n    => 2+0 |....|_\n"),
    Case::new(&brk::GROWS, "brk 2+2\nmmap 2+2..2+4 rw private fixed\n    => 2+0 |..|..|_\nbrk 2+1\n    => ok\n    => 2+0 |.|_|..|_\n")
        .on(7, 3, Aarch64),
    Case::new(
        &brk::SHRINKS,
        "thp never\n\nbrk 2+6\nwrite 2+0..2+6 tag 1\nguard-install 2+3..2+5\nbrk 2+2\n    => ok\n    => 2+0 |aa|____\nbrk 2+6\n    => ok\n    => 2+0 |aa....|_\n\
         read 2+2..2+6\n    => reads 0*4\n",
    ),
    Case::new(
        &brk::SAME_PAGE,
        "thp never\n\nbrk 2+0.8\n    => 2+0 |.|_\nbrk 2+0.4095\n    => ok\nbrk 2+1\n    => ok\n    => 2+0 |.|_\nbrk 2+0.1\n    => ok\n    => 2+0 |.|_\n",
    ),
    Case::new(
        &brk::REFUSED,
        "thp never\n\nbrk 2-1\n    => ENOMEM\nmmap 2+4..2+6 rw private fixed\nguard-install 2+4..2+5\nbrk 2+4\n    => ENOMEM\nbrk 2+3\n    => ok\nmunmap 2+0..2+3\n\
         brk 2+1\n    => ENOMEM\nmmap 2+2..2+3 rw private fixed\nbrk 2+1\n    => ok\n    => 2+0 ____|rw-p G.|_\n",
    ),
    Case::new(
        &brk::LOCKED,
        "thp never\n\nmlockall future onfault\nbrk 2+2\n    => 2+0 |..|_\nmlockall future\nbrk 2+4\n    => ok\n    => 2+0 |..|aa|_\nmmap 0+0..2-6 rw private fixed\nbrk 2+14\n    => ENOMEM\n    => 2+0 |..|aa|_\n",
    )
    .flags(&[(1024, "lo lf"), (1026, "lo !lf")]),
];
