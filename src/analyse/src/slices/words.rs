//! What kind of word, and which part of it, the bytes of a text are: the rules by which losses are sliced by part of
//! word and by names, numbers and punctuation. Made for languages with white space between words and capitals for
//! names only; the rules are stated here and nowhere else.

/// Which part of a word a token is. A word is what stands between white space, as in the corpus manifest's fertility.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The whole word, with or without the blank before it.
    Whole,
    /// The first token of a word of several.
    First,
    /// A later token.
    Continuation,
    /// White space alone.
    WhiteSpace,
}

impl Part {
    /// In the order of tables.
    pub(super) const ALL: [Part; 4] = [Part::Whole, Part::First, Part::Continuation, Part::WhiteSpace];

    /// The name of the slice.
    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Whole => "whole word",
            Part::First => "first token",
            Part::Continuation => "continuation",
            Part::WhiteSpace => "white space",
        }
    }
}

/// What kind of thing a token belongs to, by its first character that is not white space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WordKind {
    /// A run of letters and digits that begins with a letter and is no name.
    Word,
    /// A capital followed by a small letter, where no sentence begins. A sentence begins at the start of a text, behind
    /// a blank line, behind `.`, `!`, `?` or `…` (but not behind the point of a capitalised run of up to three letters,
    /// such as `Mr.` or an initial), and behind a quotation mark.
    Name,
    /// A run of letters and digits that begins with a digit; points, commas and colons between digits belong to it.
    Number,
    /// Any other character.
    Punctuation,
    /// White space alone.
    WhiteSpace,
}

impl WordKind {
    /// In the order of tables.
    pub(super) const ALL: [WordKind; 5] =
        [WordKind::Word, WordKind::Name, WordKind::Number, WordKind::Punctuation, WordKind::WhiteSpace];

    /// The name of the slice.
    pub(super) fn name(self) -> &'static str {
        match self {
            WordKind::Word => "other word",
            WordKind::Name => "name",
            WordKind::Number => "number",
            WordKind::Punctuation => "punctuation",
            WordKind::WhiteSpace => "white space",
        }
    }
}

/// Part and kind of each token of a text, the tokens being cut at the byte offsets `ends`.
pub(super) fn classify(text: &str, ends: impl IntoIterator<Item = usize>) -> Vec<(Part, WordKind)> {
    let (kinds, word_of) = (kinds(text), words(text));
    let mut begin = 0;
    let token = |end: usize| {
        let bytes = begin..end;
        begin = end;
        // Bytes within a character have the kind of the character, so a token may begin and end inside one.
        let Some(first) = bytes.clone().find(|&at| kinds[at] != WordKind::WhiteSpace) else {
            return (Part::WhiteSpace, WordKind::WhiteSpace);
        };
        let word = &word_of[first];
        let part = match (first == word.start, end >= word.end) {
            (true, true) => Part::Whole,
            (true, false) => Part::First,
            (false, _) => Part::Continuation,
        };
        (part, kinds[first])
    };
    ends.into_iter().map(token).collect()
}

/// For each byte the range of the word it is in; an empty range for white space.
fn words(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut of = vec![0..0; text.len()];
    let mut begin = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        match (character.is_whitespace(), begin) {
            (false, None) => begin = Some(at),
            (true, Some(start)) => {
                of[start..at].fill(start..at);
                begin = None;
            }
            _ => {}
        }
    }
    of
}

