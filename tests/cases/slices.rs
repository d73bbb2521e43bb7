//! `harness slices` on real run folders: what was planted in one slice is found there and nowhere else, the text is that
//! of the corpus, and a corpus that is not there or not the same is refused.

use std::path::Path;

use crate::cases::paper::with_templates;
use crate::common::{Project, TINY, flip};
use harness_analyse::diagnose::Outcome;
use harness_analyse::slices::{By, Report, Slice, Wanted, slices};
use harness_analyse::{Finding, RunAnalysis, Side, diagnose};
use harness_core::names;
use harness_core::scores::{WindowLoss, read_csv, to_csv};
use harness_core::token_losses::TokenLosses;
use harness_core::{files, names::Project as Folders};
use serde_json::Value;

/// Two experiments with one run each, of the same seed.
fn two_runs() -> Project {
    let project = Project::new();
    project.write("experiments/change/experiment.toml", &TINY.replace("Tiny", "Change"));
    project.commit("Propose a change");
    project.harness(&["run", "tiny"]).expect(0);
    project.harness(&["run", "change"]).expect(0);
    project
}

fn folders(project: &Project) -> Folders {
    names::Project::at(project.path(""))
}

fn analysis(project: &Project, experiment: &str) -> RunAnalysis {
    Side::open(&folders(project), experiment).unwrap().runs.pop().unwrap()
}

/// Changes the losses of single tokens of the last evaluation of a run, and of its windows with them.
fn change_losses(run: &Path, mut change: impl FnMut(usize, f32) -> f32) {
    let folder = files::list(&run.join("evaluations")).unwrap().pop().unwrap();
    let at = |name: &str| run.join("evaluations").join(&folder).join(name);
    let mut losses = TokenLosses::read(&at("validation.tokens")).unwrap();
    losses.loss_nats.iter_mut().enumerate().for_each(|(token, loss)| *loss = change(token, *loss));
    let mut windows: Vec<WindowLoss> = read_csv(&at("validation.csv")).unwrap();
    let mut first = 0;
    for window in &mut windows {
        let last = first + window.tokens as usize;
        window.loss_nats = losses.loss_nats[first..last].iter().map(|&loss| f64::from(loss)).sum();
        first = last;
    }
    files::write(&at("validation.tokens"), &losses.to_bytes()).unwrap();
    files::write(&at("validation.csv"), &to_csv(windows)).unwrap();
}

fn slice<'a>(report: &'a Report, by: By, name: &str) -> &'a Slice {
    let found = report.slices.iter().find(|slice| slice.by == Some(by) && slice.slice == name);
    found.unwrap_or_else(|| panic!("no {by} {name} in {:#?}", report.slices))
}

#[test]
fn what_is_planted_in_a_slice_is_found_there() {
    let project = two_runs();
    let (reference, other) = (analysis(&project, "tiny"), analysis(&project, "change"));
    let wanted = |by: &[By]| Wanted { by: by.to_vec(), passages: 2 };
    let all = slices(&folders(&project), &reference, Some(&other), &wanted(&By::ALL)).unwrap();
    // The same seed: no difference at all.
    assert!(all.slices.iter().all(|slice| slice.change.unwrap().difference_nats == 0.0));
    assert!(all.improved.is_empty() && all.hurt.is_empty() && all.notes.is_empty(), "{all:#?}");
    for by in By::ALL.into_iter().filter(|by| !by.is_of_tasks()) {
        let of = || all.slices.iter().filter(|slice| slice.by == Some(by));
        assert_eq!(of().map(|slice| slice.tokens).sum::<u64>(), all.total.tokens, "{by} is no partition");
        let mean = of().map(|slice| slice.share * slice.loss_nats).sum::<f64>();
        assert!((mean - all.total.loss_nats).abs() < 1e-9, "{by}: {mean} is not {}", all.total.loss_nats);
    }
    // All tokens together give what the run's values say, per byte too.
    let value = |key: &str| reference.values[key].number;
    assert!((all.total.loss_nats - value("validation.loss")).abs() < 1e-6);
    assert!((all.total.bits_per_byte.unwrap() - value("validation.bits_per_byte")).abs() < 1e-6);
    let third = slice(&all, By::Position, "3-4");
    assert_eq!(third.loss_nats, value("validation.position.3-4.loss"));
    assert_eq!(Some(third.standard_error.unwrap()), reference.values["validation.position.3-4.loss"].standard_error);

    // Half a nat more on every full stop, half a nat less at the first token of each document.
    let stops: Vec<bool> = kinds_of_tokens(&project, &reference);
    change_losses(&project.latest("change"), |token, loss| if stops[token] { loss + 0.5 } else { loss });
    let found = slices(&folders(&project), &reference, Some(&other), &wanted(&By::ALL)).unwrap();
    let change = |by: By, name: &str| slice(&found, by, name).change.unwrap();
    assert!((change(By::WordKind, "punctuation").difference_nats - 0.5).abs() < 1e-6);
    assert_eq!(change(By::WordKind, "other word").difference_nats, 0.0);
    for by in [By::WordKind, By::Frequency, By::Position, By::Repetition] {
        let parts = found.slices.iter().filter(|slice| slice.by == Some(by));
        let sum = parts.map(|slice| slice.change.unwrap().contribution_nats).sum::<f64>();
        let whole = found.total.change.unwrap().difference_nats;
        assert!((sum - whole).abs() < 1e-9 && whole > 0.0, "{by}: {sum} is not {whole}");
    }
    let [low, high] = change(By::WordKind, "punctuation").interval.unwrap();
    assert!(low <= 0.5 + 1e-6 && high >= 0.5 - 1e-6 && found.improved.is_empty() && found.hurt.len() == 2);
    let marked: Vec<&str> =
        found.hurt[0].tokens.iter().filter(|t| t.other_nats > t.reference_nats + 0.1).map(|t| t.text.trim()).collect();
    assert!(
        !marked.is_empty() && marked.iter().all(|text| text.chars().all(|c| c.is_ascii_punctuation())),
        "{marked:?}"
    );
}

