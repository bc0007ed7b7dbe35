//! One allocation after the other made to fail within the calls of a program, and what became of it judged each time.

use crate::campaign::{death_story, judge, walk, ProgramVerdict, Story};
use crate::kernel::{
    probe, BootError, Event, Execution, JudgeBy, Kernel, KernelError, KernelInfo, KernelSource,
    Prepared, Smaps,
};
use crate::report::outcome_words;
use oracle::judge::{Failing, Verdict};
use oracle::profile::Profile;
use oracle::program::{Program, MAX_FAIL};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Programs that are sent at once. A sweep ends after as many in a row in which the call makes fewer allocations: how many it makes
/// depends on what the kernel has at hand.
const BATCH: u16 = 8;

/// What came of one op.
#[derive(Debug, Clone, Default)]
pub struct Sweep {
    /// Index of the op in the program.
    pub step: usize,
    /// Runs in which an allocation failed.
    pub failed: u32,
    /// What the op returned in them, and how often.
    pub outcomes: BTreeMap<String, u32>,
    /// The rules that allowed what it left, and how often.
    pub rules: BTreeMap<String, u32>,
    pub suspects: Vec<Suspect>,
    /// Why runs told nothing.
    pub errors: Vec<String>,
}

/// A run in which something went wrong.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// The program with the allocation that fails in it, and no other.
    pub program: Arc<Program>,
    pub story: Story,
}

/// A kernel that programs are swept on, booted when it is needed and again when it dies.
pub struct Sweeper<'a> {
    source: &'a dyn KernelSource,
    by: JudgeBy,
    running: Option<Running>,
}

struct Running {
    kernel: Box<dyn Kernel>,
    profile: Profile,
    info: KernelInfo,
}

