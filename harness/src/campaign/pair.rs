//! Two kernels on the same programs: what each does differently, and what explains it.

use super::boundary::{differences, Change};
use super::feed::{CorpusProgram, Feed, BLOCK};
use super::judge::{judge, ProgramVerdict};
use super::{lacks, Bucket};
use crate::kernel::{
    probe, Event, Execution, Kernel, KernelError, KernelInfo, KernelSource, Prepared, Smaps,
};
use oracle::geometry::Geometry;
use oracle::judge::Oracle;
use oracle::profile::Profile;
use oracle::program::Program;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// What two kernels are compared on.
pub struct PairSettings {
    pub seed: u64,
    /// Generated programs.
    pub programs: u64,
    pub corpus: Vec<CorpusProgram>,
    /// Runs on each kernel of a program on which they differ though the rules permit both, to see whether each keeps to its
    /// own.
    pub reruns: u32,
}

/// A class of differences that nothing explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexplained {
    /// What is wrong, in a line: a bucket, and on which of the two kernels; a crash; ...
    pub what: String,
    /// The rule that speaks about it, where one does.
    pub rule: String,
    pub first_program: String,
    pub program: Arc<Program>,
    /// Programs that showed it.
    pub programs: u64,
}

/// What a comparison came to.
#[derive(Debug, Clone)]
pub struct PairResult {
    pub kernels: [KernelInfo; 2],
    /// Programs that ran on both.
    pub programs: u64,
    /// Those of them that did the same on both, as far as both can show it.
    pub same: u64,
    /// Those that differed in what the rules leave open, each kernel doing either.
    pub permitted: u64,
    /// Corpus programs that need something that one of the two lacks.
    pub skipped: u64,
    /// Differences that rows of the table of behaviours explain, with the first program of each class.
    pub explained: Vec<(Change, Arc<Program>)>,
    pub unexplained: Vec<Unexplained>,
    /// It was stopped before its end.
    pub interrupted: bool,
}

/// Why two kernels could not be compared: one cannot be had, or dies again and again.
#[derive(Debug, thiserror::Error)]
#[error("{kernel}: {why}")]
pub struct PairError {
    pub kernel: String,
    pub why: String,
}

/// Deaths of one kernel before the comparison is given up.
const MOST_DEATHS: u32 = 20;

/// Compares two kernels. `stop` ends it after the block that runs; `progress` hears of programs done and programs in all.
///
/// # Errors
/// See [`PairError`].
pub fn compare(
    settings: &PairSettings,
    sources: [&dyn KernelSource; 2],
    stop: &AtomicBool,
    progress: &dyn Fn(u64, u64),
) -> Result<PairResult, PairError> {
    let (a, b) = both(|i| Machine::open(sources[i], i));
    let mut machines = [a?, b?];
    let sizes = machines.each_ref().map(|m| m.info.geometry.page_size);
    if sizes[0] != sizes[1] {
        let why = format!(
            "its pages have {} bytes, those of {} {}: they cannot be compared page by page",
            sizes[1], machines[0].name, sizes[0]
        );
        return Err(machines[1].failed(why));
    }
    let mut result = Comparison::new(&machines, settings.reruns);
    let feed = Feed::new(settings.seed);
    let total = settings.programs + settings.corpus.len() as u64;
    let mut blocks: VecDeque<Vec<(String, Arc<Program>)>> = settings
        .corpus
        .chunks(BLOCK as usize)
        .map(|chunk| {
            chunk
                .iter()
                .map(|c| (c.name.clone(), c.program.clone()))
                .collect()
        })
        .collect();
    let mut generated = 0;
    let mut done = 0;
    loop {
        let block = match blocks.pop_front() {
            Some(block) => block,
            None if generated >= settings.programs => break,
            None => {
                let n = generated / BLOCK;
                let count = BLOCK.min(settings.programs - generated);
                generated += count;
                let programs = feed.block(n);
                (0..count)
                    .map(|i| {
                        (
                            format!("{}/{n}/{i}", settings.seed),
                            programs[i as usize].clone(),
                        )
                    })
                    .collect()
            }
        };
        if stop.load(Ordering::Relaxed) {
            result.result.interrupted = true;
            break;
        }
        done += block.len() as u64;
        result.block(&mut machines, block)?;
        progress(done, total);
    }
    Ok(result.finish())
}

/// Does the same for both kernels at the same time.
fn both<T: Send>(work: impl Fn(usize) -> T + Sync) -> (T, T) {
    rayon::join(|| work(0), || work(1))
}

