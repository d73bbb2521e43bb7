//! Every number the paper can ask for: its key, unit, rounding, and the files of the run that it came from.

use std::collections::BTreeMap;
use std::f64::consts::LN_2;
use std::path::PathBuf;

use harness_core::config::flat;
use harness_core::corpus_manifest::{Manifest, SourceRecord};
use harness_core::files;
use harness_core::samples::GENERATED;
use harness_core::scores::{ChoiceScore, StepLine, read_csv};
use harness_core::task_kind::{Kind, Metric};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::slices::{By, Calibration, Scored, Slice, by_phenomenon, calibration, mean_accuracy, slices_of_run};
use super::{AnalyseError, CurvePoint, RunAnalysis, TaskResult, accuracy_name};
use crate::choices::{Unanswered, answers, clusters, right};
use crate::likelihood::Likelihood;
use crate::ratio::Ratio;
use crate::rows::{by_document, windows};
use harness_record::SealedRun;
use harness_record::format::{Task, file};
use harness_statistics::cluster::{Cluster, by_cluster, share_over_clusters};
use harness_statistics::{self as stats, Share, mean_of_shares, share};

/// The unit of a value; it decides how the number is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bits per byte of text: three decimals.
    BitsPerByte,
    /// Nats per token: three decimals.
    NatsPerToken,
    /// A share, shown in percent with one decimal.
    Share,
    /// A count, with separators between thousands.
    Count,
    /// Perplexity: one decimal, none from 1,000 on.
    Perplexity,
    /// Seconds: one decimal, none from 100 on.
    Seconds,
    /// Bytes, shown in MiB with no decimals.
    Bytes,
    /// Floating-point operations, in scientific notation.
    Flops,
    /// A plain number with two decimals.
    Decimal,
    /// A setting, as written: up to six significant digits.
    Number,
}

impl From<Likelihood> for Unit {
    fn from(score: Likelihood) -> Self {
        match score {
            Likelihood::GoldBitsPerByte => Unit::BitsPerByte,
            Likelihood::GoldProbability => Unit::Share,
        }
    }
}

/// A number of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Value {
    /// Its name, such as `validation.bits_per_byte`.
    pub key: String,
    /// The exact number.
    pub number: f64,
    /// Its unit.
    pub unit: Unit,
    /// Standard error in the same unit, where there is one.
    pub standard_error: Option<f64>,
    /// Files of the run it was computed from, sorted.
    pub files: Vec<String>,
}

impl Value {
    /// The number under its declared rounding, without unit.
    pub fn shown(&self) -> String {
        show(self.number, self.unit)
    }

    /// The standard error under the same rounding.
    pub fn shown_standard_error(&self) -> Option<String> {
        self.standard_error.map(|error| show(error, self.unit))
    }
}

/// Formats a number under its unit's rounding rule.
pub fn show(number: f64, unit: Unit) -> String {
    match unit {
        Unit::BitsPerByte | Unit::NatsPerToken => format!("{number:.3}"),
        Unit::Share => format!("{:.1}", 100.0 * number),
        Unit::Count => grouped(number),
        Unit::Perplexity | Unit::Seconds if number.abs() >= 100.0 => grouped(number),
        Unit::Perplexity | Unit::Seconds => format!("{number:.1}"),
        Unit::Bytes => grouped(number / (1u64 << 20) as f64),
        Unit::Flops => format!("{number:.2e}"),
        Unit::Decimal => format!("{number:.2}"),
        Unit::Number => plain(number),
    }
}

/// The same of a number that is known to within this, half of its 95 % interval: with two significant digits of that, however
/// many that makes behind the point, but at most one more than the unit's rule has: the interval of one run knows nothing of
/// other seeds. What is a count or was set, and a number without an interval, is shown under the unit's rule.
pub fn show_known(number: f64, unit: Unit, half_width: Option<f64>) -> String {
    let (scale, places) = match unit {
        Unit::BitsPerByte | Unit::NatsPerToken => (1.0, 3),
        Unit::Share => (100.0, 1),
        Unit::Perplexity | Unit::Seconds => (1.0, 1),
        Unit::Decimal => (1.0, 2),
        Unit::Count | Unit::Bytes | Unit::Flops | Unit::Number => return show(number, unit),
    };
    let Some(half_width) = half_width.map(|half| half * scale).filter(|half| half.is_finite() && *half > 0.0) else {
        return show(number, unit);
    };
    // 0.0996 has its second digit at the third place, but is 0.10 when rounded to two.
    let rounded = format!("{half_width:.1e}");
    let exponent = rounded.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok()).unwrap_or(0);
    let known = usize::try_from(1 - exponent).unwrap_or(0);
    grouped_to(number * scale, known.min(places + 1))
}

