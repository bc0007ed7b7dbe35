//! Which behaviours a booted kernel has. Each behaviour with a probe is asked for by running the probe's program through
//! the ordinary pipeline, so a backport does not fool us; what no probe can tell comes from the release ranges of
//! the same table.

use super::{End, Execution, JudgeBy, Kernel};
use super::{KernelError, KernelInfo, Prepared, Smaps};
use oracle::profile::{Arch, Behaviour, Profile, Release, BEHAVIOURS};
use oracle::program::Program;
use std::sync::Arc;

/// Ids of probe programs: far above those of a campaign.
pub const FIRST_ID: u64 = 1 << 62;

/// Why a kernel's profile could not be found.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel reports a release that is no release.
    #[error("the kernel calls itself `{0}`, which names no release such as 6.18.5")]
    Release(String),
    /// A probe of the table does not parse: a mistake in the table.
    #[error("the probe of `{behaviour}` does not parse: {message}")]
    Program {
        behaviour: &'static str,
        message: String,
    },
}

/// The architecture, as the oracle names it.
pub fn arch(info: &KernelInfo) -> Arch {
    match info.arch.as_str() {
        "aarch64" => Arch::Aarch64,
        _ => Arch::X86_64,
    }
}

/// The profile to judge a kernel by, which has nothing in flight: the one asked for, otherwise what probing finds, in either
/// case without the rows that are to be forgotten. The kernel is told of it ([`Kernel::judged_by`]).
///
/// # Errors
/// See [`ProbeError`].
pub fn profile(kernel: &mut dyn Kernel, by: &JudgeBy) -> Result<Profile, ProbeError> {
    let arch = arch(kernel.info());
    let mut profile = match by.profile {
        Some(named) => named.profile(arch),
        None => probe(kernel)?,
    };
    by.forget(&mut profile, arch);
    kernel.judged_by(&profile);
    Ok(profile)
}

/// Probes a kernel that has nothing in flight.
///
/// # Errors
/// See [`ProbeError`].
pub fn probe(kernel: &mut dyn Kernel) -> Result<Profile, ProbeError> {
    let info = kernel.info();
    let release =
        Release::parse(&info.release).ok_or_else(|| ProbeError::Release(info.release.clone()))?;
    let mut profile = Profile::at_release(release, arch(info));
    if arch(info) == Arch::X86_64 {
        profile.poison_told_by_signal = kernel.handles_memory_failure();
    }
    profile.swap_device = kernel.has_swap();
    let asked: Vec<&Behaviour> = BEHAVIOURS.iter().filter(|b| b.probe.is_some()).collect();
    let batch = asked
        .iter()
        .zip(FIRST_ID..)
        .map(|(behaviour, id)| prepare(behaviour, id))
        .collect::<Result<Vec<Prepared>, ProbeError>>()?;
    if batch.is_empty() {
        return Ok(profile);
    }
    let executions: Vec<Execution> = kernel.run(&batch)?;
    for execution in &executions {
        let behaviour = execution
            .id
            .checked_sub(FIRST_ID)
            .and_then(|n| asked.get(n as usize));
        if let Some((behaviour, probe)) = behaviour.and_then(|b| Some((b, b.probe.as_ref()?))) {
            // One that ended on the way says nothing: what it came to last was not the question.
            if execution.end != End::Done {
                continue;
            }
            if let Some(on) = (probe.read)(&execution.seen) {
                behaviour.set(&mut profile, on);
            }
        }
    }
    Ok(profile)
}

fn prepare(behaviour: &'static Behaviour, id: u64) -> Result<Prepared, ProbeError> {
    let text = behaviour.probe.as_ref().map_or("", |probe| probe.program);
    let program = Program::parse(text).map_err(|error| ProbeError::Program {
        behaviour: behaviour.name,
        message: error.to_string(),
    })?;
    Ok(Prepared {
        id,
        program: Arc::new(program),
        smaps: Smaps::Every,
        fault: None,
    })
}

/// The profile that has these behaviours.
pub fn of_names(names: &[String]) -> Profile {
    let mut profile = Profile::newest();
    for behaviour in BEHAVIOURS {
        behaviour.set(
            &mut profile,
            names.iter().any(|name| name == behaviour.name),
        );
    }
    profile
}

/// Names of the behaviours that a profile has.
pub fn names(profile: &Profile) -> Vec<String> {
    BEHAVIOURS
        .iter()
        .filter(|behaviour| behaviour.get(profile))
        .map(|behaviour| behaviour.name.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::super::{Event, KernelError, KernelSource};
    use super::*;

    /// A kernel on which every program ends before its last op has returned.
    struct Cut(Box<dyn Kernel>);

    impl Kernel for Cut {
        fn info(&self) -> &KernelInfo {
            self.0.info()
        }

        fn judged_by(&mut self, profile: &Profile) {
            self.0.judged_by(profile);
        }

        fn submit(&mut self, batch: &[Prepared]) -> Result<(), KernelError> {
            self.0.submit(batch)
        }

        fn next(&mut self) -> Result<Event, KernelError> {
            Ok(match self.0.next()? {
                Event::Execution(mut execution) => {
                    execution.seen.pop();
                    execution.end = End::Died { status: 9 };
                    Event::Execution(execution)
                }
                other => other,
            })
        }
    }

    /// What cannot be probed is as the release says.
    #[test]
    fn a_probe_that_did_not_end_says_nothing() {
        let source = Simulated::default();
        let kernel = source.boot("probe").unwrap();
        let info = kernel.info().clone();
        let mut cut = Cut(kernel);
        let mut expected = Profile::at_release(Release::parse(&info.release).unwrap(), arch(&info));
        if arch(&info) == Arch::X86_64 {
            expected.poison_told_by_signal = cut.handles_memory_failure();
        }
        expected.swap_device = cut.has_swap();
        assert_eq!(probe(&mut cut).unwrap(), expected);
    }

    #[test]
    fn a_profile_comes_back_from_its_names() {
        let profile = Profile::at_release(Release(6, 12, 0), Arch::Aarch64);
        assert_eq!(of_names(&names(&profile)), profile);
    }

    #[test]
    fn every_probe_of_the_table_parses() {
        for behaviour in BEHAVIOURS.iter().filter(|b| b.probe.is_some()) {
            if let Err(error) = prepare(behaviour, 0) {
                panic!("{error}");
            }
        }
    }
}
