//! The minimizer on the simulated kernel: every fault, flaky faults, mishaps, limits.

use super::*;
use crate::campaign::{judge, ProgramVerdict};
use crate::kernel::simulated::{Mishap, SimFault, Simulated, Strike, FAILING, FAULTS};
use crate::kernel::{Kernel, KernelSource, Prepared, Smaps};
use oracle::geometry::Geometry;
use oracle::profile::Profile;
use oracle::program::generate::generate;
use oracle::program::Program;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

fn with_fault(fault: &'static SimFault) -> Simulated {
    Simulated {
        fault: Some(fault),
        ..Simulated::default()
    }
}

fn fault(family: &str, name: &str) -> &'static SimFault {
    FAULTS
        .iter()
        .find(|f| f.family == family && f.name == name)
        .unwrap_or_else(|| panic!("no fault {family}/{name}"))
}

/// How the minimizer is called in most tests; the profile is the true one, so that a fault cannot bend the probes.
fn settings() -> Settings {
    Settings {
        by: crate::kernel::JudgeBy::profile(oracle::profile::Named::NEWEST),
        ..Settings::default()
    }
}

fn minimized(source: &Simulated, program: &Program, settings: &Settings) -> Minimized {
    let stop = AtomicBool::new(false);
    match minimize(source, program, settings, &stop, &mut |_| {}) {
        Ok(minimized) => minimized,
        Err(error) => panic!("{error}\n{program}"),
    }
}

/// Runs a program; the bucket that it ends in.
fn bucket_of(kernel: &mut dyn Kernel, program: &Program) -> Option<Bucket> {
    let prepared = Prepared {
        id: 1,
        program: Arc::new(program.clone()),
        smaps: Smaps::Every,
        fault: None,
    };
    let executions = kernel.run(&[prepared]).expect("a simulated kernel lives");
    let judged = judge(
        program,
        &executions[0],
        &Profile::at_release(
            oracle::profile::Release::NEWEST,
            oracle::profile::Arch::X86_64,
        ),
        Geometry::K4,
    );
    match judged.verdict {
        ProgramVerdict::Suspect(story) => Some(story.bucket),
        _ => None,
    }
}

/// The first programs of the generator that diverge on a simulated kernel.
fn diverging(source: &Simulated, wanted: usize) -> Vec<(u64, Program)> {
    let mut kernel = source.boot("search").expect("a simulated kernel boots");
    (0..4000)
        .map(|seed| (seed, generate(seed)))
        .filter(|(_, program)| bucket_of(kernel.as_mut(), program).is_some())
        .take(wanted)
        .collect()
}

/// Whether leaving out any op (with what depends on it) makes the bucket go away. A program that still ends there now and
/// then, in fewer than half as many runs as the original, was refused rightly.
fn is_one_minimal(source: &Simulated, result: &Minimized) -> Result<(), String> {
    const RUNS: u32 = 12;
    for index in 0..result.program.steps.len() {
        let shorter = simpler::leave_out(&result.program, &BTreeSet::from([index]));
        if shorter.check().is_err() {
            continue;
        }
        let hits = (0..RUNS)
            .filter(|seed| {
                let source = Simulated {
                    seed: u64::from(*seed),
                    ..source.clone()
                };
                let mut kernel = source.boot("again").expect("a simulated kernel boots");
                bucket_of(kernel.as_mut(), &shorter).as_ref() == Some(&result.story.bucket)
            })
            .count();
        let share = result.before.share() / 2.0;
        if hits as f64 >= share * f64::from(RUNS) {
            return Err(format!(
                "op {index} is not needed ({hits}/{RUNS}):\n{shorter}"
            ));
        }
    }
    Ok(())
}

