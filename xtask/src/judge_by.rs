//! `--profile` and `--without-row`: by whose rules kernels are judged.

use crate::exit::UsageError;
use crate::show;
use anyhow::Result;
use clap::Args;
use harness::kernel::JudgeBy;
use oracle::profile::{Behaviour, BEHAVIOURS};

/// Names that are near enough to be meant (strsim's Jaro-Winkler similarity, 0 to 1).
const NEAR: f64 = 0.75;

/// How many near names are listed.
const LISTED: usize = 5;

/// Options of the verbs that judge.
#[derive(Args, Clone, Debug, Default)]
pub struct RulesOptions {
    /// Judge all kernels by the rules of this release, or of rfc-2024, instead of their own, to see that differences are
    /// noticed.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Judge as if this row of the table of behaviours were not known: every kernel is expected to do what the newest one does, and
    /// to have no fault that the row is about.
    /// May be given several times. `cargo xtask rules --diff 6.1,7.3` lists rows.
    #[arg(long, value_name = "ROW")]
    without_row: Vec<String>,
}

impl RulesOptions {
    /// As words of a command line, an option and its value in turn.
    pub fn words(&self) -> Vec<String> {
        let profile = self.profile.iter().map(|name| ["--profile", name]);
        let rows = self.without_row.iter();
        profile
            .chain(rows.map(|row| ["--without-row", row]))
            .flatten()
            .map(String::from)
            .collect()
    }

    /// As the harness wants it.
    ///
    /// # Errors
    /// No such profile or row.
    pub fn judge_by(&self) -> Result<JudgeBy> {
        Ok(JudgeBy {
            profile: self.profile.as_deref().map(show::named).transpose()?,
            without: self
                .without_row
                .iter()
                .map(|name| row(name))
                .collect::<Result<_>>()?,
        })
    }
}

/// The row of the table with this name.
fn row(name: &str) -> Result<&'static Behaviour> {
    if let Some(row) = BEHAVIOURS.iter().find(|row| row.name == name) {
        return Ok(row);
    }
    let mut near: Vec<(f64, &str)> = BEHAVIOURS
        .iter()
        .map(|row| (likeness(name, row.name), row.name))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.truncate(LISTED);
    let near: Vec<&str> = near.into_iter().map(|(_, name)| name).collect();
    let meant = match near.is_empty() {
        true => "`cargo xtask rules --diff 6.1,7.3` lists rows".to_string(),
        false => format!("near it: {}", near.join(", ")),
    };
    Err(UsageError(format!(
        "--without-row {name}: no row of the table of behaviours has this name; {meant}"
    ))
    .into())
}

/// How much what was typed is like a name: a part of it is as good as a misspelling.
fn likeness(typed: &str, name: &str) -> f64 {
    let typed = typed.to_lowercase().replace('-', "_");
    if typed.len() > 2 && name.contains(&typed) {
        return 1.0;
    }
    strsim::jaro_winkler(&typed, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str) -> String {
        row(name).expect_err("no such row").to_string()
    }

    #[test]
    fn unknown_rows_name_their_neighbours() {
        assert_eq!(
            row("maybe_guard").map(|row| row.name).unwrap(),
            "maybe_guard"
        );
        assert!(error("maybe-guard").contains("maybe_guard"));
        assert!(error("mseal_stale_strat").contains("mseal_stale_start"));
        assert!(error("exclusive").contains("huge_exclusive_by_head"));
        let far = error("zzz");
        assert!(
            far.contains("rules --diff") && !far.contains("near it"),
            "{far}"
        );
    }

    #[test]
    fn options_come_back_as_words() {
        let options = RulesOptions {
            profile: Some("7.3".into()),
            without_row: vec!["ksm".into(), "mseal".into()],
        };
        let by = options.judge_by().unwrap();
        assert_eq!(
            by.options().join(" "),
            "--profile 7.3.0 --without-row ksm --without-row mseal"
        );
        let words = "--profile 7.3 --without-row ksm --without-row mseal";
        assert_eq!(options.words().join(" "), words);
        assert!(RulesOptions::default().judge_by().unwrap().is_own());
    }
}