fn grouped(number: f64) -> String {
    grouped_to(number, 0)
}

/// With separators between thousands, and this many digits behind the point.
fn grouped_to(number: f64, places: usize) -> String {
    let written = format!("{:.places$}", number.abs());
    let whole = written.split('.').next().unwrap_or_default();
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out.push_str(&written[whole.len()..]);
    let is_zero = written.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if number < 0.0 && !is_zero { format!("-{out}") } else { out }
}

fn plain(number: f64) -> String {
    let text = format!("{number}");
    if text.len() <= 8 {
        return text;
    }
    let short = format!("{number:.5e}");
    // What six digits say exactly, such as 0.95 that was kept in single precision, is written out where it is short.
    let written = short.parse::<f64>().map_or(String::new(), |rounded| format!("{rounded}"));
    if (1..=8).contains(&written.len()) {
        return written;
    }
    let (mantissa, exponent) = short.split_once('e').expect("scientific notation has an exponent");
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    format!("{mantissa}e{exponent}")
}

/// The mean over the last tenth of the steps: what "the training loss" means in tables.
fn late_mean(steps: &[StepLine]) -> Option<f64> {
    let late = &steps[steps.len() - steps.len().div_ceil(10).min(steps.len())..];
    (!late.is_empty()).then(|| late.iter().map(|s| s.loss_nats).sum::<f64>() / late.len() as f64)
}

struct Builder {
    values: BTreeMap<String, Value>,
}

impl Builder {
    fn add(&mut self, key: impl Into<String>, number: f64, unit: Unit, files: &[&str]) {
        self.add_with_error(key, number, None, unit, files);
    }

    fn add_ratio(&mut self, key: impl Into<String>, ratio: Ratio, unit: Unit, files: &[&str]) {
        self.add_with_error(key, ratio.number, ratio.standard_error, unit, files);
    }

    /// What is not a finite number is no value: the key is not there then, also where an earlier evaluation had one.
    fn add_with_error(&mut self, key: impl Into<String>, number: f64, error: Option<f64>, unit: Unit, files: &[&str]) {
        let key = key.into();
        if !number.is_finite() {
            self.values.remove(&key);
            return;
        }
        let mut files: Vec<String> = files.iter().map(|f| (*f).to_owned()).collect();
        files.sort();
        files.dedup();
        let standard_error = error.filter(|error| error.is_finite());
        self.values.insert(key.clone(), Value { key, number, unit, standard_error, files });
    }
}

pub(super) fn analyse(run: SealedRun) -> Result<RunAnalysis, AnalyseError> {
    let steps: Vec<StepLine> = read_csv(&run.path(file::STEPS))?;
    let mut values = Builder { values: BTreeMap::new() };
    describe_plan(&run, &mut values);
    describe_training(&run, &steps, &mut values);

    let last_step = run.record.evaluations.last().map(|e| e.step);
    let mut validation_curve = Vec::new();
    let mut task_points: BTreeMap<String, Vec<CurvePoint>> = BTreeMap::new();
    let mut likelihood_points: BTreeMap<String, Vec<CurvePoint>> = BTreeMap::new();
    let mut document_curves: BTreeMap<String, Vec<CurvePoint>> = BTreeMap::new();
    let (mut tasks, mut groups) = (Vec::new(), Vec::new());
    for evaluation in &run.record.evaluations {
        let point = |value: f64| CurvePoint { step: evaluation.step, tokens: evaluation.tokens, value };
        let mut now = Vec::new();
        for output in &evaluation.files {
            let name = output.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".csv");
            if name == "validation.tokens" || name == GENERATED {
                // The losses of single tokens of the last evaluation are described below; a text is no number.
            } else if name == "validation" {
                let bits = validation(&run, &output.path, evaluation.step, &mut values)?;
                validation_curve.push(point(bits));
            } else {
                let task =
                    run.open.tasks.iter().find(|task| task.id == name).ok_or_else(|| {
                        inconsistent(&run, format!("`{}` belongs to no task of its plan", output.path))
                    })?;
                if task.kind == Kind::Documents {
                    let bits = documents(&run, task, &output.path, &mut values)?;
                    document_curves.entry(task.id.clone()).or_default().push(point(bits));
                } else {
                    now.push(task_result(&run, task, &output.path)?);
                }
            }
        }
        let grouped = group_results(&now);
        for result in now.iter().chain(&grouped) {
            task_points.entry(result.id.clone()).or_default().push(point(result.quoted_accuracy().mean));
            for score in Likelihood::ALL {
                if let Some(ratio) = result.likelihood(score) {
                    likelihood_points.entry(score.key(&result.id)).or_default().push(point(ratio.number));
                }
            }
        }
        if Some(evaluation.step) == last_step {
            now.iter().for_each(|result| add_task(result, std::slice::from_ref(result), &mut values));
            for group in &grouped {
                let members: Vec<TaskResult> =
                    now.iter().filter(|t| t.group.as_ref() == Some(&group.id)).cloned().collect();
                add_task(group, &members, &mut values);
                add_phenomena(&run, &group.id, &members, &mut values);
            }
            (tasks, groups) = (now, grouped);
        }
    }
    let best = validation_curve.iter().map(|p| p.value).reduce(f64::min);
    if let Some(best) = best {
        let files: Vec<String> = validation_files(&run);
        let files: Vec<&str> = files.iter().map(String::as_str).chain([file::OPEN, file::RECORD]).collect();
        values.add("validation.best_bits_per_byte", best, Unit::BitsPerByte, &files);
    }
    let (calibration, slices) = describe_tokens(&run, &mut values)?;
    let (tensor_norms, activations) = (table(run.tensor_norms())?, table(Some(run.path(file::ACTIVATIONS)))?);
    let samples = run.samples()?;
    Ok(RunAnalysis {
        run,
        steps,
        tensor_norms,
        activations,
        validation_curve,
        task_curves: task_points,
        likelihood_curves: likelihood_points,
        document_curves,
        tasks,
        groups,
        calibration,
        slices,
        samples,
        values: values.values,
    })
}

