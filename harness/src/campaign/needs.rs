//! Whether a kernel has what a program needs, and what runs on one that has not.

use crate::kernel::KernelInfo;
use oracle::profile::Profile;
use oracle::program::{Need, Program};
use std::sync::Arc;

/// The first thing that `program` needs and the kernel lacks.
pub fn lacks(program: &Program, profile: &Profile, info: &KernelInfo) -> Option<Need> {
    program
        .needs
        .iter()
        .copied()
        .find(|need| !has(*need, profile, info))
}

/// What of `program` can be run on the kernel: all of it, or, where the kernel lacks something, the ops without what the author
/// expects of them, and what is lacking. The oracle knows what such a kernel does instead.
pub fn suited(
    program: &Arc<Program>,
    profile: &Profile,
    info: &KernelInfo,
) -> (Arc<Program>, Option<Need>) {
    match lacks(program, profile, info) {
        None => (program.clone(), None),
        Some(need) => (Arc::new(program.without_expectations()), Some(need)),
    }
}

fn has(need: Need, profile: &Profile, info: &KernelInfo) -> bool {
    match need {
        Need::Guards => profile.guards,
        Need::GuardsShared => profile.guards_shared,
        Need::Mseal => profile.mseal,
        Need::Secret => profile.secret_memory,
        Need::Droppable => profile.droppable,
        Need::Hugetlb => profile.hugetlb,
        Need::Pkeys => profile.pkeys,
        Need::GuardFlag => profile.maybe_guard,
        Need::SoftDirty => profile.soft_dirty,
        Need::Uffd => profile.userfaultfd,
        Need::UffdWp => profile.uffd_wp,
        Need::UffdMove => profile.uffd_move,
        Need::Swap => profile.swap_device,
        Need::Thp => info.thp,
        Need::FailNth => info.fail_nth,
        Need::Page4K => info.geometry.page_size == 4096,
        Need::MremapMany => profile.mremap_moves_many,
    }
}
