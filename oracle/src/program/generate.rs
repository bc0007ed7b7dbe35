//! Random programs that are aware of the model: while it writes, the generator runs a [`World`] and looks at what is
//! mapped and guarded there, so that most ops hit something.
//!
//! A seed is expanded to bytes ([`dice::expand`]) and the bytes are read as choices, so the same function serves seeds,
//! `arbitrary` and fuzzers. The model runs with [`Profile::newest`], 4 KiB pages and the most usual branch whatever kernel
//! will run the program: the same bytes give the same program everywhere.
//!
//! | file | subject |
//! | --- | --- |
//! | `dice` | bytes as choices |
//! | `places` | where things are, and ranges around them |
//! | `ops` | which op comes next |
//! | `files` | mappings of files |
//! | `collapse` | where COLLAPSE is pointed at |
//! | `transfers` | memory that the kernel reads and writes |
//! | `heap` | the program break |
//! | `hugetlbs` | huge TLB memory |
//! | `locks` | which of the mlock family, and mseal |
//! | `remaps` | mremap |
//! | `swaps` | programs with swap space |
//! | `races` | programs in which threads run at once |

mod collapse;
pub(super) mod dice;
mod files;
mod heap;
mod hugetlbs;
mod locks;
mod ops;
mod places;
mod races;
mod remaps;
mod swaps;
mod transfers;
mod uffds;

pub use dice::expand;
pub use races::{generate_race, race};

use super::{Knobs, Op, Program, Step, Thp, UffdCall, MAX_STEPS};
use crate::geometry::Geometry;
use crate::judge::Outcome;
use crate::profile::Profile;
use crate::space::World;
use arbitrary::{Arbitrary, Unstructured};
use dice::Dice;

/// The geometry that the generator thinks in.
const GEOMETRY: Geometry = Geometry::K4;

/// Fewest ops of a program, most ops that are aimed at, and the most when a program has changed too little by then.
const LENGTH: (u32, u32, u32) = (9, 14, 22);

/// State changes below which a program goes on.
const ENOUGH_CHANGES: u32 = 5;

/// One program in so many is about files.
const FILES: u32 = 3;
/// One program of so many registers memory with userfaultfd.
const UFFD: u32 = 5;
/// One program of so many moves the program break.
const BRK: u32 = 7;
/// One program of so many gives memory protection keys.
const KEYS: u32 = 5;
/// One program of so many maps huge TLB memory, which holds nothing: few will do.
const HUGETLB: u32 = 14;
/// Which of [`HUGETLB`] programs that register memory have userfaultfds that tell events: none of those that map huge TLB memory.
const UFFD_EVENTS: std::ops::RangeInclusive<u32> = 1..=3;

/// Bytes that a seed is expanded to; more than a program uses up.
const SEED_BYTES: usize = 4096;

/// The program of a seed: the same on every machine and for every kernel.
pub fn generate(seed: u64) -> Program {
    let bytes = expand(seed, SEED_BYTES);
    program(&mut Dice::new(&mut Unstructured::new(&bytes)))
}

/// A program made from bytes; short input gives a dull program, never an error.
///
/// # Errors
/// None at present; the type is that of [`Arbitrary`].
pub fn from_unstructured(u: &mut Unstructured<'_>) -> arbitrary::Result<Program> {
    Ok(program(&mut Dice::new(u)))
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Program> {
        from_unstructured(u)
    }
}

/// A program being written, and the machine that has run it so far.
struct Writer<'d, 'u, 'b> {
    dice: &'d mut Dice<'u, 'b>,
    program: Program,
    world: World,
    /// Mappings are of files more often than not.
    files: bool,
    /// Memory is registered with userfaultfd.
    uffd: bool,
    /// There is a heap.
    heap: bool,
    /// Memory is given protection keys.
    keys: bool,
    /// Some mappings are of huge TLB memory.
    hugetlb: bool,
    /// Tag of the next write; every write has its own, so misplaced data is recognised.
    next_tag: u16,
    /// Number of the next child.
    next_actor: u8,
    /// Steps that changed something.
    changes: u32,
    /// Pages that were accessed lately (first, end), the newest last.
    touched: Vec<(i64, i64)>,
    /// The actor of the last step.
    actor: u8,
    /// What the last step suggests to do next.
    sequel: Option<Sequel>,
}

/// A step that makes the one before it matter: a copy on write after a fork, a fault beside fresh guards.
#[derive(Debug, Clone, Copy)]
struct Sequel {
    actor: u8,
    op: Op,
}

/// `steps` more ops behind those of a program, as the generator goes on where it stands; never more than [`MAX_STEPS`].
pub(super) fn continued(program: &Program, steps: u32, dice: &mut Dice<'_, '_>) -> Program {
    let mut writer = Writer::new(program.knobs, dice);
    writer.files = program.steps.iter().any(|step| step.op.file().is_some());
    for step in &program.steps {
        writer.add(step.clone());
    }
    for _ in 0..steps {
        if writer.program.steps.len() < MAX_STEPS {
            writer.next_step();
        }
    }
    writer.program
}

