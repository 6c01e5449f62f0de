//! The portable path of the CPU engine at sizes that an interpreter can run: `./habits.sh miri` runs this program under
//! Miri, which finds undefined behaviour in the engine's `unsafe` code. Without it these are ordinary tests.

use attractor::reference::Problem;
use attractor::{Device, Memory, MemoryOptions, Precision, RetrieveOptions, Rule, Separation, Similarity};

const DIM: usize = 5;
/// No multiple of any number of lanes.
const PATTERNS: usize = 37;

/// Numbers in -1..1 that differ from row to row.
fn numbers(seed: usize, length: usize) -> Vec<f32> {
    (0..length).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// Retrieves by `rule` and compares with the reference.
fn check(rule: Rule, precision: Precision, batch: usize, patterns: usize) {
    let (keys, queries) = (numbers(1, patterns * DIM), numbers(2, batch * DIM));
    let mut memory = MemoryOptions::new(DIM, rule).precision(precision).build(&Device::cpu()).unwrap();
    let ids = memory.add(&keys).unwrap();
    let got = memory.retrieve_blocking(&queries, &RetrieveOptions::steps(2).top(3)).unwrap();
    // Rows as they are stored.
    let stored: Vec<f32> = ids.iter().flat_map(|id| memory.get(id).unwrap().key).collect();
    let problem = Problem::new(rule, DIM, &stored);
    for (b, query) in queries.chunks(DIM).enumerate() {
        let expected = problem.retrieve(query, 2);
        for (got, expected) in got.output_row(b).iter().zip(&expected.output) {
            let error = (f64::from(*got) - expected).abs();
            assert!(error < 1e-5, "{rule:?}, {precision:?}, query {b} of {batch}: {error:e} from the reference");
        }
    }
}

const SEPARATIONS: [Separation; 5] = [
    Separation::Softmax,
    Separation::Softmax1,
    Separation::Sparsemax,
    Separation::Entmax { alpha: 1.5 },
    Separation::TopK { k: 3 },
];

#[test]
fn one_query() {
    for separation in SEPARATIONS {
        check(Rule::new(Similarity::Dot, separation, 2.0), Precision::F32, 1, PATTERNS);
    }
    for similarity in [Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan] {
        check(Rule::new(similarity, Separation::Softmax, 2.0), Precision::F32, 1, PATTERNS);
    }
}

/// Six queries make a panel at every level.
#[test]
fn a_panel_of_queries() {
    check(Rule::softmax(2.0), Precision::F32, 6, 9);
}

#[test]
fn narrow_stores() {
    check(Rule::softmax(2.0), Precision::F16, 1, PATTERNS);
    check(Rule::softmax(2.0), Precision::I8, 1, PATTERNS);
}

#[test]
fn rows_come_and_go() {
    let rule = Rule::new(Similarity::Euclidean, Separation::Softmax, 20.0);
    let mut memory = Memory::new(&Device::cpu(), DIM, rule).unwrap();
    let rows = numbers(3, 3 * DIM);
    let ids: Vec<_> = memory.add(&rows).unwrap().iter().collect();
    memory.remove(ids[1]).unwrap();
    let added = memory.add(&rows[DIM..2 * DIM]).unwrap();
    assert_eq!(memory.len(), 3);
    let got = memory.retrieve_blocking(&rows[DIM..2 * DIM], &RetrieveOptions::default().top(1)).unwrap();
    assert_eq!(got.top.unwrap().ids[0], added.iter().next());
}
