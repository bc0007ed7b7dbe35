//! The whole pipeline on the simulated kernel: an honest kernel is never suspected, a faulty one never leads the pipeline astray.

use super::{marks, number, text};
use crate::campaign::{judge, Judged, ProgramVerdict};
use crate::kernel::simulated::{fault_named, SimFault, Simulated, FAULTS};
use crate::kernel::{Execution, KernelSource, Prepared, Smaps};
use arbitrary::Unstructured;
use oracle::program::generate::from_unstructured;
use oracle::program::Program;
use std::sync::Arc;

/// Which fault the simulated kernel has.
#[derive(Clone, Copy)]
pub enum Choice {
    /// One that the program chooses, or none in one half of the cases. What a faulty kernel shows is no finding.
    ByProgram,
    /// This one. A program that shows it is a finding.
    This(&'static SimFault),
    /// This one. Its finding is for [`Ran::found`] to tell.
    Quietly(&'static SimFault),
}

/// A program that was run and judged.
pub struct Ran {
    pub execution: Execution,
    pub judged: Judged,
    /// Index in [`FAULTS`] of the fault that it shows.
    pub found: Option<usize>,
}

/// Runs the program that bytes stand for; `mark` hears what was observed. `None`: they stand for none.
///
/// # Errors
/// What is reported although it should not be; with [`Choice::This`], what is.
pub fn simulated(
    bytes: &[u8],
    choice: Choice,
    mark: &mut dyn FnMut(u64),
) -> Result<Option<Ran>, String> {
    match text::program(bytes) {
        Some(program) => run(program, choice, mark).map(Some),
        None => Ok(None),
    }
}

/// The same for the program that the generator makes of bytes: what fuzzing is without mutation of programs.
///
/// # Errors
/// As [`simulated`].
pub fn simulated_arbitrary(
    bytes: &[u8],
    choice: Choice,
    mark: &mut dyn FnMut(u64),
) -> Result<Option<Ran>, String> {
    match made_of(bytes) {
        Some(program) => run(program, choice, mark).map(Some),
        None => Ok(None),
    }
}

/// The program that the generator makes of bytes, if it makes one.
pub fn made_of(bytes: &[u8]) -> Option<Program> {
    from_unstructured(&mut Unstructured::new(bytes)).ok()
}

/// The fault with this `family/name`.
///
/// # Errors
/// There is none; says which there are.
pub fn fault(name: &str) -> Result<&'static SimFault, String> {
    fault_named(name).ok_or_else(|| {
        let all: Vec<String> = FAULTS.iter().map(SimFault::full_name).collect();
        format!("there is no fault `{name}`; there are {}", all.join(", "))
    })
}

fn run(program: Program, choice: Choice, mark: &mut dyn FnMut(u64)) -> Result<Ran, String> {
    let chosen = number(&program);
    let (fault, finding) = match choice {
        // Half of the runs are honest.
        Choice::ByProgram => (FAULTS.get(chosen as usize % (2 * FAULTS.len())), false),
        Choice::This(fault) => (Some(fault), true),
        Choice::Quietly(fault) => (Some(fault), false),
    };
    let source = Simulated {
        fault,
        seed: chosen,
        ..Simulated::default()
    };
    let mut kernel = source.boot("fuzzing").map_err(|e| e.to_string())?;
    let program = Arc::new(program);
    let prepared = Prepared {
        id: 1,
        program: program.clone(),
        smaps: Smaps::Changes,
        fault: None,
    };
    let mut ran = kernel.run(&[prepared]).map_err(|e| e.to_string())?;
    let execution = ran.pop().ok_or("no execution")?;
    let judged = judge(&program, &execution, &source.profile, source.geometry);
    marks::of(&program, &execution, &judged, mark);
    let found = match &judged.verdict {
        ProgramVerdict::Infra(why) => return Err(format!("{why}\n{program}")),
        ProgramVerdict::Suspect(story) if fault.is_none() || finding => {
            return Err(format!("{}: {}\n{program}", story.bucket, story.text));
        }
        ProgramVerdict::Suspect(_) => FAULTS
            .iter()
            .position(|f| fault.is_some_and(|g| std::ptr::eq(f, g))),
        ProgramVerdict::Fine | ProgramVerdict::Poisoned => None,
    };
    Ok(Ran {
        execution,
        judged,
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oracle::program::generate::{expand, generate};

    fn ignore(_: u64) {}

    #[test]
    fn honest_and_faulty_kernels_do_not_lead_the_pipeline_astray() {
        let mut found = 0;
        for seed in 0..1200 {
            let text = generate(seed).to_string();
            let ran = simulated(text.as_bytes(), Choice::ByProgram, &mut ignore).unwrap();
            found += u32::from(ran.unwrap().found.is_some());
            let bytes = expand(seed, 2048);
            simulated_arbitrary(&bytes, Choice::ByProgram, &mut ignore).unwrap();
        }
        // Which fault a program gets is chance, and whether it shows it.
        assert!(found > 28, "{found} of some 600 faulty runs");
    }

    #[test]
    fn a_fault_that_is_asked_for_is_a_finding() {
        let fault = fault("guard/install-skipped").unwrap();
        let text = b"mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+2\n";
        let quiet = simulated(text, Choice::Quietly(fault), &mut ignore).unwrap();
        assert!(quiet.unwrap().found.is_some());
        let loud = simulated(text, Choice::This(fault), &mut ignore)
            .err()
            .unwrap();
        assert!(loud.contains("guard/install"), "{loud}");
        assert!(super::fault("guard/nonsense")
            .err()
            .unwrap()
            .contains("guard/install-skipped"));
    }
}
