//! Two kernels on the same programs: what each does differently, and what explains it.

use super::boundary::{differences, Change};
use super::feed::{CorpusProgram, Feed, BLOCK};
use super::judge::{judge, ProgramVerdict};
use super::known::Known;
use super::{suited, Bucket};
use crate::kernel::{Execution, KernelInfo, KernelSource};
use machine::{run_both, Machine, Ran};
use oracle::geometry::Geometry;
use oracle::judge::Oracle;
use oracle::profile::Profile;
use oracle::program::Program;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

mod machine;

/// What two kernels are compared on.
pub struct PairSettings {
    pub seed: u64,
    /// Generated programs.
    pub programs: u64,
    pub corpus: Vec<CorpusProgram>,
    /// Runs on each kernel of a program on which they differ though the rules permit both, to see whether each keeps to its
    /// own.
    pub reruns: u32,
    /// What is understood is no news.
    pub known: Known,
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
    /// Those of them that did the same on both, as far as both can show it; whether it was right is not asked.
    pub same: u64,
    /// Those that differed in what the rules leave open, each kernel doing either.
    pub permitted: u64,
    /// Those in which one of them, or both, did what a known finding says of it.
    pub known: u64,
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
    let mut machines = open(sources)?;
    let mut result = Comparison::new(&machines, settings.reruns, settings.known.clone());
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
        result.block(&mut machines, block, &mut |_, _| {})?;
        progress(done, total);
    }
    Ok(result.finish())
}

/// Two kernels that are compared with each other and with the oracle, on programs as they come.
pub struct Pairing<'a> {
    machines: [Machine<'a>; 2],
    comparison: Comparison,
}

impl<'a> Pairing<'a> {
    /// Boots both; `reruns` and `known` as in [`PairSettings`].
    ///
    /// # Errors
    /// See [`PairError`].
    pub fn open(
        sources: [&'a dyn KernelSource; 2],
        reruns: u32,
        known: Known,
    ) -> Result<Self, PairError> {
        let machines = open(sources)?;
        let mut comparison = Comparison::new(&machines, reruns, known);
        comparison.against_the_oracle = true;
        Ok(Pairing {
            machines,
            comparison,
        })
    }

    /// Runs a program on both; `each` sees the program as it ran and what each kernel did, where both came through. What differs and is
    /// not explained, in a line; `None`: nothing.
    ///
    /// # Errors
    /// See [`PairError`].
    pub fn run(
        &mut self,
        program: Arc<Program>,
        each: &mut dyn FnMut(&Program, [&Execution; 2]),
    ) -> Result<Option<String>, PairError> {
        let block = vec![(String::new(), program)];
        self.comparison.block(&mut self.machines, block, each)?;
        let [a, b] = &self.comparison.result.kernels;
        let kernels = format!("{} against {}, {}", a.release, b.release, a.arch);
        let mut all = std::mem::take(&mut self.comparison.unexplained).into_values();
        let rowless =
            |((bucket, rows), _): (&Class, &Seen)| rows.is_empty().then(|| bucket.to_string());
        let what = all.next().map(|unexplained| unexplained.what);
        let what = what.or_else(|| self.comparison.explained.iter().find_map(rowless));
        self.comparison.explained.clear();
        Ok(what.map(|what| format!("{kernels}: {what}")))
    }
}

/// Boots two kernels whose pages are of one size.
fn open<'a>(sources: [&'a dyn KernelSource; 2]) -> Result<[Machine<'a>; 2], PairError> {
    let (a, b) = both(|i| Machine::open(sources[i], i));
    let machines = [a?, b?];
    let sizes = machines.each_ref().map(|m| m.info.geometry.page_size);
    if sizes[0] != sizes[1] {
        let why = format!(
            "its pages have {} bytes, those of {} {}: they cannot be compared page by page",
            sizes[1], machines[0].name, sizes[0]
        );
        return Err(machines[1].failed(why));
    }
    Ok(machines)
}

/// Does the same for both kernels at the same time.
fn both<T: Send>(work: impl Fn(usize) -> T + Sync) -> (T, T) {
    rayon::join(|| work(0), || work(1))
}

/// The comparison as it grows.
struct Comparison {
    result: PairResult,
    profiles: [Profile; 2],
    reruns: u32,
    known: Known,
    /// What both do alike is judged, too.
    against_the_oracle: bool,
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
    /// A known finding.
    Known,
    Explained(Vec<super::Difference>),
    Unexplained {
        what: String,
        rule: String,
    },
}

