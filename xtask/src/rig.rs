//! From the options that name kernels to kernels that can be booted: set-up, fetching, the guest, the initramfs.

use crate::exit::UsageError;
use crate::vm_matrix::GuestFaultName;
use crate::{built, kernels, setup};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use harness::kernel::machine::{Unavailable, VmSource};
use harness::kernel::vm::{self, Accel, VmConfig};
use harness::kernel::KernelSource;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use vm_images::initramfs::Initramfs;
use vm_images::modules::Module;
use vm_images::{
    guest, Arch, Error, KernelImage, Lock, LockedKernel, Manifest, Origin, Step, Store,
};

/// Modules that programs may need: a RAM disk, to swap to. The guest loads them when a program asks. Kernels whose package has none
/// go without.
const MODULES: &[&str] = &["brd"];

/// Which kernels, and how they are booted.
#[derive(Args, Clone)]
pub struct KernelOptions {
    /// Kernels of the lock: series (7.3), point releases (6.18.5), flavours (16k), or `all`; several with commas.
    /// Default: the newest of each series.
    #[arg(long, value_name = "NAMES")]
    pub kernels: Option<String>,
    /// Architectures: x86_64, aarch64, or both with a comma. Default: both.
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    pub arch: Vec<Arch>,
    /// A kernel image of your own (bzImage or Image) instead of those of the lock; may be given several times.
    #[arg(long, value_name = "PATH")]
    pub kernel: Vec<PathBuf>,
    /// How QEMU runs them. `auto`: KVM where a probe boot with it works (remembered), TCG otherwise.
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    pub accel: AccelChoice,
    /// More kernel arguments.
    #[arg(
        long,
        value_name = "KERNEL-ARGS",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub append: String,
}

/// `--accel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccelChoice {
    Auto,
    Kvm,
    Tcg,
}

impl KernelOptions {
    /// How kernels are booted, as words of a command line: an option and its value in turn.
    fn booting(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let (true, Some(accel)) = (
            self.accel != AccelChoice::Auto,
            self.accel.to_possible_value(),
        ) {
            words.extend(["--accel".to_string(), accel.get_name().into()]);
        }
        if !self.append.is_empty() {
            words.extend(["--append".to_string(), self.append.clone()]);
        }
        words
    }
}

/// One kernel, by its name in the lock or by the path of its image, on all architectures that are wanted and booted as `like` says.
///
/// # Errors
/// As [`rig`].
pub fn one(name: &str, like: &KernelOptions, workspace: &Path, consoles: &Path) -> Result<Rig> {
    let path = PathBuf::from(name);
    let is_path = name.contains('/') || path.is_file();
    let options = KernelOptions {
        kernels: (!is_path).then(|| name.to_string()),
        kernel: is_path.then_some(path).into_iter().collect(),
        ..like.clone()
    };
    rig(&options, workspace, consoles, &|line| eprintln!("{line}"))
}

/// The kernels that `options` name; where they name none, the newest of the lock, on x86-64 unless they say otherwise.
///
/// # Errors
/// The lock cannot be read.
pub fn newest_unless_named(options: &KernelOptions, workspace: &Path) -> Result<KernelOptions> {
    let mut options = options.clone();
    if options.kernels.is_none() && options.kernel.is_empty() {
        if options.arch.is_empty() {
            options.arch = vec![Arch::X86_64];
        }
        options.kernels = Some(newest(workspace, &options.arch)?);
    }
    Ok(options)
}

/// The newest point release of the lock on these architectures, as `--kernels` takes it.
///
/// # Errors
/// The lock cannot be read.
pub fn newest(workspace: &Path, arches: &[Arch]) -> Result<String> {
    let lock = Lock::load(&kernels::lock_path(workspace))?;
    let newest = vm_images::select(&lock, None, arches)?
        .into_iter()
        .max_by_key(|kernel| vm_images::version::key(&kernel.point));
    let newest = newest.context("the lock has no kernel")?;
    Ok(newest.point)
}

