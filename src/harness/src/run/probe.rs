//! What the tuning playbook (Godbole et al. 2023, Deep Learning Tuning Playbook) asks for before a budget is spent,
//! measured in short runs: batch size, learning rate, warm-up, clipping. Each probe gives points and what they say,
//! with how sure that is.

use harness_core::config::Choices;
use harness_core::contract::Started;
use harness_core::names::ExperimentName;
use harness_record::environment;
use harness_statistics::quantile;
use serde::Serialize;

use super::error::RunError;
use super::launch::Interrupts;
use super::short_run::{Bench, ShortRun};

/// Version of `probe.json`.
pub const VERSION: u32 = 2;

/// Larger batches than this one gain little: the smallest with so much of the best throughput.
const KNEE_SHARE: f64 = 0.9;
/// A rate is on the edge of stability if the loss ends so far above the best, in nats.
const UNSTABLE_ABOVE_BEST_NATS: f64 = 1.0;
/// Clip here: most steps are left as they are, outliers are cut (playbook, "how can optimization failures be debugged").
const CLIP_QUANTILE: f64 = 0.9;

/// Which probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Throughput and memory over batch sizes.
    Batch,
    /// Loss over learning rates.
    LearningRate,
    /// Loss over warm-up lengths.
    Warmup,
    /// The norm of the gradient without clipping.
    Clip,
}

/// What one setting gave.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The setting: sequences a pass, learning rate, warm-up steps, or (for clipping) the step.
    pub setting: f64,
    /// Training tokens per second.
    pub tokens_per_s: Option<f64>,
    /// Largest memory in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Mean loss of the last fifth of the steps, in nats per token.
    pub loss_nats: Option<f64>,
    /// Standard error of that mean.
    pub loss_standard_error_nats: Option<f64>,
    /// Largest loss after the first step, in nats per token.
    pub largest_loss_nats: Option<f64>,
    /// Norm of the gradient before clipping: of the step, or the largest over the steps.
    pub gradient_norm: Option<f64>,
    /// What went wrong, if something did: a word such as `non_finite` or `out_of_memory`.
    pub failure: Option<String>,
}

/// How much the recommendation can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The neighbours are clearly worse, or the quantity was measured directly.
    Clear,
    /// Other settings are as good within the noise of their last steps.
    WithinNoise,
    /// The best lies at an end of what was tried, so that a better one may lie beyond.
    AtTheEdge,
    /// No setting worked.
    None,
}

/// A probe with its result: `probe.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// [`VERSION`]
    pub format: u32,
    /// Which probe.
    pub kind: Kind,
    /// Of which experiment.
    pub experiment: ExperimentName,
    /// When, UTC.
    pub at: String,
    /// The commit that was checked out.
    pub commit: String,
    /// Seconds that all short runs took together, from the start of the trainer to its end.
    pub wall_time_s: f64,
    /// What the GPU took for them in joules, where it was measured.
    pub energy_j: Option<f64>,
    /// Digest of the plan that was varied.
    pub plan_sha256: String,
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// GPUs that computed.
    pub gpus: usize,
    /// Optimizer steps of each short run.
    pub steps: u64,
    /// What was tried, ascending.
    pub points: Vec<Point>,
    /// The value to write into the config, and its key.
    pub recommended: Option<f64>,
    /// Dotted key of the config.
    pub key: &'static str,
    /// How sure that is.
    pub confidence: Confidence,
    /// The largest stable learning rate, for that probe; none if no larger one was unstable.
    pub edge_of_stability: Option<f64>,
    /// What was found, in sentences.
    pub findings: Vec<String>,
}

/// A probe in progress: who runs it and who is told.
pub struct Prober<'a> {
    /// The experiment with its data.
    pub bench: &'a Bench<'a>,
    /// Its name.
    pub name: &'a ExperimentName,
    /// Wishes to stop.
    pub interrupts: &'a Interrupts,
    /// Told of each point as it is measured.
    pub told: &'a mut dyn FnMut(&Point),
}

