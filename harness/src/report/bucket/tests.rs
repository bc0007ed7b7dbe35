//! The report of a bucket, on simulated kernels.

use super::*;
use crate::kernel::simulated::{fault_named, Simulated};
use crate::kernel::JudgeBy;
use crate::report::WIDTH;
use crate::triage::{verdict, Answer, Reference, VerdictSettings};
use expect_test::expect;
use std::sync::Arc;

const PROGRAM: &str = "mmap 0+0..0+4 rw private fixed\nwrite 0+0..0+2 tag 7\n\
                       guard-install 0+0..0+1\nfork 1\n";

/// The report on kernels of which the first loses guards in a fork.
fn report(others: &[(&str, Simulated)]) -> String {
    report_on(&["--kernels", "7.3", "--arch", "x86_64"], others)
}

fn report_on(on: &[&str], others: &[(&str, Simulated)]) -> String {
    let fault = fault_named("fork/loses-guards");
    let wrong = Simulated {
        label: "7.3".into(),
        fault,
        ..Simulated::default()
    };
    let program = Arc::new(Program::load(PROGRAM).expect("parses"));
    let mut settings = VerdictSettings {
        by: JudgeBy::default(),
        bucket: None,
        runs: 3,
    };
    let told = verdict(&wrong, &program, &settings);
    let (Answer::Diverges { story, .. }, Some((info, _))) = (&told.answer, &told.kernel) else {
        panic!("{told:?}");
    };
    settings.bucket = Some(story.bucket.clone());
    let reference = Reference {
        program: &program,
        story,
        execution: told.execution.as_ref(),
        geometry: info.geometry,
    };
    let named = others.iter().map(|(label, source)| {
        let source = Simulated {
            label: label.to_string(),
            ..source.clone()
        };
        let told = verdict(&source, &program, &settings);
        (label.to_string(), told)
    });
    let mut all = vec![("7.3".to_string(), told.clone())];
    all.extend(named);
    let kernels = all.into_iter().map(|(label, told)| KernelPart {
        label,
        arch: "x86_64".into(),
        info: told.kernel.as_ref().map(|(info, _)| info.clone()),
        standing: Standing::of(&told, &reference),
        campaign: Some((0, 1000)),
        execution: told.execution,
    });
    let report = BucketReport {
        id: "b-0123456789".into(),
        minimized: "4 ops of 9".into(),
        program: &program,
        story,
        shown_on: info,
        image: None,
        command_line: Some("console=ttyS0 quiet".into()),
        build_config: Some("CONFIG_KSM=y\n# CONFIG_KASAN is not set\n".into()),
        on: on.iter().map(|word| word.to_string()).collect(),
        kernels: kernels.collect(),
        options: vec!["--without-row mseal_stale_start".into()],
        prog_file: "b-0123456789.prog".into(),
        c_file: Ok("b-0123456789.c".into()),
        race: None,
    };
    let text = report.text();
    assert!(text.lines().all(|l| l.chars().count() <= WIDTH), "{text}");
    text
}

#[test]
fn who_stands_alone_is_told_by_three() {
    let mut old = Simulated::default();
    old.profile.guards = false;
    expect![[r#"
        fork: page-state (b-0123456789)
        ===============================

        actor 1, page 0: the page is empty, expected guard.

        Bucket: fork: fork/copies-guards: guard -> empty

        Affected:
          x86_64 7.3.4-simulated (4 KiB, none): 3/3 runs; 0 of 1000 programs of the run
        Not affected:
          x86_64 7.3.4-simulated (4 KiB, none): 0/3 runs; 0 of 1000 programs of the run
        Not told:
          x86_64 7.3.4-simulated (4 KiB, none): op 2 (guard-install): EINVAL instead of
          ok; 0 of 1000 programs of the run

        Seen below on x86_64 7.3.4-simulated:
          build   the model
          machine QEMU with none, 4 KiB pages, transparent huge pages built in
          told    console=ttyS0 quiet
          config  CONFIG_KSM=y
                  not set: CONFIG_KASAN

        Program (4 ops of 9):
           thp madvise

           mmap 0+0..0+4 rw private fixed
           write 0+0..0+2 tag 7
           guard-install 0+0..0+1
        => fork 1

        Step by step:
          0  mmap 0+0..0+4 rw private fixed
             => ok
             actor 0 0+0 |rw-p ....|_
          1  write 0+0..0+2 tag 7
             => ok, 2 pages
             actor 0 0+0 |rw-p aa..|_
                     holds: 0+0..0+2 tag 7
          2  guard-install 0+0..0+1
             => ok
             actor 0 0+0 |rw-p Ga..|_
                     holds: 0+1..0+2 tag 7

        Op 3, where it goes wrong: fork 1
          in actor 1, pages 0+0..0+1

        The op returned:
          expected  ok
          observed  ok

        Actor 1 before the op:
          does not live

        Actor 1 after the op:
            0+0 expect |rw-p Gs..|_
                seen   |rw-p .s..|_
                             ^
        holds: 0+1..0+2 tag 7

        Rule fork/copies-guards:
          The child has the parent's guards as its own: what either does to them later
          does not concern the other.
          Kernels: 6.13
          Source: mm/memory.c copy_nonpresent_pte, copy_pte_marker

        Who stands alone:
          The oracle and x86_64 7.2 agree; x86_64 7.3 does otherwise.
          Like the oracle: x86_64 7.2.
          Otherwise: x86_64 7.3.
          The op returned:
            oracle  ok
            7.3     ok
            7.2     ok
          Actor 1 after it, on both:
            0+0 7.3 |rw-p .s..|_
                7.2 |rw-p Gs..|_
                          ^
        holds: 0+1..0+2 tag 7

        To see it again, in the folder of this report:
          boot a kernel image with b-0123456789.c (0 it behaves, 1 it does not, 4 the
          feature is absent)
            ./reproduce.sh KERNEL-IMAGE
          step by step, the oracle and the kernel side by side
            cargo xtask run b-0123456789.prog --kernels 7.3 --arch x86_64 \
              --without-row mseal_stale_start
          since which kernel
            cargo xtask bisect b-0123456789.prog --without-row mseal_stale_start \
              --bucket 'fork: fork/copies-guards: guard -> empty'
    "#]]
    .assert_eq(&report(&[("7.2", Simulated::default()), ("6.12", old)]));
}

#[test]
fn an_image_of_ones_own_is_named_by_its_path() {
    let on = [
        "--kernel",
        "/my trees/bzImage",
        "--append",
        "thp_anon=4K:always",
    ];
    let text = report_on(&on, &[]);
    let again = text.split("To see it again").nth(1).unwrap();
    for line in [
        "cargo xtask run b-0123456789.prog --kernel '/my trees/bzImage' \\\n",
        "cargo xtask bisect b-0123456789.prog --kernel '/my trees/bzImage' \\\n",
        "--kernels all --arch x86_64",
        "--append thp_anon=4K:always",
    ] {
        assert!(again.contains(line), "{line}\n{again}");
    }
    assert!(!again.contains("--kernels 7.3"), "{again}");
}

#[test]
fn without_another_kernel_the_rule_itself_is_in_doubt() {
    let text = report(&[]);
    assert!(text.contains("none of those that were asked"), "{text}");
    assert!(text.contains("Either the rule is wrong"), "{text}");
    assert!(!text.contains("agree;"), "{text}");
}
