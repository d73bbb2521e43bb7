//! The planted statements, and what must not be objected to.

use super::planted::{CAREFUL, STATEMENTS};
use super::*;
use crate::fixture::{books, seeds};
use crate::follow::Drafted;
use crate::logbook::Logbook;
use crate::model::Number;
use crate::tests::{project, runs};
use harness_analyse::RunAnalysis;
use harness_core::names::Project;

/// The drafted sections with a text at the end of one of them.
fn sections(project: &Project, analyses: &[RunAnalysis], planted: &[(&str, String)]) -> Vec<Section> {
    let mut drafts = crate::todays_drafts(project, analyses).unwrap();
    drafts.retain(|draft| draft.is_wanted && draft.path.starts_with("sections/"));
    let with = |Drafted { path, mut text, .. }: Drafted| {
        for (_, statement) in planted.iter().filter(|(section, _)| path == format!("sections/{section}.typ")) {
            text = format!("{}\n\n{statement}\n", text.trim_end());
        }
        Section::new(format!("report/{path}"), text)
    };
    drafts.into_iter().map(with).collect()
}

/// What is said of sections over these runs.
fn said(analyses: &[RunAnalysis], sections: &[Section], allowed: &[Allowed]) -> Vec<Statement> {
    let numbers = Numbers::of(analyses, &crate::pairs_asked_for(sections)).unwrap();
    let tables = Tables::of(&numbers, &Logbook::default());
    read(&numbers, &tables, sections, allowed, &Seen::default()).statements
}

/// A statement with the numbers that its author would have typed.
fn filled(analyses: &[RunAnalysis], statement: &str) -> String {
    let numbers = Numbers::of(analyses, &[]).unwrap();
    let value = |experiment: &str, key: &str| numbers.families.entry(experiment).unwrap().values[key].clone();
    let shown = |experiment: &str, key: &str| {
        let values = &numbers.families.entry(experiment).unwrap().values;
        Number::among(values, &values[key]).shown.to_string()
    };
    let once = |experiment: &str, key: &str| {
        let run = numbers.families.entry(experiment).unwrap().runs[0];
        Number::among(&run.values, &run.values[key]).shown.to_string()
    };
    let accuracies: Vec<f64> = value_of_tasks(&numbers);
    let mean = 100.0 * accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    let bits = "validation.bits_per_byte";
    let mean_bits = 0.5 * (value("baseline", bits).number + value("lr-warmup", bits).number);
    let fills = [
        ("{bits}", shown("baseline", bits)),
        ("{warm-bits}", shown("lr-warmup", bits)),
        ("{warm-loss}", shown("lr-warmup", "validation.loss")),
        ("{warm-perplexity}", shown("lr-warmup", "validation.perplexity")),
        ("{k-tokens}", format!("{:.0}", value("baseline", "training.tokens").number / 1000.0)),
        ("{whole-accuracy}", format!("{:.0}", 100.0 * value("baseline", "tasks.grammar-agreement.accuracy").number)),
        ("{time}", shown("baseline", "resources.wall_time_s")),
        ("{old-bits}", once("baseline", bits)),
        ("{old-warm-bits}", once("lr-warmup", bits)),
        ("{old-perplexity}", once("baseline", "validation.perplexity")),
        ("{old-loss}", once("baseline", "training.loss")),
        ("{wrong-mean}", format!("{:.1}", mean + 1.3)),
        ("{mean-bits}", format!("{mean_bits:.3}")),
    ];
    fills.into_iter().fold(statement.to_owned(), |text, (name, number)| text.replace(name, &number))
}

fn value_of_tasks(numbers: &Numbers) -> Vec<f64> {
    let entry = numbers.families.entry("baseline").unwrap();
    entry.latest.tasks.iter().map(|task| entry.values[&crate::values::accuracy_key(task)].number).collect()
}

#[test]
fn every_planted_statement_is_found_at_its_line() {
    let (_folder, project) = project();
    let analyses = runs(&project, &seeds(3));
    let planted: Vec<(&str, String)> =
        STATEMENTS.iter().map(|(_, section, statement)| (*section, filled(&analyses, statement))).collect();
    let sections = sections(&project, &analyses, &planted);
    let said = said(&analyses, &sections, &[]);
    let mut missed = Vec::new();
    for ((rule, section, _), (_, statement)) in STATEMENTS.iter().zip(&planted) {
        assert!(!statement.contains('{'), "{statement}");
        let path = format!("report/sections/{section}.typ");
        let of = sections.iter().find(|section| section.path == path).unwrap_or_else(|| panic!("{path}"));
        let first = of.text[..of.text.find(statement.as_str()).unwrap()].lines().count() + 1;
        let lines = first..first + statement.lines().count();
        let of_lines: Vec<_> =
            said.iter().filter(|one| one.place.path == path && lines.contains(&one.place.line)).collect();
        if !of_lines.iter().any(|one| one.rule == *rule) {
            missed.push(format!("{rule:?}: {statement}\n    {of_lines:?}"));
        }
    }
    assert!(missed.is_empty(), "{} of {} are not found:\n{}", missed.len(), STATEMENTS.len(), missed.join("\n"));
    // Nothing is said of any other line.
    let lines: usize = planted.iter().map(|(_, statement)| statement.lines().count()).sum();
    let mut places: Vec<_> = said.iter().map(|one| (&one.place.path, one.place.line)).collect();
    places.dedup();
    assert!(places.len() <= lines, "{} places of {lines} lines", places.len());
}

