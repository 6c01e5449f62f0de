//! What `attractor bench` measures: each regime of the kernels, at a size that fills a large GPU.

use attractor::{Precision, RetrieveOptions, Rule, Separation, Similarity};

use super::job::Load;

/// One size.
#[derive(Debug)]
pub struct Size {
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    pub batch: usize,
    pub patterns: usize,
    pub dim: usize,
    separation: Separation,
    precision: Precision,
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

    pub fn rule(&self) -> Rule {
        // At this temperature most of the queries that `converges` makes settle at once, and the others wander.
        let beta = if self.converges { 0.3 } else { 1.0 / (self.dim as f32).sqrt() };
        Rule::new(Similarity::Dot, self.separation, beta)
    }

    pub fn separation(&self) -> &'static str {
        match self.separation {
            Separation::Sparsemax => "sparsemax",
            Separation::Entmax { .. } => "entmax 1.5",
            _ => "softmax",
        }
    }

    pub fn is_half(&self) -> bool {
        self.precision == Precision::F16
    }

    pub fn stored(&self) -> &'static str {
        match self.precision {
            Precision::F16 => "f16",
            Precision::I8 => "i8",
            Precision::F32 => "f32",
        }
    }

    /// With one of `divide` patterns, and one at least.
    pub fn load(&self, divide: usize) -> Load {
        Load {
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
