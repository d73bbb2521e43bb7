//! What a run was made from: the commit, the config at that commit, the sources of the programs, the shards,
//! tokenizer and tasks.

use std::path::Path;

use harness_core::config::{BudgetError, Checked, ConfigError, Table, load_recorded, load_study, parse_resolved};
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, is_inside};
use harness_core::project_file::ProjectFile;
use harness_core::task_kind::TEST_SIDE;
use harness_core::{Digest, files};

use super::{Audit, Check, Outcome, Subject, first_line};
use harness_analyse::all_measured;
use harness_record::format::{Continuation, Open, PlanFile, Record, file, read_open};
use harness_record::git::{Git, GitError, Held, is_same_text};
use harness_record::{Checkpoints, SealedRun, verify};
use harness_study::points;

pub(super) fn check(
    project: &Project,
    git: &Git,
    open: &Open,
    experiment: &ExperimentName,
    subject: &Subject,
    audit: &mut Audit,
) {
    code(git, open, &project.run(experiment, &open.run), subject, audit);
    data(project, open, &project.run(experiment, &open.run), subject, audit);
    lineage(project, open, experiment, subject, audit);
}

fn code(git: &Git, open: &Open, folder: &Path, subject: &Subject, audit: &mut Audit) {
    let commit = &open.code.commit;
    let what = format!("commit {}", short(commit));
    match git.tree_of(commit) {
        Ok(tree) if tree == open.code.tree => {
            audit.add("L1", subject, what, Outcome::Holds, format!("holds tree {}", short(&tree)));
        }
        Ok(tree) => {
            let detail = format!("holds tree {}, recorded was {}", short(&tree), short(&open.code.tree));
            contradiction(audit, subject, &what, detail);
            return;
        }
        Err(error @ GitError::UnknownCommit { .. }) => {
            audit.add("L1", subject, what, Outcome::Missing, first_line(&error));
            return;
        }
        Err(error) => {
            contradiction(audit, subject, &what, first_line(&error));
            return;
        }
    }
    for planned in open.plan.files.iter().filter(|f| f.committed) {
        let what = format!("{} at commit {}", planned.path, short(commit));
        // The copy in the run folder has been compared with its digest.
        let copy = copy_of(folder, &planned.copy);
        match git.held_at(commit, &planned.path, &copy) {
            Ok(Held::Same) => {
                audit.add("L1", subject, what, Outcome::Holds, format!("sha256 {}", planned.sha256.short()));
            }
            Ok(Held::Filtered) => {
                let detail =
                    "a filter of git stands between the file and the commit, and an audit runs none".to_owned();
                audit.add("L1", subject, what, Outcome::Missing, detail);
            }
            Ok(Held::Other) => {
                let detail = format!("the commit holds other content than the run used, {}", planned.sha256.short());
                contradiction(audit, subject, &what, detail);
            }
            Ok(Held::Nothing) => {
                contradiction(audit, subject, &what, "the commit does not contain this file".to_owned())
            }
            Err(error) => contradiction(audit, subject, &what, first_line(&error)),
        }
    }
    let citable = open.not_citable_because.is_none();
    if let Some(file) = open.plan.files.iter().find(|f| citable && !f.committed) {
        let detail = "the run is marked citable, but its commit does not contain this file".to_owned();
        contradiction(audit, subject, &file.path, detail);
    }
    let Some(recorded) = open.binaries.committed_sources_sha256 else { return };
    match git.sources_at(commit) {
        Ok(Some(found)) if found == recorded => {
            let built = [&open.binaries.built_from_sha256, &open.binaries.trainer_built_from_sha256];
            let same = built.iter().all(|sources| **sources == found.to_string());
            let detail = if same {
                "both programs were built from the sources of the commit".to_owned()
            } else {
                "the programs were built from other sources than those of the commit".to_owned()
            };
            let outcome = if same || !citable { Outcome::Holds } else { Outcome::Contradiction };
            audit.add("L1", subject, "sources of the programs", outcome, detail);
        }
        Ok(found) => {
            let found = found.map_or_else(|| "none".to_owned(), |f| f.short());
            let detail = format!("the commit's sources have digest {found}, recorded was {}", recorded.short());
            contradiction(audit, subject, "sources of the programs", detail);
        }
        Err(error) => contradiction(audit, subject, "sources of the programs", first_line(&error)),
    }
}

/// The trainer's own account of itself must be that of the program the plan names.
pub(super) fn trainer(open: &Open, record: &Record, subject: &Subject, audit: &mut Audit) {
    let Some(started) = &record.started else { return };
    if started.about.source_sha256 != open.binaries.trainer_built_from_sha256 {
        let detail = "was built from other sources than the trainer in the plan".to_owned();
        contradiction(audit, subject, "the trainer that ran", detail);
    }
}