#[test]
fn what_was_drafted_and_what_is_careful_is_not_objected_to() {
    let (_folder, project) = project();
    let mut three = seeds(3);
    three.push(books());
    let one: Vec<_> = seeds(3).into_iter().take(2).collect();
    for synthetic in [three, one] {
        let analyses = runs(&project, &synthetic);
        let told = |sections: &[Section]| -> Vec<String> {
            said(&analyses, sections, &[])
                .iter()
                .map(|one| format!("{:?} {}\n    {}", one.rule, one.problem, one.place))
                .collect()
        };
        assert_eq!(told(&sections(&project, &analyses, &[])), Vec::<String>::new(), "as it was drafted");
        let careful: Vec<(&str, String)> =
            CAREFUL.iter().map(|(section, text)| (*section, (*text).to_owned())).collect();
        assert_eq!(told(&sections(&project, &analyses, &careful)), Vec::<String>::new(), "as it was written with care");
    }
}

#[test]
fn what_is_allowed_for_a_reason_is_not_told_and_an_allowance_of_nothing_is() {
    let (_folder, project) = project();
    let analyses = runs(&project, &seeds(3));
    let planted = [("80-conclusion", "The budget was 7.25 hours. Warm-up improves the mood.".to_owned())];
    let sections = sections(&project, &analyses, &planted);
    let allowed = |text: &str| crate::paper_toml::allowed("report/paper.toml", &format!("title = \"T\"\n{text}"));
    let all = "[[allowed]]\nnumber = \"7.25\"\nreason = \"the course says so\"\n[[allowed]]\ntext = \"improves the mood\"\nreason = \"a joke\"\n";
    let rules =
        |text: &str| said(&analyses, &sections, &allowed(text).unwrap()).iter().map(|one| one.rule).collect::<Vec<_>>();
    assert_eq!(rules(""), [Rule::Number, Rule::Claim]);
    assert_eq!(rules(all), []);
    let unused = said(
        &analyses,
        &sections,
        &allowed(&format!("{all}[[allowed]]\nnumber = \"9\"\nreason = \"none\"\n")).unwrap(),
    );
    assert_eq!(unused.iter().map(|one| (one.rule, one.place.line)).collect::<Vec<_>>(), [(Rule::Allowance, 8)]);
    for (wrong, part) in [
        ("[[allowed]]\nnumber = \"9\"\n", "reason"),
        ("[[allowed]]\nreason = \"x\"\n", "`number` or a `text`"),
        ("[[allowed]]\nnumber = \"9\"\nreason = \" \"\n", "a reason"),
    ] {
        let message = allowed(wrong).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains("report/paper.toml:"), "{message}");
    }
}

#[test]
fn a_sentence_around_a_number_that_changed_is_to_be_read_again() {
    let (_folder, project) = project();
    let synthetic = seeds(3);
    let before = runs(&project, &synthetic[..2]);
    let planted = [(
        "80-conclusion",
        "It needs #value(\"baseline\", \"validation.bits_per_byte\") bits per byte, our limit.".to_owned(),
    )];
    let sections = sections(&project, &before, &planted);
    let own: Vec<&Section> = sections.iter().filter(|section| section.path.ends_with("80-conclusion.typ")).collect();
    let numbers = Numbers::of(&before, &[]).unwrap();
    Seen::load(&project).unwrap().save(&project, &numbers, &own).unwrap();
    let stale = |analyses: &[RunAnalysis], sections: &[Section]| {
        let numbers = Numbers::of(analyses, &[]).unwrap();
        let said =
            read(&numbers, &Tables::of(&numbers, &Logbook::default()), sections, &[], &Seen::load(&project).unwrap())
                .statements;
        said.into_iter().filter(|one| one.rule == Rule::Stale).collect::<Vec<_>>()
    };
    assert_eq!(stale(&before, &sections), []);
    let now = runs(&project, &synthetic);
    let told = stale(&now, &sections);
    let planted_line = own[0].text.trim_end().lines().count();
    let of_planted = told.iter().find(|one| one.place.line == planted_line).unwrap_or_else(|| panic!("{told:?}"));
    assert!(of_planted.problem.contains("`baseline:validation.bits_per_byte` was "), "{of_planted:?}");
    // Who edits the section has read it.
    let edited = vec![Section::new(own[0].path.clone(), format!("{}\n// read\n", own[0].text))];
    assert_eq!(stale(&now, &edited), []);
    let numbers = Numbers::of(&now, &[]).unwrap();
    Seen::load(&project).unwrap().save(&project, &numbers, &edited.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(stale(&now, &edited), []);
}
