//! Tables in the look of booktabs, with columns that fit their place on the page. How wide letters are is a guess here; LaTeX, which
//! knows it, sets a table smaller that comes out too wide (`\harnessfit` of `harness.sty`).

use serde_json::Value as Json;

use super::tree::{Element, function, plain};
use super::writer::Writer;

/// Widths of a column of the page and of the page, in points (ACL: 7.7 cm and 16 cm).
const COLUMN_PT: f64 = 218.0;
const PAGE_PT: f64 = 453.0;
/// Between two columns of a table.
const GAP_PT: f64 = 7.0;
/// From one line to the next, in font sizes.
const LEADING: f64 = 1.2;
/// What fits with its caption into the part of a page that LaTeX gives to floats at its top, in points: 0.7 of it.
const TOP_PT: f64 = 430.0;
/// What of a page a table may fill, in points.
const HEIGHT_PT: f64 = 620.0;

/// Where a line of a cell ends.
const BREAK: &str = "\\harnessbreak{}";

/// A cell: what is set, and the lines that it would have.
struct Cell {
    set: String,
    bold: bool,
    span: usize,
    lines: Vec<String>,
    face: Face,
    /// Whether it stands in a box, as a number with its error and an interval do, and cannot be broken.
    boxed: bool,
}

/// What letters are set in.
#[derive(Clone, Copy, PartialEq)]
enum Face {
    Times,
    Bold,
    Courier,
}

impl Face {
    /// The width of a text in em: that of Times, rounded up by kind of letter.
    fn width(self, text: &str) -> f64 {
        let of = |letter: char| match letter {
            '\u{200b}' => 0.0,
            _ if self == Face::Courier => 0.6,
            'M' | 'W' => 0.95,
            'm' | '%' => 0.83,
            'w' => 0.73,
            _ if letter.is_uppercase() => 0.73,
            _ if letter.is_ascii() => 0.5,
            _ => 0.6,
        };
        text.chars().map(of).sum::<f64>() * if self == Face::Bold { 1.1 } else { 1.0 }
    }
}

impl Cell {
    fn width(&self, size: f64) -> f64 {
        self.lines.iter().map(|line| self.face.width(line)).fold(0.0, f64::max) * size
    }

    /// How it is set: in a column that is broken at its width, or in one as wide as its longest line.
    fn source(&self, is_broken: bool) -> String {
        let set = match (self.set.contains(BREAK), is_broken) {
            (false, _) => self.set.clone(),
            (true, true) => self.set.replace(BREAK, "\\newline{}"),
            (true, false) => {
                format!("\\begin{{tabular}}[t]{{@{{}}l@{{}}}}{}\\end{{tabular}}", self.set.replace(BREAK, "\\\\ "))
            }
        };
        if self.bold && !set.is_empty() { format!("\\textbf{{{set}}}") } else { set }
    }

    /// What of it cannot be broken.
    fn least(&self, size: f64) -> f64 {
        if self.boxed {
            return self.width(size);
        }
        let words = self.lines.iter().flat_map(|line| line.split(|c: char| c.is_whitespace() || c == '\u{200b}'));
        words.map(|word| self.face.width(word)).fold(0.0, f64::max) * size
    }
}

/// A table, read.
struct Grid {
    wide: bool,
    size: f64,
    columns: Vec<&'static str>,
    header: Vec<Vec<Cell>>,
    rows: Vec<Vec<Cell>>,
    /// Rows with a line above.
    rules: Vec<usize>,
}

