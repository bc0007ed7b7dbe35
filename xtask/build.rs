//! Names the compiler that built the commands, for the record of a run.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output();
    let version = said.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_string(),
    );
    let version = match version.as_str() {
        "" => "unknown",
        known => known,
    };
    println!("cargo:rustc-env=MMDIFF_RUSTC={version}");
}
