//! The model itself as a kernel: what generation, judging, re-running and reporting are tested on, without a VM.
//!
//! It takes the most usual of the ways that the rules permit three times out of four, any of them otherwise; a deliberate
//! fault ([`FAULTS`]) makes it do something that the rules do not permit, a [`Mishap`] makes it die.

mod anon_vmas;
mod failing;
mod fault;
mod faults;
mod huge;
mod locks;
mod races;
mod remaps;
mod transfers;

pub use failing::FAILING;
pub use fault::{Act, Answer, Plan, SimFault};
pub use faults::FAULTS;

use super::{
    BootError, End, Event, Execution, Kernel, KernelError, KernelInfo, KernelSource, Prepared,
    Raced, Repeat, Smaps,
};
use oracle::geometry::Geometry;
use oracle::judge::{Failing, Observation, Outcome};
use oracle::profile::Profile;
use oracle::program::{Program, Step};
use oracle::space::World;
use std::collections::VecDeque;

/// The fault with this `family/name`.
pub fn fault_named(name: &str) -> Option<&'static SimFault> {
    let mut all = FAULTS.iter().chain(FAILING);
    all.find(|fault| fault.full_name() == name)
}

/// Ways for a simulated kernel to die, to try out what a campaign does then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The op never returns; the guest says so.
    Hang,
    /// An actor dies of its own.
    Die,
    /// The kernel panics.
    Crash,
    /// The guest stops answering.
    LockUp,
    /// The VM vanishes.
    Lose,
    /// The guest sends nonsense.
    Garbage,
    /// The guest has a limit of its own.
    Fail,
}

/// A mishap and when it strikes.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    pub mishap: Mishap,
    /// On every op of this name.
    pub op: &'static str,
    /// In the programs that probe the kernel, too.
    pub probes: bool,
}

/// Settings of simulated kernels; also the source that a campaign boots them from.
#[derive(Clone)]
pub struct Simulated {
    pub label: String,
    /// Chooses among permitted branches.
    pub seed: u64,
    /// It chooses alike whenever it runs the same program, and on whichever machine.
    pub steady: bool,
    pub geometry: Geometry,
    pub profile: Profile,
    /// Memory is short in one program out of so many.
    pub short_of_memory: u64,
    /// What the kernel calls itself.
    pub release: String,
    pub fault: Option<&'static SimFault>,
    pub strike: Option<Strike>,
}

impl Default for Simulated {
    fn default() -> Simulated {
        Simulated {
            label: "simulated".into(),
            seed: 1,
            steady: false,
            geometry: Geometry::K4,
            profile: Profile::newest(),
            short_of_memory: 4,
            release: format!("{}-simulated", oracle::profile::Release::NEWEST),
            fault: None,
            strike: None,
        }
    }
}

impl KernelSource for Simulated {
    fn label(&self) -> &str {
        &self.label
    }

    fn arch(&self) -> &str {
        "x86_64"
    }

    fn release(&self) -> Option<&str> {
        Some(&self.release)
    }

    fn options(&self) -> Vec<String> {
        let fault = self.fault.map_or("none".into(), SimFault::full_name);
        vec!["--simulated".into(), fault]
    }

    fn boot(&self, _name: &str) -> Result<Box<dyn Kernel>, BootError> {
        Ok(Box::new(SimulatedKernel {
            info: KernelInfo {
                label: self.label.clone(),
                release: self.release.clone(),
                build: "the model".into(),
                arch: self.arch().into(),
                geometry: self.geometry,
                thp: true,
                fail_nth: true,
                accel: "none".into(),
                boot_seconds: 0.0,
            },
            settings: self.clone(),
            batches: VecDeque::new(),
            dice: Dice(self.seed),
            probing: false,
        }))
    }
}

/// A small random number generator (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Index into `n` branches.
    fn branch(&mut self, n: usize) -> usize {
        if n < 2 || !self.next().is_multiple_of(4) {
            0
        } else {
            (self.next() % n as u64) as usize
        }
    }
}

/// A number that stands for a program.
fn digest(program: &Program) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = fnv::FnvHasher::default();
    program.hash(&mut hasher);
    hasher.finish()
}

/// A running simulated kernel.
struct SimulatedKernel {
    info: KernelInfo,
    settings: Simulated,
    batches: VecDeque<VecDeque<Prepared>>,
    dice: Dice,
    /// The program that runs is one that probes the kernel: like a kernel that was just booted, with all memory free, the
    /// model takes the most usual way then.
    probing: bool,
}

impl Kernel for SimulatedKernel {
    fn info(&self) -> &KernelInfo {
        &self.info
    }

    fn judged_by(&mut self, _profile: &Profile) {
        // Its observations are the model's own: there are no two views of it that could contradict each other.
    }

    fn submit(&mut self, batch: &[Prepared]) -> Result<(), KernelError> {
        self.batches.push_back(batch.iter().cloned().collect());
        Ok(())
    }

    fn next(&mut self) -> Result<Event, KernelError> {
        let Some(batch) = self.batches.front_mut() else {
            return Err(KernelError::Lost {
                why: "nothing was submitted".into(),
                console: String::new(),
            });
        };
        let Some(prepared) = batch.pop_front() else {
            self.batches.pop_front();
            return Ok(Event::BatchDone { nanos: 0 });
        };
        self.execute(&prepared).map(Event::Execution)
    }

    fn race(&mut self, prepared: &Prepared, repeat: Repeat) -> Result<Raced, KernelError> {
        races::race(self, prepared, repeat)
    }
}

