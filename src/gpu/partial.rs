//! Partial retrievals: one update of each query over a subset of the patterns, to be merged with others. Under softmax
//! and under weights that are not normalised the device computes the sums. Under the other rules it lists candidates, which the host scores again, exactly; where
//! a list overflows, or cannot hold what top-k selects, the host selects candidates from the scores of all patterns.

use std::cmp::Ordering;
use std::ops::Range;

use super::answers::MemoryFacts;
use super::batch::{BatchRequest, MAX_SUB_BATCH_BYTES, SubBatch};
use super::engine::Engine;
use super::kernels::common::{LIST_CAPACITY, LIST_TOP};
use super::operands::{KernelRule, Operands};
use super::readback::{Submitted, Wait};
use super::schedule::Schedule;
use super::targets::OwnedRows;
use super::task::{Goal, Task};
use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::exact::scores::Scorer;
use crate::partial::merge::prune;
use crate::partial::options::PartialOptions;
use crate::partial::state::{Body, Candidate, Partial};
use crate::partial::top::{Best, Scored};
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::weight_queries::WeightQueries;
use crate::room::{collect, copy, elements, extend, numbers, room};
use crate::rule::{Rule, Separation, Update};
use crate::store::{Snapshot, View};

const OPERATION: &str = "Memory::retrieve_partial";
/// The score of a pattern that is left out, and the smallest score of any other: `shaders/lib/score.wgsl`.
const NO_SCORE: f32 = -1.2e38;
const SMALLEST_SCORE: f32 = -1.0e38;

/// Validated queries, and the patterns that each may use.
struct PartialRequest<'a> {
    operation: &'static str,
    queries: &'a [f32],
    options: &'a PartialOptions,
    view: &'a View,
    subset: Range<usize>,
    /// The number of positions, inside the subset or not.
    stored: usize,
    wait: Wait,
}

/// What the device is to return for some of the queries.
enum Wants {
    /// Lists of candidates: their heads, and from byte `entries` on their entries.
    Lists { kind: KernelRule, entries: u64 },
    /// The scores of all patterns, a row for each query.
    Scores,
}

impl PartialRequest<'_> {
    /// The positions that query `b` may use.
    fn usable(&self, b: usize) -> impl Iterator<Item = usize> {
        let (alive, mask, stored) = (self.view.alive(), self.options.mask.as_ref(), self.stored);
        self.subset
            .clone()
            .filter(move |&i| alive.is_none_or(|alive| alive[i]) && mask.is_none_or(|mask| mask.keeps(b, i, stored)))
    }
}

impl Engine {
    /// Begins [`Engine::partials`] on the patterns as they are now, which `snapshot` keeps. What is submitted depends
    /// on what was read back before, so each poll of the answer submits what it can.
    pub fn begin_partials(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &PartialOptions,
        view: View,
        snapshot: Snapshot,
    ) -> Result<Answer<Vec<Partial>>> {
        let (engine, queries, options) = (self.frozen(), copy(operation, "queries", queries)?, options.clone());
        let answer = async move {
            let states = engine.partials(operation, &queries, &options, &view, Wait::Forbidden).await;
            drop(snapshot);
            states
        };
        Ok(Answer::on_device(Submitted { context: self.context.clone(), submission: None }, answer))
    }

    /// The partial states of the rows of `queries`, which have been validated, over the patterns that `options` name.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::OutOfMemory`] where the host has no room for what is merged.
    pub async fn partials(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &PartialOptions,
        view: &View,
        wait: Wait,
    ) -> Result<Vec<Partial>> {
        let stored = self.windows.len();
        let subset = options.range(stored);
        let batch = queries.len() / self.layout.dim;
        let request = PartialRequest { operation, queries, options, view, subset, stored, wait };
        // A mask of one row is shared by all queries.
        let same = options.mask.as_ref().is_none_or(|mask| !mask.is_per_query());
        let all = request.usable(0).count() as u64;
        let count = |b: usize| if same { all } else { request.usable(b).count() as u64 };
        let patterns = collect(OPERATION, "pattern counts", (0..batch).map(count))?;
        let bodies = match self.rule.separation {
            // Nothing has to be computed for an empty subset.
            _ if batch == 0 || request.subset.is_empty() => collect(
                OPERATION,
                "partial states",
                (0..batch).map(|_| (self.empty(), Best::of(options.top, Vec::new()))),
            )?,
            Separation::Softmax | Separation::Softmax1 => self.summed(&request, &patterns).await?,
            separation if !separation.is_normalized() => self.summed(&request, &patterns).await?,
            _ => self.candidates_of_all(&request).await?,
        };
        let (dim, value_dim) = (self.layout.dim, self.layout.value_dim);
        let partial = |((body, best), patterns)| Partial { rule: self.rule, dim, value_dim, patterns, body, best };
        collect(OPERATION, "partial states", bodies.into_iter().zip(patterns).map(partial))
    }

