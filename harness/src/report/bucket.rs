//! The report of a bucket, for mail and people, at most 80 columns wide: what, where and where not, the shortest program, what every
//! op did, what was expected, who stands alone, and how to see it again.

use super::divergence::{actor_strips, actors, outcomes, place, program_with_mark, rule_text};
use super::words::{command, options, result_words, wrap};
use crate::campaign::{piece_of, Story};
use crate::kernel::{Execution, KernelInfo};
use crate::triage::{Reliability, Standing};
use oracle::geometry::Geometry;
use oracle::judge::strip::{contents, render, side_by_side, windows};
use oracle::judge::{Observation, SpaceSeen};
use oracle::program::Program;

/// Ops before the diverging one that are drawn; what is minimized has fewer.
const DRAWN: usize = 12;

/// Repetitions that a report asks for at most.
const MOST_AGAIN: u32 = 20_000;

/// One kernel's part of a report.
#[derive(Debug, Clone)]
pub struct KernelPart {
    /// How the user names it, and its architecture.
    pub label: String,
    pub arch: String,
    /// `None`: it did not boot.
    pub info: Option<KernelInfo>,
    pub standing: Standing,
    /// Programs of the campaign that ended in the bucket, and all that it ran; `None` where the campaign does not say.
    pub campaign: Option<(u64, u64)>,
    /// What was seen in the first run of the program.
    pub execution: Option<Execution>,
}

/// Everything that the report of a bucket says.
#[derive(Debug, Clone)]
pub struct BucketReport<'a> {
    /// The bucket's short name.
    pub id: String,
    /// Whether nothing can be left out of the program any more, and how it came about.
    pub minimized: String,
    pub program: &'a Program,
    pub story: &'a Story,
    /// The kernel that `program` and `story` are from.
    pub shown_on: &'a KernelInfo,
    /// Where its image is from, what it was told when it booted, and what it was built with.
    pub image: Option<String>,
    pub command_line: Option<String>,
    pub build_config: Option<String>,
    /// How a command names it; see [`KernelSource::options`](crate::kernel::KernelSource::options).
    pub on: Vec<String>,
    /// All kernels that were asked, that one among them.
    pub kernels: Vec<KernelPart>,
    /// Options that the verdict depends on.
    pub options: Vec<String>,
    /// File names beside the report: the program, and the C program where there is one.
    pub prog_file: String,
    pub c_file: Result<String, String>,
    /// Where threads run at once.
    pub race: Option<RacePart>,
}

/// What the report of threads that run at once says besides.
#[derive(Debug, Clone)]
pub struct RacePart {
    /// How it was found, confirmed and minimized, with figures: a paragraph for each line.
    pub how_sure: Vec<String>,
    /// An order of the kernel's steps as a picture, and what is wrong with it.
    pub picture: String,
}

