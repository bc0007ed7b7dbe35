//! The set of worlds that explain everything seen so far.

use super::compare::{first_difference, Difference, Expected, SOFT_DIRTY_BIT, VMA_BORDER};
use super::{
    count, ByOp, Class, Details, Divergence, Observation, Outcome, Tightness, Verdict, VmaSeen,
};
use crate::geometry::Geometry;
use crate::profile::Profile;
use crate::program::{ActorId, File, Knobs, Op, Step};
use crate::rules::errno::{EINVAL, ENOMEM};
use crate::rules::failing::FAILED;
use crate::rules::registry::{index_of, Rule};
use crate::rules::report::{self, Contents, Smaps};
use crate::rules::{
    args, collapse, folio, free, limits, madvise, sizes, soft_dirty, swap, thp, RuleId, RuleSet,
    RULES,
};
use crate::space::{Branch, PageState, World};

mod failing;
mod together;

/// Rules that permit more than one outcome.
const PERMISSIONS: [usize; 4] = [
    index_of(&thp::MAY_FAIL),
    index_of(&folio::SHARING_IS_ESTIMATED),
    index_of(&collapse::MAY_FAIL),
    index_of(&collapse::WRITABLE_UNKNOWN),
];

/// [`PERMISSIONS`], and what an allocation that fails permits, which comes first.
fn permissions() -> impl Iterator<Item = usize> {
    FAILED.into_iter().chain(PERMISSIONS)
}

/// Follows one run of a program: every world takes every allowed branch, observation keeps those that explain it.
#[derive(Debug, Clone)]
pub struct Oracle {
    worlds: Vec<World>,
    branches: Vec<Branch>,
    /// The step that led to `branches`.
    step: Option<Step>,
    /// The steps that led there at once; empty when it was one.
    section: Vec<Step>,
    /// The section has too many ways to be gone through.
    too_large: bool,
    /// Which branches explained the last section.
    ways: Vec<usize>,
    by_op: ByOp,
    /// VmFlags that ops could have changed since VmFlags were last seen: by which op, and the count.
    open_flags: Vec<(&'static str, Tightness)>,
}

impl Oracle {
    /// One actor with an empty arena on a kernel of this profile.
    pub fn new(profile: &Profile, geometry: Geometry, knobs: Knobs) -> Oracle {
        Oracle {
            worlds: vec![World::new(profile, geometry, knobs)],
            branches: Vec::new(),
            step: None,
            section: Vec::new(),
            too_large: false,
            ways: Vec::new(),
            by_op: ByOp::default(),
            open_flags: Vec::new(),
        }
    }

    /// What is known about the kernel's memory: see [`World::with_free_pages`].
    pub fn with_free_pages(mut self, pages: u64) -> Oracle {
        let worlds = self.worlds.into_iter();
        self.worlds = worlds.map(|w| w.with_free_pages(pages)).collect();
        self
    }

    /// Every world takes every branch that the step allows.
    pub fn step(&mut self, step: &Step) {
        self.branches = self.worlds.iter().flat_map(|w| w.apply(step)).collect();
        self.step = Some(step.clone());
        self.section.clear();
    }

