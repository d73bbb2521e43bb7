//! Both real programs, from the command line: a trained model goes out to `transformers`' format and comes back, goes on
//! with a text, is evaluated again from its checkpoints, and is measured before it is trained.

use std::fs;
use std::path::Path;

use crate::common::{Project, Ran, TINY, flip, repository, trainer};
use harness_core::Digest;
use serde_json::Value;

/// A project whose experiment, with some parts of its config replaced, has been trained for real.
fn trained(trainer: &Path, changes: &[(&str, &str)]) -> Project {
    let project = Project::new();
    let config = changes.iter().fold(TINY.to_owned(), |config, (from, to)| {
        assert!(config.contains(from), "{from}");
        config.replace(from, to)
    });
    project.write("experiments/tiny/experiment.toml", &config);
    project.git(&["add", "-A"]);
    project.git(&["commit", "-q", "--allow-empty", "-m", "Train for real"]);
    project.harness_with_trainer(trainer, &["run", "tiny"]).expect(0);
    project
}

fn values(project: &Project, run: &str) -> Value {
    let shown = project.harness(&["show", run, "--values", "--json"]).expect(0);
    serde_json::from_str::<Value>(&shown.stdout).unwrap()["values"].clone()
}

fn number(values: &Value, key: &str) -> f64 {
    values[key]["number"].as_f64().unwrap_or_else(|| panic!("no {key} in {values:#}"))
}

#[track_caller]
fn says(ran: &Ran, word: &str) {
    assert!(ran.stderr.contains(word), "no `{word}` in\n{}", ran.stderr);
}

#[test]
fn a_model_goes_out_and_comes_back_with_the_same_loss() {
    let Some(trainer) = trainer() else { return };
    let project = trained(&trainer, &[("steps = 20", "steps = 20\nema_decay = 0.9")]);
    let folder = project.path("export");
    let export = folder.to_str().unwrap();
    project.harness(&["export", "hf", "tiny", export]).expect(0);
    let config = Project::json(&folder.join("config.json"));
    assert_eq!((&config["model_type"], &config["n_embd"]), (&Value::from("gpt2"), &Value::from(16)));
    let root = Digest::of(&fs::read(project.latest("tiny").join("MANIFEST")).unwrap()).to_string();
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(card.contains(&root), "the model card names the root {root}:\n{card}");
    for file in ["model.safetensors", "tokenizer.json", "generation_config.json"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    says(&project.harness(&["export", "hf", "tiny", export]).expect(2), "hint:");
    says(&project.harness(&["export", "hf", "tiny", "elsewhere", "--step", "3"]).expect(2), "4, 8, 12, 16, 20");

    let import = ["import", "hf", export, "--name", "back", "--corpus", "tiny", "--tasks", "grammar-agreement"];
    project.harness(&import).expect(0);
    project.commit("Import");
    project.harness_with_trainer(&trainer, &["run", "back"]).expect(0);
    // The average is what the run was evaluated on, so it is what went out.
    let (before, after) = (values(&project, "tiny"), values(&project, "back"));
    for key in ["validation.bits_per_byte", "tasks.grammar-agreement.accuracy"] {
        let (before, after) = (number(&before, key), number(&after, key));
        assert!((before - after).abs() < 1e-6, "{key}: {before} before, {after} after");
    }
    project.harness(&["audit"]).expect(0);

    let checkpoint = project.latest("tiny").join("checkpoints/step-00000020.safetensors");
    flip(&checkpoint, 5_000);
    says(&project.harness(&["export", "hf", "tiny", "changed"]).expect(1), "step-00000020.safetensors");
    fs::remove_file(checkpoint).unwrap();
    says(&project.harness(&["export", "hf", "tiny", "gone"]).expect(3), "hint:");
    assert!(!project.path("changed").exists() && !project.path("gone").exists(), "nothing is left half written");
}

#[test]
fn what_has_no_equivalent_is_named() {
    let Some(trainer) = trainer() else { return };
    let with = "context_length = 32\npositions = \"alibi\"\nlogit_soft_cap = 30.0";
    let project = trained(&trainer, &[("context_length = 32", with)]);
    let refused = project.harness(&["export", "hf", "tiny", "export"]).expect(2);
    says(&refused, "positions");
    says(&refused, "logit_soft_cap");
    assert!(!project.path("export").exists());
    let unknown = ["import", "hf", "nowhere", "--name", "back", "--corpus", "tiny"];
    project.harness(&unknown).expect(1);
}

#[test]
fn a_text_is_continued_the_same_way_again() {
    let Some(trainer) = trainer() else { return };
    let project = trained(&trainer, &[("tasks = [\"grammar-agreement\"]", "")]);
    let generate = |arguments: &[&str]| {
        let all = [&["generate", "tiny", "--max-tokens", "12", "--json"], arguments].concat();
        let ran = project.harness_with_trainer(&trainer, &all).expect(0);
        let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines
    };
    let first = generate(&["--prompt", "the", "--samples", "3"]);
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|line| line["prompt"] == "the" && line["tokens"].as_array().unwrap().len() <= 12));
    assert_eq!(first, generate(&["--prompt", "the", "--samples", "3"]));
    assert_eq!(first[..2], generate(&["--prompt", "the", "--samples", "2"]), "a sample does not depend on the others");
    assert_ne!(first[0]["text"], generate(&["--prompt", "the", "--seed", "2"])[0]["text"]);
    // What is sealed is what is printed, and can be drawn again.
    let kept = generate(&["--prompt", "the", "--samples", "3", "--keep"]);
    let without_run = |lines: &[Value]| {
        let fields = |line: &Value| ["sample", "text", "tokens", "log_probabilities_nats"].map(|key| line[key].clone());
        lines.iter().map(fields).collect::<Vec<_>>()
    };
    assert_eq!(without_run(&kept), without_run(&first));
    let run = kept[0]["run"].as_str().unwrap();
    project.harness_with_trainer(&trainer, &["evaluate", run, "--verify"]).expect(0);
    project.harness(&["audit", run]).expect(0);
    let greedy = generate(&["--temperature", "0"]);
    assert_eq!(greedy[0]["tokens"], generate(&["--top-k", "1", "--seed", "9"])[0]["tokens"]);
    says(&project.harness(&["generate", "tiny", "--temperature=-1"]).expect(2), "--temperature");
    says(&project.harness(&["generate", "nothing"]).expect(2), "nothing");
    fs::remove_file(project.runs("tiny")[0].join("checkpoints/step-00000020.safetensors")).unwrap();
    says(&project.harness_with_trainer(&trainer, &["generate", "tiny"]).expect(3), "hint:");
}

