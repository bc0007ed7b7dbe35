//! Same cause, one bucket: what programs of several seeds and on two architectures make of one fault.

use crate::campaign::{judge, Bucket, ProgramVerdict};
use crate::kernel::simulated::{SimFault, Simulated, FAULTS};
use crate::kernel::{KernelSource, Prepared, Smaps};
use oracle::geometry::Geometry;
use oracle::profile::{Arch, Profile, Release};
use oracle::program::generate::generate;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Programs that show a fault, for each architecture, and how many are tried for them.
const SHOWN: usize = 8;
const TRIED: u64 = 1500;

/// Most buckets that so many programs of one fault may have: of nine faults in ten, and of half of them.
const FACES: usize = 6;
const USUAL_FACES: usize = 3;

/// The buckets of the first programs that show a fault, with the number of programs.
fn buckets(fault: &'static SimFault, arch: Arch, geometry: Geometry) -> BTreeMap<Bucket, usize> {
    let profile = Profile::at_release(Release::NEWEST, arch);
    let source = Simulated {
        fault: Some(fault),
        geometry,
        profile: profile.clone(),
        // On both architectures it chooses alike.
        steady: true,
        ..Simulated::default()
    };
    let mut kernel = source.boot("causes").expect("a simulated kernel boots");
    let mut found: BTreeMap<Bucket, usize> = BTreeMap::new();
    for seed in 0..TRIED {
        let program = Arc::new(generate(seed));
        let prepared = Prepared {
            id: seed,
            program: program.clone(),
            smaps: Smaps::Every,
            fault: None,
        };
        let executions = kernel.run(&[prepared]).expect("a simulated kernel lives");
        let judged = judge(&program, &executions[0], &profile, geometry);
        if let ProgramVerdict::Suspect(story) = judged.verdict {
            *found.entry(story.bucket).or_default() += 1;
            if found.values().sum::<usize>() == SHOWN {
                break;
            }
        }
    }
    found
}

/// Faults that the other architecture cannot have: arm64 has no soft-dirty bits, and the processors that QEMU knows no keys.
const OF_X86: [&str; 2] = ["soft-dirty/", "pkey/"];

/// A fault has as many buckets as it has faces: what an op left out is seen as the page that is there instead, anonymous, of a file or
/// none, and several ops may show it. More than a few would be one cause that looks like many.
#[test]
fn a_cause_has_few_buckets_and_the_same_on_both_architectures() {
    let (mut counts, mut unlike) = (Vec::new(), Vec::new());
    for fault in FAULTS {
        let name = fault.full_name();
        let x86 = buckets(fault, Arch::X86_64, Geometry::K4);
        if !OF_X86.iter().any(|family| name.starts_with(family)) {
            let arm = buckets(fault, Arch::Aarch64, Geometry::K16);
            let shared = x86.keys().any(|bucket| arm.contains_key(bucket));
            assert!(shared || x86.is_empty(), "{name}: {x86:#?} {arm:#?}");
            if x86.keys().ne(arm.keys()) {
                unlike.push(name.clone());
            }
        }
        let shown: usize = x86.values().sum();
        if shown < SHOWN {
            continue;
        }
        counts.push((x86.len(), name));
    }
    // Pages of another size: some programs show a fault on one of them only, and the next one has another face.
    assert!(unlike.len() <= FAULTS.len() / 10, "{unlike:?}");
    counts.sort_unstable();
    assert!(counts.len() > FAULTS.len() / 2, "{counts:?}");
    let at = |share: f64| counts[(counts.len() as f64 * share) as usize].0;
    assert!(at(0.5) <= USUAL_FACES, "{counts:?}");
    assert!(at(0.9) <= FACES, "{counts:?}");
}
