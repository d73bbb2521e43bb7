//! Where the loss lies and whether probabilities are right: the slices and the calibration of `harness slices`, of the
//! latest run of each.

use harness_core::names::Project;

use super::{PlotError, Request, Shown, task_title};
use harness_analyse::slices::{By, PhenomenonSlice, Slice, Wanted, slices};
use harness_figure::{Estimate, Figure, Subject, calibration, delta, slices as figure, tasks};

/// More sources than this would be a table, not a figure.
const MOST_SOURCES: usize = 8;

pub(super) fn slices_of(project: &Project, request: &Request) -> Result<Figure, PlotError> {
    let by = vec![By::Position, By::Frequency, By::Length, By::WordPart, By::WordKind, By::Repetition, By::Source];
    let wanted = Wanted { by, passages: 0 };
    let (first, others) = request.shown.split_first().expect("a figure shows something");
    let reports = if others.is_empty() {
        vec![slices(project, first.latest(), None, &wanted)?]
    } else {
        let against = |other: &Shown| slices(project, first.latest(), Some(other.latest()), &wanted);
        others.iter().map(against).collect::<Result<_, _>>()?
    };
    // Of a slice that has no change a figure of changes shows nothing.
    let estimate = |slice: &Slice| {
        let (mean, error) = match &slice.change {
            Some(change) => (change.difference_nats, change.standard_error),
            None if others.is_empty() => (slice.loss_nats, slice.standard_error),
            None => return None,
        };
        Some(Estimate { mean, standard_error: error.unwrap_or(0.0) })
    };
    let row = |slice: &Slice| figure::Row {
        name: slice.slice.clone(),
        share: slice.share,
        losses: reports
            .iter()
            .map(|report| {
                let same = |s: &&Slice| s.by == slice.by && s.slice == slice.slice;
                report.slices.iter().find(same).and_then(estimate)
            })
            .collect(),
    };
    let cut = |by: &By| {
        let found = reports[0].slices.iter().filter(|s| s.by == Some(*by) && s.tokens > 0);
        figure::Cut { name: title(*by).to_owned(), rows: found.map(row).collect() }
    };
    let is_shown =
        |cut: &figure::Cut| cut.rows.len() > 1 && (cut.name != title(By::Source) || cut.rows.len() <= MOST_SOURCES);
    let cuts: Vec<figure::Cut> = wanted.by.iter().map(cut).filter(is_shown).collect();
    let subjects: Vec<Subject> = request.shown.iter().map(|s| s.subject.clone()).collect();
    Ok(figure::draw(&subjects, &cuts))
}

fn title(by: By) -> &'static str {
    match by {
        By::Position => "Tokens of context",
        By::Frequency => "Frequency in the training text",
        By::Source => "Source",
        By::Length => "Tokens of the document",
        By::WordPart => "Part of a word",
        By::WordKind => "Kind of word",
        By::Repetition => "Repetition in the context",
        By::Phenomenon => "Phenomenon",
        By::Field => "Field",
    }
}

pub(super) fn calibration_of(project: &Project, request: &Request) -> Result<Figure, PlotError> {
    let mut subjects = Vec::new();
    for shown in request.shown {
        let report = slices(project, shown.latest(), None, &Wanted::default())?;
        let Some(found) = report.calibration.first() else { continue };
        let bin = |b: &harness_analyse::slices::Bin| calibration::Bin {
            low: b.low,
            high: b.high,
            confidence: b.mean_probability,
            accuracy: b.accuracy,
            tokens: b.tokens,
        };
        subjects.push(calibration::Reliability {
            subject: shown.subject.clone(),
            bins: found.bins.iter().filter(|b| b.tokens > 0).map(bin).collect(),
            expected_calibration_error: found.error,
        });
    }
    Ok(calibration::draw(&subjects))
}

pub(super) fn phenomena(project: &Project, request: &Request) -> Result<Figure, PlotError> {
    let (first, other) = match request.shown {
        [first] => (first, None),
        [first, other] => (first, Some(other)),
        _ => return Err(request.nothing("it shows one run or one change", "name one or two experiments")),
    };
    let wanted = Wanted { by: vec![By::Phenomenon], passages: 0 };
    let report = slices(project, first.latest(), other.map(Shown::latest), &wanted)?;
    if report.phenomena.is_empty() {
        return Err(
            request.nothing("no task names its phenomenon", "BLiMP's tasks do: add `blimp` to `evaluation.tasks`")
        );
    }
    let name = |p: &PhenomenonSlice| task_title(&p.slice);
    if let Some(other) = other {
        let row = |p: &PhenomenonSlice| {
            let change = p.change?;
            Some(delta::Row {
                name: name(p),
                difference: change.difference,
                interval: Some(change.interval),
                decided: change.is_decided(),
            })
        };
        let rows: Vec<delta::Row> = report.phenomena.iter().filter_map(row).collect();
        return Ok(delta::draw(&other.subject, &first.subject.name, &rows));
    }
    let row = |p: &PhenomenonSlice| tasks::Row {
        name: name(p),
        chance: p.chance,
        scores: vec![Some(Estimate { mean: p.accuracy, standard_error: p.standard_error })],
    };
    let rows: Vec<tasks::Row> = report.phenomena.iter().map(row).collect();
    Ok(tasks::draw(std::slice::from_ref(&first.subject), &rows))
}