/// Faults whose bucket names another rule than one that they break, each with why.
const MISNAMED: [(&str, &str); 17] = [
    (
        "madvise/hole-stops",
        "a page behind the hole is in use, and what the advice does to such a page is a rule of its own",
    ),
    (
        "mprotect/drops-guards",
        "an mprotect that finds everything as it should be touches nothing, and so this fault touches the untouched",
    ),
    (
        "mremap/guards-stay-behind",
        "as mprotect/drops-guards, with a place that overlaps itself",
    ),
    (
        "mremap/moves-one-only",
        "the rule of places that overlap speaks about VMAs too, and is the more special",
    ),
    (
        "mremap/target-stays",
        "the rule of which page of the file is moved speaks about VMAs too, and is the more special",
    ),
    (
        "anon-vma/never-reused",
        "the flags that keep no VMAs apart are a rule about the same border, and the more special",
    ),
    (
        "tables/zap-takes-all",
        "what DONTNEED discards is a rule about these pages, too, and comes after what a zap does to tables",
    ),
    (
        "fork/loses-data",
        "what WIPEONFORK leaves out is a rule about a child's pages, and is the more special",
    ),
    (
        "populate/populate-write-reads",
        "a load maps pages around the one that it is about, which is none of the call's business",
    ),
    (
        "advice/free-skipped",
        "that pages are not lazily freed shows when PAGEOUT does not take them",
    ),
    (
        "advice/free-takes-at-once",
        "memory of a file refuses the advice, and so the fault touches the untouched",
    ),
    (
        "mlock/munlock-short",
        "that the VMA is not split is looked at before its flags",
    ),
    ("fork/stays-exclusive", "as fork/loses-data"),
    ("uffd/register-skipped", "as munlock-short"),
    (
        "uffd/copies-over-guards",
        "that the new pages are write-protected is a rule about the same call, and comes last",
    ),
    (
        "transfer/pins-shared",
        "the fault reads what the call does not come to either, and that shows first",
    ),
    (
        "swap/fork-drops-entries",
        "what a child shares with its parent is a rule about all pages, and comes last",
    ),
];

/// Every simulated fault: minimized, its bucket names a rule that it breaks.
#[test]
fn every_fault_is_named_by_a_rule_that_it_breaks() {
    let rules: BTreeSet<&str> = oracle::rules::RULES.iter().map(|rule| rule.name).collect();
    let mut wrong = Vec::new();
    let mut story = String::new();
    for fault in FAULTS {
        let name = fault.full_name();
        for rule in fault.breaks {
            assert!(rules.contains(rule), "{name}: no rule {rule}");
        }
        let source = with_fault(fault);
        for (_, program) in diverging(&source, 1) {
            let result = minimized(&source, &program, &settings());
            let bucket = &result.story.bucket;
            if !fault.breaks.contains(&bucket.rule.as_str()) {
                story += &format!("{name}: {bucket}\n{}", result.program);
                wrong.push(name.clone());
            }
        }
    }
    let known = MISNAMED.map(|(name, _)| name);
    assert_eq!(wrong, known, "{story}");
}

/// Every simulated fault: the bucket stays, no op can be left out, and most end at five ops or fewer.
#[test]
fn every_fault_becomes_a_short_program() {
    let mut table = format!(
        "{:<32} {:>5} {:>7} {:>6} {:>5} {:>7} {:>8} {:>7} {:>7}\n",
        "fault", "seed", "ops", "to", "pages", "runs", "seconds", "before", "after"
    );
    let (mut short, mut all, mut hidden) = (0, 0, 0);
    let mut unmet = Vec::new();
    for fault in FAULTS {
        let source = with_fault(fault);
        let found = diverging(&source, 2);
        if found.is_empty() {
            unmet.push(fault.full_name());
        }
        for (seed, program) in found {
            // What is put before it may hide the fault; then something else is.
            let shows = |padding: &u64| {
                let program = padded(&program, 40, 10_000 * padding + seed);
                let mut kernel = source.boot("before").expect("a simulated kernel boots");
                bucket_of(kernel.as_mut(), &program).map(|_| program)
            };
            let Some(program) = (1..4).find_map(|padding| shows(&padding)) else {
                hidden += 1;
                continue;
            };
            let result = minimized(&source, &program, &settings());
            assert_eq!(result.ended, Ended::Minimal, "{}", fault.name);
            let mut kernel = source.boot("after").expect("a simulated kernel boots");
            if result.before.hits == result.before.runs {
                assert_eq!(
                    bucket_of(kernel.as_mut(), &result.program).as_ref(),
                    Some(&result.story.bucket),
                    "{}:\n{}",
                    fault.full_name(),
                    result.program
                );
            }
            if let Err(why) = is_one_minimal(&source, &result) {
                panic!("{}: {why}\nof\n{}", fault.full_name(), result.program);
            }
            let ops = result.program.steps.len();
            all += 1;
            short += usize::from(ops <= 5);
            table += &format!(
                "{:<32} {:>5} {:>7} {:>6} {:>5} {:>7} {:>8.2} {:>7} {:>7}\n",
                fault.full_name(),
                seed,
                program.steps.len(),
                ops,
                Weight::of(&result.program, Geometry::K4).pages,
                result.executions,
                result.seconds,
                result.before.to_string(),
                result.after.to_string(),
            );
            if std::env::var_os("MMDIFF_SHOW").is_some() {
                println!(
                    "{}/{}: {}\n{}",
                    fault.family, fault.name, result.story.bucket, result.program
                );
            }
        }
    }
    println!(
        "{table}{short} of {all} have at most 5 ops; never met: {unmet:?}; hidden by what was put before: {hidden}"
    );
    // A fault that only poisons programs is no divergence; more than two would mean that this test lost its eyes.
    assert!(unmet.len() <= 2, "never met: {unmet:?}");
    assert!(hidden * 10 <= all, "{hidden} of {all} were hidden");
    assert!(all >= 50, "{all} divergences are too few to say anything");
    assert!(
        short * 10 >= all * 8,
        "only {short} of {all} have at most 5 ops"
    );
}

