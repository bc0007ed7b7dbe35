//! The profiles that a campaign's kernels were found to have. A kernel is compared with what the one before it showed when it was
//! probed, not with what the table says of its release: an error of the table would turn up at the wrong border.

use super::run::lock;
use oracle::profile::Profile;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// By the row's index; `None`: it ended without having been probed.
#[derive(Default)]
pub struct Probed {
    rows: Mutex<BTreeMap<usize, Option<Profile>>>,
    changed: Condvar,
}

/// How often somebody who waits looks whether the campaign has been stopped.
const LOOK: Duration = Duration::from_millis(200);

impl Probed {
    /// Notes what a row's kernel was found to have.
    pub fn found(&self, row: usize, profile: &Profile) {
        lock(&self.rows).insert(row, Some(profile.clone()));
        self.changed.notify_all();
    }

    /// Notes that a row is over, so that nobody waits for it.
    pub fn over(&self, row: usize) {
        lock(&self.rows).entry(row).or_insert(None);
        self.changed.notify_all();
    }

    /// Waits for the profile of a row that another lane has begun. `None`: its kernel could not be probed, or `stopped`.
    pub fn wait(&self, row: usize, stopped: &dyn Fn() -> bool) -> Option<Profile> {
        let mut rows = lock(&self.rows);
        loop {
            if let Some(known) = rows.get(&row) {
                return known.clone();
            }
            if stopped() {
                return None;
            }
            let waited = self.changed.wait_timeout(rows, LOOK);
            rows = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_gets_what_another_finds() {
        let probed = Probed::default();
        let newest = Profile::newest();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| probed.wait(1, &|| false));
            probed.over(0);
            probed.found(1, &newest);
            // What was found stays, whatever comes after it.
            probed.over(1);
            assert_eq!(waiting.join().unwrap().as_ref(), Some(&newest));
        });
        assert_eq!(probed.wait(1, &|| false), Some(newest));
        assert_eq!(probed.wait(0, &|| false), None);
        assert_eq!(
            probed.wait(2, &|| true),
            None,
            "a stopped campaign waits for nobody"
        );
    }
}
