//! The order in which training data is read: a pure function of (seed, sequence number), never of world
//! size, thread count or resume point, and a rolling digest that proves which tokens were seen.
//!
//! The token stream is cut into windows of `context_length` inputs (plus one token for the last target).
//! Each epoch visits every window once, in an order given by a keyed permutation.

use crate::digest::{Digest, Hasher};
use crate::random::{self, Purpose};

/// The name of this algorithm in records. A changed order must get a new name.
pub const ALGORITHM: &str = "feistel-windows-1";

/// The order of the training windows of one run.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    seed: u64,
    windows: u64,
}

impl Order {
    /// The order over `windows` windows (at least 1) for a run's seed.
    pub fn new(seed: u64, windows: u64) -> Self {
        assert!(windows > 0, "no windows to order");
        Order { seed, windows }
    }

    /// How many windows of `context_length` inputs a stream of `tokens` tokens holds; each needs one token
    /// more, for the target of its last position.
    pub fn windows_in(tokens: u64, context_length: u64) -> u64 {
        tokens.saturating_sub(1) / context_length
    }

    /// The window of the `sequence`-th training sequence (counted over all steps and batches).
    pub fn window(&self, sequence: u64) -> u64 {
        let (epoch, position) = (sequence / self.windows, sequence % self.windows);
        permute(position, self.windows, random::seed(self.seed, epoch, Purpose::DataOrder))
    }
}

/// A keyed permutation of `0..n`: a four-round Feistel network over the next even number of bits, with
/// cycle walking (Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains).
fn permute(index: u64, n: u64, key: u64) -> u64 {
    let half_bits = (64 - (n - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half_bits) - 1;
    let mut value = index;
    loop {
        let (mut left, mut right) = (value >> half_bits, value & mask);
        for round in 0..4 {
            let mixed = random::mix(key ^ random::mix(right ^ (round << 56)));
            (left, right) = (right, left ^ (mixed & mask));
        }
        value = (left << half_bits) | right;
        if value < n {
            return value;
        }
    }
}

/// The rolling digest over the batches consumed: `d(k) = sha256(d(k-1) || tokens of step k as u32 LE)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollingDigest(Digest);

impl RollingDigest {
    /// The digest before the first batch.
    pub fn start() -> Self {
        RollingDigest(Digest::of(ALGORITHM.as_bytes()))
    }

    /// Goes on from a saved digest.
    pub fn resume(digest: Digest) -> Self {
        RollingDigest(digest)
    }

    /// Takes in one optimizer step's tokens, in the order of its sequences: of each, the inputs and the last target
    /// (`context_length + 1` tokens).
    pub fn update(&mut self, tokens: &[i64]) {
        let mut hasher = Hasher::new();
        hasher.update(self.0.as_bytes());
        let mut bytes = Vec::with_capacity(tokens.len() * 4);
        tokens.iter().for_each(|&token| bytes.extend_from_slice(&(token as u32).to_le_bytes()));
        hasher.update(&bytes);
        self.0 = hasher.finish();
    }

    /// The digest so far.
    pub fn digest(&self) -> Digest {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_epoch_visits_every_window_once(seed: u64, windows in 1u64..300, epoch in 0u64..3) {
            let order = Order::new(seed, windows);
            let mut seen: Vec<u64> = (0..windows).map(|i| order.window(epoch * windows + i)).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..windows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let visit =
            |seed: u64, epoch: u64| (0..50u64).map(|i| Order::new(seed, 50).window(epoch * 50 + i)).collect::<Vec<_>>();
        assert_ne!(visit(1, 0), visit(1, 1));
        assert_ne!(visit(1, 0), visit(2, 0));
    }
}
