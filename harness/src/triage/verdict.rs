//! Whether a program goes wrong on a kernel: yes, no, or not to be told.

use super::Reliability;
use crate::campaign::{death_story, judge, lacks, Bucket, ProgramVerdict, Story};
use crate::kernel::{
    probe, BootError, Event, Execution, JudgeBy, Kernel, KernelError, KernelInfo, KernelSource,
    Prepared, Repeat, Smaps,
};
use crate::race::{judge_raced, Kind};
use oracle::profile::Profile;
use oracle::program::Program;
use std::sync::Arc;

/// How to come to a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerdictSettings {
    /// By whose rules.
    pub by: JudgeBy,
    /// Only this counts as going wrong. `None`: whatever goes wrong.
    pub bucket: Option<Bucket>,
    /// Runs, each in a fresh process, or repetitions where threads run at once: a single one that goes wrong decides.
    pub runs: u32,
}

/// The verdict on a program.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It went wrong in none of so many runs.
    Holds { runs: u32 },
    Diverges {
        story: Box<Story>,
        reliability: Reliability,
    },
    /// The kernel lacks what the program needs, something else went wrong first, or the infrastructure failed.
    Untold(String),
}

/// What was found out about a program on one kernel.
#[derive(Debug, Clone)]
pub struct Told {
    /// The kernel and the profile that it was found to have; `None` when it did not come so far.
    pub kernel: Option<(KernelInfo, Profile)>,
    pub answer: Answer,
    /// The first run that was seen to its end; where threads run at once, the first that goes wrong, or else the most usual one.
    pub execution: Option<Execution>,
}

impl Told {
    fn untold(why: String) -> Told {
        Told {
            kernel: None,
            answer: Answer::Untold(why),
            execution: None,
        }
    }
}

/// Boots a kernel of `source` and runs `program` on it, several times.
pub fn verdict(
    source: &dyn KernelSource,
    program: &Arc<Program>,
    settings: &VerdictSettings,
) -> Told {
    let mut all = verdicts(source, std::slice::from_ref(program), settings);
    all.pop()
        .unwrap_or_else(|| Told::untold("it was not run".into()))
}

/// The verdicts on several programs, in their order; they share a boot until one of them kills the kernel.
pub fn verdicts(
    source: &dyn KernelSource,
    programs: &[Arc<Program>],
    settings: &VerdictSettings,
) -> Vec<Told> {
    let questions = programs.iter().map(|program| (program, settings));
    verdicts_each(source, questions)
}

/// As [`verdicts`], each program with settings of its own. All are judged by the same rules.
pub fn verdicts_each<'a>(
    source: &dyn KernelSource,
    questions: impl IntoIterator<Item = (&'a Arc<Program>, &'a VerdictSettings)>,
) -> Vec<Told> {
    let mut running = None;
    questions
        .into_iter()
        .map(|(program, settings)| one(source, program, settings, &mut running))
        .collect()
}

/// A booted kernel and what it was found to have.
struct Running {
    kernel: Box<dyn Kernel>,
    profile: Profile,
}

fn boot(source: &dyn KernelSource, settings: &VerdictSettings) -> Result<Running, String> {
    let name = format!("verdict-{}-{}", source.label(), source.arch());
    let mut kernel = source.boot(&name).map_err(|error| match error {
        BootError::Skipped(why) => why,
        error => error.to_string(),
    })?;
    let profile = probe::profile(kernel.as_mut(), &settings.by)
        .map_err(|error| format!("while probing: {error}"))?;
    Ok(Running { kernel, profile })
}

