//! What a set of programs exercises, as the model sees it: how often ops succeed and change something, where guards meet
//! other operations, and which ops and rules occur.
//!
//! Measured on [`Profile::newest`] with 4 KiB pages and the most usual branch, like the generator itself, so the figures
//! belong to the programs and not to a kernel.

use super::generate::{changed, succeeds};
use super::{Advice, Op, Program, Step};
use crate::geometry::{Geometry, Range};
use crate::profile::Profile;
use crate::rules::RuleId;
use crate::space::{PageState, World};
use std::collections::BTreeMap;
use std::fmt;

/// What a live guard can meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meeting {
    Fork,
    Mprotect,
    /// munmap, or mmap over it.
    Munmap,
    /// A load or store of the guarded page.
    Fault,
    /// mremap of the guarded page, or to its place.
    Mremap,
    /// Guards put into a huge page, or a fault or huge-page advice in a block with guards where a huge page could be.
    HugePage,
}

impl Meeting {
    /// Every meeting, with its name.
    pub const ALL: [(Meeting, &'static str); 6] = [
        (Meeting::Fork, "fork"),
        (Meeting::Mprotect, "mprotect"),
        (Meeting::Munmap, "munmap"),
        (Meeting::Fault, "fault"),
        (Meeting::Mremap, "mremap"),
        (Meeting::HugePage, "huge page"),
    ];
}

/// Ops of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpCount {
    pub ops: u64,
    pub succeeded: u64,
}

/// Counts over programs. Merging the counts of two sets gives those of their union.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    pub programs: u64,
    pub ops: u64,
    pub succeeded: u64,
    /// Ops after which the machine looks different.
    pub changes: u64,
    /// Programs with fewer than five such ops.
    pub programs_with_few_changes: u64,
    /// Programs in which a guard meets something.
    pub programs_with_meetings: u64,
    /// Programs by what a guard meets in them.
    pub meetings: BTreeMap<Meeting, u64>,
    /// Ops by name.
    pub by_op: BTreeMap<&'static str, OpCount>,
    /// Ops by rule that they exercise.
    pub by_rule: BTreeMap<RuleId, u64>,
}

impl Stats {
    /// Counts of a set of programs.
    pub fn of<'a>(programs: impl IntoIterator<Item = &'a Program>) -> Stats {
        let mut stats = Stats::default();
        for program in programs {
            stats.add(program);
        }
        stats
    }

    /// Runs a program on the model and counts it in.
    pub fn add(&mut self, program: &Program) {
        let mut world = World::new(&Profile::newest(), Geometry::K4, program.knobs);
        let mut changes = 0;
        let mut met: Vec<Meeting> = Vec::new();
        for step in &program.steps {
            met.extend(meetings(&world, step));
            let mut branches = world.apply(step);
            if branches.is_empty() {
                continue;
            }
            let branch = branches.swap_remove(0);
            let count = self.by_op.entry(step.op.name()).or_default();
            count.ops += 1;
            self.ops += 1;
            if succeeds(&branch.outcome) {
                count.succeeded += 1;
                self.succeeded += 1;
            }
            for rule in branch.rules.iter() {
                *self.by_rule.entry(rule).or_default() += 1;
            }
            changes += u64::from(changed(&world, &branch.world));
            world = branch.world;
        }
        self.programs += 1;
        self.changes += changes;
        self.programs_with_few_changes += u64::from(changes < 5);
        met.sort_unstable();
        met.dedup();
        self.programs_with_meetings += u64::from(!met.is_empty());
        for meeting in met {
            *self.meetings.entry(meeting).or_default() += 1;
        }
    }

    /// Adds the counts of another set.
    pub fn merge(&mut self, other: &Stats) {
        self.programs += other.programs;
        self.ops += other.ops;
        self.succeeded += other.succeeded;
        self.changes += other.changes;
        self.programs_with_few_changes += other.programs_with_few_changes;
        self.programs_with_meetings += other.programs_with_meetings;
        for (meeting, n) in &other.meetings {
            *self.meetings.entry(*meeting).or_default() += n;
        }
        for (name, count) in &other.by_op {
            let mine = self.by_op.entry(name).or_default();
            mine.ops += count.ops;
            mine.succeeded += count.succeeded;
        }
        for (rule, n) in &other.by_rule {
            *self.by_rule.entry(*rule).or_default() += n;
        }
    }

    /// Share of ops that succeed, 0 to 1.
    pub fn success_share(&self) -> f64 {
        share(self.succeeded, self.ops)
    }

    /// State changes per program.
    pub fn changes_per_program(&self) -> f64 {
        share(self.changes, self.programs)
    }

    /// Ops per program.
    pub fn ops_per_program(&self) -> f64 {
        share(self.ops, self.programs)
    }

    /// Share of programs in which a live guard meets something, 0 to 1.
    pub fn meeting_share(&self) -> f64 {
        share(self.programs_with_meetings, self.programs)
    }

    /// Share of ops that have this name, 0 to 1.
    pub fn op_share(&self, name: &str) -> f64 {
        share(self.by_op.get(name).map_or(0, |c| c.ops), self.ops)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// The table that a campaign prints.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part, whole| 100.0 * share(part, whole);
        writeln!(f, "programs               {:>10}", self.programs)?;
        writeln!(f, "ops per program        {:>10.1}", self.ops_per_program())?;
        writeln!(
            f,
            "ops that succeed       {:>9.1}%",
            100.0 * self.success_share()
        )?;
        writeln!(
            f,
            "changes per program    {:>10.1}",
            self.changes_per_program()
        )?;
        writeln!(
            f,
            "fewer than 5 changes   {:>9.1}% of programs",
            percent(self.programs_with_few_changes, self.programs)
        )?;
        writeln!(
            f,
            "a guard meets          {:>9.1}% of programs",
            100.0 * self.meeting_share()
        )?;
        for (meeting, name) in Meeting::ALL {
            let n = self.meetings.get(&meeting).copied().unwrap_or(0);
            writeln!(f, "  {name:<20} {:>9.1}%", percent(n, self.programs))?;
        }
        writeln!(f, "op                          share  succeed")?;
        for (name, count) in &self.by_op {
            writeln!(
                f,
                "  {name:<20} {:>9.1}% {:>7.1}%",
                percent(count.ops, self.ops),
                percent(count.succeeded, count.ops)
            )?;
        }
        if !self.by_rule.is_empty() {
            writeln!(f, "rule                                              ops")?;
        }
        for (rule, n) in &self.by_rule {
            writeln!(f, "  {:<44} {n:>8}", rule.0)?;
        }
        Ok(())
    }
}

