//! What programs say to mlock and its kin.

use serde::{Deserialize, Serialize};

/// The calls that lock or unlock a range in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LockCall {
    /// mlock.
    Lock,
    /// mlock2 with MLOCK_ONFAULT.
    LockOnFault,
    /// mlock2 with a flag that no kernel knows.
    UnknownFlag,
    /// munlock.
    Unlock,
}

impl LockCall {
    /// Every call, in the order of the reference page.
    pub const ALL: [LockCall; 4] = [
        LockCall::Lock,
        LockCall::LockOnFault,
        LockCall::UnknownFlag,
        LockCall::Unlock,
    ];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            LockCall::Lock => "mlock",
            LockCall::LockOnFault => "mlock-onfault",
            LockCall::UnknownFlag => "mlock-unknown-flag",
            LockCall::Unlock => "munlock",
        }
    }
}

/// Flags of mlockall; none of them is a mistake that programs may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct LockAll {
    /// MCL_CURRENT: what is mapped now.
    pub current: bool,
    /// MCL_FUTURE: what will be mapped.
    pub future: bool,
    /// MCL_ONFAULT: pages are locked when they are touched, and not brought in before.
    pub on_fault: bool,
}