/// A table that a run writes at intervals, if it was asked to.
fn table<T: DeserializeOwned>(path: Option<PathBuf>) -> Result<Vec<T>, AnalyseError> {
    Ok(path.filter(|path| files::is_file(path)).map_or(Ok(Vec::new()), |path| read_csv(&path))?)
}

fn inconsistent(run: &SealedRun, problem: String) -> AnalyseError {
    AnalyseError::Inconsistent { run: run.open.run.to_string(), problem }
}

fn validation_files(run: &SealedRun) -> Vec<String> {
    let files = run.record.evaluations.iter().flat_map(|e| &e.files);
    files.map(|f| f.path.clone()).filter(|path| path.ends_with("/validation.csv")).collect()
}

fn describe_plan(run: &SealedRun, values: &mut Builder) {
    for (key, text) in flat(&run.experiment) {
        if let Ok(number) = text.parse::<f64>() {
            values.add(format!("config.{key}"), number, Unit::Number, &[file::CONFIG]);
        }
    }
    let data = &run.open.data;
    let of_split = |split: &str, count: fn(&harness_record::format::Shard) -> u64| {
        data.shards.iter().filter(|s| s.split == split).map(count).sum::<u64>() as f64
    };
    let files = [file::OPEN];
    values.add("data.train_tokens", of_split("train", |s| s.tokens), Unit::Count, &files);
    values.add("data.validation_tokens", of_split("validation", |s| s.tokens), Unit::Count, &files);
    values.add("data.train_documents", of_split("train", |s| s.documents), Unit::Count, &files);
    values.add("data.validation_documents", of_split("validation", |s| s.documents), Unit::Count, &files);
    values.add("data.validation_bytes", data.validation_bytes as f64, Unit::Count, &files);
    values.add("data.vocabulary_size", f64::from(data.vocabulary_size), Unit::Count, &files);
    for baseline in &run.corpus.baselines {
        let key = format!("data.{}_bits_per_byte", baseline.model);
        values.add(key, baseline.bits_per_byte, Unit::BitsPerByte, &[file::CORPUS_MANIFEST]);
    }
    let tokenizer = &run.corpus.tokenizer;
    let bytes_per_token = tokenizer.validation_bytes_per_token;
    values.add("data.bytes_per_token", bytes_per_token, Unit::Decimal, &[file::CORPUS_MANIFEST]);
    let documents = &run.corpus.documents;
    for (name, count) in [
        ("documents_read", documents.read),
        ("exact_duplicates", documents.exact_duplicates),
        ("near_duplicates", documents.near_duplicates),
        ("contaminated_documents", documents.contaminated),
        ("leaked_documents", documents.leaked),
    ] {
        values.add(format!("data.{name}"), count as f64, Unit::Count, &[file::CORPUS_MANIFEST]);
    }
    if let Some(across) = &run.corpus.across_split {
        let repeated = across.validation_documents as f64;
        values.add("data.repeated_validation_documents", repeated, Unit::Count, &[file::CORPUS_MANIFEST]);
    }
    let train_bytes = run.corpus.train.text_bytes as f64;
    values.add("data.train_bytes", train_bytes, Unit::Count, &[file::CORPUS_MANIFEST]);
    describe_corpus(&run.corpus, values);
    let parameters = run.experiment.model.parameters(data.vocabulary_size);
    let files = [file::CONFIG, file::OPEN];
    values.add("model.parameters", parameters.0 as f64, Unit::Count, &files);
    values.add("model.parameters_without_embeddings", parameters.1 as f64, Unit::Count, &files);
    let flops = run.experiment.model.training_flops_per_token(data.vocabulary_size);
    values.add("model.training_flops_per_token", flops, Unit::Flops, &files);
}

