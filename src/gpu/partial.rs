//! Partial states of single queries over some of the patterns. Softmax is one update whose sums are kept apart; of the
//! other rules the device lists the candidates, and the host scores these again, exactly. A list that overflows, or that
//! cannot hold what top-k selects, is made on the host from scores in full.

use std::collections::BTreeSet;
use std::ops::Range;

use super::answers::Facts;
use super::batch::{self, PART, Part};
use super::engine::Engine;
use super::kernels::common::{LIST_CAPACITY, LIST_TOP};
use super::operands::{KernelRule, Operands};
use super::readback::Wait;
use super::schedule::Schedule;
use super::targets::Place;
use super::task::{Goal, Task};
use crate::error::{Error, Result};
use crate::exact::scores::Scorer;
use crate::partial::merge::prune;
use crate::partial::options::PartialOptions;
use crate::partial::state::{Body, Candidate, Partial};
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::weight_queries::WeightQueries;
use crate::rule::{Rule, Separation};
use crate::store::{Alive, View};

/// The score of a pattern that does not count, and the smallest of one that does: `shaders/lib/score.wgsl`.
const NO_SCORE: f32 = -1.2e38;
const SMALLEST_SCORE: f32 = -1.0e38;

/// Checked queries, and the patterns that each may use.
struct Asked<'a> {
    queries: &'a [f32],
    options: &'a PartialOptions,
    alive: Option<&'a Alive>,
    subset: Range<usize>,
    /// All patterns, inside the subset or not.
    stored: usize,
    wait: Wait,
}

/// What is asked of the device for some of the queries.
enum Wants {
    /// Lists of candidates: heads first, entries from the byte `entries` on.
    Lists { kind: KernelRule, entries: u64 },
    /// The scores of all patterns.
    Scores,
}

impl Asked<'_> {
    /// The positions that query `b` may use.
    fn usable(&self, b: usize) -> impl Iterator<Item = usize> {
        let (alive, mask, stored) = (self.alive, self.options.mask.as_ref(), self.stored);
        self.subset
            .clone()
            .filter(move |&i| alive.is_none_or(|alive| alive[i]) && mask.is_none_or(|mask| mask.keeps(b, i, stored)))
    }
}

impl Engine {
    /// The partial states of checked queries over the patterns that `options` name.
    pub async fn partials(
        &self,
        queries: &[f32],
        options: &PartialOptions,
        view: &View,
        wait: Wait,
    ) -> Result<Vec<Partial>> {
        let alive = view.alive();
        let stored = self.windows.len();
        let subset = options.range(stored);
        let batch = queries.len() / self.layout.dim;
        let asked = Asked { queries, options, alive, subset, stored, wait };
        // A mask of one row says the same of every query.
        let same = options.mask.as_ref().is_none_or(|mask| !mask.is_per_query());
        let all = asked.usable(0).count() as u64;
        let patterns: Vec<u64> = (0..batch).map(|b| if same { all } else { asked.usable(b).count() as u64 }).collect();
        let bodies = match self.rule.separation {
            // An empty part asks nothing of the device.
            _ if batch == 0 || asked.subset.is_empty() => (0..batch).map(|_| self.nothing()).collect(),
            Separation::Softmax | Separation::Softmax1 => self.means(&asked, &patterns).await?,
            _ => self.candidates_of_all(&asked).await?,
        };
        let (dim, value_dim) = (self.layout.dim, self.layout.value_dim);
        let partial = |(body, patterns)| Partial { rule: self.rule, dim, value_dim, patterns, body };
        Ok(bodies.into_iter().zip(patterns).map(partial).collect())
    }

    fn nothing(&self) -> Body {
        Body::nothing(self.rule.separation, self.layout.dim + self.layout.value_dim.unwrap_or(0))
    }

