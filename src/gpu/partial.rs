//! Partial states of single queries over some of the patterns. Softmax is one update whose sums are kept apart; of the
//! other rules the device lists the candidates, and the host scores these again, exactly. A list that overflows, or that
//! cannot hold what top-k selects, is made on the host from scores in full.

use std::collections::BTreeSet;
use std::ops::Range;

use super::answers::Facts;
use super::batch::{self, PART, Part};
use super::buffer::Binding;
use super::engine::Engine;
use super::plan::LIST_CAPACITY;
use super::record::{Calls, Program};
use super::retrieve::{Block, Kind, Task};
use super::submit::Waiting;
use super::targets::Place;
use crate::cpu;
use crate::error::{Error, Result};
use crate::partial::{Body, Candidate, Partial, PartialOptions, prune};
use crate::retrieval::{RetrieveOptions, Weighed};
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
    waiting: Waiting,
}

/// What is asked of the device for some of the queries.
enum Wants {
    /// Lists of candidates: heads first, entries from the byte `entries` on.
    Lists { kind: Kind, entries: u64 },
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
        waiting: Waiting,
    ) -> Result<Vec<Partial>> {
        let alive = view.alive();
        let stored = self.windows.len();
        let subset = options.range(stored);
        let batch = queries.len() / self.layout.dim;
        let asked = Asked { queries, options, alive, subset, stored, waiting };
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
                weighed: &Weighed::None,
                alive: asked.alive,
                facts,
                sizing: &sizing,
                workspace: &workspace,
            };
            let Part { task, targets, target, staging, laid } = self.part(&whole, part.clone())?;
            let task = Task { rule, range: asked.subset.clone(), ..task };
            let staged = self.context.submit(task.program(targets), &target, staging, asked.waiting)?;
            self.give_back(workspace);
            let bytes = staged.get(asked.waiting).await?;
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
            let patterns = self.read(&positions, asked.waiting).await?;
            for (query, chosen) in part.into_iter().zip(chosen) {
                let scorer = cpu::Scorer::new(self.rule, &asked.queries[query * self.layout.dim..][..self.layout.dim]);
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
            Separation::TopK { k } => (few || k <= super::plan::LIST_TOP as usize, Kind::Top { k: k as u32 }),
            _ => (true, Kind::of(self.rule, asked.subset.len() as u64)),
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
    async fn lists(&self, asked: &Asked<'_>, part: &[usize], kind: Kind) -> Result<Vec<Option<Vec<usize>>>> {
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
                Kind::Entmax { gain } => dropped != 0 && score_of(dropped) - maximum > -1.0 / gain,
                _ => false,
            };
            let listed = list.as_chunks::<2>().0.iter().take(count as usize).map(|entry| entry[0] as usize);
            Ok((!overflows).then(|| listed.collect()))
        };
        heads.as_chunks::<4>().0.iter().zip(lists.chunks_exact(ENTRIES)).map(positions).collect()
    }

    /// For each query the positions that can have weight, from the scores of all.
    async fn scored(&self, asked: &Asked<'_>, part: &[usize], kind: Kind) -> Result<Vec<Vec<usize>>> {
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
        let task = self.task(&sizing, workspace.clone(), &options, asked.alive, part.iter().copied(), 0)?;
        let task = Task { range, ..task };
        let source = context.upload("attractor.queries", bytemuck::cast_slice(&rows))?;
        let (target, staging) = context.answers(size)?;
        let (queries, to, count) = (Place::at(&source, 0), Place::at(&target, 0), part.len());
        let program = Program::new(context, None, |calls| async move {
            match wants {
                Wants::Lists { kind, entries } => {
                    let entries = Place { offset: entries, ..to.clone() };
                    task.lists(&calls, &queries, count, kind, &to, &entries).await
                }
                Wants::Scores => task.scores(&calls, &queries, count, &to).await,
            }
        });
        let staged = context.submit(program, &target, staging, asked.waiting)?;
        self.give_back(workspace);
        staged.get(asked.waiting).await
    }
}

impl Task {
    /// Lists of candidates of the queries of a batch: their heads, and their entries.
    async fn lists(
        &self,
        calls: &Calls,
        queries: &Place,
        count: usize,
        kind: Kind,
        heads: &Place,
        entries: &Place,
    ) -> Result<()> {
        let workspace = &self.workspace;
        for block in self.blocks(count) {
            let cue = self.begin(calls, queries, block).await?;
            self.list(calls, block, &cue, &workspace.everyone, kind).await?;
            self.export(calls, &workspace.heads, 4, heads, block).await?;
            let words = 2 * LIST_CAPACITY;
            self.export_strided(calls, &workspace.list, words, words, 0, entries, block).await?;
        }
        Ok(())
    }

    /// The scores of the queries of a batch, a row for each as wide as the range.
    async fn scores(&self, calls: &Calls, queries: &Place, count: usize, target: &Place) -> Result<()> {
        let workspace = &self.workspace;
        for block in self.blocks(count) {
            let cue = self.begin(calls, queries, block).await?;
            for chunk in self.chunks(&self.staged) {
                self.similarity(calls, block, &cue, &workspace.everyone, &chunk).await?;
                let at = (chunk.window_first + chunk.first_row) as usize - self.range.start;
                let offset = target.offset + 4 * at as u64;
                let rows = Place { offset, stride: Some(self.range.len() as u32), ..target.clone() };
                let stride = self.staged.score_stride();
                self.export_strided(calls, &workspace.scores, chunk.count, stride, 0, &rows, block).await?;
            }
        }
        Ok(())
    }

    /// Brings the queries of a block in, lists all of them, and returns what is compared with the keys.
    async fn begin(&self, calls: &Calls, queries: &Place, block: Block) -> Result<Binding> {
        let workspace = &self.workspace;
        self.prepare(calls, queries, block).await?;
        self.compact(calls, block, None, 0, &workspace.everyone, &workspace.searched).await?;
        self.compared(calls, block, &workspace.everyone, &workspace.state).await
    }
}

/// Drops entries that the others rule out.
fn thin(kind: Kind, entries: &mut Vec<(f32, usize)>) {
    match kind {
        Kind::Top { k } if entries.len() > k as usize => {
            entries.select_nth_unstable_by(k as usize - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            entries.truncate(k as usize);
        }
        Kind::Entmax { gain } => {
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
