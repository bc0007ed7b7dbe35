//! The words of one line, with their columns.

use super::error::ParseError;

/// Longest part of a line that an error repeats, in characters.
const LONGEST_EXCERPT: usize = 200;

/// Reads one line from left to right. Places are byte offsets into the line, always at a character border.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    number: usize,
    line: &'a str,
    at: usize,
}

/// A word with its place.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    pub text: &'a str,
    pub start: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of line `number` (from 1).
    pub fn new(number: usize, line: &'a str) -> Cursor<'a> {
        Cursor {
            number,
            line,
            at: 0,
        }
    }

    fn skip_blanks(&mut self) {
        let rest = &self.line[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// What is left of the line.
    pub fn rest(&mut self) -> &'a str {
        self.skip_blanks();
        &self.line[self.at..]
    }

    /// Whether nothing is left on the line.
    pub fn is_at_end(&mut self) -> bool {
        self.rest().is_empty()
    }

    /// Takes `sign` if it comes next.
    pub fn take(&mut self, sign: &str) -> bool {
        let next = self.rest().starts_with(sign);
        if next {
            self.at += sign.len();
        }
        next
    }

    /// The next word: up to a blank, `;` or `=>`. Empty when there is none.
    pub fn word(&mut self) -> Word<'a> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| c.is_whitespace() || c == ';')
            .unwrap_or(rest.len());
        let end = rest.find("=>").map_or(end, |i| i.min(end));
        let word = Word {
            text: &rest[..end],
            start: self.at,
        };
        self.at += end;
        word
    }

    /// Everything up to `;`, `=>` or the end, without blanks around it.
    pub fn phrase(&mut self) -> Word<'a> {
        let rest = self.rest();
        let end = rest.find(';').unwrap_or(rest.len());
        let end = rest.find("=>").map_or(end, |i| i.min(end));
        let word = Word {
            text: rest[..end].trim_end(),
            start: self.at,
        };
        self.at += end;
        word
    }

    /// The next word without moving.
    pub fn peek(&self) -> Word<'a> {
        self.clone().word()
    }

    /// An error about `len` bytes at `start`.
    pub fn error(&self, start: usize, len: usize, message: impl Into<String>) -> ParseError {
        let end = (start + len).min(self.line.len());
        let chars = |text: &str| text.chars().count();
        ParseError {
            line: self.number,
            column: chars(&self.line[..start]) + 1,
            len: chars(&self.line[start..end]).max(1),
            message: message.into(),
            help: None,
            source_line: self.line.into(),
            excerpt_start: 0,
        }
        .shortened()
    }

    /// `expected ..., found ...` at a word.
    pub fn expected(&self, what: &str, word: Word<'_>) -> ParseError {
        let found = if word.text.is_empty() {
            match self.line[word.start..].chars().next() {
                None => "the end of the line".to_string(),
                Some(c) => format!("`{c}`"),
            }
        } else {
            let shown: String = word.text.chars().take(40).collect();
            format!("`{}`", shown.escape_debug())
        };
        self.error(
            word.start,
            word.text.len(),
            format!("expected {what}, found {found}"),
        )
    }
}

/// An error about a whole line of `text` (from 1).
pub fn whole_line(text: &str, number: usize, message: String) -> ParseError {
    let line = text.lines().nth(number - 1).unwrap_or("");
    let start = line.len() - line.trim_start().len();
    Cursor::new(number, line).error(start, line.trim().len(), message)
}

impl ParseError {
    /// The same error, repeating only the part of a very long line around the place.
    fn shortened(mut self) -> ParseError {
        let chars: Vec<char> = self.source_line.chars().collect();
        if chars.len() > LONGEST_EXCERPT {
            let first = (self.column - 1).saturating_sub(LONGEST_EXCERPT / 2);
            let shown = &chars[first..(first + LONGEST_EXCERPT).min(chars.len())];
            self.source_line = shown.iter().collect();
            self.help = Some(format!("the line is cut before column {}", first + 1));
            self.len = self.len.min(LONGEST_EXCERPT / 2);
            self.excerpt_start = first;
        }
        self
    }
}
