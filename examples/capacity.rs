//! How many patterns associative memories hold: the classical Hopfield network (Hopfield 1982; Amit, Gutfreund and
//! Sompolinsky 1985), dense memories (Krotov and Hopfield 2016), and dense memories that find archetypes of which they
//! have seen examples only (Agliari et al. 2023).
//!
//! Patterns are random and bipolar. A memory is asked with patterns of which each coordinate is flipped with
//! probability 0.1, and goes on until nothing changes; the overlap is that of the last state with the pattern.
//!
//! ```sh
//! cargo run --release --example capacity -- [--device cpu|vulkan|gl] [--software] [--quick] [--out FOLDER]
//! ```
//!
//! Draws `capacity.svg`.

mod common;

use std::path::Path;
use std::process::ExitCode;

use attractor::rule::Update;
use attractor::{Device, Memory, RetrieveOptions, Rule};
use common::Result;
use common::family::{COLOURS, Figures, INK, Options, bipolar, flip, mean, mean_overlap, overlap, text};
use harness::Rng;
use plotters::prelude::*;

/// Overlaps of the classical network of 2,000 coordinates, by patterns a coordinate.
const CLASSICAL: [(f64, f64); 3] = [(0.05, 1.0), (0.10, 0.998), (0.12, 0.993)];
/// The same around and beyond the capacity, where the sample decides.
const BEYOND: [(f64, Option<f64>); 3] = [(0.135, Some(0.96)), (0.15, None), (0.20, Some(0.33))];
/// Coordinates of a pattern of the classical network, and of a dense memory.
const CLASSICAL_DIM: usize = 2000;
const DENSE_DIM: usize = 100;
/// The probability that a coordinate of a query is wrong.
const FLIPPED: f32 = 0.1;
/// A pattern is recalled where the overlap is at least this.
const RECALLED: f64 = 0.95;
/// Updates at most: what is recalled is within a few, and what is not may wander on.
const MOST_STEPS: u32 = 40;
/// Numbers of patterns for which the curves of dense memories are drawn, by `n`.
const CURVES: [(u32, &[usize]); 3] = [
    (2, &[1, 2, 4, 6, 8, 10, 12, 14, 17, 20, 25, 30, 40, 60, 100]),
    (3, &[10, 50, 100, 200, 300, 400, 500, 600, 700, 850, 1000, 1300, 1700, 2200]),
    (4, &[300, 1000, 3000, 5000, 7000, 9000, 11_000, 13_000, 16_000, 20_000, 26_000]),
];

fn main() -> ExitCode {
    common::family::main(run)
}

fn run(options: &Options) -> Result<()> {
    let mut figures = Figures::new();
    let classical = classical(options, &mut figures)?;
    unsupervised(options, &mut figures)?;
    self_coupling(options)?;
    let curves = dense(options)?;
    let path = options.picture("capacity.svg")?;
    draw(&path, &classical, &curves)?;
    println!("drawn: {}", path.display());
    figures.conclude()
}

/// What a memory of these patterns makes of `asked` of them, each damaged.
fn recall(device: &Device, rule: Rule, patterns: &[f32], asked: &[f32], dim: usize, rng: &mut Rng) -> Result<Vec<f32>> {
    let mut memory = Memory::new(device, dim, rule)?;
    memory.add(patterns)?;
    let mut queries = asked.to_vec();
    flip(rng, &mut queries, FLIPPED);
    Ok(memory.retrieve_blocking(&queries, &RetrieveOptions::converge(MOST_STEPS, 1e-6))?.state)
}

