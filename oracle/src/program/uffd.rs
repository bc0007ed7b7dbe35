//! What programs ask of userfaultfd.

use crate::geometry::{Pos, Range};
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
    /// UFFDIO_MOVE of the range to as many pages from `to` on; `holes`: with UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES.
    Move { to: Pos, holes: bool },
}

impl UffdCall {
    /// Every call, in the order of the reference page; copies with tag 1, moves to the arena's start.
    pub const ALL: [UffdCall; 12] = [
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
        UffdCall::Move {
            to: Pos::new(0, 0),
            holes: false,
        },
        UffdCall::Move {
            to: Pos::new(0, 0),
            holes: true,
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
            UffdCall::Move { holes: false, .. } => "uffd-move",
            UffdCall::Move { holes: true, .. } => "uffd-move-holes",
        }
    }

    /// Whether it counts what it did, and may do a part of what it is asked to.
    pub fn fills(self) -> bool {
        matches!(
            self,
            UffdCall::Copy { .. } | UffdCall::ZeroPage | UffdCall::Poison | UffdCall::Move { .. }
        )
    }

    /// Where a move of `range` puts its pages, on every geometry.
    pub(super) fn destination(self, range: Range) -> Option<Range> {
        let UffdCall::Move { to, .. } = self else {
            return None;
        };
        let Range { start, end } = range;
        let block = i16::from(to.block) + i16::from(end.block) - i16::from(start.block);
        let page = i32::from(to.page) + i32::from(end.page) - i32::from(start.page);
        let byte = i32::from(to.byte) + i32::from(end.byte) - i32::from(start.byte);
        let end = Pos {
            block: block.clamp(0, u8::MAX.into()) as u8,
            page: page.clamp(i16::MIN.into(), i16::MAX.into()) as i16,
            byte: byte.clamp(0, u16::MAX.into()) as u16,
        };
        Some(Range::new(to, end))
    }

    /// Whether it is about VMAs: registers or unregisters.
    pub fn changes_vmas(self) -> bool {
        self.registers() || self == UffdCall::Unregister
    }

    /// Whether it registers memory.
    pub fn registers(self) -> bool {
        matches!(
            self,
            UffdCall::RegisterMissing | UffdCall::RegisterWp | UffdCall::RegisterBoth
        )
    }
}
