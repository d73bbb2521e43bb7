//! A study made of synthetic runs: sealed folders with curves that look like training, so that the whole way from
//! files to PDF can be tested without a trainer.

use std::path::Path;

use harness_core::config::{Experiment, parse_resolved};
use harness_core::contract::{About, Closing, Determinism, Evaluation, OutputFile, SamplingRule, Started};
use harness_core::names::{ExperimentName, Project, RunId};
use harness_core::samples::SampleText;
use harness_core::scores::{ChoiceScore, StepLine, WindowLoss, to_csv};
use harness_core::task_kind::{Kind, Metric};
use harness_core::{Digest, files};
use serde_json::json;

use harness_analyse::RunAnalysis;
use harness_record::SealedRun;
use harness_record::format::{
    Binaries, Code, Data, Evaluated, Host, Launch, Launcher, Open, Plan, Purpose, Record, Resources, SeedRule, Shard,
    Status, Task, VERSION, file,
};

/// One synthetic run.
pub(super) struct Synthetic {
    pub experiment: &'static str,
    pub run: &'static str,
    pub config: String,
    /// Added to the loss at the end.
    pub offset: f64,
    pub books: bool,
    /// Whether tasks are scored.
    pub tasks: bool,
    /// Stands before the titles of tasks.
    pub task_prefix: &'static str,
}

/// `baseline` and `lr-warmup` on a generated corpus with four tasks.
pub(super) fn demo() -> Vec<Synthetic> {
    let base = "title = \"Baseline\"\nquestion = \"How well does a small GPT-2 learn agreement and anaphora?\"\n\
        hypothesis = \"The model is clearly better than a unigram model and above chance on each task.\"\n\
        rationale = \"A pre-layernorm GPT-2 [@radford2019language] with AdamW [@loshchilov2019decoupled] is well understood.\"\n";
    let warm = "title = \"LR warm-up\"\nquestion = \"Does a linear warm-up of the learning rate help at this peak rate?\"\n\
        hypothesis = \"With warm-up over a tenth of the steps the early loss is smoother and the final bits per byte are lower.\"\n\
        rationale = \"Adam's second-moment estimate rests on few samples in the first steps, so early updates are noisy \
        [@liu2020variance]; a warm-up also lets larger rates be used [@goyal2017accurate].\"\nextends = \"baseline\"\n";
    let rest = |warmup: u32| {
        format!(
            "corpus = \"grammar\"\nseed = 1\n[model]\nlayers = 4\nheads = 4\nwidth = 128\ncontext_length = 128\n\
             [optimizer]\nlearning_rate = 2e-3\n[schedule]\nwarmup_steps = {warmup}\n[training]\nsteps = 300\nbatch_size = 16\n\
             device = \"cpu\"\n[evaluation]\nvalidation_at = {{ every = 25 }}\ntasks = [\"agreement\"]\n"
        )
    };
    vec![
        Synthetic {
            experiment: "baseline",
            run: "20261123T081500Z-00ab12cd",
            config: format!("{base}{}", rest(0)),
            offset: 0.0,
            books: false,
            tasks: true,
            task_prefix: "",
        },
        Synthetic {
            experiment: "lr-warmup",
            run: "20261123T082000Z-00cd34ef",
            config: format!("{warm}{}", rest(30)),
            offset: -0.06,
            books: false,
            tasks: true,
            task_prefix: "",
        },
    ]
}

/// `baseline` and `lr-warmup` with these seeds each. The loss of `lr-warmup` is lower by 0.06 nats.
pub(super) fn seeds(count: usize) -> Vec<Synthetic> {
    const RUNS: [[&str; 3]; 2] = [
        ["20261123T081500Z-00ab12cd", "20261123T083000Z-0000000e", "20261123T084000Z-0000001e"],
        ["20261123T082000Z-00cd34ef", "20261123T083500Z-0000000f", "20261123T084500Z-0000001f"],
    ];
    let mut all = Vec::new();
    for seed in 0..count {
        for (mut one, run) in demo().into_iter().zip(RUNS) {
            one.run = run[seed];
            one.config = one.config.replace("seed = 1", &format!("seed = {}", seed + 1));
            // Seeds differ among themselves, the change by a little less in each.
            one.offset = one.offset * (1.0 + 0.01 * seed as f64) + 0.02 * seed as f64;
            all.push(one);
        }
    }
    all
}

