use super::*;

fn load_texts(texts: &[(&str, &str)]) -> Result<Loaded, String> {
    let known: Vec<String> = texts.iter().map(|(name, _)| (*name).to_owned()).collect();
    let read =
        |name: &ExperimentName| Ok(texts.iter().find(|(n, _)| *n == name.as_str()).map(|(_, text)| (*text).to_owned()));
    load(&texts[0].0.parse().unwrap(), &known, &read, &Table::new()).map_err(|e| e.to_string())
}

#[test]
fn a_child_states_only_what_it_changes() {
    let parent =
        "title = \"Base\"\nhypothesis = \"h\"\ncorpus = \"books\"\n[model]\nlayers = 6\nwidth = 384\nheads = 6\n";
    let child = "extends = \"base\"\ntitle = \"Child\"\n[model]\nlayers = 8\n[schedule]\nwarmup_steps = 10\n";
    let loaded = load_texts(&[("child", child), ("base", parent)]).unwrap();
    assert_eq!(loaded.experiment.model.layers, 8);
    assert_eq!(loaded.experiment.model.width, 384);
    assert_eq!(loaded.experiment.corpus, "books");
    assert_eq!(loaded.experiment.hypothesis, "", "prose is not inherited");
    let parent = format!("{parent}[evaluation]\nvalidation_at = {{ every = 20 }}\n");
    let child = format!("{child}[evaluation]\nvalidation_at = {{ log = 9 }}\n");
    let replaced = load_texts(&[("child", &child), ("base", &parent)]).unwrap().experiment;
    assert_eq!(replaced.evaluation.validation_at, Steps::Log(9), "a value is replaced whole");
    assert_eq!(loaded.stated, [("model.layers".into(), "8".into()), ("schedule.warmup_steps".into(), "10".into())]);
    assert_eq!(*parse_resolved(&loaded.experiment.to_toml()).unwrap(), *loaded.experiment);
}

/// The files of `tests/configs/<kind>`, each as an experiment of its name.
fn cases(kind: &str) -> Vec<(String, Result<Loaded, ConfigError>)> {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/configs")).join(kind);
    let files = crate::files::list(&folder).unwrap();
    let names: Vec<String> = files.iter().filter_map(|file| file.strip_suffix(".toml")).map(str::to_owned).collect();
    let read = |name: &ExperimentName| match names.contains(&name.to_string()) {
        true => crate::files::read_to_string(&folder.join(format!("{name}.toml"))).map(Some),
        false => Ok(None),
    };
    let known = ["baseline".to_owned()];
    names.iter().map(|name| (name.clone(), load(&name.parse().unwrap(), &known, &read, &Table::new()))).collect()
}

#[test]
fn what_is_right_loads_and_is_the_same_once_resolved() {
    for (name, loaded) in cases("valid") {
        let experiment = loaded.unwrap_or_else(|e| panic!("{name}: {e}")).experiment;
        let resolved = experiment.resolved(100, Some(1e6)).unwrap();
        assert_eq!(parse_resolved(&resolved.to_toml()).unwrap(), resolved, "{name}");
    }
}

/// The messages are beside the files.
#[test]
fn mistakes_are_shown_at_their_place() {
    insta::with_settings!({ snapshot_path => "../../../../tests/configs/invalid", prepend_module_to_snapshot => false, omit_expression => true }, {
        for (name, loaded) in cases("invalid") {
            let message = loaded.map(|loaded| panic!("{name} loads: {loaded:?}")).unwrap_err().to_string();
            insta::assert_snapshot!(name, message);
        }
    });
}

#[test]
fn gpt2_has_the_published_number_of_parameters() {
    // Radford et al. 2019 name it 117M; the released weights count 124,439,808 (50,257 tokens, 1,024 positions).
    let gpt2 = ModelConfig { layers: 12, heads: 12, width: 768, context_length: 1024, ..ModelConfig::default() };
    assert_eq!(gpt2.parameters(50_257).0, 124_439_808);
    // 6 N + 6 L T C with N the weights in products: the 85 M of the blocks (12 L C^2) and the head.
    let weights = 12.0 * 12.0 * 768.0 * 768.0 + 50_257.0 * 768.0;
    assert_eq!(gpt2.training_flops_per_token(50_257), 6.0 * weights + 6.0 * 12.0 * 1024.0 * 768.0);
}

#[test]
fn a_window_saves_what_lies_outside_of_it() {
    let model = |attention_window| ModelConfig { attention_window, context_length: 16, ..ModelConfig::default() };
    let flops = |window| model(window).training_flops_per_token(100);
    assert_eq!((flops(0), flops(16)), (flops(99), flops(0)));
    // A token sees 1, 2, 3, 4, 4, ... of 16 positions; the formula has the continuous form of that: 3.5 on average.
    assert_eq!(flops(0) - flops(4), 12.0 * 4.0 * 128.0 * (8.0 - 3.5));
}

