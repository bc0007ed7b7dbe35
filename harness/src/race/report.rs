//! What races came to, as rows of tables.

use super::judge::{Fate, Judgement};
use crate::kernel::{KernelInfo, Raced};
use crate::report::outcome_words;
use oracle::geometry::Geometry;
use oracle::judge::strip::{render, windows};
use oracle::judge::SpaceSeen;
use oracle::program::{ActorId, Program, Step};
use oracle::race::{Explanation, Move};
use serde::Serialize;

/// One program on one kernel: a row of races.csv.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the program.
    pub program: String,
    pub kernel: String,
    pub release: String,
    pub arch: String,
    /// `tcg` or `kvm`.
    pub accel: String,
    pub repetitions: u32,
    /// Repetitions in which ops of two threads were under way at once.
    pub overlapped: u32,
    /// Repetitions in which the first two threads began less than 256 ns apart.
    pub within_256ns: u32,
    /// The same for 4096 ns.
    pub within_4us: u32,
    /// Executions that differ from each other.
    pub kinds: usize,
    /// Ways that the section may end, as one can see it from outside.
    pub ways: usize,
    /// Of these, how many were met.
    pub ways_seen: usize,
    /// Repetitions that no way explains, that hung, after which two views disagreed, or that broke a promise of guard regions.
    pub forbidden: u32,
    /// Of these, those that broke a promise.
    pub broken: u32,
    /// Repetitions that a known fault of the kernel led to where they ended.
    pub known: u32,
    /// Repetitions that were not judged: too many ways, settings that are not modelled, too many kinds.
    pub not_judged: u32,
    /// Repetitions that the guest failed.
    pub infra_errors: u32,
    /// Repetitions by how often the kernel walked page tables during the section: `1:1500 2:480`. Empty: not counted.
    pub walks: String,
    pub seconds: f64,
    pub repetitions_per_second: f64,
}

impl Row {
    /// The row of a program that was raced.
    pub fn new(
        program: &str,
        info: &KernelInfo,
        raced: &Raced,
        judged: &Judgement,
        seconds: f64,
    ) -> Row {
        let repetitions = judged.count(|_| true) + raced.unkept;
        Row {
            program: program.to_owned(),
            kernel: info.label.clone(),
            release: info.release.clone(),
            arch: info.arch.clone(),
            accel: info.accel.clone(),
            repetitions,
            overlapped: raced.meetings.overlapped,
            within_256ns: raced.meetings.within(256),
            within_4us: raced.meetings.within(4096),
            kinds: judged.kinds.len(),
            ways: judged.ways.len(),
            ways_seen: judged.ways_seen(),
            forbidden: judged.count(|kind| kind.is_wrong()),
            broken: judged.count(|kind| !kind.broken.is_empty()),
            known: judged.by_fault(),
            not_judged: raced.unkept + judged.count(|k| matches!(k.fate, Fate::NotJudged(_))),
            infra_errors: judged.count(|kind| matches!(kind.fate, Fate::Infra(_))),
            walks: histogram(&raced.walks),
            seconds: (seconds * 100.0).round() / 100.0,
            repetitions_per_second: (f64::from(repetitions) / seconds.max(0.001) * 10.0).round()
                / 10.0,
        }
    }

    /// Whether something was seen that must not be.
    pub fn found(&self) -> bool {
        self.forbidden > 0
    }
}

/// How far the rules explain what threads returned, in lines for people.
pub fn explanation_text(told: &Explanation, section: &[Step], g: Geometry) -> String {
    let (returned, all) = told.returned;
    let mut text = match returned == all {
        true => "Every op may have returned what it did, for example so, but then memory looks otherwise:\n".to_owned(),
        false => format!("{returned} of {all} results can be explained, for example so:\n"),
    };
    text += &timeline(&told.longest);
    for stuck in told.stuck.iter().filter(|_| returned < all) {
        let allowed: Vec<String> = stuck.allowed.iter().map(|o| outcome_words(o, g)).collect();
        let step = section
            .get(stuck.step)
            .map(Step::to_string)
            .unwrap_or_default();
        text += &format!(
            "   {step} returned {}; from there it may return: {}\n",
            outcome_words(&stuck.seen, g),
            allowed.join("; ")
        );
    }
    text
}

