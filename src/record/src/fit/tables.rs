//! The rows: those of every step that was done, with what follows from config and data; nothing that is no number.

use std::collections::BTreeSet;

use harness_core::config::learning_rate;
use harness_core::contract::{Evaluation, Unanswered};
use harness_core::files;
use harness_core::samples::GENERATED;
use harness_core::scores::{ActivationStatistics, ChoiceScore, StepLine, TensorNorms, WindowLoss, read_csv};
use harness_core::task_kind::Kind;
use harness_core::token_losses::TokenLosses;

use super::{Run, is_near};
use crate::format::{Status, Task, file};

pub(super) fn check(run: &mut Run<'_>) {
    let rows = match read_csv::<StepLine>(&run.folder.join(file::STEPS)) {
        Ok(rows) => rows,
        Err(error) => return run.wrong(file::STEPS, error.to_string()),
    };
    match steps(run, &rows) {
        Ok(()) => {
            // Of one that failed there may be no row of the steps after the last that is kept.
            let done = match (run.record.status, &run.record.closing) {
                (Status::Interrupted, Some(closing)) => closing.step,
                _ => run.experiment.training.steps,
            };
            tensor_norms(run, done);
            activations(run, done);
        }
        Err(problem) => run.wrong(file::STEPS, problem),
    }
    let record = run.record;
    for evaluation in &record.evaluations {
        for listed in &evaluation.files {
            if let Err(problem) = scores(run, evaluation, &listed.path) {
                run.wrong(&listed.path, problem);
            }
        }
    }
}

/// One row for each step that the config keeps, but for those that were skipped.
fn steps(run: &mut Run<'_>, rows: &[StepLine]) -> Result<(), String> {
    let (training, metrics) = (run.experiment.training.clone(), run.experiment.metrics.clone());
    let context_length = run.experiment.model.context_length;
    let (record, first) = (run.record, run.first_step());
    let evaluated = run.open.evaluates.as_ref().map(|of| of.checkpoints.last().map_or(0, |checkpoint| checkpoint.step));
    let last = match (evaluated, record.status, &record.closing) {
        (Some(step), ..) => step,
        (None, Status::Completed, _) => training.steps,
        (None, Status::Interrupted, Some(closing)) => closing.step,
        _ => rows.last().map_or(0, |row| row.step),
    };
    // What an earlier segment skipped its own record says; there are never more than this.
    let is_alone = run.open.resumed_from.is_none() && evaluated.is_none();
    let mut passed_over = if is_alone { 0 } else { training.skip_at_most };
    let skipped: BTreeSet<u64> = record.skipped.iter().map(|skipped| skipped.step).collect();
    let mut found = rows.iter().peekable();
    for step in (1..=last.min(training.steps)).filter(|&step| metrics.has_row(step, training.steps)) {
        let has_row = found.next_if(|row| row.step == step).is_some();
        match (has_row, skipped.contains(&step)) {
            (true, true) => return Err(format!("has a row of step {step}, which was skipped")),
            (false, false) if step <= evaluated.unwrap_or(first) && passed_over > 0 => passed_over -= 1,
            (false, false) => return Err(format!("has no row of step {step}")),
            _ => {}
        }
    }
    if let Some(row) = found.next() {
        return Err(format!("has a row of step {} where none belongs", row.step));
    }
    let (schedule, peak) = (&run.experiment.schedule, run.experiment.optimizer.learning_rate);
    let (is_of_today, is_failed) = (run.is_of_today(), record.status == Status::Failed);
    let mut before: Option<&StepLine> = None;
    for (at, row) in rows.iter().enumerate() {
        let wrong = |problem: &str| Err(format!("row {} (step {}) {problem}", at + 1, row.step));
        let numbers = [
            row.loss_nats,
            row.learning_rate,
            row.gradient_norm,
            row.wall_time_s,
            row.tokens_per_s,
            row.data_wait_share,
            row.model_flops_utilization.unwrap_or(0.0),
            row.power_w.unwrap_or(0.0),
        ];
        // The step that ended a run may be its last row.
        let may_be_broken = is_failed && at + 1 == rows.len();
        if !may_be_broken && !numbers.iter().all(|number| number.is_finite() && *number >= 0.0) {
            return wrong("has numbers that no training gives");
        }
        if row.tokens != training.tokens(row.step, context_length)
            || row.batch_size != training.batch_size_at(row.step - 1)
            || row.sequence_length != training.sequence_length_at(row.step - 1, context_length)
        {
            return wrong("has not the tokens, batch or sequence length of the plan");
        }
        let rate = learning_rate(schedule, peak, row.step, training.steps);
        if is_of_today && !is_near(row.learning_rate, rate, 1e-12) {
            return wrong(&format!("has not the learning rate of the schedule, {rate}"));
        }
        // Each segment counts its time from its own beginning.
        if evaluated.is_none()
            && before.is_some_and(|before| before.step > first && before.wall_time_s > row.wall_time_s)
        {
            return wrong("is earlier than the row before it");
        }
        before = Some(row);
    }
    for (step, loss_nats) in run.log.spikes.clone() {
        let row = rows.binary_search_by_key(&step, |row| row.step).ok().map(|at| &rows[at]);
        run.hold(row.is_none_or(|row| row.loss_nats == loss_nats), file::LOG, || {
            format!("tells of a spike at step {step} with another loss than its row")
        });
    }
    let mut own: Vec<f64> = rows.iter().filter(|row| row.step > first).map(|row| row.tokens_per_s).collect();
    own.sort_by(f64::total_cmp);
    if let (Some(rate), 0, None) = (record.resources.tokens_per_s, metrics.step_rows, evaluated) {
        let middle = own.len() / 2;
        let median = match own.len() % 2 {
            _ if own.is_empty() => f64::NAN,
            0 => (own[middle - 1] + own[middle]) / 2.0,
            _ => own[middle],
        };
        run.hold(is_near(rate, median, 1e-12), file::RECORD, || {
            format!("`resources.tokens_per_s` is not the median of its steps, {median}")
        });
    }
    Ok(())
}