/// Whether each predicted token is punctuation alone, from the shards and the tokenizer by another way.
fn kinds_of_tokens(project: &Project, run: &RunAnalysis) -> Vec<bool> {
    use harness_core::shards::Shard;
    let data = &run.run.open.data;
    let tokenizer =
        harness_corpus::Tokenizer::from_file(&project.path(&data.tokenizer), &run.run.corpus.tokenizer.separator_text)
            .unwrap();
    let mut out = Vec::new();
    for shard in data.shards.iter().filter(|shard| shard.split == "validation") {
        let shard = Shard::open(&project.path(&shard.path)).unwrap();
        for place in shard.documents() {
            let mut tokens = vec![0; place.tokens as usize];
            shard.copy_tokens(place.first_token, &mut tokens);
            for token in &tokens[1..] {
                let text = tokenizer.decode(&[*token as u32]).unwrap();
                out.push(text.trim().chars().next().is_some_and(|c| c.is_ascii_punctuation()));
            }
        }
    }
    out
}

#[test]
fn slices_by_source_are_those_of_the_recipe() {
    let project = Project::new();
    let mut recipe = "title = \"Two\"\nlanguage = \"en\"\nlicence = \"CC0-1.0\"\ncitation = \"none\"\n\
                      documents = { split = \"lines\" }\nsplit = { validation = 0.3 }\n\
                      tokenizer = { kind = \"bpe\", vocabulary_size = 280 }\n"
        .to_owned();
    // One source of two files, which are one slice, and one of a file.
    for (source, file, words) in [
        ("letters", "letters/a", "a letter to"),
        ("letters", "letters/b", "a note for"),
        ("tales", "tales", "a tale of"),
    ] {
        let text: String = (0..40).map(|n| format!("Number {n} is {words} somebody who reads {}.\n", n * n)).collect();
        project.write(&format!("texts/{file}.txt"), &text);
        if !recipe.contains(&format!("\"{source}\"")) {
            let path = if source == "letters" { "texts/letters/*.txt" } else { "texts/tales.txt" };
            recipe += &format!("[[source]]\nname = \"{source}\"\npath = \"{path}\"\n");
            if source == "tales" {
                recipe +=
                    &format!("sha256 = \"{}\"\nbytes = {}\n", harness_core::Digest::of(text.as_bytes()), text.len());
            }
        }
    }
    project.write("experiments/corpora/two.toml", &recipe);
    project.write("experiments/tiny/experiment.toml", &TINY.replace("corpus = \"tiny\"", "corpus = \"two\""));
    project.harness(&["data", "fetch", "two"]).expect(0);
    project.commit("Train on two sources");
    project.harness(&["run", "tiny"]).expect(0);
    let run = analysis(&project, "tiny").run;
    let windows: Vec<WindowLoss> = read_csv(&run.path("evaluations/step-00000020/validation.csv")).unwrap();
    let ran = project.harness(&["slices", "tiny", "--by", "source", "--json"]).expect(0);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let slices = report["slices"].as_array().unwrap();
    assert_eq!(slices.iter().map(|slice| slice["slice"].as_str().unwrap()).collect::<Vec<_>>(), ["letters", "tales"]);
    for slice in slices {
        // By hand: the windows of the documents whose id begins with the source.
        let of = |w: &&WindowLoss| {
            let id = &run.corpus.validation_documents[w.document as usize].id;
            id.starts_with(slice["slice"].as_str().unwrap())
        };
        let (tokens, nats) = windows.iter().filter(of).fold((0, 0.0), |(t, n), w| (t + w.tokens, n + w.loss_nats));
        assert_eq!(slice["tokens"], tokens);
        assert!(tokens > 0 && (slice["loss_nats"].as_f64().unwrap() - nats / tokens as f64).abs() < 1e-6, "{slice:#}");
    }
}

