//! The loss of every token of the held-out text, as `evaluations/step-NNNNNNNN/validation.tokens`: what says where a
//! loss lies (by position, frequency, part of a word) and whether the model's probabilities are right as such.
//!
//! Layout (little-endian, version 1): a header of 16 bytes (magic `HLOSSES1`, u64 tokens), then one column after the
//! other, each in the order of the windows of `validation.csv` and within a window in that of the text: float32
//! losses in nats, float32 probabilities of the model's first choices, u8 whether the first choice was right. Nine
//! bytes a token, where a row of CSV would take twenty-five.

use std::path::Path;

use crate::files;
use crate::scores::TableError;

const MAGIC: &[u8; 8] = b"HLOSSES1";
const HEADER_BYTES: usize = 16;
const TOKEN_BYTES: usize = 9;

/// One number of each kind for each predicted token; the columns are equally long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenLosses {
    /// Negative log-likelihood of the token that stands there, in nats.
    pub loss_nats: Vec<f32>,
    /// Probability of the token that the model holds most probable.
    pub first_choice_probability: Vec<f32>,
    /// Whether that token is the one that stands there; of several equally probable ones the lowest id counts.
    pub first_choice_right: Vec<bool>,
}

impl TokenLosses {
    /// Tokens predicted.
    pub fn len(&self) -> usize {
        self.loss_nats.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.loss_nats.is_empty()
    }

    /// The file's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        assert!(
            self.first_choice_probability.len() == self.len() && self.first_choice_right.len() == self.len(),
            "every token has one number of each kind"
        );
        let mut bytes = Vec::with_capacity(HEADER_BYTES + TOKEN_BYTES * self.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(self.len() as u64).to_le_bytes());
        for column in [&self.loss_nats, &self.first_choice_probability] {
            bytes.extend(column.iter().flat_map(|number| number.to_le_bytes()));
        }
        bytes.extend(self.first_choice_right.iter().map(|&right| u8::from(right)));
        bytes
    }

    /// Reads a file of them.
    pub fn read(path: &Path) -> Result<Self, TableError> {
        Self::parse(&files::read(path)?, &path.display().to_string())
    }

    /// Parses the content of a file; `name` is what errors call it.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, TableError> {
        let wrong = |problem: String| TableError::Row { file: name.to_owned(), problem };
        let Some((header, columns)) = bytes.split_at_checked(HEADER_BYTES).filter(|(head, _)| head.starts_with(MAGIC))
        else {
            return Err(wrong("it does not begin as a file of token losses, version 1".to_owned()));
        };
        let tokens = u64::from_le_bytes(header[8..].try_into().expect("eight bytes of the header"));
        if (columns.len() as u64).checked_div(TOKEN_BYTES as u64) != Some(tokens) || columns.len() % TOKEN_BYTES != 0 {
            let problem = format!("it names {tokens} tokens of {TOKEN_BYTES} bytes, but holds {} bytes", columns.len());
            return Err(wrong(problem));
        }
        let (losses, rest) = columns.split_at(4 * tokens as usize);
        let (probabilities, right) = rest.split_at(4 * tokens as usize);
        if let Some(at) = right.iter().position(|&byte| byte > 1) {
            return Err(wrong(format!("token {at}: {} is neither 0 nor 1", right[at])));
        }
        Ok(TokenLosses {
            loss_nats: floats(losses),
            first_choice_probability: floats(probabilities),
            first_choice_right: right.iter().map(|&byte| byte == 1).collect(),
        })
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().expect("chunks of four"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(rows: &[(f32, f32, bool)]) -> TokenLosses {
        TokenLosses {
            loss_nats: rows.iter().map(|row| row.0).collect(),
            first_choice_probability: rows.iter().map(|row| row.1).collect(),
            first_choice_right: rows.iter().map(|row| row.2).collect(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_bit_by_bit(rows in prop::collection::vec((0f32..100.0, 0f32..=1.0, any::<bool>()), 0..50)) {
            let losses = of(&rows);
            let bytes = losses.to_bytes();
            prop_assert_eq!(bytes.len(), 16 + 9 * rows.len());
            prop_assert_eq!(TokenLosses::parse(&bytes, "validation.tokens").unwrap(), losses);
        }

        #[test]
        fn damaged_files_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 1usize..9) {
            prop_assert!(TokenLosses::parse(&bytes, "x").is_err());
            let mut whole = of(&[(1.0, 0.5, true), (2.0, 0.25, false)]).to_bytes();
            whole.truncate(whole.len() - cut);
            prop_assert!(TokenLosses::parse(&whole, "x").is_err());
        }
    }

    #[test]
    fn a_hostile_count_allocates_nothing() {
        let mut bytes = of(&[(1.0, 0.5, true)]).to_bytes();
        bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        let message = TokenLosses::parse(&bytes, "validation.tokens").unwrap_err().to_string();
        assert!(message.contains("`validation.tokens`") && message.contains("holds 9 bytes"), "{message}");
        *bytes.last_mut().unwrap() = 2;
        bytes[8..16].copy_from_slice(&1u64.to_le_bytes());
        assert!(TokenLosses::parse(&bytes, "x").unwrap_err().to_string().contains("neither 0 nor 1"));
    }
}
