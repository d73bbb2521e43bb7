//! `values.json`: every number the paper can ask for, with the text that shows it, and the texts of the records
//! (hypotheses, machine) as data, so that nothing a record holds can become markup. An audit makes it again.

use std::collections::BTreeMap;

use harness_analyse::compare::Verdict;
use harness_analyse::{
    self as analyse, AgainstChance, CompareError, RunAnalysis, Share, TaskResult, TaskSignal, Value, task_signals,
};
use harness_core::Digest;
use harness_core::config::Choices;
use harness_core::names::{Project, RunId};
use harness_record::{Opening, openings};
use harness_study::{Decision, Evidence, StudyError, decide_by};
use serde::Serialize;

use super::claims::{self, Compiled};
use super::differences::Differences;
use super::families::{Entry, Families, is_of_test_side};
use super::model::{Count, Direction, Note, Number, Piece, Quantity, Shown};
use super::plot::headline_tasks;
use super::prose::{self, Segment};

/// Version of `values.json` and of the other data files of a paper.
pub(crate) const VERSION: u32 = 2;

/// Every number that a paper over some runs can show.
#[derive(Debug)]
pub struct Numbers<'a> {
    pub(super) families: Families<'a>,
    pub(super) differences: Differences,
    /// By experiment, where something was registered.
    pub(super) decisions: BTreeMap<String, Decision>,
    /// The claims that sections make.
    pub(super) claims: Vec<Compiled>,
    /// The means that sections ask for.
    pub(super) means: Vec<Mean>,
    /// Every time that a run of the project scored a test side, oldest first.
    pub(super) openings: Vec<Opening>,
    counts: Counts,
    standings: BTreeMap<String, Standings>,
}

/// What the runs say to something that a page shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Backing {
    /// The exact number: of a direction, the difference.
    pub number: f64,
    /// The runs that it rests on, oldest first; empty for counts of the paper.
    pub runs: Vec<String>,
}

impl<'a> Numbers<'a> {
    /// Of these runs, with the differences of these pairs of experiments beside those from each one's reference.
    pub fn of(analyses: &'a [RunAnalysis], pairs: &[(String, String)]) -> Result<Self, CompareError> {
        let families = Families::of(analyses);
        let differences = Differences::of(&families, pairs)?;
        let standings: BTreeMap<String, Standings> =
            families.entries.iter().map(|entry| (entry.name().to_owned(), standings(entry))).collect();
        let counts = Counts::of(&families, &differences, &standings, &[]);
        Ok(Numbers {
            families,
            differences,
            decisions: BTreeMap::new(),
            claims: Vec::new(),
            means: Vec::new(),
            openings: Vec::new(),
            counts,
            standings,
        })
    }

    /// With how often test sides were opened, and with what was decided, over these runs and no others, of each experiment that
    /// registered what it expects: claims, tables and words rest on that.
    pub fn decided(mut self, project: &Project) -> Result<Self, StudyError> {
        self.openings = openings(project)?;
        self.counts = Counts::of(&self.families, &self.differences, &self.standings, &self.openings);
        let expects = |entry: &Entry| entry.runs.iter().any(|run| run.run.experiment.expect.is_some());
        if !self.families.entries.iter().any(expects) {
            return Ok(self);
        }
        let evidence = Evidence::of(project)?;
        let runs = self.families.entries.iter().flat_map(|entry| entry.runs.iter().copied());
        let evidence = evidence.among(runs);
        for entry in &self.families.entries {
            let name = &entry.latest.run.open.experiment;
            // What is not here as a file cannot be decided by it.
            if !expects(entry) || !evidence.experiments().contains_key(name) {
                continue;
            }
            match decide_by(&evidence, name) {
                Ok(decision) => drop(self.decisions.insert(name.to_string(), decision)),
                Err(error) if error.is_undecidable() => {}
                Err(error) => return Err(error),
            }
        }
        self.decisions.values().for_each(|decision| self.differences.register(decision));
        self.counts = Counts::of(&self.families, &self.differences, &self.standings, &self.openings);
        Ok(self)
    }

