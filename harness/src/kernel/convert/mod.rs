//! Programs to wire messages, and what a guest reports to observations.
//!
//! The guest's data is untrusted: pages outside the arena, overlapping runs, actors that do not exist and the like are
//! an [`End::Garbage`], never a panic. Kernel views that contradict each other are an [`End::ViewsDisagree`] before
//! the oracle is asked.

use super::{Disagreement, End, Execution, Prepared, Smaps};
use oracle::geometry::{Geometry, Range};
use oracle::judge::{
    Access, Failing, Fault, Moved, Observation, Outcome, SpaceSeen, ValueRun, VmaSeen,
};
use oracle::program::{
    self, Advice, Backing, File, FileKind, HugeSwitch, KeyGiven, LockAll, LockCall, Op, Place,
    Program, Prot, Remap, Seals, ShmemThp, Step, Thp, Transfer, UffdCall, Vectors, HEAP,
    MAX_VECTORS,
};
use oracle::space::{Content, Key};
use std::collections::BTreeMap;

mod counters;
mod events;
mod frames;
mod pages;
mod scans;
pub mod sent;
mod sizes;
#[cfg(test)]
mod tests;

/// What a guest can see of its kernel; from its hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Views {
    /// PAGEMAP_SCAN works.
    pub scan: bool,
    /// PAGEMAP_SCAN knows PAGE_IS_GUARD.
    pub scan_guard: bool,
    /// pagemap bit 58 stands for a guard.
    pub pagemap_guard: bool,
    /// pagemap calls the huge zero page a file page: the row `huge_zero_as_file` of the table of behaviours.
    pub huge_zero_as_file: bool,
    /// /proc/PID/status counts exactly: the row `exact_counters`.
    pub exact_counters: bool,
    /// smaps leaves out huge pages without any access: the row `smaps_skips_protnone_huge`.
    pub smaps_skips_protnone_huge: bool,
}

const PROT_READ: u32 = 1;
const PROT_WRITE: u32 = 2;
const PROT_EXEC: u32 = 4;
const MAP_SHARED: u32 = 0x01;
const MAP_PRIVATE: u32 = 0x02;
const MAP_DROPPABLE: u32 = 0x08;
const MAP_FIXED: u32 = 0x10;
const MAP_ANONYMOUS: u32 = 0x20;
const MAP_LOCKED: u32 = 0x2000;
const MAP_NORESERVE: u32 = 0x4000;
const MAP_POPULATE: u32 = 0x8000;
const MAP_STACK: u32 = 0x2_0000;
const MAP_HUGETLB: u32 = 0x4_0000;
/// A key that nobody allocates: the kernel gives the lowest ones out first.
const UNALLOCATED_KEY: i8 = 15;
const MAP_FIXED_NOREPLACE: u32 = 0x10_0000;
const MLOCK_ONFAULT: u32 = 1;
const MCL_CURRENT: u32 = 1;
const MCL_FUTURE: u32 = 2;
const MCL_ONFAULT: u32 = 4;
const MREMAP_MAYMOVE: u32 = 1;
const MREMAP_FIXED: u32 = 2;
const MREMAP_DONTUNMAP: u32 = 4;
const MREMAP_UNKNOWN: u32 = 8;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
/// A flag that mlock2, mseal and process_madvise do not know.
const UNKNOWN_FLAG: u32 = 0x80;
/// PR_THP_DISABLE_EXCEPT_ADVISED.
const THP_DISABLE_EXCEPT_ADVISED: u32 = 2;

// The guest sets the limit, the rules know it.
const _: () = assert!(wire::MEMLOCK_BLOCKS == oracle::geometry::MEMLOCK_BLOCKS);

// As many ranges as a program's call may have.
const _: () = assert!(wire::MAX_RANGES == MAX_VECTORS);

// As many threads and steps of one as a section may have.
const _: () =
    assert!(wire::MAX_LANES == program::MAX_LANES && wire::MAX_LANE_STEPS == program::MAX_LANE_OPS);

/// The PROT_* bits of a protection.
fn prot_bits(prot: Prot) -> u32 {
    (if prot.read { PROT_READ } else { 0 })
        | (if prot.write { PROT_WRITE } else { 0 })
        | (if prot.exec { PROT_EXEC } else { 0 })
}