    fn empty(&self) -> Body {
        Body::empty(self.rule.separation, self.layout.dim + self.layout.value_dim.unwrap_or(0))
    }

    /// The parts that the device sums up.
    async fn summed(&self, request: &PartialRequest<'_>, patterns: &[u64]) -> Result<Vec<(Body, Best)>> {
        let normalized = self.rule.separation.is_normalized();
        // The implicit zero logit of softmax1 is added, and updates are ended, when the parts are finished.
        let rule = match normalized {
            true => Rule { separation: Separation::Softmax, update: Update::NONE, ..self.rule },
            false => Rule { update: Update { remove_self: self.rule.update.remove_self, ..Update::NONE }, ..self.rule },
        };
        let PartialOptions { mask, index_offset, top, .. } = request.options;
        let options = RetrieveOptions { mask: mask.clone(), ..RetrieveOptions::default().statistics().top(*top) };
        let facts = MemoryFacts { rule, ..self.facts(request.view.alive()) };
        let shape = self.shape_of(rule, request.subset.len() as u64, patterns.len(), &options);
        let sizing = self.sizing(shape, &options);
        let mut bodies = room(OPERATION, "partial states", patterns.len())?;
        for part in self.sub_batches(patterns.len(), &sizing, &options) {
            let workspace = self.workspace(&sizing)?;
            let whole = BatchRequest {
                queries: request.queries,
                options: &options,
                weighed: &WeightQueries::None,
                view: request.view,
                facts,
                sizing: &sizing,
                workspace: &workspace,
            };
            let SubBatch { task, target, staging, layout } = self.sub_batch(&whole, part.clone())?;
            let operands = Operands { rule, advances: !normalized, decouples: false, ..task.operands };
            let task = Task { operands, range: request.subset.clone(), ..task };
            let schedule = Schedule::new(&self.context, None, [task]);
            let PartialRequest { operation, wait, .. } = *request;
            let bytes = self.bytes_of(operation, schedule, workspace, (target, staging), wait).await?;
            for (body, listed) in layout.answers.parts(&bytes, layout.stamp, &patterns[part])? {
                let scored = listed.into_iter().map(|one| Scored {
                    score: f64::from(one.score) + 0.0,
                    id: index_offset.wrapping_add(one.position.into()),
                    similarity: rule.similarity.measure(one.similarity.into()),
                });
                let best = Best::of(*top, scored.collect());
                bodies.push((body, best));
            }
        }
        Ok(bodies)
    }

    async fn candidates_of_all(&self, request: &PartialRequest<'_>) -> Result<Vec<(Body, Best)>> {
        let batch = request.queries.len() / self.layout.dim;
        let mut bodies = room(OPERATION, "partial states", batch)?;
        let row = 4 * self.layout.key_stride().max(2 * LIST_CAPACITY as usize);
        let part = (MAX_SUB_BATCH_BYTES as usize / row).max(1);
        let PartialOptions { index_offset, top, .. } = *request.options;
        for first in (0..batch).step_by(part) {
            let part: Vec<usize> = (first..batch.min(first + part)).collect();
            let chosen = self.weighed_or_reported(request, &part).await?;
            let mut positions = collect(OPERATION, "positions", chosen.iter().flatten().copied())?;
            positions.sort_unstable();
            positions.dedup();
            let patterns = self.read(&positions, request.wait).await?;
            for (query, chosen) in part.into_iter().zip(chosen) {
                let scorer = Scorer::new(self.rule, &request.queries[query * self.layout.dim..][..self.layout.dim]);
                let mut candidates = room(OPERATION, "candidates", chosen.len())?;
                let mut scored = room(OPERATION, "candidates", if top > 0 { chosen.len() } else { 0 })?;
                for position in chosen {
                    let pattern = &patterns[positions.partition_point(|other| *other < position)];
                    let (similarity, score) = scorer.score(&pattern.key, pattern.bias);
                    let id = index_offset.wrapping_add(position as u64);
                    if top > 0 {
                        scored.push(Scored { score, id, similarity: self.rule.similarity.measure(similarity) });
                    }
                    let numbers = pattern.key.iter().chain(pattern.value.iter().flatten()).copied();
                    candidates.push(Candidate { score, id, row: collect(OPERATION, "candidates", numbers)? });
                }
                prune(self.rule.separation, &mut candidates);
                bodies.push((Body::Candidates(candidates), Best::of(top, scored)));
            }
        }
        Ok(bodies)
    }

