//! Memory that the kernel reads or writes for a caller: write(2) and read(2), process_vm_readv and process_vm_writev,
//! /proc/PID/mem, vmsplice. What they fault in is what an access would (`access`); how much they do is told here.

use super::access::{self, Gate, Kernel, Purpose, Stores};
use super::errno::{EFAULT, EIO};
use super::registry::Rule;
use super::{hit, Ctx};
use crate::geometry::{Geometry, Range};
use crate::judge::{Access, Class, Moved, Outcome, ValueRun};
use crate::program::{Transfer, Vectors, Whose};
use crate::space::{Branch, Content};

pub const FAULTS_IN: Rule = Rule {
    name: "transfer/faults-in",
    text: "What the kernel reads or writes for a caller is faulted in page by page as by loads and stores, up to the first page that \
           cannot be: huge pages, the zero page, fault-around, copies on write. No signal is raised.",
    source: "lib/iov_iter.c, mm/gup.c faultin_page; selftests/mm/guard-regions.c process_vm tests",
    since: "all",
    about: &[Class::PageState, Class::Residency, Class::Value, Class::Errno],
};

pub const UNMAPPED: Rule = Rule {
    name: "transfer/hole",
    text: "A hole ends the call: with EFAULT (/proc/PID/mem: EIO) where nothing was moved, else with what was.",
    source: "arch/x86/mm/extable.c, arch/arm64/mm/extable.c; write(2), process_vm_readv(2)",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const DENIED: Rule = Rule {
    name: "transfer/as-the-process-may",
    text: "read(2) and write(2) may do with their buffer what loads and stores of the process may, keys for PROT_EXEC alone included: \
           elsewhere they end as at a hole.",
    source: "arch/x86/mm/fault.c, arch/arm64/mm/fault.c; write(2), EFAULT",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const GUARD: Rule = Rule {
    name: "transfer/guard",
    text: "A guard ends the call as a hole does, whichever way the kernel comes and whoever's memory it is; FOLL_FORCE does not help. \
           The guard stays, and nothing is faulted in there.",
    source: "mm/memory.c handle_pte_marker: VM_FAULT_SIGSEGV; mm/gup.c vm_fault_to_errno",
    since: "6.13",
    about: &[Class::Errno, Class::PageState],
};

pub const WHOLE_CHUNKS: Rule = Rule {
    name: "transfer/pipe/whole-chunks",
    text: "A pipe takes and gives its bytes in chunks of a page's length, counted from the start of the buffer. A chunk that cannot be \
           moved as a whole does not count, though what it reaches before is faulted in, and, read from a pipe, stored.",
    source: "fs/pipe.c anon_pipe_write, anon_pipe_read",
    since: "all",
    about: &[Class::Errno, Class::Value, Class::PageState],
};

pub const TO_THE_BYTE: Rule = Rule {
    name: "transfer/to-the-byte",
    text: "A call that comes to a page that it cannot have does all that lies before, to the byte, and returns how much that was. On arm64, which stores \
           16 bytes at a time, too: the rest is tried again until no byte more goes through.",
    source: "mm/filemap.c generic_perform_write, lib/iov_iter.c copy_page_to_iter, arch/arm64/lib/copy_to_user.S, mm/process_vm_access.c, fs/proc/base.c mem_rw, \
             fs/splice.c iter_to_pipe; process_vm_readv(2)",
    since: "all",
    about: &[Class::Errno, Class::Value],
};

pub const VMA_FORBIDS: Rule = Rule {
    name: "transfer/vma-forbids",
    text: "Where the kernel looks up pages (process_vm_readv and process_vm_writev, vmsplice) it asks the VMA: without PROT_READ there \
           is no reading, though the processor may let loads of write-only memory pass, and without PROT_WRITE no writing.",
    source: "mm/gup.c check_vma_flags",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const FORCES: Rule = Rule {
    name: "transfer/mem/forces",
    text: "/proc/PID/mem reads what PROT_NONE forbids and writes private memory that is not writable, faulting in as if it were. \
           The page stays unwritable for the process. Whether it does is a setting (proc_mem.force_override).",
    source: "fs/proc/base.c proc_mem_foll_force, mm/gup.c check_vma_flags, can_follow_write_common; proc_pid_mem(5)",
    since: "all, where it is not switched off (6.12)",
    about: &[Class::Errno, Class::PageState, Class::Value],
};

pub const FORCE_NOT_SHARED: Rule = Rule {
    name: "transfer/mem/force-not-shared",
    text: "A shared mapping that is not writable cannot be written through /proc/PID/mem: EIO.",
    source: "mm/gup.c check_vma_flags: is_cow_mapping",
    since: "all",
    about: &[Class::Errno, Class::PageState],
};

pub const FAST: Rule = Rule {
    name: "transfer/vmsplice/page-table-suffices",
    text: "vmsplice reads page tables before it asks VMAs: a page that is there and that loads can read is taken though the VMA has no \
           PROT_READ. Zero pages are not, as their entries are special ones; the huge zero page is on some kernels.",
    source: "mm/gup.c gup_fast_pte_range, gup_fast_pmd_leaf",
    since: "all",
    about: &[Class::Errno],
};

pub const PIN_UNSHARES: Rule = Rule {
    name: "transfer/process-vm/pin-unshares",
    text: "process_vm_readv pins the pages that it reads; an anonymous page that another address space maps too is copied for \
           that, as by a store; but the entry of the copy keeps its soft-dirty bit and userfaultfd's as they were.",
    source: "mm/internal.h gup_must_unshare, mm/memory.c wp_page_copy: unshare; 5.19, mm/gup: trigger FAULT_FLAG_UNSHARE when R/O-pinning a possibly \
             shared anonymous page",
    since: "all",
    about: &[Class::PageState],
};

/// A call on its way.
struct Call {
    way: Transfer,
    vectors: Vectors,
    tag: u16,
}

/// How far it has come.
#[derive(Clone, Default)]
struct Done {
    bytes: u64,
    values: Vec<ValueRun>,
}

/// One way to fault a range in.
struct Faulted {
    ctx: Ctx,
    /// What was loaded, page by page.
    loads: Vec<ValueRun>,
    /// Bytes of the range before the first page that cannot be had.
    limit: u64,
}

/// A call that moves memory.
pub(crate) fn transfer(
    ctx: Ctx,
    way: Transfer,
    vectors: Vectors,
    whose: Whose,
    tag: u16,
) -> Vec<Branch> {
    let ranges: Vec<Range> = vectors.iter().collect();
    let call = Call { way, vectors, tag };
    let mut branches = Vec::with_capacity(1);
    go_on(
        &call,
        ctx.in_the_memory_of(whose),
        &ranges,
        Done::default(),
        &mut branches,
    );
    branches
}

/// The ranges that are left.
fn go_on(call: &Call, ctx: Ctx, ranges: &[Range], done: Done, branches: &mut Vec<Branch>) {
    let g = ctx.geometry();
    let Some((range, rest)) = ranges.split_first() else {
        let Done { bytes, values } = done;
        let moved = Moved::of(call.vectors, bytes, values, 0, g);
        branches.push(ctx.finish(Outcome::Moved(moved)));
        return;
    };
    let whole = range.byte_len(g);
    for Faulted {
        mut ctx,
        loads,
        limit,
    } in fault_in(call, ctx, *range)
    {
        let mut done = done.clone();
        let moved = match limit < whole {
            true => count(&mut ctx, call.way, limit),
            false => whole,
        };
        done.bytes += moved;
        add_values(&mut done.values, &loads, *range, moved, g);
        if limit == whole {
            go_on(call, ctx, rest, done, branches);
        } else if done.bytes == 0 {
            let errno = match call.way {
                Transfer::MemRead | Transfer::MemWrite => EIO,
                _ => EFAULT,
            };
            branches.push(ctx.finish(Outcome::Errno(errno)));
        } else {
            go_on(call, ctx, &[], done, branches);
        }
    }
}

/// What the kernel may access.
fn gate(ctx: &Ctx, way: Transfer) -> Gate {
    match way {
        Transfer::PipeWrite | Transfer::PipeRead | Transfer::MemfdWrite | Transfer::MemfdRead => {
            Gate::Process
        }
        Transfer::VmRead | Transfer::VmWrite => Gate::Pinned,
        Transfer::MemRead | Transfer::MemWrite => Gate::Pages {
            force: ctx.world.profile.proc_mem_forces,
        },
        Transfer::Vmsplice => Gate::Fast,
    }
}

/// Faults a range in, page by page, for as long as it goes.
fn fault_in(call: &Call, ctx: Ctx, range: Range) -> Vec<Faulted> {
    let g = ctx.geometry();
    let page = i64::from(g.page_size);
    let (from, to) = (range.start.byte_offset(g), range.end.byte_offset(g));
    if from >= to {
        return vec![Faulted {
            ctx,
            loads: Vec::new(),
            limit: 0,
        }];
    }
    let gate = gate(&ctx, call.way);
    let stretches = match call.way.stores() {
        true => stretches(from, to, page, call.tag),
        false => vec![(from.div_euclid(page), (to - 1).div_euclid(page) + 1, None)],
    };
    let actor = ctx.actor;
    let mut states = vec![(ctx, Vec::new(), None)];
    for (first, end, stores) in stretches {
        let mut next = Vec::with_capacity(states.len());
        for (ctx, loads, stopped) in states {
            if stopped.is_some() {
                next.push((ctx, loads, stopped));
                continue;
            }
            let purpose = Purpose::Kernel(Kernel { gate, stores });
            for branch in access::touch(ctx, first, end, purpose) {
                let Access { pages, values, .. } = match &branch.outcome {
                    Outcome::Access(access) => access.clone(),
                    _ => Access::default(),
                };
                let at = first + i64::from(pages);
                let stopped = (at < end).then_some(at);
                next.push((Ctx::resume(branch, actor), values, stopped));
            }
        }
        states = next;
    }
    let limit = |stopped: Option<i64>| stopped.map_or(to - from, |at| (at * page - from).max(0));
    let faulted = states.into_iter().map(|(ctx, loads, stopped)| Faulted {
        ctx,
        loads,
        limit: limit(stopped) as u64,
    });
    faulted.collect()
}

/// The pages of `[from, to)` bytes by what is stored of their first eight bytes.
fn stretches(from: i64, to: i64, page: i64, tag: u16) -> Vec<(i64, i64, Option<Stores>)> {
    let mut stretches: Vec<(i64, i64, Option<Stores>)> = Vec::new();
    for at in from.div_euclid(page)..=(to - 1).div_euclid(page) {
        let (from, to) = window(at, page, from, to);
        let stores = Some(Stores { tag, from, to });
        match stretches.last_mut() {
            Some(last) if last.2 == stores => last.1 = at + 1,
            _ => stretches.push((at, at + 1, stores)),
        }
    }
    stretches
}

/// Which of the first eight bytes of a page lie in `[from, to)`.
fn window(at: i64, page: i64, from: i64, to: i64) -> (u8, u8) {
    let inside = |byte: i64| (byte - at * page).clamp(0, 8) as u8;
    (inside(from), inside(to))
}

/// Adds what the kernel has read of the pages of `range`, of which it has moved so many bytes.
fn add_values(
    values: &mut Vec<ValueRun>,
    loads: &[ValueRun],
    range: Range,
    moved: u64,
    g: Geometry,
) {
    let page = i64::from(g.page_size);
    let from = range.start.byte_offset(g);
    let to = from.saturating_add_unsigned(moved);
    let contents = loads
        .iter()
        .flat_map(|run| (0..run.len).map(|ahead| run.first.plus(ahead)));
    for (at, content) in (from.div_euclid(page)..).zip(contents) {
        let (first, end) = window(at, page, from, to);
        if first >= end {
            continue;
        }
        let first = Content(content.0 & access::mask(first, end));
        match values.last_mut() {
            Some(run) if run.first.is_followed_by(first, run.len) => run.len += 1,
            _ => values.push(ValueRun { len: 1, first }),
        }
    }
}

/// Bytes that a call does of a range of which it can have `limit` only.
fn count(ctx: &mut Ctx, way: Transfer, limit: u64) -> u64 {
    let page = u64::from(ctx.geometry().page_size);
    match way {
        Transfer::PipeWrite | Transfer::PipeRead => {
            hit!(ctx, WHOLE_CHUNKS);
            limit - limit % page
        }
        _ => {
            hit!(ctx, TO_THE_BYTE);
            limit
        }
    }
}
