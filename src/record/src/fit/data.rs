//! The record against the data, where they are here: order of the batches, requests, weights.

use std::collections::BTreeMap;
use std::path::PathBuf;

use harness_core::contract::Evaluation;
use harness_core::names::{Project, is_inside};
use harness_core::order::{Order, RollingDigest};
use harness_core::scores::{ChoiceScore, Request, read_csv, read_requests};
use harness_core::shards::{Shard, TokenStream};
use harness_core::{Digest, files, weights};

use super::Run;
use crate::format::{Task, file};

pub(super) fn check(project: &Project, run: &mut Run<'_>) {
    shards(project, run);
    order(project, run);
    requests(project, run);
    checkpoints(run);
}

/// A file of the store, if it is one and is here.
fn place(project: &Project, path: &str) -> Option<PathBuf> {
    let whole = project.home().join(path);
    (is_inside(path) && files::is_file(&whole)).then_some(whole)
}

/// Each shard holds as much as the record says.
fn shards(project: &Project, run: &mut Run<'_>) {
    let open = run.open;
    for listed in &open.data.shards {
        let Some(Ok(shard)) = place(project, &listed.path).map(|path| Shard::open(&path)) else { continue };
        let holds = (shard.tokens(), shard.documents().len() as u64) == (listed.tokens, listed.documents);
        run.hold(holds && shard.vocabulary_size() == open.data.vocabulary_size, file::OPEN, || {
            format!("counts other tokens or documents in `{}` than it holds", listed.path)
        });
    }
    let of_validation = open.data.shards.iter().filter(|shard| shard.split == "validation");
    let validation: Option<Vec<Shard>> =
        of_validation.map(|listed| Shard::open(&place(project, &listed.path)?).ok()).collect();
    if let Some(shards) = validation {
        let documents = shards.iter().flat_map(Shard::documents);
        // A separator stands before the tokens of each document.
        let found = documents.map(|document| (document.text_bytes, document.tokens.saturating_sub(1)));
        let listed = run.corpus.validation_documents.iter().map(|document| (document.bytes, document.tokens));
        let same = found.eq(listed);
        run.hold(same, file::CORPUS_MANIFEST, || "its validation documents are not those of its shards".to_owned());
    }
}

/// The rolling digest over the batches, computed again.
fn order(project: &Project, run: &mut Run<'_>) {
    /// As many are read and hashed in half a minute.
    const MOST_TOKENS: u64 = 4 << 30;
    const MOST_TOKENS_A_STEP: u64 = 1 << 27;
    if !run.is_training() || !run.is_of_today() {
        return;
    }
    let record = run.record;
    let told = record.checkpoints.iter().map(|checkpoint| (checkpoint.step, checkpoint.order_sha256));
    let told = told.chain(record.closing.iter().map(|closing| (closing.step, closing.order_sha256)));
    let mut told: Vec<(u64, Digest)> = told.filter(|(step, _)| *step <= run.experiment.training.steps).collect();
    told.sort_unstable_by_key(|(step, _)| *step);
    let Some(&(last, _)) = told.last() else { return };
    let training = &run.experiment.training;
    let paths: Option<Vec<PathBuf>> =
        run.open.data.shards.iter().filter(|s| s.split == "train").map(|s| place(project, &s.path)).collect();
    // Damaged shards are among what is found of the data.
    let Some(Ok(stream)) = paths.map(|paths| TokenStream::open(&paths)) else { return };
    let context = u64::from(run.experiment.model.context_length);
    let windows = Order::windows_in(stream.tokens(), context);
    let largest = training.batch_size_stages.iter().map(|stage| stage.batch_size).chain([training.batch_size]).max();
    let largest = u64::from(largest.unwrap_or(0)) * (context + 1);
    if windows == 0 || run.tokens(last) > MOST_TOKENS || largest > MOST_TOKENS_A_STEP {
        let problem =
            "the order of its batches was not computed again: there are too many tokens, or too few in its shards";
        return run.note(file::RECORD, problem);
    }
    let order = Order::new(run.open.plan.seed, windows);
    let (mut digest, mut tokens) = (RollingDigest::start(), Vec::new());
    let mut told = told.into_iter().peekable();
    let mut wrong = None;
    for step in 0..=last {
        while let Some((_, expected)) = told.next_if(|(at, _)| *at == step) {
            if digest.digest() != expected {
                wrong.get_or_insert(step);
            }
        }
        if step == last {
            break;
        }
        tokens.resize(training.batch_size_at(step) as usize * (context as usize + 1), 0);
        let first = training.sequences_before(step);
        for (number, window) in (first..).zip(tokens.chunks_exact_mut(context as usize + 1)) {
            stream.copy_tokens(order.window(number) * context, window);
        }
        digest.update(&tokens);
    }
    if let Some(step) = wrong {
        run.wrong(
            file::RECORD,
            format!("after step {step} `order_sha256` is not the digest of the batches of the plan"),
        );
    }
}

