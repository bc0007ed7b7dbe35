//! Which op comes next.

use super::files::FileOp;
use super::places::{pos, range, ARENA, BLOCK};
use super::remaps;
use super::{Sequel, Writer};
use crate::geometry::{Range, BLOCKS};
use crate::program::{
    Advice, Backing, FileMap, HugeSwitch, KeyGiven, MapFlags, Op, Place, Prot, Thp, MAX_ACTORS,
    MAX_FILE_PAGE,
};

/// Percentage of ops that are wild: misaligned, empty, wrapped, in holes or margins.
const WILD: u32 = 9;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Mmap,
    Munmap,
    Brk,
    Mprotect,
    PkeyMprotect,
    Mremap,
    Advice(Advice),
    /// One of [`HINTS`].
    Hint,
    /// Of the mlock family.
    Lock,
    Seal,
    ClearSoftDirty,
    SwitchHuge,
    /// An op on a file itself.
    File(FileOp),
    Read,
    Write,
    /// The kernel reads or writes.
    Transfer,
    ProcessMadvise,
    Uffd,
    Fork,
    Exit,
}

/// Most pages that a mapping with MAP_POPULATE has.
const POPULATED: i64 = 64;

/// Advice that sets flags or does nothing, by weight.
const HINTS: [(u32, Advice); 14] = [
    (2, Advice::Normal),
    (2, Advice::Random),
    (2, Advice::Sequential),
    (2, Advice::WillNeed),
    (5, Advice::DontFork),
    (2, Advice::DoFork),
    (6, Advice::WipeOnFork),
    (2, Advice::KeepOnFork),
    (2, Advice::DontDump),
    (2, Advice::DoDump),
    (3, Advice::Mergeable),
    (2, Advice::Unmergeable),
    (2, Advice::DontNeedLocked),
    (1, Advice::Unknown),
];

/// Percent of the ops that a userfaultfd tells of, where userfaultfds tell events and memory is registered.
const TELLING: u32 = 35;

