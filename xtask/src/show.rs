//! `cargo xtask show`: what the oracle says about a program, without a kernel.

use crate::exit::{say, Exit, UsageError};
use crate::show_race;
use anyhow::Result;
use clap::Args;
use harness::campaign::load_concurrent_program;
use harness::report::{result_words, wrap};
use oracle::geometry::Geometry;
use oracle::judge::strip::{contents, render, windows};
use oracle::judge::{Observation, Oracle, SpaceSeen};
use oracle::profile::{Arch, Named, Profile};
use oracle::program::Program;
use std::path::PathBuf;

/// Prints what the oracle expects of a program, step by step, without a kernel.
///
/// After every op: what it returns, the page strips of every process, and the rules that say so. Where several
/// outcomes are permitted, the most usual is followed and the number of others is given.
///
/// Where threads run at once: every way the section may end, what each thread's ops return then, and a shortest order
/// of the kernel's steps that leads there.
///
/// Examples:
///   cargo xtask show corpus/races/01-pmd-border.prog
///   cargo xtask show corpus/guard/install.prog
///   cargo xtask show --profile 6.12 --page-size 16384 --arch aarch64 my.prog
///   cargo xtask show --profile 6.18.5 --against 7.3 corpus/vma/12-growing-a-guarded-mapping.prog
///   cargo xtask show --profile rfc-2024 --against 6.13 corpus/seed-thread/09-remove-leaves-huge-pages.prog
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub struct ShowArgs {
    /// The program's file.
    program: PathBuf,
    /// As a kernel of this release would have it, or, with rfc-2024, as the first patch of guard regions had it. Default: the
    /// newest release that the rules know.
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Print only where this profile and the other one part.
    #[arg(long, value_name = "PROFILE")]
    against: Option<String>,
    /// Architecture of the kernel.
    #[arg(long, value_name = "ARCH", default_value = "x86_64")]
    arch: vm_images::Arch,
    /// Bytes per page: 4096, 16384 or 65536.
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    page_size: u32,
    /// Name the rules that each step exercises.
    #[arg(long)]
    rules: bool,
}

/// The oracle's word for an architecture.
pub fn oracle_arch(arch: vm_images::Arch) -> Arch {
    match arch {
        vm_images::Arch::X86_64 => Arch::X86_64,
        vm_images::Arch::Aarch64 => Arch::Aarch64,
    }
}

/// Reads a profile given on the command line.
pub fn named(text: &str) -> Result<Named> {
    Named::parse(text).ok_or_else(|| {
        UsageError(format!(
            "`{text}` is no kernel release, such as 7.3 or 6.18.5, and not {}",
            Named::OTHERS.join(", ")
        ))
        .into()
    })
}

/// Carries out `show`.
pub fn run(args: &ShowArgs) -> Result<Exit> {
    let entry = load_concurrent_program(&args.program)?;
    let geometry = match args.page_size {
        4096 | 16384 | 65536 => Geometry {
            page_size: args.page_size,
            pages_per_pmd: args.page_size / 8,
        },
        other => {
            let what = format!("there are no pages of {other} bytes: 4096, 16384 or 65536");
            return Err(UsageError(what).into());
        }
    };
    let at = match &args.profile {
        Some(text) => named(text)?,
        None => Named::NEWEST,
    };
    let profile = at.profile(oracle_arch(args.arch));
    let program = &entry.program;
    if let (Some(_), true) = (&args.against, program.is_concurrent()) {
        let what = "--against is for programs in which no threads run at once";
        return Err(UsageError(what.into()).into());
    }
    if let Some(text) = &args.against {
        let against = named(text)?;
        let other = against.profile(oracle_arch(args.arch));
        let names = [at, against].map(|named| named.to_string());
        say!("{}", parting(program, [&profile, &other], &names, geometry));
        return Ok(Exit::Fine);
    }
    say!("{} as {at} on {} has it\n", entry.name, args.arch);
    let mut oracle = Oracle::new(&profile, geometry, program.knobs);
    if program.is_concurrent() {
        return show_race::run(program, &profile, geometry, args.rules);
    }
    for (index, step) in program.steps.iter().enumerate() {
        say!("\n{index:>3}  {step}\n");
        oracle.step(step);
        let allowed = oracle.expected();
        let Some(usual) = allowed.first() else {
            say!("     the rules permit nothing\n");
            return Ok(Exit::Found);
        };
        let others = match allowed.len() - 1 {
            0 => String::new(),
            n => format!("   ({n} other outcomes are permitted)"),
        };
        let usual_seen = Observation {
            outcome: usual.outcome.clone(),
            spaces: usual.world.shown(),
            events: usual.world.events().to_vec(),
            failing: None,
        };
        say!("     => {}{others}\n", result_words(&usual_seen, geometry));
        for (actor, space) in &usual_seen.spaces {
            say!("{}", strips(*actor, space, geometry));
        }
        if args.rules {
            let names: Vec<String> = usual.rules.iter().map(|r| r.to_string()).collect();
            say!("{}", wrap(&format!("     rules: {}", names.join(" "))));
        }
        oracle.observe(&usual_seen);
    }
    Ok(Exit::Fine)
}

