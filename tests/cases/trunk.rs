//! Cool-downs from one trunk: a run that begins from a checkpoint of another experiment's run is the run that it would have been
//! from nothing, and is refused where it would not.

use std::fs;

use serde_json::Value;

use crate::cases::lineage::json;
use crate::common::{Project, TINY, flip, seal_again, trainer};

/// A cool-down over the last steps of so many, from step 12 of `long`.
fn cool(steps: u64, cooldown: u64, more: &str) -> String {
    format!(
        "title = \"Cool {steps}\"\nextends = \"long\"\ntrunk = {{ experiment = \"long\", step = 12 }}\n\n[training]\nsteps = {steps}\n\n\
         [schedule]\nkind = \"warmup_stable_decay\"\ncooldown_steps = {cooldown}\n{more}"
    )
}

/// A trunk, a cool-down from it, and the same from nothing.
fn project() -> Project {
    let project = Project::new();
    project.write("experiments/long/experiment.toml", &format!("{TINY}\n[schedule]\nkind = \"constant\"\n"));
    project.write("experiments/cool/experiment.toml", &cool(18, 6, ""));
    let whole = cool(18, 6, "").replace("trunk = { experiment = \"long\", step = 12 }\n", "");
    project.write("experiments/whole/experiment.toml", &whole);
    project.commit("A trunk and a cool-down");
    project
}

fn open(project: &Project, experiment: &str) -> Value {
    Project::json(&project.latest(experiment).join("open.json"))
}

