//! What races came to, as rows of tables.

use super::judge::{Fate, Judgement};
use super::picture::timeline;
use crate::kernel::{KernelInfo, Raced};
use crate::report::outcome_words;
use oracle::geometry::Geometry;
use oracle::judge::strip::{render, windows};
use oracle::judge::SpaceSeen;
use oracle::program::{ActorId, Program, Step};
use oracle::race::Explanation;
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
    /// Guard installs in the section whose first walk over page tables was the last; empty where rounds were not counted.
    pub one_walk: Option<u32>,
    /// Those that walked a second time, after one zap.
    pub two_walks: Option<u32>,
    /// Those that walked a third time, after two zaps.
    pub three_walks: Option<u32>,
    /// Those whose call began anew after three walks.
    pub restarted: Option<u32>,
    /// Huge pages that khugepaged made while the program ran; empty where it does not scan.
    pub collapses: Option<u32>,
    /// Of these, those that it made while threads ran at once.
    pub collapses_beside: Option<u32>,
    pub seconds: f64,
    /// Of these, those in which nothing was run but what had been was judged.
    pub judging_seconds: f64,
    pub repetitions_per_second: f64,
}

/// How long a program took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seconds {
    pub all: f64,
    pub judging: f64,
}

impl Row {
    /// The row of a program that was raced.
    pub fn new(
        program: &str,
        info: &KernelInfo,
        raced: &Raced,
        judged: &Judgement,
        seconds: Seconds,
    ) -> Row {
        let repetitions = judged.count(|_| true) + raced.unkept;
        let rounds = rounds(&raced.walks);
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
            forbidden: judged.count(|kind| kind.story().is_some()),
            broken: judged.count(|kind| !kind.broken.is_empty()),
            known: judged.by_fault(),
            not_judged: raced.unkept + judged.count(|k| matches!(k.fate, Fate::NotJudged(_))),
            infra_errors: judged.count(|kind| matches!(kind.fate, Fate::Infra(_))),
            one_walk: rounds.map(|r| r[0]),
            two_walks: rounds.map(|r| r[1]),
            three_walks: rounds.map(|r| r[2]),
            restarted: rounds.map(|r| r[3]),
            collapses: raced.collapses.map(|(all, _)| all),
            collapses_beside: raced.collapses.map(|(_, beside)| beside),
            seconds: (seconds.all * 100.0).round() / 100.0,
            judging_seconds: (seconds.judging * 1000.0).round() / 1000.0,
            repetitions_per_second: (f64::from(repetitions) / seconds.all.max(0.001) * 10.0)
                .round()
                / 10.0,
        }
    }

    /// How many installs took one walk, two, three and a restart, in words; empty where rounds were not counted.
    pub fn rounds(&self) -> String {
        match [
            self.one_walk,
            self.two_walks,
            self.three_walks,
            self.restarted,
        ] {
            [Some(one), Some(two), Some(three), Some(restarted)] => {
                format!("{one}/{two}/{three}/{restarted}")
            }
            _ => String::new(),
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
        true => "  Every op may have returned what it did, for example so, but then memory looks otherwise:\n\n".to_owned(),
        false => format!("  {returned} of {all} results can be explained, for example so:\n\n"),
    };
    text += &timeline(&told.longest);
    for stuck in told.stuck.iter().filter(|_| returned < all) {
        let allowed: Vec<String> = stuck.allowed.iter().map(|o| outcome_words(o, g)).collect();
        let step = section
            .get(stuck.step)
            .map(Step::to_string)
            .unwrap_or_default();
        text += &format!(
            "  {step} returned {}; from there it may return: {}\n",
            outcome_words(&stuck.seen, g),
            allowed.join("; ")
        );
    }
    text
}

/// Installs that took one walk, two, three, or more, which means that their call was restarted; `None`: none was counted.
fn rounds(walks: &[u32]) -> Option<[u32; 4]> {
    let at = |count: usize| walks.get(count).copied().unwrap_or(0);
    let restarted = walks.iter().skip(4).sum();
    let rounds = [at(1), at(2), at(3), restarted];
    (rounds != [0; 4]).then_some(rounds)
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
    fn more_than_three_walks_are_a_restart() {
        assert_eq!(rounds(&[0, 3, 0, 9, 1, 0, 2]), Some([3, 0, 9, 3]));
        assert_eq!(rounds(&[0; 32]), None);
        assert_eq!(rounds(&[]), None);
    }
}
