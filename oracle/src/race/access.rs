//! A load or a store: an attempt, a fault where it needs one, another attempt.

use super::rules::{FAULT_THEN_ACCESS, INSTALL_SKIPS_FLUSH, STALE, STORES_TO_COPY};
use super::stale::{fault_of, ready};
use super::state::{At, Script, State, Taken};
use crate::judge::{Access, Outcome, ValueRun};
use crate::program::{ActorId, Advice, Op};
use crate::rules::access::Purpose;
use crate::rules::registry::index_of;
use crate::rules::{resume, touch_page, RuleSet};
use crate::space::slots::Slot;
use crate::space::Content;

/// First page, page after the last, and what for; `None`: no op of this kind.
fn accessed(op: &Op, g: crate::geometry::Geometry) -> Option<(i64, i64, Purpose)> {
    let (range, purpose) = match *op {
        Op::Read { range } => (range, Purpose::Load),
        Op::Write { range, tag } => (range, Purpose::Store(tag)),
        Op::Madvise {
            range,
            advice: Advice::PopulateRead,
        } => (range, Purpose::PopulateRead),
        Op::Madvise {
            range,
            advice: Advice::PopulateWrite,
        } => (range, Purpose::PopulateWrite),
        _ => return None,
    };
    Some((range.start.page_index(g), range.end.page_index(g), purpose))
}

/// Whether the op goes page by page as an access does.
pub(super) fn is_access(op: &Op) -> bool {
    accessed(op, crate::geometry::Geometry::K4).is_some()
}

/// What a thread that accesses memory may do next.
pub(super) fn next(state: &State, script: &Script, lane: usize, op: &Op, out: &mut Vec<Taken>) {
    let g = state.world.geometry();
    let Some((first, end, purpose)) = accessed(op, g) else {
        return;
    };
    let so_far = match &state.lanes[lane].at {
        At::Access(access) => access.clone(),
        _ => Access::default(),
    };
    let page = first + i64::from(so_far.pages);
    if page >= end {
        let mut state = state.clone();
        state.finish(lane, outcome(purpose, so_far));
        return out.push(Taken::new(state, "has nothing to access".into(), &[]));
    }
    if let (Ok(at), Purpose::Load | Purpose::Store(_)) = (u32::try_from(page), purpose) {
        old_way(
            state,
            script,
            lane,
            (at, end - first),
            purpose,
            &so_far,
            out,
        );
    }
    let actor = script.lanes[lane].actor;
    let of_page = u32::try_from(page).ok();
    let is_ready = of_page.is_some_and(|p| ready(&state.world, actor, p, purpose));
    let may_fault = !state.keeps_readers_out(script, lane);
    if !is_ready && !may_fault {
        return;
    }
    let verb = match purpose {
        Purpose::Load => "loads from",
        Purpose::Store(_) => "stores to",
        _ => "populates",
    };
    let fault = fault_of(purpose);
    let faults = match is_ready {
        true => Vec::new(),
        false => touch_page(resume(state.world.clone(), actor), page, fault),
    };
    for branch in &faults {
        if branch.outcome == Outcome::Ok && branch.world.objects != state.world.objects {
            let mut next = state.clone();
            next.world.objects.clone_from(&branch.world.objects);
            next.lanes[lane].at = At::Access(so_far.clone());
            let what = format!("brings page {} into the page cache", place(page, g));
            out.push(Taken::new(next, what, &[index_of(&FAULT_THEN_ACCESS)]));
        }
    }
    if fault != purpose {
        let mut any = false;
        for branch in faults {
            if branch.outcome != Outcome::Ok || branch.world == state.world {
                continue;
            }
            any = true;
            let mut next = state.clone();
            next.world = branch.world;
            next.comes_anew(lane, actor, of_page);
            next.lanes[lane].at = At::Access(so_far.clone());
            let what = format!("faults page {} in", place(page, g));
            let mut taken = Taken::new(next, what, &[index_of(&FAULT_THEN_ACCESS)]);
            taken.rules.merge(&branch.rules);
            out.push(taken);
        }
        if any {
            return;
        }
    }
    for branch in touch_page(resume(state.world.clone(), actor), page, purpose) {
        let mut next = state.clone();
        next.world = branch.world;
        next.comes_anew(lane, actor, of_page);
        let mut rules = Vec::new();
        if let (Some(page), Purpose::Store(_)) = (of_page, purpose) {
            if next.stores_to_copy(actor, page) {
                rules.push(index_of(&STORES_TO_COPY));
            }
        }
        let mut what = format!("{verb} page {}", place(page, g));
        let mut now = so_far.clone();
        match branch.outcome {
            Outcome::Access(one) => {
                for run in &one.values {
                    push_value(&mut now.values, run.first);
                }
                now.pages += one.pages;
                now.fault = one.fault;
                if let Some(fault) = one.fault {
                    what += &format!(": signal {}", fault.signo);
                }
                next.advance(lane, now, end - first, purpose);
            }
            Outcome::Ok => {
                now.pages += 1;
                next.advance(lane, now, end - first, purpose);
            }
            other => next.finish(lane, other),
        }
        let mut taken = Taken::new(next, what, &rules);
        taken.rules.merge(&branch.rules);
        out.push(taken);
    }
}