/// A run on a corpus of 25 books with the public tasks.
pub(super) fn books() -> Synthetic {
    let config = "title = \"Books baseline\"\nquestion = \"What does a model of 10 million parameters learn from 25 books?\"\n\
        hypothesis = \"Validation bits per byte fall well below those of a bigram model.\"\n\
        rationale = \"The budget is far below the compute-optimal one [@kaplan2020scaling], so \\\"learning\\\" #stops early; see @godbole2023tuning.\"\n\
        corpus = \"books\"\nseed = 1\n[model]\nlayers = 6\nheads = 6\nwidth = 384\ncontext_length = 256\n\
        [training]\nsteps = 500\nbatch_size = 16\n[evaluation]\nvalidation_at = { every = 50 }\n";
    Synthetic {
        experiment: "books-baseline",
        run: "20261123T090000Z-00ef56ab",
        config: config.to_owned(),
        offset: 0.4,
        books: true,
        tasks: true,
        task_prefix: "",
    }
}

/// Noise from a counter: the same on every machine, about uniform in -1..1.
fn noise(seed: u64, counter: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(counter.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    x ^= x >> 31;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 29;
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// Id, group, kind, metric, chance, items.
type Planned = (String, Option<String>, Kind, Metric, f64, u64);

fn tasks(books: bool) -> Vec<Planned> {
    if !books {
        let task = |id: &str| (id.to_owned(), None, Kind::MinimalPairs, Metric::Accuracy, 0.5, 300);
        return ["grammar-agreement", "grammar-anaphora", "grammar-determiner", "grammar-filler-gap"]
            .map(task)
            .to_vec();
    }
    let paradigms = [
        "adjunct_island",
        "anaphor_number_agreement",
        "causative",
        "determiner_noun_agreement_1",
        "determiner_noun_agreement_with_adj_irregular_1",
        "distractor_agreement_relational_noun",
        "ellipsis_n_bar_1",
        "existential_there_quantifiers_1",
        "existential_there_subject_raising",
        "irregular_past_participle_verbs",
        "only_npi_licensor_present",
        "principle_A_case_1",
        "principle_A_domain_2",
        "regular_plural_subject_verb_agreement_1",
        "wh_questions_subject_gap",
        "wh_vs_that_with_gap",
    ];
    let mut all: Vec<_> = paradigms
        .iter()
        .map(|p| (format!("blimp.{p}"), Some("blimp".to_owned()), Kind::MinimalPairs, Metric::Accuracy, 0.5, 100))
        .collect();
    all.push(("lambada".to_owned(), None, Kind::LastWord, Metric::GreedyAccuracy, 0.0, 400));
    all.push(("piqa".to_owned(), None, Kind::MultipleChoice, Metric::AccuracyPerCharacter, 0.5, 300));
    all.push(("arc-easy".to_owned(), None, Kind::MultipleChoice, Metric::Accuracy, 0.25, 300));
    all
}

fn manifest(books: bool) -> serde_json::Value {
    let count = if books { 25 } else { 1 };
    let source = |i: usize| {
        json!({
            "name": if books { format!("book-{i}") } else { "grammar".to_owned() },
            "title": if books { format!("A Book of Some Length, by Author Number {i}") } else { "Generated English-like text".to_owned() },
            "url": books.then(|| format!("https://example.org/books/{i}.md")),
            "sha256": digest(&format!("source {i}")), "bytes": 500_000 + 1000 * i, "licence": if books { "public domain" } else { "CC0-1.0" },
            "citation": "", "stage_key": digest("stage"), "cleaned_sha256": digest("clean"), "head_bytes": 0, "lines_repaired": 0,
            "documents_read": 40, "train_documents": 36, "train_bytes": 450_000 + 900 * i, "train_tokens": 120_000 + 200 * i, "epochs": 1.0,
            "validation_documents": 4, "validation_bytes": 50_000, "validation_tokens": 13_000,
            "test_documents": 0, "test_bytes": 0, "test_tokens": 0, "fertility_tokens_per_word": 1.3,
        })
    };
    let listed = json!({ "path": "train-000.bin", "sha256": digest("shard"), "size_bytes": 1_000_000 });
    let side = |documents: u64, bytes: u64, tokens: u64| json!({ "documents": documents, "text_bytes": bytes, "text_tokens": tokens, "tokens": tokens + documents, "shards": [listed] });
    let step = |name: &str| json!({ "step": name, "documents_in": 1010, "documents_out": 1000, "documents_changed": 12, "bytes_in": 9_000_000, "bytes_out": 8_990_000 });
    let stage =
        |(name, documents, bytes): (&str, u64, u64)| json!({ "stage": name, "documents": documents, "bytes": bytes });
    let funnel = [
        ("read", 1010, 9_000_000),
        ("normalise_unicode", 1010, 8_999_000),
        ("drop_short", 1000, 8_990_000),
        ("exact_duplicates", 997, 8_400_000),
        ("near_duplicates", 997, 8_400_000),
        ("contaminated", 997, 8_400_000),
        ("leaked", 997, 8_400_000),
    ];
    let spread = |documents: u64, total: u64, counts: &[u64], shorter: u64| {
        json!({
            "documents": documents, "total": total, "smallest": 72 / shorter, "lower_quartile": 2_900 / shorter,
            "median": 7_300 / shorter, "upper_quartile": 12_800 / shorter, "largest": 61_000 / shorter, "by_power_of_two": counts,
        })
    };
    let lengths = |documents: u64, bytes: u64, tokens: u64, counts: &[u64]| {
        json!({
            "bytes": spread(documents, bytes, counts, 1), "tokens": spread(documents, tokens, &counts[2..], 4),
        })
    };
    let train_counts = [0, 0, 0, 0, 0, 0, 3, 6, 18, 60, 110, 190, 260, 170, 70, 13];
    let validation_counts = [0, 0, 0, 0, 0, 0, 0, 2, 4, 9, 10, 25, 28, 14, 5];
    let contamination = |task: &str| json!({ "task": task, "items": 400, "items_too_short": 20, "items_found": 3, "documents": 2, "examples": [1, 2, 3] });
    let baseline = |model: &str, bits: f64| json!({ "model": model, "estimate": "add-one", "train_tokens": 1000, "loss_nats_per_token": 4.0, "bits_per_byte": bits });
    let held_out = |i: u32| json!({ "id": format!("held-out#{i}"), "sha256": digest(&format!("held out {i} {books}")), "bytes": 4000, "tokens": 999 });
    json!({
        "format": 4, "name": if books { "books" } else { "grammar" }, "key": digest("key"),
        "title": if books { "Twenty-five English books" } else { "Generated English-like text" },
        "description": if books { "Novels, tales, essays and science by 19 authors: 9.8 MB of edited prose." } else { "" },
        "language": "en", "licence": if books { "public domain (README of the source: \"All titles from the public domain.\")" } else { "CC0-1.0" },
        "citation": if books { "M. Schmitt, classic-books-markdown, https://example.org/mlschmitt/classic-books-markdown, commit 9448827" } else { "" },
        "limitations": if books { "Old literary English of few authors.\nValidation holds chapters of the same books out; [no] #markup $here$." } else { "" },
        "recipe": {
            "duplicates": { "exact": true, "near": if books { json!({ "jaccard": 0.8 }) } else { json!(null) } },
            "decontaminate": { "action": "leave_out" },
        },
        "sources": (1..=count).map(source).collect::<Vec<_>>(),
        "steps": if books { vec![step("normalise_unicode"), step("drop_short")] } else { vec![] },
        "documents": { "read": 1010, "removed_by_steps": 10, "exact_duplicates": 3, "near_duplicates": 0, "contaminated": 0, "leaked": 0, "train": 900, "validation": 97, "test": 0 },
        "funnel": funnel[..if books { 7 } else { 1 }].iter().copied().map(stage).collect::<Vec<_>>(),
        "lengths": {
            "train": lengths(900, 8_000_000, 2_000_000, &train_counts), "validation": lengths(97, 400_000, 99_900, &validation_counts), "test": lengths(0, 0, 0, &[0, 0]), "sources": [],
        },
        "duplicate_group_sizes": [{ "documents": 2, "groups": 3 }],
        "split_rule": "a document is validation if its rank, the SHA-256 of its text hashed again and read as a number in [0, 1), is below 0.05",
        "largest_duplicate_groups": [],
        "contamination": if books { vec![contamination("lambada"), contamination("piqa")] } else { vec![] }, "train": side(900, 8_000_000, 2_000_000), "validation": side(100, 400_000, 99_900), "test": side(0, 0, 0),
        "tokenizer": {
            "kind": "bpe", "sha256": digest("tokenizer"), "vocabulary_size": 2048, "separator": 0, "separator_text": "<|endoftext|>",
            "encoder": "", "validation_bytes_per_token": 4.004, "train_bytes_per_token": 4.0, "unused_tokens": 0, "licence": "", "citation": "", "inputs": [],
        },
        "baselines": [baseline("unigram", if books { 2.9 } else { 2.35 }), baseline("bigram", if books { 2.5 } else { 1.75 })],
        "validation_documents": (0..100).map(held_out).collect::<Vec<_>>(), "files": [],
    })
}

struct Run<'a> {
    folder: &'a Path,
    outputs: Vec<OutputFile>,
}

impl Run<'_> {
    fn write(&mut self, path: &str, bytes: &[u8]) -> Digest {
        files::write(&self.folder.join(path), bytes).unwrap();
        let sha256 = Digest::of(bytes);
        self.outputs.push(OutputFile { path: path.to_owned(), sha256, size_bytes: bytes.len() as u64 });
        sha256
    }
}

