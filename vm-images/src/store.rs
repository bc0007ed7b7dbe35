//! The cache of fetched and unpacked kernels.
//!
//! Layout below the cache directory: `deb/<sha256>.deb` the packages as fetched, `image/<sha256>/` one
//! package unpacked (`vmlinuz`, `config`, `modules/*.ko`, and `about.json`, written last).
//! Everything appears by renaming; `lock/<sha256>` keeps two processes from doing the same work twice.

use crate::fetch::{self, Failure};
use crate::lock::{LockedKernel, Package};
use crate::mirror::Mirrors;
use crate::{deb, files, hash, Error, KernelImage, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Names the cache directory; without it `~/.cache/mmdiff/kernels` is used (or below `XDG_CACHE_HOME`).
pub const CACHE_VARIABLE: &str = "MMDIFF_CACHE";

/// What a fetch is doing, for a progress line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes of a package so far, and its size.
    Download {
        /// Package name.
        package: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Unpacking a package.
    Unpack {
        /// Package name.
        package: String,
    },
    /// Something the user should know: a corrupt file replaced, a fall-back taken.
    Note(String),
}

impl Step {
    /// Said before the private apt root fetches its indexes, which takes a while.
    pub(crate) fn indexes() -> Step {
        Step::Note("fetching the package indexes (about 100 MB)".into())
    }
}

/// Called with every [`Step`].
pub type Progress<'a> = dyn Fn(Step) + Sync + 'a;

/// Where the kernel that will be booted came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The locked package, from cache or mirror.
    Locked,
    /// The locked package, from the snapshot.
    Snapshot,
    /// Not the locked kernel: the newest of its series that the mirror has, signature checked by apt.
    NewestOfSeries,
}

/// A kernel that is there and verified.
#[derive(Clone, Debug, Serialize)]
pub struct Fetched {
    /// What was asked for.
    pub wanted: String,
    /// What it is: the locked entry, or for [`Origin::NewestOfSeries`] one made from the mirror's index.
    /// Its hashes belong into run.json.
    pub kernel: LockedKernel,
    /// Where it came from.
    pub origin: Origin,
    /// The image.
    pub image: KernelImage,
    /// The kernel's configuration, if the image's package holds it.
    pub config: Option<PathBuf>,
}

/// Written beside an unpacked image, last: what was unpacked from what.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    package: String,
    deb_sha256: String,
    image_sha256: String,
}

/// The cache directory with the mirrors that fill it.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    mirrors: Mirrors,
}

impl Store {
    /// The user's cache and the machine's mirrors.
    ///
    /// # Errors
    /// [`Error::Tool`] if there is neither `MMDIFF_CACHE` nor a home directory.
    pub fn open_default() -> Result<Store> {
        Ok(Store::open(default_cache()?, Mirrors::find()))
    }

    /// A given cache directory (made when needed) and given mirrors.
    pub fn open(root: impl Into<PathBuf>, mirrors: Mirrors) -> Store {
        Store {
            root: root.into(),
            mirrors,
        }
    }

    /// The cache directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The mirrors.
    pub fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    fn deb_path(&self, package: &Package) -> PathBuf {
        self.root
            .join("deb")
            .join(format!("{}.deb", package.sha256))
    }

    fn unpacked_dir(&self, package: &Package) -> PathBuf {
        self.root.join("image").join(&package.sha256)
    }

    fn guard(&self, package: &Package) -> Result<files::NameLock> {
        files::lock(&self.root.join("lock").join(&package.sha256))
    }

    /// The image if it is in the cache and right; None if it is absent or damaged. Reads every byte of it.
    ///
    /// # Errors
    /// [`Error::HashMismatch`] if the package is the locked one and the image in it is not: the lock is wrong.
    pub fn cached(&self, kernel: &LockedKernel) -> Result<Option<Fetched>> {
        let dir = self.unpacked_dir(&kernel.image);
        let path = dir.join("vmlinuz");
        let Ok(text) = fs::read(dir.join("about.json")) else {
            return Ok(None);
        };
        let Ok(about) = serde_json::from_slice::<About>(&text) else {
            return Ok(None);
        };
        let Ok(image) = KernelImage::inspect(&path) else {
            return Ok(None);
        };
        if image.sha256 != about.image_sha256 {
            return Ok(None);
        }
        if !kernel.image_sha256.is_empty() && image.sha256 != kernel.image_sha256 {
            return Err(Error::HashMismatch {
                what: format!("kernel image of {}", kernel.release),
                expected: kernel.image_sha256.clone(),
                found: image.sha256,
            });
        }
        let config = Some(dir.join("config")).filter(|c| c.exists());
        Ok(Some(Fetched {
            wanted: kernel.release.clone(),
            kernel: kernel.clone(),
            origin: Origin::Locked,
            image,
            config,
        }))
    }

