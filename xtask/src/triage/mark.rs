//! Marking as known: an entry of known.toml, and its program.

use super::{Row, TriageArgs};
use crate::exit::{say, Exit, UsageError};
use crate::past::point;
use anyhow::{Context, Result};
use harness::campaign::{Bucket, Known};
use oracle::program::Program;
use std::path::{Path, PathBuf};

/// Writes an entry of known.toml and its program; both or none.
pub fn mark(
    args: &TriageArgs,
    rows: &[Row],
    row: &Row,
    run: &Path,
    workspace: &Path,
) -> Result<Exit> {
    let (Some(name), Some(reasoning), Some(source)) = (&args.name, &args.reasoning, &args.source)
    else {
        return Err(UsageError("--known wants --name, --reasoning and --source".into()).into());
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(
            UsageError(format!("--name {name}: small letters, digits and `-` only")).into(),
        );
    }
    let findings = match &args.findings {
        Some(findings) => findings.clone(),
        None => workspace.join("corpus/findings"),
    };
    let known = findings.join("known.toml");
    let before = std::fs::read_to_string(&known).with_context(|| known.display().to_string())?;
    let same: Vec<&Row> = rows.iter().filter(|r| r.bucket == row.bucket).collect();
    let from = match &args.program {
        Some(program) => program.clone(),
        None => shortest(&same, run),
    };
    let program = std::fs::read_to_string(&from)
        .map_err(|e| UsageError(format!("{}: {e}", from.display())))?;
    let beside = findings.join(format!("{name}.prog"));
    if beside.exists() {
        return Err(UsageError(format!("{} is there already", beside.display())).into());
    }
    let bucket = &row.bucket;
    let mut entry = String::from("\n[[finding]]\n");
    for (key, value) in [
        ("id", name.as_str()),
        ("op", &bucket.op),
        ("rule", &bucket.rule),
        ("expected", &bucket.expected),
        ("observed", &bucket.observed),
        ("bucket", &bucket.to_string()),
    ] {
        entry += &format!("{key} = {}\n", toml_text(value));
    }
    entry += &format!(
        "kernels_with = [{}]\nkernels_without = []\n",
        kernels(&same, args.whole_series).join(", ")
    );
    for (key, value) in [
        ("program", format!("{name}.prog").as_str()),
        ("reasoning", reasoning),
        ("source", source),
        ("status", args.status.as_str()),
    ] {
        entry += &format!("{key} = {}\n", toml_text(value));
    }
    if let Some(link) = &args.link {
        entry += &format!("link = {}\n", toml_text(link));
    }
    vm_images::files::write_atomically(&beside, program.as_bytes())?;
    vm_images::files::write_atomically(&known, (before.clone() + &entry).as_bytes())?;
    if let Err(error) = Known::load(&known) {
        // As it was: an entry that cannot be used would stop every campaign.
        vm_images::files::write_atomically(&known, before.as_bytes())?;
        std::fs::remove_file(&beside).with_context(|| beside.display().to_string())?;
        return Err(error.into());
    }
    say!(
        "{}\n{entry}\nits program: {}\n",
        known.display(),
        from.display()
    );
    Ok(Exit::Fine)
}

/// The kernels on which it was seen, as known.toml names them: releases alone, unless somebody answers for their series.
fn kernels(rows: &[&Row], whole_series: bool) -> Vec<String> {
    let name = |row: &&Row| {
        let series = || vm_images::version::series(&row.release);
        let version = match whole_series {
            true => series().unwrap_or_else(|| point(&row.release)),
            false => point(&row.release),
        };
        toml_text(&format!("{} {version}", row.arch))
    };
    let mut kernels: Vec<String> = rows.iter().map(name).collect();
    kernels.sort();
    kernels.dedup();
    kernels
}

/// The shortest program of a bucket that the run's folder has: what `report` or `minimize` made of one of its programs and left there,
/// else the first of the run.
fn shortest(rows: &[&Row], run: &Path) -> PathBuf {
    let Some(first) = rows.first() else {
        return PathBuf::new();
    };
    let id = first.bucket.id();
    let mut made = vec![run.join(format!("buckets/{id}/{id}.prog"))];
    for entry in std::fs::read_dir(run.join("divergences"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let of = |row: &&Row| name.starts_with(&format!("{}.min", row.id));
        if name.ends_with(".prog") && rows.iter().any(of) {
            made.push(entry.path());
        }
    }
    made.sort();
    let ops = |path: &PathBuf| ops(path, &first.bucket);
    let shortest = made
        .into_iter()
        .filter_map(|path| Some((ops(&path)?, path)))
        .min();
    shortest.map_or_else(|| run.join(&first.program), |(_, path)| path)
}

/// Ops of a minimized program that says of itself that it ends in the bucket; `None` of any other.
fn ops(path: &Path, bucket: &Bucket) -> Option<usize> {
    let program = Program::load(&std::fs::read_to_string(path).ok()?).ok()?;
    let bucket = bucket.to_string();
    let says = program.about.iter().any(|line| line.trim() == bucket);
    says.then_some(program.steps.len())
}

/// A string as TOML has it.
fn toml_text(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, release: &str) -> Row {
        Row {
            id: id.into(),
            bucket: Bucket {
                op: "fork".into(),
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

    #[test]
    fn a_release_does_not_stand_for_its_series() {
        let rows = [row("d-1", "6.18.5+deb13-cloud-amd64"), row("d-2", "7.3.4")];
        let rows: Vec<&Row> = rows.iter().collect();
        assert_eq!(
            kernels(&rows, false),
            ["\"x86_64 6.18.5\"", "\"x86_64 7.3.4\""]
        );
        assert_eq!(kernels(&rows, true), ["\"x86_64 6.18\"", "\"x86_64 7.3\""]);
    }

    #[test]
    fn a_minimized_program_of_the_same_bucket_is_taken() {
        let run = tempfile::tempdir().unwrap();
        std::fs::create_dir(run.path().join("divergences")).unwrap();
        let put = |name: &str, about: &str, ops: usize| {
            let op = "mmap 0+0..0+4 rw private fixed\n";
            let text = format!("# {about}\n\n{}", op.repeat(ops));
            let path = run.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let row = row("d-1", "7.3.4");
        let taken = || shortest(&[&row], run.path());
        let bucket = row.bucket.to_string();
        assert!(taken().ends_with("divergences/d-1.prog"));
        // Of another bucket, or of another divergence.
        put("divergences/d-1.min.prog", "fork: other: a -> b", 1);
        put("divergences/d-11.min.prog", &bucket, 1);
        assert!(taken().ends_with("divergences/d-1.prog"), "{:?}", taken());
        put("divergences/d-1.min-2.prog", &bucket, 3);
        assert!(taken().ends_with("d-1.min-2.prog"));
        let id = row.bucket.id();
        put(&format!("buckets/{id}/{id}.prog"), &bucket, 2);
        assert!(taken().ends_with(format!("{id}.prog")));
    }
}
