//! userfaultfds that tell events.

use super::Case;
use crate::profile::Arch;
use crate::rules::uffd::{events, lost, protect};

/// A program whose userfaultfds tell events.
macro_rules! told {
    ($($text:literal)+) => {
        concat!("thp never\nuffd-events on\n\n", $($text),+)
    };
}

pub(super) const CASES: &[Case] = &[
    Case::new(
        &events::FORK,
        told!("mmap 0+0..0+4 rw private fixed\nfork 1 => events none\nuffd-register-missing 0+0..0+2\nuffd-register-missing 0+3..0+4\n"
              "fork 2 => events fork\n1: fork 3 => events none\n"),
    ),
    Case::new(
        &events::FORK,
        told!("mmap 0+0..0+2 rw private fixed\nuffd-register-missing 0+0..0+2\ndontfork 0+0..0+2\nfork 1 => events none\n"
              "mmap 0+4..0+6 rw private fixed\nuffd-register-wp 0+4..0+5\nwipeonfork 0+4..0+6\nfork 2 => events fork\n"),
    ),
    Case::new(
        &lost::FORK_KEPT,
        told!("mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+1 tag 1\nguard-install 0+1..0+2\nuffd-register-missing 0+0..0+3\nfork 1\n"
              "    => 1: 0+0 |sG.|.|\n    => 1: 0+0 VmFlags um\n    => 1: 0+3 VmFlags !um\n1: read 0+2..0+3 => SIGBUS ADRERR 0+2\n"
              "1: read 0+1..0+2 => SIGSEGV MAPERR 0+1\n1: uffd-copy 0+2..0+3 tag 2 => ok\n1: uffd-copy 0+3..0+4 tag 2 => ENOENT\n"
              "1: read 0+0..0+4 => SIGSEGV MAPERR 0+1\n1: dontneed 0+0..0+4 => events remove 0+0..0+3\nread 0+2..0+3 => SIGBUS ADRERR 0+2\n"),
    )
    .flags(&[(0, "um"), (3, "!um")]),
    Case::new(
        &lost::FORK_KEPT,
        told!("mmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nwipeonfork 0+0..0+2\nuffd-register-missing 0+0..0+2\n"
              "fork 1 => events fork\n    => 1: 0+0 |..|\n    => 1: 0+0 VmFlags um wf\n1: read 0+0..0+1 => SIGBUS ADRERR 0+0\n"),
    ),
    Case::new(
        &protect::FORK_KEPT,
        told!("mmap 0+0..0+3 rw private fixed\nwrite 0+0..0+2 tag 1\nuffd-register-wp 0+0..0+3\nuffd-protect 0+0..0+1\nfork 1\n"
              "1: write 0+1..0+3 tag 2 => ok\n1: write 0+0..0+1 tag 2 => SIGBUS ADRERR 0+0\nwrite 0+0..0+1 tag 3 => SIGBUS ADRERR 0+0\n"
              "1: uffd-unprotect 0+0..0+1 => ok\n1: write 0+0..0+1 tag 2 => ok\nwrite 0+0..0+1 tag 3 => SIGBUS ADRERR 0+0\n"),
    ),
    Case::new(
        &lost::FORK_TABLES,
        told!("mmap 0+0..0+3 rw shared fixed\nwrite 0+0..0+2 tag 1\nuffd-register-wp 0+0..0+3\nuffd-protect 0+1..0+3\nfork 1\n"
              "    => 1: 0+0 |mm~|\n1: write 0+0..0+1 tag 2 => ok\n1: write 0+1..0+2 tag 2 => SIGBUS ADRERR 0+1\n"
              "1: write 0+2..0+3 tag 2 => SIGBUS ADRERR 0+2\n    => 1: 0+0 |mmf|\n"),
    ),
    Case::new(
        &protect::FORK_KEPT,
        told!("mmap 0+0..0+2 rw shared fixed\nuffd-register-wp 0+0..0+2\nuffd-protect 0+0..0+1\nfork 1\n    => 1: 0+0 |~.|\n"),
    ),
    Case::new(
        &events::REMAP,
        told!("mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\nguard-install 0+2..0+3\nuffd-register-missing 0+0..0+4\n"
              "mremap 0+0..0+2 1+0..1+2 fixed => ok\n    => events remap 0+0..0+2 to 1+0 unmap 0+0..0+2\n"
              "mremap 0+2..0+4 1+2..1+4 dontunmap => ok\n    => events remap 0+2..0+4 to 1+2\n"
              "mremap 1+0..1+4 1+0..1+6 stay => ok\n    => events none\nmmap 1+6..1+7 rw private fixed => events none\n"
              "mremap 1+4..1+6 1+4..1+8 maymove => elsewhere\n    => events remap 1+4..1+6 to elsewhere unmap 1+4..1+6 unmap elsewhere\n"),
    ),
    Case::new(
        &events::REMAP,
        told!("mmap 0+0..0+2 rw shared fixed\nuffd-register-missing 0+0..0+2\nmremap 0+0..0+0 1+0..1+2 fixed => ok\n"
              "    => events remap 0+0..0+0 to 1+0\n    => 1+0 VmFlags um\nmmap 1+4..1+6 rw private fixed\n"
              "mremap 1+4..1+6 2+0..2+2 fixed => events none\n"),
    ),
    Case::new(
        &events::REMAP_OLD_LENGTH,
        told!("mmap 0+0..0+6 rw private fixed\nuffd-register-missing 0+0..0+6\nmremap 0+0..0+6 1+0..1+4 fixed => ok\n"
              "    => events remap 0+0..0+6 to 1+0 unmap 0+4..0+6 unmap 0+0..0+4\n"),
    )
    .on(6, 12, Arch::X86_64),
    Case::new(
        &lost::MOVED_ALONG,
        told!("mmap 0+0..0+4 rw private fixed\nmmap 1+0..1+6 rw private fixed\nwrite 0+0..0+1 tag 1\nguard-install 0+1..0+2\n"
              "uffd-register-missing 0+0..0+4\nuffd-register-missing 1+0..1+2\nmremap 0+0..0+4 1+2..1+6 fixed => ok\n"
              "    => 1+0 |..|aG..|\nread 1+4..1+5 => SIGBUS ADRERR 1+4\nread 1+3..1+4 => SIGSEGV MAPERR 1+3\n"
              "uffd-zeropage 1+4..1+5 => ok\n    => 1+0 |..|aGz.|\n"),
    )
    .flags(&[(512, "um"), (514, "um")]),
    Case::new(
        &lost::MOVED_ALONG,
        told!("mmap 0+0..0+2 rw private fixed\nmmap 1+0..1+2 rw private fixed\nuffd-register-missing 0+0..0+2\n"
              "uffd-register-missing 1+0..1+2\nmremap 0+0..0+2 1+2..1+4 fixed => ok\n    => 1+0 |....|\n"),
    ),
    Case::new(
        &protect::MOVED_ALONG,
        told!("mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw shared fixed\nwrite 0+0..0+2 tag 1\nuffd-register-wp 0+0..0+2\n"
              "uffd-register-wp 0+4..0+6\nuffd-protect 0+1..0+2\nuffd-protect 0+4..0+5\nmremap 0+0..0+2 1+0..1+2 fixed => ok\n"
              "    => 1+0 |aa|\nwrite 1+0..1+2 tag 2 => SIGBUS ADRERR 1+1\nmremap 0+4..0+6 1+4..1+6 fixed => ok\n    => 1+4 |~.|\n"
              "write 1+4..1+5 tag 2 => SIGBUS ADRERR 1+4\n"),
    ),
    Case::new(
        &events::REMOVE,
        told!("mmap 0+0..0+8 rw private fixed\nwrite 0+0..0+8 tag 1\nuffd-register-missing 0+0..0+2\nuffd-register-both 0+4..0+6\n"
              "dontneed 0+1..0+8 => ok\n    => events remove 0+1..0+2 remove 0+4..0+6\nfree 0+5..0+6 => events remove 0+5..0+6\n"
              "guard-install 0+0..0+8 => ok\n    => events none\nguard-remove 0+0..0+8 => events none\ncold 0+0..0+2 => events none\n"
              "dontneed-locked 0+0..0+1 => events remove 0+0..0+1\nmlock 0+4..0+6\ndontneed 0+4..0+6 => EINVAL\n    => events none\n"),
    ),
    Case::new(
        &events::REMOVE,
        told!("mmap 0+0..0+4 rw shared memfd0 fixed\nuffd-register-missing 0+0..0+4\nremove 0+1..0+3 => ok\n    => events remove 0+1..0+3\n"
              "free 0+0..0+1 => EINVAL\n    => events remove 0+0..0+1\npunch-hole memfd0 0..1 => events none\n"
              "truncate memfd0 2 => events none\nmmap 0+4..0+5 rw private fixed\nuffd-register-missing 0+4..0+5\n"
              "remove 0+4..0+5 => EINVAL\n    => events none\n"),
    ),
    Case::new(
        &events::UNMAP,
        told!("mmap 0+0..0+8 rw private fixed\nuffd-register-missing 0+4..0+6\nmunmap 0+0..0+2 => ok\n    => events none\n"
              "munmap 0+0..0+5 => ok\n    => events unmap 0+0..0+5\nmmap 0+5..0+7 rw private fixed => ok\n"
              "    => events unmap 0+5..0+7\nmunmap 0+0..0+8 => events none\n"),
    ),
    Case::new(
        &events::UNMAP,
        told!("mmap 0+0..0+8 rw private fixed\nmmap 1+0..1+4 rw private fixed\nuffd-register-missing 0+0..0+8\n"
              "uffd-register-missing 1+0..1+1\nmremap 0+0..0+8 0+0..0+6 stay => ok\n    => events unmap 0+6..0+8\n"
              "mremap 0+0..0+6 1+0..1+4 fixed => ok\n"
              "    => events unmap 1+0..1+4 remap 0+0..0+4 to 1+0 unmap 0+4..0+6 unmap 0+0..0+4\n"),
    ),
    Case::new(
        &events::UNMAP,
        told!("brk 2+4\nuffd-register-missing 2+0..2+4\nbrk 2+2 => ok\n    => events unmap 2+2..2+4\nbrk 2+6 => events none\n"),
    ),
    Case::new(
        &events::UNMAP_REFUSED,
        told!("mmap 0+0..0+6 rw private fixed\nuffd-register-missing 0+0..0+2\nmseal 0+3..0+4\nmunmap 0+1..0+4 => EPERM\n"
              "    => events unmap 0+1..0+4\n    => 0+0 |.|.|.|.|..|\nmmap 0+0..0+6 rw private fixed => EPERM\n"
              "    => events unmap 0+0..0+6\nmunmap 0+3..0+4 => EPERM\n    => events none\nmmap 1+0..1+4 rw private fixed\n"
              "mremap 1+0..1+4 0+0..0+4 fixed => EPERM\n    => events unmap 0+0..0+4\n"),
    )
    .on(6, 12, Arch::X86_64),
];
