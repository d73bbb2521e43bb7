//! What happens inside the model: tables by place and step, from `tensor_norms.csv` and `activations.csv`. Of several seeds the
//! latest run is shown: a mean over seeds would hide the steps at which one of them went wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use harness_core::scores::{ActivationStatistics, TensorNorms, read_csv};

use super::{PlotError, Request, Shown};
use harness_figure::activations::{Activations, Quantity};
use harness_figure::{Figure, activations, tensor_norms};
use harness_record::format::file;

/// A value for each place and step.
type Table = Vec<Vec<Option<f64>>>;

fn path(shown: &Shown, file: &str) -> Option<PathBuf> {
    let path = shown.latest().run.path(file);
    harness_core::files::is_file(&path).then_some(path)
}

pub(super) fn tensor_norms(request: &Request) -> Result<Figure, PlotError> {
    let mut all = Vec::new();
    for shown in request.shown {
        let Some(path) = shown.latest().run.tensor_norms() else { continue };
        let rows: Vec<TensorNorms> = read_csv(&path)?;
        let steps = ascending(rows.iter().map(|row| row.step));
        let places = parts(shown, rows.iter().map(|row| part_of(&row.tensor)));
        // The L2 norm of several tensors together is the root of the sum of their squares.
        let mut squares: BTreeMap<(&str, u64), [f64; 3]> = BTreeMap::new();
        for row in &rows {
            let sums = squares.entry((part_of(&row.tensor), row.step)).or_default();
            for (sum, norm) in sums.iter_mut().zip([row.gradient_norm, row.weight_norm, row.update_norm]) {
                *sum += norm * norm;
            }
        }
        let table = |of: fn(&[f64; 3]) -> f64| -> Table {
            let row = |place: &String| steps.iter().map(|s| squares.get(&(place.as_str(), *s)).map(of)).collect();
            places.iter().map(row).collect()
        };
        all.push(tensor_norms::Norms {
            name: shown.subject.name.clone(),
            gradient_norms: table(|sums| libm::sqrt(sums[0])),
            update_ratios: table(|sums| libm::sqrt(sums[2] / sums[1].max(f64::MIN_POSITIVE))),
            places: places.iter().map(|place| short(place)).collect(),
            steps: steps.iter().map(|step| *step as f64).collect(),
        });
    }
    if all.is_empty() {
        return Err(request.nothing("no run has `tensor_norms.csv`", "set `metrics.tensor_norms_every` and run again"));
    }
    Ok(tensor_norms::draw(&all))
}

pub(super) fn activations(request: &Request) -> Result<Figure, PlotError> {
    let mut all = Vec::new();
    for shown in request.shown {
        let Some(path) = path(shown, file::ACTIVATIONS) else { continue };
        let rows: Vec<ActivationStatistics> = read_csv(&path)?;
        let steps = ascending(rows.iter().map(|row| row.step));
        let found: BTreeMap<(&str, u64), &ActivationStatistics> =
            rows.iter().map(|row| ((row.place.as_str(), row.step), row)).collect();
        let quantity = |title: &str, suffix: &str, logarithmic, of: fn(&ActivationStatistics) -> Option<f64>| {
            let of_kind = |place: &&str| match suffix {
                "" => !place.ends_with(".attention") && !place.ends_with(".feed_forward"),
                suffix => place.ends_with(suffix),
            };
            let places = in_order(rows.iter().map(|row| row.place.as_str()).filter(of_kind));
            let row = |place: &&str| steps.iter().map(|s| found.get(&(*place, *s)).and_then(|r| of(r))).collect();
            let values: Table = places.iter().map(row).collect();
            let places = places.iter().map(|place| short(place.trim_end_matches(suffix))).collect();
            let title = title.to_owned();
            let some = values.iter().flatten().any(Option::is_some);
            some.then_some(Quantity { title, places, values, logarithmic })
        };
        let quantities = [
            quantity("Root mean square of the residual stream", "", true, |r| Some(r.rms)),
            quantity("Attention entropy (nats)", ".attention", false, |r| r.attention_entropy_nats),
            quantity("Dead feed-forward units (share)", ".feed_forward", false, |r| r.dead_share),
        ];
        all.push(Activations {
            name: shown.subject.name.clone(),
            steps: steps.iter().map(|step| *step as f64).collect(),
            quantities: quantities.into_iter().flatten().collect(),
        });
    }
    if all.iter().all(|a| a.quantities.is_empty()) {
        return Err(request.nothing("no run has `activations.csv`", "set `metrics.activations_every` and run again"));
    }
    Ok(activations::draw(&all))
}

fn ascending(steps: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut steps: Vec<u64> = steps.collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// Names without repetition, in the order in which they come.
fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    names.for_each(|name| {
        if !seen.contains(&name) {
            seen.push(name);
        }
    });
    seen
}

/// The parts that have rows, in the order of the model's tensors: from its input to its output.
fn parts<'a>(shown: &Shown, found: impl Iterator<Item = &'a str>) -> Vec<String> {
    let run = &shown.latest().run;
    let tensors = run.experiment.model.tensors(run.open.data.vocabulary_size);
    let mut order = in_order(tensors.iter().map(|tensor| part_of(&tensor.name)));
    let found = in_order(found);
    order.retain(|part| found.contains(part));
    let others: Vec<&str> = found.into_iter().filter(|part| !order.contains(part)).collect();
    order.into_iter().chain(others).map(str::to_owned).collect()
}

/// The block that a tensor belongs to, `blocks.3`, or its own first name.
fn part_of(tensor: &str) -> &str {
    let mut dots = tensor.match_indices('.').map(|(at, _)| at);
    let end = match tensor.strip_prefix("blocks.") {
        Some(_) => dots.nth(1),
        None => dots.next(),
    };
    &tensor[..end.unwrap_or(tensor.len())]
}

/// A place as a row's name.
fn short(place: &str) -> String {
    place.replacen("blocks.", "block ", 1).replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_belong_to_their_block() {
        let cases = [
            ("blocks.11.attention.query", "blocks.11"),
            ("blocks.3", "blocks.3"),
            ("token_embedding", "token_embedding"),
            ("final_norm.weight", "final_norm"),
        ];
        for (tensor, part) in cases {
            assert_eq!(part_of(tensor), part);
        }
        assert_eq!(short("blocks.3"), "block 3");
    }
}
