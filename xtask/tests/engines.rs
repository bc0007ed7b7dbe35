//! Farms on real engines: Slurm and GNU parallel on this machine, by ssh, too, with real kernels and lost tasks, and the Kubernetes job held
//! against Kubernetes' schema. Feature `farm-tests`; what is missing is installed where that may be.

mod outcome;

use harness::report::{through, MANIFEST};
use nix::sys::signal::{kill, Signal};
use nix::unistd::{Pid, User};
use outcome::{matrix, verdicts};
use std::collections::BTreeSet;
use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A campaign of eleven blocks of programs.
const OPTIONS: [&str; 8] = [
    "--kernels",
    "7.3",
    "--arch",
    "x86_64",
    "--programs",
    "640",
    "--corpus",
    "corpus/guard",
];

/// The engine, and the partition of [`configuration`].
const SLURM: [&str; 3] = ["slurm", "--partition", "all"];

/// Longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

fn xtask(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(words)
        .current_dir(workspace())
        .stdin(Stdio::null());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a name in UTF-8")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Waits until something is there.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "still no {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Pids of processes whose command line has all of these words in it.
fn processes(words: &[&str]) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        words.iter().all(|word| line.contains(word))
    };
    pids.filter(has).collect()
}

/// The campaign in one go, undisturbed: its folder, and its exit code.
fn undisturbed(dir: &Path) -> (PathBuf, Option<i32>) {
    let whole = dir.join("whole");
    let words = ["vm-matrix", "--jobs", "1", "--out", text(&whole)];
    let ended = xtask(&[&words[..], &OPTIONS].concat()).output();
    let ended = ended.expect("a run");
    assert!(matches!(ended.status.code(), Some(0 | 1)), "{ended:?}");
    (whole, ended.status.code())
}

fn same(whole: &Path, all: &Path) {
    let (one, other) = (verdicts(whole), verdicts(all));
    assert_eq!(one.len(), 11);
    assert!(one.values().all(|block| block.tally.programs > 0));
    assert_eq!(one, other);
    assert_eq!(matrix(whole), matrix(all));
}

/// A farm that runs in the background; what it says goes to a file.
struct Running {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

impl Running {
    fn start(engine: &[&str], dir: &Path, environment: &[(&str, &str)]) -> Running {
        let (out, log) = (dir.join("farm"), dir.join("farm.log"));
        let words = ["--shards", "3", "--jobs", "1", "--out", text(&out), "--"];
        let words = [&["farm"], engine, &words[..], &OPTIONS].concat();
        let file = File::create(&log).expect("a log");
        let child = xtask(&words)
            .envs(environment.iter().copied())
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("a farm");
        Running { child, out, log }
    }

    /// A shard in its middle, and the process that runs it.
    fn in_its_middle(&self) -> (u64, Pid) {
        wait("shard in its middle", || {
            (1..=3).find_map(|shard| {
                let folder = self.out.join("shards").join(shard.to_string());
                let now = folder.join(MANIFEST).exists().then(|| through(&folder));
                let now = now?.ok()?;
                if now.done == 0 || now.is_complete() {
                    return None;
                }
                let runs = processes(&["xtask vm-matrix", text(&folder)]);
                Some((shard, Pid::from_raw(*runs.first()?)))
            })
        })
    }

    fn code(&mut self) -> Option<i32> {
        let status = wait("end of the farm", || {
            self.child.try_wait().expect("a status")
        });
        status.code()
    }