/// What is known of a kernel image besides its bytes.
pub struct Named {
    pub label: String,
    /// uname release, where the lock says it.
    pub release: Option<String>,
    /// Bytes per page, where that is known.
    pub page_size: Option<u32>,
    /// The options that name it again.
    pub options: Vec<String>,
    /// The file with its configuration.
    pub config: Option<PathBuf>,
    /// Package or path, and hash, for run.json.
    pub origin: String,
}

/// The origin of a kernel that is not to be had begins so; why follows.
pub const SKIPPED: &str = "skipped: ";

/// Threads that fetch kernels.
const FETCHERS: usize = 4;

/// Kernels that can be booted.
#[derive(Default)]
pub struct Rig {
    pub sources: Vec<Arc<dyn KernelSource>>,
    /// The same, without those that are not to be had.
    pub machines: Vec<VmSource>,
    /// Label and architecture to package, hash or path, for run.json.
    pub origins: BTreeMap<String, String>,
    /// Versions of the tools, for run.json.
    pub versions: BTreeMap<String, String>,
}

impl Rig {
    /// One without kernels, for these architectures.
    ///
    /// # Errors
    /// QEMU is missing or too old.
    pub fn new(arches: &[Arch], workspace: &Path) -> Result<Rig> {
        let mut rig = Rig::default();
        let versions = &mut rig.versions;
        versions.insert("mmdiff".into(), env!("CARGO_PKG_VERSION").into());
        versions.insert("commit".into(), built::commit(workspace));
        versions.insert("rustc".into(), built::RUSTC.into());
        for arch in arches {
            versions.insert(format!("qemu {arch}"), vm::version(*arch)?);
        }
        Ok(rig)
    }

    /// Adds a kernel by the files of its image and initramfs; `say` gets lines for people.
    ///
    /// # Errors
    /// There is no QEMU, or no cache to remember in whether KVM works.
    pub fn add(
        &mut self,
        named: Named,
        arch: Arch,
        [image, initramfs]: [&Path; 2],
        options: &KernelOptions,
        consoles: &Path,
        say: &dyn Fn(&str),
    ) -> Result<()> {
        let mut config = VmConfig::new(image, initramfs, arch, &consoles.join("accel-probe.log"));
        config.append.clone_from(&options.append);
        config.page_size = named.page_size;
        config.accel = match options.accel {
            AccelChoice::Tcg => Accel::Tcg,
            AccelChoice::Kvm => Accel::Kvm,
            AccelChoice::Auto => {
                vm::probe_accel(&config, &vm_images::store::default_cache()?, say)?
            }
        };
        self.origins
            .insert(format!("{} {arch}", named.label), named.origin);
        let source = VmSource {
            label: named.label,
            release: named.release,
            options: [named.options, options.booting()].concat(),
            build_config: named.config,
            config,
            consoles: consoles.to_path_buf(),
            guest_fault: None,
            panic_when: None,
        };
        self.machines.push(source.clone());
        self.sources.push(Arc::new(source));
        Ok(())
    }

    /// Adds a kernel that is not to be had.
    pub fn add_unavailable(&mut self, kernel: Unavailable) {
        let name = format!("{} {}", kernel.label, kernel.arch);
        self.origins
            .insert(name, format!("{SKIPPED}{}", kernel.why));
        self.sources.push(Arc::new(kernel));
    }

    /// The kernels, with a guest that has a deliberate fault.
    pub fn faulty(&self, fault: GuestFaultName) -> Vec<Arc<dyn KernelSource>> {
        self.with(|machine| {
            machine.guest_fault = Some(fault.fault());
            machine
                .options
                .extend(["--guest-fault".into(), fault.name()]);
        })
    }

    /// The kernels, with a guest that panics when a file appears.
    pub fn panicking(&self, when: &Path) -> Vec<Arc<dyn KernelSource>> {
        self.with(|machine| machine.panic_when = Some(when.to_path_buf()))
    }

