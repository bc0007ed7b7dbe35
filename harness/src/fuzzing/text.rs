//! Programs as a fuzzer's bytes: their text form, so that a corpus of programs is a fuzzer's corpus and what it finds is a
//! program's file.

use oracle::laws::check_program;
use oracle::program::generate::generate;
use oracle::program::mutate;
use oracle::program::Program;
use std::cell::RefCell;

thread_local! {
    /// The program that was handed out last, with its bytes: a fuzzer runs what it was given, then has it changed again.
    static LAST: RefCell<Option<(Vec<u8>, Program)>> = const { RefCell::new(None) };
}

/// The program that these bytes were made of, if they are those handed out last.
pub(super) fn made_of(bytes: &[u8]) -> Option<Program> {
    LAST.with_borrow(|last| match last {
        Some((text, program)) if text == bytes => Some(program.clone()),
        _ => None,
    })
}

/// Whether bytes are a program; if so it need not be read again as long as no other is handed out.
pub(super) fn remember(bytes: &[u8]) -> bool {
    if made_of(bytes).is_some() {
        return true;
    }
    let Some(program) = program(bytes) else {
        return false;
    };
    LAST.set(Some((bytes.to_vec(), program)));
    true
}

/// Text that may be a program: what is understood reads back as it prints, and what is fit to run obeys every law.
///
/// # Errors
/// What does not hold.
pub fn program_text(bytes: &[u8]) -> Result<(), String> {
    let Ok(program) = Program::parse(&String::from_utf8_lossy(bytes)) else {
        return Ok(());
    };
    let printed = program.to_string();
    let again = Program::parse(&printed)
        .map_err(|e| format!("what is printed is not understood: {e}\n{printed}"))?;
    if again != program {
        return Err(format!("what is printed is another program:\n{printed}"));
    }
    match program.check() {
        Ok(()) => check_program(&program).map_err(|broken| broken.to_string()),
        Err(_) => Ok(()),
    }
}

/// The program that bytes stand for, without what its author expects. `None`: they are no program that can be run.
pub fn program(bytes: &[u8]) -> Option<Program> {
    let program = Program::load(std::str::from_utf8(bytes).ok()?).ok()?;
    Some(program.without_expectations())
}

/// Bytes that stand for a program a little different, at most `most` of them. What stands for none becomes a generated one.
pub fn mutated(bytes: &[u8], most: usize, seed: u32) -> Vec<u8> {
    let program = made_of(bytes).or_else(|| program(bytes));
    let program = program.unwrap_or_else(|| generate(seed.into()));
    short(mutate::mutate(&program, seed.into()), most)
}

/// Bytes that stand for a program with steps of both, at most `most` of them.
pub fn crossed(a: &[u8], b: &[u8], most: usize, seed: u32) -> Vec<u8> {
    match (made_of(a).or_else(|| program(a)), program(b)) {
        (Some(a), Some(b)) => short(mutate::cross(&a, &b, seed.into()), most),
        _ => mutated(a, most, seed),
    }
}

/// The text of as many steps as fit into `most` bytes; of none when not even one does.
pub fn fitting(program: Program, most: usize) -> Vec<u8> {
    fit(program, most).map_or(Vec::new(), |(text, _)| text)
}

/// The same, remembered until something else is handed out.
fn short(program: Program, most: usize) -> Vec<u8> {
    let fitted = fit(program, most);
    let text = fitted.as_ref().map_or(Vec::new(), |(text, _)| text.clone());
    LAST.set(fitted);
    text
}

fn fit(mut program: Program, most: usize) -> Option<(Vec<u8>, Program)> {
    while !program.steps.is_empty() {
        let text = program.to_string();
        if text.len() <= most {
            return Some((text.into_bytes(), program));
        }
        // As many as are too many by their own lines, so that the whole is not printed for each.
        let mut over = text.len() - most;
        while let Some(step) = program.steps.pop() {
            let line = step.to_string().len() + 1;
            if line >= over {
                break;
            }
            over -= line;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_programs_pass_as_text() {
        for seed in 0..200 {
            program_text(generate(seed).to_string().as_bytes()).unwrap();
        }
        program_text(b"\xff\nmmap").unwrap();
    }

    #[test]
    fn bytes_stay_programs_and_within_their_limit() {
        let mut bytes = b"not a program".to_vec();
        for seed in 0..500 {
            let most = 80 + (seed as usize * 13) % 2000;
            let other = mutated(&bytes, most, !seed);
            bytes = match seed % 3 {
                0 => crossed(&bytes, &other, most, seed),
                _ => mutated(&bytes, most, seed),
            };
            assert!(bytes.len() <= most);
            assert!(
                program(&bytes).is_some(),
                "{}",
                String::from_utf8_lossy(&bytes)
            );
        }
        assert!(mutated(b"", 3, 1).is_empty());
    }
}