/// A fault that strikes in some runs only.
#[test]
fn flaky_divergences_need_more_runs_and_keep_their_bucket() {
    // The zero page shown as anonymous memory, in the runs in which a read does not get a huge zero page.
    let source = Simulated {
        short_of_memory: 1,
        ..with_fault(fault("access", "zero-page-is-anon"))
    };
    let program = Program::parse(
        "thp always\n\nmmap 0+0..1+4 rw private fixed\nmmap 2+0..2+1 r private fixed\n\
         read 0+7..0+9\nmunmap 2+0..2+1\n",
    )
    .expect("parses");
    let result = minimized(&source, &program, &settings());
    let before = result.before;
    assert!(
        0 < before.hits && before.hits < before.runs && before.runs > 10,
        "not flaky: {before}"
    );
    assert!(
        result.trust.runs > 3 && result.trust.screen > 1,
        "{}",
        result.trust
    );
    assert_eq!(result.ended, Ended::Minimal);
    assert_eq!(result.program.steps.len(), 2, "{}", result.program);
    assert!(
        result.after.share() > before.share() / 3.0,
        "{before} became {}",
        result.after
    );
}

/// The same answers, the same result.
#[test]
fn minimizing_is_deterministic() {
    let source = with_fault(fault("mprotect", "drops-guards"));
    let (_, program) = diverging(&source, 1).remove(0);
    let (a, b) = (
        minimized(&source, &program, &settings()),
        minimized(&source, &program, &settings()),
    );
    assert_eq!(a.program, b.program);
    assert_eq!(a.executions, b.executions);
}

const BUSY: &str = "# About nothing.

thp always
user root

mmap 0+4..0+60 rwx private fixed
mmap 1-8..1+8 rw shared fixed
# Why not.
write 0+5..0+9 tag 77
fork 1
1: write 1-2..1+2 tag 3
1: munmap 0+8..0+9
guard-install 0+20.8..0+30
guard-install 0+20..0+30
read 0+18..0+25
1: exit
munmap 0+40..0+50
";

fn busy() -> Program {
    Program::parse(BUSY).expect("parses")
}

fn struck(mishap: Mishap, op: &'static str) -> Simulated {
    Simulated {
        strike: Some(Strike {
            mishap,
            op,
            probes: false,
        }),
        ..Simulated::default()
    }
}

/// Crashes cost a boot each; hangs and lost children do not. All end at the one op that does it.
#[test]
fn crashes_hangs_and_deaths_are_minimized_too() {
    for (mishap, class, boots) in [
        (Mishap::Crash, oracle::judge::Class::Crash, true),
        (Mishap::LockUp, oracle::judge::Class::Hang, true),
        (Mishap::Hang, oracle::judge::Class::Hang, false),
        (Mishap::Die, oracle::judge::Class::Signal, false),
    ] {
        let result = minimized(&struck(mishap, "munmap"), &busy(), &settings());
        assert_eq!(result.ended, Ended::Minimal, "{mishap:?}");
        assert_eq!(
            result.program.steps.len(),
            1,
            "{mishap:?}: {}",
            result.program
        );
        assert_eq!(
            result.program.to_string(),
            "thp madvise\n\nmunmap 0+0..0+1\n",
            "{mishap:?}"
        );
        assert_eq!(result.story.class, class);
        assert_eq!(
            result.boots > 1,
            boots,
            "{mishap:?}: {} boots",
            result.boots
        );
        assert!(result.after.hits > 0);
    }
}

