//! The table of planted bugs: what was noticed of each, by whom, and after how many programs.

use super::{plot, Outcome};
use crate::exit::say;
use crate::measured;
use anyhow::{Context, Result};
use harness::campaign::Bucket;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vm_images::mutants::Mutant;

const HEADER: [&str; 12] = [
    "mutant",
    "group",
    "reached",
    "triggered",
    "detected",
    "programs_median",
    "programs_min",
    "programs_max",
    "seconds_median",
    "rule_named",
    "selftests",
    "crash_only",
];

/// One line a campaign: what the table sums up, and what the plot is made of.
const CAMPAIGNS: [&str; 7] = [
    "mutant",
    "seed",
    "reached",
    "triggered",
    "programs",
    "seconds",
    "bucket",
];

/// What was found out about one bug, or about the kernel with none.
pub struct Score {
    pub mutant: Option<Mutant>,
    /// By seed, from 1 on.
    pub outcomes: Vec<Outcome>,
    /// Tests that fail with it; `None` where none were run.
    pub selftests: Option<Vec<String>>,
    /// What came of programs that nobody judges; `None` where none were run.
    pub crashes: Option<Outcome>,
    /// What kept it from being measured to the end.
    pub error: Option<String>,
}

impl Score {
    /// Nothing is known yet.
    pub fn new(mutant: Option<Mutant>) -> Score {
        Score {
            mutant,
            outcomes: Vec::new(),
            selftests: None,
            crashes: None,
            error: None,
        }
    }

    fn name(&self) -> &str {
        self.mutant.as_ref().map_or("none", |m| &m.name)
    }

    /// Campaigns that noticed the bug, or, where there is none, anything. What is noticed of a bug that has not been triggered is a
    /// false alarm, which the kernel without a bug shows as well.
    fn noticed(&self) -> impl Iterator<Item = &Outcome> {
        let own = |o: &&Outcome| o.triggered || self.mutant.is_none();
        let found = |o: &&Outcome| o.row.first_suspect.is_some();
        self.outcomes.iter().filter(own).filter(found)
    }

    /// What was noticed, by its campaigns and by crashes alone.
    pub fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        let all = self.outcomes.iter().chain(&self.crashes);
        all.filter_map(|outcome| outcome.row.first_bucket.as_ref())
    }

    /// Whether it was noticed in every campaign.
    fn detected(&self) -> bool {
        self.error.is_none() && self.noticed().count() == self.outcomes.len()
    }

    /// A bug that went unnoticed, or something noticed, by whoever, where there is no bug.
    pub fn is_wrong(&self) -> bool {
        let crashed = |o: &Outcome| o.row.first_suspect.is_some();
        match self.mutant {
            None => {
                self.noticed().next().is_some()
                    || self.crashes.as_ref().is_some_and(crashed)
                    || self.selftests.as_ref().is_some_and(|s| !s.is_empty())
            }
            Some(_) => !self.detected(),
        }
    }

    /// Its line of the table.
    pub fn line(&self) -> Vec<String> {
        let mut programs: Vec<u64> = self.noticed().filter_map(|o| o.row.first_suspect).collect();
        programs.sort_unstable();
        let mut seconds: Vec<f64> = self.noticed().map(|o| o.row.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let said = |n: Option<&u64>| n.map_or(String::new(), u64::to_string);
        let names = |rule: &String| self.mutant.as_ref().is_some_and(|m| m.rules.contains(rule));
        let buckets = self.noticed().filter_map(|o| o.row.first_bucket.as_ref());
        let named = buckets.filter(|bucket| names(&bucket.rule)).count();
        let detected = match programs.len() {
            _ if self.error.is_some() => "error".into(),
            0 => "no".into(),
            n if n == self.outcomes.len() => "yes".into(),
            n => format!("{n} of {}", self.outcomes.len()),
        };
        vec![
            self.name().into(),
            self.mutant
                .as_ref()
                .map_or(String::new(), |m| m.group.clone()),
            yes(self.outcomes.iter().any(|o| o.reached)).into(),
            yes(self.outcomes.iter().any(|o| o.triggered)).into(),
            detected,
            said(programs.get(programs.len() / 2)),
            said(programs.first()),
            said(programs.last()),
            seconds
                .get(seconds.len() / 2)
                .map_or(String::new(), |s| format!("{s:.1}")),
            if programs.is_empty() || self.mutant.is_none() {
                String::new()
            } else {
                format!("{named} of {}", programs.len())
            },
            self.selftests
                .as_ref()
                .map_or(String::new(), |s| by_program(s)),
            self.crashes
                .as_ref()
                .map_or(String::new(), |o| yes(o.row.first_suspect.is_some()).into()),
        ]
    }
}

