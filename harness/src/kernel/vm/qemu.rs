//! Which QEMU, and its command line.

use super::error::VmError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use vm_images::Arch;
use wire::layout;

/// How QEMU runs the guest's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accel {
    /// QEMU's own translator: works everywhere.
    Tcg,
    /// The host's hypervisor.
    Kvm,
}

impl Accel {
    /// `tcg` or `kvm`.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Tcg => "tcg",
            Accel::Kvm => "kvm",
        }
    }
}

/// What to boot, and how.
#[derive(Debug, Clone)]
pub struct VmConfig {
    /// bzImage (x86-64) or Image (arm64).
    pub image: PathBuf,
    /// cpio archive with the guest as `/init`.
    pub initramfs: PathBuf,
    pub arch: Arch,
    pub accel: Accel,
    /// Pages of the kernel: some CPU models do not have all sizes. `None`: 4 KiB.
    pub page_size: Option<u32>,
    /// QEMU's name of another CPU model than the usual one.
    pub cpu: Option<String>,
    pub memory_mib: u32,
    pub cpus: u32,
    /// More kernel arguments.
    pub append: String,
    /// Where the console goes; only its first and last megabytes when it is long.
    pub console_log: PathBuf,
    /// How long the kernel may take until the guest answers, on a machine of ordinary speed.
    pub boot_limit: Duration,
}

impl VmConfig {
    /// Defaults: TCG, 512 MiB, one CPU, two minutes to boot.
    pub fn new(image: &Path, initramfs: &Path, arch: Arch, console_log: &Path) -> VmConfig {
        VmConfig {
            image: image.to_owned(),
            initramfs: initramfs.to_owned(),
            arch,
            accel: Accel::Tcg,
            page_size: None,
            cpu: None,
            memory_mib: 512,
            cpus: 1,
            append: String::new(),
            console_log: console_log.to_owned(),
            boot_limit: Duration::from_secs(120),
        }
    }
}

/// What no program can see and every system call pays for: security modules, auditing, memory accounting of groups that
/// nobody makes, clearing memory twice, pressure statistics, stacks at random offsets. A fifth of the time of a fork. The
/// kernel's checks of itself and its watchdogs stay on.
const TRIM: &str =
    "audit=0 lsm=lockdown cgroup_disable=memory init_on_alloc=0 psi=0 randomize_kstack_offset=off";

/// What programs are made of and some kernels have only when asked: memfd_secret before 6.5.
const SWITCH_ON: &str = "secretmem.enable=1";

/// Name of the program, and Debian's package with it.
pub fn program(arch: Arch) -> (&'static str, &'static str) {
    match arch {
        Arch::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
        Arch::Aarch64 => ("qemu-system-aarch64", "qemu-system-arm"),
    }
}

/// QEMU's sandbox: no obsolete system calls, no new rights, no other programs, no changes of scheduling.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// The kernel's rights to protection keys for what has none of its own (kernel threads, signal handlers): those that the guest's
/// actors have (`keys` of the guest: key 2 not to be written, key 3 not at all, as all that nobody has allocated). QEMU empties
/// its TLB at each change of the register, and the kernel changes it at each switch to another value.
const RIGHTS: &str = "init_pkru=0x55555560";

/// What is known of an architecture's QEMU on this machine.
#[derive(Debug, Clone)]
pub struct Qemu {
    /// As it prints it.
    pub version: String,
    /// It was built with seccomp, and the kernel lets it use it.
    pub sandbox: bool,
}

/// Asks an architecture's QEMU what it is, once in the life of this process; one that has no sandbox is told of.
///
/// # Errors
/// It is missing, or older than 7.2.
pub fn look(arch: Arch) -> Result<Qemu, VmError> {
    static KNOWN: Mutex<BTreeMap<&str, Qemu>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(qemu) = known.get(arch.name()) {
        return Ok(qemu.clone());
    }
    let (program, package) = program(arch);
    let ask = |words: &[&str]| {
        let output = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .output();
        output.map_err(|_| VmError::QemuMissing { program, package })
    };
    let text = String::from_utf8_lossy(&ask(&["--version"])?.stdout).into_owned();
    let version = match parse_version(&text) {
        Some(version) if version >= (7, 2) => text.lines().next().unwrap_or_default().to_owned(),
        _ => {
            return Err(VmError::QemuTooOld {
                program,
                found: text.lines().next().unwrap_or("unknown").to_owned(),
            })
        }
    };
    // It enters its sandbox before it lists processors, and ends when it cannot.
    let tried = ask(&["-sandbox", SANDBOX, "-cpu", "help"])?;
    let sandbox = tried.status.success();
    if !sandbox {
        let said = String::from_utf8_lossy(&tried.stderr).into_owned();
        eprintln!("guests run without QEMU's sandbox: {}", said.trim());
    }
    let qemu = Qemu { version, sandbox };
    known.insert(arch.name(), qemu.clone());
    Ok(qemu)
}

