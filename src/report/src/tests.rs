//! From sealed runs to a PDF and its proof. Tests that need Typst say so and pass where it is not installed.

#[path = "../../../tests/common/skip.rs"]
pub(super) mod skip;

use harness_core::files;
use harness_core::names::Project;
use serde_json::json;
use tempfile::TempDir;

use super::fixture::{Synthetic, analysis, books, demo};
use super::logbook::Logbook;
use super::model::{Direction, Note, Number, Quantity, Shown};
use super::*;
use harness_study::adoption::{Adoption, Outcome};
use harness_study::ledger;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A project with the repository's templates and tools.
pub(crate) fn project() -> (TempDir, Project) {
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

pub(super) fn runs(project: &Project, synthetic: &[Synthetic]) -> Vec<RunAnalysis> {
    synthetic.iter().map(|s| analysis(project, s)).collect()
}

/// Whether Typst is there; says so if not.
pub(crate) fn has_typst(project: &Project) -> bool {
    let found = Typst::find(project);
    if let Err(problem) = &found {
        skip::skip("typst", &problem.to_string());
    }
    found.is_ok()
}

pub(super) fn built(project: &Project, analyses: &[RunAnalysis], mode: Mode) -> Report {
    build(project, analyses, &Options { mode, ..Options::default() }).unwrap_or_else(|e| panic!("{e}"))
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
            assert!(bound.note.page >= 1 && bound.note.page <= report.pages, "{bound:?}");
            if let Quantity::Value { experiment, key } = &bound.note.quantity {
                let run = analyses.iter().find(|a| a.run.open.experiment.as_str() == experiment).unwrap();
                let value = run.value(key).unwrap();
                assert_eq!(bound.note.shown, Number::among(&run.values, value).shown);
                assert_eq!((bound.number, &bound.runs), (value.number, &vec![run.run.open.run.to_string()]));
            }
        }
        for source in &proof.sources {
            assert_eq!(source.sha256, Digest::of_file(&project.root().join(&source.path)).unwrap());
        }
        let attached = attached(&report);
        let commit = &analyses[0].run.open.code.commit;
        let names_commit = |text: &String| text.contains(commit.as_str());
        assert_eq!(attached.values().any(names_commit), mode != Mode::Review, "a commit can be looked up");
        let of_proof: serde_json::Value = serde_json::from_slice(&files::read(&report.proof).unwrap()).unwrap();
        let bound: serde_json::Value = serde_json::from_str(&attached["bound.json"]).unwrap();
        assert_eq!(bound["bound"], of_proof["bound"]);
        let curve = &attached["figures/validation.baseline.lr-warmup.csv"];
        assert!(
            curve.starts_with("over,subject,seeds[],x,y,reference,bits_per_byte\ntokens,baseline,1,0.0,"),
            "{curve:.200}"
        );
        assert_eq!(attached.contains_key("summary.json"), mode != Mode::Review);
    }
}

/// A paper that is this source alone, as bytes.
pub(crate) fn compiled(source: &str, mode: Mode) -> Vec<u8> {
    let (_folder, project) = project();
    files::write(&project.root().join("paper.typ"), source.as_bytes()).unwrap();
    let pdf = project.root().join("paper.pdf");
    let typst = Typst::find(&project).unwrap();
    typst.compile("paper.typ", &pdf, mode.word(), 0).unwrap_or_else(|e| panic!("{e}"));
    files::read(&pdf).unwrap()
}

/// The files that a PDF carries, by name.
fn attached(report: &Report) -> BTreeMap<String, String> {
    let pdf = lopdf::Document::load(&report.pdf).unwrap();
    let mut found = BTreeMap::new();
    for specification in pdf.objects.values().filter_map(|object| object.as_dict().ok()) {
        let Ok(files) = specification.get(b"EF").and_then(lopdf::Object::as_dict) else { continue };
        let name = specification.get(b"UF").and_then(lopdf::decode_text_string).unwrap();
        let id = files.get(b"F").and_then(lopdf::Object::as_reference).unwrap();
        let stream = pdf.get_object(id).and_then(lopdf::Object::as_stream).unwrap();
        let name = name.strip_prefix("report/build/").unwrap_or_else(|| panic!("{name}"));
        found.insert(name.to_owned(), String::from_utf8(stream.get_plain_content().unwrap()).unwrap());
    }
    found
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
    assert!(!first.followed.created.is_empty());
    let second = built(&project, &analyses, Mode::Final);
    assert_eq!(files::read(&second.pdf).unwrap(), pdf);
    assert_eq!(files::read(&second.proof).unwrap(), proof);
    assert_eq!(second.followed, Followed::default());
}

#[test]
fn what_students_wrote_is_never_written_again() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let synthetic = demo();
    let first = built(&project, &runs(&project, &synthetic[..1]), Mode::Final);
    assert!(first.followed.created.iter().all(|path| !path.contains("lr-warmup")), "{:?}", first.followed);
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
    assert_eq!(second.followed.behind, ["report/sections/80-conclusion.typ"]);
    let rewritten = &second.followed.rewritten;
    assert!(rewritten.contains(&"report/sections/00-abstract.typ".to_owned()), "nobody had edited it: {rewritten:?}");
    let diffs = draft_diffs(&project, &runs(&project, &synthetic)).unwrap();
    assert!(diffs.len() == 1 && diffs[0].yours.contains("+This is ours."), "{diffs:?}");
    let draft = project.root().join("report/build/draft/sections/80-conclusion.typ");
    assert!(files::read_to_string(&draft).unwrap().contains("= Conclusion"));
    assert!(
        project.root().join("report/sections/60-changes-lr-warmup.typ").exists(),
        "a new experiment has its section"
    );
}

