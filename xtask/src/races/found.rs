//! What must not be, as `cargo xtask races` found it: divergences.csv, one text for each, and a report for each bucket.

use super::as_threads;
use crate::exit::say;
use crate::report::{ask, write, Cut, Site};
use anyhow::{Context, Result};
use harness::campaign::{divergence_id, Bucket, Known, Story};
use harness::kernel::machine::VmSource;
use harness::kernel::{Execution, JudgeBy, KernelInfo, KernelSource};
use harness::race::{picture, Kind};
use harness::report::{outcome_words, wrap, RacePart, DIVERGENCE_COLUMNS};
use harness::triage::{
    minimize, Answer, Limits, Minimized, Progress, Reliability, Settings, Told, TriageError,
};
use oracle::profile::Profile;
use oracle::program::Program;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Most repetitions of a minimized program on a kernel that is asked about it.
const MOST_ASKED: u32 = 10_000;

/// How often a race shows differs from boot to boot, by about this factor: so much more is asked than a rate says.
const BOOTS_DIFFER: u32 = 4;

/// A bucket that a program ended in on a kernel.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// The program's name.
    pub name: String,
    pub program: Arc<Program>,
    /// Place of the kernel among those that are raced on.
    pub machine: usize,
    pub info: KernelInfo,
    /// What QEMU says of itself.
    pub qemu: String,
    pub profile: Profile,
    pub story: Story,
    /// One that ended so; a dead kernel leaves none.
    pub execution: Option<Execution>,
    /// Repetitions that did.
    pub seen: Reliability,
    /// The finding that explains it, if there is one.
    pub known: Option<String>,
}

impl Suspect {
    fn id(&self) -> String {
        divergence_id(&self.story.bucket, &self.program.to_string())
    }

    /// For people: what every step returned, what is wrong, and the picture of it.
    fn text(&self) -> String {
        let (info, g) = (&self.info, self.info.geometry);
        let mut text = format!(
            "{} on {} {} ({}, {}): {} of {} repetitions\n{}\n",
            self.name,
            info.arch,
            info.release,
            info.accel,
            self.qemu,
            self.seen.hits,
            self.seen.runs,
            self.story.bucket
        );
        if let Some(known) = &self.known {
            text += &format!("known: {known} (corpus/findings/known.toml)\n");
        }
        if let Some(execution) = &self.execution {
            for (step, seen) in self.program.steps.iter().zip(&execution.seen) {
                let outcome = outcome_words(&seen.outcome, g);
                text += &format!("   {step}   => {outcome}\n");
            }
        }
        text += &format!("{}\n", self.story.text);
        text += &self.story.console;
        if let Some(execution) = &self.execution {
            text += &picture(&self.program, execution, &self.profile, g);
        }
        wrap(&text)
    }
}

/// The suspects of one program on one kernel, one for each bucket.
pub fn suspects(kinds: &[Kind], of: &Suspect) -> Vec<Suspect> {
    let mut found: BTreeMap<Bucket, Suspect> = BTreeMap::new();
    for kind in kinds {
        let Some(story) = kind.story() else { continue };
        let suspect = found
            .entry(story.bucket.clone())
            .or_insert_with(|| Suspect {
                story: story.clone(),
                execution: Some(kind.execution.clone()),
                seen: Reliability { hits: 0, ..of.seen },
                ..of.clone()
            });
        suspect.seen.hits += kind.count;
    }
    found.into_values().collect()
}

/// Everything that was found in a run.
#[derive(Default)]
pub struct Found {
    pub suspects: Vec<Suspect>,
}

impl Found {
    /// Adds what was found, unless it is explained, and prints it.
    pub fn add(&mut self, mut suspect: Suspect, known: &Known) -> Result<()> {
        let (bucket, info) = (&suspect.story.bucket, &suspect.info);
        let finding = known.explains(bucket, &info.arch, &info.release, &suspect.profile);
        suspect.known = finding.map(|finding| finding.id.clone());
        say!("{}\n", suspect.text());
        self.suspects.push(suspect);
        Ok(())
    }

    /// Something is there that no finding explains.
    pub fn is_new(&self) -> bool {
        self.suspects.iter().any(|suspect| suspect.known.is_none())
    }

