//! Tasks from a data file to a curve over kept checkpoints, as a student makes them: without Rust.

use std::fs;

use crate::common::Project;

const GAPS: &str = "sentence,option1,option2,answer\n\
    The cup did not fit in the bag because the _ was too large.,cup,bag,1\n\
    The cup did not fit in the bag because the _ was too small.,cup,bag,2\n";

#[test]
fn a_task_of_an_existing_kind_is_one_toml() {
    let project = Project::new();
    project.write("gaps.csv", GAPS);
    let made = project.harness(&["task", "new", "gaps", "gaps.csv"]).expect(0);
    assert!(made.stdout.contains("kind = \"two_contexts\""), "{}", made.all());
    let path = project.path("experiments/tasks/gaps.toml");
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), made.stdout.trim());
    project.harness(&["task", "new", "gaps", "gaps.csv"]).expect(2);

    let checked = project.harness(&["task", "check", "gaps"]).expect(1);
    assert!(checked.stdout.contains("`licence` is empty"), "{}", checked.all());
    let text = fs::read_to_string(&path).unwrap();
    let text = ["description", "licence", "citation"]
        .iter()
        .fold(text, |text, key| text.replace(&format!("{key} = \"\""), &format!("{key} = \"own\"")));
    project.write("experiments/tasks/gaps.toml", &text);
    let checked = project.harness(&["task", "check", "gaps"]).expect(0);
    assert!(checked.stdout.contains("nothing wrong was found"), "{}", checked.all());

    let shown = project.harness(&["task", "show", "gaps"]).expect(0);
    let line = "+ \"The cup did not fit in the bag because the cup\" | \" was too large.\"";
    assert!(shown.stdout.contains(line), "{}", shown.all());
    project.harness(&["data", "prepare", "tiny"]).expect(0);
    let shown = project.harness(&["task", "show", "gaps", "--corpus", "tiny"]).expect(0);
    assert!(shown.stdout.contains(" tokens)"), "{}", shown.all());
    let missing = project.harness(&["task", "show", "gaps.one"]).expect(2);
    assert!(missing.stderr.contains("its parts are gaps"), "{}", missing.all());
}

#[test]
fn kept_checkpoints_are_evaluated_on_a_new_task() {
    let project = Project::new();
    project.write("gaps.csv", GAPS);
    project.harness(&["task", "new", "gaps", "gaps.csv"]).expect(0);
    project.commit("Add a task");
    project.harness(&["run", "tiny"]).expect(0);
    let trained = project.latest("tiny");
    let id = trained.file_name().unwrap().to_str().unwrap().to_owned();

    let ran = project.harness(&["evaluate", "tiny", "--tasks", "gaps"]).expect(0);
    let step = |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
    let steps: Vec<u64> = ran.stdout.lines().filter_map(step).collect();
    assert_eq!(steps, [4, 8, 12, 16, 20], "{}", ran.all());
    assert!(ran.stdout.contains("gaps %") && ran.stdout.contains("validation bits/byte"), "{}", ran.all());
    let evaluated = project.latest("tiny");
    let open = Project::json(&evaluated.join("open.json"));
    assert_eq!(open["evaluates"]["run"], id.as_str());
    assert_eq!(open["evaluates"]["checkpoints"].as_array().unwrap().len(), 5);
    assert_eq!(open["plan"]["plan_sha256"], Project::json(&trained.join("open.json"))["plan"]["plan_sha256"]);
    assert!(evaluated.join("evaluations/step-00000020/validation.tokens").is_file());
    assert!(!evaluated.join("evaluations/step-00000004/validation.tokens").exists());

    // The experiment's name still stands for the run that trained; the other one has its id.
    let values = project.harness(&["show", "tiny", "--values"]).expect(0);
    assert!(!values.stdout.contains("tasks.gaps"), "{}", values.stdout);
    let listed = project.harness(&["runs"]).expect(0);
    assert!(listed.stdout.contains(&format!("evaluates {id}")), "{}", listed.stdout);
    project.harness(&["audit"]).expect(0);

    let one = project.harness(&["evaluate", &id, "--checkpoint", "8", "--without-validation"]).expect(0);
    assert!(one.stdout.contains("grammar-agreement %") && !one.stdout.contains("validation"), "{}", one.all());
    let none = project.harness(&["evaluate", &id, "--checkpoint", "9"]).expect(2);
    assert!(
        none.stderr.contains("no intact checkpoint of step 9") && none.stderr.contains("4, 8, 12"),
        "{}",
        none.stderr
    );
}
