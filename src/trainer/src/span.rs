//! What is asked of a model: how probable some tokens are after others. Requests of tasks and held-out documents all
//! become [`Span`]s.

/// Tokens whose probability is asked for: `targets` are predicted at the last positions of `inputs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// What the model reads; at most the context length.
    pub inputs: Vec<i64>,
    /// What it should predict; not more than `inputs`.
    pub targets: Vec<i64>,
}

impl Span {
    /// A continuation after its context, as lm-evaluation-harness asks for it: both are cut from the left to one token
    /// more than the context length, and the last token is not read, only predicted. `None` for a continuation that
    /// does not fit behind one token of context, which lm-evaluation-harness refuses too: its last tokens alone would
    /// be another question.
    pub fn after(context: &[u32], continuation: &[u32], context_length: usize) -> Option<Span> {
        if continuation.len() > context_length {
            return None;
        }
        let all: Vec<i64> = context.iter().chain(continuation).map(|&id| i64::from(id)).collect();
        let kept = &all[cut(context, continuation, context_length)..];
        let (inputs, targets) = (&kept[..kept.len() - 1], &kept[kept.len() - continuation.len()..]);
        Some(Span { inputs: inputs.to_vec(), targets: targets.to_vec() })
    }
}

/// Tokens that the context of a continuation loses on the left.
pub fn cut(context: &[u32], continuation: &[u32], context_length: usize) -> usize {
    (context.len() + continuation.len()).saturating_sub(context_length + 1)
}

/// The windows of a held-out document of `tokens` tokens: (first token predicted, tokens predicted). Each token after
/// the leading separator is predicted once; a window's first context is the last token predicted before it.
pub fn windows(tokens: u64, context_length: u64) -> impl Iterator<Item = (u64, u64)> {
    (1..tokens).step_by(context_length as usize).map(move |first| (first, context_length.min(tokens - first)))
}

/// The windows that roll over a document, as `get_rolling_token_windows` of lm-evaluation-harness gives them: the first
/// predicts as many tokens as the context holds, each later one the next `stride` (0: the context length) with all
/// the context that fits before them, and so does the last, which predicts what is left.
pub fn rolling(context: &[u32], document: &[u32], context_length: usize, stride: usize) -> Vec<Span> {
    // With the token before it in front, the targets from `i` on are predicted from the tokens up to `i`.
    let all: Vec<i64> = context.last().into_iter().chain(document).map(|&id| i64::from(id)).collect();
    let stride = if stride == 0 { context_length } else { stride.min(context_length) };
    let mut spans = Vec::new();
    let mut predicted = 0;
    while predicted < document.len() {
        let most = if predicted == 0 { context_length } else { stride };
        let count = most.min(document.len() - predicted);
        predicted += count;
        let inputs = all[predicted.saturating_sub(context_length)..predicted].to_vec();
        spans.push(Span { inputs, targets: all[predicted + 1 - count..=predicted].to_vec() });
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens(count: u32) -> Vec<u32> {
        (0..count).collect()
    }

    #[test]
    fn a_context_is_cut_from_the_left_and_the_last_token_is_not_read() {
        let (context, continuation) = (tokens(30), vec![50, 51, 52]);
        let span = Span::after(&context, &continuation, 24).unwrap();
        assert_eq!((span.inputs.len(), span.targets.as_slice()), (24, &[50, 51, 52][..]));
        assert_eq!(span.inputs[21..], [29, 50, 51]);
        assert_eq!(cut(&context, &continuation, 24), 8);
        let short = Span::after(&[7], &[8, 9], 24).unwrap();
        assert_eq!((short.inputs, short.targets, cut(&[7], &[8, 9], 24)), (vec![7, 8], vec![8, 9], 0));
    }

    #[test]
    fn what_does_not_fit_behind_one_token_of_context_is_not_asked() {
        let whole = Span::after(&[1, 2], &tokens(24), 24).unwrap();
        assert_eq!((whole.inputs[0], whole.targets.len(), cut(&[1, 2], &tokens(24), 24)), (2, 24, 1));
        assert_eq!(Span::after(&[1, 2], &tokens(25), 24), None);
    }

    #[test]
    fn rolling_windows_are_those_of_the_reference() {
        // The example in the docstring of `get_rolling_token_windows`: tokens 0 to 8 after P (here 9), windows of 3 tokens
        // that keep 2 of context, so 2 new ones each.
        let roll = |context_length, stride| rolling(&[9], &tokens(9), context_length, stride);
        let spans: Vec<(Vec<i64>, Vec<i64>)> = roll(3, 2).into_iter().map(|span| (span.inputs, span.targets)).collect();
        let expected = [
            (vec![9, 0, 1], vec![0, 1, 2]),
            (vec![1, 2, 3], vec![3, 4]),
            (vec![3, 4, 5], vec![5, 6]),
            (vec![5, 6, 7], vec![7, 8]),
        ];
        assert_eq!(spans, expected);
        let whole: Vec<i64> = roll(4, 0).into_iter().flat_map(|span| span.targets).collect();
        assert_eq!(whole, (0..9).collect::<Vec<i64>>());
        let last = roll(4, 0).pop().unwrap();
        assert_eq!((last.inputs, last.targets), (vec![4, 5, 6, 7], vec![8]), "the last window is full of context");
    }

    proptest! {
        #[test]
        fn windows_predict_each_token_once(tokens in 1u64..400, context_length in 1u64..50) {
            let mut next = 1;
            for (first, count) in windows(tokens, context_length) {
                prop_assert_eq!(first, next);
                prop_assert!(count >= 1 && count <= context_length);
                next += count;
            }
            prop_assert_eq!(next, tokens);
        }
    }
}
