//! Resonator networks take products of vectors apart (Frady, Kent, Olshausen and Sommer 2020): each factor has a memory
//! with its codebook, and in turn asks it by the product of what is seen and of what the other factors are thought to
//! be.
//!
//! First a scene: each object is the product of a shape, a colour and a place, and the scene one vector, the sum of its
//! objects. Many random starts read them out. Then the published shares of problems that are solved: of bipolar vectors
//! at the sizes of Kent, Frady, Sommer and Olshausen (2020), and of phasors, where attention in place of outer products
//! (Yeung, Poduval and Imani 2024) finds more of the factors.
//!
//! All problems of a size are one call: the codebooks of a factor lie in one memory, and each query sees the rows of
//! its own.
//!
//! ```sh
//! cargo run --release --example resonator -- [--device cpu|vulkan|gl] [--software] [--quick] [--out FOLDER]
//! ```
//!
//! Draws `scene.svg`.

mod common;

use std::collections::BTreeMap;
use std::f32::consts::TAU;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use attractor::network::{Network, NetworkRetrieval, Product, VectorId};
use attractor::rule::{Activation, Update};
use attractor::{Device, Memory, RetrieveOptions, Rule, Separation, Similarity};
use common::Result;
use common::family::{Figures, Options, bipolar};
use harness::Rng;

/// Coordinates, factors, vectors of a book, the share solved and its tolerance, books, of ten problems each, and the
/// iterations at most, in thousandths of the number of products.
///
/// The first three are at their operational capacity: 0.99 within one thousandth. For how long the others were given is
/// not published, and decides their shares: 400 problems each gave 0.98, 0.94 and 0.83 within one thousandth.
const BIPOLAR: [(usize, usize, usize, f64, f64, usize, f64); 6] = [
    (1500, 3, 79, 0.99, 0.015, 40, 1.0),
    (1000, 2, 340, 0.99, 0.015, 40, 1.0),
    (2000, 4, 41, 0.99, 0.015, 40, 1.0),
    (1500, 3, 90, 0.985, 0.03, 10, 1.3),
    (1500, 3, 110, 0.967, 0.03, 10, 1.3),
    (1500, 3, 130, 0.888, 0.06, 10, 1.3),
];
/// Numbers of phasors, and the shares solved by attention and by outer products. States of attention are averages of a
/// book, and start as its mean: where all are unsure, their product is small, and attention not yet sharp. Those of
/// outer products are phasors from the start. The shares are of problems whose factors are found with their signs: of
/// those of outer products many have two factors of the wrong sign, whose product is right, and up to signs they are
/// ahead.
const PHASORS: [(usize, f64, f64); 3] = [(128, 0.45, 0.23), (256, 0.67, 0.41), (512, 0.92, 0.64)];

fn main() -> ExitCode {
    common::family::main(run)
}

fn run(options: &Options) -> Result<()> {
    scene(options)?;
    println!();
    let mut figures = Figures::new();
    let rows = if options.quick { &BIPOLAR[..1] } else { &BIPOLAR };
    for &(dim, factors, size, expected, tolerance, books, thousandths) in rows {
        let problems = Problems::bipolar(dim, factors, size, options.size(books, 4), 10);
        let most = (0.001 * thousandths * (size as f64).powi(factors as i32)).ceil();
        let solved = problems.solved(&options.device, Rule::resonator(), false, most as u32)?;
        let tolerance = if options.quick { 0.06 } else { tolerance };
        let figure = format!("bipolar, D {dim}, F {factors}, M {size}: up to signs");
        figures.row(&figure, expected, tolerance, solved.up_to_signs);
    }
    for (dim, by_attention, by_products) in PHASORS {
        let problems = Problems::phasors(dim, 4, 9, 100);
        let phasors = Update::default().activation(Activation::Phasor);
        let linear = Rule::new(Similarity::Dot, Separation::Linear, 1.0).then(phasors);
        let attention = problems.solved(&options.device, Rule::softmax(250.0 / dim as f32), true, 100)?;
        let products = problems.with_phasors().solved(&options.device, linear, true, 100)?;
        let rows = [("attention", by_attention, attention), ("outer products", by_products, products)];
        for (name, expected, solved) in rows {
            let figure = format!("phasors, D {dim}, F 4, M 9: {name}");
            figures.row(&figure, expected, 0.12, solved.exactly);
            Figures::shown(&figure, None, solved.up_to_signs, "up to signs");
        }
        let (attention, products) = (attention.exactly, products.exactly);
        if attention <= products {
            return Err(format!("D {dim}: attention solves {attention}, outer products {products}").into());
        }
    }
    figures.conclude()
}