/// Writes and seals a run, opens it and analyses it.
pub(super) fn analysis(project: &Project, synthetic: &Synthetic) -> RunAnalysis {
    let name: ExperimentName = synthetic.experiment.parse().unwrap();
    let id: RunId = synthetic.run.parse().unwrap();
    let config = parse_resolved(&synthetic.config).unwrap_or_else(|e| panic!("{e}"));
    let folder = project.run(&name, &id);
    let mut run = Run { folder: &folder, outputs: Vec::new() };
    let seed = u64::from(id.as_str().bytes().map(u32::from).sum::<u32>());
    let config_sha256 = run.write(file::CONFIG, config.to_toml().as_bytes());
    let data_root =
        run.write(file::CORPUS_MANIFEST, serde_json::to_string(&manifest(synthetic.books)).unwrap().as_bytes());
    run.write(file::STEPS, &steps(&config, synthetic.offset, seed));
    let tasks = if synthetic.tasks { tasks(synthetic.books) } else { Vec::new() };
    let evaluations = evaluations(&mut run, &config, synthetic, &tasks, seed);
    let started = started(&config);
    let open = open(&id, &config, (config_sha256, data_root), &tasks, synthetic);
    let record = record(&id, &config, started, evaluations);
    run.write(file::OPEN, &serde_json::to_vec_pretty(&open).unwrap());
    run.write(file::RECORD, &serde_json::to_vec_pretty(&record).unwrap());
    run.outputs.sort_by(|a, b| a.path.cmp(&b.path));
    let manifest: String = run.outputs.iter().map(|o| format!("{}  {}\n", o.sha256, o.path)).collect();
    files::write(&folder.join(file::MANIFEST), manifest.as_bytes()).unwrap();
    RunAnalysis::of(SealedRun::open(project, &name, &id).unwrap_or_else(|e| panic!("{e}")))
        .unwrap_or_else(|e| panic!("{e}"))
}

