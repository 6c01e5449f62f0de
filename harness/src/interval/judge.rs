//! What a device reports, held against the bounds.

use attractor::retrieval::{FixedPoint, Statistics, Status};
use attractor::{PatternId, Separation, Similarity};

use super::bounds::Expected;
use super::{EPSILON, TINY};

impl Expected<'_> {
    /// Whether this status may be.
    pub fn status(&self, got: Status) -> Result<(), String> {
        let expected = if self.usable.is_empty() { Status::NothingLeft } else { Status::Answered };
        if got == expected { Ok(()) } else { Err(format!("status {got:?} of {} usable patterns", self.usable.len())) }
    }

    /// The least and the largest of `sum_i p_i v_i` for one column of rows.
    fn range(&self, column: &[f64]) -> (f64, f64) {
        let mut rows: Vec<(f64, f64, f64)> =
            column.iter().zip(&self.least).zip(&self.most).map(|((v, least), most)| (*v, *least, *most)).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sum: f64 = rows.iter().map(|(v, least, _)| v * least).sum();
        let taken: f64 = rows.iter().map(|(_, least, _)| least).sum();
        // What softmax1 gives to no pattern goes to none: there, rows are taken as far as they serve.
        let all = self.rule.separation != Separation::Softmax1;
        let extreme = |rows: &mut dyn Iterator<Item = &(f64, f64, f64)>, serves: &dyn Fn(f64) -> bool| {
            let (mut sum, mut left) = (sum, (1.0 - taken).max(0.0));
            for (v, least, most) in rows.filter(|(v, ..)| all || serves(*v)) {
                let more = (most - least).min(left).max(0.0);
                sum += more * v;
                left -= more;
            }
            sum
        };
        let rounding = {
            let mass: f64 = rows.iter().map(|(v, _, most)| (v * most.min(1.0)).abs()).sum();
            let largest = rows.iter().fold(0.0f64, |most, (v, ..)| most.max(v.abs()));
            let count = rows.len() as f64;
            EPSILON * (16.0 + count / 2.0) * mass.min(2.0 * largest) + TINY * (count + 1.0)
        };
        let least = extreme(&mut rows.iter(), &|v| v < 0.0);
        let most = extreme(&mut rows.iter().rev(), &|v| v > 0.0);
        (least - rounding, most + rounding)
    }

    fn within(&self, rows: &[f32], columns: usize, c: usize, got: f32) -> Result<(), String> {
        let column: Vec<f64> = self.usable.iter().map(|i| f64::from(rows[i * columns + c])).collect();
        let (least, most) = if column.is_empty() { (0.0, 0.0) } else { self.range(&column) };
        let value = f64::from(got);
        if got.is_finite() && value >= least && value <= most {
            return Ok(());
        }
        let exact: f64 = column.iter().zip(&self.weights).map(|(v, p)| v * p).sum();
        Err(format!("column {c} is {got:e}, not within {least:e} and {most:e}, the reference has {exact:e}"))
    }

    /// Whether this state may be.
    pub fn state(&self, got: &[f32]) -> Result<(), String> {
        let dim = self.store.dim;
        if got.len() != dim {
            return Err(format!("{} columns", got.len()));
        }
        for (c, got) in got.iter().enumerate() {
            let known = self.trial.case.clamp.as_ref().is_some_and(|clamp| clamp[self.query * dim + c]);
            if known && !self.usable.is_empty() {
                let given = self.trial.case.query(self.query)[c];
                // Zero has one sign or the other.
                if *got != given {
                    return Err(format!("column {c} is clamped to {given:e} and is {got:e}"));
                }
                continue;
            }
            self.within(&self.store.keys, dim, c, *got)?;
        }
        Ok(())
    }

    /// Whether this output may be.
    pub fn output(&self, got: &[f32]) -> Result<(), String> {
        let (rows, columns) = match (&self.store.values, self.store.value_dim) {
            (Some(values), Some(columns)) => (values, columns),
            _ => (&self.store.keys, self.store.dim),
        };
        if got.len() != columns {
            return Err(format!("{} columns", got.len()));
        }
        got.iter().enumerate().try_for_each(|(c, got)| self.within(rows, columns, c, *got))
    }

    /// Holds the largest change of a coordinate against the two states. It saturates.
    pub fn change(before: &[f32], after: &[f32], got: f32) -> Result<(), String> {
        let moves = before.iter().zip(after).map(|(a, b)| (f64::from(*b) - f64::from(*a)).abs());
        let change = moves.fold(0.0, f64::max);
        let size = before.iter().chain(after).fold(0.0f64, |most, x| most.max(f64::from(x.abs())));
        // Either state is known up to its rounding.
        let off = 4.0 * EPSILON * size + TINY;
        let saturated = change + off > f64::from(f32::MAX) && got == f32::MAX;
        if saturated || (f64::from(got) - change).abs() <= off {
            return Ok(());
        }
        Err(format!("{got:e} instead of {change:e}"))
    }

    /// The weights of all positions.
    pub fn weights(&self, got: &[f32]) -> Result<(), String> {
        let mut places = self.usable.iter().enumerate().peekable();
        let mut sum = 0.0;
        for (position, got) in got.iter().enumerate() {
            match places.next_if(|(_, i)| **i == position) {
                Some((place, _)) => self.weight(place, *got)?,
                None if *got == 0.0 => {}
                None => return Err(format!("pattern {position} is not usable and has weight {got:e}")),
            }
            sum += f64::from(*got);
        }
        let off = EPSILON * (64.0 + self.usable.len() as f64);
        let right = match self.rule.separation {
            _ if self.usable.is_empty() => sum == 0.0,
            Separation::Softmax1 => sum <= 1.0 + off,
            _ => (sum - 1.0).abs() <= off,
        };
        if right { Ok(()) } else { Err(format!("the weights sum to {sum}")) }
    }

    fn weight(&self, place: usize, got: f32) -> Result<(), String> {
        let (least, most, position) = (self.least[place], self.most[place], self.usable[place]);
        if f64::from(got) >= least && f64::from(got) <= most {
            return Ok(());
        }
        let exact = self.weights[place];
        Err(format!(
            "the weight of pattern {position} is {got:e}, not within {least:e} and {most:e}, the reference has \
             {exact:e}"
        ))
    }

    /// The patterns of largest weight, of which `asked` were asked for; of those of a least weight alone, and how many
    /// these are. The id of a pattern is its position.
    pub fn top(
        &self,
        asked: usize,
        least: Option<(f32, u64)>,
        ids: &[Option<PatternId>],
        weights: &[f32],
    ) -> Result<(), String> {
        let count = asked.min(self.trial.case.patterns());
        let mut there = count.min(self.usable.len());
        if let Some((least, found)) = least {
            let of = |bound: &[f64]| bound.iter().filter(|weight| **weight >= f64::from(least)).count() as u64;
            let (surely, maybe) = (of(&self.least), of(&self.most));
            if !(surely..=maybe).contains(&found) {
                return Err(format!("{found} patterns of weight {least:e}, not within {surely} and {maybe}"));
            }
            there = count.min(found as usize);
            if let Some(weight) = weights.iter().take(there).find(|weight| **weight < least) {
                return Err(format!("a weight of {weight:e} where {least:e} is the least"));
            }
        }
        if ids.len() != count || weights.len() != count {
            return Err(format!("{} top patterns instead of {count}", ids.len()));
        }
        let mut places = Vec::new();
        for (rank, (id, weight)) in ids.iter().zip(weights).enumerate() {
            if rank >= there {
                if id.is_some() || *weight != 0.0 {
                    return Err(format!("rank {rank} of {there} is pattern {id:?} with {weight:e}"));
                }
                continue;
            }
            let place = self.usable.iter().position(|i| *id == Some(PatternId(*i as u64)));
            let Some(place) = place.filter(|place| !places.contains(place)) else {
                return Err(format!("rank {rank} is pattern {id:?}, which is not usable or comes twice"));
            };
            self.weight(place, *weight)?;
            if rank > 0 && *weight > weights[rank - 1] {
                return Err(format!("rank {rank} has more weight than the one before"));
            }
            places.push(place);
        }
        for (rank, place) in places.iter().enumerate() {
            // Nothing of what comes later, or not at all, comes surely before.
            for other in (0..self.usable.len()).filter(|other| !places[..=rank].contains(other)) {
                let before = match self.same(*place, other) {
                    true => other < *place,
                    false => self.scores[other] - self.errors[other] > self.scores[*place] + self.errors[*place],
                };
                if before {
                    let (position, other) = (self.usable[*place], self.usable[other]);
                    return Err(format!("rank {rank} is pattern {position} although {other} comes before it"));
                }
            }
        }
        Ok(())
    }

    /// Whether these statistics may be.
    pub fn statistics(&self, got: &Statistics) -> Result<(), String> {
        // Weights that a flush to zero, or the smallest numbers, make nothing of.
        let surely = self.least.iter().filter(|p| **p > TINY).count();
        // An exponential is above zero, however small the number that holds it.
        let maybe = match self.rule.separation {
            Separation::Softmax | Separation::Softmax1 => self.usable.len(),
            Separation::TopK { k } => k.min(self.usable.len()),
            _ => self.most.iter().filter(|p| **p > TINY).count(),
        };
        if (got.support as usize) < surely || got.support as usize > maybe {
            return Err(format!("a support of {}, not within {surely} and {maybe}", got.support));
        }
        let (least, most) =
            (self.least.iter().copied().fold(0.0, f64::max), self.most.iter().copied().fold(0.0, f64::max));
        let value = f64::from(got.largest);
        if !(least..=most).contains(&value) {
            return Err(format!("a largest weight of {value:e}, not within {least:e} and {most:e}"));
        }
        // -p ln p rises up to 1/e and falls beyond it.
        let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
        let peak = (-1.0f64).exp();
        let (mut low, mut high) = (0.0, 0.0);
        for (least, most) in self.least.iter().zip(&self.most) {
            let (a, b) = (term(*least), term(most.min(1.0)));
            low += a.min(b);
            high += if *least < peak && *most > peak { term(peak) } else { a.max(b) };
        }
        let rounding = EPSILON * (64.0 + self.usable.len() as f64);
        let value = f64::from(got.perplexity);
        // A softmax1 may give no pattern a weight above zero in `f32`, even where patterns are usable.
        let nothing = got.support == 0 && value == 0.0;
        let scale = 1.0 + rounding * (1.0 + high.abs());
        if !nothing && !(low.exp() / scale - rounding..=high.exp() * scale + rounding).contains(&value) {
            return Err(format!("a perplexity of {value}, not within {} and {}", low.exp(), high.exp()));
        }
        let stored = self.trial.alive().iter().filter(|alive| **alive).count() as f32;
        let kind = match got {
            Statistics { largest, .. } if *largest >= 0.99 => FixedPoint::Single,
            Statistics { perplexity, .. } if *perplexity >= stored / 2.0 => FixedPoint::Global,
            _ => FixedPoint::Metastable,
        };
        if kind == got.kind { Ok(()) } else { Err(format!("{:?} instead of {kind:?}", got.kind)) }
    }

    /// The energy of the state that came.
    pub fn energy(&self, state: &[f32], got: f64) -> Result<(), String> {
        let (trial, store) = (self.trial, self.store);
        let alive = trial.alive();
        let left: Vec<usize> = (0..alive.len()).filter(|i| alive[*i]).collect();
        let rows = |rows: &[f32], columns: usize| -> Vec<f32> {
            left.iter().flat_map(|i| &rows[i * columns..(i + 1) * columns]).copied().collect()
        };
        let (keys, n) = (rows(&store.keys, store.dim), trial.case.patterns());
        let bias = store.bias.as_ref().map(|bias| rows(bias, 1));
        let keep =
            trial.case.keep.as_ref().map(|keep| left.iter().map(|i| keep[self.query * n + i]).collect::<Vec<_>>());
        let problem = attractor::reference::Problem {
            bias: bias.as_deref(),
            keep: keep.as_deref(),
            ..attractor::reference::Problem::new(self.rule, store.dim, &keys)
        };
        let x: Vec<f64> = state.iter().map(|x| f64::from(*x)).collect();
        let expected = problem.energy(&x).ok_or("an energy of a rule that has none")?;
        if expected.is_infinite() {
            return if got == expected { Ok(()) } else { Err(format!("an energy of {got:e} instead of {expected:e}")) };
        }
        // Scores move the pooled term by no more than the largest of their errors, of those that may have weight.
        let of_state = Expected::new(trial, store, self.query, state, true);
        let (scores, errors) = (&of_state.scores, &of_state.errors);
        let mut moved = 0.0f64;
        for i in (0..scores.len()).filter(|i| of_state.most[*i] > TINY) {
            moved = moved.max(errors[i] + EPSILON * 32.0 * (1.0 + scores[i].abs()));
        }
        let beta = f64::from(self.rule.beta).abs();
        let count = (left.len() as f64 + 1.0).ln();
        let mut off = (moved + EPSILON * 32.0 * (1.0 + count)) / beta;
        if self.rule.similarity == Similarity::Dot {
            let square = |row: &[f32]| row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
            let largest = keys.chunks(store.dim).map(square).fold(0.0, f64::max);
            off += EPSILON * (store.dim as f64 + 16.0) * (square(state) + largest) + TINY;
        }
        if (got - expected).abs() <= off {
            return Ok(());
        }
        Err(format!("an energy of {got:e}, not within {off:e} of {expected:e}"))
    }
}
