//! The laws of `oracle::laws` on a program that a fuzzer made.

use super::{number, text};
use oracle::laws::{check_on, GROUNDS};

/// Checks every law on one kind of kernel, which the program chooses: another one comes with the next change, and a fuzzer
/// that runs four times as many programs finds more than one that runs each four times. `false`: the bytes are no program.
///
/// # Errors
/// The law that does not hold, with the program.
pub fn laws(bytes: &[u8]) -> Result<bool, String> {
    let Some(program) = text::program(bytes) else {
        return Ok(false);
    };
    let ground = &GROUNDS[number(&program) as usize % GROUNDS.len()];
    check_on(&program, ground).map_err(|broken| broken.to_string())?;
    Ok(true)
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
