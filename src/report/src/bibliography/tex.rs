//! What the fields of a .bib hold besides text: groups in braces, emphasis, links and mathematics, as pieces that can be
//! set. No command of TeX is left: what is not known gives way to what it stands around.

use biblatex::{Chunk, ChunksRef};
use serde::Serialize;

/// A run of text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "style")]
pub(crate) enum Piece {
    Upright { text: String },
    Italic { text: String },
    Link { text: String, url: String },
}

impl Piece {
    pub(crate) fn text(&self) -> &str {
        match self {
            Piece::Upright { text } | Piece::Italic { text } | Piece::Link { text, .. } => text,
        }
    }
}

/// A letter, with what stands around it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Letter {
    pub letter: char,
    /// Whether it stands in braces, which keep its case.
    pub kept: bool,
    pub italic: bool,
    pub url: Option<String>,
}

/// The letters of a field, blanks folded.
pub(super) fn letters(chunks: ChunksRef) -> Vec<Letter> {
    let mut reader = Reader { tokens: tokens(chunks), at: 0, out: Vec::new() };
    reader.group(&Look::default());
    fold(reader.out)
}

/// The letters of a text that was read already.
pub(super) fn of_text(text: &str) -> Vec<Letter> {
    text.chars().map(|letter| Letter { letter, kept: false, italic: false, url: None }).collect()
}

/// Letters as pieces.
pub(super) fn pieces(letters: &[Letter]) -> Vec<Piece> {
    let look = |letter: &Letter| (letter.italic, letter.url.clone());
    let piece = |run: &[Letter]| {
        let text = run.iter().map(|letter| letter.letter).collect();
        match (&run[0].url, run[0].italic) {
            (Some(url), _) => Piece::Link { text, url: url.clone() },
            (None, true) => Piece::Italic { text },
            (None, false) => Piece::Upright { text },
        }
    };
    letters.chunk_by(|a, b| look(a) == look(b)).map(piece).collect()
}

/// An address: no tie, no braces, and what TeX wants to have escaped as it is.
pub(super) fn address(chunks: ChunksRef) -> String {
    let raw: String = chunks.iter().map(|chunk| chunk.v.get()).collect();
    let raw = raw.trim().strip_prefix("\\url").unwrap_or(raw.trim());
    unescaped(raw).replace(['{', '}'], "")
}

fn unescaped(text: &str) -> String {
    let text = text.replace("\\textasciitilde", "~").replace("\\string~", "~");
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\\' || !letters.peek().is_some_and(char::is_ascii_punctuation) {
            out.push(letter);
        }
    }
    out
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

enum Token {
    Open,
    Close,
    Command(String),
    /// A letter that `\` stood before.
    Escaped(char),
    Letter(char),
    /// Set as it is, case included.
    Math(String),
}

fn tokens(chunks: ChunksRef) -> Vec<Token> {
    let mut out = Vec::new();
    for chunk in chunks {
        match &chunk.v {
            Chunk::Normal(text) => cut(text, &mut out),
            Chunk::Verbatim(text) => {
                out.push(Token::Open);
                cut(text, &mut out);
                out.push(Token::Close);
            }
            Chunk::Math(text) => out.push(Token::Math(math(text))),
        }
    }
    out
}

fn cut(text: &str, out: &mut Vec<Token>) {
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        out.push(match letter {
            '{' => Token::Open,
            '}' => Token::Close,
            '\\' => match name(&mut letters) {
                Some(name) => {
                    skip_blanks(&mut letters);
                    Token::Command(name)
                }
                None => letters.next().map_or(Token::Letter('\\'), Token::Escaped),
            },
            letter => Token::Letter(letter),
        });
    }
}

/// The name of a command, behind its `\`.
fn name(letters: &mut Letters) -> Option<String> {
    let mut name = String::new();
    while let Some(letter) = letters.next_if(char::is_ascii_alphabetic) {
        name.push(letter);
    }
    (!name.is_empty()).then_some(name)
}

fn skip_blanks(letters: &mut Letters) {
    while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
}

