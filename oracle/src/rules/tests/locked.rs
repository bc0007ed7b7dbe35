//! mlock and its kin, locked mappings.

use super::Case;
use crate::rules::{folio, free, mlock};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &mlock::FLAGS,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nguard-install 0+5..0+6\nmlock-onfault 0+2..0+6 => ok\n    => 0+0 |..|...G|\n\
         munlock 0+4..0+6 => ok\n    => 0+0 |..|..|.G|\nmlock 0+0..0+1\nmunlock 0+0..0+1 => ok\n    => 0+0 |a.|..|.G|\n",
    )
    .flags(&[(0, "!lo !lf"), (2, "lo lf"), (4, "!lo !lf")]),
    Case::new(
        &mlock::FLAGS,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw shared fixed\nmlock 0+1..0+3 => ok\n    => 0+0 |.|a|f|.|\n",
    )
    .flags(&[(0, "!lo"), (1, "lo !lf"), (2, "lo !lf"), (3, "!lo")]),
    Case::new(
        &mlock::RANGE,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmlock 0+1.4095..0+2.1 => ok\n    => 0+0 |.|aa|.|\nmlock 0+3.17..0+3.17 => ok\n\
         mlock 0+0..0+0 => ok\nmunlock 0+2..0+0 => EINVAL\nmlock 0+2..0+0 => ENOMEM\nmunlock 0+2..0+1.1 => ok\n    => 0+0 |.|aaa|\n",
    ),
    Case::new(
        &mlock::RANGE,
        "user root\n\nmmap 0+0..0+4 rw private fixed\nmlock 0+2..0+0 => EINVAL\n    => 0+0 |....|\n",
    ),
    Case::new(
        &mlock::UNKNOWN_FLAG,
        "mlock-unknown-flag 0+2..0+0 => EINVAL\nmmap 0+0..0+1 rw private fixed\nmlock-unknown-flag 0+0..0+1 => EINVAL\n    => 0+0 |.|\n",
    ),
    Case::new(
        &mlock::FIRST_UNMAPPED,
        "mmap 0+1..0+3 rw private fixed\nmlock 0+0..0+2 => ENOMEM\n    => 0+0 _|..|\nmunlock 0-1..0+2 => ENOMEM\n",
    )
    .flags(&[(1, "!lo")]),
    Case::new(
        &mlock::HOLE,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+3..0+4 rw private fixed\nmlock 0+1..0+4 => ENOMEM\n    => 0+0 |.|.|_|.|\n",
    )
    .flags(&[(0, "!lo"), (1, "lo"), (3, "!lo")]),
    Case::new(
        &mlock::FAULTS_IN,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+1 tag 1\nfork 1\nmmap 0+2..0+4 r private fixed\n\
         mmap 0+4..0+6 rw shared fixed\nmlock 0+0..0+6 => ok\n    => 0+0 |aa|zz|ff|\n    => 1: 0+0 |a.|__\nread 0+0..0+2 => reads 1 0\n",
    ),
    Case::new(
        &mlock::FAULTS_IN,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nmlock 0+0..0+1 => ok\n    => 0+0 |a|.*pmd-1|\nmlock 0+0..1+0\n    => 0+0 |a*pmd|\n",
    ),
    Case::new(
        &mlock::FAULTS_IN,
        "thp never\n\nmmap 0+0..0+2 w private fixed\nmmap 0+2..0+3 w shared fixed locked => ok\nmlock 0+0..0+1 => ok\n    => 0+0 |a|.|f|\n",
    ),
    Case::new(
        &mlock::ON_FAULT,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nguard-install 0+1..0+2\nmlock-onfault 0+0..0+2 => ok\n    => 0+0 |.G|\n\
         mlockall future onfault\nmmap 0+4..0+6 rw private fixed populate => ok\n    => 0+4 |..|\n",
    )
    .flags(&[(4, "lo lf")]),
    Case::new(
        &mlock::IMPOSSIBLE,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nguard-install 0+2..0+3\nmlock 0+0..0+4 => ENOMEM\n    => 0+0 |aaG.|\n\
         mmap 0+4..0+6 none private fixed\nmlock 0+4..0+6 => ENOMEM\n    => 0+4 |..|\n",
    )
    .flags(&[(3, "lo"), (4, "lo")]),
    // Behind the end of a file.
    Case::new(
        &mlock::IMPOSSIBLE,
        "mmap 0+0..0+4 rw private ramfs0+22 fixed\nmlock 0+0..0+4 => ENOMEM\n    => 0+0 |aa..|\n",
    ),
    Case::new(
        &mlock::MMAP_LIMIT,
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nmlock-onfault 0+0..2+0\nmmap 2+0..2+1 rw shared ramfs0 readonly fixed locked => EAGAIN\n\
         mmap 2+0..2+1 rw shared ramfs0 readonly fixed => EACCES\n",
    ),
    Case::new(
        &mlock::IMPOSSIBLE,
        "mmap 0+0..0+2 x private fixed\nmlock 0+0..0+2 => ENOMEM\n    => 0+0 |..|\n",
    ),
    Case::new(
        &mlock::PASSED_OVER,
        "thp never\nuser root\n\nmmap 0+0..0+4 rw private fixed\nguard-install 0+2..0+3\nmmap 0+4..0+6 none private fixed\n\
         mmap 0+8..0+9 r private fixed\nmlockall current => ok\n    => 0+0 |aaG.|..|__|z|\nmmap 0+6..0+7 none private fixed locked => ok\n",
    )
    .flags(&[(0, "lo"), (4, "lo"), (6, "lo"), (8, "lo")]),
    Case::new(
        &mlock::LIMIT,
        "thp never\n\nmmap 0+0..2+1 rw private fixed\nmmap 2+1..2+2 rw shared fixed\nmlock-onfault 0+0..2+1 => ENOMEM\n    => 2-1 <..|.|\n\
         mlock-onfault 0+0..2+0 => ok\nmlock-onfault 2+1..2+2 => ENOMEM\nmlock-onfault 1+0..2+0 => ok\nmlock 2+100..2+101 => ENOMEM\n\
         munlock 0+0..0+1\nmlock 2+1..2+2 => ok\n    => 2+0 |.|f|\n",
    )
    .flags(&[(2, "lo lf"), (1024, "!lo")]),
    Case::new(
        &mlock::MMAP_LIMIT,
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nmlock-onfault 0+0..2+0\nmmap 0+0..0+1 rw private fixed locked => EAGAIN\n    => 0+0 |.\n\
         mmap 0+0..0+1 rw private noreplace locked => EEXIST\nmlockall future\nmmap 0+0..0+1 rw private hint => EAGAIN\n",
    ),
    Case::new(
        &mlock::ALL_FLAGS,
        "user root\n\nmmap 0+0..0+1 rw private fixed\nmlockall => EINVAL\nmlockall onfault => EINVAL\n    => 0+0 |.|\n",
    ),
    Case::new(
        &mlock::ALL_CURRENT,
        "thp never\nuser root\n\nmmap 0+0..0+4 rw private fixed\nmlock 0+1..0+2\n    => 0+0 |.|a|..|\nmlockall current onfault => ok\n\
         => 0+0 |.a..|\nmmap 0+4..0+6 rw private fixed\n    => 0+0 |.a..|..|\n",
    )
    .flags(&[(0, "lo lf"), (4, "!lo")]),
    Case::new(
        &mlock::ALL_LIMIT,
        "mlockall current => ENOMEM\nmmap 0+0..0+1 rw private fixed\nmlockall current future => ENOMEM\nmmap 0+2..0+3 rw private fixed\n    => 0+0 |.|_|.|\n",
    )
    .flags(&[(0, "!lo"), (2, "!lo")]),
    Case::new(
        &mlock::FUTURE,
        "thp never\n\nmmap 0+0..0+1 rw private fixed\nmlockall future => ok\nmmap 0+1..0+2 rw private fixed => ok\n    => 0+0 |.|a|\n\
         mmap 0+0..0+1 rw private fixed => ok\n    => 0+0 |aa|\n",
    )
    .flags(&[(0, "lo !lf")]),
    // A hint that is not page aligned: mapped, faulted in, and unmapped by the guest; the anon_vma stays.
    Case::new(
        &mlock::FUTURE,
        "thp never\n\nmmap 0+0..0+1 none private fixed\nmlockall future\nmprotect 0+0..0+1 rw\nmmap 0+1.1..0+2 rw private hint\n    => elsewhere\n    => 0+0 |.|_\n",
    ),
    Case::new(
        &mlock::UNLOCK_ALL,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmlock 0+1..0+2\nmlock-onfault 0+3..0+4\nmlockall future\nmunlockall => ok\n    => 0+0 |.a..|\n\
         mmap 0+4..0+5 rw private fixed\n    => 0+0 |.a...|\n",
    )
    .flags(&[(0, "!lo !lf")]),
    Case::new(
        &mlock::FORK_UNLOCKS,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmlock 0+0..0+2\nmlockall future\nfork 1\n    => 1: 0+0 |ss|..|\n\
         1: mmap 0+4..0+5 rw private fixed\n    => 1: 0+0 |ss|...|\n1: mlock-onfault 0+0..0+1\n1: exit\n",
    )
    .flags(&[(0, "lo")]),
    Case::new(
        &mlock::MPROTECT,
        "thp never\n\nmmap 0+0..0+6 r private fixed\nread 0+1..0+2\nguard-install 0+3..0+4\nmlock 0+0..0+2\nmlock-onfault 0+4..0+6\n\
         mlock 0+2..0+4 => ENOMEM\nmprotect 0+0..0+6 rw => ok\n    => 0+0 |rw-p aaaG|rw-p ..|\n",
    ),
    Case::new(
        &mlock::REFUSES,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmlock 0+0..0+1\nfree 0+0..0+2 => EINVAL\ncold 0+0..0+1 => EINVAL\npageout 0+0..0+1 => EINVAL\n",
    ),
    Case::new(
        &free::LOCKED_ELSEWHERE,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nmlock 0+0..0+1\nfork 1\n1: free 0+0..0+2\n\
         munmap 0+0..0+2\n1: pageout 0+0..0+2\n    => 1: 0+0 |a|.|\n",
    ),
    // Memory of zeros keeps its pages where it is locked.
    Case::new(
        &folio::SPLIT_FINDS_ZEROS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmlock-onfault 0+4..0+6\ncold 0+0..0+1\n    => 0+0 |azzz|aa|zz",
    ),
    Case::new(
        &mlock::REFUSES,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nmlock 0+2..0+4\nguard-install 0+0..0+4 => EINVAL\n    => 0+0 |GG|aa|\n\
         dontneed 0+2..0+4 => EINVAL\n    => 0+0 |GG|aa|\ndontneed-locked 0+2..0+3 => ok\nguard-remove 0+0..0+4 => ok\n    => 0+0 |..|.a|\n",
    ),
];
