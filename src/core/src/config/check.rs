//! What cannot work is refused here, with the key it is about: each rule is one line of a table.

use super::{Budget, Choices, CooldownShape, Initialization, NormPlacement, OptimizerKind, Orthogonalization};
use super::{Positions, ResidualScaling, ScheduleKind, nearest};

/// More optimizer steps than any run takes: lists of steps are made in memory.
const MOST_STEPS: u64 = 10_000_000;

type Refusal = (&'static str, String, Option<String>);

/// The first rule that the choices break, as (dotted key, problem, hint).
pub(super) fn check(choices: &Choices) -> Result<(), Refusal> {
    let (model, optimizer, schedule) = (&choices.model, &choices.optimizer, &choices.schedule);
    let (training, evaluation) = (&choices.training, &choices.evaluation);

    let primary = &choices.primary_metrics;
    if let Some((_, metric)) = primary.iter().enumerate().find(|(at, metric)| primary[..*at].contains(metric)) {
        return refuse("primary_metrics", format!("`{metric}` is named twice"), None);
    }
    proposal(choices)?;
    within("training.steps", training.steps as f64, 0.0, MOST_STEPS as f64)?;
    positive("model.layers", u64::from(model.layers))?;
    positive("model.heads", u64::from(model.heads))?;
    positive("model.width", u64::from(model.width))?;
    positive("model.context_length", u64::from(model.context_length))?;
    positive("model.feed_forward_ratio", u64::from(model.feed_forward_ratio))?;
    if !model.width.is_multiple_of(model.heads) {
        let below = model.width / model.heads * model.heads;
        let hint = if below == 0 { model.heads } else { below };
        return refuse(
            "model.width",
            format!("{} is not divisible by the {} heads", model.width, model.heads),
            Some(format!("each head gets width / heads channels; {hint} would work")),
        );
    }
    if !model.heads.is_multiple_of(model.resolved_key_value_heads()) {
        return refuse(
            "model.key_value_heads",
            format!("{} heads of keys and values cannot serve {} heads", model.key_value_heads, model.heads),
            Some("use a divisor of `heads`; 0 means as many".to_owned()),
        );
    }
    if model.positions == Positions::Rotary && !(model.width / model.heads).is_multiple_of(2) {
        return refuse(
            "model.positions",
            format!("rotary positions turn pairs of channels, and a head has {}", model.width / model.heads),
            Some("make width / heads even".to_owned()),
        );
    }
    if model.positions == Positions::Sinusoidal && !model.width.is_multiple_of(2) {
        let problem = format!("sinusoidal positions need pairs of channels, and the width is {}", model.width);
        return refuse("model.positions", problem, Some("make the width even".to_owned()));
    }
    within("model.attention_soft_cap", model.attention_soft_cap, 0.0, 1e6)?;
    within("model.logit_soft_cap", model.logit_soft_cap, 0.0, 1e6)?;
    within("model.z_loss", model.z_loss, 0.0, 1.0)?;
    within("model.dropout", model.dropout, 0.0, 0.9)?;
    within("model.multi_token_loss_weight", model.multi_token_loss_weight, 0.0, 1e3)?;
    if model.multi_token_prediction > 0 && model.layers < 2 {
        let problem = "blocks that predict later tokens read what the last block reads, and it is the only one";
        return refuse("model.multi_token_prediction", problem.to_owned(), Some("use at least two layers".to_owned()));
    }
    if model.multi_token_prediction >= model.context_length {
        let problem = format!(
            "a context of {} tokens has no target {} tokens on",
            model.context_length,
            model.multi_token_prediction + 1
        );
        return refuse("model.multi_token_prediction", problem, Some("one to three is usual".to_owned()));
    }
    if model.mup_base_heads > 0 && model.mup_base_width == 0 {
        let problem = "there is no base width whose heads it could count".to_owned();
        return refuse("model.mup_base_heads", problem, Some("set `model.mup_base_width` as well".to_owned()));
    }
    let base_heads = if model.mup_base_heads == 0 { model.heads } else { model.mup_base_heads };
    if !model.mup_base_width.is_multiple_of(base_heads) {
        return refuse(
            "model.mup_base_width",
            format!("{} is not divisible by the {base_heads} heads of the base model", model.mup_base_width),
            Some("state `model.mup_base_heads` if the base model has other heads than this one".to_owned()),
        );
    }
    check_depth_transfer(choices)?;
    if model.bigram_rows == 1 {
        let problem = "its only row would be that of tokens without one before".to_owned();
        return refuse("model.bigram_rows", problem, Some("some times the vocabulary size is usual".to_owned()));
    }
    above_zero("model.init_std", model.init_std)?;

    above_zero("optimizer.learning_rate", optimizer.learning_rate)?;
    within("optimizer.beta1", optimizer.beta1, 0.0, 0.999_999)?;
    within("optimizer.beta2", optimizer.beta2, 0.0, 0.999_999_9)?;
    above_zero("optimizer.epsilon", optimizer.epsilon)?;
    within("optimizer.momentum", optimizer.momentum, 0.0, 0.999_999)?;
    within("optimizer.weight_decay", optimizer.weight_decay, 0.0, 10.0)?;
    within("optimizer.gradient_clip_norm", optimizer.gradient_clip_norm, 0.0, 1e9)?;
    if optimizer.orthogonalization != Orthogonalization::NewtonSchulz && !optimizer.kind.orthogonalizes() {
        let problem = "this optimizer orthogonalizes nothing".to_owned();
        return refuse("optimizer.orthogonalization", problem, Some("set `optimizer.kind = \"muon\"`".to_owned()));
    }
    check_groups(choices)?;
    if schedule.cooldown_shape != CooldownShape::Linear && schedule.cooldown_steps == 0 {
        let problem = "there is no cool-down that could have a shape".to_owned();
        return refuse("schedule.cooldown_shape", problem, Some("set `schedule.cooldown_steps`".to_owned()));
    }
    within("schedule.final_learning_rate_ratio", schedule.final_learning_rate_ratio, 0.0, 1.0)?;

    match training.budget {
        Some(Budget::Tokens(0)) => positive("training.budget", 0)?,
        Some(Budget::Flops(most) | Budget::WallTimeS(most)) => above_zero("training.budget", most)?,
        _ => {}
    }
    // With a budget that is not turned into steps yet, what depends on them is looked at later.
    let steps_are_known = training.budget.is_none() || training.steps > 0;
    if steps_are_known {
        // Weights that are there already can be evaluated without a step.
        if choices.imported.is_none() {
            positive("training.steps", training.steps)?;
        }
        check_schedule(choices)?;
        check_trunk(choices)?;
    }
    positive("training.batch_size", u64::from(training.batch_size))?;
    positive("training.threads", u64::from(training.threads))?;
    if !training.batch_size.is_multiple_of(training.sequences_per_pass()) {
        return refuse(
            "training.micro_batch_size",
            format!("{} does not divide the batch size {}", training.micro_batch_size, training.batch_size),
            Some("gradients accumulate over whole passes, so use a divisor of the batch size".to_owned()),
        );
    }
    stages(choices)?;
    within("training.ema_decay", training.ema_decay, 0.0, 0.999_999_9)?;
    if training.reset_position_ids && !training.document_mask {
        let problem = "positions restart at documents only where documents do not see each other".to_owned();
        return refuse("training.reset_position_ids", problem, Some("set `training.document_mask = true`".to_owned()));
    }
    if choices.metrics.activations_every > 0 {
        positive("metrics.probe_sequences", u64::from(choices.metrics.probe_sequences))?;
    }
    for (key, at) in [
        ("evaluation.validation_at", &evaluation.validation_at),
        ("evaluation.tasks_at", &evaluation.tasks_at),
        ("evaluation.token_losses_at", &evaluation.token_losses_at),
    ] {
        if let Some(problem) = at.problem(training.steps).filter(|_| steps_are_known) {
            return refuse(key, problem, Some("`{ every = 200 }`, `{ log = 20 }`, `{ steps = [0, 100] }`".to_owned()));
        }
    }
    for (index, task) in evaluation.tasks.iter().enumerate() {
        if evaluation.tasks[..index].contains(task) {
            return refuse("evaluation.tasks", format!("`{task}` is named twice"), None);
        }
    }
    Ok(())
}

/// What CompleteP says of the depth, nothing else says as well.
fn check_depth_transfer(choices: &Choices) -> Result<(), Refusal> {
    let model = &choices.model;
    let rules = [
        (
            model.residual_scaling != ResidualScaling::None,
            "branches would be scaled twice",
            "model.residual_scaling = \"none\"",
        ),
        (
            model.initialization == Initialization::DepthScaled,
            "initial deviations would depend on the depth",
            "model.initialization = \"gpt2\"",
        ),
        (
            model.norm_placement == NormPlacement::Post,
            "a norm after the sum undoes the scale of a branch",
            "model.norm_placement = \"pre\"",
        ),
        (
            choices.optimizer.kind == OptimizerKind::Sgd,
            "its rules are for updates whose size does not follow the gradient's",
            "optimizer.kind = \"adamw\"",
        ),
    ];
    match rules.into_iter().find(|(holds, ..)| *holds && model.mup_base_layers > 0) {
        Some((_, problem, instead)) => {
            refuse("model.mup_base_layers", problem.to_owned(), Some(format!("set `{instead}`")))
        }
        None => Ok(()),
    }
}

/// A run that begins from a trunk has steps of its own.
fn check_trunk(choices: &Choices) -> Result<(), Refusal> {
    let Some(trunk) = &choices.trunk else { return Ok(()) };
    positive("trunk.step", trunk.step)?;
    if trunk.step >= choices.training.steps {
        let problem = format!("of {} steps none is left to train after step {}", choices.training.steps, trunk.step);
        return refuse("trunk.step", problem, Some("name an earlier step, or state more `training.steps`".to_owned()));
    }
    Ok(())
}

/// Warm-up and cool-down fit into the steps.
fn check_schedule(choices: &Choices) -> Result<(), Refusal> {
    let (schedule, training) = (&choices.schedule, &choices.training);
    if schedule.warmup_steps > training.steps {
        return refuse(
            "schedule.warmup_steps",
            format!("the warm-up of {} steps is longer than the {} steps", schedule.warmup_steps, training.steps),
            Some(format!("at most a tenth of the steps is usual: {}", training.steps.div_ceil(10))),
        );
    }
    if schedule.warmup_steps.saturating_add(schedule.cooldown_steps) > training.steps {
        return refuse(
            "schedule.cooldown_steps",
            format!("warm-up and cool-down together are longer than the {} steps", training.steps),
            Some(format!("a fifth of the steps is usual for the cool-down: {}", training.steps.div_ceil(5))),
        );
    }
    if schedule.kind == ScheduleKind::WarmupStableDecay && schedule.cooldown_steps == 0 {
        return refuse(
            "schedule.kind",
            "without `cooldown_steps` it never decays".to_owned(),
            Some(format!("set `schedule.cooldown_steps`, for example to {}", training.steps.div_ceil(5))),
        );
    }
    Ok(())
}

/// Each parameter group has a pattern that matches tensors of the model, and possible values.
fn check_groups(choices: &Choices) -> Result<(), Refusal> {
    // The names do not depend on the vocabulary.
    let tensors = choices.model.tensors(1);
    for group in &choices.optimizer.group {
        if let Err(error) = globset::Glob::new(&group.pattern) {
            return refuse("optimizer.group", format!("`{}` is no pattern: {}", group.pattern, error.kind()), None);
        }
        if !tensors.iter().any(|tensor| group.matches(&tensor.name)) {
            let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            let hint = match nearest(&group.pattern, &names) {
                Some(near) => format!("did you mean `{near}`? `harness show EXPERIMENT --model` lists the tensors"),
                None => "`harness show EXPERIMENT --model` lists the tensors; `*` stands for any characters".to_owned(),
            };
            return refuse("optimizer.group", format!("no tensor matches `{}`", group.pattern), Some(hint));
        }
        within("optimizer.group", group.learning_rate_ratio, 0.0, 1e6)?;
        within("optimizer.group", group.weight_decay.unwrap_or(0.0), 0.0, 10.0)?;
    }
    Ok(())
}

/// Stages of batch size and sequence length.
fn stages(choices: &Choices) -> Result<(), Refusal> {
    let training = &choices.training;
    for stage in &training.batch_size_stages {
        positive("training.batch_size_stages", u64::from(stage.batch_size))?;
        positive("training.batch_size_stages", stage.steps)?;
        let pass = training.micro_batch_size.min(stage.batch_size);
        if pass > 0 && !stage.batch_size.is_multiple_of(pass) {
            return refuse(
                "training.batch_size_stages",
                format!("a batch of {} cannot be split into passes of {pass}", stage.batch_size),
                Some("use multiples or divisors of `training.micro_batch_size`".to_owned()),
            );
        }
    }
    let future = choices.model.multi_token_prediction;
    for stage in &training.sequence_length_stages {
        positive("training.sequence_length_stages", stage.steps)?;
        let (length, context) = (stage.sequence_length, choices.model.context_length);
        if length == 0 || !context.is_multiple_of(length) {
            return refuse(
                "training.sequence_length_stages",
                format!("windows of {context} tokens cannot be cut into sequences of {length}"),
                Some("use divisors of `model.context_length`".to_owned()),
            );
        }
        if length <= future {
            return refuse(
                "training.sequence_length_stages",
                format!("a sequence of {length} tokens has no target {} tokens on", future + 1),
                Some("use longer sequences, or fewer `model.multi_token_prediction`".to_owned()),
            );
        }
    }
    Ok(())
}

fn refuse(key: &'static str, problem: String, hint: Option<String>) -> Result<(), Refusal> {
    Err((key, problem, hint))
}

fn positive(key: &'static str, value: u64) -> Result<(), Refusal> {
    if value > 0 { Ok(()) } else { refuse(key, "must be at least 1".to_owned(), None) }
}

fn above_zero(key: &'static str, value: f64) -> Result<(), Refusal> {
    let holds = value.is_finite() && value > 0.0;
    if holds { Ok(()) } else { refuse(key, format!("must be a finite number above 0, not {value}"), None) }
}

fn within(key: &'static str, value: f64, least: f64, most: f64) -> Result<(), Refusal> {
    let holds = value >= least && value <= most;
    if holds { Ok(()) } else { refuse(key, format!("must be between {least} and {most}, not {value}"), None) }
}

/// A proposal that could not come out both ways, or that says nothing of its seeds, decides nothing.
fn proposal(choices: &Choices) -> Result<(), Refusal> {
    let (decide, seeds) = (&choices.decide, choices.seeds);
    if let Some(expect) = &choices.expect {
        if !(expect.at_least > 0.0 && expect.at_least.is_finite()) {
            let problem = format!("must be above zero; it is {}", expect.at_least);
            let hint = "state the smallest change that would matter, in the metric's unit";
            return refuse("expect.at_least", problem, Some(hint.to_owned()));
        }
        if choices.against().is_none() {
            let hint = "name the experiment that it is held against, or extend it with `extends`";
            return refuse(
                "expect.against",
                "there is nothing to hold the metric against".to_owned(),
                Some(hint.to_owned()),
            );
        }
        if seeds < 2 {
            let problem =
                format!("{seeds} cannot decide an expectation: one run a side says nothing of the spread over seeds");
            return refuse("seeds", problem, Some("use at least 3".to_owned()));
        }
    } else if *decide != super::DecideConfig::default() {
        let hint = "state metric, direction and at_least";
        return refuse("expect", "`[decide]` has nothing to decide without it".to_owned(), Some(hint.to_owned()));
    }
    within("decide.level", decide.level, 0.001, 0.2)?;
    within("decide.margin", decide.margin, 0.0, 1e6)?;
    if !decide.looks.is_empty() {
        let ascends = decide.looks.windows(2).all(|pair| pair[0] < pair[1]) && decide.looks[0] >= 2;
        if !ascends || decide.looks.last() != Some(&seeds) {
            let problem =
                format!("{:?} are not numbers of seeds that ascend from 2 on to `seeds` = {seeds}", decide.looks);
            return refuse(
                "decide.looks",
                problem,
                Some(format!("with five seeds, `looks = [3, 5]`; or leave it out to look once, at {seeds}")),
            );
        }
    }
    for guardrail in &decide.guardrails {
        if !(guardrail.margin >= 0.0 && guardrail.margin.is_finite()) {
            let problem = format!("the margin of `{}` is {}", guardrail.metric, guardrail.margin);
            return refuse(
                "decide.guardrails",
                problem,
                Some("state the worsening that you put up with, 0 or more".to_owned()),
            );
        }
    }
    Ok(())
}
