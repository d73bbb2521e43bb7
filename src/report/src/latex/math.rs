//! Mathematics, from Typst's elements to LaTeX's commands: the common part of it. What is not known here is lost, and told.

use serde_json::Value as Json;

use super::symbols::in_mathematics;
use super::tree::{Element, function};
use super::writer::Writer;

/// Operators that LaTeX has a command for.
const OPERATORS: &[&str] = &[
    "arccos", "arcsin", "arctan", "arg", "cos", "cosh", "cot", "coth", "csc", "deg", "det", "dim", "exp", "gcd", "hom",
    "inf", "ker", "lg", "lim", "ln", "log", "max", "min", "Pr", "sec", "sin", "sinh", "sup", "tan", "tanh",
];

const ACCENTS: &[(&str, &str)] = &[
    ("\u{302}", "widehat"),
    ("\u{303}", "widetilde"),
    ("\u{304}", "bar"),
    ("\u{305}", "overline"),
    ("\u{307}", "dot"),
    ("\u{308}", "ddot"),
    ("\u{30c}", "check"),
    ("\u{306}", "breve"),
    ("\u{301}", "acute"),
    ("\u{300}", "grave"),
    ("\u{20d7}", "vec"),
    ("\u{2192}", "vec"),
];

/// Signs that grow with what they stand around.
const FENCES: &[(&str, &str)] = &[
    ("(", "("),
    (")", ")"),
    ("[", "["),
    ("]", "]"),
    ("{", "\\{"),
    ("}", "\\}"),
    ("|", "|"),
    ("‖", "\\Vert"),
    ("⟨", "\\langle"),
    ("⟩", "\\rangle"),
    ("⌈", "\\lceil"),
    ("⌉", "\\rceil"),
    ("⌊", "\\lfloor"),
    ("⌋", "\\rfloor"),
];

fn fence(sign: &str) -> Option<&'static str> {
    FENCES.iter().find(|(own, _)| *own == sign).map(|(_, set)| *set)
}