/// Rows of every tensor of the model, after every step at which they are measured.
fn tensor_norms(run: &mut Run<'_>, done: u64) {
    let names = [file::TENSOR_NORMS, file::TENSOR_NORMS_BEFORE];
    let name = names.into_iter().find(|name| run.sealed.contains_key(*name)).unwrap_or(file::TENSOR_NORMS);
    let rows =
        if run.sealed.contains_key(name) { read_csv::<TensorNorms>(&run.folder.join(name)) } else { Ok(Vec::new()) };
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => return run.wrong(name, error.to_string()),
    };
    let skipped: BTreeSet<u64> = run.record.skipped.iter().map(|skipped| skipped.step).collect();
    let metrics = run.experiment.metrics.clone();
    let last = if run.is_training() && metrics.tensor_norms_every > 0 { done } else { 0 };
    let steps = (1..=last).filter(|&step| metrics.tensor_norms_at(step) && !skipped.contains(&step));
    let tensors = run.experiment.model.tensors(run.open.data.vocabulary_size);
    let tensors: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let by_step: Vec<&[TensorNorms]> = rows.chunk_by(|a, b| a.step == b.step).collect();
    let found: Vec<u64> = by_step.iter().map(|rows| rows[0].step).collect();
    let mut problem = misses(run, steps, &found);
    let of_model = |rows: &&[TensorNorms]| {
        let mut named: Vec<&str> = rows.iter().map(|row| row.tensor.as_str()).collect();
        let mut known = tensors.clone();
        named.sort_unstable();
        known.sort_unstable();
        named == known
    };
    // The rows of a step are written one by one.
    let whole = if run.record.status == Status::Failed { by_step.len().saturating_sub(1) } else { by_step.len() };
    if problem.is_none() && !by_step[..whole].iter().all(of_model) {
        problem = Some("has not one row for each tensor of the model".to_owned());
    }
    let is_number = |row: &TensorNorms| {
        [row.gradient_norm, row.weight_norm, row.update_norm].iter().all(|norm| norm.is_finite() && *norm >= 0.0)
    };
    if problem.is_none() && !rows.iter().all(is_number) {
        problem = Some("has norms that are none".to_owned());
    }
    if let Some(problem) = problem {
        run.wrong(name, problem);
    }
}

