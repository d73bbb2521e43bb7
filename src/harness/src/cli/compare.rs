//! `harness compare`: what is better, what is worse, and what cannot be told apart.

use std::collections::BTreeMap;

use harness_core::Digest;
use harness_core::scores::{Request, read_requests, to_csv};
use harness_corpus::Tokenizer;
use serde::Serialize;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::compare::{
    Asked, CALIBRATION, Comparison, DeclaredBy, Effect, FORMAT, Flip, Flips, LIKELIHOOD, PRIMARY, SECONDARY, SLICES,
    Side, TestKind, compare_all, flips, show_difference,
};
use harness_analyse::{Likelihood, RunAnalysis, show};
use harness_record::format::Task;

/// Flipped items printed for each direction; --json has all.
const SHOWN_FLIPS: usize = 10;

/// Compare experiments with a reference: effects with intervals, tests and verdicts, and what each cost.
///
/// A name is an experiment (every seed of its latest plan counts) or a single run. Differences are the other minus
/// the reference; p-values are corrected by Holm's method over the metrics that the experiments declare (`primary_metrics` in the
/// config), or else over validation bits per byte, the tasks without group and the groups; and within each group over
/// its tasks, and over how probable right answers are; over everything that is compared with the reference at once. "Better" is
/// said of ways of training, over seeds; of one run a side only that these two models differ.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The reference first, then what to compare with it.
    #[arg(required = true, num_args = 2.., value_name = "NAME")]
    names: Vec<String>,
    /// Also show the tasks of each group.
    #[arg(long)]
    tasks: bool,
    /// Also compare the loss by position, source and document length, and the calibration.
    #[arg(long)]
    slices: bool,
    /// The metrics that the claim rests on, by key: their p-values are corrected together. Instead of the `primary_metrics`
    /// that the experiments declare.
    #[arg(long, value_name = "KEY,...", value_delimiter = ',')]
    family: Vec<String>,
    /// Show which items of this task flipped.
    #[arg(long, value_name = "TASK")]
    flips: Option<String>,
    /// Print JSON with exact numbers.
    #[arg(long, conflicts_with_all = ["csv", "md"])]
    json: bool,
    /// Print CSV with exact numbers.
    #[arg(long, conflicts_with_all = ["md", "flips"])]
    csv: bool,
    /// Print Markdown tables.
    #[arg(long)]
    md: bool,
}

/// One row of `--csv`.
#[derive(Serialize)]
struct Row<'a> {
    reference: &'a str,
    other: &'a str,
    metric: &'a str,
    family: &'a str,
    reference_value: f64,
    other_value: f64,
    difference: f64,
    standard_error: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    low_over_seeds_and_units: Option<f64>,
    high_over_seeds_and_units: Option<f64>,
    test: Option<TestKind>,
    degrees_of_freedom: Option<f64>,
    right_only_in_reference: Option<u64>,
    right_only_in_other: Option<u64>,
    p_value: Option<f64>,
    p_holm: Option<f64>,
    reference_runs: usize,
    other_runs: usize,
    units: u64,
    smallest_detectable: Option<f64>,
    smallest_detectable_low: Option<f64>,
    smallest_detectable_high: Option<f64>,
    verdict: String,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let sides = arguments.names.iter().map(|name| Side::open(&workplace.project, name));
    let sides = sides.collect::<Result<Vec<_>, _>>()?;
    let (reference, others) = sides.split_first().expect("clap asks for two names");
    let asked = Asked { family: arguments.family.clone(), slices: arguments.slices };
    let comparisons = compare_all(reference, others, &asked)?;
    let flipped = match &arguments.flips {
        Some(task) => others.iter().map(|other| flips(reference, other, task)).collect::<Result<Vec<_>, _>>()?,
        None => Vec::new(),
    };
    if arguments.json {
        let text = json!({ "format": FORMAT, "comparisons": comparisons, "flips": flipped });
        terminal::say_json(&text);
    } else if arguments.csv {
        let rows = comparisons.iter().flat_map(|c| c.effects.iter().map(move |e| row(c, e)));
        terminal::say_exactly(String::from_utf8_lossy(&to_csv(rows)).trim_end());
    } else {
        for (index, comparison) in comparisons.iter().enumerate() {
            print(comparison, arguments);
            if let Some(flips) = flipped.get(index) {
                print_flips(workplace, reference, flips, comparison);
            }
        }
        if comparisons.len() > 1 {
            terminal::say(&format!("p-values are corrected across the {} comparisons too", comparisons.len()));
        }
    }
    Ok(exit_code::SUCCESS)
}

