//! What is worth doing now: suggestions from records, proposals, noise and findings, the one that is worth most for its cost
//! first.
//!
//! The rank is worth over time. The worth of a suggestion is how likely it changes what is done afterwards, from 0 to 1: the
//! constants below, times the power of the design where seeds are to be run, times what is left of the checklist where it is
//! a finding. The time is that of the machine, everything included that has to run before it says something, and a quarter of an
//! hour of a person. What the budget does not pay for comes last. Nothing here is chance: the same records give the same list.
//!
//! Two things are worth less than they would be by themselves. A tree of experiments of which none was ever run, in a project that runs
//! others, is laid aside, whatever would be held against its root. And what a change was adopted over is history once others are built on the
//! change, as is what was rejected: the one to tune is what comes next is built on.

use std::collections::BTreeSet;

use harness_analyse::diagnose::{Outcome, ranked as by_worth};
use harness_analyse::{Finding, RunAnalysis, diagnose};
use harness_core::config::library::{self, Card, Wishes};
use harness_core::config::{Expectation, Loaded, Phase};
use harness_core::files;
use harness_core::names::ExperimentName;
use harness_record::SealedRun;
use harness_record::format::{Purpose, Status, file};
use harness_statistics::distribution::{normal_cdf, normal_quantile};
use harness_statistics::power::POWER;
use serde::Serialize;

use crate::StudyError;
use crate::adoption::{self, Adoption};
use crate::checks::findings;
use crate::decide::{Action, Decision, Verdict, decide_by};
use crate::design::Design;
use crate::evidence::Evidence;
use crate::ledger::{Ledger, Spent, State, phase_of};
use crate::points::Opened;
use crate::seeds::{derived, plan_but_seed_and_measured_steps};
use crate::trials::Survey;

/// Version of the JSON form.
pub const FORMAT: u32 = 2;
/// What reading a suggestion and acting on it takes of a person, in hours.
const ATTENTION_H: f64 = 0.25;
/// Taken for a run of which nothing here says how long it goes on, in hours.
const UNKNOWN_H: f64 = 1.0;
/// Fewer seeds of a baseline say hardly more of its noise than an order of magnitude.
const NOISE_SEEDS: usize = 3;
/// Of the worth that is left in a tree of experiments that was laid aside.
const LAID_ASIDE: f64 = 0.1;
/// Findings of a run that are suggestions.
const FINDINGS: usize = 3;
/// Changes of the library that are suggested for a finding.
const CHANGES: usize = 2;
/// Seeds a side of a change that is proposed.
const PROPOSED_SEEDS: u32 = 3;
/// Key of the rate that `harness probe lr` looks for.
const LEARNING_RATE: &str = "optimizer.learning_rate";
/// Short runs of `harness probe lr` and their steps, if nothing else is asked for.
const PROBED_STEPS: f64 = 7.0 * 60.0;

/// What a suggestion comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A baseline without a run: nothing can be said before it.
    FirstRun,
    /// A run that was interrupted: most of it is paid.
    Resume,
    /// Runs that wait in the queue while nobody works it off.
    Queue,
    /// A proposal that is decided, and of which nobody has written down what becomes of it.
    Decided,
    /// A study whose trials are all done, and that nobody has closed.
    StudyDone,
    /// Registered seeds without a run.
    MissingSeeds,
    /// A baseline with too few seeds to know its noise.
    Noise,
    /// A learning rate that nobody has probed.
    Probe,
    /// Trials of a study that are left to be run.
    Trials,
    /// A change that was never run.
    Untried,
    /// A config that no run follows any more.
    Stale,
    /// A run that failed, and none after it that completed.
    Failed,
    /// A proposal that its seeds left undecided.
    Undecided,
    /// A change of the library that may answer what was found, and that nobody has proposed.
    Change,
    /// A check of `diagnose` that found something.
    Finding,
    /// Runs that the paper does not show.
    Paper,
}

impl Kind {
    /// How likely it changes what is done afterwards, where nothing more is known.
    fn worth(self) -> f64 {
        match self {
            Kind::FirstRun | Kind::Decided | Kind::StudyDone => 1.0,
            Kind::Resume | Kind::Queue | Kind::MissingSeeds => 0.9,
            Kind::Noise => 0.8,
            Kind::Probe | Kind::Trials | Kind::Untried | Kind::Failed => 0.5,
            Kind::Change => 0.4,
            Kind::Stale | Kind::Undecided | Kind::Finding => 0.3,
            Kind::Paper => 0.2,
        }
    }
}