/// Rows of the same places, before the first step, after every step at which they are measured and after the last.
fn activations(run: &mut Run<'_>, done: u64) {
    let is_there = run.sealed.contains_key(file::ACTIVATIONS);
    let rows = read_csv::<ActivationStatistics>(&run.folder.join(file::ACTIVATIONS));
    let rows = match rows {
        Ok(rows) => rows,
        Err(_) if !is_there => Vec::new(),
        Err(error) => return run.wrong(file::ACTIVATIONS, error.to_string()),
    };
    let (metrics, last) = (run.experiment.metrics.clone(), run.experiment.training.steps);
    let measures = run.is_training() && metrics.activations_every > 0;
    let steps = (0..=done).filter(|&step| measures && metrics.activations_at(step, last));
    let by_step: Vec<&[ActivationStatistics]> = rows.chunk_by(|a, b| a.step == b.step).collect();
    let found: Vec<u64> = by_step.iter().map(|rows| rows[0].step).collect();
    let mut problem = misses(run, steps, &found);
    let places = |rows: &[ActivationStatistics]| rows.iter().map(|row| row.place.clone()).collect::<Vec<_>>();
    let whole = if run.record.status == Status::Failed { by_step.len().saturating_sub(1) } else { by_step.len() };
    if problem.is_none() && by_step[..whole].windows(2).any(|pair| places(pair[0]) != places(pair[1])) {
        problem = Some("has other places at one step than at another".to_owned());
    }
    let is_number = |row: &ActivationStatistics| {
        let share = row.dead_share.unwrap_or(0.0);
        [row.rms, row.maximum, row.attention_entropy_nats.unwrap_or(0.0), row.logit_scale.unwrap_or(0.0)]
            .iter()
            .all(|number| number.is_finite() && *number >= 0.0)
            && (0.0..=1.0).contains(&share)
    };
    if problem.is_none() && !rows.iter().all(is_number) {
        problem = Some("has statistics that are none".to_owned());
    }
    if let Some(problem) = problem {
        run.wrong(file::ACTIVATIONS, problem);
    }
}

/// How rows are of other steps than they should be. A run that failed may lack the last ones, and a continuation those that an
/// earlier segment skipped, which only that segment says.
fn misses(run: &Run<'_>, expected: impl Iterator<Item = u64>, found: &[u64]) -> Option<String> {
    let (first, is_failed) = (run.first_step(), run.record.status == Status::Failed);
    let mut skipped = if first > 0 { run.experiment.training.skip_at_most } else { 0 };
    let mut rest = found.iter().copied().peekable();
    for step in expected {
        if rest.next_if_eq(&step).is_some() || (is_failed && rest.peek().is_none()) {
            continue;
        }
        if step > first || skipped == 0 {
            return Some(format!("has no rows of step {step}"));
        }
        skipped -= 1;
    }
    rest.next().map(|step| format!("has rows of step {step} where none belong"))
}

/// The rows of one file of an evaluation.
fn scores(run: &Run<'_>, evaluation: &Evaluation, path: &str) -> Result<(), String> {
    let whole = run.folder.join(path);
    // A file that is not there is among what was found already.
    let Some(name) = path.rsplit('/').next().filter(|_| files::is_plain_file(&whole)) else { return Ok(()) };
    let text = |error: harness_core::scores::TableError| error.to_string();
    if name == "validation.csv" {
        let rows: Vec<WindowLoss> = read_csv(&whole).map_err(text)?;
        windows(run, &rows)?;
        let not_finite = rows.iter().filter(|row| !row.loss_nats.is_finite()).count() as u64;
        return counted(
            evaluation,
            path,
            Unanswered { rows: rows.len() as u64, not_finite, ..Unanswered::default() },
            None,
        );
    }
    if name == "validation.tokens" {
        let windows: Vec<WindowLoss> = read_csv(&whole.with_file_name("validation.csv")).map_err(text)?;
        let tokens = TokenLosses::read(&whole).map_err(text)?;
        return add_up(&windows, &tokens);
    }
    if name == GENERATED {
        // It is held against the texts and against the job.
        return Ok(());
    }
    let rows: Vec<ChoiceScore> = read_csv(&whole).map_err(text)?;
    let task = run.open.tasks.iter().find(|task| name == format!("{}.csv", task.id));
    let Some(task) = task else { return Err("is of no task of the plan".to_owned()) };
    choices(task, &rows)?;
    let scores =
        |row: &&ChoiceScore| [row.log_probability_nats, row.unconditional_log_probability_nats].into_iter().flatten();
    let not_finite = rows.iter().filter(|row| scores(row).any(|nats| !nats.is_finite())).count() as u64;
    if rows.iter().any(|row| scores(&row).any(|nats| nats > 1e-3)) {
        return Err("has a probability above 1".to_owned());
    }
    let without = rows.iter().filter(|row| row.log_probability_nats.is_none()).count() as u64;
    let context_cut = rows.iter().filter(|row| row.context_tokens_cut > 0).count() as u64;
    let of_rows = Unanswered { rows: rows.len() as u64, not_finite, context_cut, ..Unanswered::default() };
    counted(evaluation, path, of_rows, Some(without))
}