impl BucketReport<'_> {
    /// The report.
    pub fn text(&self) -> String {
        let title = format!(
            "{}: {} ({})",
            self.story.bucket.op, self.story.class, self.id
        );
        let mut text = format!("{title}\n{}\n\n", "=".repeat(title.len()));
        text += &format!("{}\n\n", self.story.text);
        text += &format!("Bucket: {}\n", self.story.bucket);
        text += &self.kernel_lists();
        if let Some(race) = &self.race {
            text += "\nHow sure that is:\n";
            for line in &race.how_sure {
                text += &format!("  {line}\n");
            }
        }
        text += &self.config();
        text += &format!("\nProgram ({}):\n", self.minimized);
        text += &program_with_mark(self.program, self.story.step);
        text += &self.steps();
        text += &self.op();
        if let Some(race) = &self.race {
            text += &format!("\nThe threads, step by step:\n{}", race.picture);
        }
        text += &rule_text(&self.story.bucket.rule);
        text += &self.odd_one();
        wrap(&text) + &self.again()
    }

    /// Kernels affected, not affected, and not told.
    fn kernel_lists(&self) -> String {
        let mut text = String::new();
        let of = |wanted: fn(&Standing) -> bool| {
            let parts = self.kernels.iter();
            parts.filter(move |part| wanted(&part.standing))
        };
        text += "\nAffected:\n";
        for part in of(|s| matches!(s, Standing::Affected(_))) {
            let Standing::Affected(reliability) = part.standing else {
                continue;
            };
            let often = match self.race {
                Some(_) => rate(reliability),
                None => format!("{reliability} runs"),
            };
            text += &format!("  {}: {often}{}\n", name(part), seen(part));
        }
        text += "Not affected:\n";
        let mut any = false;
        for part in of(|s| matches!(s, Standing::NotAffected(_))) {
            let Standing::NotAffected(runs) = part.standing else {
                continue;
            };
            let often = match self.race {
                Some(_) => format!("0 of {runs} repetitions{}", self.were_it_there(runs)),
                None => format!("0/{runs} runs"),
            };
            text += &format!("  {}: {often}{}\n", name(part), seen(part));
            any = true;
        }
        if !any {
            text += "  none of those that were asked\n";
        }
        let mut head = "Not told:\n";
        for part in of(|s| matches!(s, Standing::NotTold(_))) {
            let Standing::NotTold(why) = &part.standing else {
                continue;
            };
            text += &format!("{head}  {}: {why}{}\n", name(part), seen(part));
            head = "";
        }
        text
    }

    /// What none in so many repetitions says.
    fn were_it_there(&self, runs: u32) -> String {
        let shown = |part: &&KernelPart| is_same(part.info.as_ref(), self.shown_on);
        match self.kernels.iter().find(shown).map(|part| &part.standing) {
            Some(Standing::Affected(there)) => format!(
                " (as frequent as on {} it would have been met with a chance of {:.1} %)",
                self.shown_on.label,
                (1.0 - there.missed_in(runs)) * 100.0
            ),
            _ => String::new(),
        }
    }

    /// What the kernel is on which all of this was seen.
    fn config(&self) -> String {
        let info = self.shown_on;
        let mut text = format!("\nSeen below on {} {}:\n", info.arch, info.release);
        text += &format!("  build   {}\n", info.build);
        if let Some(image) = &self.image {
            text += &format!("  image   {image}\n");
        }
        text += &format!(
            "  machine QEMU with {}, {} KiB pages, {}\n",
            info.accel,
            info.geometry.page_size / 1024,
            match info.thp {
                true => "transparent huge pages built in",
                false => "no transparent huge pages",
            }
        );
        if let Some(line) = &self.command_line {
            text += &format!("  told    {line}\n");
        }
        if let Some(config) = &self.build_config {
            let (set, unset) = vm_images::config::bearing(config);
            text += &format!("  config  {}\n", set.join(" "));
            if !unset.is_empty() {
                text += &format!("          not set: {}\n", unset.join(" "));
            }
        }
        text
    }

    /// What the ops before the diverging one did.
    fn steps(&self) -> String {
        let g = self.shown_on.geometry;
        let part = self
            .kernels
            .iter()
            .find(|part| is_same(part.info.as_ref(), self.shown_on));
        let Some(execution) = part.and_then(|part| part.execution.as_ref()) else {
            return String::new();
        };
        let steps = self.program.steps.iter().zip(&execution.seen);
        let from = self.story.step.saturating_sub(DRAWN);
        let mut text = "\nStep by step:\n".to_string();
        if from > 0 {
            text += &format!("  ({from} ops before)\n");
        }
        for (index, (step, seen)) in steps.enumerate().take(self.story.step).skip(from) {
            text += &format!("  {index}  {step}\n     => {}\n", result_words(seen, g));
            for (actor, space) in &seen.spaces {
                text += &strips(&format!("     actor {actor} "), space, g);
            }
        }
        text
    }

    /// The op: before it, expected and observed after it, with carets below what differs.
    fn op(&self) -> String {
        let (story, g) = (self.story, self.shown_on.geometry);
        let piece = piece_of(self.program, story.step);
        let mut text = match piece.as_ref().map(|piece| piece.steps) {
            Some([step]) => format!("\nOp {}, where it goes wrong: {step}\n", story.step),
            Some(section) => {
                let steps: String = section.iter().map(|step| format!("  {step}\n")).collect();
                let (first, last) = (story.step, story.step + section.len() - 1);
                format!("\nOps {first} to {last}, threads that run at once, where it goes wrong:\n{steps}")
            }
            None => String::new(),
        };
        if let (Some(actor), Some((from, to))) = (story.actor, story.pages) {
            text += &format!(
                "  in actor {actor}, pages {}..{}\n",
                place(from, g),
                place(to, g)
            );
        }
        text += &outcomes(story, g);
        let drawn: String = actors(story)
            .into_iter()
            .map(|actor| actor_strips(story, actor, g))
            .collect();
        text += &drawn;
        if story.pages.is_some() && !drawn.contains('^') {
            text += "  (strips have no sign for what differs)\n";
        }
        if !story.console.trim().is_empty() {
            text += "\nConsole:\n";
            for line in story.console.lines() {
                text += &format!("  {line}\n");
            }
        }
        text
    }

    /// The oracle and two kernels beside each other: who stands alone.
    fn odd_one(&self) -> String {
        let release = |part: &KernelPart| format!("{} {}", part.arch, part.label);
        let affected: Vec<String> = self.of(true).map(release).collect();
        let others: Vec<&KernelPart> = self.of(false).collect();
        let here = format!("{} {}", self.shown_on.arch, self.shown_on.label);
        let mut text = "\nWho stands alone:\n".to_string();
        // The nearest kernel of the same architecture that is not affected.
        let near = others
            .iter()
            .copied()
            .filter(|part| part.execution.is_some())
            .min_by_key(|part| (part.arch != self.shown_on.arch, self.distance(part)));
        let Some(other) = near else {
            let word = match affected.len() {
                1 => "It was seen on one kernel, and no other could be told",
                _ => "Every kernel that could be told shows it",
            };
            text += &format!(
                "  {word}: the oracle stands against {}. Either the rule is wrong or incomplete, or all of them have it.\n",
                affected.join(", ")
            );
            return text;
        };
        text += &format!(
            "  The oracle and {} agree; {} does otherwise.\n",
            release(other),
            here
        );
        let all: Vec<String> = others.into_iter().map(release).collect();
        text += &format!(
            "  Like the oracle: {}.\n  Otherwise: {}.\n",
            all.join(", "),
            affected.join(", ")
        );
        text + &self.beside(other)
    }

    /// The op on this kernel and on the other one.
    fn beside(&self, other: &KernelPart) -> String {
        let (story, g) = (self.story, self.shown_on.geometry);
        let there = other.execution.as_ref();
        let Some(there) = there.and_then(|e| e.seen.get(story.step)) else {
            return String::new();
        };
        let (a, b) = (&self.shown_on.label, &other.label);
        let width = a.len().max(b.len()).max("oracle".len());
        let said = |o: &Observation| result_words(o, g);
        let mut text = "  The op returned:\n".to_string();
        text += &format!("    {:width$}  {}\n", "oracle", said(&story.expected));
        if let Some(observed) = &story.observed {
            text += &format!("    {a:width$}  {}\n", said(observed));
        }
        text += &format!("    {b:width$}  {}\n", said(there));
        let (Some(actor), Some(observed)) = (story.actor, &story.observed) else {
            return text;
        };
        match (space(observed, actor), space(there, actor)) {
            (Some(left), Some(right)) => {
                text += &format!("  Actor {actor} after it, on both:\n");
                text += &side_by_side((a, left), (b, right), g);
            }
            (here, there) => {
                let lives = |space: Option<_>| match space {
                    Some(_) => "lives",
                    None => "does not live",
                };
                text += &format!(
                    "  Actor {actor} {} on {a} and {} on {b}\n",
                    lives(here),
                    lives(there)
                );
            }
        }
        text
    }

    /// Kernels that are affected, or those that are not.
    fn of(&self, affected: bool) -> impl Iterator<Item = &KernelPart> {
        self.kernels.iter().filter(move |part| match part.standing {
            Standing::Affected(_) => affected,
            Standing::NotAffected(_) => !affected,
            Standing::NotTold(_) => false,
        })
    }

    /// How many of the kernels asked stand between another one and the one shown.
    fn distance(&self, other: &KernelPart) -> usize {
        let at = |wanted: &dyn Fn(&KernelPart) -> bool| self.kernels.iter().position(wanted);
        let here = at(&|part| is_same(part.info.as_ref(), self.shown_on));
        let there = at(&|part| part.label == other.label && part.arch == other.arch);
        match (here, there) {
            (Some(a), Some(b)) => a.abs_diff(b),
            _ => usize::MAX,
        }
    }

    fn again(&self) -> String {
        let on = options(&self.on);
        if self.race.is_some() {
            return self.again_in_threads(&on);
        }
        let run = ["cargo xtask run", &self.prog_file]
            .map(String::from)
            .to_vec();
        let bisect = ["cargo xtask bisect", &self.prog_file].map(String::from);
        let bucket = format!("--bucket '{}'", self.story.bucket);
        // An image of the user's own is one more among the kernels of the matrix.
        let is_own = on.iter().any(|option| option.starts_with("--kernel "));
        // What is wrong on purpose came with no kernel.
        let planted = ["--simulated ", "--guest-fault "];
        let is_planted = on
            .iter()
            .any(|option| planted.iter().any(|name| option.starts_with(name)));
        let mut walked: Vec<String> = on
            .iter()
            .filter(|option| is_own || !is_of_the_lock(option))
            .cloned()
            .collect();
        if is_own {
            walked.extend([
                "--kernels all".to_string(),
                format!("--arch {}", self.shown_on.arch),
            ]);
        }
        let mut text = "\nTo see it again, in the folder of this report:\n".to_string();
        match &self.c_file {
            Ok(file) => {
                text += &wrap(&format!(
                    "  boot a kernel image with {file} (0 it behaves, 1 it does not, 4 the feature is absent)"
                ));
                text += "    ./reproduce.sh KERNEL-IMAGE\n";
            }
            Err(why) => text += &wrap(&format!("  {why}")),
        }
        text += "  step by step, the oracle and the kernel side by side\n";
        text += &command(&[&run[..], &on, &self.options].concat());
        if !is_planted {
            text += "  since which kernel\n";
            text += &command(&[&bisect[..], &walked, &self.options, &[bucket]].concat());
        }
        text
    }

    fn again_in_threads(&self, on: &[String]) -> String {
        let races = ["cargo xtask races", &self.prog_file].map(String::from);
        let shown = |part: &&KernelPart| is_same(part.info.as_ref(), self.shown_on);
        let repetitions = match self.kernels.iter().find(shown).map(|part| &part.standing) {
            Some(Standing::Affected(there)) => there.runs_to_see(MOST_AGAIN),
            _ => MOST_AGAIN,
        };
        let often = [format!("--repetitions {repetitions}")];
        let show = ["cargo xtask show", &self.prog_file].map(String::from);
        let mut text = "\nTo see it again, in the folder of this report:\n".to_string();
        text += "  on the kernel, often enough to meet it with a chance of 95 %\n";
        text += &command(&[&races[..], on, &often, &self.options].concat());
        text += "  every way that the threads may end, by the rules\n";
        text + &command(&show)
    }
}

