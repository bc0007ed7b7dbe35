//! Protection keys, as programs name them.

use serde::{Deserialize, Serialize};

/// What pkey_mprotect is given as key. An actor has three keys from the start, each with rights of its own that never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KeyGiven {
    /// A key that permits everything.
    Open,
    /// A key with PKEY_DISABLE_WRITE.
    NoWrite,
    /// A key with PKEY_DISABLE_ACCESS.
    NoAccess,
    /// Key 0, which everything has that has no other.
    Default,
    /// -1: what mprotect would do.
    AsIs,
    /// A key that nobody has allocated.
    Unknown,
}

impl KeyGiven {
    /// Each with its name in the text form, in the order of the reference page.
    pub const ALL: [(&'static str, KeyGiven); 6] = [
        ("open", KeyGiven::Open),
        ("no-write", KeyGiven::NoWrite),
        ("no-access", KeyGiven::NoAccess),
        ("default", KeyGiven::Default),
        ("as-is", KeyGiven::AsIs),
        ("unknown", KeyGiven::Unknown),
    ];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, key)| *key == self);
        named.map_or("", |(name, _)| name)
    }
}
