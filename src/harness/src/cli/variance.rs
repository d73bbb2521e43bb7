//! `harness variance`: how much a metric differs from seed to seed.

use harness_core::names::ExperimentName;
use serde_json::json;

use super::{Failure, Outcome, Workplace, terminal};
use crate::exit_code;
use harness_analyse::compare::{show_difference, show_p};
use harness_analyse::show;
use harness_study::tree::metric_of;
use harness_study::variance::{FORMAT, Interval, Spread};
use harness_study::{Evidence, Variance, variance};

/// Show how much metrics differ from seed to seed, and what so many seeds find.
///
/// For each metric the deviation over the seeds of each experiment, one for all with tests of whether they share it, how
/// seeds go together with the baseline's, and the difference from it within shared seeds (blocks), with one variance for both, with two
/// (Welch), and with one for all experiments, so that the intervals hold together (Dunnett).
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The baseline, then what is held against it [default: the experiment that most others extend, and those].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Keys of the metrics [default: what the experiments declare, or validation.bits_per_byte].
    #[arg(long, value_name = "KEY,...", value_delimiter = ',')]
    metric: Vec<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(workplace: &Workplace, arguments: &Arguments) -> Outcome {
    let evidence = Evidence::of(&workplace.project)?;
    let names = arguments.names.iter().map(|name| name.parse()).collect::<Result<Vec<ExperimentName>, _>>()?;
    let names = if names.is_empty() { family(&evidence)? } else { names };
    let (baseline, others) = names.split_first().expect("a family has a baseline");
    let mut metrics = arguments.metric.clone();
    if metrics.is_empty() {
        for name in &names {
            let metric = metric_of(&evidence.experiment(name)?.experiment);
            if !metrics.contains(&metric) {
                metrics.push(metric);
            }
        }
    }
    let all = metrics.iter().map(|metric| variance(&evidence, baseline, others, metric));
    let all = all.collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        let text = json!({ "format": FORMAT, "metrics": all });
        terminal::say_json(&text);
    } else {
        terminal::say(&all.iter().map(shown).collect::<Vec<_>>().join("\n\n"));
    }
    Ok(exit_code::SUCCESS)
}

/// The experiment that most others extend, and those, of the ones with a run that counts.
fn family(evidence: &Evidence) -> Result<Vec<ExperimentName>, Failure> {
    let mut with_runs: Vec<&ExperimentName> = Vec::new();
    for name in evidence.experiments().keys() {
        if !evidence.counted(name)?.is_empty() {
            with_runs.push(name);
        }
    }
    let extends = |name: &ExperimentName| evidence.experiments()[name].experiment.extends.clone();
    let children = |of: &ExperimentName| -> Vec<ExperimentName> {
        with_runs.iter().copied().filter(|name| extends(name).as_ref() == Some(of)).cloned().collect()
    };
    let baseline = with_runs.iter().rev().max_by_key(|name| children(name).len()).ok_or_else(|| {
        Failure::usage("no experiment has a run that counts\nhint: `harness seeds NAME --seeds 3` makes three")
    })?;
    Ok(std::iter::once((*baseline).clone()).chain(children(baseline)).collect())
}

/// Letters of a name that are shown.
const WIDEST_NAME: usize = 22;

fn name(spread: &Spread) -> String {
    let name = spread.experiment.to_string();
    if name.len() > WIDEST_NAME { format!("{}…", &name[..WIDEST_NAME - 1]) } else { name }
}

fn shown(variance: &Variance) -> String {
    let unit = variance.unit;
    let size =
        |number: f64| show_difference(number, unit).trim_start_matches('+').trim_end_matches(" points").to_owned();
    let sized = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), size);
    let points = if show_difference(0.0, unit).ends_with(" points") { ", in points" } else { "" };
    let mut parts = vec![format!("{}{points}, against {}", variance.metric, variance.baseline)];
    let rows = variance.experiments.iter().map(|spread| {
        vec![
            name(spread),
            spread.values.len().to_string(),
            show(spread.mean, unit),
            sized(spread.deviation.as_ref().map(|own| own.deviation)),
            spread.deviation.as_ref().map_or_else(String::new, |own| {
                let [low, high] = own.range.map(size);
                format!("{low} to {high}")
            }),
        ]
    });
    let header = ["experiment", "seeds", "mean", "deviation", "95 % range"];
    parts.push(terminal::table(&header, &rows.collect::<Vec<_>>()));
    let plain = |number: f64| show_difference(number, unit).replace(" points", "");
    let interval = |found: &Option<Interval>| {
        found.as_ref().map_or_else(|| "-".to_owned(), |found| format!("[{}]", found.interval.map(plain).join(", ")))
    };
    let rows: Vec<Vec<String>> = variance
        .experiments
        .iter()
        .filter_map(|spread| {
            let against = spread.against_baseline.as_ref()?;
            let correlation = against.correlation.map_or_else(|| "-".to_owned(), |r| format!("{r:+.2}"));
            let difference = plain(spread.mean - variance.experiments[0].mean);
            let ways = [&against.blocks, &against.pooled, &against.welch].map(&interval);
            Some([vec![name(spread), correlation, difference], ways.to_vec()].concat())
        })
        .collect();
    if !rows.is_empty() {
        let header = ["95 % intervals", "r", "difference", "by blocks", "one variance", "Welch"];
        parts.push(terminal::table(&header, &rows));
    }
    let rows: Vec<Vec<String>> = variance
        .experiments
        .iter()
        .filter_map(|spread| {
            let found = spread.against_baseline.as_ref()?.dunnett.as_ref()?;
            Some(vec![name(spread), plain(found.difference), interval(&Some(found.clone()))])
        })
        .collect();
    if rows.len() > 1 {
        let header = ["95 %, all together", "difference", "one variance for all (Dunnett)"];
        parts.push(terminal::table(&header, &rows));
    }
    if let Some(pooled) = &variance.pooled {
        let [low, high] = pooled.deviation.range.map(size);
        let p = |p: Option<f64>| p.map_or_else(|| "not tested".to_owned(), |p| show_p(p, 3));
        parts.push(format!(
            "one deviation for all: {} ({low} to {high}, {} df)\n  do they share it? Bartlett: {}; Brown and Forsythe: {}",
            size(pooled.deviation.deviation),
            pooled.deviation.df,
            p(pooled.bartlett_p),
            p(pooled.brown_forsythe_p),
        ));
    }
    if let Some(within) = &variance.within_seeds {
        let [low, high] = within.range.map(size);
        parts.push(format!("within a seed: {} ({low} to {high}, {} df)", size(within.deviation), within.df));
    }
    let rows: Vec<Vec<String>> = variance
        .detectable
        .iter()
        .map(|found| vec![found.seeds.to_string(), sized(found.in_blocks), sized(found.pooled)])
        .collect();
    parts.push("smallest difference that is found in four of five studies, one change at 5 %:".to_owned());
    parts.push(terminal::table(&["seeds a side", "shared seeds", "other seeds"], &rows));
    parts.extend(variance.left_out.iter().map(|left| format!("`{}` is left out: {}", left.experiment, left.why)));
    parts.join("\n")
}
