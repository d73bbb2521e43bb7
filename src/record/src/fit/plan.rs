//! `open.json` and what was written with it: config, manifest, jobs, code, times.

use std::collections::BTreeSet;
use std::path::Path;

use harness_core::contract::{self, Job, Sampling};
use harness_core::corpus_manifest::{Side, SourceRecord};
use harness_core::names::Project;
use harness_core::task_kind::TEST_SIDE;
use harness_core::{files, order};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Jobs, Run, SINCE};
use crate::environment;
use crate::format::{Purpose, file};
use crate::job::{self, Given};

pub(super) fn check(run: &mut Run<'_>) {
    times(run);
    choices(run);
    code(run);
    corpus(run);
}

/// The id, `opened_at`, every line of the log and `ended_at`, in this order.
fn times(run: &mut Run<'_>) {
    let open = run.open;
    let began = environment::opened_at(&open.run);
    let opened = open.opened_at.parse::<Timestamp>().ok();
    let slack = SignedDuration::from_secs(if open.format >= SINCE { 0 } else { 3600 });
    let agree = matches!((began, opened), (Some(began), Some(opened))
        if began <= opened && opened.duration_since(began) <= slack);
    run.hold(agree, file::OPEN, || format!("`opened_at` is not the time that `{}` begins with", open.run));
    run.hold(run.log.open_sha256 == run.sealed.get(file::OPEN).copied(), file::OPEN, || {
        format!("is not the file whose digest the first line of `{}` holds", file::LOG)
    });
    let times = &run.log.times;
    let ascend = times.is_sorted() && opened.zip(times.first()).is_none_or(|(opened, first)| opened <= *first);
    let ended = run.record.ended_at.parse::<Timestamp>().ok();
    let is_last = match (ended, times.as_slice()) {
        (Some(ended), [.., before, last]) => *before <= ended && ended <= *last,
        _ => false,
    };
    if !ascend {
        let problem = "its times do not ascend from `opened_at` on";
        // Older programs wrote what the clock said, and clocks are set.
        if run.is_of_today() { run.wrong(file::LOG, problem) } else { run.note(file::LOG, problem) }
    } else {
        run.hold(is_last, file::RECORD, || format!("`ended_at` is not when `{}` ends", file::LOG));
    }
}

/// The plan is that of the config and of the files it was made from.
fn choices(run: &mut Run<'_>) {
    let (plan, experiment) = (&run.open.plan, run.experiment.clone());
    let text = files::read_to_string(&run.folder.join(file::CONFIG)).unwrap_or_default().replace("\r\n", "\n");
    if text == experiment.to_toml() {
        run.hold(plan.plan_sha256 == experiment.plan_digest(), file::OPEN, || {
            "`plan.plan_sha256` is not the digest of its config without the prose".to_owned()
        });
    } else if run.open.format >= SINCE {
        run.wrong(file::CONFIG, "is not as it would have been written");
    }
    run.hold(plan.seed == experiment.seed, file::OPEN, || "`plan.seed` is not the seed of its config".to_owned());
    run.hold(plan.order == order::ALGORITHM, file::OPEN, || "`plan.order` names no order of the data".to_owned());
    run.hold(plan.study.is_none() || plan.purpose == Purpose::Tune, file::OPEN, || {
        "a trial of a study is a run to tune".to_owned()
    });
    let (from, own) = (run.open.resumed_from.as_ref(), experiment.trunk.as_ref());
    let named = from.and_then(|from| Some((from.experiment.as_ref()?, from.step)));
    let begins = match (named, own.map(|trunk| (&trunk.experiment, trunk.step))) {
        // A continuation names the run of its own experiment that begins there.
        (None, Some(_)) => from.is_some() || run.open.evaluates.is_some(),
        (named, trunk) => named == trunk,
    };
    run.hold(begins, file::OPEN, || "`resumed_from` is not the trunk that its config names".to_owned());
    for planned in &plan.files {
        run.hold(planned.copy == format!("{}/{}", file::PLAN_FILES, planned.path), file::OPEN, || {
            format!("the copy of `{}` lies elsewhere", planned.path)
        });
    }
    let needed = [format!("experiments/corpora/{}.toml", experiment.corpus)].into_iter();
    let tasks = run.open.tasks.iter().filter(|task| task.id != TEST_SIDE);
    let tasks = tasks.map(|task| format!("experiments/tasks/{}.toml", task.group.as_ref().unwrap_or(&task.id)));
    let needed: BTreeSet<String> = needed.chain(tasks).collect();
    for path in needed.into_iter().filter(|path| plan.files.iter().all(|planned| planned.path != *path)) {
        run.wrong(file::OPEN, format!("`plan.files` does not name `{path}`"));
    }
    let copies: BTreeSet<&str> = plan.files.iter().map(|planned| planned.copy.as_str()).collect();
    let folder = format!("{}/", file::PLAN_FILES);
    let strays: Vec<&String> = run.sealed.keys().filter(|path| path.starts_with(&folder)).collect();
    for path in strays.into_iter().filter(|path| !copies.contains(path.as_str())) {
        run.wrong(path, format!("`plan.files` of `{}` does not name it", file::OPEN));
    }
}

