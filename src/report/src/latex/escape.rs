//! Text that TeX sets as it is. Whatever a text holds, what comes out is letters, and commands from the tables here: no
//! character of it keeps a meaning of its own to TeX.

use super::symbols;

/// What stands where a character cannot be set, and can be searched for.
pub(super) fn unset(letter: char) -> String {
    format!("\\notcarried{{U+{:04X}}}", letter as u32)
}

/// A text for a paragraph. `unknown` hears of each character that the fonts of pdfLaTeX do not have.
pub(super) fn text(text: &str, unknown: &mut dyn FnMut(char)) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    for letter in text.chars() {
        // What TeX would join to one sign.
        if matches!((before, letter), ('-', '-') | ('\'', '\'') | (',', ',') | ('?' | '!', '`')) {
            out.push_str("{}");
        }
        before = letter;
        match letter {
            '\\' => out.push_str("\\textbackslash{}"),
            '{' => out.push_str("\\textbraceleft{}"),
            '}' => out.push_str("\\textbraceright{}"),
            '#' | '$' | '%' | '&' | '_' => out.extend(['\\', letter]),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '"' => out.push_str("\\textquotedbl{}"),
            '`' => out.push_str("\\textasciigrave{}"),
            '\n' | '\r' | '\t' => out.push(' '),
            ' '..='~' => out.push(letter),
            _ => match symbols::in_text(letter) {
                Some(command) => out.push_str(&command),
                None => {
                    unknown(letter);
                    out.push_str(&unset(letter));
                }
            },
        }
    }
    out
}

/// Code on one line. Where it is long it may be broken behind its punctuation.
pub(super) fn code(source: &str, unknown: &mut dyn FnMut(char)) -> String {
    const UNBROKEN: usize = 24;
    let parts = source.split_inclusive(['-', '_', '.', '/', ',', '=', ':']);
    // An apostrophe of code is straight.
    let set = parts.map(|part| text(part, unknown).replace('\'', "\\textquotesingle{}").replace('-', "{-}"));
    let may_break = source.chars().count() > UNBROKEN;
    format!("\\texttt{{{}}}", set.collect::<Vec<_>>().join(if may_break { "\\allowbreak{}" } else { "" }))
}

/// An address for `\href` and `\url`: what is not plain ASCII of an address is written as its bytes.
pub(super) fn address(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for byte in url.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'.' | b':' | b'/' | b'?' | b'=' | b'+' | b',' | b';' | b'@' | b'!' | b'*' | b'(' | b')' | b'['
            | b']' => {
                out.push(char::from(byte));
            }
            b'#' | b'%' | b'&' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// An address within an argument of another command, where `%` and `#` would end a line or name an argument.
pub(super) fn address_in_argument(url: &str) -> String {
    address(url).replace('%', "\\%").replace('#', "\\#").replace('&', "\\&").replace('~', "\\string~")
}

/// The name of a label, a value or a file: letters, digits and what is harmless everywhere.
pub(super) fn name(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':' | b'/' | b'+' => out.push(char::from(byte)),
            b'_' => out.push('_'),
            _ => out.push_str(&format!("={byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_command() {
        let set = |source: &str| text(source, &mut |_| {});
        assert_eq!(set("\\input{/etc/passwd}"), "\\textbackslash{}input\\textbraceleft{}/etc/passwd\\textbraceright{}");
        assert_eq!(set("50% of $x_1 & #2 ~ ^"), "50\\% of \\$x\\_1 \\& \\#2 \\textasciitilde{} \\textasciicircum{}");
        assert_eq!(set("a--b --- ''"), "a-{}-b -{}-{}- '{}'");
        assert_eq!(set("−0.5 ± α\u{a0}é"), "\\ensuremath{-}0.5 \\ensuremath{\\pm} \\ensuremath{\\alpha}~é");
        assert_eq!(set("\u{202e}"), "\\notcarried{U+202E}");
    }

    #[test]
    fn an_address_is_plain_ascii() {
        assert_eq!(address("https://e.org/ä\\write18{x}#a_b"), "https://e.org/%C3%A4%5Cwrite18%7Bx%7D#a_b");
        assert_eq!(address_in_argument("https://e.org/%20#a"), "https://e.org/\\%20\\#a");
    }

    /// Commands of a text that `text` gave.
    fn commands(set: &str) -> Vec<String> {
        let mut out = Vec::new();
        let mut rest = set;
        while let Some(at) = rest.find('\\') {
            rest = &rest[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len()).max(1);
            let end = (end..=rest.len()).find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
            out.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        out
    }

    proptest! {
        #[test]
        fn every_command_is_one_of_ours_and_braces_are_balanced(source in any::<String>(), hostile in "[\"\\\\#;\\[\\]$`*/@{}<>%&~^_'-]{0,16}(input|write18|csname|def|end)?[{}\\\\]{0,3}") {
            for source in [source.clone(), hostile.clone(), format!("{hostile}{source}")] {
                for set in [text(&source, &mut |_| {}), code(&source, &mut |_| {})] {
                    for command in commands(&set) {
                        let known = symbols::is_command(&command)
                            || ["textbackslash", "textbraceleft", "textbraceright", "textasciitilde", "textasciicircum",
                                "textless", "textgreater", "textquotedbl", "textasciigrave", "textquotesingle", "notcarried",
                                "texttt", "allowbreak", "#", "$", "%", "&", "_"].contains(&command.as_str());
                        prop_assert!(known, "{} in {}", command, set);
                    }
                    let bare = set.replace("\\#", "").replace("\\$", "").replace("\\%", "").replace("\\&", "").replace("\\_", "");
                    prop_assert!(!bare.contains(['#', '%', '&']), "{}", set);
                    let mut depth = 0i32;
                    for letter in bare.chars() {
                        depth += i32::from(letter == '{') - i32::from(letter == '}');
                        prop_assert!(depth >= 0, "{}", set);
                    }
                    prop_assert_eq!(depth, 0, "{}", set);
                }
                let holds = |set: String, none_of: &[u8]| set.bytes().all(|b| b.is_ascii_graphic() && !none_of.contains(&b));
                prop_assert!(holds(address(&source), b"\\{}^$\"<>`|"), "{}", source);
                prop_assert!(holds(name(&source), b"\\{}^$#%&~"), "{}", source);
            }
        }
    }
}
