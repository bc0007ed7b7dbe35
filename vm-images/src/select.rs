//! From what stands after `--kernels` and `--arch` to locked kernels.

use crate::lock::{Lock, LockedKernel};
use crate::{version, Arch, Error, Result};

/// Chooses kernels from the lock, in the order of the lock, each once.
///
/// `names` is a list with commas: a series (`6.18`: its newest point release with 4 KiB pages), a point release
/// (`6.18.5`), a release (`6.18.5+deb13-cloud-amd64`), a flavour (`16k`, `cloud`), a series or point release
/// with a flavour (`7.3-16k`), or `all`. None: the newest point release of each series with 4 KiB pages.
/// `arches`: empty for both.
///
/// # Errors
/// [`Error::UnknownKernel`] for a name that means nothing in this lock on these architectures.
pub fn select(lock: &Lock, names: Option<&str>, arches: &[Arch]) -> Result<Vec<LockedKernel>> {
    let pool: Vec<&LockedKernel> = lock
        .kernels
        .iter()
        .filter(|k| arches.is_empty() || arches.contains(&k.arch))
        .collect();
    let mut chosen: Vec<&LockedKernel> = Vec::new();
    match names {
        None => chosen.extend(pool.iter().filter(|k| is_usual(k) && is_newest(k, &pool))),
        Some(names) => {
            for name in names.split(',').map(str::trim).filter(|n| !n.is_empty()) {
                let matching = by_name(name, &pool);
                if matching.is_empty() {
                    return Err(unknown(name, &pool));
                }
                chosen.extend(matching);
            }
        }
    }
    if chosen.is_empty() {
        return Err(unknown(names.unwrap_or("default"), &pool));
    }
    Ok(pool
        .iter()
        .filter(|k| chosen.iter().any(|c| c.release == k.release))
        .map(|k| (*k).clone())
        .collect())
}

fn by_name<'a>(name: &str, pool: &[&'a LockedKernel]) -> Vec<&'a LockedKernel> {
    let matching = |test: &dyn Fn(&LockedKernel) -> bool| -> Vec<&'a LockedKernel> {
        pool.iter().copied().filter(|k| test(k)).collect()
    };
    if name == "all" {
        return pool.to_vec();
    }
    let exact = matching(&|k| k.release == name);
    if !exact.is_empty() {
        return exact;
    }
    let flavour = matching(&|k| k.flavour == name);
    if !flavour.is_empty() {
        return flavour;
    }
    // `7.3-16k`: a version with a flavour; without one the usual flavour.
    let (version, flavour) = match name.split_once('-') {
        Some((version, flavour)) => (version, Some(flavour)),
        None => (name, None),
    };
    let fits = |k: &LockedKernel| flavour.map_or_else(|| is_usual(k), |f| k.flavour == f);
    matching(&|k| fits(k) && (k.point == version || (k.series == version && is_newest(k, pool))))
}

/// 4 KiB pages: what a matrix is about unless somebody asks for more.
fn is_usual(kernel: &LockedKernel) -> bool {
    kernel.page_size == 4096
}

/// No newer point release of the same series, architecture and flavour is in the pool.
fn is_newest(kernel: &LockedKernel, pool: &[&LockedKernel]) -> bool {
    !pool.iter().any(|other| {
        other.series == kernel.series
            && other.arch == kernel.arch
            && other.flavour == kernel.flavour
            && version::key(&other.point) > version::key(&kernel.point)
    })
}

fn unknown(name: &str, pool: &[&LockedKernel]) -> Error {
    let known: Vec<String> = pool
        .iter()
        .map(|k| {
            format!(
                "  {:<6} {:<9} {:<6} {}",
                k.series, k.point, k.flavour, k.release
            )
        })
        .collect();
    Error::UnknownKernel {
        name: name.to_owned(),
        known: if known.is_empty() {
            "  none".to_owned()
        } else {
            known.join("\n")
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Archive, Package};

    fn kernel(point: &str, arch: Arch, flavour: &str) -> LockedKernel {
        LockedKernel {
            series: version::series(point).unwrap(),
            point: point.into(),
            release: format!("{point}-{flavour}-{}", arch.debian()),
            arch,
            flavour: flavour.into(),
            page_size: if flavour == "16k" { 16384 } else { 4096 },
            image_sha256: "a".repeat(64),
            image: Package {
                name: "p".into(),
                version: "1".into(),
                archive: Archive::Main,
                path: "pool/p.deb".into(),
                sha256: "b".repeat(64),
                size: 1,
            },
            modules: None,
            config: None,
        }
    }

    fn lock() -> Lock {
        let mut kernels = Vec::new();
        for point in ["6.9.1", "6.18.5", "6.18.15", "7.3.4"] {
            for arch in Arch::ALL {
                kernels.push(kernel(point, arch, "cloud"));
            }
        }
        kernels.push(kernel("7.3.4", Arch::Aarch64, "16k"));
        Lock {
            kernels,
            ..Lock::default()
        }
    }

    fn names(list: Option<&str>, arches: &[Arch]) -> Vec<String> {
        select(&lock(), list, arches)
            .unwrap()
            .into_iter()
            .map(|k| k.release)
            .collect()
    }

    #[test]
    fn every_kind_of_name() {
        let x86 = [Arch::X86_64];
        assert_eq!(names(Some("6.18"), &x86), ["6.18.15-cloud-amd64"]);
        assert_eq!(names(Some("6.18.5"), &x86), ["6.18.5-cloud-amd64"]);
        assert_eq!(
            names(Some("7.3, 6.18.5,7.3"), &x86),
            ["6.18.5-cloud-amd64", "7.3.4-cloud-amd64"]
        );
        assert_eq!(names(Some("16k"), &[]), ["7.3.4-16k-arm64"]);
        assert_eq!(names(Some("7.3-16k"), &[]), ["7.3.4-16k-arm64"]);
        assert_eq!(
            names(Some("6.18.5-cloud-arm64"), &[]),
            ["6.18.5-cloud-arm64"]
        );
        assert_eq!(names(Some("7.3"), &[]).len(), 2, "not the 16 KiB one");
        assert_eq!(names(Some("all"), &[]).len(), 9);
        assert_eq!(
            names(None, &[]).len(),
            6,
            "newest of each series, twice, 4 KiB"
        );
        assert_eq!(names(None, &x86).len(), 3);
    }

    #[test]
    fn unknown_names_say_what_there_is() {
        for (name, arches) in [
            ("6.13", &[][..]),
            ("16k", &[Arch::X86_64][..]),
            (",", &[][..]),
        ] {
            let error = select(&lock(), Some(name), arches).unwrap_err();
            assert!(error.is_usage());
            assert!(error.to_string().contains("6.18.15-cloud-amd64"), "{error}");
        }
    }
}
