//! Writing the lock: every wish looked up through the private apt root, fetched, and its image hashed.

use crate::apt::{AptRoot, Indexed};
use crate::lock::{Lock, LockedKernel};
use crate::manifest::{Suites, Want};
use crate::store::{Progress, Step, Store};
use crate::{resolve, Arch, Result};
use std::time::Duration;

/// What [`add`] did.
#[derive(Debug, Default)]
pub struct Added {
    /// The new lock.
    pub lock: Lock,
    /// Releases that were not in the old lock.
    pub new: Vec<String>,
    /// Releases of the old lock that a newer one replaced.
    pub replaced: Vec<String>,
    /// Wishes that the mirror cannot meet, one sentence each. What the old lock had for them is kept.
    pub missing: Vec<String>,
}

/// Looks up `wants` on the mirror (indexes not older than `fresh_for`) and returns `old` with them in it.
///
/// # Errors
/// What the private apt root or a fetch says. A wish that cannot be met is no error; see [`Added::missing`].
pub fn add(
    store: &Store,
    suites: &Suites,
    wants: &[Want],
    old: &Lock,
    fresh_for: Duration,
    progress: &Progress,
) -> Result<Added> {
    let root = AptRoot::create(&store.root().join("apt"), store.mirrors(), suites)?;
    root.update(fresh_for, &|| progress(Step::indexes()))?;
    add_from_index(store, &root.kernels()?, wants, old, progress)
}

/// [`add`] with an index at hand.
fn add_from_index(
    store: &Store,
    index: &[Indexed],
    wants: &[Want],
    old: &Lock,
    progress: &Progress,
) -> Result<Added> {
    let mut added = Added::default();
    let mut kept: Vec<LockedKernel> = old.kernels.clone();
    for (want, arch) in wants
        .iter()
        .flat_map(|w| w.arch.iter().map(move |&arch| (w, arch)))
    {
        let mut found = match resolve::resolve(want, arch, index) {
            Ok(found) => found,
            Err(sentence) => {
                added.missing.push(sentence);
                continue;
            }
        };
        // The same package needs no second look; its image's hash is known.
        let known = old
            .kernels
            .iter()
            .find(|k| k.image.sha256 == found.image.sha256);
        found.image_sha256 = match known {
            Some(known) => known.image_sha256.clone(),
            None => store.fetch(&found, progress)?.image.sha256,
        };
        if want.point.is_none() {
            drop_superseded(&mut kept, &found, wants, arch, &mut added.replaced);
        }
        if !old.kernels.iter().any(|k| k.release == found.release) {
            added.new.push(found.release.clone());
        }
        kept.retain(|k| k.release != found.release);
        kept.push(found);
    }
    let mut sources = old.sources.clone();
    for want in wants.iter().filter(|w| w.point.is_none()) {
        // No wish of its own: most series have no source package, and only builds of one's own need one.
        if let Some(source) = resolve::source(&want.series, index) {
            sources.retain(|s| s.series != source.series);
            sources.push(source);
        }
    }
    // One order, whatever the order of wishes: parsing the text gives it.
    let unsorted = Lock {
        kernels: kept,
        sources,
    };
    added.lock = Lock::parse("kernels.lock", &unsorted.to_text())?;
    Ok(added)
}

/// A wish for the newest of a series replaces the older newest, but no point release that a wish names.
fn drop_superseded(
    kept: &mut Vec<LockedKernel>,
    found: &LockedKernel,
    wants: &[Want],
    arch: Arch,
    replaced: &mut Vec<String>,
) {
    let named = |k: &LockedKernel| {
        wants.iter().any(|w| {
            w.flavour == k.flavour && w.arch.contains(&arch) && w.point.as_ref() == Some(&k.point)
        })
    };
    kept.retain(|k| {
        let superseded = k.arch == arch
            && k.series == found.series
            && k.flavour == found.flavour
            && k.release != found.release
            && !named(k);
        if superseded {
            replaced.push(k.release.clone());
        }
        !superseded
    });
}

#[cfg(test)]
#[path = "add_tests.rs"]
mod tests;
