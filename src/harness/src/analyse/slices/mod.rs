//! Where does a loss lie, and where does a difference between two losses come from? The losses of single tokens of the
//! held-out text, cut into slices: by place, frequency, source, length, part and kind of word, and repetition; scores by
//! linguistic phenomenon; calibration; and the passages that changed most between two runs.
//!
//! Comes in: one or two [`RunAnalysis`] and the data store. Goes out: a [`Report`]. Place, source, length, calibration and
//! phenomena come from the sealed run alone; what needs the text is read from the store after its digests were checked.

mod bins;
pub mod calibration;
mod passages;
mod phenomena;
mod repeats;
mod scored;
mod text;
mod words;

use std::fmt;
use std::str::FromStr;

use harness_core::Digest;
use harness_core::files::FileError;
use harness_core::names::Project;
use harness_core::shards::ShardError;
use harness_corpus::TokenizerError;
use serde::{Serialize, Serializer};

use super::compare::{CompareError, RunName};
use super::stats::cluster::{Cluster, ClusteredMean, clustered_mean};
use super::{AnalyseError, RunAnalysis};
use crate::record::SealedRun;
use crate::record::format::Task;

pub use calibration::{Bin, Calibration, calibration};
pub use passages::{Passage, PassageToken};
pub use phenomena::{PhenomenonChange, PhenomenonSlice, by_phenomenon, mean_accuracy};
pub use scored::{FEWEST_DOCUMENTS, Scored, Unit};
use text::Text;
use words::{Part, WordKind};

/// Version of the JSON form. Raised with every change that an older reader would misread.
pub const FORMAT: u32 = 1;

/// What the held-out tokens, or the tasks, are sliced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// Tokens of context that the model has, in bins of powers of two.
    Position,
    /// How often the token stands in the training shards, by decades.
    Frequency,
    /// The source of the document.
    Source,
    /// Tokens of the document, in bins of powers of two.
    Length,
    /// First token of a word, continuation, or the whole of it.
    WordPart,
    /// Names, numbers, punctuation, other words.
    WordKind,
    /// The longest n-gram ending in the token that stood earlier in what the model sees of the document.
    Repetition,
    /// Tasks by the phenomenon they ask about.
    Phenomenon,
    /// Tasks by the field of linguistics of their phenomenon.
    Field,
}

impl By {
    /// In the order of tables.
    pub const ALL: [By; 9] = [
        By::Position,
        By::Frequency,
        By::Source,
        By::Length,
        By::WordPart,
        By::WordKind,
        By::Repetition,
        By::Phenomenon,
        By::Field,
    ];

    /// Its name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            By::Position => "position",
            By::Frequency => "frequency",
            By::Source => "source",
            By::Length => "length",
            By::WordPart => "word_part",
            By::WordKind => "word_kind",
            By::Repetition => "repetition",
            By::Phenomenon => "phenomenon",
            By::Field => "field",
        }
    }

    /// Whether it needs the text, which is in the store and not in the run.
    pub fn needs_text(self) -> bool {
        matches!(self, By::Frequency | By::WordPart | By::WordKind | By::Repetition)
    }

    /// Whether it slices tasks, not tokens.
    pub fn is_of_tasks(self) -> bool {
        matches!(self, By::Phenomenon | By::Field)
    }

    /// The slice of a task; empty if it has none.
    fn of_task(self, task: &Task) -> &str {
        match self {
            By::Phenomenon => &task.phenomenon,
            By::Field => &task.field,
            _ => "",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = By::ALL.map(By::name).join(", ");
        By::ALL.into_iter().find(|by| by.name() == text).ok_or_else(|| format!("one of {known}"))
    }
}

impl Serialize for By {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Everything about one run, or about one against another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`FORMAT`]
    pub format: u32,
    /// The run, or what the other is compared with.
    pub reference: RunName,
    /// The other run.
    pub other: Option<RunName>,
    /// Steps done at the evaluation, of each run.
    pub steps: Vec<u64>,
    /// What standard errors are clustered by: `document`, or `window` where there are few documents.
    pub clustered_by: &'static str,
    /// All tokens together.
    pub total: Slice,
    /// The slices of tokens.
    pub slices: Vec<Slice>,
    /// The slices of tasks.
    pub phenomena: Vec<PhenomenonSlice>,
    /// Calibration of each run.
    pub calibration: Vec<Calibration>,
    /// Passages that the other run predicts better, the largest change first.
    pub improved: Vec<Passage>,
    /// Passages that the other run predicts worse, the largest change first.
    pub hurt: Vec<Passage>,
    /// What a reader has to know: what could not be sliced, and why.
    pub notes: Vec<String>,
}

