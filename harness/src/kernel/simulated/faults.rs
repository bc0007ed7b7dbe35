//! The deliberate faults of the simulated kernel: one row each. A campaign of 2,000 programs finds every one
//! (`cargo xtask faults`, and a test).

use super::anon_vmas;
use super::fault::{
    is_advice, madvise, pages, resized, runs_of, Act, Answer, Plan, SimFault, ARENA,
};
use super::huge;
use super::locks::{future_forgotten, lock_call, lock_inherited, seals_up_to_hole};
use super::remaps;
use super::transfers::{
    always_oneself, copies_nothing, first_range_only, part_is_nothing, pins_shared,
    pipe_counts_bytes, removes_guards,
};
use oracle::geometry::{Pos, Range};
use oracle::judge::{Access, Event, Fault, Moved, Observation, Outcome, PageKind, VmFlag};
use oracle::program::{
    Advice, Backing, File, KeyGiven, LockCall, MapFlags, Op, Place, Prot, Step, UffdCall,
};
use oracle::space::{Content, Hints, PageState, World};

const EPERM: i32 = 1;
const EIO: i32 = 5;
const ENOMEM: i32 = 12;
const EACCES: i32 = 13;
const EFAULT: i32 = 14;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const SIGBUS: i32 = 7;
const SIGSEGV: i32 = 11;
const MAPERR: i32 = 1;
const ACCERR: i32 = 2;

macro_rules! faults {
    ($( $family:literal $name:literal $what:literal [$($rule:literal)+] $act:expr; )*) => {
        /// Every fault.
        pub static FAULTS: &[SimFault] = &[ $( SimFault { family: $family, name: $name, what: $what, breaks: &[$($rule),+], act: $act }, )* ];
    };
}

