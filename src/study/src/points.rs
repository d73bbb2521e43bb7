//! Which trials a study has: each a pure function of the project's id, the study's name and its number, so that any process can
//! run any of them, and an auditor finds the same config again from the record.

use harness_core::config::{
    Checked, Choices, ConfigError, MOST_NUISANCE, Sampler, Setting, Settings, Study, Table, listed, load_study,
};
use harness_core::names::{ExperimentName, Project};
use harness_core::project_file::ProjectFile;
use harness_core::seeds::derived;
use harness_core::{Digest, files};
use harness_record::format::Purpose;
use harness_record::load_config_with;
use harness_statistics::sequence::{DIMENSIONS, scrambled_sobol, shifted_halton};
use serde::Serialize;

use crate::StudyError;

const _: () = assert!(MOST_NUISANCE <= DIMENSIONS, "a point has a coordinate for each nuisance parameter");

/// A study of the working tree.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its name, which is its experiment's.
    pub name: ExperimentName,
    /// What `study.toml` says.
    pub study: Study,
    /// Its text.
    pub text: String,
    /// The experiment that it varies.
    pub base: Checked,
    /// Its trials.
    pub trials: Vec<Planned>,
}

impl Opened {
    /// Reads the study of an experiment.
    pub fn of(project: &Project, name: &ExperimentName) -> Result<Self, StudyError> {
        let text = match files::read_to_string(&project.study(name)) {
            Err(error) if error.is_not_found() => return Err(StudyError::NoStudy(name.clone())),
            text => text?,
        };
        let study = load_study(name, &text, &|settings| load_config_with(project, name, settings))?;
        let base = load_config_with(project, name, &Table::new())?.experiment;
        let trials = trials(&study, &ProjectFile::load(project)?.id, name.as_str());
        Ok(Opened { name: name.clone(), study, text, base, trials })
    }

    /// The experiment as a trial has it.
    pub fn config(&self, project: &Project, trial: &Planned) -> Result<Checked, ConfigError> {
        let loaded = load_config_with(project, &self.name, &trial.settings(&self.study, &self.base))?;
        Ok(loaded.experiment.with_seed(trial.seed))
    }

    /// Digest of what is planned: the same points in the same order give the same.
    pub fn plan_sha256(&self) -> Digest {
        Digest::of(serde_json::to_string(&self.trials).expect("plain values are JSON").as_bytes())
    }

    /// What a trial is called in tables: its scientific values.
    pub fn value_name(&self, value: usize) -> String {
        let values: Vec<Setting> = self.study.combinations()[value].iter().map(|(_, value)| value.clone()).collect();
        listed(&values)
    }
}

/// A trial before it is run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// Its number in the study, from 0.
    pub trial: u64,
    /// The round that it belongs to, from 0.
    pub round: usize,
    /// The point of the nuisance parameters, from 0: trials of one point differ in the scientific value only.
    pub point: u32,
    /// Which combination of scientific values it has.
    pub value: usize,
    /// The seed, which all trials of a point share.
    pub seed: u64,
    /// Scientific values.
    pub scientific: Settings,
    /// Nuisance parameters that exist under them, as (index in the study, key and value).
    pub nuisance: Vec<(usize, (String, Setting))>,
}

impl Planned {
    /// What it sets beyond the experiment.
    pub fn settings(&self, study: &Study, base: &Choices) -> Table {
        study.settings(base, &self.values())
    }

    /// Its scientific and nuisance values.
    pub fn values(&self) -> Settings {
        self.scientific.iter().chain(self.nuisance.iter().map(|(_, setting)| setting)).cloned().collect()
    }
}

/// All trials of a study, in the order in which they are run: point by point, so that a study that is stopped early has as many
/// of each scientific value.
pub fn trials(study: &Study, project_id: &str, name: &str) -> Vec<Planned> {
    let search_seed = derived(project_id, &format!("study {name}"), 0);
    let coordinate = |point: u32, dimension: usize| match study.sampler {
        Sampler::Sobol => scrambled_sobol(search_seed, point, dimension),
        Sampler::Halton => shifted_halton(search_seed, point, dimension),
    };
    let combinations = study.combinations();
    let mut planned = Vec::new();
    for (round, ranges) in study.rounds().iter().enumerate() {
        for point in ranges.first_point..ranges.first_point + ranges.trials {
            for (value, scientific) in combinations.iter().enumerate() {
                let exist = study.nuisance.iter().enumerate().filter(|(_, n)| n.exists_under(scientific));
                let nuisance = exist.map(|(at, parameter)| {
                    (at, (parameter.key.clone(), ranges.spaces[at].value_at(coordinate(point, at))))
                });
                planned.push(Planned {
                    trial: planned.len() as u64,
                    round,
                    point,
                    value,
                    seed: derived(project_id, Purpose::Tune.word(), u64::from(point)),
                    scientific: scientific.clone(),
                    nuisance: nuisance.collect(),
                });
            }
        }
    }
    planned
}

/// A trial by its number.
pub fn trial(study: &Study, project_id: &str, name: &str, number: u64) -> Option<Planned> {
    trials(study, project_id, name).into_iter().nth(usize::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::config::Space;

    fn study() -> Study {
        toml::from_str(include_str!("../../../tests/configs/studies/valid/optimizers.toml")).unwrap()
    }

    #[test]
    fn a_plan_is_a_function_of_project_study_and_number() {
        let study = study();
        let all = trials(&study, "abc", "warm");
        assert_eq!(all, trials(&study, "abc", "warm"));
        assert_eq!(trial(&study, "abc", "warm", 5).unwrap(), all[5]);
        assert_eq!(trial(&study, "abc", "warm", 24), None);
        for (project, name) in [("abd", "warm"), ("abc", "cold")] {
            assert_ne!(trials(&study, project, name)[0].nuisance, all[0].nuisance);
        }
        // A further round leaves what is planned already as it is.
        let before = Study { round: Vec::new(), ..study };
        assert_eq!(trials(&before, "abc", "warm")[..], all[..16]);
    }

    #[test]
    fn each_value_has_as_many_trials_at_the_same_points_and_seeds() {
        let study = study();
        let all = trials(&study, "abc", "warm");
        assert_eq!(all.len(), 24);
        for pair in all.chunks(2) {
            let [adamw, muon] = pair else { panic!("two values") };
            assert_eq!((adamw.point, adamw.seed, adamw.value, muon.value), (muon.point, muon.seed, 0, 1));
            let labels = |trial: &Planned| trial.nuisance.iter().map(|(at, _)| *at).collect::<Vec<_>>();
            assert_eq!((labels(adamw), labels(muon)), (vec![0, 2, 3], vec![1, 2, 3]), "a branch has its own rate");
            assert_eq!(adamw.nuisance[1], muon.nuisance[1]);
        }
        let spaces = study.present().spaces;
        let muon: Vec<&Setting> =
            all.iter().filter_map(|t| Some(&t.nuisance.iter().find(|(at, _)| *at == 1)?.1.1)).collect();
        assert!(muon[8..].iter().all(|rate| spaces[1].holds(rate)), "the second round lies in its own range");
        assert!(muon[..8].iter().any(|rate| !spaces[1].holds(rate)));
        // Eight points of Sobol's fill eighths.
        let Space::Between { .. } = study.rounds()[0].spaces[1] else { panic!("a range") };
        let mut eighths: Vec<u32> =
            muon[..8].iter().map(|rate| (study.rounds()[0].spaces[1].place_of(rate).unwrap() * 8.0) as u32).collect();
        eighths.sort_unstable();
        assert_eq!(eighths, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
