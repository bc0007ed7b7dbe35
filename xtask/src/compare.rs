//! `cargo xtask compare A B`: the same programs on two kernels.

use crate::exit::{say, Exit, UsageError};
use crate::folders::Held;
use crate::rig::{one, AccelChoice, KernelOptions, Rig};
use crate::vm_matrix::corpus;
use crate::{interrupt, known};
use anyhow::{Context, Result};
use clap::Args;
use harness::campaign::{compare, divergence_id, Bucket, PairResult, PairSettings};
use harness::kernel::KernelSource;
use harness::report::{command, options, quoted, wrap, BOUNDARY_COLUMNS};
use oracle::profile::BEHAVIOURS;
use oracle::program::Program;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use vm_images::Arch;

/// Runs the same programs on two kernels and says what each does differently.
///
/// For every class of difference: the rows of the table of behaviours that explain it (`cargo xtask rules` has the table), and
/// the first program that shows it. What no row explains is a difference that nobody has understood yet, even where
/// the oracle permits what both do. Exit code 0: everything is explained; 1: something is not.
///
/// A first use: your base against your patch.
///
/// Examples:
///   cargo xtask compare 6.18.5 7.3
///   cargo xtask compare 7.2 7.3 --arch x86_64 --programs 5000 --seed 7
///   cargo xtask compare ~/base/bzImage ~/patched/bzImage
///   cargo xtask compare 7.3 ~/linux/arch/x86/boot/bzImage --corpus corpus/guard
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct CompareArgs {
    /// The first kernel: a series (7.3), a point release (6.18.5), or the path of an image (bzImage or Image).
    a: String,
    /// The second one.
    b: String,
    /// Architectures: x86_64, aarch64, or both with a comma. Default: those that both kernels are to be had for.
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    arch: Vec<Arch>,
    /// Generated programs. 0: the corpus alone.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    programs: u64,
    /// Chooses the generated programs.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Programs of your own: a .prog file or a folder; may be given several times. Default: corpus/.
    #[arg(long, value_name = "PATH")]
    corpus: Vec<PathBuf>,
    /// Where results go: compare.csv, the first program of each class, console logs. Default: a new folder under
    /// target/mmdiff/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How QEMU runs them. `auto`: KVM where a probe boot with it works (remembered), TCG otherwise.
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    accel: AccelChoice,
    /// More kernel arguments, for both.
    #[arg(
        long,
        value_name = "KERNEL-ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    append: String,
}

/// Carries out `compare`.
pub fn run(args: &CompareArgs, workspace: &Path) -> Result<Exit> {
    let stop = interrupt::stop_flag();
    let settings = PairSettings {
        seed: args.seed,
        programs: args.programs,
        corpus: corpus(&args.corpus, workspace)?,
        reruns: 5,
        known: known::load(workspace)?,
    };
    let path = Held::run(workspace, args.out.as_deref())?;
    let consoles = path.make("consoles")?;
    path.make("programs")?;
    let like = KernelOptions {
        kernels: None,
        arch: args.arch.clone(),
        kernel: Vec::new(),
        accel: args.accel,
        append: args.append.clone(),
    };
    let rigs = [
        one(&args.a, &like, workspace, &consoles)?,
        one(&args.b, &like, workspace, &consoles)?,
    ];
    let pairs = pairs([&args.a, &args.b], &rigs)?;
    let mut table = csv::Writer::from_path(path.join("compare.csv"))
        .with_context(|| path.join("compare.csv").display().to_string())?;
    table.write_record(BOUNDARY_COLUMNS)?;
    let (mut found, mut stopped) = (false, false);
    for pair in pairs {
        let started = Instant::now();
        let said = AtomicU64::new(0);
        let progress = |done: u64, total: u64| {
            // A line every five seconds is enough for a terminal and for a log.
            let seconds = started.elapsed().as_secs();
            if done == total || seconds >= said.load(Ordering::Relaxed) + 5 {
                said.store(seconds, Ordering::Relaxed);
                eprintln!(
                    "{}: {done} of {total} programs on both, {seconds} s",
                    pair[0].arch()
                );
            }
        };
        let result = compare(&settings, pair, stop, &progress)?;
        found |= !result.unexplained.is_empty();
        stopped |= result.interrupted;
        say!("{}", text(&result));
        let kept = write(&result, &path, &mut table)?;
        if !kept.is_empty() {
            say!("\nto cut a program down to what they differ in:\n");
        }
        for file in kept {
            let mut words = vec![
                "cargo xtask minimize".to_string(),
                quoted(&file.display().to_string()),
            ];
            words.extend(options(&pair[0].options()));
            words.push(format!("--against {}", quoted(&args.b)));
            say!("{}", command(&words));
        }
        table.flush()?;
        if result.interrupted {
            break;
        }
    }
    say!("{}\n", path.display());
    Ok(match (found, stopped) {
        (true, _) => Exit::Found,
        (false, true) => Exit::Interrupted,
        (false, false) => Exit::Fine,
    })
}

