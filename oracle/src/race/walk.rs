//! Advice about pages: with the mmap lock held for reading, VMA by VMA, page table by page table. Guard install goes over a VMA's
//! part several times.

use super::access::place;
use super::rules::{
    INSTALL_GIVES_UP, INSTALL_RESTARTS, INSTALL_ROUNDS, PAGEOUT_LEAVES, RANGE_BY_RANGE,
    TABLE_BY_TABLE, TOLD_BY_ANOTHER,
};
use super::stale::{By, Stale};
use super::state::{At, Part, Script, State, Taken, Walk};
use crate::judge::{Moved, Outcome};
use crate::program::{ActorId, Advice, AdviceReach, Op};
use crate::rules::errno::{EAGAIN, ENOMEM};
use crate::rules::registry::index_of;
use crate::rules::{anon_vma, every_way, guard, madvise, process_madvise, resume, Ctx, RuleSet};
use crate::space::mm::block_pages;
use crate::space::{Branch, World};

/// The advice of an actor's op that walks so; `None`: it does something else, a process_madvise that is refused as a whole nothing.
pub(super) fn advice(world: &World, actor: ActorId, op: &Op) -> Option<Advice> {
    let advice = op.advice()?;
    if matches!(op, Op::ProcessMadvise { .. }) {
        let mut ctx = resume(world.clone(), actor);
        let own = op.other().is_none_or(|other| other == actor);
        process_madvise::permitted(&mut ctx, advice, own, false).ok()?;
    }
    let walks = match advice {
        Advice::GuardInstall => true,
        // Takes the mmap lock for writing, or none at all.
        Advice::Collapse | Advice::Remove => false,
        _ => advice.reach() == AdviceReach::Pages,
    };
    let known = madvise::known(&mut resume(world.clone(), 0), advice);
    (walks && known).then_some(advice)
}

/// A call under way.
#[derive(Clone, Copy)]
struct Call<'a> {
    script: &'a Script,
    /// Who calls.
    lane: usize,
    /// Whose memory it is about.
    space: ActorId,
    op: &'a Op,
    /// What it advises.
    advice: Advice,
}

impl Call<'_> {
    fn is_in_its_last_range(self, state: &State) -> bool {
        state.lanes[self.lane].ranges_done + 1 == self.op.ranges().count()
    }
}

/// Advice that gathers what it takes away, in a batch that others can see, and tells the other processors when it ends.
fn zaps_in_batches(advice: Advice) -> bool {
    matches!(
        advice,
        Advice::DontNeed | Advice::DontNeedLocked | Advice::Free | Advice::Cold | Advice::PageOut
    )
}

/// The next step of the walk.
pub(super) fn next(
    state: &State,
    script: &Script,
    lane: usize,
    op: &Op,
    advice: Advice,
    out: &mut Vec<Taken>,
) {
    let space = state.space(script, lane);
    let call = Call {
        script,
        lane,
        space,
        op,
        advice,
    };
    let Some(range) = op.ranges().nth(state.lanes[lane].ranges_done) else {
        return;
    };
    if state.keeps_readers_out(script, lane) {
        return;
    }
    let mut ctx = resume(state.world.clone(), space);
    let span = match madvise::span(&mut ctx, range) {
        Ok(span) => span,
        Err(outcome) => {
            let mut next = state.clone();
            next.end_range(call, outcome);
            return out.push(Taken::new(next, "returns at once".into(), &[]));
        }
    };
    let (start, end, outside) = span.clip(ctx.geometry());
    let begun = matches!(state.lanes[lane].at, At::Walk(_));
    if !begun
        && state.another_has_read_flags(script, lane)
        && !locks_a_vma(&ctx, advice, start, end)
    {
        return;
    }
    let mut walk = match &state.lanes[lane].at {
        At::Walk(walk) => walk.clone(),
        _ => Walk {
            next: start,
            hole: outside,
            part: None,
        },
    };
    let mut next = state.clone();
    match walk.part.take() {
        None => {
            let mut rules = Vec::new();
            if matches!(op, Op::ProcessMadvise { .. }) {
                rules.push(index_of(&RANGE_BY_RANGE));
            }
            let what = next.begin_part(ctx, call, walk, end, &mut rules);
            out.push(Taken::new(next, what, &rules));
        }
        Some(part) if advice == Advice::GuardInstall => {
            out.push(install(next, ctx, call, walk, part));
        }
        Some(part) => treat(&next, ctx, call, walk, part, out),
    }
}

