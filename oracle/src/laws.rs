//! Laws that hold for every program on every kernel, whatever its rules: what must be true of the text form, of the generator
//! and of each world that the model allows. `cargo test` runs them over seeds, `fuzz/` over bytes that libFuzzer makes.
//!
//! They are about guards where they can be said without the rules: an install that succeeded leaves guards in its whole range,
//! nothing but a removal, an unmapping or an exit takes them away, and no call touches another process's.

mod alike;
#[cfg(test)]
mod fingerprint;
mod pairs;
mod shape;

pub use alike::alike_after_scaling;
pub use pairs::{outcome, pair, Pair, PairLaw};

use crate::geometry::{Geometry, Range};
use crate::judge::{Failing, Moved, Observation, Oracle, Outcome, Verdict};
use crate::profile::{Arch, Profile, Release};
use crate::program::generate::from_unstructured;
use crate::program::{ActorId, Advice, Op, Place, Program, Remap, Step, UffdCall, MAX_ACTORS};
use crate::rules::failing::has_failed;
use crate::space::{Branch, Locked, Vma, World};
use arbitrary::Unstructured;

/// A law that does not hold, with the program that shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{law}\n\nshown by this program:\n{program}")]
pub struct Broken {
    /// What should be true, and where it is not.
    pub law: String,
    /// The program in its text form.
    pub program: String,
}

/// Makes a program from bytes and checks every law on it: kernels with and without guards, small and large pages.
///
/// # Errors
/// The first law that does not hold.
pub fn check_bytes(bytes: &[u8]) -> Result<(), Broken> {
    let Ok(program) = from_unstructured(&mut Unstructured::new(bytes)) else {
        return Ok(());
    };
    check_program(&program)
}

/// A kind of kernel that laws are checked on.
#[derive(Debug, Clone, Copy)]
pub struct Ground {
    /// Release whose profile it has; `None` is the newest.
    release: Option<Release>,
    geometry: Geometry,
}

/// Kernels with and without guards, small and large pages.
pub const GROUNDS: [Ground; 4] = {
    let old = Some(Release(6, 12, 0));
    const fn ground(release: Option<Release>, geometry: Geometry) -> Ground {
        Ground { release, geometry }
    }
    [
        ground(None, Geometry::K4),
        ground(None, Geometry::K16),
        ground(old, Geometry::K4),
        ground(old, Geometry::K16),
    ]
};

/// What can be checked by itself. All of it is about one program, and none of it needs another one's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Law {
    /// The text form gives the program back.
    Text,
    /// Each step has an outcome, each outcome is one that its op can have, each address space is well formed, and guards obey.
    Worlds,
    /// The judge accepts what the model allows, and holds possible what has happened.
    Judge,
    /// A program that begins so and one that goes on in another way come out alike, on the newest kernel.
    Pair(PairLaw),
}

impl Law {
    pub const ALL: [Law; 7] = [
        Law::Text,
        Law::Worlds,
        Law::Judge,
        Law::Pair(PairLaw::Halves),
        Law::Pair(PairLaw::RemoveNothing),
        Law::Pair(PairLaw::InstallRemove),
        Law::Pair(PairLaw::OtherSide),
    ];
}

/// Checks every law about one program by itself, on a program that is fit to run.
///
/// # Errors
/// The first law that does not hold.
pub fn check_program(program: &Program) -> Result<(), Broken> {
    GROUNDS.iter().try_for_each(|g| check_on(program, g))
}

/// Checks the same on one kind of kernel.
///
/// # Errors
/// The first law that does not hold.
pub fn check_on(program: &Program, ground: &Ground) -> Result<(), Broken> {
    check_text(program).map_err(|law| broken(law, program))?;
    follow_on(program, ground, Follow::All, HONEST)
}

