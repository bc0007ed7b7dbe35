//! An earlier run, as its folder tells it: what it was, and how its kernels and its rules are named again.

use crate::exit::UsageError;
use crate::judge_by::RulesOptions;
use anyhow::Result;
use harness::report::{NamedKernel, RanRecord};
use oracle::profile::Release;
use std::path::{Path, PathBuf};

/// The verb that a run was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Matrix,
    Races,
}

/// What is known of a run besides its results.
#[derive(Debug, Clone)]
pub struct Past {
    pub kind: Kind,
    /// For people: that the run did not come to its end, or cannot be repeated as it was.
    pub notes: Vec<String>,
    /// The options of its rules, words.
    rules: Vec<String>,
    named: Vec<NamedKernel>,
}

impl Past {
    /// Reads run.json. A run without it is one that was killed before, or one of a version that did not write it.
    pub fn of(folder: &Path) -> Past {
        let mut past = Past {
            kind: match folder.join("races.csv").exists() {
                true => Kind::Races,
                false => Kind::Matrix,
            },
            notes: Vec::new(),
            rules: Vec::new(),
            named: Vec::new(),
        };
        let Ok(record) = RanRecord::read(folder) else {
            past.notes.push(
                "the run did not come to its end, or another version of mmdiff made it: run.json cannot be read. \
                 This is what it had, and its kernels are named by their releases"
                    .into(),
            );
            return past;
        };
        past.kind = kind(&record);
        if !record.is_finished() {
            past.notes
                .push("the run did not come to its end: this is what it had".into());
        }
        match rules(past.kind, &record) {
            Ok(words) => past.rules = words,
            Err(why) => past.notes.push(format!(
                "this version of mmdiff cannot repeat the run, and the commands below lack options of it: {why}"
            )),
        }
        past.named = record.named;
        past
    }

    /// The options that name a kernel of the run by its release and architecture, booted and judged as then: words, an option and its
    /// value in turn. Where several are called so, all of them.
    pub fn options(&self, release: &str, arch: &str) -> Vec<String> {
        let of = |wanted: Option<&str>| -> Vec<&NamedKernel> {
            let here =
                |named: &&NamedKernel| named.arch == arch && named.release.as_deref() == wanted;
            self.named.iter().filter(here).collect()
        };
        let mut found = of(Some(release));
        if found.is_empty() {
            // The run was killed before it said what they are.
            found = of(None);
        }
        let mut words: Vec<String> = Vec::new();
        for pair in found.iter().flat_map(|named| named.options.chunks(2)) {
            if !words.chunks(2).any(|had| had == pair) {
                words.extend_from_slice(pair);
            }
        }
        if words.is_empty() {
            let point = point(release);
            words = ["--kernels", &point, "--arch", arch]
                .map(String::from)
                .to_vec();
        }
        [words, self.rules.clone()].concat()
    }

    /// Only the options of the rules.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }
}

/// `6.18.5` of `6.18.5+deb13-cloud-amd64`.
pub fn point(release: &str) -> String {
    Release::parse(release).map_or_else(|| release.to_string(), |point| point.to_string())
}

fn kind(record: &RanRecord) -> Kind {
    match record.command.first().map(String::as_str) {
        Some("races") => Kind::Races,
        _ => Kind::Matrix,
    }
}

/// The options of a run's rules.
fn rules(kind: Kind, record: &RanRecord) -> Result<Vec<String>, String> {
    let rules: RulesOptions = match kind {
        Kind::Matrix => crate::matrix_args(&record.command)?.rules,
        Kind::Races => crate::races_args(&record.command)?.rules,
    };
    Ok(rules.words())
}

