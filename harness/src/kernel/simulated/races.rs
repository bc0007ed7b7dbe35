//! Threads that run at once on the model: each section ends in one of the ways that the orders of the kernel's steps lead to.
//!
//! Deliberate faults that change what an op returns, or what is seen, do so to the steps of a section as well; those that do something
//! instead of an op do not, since their steps would have to be mixed with those of other threads.

use super::{strike, strip_flags, Act, Execution, SimulatedKernel};
use crate::campaign::pieces;
use crate::kernel::{End, KernelError, Prepared, Raced, Repeat};
use oracle::judge::Observation;
use oracle::race::{explore, Final};
use oracle::space::World;

/// Ways that the sections of a program may end, by the world before each.
type Ways = Vec<(World, Vec<Final>)>;

/// Plays a program again and again.
pub(super) fn race(
    kernel: &mut SimulatedKernel,
    prepared: &Prepared,
    repeat: Repeat,
) -> Result<Raced, KernelError> {
    let mut raced = Raced::default();
    let mut ways = Ways::new();
    for _ in 0..repeat.times {
        let execution = once(kernel, prepared, &mut ways)?;
        let known = raced
            .executions
            .iter_mut()
            .find(|(known, _)| *known == execution);
        match known {
            Some((_, count)) => *count += 1,
            None => raced.executions.push((execution, 1)),
        }
    }
    Ok(raced)
}

fn once(
    kernel: &mut SimulatedKernel,
    prepared: &Prepared,
    ways: &mut Ways,
) -> Result<Execution, KernelError> {
    let program = &prepared.program;
    let settings = &kernel.settings;
    let mut world =
        World::new(&settings.profile, settings.geometry, program.knobs).with_free_pages(1 << 24);
    let mut execution = Execution {
        id: prepared.id,
        free_pages: 1 << 24,
        seen: Vec::with_capacity(program.steps.len()),
        end: End::Done,
    };
    for piece in pieces(program) {
        for (index, step) in piece.range.clone().zip(piece.steps) {
            if let Some(when) = kernel.settings.strike {
                if step.op.name() == when.op {
                    execution.end = strike(when.mishap, prepared.id, index)?;
                    return Ok(execution);
                }
            }
        }
        let before = world.clone();
        let outcomes = match piece.steps {
            [step] if step.lane.is_none() => vec![kernel.perform(&mut world, step)],
            section => {
                let at = match ways.iter().position(|(known, _)| *known == before) {
                    Some(known) => known,
                    None => {
                        let all = explore(&before, section).map_err(|_| KernelError::Lost {
                            why: "the model cannot go through a section of so many states".into(),
                            console: String::new(),
                        })?;
                        ways.push((before.clone(), all.finals));
                        ways.len() - 1
                    }
                };
                let finals = &ways[at].1;
                let way = &finals[kernel.dice.branch(finals.len())];
                world = way.world.clone();
                way.outcomes.clone()
            }
        };
        for ((index, step), outcome) in piece.range.clone().zip(piece.steps).zip(outcomes) {
            let mut seen = Observation {
                outcome,
                // Nothing is looked at before all threads have ended.
                spaces: match index + 1 == piece.range.end {
                    true => world.shown(),
                    false => Vec::new(),
                },
                events: Vec::new(),
                failing: None,
            };
            match kernel.settings.fault.map(|fault| &fault.act) {
                Some(Act::Outcome(change)) => change(&before, step, &mut seen.outcome),
                Some(Act::View(change)) if !seen.spaces.is_empty() => {
                    change(&before, &world, step, &mut seen);
                }
                _ => {}
            }
            strip_flags(&mut seen, prepared.smaps, program, index);
            execution.seen.push(seen);
        }
    }
    Ok(execution)
}
