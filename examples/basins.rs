//! Where a million random starts end: the fixed points of small networks, how many there are, at which energy, and how
//! large their basins are.
//!
//! A network of 40 coordinates has 2^40 states. A classical one (Hopfield 1982) of few patterns has these among its
//! fixed points, their negatives, mixtures of three of them (Amit, Gutfreund and Sompolinsky 1985), and others; of too
//! many, others alone, but for a few. A dense one (Krotov and Hopfield 2016) has room for the same patterns. All
//! coordinates move at once, so that some starts end in cycles of two states, which are counted apart.
//!
//! ```sh
//! cargo run --release --example basins -- [--device cpu|vulkan|gl] [--software] [--quick] [--out FOLDER]
//! ```
//!
//! Draws `basins.svg`.

mod common;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use attractor::retrieval::Status;
use attractor::{Memory, RetrieveOptions, Rule};
use common::Result;
use common::family::{COLOURS, Options, bipolar, text};
use harness::Rng;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const DIM: usize = 40;
/// Patterns of a network that has room for them under either rule, and of one that has not under the classical.
const FEW: usize = 5;
const MANY: usize = 12;
const SEED: u64 = 5;
/// Starts of a call.
const BATCH: usize = 1 << 16;
const MOST_STEPS: u32 = 200;

/// What a fixed point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stored,
    Negative,
    Mixture,
    Other,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Other, Self::Mixture, Self::Negative, Self::Stored];

    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored patterns",
            Self::Negative => "their negatives",
            Self::Mixture => "mixtures of three",
            Self::Other => "others",
        }
    }

    fn colour(self) -> RGBColor {
        match self {
            Self::Stored => COLOURS[0],
            Self::Negative => COLOURS[5],
            Self::Mixture => COLOURS[1],
            Self::Other => RGBColor(150, 150, 150),
        }
    }
}

/// A fixed point that starts end in.
#[derive(Clone, Copy, Debug)]
struct Basin {
    kind: Kind,
    /// Over that of a pattern in a network of its own.
    energy: f64,
    starts: usize,
}

/// What a survey of one network finds.
struct Survey {
    name: String,
    basins: Vec<Basin>,
    cycles: usize,
    unfinished: usize,
    starts: usize,
}

fn main() -> ExitCode {
    common::family::main(run)
}

fn run(options: &Options) -> Result<()> {
    let starts = options.size(1_000_000, 20_000);
    let patterns = bipolar(&mut Rng(SEED), MANY * DIM);
    let networks = [
        ("classical", Rule::classical_hopfield(), FEW),
        ("classical", Rule::classical_hopfield(), MANY),
        ("dense, n = 4", Rule::dense(4), MANY),
    ];
    let mut surveys = Vec::new();
    for (name, rule, count) in networks {
        let begun = Instant::now();
        let survey = Survey::new(options, format!("{name}, {count} patterns"), rule, &patterns[..count * DIM], starts)?;
        survey.report(begun.elapsed().as_secs_f64())?;
        surveys.push(survey);
    }
    let path = options.picture("basins.svg")?;
    draw(&path, &surveys)?;
    println!("drawn: {}", path.display());
    Ok(())
}

impl Survey {
    /// Where this many random starts end.
    fn new(options: &Options, name: String, rule: Rule, patterns: &[f32], starts: usize) -> Result<Self> {
        let mut memory = Memory::new(&options.device, DIM, rule)?;
        memory.add(patterns)?;
        let mixtures = mixtures(patterns);
        let ask = RetrieveOptions::converge(MOST_STEPS, 1e-6).energy();
        let unit = -alone(options, rule)?;
        let mut found: HashMap<u64, Basin> = HashMap::new();
        let (mut cycles, mut unfinished) = (0, 0);
        let mut rng = Rng(1);
        let mut left = starts;
        while left > 0 {
            let batch = left.min(BATCH);
            left -= batch;
            let got = memory.retrieve_blocking(&bipolar(&mut rng, batch * DIM), &ask)?;
            let energies = got.energy.as_deref().ok_or("no energies came back")?;
            for (query, energy) in energies.iter().enumerate() {
                match got.status[query] {
                    Status::Answered if got.converged[query] => {
                        let state = got.state_row(query);
                        let basin = found.entry(bits(state)).or_insert_with(|| Basin {
                            kind: kind(state, patterns, &mixtures),
                            energy: *energy / unit,
                            starts: 0,
                        });
                        basin.starts += 1;
                    }
                    Status::Cycle => cycles += 1,
                    _ => unfinished += 1,
                }
            }
        }
        Ok(Self { name, basins: found.into_values().collect(), cycles, unfinished, starts })
    }

    /// How many fixed points of one kind, the share of starts that end there, and the mean energy over these.
    fn of(&self, kind: Kind) -> (usize, f64, f64) {
        let of_kind = || self.basins.iter().filter(move |basin| basin.kind == kind);
        let starts: usize = of_kind().map(|basin| basin.starts).sum();
        let energies = of_kind().map(|basin| basin.energy * basin.starts as f64).sum::<f64>();
        (of_kind().count(), starts as f64 / self.starts as f64, energies / starts.max(1) as f64)
    }