/// The smallest difference that is found in four of five studies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Smallest {
    /// Key of the metric.
    pub metric: String,
    /// In its unit.
    pub difference: f64,
    /// Seeds a side.
    pub seeds: usize,
}

/// Something that could be done now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// What it comes from.
    pub kind: Kind,
    /// What to do.
    pub what: String,
    /// Why.
    pub why: String,
    /// The words after `harness`.
    pub command: Vec<String>,
    /// What it takes of the machine; null where no run says.
    pub cost: Option<Spent>,
    /// With all that has to run besides, before it says something.
    pub whole_cost: Option<Spent>,
    /// On what it is spent.
    pub phase: Phase,
    /// What it can show, where that is a difference.
    pub smallest_detectable: Option<Smallest>,
    /// How likely it changes what is done afterwards.
    pub worth: f64,
}

/// A suggestion in its place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ranked {
    /// The suggestion.
    #[serde(flatten)]
    pub suggestion: Suggestion,
    /// Worth for an hour.
    pub score: f64,
    /// Whether the budget pays for it.
    pub affordable: bool,
}

/// Puts first what is worth most for its time, and last what cannot be paid. Of suggestions with one command the first stays.
pub fn ranked(suggestions: Vec<Suggestion>, can_be_paid: impl Fn(&Suggestion) -> bool) -> Vec<Ranked> {
    let place = |suggestion: Suggestion| {
        let hours = suggestion.whole_cost.map_or(UNKNOWN_H, |cost| cost.time_s() / 3600.0);
        let score = suggestion.worth / (hours + ATTENTION_H);
        Ranked { affordable: can_be_paid(&suggestion), score, suggestion }
    };
    let mut ranked: Vec<Ranked> = suggestions.into_iter().map(place).collect();
    ranked.sort_by(|a, b| {
        let by_score = b.affordable.cmp(&a.affordable).then(b.score.total_cmp(&a.score));
        let key = |ranked: &Ranked| (ranked.suggestion.kind, ranked.suggestion.command.clone());
        by_score.then_with(|| key(a).cmp(&key(b)))
    });
    let mut commands: Vec<Vec<String>> = Vec::new();
    ranked.retain(|ranked| {
        let is_new = !commands.contains(&ranked.suggestion.command);
        commands.push(ranked.suggestion.command.clone());
        is_new
    });
    ranked
}

/// A run that waits in the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queued {
    /// Of which experiment.
    pub experiment: ExperimentName,
    /// What it is for.
    pub purpose: Purpose,
    /// Its seed.
    pub seed: u64,
    /// What it takes, where a run here says.
    pub cost: Option<Spent>,
}

/// Where suggestions are looked for.
pub struct Search<'a> {
    /// Experiments and runs.
    pub evidence: &'a Evidence<'a>,
    /// What was spent.
    pub ledger: &'a Ledger,
    /// What a run of an experiment takes, where a run here says.
    pub cost: &'a dyn Fn(&Loaded) -> Option<Spent>,
    /// Runs that wait in the queue: they are not suggested again.
    pub queued: &'a [Queued],
    /// Whether somebody works the queue off.
    pub is_worked_off: bool,
    /// Whether the paper that was built shows other runs than those that count; false where none was built.
    pub paper_is_stale: bool,
}

