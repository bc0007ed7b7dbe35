//! Loads and stores, shared memory, huge pages, fork and exit.

use super::Case;
use crate::profile::Arch::{Aarch64, X86_64};
use crate::rules::{access, file, fork, thp};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &access::VALUE,
        "mmap 0+0..0+3 rw private fixed\nwrite 0+0..0+2 tag 1\nwrite 0+1..0+2 tag 2\nread 0+0..0+3 => reads 1 2 0\n",
    ),
    Case::new(
        &access::UNMAPPED,
        "mmap 0+0..0+1 rw private fixed\nread 0+0..0+2 => SIGSEGV MAPERR 0+1\nwrite 0-1..0+0 tag 1 => SIGSEGV MAPERR 0-1\n",
    ),
    Case::new(
        &access::DENIED,
        "mmap 0+0..0+3 none private fixed\nguard-install 0+0..0+3\nread 0+0..0+1 => SIGSEGV ACCERR 0+0\nmprotect 0+1..0+2 r\n\
         write 0+1..0+2 tag 1 => SIGSEGV ACCERR 0+1\nread 0+1..0+2 => SIGSEGV MAPERR 0+1\nmprotect 0+2..0+3 w\nguard-remove 0+2..0+3\nread 0+2..0+3 => reads 0\n",
    ),
    Case::new(
        &access::PKEY,
        "mmap 0+0..0+1 x private fixed\nread 0+0..0+1 => SIGSEGV PKUERR\nwrite 0+0..0+1 tag 1 => SIGSEGV PKUERR\n",
    ),
    Case::new(
        &access::EXEC_ONLY,
        "mmap 0+0..0+1 x private fixed\nread 0+0..0+1 => reads 0\nwrite 0+0..0+1 tag 1 => SIGSEGV ACCERR\n",
    )
    .on(7, 3, Aarch64),
    Case::new(
        &access::STOPS,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r private fixed\nwrite 0+0..0+4 tag 1 => SIGSEGV ACCERR 0+2\n    => 0+0 |aa|..|\n",
    ),
    Case::new(
        &access::ZERO_PAGE,
        "mmap 0+0..0+2 rw private fixed\nread 0+1..0+2 => reads 0\n    => 0+0 |.z|\n",
    )
    .resident(&[(1, 1)]),
    Case::new(
        &access::NEW_PAGE,
        "mmap 0+0..0+3 rw private fixed\nread 0+0..0+1\nwrite 0+0..0+2 tag 1 => ok\n    => 0+0 |aa.|\n",
    )
    .resident(&[(0, 2)]),
    Case::new(
        &access::IN_PLACE,
        "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\n1: exit\nwrite 0+0..0+1 tag 2\n    => 0+0 |aa|\nread 0+0..0+2 => reads 2 1\n",
    ),
    Case::new(
        &access::COPY_ON_WRITE,
        "mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\n    => 0+0 |ss|\nwrite 0+0..0+1 tag 2\n    => 0+0 |as|\n    => 1: 0+0 |as|\n\
         1: read 0+0..0+2 => reads 1*2\n",
    ),
    Case::new(
        &file::FAULT,
        "mmap 0+0..0+3 rw shared fixed\nread 0+1..0+2 => reads 0\n    => 0+0 |.f.|\n",
    )
    .resident(&[(1, 1)]),
    Case::new(
        &file::STORE,
        "mmap 0+0..0+2 rw shared fixed\nfork 1\n1: write 0+0..0+1 tag 3\n    => 0: 0+0 |..|\nread 0+0..0+2 => reads 3 0\n    => 0+0 |mf|\n",
    ),
    Case::new(
        &file::FAULT_AROUND,
        "mmap 0+2..0+40 rw shared fixed\nwrite 0+2..0+40 tag 1\nguard-install 0+5..0+6\ndontneed 0+2..0+40\nread 0+4..0+5\n    => 0+2 |fffG f*12 .*22|\n\
         read 0+20..0+21\n    => 0+2 |fffG f*26 .*8|\n",
    ),
    Case::new(
        &thp::FAULT,
        "thp madvise\n\nmmap 0+0..2+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+3..0+4 tag 1\nwrite 1+3..1+4 tag 1\n    => 0+0 |A*pmd|...a.*pmd-4|\n",
    )
    .resident(&[(0, 512), (515, 1)]),
    Case::new(
        &thp::MAY_FAIL,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+3..0+4 tag 1\n    => 0+0 |...a.*pmd-4|\n",
    )
    .unusual(),
    Case::new(
        &thp::HUGE_ZERO,
        "thp always\n\nmmap 0+0..1+0 r private fixed\nread 0+3..0+4 => reads 0\n    => 0+0 |Z*pmd|\n",
    ),
    Case::new(
        &thp::READ_WITHOUT_ZERO,
        "thp always\n\nmmap 0+0..1+0 r private fixed\nread 0+3..0+4 => reads 0\n    => 0+0 |A*pmd|\n",
    )
    .without_zero_page(),
    Case::new(
        &thp::ZERO_WRITE_SPLITS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nread 0+3..0+4\nwrite 0+0..0+1 tag 1\n    => 0+0 |az*pmd-1|\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &thp::ZERO_WRITE_ALLOCATES,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nread 0+3..0+4\nwrite 0+0..0+1 tag 1\n    => 0+0 |A*pmd|\n",
    ),
    Case::new(
        &thp::WRITE_REUSES,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\n1: exit\nwrite 0+1..0+2 tag 2\n    => 0+0 |A*pmd|\nread 0+0..0+3 => reads 1 2 0\n",
    ),
    Case::new(
        &thp::WRITE_SPLITS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\n1: write 0+1..0+2 tag 2\n    => 1: 0+0 |sas*pmd-2|\n    => 0: 0+0 |S*pmd|\n",
    ),
    Case::new(
        &thp::VMA_SPLIT,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmprotect 0+2..1+0 r\n    => 0+0 |rw-p aa|r--p a*pmd-2|\n",
    ),
    Case::new(
        &fork::COPIES_VMAS,
        "mmap 0+0..0+2 rx private fixed\nmmap 0+4..0+6 rw shared fixed\nfork 1 => ok\n    => 1: 0+0 |r-xp ..|__|rw-s ..|\n",
    ),
    Case::new(
        &fork::SHARES_PAGES,
        "mmap 0+0..0+3 rw private fixed\nwrite 0+0..0+1 tag 1\nread 0+1..0+2\nfork 1\n    => 0: 0+0 |sz.|\n    => 1: 0+0 |sz.|\n",
    ),
    Case::new(
        &fork::SKIPS_SHARED,
        "mmap 0+0..0+2 rw private fixed\nread 0+0..0+1\nmmap 0+2..0+4 rw shared fixed\nwrite 0+2..0+3 tag 1\nfork 1\n    => 1: 0+0 |..|..|\n1: read 0+2..0+3 => reads 1\n",
    ),
    Case::new(
        &fork::SHARES_HUGE,
        "thp always\n\nmmap 0+0..2+0 rw private fixed\nwrite 0+0..0+1 tag 1\nread 1+0..1+1\nfork 1\n    => 0: 0+0 |S*pmd Z*pmd|\n    => 1: 0+0 |S*pmd Z*pmd|\n",
    ),
    Case::new(
        &fork::EXIT,
        "mmap 0+0..0+1 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\n    => 0+0 |s|\n1: exit => ok\n    => 0: 0+0 |a|\n",
    ),
];
