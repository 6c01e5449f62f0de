//! Partial states as bytes.

use crate::error::{Error, Result};
use crate::partial::merge::prune;
use crate::partial::state::{Body, Candidate, Mean, Partial, Sums};
use crate::partial::top::{Best, Scored};
use crate::retrieval::top::MAX_TOP;
use crate::room::room;
use crate::rule::{Rule, Separation, Similarity, Update};

const MAGIC: &[u8; 8] = b"ATTRPART";
const VERSION: u32 = 3;
const NO_VALUES: u64 = u64::MAX;
const FROM_BYTES: &str = "Partial::from_bytes";

impl Partial {
    /// The partial state as bytes, little-endian: magic, version, rule, widths, the update's text, and the numbers.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (separation, alpha, k) = match self.rule.separation {
            Separation::Softmax => (0, 0.0, 0),
            Separation::Softmax1 => (1, 0.0, 0),
            Separation::Sparsemax => (2, 0.0, 0),
            Separation::Entmax { alpha } => (3, alpha, 0),
            Separation::TopK { k } => (4, 0.0, k as u64),
            Separation::Linear => (5, 0.0, 0),
            Separation::Power { n } => (6, 0.0, u64::from(n)),
            Separation::Rectified { n } => (7, 0.0, u64::from(n)),
            Separation::Step { threshold } => (8, threshold, 0),
        };
        let similarity = match self.rule.similarity {
            Similarity::Dot => 0,
            Similarity::Cosine => 1,
            Similarity::Euclidean => 2,
            Similarity::Manhattan => 3,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([similarity, separation]);
        bytes.extend(self.rule.beta.to_le_bytes());
        bytes.extend(f32::to_le_bytes(alpha));
        for number in [k, self.dim as u64, self.value_dim.map_or(NO_VALUES, |dv| dv as u64), self.patterns] {
            bytes.extend(number.to_le_bytes());
        }
        let update = self.rule.update.to_string();
        bytes.extend((update.len() as u64).to_le_bytes());
        bytes.extend(update.as_bytes());
        let Best { k, patterns } = &self.best;
        bytes.extend((*k as u64).to_le_bytes());
        for Scored { score, id, similarity } in patterns {
            bytes.extend(score.to_le_bytes());
            bytes.extend(id.to_le_bytes());
            bytes.extend(similarity.to_le_bytes());
        }
        match &self.body {
            Body::Mean(mean) => {
                for number in [mean.log_sum, mean.score, mean.largest].iter().chain(&mean.rows) {
                    bytes.extend(number.to_le_bytes());
                }
            }
            Body::Sums(sums) => {
                for number in [sums.of_self].iter().chain(&sums.rows) {
                    bytes.extend(number.to_le_bytes());
                }
            }
            Body::Candidates(candidates) => {
                bytes.extend((candidates.len() as u64).to_le_bytes());
                if candidates.is_empty() {
                    // So that a reader can refuse widths that the bytes do not fill.
                    bytes.resize(bytes.len() + self.columns(), 0);
                }
                for candidate in candidates {
                    bytes.extend(candidate.score.to_le_bytes());
                    bytes.extend(candidate.id.to_le_bytes());
                    candidate.row.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
                }
            }
        }
        bytes
    }

    /// Reads what [`Partial::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Shape`] for bytes that are not a partial state, of another version, of another length than their widths
    /// require, or with impossible numbers; [`Error::Parameter`] for a rule outside its domain. No more memory is
    /// allocated than the bytes fill.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { bytes };
        if reader.take::<8>()? != *MAGIC {
            return reader.refuse("a partial state that starts with ATTRPART", "other bytes");
        }
        let version = u32::from_le_bytes(reader.take()?);
        if version != VERSION {
            return reader.refuse(&format!("version {VERSION}"), &format!("version {version}"));
        }
        let [similarity, separation] = reader.take()?;
        let beta = f32::from_le_bytes(reader.take()?);
        let alpha = f32::from_le_bytes(reader.take()?);
        let [k, dim, value_dim, patterns] = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
        let similarity = match similarity {
            0 => Similarity::Dot,
            1 => Similarity::Cosine,
            2 => Similarity::Euclidean,
            3 => Similarity::Manhattan,
            other => return reader.refuse("a similarity from 0 to 3", &other.to_string()),
        };
        let separation = match separation {
            0 => Separation::Softmax,
            1 => Separation::Softmax1,
            2 => Separation::Sparsemax,
            3 => Separation::Entmax { alpha },
            4 => Separation::TopK { k: usize::try_from(k).unwrap_or(usize::MAX) },
            5 => Separation::Linear,
            6 => Separation::Power { n: u32::try_from(k).unwrap_or(u32::MAX) },
            7 => Separation::Rectified { n: u32::try_from(k).unwrap_or(u32::MAX) },
            8 => Separation::Step { threshold: alpha },
            other => return reader.refuse("a separation from 0 to 8", &other.to_string()),
        };
        let rule = Rule::new(similarity, separation, beta).then(reader.update()?);
        rule.validate()?;
        let wide = |columns: u64| usize::try_from(columns).ok().filter(|columns| *columns <= bytes.len());
        let value_dim = match value_dim {
            NO_VALUES => Some(None),
            columns => wide(columns).filter(|columns| *columns > 0).map(Some),
        };
        let (Some(dim), Some(value_dim)) = (wide(dim).filter(|dim| *dim > 0), value_dim) else {
            return reader.refuse("widths above 0 that the bytes can fill", &format!("{} bytes", bytes.len()));
        };
        rule.update.check_shape(FROM_BYTES, dim, value_dim)?;
        // Neither is above the number of bytes, so the sum does not overflow.
        let columns = dim + value_dim.unwrap_or(0);
        let scores = largest_score(dim);
        let best = reader.best(patterns, scores)?;
        let body = match separation {
            Separation::Softmax | Separation::Softmax1 => Body::Mean(reader.mean(columns, patterns, scores)?),
            _ if !separation.is_normalized() => Body::Sums(reader.sums(columns, patterns, &rule)?),
            _ => Body::Candidates(reader.candidates(columns, patterns, scores, separation)?),
        };
        Ok(Self { rule, dim, value_dim, patterns, body, best })
    }
}