impl Prober<'_> {
    /// Powers of two sequences a pass, one pass a step, until the memory ends or `most`.
    pub fn batch(&mut self, steps: u64, most: u32) -> Result<Probe, RunError> {
        let mut tried = Vec::new();
        let mut size = 1;
        while size <= most {
            let failed = self.try_setting(&mut tried, steps, f64::from(size), |choices| {
                (choices.training.batch_size, choices.training.micro_batch_size) = (size, 0);
            })?;
            if failed {
                break;
            }
            size *= 2;
        }
        let mut probe = self.probe(Kind::Batch, "training.micro_batch_size", steps, &tried)?;
        let rate = |point: &Point| point.tokens_per_s.unwrap_or(0.0);
        let best = probe.points.iter().map(rate).fold(0.0, f64::max);
        let knee = probe.points.iter().find(|point| best > 0.0 && rate(point) >= KNEE_SHARE * best).cloned();
        let batch = self.bench.experiment().training.batch_size;
        if let Some(knee) = knee {
            // A pass has to divide the batch, which is chosen for the quality of the updates and not here.
            let fitting = (1..=knee.setting as u32).rev().find(|size| batch.is_multiple_of(*size)).unwrap_or(1);
            probe.recommended = Some(f64::from(fitting));
            let at_the_end = probe.points.last().is_some_and(|last| last.setting == knee.setting);
            probe.confidence = if at_the_end { Confidence::AtTheEdge } else { Confidence::Clear };
            probe.findings.push(format!(
                "the knee is at {} sequences per pass: the fewest with at least {:.0} % of the best throughput, {best:.0} \
                 tokens/s",
                knee.setting,
                100.0 * KNEE_SHARE
            ));
            probe.findings.push(format!(
                "a batch of {batch} sequences in passes of {fitting} gives the same updates as any other split, up to \
                 rounding"
            ));
        }
        if let Some(failed) = probe.points.iter().find(|point| point.failure.is_some()) {
            let found =
                format!("{} sequences per pass failed: {}", failed.setting, failed.failure.as_deref().unwrap_or(""));
            probe.findings.push(found);
        }
        Ok(probe)
    }

    /// Rates around the config's, a factor of two apart, `reach` times each way, held constant after a short warm-up.
    pub fn learning_rate(&mut self, steps: u64, reach: i32) -> Result<Probe, RunError> {
        let middle = self.bench.experiment().optimizer.learning_rate;
        let mut tried = Vec::new();
        for power in -reach..=reach {
            let rate = middle * libm::exp2(f64::from(power));
            self.try_setting(&mut tried, steps, rate, |choices| {
                choices.optimizer.learning_rate = rate;
                choices.schedule.warmup_steps = steps / 10;
            })?;
        }
        let mut probe = self.probe(Kind::LearningRate, "optimizer.learning_rate", steps, &tried)?;
        recommend_least_loss(&mut probe, false);
        find_edge_of_stability(&mut probe);
        Ok(probe)
    }

    /// No warm-up, then 10, 100, ... steps, up to a tenth of the planned steps, at the config's rate.
    pub fn warmup(&mut self, steps: u64) -> Result<Probe, RunError> {
        let planned = self.bench.experiment().training.steps;
        let orders = std::iter::successors(Some(10u64), |w| w.checked_mul(10));
        let lengths: Vec<u64> =
            std::iter::once(0).chain(orders.take_while(|&w| w <= planned.div_ceil(10) && 2 * w <= steps)).collect();
        let mut tried = Vec::new();
        for warmup in lengths {
            self.try_setting(&mut tried, steps, warmup as f64, |choices| choices.schedule.warmup_steps = warmup)?;
        }
        let mut probe = self.probe(Kind::Warmup, "schedule.warmup_steps", steps, &tried)?;
        recommend_least_loss(&mut probe, true);
        probe.findings.push(format!(
            "warm-ups longer than half of the probe's {steps} steps or a tenth of the planned {planned} were left out; \
             --steps makes room for more"
        ));
        Ok(probe)
    }

    /// One run without clipping, with the config's rate and warm-up.
    pub fn clip(&mut self, steps: u64) -> Result<Probe, RunError> {
        let experiment = self.bench.experiment();
        let (warmup, clip) = (experiment.schedule.warmup_steps.min(steps / 2), experiment.optimizer.gradient_clip_norm);
        let short = self.bench.run(
            steps,
            |choices| {
                choices.optimizer.gradient_clip_norm = 0.0;
                choices.schedule.warmup_steps = warmup;
            },
            self.interrupts,
        )?;
        self.check_interrupts()?;
        let mut probe = self.probe(Kind::Clip, "optimizer.gradient_clip_norm", steps, &[(0.0, short.clone())])?;
        let point = |line: &harness_core::scores::StepLine| Point {
            setting: line.step as f64,
            tokens_per_s: None,
            peak_memory_bytes: None,
            loss_nats: Some(line.loss_nats),
            loss_standard_error_nats: None,
            largest_loss_nats: None,
            gradient_norm: Some(line.gradient_norm),
            failure: None,
        };
        probe.points = short.steps.iter().map(point).collect();
        // The first steps of any run have norms of their own.
        let settled: Vec<f64> = short
            .steps
            .iter()
            .filter(|line| line.step > warmup.max(steps / 10))
            .map(|line| line.gradient_norm)
            .collect();
        if settled.is_empty() {
            probe.confidence = Confidence::None;
            return Ok(probe);
        }
        let norm = quantile(&settled, CLIP_QUANTILE);
        probe.recommended = Some(norm);
        probe.confidence = if settled.len() >= 50 { Confidence::Clear } else { Confidence::WithinNoise };
        probe.findings.push(format!(
            "norms without clipping, over {} steps after the first: median {:.3}, 90th percentile {norm:.3}, largest \
             {:.3}",
            settled.len(),
            quantile(&settled, 0.5),
            quantile(&settled, 1.0)
        ));
        if clip > 0.0 {
            let clipped = settled.iter().filter(|&&norm| norm > clip).count() as f64 / settled.len() as f64;
            probe.findings.push(format!("the config's {clip} would clip {:.0} % of them", 100.0 * clipped));
            if clipped > 0.5 {
                probe.findings.push(
                    "clipping that often is a lower learning rate in disguise: consider lowering the rate instead"
                        .to_owned(),
                );
            }
        }
        if let Some(failure) = &short.failure {
            probe.findings.push(format!("the run ended early: {}", failure.message));
        }
        Ok(probe)
    }

    /// Tries one setting, tells of it, and says whether it failed. A wish to stop ends the probe.
    fn try_setting(
        &mut self,
        tried: &mut Vec<(f64, ShortRun)>,
        steps: u64,
        setting: f64,
        change: impl FnOnce(&mut Choices),
    ) -> Result<bool, RunError> {
        let short = self.bench.run(steps, change, self.interrupts)?;
        self.check_interrupts()?;
        (self.told)(&point(setting, &short));
        let failed = short.failure.is_some();
        tried.push((setting, short));
        Ok(failed)
    }

    fn check_interrupts(&self) -> Result<(), RunError> {
        if self.interrupts.is_asked() { Err(RunError::Interrupted) } else { Ok(()) }
    }

    fn probe(&self, kind: Kind, key: &'static str, steps: u64, tried: &[(f64, ShortRun)]) -> Result<Probe, RunError> {
        let energy_j = |(_, short): &(f64, ShortRun)| short.closing.as_ref()?.gpu_energy_j;
        let started = tried.iter().find_map(|(_, short)| short.started.as_ref());
        Ok(Probe {
            format: VERSION,
            kind,
            experiment: self.name.clone(),
            at: environment::now().to_string(),
            commit: self.bench.commit()?,
            wall_time_s: tried.iter().map(|(_, short)| short.wall_time_s).sum(),
            energy_j: tried.iter().filter_map(energy_j).reduce(|sum, energy_j| sum + energy_j),
            plan_sha256: self.bench.experiment().plan_digest().to_string(),
            device: started.map_or("none", |started| started.device.as_str()).to_owned(),
            gpus: started.map_or(0, Started::gpus),
            steps,
            points: tried.iter().map(|(setting, short)| point(*setting, short)).collect(),
            recommended: None,
            key,
            confidence: Confidence::None,
            edge_of_stability: None,
            findings: Vec::new(),
        })
    }
}