/// The rows of a task are those of its requests.
fn requests(project: &Project, run: &mut Run<'_>) {
    let open = run.open;
    let mut read: BTreeMap<&str, Vec<Request>> = BTreeMap::new();
    for task in &open.tasks {
        // Other requests than the run used are found as such.
        let here = place(project, &task.requests)
            .filter(|path| Digest::of_file(path).is_ok_and(|d| d == task.requests_sha256));
        let Some(Ok(mut requests)) = here.map(|path| read_requests(&path)) else { continue };
        requests.sort_by_key(|request| (request.item, request.choice));
        let items = requests.chunk_by(|a, b| a.item == b.item).count() as u64;
        run.hold(items == task.items, file::OPEN, || format!("`{}` has {items} items, not {}", task.id, task.items));
        read.insert(task.id.as_str(), requests);
    }
    let record = run.record;
    for (evaluation, task) in record.evaluations.iter().flat_map(|e| open.tasks.iter().map(move |task| (e, task))) {
        let Some((path, requests)) = scores_of(evaluation, task).zip(read.get(task.id.as_str())) else { continue };
        let Ok(rows) = read_csv::<ChoiceScore>(&run.folder.join(path)) else { continue };
        let same =
            rows.len() == requests.len() && rows.iter().zip(requests).all(|(row, request)| answers(row, request, task));
        run.hold(same, path, || "its rows are not of the requests of its task".to_owned());
        let too_long = |(row, request): (&ChoiceScore, &Request)| {
            let without = row.unconditional_log_probability_nats.is_none() && !request.unconditional.is_empty();
            row.log_probability_nats.is_none() || without
        };
        let too_long = rows.iter().zip(requests).filter(|pair| too_long(*pair)).count() as u64;
        let told = evaluation.unanswered.iter().find(|told| told.path == path).map_or(0, |told| told.too_long);
        run.hold(too_long == told, path, || {
            format!("has {too_long} choices that do not fit, and its record counts {told}")
        });
    }
}

fn scores_of<'a>(evaluation: &'a Evaluation, task: &Task) -> Option<&'a str> {
    let ends = format!("/{}.csv", task.id);
    evaluation.files.iter().map(|listed| listed.path.as_str()).find(|path| path.ends_with(&ends))
}

/// Whether a row is of a request. A document that is read in windows may be longer than they score.
fn answers(row: &ChoiceScore, request: &Request, task: &Task) -> bool {
    let asked = request.continuation.len() as u64;
    let tokens = if row.log_probability_nats.is_none() { 0 } else { asked };
    let cut = row.context_tokens_cut < request.context.len() as u64;
    (row.item, row.choice, row.gold, row.cluster) == (request.item, request.choice, request.gold, request.cluster)
        && (row.characters, row.bytes, row.words) == (request.characters, request.bytes, request.words)
        && (row.tokens == tokens || task.rolling_stride.is_some())
        && (cut || task.rolling_stride.is_some())
        && (row.unconditional_log_probability_nats.is_none() || !request.unconditional.is_empty())
}

/// The weights of each checkpoint that is here have the digest that the record names.
fn checkpoints(run: &mut Run<'_>) {
    let record = run.record;
    for checkpoint in &record.checkpoints {
        let path = &checkpoint.file.path;
        let whole = run.folder.join(path);
        // Damage is among what is found of the files.
        if !is_inside(path) || !files::is_plain_file(&whole) || run.sealed.get(path) != Some(&checkpoint.file.sha256) {
            continue;
        }
        let found = weights::digest_of_file(&whole, "model.");
        let holds = found.as_ref().is_ok_and(|found| *found == checkpoint.weights_sha256);
        run.hold(holds, path, || match found {
            Ok(found) => format!("holds weights of digest {}, its record names another", found.short()),
            Err(error) => format!("holds no weights: {error}"),
        });
    }
}