/// The loss of some of the tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slice {
    /// What is sliced by; none for all tokens.
    pub by: Option<By>,
    /// Which slice.
    pub slice: String,
    /// Tokens in it.
    pub tokens: u64,
    /// Their share of all tokens.
    pub share: f64,
    /// Documents (or windows) that have any.
    pub clusters: u64,
    /// Mean loss in nats per token.
    pub loss_nats: f64,
    /// Its standard error, clustered; none for a single cluster.
    pub standard_error: Option<f64>,
    /// Bits for each byte of the slice's own text; none where the text was not read.
    pub bits_per_byte: Option<f64>,
    /// Against the other run.
    pub change: Option<Change>,
}

/// A slice in two runs; differences are the other minus the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Mean loss of the other run.
    pub other_loss_nats: f64,
    /// Bits per byte of the other run.
    pub other_bits_per_byte: Option<f64>,
    /// Other minus reference, in nats per token.
    pub difference_nats: f64,
    /// Its standard error, clustered, the tokens being pairs.
    pub standard_error: Option<f64>,
    /// 95 % interval, not corrected for the number of slices.
    pub interval: Option<[f64; 2]>,
    /// What the slice adds to the difference of the mean over all tokens: its share times its difference. Over the
    /// slices of one kind these add up to the whole difference.
    pub contribution_nats: f64,
}

/// Why there are no slices.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// A run could not be analysed.
    #[error(transparent)]
    Analyse(#[from] AnalyseError),
    /// The items of a task could not be read.
    #[error(transparent)]
    Compare(Box<CompareError>),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A shard is damaged.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The tokenizer cannot be read.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The run has no losses of single tokens.
    #[error(
        "run `{run}` has no losses of single tokens: none of its evaluations wrote `validation.tokens`\nhint: run the \
         experiment again; the evaluation after the last step writes them where there is a validation side"
    )]
    NoTokens {
        /// The run.
        run: String,
    },
    /// The text is not in the store.
    #[error(
        "`{path}` is not here, and without it the text behind the losses is not known\nhint: `harness data prepare \
         {corpus}` makes it again; `--by position,source,length,phenomenon` needs the run alone"
    )]
    NotHere {
        /// What is missing.
        path: String,
        /// The corpus.
        corpus: String,
    },
    /// The store holds another text.
    #[error(
        "`{path}` has digest {}, but the run used {}: its tokens are not those that the losses belong to\nhint: go to the \
         run's commit and `harness data prepare {corpus}`; `--by position,source,length,phenomenon` needs the run alone",
        found.short(), expected.short()
    )]
    OtherText {
        /// The file.
        path: String,
        /// What it has.
        found: Digest,
        /// What the run used.
        expected: Digest,
        /// The corpus.
        corpus: String,
    },
    /// The bytes behind the tokens are not known.
    #[error(
        "the vocabulary of `{0}` is not a byte-level one, so the bytes behind its tokens are not known\nhint: `--by \
         position,source,length,phenomenon` works without them"
    )]
    NotByteLevel(String),
    /// A shard does not fit its tokenizer.
    #[error(
        "the validation shards of `{corpus}` hold token {token}, which its tokenizer does not have\nhint: `harness data \
         prepare {corpus}` makes both again"
    )]
    OutsideVocabulary {
        /// The token.
        token: u32,
        /// The corpus.
        corpus: String,
    },
    /// Two runs that did not predict the same tokens.
    #[error(
        "`{reference}` and `{other}` did not predict the same tokens: {why}\nhint: slice each alone, or compare their bits \
         per byte with `harness compare`"
    )]
    OtherTokens {
        /// The reference.
        reference: String,
        /// The other run.
        other: String,
        /// How they differ.
        why: &'static str,
    },
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The kinds of slices, in the order of the tables.
    pub by: Vec<By>,
    /// Passages for each direction; only between two runs.
    pub passages: usize,
}

