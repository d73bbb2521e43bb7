//! Byte-level BPE many times faster than the library that trains it: the same pieces, each encoded by the crate `bpe`
//! in linear time and remembered. Whoever uses it first compares the tokens with the slow library's on a sample.

use std::sync::{Mutex, PoisonError};

use ahash::AHashMap;
use bpe::byte_pair_encoding::{BytePairEncoding, find_hash_factor_for_dictionary};
use harness_core::byte_level;
use serde_json::Value;

use crate::pieces::{pieces, short};

/// Pieces that a thread remembers: most of the text of any language, in a few megabytes.
const REMEMBERED: usize = 1 << 17;

/// A byte-level BPE.
pub(crate) struct FastBpe {
    merges: BytePairEncoding,
    /// The token id of each entry of `merges`, whose ids are ranks.
    ids: Vec<u32>,
    /// What each thread remembers, and one more for callers from outside.
    memories: Vec<Mutex<Memory>>,
}

/// Pieces and their tokens.
#[derive(Default)]
struct Memory {
    /// Where the tokens of a piece lie, and how many they are.
    places: AHashMap<u128, (u32, u32)>,
    tokens: Vec<u32>,
}

impl FastBpe {
    /// The BPE of a `tokenizer.json`; `None` if it is anything else than a plain byte-level BPE in GPT-2's way, whose
    /// token ids are in the order of the merges.
    pub fn of(json: &Value) -> Option<Self> {
        let splits = &json["pre_tokenizer"];
        let plain = json["model"]["type"] == "BPE"
            && json["normalizer"].is_null()
            && splits["type"] == "ByteLevel"
            && splits["add_prefix_space"] == false
            && splits["use_regex"] == true;
        let added = json["added_tokens"].as_array().filter(|_| plain)?;
        let added: Vec<u64> = added.iter().filter_map(|token| token["id"].as_u64()).collect();
        let bytes = byte_level::bytes_of_characters();
        let mut entries = Vec::new();
        for (text, id) in json["model"]["vocab"].as_object()? {
            let id = id.as_u64()?;
            if !added.contains(&id) {
                let token: Vec<u8> = text.chars().map(|c| bytes.get(&c).copied()).collect::<Option<_>>()?;
                entries.push((u32::try_from(id).ok()?, token));
            }
        }
        entries.sort();
        // The crate derives the merges from the order of the tokens and needs each byte to be one of them.
        if (0..=u8::MAX).any(|byte| !entries.iter().any(|(_, token)| token == &[byte])) {
            return None;
        }
        let (ids, tokens): (Vec<u32>, Vec<Vec<u8>>) = entries.into_iter().unzip();
        let factor = find_hash_factor_for_dictionary(tokens.iter().cloned());
        let merges = BytePairEncoding::from_dictionary(tokens, Some(factor));
        let memories = (0..=rayon::current_num_threads()).map(|_| Mutex::default()).collect();
        Some(FastBpe { merges, ids, memories })
    }

    /// The tokens of a text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 3);
        let thread = rayon::current_thread_index().map_or(0, |index| index + 1).min(self.memories.len() - 1);
        let mut memory = self.memories[thread].lock().unwrap_or_else(PoisonError::into_inner);
        let Memory { places, tokens: remembered } = &mut *memory;
        for piece in pieces(text) {
            let Some(short) = short(piece) else {
                tokens.extend(self.encode_piece(piece));
                continue;
            };
            if let Some(&(first, count)) = places.get(&short) {
                tokens.extend_from_slice(&remembered[first as usize..(first + count) as usize]);
                continue;
            }
            let first = tokens.len();
            tokens.extend(self.encode_piece(piece));
            if places.len() < REMEMBERED {
                let place = (remembered.len() as u32, (tokens.len() - first) as u32);
                remembered.extend_from_slice(&tokens[first..]);
                places.insert(short, place);
            }
        }
        tokens
    }

    fn encode_piece(&self, piece: &[u8]) -> impl Iterator<Item = u32> {
        self.merges.encode_via_backtracking(piece).into_iter().map(|rank| self.ids[rank as usize])
    }
}
