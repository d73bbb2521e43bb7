//! The experiments of a project with what was run of them, each read once however many decisions rest on it.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use harness_analyse::{RunAnalysis, Unit, Value};
use harness_core::Digest;
use harness_core::config::Loaded;
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::format::Purpose;
use harness_record::select::Traces;
use harness_record::{RunSet, SealedRun, load_config};

use crate::StudyError;
use crate::seeds::{Seeded, seeded, seeded_by};

/// The numbers of one run.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// The run.
    pub run: RunId,
    /// Digest of its MANIFEST.
    pub root: Digest,
    /// Its seed.
    pub seed: u64,
    /// The documents that it was validated on.
    validation_text: Vec<Digest>,
    /// Every value, by its key.
    pub values: BTreeMap<String, Value>,
}

impl Numbers {
    fn of(analysis: &RunAnalysis) -> Self {
        let run = &analysis.run;
        let (id, seed, values) = (run.open.run.clone(), run.open.plan.seed, analysis.values.clone());
        let validation_text = run.corpus.validation_documents.iter().map(|document| document.sha256).collect();
        Numbers { run: id, root: run.root, seed, validation_text, values }
    }

    /// Whether a number of both measures the same: what is of the validation text does where they were validated on the same.
    pub fn measures_the_same(&self, other: &Numbers, metric: &str) -> bool {
        !metric.starts_with("validation.") || self.validation_text == other.validation_text
    }

    /// A value as a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.values.get(key).map(|value| value.number)
    }
}

/// Reads experiments and runs of a project, and remembers them.
pub struct Evidence<'a> {
    /// The project.
    pub project: &'a Project,
    traces: OnceCell<Traces>,
    experiments: BTreeMap<ExperimentName, Loaded>,
    /// The only runs that count, of each experiment; all that are here if none are named.
    among: Option<BTreeMap<ExperimentName, Vec<SealedRun>>>,
    seeded: RefCell<BTreeMap<(ExperimentName, Purpose), Rc<Seeded>>>,
    counted: RefCell<BTreeMap<ExperimentName, Rc<Vec<SealedRun>>>>,
    numbers: RefCell<BTreeMap<RunId, Rc<Numbers>>>,
}

impl<'a> Evidence<'a> {
    /// Loads the experiments. One that cannot be read is an error when it is asked for.
    pub fn of(project: &'a Project) -> Result<Self, StudyError> {
        let names = harness_record::experiments(project)?;
        let loaded = names.into_iter().filter_map(|name| Some((name.clone(), load_config(project, &name).ok()?)));
        Ok(Evidence {
            project,
            traces: OnceCell::new(),
            experiments: loaded.collect(),
            among: None,
            seeded: RefCell::default(),
            counted: RefCell::default(),
            numbers: RefCell::default(),
        })
    }

    /// The same as if there were these runs alone, whose numbers are known already.
    pub fn among<'r>(mut self, runs: impl Iterator<Item = &'r RunAnalysis>) -> Self {
        let mut among: BTreeMap<ExperimentName, Vec<SealedRun>> = BTreeMap::new();
        for run in runs {
            self.numbers.get_mut().insert(run.run.open.run.clone(), Rc::new(Numbers::of(run)));
            among.entry(run.run.open.experiment.clone()).or_default().push(run.run.clone());
        }
        self.among = Some(among);
        self
    }

    /// The experiments that can be read, by name.
    pub fn experiments(&self) -> &BTreeMap<ExperimentName, Loaded> {
        &self.experiments
    }

    /// One experiment as its file says now.
    pub fn experiment(&self, name: &ExperimentName) -> Result<Loaded, StudyError> {
        match self.experiments.get(name) {
            Some(loaded) => Ok(loaded.clone()),
            None => Ok(load_config(self.project, name)?),
        }
    }

    fn traces(&self) -> Result<&Traces, StudyError> {
        match self.traces.get() {
            Some(traces) => Ok(traces),
            None => {
                let traces = Traces::of(self.project)?;
                Ok(self.traces.get_or_init(|| traces))
            }
        }
    }

    /// What was run of an experiment, as its file says now, for a purpose.
    pub fn seeded(&self, name: &ExperimentName, purpose: Purpose) -> Result<Rc<Seeded>, StudyError> {
        let key = (name.clone(), purpose);
        if let Some(known) = self.seeded.borrow().get(&key) {
            return Ok(Rc::clone(known));
        }
        let config = self.experiment(name)?.experiment;
        let seeded = match &self.among {
            Some(among) => seeded_by(among.get(name).into_iter().flatten().cloned(), &config, purpose),
            None => seeded(self.project, name, &config, purpose, self.traces()?)?,
        };
        let seeded = Rc::new(seeded);
        self.seeded.borrow_mut().insert(key, Rc::clone(&seeded));
        Ok(seeded)
    }

    /// The runs that count of an experiment, oldest first.
    pub fn counted(&self, name: &ExperimentName) -> Result<Rc<Vec<SealedRun>>, StudyError> {
        if let Some(known) = self.counted.borrow().get(name) {
            return Ok(Rc::clone(known));
        }
        let counted = Rc::new(RunSet::of_traced(self.project, name, self.traces()?)?.runs);
        self.counted.borrow_mut().insert(name.clone(), Rc::clone(&counted));
        Ok(counted)
    }

    /// The numbers of a run.
    pub fn numbers(&self, run: &SealedRun) -> Result<Rc<Numbers>, StudyError> {
        if let Some(known) = self.numbers.borrow().get(&run.open.run) {
            return Ok(Rc::clone(known));
        }
        let numbers = Rc::new(Numbers::of(&RunAnalysis::of(run.clone())?));
        self.numbers.borrow_mut().insert(numbers.run.clone(), Rc::clone(&numbers));
        Ok(numbers)
    }

    /// The numbers of the runs that count of an experiment, in the order of their seeds.
    pub fn counted_by_seed(&self, name: &ExperimentName) -> Result<Vec<Rc<Numbers>>, StudyError> {
        let runs = self.counted(name)?;
        let mut numbers = runs.iter().map(|run| self.numbers(run)).collect::<Result<Vec<_>, _>>()?;
        numbers.sort_by_key(|run| run.seed);
        Ok(numbers)
    }

    /// The unit of a value of a run whose numbers were asked for.
    pub fn unit(&self, run: &RunId, metric: &str) -> Option<Unit> {
        Some(self.numbers.borrow().get(run)?.values.get(metric)?.unit)
    }
}
