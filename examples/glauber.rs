//! The Hopfield network at a temperature: Glauber dynamics, whose states come to an overlap of `m = tanh(m / T)` with a
//! pattern, and lose it at `T = 1` (Amit, Gutfreund and Sompolinsky 1985).
//!
//! 3 patterns of 4,000 coordinates. Queries start at a pattern; overlaps are means over queries and memories after as
//! many updates as they take to come to rest. Signs are drawn from a hash of seed, query, update and coordinate, so
//! that every device draws the same.
//!
//! ```sh
//! cargo run --release --example glauber -- [--device cpu|vulkan|gl] [--software] [--quick] [--out FOLDER]
//! ```
//!
//! Draws `glauber.svg`.

mod common;

use std::path::Path;
use std::process::ExitCode;

use attractor::{Memory, RetrieveOptions, Rule};
use common::Result;
use common::family::{COLOURS, Figures, Options, bipolar, mean, overlap, text};
use harness::Rng;
use plotters::prelude::*;

const DIM: usize = 4000;
const PATTERNS: usize = 3;
/// Temperatures, overlaps and tolerances.
const PUBLISHED: [(f32, f64, f64); 4] =
    [(0.3, 0.9974, 0.005), (0.5, 0.9575, 0.005), (0.7, 0.8286, 0.005), (0.9, 0.5254, 0.02)];
/// Temperatures that are drawn besides.
const DRAWN: [f32; 9] = [0.1, 0.4, 0.6, 0.8, 0.85, 0.95, 1.0, 1.1, 1.2];

fn main() -> ExitCode {
    common::family::main(run)
}

fn run(options: &Options) -> Result<()> {
    let mut figures = Figures::new();
    let mut drawn = Vec::new();
    for (temperature, expected, tolerance) in PUBLISHED {
        let measured = magnetisation(options, temperature)?;
        figures.row(
            &format!("d {DIM}, {PATTERNS} patterns, T = {temperature}: overlap"),
            expected,
            tolerance,
            measured,
        );
        drawn.push((temperature, measured));
    }
    for temperature in DRAWN {
        drawn.push((temperature, magnetisation(options, temperature)?));
    }
    let path = options.picture("glauber.svg")?;
    draw(&path, &drawn)?;
    println!("drawn: {}", path.display());
    figures.conclude()
}

/// The mean overlap with the pattern that a query starts from.
fn magnetisation(options: &Options, temperature: f32) -> Result<f64> {
    // Slow where the slope of tanh(m / T) is near 1.
    let steps = if (0.8..=1.15).contains(&temperature) { options.size(120, 60) } else { 30 };
    let (memories, queries) = (options.size(8, 4), options.size(24, 12));
    let mut means = Vec::new();
    for number in 0..memories as u32 {
        let patterns = bipolar(&mut Rng::stream(1, u64::from(number)), PATTERNS * DIM);
        let rule = Rule::stochastic_hopfield(DIM, temperature, 1 + number);
        let mut memory = Memory::new(&options.device, DIM, rule)?;
        memory.add(&patterns)?;
        let starts: Vec<f32> =
            (0..queries).flat_map(|query| patterns[query % PATTERNS * DIM..][..DIM].iter().copied()).collect();
        let got = memory.retrieve_blocking(&starts, &RetrieveOptions::steps(steps as u32))?;
        means.extend((0..queries).map(|query| overlap(got.state_row(query), &starts[query * DIM..][..DIM])));
    }
    Ok(mean(means))
}

/// The solution of `m = tanh(m / T)` that is not negative.
fn theory(temperature: f64) -> f64 {
    let mut m = 1.0f64;
    for _ in 0..100_000 {
        m = (m / temperature).tanh();
    }
    m
}

fn draw(path: &Path, drawn: &[(f32, f64)]) -> Result<()> {
    let area = SVGBackend::new(path, (640, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Glauber dynamics: 3 patterns of 4,000 coordinates", text(17))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..1.25f64, 0.0..1.05)?;
    chart
        .configure_mesh()
        .x_desc("temperature, T")
        .y_desc("overlap, m")
        .y_labels(6)
        .axis_desc_style(text(14))
        .label_style(text(13))
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    // Dense where the curve is steep.
    let flat = (0..=15).map(|i| 0.05 + f64::from(i) / 20.0);
    let steep = (1..=20).map(|i| 0.8 + 0.2 * (f64::from(i) / 20.0).sqrt());
    let curve = flat.chain(steep).chain([1.25]).map(|t| (t, theory(t)));
    chart
        .draw_series(LineSeries::new(curve, COLOURS[1].stroke_width(2)))?
        .label("m = tanh(m / T)")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], COLOURS[1].stroke_width(2)));
    chart
        .draw_series(drawn.iter().map(|(t, m)| Circle::new((f64::from(*t), *m), 5, COLOURS[0].filled())))?
        .label("measured")
        .legend(|(x, y)| Circle::new((x + 10, y), 5, COLOURS[0].filled()));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .label_font(text(13))
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .draw()?;
    area.present()?;
    Ok(())
}

#[test]
fn quick_form() {
    common::family::test(run);
}
