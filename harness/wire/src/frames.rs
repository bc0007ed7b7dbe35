//! Bits of /proc/kpageflags (include/uapi/linux/kernel-page-flags.h) that are told of page frames.

/// KPF_SLAB: the kernel's own objects.
pub const SLAB: u32 = 1 << 7;
/// KPF_BUDDY: free.
pub const BUDDY: u32 = 1 << 10;
/// KPF_MMAP: some page table has it.
pub const MMAP: u32 = 1 << 11;
/// KPF_ANON: no file's.
pub const ANON: u32 = 1 << 12;
/// KPF_HUGE: of hugetlb.
pub const HUGETLB: u32 = 1 << 17;
/// KPF_HWPOISON: broken memory.
pub const HWPOISON: u32 = 1 << 19;
/// KPF_NOPAGE: there is no such frame.
pub const NOPAGE: u32 = 1 << 20;
/// KPF_KSM: merged.
pub const KSM: u32 = 1 << 21;
/// KPF_THP: of a large folio that is mapped by page tables as a whole or in parts.
pub const THP: u32 = 1 << 22;
/// KPF_OFFLINE: taken out.
pub const OFFLINE: u32 = 1 << 23;
/// KPF_ZERO_PAGE: the zero page, or of the huge one.
pub const ZERO_PAGE: u32 = 1 << 24;
/// KPF_PGTABLE: a page table.
pub const PGTABLE: u32 = 1 << 26;

/// A frame with one of these belongs in no page table of a process.
pub const NEVER: u32 = SLAB | BUDDY | HWPOISON | NOPAGE | OFFLINE | PGTABLE;

/// What is told. The others change with the kernel's lists and locks.
pub const TOLD: u32 = NEVER | MMAP | ANON | HUGETLB | KSM | THP | ZERO_PAGE;
