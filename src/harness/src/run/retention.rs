//! Which checkpoints of a run stay, and what they need on the disk. The trainer writes them; here, where validation
//! losses are averaged anyway, those that no rule of `training.keep` keeps are removed while the run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use harness_core::config::{Experiment, Keep, OptimizerKind};
use harness_core::contract::{Checkpoint, Evaluation, Message};
use harness_core::files;
use harness_core::names::Project;
use harness_core::scores::{WindowLoss, read_csv};

use super::error::RunError;
use harness_record::format::{Retention, Scored};

/// Follows a run's messages and removes what is not kept.
pub(super) struct Keeper {
    keep: Keep,
    /// Steps of the run: the checkpoint after the last one stays.
    steps: u64,
    /// Checkpoints that are there, by step.
    present: BTreeMap<u64, Checkpoint>,
    /// Mean validation loss by step.
    losses: BTreeMap<u64, f64>,
    pruned: Vec<u64>,
    /// Whether all were removed in the end.
    are_removed: bool,
}

impl Keeper {
    /// For a run of so many steps.
    pub(super) fn new(keep: Keep, steps: u64) -> Self {
        Keeper {
            keep,
            steps,
            present: BTreeMap::new(),
            losses: BTreeMap::new(),
            pruned: Vec::new(),
            are_removed: false,
        }
    }

    /// Takes in a message, and removes from `folder` what is not kept any more. Gives what was removed.
    pub(super) fn take(&mut self, message: &Message, folder: &Path) -> Result<Vec<Checkpoint>, RunError> {
        match message {
            Message::Evaluation(evaluation) => self.losses.extend(validation_loss(evaluation, folder)?),
            Message::Checkpoint(checkpoint) => drop(self.present.insert(checkpoint.step, checkpoint.clone())),
            _ => return Ok(Vec::new()),
        }
        let steps: Vec<u64> = self.present.keys().copied().collect();
        let kept = kept(self.keep, &steps, &self.losses, self.steps);
        let mut removed = Vec::new();
        for step in steps.into_iter().filter(|step| !kept.contains(step)) {
            let checkpoint = self.present.remove(&step).expect("it is among those present");
            files::remove(&folder.join(&checkpoint.file.path))?;
            self.pruned.push(step);
            removed.push(checkpoint);
        }
        Ok(removed)
    }

    /// Removes all that are left from `folder`: nothing goes on from a trial that has ended.
    pub(super) fn remove_all(&mut self, folder: &Path) -> Result<(), RunError> {
        for (step, checkpoint) in std::mem::take(&mut self.present) {
            files::remove(&folder.join(&checkpoint.file.path))?;
            self.pruned.push(step);
        }
        self.are_removed = true;
        Ok(())
    }

    /// How many are there.
    pub(super) fn count(&self) -> usize {
        self.present.len()
    }

    /// What the record says of it.
    pub(super) fn retention(&self) -> Retention {
        let kept_as_best = best(self.keep.best, &self.present.keys().copied().collect::<Vec<_>>(), &self.losses);
        let scored = |step: u64| Scored { step, validation_loss_nats: self.losses[&step] };
        Retention {
            rule: if self.are_removed { "none is kept of a trial that has ended".to_owned() } else { rule(self.keep) },
            best: kept_as_best.into_iter().map(scored).collect(),
            pruned: self.pruned.clone(),
        }
    }
}

/// The rule in words.
fn rule(keep: Keep) -> String {
    if keep.is_all() {
        return "all are kept".to_owned();
    }
    let mut rules = vec!["the latest, the one after the last step".to_owned()];
    if keep.every > 0 {
        rules.push(format!("those after every {} steps", keep.every));
    }
    if keep.last > 1 {
        rules.push(format!("the latest {}", keep.last));
    }
    if keep.best > 0 {
        rules.push(format!(
            "the {} with the lowest mean loss per token of the validation text after their step, of equal ones the \
             earliest",
            keep.best
        ));
    }
    rules.join("; ")
}

/// The steps of those that stay, of checkpoints after `written` steps (ascending).
fn kept(keep: Keep, written: &[u64], losses: &BTreeMap<u64, f64>, steps: u64) -> BTreeSet<u64> {
    if keep.is_all() {
        return written.iter().copied().collect();
    }
    let latest = written.iter().rev().take(keep.last.max(1) as usize);
    let every = written.iter().filter(|step| keep.every > 0 && step.is_multiple_of(keep.every));
    let last = written.iter().filter(|step| **step == steps);
    latest.chain(every).chain(last).copied().chain(best(keep.best, written, losses)).collect()
}

/// The `count` steps of lowest loss among those written, best first; of equal ones the earliest.
fn best(count: u32, written: &[u64], losses: &BTreeMap<u64, f64>) -> Vec<u64> {
    let mut scored: Vec<u64> = written.iter().copied().filter(|step| losses.contains_key(step)).collect();
    // The sort is stable, so equal losses keep their order.
    scored.sort_by(|a, b| losses[a].total_cmp(&losses[b]));
    scored.truncate(count as usize);
    scored
}