/// What the data section says of the corpus beyond its size: how it came from what was read, and its documents.
fn describe_corpus(corpus: &Manifest, values: &mut Builder) {
    let files = [file::CORPUS_MANIFEST];
    let read_bytes = corpus.funnel.first().map_or(0, |stage| stage.bytes).max(1) as f64;
    for stage in &corpus.funnel {
        let key = |what: &str| format!("data.funnel.{}.{what}", stage.stage);
        values.add(key("documents"), stage.documents as f64, Unit::Count, &files);
        values.add(key("bytes"), stage.bytes as f64, Unit::Count, &files);
        values.add(key("bytes_share"), stage.bytes as f64 / read_bytes, Unit::Share, &files);
    }
    // The first stage is reading, then every step has one.
    for (stage, step) in corpus.funnel.iter().skip(1).zip(&corpus.steps) {
        let key = format!("data.funnel.{}.changed", stage.stage);
        values.add(key, step.documents_changed as f64, Unit::Count, &files);
    }
    let lengths = &corpus.lengths;
    for (name, lengths) in [("train", &lengths.train), ("validation", &lengths.validation), ("test", &lengths.test)] {
        if lengths.bytes.documents == 0 {
            continue;
        }
        // Each document once, also where the shards hold it several times: so the sides add up to what is left.
        let key = |what: &str| format!("data.funnel.{name}.{what}");
        values.add(key("documents"), lengths.bytes.documents as f64, Unit::Count, &files);
        values.add(key("bytes"), lengths.bytes.total as f64, Unit::Count, &files);
        values.add(key("bytes_share"), lengths.bytes.total as f64 / read_bytes, Unit::Share, &files);
        for (unit, lengths) in [("bytes", &lengths.bytes), ("tokens", &lengths.tokens)] {
            for (what, number) in [
                ("smallest", lengths.smallest),
                ("lower_quartile", lengths.lower_quartile),
                ("median", lengths.median),
                ("upper_quartile", lengths.upper_quartile),
                ("largest", lengths.largest),
            ] {
                values.add(format!("data.{name}_document_{unit}.{what}"), number as f64, Unit::Count, &files);
            }
        }
    }
    for (name, sources) in recipe_sources(corpus) {
        let sum = |number: fn(&SourceRecord) -> u64| sources.iter().map(number).sum::<u64>() as f64;
        for (what, number) in [
            ("documents", sum(|s| s.train_documents + s.validation_documents)),
            ("bytes", sum(|s| s.train_bytes + s.validation_bytes)),
            ("tokens", sum(|s| s.train_tokens + s.validation_tokens)),
        ] {
            values.add(format!("data.sources.{name}.{what}"), number, Unit::Count, &files);
        }
    }
    for found in &corpus.contamination {
        for (what, number) in [
            ("items", found.items),
            ("items_too_short", found.items_too_short),
            ("items_found", found.items_found),
            ("documents", found.documents),
        ] {
            values.add(format!("data.contamination.{}.{what}", found.task), number as f64, Unit::Count, &files);
        }
    }
    let source_bytes: u64 = corpus.sources.iter().map(|source| source.bytes).sum();
    values.add("data.source_bytes", source_bytes as f64, Unit::Count, &files);
    let groups: u64 = corpus.duplicate_group_sizes.iter().map(|size| size.groups).sum();
    values.add("data.duplicate_groups", groups as f64, Unit::Count, &files);
    values.add("data.unused_token_ids", f64::from(corpus.tokenizer.unused_tokens), Unit::Count, &files);
    values.add("data.train_bytes_per_token", corpus.tokenizer.train_bytes_per_token, Unit::Decimal, &files);
}

/// The sources of a corpus as its recipe names them: the files of a pattern are one.
pub fn recipe_sources(corpus: &Manifest) -> Vec<(&str, &[SourceRecord])> {
    let files = corpus.sources.chunk_by(|a, b| a.pattern.is_some() && a.pattern == b.pattern);
    files.map(|of| (of[0].pattern.as_ref().unwrap_or(&of[0].name).as_str(), of)).collect()
}

