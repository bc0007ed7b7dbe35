//! Two kernels as one, so that a program on which they differ can be minimized though the rules permit both: what they do alike is what
//! the first does, and where they part, the program goes wrong, whoever is right.

use crate::kernel::{
    BootError, End, Event, Execution, Kernel, KernelError, KernelInfo, KernelSource, Prepared,
};
use oracle::geometry::Geometry;
use oracle::judge::strip::Letter;
use oracle::judge::{Class, Observation, Oracle, Outcome, SpaceSeen, Verdict};
use oracle::profile::Profile;
use oracle::program::{Expect, Program};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A kernel, and another one that is to do the same.
pub struct Against {
    pub first: Arc<dyn KernelSource>,
    pub second: Arc<dyn KernelSource>,
}

impl KernelSource for Against {
    fn label(&self) -> &str {
        self.first.label()
    }

    fn arch(&self) -> &str {
        self.first.arch()
    }

    fn release(&self) -> Option<&str> {
        self.first.release()
    }

    fn options(&self) -> Vec<String> {
        self.first.options()
    }

    fn boot(&self, name: &str) -> Result<Box<dyn Kernel>, BootError> {
        let first = self.first.boot(name)?;
        let second = self.second.boot(&format!("{name}-against"))?;
        let (g, other) = (first.info().geometry, second.info().geometry);
        if g != other {
            return Err(BootError::Failed {
                why: format!(
                    "pages of {} bytes on {} and of {} bytes on {}: they cannot be compared page by page",
                    g.page_size,
                    first.info().release,
                    other.page_size,
                    second.info().release
                ),
                console: String::new(),
            });
        }
        Ok(Box::new(Both {
            first,
            second,
            profile: None,
            asked: BTreeMap::new(),
        }))
    }
}

/// Both kernels, running.
struct Both {
    first: Box<dyn Kernel>,
    second: Box<dyn Kernel>,
    /// By which the first is judged; `None` as long as it is probed, which is about nobody else.
    profile: Option<Profile>,
    /// Programs in flight, by id.
    asked: BTreeMap<u64, Arc<Program>>,
}

impl Kernel for Both {
    fn info(&self) -> &KernelInfo {
        self.first.info()
    }

    fn handles_memory_failure(&self) -> bool {
        self.first.handles_memory_failure()
    }

    fn has_swap(&self) -> bool {
        self.first.has_swap() && self.second.has_swap()
    }

    fn judged_by(&mut self, profile: &Profile) {
        self.profile = Some(profile.clone());
        self.first.judged_by(profile);
    }

    fn submit(&mut self, batch: &[Prepared]) -> Result<(), KernelError> {
        let programs = batch.iter().map(|p| (p.id, p.program.clone()));
        self.asked.extend(programs);
        self.first.submit(batch)?;
        self.second.submit(batch)
    }

    fn next(&mut self) -> Result<Event, KernelError> {
        match (self.first.next()?, self.second.next()?) {
            (Event::Execution(a), Event::Execution(b)) if a.id == b.id => {
                let program = self.asked.remove(&a.id);
                let g = self.first.info().geometry;
                Ok(Event::Execution(match (program, &self.profile) {
                    (Some(program), Some(profile)) => parted(&program, a, &b, profile, g),
                    _ => a,
                }))
            }
            (Event::BatchDone { nanos: a }, Event::BatchDone { nanos: b }) => {
                Ok(Event::BatchDone { nanos: a.max(b) })
            }
            _ => Err(KernelError::Lost {
                why: "the two kernels are not at the same program".into(),
                console: String::new(),
            }),
        }
    }
}