/// What the evaluation counts of rows that answer less than was asked is what the rows say. `without` have no score: only the
/// requests tell of a choice that does not fit without its context.
fn counted(evaluation: &Evaluation, path: &str, of_rows: Unanswered, without: Option<u64>) -> Result<(), String> {
    let told = evaluation.unanswered.iter().find(|told| told.path == path).cloned();
    let told = told.unwrap_or_else(|| Unanswered { rows: of_rows.rows, ..Unanswered::default() });
    let too_long = without.is_none_or(|without| told.too_long >= without);
    let same =
        (told.rows, told.not_finite, told.context_cut) == (of_rows.rows, of_rows.not_finite, of_rows.context_cut);
    if same && too_long { Ok(()) } else { Err("has other rows without an answer than its record counts".to_owned()) }
}

/// The windows cover each token of the validation text once.
fn windows(run: &Run<'_>, rows: &[WindowLoss]) -> Result<(), String> {
    let context_length = u64::from(run.experiment.model.context_length);
    let mut found = rows.iter();
    for (document, listed) in (0..).zip(&run.corpus.validation_documents) {
        let mut first_token = 1;
        while first_token <= listed.tokens {
            let tokens = context_length.min((listed.tokens - first_token).saturating_add(1));
            match found.next() {
                Some(row) if (row.document, row.first_token, row.tokens) == (document, first_token, tokens) => {}
                _ => return Err(format!("has not the windows of document {document} of the validation text")),
            }
            first_token += tokens;
        }
    }
    if found.next().is_some() {
        return Err("has windows of no document of the validation text".to_owned());
    }
    if rows.iter().any(|row| row.loss_nats < 0.0) {
        return Err("has a probability above 1".to_owned());
    }
    Ok(())
}

/// The losses of single tokens add up to those of their windows.
fn add_up(windows: &[WindowLoss], tokens: &TokenLosses) -> Result<(), String> {
    let mut rest = tokens.loss_nats.as_slice();
    for (at, window) in windows.iter().enumerate() {
        let Some((here, after)) = usize::try_from(window.tokens).ok().and_then(|tokens| rest.split_at_checked(tokens))
        else {
            return Err("has fewer tokens than the windows".to_owned());
        };
        rest = after;
        let sum: f64 = here.iter().map(|loss| f64::from(*loss)).sum();
        if sum.is_finite() && (sum - window.loss_nats).abs() > 1e-4 * sum.abs().max(1.0) {
            return Err(format!("its losses do not add up to window {at} of `validation.csv`"));
        }
    }
    let probable = tokens.first_choice_probability.iter().all(|p| p.is_nan() || (0.0..=1.001).contains(p));
    match (rest.is_empty(), probable) {
        (false, _) => Err("has more tokens than the windows".to_owned()),
        (_, false) => Err("has a probability above 1".to_owned()),
        _ => Ok(()),
    }
}

/// Items and choices are counted from 0, and there are as many as the plan says.
fn choices(task: &Task, rows: &[ChoiceScore]) -> Result<(), String> {
    let by_item: Vec<&[ChoiceScore]> = rows.chunk_by(|a, b| a.item == b.item).collect();
    let counted = by_item.iter().enumerate().all(|(item, choices)| {
        choices.iter().enumerate().all(|(choice, row)| row.item == item as u64 && row.choice as usize == choice)
    });
    if !counted || by_item.len() as u64 != task.items {
        return Err(format!("has not the {} items of its task", task.items));
    }
    let golden = by_item.iter().all(|choices| match task.kind {
        Kind::LastWord | Kind::Documents => choices.len() == 1,
        _ => choices.iter().any(|row| row.gold),
    });
    let scored = rows
        .iter()
        .all(|row| row.log_probability_nats.is_some() == (row.tokens > 0) && (row.tokens > 0 || !row.greedy));
    match (golden, scored) {
        (false, _) => Err("has items without a right answer".to_owned()),
        (_, false) => Err("has choices without tokens that have a score, or the other way round".to_owned()),
        _ => Ok(()),
    }
}
