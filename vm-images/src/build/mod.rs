//! Kernels of one's own: Debian's source or a developer's tree, configured by the fragments in `config/`.
//!
//! Everything is kept in the cache: `source/` the unpacked sources, `build/NAME/` the objects of one kernel, and
//! `build/NAME.image` the file to boot. A second build makes only what changed.

pub mod config;
pub mod make;
pub mod selftests;
pub mod source;

use crate::store::Store;
use crate::{files, hash, Arch, Error, KernelImage, Result};
use config::{Flavour, Fragment};
use make::Make;
use std::fs;
use std::path::{Path, PathBuf};

/// Free space that the objects of one kernel take, in bytes.
const OBJECTS_NEED: u64 = 700 << 20;

/// What is to be built.
#[derive(Debug)]
pub struct Request<'a> {
    /// The tree; see [`source::unpacked`].
    pub tree: &'a Path,
    /// Names the build in the cache, with architecture and flavour: `7.3.4`.
    pub name: &'a str,
    pub arch: Arch,
    pub flavour: Flavour,
    /// The folder with the fragments.
    pub fragments: &'a Path,
    /// Jobs side by side.
    pub jobs: usize,
}

/// A kernel that was built.
#[derive(Debug)]
pub struct Built {
    /// The file to boot, recognised.
    pub image: KernelImage,
    /// What the compiler said.
    pub log: PathBuf,
    /// Folder of the objects.
    pub objects: PathBuf,
}

/// The name of a build of a developer's own tree: its folder, and a digest since many are called `linux`.
pub fn tree_name(tree: &Path) -> String {
    let folder = tree.file_name().unwrap_or_default().to_string_lossy();
    let digest = hash::bytes(tree.as_os_str().as_encoded_bytes());
    format!("{folder}-{}", &digest[..8])
}

/// Builds a kernel, or what changed of it. `line` gets `make`'s output.
///
/// # Errors
/// [`Error::NotATree`], [`Error::NoSpace`], [`Error::KernelBuild`], [`Error::ConfigUnmet`].
pub fn build(store: &Store, request: &Request, line: &dyn Fn(&str)) -> Result<Built> {
    if !request.tree.join("Kconfig").exists() {
        return Err(Error::NotATree {
            path: request.tree.to_owned(),
        });
    }
    let name = format!(
        "{}-{}-{}",
        request.name,
        request.arch.name(),
        request.flavour.name()
    );
    let root = store.root().join("build");
    let objects = root.join(&name);
    fs::create_dir_all(&objects).map_err(Error::io(&objects))?;
    let _lock = files::lock(&store.root().join("lock").join(format!("build-{name}")))?;
    source::ensure_space(&objects, OBJECTS_NEED, "the objects of a kernel")?;
    let make = Make {
        tree: request.tree,
        objects: &objects,
        arch: request.arch,
        jobs: request.jobs,
    };
    let log = make.log();
    // Of one build, so that an old error is not taken for a new one.
    fs::write(&log, b"").map_err(Error::io(&log))?;

    let fragment = Fragment::load(request.fragments, request.arch, request.flavour)?;
    let wanted = objects.join("mmdiff.config");
    files::write_atomically(&wanted, fragment.text().as_bytes())?;
    // Everything off, then the fragment; files that come out the same keep their time, so nothing is built anew.
    make.run(
        &[
            "allnoconfig".into(),
            make::joined("KCONFIG_ALLCONFIG=", &wanted),
        ],
        line,
    )?;
    let config = objects.join(".config");
    let text = fs::read_to_string(&config).map_err(Error::io(&config))?;
    let unmet = fragment.unmet(&text);
    if !unmet.is_empty() {
        return Err(Error::ConfigUnmet {
            config,
            unmet: unmet.join("\n  "),
        });
    }
    make.run(&[make.target().into()], line)?;
    let image = root.join(format!("{name}.image"));
    let bytes = fs::read(make.image()).map_err(Error::io(make.image()))?;
    files::write_atomically(&image, &bytes)?;
    Ok(Built {
        image: KernelImage::inspect(&image)?,
        log,
        objects,
    })
}