impl Writer<'_> {
    fn cell(&mut self, node: &Json, bold: bool) -> Cell {
        self.before = ' ';
        let lines: Vec<String> = plain(node).lines().map(|line| line.trim().to_owned()).collect();
        let set = self.inline(node);
        let face = if set.contains("\\texttt") {
            Face::Courier
        } else if bold || set.contains("\\textbf") {
            Face::Bold
        } else {
            Face::Times
        };
        let boxed = ["\\bounderror{", "\\bound{interval/"].iter().any(|box_of| set.contains(box_of));
        Cell { set, bold, span: 1, lines, face, boxed }
    }

    /// A table of the records.
    pub(super) fn table_of(&mut self, element: Element) {
        let mark = element.get("value");
        let rows = |name: &str| mark[name].as_array().cloned().unwrap_or_default();
        let cells = |writer: &mut Self, row: &Json, bold: bool| -> Vec<Cell> {
            let cell = |cell: &Json| match Element::of(cell).filter(|element| element.func == "cell") {
                Some(spanning) => writer.spanning(spanning, bold),
                None => writer.cell(cell, bold),
            };
            row.as_array().into_iter().flatten().map(cell).collect()
        };
        let size = mark["size"].as_str().and_then(|size| size.strip_suffix("pt")?.parse().ok()).unwrap_or(10.0);
        let grid = Grid {
            wide: mark["wide"] == Json::Bool(true),
            size,
            columns: rows("columns").iter().map(|side| if side == "right" { "r" } else { "l" }).collect(),
            header: vec![cells(self, &mark["header"], true)],
            rows: rows("rows").iter().map(|row| cells(self, row, false)).collect(),
            rules: rows("rules").iter().filter_map(|at| usize::try_from(at.as_u64()?).ok()).collect(),
        };
        let (caption, label) = (self.caption(&mark["caption"]), self.label(element));
        let star = if grid.wide { "*" } else { "" };
        for (at, (part, height_pt)) in grid.parts().into_iter().enumerate() {
            // LaTeX keeps the top of a page for what leaves room below it, and everything behind waits for what does not.
            let place = if height_pt > TOP_PT { "tp" } else { "t" };
            let (goes_on, caption, label) = if at == 0 {
                ("", caption.clone(), label.as_str())
            } else {
                ("\\ContinuedFloat\n", "\\caption[]{(continued)}".to_owned(), "")
            };
            self.push(&format!(
                "\n\\begin{{table{star}}}[{place}]\n{goes_on}\\centering\n{}\n{caption}{label}\n\\end{{table{star}}}\n",
                grid.tabular(part)
            ));
        }
    }

    /// A table that a section writes itself.
    pub(super) fn plain_table(&mut self, element: Element) -> String {
        let count = match element.get("columns") {
            Json::Number(number) => usize::try_from(number.as_u64().unwrap_or(1)).unwrap_or(1),
            Json::Array(columns) => columns.len(),
            _ => 1,
        };
        let side = |align: &Json| match align.as_str() {
            Some(word) if word.contains("right") || word.contains("end") => "r",
            Some(word) if word.contains("center") => "c",
            _ => "l",
        };
        let columns = match element.get("align") {
            Json::Array(several) => {
                (0..count).map(|at| several.get(at % several.len().max(1)).map_or("l", side)).collect()
            }
            one => vec![side(one); count],
        };
        for lost in ["fill", "gutter", "column-gutter", "row-gutter"] {
            if element.fields.contains_key(lost) {
                self.lose(element, &format!("table {lost}"));
            }
        }
        let mut grid =
            Grid { wide: false, size: 10.0, columns, header: Vec::new(), rows: Vec::new(), rules: Vec::new() };
        let mut row = Vec::new();
        for child in element.children() {
            let Some(child) = Element::of(child) else { continue };
            match child.func {
                "header" => grid.header = self.rows(child.children(), count, true),
                "footer" => {
                    let footer = self.rows(child.children(), count, false);
                    grid.rules.push(grid.rows.len());
                    grid.rows.extend(footer);
                }
                // Lines above the first and below the last row are there anyway.
                "hline" if row.is_empty() => grid.rules.push(grid.rows.len()),
                "hline" | "vline" => self.lose(child, &format!("table.{}", child.func)),
                _ => {
                    row.push(self.spanning(child, false));
                    if row.iter().map(|cell| cell.span).sum::<usize>() >= count {
                        grid.rows.push(std::mem::take(&mut row));
                    }
                }
            }
        }
        if !row.is_empty() {
            grid.rows.push(row);
        }
        grid.tabular(0..grid.rows.len())
    }

    fn rows(&mut self, nodes: &[Json], count: usize, bold: bool) -> Vec<Vec<Cell>> {
        let cells: Vec<&Json> = nodes.iter().filter(|node| function(node) == Some("cell")).collect();
        let (mut rows, mut row) = (Vec::new(), Vec::new());
        for node in cells {
            row.extend(Element::of(node).map(|cell| self.spanning(cell, bold)));
            if row.iter().map(|cell: &Cell| cell.span).sum::<usize>() >= count {
                rows.push(std::mem::take(&mut row));
            }
        }
        if !row.is_empty() {
            rows.push(row);
        }
        rows
    }

    fn spanning(&mut self, element: Element, bold: bool) -> Cell {
        for lost in ["rowspan", "fill", "stroke"] {
            if element.fields.contains_key(lost) {
                self.lose(element, &format!("table.cell {lost}"));
            }
        }
        let already = function(element.get("body")) == Some("strong");
        let span = usize::try_from(element.get("colspan").as_u64().unwrap_or(1)).unwrap_or(1);
        Cell { span, ..self.cell(element.get("body"), bold && !already) }
    }
}

