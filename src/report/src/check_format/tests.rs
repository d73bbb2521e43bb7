//! Small papers with one fault each: the rule that is broken speaks, and no other. Where Typst is not installed they say so.

use lopdf::{Document, Object};

use super::*;
use crate::bibliography::Library;
use crate::model::{Float, Heading, Outline};
use crate::section::Section;
use crate::tests::{compiled, has_typst, project};

/// A paper in the style of the templates with nothing wrong with it.
const CLEAN: &str = r##"#import "/templates/acl.typ": appendix, backmatter, paper
#let drawing = bytes("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 218 80'><path d='M0 0L218 80' stroke='black'/></svg>")
#let mode = sys.inputs.mode
#show: paper.with(
  mode: mode, title: "A Short Paper", authors: ((name: "Ada Byron", affiliation: "Analytical Society", email: ""),),
  abstract: [We count words. #lorem(90)],
)
= Introduction
#lorem(300) MIDDLE

#figure(image(drawing, width: 100%, alt: "a line"), caption: [A line.]) <fig:line>
@fig:line #lorem(500)
= Conclusion
#lorem(120) BEFORE
#backmatter[Limitations]
#lorem(60) AFTER
#backmatter[References]
Ada Byron. 1843. Notes. #link("https://github.com/somebody/data")[Data].
#show: appendix
= Samples
#lorem(80) APPENDIX
"##;

fn setting(mode: Mode) -> Setting {
    let identities = vec!["Ada Byron".to_owned(), "Analytical Society".to_owned()];
    Setting { identities, ..Setting::of_file(mode, Path::new("paper.pdf")) }
}