    /// The how-manieth opening of its text a run is, if it scored a test side.
    pub(super) fn opening(&self, run: &RunId) -> Option<usize> {
        self.openings.iter().find(|opening| opening.run == *run).map(|opening| opening.count)
    }

    /// The counts of the paper (for `None`) or of an experiment, by name.
    pub(super) fn counts(&self, experiment: Option<&str>) -> Option<&BTreeMap<&'static str, Count>> {
        match experiment {
            None => Some(&self.counts.paper),
            Some(name) => self.counts.experiments.get(name),
        }
    }

    /// Whether a page shows what the runs give.
    pub fn check(&self, note: &Note) -> Result<Backing, String> {
        let behind = |experiments: &[&str], key: &str| -> Vec<String> {
            let entries = experiments.iter().filter_map(|name| self.families.entry(name));
            entries.flat_map(|entry| entry.runs_behind(key)).collect()
        };
        let backing = |number: f64, experiments: &[&str], key: &str| Backing { number, runs: behind(experiments, key) };
        match &note.quantity {
            Quantity::Value { experiment, key } => {
                let values = self.families.entry(experiment).map(|entry| &entry.values);
                let found = values.and_then(|values| Some((values, values.get(key)?)));
                let (values, value) = found.ok_or("the runs have no such value")?;
                same(note, &Number::among(values, value))?;
                Ok(backing(value.number, &[experiment], key))
            }
            Quantity::Difference { experiment, minus, key } => {
                let found = self.differences.get(experiment, minus, key);
                let found = found.ok_or("the runs have no such value in common")?;
                same(note, &found.difference)?;
                Ok(backing(found.difference.number, &[experiment, minus], key))
            }
            Quantity::Interval { experiment, minus, key } => {
                let found = self.differences.get(experiment, minus, key);
                let found = found.ok_or("the runs have no such value in common")?;
                let shown = found.shown_interval.as_ref().ok_or("the difference has no interval")?;
                if note.shown != Shown::Text(shown.clone()) {
                    return Err(format!("the runs give `{shown}`, the paper shows `{}`", note.shown));
                }
                Ok(backing(found.difference.number, &[experiment, minus], key))
            }
            Quantity::Direction { experiment, against, key, direction } => {
                let found = self.differences.get(experiment, against, key);
                let found = found.ok_or("the runs have no such value in common")?;
                says(note, *direction, found.direction)?;
                Ok(backing(found.difference.number, &[experiment, against], key))
            }
            Quantity::Standing { experiment, key, than, direction } => {
                let found = self.standings.get(experiment).and_then(|of| of.get(key)?.get(than));
                let found = found.ok_or("these two values are not held against each other")?;
                says(note, *direction, found.direction)?;
                Ok(backing(found.number, &[experiment], key))
            }
            Quantity::Count { count, experiment } => {
                let counts = self.counts(experiment.as_deref());
                let found = counts.and_then(|of| of.get(count.as_str())).ok_or("the runs give no such count")?;
                match &note.shown {
                    Shown::Text(text) if found.is_said_by(text) => {}
                    other => return Err(format!("the count is {}, which `{other}` does not say", found.number)),
                }
                let entry = experiment.as_ref().and_then(|name| self.families.entry(name));
                Ok(Backing { number: found.number as f64, runs: entry.map_or_else(Vec::new, Entry::run_ids) })
            }
            Quantity::Mean { experiments, keys } => {
                let mean = self.mean(experiments, keys)?;
                same(note, &mean)?;
                let of: Vec<&str> = experiments.iter().map(String::as_str).collect();
                let mut runs = Vec::new();
                for run in keys.iter().flat_map(|key| behind(&of, key)) {
                    if !runs.contains(&run) {
                        runs.push(run);
                    }
                }
                Ok(Backing { number: mean.number, runs })
            }
            Quantity::Claim(claim) => said(note, claims::sentence(self, claim)?),
            Quantity::Verdict { experiment } => {
                said(note, claims::verdict(self, experiment).ok_or("nothing was registered of it")?)
            }
        }
    }

    /// The unweighted mean of each key of each experiment; else why there is none.
    pub(super) fn mean(&self, experiments: &[String], keys: &[String]) -> Result<Number, String> {
        let mut values = Vec::new();
        for experiment in experiments {
            let entry =
                self.families.entry(experiment).ok_or_else(|| format!("there is no experiment `{experiment}`"))?;
            for key in keys {
                let value = entry.values.get(key);
                values.push(value.ok_or_else(|| format!("there is no value `{key}` of `{experiment}`"))?);
            }
        }
        let Some(first) = values.first().filter(|_| values.len() > 1) else {
            return Err("a mean is one of two values at least".to_owned());
        };
        if values.iter().any(|value| value.unit != first.unit) {
            return Err("the values of a mean have one unit".to_owned());
        }
        let sum: f64 = values.iter().map(|value| value.number).sum();
        // Its error would have to know how they vary together.
        Ok(Number::value(sum / values.len() as f64, None, first.unit))
    }

    /// `values.json`
    pub(super) fn catalogue(&self) -> Catalogue<'_> {
        let quoted = |entry: &Entry| Quoted {
            title: title_of(entry),
            reference: self.families.reference(entry).map(|e| e.name().to_owned()),
            runs: entry.run_ids(),
            facts: facts(entry.latest),
            prose: prose_of(entry),
            values: listed(entry),
            standings: self.standings[entry.name()].clone(),
            counts: self.counts.experiments[entry.name()].clone(),
            verdict: claims::verdict(self, entry.name())
                .map(|sentence| Told { text: sentence.text(), pieces: sentence.pieces }),
        };
        Catalogue {
            format: VERSION,
            experiments: self.families.entries.iter().map(|e| (e.name().to_owned(), quoted(e))).collect(),
            differences: &self.differences,
            counts: &self.counts.paper,
            claims: &self.claims,
            means: &self.means,
            runs: self.families.entries.iter().flat_map(|e| &e.runs).map(|a| RunIdentity::of(a)).collect(),
        }
    }

    /// The values of each experiment as `values.json` lists them.
    pub fn listed_values(&self) -> BTreeMap<String, BTreeMap<String, Listed>> {
        self.families.entries.iter().map(|entry| (entry.name().to_owned(), listed(entry))).collect()
    }
}

