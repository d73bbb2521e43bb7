//! What a section says in its own words: sentences of words and calls, and typed tables, as Typst's parser sees them.
//! Comments, code, links, labels and the arguments of calls are no words.

use typst_syntax::ast::{self, Expr};
use typst_syntax::{LinkedNode, SyntaxKind, parse};

use crate::section::{Call, Section};

/// A word, a call or a name, where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    /// As it is written.
    pub raw: &'a str,
    /// Byte offset in the section.
    pub offset: usize,
    pub kind: Kind<'a>,
    /// Whether nothing stands between it and the token before.
    pub glued: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    Word,
    /// A call of one of the paper's functions.
    Call(&'a Call),
    /// A name in the face of code.
    Name,
    Formula,
}

impl<'a> Token<'a> {
    /// Without punctuation around it.
    pub(crate) fn bare(&self) -> &'a str {
        self.raw
            .trim_matches(|c: char| !c.is_alphanumeric() && !"%-\u{2212}+".contains(c))
            .trim_end_matches(['-', '\u{2212}'])
    }

    /// In small letters, without punctuation and hyphens: `warm-up` and `Warmup` are one word.
    pub(crate) fn plain(&self) -> String {
        self.bare().to_lowercase().replace(['-', '_'], "")
    }

    pub(crate) fn call(&self) -> Option<&'a Call> {
        match self.kind {
            Kind::Call(call) => Some(call),
            _ => None,
        }
    }
}

/// What a text is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Prose,
    /// Of a list.
    Item,
    Caption,
    Cell,
}

#[derive(Clone, Debug)]
pub(super) struct Sentence<'a> {
    pub tokens: Vec<Token<'a>>,
    pub part: Part,
}

impl<'a> Sentence<'a> {
    pub(crate) fn calls(&self) -> impl Iterator<Item = &'a Call> {
        self.tokens.iter().filter_map(Token::call)
    }

    /// Its words in small letters with a blank around each, to look for phrases in.
    pub(crate) fn plain(&self) -> String {
        let words = self.tokens.iter().filter(|token| token.call().is_none()).map(Token::plain);
        format!(" {} ", words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
    }

    /// The source from its first to its last word.
    pub(crate) fn source(&self, text: &'a str) -> &'a str {
        let end = self.tokens.last().map_or(0, |last| last.offset + last.raw.len());
        self.tokens.first().and_then(|first| text.get(first.offset..end)).unwrap_or_default()
    }
}

/// A row of a typed table or list: its name, and what is typed behind it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub name: String,
    pub cells: Vec<String>,
    pub offset: usize,
}

/// A section in its own words.
#[derive(Debug, Default)]
pub(super) struct Text<'a> {
    pub sentences: Vec<Sentence<'a>>,
    pub rows: Vec<Row>,
}

impl<'a> Text<'a> {
    pub(crate) fn of(section: &'a Section) -> Self {
        let tree = parse(&section.text);
        let mut reader =
            Reader { section, blocks: vec![(Part::Prose, Vec::new())], at: 0, spaced: true, rows: Vec::new() };
        reader.node(&LinkedNode::new(&tree));
        let rows = std::mem::take(&mut reader.rows);
        let of_block = |(part, tokens)| sentences(tokens).into_iter().map(move |tokens| Sentence { tokens, part });
        let sentences = reader.blocks.into_iter().flat_map(of_block);
        let mut text = Text { sentences: sentences.collect(), rows };
        let items: Vec<Row> = text.sentences.iter().filter(|s| s.part == Part::Item).filter_map(list_row).collect();
        text.rows.extend(items);
        text
    }
}

/// `before: 2.410 nats, 64.7%` as a row.
fn list_row(sentence: &Sentence) -> Option<Row> {
    let colon = sentence.tokens.iter().position(|token| token.raw.ends_with(':'))?;
    let (name, rest) = sentence.tokens.split_at(colon + 1);
    let name = name.iter().map(Token::bare).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let cells = rest.iter().filter(|token| token.call().is_none()).map(|token| token.bare().to_owned()).collect();
    Some(Row { name, cells, offset: sentence.tokens[0].offset })
}

struct Reader<'a> {
    section: &'a Section,
    blocks: Vec<(Part, Vec<Token<'a>>)>,
    /// The block that is written to.
    at: usize,
    spaced: bool,
    rows: Vec<Row>,
}

impl<'a> Reader<'a> {
    fn push(&mut self, offset: usize, raw: &'a str, kind: Kind<'a>) {
        let glued = !std::mem::replace(&mut self.spaced, false);
        self.blocks[self.at].1.push(Token { raw, offset, kind, glued });
    }