/// The MCL_* bits of mlockall's flags.
fn mcl_bits(flags: LockAll) -> u32 {
    (if flags.current { MCL_CURRENT } else { 0 })
        | (if flags.future { MCL_FUTURE } else { 0 })
        | (if flags.on_fault { MCL_ONFAULT } else { 0 })
}

/// The MADV_* number of an advice (the same on both architectures).
fn advice_number(advice: Advice) -> i32 {
    match advice {
        Advice::Normal => 0,
        Advice::Random => 1,
        Advice::Sequential => 2,
        Advice::WillNeed => 3,
        Advice::DontNeed => 4,
        Advice::Free => 8,
        Advice::Remove => 9,
        Advice::DontFork => 10,
        Advice::DoFork => 11,
        Advice::Mergeable => 12,
        Advice::Unmergeable => 13,
        Advice::HugePage => 14,
        Advice::NoHugePage => 15,
        Advice::DontDump => 16,
        Advice::DoDump => 17,
        Advice::WipeOnFork => 18,
        Advice::KeepOnFork => 19,
        Advice::Cold => 20,
        Advice::PageOut => 21,
        Advice::PopulateRead => 22,
        Advice::PopulateWrite => 23,
        Advice::DontNeedLocked => 24,
        Advice::Collapse => 25,
        Advice::GuardInstall => 102,
        Advice::GuardRemove => 103,
        Advice::Unknown => 9999,
    }
}

/// The MREMAP_* bits of an mremap.
fn mremap_bits(how: Remap) -> u32 {
    (if how.may_move() { MREMAP_MAYMOVE } else { 0 })
        | (if how.is_fixed() { MREMAP_FIXED } else { 0 })
        | (if how.keeps_source() {
            MREMAP_DONTUNMAP
        } else {
            0
        })
        | (if how == Remap::UnknownFlag {
            MREMAP_UNKNOWN
        } else {
            0
        })
}

/// The settings a program runs under.
fn knobs(knobs: &program::Knobs) -> wire::Knobs {
    wire::Knobs {
        thp: match knobs.thp {
            Thp::Never => 0,
            Thp::Madvise => 1,
            Thp::Always => 2,
        },
        shmem_thp: match knobs.shmem_thp {
            ShmemThp::Never => 0,
            ShmemThp::Advise => 1,
            ShmemThp::Always => 2,
        },
        khugepaged: knobs.khugepaged,
        ksm: knobs.ksm,
        swap: knobs.swap,
        root: knobs.root,
        uffd_events: knobs.uffd_events,
    }
}

/// The files that a program names, each once.
fn files(program: &Program) -> Vec<File> {
    let mut files: Vec<File> = program
        .steps
        .iter()
        .filter_map(|step| step.op.file())
        .collect();
    files.sort_unstable();
    files.dedup();
    files
}

/// A file as the guest shall make it.
fn file(file: &File) -> wire::File {
    let start = file.start();
    wire::File {
        kind: match file.kind() {
            FileKind::Memfd => wire::FileKind::Memfd,
            FileKind::Ramfs => wire::FileKind::Ramfs,
            FileKind::Secret => wire::FileKind::Secret,
        },
        pages: start.pages,
        written: start.written,
        tag: start.tag,
    }
}

/// The F_SEAL_* bits.
fn seal_bits(seals: Seals) -> u32 {
    [
        seals.seal,
        seals.shrink,
        seals.grow,
        seals.write,
        seals.future_write,
    ]
    .iter()
    .zip([1, 2, 4, 8, 16])
    .filter(|(set, _)| **set)
    .map(|(_, bit)| bit)
    .sum()
}

/// The wire's name of a way to move memory.
fn way_of(way: Transfer) -> wire::Way {
    match way {
        Transfer::PipeWrite => wire::Way::PipeWrite,
        Transfer::PipeRead => wire::Way::PipeRead,
        Transfer::MemfdWrite => wire::Way::MemfdWrite,
        Transfer::MemfdRead => wire::Way::MemfdRead,
        Transfer::VmRead => wire::Way::VmRead,
        Transfer::VmWrite => wire::Way::VmWrite,
        Transfer::MemRead => wire::Way::MemRead,
        Transfer::MemWrite => wire::Way::MemWrite,
        Transfer::Vmsplice => wire::Way::Vmsplice,
    }
}

