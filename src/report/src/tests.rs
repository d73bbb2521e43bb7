//! From sealed runs to a PDF and its proof. Tests that need Typst say so and pass where it is not installed.

#[path = "../../../tests/common/skip.rs"]
mod skip;

use harness_core::files;
use harness_core::names::Project;
use tempfile::TempDir;

use super::fixture::{Synthetic, analysis, books, demo};
use super::*;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A project with the repository's templates and tools.
fn project() -> (TempDir, Project) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Path::new(REPOSITORY);
    for path in files::list_recursive(&repository.join("templates")).unwrap() {
        files::copy(&repository.join("templates").join(&path), &folder.path().join("templates").join(&path)).unwrap();
    }
    let tools = repository.join(".tools");
    if tools.exists() {
        std::os::unix::fs::symlink(absolute(&tools), folder.path().join(".tools")).unwrap();
    }
    let project = Project::at(folder.path());
    (folder, project)
}

fn runs(project: &Project, synthetic: &[Synthetic]) -> Vec<RunAnalysis> {
    synthetic.iter().map(|s| analysis(project, s)).collect()
}

/// Whether Typst is there; says so if not.
fn has_typst(project: &Project) -> bool {
    let found = typst::Typst::find(project);
    if let Err(problem) = &found {
        skip::skip("typst", &problem.to_string());
    }
    found.is_ok()
}

fn built(project: &Project, analyses: &[RunAnalysis], mode: Mode) -> Report {
    build(project, analyses, &Options { mode }).unwrap_or_else(|e| panic!("{e}"))
}

fn proof(report: &Report) -> Proof {
    serde_json::from_slice(&files::read(&report.proof).unwrap()).unwrap()
}

/// Writes a section in place of the drafted one, and the message that the report then ends with.
fn refused(project: &Project, analyses: &[RunAnalysis], text: &str) -> String {
    let text = format!("#import \"/report/build/lib/values.typ\": *\n{text}");
    files::write(&project.root().join("report/sections/50-results.typ"), text.as_bytes()).unwrap();
    match build(project, analyses, &Options::default()) {
        Ok(report) => panic!("accepted: {text}\n{report:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_study_becomes_a_paper_with_its_proof() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let mut synthetic = demo();
    let demo_alone = built(&project, &runs(&project, &synthetic), Mode::Final);
    assert!(demo_alone.pages >= 3 && demo_alone.findings.is_empty(), "{demo_alone:?}");
    keep(&demo_alone, "demo");
    files::remove_folder(&project.report()).unwrap();
    files::remove_folder(&project.experiments()).unwrap();

    synthetic.push(books());
    let analyses = runs(&project, &synthetic);
    for mode in [Mode::Final, Mode::Review, Mode::Preprint] {
        let report = built(&project, &analyses, mode);
        assert_eq!(report.warnings, Vec::<String>::new());
        assert_eq!(report.findings, []);
        keep(&report, mode.word());
        let proof = proof(&report);
        assert_eq!(proof.pdf_sha256, Digest::of_file(&report.pdf).unwrap());
        assert!(proof.bound.len() > 100);
        for bound in &proof.bound {
            assert!(bound.page >= 1 && bound.page <= report.pages, "{bound:?}");
            assert!(bound.kind == "recorded" || bound.number.is_some(), "{bound:?}");
            if bound.kind == "value" {
                let name = bound.experiment.as_deref().unwrap();
                let run = analyses.iter().find(|a| a.run.open.experiment.as_str() == name).unwrap();
                assert_eq!(bound.shown, run.value(&bound.key).unwrap().shown());
            }
        }
        for source in &proof.sources {
            assert_eq!(source.sha256, Digest::of_file(&project.root().join(&source.path)).unwrap());
        }
        let pdf = files::read(&report.pdf).unwrap();
        let attached = pdf.windows(b"/EmbeddedFile".len()).any(|w| w == b"/EmbeddedFile");
        assert_eq!(attached, mode != Mode::Review, "a review copy is anonymous and carries nothing");
    }
}

/// For looking at the pages: `KEEP_PAPERS=folder cargo test`.
fn keep(report: &Report, name: &str) {
    if let Some(folder) = std::env::var_os("KEEP_PAPERS") {
        files::copy(&report.pdf, &Path::new(&folder).join(format!("{name}.pdf"))).unwrap();
        files::copy(&report.proof, &Path::new(&folder).join(format!("{name}.json"))).unwrap();
    }
}

#[test]
fn the_same_runs_give_the_same_bytes() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    let first = built(&project, &analyses, Mode::Final);
    let (pdf, proof) = (files::read(&first.pdf).unwrap(), files::read(&first.proof).unwrap());
    assert!(!first.created.is_empty());
    let second = built(&project, &analyses, Mode::Final);
    assert_eq!(files::read(&second.pdf).unwrap(), pdf);
    assert_eq!(files::read(&second.proof).unwrap(), proof);
    assert!(second.created.is_empty() && second.redrafted.is_empty(), "{second:?}");
}

#[test]
fn what_students_wrote_is_never_written_again() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let synthetic = demo();
    let first = built(&project, &runs(&project, &synthetic[..1]), Mode::Final);
    assert!(first.created.iter().all(|path| !path.contains("lr-warmup")), "{:?}", first.created);
    let own = [
        ("report/sections/80-conclusion.typ", "= Our Own Conclusion\nThis is ours.\n"),
        ("report/references.bib", "@misc{own, author={A B}, title={C}, year=2020, url={https://example.org}}\n"),
        ("report/paper.toml", "title = \"Our Own Title\"\n[[authors]]\nname = \"A B\"\n"),
    ];
    for (path, text) in own {
        files::write(&project.root().join(path), text.as_bytes()).unwrap();
    }
    let second = built(&project, &runs(&project, &synthetic), Mode::Final);
    for (path, text) in own {
        assert_eq!(files::read_to_string(&project.root().join(path)).unwrap(), text);
    }
    assert!(second.redrafted.contains(&"report/sections/80-conclusion.typ".to_owned()), "{:?}", second.redrafted);
    let draft = project.root().join("report/build/draft/sections/80-conclusion.typ");
    assert!(files::read_to_string(&draft).unwrap().contains("= Conclusion"));
    assert!(
        project.root().join("report/sections/60-changes-lr-warmup.typ").exists(),
        "a new experiment has its section"
    );
}

