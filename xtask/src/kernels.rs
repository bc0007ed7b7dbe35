//! `cargo xtask kernels`: the kernels that the matrix boots, and kernels of one's own.

pub(crate) mod build;

use crate::exit::say;
use anyhow::{bail, Context, Result};
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vm_images::manifest::Want;
use vm_images::{add, Arch, Error, Lock, LockedKernel, Manifest, Origin, Step, Store};

/// Lists, fetches and checks the Debian kernels that the matrix boots.
///
/// vm-images/kernels.toml says which kernels are wanted; vm-images/kernels.lock says exactly which packages
/// those are, by pool path and SHA-256. Every command fetches what it needs by itself: these verbs are for
/// looking, for fetching ahead of time (for work without a network), and for changing the lock.
///
/// The mirror comes from this machine's apt configuration, or from MMDIFF_DEBIAN_MIRROR. Fetched kernels
/// are kept in MMDIFF_CACHE or ~/.cache/mmdiff/kernels.
#[derive(Debug, Args)]
pub struct KernelsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows the locked kernels and which of them are in the cache.
    List,
    /// Fetches kernels into the cache, by pool path and SHA-256 from the lock.
    ///
    /// Examples: `kernels fetch` (the newest of each series), `kernels fetch --kernels all`,
    /// `kernels fetch --kernels 7.3,6.18.5 --arch aarch64`.
    Fetch(Select),
    /// Checks every cached package and image against the lock, byte by byte. Fetches nothing.
    Verify,
    /// Looks kernels up on the mirror and writes them to the lock.
    ///
    /// Without names: every kernel of kernels.toml anew, so that "newest of 6.18" moves on. With names:
    /// these kernels too; they are appended to kernels.toml. A name is a series (`7.4`, its newest) or a
    /// point release (`6.18.9`). The package indexes of all suites are needed for this, about 100 MB; they go
    /// to a private apt root in the cache, signatures are checked by apt, and the system's apt is left alone.
    Add(Add),
    Build(build::BuildArgs),
    /// Removes from the cache what the lock no longer names, or with --all everything.
    Clean {
        /// Remove all cached kernels, the private apt root's indexes, and the sources and objects of `kernels build`.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
struct Select {
    /// Series (6.18), release (6.18.5), flavour (16k), or `all`; several with commas. Default: the newest of
    /// each series.
    #[arg(long, value_name = "NAMES")]
    kernels: Option<String>,
    /// x86_64, aarch64 or both with a comma.
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    arch: Vec<Arch>,
}

#[derive(Debug, Args)]
struct Add {
    /// Series or point releases, such as 7.4 or 6.18.9.
    names: Vec<String>,
    /// cloud, full, or 16k (aarch64 only).
    #[arg(long, default_value = "cloud")]
    flavour: String,
    /// x86_64, aarch64 or both with a comma. Default: all that the flavour exists for.
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    arch: Vec<Arch>,
}

/// Where a checkout keeps manifest and lock.
pub fn manifest_path(workspace: &Path) -> PathBuf {
    workspace.join("vm-images/kernels.toml")
}

/// See [`manifest_path`].
pub fn lock_path(workspace: &Path) -> PathBuf {
    workspace.join("vm-images/kernels.lock")
}

/// Carries out `cargo xtask kernels ...` in the checkout at `workspace`.
pub fn run(args: &KernelsArgs, workspace: &Path) -> Result<()> {
    let store = Store::open_default()?;
    match &args.verb {
        Verb::List => list(&store, &Lock::load(&lock_path(workspace))?),
        Verb::Fetch(select) => fetch(&store, workspace, select),
        Verb::Verify => verify(&store, &Lock::load(&lock_path(workspace))?),
        Verb::Add(new) => add_kernels(&store, workspace, new),
        Verb::Build(args) => build::run(args, &store, workspace),
        Verb::Clean { all } => clean(&store, workspace, *all),
    }
}

fn list(store: &Store, lock: &Lock) -> Result<()> {
    let width = lock
        .kernels
        .iter()
        .map(|k| k.release.len())
        .max()
        .unwrap_or(0);
    say!(
        "{:<7} {:<width$} {:<8} {:<7} {:>5} {:>9}  cached\n",
        "series",
        "release",
        "arch",
        "flavour",
        "page",
        "package"
    );
    for kernel in &lock.kernels {
        let cached = match store.cached(kernel) {
            Ok(Some(_)) => "yes".to_owned(),
            Ok(None) => "no".to_owned(),
            Err(error) => format!("WRONG: {error}"),
        };
        say!(
            "{:<7} {:<width$} {:<8} {:<7} {:>3} K {:>9}  {cached}\n",
            kernel.series,
            kernel.release,
            kernel.arch.name(),
            kernel.flavour,
            kernel.page_size / 1024,
            HumanBytes(kernel.image.size).to_string(),
        );
    }
    say!(
        "\n{} kernels; cache: {}\n",
        lock.kernels.len(),
        store.root().display()
    );
    Ok(())
}

fn fetch(store: &Store, workspace: &Path, select: &Select) -> Result<()> {
    let lock = Lock::load(&lock_path(workspace))?;
    let suites = Manifest::load(&manifest_path(workspace))?.suites;
    let wanted = vm_images::select(&lock, select.kernels.as_deref(), &select.arch)?;
    let bar = Bar::new();
    let mut skipped = Vec::new();
    for (i, kernel) in wanted.iter().enumerate() {
        bar.title(format!("[{}/{}] {}", i + 1, wanted.len(), kernel.release));
        match vm_images::obtain(store, kernel, &suites, &|step| bar.step(&step)) {
            Ok(fetched) => bar.line(&match fetched.origin {
                Origin::Locked => format!("{}: ready", kernel.release),
                Origin::Snapshot => format!("{}: ready, from the snapshot", kernel.release),
                Origin::NewestOfSeries => format!(
                    "{}: gone; {} is ready instead",
                    kernel.release, fetched.kernel.release
                ),
            }),
            Err(Error::Unavailable { release, detail }) => {
                bar.line(&format!("{release}: skipped: {detail}"));
                skipped.push(release);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("fetching {}", kernel.release))
            }
        }
    }
    bar.finish();
    say!(
        "{} of {} kernels ready\n",
        wanted.len() - skipped.len(),
        wanted.len()
    );
    Ok(())
}

