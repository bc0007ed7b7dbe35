//! A farm's folder: what is written and staged before anything runs, and what is made of it at the end.

use super::Common;
use crate::exit::{Exit, UsageError};
use crate::folders::Held;
use crate::vm_matrix::MatrixArgs;
use crate::{merge, rig, staged};
use anyhow::{Context, Result};
pub use harness::report::quoted;
use harness::report::{through, Through, MANIFEST};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use vm_images::files::private_folder;

/// How often a shard is tried, the first time included.
pub const TRIES: u32 = 3;

/// MiB that are asked for each VM: 512 of the guest, and QEMU's translations, which grow. After 4,373 programs QEMU had at most 286
/// (`vm-matrix --kernels 7.3 --programs 4000 --jobs 2`, VmHWM of both architectures' QEMU).
const VM_MIB: u64 = 1024;

/// MiB that are asked for the process that judges: 68 at most in the same run, and 300 however long it runs.
const HOST_MIB: u64 = 512;

/// Which farm a folder belongs to.
const FARM: &str = "farm.json";

/// A campaign that is shared out.
pub struct Farm {
    /// The folder, from the root on.
    pub out: PathBuf,
    pub shards: u64,
    /// VMs side by side in each shard.
    pub jobs: u64,
    workspace: PathBuf,
    /// Who follows a farm has its folder for itself.
    _held: Option<Held>,
}

impl Farm {
    /// Makes the folder, or opens that of an earlier time; stages the program, the guest and kernels, and writes the script.
    ///
    /// # Errors
    /// Options that vm-matrix does not take or that the farm sets itself, the folder of another farm (usage); set-up that fails.
    pub fn prepare(common: &Common, workspace: &Path) -> Result<Farm> {
        for word in &common.matrix {
            let taken = ["--out", "--shard", "--resume", "--jobs", "--minutes"];
            if taken.iter().any(|option| word.starts_with(option)) {
                return Err(UsageError(format!("farm sets {word} itself: leave it out")).into());
            }
        }
        let verb = std::iter::once("vm-matrix".to_string());
        let command: Vec<String> = verb.chain(common.matrix.iter().cloned()).collect();
        let matrix = crate::matrix_args(&command).map_err(UsageError)?;
        let held = Held::run(workspace, common.out.as_deref())?;
        for folder in ["shards", "logs"] {
            held.make(folder)?;
        }
        let farm = Farm {
            out: held.canonicalize()?,
            _held: Some(held),
            shards: common.shards,
            jobs: common.jobs,
            workspace: workspace.to_path_buf(),
        };
        farm.claim(common)?;
        let script = farm.script();
        farm.stage(&matrix)?;
        let mut options = common.matrix.clone();
        if matrix.simulated.is_none() {
            let staged = farm.staged().display().to_string();
            options.extend(["--staged".to_string(), staged]);
        }
        write(&script, &farm.shard_script(&options)?)?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700))?;
        Ok(farm)
    }

    /// Puts what shards run into the folder, once: this program, and what it boots.
    fn stage(&self, matrix: &MatrixArgs) -> Result<()> {
        let (folder, program) = (self.staged(), self.program());
        if program.exists() {
            return Ok(());
        }
        private_folder(&folder).with_context(|| folder.display().to_string())?;
        if matrix.simulated.is_none() {
            let logs = self.out.join("logs");
            let say = |line: &str| eprintln!("{line}");
            let rig = rig::rig(&matrix.kernels, &self.workspace, &logs, &say)?;
            staged::stage(&rig, &folder)?;
        }
        // Last of all: when it is there, everything is.
        let whole = folder.join("xtask.new");
        let me = std::env::current_exe().context("this program")?;
        std::fs::copy(&me, &whole).with_context(|| me.display().to_string())?;
        std::fs::rename(&whole, &program).with_context(|| program.display().to_string())
    }

    /// Where everything is that shards need to run.
    fn staged(&self) -> PathBuf {
        self.out.join("stage")
    }

    /// The program that shards run.
    fn program(&self) -> PathBuf {
        self.staged().join("xtask")
    }

    /// Writes down which farm the folder belongs to, or sees that it is this one.
    fn claim(&self, common: &Common) -> Result<()> {
        let path = self.out.join(FARM);
        let mine = json!({"shards": self.shards, "options": common.matrix});
        match std::fs::read_to_string(&path) {
            Ok(text)
                if serde_json::from_str::<serde_json::Value>(&text)
                    .ok()
                    .as_ref()
                    == Some(&mine) =>
            {
                Ok(())
            }
            Ok(text) => Err(UsageError(format!(
                "{}: the folder holds another farm, {}; choose another --out",
                self.out.display(),
                text.trim()
            ))
            .into()),
            Err(_) => write(&path, &format!("{mine}\n")),
        }
    }

    /// Whether a folder belongs to a farm.
    pub fn is_in(out: &Path) -> bool {
        out.join(FARM).exists()
    }

    /// The number of shards of the farm that a folder belongs to.
    ///
    /// # Errors
    /// It belongs to none.
    pub fn shards_of(out: &Path) -> Result<u64> {
        let path = out.join(FARM);
        let wrong = |what: String| {
            UsageError(format!(
                "{}: {what}; is this the folder of a farm?",
                path.display()
            ))
        };
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
        let farm: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let shards = farm["shards"].as_u64();
        Ok(shards.ok_or_else(|| wrong("it names no number of shards".into()))?)
    }

    /// Memory of a task, MiB.
    pub fn memory_mib(&self) -> u64 {
        self.jobs * VM_MIB + HOST_MIB
    }

    /// A name for the engine that only the farm in this folder has.
    pub fn name(&self) -> String {
        let path = vm_images::hash::bytes(self.out.to_string_lossy().as_bytes());
        format!("mmdiff-{}", &path[..10])
    }

    /// The script that runs a shard.
    pub fn script(&self) -> PathBuf {
        self.out.join("shard.sh")
    }

    /// What a shard has said.
    pub fn log(&self, shard: u64) -> PathBuf {
        self.out.join("logs").join(format!("{shard}.log"))
    }

    /// The command that merges all shards.
    pub fn merge_line(&self) -> String {
        let out = self.out.to_string_lossy();
        format!("cargo xtask merge {0}/shards/* --out {0}/all", quoted(&out))
    }

    /// Whether every planned block of a shard has its record.
    ///
    /// # Errors
    /// Its results are damaged.
    pub fn is_through(&self, shard: u64) -> Result<bool> {
        Ok(progress(&self.out, shard)?.is_some_and(Through::is_complete))
    }

    /// Merges what there is, in place of what was merged before; shards that are not through are told.
    ///
    /// # Errors
    /// No shard was begun, or they cannot be merged.
    pub fn merge(&self) -> Result<Exit> {
        let mut runs = Vec::new();
        for shard in 1..=self.shards {
            if !self.is_through(shard)? {
                eprintln!(
                    "shard {shard} is not through: see {}",
                    self.log(shard).display()
                );
            }
            let folder = folder(&self.out, shard);
            if folder.join(MANIFEST).exists() {
                runs.push(folder);
            }
        }
        if runs.is_empty() {
            anyhow::bail!(
                "no shard was begun: see {}",
                self.out.join("logs").display()
            );
        }
        let all = self.out.join("all");
        if all.exists() {
            std::fs::remove_dir_all(&all).with_context(|| all.display().to_string())?;
        }
        merge::run(&merge::MergeArgs::new(runs, all), &self.workspace)
    }

    /// Runs one shard, whose number is the argument: begins it, or resumes what an earlier attempt has left.
    fn shard_script(&self, matrix: &[String]) -> Result<String> {
        let directory = std::env::current_dir().context("the working directory")?;
        Ok(format!(
            r#"#!/bin/sh
# One shard of {shards}; its number is the argument. Exit code 0: each of its blocks has a record, whatever was found; `merge` tells
# what that is.
set -u
shard=$1
cd {directory} || exit 69
exec >>{out}/logs/"$shard".log 2>&1
# An attempt that its engine has given up may live on for a while: vm-matrix has the lock from its shell.
exec 9>{out}/logs/"$shard".lock
flock 9 || exit 69
folder={out}/shards/$shard
is_through() {{ {program} farm status {out} --shard "$shard"; }}
is_through && exit 0
if [ -e "$folder/campaign.json" ]; then
    {program} vm-matrix --resume "$folder" --jobs {jobs}
else
    # An earlier attempt that was killed before it had begun.
    rm -rf "$folder"
    {program} vm-matrix {options} --shard "$shard/{shards}" --out "$folder" --jobs {jobs}
fi
code=$?
is_through && exit 0
[ "$code" -le 1 ] && exit 69
exit "$code"
"#,
            shards = self.shards,
            jobs = self.jobs,
            directory = quoted(&directory.to_string_lossy()),
            out = quoted(&self.out.to_string_lossy()),
            options = words(matrix),
            program = quoted(&self.program().to_string_lossy()),
        ))
    }
}

