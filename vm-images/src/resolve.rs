//! From a wish (`6.18`, newest, cloud, arm64) and the mirror's indexes to exact packages.

use crate::apt::Indexed;
use crate::lock::{LockedKernel, LockedSource, Package};
use crate::manifest::{self, Want};
use crate::{version, Arch};

/// The best kernel of an index for a wish: the newest by Debian version. Its `image_sha256` is still empty;
/// it is known once the package has been unpacked.
///
/// # Errors
/// A sentence with the point releases that there are, if the wish cannot be met.
pub fn resolve(want: &Want, arch: Arch, index: &[Indexed]) -> Result<LockedKernel, String> {
    let suffix = manifest::suffix(&want.flavour, arch)
        .ok_or_else(|| format!("no flavour {} for {arch}", want.flavour))?;
    let mut candidates: Vec<(&Indexed, &str)> = index
        .iter()
        .filter(|p| p.arch == arch)
        .filter_map(|p| Some((p, p.name.strip_prefix("linux-image-")?)))
        .filter(|(p, release)| {
            has_suffix(release, &suffix)
                && version::series(version::upstream(&p.version)).as_deref() == Some(&want.series)
                // Meta packages (linux-image-6.12-cloud-amd64) only depend on the real one.
                && *release != format!("{}-{suffix}", want.series)
        })
        .collect();
    // Newest first; the main archive before security for the same version, since its pool keeps longer.
    candidates.sort_by(|(a, _), (b, _)| {
        version::compare_debian(&b.version, &a.version).then(a.archive.cmp(&b.archive))
    });
    let point = |p: &Indexed| version::upstream(&p.version).to_owned();
    let chosen = candidates
        .iter()
        .find(|(p, _)| want.point.as_ref().is_none_or(|w| point(p) == *w));
    let Some(&(image, release)) = chosen else {
        let mut there: Vec<String> = candidates.iter().map(|(p, _)| point(p)).collect();
        there.dedup();
        return Err(format!(
            "the mirror has no {} kernel {} for {arch}; of that series it has: {}",
            want.flavour,
            want.point.as_ref().unwrap_or(&want.series),
            if there.is_empty() {
                "nothing".into()
            } else {
                there.join(", ")
            }
        ));
    };
    let other = |kind: &str| {
        let name = format!("linux-{kind}-{release}");
        index
            .iter()
            .find(|p| p.arch == arch && p.name == name && p.version == image.version)
            .map(package)
    };
    // From 6.19 on linux-image is empty and depends on linux-binary, which has the image.
    let binary = other("binary");
    let split = binary.is_some();
    Ok(LockedKernel {
        series: want.series.clone(),
        point: point(image),
        release: release.to_owned(),
        arch,
        flavour: want.flavour.clone(),
        page_size: manifest::page_size(&want.flavour).unwrap_or(4096),
        image_sha256: String::new(),
        image: binary.unwrap_or_else(|| package(image)),
        modules: if split { other("modules") } else { None },
        config: if split { other("base") } else { None },
    })
}

/// `6.18.5+deb13-cloud-amd64` has the suffix `cloud-amd64` but not `amd64`.
fn has_suffix(release: &str, suffix: &str) -> bool {
    release
        .strip_suffix(suffix)
        .and_then(|r| r.strip_suffix('-'))
        .is_some_and(|version| !version.ends_with(|c: char| c.is_ascii_alphabetic()))
}

/// The newest source of a series that the index has.
pub fn source(series: &str, index: &[Indexed]) -> Option<LockedSource> {
    let name = format!("linux-source-{series}");
    index
        .iter()
        .filter(|p| p.name == name)
        .max_by_key(|p| version::key(version::upstream(&p.version)))
        .map(|p| LockedSource {
            series: series.to_owned(),
            point: version::upstream(&p.version).to_owned(),
            package: package(p),
        })
}

fn package(p: &Indexed) -> Package {
    Package {
        name: p.name.clone(),
        version: p.version.clone(),
        archive: p.archive,
        path: p.path.clone(),
        sha256: p.sha256.clone(),
        size: p.size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Archive;

    fn entry(name: &str, version: &str, archive: Archive) -> Indexed {
        Indexed {
            name: name.into(),
            version: version.into(),
            path: format!("pool/{name}_{version}.deb"),
            sha256: "a".repeat(64),
            size: 1,
            archive,
            arch: Arch::X86_64,
        }
    }

    fn want(series: &str, point: Option<&str>) -> Want {
        Want {
            series: series.into(),
            point: point.map(Into::into),
            flavour: "cloud".into(),
            arch: Arch::ALL.to_vec(),
        }
    }

    fn index() -> Vec<Indexed> {
        use Archive::{Main, Security};
        vec![
            entry(
                "linux-image-6.18.5+deb13-cloud-amd64",
                "6.18.5-1~bpo13+1",
                Main,
            ),
            entry(
                "linux-image-6.18.15+deb13-cloud-amd64",
                "6.18.15-1~bpo13+1",
                Main,
            ),
            entry("linux-image-6.18.15+deb13-amd64", "6.18.15-1~bpo13+1", Main),
            entry(
                "linux-image-6.12-cloud-amd64",
                "6.12.117-1~deb12u1",
                Security,
            ),
            entry(
                "linux-image-6.12.117+deb12-cloud-amd64",
                "6.12.117-1~deb12u1",
                Security,
            ),
            entry("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", Security),
            entry("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", Main),
            entry(
                "linux-image-7.3.4+deb13-cloud-amd64",
                "7.3.4-1~bpo13+1",
                Main,
            ),
            entry(
                "linux-binary-7.3.4+deb13-cloud-amd64",
                "7.3.4-1~bpo13+1",
                Main,
            ),
            entry(
                "linux-modules-7.3.4+deb13-cloud-amd64",
                "7.3.4-1~bpo13+1",
                Main,
            ),
        ]
    }

    #[test]
    fn the_newest_or_the_named_one_is_found() {
        let get = |w: Want| resolve(&w, Arch::X86_64, &index());
        assert_eq!(
            get(want("6.18", None)).unwrap().release,
            "6.18.15+deb13-cloud-amd64"
        );
        assert_eq!(get(want("6.18", Some("6.18.5"))).unwrap().point, "6.18.5");
        assert_eq!(
            get(want("6.12", None)).unwrap().release,
            "6.12.117+deb12-cloud-amd64"
        );
        let old = get(want("6.1", None)).unwrap();
        assert_eq!(
            (old.point.as_str(), old.image.archive),
            ("6.1.192", Archive::Main)
        );
        let mut full = want("6.18", None);
        full.flavour = "full".into();
        assert_eq!(get(full).unwrap().release, "6.18.15+deb13-amd64");
        let new = get(want("7.3", None)).unwrap();
        assert_eq!(new.image.name, "linux-binary-7.3.4+deb13-cloud-amd64");
        assert_eq!(
            new.modules.unwrap().name,
            "linux-modules-7.3.4+deb13-cloud-amd64"
        );
    }

    #[test]
    fn what_is_not_there_says_what_is() {
        let error = resolve(&want("6.18", Some("6.18.44")), Arch::X86_64, &index()).unwrap_err();
        assert!(
            error.contains("6.18.44") && error.contains("6.18.15, 6.18.5"),
            "{error}"
        );
        let error = resolve(&want("6.13", None), Arch::X86_64, &index()).unwrap_err();
        assert!(error.contains("nothing"), "{error}");
    }
}
