//! Items as token ids, cut between context and continuation as lm-evaluation-harness does it (`_encode_pair` of its
//! `TemplateLM`, read at the commit 4e7e0d4): blanks at the end of the context move to the continuation; context and
//! whole are encoded each on its own; what the whole has after the length of the context is the continuation. An
//! empty context is the separator token.

use harness_core::scores::Request;

use crate::item::{Item, ItemsError};
use crate::tokenize::{Encoder, TokenizerError};
use harness_core::task_kind::Kind;

/// What joins a choice to its context.
const DELIMITER: &str = " ";

/// Why an item has no requests.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Item(#[from] ItemsError),
}

/// What is asked about every item of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub kind: Kind,
    /// The choice without its context as well.
    pub unconditional: bool,
}

/// The requests of an item, one for each choice.
pub(super) fn requests(
    id: &str,
    index: usize,
    item: &Item,
    asked: Asked,
    encoder: &Encoder,
) -> Result<Vec<Request>, RequestError> {
    let wrong = |problem: String| ItemsError { id: id.to_owned(), record: index + 1, problem };
    // All choices of an item but for two contexts have the same one.
    let shared = Context::of(&item.context, encoder)?;
    let request = |(choice, text): (usize, &String)| {
        let (context, continuation) = match asked.kind {
            Kind::Documents => (vec![encoder.tokenizer().separator()], encoder.encode(text)?),
            Kind::TwoContexts => {
                let whole = format!("{}{text}", item.context);
                let context = Context::of(&whole, encoder)?;
                let continuation = context.continued(&item.continuation, encoder)?;
                (context.tokens, continuation)
            }
            _ => (shared.tokens.clone(), shared.continued(text, encoder)?),
        };
        if continuation.is_empty() {
            return Err(wrong(format!("choice {choice} adds no token to its context")).into());
        }
        let unconditional =
            if asked.unconditional { encoder.encode(&format!("{DELIMITER}{text}"))? } else { Vec::new() };
        let counted = if item.original.is_empty() { text } else { &item.original };
        Ok(Request {
            item: index as u64,
            choice: choice as u32,
            gold: choice == item.gold,
            characters: counted.chars().count() as u64,
            bytes: counted.len() as u64,
            words: words(counted),
            context,
            continuation,
            unconditional,
            cluster: item.cluster,
        })
    };
    item.choices.iter().enumerate().map(request).collect()
}

/// A context, cut and encoded once for all that may follow.
struct Context<'a> {
    text: &'a str,
    /// Bytes of `text` before the blanks at its end.
    kept: usize,
    tokens: Vec<u32>,
}

impl<'a> Context<'a> {
    fn of(text: &'a str, encoder: &Encoder) -> Result<Context<'a>, TokenizerError> {
        let kept = text.trim_end_matches(is_blank_to_python);
        let tokens = if kept.is_empty() { vec![encoder.tokenizer().separator()] } else { encoder.encode(kept)? };
        Ok(Context { text, kept: kept.len(), tokens })
    }

    /// The tokens of what follows.
    fn continued(&self, text: &str, encoder: &Encoder) -> Result<Vec<u32>, TokenizerError> {
        if self.kept == 0 {
            return encoder.encode(&format!("{}{DELIMITER}{text}", self.text));
        }
        let mut whole = encoder.encode(&format!("{}{DELIMITER}{text}", self.text))?;
        Ok(whole.split_off(self.tokens.len().min(whole.len())))
    }
}

/// Words as `len(re.split(r"\s+", text))` of Python counts them: white space at an end parts an empty word off.
fn words(text: &str) -> u64 {
    let inner = text.split(is_blank_to_python).filter(|word| !word.is_empty()).count() as u64;
    let ends = [text.starts_with(is_blank_to_python), text.ends_with(is_blank_to_python)];
    if inner == 0 { 1 + u64::from(!text.is_empty()) } else { inner + ends.map(u64::from).iter().sum::<u64>() }
}

/// What `str.rstrip()` takes off: Unicode's white space and the four separators of ASCII.
fn is_blank_to_python(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_the_reference_does() {
        // From Python: len(re.split(r"\s+", text)).
        let cases = [("", 1), (" ", 2), ("a", 1), (" a", 2), ("a b\n", 3), (" = One = \n", 5), ("a\u{1f}b", 2)];
        for (text, expected) in cases {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }
}
