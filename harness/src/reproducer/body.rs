//! The steps of a program in C: one call a line, with the checks that the program's expectations ask for.

use super::words::{self, address, distance, fold, length, pages};
use super::Unsayable;
use oracle::geometry::Pos;
use oracle::program::{
    ActorId, Backing, Expect, File, HugeSwitch, LockCall, Op, Program, Remap, Seals, Step,
    UffdCall, Vectors,
};
use std::collections::BTreeMap;

/// What a body needs around it.
#[derive(Debug, Default)]
pub struct Body {
    /// Lines of C, indented by a tab.
    pub text: String,
    /// Strips are looked at; some of them with huge pages.
    pub strips: bool,
    pub huge: bool,
    pub flags: bool,
    pub accesses: bool,
    /// Several processes take turns.
    pub turns: bool,
    /// A local `char *where` is used.
    pub moves: bool,
}

/// Writes all steps.
pub fn body(program: &Program) -> Result<Body, Unsayable> {
    let knobs = program.knobs;
    for (on, what) in [(knobs.khugepaged, "khugepaged"), (knobs.ksm, "ksm")] {
        if on {
            return Err(Unsayable(format!("it waits for {what}")));
        }
    }
    if knobs.uffd_events {
        return Err(Unsayable("it reads the events of userfaultfds".into()));
    }
    let turns = program
        .steps
        .iter()
        .any(|step| matches!(step.op, Op::Fork { .. }));
    let mut writer = Writer {
        body: Body {
            turns,
            ..Body::default()
        },
        root: knobs.root,
        step: 0,
        parents: BTreeMap::new(),
        gone: Vec::new(),
    };
    for step in &program.steps {
        writer.step(step)?;
    }
    if turns {
        // Whoever has nothing left to do stays until the last check: an end changes what the others share.
        writer.body.text += &format!("\tturn({}, 0);\n", writer.step);
    }
    Ok(writer.body)
}

struct Writer {
    body: Body,
    root: bool,
    /// Turns so far.
    step: u32,
    parents: BTreeMap<ActorId, ActorId>,
    /// Actors that have ended.
    gone: Vec<ActorId>,
}

impl Writer {
    fn step(&mut self, step: &Step) -> Result<(), Unsayable> {
        if step.fail.is_some() {
            return Err(Unsayable(format!(
                "an allocation is to fail in `{step}`: /proc/thread-self/fail-nth, and what may fail, are not said here"
            )));
        }
        for line in &step.comments {
            self.body.text += &format!("\n\t/*{} */", line.trim_end().replace("*/", "* /"));
        }
        if !step.comments.is_empty() {
            self.body.text.push('\n');
        }
        let mut lines = Vec::new();
        match step.op {
            Op::Fork { child } => {
                self.parents.insert(child, step.actor);
                self.turn(step.actor, &[format!("split({child});")], true);
            }
            Op::Exit => self.exit(step.actor)?,
            _ => {
                self.perform(step, &mut lines)?;
                let own = |e: &&Expect| e.view_of() == Some(step.actor);
                for expect in step.expect.iter().filter(own) {
                    lines.push(self.view(expect));
                }
                self.turn(step.actor, &lines, false);
            }
        }
        let performed = !matches!(step.op, Op::Fork { .. } | Op::Exit);
        for expect in &step.expect {
            if let Some(actor) = expect.view_of().filter(|a| *a != step.actor || !performed) {
                let line = self.view(expect);
                self.turn(actor, &[line], false);
            }
        }
        Ok(())
    }

    /// Lines for one actor; without others they simply follow each other.
    fn turn(&mut self, actor: ActorId, lines: &[String], forks: bool) {
        let tabs = if self.body.turns { 2 } else { 1 };
        let mut text: String = lines.iter().map(|line| fold(tabs, line)).collect();
        if self.body.turns {
            // The child of a fork ends the turn: it is there when the next one begins.
            let next = if forks { "" } else { "\t\tnext();\n" };
            text = format!("\tif (turn({}, {actor})) {{\n{text}{next}\t}}\n", self.step);
            self.step += 1;
        }
        self.body.text += &text;
    }

    /// The end of an actor, which its parent waits for: only then is its memory gone.
    fn exit(&mut self, actor: ActorId) -> Result<(), Unsayable> {
        let parent = self.parents.get(&actor);
        let Some(parent) = parent.filter(|parent| !self.gone.contains(parent)) else {
            return Err(Unsayable("a process ends before those that it made".into()));
        };
        self.body.text += &format!(
            "\tif (turn({}, {actor}))\n\t\t_exit(0);\n\tif (me == {parent}) {{\n\t\tCHECK(gone({actor}));\n\t\tnext();\n\t}}\n",
            self.step
        );
        self.step += 1;
        self.gone.push(actor);
        Ok(())
    }