/// Whether a number is shown as the runs give it. The standard error may be left out.
fn same(note: &Note, expected: &Number) -> Result<(), String> {
    if note.shown != expected.shown {
        return Err(format!("the runs give `{}`, the paper shows `{}`", expected.shown, note.shown));
    }
    match (&note.shown_error, &expected.shown_error) {
        (Some(shown), Some(error)) if shown != error => {
            Err(format!("the standard error is `{error}`, the paper shows `{shown}`"))
        }
        (Some(shown), None) => Err(format!("there is no standard error, the paper shows `{shown}`")),
        _ => Ok(()),
    }
}

/// Whether a sentence is the one that the runs give.
fn said(note: &Note, sentence: claims::Sentence) -> Result<Backing, String> {
    let text = sentence.text();
    match &note.shown {
        Shown::Text(shown) if *shown == text => Ok(sentence.backing),
        shown => Err(format!("the runs give `{text}`, the paper says `{shown}`")),
    }
}

/// Whether words say what the test gives. A template may have words of its own, but not those of another direction.
fn says(note: &Note, said: Direction, found: Direction) -> Result<(), String> {
    let worded = match &note.shown {
        Shown::Text(text) => Direction::said_by(text),
        Shown::PowerOfTen { .. } => None,
    };
    match worded.filter(|worded| *worded != found).or_else(|| (said != found).then_some(said)) {
        None => Ok(()),
        Some(other) => Err(format!("it is {} it, the paper says {}", found.words(), other.words())),
    }
}

/// A value as it is listed in `values.json`.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct Listed {
    /// The number with what a page may show of it.
    #[serde(flatten)]
    pub number: Number,
    /// Files of each run that it was computed from.
    pub files: Vec<String>,
    /// The runs that it rests on, where those are not the experiment's: later evaluations, for the test side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
}