faults! {
    "guard" "install-skipped" "guard install does nothing and returns 0"
        ["guard/install/fills" "guard/install/zaps-populated"]
        Act::Instead(|_, s| is_advice(s, Advice::GuardInstall).and_then(|_| Plan::skip()));
    "guard" "install-short" "guard install misses the last page"
        ["guard/install/fills" "guard/install/zaps-populated"]
        Act::Instead(|_, s| shortened(s, Advice::GuardInstall));
    "guard" "install-keeps-data" "guard install leaves populated pages alone"
        ["guard/install/zaps-populated" "guard/install/fills"]
        Act::Instead(install_keeps_data);
    "guard" "install-refused" "guard install over populated pages returns EPERM"
        ["guard/install/fills" "guard/install/zaps-populated"]
        Act::Outcome(install_refused);
    "guard" "remove-skipped" "guard remove does nothing and returns 0"
        ["guard/remove/empties"]
        Act::Instead(|_, s| is_advice(s, Advice::GuardRemove).and_then(|_| Plan::skip()));
    "guard" "remove-discards" "guard remove also discards the populated pages in its range"
        ["guard/remove/leaves-others"]
        Act::Instead(|_, s| {
            is_advice(s, Advice::GuardRemove)
                .and_then(|range| Plan::and(s, &[madvise(range, Advice::DontNeed)]))
        });
    "guard" "remove-long" "guard remove works on one page more"
        ["space/untouched"]
        Act::Instead(|_, s| {
            is_advice(s, Advice::GuardRemove)
                .and_then(|range| Plan::instead(s.actor, madvise(resized(range, 1)?, Advice::GuardRemove)))
        });
    "guard" "needs-write" "guard install in a mapping without write permission returns EACCES"
        ["guard/install/fills"]
        Act::Outcome(install_needs_write);
    "madvise" "hole-ignored" "madvise over a hole returns 0 instead of ENOMEM"
        ["madvise/holes"]
        Act::Outcome(|_, s, o| if matches!(s.op, Op::Madvise { .. }) { swap(o, ENOMEM, None) });
    "madvise" "misaligned-enomem" "madvise of a misaligned start returns ENOMEM instead of EINVAL"
        ["args/start-aligned"]
        Act::Outcome(|_, s, o| if let Op::Madvise { range, .. } = s.op {
            if !range.start.is_page_aligned() { swap(o, EINVAL, Some(ENOMEM)) }
        });
    "madvise" "hole-stops" "madvise stops at the first hole instead of going on behind it"
        ["madvise/holes" "madvise/walks-vmas" "guard/install/fills"]
        Act::Instead(hole_stops);
    "dontneed" "removes-guards" "MADV_DONTNEED removes guards"
        ["madvise/dontneed/keeps-guards"]
        Act::Instead(|_, s| {
            is_advice(s, Advice::DontNeed)
                .and_then(|range| Plan::and(s, &[madvise(range, Advice::GuardRemove)]))
        });
    "dontneed" "skipped" "MADV_DONTNEED does nothing and returns 0"
        ["madvise/dontneed/discards" "madvise/dontneed/shared-keeps-content" "madvise/dontneed/private-file-loses-copies"]
        Act::Instead(|_, s| is_advice(s, Advice::DontNeed).and_then(|_| Plan::skip()));
    "dontneed" "short" "MADV_DONTNEED misses the last page"
        ["madvise/dontneed/discards" "madvise/dontneed/shared-keeps-content" "madvise/dontneed/private-file-loses-copies"]
        Act::Instead(|_, s| shortened(s, Advice::DontNeed));
    "access" "guard-is-open" "an access to a guard removes it and goes on"
        ["access/guard" "access/stops-at-fault"]
        Act::Instead(guard_is_open);
    "access" "guard-accerr" "an access to a guard reports SEGV_ACCERR instead of SEGV_MAPERR"
        ["access/guard" "access/unmapped"]
        Act::Outcome(|_, _, o| if let Outcome::Access(a) = o {
            if let Some(fault) = &mut a.fault { if fault.code == MAPERR { fault.code = ACCERR } }
        });
    "access" "fault-address" "si_addr is a page too high"
        ["access/guard" "access/unmapped" "access/denied" "access/execute-only"]
        Act::Outcome(|w, _, o| if let Outcome::Access(a) = o {
            if let Some(fault) = &mut a.fault { fault.addr += i64::from(w.geometry().page_size) }
        });
    "access" "reads-zero" "a read of a written page returns zero"
        ["access/value"]
        Act::Outcome(|_, _, o| if let Outcome::Access(a) = o {
            a.values.iter_mut().for_each(|run| run.first = Content::ZERO)
        });
    "access" "write-lost" "a write is lost"
        ["access/write-makes-page" "access/write-in-place" "access/copy-on-write"]
        Act::Instead(|_, s| if matches!(s.op, Op::Write { .. }) { Plan::skip() } else { None });
    "access" "zero-page-is-anon" "a read of an empty page allocates memory instead of mapping the zero page"
        ["access/read-maps-zero-page" "madvise/populate/like-an-access"]
        Act::View(|_, _, _, seen| each_page(seen, |page| if page.kind == PageKind::Zero { page.kind = PageKind::Anon }));
    "access" "ignores-prot" "a store to a read-only page succeeds"
        ["access/denied"]
        Act::Outcome(ignores_prot);
    "munmap" "short" "munmap leaves the last page"
        ["munmap/removes"]
        Act::Instead(|_, s| match s.op {
            Op::Munmap { range } => Plan::instead(s.actor, Op::Munmap { range: resized(range, -1)? }),
            _ => None,
        });
    "munmap" "hole-einval" "munmap of a range without mappings returns EINVAL"
        ["munmap/holes-are-fine"]
        Act::Outcome(|w, s, o| if let Op::Munmap { range } = s.op {
            let (from, to) = pages(w, range);
            let hole = w.vmas(s.actor).iter().all(|vma| vma.end <= from || to <= vma.start);
            if hole && *o == Outcome::Ok { *o = Outcome::Errno(EINVAL) }
        });
    "mprotect" "drops-guards" "mprotect removes guards"
        ["mprotect/keeps-pages"]
        Act::Instead(|_, s| match s.op {
            Op::Mprotect { range, .. } => Plan::and(s, &[madvise(range, Advice::GuardRemove)]),
            _ => None,
        });
    "mprotect" "skipped" "mprotect does nothing and returns 0"
        ["mprotect/changes"]
        Act::Instead(|_, s| if matches!(s.op, Op::Mprotect { .. }) { Plan::skip() } else { None });
    "mprotect" "hole-ignored" "mprotect over a hole returns 0 instead of ENOMEM"
        ["mprotect/first-unmapped" "mprotect/hole"]
        Act::Outcome(|_, s, o| if matches!(s.op, Op::Mprotect { .. }) { swap(o, ENOMEM, None) });
    "mprotect" "none-is-read" "mprotect(PROT_NONE) sets PROT_READ"
        ["mprotect/changes"]
        Act::Instead(|_, s| match s.op {
            Op::Mprotect { range, prot } if prot == Prot::NONE =>
                Plan::instead(s.actor, Op::Mprotect { range, prot: Prot::R }),
            _ => None,
        });
    "mmap" "fixed-keeps" "MAP_FIXED over a mapping leaves the pages that are there"
        ["mmap/fixed/replaces" "mmap/new-is-empty" "munmap/removes" "mmap/file/maps"]
        Act::Instead(fixed_keeps);
    "mmap" "hint-eexist" "mmap with a hint that is taken returns EEXIST instead of going elsewhere"
        ["mmap/hint/elsewhere-when-used" "mremap/grows-elsewhere"]
        Act::Outcome(|_, _, o| if *o == Outcome::Elsewhere { *o = Outcome::Errno(EEXIST) });
    "mmap" "empty-ok" "mmap of nothing returns 0 instead of EINVAL"
        ["args/empty-range" "args/start-aligned"]
        Act::Outcome(|_, s, o| if matches!(s.op, Op::Mmap { .. }) { swap(o, EINVAL, None) });
    "mremap" "guards-stay-behind" "mremap moves everything but guards"
        ["mremap/moves/pages" "mremap/moves/table"]
        Act::Instead(remaps::loses_guards);
    "mremap" "shrinks-too-little" "mremap that shrinks leaves one page too many"
        ["mremap/shrinks"]
        Act::Instead(remaps::shrinks_too_little);
    "mremap" "grows-anyway" "mremap without MREMAP_MAYMOVE moves where it has no room to grow"
        ["mremap/no-room"]
        Act::Instead(remaps::grows_anyway);
    "mremap" "dontunmap-unmaps" "MREMAP_DONTUNMAP does nothing"
        ["mremap/dontunmap/leaves-vma"]
        Act::Instead(remaps::unmaps_source);
    "mremap" "dontunmap-copies" "a page that MREMAP_DONTUNMAP has moved is at its old place too"
        ["mremap/dontunmap/leaves-vma"]
        Act::Instead(remaps::dontunmap_copies);
    "mremap" "overlap-enomem" "mremap to an overlapping place returns ENOMEM instead of EINVAL"
        ["mremap/overlap"]
        Act::Outcome(|w, s, o| if let Op::Mremap { range, to, .. } = s.op {
            let aligned = range.start.is_page_aligned() && to.start.is_page_aligned();
            let ((start, end), (new_start, new_end)) = (pages(w, range), pages(w, to));
            if aligned && start < new_end && new_start < end { swap(o, EINVAL, Some(ENOMEM)) }
        });
    "mremap" "moves-one-only" "mremap of several VMAs moves the first one only"
        ["mremap/moves-many"]
        Act::Instead(remaps::moves_one_only);
    "mremap" "target-stays" "MREMAP_FIXED does nothing where something is mapped"
        ["mremap/fixed/replaces"]
        Act::Instead(remaps::target_stays);
    "mremap" "locks-are-lost" "locked memory that mremap moves is not locked, nor is what it adds"
        ["mlock/mremap-faults-in" "mremap/grows-in-place" "merge/grown" "mremap/moves/vma"]
        Act::Instead(remaps::locks_are_lost);
    "vma" "merge-missed" "VMAs that became alike are not merged"
        ["merge/changed" "merge/new/left" "merge/new/right" "merge/new/both"]
        Act::View(merge_missed);
    "vma" "gu-missing" "VmFlags show gu on single pages only (a probe would take a kernel that never does for an older one)"
        ["guard/install/maybe-guard"]
        Act::View(|_, _, _, seen| drop_flag(seen, VmFlag(*b"gu")));
    "anon-vma" "never-reused" "a VMA never takes the anon_vma of the one beside it"
        ["anon-vma/reused-from-neighbour" "merge/changed"]
        Act::Instead(anon_vmas::never_reused);
    "tables" "zap-takes-all" "MADV_DONTNEED of a part of a huge page discards all of it"
        ["tables/zap-splits-huge"]
        Act::Instead(huge::zap_takes_all);
    "thp" "border-unmaps" "mprotect of a part of a huge page discards all of it"
        ["thp/split-with-vma" "mprotect/keeps-pages"]
        Act::Instead(huge::border_unmaps);
    "thp" "nohugepage-skipped" "MADV_NOHUGEPAGE does nothing and returns 0"
        ["madvise/hugepage/flags"]
        Act::Instead(|_, s| is_advice(s, Advice::NoHugePage).and_then(|_| Plan::skip()));
    "thp" "hugepage-is-nohugepage" "MADV_HUGEPAGE does what MADV_NOHUGEPAGE should"
        ["madvise/hugepage/flags"]
        Act::Instead(|_, s| mistaken(s, Advice::HugePage, Advice::NoHugePage));
    "fork" "loses-guards" "the child of a fork has no guards"
        ["fork/copies-guards" "fork/copies-shared-guards"]
        Act::Instead(|_, s| after_fork(s, madvise(ARENA, Advice::GuardRemove)));
    "fork" "loses-data" "the child of a fork has no private pages"
        ["fork/shares-pages" "fork/shares-huge"]
        Act::Instead(|_, s| after_fork(s, madvise(ARENA, Advice::DontNeed)));
    "fork" "copies-wiped" "the child of a fork has what WIPEONFORK memory holds"
        ["fork/wipes"]
        Act::Instead(|w, s| fork_despite(w, s, |h| h.wipe_on_fork, Advice::KeepOnFork, Advice::WipeOnFork));
    "fork" "copies-dontfork" "the child of a fork has DONTFORK memory"
        ["fork/leaves-out-dontfork"]
        Act::Instead(|w, s| fork_despite(w, s, |h| h.dont_fork, Advice::DoFork, Advice::DontFork));
    "mmap" "populate-forgotten" "MAP_POPULATE maps and does not populate"
        ["mmap/populate/faults-in"]
        Act::Instead(|_, s| without_flag(s, |flags| std::mem::take(&mut flags.populate)));
    "mmap" "noreserve-is-charged" "MAP_NORESERVE does nothing"
        ["mmap/noreserve/is-not-charged"]
        Act::Instead(|_, s| without_flag(s, |flags| std::mem::take(&mut flags.noreserve)));
    "mmap" "noreplace-replaces" "MAP_FIXED_NOREPLACE replaces what is there"
        ["mmap/noreplace/only-where-free"]
        Act::Instead(noreplace_replaces);
    "populate" "populate-read-skipped" "MADV_POPULATE_READ does nothing and returns 0"
        ["madvise/populate/like-an-access"]
        Act::Instead(|_, s| is_advice(s, Advice::PopulateRead).and_then(|_| Plan::skip()));
    "populate" "populate-forgets-guards" "MADV_POPULATE_WRITE returns 0 where a guard has stopped it"
        ["madvise/populate/guard-is-efault"]
        Act::Outcome(|_, s, o| {
            if is_advice(s, Advice::PopulateWrite).is_some() {
                swap(o, EFAULT, None);
            }
        });
    "populate" "populate-write-reads" "MADV_POPULATE_WRITE does what MADV_POPULATE_READ should"
        ["madvise/populate/like-an-access"]
        Act::Instead(|_, s| mistaken(s, Advice::PopulateWrite, Advice::PopulateRead));
    "hints" "dontdump-skipped" "MADV_DONTDUMP does nothing and returns 0"
        ["madvise/hints/dump" "merge/split"]
        Act::Instead(|_, s| is_advice(s, Advice::DontDump).and_then(|_| Plan::skip()));
    "hints" "random-is-sequential" "MADV_RANDOM does what MADV_SEQUENTIAL should"
        ["madvise/hints/read-ahead"]
        Act::Instead(|_, s| mistaken(s, Advice::Random, Advice::Sequential));
    "hints" "mergeable-short" "MADV_MERGEABLE misses the last page"
        ["madvise/hints/ksm" "merge/split"]
        Act::Instead(|_, s| shortened(s, Advice::Mergeable));
    "advice" "free-skipped" "MADV_FREE does nothing and returns 0"
        ["madvise/free/keeps-for-now" "folio/split" "folio/split-finds-zeros"]
        Act::Instead(|_, s| is_advice(s, Advice::Free).and_then(|_| Plan::skip()));
    "advice" "free-takes-at-once" "MADV_FREE takes the pages at once although memory is free"
        ["madvise/free/keeps-for-now"]
        Act::Instead(|_, s| mistaken(s, Advice::Free, Advice::DontNeed));
    "advice" "pageout-skipped" "MADV_PAGEOUT does nothing and returns 0"
        ["madvise/pageout/unmaps-shared-memory" "madvise/pageout/takes-lazily-freed" "madvise/pageout/splits-huge"]
        Act::Instead(|_, s| is_advice(s, Advice::PageOut).and_then(|_| Plan::skip()));
    "advice" "cold-is-pageout" "MADV_COLD does what MADV_PAGEOUT should"
        ["madvise/cold/changes-nothing"]
        Act::Instead(|_, s| mistaken(s, Advice::Cold, Advice::PageOut));
    "advice" "cold-drops-guards" "MADV_COLD removes guards"
        ["madvise/cold/changes-nothing"]
        Act::Instead(|_, s| is_advice(s, Advice::Cold).and_then(|range| Plan::and(s, &[madvise(range, Advice::GuardRemove)])));
    "droppable" "droppable-is-private" "MAP_DROPPABLE maps private memory"
        ["droppable/maps"]
        Act::Instead(|_, s| {
            let mut op = s.op;
            let Op::Mmap { backing, .. } = &mut op else { return None };
            (*backing == Backing::Droppable).then(|| *backing = Backing::PrivateAnon)?;
            Plan::instead(s.actor, op)
        });
    "hugetlb" "hugetlb-takes-guards" "guard install and remove in huge TLB memory do nothing and return 0"
        ["hugetlb/refuses-advice"]
        Act::Outcome(|w, s, o| {
            let guards = is_advice(s, Advice::GuardInstall).or(is_advice(s, Advice::GuardRemove));
            if guards.is_some_and(|range| meets_hugetlb(w, s.actor, range)) { swap(o, EINVAL, None) }
        });
    "hugetlb" "hugetlb-is-shared-memory" "MAP_HUGETLB maps shared memory of small pages"
        ["hugetlb/maps" "hugetlb/reserves-at-mmap"]
        Act::Instead(|_, s| {
            let mut op = s.op;
            let Op::Mmap { backing, .. } = &mut op else { return None };
            matches!(backing, Backing::Hugetlb { .. }).then(|| *backing = Backing::SharedAnon)?;
            Plan::instead(s.actor, op)
        });
    "hugetlb" "hugetlb-cut-anywhere" "munmap of a part of a huge TLB page returns 0 and does nothing"
        ["hugetlb/splits-between-huge-pages"]
        Act::Outcome(|w, s, o| if let Op::Munmap { range } = s.op {
            if meets_hugetlb(w, s.actor, range) && range.start.is_page_aligned() { swap(o, EINVAL, None) }
        });
    "pkey" "pkey-forgotten" "pkey_mprotect does what mprotect does"
        ["pkey/mprotect" "pkey/denied" "pkey/kernel-side" "pkey/nothing-is-faulted-in"]
        Act::Instead(|_, s| {
            let Op::PkeyMprotect { range, prot, key } = s.op else { return None };
            matches!(key, KeyGiven::NoWrite | KeyGiven::NoAccess).then_some(())?;
            Plan::instead(s.actor, Op::Mprotect { range, prot })
        });
    "pkey" "pkey-accerr" "an access that a key forbids reports SEGV_ACCERR instead of SEGV_PKUERR"
        ["pkey/denied" "access/execute-only-pkey"]
        Act::Outcome(|_, _, o| if let Outcome::Access(a) = o {
            if let Some(fault) = &mut a.fault {
                if fault.key.is_some() { (fault.code, fault.key) = (ACCERR, None) }
            }
        });
    "brk" "brk-skipped" "brk does nothing and returns what it was given"
        ["brk/grows" "brk/shrinks"]
        Act::Instead(|_, s| if matches!(s.op, Op::Brk { .. }) { Plan::skip() } else { None });
    "secret" "secret-is-dumped" "a mapping of secret memory is not left out of core dumps"
        ["secret/maps"]
        Act::Instead(|_, s| match s.op {
            Op::Mmap { range, backing: Backing::File(map), .. } if map.file == File::Secret0 =>
                Plan::and(s, &[madvise(range, Advice::DoDump)]),
            _ => None,
        });
    "collapse" "collapse-skipped" "MADV_COLLAPSE does nothing and returns 0"
        ["collapse/makes-huge"]
        Act::Instead(|_, s| is_advice(s, Advice::Collapse).and_then(|_| Plan::skip()));
    "collapse" "collapse-drops-guards" "MADV_COLLAPSE removes the guards that are in its way"
        ["collapse/guard-is-einval" "collapse/not-eligible-is-einval"]
        Act::Instead(|_, s| {
            let range = is_advice(s, Advice::Collapse)?;
            Some(Plan {
                steps: vec![Step::new(s.actor, madvise(range, Advice::GuardRemove)), s.clone()],
                answer: Answer::Of(1),
            })
        });
    "mlock" "mlock-skipped" "mlock does nothing and returns 0"
        ["mlock/flags" "mlock/range" "mlock/faults-in"]
        Act::Instead(|_, s| lock_call(s, LockCall::Lock).and_then(|_| Plan::skip()));
    "mlock" "onfault-is-mlock" "mlock2 with MLOCK_ONFAULT does what mlock should"
        ["mlock/on-fault/faults-nothing-in" "mlock/flags"]
        Act::Instead(|_, s| {
            let range = lock_call(s, LockCall::LockOnFault)?;
            Plan::instead(s.actor, Op::Mlock { range, call: LockCall::Lock })
        });
    "mlock" "hole-is-fine" "mlock over a hole, a guard or PROT_NONE memory, and beyond the limit, returns 0"
        ["mlock/hole" "mlock/first-unmapped" "mlock/guard-or-none-is-enomem" "mlock/limit"]
        Act::Outcome(|_, s, o| if matches!(s.op, Op::Mlock { .. }) { swap(o, ENOMEM, None) });
    "mlock" "guards-in-locked" "guard install in locked memory returns 0"
        ["mlock/refuses-advice"]
        Act::Outcome(|w, s, o| if w.locks(s.actor) && is_advice(s, Advice::GuardInstall).is_some() {
            swap(o, EINVAL, None)
        });
    "mlock" "future-forgotten" "mlockall with MCL_FUTURE does not lock what is mapped later"
        ["mlock/all/future"]
        Act::Instead(future_forgotten);
    "mlock" "munlock-short" "munlock misses the last page"
        ["mlock/flags" "mlock/range" "merge/changed"]
        Act::Instead(|_, s| {
            let range = resized(lock_call(s, LockCall::Unlock)?, -1)?;
            Plan::instead(s.actor, Op::Mlock { range, call: LockCall::Unlock })
        });
    "mlock" "inherited" "the child of a fork has its parent's locks"
        ["mlock/fork-unlocks"]
        Act::View(lock_inherited);
    "mseal" "seal-skipped" "mseal does nothing and returns 0"
        ["mseal/seals" "merge/split"]
        Act::Instead(|_, s| if matches!(s.op, Op::Mseal { .. }) { Plan::skip() } else { None });
    "mseal" "seals-up-to-hole" "mseal seals what lies before a hole"
        ["mseal/hole-seals-nothing" "space/untouched"]
        Act::Instead(seals_up_to_hole);
    "mseal" "unmap-is-quiet" "munmap of sealed memory returns 0 and unmaps nothing"
        ["mseal/munmap-is-eperm"]
        Act::Outcome(|_, s, o| if matches!(s.op, Op::Munmap { .. }) { swap(o, EPERM, None) });
    "mseal" "mprotect-is-eacces" "mprotect of sealed memory returns EACCES"
        ["mseal/mprotect-is-eperm"]
        Act::Outcome(|_, s, o| if matches!(s.op, Op::Mprotect { .. }) { swap(o, EPERM, Some(EACCES)) });
    "mseal" "mremap-is-quiet" "mremap of sealed memory returns 0 and does nothing"
        ["mseal/mremap-is-eperm"]
        Act::Outcome(|_, s, o| if matches!(s.op, Op::Mremap { .. }) { swap(o, EPERM, None) });
    "mseal" "lost-in-fork" "the child of a fork has no seals"
        ["fork/copies-vmas"]
        Act::View(|_, _, s, seen| if let Op::Fork { child } = s.op {
            for (_, space) in seen.spaces.iter_mut().filter(|(actor, _)| *actor == child) {
                for flags in space.vmas.iter_mut().filter_map(|vma| vma.flags.as_mut()) {
                    flags.retain(|f| *f != VmFlag(*b"sl"));
                }
            }
        });
    "fork" "cow-broken" "a write to memory shared by fork reaches the other process too"
        ["access/copy-on-write"]
        Act::Instead(cow_broken);
    "fork" "stays-exclusive" "pages shared by fork are still shown as mapped exclusively"
        ["fork/shares-pages" "fork/shares-huge" "report/exclusive"]
        Act::View(|_, _, _, seen| each_page(seen, |page| if page.kind == PageKind::Anon { page.exclusive = true }));
    "exit" "unmaps-others" "the exit of one process unmaps its relative's first block"
        ["space/untouched"]
        Act::Instead(exit_unmaps_others);
    "exit" "pages-stay-shared" "pages that a process had in common with one that has ended are still shown as shared"
        ["exit/drops-everything" "report/exclusive"]
        Act::View(|before, _, s, seen| if s.op == Op::Exit {
            for (actor, space) in &mut seen.spaces {
                for run in space.pages.iter_mut().filter(|run| run.page.kind == PageKind::Anon) {
                    let was_shared = matches!(before.page(*actor, run.start), PageState::Anon { shared: true, .. });
                    run.page.exclusive &= !was_shared;
                }
            }
        });
    "file" "sigbus-is-sigsegv" "an access behind the end of a file is SIGSEGV with SEGV_MAPERR"
        ["file/beyond-end"]
        Act::Outcome(|_, _, o| if let Outcome::Access(a) = o {
            if let Some(fault) = &mut a.fault { if fault.signo == SIGBUS { (fault.signo, fault.code) = (SIGSEGV, MAPERR) } }
        });
    "file" "copies-are-pages-of-the-file" "private copies of a file's pages are shown as pages of the file"
        ["file/private-copy"]
        Act::View(|_, _, _, seen| for (_, space) in &mut seen.spaces {
            let vmas = &space.vmas;
            for run in &mut space.pages {
                let of_file = vmas.iter().any(|v| v.start <= run.start && run.start < v.end && v.file_page.is_some());
                if of_file && run.page.kind == PageKind::Anon { run.page.kind = PageKind::File }
            }
        });
    "file" "readonly-becomes-writable" "mprotect of what may never be written returns 0 instead of EACCES"
        ["mprotect/may-write"]
        Act::Outcome(|_, s, o| if matches!(s.op, Op::Mprotect { .. }) { swap(o, EACCES, None) });
    "file" "offset-of-the-next-page" "maps shows files a page further on"
        ["mmap/file/maps" "mmap/shared/own-object" "secret/maps"]
        Act::View(|_, _, _, seen| for (_, space) in &mut seen.spaces {
            space.vmas.iter_mut().for_each(|vma| vma.file_page = vma.file_page.map(|page| page + 1))
        });
    "file" "truncate-skipped" "ftruncate does nothing and returns 0"
        ["file/truncate/shrinks" "file/truncate/grows"]
        Act::Instead(|_, s| if matches!(s.op, Op::Truncate { .. }) { Plan::skip() } else { None });
    "file" "hole-skipped" "fallocate punches no hole and returns 0"
        ["file/hole/drops-pages"]
        Act::Instead(|_, s| if matches!(s.op, Op::PunchHole { .. }) { Plan::skip() } else { None });
    "file" "remove-is-dontneed" "MADV_REMOVE does what MADV_DONTNEED should"
        ["madvise/remove/punches"]
        Act::Instead(|_, s| mistaken(s, Advice::Remove, Advice::DontNeed));
    "file" "seals-forgotten" "F_ADD_SEALS does nothing and returns 0"
        ["seal/adds" "seal/no-writable-mapping" "seal/keeps-length" "seal/keeps-contents" "seal/future-write-checked-late"]
        Act::Instead(|_, s| if matches!(s.op, Op::Seal { .. }) { Plan::skip() } else { None });
    "file" "sealed-though-busy" "F_SEAL_WRITE returns 0 where a writable mapping forbids it"
        ["seal/write-is-busy"]
        Act::Outcome(|_, _, o| swap(o, EBUSY, None));
    "thp-disable" "disable-skipped" "prctl(PR_SET_THP_DISABLE) does nothing and returns 0"
        ["thp-disable/off" "thp-disable/except-advised"]
        Act::Instead(|_, s| if matches!(s.op, Op::SwitchHuge(_)) { Plan::skip() } else { None });
    "soft-dirty" "clear-skipped" "writing 4 to clear_refs does nothing and returns 0"
        ["soft-dirty/clears"]
        Act::Instead(|_, s| if matches!(s.op, Op::ClearSoftDirty) { Plan::skip() } else { None });
    "soft-dirty" "loads-count" "pages that were only read show as soft-dirty"
        ["soft-dirty/store-sets" "soft-dirty/clears"]
        Act::View(|_, _, _, seen| each_page(seen, |page| if page.kind == PageKind::Zero { page.soft_dirty = true }));
    "smaps" "guards-are-resident" "smaps counts guards in Rss"
        ["report/sizes"]
        Act::View(|_, world, _, seen| for (actor, space) in &mut seen.spaces {
            let kib = u64::from(world.geometry().page_size) / 1024;
            for vma in &mut space.vmas {
                let within = |(start, len): &(u32, u32)| (start + len).min(vma.end).saturating_sub((*start).max(vma.start));
                let guards: u32 = world.guards(*actor).iter().map(within).sum();
                if let Some(sizes) = &mut vma.sizes { sizes.rss += u64::from(guards) * kib }
            }
        });
    "smaps" "pss-is-rss" "smaps divides no page by how often it is mapped"
        ["report/sizes"]
        Act::View(|_, _, _, seen| for (_, space) in &mut seen.spaces {
            for sizes in space.vmas.iter_mut().filter_map(|vma| vma.sizes.as_mut()) { sizes.pss = sizes.rss }
        });
    "uffd" "register-skipped" "UFFDIO_REGISTER does nothing and returns 0"
        ["uffd/register"]
        Act::Instead(|_, s| if matches!(s.op, Op::Uffd { call: UffdCall::RegisterMissing, .. }) { Plan::skip() } else { None });
    "uffd" "copies-over-guards" "UFFDIO_COPY of several pages replaces guards (a probe would take a kernel that always does for an older one)"
        ["uffd/fill/occupied"]
        Act::Instead(copies_over_guards);
    "uffd" "occupied-is-filled" "UFFDIO_COPY and UFFDIO_ZEROPAGE that find their first page in use say that they have filled all"
        ["uffd/fill/occupied"]
        Act::Outcome(|w, s, o| if let (Op::Uffd { range, call: UffdCall::Copy { .. } | UffdCall::ZeroPage }, Outcome::Errno(EEXIST)) = (s.op, &*o) {
            let g = w.geometry();
            *o = Outcome::Moved(Moved::of(range.into(), range.byte_len(g), Vec::new(), 0, g))
        });
    "uffd" "zeropage-takes-memory" "UFFDIO_ZEROPAGE copies zeros instead of mapping the zero page"
        ["uffd/zeropage"]
        Act::View(|_, _, s, seen| if matches!(s.op, Op::Uffd { call: UffdCall::ZeroPage, .. }) {
            each_page(seen, |page| if page.kind == PageKind::Zero { page.kind = PageKind::Anon })
        });
    "uffd" "protect-skipped" "UFFDIO_WRITEPROTECT does nothing and returns 0"
        ["uffd/wp/protect" "uffd/wp/marker" "uffd/wp/shown"]
        Act::Instead(|_, s| if matches!(s.op, Op::Uffd { call: UffdCall::Protect, .. }) { Plan::skip() } else { None });
    "uffd" "markers-are-hidden" "pagemap shows a slot with a marker of write protection as empty"
        ["uffd/wp/marker" "uffd/wp/zap-leaves-markers" "uffd/wp/shown"]
        Act::View(|_, _, _, seen| for (_, space) in &mut seen.spaces {
            space.pages.retain(|run| !(run.page.uffd_wp && run.page.kind == PageKind::Swap))
        });
    "uffd" "move-skipped" "UFFDIO_MOVE moves nothing and says that it has"
        ["uffd/move" "uffd/move/holes" "uffd/move/huge" "uffd/move/unprotects"]
        Act::Instead(|_, s| if matches!(s.op, Op::Uffd { call: UffdCall::Move { .. }, .. }) { Plan::skip() } else { None });
    "uffd" "moves-to-occupied" "UFFDIO_MOVE to a slot in use says that it has moved everything"
        ["uffd/move/occupied"]
        Act::Outcome(|w, s, o| if let (Op::Uffd { range, call: UffdCall::Move { .. } }, Outcome::Errno(EEXIST)) = (s.op, &*o) {
            let g = w.geometry();
            *o = Outcome::Moved(Moved::of(range.into(), range.byte_len(g), Vec::new(), 0, g))
        });
    "uffd" "unmapping-is-untold" "userfaultfd tells nothing of what is unmapped"
        ["uffd/events/unmap"]
        Act::View(|_, _, _, seen| seen.events.retain(|(_, event)| !matches!(event, Event::Unmap { .. })));
    "uffd" "discarding-is-told-short" "UFFD_EVENT_REMOVE of several pages leaves out the last"
        ["uffd/events/remove"]
        Act::View(|_, _, _, seen| for (_, event) in &mut seen.events {
            if let Event::Remove { pages: pages @ 2.., .. } = event { *pages -= 1 }
        });
    "uffd" "poison-is-as-missing" "an access to a poisoned page raises SIGBUS with BUS_ADRERR, as one to a missing page does"
        ["uffd/poison/access"]
        Act::Outcome(|_, _, o| if let Outcome::Access(Access { fault: Some(Fault { signo: 7, code, .. }), .. }) = o {
            *code = 2
        });
    "transfer" "removes-guards" "the kernel's own accesses remove guards"
        ["transfer/guard"]
        Act::Instead(removes_guards);
    "transfer" "pipe-counts-bytes" "write(2) to a pipe counts chunks that came through in part"
        ["transfer/pipe/whole-chunks"]
        Act::Instead(pipe_counts_bytes);
    "transfer" "pins-shared" "process_vm_readv leaves pages shared that it reads"
        ["transfer/process-vm/pin-unshares"]
        Act::Instead(pins_shared);
    "transfer" "mem-is-efault" "/proc/PID/mem says EFAULT instead of EIO"
        ["transfer/vma-forbids" "secret/out-of-the-kernels-reach" "transfer/hole" "transfer/guard" "file/beyond-end" "transfer/mem/force-not-shared"]
        Act::Outcome(|_, _, o| swap(o, EIO, Some(EFAULT)));
    "transfer" "part-is-nothing" "a call that has moved a part of its bytes returns EFAULT"
        ["transfer/to-the-byte" "process-madvise/first-error-stops" "transfer/guard" "transfer/hole"]
        Act::Outcome(part_is_nothing);
    "transfer" "copies-nothing" "what the kernel stores in memory shared by fork reaches the other process too"
        ["access/copy-on-write" "transfer/faults-in" "space/untouched"]
        Act::Instead(copies_nothing);
    "process-madvise" "first-range-only" "process_madvise does its first range and returns the length of all"
        ["process-madvise/one-by-one"]
        Act::Instead(first_range_only);
    "process-madvise" "always-oneself" "process_madvise for another process is done to the caller"
        ["process-madvise/one-by-one" "process-madvise/needs-nice" "process-madvise/few-for-others"]
        Act::Instead(always_oneself);
    "process-madvise" "part-is-error" "process_madvise that stops behind a range returns ENOMEM"
        ["process-madvise/first-error-stops"]
        Act::Outcome(|_, s, o| if let (Op::ProcessMadvise { .. }, Outcome::Moved(m)) = (s.op, &*o) {
            if !m.all { *o = Outcome::Errno(ENOMEM) }
        });
    "swap" "loses-content" "PAGEOUT with swap space discards what it takes"
        ["swap/pageout/takes" "swap/pageout/huge"]
        Act::Instead(swapping_discards);
    "swap" "fork-drops-entries" "a child gets nothing of what is swapped out"
        ["swap/fork/shares"]
        Act::View(|_, w, s, seen| if let (Op::Fork { child }, true) = (s.op, w.knobs().swap) {
            for (_, space) in seen.spaces.iter_mut().filter(|(actor, _)| *actor == child) {
                space.pages.retain(|run| run.page.kind != PageKind::Swap)
            }
        });
    "swap" "guards-leave-entries" "guard install leaves swap entries where they are"
        ["swap/discarded" "guard/install/zaps-populated" "guard/install/fills"]
        Act::Instead(install_leaves_entries);
    "mincore" "forgets" "mincore forgets the first resident page"
        ["report/mincore"]
        Act::View(|_, _, _, seen| for (_, space) in &mut seen.spaces {
            if let Some((start, len)) = space.resident.as_mut().and_then(|runs| runs.first_mut()) {
                if *len > 1 { *start += 1; *len -= 1 }
            }
        });
}

