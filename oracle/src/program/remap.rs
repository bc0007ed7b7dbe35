//! How mremap is called.

use serde::{Deserialize, Serialize};

/// The flags of an mremap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Remap {
    /// None: the mapping shrinks or grows where it is.
    Stay,
    /// MREMAP_MAYMOVE: it may go where the kernel likes to grow.
    MayMove,
    /// MREMAP_MAYMOVE | MREMAP_FIXED: it goes to the address given, and replaces what is there.
    Fixed,
    /// MREMAP_MAYMOVE | MREMAP_DONTUNMAP: its pages go, it stays; the address is a hint.
    DontUnmap,
    /// All three.
    FixedDontUnmap,
    /// MREMAP_FIXED without MREMAP_MAYMOVE: refused.
    FixedAlone,
    /// MREMAP_DONTUNMAP without MREMAP_MAYMOVE: refused.
    DontUnmapAlone,
    /// A flag that no kernel knows.
    UnknownFlag,
}

impl Remap {
    /// Every way, with its word in the text form, in the order of the reference page.
    pub const ALL: [(&'static str, Remap); 8] = [
        ("stay", Remap::Stay),
        ("maymove", Remap::MayMove),
        ("fixed", Remap::Fixed),
        ("dontunmap", Remap::DontUnmap),
        ("fixed-dontunmap", Remap::FixedDontUnmap),
        ("fixed-alone", Remap::FixedAlone),
        ("dontunmap-alone", Remap::DontUnmapAlone),
        ("unknown-flag", Remap::UnknownFlag),
    ];

    /// MREMAP_MAYMOVE.
    pub fn may_move(self) -> bool {
        matches!(
            self,
            Remap::MayMove | Remap::Fixed | Remap::DontUnmap | Remap::FixedDontUnmap
        )
    }

    /// MREMAP_FIXED.
    pub fn is_fixed(self) -> bool {
        matches!(
            self,
            Remap::Fixed | Remap::FixedDontUnmap | Remap::FixedAlone
        )
    }

    /// MREMAP_DONTUNMAP.
    pub fn keeps_source(self) -> bool {
        matches!(
            self,
            Remap::DontUnmap | Remap::FixedDontUnmap | Remap::DontUnmapAlone
        )
    }

    /// Whether the call looks at the new address.
    pub fn has_target(self) -> bool {
        self.is_fixed() || self.keeps_source()
    }

    /// Whether the kernel may choose where the mapping goes.
    pub fn may_go_elsewhere(self) -> bool {
        matches!(self, Remap::MayMove | Remap::DontUnmap)
    }
}