/// A key that is new may not change the plan of those who do not state it: their runs would no longer count together. Who
/// changes a default on purpose changes this digest and says so in CHANGELOG.md.
#[test]
fn a_plan_keeps_its_digest() {
    let experiment = load_texts(&[("x", "corpus = \"b\"\n")]).unwrap().experiment;
    let text = experiment.to_toml();
    for line in LATER_DEFAULTS {
        assert_eq!(text.lines().filter(|stated| *stated == line).count(), 1, "{line} is how the config is written");
    }
    assert!(is_off_as_ever("model.smear", "false") && !is_off_as_ever("model.smear", "true"));
    assert!(!is_of_the_plan("expect.metric") && !is_of_the_plan("seeds") && is_of_the_plan("seed"));
    assert_eq!(
        experiment.plan_digest().to_string(),
        "e33836b18e7bde37a030b38f8dd4b3656109c5297d00f6f950af7b5a69da17b0"
    );
}

#[test]
fn parameter_groups_match_tensors_by_name() {
    let group = |lines: &str| format!("corpus = \"b\"\n[[optimizer.group]]\n{lines}\n");
    let loaded = load_texts(&[("x", &group("match = \"*embedding*\"\nlearning_rate_ratio = 0.5"))]).unwrap();
    let (model, optimizer) = (&loaded.experiment.model, &loaded.experiment.optimizer);
    let rule = |name: &str| optimizer.update_rule(model, &tensor(model, name));
    assert_eq!(rule("token_embedding"), UpdateRule { learning_rate_ratio: 0.5, weight_decay: 0.1, epsilon_ratio: 1.0 });
    assert_eq!(
        rule("final_norm.weight"),
        UpdateRule { learning_rate_ratio: 1.0, weight_decay: 0.0, epsilon_ratio: 1.0 }
    );
    assert_eq!(*parse_resolved(&loaded.experiment.to_toml()).unwrap(), *loaded.experiment);
}

fn tensor(model: &ModelConfig, name: &str) -> TensorSpec {
    model.tensors(9).into_iter().find(|tensor| tensor.name == name).unwrap()
}

/// Table 8 of Yang et al. 2022 at four times the base width.
#[test]
fn width_transfer_follows_its_table() {
    let base = ModelConfig { mup_base_width: 32, mup_base_heads: 2, tied_embeddings: false, ..ModelConfig::default() };
    let model = ModelConfig { width: 128, heads: 8, ..base };
    let ratio = |name: &str, kind| model.learning_rate_ratio(tensor(&model, name).role, kind);
    for (kind, hidden, other) in [
        (OptimizerKind::Adamw, 0.25, 1.0),
        (OptimizerKind::Lion, 0.25, 1.0),
        (OptimizerKind::Sgd, 1.0, 4.0),
        (OptimizerKind::Muon, 0.5, 1.0),
        (OptimizerKind::Normuon, 0.5, 1.0),
    ] {
        assert_eq!(ratio("blocks.0.attention.output.weight", kind), hidden, "{kind:?}");
        for name in ["token_embedding", "head", "blocks.0.attention_norm.weight"] {
            assert_eq!(ratio(name, kind), other, "{kind:?} {name}");
        }
    }
    assert_eq!((model.logit_scale(), model.hidden_deviation_ratio()), (0.25, 0.5));
    assert_eq!(model.attention_scale(), 1.0 / 4.0, "heads of 16 channels, as at the base width");
    let rule = OptimizerConfig::default().update_rule(&model, &tensor(&model, "blocks.0.attention.output.weight"));
    assert_eq!(
        rule,
        UpdateRule { learning_rate_ratio: 0.25, weight_decay: 0.4, epsilon_ratio: 1.0 },
        "what a step takes off stays the same"
    );
}

/// Table 1 of Dey et al. 2025 with alpha = 1, at four times the base width and eight times the base depth.
#[test]
fn depth_transfer_follows_its_table() {
    let base = ModelConfig { mup_base_width: 32, mup_base_layers: 2, ..ModelConfig::default() };
    let model = ModelConfig { width: 128, layers: 16, ..base };
    assert_eq!(model.depth_ratio(), 8.0);
    let rule = |name: &str| OptimizerConfig::default().update_rule(&model, &tensor(&model, name));
    let of = |learning_rate_ratio, weight_decay, epsilon_ratio| UpdateRule {
        learning_rate_ratio,
        weight_decay,
        epsilon_ratio,
    };
    assert_eq!(rule("blocks.9.feed_forward.output.weight"), of(0.25, 0.4, 1.0 / 32.0));
    assert_eq!(rule("blocks.9.attention_norm.weight"), of(1.0, 0.0, 1.0 / 32.0));
    assert_eq!(rule("token_embedding"), of(1.0, 0.1, 0.25));
    assert_eq!(rule("final_norm.weight"), of(1.0, 0.0, 0.25));
}

