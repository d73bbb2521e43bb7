//! Where in its source stands what could not be carried over.

use std::collections::BTreeSet;

use typst_syntax::{LinkedNode, SyntaxKind, parse};

use super::gathered::Loss;
use crate::check_format::Finding;
use crate::section::Section;

/// Calls that give a text a look of its own.
const STYLING: [&str; 4] = ["text", "upper", "lower", "par"];

pub(super) fn findings(sections: &[Section], losses: &BTreeSet<Loss>) -> Vec<Finding> {
    losses.iter().map(|loss| finding(&sections[loss.section], loss)).collect()
}

fn finding(section: &Section, loss: &Loss) -> Finding {
    let place = match offset(section, loss) {
        Some(offset) => section.place(offset).short(),
        None => section.path.clone(),
    };
    let near = if loss.near.is_empty() { String::new() } else { format!(", near \u{201c}{}\u{201d}", loss.near) };
    let (problem, hint) = match loss.what.as_str() {
        "styled" => (
            format!("what a style changes (`set`, `show`, `text`) is not carried over to LaTeX{near}"),
            "the words are there, their look is that of the style; a section that leaves looks to the template has none of this",
        ),
        "context" => (
            "what `context` shows is known only when Typst lays the paper out, so LaTeX does not have it".to_owned(),
            "write what it shows, or leave it out of the section; the place is marked in the LaTeX",
        ),
        what if what.starts_with("character ") => (
            format!("pdfLaTeX has no {what}{near}"),
            "spell it in Latin letters, or compile with LuaLaTeX and a font that has it; the place is marked in the LaTeX",
        ),
        what => (
            format!("`{what}` is not carried over to LaTeX as it is{near}"),
            "docs/formats/paper.md lists what is; what it holds is there as text, or its place is marked",
        ),
    };
    Finding::new("latex", problem, hint).at(place)
}

fn offset(section: &Section, loss: &Loss) -> Option<usize> {
    let letter = |code: &str| char::from_u32(u32::from_str_radix(code, 16).ok()?);
    if let Some(letter) = loss.what.strip_prefix("character U+").and_then(letter) {
        return section
            .text
            .match_indices(letter)
            .nth(loss.index)
            .or(section.text.match_indices(letter).next())
            .map(|(at, _)| at);
    }
    let name = loss.what.split(' ').next().unwrap_or_default();
    let tree = parse(&section.text);
    let mut found = Vec::new();
    collect(&LinkedNode::new(&tree), name, &mut found);
    found.get(loss.index).or(found.last()).copied().or_else(|| {
        let words: Vec<&str> = loss.near.split(' ').filter(|word| word.len() > 3).take(1).collect();
        words.first().and_then(|word| section.text.find(word))
    })
}

/// Offsets of what a loss of this name can come from, in order.
fn collect(node: &LinkedNode, name: &str, out: &mut Vec<usize>) {
    let is_call = matches!(node.kind(), SyntaxKind::FuncCall | SyntaxKind::MathCall);
    let called = node.children().next().filter(|_| is_call).map(|name| name.get().full_text());
    let callee = called.as_deref().map(|path| path.rsplit('.').next().unwrap_or(path));
    let is_it = match name {
        "styled" => {
            matches!(node.kind(), SyntaxKind::SetRule | SyntaxKind::ShowRule)
                || callee.is_some_and(|callee| STYLING.contains(&callee))
        }
        "context" => node.kind() == SyntaxKind::Contextual,
        name => callee == name.rsplit('.').next(),
    };
    if is_it {
        out.push(node.offset());
    }
    node.children().for_each(|child| collect(&child, name, out));
}
