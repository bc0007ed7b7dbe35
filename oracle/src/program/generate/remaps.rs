//! mremap: what is resized or moved, and where to.

use super::places::{pos, range, ARENA, BLOCK};
use super::{Writer, GEOMETRY};
use crate::geometry::Range;
use crate::program::{Op, Remap};
use crate::space::Locked;

/// Forms of an mremap that can succeed.
#[derive(Clone, Copy)]
enum Form {
    Shrink,
    Grow,
    Move,
    Resize,
    DontUnmap,
    Many,
    Duplicate,
    Same,
}

impl Writer<'_, '_, '_> {
    /// An mremap of the actor.
    pub fn mremap(&mut self, actor: u8, wild: bool) -> Op {
        if wild {
            return self.wild_mremap(actor);
        }
        let form = self.dice.weighted(&[
            (11, Form::Shrink),
            (22, Form::Grow),
            (30, Form::Move),
            (8, Form::Resize),
            (15, Form::DontUnmap),
            (16, Form::Many),
            (3, Form::Duplicate),
            (1, Form::Same),
        ]);
        let (start, end) = self.remapped(actor, form);
        let len = end - start;
        let few = i64::from(self.dice.between(1, 6));
        match form {
            Form::Shrink => {
                let left = (len - few).max(1);
                let how = self.dice.weighted(&[(3, Remap::Stay), (1, Remap::MayMove)]);
                mremap((start, end), (start, start + left), how)
            }
            Form::Grow => {
                let how = self.dice.weighted(&[(2, Remap::Stay), (3, Remap::MayMove)]);
                let new_end = (end + few).min(ARENA);
                mremap((start, end), (start, new_end), how)
            }
            Form::Move | Form::Many => {
                let to = self.place_for(actor, (start, end), len);
                mremap((start, end), (to, to + len), Remap::Fixed)
            }
            Form::Resize => {
                let new = if self.dice.chance(60) {
                    len + few
                } else {
                    (len - few).max(1)
                };
                let new = new.min(ARENA);
                let to = self.place_for(actor, (start, end), new);
                mremap((start, end), (to, to + new), Remap::Fixed)
            }
            Form::DontUnmap => {
                let to = self.place_for(actor, (start, end), len);
                let how = self
                    .dice
                    .weighted(&[(2, Remap::FixedDontUnmap), (3, Remap::DontUnmap)]);
                mremap((start, end), (to, to + len), how)
            }
            Form::Duplicate => {
                let to = self.place_for(actor, (start, start), few);
                let how = self
                    .dice
                    .weighted(&[(4, Remap::Fixed), (1, Remap::MayMove)]);
                let to = if how.has_target() { to } else { start };
                mremap((start, start), (to, (to + few).min(ARENA)), how)
            }
            Form::Same => mremap((start, end), (start, end), Remap::MayMove),
        }
    }

    /// The pages that are remapped.
    fn remapped(&mut self, actor: u8, form: Form) -> (i64, i64) {
        let vmas = self.world.vmas(actor).to_vec();
        let extent = |v: &crate::space::Vma| (i64::from(v.start), i64::from(v.end));
        let shared: Vec<_> = vmas.iter().filter(|v| v.shared).map(extent).collect();
        let all: Vec<_> = vmas.iter().map(extent).collect();
        let locks = vmas.iter().filter(|v| v.locked != Locked::No);
        let locked: Vec<_> = locks.map(extent).collect();
        // What is not at home, at the offset that it was mapped at, may go back there.
        let away: Vec<_> = vmas
            .iter()
            .filter(|v| !v.shared && v.anon_pgoff != v.start)
            .map(extent)
            .collect();
        let chosen = match form {
            Form::Duplicate => self.dice.pick(&shared),
            Form::Move if self.dice.chance(40) => self.dice.pick(&away),
            // What is added to locked memory is locked.
            Form::Grow if self.dice.chance(50) => self.dice.pick(&locked),
            _ => None,
        };
        let Some((start, end)) = chosen.or_else(|| self.dice.pick(&all)) else {
            return (0, 4);
        };
        let inside = |w: &mut Self| {
            let far = w.dice.below((end - start).min(8) as u32);
            start + i64::from(far)
        };
        match form {
            Form::Many => {
                let last = all.iter().map(|(_, e)| *e).filter(|e| *e > end);
                let ends: Vec<i64> = last.collect();
                let far = self.dice.pick(&ends).unwrap_or(end);
                (inside(self), far)
            }
            Form::Grow if self.dice.chance(90) => (inside(self), end),
            Form::Shrink | Form::Move | Form::DontUnmap if self.dice.chance(60) => (start, end),
            _ => {
                let from = inside(self);
                let room = (end - from).min(12) as u32;
                (from, from + i64::from(self.dice.between(1, room)))
            }
        }
    }

    /// Moves memory of an actor, which is one mapping's, to a place of its own.
    pub fn move_of(&mut self, actor: u8, part: Range) -> Op {
        let page = |p: crate::geometry::Pos| p.page_index(GEOMETRY);
        let from = (page(part.start), page(part.end));
        let len = from.1 - from.0;
        let to = self.place_for(actor, from, len);
        let how = self.dice.weighted(&[
            (5, Remap::Fixed),
            (2, Remap::DontUnmap),
            (1, Remap::FixedDontUnmap),
        ]);
        mremap(from, (to, to + len), how)
    }

    /// Where `len` pages of `start..end` may go: home, as far inside another block, beside a VMA, to a hole, or anywhere.
    fn place_for(&mut self, actor: u8, (start, end): (i64, i64), len: i64) -> i64 {
        let mut places: Vec<(u32, i64)> = Vec::new();
        let vmas = self.world.vmas(actor);
        let home = vmas
            .iter()
            .find(|v| i64::from(v.start) <= start && start < i64::from(v.end) && !v.shared)
            .map(|v| i64::from(v.anon_pgoff) + start - i64::from(v.start));
        places.extend(home.map(|at| (60, at)));
        for far in [BLOCK, -BLOCK, 2 * BLOCK, -2 * BLOCK] {
            places.push((10, start + far));
        }
        for vma in vmas {
            let (from, to) = (i64::from(vma.start), i64::from(vma.end));
            places.extend([(6, to), (6, from - len), (2, from)]);
        }
        for (from, to) in self.holes(actor) {
            places.extend([(6, from), (4, to - len), (4, (from + to - len) / 2)]);
        }
        let fits = |at: i64| {
            at >= 0 && at + len <= ARENA && (at >= end.max(start + 1) || at + len <= start)
        };
        places.retain(|(_, at)| fits(*at));
        if places.is_empty() {
            return (ARENA - len).max(0);
        }
        self.dice.weighted(&places)
    }

    /// What a caller gets wrong.
    fn wild_mremap(&mut self, actor: u8) -> Op {
        let (start, end) = self.remapped(actor, Form::Move);
        let len = end - start;
        let to = self.place_for(actor, (start, end), len);
        let mut op = mremap((start, end), (to, to + len), Remap::Fixed);
        let byte = self.wild_byte();
        let Op::Mremap {
            range: old,
            to: new,
            how,
        } = &mut op
        else {
            return op;
        };
        match self.dice.below(11) {
            0 => new.start.byte = byte,
            1 => {
                old.start.byte = byte;
                *how = Remap::DontUnmap;
            }
            // Overlaps.
            2 => *new = range(start, start + len),
            3 => {
                let by = i64::from(self.dice.between(1, 3));
                let at = (start + by).min(ARENA - len).max(0);
                *new = range(at, at + len);
            }
            // Different lengths.
            4 => {
                *how = Remap::FixedDontUnmap;
                new.end = pos((to + len + 1).min(ARENA));
            }
            5 | 6 => {
                *how = self.dice.weighted(&[
                    (1, Remap::FixedAlone),
                    (1, Remap::DontUnmapAlone),
                    (1, Remap::UnknownFlag),
                ]);
                if !how.has_target() {
                    *new = *old;
                }
            }
            // No new length, or one that wraps.
            7 => new.end = new.start,
            8 => std::mem::swap(&mut old.start, &mut old.end),
            // Off the VMA's ends.
            9 => {
                let out = i64::from(self.dice.between(1, 3));
                *old = range(start, end + out);
                if self.dice.chance(50) {
                    *new = range(to, (to + len + out + 1).min(ARENA));
                }
            }
            _ => *old = range(start - 2, end),
        }
        op
    }
}

fn mremap(from: (i64, i64), to: (i64, i64), how: Remap) -> Op {
    let of = |(start, end): (i64, i64)| -> Range { range(start, end) };
    Op::Mremap {
        range: of(from),
        to: of(to),
        how,
    }
}

/// The new place of an mremap, or what is left of the old one.
pub fn result(range: Range, to: Range, how: Remap) -> (i64, i64) {
    let page = |p: crate::geometry::Pos| p.page_index(GEOMETRY);
    let new = if how.has_target() { to } else { range };
    (page(new.start), page(new.end).max(page(new.start) + 1))
}
