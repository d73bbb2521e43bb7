//! The parts of a paper, their order and how far its content may reach.

use super::{BLOCK, COLUMNS, Finding, Pdf, Setting, is_page_number, is_ruler, quoted};
use crate::model::{Heading, Outline};
use crate::pdf::Piece;

/// The text block begins 2.5 cm below the edge; a heading above this height is at the top of its column.
const TOP_PT: f64 = 90.0;
/// A heading with two lines below it.
const ROOM_PT: f64 = 60.0;
/// Most words of an abstract.
const ABSTRACT_WORDS: usize = 200;

/// Sections of a PDF with their places: lines in bold type of 12 pt. Numbers and letters before them are left out.
pub(super) fn outline(pdf: &Pdf) -> Outline {
    let mut headings: Vec<Heading> = Vec::new();
    for (at, page) in pdf.pages.iter().enumerate() {
        let is_bold = |piece: &&Piece| {
            let name = &pdf.fonts[piece.font].name;
            ["Bold", "Medi", "CMBX", "-Bd"].iter().any(|part| name.contains(part))
        };
        let is_heading = |piece: &&Piece| {
            piece.visible && !piece.in_drawing && piece.size > 11.5 && piece.size < 12.7 && is_bold(piece)
        };
        let in_title = |piece: &Piece| at == 0 && piece.y < 205.0 && piece.text.trim() != "Abstract";
        let mut lines: Vec<(bool, f64, Vec<&Piece>)> = Vec::new();
        for piece in page.pieces.iter().filter(is_heading).filter(|piece| !in_title(piece)) {
            let second = piece.left > COLUMNS.0;
            match lines.iter_mut().find(|(column, y, _)| *column == second && (*y - piece.y).abs() < 2.0) {
                Some((_, _, line)) => line.push(piece),
                None => lines.push((second, piece.y, vec![piece])),
            }
        }
        lines.sort_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap_or(std::cmp::Ordering::Equal));
        for (_, y, mut line) in lines {
            line.sort_by(|a, b| a.left.total_cmp(&b.left));
            let text = line.iter().map(|piece| piece.text.trim()).collect::<Vec<_>>().join(" ");
            let page = at as u64 + 1;
            headings.push(Heading { text: without_number(&text), level: 1, page, x_pt: line[0].left, y_pt: y });
        }
    }
    Outline { pages: pdf.pages.len() as u64, headings, ..Outline::default() }
}

fn without_number(text: &str) -> String {
    let is_number = |word: &str| {
        let is_letter = word.len() == 1 && word.bytes().all(|b| b.is_ascii_uppercase());
        is_letter
            || word.bytes().next().is_some_and(|b| b.is_ascii_digit())
                && word.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    match text.split_once(' ') {
        Some((number, rest)) if is_number(number) => rest.trim().to_owned(),
        _ => text.to_owned(),
    }
}

/// Whether a heading is the first thing of its page: all content is before it.
fn starts_page(heading: &Heading) -> bool {
    heading.y_pt <= TOP_PT && heading.x_pt < COLUMNS.0
}

pub(super) fn check(setting: &Setting, outline: &Outline) -> Vec<Finding> {
    let headings = &outline.headings;
    let find = |name: &str| headings.iter().position(|h| h.text == name);
    let mut findings = Vec::new();
    let Some(limitations) = find("Limitations") else {
        findings.push(Finding::new(
            "limitations",
            "there is no section `Limitations`",
            "papers without one are rejected unread; templates/sections/90-limitations.typ.tera has a draft",
        ));
        return findings;
    };
    let heading = &headings[limitations];
    let last = heading.page - u64::from(starts_page(heading) && heading.page > 1);
    if let Some(limit) = setting.limit.filter(|limit| last > *limit) {
        let problem = format!("the content ends on page {last}, and {limit} pages are allowed");
        let hint = "`Limitations`, references and appendices do not count: move tables to the appendix";
        findings.push(Finding::new("page limit", problem, hint).on(last as usize));
    }
    match find("References") {
        Some(references) if references < limitations => findings.push(
            Finding::new(
                "order",
                "`Limitations` stands behind the references",
                "move it right behind the conclusion: its file is numbered from 90 on",
            )
            .on(heading.page as usize),
        ),
        _ => {
            let after = headings[limitations + 1..].iter().take_while(|h| h.text != "References");
            let is_allowed = |h: &&Heading| h.text.starts_with("Ethic") || h.text.starts_with("Acknowledg");
            for heading in after.filter(|h| h.level == 1 && !is_allowed(h)) {
                let problem = format!("the section `{}` stands between `Limitations` and the references", heading.text);
                let hint = "number its file below 90, or move it to the appendix (`A2-...typ`)";
                findings.push(Finding::new("order", problem, hint).on(heading.page as usize));
            }
        }
    }
    findings
}

/// Whether the column before `Limitations` was left early.
pub(super) fn page_break(pdf: &Pdf, outline: &Outline) -> Option<Finding> {
    let heading = outline.headings.iter().find(|h| h.text == "Limitations").filter(|h| h.y_pt <= TOP_PT)?;
    let second = heading.x_pt > COLUMNS.0;
    let page = usize::try_from(heading.page).ok()?.checked_sub(if second { 1 } else { 2 })?;
    let column = if second { (BLOCK.left, COLUMNS.0) } else { (COLUMNS.1, BLOCK.right) };
    let inside = |left: f64, right: f64| right > column.0 && left < column.1;
    let before = pdf.pages.get(page)?;
    let is_content = |piece: &&Piece| inside(piece.left, piece.right) && !is_ruler(piece) && !is_page_number(piece);
    let texts = before.pieces.iter().filter(is_content).map(|piece| piece.y);
    let ink = before.ink.iter().filter(|ink| inside(ink.left, ink.right)).map(|ink| ink.bottom);
    let lowest = texts.chain(ink).fold(BLOCK.top, f64::max);
    (lowest < BLOCK.bottom - ROOM_PT).then(|| {
        let problem = "`Limitations` begins on a new page or column, though there was room below the text before it";
        Finding::new("page break", problem, "take the `#pagebreak()` or `#colbreak()` before it out")
            .on(heading.page as usize)
    })
}

/// The abstract: it is there, short and without markup.
pub(super) fn abstract_of(pdf: &Pdf, outline: &Outline) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(finding) = title(pdf) {
        findings.push(finding);
    }
    let Some(at) = outline.headings.iter().position(|heading| heading.text == "Abstract") else {
        let hint = "report/sections/00-abstract.typ holds it";
        return vec![Finding::new("abstract", "there is no abstract", hint)];
    };
    let pieces = between(pdf, &outline.headings[at], outline.headings.get(at + 1));
    let count = words(&pieces).len();
    if count > ABSTRACT_WORDS {
        let problem = format!("the abstract has {count} words, and {ABSTRACT_WORDS} are allowed");
        findings.push(
            Finding::new("abstract", problem, "say what was done, found and adopted, and leave the rest to the text")
                .on(1),
        );
    }
    let mut letters = vec![0; pdf.fonts.len()];
    pieces.iter().for_each(|piece| letters[piece.font] += piece.text.len());
    let main = (0..letters.len()).max_by_key(|font| letters[*font]).unwrap_or_default();
    let is_marked = |piece: &&&Piece| piece.font != main && piece.text.chars().any(char::is_alphanumeric);
    if let Some(marked) = pieces.iter().find(is_marked) {
        let problem = format!("{} in the abstract is set in {}", quoted(&marked.text), pdf.fonts[marked.font].name);
        let hint = "title and abstract are plain text: no emphasis, code or formulas";
        findings.push(Finding::new("plain text", problem, hint).on(1));
    }
    findings
}