/// Checks one law on one kind of kernel; `choice` is what a law about pairs chooses the other program by. `false`: nothing in the program
/// lends itself to the law.
///
/// # Errors
/// The law, if it does not hold.
pub fn check_law(
    program: &Program,
    law: Law,
    ground: &Ground,
    choice: u64,
) -> Result<bool, Broken> {
    check_law_of(program, law, ground, choice, HONEST)
}

/// What becomes of each way that a step may go: nothing, but in tests, which break the model so.
type Tamper = fn(&World, &Step, &mut Branch);

const HONEST: Tamper = |_, _, _| {};

/// [`World::apply`], tampered with.
fn apply(world: &World, step: &Step, tamper: Tamper) -> Vec<Branch> {
    let mut branches = world.apply(step);
    let each = branches.iter_mut();
    each.for_each(|branch| tamper(world, step, branch));
    branches
}

fn check_law_of(
    program: &Program,
    law: Law,
    ground: &Ground,
    choice: u64,
    tamper: Tamper,
) -> Result<bool, Broken> {
    match law {
        Law::Text => check_text(program).map_err(|law| broken(law, program))?,
        Law::Worlds => follow_on(program, ground, Follow::Worlds, tamper)?,
        Law::Judge => follow_on(program, ground, Follow::Judge, tamper)?,
        Law::Pair(law) => {
            let Some(begun) = pairs::begun(law, program.clone(), choice) else {
                return Ok(false);
            };
            begun.check_on_model(tamper).map_err(|why| {
                let Pair { left, right, .. } = &begun.pair;
                let law = format!("{}: {why}\nagainst this program:\n{left}", law.text());
                broken(law, right)
            })?;
        }
    }
    Ok(true)
}

fn broken(law: String, program: &Program) -> Broken {
    Broken {
        law,
        program: program.to_string(),
    }
}

/// What is checked on the way of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    Worlds,
    Judge,
    All,
}

fn follow_on(
    program: &Program,
    ground: &Ground,
    what: Follow,
    tamper: Tamper,
) -> Result<(), Broken> {
    let profile = match ground.release {
        Some(release) => Profile::at_release(release, Arch::X86_64),
        None => Profile::newest(),
    };
    let g = ground.geometry;
    let world = World::new(&profile, g, program.knobs);
    let done = match what {
        Follow::Worlds => follow_worlds(program, world, tamper),
        _ => {
            let oracle = Oracle::new(&profile, g, program.knobs);
            follow_judge(program, world, oracle, what, tamper)
        }
    };
    done.map_err(|law| {
        let name = ground.release.map_or("newest".into(), |r| r.to_string());
        let law = format!("{law} (profile {name}, {} B pages)", g.page_size);
        broken(law, program)
    })
}

/// The text form gives the program back, and the program passes its check.
fn check_text(program: &Program) -> Result<(), String> {
    program
        .check()
        .map_err(|e| format!("a generated program passes the check: {e}"))?;
    let text = program.to_string();
    match Program::parse(&text) {
        Ok(back) if back == *program => Ok(()),
        Ok(_) => Err("the text form gives the program back".into()),
        Err(e) => Err(format!("the text form is understood: {e}")),
    }
}

/// One step in so many shows what smaps adds up; the last one always does.
const SIZES_EVERY: usize = 4;

/// Runs a program on the model alone. Takes another branch at each step, so that the unusual ones are followed too.
fn follow_worlds(program: &Program, mut world: World, tamper: Tamper) -> Result<(), String> {
    for (i, step) in program.steps.iter().enumerate() {
        let mut branches = apply(&world, step, tamper);
        obey(&world, step, &branches).map_err(|law| at(i, step, &law))?;
        let taken = i % branches.len();
        world = branches.swap_remove(taken).world;
    }
    Ok(())
}

fn at(i: usize, step: &Step, law: &str) -> String {
    format!("op {} ({step}): {law}", i + 1)
}