/// The folder of a shard.
fn folder(out: &Path, shard: u64) -> PathBuf {
    out.join("shards").join(shard.to_string())
}

/// How far a shard is; `None`: it was not begun.
///
/// # Errors
/// Its results are damaged.
pub fn progress(out: &Path, shard: u64) -> Result<Option<Through>> {
    let folder = folder(out, shard);
    if !folder.join(MANIFEST).exists() {
        return Ok(None);
    }
    Ok(Some(through(&folder)?))
}

/// Writes a file of a farm.
pub fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

/// A command as a shell reads it back.
pub fn words(command: &[String]) -> String {
    let quoted: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    quoted.join(" ")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::process::Command;

    /// A farm of three shards.
    pub fn farm(out: &str) -> Farm {
        Farm {
            out: out.into(),
            shards: 3,
            jobs: 2,
            workspace: PathBuf::new(),
            _held: None,
        }
    }

    #[test]
    fn words_survive_a_shell() {
        let options = ["--append", "a 'b'"].map(String::from);
        let script = farm("/o u/t").shard_script(&options).unwrap();
        assert!(script.contains(r"--append 'a '\''b'\'''"), "{script}");
        assert!(script.contains("folder='/o u/t'/shards/$shard"), "{script}");
        let ran = Command::new("sh")
            .args(["-n", "-c", &script])
            .status()
            .unwrap();
        assert!(ran.success());
    }
}