/// For each byte the kind of what it belongs to.
fn kinds(text: &str) -> Vec<WordKind> {
    let mut kinds = vec![WordKind::WhiteSpace; text.len()];
    let characters: Vec<(usize, char)> = text.char_indices().chain([(text.len(), '\0')]).collect();
    let mut sentence_begins = true;
    let mut abbreviated = false;
    let mut at = 0;
    while at + 1 < characters.len() {
        let (begin, character) = characters[at];
        let mut end = at + 1;
        let kind = if character.is_alphanumeric() {
            let number = character.is_numeric();
            while characters[end].1.is_alphanumeric() || (number && joins_digits(&characters[end - 1..])) {
                end += 1;
            }
            let letters = || characters[at..end].iter().map(|&(_, c)| c);
            let capitalised = character.is_uppercase() && letters().nth(1).is_some_and(char::is_lowercase);
            abbreviated = character.is_uppercase() && letters().count() <= 3;
            let name = capitalised && !sentence_begins;
            sentence_begins = false;
            match (number, name) {
                (true, _) => WordKind::Number,
                (false, true) => WordKind::Name,
                (false, false) => WordKind::Word,
            }
        } else if character.is_whitespace() {
            sentence_begins |= character == '\n' && characters[end].1 == '\n';
            abbreviated = false;
            WordKind::WhiteSpace
        } else {
            sentence_begins |= match character {
                '.' => !abbreviated,
                '!' | '?' | '…' => true,
                '"' | '“' | '”' | '«' | '»' | '„' | '‘' => true,
                _ => false,
            };
            abbreviated = false;
            WordKind::Punctuation
        };
        kinds[begin..characters[end].0].fill(kind);
        at = end;
    }
    kinds
}

/// Whether a digit is followed by a point, comma or colon and a digit again: 3.14, 10,000, 12:30.
fn joins_digits(characters: &[(usize, char)]) -> bool {
    let digit = |at: usize| characters.get(at).is_some_and(|c| c.1.is_numeric());
    digit(0) && characters.get(1).is_some_and(|c| matches!(c.1, '.' | ',' | ':')) && digit(2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The classes of the pieces of a text between bars.
    fn of(text: &str) -> Vec<(Part, WordKind)> {
        let mut end = 0;
        let ends: Vec<usize> = text
            .split('|')
            .map(|piece| {
                end += piece.len();
                end
            })
            .collect();
        classify(&text.replace('|', ""), ends)
    }

    #[test]
    fn parts_of_words() {
        let parts: Vec<Part> = of("The| un|believ|able|,|\n| cat").iter().map(|c| c.0).collect();
        use Part::{Continuation, First, WhiteSpace, Whole};
        assert_eq!(parts, [Whole, First, Continuation, Continuation, Continuation, WhiteSpace, Whole]);
    }

    #[test]
    fn kinds_of_words() {
        use WordKind::{Name, Number, Punctuation, WhiteSpace, Word};
        for (text, expected) in [
            ("The| old| London| bridge|.| It| fell", vec![Word, Word, Name, Word, Punctuation, Word, Word]),
            ("and| Mr|.| Pickwick| I| saw|.", vec![Word, Name, Punctuation, Name, Word, Word, Punctuation]),
            (
                "said|:| “|Come|,| Tom|!|”",
                vec![Word, Punctuation, Punctuation, Word, Punctuation, Name, Punctuation, Punctuation],
            ),
            (
                "in| 1984| or| 3.|14|,| the| 19|th",
                vec![Word, Number, Word, Number, Number, Punctuation, Word, Number, Number],
            ),
            ("end|\n\n|Title| of| NASA", vec![Word, WhiteSpace, Word, Word, Word]),
        ] {
            let kinds: Vec<WordKind> = of(text).iter().map(|c| c.1).collect();
            assert_eq!(kinds, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_token_of_any_text_has_a_class(text in "(\\PC|[ \\n.A1a]){0,30}", cuts in prop::collection::vec(0usize..60, 0..8)) {
            let mut ends: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).chain([text.len()]).collect();
            ends.sort_unstable();
            let classes = classify(&text, ends.iter().copied());
            prop_assert_eq!(classes.len(), ends.len());
            // White space is white space by either rule.
            prop_assert!(classes.iter().all(|(part, kind)| (*part == Part::WhiteSpace) == (*kind == WordKind::WhiteSpace)));
        }
    }
}
