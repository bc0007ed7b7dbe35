//! `cargo xtask farm`: a campaign on many machines, through an engine that is there already. All engines run the same script, once
//! for each shard.

use crate::exit::{say, Exit, UsageError};
use crate::folders;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Prepares a campaign for a farm: a script that runs one shard, begun or resumed, and what the engine needs to run it N times.
///
/// The checkout and the output folder must be at the same path on all machines (a shared file system), with this program built and
/// QEMU installed there; kernels are fetched into each machine's cache, or before, by `cargo xtask kernels fetch`, into one that
/// they share. With `--dry-run`, files are written and the command that submits them is printed; without it, it is run.
/// Afterwards `cargo xtask merge OUT/shards/* --out OUT/all` puts the shards together and says what is missing.
///
/// Examples:
///   cargo xtask farm slurm --shards 100 --partition batch -- --programs 1000000
///   cargo xtask farm parallel --shards 8 --hosts hosts.txt -- --programs 100000
///   cargo xtask farm k8s --shards 50 --image registry/mmdiff --claim results --dry-run -- --programs 1000000
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct FarmArgs {
    #[command(subcommand)]
    engine: Engine,
}

#[derive(Subcommand)]
enum Engine {
    /// A job array for Slurm; a task that is lost is put back into the queue and resumes its shard.
    Slurm {
        #[command(flatten)]
        common: Common,
        /// Slurm's partition. Default: Slurm's.
        #[arg(long, value_name = "P")]
        partition: Option<String>,
    },
    /// GNU parallel, on this machine or over ssh, with its job log.
    Parallel {
        #[command(flatten)]
        common: Common,
        /// Machines, as parallel's --sshloginfile wants them. Default: this one.
        #[arg(long, value_name = "FILE")]
        hosts: Option<PathBuf>,
    },
    /// An Indexed Job for Kubernetes; the completion index is the shard.
    K8s {
        #[command(flatten)]
        common: Common,
        /// A container image with the built checkout.
        #[arg(long, value_name = "IMAGE")]
        image: String,
        /// The volume claim that results go to; mounted at --out.
        #[arg(long, value_name = "NAME")]
        claim: String,
        /// Ask for a KVM device, by the name that the cluster's device plugin gives it.
        #[arg(long, value_name = "RESOURCE")]
        kvm: Option<String>,
    },
}

#[derive(Args)]
struct Common {
    /// Shards: tasks of the array, jobs, completions.
    #[arg(long, value_name = "N", default_value_t = 10)]
    shards: u64,
    /// VMs side by side in each, a core and a GiB of memory for each of them.
    #[arg(long, value_name = "J", default_value_t = 2)]
    jobs: u64,
    /// Where scripts, shards and logs go. Default: a new folder under target/mmdiff/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the files and print the command that submits them, and no more.
    #[arg(long)]
    dry_run: bool,
    /// Options of vm-matrix, after `--`; not --out, --shard, --resume, --jobs, --minutes.
    #[arg(last = true, value_name = "OPTIONS")]
    matrix: Vec<String>,
}

