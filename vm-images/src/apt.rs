//! A private apt root: our own sources, lists and cache; the system's apt is neither read nor changed.
//!
//! Only its proxy and connection settings are taken over. Signatures are checked by apt against Debian's
//! keyring. The date in a Release file is not: a frozen mirror of old kernels is as good as a fresh one here.

use crate::lock::Archive;
use crate::manifest::Suites;
use crate::mirror::Mirrors;
use crate::{files, Arch, Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

/// Where Debian's package debian-archive-keyring puts the keys.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// One package stanza of an index, as far as we need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Package name.
    pub name: String,
    /// Debian version.
    pub version: String,
    /// Path below the archive's address.
    pub path: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// Archive of the index.
    pub archive: Archive,
    /// Architecture of the index.
    pub arch: Arch,
}

/// The private root.
#[derive(Debug)]
pub struct AptRoot {
    dir: PathBuf,
}

impl AptRoot {
    /// Sets up (or refreshes the configuration of) a private root in `dir`.
    ///
    /// # Errors
    /// [`Error::NoMirror`], [`Error::Apt`] if Debian's keyring is missing.
    pub fn create(dir: &Path, mirrors: &Mirrors, suites: &Suites) -> Result<AptRoot> {
        let keyring = KEYRINGS.iter().find(|k| Path::new(k).exists());
        let Some(keyring) = keyring else {
            return Err(Error::Apt {
                root: dir.to_owned(),
                message: "Debian's keyring is missing; install the package debian-archive-keyring"
                    .into(),
            });
        };
        AptRoot::with_keyring(dir, mirrors, suites, Path::new(keyring))
    }

    /// [`AptRoot::create`] with a keyring of one's own.
    pub fn with_keyring(
        dir: &Path,
        mirrors: &Mirrors,
        suites: &Suites,
        keyring: &Path,
    ) -> Result<AptRoot> {
        for sub in ["etc/empty", "lists/partial", "cache/archives/partial"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).map_err(Error::io(&sub))?;
        }
        let mut sources = String::new();
        for (archive, names) in [
            (Archive::Main, &suites.main),
            (Archive::Security, &suites.security),
        ] {
            if names.is_empty() {
                continue;
            }
            let mirror = &mirrors.of(archive)?[0];
            for suite in names {
                sources.push_str(&format!(
                    "deb [signed-by={}] {mirror} {suite} main\n",
                    keyring.display()
                ));
            }
        }
        files::write_atomically(&dir.join("etc/sources.list"), sources.as_bytes())?;
        files::write_atomically(&dir.join("status"), b"")?;
        let at = |sub: &str| dir.join(sub).display().to_string();
        let mut conf = String::new();
        for (key, value) in [
            ("Dir::Etc::main", "/dev/null".to_owned()),
            ("Dir::Etc::parts", at("etc/empty")),
            ("Dir::Etc::sourcelist", at("etc/sources.list")),
            ("Dir::Etc::sourceparts", at("etc/empty")),
            ("Dir::Etc::preferences", at("etc/preferences")),
            ("Dir::Etc::preferencesparts", at("etc/empty")),
            ("Dir::State", at("")),
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", at("status")),
            ("Dir::Cache", at("cache")),
            // apt's binary caches are larger than the lists, and we read the lists ourselves.
            ("Dir::Cache::pkgcache", String::new()),
            ("Dir::Cache::srcpkgcache", String::new()),
            ("APT::Architecture", "amd64".to_owned()),
            ("APT::Sandbox::User", "root".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::Check-Valid-Until", "false".to_owned()),
            ("Acquire::Retries", "2".to_owned()),
        ] {
            conf.push_str(&format!("{key} \"{value}\";\n"));
        }
        conf.push_str("APT::Architectures { \"amd64\"; \"arm64\"; };\n");
        conf.push_str(&connection_settings());
        files::write_atomically(&dir.join("apt.conf"), conf.as_bytes())?;
        Ok(AptRoot {
            dir: dir.to_owned(),
        })
    }

