//! Beginning from a trunk: a run of another experiment whose first steps are those of this one. What of the two may differ is
//! looked at here, so that the plan of the branch describes exactly what its weights have seen.

use std::collections::BTreeSet;

use harness_core::Digest;
use harness_core::config::{BudgetError, Checked, Experiment, TrunkConfig, parting};
use harness_core::names::{ExperimentName, Project, RunId};
use harness_record::format::{Open, Purpose};
use harness_record::job::evaluated_after;
use harness_record::{self as record, RecordError, SealedRun};

use super::error::RunError;
use super::resume::{Origin, problem_of};

/// What begins from a trunk: an experiment, with a seed, for a purpose.
pub(super) struct Branch<'a> {
    pub name: &'a ExperimentName,
    pub seed: u64,
    pub purpose: Purpose,
    pub from: &'a TrunkConfig,
}

impl Branch<'_> {
    fn refused(&self, problem: String, hint: String) -> RunError {
        let (branch, trunk, step) = (self.name.clone(), self.from.experiment.clone(), self.from.step);
        RunError::NoTrunk { branch, trunk, step, problem, hint }
    }

    /// The latest run of the trunk of the same seed and purpose that has the checkpoint, whatever became of it later; a citable one
    /// if there is one.
    pub(super) fn origin(&self, project: &Project) -> Result<Origin, RunError> {
        let (trunk, step) = (&self.from.experiment, self.from.step);
        let again = format!("`harness run {trunk} --seed {} --purpose {}`", self.seed, self.purpose.word());
        let is_its = |run: &RunId| {
            let plan = record::opened(project, trunk, run).map(|open| open.plan);
            plan.is_some_and(|plan| (plan.seed, plan.purpose, plan.study) == (self.seed, self.purpose, None))
        };
        let (mut uncitable, mut problems) = (None, Vec::new());
        for run in record::runs(project, trunk)?.into_iter().rev().filter(is_its) {
            let sealed = match SealedRun::open(project, trunk, &run) {
                Err(RecordError::NotSealed { .. }) => {
                    problems.push((format!("run {run} is not sealed"), format!("wait for it, or {again} --go-on")));
                    continue;
                }
                sealed => sealed?,
            };
            let Some(checkpoint) = sealed.record.checkpoints.iter().find(|checkpoint| checkpoint.step == step).cloned()
            else {
                let steps: Vec<String> = sealed.record.checkpoints.iter().map(|c| c.step.to_string()).collect();
                let steps = if steps.is_empty() { "none".to_owned() } else { steps.join(", ") };
                let hint = format!(
                    "it wrote those of steps {steps}: name one of them in `trunk`, or set `training.checkpoint_every` of `{trunk}`"
                );
                problems.push((format!("run {run} wrote no checkpoint of step {step}"), hint));
                continue;
            };
            if let Some(problem) = problem_of(&sealed, &checkpoint)? {
                let hint = format!("{again} makes it again; `training.keep` of `{trunk}` says which checkpoints stay");
                problems.push((format!("the checkpoint of run {run}: {problem}"), hint));
                continue;
            }
            let is_citable = sealed.open.not_citable_because.is_none();
            let origin = Origin::of_trunk(sealed, checkpoint);
            if is_citable {
                return Ok(origin);
            }
            uncitable.get_or_insert(origin);
        }
        let nothing =
            || (format!("it has no run of seed {} to {}", self.seed, self.purpose.verb()), format!("{again} first"));
        let (problem, hint) = problems.into_iter().next().unwrap_or_else(nothing);
        uncitable.ok_or_else(|| self.refused(problem, hint))
    }

    /// Refuses a run of the trunk of which the first steps are not those of the branch by the two configs, or where what is measured
    /// of them was not. Of a branch whose steps follow from a rate that nobody has measured yet, nothing is known.
    pub(super) fn check_run(&self, trunk: &SealedRun, branch: &Checked) -> Result<(), RunError> {
        match branch.resolved(trunk.corpus.tokenizer.vocabulary_size, None) {
            Err(BudgetError::NeedsRate) => Ok(()),
            branch => self.check_configs(&trunk.experiment, &branch?),
        }
    }

    /// The same of a trunk that is still to be run as its config is now, and that it is to write the checkpoint.
    pub(super) fn check_planned(&self, trunk: &Checked, branch: &Checked) -> Result<(), RunError> {
        // A budget of tokens or FLOPs takes the vocabulary, which its data say once they are ready.
        if !(trunk.has_steps() && branch.has_steps()) {
            return Ok(());
        }
        let [trunk, branch] = [trunk.resolved(0, None)?, branch.resolved(0, None)?];
        let training = &trunk.training;
        if !training.checkpoint_steps().contains(&self.from.step) {
            let problem = format!(
                "it is to write no checkpoint of that step: `training.checkpoint_every` is {}, and it has {} steps",
                training.checkpoint_every, training.steps
            );
            let trunk = &self.from.experiment;
            let hint = format!("name another step in `trunk`, or set `training.checkpoint_every` of `{trunk}`");
            return Err(self.refused(problem, hint));
        }
        self.check_configs(&trunk, &branch)
    }

    fn check_configs(&self, trunk: &Experiment, branch: &Experiment) -> Result<(), RunError> {
        if let Some(parting) = parting(trunk, branch, self.from.step) {
            return Err(self.refused(parting.problem, parting.hint));
        }
        self.check_measured(trunk, branch)
    }

    /// Refuses a trunk of which the first steps are not those of the branch, or that lacks what the branch is to tell of them.
    pub(super) fn check_same_start(&self, trunk: &SealedRun, branch: &Experiment, open: &Open) -> Result<(), RunError> {
        self.check_configs(&trunk.experiment, branch)?;
        let shards = |open: &Open| open.data.shards.iter().map(|s| (s.split.clone(), s.sha256)).collect::<Vec<_>>();
        let changed = [
            ("tokenizer", open.data.tokenizer_sha256 == trunk.open.data.tokenizer_sha256),
            ("corpus", shards(open) == shards(&trunk.open)),
            ("order of the data", open.plan.order == trunk.open.plan.order),
        ];
        if let Some((what, _)) = changed.into_iter().find(|(_, same)| !same) {
            let hint = format!("run `{}` again on the data of today", self.from.experiment);
            return Err(self.refused(format!("the {what} has changed since run {}", trunk.open.run), hint));
        }
        self.check_evaluated(trunk, branch, open)
    }

    /// What is measured of the steps that are taken over was measured there.
    fn check_measured(&self, trunk: &Experiment, branch: &Experiment) -> Result<(), RunError> {
        let (here, there) = (&branch.metrics, &trunk.metrics);
        let steps = (branch.training.steps, trunk.training.steps);
        let lacks = (0..=self.from.step).find_map(|step| {
            let is_done = step > 0;
            let wanted = [
                ("metrics.step_rows", is_done && here.has_row(step, steps.0), there.has_row(step, steps.1)),
                ("metrics.tensor_norms_every", is_done && here.tensor_norms_at(step), there.tensor_norms_at(step)),
                (
                    "metrics.activations_every",
                    step < self.from.step && here.activations_at(step, steps.0),
                    there.activations_at(step, steps.1),
                ),
            ];
            wanted.into_iter().find(|(_, wanted, measured)| *wanted && !measured).map(|(key, ..)| (key, step))
        });
        match lacks {
            None => Ok(()),
            Some((key, step)) => Err(self.refused(
                format!("`{key}` asks for numbers of step {step} that were not recorded there"),
                format!("give `{key}` the same value in both"),
            )),
        }
    }

    /// What is evaluated before the step was evaluated there, with the same requests.
    fn check_evaluated(&self, trunk: &SealedRun, branch: &Experiment, open: &Open) -> Result<(), RunError> {
        let requests = |open: &Open| -> Vec<(String, Digest)> {
            open.tasks.iter().map(|task| (task.id.clone(), task.requests_sha256)).collect()
        };
        let there = requests(&trunk.open);
        let (evaluation, steps) = (&branch.evaluation, branch.training.steps);
        let asked: BTreeSet<u64> =
            [evaluation.validation_steps(steps), evaluation.task_steps(steps)].concat().into_iter().collect();
        for step in asked.range(..self.from.step).copied() {
            let done: Vec<&str> = trunk
                .record
                .evaluations
                .iter()
                .filter(|evaluation| evaluation.step == step)
                .flat_map(|evaluation| &evaluation.files)
                .map(|file| file.path.as_str())
                .collect();
            let wanted = evaluated_after(branch, &open.tasks, step);
            if let Some(path) = wanted.iter().find(|path| !done.contains(&path.as_str())) {
                let hint = "let both be evaluated at the same steps (`evaluation.validation_at`, `tasks_at`), or this one at its last alone (`\"last\"`)";
                return Err(self.refused(format!("`{path}` is asked for here and was not made there"), hint.to_owned()));
            }
            let scored = |id: &str| wanted.iter().any(|path| path.ends_with(&format!("/{id}.csv")));
            if let Some((id, _)) = requests(open).iter().find(|task| scored(&task.0) && !there.contains(task)) {
                let hint =
                    "let its tasks be scored after the last step alone (`evaluation.tasks_at = \"last\"`)".to_owned();
                return Err(self.refused(format!("task `{id}` has changed since run {}", trunk.open.run), hint));
            }
        }
        Ok(())
    }
}
