//! The weights of one query, from the record and the tally of its last step, and what is known of the memory.

use std::cmp::Ordering;

use crate::exact::energy::constant;
use crate::exact::threshold::Threshold;
use crate::exact::unnormalized::Unnormalized;
use crate::gpu::operands::{KernelRule, Weight};
use crate::retrieval::report::Statistics;
use crate::retrieval::top::Weighed;
use crate::rule::{Rule, Similarity};
use crate::store::{Layout, Names};

/// What answers are computed from, besides what the device returns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryFacts {
    pub layout: Layout,
    pub rule: Rule,
    /// The number of positions, freed ones included.
    pub patterns: usize,
    /// The number of stored patterns.
    pub stored: usize,
    /// The square of the largest norm of a key.
    pub largest_square: f64,
}

/// Words of a record and of a tally.
pub(super) const WORDS: u64 = 8;

/// An entry of a list, and the similarity of its pattern.
pub(crate) struct Listed {
    pub position: u32,
    pub score: f32,
    pub similarity: f32,
}

/// One query's record and tally, as `shaders/lib/records.wgsl` and `shaders/staged/weights.wgsl` have them.
pub(super) struct Weights {
    kind: KernelRule,
    unnormalized: Option<Unnormalized>,
    pub maximum: f64,
    s: f64,
    log_weight: f64,
    /// What was added up beside the rows.
    mass: f64,
    /// The sum that weights are divided by.
    pub total: f64,
    support: u32,
    sum: f64,
    log_sum: f64,
    pub score_sum: f64,
    entropy_sum: f64,
    largest: f64,
}

impl Weights {
    pub fn new(facts: &MemoryFacts, record: &[u32], tally: &[u32]) -> Self {
        let float = |word: u32| f64::from(f32::from_bits(word));
        let kind = KernelRule::of(facts.rule, facts.patterns as u64);
        let sum = float(tally[1]);
        let total = match kind {
            KernelRule::Softmax { .. } => float(record[2]),
            KernelRule::Unnormalized { .. } => kind.divisor().into(),
            _ => sum,
        };
        Self {
            kind,
            maximum: float(record[0]),
            s: float(record[1]),
            log_weight: float(record[5]),
            unnormalized: Unnormalized::of(&facts.rule, facts.rule.beta.into()),
            mass: float(record[2]),
            total,
            support: tally[0],
            sum,
            log_sum: float(tally[2]),
            score_sum: float(tally[3]),
            entropy_sum: float(tally[4]),
            largest: float(tally[6]),
        }
    }

    /// Without a tally: what weights follow from, but no statistics.
    pub fn of_record(facts: &MemoryFacts, record: &[u32]) -> Self {
        let this = Self::new(facts, record, &[0; WORDS as usize]);
        match this.kind {
            KernelRule::Unnormalized { .. } => this,
            _ => Self { total: f64::from(f32::from_bits(record[2])), ..this },
        }
    }

    /// `T`, where couplings of coordinates with themselves are taken away.
    pub fn of_self(&self) -> f64 {
        match self.kind {
            KernelRule::Unnormalized { without_self: true, .. } => self.mass / self.total,
            _ => 0.0,
        }
    }

    /// The weight of a score of rank `rank` from the largest.
    fn of(&self, score: f64, rank: usize) -> f64 {
        if let Some(unnormalized) = self.unnormalized {
            return unnormalized.count(score).weight;
        }
        let difference = score - self.maximum;
        let weight = match self.kind {
            KernelRule::Softmax { .. } => difference.exp(),
            KernelRule::Entmax { gain } => {
                Threshold::from_parts(f64::from(gain), self.maximum, self.log_weight, self.s).weight(score)
            }
            KernelRule::Top { k } if rank < k as usize => difference.exp(),
            KernelRule::Top { .. } | KernelRule::Unnormalized { .. } => 0.0,
        };
        weight / self.total
    }

    pub fn statistics(&self, patterns: usize) -> Statistics {
        if self.sum <= 0.0 {
            return Statistics::new(0, 0.0, 0.0, patterns);
        }
        let entropy = (self.sum * self.total.ln() - self.log_sum) / self.total;
        Statistics::new(self.support, entropy.exp() as f32, (self.largest / self.total) as f32, patterns)
    }

    /// The entries of a list as they are reported, largest score first.
    pub fn rank(&self, mut entries: Vec<Listed>, kind: Similarity, names: &Names) -> impl Iterator<Item = Weighed> {
        let order = |a: &Listed, b: &Listed| b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal);
        entries.sort_by(|a, b| order(a, b).then(a.position.cmp(&b.position)));
        entries.into_iter().enumerate().map(move |(rank, Listed { position, score, similarity })| {
            let weight = self.of(f64::from(score), rank) as f32;
            (names.id(position as usize), weight, kind.measure(f64::from(similarity)))
        })
    }

    /// The table of energies in the documentation of [`Retrieval::energy`], with the field of the query.
    pub fn energy(&self, facts: &MemoryFacts, state: &[f32], field: Option<&[f32]>) -> f64 {
        let beta = f64::from(facts.rule.beta);
        let product = |field: &[f32]| field.iter().zip(state).map(|(f, x)| f64::from(*f) * f64::from(*x)).sum::<f64>();
        let of_field = field.map_or(0.0, product);
        if let KernelRule::Unnormalized { weight, .. } = self.kind {
            // Potentials of powers are n + 1 times as large on the device.
            let divisor = match weight {
                Weight::Power(n) | Weight::Rectified(n) => f64::from(n + 1),
                Weight::Step(_) => 1.0,
            };
            return -f64::from(facts.rule.update.gain) * self.score_sum / divisor / beta - of_field;
        }
        let square: f64 = state.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let free = match self.kind {
            // No pattern left: neither weights nor an entropy.
            KernelRule::Entmax { .. } if self.total <= 0.0 => 0.0,
            KernelRule::Entmax { gain } => {
                let alpha = 1.0 + f64::from(gain);
                let mean = self.maximum + self.score_sum / self.total;
                let gain = f64::from(gain);
                // (1 - sum p^alpha) / (alpha gain) for p = w / total.
                let log = -gain * self.total.ln();
                let entropy = (-log.exp_m1() / gain + log.exp() * self.entropy_sum / self.total) / alpha;
                mean + entropy
            }
            _ => self.maximum + self.total.ln(),
        };
        let constant = constant(&facts.rule, facts.stored);
        match facts.rule.similarity {
            Similarity::Dot => -free / beta + 0.5 * square + constant + 0.5 * facts.largest_square - of_field,
            _ => -free / beta - of_field,
        }
    }
}