fn listed(entry: &Entry) -> BTreeMap<String, Listed> {
    let listed = |value: &Value| {
        let runs = if is_of_test_side(&value.key) { entry.runs_behind(&value.key) } else { Vec::new() };
        Listed { number: Number::among(&entry.values, value), files: value.files.clone(), runs }
    };
    entry.values.iter().map(|(key, value)| (key.clone(), listed(value))).collect()
}

/// `values.json`
#[derive(Debug, Serialize)]
pub(super) struct Catalogue<'a> {
    format: u32,
    experiments: BTreeMap<String, Quoted>,
    differences: &'a Differences,
    counts: &'a BTreeMap<&'static str, Count>,
    claims: &'a [Compiled],
    means: &'a [Mean],
    runs: Vec<RunIdentity>,
}

/// What is quoted of an experiment.
#[derive(Debug, Serialize)]
struct Quoted {
    title: String,
    reference: Option<String>,
    runs: Vec<String>,
    facts: BTreeMap<&'static str, String>,
    prose: BTreeMap<&'static str, Vec<Segment>>,
    values: BTreeMap<String, Listed>,
    standings: Standings,
    counts: BTreeMap<&'static str, Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Told>,
}

/// A sentence as a page shows it.
#[derive(Debug, Serialize)]
struct Told {
    text: String,
    pieces: Vec<Piece>,
}

/// A mean that a section asks for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Mean {
    pub experiments: Vec<String>,
    pub keys: Vec<String>,
    #[serde(flatten)]
    pub mean: Number,
}

/// A run as the paper names it.
#[derive(Debug, Serialize)]
struct RunIdentity {
    experiment: String,
    run: String,
    root: Digest,
    commit: String,
    data_root: Digest,
    plan: Digest,
    seed: u64,
    opened_at: String,
    ended_at: String,
    status: &'static str,
}

impl RunIdentity {
    fn of(analysis: &RunAnalysis) -> Self {
        let (open, record) = (&analysis.run.open, &analysis.run.record);
        RunIdentity {
            experiment: open.experiment.to_string(),
            run: open.run.to_string(),
            root: analysis.run.root,
            commit: open.code.commit.clone(),
            data_root: open.data.root,
            plan: open.plan.plan_sha256,
            seed: open.plan.seed,
            opened_at: open.opened_at.clone(),
            ended_at: record.ended_at.clone(),
            status: record.status.word(),
        }
    }
}

/// The key of the accuracy that is quoted for a task.
pub(super) fn accuracy_key(task: &TaskResult) -> String {
    analyse::accuracy_key(&task.id, task.metric)
}

/// Where values of an experiment stand to numbers without an error: by key, then by the key of the other.
type Standings = BTreeMap<String, BTreeMap<String, Standing>>;

/// Where a value stands to a number that has no error of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Standing {
    /// The value minus the number.
    number: f64,
    direction: Direction,
    /// [`Direction::words`]
    words: &'static str,
}

/// Beyond this many standard errors a loss is told from a number (95 %, normal approximation).
const DECIDED: f64 = 1.96;

/// Bits per byte against simpler models of the same text, and accuracies against guessing.
fn standings(entry: &Entry) -> Standings {
    const BITS: &str = "validation.bits_per_byte";
    let models = entry.latest.run.corpus.baselines.iter();
    let bits = models.map(|model| (BITS.to_owned(), format!("data.{}_bits_per_byte", model.model)));
    let tasks = headline_tasks(entry.latest).into_iter();
    let accuracies = tasks.map(|task| (accuracy_key(task), format!("tasks.{}.chance", task.id)));
    let mut standings = Standings::new();
    for (key, than) in bits.chain(accuracies) {
        let (Some(value), Some(other)) = (entry.values.get(&key), entry.values.get(&than)) else { continue };
        let number = value.number - other.number;
        let of_task = |name: &str| entry.values.get(&format!("{}.{name}", than.strip_suffix(".chance")?));
        let direction = match (value.standard_error, of_task("items")) {
            (None, _) => Direction::NotTested,
            // What was not answered counts as wrong, which says nothing against guessing.
            (_, Some(_)) if of_task("unanswered").is_some() => Direction::NotTested,
            (Some(standard_error), Some(items)) => {
                let share = Share { mean: value.number, standard_error };
                match share.against_chance(items.number as u64, other.number) {
                    AgainstChance::Above => Direction::Higher,
                    AgainstChance::Below => Direction::Lower,
                    AgainstChance::NotToldApart => Direction::NotDistinguishable,
                }
            }
            (Some(error), None) if number.abs() <= DECIDED * error => Direction::NotDistinguishable,
            (Some(_), None) if number < 0.0 => Direction::Lower,
            (Some(_), None) => Direction::Higher,
        };
        let standing = Standing { number, direction, words: direction.words() };
        standings.entry(key).or_default().insert(than, standing);
    }
    standings
}