/// The kernels that can be compared: one of each side on the same architecture.
fn pairs<'r>(names: [&str; 2], rigs: &'r [Rig; 2]) -> Result<Vec<[&'r dyn KernelSource; 2]>> {
    let mut pairs: Vec<[&dyn KernelSource; 2]> = Vec::new();
    for arch in ["x86_64", "aarch64"] {
        let of = |rig: &'r Rig| -> Vec<&'r dyn KernelSource> {
            let all = rig.sources.iter().map(AsRef::as_ref);
            all.filter(|source| source.arch() == arch).collect()
        };
        let (a, b) = (of(&rigs[0]), of(&rigs[1]));
        for (name, side) in names.into_iter().zip([&a, &b]) {
            if side.len() > 1 {
                let labels: Vec<&str> = side.iter().map(|source| source.label()).collect();
                let what = format!(
                    "`{name}` is several kernels on {arch} ({}): name one",
                    labels.join(", ")
                );
                return Err(UsageError(what).into());
            }
        }
        if let (Some(a), Some(b)) = (a.first(), b.first()) {
            pairs.push([*a, *b]);
        }
    }
    if pairs.is_empty() {
        let what = format!(
            "`{}` and `{}` have no architecture in common",
            names[0], names[1]
        );
        return Err(UsageError(what).into());
    }
    Ok(pairs)
}

/// The comparison in words: by rows of the table, then what nothing explains.
pub fn text(result: &PairResult) -> String {
    let [a, b] = &result.kernels;
    let mut text = format!(
        "{} against {}, {}: {} programs on both, {} the same, {} permitted either way, {} met what is known (corpus/findings)\n",
        a.release,
        b.release,
        a.arch,
        result.programs,
        result.same,
        result.permitted,
        result.known
    );
    let mut by_rows: BTreeMap<&[String], Vec<_>> = BTreeMap::new();
    for (change, _) in &result.explained {
        by_rows.entry(&change.rows).or_default().push(change);
    }
    for (rows, mut changes) in by_rows {
        text.push('\n');
        for row in BEHAVIOURS
            .iter()
            .filter(|row| rows.iter().any(|name| name == row.name))
        {
            text += &wrap(&format!("{}: {}\n    {}\n", row.name, row.what, row.source));
        }
        changes.sort_by_key(|change| std::cmp::Reverse(change.programs));
        for change in changes {
            let (n, first) = (change.programs, &change.first_program);
            text += &format!("  {n:>6}  {}  (first: {first})\n", change.bucket);
        }
    }
    if result.unexplained.is_empty() {
        text += "\neverything that differs is explained\n";
    } else {
        text += "\nunexplained:\n";
        for one in &result.unexplained {
            text += &format!(
                "  {:>6}  {}  (first: {})\n",
                one.programs, one.what, one.first_program
            );
        }
    }
    text
}

/// The rows of compare.csv, and the first program of each class under programs/. The programs of what nothing explains.
///
/// # Errors
/// They cannot be written.
pub fn write(
    result: &PairResult,
    path: &Path,
    table: &mut csv::Writer<std::fs::File>,
) -> Result<Vec<PathBuf>> {
    let mut unexplained = Vec::new();
    let [a, b] = &result.kernels;
    let keep = |id: &str, program: &Program| {
        let file = path.join("programs").join(format!("{id}.prog"));
        std::fs::write(&file, program.to_string()).with_context(|| file.display().to_string())
    };
    for (change, program) in &result.explained {
        let id = divergence_id(&change.bucket, &program.to_string());
        keep(&id, program)?;
        let bucket = change.bucket.to_string();
        let file = format!("programs/{id}.prog");
        let rows = change.rows.join("+");
        table.write_record([
            &a.release,
            &b.release,
            &a.arch,
            &bucket,
            &change.bucket.rule,
            &file,
            &rows,
        ])?;
    }
    for one in &result.unexplained {
        let bucket = Bucket {
            op: String::new(),
            rule: one.rule.clone(),
            expected: String::new(),
            observed: one.what.clone(),
        };
        let id = divergence_id(&bucket, &one.program.to_string());
        keep(&id, &one.program)?;
        let file = format!("programs/{id}.prog");
        table.write_record([
            &a.release, &b.release, &a.arch, &one.what, &one.rule, &file, "no",
        ])?;
        unexplained.push(path.join(file));
    }
    Ok(unexplained)
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::kernel::simulated::Simulated;
    use std::sync::Arc;

    fn side(labels: &[&str]) -> Rig {
        let source = |label: &&str| {
            Arc::new(Simulated {
                label: label.to_string(),
                ..Simulated::default()
            }) as Arc<dyn KernelSource>
        };
        Rig {
            sources: labels.iter().map(source).collect(),
            machines: Vec::new(),
            origins: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    #[test]
    fn one_kernel_of_each_side_makes_a_pair() {
        let labels = |pair: &[&dyn KernelSource; 2]| pair.map(|source| source.label().to_string());
        let rigs = [side(&["7.2"]), side(&["7.3"])];
        let found = pairs(["7.2", "7.3"], &rigs).unwrap();
        assert_eq!(
            found.iter().map(labels).collect::<Vec<_>>(),
            [["7.2", "7.3"]]
        );
        let rigs = [side(&["6.18.5", "6.18"]), side(&["7.3"])];
        let error = pairs(["all", "7.3"], &rigs).err().unwrap().to_string();
        assert!(
            error.contains("6.18.5, 6.18") && error.contains("name one"),
            "{error}"
        );
        let rigs = [side(&[]), side(&["7.3"])];
        let error = pairs(["x", "7.3"], &rigs).err().unwrap().to_string();
        assert!(error.contains("no architecture in common"), "{error}");
    }
}