/// For each token the slice it is in.
struct Slicing {
    by: By,
    names: Vec<String>,
    of: Vec<u16>,
}

impl Slicing {
    /// From the index of each token's slice and the name of an index.
    fn of(by: By, of: impl IntoIterator<Item = usize>, name: impl Fn(usize) -> String) -> Self {
        let of: Vec<u16> = of.into_iter().map(|index| index.min(usize::from(u16::MAX)) as u16).collect();
        let count = of.iter().max().map_or(0, |most| usize::from(*most) + 1);
        Slicing { by, names: (0..count).map(name).collect(), of }
    }
}

/// Slices the losses of a run, or those of a run against another.
pub fn slices(
    project: &Project,
    reference: &RunAnalysis,
    other: Option<&RunAnalysis>,
    wanted: &Wanted,
) -> Result<Report, SliceError> {
    let first = Scored::needed(&reference.run)?;
    let second = other.map(|other| Scored::needed(&other.run)).transpose()?;
    if let (Some(other), Some(scored)) = (other, &second) {
        same_tokens(reference, &first, other, scored)?;
    }
    let mut notes = Vec::new();
    let same_windows = second.as_ref().is_none_or(|second| first.same_windows(second));
    let needs_text = wanted.by.iter().any(|by| by.needs_text()) || (wanted.passages > 0 && other.is_some());
    let text = needs_text.then(|| Text::open(project, &reference.run)).transpose()?;
    if let Some(text) = &text
        && text.predicted_tokens() != first.losses.len()
    {
        let problem = format!("`{}` does not cover the tokens of the validation shards", first.file);
        return Err(AnalyseError::Inconsistent { run: reference.run.open.run.to_string(), problem }.into());
    }
    let bytes: Option<Vec<u32>> =
        text.as_ref().map(|text| text.predicted().map(|token| text.bytes(token).len() as u32).collect());
    let (unit, units) = first.units();
    let table = Table {
        reference: &first.losses.loss_nats,
        other: second.as_ref().map(|scored| scored.losses.loss_nats.as_slice()),
        bytes: bytes.as_deref(),
        units: &units,
    };
    let (mut found, mut phenomena) = (Vec::new(), Vec::new());
    for &by in &wanted.by {
        if by.is_of_tasks() {
            phenomena.extend(phenomena::phenomena(reference, other, by)?);
        } else if matches!(by, By::Position | By::Repetition) && !same_windows {
            notes.push(format!("not by {by}: the two runs read windows of different length"));
        } else {
            let slicing = match &text {
                Some(text) if by.needs_text() => slicing_by_text(by, project, &reference.run, text, &first)?,
                _ => slicing_of_run(by, &reference.run, &first),
            };
            found.extend(table.slices(&slicing));
        }
    }
    let (improved, hurt) = match (&text, &second) {
        (Some(text), Some(second)) if wanted.passages > 0 => {
            passages::passages(&reference.run, text, &first, second, wanted.passages)
        }
        _ => Default::default(),
    };
    let scored: Vec<&Scored> = [Some(&first), second.as_ref()].into_iter().flatten().collect();
    Ok(Report {
        format: FORMAT,
        reference: RunName::of(&reference.run),
        other: other.map(|other| RunName::of(&other.run)),
        steps: scored.iter().map(|scored| scored.step).collect(),
        clustered_by: unit.word(),
        total: table.total(),
        slices: found,
        phenomena,
        calibration: scored.iter().filter_map(|scored| calibration(&scored.losses, &units, true)).collect(),
        improved,
        hurt,
        notes,
    })
}

/// The slices that need the sealed run alone, for its values: by position, source and length.
pub fn slices_of_run(run: &SealedRun, scored: &Scored) -> Vec<Slice> {
    let units = scored.units().1;
    let table = Table { reference: &scored.losses.loss_nats, other: None, bytes: None, units: &units };
    let by = [By::Position, By::Source, By::Length];
    let mut slices: Vec<Slice> = by.into_iter().flat_map(|by| table.slices(&slicing_of_run(by, run, scored))).collect();
    for slice in slices.iter_mut().filter(|slice| slice.by == Some(By::Source)) {
        let of_source = run.corpus.validation_documents.iter().filter(|d| source(&d.id) == slice.slice);
        let bytes: u64 = of_source.map(|document| document.bytes).sum();
        let nats = slice.loss_nats * slice.tokens as f64;
        slice.bits_per_byte = (bytes > 0).then(|| nats / std::f64::consts::LN_2 / bytes as f64);
    }
    slices
}