/// A network of which each factor is updated in turn, by the product of the scene and all other factors.
fn network(memories: &[Memory], complex: bool) -> (Network<'_>, Vec<VectorId>) {
    let mut network = Network::new(memories.first().map_or(0, Memory::dim));
    let seen = network.vector();
    let factors: Vec<VectorId> = memories.iter().map(|_| network.vector()).collect();
    for (factor, memory) in factors.iter().zip(memories) {
        let others = factors.iter().filter(|other| *other != factor);
        let first = if complex { Product::complex(seen) } else { Product::real(seen) };
        network.update(*factor, memory, others.fold(first, |product, other| product.times_conjugate(*other)));
    }
    (network, factors)
}

fn memory(device: &Device, dim: usize, rule: Rule, rows: &[f32]) -> Result<Memory> {
    let mut memory = Memory::new(device, dim, rule)?;
    memory.add(rows)?;
    Ok(memory)
}

/// Shares of problems that are solved.
#[derive(Clone, Copy, Debug)]
struct Solved {
    /// Each factor is found.
    exactly: f64,
    /// Each factor is found, or its negative.
    up_to_signs: f64,
}

/// Products to take apart.
struct Problems {
    /// Floats of a vector.
    dim: usize,
    /// Vectors of a book.
    size: usize,
    /// The books of each factor, one after the other.
    books: Vec<Vec<f32>>,
    /// The book of each problem, and its vector of each factor.
    picks: Vec<(usize, Vec<usize>)>,
    seen: Vec<f32>,
    /// Where each factor starts from, for each problem.
    starts: Vec<Vec<f32>>,
}

impl Problems {
    /// Of bipolar vectors; the signs of the sums of the books are the starts, with 0 as 1.
    fn bipolar(dim: usize, factors: usize, size: usize, books: usize, of_each: usize) -> Self {
        let mut rng = Rng((dim * 1000 + size) as u64);
        let rows = (0..factors).map(|_| bipolar(&mut rng, books * size * dim)).collect();
        let start = |sum: f32| if sum < 0.0 { -1.0 } else { 1.0 };
        Self::new(
            dim,
            size,
            rows,
            books,
            of_each,
            &mut rng,
            |a, b| a.iter_mut().zip(b).for_each(|(a, b)| *a *= b),
            start,
        )
    }

    /// Of phasors, one problem a book; the means of the books are the starts.
    fn phasors(count: usize, factors: usize, size: usize, books: usize) -> Self {
        let mut rng = Rng(count as u64);
        let mut random = |length: usize| -> Vec<f32> {
            let angles: Vec<f32> = (0..length).map(|_| TAU * rng.uniform()).collect();
            angles.into_iter().flat_map(|angle| [angle.cos(), angle.sin()]).collect()
        };
        let rows = (0..factors).map(|_| random(books * size * count)).collect();
        let times = |a: &mut [f32], b: &[f32]| {
            for (a, b) in a.chunks_exact_mut(2).zip(b.chunks_exact(2)) {
                (a[0], a[1]) = (a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]);
            }
        };
        Self::new(2 * count, size, rows, books, 1, &mut rng, times, |sum| sum / size as f32)
    }

    #[expect(clippy::too_many_arguments, reason = "what the two kinds of vectors differ in")]
    fn new(
        dim: usize,
        size: usize,
        books: Vec<Vec<f32>>,
        count: usize,
        of_each: usize,
        rng: &mut Rng,
        times: impl Fn(&mut [f32], &[f32]),
        start: impl Fn(f32) -> f32,
    ) -> Self {
        let mut problems =
            Self { dim, size, starts: vec![Vec::new(); books.len()], books, picks: Vec::new(), seen: Vec::new() };
        for problem in 0..count * of_each {
            let book = problem / of_each;
            let picks: Vec<usize> = problems.books.iter().map(|_| rng.below(size)).collect();
            let mut seen = problems.vector(0, book, picks[0]).to_vec();
            for (factor, pick) in picks.iter().enumerate().skip(1) {
                times(&mut seen, problems.vector(factor, book, *pick));
            }
            problems.seen.extend(seen);
            for factor in 0..picks.len() {
                let mut sum = vec![0.0; dim];
                for vector in problems.books[factor][book * size * dim..][..size * dim].chunks_exact(dim) {
                    sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
                }
                problems.starts[factor].extend(sum.into_iter().map(&start));
            }
            problems.picks.push((book, picks));
        }
        problems
    }

    fn vector(&self, factor: usize, book: usize, pick: usize) -> &[f32] {
        &self.books[factor][(book * self.size + pick) * self.dim..][..self.dim]
    }

    /// The same problems, whose starts are phasors, as the states of outer products are.
    fn with_phasors(mut self) -> Self {
        for pair in self.starts.iter_mut().flat_map(|starts| starts.chunks_exact_mut(2)) {
            let magnitude = pair[0].hypot(pair[1]).max(1e-12);
            (pair[0], pair[1]) = (pair[0] / magnitude, pair[1] / magnitude);
        }
        self
    }

    /// The shares of problems whose factors are all found.
    fn solved(&self, device: &Device, rule: Rule, complex: bool, most: u32) -> Result<Solved> {
        let memories: Result<Vec<Memory>> =
            self.books.iter().map(|rows| memory(device, self.dim, rule, rows)).collect();
        let memories = memories?;
        let (network, factors) = network(&memories, complex);
        let rows: Vec<Range<usize>> =
            self.picks.iter().map(|(book, _)| book * self.size..(book + 1) * self.size).collect();
        let starts: Vec<&[f32]> = [&self.seen].into_iter().chain(&self.starts).map(Vec::as_slice).collect();
        let found = network.retrieve_blocking(&starts, &RetrieveOptions::converge(most, 1e-5).rows(&rows))?;
        let share = |of: fn(f32) -> f32| {
            let solved = |problem: &usize| {
                let (book, picks) = &self.picks[*problem];
                (0..picks.len()).all(|factor| {
                    let state = found.state_row(factors[factor], *problem);
                    let likeness = |pick: usize| {
                        let vector = self.vector(factor, *book, pick);
                        of(vector.iter().zip(state).map(|(a, b)| a * b).sum())
                    };
                    (0..self.size).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))) == Some(picks[factor])
                })
            };
            let count = self.picks.len();
            (0..count).filter(solved).count() as f64 / count as f64
        };
        Ok(Solved { exactly: share(|product| product), up_to_signs: share(f32::abs) })
    }
}

