//! Modules of a fetched kernel: found in its package, unpacked, their dependencies first.

use crate::lock::{LockedKernel, Package};
use crate::store::{Progress, Step, Store};
use crate::{deb, files, Error, Result};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// One module, ready for `finit_module`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Name with underscores, as `lsmod` prints it.
    pub name: String,
    /// The uncompressed ELF file.
    pub bytes: Vec<u8>,
}

/// The modules `names` of a kernel and all that they depend on, in the order in which they must be loaded, without those that the mirror or
/// the package does not have: a kernel may have them built in, or not at all.
///
/// Unpacked once, then kept in the cache.
///
/// # Errors
/// What fetching says.
pub fn modules(
    store: &Store,
    kernel: &LockedKernel,
    names: &[&str],
    progress: &Progress,
) -> Result<Vec<Module>> {
    let Some(package) = package_with_modules(kernel) else {
        return Ok(Vec::new());
    };
    let index = match index(store, package, progress) {
        Ok(index) => index,
        Err(Error::Unavailable { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut ordered = Vec::new();
    for name in names {
        // As `lsmod` prints it.
        let name = name.replace('-', "_");
        visit(&name, &index, &mut Vec::new(), &mut ordered);
    }
    Ok(ordered)
}

/// The package with the modules. Up to 6.18 that is the image's own; later it is `linux-modules-*`, which the mirror may not have had when
/// the lock was written.
fn package_with_modules(kernel: &LockedKernel) -> Option<&Package> {
    let own = !kernel.image.name.starts_with("linux-binary-");
    kernel.modules.as_ref().or(own.then_some(&kernel.image))
}

/// Adds `name` after everything it depends on. `path` ends circles, which a kernel does not have.
fn visit(
    name: &str,
    index: &BTreeMap<String, Vec<u8>>,
    path: &mut Vec<String>,
    ordered: &mut Vec<Module>,
) {
    let done = ordered.iter().any(|m| m.name == name) || path.iter().any(|n| n == name);
    let Some(bytes) = index.get(name).filter(|_| !done) else {
        return;
    };
    path.push(name.to_owned());
    for needed in depends(bytes) {
        visit(&needed, index, path, ordered);
    }
    path.pop();
    ordered.push(Module {
        name: name.to_owned(),
        bytes: bytes.clone(),
    });
}

/// The list after `depends=` in the module's information section: NUL-ended strings `key=value`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let start = module.windows(KEY.len()).position(|w| w == KEY);
    let value = start.map_or(&[][..], |at| &module[at + KEY.len()..]);
    let end = value.iter().position(|&b| b == 0).unwrap_or(0);
    String::from_utf8_lossy(&value[..end])
        .split(',')
        .filter(|s| !s.is_empty())
        .map(|s| s.replace('-', "_"))
        .collect()
}

/// Modules that programs of ours can ask for, and what these depend on. Everything else stays packed: a
/// package has thousands.
const KEPT: [&str; 8] = [
    "/drivers/block/brd.ko",
    "/drivers/block/zram/",
    "/drivers/virtio/",
    "/drivers/char/virtio_console.ko",
    "/mm/zsmalloc.ko",
    "/lib/lz4/",
    "/lib/842/",
    "/crypto/lz",
];

/// Name and bytes of all kept modules, from the cache or from the package.
fn index(
    store: &Store,
    package: &Package,
    progress: &Progress,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let dir = store.root().join("modules").join(&package.sha256);
    let complete = dir.join("complete");
    if !complete.exists() {
        let deb = store.package(package, progress)?;
        progress(Step::Unpack {
            package: format!("modules of {}", package.name),
        });
        unpack(package, &deb, &dir)?;
        files::write_atomically(&complete, b"")?;
    }
    let mut index = BTreeMap::new();
    for entry in std::fs::read_dir(&dir).map_err(Error::io(&dir))? {
        let path = entry.map_err(Error::io(&dir))?.path();
        if path.extension().is_some_and(|e| e == "ko") {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            index.insert(name, std::fs::read(&path).map_err(Error::io(&path))?);
        }
    }
    Ok(index)
}

fn unpack(package: &Package, deb: &Path, dir: &Path) -> Result<()> {
    deb::walk(deb, &mut |entry, content| {
        let kept = KEPT.iter().any(|part| entry.path.contains(part));
        let file = entry.path.rsplit('/').next().unwrap_or_default();
        let Some((name, packing)) = file.split_once(".ko").filter(|_| kept) else {
            return Ok(true);
        };
        let mut bytes = Vec::new();
        let read = match packing {
            "" => content.read_to_end(&mut bytes).map_err(|e| e.to_string()),
            ".xz" => lzma_rust2::XzReader::new(content, true)
                .read_to_end(&mut bytes)
                .map_err(|e| e.to_string()),
            ".zst" => ruzstd::decoding::StreamingDecoder::new(content)
                .map_err(|e| e.to_string())
                .and_then(|mut r| r.read_to_end(&mut bytes).map_err(|e| e.to_string())),
            other => Err(format!("packed as `{other}`, which is not known")),
        };
        read.map_err(|e| Error::BadPackage {
            package: package.name.clone(),
            message: format!("{}: {e}", entry.path),
        })?;
        let target = dir.join(format!("{}.ko", name.replace('-', "_")));
        files::write_atomically(&target, &bytes)?;
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn dependencies_come_first_and_built_in_ones_do_not_matter() {
        let files: [(&str, &[u8]); 3] = [
            (
                "usr/lib/modules/1/kernel/drivers/block/zram/zram.ko",
                b"ELF\0license=GPL\0depends=zsmalloc,lz4-compress,builtin\0x",
            ),
            (
                "usr/lib/modules/1/kernel/mm/zsmalloc.ko",
                b"ELF\0depends=\0",
            ),
            (
                "usr/lib/modules/1/kernel/lib/lz4/lz4_compress.ko",
                b"ELF\0depends=zsmalloc\0",
            ),
        ];
        let place = testing::Mirror::new();
        let mut kernel = place.kernel("6.18.5", &deb::make(&files, "", &|d| d.to_vec()));
        let store = place.store();
        let names: Vec<String> = modules(&store, &kernel, &["zram"], &|_| ())
            .unwrap()
            .into_iter()
            .map(|m| m.name)
            .collect();
        assert_eq!(names, ["zsmalloc", "lz4_compress", "zram"]);
        let there = modules(&store, &kernel, &["brd", "zsmalloc"], &|_| ()).unwrap();
        assert_eq!(there.len(), 1);
        assert_eq!(there[0].name, "zsmalloc");
        kernel.image.name = "linux-binary-7.0.1".into();
        let none = modules(&store, &kernel, &["zram"], &|_| ()).unwrap();
        assert!(none.is_empty());
        // The mirror has it no more.
        kernel.modules = Some(Package {
            name: "linux-modules-7.0.1".into(),
            path: "pool/gone.deb".into(),
            sha256: "0".repeat(64),
            ..kernel.image.clone()
        });
        let none = modules(&store, &kernel, &["zram"], &|_| ()).unwrap();
        assert!(none.is_empty());
    }
}
