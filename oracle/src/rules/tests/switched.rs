//! Huge pages switched off for a process.

use super::Case;
use crate::profile::Arch::X86_64;
use crate::rules::thp_disable;

pub(super) const CASES: &[Case] = &[
    Case::new(
        &thp_disable::OFF,
        "thp always\n\nmmap 0+0..2+0 rw private fixed\nwrite 0+0..0+1 tag 1\nthp-disable => ok\n    => 0+0 |A*pmd\n\
         hugepage 1+0..2+0\nwrite 1+0..1+1 tag 2 => ok\n    => 1+0 a.*pmd-1\n",
    )
    .flags(&[(512, "hg")]),
    Case::new(
        &thp_disable::OFF,
        "thp always\n\nmmap 0+0..2+0 rw private fixed\nthp-disable\nwrite 0+0..0+1 tag 1\ncollapse 0+0..1+0 => EINVAL\n\
         thp-enable => ok\ncollapse 0+0..1+0 => ok\n    => 0+0 |A*pmd\nread 1+0..1+1\n    => 1+0 Z*pmd\n",
    ),
    Case::new(
        &thp_disable::EXCEPT_ADVISED,
        "thp always\n\nmmap 0+0..2+0 rw private fixed\nthp-disable-except-advised => ok\nwrite 0+0..0+1 tag 1\n\
         hugepage 1+0..2+0\nwrite 1+0..1+1 tag 2\n    => 0+0 |a.*pmd-1\n    => 1+0 A*pmd\ncollapse 0+0..1+0 => ok\n    => 0+0 |A*pmd\n",
    ),
    Case::new(
        &thp_disable::FLAGS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nthp-disable-unknown-flag => EINVAL\nwrite 0+0..0+1 tag 1\n    => 0+0 |A*pmd\n",
    ),
    Case::new(
        &thp_disable::FLAGS,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nthp-disable-except-advised => EINVAL\nwrite 0+0..0+1 tag 1\n    => 0+0 |A*pmd\n",
    )
    .on(6, 17, X86_64),
    Case::new(
        &thp_disable::INHERITED,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nthp-disable\nfork 1\n1: write 0+0..0+1 tag 1\n    => 1: 0+0 |a.*pmd-1\n\
         1: thp-enable\nwrite 0+0..0+1 tag 2\n    => 0+0 |a.*pmd-1\n",
    ),
];
