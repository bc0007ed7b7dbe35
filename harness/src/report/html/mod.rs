//! report.html: a run on one page that needs nothing else, no network and no script to be read. Whatever comes from a guest is text.
//!
//! | file | subject |
//! | --- | --- |
//! | `data` | what the page shows, read from the run's folder |
//! | `strips` | page strips in colour; the letters stay, for who does not see colours |
//! | `page.css`, `page.js` | how it looks; filters and steps |

mod data;
mod strips;

use super::matrix::MATRIX_COLUMNS;
use super::read::{Ran, RanError};
use data::{Entry, Page};
use maud::{html, Markup, PreEscaped, DOCTYPE};
use oracle::rules::RULES;
use std::path::Path;

/// The page of a run, made from the files in its folder.
///
/// # Errors
/// The folder is not that of a run, or another version of mmdiff wrote it.
pub fn html_report(folder: &Path) -> Result<String, RanError> {
    let page = Page::of(Ran::read(folder)?)?;
    Ok(whole(&page).into_string())
}

fn whole(page: &Page) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "mmdiff " (page.ran.record.started) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                (top(page))
                h2 id="matrix" { "Matrix" }
                (matrix(page))
                h2 id="buckets" { "Buckets" }
                (buckets(page))
                (fixed(page))
                h2 id="boundaries" { "Boundaries: what changed from one kernel to the next" }
                (boundaries(page))
                h2 id="throughput" { "Throughput" }
                (throughput(page))
                h2 id="rules" { "Rules exercised" }
                (rules(page))
                script { (PreEscaped(include_str!("page.js"))) }
            }
        }
    }
}

fn top(page: &Page) -> Markup {
    html! {
        h1 { "mmdiff: run of " (page.ran.record.started) }
        p { code { "cargo xtask " (page.ran.record.command.join(" ")) } }
        p {
            (page.programs()) " programs on " (page.matrix.len()) " kernels, "
            (page.new_buckets()) " new buckets, " (page.known_findings()) " known findings met. "
            @if !page.ran.is_finished() { strong { "The run did not come to its end (" (page.ran.record.end) "): this is what it had. " } }
            @if let Some(what) = &page.ran.left_out { strong { (what) ". " } }
        }
        @for host in &page.hosts { p.where { (host) } }
        nav {
            @for (id, name) in [("matrix", "Matrix"), ("buckets", "Buckets"), ("boundaries", "Boundaries"), ("throughput", "Throughput"), ("rules", "Rules")] {
                a href={ "#" (id) } { (name) } " "
            }
        }
    }
}

/// matrix.csv, its rates apart.
fn matrix(page: &Page) -> Markup {
    let counts = ["divergences", "hangs", "crashes", "infra_errors"];
    html! {
        div.scroll { table {
            thead { tr { @for name in MATRIX_COLUMNS { th { (name.replace('_', " ")) } } } }
            tbody { @for row in &page.matrix { tr {
                @for name in MATRIX_COLUMNS {
                    @let value = row.get(name).map_or("", String::as_str);
                    td.bad[counts.contains(&name) && value != "0"] { (value) }
                }
            } } }
        } }
        @if page.matrix.is_empty() { p { "No kernel was through." } }
    }
}

fn buckets(page: &Page) -> Markup {
    let select = |name: &str, any: &str, values: Vec<&str>| {
        html! {
            label { (any) ": " select name=(name) {
                option value="" { "all" }
                @for value in values { option value=(value) { (value) } }
            } }
        }
    };
    html! {
        @if page.entries.is_empty() { p { "None: every step of every program is what the rules allow." } }
        div.filters {
            (select("arch", "architecture", page.values(|e| &e.archs)))
            (select("kernel", "kernel", page.values(|e| &e.kernels)))
            (select("op", "op", page.values(|e| &e.ops)))
            (select("kind", "kind", vec!["new", "known"]))
        }
        p { output id="shown" { (page.entries.len()) " buckets" } }
        (strips::legend())
        @for entry in &page.entries { (bucket(entry)) }
    }
}

/// What is known and did not happen.
fn fixed(page: &Page) -> Markup {
    html! {
        @if !page.fixed.is_empty() {
            h2 id="fixed" { "Known findings that did not happen" }
            ul { @for (id, kernels) in &page.fixed {
                li { code { (id) } ": fixed on " (kernels.join(", ")) "? (corpus/findings/known.toml says that it is there)" }
            } }
        }
    }
}

fn bucket(entry: &Entry) -> Markup {
    html! {
        article id=(entry.id) data-arch=(entry.archs.join(" ")) data-kernel=(entry.kernels.join(" ")) data-op=(entry.ops.join(" ")) data-kind=(entry.kind) {
            details {
                summary {
                    code { (entry.title) } span.kind { (entry.kind) }
                    span.where { (entry.seen.join("; ")) }
                }
                div.inside {
                    @for note in &entry.notes { p { (note) } }
                    @if let Some(picture) = &entry.picture {
                        p { (picture.text) }
                        pre { (picture.rule) }
                        p.where { "program " (picture.program) " on " (picture.kernel) ": divergences/" (picture.id) ".prog" }
                        (strips::steps(picture))
                        @if !picture.console.trim().is_empty() { pre { (picture.console) } }
                    }
                }
            }
        }
    }
}

fn boundaries(page: &Page) -> Markup {
    html! {
        @if page.boundaries.is_empty() { p { "None was met." } }
        @else { div.scroll { table {
            thead { tr { @for name in &page.boundary_columns { th.words { (name.replace('_', " ")) } } } }
            tbody { @for row in &page.boundaries { tr { @for value in row { td.words { (value) } } } } }
        } } }
    }
}

fn throughput(page: &Page) -> Markup {
    let rate = |row: &data::MatrixRow| {
        let text = row.get("programs_per_second").map_or("", String::as_str);
        text.parse::<f64>().unwrap_or(0.0)
    };
    let most = page.matrix.iter().map(rate).fold(1.0, f64::max);
    html! {
        div.scroll { table {
            thead { tr { th { "kernel" } th { "boot, s" } th { "programs/s" } th.words { "" } } }
            tbody { @for row in &page.matrix { tr {
                td { (row.get("release").map_or("", String::as_str)) }
                td { (row.get("boot_seconds").map_or("", String::as_str)) }
                td { (format!("{:.1}", rate(row))) }
                td.words { div.track { span.bar style=(format!("width:{:.0}%", 100.0 * rate(row) / most)) {} } }
            } } }
        } }
    }
}

/// Every rule with the number of kernels on which it was exercised.
fn rules(page: &Page) -> Markup {
    let through = page.ran.rows.len();
    let on = |name: &str| {
        page.ran
            .rows
            .iter()
            .filter(|row| row.rules.contains(name))
            .count()
    };
    let some: Vec<_> = RULES.iter().filter(|rule| on(rule.name) > 0).collect();
    let none: Vec<_> = RULES.iter().filter(|rule| on(rule.name) == 0).collect();
    html! {
        p { (some.len()) " of " (RULES.len()) " rules were exercised on at least one of " (through) " kernels." }
        details { summary { "Exercised" } div.inside { div.scroll { table {
            thead { tr { th { "rule" } th { "kernels" } } }
            tbody { @for rule in &some { tr { td { code { (rule.name) } } td { (on(rule.name)) " of " (through) } } } }
        } } } }
        details { summary { "Not exercised" } div.inside { ul {
            @for rule in &none { li { code { (rule.name) } " (" (rule.since) ")" } }
        } } }
    }
}

#[cfg(test)]
mod tests;