    /// What is expected of the pages or the flags, looked at by the process itself.
    fn view(&mut self, expect: &Expect) -> String {
        match expect {
            Expect::Strip { at, strip, .. } => {
                self.body.strips = true;
                self.body.huge |= strip.chars().any(|c| "ASZFM".contains(c));
                format!("CHECK(pages_are({}, \"{strip}\"));", address(*at))
            }
            Expect::Flags { at, flags, .. } => {
                self.body.flags = true;
                let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
                format!(
                    "CHECK(vm_flags({}, \"{}\"));",
                    address(*at),
                    flags.join(" ")
                )
            }
            _ => String::new(),
        }
    }

    fn perform(&mut self, step: &Step, lines: &mut Vec<String>) -> Result<(), Unsayable> {
        let outcome = |e: &&Expect| {
            e.view_of().is_none() && !matches!(e, Expect::Values(_) | Expect::Events(_))
        };
        let expect = step.expect.iter().find(outcome);
        match step.op {
            Op::Read { range } | Op::Write { range, .. } => {
                self.body.accesses = true;
                let (at, n) = (address(range.start), pages(range));
                lines.push(match step.op {
                    Op::Write { tag, .. } => format!("DO(store({at}, {n}, {tag}));"),
                    _ => format!("DO(load({at}, {n}));"),
                });
                match expect {
                    None => {}
                    Some(Expect::Ok) => lines.push(format!("CHECK(done == {n});")),
                    Some(Expect::Signal { signo, code, at }) => {
                        let place = at.map_or("NULL".into(), address);
                        let signal = words::signal(*signo, *code);
                        lines.push(format!("CHECK(faulted({signal}, {place}));"));
                    }
                    Some(_) => return Err(unsayable(step)),
                }
                for expect in &step.expect {
                    if let Expect::Values(tags) = expect {
                        lines.push(loaded(tags));
                    }
                }
            }
            Op::Mmap { range, .. } => {
                let call = call(step, self.root)?;
                self.address_call(&call, range.start, &length(range), expect, lines);
            }
            Op::Mremap { range, to, how } => {
                let start = if how.has_target() {
                    to.start
                } else {
                    range.start
                };
                let call = call(step, self.root)?;
                self.address_call(&call, start, &length(to), expect, lines);
            }
            Op::ProcessMadvise { vectors, .. } => {
                lines.extend(vectors_of(vectors));
                lines.push(self.counting_call(step, vectors, expect)?);
            }
            Op::Transfer { vectors, .. } => {
                self.body.accesses = true;
                lines.extend(vectors_of(vectors));
                lines.push(self.counting_call(step, vectors, expect)?);
                for expect in &step.expect {
                    if let Expect::Values(tags) = expect {
                        lines.push(loaded(tags));
                    }
                }
            }
            Op::Uffd { range, call } if call.fills() => {
                lines.push(self.counting_call(step, range.into(), expect)?);
            }
            _ => {
                let call = call(step, self.root)?;
                lines.push(match expect {
                    None => format!("DO({call});"),
                    Some(Expect::Ok) => format!("CHECK({call} == 0);"),
                    Some(expect) => failed(&call, expect).ok_or_else(|| unsayable(step))?,
                });
            }
        }
        Ok(())
    }

    /// A call that returns how many bytes it did.
    fn counting_call(
        &self,
        step: &Step,
        vectors: Vectors,
        expect: Option<&Expect>,
    ) -> Result<String, Unsayable> {
        let call = call(step, self.root)?;
        let bytes = |count: String| format!("CHECK({call} == (long)({count}));");
        let all = || vectors.iter().map(length).collect::<Vec<_>>().join(" + ");
        Ok(match expect {
            None => format!("DO({call});"),
            Some(Expect::Ok) => bytes(all()),
            Some(Expect::UpTo(at)) => bytes(up_to(vectors, *at).ok_or_else(|| unsayable(step))?),
            Some(expect) => failed(&call, expect).ok_or_else(|| unsayable(step))?,
        })
    }