/// The version of an architecture's QEMU, as it prints it, and whether it lacks its sandbox.
///
/// # Errors
/// As [`look`].
pub fn version(arch: Arch) -> Result<String, VmError> {
    let qemu = look(arch)?;
    Ok(match qemu.sandbox {
        true => qemu.version,
        false => qemu.version + ", without sandbox",
    })
}

/// Major and minor number from `QEMU emulator version 7.2.22 (Debian ...)`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let rest = text.split_once("version ")?.1;
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Checks that the file looks like a kernel for the architecture: QEMU's own message would name neither.
///
/// # Errors
/// [`VmError::File`] or [`VmError::NotAKernel`].
pub fn check_image(path: &Path, arch: Arch) -> Result<(), VmError> {
    use std::io::Read;
    let mut head = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(1024).read_to_end(&mut head))
        .map_err(|source| VmError::File {
            path: path.to_owned(),
            source,
        })?;
    let is = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    // Documentation/arch/x86/boot.rst, header.magic; Documentation/arch/arm64/booting.rst, magic.
    let x86 = is(0x202, b"HdrS");
    let arm = is(56, b"ARM\x64");
    let why = match arch {
        Arch::X86_64 if x86 => return Ok(()),
        // QEMU unpacks a gzipped Image by itself.
        Arch::Aarch64 if arm || is(0, &[0x1f, 0x8b]) => return Ok(()),
        Arch::X86_64 if arm => "it is an arm64 Image",
        Arch::Aarch64 if x86 => "it is an x86 bzImage",
        _ if is(0, b"\x7fELF") => {
            "it is an ELF file; take bzImage (x86-64) or Image (arm64) from arch/*/boot"
        }
        Arch::X86_64 => "it lacks the bzImage header",
        Arch::Aarch64 => "it lacks the Image header",
    };
    Err(VmError::NotAKernel {
        path: path.to_owned(),
        arch: arch.name(),
        why: why.to_owned(),
    })
}

/// Numbers of the descriptors that QEMU inherits.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    /// The shared memory, the only one that may be written.
    pub memory: i32,
    pub image: i32,
    pub initramfs: i32,
}

/// What the kernel is told.
pub fn command_line(config: &VmConfig) -> String {
    let (console, more) = match (config.arch, config.accel) {
        // Each setting of the local APIC's timer wakes another thread of QEMU: a periodic tick needs none.
        (Arch::X86_64, Accel::Tcg) => (
            "ttyS0",
            "nokaslr mitigations=off tsc=reliable nohz=off highres=off",
        ),
        (Arch::X86_64, Accel::Kvm) => ("ttyS0", "nokaslr mitigations=off"),
        (Arch::Aarch64, Accel::Tcg) => ("ttyAMA0", "nokaslr mitigations=off kpti=off"),
        (Arch::Aarch64, Accel::Kvm) => ("ttyAMA0", "nokaslr"),
    };
    let mut line =
        format!("console={console} quiet panic=-1 rdinit=/init {TRIM} {SWITCH_ON} {more}");
    if (config.arch, config.accel) == (Arch::X86_64, Accel::Tcg) {
        line.push_str(&format!(" {RIGHTS}"));
    }
    // With the vDSO go three VMAs of each process. Threads of sections, which have more than one CPU, want its clock.
    if config.arch == Arch::X86_64 && config.cpus == 1 {
        line.push_str(" vdso=0");
    }
    if !config.append.is_empty() {
        line.push(' ');
        line.push_str(&config.append);
    }
    line
}

