//! What mremap accepts, and where it resizes.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{args, file, mremap};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &mremap::FLAGS,
        "mmap 0+0..0+2 rw private fixed\nmremap 0+0..0+2 0+0..0+2 unknown-flag\n    => EINVAL\n\
         mremap 0+0..0+2 0+4..0+6 fixed-alone\n    => EINVAL\nmremap 0+0..0+2 0+4..0+6 dontunmap-alone\n    => EINVAL\n\
         => 0+0 |..|____\n",
    ),
    Case::new(
        &args::ALIGNMENT,
        "mmap 0+0..0+2 rw private fixed\nmremap 0+0.1..0+2 0+0.1..0+1 stay\n    => EINVAL\n\
         mremap 0+0..0+2 0+4.8..0+6.8 fixed\n    => EINVAL\nmremap 0+0..0+2 0+4.8..0+6.8 dontunmap\n    => EINVAL\n",
    ),
    Case::new(
        &mremap::NEW_LENGTH,
        "mmap 0+0..0+2 rw private fixed\nmremap 0+0..0+2 0+0..0+0 stay\n    => EINVAL\nmremap 0+0..0+2 0+6..0+4 fixed\n    => EINVAL\n\
         mremap 0+2..0+4 0+2..0+0 maymove\n    => EINVAL\n",
    ),
    Case::new(
        &mremap::NEW_LENGTH,
        "mmap 0+2..0+4 rw private fixed\nmremap 0+2..0+4 0+2..0+0 maymove\n    => ENOMEM\n\
         mremap 0+6..0+8 0+6..0+0 stay\n    => EFAULT\nmremap 0+2..0+4 0+6..0+4 fixed\n    => EINVAL\n",
    )
    .on(6, 16, X86_64),
    Case::new(
        &mremap::OVERLAP,
        "mmap 0+0..0+8 rw private fixed\nwrite 0+0..0+8 tag 1\nmremap 0+0..0+4 0+3..0+7 fixed\n    => EINVAL\n\
         mremap 0+4..0+8 0+1..0+5 fixed-dontunmap\n    => EINVAL\nmremap 0+4..0+8 0+4..0+8 fixed\n    => EINVAL\n\
         => 0+0 |aaaaaaaa|\nmremap 0+20..0+24 0+21..0+25 fixed\n    => EINVAL\n",
    ),
    Case::new(
        &mremap::DONTUNMAP_LENGTH,
        "mmap 0+0..0+4 rw private fixed\nmremap 0+0..0+4 0+8..0+10 dontunmap\n    => EINVAL\n\
         mremap 0+0..0+4 0+8..0+11.9 fixed-dontunmap\n    => ok\n    => 0+0 |....|____|....|\n",
    ),
    Case::new(
        &mremap::DONTUNMAP_LENGTH,
        "mmap 0+0..0+4 rw private fixed\nmremap 0+0..0+4 0+8..0+11.9 fixed-dontunmap\n    => EINVAL\n",
    )
    .on(6, 16, X86_64),
    Case::new(
        &mremap::UNMAPPED,
        "mmap 0+2..0+4 rw private fixed\nmremap 0+0..0+4 0+8..0+12 fixed\n    => EFAULT\n\
         mremap 0+0..0+1 0+0..0+2 stay\n    => EFAULT\nmremap 0+4..0+6 0+4..0+5 stay\n    => EFAULT\n\
         mremap 0-1..0+4 0+8..0+13 fixed\n    => EFAULT\n",
    ),
    Case::new(
        &mremap::TARGET_LATE,
        "mremap 0+0..0+4 0+2..0+6 fixed\n    => EFAULT\nmremap 0+0..0+4 0+8.8..0+12 fixed\n    => EINVAL\n\
         mmap 0+0..0+4 rw private fixed\nmremap 0+0..0+4 0+2..0+6 fixed\n    => EINVAL\n",
    )
    .on(6, 16, X86_64),
    Case::new(
        &mremap::TARGET_LATE,
        "mremap 0+0..0+4 0+8.8..0+12.8 fixed\n    => EFAULT\nmmap 0+0..0+4 rw private fixed\n\
         mremap 0+0..0+4 0+8.8..0+12.8 fixed\n    => EINVAL\n",
    )
    .on(6, 12, X86_64),
    Case::new(
        &mremap::CROSSES,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r private fixed\nmmap 0+8..0+12 rw private fixed\n\
         mremap 0+0..0+3 0+0..0+5 maymove\n    => EFAULT\nmremap 0+0..0+3 0+8..0+12 fixed\n    => EFAULT\n    => 0+8 |....|\n\
         mremap 0+0..0+4 0+8..0+12 dontunmap\n    => EFAULT\nmremap 0+0..0+4 0+8..0+9 fixed\n    => ok\n    => 0+0 _*8|....|\n",
    ),
    Case::new(
        &mremap::CHECKS_LATE,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+8..0+12 rw private fixed\nmremap 0+0..0+3 0+8..0+11 fixed\n    => EFAULT\n\
         => 0+0 |..|_*9|.|\nmremap 0+0..0+0 0+11..0+12 fixed\n    => EINVAL\n    => 0+0 |..|_*10\n",
    )
    .on(6, 16, X86_64),
    Case::new(
        &mremap::SAME,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 r private fixed\nmremap 0+0..0+6 0+0..0+6 maymove\n    => ok\n\
         => 0+0 |..|__|..|\nmremap 0+1..0+9 0+1..0+8.5 stay\n    => ok\n",
    ),
    Case::new(
        &mremap::SHRINKS,
        "needs guards\nthp never\n\nmmap 0+0..0+6 rw private fixed\nwrite 0+0..0+6 tag 1\nguard-install 0+2..0+5\nmmap 0+8..0+10 r private fixed\n\
         mremap 0+0..0+6 0+0..0+3 stay\n    => ok\n    => 0+0 |aaG|_____|..|\nmremap 0+0..0+3 0+0..0+6 stay\n    => ok\n    => 0+0 |aaG...|\n\
         mremap 0+1..0+9 0+1..0+2 maymove\n    => ok\n    => 0+0 |aa|_*7|.|\n",
    ),
    Case::new(
        &args::WRAPS,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nmremap 0+1..0+0 0+1..0+2 stay\n    => EINVAL\n\
         => 0+0 |..|__|..|\nmremap 0+1..0+0 0+4..0+5 fixed\n    => EINVAL\n    => 0+0 |..|___|.|\n",
    ),
    Case::new(
        &mremap::GROWS,
        "needs guards\nthp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\nguard-install 0+3..0+4\nnohugepage 0+0..0+4\n\
         mremap 0+2..0+4 0+2..0+6 stay\n    => ok\n    => 0+0 |rw-p aa.G..|_\nwrite 0+4..0+6 tag 2\n    => ok\n",
    )
    .flags(&[(5, "nh gu ac wr")]),
    Case::new(
        &mremap::NO_ROOM,
        "mmap 0+0..0+4 rw private fixed\nmmap 0+6..0+8 r private fixed\nmremap 0+0..0+4 0+0..0+7 stay\n    => ENOMEM\n\
         mremap 0+0..0+2 0+0..0+3 stay\n    => ENOMEM\nmremap 0+0..0+4 0+0..0+6 stay\n    => ok\n    => 0+0 |......|..|\n",
    ),
    Case::new(
        &mremap::ELSEWHERE,
        "needs guards\nthp never\n\nmmap 0+0..0+4 rw private fixed\nmmap 0+4..0+8 r private fixed\nwrite 0+0..0+4 tag 1\nguard-install 0+1..0+2\n\
         mremap 0+1..0+3 0+1..0+4 maymove\n    => elsewhere\n    => 0+0 |a|__|a|....|\n\
         mremap 0+3..0+4 0+3..0+5 maymove\n    => elsewhere\n    => 0+0 |a|___|....|\n",
    ),
    Case::new(
        &mremap::FIXED_REPLACES,
        "needs guards\nthp never\n\nmmap 0+0..0+8 rw private fixed\nwrite 0+0..0+8 tag 1\nguard-install 0+5..0+7\n\
         mremap 0+0..0+2 0+5..0+7 fixed\n    => ok\n    => 0+0 __|aaa|aa|a|\n",
    ),
    Case::new(
        &mremap::DUPLICATES,
        "needs guards-shared\nthp never\n\nmmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+4 tag 1\nguard-install 0+1..0+2\n\
         mremap 0+1..0+1 0+8..0+10 fixed\n    => ok\n    => 0+0 |fGff|____|..|\nread 0+8..0+10\n    => reads 1*2\n    => 0+0 |fGmf|____|fm|\n\
         mremap 0+1..0+1 0+1..0+2 stay\n    => ENOMEM\nmremap 0+1..0+1 0+1..0+2 maymove\n    => elsewhere\n",
    ),
    Case::new(
        &mremap::DUPLICATES,
        "mmap 0+0..0+4 rw private fixed\nmmap 0+8..0+9 rw private fixed\nmremap 0+1..0+1 0+8..0+10 fixed\n    => EINVAL\n    => 0+8 |.|\n\
         mremap 0+1..0+1 0+1..0+2 maymove\n    => EINVAL\n",
    ),
    Case::new(
        &mremap::HINT,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nmmap 0+8..0+9 r private fixed\n\
         mremap 0+0..0+2 0+6..0+8 dontunmap\n    => ok\n    => 0+0 |..aa|__|aa|.|\nmremap 0+2..0+4 0+7..0+9 dontunmap\n    => elsewhere\n\
         => 0+0 |....|__|aa|.|\n",
    ),
    Case::new(
        &mremap::MANY,
        "needs guards\nthp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r private fixed\nmmap 0+6..0+8 rw shared fixed\n\
         write 0+0..0+2 tag 1\nwrite 0+6..0+8 tag 2\nguard-install 0+3..0+4\nmmap 0+20..0+30 none private fixed\n\
         mremap 0+1..0+10 0+20..0+29 fixed\n    => ok\n    => 0+0 |a|_*19|rw-p a|r--p .G|---p ..|rw-s ff|---p ...|\n\
         read 0+20..0+21\n    => reads 1\nread 0+25..0+27\n    => reads 2*2\n",
    ),
    Case::new(
        &mremap::MANY,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r private fixed\nwrite 0+0..0+2 tag 1\n\
         mremap 0+0..0+4 0+4..0+8 fixed-dontunmap\n    => ok\n    => 0+0 |rw-p ..|r--p ..|rw-p aa|r--p ..|\n",
    ),
    Case::new(
        &mremap::MANY_REFUSED,
        "mmap 0+0..0+2 rw shared ramfs0 fixed\nmmap 0+2..0+4 rw private fixed\nmmap 0+6..0+8 rw private ramfs0 fixed\n\
         mremap 0+0..0+4 0+10..0+14 fixed\n    => EFAULT\n    => 0+0 |..|..|__|..|\nmremap 0+6..0+9 0+10..0+13 fixed\n    => EFAULT\n\
         mremap 0+2..0+8 0+12..0+18 fixed\n    => EFAULT\n    => 0+0 |..|____|..|____|..|\nmremap 0+6..0+8 0+10..0+12 fixed\n    => ok\n",
    ),
    Case::new(
        &file::BEYOND_END,
        "needs guards-shared\nthp never\n\nmmap 0+0..0+2 rw shared fixed\nwrite 0+0..0+1 tag 1\nmremap 0+0..0+2 0+0..0+4 stay\n    => ok\n\
         write 0+1..0+3 tag 2\n    => SIGBUS ADRERR 0+2\n    => 0+0 |ff..|\nguard-install 0+3..0+4\nread 0+3..0+4\n    => SIGSEGV MAPERR\n\
         populate-write 0+0..0+3\n    => EFAULT\npopulate-read 0+2..0+3\n    => EFAULT\ndontneed 0+0..0+2\nread 0+2..0+3\n    => SIGBUS ADRERR 0+2\n\
         => 0+0 |ff.G|\n",
    ),
];