#[test]
fn the_section_of_an_experiment_that_is_gone_goes_unless_somebody_edited_it() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let synthetic = demo();
    let section = "report/sections/60-changes-lr-warmup.typ";
    built(&project, &runs(&project, &synthetic), Mode::Final);
    let one = runs(&project, &synthetic[..1]);
    let report = built(&project, &one, Mode::Final);
    assert_eq!(report.followed.removed, [section]);

    files::remove_folder(&project.report()).unwrap();
    built(&project, &runs(&project, &synthetic), Mode::Final);
    let path = project.root().join(section);
    let edited = format!("{}\nThis is ours.\n", files::read_to_string(&path).unwrap());
    files::write(&path, edited.as_bytes()).unwrap();
    let message = build(&project, &one, &Options::default()).unwrap_err().to_string();
    assert!(message.contains(section) && message.contains("no run which counts any more"), "{message}");
    assert_eq!(files::read_to_string(&path).unwrap(), edited);
}

#[test]
fn a_paper_of_drafts_alone_leaves_what_is_written_alone() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    let own = project.root().join("report/sections/80-conclusion.typ");
    files::write(&own, b"#panic(\"not read\")").unwrap();
    let options = Options { drafts_alone: true, ..Options::default() };
    let report = build(&project, &analyses, &options).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(report.followed, Followed::default());
    assert_eq!(files::list(&project.report()).unwrap(), ["build", "sections"]);
    assert!(proof(&report).sources.iter().all(|source| !source.path.starts_with("report/sections")));
}

#[test]
fn a_section_of_a_file_stands_among_the_drafts_and_is_refused_at_its_own_place() {
    let (folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    let made = |name: &str, text: &str| {
        let path = folder.path().join(name);
        files::write(&path, format!("{IMPORT}\n{text}").as_bytes()).unwrap();
        let options = Options { drafts_alone: true, sections: vec![path.clone()], ..Options::default() };
        (path, build(&project, &analyses, &options))
    };
    let section = |report: Report| {
        let listed = proof(&report).sources.into_iter().map(|source| source.path);
        listed.filter(|path| path.ends_with("-claims.typ")).collect::<Vec<_>>()
    };
    let claim =
        "= Claims\n#claim(\"lr-warmup\", better-than: \"baseline\", metric: \"training.loss\", scope: \"models\")";
    let (path, refused) = made("65-claims.typ", claim);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains(&format!("--> {}:3:21", path.display())), "{refused}");
    let (_, report) = made("65-claims.typ", &claim.replace("better-than", "compared-with"));
    assert_eq!(section(report.unwrap()), ["report/build/draft/sections/65-claims.typ"]);
    let (_, replaced) = made("80-conclusion.typ", "= Conclusion\nNothing.");
    assert_eq!(section(replaced.unwrap()), [""; 0], "only what is given is taken");
    let (_, misnamed) = made("claims.typ", claim);
    assert!(misnamed.unwrap_err().to_string().contains("name it `NN-name.typ`"));
    assert!(!project.report().join("sections").exists());
}

#[test]
fn a_wrong_name_is_shown_at_its_place_with_the_nearest() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    let cases: [(&str, &[&str]); 16] = [
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
        ("#figure-of(\"validation\", \"baseline\", over: \"time\")", &["no axis `time`", "wall_time", ":2:44"]),
        ("#figure-of(\"tasks\", \"baseline\", over: \"flops\")", &["`tasks` cannot be drawn over flops"]),
        ("#figure-of(\"delta\", \"baseline\")", &["`delta` has nothing to show for `baseline`", "name two"]),
        (
            "#figure-of(\"study\", \"baseline\")",
            &["experiments/baseline has no study.toml", "harness study new baseline"],
        ),
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
fn a_paper_that_is_too_long_says_what_takes_its_pages() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    files::write(&project.root().join("report/paper.toml"), b"title = \"T\"\n[pages]\nlimit = 2\n").unwrap();
    let report = built(&project, &runs(&project, &demo()[..1]), Mode::Final);
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert!(finding.rule == "page limit" && finding.problem.contains("of 2 pages of content"), "{finding:?}");
    assert!(finding.hint.contains("pages must go: the longest parts are `"), "{finding:?}");
    assert!(report.budget.largest.iter().all(|(part, _)| finding.hint.contains(&format!("`{part}`"))), "{finding:?}");
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
    let rules: Vec<&str> = report.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["plain text"], "a title with `$x$` and backslashes is told, and nothing else is wrong");
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

