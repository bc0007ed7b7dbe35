//! The way back: what a guest sends when a kernel does what the model expects. Fuzzers of what a guest may send start from it,
//! and whatever is converted is the same as before.

use super::{
    events, pages, Content, Geometry, Outcome, Program, Prot, SpaceSeen, Views, PROT_EXEC,
    PROT_READ, PROT_WRITE,
};
use oracle::judge::{Observation, PageKind, PageRun, Sizes, ValueRun, VmaSeen};
use oracle::profile::Profile;
use oracle::space::{Key, World};
use wire::scan::{self, ScanQuery, ScanSeen};

/// The execution of `program` on a kernel of this profile with these views, by the most usual way of each step, after which all is
/// looked at ([`super::super::Smaps::Every`]). Only of programs without sections.
pub fn sent(
    id: u64,
    program: &Program,
    profile: &Profile,
    g: Geometry,
    views: Views,
) -> wire::Execution {
    let mut world = World::new(profile, g, program.knobs);
    let mut last: Vec<(u8, wire::Space)> = Vec::new();
    let mut steps = Vec::with_capacity(program.steps.len());
    for step in &program.steps {
        let branch = world.apply(step).swap_remove(0);
        world = branch.world;
        let seen = Observation {
            outcome: branch.outcome,
            spaces: world.shown(),
            events: world.events().to_vec(),
            failing: None,
        };
        steps.push(step_seen(&seen, &mut last, g, views));
    }
    wire::Execution {
        id,
        free_pages: 0,
        end: wire::End::Done,
        steps,
    }
}

fn step_seen(
    seen: &Observation,
    last: &mut Vec<(u8, wire::Space)>,
    g: Geometry,
    views: Views,
) -> wire::StepSeen {
    let mut actors = Vec::with_capacity(seen.spaces.len());
    let mut now = Vec::with_capacity(seen.spaces.len());
    for (actor, shown) in &seen.spaces {
        let shown = space(shown, views);
        let view = match last
            .iter()
            .any(|(a, before)| a == actor && *before == shown)
        {
            true => wire::View::Unchanged,
            false => wire::View::Full(shown.clone()),
        };
        actors.push((*actor, view));
        now.push((*actor, shown));
    }
    *last = now;
    wire::StepSeen {
        result: result(&seen.outcome),
        more: Vec::new(),
        fail_left: None,
        events: seen
            .events
            .iter()
            .map(|(actor, event)| (*actor, events::told(*event, g)))
            .collect(),
        actors,
    }
}

fn result(outcome: &Outcome) -> wire::OpResult {
    match outcome {
        // Of sections, which are not sent so.
        Outcome::Ok | Outcome::Each(_) | Outcome::Together(_) => wire::OpResult::Ret(0),
        Outcome::Errno(errno) => wire::OpResult::Ret(-i64::from(*errno)),
        Outcome::Unflagged => wire::OpResult::Ret(1),
        Outcome::Elsewhere => wire::OpResult::Elsewhere,
        Outcome::Moved(moved) => wire::OpResult::Moved {
            bytes: moved.bytes,
            values: values(&moved.values),
            stray: moved.stray,
        },
        Outcome::Access(access) => wire::OpResult::Access {
            pages: access.pages,
            values: values(&access.values),
            fault: access.fault.map(|fault| wire::Fault {
                signo: fault.signo,
                code: fault.code,
                addr: fault.addr,
                key: fault.key.map(|key| match key {
                    Key::Default => wire::Key::Number(0),
                    Key::Open => wire::Key::Own(0),
                    Key::NoWrite => wire::Key::Own(1),
                    Key::NoAccess => wire::Key::Own(2),
                    Key::ExecuteOnly => wire::Key::Number(4),
                }),
            }),
        },
    }
}

fn values(runs: &[ValueRun]) -> Vec<(u32, u64)> {
    runs.iter().map(|run| (run.len, run.first.0)).collect()
}

fn space(seen: &SpaceSeen, views: Views) -> wire::Space {
    let pages: Vec<wire::PageRun> = seen.pages.iter().map(|run| page_run(run, views)).collect();
    let asked = scan::QUERIES.iter();
    let asked = asked.filter(|query| views.scan && query.can_be_asked(views.scan_guard));
    wire::Space {
        vmas: seen.vmas.iter().map(vma).collect(),
        frames: frames(&seen.pages),
        scans: asked.map(|query| answer(query, &pages)).collect(),
        pages,
        resident: seen.resident.clone().unwrap_or_default(),
        counters: None,
    }
}