/// Replaces one errno by another, or by success.
fn swap(outcome: &mut Outcome, from: i32, to: Option<i32>) {
    if *outcome == Outcome::Errno(from) {
        *outcome = to.map_or(Outcome::Ok, Outcome::Errno);
    }
}

fn each_page(seen: &mut Observation, change: fn(&mut oracle::judge::PageSeen)) {
    for (_, space) in &mut seen.spaces {
        space.pages.iter_mut().for_each(|run| change(&mut run.page));
    }
}

fn drop_flag(seen: &mut Observation, flag: VmFlag) {
    for (_, space) in &mut seen.spaces {
        for vma in space.vmas.iter_mut().filter(|v| v.end - v.start > 1) {
            if let Some(flags) = &mut vma.flags {
                flags.retain(|f| *f != flag);
            }
        }
    }
}

/// The advice, one page short.
fn shortened(step: &Step, advice: Advice) -> Option<Plan> {
    let range = resized(is_advice(step, advice)?, -1)?;
    Plan::instead(step.actor, madvise(range, advice))
}

fn populated(state: PageState) -> bool {
    !matches!(
        state,
        PageState::Unmapped | PageState::Empty | PageState::Guard
    )
}

fn install_keeps_data(world: &World, step: &Step) -> Option<Plan> {
    let range = is_advice(step, Advice::GuardInstall)?;
    let free = runs_of(world, step.actor, range, |state| {
        matches!(state, PageState::Empty | PageState::Guard)
    })?;
    Some(Plan {
        steps: free
            .into_iter()
            .map(|run| Step::new(step.actor, madvise(run, Advice::GuardInstall)))
            .collect(),
        answer: Answer::Honest,
    })
}

