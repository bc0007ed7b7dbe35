//! Triage by hand: a prompt at which each bucket of a run is shown, minimized, reproduced or marked as known, by its number.

use super::{buckets, Action, Row};
use crate::exit::Exit;
use crate::past::{point, Past};
use anyhow::Result;
use harness::report::wrap;
use std::io::{BufRead, Write};
use std::path::Path;

const HELP: &str = "\
N       show: the report of bucket N
m N     minimize: cut its program down to what the divergence needs
r N     reproduce: run the program again on a kernel that has it
k N     known: an entry in corpus/findings/known.toml
l       list the buckets again
q       quit
";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Show(usize),
    Minimize(usize),
    Reproduce(usize),
    Known(usize),
    List,
    Help,
    Quit,
    Nothing,
}

/// Reads a line; `count` is the number of buckets, which count from 1.
fn wish(line: &str, count: usize) -> Result<Wish, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |word: &str| match word.parse::<usize>() {
        Ok(n) if (1..=count).contains(&n) => Ok(n - 1),
        _ => Err(format!("`{word}` is no bucket; there are 1 to {count}")),
    };
    match words[..] {
        [] => Ok(Wish::Nothing),
        ["q" | "quit" | "exit"] => Ok(Wish::Quit),
        ["l" | "list"] => Ok(Wish::List),
        ["h" | "help" | "?"] => Ok(Wish::Help),
        ["s" | "show", n] => number(n).map(Wish::Show),
        ["m" | "minimize", n] => number(n).map(Wish::Minimize),
        ["r" | "reproduce", n] => number(n).map(Wish::Reproduce),
        ["k" | "known", n] => number(n).map(Wish::Known),
        [n] if n.starts_with(|c: char| c.is_ascii_digit()) => number(n).map(Wish::Show),
        _ => Err(format!("`{}` is not understood; h is help", line.trim())),
    }
}

/// Asks until the user has had enough. `verb` carries out a verb of `cargo xtask`, given its words; what it says of failures goes to
/// the user, and the prompt comes back.
///
/// # Errors
/// The terminal cannot be read or written.
pub fn ask(
    rows: &[Row],
    folder: &Path,
    past: &Past,
    lines: &mut dyn BufRead,
    out: &mut dyn Write,
    verb: &mut dyn FnMut(&[String]) -> Result<()>,
) -> Result<Exit> {
    let buckets = buckets(rows);
    let list = |out: &mut dyn Write| -> Result<()> {
        for (n, (bucket, rows)) in buckets.iter().enumerate() {
            let text = format!("{:>3}  {bucket}\n       {}\n", n + 1, names(rows));
            write!(out, "{}", wrap(&text))?;
        }
        Ok(())
    };
    let act = |action: Action, row: &Row| action.words(row, folder, past).unwrap_or_default();
    writeln!(out, "{}", folder.display())?;
    list(out)?;
    if buckets.is_empty() {
        writeln!(out, "nothing was found")?;
        return Ok(Exit::Fine);
    }
    write!(out, "\n{HELP}")?;
    loop {
        let Some(line) = answer(lines, out, "triage> ")? else {
            return Ok(Exit::Found);
        };
        let wish = match wish(&line, buckets.len()) {
            Ok(wish) => wish,
            Err(why) => {
                writeln!(out, "{why}")?;
                continue;
            }
        };
        let words = match wish {
            Wish::Quit => return Ok(Exit::Found),
            Wish::List => {
                list(out)?;
                continue;
            }
            Wish::Help => {
                write!(out, "{HELP}")?;
                continue;
            }
            Wish::Nothing => continue,
            Wish::Show(n) => triage(folder, "--show", buckets[n].1[0]),
            Wish::Minimize(n) => act(Action::Minimize, buckets[n].1[0]),
            Wish::Reproduce(n) => act(Action::Reproduce, buckets[n].1[0]),
            Wish::Known(n) => {
                let (_, rows) = &buckets[n];
                let mut words = triage(folder, "--known", rows[0]);
                for (option, question) in [
                    ("--name", "short name (small letters, digits, -): "),
                    (
                        "--reasoning",
                        "why it is the kernel's doing, or the rules': ",
                    ),
                    (
                        "--source",
                        "where this is known from (commit, thread, run): ",
                    ),
                    (
                        "--status",
                        "kernel-bug, intended-change or oracle-gap [kernel-bug]: ",
                    ),
                ] {
                    let said = answer(lines, out, question)?.unwrap_or_default();
                    let said = match (option, said.trim()) {
                        ("--status", "") => "kernel-bug",
                        (_, said) => said,
                    };
                    if said.is_empty() {
                        writeln!(out, "left as it is: each of these is needed")?;
                        words.clear();
                        break;
                    }
                    // One word, so that what begins with `-` is no option.
                    words.push(format!("{option}={said}"));
                }
                if !words.is_empty() {
                    let question = "commit or address that it is talked about at, if any: ";
                    let said = answer(lines, out, question)?.unwrap_or_default();
                    if !said.trim().is_empty() {
                        words.push(format!("--link={}", said.trim()));
                    }
                    let met = names(rows);
                    let question = format!(
                        "for {met}, or for their whole series? releases or series [releases]: "
                    );
                    let said = answer(lines, out, &question)?.unwrap_or_default();
                    if said.trim() == "series" {
                        words.push("--whole-series".into());
                    }
                }
                words
            }
        };
        if !words.is_empty() {
            if let Err(error) = verb(&words) {
                writeln!(out, "error: {error:#}")?;
            }
        }
    }
}

