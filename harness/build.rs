//! Names the version of the oracle and of the guest by what they are made of: results that were judged by other rules, or observed
//! by another guest, are not of the same campaign.

use std::hash::Hasher;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for (name, folders) in [
        ("MMDIFF_ORACLE", &["../oracle/src"][..]),
        ("MMDIFF_GUEST", &["guest/src", "wire/src"]),
    ] {
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in folders {
            println!("cargo:rerun-if-changed={folder}");
            collect(Path::new(folder), &mut files);
        }
        files.sort();
        let mut hasher = fnv::FnvHasher::default();
        for file in &files {
            hasher.write(file.to_string_lossy().as_bytes());
            hasher.write(&std::fs::read(file).unwrap_or_default());
        }
        println!("cargo:rustc-env={name}={:016x}", hasher.finish());
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
