//! `kernels.toml`: which kernels we want, edited by hand.

use crate::{version, Arch, Error, Result};
use serde::Deserialize;
use std::path::Path;

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Where to look.
    pub suites: Suites,
    /// What to look for.
    #[serde(rename = "want")]
    pub wants: Vec<Want>,
}

/// Suites by archive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suites {
    /// Of the main archive.
    pub main: Vec<String>,
    /// Of the security archive.
    #[serde(default)]
    pub security: Vec<String>,
}

/// One wanted kernel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Want {
    /// `6.18`.
    pub series: String,
    /// Exactly this point release; without it the newest.
    pub point: Option<String>,
    /// `cloud`, `16k` or `full`.
    #[serde(default = "cloud")]
    pub flavour: String,
    /// For which architectures.
    #[serde(default = "both")]
    pub arch: Vec<Arch>,
}

fn cloud() -> String {
    "cloud".into()
}

fn both() -> Vec<Arch> {
    Arch::ALL.to_vec()
}

/// Flavours that are known, with the base page size in bytes.
const FLAVOURS: [(&str, u32); 3] = [("cloud", 4096), ("16k", 16384), ("full", 4096)];

/// The end of a package name and release: `cloud-amd64`, `arm64-16k`, `amd64`. None if there is no such kernel.
pub fn suffix(flavour: &str, arch: Arch) -> Option<String> {
    let debian = arch.debian();
    match flavour {
        "cloud" => Some(format!("cloud-{debian}")),
        "full" => Some(debian.to_owned()),
        "16k" if arch == Arch::Aarch64 => Some(format!("{debian}-16k")),
        _ => None,
    }
}

/// Base page size in bytes of a flavour.
pub fn page_size(flavour: &str) -> Option<u32> {
    FLAVOURS
        .iter()
        .find(|(f, _)| *f == flavour)
        .map(|(_, s)| *s)
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`].
    pub fn load(path: &Path) -> Result<Manifest> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Manifest::parse(&path.display().to_string(), &text)
    }

    /// Parses manifest text; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Manifest> {
        let wrong = |message: String| Error::Format {
            file: file.to_owned(),
            message,
        };
        let manifest: Manifest = toml::from_str(text).map_err(|e| wrong(e.to_string()))?;
        for want in &manifest.wants {
            want.check().map_err(wrong)?;
        }
        Ok(manifest)
    }
}

impl Want {
    /// A wish for `name`, a series or a point release. `arches` empty: all that the flavour exists for.
    ///
    /// # Errors
    /// A sentence about what is wrong with it.
    pub fn named(name: &str, flavour: &str, arches: &[Arch]) -> Result<Want, String> {
        let series = version::series(name).ok_or_else(|| {
            format!("`{name}` is neither a series (6.18) nor a point release (6.18.5)")
        })?;
        let mut arch = arches.to_vec();
        if arch.is_empty() {
            arch.extend(
                Arch::ALL
                    .into_iter()
                    .filter(|&a| suffix(flavour, a).is_some()),
            );
        }
        let want = Want {
            point: (name != series).then(|| name.to_owned()),
            series,
            flavour: flavour.to_owned(),
            arch,
        };
        if want.arch.is_empty() {
            return Err(format!(
                "flavour `{flavour}` is not known; there are cloud, full and 16k"
            ));
        }
        want.check()?;
        Ok(want)
    }

    /// As a stanza of `kernels.toml`.
    pub fn to_toml(&self) -> String {
        let mut text = format!("\n[[want]]\nseries = \"{}\"\n", self.series);
        if let Some(point) = &self.point {
            text.push_str(&format!("point = \"{point}\"\n"));
        }
        if self.flavour != "cloud" {
            text.push_str(&format!("flavour = \"{}\"\n", self.flavour));
        }
        if self.arch != Arch::ALL {
            let list: Vec<String> = self.arch.iter().map(|a| format!("\"{a}\"")).collect();
            text.push_str(&format!("arch = [{}]\n", list.join(", ")));
        }
        text
    }

    /// Checks series, point release, flavour and architectures against each other.
    pub fn check(&self) -> Result<(), String> {
        let series = &self.series;
        if version::series(series).as_deref() != Some(series) {
            return Err(format!("series `{series}` is not of the form 6.18"));
        }
        if let Some(point) = &self.point {
            if version::series(point).as_deref() != Some(series) {
                return Err(format!("point release `{point}` is not of series {series}"));
            }
        }
        for &arch in &self.arch {
            if suffix(&self.flavour, arch).is_none() {
                return Err(format!(
                    "flavour `{}` does not exist for {arch}; there are cloud, full and, for aarch64, 16k",
                    self.flavour
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_manifest_is_right() {
        let manifest = Manifest::parse("kernels.toml", include_str!("../kernels.toml")).unwrap();
        for series in [
            "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3",
        ] {
            assert!(
                manifest.wants.iter().any(|w| w.series == series),
                "{series}"
            );
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let head = "[suites]\nmain = [\"sid\"]\n[[want]]\n";
        for (want, words) in [
            ("series = \"6\"", "not of the form"),
            ("series = \"6.18\"\npoint = \"6.19.1\"", "not of series"),
            (
                "series = \"6.18\"\nflavour = \"16k\"",
                "does not exist for x86_64",
            ),
            ("series = \"6.18\"\nflavor = \"x\"", "unknown field"),
        ] {
            let error = Manifest::parse("m", &format!("{head}{want}\n")).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
