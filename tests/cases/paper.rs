//! The paper from sealed runs, and its audit: a digit changed anywhere between the rows and the page is found.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Project, Ran, flip, repository, skip};
use harness_core::files::list_recursive;

/// A project with two experiments, run, and the templates; `None` where Typst is not installed.
fn study() -> Option<Project> {
    let project = with_templates(Project::new)?;
    let child = "extends = \"tiny\"\ntitle = \"Wider\"\nhypothesis = \"It is #better; [no] \\\"doubt\\\" $x$.\"\n\
                 [model]\nwidth = 32\n";
    project.write("experiments/wider/experiment.toml", child);
    project.commit("Propose wider");
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["run", "wider"]).expect(0);
    Some(project)
}

/// A project with templates and Typst; `None` where Typst is not installed.
fn with_templates(project: impl FnOnce() -> Project) -> Option<Project> {
    let own = repository().join(".tools/bin/typst");
    let on_path = Command::new("typst").arg("--version").output().is_ok_and(|o| o.status.success());
    if !own.is_file() && !on_path {
        skip("typst", "`make setup` installs it");
        return None;
    }
    let project = project();
    std::os::unix::fs::symlink(repository().join(".tools").canonicalize().unwrap(), project.path(".tools")).unwrap();
    for file in list_recursive(&repository().join("templates")).unwrap() {
        let target = project.path(&format!("templates/{file}"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(repository().join("templates").join(&file), target).unwrap();
    }
    Some(project)
}

fn audit_damaged(project: &Project, relative: &str, damage: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Ran {
    let path = project.path(relative);
    let before = fs::read(&path).unwrap();
    let after = damage(before.clone());
    assert_ne!(before, after, "{relative} was not damaged");
    fs::write(&path, after).unwrap();
    let ran = project.harness(&["audit", "report/build/paper.pdf"]);
    fs::write(&path, before).unwrap();
    ran
}

fn replace(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    String::from_utf8(bytes).unwrap().replacen(from, to, 1).into_bytes()
}

#[test]
fn every_number_of_the_paper_is_followed_back() {
    let Some(project) = study() else { return };
    let made = project.harness(&["report"]).expect(0);
    project.harness(&["audit"]).expect(0);
    let pdf = "report/build/paper.pdf";
    let report = project.harness(&["audit", "--json", pdf]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["contradictions"], 0);
    assert!(report["numbers"].as_array().unwrap().len() > 20);
    for number in report["numbers"].as_array().unwrap() {
        let kinds: Vec<&str> =
            number["chain"].as_array().unwrap().iter().map(|l| l["kind"].as_str().unwrap()).collect();
        for kind in ["rows", "seal", "commit", "plan", "shard", "corpus"] {
            assert!(kinds.contains(&kind), "{number} has no {kind}");
        }
    }

    let proof = Project::json(&project.path("report/build/paper.json"));
    let bound = proof["bound"].as_array().unwrap();
    // One count with one meaning: places of the paper where a number is bound.
    assert_eq!(report["bound_numbers"], bound.len());
    assert!(made.stdout.contains(&format!("{} bound numbers", bound.len())), "{}", made.all());
    let bits = bound.iter().find(|b| b["key"] == "validation.bits_per_byte" && b["kind"] == "value").unwrap();
    let shown = bits["shown"].as_str().unwrap();
    let other = shown.replace(&shown[2..3], if &shown[2..3] == "1" { "2" } else { "1" });
    let key = "validation.bits_per_byte";

    let ran = audit_damaged(&project, "report/build/paper.json", |b| replace(b, shown, &other)).expect(1);
    assert!(ran.stdout.contains(key), "{}", ran.stdout);
    let ran = audit_damaged(&project, "report/build/values.json", |b| replace(b, shown, &other)).expect(1);
    assert!(ran.stdout.contains("values.json") && ran.stdout.contains("tiny:validation."), "{}", ran.stdout);
    // The data statement and the funnel are bound to the manifest of the corpus as all else is to its rows.
    let read = bound.iter().find(|b| b["key"] == "data.funnel.read.bytes").expect("the funnel is in the paper");
    let shown = read["shown"].as_str().unwrap();
    let listed = format!("\"shown\": \"{shown}\"");
    let other = listed.replacen(&shown[..1], if shown.starts_with('9') { "8" } else { "9" }, 1);
    let ran = audit_damaged(&project, "report/build/paper.json", |b| replace(b, &listed, &other)).expect(1);
    assert!(ran.stdout.contains("tiny:data.funnel.read.bytes"), "{}", ran.stdout);
    let manifest = format!("experiments/tiny/runs/{}/plan/corpus-manifest.json", read["runs"][0].as_str().unwrap());
    let stage = "\"stage\": \"read\",\n      \"documents\": ";
    let ran = audit_damaged(&project, &manifest, |b| replace(b, stage, &format!("{stage}1"))).expect(1);
    assert!(ran.stdout.contains("corpus-manifest.json") && ran.stdout.contains("data."), "{}", ran.stdout);
    // A count is checked against the words that show it.
    let count =
        bound.iter().find(|b| b["kind"] == "count" && b["count"] == "tasks").expect("the paper counts its tasks");
    let said = format!(
        "\"count\": \"tasks\",\n      \"experiment\": \"tiny\",\n      \"shown\": \"{}\"",
        count["shown"].as_str().unwrap()
    );
    let other = said.replace(&format!("\"shown\": {}", count["shown"]), "\"shown\": \"eleven\"");
    let ran = audit_damaged(&project, "report/build/paper.json", |b| replace(b, &said, &other)).expect(1);
    assert!(ran.stdout.contains("which `eleven` does not say"), "{}", ran.stdout);
    let middle = |mut b: Vec<u8>| {
        let at = b.len() / 2;
        b[at] ^= 1;
        b
    };
    let ran = audit_damaged(&project, pdf, middle).expect(1);
    assert!(ran.stdout.contains("paper.pdf"), "{}", ran.stdout);
    for source in proof["sources"].as_array().unwrap() {
        let path = source["path"].as_str().unwrap();
        let ran = audit_damaged(&project, path, middle).expect(1);
        assert!(ran.stdout.contains(path), "{path}: {}", ran.stdout);
    }
    // A changed row is named together with the number of the paper that it reaches.
    let row = format!(
        "experiments/tiny/runs/{}/evaluations/step-00000020/validation.csv",
        proof["runs"][0]["run"].as_str().unwrap()
    );
    let ran = audit_damaged(&project, &row, middle).expect(1);
    assert!(ran.stdout.contains(&row) && ran.stdout.contains("of the paper"), "{}", ran.stdout);
}

#[test]
fn what_the_paper_shows_leads_back_to_runs_and_data() {
    let Some(project) = study() else { return };
    let without = project.harness(&["trace", "2.1"]).expect(2);
    assert!(without.stderr.contains("`harness report`"), "{}", without.stderr);
    project.harness(&["report"]).expect(0);
    let proof = Project::json(&project.path("report/build/paper.json"));
    let bound = proof["bound"].as_array().unwrap();
    let bits = bound.iter().find(|b| b["key"] == "validation.bits_per_byte" && b["kind"] == "value").unwrap();
    let run = bits["runs"][0].as_str().unwrap();
    let traced = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let ran = project.harness(&[&["trace", "--json"], arguments].concat()).expect(0);
        let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        found["found"].as_array().unwrap().clone()
    };
    // By what is printed, by what it is, by its id: the same thing.
    let what = format!("{}:validation.bits_per_byte", bits["experiment"].as_str().unwrap());
    for name in [bits["shown"].as_str().unwrap(), &what, bits["id"].as_str().unwrap()] {
        let found = traced(&[name]);
        let own = found.iter().find(|found| found["id"] == bits["id"]).unwrap_or_else(|| panic!("{name}: {found:?}"));
        assert_eq!(own["traces"][0]["number"], bits["number"]);
        assert_eq!(own["traces"][0]["run"], run);
        let chain = own["traces"][0]["chain"].as_array().unwrap();
        assert!(chain.iter().any(|link| link["kind"] == "corpus"), "{chain:?}");
    }
    let on_page = |page: u64| bound.iter().filter(|b| b["page"] == page).count();
    assert_eq!(traced(&["--page", "2"]).len(), on_page(2));
    let figures = Project::json(&project.path("report/build/figures.json"));
    let figure = &figures["figures"][0];
    let of_figure = traced(&[figure["file"].as_str().unwrap()]);
    assert_eq!(of_figure[0]["traces"].as_array().unwrap().len(), figure["runs"].as_array().unwrap().len());
    // A difference is read with the minus sign of a keyboard.
    if let Some(minus) = bound.iter().filter_map(|b| b["shown"].as_str()).find_map(|s| s.strip_prefix('\u{2212}')) {
        assert!(!traced(&[&format!("-{minus}")]).is_empty());
    }
    let ran = project.harness(&["trace", "tiny:validation.bits_per_bite"]).expect(2);
    assert!(ran.stderr.contains("did you mean `tiny:validation.bits_per_byte`?"), "{}", ran.stderr);
    project.harness(&["trace", "--page", "99"]).expect(2);

    // The page for a supervisor says what the terminal says.
    let page = project.path("audit.html");
    let ran = project.harness(&["audit", "--html", page.to_str().unwrap()]).expect(0);
    let html = fs::read_to_string(&page).unwrap();
    let claimed = ran.stdout.lines().find_map(|line| line.strip_prefix("claimed: ")).unwrap();
    assert!(html.contains(claimed) && html.contains("it holds") && html.contains("not checked"), "{html}");

    // A run that no longer holds breaks the way.
    let rows = project.path(&format!("experiments/tiny/runs/{run}/steps.csv"));
    fs::write(&rows, fs::read_to_string(&rows).unwrap() + "\n").unwrap();
    let ran = project.harness(&["trace", &what]).expect(1);
    assert!(ran.stdout.contains("BROKEN") && ran.stdout.contains(run), "{}", ran.all());
}

/// One rule for the command line and the paper, and a later evaluation changes neither.
#[test]
fn the_differences_of_the_paper_are_those_of_compare() {
    let Some(project) = study() else { return };
    project.harness(&["evaluate", "wider"]).expect(0);
    let left_out = project.harness(&["report"]).expect(0);
    assert!(left_out.stderr.contains("it evaluates"), "{}", left_out.all());
    let values = Project::json(&project.path("report/build/values.json"));
    let quoted = project.latest("tiny").file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        values["runs"].to_string().contains(&quoted) && values["runs"].as_array().unwrap().len() == 2,
        "{values:#}"
    );
    let ran = project.harness(&["compare", "tiny", "wider", "--json"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let effects = report["comparisons"][0]["effects"].as_array().unwrap();
    assert!(effects.len() > 3);
    for effect in effects {
        let of_paper = &values["differences"]["wider"]["tiny"]["differences"][effect["metric"].as_str().unwrap()];
        assert_eq!(of_paper["number"], effect["difference"], "{effect:#}");
        for part in ["interval", "standard_error", "p_holm", "test", "verdict"] {
            assert_eq!(of_paper[part], effect[part], "{part} of {effect:#}");
        }
    }
}

/// What is typed and claimed is told with its place, fails where it is asked to, and is coloured in a copy that leaves the paper as
/// it is.
#[test]
fn what_no_record_stands_behind_is_told_and_coloured() {
    let Some(project) = study() else { return };
    project.harness(&["report", "--strict"]).expect(0);
    let section = "report/sections/80-conclusion.typ";
    let text = fs::read_to_string(project.path(section)).unwrap();
    let lines = text.trim_end().lines().count();
    project
        .write(section, &format!("{}\n\nThe baseline needs 7.25 hours. Wider improves the loss.\n", text.trim_end()));
    let mean = "\nThe mean is #mean-of((\"tiny\", \"wider\"), \"validation.bits_per_byte\", unit: true).\n";
    project.write("report/sections/85-more.typ", &format!("#import \"/report/build/lib/values.typ\": *{mean}"));

    let told = project.harness(&["report"]).expect(0);
    let place = format!("{section}:{}:", lines + 2);
    for part in
        [format!("typed number: {place}20: `7.25` is typed"), format!("claim without a test: {place}38: `improves`")]
    {
        assert!(told.stderr.contains(&part), "{}\nlacks {part}", told.all());
    }
    let pdf = fs::read(project.path("report/build/paper.pdf")).unwrap();
    let made = project.harness(&["report", "--strict", "--annotate", "--json"]).expect(1);
    let made: serde_json::Value = serde_json::from_str(&made.stdout).unwrap();
    let findings = made["findings"].as_array().unwrap();
    let found = findings.iter().find(|one| one["rule"] == "typed number").unwrap();
    assert_eq!((found["path"].as_str(), found["line"].as_u64()), (Some(section), Some(lines as u64 + 2)));
    assert!(findings.iter().all(|one| one["hint"].as_str().is_some_and(|hint| !hint.is_empty())), "{findings:#?}");
    let copy = fs::read(project.path(made["annotated"].as_str().unwrap())).unwrap();
    assert!(copy.starts_with(b"%PDF") && copy != pdf);
    assert_eq!(fs::read(project.path("report/build/paper.pdf")).unwrap(), pdf, "the paper itself stays");
    let document = lopdf::Document::load_mem(&copy).unwrap();
    assert!(document.extract_text(&[1]).unwrap().contains("with nothing behind it"), "the legend");
    project.harness(&["audit", "report/build/paper.pdf"]).expect(0);
    let proof = Project::json(&project.path("report/build/paper.json"));
    let mean = proof["bound"].as_array().unwrap().iter().find(|bound| bound["kind"] == "mean").unwrap().clone();
    let bits = |name: &str| {
        Project::json(&project.path("report/build/values.json"))["experiments"][name]["values"]["validation.bits_per_byte"]["number"].as_f64().unwrap()
    };
    assert!((mean["number"].as_f64().unwrap() - 0.5 * (bits("tiny") + bits("wider"))).abs() < 1e-12, "{mean}");

    let allow = "\n[[allowed]]\nnumber = \"7.25\"\nreason = \"the course gave so many\"\n\n[[allowed]]\ntext = \"Wider improves the loss\"\nreason = \"a test of words\"\n";
    let about = fs::read_to_string(project.path("report/paper.toml")).unwrap();
    project.write("report/paper.toml", &format!("{about}{allow}"));
    project.harness(&["report", "--strict"]).expect(0);
}

/// Where something was registered, claims rest on that test, the verdict stands in the paper by itself, and an audit
/// compiles both again.
#[test]
fn a_claim_rests_on_what_was_registered_and_is_audited() {
    let Some(project) = with_templates(crate::cases::lineage::project) else { return };
    project.harness(&["report"]).expect(0);
    let claim = |relation: &str, than: &str| {
        format!(
            "#import \"/report/build/lib/values.typ\": *\n= Conclusion\nThat is it. #claim(\"warm\", {relation}: \"{than}\", \
             metric: \"validation.bits_per_byte\", scope: \"procedure\")\n"
        )
    };
    let section = "report/sections/80-conclusion.typ";
    project.write(section, &claim("worse-than", "tiny"));
    let refused = project.harness(&["report"]).expect(2);
    assert!(
        refused.stderr.contains(&format!("{section}:3:28")) && refused.stderr.contains("the opposite"),
        "{}",
        refused.stderr
    );
    project.write(section, &claim("better-than", "tiny"));
    for mode in ["review", "final"] {
        project.harness(&["report", "--mode", mode]).expect(0);
        project.harness(&["audit", "report/build/paper.pdf"]).expect(0);
    }
    let proof = Project::json(&project.path("report/build/paper.json"));
    let bound = proof["bound"].as_array().unwrap();
    let of_kind = |kind: &str| bound.iter().find(|bound| bound["kind"] == kind).unwrap();
    let decided = crate::cases::lineage::json(&project, &["decide", "warm"]);
    let claimed = of_kind("claim");
    assert_eq!(claimed["number"], decided["estimate"]["difference"]);
    assert_eq!(claimed["runs"].as_array().unwrap().len(), 6);
    let shown = claimed["shown"].as_str().unwrap();
    assert!(
        shown.contains("t test within 3 shared seeds")
            && shown.contains("as it was registered")
            && !shown.contains("exploratory"),
        "{shown}"
    );
    let verdict = of_kind("verdict")["shown"].as_str().unwrap();
    assert!(
        verdict.starts_with("The hypothesis is CONFIRMED: validation bits per byte lower by at least 0.01 than tiny"),
        "{verdict}"
    );

    let ran = audit_damaged(&project, "report/build/paper.json", |b| replace(b, "have lower", "have higher")).expect(1);
    assert!(ran.stdout.contains("the paper says `Models trained as warm have higher"), "{}", ran.stdout);

    // What was registered and then changed is told with every claim that rests on it.
    let stated = fs::read_to_string(project.path("experiments/warm/experiment.toml")).unwrap();
    project.write("experiments/warm/experiment.toml", &stated.replace("at_least = 0.01", "at_least = 0.02"));
    project.harness(&["report"]).expect(0);
    let proof = Project::json(&project.path("report/build/paper.json"));
    let told = proof["bound"].to_string();
    assert!(told.contains("it is exploratory: its ") && told.contains("The hypothesis is DEVIATED"), "{told}");
}

/// Whoever edits the PDF and mends the digest in its proof is still found: the page no longer holds the number.
#[test]
fn a_digit_edited_on_the_page_is_found_in_its_text() {
    let Some(project) = study() else { return };
    project.harness(&["report"]).expect(0);
    let proof = Project::json(&project.path("report/build/paper.json"));
    let bound = proof["bound"].as_array().unwrap();
    let bits = bound.iter().find(|b| b["key"] == "validation.bits_per_byte" && b["kind"] == "value").unwrap();
    let shown = bits["shown"].as_str().unwrap();
    // The forger sets the same page with another digit, from a changed copy of the values.
    let values = project.path("report/build/values.json");
    let digit = if shown.ends_with('9') { '8' } else { '9' };
    let other = format!("{}{digit}", &shown[..shown.len() - 1]);
    let honest = fs::read_to_string(&values).unwrap();
    fs::write(&values, honest.replace(&format!("\"shown\": \"{shown}\""), &format!("\"shown\": \"{other}\""))).unwrap();
    let forged = project.path("report/build/paper.pdf");
    let typst = repository().join(".tools/bin/typst");
    let typst = if typst.is_file() { typst } else { Path::new("typst").to_owned() };
    let status = Command::new(typst)
        .args(["compile", "report/build/paper.typ", forged.to_str().unwrap(), "--root", ".", "--ignore-system-fonts"])
        .args(["--font-path", ".tools/fonts", "--input", "mode=final"])
        .current_dir(project.path(""))
        .status()
        .unwrap();
    assert!(status.success());
    fs::write(&values, honest).unwrap();
    let digest = harness_core::Digest::of(&fs::read(&forged).unwrap()).to_string();
    let path = project.path("report/build/paper.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(proof["pdf_sha256"].as_str().unwrap(), &digest)).unwrap();
    let ran = project.harness(&["audit", "report/build/paper.pdf"]).expect(1);
    assert!(ran.stdout.contains(&format!("`{shown}` on page")), "{}", ran.stdout);
}

#[test]
fn the_students_prose_is_theirs_and_its_mistakes_are_shown_at_their_line() {
    let Some(project) = study() else { return };
    project.harness(&["report"]).expect(0);
    let sections: Vec<String> = list_recursive(&project.path("report/sections")).unwrap();
    let first = format!("report/sections/{}", sections[0]);
    let own = "#import \"/report/build/lib/values.typ\": *\n= Ours\nIt needs #value(\"tiny\", \"validation.bits_per_byte\").\n";
    project.write(&first, own);
    project.harness(&["report"]).expect(0);
    assert_eq!(fs::read_to_string(project.path(&first)).unwrap(), own);

    project.write(&first, &own.replace("bits_per_byte", "bits_per_bite"));
    let ran = project.harness(&["report"]).expect(2);
    assert!(ran.stderr.contains(&format!("{first}:3:")), "{}", ran.stderr);
    assert!(ran.stderr.contains("validation.bits_per_byte"), "{}", ran.stderr);
    let pdf = fs::read(project.path("report/build/paper.pdf")).unwrap();
    project.write(&first, own);
    project.harness(&["report"]).expect(0);
    assert_eq!(fs::read(project.path("report/build/paper.pdf")).unwrap(), pdf, "the same inputs give the same bytes");
}

#[test]
fn what_the_records_change_under_an_edited_section_is_shown_until_it_is_taken_for_seen() {
    let Some(project) = study() else { return };
    project.harness(&["report"]).expect(0);
    let diffs = |arguments: &[&str]| -> serde_json::Value {
        let all = [&["report", "--diff-draft", "--json"], arguments].concat();
        serde_json::from_str(&project.harness(&all).expect(0).stdout).unwrap()
    };
    assert_eq!(diffs(&[]), serde_json::json!([]));
    let conclusion = "report/sections/80-conclusion.typ";
    let own = format!("{}\nThis is ours.\n", fs::read_to_string(project.path(conclusion)).unwrap());
    project.write(conclusion, &own);
    project
        .write("experiments/deeper/experiment.toml", "extends = \"tiny\"\ntitle = \"Deeper\"\n[model]\nlayers = 2\n");
    project.commit("Propose deeper");
    project.harness(&["run", "deeper"]).expect(0);
    let ran = project.harness(&["report"]).expect(0);
    assert!(ran.stderr.contains("drafted in report/: sections/60-changes-deeper.typ"), "{}", ran.stderr);
    assert!(ran.stderr.contains("70-summary.typ: drafted again"), "nobody had edited it: {}", ran.stderr);
    assert!(ran.stderr.contains(&format!("{conclusion}: is yours")), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(project.path(conclusion)).unwrap(), own);
    let shown = diffs(&["--seen"]);
    assert_eq!(shown[0]["path"], conclusion);
    assert!(shown[0]["yours"].as_str().unwrap().contains("+This is ours."), "{shown:#}");
    assert!(shown[0]["records"].as_str().unwrap().contains("@@"), "{shown:#}");
    assert_eq!(diffs(&[]), serde_json::json!([]));
    // What a demonstration or a newcomer sees first is of drafts alone, and no file of the project's own is touched.
    project.harness(&["report", "--draft"]).expect(0);
    assert_eq!(fs::read_to_string(project.path(conclusion)).unwrap(), own);
    project.harness(&["audit", "report/build/paper.pdf"]).expect(0);
}

/// And what was changed by anybody is.
#[test]
fn a_paper_that_would_come_out_as_it_is_is_not_made_again() {
    let Some(project) = study() else { return };
    let pdf = project.path("report/build/paper.pdf");
    let made = || fs::metadata(&pdf).unwrap().modified().unwrap();
    let first = project.harness(&["report"]).expect(0);
    let before = made();
    let second = project.harness(&["report"]).expect(0);
    assert_eq!((made(), &second.stdout), (before, &first.stdout));
    assert!(second.stderr.contains("page budget: "), "{}", second.all());
    let changes: [(&str, &dyn Fn()); 4] = [
        ("a section", &|| {
            let path = project.path("report/sections/80-conclusion.typ");
            fs::write(&path, format!("{}\nThis is ours.\n", fs::read_to_string(&path).unwrap())).unwrap();
        }),
        ("a file of the build folder", &|| flip(&project.path("report/build/values.json"), 100)),
        ("the notes on an experiment", &|| project.write("experiments/wider/notes.md", "Look again.\n")),
        ("a run", &|| drop(project.harness(&["run", "wider", "--seed", "9"]).expect(0))),
    ];
    for (what, change) in changes {
        let before = made();
        change();
        project.harness(&["report"]).expect(0);
        assert_ne!(made(), before, "{what} has changed");
        project.harness(&["audit", "report/build/paper.pdf"]).expect(0);
    }
}

/// The words of a template are its own: an audit compares what they mean.
#[test]
fn a_course_that_edits_its_template_keeps_its_audit() {
    let Some(project) = study() else { return };
    let template = project.path("templates/values.typ");
    let own = fs::read_to_string(&template).unwrap();
    let edited =
        own.replace("direction: found.direction), found.words,", "direction: found.direction), \"anders als\",");
    assert_ne!(own, edited);
    fs::write(&template, edited).unwrap();
    project.harness(&["report"]).expect(0);
    project.harness(&["audit", "report/build/paper.pdf"]).expect(0);
}

#[test]
fn a_paper_of_nothing_is_refused() {
    let project = Project::new();
    let ran = project.harness(&["report"]).expect(2);
    assert!(ran.stderr.contains("hint: `harness run baseline`"), "{}", ran.stderr);
}

#[test]
fn a_paper_is_held_against_the_rules_and_any_pdf_is_too() {
    let Some(project) = study() else { return };
    let checked = project.harness(&["report", "--check", "--mode", "review", "--json"]).expect(0);
    let found: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((&found["findings"], &found["mode"]), (&serde_json::json!([]), &serde_json::json!("review")));
    assert!(found["rules"].as_array().unwrap().iter().all(|rule| rule["source"].is_string()), "{found:#}");

    // The review copy is no camera-ready paper, and says so without a project's sections.
    let pdf = "report/build/paper.pdf";
    let ran = project.harness(&["report", "--check", pdf]).expect(1);
    assert!(ran.stdout.contains("ruler: page 1: ") && ran.stdout.contains("rule: acl-style-files"), "{}", ran.stdout);
    project.harness(&["report", "--check", pdf, "--mode", "review"]).expect(0);
    let ran = project.harness(&["report", "--check", "README.md"]).expect(1);
    assert!(ran.stderr.contains("README.md"), "{}", ran.stderr);
    project.write("no.pdf", "nothing");
    let ran = project.harness(&["report", "--check", "no.pdf"]).expect(2);
    assert!(ran.stderr.contains("`no.pdf`") && ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn the_checklist_is_answered_from_records_and_waits_for_a_person() {
    let Some(project) = study() else { return };
    project.harness(&["report"]).expect(0);
    let ran = project.harness(&["report", "--checklist", "--strict"]).expect(1);
    assert!(
        ran.stdout.contains("\nC1 ") && ran.stdout.contains("A2 ") && ran.stderr.contains("A2, B3"),
        "{}",
        ran.stdout
    );
    project.harness(&["report", "--strict"]).expect(1);
    let path = project.path("report/checklist.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("answer = \"\"", "answer = \"no\"")).unwrap();
    let ran = project.harness(&["report", "--checklist", "--strict", "--json"]).expect(0);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found["open"], serde_json::json!([]));
    let budget = found["answers"].as_array().unwrap().iter().find(|answer| answer["id"] == "C1").unwrap();
    assert_eq!((&budget["answer"], &budget["section"]), (&"yes".into(), &"Model and Training".into()), "{budget:#}");
    assert!(budget["reason"].as_str().unwrap().contains("All 2 runs and probes"), "{budget:#}");
    project.harness(&["report", "--strict"]).expect(0);
}

#[test]
fn what_changed_since_a_commit_is_told_with_its_cause() {
    let Some(project) = study() else { return };
    project.commit("Two runs");
    project.harness(&["report"]).expect(0);
    let unchanged = project.harness(&["report", "--diff", "HEAD"]).expect(0);
    assert!(unchanged.stdout.starts_with("0 changes"), "{}", unchanged.stdout);

    project.harness(&["run", "tiny", "--seed", "7"]).expect(0);
    project.harness(&["report"]).expect(0);
    let diff = |name: &str| -> Vec<serde_json::Value> {
        let ran = project.harness(&["report", "--diff", name, "--json"]).expect(0);
        let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        found["changes"].as_array().unwrap().clone()
    };
    let of = |changes: &[serde_json::Value], what: &str| -> String {
        let found = changes.iter().find(|change| change["what"] == what);
        found.unwrap_or_else(|| panic!("{what} of {changes:#?}"))["causes"].to_string()
    };
    let changes = diff("HEAD");
    assert!(of(&changes, "tiny:validation.bits_per_byte").contains("new seed 7 of `tiny`"), "{changes:#?}");
    assert!(of(&changes, "count of runs").contains("new seed 7"), "{changes:#?}");
    assert!(of(&changes, "runs").contains("new seed 7"), "{changes:#?}");
    assert!(changes.iter().any(|change| change["kind"] == "figure"), "{changes:#?}");

    // Another plan of the same experiment: what its config changed is the cause.
    project.commit("A seed");
    let text = fs::read_to_string(project.path("experiments/wider/experiment.toml")).unwrap();
    project.write("experiments/wider/experiment.toml", &text.replace("width = 32", "width = 48"));
    project.commit("Wider still");
    project.harness(&["run", "wider"]).expect(0);
    project.harness(&["report"]).expect(0);
    let changes = diff("HEAD~1");
    assert!(of(&changes, "wider:model.parameters").contains("model.width 48 was 32"), "{changes:#?}");
    project.harness(&["report", "--diff", "no-such-branch"]).expect(2);
}
