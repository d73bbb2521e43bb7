//! The cases of the conference's look: citations, then the reference list.

use proptest::prelude::*;

use super::*;

fn library(text: &str) -> Library {
    let mut library = Library::default();
    library.add("test.bib", text).unwrap_or_else(|e| panic!("{e}"));
    library
}

fn all(text: &str) -> Vec<Reference> {
    let library = library(text);
    let keys: Vec<String> = library.keys().into_iter().map(str::to_owned).collect();
    library.references(&keys)
}

fn pieces(pieces: &[Piece]) -> String {
    let piece = |p: &Piece| match p {
        Piece::Upright { text } => text.clone(),
        Piece::Italic { text } => format!("*{text}*"),
        Piece::Link { text, url } => format!("<{text}|{url}>"),
    };
    pieces.iter().map(piece).collect()
}

/// The whole entry as a line, italics between stars.
fn shown(text: &str) -> String {
    let reference = &all(text)[0];
    format!("{}. {}. {}{}", reference.authors, reference.year, pieces(&reference.title), pieces(&reference.rest))
        .replace("..", ".")
}

#[test]
fn labels_name_one_two_or_many_authors() {
    let who =
        |authors: &str| all(&format!("@misc{{k, author = {{{authors}}}, title = {{T}}, year = 1997}}"))[0].who.clone();
    assert_eq!(who("Dan Gusfield"), "Gusfield");
    assert_eq!(who("Alfred V. Aho and Jeffrey D. Ullman"), "Aho and Ullman");
    assert_eq!(who("Ashok Chandra and Dexter Kozen and Larry Stockmeyer"), "Chandra et al.");
    assert_eq!(who("Ashok Chandra and others"), "Chandra et al.");
    assert_eq!(who("Ludwig van Beethoven"), "van Beethoven");
    assert_eq!(who("{The Open Group}"), "The Open Group");
}

#[test]
fn year_letters_follow_the_reference_list_not_the_citations() {
    let bib = "@misc{z, author={Tom Bravo and Ann Charlie}, title={A zebra}, year=2016}
        @misc{a, author={Tom Bravo and Ann Charlie}, title={The aardvark}, year=2016}
        @misc{o, author={Tom Bravo and Ann Charlie}, title={Other}, year=2017}
        @misc{first, author={Ann Alpha}, title={X}, year=2020}";
    let order: Vec<String> = library(bib)
        .references(&["z".into(), "o".into(), "a".into(), "z".into(), "first".into()])
        .iter()
        .map(|r| format!("{} {}", r.key, r.year))
        .collect();
    assert_eq!(order, ["first 2020", "a 2016a", "z 2016b", "o 2017"]);
}

#[test]
fn works_of_different_authors_with_one_label_get_letters() {
    let bib = "@misc{x, author={Tom Bravo and Ann Zulu and Jo Delta}, title={X}, year=2016}
        @misc{y, author={Tom Bravo and Ann Charlie and Jo Delta}, title={Y}, year=2016}";
    let years: Vec<String> = all(bib).iter().map(|r| format!("{} {}", r.key, r.year)).collect();
    assert_eq!(years, ["y 2016a", "x 2016b"]);
}

#[test]
fn names_are_listed_in_full() {
    let authors =
        |text: &str| all(&format!("@misc{{k, author = {{{text}}}, title = {{T}}, year = 1997}}"))[0].authors.clone();
    assert_eq!(authors("Gusfield, Dan"), "Dan Gusfield");
    assert_eq!(authors("Aho, Alfred V. and Ullman, Jeffrey D."), "Alfred V. Aho and Jeffrey D. Ullman");
    assert_eq!(authors("A B and C D and E F"), "A B, C D, and E F");
    assert_eq!(authors("A B and others"), "A B et al.");
    assert_eq!(authors("A B and C D and others"), "A B, C D, et al.");
    let people = |n: usize| (0..n).map(|i| format!("Given{i} Family{i}")).collect::<Vec<_>>().join(" and ");
    assert!(authors(&people(20)).ends_with("Given18 Family18, and Given19 Family19"));
    assert!(authors(&people(21)).ends_with("Given18 Family18, and 2 others"), "{}", authors(&people(21)));
    assert!(authors(&people(50)).ends_with("Given18 Family18, and 31 others"));
}

