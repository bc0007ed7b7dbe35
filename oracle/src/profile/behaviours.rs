//! The table of behaviours that differ between kernels, and the flags made from it.

use super::{Arch, Release};
use crate::judge::Observation;
use serde::{Deserialize, Serialize};

/// How a running kernel tells whether it has a behaviour.
pub struct Probe {
    /// A program in the text form; it runs like any other.
    pub program: &'static str,
    /// Reads the answer from the observations after each of its steps, all taken with VmFlags; `None`: cannot tell.
    pub read: fn(&[Observation]) -> Option<bool>,
}

/// One behaviour that some kernels have and others do not.
pub struct Behaviour {
    /// The name of its flag in [`Profile`].
    pub name: &'static str,
    /// What a kernel with the behaviour does.
    pub what: &'static str,
    /// Where this is known from: commit subject, file of the kernel tree, or a run.
    pub source: &'static str,
    /// Architectures that can have it.
    pub archs: &'static [Arch],
    /// Release ranges that have it: from the first, up to but without the second. A stable backport is a row of its own.
    pub ranges: &'static [(Release, Release)],
    /// A program that tells, where there is one.
    pub probe: Option<Probe>,
    get: fn(&Profile) -> bool,
    set: fn(&mut Profile, bool),
}

impl Behaviour {
    /// Whether the table says that this release has it.
    pub fn holds_at(&self, release: Release, arch: Arch) -> bool {
        self.archs.contains(&arch)
            && self
                .ranges
                .iter()
                .any(|&(from, to)| from <= release && release < to)
    }

    /// The flag in a profile.
    pub fn get(&self, profile: &Profile) -> bool {
        (self.get)(profile)
    }

    /// Sets the flag in a profile.
    pub fn set(&self, profile: &mut Profile, on: bool) {
        (self.set)(profile, on)
    }
}

/// No end.
const FOREVER: Release = Release(u16::MAX, 0, 0);
const BOTH: &[Arch] = &[Arch::X86_64, Arch::Aarch64];

macro_rules! behaviours {
    ($( $(#[$doc:meta])* $name:ident { what: $what:expr, source: $source:expr, archs: $archs:expr, ranges: $ranges:expr, probe: $probe:expr $(,)? } )*) => {
        /// The behaviours of one kernel, one flag for each row of [`BEHAVIOURS`].
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct Profile { $( #[doc = $what] pub $name: bool, )* }

        impl Profile {
            /// The profile that the table gives a release on an architecture.
            pub fn at_release(release: Release, arch: Arch) -> Profile {
                let mut profile = Profile { $( $name: false, )* };
                for behaviour in BEHAVIOURS {
                    behaviour.set(&mut profile, behaviour.holds_at(release, arch));
                }
                profile
            }
        }

        /// Every behaviour that differs between kernels.
        pub static BEHAVIOURS: &[Behaviour] = &[ $( Behaviour {
            name: stringify!($name), what: $what, source: $source, archs: $archs, ranges: $ranges, probe: $probe,
            get: |p| p.$name, set: |p, on| p.$name = on,
        }, )* ];
    };
}

impl Profile {
    /// The newest kernel that the table knows, on x86-64: what the generator's own model runs on.
    pub fn newest() -> Profile {
        Profile::at_release(Release::NEWEST, Arch::X86_64)
    }
}

behaviours! {
    guards {
        what: "madvise knows GUARD_INSTALL and GUARD_REMOVE, on private anonymous memory",
        source: "6.13, mm: madvise: implement lightweight guard page mechanism",
        archs: BOTH,
        ranges: &[(Release(6, 13, 0), FOREVER)],
        probe: None,
    }
}
