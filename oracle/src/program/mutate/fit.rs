//! What is left of a changed program that can be run.

use crate::program::{Knobs, Op, Program, Step, MAX_STEPS};

/// The ops alone: expectations, comments and needs belong to the program as its author wrote it, and khugepaged and KSM end
/// what the model can tell.
pub fn bare(program: &Program) -> Program {
    Program {
        knobs: Knobs {
            khugepaged: false,
            ksm: false,
            ..program.knobs
        },
        steps: program
            .steps
            .iter()
            .map(|step| Step::new(step.actor, step.op))
            .collect(),
        ..Program::default()
    }
}

/// The program without the steps that cannot be done: those of actors that are not there, second births, accesses that have
/// become too long. `None`: nothing is left.
pub fn fit(mut program: Program) -> Option<Program> {
    program.steps.truncate(MAX_STEPS);
    for step in &mut program.steps {
        if let Op::Mremap { range, to, how } = &mut step.op {
            if !how.has_target() {
                to.start = range.start;
            }
        }
    }
    loop {
        match program.check() {
            Ok(()) => return Some(program),
            Err(error) => {
                program.steps.remove(error.step?);
            }
        }
    }
}
