//! Programs on a real kernel, one at a time, for as long as a fuzzer runs.

use super::marks;
use crate::campaign::{death_story, judge, Judged, Known, ProgramVerdict, Story};
use crate::kernel::{
    probe, Execution, JudgeBy, Kernel, KernelError, KernelInfo, KernelSource, Prepared, Smaps,
};
use oracle::profile::Profile;
use oracle::program::Program;
use std::sync::Arc;

/// Re-runs of a suspect: the report says in how many of them it came again.
const RERUNS: u32 = 3;

/// Why a program cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// A divergence, a hang or a crash that is not known.
    #[error("{0}")]
    Finding(String),
    /// No kernel can be had, or what it says makes no sense.
    #[error("{0}")]
    Infrastructure(String),
}

/// How a kernel died, with its console.
fn told(error: &KernelError) -> String {
    match error {
        KernelError::Crash { excerpt, .. } => format!("{error}\n{excerpt}"),
        KernelError::LockedUp { console, .. } => format!("{error}\n{console}"),
        KernelError::Lost { .. } => error.to_string(),
    }
}

/// A kernel, booted anew when it died.
pub struct Machine {
    source: Box<dyn KernelSource>,
    known: Known,
    kernel: Option<Box<dyn Kernel>>,
    info: KernelInfo,
    profile: Profile,
    boots: u32,
    next_id: u64,
}

impl Machine {
    /// Boots a kernel and finds its profile.
    ///
    /// # Errors
    /// [`Wrong::Infrastructure`]: it does not boot, or dies while it is probed.
    pub fn open(source: Box<dyn KernelSource>, known: Known) -> Result<Machine, Wrong> {
        let failed = |why: String| Wrong::Infrastructure(why);
        let mut kernel = source.boot("fuzz-1").map_err(|e| failed(e.to_string()))?;
        let profile = probe::profile(kernel.as_mut(), &JudgeBy::default())
            .map_err(|e| failed(format!("while probing: {e}")))?;
        Ok(Machine {
            info: kernel.info().clone(),
            kernel: Some(kernel),
            source,
            known,
            profile,
            boots: 1,
            next_id: 1,
        })
    }

    /// Runs and judges a program; `mark` hears what was observed.
    ///
    /// # Errors
    /// See [`Wrong`].
    pub fn run(&mut self, program: Program, mark: &mut dyn FnMut(u64)) -> Result<(), Wrong> {
        let program = Arc::new(program);
        let Some((execution, judged)) = self.judged(&program, Smaps::Changes)? else {
            return Ok(());
        };
        marks::of(&program, &execution, &judged, mark);
        let story = match judged.verdict {
            ProgramVerdict::Fine | ProgramVerdict::Poisoned => return Ok(()),
            ProgramVerdict::Infra(why) => return Err(Wrong::Infrastructure(why)),
            ProgramVerdict::Suspect(story) => story,
        };
        if self.is_known(&story) {
            return Ok(());
        }
        let mut hits = 0;
        for _ in 0..RERUNS {
            let Some((_, again)) = self.judged(&program, Smaps::Every)? else {
                continue;
            };
            let same = |again: &Story| again.bucket == story.bucket;
            hits += u32::from(matches!(again.verdict, ProgramVerdict::Suspect(s) if same(&s)));
        }
        Err(self.finding(
            &program,
            &format!(
                "{}: {} ({hits} of {RERUNS} re-runs)",
                story.bucket, story.text
            ),
        ))
    }

    fn finding(&self, program: &Program, what: &str) -> Wrong {
        Wrong::Finding(format!(
            "{} {}: {what}\n{program}",
            self.info.arch, self.info.release
        ))
    }

    fn is_known(&self, story: &Story) -> bool {
        let (arch, release) = (&self.info.arch, &self.info.release);
        let known = &self.known;
        known
            .explains(&story.bucket, arch, release, &self.profile)
            .is_some()
    }

