//! Bigram-hash embedding (Jordan et al. 2024, modded-nanogpt): a vector for each pair of a token and the one before it,
//! looked up by a hash, so that pairs which share a row share its vector.

use tch::Tensor;

/// Odd factors of the hash.
const TOKEN: i64 = 36_313;
const BEFORE: i64 = 27_191;

/// The rows of `tokens` after the tokens `before` them, both (B, T), in a table of `rows`: row 0 where there is none before,
/// else `1 + (36313 token xor 27191 before) mod (rows - 1)`; (B, T), int64.
pub fn rows(tokens: &Tensor, before: &Tensor, rows: i64) -> Tensor {
    let hash = (tokens * TOKEN).bitwise_xor_tensor(&(before * BEFORE)); // (B, T)
    (hash.remainder(rows - 1) + 1).masked_fill(&before.lt(0), 0)
}