#[derive(Clone, Debug, Default)]
struct Look {
    kept: bool,
    italic: bool,
    url: Option<String>,
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    out: Vec<Letter>,
}

impl Reader {
    /// Reads to the end of the group or of the field.
    fn group(&mut self, look: &Look) {
        let mut look = look.clone();
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match token {
                Token::Open => self.group(&Look { kept: true, ..look.clone() }),
                Token::Close => return,
                Token::Math(text) => {
                    let text = text.clone();
                    self.push(&text, &Look { kept: true, ..look.clone() });
                }
                Token::Letter(letter) | Token::Escaped(letter) => {
                    let letter = letter.to_string();
                    self.push(&letter, &look);
                }
                Token::Command(name) => match name.as_str() {
                    "em" | "it" | "itshape" | "sl" => look.italic = true,
                    "emph" | "textit" | "textsl" => self.argument(&Look { kept: true, italic: true, ..look.clone() }),
                    "url" | "path" => {
                        let url = self.raw_argument();
                        self.push(&url, &Look { kept: true, url: Some(url.clone()), ..look.clone() });
                    }
                    "href" => {
                        let url = self.raw_argument();
                        self.argument(&Look { kept: true, url: Some(url), ..look.clone() });
                    }
                    // What any other command does to its argument is not set; the argument is.
                    _ => {}
                },
            }
        }
    }

    fn argument(&mut self, look: &Look) {
        if matches!(self.tokens.get(self.at), Some(Token::Open)) {
            self.at += 1;
            self.group(look);
        }
    }

    /// The argument as it is written.
    fn raw_argument(&mut self) -> String {
        let mut out = String::new();
        let mut depth = 0;
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Open => depth += 1,
                Token::Close if depth == 0 => return out,
                Token::Close => depth -= 1,
                _ if depth == 0 => return out,
                Token::Letter(letter) | Token::Escaped(letter) => out.push(*letter),
                Token::Command(name) if name == "textasciitilde" => out.push('~'),
                Token::Command(name) => out.push_str(&format!("\\{name}")),
                Token::Math(text) => out.push_str(text),
            }
            self.at += 1;
            if depth == 0 {
                return out;
            }
        }
        out
    }

    fn push(&mut self, text: &str, look: &Look) {
        let Look { kept, italic, url } = look;
        let letter = |letter| Letter { letter, kept: *kept, italic: *italic, url: url.clone() };
        self.out.extend(text.chars().map(letter));
    }
}

/// Blanks folded, TeX's tie and quotes as characters; addresses stay as they are.
fn fold(letters: Vec<Letter>) -> Vec<Letter> {
    let mut out: Vec<Letter> = Vec::new();
    for mut letter in letters {
        if letter.url.is_none() {
            let last = out.last().filter(|last| last.url.is_none()).map(|last| last.letter);
            let (folded, joins) = match (letter.letter, last) {
                ('~', _) => ('\u{a0}', false),
                ('\t' | '\n' | '\r', _) => (' ', false),
                ('`', Some('`')) => ('\u{201c}', true),
                ('\'', Some('\'')) => ('\u{201d}', true),
                (other, _) => (other, false),
            };
            letter.letter = folded;
            if joins {
                out.pop();
            }
        }
        if letter.letter != ' ' || out.last().is_some_and(|last| last.letter != ' ') {
            out.push(letter);
        }
    }
    while out.last().is_some_and(|last| last.letter == ' ') {
        out.pop();
    }
    out
}