impl Search<'_> {
    /// Everything that there is to suggest.
    pub fn suggestions(&self) -> Result<Vec<Suggestion>, StudyError> {
        let mut all = Vec::new();
        let experiments = self.evidence.experiments();
        let changes = |name: &ExperimentName| changes_of(self.evidence, name);
        let has_runs = self.ledger.entries.iter().any(|entry| !entry.is_probe);
        if !self.queued.is_empty() && !self.is_worked_off {
            let what = format!("work the queue off: {} wait in it", self.queued.len());
            let why = "nobody does, and they were wanted".to_owned();
            let costs: Option<Vec<Spent>> = self.queued.iter().map(|queued| queued.cost).collect();
            let cost = costs.map(|costs| costs.into_iter().sum());
            all.push(Suggestion { cost, whole_cost: cost, ..free(Kind::Queue, what, why, &["queue", "start"]) });
        }
        // What is an experiment already is no suggestion, and a card that cannot be read is told by `harness library`.
        let untaken = library::names(self.evidence.project)?.into_iter().filter(|name| !experiments.contains_key(name));
        let library: Vec<(ExperimentName, Card)> =
            untaken.filter_map(|name| Some((name.clone(), Card::load(self.evidence.project, &name).ok()?))).collect();
        let left_behind = left_behind(self.evidence)?;
        let in_use: BTreeSet<&ExperimentName> = experiments
            .keys()
            .filter(|name| self.was_run(name))
            .filter_map(|name| root_of(self.evidence, name))
            .collect();
        for (name, loaded) in experiments {
            let before = all.len();
            let runs = self.evidence.counted(name)?;
            let is_root = loaded.experiment.extends.is_none();
            let is_queued = self.queued.iter().any(|queued| queued.experiment == *name);
            let was_run = self.was_run(name);
            let unfinished = self.unfinished(name, loaded)?;
            let is_open = unfinished.is_some();
            all.extend(unfinished);
            if loaded.experiment.expect.is_some() && loaded.experiment.seeds > 0 {
                all.extend(self.proposal(name, loaded)?);
            } else if !was_run && (changes(name) > 0 || is_root && !has_runs) {
                let why = match changes(name) {
                    0 => "nothing has been run yet".to_owned(),
                    1 => "a change is held against it".to_owned(),
                    count => format!("{count} changes are held against it"),
                };
                all.push(self.run(Kind::FirstRun, format!("run `{name}`"), why, name, loaded));
            } else if !was_run && !is_root {
                let why = "nobody knows what this change does".to_owned();
                all.push(self.run(Kind::Untried, format!("run `{name}`, which was never run"), why, name, loaded));
            } else if !is_open && !runs.is_empty() && !is_queued && !is_as_configured(&runs, loaded) {
                let why = "its config was changed after its runs: no run is of what it says now".to_owned();
                all.push(self.run(Kind::Stale, format!("run `{name}` as it is now"), why, name, loaded));
            }
            all.extend(self.study(name, loaded)?);
            if is_baseline(self.evidence, name) && !runs.is_empty() {
                all.extend(self.noise(name, loaded, runs.len())?);
                if !left_behind.contains(name) {
                    all.extend(self.tuning(name, loaded, runs.last(), &library)?);
                }
            }
            if !in_use.is_empty() && root_of(self.evidence, name).is_some_and(|root| !in_use.contains(root)) {
                for suggestion in &mut all[before..] {
                    suggestion.worth *= LAID_ASIDE;
                    suggestion
                        .why
                        .push_str("; nothing that goes back to the same root was ever run, and other experiments were");
                }
            }
        }
        if self.paper_is_stale {
            let what = "build the paper again".to_owned();
            let why = "it does not show the runs that count now".to_owned();
            all.push(free(Kind::Paper, what, why, &["report"]));
        }
        Ok(all)
    }

    /// Whether an experiment has a run, or one that waits in the queue.
    fn was_run(&self, name: &ExperimentName) -> bool {
        let has_run = self.ledger.entries.iter().any(|entry| !entry.is_probe && entry.experiment == *name);
        has_run || self.queued.iter().any(|queued| queued.experiment == *name)
    }

    /// A run with the seed of the config.
    fn run(&self, kind: Kind, what: String, why: String, name: &ExperimentName, loaded: &Loaded) -> Suggestion {
        let cost = (self.cost)(loaded);
        let phase = phase_of(Purpose::Explore, loaded.experiment.extends.is_some());
        Suggestion { cost, whole_cost: cost, phase, ..free(kind, what, why, &["run", name.as_str()]) }
    }

    /// What became of the latest run, if it did not complete.
    fn unfinished(&self, name: &ExperimentName, loaded: &Loaded) -> Result<Option<Suggestion>, StudyError> {
        let own = |entry: &&crate::ledger::Entry| {
            let trained = !entry.is_probe && entry.phase != Phase::Evaluate;
            trained && entry.experiment == *name && !entry.is_deleted && !entry.is_dropped
        };
        let Some(latest) = self.ledger.entries.iter().rfind(own) else { return Ok(None) };
        if !matches!(latest.state, State::Interrupted | State::Failed) {
            return Ok(None);
        }
        let Ok(run) = latest.name.parse() else { return Ok(None) };
        let project = self.evidence.project;
        let run = SealedRun::open(project, name, &run)?;
        if run.open.plan.study.is_some() {
            // A trial is its study's to go on with.
            return Ok(None);
        }
        let pruned = run.record.retention.as_ref().map_or(&[][..], |retention| &retention.pruned);
        let kept = run
            .record
            .checkpoints
            .iter()
            .rfind(|c| !pruned.contains(&c.step) && files::is_file(&run.path(&c.file.path)));
        let is_of_this =
            plan_but_seed_and_measured_steps(&run.experiment) == plan_but_seed_and_measured_steps(&loaded.experiment);
        if let (Status::Interrupted, Some(checkpoint), true) = (run.record.status, kept, is_of_this) {
            let (step, steps) = (checkpoint.step, run.experiment.training.steps);
            let left = 1.0 - step as f64 / steps as f64;
            let cost = (self.cost)(loaded).map(|cost| cost.times(left));
            let what = format!("finish the run of `{name}` that was interrupted");
            let why = format!("{:.0} % of it are done, and its checkpoint is here", 100.0 * (1.0 - left));
            let resume = free(Kind::Resume, what, why, &["run", name.as_str(), "--resume"]);
            return Ok(Some(Suggestion { cost, whole_cost: cost, phase: latest.phase, ..resume }));
        }
        let reason = match &run.record.failure {
            Some(failure) => failure.message.lines().next().unwrap_or_default().to_owned(),
            None => "it was interrupted, and cannot be gone on with".to_owned(),
        };
        let what = format!("look at the latest run of `{name}`, which did not complete");
        let log = run.folder().join(file::TRAINER_OUTPUT);
        let log = log.strip_prefix(project.root()).unwrap_or(&log).display().to_string();
        let why = format!("{reason}; {log} has what the trainer said");
        Ok(Some(free(Kind::Failed, what, why, &["runs", name.as_str()])))
    }

    /// What a proposal still lacks.
    fn proposal(&self, name: &ExperimentName, loaded: &Loaded) -> Result<Vec<Suggestion>, StudyError> {
        let (Some(expect), Some(against)) = (&loaded.experiment.expect, loaded.experiment.against()) else {
            return Ok(Vec::new());
        };
        let Ok(baseline) = self.evidence.experiment(against) else { return Ok(Vec::new()) };
        if Adoption::of(self.evidence.project, name)?.is_some() {
            return Ok(Vec::new());
        }
        let decision = match decide_by(self.evidence, name) {
            // What it expects was written after its runs: by these nothing is decided.
            Err(error) if error.is_undecidable() => return Ok(Vec::new()),
            decision => decision?,
        };
        let registered = &decision.proposal;
        let (wanted, looks) = (registered.seeds as usize, registered.looks());
        if decision.verdict == Verdict::Deviated || decision.completed >= wanted || decision.action != Action::Hold {
            return self.undecided(name, &decision, [loaded, &baseline]);
        }
        let target = looks.iter().copied().find(|&look| look > decision.completed).unwrap_or(wanted);
        let seeds = derived(self.evidence.project, Purpose::Confirm, target as u64)?;
        let design = Design::of(self.evidence, name)?;
        let smallest = design.smallest(target);
        let worth = Kind::MissingSeeds.worth() * power(expect, smallest);
        let sides = [(against, &baseline), (name, loaded)];
        let mut costs = Vec::new();
        for (side, config) in sides {
            let missing = self.missing(side, &seeds)?;
            let cost = if missing == 0 { Some(Spent::default()) } else { (self.cost)(config) };
            costs.push((missing, cost.map(|each| each.times(missing as f64))));
        }
        let whole_cost = costs[0].1.zip(costs[1].1).map(|(one, other)| one + other);
        let mut suggestions = Vec::new();
        for ((side, _), (missing, cost)) in sides.into_iter().zip(costs) {
            if missing == 0 {
                continue;
            }
            let (count, size) = (target.to_string(), expect.size(Some(&format!("`{against}`"))));
            let what = format!("run `{side}` with {missing} of the {target} registered seeds");
            let why = format!(
                "`{name}` expects {} {size}, and {} of {target} seeds are there on both sides",
                expect.metric, decision.completed
            );
            let command = ["seeds", side.as_str(), "--seeds", &count];
            suggestions.push(Suggestion {
                cost,
                whole_cost,
                phase: Phase::Confirm,
                worth,
                smallest_detectable: smallest.map(|difference| Smallest {
                    metric: expect.metric.clone(),
                    difference,
                    seeds: target,
                }),
                ..free(Kind::MissingSeeds, what, why, &command)
            });
        }
        Ok(suggestions)
    }

    /// What the study of an experiment still lacks. One that cannot be read is told by `harness study`.
    fn study(&self, name: &ExperimentName, loaded: &Loaded) -> Result<Option<Suggestion>, StudyError> {
        let project = self.evidence.project;
        if !files::is_file(&project.study(name)) || files::is_file(&project.study_close(name)) {
            return Ok(None);
        }
        let Ok(study) = Opened::of(project, name) else { return Ok(None) };
        let survey = Survey::of(project, &study)?;
        let (all, left) = (survey.trials.len(), survey.missing().count());
        if left > 0 {
            let is_queued = |queued: &Queued| queued.experiment == *name && queued.purpose == Purpose::Tune;
            if self.queued.iter().any(is_queued) {
                return Ok(None);
            }
            let cost = (self.cost)(loaded).map(|each| each.times(left as f64));
            let what = format!("run the {left} trials of the study of `{name}` that are left");
            let why = match all - left {
                0 => study.study.goal.clone(),
                done => {
                    format!("{done} of {all} are done, and before the others are it says nothing: {}", study.study.goal)
                }
            };
            let run = free(Kind::Trials, what, why, &["study", "run", name.as_str()]);
            return Ok(Some(Suggestion { cost, whole_cost: cost, phase: Phase::Tune, ..run }));
        }
        let suggestion = match findings(&study, &survey.trials).as_slice() {
            [] => {
                let what = format!("close the study of `{name}`, and take over what it found");
                let why = format!("all its {all} trials are done, and nothing speaks against believing them");
                free(Kind::StudyDone, what, why, &["study", "close", name.as_str()])
            }
            [first, ..] => {
                let what = format!("look at what speaks against believing the study of `{name}`, then close it");
                let why = format!("all its {all} trials are done; {}: {}", first.check, first.text);
                free(Kind::StudyDone, what, why, &["study", "show", name.as_str()])
            }
        };
        Ok(Some(suggestion))
    }

    /// How many of these seeds to confirm no run has, nor will have by the queue.
    fn missing(&self, name: &ExperimentName, seeds: &[u64]) -> Result<usize, StudyError> {
        let missing = self.evidence.seeded(name, Purpose::Confirm)?.missing(seeds);
        let is_queued = |seed: &&u64| {
            let is_it =
                |queued: &Queued| (&queued.experiment, queued.purpose, queued.seed) == (name, Purpose::Confirm, **seed);
            self.queued.iter().any(is_it)
        };
        Ok(missing.iter().filter(|seed| !is_queued(seed)).count())
    }

    /// What becomes of a proposal whose seeds are all there, or decide it early.
    fn undecided(
        &self,
        name: &ExperimentName,
        decision: &Decision,
        sides: [&Loaded; 2],
    ) -> Result<Vec<Suggestion>, StudyError> {
        let Some(estimate) = &decision.estimate else { return Ok(Vec::new()) };
        if decision.verdict == Verdict::Deviated {
            return Ok(Vec::new());
        }
        if decision.action != Action::Hold {
            let (verb, over) = (decision.action.word().to_lowercase(), decision.against.as_str());
            let what = format!("{verb} `{name}`, and commit what is written");
            let why = format!("its {} seeds say {}", decision.seeds.len(), decision.verdict.word());
            let reject: &[&str] = if decision.action == Action::Reject { &["--reject"] } else { &[] };
            let command = [&["adopt", name.as_str(), "--over", over], reject].concat();
            return Ok(vec![free(Kind::Decided, what, why, &command)]);
        }
        let needed = estimate.seeds_needed;
        let what = match needed {
            Some(seeds) => format!("propose `{name}` anew, under another name with `seeds = {seeds}`, or leave it"),
            None => format!("leave `{name}`, or expect a larger effect of a new proposal"),
        };
        let why = format!(
            "its {} seeds leave it undecided ({}): {}",
            decision.seeds.len(),
            decision.verdict.word(),
            decision.because.first().map_or("the data allow both", String::as_str)
        );
        let each = |side: &Loaded| (self.cost)(side);
        let whole = needed.and_then(|seeds| Some((each(sides[0])? + each(sides[1])?).times(seeds as f64)));
        Ok(vec![Suggestion { whole_cost: whole, ..free(Kind::Undecided, what, why, &["decide", name.as_str()]) }])
    }

    /// More seeds of a baseline that has too few.
    fn noise(&self, name: &ExperimentName, loaded: &Loaded, there: usize) -> Result<Option<Suggestion>, StudyError> {
        if there >= NOISE_SEEDS {
            return Ok(None);
        }
        let seeds = derived(self.evidence.project, Purpose::Confirm, NOISE_SEEDS as u64)?;
        let missing = self.missing(name, &seeds)?;
        if missing == 0 {
            return Ok(None);
        }
        let cost = (self.cost)(loaded).map(|each| each.times(missing as f64));
        let what = format!("run `{name}` with {NOISE_SEEDS} seeds");
        let why = format!(
            "how far seeds lie apart says which differences can be seen, and {} of `{name}`",
            if there == 1 { "1 run counts".to_owned() } else { format!("{there} runs count") }
        );
        let count = NOISE_SEEDS.to_string();
        let seeds = free(Kind::Noise, what, why, &["seeds", name.as_str(), "--seeds", &count]);
        Ok(Some(Suggestion { cost, whole_cost: cost, phase: Phase::Confirm, ..seeds }))
    }

    /// What the latest run of a baseline asks for: a learning rate that was probed, and a look at what is found.
    fn tuning(
        &self,
        name: &ExperimentName,
        loaded: &Loaded,
        latest: Option<&SealedRun>,
        library: &[(ExperimentName, Card)],
    ) -> Result<Vec<Suggestion>, StudyError> {
        let Some(latest) = latest else { return Ok(Vec::new()) };
        let probed = files::list(&self.evidence.project.probes(name))?;
        let is_probed = |kind: &str| probed.iter().any(|file| file.starts_with(&format!("{kind}-")));
        let probe = |kind: &str, what: String, why: String| {
            let steps = latest.experiment.training.steps as f64;
            let cost = (self.cost)(loaded).map(|cost| cost.times(PROBED_STEPS / steps));
            let probe = free(Kind::Probe, what, why, &["probe", kind, name.as_str()]);
            Suggestion { cost, whole_cost: cost, phase: Phase::Tune, ..probe }
        };
        let mut suggestions = Vec::new();
        if !is_probed("lr") && !self.rate_was_studied(name, loaded) {
            let why = "no other setting costs or gains as much, and nobody has probed it".to_owned();
            suggestions.push(probe("lr", format!("probe the learning rate of `{name}`"), why));
        }
        let analysis = RunAnalysis::of(latest.clone())?;
        let findings = by_worth(diagnose(&analysis));
        let found: Vec<Finding> =
            findings.into_iter().filter(|finding| finding.outcome == Outcome::Found).take(FINDINGS).collect();
        for (place, finding) in found.into_iter().enumerate() {
            let subject = finding.subject.as_ref().map_or(String::new(), |subject| format!(" of {subject}"));
            let why = format!("{}{subject}: {}", finding.check, finding.statement);
            let kind = match finding.check {
                "clipping" => "clip",
                "warm_up" => "warmup",
                _ => "",
            };
            if !kind.is_empty() && !is_probed(kind) {
                suggestions.push(probe(kind, format!("probe what was found in `{name}`"), why));
                continue;
            }
            for change in self.changes(name, loaded, (&finding, &why), library)? {
                // One change may answer two findings; the first is worth more.
                if !suggestions.iter().any(|other| other.command[..2] == change.command[..2]) {
                    suggestions.push(Suggestion { worth: change.worth / (1 + place) as f64, ..change });
                }
            }
            let what = match finding.changes.first() {
                Some(change) => {
                    format!("look at the latest run of `{name}`, then perhaps: {} ({})", change.what, change.price())
                }
                None => format!("look at the latest run of `{name}`"),
            };
            let look = free(Kind::Finding, what, why, &["plot", finding.figure, latest.open.run.as_str()]);
            suggestions.push(Suggestion { worth: look.worth / (1 + place) as f64, ..look });
        }
        Ok(suggestions)
    }
}

