//! `cargo xtask farm`: a campaign on many machines, through an engine that is there already. All engines run the same script, once
//! for each shard.
//!
//! | file | subject |
//! | --- | --- |
//! | `prepare` | the farm's folder, what is staged before anything runs, and the script of a shard |
//! | `slurm`, `parallel`, `k8s` | the engines |
//! | `status` | which shards are through |

mod k8s;
mod parallel;
mod prepare;
mod slurm;
mod status;

pub use status::left;

use crate::exit::{say, Exit};
use anyhow::Result;
use clap::{Args, Subcommand};
use prepare::Farm;
use std::path::{Path, PathBuf};

/// Runs a campaign on a farm: a script that runs one shard, begun or resumed, and what the engine needs to run it N times.
///
/// The checkout (programs, known findings) and the output folder must be at the same path on all machines (a shared file system), and QEMU
/// installed there. This program, the guest and kernels are put into OUT/stage once, before anything is submitted: machines need no
/// compiler and no mirror, and what is built or changed in the checkout later does not matter. `slurm` and `parallel` follow the shards, try lost ones again (three times in all)
/// and merge them into OUT/all. The same command line with the same --out goes on where an earlier one was stopped. With --dry-run,
/// everything is staged and written, and the command that submits it is printed.
///
/// Exit codes: those of `merge`; 0 complete, nothing new; 1 a new divergence, hang or crash; 69 blocks are missing, or the
/// infrastructure failed; 130 stopped: what was submitted goes on.
///
/// Examples:
///   cargo xtask farm slurm --array 100 --partition batch --out /shared/campaign -- --programs 1000000
///   cargo xtask farm parallel --shards 8 --hosts hosts.txt --out /shared/campaign -- --programs 100000
///   cargo xtask farm k8s --shards 50 --image registry/mmdiff --claim results --dry-run -- --programs 1000000
///   cargo xtask farm status /shared/campaign
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct FarmArgs {
    #[command(subcommand)]
    engine: Engine,
}

#[derive(Subcommand)]
enum Engine {
    /// A job array for Slurm; a task that is lost is submitted again and resumes its shard.
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
        /// A container image with the checkout, QEMU, and a C library as new as that of this machine.
        #[arg(long, value_name = "IMAGE")]
        image: String,
        /// The volume claim that results go to; mounted at --out.
        #[arg(long, value_name = "NAME")]
        claim: String,
        /// Ask for a KVM device, by the name that the cluster's device plugin gives it.
        #[arg(long, value_name = "RESOURCE")]
        kvm: Option<String>,
    },
    /// Which shards are through. Exit code 0: all of them; 69: not yet.
    Status(status::StatusArgs),
}

#[derive(Args)]
struct Common {
    /// Shards: tasks of the array, jobs, completions.
    #[arg(
        long,
        visible_alias = "array",
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    shards: u64,
    /// VMs side by side in each, a core and a GiB of memory for each of them; half a GiB comes on top.
    #[arg(long, value_name = "J", default_value_t = 2)]
    jobs: u64,
    /// Where scripts, shards and logs go. Default: a new folder under target/mmdiff/runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Stage and write everything, and print the command that submits it.
    #[arg(long)]
    dry_run: bool,
    /// Options of vm-matrix, after `--`; not --out, --shard, --resume, --jobs, --minutes.
    #[arg(last = true, value_name = "OPTIONS")]
    matrix: Vec<String>,
}

/// Carries out `farm`.
pub fn run(args: &FarmArgs, workspace: &Path) -> Result<Exit> {
    match &args.engine {
        Engine::Slurm { common, partition } => {
            let farm = Farm::prepare(common, workspace)?;
            slurm::run(&farm, partition.as_deref(), common.dry_run)
        }
        Engine::Parallel { common, hosts } => {
            let farm = Farm::prepare(common, workspace)?;
            parallel::run(&farm, hosts.as_deref(), common.dry_run)
        }
        Engine::K8s {
            common,
            image,
            claim,
            kvm,
        } => {
            let farm = Farm::prepare(common, workspace)?;
            let job = k8s::job(&farm, image, claim, kvm.as_deref());
            k8s::run(&farm, &job, common.dry_run)
        }
        Engine::Status(args) => status::run(args),
    }
}

/// Says what would be run.
fn tell(farm: &Farm, commands: &[Vec<String>]) -> Result<Exit> {
    for command in commands {
        say!("{}\n", prepare::words(command));
    }
    say!("{}\n", farm.merge_line());
    Ok(Exit::Fine)
}