fn one(
    source: &dyn KernelSource,
    program: &Arc<Program>,
    settings: &VerdictSettings,
    running: &mut Option<Running>,
) -> Told {
    if let Err(error) = program.check_concurrent() {
        return Told::untold(format!("the program cannot be run: {error}"));
    }
    let mut here = match running.take().map_or_else(|| boot(source, settings), Ok) {
        Ok(here) => here,
        Err(why) => return Told::untold(why),
    };
    let (info, profile) = (here.kernel.info().clone(), here.profile.clone());
    let mut told = Told {
        kernel: Some((info.clone(), profile.clone())),
        answer: Answer::Untold("it was not run".into()),
        execution: None,
    };
    if let Some(need) = lacks(program, &profile, &info) {
        told.answer = Answer::Untold(format!(
            "the kernel lacks what the program needs ({need:?})"
        ));
        *running = Some(here);
        return told;
    }
    let mut count = Count::default();
    let kernel = here.kernel.as_mut();
    let ended = match program.is_concurrent() {
        true => race(kernel, source, program, settings, &mut told, &mut count),
        false => {
            let runs = 1..=u64::from(settings.runs.max(1));
            let batch: Vec<Prepared> = runs.map(|id| prepare(source, program, id)).collect();
            collect(kernel, &batch, &mut |execution| {
                let judged = judge(program, &execution, &profile, info.geometry);
                count.add(judged.verdict, 1, settings);
                told.execution.get_or_insert(execution);
            })
        }
    };
    match ended {
        Ok(()) => *running = Some(here),
        Err(error) => count.died(error, program, &info, &profile, settings),
    }
    told.answer = count.answer();
    told
}

fn prepare(source: &dyn KernelSource, program: &Arc<Program>, id: u64) -> Prepared {
    Prepared {
        id,
        program: program.clone(),
        smaps: Smaps::Every,
        fault: source.guest_fault(),
    }
}

/// Repeats a program in which threads run at once. Kept is the first execution that goes wrong, or the one met most often.
fn race(
    kernel: &mut dyn Kernel,
    source: &dyn KernelSource,
    program: &Arc<Program>,
    settings: &VerdictSettings,
    told: &mut Told,
    count: &mut Count,
) -> Result<(), KernelError> {
    let Some((info, profile)) = told.kernel.clone() else {
        return Ok(());
    };
    let mut prepared = prepare(source, program, 1);
    // As `cargo xtask races` looks.
    prepared.smaps = Smaps::Changes;
    let raced = kernel.race(&prepared, Repeat::times(settings.runs.max(1)))?;
    let judged = judge_raced(program, &raced, &profile, info.geometry);
    let wanted = |kind: &&Kind| {
        let story = kind.story();
        story.is_some_and(|s| settings.bucket.as_ref().is_none_or(|b| *b == s.bucket))
    };
    let usual = || judged.kinds.iter().max_by_key(|kind| kind.count);
    let kept = judged.kinds.iter().find(wanted).or_else(usual);
    told.execution = kept.map(|kind| kind.execution.clone());
    for kind in &judged.kinds {
        count.add(kind.verdict(), kind.count, settings);
    }
    if raced.unkept > 0 {
        count.add(ProgramVerdict::Poisoned, raced.unkept, settings);
    }
    Ok(())
}

/// Submits a batch and hands over what comes back.
fn collect(
    kernel: &mut dyn Kernel,
    batch: &[Prepared],
    take: &mut dyn FnMut(Execution),
) -> Result<(), KernelError> {
    kernel.submit(batch)?;
    loop {
        match kernel.next()? {
            Event::Execution(execution) => take(execution),
            Event::BatchDone { .. } => return Ok(()),
        }
    }
}

/// The runs so far.
#[derive(Default)]
struct Count {
    runs: u32,
    fine: u32,
    hits: u32,
    story: Option<Box<Story>>,
    /// Why a run told nothing; the first one.
    untold: Option<String>,
}

impl Count {
    fn add(&mut self, verdict: ProgramVerdict, times: u32, settings: &VerdictSettings) {
        self.runs += times;
        let why = match verdict {
            ProgramVerdict::Fine => {
                self.fine += times;
                return;
            }
            ProgramVerdict::Suspect(story) => {
                let wanted = settings.bucket.as_ref();
                if wanted.is_none_or(|bucket| *bucket == story.bucket) {
                    self.hits += times;
                    self.story.get_or_insert(story);
                    return;
                }
                format!("something else goes wrong: {}", story.bucket)
            }
            ProgramVerdict::Poisoned => "a limit was met".into(),
            ProgramVerdict::Infra(why) => why,
        };
        self.untold.get_or_insert(why);
    }