    /// `kvm` or `tcg`, by label and architecture.
    pub fn accel(&self) -> BTreeMap<String, String> {
        let accel = |machine: &VmSource| {
            let name = format!("{} {}", machine.label, machine.config.arch);
            (name, machine.config.accel.name().to_string())
        };
        self.machines.iter().map(accel).collect()
    }

    fn with(&self, change: impl Fn(&mut VmSource)) -> Vec<Arc<dyn KernelSource>> {
        let changed = |machine: &VmSource| {
            let mut machine = machine.clone();
            change(&mut machine);
            Arc::new(machine) as Arc<dyn KernelSource>
        };
        self.machines.iter().map(changed).collect()
    }
}

/// Prepares everything. Consoles are logged to `consoles`; `say` gets lines for people.
///
/// # Errors
/// A name or path that is no kernel (usage), or set-up, fetching and building that fail (infrastructure).
pub fn rig(
    options: &KernelOptions,
    workspace: &Path,
    consoles: &Path,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Rig> {
    let own = own_images(options)?;
    let lock = Lock::load(&kernels::lock_path(workspace))?;
    let locked = if own.is_empty() || options.kernels.is_some() {
        vm_images::select(&lock, options.kernels.as_deref(), &options.arch)?
    } else {
        Vec::new()
    };
    let mut arches: Vec<Arch> = Arch::ALL
        .into_iter()
        .filter(|arch| {
            locked.iter().any(|k| k.arch == *arch) || own.iter().any(|image| image.arch == *arch)
        })
        .collect();
    arches.sort_by_key(|arch| arch.name());
    setup::ensure_host_tools(&arches, say)?;
    let mut builder = Builder {
        store: Store::open_default()?,
        options,
        guests: BTreeMap::new(),
        consoles: consoles.to_path_buf(),
        rig: Rig::new(&arches, workspace)?,
    };
    let store = builder.store.clone();
    let missing = |kernel: &&LockedKernel| store.cached(kernel).ok().flatten().is_none();
    let missing: Vec<&LockedKernel> = locked.iter().filter(missing).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| fetch(&store, &missing, say));
        arches
            .into_iter()
            .try_for_each(|arch| builder.guest(arch, workspace, say))
    })?;
    let suites = Manifest::load(&kernels::manifest_path(workspace))?.suites;
    for kernel in &locked {
        builder.locked(kernel, &lock, &suites, say)?;
    }
    let taken: Vec<(String, Arch)> = locked.iter().map(|k| (label(k, &lock), k.arch)).collect();
    for (image, label) in own.iter().zip(own_labels(&own, &taken)?) {
        builder.own(image, label, say)?;
    }
    Ok(builder.rig)
}

fn own_images(options: &KernelOptions) -> Result<Vec<KernelImage>> {
    options
        .kernel
        .iter()
        .map(|path| {
            KernelImage::inspect(path).map_err(|error| match error {
                // A path that cannot be read is the user's to mend.
                Error::Io { .. } => UsageError(error.to_string()).into(),
                other => other.into(),
            })
        })
        .collect()
}

/// Fetches kernels and their modules, several at a time. What fails is left to be tried again, and told of, when it is asked for.
fn fetch(store: &Store, kernels: &[&LockedKernel], say: &(dyn Fn(&str) + Sync)) {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
            say(&format!("kernel {}", kernel.release));
            if store.fetch(kernel, &|_| ()).is_ok() {
                let _ = vm_images::modules::modules(store, kernel, MODULES, &|_| ());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..FETCHERS.min(kernels.len()) {
            scope.spawn(work);
        }
    });
}

