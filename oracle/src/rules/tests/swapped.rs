//! Swap space.

use super::{Case, NO_SIZES};
use crate::judge::Sizes;
use crate::profile::Arch::X86_64;
use crate::rules::{limits, swap};

/// A program in which pages 0 to 2 of three that were written are swapped out.
macro_rules! swapped {
    ($rest:literal) => {
        concat!(
            "swap on\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+3 tag 1\npageout 0+0..0+2\n",
            $rest
        )
    };
}

pub(super) const CASES: &[Case] = &[
    Case::new(&swap::OUT, swapped!("pageout 0+3..0+4 => ok\n    => 0+0 |~~a.|\n")).resident(&[(2, 1)]),
    // Zero pages stay, and what was lazily freed is taken instead.
    Case::new(
        &swap::OUT,
        swapped!("free 0+2..0+3\nread 0+3..0+4\npageout 0+0..0+4\n    => 0+0 |~~.z|\n"),
    ),
    Case::new(
        &swap::OUT,
        "swap on\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nclear-soft-dirty\nwrite 0+1..0+2 tag 2\npageout 0+0..0+2\nread 0+0..0+2\n    => reads 1 2\n",
    )
    .soft_dirty(&[(0, false), (1, true), (2, false)]),
    Case::new(
        &swap::OUT_HUGE,
        "thp madvise\nswap on\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+2 tag 1\npageout 0+0..1+0\n    => 0+0 |~*pmd|\n\
         read 0+1..0+3 => reads 1 0\n    => 0+0 |~aa~*pmd-3|\n",
    ),
    Case::new(
        &swap::OUT_HUGE,
        "thp madvise\nswap on\n\nmmap 0+0..1+0 rw private fixed\nhugepage 0+0..1+0\nwrite 0+0..0+2 tag 1\npageout 0+0..1+0\n    => 0+0 |~~z*pmd-2|\n",
    )
    .unusual_end(),
    Case::new(
        &swap::IN,
        swapped!("read 0+0..0+1 => reads 1\n    => 0+0 |a~a.|\nvm-read 0+1..0+2 of 0 => reads 1\n    => 0+0 |aaa.|\n"),
    ),
    Case::new(
        &swap::IN,
        swapped!("mlock 0+0..0+1 => ok\n    => 0+0 |a|~a.|\nwrite 0+1..0+2 tag 2\nread 0+0..0+3 => reads 1 2 1\n    => 0+0 |a|aa.|\n"),
    ),
    Case::new(
        &swap::IN,
        "thp madvise\nswap on\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+3 tag 1\npageout 0+1..0+2\ncollapse 0+0..1+0 => ok\n    => 0+0 |A*pmd|\n\
         read 0+0..0+4 => reads 1*3 0\n",
    ),
    Case::new(
        &swap::FORK,
        swapped!("fork 1\n    => 1: 0+0 |~~s.|\n    => 0+0 |~~s.|\n1: read 0+0..0+1 => reads 1\n    => 0+0 |a~s.|\n    => 0: 0+0 |~~s.|\n\
                  read 0+0..0+1 => reads 1\n    => 0+0 |s~s.|\n"),
    ),
    Case::new(
        &swap::STORE_COPIES,
        swapped!("fork 1\nwrite 0+0..0+1 tag 2\n1: read 0+0..0+1 => reads 1\n    => 0+0 |a~s.|\n    => 0: 0+0 |a~s.|\nread 0+0..0+1 => reads 2\n"),
    ),
    // What is there in one address space and swapped out in another.
    Case::new(
        &swap::STORE_COPIES,
        swapped!("fork 1\nread 0+0..0+1\nwrite 0+0..0+1 tag 2\n1: read 0+0..0+1 => reads 1\n    => 0+0 |a~s.|\n    => 0: 0+0 |a~s.|\nread 0+0..0+1 => reads 2\n"),
    ),
    Case::new(
        &swap::GONE,
        swapped!("guard-install 0+0..0+1\n    => 0+0 |G~a.|\nguard-remove 0+0..0+1\ndontneed 0+1..0+2\n    => 0+0 |..a.|\nread 0+0..0+2 => reads 0*2\n"),
    ),
    Case::new(&swap::GONE, swapped!("free 0+0..0+3\n    => 0+0 |..a.|\nread 0+0..0+3 => reads 0*2 1\n")),
    Case::new(
        &swap::FREE_KEEPS,
        swapped!("fork 1\nread 0+0..0+1\nfree 0+0..0+1\npageout 0+0..0+1\n    => 0+0 |~~s.|\nread 0+0..0+1 => reads 1\n"),
    ),
    Case::new(
        &swap::MEMFD_OUT,
        "swap on\n\nmmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+2 tag 1\nread 0+2..0+3\npageout 0+0..0+4\n    => 0+0 |....|\nread 0+1..0+2 => reads 1\n\
         => 0+0 |.f..|\n",
    )
    .resident(&[(1, 1)])
    .sizes(&[(0, Sizes { rss: 4, pss: 4, private: 4, swap: 4, ..NO_SIZES })]),
    Case::new(
        &swap::READ_AHEAD,
        swapped!("willneed 0+0..0+4 => ok\n    => 0+0 |~~a.|\n"),
    )
    .resident(&[(0, 3)]),
    // 6.1 reads more than it was asked to.
    Case::new(
        &swap::READ_AHEAD,
        "swap on\n\nmmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+3 tag 1\npageout 0+0..0+3\nwillneed 0+0..0+1 => ok\n    => 0+0 |....|\n",
    )
    .resident(&[(0, 2)])
    .on(6, 1, X86_64),
    Case::new(
        &swap::READ_AHEAD,
        "swap on\n\nmmap 0+0..0+4 rw shared fixed\nwrite 0+0..0+3 tag 1\npageout 0+0..0+3\nwillneed 0+0..0+1 => ok\n    => 0+0 |....|\n",
    )
    .resident(&[(0, 1)]),
    Case::new(&swap::SIZES, swapped!("guard-install 0+3..0+4\n    => 0+0 |~~aG|\n")).sizes(&[(
        0,
        Sizes { rss: 4, pss: 4, private: 4, anonymous: 4, swap: 8, ..NO_SIZES },
    )]),
    Case::new(
        &limits::MOVES_SWAPPED,
        swapped!("mmap 1+0..1+4 rw private fixed\nuffd-register-missing 1+0..1+4\nuffd-move 0+0..0+1 to 1+0 => EBUSY\n"),
    ),
];
