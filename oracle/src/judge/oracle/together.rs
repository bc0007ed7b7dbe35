//! Sections: what several threads did at once is allowed when one of all orders of the kernel's steps explains it.

use super::{expected, smaps_of, Oracle};
use crate::judge::compare::{first_difference, outcome_difference, Difference};
use crate::judge::{Divergence, Observation, Outcome, Verdict};
use crate::program::Step;
use crate::race::explore;
use crate::rules::{limits, RuleId};
use crate::space::{Branch, World};

impl Oracle {
    /// Every world takes every way that the section may end. Where there are more states than are kept, the next observation is
    /// poisoned ([`limits::SECTION_TOO_LARGE`]).
    pub fn together(&mut self, section: &[Step]) {
        self.branches.clear();
        self.too_large = false;
        for world in &self.worlds {
            match explore(world, section) {
                Ok(all) => {
                    let ways = all.finals.into_iter().map(|way| Branch {
                        world: way.world,
                        outcome: Outcome::Together(way.outcomes),
                        rules: way.rules,
                    });
                    self.branches.extend(ways);
                }
                Err(_) => self.too_large = true,
            }
        }
        self.step = section.first().cloned();
        self.section = section.to_vec();
    }

    /// Which of [`Oracle::expected`], as it was before the last observation of a section, explain it.
    pub fn ways(&self) -> &[usize] {
        &self.ways
    }

    /// Judges what was seen after a section.
    pub(super) fn observe_together(&mut self, seen: &Observation) -> Verdict {
        let section = std::mem::take(&mut self.section);
        let limit = if !limits::modelled(self.worlds[0].knobs()) {
            Some(&limits::KNOBS)
        } else if self.too_large {
            Some(&limits::SECTION_TOO_LARGE)
        } else {
            self.not_modelled()
        };
        if let Some(rule) = limit {
            return Verdict::Poisoned {
                rule: RuleId(rule.name),
            };
        }
        let smaps = smaps_of(seen);
        let alike: Vec<usize> = (0..self.branches.len())
            .filter(|&i| self.branches[i].outcome == seen.outcome)
            .collect();
        let mut kept: Vec<usize> = Vec::new();
        let mut nearest: Option<(usize, Difference)> = None;
        for i in alike {
            match first_difference(&expected(&self.branches[i], smaps, seen), seen, &section[0]) {
                None => kept.push(i),
                Some(difference) => {
                    if nearest
                        .as_ref()
                        .is_none_or(|(_, n)| n.rank < difference.rank)
                    {
                        nearest = Some((i, difference));
                    }
                }
            }
        }
        self.ways.clone_from(&kept);
        let verdict = match (kept.is_empty(), nearest) {
            (false, _) => self.explained(kept.iter().copied()),
            (true, Some((i, difference))) => {
                let divergence = self.divergence(&section[0], i, &difference);
                Verdict::Divergence(Box::new(self.told_of_threads(divergence)))
            }
            (true, None) => Verdict::Divergence(Box::new(self.no_such_outcomes(&section, seen))),
        };
        let branches = std::mem::take(&mut self.branches);
        let all = kept.is_empty();
        let mut worlds: Vec<World> = Vec::new();
        for (i, branch) in branches.into_iter().enumerate() {
            if (all || kept.contains(&i)) && !worlds.contains(&branch.world) {
                worlds.push(branch.world);
            }
        }
        self.worlds = worlds;
        verdict
    }

    /// No way has these outcomes: the one that has most of them, and where it parts.
    fn no_such_outcomes(&self, section: &[Step], seen: &Observation) -> Divergence {
        let parts = |outcome: &Outcome| match outcome {
            Outcome::Together(parts) => parts.clone(),
            other => vec![other.clone()],
        };
        let observed = parts(&seen.outcome);
        let like = |branch: &Branch| {
            let pairs = parts(&branch.outcome);
            pairs.iter().zip(&observed).filter(|(e, o)| e == o).count()
        };
        // The first of those that are most like it: `max_by_key` takes the last.
        let best = (0..self.branches.len())
            .rev()
            .max_by_key(|&i| like(&self.branches[i]))
            .unwrap_or(0);
        let expected = self.branches.get(best).map(|b| parts(&b.outcome));
        let expected = expected.unwrap_or_default();
        let difference = expected
            .iter()
            .zip(&observed)
            .enumerate()
            .find_map(|(i, (e, o))| outcome_difference(e, o).map(|d| (i, d)));
        let (at, difference) = difference.unwrap_or_else(|| (0, Difference::none()));
        let step = section.get(at).unwrap_or(&section[0]);
        let divergence = self.divergence(step, best, &difference);
        self.told_of_threads(divergence)
    }

    /// Says that no order explains it.
    fn told_of_threads(&self, mut divergence: Divergence) -> Divergence {
        let allowed = match self.branches.len() {
            1 => "1 way is allowed".to_owned(),
            n => format!("{n} ways are allowed"),
        };
        divergence.details.text = format!(
            "No order of the kernel's steps explains what the threads saw ({allowed}; the nearest differs so: {}).",
            divergence.details.text.trim_end_matches('.')
        );
        divergence
    }
}