/// The labels of one's own images: the file's name, with the beginning of the image's hash where another kernel has that name, too (most
/// are called bzImage). They are the same wherever the images are.
///
/// # Errors
/// Usage: an image was given twice.
fn own_labels(own: &[KernelImage], taken: &[(String, Arch)]) -> Result<Vec<String>> {
    let name = |image: &KernelImage| {
        let name = image
            .path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        name.unwrap_or_else(|| image.path.display().to_string())
    };
    for (n, image) in own.iter().enumerate() {
        let same = |other: &&KernelImage| other.sha256 == image.sha256 && other.arch == image.arch;
        if let Some(other) = own[..n].iter().find(same) {
            return Err(UsageError(format!(
                "--kernel {} and --kernel {} are the same image (sha256 {}): give it once",
                other.path.display(),
                image.path.display(),
                &image.sha256[..16]
            ))
            .into());
        }
    }
    let is_alone = |image: &KernelImage| {
        let like = |other: &&KernelImage| name(other) == name(image) && other.arch == image.arch;
        own.iter().filter(like).count() == 1 && !taken.contains(&(name(image), image.arch))
    };
    let label = |image: &KernelImage| match is_alone(image) {
        true => name(image),
        false => format!("{}-{}", name(image), &image.sha256[..8]),
    };
    Ok(own.iter().map(label).collect())
}

struct Builder<'a> {
    store: Store,
    options: &'a KernelOptions,
    guests: BTreeMap<&'static str, Vec<u8>>,
    consoles: PathBuf,
    rig: Rig,
}