/// A baseline and eleven changes with three seeds each: some better, some worse, most not told apart.
fn twelve() -> Vec<Synthetic> {
    const CHANGES: [(&str, &str, &str, &str, f64); 11] = [
        ("rotary", "Rotary positions", "positions = \"learned\"", "positions = \"rotary\"", -0.160),
        ("rms-norm", "RMS norm", "norm = \"layer\"", "norm = \"rms\"", -0.001),
        ("swiglu", "SwiGLU", "feed_forward = \"gelu\"", "feed_forward = \"swiglu\"", -0.130),
        ("untied-head", "Untied output head", "tied_embeddings = true", "tied_embeddings = false", 0.002),
        ("no-bias", "No biases", "bias = true", "bias = false", 0.001),
        ("warm-up", "Warm-up of the learning rate", "warmup_steps = 0", "warmup_steps = 30", -0.002),
        ("rate-half", "Half the learning rate", "learning_rate = 2e-3", "learning_rate = 1e-3", 0.180),
        ("rate-double", "Twice the learning rate", "learning_rate = 2e-3", "learning_rate = 4e-3", 0.150),
        ("decay-high", "High weight decay", "weight_decay = 0.1", "weight_decay = 0.3", -0.003),
        ("dropout-tenth", "Dropout of a tenth", "dropout = 0.0", "dropout = 0.1", 0.140),
        ("clip-low", "Clipping at a lower norm", "gradient_clip_norm = 1.0", "gradient_clip_norm = 0.5", 0.0),
    ];
    let settled = |one: Synthetic| {
        let model = "[model]\npositions = \"learned\"\nnorm = \"layer\"\nfeed_forward = \"gelu\"\ntied_embeddings = true\nbias = true\ndropout = 0.0\n";
        let optimizer = "[optimizer]\nweight_decay = 0.1\ngradient_clip_norm = 1.0\n";
        let config = one.config.replace("[model]\n", model).replace("[optimizer]\n", optimizer);
        Synthetic { config, ..one }
    };
    let mut all = Vec::new();
    for (at, seed) in [11_u32, 29, 47].into_iter().enumerate() {
        let jitter = 0.006 * (at as f64 - 1.0);
        let seeded = |one: Synthetic, run: usize, offset: f64| Synthetic {
            run: Box::leak(format!("20261123T09{run:02}{:02}Z-{:08x}", 10 + at, 100 * run + at).into_boxed_str()),
            config: one.config.replace("seed = 1\n", &format!("seed = {seed}\n")),
            offset: offset + jitter,
            ..one
        };
        all.push(seeded(settled(demo().remove(0)), 0, 0.0));
        for (index, (name, title, from, to, offset)) in CHANGES.into_iter().enumerate() {
            let mut one = settled(demo().remove(1));
            one.experiment = name;
            one.config = one.config.replace("warmup_steps = 30", "warmup_steps = 0").replace("LR warm-up", title);
            assert!(one.config.contains(from), "{from}");
            one.config = one.config.replace(from, to);
            // Seeds of a change do not move with those of the baseline.
            let own = 0.002 * ((index + 2 * at) % 3) as f64;
            all.push(seeded(one, index + 1, offset + own));
        }
    }
    all
}

/// Eight pages for a study of 36 runs, as the conference's checker and the page budget see it.
#[test]
fn a_study_of_twelve_experiments_keeps_to_eight_pages() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let synthetic = twelve();
    for (name, outcome) in
        [("rotary", Outcome::Adopted), ("swiglu", Outcome::Adopted), ("rate-half", Outcome::Rejected)]
    {
        let folder = project.experiments().join(name);
        files::write(&folder.join("experiment.toml"), b"title = \"A change\"\nextends = \"baseline\"\n").unwrap();
        files::write(&folder.join("decision.toml"), adoption(name, outcome).to_toml().as_bytes()).unwrap();
    }
    let base = project.experiments().join("baseline/experiment.toml");
    files::write(&base, b"title = \"Baseline\"\ncorpus = \"grammar\"\nseed = 1\n").unwrap();
    let analyses = runs(&project, &synthetic);
    let report = built(&project, &analyses, Mode::Final);
    keep(&report, "twelve");
    assert!(!report.budget.is_over(), "{}", report.budget.line());
    assert_eq!(report.findings, []);
    let own = |name: &str| files::is_file(&project.root().join(format!("report/sections/60-changes-{name}.typ")));
    assert!(own("rotary") && own("swiglu") && own("rate-half"), "adopted, adopted, surprising");
    assert!(!own("no-bias") && !own("rms-norm"), "what is not told apart shares a table");
    let paper = files::read_to_string(&project.root().join("report/sections/00-abstract.typ")).unwrap();
    for said in ["We adopt #\"rotary\"", "#\"swiglu\"", "What failed is #\"dropout-tenth\""] {
        assert!(paper.contains(said), "{said} is not in the abstract:\n{paper}");
    }
    assert!(!paper.contains("no-bias"), "what cannot be told is not listed:\n{paper}");
    let named = b"title = \"T\"\n[pages]\nsubsections = [\"no-bias\"]\n";
    files::write(&project.root().join("report/paper.toml"), named).unwrap();
    let drafts = todays_drafts(&project, &analyses).unwrap();
    let has_place = |name: &str| drafts.iter().any(|draft| draft.path.ends_with(name) && draft.is_wanted);
    assert!(has_place("60-changes-no-bias.typ") && !has_place("60-changes-rms-norm.typ"), "what is named has a place");
    // A call has at least as many words in the source as on the page.
    let source = paper.lines().filter(|line| !line.starts_with("//") && !line.starts_with("#import"));
    let words = source.flat_map(str::split_whitespace).count();
    assert!(words <= 200, "{words} words:\n{paper}");
    for bound in proof(&report).bound {
        if let Quantity::Direction { direction: Direction::NotDistinguishable, .. } = bound.note.quantity {
            let shown = bound.note.shown.to_string();
            assert!(!["higher", "lower", "better", "worse"].iter().any(|word| shown.contains(word)), "{shown}");
        }
    }
}

