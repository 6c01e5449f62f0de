//! Tours of 10 random cities by Potts neurons in mean field (Peterson and Söderberg 1989), annealed, beside the
//! shortest ones, which dynamic programming finds (Held and Karp 1962).
//!
//! `v_ia` is how surely city `i` is at place `a` of the tour, and each city's places are one block of softmax:
//!
//! ```text
//! h_ia = - sum_j D_ij (v_j,a-1 + v_j,a+1) - gamma sum_j v_ja + alpha v_ia
//! v_ia <- damping v_ia + (1 - damping) softmax over a of h_ia / T
//! ```
//!
//! with distances `D` in units of their mean. The first term is the length, the second keeps cities apart, the third
//! keeps what is decided. The couplings are a memory: keys are the rows of `W`, values unit vectors, and beta, which is
//! `1 / T`, has a schedule. 200 starts, near one another and near indecision, are one call.
//!
//! ```sh
//! cargo run --release --example tour -- [--device cpu|vulkan|gl] [--software] [--quick] [--out FOLDER]
//! ```
//!
//! Draws `tour.svg`.

mod common;

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use attractor::rule::{Activation, Update};
use attractor::{Device, MemoryOptions, Patterns, RetrieveOptions, Rule};
use common::Result;
use common::family::{Figures, Options, mean};
use harness::Rng;

const CITIES: usize = 10;
const NEURONS: usize = CITIES * CITIES;
const STARTS: usize = 200;
/// The weight of what keeps cities apart, and of what keeps decisions.
const GAMMA: f32 = 2.0;
const ALPHA: f32 = 0.75;
/// Temperatures of the first and the last update, and the number of updates.
const HOT: f32 = 1.0;
const COLD: f32 = 0.03;
const STEPS: u32 = 500;
/// The share of the state before in the next one.
const DAMPING: f32 = 0.9;

type Tour = Vec<usize>;

fn main() -> ExitCode {
    common::family::main(run)
}

fn run(options: &Options) -> Result<()> {
    let mut figures = Figures::new();
    let (mut ratios, mut invalid) = (Vec::new(), 0);
    let mut annealed = Vec::new();
    for number in 0..options.size(6, 2) {
        let map = Map::random(1 + number as u64);
        let starts = options.size(STARTS, 40);
        let tours = map.anneal(&options.device, starts)?;
        let shortest = map.shortest();
        let valid: Vec<&Tour> = tours.iter().flatten().collect();
        invalid += starts - valid.len();
        let lengths: Vec<f64> = valid.iter().map(|tour| map.length(tour)).collect();
        let ratio = mean(lengths.iter().map(|length| length / map.length(&shortest)));
        let best = lengths.iter().filter(|length| **length < map.length(&shortest) * (1.0 + 1e-9)).count();
        println!("map {number}: {} of {starts} valid, {best} shortest, mean length {ratio:.4} of it", valid.len());
        ratios.push(ratio);
        annealed.push(Annealed { map, tours, shortest, ratio });
    }
    figures.at_most("10 cities: starts that do not end in a tour", 0.0, invalid as f64);
    figures.at_most("10 cities: mean length over the shortest", 1.03, mean(ratios));
    let path = options.picture("tour.svg")?;
    draw(&path, &annealed)?;
    println!("drawn: {}", path.display());
    figures.conclude()
}

/// Cities in the unit square.
struct Map {
    places: Vec<[f64; 2]>,
}

impl Map {
    fn random(seed: u64) -> Self {
        let mut rng = Rng(seed);
        Self { places: (0..CITIES).map(|_| [f64::from(rng.uniform()), f64::from(rng.uniform())]).collect() }
    }

    fn distance(&self, from: usize, to: usize) -> f64 {
        let ([x, y], [u, v]) = (self.places[from], self.places[to]);
        (x - u).hypot(y - v)
    }

    fn length(&self, tour: &Tour) -> f64 {
        (0..CITIES).map(|step| self.distance(tour[step], tour[(step + 1) % CITIES])).sum()
    }

    /// `W`, row by row.
    fn couplings(&self) -> Vec<f32> {
        let pairs = (0..CITIES).flat_map(|i| (0..CITIES).filter(move |j| *j != i).map(move |j| (i, j)));
        let unit = mean(pairs.map(|(i, j)| self.distance(i, j)));
        let mut couplings = vec![0.0; NEURONS * NEURONS];
        for i in 0..CITIES {
            for a in 0..CITIES {
                let row = &mut couplings[(i * CITIES + a) * NEURONS..][..NEURONS];
                for j in 0..CITIES {
                    let distance = (self.distance(i, j) / unit) as f32;
                    row[j * CITIES + (a + 1) % CITIES] -= distance;
                    row[j * CITIES + (a + CITIES - 1) % CITIES] -= distance;
                    row[j * CITIES + a] -= GAMMA;
                }
                row[i * CITIES + a] += ALPHA;
            }
        }
        couplings
    }

