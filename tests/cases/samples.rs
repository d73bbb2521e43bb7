//! Text that a model generated: sealed as a run of its own, drawn again, and in the appendix of the paper. What the stand-in draws is any
//! tokens of the vocabulary, so that the texts hold every byte, also such as are no letter.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cases::paper::with_templates;
use crate::cases::tamper::mend;
use crate::common::{Project, Ran};

/// What would be markup to Typst or LaTeX if it were not data, and characters that no font of the paper shows.
const PROMPT: &str = "#panic(\"x\") $y$ \\input{z} @a <b> *c* _d_ `e` // f\n= g \u{202e}\u{5b57}";

fn keep(project: &Project, arguments: &[&str]) -> (PathBuf, Ran) {
    let how =
        ["generate", "tiny", "--prompt", PROMPT, "--max-tokens", "40", "--temperature", "0.8", "--seed", "7", "--keep"];
    let ran = project.harness(&[&how, arguments].concat()).expect(0);
    (project.latest("tiny"), ran)
}

fn id(run: &Path) -> &str {
    run.file_name().unwrap().to_str().unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn kept_samples_are_sealed_and_drawn_again() {
    let project = Project::new();
    project.harness(&["run", "tiny"]).expect(0);
    let trained = project.latest("tiny");
    let (run, ran) = keep(&project, &["--samples", "3", "--top-k", "40", "--json"]);
    let open = Project::json(&run.join("open.json"));
    assert_eq!((&open["evaluates"]["run"], &open["tasks"]), (&json!(id(&trained)), &json!([])));
    let texts = lines(&fs::read_to_string(run.join("samples.jsonl")).unwrap());
    let drawn = lines(&fs::read_to_string(run.join("evaluations/step-00000020/generated.jsonl")).unwrap());
    let printed = lines(&ran.stdout);
    assert_eq!((texts.len(), drawn.len(), printed.len()), (3, 3, 3));
    for (at, (line, (drawn, printed))) in texts.iter().zip(drawn.iter().zip(&printed)).enumerate() {
        let rule = json!({ "temperature": 0.8, "top_k": 40, "top_p": 1.0 });
        let how = json!({
            "step": 20, "sample": at, "seed": 7, "rule": rule, "max_tokens": 40, "tokens": 40, "prompt": PROMPT,
            "text": line["text"],
        });
        assert_eq!(*line, how);
        assert_eq!((&printed["text"], &printed["tokens"]), (&line["text"], &drawn["tokens"]));
    }
    assert_ne!(texts[0]["text"], texts[1]["text"]);
    let audited = project.harness(&["audit", id(&run), "--verbose"]).expect(0);
    assert!(audited.stdout.contains("3 texts are those of their tokens"), "{}", audited.all());
    let again = project.harness(&["evaluate", id(&run), "--verify", "--json"]).expect(0);
    let parts = serde_json::from_str::<Value>(&again.stdout).unwrap()["parts"].clone();
    assert_eq!(parts[0]["what"], "evaluations/step-00000020/generated.jsonl", "{parts:#}");
    assert_eq!((&parts[0]["verdict"], parts.as_array().unwrap().len()), (&json!("identical"), 1));
    // It stands beside the experiment's own runs, and is none of them.
    for command in [&["show", id(&run), "--values"][..], &["runs", "tiny"], &["show", "tiny", "--values"]] {
        project.harness(command).expect(0);
    }
    let again = project.harness(&["generate", "tiny", "--keep", "--step", "8"]).expect(0);
    assert!(again.stderr.contains(&format!("keeps 1 sample of {}", id(&trained))), "{}", again.all());
    let refused = project.harness(&["generate", "tiny", "--keep", "--step", "9"]).expect(2);
    assert!(refused.stderr.contains("no intact checkpoint of step 9"), "{}", refused.all());

    // Whoever writes another text and mends every digest that names it is found by the tokens.
    let mut other = texts.clone();
    other[1]["text"] = json!(format!("{} and well", other[1]["text"].as_str().unwrap()));
    let other: String = other.iter().map(|line| format!("{line}\n")).collect();
    fs::write(run.join("samples.jsonl"), other).unwrap();
    mend(&run, "samples.jsonl", false);
    let found = project.harness(&["audit", id(&run)]).expect(1);
    assert!(found.stdout.contains("has other texts, or another prompt, than the tokens give"), "{}", found.all());
}

#[test]
fn samples_stand_in_the_appendix_and_an_edited_one_is_found() {
    let Some(project) = with_templates(Project::new) else { return };
    project.commit("Take in the templates");
    project.harness(&["run", "tiny"]).expect(0);
    let appendix = project.path("report/sections/A7-samples.typ");
    project.harness(&["report"]).expect(0);
    assert!(!appendix.exists(), "there is nothing to show");
    let own = "report/sections/A8-own.typ";
    project.write(own, "#import \"/report/build/lib/values.typ\": *\n= Own\n#samples(\"tiny\")\n");
    let refused = project.harness(&["report"]).expect(2);
    assert!(refused.stderr.contains(&format!("{own}:3:10")), "{}", refused.all());
    assert!(refused.stderr.contains("`harness generate tiny --prompt TEXT --keep`"), "{}", refused.all());
    fs::remove_file(project.path(own)).unwrap();
    project.commit("Begin the paper");

    let (run, _) = keep(&project, &["--samples", "8"]);
    let latex = project.path("latex");
    let made = project.harness(&["report", "--json", "--latex", latex.to_str().unwrap()]).expect(0);
    let made = serde_json::Deserializer::from_str(&made.stdout).into_iter::<Value>().next().unwrap().unwrap();
    let findings = made["findings"].as_array().unwrap().iter().map(Value::to_string);
    let of_samples: Vec<String> = findings.filter(|one| one.contains("A7-samples") || one.contains("glyph")).collect();
    assert!(of_samples.is_empty(), "{of_samples:?}");
    assert!(fs::read_to_string(&appendix).unwrap().contains("#samples(\"tiny\")"));
    project.harness(&["audit", "report/build/paper.pdf"]).expect(0);
    let proof = Project::json(&project.path("report/build/paper.json"));
    let listed = proof["runs"].as_array().unwrap().iter().find(|listed| listed["run"] == id(&run)).unwrap();
    assert_eq!(listed["quoted"], false, "no number rests on it");
    let document = lopdf::Document::load(project.path("report/build/paper.pdf")).unwrap();
    let pages: Vec<u32> = document.get_pages().into_keys().collect();
    let text = document.extract_text(&pages).unwrap();
    // Words of the paper are hyphenated, those of the model are not.
    let text: String = text.chars().filter(|c| !c.is_whitespace() && !['-', '\u{ad}'].contains(c)).collect();
    let prompt = "#panic(\"x\")$y$\\input{z}@a<b>*c*_d_`e`//f¶=gU+202EU+5B57";
    for part in ["temperature0.8,seed7,atmost40tokens", prompt, "6ofthe8textsthatruns"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    project.harness(&["dashboard"]).expect(0);
    let set = fs::read_to_string(latex.join("sections/A7-samples.tex")).unwrap();
    assert!(set.contains("\\textbackslash{}input\\textbraceleft{}z\\textbraceright{}"), "{set}");

    let changed = |commit: &str| project.harness(&["report", "--diff", commit]).expect(0).stdout;
    let sample = format!("sample 1 of run {} of tiny", id(&run));
    let (is_new, told) = (format!("because new run {} of `tiny`, which keeps samples of", id(&run)), changed("HEAD"));
    assert!(told.contains(&format!("{sample}: \u{2013} -> ")) && told.contains(&is_new), "{told}");
    assert_eq!(told.matches("sample ").count(), 6, "{told}");
    project.commit("Keep samples");
    assert!(!changed("HEAD").contains("sample "), "{}", changed("HEAD"));

    // Any letter of a text, in what the paper was set from.
    let tables = project.path("report/build/tables.json");
    let before = fs::read_to_string(&tables).unwrap();
    let mut edited: Value = serde_json::from_str(&before).unwrap();
    let piece = &mut edited["samples"]["tiny"]["draws"][0]["texts"][2]["text"]["pieces"][0]["text"];
    *piece = json!(format!("{} and well", piece.as_str().unwrap()));
    fs::write(&tables, harness_record::pretty(&edited)).unwrap();
    let found = project.harness(&["audit", "--no-typst", "report/build/paper.pdf"]).expect(1);
    assert!(found.stdout.contains("samples of tiny, draws.1.texts.3"), "{}", found.all());
    fs::write(&tables, before).unwrap();
    // What is not sealed is not shown.
    project.harness(&["drop", id(&run), "--because", "a test"]).expect(0);
    project.harness(&["report"]).expect(0);
    assert!(!appendix.exists(), "nobody had edited it");
    let told = changed("HEAD");
    let dropped = format!("because run {} of `tiny` was dropped: a test", id(&run));
    assert!(told.contains(&sample) && told.contains(&dropped) && !told.contains(": \u{2013} -> "), "{told}");
}
