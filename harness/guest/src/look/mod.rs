//! What an actor sees of its own arena, without disturbing it: VMAs, page-table entries, contents of present pages,
//! residency. Every view comes through the actor's own /proc files, so that looking needs no other process.

mod counters;
mod flags;
mod frames;
mod guards;
mod pages;
mod resident;
mod vmas;

use crate::arena::Arena;
use crate::control::Control;
use crate::sys;
use wire::{Space, View};

pub use guards::guards_without_flag;
pub use pages::{scan, value_runs, GUARD, SCAN_ALL, SCAN_GUARD};
pub use vmas::query;

/// What this kernel can tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Features {
    pub procmap_query: bool,
    pub pagemap_scan: bool,
    /// PAGEMAP_SCAN takes PAGE_IS_GUARD.
    pub scan_guard: bool,
    /// PFNs of the zero page and of the first page of the huge zero page, where PAGEMAP_SCAN does not tell.
    pub zero_pfn: u64,
    pub huge_zero_pfn: u64,
    /// Descriptor of /proc/kpageflags; `None` on the running kernel, which shows it to root alone.
    pub kpageflags: Option<i32>,
}

/// An actor's means to look at itself.
pub struct Eyes {
    features: Features,
    arena: Arena,
    pagemap: i32,
    /// It was opened without root's rights and shows no frame numbers.
    hides_frames: bool,
    maps: i32,
    smaps: Option<i32>,
    /// status and smaps_rollup.
    counters: Option<(i32, i32)>,
    view: View,
}

fn open(path: &std::ffi::CStr) -> Result<i32, String> {
    sys::open(path, libc::O_RDONLY).map_err(|e| format!("{}: {e}", path.to_string_lossy()))
}

/// The same with root's rights, of an actor who is `user`.
fn open_as_root(path: &std::ffi::CStr, user: i32) -> Result<i32, String> {
    sys::set_user(-1, 0, -1).map_err(|e| format!("setresuid: {e}"))?;
    let opened = open(path);
    sys::set_user(-1, user, -1).map_err(|e| format!("setresuid: {e}"))?;
    sys::own_proc_files();
    opened
}

impl Eyes {
    /// Opens this process's own files. Must run with effective user 0, or pagemap hides what a PFN is.
    pub fn open(features: Features, arena: Arena) -> Result<Eyes, String> {
        Ok(Eyes {
            features,
            arena,
            pagemap: open(c"/proc/self/pagemap")?,
            hides_frames: false,
            maps: open(c"/proc/self/maps")?,
            smaps: None,
            counters: None,
            view: View::Full(Space::default()),
        })
    }

    /// Replaces a parent's files, inherited over fork, by this process's own. The parent's stay open: closing them would
    /// only cost time. `user` is who the actor is.
    pub fn reopen(&mut self, user: i32) -> Result<(), String> {
        // PFNs, which only root may see, matter where PAGEMAP_SCAN is missing.
        let as_root = !self.features.pagemap_scan && user != 0;
        self.pagemap = match as_root {
            true => open_as_root(c"/proc/self/pagemap", user)?,
            false => open(c"/proc/self/pagemap")?,
        };
        self.hides_frames = user != 0 && !as_root;
        self.maps = open(c"/proc/self/maps")?;
        self.smaps = None;
        self.counters = None;
        Ok(())
    }

    /// Another arena from now on.
    pub fn set_arena(&mut self, arena: Arena) {
        self.arena = arena;
    }

    /// Looks at everything: at VmFlags of the VMAs that start at or below the address `flags_to`, if any; at the sizes that
    /// smaps gives with them, and at the residency of pages that are known to be empty, only when `all`.
    ///
    /// # Errors
    /// A view that cannot be had, which is a fault of the guest or of its surroundings.
    pub fn look(
        &mut self,
        control: &Control,
        flags_to: Option<u64>,
        all: bool,
    ) -> Result<&View, String> {
        // SAFETY: the actor that looks has the turn, and this is the only place that asks for the buffers.
        let scratch = unsafe { control.scratch() };
        let View::Full(space) = &mut self.view else {
            return Err("the view is not a full one".to_owned());
        };
        space.vmas.clear();
        space.pages.clear();
        space.resident.clear();
        space.counters = None;
        space.scans.clear();
        space.frames.clear();
        if self.features.procmap_query {
            vmas::by_query(self.maps, self.arena, &mut space.vmas)?;
        } else {
            vmas::by_text(self.maps, self.arena, &mut scratch.text, &mut space.vmas)?;
        }
        let (pagemap, features, arena) = (self.pagemap, self.features, self.arena);
        crate::keys::unlocked(|| pages::look(pagemap, features, arena, scratch, space))?;
        resident::look(self.arena, all, scratch, space)?;
        let wanted = flags_to.map_or(0, |to| {
            space
                .vmas
                .partition_point(|vma| arena.address(vma.start) <= to)
        });
        if wanted > 0 {
            let fd = match self.smaps {
                Some(fd) => fd,
                None => {
                    let fd = open(c"/proc/self/smaps")?;
                    *self.smaps.insert(fd)
                }
            };
            flags::look(fd, arena, &mut space.vmas[..wanted], all, &mut scratch.text)?;
        }
        Ok(&self.view)
    }

    /// Adds to what was looked at last the counters of this process, PAGEMAP_SCAN's answers to other questions, and the page frames.
    /// `user` is who the actor is.
    ///
    /// # Errors
    /// As [`Eyes::look`].
    pub fn count(
        &mut self,
        control: &Control,
        locks_unknown: bool,
        user: i32,
    ) -> Result<&View, String> {
        let (status, rollup) = match self.counters {
            Some(files) => files,
            None => {
                let files = (
                    open(c"/proc/self/status")?,
                    open(c"/proc/self/smaps_rollup")?,
                );
                *self.counters.insert(files)
            }
        };
        if let View::Full(space) = &mut self.view {
            // SAFETY: the actor that looks has the turn.
            let scratch = unsafe { control.scratch() };
            let text = &mut scratch.text;
            space.counters = Some(counters::look(status, rollup, locks_unknown, text)?);
            let asked = wire::scan::QUERIES
                .iter()
                .filter(|q| self.features.pagemap_scan && q.can_be_asked(self.features.scan_guard));
            for query in asked {
                let answer = pages::ask(self.pagemap, self.arena, query, &mut scratch.regions)?;
                space.scans.push(answer);
            }
            if let Some(kpageflags) = self.features.kpageflags {
                let pagemap = match self.hides_frames {
                    true => open_as_root(c"/proc/self/pagemap", user)?,
                    false => self.pagemap,
                };
                frames::look(
                    kpageflags,
                    pagemap,
                    self.arena,
                    &space.pages,
                    &mut space.frames,
                )?;
                if self.hides_frames {
                    sys::close(pagemap);
                }
            }
        }
        Ok(&self.view)
    }
}