    /// Everything that was said, for a test that fails.
    fn said(&self) -> String {
        let mut said = read(&self.log);
        for shard in ["1", "2", "3", "slurm"] {
            let log = self.out.join(format!("logs/{shard}.log"));
            said += &format!("--- {}\n{}", log.display(), read(&log));
        }
        said
    }
}

/// Slurm on the loopback device: munged, slurmctld and slurmd with files of their own, stopped when it goes.
struct Cluster {
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl Cluster {
    fn start() -> Cluster {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        // Other users' daemons must get to their own folders in it, and read the configuration.
        open(path, 0o711);
        let mut cluster = Cluster {
            daemons: Vec::new(),
            folder,
        };
        let path = cluster.folder.path().to_path_buf();
        let munge = user("munge");
        let [keys, control, node] = ["munge", "slurmctld", "slurmd"].map(|name| path.join(name));
        for (folder, owner) in [(&keys, &munge), (&control, &user("slurm")), (&node, &None)] {
            std::fs::create_dir(folder).expect("a folder");
            open(folder, 0o711);
            own(folder, owner);
        }
        let key = keys.join("key");
        let random: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..))
            .take(128)
            .collect();
        std::fs::write(&key, random).expect("a key");
        open(&key, 0o400);
        own(&key, &munge);
        let socket = keys.join("socket");
        let option = |name: &str, file: &str| format!("--{name}={}", keys.join(file).display());
        cluster.daemon(
            &munge,
            "munged",
            &[
                "--foreground",
                &option("key-file", "key"),
                &option("socket", "socket"),
                &option("pid-file", "pid"),
                &option("log-file", "log"),
                &option("seed-file", "seed"),
            ],
        );
        wait("socket of munged", || socket.exists().then_some(()));
        let conf = path.join("slurm.conf");
        std::fs::write(&conf, configuration(&path)).expect("slurm.conf");
        open(&conf, 0o644);
        cluster.daemon(&user("slurm"), "slurmctld", &["-D", "-f", text(&conf)]);
        let host = hostname();
        cluster.daemon(&None, "slurmd", &["-D", "-f", text(&conf), "-N", &host]);
        wait("idle node", || {
            let states = cluster.tell("sinfo", &["--noheader", "--format=%T"]);
            states.contains("idle").then_some(())
        });
        cluster
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    fn daemon(&mut self, user: &Option<User>, program: &str, words: &[&str]) {
        let log = File::create(self.folder.path().join(format!("{program}.out")));
        let log = log.expect("a log");
        let mut command = Command::new(xtask::setup::program(program).expect("installed"));
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        if let Some(user) = user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        self.daemons.push(command.spawn().expect("a daemon"));
    }

    /// What a command of Slurm prints.
    fn tell(&self, program: &str, words: &[&str]) -> String {
        let mut command = Command::new(program);
        let out = command.args(words).env("SLURM_CONF", self.conf()).output();
        String::from_utf8_lossy(&out.expect("a command of Slurm").stdout).into_owned()
    }

    /// Stops it; nothing may be left.
    fn stop(self) {
        let path = self.folder.path().to_path_buf();
        drop(self);
        assert!(!path.exists());
        assert_eq!(processes(&[text(&path)]), [0; 0], "something is left");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM);
            let since = Instant::now();
            while since.elapsed() < Duration::from_secs(20)
                && daemon.try_wait().is_ok_and(|status| status.is_none())
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            for name in ["munged.out", "slurmctld.out", "slurmd.out"] {
                eprintln!("--- {name}\n{}", read(&self.folder.path().join(name)));
            }
        }
    }
}

/// Each daemon runs as its own user when we are root, otherwise as ours.
fn user(name: &str) -> Option<User> {
    let root = nix::unistd::geteuid().is_root();
    root.then(|| {
        User::from_name(name)
            .ok()
            .flatten()
            .expect("its package makes the user")
    })
}

fn open(path: &Path, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("permissions");
}

fn own(path: &Path, owner: &Option<User>) {
    if let Some(owner) = owner {
        let (user, group) = (owner.uid.as_raw(), owner.gid.as_raw());
        chown(path, Some(user), Some(group)).expect("an owner");
    }
}

fn hostname() -> String {
    let name = read(Path::new("/proc/sys/kernel/hostname"));
    let name = name.trim().split('.').next().unwrap_or_default();
    name.to_string()
}

fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// slurm.conf for one node with two processors, without cgroups and accounting.
fn configuration(path: &Path) -> String {
    let path = path.display();
    let me = User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let me = me.expect("a user").name;
    let controller = user("slurm").map_or(me.clone(), |user| user.name);
    format!(
        "ClusterName=mmdiff\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\nSlurmdPort={}\n\
         AuthType=auth/munge\nAuthInfo=socket={path}/munge/socket\nCredType=cred/munge\n\
         SlurmUser={controller}\nSlurmdUser={me}\n\
         StateSaveLocation={path}/slurmctld\nSlurmctldPidFile={path}/slurmctld/pid\n\
         SlurmdSpoolDir={path}/slurmd\nSlurmdPidFile={path}/slurmd/pid\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
         AccountingStorageType=accounting_storage/none\nMpiDefault=none\nMailProg=/bin/true\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nReturnToService=2\nKillWait=5\n\
         SlurmdParameters=config_overrides\n\
         NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000\nPartitionName=all Nodes=ALL Default=YES State=UP\n",
        port(),
        port(),
        host = hostname(),
    )
}