    /// What each start ends in: a tour, or none where two cities are at one place.
    fn anneal(&self, device: &Device, starts: usize) -> Result<Vec<Option<Tour>>> {
        let update = Update::default()
            .activation(Activation::SoftmaxBlocks { width: CITIES })
            .damping(DAMPING)
            .schedule(1.0 / COLD, STEPS);
        let mut rule = Rule::matrix(update);
        rule.beta = 1.0 / HOT;
        let mut memory = MemoryOptions::new(NEURONS, rule).value_dim(NEURONS).build(device)?;
        let mut units = vec![0.0; NEURONS * NEURONS];
        units.iter_mut().step_by(NEURONS + 1).for_each(|x| *x = 1.0);
        memory.add(Patterns::new(&self.couplings()).values(&units))?;

        let mut rng = Rng(99);
        let undecided: Vec<f32> = (0..starts * NEURONS).map(|_| 0.1 + 0.1 * rng.normal()).collect();
        let got = memory.retrieve_blocking(&undecided, &RetrieveOptions::steps(STEPS))?;
        Ok((0..starts).map(|start| decided(got.state_row(start))).collect())
    }

    /// The shortest tour, from city 0: the best way through each set of cities to each last one.
    fn shortest(&self) -> Tour {
        let sets = 1usize << CITIES;
        let mut best = vec![[(f64::INFINITY, 0); CITIES]; sets];
        best[1][0] = (0.0, 0);
        for set in 1..sets {
            for last in (0..CITIES).filter(|last| set >> last & 1 == 1) {
                for next in (0..CITIES).filter(|next| set >> next & 1 == 0) {
                    let length = best[set][last].0 + self.distance(last, next);
                    let to = &mut best[set | 1 << next][next];
                    if length < to.0 {
                        *to = (length, last);
                    }
                }
            }
        }
        let whole = |last: usize| best[sets - 1][last].0 + self.distance(last, 0);
        let mut last = (1..CITIES).min_by(|a, b| whole(*a).total_cmp(&whole(*b))).unwrap_or(0);
        let (mut set, mut tour) = (sets - 1, Vec::new());
        while tour.len() < CITIES {
            tour.push(last);
            let before = best[set][last].1;
            set &= !(1 << last);
            last = before;
        }
        tour
    }
}

/// The tour of a state: each city at its surest place.
fn decided(state: &[f32]) -> Option<Tour> {
    let mut tour = vec![None; CITIES];
    for (city, places) in state.chunks_exact(CITIES).enumerate() {
        let place = (0..CITIES).max_by(|a, b| places[*a].total_cmp(&places[*b]))?;
        if tour[place].replace(city).is_some() {
            return None;
        }
    }
    tour.into_iter().collect()
}

/// A map with what its starts ended in.
struct Annealed {
    map: Map,
    tours: Vec<Option<Tour>>,
    shortest: Tour,
    ratio: f64,
}

/// How often each road is taken, and the shortest tour over it, for each map.
fn draw(path: &Path, annealed: &[Annealed]) -> Result<()> {
    const SIDE: f64 = 250.0;
    const COLUMNS: usize = 3;
    let (width, height) = (COLUMNS * 310 + 10, 64 + 320 * annealed.len().div_ceil(COLUMNS));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         fill=\"#282828\" text-anchor=\"middle\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{middle}\" y=\"28\" font-size=\"18\">Tours of ten cities by annealed Potts neurons</text>\n\
         <text x=\"{middle}\" y=\"50\" font-size=\"13\" fill=\"#666\">wide: roads, by how many of the starts end with \
         them; thin: the shortest tour</text>\n",
        middle = width / 2
    );
    for (number, Annealed { map, tours, shortest, ratio }) in annealed.iter().enumerate() {
        let (left, top) = (10 + number % COLUMNS * 310, 64 + number / COLUMNS * 320);
        writeln!(
            svg,
            "<g transform=\"translate({left} {top})\">\n<rect x=\"4\" y=\"4\" width=\"294\" height=\"282\" rx=\"6\" \
             fill=\"#f7f7f5\"/>"
        )?;
        let at = |city: usize| {
            let [x, y] = map.places[city];
            (26.0 + x * SIDE, 20.0 + y * SIDE)
        };
        let mut taken = [[0u32; CITIES]; CITIES];
        for tour in tours.iter().flatten() {
            for step in 0..CITIES {
                let (from, to) = (tour[step], tour[(step + 1) % CITIES]);
                taken[from.min(to)][from.max(to)] += 1;
            }
        }
        for (from, roads) in taken.iter().enumerate() {
            for (to, count) in roads.iter().enumerate().filter(|(_, count)| **count > 0) {
                let ((x, y), (u, v)) = (at(from), at(to));
                let width = 1.0 + 11.0 * f64::from(*count) / tours.len() as f64;
                writeln!(
                    svg,
                    "<path d=\"M{x:.1} {y:.1}L{u:.1} {v:.1}\" stroke=\"#56b4e9\" stroke-opacity=\"0.6\" \
                     stroke-width=\"{width:.1}\" stroke-linecap=\"round\"/>"
                )?;
            }
        }
        let corners: Vec<String> =
            shortest.iter().map(|city| format!("{:.1},{:.1}", at(*city).0, at(*city).1)).collect();
        let corners = corners.join(" ");
        writeln!(svg, "<polygon points=\"{corners}\" fill=\"none\" stroke=\"#0072b2\" stroke-width=\"1.6\"/>")?;
        for city in 0..CITIES {
            let (x, y) = at(city);
            writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\" fill=\"#d55e00\" stroke=\"#fff\" stroke-width=\"1.5\"/>"
            )?;
        }
        writeln!(
            svg,
            "<text x=\"151\" y=\"304\" font-size=\"13\">mean {ratio:.3} times the shortest, {:.2}</text>\n</g>",
            map.length(shortest)
        )?;
    }
    svg.push_str("</svg>\n");
    std::fs::write(path, svg)?;
    Ok(())
}

#[test]
fn quick_form() {
    common::family::test(run);
}