impl Search<'_> {
    /// Whether a study that was closed has tuned the learning rate of the same optimizer, at the same batch, in the tree of an experiment.
    fn rate_was_studied(&self, name: &ExperimentName, loaded: &Loaded) -> bool {
        let project = self.evidence.project;
        let own = (loaded.experiment.optimizer.kind, loaded.experiment.training.batch_size);
        let tunes_it = |other: &ExperimentName| {
            let Ok(study) = Opened::of(project, other) else { return false };
            let is_rate = |key: &str| key == LEARNING_RATE;
            let varied = study.study.scientific.iter().any(|parameter| is_rate(&parameter.key))
                || study.study.nuisance.iter().any(|parameter| is_rate(&parameter.key));
            varied && (study.base.optimizer.kind, study.base.training.batch_size) == own
        };
        let root = root_of(self.evidence, name);
        let mut of_tree = self.evidence.experiments().keys().filter(|other| root_of(self.evidence, other) == root);
        of_tree.any(|other| files::is_file(&project.study_close(other)) && tunes_it(other))
    }

    /// Changes of the library that may answer a finding: those that fit over the experiment and do not undo what it has.
    fn changes(
        &self,
        name: &ExperimentName,
        loaded: &Loaded,
        (finding, why): (&Finding, &str),
        library: &[(ExperimentName, Card)],
    ) -> Result<Vec<Suggestion>, StudyError> {
        let project = self.evidence.project;
        let wishes = Wishes { seeds: PROPOSED_SEEDS, at_least: None, findings: Vec::new() };
        let mut suggestions = Vec::new();
        for (change, card) in library {
            let fits =
                || card.propose(change, change, project, loaded, &wishes).is_ok_and(|it| it.conflicts.is_empty());
            if !card.answers.iter().any(|check| check == finding.check) || !fits() {
                continue;
            }
            let what = format!("propose `{change}` over `{name}`: {}", card.question);
            let why = format!("{why}; reported of it: {}", card.claim);
            let words = ["propose", change.as_str(), "--over", name.as_str(), "--because", finding.check, "--seeds"]
                .map(str::to_owned);
            let command = words.into_iter().chain([PROPOSED_SEEDS.to_string()]).collect();
            let there = self.evidence.seeded(name, Purpose::Confirm)?;
            let lacking = f64::from(PROPOSED_SEEDS) - there.completed.len() as f64;
            let runs = f64::from(PROPOSED_SEEDS) + lacking.max(0.0);
            let whole_cost = (self.cost)(loaded).map(|cost| cost.times(runs));
            suggestions.push(Suggestion {
                command,
                whole_cost,
                phase: Phase::Confirm,
                ..free(Kind::Change, what, why, &[])
            });
            if suggestions.len() == CHANGES {
                break;
            }
        }
        Ok(suggestions)
    }
}