/// The next line; `None`: there is none any more.
fn answer(lines: &mut dyn BufRead, out: &mut dyn Write, question: &str) -> Result<Option<String>> {
    write!(out, "{question}")?;
    out.flush()?;
    let mut line = String::new();
    match lines.read_line(&mut line)? {
        0 => writeln!(out).map(|()| None).map_err(Into::into),
        _ => Ok(Some(line)),
    }
}

fn triage(folder: &Path, option: &str, row: &Row) -> Vec<String> {
    let folder = folder.display().to_string();
    vec!["triage".into(), folder, option.into(), row.id.clone()]
}

/// The kernels of these rows.
fn names(rows: &[&Row]) -> String {
    let mut names: Vec<String> = rows
        .iter()
        .map(|row| format!("{} {}", row.arch, point(&row.release)))
        .collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::campaign::Bucket;

    /// A run of these kernels, started with these words.
    fn past(command: &str, named: &str) -> Past {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            r#"{{"command": {command}, "end": "finished", "kernels": {{}}, "named": [{named}], "started": "now", "accel": "auto",
               "versions": {{}}, "host": {{"cpu": "", "cores": 2, "memory_mib": 1, "os": "", "kernel": ""}}}}"#
        );
        std::fs::write(folder.path().join("run.json"), text).expect("writes");
        Past::of(folder.path())
    }

    fn row(id: &str, op: &str, release: &str) -> Row {
        Row {
            id: id.into(),
            bucket: Bucket {
                op: op.into(),
                rule: "fork/copies-guards".into(),
                expected: "guard".into(),
                observed: "empty".into(),
            },
            release: release.into(),
            arch: "x86_64".into(),
            program: format!("divergences/{id}.prog").into(),
            reliability: "5/5".into(),
        }
    }

    /// What is printed and which verbs are carried out when a user types these lines.
    fn session(rows: &[Row], typed: &str) -> (String, Vec<Vec<String>>, Exit) {
        session_of(rows, &past(r#"["vm-matrix"]"#, ""), typed)
    }

    fn session_of(rows: &[Row], past: &Past, typed: &str) -> (String, Vec<Vec<String>>, Exit) {
        let (mut out, mut verbs) = (Vec::new(), Vec::new());
        let mut verb = |words: &[String]| {
            verbs.push(words.to_vec());
            match words[0].as_str() {
                "run" => anyhow::bail!("no such kernel"),
                _ => Ok(()),
            }
        };
        let exit = ask(
            rows,
            Path::new("run"),
            past,
            &mut typed.as_bytes(),
            &mut out,
            &mut verb,
        );
        let out = String::from_utf8(out).expect("is text");
        (out, verbs, exit.expect("a session"))
    }

    #[test]
    fn each_action_is_a_verb_on_the_bucket_of_that_number() {
        let rows = [
            row("d-1", "read", "7.3.4+deb13-cloud-amd64"),
            row("d-2", "fork", "6.18.5+deb13-cloud-amd64"),
            row("d-3", "fork", "7.3.4+deb13-cloud-amd64"),
        ];
        let typed = "1\n\nm 2\nr 1\nk 2\nloses\n--why\ncommit 1\n\n\n\nk 1\na\nb\nc\noracle-gap\nhttps://x\nseries\nq\nm 1\n";
        let (out, verbs, exit) = session(&rows, typed);
        assert_eq!(exit, Exit::Found);
        let said: Vec<String> = verbs.iter().map(|words| words.join(" ")).collect();
        assert_eq!(
            said,
            [
                // The bucket met on two kernels comes first.
                "triage run --show d-2",
                "minimize run/divergences/d-1.prog --kernels 7.3.4 --arch x86_64 \
                 --bucket read: fork/copies-guards: guard -> empty",
                "run run/divergences/d-2.prog --kernels 6.18.5 --arch x86_64",
                "triage run --known d-1 --name=loses --reasoning=--why --source=commit 1 \
                 --status=kernel-bug",
                "triage run --known d-2 --name=a --reasoning=b --source=c --status=oracle-gap \
                 --link=https://x --whole-series",
            ]
        );
        assert!(out.contains("x86_64 6.18.5, x86_64 7.3.4"), "{out}");
        // What fails is said, and the prompt comes back.
        assert!(out.contains("error: no such kernel\ntriage> "), "{out}");
    }

    #[test]
    fn verbs_get_the_kernel_and_the_rules_of_the_run() {
        let rows = [row("d-1", "read", "7.4.0-rc1+")];
        let own = r#"{"label": "bzImage", "arch": "x86_64", "release": "7.4.0-rc1+", "options": ["--kernel", "/a b/bzImage"]}"#;
        let of_matrix = past(r#"["vm-matrix", "--profile", "7.3"]"#, own);
        let (_, verbs, _) = session_of(&rows, &of_matrix, "r 1\nm 1\n");
        let on = ["--kernel", "/a b/bzImage", "--profile", "7.3"];
        assert_eq!(verbs[0][2..], on);
        assert_eq!(verbs[1][2..6], on);
        let listed = super::super::list(&rows, Path::new("run"), &of_matrix);
        assert!(listed.contains("--kernel '/a b/bzImage'"), "{listed}");
        assert!(
            listed.contains("cargo xtask bisect") && listed.contains("--profile 7.3"),
            "{listed}"
        );
        // Threads have a verb of their own.
        let of_races = past(r#"["races", "--without-row", "flags_read_early"]"#, own);
        let (_, verbs, _) = session_of(&rows, &of_races, "r 1\nm 1\n");
        assert_eq!(verbs[0][0], "races");
        assert_eq!(verbs[0].last().map(String::as_str), Some("--no-reports"));
        let words = verbs[1].join(" ");
        assert!(
            words.contains("--without-row flags_read_early --repetitions "),
            "{words}"
        );
        assert!(!words.contains("--no-reports"), "{words}");
        let listed = super::super::list(&rows, Path::new("run"), &of_races);
        assert!(
            !listed.contains("bisect") && !listed.contains("minimize"),
            "{listed}"
        );
        // The model has no image that could be handed on.
        let model = r#"{"label": "simulated", "arch": "x86_64", "release": "7.4.0-rc1+", "options": ["--simulated", "fork/loses-guards"]}"#;
        let listed = super::super::list(&rows, Path::new("run"), &past(r#"["vm-matrix"]"#, model));
        assert!(
            listed.contains("minimize") && !listed.contains("reproducer"),
            "{listed}"
        );
    }

    #[test]
    fn nonsense_is_told_and_nothing_is_done() {
        let rows = [row("d-1", "read", "7.3.4")];
        let (out, verbs, exit) = session(&rows, "2\nm x\nfoo\nk 1\n\nh\nl\n");
        assert_eq!((verbs.len(), exit), (0, Exit::Found), "{out}");
        for words in [
            "`2` is no bucket",
            "`x` is no bucket",
            "`foo` is not understood",
        ] {
            assert!(out.contains(words), "{out}");
        }
        assert!(out.contains("left as it is"), "{out}");
        let (out, _, exit) = session(&[], "q\n");
        assert_eq!(exit, Exit::Fine, "{out}");
    }
}
