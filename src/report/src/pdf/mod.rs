//! A PDF as its readers see it: text with its place, size and face, ink, links, fonts, metadata, attachments. Any PDF can be
//! read, not only one of this program; nothing in it is executed, and no stream may grow beyond a limit.
//!
//! Places are in points from the upper left corner of the page (PDF 32000-1:2008 has its origin at the lower left).

mod content;
mod font;
mod structure;

use std::collections::{BTreeMap, BTreeSet};

use lopdf::{Dictionary, Document, LoadOptions, Object, ObjectId};

pub(super) use structure::Element;

/// No stream of a paper is larger than this.
const LARGEST_STREAM: usize = 64 << 20;
/// Nor has it more pages.
const MOST_PAGES: usize = 1000;

/// A rectangle in points; `top` is smaller than `bottom`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Rect {
    /// The smallest that holds these points; `None` without any, or where one is not finite.
    fn around(points: &[(f64, f64)]) -> Option<Self> {
        let (&(x, y), rest) = points.split_first()?;
        let mut all = Rect { left: x, top: y, right: x, bottom: y };
        for &(x, y) in rest {
            all = all.with(Rect { left: x, top: y, right: x, bottom: y });
        }
        [all.left, all.top, all.right, all.bottom].iter().all(|side| side.is_finite()).then_some(all)
    }

    /// The smallest that holds both.
    fn with(self, other: Rect) -> Rect {
        Rect {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    /// What both cover, where they meet.
    pub(crate) fn meet(self, other: Rect) -> Option<Rect> {
        let both = Rect {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        };
        (both.left <= both.right && both.top <= both.bottom).then_some(both)
    }

    pub(crate) fn width(self) -> f64 {
        self.right - self.left
    }
}

/// Text that one operator sets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub text: String,
    pub left: f64,
    pub right: f64,
    /// Of its baseline.
    pub y: f64,
    /// As it is on the page, in points.
    pub size: f64,
    /// Index into [`Pdf::fonts`].
    pub font: usize,
    /// Whether a reader sees it: neither white nor without ink.
    pub visible: bool,
    /// Whether it is marked as no part of the text, as page numbers and rulers are.
    pub artifact: bool,
    /// The number of its marked content, by which tags speak of it.
    marked: Option<i64>,
    /// Whether it is part of a drawing.
    pub in_drawing: bool,
    /// Whether it is turned.
    pub turned: bool,
}

/// A page.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    pub width: f64,
    pub height: f64,
    pub pieces: Vec<Piece>,
    /// Strokes and areas that are not white, and pictures.
    pub ink: Vec<Rect>,
    /// Pictures and drawings: what is tagged as a figure, and where nothing is tagged, what is placed as one.
    pub drawings: Vec<Rect>,
    /// How far each piece of marked content reaches.
    marked: BTreeMap<i64, Rect>,
    pub links: Vec<Link>,
}

/// A link that leads out of the document.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Link {
    pub address: String,
    pub left: f64,
    pub top: f64,
}

/// A font of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Font {
    /// Its PostScript name, without the prefix of a subset.
    pub name: String,
    pub embedded: bool,
}

/// A file that travels inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub name: String,
    /// None if it cannot be read.
    pub bytes: Option<Vec<u8>>,
}

/// All that is read of a PDF.
#[derive(Clone, Debug, Default)]
pub(super) struct Pdf {
    pub pages: Vec<Page>,
    pub fonts: Vec<Font>,
    /// Fields of the document's information and its XMP packet, by name.
    pub metadata: Vec<(String, String)>,
    /// Whether its text is tagged for readers who do not see it.
    pub tagged: bool,
    /// Figures, tables and formulas, where it is tagged.
    pub elements: Vec<Element>,
    pub attachments: Vec<Attached>,
}

impl Pdf {
    /// Reads a PDF; else why not.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let options = LoadOptions { max_decompressed_size: Some(LARGEST_STREAM), ..LoadOptions::default() };
        let document =
            Document::load_mem_with_options(bytes, options).map_err(|e| format!("it cannot be read: {e}"))?;
        if document.is_encrypted() {
            return Err("it is encrypted".to_owned());
        }
        let ids: Vec<ObjectId> = document.page_iter().take(MOST_PAGES + 1).collect();
        if ids.is_empty() || ids.len() > MOST_PAGES {
            return Err(format!(
                "it has {} pages",
                if ids.is_empty() { "no".to_owned() } else { ids.len().to_string() }
            ));
        }
        let mut pdf = Pdf::default();
        let mut fonts = font::Fonts::new(&document);
        for id in &ids {
            pdf.pages.push(content::page(&document, *id, &mut fonts)?);
        }
        pdf.fonts = fonts.into_list();
        pdf.metadata = metadata(&document);
        let catalog = document.catalog().map_err(|e| format!("it has no catalog: {e}"))?;
        pdf.tagged = dictionary(&document, catalog, b"MarkInfo")
            .is_some_and(|mark| matches!(mark.get(b"Marked"), Ok(Object::Boolean(true))))
            && catalog.has(b"StructTreeRoot");
        pdf.elements = structure::elements(&document, catalog, &ids);
        if pdf.tagged {
            pdf.find_figures();
        }
        pdf.attachments = attachments(&document, catalog);
        Ok(pdf)
    }
}