impl Builder<'_> {
    fn guest(&mut self, arch: Arch, workspace: &Path, say: &(dyn Fn(&str) + Sync)) -> Result<()> {
        let program = guest::build(arch, workspace, &|line| say(line))?;
        let bytes = std::fs::read(&program).with_context(|| program.display().to_string())?;
        self.guests.insert(arch.name(), bytes);
        Ok(())
    }

    fn locked(
        &mut self,
        kernel: &LockedKernel,
        lock: &Lock,
        suites: &vm_images::manifest::Suites,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<()> {
        let label = label(kernel, lock);
        let arch = kernel.arch;
        let progress = |step: Step| {
            if let Step::Note(text) = step {
                say(&text);
            }
        };
        let fetched = match vm_images::obtain(&self.store, kernel, suites, &progress) {
            Ok(fetched) => fetched,
            Err(Error::Unavailable { release, detail }) => {
                self.rig.add_unavailable(Unavailable {
                    label,
                    arch: arch.name().into(),
                    why: format!("{release} is not to be had: {detail}"),
                });
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let modules =
            vm_images::modules::modules(&self.store, &fetched.kernel, MODULES, &progress)?;
        let origin = format!(
            "{} {} sha256:{} ({})",
            fetched.kernel.image.name,
            fetched.kernel.image.version,
            fetched.image.sha256,
            match fetched.origin {
                Origin::Locked => "locked",
                Origin::Snapshot => "locked, from the snapshot",
                Origin::NewestOfSeries => "newest of its series; the locked one is gone",
            }
        );
        let named = Named {
            label,
            release: Some(fetched.kernel.release.clone()),
            page_size: Some(fetched.kernel.page_size),
            options: named_in_lock(kernel),
            config: fetched.config.clone(),
            origin,
        };
        self.add(named, &fetched.image, arch, &modules, say)
    }

    fn own(&mut self, image: &KernelImage, label: String, say: &dyn Fn(&str)) -> Result<()> {
        let origin = format!("{} sha256:{}", image.path.display(), image.sha256);
        let named = Named {
            label,
            release: None,
            page_size: image.page_size,
            options: vec!["--kernel".into(), from_the_root(&image.path)],
            config: vm_images::config::beside(&image.path),
            origin,
        };
        self.add(named, image, image.arch, &[], say)
    }

    fn add(
        &mut self,
        named: Named,
        image: &KernelImage,
        arch: Arch,
        modules: &[Module],
        say: &dyn Fn(&str),
    ) -> Result<()> {
        let image = image.unpacked(&self.store.root().join("images"))?;
        let initramfs = self.initramfs(arch, modules)?;
        let files = [image.path.as_path(), initramfs.as_path()];
        self.rig
            .add(named, arch, files, self.options, &self.consoles, say)
    }

    /// The initramfs with the guest and these modules, written once per content.
    fn initramfs(&self, arch: Arch, modules: &[Module]) -> Result<PathBuf> {
        let init = self
            .guests
            .get(arch.name())
            .context("the guest was not built for this architecture")?;
        let bytes = Initramfs::new(init).modules(modules).finish();
        let name = format!(
            "{}-{}.cpio",
            arch.name(),
            &vm_images::hash::bytes(&bytes)[..16]
        );
        let path = self.store.root().join("initramfs").join(name);
        if !path.exists() {
            vm_images::files::write_atomically(&path, &bytes)?;
        }
        Ok(path)
    }
}

/// The options that name a kernel of the lock and no other, today and when the series has gone on.
fn named_in_lock(kernel: &LockedKernel) -> Vec<String> {
    let name = match kernel.flavour.as_str() {
        "cloud" => kernel.point.clone(),
        flavour => format!("{}-{flavour}", kernel.point),
    };
    let arch = kernel.arch.name().to_string();
    vec!["--kernels".into(), name, "--arch".into(), arch]
}

/// Of the options of a kernel those that name it, without those that say how it is booted.
pub fn naming(options: &[String]) -> Vec<String> {
    let names = ["--kernels", "--arch", "--kernel"];
    let pairs = options.chunks(2);
    let naming = pairs.filter(|pair| names.contains(&pair[0].as_str()));
    naming.flatten().cloned().collect()
}

/// A path that means the same in another folder.
fn from_the_root(path: &Path) -> String {
    let whole = std::path::absolute(path);
    whole.map_or_else(
        |_| path.display().to_string(),
        |whole| whole.display().to_string(),
    )
}

/// `7.3` for the newest of a series, `6.18.5` for an older one, `7.3-16k` for an unusual flavour.
fn label(kernel: &LockedKernel, lock: &Lock) -> String {
    let newer = |other: &&LockedKernel| {
        other.series == kernel.series
            && other.arch == kernel.arch
            && other.flavour == kernel.flavour
            && vm_images::version::key(&other.point) > vm_images::version::key(&kernel.point)
    };
    let base = if lock.kernels.iter().any(|other| newer(&other)) {
        kernel.point.clone()
    } else {
        kernel.series.clone()
    };
    if kernel.flavour == "cloud" {
        base
    } else {
        format!("{base}-{}", kernel.flavour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_images::image::Format;

    #[test]
    fn images_of_one_name_are_told_apart() {
        let image = |path: &str, digit: &str, arch: Arch| KernelImage {
            path: path.into(),
            arch,
            release: String::new(),
            sha256: digit.repeat(64),
            format: Format::BzImage,
            page_size: None,
        };
        let (x86, arm) = (Arch::X86_64, Arch::Aarch64);
        let own = [
            image("a/bzImage", "1", x86),
            image("b/bzImage", "2", x86),
            image("b/Image", "3", arm),
            image("c/7.3", "4", x86),
            image("c/6.18", "5", arm),
        ];
        let taken = [("7.3".to_string(), x86), ("6.18".to_string(), x86)];
        assert_eq!(
            own_labels(&own, &taken).unwrap(),
            [
                "bzImage-11111111",
                "bzImage-22222222",
                "Image",
                "7.3-44444444",
                "6.18"
            ]
        );
        assert_eq!(own_labels(&own[1..2], &[]).unwrap(), ["bzImage"]);
        let twice = [own[0].clone(), image("elsewhere/bzImage", "1", x86)];
        let error = own_labels(&twice, &[]).unwrap_err();
        let usage = error
            .downcast_ref::<UsageError>()
            .expect("usage")
            .to_string();
        assert!(
            usage.contains("a/bzImage") && usage.contains("elsewhere/bzImage"),
            "{usage}"
        );
    }
}
