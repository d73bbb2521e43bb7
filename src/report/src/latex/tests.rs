//! From sealed runs to LaTeX and, where pdfLaTeX is installed, to its pages.

use std::path::Path;
use std::process::Command;

use harness_core::files;

use super::{Latex, export};
use crate::fixture::{books, demo, keeping};
use crate::model::Shown;
use crate::tests::{built, has_typst, project, runs, skip};
use crate::{Mode, Options, Project, Proof};

fn exported(project: &Project, mode: Mode) -> Latex {
    let options = Options { mode, ..Options::default() };
    export(project, &options, &project.root().join("latex"), false).unwrap_or_else(|e| panic!("{e}"))
}

/// Compiles `main.tex` and gives the text of its pages, in the order in which it was set; `None` where there is no LaTeX.
/// It may start no program and read no file outside the folder.
fn compiled(folder: &Path) -> Option<String> {
    let is_there = |program: &str| Command::new(program).arg("-v").output().is_ok();
    if !is_there("pdflatex") || !is_there("pdftotext") {
        skip::skip("latex", "`apt-get install texlive-latex-recommended texlive-fonts-recommended poppler-utils`");
        return None;
    }
    let latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main"];
    for command in [&latex[..], &["bibtex", "main"], &latex, &latex] {
        let mut started = Command::new(command[0]);
        started.args(&command[1..]).current_dir(folder).env("openin_any", "p").env("openout_any", "p");
        let output = started.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
    let log = files::read(&folder.join("main.log")).unwrap();
    let log = String::from_utf8_lossy(&log);
    for complaint in ["undefined on input line", "multiply defined", "Float too large", "Missing character"] {
        assert!(!log.contains(complaint), "{complaint}: {log}");
    }
    // A cell that does not fit its column stands in the next one, and that of the last column in the margin.
    for overfull in log.lines().filter(|line| line.starts_with("Overfull") && line.contains("in paragraph")) {
        let by: f64 = overfull.split(['(', 'p']).nth(1).and_then(|by| by.parse().ok()).unwrap_or(f64::MAX);
        assert!(by < 1.0, "{overfull}: {log}");
    }
    if let Some(keep) = std::env::var_os("KEEP_PAPERS") {
        let name = folder.parent().and_then(Path::file_name).unwrap_or_default();
        for file in files::list_recursive(folder).unwrap() {
            files::copy(&folder.join(&file), &Path::new(&keep).join(name).join(&file)).unwrap();
        }
    }
    let text = Command::new("pdftotext").args(["-raw", "main.pdf", "-"]).current_dir(folder).output().unwrap();
    assert!(text.status.success());
    Some(String::from_utf8(text.stdout).unwrap())
}

/// Text as it can be found again, however it was broken into lines and words.
fn bare(text: &str) -> String {
    let letters = text.chars().map(|c| if c == '\'' { '\u{2019}' } else { c });
    letters.filter(|c| !c.is_whitespace() && !"-\u{ad}`".contains(*c)).collect()
}

/// What a macro of `values.tex` shows, without the commands that set it.
fn without_commands(set: &str) -> String {
    let set = set.replace("\\harnesspower{", "").replace("}{", "×10").replace("\\ensuremath{-}", "\u{2212}");
    let set = set.replace("\\textless{}", "<").replace("\\textgreater{}", ">").replace('~', " ");
    let mut out = String::new();
    let mut rest = set.as_str();
    while let Some(at) = rest.find(['\\', '{', '}']) {
        out.push_str(&rest[..at]);
        rest = match rest[at..].strip_prefix('\\') {
            Some(command) => command.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
            None => &rest[at + 1..],
        };
    }
    bare(&(out + rest))
}

/// Where a text ends in another the first time. The ruler of a review copy may have put the number of a line into it.
fn end_of(text: &str, wanted: &str) -> Option<usize> {
    let ends = |start: usize| {
        let mut letters = wanted.chars().peekable();
        for (at, letter) in text[start..].char_indices() {
            match letters.peek() {
                None => return Some(start + at),
                Some(next) if *next == letter => drop(letters.next()),
                Some(_) if letter.is_ascii_digit() && at > 0 => {}
                Some(_) => return None,
            }
        }
        letters.peek().is_none().then_some(text.len())
    };
    text.char_indices().find_map(|(start, _)| ends(start))
}

/// Every place of `main.bound` shows its value, one after the other in the order of the pages, and together they are the
/// bound values of the PDF that Typst made.
fn assert_same_numbers(project: &Project, latex: &Latex, text: &str) {
    let proof: Proof = serde_json::from_slice(&files::read(&project.root().join(crate::PAPER_PROOF)).unwrap()).unwrap();
    let bare_shown = |shown: &Shown| match shown {
        Shown::Text(text) => bare(text),
        Shown::PowerOfTen { mantissa, exponent } => bare(&format!("{mantissa}×10{exponent}")),
    };
    let values = files::read_to_string(&latex.folder.join("values.tex")).unwrap();
    let shown_by = |name: &str| {
        let own = values.split(&format!("\\harnessvalue{{{name}}}{{")).nth(1).unwrap_or_else(|| panic!("{name}"));
        let own = own.lines().next().unwrap();
        without_commands(&own[..own.rfind("}{").unwrap()])
    };
    let mut expected: Vec<String> = proof.bound.iter().map(|bound| bare_shown(&bound.note.shown)).collect();
    let listed = files::read_to_string(&latex.folder.join("main.bound")).unwrap();
    let mut found = Vec::new();
    let pages: Vec<String> = text.split('\u{c}').map(bare).collect();
    let mut on = (String::new(), 0, 0);
    for line in listed.lines() {
        let (page, name) = line.split_once(' ').unwrap();
        let shown = shown_by(name);
        if on.0 != page {
            on = (page.to_owned(), page.parse().unwrap(), 0);
        }
        let rest = &pages[on.1 - 1][on.2..];
        let end = end_of(rest, &shown)
            .unwrap_or_else(|| panic!("page {page} has no `{shown}` of {name} behind `{:.300}`", rest));
        on.2 += end;
        found.push(shown);
    }
    assert_eq!(found.len(), latex.bound);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_paper_in_latex_has_the_same_numbers_as_the_one_of_typst() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let mut synthetic = demo();
    synthetic.push(books());
    let mut analyses = runs(&project, &synthetic);
    // What a model writes may be anything: other scripts, what turns the direction, control characters, markup, words without end.
    let word = "wordwithoutend".repeat(40);
    let texts = [
        "\u{5b57}\u{5e55} \u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{202e}abc\u{0}\u{7}\u{1b}[0m\r\t\u{fffd}",
        "\\input{/etc/passwd} \\end{document} $x_{1}^2$ %&#~^{}_ `` '' <<>> -- --- ?` !`",
        word.as_str(),
        "Дом \u{3b1}\u{3b2} \u{17e}\u{142}\u{df} \u{ab}\u{bb}\u{20ac}\u{2122}\u{2026}\u{2020}",
        "",
    ];
    analyses.push(keeping(&analyses[0], "20261124T100000Z-00000007", 0.8, "\\def\\x{\\x}\\x \u{feff}", &texts));
    for mode in [Mode::Final, Mode::Review] {
        built(&project, &analyses, mode);
        let latex = exported(&project, mode);
        assert_eq!(latex.findings, []);
        let set = files::read_to_string(&latex.folder.join("sections/A7-samples.tex")).unwrap();
        assert!(
            set.contains("\\texttt{U+5B57}") && set.contains("\\textbackslash{}end\\textbraceleft{}document"),
            "{set}"
        );
        assert!(latex.bound > 100 && !latex.official_style, "{latex:?}");
        let main = files::read_to_string(&latex.folder.join("main.tex")).unwrap();
        assert_eq!(main.contains("First Author"), mode == Mode::Final);
        let Some(text) = compiled(&latex.folder) else { return };
        assert_same_numbers(&project, &latex, &text);
    }
}

const SECTION: &str = r##"#import "/report/build/lib/values.typ": *
= Ours <sec:ours>
#let twice(body) = [#body and again #body]
"Quoted" -- it's *bold*, _slanted_, `co_de`, 50% & $x_1^2$, #twice[said]#footnote[Of $alpha$.], see @sec:ours, @eq:own, @tab:own
and #link("https://example.org/a_b?c=1&d#e%20")[a page]. Naïve Šķērs.
#claim("lr-warmup", better-than: "baseline", metric: "validation.bits_per_byte", scope: "models").

- one
- two
  + first
  + second
/ Term: what it says

$ sum_(i=1)^n frac(a_i, sqrt(2)) = lr((a/b)) mat(1, 2; 3, 4) vec(x, y) cases(1 "if" x > 0, 0 "else") \ hat(x) &in RR, log x $ <eq:own>

#figure(table(columns: 3, align: (left, center, right), table.header([A], [B], [C]), [1], table.cell(colspan: 2)[wide], [_x_], [y], [z]),
  caption: [A table of our own.]) <tab:own>