#[test]
fn a_wrong_name_is_shown_at_its_place_with_the_nearest() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    let cases: [(&str, &[&str]); 15] = [
        (
            "= R\nIt is #value(\"lr-warmup\", \"validation.bits_per_bite\").",
            &[
                "no value `validation.bits_per_bite`",
                "report/sections/50-results.typ:3:27",
                "did you mean `validation.bits_per_byte`?",
            ],
        ),
        ("#value(\"lr-warmpu\", \"training.loss\")", &["no experiment `lr-warmpu`", ":2:8", "`lr-warmup`"]),
        ("#delta(\"lr-warmup\", \"baselin\", \"training.loss\")", &["no experiment `baselin`", ":2:21", "`baseline`"]),
        ("#compare(\"lr-warmup\", \"baseline\", \"training.los\")", &["no value `training.los`", "`training.loss`"]),
        ("#count(\"task\", \"baseline\")", &["no count `task`", "`tasks`"]),
        ("#fact(\"baseline\", \"devise\")", &["no fact `devise`", "`device`"]),
        ("#prose(\"baseline\", \"reason\")", &["no text `reason`", "hypothesis"]),
        ("#table-of(\"result\", \"baseline\")", &["no table `result`", "`results`"]),
        ("#figure-of(\"valdation\", \"baseline\")", &["no figure `valdation`", ":2:12", "`validation`"]),
        ("#figure-of(\"validation over time\", \"baseline\")", &["no axis `time`", "wall_time"]),
        ("#figure-of(\"tasks over flops\", \"baseline\")", &["`tasks` cannot be drawn over flops"]),
        ("#figure-of(\"delta\", \"baseline\")", &["`delta` has nothing to show of `baseline`", "name two"]),
        ("#figure-of(\"delta\", \"baselin\")", &["no experiment `baselin`", "`baseline`"]),
        ("#citep(\"radford2018language\")", &["no reference `radford2018language`", "`radford2019language`"]),
        (
            "#let key = \"no.such\"\n#value(\"baseline\", key)",
            &["report/sections/50-results.typ:3", "no value `no.such`"],
        ),
    ];
    for (text, expected) in cases {
        let message = refused(&project, &analyses, text);
        for part in expected {
            assert!(message.contains(part), "{text}\n=> {message}\nlacks {part}");
        }
    }
    let message = refused(&project, &analyses, "#let x = ");
    assert!(message.contains("report/sections/50-results.typ:2:"), "{message}");
    assert!(!message.contains(&project.root().display().to_string()), "{message}");
}