/// The wire's name of a call through userfaultfd.
fn uffd_call(call: UffdCall, g: Geometry) -> wire::UffdCall {
    match call {
        UffdCall::RegisterMissing => wire::UffdCall::Register {
            mode: UFFDIO_REGISTER_MODE_MISSING,
        },
        UffdCall::RegisterWp => wire::UffdCall::Register {
            mode: UFFDIO_REGISTER_MODE_WP,
        },
        UffdCall::RegisterBoth => wire::UffdCall::Register {
            mode: UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
        },
        UffdCall::Unregister => wire::UffdCall::Unregister,
        UffdCall::Copy { tag, protect } => wire::UffdCall::Copy { tag, protect },
        UffdCall::ZeroPage => wire::UffdCall::ZeroPage,
        UffdCall::Poison => wire::UffdCall::Poison,
        UffdCall::Protect => wire::UffdCall::Protect { on: true },
        UffdCall::Unprotect => wire::UffdCall::Protect { on: false },
        UffdCall::Move { to, holes } => wire::UffdCall::Move {
            to: to.byte_offset(g),
            holes,
        },
    }
}

/// Several ranges in bytes.
fn ranges(vectors: Vectors, g: Geometry) -> wire::Ranges {
    let mut ranges = wire::Ranges {
        count: 0,
        list: [(0, 0); wire::MAX_RANGES],
    };
    for (place, range) in ranges.list.iter_mut().zip(vectors.iter()) {
        *place = (range.start.byte_offset(g), range.byte_len(g));
        ranges.count += 1;
    }
    ranges
}

