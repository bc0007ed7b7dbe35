//! One small program per rule, with what must be seen when the rule holds. The tables are `tests/*.rs`; a rule without a
//! program fails `every_rule_has_a_case`.

mod advice;
mod calls;
mod collapsed;
mod droppables;
mod events;
mod failing;
mod faults;
mod files;
mod guards;
mod heap;
mod hints;
mod hugetlbs;
mod locked;
mod mappings;
mod pkeys;
mod populated;
mod remapped;
mod remaps;
mod remaps_locked;
mod resized;
mod sealed;
mod secrets;
mod shown;
mod soft_dirty;
mod swapped;
mod switched;
mod transfers;
mod uffds;
mod vmas;

use super::registry::{index_of, Rule, RuleId, RULES};
use crate::geometry::Geometry;
use crate::judge::strip::check_expect;
use crate::judge::{Observation, Sizes, VmFlag};
use crate::profile::{Arch, Named, Release};
use crate::program::Program;
use crate::space::{PageState, World};
use std::collections::BTreeSet;

/// What smaps adds up where nothing is.
const NO_SIZES: Sizes = Sizes {
    rss: 0,
    pss: 0,
    private: 0,
    anonymous: 0,
    lazy_free: 0,
    anon_huge: 0,
    file_huge: 0,
    swap: 0,
    locked: 0,
};

/// A program that shows a rule.
struct Case {
    rule: &'static Rule,
    /// Profile and architecture that the model runs with.
    on: (Named, Arch),
    /// transparent_hugepage/use_zero_page is off.
    no_zero_page: bool,
    /// Take the last branch of each step instead of the first.
    unusual: bool,
    /// The same, of the last step only.
    unusual_end: bool,
    /// The program, with what is expected after its steps.
    program: &'static str,
    /// VmFlags of the VMA at a page after the last step: those that must be set, and, with `!`, those that must not.
    flags: &'static [(u32, &'static str)],
    /// Runs of pages that mincore must call resident after the last step, of actor 0.
    resident: Option<&'static [(u32, u32)]>,
    /// Pages of actor 0, and of actor 1 with 10000 added, with whether they show as soft-dirty after the last step.
    soft_dirty: &'static [(u32, bool)],
    /// What smaps adds up for the VMA of actor 0 at a page after the last step.
    sizes: &'static [(u32, Sizes)],
}

impl Case {
    const fn new(rule: &'static Rule, program: &'static str) -> Case {
        Case {
            rule,
            on: (Named::NEWEST, Arch::X86_64),
            no_zero_page: false,
            unusual: false,
            unusual_end: false,
            program,
            flags: &[],
            resident: None,
            sizes: &[],
            soft_dirty: &[],
        }
    }

    const fn on(mut self, major: u16, minor: u16, arch: Arch) -> Case {
        self.on = (Named::Release(Release(major, minor, 0)), arch);
        self
    }

    /// As the seed thread's patch had it.
    const fn on_rfc(mut self) -> Case {
        self.on = (Named::Rfc2024, Arch::X86_64);
        self
    }

    const fn without_zero_page(mut self) -> Case {
        self.no_zero_page = true;
        self
    }

    const fn unusual(mut self) -> Case {
        self.unusual = true;
        self
    }

    const fn unusual_end(mut self) -> Case {
        self.unusual_end = true;
        self
    }

