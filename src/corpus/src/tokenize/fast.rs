//! Byte-level BPE many times faster than the library that trains it: the same pieces, each encoded by the crate `bpe`
//! in linear time and remembered. Whoever uses it first compares the tokens with the slow library's on a sample.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use ahash::{AHashMap, AHashSet};
use bpe::byte_pair_encoding::{BytePairEncoding, find_hash_factor_for_dictionary};
use harness_core::byte_level;
use serde_json::Value;

use super::pieces::{pieces, short};

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
    /// The BPE of a `tokenizer.json` that cuts text as GPT-2's does; `None` if its model is none over bytes. Entries that
    /// no merge gives (`<pad>`, `madeupword0000`) are left out, as text never gives them. `gives_itself` tells whether the
    /// reference encodes the text of an entry as that entry.
    pub(super) fn of(json: &Value, gives_itself: impl Fn(&str, u32) -> bool) -> Option<Self> {
        let model = &json["model"];
        let plain = model["type"] == "BPE" && model["ignore_merges"] != true;
        let vocabulary = model["vocab"].as_object().filter(|_| plain)?;
        let of_character = byte_level::bytes_of_characters();
        let entry = |text: &str| {
            let id = u32::try_from(vocabulary.get(text)?.as_u64()?).ok()?;
            let token: Vec<u8> = text.chars().map(|c| of_character.get(&c).copied()).collect::<Option<_>>()?;
            gives_itself(text, id).then_some((id, token))
        };
        // The crate derives the merges from the order of the tokens and needs each byte to be one of them.
        let bytes = byte_level::characters_of_bytes().map(|c| entry(&c.to_string()));
        let mut entries: Vec<(u32, Vec<u8>)> = bytes.into_iter().collect::<Option<_>>()?;
        entries.sort();
        // Several merges can give one token; the first decides. Older files write a merge as one string.
        let mut merged = AHashSet::new();
        for merge in model["merges"].as_array()? {
            let text = match merge.as_str() {
                Some(both) => both.replacen(' ', "", 1),
                None => format!("{}{}", merge[0].as_str()?, merge[1].as_str()?),
            };
            entries.extend(entry(&text).filter(|(id, _)| merged.insert(*id)));
        }
        let (ids, tokens): (Vec<u32>, Vec<Vec<u8>>) = entries.into_iter().unzip();
        // It asserts that each entry encodes to itself, as was just asked of the reference.
        let merges = catch_unwind(AssertUnwindSafe(|| {
            let factor = find_hash_factor_for_dictionary(tokens.iter().cloned());
            BytePairEncoding::from_dictionary(tokens, Some(factor))
        }));
        let memories = (0..=rayon::current_num_threads()).map(|_| Mutex::default()).collect();
        Some(FastBpe { merges: merges.ok()?, ids, memories })
    }

    /// The tokens of a text.
    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
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