    async fn means(&self, asked: &Asked<'_>, patterns: &[u64]) -> Result<Vec<Body>> {
        // Softmax1 is softmax until the parts are finished.
        let rule = Rule { separation: Separation::Softmax, ..self.rule };
        let options = RetrieveOptions { mask: asked.options.mask.clone(), ..RetrieveOptions::default().statistics() };
        let facts = Facts { rule, ..self.facts(asked.alive) };
        let shape = self.shape_of(rule, asked.subset.len() as u64, patterns.len(), &options);
        let sizing = self.sizing(shape, &options);
        let mut bodies = Vec::with_capacity(patterns.len());
        for part in self.parts(patterns.len(), &sizing, &options) {
            let workspace = self.workspace(&sizing)?;
            let whole = batch::Asked {
                queries: asked.queries,
                options: &options,
                weighed: &WeightQueries::None,
                alive: asked.alive,
                facts,
                sizing: &sizing,
                workspace: &workspace,
            };
            let Part { task, target, staging, laid } = self.part(&whole, part.clone())?;
            let operands = Operands { rule, ..task.operands };
            let task = Task { operands, range: asked.subset.clone(), ..task };
            let schedule = Schedule::new(&self.context, None, [task]);
            let readback = self.context.submit(schedule, &target, staging, asked.wait)?;
            self.give_back(workspace);
            let bytes = readback.get(asked.wait).await?;
            bodies.extend(laid.answers.means(&bytes, laid.stamp, &patterns[part])?.into_iter().map(Body::Mean));
        }
        Ok(bodies)
    }

    async fn candidates_of_all(&self, asked: &Asked<'_>) -> Result<Vec<Body>> {
        let batch = asked.queries.len() / self.layout.dim;
        let mut bodies = Vec::with_capacity(batch);
        let row = 4 * self.layout.key_stride().max(2 * LIST_CAPACITY as usize);
        let part = (PART as usize / row).max(1);
        for first in (0..batch).step_by(part) {
            let part: Vec<usize> = (first..batch.min(first + part)).collect();
            let chosen = self.chosen(asked, &part).await?;
            let positions: BTreeSet<usize> = chosen.iter().flatten().copied().collect();
            let positions: Vec<usize> = positions.into_iter().collect();
            let patterns = self.read(&positions, asked.wait).await?;
            for (query, chosen) in part.into_iter().zip(chosen) {
                let scorer = Scorer::new(self.rule, &asked.queries[query * self.layout.dim..][..self.layout.dim]);
                let candidate = |position: usize| {
                    let pattern = &patterns[positions.partition_point(|other| *other < position)];
                    let score = scorer.score(&pattern.key, pattern.bias);
                    let row = pattern.key.iter().chain(pattern.value.iter().flatten()).copied().collect();
                    Candidate { score, id: asked.options.first_id.wrapping_add(position as u64), row }
                };
                let mut candidates: Vec<Candidate> = chosen.into_iter().map(candidate).collect();
                prune(self.rule.separation, &mut candidates);
                bodies.push(Body::Candidates(candidates));
            }
        }
        Ok(bodies)
    }

    /// For each query of `part` the positions of the patterns that can have weight.
    async fn chosen(&self, asked: &Asked<'_>, part: &[usize]) -> Result<Vec<Vec<usize>>> {
        let few = asked.subset.len() <= LIST_CAPACITY as usize;
        let (listed, kind) = match self.rule.separation {
            Separation::TopK { k } if k >= asked.subset.len() => {
                return Ok(part.iter().map(|b| asked.usable(*b).collect()).collect());
            }
            Separation::TopK { k } => (few || k <= LIST_TOP as usize, KernelRule::Top { k: k as u32 }),
            _ => (true, KernelRule::of(self.rule, asked.subset.len() as u64)),
        };
        let mut chosen: Vec<Option<Vec<usize>>> =
            if listed { self.lists(asked, part, kind).await? } else { vec![None; part.len()] };
        let missing: Vec<usize> = (0..part.len()).filter(|i| chosen[*i].is_none()).collect();
        let together = (PART as usize / (4 * asked.subset.len())).clamp(1, part.len());
        for group in missing.chunks(together) {
            let queries: Vec<usize> = group.iter().map(|i| part[*i]).collect();
            for (i, positions) in group.iter().zip(self.scored(asked, &queries, kind).await?) {
                chosen[*i] = Some(positions);
            }
        }
        Ok(chosen.into_iter().flatten().collect())
    }

