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
fn a_wrong_recipe_hides_no_other() {
    let project = Project::new();
    project.write("experiments/tasks/broken.toml", "title = \"Broken\"\n");
    project.write("experiments/corpora/torn.toml", "title = \n");
    let listed = project.harness(&["data", "list"]).expect(2);
    for name in ["tiny", "grammar-agreement"] {
        assert!(listed.stdout.lines().any(|line| line.starts_with(name)), "{}", listed.all());
    }
    assert!(listed.stderr.contains("experiments/tasks/broken.toml:1:1"), "{}", listed.stderr);
    assert!(listed.stderr.contains("experiments/corpora/torn.toml:1:"), "{}", listed.stderr);
    // Without a name, what experiments use is fetched.
    let uses = crate::common::TINY.replace("grammar-agreement", "broken");
    project.write("experiments/uses/experiment.toml", &uses);
    let fetched = project.harness(&["data", "fetch"]).expect(2);
    assert!(fetched.stdout.starts_with("0 files") && fetched.stderr.contains("broken.toml"), "{}", fetched.all());
    project.harness(&["data", "fetch", "grammar-agreement"]).expect(0);
    project.harness(&["data", "fetch", "broken"]).expect(2);
}

#[test]
fn columns_of_any_name_are_scored_and_a_check_compares_with_chance() {
    let project = Project::new();
    project.write(
        "gpqa.csv",
        "\u{feff}Question,Correct Answer,Incorrect Answer 1,sub-domain\nWhy?,so it is,no,x\nHow?,as it was,by,y\n",
    );
    project.harness(&["task", "new", "gpqa", "gpqa.csv"]).expect(0);
    let shown = project.harness(&["task", "show", "gpqa"]).expect(0);
    assert!(shown.stdout.contains("+ \"Question: Why?\\nAnswer:\" | \" so it is\""), "{}", shown.all());
    let checked = project.harness(&["task", "check", "gpqa"]).expect(1);
    let row = checked.stdout.lines().find(|line| line.starts_with("gpqa ")).unwrap();
    let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells, ["gpqa", "2", "50.0 %", "-", "100.0 %", "0.0 %", "1.00"], "{}", checked.stdout);
    let path = project.path("experiments/tasks/gpqa.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("chance = 0.5", "chance = 0.25")).unwrap();
    let checked = project.harness(&["task", "check", "gpqa"]).expect(1);
    assert!(checked.stdout.contains("chance = 0.25, but guessing is right in 50.0 %"), "{}", checked.stdout);
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

#[test]
fn the_test_side_is_opened_once_for_a_run_and_each_time_is_counted() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let none = project.harness(&["evaluate", "tiny", "--test-side"]).expect(2);
    assert!(none.stderr.contains("`tiny` has no test side") && none.stderr.contains("test = 0.05"), "{}", none.stderr);

    let path = project.path("experiments/corpora/tiny.toml");
    let recipe = fs::read_to_string(&path).unwrap();
    fs::write(&path, recipe.replace("validation = 0.1\n", "validation = 0.1\ntest = 0.1\n")).unwrap();
    project.commit("Hold out a test side");
    project.harness(&["run", "tiny"]).expect(0);
    let trained = project.latest("tiny");
    let id = trained.file_name().unwrap().to_str().unwrap().to_owned();
    let opened = project.harness(&["evaluate", &id, "--test-side"]).expect(0);
    assert!(opened.stdout.contains("test-side bits/byte") && !opened.stdout.contains("validation"), "{}", opened.all());
    assert!(opened.stderr.contains("opening 1 of the test side"), "{}", opened.stderr);
    let evaluated = project.latest("tiny");
    let open = Project::json(&evaluated.join("open.json"));
    let manifest = Project::json(&trained.join("plan/corpus-manifest.json"));
    assert_eq!(open["tasks"][0]["id"], "test-side");
    assert_eq!(open["tasks"][0]["items"], manifest["documents"]["test"], "the whole side");
    assert_eq!(open["evaluates"]["checkpoints"].as_array().unwrap().len(), 1, "the last one alone");

    let again = project.harness(&["evaluate", &id, "--test-side"]).expect(2);
    let by = evaluated.file_name().unwrap().to_str().unwrap();
    assert!(again.stderr.contains(&format!("run {by} has opened the test side")), "{}", again.stderr);
    assert!(
        !project.harness(&["show", "tiny", "--values"]).expect(0).stdout.contains("test-side"),
        "not among its own numbers"
    );
    // Another run of the same plan may be tested too, and is the second to be.
    project.harness(&["run", "tiny"]).expect(0);
    let other = project.latest("tiny");
    let second = project.harness(&["evaluate", other.to_str().unwrap(), "--test-side"]).expect(0);
    assert!(second.stderr.contains("opening 2 of the test side"), "{}", second.stderr);
    let listed = project.harness(&["runs"]).expect(0).stdout;
    assert!(listed.contains("opening 1 of the test side") && listed.contains("opening 2 of the test side"), "{listed}");
    project.harness(&["audit"]).expect(0);
    // Who compares runs that were scored by it is told how often that was.
    let told = project.harness(&["compare", &id, other.file_name().unwrap().to_str().unwrap()]).expect(0).stdout;
    assert!(told.contains("the test side has been opened 2 times"), "{told}");
}