/// The largest magnitude of a score of finite keys and queries of `dim` dimensions: beta times d products, or d squares
/// of differences, and a bias.
fn largest_score(dim: usize) -> f64 {
    let max = f64::from(f32::MAX);
    max * (2.0 * max * max * dim as f64) + max
}

/// Whether a value can be a mean of finite floats, within the rounding of sums.
fn is_mean(value: f64) -> bool {
    value.abs() <= f64::from(f32::MAX) * (1.0 + 1e-8)
}

/// The bytes that have not been read.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    #[allow(clippy::unused_self, reason = "called as a method of the reader")]
    fn refuse<T>(&self, expected: &str, got: &str) -> Result<T> {
        Err(Error::Shape { operation: FROM_BYTES, expected: expected.into(), got: got.into() })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((taken, rest)) = self.bytes.split_first_chunk() else {
            return self.refuse(&format!("{N} more bytes"), &format!("{}", self.bytes.len()));
        };
        self.bytes = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// Reads a finite number.
    fn finite(&mut self) -> Result<f64> {
        let value = f64::from_le_bytes(self.take()?);
        if value.is_finite() { Ok(value) } else { self.refuse("finite numbers", &value.to_string()) }
    }

    /// Refuses remaining bytes that are not `count` times `each` in number.
    fn holds(&self, count: u64, each: u64) -> Result<()> {
        match count.checked_mul(each) {
            Some(length) if length == self.bytes.len() as u64 => Ok(()),
            _ => self.refuse(&format!("{count} times {each} more bytes"), &format!("{}", self.bytes.len())),
        }
    }

    fn best(&mut self, patterns: u64, scores: f64) -> Result<Best> {
        let k = self.number()?;
        if k > MAX_TOP as u64 {
            return self.refuse(&format!("at most {MAX_TOP} patterns of largest weight"), &k.to_string());
        }
        let mut best = Best { k: k as usize, patterns: room(FROM_BYTES, "top patterns", k.min(patterns) as usize)? };
        for _ in 0..k.min(patterns) {
            let score = self.finite()?;
            let id = self.number()?;
            let similarity = f32::from_le_bytes(self.take()?);
            let scored = Scored { score, id, similarity };
            if score.abs() > scores || !similarity.is_finite() {
                return self.refuse("a score and a similarity of finite rows", &format!("{score} and {similarity}"));
            }
            if best.patterns.last().is_some_and(|last| !last.precedes(&scored)) {
                return self.refuse("patterns by falling score", &format!("{score} of {id} behind a smaller one"));
            }
            best.patterns.push(scored);
        }
        Ok(best)
    }

    /// Reads the text of an update, as it is written.
    fn update(&mut self) -> Result<Update> {
        let length = usize::try_from(self.number()?).ok();
        let Some((text, rest)) = length.and_then(|length| self.bytes.split_at_checked(length)) else {
            return self.refuse("as many more bytes as the text of the update has", &self.bytes.len().to_string());
        };
        let text = std::str::from_utf8(text).unwrap_or_default();
        match text.parse::<Update>() {
            Ok(update) if update.to_string() == text => {
                self.bytes = rest;
                Ok(update)
            }
            _ => self.refuse("the text of an update", &format!("{text:?}")),
        }
    }

    fn sums(&mut self, columns: usize, patterns: u64, rule: &Rule) -> Result<Sums> {
        self.holds(1 + columns as u64, 8)?;
        let of_self = self.finite()?;
        let mut rows = room(FROM_BYTES, "rows", columns)?;
        for _ in 0..columns {
            rows.push(self.finite()?);
        }
        let couples = rule.update.remove_self && patterns > 0;
        if (of_self != 0.0 && !couples) || (patterns == 0 && rows.iter().any(|sum| *sum != 0.0)) {
            return self.refuse(&format!("sums of {patterns} patterns under `{rule}`"), &format!("a T of {of_self}"));
        }
        Ok(Sums { of_self, rows })
    }

    fn mean(&mut self, columns: usize, patterns: u64, scores: f64) -> Result<Mean> {
        self.holds(3 + columns as u64, 8)?;
        let log_sum = f64::from_le_bytes(self.take()?);
        let score = self.finite()?;
        let largest = f64::from_le_bytes(self.take()?);
        let max_entropy = (patterns as f64).ln();
        // The log-sum-exp lies between the largest score and that of as many equal scores. Its difference from the mean
        // score is the entropy, at most that of equal weights. Devices sum in `f32`.
        let rounding = 1e-9 * (1.0 + largest.abs());
        let likely = match patterns {
            0 => [log_sum, score, largest] == [f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY],
            _ => {
                largest.abs() <= scores
                    && (-rounding..=max_entropy + rounding).contains(&(log_sum - largest))
                    && score <= largest + rounding
                    && log_sum - score <= max_entropy + rounding + 1e-3 * (1.0 + max_entropy)
            }
        };
        if !likely {
            let got = format!("a log-sum-exp of {log_sum} beside a largest score of {largest} and a mean of {score}");
            return self.refuse(&format!("those of {patterns} patterns"), &got);
        }
        let mut rows = room(FROM_BYTES, "rows", columns)?;
        for _ in 0..columns {
            let value = f64::from_le_bytes(self.take()?);
            if !is_mean(value) || (patterns == 0 && value != 0.0) {
                return self.refuse("a mean of finite rows", &value.to_string());
            }
            rows.push(value);
        }
        Ok(Mean { log_sum, score, largest, rows })
    }

    fn candidates(
        &mut self,
        columns: usize,
        patterns: u64,
        scores: f64,
        separation: Separation,
    ) -> Result<Vec<Candidate>> {
        let count = self.number()?;
        let max_count = match separation {
            Separation::TopK { k } => patterns.min(k as u64),
            _ => patterns,
        };
        if count > max_count || (count == 0) != (patterns == 0) {
            return self.refuse(&format!("at most {max_count} candidates of {patterns} patterns"), &count.to_string());
        }
        if count == 0 {
            let padding = std::mem::take(&mut self.bytes);
            return match padding.len() == columns && padding.iter().all(|byte| *byte == 0) {
                true => Ok(Vec::new()),
                false => self.refuse(&format!("{columns} zeros and no more"), &format!("{} bytes", padding.len())),
            };
        }
        self.holds(count, 16 + 4 * columns as u64)?;
        let mut candidates: Vec<Candidate> = room(FROM_BYTES, "candidates", count as usize)?;
        for _ in 0..count {
            let score = self.finite()?;
            if score.abs() > scores {
                return self.refuse("a score of finite rows", &score.to_string());
            }
            let id = self.number()?;
            let mut row = room(FROM_BYTES, "rows", columns)?;
            for _ in 0..columns {
                let value = f32::from_le_bytes(self.take()?);
                if !value.is_finite() {
                    return self.refuse("finite numbers", &value.to_string());
                }
                row.push(value);
            }
            candidates.push(Candidate { score, id, row });
        }
        let read = candidates.len();
        prune(separation, &mut candidates);
        if candidates.len() < read {
            let got = format!("{} that the others rule out", read - candidates.len());
            return self.refuse("candidates that can have weight", &got);
        }
        Ok(candidates)
    }
}