/// The source of a document: `aesops-fables` of `aesops-fables#12`.
fn source(id: &str) -> &str {
    id.rsplit_once('#').map_or(id, |(source, _)| source)
}

/// Sums of the losses in each slice, for each document or window (by `units`): what comparisons resample.
pub fn sums_of_run(run: &SealedRun, scored: &Scored, units: &[u32]) -> Vec<(By, String, Vec<Cluster>)> {
    let table = Table { reference: &scored.losses.loss_nats, other: None, bytes: None, units };
    let mut out = Vec::new();
    for by in [By::Position, By::Source, By::Length] {
        let slicing = slicing_of_run(by, run, scored);
        let sums = table.clusters(&slicing, table.reference.iter().map(|&nats| f64::from(nats)), |_| 1.0);
        out.extend(slicing.names.iter().zip(sums).map(|(name, sums)| (by, name.clone(), sums)));
    }
    out
}

fn same_tokens(
    reference: &RunAnalysis,
    first: &Scored,
    other: &RunAnalysis,
    second: &Scored,
) -> Result<(), SliceError> {
    let of_side = |run: &RunAnalysis| -> Vec<Digest> {
        run.run.open.data.shards.iter().filter(|s| s.split == "validation").map(|s| s.sha256).collect()
    };
    let why = if reference.run.open.data.tokenizer_sha256 != other.run.open.data.tokenizer_sha256 {
        "their tokenizers differ"
    } else if of_side(reference) != of_side(other) {
        "their validation shards differ"
    } else if first.losses.len() != second.losses.len() {
        "their evaluations scored different numbers of tokens"
    } else {
        return Ok(());
    };
    let name = |run: &RunAnalysis| run.run.open.run.to_string();
    Err(SliceError::OtherTokens { reference: name(reference), other: name(other), why })
}

/// A slicing that needs the sealed run alone.
fn slicing_of_run(by: By, run: &SealedRun, scored: &Scored) -> Slicing {
    let documents = &run.corpus.validation_documents;
    let mut of = Vec::with_capacity(scored.losses.len());
    match by {
        By::Source => {
            let of_document: Vec<&str> = documents.iter().map(|document| source(&document.id)).collect();
            let mut names = of_document.clone();
            names.sort();
            names.dedup();
            // Of a manifest without its documents nothing is known: all are of one source without a name.
            let place = |document: u64| {
                of_document.get(document as usize).and_then(|name| names.binary_search(name).ok()).unwrap_or(0)
            };
            scored.for_each_place(|window, _| of.push(place(window.document)));
            Slicing::of(by, of, |index| (*names.get(index).unwrap_or(&"")).to_owned())
        }
        By::Length => {
            let mut tokens: Vec<u64> = Vec::new();
            for window in &scored.windows {
                tokens.resize(tokens.len().max(window.document as usize + 1), 0);
                tokens[window.document as usize] += window.tokens;
            }
            scored.for_each_place(|window, _| of.push(bins::power_of_two(tokens[window.document as usize])));
            Slicing::of(by, of, bins::power_of_two_name)
        }
        // The token at place 0 of a window is predicted from one token, the separator or the last one before it.
        _ => {
            scored.for_each_place(|_, at| of.push(bins::power_of_two(at + 1)));
            Slicing::of(By::Position, of, bins::power_of_two_name)
        }
    }
}