/// A tree that differed from its commit left a patch, or copies of files that git does not know, and is said to.
fn code(run: &mut Run<'_>) {
    let (code, because) = (&run.open.code, run.open.not_citable_because.as_deref());
    let is_patched = run.sealed.contains_key(file::PATCH);
    let folder = format!("{}/", file::UNTRACKED);
    let copies: BTreeSet<&str> = run.sealed.keys().filter_map(|path| path.strip_prefix(&folder)).collect();
    let differs = is_patched || !copies.is_empty() || !code.untracked.is_empty();
    run.hold(code.dirty || !differs, file::OPEN, || {
        "`code.dirty` is false, and there is a patch, or a file that git does not know".to_owned()
    });
    // Nested repositories leave no copy.
    let says_so = because.is_some_and(|because| because.starts_with("the working tree differed"));
    run.hold(code.dirty == says_so, file::OPEN, || {
        "`code.dirty` and `not_citable_because` say different things of the working tree".to_owned()
    });
    const LARGEST_COPY_BYTES: u64 = 1 << 20;
    for listed in &code.untracked {
        let copy = run.sealed.get(&format!("{folder}{}", listed.path));
        let holds = match copy {
            Some(copy) => *copy == listed.sha256,
            None => listed.size_bytes > LARGEST_COPY_BYTES,
        };
        run.hold(holds, file::OPEN, || format!("`code.untracked` lists `{}` otherwise than it is kept", listed.path));
        run.listed(file::OPEN, &contract::OutputFile { path: format!("{folder}{}", listed.path), ..listed.clone() });
    }
    let listed: BTreeSet<&str> = code.untracked.iter().map(|listed| listed.path.as_str()).collect();
    if let Some(path) = copies.iter().find(|path| !listed.contains(*path)) {
        run.wrong(&format!("{folder}{path}"), "`code.untracked` does not list it");
    }
}

/// The data are those of the manifest.
fn corpus(run: &mut Run<'_>) {
    let (data, corpus) = (&run.open.data, &run.corpus);
    let folder = Path::new(&data.tokenizer).parent().unwrap_or(Path::new(""));
    let place = |path: &str| folder.join(path).to_string_lossy().into_owned();
    let sides = [("train", &corpus.train), ("validation", &corpus.validation)];
    let listed = sides.iter().flat_map(|(split, side)| {
        side.shards.iter().map(move |shard| (*split, place(&shard.path), shard.sha256, shard.size_bytes))
    });
    let named = data.shards.iter().map(|s| (s.split.as_str(), s.path.clone(), s.sha256, s.size_bytes));
    let mut problems = Vec::new();
    if !listed.eq(named) {
        problems.push("its shards are not those of the manifest of its corpus".to_owned());
    }
    for (split, side) in sides {
        let of_side = || data.shards.iter().filter(|shard| shard.split == split);
        let tokens = of_side().map(|shard| u128::from(shard.tokens)).sum::<u128>();
        let documents = of_side().map(|shard| u128::from(shard.documents)).sum::<u128>();
        if (tokens, documents) != (side.tokens.into(), side.documents.into()) {
            problems.push(format!("its {split} shards do not hold as much as the manifest of its corpus says"));
        }
    }
    let tokenizer = &corpus.tokenizer;
    let same = data.corpus == run.experiment.corpus
        && data.corpus == corpus.name
        && data.tokenizer == place("tokenizer.json")
        && data.tokenizer_sha256 == tokenizer.sha256
        && data.vocabulary_size == tokenizer.vocabulary_size
        && data.validation_bytes == corpus.validation.text_bytes;
    if !same {
        problems.push(
            "corpus, tokenizer, vocabulary or bytes of the validation text are not those of the manifest".to_owned(),
        );
    }
    let documents = &corpus.validation_documents;
    let sum = |of: fn(&harness_core::corpus_manifest::ValidationDocument) -> u64| {
        documents.iter().map(|document| u128::from(of(document))).sum::<u128>()
    };
    let side = &corpus.validation;
    let listed = (documents.len() as u128, sum(|d| d.bytes), sum(|d| d.tokens));
    let of_sources = |of: fn(&SourceRecord) -> [u64; 3]| {
        let sources = corpus.sources.iter().map(|source| of(source).map(u128::from));
        sources.fold([0; 3], |sum, of| [sum[0] + of[0], sum[1] + of[1], sum[2] + of[2]])
    };
    let of_side = |side: &Side| [side.documents, side.text_bytes, side.text_tokens].map(u128::from);
    let by_source = of_sources(|s| [s.validation_documents, s.validation_bytes, s.validation_tokens])
        == of_side(&corpus.validation)
        && of_sources(|s| [s.test_documents, s.test_bytes, s.test_tokens]) == of_side(&corpus.test);
    let manifest_holds = listed == (side.documents.into(), side.text_bytes.into(), side.text_tokens.into());
    let counts = serde_json::to_value(corpus).expect("plain structs are JSON");
    let possible = counts
        .as_object()
        .is_some_and(|fields| fields.iter().all(|(key, value)| key == "recipe" || is_countable(value)));
    problems.into_iter().for_each(|problem| run.wrong(file::OPEN, problem));
    run.hold(manifest_holds && by_source && possible, file::CORPUS_MANIFEST, || {
        "its sources and validation documents do not add up to its sides".to_owned()
    });
}

