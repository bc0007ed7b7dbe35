//! One bucket's folder: the report, the program, the same in C.

use anyhow::Result;
use harness::kernel::{JudgeBy, KernelSource};
use harness::report::{BucketReport, KernelPart, RacePart};
use harness::reproducer::{pinned, reproducer, INIT, SCRIPT};
use harness::triage::{Answer, Ended, Minimized, Reference, Standing, Told};
use oracle::program::Program;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A program of a bucket, cut down.
pub struct Cut {
    /// Ops before anything was left out.
    ops: usize,
    pub minimized: Minimized,
    pub program: Arc<Program>,
}

impl Cut {
    pub fn new(ops: usize, minimized: Minimized) -> Cut {
        let mut program = minimized.program.clone();
        program.about = vec![minimized.story.bucket.to_string()];
        Cut {
            ops,
            program: Arc::new(program),
            minimized,
        }
    }
}

/// Of a kernel by its label and architecture.
pub type Count<'a> = dyn Fn(&str, &str) -> Option<(u64, u64)> + 'a;

/// Where a report goes, and what is known besides.
pub struct Site<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// Programs of the run that ended in the bucket on a kernel, and all that it ran there.
    pub campaign: &'a Count<'a>,
    /// Label and architecture to where an image is from.
    pub images: &'a BTreeMap<String, String>,
    /// Where threads run at once.
    pub race: Option<RacePart>,
}

/// What was written.
pub struct Written {
    /// For people.
    pub line: String,
}

/// Puts a bucket's report and what belongs to it into `buckets/ID/` of the run's folder.
///
/// # Errors
/// It cannot be written.
pub fn write(
    site: &Site<'_>,
    cut: &Cut,
    told: &[(&dyn KernelSource, &Told)],
    by: &JudgeBy,
) -> Result<Written> {
    let minimized = &cut.minimized;
    let bucket = &minimized.story.bucket;
    let (id, info) = (bucket.id(), &minimized.kernel);
    let here = told
        .iter()
        .find(|(source, _)| source.label() == info.label && source.arch() == info.arch);
    let source = here.map(|(source, _)| *source);
    // The story of the runs that are compared, where they show it: a rare one may have hidden.
    let same = here.filter(|(_, told)| matches!(told.answer, Answer::Diverges { .. }));
    let (story, execution) = match same.map(|(_, told)| (&told.answer, &told.execution)) {
        Some((Answer::Diverges { story, .. }, execution)) => (story.as_ref(), execution.as_ref()),
        _ => (&minimized.story, None),
    };
    let reference = Reference {
        program: &cut.program,
        story,
        execution,
        geometry: info.geometry,
    };
    let kernels: Vec<KernelPart> = told
        .iter()
        .map(|(source, told)| {
            let campaign = (site.campaign)(source.label(), source.arch());
            let met = campaign.map_or(0, |(programs, _)| programs);
            KernelPart {
                label: source.label().into(),
                arch: source.arch().into(),
                info: told.kernel.as_ref().map(|(info, _)| info.clone()),
                standing: Standing::of(told, &reference).though_met(met),
                campaign,
                execution: told.execution.clone(),
            }
        })
        .collect();
    let folder = site.folder.join("buckets").join(&id);
    std::fs::create_dir_all(&folder).map_err(|e| anyhow::anyhow!("{}: {e}", folder.display()))?;
    let c_file = in_c(&folder, &id, cut, story)?;
    let prog_file = format!("{id}.prog");
    put(&folder, &prog_file, &cut.program.to_string())?;
    let report = BucketReport {
        id: id.clone(),
        minimized: how(cut),
        program: &cut.program,
        story,
        shown_on: info,
        image: site
            .images
            .get(&format!("{} {}", info.label, info.arch))
            .cloned(),
        command_line: source.and_then(KernelSource::command_line),
        build_config: source.and_then(KernelSource::build_config),
        on: source.map_or_else(
            || {
                ["--kernels", &info.label, "--arch", &info.arch]
                    .map(String::from)
                    .to_vec()
            },
            KernelSource::options,
        ),
        kernels,
        options: by.options(),
        prog_file,
        c_file,
        race: site.race.clone(),
    };
    put(&folder, "report.txt", &report.text())?;
    let count = |is: fn(&Standing) -> bool| {
        let parts = report.kernels.iter();
        parts.filter(|part| is(&part.standing)).count()
    };
    Ok(Written {
        line: format!(
            "{id}: {bucket}\n    {} kernels affected, {} not affected, {} not told\n    {}\n",
            count(|s| matches!(s, Standing::Affected(_))),
            count(|s| matches!(s, Standing::NotAffected(_))),
            count(|s| matches!(s, Standing::NotTold(_))),
            folder.join("report.txt").display()
        ),
    })
}

/// How the program came about.
fn how(cut: &Cut) -> String {
    let (ops, left) = (cut.ops, cut.program.steps.len());
    match &cut.minimized.ended {
        Ended::Minimal => format!("{left} ops of {ops}; nothing more can be left out"),
        ended => format!("{left} ops of {ops}; not minimal: {ended}"),
    }
}

/// Writes the C programs; their name, or why there is none.
fn in_c(
    folder: &Path,
    id: &str,
    cut: &Cut,
    story: &harness::campaign::Story,
) -> Result<Result<String, String>> {
    if cut.program.is_concurrent() {
        return Ok(Err(
            "there is no C program for threads that run at once".into()
        ));
    }
    let info = &cut.minimized.kernel;
    let said = pinned(&cut.program, story, info.geometry)
        .map_err(|e| e.to_string())
        .and_then(|mut program| {
            program.about = vec![
                format!(" {}", story.bucket),
                format!(" Seen on {} {}.", info.release, info.arch),
            ];
            reproducer(&id.replace('-', "_"), &program).map_err(|e| e.to_string())
        });
    let texts = match said {
        Ok(texts) => texts,
        Err(why) => return Ok(Err(why)),
    };
    put(folder, &format!("{id}.c"), &texts.c)?;
    put(folder, &format!("{id}-kselftest.c"), &texts.kselftest)?;
    put(folder, "init.c", INIT)?;
    put(folder, "reproduce.sh", SCRIPT)?;
    let script = folder.join("reproduce.sh");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, everybody)
        .map_err(|e| anyhow::anyhow!("{}: {e}", script.display()))?;
    Ok(Ok(format!("{id}.c")))
}

fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    vm_images::files::write_atomically(&folder.join(name), text.as_bytes())?;
    Ok(())
}