/// A task whose process is killed, and one that is cancelled, in their middle: both are tried again, and nothing shows it.
#[test]
fn slurm_runs_a_campaign_and_loses_tasks() {
    let say = |line: &str| eprintln!("{line}");
    xtask::setup::ensure_slurm(&say).expect("Slurm");
    let dir = tempfile::tempdir().expect("a folder");
    let (whole, code) = undisturbed(dir.path());
    let cluster = Cluster::start();
    let conf = cluster.conf();
    let mut farm = Running::start(&SLURM, dir.path(), &[("SLURM_CONF", text(&conf))]);

    let (_, victim) = farm.in_its_middle();
    kill(victim, Signal::SIGKILL).expect("kill -9");
    wait("end of the victim", || kill(victim, None).err());
    let (shard, cancelled) = farm.in_its_middle();
    let queue = cluster.tell("squeue", &["--noheader", "--array", "--format=%F_%K"]);
    let task = queue
        .lines()
        .find(|line| line.ends_with(&format!("_{shard}")));
    cluster.tell("scancel", &[task.expect("its task")]);
    wait("end of the cancelled task", || kill(cancelled, None).err());

    let ended = farm.code();
    let said = farm.said();
    assert_eq!(ended, code, "{said}");
    assert_eq!(said.matches(" was lost: try ").count(), 2, "{said}");
    assert!(said.contains("3 of 3 shards are through"), "{said}");
    let batch = read(&farm.out.join("farm.sbatch"));
    assert!(batch.contains("#SBATCH --partition=all\n"), "{batch}");
    // What Slurm has written down of the two.
    let log = read(&farm.out.join("logs/slurm.log"));
    assert!(log.contains("CANCELLED"), "{said}");
    same(&whole, &farm.out.join("all"));
    assert_eq!(cluster.tell("squeue", &["--noheader"]), "");

    // Once more: all is through, so nothing is submitted.
    let mut again = Running::start(&SLURM, dir.path(), &[("SLURM_CONF", text(&conf))]);
    assert_eq!(again.code(), code, "{}", again.said());
    assert!(!read(&again.log).contains("running, 3 waiting"));
    same(&whole, &again.out.join("all"));
    assert_eq!(processes(&["xtask vm-matrix", text(&farm.out)]), [0; 0]);
    cluster.stop();
}

#[test]
fn parallel_runs_a_campaign_and_loses_a_job() {
    let say = |line: &str| eprintln!("{line}");
    xtask::setup::ensure_parallel(&say).expect("GNU parallel");
    let dir = tempfile::tempdir().expect("a folder");
    let (whole, code) = undisturbed(dir.path());
    let mut farm = Running::start(&["parallel"], dir.path(), &[]);
    loses_a_job(&mut farm, &whole, code);
}

/// Kills a shard in its middle; the farm's end is that of the undisturbed run.
fn loses_a_job(farm: &mut Running, whole: &Path, code: Option<i32>) {
    let (shard, victim) = farm.in_its_middle();
    kill(victim, Signal::SIGKILL).expect("kill -9");
    let ended = farm.code();
    let said = farm.said();
    assert_eq!(ended, code, "{said}");
    let log = read(&farm.out.join(format!("logs/{shard}.log")));
    assert!(log.contains("blocks of programs are through"), "{said}");
    let jobs = read(&farm.out.join("joblog"));
    let done: BTreeSet<&str> = jobs
        .lines()
        .filter(|line| line.split('\t').nth(6) == Some("0"))
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(done, BTreeSet::from(["1", "2", "3"]), "{jobs}");
    same(whole, &farm.out.join("all"));
    assert_eq!(processes(&["xtask vm-matrix", text(&farm.out)]), [0; 0]);
}

/// An sshd on the loopback device with files of its own, which lets in who runs this test; stopped when it goes.
struct Server {
    folder: tempfile::TempDir,
    daemon: Child,
}