    const fn flags(mut self, flags: &'static [(u32, &'static str)]) -> Case {
        self.flags = flags;
        self
    }

    const fn resident(mut self, runs: &'static [(u32, u32)]) -> Case {
        self.resident = Some(runs);
        self
    }

    const fn soft_dirty(mut self, pages: &'static [(u32, bool)]) -> Case {
        self.soft_dirty = pages;
        self
    }

    const fn sizes(mut self, sizes: &'static [(u32, Sizes)]) -> Case {
        self.sizes = sizes;
        self
    }

    /// Everything that is wrong with it.
    fn check(&self) -> Vec<String> {
        let mut profile = self.on.0.profile(self.on.1);
        profile.huge_zero_page &= !self.no_zero_page;
        let program = match Program::load(self.program) {
            Ok(program) => program,
            Err(error) => return vec![error.to_string()],
        };
        let mut wrong = Vec::new();
        let mut world = World::new(&profile, Geometry::K4, program.knobs);
        let mut used = false;
        let mut checks = 0;
        for (index, step) in program.steps.iter().enumerate() {
            let mut branches = world.apply(step);
            let end = index + 1 == program.steps.len();
            let unusual = self.unusual || self.unusual_end && end;
            let chosen = if unusual { branches.len() - 1 } else { 0 };
            let usual = branches.swap_remove(chosen);
            let branch = match step.fail {
                Some(_) => world.failed(step).unwrap_or(usual),
                None => usual,
            };
            used |= branch.rules.contains(RuleId(self.rule.name));
            world = branch.world;
            let seen = Observation {
                outcome: branch.outcome,
                spaces: world.shown(),
                events: world.events().to_vec(),
                failing: None,
            };
            for expect in &step.expect {
                checks += 1;
                if let Err(error) = check_expect(expect, &seen, Geometry::K4) {
                    wrong.push(format!("after `{step}`: {error}"));
                }
            }
        }
        let space = world.seen(0);
        for &(page, flags) in self.flags {
            let vma = space.vmas.iter().find(|v| v.start <= page && page < v.end);
            let set = vma.and_then(|v| v.flags.clone()).unwrap_or_default();
            for flag in flags.split(' ') {
                checks += 1;
                let name = flag.trim_start_matches('!').as_bytes();
                let holds = set.contains(&VmFlag([name[0], name[1]]));
                if holds == flag.starts_with('!') {
                    wrong.push(format!("page {page}: VmFlags {flag} does not hold"));
                }
            }
        }
        if let Some(resident) = self.resident {
            checks += 1;
            if space.resident.as_deref() != Some(resident) {
                wrong.push(format!("resident: {:?}", space.resident));
            }
        }
        for (place, bit) in self.soft_dirty {
            checks += 1;
            let (actor, page) = ((place / 10_000) as u8, place % 10_000);
            let space = world.seen(actor);
            let run = space
                .pages
                .iter()
                .find(|r| (r.start..r.start + r.len).contains(&page));
            if run.map(|r| r.page.soft_dirty) != Some(*bit) {
                wrong.push(format!("actor {actor}, page {page}: {run:?}"));
            }
        }
        for (page, sizes) in self.sizes {
            checks += 1;
            let vma = space.vmas.iter().find(|v| (v.start..v.end).contains(page));
            let seen = vma.and_then(|v| v.sizes);
            if seen != Some(*sizes) {
                wrong.push(format!("page {page}: {seen:?}"));
            }
        }
        if checks == 0 {
            wrong.push("expects nothing".into());
        }
        // Rules about how things are shown hold without being used by a step.
        let shown = self.rule.name.starts_with("report/") || self.rule.name.starts_with("space/");
        if !used && !shown {
            wrong.push("does not use the rule".into());
        }
        wrong
    }
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [
        calls::CASES,
        vmas::CASES,
        guards::CASES,
        heap::CASES,
        hints::CASES,
        advice::CASES,
        mappings::CASES,
        pkeys::CASES,
        populated::CASES,
        failing::CASES,
        collapsed::CASES,
        locked::CASES,
        sealed::CASES,
        resized::CASES,
        remaps::CASES,
        remaps_locked::CASES,
        remapped::CASES,
        faults::CASES,
        files::CASES,
        secrets::CASES,
        droppables::CASES,
        hugetlbs::CASES,
        transfers::CASES,
        uffds::CASES,
        events::CASES,
        shown::CASES,
        soft_dirty::CASES,
        swapped::CASES,
        switched::CASES,
    ]
    .into_iter()
    .flatten()
}

