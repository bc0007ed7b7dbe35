//! `cargo xtask rules`: the oracle's rules as a book, and what differs between kernels.

use crate::exit::{say, Exit, UsageError};
use crate::show::{named, oracle_arch};
use anyhow::{Context, Result};
use clap::Args;
use oracle::profile::{Arch, Behaviour, Release, Span, BEHAVIOURS};
use oracle::rules::{Rule, RULES};
use std::path::Path;

/// Where the book is kept.
const PAGE: &str = "docs/rules.md";

/// Prints the rule book: every rule of the oracle with its source, and the behaviours that differ between kernels.
///
/// Examples:
///   cargo xtask rules guard/              only rules whose name begins so
///   cargo xtask rules --diff 6.18.5,7.3   what the table says changed between two releases
///   cargo xtask rules --write             brings docs/rules.md up to date
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct RulesArgs {
    /// Only rules whose name begins with this.
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    /// Two releases (or rfc-2024) with a comma: prints the behaviours that one has and the other has not.
    #[arg(long, value_name = "A,B", conflicts_with = "prefix")]
    diff: Option<String>,
    /// Architecture that --diff is about.
    #[arg(long, value_name = "ARCH", default_value = "x86_64", requires = "diff")]
    arch: vm_images::Arch,
    /// Writes docs/rules.md in place of printing.
    #[arg(long, conflicts_with_all = ["prefix", "diff"])]
    write: bool,
}

/// Carries out `rules`.
pub fn run(args: &RulesArgs, workspace: &Path) -> Result<Exit> {
    if args.write {
        let path = workspace.join(PAGE);
        std::fs::write(&path, book()).with_context(|| path.display().to_string())?;
        say!("{PAGE}: {} rules\n", RULES.len());
    } else if let Some(pair) = &args.diff {
        say!("{}", diff(pair, oracle_arch(args.arch))?);
    } else {
        let prefix = args.prefix.as_deref().unwrap_or_default();
        let mut found = RULES.iter().filter(|rule| rule.name.starts_with(prefix));
        let Some(first) = found.next() else {
            return Err(UsageError(format!(
                "no rule's name begins with `{prefix}`; families are {}",
                families().join(", ")
            ))
            .into());
        };
        if prefix.is_empty() {
            say!("{}", book());
        } else {
            for rule in std::iter::once(first).chain(found) {
                say!("{}", entry(rule));
            }
        }
    }
    Ok(Exit::Fine)
}

fn family(rule: &Rule) -> &'static str {
    rule.name.split('/').next().unwrap_or_default()
}

/// The families, in the order of the rules.
fn families() -> Vec<&'static str> {
    let mut families: Vec<&str> = Vec::new();
    for rule in RULES {
        if !families.contains(&family(rule)) {
            families.push(family(rule));
        }
    }
    families
}

/// The whole book, in Markdown.
fn book() -> String {
    let mut text = format!(
        "# The rules\n\nWhat the oracle of mmdiff holds for true about Linux: {} rules, each implemented beside its text in \
         `oracle/src/rules/` and\nshown by a program in `oracle/src/rules/tests/`. `cargo xtask rules --write` makes this page.\n\n",
        RULES.len()
    );
    for name in families() {
        text += &format!("## {name}\n\n");
        for rule in RULES.iter().filter(|rule| family(rule) == name) {
            text += &entry(rule);
        }
    }
    text += "## Behaviours that differ between kernels\n\nThe oracle sees these as flags. Where there is a probe, the running kernel is \
             asked, so that a backport does not fool it;\nelsewhere the release decides.\n\n";
    for behaviour in BEHAVIOURS {
        text += &format!(
            "### {}\n\n{}.\n\n- Kernels: {}{}\n- Source: {}\n\n",
            behaviour.name,
            behaviour.what,
            spans(behaviour),
            if behaviour.probe.is_some() {
                " (a probe tells)"
            } else {
                ""
            },
            behaviour.source
        );
    }
    text
}

fn entry(rule: &Rule) -> String {
    let about: Vec<&str> = rule.about.iter().map(|class| class.word()).collect();
    let from = if rule.since.starts_with(|c: char| c.is_ascii_digit()) {
        "from "
    } else {
        ""
    };
    format!(
        "### {}\n\n{}\n\n- Kernels: {from}{}\n- Source: {}\n- Speaks about: {}\n\n",
        rule.name,
        rule.text,
        rule.since,
        rule.source,
        about.join(", ")
    )
}

fn spans(behaviour: &Behaviour) -> String {
    if behaviour.spans.is_empty() {
        return "no release".into();
    }
    let words: Vec<String> = behaviour.spans.iter().map(span).collect();
    words.join("; ")
}

fn span(span: &Span) -> String {
    let when = match (span.from > Release(0, 0, 0), span.until.0 < u16::MAX) {
        (false, false) => "all".to_owned(),
        (true, false) => format!("from {}", span.from),
        (false, true) => format!("before {}", span.until),
        (true, true) => format!("from {} and before {}", span.from, span.until),
    };
    match span.archs {
        [Arch::X86_64] => format!("{when}, x86-64 only"),
        [Arch::Aarch64] => format!("{when}, arm64 only"),
        _ => when,
    }
}

/// The behaviours that part two releases.
fn diff(pair: &str, arch: Arch) -> Result<String> {
    let Some((a, b)) = pair.split_once(',') else {
        return Err(UsageError(format!(
            "--diff takes two releases with a comma, such as 6.18.5,7.3, not `{pair}`"
        ))
        .into());
    };
    let (left, right) = (named(a)?.profile(arch), named(b)?.profile(arch));
    let mut text = String::new();
    for behaviour in BEHAVIOURS {
        let (l, r) = (behaviour.get(&left), behaviour.get(&right));
        if l != r {
            let has = if r { b } else { a };
            text += &format!(
                "{} (only {has})\n    {}\n    {}\n",
                behaviour.name, behaviour.what, behaviour.source
            );
        }
    }
    if text.is_empty() {
        text = format!("the table knows no difference between {a} and {b}\n");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_fresh() {
        let path = crate::workspace().join(PAGE);
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == book(),
            "{PAGE} is out of date: cargo xtask rules --write"
        );
    }

    #[test]
    fn releases_are_told_apart() {
        let text = diff("6.18.5,6.19", Arch::X86_64).unwrap();
        assert!(text.contains("maybe_guard"), "{text}");
        assert!(!text.contains("pagemap_scan"), "{text}");
        let same = diff("7.2.1,7.2.12", Arch::X86_64).unwrap();
        assert!(same.contains("no difference"), "{same}");
        assert!(diff("6.18", Arch::X86_64).is_err());
        assert!(diff("6.18,seven", Arch::X86_64).is_err());
    }
}