/// Counts by name: of the whole paper, and of each experiment.
#[derive(Debug, Default)]
struct Counts {
    paper: BTreeMap<&'static str, Count>,
    experiments: BTreeMap<String, BTreeMap<&'static str, Count>>,
}

impl Counts {
    fn of(
        families: &Families,
        differences: &Differences,
        standings: &BTreeMap<String, Standings>,
        openings: &[Opening],
    ) -> Self {
        let mut corpora: Vec<_> = families.entries.iter().map(|e| e.latest.run.open.data.root).collect();
        corpora.sort_unstable();
        corpora.dedup();
        let mut counts = Counts::default();
        for (name, count) in [
            ("experiments", families.entries.len()),
            ("runs", families.entries.iter().map(|e| e.runs.len()).sum()),
            ("corpora", corpora.len()),
            ("test-side-openings", openings_of(families, openings)),
        ] {
            counts.paper.insert(name, Count::of(count as u64));
        }
        for entry in &families.entries {
            let own = counts.experiments.entry(entry.name().to_owned()).or_default();
            let mut add = |name: &'static str, count: usize| own.insert(name, Count::of(count as u64));
            let headline = headline_tasks(entry.latest);
            let family = families.family_of(entry.name());
            let seeds = family.iter().map(|member| member.seeds.len());
            add("runs", entry.runs.len());
            add("runs-before-hypothesis", entry.runs_before_hypothesis());
            add("seeds", entry.seeds.len());
            add("tested-seeds", entry.tested.len());
            add("fewest-seeds", seeds.clone().min().unwrap_or(0));
            add("most-seeds", seeds.max().unwrap_or(0));
            add("tasks", headline.len());
            add("all-tasks", entry.latest.tasks.len());
            add("sources", entry.latest.run.corpus.sources.len());
            let chance = |task: &&TaskResult| {
                let of = standings.get(entry.name())?.get(&accuracy_key(task))?;
                Some(of.get(&format!("tasks.{}.chance", task.id))?.direction)
            };
            let stands = |wanted: Direction| headline.iter().filter(|task| chance(task) == Some(wanted)).count();
            add("tasks-above-chance", stands(Direction::Higher));
            add("tasks-below-chance", stands(Direction::Lower));
            add("tasks-at-chance", stands(Direction::NotDistinguishable));
            if let Some([known, told]) = told_apart(families, entry) {
                add("tasks-with-signal", known);
                add("tasks-told-apart", told);
            }
            add("family", family.len());
            add("changes", family.len() - 1);
            if entry.reference.is_some() {
                let verdict = |task: &&TaskResult| differences.verdict(families, entry, &accuracy_key(task));
                let verdicts: Vec<Option<Verdict>> = headline.iter().map(verdict).collect();
                let of = |wanted: Verdict| verdicts.iter().filter(|found| **found == Some(wanted)).count();
                let (better, worse, different) = (of(Verdict::Better), of(Verdict::Worse), of(Verdict::ModelsDiffer));
                add("tasks-better", better);
                add("tasks-worse", worse);
                add("tasks-different", different);
                add("tasks-undecided", verdicts.len() - better - worse - different);
            }
        }
        counts
    }
}

