//! What the operators of a page put where (PDF 32000-1:2008, 8 and 9).

use std::rc::Rc;

use lopdf::content::Content;
use lopdf::{Dictionary, Document, Object, ObjectId};

use super::font::{Face, Fonts};
use super::{LARGEST_STREAM, Link, Page, Piece, Rect, array, dictionary, number, numbers, text};

/// Drawings within drawings, deeper than this, are not looked into.
const DEEPEST: usize = 12;
/// A page that does more than this is not read on.
const MOST_OPERATORS: usize = 5_000_000;

/// `[a b c d e f]`: x' = ax + cy + e, y' = bx + dy + f.
#[derive(Clone, Copy, Debug)]
struct Matrix([f64; 6]);

impl Matrix {
    const SAME: Matrix = Matrix([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    fn of(numbers: &[f64]) -> Option<Self> {
        <[f64; 6]>::try_from(numbers).ok().map(Matrix)
    }

    /// First this one, then the other.
    fn then(self, other: Matrix) -> Matrix {
        let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (self.0, other.0);
        Matrix([a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + l])
    }

    fn at(self, x: f64, y: f64) -> (f64, f64) {
        let [a, b, c, d, e, f] = self.0;
        (a * x + c * y + e, b * x + d * y + f)
    }
}

#[derive(Clone)]
struct State<'a> {
    ctm: Matrix,
    clip: Option<Rect>,
    white_fill: bool,
    white_stroke: bool,
    face: Option<Rc<Face<'a>>>,
    size: f64,
    character_spacing: f64,
    word_spacing: f64,
    scale: f64,
    leading: f64,
    rise: f64,
    render: i64,
}

struct Reader<'a, 'f> {
    document: &'a Document,
    fonts: &'f mut Fonts<'a>,
    page: Page,
    /// From the coordinates of the page to points from its upper left corner.
    base: Matrix,
    operators: usize,
    /// Of each open piece of marked content whether it is an artifact, and its number.
    marked: Vec<(bool, Option<i64>)>,
}

/// Reads a page.
pub(super) fn page<'a>(document: &'a Document, id: ObjectId, fonts: &mut Fonts<'a>) -> Result<Page, String> {
    let own = document.get_dictionary(id).map_err(|e| format!("a page cannot be read: {e}"))?;
    let inherited = |key: &[u8]| {
        let mut at = Some(own);
        for _ in 0..50 {
            let node = at?;
            if node.has(key) {
                return Some(node);
            }
            at = dictionary(document, node, b"Parent");
        }
        None
    };
    let media = inherited(b"MediaBox").and_then(|node| numbers(document, array(document, node, b"MediaBox")?));
    let [left, bottom, right, top] =
        media.and_then(|media| <[f64; 4]>::try_from(media).ok()).ok_or("a page has no size")?;
    let base = Matrix([1.0, 0.0, 0.0, -1.0, -left, top]);
    let page = Page { width: right - left, height: top - bottom, ..Page::default() };
    let mut reader = Reader { document, fonts, page, base, operators: 0, marked: Vec::new() };
    let bytes =
        document.get_page_content_with_limit(id, LARGEST_STREAM).map_err(|e| format!("a page cannot be read: {e}"))?;
    if let Some(resources) = inherited(b"Resources").and_then(|node| dictionary(document, node, b"Resources")) {
        reader.run(&bytes, resources, State::new(Matrix::SAME), 0);
    }
    reader.links(own);
    Ok(reader.page)
}

impl State<'_> {
    fn new(ctm: Matrix) -> Self {
        State {
            ctm,
            clip: None,
            white_fill: false,
            white_stroke: false,
            face: None,
            size: 0.0,
            character_spacing: 0.0,
            word_spacing: 0.0,
            scale: 1.0,
            leading: 0.0,
            rise: 0.0,
            render: 0,
        }
    }
}

