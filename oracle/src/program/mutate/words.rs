//! Other ops on the same range, other flags, settings.

use crate::program::check::copy_fits;
use crate::program::generate::dice::Dice;
use crate::program::generate::from_unstructured;
use crate::program::{
    Advice, Backing, HugeSwitch, KeyGiven, LockCall, Op, Place, Program, Prot, Remap, ShmemThp,
    Step, Thp, UffdCall,
};
use arbitrary::Unstructured;

/// Some step and its place.
fn pick<'p>(program: &'p Program, dice: &mut Dice<'_, '_>) -> Option<(usize, &'p Step)> {
    let index = dice.below(program.steps.len() as u32) as usize;
    Some((index, program.steps.get(index)?))
}

fn with_op(program: &Program, index: usize, op: Op) -> Program {
    let mut changed = program.clone();
    changed.steps[index].op = op;
    changed
}

/// Another op that the generator might write, on the ranges that are there.
pub fn other_op(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let (index, step) = pick(program, dice)?;
    let ranges: Vec<_> = step.op.ranges().collect();
    let bytes = dice.bytes(512);
    let other = from_unstructured(&mut Unstructured::new(&bytes)).ok()?;
    let op = dice.pick(&other.steps.iter().map(|s| s.op).collect::<Vec<Op>>())?;
    let mut at = ranges.iter().cycle();
    let op = op.with_ranges(|own| at.next().copied().unwrap_or(own));
    Some(with_op(program, index, op))
}

fn prot(dice: &mut Dice<'_, '_>) -> Prot {
    Prot::new(dice.chance(70), dice.chance(60), dice.one_in(6))
}

/// The same op with other words.
pub fn other_words(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let (index, step) = pick(program, dice)?;
    let mut op = step.op;
    match &mut op {
        Op::Mmap {
            prot: old,
            backing,
            place,
            flags,
            ..
        } => match dice.below(6) {
            0 => *old = prot(dice),
            1 => *place = dice.pick(&[Place::Fixed, Place::Hint, Place::NoReplace])?,
            2 => flags.populate = !flags.populate,
            3 => flags.locked = !flags.locked,
            4 => flags.noreserve = !flags.noreserve,
            _ => match backing {
                Backing::File(map) => map.shared = !map.shared,
                anon => {
                    *anon = dice.pick(&[
                        Backing::PrivateAnon,
                        Backing::SharedAnon,
                        Backing::Droppable,
                        Backing::Hugetlb { shared: false },
                    ])?;
                }
            },
        },
        Op::Mprotect { prot: old, .. } => *old = prot(dice),
        Op::PkeyMprotect { prot: old, key, .. } => match dice.below(2) {
            0 => *old = prot(dice),
            _ => *key = dice.pick(&KeyGiven::ALL)?.1,
        },
        Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => {
            *advice = dice.pick(&Advice::ALL)?;
        }
        Op::Mlock { call, .. } => *call = dice.pick(&LockCall::ALL)?,
        Op::Mlockall { flags } => match dice.below(3) {
            0 => flags.current = !flags.current,
            1 => flags.future = !flags.future,
            _ => flags.on_fault = !flags.on_fault,
        },
        Op::Mremap { how, .. } => *how = dice.pick(&Remap::ALL)?.1,
        Op::Mseal { unknown_flag, .. } => *unknown_flag = !*unknown_flag,
        Op::Read { range } => {
            op = Op::Write {
                range: *range,
                tag: dice.between(1, 60) as u16,
            };
        }
        Op::Write { range, .. } => op = Op::Read { range: *range },
        Op::Truncate { pages, .. } => *pages = dice.below(40) as u16,
        Op::PunchHole { from, to, .. } => {
            *from = dice.below(24) as u16;
            *to = *from + dice.below(12) as u16;
        }
        Op::Seal { seals, .. } => {
            *seals = dice.pick(&crate::program::Seals::EACH)?.1;
        }
        Op::Uffd { range, call } => {
            let to = dice.pick(&UffdCall::ALL)?;
            if !matches!(to, UffdCall::Copy { .. }) || copy_fits(*range) {
                *call = to;
            }
        }
        Op::SwitchHuge(how) => *how = dice.pick(&HugeSwitch::ALL)?,
        Op::Brk { to } => to.page = dice.below(40) as i16,
        Op::Transfer { .. }
        | Op::Look { .. }
        | Op::Signal { .. }
        | Op::Munmap { .. }
        | Op::Munlockall
        | Op::ClearSoftDirty
        | Op::Fork { .. }
        | Op::Exit => return None,
    }
    Some(with_op(program, index, op))
}

/// Another system-wide setting.
pub fn settings(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let mut changed = program.clone();
    let knobs = &mut changed.knobs;
    match dice.below(4) {
        0 => knobs.thp = dice.pick(&[Thp::Never, Thp::Madvise, Thp::Always])?,
        1 => knobs.shmem_thp = dice.pick(&[ShmemThp::Never, ShmemThp::Advise, ShmemThp::Always])?,
        2 => knobs.uffd_events = !knobs.uffd_events,
        _ => knobs.root = !knobs.root,
    }
    Some(changed)
}
