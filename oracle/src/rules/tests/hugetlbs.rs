//! Huge TLB memory.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{hugetlb, limits};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &hugetlb::MAPS,
        "mmap 0+0..0+4 rw private hugetlb fixed noreserve\n    => ok\n    => 0+0 |rw-p .*pmd|_\n\
         mmap 1+0..2+0 rw private hugetlb fixed noreserve\n    => 0+0 |.*pmd|.*pmd|_\n\
         mmap 2+4..2+8 rw private hugetlb fixed noreserve\n    => EINVAL\n\
         mmap 2+4..2+8 rw private hugetlb hint noreserve\n    => elsewhere\n    => 2+0 _*pmd\n",
    )
    .flags(&[(0, "ht de nr !ac"), (512, "ht de")]),
    Case::new(
        &hugetlb::MAPS,
        "mmap 2+0..2+4 rw private fixed\nmmap 2+0..3+0 rw shared hugetlb noreplace noreserve\n    => EEXIST\n\
         mmap 2+0..2+4 rw shared hugetlb hint noreserve\n    => elsewhere\nmmap 1+0..0+0 rw shared hugetlb fixed noreserve\n    => ENOMEM\n\
         mmap 1+4..1+0 rw shared hugetlb fixed noreserve\n    => EINVAL\n    => 2+0 |....|_\n",
    ),
    Case::new(
        &hugetlb::RESERVES,
        "mmap 0+0..0+4 rw private fixed\nmmap 0+0..1+0 rw private hugetlb hint\n    => ENOMEM\n\
         mmap 0+4..1+0 rw private hugetlb fixed\n    => EINVAL\n    => 0+0 |....|_\nmmap 0+0..1+0 rw private hugetlb fixed\n    => ENOMEM\n    => 0+0 _____\n",
    ),
    Case::new(
        &hugetlb::NO_PAGE,
        "mmap 0+0..1+0 rw private hugetlb fixed populate noreserve\nwrite 0+3..0+4 tag 1\n    => SIGBUS ADRERR 0+3\nread 0+0..0+2\n    => SIGBUS ADRERR 0+0\n\
         populate-read 0+0..0+1\n    => EFAULT\npopulate-write 0+0..0+1\n    => EFAULT\nmlock 0+0..0+1\n    => ENOMEM\n\
         pipe-write 0+0..0+1\n    => EFAULT\nmprotect 0+0..1+0 r\nwrite 0+0..0+1 tag 1\n    => SIGSEGV ACCERR 0+0\n    => 0+0 |.*pmd|\n",
    ),
    Case::new(
        &hugetlb::SPLIT,
        "mmap 0+0..2+0 rw private hugetlb fixed noreserve\nmunmap 0+4..0+8\n    => EINVAL\nmprotect 1+0..1+4 r\n    => EINVAL\n    => 0+0 |rw-p .*pmd|rw-p .*pmd|\n\
         random 0+0..0+4\n    => EINVAL\nmseal 0+0..0+4\n    => EINVAL\nmprotect 0+0..1+0 r\n    => ok\nmprotect 0+0..0+4 r\n    => ok\nmunmap 0+0..1+0\n    => ok\n\
         => 0+0 _*pmd|rw-p .*pmd|\n",
    ),
    Case::new(
        &hugetlb::SPLIT,
        "mmap 0+0..1+0 rw private fixed\nmmap 1+0..2+0 rw private hugetlb fixed noreserve\nmmap 1-4..1+4 r private fixed\n    => EINVAL\n\
         => 1-8 ....|....|.*8>\nmunmap 1-2..1+4\n    => EINVAL\n    => 1-8 ....|..|..|.*8>\n",
    ),
    Case::new(
        &hugetlb::CUT_BY_MMAP,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve\nmmap 0+4..0+8 rw private fixed\n    => ENOMEM\nmunmap 0+4..0+8\n    => EINVAL\n    => 0+0 |.*pmd|\n",
    )
    .on(6, 1, X86_64),
    Case::new(
        &hugetlb::REFUSES,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve\nguard-install 0+0..1+0\n    => EINVAL\nguard-remove 0+0..0+4\n    => EINVAL\nfree 0+0..1+0\n    => EINVAL\n\
         cold 0+0..1+0\n    => EINVAL\npageout 0+0..1+0\n    => EINVAL\ncollapse 0+0..1+0\n    => EINVAL\nwipeonfork 0+0..1+0\n    => EINVAL\nhugepage 0+0..1+0\n    => ok\n\
         mergeable 0+0..0+4\n    => ok\n    => 0+0 |.*pmd|\n",
    )
    .flags(&[(0, "hg !mg !gu !wf")]),
    Case::new(
        &hugetlb::DONTNEED,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve\nmmap 1+0..1+4 rw private fixed\nwrite 1+0..1+2 tag 1\ndontneed 0+4..1+1\n    => EINVAL\ndontneed 0+0..0+4\n    => ok\n\
         dontneed-locked 0+0..1+1\n    => ok\n    => 1+0 |.a..|\n",
    ),
    Case::new(
        &hugetlb::DOFORK,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve\ndontfork 0+0..1+0\ndofork 0+0..1+0\n    => EINVAL\nfork 1\n    => 1: 0+0 _*pmd\n",
    ),
    Case::new(
        &hugetlb::NEVER_LOCKED,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve locked\n    => ok\nmmap 1+0..2+0 rw private fixed locked\nmlock-onfault 0+4..0+8\n    => ENOMEM\n\
         munlock 0+4..0+8\n    => ok\nmmap 2+0..2+1 rw private hugetlb fixed noreserve locked\n    => ok\n    => 0+0 |.*pmd|a*pmd|.*pmd|\n",
    )
    .flags(&[(0, "!lo !lf"), (512, "lo")]),
    Case::new(
        &hugetlb::NEVER_LOCKED,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve locked\n    => ok\nmmap 1+0..3+0 none private fixed locked\n    => ok\n\
         munlockall\n    => ok\nmlockall future\nmmap 0+0..3+0 none private hugetlb fixed noreserve\n    => EAGAIN\n    => 0+0 |.*pmd|\n",
    ),
    Case::new(
        &hugetlb::MREMAP,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve\nmremap 0+0..0+4 1+0..1+4 fixed\n    => ok\n    => 0+0 _*pmd|.*pmd|\n\
         mremap 1+0..1+4 1+0..1+8 stay\n    => ok\nmremap 1+0..1+4 1+0..2+4 maymove\n    => EINVAL\nmremap 1+0..1+0 2+0..2+4 fixed\n    => EINVAL\n\
         mremap 1+0..2+0 0+4..1-4 fixed\n    => EINVAL\nmremap 1+4..2+0 1+4..1+8 stay\n    => EINVAL\nmremap 1+0..2+0 2+0..3+0 dontunmap\n    => EINVAL\n    => 0+0 _*pmd|.*pmd|_\n",
    ),
    Case::new(
        &hugetlb::MREMAP,
        "mmap 0+0..2+0 rw shared hugetlb fixed noreserve\nmremap 0+0..2+0 0+0..0+4 stay\n    => ok\n    => 0+0 |rw-s .*pmd|_\n",
    ),
    Case::new(
        &hugetlb::UFFD_RANGE,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve\nmmap 1+0..1+4 rw private fixed\nuffd-register-missing 0+0..0+4\n    => EINVAL\nuffd-register-wp 0+4..1+2\n    => EINVAL\n\
         uffd-register-wp 0+0..1+2\n    => ok\nuffd-protect 0+0..0+4\n    => EINVAL\nuffd-unprotect 0+0..1+2\n    => EINVAL\nuffd-unprotect 0+0..1+0\n    => ok\nread 0+0..0+1\n    => SIGBUS ADRERR 0+0\n\
         uffd-unregister 0+4..1+2\n    => EINVAL\nuffd-unregister 0+0..0+4\n    => EINVAL\n    => 0+0 |.*pmd|..|..|\n",
    )
    .flags(&[(0, "uw"), (512, "uw"), (514, "!uw")]),
    Case::new(
        &hugetlb::UFFD_RANGE,
        "mmap 2+0..3+0 rw private hugetlb fixed noreserve\nuffd-register-missing 2+0..3-1\n    => EINVAL\nuffd-register-missing 2+0..3+1\n    => ok\n    => 2+0 |.*pmd|\n",
    )
    .flags(&[(1024, "um")]),
    Case::new(
        &hugetlb::UFFD_FILL,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve\nuffd-copy 0+0..0+1 tag 1\n    => ENOENT\nuffd-register-missing 0+0..1+0\nuffd-copy 0+0..0+1 tag 1\n    => EINVAL\n\
         uffd-zeropage 0+0..1+0\n    => EINVAL\nuffd-poison 0+0..0+4\n    => EINVAL\n    => 0+0 |.*pmd|\n",
    ),
    Case::new(
        &limits::HUGETLB_MARKERS,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve\nuffd-register-both 0+0..1+0\nuffd-protect 0+0..1+0\n    => ok\n    => 0+0 |.*pmd|\n",
    ),
    Case::new(
        &limits::HUGETLB_MARKERS,
        "mmap 0+0..1+0 rw private hugetlb fixed noreserve\nuffd-register-missing 0+0..1+0\nuffd-poison 0+0..1+0\n    => ok\n    => 0+0 |.*pmd|\n",
    ),
];
