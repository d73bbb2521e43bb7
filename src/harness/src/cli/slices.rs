//! `harness slices`: where the loss on held-out text lies, and where it changed between two runs.

use harness_core::scores::to_csv;
use serde::Serialize;

use super::terminal::{self, Shade};
use super::{Failure, Outcome, Workplace};
use crate::exit_code;
use harness_analyse::compare::show_difference;
use harness_analyse::slices::{self, By, Passage, PhenomenonSlice, Report, Slice, SliceError, Wanted, slices};
use harness_analyse::{Side, Unit, show};

/// A change of a token's loss by so many nats is marked in a passage: its probability more than doubled or halved.
const MARKED_NATS: f64 = std::f64::consts::LN_2;

/// Slice the loss on held-out text: where is it high, and where did it change between two runs?
///
/// By place in the context, training frequency, source, document length, part and kind of word, repetition; tasks by
/// phenomenon and field. With calibration of the next-token distribution, and between two runs the passages that
/// changed most. Of an experiment the latest run of its latest plan is taken. Differences are OTHER minus RUN. Slices by
/// frequency, words and repetition, and passages, need the corpus in the store, as the run used it.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A run id or an experiment.
    #[arg(value_name = "RUN")]
    name: String,
    /// Another one with the same validation text and tokenizer.
    other: Option<String>,
    /// What to slice by: position, frequency, source, length, word_part, word_kind, repetition, phenomenon, field
    /// [default: all].
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    by: Vec<By>,
    /// Passages shown for each direction, between two runs.
    #[arg(long, value_name = "N")]
    passages: Option<usize>,
    /// Print JSON with exact numbers.
    #[arg(long, conflicts_with_all = ["csv", "md"])]
    json: bool,
    /// Print CSV with exact numbers: the slices of tokens and of tasks.
    #[arg(long, conflicts_with = "md")]
    csv: bool,
    /// Print Markdown tables.
    #[arg(long)]
    md: bool,
}

/// One row of `--csv`.
#[derive(Serialize)]
struct Row<'a> {
    by: &'a str,
    slice: String,
    units: u64,
    share: Option<f64>,
    value: f64,
    standard_error: Option<f64>,
    bits_per_byte: Option<f64>,
    other_value: Option<f64>,
    difference: Option<f64>,
    difference_standard_error: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    contribution_nats: Option<f64>,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let latest = |name: &String| -> Result<_, Failure> {
        let side = Side::open(&workplace.project, name)?;
        Ok(side.runs.into_iter().last().expect("a side has a run"))
    };
    let reference = latest(&arguments.name)?;
    let other = arguments.other.as_ref().map(latest).transpose()?;
    let by = if arguments.by.is_empty() { By::ALL.to_vec() } else { arguments.by.clone() };
    // Who asks for slices that the run alone gives does not need the text for passages that were not asked for.
    let by_text = by.iter().any(|by| by.needs_text());
    let passages = arguments.passages.unwrap_or(if by_text && other.is_some() { 3 } else { 0 });
    let report = slices(&workplace.project, &reference, other.as_ref(), &Wanted { by, passages })?;
    if arguments.json {
        terminal::say_json(&report);
    } else if arguments.csv {
        let rows = std::iter::once(&report.total).chain(&report.slices).map(token_row);
        let rows = rows.chain(report.phenomena.iter().map(task_row));
        terminal::say_exactly(String::from_utf8_lossy(&to_csv(rows)).trim_end());
    } else {
        print(&report, arguments);
    }
    Ok(exit_code::SUCCESS)
}

fn token_row(slice: &Slice) -> Row<'_> {
    Row {
        by: slice.by.map_or("all", By::name),
        slice: slice.slice.clone(),
        units: slice.tokens,
        share: Some(slice.share),
        value: slice.loss_nats,
        standard_error: slice.standard_error,
        bits_per_byte: slice.bits_per_byte,
        other_value: slice.change.map(|c| c.other_loss_nats),
        difference: slice.change.map(|c| c.difference_nats),
        difference_standard_error: slice.change.and_then(|c| c.standard_error),
        low: slice.change.and_then(|c| c.interval).map(|[low, _]| low),
        high: slice.change.and_then(|c| c.interval).map(|[_, high]| high),
        contribution_nats: slice.change.map(|c| c.contribution_nats),
    }
}

fn task_row(row: &PhenomenonSlice) -> Row<'_> {
    Row {
        by: row.by.name(),
        slice: format!("{}.{}", row.group, row.slice),
        units: row.items,
        share: None,
        value: row.accuracy,
        standard_error: Some(row.standard_error),
        bits_per_byte: None,
        other_value: row.change.map(|c| c.other_accuracy),
        difference: row.change.map(|c| c.difference),
        difference_standard_error: row.change.map(|c| c.standard_error),
        low: row.change.map(|c| c.interval[0]),
        high: row.change.map(|c| c.interval[1]),
        contribution_nats: None,
    }
}

