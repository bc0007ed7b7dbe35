//! The running kernel instead of one in a virtual machine: for the fuzz target `host`, and nobody else.
//!
//! What is PID 1 of a machine there is PID 1 of a PID namespace here, in user, mount, network and IPC namespaces of its own, as an
//! ordinary user without any capability, under limits. It has no way to change a setting of the machine, and does not try: whoever
//! sends programs sends those that want the machine as it is.

use crate::actor::USER;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Says that whoever runs this may.
const ALLOWED: &str = "MMDIFF_ALLOW_HOST";
/// The descriptor of the memory that is shared with the host.
const MEMORY: &str = "MMDIFF_HOST_MEMORY";

/// The user that root becomes, outside: nobody.
const NOBODY: u64 = 65534;

/// Set once, before there is a second process.
static HERE: AtomicBool = AtomicBool::new(false);

/// Whether the kernel is this machine's own.
pub fn is_here() -> bool {
    HERE.load(Relaxed)
}

/// What numbers a limit: its type has another name in each libc.
#[cfg(target_env = "gnu")]
type Which = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Which = libc::c_int;

/// Limits, whatever the programs do: (which, how much).
const LIMITS: [(Which, u64); 5] = [
    (libc::RLIMIT_CORE, 0),
    (libc::RLIMIT_NOFILE, 512),
    (libc::RLIMIT_AS, 4 << 30),
    (libc::RLIMIT_FSIZE, 1 << 30),
    (libc::RLIMIT_STACK, 8 << 20),
];

/// If we are asked to run here: the descriptor of the shared memory, in a process that is PID 1 of namespaces of its own. The process
/// that was started waits for it and ends as it does. `None`: nobody asks for it.
///
/// # Errors
/// It is not allowed, or this machine does not let us have one of the namespaces.
pub fn enter() -> Option<Result<i32, String>> {
    let memory = std::env::var(MEMORY).ok()?;
    if std::env::var(ALLOWED).as_deref() != Ok("1") {
        return Some(Err(format!(
            "programs run on this machine's own kernel only with {ALLOWED}=1"
        )));
    }
    HERE.store(true, Relaxed);
    let memory = memory.parse().map_err(|_| format!("{MEMORY}={memory}"));
    Some(memory.and_then(|fd| alone().map(|()| fd)))
}

/// Keeps this process and its children on the processor that it runs on, as in a virtual machine, which has one. Pages that are new, or
/// that MADV_FREE was asked for, wait in a list of the processor's own before reclaim finds them: PAGEOUT on another one passes them over.
fn on_one_processor() -> i32 {
    // SAFETY: a set of processors is plain bits, and a local that outlives the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu().max(0) as usize, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    }
}

/// Returns in PID 1 of the namespaces only.
fn alone() -> Result<(), String> {
    // SAFETY: plain system calls about this process, which has one thread; pointers are to locals that outlive them.
    unsafe {
        if libc::geteuid() == 0 {
            let nobody = NOBODY as u32;
            check("setgroups", libc::setgroups(0, std::ptr::null()))?;
            check("setresgid", libc::setresgid(nobody, nobody, nobody))?;
            check("setresuid", libc::setresuid(nobody, nobody, nobody))?;
        }
        // A change of user takes away one's own files in /proc, and the signal at the end of whoever started us.
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        check(
            "prctl",
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0),
        )?;
        check(
            "no_new_privs",
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        )?;
        for (which, most) in LIMITS {
            let mut limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            libc::getrlimit(which, &mut limit);
            let most = most.min(limit.rlim_max);
            let limit = libc::rlimit {
                rlim_cur: most,
                rlim_max: most,
            };
            check("setrlimit", libc::setrlimit(which, &limit))?;
        }
        check("sched_setaffinity", on_one_processor())?;
        let (user, group) = (libc::getuid(), libc::getgid());
        let namespaces = libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC;
        check("unshare", libc::unshare(namespaces)).map_err(|e| {
            format!(
                "{e}: this machine gives an ordinary user no user, PID, mount, network and IPC namespaces, and without them no program \
                 runs here (user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                 kernel.apparmor_restrict_unprivileged_userns)"
            )
        })?;
        let write = |path: &str, text: String| {
            std::fs::write(path, text).map_err(|e| format!("{path}: {e}"))
        };
        write("/proc/self/setgroups", "deny".into())?;
        write("/proc/self/uid_map", format!("{USER} {user} 1"))?;
        write("/proc/self/gid_map", format!("{USER} {group} 1"))?;
        match libc::fork() {
            -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
            0 => inside(),
            child => {
                let mut status = 0;
                while libc::waitpid(child, &mut status, 0) != child {}
                libc::_exit(if libc::WIFEXITED(status) {
                    libc::WEXITSTATUS(status)
                } else {
                    71
                })
            }
        }
    }
}

/// In the new namespaces: file systems of our own, and then no right to anything.
///
/// # Safety
/// The process has one thread.
unsafe fn inside() -> Result<(), String> {
    let mount = |kind: &CStr, at: &CStr, flags: u64| {
        // SAFETY: valid C strings; no data.
        let done = unsafe {
            libc::mount(
                kind.as_ptr(),
                at.as_ptr(),
                kind.as_ptr(),
                flags,
                std::ptr::null(),
            )
        };
        check("mount", done).map_err(|e| format!("{e} of {kind:?}"))
    };
    // SAFETY: plain system calls about this process.
    unsafe {
        check(
            "prctl",
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0),
        )?
    };
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE)?;
    // Not MS_NOEXEC: it shows in the VMAs of files.
    let quiet = libc::MS_NOSUID | libc::MS_NODEV;
    mount(c"proc", c"/proc", quiet)?;
    mount(c"ramfs", RAMFS_AT, quiet)?;
    drop_capabilities()
}

/// Where ramfs is mounted, in a mount namespace of our own: a folder that every machine has.
const RAMFS_AT: &CStr = c"/tmp";
/// The same.
pub const RAMFS: &str = "/tmp";

/// Takes every capability from this process and whatever it forks.
fn drop_capabilities() -> Result<(), String> {
    const VERSION: u32 = 0x2008_0522;
    let header = [VERSION, 0];
    let none = [0u32; 6];
    // SAFETY: header and data have the layout of version 3 and outlive the call; nothing else is touched.
    unsafe {
        for capability in 0..64 {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                break;
            }
        }
        let ambient = libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0,
        );
        check("ambient capabilities", ambient)?;
        let done = libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr());
        check("capset", done as i32)
    }
}

fn check(what: &str, result: i32) -> Result<(), String> {
    match result {
        0 => Ok(()),
        _ => Err(format!("{what}: {}", std::io::Error::last_os_error())),
    }
}
