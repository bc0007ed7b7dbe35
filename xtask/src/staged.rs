//! What a farm's shards boot: kernels and guests that were made once, in a folder that all machines see.
//!
//! A machine that runs a shard needs QEMU, and no compiler, no mirror and no cache; and what it boots is what the campaign was made with, though
//! the checkout may have changed since.

use crate::exit::UsageError;
use crate::rig::{self, KernelOptions, Named, Rig};
use anyhow::{Context, Result};
use harness::kernel::machine::{Unavailable, VmSource};
use harness::report::GUEST;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vm_images::files::write_atomically;
use vm_images::Arch;

/// Name of the list in the folder.
const LIST: &str = "staged.json";

/// What is there.
#[derive(Serialize, Deserialize)]
struct List {
    /// The version of the guest and of its messages.
    guest: String,
    /// In the order of the matrix.
    kernels: Vec<Staged>,
}

#[derive(Serialize, Deserialize)]
struct Staged {
    label: String,
    arch: Arch,
    release: Option<String>,
    page_size: Option<u32>,
    /// The options that name it.
    options: Vec<String>,
    /// Package or path, and hash; or why it is not to be had.
    origin: String,
    /// `None`: it is not to be had.
    files: Option<Files>,
}

/// Names of files in the folder; they begin with the file's SHA-256.
#[derive(Serialize, Deserialize)]
struct Files {
    image: String,
    initramfs: String,
}

/// Copies what a rig boots into a folder.
///
/// # Errors
/// A file cannot be read or written.
pub fn stage(rig: &Rig, folder: &Path) -> Result<()> {
    let staged = |source: &Arc<dyn harness::kernel::KernelSource>| -> Result<Staged> {
        let (label, arch) = (source.label(), source.arch());
        let is_it =
            |machine: &&VmSource| machine.label == label && machine.config.arch.name() == arch;
        let machine = rig.machines.iter().find(is_it);
        let files = |machine: &VmSource| -> Result<Files> {
            Ok(Files {
                image: put(&machine.config.image, "image", folder)?,
                initramfs: put(&machine.config.initramfs, "cpio", folder)?,
            })
        };
        let origin = rig.origins.get(&format!("{label} {arch}"));
        Ok(Staged {
            label: label.into(),
            arch: arch.parse().map_err(anyhow::Error::msg)?,
            release: source.release().map(String::from),
            page_size: machine.and_then(|machine| machine.config.page_size),
            options: rig::naming(&source.options()),
            origin: origin.cloned().unwrap_or_default(),
            files: machine.map(files).transpose()?,
        })
    };
    let list = List {
        guest: GUEST.into(),
        kernels: rig.sources.iter().map(staged).collect::<Result<_>>()?,
    };
    let text = serde_json::to_vec_pretty(&list)?;
    Ok(write_atomically(&folder.join(LIST), &text)?)
}

/// Copies a file, under a name that begins with its hash.
fn put(file: &Path, end: &str, folder: &Path) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let name = format!("{}.{end}", vm_images::hash::bytes(&bytes));
    let path = folder.join(&name);
    if !path.exists() {
        write_atomically(&path, &bytes)?;
    }
    Ok(name)
}

