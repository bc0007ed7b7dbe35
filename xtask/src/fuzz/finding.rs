//! What a finding is made into, so that people can go on from it: a program that they can read, made as short as it gets.

use super::tool;
use crate::exit::{say, Exit};
use anyhow::{Context, Result};
use harness::fuzzing::{race, simulated};
use harness::report::quoted;
use oracle::program::Program;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// libFuzzer gives up when it has found nothing shorter for so long, in seconds; and it is stopped after so long in all.
const STEP: u64 = 10;
const MOST: Duration = Duration::from_secs(120);

/// Says what a finding is, makes it shorter where that costs no boots, and says how to go on.
///
/// # Errors
/// Files cannot be written.
pub fn tell(target: &str, program: &Path, path: &Path, workspace: &Path) -> Result<()> {
    say!("finding: {}\n", path.display());
    let fault = std::env::var("MMDIFF_FAULT").ok();
    if tool::needs_kernels(target) {
        return next(target, path);
    }
    if let ("simulated", Some(fault)) = (target, fault) {
        let path = path.display().to_string();
        let words = ["minimize", &path, "--simulated", &fault].map(String::from);
        return match crate::verb(&words) {
            Ok(crate::Verb::Minimize(args)) => match crate::minimize::run(&args, workspace) {
                Ok(Exit::Fine) => Ok(()),
                Ok(_) => say_to_show(&path),
                Err(why) => {
                    eprintln!("it could not be made shorter: {why:#}");
                    say_to_show(&path)
                }
            },
            _ => say_to_show(&path),
        };
    }
    let short = shortened(program, path)?;
    let path = match &short {
        Some(short) => {
            say!("shorter: {}\n", short.display());
            short
        }
        None => path,
    };
    next(target, path)
}

/// How to go on.
fn next(target: &str, path: &Path) -> Result<()> {
    let name = quoted(&path.display().to_string());
    let kernel = std::env::var("MMDIFF_KERNEL").ok();
    let on = match kernel.as_deref() {
        Some(path) if path.contains('/') => format!("--kernel {}", quoted(path)),
        Some(names) => format!("--kernels {names}"),
        None => String::new(),
    };
    match target {
        "wire" => say!("  cargo +nightly fuzz run wire {name}      (once more)\n"),
        "race" | "simulated_arbitrary" => {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            let Some(made) = made(target, &bytes) else {
                say!("  it makes no program\n");
                return Ok(());
            };
            let beside = path.with_extension("prog");
            vm_images::files::write_atomically(&beside, made.to_string().as_bytes())?;
            say!("its bytes are choices of the generator; the program that they make:\n");
            say_to_show(&beside.display().to_string())?;
            say!("  cargo +nightly fuzz run {target} {name}      (once more)\n");
        }
        "vm_x86_64" => say!("  cargo xtask minimize {name} {on} --arch x86_64\n"),
        "vm_aarch64" => say!("  cargo xtask minimize {name} {on} --arch aarch64\n"),
        "vm_pair" => {
            // What one of them does wrong, or what they differ in.
            let pair = kernel.unwrap_or_else(|| "A,B".into());
            let (first, second) = pair.split_once(',').unwrap_or((&pair, "B"));
            let on = match first.contains('/') {
                true => format!("--kernel {}", quoted(first)),
                false => format!("--kernels {first}"),
            };
            let second = quoted(second);
            say!("  cargo xtask minimize {name} {on} --arch x86_64 --against {second}\n");
        }
        _ => say_to_show(&path.display().to_string())?,
    }
    Ok(())
}

fn say_to_show(path: &str) -> Result<()> {
    say!("  cargo xtask show {}\n", quoted(path));
    Ok(())
}

/// The program that a target makes of bytes which are none.
fn made(target: &str, bytes: &[u8]) -> Option<Program> {
    match target {
        "race" => Some(race::made_of(bytes)),
        "simulated_arbitrary" => simulated::made_of(bytes),
        _ => None,
    }
}

/// Has libFuzzer look for a shorter input that goes wrong. `None`: it found none.
fn shortened(program: &Path, path: &Path) -> Result<Option<PathBuf>> {
    let short = path.with_extension("min");
    let mut child = tool::run(program, &[path])
        .arg("-minimize_crash=1")
        .arg(format!("-max_total_time={STEP}"))
        .arg(format!("-exact_artifact_path={}", short.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the target cannot be run")?;
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > MOST {
            // What it has so far is in the file.
            child.kill()?;
            child.wait()?;
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let length = |path: &Path| std::fs::metadata(path).map(|about| about.len());
    match length(&short) {
        Ok(now) if now < length(path)? => Ok(Some(short)),
        Ok(_) => {
            std::fs::remove_file(&short)?;
            Ok(None)
        }
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_has_one_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        for target in ["race", "simulated_arbitrary"] {
            let path = folder.path().join(format!("crash-{target}"));
            std::fs::write(&path, [7; 300]).unwrap();
            next(target, &path).unwrap();
            let text = std::fs::read_to_string(path.with_extension("prog")).unwrap();
            let made = Program::load_concurrent(&text).unwrap();
            assert!(!made.steps.is_empty(), "{target}");
        }
    }
}
