use super::*;
use crate::lock::{Archive, LockedSource, Package};
use crate::testing::Mirror;

fn indexed(kernel: &LockedKernel) -> Indexed {
    let p = &kernel.image;
    Indexed {
        name: p.name.clone(),
        version: p.version.clone(),
        path: p.path.clone(),
        sha256: p.sha256.clone(),
        size: p.size,
        archive: Archive::Main,
        arch: kernel.arch,
    }
}

fn source(point: &str) -> LockedSource {
    let series = crate::version::series(point).unwrap();
    let name = format!("linux-source-{series}");
    LockedSource {
        package: Package {
            path: format!("pool/main/l/linux/{name}_{point}-1_all.deb"),
            name,
            version: format!("{point}-1"),
            archive: Archive::Main,
            sha256: crate::hash::bytes(point.as_bytes()),
            size: 1,
        },
        series,
        point: point.into(),
    }
}

#[test]
fn the_newest_source_of_a_wanted_series_is_locked_too() {
    let place = Mirror::new();
    let kernel = place.proper_kernel("6.18.5");
    let mut index = vec![indexed(&kernel)];
    for point in ["6.18.5", "6.18.12", "6.19.2"] {
        let package = source(point).package;
        index.push(Indexed {
            name: package.name,
            version: package.version,
            path: package.path,
            sha256: package.sha256,
            size: package.size,
            archive: package.archive,
            arch: Arch::X86_64,
        });
    }
    let old = Lock {
        sources: vec![source("6.18.5"), source("7.3.4")],
        ..Lock::default()
    };
    let added = add_from_index(&place.store(), &index, &wants(&["6.18"]), &old, &|_| ()).unwrap();
    assert_eq!(added.lock.sources, [source("6.18.12"), source("7.3.4")]);
    let choose = |name| crate::build::source::choose(&added.lock, name).map(|s| s.point.clone());
    assert_eq!(choose(None).unwrap(), "7.3.4");
    assert_eq!(choose(Some("6.18")).unwrap(), "6.18.12");
    let error = choose(Some("6.1")).unwrap_err();
    assert!(
        error.to_string().contains("6.18 (6.18.12), 7.3 (7.3.4)"),
        "{error}"
    );
    assert!(error.is_usage());
}

fn wants(names: &[&str]) -> Vec<Want> {
    names
        .iter()
        .map(|n| Want::named(n, "cloud", &[Arch::X86_64]).unwrap())
        .collect()
}

fn points(lock: &Lock) -> Vec<&str> {
    lock.kernels.iter().map(|k| k.point.as_str()).collect()
}

#[test]
fn wishes_become_locked_kernels_with_hashes() {
    let place = Mirror::new();
    let kernels: Vec<LockedKernel> = ["6.18.5", "6.18.9", "6.18.15"]
        .iter()
        .map(|p| place.proper_kernel(p))
        .collect();
    let index: Vec<Indexed> = kernels.iter().map(indexed).collect();
    let store = place.store();
    let add = |index: &[Indexed], names: &[&str], old: &Lock| {
        add_from_index(&store, index, &wants(names), old, &|_| ()).unwrap()
    };

    // When 6.18.9 was the newest.
    let first = add(&index[..2], &["6.18", "6.18.5"], &Lock::default());
    assert_eq!(first.lock.kernels, kernels[..2]);
    assert_eq!(first.new.len(), 2);

    // 6.18.15 takes the place of the newest; the one that is named stays.
    let second = add(&index, &["6.18", "6.18.5"], &first.lock);
    assert_eq!(points(&second.lock), ["6.18.5", "6.18.15"]);
    assert_eq!(second.replaced, ["6.18.9-cloud-amd64"]);

    // What is gone from the mirror is reported, and what the lock has is kept.
    let third = add(&index[2..], &["6.18", "6.18.5", "6.13"], &second.lock);
    assert_eq!(third.lock, second.lock);
    assert_eq!(third.missing.len(), 2, "{:?}", third.missing);
    assert!(third.missing[0].contains("6.18.5") && third.missing[1].contains("6.13"));
}

#[test]
fn a_lock_survives_its_text_and_damage_is_named() {
    let place = Mirror::new();
    let lock = Lock {
        kernels: vec![place.proper_kernel("6.9.1"), place.proper_kernel("6.18.5")],
        sources: vec![source("6.18.5"), source("7.3.4")],
    };
    let text = lock.to_text();
    assert_eq!(Lock::parse("l", &text).unwrap(), lock);
    assert_eq!(Lock::parse("l", &text).unwrap().to_text(), text);
    let hash = &lock.kernels[0].image.sha256;
    for (from, to, words) in [
        (hash.as_str(), "abc", "64 hex digits"),
        ("path = \"pool/", "path = \"../", "below pool/"),
        (
            "6.9.1-cloud-amd64\"\narch",
            "6.18.5-cloud-amd64\"\narch",
            "stands twice",
        ),
        ("flavour =", "flavor =", "unknown field"),
        ("series = \"6.9\"", "series = \"6.8\"", "not of series"),
    ] {
        let error = Lock::parse("l", &text.replacen(from, to, 1))
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_lock_of_this_checkout_has_what_the_matrix_needs() {
    let lock = Lock::built_in().unwrap();
    assert_eq!(lock.to_text(), include_str!("../kernels.lock"));
    let default = crate::select(&lock, None, &[]).unwrap();
    for arch in Arch::ALL {
        let of_arch = default.iter().filter(|k| k.arch == arch).count();
        assert!(of_arch >= 10, "{of_arch} for {arch}");
    }
    assert_eq!(
        crate::select(&lock, Some("16k"), &[]).unwrap()[0].page_size,
        16384
    );
}
