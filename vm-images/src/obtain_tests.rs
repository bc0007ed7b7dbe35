use super::*;
use crate::deb;
use crate::testing::Mirror;
use crate::Mirrors;
use std::fs;
use std::sync::Mutex;

/// No newer kernel either.
fn nothing(_: &Want) -> Result<LockedKernel> {
    Err(Error::Unavailable {
        release: "newest".into(),
        detail: "nothing there".into(),
    })
}

fn get(store: &Store, kernel: &LockedKernel) -> Result<Fetched> {
    obtain_with(store, kernel, &nothing, &|_| ())
}

#[test]
fn a_locked_kernel_comes_from_the_mirror_once_then_from_the_cache() {
    let place = Mirror::new();
    let kernel = place.proper_kernel("6.18.5");
    let store = place.store();
    let first = get(&store, &kernel).unwrap();
    assert_eq!(first.image.release, "6.18.5-cloud-amd64");
    assert_eq!(first.origin, Origin::Locked);
    assert_eq!(fs::read(first.config.unwrap()).unwrap(), b"CONFIG_X=y\n");
    assert_eq!(place.requests(), 1);
    // No network any more.
    let offline = Store::open(place.cache(), Mirrors::default());
    assert_eq!(
        get(&offline, &kernel).unwrap().image.sha256,
        kernel.image_sha256
    );
    assert!(crate::store::verify(&store, &kernel).unwrap());
    assert_eq!(place.requests(), 1);
}

#[test]
fn a_file_mirror_works_and_is_not_linked_to() {
    let place = Mirror::new();
    let kernel = place.proper_kernel("6.18.5");
    let file = place.file(&kernel.image);
    let base = file.parent().and_then(|p| p.parent()).unwrap();
    let store = Store::open(
        place.cache(),
        Mirrors::from_main(&format!("file://{}", base.display())),
    );
    get(&store, &kernel).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(crate::store::verify(&store, &kernel).unwrap());
    assert!(store.package(&kernel.image, &|_| ()).is_ok());
}

#[test]
fn damage_in_the_cache_is_found_and_repaired() {
    let place = Mirror::new();
    let kernel = place.proper_kernel("6.18.5");
    let store = place.store();
    let image = get(&store, &kernel).unwrap().image.path;
    let deb = store.package(&kernel.image, &|_| ()).unwrap();

    // The image alone: unpacked again from the package, without the mirror.
    let mut bytes = fs::read(&image).unwrap();
    bytes[0x3ff] ^= 1;
    fs::write(&image, &bytes).unwrap();
    assert!(crate::store::verify(&store, &kernel).is_err());
    assert!(store.cached(&kernel).unwrap().is_none());
    assert_eq!(
        get(&store, &kernel).unwrap().image.sha256,
        kernel.image_sha256
    );
    assert_eq!(place.requests(), 1);

    // Both, the package cut off: fetched again, once, and said so.
    fs::write(&image, b"").unwrap();
    let whole = fs::read(&deb).unwrap();
    fs::write(&deb, &whole[..whole.len() / 2]).unwrap();
    let notes = Mutex::new(Vec::new());
    let step = |step| {
        if let Step::Note(text) = step {
            notes.lock().unwrap().push(text);
        }
    };
    obtain_with(&store, &kernel, &nothing, &step).unwrap();
    assert_eq!(place.requests(), 2);
    let notes = notes.into_inner().unwrap().join("\n");
    assert!(notes.contains("damaged; fetching it again"), "{notes}");
    assert!(crate::store::verify(&store, &kernel).unwrap());
}

#[test]
fn what_is_no_longer_what_the_lock_says_is_an_error() {
    // The mirror's file is cut off.
    let place = Mirror::new();
    let kernel = place.proper_kernel("6.18.5");
    let file = place.file(&kernel.image);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 100]).unwrap();
    let error = get(&place.store(), &kernel).unwrap_err();
    assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
    assert!(error.to_string().contains(&kernel.image.path), "{error}");
    assert!(place.store().cached(&kernel).unwrap().is_none());

    // The right package, but the lock says another hash of the image.
    fs::write(&file, &whole).unwrap();
    let mut wrong = kernel.clone();
    wrong.image_sha256 = "0".repeat(64);
    let error = get(&place.store(), &wrong).unwrap_err();
    assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
    assert!(get(&place.store(), &kernel).is_ok());
}

#[test]
fn a_package_without_a_kernel_is_an_error() {
    let place = Mirror::new();
    let empty = place.kernel(
        "6.19.1",
        &deb::make(&[("usr/share/doc/x", b"x")], "", &|d| d.to_vec()),
    );
    let error = get(&place.store(), &empty).unwrap_err().to_string();
    assert!(error.contains("no kernel in it"), "{error}");
    let odd = place.kernel(
        "6.19.2",
        &deb::make(&[("boot/vmlinuz-1", b"not one")], "", &|d| d.to_vec()),
    );
    let error = get(&place.store(), &odd).unwrap_err().to_string();
    assert!(error.contains("no kernel that can be booted"), "{error}");
}

