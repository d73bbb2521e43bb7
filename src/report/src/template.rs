//! The files that lay the paper out: those of `templates/`, or another venue's, which may bring its own page, its own order of the
//! parts or both, under the same names. What such a template has to offer is checked before Typst sees it, and what Typst says of it is said of the file that
//! a person wrote, not of its copy in the build folder.

use harness_core::names::{Project, is_inside};
use typst_syntax::{SyntaxNode, ast, parse};

use super::error::{Place, ReportError};

/// The page: fonts, columns, headings, title.
pub(super) const STYLE: &str = "acl.typ";
/// The order of the parts.
pub(super) const PAPER: &str = "paper.typ.tera";
/// What sections are written with; never another venue's.
pub(super) const VALUES: &str = "values.typ";

/// What a page has to define.
const DEFINED: [&str; 3] = ["paper", "appendix", "backmatter"];
/// What an order of the parts has to call: without it nobody knows where things landed.
const CALLED: &str = "#outline-for-checks";
const HINT: &str = "docs/formats/paper.md says what a template has to offer, under \"The template of another venue\"";

/// Where a file of the template lies, relative to the project.
pub(super) fn path(project: &Project, own: Option<&str>, name: &str) -> String {
    // A proof names the folder, and may be of somebody who would have other files read.
    let own = own.filter(|folder| is_inside(folder) && name != VALUES).map(|folder| format!("{folder}/{name}"));
    let own = own.filter(|path| project.root().join(path).exists());
    own.unwrap_or_else(|| format!("templates/{name}"))
}

/// Whether a page defines what the paper takes from it.
pub(super) fn check_style(path: &str, text: &str) -> Result<(), ReportError> {
    let tree = parse(text);
    let defined = defined(&tree);
    match DEFINED.into_iter().find(|name| !defined.iter().any(|own| own == name)) {
        None => Ok(()),
        Some(missing) => Err(wrong(format!("the template defines no `{missing}`"), path, text)),
    }
}

/// Whether an order of the parts leaves the notes that the checks and an audit read.
pub(super) fn check_paper(path: &str, template: &str, paper: &str) -> Result<(), ReportError> {
    if paper.contains(CALLED) {
        Ok(())
    } else {
        Err(wrong(format!("the template does not say `{CALLED}`"), path, template))
    }
}

fn wrong(problem: String, path: &str, text: &str) -> ReportError {
    ReportError::Source { problem, place: Box::new(Place::at(path, text, 0)), hint: Some(HINT.to_owned()) }
}

/// The names that a file gives to others.
fn defined(file: &SyntaxNode) -> Vec<String> {
    let mut names = Vec::new();
    for node in file.children() {
        if let Some(binding) = node.cast::<ast::LetBinding>() {
            names.extend(binding.kind().bindings().into_iter().map(|name| name.as_str().to_owned()));
        } else if let Some(import) = node.cast::<ast::ModuleImport>()
            && let Some(ast::Imports::Items(items)) = import.imports()
        {
            names.extend(items.iter().map(|item| item.bound_name().as_str().to_owned()));
        }
    }
    names
}

/// What Typst says of a copy in the build folder, said of the file that it is a copy of.
pub(super) fn as_written(error: ReportError, project: &Project, own: Option<&str>) -> ReportError {
    match error {
        ReportError::Compile { messages } => {
            let copies = [STYLE, VALUES].map(|name| (format!("report/build/lib/{name}"), path(project, own, name)));
            let of_file = |messages: String, (copy, file): (String, String)| messages.replace(&copy, &file);
            ReportError::Compile { messages: copies.into_iter().fold(messages, of_file) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_lacks_something_is_named_with_what_it_lacks() {
        let whole = "#import \"x.typ\": a as appendix\n#let paper(body) = body\n#let backmatter = heading\n";
        check_style("v/acl.typ", whole).unwrap();
        let within = whole.replace("#let paper(body) = body", "#{ let paper(body) = body }");
        let refused = check_style("v/acl.typ", &within).unwrap_err().to_string();
        assert!(refused.contains("defines no `paper`") && refused.contains("--> v/acl.typ:1:1"), "{refused}");
        check_paper("v/paper.typ.tera", "", "#outline-for-checks\n").unwrap();
        let refused = check_paper("v/paper.typ.tera", "= A\n", "= A\n").unwrap_err().to_string();
        assert!(refused.contains("v/paper.typ.tera:1:1") && refused.contains("docs/formats/paper.md"), "{refused}");
    }
}
