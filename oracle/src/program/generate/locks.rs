//! Calls of the mlock family, and mseal.

use super::places::range;
use super::Writer;
use crate::geometry::Range;
use crate::program::{LockAll, LockCall, Op};
use crate::space::Locked;

/// Most pages that are locked, and so brought in, at a time; now and then it may be more.
const BROUGHT_IN: i64 = 64;

#[derive(Clone, Copy)]
enum Kind {
    Call(LockCall),
    All,
    UnlockAll,
}

impl Writer<'_, '_, '_> {
    /// Something of the mlock family.
    pub fn lock(&mut self, actor: u8, wild: bool) -> Op {
        let locked = self.world.locks(actor);
        let kind = self.dice.weighted(&[
            (30, Kind::Call(LockCall::Lock)),
            (24, Kind::Call(LockCall::LockOnFault)),
            (if locked { 34 } else { 3 }, Kind::Call(LockCall::Unlock)),
            (3, Kind::Call(LockCall::UnknownFlag)),
            (14, Kind::All),
            (if locked { 14 } else { 2 }, Kind::UnlockAll),
        ]);
        match kind {
            Kind::Call(call) => Op::Mlock {
                range: self.lock_range(actor, call, wild),
                call,
            },
            Kind::All => Op::Mlockall {
                flags: self.lock_all(),
            },
            Kind::UnlockAll => Op::Munlockall,
        }
    }

    /// What is locked, to unlock it. Large ranges come near the limit; they are cheap where nothing is brought in.
    fn lock_range(&mut self, actor: u8, call: LockCall, wild: bool) -> Range {
        if call == LockCall::LockOnFault && !wild && self.dice.chance(60) {
            return self.huge_range(actor);
        }
        if call == LockCall::Unlock && !wild && self.dice.chance(75) {
            let vmas = self.world.vmas(actor).iter();
            let locked = vmas.filter(|v| v.locked != Locked::No);
            let extents: Vec<(i64, i64)> = locked.map(|v| (v.start.into(), v.end.into())).collect();
            if let Some((start, end)) = self.dice.pick(&extents) {
                let part = i64::from(self.dice.between(1, 8));
                return match self.dice.below(3) {
                    0 => range(start, end),
                    1 => range(start, end.min(start + part)),
                    _ => range(start.max(end - part), end),
                };
            }
        }
        let range = self.call_range(actor, wild);
        let page = |p: crate::geometry::Pos| p.page_index(super::GEOMETRY);
        let long = page(range.end) - page(range.start) > BROUGHT_IN;
        if call == LockCall::Lock && long && !wild && self.dice.chance(75) {
            return self.part(actor);
        }
        range
    }

    /// Only root may lock what is there.
    fn lock_all(&mut self) -> LockAll {
        let current = if self.program.knobs.root { 60 } else { 12 };
        LockAll {
            current: self.dice.chance(current),
            future: self.dice.chance(85),
            on_fault: self.dice.chance(45),
        }
    }

    /// mseal.
    pub fn seal(&mut self, actor: u8, wild: bool) -> Op {
        Op::Mseal {
            range: self.call_range(actor, wild),
            unknown_flag: self.dice.chance(3),
        }
    }
}