    /// Writes divergences.csv, and for each program of it the program and a text.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let place = folder.join("divergences");
        std::fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(DIVERGENCE_COLUMNS)?;
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for suspect in &self.suspects {
            let (id, bucket) = (suspect.id(), &suspect.story.bucket);
            csv.write_record([
                &id,
                &bucket.to_string(),
                &suspect.info.release,
                &suspect.info.arch,
                &format!("divergences/{id}.prog"),
                &suspect.story.step.to_string(),
                &bucket.op,
                &bucket.rule,
                &bucket.expected,
                &bucket.observed,
                &suspect.seen.to_string(),
            ])?;
            put(&place, &format!("{id}.prog"), &suspect.program.to_string())?;
            let text = texts.entry(id).or_default();
            if !text.is_empty() {
                text.push('\n');
            }
            *text += &suspect.text();
        }
        for (id, text) in texts {
            put(&place, &format!("{id}.txt"), &text)?;
        }
        let table = csv.into_inner().map_err(|e| e.into_error())?;
        put(folder, "divergences.csv", &String::from_utf8_lossy(&table))
    }

    /// Of each new bucket the suspect of the kernel that showed it most often.
    fn most_frequent(&self) -> Vec<&Suspect> {
        let mut best: BTreeMap<&Bucket, &Suspect> = BTreeMap::new();
        for suspect in self.suspects.iter().filter(|s| s.known.is_none()) {
            let best = best.entry(&suspect.story.bucket).or_insert(suspect);
            if best.seen.share() < suspect.seen.share() {
                *best = suspect;
            }
        }
        let mut best: Vec<&Suspect> = best.into_values().collect();
        // Those of few ops first: they explain the others.
        best.sort_by_key(|suspect| suspect.story.bucket.op.matches('|').count());
        best
    }
}

fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    vm_images::files::write_atomically(&folder.join(name), text.as_bytes())?;
    Ok(())
}

/// How reports are made.
pub struct Reporting<'a> {
    pub folder: &'a Path,
    pub machines: &'a [VmSource],
    /// Label and architecture to where an image is from.
    pub images: &'a BTreeMap<String, String>,
    pub by: &'a JudgeBy,
    pub known: &'a Known,
    /// Seconds for minimizing one program.
    pub seconds: u64,
    pub stop: &'a AtomicBool,
}

