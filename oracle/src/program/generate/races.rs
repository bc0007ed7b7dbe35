//! Programs in which threads run at once: a stage of few pages around a border, a section in which guard install or remove meets
//! something else on it, and a look at what came of it. Small, so that every order of steps can be gone through. In one of four there are
//! two processes from the start, and some threads are the other's.

use super::dice::{expand, Dice};
use super::places::{range, BLOCK};
use super::SEED_BYTES;
use crate::geometry::Range;
use crate::program::{
    ActorId, Advice, Backing, File, FileMap, Knobs, Lane, MapFlags, Op, Place, Program, Prot,
    Remap, Step, Thp, UffdCall, Vectors,
};
use arbitrary::Unstructured;

/// Pages of the stage before and behind its middle.
const SIDE: i64 = 4;

/// The program of a seed, with a section of threads: the same on every machine and for every kernel.
pub fn generate_race(seed: u64) -> Program {
    let bytes = expand(seed, SEED_BYTES);
    race(&mut Unstructured::new(&bytes))
}

/// The same from bytes; short input gives a dull program, never an error.
pub fn race(bytes: &mut Unstructured<'_>) -> Program {
    Writer::new(&mut Dice::new(bytes)).write()
}

struct Writer<'d, 'u, 'b> {
    dice: &'d mut Dice<'u, 'b>,
    steps: Vec<Step>,
    thp: Thp,
    /// The middle of the stage: a border of blocks, or some page.
    middle: i64,
    backing: Backing,
    /// Memory is registered with userfaultfd.
    registered: bool,
    /// There is a child, in the end at least.
    forks: bool,
    /// There is one before the section, too, and some threads are its.
    two: bool,
    root: bool,
    next_tag: u16,
}

/// What a thread does.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Install,
    Remove,
    Store,
    Load,
    Advise(Advice),
    /// process_madvise with two ranges.
    AdviseTwo(Advice),
    /// process_madvise about the other process.
    AdviseOther(Advice),
    Look,
    Protect,
    Unmap,
    Map,
    Move,
    Fork,
    Lock,
    Seal,
    /// Of the file, if there is one.
    PunchHole,
    Truncate,
    Uffd(UffdCall),
}

/// Of the first thread: the mechanism itself.
const FIRST: &[(u32, Deed)] = &[
    (52, Deed::Install),
    (8, Deed::AdviseTwo(Advice::GuardInstall)),
    (25, Deed::Remove),
    (5, Deed::Advise(Advice::DontNeed)),
    (5, Deed::Protect),
    (5, Deed::Unmap),
];

/// Of those that meet it.
const OTHERS: &[(u32, Deed)] = &[
    (26, Deed::Store),
    (16, Deed::Load),
    (9, Deed::Install),
    (8, Deed::Remove),
    (2, Deed::AdviseTwo(Advice::GuardInstall)),
    (2, Deed::AdviseTwo(Advice::GuardRemove)),
    (5, Deed::Look),
    (7, Deed::Advise(Advice::DontNeed)),
    (3, Deed::Advise(Advice::Free)),
    (3, Deed::Advise(Advice::Cold)),
    (3, Deed::Advise(Advice::PopulateWrite)),
    (3, Deed::Advise(Advice::PopulateRead)),
    (2, Deed::Advise(Advice::DontFork)),
    (2, Deed::Advise(Advice::WipeOnFork)),
    (2, Deed::Advise(Advice::HugePage)),
    (2, Deed::Advise(Advice::Collapse)),
    (5, Deed::Fork),
    (5, Deed::Protect),
    (3, Deed::Unmap),
    (3, Deed::Map),
    (2, Deed::Move),
    (2, Deed::Lock),
    (1, Deed::Seal),
    (2, Deed::Advise(Advice::PageOut)),
];

/// Where memory is a file's, instead of those one time in four.
const OF_FILES: &[(u32, Deed)] = &[
    (3, Deed::PunchHole),
    (1, Deed::Truncate),
    (1, Deed::Advise(Advice::Remove)),
];

