//! Protection keys.

use super::Case;
use crate::profile::Arch::{Aarch64, X86_64};
use crate::rules::pkey;

pub(super) const CASES: &[Case] = &[
    Case::new(
        &pkey::SETS,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nwrite 0+0..0+6 tag 1\nguard-install 0+5..0+6\npkey-mprotect 0+2..0+4 rw no-write\n    => ok\n\
         => 0+0 |rw-p aa|aa|aG|\npkey-mprotect 0+2..0+4 rw no-write\n    => ok\npkey-mprotect 0+2..0+4 rw default\n    => 0+0 |aaaaaG|\n",
    ),
    Case::new(
        &pkey::SETS,
        "mmap 0+0..0+4 rw private fixed\npkey-mprotect 0+0..0+2 rw open\n    => 0+0 |..|..|\npkey-mprotect 0+2..0+4 rw open\n    => 0+0 |....|\n",
    ),
    Case::new(
        &pkey::INHERITED,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\npkey-mprotect 0+0..0+2 rw no-access\nmprotect 0+0..0+2 r\n    => ok\nread 0+0..0+1\n    => SIGSEGV PKUERR 0+0\n\
         mremap 0+0..0+2 1+0..1+2 fixed\nread 1+1..1+2\n    => SIGSEGV PKUERR 1+1\nfork 1\n1: read 1+0..1+1\n    => SIGSEGV PKUERR 1+0\n\
         pkey-mprotect 1+0..1+2 r as-is\nread 1+0..1+1\n    => SIGSEGV PKUERR 1+0\n    => 1+0 |..|\n",
    ),
    Case::new(
        &pkey::UNALLOCATED,
        "mmap 0+0..0+4 rw private fixed\npkey-mprotect 0+0..0+2 r unknown\n    => EINVAL\npkey-mprotect 1+0..1+2 r unknown\n    => EINVAL\n\
         pkey-mprotect 0+0..0+0 r unknown\n    => ok\npkey-mprotect 0+2..0+0 r unknown\n    => ENOMEM\n    => 0+0 |rw-p ....|\n",
    ),
    Case::new(
        &pkey::UNALLOCATED,
        "mmap 0+0..0+4 rw private fixed\npkey-mprotect 0+0..0+2 r open\n    => EINVAL\npkey-mprotect 0+0..0+2 r default\n    => ok\n    => 0+0 |r--p ..|rw-p ..|\n",
    )
    .on(7, 3, Aarch64),
    Case::new(
        &pkey::MISSING,
        "mmap 0+0..0+4 rw private fixed\npkey-mprotect 0+0..0+2 r as-is\n    => ENOSYS\n    => 0+0 |rw-p ....|\n",
    )
    .on(6, 1, Aarch64),
    Case::new(
        &pkey::DENIED,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\npkey-mprotect 0+0..0+3 rw no-write\nwrite 0+0..0+1 tag 1\n    => SIGSEGV PKUERR 0+0\n\
         read 0+0..0+2\n    => SIGSEGV MAPERR 0+1\nwrite 0+1..0+2 tag 1\n    => SIGSEGV PKUERR 0+1\npkey-mprotect 0+0..0+3 none no-access\nread 0+2..0+3\n    => SIGSEGV PKUERR 0+2\n\
         => 0+0 |---p zG.|rw-p .|\n",
    ),
    Case::new(
        &pkey::FAULTS_NOTHING_IN,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\npkey-mprotect 0+0..0+2 rw no-write\npopulate-write 0+0..0+1\n    => EINVAL\npopulate-read 0+0..0+1\n    => ok\n\
         mlock 0+1..0+2\n    => ENOMEM\npkey-mprotect 0+2..0+4 rw no-access\npopulate-read 0+2..0+3\n    => EINVAL\n    => 0+0 |z|.|..|\n",
    ),
    Case::new(
        &pkey::KERNEL,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\npkey-mprotect 0+0..0+2 rw no-access\npipe-write 0+0..0+1\n    => EFAULT\nvmsplice 0+0..0+1\n    => EFAULT\n\
         vm-read 0+0..0+1\n    => ok\n    => reads 1\nmem-write 0+0..0+1 tag 2\n    => ok\npkey-mprotect 0+0..0+2 rw no-write\nread 0+0..0+2\n    => reads 2 1\n\
         pipe-read 0+0..0+1 tag 3\n    => EFAULT\npipe-write 0+0..0+1\n    => ok\n",
    ),
    Case::new(
        &pkey::SEALED,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\npkey-mprotect 0+0..0+2 rw no-write\nmseal 0+0..0+4\ndontneed 0+0..0+2\n    => EPERM\nguard-install 0+0..0+1\n    => EPERM\n\
         dontneed 0+2..0+3\n    => ok\n    => 0+0 |aa|.a|\n",
    )
    .on(7, 3, X86_64),
];