/// `guard-regions 12, merge 1`, or `no`.
fn by_program(failed: &[String]) -> String {
    let mut count: BTreeMap<&str, u32> = BTreeMap::new();
    for test in failed {
        let program = test.split_once(':').map_or(test.as_str(), |(p, _)| p);
        *count.entry(program).or_default() += 1;
    }
    let each: Vec<String> = count.iter().map(|(p, n)| format!("{p} {n}")).collect();
    match each.len() {
        0 => "no".into(),
        _ => each.join(", "),
    }
}

/// Prints the table and what it comes to. `budget` are the programs of a campaign.
///
/// # Errors
/// Nobody reads standard output.
pub fn show(scores: &[Score], budget: u64) -> Result<()> {
    let rows: Vec<Vec<String>> = scores.iter().map(Score::line).collect();
    say!("{}", measured::table(&HEADER, &rows));
    let bugs: Vec<&Score> = scores.iter().filter(|s| s.mutant.is_some()).collect();
    let count = |which: &dyn Fn(&Score) -> bool| bugs.iter().filter(|s| which(s)).count();
    say!(
        "{} of {} planted bugs were noticed in every campaign of {budget} programs\n",
        count(&Score::detected),
        bugs.len()
    );
    if bugs.iter().any(|s| s.selftests.is_some()) {
        let seen = count(&|s| s.selftests.as_ref().is_some_and(|f| !f.is_empty()));
        say!(
            "{seen} of {} fail a selftest of the kernel tree\n",
            bugs.len()
        );
    }
    if bugs.iter().any(|s| s.crashes.is_some()) {
        let crashed = |o: &Outcome| o.row.first_suspect.is_some();
        let seen = count(&|s| s.crashes.as_ref().is_some_and(crashed));
        say!(
            "{seen} of {} make the kernel in debug configuration complain or hang within {budget} programs\n",
            bugs.len()
        );
    }
    Ok(())
}

/// Keeps the table, what it was made of and the plot. Returns the folder.
///
/// # Errors
/// They cannot be written.
pub fn keep(scores: &[Score], budget: u64, workspace: &Path) -> Result<PathBuf> {
    let folder = measured::folder(workspace, "mutants")?;
    let rows: Vec<Vec<String>> = scores.iter().map(Score::line).collect();
    measured::csv(&folder.join("mutants.csv"), &HEADER, &rows)?;
    let mut campaigns = Vec::new();
    let mut tests = Vec::new();
    let mut crashes = Vec::new();
    for score in scores {
        for (seed, outcome) in (1..).zip(&score.outcomes) {
            campaigns.push(campaign(score.name(), seed, outcome));
        }
        for test in score.selftests.iter().flatten() {
            tests.push(vec![score.name().to_owned(), test.clone()]);
        }
        crashes.extend(score.crashes.iter().map(|o| campaign(score.name(), 1, o)));
    }
    measured::csv(&folder.join("campaigns.csv"), &CAMPAIGNS, &campaigns)?;
    if scores.iter().any(|s| s.selftests.is_some()) {
        measured::csv(&folder.join("selftests.csv"), &["mutant", "test"], &tests)?;
    }
    if !crashes.is_empty() {
        measured::csv(&folder.join("crash-only.csv"), &CAMPAIGNS, &crashes)?;
    }
    let svg = plot::draw(&curves(scores), budget)?;
    let path = folder.join("mutants.svg");
    std::fs::write(&path, svg).with_context(|| path.display().to_string())?;
    Ok(folder)
}

fn campaign(name: &str, seed: u64, outcome: &Outcome) -> Vec<String> {
    let row = &outcome.row;
    vec![
        name.to_owned(),
        seed.to_string(),
        yes(outcome.reached).into(),
        yes(outcome.triggered).into(),
        row.first_suspect.map_or(String::new(), |n| n.to_string()),
        format!("{:.1}", row.seconds),
        row.first_bucket
            .as_ref()
            .map_or(String::new(), ToString::to_string),
    ]
}

