//! Divergences that are understood: `corpus/findings/known.toml`.
//!
//! An entry explains exactly one bucket on exactly the kernels it names. There are no wildcards: a neighbouring fault
//! (another observed class, another rule, another kernel) is a new divergence. A series is the name of all its point releases, later
//! ones too: a bug stays in a series until it is mended, and a point release without it is named as such. `known.toml` has the reason.

use super::Bucket;
use crate::triage::Reliability;
use oracle::profile::{Profile, Release, BEHAVIOURS};
use oracle::program::Program;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The kernel contradicts its documentation or another of its own interfaces.
    #[default]
    KernelBug,
    /// The kernel does otherwise on purpose, and the rules have not caught up.
    IntendedChange,
    /// The rules say less, or something else, than they should.
    OracleGap,
}

impl Status {
    /// Every status, with its name in known.toml.
    pub const ALL: [(&'static str, Status); 3] = [
        ("kernel-bug", Status::KernelBug),
        ("intended-change", Status::IntendedChange),
        ("oracle-gap", Status::OracleGap),
    ];

    /// Its name in known.toml.
    pub fn name(self) -> &'static str {
        let mut all = Status::ALL.iter();
        all.find(|(_, status)| *status == self)
            .map_or("", |(name, _)| *name)
    }
}

/// One entry of known.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Short name, unique in the file.
    pub id: String,
    /// Op, rule, expected and observed class, as `divergences.csv` has them.
    pub op: String,
    pub rule: String,
    pub expected: String,
    pub observed: String,
    /// The bucket in one line, as reports print it; must say the same as the four fields above.
    pub bucket: String,
    /// Kernels that have it: `ARCH SERIES` (`x86_64 6.17`, with every point release) or `ARCH RELEASE` (`x86_64 6.18.5`).
    pub kernels_with: Vec<String>,
    /// Kernels that were run and do not have it. The more exact name decides where both lists speak.
    pub kernels_without: Vec<String>,
    /// Minimized program, relative to known.toml.
    pub program: PathBuf,
    /// Why it is the kernel's doing.
    pub reasoning: String,
    /// Where this is known from: a commit, a thread, a run.
    pub source: String,
    /// A kernel bug unless it says otherwise.
    #[serde(default)]
    pub status: Status,
    /// The commit that mended it, or the thread about it, where there is one.
    pub link: Option<String>,
    /// Another finding of the file with the same cause, which these kernels show in another way.
    pub same_as: Option<String>,
    /// In how many runs of its program it shows (`3/10`), where that is not each of them.
    pub reliability: Option<String>,
    /// The row of the table of behaviours that models it, where there is one. Judged by a profile that has the row, the
    /// kernel is expected to behave so, and the entry explains nothing: whatever still falls into its bucket is new.
    pub behaviour: Option<String>,
}

/// A kernel named in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    arch: String,
    major: u16,
    minor: u16,
    /// `None`: the whole series.
    sub: Option<u16>,
}

impl Named {
    fn parse(text: &str) -> Result<Named, String> {
        let wrong = || {
            format!("`{text}` is not `ARCH SERIES` or `ARCH RELEASE`, such as `x86_64 6.17` or `aarch64 6.18.5`")
        };
        let (arch, release) = text.split_once(' ').ok_or_else(wrong)?;
        if !matches!(arch, "x86_64" | "aarch64") {
            return Err(wrong());
        }
        let mut numbers = release.split('.').map(str::parse::<u16>);
        let mut number = || numbers.next().transpose().map_err(|_| wrong());
        let named = Named {
            arch: arch.to_string(),
            major: number()?.ok_or_else(wrong)?,
            minor: number()?.ok_or_else(wrong)?,
            sub: number()?,
        };
        match numbers.next() {
            None => Ok(named),
            Some(_) => Err(wrong()),
        }
    }

