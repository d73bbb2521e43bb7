//! A section's elements as LaTeX.

use serde_json::Value as Json;

use super::escape;
use super::gathered::{Gathered, Loss, Target};
use super::tree::{Element, function, plain};
use crate::error::ReportError;

/// Writes one section.
pub(super) struct Writer<'a> {
    pub(super) paper: &'a mut Gathered,
    /// Which of the sections.
    pub(super) section: usize,
    /// The folder of the section, relative to the project: from there it names its images.
    pub(super) folder: &'a str,
    pub(super) out: String,
    /// The last letter that was set, from which a quotation mark tells whether it opens.
    pub(super) before: char,
    /// How many of each kind of element were lost.
    pub(super) lost: std::collections::BTreeMap<String, usize>,
    /// Whether what is written is what a model wrote, which nobody can spell otherwise.
    is_data: bool,
    /// The first thing that no LaTeX can be made of.
    pub(super) error: Option<ReportError>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(paper: &'a mut Gathered, section: usize, folder: &'a str) -> Self {
        Writer {
            paper,
            section,
            folder,
            out: String::new(),
            before: ' ',
            lost: Default::default(),
            is_data: false,
            error: None,
        }
    }

    pub(super) fn push(&mut self, source: &str) {
        self.out.push_str(source);
    }

    /// What `write` writes, apart.
    pub(super) fn sub(&mut self, write: impl FnOnce(&mut Self)) -> String {
        let outer = std::mem::take(&mut self.out);
        write(self);
        std::mem::replace(&mut self.out, outer)
    }

    pub(super) fn inline(&mut self, node: &Json) -> String {
        self.sub(|writer| writer.node(node)).trim().to_owned()
    }

    /// Notes that an element is not shown as Typst shows it.
    pub(super) fn lose(&mut self, element: Element, what: &str) {
        let inside: Vec<String> = element.fields.values().map(plain).collect();
        let near = inside.concat().split_whitespace().take(8).collect::<Vec<_>>().join(" ");
        self.lose_at(what, near);
    }

    fn lose_at(&mut self, what: &str, near: String) {
        let count = self.lost.entry(what.to_owned()).or_default();
        let index = *count;
        *count += 1;
        self.paper.losses.insert(Loss { section: self.section, what: what.to_owned(), index, near });
    }

    /// A text, set as it is.
    pub(super) fn escaped(&mut self, text: &str) -> String {
        let mut unknown = Vec::new();
        let mut set = escape::text(text, &mut |letter| unknown.push(letter));
        for letter in unknown {
            if self.is_data {
                let code = escape::code(&format!("U+{:04X}", letter as u32), &mut |_| {});
                set = set.replace(&escape::unset(letter), &format!("\\hspace{{0pt}}{code}\\hspace{{0pt}}"));
            } else {
                self.lose_at(&format!("character U+{:04X}", letter as u32), text.chars().take(60).collect());
            }
        }
        self.before = text.chars().next_back().unwrap_or(self.before);
        set
    }

    fn code(&mut self, text: &str) {
        let mut unknown = Vec::new();
        let set = escape::code(text, &mut |letter| unknown.push(letter));
        for letter in unknown {
            self.lose_at(&format!("character U+{:04X}", letter as u32), text.chars().take(60).collect());
        }
        self.before = 'x';
        self.push(&set);
    }

    pub(super) fn label(&mut self, element: Element) -> String {
        element.get("label").as_str().map_or(String::new(), |name| format!("\\label{{{}}}", escape::name(name)))
    }

    /// What stands one after the other. List items that follow each other are one list.
    pub(super) fn nodes(&mut self, nodes: &[Json]) {
        let mut flat = Vec::new();
        self.flatten(nodes, &mut flat);
        let mut at = 0;
        while at < flat.len() {
            let kind = function(flat[at]).unwrap_or_default();
            if !["list.item", "enum.item", "terms.item"].contains(&kind) {
                self.one(flat[at]);
                at += 1;
                continue;
            }
            let is_blank = |node: &&Json| matches!(function(node), Some("space" | "parbreak"));
            let mut items = Vec::new();
            let mut end = at;
            for (index, node) in flat.iter().enumerate().skip(at) {
                if function(node) == Some(kind) {
                    items.push(*node);
                    end = index + 1;
                } else if !is_blank(node) {
                    break;
                }
            }
            self.list(kind, &items, 1);
            at = end;
        }
    }

    /// Sequences within sequences are one; a style that is not carried over is told.
    fn flatten<'n>(&mut self, nodes: &'n [Json], out: &mut Vec<&'n Json>) {
        for node in nodes {
            match Element::of(node) {
                Some(element) if element.func == "sequence" => self.flatten(element.children(), out),
                Some(element) if element.func == "styled" => {
                    self.lose(element, "styled");
                    self.flatten(std::slice::from_ref(element.get("child")), out);
                }
                _ => out.push(node),
            }
        }
    }

    pub(super) fn node(&mut self, node: &Json) {
        self.nodes(std::slice::from_ref(node));
    }

    fn list(&mut self, kind: &str, items: &[&Json], start: u64) {
        let environment = match kind {
            "list.item" => "itemize",
            "enum.item" => "enumerate",
            _ => "description",
        };
        self.push(&format!("\n\\begin{{{environment}}}\n"));
        let mut next = 1;
        for (at, item) in items.iter().enumerate() {
            let Some(item) = Element::of(item) else { continue };
            let number = item.get("number").as_u64().or((at == 0 && start != 1).then_some(start));
            if let Some(number) = number.filter(|number| environment == "enumerate" && *number != next) {
                self.push(&format!("\\harnessstart{{{}}}\n", number.saturating_sub(1)));
                next = number;
            }
            next += 1;
            self.before = ' ';
            let term = match item.get("term") {
                Json::Null => String::new(),
                term => format!("[{{{}}}]", self.inline(term)),
            };
            let body = self.inline(if term.is_empty() { item.get("body") } else { item.get("description") });
            self.push(&format!("\\item{term} {body}\n"));
        }
        self.push(&format!("\\end{{{environment}}}\n"));
    }

    fn one(&mut self, node: &Json) {
        if let Json::Array(several) = node {
            return self.nodes(several);
        }
        if let Json::String(text) = node {
            let set = self.escaped(text);
            return self.push(&set);
        }
        let Some(element) = Element::of(node) else { return };
        let wrapped = |writer: &mut Self, command: &str| {
            let body = writer.inline(element.get("body"));
            writer.push(&format!("\\{command}{{{body}}}"));
        };
        match element.func {
            "text" | "symbol" => {
                let set = self.escaped(element.text());
                self.push(&set);
            }
            "space" => {
                self.before = ' ';
                self.push(" ");
            }
            "parbreak" => {
                self.before = ' ';
                self.push("\n\n");
            }
            "linebreak" => {
                self.before = ' ';
                self.push("\\harnessbreak{}");
            }
            "smartquote" => self.quotation_mark(element.get("double") != &Json::Bool(false)),
            "strong" => wrapped(self, "textbf"),
            "emph" => wrapped(self, "emph"),
            "sub" => wrapped(self, "textsubscript"),
            "super" => wrapped(self, "textsuperscript"),
            "smallcaps" => wrapped(self, "textsc"),
            "underline" => wrapped(self, "underline"),
            "footnote" => {
                let before = self.before;
                let label = self.label(element);
                let body = self.inline(element.get("body"));
                self.push(&format!("\\footnote{{{label}{body}}}"));
                self.before = before;
            }
            "raw" if element.get("block") == &Json::Bool(true) => self.listing(element.text()),
            "raw" => self.code(element.text()),
            "equation" => self.equation(element),
            "heading" => self.heading(element),
            "link" => self.link(element),
            "ref" => self.reference(element),
            "list" | "enum" | "terms" => {
                let kind = format!("{}.item", element.func);
                let start = element.get("start").as_u64().unwrap_or(1);
                self.list(&kind, &element.children().iter().collect::<Vec<_>>(), start);
            }
            "quote" => self.quote(element),
            "figure" => self.figure(element),
            "table" => {
                let table = self.plain_table(element);
                self.push(&format!("\n\\begin{{center}}\n{table}\n\\end{{center}}\n"));
            }
            "image" => {
                let image = self.image(element);
                self.push(&image);
            }
            "metadata" => self.mark(element),
            "h" => {
                let space = self.space(element);
                self.push(&space);
            }
            "v" => match length(element.get("amount")) {
                Some(length) => self.push(&format!("\n\\vspace{{{length}}}\n")),
                None => self.lose(element, "v"),
            },
            "pagebreak" => self.push("\n\\clearpage\n"),
            "colbreak" => self.push("\n\\newpage\n"),
            "box" | "block" | "par" if element.fields.keys().all(|field| field == "func" || field == "body") => {
                let body = element.get("body");
                self.node(body);
                if element.func != "box" {
                    self.push("\n\n");
                }
            }
            // What is in it is shown, where and how it stands is not.
            "box" | "block" | "par" | "pad" | "align" | "place" | "columns" | "highlight" | "strike" | "overline"
            | "title" | "move" | "scale" | "rotate" | "rect" | "upper" | "lower" => {
                self.lose(element, element.func);
                self.node(element.get("body"));
            }
            "grid" | "stack" => {
                self.lose(element, element.func);
                for child in element.children() {
                    self.node(Element::of(child).map_or(child, |cell| cell.fields.get("body").unwrap_or(child)));
                    self.push("\n\n");
                }
            }
            other => self.missing(element, other),
        }
    }

    /// Says in the text and in a finding that something is not here.
    fn missing(&mut self, element: Element, what: &str) {
        self.lose(element, what);
        let what = self.escaped(what);
        self.push(&format!("\\notcarried{{{what}}}"));
    }

    fn quotation_mark(&mut self, double: bool) {
        let opens = self.before.is_whitespace() || "([{\u{2014}\u{2013}\u{a0}\u{201c}\u{2018}/-".contains(self.before);
        let mark = match (double, opens) {
            (true, true) => "\\textquotedblleft{}",
            (true, false) => "\\textquotedblright{}",
            (false, true) => "\\textquoteleft{}",
            (false, false) => "\\textquoteright{}",
        };
        self.push(mark);
        self.before = if opens { '\u{201c}' } else { '\u{201d}' };
    }

    fn listing(&mut self, text: &str) {
        self.push("\n\\begin{quote}\\raggedright\\small\n");
        for line in text.lines() {
            let indent = line.len() - line.trim_start().len();
            self.push(&format!("\\mbox{{}}{}", "~".repeat(indent.min(60))));
            self.code(line.trim_start());
            self.push("\\harnessbreak{}\n");
        }
        self.push("\\end{quote}\n");
    }

    fn heading(&mut self, element: Element) {
        let level = element.get("level").as_u64().or(element.get("depth").as_u64()).unwrap_or(1);
        let command = ["section", "subsection", "subsubsection", "paragraph"]
            [usize::try_from(level.clamp(1, 4)).unwrap_or(1) - 1];
        let unnumbered = element.fields.get("numbering").is_some_and(Json::is_null);
        self.before = ' ';
        let (body, label) = (self.inline(element.get("body")), self.label(element));
        self.push(&format!("\n\n\\{command}{}{{{body}}}{label}\n\n", if unnumbered { "*" } else { "" }));
    }

    fn link(&mut self, element: Element) {
        let body = self.inline(element.get("body"));
        match element.get("dest") {
            Json::String(dest) if self.paper.targets.contains_key(dest) => {
                self.push(&format!("\\hyperref[{}]{{{body}}}", escape::name(dest)));
            }
            Json::String(dest) if dest.contains(':') => {
                self.push(&format!("\\href{{{}}}{{{body}}}", escape::address_in_argument(dest)));
            }
            _ => {
                self.lose(element, "link");
                self.push(&body);
            }
        }
    }

    fn reference(&mut self, element: Element) {
        let name = element.get("target").as_str().unwrap_or_default();
        let label = escape::name(name);
        let Some(target) = self.paper.targets.get(name).copied() else { return self.missing(element, "ref") };
        self.before = 'x';
        if element.get("form") == "page" {
            return self.push(&format!("page~\\pageref{{{label}}}"));
        }
        let word = match (element.fields.get("supplement"), target) {
            (Some(Json::Null), _) => String::new(),
            (Some(own), _) if own != "auto" => self.inline(own),
            (_, Target::Section) => "Section".to_owned(),
            (_, Target::Appendix) => "Appendix".to_owned(),
            (_, Target::Figure) => "Figure".to_owned(),
            (_, Target::Table) => "Table".to_owned(),
            (_, Target::Equation) => "Equation".to_owned(),
        };
        let space = if word.is_empty() { "" } else { "~" };
        let number = if target == Target::Equation { "\\eqref" } else { "\\ref" };
        self.push(&format!("{word}{space}{number}{{{label}}}"));
    }

    fn quote(&mut self, element: Element) {
        let by = match element.get("attribution") {
            Json::Null => String::new(),
            by => format!(" (\\textemdash{{}}~{})", self.inline(by)),
        };
        if element.get("block") == &Json::Bool(true) {
            let body = self.inline(element.get("body"));
            self.push(&format!("\n\\begin{{quote}}\n{body}{by}\n\\end{{quote}}\n"));
        } else {
            self.push("\\textquotedblleft{}");
            self.before = '\u{201c}';
            let body = self.inline(element.get("body"));
            self.push(&format!("{body}\\textquotedblright{{}}{by}"));
            self.before = '\u{201d}';
        }
    }

    pub(super) fn space(&mut self, element: Element) -> String {
        match length(element.get("amount")) {
            Some(length) => format!("\\hspace{{{length}}}"),
            None if element.get("amount") == "1fr" => "\\hfill{}".to_owned(),
            None => {
                self.lose(element, "h");
                " ".to_owned()
            }
        }
    }

    /// What `values.typ` marks in place of its layout.
    pub(super) fn mark(&mut self, element: Element) {
        let value = element.get("value");
        match value["mark"].as_str() {
            Some(kind @ ("number" | "words" | "note")) => match self.paper.values.name_of(value) {
                Ok(name) => {
                    let command = match kind {
                        "number" if value["error"].is_null() => "bound",
                        "number" => "bounderror",
                        "words" => "boundwords",
                        _ => "boundhere",
                    };
                    self.push(&format!("\\{command}{{{name}}}"));
                    self.before = 'x';
                    let suffix = self.escaped(value["suffix"].as_str().unwrap_or_default());
                    self.push(&suffix);
                }
                Err(error) => {
                    self.error.get_or_insert(error);
                }
            },
            Some(kind @ ("citep" | "citet")) => {
                let keys = value["keys"].as_array().into_iter().flatten().filter_map(Json::as_str);
                let keys: Vec<String> = keys.map(|key| self.paper.key(key)).collect();
                let post = match &value["post"] {
                    Json::Null => String::new(),
                    post => format!("[{{{}}}]", self.inline(post)),
                };
                self.push(&format!("\\{kind}{post}{{{}}}", keys.join(",")));
                self.before = ')';
            }
            Some("table") => self.table_of(element),
            Some("figure") => self.figure_of(element),
            Some("data") => {
                let outer = std::mem::replace(&mut self.is_data, true);
                self.node(&value["body"]);
                self.is_data = outer;
            }
            Some("face") => {
                self.lose(element, "styled");
                self.node(&value["body"]);
            }
            // Other metadata shows nothing in Typst either.
            _ => {}
        }
    }

    fn figure_of(&mut self, element: Element) {
        let mark = element.get("value");
        let name = self.paper.graphic(mark["file"].as_str().unwrap_or_default().trim_start_matches('/'));
        let (caption, label) = (self.caption(&mark["caption"]), self.label(element));
        let star = if mark["wide"] == Json::Bool(true) { "*" } else { "" };
        self.push(&format!(
            "\n\\begin{{figure{star}}}[t]\n\\centering\n\\includegraphics[width=\\linewidth]{{figures/{name}}}\n{caption}{label}\n\\end{{figure{star}}}\n"
        ));
    }

    pub(super) fn caption(&mut self, caption: &Json) -> String {
        self.before = ' ';
        match caption {
            Json::Null => String::new(),
            caption => format!(
                "\\caption{{{}}}",
                self.inline(Element::of(caption).filter(|c| c.func == "caption").map_or(caption, |c| c.get("body")))
            ),
        }
    }

    fn figure(&mut self, element: Element) {
        let body = element.get("body");
        let inner = Element::of(body).map_or("", |body| body.func);
        let is_table = inner == "table" || element.get("kind") == "table";
        let (environment, star) =
            (if is_table { "table" } else { "figure" }, if element.get("scope") == "parent" { "*" } else { "" });
        let (caption, label) = (self.caption(element.get("caption")), self.label(element));
        let body = match Element::of(body) {
            Some(table) if table.func == "table" => self.plain_table(table),
            _ => self.inline(body),
        };
        self.push(&format!(
            "\n\\begin{{{environment}{star}}}[t]\n\\centering\n{body}\n{caption}{label}\n\\end{{{environment}{star}}}\n"
        ));
    }

    fn image(&mut self, element: Element) -> String {
        let source = element.get("source").as_str().unwrap_or_default();
        let source = source.strip_prefix("path(\"").and_then(|s| s.strip_suffix("\")")).unwrap_or(source);
        let path = match source.strip_prefix('/') {
            Some(from_root) => from_root.to_owned(),
            None => within(self.folder, source),
        };
        if !["svg", "png", "jpg", "jpeg", "pdf"].iter().any(|ending| path.ends_with(&format!(".{ending}"))) {
            self.lose(element, "image");
            return "\\notcarried{image}".to_owned();
        }
        let name = self.paper.graphic(&path);
        let width = match element.get("width").as_str() {
            Some(width) => {
                match (width.strip_suffix("% + 0pt").and_then(|w| w.parse::<f64>().ok()), length(&Json::from(width))) {
                    (Some(percent), _) => format!("{}\\linewidth", percent / 100.0),
                    (None, Some(length)) => length,
                    (None, None) => "\\linewidth".to_owned(),
                }
            }
            None => "\\linewidth".to_owned(),
        };
        format!("\\includegraphics[width={width}]{{figures/{name}}}")
    }
}

/// `a/b` and `../c` is `a/c`.
fn within(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A length of Typst that LaTeX has as well: `28.35pt`, `0.17em`, `0% + 3pt`.
pub(super) fn length(length: &Json) -> Option<String> {
    let text = length.as_str()?;
    let text = text.strip_prefix("0% + ").unwrap_or(text);
    let unit = ["pt", "em"].into_iter().find(|unit| text.ends_with(unit))?;
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(format!("{number}{unit}"))
}
