//! A section as Typst's own parser reads it: the calls of the paper's functions, so that a wrong name is shown at its
//! line and column with the nearest right one before Typst sees the file. Only literal arguments can be checked here; a
//! name that is computed fails in Typst, with its message.

use typst_syntax::ast::{self, Expr};
use typst_syntax::{LinkedNode, SyntaxKind, parse};

use super::error::Place;

/// The functions of `values.typ` whose arguments name something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Value,
    Standing,
    Delta,
    Compare,
    Notes,
    Count,
    Fact,
    Prose,
    TableOf,
    FigureOf,
    Citep,
    Citet,
    Claim,
    Verdict,
    MeanOf,
    Checklist,
    Samples,
}

impl Function {
    const ALL: [(&str, Function); 17] = [
        ("value", Function::Value),
        ("standing", Function::Standing),
        ("delta", Function::Delta),
        ("compare", Function::Compare),
        ("notes", Function::Notes),
        ("count", Function::Count),
        ("fact", Function::Fact),
        ("prose", Function::Prose),
        ("table-of", Function::TableOf),
        ("figure-of", Function::FigureOf),
        ("citep", Function::Citep),
        ("citet", Function::Citet),
        ("claim", Function::Claim),
        ("verdict", Function::Verdict),
        ("mean-of", Function::MeanOf),
        ("checklist", Function::Checklist),
        ("samples", Function::Samples),
    ];

    fn of(name: &str) -> Option<Self> {
        Function::ALL.into_iter().find(|(own, _)| *own == name).map(|(_, function)| function)
    }
}

/// One call with its literal arguments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub function: Function,
    /// Byte offset of its name.
    pub offset: usize,
    /// The strings that stand first in it.
    pub arguments: Vec<Argument>,
    /// The string that is given for `over:`.
    pub over: Option<Argument>,
    /// What stands first in it, where a list of strings may stand for one string.
    pub lists: Vec<Vec<Argument>>,
    /// What else is given by name.
    pub named: Vec<Named>,
    /// Byte offset of a `;` right behind the call, which Typst takes as its end and does not print.
    pub swallowed: Option<usize>,
}

/// A string as it stands between the quotes, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Argument {
    pub text: String,
    /// Byte offset of its opening quote.
    pub offset: usize,
}

/// An argument that is given by its name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    pub name: String,
    /// Byte offset of the name.
    pub offset: usize,
    /// The string that is given; none if it is not a plain one.
    pub value: Option<Argument>,
}

/// A parsed section.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Path relative to the project.
    pub path: String,
    pub text: String,
    pub calls: Vec<Call>,
    /// Whether it takes in what another file defines.
    pub imports: bool,
}

impl Section {
    pub(crate) fn new(path: String, text: String) -> Self {
        let tree = parse(&text);
        let mut section = Section { path, text: String::new(), calls: Vec::new(), imports: false };
        section.walk(&LinkedNode::new(&tree));
        section.text = text;
        section
    }

    fn walk(&mut self, node: &LinkedNode) {
        self.imports |= node.kind() == SyntaxKind::ModuleImport;
        self.calls.extend(node.get().cast::<ast::FuncCall>().and_then(|call| Call::of(node, call)));
        node.children().for_each(|child| self.walk(&child));
    }

    pub(crate) fn place(&self, offset: usize) -> Place {
        Place::at(&self.path, &self.text, offset)
    }

    pub(crate) fn calls_of(&self, functions: &[Function]) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| functions.contains(&call.function))
    }
}

impl Call {
    fn of(node: &LinkedNode, call: ast::FuncCall) -> Option<Self> {
        let Expr::Ident(name) = call.callee() else { return None };
        let function = Function::of(name.as_str())?;
        let list = node.children().find(|child| child.kind() == SyntaxKind::Args)?;
        let mut found = Call {
            function,
            offset: node.offset(),
            arguments: Vec::new(),
            over: None,
            lists: Vec::new(),
            named: Vec::new(),
            swallowed: None,
        };
        let mut literal = true;
        for item in list.children().filter(|item| !item.kind().is_trivia()) {
            if matches!(item.kind(), SyntaxKind::Str | SyntaxKind::Array | SyntaxKind::Parenthesized) {
                found.lists.push(Argument::all_of(&item));
            }
            match item.kind() {
                SyntaxKind::Str if literal => found.arguments.extend(Argument::of(&item)),
                SyntaxKind::Named if is_named(&item, "over") => {
                    found.over = item.children().find_map(|child| Argument::of(&child));
                }
                SyntaxKind::Named => found.named.extend(Named::of(&item)),
                SyntaxKind::LeftParen | SyntaxKind::RightParen | SyntaxKind::Comma => {}
                _ => literal = false,
            }
        }
        let after = node.next_sibling().filter(|next| next.kind() == SyntaxKind::Semicolon);
        found.swallowed = after.map(|semicolon| semicolon.offset()).filter(|_| is_in_markup(node));
        Some(found)
    }
}

