//! madvise POPULATE_READ and POPULATE_WRITE.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::populate;

pub(super) const CASES: &[Case] = &[
    Case::new(
        &populate::LIKE_ACCESS,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+1..0+2 tag 1\npopulate-read 0+0..0+3\n    => ok\n    => 0+0 |zaz.|\n\
         populate-write 0+0..0+2\n    => 0+0 |aaz.|\nread 0+0..0+2 => reads 0 1\n",
    ),
    // A copy is made for the writer, with the same content.
    Case::new(
        &populate::LIKE_ACCESS,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\n    => 0: 0+0 |ss|\n\
         populate-write 0+0..0+1\n    => 0: 0+0 |as|\n    => 1: 0+0 |as|\nread 0+0..0+1 => reads 1\n1: read 0+0..0+1 => reads 1\n",
    ),
    Case::new(
        &populate::LIKE_ACCESS,
        "mmap 0+0..0+2 rw shared fixed\npopulate-write 0+0..0+1\n    => 0+0 |f.|\nread 0+0..0+1 => reads 0\n",
    ),
    Case::new(
        &populate::LIKE_ACCESS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\npopulate-write 0+1..0+2\n    => 0+0 |AAAA\n",
    ),
    Case::new(
        &populate::GUARD,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nguard-install 0+2..0+3\npopulate-write 0+0..0+4\n    => EFAULT\n    => 0+0 |aaG.|\n",
    ),
    Case::new(
        &populate::GUARD,
        "mmap 0+0..0+4 rw shared fixed\nguard-install 0+1..0+2\npopulate-read 0+0..0+4\n    => EFAULT\n    => 0+0 |fG..|\n",
    ),
    Case::new(
        &populate::HOLE,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+3..0+4 rw private fixed\npopulate-read 0+0..0+4\n    => ENOMEM\n\
         => 0+0 |zz|_|.|\n",
    ),
    Case::new(
        &populate::OVER_HOLES,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+3..0+4 rw private fixed\npopulate-write 0-4..0+8\n    => ENOMEM\n\
         => 0+0 |aa|_|a|\n",
    )
    .on(6, 1, X86_64),
    Case::new(
        &populate::DENIED,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r private fixed\npopulate-write 0+0..0+4\n    => EINVAL\n\
         => 0+0 |aa|..|\npopulate-read 0+2..0+4\n    => ok\n",
    ),
    Case::new(
        &populate::DENIED,
        "mmap 0+0..0+2 w private fixed\npopulate-read 0+0..0+2\n    => EINVAL\n    => 0+0 |..|\nread 0+0..0+1 => ok\n",
    ),
];
