//! Text cut into the pieces that a byte-level BPE never joins, by GPT-2's pattern (Radford et al. 2019, section 2.2):
//!
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
//!
//! Scanned by hand, which is many times faster than a regular expression with a look ahead; the classes of characters
//! come from the tables of the crate `regex`, so that both agree on every character.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Other,
    Letter,
    Number,
    Space,
}

/// The kind of every character.
static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let mut kinds = vec![Kind::Other; char::MAX as usize + 1];
    for (pattern, kind) in [(r"\p{L}", Kind::Letter), (r"\p{N}", Kind::Number), (r"\s", Kind::Space)] {
        let parsed = regex_syntax::parse(pattern).expect("the pattern is a constant");
        if let HirKind::Class(Class::Unicode(class)) = parsed.kind() {
            for range in class.ranges() {
                kinds[range.start() as usize..=range.end() as usize].fill(kind);
            }
        }
    }
    kinds
});

/// The pieces of a text, in order; together they are the text.
pub(crate) fn pieces(text: &str) -> Pieces<'_> {
    Pieces { text, at: 0, kinds: &KINDS }
}

pub(crate) struct Pieces<'a> {
    text: &'a str,
    at: usize,
    kinds: &'static [Kind],
}

impl Pieces<'_> {
    /// The kind and the length in bytes of the character at `at`, if there is one.
    #[inline]
    fn character(&self, at: usize) -> Option<(Kind, usize)> {
        let first = *self.text.as_bytes().get(at)?;
        if first < 0x80 {
            return Some((self.kinds[first as usize], 1));
        }
        let character = self.text[at..].chars().next()?;
        Some((self.kinds[character as usize], character.len_utf8()))
    }

    /// Where the run of characters of one kind that goes on at `at` ends.
    #[inline]
    fn run(&self, mut at: usize, kind: Kind) -> usize {
        while let Some((next, bytes)) = self.character(at)
            && next == kind
        {
            at += bytes;
        }
        at
    }

    /// Where the piece that begins at `at` with a character of this kind ends.
    #[inline]
    fn end(&self, at: usize, kind: Kind, bytes: usize) -> usize {
        let rest = &self.text.as_bytes()[at..];
        match kind {
            Kind::Letter | Kind::Number => self.run(at + bytes, kind),
            Kind::Other => match rest {
                [b'\'', b's' | b't' | b'm' | b'd', ..] => at + 2,
                [b'\'', b'r' | b'v', b'e', ..] | [b'\'', b'l', b'l', ..] => at + 3,
                _ => self.run(at + bytes, kind),
            },
            Kind::Space => {
                if rest[0] == b' '
                    && let Some((next, bytes)) = self.character(at + 1)
                    && next != Kind::Space
                {
                    return self.run(at + 1 + bytes, next);
                }
                // A run of white space leaves its last character to what follows, if there is something.
                let end = self.run(at + bytes, kind);
                if end == self.text.len() {
                    return end;
                }
                let last = self.text[at..end].char_indices().next_back().map_or(at, |(last, _)| at + last);
                if last > at { last } else { end }
            }
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (kind, bytes) = self.character(self.at)?;
        let start = self.at;
        self.at = self.end(start, kind, bytes);
        Some(&self.text.as_bytes()[start..self.at])
    }
}

/// The text in parts of about so many bytes, each of which is cut into the same pieces as in the whole. What is said of
/// white space looks one character ahead, so that a part never ends with it.
pub(crate) fn parts(text: &str, bytes: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut ends = pieces(rest).scan(0, |end, piece| {
            *end += piece.len();
            Some(*end)
        });
        let is_end = |end: &usize| *end >= bytes && !rest[..*end].ends_with(char::is_whitespace);
        let end = if rest.len() <= bytes { rest.len() } else { ends.find(is_end).unwrap_or(rest.len()) };
        let (part, behind) = rest.split_at(end);
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

/// A piece of at most 15 bytes as one number, which hashes and compares faster than a slice.
#[inline]
pub(crate) fn short(piece: &[u8]) -> Option<u128> {
    if piece.len() > 15 {
        return None;
    }
    let mut bytes = [0; 16];
    bytes[..piece.len()].copy_from_slice(piece);
    bytes[15] = piece.len() as u8;
    Some(u128::from_le_bytes(bytes))
}

/// The piece behind a number of [`short`].
pub(crate) fn long(short: u128) -> ([u8; 16], usize) {
    let bytes = short.to_le_bytes();
    (bytes, usize::from(bytes[15]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

    /// The pieces as the library that trains the vocabulary cuts them.
    fn of_the_library(text: &str) -> Vec<String> {
        let mut cut = PreTokenizedString::from(text);
        ByteLevel::new(false, true, true).pre_tokenize(&mut cut).unwrap();
        let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (start, end), _)| text[start..end].to_owned()).collect()
    }

    fn cut(text: &str) -> Vec<&str> {
        pieces(text).map(|piece| std::str::from_utf8(piece).unwrap()).collect()
    }

    #[test]
    fn contractions_and_white_space() {
        let text = "I'll  don't 'quote'\n\n x\u{a0}y '' 12ab \t";
        let expected =
            ["I", "'ll", " ", " don", "'t", " '", "quote", "'", "\n\n", " x", "\u{a0}", "y", " ''", " 12", "ab", " \t"];
        assert_eq!(cut(text), expected);
        assert_eq!(cut(text), of_the_library(text));
    }

    #[test]
    fn every_character_is_cut_as_by_the_library() {
        for start in (0..=u32::from(char::MAX)).step_by(0x400) {
            let text: String = (start..start + 0x400).filter_map(char::from_u32).flat_map(|c| [c, 'a', c]).collect();
            assert_eq!(cut(&text), of_the_library(&text), "from {start:#x}");
        }
    }

    proptest! {
        #[test]
        fn text_is_cut_as_by_the_library(text in "(\\PC|[ '\\n\\t\u{a0}\u{3000}]|[a-z]|'(s|ll|re|ve|d)|[0-9]){0,40}") {
            prop_assert_eq!(cut(&text), of_the_library(&text));
            prop_assert_eq!(cut(&text).concat(), text);
        }

        #[test]
        fn parts_are_cut_as_the_whole(text in "(\\PC|[ '\\n\\t\u{a0}\u{3000}]|[a-z]|'(s|ll|re|ve|d)|[0-9]){0,60}", bytes in 1usize..20) {
            let of_parts: Vec<&str> = parts(&text, bytes).flat_map(cut).collect();
            prop_assert_eq!(of_parts, cut(&text));
        }

        #[test]
        fn short_pieces_come_back(piece in prop::collection::vec(any::<u8>(), 0..20)) {
            match short(&piece) {
                Some(number) => {
                    let (bytes, length) = long(number);
                    prop_assert_eq!(&bytes[..length], &piece[..]);
                }
                None => prop_assert!(piece.len() > 15),
            }
        }
    }
}