    /// The locked kernel itself: from the cache, else from the mirror. No fall-back;
    /// [`crate::obtain`] has them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the mirror does not have it, [`Error::Network`], [`Error::HashMismatch`],
    /// [`Error::BadPackage`], [`Error::NoMirror`].
    pub fn fetch(&self, kernel: &LockedKernel, progress: &Progress) -> Result<Fetched> {
        let _guard = self.guard(&kernel.image)?;
        if let Some(fetched) = self.cached(kernel)? {
            return Ok(fetched);
        }
        let damaged = self.unpacked_dir(&kernel.image);
        if damaged.exists() {
            progress(Step::Note(format!(
                "{}: what the cache has is damaged; unpacking again",
                kernel.release
            )));
            fs::remove_dir_all(&damaged).map_err(Error::io(&damaged))?;
        }
        let deb = self.deb_locked(&kernel.image, progress)?;
        progress(Step::Unpack {
            package: kernel.image.name.clone(),
        });
        self.unpack(&kernel.image, &deb)?;
        self.cached(kernel)?.ok_or_else(|| Error::BadPackage {
            package: kernel.image.name.clone(),
            message: "its vmlinuz is no kernel that can be booted".into(),
        })
    }

    /// A package file, verified; fetched when it is not in the cache, and once anew when it is damaged there.
    pub fn package(&self, package: &Package, progress: &Progress) -> Result<PathBuf> {
        let _guard = self.guard(package)?;
        self.deb_locked(package, progress)
    }