/// A slicing that needs the text.
fn slicing_by_text(
    by: By,
    project: &Project,
    run: &SealedRun,
    text: &Text,
    scored: &Scored,
) -> Result<Slicing, SliceError> {
    Ok(match by {
        By::Frequency => {
            let counts = text.training_counts(project, run)?;
            let bins = text.predicted().map(|token| bins::decade(counts[token as usize]));
            Slicing::of(by, bins, bins::decade_name)
        }
        By::WordPart => {
            let parts = text.classes().into_iter().map(|(part, _)| part as usize);
            Slicing::of(by, parts, |index| Part::ALL[index].name().to_owned())
        }
        By::WordKind => {
            let kinds = text.classes().into_iter().map(|(_, kind)| kind as usize);
            Slicing::of(by, kinds, |index| WordKind::ALL[index].name().to_owned())
        }
        _ => {
            let mut lengths = Vec::with_capacity(scored.losses.len());
            for window in &scored.windows {
                let tokens = &text.documents[window.document as usize];
                let first = window.first_token as usize;
                lengths.extend(repeats::repeated(&tokens[first - 1..first + window.tokens as usize]));
            }
            Slicing::of(By::Repetition, lengths.into_iter().map(usize::from), repeats::name)
        }
    })
}

/// The losses of one or two runs, token by token.
struct Table<'a> {
    reference: &'a [f32],
    other: Option<&'a [f32]>,
    bytes: Option<&'a [u32]>,
    units: &'a [u32],
}

impl Table<'_> {
    fn slices(&self, slicing: &Slicing) -> Vec<Slice> {
        let nats = |losses: &[f32], token: usize| f64::from(losses[token]);
        let tokens = 0..self.reference.len();
        let own = self.clusters(slicing, tokens.clone().map(|token| nats(self.reference, token)), |_| 1.0);
        let bytes = self.bytes.map(|bytes| {
            self.clusters(slicing, tokens.clone().map(|token| nats(self.reference, token)), |t| f64::from(bytes[t]))
        });
        let change = self.other.map(|other| {
            let difference = tokens.clone().map(|token| nats(other, token) - nats(self.reference, token));
            self.clusters(slicing, difference, |_| 1.0)
        });
        let mut rows = Vec::new();
        for (index, name) in slicing.names.iter().enumerate() {
            let Some(mean) = clustered_mean(&own[index]) else { continue };
            let count: f64 = own[index].iter().map(|cluster| cluster.weight).sum();
            let share = count / self.reference.len() as f64;
            let bytes: Option<f64> =
                bytes.as_ref().map(|bytes| bytes[index].iter().map(|c| c.weight).sum()).filter(|bytes| *bytes > 0.0);
            let bits = |mean: f64| bytes.map(|bytes| mean * count / std::f64::consts::LN_2 / bytes);
            let change = change.as_ref().and_then(|change| clustered_mean(&change[index]));
            rows.push(Slice {
                by: Some(slicing.by),
                slice: name.clone(),
                tokens: count as u64,
                share,
                clusters: mean.clusters,
                loss_nats: mean.mean,
                standard_error: mean.standard_error,
                bits_per_byte: bits(mean.mean),
                change: change.map(|difference: ClusteredMean| Change {
                    other_loss_nats: mean.mean + difference.mean,
                    other_bits_per_byte: bits(mean.mean + difference.mean),
                    difference_nats: difference.mean,
                    standard_error: difference.standard_error,
                    interval: difference.interval(),
                    contribution_nats: share * difference.mean,
                }),
            });
        }
        rows
    }

    /// All tokens as one slice.
    fn total(&self) -> Slice {
        let all = Slicing { by: By::Position, names: vec!["all".to_owned()], of: vec![0; self.reference.len()] };
        let empty = Slice {
            by: None,
            slice: "all".to_owned(),
            tokens: 0,
            share: 1.0,
            clusters: 0,
            loss_nats: f64::NAN,
            standard_error: None,
            bits_per_byte: None,
            change: None,
        };
        self.slices(&all).pop().map_or(empty, |slice| Slice { by: None, ..slice })
    }

    /// For each slice, and in it for each unit, the sums of values and weights.
    fn clusters(
        &self,
        slicing: &Slicing,
        values: impl Iterator<Item = f64>,
        weight: impl Fn(usize) -> f64,
    ) -> Vec<Vec<Cluster>> {
        let units = self.units.last().map_or(0, |unit| *unit as usize + 1);
        let mut sums = vec![vec![Cluster::default(); units]; slicing.names.len()];
        for (token, value) in values.enumerate() {
            let cluster = &mut sums[usize::from(slicing.of[token])][self.units[token] as usize];
            cluster.sum += value;
            cluster.weight += weight(token);
        }
        sums
    }
}