    /// The kernel died of the run after the last one that was counted.
    fn died(
        &mut self,
        error: KernelError,
        program: &Program,
        info: &KernelInfo,
        profile: &Profile,
        settings: &VerdictSettings,
    ) {
        if let KernelError::Lost { why, .. } = &error {
            self.untold.get_or_insert(format!("the VM was lost: {why}"));
            return;
        }
        let story = death_story(&error, program, profile, info.geometry);
        let what = error.to_string();
        self.add(
            story.map_or(ProgramVerdict::Infra(what), |story| {
                ProgramVerdict::Suspect(Box::new(story))
            }),
            1,
            settings,
        );
    }

    fn answer(self) -> Answer {
        let (hits, runs) = (self.hits, self.runs);
        match (self.story, self.untold) {
            (Some(story), _) => Answer::Diverges {
                story,
                reliability: Reliability { hits, runs },
            },
            // What is wrong now and then is no reason to believe the other runs.
            (None, Some(why)) => Answer::Untold(why),
            (None, None) if self.fine > 0 => Answer::Holds { runs },
            (None, None) => Answer::Untold("it did not come back".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::simulated::{fault_named, Simulated};

    const FORK: &str = "mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+1\nfork 1\n";

    fn ask(fault: Option<&str>, text: &str, bucket: Option<Bucket>) -> Told {
        let named = |name| fault_named(name).expect("a fault of this name");
        let source = Simulated {
            fault: fault.map(named),
            ..Simulated::default()
        };
        let program = Arc::new(Program::load(text).expect("parses"));
        let settings = VerdictSettings {
            by: JudgeBy::default(),
            bucket,
            runs: 5,
        };
        verdict(&source, &program, &settings)
    }

    #[test]
    fn a_kernel_that_behaves_holds() {
        let told = ask(None, FORK, None);
        assert!(matches!(told.answer, Answer::Holds { runs: 5 }), "{told:?}");
        assert_eq!(told.execution.expect("ran").seen.len(), 3);
    }

    #[test]
    fn a_kernel_that_does_not_diverges() {
        let told = ask(Some("fork/loses-guards"), FORK, None);
        let Answer::Diverges { story, reliability } = told.answer else {
            panic!("{told:?}");
        };
        assert_eq!((reliability.hits, reliability.runs), (5, 5));
        assert_eq!(story.step, 2);
        // The same bucket decides, another one tells nothing about it.
        let same = ask(Some("fork/loses-guards"), FORK, Some(story.bucket.clone()));
        assert!(matches!(same.answer, Answer::Diverges { .. }), "{same:?}");
        let bucket = Bucket {
            observed: "something".into(),
            ..story.bucket
        };
        let other = ask(Some("fork/loses-guards"), FORK, Some(bucket));
        assert!(matches!(other.answer, Answer::Untold(_)), "{other:?}");
    }

    #[test]
    fn a_row_that_is_not_known_turns_up_as_a_divergence() {
        let stale = oracle::profile::BEHAVIOURS
            .iter()
            .find(|row| row.name == "mseal_stale_start")
            .expect("is in the table");
        let mut old = Simulated::default();
        stale.set(&mut old.profile, true);
        let text = "mmap 0+0..0+4 rw private fixed\nmseal 0+1..0+2\nmseal 0+0..0+4\n";
        let program = Arc::new(Program::load(text).expect("parses"));
        let mut settings = VerdictSettings {
            by: JudgeBy::default(),
            bucket: None,
            runs: 1,
        };
        let told = verdict(&old, &program, &settings);
        assert!(matches!(told.answer, Answer::Holds { .. }), "{told:?}");
        settings.by.without.push(stale);
        let told = verdict(&old, &program, &settings);
        let Answer::Diverges { story, .. } = told.answer else {
            panic!("{told:?}");
        };
        assert_eq!(
            story.bucket.to_string(),
            "mseal: merge/changed: merged -> split"
        );
    }

    #[test]
    fn what_the_kernel_lacks_is_not_told() {
        let mut old = Simulated::default();
        old.profile.guards = false;
        let program = Arc::new(Program::load(&format!("needs guards\n{FORK}")).expect("parses"));
        let settings = VerdictSettings {
            by: JudgeBy::default(),
            bucket: None,
            runs: 1,
        };
        let told = verdict(&old, &program, &settings);
        assert!(
            matches!(&told.answer, Answer::Untold(why) if why.contains("Guards")),
            "{told:?}"
        );
    }
}