fn adoption(name: &str, outcome: Outcome) -> Adoption {
    let adopted = outcome == Outcome::Adopted;
    Adoption {
        format: 1,
        experiment: name.parse().unwrap(),
        over: "baseline".parse().unwrap(),
        outcome,
        decided_at: "2026-11-24T10:00:00Z".to_owned(),
        commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        verdict: if adopted { harness_study::Verdict::Confirmed } else { harness_study::Verdict::Refuted },
        advice: if adopted { harness_study::Action::Adopt } else { harness_study::Action::Reject },
        override_reason: None,
        metric: "validation.bits_per_byte".to_owned(),
        direction: harness_core::config::Direction::Lower,
        at_least: 0.005,
        level: 0.05,
        family: Vec::new(),
        effect: None,
        evidence: Vec::new(),
    }
}

#[test]
fn experiments_on_other_data_are_not_compared() {
    let (_folder, project) = project();
    let mut synthetic = demo();
    synthetic[1].books = true;
    let analyses = runs(&project, &synthetic);
    let study = families::Families::of(&analyses);
    assert_eq!(study.families.len(), 2, "lr-warmup extends baseline, but its data root is another");
    assert!(study.entries.iter().all(|e| e.reference.is_none()));
}

/// The demo with each of its experiments once more under seed 2.
fn two_seeds() -> Vec<Synthetic> {
    let mut synthetic = demo();
    for (mut again, run) in demo().into_iter().zip(["20261123T083000Z-0000000e", "20261123T083500Z-0000000f"]) {
        again.run = run;
        again.config = again.config.replace("seed = 1", "seed = 2");
        synthetic.push(again);
    }
    synthetic
}

#[test]
fn how_probable_right_answers_are_is_in_the_results_where_a_claim_rests_on_it() {
    let (_folder, project) = project();
    let results = |synthetic: &[Synthetic]| {
        let analyses = runs(&project, synthetic);
        let tables = Tables::of(&Numbers::of(&analyses, &[]).unwrap(), &Logbook::default());
        serde_json::to_string(&tables.experiments["baseline"]["results"]).unwrap()
    };
    let (key, title) = ("tasks.grammar-agreement.gold_bits_per_byte", "right answers, bits per byte");
    let silent = results(&demo());
    assert!(!silent.contains(key) && !silent.contains(title), "{silent}");
    let mut declared = demo();
    declared[1].config = format!("primary_metrics = [\"{key}\"]\n{}", declared[1].config);
    declared[1].run = "20261123T082000Z-00000008";
    let shown = results(&declared);
    assert!(shown.contains(key) && shown.contains(title), "{shown}");
}

#[test]
fn what_became_of_runs_that_do_not_count_is_written_out_where_digests_are_cut() {
    let (_folder, project) = project();
    let analyses = runs(&project, &demo());
    let experiment = "baseline".parse().unwrap();
    let entry = |number: usize| ledger::Entry {
        state: ledger::State::Completed,
        ..ledger::Entry::unknown(&experiment, &format!("20261122T0800{number:02}000Z-00000001").parse().unwrap())
    };
    let entries = (0..20).map(entry).collect();
    let logbook = Logbook { ledger: ledger::Ledger { entries }, ..Logbook::default() };
    let mut tables = Tables::of(&Numbers::of(&analyses, &[]).unwrap(), &logbook);
    let said = |tables: &Tables| serde_json::to_string(&tables.paper["runs"]).unwrap().matches("\"completed\"").count();
    assert_eq!(said(&tables), 20);
    tables.withhold_commits();
    assert_eq!(said(&tables), 20);
}

fn material<'a>(numbers: &'a Numbers, logbook: &'a Logbook) -> draft::Material<'a> {
    let tables = tables::of_paper(logbook);
    let (families, differences) = (&numbers.families, &numbers.differences);
    let (references, checklist, budget) = (Vec::new(), false, false);
    draft::Material { families, differences, logbook, named: &[], references, tables, checklist, budget }
}

