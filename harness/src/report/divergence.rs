//! One divergence: its row in divergences.csv, and its report for mail and people, at most 80 columns wide.

use super::words::{command, options, result_words, wrap};
use crate::campaign::{Booted, Kind, Reported, Story, Suspect};
use oracle::geometry::Geometry;
use oracle::judge::strip::{contents, render, side_by_side, windows};
use oracle::judge::SpaceSeen;
use oracle::program::{ActorId, Program};
use oracle::rules::RULES;

/// Columns of divergences.csv.
pub const DIVERGENCE_COLUMNS: [&str; 11] = [
    "id",
    "bucket",
    "kernel",
    "arch",
    "program",
    "op_index",
    "op",
    "rule",
    "expected",
    "observed",
    "reliability",
];

/// A row of divergences.csv. The program is named by its file in the output folder.
pub fn divergence_row(suspect: &Suspect, arch: &str) -> [String; 11] {
    let bucket = &suspect.bucket;
    [
        suspect.id.clone(),
        bucket.to_string(),
        suspect.release.clone(),
        arch.to_string(),
        format!("divergences/{}.prog", suspect.id),
        suspect.step.to_string(),
        bucket.op.clone(),
        bucket.rule.clone(),
        bucket.expected.clone(),
        bucket.observed.clone(),
        format!("{}/{}", suspect.hits, suspect.runs),
    ]
}

/// A kernel on which a divergence was seen.
#[derive(Debug, Clone)]
pub struct Sighting {
    pub label: String,
    pub release: String,
    pub arch: String,
    pub accel: String,
    pub page_size: u32,
    pub hits: u32,
    pub runs: u32,
}

impl Sighting {
    /// Where and how often an earlier run saw a suspect. `booted`: what that run had found out of the kernel.
    pub fn before(label: &str, arch: &str, booted: Option<&Booted>, suspect: &Suspect) -> Sighting {
        Sighting {
            label: label.to_string(),
            release: suspect.release.clone(),
            arch: arch.to_string(),
            accel: booted.map_or_else(String::new, |b| b.accel.clone()),
            page_size: booted.map_or(0, |b| b.page_size),
            hits: suspect.hits,
            runs: suspect.runs,
        }
    }

    /// Where and how often `r` was seen.
    pub fn of(r: &Reported) -> Sighting {
        Sighting {
            label: r.kernel.label.clone(),
            release: r.kernel.release.clone(),
            arch: r.kernel.arch.clone(),
            accel: r.kernel.accel.clone(),
            page_size: r.kernel.geometry.page_size,
            hits: r.hits,
            runs: r.runs,
        }
    }
}

/// The report. `sightings` are all kernels on which this divergence was seen, the one of `r` among them.
pub fn report_text(r: &Reported, sightings: &[Sighting]) -> String {
    let story = &r.story;
    let g = r.kernel.geometry;
    let mut text = String::new();
    let title = match story.kind {
        Kind::Divergence => format!("Divergence {}: {}", r.id, story.class),
        Kind::Hang => format!("Hang {}", r.id),
        Kind::Crash => format!("Crash {}", r.id),
    };
    text += &format!("{title}\n{}\n\n", "=".repeat(title.len()));
    text += &format!("Bucket: {}\n\n", story.bucket);
    text += &format!("{}\n\n", story.text);
    text += "Kernels:\n";
    for s in sightings {
        text += &format!(
            "  {} {} ({} KiB pages, {}): {} of {} re-runs\n",
            s.arch,
            s.release,
            s.page_size / 1024,
            s.accel,
            s.hits,
            s.runs
        );
    }
    text += "\nTo see it again:\n";
    let again = [
        vec![format!("cargo xtask run {}.prog", r.id)],
        options(&r.options),
        r.by.options(),
    ];
    let text = wrap(&text) + &command(&again.concat());
    let mut rest = format!("\nProgram ({}):\n", r.program_name);
    rest += &program_with_mark(&r.program, story.step);
    rest += &rule_text(&story.bucket.rule);
    rest += &outcomes(story, g);
    let mut strips = String::new();
    for actor in actors(story) {
        strips += &actor_strips(story, actor, g);
    }
    if !story.console.trim().is_empty() {
        strips += "\nConsole:\n";
        for line in story.console.lines() {
            strips += &format!("  {line}\n");
        }
    }
    text + &wrap(&(rest + &strips))
}

/// The program's text with an arrow at the op in question.
pub(super) fn program_with_mark(program: &Program, step: usize) -> String {
    let whole = program.to_string();
    // Blank lines and comments apart, the lines are the header's, then one of each step; further views that a step expects are indented.
    let has_words = |line: &&str| !line.is_empty() && !line.starts_with(['#', ' ']);
    let header = whole.lines().filter(has_words).count() - program.steps.len();
    let mut text = String::new();
    let mut before = 0;
    for line in whole.lines() {
        let counts = has_words(&line);
        let here = counts && before == header + step;
        before += usize::from(counts);
        let mark = if here { "=>" } else { "  " };
        text += format!("{mark} {line}").trim_end();
        text.push('\n');
    }
    text
}

pub(super) fn rule_text(name: &str) -> String {
    let mut text = format!("\nRule {name}:\n");
    match RULES.iter().find(|rule| rule.name == name) {
        Some(rule) => {
            text += &format!("  {}\n", rule.text);
            text += &format!("  Kernels: {}\n", rule.since);
            text += &format!("  Source: {}\n", rule.source);
        }
        None => text += &format!("  {}\n", harness_rule(name)),
    }
    text
}