fn point(setting: f64, short: &ShortRun) -> Point {
    let loss = short.final_loss_nats();
    let largest = |of: fn(&harness_core::scores::StepLine) -> f64| {
        short
            .steps
            .iter()
            .skip(1)
            .map(of)
            .fold(None, |most: Option<f64>, value| Some(most.map_or(value, |m| m.max(value))))
    };
    Point {
        setting,
        tokens_per_s: short.tokens_per_s(),
        peak_memory_bytes: short.peak_memory_bytes(),
        loss_nats: loss.map(|(mean, _)| mean),
        loss_standard_error_nats: loss.map(|(_, error)| error),
        largest_loss_nats: largest(|line| line.loss_nats),
        gradient_norm: largest(|line| line.gradient_norm),
        failure: short.failure.as_ref().map(|failure| failure.kind.clone()),
    }
}

/// A setting as people write it.
pub fn shown(setting: f64) -> String {
    if setting != 0.0 && setting < 0.1 { format!("{setting:.2e}") } else { format!("{setting}") }
}

/// Recommends the setting of least loss; with `least`, the smallest setting that is as good within the noise. A setting at
/// an end of what was tried is recommended only where none inside is as good.
fn recommend_least_loss(probe: &mut Probe, least: bool) {
    let trained: Vec<(f64, f64, f64)> = probe
        .points
        .iter()
        .filter_map(|point| Some((point.setting, point.loss_nats?, point.loss_standard_error_nats?)))
        .filter(|(_, loss, _)| loss.is_finite())
        .collect();
    let Some(best) = trained.iter().min_by(|a, b| a.1.total_cmp(&b.1)).copied() else {
        probe.findings.push("no setting trained to the end".to_owned());
        return;
    };
    // Two standard errors of the difference.
    let as_good = |(_, loss, error): &(f64, f64, f64)| loss - best.1 <= 2.0 * (error * error + best.2 * best.2).sqrt();
    let equals: Vec<(f64, f64, f64)> = trained.iter().filter(|t| as_good(t)).copied().collect();
    let ends = [probe.points.first(), probe.points.last()].map(|end| end.map(|point| point.setting));
    let inside = equals.iter().filter(|t| !ends.contains(&Some(t.0))).min_by(|a, b| a.1.total_cmp(&b.1));
    let chosen = if least { equals[0].0 } else { inside.map_or(best.0, |inside| inside.0) };
    let at_the_edge = !least && inside.is_none();
    probe.recommended = Some(chosen);
    probe.confidence = match (at_the_edge, equals.len()) {
        (true, _) => Confidence::AtTheEdge,
        (false, 1) => Confidence::Clear,
        (false, _) => Confidence::WithinNoise,
    };
    probe.findings.push(format!(
        "least loss {:.3} ± {:.3} nats/token (mean and standard error of the last fifth of the steps) at {}",
        best.1,
        best.2,
        shown(best.0)
    ));
    if equals.len() > 1 {
        let names: Vec<String> = equals.iter().map(|t| shown(t.0)).collect();
        probe.findings.push(format!("as good within two standard errors: {}", names.join(", ")));
    }
    if at_the_edge {
        let end = if ends[0] == Some(chosen) { "smallest" } else { "largest" };
        probe.findings.push(format!("{} is the {end} value tried: a better one may lie beyond it", shown(chosen)));
    }
    probe.findings.push("one seed and a short run: a starting point, not a result".to_owned());
}