impl Reporting<'_> {
    /// Confirms each new bucket by repetition, minimizes its program, asks every kernel about the result, and puts the report into
    /// `buckets/ID/`. Where the program comes down to what is known, its bucket is known from then on.
    ///
    /// # Errors
    /// A report cannot be written.
    pub fn write(&self, found: &mut Found) -> Result<()> {
        let explained = self.each(found)?;
        for suspect in &mut found.suspects {
            let same = |(bucket, _): &&(Bucket, String)| *bucket == suspect.story.bucket;
            if let Some((_, finding)) = explained.iter().find(same) {
                suspect.known.get_or_insert_with(|| finding.clone());
            }
        }
        Ok(())
    }

    /// The buckets that turned out to be known ones, with the finding.
    fn each(&self, found: &Found) -> Result<Vec<(Bucket, String)>> {
        let mut explained = Vec::new();
        let sources: Vec<Arc<dyn KernelSource>> = self.machines.iter().map(as_threads).collect();
        let mut reported: Vec<Bucket> = Vec::new();
        for suspect in found.most_frequent() {
            let bucket = &suspect.story.bucket;
            if let Some(same) = reported
                .iter()
                .find(|bucket| bucket.is_within(&suspect.story.bucket))
            {
                say!(
                    "{}",
                    wrap(&format!(
                        "{}: {bucket}\n    the same with fewer ops: buckets/{}\n",
                        bucket.id(),
                        same.id()
                    ))
                );
                continue;
            }
            eprintln!("{}", wrap(&format!("{}: {bucket}", bucket.id())).trim_end());
            let minimized = match self.minimized(suspect, sources[suspect.machine].as_ref()) {
                Ok(minimized) => minimized,
                Err(TriageError::Interrupted) => return Ok(explained),
                Err(error) => {
                    say!(
                        "{}",
                        wrap(&format!(
                            "{}: {bucket}\n    not minimized, what was seen stays in divergences/{}.txt: {error}",
                            bucket.id(),
                            suspect.id()
                        ))
                    );
                    continue;
                }
            };
            let (info, cause) = (&suspect.info, &minimized.story.bucket);
            let finding = self
                .known
                .explains(cause, &info.arch, &info.release, &suspect.profile);
            if let Some(finding) = finding {
                let text = format!(
                    "{}: {bucket}\n    comes down to a known one: {} (corpus/findings/known.toml)\n",
                    bucket.id(),
                    finding.id
                );
                say!("{}", wrap(&text));
                explained.push((bucket.clone(), finding.id.clone()));
                continue;
            }
            let runs = minimized.after.runs_to_see(MOST_ASKED);
            let runs = (runs * BOOTS_DIFFER).min(MOST_ASKED);
            let cut = Cut::new(suspect.program.steps.len(), minimized);
            let cuts = std::slice::from_ref(&cut);
            let mut told = ask(&sources, cuts, self.by, runs, 1, self.stop);
            // It has been seen there: a boot that does not show it is no answer.
            let here = suspect.machine;
            if matches!(
                told[here][..],
                [Told {
                    answer: Answer::Holds { .. },
                    ..
                }]
            ) {
                let source = &sources[here..=here];
                told.splice(
                    here..=here,
                    ask(source, cuts, self.by, MOST_ASKED, 1, self.stop),
                );
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(explained);
            }
            let told: Vec<(&dyn KernelSource, &Told)> = sources
                .iter()
                .zip(&told)
                .filter_map(|(source, told)| Some((source.as_ref(), told.first()?)))
                .collect();
            let site = Site {
                folder: self.folder,
                campaign: &|_, _| None,
                images: self.images,
                race: Some(self.race_part(suspect, &cut, &told)),
            };
            reported.push(cut.minimized.story.bucket.clone());
            let written = write(&site, &cut, &told, self.by)?;
            say!("{}", wrap(&written.line));
        }
        Ok(explained)
    }

    fn minimized(
        &self,
        suspect: &Suspect,
        source: &dyn KernelSource,
    ) -> Result<Minimized, TriageError> {
        let settings = Settings {
            bucket: Some(suspect.story.bucket.clone()),
            by: self.by.clone(),
            limits: Limits {
                time: Duration::from_secs(self.seconds),
                executions: u64::MAX,
                ..Limits::default()
            },
            // As often as it took to find it, and once more.
            repetitions: suspect.seen.runs.saturating_mul(2),
        };
        let mut ops = suspect.program.steps.len();
        let mut listener = |progress: &Progress<'_>| match progress {
            Progress::Measured {
                reliability, trust, ..
            } => {
                eprintln!("    again in {reliability} repetitions");
                eprint!("{}", wrap(&format!("    a candidate counts with {trust}")));
            }
            Progress::Simpler {
                program,
                executions,
                seconds,
            } if program.steps.len() < ops => {
                ops = program.steps.len();
                eprintln!("    {ops} ops after {executions} repetitions, {seconds:.1} s");
            }
            Progress::Simpler { .. } | Progress::Boot { .. } | Progress::Again { .. } => {}
        };
        let minimized = minimize(
            source,
            &suspect.program,
            &settings,
            self.stop,
            &mut listener,
        )?;
        eprintln!(
            "    {} ops became {} in {} repetitions, {:.1} s: {}",
            suspect.program.steps.len(),
            minimized.program.steps.len(),
            minimized.executions,
            minimized.seconds,
            minimized.ended
        );
        Ok(minimized)
    }

    fn race_part(
        &self,
        suspect: &Suspect,
        cut: &Cut,
        told: &[(&dyn KernelSource, &Told)],
    ) -> RacePart {
        let Minimized {
            before,
            after,
            trust,
            kernel,
            ..
        } = &cut.minimized;
        let how_sure = vec![
            format!(
                "Found with {}: {} of {} repetitions on {} {}.",
                suspect.name, suspect.seen.hits, suspect.seen.runs, suspect.info.arch, suspect.info.release
            ),
            format!("Confirmed by repeating it: {}.", said(*before)),
            format!(
                "Minimized: what is tried in its place gets up to {} repetitions, in which {:.0} % of what goes wrong as often would be \
                 met, and then has to go wrong in {trust}.",
                trust.screen,
                trust.notices * 100.0
            ),
            format!("The program below: {}.", said(*after)),
        ];
        // Of the runs that are compared, or else of those before.
        let here = told
            .iter()
            .find(|(source, _)| source.label() == kernel.label && source.arch() == kernel.arch);
        let picture = match here {
            Some((
                _,
                Told {
                    kernel: Some((info, profile)),
                    execution: Some(execution),
                    ..
                },
            )) => picture(&cut.program, execution, profile, info.geometry),
            _ => "  It was not met again.\n".into(),
        };
        RacePart { how_sure, picture }
    }
}

/// A rate in words.
fn said(rate: Reliability) -> String {
    let (low, high) = rate.interval();
    format!(
        "{} of {} repetitions, between {:.2} and {:.2} % with 95 % confidence",
        rate.hits,
        rate.runs,
        low * 100.0,
        high * 100.0
    )
}
