//! What programs say to prctl about huge pages.

use serde::{Deserialize, Serialize};

/// prctl(PR_SET_THP_DISABLE): whether the actor's address space, and those of its later children, have huge pages.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub enum HugeSwitch {
    /// As everybody else.
    #[default]
    On,
    /// Nowhere.
    Off,
    /// PR_THP_DISABLE_EXCEPT_ADVISED: where MADV_HUGEPAGE was said, and for MADV_COLLAPSE.
    OffUnlessAdvised,
    /// Off, with a flag that no kernel knows.
    UnknownFlag,
}

impl HugeSwitch {
    /// Every call, in the order of the reference page.
    pub const ALL: [HugeSwitch; 4] = [
        HugeSwitch::Off,
        HugeSwitch::OffUnlessAdvised,
        HugeSwitch::UnknownFlag,
        HugeSwitch::On,
    ];

    /// Its name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            HugeSwitch::On => "thp-enable",
            HugeSwitch::Off => "thp-disable",
            HugeSwitch::OffUnlessAdvised => "thp-disable-except-advised",
            HugeSwitch::UnknownFlag => "thp-disable-unknown-flag",
        }
    }
}
