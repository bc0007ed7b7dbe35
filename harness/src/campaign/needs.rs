//! Whether a kernel has what a program needs.

use crate::kernel::KernelInfo;
use oracle::profile::Profile;
use oracle::program::{Need, Program};

/// The first thing that `program` needs and the kernel lacks.
pub fn lacks(program: &Program, profile: &Profile, info: &KernelInfo) -> Option<Need> {
    program
        .needs
        .iter()
        .copied()
        .find(|need| !has(*need, profile, info))
}

fn has(need: Need, profile: &Profile, info: &KernelInfo) -> bool {
    match need {
        Need::Guards => profile.guards,
        Need::GuardsShared => profile.guards_shared,
        Need::Mseal => profile.mseal,
        Need::Secret => profile.secret_memory,
        Need::Droppable => profile.droppable,
        Need::Thp => info.thp,
        Need::Page4K => info.geometry.page_size == 4096,
        Need::MremapMany => profile.mremap_moves_many,
    }
}
