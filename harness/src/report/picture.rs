//! One divergence, step by step, as page strips that can be drawn: `divergences/ID.json`, which the HTML report reads back.

use super::divergence::{place, rule_text};
use super::words::result_words;
use crate::campaign::{Bucket, Finding, Reported, Status};
use oracle::geometry::Geometry;
use oracle::judge::strip::{strip, windows, Count, Item};
use oracle::judge::{Observation, SpaceSeen};
use oracle::program::ActorId;
use serde::{Deserialize, Serialize};

/// Pages up to which a run of like pages is drawn one by one.
const DRAWN: u32 = 12;

/// Everything that is drawn of a divergence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    pub id: String,
    pub bucket: Bucket,
    /// File name or `seed/block/index`.
    pub program: String,
    /// Release and architecture that it was drawn on.
    pub kernel: String,
    /// One or two sentences.
    pub text: String,
    /// The rule's name, text, kernels and source.
    pub rule: String,
    /// Index of the op that diverged, in `steps`.
    pub at: usize,
    /// The steps up to that op.
    pub steps: Vec<Step>,
    /// Console excerpt or kernel stack.
    pub console: String,
}

/// A known finding as a run met it: `known/ID.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPicture {
    pub id: String,
    pub status: Status,
    pub link: Option<String>,
    pub same_as: Option<String>,
    pub reasoning: String,
    pub source: String,
    pub picture: Picture,
}

impl KnownPicture {
    /// Draws what was met of a finding.
    pub fn of(finding: &Finding, met: &Reported) -> KnownPicture {
        KnownPicture {
            id: finding.id.clone(),
            status: finding.status,
            link: finding.link.clone(),
            same_as: finding.same_as.clone(),
            reasoning: finding.reasoning.trim().to_string(),
            source: finding.source.clone(),
            picture: Picture::of(met),
        }
    }
}

/// One op.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The op as it is written.
    pub op: String,
    /// What the rules expect, of the op that diverged only: before it, what was seen was expected.
    pub expected: Option<View>,
    /// What was seen; `None`: nothing came back.
    pub seen: Option<View>,
}

/// What is to be seen after an op.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub outcome: String,
    /// The parts of each living actor's arena where something is mapped.
    pub actors: Vec<(ActorId, Vec<Window>)>,
}

/// Neighbouring pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Position of the first.
    pub place: String,
    pub cells: Vec<Cell>,
}

/// A page, a run of like pages, a VMA's border or its protection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The letter of a strip, `|` for a border, a blank for a protection.
    pub sign: char,
    pub label: String,
    /// Among the pages that differ.
    pub marked: bool,
}

impl Picture {
    /// Draws what is reported.
    pub fn of(r: &Reported) -> Picture {
        let g = r.kernel.geometry;
        let story = &r.story;
        let op = |index: usize| {
            let step = &r.program.steps[index];
            match step.actor {
                0 => step.op.to_string(),
                actor => format!("{actor}: {}", step.op),
            }
        };
        let plain = |seen: &Observation| view(seen, g, &|_, _| false);
        let mut steps: Vec<Step> = story
            .path
            .iter()
            .enumerate()
            .map(|(index, seen)| Step {
                op: op(index),
                expected: None,
                seen: Some(plain(seen)),
            })
            .collect();
        // A dead guest reports nothing of what came before.
        for index in steps.len()..story.step {
            steps.push(Step {
                op: op(index),
                expected: None,
                seen: None,
            });
        }
        let differs = |actor: ActorId, page: u32| {
            let (first, end) = story.pages.unwrap_or((0, 0));
            story.actor == Some(actor) && (first..end).contains(&page)
        };
        steps.push(Step {
            op: op(story.step),
            expected: Some(view(&story.expected, g, &differs)),
            seen: story.observed.as_ref().map(|seen| view(seen, g, &differs)),
        });
        Picture {
            id: r.id.clone(),
            bucket: story.bucket.clone(),
            program: r.program_name.clone(),
            kernel: format!("{} {}", r.kernel.release, r.kernel.arch),
            text: story.text.clone(),
            rule: rule_text(&story.bucket.rule).trim().to_string(),
            at: story.step,
            steps,
            console: story.console.clone(),
        }
    }
}

fn view(seen: &Observation, g: Geometry, marked: &dyn Fn(ActorId, u32) -> bool) -> View {
    let actor = |(actor, space): &(ActorId, SpaceSeen)| {
        let windows = windows(&[space], g).into_iter();
        let drawn = windows.map(|(from, to)| Window {
            place: place(from, g),
            cells: cells(space, (from, to), g, &|page| marked(*actor, page)),
        });
        (*actor, drawn.collect())
    };
    View {
        outcome: result_words(seen, g),
        actors: seen.spaces.iter().map(actor).collect(),
    }
}

fn cells(
    space: &SpaceSeen,
    (from, to): (u32, u32),
    g: Geometry,
    marked: &dyn Fn(u32) -> bool,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut page = from;
    let mut push = |sign: char, label: String, marked: bool| {
        cells.push(Cell {
            sign,
            label,
            marked,
        });
    };
    for item in strip(space, from, to).items() {
        match *item {
            Item::Border => push('|', "|".into(), false),
            Item::GoesOn => push('|', "…".into(), false),
            Item::Perms(perms) => push(' ', perms.to_string(), false),
            Item::Run(letter, count) => {
                let sign = letter.sign();
                let n = count.pages(g);
                let any = (page..page + n).any(marked);
                if n <= DRAWN {
                    for at in page..page + n {
                        push(sign, sign.to_string(), marked(at));
                    }
                } else {
                    let many = match count {
                        Count::Pages(n) => n.to_string(),
                        Count::PmdMinus(0) => "pmd".into(),
                        Count::PmdMinus(k) => format!("pmd-{k}"),
                    };
                    push(sign, format!("{sign}×{many}"), any);
                }
                page += n;
            }
        }
    }
    cells
}
