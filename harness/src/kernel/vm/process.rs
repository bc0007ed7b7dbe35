//! The QEMU process and its console.
//!
//! One thread per VM starts QEMU and then reads its console until QEMU ends. The kernel kills QEMU when that thread dies
//! (PR_SET_PDEATHSIG is about the thread that forked), so QEMU cannot outlive this process, however it ends.

use super::error::{Running, VmError};
use super::log::Log;
use super::qemu::{self, arguments, program, Given, VmConfig};
use super::rights;
use super::shared::Shared;
use crate::kernel::console::{Recogniser, Report};
use nix::sys::signal::Signal;
use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind::PermissionDenied;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{mpsc, Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;
use wire::layout;
use wire::layout::{Phase, Progress};
use wire::ring::Memory;

/// Bytes of the console's end that are kept in memory.
const TAIL: usize = 64 << 10;
/// The guest's own lines begin so, or follow something unfinished of the BIOS.
const MARK: &str = "mmdiff-guest: ";

/// What the console has shown so far.
#[derive(Debug, Default)]
pub struct Console {
    recogniser: Recogniser,
    tail: VecDeque<u8>,
    /// All bytes that ever came.
    pub total: u64,
    /// The guest has said that it is up, or is a bare init.
    pub ready: bool,
    /// The guest has said why it cannot come up.
    pub error: Option<String>,
    /// QEMU has closed it.
    pub closed: bool,
    /// What ran when the first report appeared.
    pub running: Running,
    /// When something came last.
    pub last: Option<Instant>,
}

impl Console {
    /// A report of the kernel since the guest is up (or ever, if it is not).
    pub fn report(&self) -> Option<&Report> {
        self.recogniser.report()
    }

    /// The console's end.
    pub fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn take(&mut self, bytes: &[u8], shared: &Shared) {
        self.total += bytes.len() as u64;
        self.last = Some(Instant::now());
        self.tail.extend(bytes);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
        let known = self.report().is_some();
        let lines = self.recogniser.feed(bytes);
        self.understand(&lines);
        if !known && self.report().is_some() {
            // While the kernel prints the rest of its report, the op that caused it still runs.
            self.running = running(shared);
        }
    }

    fn understand(&mut self, lines: &[String]) {
        for line in lines {
            let Some((_, text)) = line.split_once(MARK) else {
                continue;
            };
            if let Some(why) = text.strip_prefix("error: ") {
                self.error.get_or_insert_with(|| why.to_owned());
            } else if text == "ready" || text == "bare" {
                self.ready = true;
                self.recogniser.forget();
            }
        }
    }

    fn close(&mut self) {
        let last: Vec<String> = self.recogniser.close().into_iter().collect();
        self.understand(&last);
        self.closed = true;
    }
}

/// Program and step that the guest says it runs.
pub fn running(shared: &Shared) -> Running {
    let word = shared.load(layout::PROGRESS).ok()?;
    let progress = Progress::unpack(word);
    let program = shared.load(layout::PROGRAM).ok()?;
    (progress.phase != Phase::Idle).then_some((program, progress.step))
}

/// A running QEMU.
#[derive(Debug)]
pub struct Process {
    child: Child,
    console: Arc<Mutex<Console>>,
    thread: Option<JoinHandle<()>>,
    /// Just before QEMU was started.
    pub started: Instant,
}

impl Process {
    /// Starts QEMU: with an ordinary user's rights ([`rights`]), and in its sandbox where it has one.
    ///
    /// # Errors
    /// It is not there, or too old; a file cannot be read, or the console log not be written.
    pub fn start(config: &VmConfig, shared: Arc<Shared>) -> Result<Process, VmError> {
        let qemu = qemu::look(config.arch)?;
        let (name, package) = program(config.arch);
        let ids = rights::ids(config.accel);
        let (image, initramfs) = (
            rights::file(&config.image, ids)?,
            rights::file(&config.initramfs, ids)?,
        );
        let given = Given {
            memory: shared.as_fd().as_raw_fd(),
            image: image.as_raw_fd(),
            initramfs: initramfs.as_raw_fd(),
        };
        let mut command = Command::new(name);
        command.args(arguments(config, given, qemu.sandbox));
        // Relative names mean nothing to it, and it may not be allowed here.
        command.current_dir("/");
        if let Some(ids) = ids {
            // Other groups go, too.
            command.uid(ids.user).gid(ids.group);
        }
        let (names, files) = ((name, package), vec![image, initramfs]);
        Process::launch(command, names, &config.console_log, shared, files).map_err(|error| match error {
            VmError::Host { source, .. } if ids.is_some() && source.kind() == PermissionDenied => {
                VmError::QemuFailed(format!(
                    "{name} may not be run by the user nobody, whom root's QEMU becomes ({source}); let others run it, or run mmdiff as an ordinary user"
                ))
            }
            other => other,
        })
    }

    /// Starts `command`, whose output is a console. `names` are the program's and its package's, for the error when it is
    /// missing. It inherits the shared memory, and `more`.
    pub fn launch(
        command: Command,
        names: (&'static str, &'static str),
        log: &Path,
        shared: Arc<Shared>,
        more: Vec<OwnedFd>,
    ) -> Result<Process, VmError> {
        let log = Log::create(log).map_err(|source| VmError::File {
            path: log.to_owned(),
            source,
        })?;
        let console = Arc::new(Mutex::new(Console::default()));
        let (tell, told) = mpsc::channel();
        let of_thread = Arc::clone(&console);
        let started = Instant::now();
        let thread = std::thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || match spawn(command, names, &shared, &more) {
                Ok((child, output)) => {
                    drop(more);
                    let _ = tell.send(Ok(child));
                    read_console(output, log, &of_thread, &shared);
                }
                Err(e) => {
                    let _ = tell.send(Err(e));
                }
            })
            .map_err(|source| VmError::Host {
                what: "starting a thread",
                source,
            })?;
        let child = told.recv().unwrap_or_else(|_| {
            Err(VmError::QemuFailed(
                "the thread that starts it has ended".to_owned(),
            ))
        })?;
        Ok(Process {
            child,
            console,
            thread: Some(thread),
            started,
        })
    }

    /// The console as it is now.
    pub fn console(&self) -> MutexGuard<'_, Console> {
        self.console.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How QEMU has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Number of the QEMU process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends QEMU and waits until its console is written.
    pub fn end(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Lets the kernel send `signal` to what `command` starts when the thread that starts it ends, and so when this process does,
/// whatever way (prctl(2), PR_SET_PDEATHSIG).
pub fn end_with_us(command: &mut Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    // SAFETY: runs in the child between fork and exec, makes two system calls and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(signal)?;
            if nix::unistd::getppid() != parent {
                // The parent died before the signal was ordered.
                return Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
            }
            Ok(())
        });
    }
}