impl Named {
    fn of(node: &LinkedNode) -> Option<Self> {
        let name = node.get().cast::<ast::Named>()?.name().as_str().to_owned();
        // The value stands behind the name and the colon.
        let value = node.children().find_map(|child| Argument::of(&child));
        Some(Named { name, offset: node.offset(), value })
    }
}

impl Argument {
    /// A string, or the strings of a list.
    fn all_of(node: &LinkedNode) -> Vec<Self> {
        let of_list = || node.children().filter_map(|child| Argument::of(&child)).collect();
        Argument::of(node).map_or_else(of_list, |one| vec![one])
    }

    fn of(node: &LinkedNode) -> Option<Self> {
        let text: ast::Str = node.get().cast()?;
        Some(Argument { text: text.get().to_string(), offset: node.offset() })
    }
}

fn is_named(node: &LinkedNode, name: &str) -> bool {
    node.get().cast::<ast::Named>().is_some_and(|named| named.name().as_str() == name)
}

/// Whether a call stands in text, behind a `#`.
fn is_in_markup(node: &LinkedNode) -> bool {
    node.prev_sibling_kind() == Some(SyntaxKind::Hash)
}

/// A string literal of Typst that means exactly `text`: the one door through which text becomes source.
pub(super) fn literal(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            letter if letter.is_control() => out.push_str(&format!("\\u{{{:x}}}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn calls(source: &str) -> Vec<Call> {
        Section::new("x.typ".into(), source.into()).calls
    }

    fn texts(source: &str) -> Vec<(Function, Vec<String>)> {
        let texts = |call: Call| call.arguments.into_iter().map(|a| a.text).collect();
        calls(source).into_iter().map(|call| (call.function, texts(call))).collect()
    }

    #[test]
    fn calls_are_found_with_their_literal_arguments() {
        let source = "It is #value(\"a\", \"b.c\") and #delta(\n  \"a\", \"b\",\n \"k\", error: true).\n\
            // #value(\"comment\", \"x\")\n/* #value(\"comment\") /* nested */ */ `#value(\"raw\")`\n\
            See https://example.org/ #citep(\"x\", \"y\"); #my-value(\"no\") #a.value(\"no\") #value(name, \"k\")\n\
            value(\"is text\", \"here\") #strong[in #count(\"tasks\")] $ #fact(\"a\", \"b\") $";
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            texts(source),
            [
                (Function::Value, strings(&["a", "b.c"])),
                (Function::Delta, strings(&["a", "b", "k"])),
                (Function::Citep, strings(&["x", "y"])),
                (Function::Value, strings(&[])),
                (Function::Count, strings(&["tasks"])),
                (Function::Fact, strings(&["a", "b"])),
            ]
        );
    }

    #[test]
    fn an_axis_is_found_by_its_name() {
        let call = calls("#figure-of(\"validation\", \"a\", over: \"flops\", caption: [x])").remove(0);
        assert_eq!(call.over.map(|axis| (axis.text, axis.offset)), Some(("flops".to_owned(), 36)));
        assert_eq!(call.arguments.len(), 2);
    }

    #[test]
    fn a_semicolon_that_typst_would_swallow_is_seen() {
        let swallowed = |source: &str| calls(source)[0].swallowed;
        let source = "a #value(\"x\", \"y)\", error: true); b";
        assert_eq!(swallowed(source), source.find(';'));
        assert_eq!(swallowed("a #value(\"x\", \"y\"), b;"), None);
        assert_eq!(swallowed("#let x = value(\"x\", \"y\");"), None);
    }

    #[test]
    fn the_place_of_an_argument_is_that_of_its_quote() {
        let section = Section::new("report/sections/x.typ".into(), "One\nis ä #value(\"a\", \"wrong\")".into());
        let place = section.place(section.calls[0].arguments[1].offset);
        assert_eq!((place.line, place.column), (2, 18));
    }

    proptest! {
        #[test]
        fn a_literal_means_its_text_and_ends_where_it_ends(text in any::<String>(), hostile in "[\"\\\\#;\\[\\]$`*/@{}<>]{0,12}") {
            for text in [text.clone(), hostile.clone(), format!("{hostile}{text}")] {
                let source = format!("#value({}, \"end\")", literal(&text));
                let found = calls(&source);
                prop_assert_eq!(found.len(), 1);
                prop_assert_eq!(&found[0].arguments[0].text, &text);
                prop_assert_eq!(&found[0].arguments[1].text, "end");
            }
        }

        #[test]
        fn any_source_can_be_parsed(source in any::<String>()) {
            calls(&source);
        }
    }
}
