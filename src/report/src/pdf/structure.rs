//! The tags of a PDF: figures, tables and formulas with the text for readers who do not see them.

use std::collections::BTreeSet;

use lopdf::{Dictionary, Document, Object, ObjectId};

use super::{dictionary, text};

/// A tagged figure, table or formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    /// `Figure`, `Table` or `Formula`.
    pub kind: String,
    /// The page that it is on, from 1, where that is said.
    pub page: Option<usize>,
    /// What stands for it.
    pub alt: Option<String>,
    /// Its marked content: the page, from 1, and the number there.
    pub content: Vec<(usize, i64)>,
}

/// More nodes than this are no paper.
const MOST: usize = 2_000_000;

/// All figures, tables and formulas of the tree of tags.
pub(super) fn elements(document: &Document, catalog: &Dictionary, pages: &[ObjectId]) -> Vec<Element> {
    let mut found = Vec::new();
    let Some(root) = dictionary(document, catalog, b"StructTreeRoot") else { return found };
    let (mut nodes, mut seen) = (vec![(root, None)], BTreeSet::new());
    while let Some((node, page)) = nodes.pop() {
        let page_of = |node: &Dictionary| {
            let id = node.get(b"Pg").ok()?.as_reference().ok()?;
            pages.iter().position(|page| *page == id).map(|at| at + 1)
        };
        let page = page_of(node).or(page);
        let mut kids = Vec::new();
        if let Ok(object) = node.get_deref(b"K", document) {
            match object {
                Object::Array(items) => kids.extend(items),
                Object::Dictionary(_) => kids.extend(node.get(b"K")),
                _ => {}
            }
        }
        let kind = node.get(b"S").and_then(Object::as_name).map(|name| String::from_utf8_lossy(name).into_owned());
        if let Ok(kind) = kind
            && ["Figure", "Table", "Formula"].contains(&kind.as_str())
        {
            let alt = text(document, node, b"Alt").filter(|alt| !alt.trim().is_empty());
            let content = |kid: &&Object| {
                let (_, kid) = document.dereference(kid).ok()?;
                let reference = kid.as_dict().ok();
                let number = reference.map_or(Ok(kid), |of| of.get(b"MCID")).ok()?.as_i64().ok()?;
                Some((reference.and_then(page_of).or(page)?, number))
            };
            let content: Vec<(usize, i64)> = kids.iter().filter_map(content).collect();
            let page = page.or(content.first().map(|(page, _)| *page));
            found.push(Element { kind, page, alt, content });
        }
        for kid in kids {
            let (id, object) = match document.dereference(kid) {
                Ok(found) => found,
                Err(_) => continue,
            };
            if id.is_some_and(|id| !seen.insert(id)) || seen.len() > MOST {
                continue;
            }
            if let Ok(kid) = object.as_dict() {
                nodes.push((kid, page));
            }
        }
    }
    found.reverse();
    found
}