    /// Prints what was found, and checks that every start is accounted for, and that negatives mirror their patterns.
    fn report(&self, seconds: f64) -> Result<()> {
        println!("\n{}: {} fixed points from {} starts in {seconds:.1} s", self.name, self.basins.len(), self.starts);
        println!("{:<20} {:>6} {:>9} {:>12}", "", "points", "starts", "mean energy");
        for kind in Kind::ALL.into_iter().rev() {
            let (points, share, energy) = self.of(kind);
            let energy = if points > 0 { format!("{energy:.3}") } else { "-".into() };
            println!("{:<20} {points:>6} {:>7.2} % {energy:>12}", kind.name(), 100.0 * share);
        }
        println!("{:<20} {:>6} {:>7.2} %", "cycles", "", 100.0 * self.cycles as f64 / self.starts as f64);
        let counted: usize = self.basins.iter().map(|basin| basin.starts).sum();
        if counted + self.cycles + self.unfinished != self.starts || self.unfinished > 0 {
            return Err(format!("{}: {} starts came to no end", self.name, self.unfinished).into());
        }
        let ((_, stored, _), (_, negative, _)) = (self.of(Kind::Stored), self.of(Kind::Negative));
        if (stored - negative).abs() > 5.0 / (self.starts as f64).sqrt() {
            return Err(format!("{}: patterns and negatives differ, {stored} and {negative}", self.name).into());
        }
        Ok(())
    }
}

/// The energy of a pattern that nothing else is stored beside.
fn alone(options: &Options, rule: Rule) -> Result<f64> {
    let mut memory = Memory::new(&options.device, DIM, rule)?;
    let pattern = [1.0; DIM];
    memory.add(&pattern)?;
    let got = memory.retrieve_blocking(&pattern, &RetrieveOptions::default().energy())?;
    Ok(got.energy.ok_or("no energy came back")?[0])
}

/// A state as a number.
fn bits(state: &[f32]) -> u64 {
    state.iter().enumerate().fold(0, |bits, (c, x)| bits | u64::from(*x > 0.0) << c)
}

/// The signs of the sums of three patterns or their negatives.
fn mixtures(patterns: &[f32]) -> HashSet<u64> {
    let rows: Vec<&[f32]> = patterns.chunks_exact(DIM).collect();
    let mut mixtures = HashSet::new();
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate().skip(i + 1) {
            for c in &rows[j + 1..] {
                for signs in 0..8 {
                    let sign = |place: u32| if signs >> place & 1 == 1 { -1.0 } else { 1.0 };
                    let sum = |at: usize| sign(0) * a[at] + sign(1) * b[at] + sign(2) * c[at];
                    mixtures.insert(bits(&(0..DIM).map(sum).collect::<Vec<f32>>()));
                }
            }
        }
    }
    mixtures
}

fn kind(state: &[f32], patterns: &[f32], mixtures: &HashSet<u64>) -> Kind {
    let is = |sign: f32| {
        let same = |pattern: &[f32]| pattern.iter().zip(state).all(|(k, x)| *k == sign * x);
        patterns.chunks_exact(DIM).any(same)
    };
    match () {
        () if is(1.0) => Kind::Stored,
        () if is(-1.0) => Kind::Negative,
        () if mixtures.contains(&bits(state)) => Kind::Mixture,
        () => Kind::Other,
    }
}

/// Energy against the size of the basin, for each network.
fn draw(path: &Path, surveys: &[Survey]) -> Result<()> {
    let area = SVGBackend::new(path, (1120, 450)).into_drawing_area();
    area.fill(&WHITE)?;
    let (head, below) = area.split_vertically(76);
    let at = |horizontal| Pos::new(horizontal, VPos::Center);
    let starts = surveys.first().map_or(0, |survey| survey.starts);
    let title = format!("Where {} random starts end: networks of {DIM} coordinates", grouped(starts));
    head.draw(&Text::new(title, (560, 24), text(19).pos(at(HPos::Center))))?;
    for (place, kind) in Kind::ALL.into_iter().rev().enumerate() {
        let x = 262 + 164 * place as i32;
        head.draw(&point((x, 58), kind))?;
        head.draw(&Text::new(kind.name(), (x + 14, 58), text(14).pos(at(HPos::Left))))?;
    }
    for (survey, panel) in surveys.iter().zip(below.split_evenly((1, surveys.len()))) {
        let energies = || survey.basins.iter().map(|basin| basin.energy);
        let (least, most) = (energies().fold(0.0, f64::min), energies().fold(f64::NEG_INFINITY, f64::max));
        let room = 0.07 * (most - least).max(0.1);
        let mut chart = ChartBuilder::on(&panel)
            .caption(&survey.name, text(16))
            .margin(10)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d((0.5 / survey.starts as f64..0.5).log_scale(), least - room..most + room)?;
        chart
            .configure_mesh()
            .x_desc("share of starts: the size of the basin")
            .y_desc("energy")
            .x_labels(6)
            .y_labels(8)
            .x_label_formatter(&|share| power_of_ten(*share))
            .y_label_formatter(&|energy| format!("{energy:.1}"))
            .axis_desc_style(text(14))
            .label_style(text(13))
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.12))
            .draw()?;
        for kind in Kind::ALL {
            let of_kind = survey.basins.iter().filter(|basin| basin.kind == kind);
            let place = |basin: &Basin| (basin.starts as f64 / survey.starts as f64, basin.energy);
            chart.draw_series(of_kind.map(|basin| point(place(basin), kind)))?;
        }
    }
    area.present()?;
    Ok(())
}

/// A pattern is within the ring of its negative, where the two are as large.
fn point<At>(at: At, kind: Kind) -> Circle<At, i32> {
    let colour = kind.colour();
    match kind {
        Kind::Stored => Circle::new(at, 4, colour.filled()),
        Kind::Negative => Circle::new(at, 7, colour.stroke_width(2)),
        Kind::Mixture => Circle::new(at, 4, colour.mix(0.8).filled()),
        Kind::Other => Circle::new(at, 3, colour.mix(0.6).filled()),
    }
}

/// `10⁻³`.
fn power_of_ten(share: f64) -> String {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let power = -share.log10().round() as usize;
    format!("10⁻{}", RAISED.get(power).copied().unwrap_or('?'))
}

/// A number with commas.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[test]
fn quick_form() {
    common::family::test(run);
}
