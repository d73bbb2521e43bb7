//! The way back from what the paper shows to the data it came from, each link with its digest.

use std::collections::BTreeMap;
use std::path::Path;

use harness_analyse::RunAnalysis;
use harness_core::config::nearest;
use harness_core::names::Project;
use harness_record::format::file;
use harness_record::{self as record, SealedRun};
use harness_report::model::Bound;
use serde::Serialize;

use super::{AuditError, first_line, paper};

/// One link of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// What kind of thing it is.
    pub kind: &'static str,
    /// Its name or path.
    pub name: String,
    /// Its digest or id.
    pub digest: String,
}

/// A number and everything behind it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// The experiment.
    pub experiment: String,
    /// The run.
    pub run: String,
    /// The key.
    pub key: String,
    /// The exact number, computed again; none where a figure shows the run.
    pub number: Option<f64>,
    /// As a page shows it.
    pub shown: String,
    /// Pages of the paper that show it.
    pub pages: Vec<u64>,
    /// From the files of the run to the sources of the data.
    pub chain: Vec<Link>,
}

/// What is looked for in the paper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything that a page shows, from 1.
    Page(u64),
    /// A number as it is printed, an id of the proof (`n17`), what it is (`baseline:training.loss`), or a figure by its file.
    Named(String),
}

/// Something that the paper shows, with the way back from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Traced {
    /// Its id in the paper's proof; of a figure its file.
    pub id: String,
    /// What it is: values, and how they are put together.
    pub what: String,
    /// What stands on the page; of a figure, what it shows in words.
    pub shown: String,
    /// The page; none for a figure.
    pub page: Option<u64>,
    /// For each run that it rests on, and each value of it.
    pub traces: Vec<Trace>,
    /// Runs that could not be followed, and why.
    pub broken: Vec<String>,
}

/// Follows what the paper shows. Each run that it rests on is held against its seal, and each value is computed again.
pub fn in_paper(project: &Project, pdf: &Path, wanted: &Wanted) -> Result<Vec<Traced>, AuditError> {
    let bound = paper::bound(pdf)?;
    let figures = harness_report::figures_of(pdf).unwrap_or_default();
    let is_wanted = |bound: &Bound| match wanted {
        Wanted::Page(page) => bound.note.page == *page,
        Wanted::Named(name) => names_of(bound).iter().any(|own| own == &printed(name)),
    };
    let mut way = Way { project, analyses: BTreeMap::new() };
    let mut traced: Vec<Traced> = bound.iter().filter(|b| is_wanted(b)).map(|b| way.of_bound(b)).collect();
    if let Wanted::Named(name) = wanted {
        let of_name =
            figures.iter().filter(|figure| figure.file.trim_end_matches(".svg") == name.trim_end_matches(".svg"));
        traced.extend(of_name.map(|figure| way.of_figure(figure)));
    }
    if !traced.is_empty() {
        return Ok(traced);
    }
    Err(AuditError::UnknownValue(match wanted {
        Wanted::Page(page) => {
            let last = bound.iter().map(|b| b.note.page).max().unwrap_or(0);
            format!("page {page} of the paper shows no bound number\nhint: the last page that does is page {last}")
        }
        Wanted::Named(name) => {
            let files = figures.iter().map(|figure| figure.file.clone());
            let known: Vec<String> = bound.iter().flat_map(names_of).chain(files).collect();
            let near = nearest(&printed(name), &known).map_or(String::new(), |near| format!("did you mean `{near}`? "));
            format!(
                "the paper shows no bound number or figure `{name}`\n\
                 hint: {near}`harness trace --page N` lists all of a page"
            )
        }
    }))
}

/// A number as the paper prints it: with a true minus sign.
fn printed(name: &str) -> String {
    match name.strip_prefix('-') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => format!("\u{2212}{rest}"),
        _ => name.to_owned(),
    }
}

/// The names that something in the paper answers to.
fn names_of(bound: &Bound) -> Vec<String> {
    let shown = [bound.note.shown.to_string(), bound.note.shown.in_one_piece().to_owned()];
    let mut names = vec![bound.id.clone(), bound.note.quantity.to_string()];
    names.extend(shown);
    names
}

/// The way back, with every run read once.
struct Way<'a> {
    project: &'a Project,
    analyses: BTreeMap<String, Result<RunAnalysis, String>>,
}

