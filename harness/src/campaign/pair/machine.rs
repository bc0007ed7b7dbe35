//! One of two kernels that are compared: boots it, runs programs on it, boots it again when a program kills it.

use super::PairError;
use crate::campaign::{death_story, smaps, Story};
use crate::kernel::{
    probe, Event, Execution, JudgeBy, Kernel, KernelError, KernelInfo, KernelSource, Prepared,
};
use oracle::profile::Profile;
use oracle::program::Program;
use std::sync::Arc;

/// Deaths of one kernel before the comparison is given up.
const MOST_DEATHS: u32 = 20;

/// One of the two kernels.
pub(super) struct Machine<'a> {
    source: &'a dyn KernelSource,
    /// 0 or 1; console logs are named after it.
    index: usize,
    pub name: String,
    kernel: Option<Box<dyn Kernel>>,
    pub info: KernelInfo,
    pub profile: Profile,
    boots: u32,
}

/// What became of a program on one kernel.
#[derive(Debug, Clone)]
pub(super) enum Ran {
    Through(Execution),
    /// It took the kernel with it: how, and what can be told of it.
    Died {
        what: String,
        story: Option<Box<Story>>,
    },
}

impl<'a> Machine<'a> {
    /// Boots a kernel and finds its profile.
    pub fn open(source: &'a dyn KernelSource, index: usize) -> Result<Machine<'a>, PairError> {
        let name = format!("{} {}", source.label(), source.arch());
        let failed = |why: String| PairError {
            kernel: name.clone(),
            why,
        };
        let mut kernel = source
            .boot(&format!("compare-{index}-1"))
            .map_err(|e| failed(e.to_string()))?;
        let profile = probe::profile(kernel.as_mut(), &JudgeBy::default())
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

    pub fn failed(&self, why: String) -> PairError {
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
                    smaps: smaps::compared(program),
                    fault: None,
                })
                .collect();
            let kernel = self.kernel()?;
            if let Err(error) = collect(kernel.as_mut(), &batch, &mut ran) {
                self.kernel = None;
                if matches!(error, KernelError::Lost { .. }) {
                    if self.boots > MOST_DEATHS {
                        return Err(self.failed(error.to_string()));
                    }
                    continue;
                }
                // The first that has not come back, or the last.
                ran.truncate(programs.len() - 1);
                let program = &programs[ran.len()];
                let story = death_story(&error, program, &self.profile, self.info.geometry);
                ran.push(Ran::Died {
                    what: error.to_string(),
                    story: story.map(Box::new),
                });
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

/// Runs the same programs on both at the same time.
pub(super) fn run_both(
    machines: &mut [Machine<'_>; 2],
    programs: &[Arc<Program>],
) -> Result<[Vec<Ran>; 2], PairError> {
    let [a, b] = machines;
    let (a, b) = rayon::join(|| a.run(programs), || b.run(programs));
    Ok([a?, b?])
}