/// Resolves one step's op to bytes, and the file it names to its place among `files`.
fn op(step: &Step, g: Geometry, files: &[File]) -> wire::Op {
    let page = u64::from(g.page_size);
    let place_of = |file| files.iter().position(|f| *f == file).unwrap_or(usize::MAX) as u8;
    let actor = step.actor;
    match step.op {
        Op::Mmap {
            range,
            prot,
            backing,
            place,
            flags,
        } => wire::Op::Mmap {
            at: range.start.byte_offset(g),
            len: range.byte_len(g),
            prot: prot_bits(prot),
            flags: match backing {
                Backing::File(_) => 0,
                _ => MAP_ANONYMOUS,
            } | match backing {
                Backing::Droppable => MAP_DROPPABLE,
                _ if backing.is_shared() => MAP_SHARED,
                _ => MAP_PRIVATE,
            } | match backing {
                Backing::Hugetlb { .. } => MAP_HUGETLB,
                _ => 0,
            } | match place {
                Place::Fixed => MAP_FIXED,
                Place::Hint => 0,
                Place::NoReplace => MAP_FIXED_NOREPLACE,
            } | if flags.populate { MAP_POPULATE } else { 0 }
                | if flags.noreserve { MAP_NORESERVE } else { 0 }
                | if flags.stack { MAP_STACK } else { 0 }
                | if flags.locked { MAP_LOCKED } else { 0 },
            file: match backing {
                Backing::File(map) => Some(wire::FileMap {
                    file: place_of(map.file),
                    readonly: map.readonly,
                    offset: u64::from(map.page) * page,
                }),
                _ => None,
            },
        },
        Op::Munmap { range } => wire::Op::Munmap {
            at: range.start.byte_offset(g),
            len: range.byte_len(g),
        },
        Op::Brk { to } => wire::Op::Brk {
            heap: HEAP.byte_offset(g),
            to: to.byte_offset(g),
        },
        Op::Mprotect { range, prot } => wire::Op::Mprotect {
            at: range.start.byte_offset(g),
            len: range.byte_len(g),
            prot: prot_bits(prot),
        },
        Op::PkeyMprotect { range, prot, key } => wire::Op::PkeyMprotect {
            at: range.start.byte_offset(g),
            len: range.byte_len(g),
            prot: prot_bits(prot),
            key: match key {
                KeyGiven::AsIs => wire::Key::Number(-1),
                KeyGiven::Default => wire::Key::Number(0),
                KeyGiven::Unknown => wire::Key::Number(UNALLOCATED_KEY),
                KeyGiven::Open => wire::Key::Own(0),
                KeyGiven::NoWrite => wire::Key::Own(1),
                KeyGiven::NoAccess => wire::Key::Own(2),
            },
        },
        Op::Madvise { range, advice } => wire::Op::Madvise {
            at: range.start.byte_offset(g),
            len: range.byte_len(g),
            advice: advice_number(advice),
        },
        Op::Mlock { range, call } => {
            let (at, len) = (range.start.byte_offset(g), range.byte_len(g));
            let mlock = |flags| wire::Op::Mlock { at, len, flags };
            match call {
                LockCall::Lock => mlock(0),
                LockCall::LockOnFault => mlock(MLOCK_ONFAULT),
                LockCall::UnknownFlag => mlock(UNKNOWN_FLAG),
                LockCall::Unlock => wire::Op::Munlock { at, len },
            }
        }
        Op::Mlockall { flags } => wire::Op::Mlockall {
            flags: mcl_bits(flags),
        },
        Op::Munlockall => wire::Op::Munlockall,
        Op::Look { range } => {
            let (at, pages) = accessed(range, g);
            wire::Op::Look { at, pages }
        }
        Op::Signal { to } => wire::Op::Signal { lane: to },
        Op::ClearSoftDirty => wire::Op::ClearSoftDirty,
        Op::SwitchHuge(how) => {
            let (disable, flags) = match how {
                HugeSwitch::On => (0, 0),
                HugeSwitch::Off => (1, 0),
                HugeSwitch::OffUnlessAdvised => (1, THP_DISABLE_EXCEPT_ADVISED),
                HugeSwitch::UnknownFlag => (1, UNKNOWN_FLAG),
            };
            wire::Op::ThpDisable { disable, flags }
        }
        Op::Mseal {
            range,
            unknown_flag,
        } => wire::Op::Mseal {
            at: range.start.byte_offset(g),
            len: range.byte_len(g),
            flags: if unknown_flag { UNKNOWN_FLAG } else { 0 },
        },
        Op::Mremap { range, to, how } => wire::Op::Mremap {
            at: range.start.byte_offset(g),
            len: range.byte_len(g),
            to: to.start.byte_offset(g),
            new_len: to.byte_len(g),
            flags: mremap_bits(how),
        },
        Op::Read { range } => {
            let (at, pages) = accessed(range, g);
            wire::Op::Read { at, pages }
        }
        Op::Write { range, tag } => {
            let (at, pages) = accessed(range, g);
            wire::Op::Write { at, pages, tag }
        }
        Op::Transfer {
            way,
            vectors,
            whose,
            tag,
        } => wire::Op::Transfer {
            way: way_of(way),
            ranges: ranges(vectors, g),
            actor: whose.unwrap_or(actor),
            tag,
        },
        Op::ProcessMadvise {
            advice,
            vectors,
            whose,
            unknown_flag,
        } => wire::Op::ProcessMadvise {
            ranges: ranges(vectors, g),
            actor: whose.unwrap_or(actor),
            advice: advice_number(advice),
            flags: if unknown_flag { UNKNOWN_FLAG } else { 0 },
        },
        Op::Uffd { range, call } => wire::Op::Uffd {
            at: range.start.byte_offset(g),
            len: range.byte_len(g),
            call: uffd_call(call, g),
        },
        Op::Truncate { file, pages } => wire::Op::Truncate {
            file: place_of(file),
            len: u64::from(pages) * page,
        },
        Op::PunchHole { file, from, to } => wire::Op::PunchHole {
            file: place_of(file),
            offset: u64::from(from) * page,
            len: u64::from(to.saturating_sub(from)) * page,
        },
        Op::Seal { file, seals } => wire::Op::Seal {
            file: place_of(file),
            seals: seal_bits(seals),
        },
        Op::Fork { child } => wire::Op::Fork { child },
        Op::Exit => wire::Op::Exit,
    }
}