    /// Fetches the indexes (about 100 MB for all suites), unless they are younger than `fresh_for`;
    /// `note` is called if they are fetched.
    ///
    /// # Errors
    /// [`Error::Network`] if the mirror does not answer, [`Error::Unavailable`] if it answers and does not have a suite,
    /// [`Error::Apt`] for anything else, a bad signature above all.
    pub fn update(&self, fresh_for: Duration, note: &dyn Fn()) -> Result<()> {
        let _lock = files::lock(&self.dir.join("update.lock"))?;
        let stamp = self.dir.join("updated");
        let sources = fs::read(self.dir.join("etc/sources.list")).unwrap_or_default();
        let age = fs::metadata(&stamp)
            .and_then(|m| m.modified())
            .ok()
            .and_then(|t| SystemTime::now().duration_since(t).ok());
        // The stamp holds the sources that were fetched: other sources, other lists.
        if age.is_some_and(|age| age < fresh_for)
            && fs::read(&stamp).ok().as_ref() == Some(&sources)
        {
            return Ok(());
        }
        note();
        let out = self.run(&["-q", "-o", "APT::Update::Error-Mode=any", "update"])?;
        if !out.status.success() {
            let detail = errors_of(&out);
            let lower = detail.to_lowercase();
            let silent = [
                "could not connect",
                "could not resolve",
                "temporary failure",
                "timed out",
                "connection refused",
            ];
            let what = String::from("the package indexes");
            let mut errors = detail.lines().filter(|line| line.starts_with("E:"));
            let absent = |line: &str| line.ends_with("does not have a Release file.");
            return Err(if silent.iter().any(|s| lower.contains(s)) {
                Error::Network { uri: what, detail }
            } else if detail.contains("E:") && errors.all(absent) {
                Error::Unavailable {
                    release: what,
                    detail,
                }
            } else {
                Error::Apt {
                    root: self.dir.clone(),
                    message: detail,
                }
            });
        }
        files::write_atomically(&stamp, &sources)
    }

    /// All `linux-image-*`, `linux-binary-*`, `linux-modules-*`, `linux-base-*` and `linux-source-*` packages of all suites.
    pub fn kernels(&self) -> Result<Vec<Indexed>> {
        let out = self.run(&[
            "indextargets",
            "--format",
            "$(CREATED_BY)|$(RELEASE)|$(ARCHITECTURE)|$(FILENAME)",
        ])?;
        let mut found = Vec::new();
        for line in String::from_utf8_lossy(&out.stdout).lines() {
            let fields: Vec<&str> = line.splitn(4, '|').collect();
            let ["Packages", release, arch, file] = fields[..] else {
                continue;
            };
            let Ok(arch) = arch.parse() else { continue };
            let archive = if release.contains("-security") {
                Archive::Security
            } else {
                Archive::Main
            };
            // Lists can be compressed; apt's helper reads them all.
            let text = Command::new("/usr/lib/apt/apt-helper")
                .args(["cat-file", file])
                .env("APT_CONFIG", self.dir.join("apt.conf"))
                .output()
                .map_err(Error::io(file))?;
            found.extend(parse_packages(
                &String::from_utf8_lossy(&text.stdout),
                archive,
                arch,
            ));
        }
        Ok(found)
    }