/// The mean overlap by patterns a coordinate.
fn classical(options: &Options, figures: &mut Figures) -> Result<Vec<(f64, f64)>> {
    let dim = options.size(CLASSICAL_DIM, 1000);
    let (samples, most) = (options.size(8, 1), options.size(50, 20));
    let measure = |load: f64| -> Result<f64> {
        let count = (load * dim as f64).round() as usize;
        let mut overlaps = Vec::new();
        for sample in 0..samples {
            let mut rng = Rng::stream(1, (count * 100 + sample) as u64);
            let patterns = bipolar(&mut rng, count * dim);
            let asked = &patterns[..most.min(count) * dim];
            let states = recall(&options.device, Rule::classical_hopfield(), &patterns, asked, dim, &mut rng)?;
            overlaps.push(mean_overlap(&states, asked, dim));
        }
        Ok(mean(overlaps))
    };
    let mut curve = Vec::new();
    for (load, expected) in CLASSICAL {
        let overlap = measure(load)?;
        figures.row(&format!("classical, d {dim}: overlap at N = {load} d"), expected, 0.004, overlap);
        curve.push((load, overlap));
    }
    for (load, expected) in BEYOND {
        let overlap = measure(load)?;
        Figures::shown(
            &format!("classical, d {dim}: overlap at N = {load} d"),
            expected,
            overlap,
            "the sample decides",
        );
        curve.push((load, overlap));
    }
    if !options.quick {
        for load in [0.02, 0.08, 0.13, 0.1425, 0.16, 0.175, 0.225] {
            curve.push((load, measure(load)?));
        }
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Ok(curve)
}

/// Memories that are given examples of archetypes, 20 of each, of which every coordinate is right with probability
/// (1 + 0.5) / 2, and asked with the archetypes themselves: are these fixed points?
fn unsupervised(options: &Options, figures: &mut Figures) -> Result<()> {
    const QUALITY: f32 = 0.5;
    const ARCHETYPES: usize = 20;
    const EXAMPLES: usize = 20;
    let dim = DENSE_DIM;
    for (n, expected) in [(2, 0.47), (4, 0.98)] {
        let mut overlaps = Vec::new();
        for sample in 0..options.size(50, 10) {
            let mut rng = Rng::stream(2, sample as u64);
            let archetypes = bipolar(&mut rng, ARCHETYPES * dim);
            let mut examples = Vec::new();
            for archetype in archetypes.chunks_exact(dim) {
                for _ in 0..EXAMPLES {
                    let mut example = archetype.to_vec();
                    flip(&mut rng, &mut example, (1.0 - QUALITY) / 2.0);
                    examples.extend(example);
                }
            }
            let mut memory = Memory::new(&options.device, dim, Rule::dense(n))?;
            memory.add(&examples)?;
            let got = memory.retrieve_blocking(&archetypes, &RetrieveOptions::converge(MOST_STEPS, 1e-6))?;
            overlaps.push(mean_overlap(&got.state, &archetypes, dim));
        }
        let figure = format!("archetypes from examples, d {dim}, p = {n}: overlap");
        figures.row(&figure, expected, 0.06, mean(overlaps));
    }
    Ok(())
}

/// Why self-couplings have to go: with them, every pattern is a fixed point, whatever is stored.
fn self_coupling(options: &Options) -> Result<()> {
    let (dim, count, asked) = (DENSE_DIM, options.size(15_000, 15_000), options.size(200, 50));
    let patterns = bipolar(&mut Rng(3), count * dim);
    let without = Rule::dense(4);
    let with = without.then(Update::default().activation(without.update.activation));
    for (name, rule) in [("taken away", without), ("left in", with)] {
        let mut memory = Memory::new(&options.device, dim, rule)?;
        memory.add(&patterns)?;
        let got = memory.retrieve_blocking(&patterns[..asked * dim], &RetrieveOptions::steps(1))?;
        let fixed = got.change.iter().filter(|change| **change == 0.0).count();
        let share = fixed as f64 / asked as f64;
        println!("dense n = 4, N = {count}: {share:.3} of the patterns are fixed points with self-couplings {name}");
    }
    Ok(())
}

/// Points of a curve: loads, and what is recalled.
type Curve = Vec<(f64, f64)>;

/// The share of patterns that is recalled, by `n` and number of patterns.
fn dense(options: &Options) -> Result<Vec<(u32, Curve)>> {
    let (dim, asked) = (DENSE_DIM, options.size(100, 20));
    let mut curves = Vec::new();
    for (n, counts) in CURVES {
        let counts = if options.quick { &counts[..counts.len() / 2] } else { counts };
        let mut curve = Vec::new();
        for &count in counts {
            let (mut recalled, mut of) = (0, 0);
            let mut sample = 0;
            while of < asked {
                let mut rng = Rng::stream(u64::from(4 + n), (count * 1000 + sample) as u64);
                sample += 1;
                let patterns = bipolar(&mut rng, count * dim);
                let asked = &patterns[..(asked - of).min(count) * dim];
                let states = recall(&options.device, Rule::dense(n), &patterns, asked, dim, &mut rng)?;
                let rows = states.chunks_exact(dim).zip(asked.chunks_exact(dim));
                recalled += rows.filter(|(state, pattern)| overlap(state, pattern) >= RECALLED).count();
                of += asked.len() / dim;
            }
            curve.push((count as f64, recalled as f64 / of as f64));
        }
        let capacity = no_error(n, dim);
        println!(
            "dense n = {n}, d {dim}: half are recalled at N = {:.0} (errors begin near {capacity:.0})",
            half(&curve)
        );
        curves.push((n, curve));
    }
    Ok(curves)
}

/// How many patterns are stored without errors (Krotov and Hopfield 2016): `d^(n-1) / (2 (2n-3)!! ln d)`.
fn no_error(n: u32, dim: usize) -> f64 {
    let factorial: f64 = (1..=2 * n - 3).step_by(2).map(f64::from).product();
    let dim = dim as f64;
    dim.powi(n as i32 - 1) / (2.0 * factorial * dim.ln())
}

/// Where a falling curve passes one half.
fn half(curve: &[(f64, f64)]) -> f64 {
    let crossing = curve.windows(2).find(|pair| pair[0].1 >= 0.5 && pair[1].1 < 0.5);
    crossing.map_or(f64::NAN, |pair| {
        let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
        x0 + (x1 - x0) * (y0 - 0.5) / (y0 - y1)
    })
}

fn draw(path: &Path, classical: &[(f64, f64)], curves: &[(u32, Vec<(f64, f64)>)]) -> Result<()> {
    let area = SVGBackend::new(path, (980, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(430);

    let mut chart = ChartBuilder::on(&left)
        .caption("Classical Hopfield network", text(17))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..0.235, 0.0..1.05)?;
    chart
        .configure_mesh()
        .x_desc("patterns a coordinate, N / d")
        .y_desc("overlap, from 10 % flipped")
        .x_labels(6)
        .y_labels(6)
        .axis_desc_style(text(14))
        .label_style(text(13))
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    let critical = [(0.138, 0.0), (0.138, 1.05)];
    chart.draw_series(DashedLineSeries::new(critical, 5, 4, INK.mix(0.6).stroke_width(1)))?;
    chart.draw_series([Text::new("0.138", (0.141, 0.06), text(13))])?;
    chart.draw_series(LineSeries::new(classical.iter().copied(), COLOURS[0].stroke_width(2)))?;
    chart.draw_series(classical.iter().map(|at| Circle::new(*at, 4, COLOURS[0].filled())))?;
    let beyond = BEYOND.into_iter().filter_map(|(load, overlap)| Some((load, overlap?)));
    let published = CLASSICAL.into_iter().chain(beyond);
    chart
        .draw_series(published.map(|at| Cross::new(at, 6, COLOURS[1].stroke_width(2))))?
        .label("published")
        .legend(|at| Cross::new((at.0 + 10, at.1), 5, COLOURS[1].stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .label_font(text(13))
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.2))
        .draw()?;

    let mut chart = ChartBuilder::on(&right)
        .caption(format!("Dense memories of {DENSE_DIM} coordinates"), text(17))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((1.0..60_000.0).log_scale(), 0.0..1.05)?;
    chart
        .configure_mesh()
        .x_desc("stored patterns, N (dashed: where theory has errors begin)")
        .y_desc("share recalled, from 10 % flipped")
        .x_label_formatter(&|n| format!("{n:.0}"))
        .y_labels(6)
        .axis_desc_style(text(14))
        .label_style(text(13))
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for (index, (n, curve)) in curves.iter().enumerate() {
        let colour = COLOURS[index];
        let errors = no_error(*n, DENSE_DIM);
        chart.draw_series(DashedLineSeries::new([(errors, 0.0), (errors, 1.05)], 5, 4, colour.stroke_width(1)))?;
        chart.draw_series(LineSeries::new(curve.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(curve.iter().map(|at| Circle::new(*at, 4, colour.filled())))?;
        let beside = (1.2 * half(curve), 0.52);
        if beside.0.is_finite() {
            chart.draw_series([Text::new(format!("n = {n}"), beside, text(15))])?;
        }
    }
    area.present()?;
    Ok(())
}

#[test]
fn quick_form() {
    common::family::test(run);
}
