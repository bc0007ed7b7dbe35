//! What the fuzz targets of `fuzz/` run on the bytes that libFuzzer makes: the text form, what a guest may send, and the whole
//! pipeline on the simulated kernel. `oracle::laws::check_bytes` is another. Stable Rust; a target is glue over one of these.

use crate::campaign::{judge, ProgramVerdict};
use crate::kernel::convert::{from_wire, Views};
use crate::kernel::simulated::{Simulated, FAULTS};
use crate::kernel::{KernelSource, Prepared, Smaps};
use arbitrary::Unstructured;
use oracle::geometry::Geometry;
use oracle::laws::check_program;
use oracle::profile::Profile;
use oracle::program::generate::{from_unstructured, generate};
use oracle::program::Program;
use std::sync::Arc;

/// Text that may be a program: what is understood reads back as it prints, and what is fit to run obeys every law.
///
/// # Errors
/// What does not hold.
pub fn program_text(bytes: &[u8]) -> Result<(), String> {
    let Ok(program) = Program::parse(&String::from_utf8_lossy(bytes)) else {
        return Ok(());
    };
    let printed = program.to_string();
    let again = Program::parse(&printed)
        .map_err(|e| format!("what is printed is not understood: {e}\n{printed}"))?;
    if again != program {
        return Err(format!("what is printed is another program:\n{printed}"));
    }
    match program.check() {
        Ok(()) => check_program(&program).map_err(|broken| broken.to_string()),
        Err(_) => Ok(()),
    }
}

/// A message that claims to come from a guest: whatever it says of a program is converted and judged, or refused.
pub fn wire(bytes: &[u8]) {
    let Some((choice, message)) = bytes.split_first() else {
        return;
    };
    let Ok(wire::Response::Execution(execution)) = wire::decode(message) else {
        return;
    };
    let program = generate(u64::from(choice >> 3));
    let bit = |n: u8| choice >> n & 1 == 1;
    let views = Views {
        scan: bit(0),
        scan_guard: bit(0) && bit(1),
        pagemap_guard: bit(1),
        huge_zero_as_file: bit(2),
        exact_counters: !bit(2),
        smaps_skips_protnone_huge: bit(2),
    };
    let execution = from_wire(execution, &program, Smaps::Every, Geometry::K4, views);
    judge(&program, &execution, &Profile::newest(), Geometry::K4);
}

/// A fault of the simulated kernel, or none, and a program: an honest kernel is never suspected, a faulty one never leads the
/// pipeline astray.
///
/// # Errors
/// What is reported although it should not be.
pub fn simulated(bytes: &[u8]) -> Result<(), String> {
    let [fault, seed, rest @ ..] = bytes else {
        return Ok(());
    };
    let Ok(program) = from_unstructured(&mut Unstructured::new(rest)) else {
        return Ok(());
    };
    let source = Simulated {
        // Half of the runs are honest.
        fault: FAULTS.get(usize::from(*fault)),
        seed: (*seed).into(),
        ..Simulated::default()
    };
    let mut kernel = source.boot("fuzzing").map_err(|e| e.to_string())?;
    let prepared = Prepared {
        id: 1,
        program: Arc::new(program.clone()),
        smaps: Smaps::Changes,
        fault: None,
    };
    let ran = kernel.run(&[prepared]).map_err(|e| e.to_string())?;
    let execution = ran.first().ok_or("no execution")?;
    let judged = judge(&program, execution, &source.profile, source.geometry);
    match judged.verdict {
        ProgramVerdict::Infra(why) => Err(format!("{why}\n{program}")),
        ProgramVerdict::Suspect(story) if source.fault.is_none() => {
            Err(format!("{}: {}\n{program}", story.bucket, story.text))
        }
        ProgramVerdict::Suspect(_) | ProgramVerdict::Fine | ProgramVerdict::Poisoned => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes from a seed, as many as a program uses.
    fn bytes(seed: u64) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        std::iter::repeat_with(next).take(2048).collect()
    }

    #[test]
    fn generated_programs_pass_as_text() {
        for seed in 0..200 {
            program_text(generate(seed).to_string().as_bytes()).unwrap();
        }
        program_text(b"\xff\nmmap").unwrap();
    }

    #[test]
    fn an_honest_kernel_is_not_suspected() {
        for seed in 0..200 {
            let mut bytes = bytes(seed);
            bytes[0] = 255;
            simulated(&bytes).unwrap();
        }
    }

    #[test]
    fn faults_do_not_lead_the_pipeline_astray() {
        for (seed, fault) in (0..400).zip((0..FAULTS.len() as u8).cycle()) {
            let mut bytes = bytes(seed);
            bytes[0] = fault;
            simulated(&bytes).unwrap();
        }
    }

    #[test]
    fn what_a_guest_sends_is_judged_or_refused() {
        let execution = wire::Execution {
            id: 1,
            free_pages: 7,
            end: wire::End::Done,
            steps: Vec::new(),
        };
        let message = wire::encode(&wire::Response::Execution(execution)).unwrap();
        for choice in 0..=255 {
            let mut bytes = vec![choice];
            bytes.extend(&message);
            wire(&bytes);
            bytes.pop();
            wire(&bytes);
        }
        wire(&[]);
    }
}
