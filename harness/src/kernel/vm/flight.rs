//! What has been asked and not yet been answered: the guest answers in order, and only what it was asked.

use super::error::VmError;
use std::collections::VecDeque;
use wire::{Execution, Mode, Request, Response};

/// One batch that the guest has not finished.
#[derive(Debug)]
struct Batch {
    seq: u64,
    mode: Mode,
    /// Id and number of steps of each program.
    programs: VecDeque<(u64, usize)>,
}

/// All batches that the guest has not finished, the oldest first.
#[derive(Debug, Default)]
pub struct Flight {
    batches: VecDeque<Batch>,
}

impl Flight {
    /// Notes a request that is about to be sent.
    pub fn add(&mut self, request: &Request) {
        if let Request::Batch {
            seq,
            mode,
            programs,
            ..
        } = request
        {
            self.batches.push_back(Batch {
                seq: *seq,
                mode: *mode,
                programs: programs.iter().map(|p| (p.id, p.steps.len())).collect(),
            });
        }
    }

    /// Nothing is awaited.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether the guest may answer this now; notes that it has.
    ///
    /// # Errors
    /// [`VmError::Garbage`], or [`VmError::Guest`] when the guest gives up.
    pub fn check(&mut self, response: &Response) -> Result<(), VmError> {
        let garbage = |what: String| Err(VmError::Garbage(what));
        let batch = self.batches.front_mut();
        match (response, batch) {
            (Response::Error(why), _) => Err(VmError::Guest(why.clone())),
            (Response::Hello(_), _) => garbage("a second hello".to_owned()),
            (Response::Execution(e), Some(batch)) => batch.check(e),
            (Response::Log { program, .. }, Some(batch)) => batch.knows(*program),
            (Response::Log { .. }, None) => garbage("a log, unasked".to_owned()),
            (Response::Execution(e), None) => {
                garbage(format!("an execution of {:#x}, unasked", e.id))
            }
            (Response::Raced(raced), Some(batch)) => batch.raced(raced.id),
            (Response::Raced(_), None) => garbage("a tally, unasked".to_owned()),
            (Response::BatchDone { seq, .. }, Some(batch)) => {
                let left = match batch.mode {
                    Mode::Judged | Mode::Raced { .. } => batch.programs.len(),
                    Mode::Bare { .. } => 0,
                };
                if batch.seq != *seq || left > 0 {
                    return garbage(format!(
                        "batch {seq} is said to be done; batch {} runs and {left} of its programs are missing",
                        batch.seq
                    ));
                }
                self.batches.pop_front();
                Ok(())
            }
            (Response::BatchDone { seq, .. }, None) => {
                garbage(format!("batch {seq} done, unasked"))
            }
        }
    }
}

impl Batch {
    fn knows(&self, program: u64) -> Result<(), VmError> {
        match self.programs.iter().any(|p| p.0 == program) {
            true => Ok(()),
            false => Err(VmError::Garbage(format!(
                "a log of {program:#x}, which does not run"
            ))),
        }
    }

    fn raced(&mut self, program: u64) -> Result<(), VmError> {
        let of_races = matches!(self.mode, Mode::Raced { .. });
        match self.programs.pop_front() {
            Some((id, _)) if of_races && id == program => Ok(()),
            _ => Err(VmError::Garbage(format!(
                "a tally of {program:#x}, out of turn"
            ))),
        }
    }

    fn check(&mut self, execution: &Execution) -> Result<(), VmError> {
        let id = execution.id;
        let known = match self.mode {
            Mode::Judged => self.programs.pop_front().filter(|p| p.0 == id),
            // One for each kind of execution, and at the end a tally.
            Mode::Raced { .. } => self.programs.front().copied().filter(|p| p.0 == id),
            // Reported only when something goes wrong, in any round.
            Mode::Bare { .. } => self.programs.iter().find(|p| p.0 == id).copied(),
        };
        match known {
            None => Err(VmError::Garbage(format!(
                "an execution of {id:#x}, out of turn"
            ))),
            Some((_, steps)) if execution.steps.len() > steps => Err(VmError::Garbage(format!(
                "{} steps of program {id:#x}, which has {steps}",
                execution.steps.len()
            ))),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::{End, Knobs, Program};

    fn batch(seq: u64, ids: &[u64], mode: Mode) -> Request {
        let knobs = Knobs {
            thp: 0,
            shmem_thp: 0,
            khugepaged: false,
            ksm: false,
            swap: false,
            root: false,
            uffd_events: false,
        };
        Request::Batch {
            seq,
            mode,
            arena_pages: 1536,
            op_limit_ms: 1000,
            programs: ids
                .iter()
                .map(|&id| Program {
                    id,
                    knobs,
                    files: Vec::new(),
                    steps: Vec::new(),
                    fault: None,
                })
                .collect(),
        }
    }

    fn execution(id: u64) -> Response {
        Response::Execution(Execution {
            id,
            free_pages: 9,
            end: End::Done,
            steps: Vec::new(),
        })
    }

    fn done(seq: u64) -> Response {
        Response::BatchDone { seq, nanos: 1 }
    }

    #[test]
    fn answers_in_order_are_taken() {
        let mut flight = Flight::default();
        flight.add(&batch(1, &[7, 8], Mode::Judged));
        flight.add(&batch(2, &[9], Mode::Bare { rounds: 3 }));
        for response in [execution(7), execution(8), done(1), done(2)] {
            flight.check(&response).unwrap();
        }
        assert!(flight.is_empty());
    }

    #[test]
    fn a_race_has_any_number_of_executions_and_one_tally() {
        let raced = |id| {
            Response::Raced(wire::Raced {
                id,
                ..Default::default()
            })
        };
        let mode = Mode::Raced {
            first: 0,
            repetitions: 9,
            walks: false,
        };
        let asked = || {
            let mut flight = Flight::default();
            flight.add(&batch(1, &[7, 8], mode));
            flight
        };
        let mut flight = asked();
        for response in [
            execution(7),
            execution(7),
            raced(7),
            execution(8),
            raced(8),
            done(1),
        ] {
            flight.check(&response).unwrap();
        }
        assert!(flight.is_empty());
        for wrong in [vec![execution(8)], vec![raced(8)], vec![raced(7), done(1)]] {
            let mut flight = asked();
            let last = wrong.iter().map(|r| flight.check(r)).last();
            assert!(matches!(last, Some(Err(VmError::Garbage(_)))), "{wrong:?}");
        }
        let mut judged = Flight::default();
        judged.add(&batch(1, &[7], Mode::Judged));
        assert!(judged.check(&raced(7)).is_err());
    }

    #[test]
    fn everything_else_is_garbage() {
        let asked = || {
            let mut flight = Flight::default();
            flight.add(&batch(1, &[7, 8], Mode::Judged));
            flight
        };
        for wrong in [
            vec![execution(8)],
            vec![done(1)],
            vec![execution(7), execution(7)],
            vec![done(2)],
        ] {
            let mut flight = asked();
            let last = wrong.iter().map(|r| flight.check(r)).last();
            assert!(matches!(last, Some(Err(VmError::Garbage(_)))), "{wrong:?}");
        }
        let mut nothing = Flight::default();
        assert!(matches!(
            nothing.check(&execution(1)),
            Err(VmError::Garbage(_))
        ));
        assert!(matches!(nothing.check(&done(1)), Err(VmError::Garbage(_))));
        let error = Response::Error("no".to_owned());
        assert!(matches!(nothing.check(&error), Err(VmError::Guest(_))));
    }
}
