//! What a reader of a comparison has to know beside its numbers. Each is a kind with its data, so that the paper and the
//! audit can use it, and one sentence.

use std::collections::BTreeMap;

use harness_core::Digest;
use harness_core::names::RunId;
use serde::{Serialize, Serializer};

use super::{BudgetLine, Side};
use crate::{RunAnalysis, Unanswered, Unit};
use harness_record::SealedRun;

/// Something to know beside the numbers. In JSON an object with its `kind`, its data and its `text`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Note {
    /// What the choice of the runs of a side says: how many were left out, and why.
    RunsChosen {
        /// The side.
        side: String,
        /// The sentence.
        said: String,
    },
    /// Runs of a side were stopped and gone on with.
    GoneOn {
        /// The side.
        side: String,
        /// Such runs.
        runs: usize,
        /// All runs.
        of: usize,
        /// Records that the trainings of these runs consist of.
        segments: usize,
    },
    /// The hypothesis or the primary metrics of a side are not those that its first runs recorded.
    DeclaredLate {
        /// The side.
        side: String,
        /// What: `hypothesis`, `primary_metrics`.
        what: Vec<&'static str>,
        /// Runs that recorded something else.
        after: usize,
        /// All runs.
        of: usize,
    },
    /// The two sides were made by different programs.
    ProgramsDiffer,
    /// The other side spent more or less.
    BudgetsDiffer {
        /// The quantities, other over reference.
        ratios: Vec<(&'static str, f64)>,
    },
    /// The models read windows of different length, so the text behind a token differs too.
    ContextLengthsDiffer {
        /// Tokens.
        reference: u64,
        /// Tokens.
        other: u64,
    },
    /// The sides were trained on different corpora, or with different tokenizers.
    TrainingDataDiffers {
        /// Whether the tokenizers differ.
        tokenizer: bool,
        /// Whether the documents differ.
        documents: bool,
    },
    /// Validation documents of a side are nearly repeated in its training text.
    RepeatedInTraining {
        /// The side.
        side: String,
        /// So many documents.
        documents: u64,
        /// Of all.
        of: u64,
    },
    /// The test side by which runs of these sides were scored has been opened more than once.
    TestSideOpened {
        /// The sides.
        sides: Vec<String>,
        /// So often, by the runs of the project.
        times: usize,
    },
    /// A side was better before its end.
    BestIsNotLast {
        /// The side.
        side: String,
        /// Mean over its runs of the lowest bits per byte of each.
        best: f64,
        /// Mean of what counts here: after the last step.
        last: f64,
    },
    /// The validation texts differ, so bits per byte are not compared.
    ValidationTextsDiffer,
    /// A run has no validation loss, so bits per byte are not compared.
    NotValidated {
        /// The run.
        run: RunId,
    },
    /// A metric is no finite number in a run, so it is not compared.
    NotFinite {
        /// Its key.
        metric: String,
        /// The runs.
        runs: Vec<RunId>,
    },
    /// Items of a task have no answer.
    ItemsUnanswered {
        /// The side.
        side: String,
        /// Its runs that leave as many of them.
        runs: Vec<RunId>,
        /// The task.
        task: String,
        /// Items in all.
        items: u64,
        /// Items with a score that is not finite.
        not_finite: u64,
        /// Items with a choice that does not fit the window.
        too_long: u64,
        /// Items whose best right and best wrong choice score the same.
        ties: u64,
    },
    /// Tasks are not scored alike in every run.
    TasksNotShared {
        /// The tasks.
        tasks: Vec<String>,
    },
    /// A declared metric is not among those compared.
    MetricNotCompared {
        /// Its key.
        metric: String,
    },
    /// The sides declare different primary metrics.
    PrimaryMetricsDiffer {
        /// The side whose metrics are taken.
        taken: String,
    },
    /// The losses of single tokens cannot be compared.
    NoSlices {
        /// Why.
        because: String,
    },
    /// Slices in too few documents.
    SlicesNotTested {
        /// How many.
        slices: usize,
    },
}