/// The newest run that has results, of this kind or of any: runs are named after the time.
///
/// # Errors
/// There is none.
pub fn newest(runs: &Path, wanted: Option<Kind>) -> Result<PathBuf> {
    let entries = std::fs::read_dir(runs).into_iter().flatten().flatten();
    let newest = entries
        .map(|entry| entry.path())
        .filter(|path| path.join("divergences.csv").is_file())
        .filter(|path| wanted.is_none_or(|wanted| Past::of(path).kind == wanted))
        .max();
    newest.ok_or_else(|| {
        let (what, verb) = match wanted {
            Some(Kind::Races) => ("run of races", "races"),
            Some(Kind::Matrix) => ("run of vm-matrix", "vm-matrix"),
            None => ("run", "vm-matrix"),
        };
        UsageError(format!(
            "there is no {what} under {}: `cargo xtask {verb}` makes one",
            runs.display()
        ))
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(record: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("run.json"), record).unwrap();
        folder
    }

    fn record(command: &str, named: &str) -> String {
        format!(
            r#"{{"command": [{command}], "end": "finished", "kernels": {{}}, "named": [{named}], "started": "now", "accel": "auto",
               "versions": {{}}, "host": {{"cpu": "", "cores": 2, "memory_mib": 1, "os": "", "kernel": ""}}}}"#
        )
    }

    #[test]
    fn kernels_are_named_as_the_run_had_them_with_its_rules() {
        let named = r#"{"label": "6.18", "arch": "x86_64", "release": "6.18.15+deb13-cloud-amd64",
                "options": ["--kernels", "6.18.15", "--arch", "x86_64", "--append", "a b"]},
            {"label": "bzImage", "arch": "x86_64", "release": "7.4.0-rc1", "options": ["--kernel", "/a/bzImage"]},
            {"label": "b/bzImage", "arch": "x86_64", "release": "7.4.0-rc1", "options": ["--kernel", "/b/bzImage"]}"#;
        let command = r#""vm-matrix", "--profile", "7.3", "--without-row", "mseal_stale_start""#;
        let folder = folder(&record(command, named));
        let past = Past::of(folder.path());
        assert_eq!((past.kind, past.notes.len()), (Kind::Matrix, 0), "{past:?}");
        let rules = " --profile 7.3 --without-row mseal_stale_start";
        let options = |release: &str, arch: &str| past.options(release, arch).join(" ");
        assert_eq!(
            options("6.18.15+deb13-cloud-amd64", "x86_64"),
            format!("--kernels 6.18.15 --arch x86_64 --append a b{rules}")
        );
        // Two of one name: nobody can tell them apart by it.
        assert_eq!(
            options("7.4.0-rc1", "x86_64"),
            format!("--kernel /a/bzImage --kernel /b/bzImage{rules}")
        );
        // What the run does not name is named by its release, never by its series.
        assert_eq!(
            options("6.18.5+deb13-cloud-arm64", "aarch64"),
            format!("--kernels 6.18.5 --arch aarch64{rules}")
        );
    }

    #[test]
    fn a_killed_run_of_an_own_image_still_names_it() {
        let named = r#"{"label": "bzImage", "arch": "x86_64", "release": null, "options": ["--kernel", "/a/bzImage"]}"#;
        let text = record(r#""vm-matrix""#, named).replace("finished", "running");
        let past = Past::of(folder(&text).path());
        assert_eq!(
            past.options("7.4.0-rc1", "x86_64"),
            ["--kernel", "/a/bzImage"]
        );
        assert!(past.notes[0].contains("did not come to its end"));
    }

    #[test]
    fn what_cannot_be_repeated_is_said() {
        let past = Past::of(folder(&record(r#""vm-matrix", "--programmes", "1""#, "")).path());
        assert!(past.notes[0].contains("--programmes"), "{past:?}");
        let none = tempfile::tempdir().unwrap();
        let past = Past::of(none.path());
        assert!(
            past.notes[0].contains("did not come to its end"),
            "{past:?}"
        );
        assert_eq!(past.options("6.18.5+x", "x86_64")[1], "6.18.5");
    }

    #[test]
    fn the_newest_run_of_a_kind_is_found() {
        let runs = tempfile::tempdir().unwrap();
        for (name, command) in [("1", r#""vm-matrix""#), ("2", r#""races""#), ("3", "")] {
            let run = runs.path().join(name);
            std::fs::create_dir(&run).unwrap();
            if !command.is_empty() {
                std::fs::write(run.join("divergences.csv"), "").unwrap();
                std::fs::write(run.join("run.json"), record(command, "")).unwrap();
            }
        }
        let newest = |kind| newest(runs.path(), kind).unwrap();
        assert!(newest(None).ends_with("2"));
        assert!(newest(Some(Kind::Matrix)).ends_with("1"));
        std::fs::remove_dir_all(runs.path().join("1")).unwrap();
        let error = super::newest(runs.path(), Some(Kind::Matrix)).unwrap_err();
        assert!(error.to_string().contains("no run of vm-matrix"), "{error}");
    }
}
