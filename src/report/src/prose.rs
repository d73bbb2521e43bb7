//! Texts of experiments (title, question, hypothesis, rationale) as pieces of data: text, paragraph ends and
//! citations written as `@key` (`Liu et al. (2020)`) or `[@a; @b]` (`(Liu et al., 2020; ...)`).

use serde::Serialize;

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Segment {
    Text { text: String },
    Paragraph,
    Citep { keys: Vec<String> },
    Citet { keys: Vec<String> },
}

impl Segment {
    /// The works that it cites.
    pub(crate) fn keys(&self) -> &[String] {
        match self {
            Segment::Citep { keys } | Segment::Citet { keys } => keys,
            Segment::Text { .. } | Segment::Paragraph => &[],
        }
    }
}

/// Cuts a text into its pieces. Everything that is not a citation is text, whatever it looks like.
pub(super) fn segments(text: &str) -> Vec<Segment> {
    let mut out: Vec<Segment> = Vec::new();
    for (index, paragraph) in text.trim().split("\n\n").filter(|p| !p.trim().is_empty()).enumerate() {
        if index > 0 {
            out.push(Segment::Paragraph);
        }
        cut(&paragraph.split_whitespace().collect::<Vec<_>>().join(" "), &mut out);
    }
    out
}

fn cut(text: &str, out: &mut Vec<Segment>) {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let at_word = !plain.chars().next_back().is_some_and(char::is_alphanumeric);
        let group = rest.strip_prefix('[').filter(|_| at_word).and_then(group);
        let single = rest.strip_prefix('@').filter(|_| at_word).and_then(key).map(|(k, end)| (vec![k], 1 + end));
        let found = match (group, single) {
            (Some((keys, end)), _) => Some((Segment::Citep { keys }, 1 + end)),
            (None, Some((keys, end))) => Some((Segment::Citet { keys }, end)),
            (None, None) => None,
        };
        match found {
            Some((segment, end)) => {
                if !plain.is_empty() {
                    out.push(Segment::Text { text: std::mem::take(&mut plain) });
                }
                out.push(segment);
                rest = &rest[end..];
            }
            None => {
                plain.push(letter);
                rest = &rest[letter.len_utf8()..];
            }
        }
    }
    if !plain.is_empty() {
        out.push(Segment::Text { text: plain });
    }
}

/// `@a; @b]`: the keys, and the length with the bracket.
fn group(text: &str) -> Option<(Vec<String>, usize)> {
    let end = text.find(']')?;
    let mut keys = Vec::new();
    for part in text[..end].split(';') {
        let (key, length) = key(part.trim().strip_prefix('@')?)?;
        if length != part.trim().len() - 1 {
            return None;
        }
        keys.push(key);
    }
    Some((keys, end + 1))
}

/// A citation key at the start of a text, and its length. It does not end with punctuation.
fn key(text: &str) -> Option<(String, usize)> {
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.' | '+' | '/');
    let end = text.find(|c| !is_key(c)).unwrap_or(text.len());
    let key = text[..end].trim_end_matches(['.', ':', '-', '/']);
    let starts = key.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    starts.then(|| (key.to_owned(), key.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Segment {
        Segment::Text { text: text.to_owned() }
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|k| (*k).to_owned()).collect()
    }

    #[test]
    fn citations_are_found_and_nothing_else() {
        let found =
            segments("As @liu2020 says [@a; @b:c], mail me@example.org or [not @this one] @9.\n\n#eval(1) \\ \"x\";");
        assert_eq!(
            found,
            [
                text("As "),
                Segment::Citet { keys: keys(&["liu2020"]) },
                text(" says "),
                Segment::Citep { keys: keys(&["a", "b:c"]) },
                text(", mail me@example.org or [not "),
                Segment::Citet { keys: keys(&["this"]) },
                text(" one] @9."),
                Segment::Paragraph,
                text("#eval(1) \\ \"x\";"),
            ]
        );
    }

    #[test]
    fn a_key_does_not_take_the_full_stop() {
        assert_eq!(segments("See @a2020."), [text("See "), Segment::Citet { keys: keys(&["a2020"]) }, text(".")]);
    }

    proptest! {
        #[test]
        fn no_letter_is_lost(source in any::<String>()) {
            let flat: String = segments(&source).into_iter().map(|segment| match segment {
                Segment::Text { text } => text,
                Segment::Paragraph => " ".to_owned(),
                Segment::Citep { keys } => format!("[{}]", keys.iter().map(|k| format!("@{k}")).collect::<Vec<_>>().join(";")),
                Segment::Citet { keys } => format!("@{}", keys[0]),
            }).collect();
            let letters = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&flat), letters(&source));
        }
    }
}