/// How often the test sides that the paper's numbers are of had been opened when the last of those was measured, by whichever run of
/// the project.
pub(super) fn openings_of(families: &Families, openings: &[Opening]) -> usize {
    let mut by_text: BTreeMap<&[Digest], usize> = BTreeMap::new();
    for run in families.entries.iter().flat_map(|entry| &entry.tested) {
        if let Some(opening) = openings.iter().find(|opening| opening.run == run.run.open.run) {
            let count = by_text.entry(&opening.data_sha256).or_default();
            *count = opening.count.max(*count);
        }
    }
    by_text.values().sum()
}

/// Of how many headline tasks it is known how far their accuracy tells the experiments of a family apart, and how many do; none
/// unless two of its experiments have two seeds.
pub(super) fn told_apart(families: &Families, entry: &Entry) -> Option<[usize; 2]> {
    let family = families.family_of(entry.name());
    let experiments: Vec<Vec<&RunAnalysis>> = family.iter().map(|member| member.seeds.clone()).collect();
    let of_accuracy = |task: &TaskResult| task_signals(entry.latest, task, &experiments).into_iter().next();
    let tasks = headline_tasks(entry.latest).into_iter();
    let known: Vec<TaskSignal> = tasks.filter_map(of_accuracy).filter(|signal| signal.ratio.is_some()).collect();
    (!known.is_empty()).then(|| [known.len(), known.iter().filter(|signal| signal.tells_apart).count()])
}

/// The texts of an experiment as pieces, by field.
pub(super) fn prose_of(entry: &Entry) -> BTreeMap<&'static str, Vec<Segment>> {
    let texts = texts_of(&entry.latest.run.experiment);
    texts.into_iter().map(|(name, text)| (name, prose::segments(text))).collect()
}

/// What an experiment says of itself, by the key of its config.
pub(super) fn texts_of(config: &Choices) -> [(&'static str, &str); 4] {
    [
        ("title", &config.title),
        ("question", &config.question),
        ("hypothesis", &config.hypothesis),
        ("rationale", &config.rationale),
    ]
}

/// Facts of a run that are not numbers, by name.
pub(super) fn facts(analysis: &RunAnalysis) -> BTreeMap<&'static str, String> {
    let (open, record) = (&analysis.run.open, &analysis.run.record);
    let mut facts = BTreeMap::from([
        ("corpus", open.data.corpus.clone()),
        ("commit", open.code.commit.clone()),
        ("cpu", open.host.cpu.clone()),
        ("os", open.host.os.clone()),
        ("order", open.plan.order.clone()),
        ("harness-version", open.binaries.harness_version.clone()),
        ("rustc", open.binaries.rustc.clone()),
        ("date", open.opened_at.chars().take(10).collect()),
    ]);
    let corpus = &analysis.run.corpus;
    for (name, text) in [
        ("corpus-title", &corpus.title),
        ("corpus-description", &corpus.description),
        ("corpus-language", &corpus.language),
        ("corpus-licence", &corpus.licence),
        ("corpus-citation", &corpus.citation),
        ("corpus-limitations", &corpus.limitations),
        ("split-rule", &corpus.split_rule),
    ] {
        // What a recipe leaves empty is no fact. The full stop is the sentence's in which it is shown.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = text.trim_end_matches('.');
        if !text.is_empty() {
            facts.insert(name, text.to_owned());
        }
    }
    if let Some(started) = &record.started {
        let gpu = started.about.gpus.first().filter(|_| started.device.starts_with("cuda"));
        facts.insert("device", gpu.map_or_else(|| open.host.cpu.clone(), |gpu| gpu.name.clone()));
        facts.insert("device-kind", if gpu.is_some() { "GPU".into() } else { "CPU".into() });
        facts.insert("libtorch", started.about.libtorch.clone());
        facts.insert("dtype", started.determinism.compute_dtype.clone());
        facts.insert("threads", started.determinism.intra_op_threads.to_string());
    }
    facts
}

/// The title of an experiment, or its name.
pub(super) fn title_of(entry: &Entry) -> String {
    let title = entry.latest.run.experiment.title.trim();
    if title.is_empty() { entry.name().to_owned() } else { title.to_owned() }
}
