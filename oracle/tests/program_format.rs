//! Every example of docs/program-format.md.

mod common;

use common::broken_expectations;
use oracle::geometry::Geometry;
use oracle::profile::Profile;
use oracle::program::Program;

const PAGE: &str = include_str!("../../docs/program-format.md");

/// Fenced blocks: language, text, line of the first line of text.
fn blocks() -> Vec<(String, String, usize)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String, usize)> = None;
    for (i, line) in PAGE.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.into(), String::new(), i + 2)),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, text, _)), None) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "an unclosed block");
    blocks
}

#[test]
fn good_examples_load_are_canonical_and_keep_their_expectations() {
    let mut count = 0;
    for (language, text, line) in blocks() {
        if language != "prog" {
            continue;
        }
        count += 1;
        let program = Program::load(&text)
            .unwrap_or_else(|e| panic!("{}", e.render(&format!("line {line}"))));
        assert_eq!(program.to_string(), text, "example at line {line}");
        for g in [Geometry::K4, Geometry::K16] {
            let broken = broken_expectations(&program, &Profile::newest(), g);
            assert!(
                broken.is_empty(),
                "example at line {line}, {g:?}: {broken:#?}"
            );
        }
    }
    assert!(count >= 6, "{count} good examples");
}

#[test]
fn loose_examples_print_as_the_example_after_them() {
    let blocks = blocks();
    let mut count = 0;
    for pair in blocks.windows(2) {
        if let [(language, loose, line), (_, canonical, _)] = pair {
            if language == "prog-loose" {
                let program = Program::load(loose).unwrap_or_else(|e| panic!("line {line}: {e}"));
                assert_eq!(&program.to_string(), canonical, "example at line {line}");
                count += 1;
            }
        }
    }
    assert_eq!(count, 1);
}

#[test]
fn wrong_examples_are_refused_with_the_message_shown() {
    let blocks = blocks();
    let mut count = 0;
    for pair in blocks.windows(2) {
        if let [(language, wrong, line), (_, message, _)] = pair {
            if language == "prog-wrong" {
                let error = Program::load(wrong).expect_err("a wrong example");
                assert_eq!(
                    &error.render("example.prog"),
                    message,
                    "example at line {line}"
                );
                count += 1;
            }
        }
    }
    assert!(count >= 4, "{count} wrong examples");
}

/// The page lists every op, need, knob and page sign that exists.
#[test]
fn the_page_is_complete() {
    use oracle::judge::strip::Letter;
    for letter in Letter::ALL {
        let sign = format!("`{}`", letter.sign());
        assert!(PAGE.contains(&sign), "{sign} is missing");
    }
    for advice in oracle::program::Advice::ALL {
        let range = oracle::geometry::Range::new(
            oracle::geometry::Pos::new(0, 0),
            oracle::geometry::Pos::new(0, 1),
        );
        let op = oracle::program::Op::Madvise { range, advice };
        let row = format!("| `{} RANGE` |", op.name());
        assert!(PAGE.contains(&row), "{row} is missing");
    }
}

#[test]
fn examples_with_threads_are_canonical_and_for_the_oracle_alone() {
    let mut count = 0;
    for (language, text, line) in blocks() {
        if language == "prog-threads" {
            let program = Program::load_concurrent(&text)
                .unwrap_or_else(|e| panic!("{}", e.render(&format!("line {line}"))));
            assert_eq!(program.to_string(), text, "example at line {line}");
            assert!(Program::load(&text).is_err());
            count += 1;
        }
    }
    assert!(count >= 1);
}