fn print(report: &Report, arguments: &Arguments) {
    let table = if arguments.md { terminal::markdown } else { terminal::table };
    let named = |name: &str| terminal::say(&if arguments.md { format!("### {name}\n") } else { name.to_owned() });
    let steps: Vec<String> = report.steps.iter().map(u64::to_string).collect();
    let runs = match &report.other {
        Some(other) => format!("run {} against {}", other.run, report.reference.run),
        None => format!("run {}", report.reference.run),
    };
    named(&format!(
        "{runs}: {} held-out tokens after step {}, errors by document",
        show(report.total.tokens as f64, Unit::Count),
        steps.join(" and ")
    ));
    if report.total.standard_error.is_none() {
        terminal::say("note: with fewer than five documents there are no errors: the windows of one are alike");
    }
    let slices: Vec<&Slice> = std::iter::once(&report.total).chain(&report.slices).collect();
    for part in slices.chunk_by(|a, b| a.by == b.by) {
        let name = part[0].by.map_or("all tokens", By::name);
        let rows: Vec<Vec<String>> = part.iter().map(|slice| cells(slice, report.other.is_some())).collect();
        let mut header = vec![name, "tokens", "share %", "nats/token", "±", "bits/byte"];
        if report.other.is_some() {
            header.extend(["other", "difference", "95 % interval", "of the whole"]);
        }
        terminal::say(&format!("\n{}", table(&header, &rows)));
    }
    for part in report.phenomena.chunk_by(|a, b| a.by == b.by) {
        let mut header = vec![part[0].by.name(), "tasks", "items", "accuracy %", "±", "chance %"];
        if report.other.is_some() {
            header.extend(["other", "difference", "95 % interval"]);
        }
        let rows: Vec<Vec<String>> = part.iter().map(|row| task_cells(row, report.other.is_some())).collect();
        terminal::say(&format!("\n{}", table(&header, &rows)));
    }
    terminal::say("");
    let rows: Vec<Vec<String>> = report.calibration.iter().enumerate().map(calibration_cells).collect();
    let header = ["calibration", "top-1 accuracy %", "±", "mean probability %", "error (ECE) %", "±", "equal mass %"];
    terminal::say(&table(&header, &rows));
    for (passages, what) in [(&report.improved, "better"), (&report.hurt, "worse")] {
        if !passages.is_empty() {
            terminal::say("");
            named(&format!("predicted much {what}: «token±nats» changed its probability by more than a factor of two"));
        }
        passages.iter().for_each(print_passage);
    }
    report.notes.iter().for_each(|note| terminal::say(&format!("note: {note}")));
}

fn cells(slice: &Slice, other: bool) -> Vec<String> {
    let nats = |number: f64| show(number, Unit::NatsPerToken);
    let or_dash = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let mut cells = vec![
        slice.slice.clone(),
        show(slice.tokens as f64, Unit::Count),
        show(slice.share, Unit::Share),
        nats(slice.loss_nats),
        or_dash(slice.standard_error.map(nats)),
        or_dash(slice.bits_per_byte.map(|bits| show(bits, Unit::BitsPerByte))),
    ];
    if let (Some(change), true) = (&slice.change, other) {
        let difference = |number: f64| show_difference(number, Unit::NatsPerToken);
        let interval = change.interval.map(|[low, high]| format!("[{}, {}]", difference(low), difference(high)));
        cells.extend([
            nats(change.other_loss_nats),
            difference(change.difference_nats),
            or_dash(interval),
            difference(change.contribution_nats),
        ]);
    }
    cells
}

fn task_cells(row: &PhenomenonSlice, other: bool) -> Vec<String> {
    let percent = |number: f64| show(number, Unit::Share);
    let mut cells = vec![
        format!("{}.{}", row.group, row.slice),
        row.tasks.to_string(),
        show(row.items as f64, Unit::Count),
        percent(row.accuracy),
        percent(row.standard_error),
        percent(row.chance),
    ];
    match &row.change {
        Some(change) => {
            let [low, high] = change.interval.map(|end| format!("{:+.1}", 100.0 * end));
            let difference = show_difference(change.difference, Unit::Share);
            cells.extend([percent(change.other_accuracy), difference, format!("[{low}, {high}]")]);
        }
        None if other => cells.extend(["-", "-", "-"].map(str::to_owned)),
        None => {}
    }
    cells
}

fn calibration_cells((index, found): (usize, &slices::Calibration)) -> Vec<String> {
    let percent = |number: f64| show(number, Unit::Share);
    let error = |error: Option<f64>| error.map_or_else(|| "-".to_owned(), percent);
    vec![
        ["the run", "the other"][index.min(1)].to_owned(),
        percent(found.accuracy),
        error(found.accuracy_standard_error),
        percent(found.mean_probability),
        percent(found.error),
        error(found.error_standard_error),
        percent(found.error_equal_mass),
    ]
}

fn print_passage(passage: &Passage) {
    terminal::say(&format!(
        "{}, token {}: {:.3} -> {:.3} nats/token ({:+.3})",
        passage.document, passage.first_token, passage.reference_nats, passage.other_nats, passage.difference_nats
    ));
    let on_one_line = |text: &str| text.replace('\n', "⏎");
    let mut pieces = vec![(format!("    …{}│", on_one_line(&passage.before)), Shade::Plain)];
    for token in &passage.tokens {
        let (text, change) = (on_one_line(&token.text), token.other_nats - token.reference_nats);
        let blank = text.len() - text.trim_start_matches(' ').len();
        let (blank, word) = text.split_at(blank);
        pieces.push((blank.to_owned(), Shade::Plain));
        pieces.push(if change.abs() < MARKED_NATS {
            (word.to_owned(), Shade::Plain)
        } else {
            (format!("«{word}{change:+.1}»"), if change < 0.0 { Shade::Better } else { Shade::Worse })
        });
    }
    terminal::say_shaded(&pieces);
}

impl From<SliceError> for Failure {
    fn from(error: SliceError) -> Self {
        match error {
            SliceError::Analyse(error) => error.into(),
            SliceError::NoTokens { .. }
            | SliceError::NotHere { .. }
            | SliceError::OtherText { .. }
            | SliceError::NotByteLevel(_)
            | SliceError::OtherTokens { .. } => Failure::usage(error),
            _ => Failure::failed(error),
        }
    }
}
