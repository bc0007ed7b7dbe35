//! Outcomes in words, and text folded to 80 columns.

use oracle::geometry::{Geometry, Pos};
use oracle::judge::{event_words, Fault, Observation, Outcome, ValueRun};
use oracle::program::Expect;

/// Widest line of a report, in columns.
pub const WIDTH: usize = 80;

/// An outcome as the text form of programs writes it: `ok`, `EINVAL`, `SIGSEGV MAPERR 0+2`.
pub fn outcome_words(outcome: &Outcome, g: Geometry) -> String {
    match outcome {
        Outcome::Ok => Expect::Ok.text(0),
        Outcome::Elsewhere => Expect::Elsewhere.text(0),
        Outcome::Unflagged => Expect::Unflagged.text(0),
        Outcome::Errno(errno) => Expect::Errno(*errno).text(0),
        Outcome::Moved(moved) => {
            let page = moved.end.div_euclid(i64::from(g.page_size));
            let place = Pos::from_page_index(page, g);
            let mut text = match place.filter(|_| !moved.all) {
                None => format!("ok, {} bytes", moved.bytes),
                Some(place) => format!("{} bytes, up to page {place}", moved.bytes),
            };
            if !moved.values.is_empty() {
                text += &format!(", read {}", tags(&moved.values).join(" "));
            }
            text
        }
        Outcome::Access(access) => {
            let values = tags(&access.values);
            let mut text = match access.fault {
                None => format!("ok, {} pages", access.pages),
                Some(fault) => format!("{} after {} pages", fault_words(&fault, g), access.pages),
            };
            if !values.is_empty() {
                text += &format!(", read {}", values.join(" "));
            }
            text
        }
        Outcome::Each(each) => {
            let words: Vec<String> = each.iter().map(|one| outcome_words(one, g)).collect();
            words.join(", then ")
        }
        Outcome::Together(steps) => {
            let words: Vec<String> = steps.iter().map(|one| outcome_words(one, g)).collect();
            words.join("; ")
        }
    }
}

/// What an op returned, and what userfaultfds told meanwhile if they told anything: `ok; events unmap 0+0..0+2`.
pub fn result_words(seen: &Observation, g: Geometry) -> String {
    let mut text = outcome_words(&seen.outcome, g);
    if !seen.events.is_empty() {
        let events = seen.events.iter().map(|(_, event)| *event);
        text += &format!("; events {}", event_words(events, g));
    }
    text
}

/// The tags of loaded values.
fn tags(values: &[ValueRun]) -> Vec<String> {
    let one = |run: &ValueRun| {
        let tag = run.first.tag().unwrap_or(0);
        match run.len {
            1 => tag.to_string(),
            len => format!("{tag}*{len}"),
        }
    };
    values.iter().map(one).collect()
}

fn fault_words(fault: &Fault, g: Geometry) -> String {
    let page_size = i64::from(g.page_size);
    let at = Pos::from_page_index(fault.addr.div_euclid(page_size), g);
    let inside = fault.addr.rem_euclid(page_size);
    let signal = Expect::Signal {
        signo: fault.signo,
        code: Some(fault.code),
        at: at.map(|pos| Pos {
            byte: inside.min(4095) as u16,
            ..pos
        }),
    };
    match at {
        Some(_) => signal.text(0),
        None => format!("{} at arena byte {:#x}", signal.text(0), fault.addr),
    }
}

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Words of a command line, an option and its value in turn, as a shell reads them: each option with its value in one.
pub fn options(words: &[String]) -> Vec<String> {
    let pair = |pair: &[String]| {
        let words: Vec<String> = pair.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    };
    words.chunks(2).map(pair).collect()
}

/// A command line, folded as a shell reads it.
pub fn command(words: &[String]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            // The backslash wants two columns.
            Some(line) if line.len() + 1 + word.len() + 2 <= WIDTH => *line += &format!(" {word}"),
            Some(_) => lines.push(format!("      {word}")),
            None => lines.push(format!("    {word}")),
        }
    }
    lines.join(" \\\n") + "\n"
}

/// Folds every line of `text` that is wider than [`WIDTH`]; what follows is indented like the line, and a comment stays a
/// comment. A word that is too long stays whole.
pub fn wrap(text: &str) -> String {
    let mut folded = String::new();
    for line in text.lines() {
        fold(line, &mut folded);
        folded.push('\n');
    }
    folded
}

fn fold(line: &str, into: &mut String) {
    if line.chars().count() <= WIDTH {
        into.push_str(line);
        return;
    }
    let indent = line.chars().take_while(|c| *c == ' ').count();
    let text = &line[indent..];
    let again = if text.starts_with("# ") { "# " } else { "" };
    let mut column = 0;
    for word in text.split_inclusive(' ') {
        let len = word.chars().count();
        let fits = column + word.trim_end().chars().count() <= WIDTH;
        if column == 0 || !fits {
            if column > 0 {
                while into.ends_with(' ') {
                    into.pop();
                }
                into.push('\n');
            }
            into.push_str(&" ".repeat(indent));
            if column > 0 {
                into.push_str(again);
            }
            column = indent + again.len();
        }
        into.push_str(word);
        column += len;
    }
    while into.ends_with(' ') {
        into.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oracle::judge::Access;

    #[test]
    fn long_lines_are_folded_at_words() {
        let line = format!("  {}", "word ".repeat(40));
        let folded = wrap(&line);
        assert!(folded.lines().count() > 2);
        assert!(
            folded.lines().all(|l| l.chars().count() <= WIDTH),
            "{folded}"
        );
        assert!(folded.lines().skip(1).all(|l| l.starts_with("  word")));
        assert_eq!(folded.matches("word").count(), 40);
        assert_eq!(wrap("short\n"), "short\n");
        let comment = wrap(&format!("   # {}", "word ".repeat(40)));
        assert!(
            comment.lines().all(|l| l.starts_with("   # word")),
            "{comment}"
        );
    }

    #[test]
    fn options_stand_by_their_values() {
        let words = ["--kernel", "/my kernels/bzImage", "--arch", "x86_64"].map(String::from);
        let shown = ["--kernel '/my kernels/bzImage'", "--arch x86_64"];
        assert_eq!(options(&words), shown);
        assert_eq!(quoted("a'b"), r"'a'\''b'");
    }

    #[test]
    fn outcomes_read_like_expectations() {
        let g = Geometry::K4;
        assert_eq!(outcome_words(&Outcome::Errno(22), g), "EINVAL");
        let fault = Fault {
            signo: 11,
            code: 1,
            addr: 2 * 4096,
            key: None,
        };
        let access = Outcome::Access(Access {
            pages: 2,
            values: vec![],
            fault: Some(fault),
        });
        assert_eq!(
            outcome_words(&access, g),
            "SIGSEGV MAPERR 0+2 after 2 pages"
        );
    }
}
