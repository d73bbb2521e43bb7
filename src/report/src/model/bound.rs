//! What on a page is bound to the records: Typst notes it, the proof lists it, an audit computes it again.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{Claim, Shown};

/// Something that a page shows and that the runs decide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Quantity {
    /// A value of an experiment: the mean over its runs.
    Value {
        /// The experiment.
        experiment: String,
        /// Its key, such as `validation.bits_per_byte`.
        key: String,
    },
    /// A value of one experiment minus that of another.
    Difference {
        /// The experiment.
        experiment: String,
        /// What is subtracted.
        minus: String,
        /// The key of both.
        key: String,
    },
    /// The 95 % interval of such a difference.
    Interval {
        /// The experiment.
        experiment: String,
        /// What is subtracted.
        minus: String,
        /// The key of both.
        key: String,
    },
    /// Where one experiment stands to another in a metric, in words.
    Direction {
        /// The experiment.
        experiment: String,
        /// What it is compared with.
        against: String,
        /// The key of both.
        key: String,
        /// What the words say.
        direction: Direction,
    },
    /// Where a value stands to another of the same experiment, in words: to that of a simpler model of the same text.
    Standing {
        /// The experiment.
        experiment: String,
        /// The key.
        key: String,
        /// The key of the other value.
        than: String,
        /// What the words say.
        direction: Direction,
    },
    /// A count of the paper, or of one experiment.
    Count {
        /// Its name, such as `tasks`.
        count: String,
        /// The experiment; none for counts of the paper.
        experiment: Option<String>,
    },
    /// The unweighted mean of values: of each experiment each key.
    Mean {
        /// The experiments.
        experiments: Vec<String>,
        /// The keys, of one unit.
        keys: Vec<String>,
    },
    /// A sentence that compares, compiled from a test.
    Claim(Claim),
    /// What was decided of the hypothesis of an experiment, as a sentence.
    Verdict {
        /// The experiment.
        experiment: String,
    },
}

impl Quantity {
    /// The experiments that it names.
    pub fn experiments(&self) -> Vec<&str> {
        match self {
            Quantity::Value { experiment, .. }
            | Quantity::Standing { experiment, .. }
            | Quantity::Verdict { experiment } => vec![experiment],
            Quantity::Difference { experiment, minus: other, .. }
            | Quantity::Interval { experiment, minus: other, .. }
            | Quantity::Direction { experiment, against: other, .. } => vec![experiment, other],
            Quantity::Claim(claim) => vec![&claim.experiment, &claim.than],
            Quantity::Mean { experiments, .. } => experiments.iter().map(String::as_str).collect(),
            Quantity::Count { experiment, .. } => experiment.iter().map(String::as_str).collect(),
        }
    }

    /// The keys of the values that it rests on.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Quantity::Value { key, .. }
            | Quantity::Difference { key, .. }
            | Quantity::Interval { key, .. }
            | Quantity::Direction { key, .. } => vec![key],
            Quantity::Standing { key, than, .. } => vec![key, than],
            Quantity::Mean { keys, .. } => keys.iter().map(String::as_str).collect(),
            Quantity::Claim(claim) => vec![&claim.metric],
            Quantity::Verdict { .. } | Quantity::Count { .. } => Vec::new(),
        }
    }

    /// What `values.json` lists of it; null of a sentence, which is compiled from tests, and of what is not there.
    pub fn listed<'a>(&self, values: &'a Json) -> &'a Json {
        let of = |experiment: &str| &values["experiments"][experiment];
        match self {
            Quantity::Value { experiment, key } => &of(experiment)["values"][key],
            Quantity::Difference { experiment, minus: other, key }
            | Quantity::Interval { experiment, minus: other, key }
            | Quantity::Direction { experiment, against: other, key, .. } => {
                &values["differences"][experiment][other]["differences"][key]
            }
            Quantity::Mean { experiments, keys } => {
                let is_it = |mean: &&Json| mean["experiments"] == json!(experiments) && mean["keys"] == json!(keys);
                values["means"].as_array().and_then(|means| means.iter().find(is_it)).unwrap_or(&Json::Null)
            }
            Quantity::Standing { experiment, key, than, .. } => &of(experiment)["standings"][key][than],
            Quantity::Count { count, experiment: Some(experiment) } => &of(experiment)["counts"][count],
            Quantity::Count { count, experiment: None } => &values["counts"][count],
            Quantity::Claim(_) | Quantity::Verdict { .. } => &Json::Null,
        }
    }
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Quantity::Value { experiment, key } => write!(f, "{experiment}:{key}"),
            Quantity::Difference { experiment, minus, key } => write!(f, "{experiment}:{key} minus {minus}:{key}"),
            Quantity::Interval { experiment, minus, key } => {
                write!(f, "interval of {experiment}:{key} minus {minus}:{key}")
            }
            Quantity::Direction { experiment, against, key, .. } => {
                write!(f, "{experiment}:{key} against {against}:{key}")
            }
            Quantity::Standing { experiment, key, than, .. } => {
                write!(f, "{experiment}:{key} against {experiment}:{than}")
            }
            Quantity::Count { count, experiment: Some(experiment) } => write!(f, "{experiment}:count of {count}"),
            Quantity::Count { count, experiment: None } => write!(f, "count of {count}"),
            Quantity::Mean { experiments, keys } => {
                write!(f, "mean of {} over {}", keys.join(", "), experiments.join(", "))
            }
            Quantity::Claim(claim) => write!(f, "{}", claim.call()),
            Quantity::Verdict { experiment } => write!(f, "verdict on {experiment}"),
        }
    }
}

