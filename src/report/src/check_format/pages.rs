//! Paper, margins, numbers in them, fonts and their sizes, tags: what every page has to keep to.

use std::collections::BTreeMap;

use super::{BLOCK, Finding, HANGING, Mode, Pdf, TOLERANCE, is_a4, is_page_number, is_ruler, point, quoted};
use crate::pdf::{Page, Piece};

/// Faces of Times that the checker of the proceedings takes for the text.
const MAIN: [&str; 5] =
    ["NimbusRomNo9L-Reg", "TeXGyreTermesX-Reg", "TeXGyreTermes-Reg", "TimesNewRomanPSMT", "STIXGeneral-Reg"];
/// Least share of all characters in the main font.
const MAIN_SHARE: f64 = 0.35;
/// Families for text, ruler, code and formulas. Any other family sets at most [`OTHER_SHARE`] of the characters.
const FAMILIES: [&str; 22] = [
    "NimbusRom",
    "NimbusSan",
    "TeXGyreTermes",
    "TeXGyreHeros",
    "TimesNewRoman",
    "Times",
    "STIX",
    "Helvetica",
    "Arial",
    "Inconsolata",
    "NewCM",
    "txmia",
    "txsy",
    "txex",
    "rtxmi",
    "CMMI",
    "CMSY",
    "CMEX",
    "CMR",
    "MSBM",
    "MSAM",
    "TeXGyreTermesMath",
];
const OTHER_SHARE: f64 = 0.02;
/// The least size of text after scaling: what A4 print shows a reader without a glass.
const LEAST_PT: f64 = 7.0;
/// Sizes that the body may have.
const BODY_PT: (f64, f64) = (10.8, 11.2);

pub(super) fn check(pdf: &Pdf, mode: Mode) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, page) in pdf.pages.iter().enumerate() {
        let at = at + 1;
        if !is_a4(page) {
            let found = format!("the page is {:.0} x {:.0} pt, not A4 (595 x 842)", page.width, page.height);
            findings.push(Finding::new("paper size", found, "set the paper to A4, 21.0 x 29.7 cm").on(at));
            continue;
        }
        findings.extend(margins(page).map(|finding| finding.on(at)));
        findings.extend(numbers(page, mode).into_iter().map(|finding| finding.on(at)));
        findings.extend(small(page).map(|finding| finding.on(at)));
        findings.extend(hidden(page).map(|finding| finding.on(at)));
    }
    findings.extend(fonts(pdf));
    if !pdf.tagged {
        findings.push(Finding::new(
            "tags",
            "the PDF has no tags, without which a screen reader does not know its headings and figures",
            "compile with tags: Typst has them unless `--no-pdf-tags` is given; LaTeX needs `\\DocumentMetadata`",
        ));
    }
    for element in pdf.elements.iter().filter(|element| element.kind == "Figure" && element.alt.is_none()) {
        let finding = Finding::new(
            "alt text",
            "a figure has no text for readers who do not see it",
            "`#figure-of` writes it; an `image(...)` of your own takes `alt: \"...\"`",
        );
        findings.push(Finding { page: element.page, ..finding });
    }
    findings
}

/// The first thing of a page that stands in its margins.
fn margins(page: &Page) -> Option<Finding> {
    let in_margin = |piece: &&Piece| {
        piece.visible
            && !is_ruler(piece)
            && !is_page_number(piece)
            && (piece.left < BLOCK.left - TOLERANCE
                || piece.right > BLOCK.right + HANGING
                || piece.y < BLOCK.top
                || piece.y > BLOCK.bottom + TOLERANCE)
    };
    if let Some(piece) = page.pieces.iter().find(in_margin) {
        let problem = format!("{} stands in the margin", quoted(&piece.text));
        let hint = "shorten the line, or make the table or figure as wide as its column";
        return Some(Finding::new("margins", problem, hint).at(point(piece.left, piece.y)));
    }
    // Lines have a width, and a frame may lie half outside.
    let room = 2.5;
    let ink = page.ink.iter().find(|ink| {
        ink.left < BLOCK.left - room
            || ink.right > BLOCK.right + room
            || ink.top < BLOCK.top - room
            || ink.bottom > BLOCK.bottom + room
    })?;
    let problem = "a picture, line or area reaches into the margin";
    Some(Finding::new("margins", problem, "make it as wide as its column").at(point(ink.left, ink.top)))
}

/// The ruler and the number of the page, which the mode asks for or forbids.
fn numbers(page: &Page, mode: Mode) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rulers = page.pieces.iter().filter(|piece| is_ruler(piece)).count();
    let lines = page.pieces.iter().filter(|p| !p.in_drawing && p.visible && p.size > 10.5 && p.size < 11.5).count();
    if mode == Mode::Review && rulers == 0 && lines > 20 {
        let hint = "build it with `harness report --mode review`";
        findings.push(Finding::new("ruler", "the lines of the page have no numbers, which reviewers point to", hint));
    } else if mode != Mode::Review && rulers > 0 {
        let problem = format!("{rulers} lines have numbers, which only a review copy has");
        findings.push(Finding::new("ruler", problem, "build it with `harness report --mode final`"));
    }
    let numbered = page.pieces.iter().any(is_page_number);
    if mode == Mode::Final && numbered {
        let problem = "the page has a number, where the proceedings print their own";
        findings.push(Finding::new("page numbers", problem, "build it with `harness report --mode final`"));
    } else if mode != Mode::Final && !numbered {
        let problem = "the page has no number in the middle of its lower margin";
        findings.push(Finding::new("page numbers", problem, "set `numbering: \"1\"` for the page"));
    }
    findings
}