/// What the plot shows.
fn curves(scores: &[Score]) -> Vec<plot::Curve> {
    let bugs = || scores.iter().filter(|s| s.mutant.is_some());
    let found = |outcome: &Outcome| outcome.row.first_suspect;
    let mut all = vec![plot::Curve {
        name: "mmdiff".into(),
        of: bugs().map(|score| score.outcomes.len()).sum(),
        at: bugs().flat_map(Score::noticed).filter_map(found).collect(),
    }];
    let crashes: Vec<&Outcome> = bugs().filter_map(|score| score.crashes.as_ref()).collect();
    if !crashes.is_empty() {
        all.push(plot::Curve {
            name: "crashes alone".into(),
            of: crashes.len(),
            at: crashes.into_iter().filter_map(found).collect(),
        });
    }
    let tests: Vec<&Vec<String>> = bugs()
        .filter_map(|score| score.selftests.as_ref())
        .collect();
    if !tests.is_empty() {
        // They do not get better by running for longer.
        all.push(plot::Curve {
            name: "selftests of the kernel tree".into(),
            of: tests.len(),
            at: vec![1; tests.iter().filter(|failed| !failed.is_empty()).count()],
        });
    }
    all
}

/// `yes` or `no`.
pub fn yes(is: bool) -> &'static str {
    if is {
        "yes"
    } else {
        "no"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::campaign::RowResult;
    use vm_images::mutants::{load, FOLDER};

    fn outcome(first: Option<u64>, rule: &str) -> Outcome {
        let bucket = Bucket {
            op: "fork".into(),
            rule: rule.into(),
            expected: "a".into(),
            observed: "b".into(),
        };
        Outcome {
            row: RowResult {
                first_suspect: first,
                first_bucket: first.map(|_| bucket),
                seconds: 2.0,
                ..RowResult::default()
            },
            reached: true,
            triggered: first.is_some(),
        }
    }

    fn score() -> Score {
        let mutant = load(&crate::workspace().join(FOLDER)).unwrap().remove(0);
        Score {
            outcomes: vec![
                outcome(Some(9), &mutant.rules[0]),
                outcome(Some(3), "other/rule"),
                outcome(None, ""),
            ],
            ..Score::new(Some(mutant))
        }
    }

    #[test]
    fn a_line_says_what_was_noticed_by_whom_and_whether_the_rule_is_right() {
        let mut score = score();
        let line = score.line();
        assert_eq!(line.len(), HEADER.len());
        assert_eq!(line[2..9], ["yes", "yes", "2 of 3", "9", "3", "9", "2.0"]);
        assert_eq!(line[9..], ["1 of 2", "", ""]);
        assert!(score.is_wrong());
        score.outcomes.pop();
        score.selftests = Some(vec!["b: 1 x".into(), "a: 1 y".into(), "b: exit".into()]);
        score.crashes = Some(outcome(None, ""));
        assert_eq!(score.line()[10..], ["a 1, b 2", "no"]);
        assert!(!score.is_wrong());
        score.error = Some("it does not boot".into());
        assert_eq!(score.line()[4], "error");
        assert!(score.is_wrong());
    }

    #[test]
    fn what_anybody_notices_without_a_bug_is_wrong() {
        let mut none = Score::new(None);
        none.outcomes.push(outcome(None, ""));
        assert_eq!(none.line()[..5], ["none", "", "yes", "no", "no"]);
        none.selftests = Some(Vec::new());
        assert!(!none.is_wrong());
        none.crashes = Some(outcome(Some(1), "kernel/survives"));
        assert!(none.is_wrong());
    }

    #[test]
    fn what_is_noticed_of_a_bug_that_was_not_triggered_does_not_count() {
        let mut score = score();
        score.outcomes.truncate(1);
        score.outcomes[0].triggered = false;
        assert_eq!(score.line()[3..5], ["no", "no"]);
        assert!(score.is_wrong());
        assert!(curves(&[score])[0].at.is_empty());
    }

    #[test]
    fn a_curve_counts_campaigns() {
        let mut score = score();
        score.selftests = Some(Vec::new());
        let curves = curves(&[Score::new(None), score]);
        assert_eq!((curves[0].of, curves[0].at.clone()), (3, vec![9, 3]));
        assert_eq!((curves[1].of, curves[1].at.len()), (1, 0));
    }
}