/// A ratio with two decimals, or as many as tell it from one.
fn times(ratio: f64) -> String {
    let text = |decimals: usize| format!("{ratio:.decimals$}");
    (2..=6).map(text).find(|text| text.parse() != Ok(1.0)).unwrap_or_else(|| text(6))
}

impl Note {
    /// The sentence, without a full stop.
    pub fn text(&self) -> String {
        match self {
            Note::RunsChosen { said, .. } => said.clone(),
            Note::GoneOn { side, runs, of, segments } => format!(
                "`{side}`: {runs} of {of} runs {} stopped and gone on with, {segments} segments in all; what is compared, and what it \
                 cost, is of all segments together",
                if *runs == 1 { "was" } else { "were" }
            ),
            Note::DeclaredLate { side, what, after, of } => format!(
                "`{side}`: its {} changed after {after} of {of} runs, so what is tested was not declared before them",
                what.join(" and ").replace('_', " ")
            ),
            Note::ProgramsDiffer => "the two sides ran programs built from different sources".to_owned(),
            Note::BudgetsDiffer { ratios } => {
                let said: Vec<String> =
                    ratios.iter().map(|(quantity, ratio)| format!("{} times the {quantity}", times(*ratio))).collect();
                format!("the budgets are not equal: the other side spent {}", said.join(", "))
            }
            Note::ContextLengthsDiffer { reference, other } => format!(
                "the context lengths differ ({reference} and {other} tokens): each loss is that of its own windows, and the \
                 longer ones see more text"
            ),
            Note::TrainingDataDiffers { tokenizer, documents } => {
                let what = match (tokenizer, documents) {
                    (true, true) => "corpus and tokenizer",
                    (true, false) => "tokenizer",
                    _ => "corpus",
                };
                format!("the {what} changed too; bits per byte are compared on the same held-out text")
            }
            Note::RepeatedInTraining { side, documents, of } => format!(
                "`{side}`: {documents} of {of} validation documents are nearly repeated in its training text, so its loss on \
                 them is memory"
            ),
            Note::TestSideOpened { sides, times } => format!(
                "{}: the test side has been opened {times} times, so what was chosen after the first time is no longer tested \
                 by it",
                sides.iter().map(|side| format!("`{side}`")).collect::<Vec<_>>().join(" and ")
            ),
            Note::BestIsNotLast { side, best, last } => format!(
                "`{side}` ends at {last:.3} bits per byte, which counts here; its lowest, {best:.3}, was chosen on this \
                 same text"
            ),
            Note::ValidationTextsDiffer => "bits per byte are not compared: the validation texts differ".to_owned(),
            Note::NotValidated { run } => format!("bits per byte are not compared: run `{run}` has no validation loss"),
            Note::NotFinite { metric, runs } => format!(
                "`{metric}` is not judged: it is not a finite number in {}",
                runs.iter().map(|run| format!("`{run}`")).collect::<Vec<_>>().join(", ")
            ),
            Note::ItemsUnanswered { side, runs, task, items, not_finite, too_long, ties } => {
                let why = [
                    (not_finite, "with a score that is not finite"),
                    (too_long, "too long for the context"),
                    (ties, "with the same score for right and wrong"),
                ];
                let why: Vec<String> =
                    why.iter().filter(|(n, _)| **n > 0).map(|(n, why)| format!("{n} {why}")).collect();
                let unanswered = not_finite + too_long + ties;
                let who = match runs.as_slice() {
                    [run] => format!("`{run}` leaves"),
                    runs => format!("{} runs of `{side}` leave", runs.len()),
                };
                format!("{who} {unanswered} of {items} items of `{task}` unanswered: {}", why.join(", "))
            }
            Note::TasksNotShared { tasks } => {
                format!("not compared, because not scored alike in every run: {}", tasks.join(", "))
            }
            Note::MetricNotCompared { metric } => {
                format!("`{metric}` is declared in `primary_metrics`, but is not among the metrics compared")
            }
            Note::PrimaryMetricsDiffer { taken } => {
                format!("the two declare different `primary_metrics`; those of `{taken}` are taken")
            }
            Note::NoSlices { because } => format!("no slices: {because}"),
            Note::SlicesNotTested { slices } => {
                format!("{} in too few documents, and not tested", counted(*slices, "slice"))
            }
        }
    }
}