#[test]
fn a_wrong_paper_toml_is_shown_at_its_place() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo()[..1]);
    files::write(&project.root().join("report/paper.toml"), b"title = \"T\"\n[[authors]]\nnmae = \"A\"\n").unwrap();
    let message = build(&project, &analyses, &Options::default()).unwrap_err().to_string();
    assert!(message.contains("report/paper.toml:3:1") && message.contains("did you mean `name`?"), "{message}");
}

#[test]
fn a_text_that_cites_nothing_known_says_where_to_add_it() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let mut synthetic = demo();
    synthetic[1].config = synthetic[1].config.replace("@liu2020variance", "@liu2021nowhere");
    let message = build(&project, &runs(&project, &synthetic), &Options::default()).unwrap_err().to_string();
    assert!(message.contains("`@liu2021nowhere`") && message.contains("add an entry `liu2021nowhere`"), "{message}");
}

#[test]
fn hostile_texts_stay_texts() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let hostile =
        "#panic(\"out\") ]] }} ) ; \\ $x$ `raw` */ // * _ <label> {{ x }} {% if %} \u{202e}\u{200b} ~ -- @ [@] é";
    let mut synthetic = demo();
    for one in &mut synthetic {
        one.task_prefix = hostile;
        for field in ["title", "question", "hypothesis", "rationale"] {
            let quoted = toml::Value::String(hostile.to_owned()).to_string();
            one.config = one.config.lines().filter(|l| !l.starts_with(field)).collect::<Vec<_>>().join("\n");
            one.config = format!("{field} = {quoted}\n{}", one.config);
        }
    }
    let toml = format!(
        "title = {0}\n[[authors]]\nname = {0}\naffiliation = {0}\nemail = {0}\n",
        toml::Value::String(hostile.into())
    );
    files::write(&project.root().join("report/paper.toml"), toml.as_bytes()).unwrap();
    let bib = "@misc{radford2019language, author={A #panic(1) and B ]] \\$ C}, title={#panic(2) ] ; \"x\" `y`}, \
        note={*a* _b_ <c>}, year={20#19}, url={https://example.org/#a\"b}}\n";
    files::write(&project.root().join("report/references.bib"), bib.as_bytes()).unwrap();
    let report = built(&project, &runs(&project, &synthetic), Mode::Final);
    assert_eq!(report.findings, []);
}

#[test]
fn many_changes_and_seeds_and_no_tasks_make_papers_too() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let mut synthetic = demo();
    let variants = [
        ("wider", "20261123T083000Z-00000001"),
        ("deeper", "20261123T083100Z-00000002"),
        ("no-decay", "20261123T083200Z-00000003"),
        ("long-warmup", "20261123T083300Z-00000004"),
    ];
    for (index, (name, run)) in variants.into_iter().enumerate() {
        let mut one = demo().remove(1);
        one.experiment = name;
        one.run = run;
        one.offset = -0.05 * index as f64;
        one.config = one.config.replace("LR warm-up", name).replace("layers = 4", &format!("layers = {}", 4 + index));
        one.config = one.config.replace("steps = 300", &format!("steps = {}", 300 + 20 * index));
        synthetic.push(one);
    }
    for run in ["20261123T084000Z-00000005", "20261123T084000Z-00000006", "20261123T084000Z-00000007"] {
        let mut again = demo().remove(0);
        again.run = run;
        synthetic.push(again);
    }
    let report = built(&project, &runs(&project, &synthetic), Mode::Final);
    keep(&report, "several");
    for run in [
        "20261123T084100Z-00000008",
        "20261123T084200Z-00000009",
        "20261123T084300Z-0000000a",
        "20261123T084400Z-0000000b",
    ] {
        let mut again = demo().remove(0);
        again.run = run;
        synthetic.push(again);
    }
    let report = built(&project, &runs(&project, &synthetic), Mode::Final);
    assert_eq!(report.findings, []);
    keep(&report, "many");

    files::remove_folder(&project.report()).unwrap();
    files::remove_folder(&project.experiments()).unwrap();
    let mut bare = demo().remove(0);
    bare.tasks = false;
    let report = built(&project, &runs(&project, &[bare]), Mode::Final);
    assert_eq!(report.findings, []);
    keep(&report, "bare");
}

#[test]
fn experiments_on_other_data_are_not_compared() {
    let (_folder, project) = project();
    let mut synthetic = demo();
    synthetic[1].books = true;
    let analyses = runs(&project, &synthetic);
    let study = Study::of(&analyses);
    assert_eq!(study.families.len(), 2, "lr-warmup extends baseline, but its data root is another");
    assert!(study.entries.iter().all(|e| e.reference.is_none()));
}
