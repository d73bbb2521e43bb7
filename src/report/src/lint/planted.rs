//! Fifty statements that are wrong or unbacked, five of each of ten kinds, in the words of students who are in a hurry.
//! `{...}` stands for a number as such a student would have typed it from the terminal.

use super::Rule;

/// A kind of statement, the section it is planted in, and its words.
pub(super) const STATEMENTS: [(Rule, &str, &str); 50] = [
    // Typed numbers.
    (Rule::Number, "50-results", "The baseline needs {bits} bits per byte, which is close to what we hoped for."),
    (Rule::Number, "60-changes-lr-warmup", "With warm-up the loss goes down to {warm-loss}~nats."),
    (Rule::Number, "30-model", "We trained on roughly {k-tokens}k tokens."),
    (Rule::Number, "80-conclusion", "Accuracy on agreement is about {whole-accuracy}% after training."),
    (Rule::Number, "90-limitations", "It took us {time} s on a laptop CPU, i.e. less than two minutes."),
    // Numbers of runs that have been repeated since.
    (Rule::Stale, "50-results", "Earlier runs showed {old-bits} bits per byte for the baseline."),
    (Rule::Stale, "60-changes-lr-warmup", "On the validation side lr-warmup reaches {old-warm-bits}."),
    (Rule::Stale, "80-conclusion", "The perplexity per token was {old-perplexity}."),
    (Rule::Stale, "55-analysis", "The training loss of the baseline ended at {old-loss}, as the figure shows."),
    (Rule::Stale, "00-abstract", "(The baseline, for reference: {old-bits}.)"),
    // Verbs that no test stands behind.
    (Rule::Claim, "80-conclusion", "Warm-up clearly improves the model."),
    (Rule::Claim, "60-changes-lr-warmup", "lr-warmup outperforms the baseline on anaphora."),
    (Rule::Claim, "70-summary", "The accuracy on determiner agreement is significantly higher with warm-up."),
    (Rule::Claim, "00-abstract", "Overall, #raw(\"lr-warmup\") is the better model."),
    (
        Rule::Claim,
        "60-changes-lr-warmup",
        "Bits per byte drop when the learning rate is warmed up, so warming up helps.",
    ),
    // The validation side, called the test side.
    (
        Rule::Side,
        "50-results",
        "On the test set, the baseline needs #value(\"baseline\", \"validation.bits_per_byte\") bits per byte.",
    ),
    (Rule::Side, "55-analysis", "Test perplexity is #value(\"baseline\", \"validation.perplexity\")."),
    (
        Rule::Side,
        "60-changes-lr-warmup",
        "Our held-out test loss is #value(\"lr-warmup\", \"validation.loss\") nats per token.",
    ),
    (
        Rule::Side,
        "70-summary",
        "The final test bits per byte of the two models differ by #delta(\"lr-warmup\", \"baseline\", \"validation.bits_per_byte\").",
    ),
    (
        Rule::Side,
        "80-conclusion",
        "We report #value(\"lr-warmup\", \"validation.bits_per_byte\") bits per byte on unseen test documents.",
    ),
    // Tables with the same numbers under other names.
    (
        Rule::Copied,
        "70-summary",
        "#table(columns: 3, [*model*], [*loss*], [*accuracy*], [baseline], [2.314], [71.3], [lr-warmup], [2.314], [71.3])",
    ),
    (
        Rule::Copied,
        "50-results",
        "#table(columns: 3, [], [bits per byte], [perplexity], [our transformer], [{warm-bits}], [{warm-perplexity}])",
    ),
    (
        Rule::Copied,
        "A2-configurations",
        "#figure(table(columns: (auto, auto, auto), [seed 1], [1.874], [66.0], [seed 2], [1.874], [66.0]), caption: [Seeds.])",
    ),
    (Rule::Copied, "60-changes-lr-warmup", "- before: 2.410 nats, 64.7%\n- after: 2.410 nats, 64.7%"),
    (
        Rule::Copied,
        "80-conclusion",
        "#table(\n  columns: 4,\n  [large], [3.21], [55.1], [48.9],\n  [small], [3.91], [51.1], [45.0],\n  [medium], [3.21], [55.1], [48.9],\n)",
    ),
    // Averages that are none.
    (Rule::Average, "50-results", "The mean accuracy over the four tasks is {wrong-mean}%."),
    (Rule::Average, "70-summary", "Averaged over both experiments, bits per byte are {mean-bits}."),
    (Rule::Average, "80-conclusion", "On average the models answer {wrong-mean}% of the items right."),
    (
        Rule::Average,
        "50-results",
        "On average over the tasks, the baseline is right in #value(\"baseline\", \"tasks.grammar-agreement.accuracy\", unit: true) of the cases.",
    ),
    (
        Rule::Average,
        "70-summary",
        "The mean bits per byte of both experiments is #value(\"lr-warmup\", \"validation.bits_per_byte\").",
    ),
    // The best of several as the result.
    (
        Rule::Best,
        "80-conclusion",
        "As our final result the baseline reaches #value(\"baseline\", \"validation.best_bits_per_byte\") bits per byte.",
    ),
    (
        Rule::Best,
        "60-changes-lr-warmup",
        "At the end of training lr-warmup is at #value(\"lr-warmup\", \"validation.best_bits_per_byte\") bits per byte.",
    ),
    (Rule::Best, "50-results", "The best of our seeds gets {bits} bits per byte, and this is what we report."),
    (Rule::Best, "70-summary", "For each experiment we took the best run."),
    (
        Rule::Best,
        "00-abstract",
        "In the end the model needs #value(\"baseline\", \"validation.best_bits_per_byte\", unit: true).",
    ),
    // Wrong units.
    (Rule::Unit, "55-analysis", "The validation loss is #value(\"baseline\", \"validation.loss\") bits per byte."),
    (Rule::Unit, "50-results", "It needs #value(\"baseline\", \"validation.bits_per_byte\") nats per token."),
    (
        Rule::Unit,
        "60-changes-lr-warmup",
        "Accuracy on anaphora changes by #delta(\"lr-warmup\", \"baseline\", \"tasks.grammar-anaphora.accuracy\") percent.",
    ),
    (
        Rule::Unit,
        "90-limitations",
        "Training took #value(\"baseline\", \"resources.wall_time_s\")~minutes on a laptop.",
    ),
    (Rule::Unit, "30-model", "The model was trained on #value(\"baseline\", \"training.tokens\") bytes of text."),
    // Signs that are the other way round.
    (
        Rule::Sign,
        "60-changes-lr-warmup",
        "Bits per byte are higher by #delta(\"lr-warmup\", \"baseline\", \"validation.bits_per_byte\") with warm-up.",
    ),
    (Rule::Sign, "70-summary", "The loss goes up by #delta(\"lr-warmup\", \"baseline\", \"validation.loss\")."),
    (
        Rule::Sign,
        "50-results",
        "The baseline is lower by #delta(\"baseline\", \"lr-warmup\", \"validation.bits_per_byte\").",
    ),
    (
        Rule::Sign,
        "80-conclusion",
        "We see an increase of #delta(\"lr-warmup\", \"baseline\", \"validation.bits_per_byte\") bits per byte.",
    ),
    (
        Rule::Sign,
        "60-changes-lr-warmup",
        "With warm-up, perplexity increases (#delta(\"lr-warmup\", \"baseline\", \"validation.perplexity\")).",
    ),
    // Exploration that is told as confirmation.
    (Rule::Exploratory, "80-conclusion", "We confirm our hypothesis that a warm-up makes training smoother."),
    (Rule::Exploratory, "60-changes-lr-warmup", "This confirms that warm-up helps."),
    (Rule::Exploratory, "70-summary", "As predicted, lr-warmup has fewer bits per byte."),
    (Rule::Exploratory, "00-abstract", "Our experiments show that a warm-up is needed."),
    (
        Rule::Exploratory,
        "60-changes-lr-warmup",
        "Our pre-registered hypothesis holds: the final bits per byte of lr-warmup are lower.",
    ),
];

