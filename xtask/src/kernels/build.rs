//! `cargo xtask kernels build`: a kernel of one's own.

use super::{lock_path, Bar};
use crate::exit::{say, UsageError};
use crate::setup;
use anyhow::{bail, Result};
use clap::{Args, ValueEnum};
use indicatif::HumanDuration;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vm_images::build::config::Flavour;
use vm_images::build::{self, make, source, Request};
use vm_images::{mutants, Arch, KernelImage, Lock, Store};

/// How often a line is printed where there is no terminal.
const EVERY: Duration = Duration::from_secs(30);

/// Builds a small kernel from Debian's source package, or from a tree of your own.
///
/// The configuration is kept in vm-images/config, and the command fails if the kernel's configuration tools do not keep it.
/// The build tools (flex, bison, bc, libelf, a cross compiler for arm64) are installed if they are missing and we may.
/// Source (1.8 GiB) and objects (0.3 GiB a kernel) are kept in the cache outside the checkout; a second build makes only
/// what changed. A full build takes some five minutes on two cores. `kernels clean --all` removes everything again.
///
/// Ends by printing the path of the image, for --kernel of the other commands.
///
/// Examples:
///   cargo xtask kernels build
///   cargo xtask kernels build --series 7.3 --arch aarch64 --config debug
///   cargo xtask vm-matrix --kernel "$(cargo xtask kernels build --tree ~/linux)"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct BuildArgs {
    /// Series (7.3) or point release whose source is in vm-images/kernels.lock. Default: the newest there.
    #[arg(long, value_name = "NAME")]
    series: Option<String>,
    /// x86_64 or aarch64.
    #[arg(long, value_name = "ARCH", default_value = "x86_64")]
    arch: Arch,
    /// base: as distributions ship it. debug: with DEBUG_VM, PAGE_TABLE_CHECK, KASAN and failing allocations.
    #[arg(long, value_enum, default_value_t = ConfigName::Base)]
    config: ConfigName,
    /// A kernel tree of your own instead. It must be clean (`make mrproper`): objects go to the cache.
    #[arg(long, value_name = "PATH", conflicts_with = "series")]
    tree: Option<PathBuf>,
    /// With the bugs of vm-images/mutants in it, to be switched on by the kernel argument mmdiff.bug=NAME; without it the
    /// kernel behaves as ever. It says on its console when the code of the bug has run.
    #[arg(long, conflicts_with = "tree")]
    mutants: bool,
    /// Compiler jobs side by side. Default: one per core.
    #[arg(long, value_name = "J")]
    jobs: Option<NonZero<usize>>,
}

/// `--config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConfigName {
    Base,
    Debug,
}

/// A kernel that was built, with what could not be planted into it.
struct Kernel {
    image: KernelImage,
    /// Bugs that do not apply to this source, with the place and the reason.
    failed: Vec<(String, String)>,
}

/// Carries out `kernels build`.
pub fn run(args: &BuildArgs, store: &Store, workspace: &Path) -> Result<()> {
    let kernel = build(args, store, workspace)?;
    say!("{}\n", kernel.image.path.display());
    if kernel.failed.is_empty() {
        Ok(())
    } else {
        bail!(
            "{} of vm-images/mutants do not apply to this source and are not in the kernel (see above)",
            kernel.failed.len()
        )
    }
}

/// The image with all planted bugs that apply to the newest source, built if need be; which do not is said.
///
/// # Errors
/// As `kernels build --mutants`.
pub fn planted(arch: Arch, config: ConfigName, workspace: &Path) -> Result<PathBuf> {
    let args = BuildArgs {
        series: None,
        arch,
        config,
        tree: None,
        mutants: true,
        jobs: None,
    };
    let store = Store::open_default()?;
    Ok(build(&args, &store, workspace)?.image.path)
}

