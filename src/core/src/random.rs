//! Counter-based randomness: each number is a pure function of (seed, step, purpose, index), so nothing
//! has to be saved to resume, and any draw can be recomputed by an auditor on its own.
//!
//! The mixing function is SplitMix64 (Steele, Lea and Flood 2014, Fast Splittable Pseudorandom Number
//! Generators, OOPSLA): a bijection of 64-bit words that passes BigCrush as a counter generator.

/// What a stream of random numbers is for: streams of different purposes never overlap by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Initial weights.
    Initialization,
    /// Dropout masks.
    Dropout,
    /// The order of the training windows.
    DataOrder,
    /// Generated corpora and tasks.
    Generation,
    /// Tokens drawn from a model's distribution.
    Sampling,
    /// Points of a search space.
    Search,
}

impl Purpose {
    fn constant(self) -> u64 {
        match self {
            Purpose::Initialization => 0x696e_6974,
            Purpose::Dropout => 0x6472_6f70,
            Purpose::DataOrder => 0x6f72_6465,
            Purpose::Generation => 0x6765_6e65,
            Purpose::Sampling => 0x7361_6d70,
            Purpose::Search => 0x7365_6172,
        }
    }
}

/// One SplitMix64 output for the state `z`.
pub fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seed of one purpose at one step of one run.
pub fn seed(run_seed: u64, step: u64, purpose: Purpose) -> u64 {
    mix(mix(mix(run_seed) ^ purpose.constant()) ^ step)
}

/// A stream of numbers from a seed: element `k` is `mix(seed + k * gamma)`.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A stream that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Random { state: mix(seed) }
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        let out = mix(self.state);
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        out
    }

    /// A uniform integer in `0..bound`; `bound` must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no element");
        // Lemire 2019, Fast Random Integer Generation in an Interval: multiply, reject the biased sliver.
        let mut product = u128::from(self.next_u64()) * u128::from(bound);
        let threshold = bound.wrapping_neg() % bound;
        while (product as u64) < threshold {
            product = u128::from(self.next_u64()) * u128::from(bound);
        }
        (product >> 64) as u64
    }

    /// A uniform number in `[0, 1)` with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A uniform element; `items` must not be empty.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_reference_splitmix64() {
        // First outputs for seed 1234567, as printed by the authors' C code (prng.di.unimi.it/splitmix64.c).
        let gamma = 0x9e37_79b9_7f4a_7c15u64;
        let outputs: Vec<u64> = (0..3).map(|k| mix(1234567u64.wrapping_add(gamma.wrapping_mul(k)))).collect();
        assert_eq!(outputs, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn below_is_within_and_covers() {
        let mut random = Random::new(7);
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[random.below(5) as usize] = true);
        assert_eq!(seen, [true; 5]);
    }
}
