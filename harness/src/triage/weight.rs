//! Which of two programs is the simpler one.

use oracle::geometry::{Geometry, Pos};
use oracle::judge::Outcome;
use oracle::profile::Profile;
use oracle::program::{
    Backing, HugeSwitch, KeyGiven, Knobs, Lane, LockCall, Op, Place, Program, Prot, Remap, Seals,
    Transfer, UffdCall,
};
use oracle::space::World;
use std::collections::BTreeSet;

/// How much there is in a program: the fields count in this order, the first that differs decides. Every candidate is lighter
/// than the program that it would take the place of, so minimizing ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight {
    pub ops: usize,
    /// Threads of sections, those that repeat twice, and the steps of threads.
    pub threads: usize,
    /// Children made by fork.
    pub forks: usize,
    /// Ops that fail or fault on the newest kernel, as the model has it: what nobody has to wonder about is simpler.
    pub failing: usize,
    /// Expectations, comment lines, needs, knobs that are not at their default, allocations that fail.
    pub extras: usize,
    /// Ranges that wrap around (2) or are empty (1).
    pub odd: usize,
    /// Ends of ranges that are not at a page's start.
    pub ragged: usize,
    /// Ops that are not the plainest of their kind: shared memory, files, hints, writes (a read does less).
    pub kinds: usize,
    /// Ops by children, and the numbers of children and of threads.
    pub actors: usize,
    /// Pages in all ranges.
    pub pages: u64,
    /// Different places that ranges begin or end at.
    pub cuts: usize,
    /// Read is 1, write 2, execute 4.
    pub prots: usize,
    /// How far the ends of ranges lie from the arena's start (first by block, then by pages and bytes).
    pub places: u64,
    /// Ops that stand before an mmap, mmaps before one of a lower place.
    pub order: usize,
    pub tags: u64,
}

/// A block further on counts as much as this many pages.
const BLOCK: u64 = 1 << 20;

impl Weight {
    /// Weighs a program; lengths are those on a kernel of this geometry.
    pub fn of(program: &Program, g: Geometry) -> Weight {
        let mut w = Weight {
            ops: program.steps.len(),
            threads: threads(program),
            forks: 0,
            failing: failing(program, g),
            extras: program.about.len()
                + program.trailer.len()
                + program.needs.len()
                + knobs(&program.knobs),
            odd: 0,
            ragged: 0,
            kinds: 0,
            actors: 0,
            pages: 0,
            cuts: 0,
            prots: 0,
            places: 0,
            order: order(program, g),
            tags: 0,
        };
        let mut cuts = BTreeSet::new();
        for step in &program.steps {
            w.extras += step.expect.len() + step.comments.len();
            w.extras += usize::from(step.fail.is_some());
            w.tags += u64::from(step.fail.unwrap_or(0));
            w.actors += usize::from(step.actor);
            w.actors += step.lane.map_or(0, |lane| usize::from(lane.number));
            match step.op {
                Op::Mmap {
                    prot,
                    backing,
                    place,
                    flags,
                    ..
                } => {
                    w.prots += bits(prot);
                    w.kinds += backing_kind(backing);
                    w.kinds += usize::from(place != Place::Fixed);
                    w.kinds += usize::from(flags.populate)
                        + usize::from(flags.noreserve)
                        + usize::from(flags.stack)
                        + usize::from(flags.locked);
                }
                Op::Mprotect { prot, .. } => w.prots += bits(prot),
                Op::Mremap { how, .. } => w.kinds += usize::from(how != Remap::Fixed),
                Op::Write { tag, .. } => {
                    w.kinds += 1;
                    w.tags += u64::from(tag);
                }
                Op::Transfer {
                    way,
                    vectors,
                    whose,
                    tag,
                    ..
                } => {
                    // The plainest first.
                    w.kinds += 2 + Transfer::ALL
                        .iter()
                        .take_while(|other| **other != way)
                        .count();
                    w.kinds += vectors.iter().count() - 1 + usize::from(whose.is_some());
                    w.actors += usize::from(whose.unwrap_or(0));
                    w.tags += u64::from(tag);
                }
                Op::ProcessMadvise {
                    vectors,
                    whose,
                    unknown_flag,
                    ..
                } => {
                    w.kinds += 1 + usize::from(unknown_flag);
                    w.kinds += vectors.iter().count() - 1 + usize::from(whose.is_some());
                    w.actors += usize::from(whose.unwrap_or(0));
                }
                Op::Fork { child } => {
                    w.forks += 1;
                    w.actors += usize::from(child);
                }
                Op::Uffd { call, .. } => {
                    let name = |other: &&UffdCall| other.name() != call.name();
                    w.kinds += UffdCall::ALL.iter().take_while(name).count();
                    if let UffdCall::Copy { tag, .. } = call {
                        w.tags += u64::from(tag);
                    }
                }
                Op::Mlock { call, .. } => w.kinds += usize::from(call != LockCall::Lock),
                Op::Mlockall { flags } => {
                    w.kinds += usize::from(flags.current)
                        + usize::from(flags.future)
                        + usize::from(flags.on_fault);
                }
                Op::SwitchHuge(how) => {
                    w.kinds += match how {
                        HugeSwitch::Off => 0,
                        HugeSwitch::OffUnlessAdvised => 1,
                        HugeSwitch::UnknownFlag => 2,
                        HugeSwitch::On => 3,
                    }
                }
                Op::Mseal { unknown_flag, .. } => w.kinds += usize::from(unknown_flag),
                Op::Truncate { file, pages } => {
                    w.kinds += 1 + file.index();
                    w.tags += u64::from(pages);
                }
                Op::PunchHole { file, from, to } => {
                    w.kinds += 1 + file.index();
                    w.tags += u64::from(from) + u64::from(to);
                }
                Op::Seal { file, seals } => {
                    let all = Seals::EACH.iter();
                    w.kinds += file.index() + all.filter(|(_, s)| seals.has(*s)).count();
                }
                Op::PkeyMprotect { prot, key, .. } => {
                    w.prots += bits(prot);
                    let name = |other: &&(&str, KeyGiven)| other.1 != key;
                    w.kinds += 1 + KeyGiven::ALL.iter().take_while(name).count();
                }
                Op::Brk { to } => {
                    w.places += place_of(to);
                    w.ragged += usize::from(!to.is_page_aligned());
                }
                Op::Munmap { .. }
                | Op::Madvise { .. }
                | Op::Munlockall
                | Op::ClearSoftDirty
                | Op::Look { .. }
                | Op::Signal { .. }
                | Op::Read { .. }
                | Op::Exit => {}
            }
            for range in step.op.ranges() {
                w.odd += match range.start.byte_offset(g).cmp(&range.end.byte_offset(g)) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Equal => 1,
                    std::cmp::Ordering::Greater => 2,
                };
                w.pages += range.start.page_index(g).abs_diff(range.end.page_index(g));
                for pos in [range.start, range.end] {
                    cuts.insert(pos);
                    w.ragged += usize::from(!pos.is_page_aligned());
                    w.places += place_of(pos);
                }
            }
        }
        w.cuts = cuts.len();
        w
    }
}

