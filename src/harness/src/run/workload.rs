//! What the jobs of a run still have to do, and how long that takes at the pace so far.

use harness_core::contract::{Evaluation, Job};
use harness_core::scores::StepLine;

/// Rows of late steps that the pace is taken from.
const LATE: usize = 200;
/// Steps after the first that the pace takes before it says anything: the first ones fill caches and compile kernels.
const FEWEST: u64 = 5;

/// The steps and evaluations that a run is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The last optimizer step; that of the checkpoint where nothing is trained.
    pub steps: u64,
    /// Training tokens after it; 0 where nothing is trained.
    pub tokens: u64,
    /// Evaluations, ascending by step.
    pub evaluations: Vec<Planned>,
}

/// An evaluation to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// After this step.
    pub step: u64,
    /// The validation loss is computed.
    pub validation: bool,
    /// Tasks are scored.
    pub tasks: bool,
}

/// How long a run goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Left {
    /// Seconds of training, and of the evaluations whose kind has been timed.
    pub seconds: f64,
    /// Evaluations of a kind that has not been seen yet, which come on top.
    pub untimed_evaluations: usize,
}

impl Workload {
    /// Of jobs that are done one after the other.
    pub fn of<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Self {
        let mut workload = Workload::default();
        for job in jobs {
            let mut steps = [job.validation_steps.as_slice(), &job.task_steps].concat();
            steps.sort_unstable();
            steps.dedup();
            (workload.steps, workload.tokens) = if job.train_shards.is_empty() {
                (steps.last().copied().unwrap_or(0), 0)
            } else {
                let steps = job.training.steps;
                (steps, job.training.tokens(steps, job.model.context_length))
            };
            workload.evaluations.extend(steps.into_iter().map(|step| Planned {
                step,
                validation: job.validation_steps.contains(&step),
                tasks: job.task_steps.contains(&step),
            }));
        }
        workload
    }

    /// Seconds until the end at the pace of late, from the rows of the steps so far and the evaluations with their steps
    /// and seconds. Nothing while there are too few steps to say.
    pub fn left(&self, steps: &[StepLine], evaluations: &[(u64, f64)]) -> Option<Left> {
        let late = &steps[steps.len().saturating_sub(LATE)..];
        // After a resumption the clock begins anew.
        let anew = late.windows(2).rposition(|pair| pair[1].wall_time_s < pair[0].wall_time_s).map_or(0, |at| at + 1);
        let late = &late[anew..];
        let (first, last) = (late.first()?, late.last()?);
        if last.step - first.step < FEWEST {
            return None;
        }
        let between = evaluations.iter().filter(|(step, _)| (first.step..last.step).contains(step));
        let training_s = last.wall_time_s - first.wall_time_s - between.map(|(_, seconds)| seconds).sum::<f64>();
        let s_per_token = training_s.max(0.0) / (last.tokens - first.tokens) as f64;
        let mut left =
            Left { seconds: self.tokens.saturating_sub(last.tokens) as f64 * s_per_token, untimed_evaluations: 0 };
        for planned in self.evaluations.iter().filter(|p| evaluations.iter().all(|(step, _)| *step != p.step)) {
            match self.mean_s(planned, evaluations) {
                Some(seconds) => left.seconds += seconds,
                None => left.untimed_evaluations += 1,
            }
        }
        left.seconds.is_finite().then_some(left)
    }

    /// Mean seconds of the evaluations done that computed the same as `planned` will.
    fn mean_s(&self, planned: &Planned, evaluations: &[(u64, f64)]) -> Option<f64> {
        let same = |step: u64| {
            let done = self.evaluations.iter().find(|p| p.step == step);
            done.is_some_and(|done| (done.validation, done.tasks) == (planned.validation, planned.tasks))
        };
        let seconds: Vec<f64> = evaluations.iter().filter(|(step, _)| same(*step)).map(|(_, s)| *s).collect();
        (!seconds.is_empty()).then(|| harness_statistics::mean(&seconds))
    }
}

/// The step and the seconds of an evaluation.
pub fn timed(evaluation: &Evaluation) -> (u64, f64) {
    (evaluation.step, evaluation.wall_time_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 steps of 10 tokens; validation every 20 steps, tasks too every 50.
    fn workload() -> Workload {
        let planned = |step: u64| Planned {
            step,
            validation: step.is_multiple_of(20),
            tasks: step.is_multiple_of(50) && step > 0,
        };
        let steps = [0, 20, 40, 50, 60, 80, 100];
        Workload { steps: 100, tokens: 1000, evaluations: steps.map(planned).to_vec() }
    }

    /// Steps of two seconds each, and 100 seconds more for each evaluation before them.
    fn rows(steps: std::ops::RangeInclusive<u64>) -> Vec<StepLine> {
        let evaluations_before = |step: u64| workload().evaluations.iter().filter(|p| p.step < step).count() as f64;
        let wall_time_s = |step: u64| 30.0 + 2.0 * step as f64 + 100.0 * evaluations_before(step);
        steps
            .map(|step| StepLine { step, tokens: 10 * step, wall_time_s: wall_time_s(step), ..StepLine::default() })
            .collect()
    }

    #[test]
    fn what_is_left_is_training_at_its_own_pace_and_the_evaluations() {
        let left = |to: u64, done: &[(u64, f64)]| workload().left(&rows(1..=to), done);
        assert_eq!(left(3, &[(0, 100.0)]), None, "the first steps say nothing");
        // 90 steps; validations after 20, 40, 60 and 80; nobody has timed the tasks after 50, nor both after 100.
        let early = left(10, &[(0, 100.0)]).unwrap();
        assert_eq!(early, Left { seconds: 90.0 * 2.0 + 4.0 * 100.0, untimed_evaluations: 2 });
        let late = left(70, &[(0, 100.0), (20, 100.0), (40, 100.0), (50, 100.0), (60, 100.0)]).unwrap();
        assert_eq!(late, Left { seconds: 30.0 * 2.0 + 100.0, untimed_evaluations: 1 });
        assert_eq!(workload().left(&[], &[]), None);
    }

    #[test]
    fn a_resumption_begins_a_clock_of_its_own() {
        let mut steps = rows(1..=40);
        steps.extend(rows(41..=44).into_iter().map(|row| StepLine { wall_time_s: row.step as f64 - 40.0, ..row }));
        assert_eq!(workload().left(&steps, &[]), None);
        steps.extend(rows(45..=46).into_iter().map(|row| StepLine { wall_time_s: row.step as f64 - 40.0, ..row }));
        let left = workload().left(&steps, &[(0, 1.0), (20, 1.0), (40, 1.0)]).unwrap();
        assert_eq!(left, Left { seconds: 54.0 + 2.0, untimed_evaluations: 2 });
    }
}
