//! The model card (Mitchell et al. 2019, Model Cards for Model Reporting): what the model is, what it learned from
//! under which licences, what it scores, and the digests by which all of that can be checked.

use std::fmt::Write as _;

use harness_core::Digest;
use harness_core::hugging_face::Architecture;

use harness_analyse::{RunAnalysis, TaskResult, Unit, show};

/// The card as Markdown, with the head that model hubs read. The weights are known by their step and digest.
pub(super) fn write(
    analysis: &RunAnalysis,
    architecture: Architecture,
    (step, weights_sha256): (u64, Digest),
) -> String {
    let run = &analysis.run;
    let (experiment, corpus) = (&run.experiment, &run.corpus);
    let mut card = String::new();
    let mut line = |text: &str| {
        card.push_str(text);
        card.push('\n');
    };
    line("---");
    if !corpus.language.is_empty() {
        line(&format!("language: {}", corpus.language));
    }
    line("license: other");
    line("library_name: transformers");
    line("pipeline_tag: text-generation");
    line("---\n");
    let title = if experiment.title.is_empty() { run.open.experiment.as_str() } else { &experiment.title };
    line(&format!("# {title}\n"));
    let parameters = experiment.model.parameters(run.open.data.vocabulary_size).0;
    line(&format!(
        "A language model of {} parameters, {} by `harness` as experiment `{}` and kept as\n`{}`: \
         {} layers, {} heads, width {}, context of {} tokens.\n",
        show(parameters as f64, Unit::Count),
        match &experiment.imported {
            None => "trained from scratch",
            Some(_) if step == 0 => "trained elsewhere and evaluated",
            Some(_) => "trained further",
        },
        run.open.experiment,
        architecture.class(),
        experiment.model.layers,
        experiment.model.heads,
        experiment.model.width,
        experiment.model.context_length,
    ));
    for (what, text) in [("Question", &experiment.question), ("Hypothesis", &experiment.hypothesis)] {
        if !text.is_empty() {
            line(&format!("{what}: {text}\n"));
        }
    }
    line("In training, every document began with the separator token; put it (`bos_token`) before a prompt that");
    line(
        "begins a text. The tokenizer treats text as text: the separator spelled out in a text does not become the token.\n",
    );

    line("## Provenance\n");
    line("| | |\n| --- | --- |");
    let mut row = |what: &str, text: &str| line(&format!("| {what} | {} |", text.replace('|', "\\|")));
    row("run", &format!("`{}`", run.open.run));
    row("record's root (SHA-256 of its MANIFEST)", &format!("`{}`", run.root));
    row("weights", &format!("after step {}, `{}`", step, weights_sha256));
    if let Some(imported) = &experiment.imported {
        row("initialized from", &format!("an imported {} with weights `{}`", imported.class, imported.weights_sha256));
    }
    row("commit", &format!("`{}`", run.open.code.commit));
    row("seed", &run.open.plan.seed.to_string());
    row("corpus", &format!("`{}`, root `{}`", run.open.data.corpus, run.open.data.root));
    row("tokenizer", &format!("`{}`", run.open.data.tokenizer_sha256));
    if let Some(reason) = &run.open.not_citable_because {
        row("not citable", reason);
    }

    line("\n## Training data\n");
    line(&format!("{}{}\n", corpus.title, sentence(": ", &corpus.description)));
    line(&format!(
        "Licence of the corpus: {}. The model itself has the licence that its publisher chooses.\n",
        corpus.licence
    ));
    line("| source | licence | where | SHA-256 |\n| --- | --- | --- | --- |");
    // What has neither an address nor a path was made by the recipe, or is found by its digest alone.
    let elsewhere = if corpus.recipe["generate"].is_object() { "generated" } else { "no address" };
    for source in &corpus.sources {
        let title = if source.title.is_empty() { &source.name } else { &source.title };
        let place = source.url.as_deref().or(source.path.as_deref()).unwrap_or(elsewhere);
        line(&format!("| {title} | {} | {place} | `{}` |", source.licence, source.sha256));
    }
    if !corpus.limitations.is_empty() {
        line(&format!("\n{}", corpus.limitations));
    }

    line("\n## Results\n");
    line("After the last step of the run, computed from the rows in its record.\n");
    line("| measure | value | chance |\n| --- | --- | --- |");
    for (key, what) in [
        ("validation.bits_per_byte", "validation, bits per byte"),
        ("validation.perplexity", "validation, perplexity per token"),
        ("training.tokens", "tokens trained on"),
        ("training.flops", "FLOPs of training"),
    ] {
        if let Some(value) = analysis.values.get(key) {
            line(&format!("| {what} | {} | |", value.shown()));
        }
    }
    let shown = analysis.groups.iter().chain(analysis.tasks.iter().filter(|task| task.group.is_none()));
    shown.for_each(|result| line(&task(result)));
    line(
        "\nThe model is small and was trained briefly: expect made-up facts, repetition, and the biases of its training text.",
    );
    line("It is meant for research and teaching.");
    card
}

fn task(result: &TaskResult) -> String {
    let accuracy = result.quoted_accuracy();
    let mut text = format!(
        "| {}, accuracy in % ({} items) | {} ± {}",
        result.title,
        show(result.items as f64, Unit::Count),
        show(accuracy.mean, Unit::Share),
        show(accuracy.standard_error, Unit::Share)
    );
    let _ = write!(text, " | {} |", show(result.chance, Unit::Share));
    text
}

fn sentence(before: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{before}{}", text.trim()) }
}