#[test]
fn every_case_shows_its_rule() {
    let mut wrong = String::new();
    for case in cases() {
        for what in case.check() {
            wrong.push_str(&format!("{}: {what}\n{}\n", case.rule.name, case.program));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_rule_has_a_case() {
    let shown: BTreeSet<&str> = cases().map(|c| c.rule.name).collect();
    // The judge tests these: no step of the model comes to its limits. Counters and frames are the harness's to compare.
    let elsewhere = [
        super::limits::OUT_OF_MEMORY.name,
        super::limits::KNOBS.name,
        super::limits::SECTION_TOO_LARGE.name,
        super::failing::OPTIONAL.name,
        // No release is without it for good; see `a_kernel_without_secret_memory`.
        super::secret::MISSING.name,
        // The same; see `a_kernel_without_userfaultfd`.
        super::uffd::MISSING_CALL.name,
        super::free::MAY_TAKE.name,
        super::swap::MAY_STAY.name,
        super::sizes::COUNTERS.name,
        super::sizes::FRAMES.name,
    ];
    let missing: Vec<&str> = RULES
        .iter()
        .map(|r| r.name)
        .filter(|n| !shown.contains(n) && !elsewhere.contains(n))
        // Threads that run at once have cases of their own; see `race::tests`.
        .filter(|n| !n.starts_with("race/"))
        .collect();
    assert!(missing.is_empty(), "rules without a case: {missing:?}");
}

#[test]
fn what_is_moved_beside_its_source_moves_once() {
    let text = include_str!("../../../corpus/regressions/dontunmap-beside-its-source.prog");
    let program = Program::load(text).unwrap();
    for release in ["6.17", "7.1", "7.3"] {
        let profile = Named::parse(release).unwrap();
        let profile = profile.profile(Arch::X86_64);
        let mut world = World::new(&profile, Geometry::K4, program.knobs);
        for step in &program.steps {
            world = world.apply(step).swap_remove(0).world;
        }
        let moved = [519, 520, 521, 522].map(|page| world.page(0, page));
        let zero = PageState::Zero { huge: false };
        let empty = PageState::Empty;
        assert_eq!(moved, [empty, zero, zero, empty], "{release}");
    }
}

#[test]
fn a_kernel_without_secret_memory() {
    let text = "mmap 0+0..0+1 rw shared secret0 fixed\ntruncate secret0 3\npunch-hole secret0 0..1\nseal secret0 grow\n";
    let program = Program::load(text).expect("a program");
    let mut profile = crate::profile::Profile::newest();
    profile.secret_memory = false;
    let world = World::new(&profile, Geometry::K4, program.knobs);
    for step in &program.steps {
        let branches = world.apply(step);
        assert_eq!(branches.len(), 1);
        assert_eq!(
            branches[0].outcome,
            crate::judge::Outcome::Errno(super::errno::EBADF)
        );
        assert!(branches[0]
            .rules
            .contains(RuleId(super::secret::MISSING.name)));
    }
}

#[test]
fn a_kernel_without_userfaultfd() {
    let text = "mmap 0+0..0+1 rw private fixed\nuffd-register-missing 0+0..0+1\nuffd-zeropage 0+0.1..0+1\n";
    let program = Program::load(text).expect("a program");
    let mut profile = crate::profile::Profile::newest();
    profile.userfaultfd = false;
    let world = World::new(&profile, Geometry::K4, program.knobs);
    for step in &program.steps[1..] {
        let branches = world.apply(step);
        let enosys = crate::judge::Outcome::Errno(super::errno::ENOSYS);
        assert_eq!(branches[0].outcome, enosys);
        let rule = RuleId(super::uffd::MISSING_CALL.name);
        assert!(branches[0].rules.contains(rule));
    }
}

#[test]
fn poison_is_any_sigbus_where_the_kernel_does_not_tell() {
    let program = "mmap 0+0..0+1 rw private fixed\nuffd-register-missing 0+0..0+1\nuffd-poison 0+0..0+1\nread 0+0..0+1\n";
    let program = Program::load(program).expect("a program");
    for (told, code) in [
        (true, super::errno::BUS_MCEERR_AR),
        (false, super::errno::BUS_ADRERR),
    ] {
        let profile = crate::profile::Profile {
            poison_told_by_signal: told,
            ..crate::profile::Profile::newest()
        };
        let mut world = World::new(&profile, Geometry::K4, program.knobs);
        let mut last = None;
        for step in &program.steps {
            let branch = world.apply(step).swap_remove(0);
            (world, last) = (branch.world, Some(branch.outcome));
        }
        let Some(crate::judge::Outcome::Access(access)) = last else {
            panic!("an access: {last:?}");
        };
        assert_eq!(access.fault.map(|fault| fault.code), Some(code));
    }
}

#[test]
fn rules_are_told_apart_and_explained() {
    let names: BTreeSet<&str> = RULES.iter().map(|r| r.name).collect();
    assert_eq!(names.len(), RULES.len(), "a name is used twice");
    for (i, rule) in RULES.iter().enumerate() {
        assert_eq!(index_of(rule), i, "{}", rule.name);
        assert!(rule.name.contains('/'), "{}", rule.name);
        assert!(
            rule.text.ends_with('.') && rule.text.len() > 30,
            "{}",
            rule.name
        );
        assert!(
            !rule.source.is_empty() && !rule.since.is_empty(),
            "{}",
            rule.name
        );
        assert!(!rule.about.is_empty(), "{}", rule.name);
        // A line that goes on without a backslash.
        let texts = [rule.text, rule.source, rule.since];
        assert!(!texts.iter().any(|t| t.contains("  ")), "{}", rule.name);
    }
}