const SHAPES: [&str; 5] = ["circle", "square", "triangle", "diamond", "cross"];
const COLOURS: [(&str, &str); 6] = [
    ("blue", "#0072b2"),
    ("orange", "#e69f00"),
    ("green", "#009e73"),
    ("red", "#d55e00"),
    ("pink", "#cc79a7"),
    ("black", "#333333"),
];
const PLACES: [&str; 9] =
    ["top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right"];
/// Shape, colour and place of each object.
const SCENE: [[usize; 3]; 4] = [[0, 3, 2], [2, 0, 4], [1, 2, 6], [4, 1, 0]];

/// Reads a scene out of one vector.
fn scene(options: &Options) -> Result<()> {
    const DIM: usize = 2000;
    let mut rng = Rng(7);
    let books = [SHAPES.len(), COLOURS.len(), PLACES.len()].map(|size| bipolar(&mut rng, size * DIM));
    let vector = |factor: usize, pick: usize| &books[factor][pick * DIM..][..DIM];
    let product = |object: &[usize; 3]| -> Vec<f32> {
        let [shape, colour, place] = [0, 1, 2].map(|factor| vector(factor, object[factor]));
        shape.iter().zip(colour).zip(place).map(|((a, b), c)| a * b * c).collect()
    };
    let mut seen = vec![0.0; DIM];
    for object in &SCENE {
        seen.iter_mut().zip(product(object)).for_each(|(sum, x)| *sum += x);
    }

    let starts = options.size(100, 60);
    let memories: Result<Vec<Memory>> =
        books.iter().map(|rows| memory(&options.device, DIM, Rule::resonator(), rows)).collect();
    let memories = memories?;
    let (network, factors) = network(&memories, false);
    let random: Vec<Vec<f32>> = factors.iter().map(|_| bipolar(&mut rng, starts * DIM)).collect();
    let begin: Vec<&[f32]> = [&seen].into_iter().chain(&random).map(Vec::as_slice).collect();
    let read = network.retrieve_blocking(&begin, &RetrieveOptions::converge(100, 1e-6))?;

    let mut found: BTreeMap<[usize; 3], usize> = BTreeMap::new();
    for start in 0..starts {
        let object = [0, 1, 2].map(|factor| nearest(&read, factors[factor], start, &books[factor], DIM));
        // What is not in the scene is near none of it.
        let likeness = common::family::overlap(&seen, &product(&object));
        if likeness > 0.5 {
            *found.entry(object).or_insert(0) += 1;
        }
    }
    println!("One vector of {DIM} numbers, {starts} random starts:");
    for ([shape, colour, place], count) in &found {
        println!("  {} {}, {}: by {count} starts", COLOURS[*colour].0, SHAPES[*shape], PLACES[*place]);
    }
    let path = options.picture("scene.svg")?;
    draw(&path, &seen, found.keys())?;
    println!("drawn: {}", path.display());
    let mut expected = SCENE;
    expected.sort_unstable();
    match found.into_keys().eq(expected) {
        true => Ok(()),
        false => Err("the scene was another one".into()),
    }
}