fn describe_training(run: &SealedRun, steps: &[StepLine], values: &mut Builder) {
    let files = [file::STEPS];
    if let (Some(last), Some(loss)) = (steps.last(), late_mean(steps)) {
        values.add("training.steps", last.step as f64, Unit::Count, &files);
        values.add("training.tokens", last.tokens as f64, Unit::Count, &files);
        values.add("training.loss", loss, Unit::NatsPerToken, &files);
        let train_tokens = values.values["data.train_tokens"].number;
        values.add("training.epochs", last.tokens as f64 / train_tokens, Unit::Decimal, &[file::STEPS, file::OPEN]);
        let flops = values.values["model.training_flops_per_token"].number * last.tokens as f64;
        values.add("training.flops", flops, Unit::Flops, &[file::STEPS, file::CONFIG, file::OPEN]);
        let norms: Vec<f64> = steps.iter().map(|s| s.gradient_norm).collect();
        values.add("training.gradient_norm_p90", stats::quantile(&norms, 0.9), Unit::Decimal, &files);
        let limit = run.experiment.optimizer.gradient_clip_norm;
        let clipped = norms.iter().filter(|&&norm| limit > 0.0 && norm > limit).count() as f64 / norms.len() as f64;
        values.add("training.clipped_share", clipped, Unit::Share, &[file::STEPS, file::CONFIG]);
        let rates: Vec<f64> = steps.iter().map(|s| s.tokens_per_s).collect();
        values.add("resources.tokens_per_s", stats::quantile(&rates, 0.5), Unit::Count, &files);
    }
    // A resumed run cost what all its segments cost.
    let before = run.open.resumed_from.as_ref().map(|origin| origin.spent.clone()).unwrap_or_default();
    let (resources, files) = (&run.record.resources, [file::OPEN, file::RECORD]);
    values.add("resources.wall_time_s", before.wall_time_s + resources.wall_time_s, Unit::Seconds, &files);
    values.add("resources.cpu_time_s", before.cpu_time_s + resources.cpu_time_s, Unit::Seconds, &files);
    values.add("resources.gpu_time_s", before.gpu_time_s + resources.gpu_time_s, Unit::Seconds, &files);
    values.add("resources.cpu_h", (before.cpu_time_s + resources.cpu_time_s) / 3600.0, Unit::Decimal, &files);
    values.add("resources.gpu_h", (before.gpu_time_s + resources.gpu_time_s) / 3600.0, Unit::Decimal, &files);
    if let Some(closing) = &run.record.closing {
        let training_time_s = before.training_time_s + closing.training_time_s;
        values.add("resources.training_time_s", training_time_s, Unit::Seconds, &files);
        values.add("resources.peak_memory_bytes", closing.peak_memory_bytes as f64, Unit::Bytes, &files);
    }
}

/// Bits per byte of one evaluation: all nats of the validation text over its bytes, so that it does not depend on
/// the tokenizer. The rows must cover each validation token exactly once.
fn validation(run: &SealedRun, path: &str, step: u64, values: &mut Builder) -> Result<f64, AnalyseError> {
    let rows = windows(run, path)?;
    let data = &run.open.data;
    let shards = data.shards.iter().filter(|s| s.split == "validation");
    let expected: u64 = shards.map(|s| s.tokens.saturating_sub(s.documents)).sum();
    let tokens: u64 = rows.iter().map(|row| row.tokens).sum();
    if tokens != expected {
        let problem = format!("`{path}` scores {tokens} tokens, but the validation shards hold {expected}");
        return Err(inconsistent(run, problem));
    }
    let nats: f64 = rows.iter().map(|row| row.loss_nats).sum();
    let bits = nats / LN_2 / data.validation_bytes as f64;
    let files = [path, file::OPEN, file::RECORD];
    if step == 0 {
        values.add("validation.initial_bits_per_byte", bits, Unit::BitsPerByte, &files);
    }
    // Documents are independent of each other; the windows of one are not.
    let documents = &run.corpus.validation_documents;
    let sums = by_document(&rows, documents.len(), |row| row.loss_nats);
    let over = |sum: f64, weights: Vec<f64>| {
        let clusters = sums.iter().zip(&weights).map(|(&sum, &weight)| Cluster { sum, weight });
        Ratio::of(nats, sum, &clusters.collect::<Vec<_>>())
    };
    let per_byte = over(data.validation_bytes as f64, documents.iter().map(|d| d.bytes as f64).collect());
    let per_token = over(tokens as f64, by_document(&rows, documents.len(), |row| row.tokens as f64));
    values.add_ratio("validation.bits_per_byte", per_byte.scaled(1.0 / LN_2), Unit::BitsPerByte, &files);
    values.add_ratio("validation.loss", per_token, Unit::NatsPerToken, &files);
    values.add_ratio("validation.perplexity", per_token.exponential(), Unit::Perplexity, &files);
    values.add_ratio("validation.byte_perplexity", per_byte.exponential(), Unit::Decimal, &files);
    Ok(bits)
}

