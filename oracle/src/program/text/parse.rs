//! Lines: comments, header, steps and their expectations.

use super::cursor::Cursor;
use super::error::ParseError;
use super::names::{NEEDS, SHMEM_THP, THP};
use super::{ops, MAX_TEXT_BYTES};
use crate::program::{Program, Step, MAX_STEPS};

type Result<T> = std::result::Result<T, ParseError>;

/// A program and where its steps stand.
pub struct Parsed {
    pub program: Program,
    /// Line of each step, from 1.
    pub lines: Vec<usize>,
}

/// Reads a whole file.
pub fn parse(text: &str) -> Result<Parsed> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!(
            "a program's text has at most {MAX_TEXT_BYTES} bytes, this one has {}",
            text.len()
        );
        return Err(Cursor::new(1, "").error(0, 0, message));
    }
    let mut reader = Reader::default();
    for (i, line) in text.lines().enumerate() {
        reader.line(i + 1, line)?;
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    program: Program,
    lines: Vec<usize>,
    /// Comments that belong to what comes next.
    pending: Vec<String>,
    /// The comment at the top is over: something else than a comment has been seen.
    about_done: bool,
    /// Header words seen, so that none is given twice.
    header: Vec<&'static str>,
}

/// The words that start a header line.
const HEADER: [&str; 8] = [
    "needs",
    "thp",
    "shmem-thp",
    "khugepaged",
    "ksm",
    "swap",
    "user",
    "uffd-events",
];

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<()> {
        let mut c = Cursor::new(number, line);
        if c.take("#") {
            self.pending.push(comment(line));
            return Ok(());
        }
        if !self.about_done {
            self.about_done = true;
            self.program.about = std::mem::take(&mut self.pending);
        }
        if c.is_at_end() {
            return Ok(());
        }
        if c.take("=>") {
            return self.more_expectations(c);
        }
        let word = c.peek();
        match HEADER.into_iter().find(|h| *h == word.text) {
            Some(name) => self.header_line(c, name),
            None => self.step(number, c),
        }
    }

    fn header_line(&mut self, mut c: Cursor<'_>, name: &'static str) -> Result<()> {
        let word = c.word();
        if !self.program.steps.is_empty() {
            let message = format!("`{name}` belongs to the header, before the first op");
            return Err(c.error(word.start, word.text.len(), message));
        }
        if self.header.contains(&name) {
            let message = format!("`{name}` is given twice");
            return Err(c.error(word.start, word.text.len(), message));
        }
        self.header.push(name);
        const SWITCH: &[(&str, bool)] = &[("on", true), ("off", false)];
        let knobs = &mut self.program.knobs;
        match name {
            "needs" => self.needs(&mut c)?,
            "thp" => knobs.thp = ops::keyword(&mut c, THP)?,
            "shmem-thp" => knobs.shmem_thp = ops::keyword(&mut c, SHMEM_THP)?,
            "khugepaged" => knobs.khugepaged = ops::keyword(&mut c, SWITCH)?,
            "ksm" => knobs.ksm = ops::keyword(&mut c, SWITCH)?,
            "uffd-events" => knobs.uffd_events = ops::keyword(&mut c, SWITCH)?,
            "swap" => knobs.swap = ops::keyword(&mut c, SWITCH)?,
            _ => knobs.root = ops::keyword(&mut c, &[("root", true), ("ordinary", false)])?,
        }
        end_of_line(&mut c)
    }

    fn needs(&mut self, c: &mut Cursor<'_>) -> Result<()> {
        loop {
            let word = c.peek();
            let need = ops::keyword(c, NEEDS)?;
            if self.program.needs.contains(&need) {
                let message = format!("`{}` is given twice", word.text);
                return Err(c.error(word.start, word.text.len(), message));
            }
            self.program.needs.push(need);
            if c.is_at_end() {
                return Ok(());
            }
        }
    }

    fn step(&mut self, number: usize, mut c: Cursor<'_>) -> Result<()> {
        if self.program.steps.len() == MAX_STEPS {
            let word = c.peek();
            let message = format!("a program has at most {MAX_STEPS} ops");
            return Err(c.error(word.start, word.text.len(), message));
        }
        let lane = ops::lane_prefix(&mut c)?;
        let actor = ops::actor_prefix(&mut c)?.unwrap_or(0);
        let mut step = Step::new(actor, ops::op(&mut c)?);
        step.lane = lane;
        step.fail = ops::failing(&mut c)?;
        step.comments = std::mem::take(&mut self.pending);
        if c.take("=>") {
            ops::expectations(&mut c, actor, &mut step.expect)?;
        }
        end_of_line(&mut c)?;
        self.program.steps.push(step);
        self.lines.push(number);
        Ok(())
    }

    fn more_expectations(&mut self, mut c: Cursor<'_>) -> Result<()> {
        if !self.pending.is_empty() {
            let message = "an expectation follows its op; put the comment before the op";
            return Err(c.error(0, 0, message));
        }
        let Some(step) = self.program.steps.last_mut() else {
            return Err(c.error(0, 0, "expected an op before its expectation"));
        };
        ops::expectations(&mut c, step.actor, &mut step.expect)?;
        end_of_line(&mut c)
    }

    fn finish(mut self) -> Parsed {
        if self.about_done {
            self.program.trailer = self.pending;
        } else {
            self.program.about = self.pending;
        }
        Parsed {
            program: self.program,
            lines: self.lines,
        }
    }
}

/// The text of a comment line: without the `#`, one blank behind it, and blanks at the end.
fn comment(line: &str) -> String {
    let line = line.trim_start();
    let text = line.strip_prefix('#').unwrap_or(line);
    text.strip_prefix(' ').unwrap_or(text).trim_end().into()
}

fn end_of_line(c: &mut Cursor<'_>) -> Result<()> {
    if c.is_at_end() {
        return Ok(());
    }
    let word = c.peek();
    let mut error = c.expected("the end of the line", word);
    if word.text.starts_with('#') {
        error.help = Some("a comment stands on a line of its own, before the op".into());
    }
    Err(error)
}