/// Columns of one thread's part of a timeline.
const COLUMN: usize = 34;

/// An order of steps as a picture: a column for each thread, time going down.
pub fn timeline(steps: &[Move]) -> String {
    let mut lanes: Vec<char> = steps.iter().map(|step| step.lane).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let row = |cell: &dyn Fn(char) -> String| {
        let cells = lanes.iter().map(|lane| format!("{:COLUMN$}", cell(*lane)));
        format!("   {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = row(&|lane| format!("thread {lane}"));
    text += &row(&|_| "-".repeat(COLUMN));
    for step in steps {
        let lines = fill(&step.what, COLUMN);
        for line in lines {
            text += &row(&|lane| match lane == step.lane {
                true => line.clone(),
                false => "|".to_owned(),
            });
        }
    }
    text
}

/// Words in lines of at most `width` characters; a longer word has a line of its own.
fn fill(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Places and what they hold, those that hold nothing left out.
fn histogram(places: &[u32]) -> String {
    let full = places.iter().enumerate().filter(|(_, n)| **n > 0);
    let words: Vec<String> = full.map(|(place, n)| format!("{place}:{n}")).collect();
    words.join(" ")
}

/// One way on one kernel: a row of ways.csv.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayRow {
    pub program: String,
    pub kernel: String,
    pub release: String,
    pub arch: String,
    /// Counts from 1.
    pub way: usize,
    /// Repetitions that ended so.
    pub count: u32,
    /// Only a known fault of the kernel leads there.
    pub by_fault: bool,
    /// What each step of the section returned.
    pub outcomes: String,
    /// What memory looks like then.
    pub strips: String,
}

impl WayRow {
    /// A row for each way.
    pub fn all(
        name: &str,
        program: &Program,
        info: &KernelInfo,
        judged: &Judgement,
    ) -> Vec<WayRow> {
        let g = info.geometry;
        let section = program.steps.iter().filter(|step| step.lane.is_some());
        let steps: Vec<String> = section.map(|step| step.to_string()).collect();
        let ways = judged.ways.iter().enumerate();
        ways.map(|(number, way)| {
            let outcomes = steps.iter().zip(&way.outcomes);
            let outcomes: Vec<String> = outcomes
                .map(|(step, outcome)| format!("{step} => {}", outcome_words(outcome, g)))
                .collect();
            WayRow {
                program: name.to_owned(),
                kernel: info.label.clone(),
                release: info.release.clone(),
                arch: info.arch.clone(),
                way: number + 1,
                count: way.count,
                by_fault: way.by_fault,
                outcomes: outcomes.join("; "),
                strips: strips(&way.spaces, g),
            }
        })
        .collect()
    }
}

/// The page strips of every actor, in one line.
fn strips(spaces: &[(ActorId, SpaceSeen)], g: Geometry) -> String {
    let of = |(actor, space): &(ActorId, SpaceSeen)| {
        let windows = windows(&[space], g).into_iter();
        let strips: Vec<String> = windows
            .map(|(from, to)| render(space, g, from, to))
            .collect();
        format!("{actor}: {}", strips.join(" "))
    };
    spaces.iter().map(of).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_has_a_column_for_each_thread() {
        let step = |lane, what: &str| Move {
            lane,
            what: what.to_owned(),
        };
        let text = timeline(&[
            step('a', "takes the lock and comes to the VMA at 0+0"),
            step('b', "loads from page 0+1"),
        ]);
        let expected = "   thread a                            thread b
   ----------------------------------  ----------------------------------
   takes the lock and comes to the     |
   VMA at 0+0                          |
   |                                   loads from page 0+1
";
        assert_eq!(text, expected);
    }

    #[test]
    fn histograms_leave_out_what_is_empty() {
        assert_eq!(histogram(&[0, 3, 0, 9]), "1:3 3:9");
        assert_eq!(histogram(&[]), "");
    }
}
