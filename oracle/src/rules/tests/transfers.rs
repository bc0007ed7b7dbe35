//! Memory that the kernel reads and writes for a caller; process_madvise.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{process_madvise, transfer};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &transfer::FAULTS_IN,
        "mmap 0+0..0+4 rw private fixed\npipe-write 0+0.100..0+2.100 => ok; reads 0*2\n    => 0+0 |zzz.|\n\
         memfd-read 0+1.8..0+3.4 tag 1 => ok\n    => 0+0 |zaaa|\nread 0+0..0+3 => reads 0*2 1\n\
         vm-write 0+0..0+1 0+3..0+4 tag 2 => ok\nvm-read 0+3..0+4 0+2..0+2 0+0..0+2 => ok; reads 2*2 0\nvmsplice 0+2.4..0+2.100 => ok; reads 0\n",
    ),
    Case::new(
        &transfer::UNMAPPED,
        "mmap 0+0..0+2 rw private fixed\nmemfd-write 0+1..0+3 => up-to 0+2; reads 0\nmemfd-write 0+2..0+3 => EFAULT\n\
         mem-read 0+2..0+3 => EIO\nmem-read 0+1.5..0+3 => up-to 0+2\nvm-read 0+1..0+2 0+2..0+3 0+0..0+1 => up-to 0+2\n\
         vmsplice 0-1..0+1 => EFAULT\npipe-read 0+3..0+3 tag 1 => ok\n",
    ),
    Case::new(
        &transfer::TO_THE_BYTE,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nguard-install 0+2..0+3\nmemfd-write 0+0.4093..0+2.5 => up-to 0+2; reads 1\n\
         memfd-read 0+1.3..0+3.1 tag 2 => up-to 0+2\nvm-write 0+0..0+1 0+1..0+3 tag 3 => up-to 0+2\nmem-write 0+1.4000..0+3 tag 4 => up-to 0+2\n\
         vmsplice 0+0.1..0+4 => up-to 0+2\nread 0+0..0+2 => reads 3*2\n",
    ),
    Case::new(
        &transfer::WHOLE_CHUNKS,
        "mmap 0+0..0+6 rw private fixed\nguard-install 0+4..0+5\npipe-write 0+0..0+6 => up-to 0+4; reads 0*4\npipe-write 0+3.4088..0+4.8 => EFAULT\n\
         pipe-read 0+1.100..0+5 tag 1 => up-to 0+3.100\n    => 0+0 |zaaaG.|\nread 0+0..0+4 => reads 0*2 1*2\n\
         pipe-read 0+3.2048..0+5 tag 2 => EFAULT\n",
    ),
    Case::new(
        &transfer::DENIED,
        "mmap 0+0..0+2 r private fixed\nmmap 0+2..0+3 w private fixed\nmmap 0+3..0+4 none private fixed\nmmap 0+4..0+5 x private fixed\n\
         pipe-read 0+0..0+1 tag 1 => EFAULT\npipe-write 0+1..0+4 => up-to 0+3\n    => 0+1 <r--p z|-w-p z|---p .|\nmemfd-write 0+4..0+5 => EFAULT\n",
    ),
    Case::new(
        &transfer::VMA_FORBIDS,
        "mmap 0+0..0+2 w private fixed\nwrite 0+0..0+1 tag 1\nvm-read 0+0..0+1 => EFAULT\nvm-write 0+0..0+1 tag 2 => ok\n\
         vmsplice 0+1..0+2 => EFAULT\n    => 0+0 |a.|\n",
    ),
    Case::new(
        &transfer::FAST,
        "mmap 0+0..0+3 rw private fixed\nwrite 0+0..0+2 tag 1\nread 0+2..0+3\nmprotect 0+0..0+3 w\nvmsplice 0+0..0+3 => up-to 0+2; reads 1*2\n",
    ),
    Case::new(
        &transfer::FORCES,
        "mmap 0+0..0+2 none private fixed\nmmap 0+2..0+4 r private ramfs0 fixed\nmem-read 0+0..0+1 => ok; reads 0\nmem-write 0+1.4..0+4 tag 1 => ok\n\
         => 0+0 |---p za|r--p aa|\nread 0+2..0+4 => reads 1*2\nread 0+0..0+1 => SIGSEGV ACCERR\n",
    )
    .on(7, 0, X86_64),
    Case::new(
        &transfer::FORCE_NOT_SHARED,
        "mmap 0+0..0+2 r shared memfd0 fixed\nmem-write 0+0..0+1 tag 1 => EIO\nmem-read 0+0..0+1 => ok; reads 1000\n",
    )
    .on(7, 0, X86_64),
    Case::new(
        &transfer::GUARD,
        "mmap 0+0..0+3 rw private fixed\nguard-install 0+1..0+2\nfork 1\npipe-write 0+1..0+2 => EFAULT\nmem-write 0+1..0+2 tag 1 => EIO\n\
         vm-read 0+0..0+3 of 1 => up-to 0+1\n    => 1: 0+0 |zG.|\n    => 0+0 |.G.|\nmemfd-read 0+0..0+3 tag 2 => up-to 0+1\n    => 0+0 |aG.|\n",
    ),
    Case::new(
        &transfer::PIN_UNSHARES,
        "thp madvise\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\nmem-read 0+0..0+1\n    => 0+0 |ss.*pmd-2|\n\
         vm-read 0+0..0+1 => ok; reads 1\n    => 0+0 |as.*pmd-2|\n    => 1: 0+0 |as.*pmd-2|\n",
    ),
    Case::new(
        &transfer::PIN_UNSHARES,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nclear-soft-dirty\nwrite 0+1..0+2 tag 2\nfork 1\n\
         vm-read 0+0..0+2 => ok; reads 1 2\n    => 0+0 |aa|\n",
    )
    .soft_dirty(&[(0, false), (1, true)]),
    Case::new(
        &process_madvise::VECTOR,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nprocess-madvise dontneed 0+3..0+4 0+0..0+1.5 => ok\n    => 0+0 |..a.|\n\
         process-madvise guard-install 0+0..0+1 0+2..0+3 => ok\n    => 0+0 |G.G.|\nprocess-madvise guard-remove 0+0..0+4 => ok\n    => 0+0 |....|\n",
    ),
    Case::new(
        &process_madvise::STOPS,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+3..0+5 rw private fixed\nwrite 0+0..0+2 tag 1\nwrite 0+3..0+5 tag 2\n\
         process-madvise dontneed 0+0..0+1 0+1..0+4 0+4..0+5 => up-to 0+1\n    => 0+0 |..|_|.a|\n\
         process-madvise dontneed 0+1..0+4 0+4..0+5 => ENOMEM\nprocess-madvise dontneed 0+4.1..0+5 => EINVAL\n    => 0+0 |..|_|.a|\n",
    ),
    Case::new(
        &process_madvise::EMPTY,
        "mmap 0+0..0+2 rw private fixed\nprocess-madvise dontneed 0+0.1..0+0.1 => ok\n\
         process-madvise dontneed 0+0.1..0+0.1 0+0..0+1 => EINVAL\nprocess-madvise dontneed 0+0..0+1 0+0.1..0+0.1 0+1..0+2 => ok\n\
         process-madvise unknown-advice 0+0..0+0 => EINVAL\n",
    ),
    Case::new(
        &process_madvise::FLAGS,
        "mmap 0+0..0+2 rw private fixed\nprocess-madvise-unknown-flag guard-install 0+0..0+2 => EINVAL\n    => 0+0 |..|\n",
    ),
    Case::new(
        &process_madvise::FEW,
        "user root\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\n1: process-madvise guard-install 0+0..0+1 of 0 => EINVAL\n\
         process-madvise dontneed 0+0..0+1 of 1 => EINVAL\nprocess-madvise cold 0+0..0+1 of 1 => ok\n    => 1: 0+0 |ss|\n",
    ),
    Case::new(
        &process_madvise::NICE,
        "mmap 0+0..0+2 rw private fixed\nfork 1\nprocess-madvise willneed 0+0..0+1 of 1 => EPERM\nprocess-madvise willneed 0+0..0+1 of 0 => ok\n\
         process-madvise free 0+0..0+1 of 1 => EINVAL\n",
    ),
    Case::new(
        &process_madvise::NICE_FOR_ALL,
        "mmap 0+0..0+2 rw private fixed\nprocess-madvise willneed 0+0..0+1 => EPERM\nprocess-madvise dontneed 0+0..0+1 => EINVAL\n",
    )
    .on(6, 1, X86_64),
];
