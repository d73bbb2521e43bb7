//! A copy of the paper in which each number has the colour of what stands behind it. What is typed is marked in copies of
//! the sections; what is bound, `values.typ` colours where it sets it.

use harness_core::files::{self, FileError};
use harness_core::names::Project;
use typst_syntax::ast::{self, Expr};
use typst_syntax::{LinkedNode, Side, SyntaxKind, parse};

use super::lint::{Backed, Marked};
use super::made::Made;
use super::section::{Section, literal};
use super::{BUILD, IMPORT};

/// Its source, relative to the project.
pub(super) const PAPER: &str = "report/build/paper-annotated.typ";

/// Writes the source, with copies of the sections beside it.
pub(super) fn write(project: &Project, made: &Made, typed: &[Vec<Marked>]) -> Result<(), FileError> {
    let mut paper = String::from_utf8_lossy(made.file("paper.typ")).into_owned();
    for (section, marks) in made.sections.iter().zip(typed) {
        let name = section.path.rsplit('/').next().unwrap_or(&section.path);
        let copy = format!("{BUILD}/annotated/{name}");
        files::write(&project.root().join(&copy), marked(section, marks).as_bytes())?;
        paper = paper.replace(&literal(&format!("/{}", section.path)), &literal(&format!("/{copy}")));
    }
    files::write(&project.root().join(PAPER), paper.as_bytes())
}

/// The section with a call around each number that is typed.
fn marked(section: &Section, marks: &[Marked]) -> String {
    let tree = parse(&section.text);
    let root = LinkedNode::new(&tree);
    let mut edits = Vec::new();
    for (offset, length, backed) in marks {
        let is_text =
            |leaf: LinkedNode| matches!(leaf.kind(), SyntaxKind::Text | SyntaxKind::MathText | SyntaxKind::Shorthand);
        // In a string of code nothing can be marked.
        if root.leaf_at(*offset, Side::After).is_some_and(is_text) {
            let name = if *backed == Backed::Allowed { "allowed-number" } else { "unbacked-number" };
            edits.push((*offset, format!("#{name}[")));
            edits.push((offset + length, "];".to_owned()));
        }
    }
    from_here(&root, &section.path, &mut edits);
    edits.sort_by_key(|(at, _)| *at);
    let (mut text, mut from) = (String::new(), 0);
    for (at, edit) in edits {
        text.push_str(&section.text[from..at]);
        text.push_str(&edit);
        from = at;
    }
    text.push_str(&section.text[from..]);
    if section.imports { text } else { format!("{IMPORT}\n{text}") }
}

/// Images of the authors' own are found from where their section stands.
fn from_here(node: &LinkedNode, path: &str, edits: &mut Vec<(usize, String)>) {
    let is_image = node
        .get()
        .cast::<ast::FuncCall>()
        .is_some_and(|call| matches!(call.callee(), Expr::Ident(name) if name.as_str() == "image"));
    if is_image {
        let list = node.children().find(|child| child.kind() == SyntaxKind::Args);
        let file = list.and_then(|list| {
            list.children()
                .find(|child| child.kind() == SyntaxKind::Str)
                .map(|file| (file.offset(), file.get().cast::<ast::Str>().map(|text| text.get().to_string())))
        });
        if let Some((offset, Some(file))) = file
            && !file.starts_with('/')
        {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            edits.push((offset + 1, format!("/{folder}/")));
        }
    }
    node.children().for_each(|child| from_here(&child, path, edits));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_numbers_are_marked_and_the_rest_stays_as_it_is() {
        let source = "It is 1.5(x) or -0.2, #image(\"a.svg\") $y = 3.5$.";
        let section = Section::new("report/sections/x.typ".to_owned(), source.to_owned());
        let at = |text: &str| source.find(text).unwrap();
        let marks = [
            (at("1.5"), 3, Backed::No),
            (at("-0.2"), 4, Backed::Allowed),
            (at("3.5"), 3, Backed::No),
            (at("svg"), 1, Backed::No),
        ];
        let expected = format!(
            "{IMPORT}\nIt is #unbacked-number[1.5];(x) or #allowed-number[-0.2];, #image(\"/report/sections/a.svg\") $y = #unbacked-number[3.5];$."
        );
        assert_eq!(marked(&section, &marks), expected);
    }
}