    /// For each query of `part`, the positions of the patterns that can have weight or are reported, and perhaps
    /// others.
    async fn weighed_or_reported(&self, request: &PartialRequest<'_>, part: &[usize]) -> Result<Vec<Vec<usize>>> {
        let top = request.options.top;
        if let Separation::TopK { k } = self.rule.separation {
            return self.chosen(request, part, Separation::TopK { k: k.max(top) }).await;
        }
        let mut chosen = self.chosen(request, part, self.rule.separation).await?;
        if top > 0 {
            let reported = self.chosen(request, part, Separation::TopK { k: top }).await?;
            for (chosen, reported) in chosen.iter_mut().zip(reported) {
                extend(OPERATION, "positions", chosen, reported)?;
                chosen.sort_unstable();
                chosen.dedup();
            }
        }
        Ok(chosen)
    }

    /// For each query of `part`, the positions of the patterns that `separation` can give weight.
    async fn chosen(
        &self,
        request: &PartialRequest<'_>,
        part: &[usize],
        separation: Separation,
    ) -> Result<Vec<Vec<usize>>> {
        let few = request.subset.len() <= LIST_CAPACITY as usize;
        let (listed, kind) = match separation {
            Separation::TopK { k } if k >= request.subset.len() => {
                return part.iter().map(|b| collect(OPERATION, "positions", request.usable(*b))).collect();
            }
            Separation::TopK { k } => (few || k <= LIST_TOP as usize, KernelRule::Top { k: k as u32 }),
            _ => (true, KernelRule::of(self.rule, request.subset.len() as u64)),
        };
        let mut chosen: Vec<Option<Vec<usize>>> =
            if listed { self.lists(request, part, kind).await? } else { vec![None; part.len()] };
        let missing: Vec<usize> = (0..part.len()).filter(|i| chosen[*i].is_none()).collect();
        let together = (MAX_SUB_BATCH_BYTES as usize / (4 * request.subset.len())).clamp(1, part.len());
        for group in missing.chunks(together) {
            let queries: Vec<usize> = group.iter().map(|i| part[*i]).collect();
            for (i, positions) in group.iter().zip(self.scored(request, &queries, kind).await?) {
                chosen[*i] = Some(positions);
            }
        }
        Ok(chosen.into_iter().flatten().collect())
    }

    /// For each query, the positions on its list; `None` where the list overflowed.
    async fn lists(
        &self,
        request: &PartialRequest<'_>,
        part: &[usize],
        kind: KernelRule,
    ) -> Result<Vec<Option<Vec<usize>>>> {
        const ENTRIES: usize = 2 * LIST_CAPACITY as usize;
        let entries = 16 * part.len() as u64;
        let size = entries + 4 * (part.len() * ENTRIES) as u64;
        let bytes = self.run(request, part, request.subset.clone(), size, Wants::Lists { kind, entries }).await?;
        let words = numbers::<u32>(OPERATION, "candidates", &bytes[..size as usize])?;
        let (heads, lists) = words.split_at(4 * part.len());
        let positions = |(head, list): (&[u32; 4], &[u32])| {
            let [count, dropped, _, maximum] = *head;
            let maximum = f32::from_bits(maximum);
            if count > LIST_CAPACITY || (count == 0) != (maximum == NO_SCORE) {
                let message = format!("a list of {count} patterns has the largest score {maximum}");
                return Err(Error::Internal { operation: "retrieve", message });
            }
            let overflows = match kind {
                KernelRule::Entmax { gain } => dropped != 0 && score_of(dropped) - maximum > -1.0 / gain,
                _ => false,
            };
            let listed = list.as_chunks::<2>().0.iter().take(count as usize).map(|entry| entry[0] as usize);
            (!overflows).then(|| collect(OPERATION, "positions", listed)).transpose()
        };
        heads.as_chunks::<4>().0.iter().zip(lists.chunks_exact(ENTRIES)).map(positions).collect()
    }