/// The drafted section of this name.
fn drafted(analyses: &[RunAnalysis], name: &str) -> String {
    let folder = Path::new(REPOSITORY).join("templates/sections");
    let drafts = draft::sections(&folder, &material(&Numbers::of(analyses, &[]).unwrap(), &Logbook::default()));
    let drafts = drafts.unwrap_or_else(|e| panic!("{e}"));
    let draft = drafts.into_iter().find(|draft| draft.name == name).unwrap_or_else(|| panic!("no {name}"));
    draft.text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn note(quantity: Quantity, shown: &str) -> Note {
    Note { quantity, shown: Shown::Text(shown.to_owned()), shown_error: None, page: 1 }
}

#[test]
fn numbers_are_means_over_the_seeds_of_the_latest_plan() {
    let (_folder, project) = project();
    let analyses = runs(&project, &two_seeds());
    let numbers = Numbers::of(&analyses, &[]).unwrap();
    let key = "training.loss";
    let of = |name: &str| -> Vec<f64> {
        let own = analyses.iter().filter(|a| a.run.open.experiment.as_str() == name);
        own.map(|a| a.values[key].number).collect()
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let (baseline, warm) = (of("baseline"), of("lr-warmup"));
    assert!(baseline.len() == 2 && baseline[0] != baseline[1]);
    let (baseline, warm) = (mean(baseline), mean(warm));
    let value = Quantity::Value { experiment: "baseline".into(), key: key.into() };
    let found = numbers.check(&note(value.clone(), &format!("{baseline:.3}"))).unwrap();
    assert_eq!(found.number, baseline);
    assert_eq!(found.runs, ["20261123T081500Z-00ab12cd", "20261123T083000Z-0000000e"]);
    assert!(numbers.check(&note(value, "9.999")).unwrap_err().contains("the paper shows `9.999`"));
    let difference = Quantity::Difference { experiment: "lr-warmup".into(), minus: "baseline".into(), key: key.into() };
    let sign = if warm < baseline { "\u{2212}" } else { "+" };
    let found = numbers.check(&note(difference, &format!("{sign}{:.3}", (warm - baseline).abs()))).unwrap();
    assert_eq!(found.number, warm - baseline);
    assert_eq!(found.runs.len(), 4);
}

#[test]
fn a_number_that_is_none_is_not_in_the_paper() {
    let (_folder, project) = project();
    let mut analyses = runs(&project, &demo());
    for (at, number) in [(0, f64::NAN), (1, f64::INFINITY)] {
        analyses[at].values.get_mut("training.loss").unwrap().number = number;
    }
    let numbers = Numbers::of(&analyses, &[]).unwrap();
    for name in ["baseline", "lr-warmup"] {
        let listed = &numbers.listed_values()[name];
        assert!(!listed.contains_key("training.loss") && listed.contains_key("training.tokens"));
    }
    assert!(!drafted(&analyses, "55-analysis.typ").contains("training.loss"));
}

#[test]
fn what_is_to_be_known_of_the_choice_of_runs_is_among_the_notes() {
    let (_folder, project) = project();
    let analyses = runs(&project, &demo());
    let mut numbers = Numbers::of(&analyses, &[]).unwrap();
    let notes = BTreeMap::from([("baseline".to_owned(), vec!["`baseline`: 1 run left out: deleted".to_owned()])]);
    numbers.differences.add_notes(&notes);
    let catalogue = serde_json::to_value(numbers.catalogue()).unwrap();
    let first = &catalogue["differences"]["lr-warmup"]["baseline"]["notes"][0];
    let expected =
        json!([{ "kind": "code", "text": "baseline" }, { "kind": "text", "text": ": 1 run left out: deleted." }]);
    assert_eq!(first, &expected);
}

#[test]
fn words_say_what_the_runs_say() {
    let (_folder, project) = project();
    let mut synthetic = demo();
    // A loss of about 4 nats per token is more than the 1.75 bits per byte of the bigram model.
    synthetic[0].offset = 4.0;
    let analyses = runs(&project, &synthetic);
    let numbers = Numbers::of(&analyses, &[]).unwrap();
    let bits = analyses[0].values["validation.bits_per_byte"].number;
    assert!(bits > 1.75, "{bits}");
    let standing = |direction| Quantity::Standing {
        experiment: "baseline".into(),
        key: "validation.bits_per_byte".into(),
        than: "data.bigram_bits_per_byte".into(),
        direction,
    };
    let count = || Quantity::Count { count: "tasks".into(), experiment: Some("baseline".into()) };
    let cases = [
        (note(standing(Direction::Higher), "higher than"), true),
        (note(standing(Direction::Higher), "gr\u{f6}\u{df}er als"), true),
        (note(standing(Direction::Lower), "lower than"), false),
        (note(standing(Direction::Higher), "lower than"), false),
        (note(standing(Direction::Lower), "kleiner als"), false),
        (note(count(), "four"), true),
        (note(count(), "Four"), true),
        (note(count(), "4"), true),
        (note(count(), "six"), false),
        (note(count(), "vierzehn"), false),
    ];
    for (note, holds) in cases {
        assert_eq!(numbers.check(&note).is_ok(), holds, "{note:?}: {:?}", numbers.check(&note));
    }
    let simpler = "#standing(\"baseline\", \"validation.bits_per_byte\", \"data.bigram_bits_per_byte\")";
    for section in ["00-abstract.typ", "50-results.typ", "80-conclusion.typ"] {
        assert!(drafted(&analyses, section).contains(simpler), "{section} does not say where the model stands");
    }
}

#[test]
fn sentences_are_chosen_by_facts() {
    let (_folder, project) = project();
    let one = runs(&project, &demo());
    let two = runs(&project, &two_seeds());
    let other_seed = {
        let mut synthetic = demo();
        synthetic[1].config = synthetic[1].config.replace("seed = 1", "seed = 7");
        synthetic[1].run = "20261123T082000Z-00000007";
        runs(&project, &synthetic)
    };
    let later_hypothesis = {
        let mut synthetic = two_seeds();
        synthetic[3].config = synthetic[3].config.replace("the early loss is smoother", "all is well");
        synthetic[3].run = "20261123T083500Z-0000001f";
        runs(&project, &synthetic)
    };
    let uneven = runs(&project, &two_seeds()[..3]);
    let one_seed = "we do not claim that other seeds would show it again";
    let in_changes = "60-changes-lr-warmup.typ";
    let first = "there before its first run";
    let apart = "lie at least twice as far apart between our experiments";
    let cases: [(&str, &[RunAnalysis], &str, bool); 27] = [
        ("40-tasks.typ", &two, apart, true),
        ("40-tasks.typ", &one, apart, false),
        ("40-tasks.typ", &uneven, apart, false),
        ("00-abstract.typ", &one, one_seed, true),
        ("00-abstract.typ", &two, one_seed, false),
        (
            "00-abstract.typ",
            &two,
            "The tests are over seeds, #count(\"seeds\", \"baseline\", words: true) for each",
            true,
        ),
        ("00-abstract.typ", &uneven, "for each experiment", false),
        ("60-changes.typ", &one, "the seeds included", true),
        ("60-changes.typ", &two, "the seeds included", true),
        ("60-changes.typ", &other_seed, "the seeds included", false),
        ("60-changes.typ", &uneven, "the seeds included", false),
        ("60-changes.typ", &one, first, true),
        ("60-changes.typ", &later_hypothesis, first, false),
        ("10-introduction.typ", &one, "stated before its first run", true),
        ("10-introduction.typ", &later_hypothesis, "stated before", false),
        ("80-conclusion.typ", &later_hypothesis, "stated before", false),
        (in_changes, &later_hypothesis, "(Stated after #count(\"runs-before-hypothesis\"", true),
        (in_changes, &one, "Stated after", false),
        (in_changes, &one, "an observation about these two models", true),
        (in_changes, &two, "an observation about these two models", false),
        (in_changes, &two, "The tests are over seeds.", true),
        (in_changes, &uneven, "nothing is tested", true),
        (in_changes, &one, "the two models differ on", true),
        (in_changes, &two, "the two models differ on", false),
        (in_changes, &one, "#notes(\"lr-warmup\", \"baseline\")", true),
        ("90-limitations.typ", &two, "latest run", false),
        ("90-limitations.typ", &one, "we report no test over seeds", true),
    ];
    for (section, analyses, sentence, stands) in cases {
        let text = drafted(analyses, section);
        assert_eq!(text.contains(sentence), stands, "`{sentence}` in {section}:\n{text}");
    }
}

#[test]
fn the_method_is_told_as_the_config_has_it() {
    let (_folder, project) = project();
    let with = |from: &str, to: &str| {
        let mut one = demo().remove(0);
        assert!(one.config.contains(from));
        one.config = one.config.replace(from, to);
        let fresh = tempfile::tempdir().unwrap();
        drafted(&[analysis(&Project::at(fresh.path()), &one)], "30-model.typ")
    };
    let stable = "[schedule]\nkind = \"warmup_stable_decay\"\ncooldown_steps = 50\n";
    let text = with("[schedule]\n", stable);
    let cooldown =
        "then falls over the last #value(\"baseline\", \"config.schedule.cooldown_steps\") steps in a straight line";
    assert!(text.contains("stays at its peak of") && text.contains(cooldown), "{text}");
    let text = with("[schedule]\n", "[schedule]\nkind = \"constant\"\n");
    assert!(text.contains("stays at its peak of") && !text.contains("straight line"), "{text}");
    let text = with("[schedule]\n", "[schedule]\nkind = \"inverse_sqrt\"\n");
    assert!(text.contains("square root of the step"), "{text}");
    let projections = "that of projections into the residual stream is divided";
    let text = with("seed = 1", "seed = 1");
    assert!(text.contains(projections) && text.contains("with the architecture of GPT-2"), "{text}");
    let text = with("[model]\n", "[model]\ninitialization = \"plain\"\n");
    assert!(!text.contains(projections) && text.contains("All weights are drawn"), "{text}");
    assert!(!text.contains("architecture of GPT-2"), "{text}");
    let text = with("[model]\n", "[model]\npositions = \"rotary\"\n");
    assert!(text.contains("#citep(\"su2024roformer\")") && !text.contains("learned vector"), "{text}");
    drop(project);
}

#[test]
fn bits_per_byte_compare_where_the_held_out_text_is_the_same() {
    let (_folder, project) = project();
    let mut synthetic = demo();
    synthetic.push(books());
    let mut analyses = runs(&project, &synthetic);
    let text = drafted(&analyses, "90-limitations.typ");
    assert!(text.contains("cannot be compared with each other"), "{text}");
    let documents = analyses[0].run.corpus.validation_documents.clone();
    analyses[2].run.corpus.validation_documents = documents;
    let text = drafted(&analyses, "90-limitations.typ");
    assert!(text.contains("their bits per byte can be compared"), "{text}");
}

#[test]
fn a_template_that_says_another_number_is_refused() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    let path = project.templates().join("values.typ");
    let honest = files::read_to_string(&path).unwrap();
    let cases = [
        ("backed(\"bound\", shown)\n    })\n  }\n  if noun", "[six]\n    })\n  }\n  if noun", None),
        (
            "note(quantity, shown)\n      backed(\"bound\", shown)",
            "note(quantity, \"six\")\n      [six]",
            Some("the count is 4, which `six` does not say"),
        ),
        (
            "direction: found.direction), found.words,",
            "direction: \"higher\"), found.words,",
            Some("the paper says higher than"),
        ),
        ("direction: found.direction), found.words,", "direction: found.direction), \"wie\",", None),
        ("(kind: \"value\",", "(kind: \"guess\",", Some("unknown variant `guess`")),
    ];
    for (from, to, refused) in cases {
        assert!(honest.contains(from), "{from}");
        files::write(&path, honest.replace(from, to).as_bytes()).unwrap();
        let made = build(&project, &analyses, &Options::default());
        match (made, refused) {
            (Ok(_), None) => {}
            (Err(error), Some(part)) => {
                let message = error.to_string();
                assert!(message.contains("templates/values.typ") && message.contains(part), "{message}\nlacks {part}");
            }
            (made, _) => panic!("{to}: {made:?}"),
        }
    }
}

#[test]
fn runs_without_validation_and_with_declared_metrics_make_papers_too() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let mut synthetic = demo();
    for one in &mut synthetic {
        let never = "validation_at = \"none\"\ntasks_at = \"none\"";
        one.config = one.config.replace("validation_at = { every = 25 }", never);
        one.tasks = false;
    }
    let report = built(&project, &runs(&project, &synthetic), Mode::Final);
    assert_eq!(report.findings, []);
    keep(&report, "without-validation");

    files::remove_folder(&project.report()).unwrap();
    files::remove_folder(&project.experiments()).unwrap();
    let mut synthetic = two_seeds();
    let metrics = "primary_metrics = [\"validation.bits_per_byte\", \"tasks.grammar-agreement.accuracy\", \
        \"tasks.grammar-anaphora.accuracy\", \"tasks.grammar-determiner.accuracy\"]\n";
    for (at, one) in synthetic.iter_mut().enumerate() {
        one.config = format!("{metrics}{}", one.config);
        one.tasks = at % 2 == 0;
    }
    let report = built(&project, &runs(&project, &synthetic), Mode::Final);
    assert_eq!(report.findings, []);
    keep(&report, "declared");
    let catalogue = files::read_to_string(&project.root().join("report/build/values.json")).unwrap();
    assert!(catalogue.contains("because not scored alike in every run"), "the notes are in the paper");
}