/// The access goes through a translation that the processor still remembers.
fn old_way(
    state: &State,
    script: &Script,
    lane: usize,
    (page, wanted): (u32, i64),
    purpose: Purpose,
    so_far: &Access,
    out: &mut Vec<Taken>,
) {
    let g = state.world.geometry();
    let actor = script.lanes[lane].actor;
    for (i, stale) in state.stale.iter().enumerate() {
        let Some(content) = stale.reaches(&state.world, actor, lane, page, purpose) else {
            continue;
        };
        let mut next = state.clone();
        let mut now = so_far.clone();
        now.pages += 1;
        let what = match purpose {
            Purpose::Store(tag) => {
                let content = Content::written(tag, page);
                stale.store(&mut next.world, page, content);
                next.stale[i].remember(page, content);
                "stores to"
            }
            _ => {
                push_value(&mut now.values, content);
                "loads from"
            }
        };
        next.advance(lane, now, wanted, purpose);
        let place = place(page.into(), g);
        let what = format!("{what} page {place} through a translation of before");
        let mut rules = vec![index_of(&STALE)];
        let now = state.world.actors[usize::from(actor)].as_ref();
        let guarded = now.is_some_and(|mm| mm.slots.get(page) == Some(Slot::Guard));
        if guarded && state.world.profile().install_skips_flush {
            rules.push(index_of(&INSTALL_SKIPS_FLUSH));
        }
        out.push(Taken::new(next, what, &rules));
    }
}

fn push_value(values: &mut Vec<ValueRun>, content: Content) {
    match values.last_mut() {
        Some(run) if run.first.is_followed_by(content, run.len) => run.len += 1,
        _ => values.push(ValueRun {
            len: 1,
            first: content,
        }),
    }
}

fn outcome(purpose: Purpose, access: Access) -> Outcome {
    match purpose {
        Purpose::Load | Purpose::Store(_) => Outcome::Access(access),
        _ => Outcome::Ok,
    }
}

impl State {
    /// A thread's processor has looked the page up in the page table.
    fn comes_anew(&mut self, lane: usize, actor: ActorId, page: Option<u32>) {
        if let Some(page) = page {
            let stale = self.stale.iter_mut();
            stale.for_each(|s| s.goes(lane, actor, page));
        }
    }

    /// A page more is accessed, or a signal has come.
    fn advance(&mut self, lane: usize, now: Access, wanted: i64, purpose: Purpose) {
        if now.fault.is_some() || i64::from(now.pages) >= wanted {
            self.finish(lane, outcome(purpose, now));
        } else {
            self.lanes[lane].at = At::Access(now);
        }
    }
}

impl Taken {
    pub fn new(state: State, what: String, rules: &[usize]) -> Taken {
        let mut used = RuleSet::EMPTY;
        rules.iter().for_each(|rule| used.insert_index(*rule));
        Taken {
            state,
            what,
            rules: used,
        }
    }
}

/// A page as programs write it.
pub(super) fn place(page: i64, g: crate::geometry::Geometry) -> String {
    crate::geometry::Pos::from_page_index(page, g)
        .map_or_else(|| format!("number {page}"), |pos| pos.to_string())
}