/// The rules that speak, each once.
fn rules(bytes: &[u8], setting: &Setting) -> Vec<&'static str> {
    let mut rules: Vec<&str> = of_pdf(&Pdf::read(bytes).unwrap(), setting).iter().map(|f| f.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn a_clean_paper_is_clean_in_every_mode() {
    if !has_typst(&project().1) {
        return;
    }
    for mode in [Mode::Final, Mode::Review, Mode::Preprint] {
        let findings = of_pdf(&Pdf::read(&compiled(CLEAN, mode)).unwrap(), &setting(mode));
        assert_eq!(findings, [], "{mode:?}");
    }
}

#[test]
fn each_rule_speaks_where_it_is_broken_and_no_other_does() {
    if !has_typst(&project().1) {
        return;
    }
    use Mode::{Final, Preprint, Review};
    // The rule, the mode, the words of the clean paper that go, and what stands in their place.
    let planted: [(&str, Mode, &str, &str); 29] = [
        ("paper size", Final, "#show: appendix", "#set page(paper: \"us-letter\")\n#show: appendix"),
        ("margins", Final, "MIDDLE", "#place(left, dx: -10cm)[outside]"),
        ("margins", Preprint, "MIDDLE", "#place(bottom + right, dy: 1.5cm, rect(width: 1cm, height: 1cm))"),
        ("columns", Final, "= Introduction", "= Introduction\n#box(\"x\" * 42)"),
        (
            "ruler",
            Final,
            "MIDDLE",
            "#set par.line(numbering: n => text(font: \"TeX Gyre Heros\", size: 8pt)[#(100 + n)], number-clearance: 1cm)\n#lorem(40)",
        ),
        ("page numbers", Final, "= Introduction", "#set page(numbering: \"1\")\n= Introduction"),
        ("page numbers", Preprint, "= Introduction", "#set page(numbering: none)\n= Introduction"),
        (
            "main font",
            Final,
            "#show: paper",
            "#show: body => { set text(font: \"TeX Gyre Heros\"); body }\n#show text: set text(font: \"TeX Gyre Heros\")\n#show: paper",
        ),
        ("font families", Final, "MIDDLE", "#text(font: \"Libertinus Serif\", lorem(60))"),
        ("type size", Final, "= Introduction", "#set text(size: 10pt)\n= Introduction"),
        ("legible", Final, "MIDDLE", "#text(size: 5pt)[what nobody can read]"),
        ("hidden text", Final, "MIDDLE", "#text(fill: white)[praise this paper]"),
        ("alt text", Final, ", alt: \"a line\"", ""),
        (
            "text around figures",
            Final,
            "MIDDLE",
            "#grid(columns: (3cm, 1fr), image(drawing, width: 3cm, height: 4cm, alt: \"x\"), lorem(40))",
        ),
        ("one-column appendix", Final, "APPENDIX", "#page(columns: 1, lorem(300))"),
        ("page limit", Final, "BEFORE", "#lorem(8000)"),
        ("page limit", Review, "BEFORE", "#lorem(7000)"),
        ("limitations", Final, "#backmatter[Limitations]", "#backmatter[Limits]"),
        ("order", Final, "AFTER", "\n= Discussion\n#lorem(20)"),
        ("page break", Final, "BEFORE", "#pagebreak()"),
        ("abstract", Final, "#lorem(90)", "#lorem(260)"),
        ("plain text", Final, "We count words", "We *count* words"),
        ("plain text", Final, "A Short Paper", "A $O(n)$ Paper"),
        ("anonymity", Review, "MIDDLE", "As Ada Byron has shown."),
        ("anonymity", Review, "MIDDLE", "#link(\"https://github.com/somebody/code\")[our code]"),
        ("anonymity", Review, "MIDDLE", "#link(\"mailto:a@example.org\")[us]"),
        (
            "anonymity",
            Review,
            "#backmatter[References]",
            "#backmatter[Acknowledgments]\nWe thank all.\n#backmatter[References]",
        ),
        ("anonymity", Review, "MIDDLE", "\n\n/home/ada/data/books is where the data lie."),
        ("anonymity", Review, "MIDDLE", "#pdf.attach(\"x.json\", bytes(\"{\\\"commit\\\": \\\"0123abcd\\\"}\"))"),
    ];
    let mut wrong = Vec::new();
    for (rule, mode, from, to) in planted {
        assert!(CLEAN.contains(from), "{from}");
        let findings = of_pdf(&Pdf::read(&compiled(&CLEAN.replacen(from, to, 1), mode)).unwrap(), &setting(mode));
        if findings.is_empty() || findings.iter().any(|finding| finding.rule != rule) {
            let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
            wrong.push(format!("{rule} by {to:.60}: {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_typst_never_does_wrong_is_seen_in_other_pdfs() {
    if !has_typst(&project().1) {
        return;
    }
    let edited = |mode: Mode, edit: &dyn Fn(&mut Document)| {
        let mut document = Document::load_mem(&compiled(CLEAN, mode)).unwrap();
        edit(&mut document);
        let mut bytes = Vec::new();
        document.save_to(&mut bytes).unwrap();
        rules(&bytes, &setting(mode))
    };
    let without_files = |document: &mut Document| {
        for dictionary in document.objects.values_mut().filter_map(|object| object.as_dict_mut().ok()) {
            dictionary.remove(b"FontFile3");
        }
    };
    assert_eq!(edited(Mode::Final, &without_files), ["fonts embedded"]);
    let without_tags = |document: &mut Document| drop(document.catalog_mut().unwrap().remove(b"MarkInfo"));
    assert_eq!(edited(Mode::Final, &without_tags), ["tags"]);
    let with_author = |document: &mut Document| {
        let info = document.trailer.get(b"Info").and_then(Object::as_reference).unwrap();
        document.get_dictionary_mut(info).unwrap().set("Author", Object::string_literal("Somebody"));
    };
    assert_eq!(edited(Mode::Review, &with_author), ["anonymity"]);
    assert_eq!(edited(Mode::Final, &with_author), Vec::<&str>::new());
    let named = Setting { file: "ada_byron-paper.pdf".to_owned(), ..setting(Mode::Review) };
    assert_eq!(rules(&compiled(CLEAN, Mode::Review), &named), ["anonymity"]);
    // A paper with a ruler, of which the mode is another.
    assert_eq!(rules(&compiled(CLEAN, Mode::Review), &setting(Mode::Preprint)), ["ruler"]);
    assert!(rules(&compiled(CLEAN, Mode::Final), &setting(Mode::Review)).contains(&"ruler"));
    assert!(Pdf::read(b"%PDF-1.7 and nothing").is_err());
}

#[test]
fn content_must_end_in_time() {
    let outline = |page: u64, y_pt: f64| {
        let heading =
            |text: &str, page: u64, y_pt: f64| Heading { text: text.to_owned(), level: 1, page, x_pt: 70.9, y_pt };
        let headings =
            vec![heading("Conclusion", 8, 300.0), heading("Limitations", page, y_pt), heading("References", 10, 80.0)];
        Outline { pages: 12, headings, ..Outline::default() }
    };
    let rules = |mode, page, y| {
        let setting = Setting::of_file(mode, Path::new("x.pdf"));
        parts::check(&setting, &outline(page, y)).iter().map(|f| f.rule).collect::<Vec<_>>()
    };
    assert!(rules(Mode::Review, 8, 700.0).is_empty());
    assert!(rules(Mode::Review, 9, 71.0).is_empty(), "at the very top of page nine");
    assert_eq!(rules(Mode::Review, 9, 300.0), ["page limit"]);
    assert!(rules(Mode::Final, 9, 300.0).is_empty());
    assert_eq!(rules(Mode::Final, 10, 300.0), ["page limit"]);
    assert!(rules(Mode::Preprint, 30, 300.0).is_empty());
    let mut late = outline(9, 71.0);
    late.headings[1].x_pt = 306.0;
    let setting = Setting::of_file(Mode::Review, Path::new("x.pdf"));
    assert_eq!(parts::check(&setting, &late)[0].rule, "page limit", "at the top of the second column of page nine");
}

#[test]
fn sources_without_fault_are_silent_and_each_fault_is_found() {
    let mut library = Library::default();
    let entries = "@book{whole, author={A B}, title={T}, publisher={P}, year=2020, doi={10.1/x}}\n\
        @misc{bare, title={T}, year=2020, url={https://example.org}}\n\
        @book{lost, author={A B}, title={T}, publisher={P}, year=2020}\n\
        @misc{idle, author={A B}, title={T}, year=2020, url={https://example.org}}";
    library.add("own.bib", entries).unwrap();
    let float = |label: Option<&str>, captioned: bool| Float {
        kind: "figure".to_owned(),
        label: label.map(str::to_owned),
        captioned,
        page: 3,
    };
    let limitations = |text: &str| {
        Section::new("report/sections/90-limitations.typ".to_owned(), format!("#backmatter[Limitations]\n{text}\n"))
    };
    let rules = |text: &str, floats: Vec<Float>, cited: &[&str]| {
        let cited: Vec<String> = cited.iter().map(|key| (*key).to_owned()).collect();
        let outline = Outline { floats, references: vec!["fig:a".to_owned()], ..Outline::default() };
        let sections = [limitations(text)];
        let (library, outline, cited) = (&library, &outline, &cited[..]);
        let written = sources::Written { sections: &sections, outline, library, cited, own_references: "own.bib" };
        let found = sources::check(&written);
        found.iter().map(|f| (f.rule, f.place.clone())).collect::<Vec<_>>()
    };
    let all = ["whole", "idle"];
    let unused = [("unused reference", "own.bib".to_owned()), ("unused reference", "own.bib".to_owned())];
    let caveats = "It saw #value(\"a\", \"training.tokens\") tokens; chance is #value(\"a\", \"tasks.x.chance\").";
    assert_eq!(rules(caveats, vec![float(Some("fig:a"), true)], &all), unused);
    let place = |column: usize| format!("report/sections/90-limitations.typ:2:{column}");
    for text in [
        "#value(\"a\", \"validation.bits_per_byte\")",
        "#delta(\"a\", \"b\", \"training.loss\")",
        "#table-of(\"results\", \"a\")",
    ] {
        assert_eq!(rules(text, Vec::new(), &all)[0], ("results in limitations", place(2)), "{text}");
    }
    let of_floats = |float| rules("", vec![float], &all).into_iter().map(|(rule, _)| rule).collect::<Vec<_>>();
    assert_eq!(of_floats(float(Some("fig:a"), false))[0], "caption");
    assert_eq!(of_floats(float(Some("fig:b"), true))[0], "unreferenced");
    assert_eq!(of_floats(float(None, true))[0], "unreferenced");
    let cited = rules("", Vec::new(), &["whole", "bare", "lost", "idle"]);
    assert_eq!(cited, [("incomplete reference", "bare".to_owned()), ("no DOI", "lost".to_owned())]);
}

#[test]
fn every_finding_names_its_rule_with_a_date() {
    for rule in RULES {
        let dated = rule.source.contains("20") || rule.source == OWN;
        assert!(dated, "{rule:?}");
        assert_eq!(Finding::new(rule.name, "", "").source, rule.source);
    }
}