    /// How exactly this names the kernel: 0 not at all, 1 by its series, 2 by its release.
    fn matches(&self, arch: &str, release: Release) -> u8 {
        if self.arch != arch || (self.major, self.minor) != release.series() {
            return 0;
        }
        match self.sub {
            None => 1,
            Some(sub) if sub == release.2 => 2,
            Some(_) => 0,
        }
    }
}

/// A finding whose absence from so many runs in a row is more likely than this is not said to be gone.
const BY_CHANCE: f64 = 0.05;

/// An entry with what its words mean.
#[derive(Debug, Clone)]
struct Entry {
    finding: Finding,
    with: Vec<Named>,
    without: Vec<Named>,
    program: Program,
    /// `None`: it shows in every run.
    reliability: Option<Reliability>,
}

impl Entry {
    /// Whether it is said to be on a kernel.
    fn is_on(&self, arch: &str, release: Release) -> bool {
        let best = |named: &[Named]| {
            let matches = named.iter().map(|n| n.matches(arch, release));
            matches.max().unwrap_or(0)
        };
        best(&self.with) > best(&self.without)
    }

    /// Whether so many runs of its program would have shown it.
    fn would_show_in(&self, runs: u64) -> bool {
        let runs = u32::try_from(runs).unwrap_or(u32::MAX);
        let missed = |rate: Reliability| rate.missed_in(runs) <= BY_CHANCE;
        runs > 0 && self.reliability.is_none_or(missed)
    }
}

/// All known findings.
#[derive(Debug, Clone, Default)]
pub struct Known {
    findings: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    finding: Vec<Finding>,
}

/// Why known.toml cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct KnownError {
    path: PathBuf,
    what: String,
}

impl Known {
    /// Reads and checks known.toml.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML of this shape, an entry lacks reasoning or source, uses a wildcard, names a
    /// kernel wrongly, or its program is missing or does not parse.
    pub fn load(path: &Path) -> Result<Known, KnownError> {
        let fail = |what: String| KnownError {
            path: path.to_path_buf(),
            what,
        };
        let text =
            std::fs::read_to_string(path).map_err(|e| fail(format!("cannot be read: {e}")))?;
        let file: File = toml::from_str(&text).map_err(|e| fail(e.to_string()))?;
        let mut known = Known::default();
        for finding in file.finding {
            let id = finding.id.clone();
            let dir = path.parent().unwrap_or(Path::new("."));
            known
                .add(finding, dir)
                .map_err(|what| fail(format!("finding `{id}`: {what}")))?;
        }
        Ok(known)
    }

