//! Which kernels have a bucket, which have it not, and of which it cannot be told.

use super::{Answer, Reliability, Told};
use crate::campaign::{piece_of, Story};
use crate::kernel::Execution;
use crate::report::outcome_words;
use oracle::geometry::Geometry;
use oracle::judge::{Class, Observation, PageSeen, VmaSeen};
use oracle::program::Program;

/// What is known of a kernel and a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The program ends in the bucket.
    Affected(Reliability),
    /// The program came to the op in the same way as on the affected kernel, and the op did what the rules say, in so many runs.
    NotAffected(u32),
    /// Neither, and why: it stopped earlier, or took another way.
    NotTold(String),
}

/// A kernel on which the program ends in the bucket, to compare others with.
#[derive(Debug, Clone, Copy)]
pub struct Reference<'a> {
    pub program: &'a Program,
    pub story: &'a Story,
    /// A run of it, where one came back.
    pub execution: Option<&'a Execution>,
    pub geometry: Geometry,
}

impl Standing {
    /// What the verdict on the program, asked about this bucket only, says of a kernel.
    pub fn of(told: &Told, reference: &Reference<'_>) -> Standing {
        match (&told.answer, &told.execution) {
            (Answer::Diverges { reliability, .. }, _) => Standing::Affected(*reliability),
            (Answer::Untold(why), _) => Standing::NotTold(why.clone()),
            (Answer::Holds { runs }, Some(execution)) => {
                match other_way(told, execution, reference) {
                    Some(why) => Standing::NotTold(why),
                    None => Standing::NotAffected(*runs),
                }
            }
            (Answer::Holds { .. }, None) => Standing::NotTold("no run of it was kept".into()),
        }
    }

    /// The same, knowing how many programs of a run ended in the bucket on the kernel: where any did, it is affected, whatever the
    /// shortest program shows.
    pub fn though_met(self, programs: u64) -> Standing {
        match self {
            Standing::NotAffected(_) if programs > 0 => {
                Standing::NotTold("the run met it there, but this program does not show it".into())
            }
            other => other,
        }
    }
}

/// Why a program that holds tells nothing about the bucket: by its own rules the kernel did otherwise before the op, or does at
/// the op what is wrong elsewhere.
fn other_way(told: &Told, execution: &Execution, reference: &Reference<'_>) -> Option<String> {
    let Reference { program, story, .. } = reference;
    let geometry = told.kernel.as_ref().map(|(info, _)| info.geometry);
    if geometry != Some(reference.geometry) {
        return Some("its pages have another size".into());
    }
    let there = reference.execution.map_or(&[][..], |e| &e.seen);
    let ops = program.steps.iter().take(story.step);
    for (index, ((step, here), there)) in ops.zip(&execution.seen).zip(there).enumerate() {
        if here.outcome != there.outcome {
            let name = step.op.name();
            let [here, there] =
                [here, there].map(|o| outcome_words(&o.outcome, reference.geometry));
            return Some(format!("op {index} ({name}): {here} instead of {there}"));
        }
    }
    let here = piece_of(program, story.step)?.seen(&execution.seen)?;
    let seen = story.observed.as_ref()?;
    (!differs(&here, seen, story)).then(|| "it does the same, and its own rules say so".into())
}

/// Whether two observations differ in what the story is about.
fn differs(a: &Observation, b: &Observation, story: &Story) -> bool {
    if a.outcome != b.outcome {
        return true;
    }
    let place = |o: &Observation| match (story.actor, story.pages) {
        (Some(actor), Some(pages)) => {
            let space = o.spaces.iter().find(|(a, _)| *a == actor);
            space.map(|(_, space)| Place::of(space, pages, story.class))
        }
        _ => None,
    };
    match (story.actor, story.pages) {
        (Some(_), Some(_)) => place(a) != place(b),
        // What the op returned was all.
        _ => false,
    }
}

/// What stands at some pages, as far as a class of divergence looks at it.
#[derive(PartialEq)]
struct Place {
    pages: Vec<Option<PageSeen>>,
    vmas: Vec<VmaSeen>,
    resident: Option<Vec<bool>>,
}