/// Whether no count is one that nothing has: what adds counts up need not expect them.
fn is_countable(value: &Value) -> bool {
    const MOST: u64 = 1 << 53;
    match value {
        Value::Number(number) => number.as_u64().is_none_or(|count| count <= MOST),
        Value::Array(values) => values.iter().all(is_countable),
        Value::Object(fields) => fields.values().all(is_countable),
        _ => true,
    }
}

/// The jobs, made again from config, manifest and plan.
pub(super) fn jobs(run: &mut Run<'_>) -> Jobs {
    let taken_over = run.record.evaluations[..run.log.taken_over.min(run.record.evaluations.len())].to_vec();
    let given = Given::by(run.open, run.corpus.tokenizer.separator, &taken_over);
    let whole = job::job(&run.experiment, &given);
    let mut expected: Vec<(String, Vec<Job>)> = Vec::new();
    match &run.open.evaluates {
        None => expected.push((file::JOB.to_owned(), vec![whole])),
        Some(evaluated) => {
            let folder = Project::at("").run(&run.open.experiment, &evaluated.run);
            for checkpoint in &evaluated.checkpoints {
                // Whether the validation text was asked for stands in the jobs only, and shows in what was evaluated.
                let of =
                    |validate| job::evaluation(&whole, evaluated, checkpoint.step, &given, &folder, validate, None);
                expected.push((file::job_of(checkpoint.step), vec![of(true), of(false)]));
            }
        }
    }
    let mut jobs = Jobs::new();
    let mut problems = Vec::new();
    for (path, candidates) in &expected {
        let json = files::read(&run.folder.join(path)).ok();
        let found = json.as_deref().and_then(|json| serde_json::from_slice::<Value>(json).ok());
        let version = found.as_ref().and_then(|found| found["version"].as_u64());
        let started = run.record.started.as_ref().map(|started| u64::from(started.version));
        let written = (contract::SINCE..=contract::VERSION).find(|&known| Some(u64::from(known)) == version);
        if version.is_some() && written.is_none() && started.is_none_or(|v| Some(v) == version) {
            problems.push((path.clone(), true, "was written for another trainer, and is not made again".to_owned()));
            jobs.push(candidates[0].clone());
            continue;
        }
        // So do samples, which show in what was drawn.
        let may_sample = found.as_ref().filter(|_| run.open.evaluates.is_some());
        let sampling: Option<Sampling> =
            may_sample.and_then(|found| serde_json::from_value(found["sampling"].clone()).ok()).flatten();
        let as_written =
            |job: &Job| Job { version: written.unwrap_or(job.version), sampling: sampling.clone(), ..job.clone() };
        let candidates: Vec<Job> = candidates.iter().map(as_written).collect();
        let same = candidates.iter().find(|job| serde_json::to_value(job).ok() == found);
        if same.is_none() {
            problems.push((path.clone(), false, "is not the job that config, corpus and plan give".to_owned()));
        }
        jobs.push(same.unwrap_or(&candidates[0]).clone());
    }
    let known: BTreeSet<&str> = expected.iter().map(|(path, _)| path.as_str()).collect();
    let written: Vec<String> = run.sealed.keys().filter(|path| path.starts_with("plan/job")).cloned().collect();
    for path in written.iter().filter(|path| !known.contains(path.as_str())) {
        problems.push((path.clone(), false, "is a job that the plan does not give".to_owned()));
    }
    for (path, is_note, problem) in problems {
        if is_note { run.note(&path, problem) } else { run.wrong(&path, problem) }
    }
    jobs
}