#[test]
fn each_kind_of_work_has_its_line() {
    let cases = [
        (
            "@article{k, author={Rie Kubota Ando and Tong Zhang}, title={A Framework for Learning Predictive Structures}, \
             journal={Journal of Machine Learning Research}, volume=6, number=11, pages={1817--1853}, year=2005}",
            "Rie Kubota Ando and Tong Zhang. 2005. A framework for learning predictive structures. \
             *Journal of Machine Learning Research*, 6(11):1817–1853.",
        ),
        ("@article{k, author={A B}, title={T}, journal={J}, pages={1-9}, year=2005}", "A B. 2005. T. *J*, pages 1–9."),
        (
            "@article{k, author={A B}, title={T}, journal={J}, volume=3, eid={e17}, year=2005}",
            "A B. 2005. T. *J*, 3:e17.",
        ),
        (
            "@inproceedings{k, author={James Goodman}, title={Noise reduction: Targeted {BERT} Learning}, \
             booktitle={Proceedings of the 54th Meeting}, volume=1, series={Long Papers}, pages={1--11}, \
             address={Berlin, Germany}, organization={Org}, publisher={Association}, year=2016}",
            "James Goodman. 2016. Noise reduction: Targeted BERT learning. In *Proceedings of the 54th Meeting*, \
             volume 1 of *Long Papers*, pages 1–11, Berlin, Germany. Org. Association.",
        ),
        (
            "@inproceedings{k, author={A B}, title={Which way?}, booktitle={P}, pages=7, year=2016}",
            "A B. 2016. Which way? In *P*, page 7.",
        ),
        (
            "@incollection{k, author={A B}, title={T}, editor={C D and E F}, booktitle={The Book}, edition=2, chapter=4, \
             pages={5--6}, publisher={Press}, address={Town}, year=1999}",
            "A B. 1999. T. In C D and E F, editors, *The Book*, 2nd edition, chapter 4, pages 5–6. Press, Town.",
        ),
        (
            "@book{k, author={Dan Gusfield}, title={Algorithms on Strings}, edition={2nd}, volume=3, series={S}, \
             publisher={Cambridge University Press}, address={Cambridge, UK}, year=1997}",
            "Dan Gusfield. 1997. *Algorithms on Strings*, 2nd edition, volume 3 of *S*. \
             Cambridge University Press, Cambridge, UK.",
        ),
        ("@book{k, author={A B}, title={The Book}, publisher={P}, year=1997}", "A B. 1997. *The Book*. P."),
        (
            "@phdthesis{k, author={A B}, title={On Things}, school={Some University}, address={Town}, year=2001}",
            "A B. 2001. *On Things*. Ph.D. thesis, Some University, Town.",
        ),
        (
            "@mastersthesis{k, author={A B}, title={On Things}, school={Some University}, year=2001}",
            "A B. 2001. On things. Master\u{2019}s thesis, Some University.",
        ),
        (
            "@techreport{k, author={A B}, title={On Things}, institution={OpenAI}, number=12, year=2019}",
            "A B. 2019. On things. Technical Report 12, OpenAI.",
        ),
        (
            "@misc{k, author={A B}, title={On Things}, eprint={2001.00001}, archiveprefix={arXiv}, year=2020}",
            "A B. 2020. On things. *Preprint*, arXiv:2001.00001.",
        ),
        (
            "@misc{k, author={A B}, title={On Things}, publisher={arXiv}, year=2020}",
            "A B. 2020. On things. *arXiv preprint*.",
        ),
        ("@misc{k, author={A B}, title={On Things}, note={Accessed today}}", "A B. n.d. On things. Accessed today."),
    ];
    for (bib, expected) in cases {
        assert_eq!(shown(bib), expected, "{bib}");
    }
}

#[test]
fn the_title_leads_to_the_doi_before_all_else() {
    let link =
        |fields: &str| all(&format!("@misc{{k, author={{A B}}, title={{T}}, year=2020, {fields}}}"))[0].link.clone();
    let expect = |fields: &str, expected: &str| assert_eq!(link(fields).as_deref(), Some(expected), "{fields}");
    let arxiv = "eprint={2001.00001}, archiveprefix={arXiv}";
    expect(&format!("doi={{10.1/x_y}}, {arxiv}, url={{https://example.org}}"), "https://doi.org/10.1/x_y");
    expect("doi={https://doi.org/10.1/x}", "https://doi.org/10.1/x");
    expect(&format!("{arxiv}, url={{https://example.org}}"), "https://arxiv.org/abs/2001.00001");
    expect("url={https://example.org/a_b?c=d}", "https://example.org/a_b?c=d");
    assert_eq!(link("url={javascript:alert(1)}"), None);
}