/// What the guards of a world meet in a step.
fn meetings(world: &World, step: &Step) -> Vec<Meeting> {
    let guards = world.guards(step.actor);
    let mut met = Vec::new();
    let guarded = |from: i64, to: i64| {
        guards
            .iter()
            .any(|&(start, len)| i64::from(start) < to && from < i64::from(start) + i64::from(len))
    };
    let span = |range: Range| {
        let page = range.start.page_index(Geometry::K4);
        // A range that ends inside a page reaches into it.
        let end = range.end.page_index(Geometry::K4) + i64::from(range.end.byte > 0);
        (page, end)
    };
    let touches = |range: Range| {
        let (from, to) = span(range);
        guarded(from, to)
    };
    match step.op {
        Op::Fork { .. } if !guards.is_empty() => met.push(Meeting::Fork),
        Op::Mprotect { range, .. } if touches(range) => met.push(Meeting::Mprotect),
        Op::Munmap { range } | Op::Mmap { range, .. } if touches(range) => {
            met.push(Meeting::Munmap);
        }
        Op::Mremap { range, to, .. } if touches(range) || touches(to) => met.push(Meeting::Mremap),
        Op::Read { range } | Op::Write { range, .. } => {
            if touches(range) {
                met.push(Meeting::Fault);
            }
            if guarded_huge_block(world, step.actor, span(range), &guarded) {
                met.push(Meeting::HugePage);
            }
        }
        Op::Madvise { range, advice } => {
            let (from, to) = span(range);
            let meets = match advice {
                Advice::GuardInstall => huge_pages(world, step.actor, from, to),
                Advice::HugePage => guarded_huge_block(world, step.actor, (from, to), &guarded),
                _ => false,
            };
            if meets {
                met.push(Meeting::HugePage);
            }
        }
        _ => {}
    }
    met
}

/// Whether a page of `from..to` is mapped by a PMD.
fn huge_pages(world: &World, actor: u8, from: i64, to: i64) -> bool {
    let per = i64::from(Geometry::K4.pages_per_pmd);
    world.huge_blocks(actor).into_iter().any(|block| {
        let start = i64::from(block) * per;
        from < start + per
            && start < to
            && matches!(
                world.page(actor, start as u32),
                PageState::Anon { huge: true, .. }
                    | PageState::Zero { huge: true }
                    | PageState::File { huge: true, .. }
            )
    })
}

/// Whether `from..to` reaches into a block that lies in one VMA as a whole and holds a guard.
fn guarded_huge_block(
    world: &World,
    actor: u8,
    (from, to): (i64, i64),
    guarded: &impl Fn(i64, i64) -> bool,
) -> bool {
    let per = i64::from(Geometry::K4.pages_per_pmd);
    (from.max(0) / per..=(to - 1).max(0) / per).any(|block| {
        let (start, end) = (block * per, (block + 1) * per);
        let mut vmas = world.vmas(actor).iter();
        from < end
            && start < to
            && vmas.any(|v| i64::from(v.start) <= start && end <= i64::from(v.end))
            && guarded(start, end)
    })
}

#[cfg(test)]
mod tests;
