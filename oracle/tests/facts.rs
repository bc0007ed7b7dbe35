//! The checklist of facts, `corpus/facts/facts.csv`: each fact about Linux names the programs of the corpus that show it, or
//! says why none does. What the programs expect is checked with the rest of the corpus.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One line of the checklist.
struct Fact {
    /// Its line in the file, the heading being the first.
    line: u64,
    section: String,
    fact: String,
    /// Programs, relative to the corpus, without empty ones.
    programs: Vec<String>,
    why_not: String,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

fn facts() -> Vec<Fact> {
    let path = corpus().join("facts/facts.csv");
    let mut reader = csv::Reader::from_path(path).expect("a readable checklist");
    let headers = reader.headers().expect("a heading").clone();
    let columns: Vec<&str> = headers.iter().collect();
    assert_eq!(columns, ["section", "fact", "program", "why_not"]);
    let one = |record: Result<csv::StringRecord, csv::Error>| {
        let record = record.expect("a line of four columns");
        let split = record[2].split(';').map(str::to_string);
        Fact {
            line: record.position().expect("a position").line(),
            section: record[0].to_string(),
            fact: record[1].to_string(),
            programs: split.filter(|p| !p.is_empty()).collect(),
            why_not: record[3].to_string(),
        }
    };
    reader.records().map(one).collect()
}

#[test]
fn a_fact_is_shown_or_says_why_not() {
    let mut shown = 0;
    for fact in facts() {
        let Fact { line, .. } = fact;
        assert!(!fact.section.is_empty(), "line {line} has no section");
        assert!(!fact.fact.is_empty(), "line {line} has no fact");
        assert_ne!(
            fact.programs.is_empty(),
            fact.why_not.is_empty(),
            "line {line} has either programs or a reason: {}",
            fact.fact
        );
        shown += usize::from(!fact.programs.is_empty());
    }
    assert!(shown >= 150, "{shown} facts are shown");
}

#[test]
fn the_programs_of_a_fact_exist() {
    for fact in facts() {
        let mut once = BTreeSet::new();
        for program in &fact.programs {
            let at = format!("line {}: {program}", fact.line);
            assert!(program.ends_with(".prog"), "{at} is no program");
            assert!(
                !program.contains(".."),
                "{at} is not a path inside the corpus"
            );
            assert!(corpus().join(program).is_file(), "{at} does not exist");
            assert!(once.insert(program), "{at} stands there twice");
        }
    }
}

#[test]
fn no_fact_is_listed_twice() {
    let mut seen = BTreeSet::new();
    for fact in facts() {
        let Fact { line, fact, .. } = fact;
        assert!(seen.insert(fact.clone()), "line {line} again: {fact}");
    }
}

#[test]
fn every_program_written_for_a_fact_is_named_by_one() {
    let named: BTreeSet<String> = facts().into_iter().flat_map(|f| f.programs).collect();
    let mut programs = 0;
    for entry in std::fs::read_dir(corpus().join("facts")).expect("the folder of facts") {
        let path = entry.expect("an entry of the folder").path();
        if path.extension().is_some_and(|e| e == "prog") {
            let name = path.file_name().expect("a name").to_string_lossy();
            let relative = format!("facts/{name}");
            assert!(named.contains(&relative), "no fact names {relative}");
            programs += 1;
        }
    }
    assert!(programs > 0, "no program was looked for");
}