/// What holds for each way that a step may go.
fn obey(before: &World, step: &Step, branches: &[Branch]) -> Result<(), String> {
    if branches.is_empty() {
        return Err("an op has at least one outcome".into());
    }
    let g = before.geometry();
    branches.iter().try_for_each(|branch| {
        outcome_fits(step, branch, g)?;
        shape::well_formed(before, &branch.world)?;
        guards_obey(before, step, branch, g)
    })
}

/// Runs a program on the model, the judge looking on.
fn follow_judge(
    program: &Program,
    mut world: World,
    mut oracle: Oracle,
    what: Follow,
    tamper: Tamper,
) -> Result<(), String> {
    for (i, step) in program.steps.iter().enumerate() {
        let at = |law: String| at(i, step, &law);
        oracle.step(step);
        // Where the judge holds one world possible it is this one, and what it expects is every way the step may go.
        let own = match oracle.worlds() {
            [_] => None,
            _ => Some(world.apply(step)),
        };
        let branches = own.as_deref().unwrap_or(oracle.expected());
        if what == Follow::All {
            obey(&world, step, branches).map_err(at)?;
        }
        let Some(taken) = branches.get(i % branches.len().max(1)) else {
            return Err(at("an op has at least one outcome".into()));
        };
        let mut taken = taken.clone();
        tamper(&world, step, &mut taken);
        let sizes = (i + 1) % SIZES_EVERY == 0 || i + 1 == program.steps.len();
        let seen = Observation {
            outcome: taken.outcome,
            spaces: match sizes {
                true => taken.world.shown(),
                false => taken.world.shown_without_sizes(),
            },
            events: taken.world.events().to_vec(),
            // A judge that is told of no failure holds no way possible that takes one.
            failing: has_failed(&taken.rules).then_some(Failing::Failed),
        };
        world = taken.world;
        match oracle.observe(&seen) {
            Verdict::Agree | Verdict::Allowed { .. } => {}
            Verdict::Poisoned { .. } => return Ok(()),
            Verdict::Divergence(d) => {
                let law = format!("the judge accepts what the model allows, but says {d:?}");
                return Err(at(law));
            }
        }
        if !oracle.worlds().contains(&world) {
            return Err(at("the judge holds possible what has happened".into()));
        }
    }
    Ok(())
}

/// The outcome is one that an op of this kind can have.
fn outcome_fits(step: &Step, branch: &Branch, g: Geometry) -> Result<(), String> {
    let fits = match (&branch.outcome, step.op) {
        (Outcome::Access(a), Op::Read { range } | Op::Write { range, .. }) => {
            let first = range.start.page_index(g);
            let pages = range.end.page_index(g) - first;
            let fault_fits = match a.fault {
                None => i64::from(a.pages) == pages,
                Some(f) => f.addr == (first + i64::from(a.pages)) * i64::from(g.page_size),
            };
            let read: u32 = a.values.iter().map(|v| v.len).sum();
            let values_fit = match step.op {
                Op::Read { .. } => read == a.pages,
                _ => read == 0,
            };
            fault_fits && values_fit && i64::from(a.pages) <= pages
        }
        (Outcome::Access(_), _) => false,
        // Of threads that run at once, which laws are not about.
        (Outcome::Each(_) | Outcome::Together(_), _) => false,
        (Outcome::Moved(moved), Op::Transfer { way, vectors, .. }) => {
            let as_made = Moved::of(vectors, moved.bytes, moved.values.clone(), 0, g);
            let whole = vectors.bytes(g);
            *moved == as_made
                && moved.bytes <= whole
                && (moved.bytes > 0 || whole == 0)
                && (moved.values.is_empty() || !way.stores())
        }
        (Outcome::Moved(moved), Op::ProcessMadvise { vectors, .. }) => {
            *moved == Moved::of(vectors, moved.bytes, Vec::new(), 0, g)
                && (moved.bytes > 0 || vectors.bytes(g) == 0)
        }
        (Outcome::Moved(moved), Op::Uffd { range, call }) => {
            *moved == Moved::of(range.into(), moved.bytes, Vec::new(), 0, g)
                && moved.bytes > 0
                && call.fills()
        }
        (Outcome::Moved(_), _) => false,
        (_, Op::Read { .. } | Op::Write { .. }) => false,
        (Outcome::Unflagged, op) => matches!(op, Op::Look { .. }),
        (Outcome::Errno(_), Op::Look { .. } | Op::Signal { .. }) => false,
        (Outcome::Elsewhere, Op::Mmap { place, .. }) => place == Place::Hint,
        (Outcome::Elsewhere, Op::Mremap { how, .. }) => how.may_go_elsewhere(),
        (Outcome::Elsewhere, _) => false,
        (Outcome::Errno(e), _) => (1..4096).contains(e),
        (Outcome::Ok, _) => true,
    };
    if fits {
        Ok(())
    } else {
        Err(format!("{:?} is an outcome of this op", branch.outcome))
    }
}