impl Way<'_> {
    fn analysis(&mut self, run: &str) -> &Result<RunAnalysis, String> {
        let project = self.project;
        self.analyses.entry(run.to_owned()).or_insert_with(|| {
            let sealed = record::choose(project, run).map_err(|e| format!("run {run}: {}", first_line(&e)))?;
            RunAnalysis::of(sealed).map_err(|e| format!("run {run}: {}", first_line(&e)))
        })
    }

    fn of_bound(&mut self, bound: &Bound) -> Traced {
        let (mut traces, mut broken) = (Vec::new(), Vec::new());
        for run in &bound.runs {
            let followed = self.analysis(run).as_ref().map_err(Clone::clone).and_then(|analysis| {
                let follow =
                    |key: &str| of_analysis(analysis, key).map_err(|e| format!("run {run}: {}", first_line(&e)));
                bound.note.quantity.keys().into_iter().map(follow).collect::<Result<Vec<_>, _>>()
            });
            match followed {
                Ok(followed) => traces.extend(followed),
                Err(why) => broken.push(why),
            }
        }
        let at = |trace: Trace| Trace { pages: vec![bound.note.page], ..trace };
        Traced {
            id: bound.id.clone(),
            what: bound.note.quantity.to_string(),
            shown: bound.note.shown.to_string(),
            page: Some(bound.note.page),
            traces: traces.into_iter().map(at).collect(),
            broken,
        }
    }

    fn of_figure(&mut self, figure: &harness_report::ListedFigure) -> Traced {
        let (mut traces, mut broken) = (Vec::new(), Vec::new());
        for run in &figure.runs {
            match self.analysis(run) {
                Ok(analysis) => traces.push(Trace {
                    experiment: analysis.run.open.experiment.to_string(),
                    run: run.clone(),
                    key: figure.figure.kind.clone(),
                    number: None,
                    shown: String::new(),
                    pages: Vec::new(),
                    chain: chain(&analysis.run, &[]),
                }),
                Err(why) => broken.push(why.clone()),
            }
        }
        let (id, what) = (figure.file.clone(), format!("figure {}", figure.figure));
        Traced { id, what, shown: figure.alt.clone(), page: None, traces, broken }
    }
}

/// Traces one value of a run.
pub fn trace(run: SealedRun, key: &str) -> Result<Trace, AuditError> {
    let analysis = RunAnalysis::of(run).map_err(|e| AuditError::UnknownValue(e.to_string()))?;
    of_analysis(&analysis, key)
}

pub(super) fn of_analysis(analysis: &RunAnalysis, key: &str) -> Result<Trace, AuditError> {
    let run = &analysis.run;
    let value = analysis.value(key).map_err(|near| {
        let hint = near.map_or(String::new(), |n| format!("did you mean `{n}`? "));
        AuditError::UnknownValue(format!(
            "run `{}` of `{}` has no value `{key}`\nhint: {hint}`harness show {} --values` lists them",
            run.open.run, run.open.experiment, run.open.experiment
        ))
    })?;
    Ok(Trace {
        experiment: run.open.experiment.to_string(),
        run: run.open.run.to_string(),
        key: key.to_owned(),
        number: Some(value.number),
        shown: value.shown(),
        pages: Vec::new(),
        chain: chain(run, &value.files),
    })
}

fn chain(run: &SealedRun, value_files: &[String]) -> Vec<Link> {
    let open = &run.open;
    let link = |kind, name: &str, digest: String| Link { kind, name: name.to_owned(), digest };
    let mut chain = Vec::new();
    for path in value_files {
        let digest = harness_core::Digest::of_file(&run.path(path)).map_or_else(|e| e.to_string(), |d| d.to_string());
        chain.push(link("rows", path, digest));
    }
    chain.push(link("seal", file::MANIFEST, run.root.to_string()));
    // Of several the latest first, as the way back leads.
    for segment in open.resumed_from.iter().flat_map(|from| from.segments.iter().rev()) {
        let name = format!("{}/{}", segment.experiment.as_ref().unwrap_or(&open.experiment), segment.run);
        chain.push(link("earlier", &name, segment.root.to_string()));
    }
    chain.push(link("commit", open.code.branch.as_deref().unwrap_or("detached"), open.code.commit.clone()));
    for planned in &open.plan.files {
        chain.push(link("plan", &planned.path, planned.sha256.to_string()));
    }
    chain.push(link("programs", "harness", open.binaries.harness_sha256.to_string()));
    chain.push(link("programs", "harness-trainer", open.binaries.trainer_sha256.to_string()));
    chain.push(link("tokenizer", &open.data.tokenizer, open.data.tokenizer_sha256.to_string()));
    for shard in &open.data.shards {
        chain.push(link("shard", &shard.path, shard.sha256.to_string()));
    }
    let tasks = open.tasks.iter().filter(|task| value_files.iter().any(|f| f.ends_with(&format!("/{}.csv", task.id))));
    for task in tasks {
        task.data_sha256.iter().for_each(|data| chain.push(link("task data", &task.id, data.to_string())));
        chain.push(link("requests", &task.requests, task.requests_sha256.to_string()));
    }
    chain.push(link("corpus", &open.data.corpus, open.data.root.to_string()));
    for source in &run.corpus.sources {
        chain.push(link("source", source.url.as_deref().unwrap_or(&source.name), source.sha256.to_string()));
    }
    chain
}