impl Writer<'_, '_, '_> {
    /// One of the mappings that a program starts with.
    pub fn first_mmap(&mut self) -> Op {
        let range = self.new_mapping();
        let backing = self.backing();
        let readonly = matches!(backing, Backing::File(map) if map.shared && map.readonly);
        Op::Mmap {
            range: self.fitted(range, backing),
            prot: match self.dice.chance(80) {
                true if readonly => Prot::R,
                true => Prot::RW,
                false => self.prot(),
            },
            backing,
            place: Place::Fixed,
            flags: MapFlags {
                noreserve: matches!(backing, Backing::Hugetlb { .. }),
                ..MapFlags::default()
            },
        }
    }

    /// The next op of an actor, and whether it is a wild one.
    pub fn choose_op(&mut self, actor: u8) -> (Op, bool) {
        if self.program.knobs.uffd_events && self.dice.chance(TELLING) {
            if let Some(op) = self.telling(actor) {
                return (self.that_ends(actor, op), false);
            }
        }
        let living = self.world.living().len();
        let may_fork = self.next_actor < MAX_ACTORS;
        // A fork is worth more when there is something to inherit, or not to.
        let guarded = !self.world.guards(actor).is_empty();
        let mut vmas = self.world.vmas(actor).iter();
        let special = vmas.any(|v| v.hints.wipe_on_fork || v.hints.dont_fork);
        let fork = match (may_fork, guarded || special) {
            (false, _) => 0,
            (true, false) => 5,
            (true, true) => 12,
        };
        // So is one where children have keys or a heap of their parent's.
        let inherits = may_fork && (self.heap || self.keys);
        let fork = fork + if inherits { 3 } else { 0 };
        let locked = self.world.locks(actor);
        let huge_mode = self.program.knobs.thp == Thp::Madvise;
        let hugepage = if huge_mode && !self.whole_blocks(actor).is_empty() {
            8
        } else {
            2
        };
        let file = |weight| if self.files { weight } else { 0 };
        let kind = self.dice.weighted(&[
            (9, Kind::Mmap),
            (5, Kind::Munmap),
            (if self.heap { 16 } else { 0 }, Kind::Brk),
            (11, Kind::Mprotect),
            (if self.keys { 14 } else { 0 }, Kind::PkeyMprotect),
            (5, Kind::Mremap),
            (20, Kind::Advice(Advice::GuardInstall)),
            (
                if guarded { 8 } else { 2 },
                Kind::Advice(Advice::GuardRemove),
            ),
            (7, Kind::Advice(Advice::DontNeed)),
            (hugepage, Kind::Advice(Advice::HugePage)),
            (2, Kind::Advice(Advice::NoHugePage)),
            (3, Kind::Advice(Advice::Free)),
            (2, Kind::Advice(Advice::Cold)),
            (2, Kind::Advice(Advice::PageOut)),
            (2, Kind::Advice(Advice::PopulateRead)),
            (2, Kind::Advice(Advice::PopulateWrite)),
            (3, Kind::Advice(Advice::Collapse)),
            (9, Kind::Hint),
            (if locked { 9 } else { 4 }, Kind::Lock),
            (2, Kind::Seal),
            (3, Kind::ClearSoftDirty),
            (3, Kind::SwitchHuge),
            (if self.files { 6 } else { 2 }, Kind::Advice(Advice::Remove)),
            (file(8), Kind::File(FileOp::Truncate)),
            (file(8), Kind::File(FileOp::PunchHole)),
            (file(10), Kind::File(FileOp::Seal)),
            (13, Kind::Read),
            (23, Kind::Write),
            (10, Kind::Transfer),
            (4, Kind::ProcessMadvise),
            (if self.uffd { 30 } else { 0 }, Kind::Uffd),
            (fork, Kind::Fork),
            (if living > 1 { 9 } else { 0 }, Kind::Exit),
        ]);
        let wild = self.dice.chance(WILD);
        let op = self.op(kind, actor, wild);
        (self.that_ends(actor, op), wild)
    }

    /// Now and then, what the last step suggests: an access that shows what it did.
    pub fn think_of_sequel(&mut self) -> Option<Sequel> {
        let last = self.program.steps.last()?;
        let (actor, op) = (last.actor, last.op);
        let chance = match op {
            Op::Fork { .. } => 75,
            Op::Mmap { .. } => 35,
            Op::Mremap { .. } => 40,
            Op::PkeyMprotect { .. } => 60,
            Op::Uffd { call, .. } if call.registers() => 70,
            Op::Uffd { .. } => 50,
            Op::Madvise { advice, .. } => match advice {
                Advice::HugePage | Advice::DontNeed | Advice::DontNeedLocked => 50,
                Advice::GuardInstall | Advice::GuardRemove => 20,
                Advice::NoHugePage => 10,
                Advice::Collapse => 40,
                Advice::Free => 60,
                _ => 0,
            },
            _ => 0,
        };
        if !self.dice.chance(chance) {
            return None;
        }
        if matches!(op, Op::Uffd { call, .. } if call.registers()) && self.dice.chance(70) {
            // What is registered is there to be moved to.
            let op = self.uffd_move(actor, false);
            let op = self.that_ends(actor, op);
            return Some(Sequel { actor, op });
        }
        if let Op::Madvise {
            range,
            advice: Advice::Free,
        } = op
        {
            // What was freed shows when the kernel is asked to take it.
            if self.dice.chance(40) {
                let op = Op::Madvise {
                    range,
                    advice: Advice::PageOut,
                };
                return Some(Sequel { actor, op });
            }
        }
        let (actor, near) = match op {
            // Parent or child, where something was touched before.
            Op::Fork { child } => {
                let touched = self.touched.clone();
                let near = self.dice.pick(&touched)?;
                (self.dice.pick(&[actor, child])?, near)
            }
            Op::Mremap { range, to, how } => (actor, remaps::result(range, to, how)),
            _ => {
                let range = op.range()?;
                let page = |p: crate::geometry::Pos| p.page_index(super::GEOMETRY);
                (actor, (page(range.start), page(range.end)))
            }
        };
        let write = self.dice.chance(match op {
            Op::Fork { .. } | Op::Mmap { .. } => 80,
            Op::Madvise {
                advice: Advice::DontNeed,
                ..
            } => 30,
            _ => 60,
        });
        let range = self.access_near(near);
        let tag = self.next_tag;
        let op = if write {
            Op::Write { range, tag }
        } else {
            Op::Read { range }
        };
        self.world
            .living()
            .contains(&actor)
            .then_some(Sequel { actor, op })
    }

    fn op(&mut self, kind: Kind, actor: u8, wild: bool) -> Op {
        match kind {
            Kind::Mmap if wild => {
                let range = self.wild_mapping();
                self.mmap(range, None)
            }
            Kind::Mmap => {
                let range = self.next_mapping(actor);
                let like = self.neighbour_of(actor, range);
                self.mmap(range, like.map(|like| (like, range)))
            }
            Kind::Munmap => Op::Munmap {
                range: self.call_range(actor, wild),
            },
            Kind::Brk => self.brk(actor),
            Kind::Mprotect => match self.neighbours(actor) {
                // Two VMAs that may become one again.
                Some((range, prot)) if !wild && self.dice.chance(40) => {
                    Op::Mprotect { range, prot }
                }
                _ => match self.forever_readonly(actor) {
                    // What may never be written: does mprotect know?
                    Some(range) if !wild && self.dice.chance(50) => Op::Mprotect {
                        range,
                        prot: Prot::RW,
                    },
                    _ => Op::Mprotect {
                        range: self.call_range(actor, wild),
                        prot: self.prot(),
                    },
                },
            },
            Kind::PkeyMprotect => Op::PkeyMprotect {
                range: self.call_range(actor, wild),
                prot: self.prot(),
                key: self.dice.weighted(&[
                    (8, KeyGiven::Open),
                    (12, KeyGiven::NoWrite),
                    (12, KeyGiven::NoAccess),
                    (6, KeyGiven::Default),
                    (3, KeyGiven::AsIs),
                    (1, KeyGiven::Unknown),
                ]),
            },
            Kind::Mremap => self.mremap(actor, wild),
            Kind::Hint => Op::Madvise {
                range: self.call_range(actor, wild),
                advice: self.dice.weighted(&HINTS),
            },
            Kind::File(op) => self.file_op(op),
            Kind::Advice(Advice::Collapse) => self.collapse(actor, wild),
            Kind::Advice(advice) => {
                let flag = matches!(advice, Advice::HugePage | Advice::NoHugePage);
                let range = if flag && !wild && self.dice.chance(60) {
                    self.huge_range(actor)
                } else {
                    self.call_range(actor, wild)
                };
                Op::Madvise { range, advice }
            }
            Kind::Lock => self.lock(actor, wild),
            Kind::Seal => self.seal(actor, wild),
            Kind::ClearSoftDirty => Op::ClearSoftDirty,
            Kind::SwitchHuge => Op::SwitchHuge(self.dice.weighted(&[
                (10, HugeSwitch::Off),
                (8, HugeSwitch::OffUnlessAdvised),
                (8, HugeSwitch::On),
                (1, HugeSwitch::UnknownFlag),
            ])),
            Kind::Read => Op::Read {
                range: self.access(actor, false),
            },
            Kind::Write => Op::Write {
                range: self.access(actor, true),
                tag: self.next_tag,
            },
            Kind::Transfer => self.transfer(actor),
            Kind::ProcessMadvise => self.process_madvise(actor, wild),
            Kind::Uffd => self.uffd(actor, wild),
            Kind::Fork => Op::Fork {
                child: self.next_actor,
            },
            Kind::Exit => Op::Exit,
        }
    }

    /// A new mapping, more often than not like the VMA beside it, with which it may then merge.
    fn mmap(&mut self, range: Range, like: Option<((Prot, Backing), Range)>) -> Op {
        let (mut prot, mut backing) = (self.prot(), self.backing());
        let mut range = self.fitted(range, backing);
        if let Some(like) = like.filter(|_| self.dice.chance(65)) {
            (prot, backing) = like.0;
            range = like.1;
        }
        if matches!(backing, Backing::File(map) if map.shared && map.readonly && prot.write) {
            // EACCES: now and then will do.
            prot.write = self.dice.chance(30);
        }
        let place =
            self.dice
                .weighted(&[(73, Place::Fixed), (18, Place::Hint), (9, Place::NoReplace)]);
        let page = |p: crate::geometry::Pos| p.page_index(super::GEOMETRY);
        let small = page(range.end) - page(range.start) <= POPULATED;
        let noreserve = match backing {
            Backing::Hugetlb { .. } => 90,
            _ => 8,
        };
        let flags = MapFlags {
            populate: place != Place::Hint && small && self.dice.chance(9),
            noreserve: self.dice.chance(noreserve),
            stack: self.dice.chance(5),
            locked: place != Place::Hint && self.dice.chance(if small { 6 } else { 4 }),
        };
        Op::Mmap {
            range,
            prot,
            backing,
            place,
            flags,
        }
    }

    /// Protection and backing of the VMA that ends where the range starts, or starts where it ends.
    fn neighbour_of(&self, actor: u8, range: Range) -> Option<(Prot, Backing)> {
        let page = |p: crate::geometry::Pos| p.page_index(super::GEOMETRY);
        let (start, end) = (page(range.start), page(range.end));
        let mut vmas = self.world.vmas(actor).iter();
        let vma = vmas.find(|v| i64::from(v.end) == start || i64::from(v.start) == end)?;
        let file = self.world.file_of(vma);
        let backing = match (file, vma.shared) {
            (Some(map), _) => {
                // The file goes on where the memory does.
                let page = i64::from(map.page) + start - i64::from(vma.start);
                let page = u16::try_from(page).ok().filter(|p| *p <= MAX_FILE_PAGE)?;
                Backing::File(FileMap { page, ..map })
            }
            (None, shared) if vma.hugetlb => Backing::Hugetlb { shared },
            (None, true) => Backing::SharedAnon,
            (None, false) if vma.droppable => Backing::Droppable,
            (None, false) => Backing::PrivateAnon,
        };
        Some((vma.prot, backing))
    }

    /// A VMA and the protection of the one beside it, where there are such.
    fn neighbours(&mut self, actor: u8) -> Option<(Range, Prot)> {
        let mut pairs: Vec<(Range, Prot)> = Vec::new();
        for pair in self.world.vmas(actor).windows(2) {
            let [a, b] = pair else { continue };
            if a.end == b.start && a.prot != b.prot {
                let of = |v: &crate::space::Vma| range(v.start.into(), v.end.into());
                pairs.extend([(of(a), b.prot), (of(b), a.prot)]);
            }
        }
        self.dice.pick(&pairs)
    }

    /// A VMA that cannot be made writable, where there is one.
    fn forever_readonly(&mut self, actor: u8) -> Option<Range> {
        let vmas = self.world.vmas(actor).iter().filter(|v| !v.may_write);
        let ranges: Vec<Range> = vmas.map(|v| range(v.start.into(), v.end.into())).collect();
        self.dice.pick(&ranges)
    }

    fn backing(&mut self) -> Backing {
        // Not the first of all, which most of what follows will be about.
        if self.hugetlb && !self.program.steps.is_empty() && self.dice.chance(30) {
            return self.hugetlb_backing();
        }
        if self.files && self.dice.chance(65) {
            return Backing::File(self.file_map());
        }
        self.dice.weighted(&[
            (70, Backing::PrivateAnon),
            (7, Backing::Droppable),
            (23, Backing::SharedAnon),
        ])
    }

    /// All eight protections, those that programs use more often.
    fn prot(&mut self) -> Prot {
        self.dice.weighted(&[
            (51, Prot::RW),
            (17, Prot::R),
            (15, Prot::NONE),
            (4, Prot::new(true, true, true)),
            (4, Prot::new(true, false, true)),
            (3, Prot::new(false, true, false)),
            (3, Prot::new(false, false, true)),
            (3, Prot::new(false, true, true)),
        ])
    }

    pub fn call_range(&mut self, actor: u8, wild: bool) -> Range {
        if wild {
            self.wild_range(actor)
        } else {
            self.target(actor)
        }
    }

    /// A block, or a VMA that holds one: where huge-page advice matters.
    pub fn huge_range(&mut self, actor: u8) -> Range {
        let blocks = self.whole_blocks(actor);
        match self.dice.pick(&blocks) {
            Some((start, end)) => range(start, end),
            None => self.target(actor),
        }
    }

    /// A mapping at a place of its own: small, across a PMD border, whole blocks, or a block with some pages around it.
    fn new_mapping(&mut self) -> Range {
        let blocks = i64::from(BLOCKS);
        let block = i64::from(self.dice.below(BLOCKS.into()));
        let few = |w: &mut Self| i64::from(w.dice.between(1, 10));
        match self.dice.below(100) {
            0..=29 => {
                let shift = few(self) - 1;
                let start = block * BLOCK + if self.dice.chance(50) { 0 } else { shift };
                let len = few(self) + few(self) / 2;
                range(start, start + len)
            }
            30..=37 => {
                // The arena's end.
                range(ARENA - few(self), ARENA)
            }
            38..=52 => {
                let border = (1 + block.min(blocks - 2)) * BLOCK;
                range(border - few(self), border + few(self))
            }
            53..=81 => range(block * BLOCK, (block + 1) * BLOCK),
            82..=92 => {
                let end = ((block + 2) * BLOCK).min(ARENA);
                range(block * BLOCK, end)
            }
            _ => {
                let start = (block * BLOCK - few(self)).max(0);
                let end = ((block + 1) * BLOCK + few(self)).min(ARENA);
                range(start, end)
            }
        }
    }

    /// A mapping that has to do with what is there: fills a hole, continues or replaces a VMA, or stands on its own.
    fn next_mapping(&mut self, actor: u8) -> Range {
        let vmas = self.vma_extents(actor);
        let small_hole = |(s, e): &(i64, i64)| e - s <= 64;
        let holes: Vec<(i64, i64)> = self.holes(actor).into_iter().filter(small_hole).collect();
        let clamp = |r: (i64, i64)| {
            let start = r.0.clamp(0, ARENA - 1);
            range(start, r.1.clamp(start + 1, ARENA))
        };
        match (self.dice.below(100), self.dice.pick(&vmas)) {
            (0..=27, _) if !holes.is_empty() => {
                let hole = self.dice.pick(&holes).unwrap_or((0, 1));
                clamp(hole)
            }
            (0..=49, Some((_, end))) => {
                let len = i64::from(self.dice.between(1, 6));
                clamp((end, end + len))
            }
            (50..=74, Some(_)) => {
                let r = self.target(actor);
                let page = |p: crate::geometry::Pos| p.page_index(super::GEOMETRY);
                clamp((page(r.start), page(r.end)))
            }
            _ => self.new_mapping(),
        }
    }

    /// What a caller gets wrong: a start or an end inside a page, no length, a length that wraps, holes, the margins.
    fn wild_range(&mut self, actor: u8) -> Range {
        let mut range_ = self.target(actor);
        match self.dice.below(10) {
            0 | 1 => range_.start.byte = self.wild_byte(),
            2 => range_.end.byte = self.wild_byte(),
            3 => {
                // The whole range is moved into its pages.
                range_.start.byte = self.wild_byte();
                range_.end.byte = range_.start.byte;
            }
            4 => range_.end = range_.start,
            5 => {
                range_.start.byte = self.wild_byte();
                range_.end = range_.start;
            }
            6 => std::mem::swap(&mut range_.start, &mut range_.end),
            7 => {
                let holes = self.holes(actor);
                if let Some((start, end)) = self.dice.pick(&holes) {
                    let len = i64::from(self.dice.between(1, 4)).min(end - start);
                    range_ = range(start, start + len);
                }
            }
            8 => {
                let into = i64::from(self.dice.between(1, 6));
                let out = i64::from(self.dice.between(1, 6));
                range_ = if self.dice.chance(50) {
                    range(-out, into)
                } else {
                    range(ARENA - into, ARENA + out)
                };
            }
            _ => {
                let out = i64::from(self.dice.between(1, 3));
                range_ = if self.dice.chance(50) {
                    range(-out - 2, -out)
                } else {
                    range(ARENA + out, ARENA + out + 2)
                };
            }
        }
        range_
    }

    /// As [`Self::wild_range`], for mmap, which has to stay inside the arena.
    fn wild_mapping(&mut self) -> Range {
        let mut range_ = self.new_mapping();
        match self.dice.below(5) {
            0 | 1 => range_.start.byte = self.wild_byte(),
            2 => {
                // Ends inside the last page of the arena at most.
                let end = range_.end.page_index(super::GEOMETRY);
                range_.end = pos(end - 1);
                range_.end.byte = self.wild_byte();
            }
            3 => range_.end = range_.start,
            _ if range_.end.page_index(super::GEOMETRY) < ARENA => {
                std::mem::swap(&mut range_.start, &mut range_.end);
            }
            _ => range_.end = range_.start,
        }
        range_
    }

    pub(super) fn wild_byte(&mut self) -> u16 {
        self.dice.weighted(&[(3, 1), (3, 4095), (2, 8), (2, 2048)])
    }
}
