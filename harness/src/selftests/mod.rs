//! The kernel tree's own selftests on a kernel, many in one boot: which of their tests pass.

use crate::kernel::vm::VmConfig;
use crate::reproducer::{boot, TrialError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

const INIT: &str = include_str!("init.c");

/// Seconds that a program may take.
const EACH: u32 = 60;
/// How long a boot may take besides.
const BOOT: Duration = Duration::from_secs(120);

/// The tests that passed, as `PROGRAM: NUMBER NAME`. Of a program that ended with 0, `PROGRAM: exit` is one.
pub type Passed = BTreeSet<String>;

/// What came of a boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ran {
    pub passed: Passed,
    /// Programs that ended, whether well or not; one that is missing took the kernel down, or its time was up when others'
    /// before it were late.
    pub ended: BTreeSet<String>,
    /// All of the console.
    pub console: String,
}

/// Boots `config`'s kernel and runs these compiled programs in the order of their names. `folder` takes the files that this needs.
///
/// # Errors
/// No compiler for PID 1, no QEMU or no kernel. A kernel that dies on the way is no error: what did not pass is missing.
pub fn run(
    config: &VmConfig,
    programs: &BTreeMap<String, Vec<u8>>,
    folder: &Path,
) -> Result<Ran, TrialError> {
    let config = VmConfig {
        append: format!("{} selftest_limit={EACH}", config.append)
            .trim()
            .to_owned(),
        ..config.clone()
    };
    let limit = BOOT + Duration::from_secs(EACH.into()) * programs.len() as u32;
    let init = ("selftests-init", INIT);
    Ok(read(boot(
        &config,
        init,
        ("tests", programs),
        folder,
        limit,
    )?))
}

/// Reads what `init.c` says.
fn read(console: String) -> Ran {
    let mut ran = Ran::default();
    let mut program = None;
    // The kernel may have written to the same line before.
    let said = |line: &str, word: &str| {
        let (_, rest) = line.split_once(word)?;
        Some(rest.trim().to_owned())
    };
    for line in console.lines() {
        if let Some(name) = said(line, "selftest: begin ") {
            program = Some(name);
        } else if let Some(end) = said(line, "selftest: end ") {
            program = None;
            if let Some((name, status)) = end.split_once(' ') {
                ran.ended.insert(name.to_owned());
                if status == "0" {
                    ran.passed.insert(format!("{name}: exit"));
                }
            }
        } else if let (Some(program), Some(test)) = (&program, passed(line)) {
            ran.passed.insert(format!("{program}: {test}"));
        }
    }
    ran.console = console;
    ran
}

/// Number and name in a line of the Test Anything Protocol that says that a test has passed (Documentation/dev-tools/ktap.rst).
fn passed(line: &str) -> Option<String> {
    let rest = line.trim_end().strip_prefix("ok ")?;
    let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
    let number: u32 = number.parse().ok()?;
    let name = name.trim_start_matches("- ");
    let (name, directive) = name.split_once(" # ").unwrap_or((name, ""));
    let passed = !directive.starts_with("SKIP") && !name.starts_with("# SKIP");
    passed.then(|| format!("{number} {}", name.trim()).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_is_found_in_a_console() {
        let console = "selftest: begin guard\r\nTAP version 13\r\n# RUN anon.basic ...\r\nok 1 anon.basic\r\n\
            not ok 2 anon.fork\r\nok 3 anon.uffd # SKIP no rights\r\nok 4 - file.basic # took 3 s\r\n\r\n\
            [ 1.2] mmdiff: planted bug reached\r\nselftest: end guard 1\r\nok 9 nobody's\r\nselftest: begin mlock\r\n\
            ok\r\n[ 2.0] selftest: end mlock 0\r\nselftest: begin late\r\nok 1 a\r\n";
        let ran = read(console.into());
        let passed: Vec<&str> = ran.passed.iter().map(String::as_str).collect();
        assert_eq!(
            passed,
            [
                "guard: 1 anon.basic",
                "guard: 4 file.basic",
                "late: 1 a",
                "mlock: exit"
            ]
        );
        assert_eq!(ran.ended.len(), 2);
    }
}