    fn add(&mut self, finding: Finding, dir: &Path) -> Result<(), String> {
        let fields = [
            ("id", &finding.id),
            ("op", &finding.op),
            ("rule", &finding.rule),
            ("expected", &finding.expected),
            ("observed", &finding.observed),
            ("reasoning", &finding.reasoning),
            ("source", &finding.source),
        ];
        for (name, value) in fields {
            if value.trim().is_empty() {
                return Err(format!("`{name}` is empty"));
            }
        }
        for (name, value) in &fields[..5] {
            if value.contains(['*', '?']) {
                return Err(format!(
                    "`{name}` has a wildcard; one entry explains one bucket"
                ));
            }
        }
        if self.findings.iter().any(|e| e.finding.id == finding.id) {
            return Err("the id is used twice".into());
        }
        if let Some(other) = &finding.same_as {
            if self.get(other).is_none() {
                return Err(format!(
                    "`same_as` names `{other}`, of which there is no entry above"
                ));
            }
        }
        let bucket = bucket_of(&finding).to_string();
        if finding.bucket != bucket {
            return Err(format!(
                "`bucket` says `{}`, the fields say `{bucket}`",
                finding.bucket
            ));
        }
        if finding.kernels_with.is_empty() {
            return Err("`kernels_with` is empty".into());
        }
        let parse = |names: &[String]| -> Result<Vec<Named>, String> {
            names.iter().map(|name| Named::parse(name)).collect()
        };
        let with = parse(&finding.kernels_with)?;
        let without = parse(&finding.kernels_without)?;
        if let Some(both) = with.iter().find(|named| without.contains(named)) {
            return Err(format!("{both:?} is in both lists of kernels"));
        }
        if let Some(name) = &finding.behaviour {
            if !BEHAVIOURS.iter().any(|b| b.name == name) {
                return Err(format!("no behaviour is called `{name}`"));
            }
        }
        let path = dir.join(&finding.program);
        let text =
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let program = Program::load(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        if !program
            .steps
            .iter()
            .any(|step| step.op.name() == finding.op)
        {
            return Err(format!("{} has no {}", path.display(), finding.op));
        }
        let reliability = finding
            .reliability
            .as_deref()
            .map(reliability)
            .transpose()?;
        self.findings.push(Entry {
            finding,
            with,
            without,
            program,
            reliability,
        });
        Ok(())
    }

    /// The finding that explains this bucket on this kernel, judged by this profile.
    pub fn explains(
        &self,
        bucket: &Bucket,
        arch: &str,
        release: &str,
        profile: &Profile,
    ) -> Option<&Finding> {
        let release = Release::parse(release)?;
        self.findings
            .iter()
            .find(|entry| {
                bucket_of(&entry.finding) == *bucket
                    && entry.is_on(arch, release)
                    && !is_modelled(&entry.finding, profile)
            })
            .map(|entry| &entry.finding)
    }

    /// Findings that are said to be on a kernel which was found not to have them (any more): by the behaviour that models each, or, where
    /// none does, by its own program, which ran there and did not show it. `behaviours` are the rows that the kernel was found to have,
    /// `held` the runs of findings' programs in which nothing went wrong, by the finding.
    pub fn gone(
        &self,
        arch: &str,
        release: &str,
        behaviours: &[String],
        held: &BTreeMap<String, u64>,
    ) -> Vec<&Finding> {
        let Some(release) = Release::parse(release) else {
            return Vec::new();
        };
        let is_gone = |entry: &&Entry| match &entry.finding.behaviour {
            Some(row) => !behaviours.contains(row),
            None => {
                let runs = held.get(&entry.finding.id).copied().unwrap_or(0);
                entry.would_show_in(runs)
            }
        };
        self.findings
            .iter()
            .filter(|entry| entry.is_on(arch, release))
            .filter(is_gone)
            .map(|entry| &entry.finding)
            .collect()
    }

    /// Findings that this program is the program of.
    pub fn shown_by<'k>(&'k self, program: &'k Program) -> impl Iterator<Item = &'k Finding> {
        let own = self.findings.iter().filter(|e| e.program == *program);
        own.map(|entry| &entry.finding)
    }

    /// The finding of this id.
    pub fn get(&self, id: &str) -> Option<&Finding> {
        self.iter().find(|finding| finding.id == id)
    }

    /// All findings.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().map(|entry| &entry.finding)
    }
}

/// `3/10`: hits and runs.
fn reliability(text: &str) -> Result<Reliability, String> {
    let numbers = text.split_once('/').and_then(|(hits, runs)| {
        Some(Reliability {
            hits: hits.parse().ok()?,
            runs: runs.parse().ok()?,
        })
    });
    numbers
        .filter(|rate| rate.hits > 0 && rate.hits <= rate.runs)
        .ok_or_else(|| format!("`reliability` says `{text}`, which is no share such as `3/10`"))
}

/// Whether the profile has the behaviour that the finding is about.
fn is_modelled(finding: &Finding, profile: &Profile) -> bool {
    finding
        .behaviour
        .as_ref()
        .and_then(|name| BEHAVIOURS.iter().find(|b| b.name == name))
        .is_some_and(|behaviour| behaviour.get(profile))
}

fn bucket_of(finding: &Finding) -> Bucket {
    Bucket {
        op: finding.op.clone(),
        rule: finding.rule.clone(),
        expected: finding.expected.clone(),
        observed: finding.observed.clone(),
    }
}
