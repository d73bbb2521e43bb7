//! The two columns: what runs out of them, text beside figures, pages of one column.

use super::{BLOCK, COLUMNS, Finding, HANGING, Pdf, TOLERANCE, is_a4, point, quoted};
use crate::pdf::{Page, Piece, Rect};

/// Lines of running text over both columns that make a page one of a single column; captions have fewer.
const ONE_COLUMN: usize = 12;

pub(super) fn check(pdf: &Pdf) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, page) in pdf.pages.iter().enumerate().filter(|(_, page)| is_a4(page)) {
        let at = at + 1;
        let across = across(page, at == 1);
        if across.lines >= ONE_COLUMN && !has_formulas(pdf, page, at) {
            let problem = format!("{} lines of text run over both columns", across.lines);
            let hint = "set it in two columns; only mathematics may need one";
            findings.push(Finding::new("one-column appendix", problem, hint).on(at));
        } else if let Some(piece) = across.overfull {
            let problem = format!("{} runs out of its column", quoted(&piece.text));
            let hint = "let it break (a long name takes `#raw` in parts or a soft hyphen `-?`), or set the table wide";
            findings.push(Finding::new("columns", problem, hint).on(at).at(point(piece.left, piece.y)));
        }
        if let Some(drawing) = wrapped(page) {
            let hint = "make it at least as wide as its column, in a `#figure` of its own";
            let finding = Finding::new("text around figures", "text runs beside a figure", hint);
            findings.push(finding.on(at).at(point(drawing.left, drawing.top)));
        }
    }
    findings
}

/// Formulas may need the width of the page.
fn has_formulas(pdf: &Pdf, page: &Page, at: usize) -> bool {
    let tagged = pdf.elements.iter().filter(|e| e.kind == "Formula" && e.page == Some(at)).count();
    let is_math = |piece: &&Piece| {
        let name = &pdf.fonts[piece.font].name;
        ["Math", "CMMI", "CMSY", "CMEX", "txmi", "txsy", "rtxmi"].iter().any(|part| name.contains(part))
    };
    tagged >= 3 || page.pieces.iter().filter(is_math).count() >= 10
}

struct Across<'a> {
    /// Lines of running text over both columns.
    lines: usize,
    overfull: Option<&'a Piece>,
}

/// Pieces of one line without a gap as wide as that between the columns.
struct Run<'a> {
    first: &'a Piece,
    right: f64,
    /// Whether one piece stands on another.
    collides: bool,
}

/// The runs of a page. Where a piece begins as the second column does, a run begins.
fn runs<'a>(texts: &[&'a Piece]) -> Vec<Run<'a>> {
    let mut sorted: Vec<&Piece> = texts.to_vec();
    let key = |piece: &Piece| ((piece.y / 2.0).round(), piece.left);
    sorted.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
    let mut runs: Vec<Run> = Vec::new();
    for piece in sorted {
        let begins_column = (piece.left - COLUMNS.1).abs() < TOLERANCE;
        match runs.last_mut() {
            Some(run)
                if key(run.first).0 == key(piece).0
                    && piece.left < run.right + 9.0
                    && !(begins_column && piece.left > run.right) =>
            {
                run.collides |= begins_column && piece.left < run.right - 2.0;
                run.right = run.right.max(piece.right);
            }
            _ => runs.push(Run { first: piece, right: piece.right, collides: false }),
        }
    }
    runs
}

/// What crosses the gap between the columns. What is as wide as the page may: the title, a figure, a table with its rules,
/// and a caption.
fn across(page: &Page, first: bool) -> Across<'_> {
    let gap = (COLUMNS.0 + HANGING, COLUMNS.1 - HANGING);
    let is_wide = |rect: &Rect| rect.left < gap.0 - 60.0 && rect.right > gap.1 + 60.0;
    let wide_drawings: Vec<Rect> = page.drawings.iter().copied().filter(is_wide).collect();
    // A table of both columns has rules above its head and below its last row.
    let mut rules: Vec<f64> = page.ink.iter().filter(|r| is_wide(r) && r.bottom - r.top < 2.0).map(|r| r.top).collect();
    rules.sort_by(f64::total_cmp);
    let in_table = |y: f64| rules.first().zip(rules.last()).is_some_and(|(top, bottom)| *top <= y && y <= *bottom);
    let in_drawing = |y: f64| wide_drawings.iter().any(|d| d.top - 2.0 <= y && y <= d.bottom + 2.0);
    let in_title = |y: f64| first && y < BLOCK.top + 141.7;
    let is_free = |y: f64| !in_title(y) && !in_table(y) && !in_drawing(y);
    let is_text = |piece: &&Piece| piece.visible && !piece.artifact && !piece.in_drawing && is_free(piece.y);
    let texts: Vec<&Piece> = page.pieces.iter().filter(is_text).collect();
    let crosses = |run: &&Run| run.first.left < gap.1 && run.right > gap.0;
    let runs: Vec<Run> = runs(&texts);
    let is_line = |run: &Run| run.right > gap.1 + 15.0 && !run.collides;
    let lines: Vec<&Run> = runs.iter().filter(crosses).filter(|run| is_line(run)).collect();
    let below_line = |y: f64| lines.iter().any(|line| y > line.first.y && y - line.first.y < 16.0);
    let overfull = runs.iter().filter(crosses).find(|run| !is_line(run) && !below_line(run.first.y));
    let running = lines.iter().filter(|run| run.right - run.first.left > 0.8 * BLOCK.width()).count();
    Across { lines: running, overfull: overfull.map(|run| run.first) }
}

/// A drawing narrower than its column, with lines of text beside it in the same one.
fn wrapped(page: &Page) -> Option<Rect> {
    let columns = [(BLOCK.left, COLUMNS.0), (COLUMNS.1, BLOCK.right)];
    let beside = |drawing: &Rect| {
        let Some(column) = columns.iter().find(|c| drawing.left >= c.0 - 3.0 && drawing.right <= c.1 + 3.0) else {
            return false;
        };
        let is_beside = |piece: &&Piece| {
            let inside = piece.left >= column.0 - 3.0 && piece.right <= column.1 + 3.0;
            let apart = piece.left >= drawing.right - 1.0 || piece.right <= drawing.left + 1.0;
            !piece.in_drawing
                && piece.visible
                && inside
                && apart
                && piece.y > drawing.top + 4.0
                && piece.y < drawing.bottom
        };
        drawing.width() > 40.0 && page.pieces.iter().filter(is_beside).count() >= 3
    };
    page.drawings.iter().copied().find(beside)
}
