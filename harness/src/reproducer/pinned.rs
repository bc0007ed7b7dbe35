//! From a divergence to a program whose expectations tell it: it holds where the rules are kept and fails where they are not, by
//! nothing but what its author could have written.

use crate::campaign::{Kind, Story};
use oracle::geometry::{Geometry, Pos};
use oracle::judge::strip::{check_expect, render, windows, Strip};
use oracle::judge::{Observation, Outcome, SpaceSeen, ValueRun};
use oracle::program::{
    ActorId, Advice, Backing, Expect, FlagExpected, KeyGiven, Need, Op, Program, UffdCall,
    ValueTags,
};

/// Why a divergence cannot be told so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no expectation of a program tells this divergence: {0}")]
pub struct Unpinned(pub String);

/// `program` up to the op of the story, which expects there what the rules say and the kernel did not do. After a crash or a hang it
/// expects nothing: that it comes to its end says it all.
///
/// # Errors
/// What differs is nothing that a program can expect: sizes, residency, soft-dirty bits, views that contradict each other.
pub fn pinned(program: &Program, story: &Story, g: Geometry) -> Result<Program, Unpinned> {
    let mut short = program.without_expectations();
    short.steps.truncate(story.step + 1);
    short.trailer.clear();
    short.needs = needs(&short);
    let Some(last) = short.steps.last_mut() else {
        return Err(Unpinned("the program has no op".into()));
    };
    if story.kind != Kind::Divergence {
        return Ok(short);
    }
    let Some(observed) = &story.observed else {
        return Err(Unpinned("nothing was seen after the op".into()));
    };
    let mut candidates = outcome(&story.expected.outcome, g);
    candidates.extend(views(&story.expected, observed, story, g));
    let tells = |expect: &Expect| {
        check_expect(expect, &story.expected, g).is_ok()
            && check_expect(expect, observed, g).is_err()
    };
    match candidates.into_iter().find(tells) {
        Some(expect) => last.expect = vec![expect],
        None => return Err(Unpinned(format!("it is about {}", story.class))),
    }
    Ok(short)
}

/// What the program needs of a kernel, as far as its ops say.
fn needs(program: &Program) -> Vec<Need> {
    let mut needs = program.needs.clone();
    let shared = program.steps.iter().any(|step| {
        matches!(step.op, Op::Mmap { backing, .. } if backing.is_shared() || matches!(backing, Backing::File(_)))
    });
    let guard = |advice: Advice| matches!(advice, Advice::GuardInstall | Advice::GuardRemove);
    for step in &program.steps {
        needs.extend(match step.op {
            Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } if guard(advice) => {
                Some(if shared {
                    Need::GuardsShared
                } else {
                    Need::Guards
                })
            }
            Op::Mseal { .. } => Some(Need::Mseal),
            Op::PkeyMprotect {
                key: KeyGiven::Open | KeyGiven::NoWrite | KeyGiven::NoAccess,
                ..
            } => Some(Need::Pkeys),
            Op::Mmap {
                backing: Backing::Droppable,
                ..
            } => Some(Need::Droppable),
            Op::Mmap {
                backing: Backing::Hugetlb { .. },
                ..
            } => Some(Need::Hugetlb),
            Op::ClearSoftDirty => Some(Need::SoftDirty),
            Op::Uffd { call, .. } => Some(match call {
                UffdCall::RegisterWp
                | UffdCall::RegisterBoth
                | UffdCall::Protect
                | UffdCall::Unprotect
                | UffdCall::Copy { protect: true, .. } => Need::UffdWp,
                UffdCall::Move { .. } => Need::UffdMove,
                _ => Need::Uffd,
            }),
            _ => None,
        });
    }
    needs.extend(program.knobs.swap.then_some(Need::Swap));
    let fails = program.steps.iter().any(|step| step.fail.is_some());
    needs.extend(fails.then_some(Need::FailNth));
    needs.sort_unstable();
    needs.dedup();
    needs
}