/// The loss after `tokens` tokens of `total`.
fn loss(fraction: f64, offset: f64) -> f64 {
    2.35 + 5.2 * libm::exp(-9.0 * fraction) + offset * fraction
}

fn steps(config: &Experiment, offset: f64, seed: u64) -> Vec<u8> {
    let total = config.training.steps;
    let tokens = u64::from(config.training.batch_size) * u64::from(config.model.context_length);
    let warmup = config.schedule.warmup_steps;
    let line = |step: u64| {
        let fraction = step as f64 / total as f64;
        let peak = config.optimizer.learning_rate;
        let rate = if step < warmup {
            peak * step as f64 / warmup as f64
        } else {
            let done = (step - warmup) as f64 / (total - warmup).max(1) as f64;
            peak * (0.1 + 0.45 * (1.0 + libm::cos(std::f64::consts::PI * done)))
        };
        let early = if warmup == 0 { 6.0 } else { 2.0 };
        StepLine {
            step,
            tokens: step * tokens,
            loss_nats: loss(fraction, offset) + 0.11 * noise(seed, step),
            learning_rate: rate,
            gradient_norm: (0.5 + early * libm::exp(-14.0 * fraction)) * (1.0 + 0.35 * noise(seed + 1, step)),
            wall_time_s: step as f64 * 0.11,
            tokens_per_s: 18_000.0 + 900.0 * noise(seed + 2, step),
            ..StepLine::default()
        }
    };
    to_csv((1..=total).map(line))
}

