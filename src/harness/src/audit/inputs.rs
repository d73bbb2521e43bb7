//! What a run was made from: the commit, the config at that commit, the sources of the programs, the shards,
//! tokenizer and tasks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use harness_core::config::{
    BudgetError, Checked, ConfigError, Experiment, Table, load_recorded, load_study, parse_resolved, parting,
};
use harness_core::files::FileError;
use harness_core::names::{ExperimentName, Project, RunId, is_inside};
use harness_core::project_file::ProjectFile;
use harness_core::scores::{StepLine, read_csv};
use harness_core::task_kind::{Kind, TEST_SIDE};
use harness_core::{Digest, files};

use super::{Audit, Check, Outcome, Subject, first_line};
use harness_analyse::all_measured;
use harness_build::BUILD;
use harness_corpus::Store;
use harness_corpus::tasks::{TaskRecipe, load_items};
use harness_record::format::{Continuation, Open, PlanFile, Record, SINCE, Segment, file, read_open, read_record};
use harness_record::git::{Git, GitError, Held, is_same_text};
use harness_record::{Checkpoints, SealedRun, Verified, dates, find, verify};
use harness_study::points;

pub(super) fn check(
    project: &Project,
    git: Option<&Git>,
    open: &Open,
    experiment: &ExperimentName,
    subject: &Subject,
    audit: &mut Audit,
) {
    match git {
        Some(git) => code(git, open, &project.run(experiment, &open.run), subject, audit),
        None => {
            let detail = format!("its tree is {}; it is not here", short(&open.code.tree));
            let what = format!("commit {}", short(&open.code.commit));
            audit.add("L1", subject, what, Outcome::Missing, detail);
        }
    }
    data(project, git.is_none(), open, &project.run(experiment, &open.run), subject, audit);
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
    order_of_times(git, open, subject, audit);
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
    for planned in open.plan.files.iter().filter(|f| !f.committed) {
        let held = git.held_at(commit, &planned.path, &copy_of(folder, &planned.copy));
        if matches!(held, Ok(Held::Same)) {
            let detail = "the commit holds this file, and the plan says that it does not".to_owned();
            contradiction(audit, subject, &planned.path, detail);
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

/// A commit is made before the run that names it is opened.
fn order_of_times(git: &Git, open: &Open, subject: &Subject, audit: &mut Audit) {
    let what = format!("commit {}", short(&open.code.commit));
    match dates::doubt(git, open) {
        Ok(None) => {}
        Ok(Some(doubt)) if doubt.contradicts => contradiction(audit, subject, &what, doubt.detail),
        Ok(Some(doubt)) => audit.add("L1", subject, what, Outcome::Note, doubt.detail),
        Err(error) => audit.add("L1", subject, what, Outcome::Missing, first_line(&error)),
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
pub(super) fn plan(project: &Project, run: &SealedRun, subject: &Subject, audit: &mut Audit) {
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
    let mut problems = Vec::new();
    tasks(project, run, &mut problems);
    for problem in problems {
        contradiction(audit, subject, file::OPEN, problem);
    }
}

/// The tasks are those of the recipes that the run kept.
fn tasks(project: &Project, run: &SealedRun, problems: &mut Vec<String>) {
    let mut recipes: BTreeMap<String, TaskRecipe> = BTreeMap::new();
    for planned in &run.open.plan.files {
        let name = planned.path.strip_prefix("experiments/tasks/").and_then(|rest| rest.strip_suffix(".toml"));
        let Some(name) = name else { continue };
        let text = files::read_to_string(&run.path(&planned.copy)).unwrap_or_default().replace("\r\n", "\n");
        match TaskRecipe::parse(name, &planned.path, &text) {
            Ok(recipe) => drop(recipes.insert(name.to_owned(), recipe)),
            // An older program may have read what this one does not.
            Err(error) if run.open.format >= SINCE => problems.push(first_line(&error)),
            Err(_) => {}
        }
    }
    for task in run.open.tasks.iter().filter(|task| task.id != TEST_SIDE) {
        let Some(recipe) = recipes.get(task.group.as_ref().unwrap_or(&task.id)) else { continue };
        let Some(subtask) = recipe.subtasks.iter().find(|subtask| recipe.id(subtask) == task.id) else {
            problems.push(format!("its task `{}` is not one of its recipe", task.id));
            continue;
        };
        let stride = (recipe.kind == Kind::Documents).then_some(recipe.stride);
        let same = (&task.title, &task.phenomenon, &task.field) == (&recipe.title, &subtask.phenomenon, &subtask.field)
            && (task.kind, task.metric, task.chance) == (recipe.kind, recipe.metric, recipe.chance)
            && (task.version, task.rolling_stride) == (recipe.version, stride)
            && task.group.is_some() == (recipe.id(subtask) != recipe.name());
        // What is generated is generated again; of what was downloaded the recipe names the digests.
        let data: Option<Vec<Digest>> = match &subtask.file {
            Some(file) => {
                Some([Some(file.sha256), subtask.answers.as_ref().map(|f| f.sha256)].into_iter().flatten().collect())
            }
            // Another program may generate others.
            None if run.open.binaries.built_from_sha256 == BUILD.source_sha256 => {
                load_items(recipe, subtask, &Store::of(project)).ok().map(|(_, digests)| digests)
            }
            None => None,
        };
        if !same || data.is_some_and(|data| data != task.data_sha256) {
            problems.push(format!("its task `{}` is not as its recipe says", task.id));
        }
    }
    let experiment = &run.experiment;
    if run.open.evaluates.is_none() && recipes.len() == experiment.evaluation.tasks.len() {
        let named = experiment.evaluation.tasks.iter().filter_map(|name| recipes.get(name));
        let named = named.flat_map(|recipe| recipe.subtasks.iter().map(|subtask| recipe.id(subtask)));
        if !named.eq(run.open.tasks.iter().map(|task| task.id.clone())) {
            problems.push("its tasks are not those of its config".to_owned());
        }
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

/// The data that a run used. A bundle has none, which is said once.
fn data(project: &Project, bundled: bool, open: &Open, folder: &Path, subject: &Subject, audit: &mut Audit) {
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
    promised.push((&data.tokenizer, data.tokenizer_sha256, all_measured(open), prepare.clone()));
    let manifest = Path::new(&data.tokenizer).with_file_name("manifest.json").to_string_lossy().into_owned();
    promised.push((&manifest, data.root, all_measured(open), prepare));
    for task in &open.tasks {
        let group = task.group.iter().map(|g| format!("tasks.{g}.*"));
        let numbers = std::iter::once(format!("tasks.{}.*", task.id)).chain(group).collect();
        let recipe = task.group.as_ref().unwrap_or(&task.id);
        let items = if recipe == TEST_SIDE { " --items 0" } else { &items };
        let prepare = format!("harness task prepare {recipe} --corpus {}{items}", data.corpus);
        promised.push((&task.requests, task.requests_sha256, numbers, prepare));
    }
    let (mut held, mut absent) = (0, 0);
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
            Err(true) if bundled => {
                absent += 1;
                continue;
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
    if absent > 0 {
        let detail =
            format!("{absent} files (shards, tokenizer, tasks) are not in the bundle; the record has their digests");
        audit.add("L1", subject, format!("data root {}", data.root.short()), Outcome::Missing, detail);
    }
}

/// A file of the plan as the run folder keeps it. A path of a record that was tampered with must not lead elsewhere.
fn copy_of(folder: &Path, copy: &str) -> Vec<u8> {
    let path = folder.join(copy);
    if is_inside(copy) && files::is_plain_file(&path) { files::read(&path).unwrap_or_default() } else { Vec::new() }
}

fn lineage(project: &Project, open: &Open, experiment: &ExperimentName, subject: &Subject, audit: &mut Audit) {
    let continued = open.resumed_from.as_ref().map(|origin| match &origin.experiment {
        None => (&origin.run, origin.root, "goes on from", project.run(experiment, &origin.run)),
        Some(trunk) => (&origin.run, origin.root, "begins from", of_another(project, trunk, &origin.run)),
    });
    let evaluated = open.evaluates.as_ref();
    let evaluated = evaluated.map(|of| (&of.run, of.root, "evaluates", project.run(experiment, &of.run)));
    let Some((run, root, how, folder)) = continued.or(evaluated) else { return };
    if let Some(origin) = &open.resumed_from {
        segments(origin, &folder, subject, audit);
    }
    let what = format!("run {run} it {how}");
    match verify(&folder, Checkpoints::Skip) {
        Ok(verified) if verified.root == Some(root) => {
            audit.add("L1", subject, what, Outcome::Holds, format!("root {}", root.short()));
            taken_over(open, &folder, &verified, &project.run(experiment, &open.run), subject, audit);
        }
        Ok(verified) if verified.root.is_some() => {
            contradiction(audit, subject, &what, "has a different root than recorded".to_owned());
        }
        _ => audit.add("L1", subject, what, Outcome::Missing, "is missing".to_owned()),
    }
}

/// The folder of a run of an experiment that may have another name by now.
fn of_another(project: &Project, experiment: &ExperimentName, run: &RunId) -> PathBuf {
    let folder = project.run(experiment, run);
    let found = || find(project, run.as_str()).ok().map(|(experiment, run)| project.run(&experiment, &run));
    if folder.is_dir() { folder } else { found().unwrap_or(folder) }
}

/// What a run says of the one that it goes on from or evaluates is what that one says of itself, and so are the rows that it
/// takes over.
fn taken_over(open: &Open, earlier: &Path, verified: &Verified, folder: &Path, subject: &Subject, audit: &mut Audit) {
    let (Some(of), Some(record)) = (&verified.open, &verified.record) else { return };
    let checkpoints = record.checkpoints.iter().map(|c| (c.step, c.file.sha256, c.weights_sha256));
    let kept: Vec<(u64, Digest, Digest)> = checkpoints.collect();
    let digests = |open: &Open| open.data.shards.iter().map(|shard| shard.sha256).collect::<Vec<_>>();
    let mut problems = Vec::new();
    let mut last = 0;
    if let Some(from) = &open.resumed_from {
        last = from.step;
        if !kept.contains(&(from.step, from.checkpoint_sha256, from.weights_sha256)) {
            problems.push("the checkpoint that it goes on from is not one of that run");
        }
        let spent = match (&from.experiment, config_of(earlier), config_of(folder)) {
            (None, ..) => Continuation::cost_of(of, record),
            (Some(_), Some(theirs), Some(own)) => {
                if parting(&theirs, &own, from.step).is_some() || digests(of) != digests(open) {
                    problems.push(
                        "its config or its data give other first steps than those of the run that it begins from",
                    );
                }
                Continuation::share_of(of, record, &theirs, from.step)
            }
            // Another version wrote one of them: what it says cannot be held against anything.
            (Some(_), ..) => from.spent.clone(),
        };
        if from.spent != spent {
            problems.push("`resumed_from.spent` is not what the earlier runs cost");
        }
        let is_trunk = from.experiment.is_some();
        if open.plan.purpose != of.plan.purpose || (!is_trunk && open.plan.study != of.plan.study) {
            problems.push("it is for something else than the run that it goes on from");
        }
    }
    if let Some(evaluated) = &open.evaluates {
        last = evaluated.checkpoints.iter().map(|checkpoint| checkpoint.step).max().unwrap_or(0);
        let named = evaluated.checkpoints.iter().map(|c| (c.step, c.checkpoint_sha256, c.weights_sha256));
        if !named.into_iter().all(|checkpoint| kept.contains(&checkpoint)) {
            problems.push("the checkpoints that it evaluates are not those of that run");
        }
        let own = files::read(&folder.join(file::RECORD)).ok().and_then(|json| read_record(&json).ok());
        let closing = own.filter(|own| own.format >= SINCE).and_then(|own| own.closing);
        let scored = closing.and_then(|closing| Some((closing, record.checkpoints.iter().find(|c| c.step == last)?)));
        if scored.is_some_and(|(closing, checkpoint)| closing.order_sha256 != checkpoint.order_sha256) {
            problems.push("its batches are not those of the run that it evaluates");
        }
        if open.data != of.data || open.plan.seed != of.plan.seed || open.plan.plan_sha256 != of.plan.plan_sha256 {
            problems.push("its data, seed or plan are not those of the run that it evaluates");
        }
    }
    let rows = |folder: &Path| read_csv::<StepLine>(&folder.join(file::STEPS)).unwrap_or_default();
    let until = |rows: Vec<StepLine>| rows.into_iter().take_while(move |row| row.step <= last).collect::<Vec<_>>();
    let (mut theirs, own) = (until(rows(earlier)), until(rows(folder)));
    // A trunk may have rows of more steps than the run that begins from it asks for; which it has to have, its config says.
    if open.resumed_from.as_ref().is_some_and(|from| from.experiment.is_some()) {
        theirs.retain(|row| own.binary_search_by_key(&row.step, |row| row.step).is_ok());
    }
    if theirs != own {
        problems.push("the rows of the steps that it takes over are not those of that run");
    }
    for problem in problems {
        contradiction(audit, subject, file::OPEN, problem.to_owned());
    }
}

/// The config of a run, as far as it can be read.
fn config_of(folder: &Path) -> Option<Experiment> {
    parse_resolved(&files::read_to_string(&folder.join(file::CONFIG)).ok()?).ok()
}

/// The segments that a continuation names are those of the run it goes on from, and that run.
fn segments(origin: &Continuation, folder: &Path, subject: &Subject, audit: &mut Audit) {
    let open = files::read(&folder.join(file::OPEN)).ok().and_then(|bytes| read_open(&bytes).ok());
    // Version 2 named none.
    let (Some(open), Some((last, before))) = (open, origin.segments.split_last()) else { return };
    let mut earlier = open.resumed_from.map(|from| from.segments).unwrap_or_default();
    if let Some(trunk) = &origin.experiment {
        earlier = earlier.into_iter().map(|segment| segment.below(trunk)).collect();
    }
    let Continuation { experiment, run, root, step, .. } = origin.clone();
    let goes_on = *last == Segment { experiment, run, root, to_step: step };
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
