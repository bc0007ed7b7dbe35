//! Changing kernel text by anchors: a file, a function, a short piece of text that stands there once.

use serde::Deserialize;

/// Stands in the text of an edit for "this planted bug is switched on, and does something else here than the code without
/// it"; with a condition in parentheses behind it, only where that holds.
pub const SWITCH: &str = "BUG";

/// Stands for "this planted bug is switched on", where it may still do the same.
pub const SWITCH_REACHED: &str = "BUG_REACHED";

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Path in the kernel tree.
    pub file: String,
    /// The function that `find` stands in.
    pub function: String,
    /// A piece of text that stands once in that function.
    pub find: String,
    /// What is put before it, on a line of its own.
    #[serde(default)]
    pub before: Option<String>,
    /// What is put behind the line that it stands on.
    #[serde(default)]
    pub after: Option<String>,
    /// What is put in its place.
    #[serde(default)]
    pub instead: Option<String>,
}

/// A piece of a file and what it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub start: usize,
    pub end: usize,
    pub text: String,
}

impl Edit {
    /// Where the edit applies in the text of its file. `constant` is the bug's name in C, for what takes the place of [`SWITCH`].
    ///
    /// # Errors
    /// A sentence that names file and line.
    pub fn locate(&self, text: &str, constant: &str) -> Result<Patch, String> {
        let bodies = bodies(text, &self.function);
        let file = &self.file;
        if bodies.is_empty() {
            return Err(format!("{file}: no function {}", self.function));
        }
        let mut found = Vec::new();
        for &(start, end) in &bodies {
            let body = &text[start..end];
            found.extend(body.match_indices(&self.find).map(|(at, _)| start + at));
        }
        let at = match found[..] {
            [at] => at,
            [] => {
                let line = line_of(text, bodies[0].0);
                return Err(format!(
                    "{file}:{line}: `{}` does not stand in {}",
                    self.find, self.function
                ));
            }
            _ => {
                let lines: Vec<String> = found
                    .iter()
                    .map(|&at| line_of(text, at).to_string())
                    .collect();
                return Err(format!(
                    "{file}:{}: `{}` stands {} times in {}",
                    lines.join(","),
                    self.find,
                    found.len(),
                    self.function
                ));
            }
        };
        let behind = at + self.find.len();
        let put = |text: &String| switched(text, constant);
        match (&self.before, &self.after, &self.instead) {
            (Some(before), None, None) => {
                let line = text[..at].rfind('\n').map_or(0, |i| i + 1);
                Ok(Patch {
                    start: line,
                    end: line,
                    text: put(before) + "\n",
                })
            }
            (None, Some(after), None) => {
                let next = text[behind..]
                    .find('\n')
                    .map_or(text.len(), |i| behind + i + 1);
                Ok(Patch {
                    start: next,
                    end: next,
                    text: put(after) + "\n",
                })
            }
            (None, None, Some(instead)) => Ok(Patch {
                start: at,
                end: behind,
                text: put(instead),
            }),
            _ => Err(format!(
                "{file}: an edit has exactly one of `before`, `after` and `instead`"
            )),
        }
    }
}

/// The text with C in the place of the switches.
fn switched(text: &str, constant: &str) -> String {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(in_word) {
        let (before, from) = rest.split_at(start);
        let (word, behind) = from.split_at(from.find(|c| !in_word(c)).unwrap_or(from.len()));
        out += before;
        rest = behind;
        match (word, behind.strip_prefix('(')) {
            (SWITCH, Some(condition)) => {
                out += &format!("mmdiff_planted_if({constant}, ");
                rest = condition;
            }
            (SWITCH, None) => out += &format!("mmdiff_planted_if({constant}, true)"),
            (SWITCH_REACHED, _) => out += &format!("mmdiff_reached({constant})"),
            _ => out += word,
        }
    }
    out + rest
}

/// Whether two patches of one file are in each other's way. Two that put text at one place are not.
pub fn overlap(a: &Patch, b: &Patch) -> bool {
    if a.start == a.end && b.start == b.end {
        return false;
    }
    a.start < b.end && b.start < a.end
}