/// One of the two kernels.
struct Machine<'a> {
    source: &'a dyn KernelSource,
    /// 0 or 1; console logs are named after it.
    index: usize,
    name: String,
    kernel: Option<Box<dyn Kernel>>,
    info: KernelInfo,
    profile: Profile,
    boots: u32,
}

/// What became of a program on one kernel.
#[derive(Debug, Clone)]
enum Ran {
    Through(Execution),
    /// It took the kernel with it.
    Died(String),
}

impl<'a> Machine<'a> {
    fn open(source: &'a dyn KernelSource, index: usize) -> Result<Machine<'a>, PairError> {
        let name = format!("{} {}", source.label(), source.arch());
        let failed = |why: String| PairError {
            kernel: name.clone(),
            why,
        };
        let mut kernel = source
            .boot(&format!("compare-{index}-1"))
            .map_err(|e| failed(e.to_string()))?;
        let profile = probe::profile(kernel.as_mut(), None)
            .map_err(|e| failed(format!("while probing: {e}")))?;
        Ok(Machine {
            source,
            index,
            info: kernel.info().clone(),
            kernel: Some(kernel),
            profile,
            boots: 1,
            name,
        })
    }

    fn failed(&self, why: String) -> PairError {
        PairError {
            kernel: self.name.clone(),
            why,
        }
    }

    /// The kernel, booted again when it has died.
    fn kernel(&mut self) -> Result<&mut Box<dyn Kernel>, PairError> {
        let kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => self.boot_again()?,
        };
        Ok(self.kernel.insert(kernel))
    }

    fn boot_again(&mut self) -> Result<Box<dyn Kernel>, PairError> {
        if self.boots > MOST_DEATHS {
            return Err(self.failed(format!("died {MOST_DEATHS} times: given up")));
        }
        self.boots += 1;
        let booted = self
            .source
            .boot(&format!("compare-{}-{}", self.index, self.boots));
        let mut kernel = booted.map_err(|e| self.failed(e.to_string()))?;
        kernel.judged_by(&self.profile);
        Ok(kernel)
    }

    /// Runs programs, in order; one that kills the kernel is told so, and the others go on on a new one.
    fn run(&mut self, programs: &[Arc<Program>]) -> Result<Vec<Ran>, PairError> {
        let mut ran: Vec<Ran> = Vec::with_capacity(programs.len());
        while ran.len() < programs.len() {
            let first = ran.len();
            let batch: Vec<Prepared> = programs[first..]
                .iter()
                .zip(first as u64 + 1..)
                .map(|(program, id)| Prepared {
                    id,
                    program: program.clone(),
                    smaps: Smaps::Changes,
                    fault: None,
                })
                .collect();
            let kernel = self.kernel()?;
            if let Err(error) = collect(kernel.as_mut(), &batch, &mut ran) {
                self.kernel = None;
                match error {
                    KernelError::Crash { kind, .. } => {
                        ran.push(Ran::Died(format!("crash: {kind}")))
                    }
                    KernelError::LockedUp { why, .. } => {
                        ran.push(Ran::Died(format!("stopped answering: {why}")));
                    }
                    KernelError::Lost { why, .. } if self.boots > MOST_DEATHS => {
                        return Err(self.failed(why));
                    }
                    KernelError::Lost { .. } => {}
                }
            }
        }
        Ok(ran)
    }
}

/// Submits a batch and takes what comes back, in order, until its end.
fn collect(
    kernel: &mut dyn Kernel,
    batch: &[Prepared],
    into: &mut Vec<Ran>,
) -> Result<(), KernelError> {
    kernel.submit(batch)?;
    loop {
        match kernel.next()? {
            Event::Execution(execution) => into.push(Ran::Through(execution)),
            Event::BatchDone { .. } => return Ok(()),
        }
    }
}

/// The comparison as it grows.
struct Comparison {
    result: PairResult,
    profiles: [Profile; 2],
    reruns: u32,
    explained: BTreeMap<Class, Seen>,
    unexplained: BTreeMap<String, Unexplained>,
}