/// When a limit is met the best so far comes back, and it still goes wrong.
#[test]
fn limits_hand_back_the_best_so_far() {
    let source = with_fault(fault("guard", "install-skipped"));
    let whole = minimized(&source, &busy(), &settings());
    for (limits, ended) in [
        (
            Limits {
                executions: whole.executions * 2 / 3,
                ..Limits::default()
            },
            Ended::Executions,
        ),
        (
            Limits {
                time: Duration::ZERO,
                ..Limits::default()
            },
            Ended::Time,
        ),
    ] {
        let settings = Settings {
            limits,
            ..settings()
        };
        let stop = AtomicBool::new(false);
        let result = minimize(&source, &busy(), &settings, &stop, &mut |_| {});
        if ended == Ended::Time {
            // No time at all: not even the original was run.
            assert!(matches!(
                result,
                Err(TriageError::NotReproduced { runs: 0, .. })
            ));
            continue;
        }
        let result = result.expect("the original was run");
        assert_eq!(result.ended, ended);
        let ops = result.program.steps.len();
        assert!(
            whole.program.steps.len() <= ops && ops < busy().steps.len(),
            "{ops}"
        );
        assert_eq!(result.story.bucket, whole.story.bucket);
        assert_eq!(result.after.hits, result.after.runs);
    }
    let boots = Settings {
        limits: Limits {
            boots: 4,
            ..Limits::default()
        },
        ..settings()
    };
    let result = minimized(&struck(Mishap::Crash, "munmap"), &busy(), &boots);
    assert_eq!((result.ended, result.boots), (Ended::Boots, 4));
}

/// The user's Ctrl-C, while candidates run.
#[test]
fn stopping_hands_back_the_best_so_far() {
    let source = with_fault(fault("guard", "install-skipped"));
    let stop = AtomicBool::new(false);
    let mut seen = 0;
    let result = minimize(&source, &busy(), &settings(), &stop, &mut |progress| {
        if matches!(progress, Progress::Simpler { .. }) {
            seen += 1;
            stop.store(seen == 2, std::sync::atomic::Ordering::Relaxed);
        }
    })
    .expect("there is a result");
    assert_eq!(result.ended, Ended::Interrupted);
    assert_eq!(result.accepted, 2);
}

/// An expectation that fails is kept as it is, with what it takes to fail in the same way.
#[test]
fn failed_expectations_keep_their_words() {
    let program = Program::parse(
        "# The author is wrong.\n\nneeds guards\n\nmmap 0+0..0+4 rw private fixed => ok\n\
         write 0+0..0+2 tag 3 => ok\nguard-install 0+0..0+2 => ok\n\
         munmap 0+2..0+3 => ok\nread 0+0..0+1 => SIGSEGV ACCERR\nread 0+1..0+2 => SIGSEGV\n",
    )
    .expect("parses");
    let result = minimized(&Simulated::default(), &program, &settings());
    assert_eq!(result.story.bucket.rule, "corpus/expectation");
    assert_eq!(
        result.program.to_string(),
        "needs guards\nthp madvise\n\nmmap 0+0..0+1 r private fixed\n\
         guard-install 0+0..0+1\nread 0+0..0+1 => SIGSEGV ACCERR\n"
    );
}

/// An allocation that fails and has nothing to do with it is left out, with what needs it; one that it is about stays.
#[test]
fn allocations_fail_only_where_they_must() {
    let text = "needs guards fail-nth\n\nmmap 0+0..0+4 rw private fixed\nguard-install 0+1..0+2 fail 9\nfork 1\n";
    let source = with_fault(fault("fork", "loses-guards"));
    let result = minimized(&source, &Program::load(text).expect("parses"), &settings());
    let steps = &result.program.steps;
    assert!(
        steps.iter().all(|step| step.fail.is_none()),
        "{}",
        result.program
    );
    assert!(result.program.needs.is_empty());
    let text = "mmap 0+0..0+8 rw private fixed\nwrite 0+4..0+5 tag 1\nmmap 1+0..1+2 r private fixed\nguard-install 1+0..1+2 fail 2\n";
    let source = with_fault(&FAILING[0]);
    let result = minimized(&source, &Program::load(text).expect("parses"), &settings());
    assert_eq!(
        result.program.to_string(),
        "thp madvise\n\nmmap 0+0..0+1 none private fixed\nguard-install 0+0..0+1 fail 1\n"
    );
}

/// What cannot be minimized says so.
#[test]
fn what_does_not_go_wrong_is_an_error() {
    let stop = AtomicBool::new(false);
    let run = |source: &Simulated, program: &Program, settings: &Settings| {
        minimize(source, program, settings, &stop, &mut |_| {})
            .expect_err("there is nothing to minimize")
            .to_string()
    };
    let fine = Simulated::default();
    let text = run(&fine, &busy(), &settings());
    assert!(
        text.contains("does not diverge on simulated: 30 runs"),
        "{text}"
    );
    let faulty = with_fault(fault("guard", "install-skipped"));
    let elsewhere = Bucket {
        op: "fork".into(),
        rule: "a/rule".into(),
        expected: "this".into(),
        observed: "that".into(),
    };
    let settings_elsewhere = Settings {
        bucket: Some(elsewhere),
        ..settings()
    };
    let text = run(&faulty, &busy(), &settings_elsewhere);
    assert!(
        text.contains("fork: a/rule: this -> that") && text.contains("10 ended in"),
        "{text}"
    );
    let text = run(&fine, &Program::default(), &settings());
    assert!(text.contains("at least one op"), "{text}");
    let lost = struck(Mishap::Lose, "munmap");
    let text = run(&lost, &busy(), &settings());
    assert!(text.contains("vanish") || text.contains("gone"), "{text}");
}

