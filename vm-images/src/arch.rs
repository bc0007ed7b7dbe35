//! The two architectures, and what Debian, QEMU and Rust call them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A guest architecture. Prints and parses as `x86_64` and `aarch64`; `amd64` and `arm64` are understood too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// x86-64, Debian's `amd64`.
    #[serde(rename = "x86_64")]
    X86_64,
    /// AArch64, Debian's `arm64`.
    Aarch64,
}

impl Arch {
    /// Both, in the order in which tables print them.
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// `x86_64` or `aarch64`, as the kernel's `uname -m` and QEMU say.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// `amd64` or `arm64`, as Debian says.
    pub fn debian(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arch {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "x86_64" | "x86-64" | "amd64" => Ok(Arch::X86_64),
            "aarch64" | "arm64" => Ok(Arch::Aarch64),
            other => Err(format!(
                "unknown architecture `{other}`; there are x86_64 and aarch64"
            )),
        }
    }
}