/// The text with all patches, which do not overlap; those at one place in the order given.
pub fn apply(text: &str, patches: &[Patch]) -> String {
    let mut sorted: Vec<&Patch> = patches.iter().collect();
    sorted.sort_by_key(|patch| (patch.start, patch.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for patch in sorted {
        out += &text[at..patch.start];
        out += &patch.text;
        at = patch.end;
    }
    out + &text[at..]
}

/// Line of a byte, from 1 on.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// From its name to the closing brace: all definitions of a function, in kernel style (the name in a line that is not
/// indented, the closing brace alone at the start of a line).
fn bodies(text: &str, function: &str) -> Vec<(usize, usize)> {
    let call = format!("{function}(");
    let mut all = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let Some(column) = line.find(&call) else {
            continue;
        };
        let outside = !line.starts_with([' ', '\t', '#', '/', '*']);
        let whole_name = !line[..column].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if !(outside && whole_name) {
            continue;
        }
        let rest = &text[start..];
        let (Some(open), close) = (rest.find('{'), rest.find("\n}")) else {
            continue;
        };
        // A declaration ends before any body begins.
        if rest.find(';').is_some_and(|semicolon| semicolon < open) {
            continue;
        }
        if let Some(close) = close {
            all.push((start, start + close));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "static int a(int x);\n\nstatic int\na(int x)\n{\n\tif (x)\n\t\treturn 1;\n\treturn a_more(x);\n}\n\n\
        int a_more(int x)\n{\n\treturn a(x);\n}\n";

    fn edit(function: &str, find: &str) -> Edit {
        Edit {
            file: "mm/x.c".into(),
            function: function.into(),
            find: find.into(),
            before: None,
            after: None,
            instead: Some("if (x && !BUG)".into()),
        }
    }

    #[test]
    fn an_anchor_is_found_in_its_function_alone() {
        let patch = edit("a", "if (x)").locate(TEXT, "A").unwrap();
        let text = apply(TEXT, &[patch]);
        assert!(
            text.contains("\tif (x && !mmdiff_planted_if(A, true))\n\t\treturn 1;"),
            "{text}"
        );
        let before = Edit {
            instead: None,
            before: Some("\tif (BUG(x > 1))\n\t\treturn 0;".into()),
            ..edit("a_more", "return a(x)")
        };
        let text = apply(TEXT, &[before.locate(TEXT, "B").unwrap()]);
        assert!(
            text.ends_with(
                "{\n\tif (mmdiff_planted_if(B, x > 1))\n\t\treturn 0;\n\treturn a(x);\n}\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn only_whole_words_are_switches() {
        let text = switched("VM_BUG_ON(BUG_REACHED && BUG(f(x)) && DEBUG && BUG);", "A");
        assert_eq!(
            text,
            "VM_BUG_ON(mmdiff_reached(A) && mmdiff_planted_if(A, f(x)) && DEBUG && mmdiff_planted_if(A, true));"
        );
    }

    #[test]
    fn drift_is_named_with_file_and_line() {
        let error = |e: Edit| e.locate(TEXT, "s").unwrap_err();
        assert!(error(edit("gone", "x")).contains("mm/x.c: no function gone"));
        assert!(error(edit("a", "if (y)")).contains("mm/x.c:4: `if (y)`"));
        assert!(error(edit("a", "return")).contains("mm/x.c:7,8: `return` stands 2 times"));
        let two = Edit {
            after: Some("x".into()),
            ..edit("a", "if (x)")
        };
        assert!(error(two).contains("exactly one"));
    }

    #[test]
    fn patches_at_one_place_follow_each_other_and_others_must_be_apart() {
        let at = |start, end, text: &str| Patch {
            start,
            end,
            text: text.into(),
        };
        assert!(!overlap(&at(3, 3, "a"), &at(3, 3, "b")));
        assert!(overlap(&at(2, 5, "a"), &at(4, 6, "b")));
        assert!(!overlap(&at(2, 4, "a"), &at(4, 6, "b")));
        assert_eq!(
            apply("012345", &[at(3, 3, "a"), at(3, 3, "b"), at(1, 2, "-")]),
            "0-2ab345"
        );
    }
}
