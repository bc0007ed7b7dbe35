//! Getting a kernel by every road there is: cache, mirror, newest of its series, snapshot.

use crate::apt::AptRoot;
use crate::lock::LockedKernel;
use crate::manifest::{Suites, Want};
use crate::store::{Fetched, Origin, Progress, Step, Store};
use crate::{resolve, Error, Result};
use std::time::Duration;

/// How old the private root's indexes may be before a fall-back fetches them again.
pub const INDEX_AGE: Duration = Duration::from_secs(6 * 3600);

/// The kernel of a lock entry, or what stands in for it.
///
/// First the cache, then the mirror by pool path and hash. If the mirror no longer has it: the newest of its
/// series, looked up with signatures checked by apt; then the snapshot, if one is set.
///
/// # Errors
/// [`Error::Unavailable`] if all of that fails because the kernel is nowhere: a skipped row, no failure.
/// Everything else is a failure, that of a fall-back too: [`Error::Network`], a bad signature ([`Error::Apt`]), a wrong hash.
pub fn obtain(
    store: &Store,
    kernel: &LockedKernel,
    suites: &Suites,
    progress: &Progress,
) -> Result<Fetched> {
    let newest = |want: &Want| {
        let root = AptRoot::create(&store.root().join("apt"), store.mirrors(), suites)?;
        root.update(INDEX_AGE, &|| progress(Step::indexes()))?;
        resolve::resolve(want, kernel.arch, &root.kernels()?).map_err(|detail| Error::Unavailable {
            release: kernel.release.clone(),
            detail,
        })
    };
    obtain_with(store, kernel, &newest, progress)
}

/// [`obtain`] with the look-up of the newest kernel of a series as a parameter.
fn obtain_with(
    store: &Store,
    kernel: &LockedKernel,
    newest: &dyn Fn(&Want) -> Result<LockedKernel>,
    progress: &Progress,
) -> Result<Fetched> {
    let mut tried = match store.fetch(kernel, progress) {
        Err(Error::Unavailable { detail, .. }) => vec![detail],
        other => return other,
    };
    // The first that failed otherwise than by not having the kernel: what it would have said is not known.
    let mut failure = None;
    let mut note = |error: Error| match error {
        Error::Unavailable { detail, .. } => tried.push(detail),
        error => {
            failure.get_or_insert(error);
        }
    };
    let want = Want {
        series: kernel.series.clone(),
        point: None,
        flavour: kernel.flavour.clone(),
        arch: vec![kernel.arch],
    };
    match newest(&want).and_then(|found| store.fetch(&found, progress)) {
        Ok(mut fetched) => {
            fetched.wanted.clone_from(&kernel.release);
            fetched
                .kernel
                .image_sha256
                .clone_from(&fetched.image.sha256);
            fetched.origin = Origin::NewestOfSeries;
            progress(Step::Note(format!(
                "{}: the mirror no longer has it; taking {} instead",
                kernel.release, fetched.kernel.release
            )));
            return Ok(fetched);
        }
        Err(error) => note(error),
    }
    if let Some(uri) = store
        .mirrors()
        .snapshot_uri(kernel.image.archive, &kernel.image.path)
    {
        match store.fetch_from(&uri, &kernel.image, progress) {
            Ok(()) => {
                let mut fetched = store.fetch(kernel, progress)?;
                fetched.origin = Origin::Snapshot;
                return Ok(fetched);
            }
            Err(error) => note(error),
        }
    }
    Err(failure.unwrap_or_else(|| Error::Unavailable {
        release: kernel.release.clone(),
        detail: tried.join("; "),
    }))
}

#[cfg(test)]
#[path = "obtain_tests.rs"]
mod tests;