fn swapping_discards(world: &World, step: &Step) -> Option<Plan> {
    let range = is_advice(step, Advice::PageOut)?;
    let own = |state| matches!(state, PageState::Anon { shared: false, .. });
    let taken = runs_of(world, step.actor, range, own)?;
    let ops: Vec<Op> = taken
        .into_iter()
        .map(|run| madvise(run, Advice::DontNeed))
        .collect();
    Plan::and(step, &ops).filter(|_| world.knobs().swap)
}

fn install_leaves_entries(world: &World, step: &Step) -> Option<Plan> {
    let range = is_advice(step, Advice::GuardInstall)?;
    let entry = |state| matches!(state, PageState::Swapped { .. });
    let entries = runs_of(world, step.actor, range, entry)?;
    if entries.is_empty() || !range.start.is_page_aligned() {
        return None;
    }
    let others = runs_of(world, step.actor, range, |state| {
        !matches!(state, PageState::Swapped { .. })
    })?;
    Some(Plan {
        steps: others
            .into_iter()
            .map(|run| Step::new(step.actor, madvise(run, Advice::GuardInstall)))
            .collect(),
        answer: Answer::Honest,
    })
}

fn install_refused(world: &World, step: &Step, outcome: &mut Outcome) {
    if let Some(range) = is_advice(step, Advice::GuardInstall) {
        let (from, to) = pages(world, range);
        let any = (from..to).any(|page| populated(world.page(step.actor, page)));
        if any && *outcome == Outcome::Ok {
            *outcome = Outcome::Errno(EPERM);
        }
    }
}

