//! The laws of `oracle::laws` on a program that a fuzzer made.

use super::{number, text};
use oracle::laws::{check_on, follow_on, Ground, GROUNDS};
use oracle::program::Program;

/// Checks every law on one kind of kernel, which the program chooses: another one comes with the next change, and a fuzzer
/// that runs four times as many programs finds more than one that runs each four times. `false`: the bytes are no program.
///
/// # Errors
/// The law that does not hold, with the program.
pub fn laws(bytes: &[u8]) -> Result<bool, String> {
    if let Some(program) = text::made_of(bytes) {
        // Fit to run and printed a moment ago: what is left of the law about text is that it reads back.
        let text = String::from_utf8_lossy(bytes);
        match Program::parse(&text) {
            Ok(back) if back == program => {}
            Ok(_) => return Err(format!("the text form gives the program back\n{text}")),
            Err(e) => return Err(format!("the text form is understood: {e}\n{text}")),
        }
        follow_on(&program, ground(&program)).map_err(|broken| broken.to_string())?;
        return Ok(true);
    }
    let Some(program) = text::program(bytes) else {
        return Ok(false);
    };
    check_on(&program, ground(&program)).map_err(|broken| broken.to_string())?;
    Ok(true)
}

fn ground(program: &Program) -> &'static Ground {
    &GROUNDS[number(program) as usize % GROUNDS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use oracle::program::generate::generate;

    #[test]
    fn generated_programs_and_their_mutants_obey() {
        for seed in 0..300 {
            let mut bytes = generate(seed).to_string().into_bytes();
            for turn in 0..4 {
                assert_eq!(laws(&bytes), Ok(true));
                bytes = text::mutated(&bytes, 4096, seed as u32 * 7 + turn);
            }
        }
        assert_eq!(laws(b"no program"), Ok(false));
    }
}
