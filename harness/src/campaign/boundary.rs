//! What differs between two kernels, and which rows of the table of behaviours say so.
//!
//! An execution on one kernel is judged as if it had run on the other. Where the rules of the other cannot explain it, the
//! kernels differ; then rows are taken over from the kernel's own profile, as few as it takes, until they can.

use super::judge::{judge, ProgramVerdict};
use super::Bucket;
use crate::kernel::Execution;
use oracle::geometry::Geometry;
use oracle::profile::{Behaviour, Profile, BEHAVIOURS};
use oracle::program::Program;
use serde::{Deserialize, Serialize};

/// One difference between two kernels that a program shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What the first kernel would have done, and what the second did.
    pub bucket: Bucket,
    /// The op that shows it.
    pub op_index: usize,
    /// Names of the rows of the table of behaviours that explain it, the fewest that do. Empty: none.
    pub rows: Vec<&'static str>,
}

/// A class of differences, counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub bucket: Bucket,
    /// See [`Difference::rows`].
    pub rows: Vec<String>,
    /// The first program that showed it.
    pub first_program: String,
    /// Programs that showed it.
    pub programs: u64,
}

/// What an execution on a kernel of profile `to`, whose rules explain it, shows of what a kernel of profile `from` would have
/// done otherwise; in the order of the ops.
pub fn differences(
    program: &Program,
    execution: &Execution,
    from: &Profile,
    to: &Profile,
    geometry: Geometry,
) -> Vec<Difference> {
    let parting: Vec<&Behaviour> = BEHAVIOURS
        .iter()
        .filter(|row| row.get(from) != row.get(to))
        .collect();
    let mut found = Vec::new();
    let mut profile = from.clone();
    while let Some((at, bucket)) = stop(program, execution, &profile, geometry) {
        let goes_on = |rows: &[&Behaviour]| {
            let with = taking_over(&profile, to, rows);
            stop(program, execution, &with, geometry).is_none_or(|(later, _)| later > at)
        };
        let rows = fewest(&parting, &goes_on);
        found.push(Difference {
            bucket,
            op_index: at,
            rows: rows.iter().map(|row| row.name).collect(),
        });
        if rows.is_empty() {
            break;
        }
        profile = taking_over(&profile, to, &rows);
    }
    found
}

/// Where the rules of a profile can no longer explain an execution.
fn stop(
    program: &Program,
    execution: &Execution,
    profile: &Profile,
    geometry: Geometry,
) -> Option<(usize, Bucket)> {
    match judge(program, execution, profile, geometry).verdict {
        ProgramVerdict::Suspect(story) => Some((story.step, story.bucket)),
        ProgramVerdict::Fine | ProgramVerdict::Poisoned | ProgramVerdict::Infra(_) => None,
    }
}

/// `profile` with these rows as `to` has them.
fn taking_over(profile: &Profile, to: &Profile, rows: &[&Behaviour]) -> Profile {
    let mut profile = profile.clone();
    for row in rows {
        row.set(&mut profile, row.get(to));
    }
    profile
}

/// The fewest rows with which the execution can be explained further: one that does it alone, otherwise what is left of all of
/// them when each that is not needed is left out. Empty when all of them together do not help.
fn fewest<'r>(
    parting: &[&'r Behaviour],
    goes_on: &dyn Fn(&[&'r Behaviour]) -> bool,
) -> Vec<&'r Behaviour> {
    if let Some(row) = parting.iter().find(|row| goes_on(&[row])) {
        return vec![row];
    }
    let mut rows = parting.to_vec();
    if !goes_on(&rows) {
        return Vec::new();
    }
    let mut at = 0;
    while at < rows.len() {
        let mut without = rows.clone();
        without.remove(at);
        if goes_on(&without) {
            rows = without;
        } else {
            at += 1;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simulated::Simulated;
    use crate::kernel::{Kernel, KernelSource, Prepared, Smaps};
    use oracle::profile::{Arch, Release};
    use std::sync::Arc;

    fn at(major: u16, minor: u16) -> Profile {
        Profile::at_release(Release(major, minor, 0), Arch::X86_64)
    }

    /// Runs a program on the model of `to` and asks how it differs from `from`.
    fn crossing(from: &Profile, to: &Profile, text: &str) -> Vec<Difference> {
        let program = Arc::new(Program::load(text).unwrap());
        let source = Simulated {
            profile: to.clone(),
            ..Simulated::default()
        };
        let mut kernel: Box<dyn Kernel> = source.boot("test").unwrap();
        let prepared = Prepared {
            id: 1,
            program: program.clone(),
            smaps: Smaps::Every,
            fault: None,
        };
        let execution = kernel.run(&[prepared]).unwrap().remove(0);
        differences(&program, &execution, from, to, Geometry::K4)
    }

    #[test]
    fn a_row_explains_what_it_changes() {
        let text = "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+1\n";
        let found = crossing(&at(6, 12), &at(6, 18), text);
        assert!(found[0].rows.contains(&"guards"), "{found:?}");
        assert_eq!(found[0].op_index, 1);
        let found = crossing(&at(6, 18), &at(7, 3), text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].rows, ["maybe_guard"]);
        assert_eq!(found[0].bucket.observed, "gu");
    }

    #[test]
    fn kernels_that_do_not_differ_show_nothing() {
        let text = "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 1\nfork 1\n";
        assert_eq!(crossing(&at(6, 18), &at(7, 3), text), []);
    }

    /// Two rows that change one op between them are both named.
    #[test]
    fn several_differences_of_one_program_are_all_found() {
        let text = "mmap 0+0..0+4 rw shared fixed\nguard-install 0+0..0+1\nmmap 0+8..0+9 rw private fixed stack\n";
        let found = crossing(&at(6, 6), &at(7, 3), text);
        let rows: Vec<&str> = found.iter().flat_map(|d| d.rows.iter().copied()).collect();
        assert!(rows.contains(&"guards_shared"), "{found:?}");
        assert!(rows.contains(&"stack_no_huge"), "{found:?}");
    }

    /// What no row says is told, not dropped.
    #[test]
    fn what_no_row_explains_has_none() {
        let profile = at(7, 3);
        let mut broken = profile.clone();
        broken.guards = false;
        let text = "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+1\n";
        let program = Program::load(text).unwrap();
        let source = Simulated {
            profile: broken,
            ..Simulated::default()
        };
        let prepared = Prepared {
            id: 1,
            program: Arc::new(program.clone()),
            smaps: Smaps::Every,
            fault: None,
        };
        let execution = source
            .boot("test")
            .unwrap()
            .run(&[prepared])
            .unwrap()
            .remove(0);
        let found = differences(&program, &execution, &profile, &profile, Geometry::K4);
        assert_eq!(found.len(), 1);
        assert!(found[0].rows.is_empty());
    }
}
