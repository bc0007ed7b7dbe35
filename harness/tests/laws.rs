//! Laws about pairs of programs: the simulated kernel keeps them, and breaks them when it has a fault.

use harness::kernel::simulated::{Simulated, FAULTS};
use harness::kernel::KernelSource;
use harness::laws::{ask, ask_scaling, scaling_program, LawResult};
use oracle::geometry::Geometry;
use oracle::laws::PairLaw;
use oracle::profile::{Arch, Profile, Release};

fn asked(source: &Simulated, law: PairLaw, pairs: u64) -> LawResult {
    let mut kernel = source.boot("laws").unwrap();
    ask(kernel.as_mut(), &source.profile, law, 1, pairs, &|| false).unwrap()
}

#[test]
fn a_faultless_kernel_keeps_every_law() {
    let old = Profile::at_release(Release(6, 12, 0), Arch::X86_64);
    for (profile, geometry) in [
        (Profile::newest(), Geometry::K4),
        (Profile::newest(), Geometry::K16),
        (old, Geometry::K4),
    ] {
        let source = Simulated {
            profile,
            geometry,
            ..Simulated::default()
        };
        for law in PairLaw::ALL {
            let result = asked(&source, law, 200);
            let first = result.broken.first();
            assert!(
                first.is_none(),
                "{}: {first:?}\n{}",
                law.name(),
                first.map_or(String::new(), |b| format!("{}---\n{}", b.left, b.right))
            );
            assert_eq!(result.pairs + result.skipped, 200);
        }
    }
}

/// Each law is broken by a fault that it is about.
#[test]
fn faults_break_laws() {
    for (law, fault) in [
        (PairLaw::Halves, "short"),
        (PairLaw::RemoveNothing, "remove-discards"),
        (PairLaw::InstallRemove, "remove-skipped"),
        (PairLaw::OtherSide, "cow-broken"),
    ] {
        let fault = FAULTS.iter().find(|f| f.name == fault).unwrap();
        let source = Simulated {
            fault: Some(fault),
            ..Simulated::default()
        };
        let result = asked(&source, law, 400);
        assert!(
            !result.broken.is_empty(),
            "{} with {}",
            law.name(),
            fault.name
        );
    }
}

#[test]
fn page_size_does_not_matter_to_private_memory() {
    let source = |geometry| Simulated {
        geometry,
        ..Simulated::default()
    };
    let sources = [source(Geometry::K4), source(Geometry::K16)];
    let newest = Profile::newest();
    let mut kernels = sources.map(|s| s.boot("laws").unwrap());
    let [left, right] = &mut kernels;
    let result = ask_scaling(
        [left.as_mut(), right.as_mut()],
        [&newest, &newest],
        1,
        200,
        &|| false,
    )
    .unwrap();
    let first = result.broken.first();
    assert!(
        first.is_none(),
        "{first:?}\n{}",
        first.map_or(String::new(), |b| b.left.to_string())
    );
    assert_eq!(result.pairs, 200);
    assert!(
        (0..50).any(|seed| scaling_program(seed).is_none()),
        "files are left out"
    );

    // One of the two forgets guards when it forks.
    let fault = FAULTS.iter().find(|f| f.name == "loses-guards").unwrap();
    let faulty = Simulated {
        fault: Some(fault),
        geometry: Geometry::K16,
        ..Simulated::default()
    };
    let mut faulty = faulty.boot("laws").unwrap();
    let result = ask_scaling(
        [left.as_mut(), faulty.as_mut()],
        [&newest, &newest],
        1,
        200,
        &|| false,
    )
    .unwrap();
    assert!(!result.broken.is_empty());
}