#[test]
fn without_a_network_the_error_says_so_and_no_fall_back_is_tried() {
    let place = Mirror::new();
    let kernel = place.proper_kernel("6.18.5");
    // Port 1 on loopback: nobody listens.
    let store = Store::open(
        place.cache(),
        Mirrors::from_main("http://127.0.0.1:1/debian"),
    );
    let asked = Mutex::new(false);
    let newest = |want: &Want| {
        *asked.lock().unwrap() = true;
        nothing(want)
    };
    let error = obtain_with(&store, &kernel, &newest, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(!*asked.lock().unwrap());
    assert!(matches!(
        get(&Store::open(place.cache(), Mirrors::default()), &kernel).unwrap_err(),
        Error::NoMirror { .. }
    ));
}

#[test]
fn what_left_the_mirror_is_replaced_by_the_newest_of_its_series() {
    let place = Mirror::new();
    let gone = place.proper_kernel("6.18.5");
    fs::remove_file(place.file(&gone.image)).unwrap();
    let there = place.proper_kernel("6.18.15");
    let newest = |want: &Want| {
        assert_eq!(
            (want.series.as_str(), want.point.as_deref()),
            ("6.18", None)
        );
        let mut found = there.clone();
        // An index does not know it.
        found.image_sha256.clear();
        Ok(found)
    };
    let fetched = obtain_with(&place.store(), &gone, &newest, &|_| ()).unwrap();
    assert_eq!(fetched.origin, Origin::NewestOfSeries);
    assert_eq!(fetched.wanted, gone.release);
    assert_eq!(
        fetched.kernel, there,
        "with the hash of its image for run.json"
    );
}

#[test]
fn then_the_snapshot_then_the_row_is_skipped() {
    let place = Mirror::new();
    let kernel = place.proper_kernel("6.18.5");
    let empty = Mirror::new();
    let error = get(&empty.store(), &kernel).unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable { release, .. } if *release == kernel.release),
        "{error}"
    );

    let mut mirrors = empty.mirrors();
    mirrors.snapshot = place.mirrors().main.pop();
    let store = Store::open(empty.cache(), mirrors);
    let fetched = get(&store, &kernel).unwrap();
    assert_eq!(fetched.origin, Origin::Snapshot);
    assert_eq!(fetched.image.sha256, kernel.image_sha256);
}

/// What could not be asked is not known to be gone.
#[test]
fn a_fall_back_that_fails_is_a_failure_unless_another_helps() {
    let place = Mirror::new();
    let kernel = place.proper_kernel("6.18.5");
    let empty = Mirror::new();
    let unsigned = |_: &Want| {
        Err(Error::Apt {
            root: "apt".into(),
            message: "the signature is wrong".into(),
        })
    };
    let silent = |_: &Want| {
        Err(Error::Network {
            uri: "the package indexes".into(),
            detail: "timed out".into(),
        })
    };
    let get = |store: &Store, newest: &dyn Fn(&Want) -> Result<LockedKernel>| {
        obtain_with(store, &kernel, newest, &|_| ())
    };
    let error = get(&empty.store(), &unsigned).unwrap_err();
    assert!(matches!(error, Error::Apt { .. }), "{error}");
    let error = get(&empty.store(), &silent).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    // The newest of the series is there, and is not what its index says.
    let file = place.file(&kernel.image);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[1..]).unwrap();
    let gone = empty.proper_kernel("6.18.4");
    fs::remove_file(empty.file(&gone.image)).unwrap();
    let damaged = |_: &Want| Ok(kernel.clone());
    let error = obtain_with(&place.store(), &gone, &damaged, &|_| ()).unwrap_err();
    assert!(matches!(error, Error::HashMismatch { .. }), "{error}");
    fs::write(&file, &whole).unwrap();
    // A snapshot that does not answer, and one that has it.
    let store = |snapshot: Option<String>| {
        let mut mirrors = empty.mirrors();
        mirrors.snapshot = snapshot;
        Store::open(empty.cache(), mirrors)
    };
    let dead = store(Some("http://127.0.0.1:1/debian".into()));
    let error = get(&dead, &nothing).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    let has_it = store(place.mirrors().main.pop());
    assert_eq!(get(&has_it, &silent).unwrap().origin, Origin::Snapshot);
}

#[test]
fn many_at_once_fetch_a_package_once() {
    let place = Mirror::new();
    let kernel = place.proper_kernel("6.18.5");
    let store = place.store();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| get(&store, &kernel).unwrap());
        }
    });
    assert_eq!(place.requests(), 1);
}

#[test]
fn cleaning_keeps_what_the_lock_names() {
    let place = Mirror::new();
    let (kept, old) = (
        place.proper_kernel("6.18.15"),
        place.proper_kernel("6.18.5"),
    );
    let store = place.store();
    get(&store, &kept).unwrap();
    get(&store, &old).unwrap();
    assert!(store.clean(Some(std::slice::from_ref(&kept))).unwrap() > 0);
    assert!(store.cached(&kept).unwrap().is_some());
    assert!(store.cached(&old).unwrap().is_none());
    store.clean(None).unwrap();
    assert!(store.cached(&kept).unwrap().is_none());
}