/// First byte and number of pages that an access op goes through.
fn accessed(range: Range, g: Geometry) -> (i64, u32) {
    let first = range.start.page_index(g);
    let pages = (range.end.page_index(g) - first).max(0);
    (first * i64::from(g.page_size), pages as u32)
}

/// The wire form of a program.
pub fn to_wire(prepared: &Prepared, g: Geometry) -> wire::Program {
    let program: &Program = &prepared.program;
    let files = files(program);
    wire::Program {
        id: prepared.id,
        knobs: knobs(&program.knobs),
        files: files.iter().map(file).collect(),
        steps: program
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| wire::Step {
                actor: step.actor,
                lane: step.lane.map(|lane| wire::Lane {
                    number: lane.number,
                    repeats: lane.repeats,
                }),
                op: op(step, g, &files),
                fail: step.fail,
                look: prepared.smaps.look(program, index),
            })
            .collect(),
        fault: prepared.fault,
    }
}

/// Why a step's report cannot become an observation.
#[derive(Debug)]
enum Bad {
    Garbage(String),
    Disagree(Disagreement),
}

impl From<String> for Bad {
    fn from(what: String) -> Bad {
        Bad::Garbage(what)
    }
}

/// Turns a guest's report of `program` into observations. Stops at the first step that makes no sense.
pub fn from_wire(
    execution: wire::Execution,
    program: &Program,
    smaps: Smaps,
    g: Geometry,
    views: Views,
) -> Execution {
    let mut seen = Vec::with_capacity(execution.steps.len());
    let reported = execution.steps.len();
    let mut last: BTreeMap<u8, SpaceSeen> = BTreeMap::new();
    let finish = |seen, end| Execution {
        id: execution.id,
        free_pages: execution.free_pages,
        seen,
        end,
    };
    if reported > program.steps.len() {
        let what = format!(
            "{reported} steps reported for a program of {}",
            program.steps.len()
        );
        return finish(seen, End::Garbage { what });
    }
    for (index, step) in execution.steps.into_iter().enumerate() {
        let look = smaps.look(program, index);
        match observation(step, program, index, look, &mut last, g, views) {
            Ok(observation) => seen.push(observation),
            Err(Bad::Garbage(what)) => {
                let what = format!("step {index}: {what}");
                return finish(seen, End::Garbage { what });
            }
            Err(Bad::Disagree(what)) => return finish(seen, End::ViewsDisagree { what }),
        }
    }
    let at = |step: u32, end: End| {
        if step as usize == reported {
            end
        } else {
            End::Garbage {
                what: format!("ended at step {step}, but {reported} steps were reported"),
            }
        }
    };
    let end = match execution.end {
        wire::End::Done if reported == program.steps.len() => End::Done,
        wire::End::Done => End::Garbage {
            what: format!("done after {reported} of {} steps", program.steps.len()),
        },
        wire::End::Hang { step, stack } => at(step, End::Hang { stack }),
        wire::End::Died { step, status } => at(step, End::Died { status }),
        wire::End::Failed { why, .. } => End::Failed { why },
    };
    finish(seen, end)
}

fn observation(
    step: wire::StepSeen,
    program: &Program,
    index: usize,
    look: wire::Look,
    last: &mut BTreeMap<u8, SpaceSeen>,
    g: Geometry,
    views: Views,
) -> Result<Observation, Bad> {
    let here = &program.steps[index];
    let outcome = outcomes(step.result, step.more, here, g)?;
    let failing = failing(step.fail_left, here)?;
    let events = events::events(step.events, program, index, g)?;
    // Of a section, only the last step is looked at.
    let next = program.steps.get(index + 1);
    let on_the_way = here.lane.is_some() && next.is_some_and(|step| step.lane.is_some());
    if on_the_way && !step.actors.is_empty() {
        return Err("views while threads run at once".to_owned().into());
    }
    let mut spaces: Vec<(u8, SpaceSeen)> = Vec::with_capacity(step.actors.len());
    for (actor, view) in step.actors {
        if !actor_exists(program, index, actor) {
            return Err(format!("actor {actor} does not exist").into());
        }
        let Err(place) = spaces.binary_search_by_key(&actor, |(other, _)| *other) else {
            return Err(format!("actor {actor} has looked twice").into());
        };
        let space = match view {
            wire::View::Full(full) => space(full, actor, g, views)?,
            wire::View::Unchanged => {
                let mut space = last
                    .get(&actor)
                    .cloned()
                    .ok_or_else(|| format!("actor {actor} is unchanged but was never seen"))?;
                if look == wire::Look::Cheap {
                    for vma in &mut space.vmas {
                        (vma.flags, vma.sizes) = (None, None);
                    }
                }
                space
            }
        };
        last.insert(actor, space.clone());
        spaces.insert(place, (actor, space));
    }
    Ok(Observation {
        outcome,
        spaces,
        events,
        failing,
    })
}

