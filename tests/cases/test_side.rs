//! What the test side says, in the paper: from the first opening of each seed, counted, followed back, and found where it was changed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::cases::paper::with_templates;
use crate::cases::tamper::mend;
use crate::common::Project;

const KEY: &str = "tasks.test-side.bits_per_byte";
const SECTION: &str = "report/sections/72-test.typ";
const TEXT: &str = r#"#import "/report/build/lib/values.typ": *
= On the Test Side
Test bits per byte: #value("tiny", "tasks.test-side.bits_per_byte", error: true), #delta("wider", "tiny", "tasks.test-side.bits_per_byte"), beside #value("tiny", "validation.bits_per_byte").
"#;

fn id(run: &Path) -> String {
    run.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Opens the test side for a run, and gives the run that holds what came of it, with the number.
fn open(project: &Project, experiment: &str, run: &str) -> (String, f64) {
    project.harness(&["evaluate", run, "--test-side"]).expect(0);
    let opened = id(&project.latest(experiment));
    let values = project.harness(&["show", &opened, "--values", "--json"]).expect(0).stdout;
    let values: Value = serde_json::from_str(&values).unwrap();
    (opened, number(&values, KEY).unwrap_or_else(|| panic!("{values:#}")))
}

fn number(values: &Value, key: &str) -> Option<f64> {
    match values {
        Value::Array(several) => several.iter().find_map(|one| number(one, key)),
        Value::Object(fields) if fields.get("key").is_some_and(|own| own == key) => fields["number"].as_f64(),
        Value::Object(fields) => fields.values().find_map(|one| number(one, key)),
        _ => None,
    }
}

fn bound<'a>(proof: &'a Value, kind: &str) -> &'a Value {
    let all = proof["bound"].as_array().unwrap();
    all.iter().find(|bound| bound["kind"] == kind && bound["key"] == KEY).unwrap_or_else(|| panic!("{proof:#}"))
}

fn listed<'a>(proof: &'a Value, run: &str) -> &'a Value {
    proof["runs"].as_array().unwrap().iter().find(|listed| listed["run"] == run).unwrap()
}