/// Mathematics as one line of text: symbols as characters, fractions with a slash, indices raised where there are
/// characters for them.
fn math(tex: &str) -> String {
    const SYMBOLS: &str = "alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ kappa κ lambda λ mu μ \
        nu ν xi ξ pi π rho ρ sigma σ tau τ phi φ varphi φ chi χ psi ψ omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Pi Π \
        Sigma Σ Phi Φ Psi Ψ Omega Ω ell ℓ infty ∞ times × cdot · pm ± sim ∼ approx ≈ neq ≠ leq ≤ le ≤ geq ≥ ge ≥ to → \
        rightarrow → in ∈ sum ∑ sqrt √ partial ∂ nabla ∇ star * ast * ldots … dots …";
    // Faces and spacing are not set.
    const SILENT: &str = "mathcal mathbb mathbf mathrm mathit mathsf text textrm rm left right operatorname";
    let mut out = String::new();
    let mut letters = tex.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match name(&mut letters).as_deref() {
                Some("frac") => {
                    let (above, below) = (math(&math_argument(&mut letters)), math(&math_argument(&mut letters)));
                    out.push_str(&format!("{above}/{below}"));
                }
                Some(name) if SILENT.split(' ').any(|own| own == name) => {}
                Some(name) => match SYMBOLS.split_whitespace().skip_while(|own| *own != name).nth(1) {
                    Some(symbol) => out.push_str(symbol),
                    None if letters.peek() == Some(&'{') => out.push_str(&format!("{name} ")),
                    None => out.push_str(name),
                },
                None => out.extend(letters.next().filter(|symbol| !matches!(symbol, ',' | ';' | '!' | ':'))),
            },
            '^' | '_' => {
                let index = math(&math_argument(&mut letters));
                let raised: Option<String> = index.chars().map(|own| moved(own, letter == '^')).collect();
                out.push_str(&raised.unwrap_or(if index.chars().count() > 1 {
                    format!("{letter}({index})")
                } else {
                    format!("{letter}{index}")
                }));
            }
            '{' | '}' => {}
            letter => out.push(letter),
        }
    }
    out
}

/// A group without its braces, or one letter or command.
fn math_argument(letters: &mut Letters) -> String {
    skip_blanks(letters);
    match letters.next() {
        Some('{') => {
            let mut depth = 1;
            let inside = |letter: &char| {
                depth += match letter {
                    '{' => 1,
                    '}' => -1,
                    _ => 0,
                };
                depth > 0
            };
            letters.by_ref().take_while(inside).collect()
        }
        Some('\\') => format!("\\{}", name(letters).unwrap_or_default()),
        other => other.into_iter().collect(),
    }
}

/// The character that is an index as it is.
fn moved(letter: char, up: bool) -> Option<char> {
    let (raised, lowered) = ("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "₀₁₂₃₄₅₆₇₈₉₊₋ₙ");
    let place = "0123456789+-n".chars().position(|own| own == letter)?;
    if up { raised } else { lowered }.chars().nth(place)
}

/// A file in which quoted values that hold quotes in braces are in braces themselves, at the same places: the reader of
/// .bib files ends a value at any quote.
pub(super) fn with_braces(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let (mut depth, mut at) = (0i32, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b'=' if depth <= 1 => {
                let start = at + 1 + bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                if bytes.get(start) == Some(&b'"')
                    && let Some((end, holds_quotes)) = end_of_quoted(&bytes, start)
                {
                    if holds_quotes {
                        (bytes[start], bytes[end]) = (b'{', b'}');
                    }
                    at = end;
                }
            }
            _ => {}
        }
        at += 1;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The closing quote of a quoted value, and whether there are quotes in its braces.
fn end_of_quoted(bytes: &[u8], start: usize) -> Option<(usize, bool)> {
    let (mut depth, mut holds_quotes) = (0i32, false);
    for (at, byte) in bytes.iter().enumerate().skip(start + 1) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b'"' if bytes[at - 1] == b'\\' => {}
            b'"' if depth == 0 => return Some((at, holds_quotes)),
            b'"' => holds_quotes = true,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mathematics_is_text_without_commands() {
        for (tex, expected) in [
            ("O(n \\log n)", "O(n log n)"),
            ("\\alpha", "α"),
            ("x^2", "x²"),
            ("x^{10}_i", "x¹⁰_i"),
            ("\\frac{1}{2}", "1/2"),
            ("\\mathcal{O}(\\sqrt{n})", "O(√n)"),
            ("10^{-n}", "10⁻ⁿ"),
            ("\\ell_\\infty", "ℓ_∞"),
            ("a \\leq b", "a ≤ b"),
            ("{", ""),
            ("\\", ""),
            ("\\frac", "/"),
        ] {
            assert_eq!(math(tex), expected, "{tex}");
        }
    }
}