/// Where one number stands to another, as far as a test can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Lower, and the test says so.
    Lower,
    /// Higher, likewise.
    Higher,
    /// The two models differ, one run each: which way says nothing of how they were trained.
    Different,
    /// The test cannot tell them apart.
    NotDistinguishable,
    /// There is no test of it.
    NotTested,
}

impl Direction {
    const ALL: [Direction; 5] = [
        Direction::Lower,
        Direction::Higher,
        Direction::Different,
        Direction::NotDistinguishable,
        Direction::NotTested,
    ];

    /// Between `are` and what it is compared with.
    pub fn words(self) -> &'static str {
        match self {
            Direction::Lower => "lower than",
            Direction::Higher => "higher than",
            Direction::Different => "different from",
            Direction::NotDistinguishable => "not distinguishable from",
            Direction::NotTested => "not tested against",
        }
    }

    /// What a text says, if it is one of [`Direction::words`].
    pub fn said_by(text: &str) -> Option<Self> {
        Direction::ALL.into_iter().find(|direction| direction.words() == text)
    }
}

/// What `values.typ` notes of something that it shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// What it is.
    #[serde(flatten)]
    pub quantity: Quantity,
    /// The text on the page.
    pub shown: Shown,
    /// The text of the standard error, where it is shown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shown_error: Option<Shown>,
    /// The page of the PDF, from 1.
    pub page: u64,
}

/// A note with what the runs say to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// `n1`, `n2`, ... in order of appearance.
    pub id: String,
    /// What is shown where.
    #[serde(flatten)]
    pub note: Note,
    /// The exact number: of a direction, the difference.
    pub number: f64,
    /// The runs that it rests on, oldest first; empty for counts of the paper.
    pub runs: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_typst_is_read_and_another_kind_is_refused() {
        let note = r#"{"kind": "count", "count": "tasks", "experiment": null, "shown": "four", "page": 2}"#;
        let note: Note = serde_json::from_str(note).unwrap();
        assert_eq!(note.quantity, Quantity::Count { count: "tasks".into(), experiment: None });
        let power = r#"{"kind": "value", "experiment": "a", "key": "k", "shown": {"mantissa": "3", "exponent": "4"}, "page": 1}"#;
        let note: Note = serde_json::from_str(power).unwrap();
        assert_eq!(note.shown.to_string(), "3 × 10^4");
        let other = r#"{"kind": "guess", "shown": "1", "page": 1}"#;
        assert!(serde_json::from_str::<Note>(other).unwrap_err().to_string().contains("guess"));
    }

    #[test]
    fn what_a_direction_says_is_read_back() {
        for direction in Direction::ALL {
            assert_eq!(Direction::said_by(direction.words()), Some(direction));
        }
        assert_eq!(Direction::said_by("niedriger als"), None);
    }
}