impl State {
    /// Goes on to the next VMA, or returns.
    fn begin_part(
        &mut self,
        mut ctx: Ctx,
        call: Call<'_>,
        mut walk: Walk,
        end: u32,
        rules: &mut Vec<usize>,
    ) -> String {
        let Call {
            lane,
            space,
            advice,
            ..
        } = call;
        let i = ctx.mm.first_vma_after(walk.next);
        let vma = ctx.mm.vmas.get(i).filter(|v| v.start < end).cloned();
        let Some(vma) = vma.filter(|_| walk.next < end) else {
            let hole = walk.hole || walk.next < end;
            if !hole
                && call.is_in_its_last_range(self)
                && zaps_in_batches(advice)
                && self.flush_batches(lane, space)
            {
                rules.push(index_of(&TOLD_BY_ANOTHER));
            }
            self.end_range(
                call,
                match hole {
                    true => Outcome::Errno(ENOMEM),
                    false => Outcome::Ok,
                },
            );
            return match self.lanes[lane].ranges_done {
                0 => "has come to the end of its range and returns".into(),
                n => format!("has come to the end of range {n} and goes on to the next"),
            };
        };
        walk.hole |= walk.next < vma.start;
        let start = walk.next.max(vma.start);
        let may = madvise::may(&mut ctx, i, start, advice).and_then(|()| match advice {
            Advice::GuardInstall => guard::prepare(&mut ctx, i),
            _ => Ok(()),
        });
        self.world = ctx.finish(Outcome::Ok).world;
        if let Err(errno) = may {
            self.end_range(call, Outcome::Errno(errno));
            return "finds a VMA that refuses".into();
        }
        walk.part = Some(Part {
            start,
            end: vma.end.min(end),
            at: start,
            zapping: false,
            rounds: 0,
            installed: false,
        });
        let g = self.world.geometry();
        let what = format!(
            "takes the lock and comes to the VMA at {}",
            place(start.into(), g)
        );
        self.lanes[lane].at = At::Walk(walk);
        what
    }

    /// The call has come to the end of a range: it returns, or goes on to the next one.
    fn end_range(&mut self, call: Call<'_>, outcome: Outcome) {
        let Call { lane, op, .. } = call;
        let Op::ProcessMadvise { vectors, .. } = op else {
            return self.finish(lane, outcome);
        };
        let g = self.world.geometry();
        let done = self.lanes[lane].ranges_done + usize::from(outcome == Outcome::Ok);
        let all = done == vectors.iter().count();
        if outcome == Outcome::Ok && !all {
            self.lanes[lane].at = At::Before;
            self.lanes[lane].ranges_done = done;
            return;
        }
        let bytes = vectors.iter().take(done).map(|r| r.byte_len(g)).sum();
        match outcome {
            Outcome::Errno(_) if bytes == 0 => self.finish(lane, outcome),
            _ => {
                let moved = Moved::of(*vectors, bytes, Vec::new(), 0, g);
                self.finish(lane, Outcome::Moved(moved));
            }
        }
    }

    /// What others may still reach the old way of `[start, end)`.
    fn remembers(&mut self, before: &World, call: Call<'_>, start: u32, end: u32) {
        let Call {
            script,
            lane,
            space,
            advice,
            ..
        } = call;
        let by = match advice {
            Advice::PageOut => By::Reclaim,
            _ => By::Batch,
        };
        let at = usize::from(space);
        let mm = before.actors[at].clone();
        let changed = self.world.actors[at] != mm;
        if let Some(mm) = mm.filter(|_| changed && self.others_access(lane, script, space)) {
            self.stale.push(Stale {
                lane,
                by,
                actor: space,
                mm,
                start,
                end,
                files: Vec::new(),
                gone: Vec::new(),
            });
        }
    }
}

/// Whether advice needs no mmap lock, but one VMA locked for reading: the range is in it, and it has the anon_vma that it needs
/// (mm/madvise.c is_vma_lock_sufficient).
fn locks_a_vma(ctx: &Ctx, advice: Advice, start: u32, end: u32) -> bool {
    let vma = ctx.mm.vma_index(start).map(|i| &ctx.mm.vmas[i]);
    vma.is_some_and(|vma| {
        let needs = advice == Advice::GuardInstall && vma.is_anon();
        end <= vma.end && vma.uffd == Default::default() && (!needs || vma.anon_vma.is_some())
    })
}

/// The part of the page table that holds `at`: up to its end, or the part's.
fn piece(ctx: &Ctx, at: u32, end: u32) -> u32 {
    let g = ctx.geometry();
    let block = (at / g.pages_per_pmd) as usize;
    block_pages(block, g).1.min(end)
}