#[test]
fn tables_and_files_hold_the_same_numbers() {
    let project = two_runs();
    let text = project.harness(&["slices", "tiny"]).expect(0).stdout;
    for words in
        ["position", "frequency", "word_part", "continuation", "repetition", "phenomenon", "calibration", "ECE"]
    {
        assert!(text.contains(words), "no `{words}` in\n{text}");
    }
    assert!(!text.contains('\u{1b}') && !text.contains("difference"), "{text}");
    let json = project.harness(&["slices", "tiny", "change", "--json"]).expect(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["format"], 2);
    let calibration = &json["calibration"][0];
    // The stand-in is right as often as it says.
    assert!(calibration["error"].as_f64().unwrap() < 0.05, "{calibration:#}");
    let csv = project.harness(&["slices", "tiny", "change", "--csv"]).expect(0).stdout;
    let rows = json["slices"].as_array().unwrap().len() + json["phenomena"].as_array().unwrap().len() + 1;
    assert_eq!(csv.lines().count(), rows + 1, "{csv}");
    let some = &json["slices"][3];
    assert!(csv.contains(&format!(
        "{},{},{}",
        some["by"].as_str().unwrap(),
        some["slice"].as_str().unwrap(),
        some["tokens"]
    )));
    let markdown = project.harness(&["slices", "tiny", "change", "--md", "--by", "position"]).expect(0).stdout;
    assert!(markdown.contains("| --- |") && !markdown.contains("frequency"), "{markdown}");

    let wrong = project.harness(&["slices", "tiny", "--by", "colour"]).expect(2);
    assert!(wrong.stderr.contains("word_kind"), "{}", wrong.stderr);
    let compared = project.harness(&["compare", "tiny", "change", "--slices", "--json"]).expect(0).stdout;
    let compared: Value = serde_json::from_str(&compared).unwrap();
    let effects = compared["comparisons"][0]["effects"].as_array().unwrap();
    let family = |name: &str| effects.iter().filter(|effect| effect["family"] == name).count();
    assert!(family("slices") > 3 && family("calibration") == 1, "{effects:#?}");
}

#[test]
fn a_text_that_is_not_that_of_the_run_is_refused() {
    let project = two_runs();
    let store = project.path(".harness");
    let shared = std::fs::canonicalize(&store).unwrap();
    std::fs::remove_file(&store).unwrap();
    let missing = project.harness(&["slices", "tiny"]).expect(2);
    assert!(
        missing.stderr.contains("is not here") && missing.stderr.contains("data prepare tiny"),
        "{}",
        missing.stderr
    );
    // What the run alone says is still there.
    let alone = project.harness(&["slices", "tiny", "change", "--by", "position,source,length,phenomenon"]).expect(0);
    assert!(alone.stdout.contains("33-64") || alone.stdout.contains("17-32"), "{}", alone.stdout);

    let shards: Vec<String> = analysis(&project, "tiny").run.open.data.shards.iter().map(|s| s.path.clone()).collect();
    let tokenizer = analysis(&project, "tiny").run.open.data.tokenizer.clone();
    for path in shards.iter().chain([&tokenizer]) {
        let from = shared.join(path.strip_prefix(".harness/").unwrap());
        files::copy(&from, &project.path(path)).unwrap();
    }
    project.harness(&["slices", "tiny"]).expect(0);
    let validation = shards.iter().find(|path| path.contains("validation")).unwrap();
    flip(&project.path(validation), 70);
    let other = project.harness(&["slices", "tiny"]).expect(2);
    assert!(other.stderr.contains("has digest") && other.stderr.contains("hint:"), "{}", other.stderr);
}

fn finding(analysis: &RunAnalysis, check: &str) -> Finding {
    diagnose(analysis).into_iter().find(|finding| finding.check == check).unwrap()
}