/// Where there are two processes that may do so, instead of those one time in four.
const OF_THE_OTHER: &[(u32, Deed)] = &[
    (2, Deed::AdviseOther(Advice::PageOut)),
    (1, Deed::AdviseOther(Advice::Cold)),
    (2, Deed::AdviseOther(Advice::Collapse)),
];

/// Where memory is registered with userfaultfd, instead of those one time in two.
const OF_UFFD: &[(u32, Deed)] = &[
    (3, Deed::Uffd(UffdCall::Protect)),
    (2, Deed::Uffd(UffdCall::Unprotect)),
    (
        3,
        Deed::Uffd(UffdCall::Copy {
            tag: 0,
            protect: false,
        }),
    ),
    (1, Deed::Uffd(UffdCall::ZeroPage)),
    (1, Deed::Uffd(UffdCall::Unregister)),
    (1, Deed::Uffd(UffdCall::RegisterBoth)),
];

impl<'d, 'u, 'b> Writer<'d, 'u, 'b> {
    fn new(dice: &'d mut Dice<'u, 'b>) -> Self {
        let border = dice.chance(50);
        let thp = match dice.chance(40) {
            true => Thp::Always,
            false => Thp::Madvise,
        };
        let file = |shared| {
            Backing::File(FileMap {
                file: File::Memfd0,
                page: 0,
                shared,
                readonly: false,
            })
        };
        let backing = match dice.below(100) {
            0..62 => Backing::PrivateAnon,
            62..80 => Backing::SharedAnon,
            80..93 => file(true),
            _ => file(false),
        };
        let two = dice.chance(25);
        Writer {
            two,
            root: two && dice.chance(30),
            thp,
            middle: if border { BLOCK } else { SIDE },
            backing,
            registered: false,
            forks: false,
            next_tag: 1,
            steps: Vec::new(),
            dice,
        }
    }

    fn write(mut self) -> Program {
        self.stage();
        self.section();
        let all = self.stage_range();
        if !self.forks && self.dice.chance(20) {
            self.forks = true;
            self.add(Op::Fork { child: 1 });
        }
        self.add(Op::Read { range: all });
        if self.forks {
            self.steps.push(Step::new(1, Op::Read { range: all }));
        }
        Program {
            knobs: Knobs {
                thp: self.thp,
                root: self.root,
                ..Knobs::default()
            },
            steps: self.steps,
            ..Program::default()
        }
    }

    fn add(&mut self, op: Op) {
        self.steps.push(Step::new(0, op));
    }

    fn tag(&mut self) -> u16 {
        self.next_tag += 1;
        self.next_tag
    }

    fn stage_range(&self) -> Range {
        range(self.middle - SIDE, self.middle + SIDE)
    }

    fn map(&self, over: Range) -> Op {
        Op::Mmap {
            range: over,
            prot: Prot::new(true, true, false),
            backing: self.backing,
            place: Place::Fixed,
            flags: MapFlags::default(),
        }
    }

    /// Mappings, some pages in use, perhaps a guard.
    fn stage(&mut self) {
        // A file is as long as the stage and not much longer.
        let huge = self.thp == Thp::Always && self.middle == BLOCK && !self.of_file();
        let over = match huge {
            true => range(0, 2 * BLOCK),
            false => self.stage_range(),
        };
        let map = self.map(over);
        self.add(map);
        if self.dice.chance(25) {
            // Another VMA in the middle of it.
            let range = self.part();
            let op = match self.dice.chance(50) {
                true => Op::Madvise {
                    range,
                    advice: Advice::DontDump,
                },
                false => Op::Mprotect {
                    range,
                    prot: Prot::new(true, false, false),
                },
            };
            self.add(op);
        }
        if self.dice.chance(80) {
            let (range, tag) = (self.part(), self.tag());
            self.add(Op::Write { range, tag });
        }
        if self.dice.chance(40) {
            let range = self.part();
            self.add(Op::Madvise {
                range,
                advice: Advice::GuardInstall,
            });
        }
        // Write protection and guards in memory of a file is a call that never returns (docs/findings.md).
        if self.backing == Backing::PrivateAnon && self.dice.chance(15) {
            self.registered = true;
            let (range, call) = (self.stage_range(), UffdCall::RegisterBoth);
            self.add(Op::Uffd { range, call });
        }
        if self.two {
            self.forks = true;
            self.add(Op::Fork { child: 1 });
            if self.dice.chance(40) {
                let op = self.advise(Advice::GuardInstall);
                self.steps.push(Step::new(1, op));
            }
        }
    }

