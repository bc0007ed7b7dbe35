//! Laws about two programs, asked of a kernel: no profile and no rule of the oracle has a say in whether they hold.

use crate::campaign::lacks;
use crate::kernel::{End, Execution, Kernel, KernelError, Prepared, Smaps};
use oracle::geometry::{Geometry, Range};
use oracle::judge::{Moved, Observation, Outcome};
use oracle::laws::{alike_after_scaling, outcome, pair, Pair, PairLaw};
use oracle::profile::Profile;
use oracle::program::generate::generate;
use oracle::program::{Backing, Op, Program, Step, Thp};
use std::cmp::Ordering;
use std::sync::Arc;

/// Pairs that are submitted at once.
const BATCH: usize = 32;

/// Runs of a pair that looked wrong, the first one included.
pub const RUNS: u32 = 5;

/// A pair that a kernel brought to different ends.
#[derive(Debug, Clone)]
pub struct BrokenPair {
    pub law: &'static str,
    /// The seed of the pair.
    pub seed: u64,
    pub left: Program,
    pub right: Program,
    /// Where the law does not hold.
    pub why: String,
    /// Of [`RUNS`] runs, how many broke the law.
    pub hits: u32,
}

/// How a kernel keeps one law.
#[derive(Debug, Clone)]
pub struct LawResult {
    pub law: &'static str,
    /// Pairs that ran.
    pub pairs: u64,
    /// Pairs that need what the kernel lacks.
    pub skipped: u64,
    pub broken: Vec<BrokenPair>,
}

/// Why a law could not be asked about.
#[derive(Debug, thiserror::Error)]
pub enum LawError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A program did not come to its end: a campaign judges that, a law cannot.
    #[error("a program of the law {law} (seed {seed}) did not come to its end: {end}\n{program}")]
    End {
        law: &'static str,
        seed: u64,
        end: String,
        program: String,
    },
}

/// Asks a kernel, whose profile only says what it lacks, about `pairs` pairs of a law, made from the seeds from `seed` on. Ends
/// early when `stop` says so.
///
/// # Errors
/// See [`LawError`].
pub fn ask(
    kernel: &mut dyn Kernel,
    profile: &Profile,
    law: PairLaw,
    seed: u64,
    pairs: u64,
    stop: &dyn Fn() -> bool,
) -> Result<LawResult, LawError> {
    let info = kernel.info().clone();
    let mut result = LawResult {
        law: law.name(),
        pairs: 0,
        skipped: 0,
        broken: Vec::new(),
    };
    let mut seeds = (seed..).filter_map(|seed| Some((seed, pair(law, seed)?)));
    while result.pairs + result.skipped < pairs && !stop() {
        let want = (pairs - result.pairs - result.skipped).min(BATCH as u64);
        let mut batch: Vec<(u64, Pair)> = seeds.by_ref().take(want as usize).collect();
        batch.retain(|(_, pair)| {
            let lacks = [&pair.left, &pair.right].map(|p| lacks(p, profile, &info).is_some());
            result.skipped += u64::from(lacks != [false; 2]);
            lacks == [false; 2]
        });
        for (seed, pair, why) in broken(kernel, batch.as_slice())? {
            let mut hits = 1;
            for _ in 1..RUNS {
                hits += u32::from(!broken(kernel, &[(seed, pair.clone())])?.is_empty());
            }
            result.broken.push(BrokenPair {
                law: law.name(),
                seed,
                left: pair.left,
                right: pair.right,
                why,
                hits,
            });
        }
        result.pairs += batch.len() as u64;
    }
    Ok(result)
}

/// Runs pairs; returns those that break their law, and where.
fn broken(
    kernel: &mut dyn Kernel,
    pairs: &[(u64, Pair)],
) -> Result<Vec<(u64, Pair, String)>, LawError> {
    let programs: Vec<&Program> = pairs
        .iter()
        .flat_map(|(_, pair)| [&pair.left, &pair.right])
        .collect();
    let seen = run(kernel, &programs)?;
    let mut found = Vec::new();
    for ((seed, pair), seen) in pairs.iter().zip(seen.chunks(2)) {
        for (program, execution) in [&pair.left, &pair.right].into_iter().zip(seen) {
            whole(pair.law.name(), *seed, program, execution)?;
        }
        if let Err(why) = pair.check(&seen[0].seen, &seen[1].seen) {
            found.push((*seed, pair.clone(), why));
        }
    }
    Ok(found)
}

fn run(kernel: &mut dyn Kernel, programs: &[&Program]) -> Result<Vec<Execution>, LawError> {
    let prepared = |(id, program): (usize, &&Program)| Prepared {
        id: id as u64 + 1,
        program: Arc::new((*program).clone()),
        smaps: Smaps::Every,
        fault: None,
    };
    let batch: Vec<Prepared> = programs.iter().enumerate().map(prepared).collect();
    Ok(kernel.run(&batch)?)
}

fn whole(
    law: &'static str,
    seed: u64,
    program: &Program,
    execution: &Execution,
) -> Result<(), LawError> {
    match &execution.end {
        End::Done => Ok(()),
        end => Err(LawError::End {
            law,
            seed,
            end: format!("{end:?}"),
            program: program.to_string(),
        }),
    }
}

