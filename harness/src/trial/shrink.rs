//! A wrong trial is made smaller as long as it stays wrong.

use attractor::{Device, Precision, Retrieval};

use super::{Outcome, Trial, Way};

impl Trial {
    /// A smaller trial that is wrong, too, and what is wrong with it.
    pub fn shrunk(&self, device: &Device, damage: impl Fn(&mut Retrieval)) -> (Self, String) {
        /// At most so many trials are run.
        const MOST: usize = 400;
        let mut best = (self.clone(), String::new());
        if let Outcome::Wrong(why) = self.run(device, &damage) {
            best.1 = why;
        }
        let mut asked = 0;
        loop {
            let before = asked;
            let mut smaller = false;
            for candidate in best.0.smaller() {
                if asked >= MOST {
                    return best;
                }
                asked += 1;
                if let outcome @ Outcome::Wrong(_) = candidate.run(device, &damage) {
                    debug_assert!(outcome.is_wrong());
                    if let Outcome::Wrong(why) = outcome {
                        best = (candidate, why);
                    }
                    smaller = true;
                    break;
                }
            }
            if !smaller || asked == before {
                return best;
            }
        }
    }

    /// Trials that are a little smaller or plainer.
    fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let case = &self.case;
        let (batch, n) = (case.batch(), case.patterns());
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut trial = self.clone();
            change(&mut trial);
            all.push(trial);
        };
        if batch > 1 {
            for b in [0..batch / 2, batch / 2..batch] {
                with(&|trial| *trial = trial.queries(b.clone()));
            }
        }
        let mut size = n / 2;
        while size >= 1 {
            for start in (0..n).step_by(size) {
                let end = n.min(start + size);
                if end - start < n {
                    with(&|trial| *trial = trial.without_patterns(start..end));
                }
            }
            size /= 2;
            if n > 40 && size < 4 {
                break;
            }
        }
        let optional: [(bool, Change<'_>); 13] = [
            (case.values.is_some(), &|t| (t.case.values, t.case.value_dim) = (None, None)),
            (case.bias.is_some(), &|t| t.case.bias = None),
            (case.keep.is_some(), &|t| t.case.keep = None),
            (case.clamp.is_some(), &|t| t.case.clamp = None),
            (case.window_bytes.is_some(), &|t| t.case.window_bytes = None),
            (case.tolerance.is_some(), &|t| t.case.tolerance = None),
            (case.steps > 1, &|t| t.case.steps -= 1),
            (!self.removed.is_empty(), &|t| t.removed.clear()),
            (self.energy, &|t| t.energy = false),
            (self.statistics, &|t| t.statistics = false),
            (self.weights, &|t| t.weights = false),
            (self.least_weight.is_some(), &|t| t.least_weight = None),
            (self.top > 0, &|t| (t.top, t.least_weight) = (0, None)),
        ];
        for (there, change) in optional {
            if there {
                with(change);
            }
        }
        if case.precision != Precision::F32 {
            with(&|t| t.case.precision = Precision::F32);
        }
        if self.way != Way::Blocking {
            with(&|t| t.way = Way::Blocking);
        }
        if case.dim > 1 {
            let half = case.dim / 2;
            with(&|trial| *trial = trial.without_columns(0..half));
            with(&|trial| *trial = trial.without_columns(half..trial.case.dim));
            for c in 0..case.dim.min(9) {
                with(&|trial| *trial = trial.without_columns(c..c + 1));
            }
        }
        // Plainer numbers, of which a case may have many.
        for which in 0..3 {
            let count = self.tensor(which).map_or(0, <[f32]>::len);
            for at in 0..count.min(24) {
                let old = self.tensor(which).expect("it is there")[at];
                let digit = format!("{old:.0e}").parse().unwrap_or(old);
                for plain in [0.0, 1.0, digit] {
                    // Zero before one before one digit before all others.
                    let rank = |x: f32| {
                        if x == 0.0 {
                            0
                        } else if x == 1.0 {
                            1
                        } else {
                            2 + u8::from(x != digit)
                        }
                    };
                    if rank(plain) < rank(old) {
                        with(&|trial| {
                            if let Some(tensor) = trial.tensor_mut(which) {
                                tensor[at] = plain;
                            }
                        });
                    }
                }
            }
        }
        all
    }

    fn tensor(&self, which: usize) -> Option<&[f32]> {
        match which {
            0 => Some(&self.case.queries),
            1 => Some(&self.case.keys),
            _ => self.case.values.as_deref(),
        }
    }

    fn tensor_mut(&mut self, which: usize) -> Option<&mut Vec<f32>> {
        match which {
            0 => Some(&mut self.case.queries),
            1 => Some(&mut self.case.keys),
            _ => self.case.values.as_mut(),
        }
    }

    /// With these queries alone.
    fn queries(&self, range: std::ops::Range<usize>) -> Self {
        let mut trial = self.clone();
        let (dim, n) = (self.case.dim, self.case.patterns());
        trial.case.queries = self.case.queries[range.start * dim..range.end * dim].to_vec();
        trial.case.keep = self.case.keep.as_ref().map(|keep| keep[range.start * n..range.end * n].to_vec());
        trial.case.clamp = self.case.clamp.as_ref().map(|clamp| clamp[range.start * dim..range.end * dim].to_vec());
        trial
    }

    fn without_patterns(&self, range: std::ops::Range<usize>) -> Self {
        let mut trial = self.clone();
        let n = self.case.patterns();
        let left: Vec<usize> = (0..n).filter(|i| !range.contains(i)).collect();
        let rows = |rows: &[f32], columns: usize| -> Vec<f32> {
            left.iter().flat_map(|i| &rows[i * columns..(i + 1) * columns]).copied().collect()
        };
        trial.case.keys = rows(&self.case.keys, self.case.dim);
        trial.case.values = self.case.values.as_ref().zip(self.case.value_dim).map(|(values, dim)| rows(values, dim));
        trial.case.bias = self.case.bias.as_ref().map(|bias| rows(bias, 1));
        let flags = |keep: &Vec<bool>| keep.chunks(n).flat_map(|row| left.iter().map(|i| row[*i])).collect();
        trial.case.keep = self.case.keep.as_ref().map(flags);
        trial.removed = (0..left.len()).filter(|i| self.removed.contains(&left[*i])).collect();
        trial
    }

    fn without_columns(&self, range: std::ops::Range<usize>) -> Self {
        let mut trial = self.clone();
        let dim = self.case.dim;
        let left = |c: usize| !range.contains(&(c % dim));
        let floats = |rows: &[f32]| rows.iter().enumerate().filter(|(c, _)| left(*c)).map(|(_, x)| *x).collect();
        trial.case.keys = floats(&self.case.keys);
        trial.case.queries = floats(&self.case.queries);
        let flags = |flags: &Vec<bool>| flags.iter().enumerate().filter(|(c, _)| left(*c)).map(|(_, x)| *x).collect();
        trial.case.clamp = self.case.clamp.as_ref().map(flags);
        trial.case.dim = dim - range.len();
        trial
    }
}

type Change<'a> = &'a dyn Fn(&mut Trial);