#[test]
fn what_the_test_side_says_is_bound_to_its_first_opening() {
    let Some(project) = with_templates(Project::new) else { return };
    let corpus = project.path("experiments/corpora/tiny.toml");
    let recipe = fs::read_to_string(&corpus).unwrap();
    fs::write(&corpus, recipe.replace("validation = 0.1\n", "validation = 0.1\ntest = 0.1\n")).unwrap();
    project.write("experiments/wider/experiment.toml", "extends = \"tiny\"\ntitle = \"Wider\"\n[model]\nwidth = 32\n");
    project.commit("Hold out a test side, and propose wider");
    let trained = [("tiny", "7"), ("tiny", "8"), ("wider", "7")].map(|(experiment, seed)| {
        project.harness(&["run", experiment, "--seed", seed]).expect(0);
        id(&project.latest(experiment))
    });
    project.write(SECTION, TEXT);
    let refused = project.harness(&["report"]).expect(2);
    assert!(refused.stderr.contains(&format!("{SECTION}:3:36")), "{}", refused.all());
    assert!(refused.stderr.contains("`harness evaluate RUN --test-side`"), "{}", refused.all());

    // One of two seeds is enough, and what is said is said of it.
    let (first, of_first) = open(&project, "tiny", &trained[0]);
    let (wider, of_wider) = open(&project, "wider", &trained[2]);
    project.commit("Open the test side");
    let latex = tempfile::tempdir().unwrap();
    let made = project.harness(&["report", "--latex", latex.path().join("paper").to_str().unwrap()]).expect(0);
    assert!(!made.stderr.contains(SECTION), "{}", made.all());
    let pdf = "report/build/paper.pdf";
    project.harness(&["audit", pdf]).expect(0);
    let read = || Project::json(&project.path("report/build/paper.json"));
    let proof = read();
    let value = bound(&proof, "value");
    assert_eq!((&value["number"], &value["runs"]), (&json!(of_first), &json!([first])));
    let difference = bound(&proof, "difference");
    assert_eq!(difference["runs"], json!([wider, first]));
    assert!((difference["number"].as_f64().unwrap() - (of_wider - of_first)).abs() < 1e-12, "{difference}");
    assert_eq!((&listed(&proof, &first)["opening"], &listed(&proof, &first)["quoted"]), (&json!(1), &json!(true)));
    assert_eq!(listed(&proof, &wider)["opening"], 2);
    assert!(listed(&proof, &trained[0]).get("opening").is_none());
    let traced = project.harness(&["trace", &format!("tiny:{KEY}")]).expect(0).stdout;
    assert!(traced.contains("evaluations/step-00000020/test-side.csv") && traced.contains(&first), "{traced}");
    let values = fs::read_to_string(latex.path().join("paper/values.tex")).unwrap();
    assert!(values.contains(&format!("{{value/tiny/{KEY}}}")), "{values}");
    let answers = project.harness(&["report", "--checklist"]).expect(0).stdout;
    assert!(answers.contains("test side, which was opened 2 times"), "{answers}");
    let tables = fs::read_to_string(project.path("report/build/tables.json")).unwrap();
    assert!(tables.contains("opening 1 of the test side") && tables.contains("opening 2 of the test side"), "{tables}");
    let drafted = fs::read_to_string(project.path("report/sections/70-summary.typ")).unwrap();
    assert!(drafted.contains(&format!("#value(\"wider\", \"{KEY}\"")), "{drafted}");

    // The number, the run it is of, how often the test side was opened: whatever is another is found.
    let run = project.path(&format!("experiments/tiny/runs/{first}"));
    let opening = "\"opening\": 1";
    for (of, to) in [(first.as_str(), trained[0].as_str()), (opening, "\"opening\": 2"), (&of_first.to_string(), "1.5")]
    {
        let path = project.path("report/build/paper.json");
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(of), "{of} is not in {before}");
        fs::write(&path, before.replace(of, to)).unwrap();
        let found = project.harness(&["audit", "--no-typst", pdf]).expect(1);
        assert!(found.stdout.contains("contradiction"), "{of} as {to}: {}", found.all());
        fs::write(&path, before).unwrap();
    }
    let rows = run.join("evaluations/step-00000020/test-side.csv");
    let (before, manifest, record) = (
        fs::read_to_string(&rows).unwrap(),
        fs::read(run.join("MANIFEST")).unwrap(),
        fs::read(run.join("record.json")).unwrap(),
    );
    let line = before.lines().nth(1).unwrap();
    fs::write(&rows, before.replacen(&format!("{line}\n"), "", 1)).unwrap();
    let found = project.harness(&["audit", "--no-typst", pdf]).expect(1);
    assert!(found.stdout.contains("test-side.csv") && found.stdout.contains(KEY), "{}", found.all());
    // Also where every digest that names the file is mended.
    mend(&run, "evaluations/step-00000020/test-side.csv", false);
    let found = project.harness(&["audit", "--no-typst", pdf]).expect(1);
    assert!(found.stdout.contains(&first), "{}", found.all());
    fs::write(&rows, before).unwrap();
    fs::write(run.join("MANIFEST"), manifest).unwrap();
    fs::write(run.join("record.json"), record).unwrap();
    project.git(&["checkout", "--", "experiments"]);
    project.harness(&["audit", "--no-typst", pdf]).expect(3);

    // The other seed is tested as well: the mean is another, and it is said why.
    let (second, of_second) = open(&project, "tiny", &trained[1]);
    let stale = project.harness(&["audit", "--no-typst", pdf]).expect(3);
    assert!(stale.stdout.contains("1 later than the last of the paper"), "{}", stale.all());
    project.harness(&["report"]).expect(0);
    let proof = read();
    let value = bound(&proof, "value");
    assert_eq!(value["runs"], json!([first, second]));
    assert!((value["number"].as_f64().unwrap() - 0.5 * (of_first + of_second)).abs() < 1e-12, "{value}");
    assert_eq!(listed(&proof, &second)["opening"], 3);
    project.harness(&["audit", pdf]).expect(0);
    let changed = project.harness(&["report", "--diff", "HEAD"]).expect(0).stdout;
    let cause = format!("because new run {second} of `tiny`, which scored the test side with {}", trained[1]);
    assert!(changed.contains(&format!("number tiny:{KEY}")) && changed.contains(&cause), "{changed}");

    // Without what it rests on, nobody can say that it holds.
    fs::remove_dir_all(&run).unwrap();
    let found = project.harness(&["audit", "--no-typst", pdf]);
    assert!(found.code != 0 && found.stdout.contains(&first), "{}", found.all());
}