impl Comparison {
    fn new(machines: &[Machine<'_>; 2], reruns: u32, known: Known) -> Comparison {
        let [a, b] = machines;
        Comparison {
            result: PairResult {
                kernels: [a.info.clone(), b.info.clone()],
                programs: 0,
                same: 0,
                permitted: 0,
                known: 0,
                explained: Vec::new(),
                unexplained: Vec::new(),
                interrupted: false,
            },
            profiles: [a.profile.clone(), b.profile.clone()],
            reruns,
            known,
            against_the_oracle: false,
            explained: BTreeMap::new(),
            unexplained: BTreeMap::new(),
        }
    }

    /// Runs a block of programs on both and books what they show; `each` as in [`Pairing::run`].
    fn block(
        &mut self,
        machines: &mut [Machine<'_>; 2],
        block: Vec<(String, Arc<Program>)>,
        each: &mut dyn FnMut(&Program, [&Execution; 2]),
    ) -> Result<(), PairError> {
        let mut block = block;
        for machine in machines.iter() {
            for (_, program) in &mut block {
                *program = suited(program, &machine.profile, &machine.info).0;
            }
        }
        // Changing a system-wide setting costs more than a program.
        block.sort_by_key(|(_, program)| program.knobs);
        let programs: Vec<Arc<Program>> = block.iter().map(|(_, p)| p.clone()).collect();
        let [a, b] = run_both(machines, &programs)?;
        for ((name, program), (a, b)) in block.into_iter().zip(a.into_iter().zip(b)) {
            if let (Ran::Through(a), Ran::Through(b)) = (&a, &b) {
                each(&program, [a, b]);
            }
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
        let same = match (a, b) {
            (Ran::Through(a), Ran::Through(b)) => a.seen == b.seen && a.end == b.end,
            _ => false,
        };
        if same && !self.against_the_oracle {
            return Found::Same;
        }
        let suspects = match (self.wrong_of(program, a, 0), self.wrong_of(program, b, 1)) {
            (Ok(a), Ok(b)) => [a, b],
            (Err(found), _) | (_, Err(found)) => return found,
        };
        if let Some(new) = self.first_new(&suspects) {
            return new;
        }
        let (Ran::Through(a), Ran::Through(b), [None, None]) = (a, b, &suspects) else {
            return Found::Known;
        };
        if same {
            return Found::Same;
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

    /// What the kernel with this index did wrong by its own profile.
    ///
    /// # Errors
    /// Nothing can be told of it.
    fn wrong_of(
        &self,
        program: &Program,
        ran: &Ran,
        index: usize,
    ) -> Result<Option<Bucket>, Found> {
        let kernel = &self.result.kernels[index];
        let untold = |why: &str| Found::Unexplained {
            what: format!("{}: {why}", kernel.release),
            rule: String::new(),
        };
        let execution = match ran {
            Ran::Through(execution) => execution,
            Ran::Died { what, story } => {
                let bucket = story.as_ref().map(|story| story.bucket.clone());
                return bucket.map(Some).ok_or_else(|| untold(what));
            }
        };
        match judge(program, execution, &self.profiles[index], kernel.geometry).verdict {
            ProgramVerdict::Fine | ProgramVerdict::Poisoned => Ok(None),
            ProgramVerdict::Infra(why) => Err(untold(&format!("infrastructure: {why}"))),
            ProgramVerdict::Suspect(story) => Ok(Some(story.bucket)),
        }
    }

    /// The first thing that one of the kernels, or both, did wrong and that is not known.
    fn first_new(&self, suspects: &[Option<Bucket>; 2]) -> Option<Found> {
        for (index, bucket) in suspects.iter().enumerate() {
            let (kernel, profile) = (&self.result.kernels[index], &self.profiles[index]);
            let Some(bucket) = bucket else { continue };
            let known = self
                .known
                .explains(bucket, &kernel.arch, &kernel.release, profile);
            if known.is_some() {
                continue;
            }
            let release = &kernel.release;
            let whose = match suspects {
                [Some(a), Some(b)] if a == b => "both".to_owned(),
                [Some(_), Some(_)] => release.clone(),
                _ => format!("{release} only"),
            };
            return Some(Found::Unexplained {
                what: format!("{whose}: {bucket}"),
                rule: bucket.rule.clone(),
            });
        }
        None
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
            Found::Known => self.result.known += 1,
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
                    rows: rows.iter().map(|row| row.to_string()).collect(),
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
    let mut oracle = Oracle::new(profile, geometry, program.knobs)
        .with_free_pages(a.free_pages.min(b.free_pages));
    let mut steps = program.steps.iter().zip(a.seen.iter().zip(&b.seen));
    steps.all(|(step, (a, b))| {
        oracle.step(step);
        let mut other = oracle.clone();
        oracle.observe(a);
        other.observe(b);
        oracle.agree_with(&other)
    })
}

#[cfg(test)]
mod tests;