/// A title that holds commands.
fn title(pdf: &Pdf) -> Option<Finding> {
    let (_, title) = pdf.metadata.iter().find(|(name, _)| name == "Title")?;
    let is_command =
        |at: usize| title[at + 1..].chars().next().is_some_and(|c| c.is_alphabetic() || "\\{$".contains(c));
    let marked = title.matches('$').count() >= 2 || title.match_indices('\\').any(|(at, _)| is_command(at));
    let problem = || format!("the title {} holds markup", quoted(title));
    marked.then(|| Finding::new("plain text", problem(), "write the title in plain text in report/paper.toml").on(1))
}

/// Whether a place is between a heading and the next one in the order of reading.
pub(super) fn holds(headings: &[Heading], at: usize, page: usize, x: f64, y: f64) -> bool {
    stretch(&headings[at], headings.get(at + 1))(page as u64, x, y)
}

fn stretch(from: &Heading, to: Option<&Heading>) -> impl Fn(u64, f64, f64) -> bool {
    let place = |page: u64, x: f64, y: f64| (page, x > COLUMNS.0, y);
    let of = |heading: &Heading, y: f64| place(heading.page, heading.x_pt, y);
    let start = of(from, from.y_pt + 2.0);
    let end = to.map_or((u64::MAX, true, f64::MAX), |to| of(to, to.y_pt - 2.0));
    move |page, x, y| {
        let here = place(page, x, y);
        here > start && here < end
    }
}

/// Text from one heading to the next in the order of reading.
pub(super) fn between<'a>(pdf: &'a Pdf, from: &Heading, to: Option<&Heading>) -> Vec<&'a Piece> {
    let holds = stretch(from, to);
    let mut found = Vec::new();
    for (at, page) in pdf.pages.iter().enumerate() {
        let number = at as u64 + 1;
        let is_text = |piece: &&Piece| holds(number, piece.left, piece.y) && piece.visible && is_of_text(piece);
        let mut own: Vec<&Piece> = page.pieces.iter().filter(is_text).collect();
        own.sort_by(|a, b| {
            let key = |p: &Piece| (p.left > COLUMNS.0, (p.y / 3.0).round(), p.left);
            key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal)
        });
        found.extend(own);
    }
    found
}

fn is_of_text(piece: &Piece) -> bool {
    !piece.artifact && !piece.in_drawing && !is_ruler(piece) && !is_page_number(piece)
}

/// Words; one that is broken over lines counts once.
fn words(pieces: &[&Piece]) -> Vec<String> {
    let mut text = String::new();
    let mut before: Option<&Piece> = None;
    for piece in pieces {
        let same_line = before.is_some_and(|b| (b.y - piece.y).abs() < 4.0);
        let joined = same_line && before.is_some_and(|b| piece.left - b.right < 0.15 * piece.size);
        let broken = !same_line && text.ends_with(['-', '\u{ad}', '\u{2010}']);
        if broken {
            text.pop();
        } else if !joined {
            text.push(' ');
        }
        text.push_str(piece.text.trim_end_matches('\u{ad}'));
        before = Some(piece);
    }
    text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).map(str::to_owned).collect()
}
