//! What is shown while a campaign runs: a line per kernel on a terminal, plain lines elsewhere.

use crate::campaign::{Kind, Listener, Progress, Tally};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a kernel gets a plain line.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Progress of a campaign over kernels of these names.
pub struct Bars<'a> {
    names: Vec<String>,
    terminal: bool,
    multi: MultiProgress,
    rows: Mutex<BTreeMap<usize, Row>>,
    finished: Mutex<usize>,
    /// Bytes of results so far.
    size: Option<&'a (dyn Fn() -> u64 + Sync)>,
}

struct Row {
    bar: ProgressBar,
    started: Instant,
    said: Instant,
}

impl<'a> Bars<'a> {
    /// `names` in the order of the rows; `terminal`: standard error is one.
    pub fn new(names: Vec<String>, terminal: bool) -> Bars<'a> {
        Bars {
            names,
            terminal,
            multi: MultiProgress::new(),
            rows: Mutex::new(BTreeMap::new()),
            finished: Mutex::new(0),
            size: None,
        }
    }

    /// The same, which also shows how large the results have become.
    #[must_use]
    pub fn of_size(mut self, size: &'a (dyn Fn() -> u64 + Sync)) -> Bars<'a> {
        self.size = Some(size);
        self
    }

    fn say(&self, text: &str) {
        if self.terminal {
            // An error here means that nobody sees it.
            let _ = self.multi.println(text);
        } else {
            eprintln!("{text}");
        }
    }

    fn name(&self, row: usize) -> &str {
        self.names.get(row).map_or("?", String::as_str)
    }

    fn with_row(&self, row: usize, act: impl FnOnce(&mut Row)) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = rows.entry(row).or_insert_with(|| {
            let bar = if self.terminal {
                self.multi.add(ProgressBar::new(0))
            } else {
                ProgressBar::hidden()
            };
            let style = ProgressStyle::with_template("{prefix:<18} {bar:20} {pos}/{len} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(self.name(row).to_string());
            let now = Instant::now();
            Row {
                bar,
                started: now,
                said: now,
            }
        });
        act(entry);
    }

    fn programs(&self, row: usize, tally: &Tally, total: Option<u64>) {
        let mut plain = None;
        self.with_row(row, |entry| {
            let seconds = entry.started.elapsed().as_secs_f64().max(0.001);
            let rate = tally.programs as f64 / seconds;
            let done = tally.programs;
            let left = total.map(|total| total.saturating_sub(done) as f64 / rate.max(0.001));
            let found = tally.divergences + tally.hangs + tally.crashes;
            let mut message = format!("{rate:.0}/s, {found} new, {} known", tally.known);
            if let Some(left) = left {
                message += &format!(", {left:.0} s left");
            }
            if let Some(size) = self.size {
                message += &format!(", results {:.1} MiB", size() as f64 / f64::from(1 << 20));
            }
            entry.bar.set_length(total.unwrap_or(done));
            entry.bar.set_position(done);
            entry.bar.set_message(message.clone());
            if !self.terminal && entry.said.elapsed() >= PLAIN_EVERY {
                entry.said = Instant::now();
                let of = total.map_or(String::new(), |total| format!("/{total}"));
                plain = Some(format!(
                    "{}: {done}{of} programs, {message}",
                    self.name(row)
                ));
            }
        });
        if let Some(line) = plain {
            self.say(&line);
        }
    }
}

impl Listener for Bars<'_> {
    fn event(&self, event: &Progress<'_>) {
        match event {
            Progress::Booting { row } => {
                self.with_row(*row, |entry| entry.bar.set_message("boots"));
            }
            Progress::Booted { row, info } => {
                self.with_row(*row, |entry| entry.started = Instant::now());
                if !self.terminal {
                    self.say(&format!(
                        "{}: {} booted in {:.1} s ({})",
                        self.name(*row),
                        info.release,
                        info.boot_seconds,
                        info.accel
                    ));
                }
            }
            Progress::Programs { row, tally, total } => self.programs(*row, tally, *total),
            Progress::Reported(r) => {
                let kind = match r.story.kind {
                    Kind::Divergence => "divergence",
                    Kind::Hang => "hang",
                    Kind::Crash => "crash",
                };
                self.say(&format!(
                    "{} {}: {kind} {} ({} of {} re-runs): {}",
                    r.kernel.release, r.kernel.arch, r.id, r.hits, r.runs, r.story.bucket
                ));
            }
            Progress::Error { row, text } => self.say(&format!("{}: {text}", self.name(*row))),
            Progress::Done { row, result } => {
                self.with_row(*row, |entry| entry.bar.finish_and_clear());
                let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
                *finished += 1;
                let t = &result.tally;
                let line = match &result.skipped_because {
                    Some(why) => format!("skipped: {why}"),
                    None => format!(
                        "{} programs, {} ops, {} new, {} known, {:.0} programs/s",
                        t.programs,
                        t.ops,
                        t.divergences + t.hangs + t.crashes,
                        t.known,
                        result.rate()
                    ),
                };
                self.say(&format!(
                    "[{finished}/{}] {}: {line}",
                    self.names.len(),
                    self.name(*row)
                ));
            }
        }
    }
}