/// An outcome as an author would write it.
fn outcome(outcome: &Outcome, g: Geometry) -> Vec<Expect> {
    let page = |addr: i64| Pos::from_page_index(addr.div_euclid(g.page_size.into()), g);
    match outcome {
        Outcome::Ok => vec![Expect::Ok],
        Outcome::Elsewhere => vec![Expect::Elsewhere],
        Outcome::Errno(errno) => vec![Expect::Errno(*errno)],
        // Of threads that run at once: nothing that holds for every run.
        Outcome::Each(_) | Outcome::Together(_) => Vec::new(),
        Outcome::Unflagged => vec![Expect::Unflagged],
        Outcome::Moved(moved) if moved.all => vec![Expect::Ok, values(&moved.values)],
        Outcome::Moved(moved) => {
            let up_to = page(moved.end).map(|at| Expect::UpTo(within(at, moved.end, g)));
            let mut all: Vec<Expect> = up_to.into_iter().collect();
            all.push(values(&moved.values));
            all
        }
        Outcome::Access(access) => {
            let how = match access.fault {
                None => Expect::Ok,
                Some(fault) => Expect::Signal {
                    signo: fault.signo,
                    code: Some(fault.code),
                    at: page(fault.addr).map(|at| within(at, fault.addr, g)),
                },
            };
            vec![how, values(&access.values)]
        }
    }
}

/// A page's position with the bytes that an address lies behind its start.
fn within(at: Pos, addr: i64, g: Geometry) -> Pos {
    let byte = addr.rem_euclid(g.page_size.into());
    Pos {
        byte: u16::try_from(byte).unwrap_or(0).min(4095),
        ..at
    }
}

fn values(runs: &[ValueRun]) -> Expect {
    let mut tags: Vec<ValueTags> = Vec::new();
    for run in runs {
        let tag = run.first.tag().unwrap_or(0);
        match tags.last_mut() {
            Some(last) if last.tag == tag => last.pages += run.len,
            _ => tags.push(ValueTags {
                tag,
                pages: run.len,
            }),
        }
    }
    Expect::Values(tags)
}

/// Strips and VmFlags that differ, those of the story's actor first, and as little of them as tells.
fn views(
    expected: &Observation,
    observed: &Observation,
    story: &Story,
    g: Geometry,
) -> Vec<Expect> {
    let mut found = Vec::new();
    for (actor, want) in &expected.spaces {
        let Some((_, seen)) = observed.spaces.iter().find(|(a, _)| a == actor) else {
            continue;
        };
        let here = if story.actor == Some(*actor) {
            story.pages
        } else {
            None
        };
        // The pages that differ alone, if that is enough: what stands beside them may be another kernel's business.
        for (from, to) in here.into_iter().filter(|(from, to)| from < to) {
            let last = g.arena_pages();
            found.extend(strip(*actor, want, from, to.min(last), g));
            found.extend(strip(
                *actor,
                want,
                from.saturating_sub(1),
                (to + 1).min(last),
                g,
            ));
        }
        for (from, to) in windows(&[want, seen], g) {
            found.extend(strip(*actor, want, from, to, g));
        }
        found.extend(flags(*actor, want, seen, g));
    }
    found.sort_by_key(|e| e.view_of() != story.actor);
    found
}

fn strip(actor: ActorId, space: &SpaceSeen, from: u32, to: u32, g: Geometry) -> Option<Expect> {
    let text = render(space, g, from, to);
    let text = Strip::parse(&text).ok()?.to_string();
    Some(Expect::Strip {
        actor,
        at: Pos::from_page_index(from.into(), g)?,
        strip: text,
    })
}

fn flags(actor: ActorId, want: &SpaceSeen, seen: &SpaceSeen, g: Geometry) -> Vec<Expect> {
    let mut found = Vec::new();
    for vma in &want.vmas {
        let other = seen
            .vmas
            .iter()
            .find(|v| (v.start, v.end) == (vma.start, vma.end));
        let (Some(want), Some(have)) = (&vma.flags, other.and_then(|v| v.flags.as_ref())) else {
            continue;
        };
        let missing = want.iter().filter(|f| !have.contains(f));
        let extra = have.iter().filter(|f| !want.contains(f));
        let one = |flag, set| FlagExpected { flag, set };
        let flags: Vec<FlagExpected> = missing
            .map(|f| one(*f, true))
            .chain(extra.map(|f| one(*f, false)))
            .collect();
        if let (false, Some(at)) = (flags.is_empty(), Pos::from_page_index(vma.start.into(), g)) {
            found.push(Expect::Flags { actor, at, flags });
        }
    }
    found
}