/// The resolved config and the shards must follow from the copies of what they were made from.
pub(super) fn plan(run: &SealedRun, subject: &Subject, audit: &mut Audit) {
    let copy_of = |name: &ExperimentName| {
        let path = format!("experiments/{name}/experiment.toml");
        let planned = run.open.plan.files.iter().find(|f| f.path == path);
        planned.map(|f| files::read_to_string(&run.path(&f.copy))).transpose()
    };
    let name = run.renamed_from.as_ref().unwrap_or(&run.open.experiment);
    let loaded = settings_of_trial(run, name, &copy_of).and_then(|settings| load_recorded(name, &copy_of, &settings));
    match loaded {
        Ok(loaded) if follows(&loaded.experiment.clone().with_seed(run.open.plan.seed), run) => {
            audit.add(
                "L1",
                subject,
                file::CONFIG,
                Outcome::Holds,
                "follows from the configs it was made from".to_owned(),
            );
        }
        Ok(_) => {
            let detail = "does not follow from the configs it was made from".to_owned();
            contradiction(audit, subject, file::CONFIG, detail);
        }
        Err(error) => contradiction(audit, subject, file::CONFIG, first_line(&error)),
    }
    let listed = run.corpus.train.shards.iter().chain(&run.corpus.validation.shards).map(|s| s.sha256);
    if !listed.eq(run.open.data.shards.iter().map(|s| s.sha256)) {
        let detail = "lists other shards than the manifest of its corpus".to_owned();
        contradiction(audit, subject, file::OPEN, detail);
    }
}

/// What a trial of a study sets beyond its experiment, computed again from the copies of the study and of the project's file;
/// nothing of any other run.
fn settings_of_trial(
    run: &SealedRun,
    name: &ExperimentName,
    copy_of: &dyn Fn(&ExperimentName) -> Result<Option<String>, FileError>,
) -> Result<Table, ConfigError> {
    let Some(of) = &run.open.plan.study else { return Ok(Table::new()) };
    let copy = |path: &str| -> Result<String, FileError> {
        let planned = run.open.plan.files.iter().find(|file| file.path == path);
        Ok(planned.map(|file| files::read_to_string(&run.path(&file.copy))).transpose()?.unwrap_or_default())
    };
    let study = load_study(name, &copy(&format!("experiments/{name}/study.toml"))?, &|settings| {
        load_recorded(name, copy_of, settings)
    })?;
    let id = toml::from_str::<ProjectFile>(&copy("experiments/project.toml")?).unwrap_or_default().id;
    let base = load_recorded(name, copy_of, &Table::new())?.experiment;
    let planned = points::trial(&study, &id, &of.name, of.trial).filter(|planned| planned.seed == run.open.plan.seed);
    Ok(planned.map(|planned| planned.settings(&study, &base)).unwrap_or_default())
}

/// Whether the run's config is this one with its budget turned into steps. How many a budget of time pays for was measured
/// and cannot be looked up.
fn follows(planned: &Checked, run: &SealedRun) -> bool {
    let resolved = match planned.resolved(run.open.data.vocabulary_size, None) {
        Err(BudgetError::NeedsRate) => planned.with_steps(run.experiment.training.steps),
        resolved => resolved,
    };
    resolved.is_ok_and(|resolved| resolved == run.experiment)
}