/// The first step after which two kernels differ, each taking its most usual way.
fn parting(program: &Program, profiles: [&Profile; 2], names: &[String; 2], g: Geometry) -> String {
    let mut oracles = profiles.map(|profile| Oracle::new(profile, g, program.knobs));
    for (index, step) in program.steps.iter().enumerate() {
        let mut seen: Vec<(Observation, String)> = Vec::new();
        for oracle in &mut oracles {
            oracle.step(step);
            let Some(usual) = oracle.expected().first() else {
                return format!("{index:>3}  {step}\nthe rules permit nothing\n");
            };
            let rules: Vec<String> = usual.rules.iter().map(|r| r.to_string()).collect();
            let observation = Observation {
                outcome: usual.outcome.clone(),
                spaces: usual.world.shown(),
                events: usual.world.events().to_vec(),
                failing: None,
            };
            oracle.observe(&observation);
            seen.push((observation, rules.join(" ")));
        }
        if seen[0].0 == seen[1].0 {
            continue;
        }
        let mut text = format!("they part at op {index}: {step}\n");
        for ((observation, rules), name) in seen.iter().zip(names) {
            text += &format!("\n{name} => {}\n", result_words(observation, g));
            for (actor, space) in &observation.spaces {
                text += &strips(*actor, space, g);
                text += &vm_flags(*actor, space, g);
            }
            text += &wrap(&format!("     rules: {rules}"));
        }
        return text;
    }
    format!("{} and {} agree on this program\n", names[0], names[1])
}

/// A page as programs write it.
fn place(page: u32, g: Geometry) -> String {
    oracle::geometry::Pos::from_page_index(i64::from(page), g)
        .map_or_else(|| format!("page {page}"), |pos| pos.to_string())
}

/// The VmFlags of one actor's VMAs, a line each.
fn vm_flags(actor: u8, space: &SpaceSeen, g: Geometry) -> String {
    let mut text = String::new();
    for vma in &space.vmas {
        let flags = vma.flags.iter().flatten();
        let names: Vec<String> = flags
            .map(|flag| String::from_utf8_lossy(&flag.0).into_owned())
            .collect();
        text += &format!(
            "     {actor}: {}..{} VmFlags {}\n",
            place(vma.start, g),
            place(vma.end, g),
            names.join(" ")
        );
    }
    text
}

/// One actor's strips, a line for each window in which there is something.
pub fn strips(actor: u8, space: &SpaceSeen, g: Geometry) -> String {
    let mut text = String::new();
    for (from, to) in windows(&[space], g) {
        let place = place(from, g);
        text += &format!("     {actor}: {place:>6} {}\n", render(space, g, from, to));
    }
    if text.is_empty() {
        text = format!("     {actor}: nothing is mapped\n");
    }
    let holds = contents(space, g);
    if !holds.is_empty() {
        text += &format!("     {actor}: holds {holds}\n");
    }
    wrap(&text)
}
