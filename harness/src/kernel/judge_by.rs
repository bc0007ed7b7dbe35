//! By whose rules a kernel is judged: by its own, unless somebody wants to see what other rules notice.

use oracle::profile::{Arch, Behaviour, Named, Profile};

/// What takes the place of the rules that a kernel is found to have. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JudgeBy {
    /// This profile instead of the kernel's own.
    pub profile: Option<Named>,
    /// Rows of the table of behaviours that are taken as not known: the newest kernel's value stands for every kernel, and none has a fault.
    pub without: Vec<&'static Behaviour>,
}

impl JudgeBy {
    /// A whole profile.
    pub fn profile(named: Named) -> JudgeBy {
        JudgeBy {
            profile: Some(named),
            without: Vec::new(),
        }
    }

    /// Whether every kernel is judged by its own rules.
    pub fn is_own(&self) -> bool {
        *self == JudgeBy::default()
    }

    /// Forgets the rows that are taken as not known.
    pub fn forget(&self, profile: &mut Profile, arch: Arch) {
        for row in &self.without {
            row.set(profile, row.expected(arch));
        }
    }

    /// The options of a command that judges likewise.
    pub fn options(&self) -> Vec<String> {
        let profile = self.profile.iter().map(|p| format!("--profile {p}"));
        let rows = self.without.iter();
        profile
            .chain(rows.map(|row| format!("--without-row {}", row.name)))
            .collect()
    }

    /// Names of the rows that are taken as not known.
    pub fn names(&self) -> Vec<String> {
        let rows = self.without.iter();
        rows.map(|row| row.name.to_string()).collect()
    }

    /// Whether this row of the table, by its name, is taken as not known.
    pub fn is_forgotten(&self, row: &str) -> bool {
        self.without.iter().any(|forgotten| forgotten.name == row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oracle::profile::Release;

    #[test]
    fn a_forgotten_row_has_the_newest_kernels_value() {
        let old = Release(6, 1, 0);
        for arch in [Arch::X86_64, Arch::Aarch64] {
            let newest = Profile::at_release(Release::NEWEST, arch);
            for row in oracle::profile::BEHAVIOURS {
                let own = Profile::at_release(old, arch);
                let mut profile = own.clone();
                let by = JudgeBy {
                    profile: None,
                    without: vec![row],
                };
                by.forget(&mut profile, arch);
                let expected = row.get(&newest) && !row.is_fault();
                assert_eq!(row.get(&profile), expected, "{}", row.name);
                // Nothing else changes.
                row.set(&mut profile, row.get(&own));
                assert_eq!(profile, own, "{}", row.name);
                assert!(by.is_forgotten(row.name) && !by.is_own());
            }
        }
        assert!(JudgeBy::default().is_own());
    }
}