    /// Judges what was seen after the last [`Oracle::step`] and keeps the branches that explain it. After a divergence
    /// all branches are kept, so that a caller may go on.
    pub fn observe(&mut self, seen: &Observation) -> Verdict {
        let Some(step) = self.step.take() else {
            return Verdict::Agree;
        };
        if !self.section.is_empty() {
            return self.observe_together(seen);
        }
        self.keep_ways_that_came(&step, seen);
        // Whether branches agree about VmFlags counts even where nobody has looked.
        let smaps = smaps_of(seen).max(match self.branches.len() {
            0 | 1 => Smaps::Nothing,
            _ => Smaps::Flags,
        });
        let expected = |branch| expected(branch, smaps, seen);
        let expected: Vec<Expected> = self.branches.iter().map(expected).collect();
        let geometry = self.worlds[0].geometry();
        let counted = count::count(&step, &expected, seen, geometry);
        let mut differences: Vec<Option<Difference>> = expected
            .iter()
            .map(|e| first_difference(e, seen, &step))
            .collect();
        let taken = match differences.iter().all(Option::is_some) {
            true => self.lazily_freed(&step, seen),
            false => Vec::new(),
        };
        let was_taken = !taken.is_empty();
        let stayed = match was_taken || differences.iter().any(Option::is_none) {
            true => Vec::new(),
            false => self.swapped_otherwise(&step, seen),
        };
        let has_stayed = !stayed.is_empty();
        let taken = if has_stayed { stayed } else { taken };
        if was_taken || has_stayed {
            differences = vec![None; taken.len()];
            self.branches = taken;
        }
        let verdict = if !limits::modelled(self.worlds[0].knobs()) {
            Verdict::Poisoned {
                rule: RuleId(limits::KNOBS.name),
            }
        } else if let Some(rule) = self.not_modelled() {
            Verdict::Poisoned {
                rule: RuleId(rule.name),
            }
        } else if was_taken {
            Verdict::Allowed {
                rule: RuleId(free::MAY_TAKE.name),
            }
        } else if has_stayed {
            Verdict::Allowed {
                rule: RuleId(swap::MAY_STAY.name),
            }
        } else if differences.iter().any(Option::is_none) {
            let fits = |i: &usize| differences[*i].is_none();
            let explained = self.explained((0..differences.len()).filter(fits));
            failing::did_without(explained, seen)
        } else if self.out_of_memory(&step, seen) {
            self.short_of_memory(&step, seen)
        } else {
            let best = (0..differences.len())
                .rev()
                .max_by_key(|&i| differences[i].as_ref().map_or(0, |d| d.rank))
                .unwrap_or(0);
            match &differences[best] {
                Some(difference) => {
                    Verdict::Divergence(Box::new(self.divergence(&step, best, difference)))
                }
                None => Verdict::Agree,
            }
        };
        let mut counted = counted;
        if matches!(verdict, Verdict::Poisoned { .. }) {
            // What cannot be judged was not pinned down.
            counted.tightness.exact = 0;
            counted.flags.exact = 0;
        }
        // What lazily freed pages hold is not pinned down.
        let open = self.branches.first().map_or(0, |b| free::open(&b.world));
        if open > 0 {
            self.by_op.line(ByOp::OPEN).tightness.values += open;
        }
        // Nor which pages reclaim has left where they were.
        let may_stay = self.branches.first().map_or(0, |b| swap::open(&b.world));
        let name = step.op.name();
        let line = self.by_op.line(name);
        line.ops += 1;
        line.tightness.values += may_stay;
        line.tightness += counted.tightness;
        if counted.flags.values > 0 {
            self.open_flags.push((name, counted.flags));
        }
        if counted.flags_seen {
            for (name, flags) in self.open_flags.drain(..) {
                self.by_op.line(name).tightness += flags;
            }
        }
        let kept = self.branches.drain(..).zip(differences);
        let all = !matches!(verdict, Verdict::Agree | Verdict::Allowed { .. });
        let mut worlds: Vec<World> = Vec::with_capacity(1);
        for (branch, difference) in kept {
            if (all || difference.is_none()) && !worlds.contains(&branch.world) {
                worlds.push(branch.world);
            }
        }
        self.worlds = worlds;
        verdict
    }

    /// Where the model ends, if the step may have led there.
    fn not_modelled(&self) -> Option<&'static Rule> {
        const ENDS: [(usize, &Rule); 3] = [
            (
                index_of(&limits::COLLAPSE_OF_FILES),
                &limits::COLLAPSE_OF_FILES,
            ),
            (index_of(&limits::HUGETLB_MARKERS), &limits::HUGETLB_MARKERS),
            (index_of(&limits::MOVES_SWAPPED), &limits::MOVES_SWAPPED),
        ];
        let used = |end: usize| self.branches.iter().any(|b| b.rules.contains_index(end));
        let end = ENDS.into_iter().find(|(end, _)| used(*end));
        end.map(|(_, rule)| rule)
    }

