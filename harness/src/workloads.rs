//! What is measured: the sizes of `attractor bench` and of `benches/peers`, each strategy of the kernels at a size that
//! fills a large GPU, and the shapes of `attractor tune`.

use attractor::{Precision, RetrieveOptions, Rule, Separation, Similarity};

/// What is measured: `batch` queries against `patterns`, both of `dim` normal numbers.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Queries.
    pub batch: usize,
    /// Patterns.
    pub patterns: usize,
    /// Coordinates of both.
    pub dim: usize,
    /// The rule.
    pub rule: Rule,
    /// How patterns are stored.
    pub precision: Precision,
    /// With a tolerance until convergence, else as many updates as it says.
    pub options: RetrieveOptions,
    /// The share of the queries that are stored patterns under a little noise: they arrive at once.
    pub near: f64,
}

impl Workload {
    /// Operations of the products of one update of every query. Those of a sparse rule are of the first one: its second
    /// is over few patterns.
    pub fn flops(&self) -> f64 {
        let products = if self.rule.separation == Separation::Softmax { 4.0 } else { 2.0 };
        products * self.batch as f64 * self.patterns as f64 * self.dim as f64
    }

    /// Bytes of the patterns as they are stored.
    pub fn bytes(&self) -> f64 {
        let (numbers, rows) = (self.patterns as f64 * self.dim as f64, self.patterns as f64);
        match self.precision {
            Precision::F16 => 2.0 * numbers,
            Precision::I8 => numbers + 4.0 * rows,
            Precision::F32 | Precision::I8Exact => 4.0 * numbers,
            other => unreachable!("{other} is of another version"),
        }
    }
}

/// One size of `attractor bench`.
#[derive(Debug)]
pub struct Size {
    /// What `--sizes` knows it by.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// Queries.
    pub batch: usize,
    /// Patterns, before they are divided.
    pub patterns: usize,
    /// Coordinates of both.
    pub dim: usize,
    separation: Separation,
    /// How patterns are stored.
    pub precision: Precision,
    /// Whether the CPU engine and software adapters take a sixteenth of the patterns.
    pub divided: bool,
    /// Until convergence, where most queries stop early and a few do not.
    converges: bool,
}

const SOFTMAX: Size = Size {
    name: "",
    what: "",
    batch: 0,
    patterns: 0,
    dim: 0,
    separation: Separation::Softmax,
    precision: Precision::F32,
    divided: true,
    converges: false,
};
const ONE: Size = Size { batch: 1, patterns: 1 << 22, dim: 128, ..SOFTMAX };
const LARGE: Size = Size { batch: 4096, patterns: 1 << 16, ..SOFTMAX };
const SPARSE: Size = Size { batch: 64, patterns: 1 << 20, dim: 64, ..SOFTMAX };

/// The sizes of `attractor bench`.
pub const SIZES: [Size; 14] = [
    Size { name: "one", what: "one query", ..ONE },
    Size { name: "one-f16", what: "one query, patterns in f16", precision: Precision::F16, ..ONE },
    Size { name: "one-i8", what: "one query, patterns in 8 bits", precision: Precision::I8, ..ONE },
    Size { name: "eight", what: "eight queries", batch: 8, ..ONE },
    Size { name: "batch", what: "256 queries", batch: 256, patterns: 1 << 14, dim: 64, divided: false, ..SOFTMAX },
    Size { name: "large-64", what: "4,096 queries of 64", dim: 64, ..LARGE },
    Size { name: "large-128", what: "4,096 queries of 128", dim: 128, ..LARGE },
    Size { name: "large-128-f16", what: "the same, patterns in f16", dim: 128, precision: Precision::F16, ..LARGE },
    Size { name: "wide", what: "1,024 queries of 512", batch: 1024, patterns: 1 << 14, dim: 512, ..SOFTMAX },
    Size { name: "softmax", what: "64 queries, many patterns", ..SPARSE },
    Size { name: "sparsemax", what: "the same, sparsemax", separation: Separation::Sparsemax, ..SPARSE },
    Size { name: "entmax", what: "the same, entmax 1.5", separation: Separation::Entmax { alpha: 1.5 }, ..SPARSE },
    Size {
        name: "latency",
        what: "one query, few patterns",
        batch: 1,
        patterns: 10_000,
        dim: 128,
        divided: false,
        ..SOFTMAX
    },
    Size {
        name: "converge",
        what: "until convergence",
        batch: 1024,
        patterns: 1 << 14,
        dim: 64,
        converges: true,
        ..SOFTMAX
    },
];

impl Size {
    /// The size of a name.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        SIZES.iter().find(|size| size.name == name).ok_or_else(|| {
            let names: Vec<&str> = SIZES.iter().map(|size| size.name).collect();
            format!("expected some of {}", names.join(", "))
        })
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        // At this temperature most of the queries that `converges` makes settle at once, and the others wander.
        let beta = if self.converges { 0.3 } else { 1.0 / (self.dim as f32).sqrt() };
        Rule::new(Similarity::Dot, self.separation, beta)
    }

    /// The separation's name in tables.
    pub fn separation(&self) -> &'static str {
        match self.separation {
            Separation::Sparsemax => "sparsemax",
            Separation::Entmax { .. } => "entmax 1.5",
            _ => "softmax",
        }
    }

    /// Whether patterns are stored as halves.
    pub fn is_half(&self) -> bool {
        self.precision == Precision::F16
    }

    /// With one of `divide` patterns, and one at least.
    pub fn workload(&self, divide: usize) -> Workload {
        Workload {
            batch: self.batch,
            patterns: (self.patterns / divide).max(1),
            dim: self.dim,
            rule: self.rule(),
            precision: self.precision,
            options: if self.converges { RetrieveOptions::converge(24, 1e-4) } else { RetrieveOptions::default() },
            near: if self.converges { 0.97 } else { 0.0 },
        }
    }
}

/// A kind of retrieval that `attractor tune` times: `batch` queries of `dim` coordinates against `patterns` or more.
#[derive(Debug)]
pub struct LoadShape {
    /// In words.
    pub name: &'static str,
    /// Queries.
    pub batch: usize,
    /// Coordinates.
    pub dim: usize,
    /// Patterns at first.
    pub patterns: usize,
    /// Whether the rule is sparse (entmax 1.5) rather than softmax.
    pub sparse: bool,
}

/// The shapes of `attractor tune`, which fill no device: each is repeated some thousand times.
pub const TUNED_SHAPES: [LoadShape; 7] = [
    LoadShape { name: "one query", batch: 1, dim: 128, patterns: 4096, sparse: false },
    LoadShape { name: "few queries", batch: 12, dim: 64, patterns: 1024, sparse: false },
    LoadShape { name: "some queries", batch: 24, dim: 64, patterns: 1024, sparse: false },
    // 2^27 multiply-adds for the scores, from which a software adapter holds queries.
    LoadShape { name: "many queries", batch: 1024, dim: 64, patterns: 2048, sparse: false },
    LoadShape { name: "wide keys", batch: 64, dim: 512, patterns: 512, sparse: false },
    LoadShape { name: "queries of 128", batch: 256, dim: 128, patterns: 4096, sparse: false },
    LoadShape { name: "sparse rule", batch: 64, dim: 64, patterns: 2048, sparse: true },
];