/// What the harness itself holds, beside the oracle's rules.
fn harness_rule(name: &str) -> &'static str {
    match name {
        "op/returns" => "Every op returns within its limit.",
        "actor/lives" => "An actor ends by its own exit op only.",
        "kernel/survives" => "No program makes the kernel report a fault of its own.",
        "kernels/alike" => "Two kernels do the same, or what one way through the program explains.",
        "views/agree" => "Two views of one page (pagemap, PAGEMAP_SCAN, VMAs) say the same.",
        "corpus/expectation" => {
            "What the author of a corpus program wrote down holds wherever the program runs."
        }
        _ => "Not in the oracle's table of rules.",
    }
}

pub(super) fn outcomes(story: &Story, g: Geometry) -> String {
    let expected = result_words(&story.expected, g);
    let observed = story
        .observed
        .as_ref()
        .map_or("nothing".to_string(), |o| result_words(o, g));
    let mut text = format!("\nThe op returned:\n  expected  {expected}\n  observed  {observed}\n");
    if story.others > 0 {
        text += &format!(
            "  ({} other ways were permitted, none explains what was seen)\n",
            story.others
        );
    }
    text
}

/// The actors to draw: the one that differs first, else all that anybody saw.
pub(super) fn actors(story: &Story) -> Vec<ActorId> {
    if let Some(actor) = story.actor {
        return vec![actor];
    }
    let expected = story.expected.spaces.iter().map(|(actor, _)| *actor);
    let mut actors: Vec<ActorId> = expected.collect();
    actors.extend(
        story
            .observed
            .iter()
            .flat_map(|o| o.spaces.iter().map(|(a, _)| *a)),
    );
    actors.sort_unstable();
    actors.dedup();
    actors
}

pub(super) fn actor_strips(story: &Story, actor: ActorId, g: Geometry) -> String {
    let find = |spaces: &[(ActorId, SpaceSeen)]| {
        spaces
            .iter()
            .find(|(a, _)| *a == actor)
            .map(|(_, space)| space.clone())
    };
    let mut text = format!("\nActor {actor} before the op:\n");
    match find(&story.before) {
        Some(before) => {
            for (from, to) in windows(&[&before], g) {
                text += &format!("  {} {}\n", place(from, g), render(&before, g, from, to));
            }
            let holds = contents(&before, g);
            if !holds.is_empty() {
                text += &format!("  holds: {holds}\n");
            }
        }
        None => text += "  does not live\n",
    }
    text += &format!("\nActor {actor} after the op:\n");
    let expected = find(&story.expected.spaces);
    let Some(observed) = &story.observed else {
        if let Some(expected) = expected {
            for (from, to) in windows(&[&expected], g) {
                text += &format!(
                    "  expected {} {}\n",
                    place(from, g),
                    render(&expected, g, from, to)
                );
            }
        }
        return text + "  nothing was seen\n";
    };
    match (expected, find(&observed.spaces)) {
        (Some(expected), Some(seen)) => {
            text += &side_by_side(("expect", &expected), ("seen", &seen), g);
            text += &flag_difference(&expected, &seen);
        }
        (Some(_), None) => text += "  expected to live, was not seen\n",
        (None, Some(_)) => text += "  expected to have ended, was seen\n",
        (None, None) => text += "  does not live\n",
    }
    text
}

/// VmFlags that differ, VMA by VMA.
fn flag_difference(expected: &SpaceSeen, seen: &SpaceSeen) -> String {
    let mut text = String::new();
    for vma in &seen.vmas {
        let same =
            |other: &&oracle::judge::VmaSeen| (other.start, other.end) == (vma.start, vma.end);
        let Some(want) = expected.vmas.iter().find(same) else {
            continue;
        };
        if let (Some(want), Some(have)) = (&want.flags, &vma.flags) {
            let list = |a: &[oracle::judge::VmFlag], b: &[oracle::judge::VmFlag]| {
                let only: Vec<String> = a
                    .iter()
                    .filter(|f| !b.contains(f))
                    .map(|f| String::from_utf8_lossy(&f.0).into_owned())
                    .collect();
                only.join(" ")
            };
            let (missing, extra) = (list(want, have), list(have, want));
            if !missing.is_empty() || !extra.is_empty() {
                text += &format!(
                    "  VmFlags of pages {}..{}: expected only [{missing}], seen only [{extra}]\n",
                    vma.start, vma.end
                );
            }
        }
    }
    text
}

pub(super) fn place(page: u32, g: Geometry) -> String {
    oracle::geometry::Pos::from_page_index(i64::from(page), g)
        .map_or_else(|| format!("page {page}"), |pos| pos.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the line of each step.
    const PROGRAM: (&str, [usize; 9]) = (
        "\
# read 0+0..0+1

needs guards
thp madvise

mmap 0+0..0+4 rw private fixed

# hugepage 0+0..0+4
nohugepage 0+0..0+4
hugepage 0+0..0+4
write 0+0..0+1 tag 12
write 0+0..0+1 tag 1 => ok
    => 0+0 |a...|
fork 1
1: read 0+0..0+1
read 0+0..0+1
read 0+0..0+1

# read 0+0..0+1
",
        [5, 8, 9, 10, 11, 13, 14, 15, 16],
    );

    #[test]
    fn the_arrow_stands_at_the_op_itself() {
        let (text, lines) = PROGRAM;
        let program = Program::load(text).expect("parses");
        assert_eq!(program.to_string(), text);
        for (step, line) in lines.into_iter().enumerate() {
            let marked = program_with_mark(&program, step);
            let arrows = marked.lines().enumerate();
            let arrows = arrows.filter(|(_, text)| text.starts_with("=>"));
            let arrows: Vec<usize> = arrows.map(|(n, _)| n).collect();
            assert_eq!(arrows, [line], "step {step}:\n{marked}");
        }
    }
}