    /// For each query, the positions of the patterns that can have weight, from the scores of all.
    async fn scored(&self, request: &PartialRequest<'_>, part: &[usize], kind: KernelRule) -> Result<Vec<Vec<usize>>> {
        let mut chosen: Vec<Vec<(f32, usize)>> = vec![Vec::new(); part.len()];
        let step = MAX_SUB_BATCH_BYTES as usize / (4 * part.len());
        for start in request.subset.clone().step_by(step) {
            let range = start..request.subset.end.min(start + step);
            let length = range.len();
            let size = 4 * (part.len() * length) as u64;
            let bytes = self.run(request, part, range, size, Wants::Scores).await?;
            let scores = numbers::<f32>(OPERATION, "scores", &bytes[..size as usize])?;
            for (chosen, scores) in chosen.iter_mut().zip(scores.chunks_exact(length)) {
                let scored = scores.iter().enumerate().filter(|(_, z)| **z >= SMALLEST_SCORE);
                extend(OPERATION, "scores", chosen, scored.map(|(i, z)| (*z, start + i)))?;
                thin(kind, chosen);
            }
        }
        let positions = |mut entries: Vec<(f32, usize)>| {
            entries.sort_unstable_by_key(|entry| entry.1);
            collect(OPERATION, "positions", entries.into_iter().map(|entry| entry.1))
        };
        chosen.into_iter().map(positions).collect()
    }

    /// The `size` bytes that the device returns for queries `part` over the patterns of `range`.
    async fn run(
        &self,
        request: &PartialRequest<'_>,
        part: &[usize],
        range: Range<usize>,
        size: u64,
        wants: Wants,
    ) -> Result<Vec<u8>> {
        let (dim, context) = (self.layout.dim, &self.context);
        let mut rows = room(OPERATION, "queries", elements(part.len(), dim))?;
        for b in part {
            rows.extend_from_slice(&request.queries[b * dim..(b + 1) * dim]);
        }
        let options = RetrieveOptions { mask: request.options.mask.clone(), ..RetrieveOptions::default().statistics() };
        let sizing = self.sizing(self.shape_of(self.rule, range.len() as u64, part.len(), &options), &options);
        let workspace = self.workspace(&sizing)?;
        let source = context.upload("attractor.queries", bytemuck::cast_slice(&rows))?;
        let (target, staging) = context.answer_buffers(size)?;
        let (queries, to, count) = (OwnedRows::at(&source, 0), OwnedRows::at(&target, 0), part.len());
        let goal = match wants {
            Wants::Lists { kind: rule, entries } => {
                let entries = OwnedRows { offset: entries, ..to.clone() };
                Goal::Candidates { queries, count, rule, heads: to, entries }
            }
            Wants::Scores => Goal::Scores { queries, count, target: to },
        };
        let queries = part.iter().copied();
        let task = self.task(&sizing, workspace.clone(), &options, request.view, queries, 0, goal)?;
        let schedule = Schedule::new(context, None, [Task { range, ..task }]);
        self.bytes_of(request.operation, schedule, workspace, (target, staging), request.wait).await
    }
}

/// Drops the entries, scores and positions, that cannot have weight beside the others. Of equal scores, and 0 equals
/// -0, top-k keeps those at the lower positions. No score is NaN.
fn thin(kind: KernelRule, entries: &mut Vec<(f32, usize)>) {
    match kind {
        KernelRule::Top { k } if entries.len() > k as usize => {
            entries.select_nth_unstable_by(k as usize - 1, |a, b| {
                b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1))
            });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_scores_those_at_lower_positions_are_kept() {
        let mut entries = vec![(0.0, 5), (-0.0, 1), (-1.0, 0), (0.0, 3), (-0.0, 4)];
        thin(KernelRule::Top { k: 3 }, &mut entries);
        entries.sort_by_key(|entry| entry.1);
        let positions: Vec<usize> = entries.into_iter().map(|entry| entry.1).collect();
        assert_eq!(positions, [1, 3, 4]);
    }
}