fn data(project: &Project, open: &Open, folder: &Path, subject: &Subject, audit: &mut Audit) {
    let data = &open.data;
    let config = files::read_to_string(&folder.join(file::CONFIG)).ok().and_then(|text| parse_resolved(&text).ok());
    // Experiments may differ in it, and requests are those of one number of items.
    let items = config.map_or_else(String::new, |config| format!(" --items {}", config.evaluation.items_per_task));
    // Each with the command that makes it.
    let mut promised: Vec<(&str, Digest, Vec<String>, String)> = Vec::new();
    let prepare = format!("harness data prepare {}", data.corpus);
    for shard in &data.shards {
        promised.push((&shard.path, shard.sha256, all_measured(open), prepare.clone()));
    }
    promised.push((&data.tokenizer, data.tokenizer_sha256, all_measured(open), prepare));
    for task in &open.tasks {
        let group = task.group.iter().map(|g| format!("tasks.{g}.*"));
        let numbers = std::iter::once(format!("tasks.{}.*", task.id)).chain(group).collect();
        let recipe = task.group.as_ref().unwrap_or(&task.id);
        let items = if recipe == TEST_SIDE { " --items 0" } else { &items };
        let prepare = format!("harness task prepare {recipe} --corpus {}{items}", data.corpus);
        promised.push((&task.requests, task.requests_sha256, numbers, prepare));
    }
    let mut held = 0;
    for (path, expected, numbers, prepare) in promised {
        // A path of a record that was tampered with must not lead the auditor out of the project.
        let whole = project.root().join(path);
        let found = match is_inside(path) && (files::is_file(&whole) || !whole.exists()) {
            true => Digest::of_file(&whole).map_err(|e| e.is_not_found()),
            false => Err(false),
        };
        let (outcome, detail) = match found {
            Ok(found) if found == expected => {
                held += 1;
                continue;
            }
            Ok(found) => {
                let detail = format!("has digest {}, the run used {}", found.short(), expected.short());
                (Outcome::Contradiction, detail)
            }
            Err(true) => (Outcome::Missing, format!("is missing; `{prepare}` restores it")),
            Err(false) => (Outcome::Contradiction, "cannot be read as a file of this project".to_owned()),
        };
        let numbers = if outcome == Outcome::Contradiction { numbers } else { Vec::new() };
        let (subject, what) = (subject.clone(), path.to_owned());
        audit.checks.push(Check { level: "L1", subject, what, outcome, detail, numbers });
    }
    if held > 0 {
        let detail = format!("{held} files (shards, tokenizer, tasks) are the ones the run used");
        audit.add("L1", subject, format!("data root {}", data.root.short()), Outcome::Holds, detail);
    }
}

/// A file of the plan as the run folder keeps it. A path of a record that was tampered with must not lead elsewhere.
fn copy_of(folder: &Path, copy: &str) -> Vec<u8> {
    let path = folder.join(copy);
    if is_inside(copy) && files::is_plain_file(&path) { files::read(&path).unwrap_or_default() } else { Vec::new() }
}

fn lineage(project: &Project, open: &Open, experiment: &ExperimentName, subject: &Subject, audit: &mut Audit) {
    let continued = open.resumed_from.as_ref().map(|origin| (&origin.run, origin.root, "goes on from"));
    let evaluated = open.evaluates.as_ref().map(|origin| (&origin.run, origin.root, "evaluates"));
    let Some((run, root, how)) = continued.or(evaluated) else { return };
    let folder = project.run(experiment, run);
    if let Some(origin) = &open.resumed_from {
        segments(origin, &folder, subject, audit);
    }
    let what = format!("run {run} it {how}");
    match verify(&folder, Checkpoints::Skip) {
        Ok(verified) if verified.root == Some(root) => {
            audit.add("L1", subject, what, Outcome::Holds, format!("root {}", root.short()));
        }
        Ok(verified) if verified.root.is_some() => {
            contradiction(audit, subject, &what, "has a different root than recorded".to_owned());
        }
        _ => audit.add("L1", subject, what, Outcome::Missing, "is missing".to_owned()),
    }
}

/// The segments that a continuation names are those of the run it goes on from, and that run.
fn segments(origin: &Continuation, folder: &Path, subject: &Subject, audit: &mut Audit) {
    let open = files::read(&folder.join(file::OPEN)).ok().and_then(|bytes| read_open(&bytes).ok());
    // Version 2 named none.
    let (Some(open), Some((last, before))) = (open, origin.segments.split_last()) else { return };
    let earlier = open.resumed_from.map(|from| from.segments).unwrap_or_default();
    let goes_on = last.run == origin.run && last.root == origin.root && last.to_step == origin.step;
    if !goes_on || (!earlier.is_empty() && earlier != before) {
        let detail = "its segments are not those of the run it goes on from, and that run".to_owned();
        contradiction(audit, subject, file::OPEN, detail);
    }
}

/// A config of the working tree that changed since the run says nothing against the run, but a reader may wonder.
pub(super) fn changed_since(project: &Project, open: &Open, folder: &Path) -> Vec<String> {
    let differs = |planned: &PlanFile| {
        let now = files::read(&project.root().join(&planned.path));
        now.is_ok_and(|now| !is_same_text(&now, &copy_of(folder, &planned.copy)))
    };
    open.plan.files.iter().filter(|planned| differs(planned)).map(|planned| planned.path.clone()).collect()
}

fn contradiction(audit: &mut Audit, subject: &Subject, what: &str, detail: String) {
    audit.add("L1", subject, what, Outcome::Contradiction, detail);
    let numbers = vec!["every number of this run".to_owned()];
    audit.checks.last_mut().expect("a check was just added").numbers = numbers;
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
