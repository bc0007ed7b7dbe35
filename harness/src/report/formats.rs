//! A run's verdicts for other programs: KTAP version 1 and JUnit XML. Each kernel is one test, with four below it: what diverged, what
//! hung, what crashed, and whether the infrastructure held.

use crate::campaign::RowResult;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::fmt::Write;
use std::time::Duration;

/// One of the tests below a kernel.
struct Check {
    name: &'static str,
    /// How often it went wrong.
    wrong: u64,
    /// What to say about it, line by line.
    lines: Vec<String>,
}

/// The tests below a kernel that was run.
fn checks(row: &RowResult) -> [Check; 4] {
    let t = &row.tally;
    let bucket = |(bucket, n): &(crate::campaign::Bucket, u64)| {
        let program = row.first_programs.get(bucket);
        let program = program.map_or(String::new(), |name| format!(", first {name}"));
        format!("{bucket}: {n} programs{program}")
    };
    let buckets: Vec<String> = row.buckets.iter().map(bucket).collect();
    let lines = |n: u64| if n > 0 { buckets.clone() } else { Vec::new() };
    let nothing_ran = t.programs == 0 && row.errors.is_empty();
    let mut errors = row.errors.clone();
    errors.extend(nothing_ran.then(|| "no program ran".to_string()));
    let check = |name, wrong, lines| Check { name, wrong, lines };
    [
        check("divergences", t.divergences, lines(t.divergences)),
        check("hangs", t.hangs, lines(t.hangs)),
        check("crashes", t.crashes, lines(t.crashes)),
        check(
            "infrastructure",
            t.infra_errors.max(errors.len() as u64),
            errors,
        ),
    ]
}

fn name(row: &RowResult) -> String {
    let kernel = if row.release.is_empty() {
        &row.kernel
    } else {
        &row.release
    };
    format!("{kernel} {}", row.arch)
}

/// In KTAP a description ends at `#`, and a line is a line.
fn plain(text: &str) -> String {
    text.replace('#', "_").replace(['\n', '\r'], " ")
}

/// KTAP version 1.
pub fn ktap(rows: &[RowResult]) -> String {
    let mut text = format!("KTAP version 1\n1..{}\n", rows.len());
    for (number, row) in (1..).zip(rows) {
        let name = plain(&name(row));
        if let Some(why) = &row.skipped_because {
            let _ = writeln!(text, "ok {number} {name} # SKIP {}", plain(why));
            continue;
        }
        for id in &row.fixed {
            let _ = writeln!(
                text,
                "# {name}: known finding {id} did not happen: fixed there?"
            );
        }
        let checks = checks(row);
        text += "  KTAP version 1\n  1..4\n";
        let t = &row.tally;
        let _ = writeln!(
            text,
            "  # {} programs, {} ops, {} known, {} poisoned",
            t.programs, t.ops, t.known, t.poisoned
        );
        for (below, check) in (1..).zip(&checks) {
            for line in &check.lines {
                let _ = writeln!(text, "  # {}", line.replace(['\n', '\r'], " "));
            }
            let _ = writeln!(text, "  {} {below} {}", ok(check.wrong == 0), check.name);
        }
        let all = checks.iter().all(|check| check.wrong == 0);
        let _ = writeln!(text, "{} {number} {name}", ok(all));
    }
    text
}

fn ok(is: bool) -> &'static str {
    if is {
        "ok"
    } else {
        "not ok"
    }
}