#[test]
fn what_would_have_no_effect_or_a_double_one_is_refused() {
    for (lines, expected) in [
        ("[model]\nmup_base_layers = 2\nresidual_scaling = \"depth\"", "scaled twice"),
        ("[model]\nmup_base_layers = 2\ninitialization = \"depth_scaled\"", "depend on the depth"),
        ("[model]\nmup_base_layers = 2\nnorm_placement = \"post\"", "undoes the scale"),
        ("[model]\nmup_base_layers = 2\n[optimizer]\nkind = \"sgd\"", "follow the gradient's"),
        ("[model]\nbigram_rows = 1", "tokens without one before"),
        ("[optimizer]\northogonalization = \"polar_express\"", "orthogonalizes nothing"),
        ("[schedule]\ncooldown_shape = \"one_minus_sqrt\"", "no cool-down"),
    ] {
        let message = load_texts(&[("x", &format!("corpus = \"b\"\n{lines}\n"))]).unwrap_err();
        assert!(message.contains(expected) && message.contains("hint: "), "{message}");
    }
}

#[test]
fn later_tokens_cost_a_block_and_a_head_each() {
    let model = |multi_token_prediction| ModelConfig { multi_token_prediction, ..ModelConfig::default() };
    let flops = |multi_token_prediction| model(multi_token_prediction).training_flops_per_token(100);
    // 12 C^2 weights and half of the context in the block, 100 C in the head.
    assert_eq!(flops(2) - flops(1), 6.0 * (12.0 * 128.0 * 128.0 + 100.0 * 128.0) + 12.0 * 128.0 * 64.0);
    assert_eq!(model(1).parameters(100).0 - model(0).parameters(100).0, 12 * 128 * 128 + 13 * 128);
}

#[test]
fn a_budget_becomes_the_most_steps_that_it_pays_for() {
    let with = |budget: &str| format!("corpus = \"b\"\n[training]\nbatch_size = 4\nbudget = {{ {budget} }}\n");
    let load = |budget: &str| load_texts(&[("x", &with(budget))]).map(|loaded| loaded.experiment);
    // 512 tokens a step.
    let tokens = load("tokens = 5_300").unwrap();
    assert_eq!((tokens.training.steps, tokens.has_steps()), (10, true));
    let per_token = tokens.model.training_flops_per_token(100);
    let flops = load(&format!("flops = {:e}", 20.5 * 512.0 * per_token)).unwrap();
    assert!(!flops.has_steps() && !flops.is_timed());
    assert!(
        parse_resolved(&flops.to_toml()).unwrap_err().contains("not turned into steps"),
        "no experiment holds 0 steps"
    );
    assert_eq!(flops.resolved(100, None).unwrap().training.steps, 20);
    let timed = load("wall_time_s = 60").unwrap();
    assert_eq!(timed.resolved(100, None), Err(BudgetError::NeedsRate));
    let resolved = timed.resolved(100, Some(512.0)).unwrap();
    assert_eq!(resolved.training.steps, 60);
    assert_eq!(parse_resolved(&resolved.to_toml()).unwrap(), resolved);
    let too_slow = timed.resolved(100, Some(1.0)).unwrap_err().to_string();
    assert!(too_slow.contains("does not pay for one step of 512 tokens"), "{too_slow}");
}

#[test]
fn steps_and_budget_take_each_others_place() {
    let parent = "corpus = \"b\"\n[training]\nbudget = { tokens = 1_000_000 }\n";
    let child = |line: &str| format!("extends = \"base\"\n[training]\n{line}\n");
    let load = |line: &str| load_texts(&[("x", &child(line)), ("base", parent)]).map(|loaded| loaded.experiment);
    let steps = load("steps = 7").unwrap();
    assert_eq!((steps.training.steps, steps.training.budget), (7, None));
    let other = load("budget = { wall_time_s = 5 }").unwrap();
    assert_eq!(other.training.budget, Some(Budget::WallTimeS(5.0)));
    assert!(load("batch_size = 32").unwrap().training.steps < load("batch_size = 16").unwrap().training.steps);
}