/// Carries out `farm`.
pub fn run(args: &FarmArgs, workspace: &Path) -> Result<Exit> {
    let common = match &args.engine {
        Engine::Slurm { common, .. }
        | Engine::Parallel { common, .. }
        | Engine::K8s { common, .. } => common,
    };
    if common.shards == 0 {
        return Err(UsageError("--shards 0: there is nothing to run".into()).into());
    }
    for word in &common.matrix {
        let taken = ["--out", "--shard", "--resume", "--jobs", "--minutes"];
        if taken.iter().any(|option| word.starts_with(option)) {
            return Err(UsageError(format!("farm sets {word} itself: leave it out")).into());
        }
    }
    let out = folders::run_folder(workspace, common.out.as_deref());
    for folder in ["shards", "logs"] {
        let folder = out.join(folder);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let out = out.canonicalize()?;
    let script = out.join("shard.sh");
    write(&script, &shard_script(common, &out)?)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    let submit = match &args.engine {
        Engine::Slurm { partition, .. } => {
            let file = out.join("farm.sbatch");
            write(&file, &sbatch(common, &out, partition.as_deref()))?;
            vec!["sbatch".to_string(), file.display().to_string()]
        }
        Engine::Parallel { hosts, .. } => parallel(common, &out, hosts.as_deref()),
        Engine::K8s {
            image, claim, kvm, ..
        } => {
            let file = out.join("job.json");
            let job = job(common, &out, image, claim, kvm.as_deref());
            write(&file, &format!("{job:#}\n"))?;
            let file = file.display().to_string();
            vec!["kubectl".into(), "apply".into(), "-f".into(), file]
        }
    };
    let merge = format!(
        "cargo xtask merge {0}/shards/* --out {0}/all",
        out.display()
    );
    if common.dry_run {
        say!("{}\n{merge}\n", words(&submit));
        return Ok(Exit::Fine);
    }
    let status = Command::new(&submit[0])
        .args(&submit[1..])
        .status()
        .with_context(|| format!("{} cannot be run: is it installed?", submit[0]))?;
    if !status.success() {
        anyhow::bail!("`{}` ended with {status}", words(&submit));
    }
    say!("when all shards are through:\n{merge}\n");
    Ok(Exit::Fine)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn words(command: &[String]) -> String {
    let quoted: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    quoted.join(" ")
}

/// Runs one shard, whose number is the argument: begins it, or resumes what an earlier attempt has left.
fn shard_script(common: &Common, out: &Path) -> Result<String> {
    let program = std::env::current_exe().context("this program")?;
    let directory = std::env::current_dir().context("the working directory")?;
    Ok(format!(
        r#"#!/bin/sh
# One shard of {shards}; its number is the argument. Exit code 0: it is through, whatever it found; `merge` tells what that is.
set -u
cd {directory} || exit 69
folder={shards_folder}/$1
if [ -e "$folder/campaign.json" ]; then
    set -- --resume "$folder"
else
    # An earlier attempt that was killed before it had begun.
    rm -rf "$folder"
    set -- {options} --shard "$1/{shards}" --out "$folder"
fi
{program} vm-matrix "$@" --jobs {jobs}
code=$?
[ "$code" -le 1 ] && exit 0
exit "$code"
"#,
        shards = common.shards,
        directory = quoted(&directory.to_string_lossy()),
        shards_folder = quoted(&out.join("shards").to_string_lossy()),
        options = words(&common.matrix),
        program = quoted(&program.to_string_lossy()),
        jobs = common.jobs,
    ))
}

fn sbatch(common: &Common, out: &Path, partition: Option<&str>) -> String {
    let partition = partition.map_or(String::new(), |p| format!("#SBATCH --partition={p}\n"));
    format!(
        "#!/bin/sh\n#SBATCH --job-name=mmdiff\n#SBATCH --array=1-{shards}\n{partition}#SBATCH --ntasks=1\n\
         #SBATCH --cpus-per-task={jobs}\n#SBATCH --mem-per-cpu=1G\n#SBATCH --requeue\n#SBATCH --open-mode=append\n\
         #SBATCH --output={out}/logs/%a.log\nexec {out}/shard.sh \"$SLURM_ARRAY_TASK_ID\"\n",
        shards = common.shards,
        jobs = common.jobs,
        out = out.display(),
    )
}

fn parallel(common: &Common, out: &Path, hosts: Option<&Path>) -> Vec<String> {
    let mut command = vec!["parallel".to_string(), "--retries=3".into()];
    command.push(format!("--joblog={}", out.join("joblog").display()));
    match hosts {
        // Each machine runs as many shards as its line in the file says.
        Some(hosts) => command.push(format!("--sshloginfile={}", hosts.display())),
        None => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
            command.push(format!("--jobs={}", (cores / common.jobs).max(1)));
        }
    }
    command.push(out.join("shard.sh").display().to_string());
    command.push("{}".into());
    command.push(":::".into());
    command.extend((1..=common.shards).map(|k| k.to_string()));
    command
}

fn job(
    common: &Common,
    out: &Path,
    image: &str,
    claim: &str,
    kvm: Option<&str>,
) -> serde_json::Value {
    let mut resources =
        json!({"cpu": common.jobs.to_string(), "memory": format!("{}Gi", common.jobs)});
    if let Some(kvm) = kvm {
        resources[kvm] = "1".into();
    }
    let script = quoted(&out.join("shard.sh").to_string_lossy());
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "mmdiff"},
        "spec": {
            "completionMode": "Indexed",
            "completions": common.shards,
            "parallelism": common.shards,
            "backoffLimitPerIndex": 3,
            "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "shard",
                    "image": image,
                    "command": ["/bin/sh", "-c", format!("exec {script} $((JOB_COMPLETION_INDEX + 1))")],
                    "resources": {"requests": resources.clone(), "limits": resources},
                    "volumeMounts": [{"name": "results", "mountPath": out}]
                }],
                "volumes": [{"name": "results", "persistentVolumeClaim": {"claimName": claim}}]
            }}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common() -> Common {
        Common {
            shards: 3,
            jobs: 2,
            out: None,
            dry_run: true,
            matrix: ["--append", "a 'b'"].map(String::from).to_vec(),
        }
    }

    #[test]
    fn words_survive_a_shell() {
        let script = shard_script(&common(), Path::new("/o u/t")).unwrap();
        assert!(script.contains(r"--append 'a '\''b'\'''"), "{script}");
        assert!(script.contains("folder='/o u/t/shards'/$1"), "{script}");
        let ran = Command::new("sh")
            .args(["-n", "-c", &script])
            .status()
            .unwrap();
        assert!(ran.success());
    }

    #[test]
    fn each_engine_runs_each_shard() {
        let out = Path::new("/out");
        let text = sbatch(&common(), out, Some("batch"));
        assert!(
            text.contains("--array=1-3\n#SBATCH --partition=batch\n"),
            "{text}"
        );
        let command = parallel(&common(), out, None);
        assert_eq!(command[command.len() - 4..], [":::", "1", "2", "3"]);
        let job = job(
            &common(),
            out,
            "image",
            "claim",
            Some("devices.kubevirt.io/kvm"),
        );
        assert_eq!(job["spec"]["completions"], 3);
        let limits = &job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"];
        assert_eq!(limits["devices.kubevirt.io/kvm"], "1");
    }
}