/// What the first kernel did, up to where the second did something else that no one way through the program explains as well. What the
/// first does wrong by its own rules before that is for the judge to tell.
fn parted(
    program: &Program,
    mut a: Execution,
    b: &Execution,
    profile: &Profile,
    g: Geometry,
) -> Execution {
    let mut oracle =
        Oracle::new(profile, g, program.knobs).with_free_pages(a.free_pages.min(b.free_pages));
    for (index, step) in program.steps.iter().enumerate() {
        let Some(seen) = a.seen.get(index) else {
            return a;
        };
        oracle.step(step);
        let mut other = oracle.clone();
        if !matches!(
            oracle.observe(seen),
            Verdict::Agree | Verdict::Allowed { .. }
        ) {
            return a;
        }
        let parting = match b.seen.get(index) {
            Some(theirs) => {
                let fine = matches!(
                    other.observe(theirs),
                    Verdict::Agree | Verdict::Allowed { .. }
                );
                if fine && oracle.agree_with(&other) {
                    continue;
                }
                apart(seen, theirs, g)
            }
            None => Parting {
                class: Class::Hang,
                first: "returns".into(),
                second: match &b.end {
                    End::Hang { .. } => "hangs".into(),
                    End::Died { .. } => "dies".into(),
                    // Nothing that could be compared.
                    _ => return a,
                },
            },
        };
        a.seen.truncate(index);
        a.end = End::Parted(parting);
        return a;
    }
    a
}

/// In what two kernels part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    pub class: Class,
    /// What the first does, in words without positions and values, and what the second does.
    pub first: String,
    pub second: String,
}

/// The first thing in which two observations of an op differ.
fn apart(a: &Observation, b: &Observation, g: Geometry) -> Parting {
    let parting = |class, first: String, second: String| Parting {
        class,
        first,
        second,
    };
    let (x, y) = (outcome(&a.outcome), outcome(&b.outcome));
    if x != y {
        return parting(Class::Errno, x, y);
    }
    if a.outcome != b.outcome {
        let other = ("what-it-did".to_string(), "something-else".to_string());
        return parting(Class::Value, other.0, other.1);
    }
    if a.events != b.events {
        let words = |seen: &Observation| match seen.events.is_empty() {
            true => "no-event".to_string(),
            false => {
                let names: Vec<_> = seen.events.iter().map(|(_, e)| e.name()).collect();
                names.join("-")
            }
        };
        return parting(Class::Event, words(a), words(b));
    }
    let nothing = SpaceSeen::default();
    for (actor, mine) in &a.spaces {
        let theirs = b.spaces.iter().find(|(other, _)| other == actor);
        let theirs = theirs.map_or(&nothing, |(_, space)| space);
        if let Some((x, y)) = pages_apart(mine, theirs, g) {
            return parting(Class::PageState, x, y);
        }
        let borders = |space: &SpaceSeen| -> Vec<(u32, u32)> {
            space.vmas.iter().map(|vma| (vma.start, vma.end)).collect()
        };
        if borders(mine) != borders(theirs) {
            let count = |space: &SpaceSeen| format!("{} mappings", space.vmas.len());
            return parting(Class::Vma, count(mine), count(theirs));
        }
        for (x, y) in mine.vmas.iter().zip(&theirs.vmas) {
            if (x.prot, x.shared, x.file_page) != (y.prot, y.shared, y.file_page) {
                return parting(Class::Vma, "a mapping".into(), "another mapping".into());
            }
            if let (Some(x), Some(y)) = (&x.flags, &y.flags) {
                let only = |of: &[oracle::judge::VmFlag], other: &[oracle::judge::VmFlag]| {
                    let flags = of.iter().filter(|flag| !other.contains(flag));
                    let names: Vec<String> = flags
                        .map(|f| String::from_utf8_lossy(&f.0).into_owned())
                        .collect();
                    match names.is_empty() {
                        true => "none".to_string(),
                        false => names.join(" "),
                    }
                };
                if x != y {
                    return parting(Class::VmFlags, only(x, y), only(y, x));
                }
            }
        }
    }
    let other = ("what-is-mapped".to_string(), "something-else".to_string());
    parting(Class::Sizes, other.0, other.1)
}