```python
if x < 1:
    return "\\end{quote}"
```
#quote(block: true, attribution: [Someone])[Words of others.]
"##;

#[test]
fn what_students_write_is_carried_over() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    files::write(&project.root().join("report/sections/45-ours.typ"), SECTION.replace("\\\\", "\\").as_bytes())
        .unwrap();
    built(&project, &analyses, Mode::Final);
    let latex = exported(&project, Mode::Final);
    assert_eq!(latex.findings, []);
    let tex = files::read_to_string(&latex.folder.join("sections/45-ours.tex")).unwrap();
    for part in [
        "\\section{Ours}\\label{sec:ours}",
        "\\textquotedblleft{}Quoted\\textquotedblright{} \\textendash{} it\\textquoteright{}s \\textbf{bold}, \\emph{slanted}",
        "\\texttt{co\\_de}, 50\\% \\& \\(x_{1}^{2}\\), said and again said\\footnote{Of \\(\\alpha\\).}",
        "Section~\\ref{sec:ours}, Equation~\\eqref{eq:own}, Table~\\ref{tab:own}",
        "\\boundwords{claim/lr-warmup/better_than/baseline/validation.bits_per_byte/models}",
        "\\begin{itemize}\n\\item one\n\\item two",
        "\\begin{enumerate}\n\\item first",
        "\\item[{Term}] what it says",
        "\\sum_{i=1}^{n} \\frac{a_{i}}{\\sqrt{2}}",
        "\\begin{aligned}\n\\sum",
        "\\begin{cases}1\\ \\text{if}\\ x > 0",
        "\\multicolumn{2}{l}{wide}",
        "Someone",
    ] {
        assert!(tex.contains(part), "{part} is not in:\n{tex}");
    }
    let Some(text) = compiled(&latex.folder) else { return };
    assert_same_numbers(&project, &latex, &text);
    assert!(bare(&text).contains("NaïveŠ"), "{text}");
}

