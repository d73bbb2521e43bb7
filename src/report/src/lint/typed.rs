//! Numbers that are typed in a text, and which of them are results.

use super::text::{Kind, Sentence, Token};

/// A number as it is typed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Typed {
    /// As it is written, with its sign and unit.
    pub written: String,
    /// In the scale that it is written in.
    pub number: f64,
    /// Digits behind the point.
    pub decimals: usize,
    /// What it is multiplied by: 1000 for `k`.
    pub scale: f64,
    pub percent: bool,
    /// Byte offset in the section, and length.
    pub offset: usize,
    pub length: usize,
}

impl Typed {
    /// Digits without sign, grouping and unit: what a bound number shows.
    pub(crate) fn digits(&self) -> String {
        self.written.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect()
    }

    /// Whether it may be this number, rounded.
    pub(crate) fn rounds(&self, number: f64) -> bool {
        // Half of the last digit, with room for what binary fractions lack.
        let half = 0.5 * libm::pow(10.0, -(self.decimals as f64)) * self.scale;
        (number.abs() - self.number.abs() * self.scale).abs() <= half * (1.0 + 1e-9)
    }
}

/// Nouns of what is counted in a study; a number before one is a result, however small.
const COUNTED: [&str; 22] = [
    "seed",
    "seeds",
    "tasks",
    "experiments",
    "changes",
    "runs",
    "steps",
    "tokens",
    "parameters",
    "layers",
    "heads",
    "items",
    "documents",
    "sequences",
    "epochs",
    "bytes",
    "points",
    "nats",
    "bits",
    "seconds",
    "minutes",
    "hours",
];
/// Nouns of what is none.
const NO_RESULT: [&str; 16] = [
    "digits",
    "pt",
    "cm",
    "mm",
    "pages",
    "page",
    "words",
    "lines",
    "columns",
    "letters",
    "characters",
    "authors",
    "sections",
    "bit",
    "years",
    "power",
];
/// Words that a number belongs to as a name does.
const NAMED_BY: [&str; 24] = [
    "section",
    "sections",
    "sec",
    "table",
    "tables",
    "figure",
    "figures",
    "fig",
    "appendix",
    "equation",
    "eq",
    "chapter",
    "page",
    "pages",
    "version",
    "line",
    "seed",
    "item",
    "example",
    "step",
    "experiment",
    "hypothesis",
    "no",
    "rank",
];

/// The numbers of a sentence that are results or may be: not years, names, ordinals, levels of a test, or small counts.
pub(super) fn results(sentence: &Sentence) -> Vec<Typed> {
    let mut found = Vec::new();
    for (at, token) in sentence.tokens.iter().enumerate() {
        if !matches!(token.kind, Kind::Word | Kind::Formula) {
            continue;
        }
        for mut typed in numbers(token) {
            let minus = at
                .checked_sub(1)
                .map(|before| sentence.tokens[before])
                .filter(|before| token.glued && before.raw == "-");
            if let Some(minus) = minus {
                typed.number = -typed.number;
                typed.length += token.offset - minus.offset;
                typed.offset = minus.offset;
            }
            if is_result(sentence, at, &typed) {
                found.push(typed);
            }
        }
    }
    found
}

fn is_result(sentence: &Sentence, at: usize, typed: &Typed) -> bool {
    let word = |at: Option<usize>| {
        at.and_then(|at| sentence.tokens.get(at)).filter(|t| t.call().is_none()).map_or(String::new(), Token::plain)
    };
    let (before, after) = (word(at.checked_sub(1)), word(Some(at + 1)));
    let whole = typed.number.fract() == 0.0 && typed.decimals == 0 && typed.scale == 1.0 && !typed.percent;
    let counted = COUNTED.contains(&after.as_str());
    let near: Vec<String> = (at.saturating_sub(4)..at + 5).map(|near| word(Some(near))).collect();
    let beside = |words: &[&str]| near.iter().any(|near| words.contains(&near.as_str()));
    if NO_RESULT.contains(&after.as_str()) || (whole && NAMED_BY.contains(&before.as_str())) {
        return false;
    }
    // The conventions of a test are no results.
    let conventional = [1.0, 5.0, 10.0, 80.0, 90.0, 95.0, 99.0].contains(&typed.number);
    if typed.percent
        && conventional
        && beside(&["interval", "intervals", "level", "confidence", "ci", "cis", "power", "significance"])
    {
        return false;
    }
    if !typed.percent
        && [0.05, 0.01, 0.001, 0.95, 0.5].contains(&typed.number)
        && beside(&["level", "alpha", "p", "threshold", "significance"])
    {
        return false;
    }
    let year = whole && (1900.0..2100.0).contains(&typed.number) && !typed.written.contains(',');
    if year && !counted {
        return false;
    }
    // `Apache 2.0`, `Llama 3`: a version belongs to a name.
    let name = at
        .checked_sub(1)
        .map(|before| sentence.tokens[before])
        .filter(|before| before.call().is_none() && before.offset != sentence.tokens[0].offset);
    let named = name.is_some_and(|name| {
        name.bare().starts_with(char::is_uppercase) && name.bare().chars().all(char::is_alphanumeric)
    });
    if named && typed.decimals <= 1 && typed.number.abs() < 10.0 && !typed.percent && typed.scale == 1.0 {
        return false;
    }
    !whole || counted || typed.number.abs() > 12.0
}