    /// The branches that explain what was seen if the kernel has taken lazily freed pages, before the op or after it.
    fn lazily_freed(&self, step: &Step, seen: &Observation) -> Vec<Branch> {
        let mut branches = Vec::new();
        for before in self.worlds.iter().filter(|w| w.may_be_short()) {
            let earlier = free::taken(before, &seen.spaces);
            let any = earlier.is_some();
            let ways = earlier.as_ref().unwrap_or(before).apply(step).into_iter();
            for mut branch in ways.filter(|way| failing::may_have_come(way, seen)) {
                let later = free::taken(&branch.world, &seen.spaces);
                let any = any || later.is_some();
                if let Some(world) = later {
                    branch.world = world;
                }
                let expected = expected(&branch, smaps_of(seen), seen);
                if any && first_difference(&expected, seen, step).is_none() {
                    branches.push(branch);
                }
            }
        }
        branches
    }

    /// The branches that explain what was seen if reclaim has left pages where they were, or taken them unasked.
    fn swapped_otherwise(&self, step: &Step, seen: &Observation) -> Vec<Branch> {
        let mut branches = Vec::new();
        let ways = self.worlds.iter().flat_map(|world| world.apply(step));
        for mut branch in ways.filter(|way| failing::may_have_come(way, seen)) {
            let Some(world) = swap::otherwise(&branch.world, &seen.spaces) else {
                continue;
            };
            branch.world = world;
            let expected = expected(&branch, smaps_of(seen), seen);
            if first_difference(&expected, seen, step).is_none() {
                branches.push(branch);
            }
        }
        branches
    }

    /// Agree if one of these branches explains it without any permission, else the permission.
    fn explained(&self, branches: impl IntoIterator<Item = usize>) -> Verdict {
        let mut allowed = None;
        for branch in branches {
            let rules = &self.branches[branch].rules;
            match permissions().find(|p| rules.contains_index(*p)) {
                None => return Verdict::Agree,
                Some(permission) => allowed = allowed.or(Some(RuleId(RULES[permission].name))),
            }
        }
        match allowed {
            Some(rule) => Verdict::Allowed { rule },
            None => Verdict::Agree,
        }
    }

    fn divergence(&self, step: &Step, best: usize, difference: &Difference) -> Divergence {
        let branch = &self.branches[best];
        let rule = self.rule(step, branch, difference);
        let place = match (difference.actor, difference.pages) {
            (Some(actor), Some((from, to))) if to == u32::MAX || to - from == 1 => {
                format!("actor {actor}, page {from}: ")
            }
            (Some(actor), Some((from, to))) => {
                format!("actor {actor}, pages {from} to {}: ", to - 1)
            }
            (Some(actor), None) => format!("actor {actor}: "),
            _ => String::new(),
        };
        let mut text = format!(
            "{place}{} is {}, expected {}.",
            difference.of, difference.observed, difference.expected
        );
        if let Some(note) = &difference.note {
            text.push_str(&format!(" {note}."));
        }
        Divergence {
            class: difference.class,
            rule,
            expected: difference.expected.clone(),
            observed: difference.observed.clone(),
            details: Details {
                actor: difference.actor,
                pages: difference.pages,
                text,
            },
        }
    }