/// The experiment that one goes back to by what each extends; none where that cannot be followed.
fn root_of<'a>(evidence: &'a Evidence, name: &'a ExperimentName) -> Option<&'a ExperimentName> {
    let experiments = evidence.experiments();
    let mut root = name;
    // No more steps than there are experiments: a circle is no config, but this does not rely on it.
    for _ in 0..experiments.len() {
        match experiments.get(root)?.experiment.extends.as_ref() {
            Some(parent) => root = parent,
            None => return Some(root),
        }
    }
    None
}

/// The experiments on which nothing is built any more: those over which a change was adopted that others are built on, and those that
/// were rejected.
fn left_behind(evidence: &Evidence) -> Result<BTreeSet<ExperimentName>, StudyError> {
    let mut left = BTreeSet::new();
    for name in evidence.experiments().keys() {
        let Some(decided) = Adoption::of(evidence.project, name)? else { continue };
        match decided.outcome {
            adoption::Outcome::Rejected => drop(left.insert(name.clone())),
            adoption::Outcome::Adopted if changes_of(evidence, name) > 0 => drop(left.insert(decided.over)),
            adoption::Outcome::Adopted => {}
        }
    }
    Ok(left)
}

/// How many experiments are held against one, or extend it.
fn changes_of(evidence: &Evidence, name: &ExperimentName) -> usize {
    let is_of =
        |other: &&Loaded| other.experiment.extends.as_ref() == Some(name) || other.experiment.against() == Some(name);
    evidence.experiments().values().filter(is_of).count()
}