fn program(dice: &mut Dice<'_, '_>) -> Program {
    let knobs = Knobs {
        thp: if dice.one_in(2) {
            Thp::Always
        } else {
            Thp::Madvise
        },
        root: dice.one_in(24),
        ..Knobs::default()
    };
    let roll = dice.below(FILES * KEYS * BRK);
    let files = roll % FILES == FILES - 1;
    let (keys, heap) = (roll / FILES % KEYS == 1, roll / FILES / KEYS == 3);
    // One roll for two things that do not depend on each other: what has come later leaves other programs as they were.
    let roll = dice.below(UFFD * HUGETLB);
    let (uffd, hugetlb) = (roll % UFFD == UFFD - 1, roll / UFFD == 0);
    let uffd_events = uffd && UFFD_EVENTS.contains(&(roll / UFFD));
    let knobs = Knobs {
        uffd_events,
        ..knobs
    };
    let mut writer = Writer::new(knobs, dice);
    writer.files = files;
    writer.uffd = uffd;
    writer.hugetlb = hugetlb;
    // Programs of userfaultfd's have enough to do.
    writer.keys = keys && !uffd;
    writer.heap = heap && !uffd;
    writer.write();
    writer.strew();
    writer.program
}

impl<'d, 'u, 'b> Writer<'d, 'u, 'b> {
    /// Nothing written yet.
    fn new(knobs: Knobs, dice: &'d mut Dice<'u, 'b>) -> Self {
        Writer {
            dice,
            program: Program {
                knobs,
                ..Program::default()
            },
            world: World::new(&Profile::newest(), GEOMETRY, knobs),
            files: false,
            uffd: false,
            hugetlb: false,
            keys: false,
            heap: false,
            next_tag: 1,
            next_actor: 1,
            changes: 0,
            touched: Vec::new(),
            actor: 0,
            sequel: None,
        }
    }
}

impl Writer<'_, '_, '_> {
    fn write(&mut self) {
        let (fewest, usual, most) = LENGTH;
        let length = self.dice.between(fewest, usual);
        for _ in 0..self.dice.between(1, 3) {
            let op = self.first_mmap();
            self.add(Step::new(0, op));
        }
        self.sequel = self.think_of_sequel();
        loop {
            let steps = self.program.steps.len() as u32;
            if steps >= most || (steps >= length && self.changes >= ENOUGH_CHANGES) {
                return;
            }
            self.next_step();
        }
    }

    /// Chooses a step; one that would fail or change nothing is thrown away more often than not.
    fn next_step(&mut self) {
        if let Some(Sequel { actor, op }) = self.sequel.take() {
            self.add(Step::new(actor, op));
            return;
        }
        let mut patience = 3;
        loop {
            let actor = self.choose_actor();
            let (op, wild) = self.choose_op(actor);
            let step = Step::new(actor, op);
            let dull = !wild && patience > 0 && {
                let branches = self.world.apply(&step);
                let fails = branches.first().is_none_or(|b| !succeeds(&b.outcome));
                let idle = branches.first().is_some_and(|b| !self.changes(&b.world));
                // A load that finds its pages changes nothing and is still worth having; what mlockall and prctl change shows later.
                let idle = idle
                    && !matches!(
                        op,
                        Op::Read { .. }
                            | Op::Mlockall { .. }
                            | Op::SwitchHuge(_)
                            | Op::Transfer { .. }
                    );
                (fails && !self.dice.chance(60)) || (idle && !fails && !self.dice.chance(30))
            };
            if !dull {
                self.add(step);
                self.sequel = self.think_of_sequel();
                return;
            }
            patience -= 1;
        }
    }

    /// Appends a step and runs it.
    fn add(&mut self, step: Step) {
        match step.op {
            Op::Write { .. }
            | Op::Uffd {
                call: UffdCall::Copy { .. },
                ..
            } => self.next_tag += 1,
            Op::Transfer { way, .. } if way.stores() => self.next_tag += 1,
            Op::Fork { .. } => self.next_actor += 1,
            _ => {}
        }
        self.actor = step.actor;
        let mut branches = self.world.apply(&step);
        if !branches.is_empty() {
            let branch = branches.swap_remove(0);
            self.changes += u32::from(self.changes(&branch.world));
            self.world = branch.world;
            self.remember(&step.op, &branch.outcome);
        }
        self.program.steps.push(step);
    }

    /// Notes the pages that an access reached.
    fn remember(&mut self, op: &Op, outcome: &Outcome) {
        let (Some(range), Outcome::Access(access)) = (op.range(), outcome) else {
            return;
        };
        if access.pages > 0 {
            let start = range.start.page_index(GEOMETRY);
            self.touched.push((start, start + i64::from(access.pages)));
            if self.touched.len() > 4 {
                self.touched.remove(0);
            }
        }
    }

    /// Whether `next` shows anything else than the machine does now.
    fn changes(&self, next: &World) -> bool {
        changed(&self.world, next)
    }

    /// The actor of the last step more often than another one.
    fn choose_actor(&mut self) -> u8 {
        let living = self.world.living();
        if living.contains(&self.actor) && self.dice.chance(50) {
            return self.actor;
        }
        let i = self.dice.below(living.len() as u32) as usize;
        living.get(i).copied().unwrap_or(0)
    }
}

/// Whether an op did what it was asked to.
pub(super) fn succeeds(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Ok | Outcome::Elsewhere | Outcome::Unflagged => true,
        Outcome::Errno(_) => false,
        Outcome::Access(a) => a.fault.is_none(),
        Outcome::Moved(moved) => moved.all,
        Outcome::Each(all) | Outcome::Together(all) => all.iter().all(succeeds),
    }
}

/// Whether two machines differ in what a kernel shows of them.
pub(super) fn changed(before: &World, after: &World) -> bool {
    if before == after {
        return false;
    }
    let living = before.living();
    let differs = |a: &u8| before.seen_without_sizes(*a) != after.seen_without_sizes(*a);
    living != after.living() || living.iter().any(differs)
}

#[cfg(test)]
mod tests;
