//! Which choice of an item a model prefers.

use harness_core::scores::ChoiceScore;

/// Whether each item was answered right: the choice with the largest `score`, ties to the lowest index (as numpy's
/// argmax). Rows must be in the order of item and choice.
pub fn right_choices(rows: &[ChoiceScore], score: impl Fn(&ChoiceScore) -> f64) -> Vec<bool> {
    rows.chunk_by(|a, b| a.item == b.item)
        .map(|choices| {
            let mut best = &choices[0];
            choices.iter().for_each(|c| {
                if score(c) > score(best) {
                    best = c;
                }
            });
            best.gold
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(scores: &[(u64, &[f64])]) -> Vec<ChoiceScore> {
        let row = |item: u64, choice: usize, log_probability_nats: f64| ChoiceScore {
            item,
            choice: choice as u32,
            gold: choice == 0,
            characters: choice as u64 + 1,
            tokens: 1,
            log_probability_nats: Some(log_probability_nats),
            greedy: false,
            bytes: choice as u64 + 1,
            words: 1,
            unconditional_log_probability_nats: None,
            context_tokens_cut: 0,
        };
        scores.iter().flat_map(|(item, s)| s.iter().enumerate().map(move |(c, &x)| row(*item, c, x))).collect()
    }

    #[test]
    fn ties_go_to_the_lowest_index() {
        let rows = rows(&[(0, &[-1.0, -1.0]), (1, &[-2.0, -1.0]), (2, &[-1.0, -2.0])]);
        assert_eq!(right_choices(&rows, ChoiceScore::nats), [true, false, true]);
        assert_eq!(right_choices(&rows, |r| r.nats() / r.characters as f64), [false, false, true]);
    }
}
