//! Where Debian's archives are: from the environment, else from the machine's own apt configuration.

use crate::lock::Archive;
use crate::{Error, Result};
use std::process::Command;

/// Base address of the main archive (the directory that holds `pool`). Overrides apt's configuration.
pub const MIRROR_VARIABLE: &str = "MMDIFF_DEBIAN_MIRROR";
/// Base address of the security archive. Without it, it is the sibling `debian-security` of a main mirror
/// that ends in `/debian`, otherwise the main mirror itself.
pub const SECURITY_VARIABLE: &str = "MMDIFF_DEBIAN_SECURITY_MIRROR";
/// Base address of a snapshot, asked last for kernels that left the mirror. `{archive}` in it stands for
/// `debian` or `debian-security`.
pub const SNAPSHOT_VARIABLE: &str = "MMDIFF_DEBIAN_SNAPSHOT";

/// Addresses of the archives, without a slash at the end, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// Addresses of the main archive.
    pub main: Vec<String>,
    /// Addresses of the security archive.
    pub security: Vec<String>,
    /// Address of a snapshot, if one was named.
    pub snapshot: Option<String>,
}

impl Mirrors {
    /// From the environment, else from apt's configuration. An empty answer is no error here: a kernel in
    /// the cache needs no mirror.
    pub fn find() -> Mirrors {
        let variable = |name| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
        let mut mirrors = match variable(MIRROR_VARIABLE) {
            Some(main) => Mirrors::from_main(&main),
            None => Mirrors::from_apt(&apt_targets()),
        };
        if let Some(security) = variable(SECURITY_VARIABLE) {
            mirrors.security = vec![trim(&security)];
        }
        mirrors.snapshot = variable(SNAPSHOT_VARIABLE).map(|s| trim(&s));
        mirrors
    }

    /// One mirror for everything, the security archive beside it.
    pub fn from_main(main: &str) -> Mirrors {
        let main = trim(main);
        Mirrors {
            security: vec![sibling(&main)],
            main: vec![main],
            snapshot: None,
        }
    }

    /// From lines `REPO_URI RELEASE` of `apt-get indextargets`. Only Debian's own suites count: a machine
    /// has other sources too.
    pub fn from_apt(targets: &str) -> Mirrors {
        let mut mirrors = Mirrors::default();
        for line in targets.lines() {
            let mut words = line.split_whitespace();
            let (Some(uri), Some(release)) = (words.next(), words.next()) else {
                continue;
            };
            let uri = trim(uri);
            let scheme = uri.split(':').next().unwrap_or_default();
            if !matches!(scheme, "http" | "https" | "file") || !is_debian_suite(release) {
                continue;
            }
            let list = if release.contains("-security") || release.contains("/updates") {
                &mut mirrors.security
            } else {
                &mut mirrors.main
            };
            if !list.contains(&uri) {
                list.push(uri);
            }
        }
        if mirrors.security.is_empty() {
            mirrors.security = mirrors.main.iter().map(|m| sibling(m)).collect();
        }
        mirrors
    }

    /// Addresses for one archive.
    ///
    /// # Errors
    /// [`Error::NoMirror`] if there is none.
    pub fn of(&self, archive: Archive) -> Result<&[String]> {
        let list = match archive {
            Archive::Main => &self.main,
            Archive::Security => &self.security,
        };
        if list.is_empty() {
            return Err(Error::NoMirror {
                archive: archive.name().to_owned(),
            });
        }
        Ok(list)
    }

    /// Address of a pool path on the snapshot, if there is one.
    pub fn snapshot_uri(&self, archive: Archive, path: &str) -> Option<String> {
        let name = match archive {
            Archive::Main => "debian",
            Archive::Security => "debian-security",
        };
        let base = self.snapshot.as_ref()?.replace("{archive}", name);
        Some(format!("{base}/{path}"))
    }
}

fn trim(uri: &str) -> String {
    uri.trim().trim_end_matches('/').to_owned()
}

/// `.../debian` becomes `.../debian-security`; any other address stands for both archives.
fn sibling(main: &str) -> String {
    if main.ends_with("/debian") {
        format!("{main}-security")
    } else {
        main.to_owned()
    }
}

/// Debian's code names from 11 on and its standing names. Derivatives use other names.
fn is_debian_suite(release: &str) -> bool {
    const NAMES: [&str; 10] = [
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "sid",
        "stable",
        "oldstable",
        "testing",
        "unstable",
        "experimental",
    ];
    let base = release.split(['-', '/']).next().unwrap_or_default();
    NAMES.contains(&base)
}

fn apt_targets() -> String {
    // Works from the sources alone, before any `apt-get update`. No apt: no answer, no mirror.
    Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
        .env("LC_ALL", "C")
        .output()
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_sources_are_sorted_by_archive_and_strangers_left_out() {
        let targets = "http://m.example/debian/ bookworm\nhttp://m.example/debian/ bookworm-updates\n\
            http://s.example/debian-security/ bookworm-security\nhttps://other.example/apt/ nodistro\n\
            cdrom://[disc]/ bookworm\n";
        let mirrors = Mirrors::from_apt(targets);
        assert_eq!(mirrors.main, ["http://m.example/debian"]);
        assert_eq!(mirrors.security, ["http://s.example/debian-security"]);
        assert!(Mirrors::from_apt("https://other.example/apt/ jammy")
            .of(Archive::Main)
            .is_err());
    }

    #[test]
    fn one_mirror_stands_for_both_archives() {
        let mirrors = Mirrors::from_main("http://m.example/debian/");
        assert_eq!(
            mirrors.of(Archive::Security).unwrap(),
            ["http://m.example/debian-security"]
        );
        let flat = Mirrors::from_main("file:///srv/kernels");
        assert_eq!(flat.of(Archive::Security).unwrap(), ["file:///srv/kernels"]);
    }

    #[test]
    fn the_snapshot_address_takes_the_archives_name() {
        let mut mirrors = Mirrors::from_main("http://m.example/debian");
        assert_eq!(mirrors.snapshot_uri(Archive::Main, "pool/x.deb"), None);
        mirrors.snapshot = Some("http://s.example/{archive}/2026".into());
        assert_eq!(
            mirrors
                .snapshot_uri(Archive::Security, "pool/x.deb")
                .as_deref(),
            Some("http://s.example/debian-security/2026/pool/x.deb")
        );
    }
}
