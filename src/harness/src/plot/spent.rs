//! What stands in the records beside the curves: cost of runs, and the corpus.

use super::Shown;
use crate::analyse::RunAnalysis;
use crate::figure::budget::{Hours, Spent};
use crate::figure::{Figure, budget, funnel, lengths};
use crate::record::SealedRun;

pub(super) fn budget(shown: &[Shown]) -> Figure {
    let gpu = shown.iter().flat_map(runs).any(|run| run.record.resources.gpu_time_s > 0.0);
    let hours = if gpu { Hours::Gpu } else { Hours::Wall };
    let of = |s: &Shown| {
        let mut spent =
            Spent { subject: s.subject.clone(), training_h: 0.0, other_h: 0.0, lost_h: 0.0, runs: runs(s).len() };
        for run in runs(s) {
            let resources = &run.record.resources;
            let whole = if gpu { resources.gpu_time_s } else { resources.wall_time_s } / 3600.0;
            if !run.is_citable() {
                spent.lost_h += whole;
                continue;
            }
            let training = run.record.closing.as_ref().map_or(0.0, |closing| closing.training_time_s / 3600.0);
            spent.training_h += training.min(whole);
            spent.other_h += (whole - training).max(0.0);
        }
        spent
    };
    budget::draw(&shown.iter().map(of).collect::<Vec<_>>(), hours)
}

/// All sealed runs of what is shown.
fn runs<'a>(shown: &Shown<'a>) -> Vec<&'a SealedRun> {
    shown.runs.iter().map(|run| &run.run).chain(shown.others.iter().copied()).collect()
}

pub(super) fn lengths(run: &RunAnalysis) -> Figure {
    let lengths = &run.run.corpus.lengths;
    let side = |(name, lengths): (&str, &harness_corpus::TextLengths)| lengths::Side {
        name: name.to_owned(),
        median_bytes: lengths.bytes.median,
        by_power_of_two: lengths.bytes.by_power_of_two.clone(),
    };
    lengths::draw(&[("training", &lengths.train), ("validation", &lengths.validation)].map(side))
}

pub(super) fn funnel(run: &RunAnalysis) -> Figure {
    let stage = |s: &harness_corpus::FunnelStage| funnel::Stage {
        name: s.stage.clone(),
        documents: s.documents,
        bytes: s.bytes,
    };
    funnel::draw(&run.run.corpus.funnel.iter().map(stage).collect::<Vec<_>>())
}