/// The law that a program does the same whatever the page size, where the kernel works in pages.
pub const SCALING: &str = "scaling";

/// The law in a sentence.
pub const SCALING_TEXT: &str =
    "a program on private anonymous memory does the same on pages of another size";

/// The program of a seed, if it says something about [`SCALING`]: private anonymous memory alone (fault-around works in 64 KiB
/// whatever the page size, and a read from a file brings its neighbours), huge pages off, and no mremap whose two ranges are
/// related in another way on other pages.
pub fn scaling_program(seed: u64) -> Option<Program> {
    let mut program = generate(seed);
    program.knobs.thp = Thp::Never;
    let private = |op: &Op| match op {
        Op::Mmap { backing, .. } => *backing == Backing::PrivateAnon,
        _ => true,
    };
    let related = |op: &Op| match op {
        Op::Mremap { range, to, .. } => {
            relation(*range, *to, Geometry::K4) == relation(*range, *to, Geometry::K16)
        }
        _ => true,
    };
    let fits = |step: &Step| private(&step.op) && related(&step.op);
    let says_something = program.steps.iter().all(fits);
    (says_something && outcome(&program).is_some()).then_some(program)
}

/// Which of two ranges is longer, and whether they overlap.
fn relation(a: Range, b: Range, g: Geometry) -> (Ordering, bool) {
    let pages = |r: Range| (r.start.page_index(g), r.end.page_index(g));
    let (a, b) = (pages(a), pages(b));
    ((a.1 - a.0).cmp(&(b.1 - b.0)), a.0 < b.1 && b.0 < a.1)
}

/// Asks two kernels of different page sizes about [`SCALING`].
///
/// # Errors
/// See [`LawError`].
pub fn ask_scaling(
    kernels: [&mut dyn Kernel; 2],
    profiles: [&Profile; 2],
    seed: u64,
    programs: u64,
    stop: &dyn Fn() -> bool,
) -> Result<LawResult, LawError> {
    let infos = [0, 1].map(|n| kernels[n].info().clone());
    let mut result = LawResult {
        law: SCALING,
        pairs: 0,
        skipped: 0,
        broken: Vec::new(),
    };
    let [left, right] = kernels;
    let mut seeds = (seed..).filter_map(|seed| Some((seed, scaling_program(seed)?)));
    while result.pairs + result.skipped < programs && !stop() {
        let want = (programs - result.pairs - result.skipped).min(BATCH as u64);
        let mut batch: Vec<(u64, Program)> = seeds.by_ref().take(want as usize).collect();
        batch.retain(|(_, program)| {
            let lacks = [0, 1].map(|n| lacks(program, profiles[n], &infos[n]).is_some());
            result.skipped += u64::from(lacks != [false; 2]);
            lacks == [false; 2]
        });
        let texts: Vec<&Program> = batch.iter().map(|(_, program)| program).collect();
        let seen = [run(left, &texts)?, run(right, &texts)?];
        for (n, (seed, program)) in batch.iter().enumerate() {
            for side in &seen {
                whole(SCALING, *seed, program, &side[n])?;
            }
            let g = [infos[0].geometry, infos[1].geometry];
            let Err(why) = scales((&seen[0][n].seen, g[0]), (&seen[1][n].seen, g[1])) else {
                continue;
            };
            let mut hits = 1;
            for _ in 1..RUNS {
                let again = [run(left, &[program])?, run(right, &[program])?];
                let said = scales((&again[0][0].seen, g[0]), (&again[1][0].seen, g[1]));
                hits += u32::from(said.is_err());
            }
            result.broken.push(BrokenPair {
                law: SCALING,
                seed: *seed,
                left: program.clone(),
                right: program.clone(),
                why,
                hits,
            });
        }
        result.pairs += batch.len() as u64;
    }
    Ok(result)
}

/// Compares what two kernels of different page sizes showed of one program, op by op.
fn scales(
    left: (&[Observation], Geometry),
    right: (&[Observation], Geometry),
) -> Result<(), String> {
    if left.0.len() != right.0.len() {
        return Err("one of the two ended earlier".into());
    }
    for (at, (l, r)) in left.0.iter().zip(right.0).enumerate() {
        let op = at + 1;
        let same = match (&l.outcome, &r.outcome) {
            // How many pages lie between two positions depends on the page size; which signal comes does not.
            (Outcome::Access(l), Outcome::Access(r)) => {
                l.fault.map(|f| (f.signo, f.code)) == r.fault.map(|f| (f.signo, f.code))
            }
            // Bytes scale with the page, but for those that are cut off; how far a call came does not.
            (Outcome::Moved(l), Outcome::Moved(r)) => {
                let pages = |m: &Moved| m.values.iter().map(|run| run.len).sum::<u32>();
                l.all == r.all && pages(l) == pages(r)
            }
            (l, r) => l == r,
        };
        if !same {
            return Err(format!("op {op}: {:?} against {:?}", l.outcome, r.outcome));
        }
        for ((actor, l), (other, r)) in l.spaces.iter().zip(&r.spaces) {
            if actor != other {
                return Err(format!("op {op}: other actors live"));
            }
            alike_after_scaling((l, left.1), (r, right.1))
                .map_err(|why| format!("op {op}, actor {actor}: {why}"))?;
        }
    }
    Ok(())
}