/// Calibration of the next-token distribution, and the loss by place, source and length of document: what the losses of
/// single tokens say without the text.
fn describe_tokens(run: &SealedRun, values: &mut Builder) -> Result<(Option<Calibration>, Vec<Slice>), AnalyseError> {
    let Some(scored) = Scored::of(run)? else { return Ok((None, Vec::new())) };
    let files = [scored.file.as_str(), &scored.windows_file, file::RECORD];
    let calibration = calibration(&scored.losses, &scored.documents(), false);
    if let Some(found) = &calibration {
        let key = "validation.first_choice_accuracy";
        values.add_with_error(key, found.accuracy, found.accuracy_standard_error, Unit::Share, &files);
        for (key, number) in [
            ("validation.first_choice_probability", found.mean_probability),
            ("validation.calibration_error", found.error),
            ("validation.calibration_error_equal_mass", found.error_equal_mass),
        ] {
            values.add(key, number, Unit::Share, &files);
        }
    }
    let slices = slices_of_run(run, &scored);
    for slice in &slices {
        let by = slice.by.map_or("all", By::name);
        let key = |what: &str| format!("validation.{by}.{}.{what}", slice.slice);
        let from_manifest = [&files[..], &[file::CORPUS_MANIFEST]].concat();
        let files = if slice.by == Some(By::Source) { &from_manifest[..] } else { &files[..] };
        values.add_with_error(key("loss"), slice.loss_nats, slice.standard_error, Unit::NatsPerToken, files);
        values.add(key("share"), slice.share, Unit::Share, files);
        if let Some(bits) = slice.bits_per_byte {
            values.add(key("bits_per_byte"), bits, Unit::BitsPerByte, files);
        }
    }
    Ok((calibration, slices))
}

/// The unweighted mean over the tasks of a group that ask about one phenomenon, and over those of one field.
fn add_phenomena(run: &SealedRun, group: &str, members: &[TaskResult], values: &mut Builder) {
    for by in [By::Phenomenon, By::Field] {
        for ((_, slice), tasks) in by_phenomenon(run, members, by) {
            let files: Vec<&str> = tasks.iter().map(|t| t.file.as_str()).chain([file::OPEN, file::RECORD]).collect();
            let (key, share) = (format!("tasks.{group}.{by}.{slice}.accuracy"), mean_accuracy(&tasks));
            values.add_with_error(key, share.mean, Some(share.standard_error), Unit::Share, &files);
        }
    }
}

/// The rows of a task, one item or document after the other.
fn task_rows(run: &SealedRun, task: &Task, path: &str) -> Result<Vec<ChoiceScore>, AnalyseError> {
    let rows: Vec<ChoiceScore> = read_csv(&run.path(path))?;
    let items = rows.chunk_by(|a, b| a.item == b.item).count() as u64;
    if items != task.items || rows.is_empty() {
        let problem = format!("`{path}` scores {items} items, but the plan names {}", task.items);
        return Err(inconsistent(run, problem));
    }
    Ok(rows)
}

/// Perplexities of the documents of a task, over their words and bytes as they stand in the data. A later evaluation
/// takes the place of an earlier one. Returns the bits per byte.
fn documents(run: &SealedRun, task: &Task, path: &str, values: &mut Builder) -> Result<f64, AnalyseError> {
    let rows = task_rows(run, task, path)?;
    let sum = |of: fn(&ChoiceScore) -> u64| rows.iter().map(of).sum::<u64>() as f64;
    let (bytes, words, tokens) = (sum(|r| r.bytes), sum(|r| r.words), sum(|r| r.tokens));
    let nats = -rows.iter().map(|row| row.nats()).sum::<f64>();
    let files = [path, file::OPEN, file::RECORD];
    let over = |sum: f64, of: fn(&ChoiceScore) -> u64| {
        let cluster = |row: &ChoiceScore| Cluster { sum: -row.nats(), weight: of(row) as f64 };
        Ratio::of(nats, sum, &rows.iter().map(cluster).collect::<Vec<_>>())
    };
    let per_byte = over(bytes, |r| r.bytes);
    let bits = per_byte.scaled(1.0 / LN_2);
    for (name, ratio, unit) in [
        ("bits_per_byte", bits, Unit::BitsPerByte),
        ("byte_perplexity", per_byte.exponential(), Unit::Decimal),
        ("word_perplexity", over(words, |r| r.words).exponential(), Unit::Perplexity),
        ("loss", over(tokens, |r| r.tokens), Unit::NatsPerToken),
    ] {
        values.add_ratio(format!("tasks.{}.{name}", task.id), ratio, unit, &files);
    }
    values.add(format!("tasks.{}.items", task.id), task.items as f64, Unit::Count, &files);
    Ok(bits.number)
}

