//! What the items of a validation task ask, and which number is quoted of the answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The task that the test side of a corpus is scored as; no recipe has its name.
pub const TEST_SIDE: &str = "test-side";

/// What an item asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Of two sentences, the right one should be more probable.
    MinimalPairs,
    /// Of several continuations, the right one should be most probable.
    MultipleChoice,
    /// After the right one of several contexts, one continuation should be most probable ("partial scoring" of Trinh
    /// and Le 2018, A Simple Method for Commonsense Reasoning): WinoGrande, WSC.
    TwoContexts,
    /// Every token of the last word should be the model's first choice.
    LastWord,
    /// How probable whole documents are, in windows that roll over them.
    Documents,
}

/// Which number is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The choice of highest log-probability is right (`acc` of lm-evaluation-harness).
    Accuracy,
    /// The choice of highest log-probability per character is right (`acc_norm`).
    AccuracyPerCharacter,
    /// The choice of highest log-probability per token is right.
    AccuracyPerToken,
    /// The choice whose log-probability its context raises most is right (`acc_mutual_info`): pointwise mutual
    /// information, as in Holtzman et al. 2021, Surface Form Competition.
    AccuracyMutualInformation,
    /// Every token is the model's first choice (`acc` of its LAMBADA).
    GreedyAccuracy,
    /// Bits per byte of the documents as they stand in the data (`bits_per_byte`).
    BitsPerByte,
    /// exp of the mean negative log-probability per word (`word_perplexity`).
    WordPerplexity,
}

impl Kind {
    /// The metrics that fit.
    pub fn metrics(self) -> &'static [Metric] {
        use Metric::{
            Accuracy, AccuracyMutualInformation, AccuracyPerCharacter, AccuracyPerToken, BitsPerByte, GreedyAccuracy,
            WordPerplexity,
        };
        match self {
            Kind::LastWord => &[GreedyAccuracy],
            Kind::Documents => &[BitsPerByte, WordPerplexity],
            Kind::TwoContexts => &[Accuracy],
            Kind::MinimalPairs => &[Accuracy, AccuracyPerCharacter, AccuracyPerToken],
            Kind::MultipleChoice => &[Accuracy, AccuracyPerCharacter, AccuracyPerToken, AccuracyMutualInformation],
        }
    }
}