/// QEMU's arguments.
pub fn arguments(config: &VmConfig, given: Given, sandbox: bool) -> Vec<String> {
    let file = |fd: i32| format!("/proc/self/fd/{fd}");
    let mut args: Vec<String> = Vec::new();
    let mut add = |option: &str, value: String| args.extend([option.to_owned(), value]);
    let accel = match (config.accel, config.arch) {
        // Where no second CPU looks on, a pair of exclusive load and store is translated to plain ones and a barrier to
        // nothing, but only without a thread per CPU. x86 kernels drop their lock prefixes on one CPU by themselves.
        (Accel::Tcg, Arch::Aarch64) if config.cpus == 1 => "tcg,thread=single",
        (Accel::Tcg, _) => "tcg,thread=multi",
        (Accel::Kvm, _) => "kvm",
    };
    add("-accel", accel.to_owned());
    let (machine, cpu) = match (config.arch, config.accel) {
        // rep movsb and stosb are slow under TCG: without ERMS and FSRM the kernel uses plain loops. Without LA57 a walk
        // has a level less. With SMAP the kernel has a second TLB for what it reads of user memory, and each stac and clac
        // goes back to QEMU's main loop.
        (Arch::X86_64, Accel::Tcg) => ("pc", "max,-erms,-fsrm,-la57,-smap"),
        (Arch::X86_64, Accel::Kvm) => ("pc", "host"),
        (Arch::Aarch64, Accel::Tcg) => {
            // cortex-a57 is the fastest, and has no 16 KiB pages.
            let cpu = match config.page_size {
                Some(16384) => "cortex-a76",
                _ => "cortex-a57",
            };
            ("virt", cpu)
        }
        (Arch::Aarch64, Accel::Kvm) => ("virt,gic-version=host", "host"),
    };
    add("-machine", machine.to_owned());
    add("-cpu", config.cpu.clone().unwrap_or_else(|| cpu.to_owned()));
    // A socket for each: the BIOS lists one core of a socket in the table that a kernel without ACPI reads.
    add("-smp", format!("{0},sockets={0}", config.cpus));
    add("-m", config.memory_mib.to_string());
    add("-display", "none".to_owned());
    add("-chardev", "stdio,id=console,signal=off".to_owned());
    add("-serial", "chardev:console".to_owned());
    add(
        "-object",
        format!(
            "memory-backend-file,id=shared,share=on,mem-path={},size={}",
            file(given.memory),
            layout::BYTES
        ),
    );
    add("-device", "ivshmem-plain,memdev=shared".to_owned());
    add("-kernel", file(given.image));
    add("-initrd", file(given.initramfs));
    add("-append", command_line(config));
    if sandbox {
        add("-sandbox", SANDBOX.to_owned());
    }
    args.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright";
        assert_eq!(parse_version(debian), Some((7, 2)));
        assert_eq!(parse_version("QEMU emulator version 10.1.0"), Some((10, 1)));
        assert_eq!(parse_version("something else"), None);
        assert!(Some((7, 2)) > parse_version("QEMU emulator version 6.2.0"));
    }

    /// No network, no disk, no monitor; one file that may be written, which is memory.
    #[test]
    fn a_machine_has_what_it_is_given_and_no_more() {
        let given = Given {
            memory: 3,
            image: 4,
            initramfs: 5,
        };
        for arch in Arch::ALL {
            for accel in [Accel::Tcg, Accel::Kvm] {
                let path = Path::new("elsewhere");
                let mut config = VmConfig::new(path, path, arch, path);
                config.accel = accel;
                let words = arguments(&config, given, true);
                let options: Vec<&str> = words
                    .iter()
                    .map(String::as_str)
                    .filter(|word| word.starts_with('-'))
                    .collect();
                let known = [
                    "-accel",
                    "-machine",
                    "-cpu",
                    "-smp",
                    "-m",
                    "-display",
                    "-chardev",
                    "-serial",
                    "-object",
                    "-device",
                    "-kernel",
                    "-initrd",
                    "-append",
                    "-sandbox",
                    "-nodefaults",
                    "-no-user-config",
                    "-no-reboot",
                ];
                assert_eq!(options, known, "{words:?}");
                let after = |option: &str| {
                    let at = words.iter().position(|word| word == option).unwrap();
                    words[at + 1].as_str()
                };
                assert_eq!(after("-display"), "none");
                assert_eq!(after("-chardev"), "stdio,id=console,signal=off");
                assert_eq!(after("-device"), "ivshmem-plain,memdev=shared");
                let memory = after("-object");
                assert!(memory.contains("mem-path=/proc/self/fd/3,"), "{memory}");
                assert_eq!(after("-kernel"), "/proc/self/fd/4");
                assert_eq!(after("-initrd"), "/proc/self/fd/5");
                for denied in ["obsolete", "elevateprivileges", "spawn", "resourcecontrol"] {
                    let denied = format!("{denied}=deny");
                    assert!(after("-sandbox").contains(&denied), "{denied}");
                }
                assert!(!words.iter().any(|word| word.contains("elsewhere")));
                let without = arguments(&config, given, false);
                assert!(!without.contains(&"-sandbox".to_string()));
            }
        }
    }

    #[test]
    fn what_is_no_kernel_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let mut bz = vec![0; 1024];
        bz[0x202..0x206].copy_from_slice(b"HdrS");
        let mut arm = vec![0; 1024];
        arm[56..60].copy_from_slice(b"ARM\x64");
        let bz = file("bz", &bz);
        let arm = file("arm", &arm);
        assert!(check_image(&bz, Arch::X86_64).is_ok());
        assert!(check_image(&arm, Arch::Aarch64).is_ok());
        for (path, arch, says) in [
            (bz, Arch::Aarch64, "x86 bzImage"),
            (arm, Arch::X86_64, "arm64 Image"),
            (file("elf", b"\x7fELF"), Arch::X86_64, "ELF"),
            (file("text", b"not a kernel"), Arch::Aarch64, "Image header"),
            (file("empty", b""), Arch::X86_64, "bzImage header"),
        ] {
            let error = check_image(&path, arch).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        let missing = check_image(Path::new("/nonexistent/bzImage"), Arch::X86_64);
        assert!(matches!(missing, Err(VmError::File { .. })));
    }
}
