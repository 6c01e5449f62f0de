//! Several memories recalled at once: a multitasking network (Agliari et al. 2012), whose patterns leave part of the
//! coordinates blank, and which fills the blanks of one pattern with others.
//!
//! Each coordinate of a pattern is 0 with probability `a`, the dilution, else 1 or -1. Asked with one pattern, whose
//! blanks are filled by chance, the network of 3 patterns comes to rest at overlaps of `1 - a`, `a (1 - a)` and
//! `a^2 (1 - a)`: the pattern itself, then as much of the second as fits into its blanks, then of the third.
//!
//! ```sh
//! cargo run --release --example multitasking -- [--device cpu|vulkan|gl] [--software] [--quick] [--out FOLDER]
//! ```
//!
//! Draws `multitasking.svg`.

mod common;

use std::path::Path;
use std::process::ExitCode;

use attractor::{Memory, RetrieveOptions, Rule};
use common::Result;
use common::family::{COLOURS, Figures, Options, overlap, text};
use harness::Rng;
use plotters::prelude::*;

const DIM: usize = 3000;
const PATTERNS: usize = 3;
/// Dilutions with the overlaps of three patterns, the largest first.
const PUBLISHED: [(f32, [f64; PATTERNS]); 2] = [(0.3, [0.70, 0.21, 0.063]), (0.5, [0.50, 0.25, 0.125])];
/// Dilutions that are drawn besides.
const DRAWN: [f32; 10] = [0.02, 0.1, 0.15, 0.2, 0.25, 0.35, 0.4, 0.45, 0.55, 0.6];

fn main() -> ExitCode {
    common::family::main(run)
}

fn run(options: &Options) -> Result<()> {
    let mut figures = Figures::new();
    let mut drawn = Vec::new();
    for (dilution, expected) in PUBLISHED {
        let overlaps = overlaps(options, dilution)?;
        for (place, (expected, measured)) in expected.into_iter().zip(overlaps).enumerate() {
            let figure = format!("N {DIM}, dilution {dilution}: overlap number {}", place + 1);
            figures.row(&figure, expected, 0.02, measured);
        }
        drawn.push((dilution, overlaps));
    }
    for dilution in DRAWN {
        drawn.push((dilution, overlaps(options, dilution)?));
    }
    drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
    let path = options.picture("multitasking.svg")?;
    draw(&path, &drawn)?;
    println!("drawn: {}", path.display());
    figures.conclude()
}

/// The overlaps of the last state with the patterns, sorted within each run, and their means over runs.
fn overlaps(options: &Options, dilution: f32) -> Result<[f64; PATTERNS]> {
    let runs = options.size(40, 10);
    let mut means = [0.0; PATTERNS];
    for run in 0..runs {
        let mut rng = Rng::stream(1, run as u64);
        let mut coordinate = |dilution: f32| match rng.uniform() < dilution {
            true => 0.0,
            false if rng.bits() >> 63 == 0 => 1.0,
            false => -1.0,
        };
        let patterns: Vec<f32> = (0..PATTERNS * DIM).map(|_| coordinate(dilution)).collect();
        let query: Vec<f32> = patterns[..DIM].iter().map(|x| if *x == 0.0 { coordinate(0.0) } else { *x }).collect();
        let mut memory = Memory::new(&options.device, DIM, Rule::hebbian())?;
        memory.add(&patterns)?;
        let got = memory.retrieve_blocking(&query, &RetrieveOptions::converge(100, 1e-6))?;
        let mut overlaps: Vec<f64> =
            patterns.chunks_exact(DIM).map(|pattern| overlap(&got.state, pattern).abs()).collect();
        overlaps.sort_by(|a, b| b.total_cmp(a));
        for (mean, overlap) in means.iter_mut().zip(overlaps) {
            *mean += overlap / runs as f64;
        }
    }
    Ok(means)
}

fn draw(path: &Path, drawn: &[(f32, [f64; PATTERNS])]) -> Result<()> {
    let area = SVGBackend::new(path, (640, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Three diluted patterns at once, 3,000 coordinates", text(17))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..0.62f64, 0.0..1.05)?;
    chart
        .configure_mesh()
        .x_desc("dilution: share of blank coordinates, a")
        .y_desc("overlap with each pattern")
        .y_labels(6)
        .axis_desc_style(text(14))
        .label_style(text(13))
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for place in 0..PATTERNS {
        let colour = COLOURS[place];
        let theory = (0..=12).map(|i| 0.62 * f64::from(i) / 12.0).map(|a| (a, a.powi(place as i32) * (1.0 - a)));
        let name = ["1 - a", "a (1 - a)", "a² (1 - a)"][place];
        chart
            .draw_series(LineSeries::new(theory, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        let points = drawn.iter().map(|(dilution, overlaps)| (f64::from(*dilution), overlaps[place]));
        chart.draw_series(points.map(|at| Circle::new(at, 4, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
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