fn verify(store: &Store, lock: &Lock) -> Result<()> {
    let (mut right, mut absent, mut wrong) = (0, 0, Vec::new());
    for kernel in &lock.kernels {
        match vm_images::store::verify(store, kernel) {
            Ok(true) => right += 1,
            Ok(false) => absent += 1,
            Err(error) => wrong.push(format!("{}: {error}", kernel.release)),
        }
    }
    say!(
        "{right} right, {absent} not in the cache, {} wrong\n",
        wrong.len()
    );
    if !wrong.is_empty() {
        bail!(
            "{}\n`cargo xtask kernels fetch --kernels all` replaces what is damaged",
            wrong.join("\n")
        );
    }
    Ok(())
}

fn add_kernels(store: &Store, workspace: &Path, new: &Add) -> Result<()> {
    let (toml, lock_file) = (manifest_path(workspace), lock_path(workspace));
    let manifest = Manifest::load(&toml)?;
    let old = Lock::load(&lock_file)?;
    let named = new
        .names
        .iter()
        .map(|name| Want::named(name, &new.flavour, &new.arch))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|sentence| Error::Format {
            file: "kernels add".into(),
            message: sentence,
        })?;
    let wants = if named.is_empty() {
        &manifest.wants
    } else {
        &named
    };
    let bar = Bar::new();
    bar.title("looking kernels up".into());
    // Somebody who adds a kernel wants what the mirror has now.
    let added = add::add(
        store,
        &manifest.suites,
        wants,
        &old,
        Duration::from_secs(600),
        &|step| bar.step(&step),
    )?;
    bar.finish();
    if !named.is_empty() && added.missing.is_empty() {
        let mut text = std::fs::read_to_string(&toml)?;
        for want in named.iter().filter(|w| !manifest.wants.contains(w)) {
            text.push_str(&want.to_toml());
        }
        vm_images::files::write_atomically(&toml, text.as_bytes())?;
    }
    added.lock.save(&lock_file)?;
    for (word, list) in [
        ("new", &added.new),
        ("replaced", &added.replaced),
        ("missing", &added.missing),
    ] {
        for item in list {
            say!("{word}: {item}\n");
        }
    }
    say!(
        "{}: {} kernels\n",
        lock_file.display(),
        added.lock.kernels.len()
    );
    if !added.missing.is_empty() {
        bail!(
            "{} of the wanted kernels are not to be had; what the lock had for them is kept",
            added.missing.len()
        );
    }
    Ok(())
}

fn clean(store: &Store, workspace: &Path, all: bool) -> Result<()> {
    let lock;
    let keep: Option<&[LockedKernel]> = if all {
        None
    } else {
        lock = Lock::load(&lock_path(workspace))?;
        Some(&lock.kernels)
    };
    say!(
        "{} freed in {}\n",
        HumanBytes(store.clean(keep)?),
        store.root().display()
    );
    Ok(())
}

/// A progress line on a terminal, plain lines elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Bar {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bar(bar)
    }

    fn title(&self, text: String) {
        self.0.set_prefix(text);
        self.0.set_message("");
    }

    fn step(&self, step: &Step) {
        match step {
            Step::Download { done, total, .. } => {
                self.0.set_length(*total);
                self.0.set_position(*done);
            }
            Step::Unpack { .. } => self.0.set_message("unpacking"),
            Step::Note(text) => self.line(text),
        }
    }

    fn line(&self, text: &str) {
        if self.0.is_hidden() {
            eprintln!("{text}");
        } else {
            self.0.println(text);
        }
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: KernelsArgs,
    }

    #[test]
    fn the_command_line_is_understood() {
        Cli::command().debug_assert();
        let line = [
            "kernels",
            "fetch",
            "--kernels",
            "7.3,16k",
            "--arch",
            "x86_64,arm64",
        ];
        let Verb::Fetch(select) = Cli::parse_from(line).args.verb else {
            panic!("not fetch");
        };
        assert_eq!(select.kernels.as_deref(), Some("7.3,16k"));
        assert_eq!(select.arch, Arch::ALL);
        assert!(Cli::try_parse_from(["kernels", "fetch", "--arch", "mips"]).is_err());
    }

    /// Manifest and lock of this checkout belong together: every wish has its kernel.
    #[test]
    fn the_lock_has_what_the_manifest_wants() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the workspace");
        let manifest = Manifest::load(&manifest_path(workspace)).expect("the manifest");
        let lock = Lock::load(&lock_path(workspace)).expect("the lock");
        for want in &manifest.wants {
            for arch in &want.arch {
                let there = lock.kernels.iter().any(|k| {
                    k.series == want.series
                        && k.arch == *arch
                        && k.flavour == want.flavour
                        && want.point.as_ref().is_none_or(|p| *p == k.point)
                });
                assert!(there, "{want:?} for {arch}: run `cargo xtask kernels add`");
            }
        }
    }
}
