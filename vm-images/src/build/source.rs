//! The source of a kernel: Debian's `linux-source` package, unpacked once into the cache.

use crate::lock::{Lock, LockedSource};
use crate::store::{Progress, Step, Store};
use crate::{deb, files, version, Error, Result};
use nix::sys::statvfs::statvfs;
use std::fs;
use std::path::{Path, PathBuf};

/// Free space that fetching and unpacking a source takes, in bytes: 170 MB package, 1.8 GB tree.
const SOURCE_NEEDS: u64 = 2_200 << 20;

/// Written into an unpacked tree last.
const WHOLE: &str = ".mmdiff-unpacked";

/// The locked source that `name` (a series or a point release) stands for; the newest without a name.
///
/// # Errors
/// [`Error::UnknownSource`] with those that there are.
pub fn choose<'a>(lock: &'a Lock, name: Option<&str>) -> Result<&'a LockedSource> {
    lock.sources
        .iter()
        .filter(|s| name.is_none_or(|name| name == s.series || name == s.point))
        .max_by_key(|s| version::key(&s.point))
        .ok_or_else(|| Error::UnknownSource {
            name: name.unwrap_or("any series").to_owned(),
            known: lock
                .sources
                .iter()
                .map(|s| format!("{} ({})", s.series, s.point))
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// The unpacked tree of a locked source; fetched and unpacked when it is not there.
///
/// # Errors
/// What fetching says, [`Error::NoSpace`], [`Error::BadPackage`].
pub fn unpacked(store: &Store, source: &LockedSource, progress: &Progress) -> Result<PathBuf> {
    let folder = store.root().join("source").join(&source.package.sha256);
    let _lock = files::lock(
        &store
            .root()
            .join("lock")
            .join(format!("source-{}", source.package.sha256)),
    )?;
    let tree = folder.join(format!("linux-source-{}", source.series));
    if tree.join(WHOLE).exists() {
        return Ok(tree);
    }
    if folder.exists() {
        progress(Step::Note(format!(
            "{} is half unpacked; beginning again",
            folder.display()
        )));
        fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
    }
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    ensure_space(&folder, SOURCE_NEEDS, "the source of a kernel")?;
    let package = store.package(&source.package, progress)?;
    progress(Step::Unpack {
        package: source.package.name.clone(),
    });
    unpack(&package, &folder, &source.package.name)?;
    if !tree.join("Kconfig").exists() {
        return Err(Error::BadPackage {
            package: source.package.name.clone(),
            message: format!("no kernel tree linux-source-{} in it", source.series),
        });
    }
    files::write_atomically(&tree.join(WHOLE), b"")?;
    Ok(tree)
}

/// The tree is an archive within the archive that a package is; nothing is written in between.
fn unpack(package: &Path, folder: &Path, name: &str) -> Result<()> {
    let bad = |message: String| Error::BadPackage {
        package: name.to_owned(),
        message,
    };
    let mut found = false;
    deb::walk(package, &mut |entry, content| {
        if !(entry.path.starts_with("usr/src/") && entry.path.ends_with(".tar.xz")) {
            return Ok(true);
        }
        found = true;
        let mut archive = tar::Archive::new(lzma_rust2::XzReader::new(content, true));
        archive.unpack(folder).map_err(|e| {
            // The tar crate says which file; the reason is below it.
            bad(format!("unpacking it to {}: {e}", folder.display()))
        })?;
        Ok(false)
    })?;
    if found {
        Ok(())
    } else {
        Err(bad("no usr/src/*.tar.xz in it".into()))
    }
}

/// Refuses early what would fill the disk.
///
/// # Errors
/// [`Error::NoSpace`] if `needed` bytes are not free where `folder` is.
pub fn ensure_space(folder: &Path, needed: u64, what: &str) -> Result<()> {
    let stat = statvfs(folder).map_err(|e| Error::io(folder)(e.into()))?;
    let free = stat.blocks_available() as u64 * stat.fragment_size() as u64;
    if free < needed {
        return Err(Error::NoSpace {
            folder: folder.to_owned(),
            what: what.to_owned(),
            needed_mib: needed >> 20,
            free_mib: free >> 20,
        });
    }
    Ok(())
}