    fn words(&mut self, offset: usize, text: &'a str) {
        let mut at = 0;
        for piece in text.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end();
            if !word.is_empty() {
                self.push(offset + at, word, Kind::Word);
            }
            self.spaced |= word.len() < piece.len();
            at += piece.len();
        }
    }

    /// A text apart, after which the one before goes on.
    fn apart(&mut self, part: Part, read: impl FnOnce(&mut Self)) -> usize {
        let before = (self.at, self.spaced);
        self.blocks.push((part, Vec::new()));
        let own = self.blocks.len() - 1;
        (self.at, self.spaced) = (own, true);
        read(self);
        (self.at, self.spaced) = before;
        own
    }

    fn new_paragraph(&mut self) {
        self.blocks.push((Part::Prose, Vec::new()));
        (self.at, self.spaced) = (self.blocks.len() - 1, true);
    }

    fn source(&self, node: &LinkedNode) -> &'a str {
        self.section.text.get(node.range()).unwrap_or_default()
    }

    fn children(&mut self, node: &LinkedNode) {
        node.children().for_each(|child| self.node(&child));
    }

    fn node(&mut self, node: &LinkedNode) {
        match node.kind() {
            SyntaxKind::Text => self.words(node.offset(), self.source(node)),
            SyntaxKind::Escape => {
                let source = self.source(node);
                self.push(node.offset() + 1, source.get(1..).unwrap_or_default(), Kind::Word);
            }
            SyntaxKind::Shorthand if self.source(node) == "~" => self.spaced = true,
            SyntaxKind::Shorthand => self.push(node.offset(), self.source(node), Kind::Word),
            SyntaxKind::Space | SyntaxKind::Linebreak | SyntaxKind::Ref | SyntaxKind::Link => self.spaced = true,
            SyntaxKind::Parbreak => self.new_paragraph(),
            SyntaxKind::Heading => {
                self.apart(Part::Prose, |reader| reader.children(node));
                self.new_paragraph();
            }
            SyntaxKind::ListItem | SyntaxKind::EnumItem | SyntaxKind::TermItem => {
                self.apart(Part::Item, |reader| reader.children(node));
            }
            SyntaxKind::Raw => self.push(node.offset(), self.source(node), Kind::Name),
            SyntaxKind::Equation => self.push(node.offset(), self.source(node), Kind::Formula),
            SyntaxKind::FuncCall => self.call(node),
            SyntaxKind::Str => {
                let source = self.source(node);
                self.words(node.offset() + 1, source.trim_matches('"'));
            }
            SyntaxKind::ModuleImport
            | SyntaxKind::ModuleInclude
            | SyntaxKind::LineComment
            | SyntaxKind::BlockComment
            | SyntaxKind::Label => {}
            SyntaxKind::LetBinding | SyntaxKind::SetRule | SyntaxKind::ShowRule | SyntaxKind::Named => self.code(node),
            _ => self.children(node),
        }
    }

    /// The texts in code.
    fn code(&mut self, node: &LinkedNode) {
        for child in node.children() {
            match child.kind() {
                SyntaxKind::ContentBlock => drop(self.apart(Part::Caption, |reader| reader.children(&child))),
                SyntaxKind::FuncCall => self.call(&child),
                _ => self.code(&child),
            }
        }
    }

    fn call(&mut self, node: &LinkedNode) {
        const INLINE: [&str; 12] = [
            "emph",
            "strong",
            "text",
            "underline",
            "highlight",
            "quote",
            "link",
            "box",
            "sub",
            "super",
            "smallcaps",
            "backmatter",
        ];
        let Some(call) = node.get().cast::<ast::FuncCall>() else { return };
        let name = match call.callee() {
            Expr::Ident(name) => name.as_str().to_owned(),
            _ => String::new(),
        };
        let Some(list) = node.children().find(|child| child.kind() == SyntaxKind::Args) else { return };
        if let Some(own) = self.section.calls.iter().find(|own| own.offset == node.offset()) {
            self.push(node.offset(), self.source(node), Kind::Call(own));
            // What is a text of the page in it, such as a caption, stands apart.
            self.code(&list);
        } else if name == "raw" {
            self.push(
                node.offset(),
                list.children().find(|c| c.kind() == SyntaxKind::Str).map_or("", |c| self.source(&c)),
                Kind::Name,
            );
        } else if name == "table" || name == "grid" {
            self.table(&list, columns(&list));
        } else if INLINE.contains(&name.as_str()) {
            for child in list.children() {
                match child.kind() {
                    SyntaxKind::ContentBlock => self.children(&child),
                    SyntaxKind::FuncCall => self.call(&child),
                    _ => {}
                }
            }
        } else {
            self.code(&list);
        }
    }

    fn table(&mut self, list: &LinkedNode, columns: usize) {
        let mut cells = Vec::new();
        self.cells(list, &mut cells);
        for row in cells.chunks(columns.max(1)) {
            let [(name, offset), rest @ ..] = row else { continue };
            let cells = rest.iter().map(|(text, _)| text.clone()).collect();
            self.rows.push(Row { name: name.clone(), cells, offset: *offset });
        }
    }

    /// The typed text of each cell; of what is bound nothing is typed.
    fn cells(&mut self, list: &LinkedNode, cells: &mut Vec<(String, usize)>) {
        for item in list.children() {
            match item.kind() {
                SyntaxKind::ContentBlock | SyntaxKind::Str => {
                    let block = self.apart(Part::Cell, |reader| reader.node(&item));
                    let typed =
                        self.blocks[block].1.iter().filter(|token| token.call().is_none()).map(|token| token.raw);
                    cells.push((typed.collect::<Vec<_>>().join(" "), item.offset()));
                }
                SyntaxKind::FuncCall => {
                    let callee = item.children().next().map_or("", |callee| self.source(&callee));
                    let inner = item.children().find(|child| child.kind() == SyntaxKind::Args);
                    match (callee, inner) {
                        ("table.header" | "table.footer" | "grid.header" | "grid.footer", Some(inner)) => {
                            self.cells(&inner, cells)
                        }
                        ("table.hline" | "table.vline" | "grid.hline" | "grid.vline", _) => {}
                        _ => {
                            self.apart(Part::Cell, |reader| reader.call(&item));
                            cells.push((String::new(), item.offset()));
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn columns(list: &LinkedNode) -> usize {
    let named = list
        .children()
        .find(|item| item.get().cast::<ast::Named>().is_some_and(|named| named.name().as_str() == "columns"));
    let Some(named) = named.as_ref().and_then(|named| named.get().cast::<ast::Named>()) else { return 1 };
    match named.expr() {
        Expr::Int(count) => usize::try_from(count.get()).unwrap_or(1),
        Expr::Array(array) => array.items().count(),
        _ => 1,
    }
}

/// Cuts a text where a sentence ends.
fn sentences(tokens: Vec<Token>) -> Vec<Vec<Token>> {
    const SHORTENED: [&str; 10] = ["e.g.", "i.e.", "al.", "cf.", "vs.", "fig.", "sec.", "tab.", "approx.", "resp."];
    let mut all = vec![Vec::new()];
    let count = tokens.len();
    for at in 0..count {
        let token = tokens[at];
        all.last_mut().expect("there is one").push(token);
        let closed = token.raw.trim_end_matches([')', ']', '"', '\'', '\u{201d}']);
        let ends = matches!(token.kind, Kind::Word)
            && closed.ends_with(['.', '?', '!'])
            && !SHORTENED.contains(&closed.trim_start_matches('(').to_lowercase().as_str());
        let next_begins = tokens.get(at + 1).is_none_or(|next| {
            !next.glued
                && (!matches!(next.kind, Kind::Word)
                    || next.raw.chars().find(|c| c.is_alphanumeric()).is_none_or(|c| !c.is_lowercase()))
        });
        if ends && next_begins && at + 1 < count {
            all.push(Vec::new());
        }
    }
    all.retain(|sentence| !sentence.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Vec<String> {
        let section = Section::new("x.typ".to_owned(), source.to_owned());
        Text::of(&section).sentences.iter().map(|sentence| sentence.plain().trim().to_owned()).collect()
    }

    #[test]
    fn sentences_are_the_words_of_the_page_and_nothing_else() {
        let source = "= A Heading 1\n// a comment 2\nIt is *not* 3.5, e.g. here (@fig:x). Is #value(\"a\", \"k\", error: true)% it?\n\n\
            #let x = 7\n- an item: 8\n+ a step\n\n#figure(table(columns: 2, [a], [9]), caption: [See. It.]) <tab:y> `raw 10` https://example.org/11";
        assert_eq!(
            read(source),
            [
                "a heading 1",
                "it is not 3.5 e.g here",
                "is % it",
                "an item 8",
                "a step",
                "raw 10",
                "a",
                "9",
                "see",
                "it"
            ]
        );
    }

    #[test]
    fn rows_are_read_from_tables_and_lists() {
        let source = "#table(columns: (1fr, 1fr, 1fr), table.header([x], [y], [z]), table.hline(), [one], [1.5], \"2\", [two], [#value(\"a\", \"k\")], [3])\n\n- before: 2.4 nats, 64%\n";
        let section = Section::new("x.typ".to_owned(), source.to_owned());
        let rows: Vec<(String, String)> =
            Text::of(&section).rows.into_iter().map(|row| (row.name, row.cells.join("|"))).collect();
        let expected = [("x", "y|z"), ("one", "1.5|2"), ("two", "|3"), ("before", "2.4|nats|64%")];
        assert_eq!(rows, expected.map(|(name, cells)| (name.to_owned(), cells.to_owned())));
    }
}
