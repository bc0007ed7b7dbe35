//! Where memory is registered no more: in a child, and at the place that mremap moves it to. With events it stays so.

use crate::judge::Class;
use crate::rules::registry::Rule;
use crate::rules::{hit, Ctx};
use crate::space::Uffd;

pub const FORK: Rule = Rule {
    name: "uffd/fork",
    text: "A child's memory is not registered (without UFFD_FEATURE_EVENT_FORK).",
    source: "dup_userfaultfd",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::Signal],
};

pub const MOVED: Rule = Rule {
    name: "uffd/mremap",
    text: "What mremap moves is not registered at its new place (without UFFD_FEATURE_EVENT_REMAP), and its page tables move slot by \
           slot; what MREMAP_DONTUNMAP leaves stays registered, and what is added in place is.",
    source: "mremap_userfaultfd_prep, mm/mremap.c uffd_supports_page_table_move",
    since: "all",
    about: &[Class::VmFlags, Class::Vma, Class::PageState],
};

pub const FORK_KEPT: Rule = Rule {
    name: "uffd/fork/stays",
    text: "With UFFD_FEATURE_EVENT_FORK a child's memory is registered for what its parent's is, with the userfaultfd that the event \
           brings, memory that fork wipes included.",
    source: "dup_userfaultfd; ioctl_userfaultfd(2), UFFD_FEATURE_EVENT_FORK",
    since: "4.11",
    about: &[Class::VmFlags, Class::Vma, Class::Signal],
};

pub const FORK_TABLES: Rule = Rule {
    name: "uffd/fork/copies-tables",
    text: "A VMA that is registered for write protection in the child too is copied slot by slot, shared memory and files as well: a fault \
           could not find the protection again.",
    source: "mm/memory.c vma_needs_copy",
    since: "5.19",
    about: &[Class::PageState],
};

pub const MOVED_ALONG: Rule = Rule {
    name: "uffd/mremap/stays",
    text: "With UFFD_FEATURE_EVENT_REMAP memory that mremap moves is registered as before, merges with what is registered alike at its new \
           place, and its page tables move as those of other memory do.",
    source: "mremap_userfaultfd_prep; mm/mremap.c uffd_supports_page_table_move; mm/vma.c vma_merge_copied_range",
    since: "4.11",
    about: &[Class::VmFlags, Class::Vma, Class::PageState],
};

pub const MOVED_APART: Rule = Rule {
    name: "uffd/mremap/stays-apart",
    text: "It merges with nothing at its new place. Before, it merges with what is registered, and all of that is registered no \
           more.",
    source: "mm/vma.c vma_merge_copied_range of 7.3",
    since: "7.3",
    about: &[Class::VmFlags, Class::Vma],
};

pub const MOVED_ALONE: Rule = Rule {
    name: "uffd/mremap/alone",
    text: "Where mremap moves several VMAs, a registered one moves alone only: EFAULT as for files whose file system looks for \
           addresses itself.",
    source: "mm/mremap.c vma_multi_allowed",
    since: "6.17",
    about: &[Class::Errno, Class::Vma, Class::PageState],
};

/// mremap has moved memory to a place that `page` is of: it is not registered there, but with events.
pub(crate) fn moved(ctx: &mut Ctx, page: u32) {
    let Some(i) = ctx.mm.vma_index(page) else {
        return;
    };
    if ctx.mm.vmas[i].uffd == Uffd::default() {
        return;
    }
    if ctx.world.knobs.uffd_events {
        hit!(ctx, MOVED_ALONG);
    } else {
        hit!(ctx, MOVED);
        ctx.mm.vmas[i].uffd = Uffd::default();
    }
}