/// What BibTeX with hyperref makes of them.
#[test]
fn links_and_commands_of_tex_are_read() {
    let link = |fields: &str| all(&format!("@misc{{k, author={{A B}}, title={{T}}, {fields}}}"))[0].link.clone();
    for (fields, expected) in [
        ("doi = {10.1007/978-3-319-10602-1\\_48}", "https://doi.org/10.1007/978-3-319-10602-1_48"),
        ("url = {https://example.org/~user/p_q.pdf}", "https://example.org/~user/p_q.pdf"),
        ("url = {https://example.org/\\textasciitilde user}", "https://example.org/~ user"),
        ("url = {https://example.org/a\\_b/100\\%25?x=1\\&y=2}", "https://example.org/a_b/100%25?x=1&y=2"),
        ("url = {\\url{https://example.org/s_t}}", "https://example.org/s_t"),
    ] {
        assert_eq!(link(fields).as_deref(), Some(expected), "{fields}");
    }
    let cases = [
        (
            "@misc{k, author={G Aitch}, title={D}, howpublished={\\url{https://example.org/how_to}}, year=2020}",
            "G Aitch. 2020. D. <https://example.org/how_to|https://example.org/how_to>.",
        ),
        (
            "@misc{k, author={A B}, title={D}, note={See \\href{https://a.b/c\\_d}{our page}, ``quoted''}, year=2020}",
            "A B. 2020. D. See <our page|https://a.b/c_d>, \u{201c}quoted\u{201d}.",
        ),
        (
            "@article{k, author={I Jay}, title={An $O(n \\log n)$ Bound, $\\alpha$ and \\emph{Mytilus edulis}}, journal={J}, year=2020}",
            "I Jay. 2020. An O(n log n) bound, α and *Mytilus edulis*. *J*.",
        ),
        (
            "@article{k, author={I Jay}, title={\\textbf{Bold} and {\\em Emphatic} \\Unknown{Words}}, journal={J}, year=2020}",
            "I Jay. 2020. Bold and *Emphatic* Words. *J*.",
        ),
        (
            "@article{k, author = \"Quo {\"}te{\"} Mark\", title = \"A {\"}quoted{\"} title\", journal = \"J\", year = \"2004\"}",
            "Quo \"te\" Mark. 2004. A \"quoted\" title. *J*.",
        ),
    ];
    for (bib, expected) in cases {
        assert_eq!(shown(bib), expected, "{bib}");
    }
}

#[test]
fn a_broken_file_is_shown_at_its_place() {
    let mut library = Library::default();
    let message = library
        .add("report/references.bib", "@misc{a, title={T}}\n@misc{b, title={T}\n@misc{")
        .unwrap_err()
        .to_string();
    assert!(message.contains("report/references.bib:"), "{message}");
    let message = library.add("x.bib", "@misc{a, title={T}}\n\n@misc{a, title={T}}").unwrap_err().to_string();
    assert!(message.contains("x.bib:3"), "{message}");
}

#[test]
fn references_without_an_end_are_refused_at_their_place() {
    let doubled = (1..60).map(|i| format!("@string{{a{i} = a{} # a{}}}\n", i - 1, i - 1)).collect::<String>();
    let chain = (0..10_000).rev().map(|i| format!("@string{{a{i} = a{}}}\n", i + 1)).collect::<String>();
    let fan = (0..40).map(|i| format!("@xdata{{x{i}, xdata={{x{}, x{}}}}}\n", i + 1, i + 1)).collect::<String>();
    for text in [
        "@misc{a, crossref={b}}\n@misc{b, crossref={a}}",
        "@misc{a, ids={z}, crossref={z}}",
        "@string{x = x # x}\n@misc{a, title=x}",
        &format!("@string{{a0 = {{x}}}}\n{doubled}"),
        &chain,
        &fan,
    ] {
        let message = Library::default().add("x.bib", text).unwrap_err().to_string();
        assert!(
            message.contains("leads back to itself, or is far too much\n") && message.contains("x.bib:"),
            "{message}"
        );
    }
    let text =
        "@string{acl = {ACL}}\n@proceedings{p, title=acl, year=2020}\n@inproceedings{a, crossref={p}, title={T}}";
    assert_eq!(all(text).len(), 2);
}

#[test]
fn the_projects_own_references_are_complete() {
    let text = include_str!("../../../../templates/references.bib");
    for reference in all(text) {
        assert!(reference.link.is_some(), "{} has no link", reference.key);
        assert!(reference.year.starts_with(['1', '2']), "{} has no year", reference.key);
        assert!(!pieces(&reference.rest).is_empty(), "{} has no place", reference.key);
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>(), key in "[a-z]{1,5}", field in "[^@{}\"\\\\%$]{0,40}") {
        let mut library = Library::default();
        let _ = library.add("x.bib", &text);
        if library.add("x.bib", &format!("@article{{{key}, author={{{field}}}, title={{{field}}}, pages={{{field}}}, year={{{field}}}}}")).is_ok() {
            prop_assert_eq!(library.references(&[key]).len(), 1);
        }
    }
}