/// Programs mean the same on 16 KiB pages, and are minimized there too.
#[test]
fn large_pages_are_no_obstacle() {
    for name in ["install-short", "remove-long", "install-skipped"] {
        let source = Simulated {
            geometry: Geometry::K16,
            ..with_fault(fault("guard", name))
        };
        let result = minimized(&source, &busy_with_removal(), &settings());
        assert!(
            result.program.steps.len() <= 4,
            "{name}: {}",
            result.program
        );
        assert!(
            Weight::of(&result.program, Geometry::K16).pages <= 8,
            "{name}: {}",
            result.program
        );
    }
}

fn busy_with_removal() -> Program {
    let mut program = busy();
    let more = Program::parse(
        "mmap 1-60..1+70 rw private fixed\nwrite 1-30..1+30 tag 9\nguard-install 1-40..1+40\n\
         guard-remove 1-20..1+10\n",
    )
    .expect("parses");
    program.steps.extend(more.steps);
    program
}

/// The kernel loses the mark of guards in a race, and the rules know nothing of it.
fn loses_the_flag() -> (Simulated, Settings) {
    let row = oracle::profile::BEHAVIOURS
        .iter()
        .find(|row| row.name == "flags_read_early")
        .expect("is in the table");
    let mut source = Simulated::default();
    row.set(&mut source.profile, true);
    let mut settings = Settings {
        repetitions: 1000,
        ..Settings::default()
    };
    settings.by.without.push(row);
    (source, settings)
}

/// `corpus/races/26-flag-lost.prog` with a thread, ops, pages and a child that it does not need.
const FLAG_LOST: &str = "needs guards-shared\nthp madvise\n\nmmap 0+0..0+9 rw shared fixed\nmmap 1+0..1+4 rw private fixed\n\
                         write 0+0..0+7 tag 1\nwrite 1+0..1+2 tag 2\n|a guard-install 0+1..0+5\n|a read 1+0..1+1\n\
                         |b mprotect 0+0..0+7 r\n|c* write 1+0..1+1 tag 3\nfork 1\n1: read 0+1..0+2\nread 1+0..1+1\n";

#[test]
fn a_race_becomes_two_threads_that_still_lose_the_flag() {
    let (source, settings) = loses_the_flag();
    let program = Program::load_concurrent(FLAG_LOST).expect("parses");
    let result = minimized(&source, &program, &settings);
    assert_eq!(result.ended, Ended::Minimal);
    assert!(result.before.hits < result.before.runs, "{}", result.before);
    assert!(result.after.hits > 0, "{}", result.after);
    let text = result.program.to_string();
    let threads = result.program.steps.iter().filter(|s| s.lane.is_some());
    assert_eq!(threads.count(), 2, "{text}");
    assert_eq!(result.program.steps.len(), 3, "{text}");
    assert!(text.contains("|a guard-install 0+0..0+1"), "{text}");
}

#[test]
fn a_race_is_asked_of_other_kernels() {
    let (source, settings) = loses_the_flag();
    let program = Arc::new(Program::load_concurrent(FLAG_LOST).expect("parses"));
    let mut asked = VerdictSettings {
        by: settings.by.clone(),
        bucket: None,
        runs: 300,
    };
    let told = verdict(&source, &program, &asked);
    let Answer::Diverges { story, reliability } = &told.answer else {
        panic!("{told:?}");
    };
    assert!(reliability.hits < reliability.runs && reliability.runs == 300);
    let reference = Reference {
        program: &program,
        story,
        execution: told.execution.as_ref(),
        geometry: Geometry::K4,
    };
    asked.bucket = Some(story.bucket.clone());
    let mut sound = Simulated::default();
    sound.profile.flags_read_early = false;
    let other = verdict(&sound, &program, &asked);
    assert_eq!(
        Standing::of(&told, &reference),
        Standing::Affected(*reliability)
    );
    assert_eq!(Standing::of(&other, &reference), Standing::NotAffected(300));
}