/// Whether `actor` was there from the start or named by a fork up to step `index`.
fn actor_exists(program: &Program, index: usize, actor: u8) -> bool {
    actor == 0
        || program.steps[..=index]
            .iter()
            .any(|step| matches!(step.op, Op::Fork { child } if child == actor))
}

/// What became of the allocation that was to fail in a step, from what the kernel said was left to go.
fn failing(left: Option<u32>, step: &Step) -> Result<Option<Failing>, Bad> {
    match (left, step.fail) {
        (None, _) => Ok(None),
        (Some(0), Some(_)) => Ok(Some(Failing::Failed)),
        (Some(left), Some(nth)) if left <= u32::from(nth) => {
            Ok(Some(Failing::Fewer(nth - left as u16)))
        }
        (Some(left), nth) => {
            Err(format!("{left} allocations left to go until {nth:?} would fail").into())
        }
    }
}

/// What the op of a step returned: of a thread that repeats it, each outcome that differs from the one before.
fn outcomes(
    first: wire::OpResult,
    more: Vec<wire::OpResult>,
    step: &Step,
    g: Geometry,
) -> Result<Outcome, Bad> {
    let first = outcome(first, &step.op, g)?;
    if !step.lane.is_some_and(|lane| lane.repeats) {
        return match more.len() {
            0 => Ok(first),
            n => Err(format!("{n} results more than one op has").into()),
        };
    }
    let mut each = vec![first];
    for result in more {
        each.push(outcome(result, &step.op, g)?);
    }
    Ok(Outcome::Each(each))
}

fn outcome(result: wire::OpResult, op: &Op, g: Geometry) -> Result<Outcome, Bad> {
    if let Op::Transfer { vectors, .. } | Op::ProcessMadvise { vectors, .. } = *op {
        return moved(result, op, vectors, g);
    }
    if let Op::Uffd { range, call } = *op {
        if call.fills() {
            return moved(result, op, range.into(), g);
        }
    }
    let accesses = match *op {
        Op::Read { range } | Op::Write { range, .. } => Some(accessed(range, g).1),
        _ => None,
    };
    match (result, accesses) {
        (wire::OpResult::Ret(0), None) => Ok(Outcome::Ok),
        (wire::OpResult::Ret(value @ -4095..=-1), None) => Ok(Outcome::Errno(-value as i32)),
        (wire::OpResult::Ret(1), None) if matches!(op, Op::Look { .. }) => Ok(Outcome::Unflagged),
        (wire::OpResult::Elsewhere, None) if may_be_elsewhere(op) => Ok(Outcome::Elsewhere),
        (
            wire::OpResult::Access {
                pages,
                values,
                fault,
            },
            Some(wanted),
        ) => {
            if pages > wanted || (fault.is_none() && pages != wanted) {
                return Err(format!("{pages} of {wanted} pages accessed").into());
            }
            let reads = matches!(op, Op::Read { .. });
            let loaded: u64 = values.iter().map(|(len, _)| u64::from(*len)).sum();
            if loaded != u64::from(if reads { pages } else { 0 }) {
                return Err(format!("{loaded} values for {pages} pages").into());
            }
            Ok(Outcome::Access(Access {
                pages,
                values: value_runs(&values),
                fault: fault.map(|f| Fault {
                    signo: f.signo,
                    code: f.code,
                    addr: f.addr,
                    key: f.key.map(key_seen),
                }),
            }))
        }
        (result, _) => Err(format!("{} cannot return {result:?}", op.name()).into()),
    }
}