    fn of_file(&self) -> bool {
        matches!(self.backing, Backing::File(_))
    }

    /// Some pages of the stage, those at its middle more often than others.
    fn part(&mut self) -> Range {
        let side = SIDE as u32;
        let before = i64::from(self.dice.below(side));
        let behind = i64::from(self.dice.below(side));
        let (start, end) = (self.middle - before, self.middle + behind);
        match start == end {
            true => range(start - 1, end),
            false => range(start, end),
        }
    }

    /// A page, one of those that the first thread is about more often than not.
    fn page(&mut self) -> Range {
        let first = self.steps.iter().find(|step| step.lane.is_some());
        let aim = first.and_then(|step| step.op.range()).map(|r| {
            let [start, end] = [r.start, r.end].map(|pos| pos.page_index(super::GEOMETRY));
            (start, (end - start).max(1) as u32)
        });
        let at = match aim.filter(|_| self.dice.chance(75)) {
            Some((start, pages)) => start + i64::from(self.dice.below(pages)),
            None => self.middle - 2 + i64::from(self.dice.below(4)),
        };
        range(at, at + 1)
    }

    fn section(&mut self) {
        let threads = if self.dice.chance(30) { 3 } else { 2 };
        let (first, storm) = (self.dice.weighted(FIRST), self.dice.chance(25));
        self.thread(0, 0, false, first);
        if self.dice.chance(20) {
            let deed = self.dice.weighted(FIRST);
            self.thread(0, 0, false, deed);
        }
        for number in 1..threads {
            let actor = ActorId::from(self.two && self.dice.chance(65));
            let deed = self.meets();
            let repeats =
                storm && number == 1 && matches!(deed, Deed::Store | Deed::Load | Deed::Look);
            self.thread(actor, number, repeats, deed);
            if !repeats && threads == 2 && self.dice.chance(30) {
                let deed = self.meets();
                self.thread(actor, number, false, deed);
            }
        }
    }

    /// What meets the first thread's deeds.
    fn meets(&mut self) -> Deed {
        if self.of_file() && self.dice.chance(25) {
            return self.dice.weighted(OF_FILES);
        }
        if self.root && self.dice.chance(25) {
            return self.dice.weighted(OF_THE_OTHER);
        }
        if self.registered && self.dice.chance(50) {
            return self.dice.weighted(OF_UFFD);
        }
        self.dice.weighted(OTHERS)
    }

    fn thread(&mut self, actor: ActorId, number: u8, repeats: bool, deed: Deed) {
        let mut step = Step::new(actor, self.op(actor, deed));
        step.lane = Some(Lane { number, repeats });
        self.steps.push(step);
    }