/// A step of guard install.
fn install(
    mut state: State,
    mut ctx: Ctx,
    call: Call<'_>,
    mut walk: Walk,
    mut part: Part,
) -> Taken {
    let Call { lane, space, .. } = call;
    let g = ctx.geometry();
    let to = piece(&ctx, part.at, part.end);
    let from = place(part.at.into(), g);
    let mut rules = vec![index_of(&INSTALL_ROUNDS)];
    let what;
    if part.zapping {
        guard::zap(&mut ctx, part.at, to);
        what = format!("zaps from {from} on");
        let before = state.world.clone();
        let at = part.at;
        part.at = to;
        if state.flush_reclaim(space, at, to) {
            rules.push(index_of(&TOLD_BY_ANOTHER));
        }
        state.world = ctx.finish(Outcome::Ok).world;
        state.remembers(&before, call, at, to);
        if to == part.end {
            (part.at, part.zapping) = (part.start, false);
        }
        walk.part = Some(part);
        state.lanes[lane].at = At::Walk(walk);
        return Taken::new(state, what, &rules);
    }
    // A round begins after the others have been told.
    let has_zapped = part.rounds > 0 && part.at == part.start;
    if has_zapped && state.flush_batches(lane, space) {
        rules.push(index_of(&TOLD_BY_ANOTHER));
    }
    let rounds = guard::rounds(&ctx);
    if part.rounds == rounds {
        if ctx.world.profile.rfc_gives_up {
            rules.push(index_of(&INSTALL_GIVES_UP));
            state.end_range(call, Outcome::Errno(EAGAIN));
            return Taken::new(state, "gives up".into(), &rules);
        }
        rules.push(index_of(&INSTALL_RESTARTS));
        state.lanes[lane].at = At::Before;
        return Taken::new(state, "lets go of the lock and starts over".into(), &rules);
    }
    // No allocation is made to fail where threads run at once.
    let walked = guard::install_walk(&mut ctx, part.at, to).unwrap_or_default();
    part.installed |= walked.installed;
    if !walked.complete {
        what = format!("finds an entry in use, walking from {from} on");
        part.rounds += 1;
        (part.at, part.zapping) = (part.start, true);
        walk.part = Some(part);
    } else if to == part.end {
        what = format!("guards from {from} on");
        if ctx.world.profile.rfc_anon_vma_after && part.installed {
            if let Some(i) = ctx.mm.vma_index(part.start) {
                anon_vma::prepare(&mut ctx, i);
            }
        }
        if !ctx.world.profile.install_skips_flush {
            state.flush_batches(lane, space);
            state.flush_reclaim(space, part.start, part.end);
        }
        walk.next = part.end;
    } else {
        what = format!("guards from {from} on");
        part.at = to;
        walk.part = Some(part);
    }
    state.world = ctx.finish(Outcome::Ok).world;
    state.lanes[lane].at = At::Walk(walk);
    Taken::new(state, what, &rules)
}

/// Another advice, for one page table's part.
fn treat(state: &State, ctx: Ctx, call: Call<'_>, walk: Walk, part: Part, out: &mut Vec<Taken>) {
    let Call {
        lane,
        space,
        advice,
        ..
    } = call;
    let g = ctx.geometry();
    let of_file = |at| {
        ctx.mm
            .vma_index(at)
            .is_some_and(|i| !ctx.mm.vmas[i].is_anon())
    };
    let to = match advice {
        // Reclaim takes or leaves each page for itself.
        Advice::PageOut if of_file(part.at) => part.at + 1,
        _ => piece(&ctx, part.at, part.end),
    };
    let step = |ctx: &mut Ctx| match ctx.mm.vma_index(part.at) {
        Some(i) => match madvise::treat(ctx, advice, i, part.at, to) {
            Ok(_) => Outcome::Ok,
            Err(errno) => Outcome::Errno(errno),
        },
        None => Outcome::Errno(ENOMEM),
    };
    let mut ways = every_way(ctx, step);
    if advice == Advice::PageOut && ways.iter().all(|way| way.world != state.world) {
        let mut rules = RuleSet::EMPTY;
        rules.insert_index(index_of(&PAGEOUT_LEAVES));
        ways.push(Branch {
            world: state.world.clone(),
            outcome: Outcome::Ok,
            rules,
        });
    }
    for branch in ways {
        let mut next = state.clone();
        next.world = branch.world;
        let mut rules = vec![index_of(&TABLE_BY_TABLE)];
        if zaps_in_batches(advice) && next.flush_reclaim(space, part.at, to) {
            rules.push(index_of(&TOLD_BY_ANOTHER));
        }
        let what = format!("{} from {} on", advice.name(), place(part.at.into(), g));
        if branch.outcome != Outcome::Ok {
            next.end_range(call, branch.outcome);
        } else {
            let zaps = [Advice::DontNeed, Advice::DontNeedLocked, Advice::PageOut];
            if zaps.contains(&advice) {
                next.remembers(&state.world, call, part.at, to);
            }
            let mut walk = walk.clone();
            if to == part.end {
                walk.next = part.end;
            } else {
                walk.part = Some(Part {
                    at: to,
                    ..part.clone()
                });
            }
            next.lanes[lane].at = At::Walk(walk);
        }
        let mut taken = Taken::new(next, what, &rules);
        taken.rules.merge(&branch.rules);
        out.push(taken);
    }
}
