//! What stands in the records beside the curves: cost of runs, and the corpus.

use std::collections::BTreeSet;

use harness_core::config::{Limits, Phase};
use harness_core::names::{Project, RunId};

use super::{PlotError, Shown};
use harness_analyse::RunAnalysis;
use harness_figure::budget::{Hours, Spent};
use harness_figure::spending::{self, Limit};
use harness_figure::{Curve, Figure, Subject, budget, funnel, lengths};
use harness_record::SealedRun;
use harness_record::select::Traces;
use harness_study::ledger::{self, Entry, Ledger};

pub(super) fn budget(shown: &[Shown]) -> Figure {
    let gpu = shown.iter().flat_map(runs).any(|run| run.record.resources.gpu_time_s > 0.0);
    let hours = if gpu { Hours::Gpu } else { Hours::Wall };
    budget::draw(&shown.iter().map(|s| spent(s, shown, hours)).collect::<Vec<_>>(), hours)
}

/// What the runs of one experiment cost, and what for; what runs `among` others went on from was not lost.
pub fn spent(shown: &Shown, among: &[Shown], hours: Hours) -> Spent {
    let runs = runs(shown);
    let mut spent =
        Spent { subject: shown.subject.clone(), training_h: 0.0, other_h: 0.0, lost_h: 0.0, runs: runs.len() };
    let all: Vec<&SealedRun> = among.iter().flat_map(self::runs).collect();
    let segments = earlier_segments(&all);
    for run in runs {
        let resources = &run.record.resources;
        let whole_s = match hours {
            Hours::Gpu => resources.gpu_time_s,
            Hours::Wall => resources.wall_time_s,
        };
        let whole = whole_s / 3600.0;
        if !run.is_citable() && !segments.contains(&run.open.run) {
            spent.lost_h += whole;
            continue;
        }
        // A segment that died told nothing at its end: it counts as training.
        let training = run.record.closing.as_ref().map_or(whole, |closing| closing.training_time_s / 3600.0);
        spent.training_h += training.min(whole);
        spent.other_h += (whole - training).max(0.0);
    }
    spent
}

/// The runs that citable ones went on from, directly or through others: their steps are in the final models.
fn earlier_segments<'a>(runs: &[&'a SealedRun]) -> BTreeSet<&'a RunId> {
    let before = |run: &&'a SealedRun| run.open.resumed_from.as_ref().map(|origin| &origin.run);
    let mut segments: BTreeSet<&RunId> = BTreeSet::new();
    let mut next: Vec<&RunId> = runs.iter().filter(|run| run.is_citable()).filter_map(before).collect();
    while let Some(id) = next.pop() {
        if segments.insert(id) {
            next.extend(runs.iter().filter(|run| run.open.run == *id).filter_map(before));
        }
    }
    segments
}

/// All sealed runs of what is shown.
fn runs<'a>(shown: &Shown<'a>) -> Vec<&'a SealedRun> {
    shown.runs.iter().map(|run| &run.run).chain(shown.others.iter().copied()).collect()
}

/// Everything that the project spent, whatever became of it, in hours on GPUs if there were any, else on processors.
pub(super) fn over_time(project: &Project) -> Result<Figure, PlotError> {
    Ok(spending(&Ledger::of(project, &Traces::of(project)?)?, &Limits::load(project)?))
}

/// The same of what a ledger holds.
pub(crate) fn spending(ledger: &Ledger, limits: &Limits) -> Figure {
    let on_gpus = ledger.total().spent.gpu_time_s > 0.0;
    let hours = |spent: &ledger::Spent| {
        if on_gpus { spent.gpu_time_s / 3600.0 } else { spent.cpu_time_s / 3600.0 }
    };
    let entries = ledger.over_time();
    let last_day = entries.last().map_or(0.0, |(day, _)| *day);
    let staircase = |name: &str, look: usize, is_in: &dyn Fn(&Entry) -> bool| {
        let (mut sum, mut points) = (0.0, vec![(0.0, 0.0)]);
        for (day, entry) in entries.iter().filter(|(_, entry)| is_in(entry)) {
            points.push((*day, sum));
            sum += hours(&entry.spent);
            points.push((*day, sum));
        }
        points.push((last_day, sum));
        Curve { subject: Subject { name: name.to_owned(), look }, seeds: vec![points] }
    };
    let mut curves = vec![staircase("all", 0, &|_| true)];
    let spent_on = |phase: Phase| entries.iter().any(|(_, entry)| entry.phase == phase);
    for phase in Phase::ALL.into_iter().filter(|phase| spent_on(*phase)) {
        curves.push(staircase(phase.word(), curves.len(), &|entry| entry.phase == phase));
    }
    let end_day = limits.end_date.as_ref().and_then(|date| ledger.days_until(date));
    let limit = Limit { hours: if on_gpus { limits.gpu_hours } else { limits.cpu_hours }, end_day };
    spending::draw(&curves, limit, if on_gpus { "GPU" } else { "CPU" })
}

pub(super) fn lengths(run: &RunAnalysis) -> Figure {
    let lengths = &run.run.corpus.lengths;
    let side = |(name, lengths): (&str, &harness_core::corpus_manifest::TextLengths)| lengths::Side {
        name: name.to_owned(),
        median_bytes: lengths.bytes.median,
        by_power_of_two: lengths.bytes.by_power_of_two.clone(),
    };
    lengths::draw(&[("training", &lengths.train), ("validation", &lengths.validation)].map(side))
}

pub(super) fn funnel(run: &RunAnalysis) -> Figure {
    let stage = |s: &harness_core::corpus_manifest::FunnelStage| funnel::Stage {
        name: s.stage.clone(),
        documents: s.documents,
        bytes: s.bytes,
    };
    funnel::draw(&run.run.corpus.funnel.iter().map(stage).collect::<Vec<_>>())
}