/// The pages that a system call's range covers: its end is rounded up to whole pages. `None`: it wraps.
fn covered(range: Range, g: Geometry) -> Option<(i64, i64)> {
    let start = range.start.page_index(g);
    let end = range.end.page_index(g) + i64::from(!range.end.is_page_aligned());
    let wraps = range.end.byte_offset(g) < range.start.byte_offset(g);
    (!wraps).then_some((start, end))
}

/// What an op may do to guards, said without the rules.
fn guards_obey(before: &World, step: &Step, branch: &Branch, g: Geometry) -> Result<(), String> {
    let after = &branch.world;
    let may_change = match step.op {
        Op::Mmap { .. } | Op::Munmap { .. } | Op::Brk { .. } | Op::Mremap { .. } => true,
        Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => {
            matches!(advice, Advice::GuardInstall | Advice::GuardRemove)
        }
        Op::Uffd { call, .. } if call.fills() => before.profile().uffd_copies_over_guards,
        _ => false,
    };
    for actor in before.living().into_iter().filter(|a| is_living(after, *a)) {
        let own = actor == step.actor && may_change;
        if !own && before.guards(actor) != after.guards(actor) {
            return Err(format!("the guards of actor {actor} stay as they are"));
        }
    }
    if let (Op::Fork { child }, Outcome::Ok) = (step.op, &branch.outcome) {
        let inherited = |&page: &u32| {
            let vma = before.vma_at(step.actor, page);
            vma.is_some_and(|v| !v.hints.wipe_on_fork && !v.hints.dont_fork)
        };
        let left: Vec<u32> = pages(&before.guards(step.actor))
            .filter(inherited)
            .collect();
        if !pages(&after.guards(child)).eq(left) {
            return Err("a child has the guards of its parent, where it has its memory".into());
        }
    }
    if !before.is_like(after) && branch.outcome == Outcome::Errno(22) {
        // EINVAL of a range's form comes before anything is done; VMAs that refuse come later.
        let vmas = before.vmas(step.actor);
        let locked = vmas.iter().any(|v| v.locked != Locked::No);
        // What it is about, in whole blocks: huge TLB memory is asked for and moved in these.
        let meets = |vma: &Vma| {
            let block = i64::from(g.pages_per_pmd);
            step.op.ranges().any(|range| {
                let (start, end) = (range.start.page_index(g), range.end.page_index(g) + 1);
                let start = start.div_euclid(block) * block;
                let end = (end + block - 1).div_euclid(block) * block;
                start < vma.end.into() && end > vma.start.into()
            })
        };
        let uncuttable = vmas.iter().any(|v| v.hugetlb && meets(v));
        let refuses = match step.op {
            Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => match advice {
                Advice::WipeOnFork
                | Advice::Free
                | Advice::PopulateRead
                | Advice::PopulateWrite
                | Advice::Collapse
                | Advice::Remove => true,
                Advice::DontNeed | Advice::Cold | Advice::PageOut | Advice::GuardInstall => locked,
                Advice::KeepOnFork | Advice::DoDump => vmas.iter().any(|v| v.droppable && meets(v)),
                _ => false,
            },
            // It finds that the VMA is not registered, or not for write protection, when the VMA has its anon_vma.
            Op::Uffd { call, .. } => {
                matches!(
                    call,
                    UffdCall::Copy { protect: true, .. } | UffdCall::Move { .. }
                ) && before.profile().uffd_prepares_first
            }
            _ => false,
        };
        // Some of what is wrong with a range is noticed by mremap when the target is gone already.
        let odd = |range: Range| covered(range, g).is_none_or(|(start, end)| start == end);
        let refuses = refuses || matches!(step.op, Op::Mremap { range, .. } if odd(range));
        // What cannot be cut says so when what lies before it has changed.
        let refuses = refuses || uncuttable;
        if !refuses {
            return Err("a call that fails with EINVAL changes nothing".into());
        }
    }
    if let (Op::Mremap { range, to, how }, Outcome::Ok) = (step.op, &branch.outcome) {
        moved_guards_obey(before, after, step.actor, (range, to, how), g)?;
    }
    let Op::Madvise { range, advice } = step.op else {
        return Ok(());
    };
    let Some((start, end)) = covered(range, g).filter(|_| branch.outcome == Outcome::Ok) else {
        return Ok(());
    };
    let guarded: i64 = after
        .guards(step.actor)
        .iter()
        .map(|&(from, len)| {
            let (from, to) = (i64::from(from), i64::from(from) + i64::from(len));
            (to.min(end) - from.max(start)).max(0)
        })
        .sum();
    match advice {
        Advice::GuardInstall if guarded != (end - start).max(0) => {
            Err("after an install that succeeds the whole range is guarded".into())
        }
        Advice::GuardRemove if guarded != 0 => {
            Err("after a removal that succeeds nothing in the range is guarded".into())
        }
        _ => Ok(()),
    }
}