#[test]
fn long_metrics_stay_within_their_column_of_the_appendix() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let mut synthetic = demo();
    let metrics = "primary_metrics = [\"validation.bits_per_byte\", \"tasks.grammar-agreement.accuracy\", \
        \"tasks.grammar-agreement.gold_bits_per_byte\", \"tasks.grammar-determiner.gold_probability\"]\n";
    for one in &mut synthetic {
        one.config = format!("{metrics}{}", one.config);
    }
    let report = built(&project, &runs(&project, &synthetic), Mode::Final);
    keep(&report, "long-metrics");

    // The text, the page and the left edge in points of each piece of code that is not broken. A piece that begins a line
    // is where the line before it ends, so that its place says in which column it is, and its width whether it fits.
    let in_table = "selector(raw).after(<tab:full-config>).before(<sec:data-statement>)";
    let place = "it => { let at = it.location().position(); (it.text, at.page, at.x.pt()) }";
    let typst = Typst::find(&project).unwrap();
    let pieces: Vec<(String, usize, f64)> =
        typst.eval(PAPER, "final", &format!("query({in_table}).map({place})")).unwrap();
    let text: String = pieces.iter().map(|piece| piece.0.as_str()).collect();
    let (list, last) = (metrics.split_once(" = ").unwrap().1.trim_end(), "training.threads");
    assert!(text.contains(list) && text.contains(last), "the whole table: {text}");

    // A4 with margins of 2.5 cm and two columns that are 0.6 cm apart.
    let points = |cm: f64| cm * 72.0 / 2.54;
    for (text, page, left) in &pieces {
        // Inconsolata's letters are half as wide as high, and code is set at .8 * 1.1 of the 8.5 points of the table.
        let letters = text.trim_end().chars().count();
        assert!(letters <= 13, "`{text}` does not fit a quarter of a column");
        let width = 0.5 * 0.8 * 1.1 * 8.5 * letters as f64;
        let is_head = |name: &str| synthetic.iter().any(|one| one.experiment == name);
        let heads = pieces.iter().filter(|piece| piece.1 == *page && is_head(&piece.0)).map(|head| head.2);
        let begins = heads.clone().chain([2.5, 10.8].map(points)).filter(|x| *x <= left + 0.1).fold(0.0, f64::max);
        let ends = heads.chain([10.2, 18.5].map(points)).filter(|x| *x > left + 0.1).fold(f64::INFINITY, f64::min);
        let room = ends - begins - 3.5;
        assert!(width <= room + 0.1, "page {page}: `{text}` is {width} wide, its column {room}");
    }
}