fn row<'a>(comparison: &'a Comparison, effect: &'a Effect) -> Row<'a> {
    Row {
        reference: &comparison.reference.name,
        other: &comparison.other.name,
        metric: &effect.metric,
        family: &effect.family,
        reference_value: effect.reference,
        other_value: effect.other,
        difference: effect.difference,
        standard_error: effect.standard_error,
        low: effect.interval.map(|[low, _]| low),
        high: effect.interval.map(|[_, high]| high),
        low_over_seeds_and_units: effect.interval_over_seeds_and_units.map(|[low, _]| low),
        high_over_seeds_and_units: effect.interval_over_seeds_and_units.map(|[_, high]| high),
        test: effect.test,
        degrees_of_freedom: effect.degrees_of_freedom,
        right_only_in_reference: effect.discordant.map(|[reference, _]| reference),
        right_only_in_other: effect.discordant.map(|[_, other]| other),
        p_value: effect.p_value,
        p_holm: effect.p_holm,
        reference_runs: effect.reference_runs.len(),
        other_runs: effect.other_runs.len(),
        units: effect.units,
        smallest_detectable: effect.smallest_detectable,
        smallest_detectable_low: effect.smallest_detectable_range.map(|[low, _]| low),
        smallest_detectable_high: effect.smallest_detectable_range.map(|[_, high]| high),
        verdict: effect.words(),
    }
}

fn print(comparison: &Comparison, arguments: &Arguments) {
    let table = if arguments.md { terminal::markdown } else { terminal::table };
    let seeds = |side: &harness_analyse::compare::SideSummary| {
        let seeds: Vec<String> = side.runs.iter().map(|run| run.seed.to_string()).collect();
        format!("`{}` (seed{} {})", side.name, if seeds.len() == 1 { "" } else { "s" }, seeds.join(", "))
    };
    let heading = format!("{} against {}", seeds(&comparison.other), seeds(&comparison.reference));
    terminal::say(&if arguments.md { format!("## {heading}\n") } else { heading });
    terminal::say(&comparison.claim);
    if comparison.family.declared_by != DeclaredBy::Nobody {
        let metrics = comparison.family.metrics.join(", ");
        terminal::say(&match comparison.family.declared_by {
            DeclaredBy::CommandLine => {
                format!("The claim rests on {metrics}: named here, not declared before the runs.")
            }
            _ => format!("The claim rests on {metrics}, as the config declares; the other metrics are secondary."),
        });
    }
    // Tasks of a group are families of their own.
    let own = [PRIMARY, SECONDARY, LIKELIHOOD, SLICES, CALIBRATION];
    let shown = comparison.effects.iter().filter(|e| arguments.tasks || own.contains(&e.family.as_str()));
    let shown: Vec<&Effect> = shown.collect();
    let rows: Vec<Vec<String>> = shown.iter().map(|effect| verdict_row(effect)).collect();
    let header = ["metric", "difference", "95 % interval", "p (Holm)", "verdict"];
    terminal::say(&format!("\n{}\n", table(&header, &rows)));
    if shown.iter().any(|effect| Likelihood::of_key(&effect.metric).is_some()) {
        terminal::say(
            "gold_bpb and gold_p are gold_bits_per_byte and gold_probability: how probable the right answers are, a family of \
             its own",
        );
    }
    for effect in shown.iter().filter(|effect| effect.not_judged.is_some()) {
        terminal::say(&format!("`{}` is {}", effect.metric, effect.words()));
    }
    let rows: Vec<Vec<String>> = shown.iter().map(|effect| measure_row(effect, comparison)).collect();
    let header = ["measured", &comparison.reference.name, &comparison.other.name, "test", "n", "found from"];
    terminal::say(&format!("{}\n", table(&header, &rows)));
    if shown.iter().any(|effect| effect.interval_over_seeds_and_units.is_some()) {
        let rows: Vec<Vec<String>> = shown.iter().filter_map(|effect| nested_row(effect)).collect();
        let header = ["over seeds, and documents or items", "95 % interval", "found from, 95 % range"];
        terminal::say(&format!("{}\n", table(&header, &rows)));
    }
    let budget: Vec<Vec<String>> = comparison
        .budget
        .iter()
        .map(|line| {
            let ratio = line.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("x{ratio:.2}"));
            let said = if line.equal { "equal" } else { "NOT equal" };
            vec![
                line.quantity.to_owned(),
                show(line.reference, line.unit),
                show(line.other, line.unit),
                ratio,
                said.to_owned(),
            ]
        })
        .collect();
    let header = ["spent by one run", &comparison.reference.name, &comparison.other.name, "", ""];
    terminal::say(&format!("{}\n", table(&header, &budget)));
    comparison.notes.iter().for_each(|note| terminal::say(&format!("note: {}", note.text())));
}

