//! mremap: what it refuses and in which order, shrinking, growing, and where a mapping goes. How it gets there is in `moves`.

use super::access::{touch, OnError, Purpose};
use super::args::{Span, ALIGNMENT, WRAPS};
use super::errno::{EFAULT, EINVAL, ENOMEM};
use super::mlock::FaultIn;
use super::registry::Rule;
use super::{file, hit, hugetlb, merge, mlock, moves, mseal, munmap, uffd, Ctx};
use crate::geometry::Range;
use crate::judge::{Class, Outcome};
use crate::program::FileKind;
use crate::program::Remap;
use crate::space::{Branch, Uffd};

pub const FLAGS: Rule = Rule {
    name: "mremap/flags",
    text: "A flag that mremap does not know is EINVAL; so are MREMAP_FIXED and MREMAP_DONTUNMAP without MREMAP_MAYMOVE, whatever is \
           mapped.",
    source: "mm/mremap.c check_mremap_params",
    since: "all",
    about: &[Class::Errno],
};

pub const NEW_LENGTH: Rule = Rule {
    name: "mremap/new-length",
    text: "A new length of nothing is EINVAL. One that no address space has is EINVAL too; before 6.17 it is only noticed when \
           room is sought for it: EFAULT where nothing is mapped, else ENOMEM without a new address and EINVAL with one.",
    source: "mm/mremap.c check_mremap_params; 6.17, mm/mremap: refactor initial parameter sanity checks",
    since: "all",
    about: &[Class::Errno],
};