/// Says up to which learning rate training was stable: from the best upwards, until one ended far above it.
fn find_edge_of_stability(probe: &mut Probe) {
    let loss = |point: &Point| point.loss_nats.filter(|loss| loss.is_finite());
    let losses = probe.points.iter().enumerate().filter_map(|(at, point)| Some((at, loss(point)?)));
    let Some((best_at, best)) = losses.min_by(|a, b| a.1.total_cmp(&b.1)) else { return };
    let is_stable = |point: &Point| loss(point).is_some_and(|loss| loss < best + UNSTABLE_ABOVE_BEST_NATS);
    let above = &probe.points[best_at..];
    let stable = above.iter().take_while(|point| is_stable(point)).count();
    let edge = above[stable - 1].setting;
    let finding = match above.get(stable) {
        None => format!("none of the rates tried was unstable: the edge of stability lies above {}", shown(edge)),
        Some(unstable) => {
            probe.edge_of_stability = Some(edge);
            format!("the edge of stability: {} still trained, {} did not", shown(edge), shown(unstable.setting))
        }
    };
    probe.findings.push(finding);
    if probe.edge_of_stability.is_some() && probe.edge_of_stability == probe.recommended {
        probe
            .findings
            .push("the recommended rate is the largest stable one: half of it is safer in a longer run".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(losses: &[(f64, f64, f64)]) -> Probe {
        let point = |&(setting, loss, error): &(f64, f64, f64)| Point {
            setting,
            tokens_per_s: None,
            peak_memory_bytes: None,
            loss_nats: loss.is_finite().then_some(loss),
            loss_standard_error_nats: Some(error),
            largest_loss_nats: None,
            gradient_norm: None,
            failure: None,
        };
        Probe {
            format: VERSION,
            kind: Kind::LearningRate,
            experiment: "tiny".parse().unwrap(),
            at: String::new(),
            commit: String::new(),
            wall_time_s: 0.0,
            energy_j: None,
            plan_sha256: String::new(),
            device: "cpu".to_owned(),
            gpus: 0,
            steps: 10,
            points: losses.iter().map(point).collect(),
            recommended: None,
            key: "",
            confidence: Confidence::None,
            edge_of_stability: None,
            findings: Vec::new(),
        }
    }

    fn recommended(losses: &[(f64, f64, f64)], least: bool) -> (Option<f64>, Confidence) {
        let mut probe = probe(losses);
        recommend_least_loss(&mut probe, least);
        (probe.recommended, probe.confidence)
    }

    #[test]
    fn a_recommendation_says_how_sure_it_is() {
        let clear = [(1.0, 4.0, 0.01), (2.0, 3.0, 0.01), (4.0, 3.5, 0.01)];
        assert_eq!(recommended(&clear, false), (Some(2.0), Confidence::Clear));
        let noisy = [(1.0, 3.1, 0.1), (2.0, 3.0, 0.1), (4.0, 3.5, 0.1)];
        assert_eq!(recommended(&noisy, false), (Some(2.0), Confidence::WithinNoise));
        assert_eq!(recommended(&noisy, true), (Some(1.0), Confidence::WithinNoise), "the smallest that is as good");
        let rising = [(1.0, 4.0, 0.01), (2.0, 3.0, 0.01), (4.0, f64::NAN, 0.01)];
        assert_eq!(recommended(&rising, false), (Some(2.0), Confidence::Clear), "divergence bounds it on that side");
        assert_eq!(recommended(&clear[..2], false), (Some(2.0), Confidence::AtTheEdge));
        let flat = [(1.0, 3.02, 0.1), (2.0, 3.01, 0.1), (4.0, 3.0, 0.1)];
        assert_eq!(
            recommended(&flat, false),
            (Some(2.0), Confidence::WithinNoise),
            "as good, and bounded on both sides"
        );
        assert_eq!(recommended(&[(1.0, f64::NAN, 0.0)], false), (None, Confidence::None));
    }

    #[test]
    fn no_finding_of_a_rate_contradicts_another() {
        let found = |losses: &[(f64, f64, f64)]| {
            let mut probe = probe(losses);
            recommend_least_loss(&mut probe, false);
            find_edge_of_stability(&mut probe);
            (probe.edge_of_stability, probe.findings.join("\n"))
        };
        // Nothing was unstable: there is no edge, and the best rate may be a larger one.
        let (edge, text) = found(&[(1.0, 4.0, 0.01), (2.0, 3.5, 0.01), (4.0, 3.0, 0.01)]);
        assert_eq!(edge, None);
        assert!(text.contains("lies above 4") && text.contains("4 is the largest value tried"), "{text}");
        assert!(!text.contains("still trained") && !text.contains("safer"), "{text}");
        // One of the larger rates came through by luck: the edge lies below the first that did not.
        let (edge, text) = found(&[(1.0, 3.0, 0.01), (2.0, 3.2, 0.01), (4.0, 9.0, 0.01), (8.0, 3.9, 0.01)]);
        assert_eq!(edge, Some(2.0));
        assert!(text.contains("2 still trained, 4 did not"), "{text}");
        // Small rates that learned nothing are not unstable.
        let (edge, text) = found(&[(1.0, 7.0, 0.01), (2.0, 5.0, 0.01), (4.0, 3.0, 0.01), (8.0, f64::NAN, 0.01)]);
        assert_eq!(edge, Some(4.0));
        assert!(text.contains("half of it is safer"), "{text}");
    }
}