impl Pdf {
    /// Takes what is tagged as a figure for a drawing, and nothing else.
    fn find_figures(&mut self) {
        self.pages.iter_mut().for_each(|page| page.drawings.clear());
        for figure in self.elements.iter().filter(|element| element.kind == "Figure") {
            for (page, number) in &figure.content {
                let page = &mut self.pages[page - 1];
                page.drawings.extend(page.marked.get(number));
                let own = page.pieces.iter_mut().filter(|piece| piece.marked == Some(*number));
                own.for_each(|piece| piece.in_drawing = true);
            }
        }
    }
}

/// The dictionary under a key, through a reference or not, and of a stream its own.
fn dictionary<'a>(document: &'a Document, from: &'a Dictionary, key: &[u8]) -> Option<&'a Dictionary> {
    match from.get_deref(key, document).ok()? {
        Object::Dictionary(found) => Some(found),
        Object::Stream(stream) => Some(&stream.dict),
        _ => None,
    }
}

fn array<'a>(document: &'a Document, from: &'a Dictionary, key: &[u8]) -> Option<&'a Vec<Object>> {
    from.get_deref(key, document).ok()?.as_array().ok()
}

fn number(document: &Document, object: &Object) -> Option<f64> {
    let (_, object) = document.dereference(object).ok()?;
    object.as_float().ok().map(f64::from).filter(|number| number.is_finite())
}

fn numbers(document: &Document, objects: &[Object]) -> Option<Vec<f64>> {
    objects.iter().map(|object| number(document, object)).collect()
}

fn text(document: &Document, from: &Dictionary, key: &[u8]) -> Option<String> {
    lopdf::decode_text_string(from.get_deref(key, document).ok()?).ok()
}

fn metadata(document: &Document) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(info) = dictionary(document, &document.trailer, b"Info") {
        for (key, _) in info {
            let name = String::from_utf8_lossy(key).into_owned();
            found.extend(text(document, info, key).map(|text| (name, text)));
        }
    }
    let packet = document.catalog().ok().and_then(|catalog| catalog.get_deref(b"Metadata", document).ok());
    if let Some(bytes) = packet
        .and_then(|object| object.as_stream().ok())
        .and_then(|stream| stream.get_plain_content_with_limit(LARGEST_STREAM).ok())
    {
        found.push(("XMP".to_owned(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    found
}

/// The files of the name tree of attachments.
fn attachments(document: &Document, catalog: &Dictionary) -> Vec<Attached> {
    let mut found = Vec::new();
    let Some(names) = dictionary(document, catalog, b"Names") else { return found };
    let Some(root) = dictionary(document, names, b"EmbeddedFiles") else { return found };
    let (mut nodes, mut seen) = (vec![root], BTreeSet::new());
    while let Some(node) = nodes.pop() {
        for pair in array(document, node, b"Names").map_or(&[][..], Vec::as_slice).chunks(2) {
            let Some(specification) = pair.get(1).and_then(|o| document.dereference(o).ok()?.1.as_dict().ok()) else {
                continue;
            };
            let name = text(document, specification, b"UF").or_else(|| text(document, specification, b"F"));
            let stream = dictionary(document, specification, b"EF")
                .and_then(|files| files.get_deref(b"F", document).ok()?.as_stream().ok());
            let bytes = stream.and_then(|stream| match stream.filters() {
                Ok(_) => stream.get_plain_content_with_limit(LARGEST_STREAM).ok(),
                Err(_) => Some(stream.content.clone()),
            });
            found.push(Attached { name: name.unwrap_or_default(), bytes });
        }
        for kid in array(document, node, b"Kids").map_or(&[][..], Vec::as_slice) {
            if let Ok(id) = kid.as_reference()
                && seen.insert(id)
            {
                nodes.extend(document.get_dictionary(id));
            }
        }
    }
    found
}
