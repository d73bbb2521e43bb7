//! Where does a loss lie, and where does a difference between two losses come from? The losses of single tokens of the
//! held-out text, cut into slices: by place, frequency, source, length, part and kind of word, and repetition; scores by
//! linguistic phenomenon; calibration; and the passages that changed most between two runs.
//!
//! Comes in: one or two [`RunAnalysis`] and the data store. Goes out: a [`Report`]. Place, source, length, calibration and
//! phenomena come from the sealed run alone; what needs the text is read from the store after its digests were checked.

mod bins;
mod by;
pub mod calibration;
mod error;
mod passages;
mod phenomena;
mod repeats;
mod scored;
mod slicing;
mod table;
mod text;
mod words;

use harness_core::Digest;
use harness_core::names::Project;
use serde::Serialize;

use super::{AnalyseError, RunAnalysis, RunName};
use harness_record::SealedRun;
use harness_statistics::cluster::Cluster;

pub use by::By;
pub use calibration::{Bin, Calibration, calibration};
pub use error::SliceError;
pub use passages::{Passage, PassageToken};
pub use phenomena::{PhenomenonChange, PhenomenonSlice, by_phenomenon, mean_accuracy};
pub use scored::Scored;
use slicing::{slicing_by_text, slicing_of_run, sources};
use table::Table;
use text::Text;

/// Version of the JSON form. Raised with every change that an older reader would misread.
pub const FORMAT: u32 = 2;

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
    /// Documents that have any.
    pub clusters: u64,
    /// Mean loss in nats per token.
    pub loss_nats: f64,
    /// Its standard error, by document; none for fewer than five.
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
    /// Its standard error, by document, the tokens being pairs.
    pub standard_error: Option<f64>,
    /// 95 % interval, not corrected for the number of slices.
    pub interval: Option<[f64; 2]>,
    /// What the slice adds to the difference of the mean over all tokens: its share times its difference. Over the
    /// slices of one kind these add up to the whole difference.
    pub contribution_nats: f64,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The kinds of slices, in the order of the tables.
    pub by: Vec<By>,
    /// Passages for each direction; only between two runs.
    pub passages: usize,
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
        && !first.fits(&text.documents.iter().map(Vec::len).collect::<Vec<_>>())
    {
        let problem = format!("`{}` does not cover the tokens of the validation shards", first.file);
        return Err(AnalyseError::Inconsistent { run: reference.run.open.run.to_string(), problem }.into());
    }
    let bytes: Option<Vec<u32>> =
        text.as_ref().map(|text| text.predicted().map(|token| text.bytes(token).len() as u32).collect());
    let units = first.documents();
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
    let units = scored.documents();
    let table = Table { reference: &scored.losses.loss_nats, other: None, bytes: None, units: &units };
    let by = [By::Position, By::Source, By::Length];
    let sources = sources(&run.corpus);
    let mut slices: Vec<Slice> = by.into_iter().flat_map(|by| table.slices(&slicing_of_run(by, run, scored))).collect();
    for slice in slices.iter_mut().filter(|slice| slice.by == Some(By::Source)) {
        let of_source =
            sources.iter().zip(&run.corpus.validation_documents).filter(|(source, _)| **source == slice.slice);
        let bytes: u64 = of_source.map(|(_, document)| document.bytes).sum();
        let nats = slice.loss_nats * slice.tokens as f64;
        slice.bits_per_byte = (bytes > 0).then(|| nats / std::f64::consts::LN_2 / bytes as f64);
    }
    slices
}

/// Sums of the losses in each slice, for each document (by `units`): what comparisons test.
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
