//! What a model has to beat: n-gram models of the training tokens, scored on the validation documents exactly as a
//! trained model is (every token of text, the separator being the context of the first).

use std::path::PathBuf;

use ahash::AHashMap;
use harness_core::corpus_manifest::Baseline;
use harness_core::files::FileError;
use harness_core::shards::Shard;

use crate::error::CorpusError;
use crate::spill::Spill;
use crate::store::Store;

/// The training tokens that the bigram model counts, at most.
const BIGRAM_TOKENS: u64 = 1 << 25;

/// What counting the training shards gives.
pub(crate) struct Baselines {
    pub models: Vec<Baseline>,
    /// Token ids that no training document contains, the separator not counted.
    pub unused_tokens: u32,
}

/// Counts the training shards and scores the validation shards, which hold `bytes` of text.
pub(crate) fn baselines(
    train: &[PathBuf],
    validation: &[PathBuf],
    separator: u32,
    vocabulary: usize,
    bytes: u64,
    store: &Store,
) -> Result<Baselines, CorpusError> {
    let draft = store.draft()?;
    let mut counts = vec![0u64; vocabulary];
    let mut counted = 0;
    // The pairs of training tokens, sorted so that equal ones are counted one after another.
    let mut seen = Spill::new(&draft.path(""), store.memory_bytes() / 2);
    let mut bigram_tokens = 0;
    each_document(train, |tokens| {
        for pair in tokens.windows(2) {
            counts[pair[1] as usize] += 1;
            counted += 1;
            if bigram_tokens < BIGRAM_TOKENS {
                bigram_tokens += 1;
                seen.push(pair_key(pair), 0)?;
            }
        }
        Ok(())
    })?;
    // Only the pairs of validation are asked for.
    let mut pairs: AHashMap<u64, u32> = AHashMap::new();
    each_document(validation, |tokens| {
        pairs.extend(tokens.windows(2).map(|pair| (pair_key(pair), 0)));
        Ok(())
    })?;
    let mut after = vec![0u64; vocabulary];
    let mut kinds_after = vec![0u32; vocabulary];
    let mut last = None;
    for pair in seen.sorted()? {
        let (key, _) = pair?;
        let first = (key >> 32) as usize;
        after[first] += 1;
        kinds_after[first] += u32::from(last.replace(key) != Some(key));
        if let Some(count) = pairs.get_mut(&key) {
            *count += 1;
        }
    }

    // Add-one (Laplace): a token never seen has the count 1.
    let total = (counted + vocabulary as u64) as f64;
    let unigram = |token: i64| (counts[token as usize] + 1) as f64 / total;
    // Witten and Bell 1991, The Zero-Frequency Problem, method C: the weight of the unigram after a token is the
    // share of new kinds among what was seen after it.
    let bigram = |pair: &[i64]| {
        let (seen, kinds) = (after[pair[0] as usize] as f64, f64::from(kinds_after[pair[0] as usize]));
        let count = f64::from(pairs.get(&pair_key(pair)).copied().unwrap_or(0));
        if seen == 0.0 { unigram(pair[1]) } else { (count + kinds * unigram(pair[1])) / (seen + kinds) }
    };
    let (mut unigram_nats, mut bigram_nats, mut tokens_scored) = (0.0, 0.0, 0u64);
    each_document(validation, |tokens| {
        for pair in tokens.windows(2) {
            unigram_nats -= libm::log(unigram(pair[1]));
            bigram_nats -= libm::log(bigram(pair));
            tokens_scored += 1;
        }
        Ok(())
    })?;
    let baseline = |model: &str, estimate: &str, train_tokens: u64, nats: f64| Baseline {
        model: model.to_owned(),
        estimate: estimate.to_owned(),
        train_tokens,
        loss_nats_per_token: nats / tokens_scored.max(1) as f64,
        bits_per_byte: nats / std::f64::consts::LN_2 / bytes.max(1) as f64,
    };
    let unused = counts.iter().enumerate().filter(|&(id, &count)| count == 0 && id != separator as usize).count();
    Ok(Baselines {
        models: vec![
            baseline("unigram", "add one to each count", counted, unigram_nats),
            baseline(
                "bigram",
                "interpolated with the unigram (Witten and Bell 1991, method C)",
                bigram_tokens,
                bigram_nats,
            ),
        ],
        unused_tokens: unused as u32,
    })
}

fn pair_key(pair: &[i64]) -> u64 {
    (pair[0] as u64) << 32 | pair[1] as u64
}

/// Hands over the tokens of each document, its separator first.
fn each_document(paths: &[PathBuf], mut take: impl FnMut(&[i64]) -> Result<(), FileError>) -> Result<(), CorpusError> {
    let mut tokens = Vec::new();
    for path in paths {
        // One at a time, because an open shard holds the places of all its documents.
        let shard = Shard::open(path)?;
        for document in shard.documents() {
            tokens.resize(document.tokens as usize, 0);
            shard.copy_tokens(document.first_token, &mut tokens);
            take(&tokens)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::shards::ShardWriter;

    #[test]
    fn agrees_with_hand_computed_losses() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("train"), folder.path().join("validation")];
        let mut train = ShardWriter::new(4);
        train.push(0, &[1, 2], 4);
        train.push(0, &[1, 1], 4);
        train.write(&paths[0]).unwrap();
        let mut validation = ShardWriter::new(4);
        validation.push(0, &[1, 3], 2);
        validation.write(&paths[1]).unwrap();
        let found = baselines(&paths[..1], &paths[1..], 0, 4, 2, &Store::at(folder.path())).unwrap();
        assert_eq!(found.unused_tokens, 1, "token 3");
        // Unigram: four tokens 1, 2, 1, 1 and one more of each of four: p(1) = 4/8, p(3) = 1/8.
        let unigram = -(libm::log(0.5) + libm::log(0.125)) / 2.0;
        assert!((found.models[0].loss_nats_per_token - unigram).abs() < 1e-12);
        // Bits: 1 + 3 over two bytes.
        assert!((found.models[0].bits_per_byte - 2.0).abs() < 1e-12);
        // After 0: twice 1, one kind: (2 + 1 * 1/2) / 3. After 1: 2 and 1, two kinds: (0 + 2 * 1/8) / 4.
        let bigram = -(libm::log(2.5 / 3.0) + libm::log(0.25 / 4.0)) / 2.0;
        assert!((found.models[1].loss_nats_per_token - bigram).abs() < 1e-12);
    }
}