    /// The rule that speaks about a difference: of those that the branch used if the op reaches the place or the model
    /// changed something there, else that nothing else changes.
    fn rule(&self, step: &Step, branch: &Branch, difference: &Difference) -> RuleId {
        let untouched = RuleId(report::UNTOUCHED.name);
        if difference.class == Class::Sizes {
            return RuleId(match difference.of {
                "LazyFree" => sizes::LAZY_FREE.name,
                _ => sizes::ADDS_UP.name,
            });
        }
        if difference.of == SOFT_DIRTY_BIT {
            return RuleId(match step.op {
                Op::ClearSoftDirty => soft_dirty::CLEARS.name,
                _ => soft_dirty::SHOWN.name,
            });
        }
        if let Some(reason) = reason(branch, difference) {
            return reason;
        }
        if difference.of == super::compare::UFFD_WP_BIT {
            return RuleId(crate::rules::uffd::protect::SHOWN.name);
        }
        if matches!(step.op, Op::Look { .. }) && difference.class == Class::Errno {
            return RuleId(report::LOOK.name);
        }
        let about = |rules: &RuleSet| {
            let speaks = |rule: &Rule| speaks(rule, difference);
            // What an op of another kind has the kernel fault in, it does by the op's own rules.
            let accesses = matches!(
                step.op,
                Op::Read { .. } | Op::Write { .. } | Op::Transfer { .. } | Op::Uffd { .. }
            );
            let own = |rule: &Rule| speaks(rule) && (accesses || !is_fault(rule));
            let closest = rules.about(difference.class, own);
            let closest = closest.or_else(|| rules.about(difference.class, speaks));
            closest.or(match difference.class {
                Class::VmFlags => Some(RuleId(report::VM_FLAGS.name)),
                Class::Residency => Some(RuleId(report::RESIDENT.name)),
                _ => None,
            })
        };
        let (Some(actor), Some((from, to))) = (difference.actor, difference.pages) else {
            return about(&branch.rules).unwrap_or(untouched);
        };
        let page = branch.world.page(actor, from);
        if difference.class == Class::Residency
            && !matches!(
                page,
                PageState::Unmapped | PageState::Empty | PageState::Guard
            )
        {
            // The page table is as expected: what mincore makes of it is not.
            return RuleId(report::RESIDENT.name);
        }
        let maps = |file: File| {
            let vma = branch.world.vma_at(actor, from);
            let map = vma.and_then(|vma| branch.world.file_of(vma));
            map.is_some_and(|map| map.file == file)
        };
        let reached = match step.op {
            Op::Truncate { file, .. } | Op::PunchHole { file, .. } => maps(file),
            Op::Fork { child } => actor == step.actor || actor == child,
            Op::Mlockall { .. } | Op::Munlockall | Op::ClearSoftDirty | Op::Brk { .. } => {
                actor == step.actor
            }
            _ => {
                actor == step.op.other().unwrap_or(step.actor)
                    && self.in_range(step, difference.class, from, to)
            }
        };
        if !reached && only_sharing(difference) {
            // Who else maps a page is nobody's own: an op elsewhere changes it too.
            let by_head = difference.expected.starts_with("huge-")
                && branch.world.profile().huge_exclusive_by_head;
            RuleId(if by_head {
                report::HUGE_EXCLUSIVE_HEAD.name
            } else {
                report::EXCLUSIVE.name
            })
        } else if reached || self.changed(branch, actor, from) {
            about(&branch.rules).unwrap_or(untouched)
        } else {
            untouched
        }
    }

    /// Whether a range of the op holds one of the pages; a VMA may begin at its end too.
    fn in_range(&self, step: &Step, class: Class, from: u32, to: u32) -> bool {
        let g = self.worlds[0].geometry();
        step.op.ranges().any(|r| {
            let begins_behind = class == Class::Vma;
            let further = i64::from(begins_behind || !r.end.is_page_aligned());
            let (a, b) = (r.start.page_index(g), r.end.page_index(g) + further);
            a < i64::from(to) && i64::from(from) < b
        })
    }

    /// Whether the model changed how a page or its VMA looks in this step.
    fn changed(&self, branch: &Branch, actor: ActorId, page: u32) -> bool {
        self.worlds.iter().all(|before| {
            before.page(actor, page) != branch.world.page(actor, page)
                || before.vma_at(actor, page) != branch.world.vma_at(actor, page)
        })
    }

    /// Keeps only the worlds that the other oracle holds possible as well. False, and nothing changed, when there is none: what
    /// the two have seen cannot be the same.
    pub fn agree_with(&mut self, other: &Oracle) -> bool {
        let common: Vec<World> = self
            .worlds
            .iter()
            .filter(|world| other.worlds.contains(world))
            .cloned()
            .collect();
        if common.is_empty() {
            return false;
        }
        self.worlds = common;
        true
    }

    /// The worlds that explain everything seen so far. Never empty; after a divergence, those that were expected.
    pub fn worlds(&self) -> &[World] {
        &self.worlds
    }

    /// After [`Oracle::step`]: everything that is allowed, the most usual first.
    pub fn expected(&self) -> &[Branch] {
        &self.branches
    }

    /// Counts over all observations so far. VmFlags that an op could have changed count as exact once VmFlags are seen again
    /// (they are sticky, so a later look tells), until then as loose.
    pub fn by_op(&self) -> ByOp {
        let mut by_op = self.by_op.clone();
        for (name, flags) in &self.open_flags {
            by_op.line(name).tightness.values += flags.values;
        }
        by_op
    }

    /// [`Oracle::by_op`] as a whole.
    pub fn tightness(&self) -> Tightness {
        self.by_op().total()
    }
}

