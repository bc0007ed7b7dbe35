//! Golden logs: what kernels print, and what we make of it. Written after the formats of the kernel's own messages.

use super::*;

/// Feeds a log in odd pieces, as a serial line delivers it.
fn report(log: &str) -> Option<Report> {
    let mut recogniser = Recogniser::default();
    for piece in log.as_bytes().chunks(7) {
        recogniser.feed(piece);
    }
    recogniser.close();
    recogniser.report().cloned()
}

fn check(log: &str, kind: ReportKind, headline: &str) {
    let report = report(log).unwrap_or_else(|| panic!("no report in {log}"));
    assert_eq!(report.kind, kind, "{}", report.headline);
    assert!(report.headline.starts_with(headline), "{}", report.headline);
    for line in log.lines() {
        assert!(
            report.excerpt.contains(line.trim_end()),
            "{line} is missing"
        );
    }
}

#[test]
fn null_pointer_on_x86() {
    check(
        "[   31.415926] BUG: kernel NULL pointer dereference, address: 0000000000000018\r\n\
         [   31.415930] #PF: supervisor read access in kernel mode\r\n\
         [   31.415933] #PF: error_code(0x0000) - not-present page\r\n\
         [   31.415940] Oops: Oops: 0000 [#1] SMP NOPTI\r\n\
         [   31.415944] CPU: 0 UID: 1000 PID: 61 Comm: init Not tainted 7.3.4 #1\r\n\
         [   31.415950] RIP: 0010:unlink_anon_vmas+0x3c/0x1d0\r\n\
         [   31.415990] Kernel panic - not syncing: Fatal exception\r\n",
        ReportKind::Oops,
        "BUG: kernel NULL pointer dereference",
    );
}

#[test]
fn bad_pointer_on_arm64() {
    check(
        "[    4.200001][   T61] Unable to handle kernel paging request at virtual address ffff800000000010\n\
         [    4.200009][   T61] Mem abort info:\n\
         [    4.200012][   T61]   ESR = 0x0000000096000004\n\
         [    4.200050][   T61] Internal error: Oops: 0000000096000004 [#1]  SMP\n\
         [    4.200055][   T61] pc : madvise_guard_install+0x114/0x2a0\n",
        ReportKind::Oops,
        "Unable to handle kernel paging request",
    );
}

#[test]
fn general_protection_fault() {
    check(
        "[   10.1] Oops: general protection fault, probably for non-canonical address 0xdead000000000122: 0000 [#1]\n\
         [   10.2] RIP: 0010:vma_interval_tree_remove+0x1a/0x290\n",
        ReportKind::Oops,
        "Oops: general protection fault",
    );
}

#[test]
fn kernel_bug_and_its_oops() {
    check(
        "[    8.000000] ------------[ cut here ]------------\n\
         [    8.000001] kernel BUG at mm/huge_memory.c:3021!\n\
         [    8.000002] Oops: invalid opcode: 0000 [#1] SMP NOPTI\n\
         [    8.000003] Call Trace:\n\
         [    8.000004]  <TASK>\n\
         [    8.000005]  __split_huge_pmd_locked+0x5b/0x6c0\n",
        ReportKind::Bug,
        "kernel BUG at mm/huge_memory.c",
    );
}

#[test]
fn bad_states_of_pages_and_counters() {
    for (line, headline) in [
        ("[ 5.5] BUG: Bad page state in process init  pfn:1a2b3", "BUG: Bad page state"),
        ("[ 5.5] BUG: Bad page map in process init  pte:8000000012345067 pmd:0abcd067", "BUG: Bad page map"),
        (
            "[ 5.5] BUG: Bad rss-counter state mm:00000000d0d0caca type:MM_ANONPAGES val:-1 Comm:init Pid:63",
            "BUG: Bad rss-counter",
        ),
        ("[ 5.5] BUG: non-zero pgtables_bytes on freeing mm: 4096", "BUG: non-zero pgtables"),
        (
            "[ 5.5] BUG: sleeping function called from invalid context at mm/rmap.c:190",
            "BUG: sleeping function",
        ),
        ("[ 5.5] list_del corruption. next->prev should be ffff8880, but was dead", "list_del corruption"),
    ] {
        check(line, ReportKind::Bug, headline);
    }
}

