//! All experiments on one page: a single HTML file that opens from disk, without server or network.
//!
//! Comes in: analysed runs, and what is known of those that cannot be analysed. Goes out: the text of the page, which
//! is `templates/dashboard.html` with the data in its place. The page draws and sorts; every number is computed here.

mod curve;
mod spending;

use std::collections::BTreeMap;

use harness_core::Digest;
use harness_core::names::{ExperimentName, RunId};
use serde::Serialize;

use harness_analyse::{
    CurvePoint, Finding, Likelihood, RunAnalysis, TaskResult, diagnose, diagnose::Outcome, diagnose_seeds,
};
use harness_figure::{Progress, css_look};
use harness_report::plot::{headline_tasks, progress_of_steps, task_title, title_in_group, title_of_task};

pub use curve::{Curve, short};
pub use spending::{Limit, Part, Spending};

/// Version of the data in the page.
pub const FORMAT: u32 = 2;
/// What stands in the template where the data go.
const PLACE: &str = "<script id=\"data\" type=\"application/json\">null</script>";
/// Points over all curves of training; with more runs each has fewer, so that the page stays small.
const POINTS: usize = 40_000;

/// What the page shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// [`FORMAT`]
    pub format: u32,
    /// What stands before the path of a run folder to make a link of it: from the page to the project.
    pub project: String,
    /// Every experiment, in the order of its look.
    pub experiments: Vec<Experiment>,
    /// Every run, oldest first.
    pub runs: Vec<Run>,
    /// What was spent, and the limits.
    pub budget: Spending,
}

/// An experiment and its look.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Experiment {
    /// Its name.
    pub name: String,
    /// Its title, or empty.
    pub title: String,
    /// What it claims, or empty.
    pub hypothesis: String,
    /// What `notes.md` in its folder says, or empty.
    pub notes: String,
    /// What it extends.
    pub extends: Option<String>,
    /// Its colour, `#0072b2`.
    pub color: String,
    /// Lengths of ink and gap in turn, in pixels; empty for a whole line.
    pub dash: Vec<u32>,
    /// What its latest plan came to; none without a run that the paper may use.
    pub latest_plan: Option<LatestPlan>,
    /// How far the seeds of its latest plan lie apart; none with one seed.
    pub seed_noise: Option<Found>,
}

/// The runs of one plan, which differ in their seeds alone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatestPlan {
    /// How many seeds.
    pub seeds: usize,
    /// Validation bits per byte at the end, the mean over the seeds.
    pub bits_per_byte: f64,
}

impl Experiment {
    /// An experiment with the look of the figures.
    pub fn new(name: String, title: String, hypothesis: String, extends: Option<String>, look: usize) -> Self {
        let (color, dash) = css_look(look);
        let (notes, latest_plan, seed_noise) = (String::new(), None, None);
        Experiment { name, title, hypothesis, notes, extends, color, dash, latest_plan, seed_noise }
    }
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Run {
    /// Its id.
    pub run: String,
    /// The experiment.
    pub experiment: String,
    /// `completed`, `interrupted`, `failed`, `open`, `changed`, or `other version` of the record.
    pub state: String,
    /// Why the paper cannot use it.
    pub not_citable_because: Option<String>,
    /// The run whose checkpoints it evaluates, if it did not train: the page shows its scores beside those of that run.
    pub evaluates: Option<String>,
    /// What was computed from it, where it is sealed.
    #[serde(flatten)]
    pub results: Option<Results>,
}

/// What was computed from a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Results {
    /// Digest of its MANIFEST.
    pub root: Digest,
    /// Commit of the code.
    pub commit: String,
    /// Its seed.
    pub seed: u64,
    /// Numbers of the table, by key.
    pub values: BTreeMap<&'static str, f64>,
    /// Accuracy on each headline task.
    pub tasks: Vec<Task>,
    /// Tasks of documents.
    pub documents: Vec<Documents>,
    /// Training, thinned.
    pub curve: Curve,
    /// Evaluations: bits per byte.
    pub validation: Vec<Evaluated>,
    /// Training FLOPs for each token.
    pub flops_per_token: f64,
    /// What a diagnosis found.
    pub findings: Vec<Found>,
}

/// A value at an evaluation: step, tokens, value.
pub type Evaluated = (u64, u64, f64);

