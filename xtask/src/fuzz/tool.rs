//! The nightly toolchain, cargo-fuzz and the programs that it builds.

use crate::setup::SetupError;
use anyhow::{bail, Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What cargo-fuzz builds for: this machine.
const TRIPLE: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// No red zones on stacks and no stacks of allocations: safe code cannot leave its variables, the two unsafe lines that targets run take
/// no pointers to any, and a fourth of the time of `oracle_laws` went there. What is static is watched, and the heap but in `oracle_laws`, which
/// takes its memory from another allocator than the sanitizer's.
const STACKS_APART: &str = "-Cllvm-args=-asan-stack=0 -Cllvm-args=-asan-use-after-return=never";

/// What is written in C++ and C is libFuzzer itself and an allocator: nothing of ours. The compiler crate hands the sanitizer of Rust's flags
/// on to them, and libFuzzer then took a third of the time of `oracle_laws` for adding up what an input reached.
const OTHERS_APART: &str = "-fno-sanitize=address";

/// The command that builds a target. What is compared is of no use to mutation of programs, and noting it costs a third of the time.
pub fn build_command(target: &str) -> Command {
    let mut command = nightly(&["fuzz", "build", "--no-trace-compares", target]);
    command.env("RUSTFLAGS", STACKS_APART);
    for variable in ["CFLAGS", "CXXFLAGS"] {
        command.env(variable, OTHERS_APART);
    }
    command
}

/// `cargo +nightly` with these words, whatever toolchain runs us.
pub fn nightly(words: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    // Set by the cargo that runs us; cargo +nightly must find its own.
    for variable in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTC"] {
        command.env_remove(variable);
    }
    command.arg("+nightly").args(words);
    command
}

fn succeeds(words: &[&str]) -> bool {
    nightly(words)
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Whether there is a nightly toolchain.
pub fn has_nightly() -> bool {
    succeeds(&["--version"])
}

/// Whether cargo-fuzz is there.
pub fn has_cargo_fuzz() -> bool {
    succeeds(&["fuzz", "--version"])
}

/// The command that installs cargo-fuzz.
pub fn install() -> Command {
    nightly(&["install", "cargo-fuzz", "--locked"])
}

/// Makes sure that both are there.
///
/// # Errors
/// [`SetupError`] where there is no nightly toolchain, or installing fails.
pub fn ensure() -> Result<()> {
    if !has_nightly() {
        let why = "fuzzing needs the nightly toolchain: rustup toolchain install nightly";
        return Err(SetupError::new(why).into());
    }
    if !has_cargo_fuzz() {
        eprintln!("cargo-fuzz is missing: cargo install cargo-fuzz --locked");
        let done = install().status().context("cargo cannot be run")?;
        if !done.success() {
            return Err(SetupError::new("cargo-fuzz could not be installed").into());
        }
    }
    Ok(())
}

/// The names of all targets.
///
/// # Errors
/// fuzz/Cargo.toml cannot be read.
pub fn targets(workspace: &Path) -> Result<Vec<String>> {
    let path = workspace.join("fuzz/Cargo.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let names = text.split("[[bin]]").skip(1).filter_map(|bin| {
        let line = bin.lines().find_map(|line| line.strip_prefix("name = "))?;
        Some(line.trim_matches('"').to_string())
    });
    Ok(names.collect())
}

/// Whether a target runs programs on real kernels.
pub fn needs_kernels(target: &str) -> bool {
    target.starts_with("vm_") || target == "host"
}

/// Builds a target.
///
/// # Errors
/// It does not build.
pub fn build(workspace: &Path, target: &str) -> Result<()> {
    let mut command = build_command(target);
    command.current_dir(workspace);
    if !command.status().context("cargo cannot be run")?.success() {
        bail!("the fuzz target does not build");
    }
    Ok(())
}

/// The program that was built for a target.
///
/// # Errors
/// It is not there.
pub fn program(workspace: &Path, target: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("fuzz/target"), PathBuf::from);
    let program = folder.join(TRIPLE).join("release").join(target);
    if !program.is_file() {
        bail!(
            "cargo-fuzz built {target}, yet there is no {}",
            program.display()
        );
    }
    Ok(program)
}

/// Longest input, bytes of a program's text: about 50 ops, for the laws about as many as the generator writes.
pub fn length(target: &str) -> usize {
    match target {
        "oracle_laws" => 512,
        _ => 2048,
    }
}

/// What libFuzzer need not do. Entropic weighs inputs by rare features and took a third of the time of `oracle_laws` while its corpus grows;
/// leaks are looked for by counting every allocation, and what grows without end meets the limit of memory. Names of functions reached
/// for the first time come from a symbolizer that is started for each. Nobody else writes to the corpus meanwhile. Inputs are long from
/// the start, since half a program is none. Whether a shorter input reaches what a longer one does is not asked, which has libFuzzer look up
/// each edge a second time: a tenth of the time.
const LEFT_OUT: [&str; 6] = [
    "-entropic=0",
    "-detect_leaks=0",
    "-print_funcs=0",
    "-reload=0",
    "-len_control=0",
    "-reduce_inputs=0",
];

/// For the target that runs thousands of inputs a second: which branches are taken counts, how often does not (else more than twice as many
/// inputs are kept, and fewer branches are met in the same time), and a program is changed more often before another one is read.
const FEW_FEATURES: [&str; 2] = ["-use_counters=0", "-mutate_depth=20"];

/// The first as cargo-fuzz sets it. The others are about memory used after it was freed or its function has returned, which code without
/// unsafe cannot do: no stacks of allocations, little that is freed kept back, no filling, no hooks on memcmp for libFuzzer.
const SANITIZER: &str = "detect_odr_violation=0:malloc_context_size=0:detect_stack_use_after_return=0:quarantine_size_mb=1:\
                         thread_local_quarantine_size_kb=64:max_malloc_fill_size=0:intercept_memcmp=0";

/// A command that runs a target on these folders of inputs.
pub fn run(program: &Path, folders: &[&Path]) -> Command {
    let target = program.file_name().and_then(|name| name.to_str());
    let mut command = Command::new(program);
    command.args(folders).args(LEFT_OUT);
    if target == Some("oracle_laws") {
        command.args(FEW_FEATURES);
    }
    command.arg(format!("-max_len={}", length(target.unwrap_or_default())));
    command.env("ASAN_OPTIONS", SANITIZER);
    command
}

#[cfg(test)]
mod tests {
    #[test]
    fn targets_are_those_of_the_folder() {
        let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut names = super::targets(&workspace).unwrap();
        let files = std::fs::read_dir(workspace.join("fuzz/fuzz_targets")).unwrap();
        let mut files: Vec<String> = files
            .map(|f| {
                f.unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        files.sort();
        assert_eq!(names, files);
    }
}