pub const OVERLAP: Rule = Rule {
    name: "mremap/overlap",
    text: "A new range that overlaps the old one is EINVAL, and nothing happens, though the target would have been unmapped.",
    source: "mm/mremap.c vrm_overlaps, check_mremap_params",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const DONTUNMAP_LENGTH: Rule = Rule {
    name: "mremap/dontunmap/same-length",
    text: "MREMAP_DONTUNMAP does not resize: different lengths are EINVAL. From 6.17 on lengths are rounded up to pages before they \
           are compared.",
    source: "mm/mremap.c check_mremap_params; 6.17, mm/mremap: refactor initial parameter sanity checks",
    since: "all",
    about: &[Class::Errno],
};

pub const UNMAPPED: Rule = Rule {
    name: "mremap/unmapped-start",
    text: "A start where nothing is mapped is EFAULT. An old length that leads around the end of the address space does not count as \
           overlap with the target of MREMAP_FIXED: from 6.15 on it is EFAULT too if unmapping the target has taken the start away.",
    source: "mm/mremap.c check_prep_vma, remap_move; mremap_to looks for the VMA again since 6.15, mm/mremap: refactor mremap() \
             system call implementation; found by a divergence on 6.16",
    since: "all",
    about: &[Class::Errno],
};

pub const TARGET_LATE: Rule = Rule {
    name: "mremap/target-looked-at-late",
    text: "Before 6.15 a new address inside a page, before 6.17 an overlap or a new range too large, is refused only after the \
           start was found to be mapped.",
    source: "mm/mremap.c of 6.12 and 6.16: mremap_to; 6.15, mm/mremap: refactor mremap() system call implementation",
    since: "before 6.17",
    about: &[Class::Errno],
};

pub const CROSSES: Rule = Rule {
    name: "mremap/crosses-vma-end",
    text: "Growing, and moving with another length or without MREMAP_FIXED, is about one VMA: a range that goes on behind its end is \
           EFAULT, be there another VMA or none.",
    source: "mm/mremap.c check_prep_vma",
    since: "all",
    about: &[Class::Errno],
};

pub const CHECKS_LATE: Rule = Rule {
    name: "mremap/fixed/unmaps-then-fails",
    text: "Before 6.17 MREMAP_FIXED unmaps the target, and cuts off what shrinking cuts off, before it looks at the VMA: a range \
           that crosses its end, or a private mapping to be duplicated, fails when the target is gone already.",
    source: "mm/mremap.c of 6.12 and 6.16: mremap_to; 6.17, mm/mremap: check remap conditions earlier",
    since: "before 6.17",
    about: &[Class::Vma, Class::PageState, Class::Residency],
};

pub const SAME: Rule = Rule {
    name: "mremap/same-length",
    text: "The same length without a new address is success without effect, even if the range crosses VMAs and holes.",
    source: "mm/mremap.c mremap_at",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const SHRINKS: Rule = Rule {
    name: "mremap/shrinks",
    text: "A smaller length unmaps what is behind it, up to the end of the old range, as munmap does, guards included; VMAs and \
           holes there do not matter. Growing again brings empty pages.",
    source: "mm/mremap.c shrink_vma",
    since: "all",
    about: &[Class::Vma, Class::PageState, Class::Residency, Class::Errno],
};

pub const GROWS: Rule = Rule {
    name: "mremap/grows-in-place",
    text: "A VMA whose end the old range reaches grows where it is when the pages behind it are free. They are empty, and have the \
           VMA's protection and flags; what it holds stays, guards too.",
    source: "mm/mremap.c expand_vma_in_place",
    since: "all",
    about: &[Class::Vma, Class::PageState, Class::VmFlags, Class::Errno],
};

pub const NO_ROOM: Rule = Rule {
    name: "mremap/no-room",
    text: "Without MREMAP_MAYMOVE, growing where the next pages are in use, or from the middle of a VMA, is ENOMEM.",
    source: "mm/mremap.c expand_vma",
    since: "all",
    about: &[Class::Errno, Class::Vma],
};

pub const ELSEWHERE: Rule = Rule {
    name: "mremap/grows-elsewhere",
    text: "With MREMAP_MAYMOVE a mapping that cannot grow in place goes where the kernel likes, pages and guards with it: outside the \
           arena, where the guest unmaps it at once. Locked, what is added is brought in there: pages of a file stay in the page cache.",
    source: "mm/mremap.c expand_vma, vrm_set_new_addr",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState, Class::Residency],
};

pub const FIXED_REPLACES: Rule = Rule {
    name: "mremap/fixed/replaces",
    text: "MREMAP_FIXED removes whatever the target holds as munmap does, guards included, even a part of the VMA that is moved.",
    source: "mm/mremap.c mremap_to",
    since: "all",
    about: &[Class::PageState, Class::Vma, Class::Residency],
};

pub const DUPLICATES: Rule = Rule {
    name: "mremap/duplicates-shared",
    text: "An old length of nothing maps shared memory once more, from the start's page of the object on: no page is mapped there, no \
           guard is copied. Private memory cannot be duplicated: EINVAL.",
    source: "mm/mremap.c check_prep_vma, copy_vma_and_data; mremap(2)",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const HINT: Rule = Rule {
    name: "mremap/dontunmap/hint",
    text: "Without MREMAP_FIXED the new address of MREMAP_DONTUNMAP is a hint: taken when the range is free, otherwise the pages go \
           elsewhere, where the guest unmaps them at once.",
    source: "mm/mremap.c vrm_set_new_addr",
    since: "all",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const MANY: Rule = Rule {
    name: "mremap/moves-many",
    text: "From 6.17 on MREMAP_FIXED without a new length moves all VMAs of the range one after the other, each with its part of the \
           range, to the same distance; the start must be mapped, holes behind it stay holes, and what is mapped at their new place \
           stays. Before, such a range is EFAULT.",
    source: "mm/mremap.c remap_move; 6.17, mm/mremap: permit mremap() move of multiple VMAs; mremap(2)",
    since: "6.17",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

pub const MANY_REFUSED: Rule = Rule {
    name: "mremap/moves-many/file-systems-of-their-own",
    text: "A mapping of a file whose file system looks for free addresses itself, as ramfs does, moves alone only: if it comes first and \
           the range goes on behind it, nothing moves; if it comes later, what is before it has moved. Both are EFAULT.",
    source: "mm/mremap.c vma_multi_allowed; fs/ramfs/file-mmu.c ramfs_mmu_get_unmapped_area",
    since: "6.17",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

/// Where the mapping is when the call has succeeded.
enum Done {
    /// Where it was asked to be.
    Here,
    /// The same, and locked pages have been added, `start..end`.
    Grown(u32, u32),
    /// Nowhere in the arena.
    Elsewhere,
    /// The VMA is still there, its pages `start..end` are not.
    PagesElsewhere(u32, u32),
}

/// An mremap: everything in pages. Lengths are as the kernel sees them: those that wrap are larger than any address space.
struct Call {
    how: Remap,
    range: Span,
    to: Span,
    old: u64,
    new: u64,
    /// The lengths in bytes differ.
    resizes: bool,
}

/// More pages than any address space has.
const BEYOND: u64 = 1 << 48;

/// mremap(2).
pub(crate) fn mremap(mut ctx: Ctx, range: Range, to: Range, how: Remap) -> Vec<Branch> {
    let g = ctx.geometry();
    let resizes = range.byte_len(g) != to.byte_len(g);
    let (range, to) = (Span::new(range, g), Span::new(to, g));
    let call = Call {
        how,
        range,
        to,
        old: (range.end - range.start) as u64,
        new: (to.end - to.start) as u64,
        resizes,
    };
    match call.run(&mut ctx) {
        Ok(Done::Here) => vec![ctx.finish(Outcome::Ok)],
        Ok(Done::Grown(start, end)) => touch(
            ctx,
            start.into(),
            end.into(),
            Purpose::FaultIn(OnError::NextVma),
        ),
        Ok(Done::Elsewhere) => vec![ctx.finish(Outcome::Elsewhere)],
        Ok(Done::PagesElsewhere(start, end)) => moves::pages_elsewhere(ctx, start, end)
            .into_iter()
            .map(|ctx| ctx.finish(Outcome::Elsewhere))
            .collect(),
        Err(errno) => vec![ctx.finish(Outcome::Errno(errno))],
    }
}

impl Call {
    fn run(&self, ctx: &mut Ctx) -> Result<Done, i32> {
        self.form(ctx)?;
        if self.leaves_arena(ctx) {
            // No program that passes the check does; one that is only weighed may.
            return Err(ENOMEM);
        }
        let profile = &ctx.world.profile;
        if profile.mremap_moves_many && self.how.is_fixed() && self.old == self.new {
            return self.many(ctx);
        }
        let start = self.start(ctx)?;
        mseal::stays(ctx, start)?;
        if let Some(rounded) = self.huge(ctx, start)? {
            return rounded.one(ctx, start);
        }
        self.one(ctx, start)
    }

    /// About one VMA, or the range behind its start.
    fn one(&self, ctx: &mut Ctx, start: u32) -> Result<Done, i32> {
        let early = ctx.world.profile.mremap_checks_first;
        if early {
            self.may_stay(ctx, start)?;
        }
        if early && (self.how.has_target() || self.old < self.new) {
            self.one_vma(ctx, start, self.old.min(self.new))?;
        }
        if !self.how.has_target() {
            return self.in_place(ctx, start);
        }
        if !early {
            self.target(ctx)?;
        }
        self.to_target(ctx, start)
    }

    /// As the call is seen if the start lies in huge TLB memory: its lengths are rounded up to huge pages.
    fn huge(&self, ctx: &mut Ctx, start: u32) -> Result<Option<Call>, i32> {
        let vma = ctx.mm.vma_index(start).map(|i| &ctx.mm.vmas[i]);
        if !vma.is_some_and(|vma| vma.hugetlb) {
            return Ok(None);
        }
        hit!(ctx, hugetlb::MREMAP);
        let block = u64::from(ctx.geometry().pages_per_pmd);
        let up = |pages: u64| pages.div_ceil(block).wrapping_mul(block);
        let (old, new) = (up(self.old), up(self.new));
        let on_borders = hugetlb::is_border(ctx, self.range.start)
            && (!self.how.has_target() || hugetlb::is_border(ctx, self.to.start));
        if !on_borders || new > old {
            return Err(EINVAL);
        }
        let reaching = |span: Span, pages: u64| Span {
            end: span.start.wrapping_add(pages as i64),
            ..span
        };
        Ok(Some(Call {
            range: reaching(self.range, old),
            to: reaching(self.to, new),
            old,
            new,
            ..*self
        }))
    }

    /// Whether MREMAP_DONTUNMAP may leave the VMA at `start` where it is.
    fn may_stay(&self, ctx: &mut Ctx, start: u32) -> Result<(), i32> {
        let vma = ctx.mm.vma_index(start).map(|i| &ctx.mm.vmas[i]);
        if self.how.keeps_source() && vma.is_some_and(|vma| vma.hugetlb) {
            hit!(ctx, hugetlb::MREMAP);
            return Err(EINVAL);
        }
        Ok(())
    }

    /// What is refused for its form, before anything is looked at.
    fn form(&self, ctx: &mut Ctx) -> Result<(), i32> {
        let (early, target_early) = (
            ctx.world.profile.mremap_checks_first,
            ctx.world.profile.mremap_target_early,
        );
        if self.how == Remap::UnknownFlag || self.how.has_target() && !self.how.may_move() {
            hit!(ctx, FLAGS);
            return Err(EINVAL);
        }
        let keeps = self.how.keeps_source();
        if keeps
            && (if early {
                self.old != self.new
            } else {
                self.resizes
            })
        {
            hit!(ctx, DONTUNMAP_LENGTH);
            return Err(EINVAL);
        }
        if !self.range.aligned || target_early && self.how.has_target() && !self.to.aligned {
            hit!(ctx, ALIGNMENT);
            return Err(EINVAL);
        }
        if self.new == 0 || early && self.new > BEYOND {
            hit!(ctx, NEW_LENGTH);
            return Err(EINVAL);
        }
        if early && self.overlaps() {
            hit!(ctx, OVERLAP);
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Whether the new place lies outside the arena, at least in part.
    fn leaves_arena(&self, ctx: &Ctx) -> bool {
        let limit = i64::from(ctx.geometry().arena_pages());
        let start = if self.how.has_target() {
            self.to.start
        } else {
            self.range.start
        };
        self.new <= BEYOND && (start < 0 || start + self.new as i64 > limit)
    }

    /// The start, if it is mapped.
    fn start(&self, ctx: &mut Ctx) -> Result<u32, i32> {
        let start = u32::try_from(self.range.start).ok();
        match start.filter(|page| ctx.mm.vma_index(*page).is_some()) {
            Some(start) => Ok(start),
            None => {
                hit!(ctx, UNMAPPED);
                Err(EFAULT)
            }
        }
    }

    fn overlaps(&self) -> bool {
        self.how.has_target() && self.range.end > self.to.start && self.to.end > self.range.start
    }

    /// What older kernels find wrong with the target once they have found the VMA.
    fn target(&self, ctx: &mut Ctx) -> Result<(), i32> {
        if self.to.aligned && self.new < BEYOND && !self.overlaps() {
            return Ok(());
        }
        hit!(ctx, TARGET_LATE);
        Err(EINVAL)
    }

    /// Whether `old` pages from the start on are what one VMA can grow or move.
    fn one_vma(&self, ctx: &mut Ctx, start: u32, old: u64) -> Result<(), i32> {
        let Some(i) = ctx.mm.vma_index(start) else {
            return Err(EFAULT);
        };
        let vma = &ctx.mm.vmas[i];
        let (shared, left) = (vma.shared, u64::from(vma.end - start));
        if self.old == 0 {
            hit!(ctx, DUPLICATES);
            if !shared {
                return Err(EINVAL);
            }
        }
        self.may_stay(ctx, start)?;
        if old > left {
            hit!(ctx, CROSSES);
            return Err(EFAULT);
        }
        mlock::may_grow(ctx, i, self.new.saturating_sub(old))
    }

    /// Without a new address.
    fn in_place(&self, ctx: &mut Ctx, start: u32) -> Result<Done, i32> {
        if self.old == self.new {
            hit!(ctx, SAME);
            return Ok(Done::Here);
        }
        if self.old > self.new {
            self.shrink(ctx, start)?;
            return Ok(Done::Here);
        }
        if !ctx.world.profile.mremap_checks_first {
            self.one_vma(ctx, start, self.old)?;
        }
        if self.new > BEYOND {
            hit!(ctx, NEW_LENGTH);
            return Err(ENOMEM);
        }
        let (end, new_end) = (start + self.old as u32, start + self.new as u32);
        let Some(i) = ctx.mm.vma_index(start) else {
            return Err(EFAULT);
        };
        let vma = &ctx.mm.vmas[i];
        if vma.end == end && !ctx.mm.is_mapped_in(end, new_end) {
            hit!(ctx, GROWS);
            let mut grown = vma.clone();
            grown.set_start(end);
            grown.end = new_end;
            merge::add(ctx, grown, merge::Origin::Grown)?;
            return Ok(grown_to(ctx, end, new_end));
        }
        if !self.how.may_move() {
            hit!(ctx, NO_ROOM);
            return Err(ENOMEM);
        }
        hit!(ctx, ELSEWHERE);
        if mlock::grows_locked(ctx, start) && matches!(mlock::fault_in(ctx, i), FaultIn::Wanted) {
            // Nobody sees it there, but what it maps of a file is in the page cache now.
            file::read(ctx, i, end, new_end);
        }
        uffd::events::moves(ctx, start, None, self.old as u32);
        if self.old > 0 {
            munmap::unmap(ctx, start, end)?;
        }
        uffd::events::leaves(ctx, self.new as u32);
        Ok(Done::Elsewhere)
    }

    /// Cuts off what is behind the new length.
    fn shrink(&self, ctx: &mut Ctx, start: u32) -> Result<(), i32> {
        if self.old > BEYOND {
            hit!(ctx, WRAPS);
            return Err(EINVAL);
        }
        hit!(ctx, SHRINKS);
        let (_, end, _) = self.range.clip(ctx.geometry());
        mseal::unmap(ctx, start + self.new as u32, end)
    }

    /// With a new address, about one VMA.
    fn to_target(&self, ctx: &mut Ctx, start: u32) -> Result<Done, i32> {
        let (to, to_end) = (self.to.start as u32, self.to.end as u32);
        let mut old = self.old;
        if self.new == 0 {
            // What wrapped and was then rounded up to nothing.
            return Err(EINVAL);
        }
        if self.how.is_fixed() {
            replace(ctx, to, to_end)?;
            if ctx.world.profile.mremap_target_early {
                self.start(ctx)?;
            }
        }
        let early = ctx.world.events.len();
        if old > self.new {
            self.shrink(ctx, start)?;
            old = self.new;
        }
        if !ctx.world.profile.mremap_checks_first {
            let checked = self.one_vma(ctx, start, old);
            if checked.is_err() && self.how.is_fixed() {
                hit!(ctx, CHECKS_LATE);
            }
            checked?;
        }
        let end = start + old as u32;
        if self.how == Remap::DontUnmap {
            hit!(ctx, HINT);
            if ctx.mm.is_mapped_in(to, to_end) {
                return Ok(Done::PagesElsewhere(start, end));
            }
        }
        moves::relocate(ctx, (start, end), (to, to_end), self.how.keeps_source())?;
        uffd::events::move_first(ctx, early, self.old as u32);
        Ok(grown_to(ctx, to + old as u32, to_end))
    }

    /// With MREMAP_FIXED and no new length: every VMA of the range, one by one.
    fn many(&self, ctx: &mut Ctx) -> Result<Done, i32> {
        let start = self.start(ctx)?;
        let distance = self.to.start - i64::from(start);
        let moved = |page: u32| (i64::from(page) + distance) as u32;
        let (_, end, _) = self.range.clip(ctx.geometry());
        let mut at = start;
        loop {
            // What was moved beside its source may be one VMA with it by now: it reaches into the range, behind its end.
            let next = ctx.mm.vmas.get(ctx.mm.first_vma_after(at));
            let Some(vma) = next.filter(|v| at < end && v.start < end) else {
                return Ok(Done::Here);
            };
            let (from, to, rest) = (vma.start.max(start), vma.end.min(end), vma.end);
            let object = vma.object.map(|id| ctx.world.object(id));
            let registered = vma.uffd != Uffd::default();
            let own_area = object.is_some_and(|o| o.kind == FileKind::Ramfs);
            // There was a VMA before this one, or there may be one behind it.
            if at > start || rest < end {
                hit!(ctx, MANY);
                if registered {
                    hit!(ctx, uffd::lost::MOVED_ALONE);
                } else if own_area {
                    hit!(ctx, MANY_REFUSED);
                }
                if registered || own_area {
                    return Err(EFAULT);
                }
            }
            mseal::stays(ctx, from)?;
            let to = self.huge_part(ctx, (from, to), moved(from))?;
            self.may_stay(ctx, from)?;
            replace(ctx, moved(from), moved(to))?;
            moves::relocate(
                ctx,
                (from, to),
                (moved(from), moved(to)),
                self.how.keeps_source(),
            )?;
            at = rest;
        }
    }

    /// Where the part `from..to` of a VMA that moves to `target` ends: in huge TLB memory behind a huge page.
    fn huge_part(&self, ctx: &mut Ctx, (from, to): (u32, u32), target: u32) -> Result<u32, i32> {
        let part = Call {
            range: Span {
                start: from.into(),
                ..self.range
            },
            to: Span {
                start: target.into(),
                ..self.to
            },
            old: u64::from(to - from),
            new: u64::from(to - from),
            ..*self
        };
        Ok(part
            .huge(ctx, from)?
            .map_or(to, |part| from + part.old as u32))
    }
}

/// The mapping is where it was asked to be, with `start..end` new.
fn grown_to(ctx: &mut Ctx, start: u32, end: u32) -> Done {
    if start < end && mlock::grows_locked(ctx, start) {
        Done::Grown(start, end)
    } else {
        Done::Here
    }
}

/// Makes room at the target of MREMAP_FIXED.
fn replace(ctx: &mut Ctx, start: u32, end: u32) -> Result<(), i32> {
    if ctx.mm.is_mapped_in(start, end) {
        hit!(ctx, FIXED_REPLACES);
    }
    mseal::unmap(ctx, start, end)
}