/// pgd_ERROR and its like (arch/*/include/asm/pgtable.h), as pmd_clear_bad and others have the kernel print them.
#[test]
fn bad_entries_of_page_tables() {
    check(
        "[    7.7] mm/pgtable-generic.c:54: bad pmd 00000000f1a2b3c4(8000000012345067)\n\
         [    7.8] mm/pgtable-generic.c:40: bad pud 0000000012345678(00000000deadbeef)\n",
        ReportKind::Bug,
        "mm/pgtable-generic.c:54: bad pmd",
    );
    check(
        "[    7.7] mm/pgtable-generic.c:54: bad pmd 0068000041200f01.\n",
        ReportKind::Bug,
        "mm/pgtable-generic.c:54: bad pmd",
    );
}

/// SLUB with slab_debug (mm/slub.c slab_bug).
#[test]
fn slab_objects_that_were_written_to() {
    check(
        "[   12.1] =============================================================================\n\
         [   12.2] BUG kmalloc-64 (Not tainted): Right Redzone overwritten\n\
         [   12.3] -----------------------------------------------------------------------------\n\
         [   12.4] 0xffff88800a3f5d40-0xffff88800a3f5d43 @offset=3392. First byte 0x0 instead of 0xcc\n",
        ReportKind::Bug,
        "BUG kmalloc-64 (Not tainted): Right Redzone overwritten",
    );
    check(
        "[   12.2] BUG vm_area_struct (Tainted: G    B              ): Poison overwritten\n",
        ReportKind::Bug,
        "BUG vm_area_struct (Tainted:",
    );
}

#[test]
fn warnings_old_and_new() {
    check(
        "[    2.718281] ------------[ cut here ]------------\n\
         [    2.718282] WARNING: CPU: 0 PID: 61 at mm/memory.c:1655 zap_pte_range+0x8d1/0x9f0\n\
         [    2.718283] Modules linked in:\n\
         [    2.718284] ---[ end trace 0000000000000000 ]---\n",
        ReportKind::Warning,
        "WARNING: CPU: 0 PID: 61 at mm/memory.c:1655",
    );
    check(
        "[    2.718282] WARNING: mm/vma.c:1240 at vma_merge_existing_range+0x41/0x8f0, CPU#0: init/61\n",
        ReportKind::Warning,
        "WARNING: mm/vma.c:1240",
    );
    check(
        "<4>WARNING: CPU: 1 PID: 9 at mm/guest.c:1 f+0x0/0x10\n",
        ReportKind::Warning,
        "WARNING: CPU: 1",
    );
}

#[test]
fn lockups_and_stalls() {
    check(
        "[   60.000001] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [init:61]\n",
        ReportKind::SoftLockup,
        "BUG: soft lockup",
    );
    check(
        "[   60.000001] NMI watchdog: Watchdog detected hard LOCKUP on cpu 0\n",
        ReportKind::HardLockup,
        "Watchdog detected hard LOCKUP",
    );
    check(
        "[   60.000001] watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3\n\
         [   60.000002] Modules linked in: brd\n",
        ReportKind::HardLockup,
        "Watchdog detected hard LOCKUP",
    );
    check(
        "[  242.1] INFO: task init:61 blocked for more than 120 seconds.\n\
         [  242.2]       Not tainted 6.18.15 #1\n",
        ReportKind::HungTask,
        "INFO: task init:61 blocked",
    );
    check(
        "[   21.1] rcu: INFO: rcu_preempt self-detected stall on CPU\n",
        ReportKind::RcuStall,
        "rcu: INFO: rcu_preempt self-detected stall",
    );
}

