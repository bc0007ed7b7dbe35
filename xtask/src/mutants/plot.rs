//! The share of campaigns in which a planted bug was noticed, against the programs that it took.

use anyhow::{Context, Result};
use plotters::prelude::*;

/// Width and height in pixels.
const SIZE: (u32, u32) = (760, 400);

/// One line of the plot.
pub struct Curve {
    pub name: String,
    /// Campaigns.
    pub of: usize,
    /// Programs until something was noticed, of those campaigns in which it was.
    pub at: Vec<u64>,
}

impl Curve {
    /// Corners of its steps: programs, and per cent of the campaigns that had noticed something by then.
    fn steps(&self, budget: u64) -> Vec<(f64, f64)> {
        let mut at = self.at.clone();
        at.sort_unstable();
        let share = |n: usize| 100.0 * n as f64 / self.of.max(1) as f64;
        let mut steps = vec![(1.0, 0.0)];
        for (n, &programs) in at.iter().enumerate() {
            steps.push((programs as f64, share(n)));
            steps.push((programs as f64, share(n + 1)));
        }
        steps.push((budget as f64, share(at.len())));
        steps
    }
}

/// Draws the curves as SVG. `budget` are the programs of a campaign, which end the axis.
///
/// # Errors
/// The drawing does not fit.
pub fn draw(curves: &[Curve], budget: u64) -> Result<String> {
    let mut svg = String::new();
    paint(&mut svg, curves, budget).context("the plot cannot be drawn")?;
    Ok(svg)
}

fn paint(svg: &mut String, curves: &[Curve], budget: u64) -> Result<()> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d((1.0..(budget.max(2) as f64)).log_scale(), 0.0..100.0)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("programs run")
        .y_desc("campaigns that noticed the bug, %")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for (i, curve) in curves.iter().enumerate() {
        let colour = Palette99::pick(i).to_rgba();
        let name = format!("{}: {} of {}", curve.name, curve.at.len(), curve.of);
        chart
            .draw_series(LineSeries::new(curve.steps(budget), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> Curve {
        Curve {
            name: "mmdiff".into(),
            of: 4,
            at: vec![90, 3],
        }
    }

    #[test]
    fn a_curve_rises_where_something_is_noticed() {
        assert_eq!(
            curve().steps(1000),
            [
                (1.0, 0.0),
                (3.0, 0.0),
                (3.0, 25.0),
                (90.0, 25.0),
                (90.0, 50.0),
                (1000.0, 50.0)
            ]
        );
    }

    #[test]
    fn a_plot_says_what_its_curves_are() {
        let svg = draw(&[curve()], 1000).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("mmdiff: 2 of 4"), "{svg}");
        assert!(svg.contains("programs run"));
    }
}