fn frames(pages: &[PageRun]) -> Vec<wire::FrameRun> {
    use wire::frames::{ANON, MMAP, THP, ZERO_PAGE};
    let frame = |run: &PageRun| {
        let flags = match run.page.kind {
            PageKind::Zero => ZERO_PAGE,
            PageKind::File => MMAP,
            PageKind::Anon => MMAP | ANON,
            PageKind::Guard | PageKind::Swap => return None,
        };
        let huge = if run.page.huge == Some(true) { THP } else { 0 };
        Some(wire::FrameRun {
            start: run.start,
            len: run.len,
            flags: flags | huge,
        })
    };
    pages.iter().filter_map(frame).collect()
}

fn vma(seen: &VmaSeen) -> wire::Vma {
    let flags = seen.flags.as_ref().map(|flags| {
        let names = flags.iter().map(|flag| String::from_utf8_lossy(&flag.0));
        names.collect::<Vec<_>>().join(" ")
    });
    wire::Vma {
        start: seen.start,
        end: seen.end,
        prot: prot(seen.prot),
        shared: seen.shared,
        file_page: seen.file_page,
        flags,
        sizes: seen.sizes.map(sizes),
    }
}

fn prot(prot: Prot) -> u8 {
    let bits = [
        (prot.read, PROT_READ),
        (prot.write, PROT_WRITE),
        (prot.exec, PROT_EXEC),
    ];
    let set = bits.iter().filter(|(set, _)| *set);
    set.map(|(_, bit)| *bit as u8).sum()
}

fn sizes(seen: Sizes) -> wire::Sizes {
    wire::Sizes {
        rss: seen.rss,
        pss: seen.pss,
        private_clean: 0,
        private_dirty: seen.private,
        anonymous: seen.anonymous,
        lazy_free: seen.lazy_free,
        anon_huge_pages: seen.anon_huge,
        shmem_pmd_mapped: seen.file_huge,
        file_pmd_mapped: 0,
        swap: seen.swap,
        locked: seen.locked,
    }
}

/// A run of pages, as pagemap and PAGEMAP_SCAN show it.
fn page_run(run: &PageRun, views: Views) -> wire::PageRun {
    let page = &run.page;
    let huge_zero = page.kind == PageKind::Zero && page.huge == Some(true);
    let (pagemap, categories) = match page.kind {
        PageKind::Guard => (pages::SWAP | pages::GUARD, scan::SWAPPED | scan::GUARD),
        PageKind::Swap => (pages::SWAP, scan::SWAPPED),
        PageKind::Zero if huge_zero && views.huge_zero_as_file => {
            (pages::PRESENT | pages::FILE, scan::PRESENT | scan::PFNZERO)
        }
        PageKind::Zero => (pages::PRESENT, scan::PRESENT | scan::PFNZERO),
        PageKind::Anon => (pages::PRESENT, scan::PRESENT),
        PageKind::File => (pages::PRESENT | pages::FILE, scan::PRESENT | scan::FILE),
    };
    let with = |set: bool, bit: u16| if set { bit } else { 0 };
    let pagemap = pagemap
        | with(page.exclusive, pages::EXCLUSIVE)
        | with(page.soft_dirty, pages::SOFT_DIRTY)
        | with(page.uffd_wp, pages::UFFD_WP);
    let categories = categories
        | with(page.huge == Some(true), scan::HUGE)
        | with(page.soft_dirty, scan::SOFT_DIRTY);
    wire::PageRun {
        start: run.start,
        len: run.len,
        pagemap,
        scan: views.scan.then_some(match views.scan_guard {
            true => categories,
            false => categories & !scan::GUARD,
        }),
        zero_pfn: !views.scan && page.kind == PageKind::Zero,
        value: page.content.map(|Content(value)| value),
    }
}

fn answer(query: &ScanQuery, pages: &[wire::PageRun]) -> ScanSeen {
    ScanSeen {
        regions: super::scans::expected(query, pages),
    }
}