/// Of each section the threads, with those that repeat counted twice, and the steps that belong to threads.
fn threads(program: &Program) -> usize {
    let mut threads = 0;
    let mut here: BTreeSet<Lane> = BTreeSet::new();
    for step in &program.steps {
        match step.lane {
            Some(lane) => {
                threads += 1;
                if here.insert(lane) {
                    threads += 1 + usize::from(lane.repeats);
                }
            }
            None => here.clear(),
        }
    }
    threads
}

/// How far from private anonymous memory.
fn backing_kind(backing: Backing) -> usize {
    match backing {
        Backing::PrivateAnon => 0,
        Backing::SharedAnon | Backing::Droppable => 1,
        Backing::Hugetlb { shared } => 1 + usize::from(shared),
        Backing::File(map) => {
            2 + map.file.index()
                + usize::from(map.shared)
                + usize::from(map.readonly)
                + usize::from(map.page > 0)
        }
    }
}

fn place_of(pos: Pos) -> u64 {
    let margin = u64::from(pos.block == 0 && pos.page < 0);
    (u64::from(pos.block) + margin) * BLOCK
        + u64::from(pos.page.unsigned_abs()) * 2
        + u64::from(pos.byte)
}

fn bits(prot: Prot) -> usize {
    usize::from(prot.read) + 2 * usize::from(prot.write) + 4 * usize::from(prot.exec)
}

fn knobs(knobs: &Knobs) -> usize {
    let plain = Knobs::default();
    [
        knobs.thp != plain.thp,
        knobs.shmem_thp != plain.shmem_thp,
        knobs.khugepaged != plain.khugepaged,
        knobs.ksm != plain.ksm,
        knobs.swap != plain.swap,
        knobs.root != plain.root,
        knobs.uffd_events != plain.uffd_events,
    ]
    .into_iter()
    .filter(|set| *set)
    .count()
}

/// Ops whose most usual outcome is an error or a fault.
fn failing(program: &Program, g: Geometry) -> usize {
    let mut world = World::new(&Profile::newest(), g, program.knobs);
    let mut failing = 0;
    for step in &program.steps {
        // An actor that does not live does nothing; such a program is never run.
        if !world.living().contains(&step.actor) {
            continue;
        }
        let Some(branch) = world.apply(step).into_iter().next() else {
            continue;
        };
        failing += usize::from(match branch.outcome {
            Outcome::Ok
            | Outcome::Elsewhere
            | Outcome::Unflagged
            | Outcome::Each(_)
            | Outcome::Together(_) => false,
            Outcome::Errno(_) => true,
            Outcome::Access(access) => access.fault.is_some(),
            Outcome::Moved(moved) => !moved.all,
        });
        world = branch.world;
    }
    failing
}

/// Pairs of steps that stand the wrong way round: mappings come first, lower ones before higher ones.
fn order(program: &Program, g: Geometry) -> usize {
    let rank = |op: &Op| match op {
        Op::Mmap { range, .. } => range.start.byte_offset(g),
        _ => i64::MAX,
    };
    let ranks: Vec<i64> = program.steps.iter().map(|s| rank(&s.op)).collect();
    ranks
        .iter()
        .enumerate()
        .map(|(i, later)| ranks[..i].iter().filter(|earlier| *earlier > later).count())
        .sum()
}