/// The numbers in a token: `71.3±2.6` holds two, `GPT-2` and `16-bit` none.
fn numbers(token: &Token) -> Vec<Typed> {
    const BETWEEN: [char; 9] = ['\u{b1}', '\u{2013}', '\u{2014}', '/', '\u{2192}', '=', '~', '<', '>'];
    let mut found = Vec::new();
    let mut at = 0;
    let formula = matches!(token.kind, Kind::Formula);
    for part in token.raw.split_inclusive(|c: char| BETWEEN.contains(&c) || formula && c.is_whitespace()) {
        found.extend(number(part, token.offset + at));
        at += part.len();
    }
    found
}

fn number(part: &str, offset: usize) -> Option<Typed> {
    let start = part.find(|c: char| !"([{\"'\u{201c}\u{2018}$*_\u{2248}".contains(c))?;
    let rest = &part[start..];
    let sign = rest.chars().next().filter(|c| "-\u{2212}+".contains(*c));
    let body = &rest[sign.map_or(0, char::len_utf8)..];
    if !body.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit()) || body.starts_with("..") {
        return None;
    }
    let mut end = body.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(body.len());
    end = body[..end].trim_end_matches(['.', ',']).len();
    // `1e-3`
    let exponent = body[end..].strip_prefix(['e', 'E']).map(|power| {
        let digits = power.trim_start_matches(['-', '+', '\u{2212}']);
        let length = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        (length > 0).then_some(1 + power.len() - digits.len() + length)
    });
    let mantissa = &body[..end];
    let plain = mantissa.replace(',', "");
    let mut number: f64 = plain.parse().ok()?;
    let decimals = plain.split_once('.').map_or(0, |(_, behind)| behind.len());
    if let Some(Some(length)) = exponent {
        number = format!("{plain}{}", body[end..end + length].replace('\u{2212}', "-")).parse().ok()?;
        end += length;
    }
    let suffix = body[end..]
        .trim_end_matches(|c: char| ".,;:!?)]}\"'\u{201d}\u{2019}$*_\u{b1}\u{2013}\u{2014}/\u{2192}=~<> ".contains(c));
    let (scale, percent) = match suffix {
        "" | "s" | "x" | "\u{d7}" | "h" | "ms" | "min" => (1.0, false),
        "%" => (1.0, true),
        "k" | "K" => (1e3, false),
        "M" | "m" => (1e6, false),
        "B" | "bn" => (1e9, false),
        // `16-bit`, `90th`, `3a`: part of a word.
        _ => return None,
    };
    let length = sign.map_or(0, char::len_utf8) + end + suffix.len();
    let written = rest[..length].to_owned();
    let number = if sign.is_some_and(|sign| sign != '+') { -number } else { number };
    Some(Typed { written, number, decimals, scale, percent, offset: offset + start, length })
}

#[cfg(test)]
mod tests {
    use super::super::text::Text;
    use super::*;
    use crate::section::Section;

    fn found(source: &str) -> Vec<String> {
        let section = Section::new("x.typ".to_owned(), source.to_owned());
        let text = Text::of(&section);
        text.sentences
            .iter()
            .flat_map(results)
            .map(|typed| section.text[typed.offset..typed.offset + typed.length].to_owned())
            .collect()
    }

    #[test]
    fn results_are_found_with_sign_and_unit() {
        let source = "It is 1.021, (71.3%) or -0.02; 614k tokens, 1,024 items, 71.3\u{b1}2.6, 3 seeds, 2e-3, $x = 0.52$ and from 65.1 to 68.3.";
        assert_eq!(
            found(source),
            ["1.021", "71.3%", "-0.02", "614k", "1,024", "71.3", "2.6", "3", "2e-3", "0.52", "65.1", "68.3"]
        );
        assert_eq!(found("about 2048 tokens"), ["2048"]);
    }

    #[test]
    fn years_names_levels_and_small_counts_are_no_results() {
        let source = "Since 2017 (and in 2019) GPT-2, Llama 3, the 4-gram, 16-bit floats, SHA-256 cut to 16 digits, Section 3, Table 12, the \
            90th percentile, 95% intervals at a level of 5%, two seeds, 3 reasons, Apache 2.0 and page 14 are no results.";
        assert_eq!(found(source), Vec::<String>::new());
    }

    #[test]
    fn a_rounded_number_is_known_by_its_last_digit() {
        let typed = |source: &str| number(source, 0).unwrap();
        assert!(typed("1.02").rounds(1.0238) && !typed("1.02").rounds(1.0262));
        assert!(typed("614k").rounds(614_400.0) && !typed("614k").rounds(615_000.0));
        assert!(typed("\u{2212}0.02").rounds(-0.0213));
    }
}