/// What a run says of itself while it trains, its kept checkpoints say afterwards.
#[test]
fn kept_checkpoints_give_the_curve_of_the_run() {
    let Some(trainer) = trainer() else { return };
    let project = trained(&trainer, &[("validation_at = { every = 5 }", "validation_at = { every = 4 }")]);
    let run = project.latest("tiny");
    project.harness_with_trainer(&trainer, &["evaluate", "tiny"]).expect(0);
    let again = project.latest("tiny");
    assert_ne!(run, again);
    let mut compared = 0;
    for step in [4, 8, 12, 16, 20] {
        let rows = |run: &Path| {
            let text = fs::read_to_string(run.join(format!("evaluations/step-{step:08}/validation.csv"))).unwrap();
            let last = |line: &str| line.rsplit(',').next().unwrap().parse::<f64>().unwrap();
            text.lines().skip(1).map(last).collect::<Vec<_>>()
        };
        let (during, afterwards) = (rows(&run), rows(&again));
        assert_eq!(during.len(), afterwards.len());
        for (a, b) in during.iter().zip(&afterwards) {
            assert!((a - b).abs() < 1e-4, "step {step}: {a} and {b} nats");
            compared += 1;
        }
    }
    assert!(compared > 100);
    project.harness(&["audit"]).expect(0);
}

/// The probes and the forecast with a trainer that computes: what they write can be read and is about this model.
#[test]
fn short_runs_measure_what_to_choose() {
    let Some(trainer) = trainer() else { return };
    let project = Project::new();
    let probe = |arguments: &[&str]| -> Value {
        let all = [&["probe"], arguments, &["--json"]].concat();
        serde_json::from_str(&project.harness_with_trainer(&trainer, &all).expect(0).stdout).unwrap()
    };
    let rates = probe(&["lr", "tiny", "--steps", "8", "--reach", "1"]);
    assert_eq!(rates["points"].as_array().unwrap().len(), 3, "{rates:#}");
    let batches = probe(&["batch", "tiny", "--steps", "3", "--most", "4"]);
    let speeds: Vec<f64> =
        batches["points"].as_array().unwrap().iter().map(|p| p["tokens_per_s"].as_f64().unwrap()).collect();
    assert!(speeds.len() == 3 && speeds.iter().all(|speed| *speed > 0.0), "{batches:#}");
    let planned = project.harness_with_trainer(&trainer, &["plan", "tiny", "--probe", "--json"]).expect(0);
    let planned: Value = serde_json::from_str(&planned.stdout).unwrap();
    assert!(planned.to_string().contains("tokens_per_parameter"), "{planned:#}");

    // A budget of time becomes steps by a measurement, and the run keeps to them.
    let config = TINY.replace("steps = 20", "budget = { wall_time_s = 2 }").replace("checkpoint_every = 4\n", "");
    let config = config.replace("{ every = 5 }", "\"last\"").replace("{ every = 10 }", "\"last\"");
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Spend two seconds");
    project.harness_with_trainer(&trainer, &["run", "tiny"]).expect(0);
    let record = Project::json(&project.latest("tiny").join("record.json"));
    let (steps, seconds) = (&record["closing"]["step"], record["closing"]["training_time_s"].as_f64().unwrap());
    assert!(steps.as_u64().unwrap() > 1 && seconds < 20.0, "{steps} steps in {seconds} s");
}