    /// A call that returns an address, which may be another one than was asked for: what lies there is unmapped at once.
    fn address_call(
        &mut self,
        call: &str,
        start: Pos,
        len: &str,
        expect: Option<&Expect>,
        lines: &mut Vec<String>,
    ) {
        let at = address(start);
        match expect {
            Some(Expect::Ok) => lines.push(format!("CHECK({call} == {at});")),
            Some(Expect::Elsewhere) => {
                self.body.moves = true;
                lines.push(format!("DO(where = {call});"));
                lines.push(format!("CHECK(where != MAP_FAILED && where != {at});"));
                lines.push(format!("munmap(where, {len});"));
            }
            Some(Expect::Errno(errno)) => {
                let errno = words::errno(*errno);
                lines.push(format!("CHECK({call} == MAP_FAILED && errno == {errno});"));
            }
            _ => {
                self.body.moves = true;
                lines.push(format!("DO(where = {call});"));
                lines.push(format!("if (where != MAP_FAILED && where != {at})"));
                lines.push(format!("\tmunmap(where, {len});"));
            }
        }
    }
}

fn unsayable(step: &Step) -> Unsayable {
    Unsayable(format!("`{step}` expects what C has no words for here"))
}

fn failed(call: &str, expect: &Expect) -> Option<String> {
    match expect {
        Expect::Errno(errno) => {
            let errno = words::errno(*errno);
            Some(format!("CHECK({call} == -1 && errno == {errno});"))
        }
        _ => None,
    }
}

/// `CHECK(loaded(3, (int[]){ 7, 7, 0 }));`
fn loaded(tags: &[oracle::program::ValueTags]) -> String {
    let count: u32 = tags.iter().map(|t| t.pages).sum();
    if count == 0 {
        return "CHECK(done == 0);".into();
    }
    let tags: Vec<String> = tags
        .iter()
        .flat_map(|t| std::iter::repeat_n(t.tag.to_string(), t.pages as usize))
        .collect();
    format!(
        "CHECK(loaded({count}, (const int[]){{ {} }}));",
        tags.join(", ")
    )
}

/// The vectors of a process_madvise, in a variable of their own.
fn vectors_of(vectors: Vectors) -> Vec<String> {
    let one = |(i, range): (usize, oracle::geometry::Range)| {
        format!(
            "iov[{i}] = (struct iovec){{ {}, {} }};",
            address(range.start),
            length(range)
        )
    };
    vectors.iter().enumerate().map(one).collect()
}

/// Bytes up to a place, through the ranges in their order.
fn up_to(vectors: Vectors, at: Pos) -> Option<String> {
    let mut before: Vec<String> = Vec::new();
    for range in vectors.iter() {
        if range.start <= at && at <= range.end && range.start.block == range.end.block {
            before.push(distance(range.start, at));
            return Some(before.join(" + "));
        }
        before.push(length(range));
    }
    None
}

