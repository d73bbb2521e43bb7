//! The paper from sealed runs, and its audit: a digit changed anywhere between the rows and the page is found.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{Project, Ran, flip, has_typst, repository};
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
pub(crate) fn with_templates(project: impl FnOnce() -> Project) -> Option<Project> {
    if !has_typst() {
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
    // Setting the paper again each time would take minutes, and these are found without it.
    let ran = project.harness(&["audit", "--no-typst", "report/build/paper.pdf"]);
    fs::write(&path, before).unwrap();
    ran
}

/// Changes a file that the proof lists, and mends the digest that the proof has of it.
fn change_and_mend(project: &Project, relative: &str, damage: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let path = project.path(relative);
    let before = fs::read(&path).unwrap();
    let after = damage(before.clone());
    assert_ne!(before, after, "{relative} was not changed");
    fs::write(&path, &after).unwrap();
    let digest = |bytes: &[u8]| harness_core::Digest::of(bytes).to_string();
    let proof = project.path("report/build/paper.json");
    let text = fs::read_to_string(&proof).unwrap();
    let mended = text.replace(&digest(&before), &digest(&after));
    assert_ne!(text, mended, "{relative} is not in the proof");
    fs::write(proof, mended).unwrap();
}

/// The folder of the paper, to be put back.
fn build_folder(project: &Project) -> Vec<(String, Vec<u8>)> {
    let folder = project.path("report/build");
    let files = list_recursive(&folder).unwrap().into_iter();
    files.map(|file| (file.clone(), fs::read(folder.join(file)).unwrap())).collect()
}

fn put_back(project: &Project, files: &[(String, Vec<u8>)]) {
    files.iter().for_each(|(file, bytes)| fs::write(project.path("report/build").join(file), bytes).unwrap());
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
    project.harness(&["report"]).expect(0);
    let checklist = project.path("report/checklist.toml");
    let answered = fs::read_to_string(&checklist).unwrap().replace("answer = \"\"", "answer = \"no\"");
    fs::write(&checklist, answered).unwrap();
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

/// A forger who mends every digest is found, because the paper is made again.
#[test]
fn what_was_edited_between_the_records_and_the_page_is_named_though_its_digest_was_mended() {
    let Some(project) = study() else { return };
    project.harness(&["report"]).expect(0);
    project.harness(&["audit", "report/build/paper.pdf"]).expect(0);
    let whole = build_folder(&project);
    let found = |arguments: &[&str], named: &[&str]| {
        let ran = project.harness(&[&["audit", "report/build/paper.pdf"], arguments].concat()).expect(1);
        for name in named {
            assert!(ran.stdout.contains(name), "{name}: {}", ran.stdout);
        }
        put_back(&project, &whole);
    };
    let proof = Project::json(&project.path("report/build/paper.json"));
    let bits =
        &proof["bound"].as_array().unwrap().iter().find(|b| b["key"] == "validation.bits_per_byte").unwrap()["number"];

    let number = format!("\"number\": {bits}");
    change_and_mend(&project, "report/build/values.json", |b| replace(b, &number, "\"number\": 0.5"));
    found(&["--no-typst"], &["values.json", "bits_per_byte number: `0.5`, made again `"]);
    change_and_mend(&project, "report/build/tables.json", |b| replace(b, "\"bold\": false", "\"bold\": true"));
    found(&["--no-typst"], &["tables.json", "table ", ", row "]);
    change_and_mend(&project, "report/build/cites.json", |b| replace(b, "\"year\": \"", "\"year\": \"1"));
    found(&["--no-typst"], &["cites.json", "references.1.year"]);
    change_and_mend(&project, "report/build/paper.typ", |b| replace(b, "#reflist()", "#reflist() 0.5"));
    found(&["--no-typst"], &["paper.typ: is not what the records give: line "]);
    change_and_mend(&project, "report/build/lib/values.typ", |b| {
        replace(b, "typeset(found.shown)", "typeset(\"0.5\")")
    });
    found(&["--no-typst"], &["lib/values.typ"]);

    let edit = |part: &str, value: serde_json::Value| {
        let mut proof = proof.clone();
        proof[part] = value;
        project.write("report/build/paper.json", &serde_json::to_string_pretty(&proof).unwrap());
    };
    edit("bound", serde_json::json!([]));
    found(&[], &["list of bound numbers: it has 0 entries", "left out: "]);
    edit("sources", serde_json::json!([]));
    found(&["--no-typst"], &["its proof does not list it"]);
    let mut bound = proof["bound"].as_array().unwrap().clone();
    let last = bound.pop().unwrap();
    edit("bound", serde_json::json!(bound));
    found(&[], &["list of bound numbers: it has", last["shown"].as_str().unwrap_or("")]);
    let mut runs = proof["runs"].as_array().unwrap().clone();
    runs[0]["quoted"] = serde_json::json!(false);
    edit("runs", serde_json::json!(runs));
    found(&["--no-typst"], &["is not listed as its record"]);
    // The last run alone: an earlier one that it does not list would be later than the paper.
    edit("runs", serde_json::json!([proof["runs"][1]]));
    found(&["--no-typst"], &["belongs into the paper, and the paper does not list it"]);
    let reversed = |part: &str| serde_json::json!(proof[part].as_array().unwrap().iter().rev().collect::<Vec<_>>());
    edit("sources", reversed("sources"));
    found(&["--no-typst"], &["not in the order of their paths"]);
    edit("runs", reversed("runs"));
    found(&["--no-typst"], &["lists a run twice, or in another order"]);
    edit("approved_by", serde_json::json!("the supervisor"));
    found(&["--no-typst"], &["it has fields that no program writes"]);
    edit("runs", serde_json::json!(7));
    found(&["--no-typst"], &["the proof cannot be read", "line "]);
}

/// The page and the order of the parts are sources like any other: the proof lists them, and what they make is made again.
#[test]
fn a_paper_in_the_template_of_another_venue_is_audited_to_the_byte() {
    let Some(project) = study() else { return };
    let own = |file: &str| fs::read_to_string(project.path(&format!("templates/{file}"))).unwrap();
    let page = own("acl.typ").replace("margin: 2.5cm, columns: 2,", "margin: 4cm, columns: 1,");
    project.write("report/venue/acl.typ", &page);
    project.harness(&["report", "--template", "report/venue"]).expect(0);
    let whole = build_folder(&project);
    let proof = Project::json(&project.path("report/build/paper.json"));
    assert_eq!(proof["template"], "report/venue");
    let audited = |code: i32, told: &str| {
        let ran = project.harness(&["audit", "report/build/paper.pdf"]).expect(code);
        assert!(ran.stdout.contains(told), "`{told}` is not said:\n{}", ran.stdout);
    };
    audited(0, "it holds");
    assert!(page.contains("margin: 4cm"));
    project.write("report/venue/acl.typ", &page.replace("margin: 4cm", "margin: 3cm"));
    audited(1, "report/venue/acl.typ");
    project.write("report/venue/acl.typ", &page);
    // That of `templates/` under the name of the other.
    let mut other = proof.clone();
    other.as_object_mut().unwrap().remove("template");
    project.write("report/build/paper.json", &serde_json::to_string_pretty(&other).unwrap());
    audited(1, "report/venue/acl.typ: does not go into the paper");
    put_back(&project, &whole);

    // An order of the parts is a program, and is not run: what it made is taken, and set again.
    let parts = own("paper.typ.tera") + "// Of the venue.\n";
    project.write("report/venue/paper.typ.tera", &parts);
    project.harness(&["report", "--template", "report/venue"]).expect(0);
    audited(0, "report/venue/paper.typ.tera: is not that of this program, and was not run");
    project.write("report/venue/paper.typ.tera", &(parts + "// Changed.\n"));
    audited(1, "report/venue/paper.typ.tera");
}

#[test]
fn a_paper_about_some_experiments_says_so_and_its_audit_names_the_others() {
    let Some(project) = study() else { return };
    let proof = || Project::json(&project.path("report/build/paper.json"));
    let audited = |code: i32, told: &str| {
        let ran = project.harness(&["audit"]).expect(code);
        assert!(ran.stdout.contains(told), "`{told}` is not said:\n{}", ran.stdout);
    };
    let left_out = "it is about `wider` alone; runs that it leaves out are those of `tiny`";
    project.harness(&["report", "wider", "--draft"]).expect(0);
    assert_eq!(proof()["experiments"], serde_json::json!(["wider"]));
    assert!(proof()["runs"].as_array().unwrap().iter().all(|run| run["experiment"] == "wider"));
    audited(0, left_out);
    // Where the proof does not say so, the runs of the other are missing.
    let mut all = proof();
    all.as_object_mut().unwrap().remove("experiments");
    project.write("report/build/paper.json", &serde_json::to_string_pretty(&all).unwrap());
    audited(1, "of tiny: belongs into the paper");

    project.harness(&["report"]).expect(0);
    assert!(proof().get("experiments").is_none());
    let about = fs::read_to_string(project.path("report/paper.toml")).unwrap();
    project.write("report/paper.toml", &about.replace("experiments = []", "experiments = [\"wider\"]"));
    project.harness(&["report"]).expect(0);
    audited(0, left_out);
    project.harness(&["report", "tiny", "wider"]).expect(0);
    assert_eq!(proof()["experiments"], serde_json::json!(["tiny", "wider"]));
    let refused = project.harness(&["report", "wide"]).expect(2);
    assert!(
        refused.stderr.contains("the command names `wide`, which has no run\nhint: did you mean `wider`?"),
        "{}",
        refused.stderr
    );
}

/// What a page shows that no number of the proof tells of: only setting the paper again finds it.
#[test]
fn what_was_drawn_over_or_attached_is_found_by_setting_the_paper_again() {
    let Some(project) = study() else { return };
    project.harness(&["report"]).expect(0);
    let whole = build_folder(&project);
    let edit = |change: &dyn Fn(&mut lopdf::Document)| {
        change_and_mend(&project, "report/build/paper.pdf", |bytes| {
            let mut document = lopdf::Document::load_mem(&bytes).unwrap();
            change(&mut document);
            let mut out = Vec::new();
            document.save_to(&mut out).unwrap();
            out
        });
        let ran = project.harness(&["audit", "report/build/paper.pdf"]).expect(1);
        put_back(&project, &whole);
        ran.stdout
    };
    let said = edit(&|pdf| {
        let page = pdf.get_pages()[&1];
        pdf.add_page_contents(page, b"q 1 g 60 60 300 300 re f Q".to_vec()).unwrap();
    });
    assert!(said.contains("page 1 has the same text, and something else is drawn on it"), "{said}");
    let said = edit(&|pdf| {
        let is_file = |object: &&mut lopdf::Object| {
            object.as_stream().is_ok_and(|stream| stream.dict.get_type().is_ok_and(|of| of == b"EmbeddedFile"))
        };
        let file = pdf.objects.values_mut().find(is_file).unwrap().as_stream_mut().unwrap();
        file.set_plain_content(b"{}".to_vec());
    });
    assert!(said.contains("is not what the sources give"), "{said}");
    let said = edit(&|pdf| {
        let fonts: Vec<_> = pdf.objects.values_mut().filter_map(|object| object.as_dict_mut().ok()).collect();
        let map = fonts.into_iter().find_map(|font| font.get(b"ToUnicode").and_then(lopdf::Object::as_reference).ok());
        let map = pdf.get_object_mut(map.unwrap()).and_then(lopdf::Object::as_stream_mut).unwrap();
        let text = String::from_utf8(map.get_plain_content().unwrap()).unwrap();
        // Some letter is said to be another.
        let at = text.find("beginbfchar").unwrap() + text[text.find("beginbfchar").unwrap()..].find("> <").unwrap() + 6;
        let other = if text.as_bytes()[at] == b'1' { "2" } else { "1" };
        map.set_plain_content(format!("{}{other}{}", &text[..at], &text[at + 1..]).into_bytes());
    });
    assert!(said.contains("not what its sources give"), "{said}");

    // Without a Typst of the auditor's own, what is not checked is said and is not taken for granted.
    let command = |tools: &str| {
        let mut command = project.command(&["audit", "report/build/paper.pdf"]);
        Ran::of(command.env("HARNESS_TOOLS", tools).output().unwrap())
    };
    if Command::new("typst").arg("--version").output().is_err() {
        let ran = command("/nowhere").expect(3);
        assert!(
            ran.stdout.contains("not checked, nor whether the list of bound numbers is complete"),
            "{}",
            ran.stdout
        );
    }
    fs::remove_file(project.path("report/build/paper.pdf")).unwrap();
    let ran = project.harness(&["audit"]).expect(3);
    assert!(ran.stdout.contains("the paper is missing, and its proof is there"), "{}", ran.stdout);
}

/// Whoever gets a project with a program in its `.tools` does not run it.
#[test]
fn an_audit_runs_no_program_of_the_repository() {
    let Some(project) = study() else { return };
    project.harness(&["report"]).expect(0);
    fs::remove_file(project.path(".tools")).unwrap();
    let marker = project.path("was-run");
    project.write(".tools/bin/typst", &format!("#!/bin/sh\ntouch '{}'\n", marker.display()));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(project.path(".tools/bin/typst"), mode).unwrap();
    project.harness(&["audit"]).expect(0);
    assert!(!marker.exists());
    project.harness(&["report"]);
    assert!(marker.exists(), "in one's own project it is the project's");
}

#[test]
fn a_pdf_alone_is_held_against_what_it_carries() {
    let Some(project) = study() else { return };
    project.harness(&["report"]).expect(0);
    let elsewhere = tempfile::tempdir().unwrap();
    let pdf = elsewhere.path().join("thesis.pdf");
    fs::copy(project.path("report/build/paper.pdf"), &pdf).unwrap();
    let alone = |arguments: &[&str]| {
        let mut command = project.command(&[&["audit", pdf.to_str().unwrap()], arguments].concat());
        Ran::of(command.current_dir(elsewhere.path()).output().unwrap())
    };
    let ran = alone(&["--verbose"]).expect(3);
    let root = Project::json(&project.path("report/build/paper.json"))["runs"][0]["root"].as_str().unwrap().to_owned();
    assert!(ran.stdout.contains(&root) && ran.stdout.contains("bound numbers are those of the attached values"));
    let ran = alone(&["--json"]).expect(3);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(report["contradictions"] == 0 && report["bound_numbers"].as_u64().unwrap() > 20, "{report:#}");
    // With the repository it goes on through the records.
    let ran = project.harness(&["audit", "--verbose", pdf.to_str().unwrap()]).expect(0);
    assert!(
        ran.stdout.contains("the same bytes") && ran.stdout.contains("made again from their runs"),
        "{}",
        ran.stdout
    );

    // A digit edited in what is attached.
    let mut document = lopdf::Document::load(&pdf).unwrap();
    for stream in document.objects.values_mut().filter_map(|object| object.as_stream_mut().ok()) {
        let Ok(text) = stream.get_plain_content().map_err(drop).and_then(|b| String::from_utf8(b).map_err(drop)) else {
            continue;
        };
        if text.contains("\"differences\"") && text.contains("\"standings\"") {
            let at = text.find("\"validation.bits_per_byte\"").unwrap();
            let edited = text[at..].replacen("\"number\": ", "\"number\": 1", 1);
            stream.set_plain_content(format!("{}{edited}", &text[..at]).into_bytes());
        }
    }
    document.save(&pdf).unwrap();
    let ran = alone(&[]).expect(1);
    assert!(ran.stdout.contains("tiny:validation.bits_per_byte"), "{}", ran.stdout);
    fs::write(&pdf, b"%PDF-1.7 and no more").unwrap();
    let ran = alone(&[]).expect(1);
    assert!(ran.stdout.contains("the PDF cannot be read"), "{}", ran.all());
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
    let ran = project.harness(&["report", "--check", "missing.pdf"]).expect(1);
    assert!(ran.stderr.contains("missing.pdf"), "{}", ran.stderr);
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
    assert!(of(&changes, "tiny:count of seeds").contains("new seed 7"), "{changes:#?}");
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