fn evaluations(
    run: &mut Run,
    config: &Experiment,
    synthetic: &Synthetic,
    tasks: &[Planned],
    seed: u64,
) -> Vec<Evaluation> {
    let total = config.training.steps;
    let tokens = u64::from(config.training.batch_size) * u64::from(config.model.context_length);
    let mut evaluations = Vec::new();
    for step in config.evaluation.validation_steps(total) {
        let before = run.outputs.len();
        let nats = loss(step as f64 / total as f64, synthetic.offset);
        let of_document = |document: u64| 1.0 + 0.01 * noise(seed + 3, 5000 + document);
        let window = |document: u64| WindowLoss {
            document,
            first_token: 1,
            tokens: 999,
            loss_nats: 999.0 * nats * of_document(document),
        };
        run.write(&format!("evaluations/step-{step:08}/validation.csv"), &to_csv((0..100).map(window)));
        if step == total {
            for (index, (id, _, kind, _, chance, items)) in tasks.iter().enumerate() {
                let skill = chance + (0.9 - chance) * (0.35 + 0.5 * noise(seed, 1000 + index as u64).abs())
                    - synthetic.offset * 0.2;
                let skill = if id.contains("island") { 0.5 } else { skill };
                let choices = match *kind {
                    Kind::LastWord => 1,
                    _ if *chance < 0.4 => 4,
                    _ => 2,
                };
                let mut rows = Vec::new();
                for item in 0..*items {
                    let right = 0.5 * (noise(seed + 7 + index as u64, item) + 1.0) < skill;
                    for choice in 0..choices {
                        let gold = choice == (item % u64::from(choices)) as u32;
                        rows.push(ChoiceScore {
                            item,
                            choice,
                            gold,
                            characters: 20,
                            tokens: 5,
                            log_probability_nats: Some(if gold == right { -9.0 } else { -12.0 - f64::from(choice) }),
                            greedy: right && item % 3 == 0,
                            bytes: 20,
                            words: 4,
                            unconditional_log_probability_nats: None,
                            context_tokens_cut: 0,
                            cluster: None,
                        });
                    }
                }
                run.write(&format!("evaluations/step-{step:08}/{id}.csv"), &to_csv(rows));
            }
        }
        let files = run.outputs[before..].to_vec();
        let (tokens, unanswered) = (step * tokens, Vec::new());
        evaluations.push(Evaluation { step, tokens, files, wall_time_s: 1.5, unanswered, self_test: None });
    }
    evaluations
}

fn started(config: &Experiment) -> Started {
    let determinism = Determinism { compute_dtype: "float32".into(), intra_op_threads: 2, ..Determinism::default() };
    Started {
        version: 1,
        about: About { libtorch: "2.11.0".into(), build_profile: "release".into(), ..About::default() },
        device: "cpu".into(),
        parameters: config.model.parameters(2048).0,
        parameters_without_embeddings: config.model.parameters(2048).1,
        flops_per_token: config.model.training_flops_per_token(2048),
        predicted_memory_bytes: None,
        peak: None,
        first_step: 0,
        determinism,
        ranks: None,
    }
}