/// The key of a fault.
fn key_seen(key: wire::Key) -> Key {
    match key {
        wire::Key::Own(0) => Key::Open,
        wire::Key::Own(1) => Key::NoWrite,
        wire::Key::Own(_) => Key::NoAccess,
        wire::Key::Number(0) => Key::Default,
        // Which one the kernel has taken for execute-only memory is its own business.
        wire::Key::Number(_) => Key::ExecuteOnly,
    }
}

/// Whether the kernel may choose where an op maps.
fn may_be_elsewhere(op: &Op) -> bool {
    match op {
        Op::Mmap { place, .. } => *place == Place::Hint,
        Op::Mremap { how, .. } => how.may_go_elsewhere(),
        _ => false,
    }
}

/// The outcome of a call that returns how much it did.
fn moved(result: wire::OpResult, op: &Op, vectors: Vectors, g: Geometry) -> Result<Outcome, Bad> {
    match result {
        wire::OpResult::Ret(value @ -4095..=-1) => Ok(Outcome::Errno(-value as i32)),
        wire::OpResult::Moved {
            bytes,
            values,
            stray,
        } if bytes <= vectors.bytes(g) => {
            let loads = matches!(op, Op::Transfer { way, .. } if !way.stores());
            let pages = |range: Range| range.byte_len(g) / u64::from(g.page_size) + 2;
            let most: u64 = vectors.iter().map(pages).sum();
            let loaded: u64 = values.iter().map(|(len, _)| u64::from(*len)).sum();
            if loaded > if loads { most } else { 0 } {
                return Err(format!("{loaded} values for {bytes} bytes").into());
            }
            let values = value_runs(&values);
            Ok(Outcome::Moved(Moved::of(vectors, bytes, values, stray, g)))
        }
        result => Err(format!("{} cannot return {result:?}", op.name()).into()),
    }
}

/// Loaded values as maximal runs.
fn value_runs(values: &[(u32, u64)]) -> Vec<ValueRun> {
    let mut runs: Vec<ValueRun> = Vec::with_capacity(values.len());
    for &(len, first) in values.iter().filter(|(len, _)| *len > 0) {
        let first = Content(first);
        match runs.last_mut() {
            Some(run) if run.first.is_followed_by(first, run.len) => run.len += len,
            _ => runs.push(ValueRun { len, first }),
        }
    }
    runs
}

fn space(full: wire::Space, actor: u8, g: Geometry, views: Views) -> Result<SpaceSeen, Bad> {
    let limit = g.arena_pages();
    let mut vmas = Vec::with_capacity(full.vmas.len());
    let mut free_from = 0;
    for vma in full.vmas {
        if vma.start < free_from || vma.end <= vma.start || vma.end > limit {
            return Err(format!(
                "VMA {}..{} after {free_from}, arena of {limit} pages",
                vma.start, vma.end
            )
            .into());
        }
        free_from = vma.end;
        let prot = u32::from(vma.prot);
        vmas.push(VmaSeen {
            start: vma.start,
            end: vma.end,
            prot: Prot::new(
                prot & PROT_READ != 0,
                prot & PROT_WRITE != 0,
                prot & PROT_EXEC != 0,
            ),
            shared: vma.shared,
            file_page: vma.file_page,
            flags: vma.flags.as_deref().map(pages::vm_flags).transpose()?,
            sizes: vma.sizes.map(|s| sizes::sizes(&s)).transpose()?,
        });
    }
    let pages = pages::runs(&full.pages, &vmas, actor, limit, views)?;
    sizes::compare(&vmas, &pages, actor, g, views).map_err(Bad::Disagree)?;
    scans::compare(&full.scans, &full.pages, actor, g, views)?;
    frames::compare(&full.frames, &full.pages, &vmas, actor, g)?;
    if let Some(counters) = &full.counters {
        counters::compare(counters, &vmas, actor, g, views).map_err(Bad::Disagree)?;
    }
    Ok(SpaceSeen {
        vmas,
        pages,
        resident: Some(pages::resident(&full.resident, limit)?),
    })
}
