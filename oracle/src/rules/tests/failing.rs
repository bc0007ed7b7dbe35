//! Allocations that fail. `fail N` counts those that the model knows of here.

use super::Case;
use crate::rules::failing;

pub(super) const CASES: &[Case] = &[
    // No anon_vma, no marker.
    Case::new(
        &failing::INSTALL,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+3 fail 1 => ENOMEM\n    => 0+0 |....|\n",
    )
    .flags(&[(0, "gu")]),
    // An anon_vma, and no page table.
    Case::new(
        &failing::INSTALL,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nguard-install 0+0..0+1 fail 2 => ENOMEM\n    => 0+0 |..|\nmmap 0+4..0+6 rw private fixed\n\
         write 0+4..0+5 tag 1\nmmap 0+2..0+4 rw private fixed\n    => 0+0 |....|a.|\n",
    ),
    // The page table of the second block.
    Case::new(
        &failing::INSTALL,
        "thp never\n\nmmap 0+0..2+0 rw private fixed\nwrite 1-2..1-1 tag 1\nguard-install 1-1..1+1 fail 1 => ENOMEM\n    => 1-2 <aG..>\n",
    ),
    // Two VMAs.
    Case::new(
        &failing::INSTALL,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r private fixed\nguard-install 0+0..0+4 fail 3 => ENOMEM\n    => 0+0 |GG|..|\n",
    )
    .flags(&[(0, "gu"), (2, "gu")]),
    // What had to be zapped is lost.
    Case::new(
        &failing::INSTALL,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\n    => 0+0 |A*pmd|\nguard-install 0+0..1+0 fail 1 => ENOMEM\n\
         \x20   => 0+0 |.*pmd|\n",
    ),
    // As the seed thread's patch had it: the anon_vma is what fails, and the markers are there.
    Case::new(
        &failing::INSTALL,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+3 fail 2 => ENOMEM\n    => 0+0 |.GG.|\n",
    )
    .on_rfc(),
    Case::new(
        &failing::REMOVE,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+4\nguard-remove 0+1..0+3 fail 1 => ok\n    => 0+0 |G..G|\n",
    ),
    Case::new(
        &failing::VMAS,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nmprotect 0+1..0+2 r fail 2 => ENOMEM\n    => 0+0 |rw-p .|rw-p G..|\n",
    ),
    Case::new(
        &failing::VMAS,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 none private fixed\nmprotect 0+0..0+4 r fail 1 => ENOMEM\n    => 0+0 |r--p ..|---p ..|\n",
    ),
    Case::new(
        &failing::VMAS,
        "mmap 0+0..0+4 rw private fixed\ndontfork 0+1..0+4 fail 1 => EAGAIN\n    => 0+0 |....|\nhugepage 0+1..0+4 fail 1 => EAGAIN\n\
         \x20   => 0+0 |....|\n",
    )
    .flags(&[(2, "!dc !hg")]),
    Case::new(
        &failing::VMAS,
        "mmap 0+0..0+4 rw private fixed\nmlock 0+1..0+2 fail 2 => ENOMEM\n    => 0+0 |.|...|\n",
    )
    .flags(&[(1, "!lo")]),
    Case::new(
        &failing::UNMAP,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+1..0+2 tag 1\nguard-install 0+2..0+3\nmunmap 0+1..0+3 fail 3 => ENOMEM\n    => 0+0 |.|aG|.|\n",
    ),
    Case::new(
        &failing::MAP,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nmmap 0+1..0+3 r private fixed fail 3 => ENOMEM\n    => 0+0 |.|G.|.|\n",
    ),
    Case::new(
        &failing::MAP,
        "mmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2\nmmap 0+1..0+3 r private fixed fail 4 => ENOMEM\n    => 0+0 |.|__|.|\n",
    ),
    Case::new(
        &failing::MAP,
        "mmap 0+0..0+4 rw private fixed\nmmap 0+1..0+3 rw shared fixed fail 4 => ENOSPC\n    => 0+0 |.|__|.|\n",
    ),
    Case::new(
        &failing::UNMERGED,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw private fixed fail 1 => ok\n    => 0+0 |..|..|\n",
    ),
    Case::new(
        &failing::REMAP,
        "mmap 0+0..0+2 rw private fixed\nguard-install 0+0..0+1\nmmap 0+8..0+10 r private fixed\nmremap 0+0..0+2 0+8..0+10 fixed fail 2 => ENOMEM\n\
         \x20   => 0+0 |G.|________\n",
    ),
    Case::new(
        &failing::REMAP,
        "mmap 0+0..0+2 rw private fixed\nmremap 0+0..0+2 0+0..0+4 stay fail 1 => ENOMEM\n    => 0+0 |..|__\n",
    ),
    Case::new(
        &failing::KEEPS_SOURCE,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\nguard-install 0+2..0+3\nmremap 0+1..0+3 0+8..0+10 fixed fail 3 => ok\n\
         \x20   => 0+0 |a|...|____|aG|\n",
    )
    .flags(&[(0, "!ac"), (1, "!ac"), (8, "ac")]),
    Case::new(
        &failing::FORK,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+1 tag 1\nguard-install 0+1..0+2\nfork 1 fail 1 => ENOMEM\n    => 0+0 |aG..|\n\
         write 0+0..0+1 tag 2\nread 0+0..0+1 => reads 2\n",
    ),
    Case::new(
        &failing::FORK,
        "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+1 tag 1\nguard-install 0+1..0+2\nfork 1 fail 4 => ENOMEM\n    => 0+0 |aG..|\n\
         write 0+0..0+1 tag 2\nread 0+0..0+1 => reads 2\n",
    ),
];