    /// One run and its verdict; `None`: the kernel died of what is known. A VM that vanishes once is an accident.
    fn judged(
        &mut self,
        program: &Arc<Program>,
        smaps: Smaps,
    ) -> Result<Option<(Execution, Judged)>, Wrong> {
        let mut lost = 0;
        loop {
            let prepared = Prepared {
                id: self.next_id,
                program: program.clone(),
                smaps,
                fault: self.source.guest_fault(),
            };
            self.next_id += 1;
            match self.kernel()?.run(&[prepared]) {
                Ok(mut ran) => {
                    let Some(execution) = ran.pop() else {
                        return Err(Wrong::Infrastructure(
                            "a batch came back without its program".into(),
                        ));
                    };
                    let judged = judge(program, &execution, &self.profile, self.info.geometry);
                    return Ok(Some((execution, judged)));
                }
                Err(KernelError::Lost { .. }) if lost == 0 => {
                    self.kernel = None;
                    lost += 1;
                }
                Err(error @ KernelError::Lost { .. }) => {
                    return Err(Wrong::Infrastructure(error.to_string()));
                }
                Err(error) => {
                    self.kernel = None;
                    let geometry = self.info.geometry;
                    let story = death_story(&error, program, &self.profile, geometry);
                    if story.is_some_and(|story| self.is_known(&story)) {
                        return Ok(None);
                    }
                    return Err(self.finding(program, &told(&error)));
                }
            }
        }
    }

    fn kernel(&mut self) -> Result<&mut Box<dyn Kernel>, Wrong> {
        let kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => {
                self.boots += 1;
                let booted = self.source.boot(&format!("fuzz-{}", self.boots));
                let mut kernel = booted.map_err(|e| Wrong::Infrastructure(e.to_string()))?;
                kernel.judged_by(&self.profile);
                kernel
            }
        };
        Ok(self.kernel.insert(kernel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simulated::{Mishap, Simulated, Strike, FAULTS};
    use oracle::program::generate::generate;

    fn machine(source: Simulated) -> Machine {
        Machine::open(Box::new(source), Known::default()).unwrap()
    }

    #[test]
    fn an_honest_kernel_runs_on_and_a_faulty_one_is_found() {
        let mut honest = machine(Simulated::default());
        let mut marks = 0;
        for seed in 0..100 {
            honest.run(generate(seed), &mut |_| marks += 1).unwrap();
        }
        assert!(marks > 1000 && honest.boots == 1);
        let mut faulty = machine(Simulated {
            fault: FAULTS.iter().find(|f| f.name == "guard-accerr"),
            ..Simulated::default()
        });
        let program = "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+2\nread 0+1..0+2\n";
        let wrong = faulty.run(Program::load(program).unwrap(), &mut |_| ());
        let text = wrong.expect_err("a finding").to_string();
        assert!(text.contains("access/guard"), "{text}");
        assert!(text.contains("3 of 3 re-runs"), "{text}");
    }

    #[test]
    fn a_crash_is_a_finding_and_a_lost_machine_is_not() {
        let ends = |mishap| {
            let mut machine = machine(Simulated {
                strike: Some(Strike {
                    mishap,
                    op: "munmap",
                    probes: false,
                }),
                ..Simulated::default()
            });
            let program = Program::load("mmap 0+0..0+4 rw private fixed\nmunmap 0+0..0+4\n");
            machine.run(program.unwrap(), &mut |_| ()).unwrap_err()
        };
        for mishap in [Mishap::Crash, Mishap::LockUp, Mishap::Hang, Mishap::Die] {
            assert!(matches!(ends(mishap), Wrong::Finding(_)), "{mishap:?}");
        }
        for mishap in [Mishap::Lose, Mishap::Garbage, Mishap::Fail] {
            assert!(
                matches!(ends(mishap), Wrong::Infrastructure(_)),
                "{mishap:?}"
            );
        }
    }
}