/// The mean validation loss of an evaluation, if it has one that is finite.
fn validation_loss(evaluation: &Evaluation, folder: &Path) -> Result<Option<(u64, f64)>, RunError> {
    let Some(file) = evaluation.files.iter().find(|file| file.path.ends_with("/validation.csv")) else {
        return Ok(None);
    };
    let rows: Vec<WindowLoss> = read_csv(&folder.join(&file.path))?;
    let (nats, tokens) = rows.iter().fold((0.0, 0), |(nats, tokens), row| (nats + row.loss_nats, tokens + row.tokens));
    let loss = nats / tokens as f64;
    Ok(loss.is_finite().then_some((evaluation.step, loss)))
}

/// What the checkpoints of a run need on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DiskNeed {
    /// Size of one.
    pub checkpoint_bytes: u64,
    /// How many there are at most at a time.
    pub checkpoints: u64,
}

impl DiskNeed {
    /// From the config, for a model of so many parameters: weights, moments and average are float32. For Muon and
    /// NorMuon it is a bound, because their matrices have one moment.
    pub(super) fn of(experiment: &Experiment, parameters: u64) -> Self {
        let moments = match experiment.optimizer.kind {
            OptimizerKind::Lion | OptimizerKind::Sgd => 1,
            _ => 2,
        };
        let average = u64::from(experiment.training.ema_decay > 0.0);
        let (keep, steps) = (experiment.training.keep, experiment.training.steps);
        let written = experiment.training.checkpoint_steps().len() as u64;
        let every = steps.checked_div(keep.every).unwrap_or(0);
        let kept = every + u64::from(keep.last.max(1)) + u64::from(keep.best) + 1;
        DiskNeed {
            checkpoint_bytes: 4 * parameters * (1 + moments + average),
            checkpoints: if keep.is_all() { written } else { kept.min(written) },
        }
    }

    /// All of them.
    pub(super) fn bytes(&self) -> u64 {
        self.checkpoint_bytes.saturating_mul(self.checkpoints)
    }
}

/// Refuses a run whose checkpoints will not fit; says what they need.
pub(super) fn check_disk(project: &Project, disk: DiskNeed) -> Result<String, RunError> {
    let (need, count) = (disk.bytes(), disk.checkpoints);
    // A file system that does not tell is taken to have room.
    let free = rustix::fs::statvfs(project.home()).map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    if need > free {
        return Err(RunError::Disk { need_bytes: need, count, free_bytes: free });
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "checkpoints need at most {:.1} MiB of disk ({count} × {:.1} MiB); {:.0} MiB are free",
        mib(need),
        mib(disk.checkpoint_bytes),
        mib(free)
    ))
}

#[cfg(test)]
mod tests {
    use harness_core::Digest;
    use harness_core::contract::OutputFile;

    use super::*;

    #[test]
    fn what_any_rule_keeps_stays() {
        let written = [10, 20, 30, 40, 50];
        let losses = BTreeMap::from([(10, 3.0), (20, 2.0), (30, 2.5), (40, 2.0)]);
        let kept = |every, last, best, steps| {
            kept(Keep { every, last, best }, &written, &losses, steps).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(kept(0, 0, 0, 100), written, "no rule keeps all");
        assert_eq!(kept(20, 0, 0, 100), [20, 40, 50]);
        assert_eq!(kept(0, 2, 0, 100), [40, 50]);
        assert_eq!(kept(0, 1, 1, 100), [20, 50], "of equal losses the earliest");
        assert_eq!(kept(0, 1, 3, 100), [20, 30, 40, 50]);
        assert_eq!(kept(0, 1, 0, 30), [30, 50], "the one after the last step stays");
    }

    #[test]
    fn a_loss_that_is_not_finite_is_never_the_best() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep { every: 0, last: 0, best: 1 };
        let mut keeper = Keeper::new(keep, 30);
        for (step, loss_nats) in [(10, -f64::NAN), (20, 3.0), (30, f64::NEG_INFINITY)] {
            let path = format!("{step}/validation.csv");
            let row = WindowLoss { document: 0, first_token: 1, tokens: 1, loss_nats };
            files::write(&folder.path().join(&path), &harness_core::scores::to_csv([row])).unwrap();
            let file = OutputFile { path, sha256: Digest::of(b""), size_bytes: 0 };
            let (wall_time_s, unanswered) = (0.0, Vec::new());
            let evaluation =
                Evaluation { step, tokens: step, files: vec![file], wall_time_s, unanswered, self_test: None };
            keeper.take(&Message::Evaluation(evaluation), folder.path()).unwrap();
        }
        assert_eq!(best(1, &[10, 20, 30], &keeper.losses), [20]);
    }

    #[test]
    fn the_need_is_that_of_the_most_files_at_a_time() {
        let text = "corpus = \"c\"\n[training]\nsteps = 100\ncheckpoint_every = 10\n";
        let need = |more: &str| {
            let experiment = harness_core::config::parse_resolved(&format!("{text}{more}")).unwrap();
            let need = DiskNeed::of(&experiment, 1000);
            (need.checkpoint_bytes, need.checkpoints)
        };
        assert_eq!(need(""), (12_000, 10));
        assert_eq!(need("ema_decay = 0.9\nkeep = { last = 2, best = 1 }"), (16_000, 4));
        assert_eq!(need("keep = { every = 50 }\n[optimizer]\nkind = \"lion\""), (8_000, 4));
    }
}
