//! Finds the calls of the paper's own functions in a section's source, so that a wrong name is shown at its line and
//! column with the nearest right one, before Typst sees the file. Only literal arguments can be checked here; a name
//! that is computed fails in Typst, with its message.

use super::error::Place;

/// The functions of `values.typ` whose arguments name something.
pub(super) const FUNCTIONS: [&str; 10] =
    ["value", "delta", "compare", "count", "fact", "prose", "table-of", "figure-of", "citep", "citet"];

/// One call with its literal positional arguments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub function: &'static str,
    pub arguments: Vec<Argument>,
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

/// A scanned section.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Path relative to the project.
    pub path: String,
    pub text: String,
    pub calls: Vec<Call>,
}

impl Section {
    pub fn new(path: String, text: String) -> Self {
        let calls = calls(&text);
        Section { path, text, calls }
    }

    pub fn place(&self, argument: &Argument) -> Place {
        Place::at(&self.path, &self.text, argument.offset)
    }

    pub fn calls_of(&self, functions: &[&str]) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| functions.contains(&call.function))
    }
}

/// The calls in a Typst source, in order. Comments and raw text are skipped.
pub(super) fn calls(source: &str) -> Vec<Call> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') && (at == 0 || bytes[at - 1] != b':') => {
                at = source[at..].find('\n').map_or(bytes.len(), |end| at + end);
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = after_comment(source, at),
            b'`' => at = after_raw(source, at),
            b'\\' => at += 2,
            b if b.is_ascii_alphabetic() && !continues(bytes, at) => {
                let end = at + source[at..].bytes().take_while(|b| is_name(*b)).count();
                let name = &source[at..end];
                if let Some(function) = FUNCTIONS.into_iter().find(|f| *f == name)
                    && bytes.get(end) == Some(&b'(')
                {
                    let swallowed = (at > 0 && bytes[at - 1] == b'#').then(|| after_call(source, end)).flatten();
                    let swallowed = swallowed.filter(|behind| bytes.get(*behind) == Some(&b';'));
                    found.push(Call { function, arguments: arguments(source, end + 1), swallowed });
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    found
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn continues(bytes: &[u8], at: usize) -> bool {
    at > 0 && (is_name(bytes[at - 1]) || bytes[at - 1] == b'.' || !bytes[at - 1].is_ascii())
}

fn after_comment(source: &str, start: usize) -> usize {
    let mut depth = 0;
    let bytes = source.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn after_raw(source: &str, start: usize) -> usize {
    let ticks = source[start..].bytes().take_while(|b| *b == b'`').count();
    if ticks == 2 {
        return start + 2;
    }
    let close = "`".repeat(ticks);
    source[start + ticks..].find(&close).map_or(source.len(), |end| start + ticks + end + ticks)
}

/// The offset behind the parenthesis that closes the one at `open`, and behind content that follows it.
fn after_call(source: &str, open: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    let (mut at, mut depth) = (open, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string(source, at)?.1 - 1,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 && bytes.get(at) != Some(&b'[') {
            return Some(at);
        }
    }
    None
}

/// The string literals that stand first in an argument list; ends at the first argument that is none.
fn arguments(source: &str, mut at: usize) -> Vec<Argument> {
    let mut found = Vec::new();
    loop {
        at += source[at..].len() - source[at..].trim_start().len();
        if !source[at..].starts_with('"') {
            return found;
        }
        let Some((text, end)) = string(source, at) else { return found };
        let rest = source[end..].trim_start();
        if !rest.starts_with(',') && !rest.starts_with(')') {
            return found;
        }
        found.push(Argument { text, offset: at });
        at = end + (source[end..].len() - rest.len());
        if rest.starts_with(')') {
            return found;
        }
        at += 1;
    }
}

/// The string literal at `start` and the offset behind its closing quote.
fn string(source: &str, start: usize) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut letters = source[start + 1..].char_indices();
    while let Some((offset, letter)) = letters.next() {
        match letter {
            '"' => return Some((out, start + 1 + offset + 1)),
            '\\' => match letters.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'u' => {
                    let rest = letters.as_str();
                    let code = rest.strip_prefix('{')?.split_once('}')?.0;
                    out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                    let _ = letters.nth(code.chars().count() + 1);
                }
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
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

    fn texts(source: &str) -> Vec<(&'static str, Vec<String>)> {
        let texts = |call: Call| call.arguments.into_iter().map(|a| a.text).collect();
        calls(source).into_iter().map(|call| (call.function, texts(call))).collect()
    }

    #[test]
    fn calls_are_found_with_their_literal_arguments() {
        let source = "It is #value(\"a\", \"b.c\") and #delta(\n  \"a\", \"b\",\n \"k\", error: true).\n\
            // #value(\"comment\", \"x\")\n/* #value(\"comment\") /* nested */ */ `#value(\"raw\")`\n\
            See https://example.org/ #citep(\"x\", \"y\"); #my-value(\"no\") #a.value(\"no\") #value(name, \"k\")";
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            texts(source),
            [
                ("value", strings(&["a", "b.c"])),
                ("delta", strings(&["a", "b", "k"])),
                ("citep", strings(&["x", "y"])),
                ("value", strings(&[])),
            ]
        );
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
        let place = section.place(&section.calls[0].arguments[1]);
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
        fn any_source_can_be_scanned(source in any::<String>()) {
            calls(&source);
        }
    }
}