fn open(
    id: &RunId,
    config: &Experiment,
    (config_sha256, data_root): (Digest, Digest),
    tasks: &[Planned],
    synthetic: &Synthetic,
) -> Open {
    let shard = |split: &str, tokens: u64, documents: u64| Shard {
        split: split.into(),
        path: format!(".harness/corpora/{split}-000.bin"),
        sha256: digest(split),
        size_bytes: 2 * tokens,
        tokens,
        documents,
    };
    Open {
        format: VERSION,
        run: id.clone(),
        experiment: synthetic.experiment.parse().unwrap(),
        opened_at: "2026-11-23T08:15:00Z".into(),
        resumed_from: None,
        evaluates: None,
        heads: vec![],
        not_citable_because: None,
        plan: Plan {
            purpose: Purpose::Explore,
            study: None,
            seed: config.seed,
            seed_rule: Some(SeedRule::Config),
            over_budget: None,
            config_sha256,
            plan_sha256: config.plan_digest(),
            files: vec![],
            order: "shuffle-1".into(),
        },
        code: Code {
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            tree: "89abcdef0123456789abcdef0123456789abcdef".into(),
            branch: Some("main".into()),
            dirty: false,
            untracked: vec![],
            remote: None,
        },
        binaries: Binaries {
            harness_sha256: digest("harness"),
            trainer_sha256: digest("trainer"),
            cargo_lock_sha256: None,
            harness_version: "0.1.0".into(),
            built_from_sha256: digest("sources").to_string(),
            trainer_built_from_sha256: String::new(),
            committed_sources_sha256: None,
            rustc: "rustc 1.95.0".into(),
            profile: "release".into(),
        },
        launch: Launch { launcher: Launcher::Local, world_size: 1, scheduler: None },
        host: Host {
            os: "Debian GNU/Linux 12".into(),
            kernel: "6.1".into(),
            libc: "glibc 2.36".into(),
            cpu: "An x86-64 processor at 2.5 GHz".into(),
            cores: 2,
            memory_bytes: 8 << 30,
            hostname_sha256: digest("host"),
            slurm_job_id: None,
        },
        data: Data {
            corpus: if synthetic.books { "books".into() } else { "grammar".into() },
            root: data_root,
            shards: vec![shard("train", 2_000_900, 900), shard("validation", 100_000, 100)],
            tokenizer_sha256: digest("tokenizer"),
            tokenizer: ".harness/corpora/tokenizer.json".into(),
            vocabulary_size: 2048,
            validation_bytes: 400_000,
        },
        tasks: tasks
            .iter()
            .map(|(id, group, kind, metric, chance, items)| Task {
                id: id.clone(),
                group: group.clone(),
                title: format!("{}{}", synthetic.task_prefix, group.as_ref().unwrap_or(id)),
                phenomenon: String::new(),
                field: String::new(),
                kind: *kind,
                metric: *metric,
                chance: *chance,
                items: *items,
                rolling_stride: None,
                version: 1,
                data_sha256: vec![digest(id)],
                requests_sha256: digest(id),
                requests: format!(".harness/tasks/{id}/requests.jsonl"),
            })
            .collect(),
    }
}

fn record(id: &RunId, config: &Experiment, started: Started, evaluations: Vec<Evaluation>) -> Record {
    let tokens = u64::from(config.training.batch_size) * u64::from(config.model.context_length) * config.training.steps;
    Record {
        format: VERSION,
        run: id.clone(),
        status: Status::Completed,
        failure: None,
        exit_code: Some(0),
        signal: None,
        ended_at: "2026-11-23T08:16:10Z".into(),
        started: Some(started),
        evaluations,
        checkpoints: vec![],
        retention: None,
        skipped: vec![],
        closing: Some(Closing {
            step: config.training.steps,
            tokens,
            weights_sha256: digest("weights"),
            order_sha256: digest("order"),
            skipped_steps: 0,
            wall_time_s: 52.3,
            training_time_s: 34.1,
            peak_memory_bytes: 700 << 20,
            peak_gpu_memory_bytes: None,
            gpu_energy_j: None,
            cpu_time_s: None,
        }),
        resources: Resources {
            wall_time_s: 53.8,
            gpu_time_s: 0.0,
            cpu_time_s: 99.0,
            tokens_per_s: Some(18_000.0),
            energy_j: None,
            energy_source: "no counter".into(),
        },
        files: vec![],
    }
}

/// A later run that keeps texts which the model of `trained` went on to.
pub(super) fn keeping(trained: &RunAnalysis, run: &str, temperature: f64, prompt: &str, texts: &[&str]) -> RunAnalysis {
    let mut keeps = trained.clone();
    let (of, root) = (trained.run.open.run.clone(), trained.run.root);
    keeps.run.open.evaluates = Some(Evaluated { run: of, root, checkpoints: Vec::new() });
    keeps.run.open.run = run.parse().unwrap();
    let listed = OutputFile { path: "samples.jsonl".to_owned(), sha256: Digest::of(b""), size_bytes: 0 };
    keeps.run.record.files.push(listed);
    let rule = SamplingRule { temperature, top_k: 40, top_p: 0.9 };
    let line = |(sample, text): (u32, &&str)| SampleText {
        step: 300,
        sample,
        seed: 5,
        rule,
        max_tokens: 1,
        tokens: 1,
        prompt: prompt.to_owned(),
        text: (*text).to_owned(),
    };
    keeps.samples = (0..).zip(texts).map(line).collect();
    keeps
}
