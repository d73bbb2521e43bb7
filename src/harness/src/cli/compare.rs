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
    Asked, Basis, CALIBRATION, Comparison, DeclaredBy, Effect, Flip, Flips, PRIMARY, SECONDARY, SLICES, Side, TestKind,
    compare, flips, show_difference,
};
use harness_analyse::{RunAnalysis, show};
use harness_record::format::Task;

/// Flipped items printed for each direction; --json has all.
const SHOWN_FLIPS: usize = 10;

/// Compare experiments with a reference: effects with intervals, tests and verdicts, and what each cost.
///
/// A name is an experiment (every seed of its latest plan counts) or a single run. Differences are the other minus
/// the reference; p-values are corrected by Holm's method over the metrics that the experiments declare (`primary_metrics` in the
/// config), or else over validation bits per byte, the tasks without group and the groups; and within each group over
/// its tasks.
#[derive(clap::Args)]
pub struct Arguments {
    /// The reference, then what is compared with it.
    #[arg(required = true, num_args = 2.., value_name = "NAME")]
    names: Vec<String>,
    /// Show the tasks of each group too.
    #[arg(long)]
    tasks: bool,
    /// Compare the loss by position, source and length of document, and calibration, too.
    #[arg(long)]
    slices: bool,
    /// The metrics that the claim rests on, by key: their p-values are corrected together. Instead of the `primary_metrics`
    /// that the experiments declare.
    #[arg(long, value_name = "KEY,...", value_delimiter = ',')]
    family: Vec<String>,
    /// Show which items of this task flipped.
    #[arg(long, value_name = "TASK")]
    flips: Option<String>,
    /// As JSON, exact numbers.
    #[arg(long, conflicts_with_all = ["csv", "md"])]
    json: bool,
    /// As CSV, exact numbers.
    #[arg(long, conflicts_with_all = ["md", "flips"])]
    csv: bool,
    /// As Markdown tables.
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
    verdict: String,
}

pub fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let sides = arguments.names.iter().map(|name| Side::open(&workplace.project, name));
    let sides = sides.collect::<Result<Vec<_>, _>>()?;
    let (reference, others) = sides.split_first().expect("clap asks for two names");
    let asked = Asked { family: arguments.family.clone(), slices: arguments.slices };
    let comparisons = others.iter().map(|other| compare(reference, other, &asked)).collect::<Result<Vec<_>, _>>()?;
    let flipped = match &arguments.flips {
        Some(task) => others.iter().map(|other| flips(reference, other, task)).collect::<Result<Vec<_>, _>>()?,
        None => Vec::new(),
    };
    if arguments.json {
        let text = json!({ "format": 1, "comparisons": comparisons, "flips": flipped });
        terminal::say(&serde_json::to_string_pretty(&text).expect("a comparison is JSON"));
    } else if arguments.csv {
        let rows = comparisons.iter().flat_map(|c| c.effects.iter().map(move |e| row(c, e)));
        terminal::say(String::from_utf8_lossy(&to_csv(rows)).trim_end());
    } else {
        for (index, comparison) in comparisons.iter().enumerate() {
            print(comparison, arguments);
            if let Some(flips) = flipped.get(index) {
                print_flips(workplace, reference, flips, comparison);
            }
        }
        if comparisons.len() > 1 {
            terminal::say("p-values are corrected within each comparison, not over the comparisons");
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
    if comparison.basis == Basis::Seeds {
        terminal::say("The second interval draws documents or items within the seeds too; it is wide with few seeds.");
    }
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
    let own = [PRIMARY, SECONDARY, SLICES, CALIBRATION];
    let shown = comparison.effects.iter().filter(|e| arguments.tasks || own.contains(&e.family.as_str()));
    let rows: Vec<Vec<String>> = shown.map(|effect| effect_row(effect, comparison)).collect();
    let header =
        ["metric", &comparison.reference.name, &comparison.other.name, "difference", "95 % interval", "test", "n"];
    let mut header = header.to_vec();
    header.extend(["p", "p (Holm)", "verdict"]);
    terminal::say(&format!("\n{}\n", table(&header, &rows)));
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
    comparison.notes.iter().for_each(|note| terminal::say(&format!("note: {note}")));
}

fn effect_row(effect: &Effect, comparison: &Comparison) -> Vec<String> {
    let difference = |number: f64| show_difference(number, effect.unit).trim_end_matches(" points").to_owned();
    let interval = |[low, high]: [f64; 2]| format!("[{}, {}]", difference(low), difference(high));
    let mut intervals = effect.interval.map_or_else(|| "-".to_owned(), interval);
    if let Some(nested) = effect.interval_over_seeds_and_units {
        intervals.push_str(&format!("; {}", interval(nested)));
    }
    let units = match effect.test {
        Some(TestKind::BootstrapOverDocuments) => format!("{} documents", effect.units),
        Some(TestKind::BootstrapOverWindows) => format!("{} windows", effect.units),
        Some(TestKind::WelchOverSeeds | TestKind::PooledTOverSeeds) => {
            format!("{} and {} seeds", comparison.reference.runs.len(), comparison.other.runs.len())
        }
        _ => format!("{} items", effect.units),
    };
    let p = |p: Option<f64>| match p {
        None => "-".to_owned(),
        Some(p) if p < 0.001 => "<.001".to_owned(),
        Some(p) => format!("{p:.3}"),
    };
    vec![
        effect.metric.clone(),
        show(effect.reference, effect.unit),
        show(effect.other, effect.unit),
        difference(effect.difference),
        intervals,
        effect.test.map_or("-", TestKind::words).to_owned(),
        units,
        p(effect.p_value),
        p(effect.p_holm),
        effect.words(),
    ]
}

fn print_flips(workplace: &Workplace, reference: &Side, flips: &Flips, comparison: &Comparison) {
    terminal::say(&format!(
        "{}: {} items right on both sides, {} on neither, {} only by `{}`, {} only by `{}`",
        flips.task,
        flips.both_right,
        flips.both_wrong,
        flips.only_reference.len(),
        comparison.reference.name,
        flips.only_other.len(),
        comparison.other.name,
    ));
    let texts = texts(workplace, &reference.runs[0], &flips.task);
    if texts.is_none() {
        terminal::tell("the texts of the items are not here\nhint: the next run of the experiment makes them again");
    }
    let lists = [(&flips.only_reference, &comparison.reference.name), (&flips.only_other, &comparison.other.name)];
    for (list, side) in lists {
        if !list.is_empty() {
            terminal::say(&format!("only by `{side}`, the largest change of margin first:"));
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