/// The smallest text of a page that is too small to read. Indices and marks of footnotes are small by nature.
fn small(page: &Page) -> Option<Finding> {
    let is_mark = |piece: &Piece| !piece.in_drawing && piece.text.trim().chars().count() <= 4;
    let small = page.pieces.iter().filter(|p| p.visible && !p.artifact && p.size < LEAST_PT - 0.05 && !is_mark(p));
    let smallest = small.min_by(|a, b| a.size.total_cmp(&b.size))?;
    let problem =
        format!("{} is {:.1} pt high on the page, less than {LEAST_PT} pt", quoted(&smallest.text), smallest.size);
    let hint = "draw the figure in the width in which it stands, or take fewer columns in the table";
    Some(Finding::new("legible", problem, hint).at(point(smallest.left, smallest.y)))
}

/// Text that is there for machines alone.
fn hidden(page: &Page) -> Option<Finding> {
    let letters = |piece: &&Piece| piece.text.chars().filter(|c| c.is_alphabetic()).count() >= 4;
    let found = page.pieces.iter().filter(|p| !p.visible && !p.artifact && !p.in_drawing).find(letters)?;
    let problem = format!("{} is on the page, but cannot be seen", quoted(&found.text));
    Some(
        Finding::new("hidden text", problem, "take it out: all text must be visible to readers")
            .at(point(found.left, found.y)),
    )
}

fn fonts(pdf: &Pdf) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut letters, mut sizes) = (vec![0_usize; pdf.fonts.len()], BTreeMap::new());
    let mut first_page = vec![0; pdf.fonts.len()];
    for (at, page) in pdf.pages.iter().enumerate() {
        for piece in &page.pieces {
            let count = piece.text.chars().filter(|c| !c.is_whitespace()).count();
            letters[piece.font] += count;
            if first_page[piece.font] == 0 {
                first_page[piece.font] = at + 1;
            }
            if !piece.in_drawing && !piece.artifact {
                *sizes.entry((piece.size * 10.0).round() as i64).or_insert(0) += count;
            }
        }
    }
    let total = letters.iter().sum::<usize>();
    if total == 0 {
        let hint = "export the text as text, not as pictures";
        return vec![Finding::new("main font", "the PDF has no text", hint)];
    }
    for (at, font) in pdf.fonts.iter().enumerate().filter(|(_, font)| !font.embedded) {
        let problem = format!("the font {} is not in the PDF, so that others see another", font.name);
        let hint = "embed all fonts: `make setup` fetches those of the paper; figures of your own need theirs too";
        let finding = Finding::new("fonts embedded", problem, hint);
        findings.push(if first_page[at] > 0 { finding.on(first_page[at]) } else { finding });
    }
    let share = |of: &dyn Fn(&str) -> bool| {
        let own = pdf.fonts.iter().zip(&letters).filter(|(font, _)| of(&font.name));
        own.map(|(_, count)| *count).sum::<usize>() as f64 / total as f64
    };
    // The same family in another width or slope is not the font of the text.
    let by_name =
        pdf.fonts.iter().zip(&letters).fold(BTreeMap::new(), |mut all: BTreeMap<&str, usize>, (font, count)| {
            *all.entry(&font.name).or_default() += count;
            all
        });
    let most = by_name.iter().max_by_key(|(_, count)| **count).map_or("", |(name, _)| *name);
    let main = by_name.get(most).map_or(0.0, |count| *count as f64 / total as f64);
    if !MAIN.iter().any(|name| most.contains(name)) || main < MAIN_SHARE {
        let problem = format!(
            "the most used font is {most} with {:.0} % of the characters; the text is to be in Times with at least {:.0} %",
            100.0 * main,
            100.0 * MAIN_SHARE
        );
        findings.push(Finding::new("main font", problem, "set the text in TeX Gyre Termes, as templates/acl.typ does"));
    }
    let is_other = |name: &str| !FAMILIES.iter().any(|family| name.starts_with(family));
    let others = share(&is_other);
    if others > OTHER_SHARE {
        let mut names: Vec<&str> = by_name.keys().copied().filter(|name| is_other(name)).collect();
        names.dedup();
        let problem = format!("{:.1} % of the characters are set in {}", 100.0 * others, names.join(", "));
        let hint = "use the fonts of the style: Times for text, Inconsolata for code, Computer Modern for formulas";
        findings.push(Finding::new("font families", problem, hint));
    }
    let body = sizes.iter().max_by_key(|(_, count)| **count).map_or(0.0, |(size, _)| *size as f64 / 10.0);
    if body < BODY_PT.0 || body > BODY_PT.1 {
        let problem = format!("most of the text is {body:.1} pt high, not 11 pt");
        findings.push(Finding::new(
            "type size",
            problem,
            "take changes of the text's size out of templates and sections",
        ));
    }
    findings
}
