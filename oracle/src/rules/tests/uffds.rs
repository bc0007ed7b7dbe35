//! userfaultfd.

use super::Case;
use crate::profile::Arch;
use crate::rules::uffd::{self, moving, poison, protect};

pub(super) const CASES: &[Case] = &[
    Case::new(
        &uffd::RANGE,
        "mmap 0+0..0+4 rw private fixed\nuffd-register-missing 0+0.1..0+2 => EINVAL\nuffd-register-missing 0+0..0+2.1 => EINVAL\n\
         uffd-register-missing 0+0..0+0 => EINVAL\nuffd-unregister 0+2..0+1 => EINVAL\nuffd-copy 0+1..0+0 tag 1 => EINVAL\n\
         uffd-zeropage 0+0..0+0.8 => EINVAL\n    => 0+0 |....|\n",
    ),
    Case::new(
        &uffd::register::REGISTERS,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nwrite 0+1..0+2 tag 1\nguard-install 0+2..0+3\nuffd-register-missing 0+1..0+4 => ok\n\
             => 0+0 |.|aG.|..|\nuffd-register-missing 0+4..0+5 => ok\n    => 0+0 |.|aG..|.|\nuffd-register-missing 0+6..0+8 => EINVAL\n\
         uffd-register-missing 0+5..0+8 => ok\n    => 0+0 |.|aG...|__\nuffd-register-missing 0+1..0+2 => ok\n    => 0+0 |.|aG...|__\n",
    )
    .flags(&[(0, "!um"), (1, "um"), (5, "um")]),
    Case::new(
        &uffd::register::INSIDE_APART,
        "mmap 0+0..0+6 rw private fixed\nuffd-register-missing 0+3..0+4 => ok\nuffd-register-missing 0+2..0+3 => ok\n\
         uffd-register-missing 0+1..0+2 => ok\n    => 0+0 |.|.|.|.|..|\nuffd-register-missing 0+0..0+6 => ok\n    => 0+0 |..|.|...|\n",
    )
    .on(6, 1, Arch::X86_64),
    Case::new(
        &uffd::register::KINDS,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw private ramfs0 fixed\nuffd-register-missing 0+0..0+4 => EINVAL\n\
         uffd-register-missing 0+0..0+2 => ok\nuffd-unregister 0+0..0+4 => EINVAL\nmmap 0+4..0+5 rw shared fixed\n\
         mmap 0+5..0+6 rw private memfd0 fixed\nuffd-register-missing 0+4..0+6 => ok\n",
    )
    .flags(&[(0, "um"), (2, "!um"), (4, "um"), (5, "um")]),
    Case::new(
        &uffd::register::DROPPABLE,
        "mmap 0+0..0+2 rw droppable fixed\nuffd-register-missing 0+0..0+2 => EINVAL\nuffd-unregister 0+0..0+2 => EINVAL\n",
    ),
    Case::new(
        &uffd::register::DROPPABLE,
        "mmap 0+0..0+2 rw droppable fixed\nuffd-register-missing 0+0..0+2 => ok\n",
    )
    .on(6, 12, Arch::X86_64)
    .flags(&[(0, "um")]),
    Case::new(
        &uffd::register::MAY_WRITE,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r shared memfd0 readonly fixed\nuffd-register-missing 0+0..0+4 => EPERM\n",
    )
    .flags(&[(0, "!um")]),
    Case::new(
        &uffd::register::UNREGISTERS,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nuffd-unregister 0+0..0+6 => ok\nuffd-register-missing 0+0..0+6\nguard-install 0+1..0+2\n\
         uffd-unregister 0+2..0+4 => ok\n    => 0+0 |.G|..|..|\nread 0+2..0+3 => reads 0\nuffd-unregister 0+0..0+6 => ok\n\
             => 0+0 |.Gz...|\n",
    )
    .flags(&[(0, "!um")]),
    Case::new(
        &uffd::missing::MISSING,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nwrite 0+0..0+1 tag 1\nread 0+1..0+2\nguard-install 0+2..0+3\n\
         uffd-register-missing 0+0..0+6\nwrite 0+0..0+2 tag 2 => ok\nread 0+2..0+3 => SIGSEGV MAPERR 0+2\n\
         read 0+3..0+4 => SIGBUS ADRERR 0+3\nwrite 0+4..0+5 tag 3 => SIGBUS ADRERR 0+4\npipe-write 0+5..0+6 => EFAULT\n\
         populate-read 0+3..0+4 => EFAULT\nmlock 0+3..0+4 => ENOMEM\nguard-remove 0+2..0+3\nread 0+2..0+3 => SIGBUS ADRERR\n",
    ),
    Case::new(
        &uffd::missing::MISSING,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nuffd-register-missing 0+0..1+0\nwrite 0+0..0+1 tag 1 => SIGBUS\n\
         read 0+0..0+1 => SIGBUS\nuffd-unregister 0+0..1+0\nwrite 0+0..0+1 tag 1 => ok\n    => 0+0 |A*pmd|\n",
    ),
    Case::new(
        &uffd::missing::MISSING_SHARED,
        "mmap 0+0..0+4 rw shared memfd0+22 fixed\ntruncate memfd0 26\nuffd-register-missing 0+0..0+4\nread 0+0..0+4 => SIGBUS ADRERR 0+2\n\
             => 0+0 |ff..|\nwrite 0+1..0+3 tag 1 => SIGBUS ADRERR 0+2\nmmap 1+0..1+4 rw private memfd0+22 fixed\n\
         uffd-register-missing 1+0..1+4\nwrite 1+0..1+4 tag 2 => SIGBUS ADRERR 1+2\n    => 1+0 |aa..|\n",
    ),
    Case::new(
        &uffd::fill::ONE_VMA,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r private fixed\nuffd-zeropage 0+0..0+1 => ENOENT\nuffd-register-missing 0+0..0+4\n\
         uffd-copy 0+1..0+3 tag 1 => ENOENT\nuffd-copy 0+8..0+9 tag 1 => ENOENT\nuffd-zeropage 0-1..0+1 => ENOENT\n",
    ),
    Case::new(
        &uffd::fill::PREPARES_FIRST,
        "mmap 0+0..0+2 rw private fixed\nuffd-zeropage 0+0..0+1 => ENOENT\nmmap 0+4..0+6 rw private fixed\n\
         mremap 0+0..0+2 0+2..0+4 fixed => ok\n    => 0+2 |..|..|\n",
    ),
    Case::new(
        &uffd::fill::COPIES,
        "mmap 0+0..0+4 none private fixed\nuffd-register-missing 0+0..0+4\nuffd-copy 0+0..0+2 tag 7 => ok\n    => 0+0 |aa..|\n\
         mprotect 0+0..0+4 rw\nread 0+0..0+2 => reads 7*2\nmmap 1+0..1+2 rw shared fixed\nuffd-register-missing 1+0..1+2\n\
         uffd-copy 1+0..1+2 tag 8 => ok\nread 1+0..1+2 => reads 8*2\n    => 1+0 |ff|\n",
    ),
    Case::new(
        &uffd::fill::ZEROES,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw private memfd0 fixed\nmmap 0+8..0+9 rw shared fixed\nuffd-register-missing 0+0..0+9\n\
         uffd-zeropage 0+0..0+2 => ok\nuffd-zeropage 0+4..0+6 => ok\nuffd-zeropage 0+8..0+9 => ok\n    => 0+0 |zz|__|zz|__|f|\n\
         read 0+4..0+6 => reads 0*2\nwrite 0+4..0+5 tag 2 => ok\nread 0+4..0+6 => reads 2 0\n",
    ),
    Case::new(
        &uffd::fill::OCCUPIED,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nguard-install 0+2..0+3\nuffd-register-missing 0+0..0+6\nuffd-copy 0+0..0+4 tag 1 => up-to 0+2\n\
         uffd-copy 0+2..0+4 tag 1 => EEXIST\nuffd-zeropage 0+1..0+2 => EEXIST\nuffd-zeropage 0+3..0+4 => ok\n    => 0+0 |aaGz..|\n\
         mmap 1+0..1+2 rw shared memfd0 fixed\nuffd-register-missing 1+0..1+2\nuffd-copy 1+0..1+1 tag 1 => EEXIST\n",
    ),
    Case::new(
        &uffd::fill::OCCUPIED,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nuffd-register-missing 0+0..1+0\nuffd-copy 0+3..0+4 tag 1 => EEXIST\n\
             => 0+0 |A*pmd|\n",
    ),
    Case::new(
        &uffd::fill::OVERWRITES_GUARDS,
        "mmap 0+0..0+2 rw private fixed\nguard-install 0+0..0+2\nuffd-register-missing 0+0..0+2\nuffd-zeropage 0+0..0+1 => EEXIST\n\
         uffd-copy 0+0..0+1 tag 1 => ok\n    => 0+0 |aG|\nmmap 1+0..1+2 rw shared fixed\nguard-install 1+0..1+2\n\
         uffd-register-missing 1+0..1+2\nuffd-zeropage 1+0..1+1 => ok\n    => 1+0 |fG|\n",
    )
    .on(6, 16, Arch::X86_64),
    Case::new(
        &uffd::fill::BEYOND_END,
        "mmap 0+0..0+4 rw shared memfd1+23 fixed\nmmap 0+8..0+12 rw private memfd1+23 fixed\nuffd-register-missing 0+0..0+12\n\
         uffd-copy 0+0..0+4 tag 1 => up-to 0+1\nuffd-copy 0+9..0+10 tag 1 => EFAULT\nguard-install 0+10..0+11\nuffd-copy 0+10..0+11 tag 1 => EFAULT\nuffd-zeropage 0+9..0+10 => EFAULT\n",
    ),
    Case::new(
        &uffd::fill::BEYOND_END_ENOMEM,
        "mmap 0+0..0+4 rw shared memfd1+23 fixed\nuffd-register-missing 0+0..0+4\nguard-install 0+2..0+3\nuffd-copy 0+1..0+2 tag 1 => ENOMEM\n\
         uffd-zeropage 0+2..0+3 => ENOMEM\nuffd-copy 0+0..0+2 tag 1 => up-to 0+1\n",
    ),
    Case::new(
        &uffd::fill::BEYOND_END,
        "mmap 0+0..0+4 rw shared memfd1+23 fixed\nuffd-register-missing 0+0..0+4\nuffd-copy 0+1..0+2 tag 1 => EFAULT\n",
    )
    .on(7, 1, Arch::X86_64),
    Case::new(
        &uffd::lost::FORK,
        "mmap 0+0..0+2 rw private fixed\nuffd-register-missing 0+0..0+2\nuffd-copy 0+0..0+1 tag 1\nfork 1\n1: read 0+0..0+2 => reads 1 0\n\
         1: uffd-copy 0+1..0+2 tag 1 => ENOENT\nread 0+1..0+2 => SIGBUS\n1: uffd-register-missing 0+0..0+2 => ok\n",
    ),
    Case::new(
        &uffd::lost::MOVED,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nuffd-register-missing 0+0..0+4\nuffd-copy 0+0..0+1 tag 1\nguard-install 0+1..0+2\n\
         mremap 0+0..0+4 0+8..0+12 fixed-dontunmap => ok\n    => 0+0 |....|____|aG..|\nread 0+10..0+11 => reads 0\nread 0+0..0+1 => SIGBUS\n",
    )
    .flags(&[(0, "um"), (8, "!um")]),
    Case::new(
        &uffd::lost::MOVED_APART,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+5 rw private fixed\nuffd-register-missing 0+0..0+5\nmremap 0+4..0+5 0+2..0+3 fixed => ok\n\
             => 0+0 |..|.|__\n",
    )
    .flags(&[(0, "um"), (2, "!um")]),
    Case::new(
        &uffd::lost::MOVED,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+4..0+5 rw private fixed\nuffd-register-missing 0+0..0+5\nmremap 0+4..0+5 0+2..0+3 fixed => ok\n\
             => 0+0 |...|__\n",
    )
    .on(6, 18, Arch::X86_64)
    .flags(&[(0, "!um")]),
    Case::new(
        &uffd::lost::MOVED_ALONE,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw private fixed\nuffd-register-missing 0+2..0+4\nmremap 0+0..0+4 1+0..1+4 fixed => EFAULT\n\
             => 0+0 __|..|\n    => 1+0 |..|__\n",
    ),
    Case::new(
        &uffd::missing::COLLAPSE,
        "mmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nuffd-register-missing 0+0..1+0\ncollapse 0+0..1+0 => EBUSY\n\
         uffd-unregister 0+0..1+0\ncollapse 0+0..1+0 => ok\n",
    ),
    Case::new(
        &poison::UNKNOWN,
        "mmap 0+0..0+2 rw private fixed\nuffd-register-missing 0+0..0+2\nuffd-poison 0+0..0+1 => EINVAL\n    => 0+0 |..|\n",
    )
    .on(6, 1, Arch::X86_64),
    Case::new(
        &poison::MARKS,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nwrite 0+3..0+4 tag 1\nuffd-poison 0+0..0+1 => ENOENT\n\
         uffd-register-missing 0+0..0+6\nguard-install 0+5..0+6\nuffd-poison 0+0..0+4 => up-to 0+3\n    => 0+0 |~~~a.G|\n\
         uffd-poison 0+0..0+1 => EEXIST\nuffd-poison 0+5..0+6 => EEXIST\nuffd-poison 0+4..0+6 => up-to 0+5\n    => 0+0 |~~~a~G|\n\
         mmap 1+0..1+4 rw shared memfd1+22 fixed\nread 1+0..1+1\nuffd-register-missing 1+0..1+4\nuffd-poison 1+0..1+1 => EEXIST\n\
         uffd-poison 1+1..1+4 => up-to 1+2\nuffd-poison 1+2..1+3 => EFAULT\n    => 1+0 |f~..|\n",
    ),
    Case::new(
        &poison::ACCESS,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nuffd-register-missing 0+0..0+4\nuffd-poison 0+0..0+4\nuffd-unregister 0+0..0+4\n\
         read 0+0..0+1 => SIGBUS MCEERR 0+0\nwrite 0+1..0+2 tag 1 => SIGBUS MCEERR 0+1\npipe-write 0+1..0+2 => EFAULT\n\
         populate-read 0+1..0+2 => EHWPOISON\nmlock 0+0..0+1 => ENOMEM\nmprotect 0+3..0+4 none\nread 0+3..0+4 => SIGSEGV ACCERR 0+3\n\
             => 0+0 |~|~~|~|\n",
    ),
    Case::new(
        &poison::REPLACED,
        "thp never\n\nmmap 0+0..0+3 rw private fixed\nmmap 1+0..1+2 rw shared fixed\nuffd-register-missing 0+0..1+2\n\
         uffd-poison 0+0..0+3\nuffd-zeropage 0+0..0+1 => EEXIST\nuffd-copy 0+0..0+2 tag 3 => ok\nread 0+0..0+2 => reads 3*2\n\
             => 0+0 |aa~|\nuffd-poison 1+0..1+2\nuffd-zeropage 1+0..1+1 => ok\n    => 1+0 |f~|\n",
    ),
    Case::new(
        &poison::GOES,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nuffd-register-missing 0+0..0+6\nuffd-poison 0+0..0+6\nguard-remove 0+0..0+6\n\
         dontneed 0+0..0+1\nfree 0+1..0+2\nguard-install 0+2..0+3\ncold 0+3..0+4\npageout 0+4..0+5\n    => 0+0 |..G~~~|\n\
         mmap 1+0..1+4 rw shared memfd0 fixed\nuffd-register-missing 1+0..1+4\ndontneed 1+0..1+4\nuffd-poison 1+0..1+4\n\
         punch-hole memfd0 0..2\n    => 1+0 |~~~~|\ntruncate memfd0 2\n    => 1+0 |~~..|\n",
    ),
    Case::new(
        &poison::FORK,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw shared fixed\nuffd-register-missing 0+0..0+6\nuffd-poison 0+0..0+2\n\
         uffd-poison 0+4..0+6\nfork 1\n    => 1: 0+0 |~~|__|..|\n1: read 0+0..0+1 => SIGBUS MCEERR 0+0\n1: read 0+4..0+5 => reads 0\n\
         1: dontneed 0+0..0+1\n    => 0: 0+0 |~~|__|~~|\n",
    ),
    Case::new(
        &protect::UNKNOWN,
        "mmap 0+0..0+2 rw private fixed\nuffd-register-wp 0+0..0+2 => EINVAL\nuffd-register-both 0+0..0+2 => EINVAL\n\
         uffd-protect 0+0..0+2 => ENOENT\n",
    )
    .on(6, 1, Arch::Aarch64),
    Case::new(
        &protect::PROTECTS,
        "thp never\n\nmmap 0+0..0+8 rw private fixed\nwrite 0+0..0+2 tag 1\nread 0+2..0+3\nguard-install 0+3..0+4\n\
         uffd-register-wp 0+0..0+8 => ok\nuffd-protect 0+0..0+6 => ok\n    => 0+0 |aazG....|\nwrite 0+4..0+5 tag 2 => ok\n\
         read 0+0..0+3 => reads 1*2 0\nwrite 0+3..0+4 tag 2 => SIGSEGV MAPERR\nwrite 0+2..0+3 tag 2 => SIGBUS ADRERR 0+2\n\
         mmap 1+0..1+6 rw shared fixed\nwrite 1+0..1+1 tag 3\nguard-install 1+1..1+2\nuffd-register-wp 1+0..1+6\n\
         uffd-protect 1+0..1+4 => ok\n    => 1+0 |fG~~..|\n",
    )
    .flags(&[(0, "uw"), (0, "!um")]),
    Case::new(
        &protect::PROTECTS,
        "thp always\n\nmmap 0+0..2+0 rw private fixed\nwrite 0+0..0+1 tag 1\nwrite 1+0..1+1 tag 1\nuffd-register-wp 0+0..2+0\n\
         uffd-protect 0+0..1+0 => ok\n    => 0+0 |A*pmd\nwrite 0+9..0+10 tag 2 => SIGBUS ADRERR 0+9\n    => 0+0 |A*pmd\n\
         uffd-protect 1+0..1+1 => ok\nwrite 1+1..1+2 tag 2 => ok\nwrite 1+0..1+1 tag 2 => SIGBUS\n",
    ),
    Case::new(
        &protect::UNPROTECTS,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+4 tag 1\nuffd-register-wp 0+0..0+4\nuffd-protect 0+0..0+4\n\
         uffd-unprotect 0+1..0+2 => ok\nwrite 0+1..0+3 tag 2 => SIGBUS ADRERR 0+2\nuffd-unregister 0+0..0+4 => ok\n\
         write 0+0..0+4 tag 3 => ok\nmmap 1+0..1+4 rw shared fixed\nuffd-register-wp 1+0..1+4\nuffd-protect 1+0..1+4\n    => 1+0 |~~~~|\n\
         guard-install 0+0..0+1\nuffd-unprotect 1+0..1+2 => ok\n    => 1+0 |..~~|\nuffd-unregister 1+0..1+4\n    => 1+0 |....|\n",
    ),
    Case::new(
        &protect::REGISTERED,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+3..0+4 rw private fixed\nmmap 0+4..0+6 r private fixed\nwrite 0+0..0+2 tag 1\n\
         uffd-protect 0+0..0+2 => ENOENT\nuffd-register-wp 0+0..0+4\nwrite 0+3..0+4 tag 1\nuffd-protect 0+0..0+6 => ENOENT\n\
         write 0+3..0+4 tag 2 => SIGBUS\nuffd-unprotect 0+0..0+4 => ok\nwrite 0+3..0+4 tag 2 => ok\nuffd-protect 0+8..0+9 => ENOENT\n\
         uffd-protect 0+1..0+1 => EINVAL\n",
    ),
    Case::new(
        &protect::ONE_VMA,
        "mmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 r private fixed\nwrite 0+0..0+1 tag 1\nuffd-register-wp 0+0..0+4\n\
         uffd-protect 0+0..0+3 => ENOENT\nwrite 0+0..0+1 tag 2 => ok\nuffd-protect 0+0..0+1 => ok\nwrite 0+0..0+1 tag 2 => SIGBUS\n",
    )
    .on(6, 1, Arch::X86_64),
    Case::new(
        &protect::STORE,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\nuffd-register-wp 0+0..0+4\nuffd-protect 0+0..0+4\nfork 1\n\
         write 0+0..0+1 tag 2 => SIGBUS ADRERR 0+0\n    => 0: 0+0 |ss..|\npipe-read 0+1..0+2 tag 3 => EFAULT\npopulate-write 0+0..0+1 => EFAULT\n\
         mlock 0+0..0+1 => ENOMEM\npipe-write 0+0..0+2 => ok\nvm-write 0+0..0+1 tag 3 of 0 => EFAULT\npopulate-write 0+2..0+4 => ok\n\
         write 0+2..0+3 tag 3 => ok\n",
    ),
    Case::new(
        &protect::MARKER,
        "mmap 0+0..0+4 rw shared memfd1+22 fixed\nmmap 0+4..0+8 rw private memfd1+22 fixed\nuffd-register-wp 0+0..0+8\nuffd-protect 0+0..0+8\n\
             => 0+0 |~~~~|~~~~|\nread 0+0..0+1 => reads 0\n    => 0+0 |f~~~|~~~~|\nwrite 0+1..0+2 tag 1 => SIGBUS ADRERR 0+1\n\
             => 0+0 |ff~~|~~~~|\nwrite 0+4..0+5 tag 1 => SIGBUS ADRERR 0+4\n    => 0+0 |ff~~|a~~~|\nread 0+2..0+3 => SIGBUS ADRERR 0+2\n\
             => 0+0 |ff~~|a~~~|\nuffd-unprotect 0+4..0+5\nwrite 0+4..0+5 tag 1 => ok\n",
    ),
    Case::new(
        &protect::ALONE,
        "mmap 0+0..0+4 rw shared memfd0 fixed\nuffd-register-wp 0+0..0+4\nwrite 0+0..0+4 tag 1\ndontneed 0+0..0+4\nread 0+1..0+2 => reads 1\n\
             => 0+0 |.f..|\nuffd-unregister 0+0..0+4\nread 0+0..0+1\n    => 0+0 |ffff|\n",
    ),
    Case::new(
        &protect::LEAVES_MARKERS,
        "thp never\n\nmmap 0+0..0+4 rw shared memfd0 fixed\nmmap 0+4..0+6 rw private memfd0 fixed\nmmap 0+6..0+8 rw private fixed\n\
         write 0+0..0+8 tag 1\nuffd-register-wp 0+0..0+8\nuffd-protect 0+0..0+2\nuffd-protect 0+4..0+8\n    => 0+0 |ffff|aa|aa|\n\
         dontneed 0+0..0+8\n    => 0+0 |~~..|~~|..|\ndontneed 0+0..0+8\n    => 0+0 |~~..|~~|..|\nread 0+0..0+1 => reads 1\n\
         punch-hole memfd0 0..1\n    => 0+0 |~~..|~~|..|\n",
    ),
    Case::new(
        &protect::GUARD,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\nuffd-register-wp 0+0..0+4\nuffd-protect 0+0..0+4\n\
         guard-install 0+1..0+3 => ok\n    => 0+0 |aGG.|\nuffd-unprotect 0+0..0+4\nguard-remove 0+0..0+4\n    => 0+0 |a...|\n\
         write 0+0..0+2 tag 2 => ok\n",
    ),
    Case::new(
        &protect::REPLACED,
        "mmap 0+0..0+4 rw shared fixed\nmmap 0+4..0+8 rw private memfd0 fixed\nuffd-register-both 0+0..0+8\nuffd-protect 0+0..0+8\n\
         uffd-poison 0+0..0+1 => EEXIST\nuffd-copy 0+0..0+1 tag 1 => ok\nwrite 0+0..0+1 tag 2 => ok\nuffd-zeropage 0+1..0+2 => ok\n\
         uffd-zeropage 0+4..0+5 => EEXIST\nuffd-copy-wp 0+4..0+5 tag 1 => ok\nwrite 0+4..0+5 tag 2 => SIGBUS\n    => 0+0 |ff~~|a~~~|\n",
    ),
    Case::new(
        &protect::COPY,
        "mmap 0+0..0+4 rw private fixed\nuffd-copy-wp 0+0..0+1 tag 1 => ENOENT\nuffd-register-missing 0+0..0+4\nuffd-copy-wp 0+0..0+1 tag 1 => EINVAL\n\
         uffd-register-both 0+0..0+4 => ok\nuffd-copy-wp 0+0..0+1 tag 1 => ok\nread 0+0..0+1 => reads 1\nwrite 0+0..0+1 tag 2 => SIGBUS\n\
         uffd-copy-wp 0+0..0+1 tag 1 => EEXIST\n",
    )
    .flags(&[(0, "um"), (0, "uw")]),
    Case::new(
        &protect::FORK,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+2..0+4 rw private memfd0 fixed\nwrite 0+0..0+1 tag 1\nwrite 0+2..0+3 tag 1\n\
         uffd-register-wp 0+0..0+4\nuffd-protect 0+0..0+4\nfork 1\n    => 1: 0+0 |s.|s.|\n    => 0: 0+0 |s.|s~|\n1: write 0+0..0+4 tag 2 => ok\n\
         write 0+0..0+1 tag 3 => SIGBUS\n",
    ),
    Case::new(
        &protect::MOVED,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nmmap 0+4..0+6 rw shared fixed\nwrite 0+0..0+1 tag 1\nuffd-register-wp 0+0..0+6\n\
         uffd-protect 0+0..0+6\nmremap 0+0..0+2 1+0..1+2 fixed => ok\nmremap 0+4..0+6 1+4..1+6 fixed => ok\n    => 1+0 |a.|__|..|__\n\
         write 1+0..1+1 tag 2 => ok\n",
    ),
    Case::new(
        &protect::SURVIVES,
        "mmap 0+4..0+6 rw shared fixed\nuffd-register-wp 0+4..0+6\nuffd-protect 0+4..0+6\nmremap 0+4..0+6 1+4..1+6 fixed => ok\n\
             => 1+4 |~~|__\nwrite 1+4..1+5 tag 1 => ok\n    => 1+4 |f~|__\n",
    )
    .on(6, 1, Arch::X86_64),
    Case::new(
        &protect::STALE,
        "mmap 0+0..0+2 rw shared fixed\nuffd-register-wp 0+0..0+2\nuffd-protect 0+0..0+2\nuffd-register-missing 0+0..0+2 => ok\n    => 0+0 |~~|\n\
         write 0+0..0+1 tag 1 => SIGBUS\n    => 0+0 |.~|\nuffd-unregister 0+0..0+2\n    => 0+0 |.~|\nread 0+1..0+2 => reads 0\n    => 0+0 |.f|\n",
    )
    .on(7, 2, Arch::X86_64),
    Case::new(
        &protect::SWITCH,
        "mmap 0+0..0+2 rw private fixed\nuffd-register-both 0+0..0+2\nuffd-register-missing 0+0..0+2 => EBUSY\nuffd-register-wp 0+0..0+2 => ok\n\
         uffd-unregister 0+0..0+2\nuffd-register-missing 0+0..0+2 => ok\n",
    )
    .flags(&[(0, "um"), (0, "!uw")]),
    Case::new(
        &protect::COLLAPSE,
        "thp never\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+8 tag 1\nuffd-register-wp 0+0..1+0\nuffd-protect 0+3..0+4\n\
         collapse 0+0..1+0 => EINVAL\nuffd-unprotect 0+3..0+4\ncollapse 0+0..1+0 => EBUSY\n",
    ),
    Case::new(
        &protect::SHOWN,
        "thp never\n\nmmap 0+0..0+2 rw private fixed\nwrite 0+0..0+2 tag 1\nuffd-register-wp 0+0..0+2\nuffd-protect 0+0..0+1\n    => 0+0 |aa|\n",
    ),
    Case::new(
        &moving::UNKNOWN,
        "mmap 0+0..0+4 rw private fixed\nuffd-register-missing 0+0..0+2\nwrite 0+2..0+3 tag 1\nuffd-move 0+2..0+3 to 0+0 => EINVAL\n",
    )
    .on(6, 1, Arch::X86_64),
    Case::new(
        &moving::MOVES,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmmap 1+0..1+4 rw private fixed\nwrite 0+0..0+2 tag 1\nread 0+2..0+3\n\
         clear-soft-dirty\nuffd-register-missing 1+0..1+4\nuffd-move 0+0..0+3 to 1+1 => ok\n    => 0+0 |....|\n    => 1+0 |.aaz|\n\
         read 1+1..1+4 => reads 1*2 0\nread 1+0..1+1 => SIGBUS ADRERR 1+0\nread 0+0..0+1 => reads 0\nuffd-move 1+1..1+2 to 1+0 => ok\n\
             => 1+0 |a.az|\nuffd-move-holes 1+1..1+4 to 0+1 => EINVAL\nuffd-move 0+0..0+1 to 1+1 => ok\n    => 0+0 |....|\n    => 1+0 |azaz|\n",
    )
    .soft_dirty(&[(512, true), (513, false), (514, true), (515, false)]),
    Case::new(
        &moving::AREAS,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmmap 0+4..0+6 r private fixed\nmmap 0+6..0+8 rw shared fixed\n\
         mmap 0+8..0+10 rw private memfd0 fixed\nmmap 1+0..1+4 rw private fixed\nwrite 0+0..0+3 tag 1\n\
         uffd-move 0+0..0+1 to 1+0 => EINVAL\nuffd-register-wp 1+0..1+4\nuffd-move 0+0..0+1 to 2+0 => ENOENT\n\
         uffd-move 0-1..0+0 to 1+0 => ENOENT\nuffd-move 0+0..0+1 to 1+0.1 => EINVAL\nuffd-move 0+3..0+5 to 1+0 => EINVAL\n\
         uffd-move 0+0..0+2 to 1+3 => EINVAL\nuffd-move 0+4..0+5 to 1+0 => EINVAL\nuffd-move 0+6..0+7 to 1+0 => EINVAL\n\
         uffd-move 0+8..0+9 to 1+0 => EINVAL\nuffd-move 0+0..0+1 to 1+0 => ok\nmlock-onfault 0+0..0+4 => ok\n\
         uffd-move 0+1..0+2 to 1+1 => EINVAL\nmlock 1+1..1+3 => ok\nmprotect 1+1..1+4 r\nuffd-move 0+1..0+2 to 1+3 => EINVAL\n",
    ),
    Case::new(
        &moving::AREAS,
        "mmap 0+0..0+2 rw private fixed\nmmap 1+0..1+2 rw private fixed\nwrite 0+0..0+2 tag 1\nuffd-register-missing 1+0..1+2\n\
         pkey-mprotect 0+0..0+1 rw no-write\nuffd-move 0+0..0+1 to 1+0\n    => EINVAL\npkey-mprotect 1+0..1+1 rw no-write\n\
         uffd-move 0+0..0+1 to 1+0\n    => ok\n    => 1+0 |a|.|\n",
    ),
    Case::new(
        &moving::OCCUPIED,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmmap 1+0..1+6 rw private fixed\nwrite 0+0..0+3 tag 1\nguard-install 1+1..1+2\n\
         uffd-register-missing 1+0..1+6\nuffd-poison 1+3..1+4\nuffd-move 0+0..0+3 to 1+0 => up-to 0+1\nuffd-move 0+1..0+3 to 1+0 => EEXIST\n\
         uffd-move 0+1..0+3 to 1+1 => EEXIST\nuffd-move 0+1..0+3 to 1+2 => up-to 0+2\nuffd-move 0+3..0+4 to 1+3 => EEXIST\n\
             => 0+0 |..a.|\n    => 1+0 |aGa~..|\n",
    ),
    Case::new(
        &moving::OCCUPIED,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmmap 1+0..2+0 rw private fixed\nwrite 1+0..1+1 tag 2\n\
         uffd-register-missing 1+0..2+0\nuffd-move 0+0..0+1 to 1+1 => EEXIST\n    => 0+0 |A*pmd|\n    => 1+0 |A*pmd|\n",
    ),
    Case::new(
        &moving::HOLES,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmmap 1+0..1+6 rw private fixed\nuffd-register-missing 1+0..1+6\n\
         uffd-move 0+0..0+2 to 1+0 => ENOENT\nwrite 0+0..0+1 tag 1\nwrite 0+3..0+4 tag 2\nuffd-move 0+0..0+4 to 1+0 => up-to 0+1\n\
         uffd-move-holes 0+1..0+4 to 1+2 => ok\n    => 0+0 |....|\n    => 1+0 |a...a.|\nuffd-move-holes 2+0..2+1 to 1+5 => ENOENT\n",
    ),
    Case::new(
        &moving::MARKERS,
        "thp never\n\nmmap 0+0..0+6 rw private fixed\nmmap 1+0..1+6 rw private fixed\nwrite 0+0..0+6 tag 1\nuffd-register-missing 0+0..1+6\n\
         guard-install 0+1..0+2\ndontneed 0+3..0+4\nuffd-poison 0+3..0+4\nuffd-move 0+0..0+3 to 1+0 => up-to 0+1\n\
         uffd-move 0+1..0+3 to 1+1 => EFAULT\nuffd-move-holes 0+3..0+4 to 1+1 => EFAULT\nuffd-move 0+2..0+6 to 1+1 => up-to 0+3\n\
             => 0+0 |.G.~aa|\n    => 1+0 |aa....|\n",
    ),
    Case::new(
        &moving::NOT_EXCLUSIVE,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmmap 1+0..1+4 rw private fixed\nwrite 0+0..0+3 tag 1\nuffd-register-missing 1+0..1+4\n\
         fork 1\nuffd-move 0+0..0+1 to 1+0 => EBUSY\n1: exit\nuffd-move 0+0..0+1 to 1+0 => EBUSY\nwrite 0+0..0+1 tag 2\n\
         uffd-move 0+0..0+2 to 1+0 => up-to 0+1\nvm-read 0+1..0+2 of 0 => ok\nuffd-move 0+1..0+3 to 1+1 => up-to 0+2\n    => 0+0 |..a.|\n\
             => 1+0 |aa..|\n",
    ),
    Case::new(
        &moving::NOT_EXCLUSIVE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmmap 1+0..2+0 rw private fixed\nuffd-register-missing 1+0..2+0\n\
         fork 1\n1: exit\nuffd-move 0+0..1+0 to 1+0 => EBUSY\nuffd-move 0+1..0+2 to 1+0 => EBUSY\n    => 0+0 |A*pmd|\nwrite 0+1..0+2 tag 2\n\
         uffd-move 0+0..1+0 to 1+0 => ok\n    => 0+0 |.*pmd|A*pmd|\n",
    ),
    Case::new(
        &moving::HUGE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+3..0+4 tag 1\nmmap 1+0..2+0 rw private fixed\nuffd-register-missing 1+0..2+0\n\
         uffd-move 0+0..1+0 to 1+0 => ok\n    => 0+0 |.*pmd|A*pmd|\nread 1+3..1+4 => reads 1\nread 0+0..0+1 => reads 0\n    => 0+0 |Z*pmd|A*pmd|\n\
         uffd-unregister 1+0..2+0\nuffd-register-missing 0+0..1+0\ndontneed 0+0..1+0\nuffd-move 1+0..2+0 to 0+0 => ok\n    => 0+0 |A*pmd|.*pmd|\n",
    ),
    Case::new(
        &moving::HUGE_ZERO_BIT,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nread 0+3..0+4\nmmap 1+0..2+0 rw private fixed\nuffd-register-missing 1+0..2+0\n\
         clear-soft-dirty\nuffd-move 0+0..1+0 to 1+0 => ok\n    => 0+0 |.*pmd|Z*pmd|\n",
    )
    .soft_dirty(&[(512, true)]),
    Case::new(
        &moving::HUGE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nread 0+3..0+4\nmmap 1+0..2+0 rw private fixed\nuffd-register-missing 1+0..2+0\n\
         clear-soft-dirty\nuffd-move 0+0..1+0 to 1+0 => ok\n    => 0+0 |.*pmd|Z*pmd|\n",
    )
    .on(6, 12, Arch::X86_64)
    .soft_dirty(&[(512, false)]),
    Case::new(
        &moving::SPLITS_HUGE,
        "thp always\n\nmmap 0+0..1+0 rw private fixed\nwrite 0+0..0+1 tag 1\nmmap 1+0..2+0 rw private fixed\nuffd-register-missing 1+0..2+0\n\
         uffd-copy 1+0..1+1 tag 2\nuffd-move 0+0..1+0 to 1+0 => EEXIST\n    => 0+0 |a*pmd|a\nuffd-move 0+0..0+2 to 1+1 => ok\n\
             => 0+0 ..zz\n    => 1+0 |aaz.\nread 1+0..1+3 => reads 2 1 0\n",
    ),
    Case::new(
        &moving::UNPROTECTS,
        "thp never\n\nmmap 0+0..0+4 rw private fixed\nmmap 1+0..1+4 rw private fixed\nwrite 0+0..0+2 tag 1\nread 0+2..0+3\n\
         uffd-register-wp 0+0..1+4\nuffd-protect 0+0..0+4\nuffd-move 0+0..0+3 to 1+0 => ok\n    => 0+0 |....|\n    => 1+0 |aaz.|\n\
         write 1+0..1+3 tag 2 => ok\n",
    ),
    Case::new(
        &moving::LEAVES_DROPPABLE,
        "thp never\n\nmmap 0+0..0+4 rw droppable fixed\nmmap 1+0..1+4 rw private fixed\nwrite 0+0..0+1 tag 1\nuffd-register-missing 1+0..1+4\n\
         uffd-move 0+0..0+1 to 1+0 => ok\npageout 1+0..1+1\n    => 1+0 |a...|\n",
    ),
];