#[test]
fn a_diagnosis_finds_what_is_planted_inside_the_model() {
    let project = Project::new();
    let config = TINY
        .replace("steps = 20", "steps = 60")
        .replace("validation_at = { every = 5 }", "validation_at = { every = 10 }");
    let config = format!(
        "{config}\n[metrics]\ntensor_norms_every = 5\nactivations_every = 10\n\n[optimizer]\nlearning_rate = 1e-4\n"
    );
    project.write("experiments/tiny/experiment.toml", &config);
    project.commit("Measure often");
    project.harness(&["run", "tiny"]).expect(0);
    let sound = analysis(&project, "tiny");
    for check in [
        "learning_rate_high",
        "learning_rate_low",
        "update_ratio",
        "norm_growth",
        "dead_units",
        "attention_entropy",
        "data_bound",
        "calibration",
    ] {
        let found = finding(&sound, check);
        assert!(found.outcome == Outcome::Clear && !found.evidence.is_empty(), "{found:#?}");
    }
    for finding in diagnose(&sound) {
        assert!(
            finding.figure.parse::<harness_report::plot::Kind>().is_ok(),
            "no figure is called `{}`",
            finding.figure
        );
    }
    // The stand-in's losses do not fall with the place in the context.
    assert_eq!(finding(&sound, "context_unused").outcome, Outcome::Found);

    let found = |check: &str, figure: &str, plant: &dyn Fn(&mut RunAnalysis)| {
        let mut planted = sound.clone();
        plant(&mut planted);
        let found = finding(&planted, check);
        assert_eq!((found.outcome, found.figure), (Outcome::Found, figure), "{found:#?}");
        assert!(
            found.changes.iter().any(|change| change.cost.is_some_and(|cost| cost.training_flops > 0.0)),
            "{found:#?}"
        );
    };
    let last = |rows: &[u64]| *rows.iter().max().unwrap();
    let last_norms = last(&sound.tensor_norms.iter().map(|row| row.step).collect::<Vec<_>>());
    let last_activations = last(&sound.activations.iter().map(|row| row.step).collect::<Vec<_>>());
    let faster =
        |run: &mut RunAnalysis, times: f64| run.tensor_norms.iter_mut().for_each(|row| row.update_norm *= times);
    found("update_ratio", "tensor_norms", &|run| faster(run, 10.0));
    found("update_ratio", "tensor_norms", &|run| faster(run, 1e-3));
    // More than half of the steps are clipped anyway: that and updates of 5 % make two signs.
    found("learning_rate_high", "optimisation", &|run| faster(run, 10.0));
    found("learning_rate_low", "optimisation", &|run| {
        faster(run, 1e-2);
        run.values.get_mut("training.clipped_share").unwrap().number = 0.0;
    });
    found("data_bound", "throughput", &|run| run.steps.iter_mut().for_each(|step| step.data_wait_share = 0.3));
    found("norm_growth", "tensor_norms", &|run| {
        let rows = run.tensor_norms.iter_mut().filter(|row| row.step == last_norms && row.tensor.contains("attention"));
        rows.for_each(|row| row.weight_norm *= 2.0);
    });
    found("dead_units", "activations", &|run| {
        let rows = run.activations.iter_mut().filter(|row| row.step == last_activations);
        rows.filter_map(|row| row.dead_share.as_mut()).for_each(|share| *share = 0.4);
    });
    found("attention_entropy", "activations", &|run| {
        let rows = run.activations.iter_mut().filter(|row| row.step == last_activations);
        rows.filter_map(|row| row.attention_entropy_nats.as_mut()).for_each(|entropy| *entropy *= 0.05);
    });
    found("calibration", "calibration", &|run| {
        let calibration = run.calibration.as_mut().unwrap();
        (calibration.error, calibration.mean_probability) = (0.2, calibration.accuracy + 0.2);
    });
    let mut uses_context = sound.clone();
    for slice in uses_context.slices.iter_mut().filter(|slice| ["9-16", "17-32"].contains(&slice.slice.as_str())) {
        slice.loss_nats -= 1.0;
    }
    assert_eq!(finding(&uses_context, "context_unused").outcome, Outcome::Clear);
}

#[test]
fn a_figure_of_text_that_is_not_here_is_no_contradiction() {
    let Some(project) = with_templates(Project::new) else { return };
    project.commit("Clone");
    project.harness(&["run", "tiny"]).expect(0);
    let section =
        "#import \"/report/build/lib/values.typ\": *\n= Where\n#figure-of(\"slices\", \"tiny\", caption: [Where.])\n";
    project.write("report/sections/56-where.typ", section);
    project.harness(&["report"]).expect(0);
    project.harness(&["audit"]).expect(0);
    std::fs::remove_file(project.path(".harness")).unwrap();
    let audited = project.harness(&["audit"]).expect(3).stdout;
    assert!(audited.contains("without it the text behind the losses is not known"), "{audited}");
    assert!(!audited.contains("CONTRADICTION"), "{audited}");
}