fn install_needs_write(world: &World, step: &Step, outcome: &mut Outcome) {
    if let Some(range) = is_advice(step, Advice::GuardInstall) {
        let (from, to) = pages(world, range);
        let read_only = world
            .vmas(step.actor)
            .iter()
            .any(|vma| vma.start < to && from < vma.end && !vma.prot.write);
        if read_only && *outcome == Outcome::Ok {
            *outcome = Outcome::Errno(EACCES);
        }
    }
}

/// Whether a range reaches into huge TLB memory.
fn meets_hugetlb(world: &World, actor: u8, range: Range) -> bool {
    let (from, to) = pages(world, range);
    let vmas = world.vmas(actor);
    from < to
        && vmas
            .iter()
            .any(|vma| vma.hugetlb && vma.start < to && from < vma.end)
}

/// madvise on the part before the first hole only; the errno is the right one.
fn hole_stops(world: &World, step: &Step) -> Option<Plan> {
    let Op::Madvise { range, advice } = step.op else {
        return None;
    };
    let mapped = runs_of(world, step.actor, range, |s| s != PageState::Unmapped)?;
    if mapped.len() < 2 || !range.start.is_page_aligned() {
        return None;
    }
    Plan::instead(step.actor, madvise(mapped[0], advice))
}

/// A copy of several pages goes over guards: a kernel that did it for one page would be taken for an older one.
fn copies_over_guards(world: &World, step: &Step) -> Option<Plan> {
    let Op::Uffd {
        range,
        call: UffdCall::Copy { .. },
    } = step.op
    else {
        return None;
    };
    let (start, end) = pages(world, range);
    let registered = world.vma_at(step.actor, start)?;
    if end < start + 2 || !registered.uffd.missing || end > registered.end {
        return None;
    }
    Some(Plan {
        steps: vec![
            Step::new(step.actor, madvise(range, Advice::GuardRemove)),
            step.clone(),
        ],
        answer: Answer::Of(1),
    })
}