#[test]
fn sanitizers_and_lockdep() {
    check(
        "[    3.3] ==================================================================\n\
         [    3.4] BUG: KASAN: slab-use-after-free in anon_vma_clone+0x5a/0x3a0\n\
         [    3.5] Read of size 8 at addr ffff888004c1a010 by task init/61\n",
        ReportKind::Sanitizer,
        "BUG: KASAN: slab-use-after-free",
    );
    check(
        "[    3.4] BUG: KFENCE: out-of-bounds read in vm_area_dup+0x1/0x2\n",
        ReportKind::Sanitizer,
        "BUG: KFENCE",
    );
    check(
        "[    3.4] UBSAN: array-index-out-of-bounds in mm/madvise.c:77:5\n",
        ReportKind::Sanitizer,
        "UBSAN: ",
    );
    check(
        "[    3.4] WARNING: possible circular locking dependency detected\n",
        ReportKind::Lockdep,
        "WARNING: possible circular locking",
    );
}

#[test]
fn panic_and_memory() {
    check(
        "[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
        ReportKind::Panic,
        "Kernel panic - not syncing: VFS",
    );
    check(
        "[    1.0] Out of memory: Killed process 61 (init) total-vm:1234kB, anon-rss:1kB\n",
        ReportKind::OutOfMemory,
        "Out of memory: Killed process",
    );
}

#[test]
fn ordinary_lines_are_no_reports() {
    for line in [
        "SeaBIOS (version 1.16.2-debian-1.16.2-1)",
        "Booting from ROM..",
        "[    0.000000] Linux version 7.3.4+deb13-cloud-amd64 (debian-kernel@lists.debian.org)",
        "[    0.000000] rcu: Preemptible hierarchical RCU implementation.",
        "[    0.000000] rcu: RCU calculated value of scheduler-enlistment delay is 25 jiffies.",
        "[    0.1] debug: some text with BUG: in the middle",
        "[    0.1] x86/mm: Checked W+X mappings: passed, no W+X pages found.",
        "[    0.1] ACPI: INFO: task list",
        "[    0.1] CPU1: Booted secondary processor 0x0000000001 [0x411fd070]",
        "[    0.1] fs/x.c:12: bad luck",
        "[    0.1] somebody: bad pmd 0",
        "[    0.1] BUG reports go to the list (see the wiki)",
        "mmdiff-guest: ready",
        "",
    ] {
        assert_eq!(beginning(line), None, "{line}");
    }
}

#[test]
fn an_excerpt_has_what_came_before_and_an_end() {
    let mut log: Vec<String> = (0..10).map(|n| format!("[ 1.{n}] line {n}")).collect();
    log.push("[ 2.0] WARNING: CPU: 0 PID: 1 at mm/x.c:1 f+0x0/0x10".to_owned());
    log.extend((0..500).map(|n| format!("[ 3.0] after {n}")));
    let report = report(&log.join("\n")).unwrap();
    assert!(!report.excerpt.contains("line 5\n"));
    assert!(report.excerpt.contains("line 6\n"));
    assert!(report.excerpt.contains("after 79\n"));
    assert!(!report.excerpt.contains("after 80\n"));
}

#[test]
fn what_was_said_before_the_guest_was_up_is_forgotten() {
    let mut recogniser = Recogniser::default();
    recogniser.feed(b"WARNING: CPU: 0 PID: 0 at arch/x86/x.c:1 f+0x0/0x10\n");
    assert!(recogniser.report().is_some());
    recogniser.forget();
    assert!(recogniser.report().is_none());
}

#[test]
fn a_line_without_end_is_cut() {
    let mut recogniser = Recogniser::default();
    let lines = recogniser.feed(&[b'x'; 3000]);
    assert!(lines.len() >= 5);
    assert!(lines.iter().all(|line| line.len() <= 600));
}