#[test]
fn a_scale_fills_in_what_the_file_does_not_state() {
    let load = |texts: &[(&str, &str)]| load_texts(texts).map(|loaded| (loaded.experiment, loaded.stated));
    let (demo, stated) = load(&[("x", "corpus = \"b\"\nscale = \"demo\"\n[model]\nwidth = 64\n")]).unwrap();
    assert_eq!((demo.model.layers, demo.model.width, demo.training.steps), (2, 64, 2000), "explicit keys win");
    assert!(stated.contains(&("model.layers".into(), "2".into())) && stated.iter().all(|(key, _)| key != "scale"));
    // Written out, it is the same plan as one that states the sizes, and needs no scale to be read again.
    let written = demo.to_toml().replace("scale = \"demo\"\n", "");
    assert_ne!(written, demo.to_toml());
    assert_eq!(parse_resolved(&written).unwrap().plan_digest(), demo.plan_digest());

    let parent = ("base", "corpus = \"b\"\nscale = \"demo\"\n[model]\nwidth = 64\n");
    let (child, _) =
        load(&[("x", "extends = \"base\"\nscale = \"gpu-1h\"\n[training]\nbatch_size = 64\n"), parent]).unwrap();
    assert_eq!(
        (child.model.width, child.training.batch_size),
        (768, 64),
        "a child's scale replaces its parent's sizes"
    );
    assert_eq!((child.training.steps, child.training.budget), (0, Some(Budget::WallTimeS(3600.0))));
    let (child, _) = load(&[("x", "extends = \"base\"\n[training]\nsteps = 5\n"), parent]).unwrap();
    assert_eq!((child.scale, child.model.layers, child.training.steps), (None, 2, 5), "sizes are inherited");
    let (steps, _) = load(&[("x", "corpus = \"b\"\nscale = \"gpu-1h\"\n[training]\nsteps = 5\n")]).unwrap();
    assert_eq!((steps.training.steps, steps.training.budget), (5, None));
    let (books, _) = load(&[("x", "corpus = \"b\"\nscale = \"books\"\n")]).unwrap();
    assert_eq!((books.model.width, books.training.precision), (288, Precision::Bf16));
    let wrong = load(&[("x", "corpus = \"b\"\nscale = \"book\"\n")]).unwrap_err();
    assert!(wrong.contains("unknown value `book`") && wrong.contains("did you mean `books`?"), "{wrong}");
}

#[test]
fn evaluation_steps_hold_the_first_and_last() {
    let every = |steps| EvaluationConfig { validation_at: Steps::Every(steps), ..EvaluationConfig::default() };
    assert_eq!(every(40).validation_steps(100), [0, 40, 80, 100]);
    assert_eq!(every(40).validation_steps(80), [0, 40, 80]);
    assert_eq!(every(40).token_loss_steps(100), [100]);
    let log = EvaluationConfig { validation_at: Steps::Log(7), ..EvaluationConfig::default() };
    assert_eq!(log.validation_steps(1_000_000), [0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]);
    assert_eq!(Steps::Log(10).of(8), [1, 2, 3, 4, 5, 6, 8], "steps that round to one are one");
    let listed = Steps::Steps(vec![0, 10, 70]);
    let listed =
        EvaluationConfig { validation_at: Steps::Last, token_losses_at: listed, ..EvaluationConfig::default() };
    assert_eq!(listed.validation_steps(100), [0, 10, 70, 100], "a step with token losses has its validation loss");
    let none = EvaluationConfig { validation_at: Steps::None, ..EvaluationConfig::default() };
    assert!(none.validation_steps(100).is_empty() && none.token_loss_steps(100).is_empty());
}

#[test]
fn keys_that_were_renamed_are_refused_in_a_config_and_read_from_a_record() {
    for (section, old, new, value) in [
        ("model", "initialization_deviation", "init_std", "0.03"),
        ("model", "future_tokens", "multi_token_prediction", "1"),
        ("model", "future_loss_weight", "multi_token_loss_weight", "0.5"),
        ("metrics", "layers_every", "tensor_norms_every", "7"),
        ("training", "average_decay", "ema_decay", "0.9"),
        ("training", "restart_positions", "reset_position_ids", "true"),
    ] {
        let mask = if section == "training" { "document_mask = true\n" } else { "" };
        let with = |key: &str| format!("corpus = \"b\"\n[{section}]\n{mask}{key} = {value}\n");
        let message = load_texts(&[("x", &with(old))]).unwrap_err();
        assert!(message.contains(&format!("unknown key `{old}`")), "{message}");
        assert!(message.contains(&format!("hint: it is called `{new}` now")), "{message}");
        assert_eq!(parse_resolved(&with(old)).unwrap(), parse_resolved(&with(new)).unwrap());
        let recorded =
            |text: String| load_recorded(&"x".parse().unwrap(), &|_| Ok(Some(text.clone())), &Table::new()).unwrap();
        assert_eq!(recorded(with(old)).experiment, recorded(with(new)).experiment);
    }
}
