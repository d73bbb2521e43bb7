//! Items as token ids, cut between context and continuation as lm-evaluation-harness does it (`_encode_pair` of its
//! `TemplateLM`, read at the commit 4e7e0d4): blanks at the end of the context move to the continuation; context and
//! whole are encoded each on its own; what the whole has after the length of the context is the continuation. An
//! empty context is the separator token.

use harness_core::scores::Request;

use super::items::{Item, ItemsError};
use crate::tokenizer::{Encoder, TokenizerError};

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

/// The requests of an item, one for each choice.
pub fn requests(id: &str, index: usize, item: &Item, encoder: &Encoder) -> Result<Vec<Request>, RequestError> {
    let kept = item.context.trim_end_matches(is_blank_to_python);
    let blanks = &item.context[kept.len()..];
    let context = if kept.is_empty() { vec![encoder.tokenizer().separator()] } else { encoder.encode(kept)? };
    let request = |(choice, text): (usize, &String)| {
        let continuation = if kept.is_empty() {
            encoder.encode(&format!("{blanks}{DELIMITER}{text}"))?
        } else {
            let mut whole = encoder.encode(&format!("{kept}{blanks}{DELIMITER}{text}"))?;
            whole.split_off(context.len().min(whole.len()))
        };
        if continuation.is_empty() {
            let problem = format!("choice {choice} adds no token to its context");
            return Err(ItemsError { id: id.to_owned(), record: index + 1, problem }.into());
        }
        Ok(Request {
            item: index as u64,
            choice: choice as u32,
            gold: choice == item.gold,
            characters: text.chars().count() as u64,
            context: context.clone(),
            continuation,
        })
    };
    item.choices.iter().enumerate().map(request).collect()
}

/// What `str.rstrip()` takes off: Unicode's white space and the four separators of ASCII.
fn is_blank_to_python(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