fn guard_is_open(_: &World, step: &Step) -> Option<Plan> {
    let (Op::Read { range } | Op::Write { range, .. }) = step.op else {
        return None;
    };
    let remove = Step::new(step.actor, madvise(range, Advice::GuardRemove));
    Some(Plan {
        steps: vec![remove, step.clone()],
        answer: Answer::Of(1),
    })
}

/// A store that was stopped for lack of permission is reported as complete.
fn ignores_prot(world: &World, step: &Step, outcome: &mut Outcome) {
    if let (Op::Write { range, .. }, Outcome::Access(access)) = (step.op, outcome) {
        if access.fault.is_some_and(|fault| fault.code == ACCERR) {
            let (from, to) = pages(world, range);
            access.pages = to - from;
            access.fault = None;
        }
    }
}

/// MAP_FIXED over a mapping of the same kind keeps it, pages and all.
fn fixed_keeps(world: &World, step: &Step) -> Option<Plan> {
    let Op::Mmap {
        range,
        prot,
        place: Place::Fixed,
        ..
    } = step.op
    else {
        return None;
    };
    let (from, to) = pages(world, range);
    let covered = world
        .vma_at(step.actor, from)
        .is_some_and(|vma| vma.end >= to);
    if covered && to > from {
        Plan::instead(step.actor, Op::Mprotect { range, prot })
    } else {
        None
    }
}

