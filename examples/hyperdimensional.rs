//! Sets as single vectors, as hyperdimensional computing has them (Kanerva 2009; Clarkson, Ubaru and Yang 2023): random
//! bipolar vectors stand for symbols.
//!
//! A bundle, the sum of the vectors of its members, is asked by dot products: the `n` symbols nearest to a bundle of
//! `n` are its members but for a few. Membership by power 2 keeps, in place of the sum, the quadratic form `sum_i s_i
//! <k_i, x>^2` of the members with random signs `s_i`, half of each: of a member it is near `s_i d^2`, of others near
//! 0. As a memory, the members are keys, their signs the values, and the weights are `z^2`.
//!
//! ```sh
//! cargo run --release --example hyperdimensional -- [--device cpu|vulkan|gl] [--software] [--quick]
//! ```

mod common;

use std::process::ExitCode;

use attractor::{Device, Memory, MemoryOptions, Patterns, RetrieveOptions, Rule, Separation, Similarity};
use common::Result;
use common::family::{Figures, Options, bipolar, mean};
use harness::Rng;

/// Coordinates, symbols, members, and the share of the members that are found.
const BUNDLES: [(usize, usize, usize, f64); 2] = [(500, 1000, 20, 0.973), (1000, 1000, 50, 0.952)];

fn main() -> ExitCode {
    common::family::main(run)
}

fn run(options: &Options) -> Result<()> {
    let mut figures = Figures::new();
    for (dim, symbols, members, expected) in BUNDLES {
        let found = bundles(options, dim, symbols, members)?;
        let figure = format!("bundles, d {dim}, {members} of {symbols}: members found");
        figures.row(&figure, expected, 0.02, found);
    }
    let (dim, members) = (256, 50);
    let (mean, spread) = membership(&options.device, dim, members, options.size(40, 10))?;
    figures.row(&format!("power 2, d {dim}, n {members}: members' mean / d^2"), 1.0, 0.02, mean);
    figures.row(&format!("power 2, d {dim}, n {members}: others' spread / d^2"), 0.039, 0.05 * 0.039, spread);
    figures.conclude()
}

/// The share of the members of random bundles that are among the symbols nearest to them.
fn bundles(options: &Options, dim: usize, symbols: usize, members: usize) -> Result<f64> {
    let mut shares = Vec::new();
    for book in 0..options.size(10, 2) {
        let mut rng = Rng::stream(1, book as u64);
        let vectors = bipolar(&mut rng, symbols * dim);
        let mut memory = Memory::new(&options.device, dim, Rule::new(Similarity::Dot, Separation::Linear, 1.0))?;
        let ids = memory.add(&vectors)?;
        let (mut bundles, mut sets) = (Vec::new(), Vec::new());
        for _ in 0..options.size(100, 30) {
            let mut set = Vec::new();
            while set.len() < members {
                let symbol = rng.below(symbols);
                if !set.contains(&symbol) {
                    set.push(symbol);
                }
            }
            let mut bundle = vec![0.0; dim];
            for symbol in &set {
                for (sum, x) in bundle.iter_mut().zip(&vectors[symbol * dim..]) {
                    *sum += x;
                }
            }
            bundles.extend(bundle);
            sets.push(set);
        }
        let hits = memory.search_blocking(&bundles, members)?;
        for (set, found) in sets.iter().zip(hits.ids.chunks_exact(members)) {
            let right = found.iter().flatten().filter(|id| set.iter().any(|symbol| ids.get(*symbol) == Some(**id)));
            shares.push(right.count() as f64 / members as f64);
        }
    }
    Ok(mean(shares))
}

/// The mean of members, times their signs, and the spread of vectors that are none, over `d^2`.
fn membership(device: &Device, dim: usize, members: usize, sets: usize) -> Result<(f64, f64)> {
    let square = (dim * dim) as f64;
    let (mut of_members, mut squares) = (Vec::new(), Vec::new());
    for set in 0..sets {
        let mut rng = Rng::stream(2, set as u64);
        let vectors = bipolar(&mut rng, members * dim);
        let signs: Vec<f32> = (0..members).map(|member| if member % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let rule = Rule::new(Similarity::Dot, Separation::Power { n: 2 }, 1.0);
        let mut memory = MemoryOptions::new(dim, rule).value_dim(1).build(device)?;
        memory.add(Patterns::new(&vectors).values(&signs))?;
        let one = RetrieveOptions::default();
        let got = memory.retrieve_blocking(&vectors, &one)?;
        of_members.extend(got.output.iter().zip(&signs).map(|(y, sign)| f64::from(y * sign) / square));
        let others = memory.retrieve_blocking(&bipolar(&mut rng, 500 * dim), &one)?;
        squares.extend(others.output.iter().map(|y| (f64::from(*y) / square).powi(2)));
    }
    Ok((mean(of_members), mean(squares).sqrt()))
}

#[test]
fn quick_form() {
    common::family::test(run);
}
