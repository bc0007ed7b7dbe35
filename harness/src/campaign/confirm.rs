//! Re-runs of what looks wrong.

use super::judge::ProgramVerdict;
use super::lane::{Origin, Work};
use super::run::Context;
use super::story::Story;
use crate::kernel::Smaps;
use std::collections::VecDeque;

/// A suspect and the program that showed it.
#[derive(Debug, Clone)]
pub struct Subject {
    pub work: Work,
    pub story: Story,
}

/// A suspect on its way to a report: re-run, each time in a fresh process, with smaps read after every op.
#[derive(Debug, Clone)]
pub struct Confirm {
    pub subject: Subject,
    /// Re-runs that are wanted.
    wanted: u32,
    /// Re-runs that are through.
    pub runs: u32,
    /// Those that ended in the same bucket.
    pub hits: u32,
    /// A suspect of another bucket that a re-run ended in: smaps after every op can show the cause earlier.
    other: Option<(Story, u32)>,
}

impl Confirm {
    pub fn new(subject: Subject, wanted: u32) -> Confirm {
        Confirm {
            subject,
            wanted,
            runs: 0,
            hits: 0,
            other: None,
        }
    }

    /// The programs to run.
    pub fn works(&self, number: u64, ctx: &Context<'_>) -> VecDeque<Work> {
        (0..self.wanted)
            .map(|_| {
                let mut work = self.subject.work.clone();
                work.prepared.id = ctx.next_id();
                work.prepared.smaps = Smaps::Every;
                work.origin = Origin::Rerun(number);
                work.losses = 0;
                work
            })
            .collect()
    }

    /// Books the verdict of a re-run.
    pub fn add(&mut self, verdict: ProgramVerdict) {
        self.runs += 1;
        if let ProgramVerdict::Suspect(story) = verdict {
            if story.bucket == self.subject.story.bucket {
                self.hits += 1;
            } else {
                match &mut self.other {
                    Some((other, hits)) if other.bucket == story.bucket => *hits += 1,
                    Some(_) => {}
                    None => self.other = Some((*story, 1)),
                }
            }
        }
    }

    /// Whether all re-runs are through.
    pub fn is_done(&self) -> bool {
        self.runs >= self.wanted
    }

    /// The story to tell, with hits and runs: the first one, unless no re-run showed it again but another one.
    pub fn story(&self) -> (&Story, u32) {
        match &self.other {
            Some((other, hits)) if self.hits == 0 => (other, *hits),
            _ => (&self.subject.story, self.hits),
        }
    }
}
