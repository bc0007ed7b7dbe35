//! Files that shrink, grow, lose pages to holes, and are sealed.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{merge, mprotect, resize, seal};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &resize::SHRINK,
        "mmap 0+0..0+4 rw shared memfd0 fixed\nmmap 0+8..0+12 rw private memfd0 fixed\nread 0+0..0+4\nwrite 0+8..0+12 tag 1\nfork 1\n\
         1: truncate memfd0 2 => ok\n    => 0: 0+0 |rw-s ff..|____|rw-p ss..|\nread 0+1..0+3 => SIGBUS ADRERR 0+2\nread 0+8..0+11 => SIGBUS ADRERR 0+10\n",
    ),
    Case::new(
        &resize::GROW,
        "mmap 0+0..0+4 rw shared ramfs0+23 fixed\nread 0+0..0+4 => SIGBUS ADRERR 0+1\ntruncate ramfs0 25 => ok\n    => 0+0 |f...|\n\
         read 0+0..0+4 => SIGBUS ADRERR 0+2\ntruncate ramfs0 25 => ok\ntruncate ramfs0 0\n    => 0+0 |....|\ntruncate ramfs0 24\nread 0+0..0+1 => reads 0\n",
    )
    .resident(&[(0, 1)]),
    Case::new(
        &resize::HOLE,
        "mmap 0+0..0+4 rw shared memfd0 fixed\nmmap 0+8..0+12 rw private memfd0 fixed\nread 0+0..0+4\nread 0+8..0+9\nwrite 0+9..0+10 tag 1\n\
         punch-hole memfd0 0..2 => ok\n    => 0+0 |rw-s ..mm|____|rw-p .amm|\nread 0+8..0+12 => reads 0 1 1000*2\nread 0+0..0+4 => reads 0*2 1000*2\n\
         punch-hole memfd0 1..1 => EINVAL\npunch-hole memfd0 100..101 => ok\n",
    ),
    Case::new(
        &resize::NO_HOLES,
        "mmap 0+0..0+2 rw shared ramfs0 fixed\nread 0+0..0+2\npunch-hole ramfs0 0..1 => EOPNOTSUPP\nremove 0+0..0+1 => EOPNOTSUPP\n    => 0+0 |ff|\n",
    ),
    Case::new(
        &resize::KEEPS_GUARDS,
        "mmap 0+0..0+4 rw shared memfd0 fixed\nguard-install 0+1..0+3\nremove 0+0..0+2 => ok\ntruncate memfd0 2\n    => 0+0 |.GG.|\ntruncate memfd0 24\n\
         guard-remove 0+0..0+4\nread 0+0..0+4 => reads 0*4\n",
    ),
    Case::new(
        &resize::REMOVE,
        "mmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+4 tag 1\nfork 1\n1: remove 0+1..0+3 => ok\n    => 0: 0+0 |f..f|\nread 0+0..0+4 => reads 1 0*2 1\n\
         mmap 0+4..0+6 rw private fixed\nremove 0+3..0+6 => EINVAL\n    => 0+0 |rw-s fff.|rw-p ..|\nmmap 0+4..0+6 rw private memfd0 fixed\n\
         remove 0+4..0+6 => EACCES\nmmap 0+4..0+6 r shared memfd0 readonly fixed\nremove 0+4..0+6 => EACCES\nmmap 0+4..0+6 r shared memfd0 fixed\n\
         remove 0+4..0+6 => ok\nread 0+4..0+6 => reads 0*2\n",
    ),
    Case::new(
        &seal::ADDS,
        "seal ramfs0 shrink => EINVAL\nseal memfd0 seal => ok\nseal memfd0 grow => EPERM\nseal memfd1 seal grow => ok\ntruncate memfd1 25 => EPERM\n",
    ),
    Case::new(
        &seal::BUSY,
        "mmap 0+0..0+2 r shared memfd0 fixed\nseal memfd0 write => EBUSY\nseal memfd0 future-write => ok\nmmap 0+0..0+2 r shared memfd0 readonly fixed\n\
         mmap 0+2..0+4 rw private memfd0 fixed\nseal memfd0 write => ok\n",
    ),
    Case::new(
        &seal::NO_WRITERS,
        "seal memfd0 write => ok\nmmap 0+0..0+2 rw private fixed\nmmap 0+0..0+2 rw shared memfd0 fixed => EPERM\n    => 0+0 |rw-p ..|\n\
         mmap 0+2..0+4 r shared memfd0 fixed => ok\nguard-install 0+2..0+3 => ok\nmprotect 0+2..0+4 rw => EACCES\nmmap 0+4..0+6 rw private memfd0 fixed => ok\n\
         write 0+4..0+6 tag 1 => ok\n",
    )
    .flags(&[(2, "sh ms !mw gu"), (4, "mw")]),
    Case::new(
        &mprotect::MAY_WRITE,
        "mmap 0+0..0+2 r shared memfd0 fixed\nseal memfd0 future-write => ok\nmmap 0+2..0+4 r shared memfd0+2 fixed\n    => 0+0 |..|..|\n\
         mprotect 0+0..0+4 rw => EACCES\n    => 0+0 |rw-s ..|r--s ..|\n",
    ),
    Case::new(
        &merge::NEW_LEFT,
        "seal memfd0 future-write\nmmap 0+0..0+2 r shared memfd0 fixed\nmmap 0+2..0+4 r shared memfd0+2 fixed\n    => 0+0 |....|\n",
    ),
    Case::new(
        &seal::LATE,
        "mmap 0+0..0+2 rw shared memfd0 fixed\nmmap 0+2..0+6 r private fixed\nseal memfd0 future-write\nmmap 0+4..0+6 rw shared memfd0 fixed => EPERM\n\
         => 0+0 |rw-s ..|r--p ..|__\nmmap 0+2..0+4 rw shared memfd0+2 fixed => ok\n    => 0+0 |rw-s ....|__\n",
    )
    .on(6, 1, X86_64),
    Case::new(
        &seal::KEEPS_LENGTH,
        "seal memfd0 shrink\ntruncate memfd0 23 => EPERM\ntruncate memfd0 25 => ok\nseal memfd0 grow\ntruncate memfd0 26 => EPERM\ntruncate memfd0 25 => ok\n",
    ),
    Case::new(
        &seal::KEEPS_CONTENTS,
        "mmap 0+0..0+2 rw shared memfd0 fixed\nseal memfd0 future-write\nremove 0+0..0+1 => EPERM\npunch-hole memfd0 0..1 => EPERM\n\
         write 0+0..0+1 tag 1 => ok\nread 0+0..0+2 => reads 1 1000\n",
    ),
];