fn spawn(
    mut command: Command,
    (program, package): (&'static str, &'static str),
    shared: &Shared,
    more: &[OwnedFd],
) -> Result<(Child, OwnedFd), VmError> {
    let host = |source: std::io::Error| VmError::Host {
        what: "starting QEMU",
        source,
    };
    let (output, input) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| host(e.into()))?;
    let errors = input.try_clone().map_err(host)?;
    let mut inherited = vec![shared.as_fd().as_raw_fd()];
    inherited.extend(more.iter().map(AsRawFd::as_raw_fd));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(input))
        .stderr(Stdio::from(errors));
    // This comes after the change of user, which would cancel it.
    end_with_us(&mut command, Signal::SIGKILL);
    // SAFETY: runs in the child between fork and exec and makes async-signal-safe system calls only; it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            // QEMU alone inherits them: other children of ours keep them closed on exec.
            for &fd in &inherited {
                if libc::fcntl(fd, libc::F_SETFD, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    match command.spawn() {
        Ok(child) => Ok((child, output)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(VmError::QemuMissing { program, package })
        }
        Err(e) => Err(host(e)),
    }
}

fn read_console(output: OwnedFd, mut log: Log, console: &Mutex<Console>, shared: &Shared) {
    let lock = || console.lock().unwrap_or_else(PoisonError::into_inner);
    let mut output = File::from(output);
    let mut buffer = [0; 4096];
    loop {
        let n = match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let mut console = lock();
        log.add(&buffer[..n]);
        console.take(&buffer[..n], shared);
    }
    let mut console = lock();
    console.close();
    let tail = console.tail();
    drop(console);
    log.close(&tail);
}