/// Guards move with their pages: what was guarded in the old range is guarded at its new place, nothing else is there, and the
/// old place has none.
fn moved_guards_obey(
    before: &World,
    after: &World,
    actor: ActorId,
    (range, to, how): (Range, Range, Remap),
    g: Geometry,
) -> Result<(), String> {
    let (Some((start, end)), Some((new_start, new_end))) = (covered(range, g), covered(to, g))
    else {
        return Ok(());
    };
    if !how.has_target() {
        return Ok(());
    }
    let guards = |world: &World, from: i64, to: i64| -> Vec<i64> {
        let inside = |p: &i64| (from..to).contains(p);
        pages(&world.guards(actor))
            .map(i64::from)
            .filter(inside)
            .collect()
    };
    let kept = end.min(start + (new_end - new_start));
    let mut wanted = guards(before, start, kept);
    wanted
        .iter_mut()
        .for_each(|page| *page += new_start - start);
    // What is mapped at the new place of a hole stays.
    let hole = |p: &i64| {
        let old = u32::try_from(p - new_start + start);
        p - new_start < end - start && old.is_ok_and(|old| before.vma_at(actor, old).is_none())
    };
    let mut found = guards(after, new_start, new_end);
    found.retain(|page| !hole(page));
    if wanted != found {
        return Err("guards move with their pages".into());
    }
    if !guards(after, start, end).is_empty() {
        return Err("no guard stays behind where pages have moved".into());
    }
    Ok(())
}

/// The pages of runs, one by one.
fn pages(runs: &[(u32, u32)]) -> impl Iterator<Item = u32> + '_ {
    runs.iter().flat_map(|&(start, len)| start..start + len)
}

fn is_living(world: &World, actor: ActorId) -> bool {
    actor < MAX_ACTORS && world.living().contains(&actor)
}

#[cfg(test)]
mod tests;
