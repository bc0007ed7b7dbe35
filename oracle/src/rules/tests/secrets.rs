//! Secret memory.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::secret;

pub(super) const CASES: &[Case] = &[
    Case::new(
        &secret::MAPS,
        "mmap 0+0..0+4 rw shared secret0 fixed\nmmap 0+4..0+8 rx shared secret0 fixed\n    => EPERM\n    => 0+0 |rw-s ....|_\n\
         mprotect 0+0..0+4 rx\n    => EACCES\nwrite 0+0..0+1 tag 1 => ok\nread 0+0..0+2 => reads 1 0\n",
    )
    .flags(&[(0, "dd !me !lo")]),
    Case::new(
        &secret::MAPS,
        "mmap 0+0..0+4 rw shared secret0 fixed\ndodump 0+0..0+2\n    => 0+0 |..|..|\n",
    )
    .flags(&[(0, "!dd"), (2, "dd")]),
    Case::new(
        &secret::MERGES,
        "mmap 0+2..0+4 rw shared secret0+2 fixed\nmmap 0+0..0+2 rw shared secret0 fixed\n    => 0+0 |..|..|_\n\
         mmap 0+4..0+6 rw shared secret0+4 fixed\n    => 0+0 |..|....|_\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &secret::MAPS,
        "mmap 0+2..0+4 rw shared secret0+2 fixed\nmmap 0+0..0+2 rw shared secret0 fixed\n    => 0+0 |....|_\n",
    ),
    Case::new(
        &secret::LOCKED,
        "mmap 0+0..0+4 rw shared secret0 fixed\nguard-install 0+0..0+1\n    => EINVAL\nmmap 1+0..1+4 rw private fixed\n\
         mmap 1+0..3+0 rw shared secret0 fixed\n    => EAGAIN\n    => 1+0 ____\n",
    )
    .on(6, 17, X86_64)
    .flags(&[(0, "dd lo")]),
    Case::new(
        &secret::ALONE,
        "mmap 0+0..0+4 rw shared secret0 fixed\nwrite 0+0..0+3 tag 1\ndontneed 0+0..0+4\nread 0+1..0+2\n    => 0+0 |.f..|\n",
    )
    .resident(&[(0, 3)]),
    Case::new(
        &secret::OUT_OF_REACH,
        "mmap 0+0..0+4 rw shared secret0 fixed populate\npopulate-read 0+0..0+2\n    => EINVAL\npopulate-write 0+0..0+2\n    => EINVAL\n\
         mlock 0+0..0+2\n    => ENOMEM\n    => 0+0 |....|\n",
    ),
    Case::new(
        &secret::LOCK_STAYS,
        "mmap 0+0..0+4 rw shared secret0 fixed locked\nmunlock 0+0..0+2\n    => ok\n    => 0+0 |....|\n",
    )
    .flags(&[(0, "lo")]),
    Case::new(
        &secret::LENGTH_STAYS,
        "mmap 0+0..0+4 rw shared secret0 fixed\ntruncate secret0 24\n    => EINVAL\ntruncate secret0 2\n    => EINVAL\n    => 0+0 |....|\n",
    ),
];