impl SimulatedKernel {
    fn execute(&mut self, prepared: &Prepared) -> Result<Execution, KernelError> {
        let program = &prepared.program;
        self.probing = prepared.id >= super::probe::FIRST_ID;
        if self.settings.steady {
            self.dice = Dice(self.settings.seed ^ digest(program));
        }
        let one_in = self.settings.short_of_memory;
        let short = !self.probing && self.dice.next().is_multiple_of(one_in);
        let free_pages = if short { 0 } else { 1 << 24 };
        let mut world = World::new(
            &self.settings.profile,
            self.settings.geometry,
            program.knobs,
        )
        .with_free_pages(free_pages);
        let mut execution = Execution {
            id: prepared.id,
            free_pages,
            seen: Vec::with_capacity(program.steps.len()),
            end: End::Done,
        };
        for (index, step) in program.steps.iter().enumerate() {
            if let Some(when) = self.settings.strike {
                if step.op.name() == when.op && (when.probes || !self.probing) {
                    execution.end = strike(when.mishap, prepared.id, index)?;
                    return Ok(execution);
                }
            }
            let before = world.clone();
            let (outcome, failing) = match self.fail(&mut world, step) {
                Some(failed) => (failed, Some(Failing::Failed)),
                None => (self.perform(&mut world, step), fewer(&before, step)),
            };
            let mut seen = Observation {
                outcome,
                spaces: world.shown(),
                events: world.events().to_vec(),
                failing,
            };
            match self.settings.fault.map(|fault| &fault.act) {
                Some(Act::Outcome(change)) => change(&before, step, &mut seen.outcome),
                Some(Act::View(change)) => change(&before, &world, step, &mut seen),
                _ => {}
            }
            strip_flags(&mut seen, prepared.smaps, program, index);
            execution.seen.push(seen);
        }
        Ok(execution)
    }

    /// Performs a step up to the allocation that fails, if it makes so many that the model knows of.
    fn fail(&mut self, world: &mut World, step: &Step) -> Option<Outcome> {
        if let Some(Act::Failed(change)) = self.settings.fault.map(|fault| &fault.act) {
            if let Some(branch) = change(world, step) {
                *world = branch.world;
                return Some(branch.outcome);
            }
        }
        let branch = world.failed(step)?;
        *world = branch.world;
        Some(branch.outcome)
    }

    /// Performs a step, or what a fault puts in its place.
    fn perform(&mut self, world: &mut World, step: &Step) -> Outcome {
        let plan = match self.settings.fault.map(|fault| &fault.act) {
            Some(Act::Instead(plan)) => plan(world, step),
            _ => None,
        };
        let Some(plan) = plan else {
            return self.take(world, step);
        };
        let honest = world.apply(step).swap_remove(0);
        let (mut outcome, mut told) = (honest.outcome, honest.world.events().to_vec());
        for (index, step) in plan.steps.iter().enumerate() {
            if !world.living().contains(&step.actor) {
                continue;
            }
            let result = self.take(world, step);
            if plan.answer == Answer::Of(index) {
                outcome = result;
                told = world.events().to_vec();
            }
        }
        world.set_events(told);
        outcome
    }

    /// One of the permitted ways.
    fn take(&mut self, world: &mut World, step: &Step) -> Outcome {
        let mut usual = step.clone();
        usual.fail = None;
        let mut branches = world.apply(&usual);
        let chosen = match self.probing {
            true => 0,
            false => self.dice.branch(branches.len()),
        };
        let branch = branches.swap_remove(chosen);
        *world = branch.world;
        branch.outcome
    }
}

/// Of a step in which an allocation was to fail, how many the model knows of: fewer.
fn fewer(before: &World, step: &Step) -> Option<Failing> {
    step.fail.map(|_| Failing::Fewer(before.allocations(step)))
}

/// What a mishap does to program `id` at op `index`.
fn strike(mishap: Mishap, id: u64, index: usize) -> Result<End, KernelError> {
    let at = (id, index as u32);
    match mishap {
        Mishap::Hang => Ok(End::Hang {
            stack: "simulated_hang+0x0/0x10".into(),
        }),
        Mishap::Die => Ok(End::Died { status: 9 }),
        Mishap::Garbage => Ok(End::Garbage {
            what: "simulated nonsense".into(),
        }),
        Mishap::Fail => Ok(End::Failed {
            why: "simulated limit".into(),
        }),
        Mishap::Crash => Err(KernelError::Crash {
            kind: "Kernel panic".into(),
            excerpt: "Kernel panic - not syncing: simulated".into(),
            at: Some(at),
        }),
        Mishap::LockUp => Err(KernelError::LockedUp {
            at,
            why: "no sign of life".into(),
            console: "simulated silence".into(),
        }),
        Mishap::Lose => Err(KernelError::Lost {
            why: "the simulated VM is gone".into(),
            console: String::new(),
        }),
    }
}

/// Removes VmFlags and sizes where the guest would not have read them.
fn strip_flags(
    seen: &mut Observation,
    smaps: Smaps,
    program: &oracle::program::Program,
    index: usize,
) {
    let look = smaps.look(program, index);
    let actor = program.steps[index].actor;
    for (who, space) in &mut seen.spaces {
        if look == wire::Look::Cheap || look == wire::Look::Flags && *who != actor {
            space.vmas.iter_mut().for_each(|vma| vma.flags = None);
        }
        if matches!(look, wire::Look::Cheap | wire::Look::Flags) {
            space.vmas.iter_mut().for_each(|vma| vma.sizes = None);
        }
    }
}