/// Scores one task of items from its rows.
fn task_result(run: &SealedRun, task: &Task, path: &str) -> Result<TaskResult, AnalyseError> {
    let rows = task_rows(run, task, path)?;
    let last_word = task.kind == Kind::LastWord;
    let clusters = clusters(&rows);
    let right_by = |metric: Metric| {
        let right = right(&answers(&rows, task.kind, metric));
        clusters.as_ref().map_or_else(|| share(&right), |of| share_over_clusters(&right, of))
    };
    let unconditional = rows.iter().any(|row| row.unconditional_log_probability_nats.is_some());
    if task.metric == Metric::AccuracyMutualInformation && !unconditional {
        return Err(inconsistent(run, format!("`{path}` lacks the scores without context that its metric needs")));
    }
    let nats = rows.iter().map(|row| row.nats()).sum::<f64>();
    Ok(TaskResult {
        id: task.id.clone(),
        group: task.group.clone(),
        items: task.items,
        chance: task.chance,
        title: task.title.clone(),
        metric: task.metric,
        unanswered: Unanswered::among(&answers(&rows, task.kind, task.metric)),
        accuracy: right_by(Metric::Accuracy),
        accuracy_normalized: (!last_word).then(|| right_by(Metric::AccuracyPerCharacter)),
        accuracy_per_token: (!last_word).then(|| right_by(Metric::AccuracyPerToken)),
        accuracy_mutual_information: unconditional.then(|| right_by(Metric::AccuracyMutualInformation)),
        perplexity: last_word.then(|| {
            let words: Vec<Cluster> = rows.iter().map(|row| Cluster { sum: -row.nats(), weight: 1.0 }).collect();
            let units = clusters.as_ref().map_or_else(|| words.clone(), |of| by_cluster(&words, of));
            Ratio::of(-nats, rows.len() as f64, &units).exponential()
        }),
        gold_bits_per_byte: Likelihood::GoldBitsPerByte.of_task(&rows, task.kind),
        gold_probability: Likelihood::GoldProbability.of_task(&rows, task.kind),
        file: path.to_owned(),
    })
}

/// The unweighted mean over the tasks of each group, in the order of first appearance.
fn group_results(tasks: &[TaskResult]) -> Vec<TaskResult> {
    let mut names: Vec<&String> = Vec::new();
    tasks.iter().filter_map(|t| t.group.as_ref()).for_each(|name| {
        if !names.contains(&name) {
            names.push(name);
        }
    });
    let mean_over = |members: &[&TaskResult], of: fn(&TaskResult) -> Option<Share>| {
        let shares: Vec<Share> = members.iter().filter_map(|t| of(t)).collect();
        (shares.len() == members.len()).then(|| mean_of_shares(&shares))
    };
    let mean_ratio = |members: &[&TaskResult], score: Likelihood| {
        let ratios: Vec<Ratio> = members.iter().filter_map(|t| t.likelihood(score)).collect();
        (ratios.len() == members.len()).then(|| Ratio::mean(&ratios))
    };
    let group = |name: &String| {
        let members: Vec<&TaskResult> = tasks.iter().filter(|t| t.group.as_ref() == Some(name)).collect();
        TaskResult {
            id: name.clone(),
            group: None,
            items: members.iter().map(|t| t.items).sum(),
            chance: members.iter().map(|t| t.chance).sum::<f64>() / members.len() as f64,
            title: members[0].title.clone(),
            metric: members[0].metric,
            unanswered: members.iter().fold(Unanswered::default(), |sum, t| sum.plus(t.unanswered)),
            accuracy: mean_over(&members, |t| Some(t.accuracy)).expect("every task has an accuracy"),
            accuracy_normalized: mean_over(&members, |t| t.accuracy_normalized),
            accuracy_per_token: mean_over(&members, |t| t.accuracy_per_token),
            accuracy_mutual_information: mean_over(&members, |t| t.accuracy_mutual_information),
            perplexity: None,
            gold_bits_per_byte: mean_ratio(&members, Likelihood::GoldBitsPerByte),
            gold_probability: mean_ratio(&members, Likelihood::GoldProbability),
            file: String::new(),
        }
    };
    names.into_iter().map(group).collect()
}