impl<'a> Sweeper<'a> {
    pub fn new(source: &'a dyn KernelSource, by: JudgeBy) -> Sweeper<'a> {
        Sweeper {
            source,
            by,
            running: None,
        }
    }

    /// Sweeps every op of a program that says `fail`, the others as if they did not. Ends early where `stopped` says so.
    ///
    /// # Errors
    /// The kernel does not boot, or cannot make allocations fail.
    pub fn program(
        &mut self,
        program: &Program,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Vec<Sweep>, String> {
        let marked = program.steps.iter().enumerate();
        let marked = marked.filter(|(_, step)| step.fail.is_some());
        let marked: Vec<usize> = marked.map(|(index, _)| index).collect();
        marked
            .into_iter()
            .map(|step| self.op(program, step, stopped))
            .collect()
    }

    fn op(
        &mut self,
        program: &Program,
        step: usize,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Sweep, String> {
        let mut sweep = Sweep {
            step,
            ..Sweep::default()
        };
        let mut next = 1;
        while next <= MAX_FAIL && !stopped() {
            let last = (next + BATCH - 1).min(MAX_FAIL);
            let batch: Vec<Prepared> = (next..=last)
                .map(|nth| self.prepare(program, step, nth))
                .collect();
            next = last + 1;
            if !self.batch(&batch, &mut sweep)? {
                break;
            }
        }
        Ok(sweep)
    }

    fn prepare(&self, program: &Program, step: usize, nth: u16) -> Prepared {
        let mut program = program.clone();
        program.steps.iter_mut().for_each(|step| step.fail = None);
        program.steps[step].fail = Some(nth);
        Prepared {
            id: nth.into(),
            program: Arc::new(program),
            smaps: Smaps::Every,
            fault: self.source.guest_fault(),
        }
    }

    /// Runs programs, those behind one that kills the kernel on another. Whether an allocation failed in any of them.
    fn batch(&mut self, batch: &[Prepared], sweep: &mut Sweep) -> Result<bool, String> {
        let mut any = false;
        let mut left = batch;
        while let Some(first) = left.first() {
            let mut running = match self.running.take() {
                Some(running) => running,
                None => self.boot()?,
            };
            let mut done = 0;
            let ended = collect(running.kernel.as_mut(), left, &mut |execution| {
                if let Some(prepared) = left.iter().find(|p| p.id == execution.id) {
                    done += 1;
                    any |= book(sweep, &running.profile, &running.info, prepared, execution);
                }
            });
            match ended {
                Ok(()) => {
                    self.running = Some(running);
                    return Ok(any);
                }
                Err(error) => {
                    let fatal = left.get(done).unwrap_or(first);
                    any = true;
                    book_death(sweep, &running.profile, &running.info, fatal, &error);
                    left = left.get(done + 1..).unwrap_or_default();
                }
            }
        }
        Ok(any)
    }

    fn boot(&self) -> Result<Running, String> {
        let name = format!("failures-{}-{}", self.source.label(), self.source.arch());
        let mut kernel = self.source.boot(&name).map_err(|error| match error {
            BootError::Skipped(why) => why,
            error => error.to_string(),
        })?;
        let info = kernel.info().clone();
        if !info.fail_nth {
            return Err(format!(
                "{} cannot make allocations fail: it needs CONFIG_FAILSLAB=y, CONFIG_FAIL_PAGE_ALLOC=y, CONFIG_FAULT_INJECTION_DEBUG_FS=y \
                 (`cargo xtask kernels build --config debug` makes such a kernel)",
                info.release
            ));
        }
        let profile = probe::profile(kernel.as_mut(), &self.by)
            .map_err(|error| format!("while probing: {error}"))?;
        Ok(Running {
            kernel,
            profile,
            info,
        })
    }
}

/// Submits a batch and hands over what comes back.
fn collect(
    kernel: &mut dyn Kernel,
    batch: &[Prepared],
    take: &mut dyn FnMut(Execution),
) -> Result<(), KernelError> {
    kernel.submit(batch)?;
    loop {
        match kernel.next()? {
            Event::Execution(execution) => take(execution),
            Event::BatchDone { .. } => return Ok(()),
        }
    }
}

/// Books one run; whether an allocation failed in it.
fn book(
    sweep: &mut Sweep,
    profile: &Profile,
    info: &KernelInfo,
    prepared: &Prepared,
    execution: Execution,
) -> bool {
    let (program, g) = (&prepared.program, info.geometry);
    let seen = execution.seen.get(sweep.step);
    let failed = seen.is_some_and(|seen| seen.failing == Some(Failing::Failed));
    if let (Some(seen), true) = (seen, failed) {
        sweep.failed += 1;
        *sweep
            .outcomes
            .entry(outcome_words(&seen.outcome, g))
            .or_default() += 1;
    }
    let at = sweep.step;
    walk(program, &execution, profile, g, &mut |view| {
        if let (true, true, Some(rule)) = (failed, view.index == at, rule(view.verdict)) {
            *sweep.rules.entry(rule).or_default() += 1;
        }
    });
    match judge(program, &execution, profile, g).verdict {
        ProgramVerdict::Fine | ProgramVerdict::Poisoned => {}
        ProgramVerdict::Suspect(story) => sweep.suspects.push(Suspect {
            program: program.clone(),
            story: *story,
        }),
        ProgramVerdict::Infra(why) => sweep.errors.push(why),
    }
    failed
}

fn rule(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Allowed { rule } | Verdict::Poisoned { rule } => Some(rule.to_string()),
        Verdict::Agree | Verdict::Divergence(_) => None,
    }
}

/// Books the run that a kernel died of.
fn book_death(
    sweep: &mut Sweep,
    profile: &Profile,
    info: &KernelInfo,
    prepared: &Prepared,
    error: &KernelError,
) {
    match death_story(error, &prepared.program, profile, info.geometry) {
        Some(story) => sweep.suspects.push(Suspect {
            program: prepared.program.clone(),
            story,
        }),
        None => sweep.errors.push(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simulated::{Simulated, FAILING};
    use std::path::Path;

    fn corpus() -> Vec<crate::campaign::CorpusProgram> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        crate::campaign::load_corpus(&here.join("../corpus/failures")).expect("a corpus")
    }

    fn sweeps(source: &Simulated) -> Vec<(String, Sweep)> {
        let mut sweeper = Sweeper::new(source, JudgeBy::default());
        let mut all = Vec::new();
        for entry in corpus() {
            let sweeps = sweeper.program(&entry.program, &|| false).expect("boots");
            assert!(!sweeps.is_empty(), "{}: nothing is to fail", entry.name);
            all.extend(sweeps.into_iter().map(|sweep| (entry.name.clone(), sweep)));
        }
        all
    }

    #[test]
    fn whatever_fails_is_allowed_on_a_faultless_kernel() {
        let all = sweeps(&Simulated::default());
        assert!(all.len() >= 12, "{} ops", all.len());
        for (name, sweep) in all {
            let told = |s: &Suspect| format!("{}: {}", s.story.bucket, s.story.text);
            let suspects: Vec<String> = sweep.suspects.iter().map(told).collect();
            assert!(suspects.is_empty(), "{name}: {suspects:#?}");
            assert!(sweep.errors.is_empty(), "{name}: {:?}", sweep.errors);
            let told: u32 = sweep.outcomes.values().sum();
            assert_eq!(told, sweep.failed, "{name}");
        }
    }

    /// Each fault of failing calls is found by the corpus, and its rule named.
    #[test]
    fn every_fault_of_a_failing_call_is_found() {
        for fault in FAILING {
            let source = Simulated {
                fault: Some(fault),
                ..Simulated::default()
            };
            let all = sweeps(&source);
            let buckets: Vec<String> = all
                .iter()
                .flat_map(|(_, sweep)| &sweep.suspects)
                .map(|suspect| suspect.story.bucket.rule.clone())
                .collect();
            assert!(!buckets.is_empty(), "{} is not found", fault.full_name());
            let named = buckets
                .iter()
                .filter(|rule| fault.breaks.contains(&rule.as_str()));
            assert!(
                named.count() > 0,
                "{}: {buckets:?} name none of {:?}",
                fault.full_name(),
                fault.breaks
            );
        }
    }
}