    /// [`Store::package`] with the name lock already held.
    fn deb_locked(&self, package: &Package, progress: &Progress) -> Result<PathBuf> {
        let path = self.deb_path(package);
        if path.exists() {
            if hash::file(&path)? == package.sha256 {
                return Ok(path);
            }
            progress(Step::Note(format!(
                "{}: the package in the cache is damaged; fetching it again",
                package.name
            )));
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
        let mirrors = self.mirrors.of(package.archive)?;
        let mut absent = Vec::new();
        let mut unreachable = None;
        for mirror in mirrors {
            let uri = format!("{mirror}/{}", package.path);
            match self.download_twice(&uri, &path, package, progress) {
                Ok(()) => return Ok(path),
                Err(Failure::NotThere(detail)) => absent.push(format!("{uri}: {detail}")),
                Err(Failure::Network(detail)) => unreachable = Some(Error::Network { uri, detail }),
                Err(failure) => return Err(into_error(failure, &uri, package)),
            }
        }
        Err(unreachable.unwrap_or_else(|| Error::Unavailable {
            release: package.name.clone(),
            detail: absent.join("; "),
        }))
    }

    /// Fetches a package from one address; a damaged answer is tried once more.
    fn download_twice(
        &self,
        uri: &str,
        path: &Path,
        package: &Package,
        progress: &Progress,
    ) -> std::result::Result<(), Failure> {
        let watch = |done| {
            progress(Step::Download {
                package: package.name.clone(),
                done,
                total: package.size,
            });
        };
        match fetch::download(uri, path, &package.sha256, &watch) {
            Err(Failure::WrongHash(_)) => {
                progress(Step::Note(format!("{uri}: came damaged; trying once more")));
                fetch::download(uri, path, &package.sha256, &watch)
            }
            other => other,
        }
    }

    /// Fetches the locked package from a given address (the snapshot) into the cache.
    pub(crate) fn fetch_from(
        &self,
        uri: &str,
        package: &Package,
        progress: &Progress,
    ) -> Result<()> {
        let _guard = self.guard(package)?;
        self.download_twice(uri, &self.deb_path(package), package, progress)
            .map_err(|failure| into_error(failure, uri, package))
    }

    /// Unpacks image and configuration; about.json is written last, so a directory without it is unfinished.
    fn unpack(&self, package: &Package, deb: &Path) -> Result<()> {
        let dir = self.unpacked_dir(package);
        let mut image = false;
        // Packages up to 7.1 keep the configuration beside the image, before it or after it.
        let mut config = false;
        deb::walk(deb, &mut |entry, content| {
            let target = if is_image(&entry.path) {
                image = true;
                "vmlinuz"
            } else if is_config(&entry.path) {
                config = true;
                "config"
            } else {
                // The files of boot/ come first: after the image nothing else is needed.
                return Ok(!(image && (config || !entry.path.starts_with("boot/"))));
            };
            let mut bytes = Vec::new();
            content
                .read_to_end(&mut bytes)
                .map_err(|e| Error::BadPackage {
                    package: package.name.clone(),
                    message: format!("{}: {e}", entry.path),
                })?;
            files::write_atomically(&dir.join(target), &bytes)?;
            Ok(!(image && config))
        })?;
        if !image {
            return Err(Error::BadPackage {
                package: package.name.clone(),
                message: "no kernel in it (neither boot/vmlinuz-* nor usr/lib/modules/*/vmlinuz)"
                    .into(),
            });
        }
        let about = About {
            package: package.name.clone(),
            deb_sha256: package.sha256.clone(),
            image_sha256: hash::file(&dir.join("vmlinuz"))?,
        };
        let text = serde_json::to_vec_pretty(&about).expect("strings only");
        files::write_atomically(&dir.join("about.json"), &text)
    }

    /// Removes everything from the cache that `keep` does not need; None removes all. Returns the bytes freed.
    pub fn clean(&self, keep: Option<&[LockedKernel]>) -> Result<u64> {
        let mut wanted: Vec<String> = Vec::new();
        for package in keep
            .unwrap_or_default()
            .iter()
            .flat_map(LockedKernel::packages)
        {
            wanted.push(package.sha256.clone());
        }
        let mut freed = 0;
        let everything = ["deb", "image", "modules", "given", "apt", "source", "build"];
        let parts = if keep.is_some() {
            &everything[..4]
        } else {
            &everything[..]
        };
        for part in parts {
            let dir = self.root.join(part);
            let Ok(entries) = fs::read_dir(&dir) else {
                continue;
            };
            for entry in entries {
                let path = entry.map_err(Error::io(&dir))?.path();
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                if wanted.iter().any(|w| *w == stem) {
                    continue;
                }
                freed += size(&path);
                let removed = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                removed.map_err(Error::io(&path))?;
            }
        }
        Ok(freed)
    }
}

/// Checks what the cache has of a kernel, packages and image, without fetching. False: it is not there.
///
/// # Errors
/// [`Error::HashMismatch`] for a damaged file.
pub fn verify(store: &Store, kernel: &LockedKernel) -> Result<bool> {
    for package in kernel.packages() {
        let path = store.deb_path(package);
        if path.exists() {
            let found = hash::file(&path)?;
            if found != package.sha256 {
                return Err(Error::HashMismatch {
                    what: path.display().to_string(),
                    expected: package.sha256.clone(),
                    found,
                });
            }
        }
    }
    let dir = store.unpacked_dir(&kernel.image);
    if !dir.exists() {
        return Ok(false);
    }
    let path = dir.join("vmlinuz");
    let found = hash::file(&path)?;
    if found != kernel.image_sha256 {
        return Err(Error::HashMismatch {
            what: path.display().to_string(),
            expected: kernel.image_sha256.clone(),
            found,
        });
    }
    Ok(true)
}

/// `MMDIFF_CACHE`, else `mmdiff/kernels` in the user's cache directory.
pub fn default_cache() -> Result<PathBuf> {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    variable(CACHE_VARIABLE)
        .or_else(|| variable("XDG_CACHE_HOME").map(|d| d.join("mmdiff/kernels")))
        .or_else(|| variable("HOME").map(|d| d.join(".cache/mmdiff/kernels")))
        .ok_or_else(|| Error::Tool {
            tool: "kernel cache".into(),
            message: format!("no home directory; set {CACHE_VARIABLE} to a directory"),
        })
}

fn into_error(failure: Failure, uri: &str, package: &Package) -> Error {
    match failure {
        Failure::NotThere(detail) => Error::Unavailable {
            release: package.name.clone(),
            detail: format!("{uri}: {detail}"),
        },
        Failure::WrongHash(found) => Error::HashMismatch {
            what: uri.to_owned(),
            expected: package.sha256.clone(),
            found,
        },
        Failure::Network(detail) => Error::Network {
            uri: uri.to_owned(),
            detail,
        },
        Failure::Own(error) => error,
    }
}

fn is_image(path: &str) -> bool {
    path.starts_with("boot/vmlinuz-") || (is_module_dir_file(path) && path.ends_with("/vmlinuz"))
}

fn is_config(path: &str) -> bool {
    path.starts_with("boot/config-") || (is_module_dir_file(path) && path.ends_with("/config"))
}

/// A file directly in `usr/lib/modules/V/` (or `lib/modules/V/`).
fn is_module_dir_file(path: &str) -> bool {
    path.strip_prefix("usr/")
        .unwrap_or(path)
        .strip_prefix("lib/modules/")
        .is_some_and(|rest| rest.matches('/').count() == 1)
}

fn size(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|e| size(&e.path())).sum(),
        Err(_) => fs::symlink_metadata(path).map_or(0, |m| m.len()),
    }
}