/// Notes as JSON, each with its sentence.
pub(super) fn with_text<S: Serializer>(notes: &[Note], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct WithText<'a> {
        #[serde(flatten)]
        note: &'a Note,
        text: String,
    }
    serializer.collect_seq(notes.iter().map(|note| WithText { note, text: note.text() }))
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What the runs of a side say of themselves.
pub(super) fn on_side(side: &Side) -> Vec<Note> {
    let chosen = side.notes.iter().map(|said| Note::RunsChosen { side: side.name.clone(), said: said.clone() });
    let mut notes: Vec<Note> = chosen.collect();
    notes.extend(gone_on(side));
    notes.extend(declared_late(side));
    let corpus = &side.runs[0].run.corpus;
    if let Some(across) = corpus.across_split.as_ref().filter(|across| across.validation_documents > 0) {
        let (documents, of) = (across.validation_documents, corpus.documents.validation);
        notes.push(Note::RepeatedInTraining { side: side.name.clone(), documents, of });
    }
    notes.extend(best_is_not_last(side));
    notes.extend(items_unanswered(side));
    notes
}

/// Runs of which there are earlier segments, those of a trunk not among them.
fn gone_on(side: &Side) -> Option<Note> {
    let earlier = |run: &RunAnalysis| {
        let from = run.run.open.resumed_from.as_ref()?;
        // A run of version 2 does not name them all.
        let named = from.segments.iter().filter(|segment| segment.experiment.is_none()).count();
        Some(named.max(usize::from(from.experiment.is_none()))).filter(|&count| count > 0)
    };
    let earlier: Vec<usize> = side.runs.iter().filter_map(earlier).collect();
    let (runs, segments) = (earlier.len(), earlier.iter().map(|count| count + 1).sum());
    (runs > 0).then(|| Note::GoneOn { side: side.name.clone(), runs, of: side.runs.len(), segments })
}

/// One note for all runs of a side that leave as many items of a task: which are too long is the same in each.
fn items_unanswered(side: &Side) -> Vec<Note> {
    let mut by_count: BTreeMap<(&str, u64, [u64; 3]), Vec<RunId>> = BTreeMap::new();
    for run in &side.runs {
        for task in run.tasks.iter().filter(|task| task.unanswered.total() > 0) {
            let Unanswered { not_finite, too_long, ties } = task.unanswered;
            let runs = by_count.entry((&task.id, task.items, [not_finite, too_long, ties])).or_default();
            runs.push(run.run.open.run.clone());
        }
    }
    let note = |((task, items, [not_finite, too_long, ties]), runs): ((&str, u64, [u64; 3]), Vec<RunId>)| {
        Note::ItemsUnanswered {
            side: side.name.clone(),
            runs,
            task: task.to_owned(),
            items,
            not_finite,
            too_long,
            ties,
        }
    };
    by_count.into_iter().map(note).collect()
}

/// What the latest run declares has to stand in every run: the records keep what each was started with.
fn declared_late(side: &Side) -> Option<Note> {
    let latest = &side.runs.iter().max_by_key(|run| &run.run.open.opened_at)?.run.experiment;
    let differ = |run: &&RunAnalysis| {
        let own = &run.run.experiment;
        (own.hypothesis != latest.hypothesis, own.primary_metrics != latest.primary_metrics)
    };
    let differing: Vec<(bool, bool)> = side.runs.iter().map(|run| differ(&run)).collect();
    let mut what = Vec::new();
    if differing.iter().any(|(hypothesis, _)| *hypothesis) {
        what.push("hypothesis");
    }
    if differing.iter().any(|(_, metrics)| *metrics) {
        what.push("primary_metrics");
    }
    let after = differing.iter().filter(|(hypothesis, metrics)| *hypothesis || *metrics).count();
    (after > 0).then(|| Note::DeclaredLate { side: side.name.clone(), what, after, of: side.runs.len() })
}

