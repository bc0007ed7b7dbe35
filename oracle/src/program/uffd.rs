//! What programs ask of userfaultfd.

use serde::{Deserialize, Serialize};

/// A call through the actor's own userfaultfd descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UffdCall {
    /// UFFDIO_REGISTER with UFFDIO_REGISTER_MODE_MISSING.
    RegisterMissing,
    /// UFFDIO_REGISTER with UFFDIO_REGISTER_MODE_WP.
    RegisterWp,
    /// UFFDIO_REGISTER with both.
    RegisterBoth,
    /// UFFDIO_UNREGISTER.
    Unregister,
    /// UFFDIO_COPY of pages that hold what `write` with this tag stores; `protect`: with UFFDIO_COPY_MODE_WP.
    Copy { tag: u16, protect: bool },
    /// UFFDIO_ZEROPAGE.
    ZeroPage,
    /// UFFDIO_POISON.
    Poison,
    /// UFFDIO_WRITEPROTECT with UFFDIO_WRITEPROTECT_MODE_WP.
    Protect,
    /// UFFDIO_WRITEPROTECT without.
    Unprotect,
}

impl UffdCall {
    /// Every call, in the order of the reference page; copies with tag 1.
    pub const ALL: [UffdCall; 10] = [
        UffdCall::RegisterMissing,
        UffdCall::Unregister,
        UffdCall::Copy {
            tag: 1,
            protect: false,
        },
        UffdCall::ZeroPage,
        UffdCall::Poison,
        UffdCall::RegisterWp,
        UffdCall::RegisterBoth,
        UffdCall::Protect,
        UffdCall::Unprotect,
        UffdCall::Copy {
            tag: 1,
            protect: true,
        },
    ];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            UffdCall::RegisterMissing => "uffd-register-missing",
            UffdCall::RegisterWp => "uffd-register-wp",
            UffdCall::RegisterBoth => "uffd-register-both",
            UffdCall::Unregister => "uffd-unregister",
            UffdCall::Copy { protect: false, .. } => "uffd-copy",
            UffdCall::Copy { protect: true, .. } => "uffd-copy-wp",
            UffdCall::ZeroPage => "uffd-zeropage",
            UffdCall::Poison => "uffd-poison",
            UffdCall::Protect => "uffd-protect",
            UffdCall::Unprotect => "uffd-unprotect",
        }
    }

    /// Whether it counts what it did, and may do a part of what it is asked to.
    pub fn fills(self) -> bool {
        matches!(
            self,
            UffdCall::Copy { .. } | UffdCall::ZeroPage | UffdCall::Poison
        )
    }

    /// Whether it registers memory.
    pub fn registers(self) -> bool {
        matches!(
            self,
            UffdCall::RegisterMissing | UffdCall::RegisterWp | UffdCall::RegisterBoth
        )
    }
}