fn is_number(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// Whether an equation has several lines, or points that are set one below the other.
fn has_rows(body: &Json) -> bool {
    match Element::of(body) {
        Some(element) if element.func == "sequence" => element.children().iter().any(has_rows),
        Some(element) => ["linebreak", "align-point"].contains(&element.func),
        None => false,
    }
}

impl Writer<'_> {
    /// An equation, in its line or set apart.
    pub(super) fn equation(&mut self, element: Element) {
        let body = self.mathematics(element.get("body"));
        let apart = element.get("block") == &Json::Bool(true);
        if !apart {
            self.push("\\(");
            self.push(body.trim());
            self.push("\\)");
            return;
        }
        let body = if has_rows(element.get("body")) {
            format!("\\begin{{aligned}}\n{}\n\\end{{aligned}}", body.trim())
        } else {
            body.trim().to_owned()
        };
        let unnumbered = element.fields.get("numbering").is_some_and(Json::is_null);
        let star = if unnumbered { "*" } else { "" };
        let label = self.label(element);
        self.push(&format!("\n\\begin{{equation{star}}}{label}\n{body}\n\\end{{equation{star}}}\n"));
    }

    fn group(&mut self, node: &Json) -> String {
        format!("{{{}}}", self.mathematics(node).trim())
    }

    /// What stands between the dollar signs.
    pub(super) fn mathematics(&mut self, node: &Json) -> String {
        if let Json::String(text) = node {
            return self.letters(text);
        }
        let Some(element) = Element::of(node) else { return String::new() };
        match element.func {
            "sequence" => self.sequence(element.children()),
            "space" => " ".to_owned(),
            "symbol" => self.letters(element.text()),
            "text" => self.words(element.text()),
            "linebreak" => " \\\\\n".to_owned(),
            "align-point" => "& ".to_owned(),
            "attach" => self.attach(element),
            "frac" => format!("\\frac{}{}", self.group(element.get("num")), self.group(element.get("denom"))),
            "root" => match element.get("index") {
                Json::Null => format!("\\sqrt{}", self.group(element.get("radicand"))),
                index => format!("\\sqrt[{}]{}", self.group(index), self.group(element.get("radicand"))),
            },
            "primes" => "'".repeat(usize::try_from(element.get("count").as_u64().unwrap_or(1)).unwrap_or(1).min(8)),
            "lr" => self.fenced(element.get("body")),
            "mid" => self.mathematics(element.get("body")),
            "op" => self.operator(element),
            "accent" => {
                match ACCENTS.iter().find(|(own, _)| *own == element.get("accent").as_str().unwrap_or_default()) {
                    Some((_, command)) => format!("\\{command}{}", self.group(element.get("base"))),
                    None => self.lost_in_mathematics(element, "accent"),
                }
            }
            "binom" => {
                let lower: Vec<String> = match element.get("lower") {
                    Json::Array(several) => several.iter().map(|one| self.mathematics(one)).collect(),
                    one => vec![self.mathematics(one)],
                };
                format!("\\binom{}{{{}}}", self.group(element.get("upper")), lower.join(", "))
            }
            "mat" => {
                let rows = element.get("rows").as_array().cloned().unwrap_or_default();
                let rows: Vec<String> =
                    rows.iter().map(|row| self.row(row.as_array().map_or(&[], Vec::as_slice))).collect();
                self.matrix(element, &rows)
            }
            "vec" => {
                let rows: Vec<String> = element.children().iter().map(|child| self.mathematics(child)).collect();
                self.matrix(element, &rows)
            }
            "cases" => {
                let rows: Vec<String> = element.children().iter().map(|child| self.mathematics(child)).collect();
                format!("\\begin{{cases}}{}\\end{{cases}}", rows.join(" \\\\ "))
            }
            "underbrace" | "overbrace" => {
                let side = if element.func == "underbrace" { '_' } else { '^' };
                let note = element.get("annotation");
                let note = if note.is_null() { String::new() } else { format!("{side}{}", self.group(note)) };
                format!("\\{}{}{note}", element.func, self.group(element.get("body")))
            }
            "underline" | "overline" => format!("\\{}{}", element.func, self.group(element.get("body"))),
            "limits" => format!("\\mathop{}\\limits", self.group(element.get("body"))),
            "scripts" => format!("\\mathop{}\\nolimits", self.group(element.get("body"))),
            "h" => self.space(element),
            "metadata" => self.marked_in_mathematics(element),
            "box" | "equation" => self.mathematics(element.get("body")),
            "styled" => {
                self.lose(element, "styled");
                self.mathematics(element.get("child"))
            }
            other => self.lost_in_mathematics(element, other),
        }
    }

    /// A blank beside words is one of the text, any other is none.
    fn sequence(&mut self, children: &[Json]) -> String {
        let is_words = |at: Option<usize>| {
            let text =
                at.and_then(|at| children.get(at)).and_then(Element::of).filter(|element| element.func == "text");
            text.is_some_and(|text| !is_number(text.text()))
        };
        let mut out = String::new();
        for (at, child) in children.iter().enumerate() {
            if function(child) == Some("space") && (is_words(at.checked_sub(1)) || is_words(Some(at + 1))) {
                out.push_str("\\ ");
            } else {
                out.push_str(&self.mathematics(child));
            }
        }
        out
    }

    fn letters(&mut self, text: &str) -> String {
        text.chars()
            .map(|letter| {
                in_mathematics(letter).unwrap_or_else(|| format!("\\text{{{}}}", self.escaped(&letter.to_string())))
            })
            .collect()
    }

    /// Digits are mathematics, words are text.
    fn words(&mut self, text: &str) -> String {
        if is_number(text) { text.to_owned() } else { format!("\\text{{{}}}", self.escaped(text)) }
    }

    fn attach(&mut self, element: Element) -> String {
        let mut out = String::new();
        let script = |writer: &mut Self, side: char, field: &str| match element.get(field) {
            Json::Null => String::new(),
            node if function(node) == Some("primes") => writer.mathematics(node),
            node => format!("{side}{}", writer.group(node)),
        };
        let before = script(self, '_', "bl") + &script(self, '^', "tl");
        if !before.is_empty() {
            out.push_str(&format!("{{}}{before}"));
        }
        let after = [('^', "tr"), ('_', "b"), ('_', "br"), ('^', "t")].map(|(side, field)| script(self, side, field));
        let base = self.mathematics(element.get("base"));
        let is_one = base.chars().count() == 1
            || base.starts_with('\\') && !base.trim_end().contains([' ', '{'])
            || base.contains("\\limits");
        out.push_str(&if is_one { base.trim_end().to_owned() } else { format!("{{{}}}", base.trim()) });
        out.push_str(&after.concat());
        out
    }

    /// What stands between brackets: they grow, where they are a pair of ends.
    fn fenced(&mut self, body: &Json) -> String {
        if function(body) == Some("lr") {
            return self.mathematics(body);
        }
        let children = Element::of(body).map_or(&[][..], |body| body.children());
        let sign = |node: &Json| Element::of(node).filter(|e| e.func == "symbol").and_then(|e| fence(e.text()));
        match children {
            [open, inner @ .., close] => match (sign(open), sign(close)) {
                (Some(open), Some(close)) => {
                    let inner: String = inner.iter().map(|child| self.mathematics(child)).collect();
                    format!("\\left{open} {} \\right{close} ", inner.trim())
                }
                _ => self.mathematics(body),
            },
            _ => self.mathematics(body),
        }
    }

    fn operator(&mut self, element: Element) -> String {
        let limits = element.get("limits") == &Json::Bool(true);
        match Element::of(element.get("text")).filter(|text| text.func == "text").map(|text| text.text()) {
            Some(name) if OPERATORS.contains(&name) => format!("\\{name} "),
            Some(name) if name.chars().all(|c| c.is_ascii_alphabetic()) => {
                format!("\\operatorname{}{{{name}}}", if limits { "*" } else { "" })
            }
            _ => {
                let inner = self.mathematics(element.get("text"));
                format!("\\operatorname{}{{{inner}}}", if limits { "*" } else { "" })
            }
        }
    }

    fn row(&mut self, cells: &[Json]) -> String {
        cells.iter().map(|cell| self.mathematics(cell)).collect::<Vec<_>>().join(" & ")
    }

    fn matrix(&mut self, element: Element, rows: &[String]) -> String {
        let delim = match element.get("delim") {
            Json::Array(pair) => [0, 1].map(|at| pair.get(at).and_then(Json::as_str).unwrap_or_default().to_owned()),
            Json::Null if element.fields.contains_key("delim") => [String::new(), String::new()],
            Json::String(one) if one == "(" => ["(".to_owned(), ")".to_owned()],
            Json::String(one) if one == "[" => ["[".to_owned(), "]".to_owned()],
            Json::String(one) if one == "{" => ["{".to_owned(), "}".to_owned()],
            Json::String(one) => [one.clone(), one.clone()],
            _ => ["(".to_owned(), ")".to_owned()],
        };
        let [open, close] = delim.map(|sign| fence(&sign).unwrap_or("."));
        format!("\\left{open} \\begin{{matrix}}{}\\end{{matrix}} \\right{close} ", rows.join(" \\\\ "))
    }

    fn lost_in_mathematics(&mut self, element: Element, what: &str) -> String {
        self.lose(element, what);
        format!("\\text{{\\notcarried{{{}}}}}", self.escaped(what))
    }

    fn marked_in_mathematics(&mut self, element: Element) -> String {
        let value = element.get("value");
        if value["mark"] == "face" {
            let face = value["face"].as_str().filter(|face| face.bytes().all(|b| b.is_ascii_lowercase()));
            return format!("\\{}{}", face.unwrap_or("mathrm"), self.group(&value["body"]));
        }
        let marked = self.sub(|writer| writer.mark(element));
        if marked.is_empty() { marked } else { format!("\\text{{{marked}}}") }
    }
}
