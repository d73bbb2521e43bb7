//! What cannot vanish: runs that were deleted, sealed again, passed over or invented, found by what the other runs tell.

use std::fs;
use std::path::Path;

use super::tamper::mend;
use crate::common::{Project, TINY, seal_again};

fn id(run: &Path) -> &str {
    run.file_name().unwrap().to_str().unwrap()
}

/// A project with a second experiment beside `tiny`.
fn project() -> Project {
    let project = Project::new();
    project.write("experiments/wide/experiment.toml", &TINY.replace("width = 16", "width = 32"));
    project.write("experiments/project.toml", "id = \"openings\"\n");
    project.commit("Widen");
    project
}

#[test]
fn a_run_of_another_experiment_that_is_deleted_leaves_its_name() {
    let project = project();
    project.harness(&["run", "wide"]).expect(0);
    project.harness(&["run", "wide", "--seed", "4"]).expect(0);
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["audit"]).expect(0);

    let (first, last) = (project.runs("wide").remove(0), project.latest("wide"));
    fs::remove_dir_all(&last).unwrap();
    let told = format!("run {}: it is gone; run {} of tiny names it", id(&last), id(&project.latest("tiny")));
    let ran = project.harness(&["audit"]).expect(3);
    assert!(ran.stdout.contains("experiment wide") && ran.stdout.contains(&told), "{}", ran.stdout);
    assert!(!ran.stdout.contains(&format!("run {}: it is gone", id(&first))), "{}", ran.stdout);

    // The whole experiment.
    fs::remove_dir_all(project.path("experiments/wide")).unwrap();
    let ran = project.harness(&["audit"]).expect(3);
    assert!(ran.stdout.contains(&told), "{}", ran.stdout);
}

#[test]
fn a_run_that_was_sealed_again_is_found_by_the_root_that_a_later_one_names() {
    let project = project();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    project.harness(&["run", "wide"]).expect(0);
    let steps = fs::read_to_string(run.join("steps.csv")).unwrap();
    fs::write(run.join("steps.csv"), steps.replacen("1000.0", "1001.0", 1)).unwrap();
    seal_again(&run);
    let ran = project.harness(&["audit"]).expect(1);
    let told = format!("run {} of wide, which was opened later, found", id(&project.latest("wide")));
    assert!(ran.stdout.contains("was sealed again") && ran.stdout.contains(&told), "{}", ran.stdout);
    let ran = project.harness(&["audit", id(&run)]).expect(1);
    assert!(ran.stdout.contains(&told), "the run alone, too: {}", ran.stdout);
}

#[test]
fn a_second_seed_that_was_invented_from_the_same_rows_is_found() {
    let project = project();
    project.harness(&["run", "tiny"]).expect(0);
    let run = project.latest("tiny");
    let (old, new) = (id(&run).to_owned(), format!("{}ffffffff", &id(&run)[..id(&run).len() - 8]));
    let copy = run.with_file_name(&new);
    for file in harness_core::files::list_recursive(&run).unwrap() {
        let bytes = fs::read(run.join(&file)).unwrap();
        let is_record = ["open.json", "record.json", "plan/job.json", "plan/config.toml"].contains(&file.as_str());
        let bytes = match String::from_utf8(bytes) {
            Ok(text) if is_record => {
                let seeded = text.replace("\"seed\": 3", "\"seed\": 4").replace("seed = 3", "seed = 4");
                seeded.replace(&old, &new).into_bytes()
            }
            Ok(text) => text.into_bytes(),
            Err(error) => error.into_bytes(),
        };
        fs::create_dir_all(copy.join(&file).parent().unwrap()).unwrap();
        fs::write(copy.join(&file), bytes).unwrap();
    }
    for edited in ["plan/config.toml", "plan/job.json"] {
        mend(&copy, edited, false);
    }
    seal_again(&copy);
    // Where the data are, the order of the batches tells as well.
    fs::remove_file(project.path(".harness")).unwrap();
    let ran = project.harness(&["audit"]).expect(1);
    assert!(ran.stdout.contains("another seed gives other rows"), "{}", ran.stdout);
}

#[test]
fn a_derived_seed_that_was_passed_over_is_told() {
    let project = project();
    for _ in 0..3 {
        project.harness(&["run", "tiny", "--purpose", "confirm"]).expect(0);
    }
    project.harness(&["audit"]).expect(0);
    let second = project.runs("tiny").remove(1);
    let seed = Project::json(&second.join("open.json"))["plan"]["seed"].to_string();
    fs::remove_dir_all(&second).unwrap();
    let told = format!("no run is known of seed {seed}, number 2 of those derived to confirm");
    let ran = project.harness(&["audit", "tiny"]).expect(3);
    assert!(ran.stdout.contains(&told), "{}", ran.stdout);
}

#[test]
fn a_hypothesis_that_was_edited_after_the_run_is_told() {
    let project = project();
    project.harness(&["run", "tiny"]).expect(0);
    project.write("experiments/tiny/experiment.toml", &TINY.replace("It runs.", "It runs, as expected."));
    project.commit("Know it afterwards");
    let ran = project.harness(&["audit"]).expect(0);
    assert!(
        ran.stdout.contains("was edited since the latest run") && ran.stdout.contains("ran with: It runs."),
        "{}",
        ran.stdout
    );
    project.harness(&["run", "tiny", "--seed", "4"]).expect(0);
    let ran = project.harness(&["audit", "tiny"]).expect(0);
    assert!(ran.stdout.contains("1 of 2 runs that count were made before it had its words"), "{}", ran.stdout);
}
