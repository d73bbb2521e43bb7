//! Claims over synthetic runs: what a test carries is a sentence, what it does not is refused with the honest one.

use harness_core::names::Project;

use super::*;
use crate::fixture::{Synthetic, seeds};
use crate::tests::{project, runs};

fn section(text: &str) -> Section {
    let text = format!("#import \"/report/build/lib/values.typ\": *\n{text}");
    Section::new("report/sections/50-results.typ".to_owned(), text)
}

/// The sentences of a section, or the message.
fn said(project: &Project, synthetic: &[Synthetic], text: &str) -> Result<Vec<String>, String> {
    let asked = asked_for(project, &[section(text)], &mut |_, _| ()).map_err(|error| error.to_string())?;
    let analyses = runs(project, synthetic);
    let numbers = Numbers::of(&analyses, &pairs(&asked)).unwrap();
    let compiled = compile(&numbers, &asked).map_err(|error| error.to_string())?;
    Ok(compiled.into_iter().map(|one| one.text).collect())
}

const BITS: &str = "metric: \"validation.bits_per_byte\"";

#[test]
fn what_the_test_carries_is_a_sentence_with_its_evidence() {
    let (_folder, project) = project();
    let said =
        |count, text: &str| said(&project, &seeds(count), text).unwrap_or_else(|error| panic!("{error}")).remove(0);
    let models = said(1, &format!("#claim(\"lr-warmup\", better-than: \"baseline\", {BITS}, scope: \"models\")"));
    for part in [
        "The model of lr-warmup has lower validation bits per byte than the model of baseline (difference \u{2212}0.0",
        "bits per byte; 95% interval ",
        "t test over 100 documents; p < 0.001 after Holm's correction over 5 tests",
        "; this is said of these models, not of how they were trained",
        "; it is exploratory: not all runs were made to confirm something.",
    ] {
        assert!(models.contains(part), "{models}\nlacks {part}");
    }
    let procedure = format!("#claim(\"lr-warmup\", better-than: \"baseline\", {BITS}, scope: \"procedure\")");
    let of_three = said(3, &procedure);
    for part in ["Models trained as lr-warmup have lower ", "t test within 3 shared seeds; p "] {
        assert!(of_three.contains(part), "{of_three}\nlacks {part}");
    }
    // The other way round it is the same test.
    let turned = said(3, &format!("#claim(\"baseline\", worse-than: \"lr-warmup\", {BITS}, scope: \"procedure\")"));
    let tail = |text: &str| text[text.find("seeds; p").unwrap()..].to_owned();
    assert_eq!(tail(&turned), tail(&of_three));
    assert!(
        turned.contains("baseline have higher validation bits per byte than") && turned.contains("(difference +0.0")
    );
}

#[test]
fn what_no_test_carries_is_refused_at_its_verb_and_the_honest_sentence_is_offered() {
    let (_folder, project) = project();
    let accuracy = "metric: \"tasks.grammar-anaphora.accuracy\"";
    let cases: [(usize, String, &[&str]); 7] = [
        (
            1,
            format!("#claim(\"lr-warmup\", worse-than: \"baseline\", {BITS}, scope: \"models\")"),
            &[
                ":2:21",
                "the test finds the opposite",
                "compared-with: \"baseline\"",
                "which says: The model of lr-warmup has lower",
            ],
        ),
        (
            1,
            format!("Then\n#claim(\"lr-warmup\",\n  better-than: \"baseline\", {BITS}, scope: \"procedure\")"),
            &[":4:3", "several seeds of both sides; `lr-warmup` has 1", "scope: \"models\")`, which says: The model"],
        ),
        (
            3,
            format!("#claim(\"lr-warmup\", better-than: \"baseline\", {accuracy}, scope: \"procedure\")"),
            &[
                "not tell them apart",
                "which says: Models trained as lr-warmup and as baseline are not distinguishable in accuracy on grammar-anaphora",
            ],
        ),
        (
            3,
            "#claim(\"lr-warmup\", better-than: \"baseline\", metric: \"training.loss\", scope: \"models\")".to_owned(),
            &["nothing is tested", "`harness compare` has no test of it"],
        ),
        (
            1,
            format!("#claim(\"lr-warmpu\", better-than: \"baseline\", {BITS}, scope: \"models\")"),
            &["did you mean `lr-warmup`?"],
        ),
        (
            1,
            format!("#claim(\"lr-warmup\", beter-than: \"baseline\", {BITS}, scope: \"models\")"),
            &["has no `beter-than`", "`better-than`", ":2:21"],
        ),
        (
            1,
            format!("#claim(\"lr-warmup\", better-than: \"baseline\", {BITS})"),
            &["no scope", ":2:2", "several seeds"],
        ),
    ];
    for (count, text, expected) in cases {
        let message = said(&project, &seeds(count), &text).unwrap_err();
        for part in expected {
            assert!(message.contains(part), "{text}\n=> {message}\nlacks {part}");
        }
        // What is offered is accepted.
        if let Some(offered) = message
            .split("write `")
            .nth(1)
            .and_then(|rest| rest.split('`').next())
            .filter(|o| o.contains("compared-with"))
        {
            let honest = said(&project, &seeds(count), offered).unwrap().remove(0);
            assert!(message.ends_with(&format!("which says: {honest}")), "{message}\n{honest}");
        }
    }
}

#[test]
fn claims_have_names_in_a_file_and_are_refused_there() {
    let (_folder, project) = project();
    let claims = "# Ours.\n[warm-helps]\nexperiment = \"lr-warmup\"\nbetter_than = \"baseline\"\nmetric = \"validation.bits_per_byte\"\nscope = \"models\"\n\n\
        [warm-hurts]\nexperiment = \"lr-warmup\"\nworse_than = \"baseline\"\nmetric = \"validation.bits_per_byte\"\nscope = \"models\"\n";
    files::write(&project.root().join(PATH), claims.as_bytes()).unwrap();
    let named = |name: &str| said(&project, &seeds(1), &format!("#claim(\"{name}\")"));
    let inline = said(
        &project,
        &seeds(1),
        &format!("#claim(\"lr-warmup\", better-than: \"baseline\", {BITS}, scope: \"models\")"),
    );
    assert_eq!(named("warm-helps"), inline);
    let refused = named("warm-hurts").unwrap_err();
    for part in [
        "report/claims.toml:10:1",
        "the test finds the opposite",
        "`compared_with = \"baseline\"` and `scope = \"models\"` below `[warm-hurts]`",
    ] {
        assert!(refused.contains(part), "{refused}\nlacks {part}");
    }
    let unknown = named("warm-help").unwrap_err();
    assert!(unknown.contains("50-results.typ:2:8") && unknown.contains("did you mean `warm-helps`?"), "{unknown}");
    files::write(&project.root().join(PATH), claims.replace("worse_than", "beats").as_bytes()).unwrap();
    assert!(named("warm-hurts").unwrap_err().contains("report/claims.toml:10:1"));
}