/// The rig that was staged in a folder; of the options, those that say how kernels are run.
///
/// # Errors
/// Nothing was staged there, or by another version (usage); a file is missing or damaged; no QEMU.
pub fn rig(folder: &Path, options: &KernelOptions, consoles: &Path) -> Result<Rig> {
    let path = folder.join(LIST);
    let usage = |what: String| UsageError(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(&path)
        .map_err(|e| usage(format!("{e}; has `farm` staged anything there?")))?;
    let list: List = serde_json::from_str(&text).map_err(|e| usage(e.to_string()))?;
    if list.guest != GUEST {
        let other = "another version of mmdiff has staged its guest there; begin the farm again, in another folder";
        return Err(usage(other.into()).into());
    }
    let arches: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| {
            list.kernels
                .iter()
                .any(|kernel| kernel.arch == *arch && kernel.files.is_some())
        })
        .collect();
    let mut rig = Rig::new(&arches, &crate::workspace())?;
    for kernel in list.kernels {
        let Some(files) = &kernel.files else {
            let why = kernel.origin.strip_prefix(rig::SKIPPED);
            rig.add_unavailable(Unavailable {
                label: kernel.label,
                arch: kernel.arch.name().into(),
                why: why.unwrap_or(&kernel.origin).into(),
            });
            continue;
        };
        let image = whole(folder, &files.image)?;
        let initramfs = whole(folder, &files.initramfs)?;
        let named = Named {
            label: kernel.label,
            release: kernel.release,
            page_size: kernel.page_size,
            options: kernel.options,
            config: None,
            origin: kernel.origin,
        };
        let files = [image.as_path(), initramfs.as_path()];
        rig.add(named, kernel.arch, files, options, consoles, &|line| {
            eprintln!("{line}")
        })?;
    }
    Ok(rig)
}

/// A staged file, which must be what its name says.
fn whole(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    if name.split('.').next() != Some(vm_images::hash::bytes(&bytes).as_str()) {
        anyhow::bail!("{}: it is damaged: its hash is another one", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::AccelChoice;

    fn options() -> KernelOptions {
        KernelOptions {
            kernels: None,
            arch: Vec::new(),
            kernel: Vec::new(),
            accel: AccelChoice::Tcg,
            append: "quiet".into(),
        }
    }

    #[test]
    fn what_was_staged_comes_back_unless_it_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in [("image", "a kernel"), ("cpio", "a guest")] {
            std::fs::write(at(name), text).unwrap();
        }
        let mut made = Rig::default();
        let named = Named {
            label: "7.3".into(),
            release: Some("7.3.4-cloud-amd64".into()),
            page_size: Some(4096),
            options: ["--kernels", "7.3.4"].map(String::from).to_vec(),
            config: None,
            origin: "linux 7.3.4-1 sha256:abc (locked)".into(),
        };
        let files = [at("image"), at("cpio")];
        let [image, cpio] = &files;
        made.add(
            named,
            Arch::X86_64,
            [image, cpio],
            &options(),
            dir.path(),
            &|_| (),
        )
        .unwrap();
        made.add_unavailable(Unavailable {
            label: "6.17".into(),
            arch: "aarch64".into(),
            why: "6.17.9 is not to be had: nowhere".into(),
        });
        let folder = at("stage");
        stage(&made, &folder).unwrap();
        files
            .iter()
            .for_each(|file| std::fs::remove_file(file).unwrap());
        let back = rig(&folder, &options(), &at("consoles")).unwrap();
        let labels: Vec<&str> = back.sources.iter().map(|source| source.label()).collect();
        assert_eq!(labels, ["7.3", "6.17"]);
        assert_eq!(back.origins, made.origins);
        let (one, other) = (&back.machines[0], &made.machines[0]);
        assert_eq!((&one.label, &one.release), (&other.label, &other.release));
        assert_eq!(one.options, other.options);
        assert_eq!(one.config.page_size, Some(4096));
        assert_eq!(one.config.append, "quiet");
        assert_eq!(std::fs::read(&one.config.image).unwrap(), b"a kernel");
        assert_eq!(std::fs::read(&one.config.initramfs).unwrap(), b"a guest");
        let again = back.sources[1].boot("x").err().unwrap().to_string();
        assert!(
            again.contains("6.17.9 is not to be had: nowhere"),
            "{again}"
        );

        let says = || {
            rig(&folder, &options(), dir.path())
                .err()
                .unwrap()
                .to_string()
        };
        std::fs::write(&one.config.initramfs, "another guest").unwrap();
        assert!(says().contains("damaged"), "{}", says());
        let list = std::fs::read_to_string(folder.join(LIST)).unwrap();
        std::fs::write(folder.join(LIST), list.replace(GUEST, "other")).unwrap();
        assert!(says().contains("another version"), "{}", says());
        std::fs::remove_file(folder.join(LIST)).unwrap();
        assert!(says().contains("staged"), "{}", says());
    }
}