/// The key of a metric, shortened where a row of the tables would not fit a terminal.
fn short_key(effect: &Effect) -> String {
    match Likelihood::of_key(&effect.metric) {
        Some((id, Likelihood::GoldBitsPerByte)) => format!("tasks.{id}.gold_bpb"),
        Some((id, Likelihood::GoldProbability)) => format!("tasks.{id}.gold_p"),
        None => effect.metric.clone(),
    }
}

/// A difference without its unit, which the metric tells.
fn difference(number: f64, effect: &Effect) -> String {
    show_difference(number, effect.unit).trim_end_matches(" points").to_owned()
}

/// A size without sign or unit.
fn shown_plain(size: f64, effect: &Effect) -> String {
    difference(size, effect).trim_start_matches('+').to_owned()
}

fn interval([low, high]: [f64; 2], effect: &Effect) -> String {
    format!("[{}, {}]", difference(low, effect), difference(high, effect))
}

fn verdict_row(effect: &Effect) -> Vec<String> {
    let p = effect.p_holm.map_or_else(|| "-".to_owned(), terminal::p_value);
    vec![
        short_key(effect),
        difference(effect.difference, effect),
        effect.interval.map_or_else(|| "-".to_owned(), |ends| interval(ends, effect)),
        p,
        effect.verdict.words().to_owned(),
    ]
}

fn measure_row(effect: &Effect, comparison: &Comparison) -> Vec<String> {
    let (first, second) = (comparison.reference.runs.len(), comparison.other.runs.len());
    let units = match effect.test {
        Some(TestKind::TOverDocuments) => format!("{} documents", effect.units),
        Some(TestKind::BlocksOverSeeds) => format!("{first} seeds"),
        Some(TestKind::WelchOverSeeds | TestKind::PooledTOverSeeds) => format!("{first}+{second} seeds"),
        Some(
            TestKind::ExactMcnemar | TestKind::McnemarOverTasks | TestKind::TOverItems | TestKind::TOverItemClusters,
        ) => {
            format!("{} items", effect.units)
        }
        None => "-".to_owned(),
    };
    vec![
        short_key(effect),
        show(effect.reference, effect.unit),
        show(effect.other, effect.unit),
        effect.test.map_or("-", TestKind::words).to_owned(),
        units,
        effect.smallest_detectable.map_or_else(|| "-".to_owned(), |size| shown_plain(size, effect)),
    ]
}

fn nested_row(effect: &Effect) -> Option<Vec<String>> {
    let range = effect.smallest_detectable_range.map(|ends| ends.map(|end| shown_plain(end, effect)).join(" to "));
    let both = interval(effect.interval_over_seeds_and_units?, effect);
    Some(vec![short_key(effect), both, range.unwrap_or_else(|| "-".to_owned())])
}