/// What a careful student writes, and nothing objects to.
pub(super) const CAREFUL: [(&str, &str); 17] = [
    ("10-introduction", "Since 2017 transformers have been the rule, and GPT-2 is from 2019."),
    ("10-introduction", "Section 3 explains why two seeds are too few, and Table 2 what they cost."),
    ("20-data", "Following the 4-gram baseline of the 1990s, we use an n-gram order of two."),
    ("30-model", "Weights are kept in float32, and products in bfloat16 with a 16-bit mantissa and exponent."),
    (
        "30-model",
        "Larger learning rates were reported to improve the loss of larger models #citep(\"goyal2017accurate\").",
    ),
    ("40-tasks", "We give 95% intervals and test at a level of 5%."),
    ("40-tasks", "Whether a lower loss means better accuracy is an open question."),
    (
        "50-results",
        "Averaged over its seeds, the baseline needs #value(\"baseline\", \"validation.bits_per_byte\") bits per byte.",
    ),
    (
        "55-analysis",
        "The best validation result on the way was #value(\"lr-warmup\", \"validation.best_bits_per_byte\") bits per byte.",
    ),
    ("60-changes-lr-warmup", "If a warm-up helped, we would expect the early loss to be smoother."),
    (
        "60-changes-lr-warmup",
        "The difference in bits per byte is #delta(\"lr-warmup\", \"baseline\", \"validation.bits_per_byte\", unit: true).",
    ),
    (
        "60-changes-lr-warmup",
        "#claim(\"lr-warmup\", compared-with: \"baseline\", metric: \"validation.bits_per_byte\", scope: \"models\")",
    ),
    (
        "70-summary",
        "#table(columns: 2, [baseline], [#value(\"baseline\", \"validation.loss\")], [lr-warmup], [#value(\"lr-warmup\", \"validation.loss\")])",
    ),
    ("80-conclusion", "A second study would need more seeds and a larger corpus."),
    ("90-limitations", "The test side of the corpus was never opened, so no number here is a test result."),
    ("90-limitations", "We did not pick the best of several runs."),
    ("10-introduction", "We say what improved the baseline, and what got worse."),
];
