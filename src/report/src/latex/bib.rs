//! `references.bib` of an export: the works that it cites, written again as data. No command of the students' files gets
//! through: TeX would run it.

use std::collections::BTreeMap;

use super::escape;
use crate::bibliography::{Letter, Library, Name};

/// The entries of these works, each under the key that it is cited by.
pub(super) fn file(library: &Library, keys: &BTreeMap<String, String>) -> String {
    let mut out =
        String::from("% Made by `harness report --latex` from templates/references.bib and report/references.bib.\n");
    for (key, cited) in keys {
        let Some(fields) = library.fields(key) else { continue };
        out.push_str(&format!("\n@{}{{{cited}", fields.kind));
        for (name, people) in &fields.people {
            out.push_str(&field(name, &people.iter().map(person).collect::<Vec<_>>().join(" and ")));
        }
        for (name, letters) in &fields.texts {
            let value = text(letters);
            // By its hyphens a style knows that these are several pages.
            out.push_str(&field(
                name,
                &if *name == "pages" { value.replace("\\textendash{}", "--").replace("-{}-", "--") } else { value },
            ));
        }
        for (name, address) in &fields.addresses {
            out.push_str(&field(name, &escape::address(address)));
        }
        out.push_str("\n}\n");
    }
    out
}

fn field(name: &str, value: &str) -> String {
    format!(",\n  {name} = {{{value}}}")
}

fn plain(text: &str) -> String {
    escape::text(text, &mut |_| {})
}

/// `{Last}, {Given}`: braces keep BibTeX from cutting a part at what it takes for the next person.
fn person(name: &Name) -> String {
    let group = |part: &str| format!("{{{}}}", plain(part));
    if name.given.is_empty() && name.prefix.is_empty() && name.suffix.is_empty() {
        return if name.last == "others" { "others".to_owned() } else { group(&name.last) };
    }
    let prefix = if name.prefix.is_empty() { String::new() } else { format!("{} ", plain(&name.prefix)) };
    let suffix = if name.suffix.is_empty() { String::new() } else { format!("{}, ", group(&name.suffix)) };
    format!("{prefix}{}, {suffix}{}", group(&name.last), group(&name.given))
}

/// A text whose case a style may change, but for what stands in braces.
fn text(letters: &[Letter]) -> String {
    let look = |letter: &Letter| (letter.kept, letter.italic, letter.url.clone());
    let run = |run: &[Letter]| {
        let set = plain(&run.iter().map(|letter| letter.letter).collect::<String>());
        let set = if run[0].italic { format!("\\emph{{{set}}}") } else { set };
        match &run[0].url {
            Some(url) if url.contains(':') => format!("{{\\href{{{}}}{{{set}}}}}", escape::address_in_argument(url)),
            _ if run[0].kept => format!("{{{set}}}"),
            _ => set,
        }
    };
    letters.chunk_by(|a, b| look(a) == look(b)).map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exported(source: &str) -> String {
        let mut library = Library::default();
        library.add("x.bib", source).unwrap_or_else(|e| panic!("{e}"));
        let keys = library.keys().into_iter().map(|key| (key.to_owned(), key.to_owned())).collect();
        file(&library, &keys)
    }

    #[test]
    fn an_entry_is_written_again() {
        let out = exported(
            "@inproceedings{a2020, author={van der Aa, Bé and {Open AI} and others}, title={On {BERT} and \\emph{x}}, \
             booktitle={Proc.}, date={2020-05-01}, pages={1–9}, doi={10.1/a_b}}",
        );
        assert!(out.contains("@inproceedings{a2020,"), "{out}");
        assert!(out.contains("author = {van der {Aa}, {Bé} and {Open AI} and others}"), "{out}");
        assert!(out.contains("title = {On {BERT} and {\\emph{x}}}"), "{out}");
        assert!(out.contains("pages = {1--9}"), "{out}");
        assert!(out.contains("year = {2020}") && out.contains("doi = {10.1/a_b}"), "{out}");
    }

    #[test]
    fn no_command_of_a_file_gets_through() {
        let out = exported(
            "@misc{x, author={A \\input{/etc/passwd} and B}, title={\\write18{id} $\\csname x\\endcsname$ 100% #1 {\\catcode`}}, \
             note={\\immediate\\openout}, url={https://e.org/\\input{x}%}}",
        );
        for command in ["\\input", "\\write", "\\csname", "\\catcode", "\\immediate", "\\openout", "\\endcsname"] {
            assert!(!out.contains(command), "{command} in {out}");
        }
        assert_eq!(out.matches('{').count(), out.matches('}').count(), "{out}");
    }
}
