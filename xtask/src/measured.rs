//! Measurements that stay: a folder per run under bench/runs/, with the figures and how they came about.

use crate::{built, folders};
use anyhow::{Context, Result};
use harness::kernel::vm;
use harness::report::Host;
use std::path::{Path, PathBuf};
use vm_images::Arch;

/// Writes `name` (a csv of `header` and `rows`) to a new folder; see [`folder`]. Returns the folder.
///
/// # Errors
/// It cannot be written.
pub fn keep(
    workspace: &Path,
    what: &str,
    name: &str,
    header: &[&str],
    rows: &[Vec<String>],
) -> Result<PathBuf> {
    let folder = folder(workspace, what)?;
    csv(&folder.join(name), header, rows)?;
    Ok(folder)
}

/// Writes a csv of `header` and `rows`.
///
/// # Errors
/// It cannot be written.
pub fn csv(path: &Path, header: &[&str], rows: &[Vec<String>]) -> Result<()> {
    let said = || format!("{} cannot be written", path.display());
    let mut writer = csv::Writer::from_path(path).with_context(said)?;
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.flush().with_context(said)
}

/// A new folder under bench/runs/, with about.txt in it: date, host, QEMU, commit and command.
///
/// # Errors
/// It cannot be written.
pub fn folder(workspace: &Path, what: &str) -> Result<PathBuf> {
    let stamp = folders::timestamp();
    let folder = workspace.join("bench/runs").join(format!("{stamp}-{what}"));
    let said = || format!("{} cannot be written", folder.display());
    std::fs::create_dir_all(&folder).with_context(said)?;
    let host = Host::look();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let about = format!(
        "date: {stamp} UTC\nhost: {}, {} cores, {} MiB, {}, Linux {}\nqemu: {}\ncommit: {}\ncommand: cargo xtask {}\n",
        host.cpu,
        host.cores,
        host.memory_mib,
        host.os,
        host.kernel,
        qemu(),
        built::commit(workspace),
        words.join(" ")
    );
    std::fs::write(folder.join("about.txt"), about).with_context(said)?;
    Ok(folder)
}

/// Which QEMU there is for each architecture.
fn qemu() -> String {
    let there = Arch::ALL.into_iter().filter_map(|arch| {
        let version = vm::version(arch).ok()?;
        Some(format!("{version} ({arch})"))
    });
    match there.collect::<Vec<_>>().as_slice() {
        [] => "none".into(),
        there => there.join(", "),
    }
}

/// A table for a terminal: names to the left, columns as wide as they must be.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |i: usize| {
        rows.iter()
            .map(|row| row[i].chars().count())
            .chain([header[i].len()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        padded.join("  ").trim_end().to_string() + "\n"
    };
    let head: Vec<String> = header.iter().map(|h| h.to_string()).collect();
    rows.iter().fold(line(&head), |text, row| text + &line(row))
}