fn add_task(result: &TaskResult, members: &[TaskResult], values: &mut Builder) {
    let files: Vec<&str> = members.iter().map(|t| t.file.as_str()).chain([file::OPEN, file::RECORD]).collect();
    let key = |name: &str| format!("tasks.{}.{name}", result.id);
    let mut add_share = |name: &str, share: Share| {
        values.add_with_error(key(name), share.mean, Some(share.standard_error), Unit::Share, &files);
    };
    add_share("accuracy", result.accuracy);
    for (metric, accuracy) in [
        (Metric::AccuracyPerCharacter, result.accuracy_normalized),
        (Metric::AccuracyPerToken, result.accuracy_per_token),
        (Metric::AccuracyMutualInformation, result.accuracy_mutual_information),
    ] {
        if let Some(accuracy) = accuracy {
            add_share(accuracy_name(metric), accuracy);
        }
    }
    if let Some(perplexity) = result.perplexity {
        values.add_ratio(key("perplexity"), perplexity, Unit::Perplexity, &files);
    }
    for score in Likelihood::ALL {
        if let Some(ratio) = result.likelihood(score) {
            values.add_ratio(score.key(&result.id), ratio, score.into(), &files);
        }
    }
    if result.unanswered.total() > 0 {
        values.add(key("unanswered"), result.unanswered.total() as f64, Unit::Count, &files);
        let guessed = members.iter().map(TaskResult::accuracy_if_guessed).sum::<f64>() / members.len() as f64;
        values.add(key("accuracy_if_guessed"), guessed, Unit::Share, &files);
    }
    values.add(key("chance"), result.chance, Unit::Share, &[file::OPEN]);
    values.add(key("items"), result.items as f64, Unit::Count, &files);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_under_their_rule() {
        let cases = [
            (1.234_56, Unit::BitsPerByte, "1.235"),
            (0.512_34, Unit::Share, "51.2"),
            (1_234_567.0, Unit::Count, "1,234,567"),
            (999.0, Unit::Count, "999"),
            (0.000_6, Unit::Number, "0.0006"),
            (1.0 / 3.0, Unit::Number, "0.333333"),
            (1.0 / 3e7, Unit::Number, "3.33333e-8"),
            (f64::from(0.95_f32), Unit::Number, "0.95"),
            (3.2e14, Unit::Flops, "3.20e14"),
            (12.34, Unit::Seconds, "12.3"),
            (1234.0, Unit::Perplexity, "1,234"),
        ];
        for (number, unit, expected) in cases {
            assert_eq!(show(number, unit), expected);
            assert_eq!(show_known(number, unit, None), expected);
        }
    }

    #[test]
    fn a_number_has_the_digits_that_its_interval_supports() {
        let cases = [
            (1.234_56, Unit::BitsPerByte, 0.012, "1.235"),
            (1.234_56, Unit::BitsPerByte, 0.12, "1.23"),
            (1.234_56, Unit::BitsPerByte, 0.001_2, "1.2346"),
            (1.234_56, Unit::BitsPerByte, 1.2, "1.2"),
            (1.234_56, Unit::BitsPerByte, 45.0, "1"),
            // To two digits this is 0.10.
            (1.234_56, Unit::BitsPerByte, 0.099_6, "1.23"),
            (1.234_56, Unit::BitsPerByte, 0.099_4, "1.235"),
            // At most one digit more than the unit has.
            (1.234_567_8, Unit::BitsPerByte, 1e-9, "1.2346"),
            (0.512_34, Unit::Share, 0.021, "51.2"),
            (0.512_34, Unit::Share, 0.12, "51"),
            (0.512_34, Unit::Share, 0.002_1, "51.23"),
            (1234.56, Unit::Perplexity, 0.31, "1,234.56"),
            (1234.567, Unit::Perplexity, 0.031, "1,234.57"),
            (1234.56, Unit::Perplexity, 31.0, "1,235"),
            (-0.001, Unit::NatsPerToken, 0.5, "0.00"),
            // None at all, a spread of nothing, and what is whole or written by hand.
            (1.234_56, Unit::BitsPerByte, 0.0, "1.235"),
            (1.234_56, Unit::BitsPerByte, f64::NAN, "1.235"),
            (1_234_567.0, Unit::Count, 0.5, "1,234,567"),
            (0.000_6, Unit::Number, 0.1, "0.0006"),
        ];
        for (number, unit, half_width, expected) in cases {
            assert_eq!(show_known(number, unit, Some(half_width)), expected, "{number} to within {half_width}");
        }
    }
}
