//! Mappings of files: what faults find, where the file ends, what a private copy is.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{access, file, fork, guard, hints, madvise, mmap, mprotect, report};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &mmap::FILE,
        "mmap 0+0..0+2 rw shared memfd0+4 fixed\nmmap 0+2..0+4 rw shared memfd0+6 fixed => ok\n    => 0+0 |rw-s ....|\n\
         mmap 0+4..0+6 rw shared memfd0+6 fixed\n    => 0+0 |....|..|\nread 0+3..0+5 => reads 1000*2\n    => 0+0 |ffmm|mm|\n",
    ),
    // Another open file of the same name is another file to the VMAs.
    Case::new(
        &mmap::FILE,
        "mmap 0+0..0+2 r private ramfs0 fixed\nmmap 0+2..0+4 r private ramfs0+2 fixed\nmmap 0+4..0+6 r private ramfs0+4 readonly fixed\n\
         mmap 0+6..0+8 r private ramfs0+6 readonly fixed\n    => 0+0 |r--p ....|....|\n",
    )
    .flags(&[(0, "mw !ms !ac"), (4, "mw !ms")]),
    Case::new(
        &mmap::FILE_DENIED,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+0..0+2 rw shared memfd0 readonly fixed => EACCES\n    => 0+0 |rw-p ..|\n\
         mmap 0+0..0+2 rw shared memfd0 readonly noreplace => EEXIST\nmmap 0+2..0+4 w shared memfd0 readonly noreplace => EACCES\n\
         mmap 0+0..0+2 rw private memfd0 readonly fixed => ok\n    => 0+0 |rw-p ..|\n",
    ),
    Case::new(
        &mprotect::MAY_WRITE,
        "mmap 0+0..0+2 r private memfd0 readonly fixed\nmmap 0+2..0+4 r shared memfd0 readonly fixed\nmprotect 0+0..0+4 rw => EACCES\n\
         => 0+0 |rw-p ..|r--s ..|\nmprotect 0+2..0+4 none => ok\n",
    )
    .flags(&[(0, "mw ac"), (2, "ms !sh !mw")]),
    Case::new(
        &file::FAULT,
        "mmap 0+0..0+4 rw shared memfd1 fixed\nmmap 0+8..0+12 r private memfd1 fixed\nread 0+0..0+1 => reads 0\nwrite 0+2..0+3 tag 5\n    => 0+0 |f.f.|\n\
         read 0+10..0+11 => reads 5\n    => 0+0 |m.m.|____|m.m.|\n",
    )
    .resident(&[(0, 1), (2, 1), (8, 1), (10, 1)]),
    Case::new(
        &file::STORE,
        "mmap 0+0..0+2 rw shared ramfs0 fixed\nmmap 0+4..0+6 rw private ramfs0 fixed\nwrite 0+4..0+5 tag 1\nwrite 0+0..0+2 tag 2\n\
         read 0+4..0+6 => reads 1 2\n",
    ),
    Case::new(
        &file::FAULT_AROUND,
        "mmap 0+0..0+20 rw private memfd0 fixed\nwrite 0+1..0+2 tag 1\nguard-install 0+2..0+3\nread 0+4..0+5\n    => 0+0 |faG f*13 ....|\n",
    ),
    // The window comes before the end of the file.
    Case::new(
        &file::FAULT_AROUND,
        "mmap 0+0..0+8 r shared memfd0+20 fixed\nread 0+6..0+7 => SIGBUS ADRERR 0+6\n    => 0+0 |ffff....|\n",
    ),
    // Two mappings of the last page of a file: a page table is there from the second fault on.
    Case::new(
        &file::LAST_PAGE,
        "mmap 0+0..0+2 r private ramfs0+23 fixed\nmmap 1+0..1+2 r private ramfs0+23 fixed\nread 0+0..0+1\nread 1+1..1+2 => SIGBUS ADRERR 1+1\n\
         => 1+0 |..|\nread 1+0..1+1 => reads 0\n    => 1+0 |m.|\n",
    ),
    // The last page is in the cache, the one that is read is not.
    Case::new(
        &file::TAKEN_AGAIN,
        "mmap 0+0..0+24 r private ramfs0 fixed\nmmap 1+0..1+1 rw private ramfs0+23 fixed\nwrite 1+0..1+1 tag 1\n\
         read 0+20..0+21 => reads 0\n    => 0+0 |.*20f..f|\n",
    ),
    Case::new(
        &file::LAST_PAGE,
        "mmap 0+0..0+24 r private ramfs0 fixed\nmmap 1+0..1+1 rw private ramfs0+23 fixed\nwrite 1+0..1+1 tag 1\n\
         mem-read 0+20..0+21\n    => 0+0 |.*20f...|\n",
    ),
    Case::new(
        &file::FAULT_AROUND,
        "mmap 0+0..0+2 r private ramfs0+23 fixed\nmmap 1+0..1+2 r private ramfs0+23 fixed\nread 0+0..0+1\nread 1+1..1+2 => SIGBUS ADRERR 1+1\n\
         => 1+0 |m.|\n",
    )
    .on(6, 16, X86_64),
    Case::new(
        &file::BEYOND_END,
        "mmap 0+0..0+8 rw shared memfd1+22 fixed\nwrite 0+0..0+8 tag 1 => SIGBUS ADRERR 0+2\n    => 0+0 |ff......|\nguard-install 0+2..0+3\n\
         read 0+2..0+3 => SIGSEGV MAPERR\nguard-remove 0+2..0+3\npopulate-read 0+0..0+4 => EFAULT\nmprotect 0+2..0+4 none\n\
         read 0+2..0+3 => SIGSEGV ACCERR\n",
    ),
    Case::new(
        &file::COPY,
        "mmap 0+0..0+4 rw private ramfs0+10 fixed\nwrite 0+1..0+3 tag 1\n    => 0+0 |.aa.|\nread 0+0..0+4 => reads 2000 1*2 0\n    => 0+0 |faaf|\n\
         populate-write 0+0..0+1\n    => 0+0 |aaaf|\nread 0+0..0+1 => reads 2000\n",
    )
    .resident(&[(0, 4)]),
    Case::new(
        &file::COPY_ANON_VMA,
        "mmap 0+0..0+2 rw private memfd0+24 fixed\nmmap 0+4..0+6 rw private memfd0+28 fixed\nwrite 0+0..0+1 tag 1 => SIGBUS ADRERR\n\
         write 0+4..0+5 tag 1 => SIGBUS\nmmap 0+2..0+4 rw private memfd0+26 fixed\n    => 0+0 |....|..|\n",
    ),
    Case::new(
        &file::HUGE_READAHEAD,
        "mmap 0+0..0+8 r shared ramfs0+18 fixed\nhugepage 0+0..0+8\nread 0+1..0+2 => reads 0\n    => 0+0 |ffffff..|\n",
    )
    .on(6, 12, X86_64)
    .resident(&[(0, 6)]),
    Case::new(
        &madvise::DONTNEED_PRIVATE_FILE,
        "mmap 0+0..0+4 rw private memfd0 fixed\nwrite 0+0..0+2 tag 1\nguard-install 0+3..0+4\ndontneed 0+0..0+4 => ok\n    => 0+0 |...G|\n\
         read 0+0..0+3 => reads 1000*3\n",
    ),
    Case::new(
        &guard::INSTALL_ZAPS,
        "mmap 0+0..0+4 rw private memfd0 fixed\nwrite 0+0..0+4 tag 1\nguard-install 0+1..0+3 => ok\n    => 0+0 |aGGa|\n\
         guard-remove 0+1..0+3\nread 0+0..0+4 => reads 1 1000*2 1\n    => 0+0 |affa|\n",
    ),
    // No anon_vma: the guards of a private mapping of a file let it merge as if nothing had been.
    Case::new(
        &guard::INSTALL_MAYBE_GUARD,
        "mmap 0+0..0+2 rw private memfd0 fixed\nmmap 0+4..0+6 rw private memfd0+4 fixed\nguard-install 0+0..0+1\nguard-install 0+4..0+5\n\
         mmap 0+2..0+4 rw private memfd0+2 fixed\n    => 0+0 |G...G.|\n",
    )
    .flags(&[(0, "gu")]),
    Case::new(
        &guard::INSTALL_FILE_ANON_VMA,
        "mmap 0+0..0+2 rw private memfd0 fixed\nmmap 0+4..0+6 rw private memfd0+4 fixed\nguard-install 0+0..0+1\nguard-install 0+4..0+5\n\
         mmap 0+2..0+4 rw private memfd0+2 fixed\n    => 0+0 |G...|G.|\n",
    )
    .on(6, 16, X86_64),
    Case::new(
        &fork::SKIPS_SHARED,
        "mmap 0+0..0+2 rw private memfd0 fixed\nread 0+0..0+1\nmmap 0+4..0+6 rw private memfd0 fixed\nwrite 0+4..0+5 tag 1\nread 0+5..0+6\nfork 1\n\
         => 1: 0+0 |..|__|sm|\n",
    ),
    Case::new(
        &access::COPY_ON_WRITE,
        "mmap 0+0..0+2 rw private ramfs0 fixed\nwrite 0+0..0+1 tag 1\nfork 1\n1: write 0+0..0+1 tag 2\n    => 0: 0+0 |a.|\n    => 1: 0+0 |a.|\n\
         read 0+0..0+1 => reads 1\n",
    ),
    Case::new(
        &hints::WIPE,
        "mmap 0+0..0+2 rw private memfd0 fixed\nwipeonfork 0+0..0+2 => EINVAL\nkeeponfork 0+0..0+2 => ok\n",
    ),
    Case::new(
        &mmap::POPULATES,
        "mmap 0+0..0+4 rw private memfd0+22 fixed populate => ok\n    => 0+0 |aa..|\nmmap 0+4..0+8 r shared memfd1+22 readonly fixed populate => ok\n\
         => 0+4 |r--s ff..|\n",
    ),
    Case::new(
        &report::EXCLUSIVE,
        "mmap 0+0..0+1 r shared memfd0 fixed\nmmap 0+2..0+3 r private memfd0 fixed\nread 0+0..0+1\n    => 0+0 |f|_|.|\nread 0+2..0+3\n    => 0+0 |m|_|m|\n\
         munmap 0+0..0+1\n    => 0+2 |f|\n",
    ),
];