#[test]
fn what_latex_does_not_show_is_told_with_its_place_and_seen_in_the_text() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    let analyses = runs(&project, &demo());
    let section = "#import \"/report/build/lib/values.typ\": *\n= Ours\n#set text(red)\nNow #context here().page().\n\n\
                   #place(top)[aside] and \u{5d0}, $cancel(x)$, #rect[in it] #line()\n";
    files::write(&project.root().join("report/sections/45-ours.typ"), section.as_bytes()).unwrap();
    built(&project, &analyses, Mode::Final);
    let latex = exported(&project, Mode::Final);
    let told: Vec<String> = latex.findings.iter().map(ToString::to_string).collect();
    for (place, what) in [
        ("45-ours.typ:3:", "style"),
        ("45-ours.typ:4:", "`context`"),
        ("45-ours.typ:6:", "`place`"),
        ("45-ours.typ:6:", "U+05D0"),
        ("45-ours.typ:6:", "`cancel`"),
        ("45-ours.typ:6:", "`rect`"),
        ("45-ours.typ:6:", "`line`"),
    ] {
        assert!(told.iter().any(|told| told.contains(place) && told.contains(what)), "{place} {what}: {told:#?}");
    }
    assert_eq!(told.len(), 7, "{told:#?}");
    let tex = files::read_to_string(&latex.folder.join("sections/45-ours.tex")).unwrap();
    for seen in [
        "\\notcarried{context}",
        "\\notcarried{U+05D0}",
        "\\notcarried{cancel}",
        "\\notcarried{line}",
        "aside",
        "in it",
    ] {
        assert!(tex.contains(seen), "{seen} is not in:\n{tex}");
    }
    compiled(&latex.folder);
}

#[test]
fn a_folder_of_others_is_left_alone() {
    let (_folder, project) = project();
    if !has_typst(&project) {
        return;
    }
    built(&project, &runs(&project, &demo()), Mode::Final);
    let folder = project.root().join("thesis");
    files::write(&folder.join("notes.txt"), b"mine").unwrap();
    let refused = export(&project, &Options::default(), &folder, false).unwrap_err().to_string();
    assert!(refused.contains("`notes.txt`") && refused.contains("hint:"), "{refused}");
    files::write(&folder.join("main.tex"), b"\\documentclass{book}").unwrap();
    assert!(export(&project, &Options::default(), &folder, false).is_err());
    // The conference's style may lie there before, and is used.
    let other = project.root().join("paper");
    for style in ["acl.sty", "acl_natbib.bst"] {
        files::write(&project.root().join("report/latex").join(style), b"% style").unwrap();
    }
    files::write(&other.join("acl.sty"), b"% own").unwrap();
    let zips = [0, 1].map(|_| {
        let made = export(&project, &Options::default(), &other, true).unwrap();
        assert!(made.official_style);
        files::read(&made.zip.unwrap()).unwrap()
    });
    assert_eq!(zips[0], zips[1], "the same paper gives the same archive");
}
