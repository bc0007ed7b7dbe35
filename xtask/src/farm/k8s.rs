//! An Indexed Job for Kubernetes: each completion runs one shard.

use super::prepare::{quoted, write, Farm, TRIES};
use super::tell;
use crate::exit::{say, Exit};
use anyhow::{Context, Result};
use serde_json::{json, Value};
use std::process::Command;

/// Carries out `farm k8s`.
pub fn run(farm: &Farm, job: &Value, dry_run: bool) -> Result<Exit> {
    let file = farm.out.join("job.json");
    write(&file, &format!("{job:#}\n"))?;
    let words = ["kubectl", "apply", "-f", &file.display().to_string()].map(String::from);
    if dry_run {
        return tell(farm, &[words.to_vec()]);
    }
    let status = Command::new(&words[0])
        .args(&words[1..])
        .status()
        .context("kubectl cannot be run: is it installed?")?;
    if !status.success() {
        anyhow::bail!("kubectl ended with {status}");
    }
    say!(
        "cargo xtask farm status {}\nwhen all shards are through:\n{}\n",
        quoted(&farm.out.to_string_lossy()),
        farm.merge_line()
    );
    Ok(Exit::Fine)
}

/// The manifest.
pub fn job(farm: &Farm, image: &str, claim: &str, kvm: Option<&str>) -> Value {
    let memory = format!("{}Mi", farm.memory_mib());
    let mut resources = json!({"cpu": farm.jobs.to_string(), "memory": memory});
    if let Some(kvm) = kvm {
        resources[kvm] = "1".into();
    }
    // Kubernetes would take $(...) for a variable of its own.
    let script = quoted(&farm.script().to_string_lossy());
    let command = format!("exec {script} `expr \"$JOB_COMPLETION_INDEX\" + 1`");
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": farm.name()},
        "spec": {
            "completionMode": "Indexed",
            "completions": farm.shards,
            "parallelism": farm.shards,
            "backoffLimitPerIndex": TRIES - 1,
            "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{
                    "name": "shard",
                    "image": image,
                    "command": ["/bin/sh", "-c", command],
                    "resources": {"requests": resources.clone(), "limits": resources},
                    "volumeMounts": [{"name": "results", "mountPath": farm.out}]
                }],
                "volumes": [{"name": "results", "persistentVolumeClaim": {"claimName": claim}}]
            }}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::prepare::tests::farm;
    use super::*;

    #[test]
    fn each_completion_is_a_shard() {
        let kvm = Some("devices.kubevirt.io/kvm");
        let job = job(&farm("/out"), "image", "claim", kvm);
        assert_eq!(job["spec"]["completions"], 3);
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            container["resources"]["limits"]["devices.kubevirt.io/kvm"],
            "1"
        );
        assert_eq!(container["resources"]["requests"]["memory"], "2560Mi");
        let script = container["command"][2].as_str().unwrap();
        let script = script.replace("/out/shard.sh", "echo");
        let shell = Command::new("sh")
            .args(["-c", &script])
            .env("JOB_COMPLETION_INDEX", "2")
            .output();
        assert_eq!(shell.unwrap().stdout, b"3\n");
    }
}
