//! Profiles that have a name: those of releases, and those of mechanisms that no release has.

use super::{Arch, Profile, Release};
use std::fmt;

/// A profile by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// What the table gives a release.
    Release(Release),
    /// The mechanism as the seed thread's patch had it: [PATCH RFC 3/4] mm: madvise: implement lightweight guard page mechanism,
    /// linux-mm, October 2024 (then MADV_GUARD_POISON and MADV_GUARD_UNPOISON), on a kernel like 6.12.
    Rfc2024,
}

/// The name of [`Named::Rfc2024`].
const RFC_2024: &str = "rfc-2024";

impl Named {
    /// The newest release that the table knows.
    pub const NEWEST: Named = Named::Release(Release::NEWEST);

    /// Names of the profiles that are no release's.
    pub const OTHERS: &'static [&'static str] = &[RFC_2024];

    /// Reads `6.18.5` or `rfc-2024`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Named> {
        if text == RFC_2024 {
            return Some(Named::Rfc2024);
        }
        Release::parse(text).map(Named::Release)
    }

    /// The profile on an architecture.
    pub fn profile(self, arch: Arch) -> Profile {
        match self {
            Named::Release(release) => Profile::at_release(release, arch),
            Named::Rfc2024 => Profile {
                guards: true,
                rfc_anon_vma_after: true,
                rfc_gives_up: true,
                rfc_remove_splits: true,
                ..Profile::at_release(Release(6, 12, 0), arch)
            },
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Release(release) => write!(f, "{release}"),
            Named::Rfc2024 => f.write_str(RFC_2024),
        }
    }
}