impl Place {
    fn of(space: &oracle::judge::SpaceSeen, (from, to): (u32, u32), class: Class) -> Place {
        let run_at = |page: u32| {
            let run = space
                .pages
                .iter()
                .find(|run| run.start <= page && page - run.start < run.len)?;
            Some(run.page)
        };
        let vmas = space.vmas.iter().filter(|v| v.start < to && from < v.end);
        let resident = space
            .resident
            .as_ref()
            .filter(|_| class == Class::Residency);
        Place {
            pages: (from..to).map(run_at).collect(),
            vmas: vmas
                .cloned()
                .map(|mut vma| {
                    // Kernels differ in these for reasons of their own.
                    if class != Class::VmFlags {
                        vma.flags = None;
                    }
                    if class != Class::Sizes {
                        vma.sizes = None;
                    }
                    vma
                })
                .collect(),
            resident: resident.map(|runs| {
                let is = |page: u32| runs.iter().any(|(at, len)| (*at..at + len).contains(&page));
                (from..to).map(is).collect()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simulated::{fault_named, Simulated};
    use crate::kernel::JudgeBy;
    use crate::triage::{verdict, VerdictSettings};
    use std::sync::Arc;

    const FORK: &str = "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+1\nfork 1\n";

    fn ask(source: &Simulated, text: &str, like: Option<&Story>) -> (Arc<Program>, Told) {
        let program = Arc::new(Program::load(text).expect("parses"));
        let settings = VerdictSettings {
            by: JudgeBy::default(),
            bucket: like.map(|story| story.bucket.clone()),
            runs: 3,
        };
        let told = verdict(source, &program, &settings);
        (program, told)
    }

    fn faulty(name: &str) -> Simulated {
        Simulated {
            fault: Some(fault_named(name).expect("a fault of this name")),
            ..Simulated::default()
        }
    }

    /// Asks kernels about what goes wrong on the first, which loses guards in a fork.
    fn standings(others: &[Simulated]) -> Vec<Standing> {
        let (program, told) = ask(&faulty("fork/loses-guards"), FORK, None);
        let Answer::Diverges { story, .. } = &told.answer else {
            panic!("{told:?}");
        };
        let reference = Reference {
            program: &program,
            story,
            execution: told.execution.as_ref(),
            geometry: Geometry::K4,
        };
        assert!(matches!(
            Standing::of(&told, &reference),
            Standing::Affected(Reliability { hits: 3, runs: 3 })
        ));
        let one = |source: &Simulated| Standing::of(&ask(source, FORK, Some(story)).1, &reference);
        others.iter().map(one).collect()
    }

    #[test]
    fn a_kernel_that_goes_the_same_way_and_holds_is_not_affected() {
        let standing = standings(&[Simulated::default()]).remove(0);
        assert_eq!(standing, Standing::NotAffected(3));
        assert_eq!(standing.clone().though_met(0), standing);
        assert!(matches!(standing.though_met(1), Standing::NotTold(_)));
    }

    #[test]
    fn a_kernel_that_went_wrong_before_is_not_told() {
        let standing = standings(&[faulty("guard/install-skipped")]).remove(0);
        let Standing::NotTold(why) = standing else {
            panic!("{standing:?}");
        };
        assert!(why.contains("something else goes wrong"), "{why}");
    }

    #[test]
    fn a_kernel_without_the_feature_is_not_told_though_it_holds() {
        let mut old = Simulated::default();
        old.profile.guards = false;
        let standing = standings(&[old]).remove(0);
        let Standing::NotTold(why) = standing else {
            panic!("{standing:?}");
        };
        assert!(why.contains("op 1 (guard-install)"), "{why}");
    }

    #[test]
    fn a_kernel_whose_rules_say_what_is_wrong_elsewhere_is_not_told() {
        // A row of the table explains on the second kernel what is a divergence on the first, judged by the newest rules.
        let text = "mmap 0+0..0+4 rw private fixed\nmseal 0+1..0+2\nmseal 0+0..0+4\n";
        let mut old = Simulated::default();
        old.profile.mseal_stale_start = true;
        let program = Arc::new(Program::load(text).expect("parses"));
        let newest = VerdictSettings {
            by: JudgeBy::profile(oracle::profile::Named::NEWEST),
            bucket: None,
            runs: 1,
        };
        let told = verdict(&old, &program, &newest);
        let Answer::Diverges { story, .. } = &told.answer else {
            panic!("{told:?}");
        };
        let reference = Reference {
            program: &program,
            story,
            execution: told.execution.as_ref(),
            geometry: Geometry::K4,
        };
        let (_, own) = ask(&old, text, Some(story));
        let standing = Standing::of(&own, &reference);
        assert!(
            matches!(&standing, Standing::NotTold(why) if why.contains("its own rules")),
            "{standing:?}"
        );
        let (_, new) = ask(&Simulated::default(), text, Some(story));
        assert_eq!(Standing::of(&new, &reference), Standing::NotAffected(3));
    }
}
