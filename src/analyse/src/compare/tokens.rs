//! Differences in the losses of single tokens: by position, source and length, and in calibration. Rows beside the
//! metrics, to say where a difference comes from; families of their own, so that they take nothing from the claim.

use super::effects::{Draws, Measured, draws, tested};
use super::{Basis, CALIBRATION, CompareError, Effect, SLICES, Side, TestKind};
use crate::slices::calibration::{error_of, sums_by_unit};
use crate::slices::{FEWEST_DOCUMENTS, Scored, Unit as Cluster, sums_of_run};
use crate::{RunAnalysis, Unit};
use harness_statistics::resample::{NESTED_RESAMPLES, key, nested_draws_of, unit_draws};

/// Effects of the slices that the sealed runs give, and of calibration. Empty, with a note, where the runs did not
/// predict the same tokens in the same windows.
pub(super) fn effects(
    reference: &Side,
    other: &Side,
    basis: Basis,
    notes: &mut Vec<String>,
) -> Result<Vec<Effect>, CompareError> {
    let mut scored: [Vec<Scored>; 2] = [Vec::new(), Vec::new()];
    for (side, scored) in [reference, other].iter().zip(&mut scored) {
        for run in &side.runs {
            match Scored::of(&run.run)? {
                Some(found) => scored.push(found),
                None => {
                    notes.push(format!("no slices: run `{}` has no losses of single tokens", run.run.open.run));
                    return Ok(Vec::new());
                }
            }
        }
    }
    let first = &scored[0][0];
    let text = |run: &RunAnalysis| {
        let documents = run.run.corpus.validation_documents.iter().map(|d| d.sha256);
        (run.run.open.data.tokenizer_sha256, documents.collect::<Vec<_>>())
    };
    let same_text = reference.runs.iter().chain(&other.runs).all(|run| text(run) == text(&reference.runs[0]));
    if !same_text || !scored.iter().flatten().all(|scored| scored.same_windows(first)) {
        notes.push("no slices: the runs did not predict the same tokens in the same windows".to_owned());
        return Ok(Vec::new());
    }
    let (cluster, units) = first.units();
    let kind = match cluster {
        Cluster::Document => TestKind::BootstrapOverDocuments,
        Cluster::Window => TestKind::BootstrapOverWindows,
    };
    let mut effects = slices([reference, other], &scored, &units, basis, kind, notes);
    effects.extend(calibration(&scored, &units, basis, kind));
    Ok(effects)
}

fn slices(
    sides: [&Side; 2],
    scored: &[Vec<Scored>; 2],
    units: &[u32],
    basis: Basis,
    kind: TestKind,
    notes: &mut Vec<String>,
) -> Vec<Effect> {
    let sums = [0, 1].map(|side: usize| -> Vec<_> {
        sides[side].runs.iter().zip(&scored[side]).map(|(run, scored)| sums_of_run(&run.run, scored, units)).collect()
    });
    let (mut effects, mut small) = (Vec::new(), 0);
    for (index, (by, name, clusters)) in sums[0][0].iter().enumerate() {
        let used: Vec<usize> = (0..clusters.len()).filter(|&unit| clusters[unit].weight > 0.0).collect();
        if used.len() < FEWEST_DOCUMENTS {
            small += 1;
            continue;
        }
        // The same tokens in the same windows: the weights are those of every run.
        let weights: Vec<f64> = used.iter().map(|&unit| clusters[unit].weight).collect();
        let values = sums.each_ref().map(|runs| -> Vec<Vec<f64>> {
            runs.iter().map(|slices| used.iter().map(|&unit| slices[index].2[unit].sum).collect()).collect()
        });
        let tokens: f64 = weights.iter().sum();
        let means = |runs: &Vec<Vec<f64>>| runs.iter().map(|run| run.iter().sum::<f64>() / tokens).collect();
        let measured = Measured {
            metric: format!("validation.{by}.{name}.loss"),
            family: SLICES.to_owned(),
            unit: Unit::NatsPerToken,
            lower_is_better: true,
            runs: [means(&values[0]), means(&values[1])],
            units: used.len() as u64,
        };
        let draws = draws(&values, &weights, &measured.metric, basis);
        effects.push(tested(measured, basis, &draws, kind));
    }
    if small > 0 {
        notes.push(format!("{small} slices are in fewer than {FEWEST_DOCUMENTS} documents and were not tested"));
    }
    effects
}

fn calibration(scored: &[Vec<Scored>; 2], units: &[u32], basis: Basis, kind: TestKind) -> Option<Effect> {
    let sums =
        scored.each_ref().map(|runs| runs.iter().map(|scored| sums_by_unit(&scored.losses, units)).collect::<Vec<_>>());
    let count = sums[0][0].len();
    let ones = vec![1.0; count];
    let metric = "validation.calibration_error".to_owned();
    let differences = match basis {
        Basis::OneRunEach => unit_draws(count, key(&metric), NESTED_RESAMPLES, |times| {
            error_of(&sums[1][0], times) - error_of(&sums[0][0], times)
        }),
        Basis::OneRunAgainstSeeds => Vec::new(),
        Basis::Seeds => {
            let runs = sums.each_ref().map(Vec::len);
            let error = |side: usize, run: usize, times: &[f64]| error_of(&sums[side][run], times);
            nested_draws_of(runs, count, key(&metric), NESTED_RESAMPLES, error)
        }
    };
    let errors = sums.each_ref().map(|runs| runs.iter().map(|run| error_of(run, &ones)).collect());
    let measured = Measured {
        metric,
        family: CALIBRATION.to_owned(),
        unit: Unit::Share,
        lower_is_better: true,
        runs: errors,
        units: count as u64,
    };
    (count > 0).then(|| tested(measured, basis, &Draws { differences, units: count }, kind))
}
