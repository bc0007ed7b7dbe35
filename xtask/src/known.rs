//! Known findings of a run, for people: what was met, and what did not happen where it is said to be.

use anyhow::Result;
use harness::campaign::{Known, RowResult};
use harness::report::wrap;
use std::collections::BTreeMap;
use std::path::Path;

/// Those of this checkout.
///
/// # Errors
/// known.toml is wrong.
pub fn load(workspace: &Path) -> Result<Known> {
    Ok(Known::load(&workspace.join("corpus/findings/known.toml"))?)
}

/// Notes in each row which findings its kernel was found not to have any more. Only for kernels that were judged by their own rules.
pub fn note_fixed(known: &Known, rows: &mut [RowResult]) {
    // Without behaviours the kernel was not probed.
    for row in rows.iter_mut().filter(|row| !row.behaviours.is_empty()) {
        row.fixed = known
            .gone(&row.arch, &row.release, &row.behaviours, &row.held)
            .into_iter()
            .filter(|finding| !row.known_met.contains_key(&finding.id))
            .map(|finding| finding.id.clone())
            .collect();
    }
}

/// The findings that were met, with what they are, and those that seem to be fixed.
pub fn text(known: &Known, rows: &[RowResult]) -> String {
    let mut met: BTreeMap<&String, (u64, usize)> = BTreeMap::new();
    for (id, programs) in rows.iter().flat_map(|row| &row.known_met) {
        let (all, kernels) = met.entry(id).or_default();
        *all += programs;
        *kernels += 1;
    }
    let mut text = String::new();
    for (id, (programs, kernels)) in met {
        let mut line = format!("known: {id}");
        if let Some(finding) = known.get(id) {
            line += &format!(" ({}", finding.status.name());
            if let Some(link) = &finding.link {
                line += &format!("; {link}");
            }
            if let Some(other) = &finding.same_as {
                line += &format!("; the same cause as {other}");
            }
            line.push(')');
        }
        text += &wrap(&format!("{line}: {programs} programs on {kernels} kernels"));
    }
    for row in rows {
        for id in &row.fixed {
            text += &wrap(&format!(
                "known finding {id} does not happen on {} {}: fixed there? (known.toml)",
                row.arch, row.release
            ));
        }
    }
    text
}