fn after_fork(step: &Step, op: Op) -> Option<Plan> {
    let Op::Fork { child } = step.op else {
        return None;
    };
    Some(Plan {
        steps: vec![step.clone(), Step::new(child, op)],
        answer: Answer::Of(0),
    })
}

/// One advice taken for another.
fn mistaken(step: &Step, given: Advice, taken: Advice) -> Option<Plan> {
    let range = is_advice(step, given)?;
    Plan::instead(step.actor, madvise(range, taken))
}

/// mmap without a flag, if it has it.
fn without_flag(step: &Step, take: fn(&mut MapFlags) -> bool) -> Option<Plan> {
    let mut op = step.op;
    let Op::Mmap { flags, .. } = &mut op else {
        return None;
    };
    take(flags).then(|| Plan::instead(step.actor, op)).flatten()
}

fn noreplace_replaces(_: &World, step: &Step) -> Option<Plan> {
    let mut op = step.op;
    let Op::Mmap { place, .. } = &mut op else {
        return None;
    };
    if *place != Place::NoReplace {
        return None;
    }
    *place = Place::Fixed;
    Some(Plan {
        steps: vec![Step::new(step.actor, op)],
        answer: Answer::Of(0),
    })
}

/// A fork of memory whose hint would keep it from being copied: the hint is off for the moment of the fork.
fn fork_despite(
    world: &World,
    step: &Step,
    has: fn(&Hints) -> bool,
    off: Advice,
    on: Advice,
) -> Option<Plan> {
    let Op::Fork { child } = step.op else {
        return None;
    };
    let g = world.geometry();
    let ranges: Vec<Range> = world
        .vmas(step.actor)
        .iter()
        .filter(|vma| has(&vma.hints))
        .filter_map(|vma| {
            let start = Pos::from_page_index(vma.start.into(), g)?;
            Some(Range::new(start, Pos::from_page_index(vma.end.into(), g)?))
        })
        .collect();
    if ranges.is_empty() {
        return None;
    }
    let all = |actor: u8, advice: Advice| {
        let steps = ranges.iter();
        steps.map(move |&range| Step::new(actor, madvise(range, advice)))
    };
    let mut steps: Vec<Step> = all(step.actor, off).collect();
    let answer = Answer::Of(steps.len());
    steps.push(step.clone());
    steps.extend(all(step.actor, on).chain(all(child, on)));
    Some(Plan { steps, answer })
}

