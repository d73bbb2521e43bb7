//! How a byte-level vocabulary (GPT-2's and its descendants) writes bytes as characters, and the bytes behind its tokens.

use std::collections::HashMap;

/// The bytes of text that each token id of a `tokenizer.json` stands for, empty for ids that are not used. `None` unless
/// the vocabulary is a byte-level one: only there the bytes of a text are those of its tokens, one after another.
pub fn bytes_of_tokens(tokenizer_json: &[u8], vocabulary_size: u32) -> Option<Vec<Vec<u8>>> {
    let json: serde_json::Value = serde_json::from_slice(tokenizer_json).ok()?;
    if json["decoder"]["type"] != "ByteLevel" {
        return None;
    }
    let of_character = bytes_of_characters();
    let mut bytes = vec![Vec::new(); vocabulary_size as usize];
    let vocabulary = &json["model"]["vocab"];
    let entries: Option<Vec<(&str, u64)>> = match vocabulary.as_array() {
        // Of a unigram vocabulary: pieces with their scores, in the order of their ids.
        Some(pieces) => (0..).zip(pieces).map(|(id, piece)| Some((piece[0].as_str()?, id))).collect(),
        None => vocabulary.as_object()?.iter().map(|(text, id)| Some((&**text, id.as_u64()?))).collect(),
    };
    for (text, id) in entries? {
        let place = bytes.get_mut(usize::try_from(id).ok()?)?;
        *place = text.chars().map(|c| of_character.get(&c).copied()).collect::<Option<_>>().unwrap_or_default();
    }
    // Added tokens are spelled as text, not in the characters that stand for bytes.
    for token in json["added_tokens"].as_array().into_iter().flatten() {
        let place = bytes.get_mut(usize::try_from(token["id"].as_u64()?).ok()?)?;
        *place = token["content"].as_str()?.as_bytes().to_vec();
    }
    Some(bytes)
}

/// The byte behind each character of a byte-level vocabulary.
pub fn bytes_of_characters() -> HashMap<char, u8> {
    characters_of_bytes().into_iter().zip(0..=u8::MAX).collect()
}

/// The character by which a byte-level vocabulary writes each byte: printable bytes stand for themselves, the others
/// are the characters from 256 on, in order.
pub fn characters_of_bytes() -> [char; 256] {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 256;
    let mut characters = ['\0'; 256];
    for byte in 0..=u8::MAX {
        let code = if printable(byte) {
            u32::from(byte)
        } else {
            next += 1;
            next - 1
        };
        characters[usize::from(byte)] = char::from_u32(code).expect("codes below 512 are characters");
    }
    characters
}