/// Whether others are held against an experiment, or could be: it extends none, or something extends it.
pub fn is_baseline(evidence: &Evidence, name: &ExperimentName) -> bool {
    let extends_none = |loaded: &Loaded| loaded.experiment.extends.is_none();
    evidence.experiments().get(name).is_some_and(extends_none) || changes_of(evidence, name) > 0
}

/// Whether the latest run that counts is of the config as it is now.
fn is_as_configured(runs: &[SealedRun], loaded: &Loaded) -> bool {
    let now = plan_but_seed_and_measured_steps(&loaded.experiment);
    runs.last().is_some_and(|run| plan_but_seed_and_measured_steps(&run.experiment) == now)
}

/// The chance that what is expected is found, if it is there: the normal law through the smallest difference that is found four
/// times in five. Even odds where nothing is known of the noise.
fn power(expect: &Expectation, smallest: Option<f64>) -> f64 {
    let Some(smallest) = smallest else { return 0.5 };
    let critical = normal_quantile(0.975);
    normal_cdf((critical + normal_quantile(POWER)) * expect.at_least / smallest - critical)
}

/// A suggestion that takes no machine time.
fn free(kind: Kind, what: String, why: String, command: &[&str]) -> Suggestion {
    Suggestion {
        kind,
        what,
        why,
        command: command.iter().map(|&word| word.to_owned()).collect(),
        cost: Some(Spent::default()),
        whole_cost: Some(Spent::default()),
        phase: Phase::Explore,
        smallest_detectable: None,
        worth: kind.worth(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::config::Direction;

    fn suggestion(kind: Kind, command: &str, hours: Option<f64>) -> Suggestion {
        let cost = hours.map(|hours| Spent { cpu_time_s: 3600.0 * hours, ..Spent::default() });
        Suggestion { cost, whole_cost: cost, ..free(kind, String::new(), String::new(), &[command]) }
    }

    fn order(ranked: &[Ranked]) -> Vec<&str> {
        ranked.iter().map(|ranked| &*ranked.suggestion.command[0]).collect()
    }

    #[test]
    fn what_is_worth_most_for_its_time_comes_first_and_what_cannot_be_paid_last() {
        let all = vec![
            suggestion(Kind::MissingSeeds, "seeds", Some(3.0)),
            suggestion(Kind::Resume, "resume", Some(0.5)),
            suggestion(Kind::Finding, "plot", Some(0.0)),
            suggestion(Kind::FirstRun, "run", None),
            suggestion(Kind::Noise, "noise", Some(0.75)),
        ];
        let place = ranked(all.clone(), |_| true);
        // 0.3 / 0.25, 0.9 / 0.75, 0.8 / 1, 1 / 1.25, 0.9 / 3.25; of equal scores the kind that is named first
        assert_eq!(order(&place), ["resume", "plot", "run", "noise", "seeds"]);
        assert!((place[0].score - 1.2).abs() < 1e-12 && (place[4].score - 0.9 / 3.25).abs() < 1e-12);
        let mut reversed = all.clone();
        reversed.reverse();
        assert_eq!(ranked(reversed, |_| true), place, "the order that they come in says nothing");
        let poor = ranked(all, |suggestion| suggestion.cost.is_some_and(|cost| cost.cpu_time_s < 2000.0));
        assert_eq!(order(&poor), ["resume", "plot", "run", "noise", "seeds"]);
        assert_eq!(poor.iter().filter(|ranked| ranked.affordable).count(), 2);
    }

    #[test]
    fn one_command_is_suggested_once() {
        let twice = vec![suggestion(Kind::Noise, "same", Some(0.1)), suggestion(Kind::MissingSeeds, "same", Some(0.1))];
        let place = ranked(twice, |_| true);
        assert_eq!((place.len(), place[0].suggestion.kind), (1, Kind::MissingSeeds));
    }

    #[test]
    fn seeds_are_worth_what_their_power_is() {
        let expect =
            |at_least| Expectation { metric: "m".to_owned(), direction: Direction::Lower, at_least, against: None };
        assert!((power(&expect(1.0), Some(1.0)) - 0.8).abs() < 1e-9, "what is found four times in five");
        assert!(power(&expect(0.1), Some(1.0)) < 0.06 && power(&expect(3.0), Some(1.0)) > 0.99);
        assert_eq!(power(&expect(1.0), None), 0.5);
    }
}