#[test]
fn characters_that_no_font_has_are_told_with_their_place() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo()[..1]);
    let toml = "title = \"A \u{12000} Title\"\n[[authors]]\nname = \"Na\u{ef}ve \u{411}\u{3a9}\"\naffiliation = \"\u{d55c}\"\n";
    files::write(&project.root().join("report/paper.toml"), toml.as_bytes()).unwrap();
    let own = "= Own\nText\nand a smile: \u{1f600}\n";
    files::write(&project.root().join("report/sections/81-own.typ"), own.as_bytes()).unwrap();
    let report = built(&project, &analyses, Mode::Final);
    let found: Vec<String> = report.findings.iter().filter(|f| f.rule == "glyph").map(ToString::to_string).collect();
    for part in [
        "report/paper.toml:1:12: ",
        "`\u{12000}` (U+12000)",
        "report/paper.toml:4:16",
        "(U+D55C)",
        "report/sections/81-own.typ:3:14",
        "(U+1F600)",
    ] {
        assert!(found.iter().any(|problem| problem.contains(part)), "{part} in {found:?}");
    }
    assert_eq!(found.len(), 3, "letters that are shown are not told: {found:?}");
    keep(&report, "glyphs");
}

#[test]
fn a_section_without_the_import_is_named() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo()[..1]);
    let own = "= Own\nIt is #value(\"baseline\", \"training.loss\").\n";
    files::write(&project.root().join("report/sections/81-own.typ"), own.as_bytes()).unwrap();
    let message = build(&project, &analyses, &Options::default()).unwrap_err().to_string();
    assert!(message.contains("report/sections/81-own.typ:2:8") && message.contains("#import"), "{message}");
}

