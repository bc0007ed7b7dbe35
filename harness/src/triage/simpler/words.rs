//! Everything that is a word: knobs, needs, comments, expectations; protections, flags, tags.

use super::{with, Offer, Scene};
use oracle::program::{
    Backing, File, FileMap, HugeSwitch, Knobs, LockCall, Op, Place, Program, Prot, Remap, UffdCall,
    Vectors,
};

/// Comments, needs, expectations and allocations that fail left out, knobs at their default: all at once, then one by one. Needs stay where the
/// expectations are what the program is about: those hold only where the needs are met.
pub fn header(program: &Program, scene: &Scene) -> Vec<Offer> {
    let bare = with(program, |p| {
        p.about.clear();
        p.trailer.clear();
        p.steps.iter_mut().for_each(|s| s.comments.clear());
        if !scene.expectation {
            p.needs.clear();
        }
    });
    let no_expectations = |p: &mut Program| *p = p.without_expectations();
    let mut all = bare.clone();
    all.knobs = Knobs::default();
    let mut offers = vec![
        with(&all, no_expectations),
        with(&bare, no_expectations),
        all,
        bare,
    ];
    let plain = Knobs::default();
    let resets: [fn(&mut Knobs, &Knobs); 7] = [
        |k, plain| k.thp = plain.thp,
        |k, plain| k.shmem_thp = plain.shmem_thp,
        |k, plain| k.khugepaged = plain.khugepaged,
        |k, plain| k.ksm = plain.ksm,
        |k, plain| k.swap = plain.swap,
        |k, plain| k.root = plain.root,
        |k, plain| k.uffd_events = plain.uffd_events,
    ];
    for reset in resets {
        offers.push(with(program, |p| reset(&mut p.knobs, &plain)));
    }
    for (index, step) in program.steps.iter().enumerate() {
        if step.fail.is_some() {
            offers.push(with(program, |p| p.steps[index].fail = None));
        }
        for gone in 0..step.expect.len() {
            offers.push(with(program, |p| {
                p.steps[index].expect.remove(gone);
            }));
        }
    }
    offers.into_iter().map(Offer::from).collect()
}

/// Every op the plainest of its kind: private memory, the first file from its start, fixed places, reads in place of writes; all, then one by one.
pub fn kinds(program: &Program, _: &Scene) -> Vec<Offer> {
    let changes: [fn(&mut Op); 28] = [
        |op| {
            if let Op::Truncate { file, .. } | Op::PunchHole { file, .. } | Op::Seal { file, .. } =
                op
            {
                *file = File::Memfd0;
            }
        },
        |op| {
            if let Op::Mremap { how, .. } = op {
                *how = Remap::Fixed;
            }
        },
        |op| {
            if let Op::Mmap { backing, .. } = op {
                *backing = Backing::PrivateAnon;
            }
        },
        |op| {
            if let Op::Mmap { backing, .. } = op {
                if backing.is_shared() {
                    *backing = Backing::SharedAnon;
                }
            }
        },
        |op| {
            if let Op::Mmap {
                backing: Backing::Hugetlb { shared },
                ..
            } = op
            {
                *shared = false;
            }
        },
        |op| set_map(op, |map| map.file = File::Memfd0),
        |op| set_map(op, |map| map.page = 0),
        |op| set_map(op, |map| map.shared = false),
        |op| set_map(op, |map| map.readonly = false),
        |op| {
            if let Op::Mmap { place, .. } = op {
                *place = Place::Fixed;
            }
        },
        |op| {
            if let Op::Mmap { flags, .. } = op {
                flags.populate = false;
            }
        },
        |op| {
            if let Op::Mmap { flags, .. } = op {
                flags.noreserve = false;
            }
        },
        |op| {
            if let Op::Mmap { flags, .. } = op {
                flags.stack = false;
            }
        },
        |op| {
            if let Op::Mmap { flags, .. } = op {
                flags.locked = false;
            }
        },
        |op| {
            if let Op::PkeyMprotect { range, prot, .. } = *op {
                *op = Op::Mprotect { range, prot };
            }
        },
        |op| {
            if let Op::Mlock { call, .. } = op {
                *call = LockCall::Lock;
            }
        },
        |op| {
            if let Op::Mseal { unknown_flag, .. } = op {
                *unknown_flag = false;
            }
        },
        |op| {
            if let Op::SwitchHuge(how) = op {
                *how = HugeSwitch::Off;
            }
        },
        |op| {
            if let Op::Mlockall { flags } = op {
                flags.on_fault = false;
            }
        },
        |op| {
            if let Op::Mlockall { flags } = op {
                flags.current = false;
            }
        },
        |op| {
            if let Op::Mlockall { flags } = op {
                flags.future = false;
            }
        },
        |op| {
            if let Op::Transfer { vectors, .. } | Op::ProcessMadvise { vectors, .. } = op {
                *vectors = vectors.first.into();
            }
        },
        |op| {
            if let Op::Transfer { vectors, .. } | Op::ProcessMadvise { vectors, .. } = op {
                let fewer: Vec<_> = vectors.iter().take(vectors.iter().count() - 1).collect();
                *vectors = Vectors::new(&fewer).unwrap_or(*vectors);
            }
        },
        |op| {
            if let Op::Transfer { whose, .. } | Op::ProcessMadvise { whose, .. } = op {
                *whose = None;
            }
        },
        |op| {
            if let Op::Transfer {
                way, vectors, tag, ..
            } = *op
            {
                let range = vectors.first;
                *op = match way.stores() {
                    true => Op::Write { range, tag },
                    false => Op::Read { range },
                };
            }
        },
        |op| {
            if let Op::ProcessMadvise { unknown_flag, .. } = op {
                *unknown_flag = false;
            }
        },
        |op| {
            if let Op::ProcessMadvise {
                advice, vectors, ..
            } = *op
            {
                let range = vectors.first;
                *op = Op::Madvise { range, advice };
            }
        },
        |op| {
            if let Op::Write { range, .. } = *op {
                *op = Op::Read { range };
            }
        },
    ];
    let mut offers = Vec::new();
    for change in changes {
        offers.extend(all_and_each(program, change));
    }
    offers
}