    fn op(&mut self, actor: ActorId, deed: Deed) -> Op {
        match deed {
            Deed::Install => self.advise(Advice::GuardInstall),
            Deed::Remove => self.advise(Advice::GuardRemove),
            Deed::Store => Op::Write {
                range: self.page(),
                tag: self.tag(),
            },
            Deed::Fork if self.forks => Op::Read { range: self.page() },
            Deed::Load => Op::Read { range: self.page() },
            Deed::Advise(advice) => self.advise(advice),
            Deed::AdviseTwo(advice) => self.advise_two(advice),
            Deed::AdviseOther(advice) => self.advise_other(advice, 1 - actor),
            Deed::Look => Op::Look { range: self.page() },
            Deed::Protect => Op::Mprotect {
                range: self.part(),
                prot: Prot::new(self.dice.chance(70), false, false),
            },
            Deed::Unmap => Op::Munmap { range: self.part() },
            Deed::Map => {
                let over = self.part();
                self.map(over)
            }
            Deed::Move => {
                let from = self.part();
                let pages =
                    from.end.page_index(super::GEOMETRY) - from.start.page_index(super::GEOMETRY);
                let to = 2 * BLOCK + 8;
                Op::Mremap {
                    range: from,
                    to: range(to, to + pages),
                    how: Remap::Fixed,
                }
            }
            Deed::Fork => {
                self.forks = true;
                Op::Fork { child: 1 }
            }
            Deed::Lock => Op::Mlock {
                range: self.part(),
                call: crate::program::LockCall::Lock,
            },
            Deed::Seal => Op::Mseal {
                range: self.part(),
                unknown_flag: false,
            },
            Deed::PunchHole => {
                let from = self.dice.below(2 * SIDE as u32) as u16;
                Op::PunchHole {
                    file: File::Memfd0,
                    from,
                    to: from + 1 + self.dice.below(4) as u16,
                }
            }
            Deed::Truncate => Op::Truncate {
                file: File::Memfd0,
                pages: self.dice.below(2 * SIDE as u32) as u16,
            },
            Deed::Uffd(call) if call.changes_vmas() => Op::Uffd {
                range: self.part(),
                call,
            },
            Deed::Uffd(UffdCall::Copy { protect, .. }) => Op::Uffd {
                range: self.page(),
                call: UffdCall::Copy {
                    tag: self.tag(),
                    protect,
                },
            },
            Deed::Uffd(call) => Op::Uffd {
                range: self.page(),
                call,
            },
        }
    }

    /// Where both ranges are something to do, else madvise of the first.
    fn advise_two(&mut self, advice: Advice) -> Op {
        let (first, second) = (self.part(), self.part());
        let whole =
            |r: &Range| r.start < r.end && r.start.is_page_aligned() && r.end.is_page_aligned();
        let both = [first, second];
        let vectors = Vectors::new(&both).filter(|_| both.iter().all(whole));
        match vectors {
            Some(vectors) => Op::ProcessMadvise {
                advice,
                vectors,
                whose: None,
                unknown_flag: false,
            },
            None => Op::Madvise {
                range: first,
                advice,
            },
        }
    }

    /// COLLAPSE is about a whole block, where memory is large enough for one.
    fn advise_other(&mut self, advice: Advice, other: ActorId) -> Op {
        let range = match advice {
            Advice::Collapse => range(0, BLOCK),
            _ => self.part(),
        };
        Op::ProcessMadvise {
            advice,
            vectors: range.into(),
            whose: Some(other),
            unknown_flag: false,
        }
    }

    fn advise(&mut self, advice: Advice) -> Op {
        Op::Madvise {
            range: self.part(),
            advice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;
    use crate::profile::Profile;
    use crate::race::explore;
    use crate::space::World;

    #[test]
    fn they_are_programs_with_one_section_and_most_can_be_judged() {
        let (mut judged, mut ways, mut of_two) = (0, 0, 0);
        for seed in 0..60 {
            let program = generate_race(seed);
            program
                .check_concurrent()
                .unwrap_or_else(|e| panic!("{seed}: {}\n{program}", e.message));
            assert!(program.is_concurrent());
            assert_eq!(
                Program::load_concurrent(&program.to_string()).unwrap(),
                program
            );
            let first = program.steps.iter().position(|s| s.lane.is_some()).unwrap();
            let mut world = World::new(&Profile::newest(), Geometry::K4, program.knobs)
                .with_free_pages(1 << 20);
            for step in &program.steps[..first] {
                world = world.apply(step).swap_remove(0).world;
            }
            let section = program.section(first).unwrap();
            of_two += u32::from(program.steps[section.clone()].iter().any(|s| s.actor == 1));
            if let Ok(all) = explore(&world, &program.steps[section]) {
                judged += 1;
                ways += all.finals.len();
            }
        }
        assert!(judged >= 54, "{judged} of 60 are small enough");
        assert!(of_two > 6, "{of_two} have threads of two processes");
        assert!(ways > 2 * judged, "{ways} ways of {judged} sections");
    }
}