impl Server {
    fn start(sshd: &xtask::setup::Sshd) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let at = |name: &str| path.join(name);
        for key in ["host", "user"] {
            let words = ["-q", "-t", "ed25519", "-N", "", "-f"];
            let made = Command::new("ssh-keygen").args(words).arg(at(key)).status();
            assert!(made.expect("ssh-keygen").success());
        }
        let port = port();
        let here = path.display();
        let mut conf = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {here}/host\nAuthorizedKeysFile {here}/user.pub\nPidFile none\n\
             UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        );
        for (option, part) in &sshd.parts {
            conf += &format!("{option} {}\n", part.display());
        }
        std::fs::write(at("sshd.conf"), conf).expect("a file");
        let host = read(&at("host.pub"));
        std::fs::write(at("known"), format!("[127.0.0.1]:{port} {host}")).expect("a file");
        // Two machines by their names.
        let client = format!(
            "Host one two\n HostName 127.0.0.1\n HostKeyAlias [127.0.0.1]:{port}\n Port {port}\n IdentityFile {here}/user\n IdentitiesOnly yes\n \
             UserKnownHostsFile {here}/known\n StrictHostKeyChecking yes\n BatchMode yes\n LogLevel ERROR\n"
        );
        std::fs::write(at("client.conf"), client).expect("a file");
        std::fs::write(at("hosts"), "1/one\n1/two\n").expect("a file");
        let run = format!(
            "exec env LD_LIBRARY_PATH={} {} -D -e -f {here}/sshd.conf",
            sshd.libraries.display(),
            sshd.program.display()
        );
        // Root's sshd wants a user and a folder, which only it sees.
        let root = format!(
            "set -e\nmount -t tmpfs tmpfs /run\nmkdir -m 755 /run/sshd\n\
             {{ cat /etc/passwd; echo 'sshd:x:65533:65534::/run/sshd:/bin/false'; }} >{here}/passwd\n\
             grep -q ^sshd: /etc/passwd || mount --bind {here}/passwd /etc/passwd\n{run}"
        );
        let words = match nix::unistd::geteuid().is_root() {
            true => vec![
                "unshare",
                "--mount",
                "--propagation=private",
                "sh",
                "-c",
                &root,
            ],
            false => vec!["sh", "-c", &run],
        };
        let log = File::create(at("log")).expect("a log");
        let daemon = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("an sshd");
        let server = Server { folder, daemon };
        let since = Instant::now();
        while !server.ssh("one", "true") {
            let said = read(&server.at("log"));
            assert!(since.elapsed() < Duration::from_secs(30), "{said}");
            std::thread::sleep(Duration::from_millis(200));
        }
        server
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The client, with its configuration, as words of a shell.
    fn client(&self) -> String {
        format!("ssh -F {}", self.at("client.conf").display())
    }

    fn ssh(&self, host: &str, command: &str) -> bool {
        let words = format!("{} {host} {command}", self.client());
        let ended = Command::new("sh")
            .args(["-c", &words])
            .stdin(Stdio::null())
            .output();
        ended.is_ok_and(|ended| ended.status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Machines that are reached by ssh.
#[test]
fn parallel_runs_a_campaign_over_ssh_and_loses_a_job() {
    let say = |line: &str| eprintln!("{line}");
    xtask::setup::ensure_parallel(&say).expect("GNU parallel");
    let sshd = xtask::setup::ensure_sshd(workspace(), &say).expect("an sshd");
    let dir = tempfile::tempdir().expect("a folder");
    let (whole, code) = undisturbed(dir.path());
    let server = Server::start(&sshd);
    let hosts = server.at("hosts");
    let client = server.client();
    let engine = ["parallel", "--hosts", text(&hosts)];
    let mut farm = Running::start(&engine, dir.path(), &[("PARALLEL_SSH", &client)]);
    loses_a_job(&mut farm, &whole, code);
    // Both had some of it.
    let jobs = read(&farm.out.join("joblog"));
    let machines: BTreeSet<&str> = jobs
        .lines()
        .skip(1)
        .filter_map(|line| line.split('\t').nth(1))
        .collect();
    assert_eq!(machines, BTreeSet::from(["one", "two"]), "{jobs}");
    let folder = server.folder.path().to_path_buf();
    drop(server);
    assert_eq!(processes(&["sshd", text(&folder)]), [0; 0]);
}

/// As on a machine with nothing but QEMU, the checkout and the farm's folder.
#[test]
fn a_shard_needs_no_compiler_no_mirror_and_no_cache() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("farm");
    let words = [
        "farm",
        "parallel",
        "--dry-run",
        "--shards",
        "3",
        "--jobs",
        "1",
        "--out",
    ];
    let prepared = xtask(&[&words[..], &[text(&out), "--"], &OPTIONS].concat()).output();
    let prepared = prepared.expect("a farm");
    assert!(prepared.status.success(), "{prepared:?}");
    let nowhere = "/nonexistent";
    let ended = Command::new(out.join("shard.sh"))
        .arg("1")
        .envs([
            ("CARGO", nowhere),
            ("RUSTC", nowhere),
            ("CARGO_TARGET_DIR", nowhere),
        ])
        .envs([
            ("MMDIFF_DEBIAN_MIRROR", "http://127.0.0.1:9"),
            ("MMDIFF_CACHE", text(&dir.path().join("cache"))),
        ])
        .output()
        .expect("a shard");
    let log = read(&out.join("logs/1.log"));
    assert!(ended.status.success(), "{log}");
    let shard = out.join("shards/1");
    assert!(through(&shard).expect("a shard").is_complete(), "{log}");
    assert!(verdicts(&shard)
        .values()
        .all(|block| block.tally.programs > 0));
    // A kernel that was damaged on its way is not booted.
    let image = std::fs::read_dir(out.join("stage"))
        .expect("a folder")
        .flatten();
    let mut image = image
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "image"));
    let image = image.next().expect("an image");
    let mut bytes = std::fs::read(&image).expect("an image");
    bytes[4096] ^= 1;
    std::fs::write(&image, bytes).expect("an image");
    let ended = Command::new(out.join("shard.sh"))
        .arg("2")
        .output()
        .expect("a shard");
    let log = read(&out.join("logs/2.log"));
    assert_eq!(ended.status.code(), Some(69), "{log}");
    assert!(log.contains("damaged"), "{log}");
}

