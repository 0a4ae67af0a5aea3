//! Reproducible random numbers.

use std::ops::RangeInclusive;

/// A generator whose seed determines all of its values.
#[derive(Debug)]
pub struct Dice {
    seed: u64,
    generator: fastrand::Rng,
}

impl Dice {
    /// A generator with the seed in this environment variable, otherwise with a random one. A test prints it.
    #[track_caller]
    pub fn from_environment(variable: &str) -> Self {
        let seed = match std::env::var(variable) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
            Err(_) => u64::from(fastrand::u32(..)),
        };
        Self::from_seed(seed)
    }

    /// A generator with this seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { seed, generator: fastrand::Rng::with_seed(seed) }
    }

    /// The seed, which makes a run reproducible.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// One of the values.
    #[track_caller]
    pub fn one_of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.generator.usize(..values.len())]
    }

    /// A number within the range.
    pub fn between(&mut self, range: RangeInclusive<u32>) -> u32 {
        self.generator.u32(range)
    }

    /// True once in `times` calls on average.
    pub fn once_in(&mut self, times: u32) -> bool {
        self.generator.u32(..times) == 0
    }

    /// This many random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.generator.u8(..)).take(count).collect()
    }

    /// An input with one to four changes; some take a piece of another input.
    pub fn mutation(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..self.generator.usize(1..=4) {
            let at = self.generator.usize(..=bytes.len());
            match self.between(0..=4) {
                0 => bytes.insert(at, self.generator.u8(..)),
                1 => bytes.truncate(at),
                2 => {
                    let from = self.generator.usize(..=other.len());
                    let to = (from + self.generator.usize(..40)).min(other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
                _ if at < bytes.len() => bytes[at] = self.generator.u8(..),
                _ => bytes.push(self.generator.u8(..)),
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_a_run() {
        let run = |seed| {
            let mut dice = Dice::from_seed(seed);
            (dice.between(0..=1_000_000), *dice.one_of(&[1, 2, 3]), dice.bytes(8), dice.once_in(2))
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