impl<'a> Reader<'a, '_> {
    fn run(&mut self, bytes: &[u8], resources: &'a Dictionary, state: State<'a>, depth: usize) {
        let (mut state, mut stack) = (state, Vec::new());
        let (mut text, mut line) = (Matrix::SAME, Matrix::SAME);
        let mut path: Vec<(f64, f64)> = Vec::new();
        let mut clips = false;
        let open = self.marked.len();
        for operation in Content::decode_iter(bytes) {
            let Ok(operation) = operation else { break };
            self.operators += 1;
            if self.operators > MOST_OPERATORS {
                break;
            }
            let operands = &operation.operands;
            let n: Vec<f64> = operands.iter().filter_map(|operand| number(self.document, operand)).collect();
            match (operation.operator.as_str(), n.as_slice()) {
                ("q", _) => stack.push(state.clone()),
                ("Q", _) => state = stack.pop().unwrap_or(state),
                ("cm", n) => state.ctm = Matrix::of(n).unwrap_or(Matrix::SAME).then(state.ctm),
                ("m" | "l", &[x, y]) => path.push(state.ctm.then(self.base).at(x, y)),
                ("c", &[a, b, c, d, e, f]) => {
                    path.extend([(a, b), (c, d), (e, f)].map(|(x, y)| state.ctm.then(self.base).at(x, y)));
                }
                ("v" | "y", &[a, b, c, d]) => {
                    path.extend([(a, b), (c, d)].map(|(x, y)| state.ctm.then(self.base).at(x, y)));
                }
                ("re", &[x, y, w, h]) => path.extend(
                    [(x, y), (x + w, y), (x, y + h), (x + w, y + h)].map(|(x, y)| state.ctm.then(self.base).at(x, y)),
                ),
                ("W" | "W*", _) => clips = true,
                (paint @ ("S" | "s" | "f" | "F" | "f*" | "B" | "B*" | "b" | "b*" | "n"), _) => {
                    let all = Rect::around(&std::mem::take(&mut path));
                    let strokes = "SsBb".contains(&paint[..1]) && !state.white_stroke;
                    let fills = "fFBb".contains(&paint[..1]) && !state.white_fill;
                    if let Some(all) = all {
                        if strokes || fills {
                            let seen = state.clip.map_or(Some(all), |clip| clip.meet(all));
                            self.ink(seen);
                        }
                        if std::mem::take(&mut clips) {
                            let met = state.clip.map_or(Some(all), |clip| clip.meet(all));
                            // What does not meet leaves nothing to be seen.
                            let nothing = Rect { left: -1e9, top: -1e9, right: -1e9, bottom: -1e9 };
                            state.clip = Some(met.unwrap_or(nothing));
                        }
                    }
                    clips = false;
                }
                ("g" | "rg" | "k" | "sc" | "scn", n) => state.white_fill = is_white(&operation.operator, n),
                ("G" | "RG" | "K" | "SC" | "SCN", n) => state.white_stroke = is_white(&operation.operator, n),
                ("cs", _) => state.white_fill = false,
                ("CS", _) => state.white_stroke = false,
                ("Tf", n) => {
                    let name = operands.first().and_then(|name| name.as_name().ok()).unwrap_or_default();
                    state.face = self.fonts.face(resources, name);
                    state.size = n.last().copied().unwrap_or(0.0);
                }
                ("Tc", &[value]) => state.character_spacing = value,
                ("Tw", &[value]) => state.word_spacing = value,
                ("Tz", &[value]) => state.scale = value / 100.0,
                ("TL", &[value]) => state.leading = value,
                ("Ts", &[value]) => state.rise = value,
                ("Tr", &[value]) => state.render = value as i64,
                ("BT", _) => (text, line) = (Matrix::SAME, Matrix::SAME),
                ("Td", &[x, y]) => line = Matrix([1.0, 0.0, 0.0, 1.0, x, y]).then(line),
                ("TD", &[x, y]) => {
                    state.leading = -y;
                    line = Matrix([1.0, 0.0, 0.0, 1.0, x, y]).then(line);
                }
                ("Tm", n) => line = Matrix::of(n).unwrap_or(Matrix::SAME),
                ("T*" | "'" | "\"", n) => {
                    if let &[word, character] = n {
                        (state.word_spacing, state.character_spacing) = (word, character);
                    }
                    line = Matrix([1.0, 0.0, 0.0, 1.0, 0.0, -state.leading]).then(line);
                }
                ("BDC" | "BMC", _) => {
                    let tag = operands.first().and_then(|tag| tag.as_name().ok());
                    let properties = operands.get(1).and_then(|properties| properties.as_dict().ok());
                    let number = properties.and_then(|properties| properties.get(b"MCID").ok()?.as_i64().ok());
                    self.marked.push((tag == Some(b"Artifact"), number));
                }
                ("EMC", _) if self.marked.len() > open => drop(self.marked.pop()),
                ("BI", _) => self.picture(&state),
                ("Do", _) => {
                    let name = operands.first().and_then(|name| name.as_name().ok()).unwrap_or_default();
                    self.place(resources, name, &state, depth);
                }
                _ => {}
            }
            match operation.operator.as_str() {
                "Td" | "TD" | "Tm" | "T*" => text = line,
                "'" | "\"" | "Tj" | "TJ" => {
                    if operation.operator.len() == 1 {
                        text = line;
                    }
                    let empty = Vec::new();
                    let shown = match operands.last() {
                        Some(Object::Array(shown)) => shown.as_slice(),
                        Some(one) => std::slice::from_ref(one),
                        None => empty.as_slice(),
                    };
                    text = self.show(shown, &state, text, depth);
                }
                _ => {}
            }
        }
        self.marked.truncate(open);
    }

    /// Sets strings, and returns where the next would stand.
    fn show(&mut self, shown: &[Object], state: &State<'a>, text: Matrix, depth: usize) -> Matrix {
        let Some(face) = &state.face else { return text };
        let (mut along, mut first, mut last, mut said) = (0.0, None, 0.0, String::new());
        for item in shown {
            if let Some(kern) = number(self.document, item) {
                along -= kern / 1000.0 * state.size * state.scale;
                // A gap as wide as this is a blank that was not set.
                if kern < -180.0 && !said.is_empty() && !said.ends_with(' ') {
                    said.push(' ');
                }
                continue;
            }
            let Ok(bytes) = item.as_str() else { continue };
            let own = face.text(bytes);
            let blank_before = own.chars().take_while(|letter| letter.is_whitespace()).count();
            for (at, (width, is_blank)) in face.widths(bytes).enumerate() {
                let spacing = state.character_spacing + if is_blank { state.word_spacing } else { 0.0 };
                if at >= blank_before || own.trim().is_empty() {
                    first.get_or_insert(along);
                }
                let end = along + width * state.size * state.scale;
                if !own.trim().is_empty() {
                    last = end;
                }
                along = end + spacing * state.scale;
            }
            // A blank at the end of a line is not seen.
            if own.ends_with(char::is_whitespace) && !own.trim().is_empty() {
                let blanks = own.len() - own.trim_end().len();
                let widths: Vec<(f64, bool)> = face.widths(bytes).collect();
                last -=
                    widths.iter().rev().take(blanks).map(|(width, _)| width * state.size * state.scale).sum::<f64>();
            }
            said.push_str(&own);
        }
        let matrix = text.then(state.ctm).then(self.base);
        let (from, to) = (matrix.at(first.unwrap_or(0.0), state.rise), matrix.at(last, state.rise));
        // Capitals are about two thirds as high as the type.
        let head = matrix.at(first.unwrap_or(0.0), state.rise + 0.66 * state.size);
        let size = libm::hypot(head.0 - from.0, head.1 - from.1) / 0.66;
        let turned = (to.1 - from.1).abs() > 0.5 || to.0 < from.0;
        let place = Rect::around(&[from, to, head]);
        let seen = |place: Rect| state.clip.is_none_or(|clip| clip.meet(place).is_some());
        if let Some(place) = place.filter(|place| !said.trim().is_empty() && seen(*place)) {
            // Modes 3 and 7 set text without ink.
            let hidden = [3, 7].contains(&state.render) || (state.white_fill && state.render != 1);
            if let Some(number) = self.number() {
                self.page.marked.entry(number).and_modify(|all| *all = all.with(place)).or_insert(place);
            }
            let (left, right) = if turned { (place.left, place.right) } else { (from.0, to.0) };
            self.page.pieces.push(Piece {
                text: said,
                left,
                right,
                y: from.1,
                size,
                font: face.index,
                visible: !hidden,
                artifact: self.marked.iter().any(|(artifact, _)| *artifact),
                marked: self.number(),
                in_drawing: depth > 0,
                turned,
            });
        }
        Matrix([1.0, 0.0, 0.0, 1.0, along, 0.0]).then(text)
    }

    /// The number of the marked content that is open.
    fn number(&self) -> Option<i64> {
        self.marked.iter().rev().find_map(|(_, number)| *number)
    }

    fn ink(&mut self, seen: Option<Rect>) {
        let Some(seen) = seen else { return };
        self.page.ink.push(seen);
        if let Some(number) = self.number() {
            self.page.marked.entry(number).and_modify(|all| *all = all.with(seen)).or_insert(seen);
        }
    }

    /// A picture fills the unit square.
    fn picture(&mut self, state: &State<'a>) {
        let matrix = state.ctm.then(self.base);
        let corners = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)].map(|(x, y)| matrix.at(x, y));
        let seen = Rect::around(&corners).and_then(|all| state.clip.map_or(Some(all), |clip| clip.meet(all)));
        self.ink(seen);
        self.page.drawings.extend(seen);
    }

    fn place(&mut self, resources: &'a Dictionary, name: &[u8], state: &State<'a>, depth: usize) {
        let document = self.document;
        let Some(objects) = dictionary(document, resources, b"XObject") else { return };
        let Ok(Object::Stream(stream)) = objects.get_deref(name, document) else { return };
        if !matches!(stream.dict.get(b"Subtype").and_then(Object::as_name), Ok(b"Form")) {
            self.picture(state);
            return;
        }
        let matrix = array(document, &stream.dict, b"Matrix").and_then(|m| Matrix::of(&numbers(document, m)?));
        let mut state = state.clone();
        state.ctm = matrix.unwrap_or(Matrix::SAME).then(state.ctm);
        let bounds = array(document, &stream.dict, b"BBox").and_then(|b| numbers(document, b));
        if let Some(&[left, bottom, right, top]) = bounds.as_deref() {
            let to = state.ctm.then(self.base);
            let corners = [(left, bottom), (right, bottom), (left, top), (right, top)].map(|(x, y)| to.at(x, y));
            if let Some(all) = Rect::around(&corners) {
                let Some(seen) = state.clip.map_or(Some(all), |clip| clip.meet(all)) else { return };
                state.clip = Some(seen);
                if depth == 0 {
                    self.page.drawings.push(seen);
                }
            }
        }
        let inner = dictionary(document, &stream.dict, b"Resources").unwrap_or(resources);
        if depth < DEEPEST
            && let Ok(bytes) = plain(stream)
        {
            self.run(&bytes, inner, state, depth + 1);
        }
    }

    fn links(&mut self, page: &'a Dictionary) {
        let document = self.document;
        for annotation in array(document, page, b"Annots").map_or(&[][..], Vec::as_slice) {
            let Some(annotation) = document.dereference(annotation).ok().and_then(|(_, a)| a.as_dict().ok()) else {
                continue;
            };
            let address = dictionary(document, annotation, b"A").and_then(|action| text(document, action, b"URI"));
            let corners = array(document, annotation, b"Rect").and_then(|rect| numbers(document, rect));
            let (left, top) = match corners.as_deref() {
                Some(&[left, _, _, top]) => self.base.at(left, top),
                _ => (0.0, 0.0),
            };
            self.page.links.extend(address.map(|address| Link { address, left, top }));
        }
    }
}

fn plain(stream: &lopdf::Stream) -> lopdf::Result<Vec<u8>> {
    if stream.filters().is_err() {
        return Ok(stream.content.clone());
    }
    stream.get_plain_content_with_limit(LARGEST_STREAM)
}

/// Whether a colour is that of the paper: in grey and red-green-blue all ones, in inks all zeros.
fn is_white(operator: &str, colour: &[f64]) -> bool {
    let inks = operator.eq_ignore_ascii_case("k") || colour.len() == 4;
    !colour.is_empty() && colour.iter().all(|part| if inks { *part < 0.01 } else { *part > 0.99 })
}
