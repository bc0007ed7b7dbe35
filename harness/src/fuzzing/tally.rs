//! What a run of the fuzzer has reached, and after how many executions: for comparing ways to fuzz.

use super::simulated::Ran;
use crate::kernel::simulated::{SimFault, FAULTS};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes a line `EXECUTIONS KIND NAME` to a file whenever something is reached for the first time: a rule, or a fault found.
pub struct Tally {
    file: File,
    executions: u64,
    reached: BTreeSet<(&'static str, String)>,
}

impl Tally {
    /// Starts a new file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(path: &Path) -> io::Result<Tally> {
        Ok(Tally {
            file: File::create(path)?,
            executions: 0,
            reached: BTreeSet::new(),
        })
    }

    /// The fault whose turn it is: each in one execution out of as many as there are.
    pub fn turn(&self) -> &'static SimFault {
        &FAULTS[self.executions as usize % FAULTS.len()]
    }

    /// Counts an execution; `None` is one that ran nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn count(&mut self, ran: Option<&Ran>) -> io::Result<()> {
        self.executions += 1;
        let Some(ran) = ran else { return Ok(()) };
        for rule in ran.judged.rules.iter() {
            self.reach("rule", rule.0.to_string())?;
        }
        if let Some(fault) = ran.found.and_then(|index| FAULTS.get(index)) {
            self.reach("fault", fault.full_name())?;
        }
        Ok(())
    }

    fn reach(&mut self, kind: &'static str, name: String) -> io::Result<()> {
        if self.reached.contains(&(kind, name.clone())) {
            return Ok(());
        }
        writeln!(self.file, "{} {kind} {name}", self.executions)?;
        self.reached.insert((kind, name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::simulated::{simulated, Choice};

    #[test]
    fn each_thing_is_written_once_with_its_number() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut tally = Tally::new(file.path()).unwrap();
        tally.count(None).unwrap();
        let text = b"mmap 0+0..0+4 rw private fixed\nguard-install 0+0..0+2\n";
        for _ in 0..3 {
            let fault = Choice::Quietly(&FAULTS[0]);
            let ran = simulated(text, fault, &mut |_| {}).unwrap();
            tally.count(ran.as_ref()).unwrap();
        }
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.matches("rule mmap/maps\n").count(), 1, "{text}");
        assert!(text.contains("2 fault guard/install-skipped\n"), "{text}");
    }
}