/// The call of a step, without a semicolon.
fn call(step: &Step, root: bool) -> Result<String, Unsayable> {
    let at_len = |r: oracle::geometry::Range| format!("{}, {}", address(r.start), length(r));
    Ok(match step.op {
        Op::Mmap {
            range,
            prot,
            backing,
            place,
            flags,
        } => {
            let (fd, offset) = match backing {
                Backing::File(map) => (
                    format!("{}{}", name(map.file), if map.readonly { "_r" } else { "" }),
                    distance(Pos::new(0, 0), Pos::new(0, map.page as i16)),
                ),
                _ => ("-1".into(), "0".into()),
            };
            format!(
                "mmap({}, {}, {}, {fd}, {offset})",
                at_len(range),
                words::prot(prot),
                words::map_flags(backing, place, flags)
            )
        }
        Op::Brk { to } => format!("brk({})", address(to)),
        Op::Munmap { range } => format!("munmap({})", at_len(range)),
        Op::Mprotect { range, prot } => format!("mprotect({}, {})", at_len(range), words::prot(prot)),
        Op::PkeyMprotect { range, prot, key } => format!(
            "pkey_mprotect({}, {}, {})",
            at_len(range),
            words::prot(prot),
            words::key(key)
        ),
        Op::Madvise { range, advice } => format!("madvise({}, {})", at_len(range), words::advice(advice)),
        Op::Mlock { range, call } => match call {
            LockCall::Lock => format!("mlock({})", at_len(range)),
            LockCall::LockOnFault => format!("mlock2({}, MLOCK_ONFAULT)", at_len(range)),
            LockCall::UnknownFlag => format!("mlock2({}, 0x80)", at_len(range)),
            LockCall::Unlock => format!("munlock({})", at_len(range)),
        },
        Op::Mlockall { flags } if root || !flags.current => {
            let flags = words::all_of(
                &[
                    (flags.current, "MCL_CURRENT"),
                    (flags.future, "MCL_FUTURE"),
                    (flags.on_fault, "MCL_ONFAULT"),
                ],
                "0",
            );
            format!("mlockall({flags})")
        }
        Op::Munlockall => "munlockall()".into(),
        Op::ClearSoftDirty => "clear_soft_dirty()".into(),
        Op::Mseal { range, unknown_flag } => {
            let flags = if unknown_flag { "0x80" } else { "0" };
            format!("syscall(462 /* mseal */, {}, {flags})", at_len(range))
        }
        Op::Mremap { range, to, how } => {
            // glibc hands over the address for MREMAP_FIXED only.
            let by = match how {
                Remap::Stay | Remap::MayMove | Remap::Fixed | Remap::FixedDontUnmap => "mremap(",
                _ => "(char *)syscall(SYS_mremap, ",
            };
            let (len, flags) = (length(to), words::remap_flags(how));
            let target = match how.has_target() {
                true => format!(", {}", address(to.start)),
                false => String::new(),
            };
            format!("{by}{}, {len}, {flags}{target})", at_len(range))
        }
        Op::ProcessMadvise {
            advice,
            vectors,
            whose,
            unknown_flag,
        } => {
            format!(
                "process_madvise_of({}, {}, {}, {})",
                process(step.actor, whose),
                vectors.iter().count(),
                words::advice(advice),
                if unknown_flag { "0x80" } else { "0" }
            )
        }
        Op::Truncate { file, pages } => {
            format!("ftruncate({}, {pages} * page)", name(file))
        }
        Op::PunchHole { file, from, to } => format!(
            "fallocate({}, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, {from} * page, ({to} - {from}) * (off_t)page)",
            name(file)
        ),
        Op::Seal { file, seals } => {
            let names = Seals::EACH
                .map(|(word, _)| format!("F_SEAL_{}", word.replace('-', "_").to_uppercase()));
            let set: Vec<(bool, &str)> = Seals::EACH
                .iter()
                .zip(&names)
                .map(|((_, one), name)| (seals.has(*one), name.as_str()))
                .collect();
            let seals = words::all_of(&set, "0");
            format!("fcntl({}, F_ADD_SEALS, {seals})", name(file))
        }
        Op::Transfer {
            way,
            vectors,
            whose,
            tag,
        } => format!(
            "transfer({}, {}, {}, {tag})",
            way.name().replace('-', "_").to_uppercase(),
            process(step.actor, whose),
            vectors.iter().count()
        ),
        Op::Uffd { range, call } => uffd(&at_len(range), call),
        Op::SwitchHuge(how) => {
            let (disable, flags) = match how {
                HugeSwitch::On => (0, "0"),
                HugeSwitch::Off => (1, "0"),
                HugeSwitch::OffUnlessAdvised => (1, "2 /* EXCEPT_ADVISED */"),
                HugeSwitch::UnknownFlag => (1, "0x80"),
            };
            format!("prctl(PR_SET_THP_DISABLE, {disable}, {flags}, 0, 0)")
        }
        _ => return Err(Unsayable(format!("`{}` is not known in C here", step.op.name()))),
    })
}

/// The process whose memory a call is about.
fn process(own: ActorId, whose: Option<ActorId>) -> String {
    let other = whose.filter(|other| *other != own);
    other.map_or("getpid()".into(), |other| format!("shared->pids[{other}]"))
}

/// A call through userfaultfd.
fn uffd(at_len: &str, call: UffdCall) -> String {
    let mark = |call: &str, mode: u8| format!("uffd_mark({call}, {at_len}, {mode})");
    let fill = |call: &str| format!("uffd_fill({call}, {at_len})");
    match call {
        UffdCall::RegisterMissing => mark("UFFDIO_REGISTER", 1),
        UffdCall::RegisterWp => mark("UFFDIO_REGISTER", 2),
        UffdCall::RegisterBoth => mark("UFFDIO_REGISTER", 3),
        UffdCall::Unregister => mark("UFFDIO_UNREGISTER", 0),
        UffdCall::Copy { tag, protect } => {
            let mode = if protect { 2 } else { 0 };
            format!("uffd_copy({at_len}, {tag}, {mode})")
        }
        UffdCall::ZeroPage => fill("UFFDIO_ZEROPAGE"),
        UffdCall::Poison => fill("UFFDIO_POISON"),
        UffdCall::Protect => mark("UFFDIO_WRITEPROTECT", 1),
        UffdCall::Unprotect => mark("UFFDIO_WRITEPROTECT", 0),
        UffdCall::Move { to, holes } => {
            let mode = if holes { 2 } else { 0 };
            format!("uffd_move({at_len}, {}, {mode})", address(to))
        }
    }
}

/// The variable that holds a file's descriptor.
pub fn name(file: File) -> &'static str {
    match file {
        File::Memfd0 => "memfd0",
        File::Memfd1 => "memfd1",
        File::Ramfs0 => "ramfs0",
        File::Secret0 => "secret0",
    }
}