impl Grid {
    /// For each column its side, and its width where it has to be broken to fit.
    fn widths(&self) -> Vec<(&'static str, Option<f64>)> {
        let count = self.columns.len();
        let over = |measure: fn(&Cell, f64) -> f64| -> Vec<f64> {
            let mut widths = vec![0.0f64; count];
            for row in self.header.iter().chain(&self.rows) {
                let mut at = 0;
                for cell in row {
                    if cell.span == 1 && at < count {
                        widths[at] = widths[at].max(measure(cell, self.size));
                    }
                    at += cell.span;
                }
            }
            widths
        };
        let (natural, least) = (over(Cell::width), over(Cell::least));
        let room = if self.wide { PAGE_PT } else { COLUMN_PT } - GAP_PT * (count.max(1) - 1) as f64;
        if natural.iter().sum::<f64>() <= room {
            return self.columns.iter().map(|side| (*side, None)).collect();
        }
        // What is broken anyway takes the room that the others leave, but no less than its longest word where there is room.
        let can_break: Vec<bool> = natural.iter().zip(&least).map(|(natural, least)| natural > least).collect();
        let fixed: f64 = (0..count).filter(|at| !can_break[*at]).map(|at| natural[at]).sum();
        let (wanted, needed) = (0..count)
            .filter(|at| can_break[*at])
            .fold((0.0, 0.0), |(wanted, needed), at| (wanted + natural[at] - least[at], needed + least[at]));
        let spare = (room - fixed - needed).max(0.0);
        let width = |at: usize| least[at] + spare * (natural[at] - least[at]) / f64::max(wanted, 1.0);
        (0..count).map(|at| (self.columns[at], can_break[at].then(|| width(at)))).collect()
    }

    /// Which rows stand in one table, so that none is higher than a page, with the height of it in points.
    fn parts(&self) -> Vec<(std::ops::Range<usize>, f64)> {
        let widths = self.widths();
        let height = |row: &Vec<Cell>| {
            let lines = row.iter().zip(&widths).map(|(cell, (_, width))| match width {
                Some(width) => cell
                    .lines
                    .iter()
                    .map(|line| (cell.face.width(line) * self.size / width.max(1.0)).ceil().max(1.0))
                    .sum::<f64>(),
                None => cell.lines.len() as f64,
            });
            lines.fold(1.0, f64::max) * self.size * LEADING
        };
        let (mut parts, mut start, mut filled) = (Vec::new(), 0, 0.0);
        for (at, row) in self.rows.iter().enumerate() {
            let own = height(row);
            if filled + own > HEIGHT_PT && at > start {
                // The heading of a group goes with what it is the heading of.
                let cut = if self.rules.contains(&(at - 1)) && at - 1 > start { at - 1 } else { at };
                let moved: f64 = self.rows[cut..at].iter().map(height).sum();
                parts.push((start..cut, filled - moved));
                (start, filled) = (cut, moved);
            }
            filled += own;
        }
        parts.push((start..self.rows.len(), filled));
        parts
    }

    fn tabular(&self, rows: std::ops::Range<usize>) -> String {
        let column = |(side, width): &(&'static str, Option<f64>)| match width {
            None => (*side).to_owned(),
            Some(width) => {
                let ragged = match *side {
                    "r" => "\\raggedleft",
                    "c" => "\\centering",
                    _ => "\\raggedright",
                };
                format!(">{{{ragged}\\arraybackslash}}p{{{width:.1}pt}}")
            }
        };
        let widths = self.widths();
        let columns: String = widths.iter().map(column).collect();
        let mut out = format!(
            "\\harnessfit{{\\fontsize{{{0}}}{{{1:.1}}}\\selectfont\\setlength{{\\tabcolsep}}{{{2:.1}pt}}%\n\\begin{{tabular}}{{@{{}}{columns}@{{}}}}\n\\toprule\n",
            self.size,
            self.size * LEADING,
            GAP_PT / 2.0
        );
        for row in &self.header {
            out.push_str(&line(row, &widths));
        }
        if !self.header.is_empty() {
            out.push_str("\\midrule\n");
        }
        for at in rows.clone() {
            if self.rules.contains(&at) && at > rows.start {
                out.push_str("\\midrule\n");
            }
            out.push_str(&line(&self.rows[at], &widths));
        }
        out.push_str("\\bottomrule\n\\end{tabular}}");
        out
    }
}

fn line(row: &[Cell], widths: &[(&'static str, Option<f64>)]) -> String {
    let mut at = 0;
    let mut cell = |cell: &Cell| {
        let is_broken = cell.span == 1 && widths.get(at).is_some_and(|(_, width)| width.is_some());
        at += cell.span;
        match cell.span {
            1 => cell.source(is_broken),
            span => format!("\\multicolumn{{{span}}}{{l}}{{{}}}", cell.source(false)),
        }
    };
    let cells: Vec<String> = row.iter().map(&mut cell).collect();
    // A row that begins with a bracket or a star would be read as an option of the break before it.
    let guard = if cells.first().is_some_and(|first| first.starts_with(['[', '*'])) { "{}" } else { "" };
    format!("{guard}{} \\\\\n", cells.join(" & "))
}