fn cow_broken(world: &World, step: &Step) -> Option<Plan> {
    let Op::Write { range, .. } = step.op else {
        return None;
    };
    let shared: fn(PageState) -> bool = |s| matches!(s, PageState::Anon { shared: true, .. });
    if runs_of(world, step.actor, range, shared)?.is_empty() {
        return None;
    }
    Plan::by_everybody(world, step)
}

fn exit_unmaps_others(world: &World, step: &Step) -> Option<Plan> {
    if step.op != Op::Exit {
        return None;
    }
    let block = Range::new(ARENA.start, oracle::geometry::Pos::new(1, 0));
    let others = world.living().into_iter().filter(|a| *a != step.actor);
    Some(Plan {
        steps: std::iter::once(step.clone())
            .chain(others.map(|actor| Step::new(actor, Op::Munmap { range: block })))
            .collect(),
        answer: Answer::Of(0),
    })
}

/// Borders that were there before the op and are no longer needed stay, except after ops that remove mappings.
fn merge_missed(before: &World, _: &World, step: &Step, seen: &mut Observation) {
    if !matches!(step.op, Op::Mprotect { .. } | Op::Madvise { .. }) {
        return;
    }
    let borders: Vec<u32> = before
        .vmas(step.actor)
        .iter()
        .map(|vma| vma.start)
        .collect();
    for (_, space) in seen.spaces.iter_mut().filter(|(a, _)| *a == step.actor) {
        let mut at = 0;
        while at < space.vmas.len() {
            let vma = &space.vmas[at];
            let inside = borders.iter().find(|b| vma.start < **b && **b < vma.end);
            if let Some(&border) = inside {
                let mut rest = vma.clone();
                rest.start = border;
                space.vmas[at].end = border;
                space.vmas.insert(at + 1, rest);
            }
            at += 1;
        }
    }
}