/// Whether an option names a kernel of the lock, or says how that is to be had.
fn is_of_the_lock(option: &str) -> bool {
    option.starts_with("--kernels ") || option.starts_with("--arch ")
}

/// How often, and how often in truth.
fn rate(there: Reliability) -> String {
    let (low, high) = there.interval();
    format!(
        "{} of {} repetitions, {} % (with 95 % confidence {} to {} %)",
        there.hits,
        there.runs,
        percent(f64::from(there.hits) / f64::from(there.runs.max(1))),
        percent(low),
        percent(high)
    )
}

/// A share in hundredths, two digits of it that tell something.
fn percent(share: f64) -> String {
    match share * 100.0 {
        large if large >= 10.0 => format!("{large:.0}"),
        some if some >= 1.0 => format!("{some:.1}"),
        small => format!("{small:.2}"),
    }
}

fn name(part: &KernelPart) -> String {
    match &part.info {
        Some(info) => format!(
            "{} {} ({} KiB, {})",
            info.arch,
            info.release,
            info.geometry.page_size / 1024,
            info.accel
        ),
        None => format!("{} {}", part.arch, part.label),
    }
}

/// What the campaign saw of it.
fn seen(part: &KernelPart) -> String {
    match part.campaign {
        Some((hits, programs)) => format!("; {hits} of {programs} programs of the run"),
        None => String::new(),
    }
}

fn is_same(a: Option<&KernelInfo>, b: &KernelInfo) -> bool {
    a.is_some_and(|a| (&a.label, &a.arch) == (&b.label, &b.arch))
}

fn space(seen: &Observation, actor: oracle::program::ActorId) -> Option<&SpaceSeen> {
    let found = seen.spaces.iter().find(|(a, _)| *a == actor);
    found.map(|(_, space)| space)
}

/// A space as strips, the first with `head` before it.
fn strips(head: &str, space: &SpaceSeen, g: Geometry) -> String {
    let mut text = String::new();
    let mut before = head.to_string();
    for (from, to) in windows(&[space], g) {
        text += &format!(
            "{before}{} {}\n",
            place(from, g),
            render(space, g, from, to)
        );
        before = " ".repeat(head.len());
    }
    if text.is_empty() {
        return format!("{head}nothing is mapped\n");
    }
    let holds = contents(space, g);
    if !holds.is_empty() {
        text += &format!("{}holds: {holds}\n", " ".repeat(head.len()));
    }
    text
}

#[cfg(test)]
mod tests;
