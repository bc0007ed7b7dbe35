//! What the parser says about text that it does not understand.

use std::fmt;

/// Where a program's text is wrong and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are meant; at least 1.
    pub len: usize,
    /// What was expected and what stands there.
    pub message: String,
    /// The way out, where there is something to add to the message.
    pub help: Option<String>,
    /// The line itself (cut when it is very long).
    pub source_line: String,
    /// Characters of the line that are cut away before `source_line`.
    pub excerpt_start: usize,
}

impl ParseError {
    /// The error with its line and a caret under the place, for a terminal. `name` is the file's name.
    pub fn render(&self, name: &str) -> String {
        Rendered { error: self, name }.to_string()
    }
}

struct Rendered<'a> {
    error: &'a ParseError,
    name: &'a str,
}

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = self.error;
        let number = e.line.to_string();
        let gutter = " ".repeat(number.len());
        // Tabs before the place are kept as tabs, so that the caret stands right however wide they are shown.
        let indent: String = e
            .source_line
            .chars()
            .take(e.column - 1 - e.excerpt_start)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "error: {}", e.message)?;
        writeln!(f, "{gutter}--> {}:{}:{}", self.name, e.line, e.column)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", e.source_line)?;
        writeln!(f, "{gutter} | {indent}{}", "^".repeat(e.len.max(1)))?;
        if let Some(help) = &e.help {
            writeln!(f, "{gutter} = help: {help}")?;
        }
        Ok(())
    }
}