/// The states of the first page that looks otherwise, or else what is noted of it.
fn pages_apart(a: &SpaceSeen, b: &SpaceSeen, g: Geometry) -> Option<(String, String)> {
    let run = |space: &SpaceSeen, page: u32| {
        let mut runs = space.pages.iter();
        runs.find(|run| (run.start..run.start + run.len).contains(&page))
            .map(|run| run.page)
    };
    let state = |space: &SpaceSeen, page: u32| {
        let mut vmas = space.vmas.iter();
        let mapped = vmas.any(|vma| (vma.start..vma.end).contains(&page));
        let letter = match run(space, page) {
            Some(seen) => Letter::of(&seen),
            None if mapped => Letter::Empty,
            None => Letter::Unmapped,
        };
        letter.words().to_string()
    };
    let notes = |space: &SpaceSeen, page: u32| {
        let seen = run(space, page);
        let is = |on: bool, word: &str| format!("{}{word}", if on { "" } else { "not " });
        [
            is(seen.is_some_and(|page| page.soft_dirty), "soft-dirty"),
            is(seen.is_some_and(|page| page.uffd_wp), "protected"),
        ]
    };
    let all = || 0..g.arena_pages();
    let by_state = all()
        .map(|page| (state(a, page), state(b, page)))
        .find(|(a, b)| a != b);
    by_state.or_else(|| {
        all()
            .flat_map(|page| notes(a, page).into_iter().zip(notes(b, page)))
            .find(|(a, b)| a != b)
    })
}

/// An outcome without positions and values.
fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok => "ok".into(),
        Outcome::Elsewhere => "elsewhere".into(),
        Outcome::Unflagged => "unflagged".into(),
        Outcome::Errno(errno) => Expect::Errno(*errno).text(0),
        Outcome::Moved(moved) if moved.all => "all".into(),
        Outcome::Moved(_) => "a-part".into(),
        Outcome::Access(access) => match access.fault {
            None => "no-signal".into(),
            Some(fault) => Expect::Signal {
                signo: fault.signo,
                code: Some(fault.code),
                at: None,
            }
            .text(0),
        },
        Outcome::Each(_) | Outcome::Together(_) => "threads".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::Bucket;
    use crate::kernel::simulated::{fault_named, Simulated};
    use crate::triage::{minimize, Ended, Settings, TriageError};
    use std::sync::atomic::AtomicBool;

    const PROGRAM: &str =
        "mmap 0+0..0+9 rw private fixed\nwrite 0+1..0+5 tag 8\nguard-install 0+3..0+4\nfork 1\nmunmap 0+7..0+8\nread 0+0..0+2\n";

    fn minimized(first: Simulated, second: Simulated) -> Result<(Bucket, usize), TriageError> {
        let pair = Against {
            first: Arc::new(first),
            second: Arc::new(second),
        };
        let program = Program::load(PROGRAM).unwrap();
        let stop = AtomicBool::new(false);
        let made = minimize(&pair, &program, &Settings::default(), &stop, &mut |_| {})?;
        assert_eq!(made.ended, Ended::Minimal);
        Ok((made.story.bucket, made.program.steps.len()))
    }

    #[test]
    fn what_two_kernels_do_otherwise_is_minimized_whoever_is_right() {
        let honest = Simulated::default;
        let wrong = || Simulated {
            fault: fault_named("fork/loses-guards"),
            ..Simulated::default()
        };
        let (bucket, ops) = minimized(honest(), wrong()).unwrap();
        assert_eq!(bucket.to_string(), "fork: kernels/alike: guard -> empty");
        assert_eq!(ops, 3);
        // What the first does wrong is a divergence as always.
        let (bucket, _) = minimized(wrong(), honest()).unwrap();
        assert_eq!(bucket.rule, "fork/copies-guards");
        let error = minimized(honest(), honest()).unwrap_err();
        assert!(
            matches!(error, TriageError::NotReproduced { .. }),
            "{error}"
        );
    }

    /// What the rules leave open, and each kernel does in its own way.
    #[test]
    fn kernels_that_differ_in_what_is_permitted_are_told_apart() {
        let old = Simulated {
            profile: Profile {
                maybe_guard: false,
                ..Profile::newest()
            },
            ..Simulated::default()
        };
        let (bucket, ops) = minimized(Simulated::default(), old).unwrap();
        assert_eq!(
            bucket.to_string(),
            "guard-install: kernels/alike: gu -> none"
        );
        assert_eq!(ops, 2);
    }
}