#[test]
fn the_checklist_and_what_was_spent_stand_in_the_appendix_where_they_are_asked_for() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    let path = |name: &str| project.root().join(name);
    let about = |checklist: &str| {
        let text = paper_toml::DRAFT.replace("checklist = false", &format!("checklist = {checklist}"));
        files::write(&path("report/paper.toml"), text.as_bytes()).unwrap();
    };
    about("true");
    files::write(&path("experiments/budget.toml"), b"cpu_hours = 2\nend_date = \"2026-12-20\"\n").unwrap();
    let report = built(&project, &analyses, Mode::Final);
    assert_eq!((report.findings.as_slice(), report.statements.as_slice()), (&[][..], &[][..]));
    keep(&report, "checklist");
    let pdf = pdf::Pdf::read(&files::read(&report.pdf).unwrap()).unwrap();
    let pieces: Vec<&str> = pdf.pages.iter().flat_map(|page| &page.pieces).map(|piece| piece.text.as_str()).collect();
    let text = pieces.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    for said in ["Responsible NLP Checklist", "C1", "All 2 runs and probes", "Not applicable", "E1", "Open"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let sources: Vec<String> = proof(&report).sources.into_iter().map(|source| source.path).collect();
    for source in ["report/checklist.toml", "report/build/checklist.json", "experiments/budget.toml"] {
        assert!(sources.iter().any(|path| path == source), "{source}: {sources:?}");
    }
    let spending =
        figures_of(&report.pdf).unwrap().into_iter().find(|listed| listed.figure.kind == "spending").unwrap();
    assert_eq!(spending.runs, ["20261123T081500Z-00ab12cd", "20261123T082000Z-00cd34ef"]);

    about("false");
    files::remove(&path("experiments/budget.toml")).unwrap();
    let report = built(&project, &analyses, Mode::Final);
    assert!(report.followed.removed.contains(&"report/sections/A4-checklist.typ".to_owned()), "{:?}", report.followed);
    assert!(figures_of(&report.pdf).unwrap().iter().all(|listed| listed.figure.kind != "spending"));
}

#[test]
fn a_claim_that_no_section_makes_is_told_at_its_place() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    built(&project, &analyses, Mode::Final);
    let claim = |name: &str| {
        format!(
            "[{name}]\nexperiment = \"lr-warmup\"\ncompared_with = \"baseline\"\nmetric = \"validation.bits_per_byte\"\n\
             scope = \"models\"\n"
        )
    };
    let register = claim("made") + &claim("unmade");
    files::write(&project.root().join("report/claims.toml"), register.as_bytes()).unwrap();
    let path = project.root().join("report/sections/80-conclusion.typ");
    let section = format!("{}\n#claim(\"made\")\n", files::read_to_string(&path).unwrap());
    files::write(&path, section.as_bytes()).unwrap();
    let report = built(&project, &analyses, Mode::Final);
    let found: Vec<(&str, &str)> = report.findings.iter().map(|one| (one.rule, one.place.as_str())).collect();
    assert_eq!(found, [("unused claim", "report/claims.toml:6:1")]);
}

#[test]
fn another_venue_has_its_own_page_and_its_mistakes_have_their_line() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    const VENUE: &str = "report/venues/thesis";
    let write = |name: &str, text: &str| {
        files::write(&project.root().join(VENUE).join(name), text.as_bytes()).unwrap();
    };
    let options = Options { template: Some(VENUE.to_owned()), ..Options::default() };
    let page = files::read_to_string(&project.templates().join("acl.typ")).unwrap();
    let broad = page.replace("margin: 2.5cm, columns: 2,", "margin: 4cm, columns: 1,");
    assert_ne!(page, broad);
    write("acl.typ", &broad);
    let report = build(&project, &analyses, &options).unwrap();
    keep(&report, "thesis");
    // The rules of the ACL would object to one column and other margins.
    assert_eq!(report.findings, []);
    let proof = proof(&report);
    assert_eq!(proof.template.as_deref(), Some(VENUE));
    assert!(proof.sources.iter().any(|source| source.path == format!("{VENUE}/acl.typ")), "{:?}", proof.sources);
    let other = built(&project, &analyses, Mode::Final);
    assert!(other.pages < report.pages && other.findings.is_empty(), "{other:?}");

    let refused = || build(&project, &analyses, &options).unwrap_err().to_string();
    let of_parts = files::read_to_string(&project.templates().join("paper.typ.tera")).unwrap();
    write("paper.typ.tera", &of_parts.replace("for path in body", "for path in bdy"));
    let said = refused();
    assert!(
        said.contains(&format!("--> {VENUE}/paper.typ.tera:11:16")) && said.contains("did you mean `body`?"),
        "{said}"
    );
    write("paper.typ.tera", &of_parts.replace("#outline-for-checks", ""));
    assert!(refused().contains("does not say `#outline-for-checks`"), "{}", refused());
    write("paper.typ.tera", &of_parts);
    write("acl.typ", &broad.replace("#let appendix(body)", "#let annex(body)"));
    let said = refused();
    assert!(said.contains("defines no `appendix`") && said.contains(&format!("{VENUE}/acl.typ:1:1")), "{said}");
    write("acl.typ", &format!("{broad}\n#let late = nothing-of-this-name\n"));
    let said = refused();
    assert!(said.contains(&format!("{VENUE}/acl.typ:{}:", broad.lines().count() + 2)), "{said}");
}