/// By this share the lowest loss has to lie below the last to be worth a word: what three seeds can just tell apart.
const WORTH_A_WORD: f64 = 0.001;

fn best_is_not_last(side: &Side) -> Option<Note> {
    let mean = |key: &str| {
        let values: Vec<f64> = side.runs.iter().filter_map(|run| Some(run.values.get(key)?.number)).collect();
        (values.len() == side.runs.len()).then(|| harness_statistics::mean(&values))
    };
    let (best, last) = (mean("validation.best_bits_per_byte")?, mean("validation.bits_per_byte")?);
    (best < last * (1.0 - WORTH_A_WORD)).then(|| Note::BestIsNotLast { side: side.name.clone(), best, last })
}

/// What differs between the sides beside what is compared.
pub(super) fn between(reference: &Side, other: &Side, budget: &[BudgetLine]) -> Vec<Note> {
    let mut notes = Vec::new();
    let [first, second] = [reference, other].map(|side| &side.runs[0].run);
    if first.open.binaries.built_from_sha256 != second.open.binaries.built_from_sha256 {
        notes.push(Note::ProgramsDiffer);
    }
    // Machines are not equally fast each day: a quarter more or less, or a minute, is no price.
    let far = |line: &BudgetLine| {
        let apart = (line.reference - line.other).abs() > 60.0;
        line.unit != Unit::Seconds || (apart && line.ratio.is_some_and(|ratio| !(0.8..=1.25).contains(&ratio)))
    };
    let unequal = budget.iter().filter(|line| line.is_price && !line.equal && far(line));
    let ratios: Vec<(&'static str, f64)> = unequal.filter_map(|line| Some((line.quantity, line.ratio?))).collect();
    if !ratios.is_empty() {
        notes.push(Note::BudgetsDiffer { ratios });
    }
    notes.extend(opened(reference, other));
    let context = |run: &SealedRun| u64::from(run.experiment.model.context_length);
    if context(first) != context(second) {
        notes.push(Note::ContextLengthsDiffer { reference: context(first), other: context(second) });
    }
    let tokenizer = first.open.data.tokenizer_sha256 != second.open.data.tokenizer_sha256;
    let documents = training_text(first) != training_text(second);
    if tokenizer || documents {
        notes.push(Note::TrainingDataDiffers { tokenizer, documents });
    }
    notes
}

/// What both sides were scored by is said once.
fn opened(reference: &Side, other: &Side) -> Vec<Note> {
    let opened = [reference, other].map(|side| side.opened.as_ref().filter(|opened| opened.count > 1));
    let note = |side: &Side, times| Note::TestSideOpened { sides: vec![side.name.clone()], times };
    match opened {
        [Some(first), Some(second)] if first.data_sha256 == second.data_sha256 => {
            let sides = vec![reference.name.clone(), other.name.clone()];
            vec![Note::TestSideOpened { sides, times: first.count.max(second.count) }]
        }
        [first, second] => {
            let sides = [(reference, first), (other, second)];
            sides.into_iter().filter_map(|(side, opened)| Some(note(side, opened?.count))).collect()
        }
    }
}

/// What stands for the training documents, whatever they are encoded with.
fn training_text(run: &SealedRun) -> (u64, u64, Vec<Digest>) {
    let cleaned = run.corpus.sources.iter().map(|source| source.cleaned_sha256);
    (run.corpus.train.documents, run.corpus.train.text_bytes, cleaned.collect())
}