fn id(project: &Project, experiment: &str) -> String {
    project.latest(experiment).file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_cool_down_begins_from_a_checkpoint_of_its_trunk() {
    let project = project();
    let refused = project.harness(&["run", "cool"]).expect(2).stderr;
    assert!(
        refused.contains("`cool` cannot begin from step 12 of `long`: it has no run of seed 3 to explore"),
        "{refused}"
    );
    let hint = refused.split('`').find(|part| part.starts_with("harness run")).unwrap();
    assert_eq!(hint, "harness run long --seed 3 --purpose explore");
    project.harness(&hint.split(' ').skip(1).collect::<Vec<_>>()).expect(0);

    let ran = project.harness(&["run", "cool"]).expect(0);
    assert!(ran.stderr.contains("beginning from step 12 of 18"), "{}", ran.stderr);
    let (from, trunk) = (open(&project, "cool")["resumed_from"].clone(), project.latest("long"));
    assert_eq!(
        (&from["experiment"], &from["run"], &from["step"]),
        (&"long".into(), &id(&project, "long").into(), &12.into())
    );
    assert_eq!((&from["segments"][0]["experiment"], &from["segments"][0]["to_step"]), (&"long".into(), &12.into()));
    let checkpoints = Project::json(&trunk.join("record.json"))["checkpoints"].clone();
    assert!(checkpoints.as_array().unwrap().iter().any(|c| c["file"]["sha256"] == from["checkpoint_sha256"]));

    // The same as from nothing, and so a run of one plan.
    project.harness(&["run", "whole"]).expect(0);
    let losses = |experiment: &str| {
        let rows = fs::read_to_string(project.latest(experiment).join("steps.csv")).unwrap();
        rows.lines().map(|row| row.split(',').take(5).map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    assert_eq!(losses("cool"), losses("whole"));
    let evaluations = |experiment: &str| {
        let record = Project::json(&project.latest(experiment).join("record.json"));
        let files =
            record["evaluations"].as_array().unwrap().iter().flat_map(|e| e["files"].as_array().unwrap().clone());
        files.collect::<Vec<_>>()
    };
    assert_eq!(evaluations("cool"), evaluations("whole"));
    let runs = json(&project, &["runs"]);
    let of = |name: &str| runs.as_array().unwrap().iter().find(|run| run["experiment"] == name).unwrap().clone();
    assert_eq!(of("cool")["plan"], of("whole")["plan"]);
    assert!(runs.as_array().unwrap().iter().all(|run| run["left_out"].is_null()), "{runs}");
    project.commit("Runs");
    let audit = json(&project, &["audit"]);
    let of_trunk = format!("run {} it begins from", id(&project, "long"));
    let check = audit["checks"].as_array().unwrap().iter().find(|check| check["what"] == *of_trunk).unwrap();
    assert_eq!(check["outcome"], "holds");
    let traced = project.harness(&["audit", "cool:validation.bits_per_byte"]).expect(0).stdout;
    assert!(traced.contains(&format!("long/{}", id(&project, "long"))), "{traced}");

    // Only its own steps are paid for.
    let entries = json(&project, &["budget"])["entries"].clone();
    let entry = |name: &str| entries.as_array().unwrap().iter().find(|e| e["experiment"] == name).unwrap().clone();
    let own = Project::json(&project.latest("cool").join("record.json"))["resources"]["wall_time_s"].clone();
    assert_eq!(entry("cool")["spent"]["cpu_time_s"], own);
    let trunk_s = Project::json(&trunk.join("record.json"))["resources"]["wall_time_s"].as_f64().unwrap();
    assert_eq!(entry("cool")["taken_over"]["cpu_time_s"].as_f64(), Some(trunk_s * (12.0 / 20.0)));
    assert!(entry("whole")["taken_over"].is_null());
    let told = project.harness(&["budget"]).expect(0).stdout;
    assert!(told.contains("1 run began from a trunk, and would have taken so much more from nothing"), "{told}");
    let told = project.harness(&["plan", "cool"]).expect(0).stdout;
    assert!(told.contains("begins from step 12 of 18 with a run of `long`, and trains 6 steps itself"), "{told}");
}

#[test]
fn what_would_not_be_the_same_training_is_refused_by_its_first_difference() {
    let project = project();
    project.harness(&["run", "long"]).expect(0);
    let cases = [
        (cool(18, 6, "[model]\nwidth = 24\n"), "`model.width` is 16 there and 24 here"),
        (cool(18, 6, "[optimizer]\nkind = \"muon\"\n"), "`optimizer.kind` is \"adamw\" there and \"muon\" here"),
        (cool(18, 6, "[model]\ndropout = 0.5\n"), "`model.dropout` is 0.0 there and 0.5 here"),
        (cool(18, 8, ""), "the learning rate of step 11 is "),
        (cool(18, 6, "warmup_steps = 4\n"), "the learning rate of step 1 is "),
        (cool(18, 6, "[metrics]\ntensor_norms_every = 6\n"), "`metrics.tensor_norms_every` asks for numbers of step 6"),
        (
            cool(18, 6, "[evaluation]\nvalidation_at = { every = 4 }\n"),
            "`evaluations/step-00000004/validation.csv` is asked for here and was not made there",
        ),
        (cool(18, 6, "").replace("step = 12", "step = 11"), "wrote no checkpoint of step 11"),
        (cool(18, 6, "").replace("step = 12", "step = 18"), "of 18 steps none is left to train after step 18"),
        (cool(18, 6, "").replace("experiment = \"long\"", "experiment = \"cool\""), "cannot begin from its own runs"),
    ];
    for (config, expected) in cases {
        project.write("experiments/cool/experiment.toml", &config);
        project.git(&["commit", "-aqm", "Another cool-down"]);
        let refused = project.harness(&["run", "cool"]).expect(2).stderr;
        assert!(refused.contains(expected) && refused.contains("hint: "), "{expected}: {refused}");
        assert!(project.runs("cool").is_empty());
    }
    // The hint works.
    project.write("experiments/cool/experiment.toml", &cool(18, 8, "").replace("step = 12", "step = 8"));
    project.git(&["commit", "-aqm", "An earlier step"]);
    project.harness(&["run", "cool"]).expect(0);

    // Another seed has no trunk, and a damaged checkpoint is none.
    let refused = project.harness(&["run", "cool", "--seed", "9"]).expect(2).stderr;
    assert!(refused.contains("no run of seed 9") && refused.contains("run long --seed 9"), "{refused}");
    flip(&project.latest("long").join("checkpoints/step-00000008.safetensors"), 40);
    let refused = project.harness(&["run", "cool"]).expect(2).stderr;
    assert!(refused.contains("its contents have changed since it was written"), "{refused}");
}

#[test]
fn a_cool_down_that_was_killed_goes_on_from_its_own_checkpoint() {
    let project = project();
    project.harness(&["run", "long"]).expect(0);
    project.harness_with("die:17", &["run", "cool"]).expect(1);
    project.harness(&["run", "cool", "--go-on"]).expect(0);
    let from = open(&project, "cool")["resumed_from"].clone();
    assert!(from["experiment"].is_null() && from["step"] == 16, "{from}");
    let segments = from["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2);
    assert_eq!((&segments[0]["experiment"], segments[1]["experiment"].is_null()), (&"long".into(), true));
    project.commit("Runs");
    project.harness(&["audit"]).expect(0);
    assert!(project.harness(&["run", "cool", "--go-on"]).expect(0).stderr.contains("nothing to do"));
    let runs = json(&project, &["runs"]);
    let counted = runs.as_array().unwrap().iter().filter(|run| run["left_out"].is_null()).count();
    assert_eq!((counted, runs.as_array().unwrap().len()), (2, 3));
    // What is evaluated later rests on it as on any other run.
    project.harness(&["evaluate", "cool"]).expect(0);
    project.harness(&["audit"]).expect(0);
}

#[test]
fn a_trunk_is_neither_lost_nor_changed_unseen() {
    let project = project();
    project.harness(&["run", "long"]).expect(0);
    project.harness(&["run", "cool"]).expect(0);
    project.commit("Runs");
    let (trunk, branch) = (id(&project, "long"), id(&project, "cool"));
    let refused = project.harness(&["drop", &trunk, "--because", "x"]).expect(2).stderr;
    assert!(refused.contains(&branch) && refused.contains(&format!("harness drop {branch}")), "{refused}");

    let renamed = project.harness(&["rename", "long", "stem"]).expect(0).stderr;
    assert!(renamed.contains("experiments/cool/experiment.toml names `stem` now"), "{renamed}");
    project.commit("Rename");
    project.harness(&["audit"]).expect(0);
    project.harness(&["run", "cool"]).expect(0);
    assert_eq!(open(&project, "cool")["resumed_from"]["experiment"], "stem");

    // Without its checkpoints nothing contradicts: their digests are in both records.
    fs::remove_dir_all(project.latest("stem").join("checkpoints")).unwrap();
    let audit = project.harness(&["audit", "cool"]).expect(0);
    assert!(!audit.stdout.contains("contradict"), "{}", audit.stdout);

    // A trunk that is sealed again with another row is found from its branch.
    let steps = project.latest("stem").join("steps.csv");
    flip(&steps, 200);
    seal_again(&project.latest("stem"));
    let audit = project.harness(&["audit", "cool"]).expect(1);
    assert!(audit.stdout.contains("has a different root than recorded"), "{}", audit.stdout);

    // Dropped with what rests on it.
    for run in project.runs("cool") {
        project.harness(&["drop", run.file_name().unwrap().to_str().unwrap(), "--because", "x"]).expect(0);
    }
    project.harness(&["drop", &trunk, "--because", "x"]).expect(0);
    let refused = project.harness(&["run", "cool", "--allow-dirty"]).expect(2).stderr;
    assert!(refused.contains("no run of seed 3"), "{refused}");
}

#[test]
fn a_trunk_that_cannot_work_is_refused_before_it_is_queued_or_submitted() {
    let project = project();
    fs::remove_file(project.path(".harness")).unwrap();
    fs::create_dir(project.path(".harness")).unwrap();
    project.write("cluster.toml", "time = \"01:00:00\"\n");
    project.git(&["add", "cluster.toml"]);
    project.git(&["commit", "-qm", "Name a cluster"]);
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    let asked = [&["queue", "add", "cool"][..], &["submit", "cool", "--dry-run"]];
    let refused = |expected: &str| {
        for asked in asked {
            let said = project.harness(asked).expect(2).stderr;
            assert!(said.contains("`cool` cannot begin from step ") && said.contains(expected), "{asked:?}: {said}");
            assert!(said.contains("hint: "), "{said}");
        }
    };
    let written = |config: String, why: &str| {
        project.write("experiments/cool/experiment.toml", &config);
        project.git(&["commit", "-qam", why]);
    };
    refused("it has no run of seed 3 to explore");

    // The queue may make the trunk first, whose plan is known.
    written(cool(18, 8, ""), "Cool down too early");
    let said = project.harness(&["queue", "add", "long", "cool"]).expect(2).stderr;
    assert!(said.contains("the learning rate of step 11 is "), "{said}");
    written(cool(18, 6, "").replace("step = 12", "step = 11"), "Begin where nothing is kept");
    let said = project.harness(&["queue", "add", "long", "cool"]).expect(2).stderr;
    assert!(said.contains("it is to write no checkpoint of that step: `training.checkpoint_every` is 4"), "{said}");
    let items = || json(&project, &["queue", "list"])["items"].as_array().unwrap().len();
    assert_eq!(items(), 0, "all are looked at before one is added");
    written(cool(18, 6, ""), "Begin where a checkpoint is");
    let said = project.harness(&["queue", "add", "long", "cool"]).expect(0);
    assert!(said.stderr.contains("the run of `long` that it begins from is one of the queue"), "{}", said.stderr);
    let said = project.harness(&["submit", "cool", "--dry-run"]).expect(2).stderr;
    assert!(said.contains("it has no run of seed 3"), "no queue of this machine helps a node: {said}");
    project.harness(&["queue", "start"]).expect(0);
    assert_eq!(open(&project, "cool")["resumed_from"]["run"], id(&project, "long"));

    // With the run of the trunk here, all of it is known.
    project.harness(&["queue", "add", "cool"]).expect(0);
    project.harness(&["submit", "cool", "--dry-run"]).expect(0);
    written(cool(18, 6, "[model]\nwidth = 24\n"), "Change the width");
    refused("`model.width` is 16 there and 24 here");
    written(cool(18, 6, "[evaluation]\nvalidation_at = { every = 4 }\n"), "Validate elsewhere");
    let said = project.harness(&["submit", "cool", "--dry-run"]).expect(2).stderr;
    assert!(said.contains("`evaluations/step-00000004/validation.csv` is asked for here"), "{said}");
    written(cool(18, 6, ""), "As it was");
    fs::remove_file(project.latest("long").join("checkpoints/step-00000012.safetensors")).unwrap();
    refused("the file is missing");
}

/// The promise itself, with the real trainer: both optimizers, with masks, moments, an average and stages to bring back.
#[test]
fn the_weights_of_a_cool_down_from_a_trunk_are_those_from_nothing_to_the_bit() {
    let Some(trainer) = trainer() else { return };
    for optimizer in ["adamw", "muon"] {
        let training = "steps = 80\nema_decay = 0.9\ndocument_mask = true\n\
                        batch_size_stages = [{ steps = 10, batch_size = 1 }]\n\
                        sequence_length_stages = [{ steps = 20, sequence_length = 8 }]";
        let tiny = TINY
            .replace("steps = 20", training)
            .replace("context_length = 32", "context_length = 32\ndropout = 0.1")
            .replace("checkpoint_every = 4", "checkpoint_every = 20")
            .replace("validation_at = { every = 5 }", "validation_at = { every = 20 }");
        let project = Project::new();
        let long = format!(
            "{tiny}\n[schedule]\nkind = \"constant\"\nwarmup_steps = 5\n\n[optimizer]\nkind = \"{optimizer}\"\n"
        );
        project.write("experiments/long/experiment.toml", &long);
        let from = |step: u64| format!("trunk = {{ experiment = \"long\", step = {step} }}");
        let cool = |steps: u64| cool(steps, 20, "").replace(&from(12), &from(steps - 20));
        for steps in [60, 80] {
            project.write(&format!("experiments/cool-{steps}/experiment.toml"), &cool(steps));
            let whole = cool(steps).replace(&format!("{}\n", from(steps - 20)), "");
            project.write(&format!("experiments/whole-{steps}/experiment.toml"), &whole);
        }
        project.commit("A trunk and two cool-downs");
        project.harness_with_trainer(&trainer, &["run", "long"]).expect(0);
        for steps in [60, 80] {
            let closing = |experiment: &str| {
                project.harness_with_trainer(&trainer, &["run", experiment]).expect(0);
                let record = Project::json(&project.latest(experiment).join("record.json"));
                let files = record["evaluations"].as_array().unwrap().iter().map(|e| e["files"].clone());
                let (closing, files) = (record["closing"].clone(), files.collect::<Vec<_>>());
                (closing["weights_sha256"].clone(), closing["order_sha256"].clone(), files)
            };
            let whole = closing(&format!("whole-{steps}"));
            assert!(whole.0.is_string());
            assert_eq!(closing(&format!("cool-{steps}")), whole, "{optimizer}, {steps} steps");
        }
        project.commit("Runs");
        project.harness(&["audit"]).expect(0);
        // An auditor trains it again: its own window from the trunk's checkpoint, and the whole of it from the first step.
        project.harness_with_trainer(&trainer, &["replay", "cool-60", "--windows", "9", "--yes"]).expect(0);
        project.harness_with_trainer(&trainer, &["reproduce", "cool-60", "--yes"]).expect(0);
    }
}