/// Versions of Kubernetes whose schema the job is held against: the first that has `backoffLimitPerIndex`, and newer ones.
const KUBERNETES: [&str; 3] = ["1.28", "1.33", "1.37"];

#[test]
fn the_job_fits_the_schema_of_kubernetes() {
    let say = |line: &str| eprintln!("{line}");
    let validator = xtask::setup::ensure_kubernetes_validate(workspace(), &say);
    let validator = validator.expect("the validator");
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("farm");
    let words = [
        "farm",
        "k8s",
        "--shards",
        "50",
        "--image",
        "registry/mmdiff:1",
        "--claim",
        "results",
        "--kvm",
        "devices.kubevirt.io/kvm",
        "--dry-run",
        "--out",
        text(&out),
        "--",
        // Nothing is to be fetched for it.
        "--simulated=none",
        "--programs",
        "1000000",
    ];
    let ended = xtask(&words).output().expect("a farm");
    assert!(ended.status.success(), "{ended:?}");
    let job = read(&out.join("job.json"));
    let check = |manifest: &str, version: &str| {
        let file = dir.path().join("manifest.json");
        std::fs::write(&file, manifest).expect("a manifest");
        let ended = Command::new("python3")
            .args(["-m", "kubernetes_validate", "--strict", "-k", version])
            .arg(&file)
            .env("PYTHONPATH", &validator)
            .output()
            .expect("python3");
        (
            ended.status.success(),
            String::from_utf8_lossy(&ended.stdout).into_owned()
                + &String::from_utf8_lossy(&ended.stderr),
        )
    };
    for version in KUBERNETES {
        let (fits, said) = check(&job, version);
        assert!(fits, "{said}");
        let passed = format!("against version {version}");
        assert!(said.contains("passed") && said.contains(&passed), "{said}");
        // A name, a type and a place that are wrong.
        for (right, wrong) in [
            ("\"completionMode\"", "\"completionsMode\""),
            ("\"completions\": 50", "\"completions\": \"50\""),
            ("\"restartPolicy\"", "\"mountPath\""),
        ] {
            assert!(job.contains(right), "{job}");
            let (fits, said) = check(&job.replace(right, wrong), version);
            assert!(!fits, "{wrong}: {said}");
        }
    }
}
