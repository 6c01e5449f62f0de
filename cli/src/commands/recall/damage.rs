//! Ways to spoil an image: the same seed gives the same damage, image by image.

use std::fmt;

use clap::ValueEnum;
use harness::Rng;

/// The ways to spoil an image. Pixels run from -1 to 1, so a hidden pixel is 0: it says nothing for or against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Hide the lower half.
    LowerHalf,
    /// Hide the upper half.
    UpperHalf,
    /// Hide the left half.
    LeftHalf,
    /// Add Gaussian noise whose standard deviation is the level [default level: 0.5].
    Noise,
    /// Turn this share of the pixels black or white at random [default level: 0.3].
    SaltPepper,
    /// Hide a block at a random place, this share of the height by this share of the width [default level: 0.5].
    Block,
}

impl Kind {
    /// The level where none is given; none where it has no meaning.
    fn default_level(self) -> Option<f32> {
        match self {
            Self::LowerHalf | Self::UpperHalf | Self::LeftHalf => None,
            Self::Noise | Self::Block => Some(0.5),
            Self::SaltPepper => Some(0.3),
        }
    }
}

/// A kind with its level and seed.
#[derive(Clone, Copy, Debug)]
pub struct Damage {
    kind: Kind,
    level: Option<f32>,
    seed: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.kind.to_possible_value() {
            f.write_str(name.get_name())?;
        }
        self.level.map_or(Ok(()), |level| write!(f, " {level}"))
    }
}

impl Damage {
    /// Refuses a level for a kind that has none.
    pub fn new(kind: Kind, level: Option<f32>, seed: u64) -> Result<Self, String> {
        match kind.default_level() {
            None if level.is_some() => Err("--level needs --damage noise, salt-pepper or block".into()),
            default => Ok(Self { kind, level: level.or(default), seed }),
        }
    }

    /// The `index`-th image, spoiled.
    pub fn apply(&self, index: usize, image: &[f32], height: usize, width: usize) -> Vec<f32> {
        let mut image = image.to_vec();
        let mut random = Rng::stream(self.seed, index as u64);
        let level = self.level.unwrap_or(0.0);
        let mut hide = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| {
            for row in rows {
                image[row * width..][columns.clone()].fill(0.0);
            }
        };
        match self.kind {
            Kind::LowerHalf => hide(height / 2..height, 0..width),
            Kind::UpperHalf => hide(0..height / 2, 0..width),
            Kind::LeftHalf => hide(0..height, 0..width / 2),
            Kind::Block => {
                let (h, w) = ((level * height as f32).round() as usize, (level * width as f32).round() as usize);
                let (top, left) = (random.below(height - h + 1), random.below(width - w + 1));
                hide(top..top + h, left..left + w);
            }
            Kind::Noise => image.iter_mut().for_each(|pixel| *pixel += level * random.normal()),
            Kind::SaltPepper => {
                for pixel in &mut image {
                    if random.uniform() < level {
                        *pixel = if random.uniform() < 0.5 { -1.0 } else { 1.0 };
                    }
                }
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoil(kind: Kind, level: Option<f32>, seed: u64, index: usize) -> Vec<f32> {
        Damage::new(kind, level, seed).unwrap().apply(index, &[0.25; 30 * 20], 30, 20)
    }

    #[test]
    fn halves_hide_their_half() {
        let hidden = |kind| spoil(kind, None, 1, 0).iter().map(|&p| p == 0.0).collect::<Vec<_>>();
        assert!(hidden(Kind::LowerHalf).iter().enumerate().all(|(i, &h)| h == (i >= 300)));
        assert!(hidden(Kind::UpperHalf).iter().enumerate().all(|(i, &h)| h == (i < 300)));
        assert!(hidden(Kind::LeftHalf).iter().enumerate().all(|(i, &h)| h == (i % 20 < 10)));
        assert!(Damage::new(Kind::LowerHalf, Some(0.5), 1).is_err());
    }

    #[test]
    fn a_block_has_its_size_anywhere_in_the_image() {
        for (level, pixels) in [(0.0, 0), (0.5, 15 * 10), (1.0, 600)] {
            for index in 0..50 {
                let image = spoil(Kind::Block, Some(level), 1, index);
                assert_eq!(image.iter().filter(|&&p| p == 0.0).count(), pixels);
            }
        }
    }

    #[test]
    fn noise_has_its_level_and_follows_its_seed() {
        for kind in [Kind::Noise, Kind::SaltPepper, Kind::Block] {
            assert_eq!(spoil(kind, None, 7, 3), spoil(kind, None, 7, 3));
            assert_ne!(spoil(kind, None, 7, 3), spoil(kind, None, 8, 3), "{kind:?}");
            assert_ne!(spoil(kind, None, 7, 3), spoil(kind, None, 7, 4), "{kind:?}");
        }
        let image: Vec<f32> = (0..100).flat_map(|i| spoil(Kind::Noise, Some(0.5), 1, i)).collect();
        let mean = image.iter().sum::<f32>() / image.len() as f32;
        let deviation = (image.iter().map(|p| (p - mean).powi(2)).sum::<f32>() / image.len() as f32).sqrt();
        assert!((mean - 0.25).abs() < 0.01 && (deviation - 0.5).abs() < 0.01, "{mean} {deviation}");
        let spoiled: usize =
            (0..100).map(|i| spoil(Kind::SaltPepper, Some(0.3), 1, i).iter().filter(|p| p.abs() == 1.0).count()).sum();
        assert!((spoiled as f32 / 60_000.0 - 0.3).abs() < 0.01, "{spoiled}");
    }
}