/// JUnit XML: a suite for each kernel.
///
/// # Errors
/// Never for text; what the writer reports.
pub fn junit(rows: &[RowResult]) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("mmdiff vm-matrix");
    for row in rows {
        let mut suite = TestSuite::new(name(row));
        suite.set_time(Duration::from_secs_f64(row.seconds.max(0.0)));
        suite.add_property(("programs", row.tally.programs.to_string().as_str()));
        suite.add_property(("ops", row.tally.ops.to_string().as_str()));
        for id in &row.fixed {
            suite.add_property(("fixed", id.as_str()));
        }
        if let Some(why) = &row.skipped_because {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why.as_str());
            suite.add_test_case(TestCase::new("kernel", status));
            report.add_test_suite(suite);
            continue;
        }
        for check in checks(row) {
            let status = if check.wrong == 0 {
                TestCaseStatus::success()
            } else {
                let kind = match check.name {
                    "infrastructure" => NonSuccessKind::Error,
                    _ => NonSuccessKind::Failure,
                };
                let mut status = TestCaseStatus::non_success(kind);
                status.set_message(format!("{} {}", check.wrong, check.name));
                status.set_description(check.lines.join("\n"));
                status
            };
            let mut case = TestCase::new(check.name, status);
            case.set_classname(name(row));
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{Bucket, Tally};
    use expect_test::expect;

    fn rows() -> Vec<RowResult> {
        let good = RowResult {
            kernel: "7.3".into(),
            release: "7.3.4".into(),
            arch: "x86_64".into(),
            seconds: 2.5,
            tally: Tally {
                programs: 9,
                ops: 90,
                ..Tally::default()
            },
            ..RowResult::default()
        };
        let bucket = Bucket {
            op: "fork".into(),
            rule: "fork/copies-guards".into(),
            expected: "guard".into(),
            observed: "<empty> & more".into(),
        };
        let mut bad = good.clone();
        bad.arch = "aarch64".into();
        bad.tally.divergences = 2;
        bad.buckets = vec![(bucket.clone(), 2)];
        bad.first_programs.insert(bucket, "1/0/3".into());
        let broken = RowResult {
            errors: vec!["the VM is gone\nreally".into()],
            ..good.clone()
        };
        let empty = RowResult {
            tally: Tally::default(),
            ..good.clone()
        };
        let skipped = RowResult {
            kernel: "6.17".into(),
            arch: "x86_64".into(),
            skipped_because: Some("not to be had # anywhere".into()),
            ..RowResult::default()
        };
        vec![good, bad, broken, empty, skipped]
    }

    #[test]
    fn ktap_says_which_kernel_failed_and_why() {
        expect![[r#"
            KTAP version 1
            1..5
              KTAP version 1
              1..4
              # 9 programs, 90 ops, 0 known, 0 poisoned
              ok 1 divergences
              ok 2 hangs
              ok 3 crashes
              ok 4 infrastructure
            ok 1 7.3.4 x86_64
              KTAP version 1
              1..4
              # 9 programs, 90 ops, 0 known, 0 poisoned
              # fork: fork/copies-guards: guard -> <empty> & more: 2 programs, first 1/0/3
              not ok 1 divergences
              ok 2 hangs
              ok 3 crashes
              ok 4 infrastructure
            not ok 2 7.3.4 aarch64
              KTAP version 1
              1..4
              # 9 programs, 90 ops, 0 known, 0 poisoned
              ok 1 divergences
              ok 2 hangs
              ok 3 crashes
              # the VM is gone really
              not ok 4 infrastructure
            not ok 3 7.3.4 x86_64
              KTAP version 1
              1..4
              # 0 programs, 0 ops, 0 known, 0 poisoned
              ok 1 divergences
              ok 2 hangs
              ok 3 crashes
              # no program ran
              not ok 4 infrastructure
            not ok 4 7.3.4 x86_64
            ok 5 6.17 x86_64 # SKIP not to be had _ anywhere
        "#]]
        .assert_eq(&ktap(&rows()));
    }

    #[test]
    fn what_is_fixed_is_said() {
        let row = RowResult {
            fixed: vec!["a-finding".into()],
            ..rows().remove(0)
        };
        let text = ktap(std::slice::from_ref(&row));
        assert!(
            text.contains("# 7.3.4 x86_64: known finding a-finding did not happen"),
            "{text}"
        );
        let text = junit(&[row]).unwrap();
        assert!(
            text.contains(r#"<property name="fixed" value="a-finding"/>"#),
            "{text}"
        );
    }

    #[test]
    fn junit_says_the_same() {
        expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites name="mmdiff vm-matrix" tests="17" failures="1" errors="2">
                <testsuite name="7.3.4 x86_64" tests="4" disabled="0" errors="0" failures="0" time="2.500">
                    <properties>
                        <property name="programs" value="9"/>
                        <property name="ops" value="90"/>
                    </properties>
                    <testcase name="divergences" classname="7.3.4 x86_64">
                    </testcase>
                    <testcase name="hangs" classname="7.3.4 x86_64">
                    </testcase>
                    <testcase name="crashes" classname="7.3.4 x86_64">
                    </testcase>
                    <testcase name="infrastructure" classname="7.3.4 x86_64">
                    </testcase>
                </testsuite>
                <testsuite name="7.3.4 aarch64" tests="4" disabled="0" errors="0" failures="1" time="2.500">
                    <properties>
                        <property name="programs" value="9"/>
                        <property name="ops" value="90"/>
                    </properties>
                    <testcase name="divergences" classname="7.3.4 aarch64">
                        <failure message="2 divergences">fork: fork/copies-guards: guard -&gt; &lt;empty&gt; &amp; more: 2 programs, first 1/0/3</failure>
                    </testcase>
                    <testcase name="hangs" classname="7.3.4 aarch64">
                    </testcase>
                    <testcase name="crashes" classname="7.3.4 aarch64">
                    </testcase>
                    <testcase name="infrastructure" classname="7.3.4 aarch64">
                    </testcase>
                </testsuite>
                <testsuite name="7.3.4 x86_64" tests="4" disabled="0" errors="1" failures="0" time="2.500">
                    <properties>
                        <property name="programs" value="9"/>
                        <property name="ops" value="90"/>
                    </properties>
                    <testcase name="divergences" classname="7.3.4 x86_64">
                    </testcase>
                    <testcase name="hangs" classname="7.3.4 x86_64">
                    </testcase>
                    <testcase name="crashes" classname="7.3.4 x86_64">
                    </testcase>
                    <testcase name="infrastructure" classname="7.3.4 x86_64">
                        <error message="1 infrastructure">the VM is gone
            really</error>
                    </testcase>
                </testsuite>
                <testsuite name="7.3.4 x86_64" tests="4" disabled="0" errors="1" failures="0" time="2.500">
                    <properties>
                        <property name="programs" value="0"/>
                        <property name="ops" value="0"/>
                    </properties>
                    <testcase name="divergences" classname="7.3.4 x86_64">
                    </testcase>
                    <testcase name="hangs" classname="7.3.4 x86_64">
                    </testcase>
                    <testcase name="crashes" classname="7.3.4 x86_64">
                    </testcase>
                    <testcase name="infrastructure" classname="7.3.4 x86_64">
                        <error message="1 infrastructure">no program ran</error>
                    </testcase>
                </testsuite>
                <testsuite name="6.17 x86_64" tests="1" disabled="1" errors="0" failures="0" time="0.000">
                    <properties>
                        <property name="programs" value="0"/>
                        <property name="ops" value="0"/>
                    </properties>
                    <testcase name="kernel">
                        <skipped message="not to be had # anywhere"/>
                    </testcase>
                </testsuite>
            </testsuites>
        "#]].assert_eq(&junit(&rows()).unwrap());
    }
}