/// What differs, and the rows that explain it.
type Class = (Bucket, Vec<&'static str>);

/// The first program of a class, by name, and how many there were.
type Seen = (String, Arc<Program>, u64);

/// How two runs of a program compare.
enum Found {
    Same,
    /// Different, and the rules leave that open.
    Permitted,
    Explained(Vec<super::Difference>),
    Unexplained {
        what: String,
        rule: String,
    },
}

impl Comparison {
    fn new(machines: &[Machine<'_>; 2], reruns: u32) -> Comparison {
        let [a, b] = machines;
        Comparison {
            result: PairResult {
                kernels: [a.info.clone(), b.info.clone()],
                programs: 0,
                same: 0,
                permitted: 0,
                skipped: 0,
                explained: Vec::new(),
                unexplained: Vec::new(),
                interrupted: false,
            },
            profiles: [a.profile.clone(), b.profile.clone()],
            reruns,
            explained: BTreeMap::new(),
            unexplained: BTreeMap::new(),
        }
    }

    /// Runs a block of programs on both and books what they show.
    fn block(
        &mut self,
        machines: &mut [Machine<'_>; 2],
        block: Vec<(String, Arc<Program>)>,
    ) -> Result<(), PairError> {
        let all = block.len() as u64;
        let mut block: Vec<(String, Arc<Program>)> = block
            .into_iter()
            .filter(|(_, program)| {
                machines
                    .iter()
                    .all(|m| lacks(program, &m.profile, &m.info).is_none())
            })
            .collect();
        self.result.skipped += all - block.len() as u64;
        // Changing a system-wide setting costs more than a program.
        block.sort_by_key(|(_, program)| program.knobs);
        let programs: Vec<Arc<Program>> = block.iter().map(|(_, p)| p.clone()).collect();
        let [a, b] = run_both(machines, &programs)?;
        for ((name, program), (a, b)) in block.into_iter().zip(a.into_iter().zip(b)) {
            let mut found = self.look(&program, &a, &b);
            if let (Found::Permitted, Ran::Through(a), Ran::Through(b)) = (&found, &a, &b) {
                if self.keep_to_their_own(machines, &program, a, b)? {
                    found = Found::Unexplained {
                        what: format!(
                            "the rules permit both, but in {} runs neither kernel did what the other does",
                            self.reruns + 1
                        ),
                        rule: String::new(),
                    };
                }
            }
            self.book(name, program, found);
        }
        Ok(())
    }

    fn look(&self, program: &Program, a: &Ran, b: &Ran) -> Found {
        let kernels = &self.result.kernels;
        let (a, b) = match (a, b) {
            (Ran::Through(a), Ran::Through(b)) => (a, b),
            (Ran::Died(what), _) => return died(what, &kernels[0]),
            (_, Ran::Died(what)) => return died(what, &kernels[1]),
        };
        if a.seen == b.seen && a.end == b.end {
            return Found::Same;
        }
        for (index, execution) in [a, b].into_iter().enumerate() {
            let geometry = kernels[index].geometry;
            match judge(program, execution, &self.profiles[index], geometry).verdict {
                ProgramVerdict::Fine | ProgramVerdict::Poisoned => {}
                ProgramVerdict::Infra(why) => {
                    return Found::Unexplained {
                        what: format!("{}: infrastructure: {why}", kernels[index].release),
                        rule: String::new(),
                    };
                }
                ProgramVerdict::Suspect(story) => {
                    return Found::Unexplained {
                        what: format!("{} only: {}", kernels[index].release, story.bucket),
                        rule: story.bucket.rule,
                    };
                }
            }
        }
        let [from, to] = &self.profiles;
        let found = differences(program, b, from, to, kernels[1].geometry);
        if !found.is_empty() {
            return Found::Explained(found);
        }
        if may_be_the_same(program, a, b, from, kernels[0].geometry) {
            Found::Same
        } else {
            Found::Permitted
        }
    }

    /// Runs a program again on both: whether neither ever does what the other did.
    fn keep_to_their_own(
        &self,
        machines: &mut [Machine<'_>; 2],
        program: &Arc<Program>,
        a: &Execution,
        b: &Execution,
    ) -> Result<bool, PairError> {
        let again = vec![program.clone(); self.reruns as usize];
        let [more_a, more_b] = run_both(machines, &again)?;
        let geometry = self.result.kernels[0].geometry;
        let same = |x: &Execution, y: &Execution| {
            may_be_the_same(program, x, y, &self.profiles[0], geometry)
        };
        let did = |ran: &[Ran], other: &Execution| {
            ran.iter()
                .any(|ran| matches!(ran, Ran::Through(x) if same(x, other)))
        };
        Ok(!did(&more_a, b) && !did(&more_b, a))
    }

    fn book(&mut self, name: String, program: Arc<Program>, found: Found) {
        self.result.programs += 1;
        match found {
            Found::Same => self.result.same += 1,
            Found::Permitted => self.result.permitted += 1,
            Found::Explained(found) => {
                for difference in found {
                    self.explained
                        .entry((difference.bucket, difference.rows))
                        .or_insert_with(|| (name.clone(), program.clone(), 0))
                        .2 += 1;
                }
            }
            Found::Unexplained { what, rule } => {
                self.unexplained
                    .entry(what.clone())
                    .or_insert_with(|| Unexplained {
                        what,
                        rule,
                        first_program: name,
                        program,
                        programs: 0,
                    })
                    .programs += 1;
            }
        }
    }

    fn finish(mut self) -> PairResult {
        // A difference without a row is not explained: the kernel's own profile explained the run, but no set of rows did.
        for ((bucket, rows), (first_program, program, programs)) in self.explained {
            if rows.is_empty() {
                self.result.unexplained.push(Unexplained {
                    what: bucket.to_string(),
                    rule: bucket.rule,
                    first_program,
                    program,
                    programs,
                });
            } else {
                let change = Change {
                    bucket,
                    rows,
                    first_program,
                    programs,
                };
                self.result.explained.push((change, program));
            }
        }
        self.result
            .unexplained
            .extend(self.unexplained.into_values());
        self.result
    }
}

/// Whether one way through the program explains both runs: they did the same, and one kernel shows more of it.
fn may_be_the_same(
    program: &Program,
    a: &Execution,
    b: &Execution,
    profile: &Profile,
    geometry: Geometry,
) -> bool {
    let mut oracle = Oracle::new(profile, geometry, program.knobs);
    let mut steps = program.steps.iter().zip(a.seen.iter().zip(&b.seen));
    steps.all(|(step, (a, b))| {
        oracle.step(step);
        let mut other = oracle.clone();
        oracle.observe(a);
        other.observe(b);
        oracle.agree_with(&other)
    })
}

fn died(what: &str, kernel: &KernelInfo) -> Found {
    Found::Unexplained {
        what: format!("{}: {what}", kernel.release),
        rule: String::new(),
    }
}

/// Runs the same programs on both at the same time.
fn run_both(
    machines: &mut [Machine<'_>; 2],
    programs: &[Arc<Program>],
) -> Result<[Vec<Ran>; 2], PairError> {
    let [a, b] = machines;
    let (a, b) = rayon::join(|| a.run(programs), || b.run(programs));
    Ok([a?, b?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simulated::{Simulated, FAULTS};
    use oracle::profile::{Arch, Release};

    fn settings() -> PairSettings {
        PairSettings {
            seed: 3,
            programs: 300,
            corpus: Vec::new(),
            reruns: 3,
        }
    }

    fn model(major: u16, minor: u16) -> Simulated {
        let release = Release(major, minor, 0);
        Simulated {
            profile: Profile::at_release(release, Arch::X86_64),
            release: release.to_string(),
            ..Simulated::default()
        }
    }

    fn compared(a: &Simulated, b: &Simulated) -> PairResult {
        compare(&settings(), [a, b], &AtomicBool::new(false), &|_, _| {}).unwrap()
    }

    #[test]
    fn a_kernel_is_like_itself() {
        let result = compared(&model(7, 3), &model(7, 3));
        assert_eq!((result.programs, result.same), (300, 300));
        assert!(result.explained.is_empty() && result.unexplained.is_empty());
    }

    #[test]
    fn differences_between_releases_are_explained_by_rows() {
        let result = compared(&model(6, 18), &model(7, 3));
        assert!(result.unexplained.is_empty(), "{:?}", result.unexplained);
        let rows: Vec<&str> = result
            .explained
            .iter()
            .flat_map(|(change, _)| change.rows.iter().copied())
            .collect();
        assert!(rows.contains(&"maybe_guard"), "{rows:?}");
        assert!(!rows.contains(&"guards"), "{rows:?}");
        let differing = result.programs - result.same - result.permitted;
        assert!(differing > 0 && differing < 300, "{differing}");
    }

    /// A mistake of one kernel is explained by nothing, whichever side it is on.
    #[test]
    fn a_mistake_is_unexplained() {
        let fault = FAULTS.iter().find(|f| f.name == "guard-is-open");
        let broken = Simulated {
            fault: Some(fault.expect("the fault")),
            release: "7.3.0-patched".into(),
            ..model(7, 3)
        };
        for pair in [[&model(7, 3), &broken], [&broken, &model(7, 3)]] {
            let result = compared(pair[0], pair[1]);
            let first = result.unexplained.first().expect("something unexplained");
            assert!(first.what.contains("7.3.0-patched only"), "{}", first.what);
            assert!(result.explained.is_empty(), "{:?}", result.explained);
        }
    }
}
