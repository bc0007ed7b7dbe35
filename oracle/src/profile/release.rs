//! Kernel releases as data. Only the harness reads a release string; the oracle sees what comes out of the table.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Processor architecture, where a behaviour depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    X86_64,
    Aarch64,
}

/// A release: version, patch level, sub-level. `Release(6, 18, 44)` is 6.18.44.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release(pub u16, pub u16, pub u16);

impl Release {
    /// The newest release that the tables were checked against.
    pub const NEWEST: Release = Release(7, 3, 4);

    /// Reads the leading `A.B` or `A.B.C` of a release such as `6.18.5+deb14-cloud-amd64`; `None` if there is none.
    pub fn parse(text: &str) -> Option<Release> {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let mut parts = text[..end].split('.').filter(|p| !p.is_empty());
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let sub = match parts.next() {
            Some(p) => p.parse().ok()?,
            None => 0,
        };
        Some(Release(major, minor, sub))
    }

    /// The series, as in `6.18`.
    pub fn series(self) -> (u16, u16) {
        (self.0, self.1)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_strings() {
        for (text, want) in [
            ("6.18.5+deb14-cloud-amd64", Some(Release(6, 18, 5))),
            ("7.3-rc7", Some(Release(7, 3, 0))),
            ("6.1.0-50-cloud-arm64", Some(Release(6, 1, 0))),
            ("7", None),
            ("x", None),
            ("70000.1", None),
        ] {
            assert_eq!(Release::parse(text), want, "{text}");
        }
    }
}
