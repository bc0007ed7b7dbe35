//! Page strips in colour.

use crate::report::picture::{Cell, Picture, Step, View};
use maud::{html, Markup};
use oracle::judge::strip::Letter;

/// What the letters mean.
pub fn legend() -> Markup {
    html! {
        details.legend {
            summary { "What the letters mean" }
            div.inside {
                @for letter in Letter::ALL {
                    span.item { span class=(class(letter.sign(), false)) { (letter.sign()) } (letter.words()) }
                }
                p { "A pink frame marks the pages that differ. A mapping begins at | and says its protection." }
            }
        }
    }
}

/// The steps up to the op that diverged, all of them where there is no script.
pub fn steps(picture: &Picture) -> Markup {
    let last = picture.steps.len().saturating_sub(1);
    html! {
        div.control hidden {
            button.earlier type="button" { "◀ earlier" }
            input type="range" min="0" max=(last) value=(last) aria-label="step";
            button.later type="button" { "later ▶" }
            output {}
        }
        ol.steps { @for (index, step) in picture.steps.iter().enumerate() { li { (one(index, step)) } } }
    }
}

fn one(index: usize, step: &Step) -> Markup {
    html! {
        div { (index + 1) ". " code { (step.op) } }
        @match (&step.expected, &step.seen) {
            (Some(expected), seen) => {
                (view("expected", expected))
                @match seen {
                    Some(seen) => (view("seen", seen)),
                    None => p.side { "nothing came back" },
                }
            },
            (None, Some(seen)) => (view("seen, as expected", seen)),
            (None, None) => p.side { "what was seen is lost with the guest" },
        }
    }
}

fn view(title: &str, view: &View) -> Markup {
    html! {
        p.side { (title) ": " (view.outcome) }
        @for (actor, windows) in &view.actors {
            @for window in windows {
                div.strip {
                    span.at { @if view.actors.len() > 1 { (actor) ": " } (window.place) }
                    @for cell in &window.cells { (drawn(cell)) }
                }
            }
        }
    }
}

fn drawn(cell: &Cell) -> Markup {
    html! { span class=(class(cell.sign, cell.marked)) { (cell.label) } }
}

/// The classes of a letter.
fn class(sign: char, marked: bool) -> String {
    let kind = match sign.to_ascii_lowercase() {
        '|' => "border",
        ' ' => "perms",
        'g' => "guard",
        'a' => "anon",
        's' => "shared-anon",
        'f' => "file",
        'm' => "shared-file",
        'z' => "zero",
        '~' => "swap",
        '_' => "unmapped",
        _ => "empty",
    };
    let huge = sign.is_ascii_uppercase() && sign != 'G';
    let huge = if huge { " huge" } else { "" };
    format!("c {kind}{huge}{}", if marked { " marked" } else { "" })
}