    /// For each query the positions on its list, unless that overflowed.
    async fn lists(&self, asked: &Asked<'_>, part: &[usize], kind: KernelRule) -> Result<Vec<Option<Vec<usize>>>> {
        const ENTRIES: usize = 2 * LIST_CAPACITY as usize;
        let entries = 16 * part.len() as u64;
        let size = entries + 4 * (part.len() * ENTRIES) as u64;
        let bytes = self.run(asked, part, asked.subset.clone(), size, Wants::Lists { kind, entries }).await?;
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
        let (heads, lists) = words.split_at(4 * part.len());
        let positions = |(head, list): (&[u32; 4], &[u32])| {
            let [count, dropped, _, maximum] = *head;
            let maximum = f32::from_bits(maximum);
            if count > LIST_CAPACITY || (count == 0) != (maximum == NO_SCORE) {
                let message = format!("a list of {count} patterns has the largest score {maximum}");
                return Err(Error::Lost { operation: "retrieve", message });
            }
            let overflows = match kind {
                KernelRule::Entmax { gain } => dropped != 0 && score_of(dropped) - maximum > -1.0 / gain,
                _ => false,
            };
            let listed = list.as_chunks::<2>().0.iter().take(count as usize).map(|entry| entry[0] as usize);
            Ok((!overflows).then(|| listed.collect()))
        };
        heads.as_chunks::<4>().0.iter().zip(lists.chunks_exact(ENTRIES)).map(positions).collect()
    }

    /// For each query the positions that can have weight, from the scores of all.
    async fn scored(&self, asked: &Asked<'_>, part: &[usize], kind: KernelRule) -> Result<Vec<Vec<usize>>> {
        let mut chosen: Vec<Vec<(f32, usize)>> = vec![Vec::new(); part.len()];
        let step = PART as usize / (4 * part.len());
        for start in asked.subset.clone().step_by(step) {
            let range = start..asked.subset.end.min(start + step);
            let length = range.len();
            let size = 4 * (part.len() * length) as u64;
            let bytes = self.run(asked, part, range, size, Wants::Scores).await?;
            let scores: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes[..size as usize]);
            for (chosen, scores) in chosen.iter_mut().zip(scores.chunks_exact(length)) {
                let counts = scores.iter().enumerate().filter(|(_, z)| **z >= SMALLEST_SCORE);
                chosen.extend(counts.map(|(i, z)| (*z, start + i)));
                thin(kind, chosen);
            }
        }
        let positions = |mut entries: Vec<(f32, usize)>| {
            entries.sort_unstable_by_key(|entry| entry.1);
            entries.into_iter().map(|entry| entry.1).collect()
        };
        Ok(chosen.into_iter().map(positions).collect())
    }

    /// What queries `part` want of the patterns of `range`: `size` bytes.
    async fn run(
        &self,
        asked: &Asked<'_>,
        part: &[usize],
        range: Range<usize>,
        size: u64,
        wants: Wants,
    ) -> Result<Vec<u8>> {
        let (dim, context) = (self.layout.dim, &self.context);
        let rows: Vec<f32> = part.iter().flat_map(|b| &asked.queries[b * dim..(b + 1) * dim]).copied().collect();
        let options = RetrieveOptions { mask: asked.options.mask.clone(), ..RetrieveOptions::default().statistics() };
        let sizing = self.sizing(self.shape_of(self.rule, range.len() as u64, part.len(), &options), &options);
        let workspace = self.workspace(&sizing)?;
        let source = context.upload("attractor.queries", bytemuck::cast_slice(&rows))?;
        let (target, staging) = context.answers(size)?;
        let (queries, to, count) = (Place::at(&source, 0), Place::at(&target, 0), part.len());
        let goal = match wants {
            Wants::Lists { kind: rule, entries } => {
                let entries = Place { offset: entries, ..to.clone() };
                Goal::Candidates { queries, count, rule, heads: to, entries }
            }
            Wants::Scores => Goal::Scores { queries, count, target: to },
        };
        let queries = part.iter().copied();
        let task = self.task(&sizing, workspace.clone(), &options, asked.alive, queries, 0, goal)?;
        let schedule = Schedule::new(context, None, [Task { range, ..task }]);
        let readback = context.submit(schedule, &target, staging, asked.wait)?;
        self.give_back(workspace);
        readback.get(asked.wait).await
    }
}

/// Drops entries that the others rule out.
fn thin(kind: KernelRule, entries: &mut Vec<(f32, usize)>) {
    match kind {
        KernelRule::Top { k } if entries.len() > k as usize => {
            entries.select_nth_unstable_by(k as usize - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            entries.truncate(k as usize);
        }
        KernelRule::Entmax { gain } => {
            let largest = entries.iter().fold(NO_SCORE, |most, entry| most.max(entry.0));
            entries.retain(|entry| entry.0 - largest > -1.0 / gain);
        }
        _ => {}
    }
}

/// The score of a key: `shaders/lib/order.wgsl`.
fn score_of(key: u32) -> f32 {
    f32::from_bits(if key & 0x8000_0000 != 0 { key & 0x7fff_ffff } else { !key })
}
