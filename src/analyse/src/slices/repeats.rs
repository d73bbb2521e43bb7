//! Whether a token, with those before it, stood earlier in the document as far as the model sees it: what a model can
//! copy instead of predict (induction: Olsson et al. 2022, In-context Learning and Induction Heads).

use std::collections::HashSet;

/// The longest n-gram that is looked for.
pub(super) const LONGEST: usize = 4;

/// For each token after the first of a window, the length (0 to [`LONGEST`]) of the longest n-gram that ends there and
/// ended earlier in the window too. `window` is what the model reads and, last, the token it predicts from all of it.
pub(super) fn repeated(window: &[u32]) -> Vec<u8> {
    let mut seen: HashSet<(usize, [u32; LONGEST])> = HashSet::new();
    let gram = |end: usize, length: usize| {
        let mut gram = [0; LONGEST];
        gram[..length].copy_from_slice(&window[end + 1 - length..=end]);
        (length, gram)
    };
    let mut out = Vec::with_capacity(window.len().saturating_sub(1));
    for end in 0..window.len() {
        let possible = LONGEST.min(end + 1);
        // If an n-gram was seen, so was every shorter one that ends where it ends.
        let longest = (1..=possible).take_while(|&length| seen.contains(&gram(end, length))).count();
        if end > 0 {
            out.push(longest as u8);
        }
        seen.extend((1..=possible).map(|length| gram(end, length)));
    }
    out
}

/// The name of a length.
pub(super) fn name(length: usize) -> String {
    match length {
        0 => "new token".to_owned(),
        1 => "known token, new bigram".to_owned(),
        LONGEST => format!("repeated {LONGEST}-gram"),
        n => format!("repeated {n}-gram, new {}-gram", n + 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_copied_passage_is_known_ever_longer() {
        assert_eq!(repeated(&[9, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5]), [0, 0, 0, 0, 0, 1, 2, 3, 4, 4]);
        assert!(repeated(&[7]).is_empty());
        assert_eq!(repeated(&[1, 1, 1]), [1, 2]);
    }

    proptest! {
        #[test]
        fn it_is_what_a_search_finds(window in prop::collection::vec(0u32..3, 0..40)) {
            let search = |end: usize| (1..=LONGEST.min(end + 1)).rev().find(|&n| {
                let gram = &window[end + 1 - n..=end];
                (n - 1..end).any(|earlier| &window[earlier + 1 - n..=earlier] == gram)
            });
            let expected: Vec<u8> = (1..window.len()).map(|end| search(end).unwrap_or(0) as u8).collect();
            prop_assert_eq!(repeated(&window), expected);
        }
    }
}