/// The rule that a refusal comes from, whatever else the step has done: (errno, rule).
const REFUSALS: [(i32, &Rule); 4] = [
    (EINVAL, &args::ALIGNMENT),
    (EINVAL, &args::EMPTY),
    (EINVAL, &args::WRAPS),
    (ENOMEM, &madvise::HOLE),
];

/// Why a call was expected to be refused, where one of its rules can have no other effect.
fn reason(branch: &Branch, difference: &Difference) -> Option<RuleId> {
    let Outcome::Errno(errno) = branch.outcome else {
        return None;
    };
    let mut refusals = REFUSALS.iter().filter(|(e, _)| *e == errno);
    let found = refusals.find(|(_, rule)| branch.rules.contains(RuleId(rule.name)))?;
    (difference.class == Class::Errno).then_some(RuleId(found.1.name))
}

/// Rules of how pages are faulted in.
fn is_fault(rule: &Rule) -> bool {
    const FILE: [&str; 6] = [
        "file/fault",
        "file/store",
        "file/fault-around",
        "file/private-copy",
        "file/huge-readahead",
        "file/beyond-end",
    ];
    let family = |name: &str| rule.name.starts_with(name);
    family("access/") || family("thp/") || FILE.contains(&rule.name)
}

/// Whether a rule that speaks about a class of differences can mean this one. Merging, and which VMA has which anon_vma, show in
/// where VMAs begin and end only; soft-dirty in its flag (its bit of pagemap is named apart); what becomes of guards under
/// another op, where guards are expected or seen.
fn speaks(rule: &Rule, difference: &Difference) -> bool {
    let shows = |word: &str| {
        let of = |text: &str| text.strip_prefix("no-").unwrap_or(text) == word;
        of(&difference.expected) || of(&difference.observed)
    };
    let about_guards = rule.name.contains("guard") && !rule.name.starts_with("guard/");
    match (difference.class, rule.name) {
        // What was in the way of guards is still there.
        (Class::PageState, "guard/install/zaps-populated") => return !shows("empty"),
        // What need not be copied is not there.
        (Class::PageState, "fork/skips-unneeded") => return difference.expected == "empty",
        (Class::VmFlags, "mmap/stack/no-huge-pages") => return shows("nh"),
        _ => {}
    }
    match difference.class {
        Class::Vma if rule.places_borders() => difference.of == VMA_BORDER,
        Class::VmFlags if rule.name.starts_with("soft-dirty/") => shows("sd"),
        Class::PageState if rule.name.starts_with("soft-dirty/") => false,
        Class::PageState if about_guards => shows("guard"),
        _ => true,
    }
}

/// Whether two page states differ in nothing but whether somebody else maps the page.
fn only_sharing(difference: &Difference) -> bool {
    let (a, b) = (&difference.expected, &difference.observed);
    difference.class == Class::PageState
        && (a.strip_suffix("-shared") == Some(b) || b.strip_suffix("-shared") == Some(a))
}

/// What an observation has of smaps.
fn smaps_of(seen: &Observation) -> Smaps {
    let vmas = seen.spaces.iter().flat_map(|(_, space)| &space.vmas);
    let of = |vma: &VmaSeen| match (&vma.sizes, &vma.flags) {
        (Some(_), _) => Smaps::Sizes,
        (None, Some(_)) => Smaps::Flags,
        (None, None) => Smaps::Nothing,
    };
    vmas.map(of).max().unwrap_or(Smaps::Nothing)
}

/// What a branch would show; of smaps, which takes time, what is asked for. Where mincore may say either, what it said.
fn expected(branch: &Branch, smaps: Smaps, observed: &Observation) -> Expected {
    Expected {
        outcome: branch.outcome.clone(),
        events: branch.world.events().to_vec(),
        spaces: branch
            .world
            .living()
            .into_iter()
            .map(|actor| {
                let mut seen = report::seen(&branch.world, actor, Contents::All, smaps);
                let theirs = observed.spaces.iter().find(|(a, _)| *a == actor);
                let theirs = theirs.and_then(|(_, space)| space.resident.as_deref());
                if let (Some(ours), Some(theirs)) = (&mut seen.resident, theirs) {
                    swap::settle(ours, theirs, &swap::open_residency(&branch.world, actor));
                }
                (actor, seen)
            })
            .collect(),
    }
}