    fn run(&self, args: &[&str]) -> Result<Output> {
        Command::new("apt-get")
            .args(args)
            .env("APT_CONFIG", self.dir.join("apt.conf"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| Error::Tool {
                tool: "apt-get".into(),
                message: format!("{e}; looking kernels up needs apt"),
            })
    }
}

/// The system's proxies, timeouts and certificates, as configuration lines.
fn connection_settings() -> String {
    let Ok(out) = Command::new("apt-config").arg("dump").output() else {
        return String::new();
    };
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter(|l| l.starts_with("Acquire::http") && !l.ends_with(" \"\";"))
        .map(|l| format!("{l}\n"))
        .collect()
}

/// apt's own error lines, or the end of what it printed.
fn errors_of(out: &Output) -> String {
    let text = format!(
        "{}\n{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    let errors: Vec<&str> = text
        .lines()
        .filter(|l| l.starts_with("E:") || l.starts_with("W:") || l.starts_with("Err:"))
        .collect();
    if errors.is_empty() {
        text.trim()
            .chars()
            .rev()
            .take(500)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect()
    } else {
        errors.join("\n")
    }
}

/// Kernel packages of one index (deb822 stanzas).
fn parse_packages(text: &str, archive: Archive, arch: Arch) -> Vec<Indexed> {
    const KINDS: [&str; 5] = [
        "linux-image-",
        "linux-binary-",
        "linux-modules-",
        "linux-base-",
        "linux-source-",
    ];
    let mut found = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|l| {
                let (key, value) = l.split_once(": ")?;
                (key == name).then(|| value.trim().to_owned())
            })
        };
        let Some(name) = field("Package") else {
            continue;
        };
        let numbered = KINDS
            .iter()
            .find_map(|k| name.strip_prefix(k))
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if !numbered || name.contains("-dbg") || name.ends_with("-unsigned") {
            continue;
        }
        let size = field("Size").and_then(|s| s.parse().ok());
        if let (Some(version), Some(path), Some(sha256), Some(size)) =
            (field("Version"), field("Filename"), field("SHA256"), size)
        {
            found.push(Indexed {
                name,
                version,
                path,
                sha256,
                size,
                archive,
                arch,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_on(mirrors: &Mirrors, dir: &Path) -> AptRoot {
        let suites = Suites {
            main: vec!["sid".into()],
            security: vec![],
        };
        let keyring = dir.join("keyring.gpg");
        fs::write(&keyring, b"").unwrap();
        AptRoot::with_keyring(&dir.join("root"), mirrors, &suites, &keyring).unwrap()
    }

    #[test]
    fn an_unsigned_archive_is_refused() {
        let place = crate::testing::Mirror::new();
        let release = "Origin: Debian\nSuite: sid\nComponents: main\nArchitectures: amd64 arm64\n\
            Date: Mon, 23 Nov 2026 00:00:00 UTC\nSHA256:\n";
        place.put("dists/sid/Release", release.as_bytes());
        let dir = tempfile::tempdir().unwrap();
        let root = root_on(&place.mirrors(), dir.path());
        let noted = std::cell::Cell::new(false);
        let error = root
            .update(Duration::ZERO, &|| noted.set(true))
            .unwrap_err();
        assert!(matches!(error, Error::Apt { .. }), "{error}");
        assert!(error.to_string().contains("not signed"), "{error}");
        assert!(noted.get());
        assert!(root.kernels().unwrap().is_empty());
    }

    #[test]
    fn a_mirror_without_a_suite_is_no_broken_one() {
        let place = crate::testing::Mirror::new();
        let dir = tempfile::tempdir().unwrap();
        let root = root_on(&place.mirrors(), dir.path());
        let error = root.update(Duration::ZERO, &|| ()).unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("sid Release"), "{error}");
    }

    #[test]
    fn a_dead_mirror_is_a_network_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = root_on(&Mirrors::from_main("http://127.0.0.1:1/debian"), dir.path());
        let error = root.update(Duration::ZERO, &|| ()).unwrap_err();
        assert!(matches!(error, Error::Network { .. }), "{error}");
    }

    #[test]
    fn nothing_of_the_systems_apt_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let root = root_on(&Mirrors::from_main("http://127.0.0.1:1/debian"), dir.path());
        let out = Command::new("apt-config")
            .args([
                "shell",
                "L",
                "Dir::State::lists/d",
                "S",
                "Dir::State::status/f",
            ])
            .args([
                "C",
                "Dir::Cache/d",
                "A",
                "Dir::Etc::sourcelist/f",
                "P",
                "Dir::Etc::sourceparts/d",
            ])
            .env("APT_CONFIG", root.dir.join("apt.conf"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(text.lines().count(), 5, "{text}");
        let ours = root.dir.display().to_string();
        assert!(text.lines().all(|l| l.contains(&ours)), "{text}");
    }

    #[test]
    fn only_kernel_packages_are_taken_from_an_index() {
        let text = "Package: linux-image-6.18.5+deb13-cloud-amd64\nVersion: 6.18.5-1\nDescription: x\n more: y\n\
            Filename: pool/main/l/a.deb\nSize: 7\nSHA256: ab\n\nPackage: linux-image-cloud-amd64\nVersion: 1\n\
            Filename: pool/b.deb\nSize: 7\nSHA256: ab\n\nPackage: linux-image-6.18.5-amd64-dbg\nVersion: 1\n\
            Filename: pool/c.deb\nSize: 7\nSHA256: ab\n\nPackage: vim\nVersion: 2\n";
        let found = parse_packages(text, Archive::Main, Arch::X86_64);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].version, "6.18.5-1");
        assert_eq!(
            (found[0].size, found[0].path.as_str()),
            (7, "pool/main/l/a.deb")
        );
    }
}