/// The accuracy on a task or a group of tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Task {
    /// Its title.
    pub title: String,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Accuracy from 0 to 1.
    pub mean: f64,
    /// Its standard error over items.
    pub standard_error: f64,
    /// Accuracy at each evaluation; of a task of a group left to the figures.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<Evaluated>,
    /// Bits per byte of the right answers, and their probability among the choices, at each evaluation; likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gold_bits_per_byte: Vec<Evaluated>,
    /// See there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gold_probability: Vec<Evaluated>,
    /// The tasks of a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Task>,
}

/// The loss on the documents of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Documents {
    /// Its title.
    pub title: String,
    /// Bits per byte at each evaluation.
    pub curve: Vec<Evaluated>,
}

/// One finding of a diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The check.
    pub check: &'static str,
    /// The task it is about.
    pub subject: Option<String>,
    /// What was seen.
    pub statement: String,
    /// The numbers behind it.
    pub evidence: Vec<String>,
    /// The kind of figure that shows it.
    pub figure: &'static str,
    /// What could be changed, and what that costs.
    pub changes: Vec<String>,
}

impl From<&Finding> for Found {
    fn from(finding: &Finding) -> Self {
        Found {
            check: finding.check,
            subject: finding.subject.clone(),
            statement: finding.statement.clone(),
            evidence: finding.evidence.iter().map(|e| format!("{} {}", e.name, e.shown())).collect(),
            figure: finding.figure,
            changes: finding.changes.iter().map(|c| format!("{} ({})", c.what, c.price())).collect(),
        }
    }
}

/// How many points the training curve of each of so many runs has.
pub fn points_for(runs: usize) -> usize {
    (POINTS / runs.max(1)).clamp(100, 2000)
}

impl Run {
    /// A run that cannot be analysed.
    pub fn unread(experiment: &ExperimentName, run: &RunId, state: &str, evaluates: Option<RunId>) -> Self {
        Run {
            run: run.to_string(),
            experiment: experiment.to_string(),
            state: state.to_owned(),
            evaluates: evaluates.map(|run| run.to_string()),
            ..Run::default()
        }
    }

    /// An analysed run with about `points` points in its training curve.
    pub fn of(analysis: &RunAnalysis, points: usize) -> Self {
        const SHOWN: [&str; 8] = [
            "validation.bits_per_byte",
            "training.loss",
            "training.steps",
            "training.tokens",
            "training.flops",
            "model.parameters",
            "resources.wall_time_s",
            "resources.tokens_per_s",
        ];
        let (open, record) = (&analysis.run.open, &analysis.run.record);
        let value = |key: &str| analysis.values.get(key).map(|v| v.number);
        let task = |task: &TaskResult| {
            let members = analysis.tasks.iter().filter(|member| member.group.as_ref() == Some(&task.id));
            let likelihood = |score: Likelihood| {
                analysis.likelihood_curves.get(&score.key(&task.id)).map(|curve| evaluated(curve)).unwrap_or_default()
            };
            Task {
                gold_bits_per_byte: likelihood(Likelihood::GoldBitsPerByte),
                gold_probability: likelihood(Likelihood::GoldProbability),
                curve: analysis.task_curves.get(&task.id).map(|curve| evaluated(curve)).unwrap_or_default(),
                members: members.map(|member| score(member, title_in_group(member))).collect(),
                ..score(task, title_of_task(task))
            }
        };
        let documents =
            |(id, curve): (&String, &Vec<CurvePoint>)| Documents { title: task_title(id), curve: evaluated(curve) };
        // The rows of an evaluation are those of the run that trained, which shows them.
        let trained = open.evaluates.is_none();
        let steps = if trained { &analysis.steps[..] } else { &[] };
        let found = if trained { diagnose(analysis) } else { Vec::new() };
        let results = Results {
            root: analysis.run.root,
            commit: open.code.commit.clone(),
            seed: open.plan.seed,
            values: SHOWN.iter().filter_map(|key| Some((*key, value(key)?))).collect(),
            tasks: headline_tasks(analysis).into_iter().map(task).collect(),
            curve: Curve::of(steps, &progress_of_steps(analysis, Progress::WallTime), points),
            documents: analysis.document_curves.iter().map(documents).collect(),
            validation: evaluated(&analysis.validation_curve),
            flops_per_token: value("model.training_flops_per_token").unwrap_or(0.0),
            findings: found.iter().filter(|f| f.outcome == Outcome::Found).map(Found::from).collect(),
        };
        Run {
            run: open.run.to_string(),
            experiment: open.experiment.to_string(),
            state: record.status.word().to_owned(),
            not_citable_because: open.not_citable_because.clone(),
            evaluates: open.evaluates.as_ref().map(|evaluated| evaluated.run.to_string()),
            results: Some(results),
        }
    }
}

