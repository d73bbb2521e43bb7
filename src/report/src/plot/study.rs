//! The trials of a study, which count for no comparison: a figure of what a study found, not of an experiment's runs.

use harness_core::config::{Direction, Scale, Setting, Space};
use harness_core::names::{ExperimentName, Project, RunId};
use harness_figure::study::{self, End, Noise, Parameter, Spread, Value};
use harness_figure::{Figure, Subject};
use harness_study::checks::values;
use harness_study::design;
use harness_study::points::Opened;
use harness_study::trials::{State, Survey, Trial};
use harness_study::{Evidence, StudyError};

use super::titles::metric_title;
use super::{Kind, PlotError};

/// The trials of one study, also of one whose experiment has no run that counts.
pub fn study(project: &Project, name: &ExperimentName) -> Result<Figure, PlotError> {
    Ok(draw(project, name)?.described(Kind::Study.about()))
}

/// The runs that its figure shows.
pub fn runs_of_study(project: &Project, name: &ExperimentName) -> Result<Vec<RunId>, PlotError> {
    let survey = Survey::of(project, &Opened::of(project, name)?)?;
    Ok(survey.trials.into_iter().filter_map(|trial| Some(trial.decided_by?.0)).collect())
}

pub(super) fn draw(project: &Project, name: &ExperimentName) -> Result<Figure, PlotError> {
    let study = Opened::of(project, name)?;
    let survey = Survey::of(project, &study)?;
    let rows = values(&study, &survey.trials);
    if rows.iter().all(|row| row.best.is_none()) {
        return Err(PlotError::Nothing {
            kind: Kind::Study,
            names: format!("`{name}`"),
            why: "no trial in the ranges of the last round has completed",
            hint: "`harness study run NAME` runs its trials; `harness study show NAME` says what became of them",
        });
    }
    let keys: Vec<&str> = study.study.scientific.iter().map(|parameter| parameter.key.as_str()).collect();
    let value = |(look, row): (usize, &harness_study::checks::Value)| Value {
        subject: Subject { name: row.name.clone(), look },
        best_of: row.best_of.clone(),
    };
    Ok(study::draw(&study::Study {
        label: metric_title(&study.study.metric),
        lower_is_better: study.study.direction == Direction::Lower,
        scientific: keys.join(", "),
        values: rows.iter().enumerate().map(value).collect(),
        parameters: (0..study.study.nuisance.len()).map(|at| parameter(&study, &survey.trials, at)).collect(),
        missing: survey.missing().count(),
        noise: noise(project, &study)?,
    }))
}

/// A nuisance parameter with the trials that are over and have it.
fn parameter(study: &Opened, trials: &[Trial], at: usize) -> Parameter {
    let nuisance = &study.study.nuisance[at];
    let spread = match study.study.present().spaces[at] {
        Space::Between { low, high, scale: Scale::Linear } => Spread::Linear([low, high]),
        Space::Between { low, high, scale: Scale::Log } => Spread::Logarithmic([low, high]),
        Space::Between { low, high, scale: Scale::Int } => Spread::Whole([low, high]),
        // A later round may have left some out, which trials of the first have.
        Space::Among { .. } => Spread::Among(nuisance.choices.iter().map(ToString::to_string).collect()),
    };
    let place = |setting: &Setting| match (&spread, setting) {
        (Spread::Among(_), _) => nuisance.choices.iter().position(|choice| choice == setting).map(|index| index as f64),
        (_, Setting::Integer(value)) => Some(*value as f64),
        (_, Setting::Number(value)) => Some(*value),
        (_, Setting::Switch(_) | Setting::Text(_)) => None,
    };
    let mark = |trial: &Trial| {
        let (_, (_, setting)) = trial.planned.nuisance.iter().find(|(of, _)| *of == at)?;
        let end = match trial.state {
            State::Completed => End::Completed(trial.metric?),
            State::Infeasible => End::Infeasible,
            State::Pruned => End::Pruned,
            State::Waiting | State::Open => return None,
        };
        Some(study::Trial { value: trial.planned.value, at: place(setting)?, end, inside: trial.inside })
    };
    let trials = trials.iter().filter_map(mark).collect();
    Parameter { name: nuisance.label(), spread, trials }
}

/// How far seeds lie apart: of the experiment that the study varies, or else of what that extends.
fn noise(project: &Project, study: &Opened) -> Result<Option<Noise>, StudyError> {
    let evidence = Evidence::of(project)?;
    for experiment in [Some(&study.name), study.base.extends.as_ref()].into_iter().flatten() {
        if let Some(noise) = design::Noise::of(&evidence, experiment, &study.study.metric)? {
            let experiment = noise.experiment.to_string();
            return Ok(Some(Noise { experiment, seeds: noise.seeds, deviation: noise.deviation }));
        }
    }
    Ok(None)
}
