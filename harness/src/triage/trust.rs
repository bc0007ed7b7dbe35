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

    /// Between which shares the true one lies with 95 % confidence (Wilson's interval).
    pub fn interval(self) -> (f64, f64) {
        const Z: f64 = 1.96;
        if self.runs == 0 {
            return (0.0, 1.0);
        }
        let n = f64::from(self.runs);
        let p = f64::from(self.hits) / n;
        let middle = p + Z * Z / (2.0 * n);
        let reach = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        (
            ((middle - reach) / scale).max(0.0),
            ((middle + reach) / scale).min(1.0),
        )
    }

    /// The chance to see none in so many runs of something that is as frequent as the lower end of the interval says.
    pub fn missed_in(self, runs: u32) -> f64 {
        (1.0 - self.interval().0).powf(f64::from(runs))
    }

    /// Runs after which something as frequent as that was seen with a chance of 95 %, at most `most`.
    pub fn runs_to_see(self, most: u32) -> u32 {
        let needed = MISTAKE.ln() / (1.0 - self.interval().0).ln();
        match needed.is_finite() {
            true => (needed.ceil() as u32).clamp(1, most),
            false => most,
        }
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

/// Hits that a candidate needs where hits are rare and runs cheap.
const RARE_HITS: u32 = 3;

/// More repetitions than this are never spent on one candidate.
const MOST_REPETITIONS: u32 = 20_000;

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

    /// For threads that run at once and go wrong now and then: a hit is never an accident, so a few are enough to know that a candidate
    /// does it about as often. One hit where it costs a boot or a time limit.
    pub fn rare(original: Reliability, costly: bool) -> Trust {
        let hits = if costly { 1 } else { RARE_HITS };
        let share = original.share();
        let mut runs = hits;
        while runs < MOST_REPETITIONS && at_least(hits, runs, share) < 1.0 - MISTAKE {
            runs += 1 + runs / 16;
        }
        Trust::new(original, runs, hits).screened(original, MISTAKE)
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
        while screen < self.runs.max(MOST_RUNS) && (1.0 - share).powi(screen as i32) > mistake {
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
    let fewer = (0..hits)
        .map(|k| choose(runs, k) * share.powi(k as i32) * (1.0 - share).powi((runs - k) as i32));
    1.0 - fewer.sum::<f64>()
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
    fn rates_have_an_interval() {
        let (low, high) = Reliability {
            hits: 5,
            runs: 1500,
        }
        .interval();
        // As tables of the interval have it.
        assert!((low - 0.00142).abs() < 1e-4 && (high - 0.00778).abs() < 1e-4);
        assert_eq!(Reliability::default().interval(), (0.0, 1.0));
        let none = Reliability { hits: 0, runs: 300 };
        assert!(none.interval().0 < 1e-9 && none.interval().1 < 0.0130);
        let half = Reliability {
            hits: 50,
            runs: 100,
        };
        let runs = half.runs_to_see(1000);
        assert!(half.missed_in(runs) <= 0.05 && half.missed_in(runs - 1) > 0.05);
        assert_eq!(none.runs_to_see(1000), 1000);
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
    fn threads_that_seldom_go_wrong_get_many_repetitions() {
        let seldom = Reliability {
            hits: 5,
            runs: 1500,
        };
        let trust = Trust::rare(seldom, false);
        assert!((700..1000).contains(&trust.screen), "{trust:?}");
        assert!((1500..2000).contains(&trust.runs), "{trust:?}");
        assert!(trust.notices >= 0.95 && trust.keeps >= 0.95, "{trust:?}");
        assert!(trust.thorough(seldom).notices >= 0.99);
        let often = Reliability { hits: 30, runs: 60 };
        let trust = Trust::rare(often, false);
        assert!(trust.screen <= 6 && trust.runs <= 12, "{trust:?}");
        assert_eq!(Trust::rare(often, true).hits, 1);
    }

    #[test]
    fn a_rare_hit_gets_the_best_there_is() {
        let trust = Trust::from(Reliability { hits: 1, runs: 30 });
        assert!(trust.runs <= MOST_RUNS && trust.screen <= MOST_RUNS);
        assert!(trust.keeps > trust.lets_slip);
    }
}