fn evaluated(curve: &[CurvePoint]) -> Vec<Evaluated> {
    curve.iter().map(|p| (p.step, p.tokens, short(p.value))).collect()
}

fn score(task: &TaskResult, title: String) -> Task {
    let share = task.quoted_accuracy();
    let (mean, standard_error) = (short(share.mean), short(share.standard_error));
    Task { title, chance: task.chance, mean, standard_error, ..Task::default() }
}

/// What the runs of one plan came to; nothing if there is none, or if one of them has no finite bits per byte.
pub fn latest_plan(seeds: &[RunAnalysis]) -> Option<LatestPlan> {
    let bits = |run: &RunAnalysis| run.values.get("validation.bits_per_byte").map(|value| value.number);
    let bits: Vec<f64> = seeds.iter().map(bits).collect::<Option<_>>()?;
    let mean = bits.iter().sum::<f64>() / bits.len() as f64;
    mean.is_finite().then_some(LatestPlan { seeds: bits.len(), bits_per_byte: mean })
}

/// How far the runs of one plan lie apart; `None` with one seed.
pub fn seed_noise(seeds: &[RunAnalysis]) -> Option<Found> {
    (seeds.len() > 1).then(|| Found::from(&diagnose_seeds(seeds)))
}

/// The template has no place for the data.
#[derive(Debug, thiserror::Error)]
#[error("the template of the dashboard has no line `{PLACE}`\nhint: take templates/dashboard.html from the repository")]
pub struct NoPlace;

/// The page: the template with the data in their place.
pub fn page(template: &str, data: &Data) -> Result<String, NoPlace> {
    let (before, after) = template.split_once(PLACE).ok_or(NoPlace)?;
    let json = serde_json::to_string(data).expect("plain data is JSON");
    Ok(format!("{before}<script id=\"data\" type=\"application/json\">{}</script>{after}", inert(&json)))
}

/// JSON that no reader of HTML takes for anything else: outside strings JSON has none of these characters, and within
/// them an escape means the same.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn data(name: &str) -> Data {
        let experiment = Experiment::new(name.to_owned(), name.to_owned(), name.to_owned(), Some(name.to_owned()), 1);
        let run = Run { run: name.to_owned(), experiment: name.to_owned(), state: name.to_owned(), ..Run::default() };
        let budget = Spending::default();
        Data { format: FORMAT, project: name.to_owned(), experiments: vec![experiment], runs: vec![run], budget }
    }

    /// What a browser hands to the page's script: the text up to the first end of a script.
    fn read_back(page: &str) -> serde_json::Value {
        let inside = page.split("<script id=\"data\" type=\"application/json\">").nth(1).unwrap();
        serde_json::from_str(inside.split("</script").next().unwrap()).unwrap()
    }

    #[test]
    fn names_cannot_leave_the_data() {
        let template = format!("<html>{PLACE}<p>end</p></html>");
        for name in ["</script><script>alert(1)</script>", "<!--<script>", "]]>", "a\"b'c\\", "\u{2028}&lt;/script&gt;"]
        {
            let page = page(&template, &data(name)).unwrap();
            assert_eq!(page.matches("</script").count(), 1, "{page}");
            assert!(!page.contains("<!--") && page.ends_with("<p>end</p></html>"));
            assert_eq!(read_back(&page)["runs"][0]["run"], name);
        }
    }

    proptest! {
        #[test]
        fn any_name_comes_back_as_it_was(name: String) {
            let page = page(PLACE, &data(&name)).unwrap();
            prop_assert_eq!(page.matches('<').count(), 2);
            prop_assert_eq!(&read_back(&page)["experiments"][0]["title"], name.as_str());
        }
    }

    #[test]
    fn the_template_has_one_place_for_the_data_and_asks_nothing_of_the_network() {
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../templates/dashboard.html"));
        let template = harness_core::files::read_to_string(path).unwrap();
        assert_eq!(template.matches(PLACE).count(), 1);
        for call in ["http://", "https://", "fetch(", "XMLHttpRequest", "innerHTML", "insertAdjacentHTML", "eval("] {
            assert!(!template.contains(call), "templates/dashboard.html contains {call}");
        }
        assert!(template.contains("Content-Security-Policy"));
    }
}