fn set_map(op: &mut Op, change: fn(&mut FileMap)) {
    if let Op::Mmap {
        backing: Backing::File(map),
        ..
    } = op
    {
        change(map);
    }
}

/// Fewer permissions: none, then one less.
pub fn prots(program: &Program, _: &Scene) -> Vec<Offer> {
    let changes: [fn(&mut Op); 6] = [
        |op| set_prot(op, |_| Prot::NONE),
        |op| set_prot(op, |_| Prot::R),
        |op| set_prot(op, |_| Prot::RW),
        |op| {
            set_prot(op, |prot| Prot {
                exec: false,
                ..prot
            })
        },
        |op| {
            set_prot(op, |prot| Prot {
                write: false,
                ..prot
            })
        },
        |op| {
            set_prot(op, |prot| Prot {
                read: false,
                ..prot
            })
        },
    ];
    let mut offers = Vec::new();
    for change in changes {
        offers.extend(all_and_each(program, change));
    }
    offers
}

fn set_prot(op: &mut Op, change: fn(Prot) -> Prot) {
    if let Op::Mmap { prot, .. } | Op::Mprotect { prot, .. } = op {
        *prot = change(*prot);
    }
}

/// Tags 1, 2, 3, ... in the order of the writes; all 1; each 1. The first allocation that fails in place of a later one.
pub fn tags(program: &Program, _: &Scene) -> Vec<Offer> {
    let counted = with(program, |p| {
        let mut next = 1;
        for step in &mut p.steps {
            match &mut step.op {
                Op::Write { tag, .. } => *tag = next,
                Op::Transfer { way, tag, .. } if way.stores() => *tag = next,
                Op::Uffd {
                    call: UffdCall::Copy { tag, .. },
                    ..
                } => *tag = next,
                _ => continue,
            }
            next += 1;
        }
    });
    let one = |op: &mut Op| match op {
        Op::Write { tag, .. } => *tag = 1,
        Op::Transfer { way, tag, .. } if way.stores() => *tag = 1,
        Op::Uffd {
            call: UffdCall::Copy { tag, .. },
            ..
        } => *tag = 1,
        _ => {}
    };
    let mut offers = vec![counted.into()];
    offers.extend(all_and_each(program, one));
    let fails = program.steps.iter().enumerate();
    let fails = fails.filter(|(_, step)| step.fail.is_some_and(|nth| nth > 1));
    offers.extend(fails.map(|(index, _)| with(program, |p| p.steps[index].fail = Some(1)).into()));
    offers
}

/// A change made to all ops, and to each.
fn all_and_each(program: &Program, change: fn(&mut Op)) -> Vec<Offer> {
    let all = with(program, |p| {
        p.steps.iter_mut().for_each(|s| change(&mut s.op));
    });
    let each = (0..program.steps.len())
        .map(|index| with(program, |p| change(&mut p.steps[index].op)).into());
    std::iter::once(all.into()).chain(each).collect()
}