fn print_flips(workplace: &Workplace, reference: &Side, flips: &Flips, comparison: &Comparison) {
    terminal::say(&format!(
        "{}: {} items right on both sides, {} on neither, {} only for `{}`, {} only for `{}`, {} not answered by every run",
        flips.task,
        flips.both_right,
        flips.both_wrong,
        flips.only_reference.len(),
        comparison.reference.name,
        flips.only_other.len(),
        comparison.other.name,
        flips.unanswered,
    ));
    let texts = texts(workplace, &reference.runs[0], &flips.task);
    if texts.is_none() {
        terminal::tell(&format!(
            "the texts of the items are missing\nhint: `harness task prepare {} --corpus {} --items {}` restores them",
            flips.task.split('.').next().unwrap_or_default(),
            reference.runs[0].run.open.data.corpus,
            reference.runs[0].run.experiment.evaluation.items_per_task
        ));
    }
    let lists = [(&flips.only_reference, &comparison.reference.name), (&flips.only_other, &comparison.other.name)];
    for (list, side) in lists {
        if !list.is_empty() {
            terminal::say(&format!("right only for `{side}`, largest change of margin first:"));
        }
        for flip in list.iter().take(SHOWN_FLIPS) {
            terminal::say(&flip_line(flip, flips.margin_unit));
            let choices = texts.as_ref().and_then(|texts| texts.get(&flip.item)).into_iter().flatten();
            choices.for_each(|choice| terminal::say(&format!("    {choice}")));
        }
        if list.len() > SHOWN_FLIPS {
            terminal::say(&format!("  ... and {} more: --json has all", list.len() - SHOWN_FLIPS));
        }
    }
}

fn flip_line(flip: &Flip, unit: &str) -> String {
    let decimals = if unit == "nats" { 2 } else { 4 };
    let margins = format!(
        "  item {}: margin {:+.decimals$} -> {:+.decimals$} {unit}",
        flip.item, flip.reference_margin_nats, flip.other_margin_nats
    );
    let (first, second) = (flip.reference_right, flip.other_right);
    if [first, second].iter().all(|share| [0.0, 1.0].contains(share)) {
        return margins;
    }
    format!("{margins}, right in {:.0} % -> {:.0} % of the runs", 100.0 * first, 100.0 * second)
}

/// The choices of each item as text, the right one marked: the requests that were scored, decoded. `None` unless the
/// files are here with the digests that the run recorded.
fn texts(workplace: &Workplace, run: &RunAnalysis, task: &str) -> Option<BTreeMap<u64, Vec<String>>> {
    let open = &run.run.open;
    let planned: &Task = open.tasks.iter().find(|t| t.id == task)?;
    let (requests, tokenizer) =
        (workplace.project.root().join(&planned.requests), workplace.project.root().join(&open.data.tokenizer));
    let as_recorded = |path, digest| Digest::of_file(path).is_ok_and(|found| found == digest);
    if !as_recorded(&requests, planned.requests_sha256) || !as_recorded(&tokenizer, open.data.tokenizer_sha256) {
        return None;
    }
    let tokenizer = Tokenizer::from_file(&tokenizer, &run.run.corpus.tokenizer.separator_text).ok()?;
    let mut texts: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for request in read_requests(&requests).ok()? {
        let Request { item, gold, context, continuation, .. } = request;
        let text = tokenizer.decode(&[context, continuation].concat()).ok()?;
        let text = text.replace(&run.run.corpus.tokenizer.separator_text, "");
        texts.entry(item).or_default().push(format!("{} {}", if gold { "+" } else { "-" }, text.trim()));
    }
    Some(texts)
}

impl From<harness_analyse::CompareError> for Failure {
    fn from(error: harness_analyse::CompareError) -> Self {
        use harness_analyse::CompareError as E;
        match error {
            E::Record(error) => error.into(),
            E::Analyse(error) => error.into(),
            E::Table(_) => Failure::failed(error),
            E::NoRun(_) | E::NothingShared { .. } | E::UnknownTask { .. } | E::UnknownMetric { .. } => {
                Failure::usage(error)
            }
        }
    }
}