/// The vector of a book that is most like a state, up to its sign.
fn nearest(read: &NetworkRetrieval, factor: VectorId, query: usize, book: &[f32], dim: usize) -> usize {
    let state = read.state_row(factor, query);
    let likeness: Vec<f64> =
        book.chunks_exact(dim).map(|vector| common::family::overlap(vector, state).abs()).collect();
    (0..likeness.len()).max_by(|a, b| likeness[*a].total_cmp(&likeness[*b])).unwrap_or(0)
}

/// The scene, its vector as it is seen, and what was read.
fn draw<'a>(path: &Path, seen: &[f32], found: impl Iterator<Item = &'a [usize; 3]>) -> Result<()> {
    const SIDE: usize = 240;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"880\" height=\"310\" font-family=\"sans-serif\" \
         font-size=\"15\" fill=\"#282828\">\n<rect width=\"880\" height=\"310\" fill=\"#fff\"/>\n\
         <text x=\"140\" y=\"290\" text-anchor=\"middle\">the scene</text>\n\
         <text x=\"440\" y=\"290\" text-anchor=\"middle\">as one vector of 2,000 numbers</text>\n\
         <text x=\"740\" y=\"290\" text-anchor=\"middle\">as the resonators read it</text>\n",
    );
    let found: Vec<[usize; 3]> = found.copied().collect();
    for (left, objects) in [(20, &SCENE[..]), (620, &found[..])] {
        writeln!(svg, "<g transform=\"translate({left} 25)\">")?;
        for line in 0..=3 {
            let at = line * SIDE / 3;
            writeln!(svg, "<path d=\"M{at} 0V{SIDE}M0 {at}H{SIDE}\" stroke=\"#ddd\" stroke-width=\"1.5\"/>")?;
        }
        for [shape, colour, place] in objects {
            let (x, y) = ((place % 3 * 2 + 1) * SIDE / 6, (place / 3 * 2 + 1) * SIDE / 6);
            let outline = match SHAPES[*shape] {
                "circle" => "<circle r=\"26\"/>",
                "square" => "<rect x=\"-24\" y=\"-24\" width=\"48\" height=\"48\"/>",
                "triangle" => "<path d=\"M0 -28L29 23H-29Z\"/>",
                "diamond" => "<path d=\"M0 -31L31 0L0 31L-31 0Z\"/>",
                _ => "<path d=\"M-9 -28H9V-9H28V9H9V28H-9V9H-28V-9H-9Z\"/>",
            };
            writeln!(svg, "<g transform=\"translate({x} {y})\" fill=\"{}\">{outline}</g>", COLOURS[*colour].1)?;
        }
        writeln!(svg, "</g>")?;
    }
    // 50 numbers a line, dark where they are below 0: one path for each shade.
    let largest = seen.iter().fold(1.0f32, |largest, x| largest.max(x.abs()));
    let mut shades: BTreeMap<u8, String> = BTreeMap::new();
    for (place, x) in seen.iter().enumerate() {
        let path = shades.entry((127.5 + 115.0 * x / largest) as u8).or_default();
        write!(path, "M{:.1} {}h4.8v6h-4.8z", 4.8 * (place % 50) as f64, 6 * (place / 50))?;
    }
    writeln!(svg, "<g transform=\"translate(320 25)\" shape-rendering=\"crispEdges\">")?;
    for (shade, path) in shades {
        writeln!(svg, "<path d=\"{path}\" fill=\"#{shade:02x}{shade:02x}{shade:02x}\"/>")?;
    }
    writeln!(
        svg,
        "</g>\n<path d=\"M272 145h36m-8 -7l8 7l-8 7M572 145h36m-8 -7l8 7l-8 7\" stroke=\"#666\" stroke-width=\"2\" \
         fill=\"none\"/>\n</svg>"
    )?;
    std::fs::write(path, svg)?;
    Ok(())
}

#[test]
fn quick_form() {
    common::family::test(run);
}
