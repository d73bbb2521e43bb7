//! Differences in the losses of single tokens: by position, source and length, and in calibration. Rows beside the
//! metrics, to say where a difference comes from; families of their own, so that they take nothing from the claim.

use super::effects::{Measured, Rows, tested};
use super::{Basis, CALIBRATION, CompareError, Effect, Note, SLICES, Side};
use crate::slices::calibration::parts_of_error;
use crate::slices::{Scored, sums_of_run};
use crate::sums::Sums;
use crate::{RunAnalysis, Unit};
use harness_statistics::cluster::FEWEST_CLUSTERS;

/// Effects of the slices that the sealed runs give, and of calibration. Empty, with a note, where the runs did not
/// predict the same tokens in the same windows.
pub(super) fn effects(
    reference: &Side,
    other: &Side,
    basis: Basis,
    notes: &mut Vec<Note>,
) -> Result<Vec<Effect>, CompareError> {
    let mut scored: [Vec<Scored>; 2] = [Vec::new(), Vec::new()];
    for (side, scored) in [reference, other].iter().zip(&mut scored) {
        for run in side.by_seed() {
            match Scored::of(&run.run)? {
                Some(found) => scored.push(found),
                None => {
                    let because = format!("run `{}` has no losses of single tokens", run.run.open.run);
                    notes.push(Note::NoSlices { because });
                    return Ok(Vec::new());
                }
            }
        }
    }
    let first = &scored[0][0];
    let first_run = &reference.runs[0].run;
    let same_tokens = |run: &RunAnalysis| {
        run.run.open.data.tokenizer_sha256 == first_run.open.data.tokenizer_sha256
            && run.run.corpus.has_validation_text_of(&first_run.corpus)
    };
    if !reference.runs.iter().chain(&other.runs).all(same_tokens)
        || !scored.iter().flatten().all(|scored| scored.same_windows(first))
    {
        let because = "the runs did not predict the same tokens in the same windows".to_owned();
        notes.push(Note::NoSlices { because });
        return Ok(Vec::new());
    }
    let documents = first.documents();
    let mut effects = slices([reference, other], &scored, &documents, basis, notes);
    effects.extend(calibration(&scored, &documents, basis));
    Ok(effects)
}

fn slices(
    sides: [&Side; 2],
    scored: &[Vec<Scored>; 2],
    documents: &[u32],
    basis: Basis,
    notes: &mut Vec<Note>,
) -> Vec<Effect> {
    let sums = [0, 1].map(|side: usize| -> Vec<_> {
        let runs = sides[side].by_seed().into_iter().zip(&scored[side]);
        runs.map(|(run, scored)| sums_of_run(&run.run, scored, documents)).collect()
    });
    let (mut effects, mut small) = (Vec::new(), 0);
    for (index, (by, name, clusters)) in sums[0][0].iter().enumerate() {
        let used: Vec<usize> = (0..clusters.len()).filter(|&document| clusters[document].weight > 0.0).collect();
        if used.len() < FEWEST_CLUSTERS {
            small += 1;
            continue;
        }
        // The same tokens in the same windows: the weights are those of every run.
        let weights: Vec<f64> = used.iter().map(|&document| clusters[document].weight).collect();
        let values = sums.each_ref().map(|runs| -> Vec<Vec<f64>> {
            runs.iter().map(|slices| used.iter().map(|&document| slices[index].2[document].sum).collect()).collect()
        });
        let tokens: f64 = weights.iter().sum();
        let means = |runs: &Vec<Vec<f64>>| runs.iter().map(|run| run.iter().sum::<f64>() / tokens).collect::<Vec<_>>();
        let measured = Measured {
            metric: format!("validation.{by}.{name}.loss"),
            family: SLICES.to_owned(),
            unit: Unit::NatsPerToken,
            lower_is_better: true,
            runs: [means(&values[0]), means(&values[1])],
        };
        if measured.runs.iter().flatten().all(|mean| mean.is_finite()) {
            effects.push(tested(measured, basis, &Rows::Documents(Sums { runs: values, weights, clusters: None })));
        }
    }
    if small > 0 {
        notes.push(Note::SlicesNotTested { slices: small });
    }
    effects
}

fn calibration(scored: &[Vec<Scored>; 2], documents: &[u32], basis: Basis) -> Option<Effect> {
    let parts = |scored: &Scored| parts_of_error(&scored.losses, documents).iter().map(|part| part.sum).collect();
    let sums = scored.each_ref().map(|runs| runs.iter().map(parts).collect::<Vec<Vec<f64>>>());
    let count = sums[0][0].len();
    let error = |parts: &Vec<f64>| parts.iter().sum::<f64>() / count as f64;
    let measured = Measured {
        metric: "validation.calibration_error".to_owned(),
        family: CALIBRATION.to_owned(),
        unit: Unit::Share,
        lower_is_better: true,
        runs: sums.each_ref().map(|runs| runs.iter().map(error).collect()),
    };
    let finite = measured.runs.iter().flatten().all(|error| error.is_finite());
    (count > 0 && finite).then(|| {
        tested(measured, basis, &Rows::Documents(Sums { runs: sums, weights: vec![1.0; count], clusters: None }))
    })
}
