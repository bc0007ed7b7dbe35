//! Longer programs to minimize: what the generator writes has about ten ops.

use oracle::program::generate::generate;
use oracle::program::{Op, Program, MAX_STEPS};

/// The program with ops of actor 0 of other generated programs before it, up to `ops` ops. None of them seals anything or
/// locks everything, which would hide what comes later.
pub fn padded(program: &Program, ops: usize, from_seed: u64) -> Program {
    let mut long = program.clone();
    let mut seed = from_seed;
    while long.steps.len() < ops.min(MAX_STEPS) {
        let more = generate(seed);
        seed += 1;
        let mut steps: Vec<_> = more
            .steps
            .into_iter()
            .filter(|s| s.actor == 0 && !matches!(s.op, Op::Fork { .. } | Op::Exit))
            .filter(|s| !matches!(s.op, Op::Mseal { .. } | Op::Mlockall { .. }))
            .filter(|s| s.op.other().is_none())
            .take(ops - long.steps.len())
            .collect();
        steps.append(&mut long.steps);
        long.steps = steps;
    }
    long
}