/// The kernel's own selftests, of the newest source, built if need be; which do not compile is said.
///
/// # Errors
/// As `kernels build`.
pub fn selftests(arch: Arch, workspace: &Path) -> Result<BTreeMap<String, PathBuf>> {
    setup::ensure_build_tools(arch, &|line| eprintln!("{line}"))?;
    let bar = Bar::new();
    let store = Store::open_default()?;
    let lock = Lock::load(&lock_path(workspace))?;
    let source = source::choose(&lock, None)?;
    let tree = source::unpacked(&store, source, &|step| bar.step(&step))?;
    bar.title(format!("selftests of {}", source.point));
    let steps = Steps::new(&bar);
    let built = build::selftests::build(&store, &tree, &source.point, arch, &|line| {
        steps.line(line);
    })?;
    bar.finish();
    for (name, why) in &built.failed {
        eprintln!("selftest {name} does not compile: {why}");
    }
    Ok(built.programs)
}

/// Builds what `args` say.
///
/// # Errors
/// Set-up, fetching, unpacking, building; an unknown series or a path that is no tree (usage).
fn build(args: &BuildArgs, store: &Store, workspace: &Path) -> Result<Kernel> {
    setup::ensure_build_tools(args.arch, &|line| eprintln!("{line}"))?;
    let bar = Bar::new();
    let mut failed = Vec::new();
    let (tree, name) = match &args.tree {
        Some(tree) => {
            let tree = tree
                .canonicalize()
                .map_err(|e| UsageError(format!("--tree {}: {e}", tree.display())))?;
            let name = build::tree_name(&tree);
            (tree, name)
        }
        None => {
            let lock = Lock::load(&lock_path(workspace))?;
            let source = source::choose(&lock, args.series.as_deref())?;
            bar.title(format!("source of {}", source.point));
            let tree = source::unpacked(store, source, &|step| bar.step(&step))?;
            if args.mutants {
                let bugs = mutants::load(&workspace.join(mutants::FOLDER))?;
                let mut target = tree.clone().into_os_string();
                target.push("-planted");
                let done = mutants::plant(&tree, Path::new(&target), &bugs)?;
                for (name, why) in &done.failed {
                    bar.line(&format!("{name} does not apply: {why}"));
                }
                bar.line(&format!("{} bugs planted", done.names.len()));
                failed = done.failed;
                (done.tree, format!("{}-planted", source.point))
            } else {
                (tree, source.point.clone())
            }
        }
    };
    let jobs = args
        .jobs
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZero::get);
    let request = Request {
        tree: &tree,
        name: &name,
        arch: args.arch,
        flavour: match args.config {
            ConfigName::Base => Flavour::Base,
            ConfigName::Debug => Flavour::Debug,
        },
        fragments: &workspace.join("vm-images/config"),
        jobs,
    };
    bar.title(format!("building {name}"));
    let started = Instant::now();
    let steps = Steps::new(&bar);
    let built = build::build(store, &request, &|line| steps.line(line))?;
    bar.finish();
    eprintln!(
        "{} for {} built in {}: {} steps; log: {}",
        built.image.release,
        built.image.arch,
        HumanDuration(started.elapsed()),
        steps.made.get(),
        built.log.display()
    );
    Ok(Kernel {
        image: built.image,
        failed,
    })
}

/// Counts what make makes, on a terminal's bar or as a line now and then.
struct Steps<'a> {
    bar: &'a Bar,
    made: Cell<u64>,
    said: Cell<Instant>,
}

impl<'a> Steps<'a> {
    fn new(bar: &'a Bar) -> Self {
        Steps {
            bar,
            made: Cell::new(0),
            said: Cell::new(Instant::now()),
        }
    }

    fn line(&self, line: &str) {
        if !make::is_step(line) {
            return;
        }
        let made = self.made.get() + 1;
        self.made.set(made);
        let words = format!("{made} {}", line.trim());
        if !self.bar.0.is_hidden() {
            self.bar.0.set_message(words);
        } else if self.said.get().elapsed() >= EVERY {
            self.said.set(Instant::now());
            eprintln!("{words}");
        }
    }
}
