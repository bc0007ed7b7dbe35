//! What a simulated kernel does wrong with anon_vmas.

use super::fault::{is_advice, madvise, pages, Answer, Plan};
use oracle::geometry::{Pos, Range};
use oracle::program::{Advice, Op, Step};
use oracle::space::World;

/// A VMA that could take its neighbour's anon_vma gets one of its own: for the moment in which it needs one it has another hint
/// than its neighbours.
pub fn never_reused(world: &World, step: &Step) -> Option<Plan> {
    let range = match step.op {
        Op::Write { range, .. } => range,
        _ => is_advice(step, Advice::GuardInstall)?,
    };
    let (from, to) = pages(world, range);
    let vma = world.vma_at(step.actor, from)?;
    if vma.anon_vma.is_some() || vma.shared || to > vma.end || to == from {
        return None;
    }
    let vmas = world.vmas(step.actor).iter();
    let neighbours: Vec<_> = vmas
        .filter(|other| other.end == vma.start || other.start == vma.end)
        .collect();
    let alike = |dont_dump: bool| dont_dump == vma.hints.dont_dump;
    if !neighbours.iter().any(|other| other.anon_vma.is_some())
        || !neighbours.iter().all(|other| alike(other.hints.dont_dump))
    {
        return None;
    }
    let g = world.geometry();
    let at = |page: u32| Pos::from_page_index(page.into(), g);
    let all = Range::new(at(vma.start)?, at(vma.end)?);
    let (other, back) = match vma.hints.dont_dump {
        true => (Advice::DoDump, Advice::DontDump),
        false => (Advice::DontDump, Advice::DoDump),
    };
    let hint = |advice| Step::new(step.actor, madvise(all, advice));
    Some(Plan {
        steps: vec![hint(other), step.clone(), hint(back)],
        answer: Answer::Of(1),
    })
}
