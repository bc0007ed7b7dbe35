//! How many runs decide about a candidate, and how sure that is.

use std::fmt;

/// How often a program ended in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reliability {
    pub hits: u32,
    pub runs: u32,
}

impl Reliability {
    /// The share of hits to reckon with, by the rule of succession: ten of ten is 11/12, not 1.
    pub fn share(self) -> f64 {
        f64::from(self.hits + 1) / f64::from(self.runs + 2)
    }
}

impl fmt::Display for Reliability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hits, self.runs)
    }
}

/// A candidate first gets `screen` runs; one that hits in none of them is dropped. The others are accepted once they have
/// `hits` hits within `runs` runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trust {
    pub screen: u32,
    pub hits: u32,
    pub runs: u32,
    /// The chance that a candidate as reliable as the original passes the second stage.
    pub keeps: f64,
    /// The chance that one a third as reliable passes it.
    pub lets_slip: f64,
    /// The chance that one as reliable as the original passes the screening.
    pub notices: f64,
}

/// Both kinds of mistake shall be rarer than this.
const MISTAKE: f64 = 0.05;

/// More runs than this are never spent on one candidate.
const MOST_RUNS: u32 = 60;

impl Trust {
    /// The cheapest numbers that keep both kinds of mistake below one in twenty, where [`MOST_RUNS`] can do that, and
    /// otherwise the best there are.
    pub fn from(original: Reliability) -> Trust {
        let share = original.share();
        let worst = |t: &Trust| (1.0 - t.keeps).max(t.lets_slip);
        let mut best: Option<Trust> = None;
        for runs in 1..=MOST_RUNS {
            for hits in 1..=runs {
                let trust = Trust::new(original, runs, hits);
                if worst(&trust) <= MISTAKE {
                    return trust.screened(original, MISTAKE);
                }
                if best.is_none_or(|best| worst(&trust) < worst(&best)) {
                    best = Some(trust);
                }
            }
        }
        let best = best.unwrap_or(Trust::new(original, 1, 1));
        debug_assert!(share > 0.0);
        best.screened(original, MISTAKE)
    }

    /// One run decides: for hits that cost a boot or a time limit each.
    pub fn costly(original: Reliability) -> Trust {
        Trust::new(original, 1, 1).screened_by(original, 1)
    }

    /// The same with more screening, so that what is simpler is overlooked less than once in a hundred times.
    pub fn thorough(self, original: Reliability) -> Trust {
        let trust = self.screened(original, MISTAKE / 5.0);
        let screen = trust.screen.max(2);
        trust.screened_by(original, screen)
    }

    fn new(original: Reliability, runs: u32, hits: u32) -> Trust {
        let share = original.share();
        Trust {
            screen: 1,
            hits,
            runs,
            keeps: at_least(hits, runs, share),
            lets_slip: at_least(hits, runs, share / 3.0),
            notices: share,
        }
    }

    /// A program that hit in every run gets one run only: what that overlooks, the thorough round finds.
    fn screened(self, original: Reliability, mistake: f64) -> Trust {
        if original.hits == original.runs && mistake >= MISTAKE {
            return self.screened_by(original, 1);
        }
        let share = original.share();
        let mut screen = 1;
        while screen < MOST_RUNS && (1.0 - share).powi(screen as i32) > mistake {
            screen += 1;
        }
        self.screened_by(original, screen)
    }

    fn screened_by(self, original: Reliability, screen: u32) -> Trust {
        Trust {
            screen,
            notices: 1.0 - (1.0 - original.share()).powi(screen as i32),
            ..self
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of at most {} runs; passes {:.0} % of what is as reliable as the original, {:.1} % of what is a third as reliable",
            self.hits,
            self.runs,
            self.keeps * 100.0,
            self.lets_slip * 100.0,
        )
    }
}

/// The chance of at least `hits` hits in `runs` runs, each with chance `share`.
fn at_least(hits: u32, runs: u32, share: f64) -> f64 {
    (hits..=runs)
        .map(|k| choose(runs, k) * share.powi(k as i32) * (1.0 - share).powi((runs - k) as i32))
        .sum()
}

fn choose(n: u32, k: u32) -> f64 {
    (0..k).fold(1.0, |product, i| {
        product * f64::from(n - i) / f64::from(i + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_add_up() {
        assert!((at_least(0, 7, 0.3) - 1.0).abs() < 1e-12);
        assert!((at_least(7, 7, 0.5) - 0.5f64.powi(7)).abs() < 1e-12);
        // 1 - (1-p)^n
        assert!((at_least(1, 5, 0.2) - (1.0 - 0.8f64.powi(5))).abs() < 1e-12);
    }

    #[test]
    fn a_program_that_always_hits_needs_few_runs() {
        let trust = Trust::from(Reliability { hits: 10, runs: 10 });
        assert_eq!(trust.screen, 1);
        assert!(trust.runs <= 8, "{trust}");
        assert!(trust.keeps >= 0.95 && trust.lets_slip <= 0.05, "{trust}");
        assert!(trust.thorough(Reliability { hits: 10, runs: 10 }).screen > 1);
    }

    #[test]
    fn a_flaky_program_needs_more() {
        let flaky = Reliability { hits: 5, runs: 10 };
        let trust = Trust::from(flaky);
        assert!(trust.screen >= 4 && trust.runs > 10, "{trust:?}");
        assert!(trust.notices >= 0.95 && trust.keeps >= 0.95);
        assert!(trust.thorough(flaky).notices >= 0.99);
    }

    #[test]
    fn a_rare_hit_gets_the_best_there_is() {
        let trust = Trust::from(Reliability { hits: 1, runs: 30 });
        assert!(trust.runs <= MOST_RUNS && trust.screen <= MOST_RUNS);
        assert!(trust.keeps > trust.lets_slip);
    }
}
