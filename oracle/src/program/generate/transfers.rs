//! Memory that the kernel reads and writes for a caller.

use super::{Writer, GEOMETRY};
use crate::geometry::{Pos, Range};
use crate::program::{Advice, Op, Transfer, Vectors, Whose, MAX_TRANSFER_PAGES};
use crate::space::Vma;

impl Writer<'_, '_, '_> {
    /// One of the calls that move memory.
    pub fn transfer(&mut self, actor: u8) -> Op {
        let way = self.dice.weighted(&[
            (3, Transfer::PipeWrite),
            (4, Transfer::PipeRead),
            (3, Transfer::MemfdWrite),
            (4, Transfer::MemfdRead),
            (5, Transfer::VmRead),
            (4, Transfer::VmWrite),
            (3, Transfer::MemRead),
            (5, Transfer::MemWrite),
            (3, Transfer::Vmsplice),
        ]);
        let whose = match way.may_be_remote() {
            true => self.other(actor, 60),
            false => None,
        };
        let target = whose.unwrap_or(actor);
        let mut ranges: Vec<Range> = Vec::new();
        let wanted = match way.takes_several() {
            true => self.dice.weighted(&[(6, 1), (5, 2), (3, 3)]),
            false => 1,
        };
        let mut pages = MAX_TRANSFER_PAGES as i64;
        for _ in 0..wanted {
            // An unaligned range touches one page more.
            if pages < 2 {
                break;
            }
            let (range, touched) = self.buffer(target, way, pages);
            pages -= touched;
            ranges.push(range);
        }
        let any = Range::new(Pos::new(0, 0), Pos::new(0, 1));
        Op::Transfer {
            way,
            vectors: Vectors::new(&ranges).unwrap_or(any.into()),
            whose,
            tag: if way.stores() { self.next_tag } else { 0 },
        }
    }

    /// process_madvise, on oneself for the most part: there it may do anything.
    pub fn process_madvise(&mut self, actor: u8, wild: bool) -> Op {
        let root = self.program.knobs.root;
        let whose = self.other(actor, if root { 60 } else { 15 });
        let hints = [
            Advice::Cold,
            Advice::PageOut,
            Advice::WillNeed,
            Advice::Collapse,
        ];
        let often = [
            Advice::GuardInstall,
            Advice::GuardRemove,
            Advice::DontNeed,
            Advice::Free,
            Advice::PopulateWrite,
        ];
        let from: &[Advice] = match (whose, self.dice.below(10)) {
            (Some(_), 0..=7) => &hints,
            (None, 0..=1) => &hints,
            (None, 2..=7) => &often,
            _ => &Advice::ALL,
        };
        let advice = self.dice.pick(from).unwrap_or(Advice::Cold);
        let target = whose.unwrap_or(actor);
        let wanted = self.dice.weighted(&[(4, 1), (5, 2), (5, 3)]);
        let mut ranges: Vec<Range> = Vec::new();
        for _ in 0..wanted {
            let wild = wild && self.dice.chance(60);
            let range = match advice {
                Advice::Collapse => self.collapse_range(target, wild),
                _ => self.call_range(target, wild),
            };
            let forward = range.start.byte_offset(GEOMETRY) <= range.end.byte_offset(GEOMETRY);
            ranges.push(match forward {
                true => range,
                false => Range::new(range.end, range.start),
            });
        }
        let any = Range::new(Pos::new(0, 0), Pos::new(0, 1));
        Op::ProcessMadvise {
            advice,
            vectors: Vectors::new(&ranges).unwrap_or(any.into()),
            whose,
            unknown_flag: self.dice.chance(3),
        }
    }

    /// Another living actor, in so many of a hundred cases where there is one.
    pub fn other(&mut self, actor: u8, percent: u32) -> Whose {
        let mut others = self.world.living();
        others.retain(|other| *other != actor);
        let other = self.dice.pick(&others)?;
        self.dice.chance(percent).then_some(other)
    }

    /// Where this way differs from others: memory that its VMA forbids, pages that a fork has shared.
    fn special(&mut self, actor: u8, way: Transfer) -> Option<Range> {
        let vmas = self.world.vmas(actor).iter();
        let of = |v: &Vma| (i64::from(v.start), i64::from(v.end));
        let special: Vec<(i64, i64)> = match way {
            Transfer::MemWrite => vmas.filter(|v| !v.prot.write).map(of).collect(),
            Transfer::MemRead => vmas.filter(|v| !v.prot.read).map(of).collect(),
            Transfer::Vmsplice => {
                let hidden = vmas.filter(|v| v.prot.write && !v.prot.read);
                hidden.map(of).collect()
            }
            Transfer::VmRead if self.world.living().len() > 1 => self.touched.clone(),
            _ => Vec::new(),
        };
        let extent = self.dice.pick(&special)?;
        self.dice.chance(50).then(|| self.access_near(extent))
    }

    /// Bytes to move, for the most part near pages that can be accessed and across borders, and how many pages they touch: at
    /// most `most`, which are two or more.
    fn buffer(&mut self, actor: u8, way: Transfer, most: i64) -> (Range, i64) {
        let pages = match (self.special(actor, way), self.dice.chance(60)) {
            (Some(special), _) => special,
            (None, true) => self.access(actor, way.stores()),
            (None, false) => self.target_near(actor),
        };
        let start = pages.start.page_index(GEOMETRY);
        let end = pages
            .end
            .page_index(GEOMETRY)
            .clamp(start + 1, start + most - 1);
        let Range { mut start, mut end } = self.away_from_the_middle(start, end);
        end.byte = 0;
        let bytes: u32 = self.dice.below(100);
        let (from, to) = (self.byte(), self.byte());
        match bytes {
            0..=34 => {}
            35..=49 => start.byte = from,
            50..=64 => end.byte = to,
            65..=84 => (start.byte, end.byte) = (from, to),
            85..=96 => {
                // Few bytes, about the end of a page.
                let page = end;
                start = Pos {
                    page: page.page - 1,
                    byte: 4095 - self.dice.below(40) as u16,
                    ..page
                };
                end.byte = self.dice.below(40) as u16;
            }
            _ => end = start,
        }
        let touched =
            end.page_index(GEOMETRY) + i64::from(end.byte > 0) - start.page_index(GEOMETRY);
        (Range::new(start, end), touched)
    }

    /// Somewhere about a target of calls.
    fn target_near(&mut self, actor: u8) -> Range {
        let range = self.target(actor);
        let page = |p: Pos| p.page_index(GEOMETRY);
        self.access_near((
            page(range.start),
            page(range.end).max(page(range.start) + 1),
        ))
    }

    /// A byte of a page, such that something is cut.
    fn byte(&mut self) -> u16 {
        self.dice.weighted(&[
            (4, 1),
            (4, 3),
            (3, 7),
            (4, 8),
            (3, 100),
            (2, 2048),
            (3, 4081),
            (4, 4095),
        ])
    }
}
