//! Steps that the generator would write next: it knows what is mapped and guarded there.

use crate::program::generate::continued;
use crate::program::generate::dice::Dice;
use crate::program::{Program, MAX_STEPS};

/// A few steps somewhere, the others behind them.
pub fn anywhere(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    if program.steps.len() >= MAX_STEPS {
        return None;
    }
    let at = dice.below(program.steps.len() as u32 + 1) as usize;
    let mut before = program.clone();
    let behind = before.steps.split_off(at);
    let new = dice.weighted(&[(6, 1), (3, 2), (1, 4)]);
    let mut grown = continued(&before, new, dice);
    grown.steps.extend(behind);
    Some(grown)
}

/// A few steps at the end.
pub fn at_the_end(program: &Program, dice: &mut Dice<'_, '_>) -> Option<Program> {
    let new = dice.between(1, 4);
    (program.steps.len() < MAX_STEPS).then(|| continued(program, new, dice))
}