/// The GPU's acceptance script, with the CPU as its device: the job it writes is one that this trainer takes.
#[test]
fn the_checks_for_a_gpu_hold_on_the_cpu() {
    let Some(trainer) = trainer() else { return };
    let script = repository().join("tests/bench/train/gpu_checks.py");
    let output = std::process::Command::new("python3").arg(script).arg(trainer).args(["--device", "cpu"]).output();
    let ran = Ran::of(output.expect("`make setup` needs python3 too")).expect(0);
    assert_eq!(ran.stdout.matches("ok ").count(), 10, "{}", ran.stdout);
}

#[test]
fn where_a_run_comes_from_is_said_in_the_words_of_others() {
    let project = Project::new();
    let ran = project.harness(&["export", "ro-crate", "crate.json"]).expect(2);
    says(&ran, "there is no sealed run");
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    let run = project.latest("tiny");
    let record = Project::json(&run.join("record.json"));
    let root = Digest::of(&fs::read(run.join("MANIFEST")).unwrap()).to_string();

    let statement = project.path("statement.json");
    project.harness(&["export", "in-toto", "tiny", statement.to_str().unwrap()]).expect(0);
    let statement = Project::json(&statement);
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], root.as_str());
    // Every subject is a file of the project with that digest.
    for subject in statement["subject"].as_array().unwrap() {
        let file = project.path(subject["name"].as_str().unwrap());
        assert_eq!(Digest::of(&fs::read(file).unwrap()).to_string(), subject["digest"]["sha256"].as_str().unwrap());
    }
    assert!(statement["subject"].as_array().unwrap().len() > 1, "the checkpoints are here");
    let commit = project.git(&["rev-parse", "HEAD"]);
    let dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    assert_eq!(dependencies[0]["digest"]["gitCommit"], commit.trim());

    let file = project.path("ro-crate-metadata.json");
    let licence = || {
        project.harness(&["export", "ro-crate", file.to_str().unwrap()]).expect(0);
        let graph = Project::json(&file)["@graph"].as_array().unwrap().clone();
        graph.iter().find(|entity| entity["@id"] == "./").unwrap()["license"].clone()
    };
    assert_eq!(licence(), "not stated");
    project.write("experiments/project.toml", "licence = \"CC-BY-4.0\"\n");
    assert_eq!(licence(), "CC-BY-4.0");
    let metadata = Project::json(&file);
    let entities = metadata["@graph"].as_array().unwrap();
    let entity = |id: &str| entities.iter().find(|e| e["@id"] == id).unwrap_or_else(|| panic!("no {id}"));
    // Whatever is pointed to is described, but for the addresses of the vocabulary itself.
    fn pointed_to(value: &Value, all: &mut Vec<String>) {
        match value {
            Value::Object(map) if map.len() == 1 => all.extend(map["@id"].as_str().map(str::to_owned)),
            Value::Object(map) => map.values().for_each(|value| pointed_to(value, all)),
            Value::Array(list) => list.iter().for_each(|value| pointed_to(value, all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    pointed_to(&metadata["@graph"], &mut all);
    let outside = ["http://schema.org/CompletedActionStatus", "https://w3id.org/ro/crate/1.1"];
    for id in all.iter().filter(|id| !outside.contains(&id.as_str())) {
        entity(id);
    }
    let root_entity = entity("./");
    assert_eq!(root_entity["mentions"].as_array().unwrap().len(), 2);
    for part in root_entity["hasPart"].as_array().unwrap() {
        assert!(project.path(part["@id"].as_str().unwrap()).exists(), "{part}");
    }
    let action = entity(&format!("#run-{}", record["run"].as_str().unwrap()));
    let result = entity(action["result"]["@id"].as_str().unwrap());
    assert_eq!(result["identifier"], format!("sha256:{root}"));

    flip(&run.join("steps.csv"), 100);
    project.harness(&["export", "ro-crate", file.to_str().unwrap()]).expect(1);
}
