//! Guard install and remove, and what fork does with guards.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::{access, fork, guard};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &guard::INSTALL_FILLS,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2.1 => ok\n    => 0+0 |.GG.|\n",
    )
    .resident(&[]),
    Case::new(
        &guard::INSTALL_IDEMPOTENT,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+3\nguard-install 0+0..0+4 => ok\n    => 0+0 |GGGG|\n\
         guard-remove 0+1..0+2 => ok\n    => 0+0 |G.GG|\n",
    ),
    Case::new(
        &guard::INSTALL_ALLOCATES_TABLES,
        "thp always\n\nmmap 0+0..2+0 rw private fixed\nguard-install 1-1..1+1\nguard-remove 1-1..1+1\nwrite 0+0..0+1 tag 1\n\
         write 1+0..1+1 tag 1\n    => 0+0 |a.*pmd-1 a.*pmd-1|\n",
    ),
    Case::new(
        &guard::INSTALL_MAYBE_GUARD,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nguard-remove 0+0..0+4 => ok\nmunmap 0+1..0+2\n    => 0+0 |.|_|..|\n",
    )
    .flags(&[(0, "gu"), (3, "gu")]),
    Case::new(
        &guard::INSTALL_ANON_VMA,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nguard-install 0+0..0+1\nguard-remove 0+0..0+1\n\
         guard-install 0+4..0+5\nmmap 0+2..0+4 rw private fixed\n    => 0+0 |....|G.|\n",
    ),
    Case::new(
        &guard::INSTALL_ANON_VMA_AFTER,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private fixed\nguard-install 0+0..0+1\nguard-install 0+4..0+5\n\
         mmap 0+2..0+4 rw private fixed\n    => 0+0 |G...|G.|\nfork 1\n    => 1: 0+0 |G...|G.|\n",
    )
    .on_rfc(),
    Case::new(
        &guard::INSTALL_ANON_ONLY,
        "mmap 0+0..0+2 rw shared fixed\nguard-install 0+0..0+1 => EINVAL\nguard-remove 0+0..0+1 => EINVAL\n    => 0+0 |..|\n",
    )
    .on(6, 13, X86_64),
    Case::new(
        &guard::INSTALL_ZAPS,
        "mmap 0+0..0+6 rw private fixed\nwrite 0+2..0+4 tag 1\nread 0+4..0+5\nguard-install 0+1..0+5 => ok\n    => 0+0 |.GGGG.|\n\
         guard-remove 0+0..0+6\nread 0+0..0+6 => reads 0*6\n",
    ),
    Case::new(
        &guard::INSTALL_ZAPS,
        "mmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+4 tag 1\nguard-install 0+1..0+3 => ok\n    => 0+0 |fGGf|\n\
         guard-remove 0+1..0+3\n    => 0+0 |f..f|\nread 0+0..0+4 => reads 1*4\n",
    ),
    // Part of a huge page: the rest keeps its values.
    Case::new(
        &guard::INSTALL_ZAPS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+4 tag 1\nguard-install 0+1..0+2 => ok\n    => 0+0 |aGa*pmd-2|\n\
         read 0+2..0+4 => reads 1*2\n",
    ),
    Case::new(
        &guard::REMOVE_EMPTIES,
        "mmap 0+0..0+4 rw private fixed\nguard-remove 0+0..0+4 => ok\nguard-install 0+0..0+4\nguard-remove 0+1..0+3 => ok\n    => 0+0 |G..G|\n\
         read 0+1..0+3 => reads 0*2\n",
    ),
    Case::new(
        &guard::REMOVE_LEAVES_OTHERS,
        "thp always\n\nmmap 0+0..1+2 rw private fixed\nwrite 0+0..0+1 tag 1\nwrite 1+0..1+1 tag 1\nguard-remove 0+0..1+2 => ok\n    => 0+0 |A*pmd a.|\n",
    ),
    Case::new(
        &guard::REMOVE_SPLITS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+2 tag 1\n    => 0+0 |A*pmd|\nguard-remove 0+0..0+1 => ok\n    => 0+0 |a*pmd|\n\
         read 0+0..0+3 => reads 1*2 0\n",
    )
    .on_rfc(),
    Case::new(
        &guard::REMOVE_KEEPS_TABLES,
        "thp always\n\nmmap 0+0..2+0 rw private fixed\nguard-install 1+0..1+1\nguard-remove 0+0..2+0\nwrite 0+0..0+1 tag 1\n\
         write 1+0..1+1 tag 1\n    => 0+0 |A*pmd a.*pmd-1|\n",
    ),
    Case::new(
        &access::GUARD,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw shared fixed\nguard-install 0+1..0+3\nread 0+0..0+4 => SIGSEGV MAPERR 0+1\n\
         write 0+2..0+4 tag 1 => SIGSEGV MAPERR 0+2\n    => 0+0 |zG|G.|\n",
    ),
    Case::new(
        &fork::COPIES_GUARDS,
        "mmap 0+0..0+3 rw private fixed\nguard-install 0+1..0+2\nfork 1 => ok\n    => 1: 0+0 |.G.|\n1: guard-remove 0+0..0+3\n    => 0: 0+0 |.G.|\n    => 1: 0+0 |...|\n\
         guard-install 0+0..0+1\n    => 1: 0+0 |...|\n",
    ),
    Case::new(
        &fork::COPIES_SHARED_GUARDS,
        "mmap 0+0..0+3 rw shared fixed\nwrite 0+0..0+1 tag 1\nguard-install 0+1..0+2\nguard-remove 0+1..0+2\nfork 1\n    => 1: 0+0 |m..|\n",
    ),
];
