//! What programs ask of userfaultfd.

use serde::{Deserialize, Serialize};

/// A call through the actor's own userfaultfd descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UffdCall {
    /// UFFDIO_REGISTER with UFFDIO_REGISTER_MODE_MISSING.
    RegisterMissing,
    /// UFFDIO_UNREGISTER.
    Unregister,
    /// UFFDIO_COPY of pages that hold what `write` with this tag stores.
    Copy { tag: u16 },
    /// UFFDIO_ZEROPAGE.
    ZeroPage,
    /// UFFDIO_POISON.
    Poison,
}

impl UffdCall {
    /// Every call, in the order of the reference page; copies with tag 1.
    pub const ALL: [UffdCall; 5] = [
        UffdCall::RegisterMissing,
        UffdCall::Unregister,
        UffdCall::Copy { tag: 1 },
        UffdCall::ZeroPage,
        UffdCall::Poison,
    ];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            UffdCall::RegisterMissing => "uffd-register-missing",
            UffdCall::Unregister => "uffd-unregister",
            UffdCall::Copy { .. } => "uffd-copy",
            UffdCall::ZeroPage => "uffd-zeropage",
            UffdCall::Poison => "uffd-poison",
        }
    }

    /// Whether it counts what it did, and may do a part of what it is asked to.
    pub fn fills(self) -> bool {
        matches!(
            self,
            UffdCall::Copy { .. } | UffdCall::ZeroPage | UffdCall::Poison
        )
    }
}
