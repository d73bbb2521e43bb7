//! Fonts: their names, whether they are embedded, how wide their characters are and which text they stand for.

use std::collections::BTreeMap;

use lopdf::{Dictionary, Document, Encoding, Object, ObjectId};

use super::{LARGEST_STREAM, array, dictionary, number};

/// A font as it sets text.
pub(super) struct Face<'a> {
    /// Its index in the list of fonts.
    pub index: usize,
    encoding: Option<Encoding<'a>>,
    /// Bytes of a character's code.
    bytes: usize,
    /// In thousandths of the size.
    widths: BTreeMap<u32, f64>,
    default_width: f64,
    /// What a unit of its widths is, in thousandths of the size; Type 3 fonts choose it.
    unit: f64,
}

impl Face<'_> {
    /// The text of a string.
    pub(crate) fn text(&self, bytes: &[u8]) -> String {
        let read = self.encoding.as_ref().and_then(|encoding| Document::decode_text(encoding, bytes).ok());
        read.unwrap_or_else(|| bytes.iter().map(|byte| char::from(*byte)).collect())
    }

    /// For each character its width in units of the size, and whether it is the blank of one byte, which word spacing is for.
    pub(crate) fn widths<'b>(&'b self, bytes: &'b [u8]) -> impl Iterator<Item = (f64, bool)> + 'b {
        bytes.chunks(self.bytes).map(|code| {
            let code = code.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
            let width = self.widths.get(&code).copied().unwrap_or(self.default_width);
            (width * self.unit / 1000.0, self.bytes == 1 && code == 32)
        })
    }
}

/// The fonts of a document, each read once.
pub(super) struct Fonts<'a> {
    document: &'a Document,
    list: Vec<super::Font>,
    faces: BTreeMap<ObjectId, std::rc::Rc<Face<'a>>>,
}

impl<'a> Fonts<'a> {
    pub(crate) fn new(document: &'a Document) -> Self {
        Fonts { document, list: Vec::new(), faces: BTreeMap::new() }
    }

    pub(crate) fn into_list(self) -> Vec<super::Font> {
        self.list
    }

    /// The font of a name in resources.
    pub(crate) fn face(&mut self, resources: &'a Dictionary, name: &[u8]) -> Option<std::rc::Rc<Face<'a>>> {
        let fonts = dictionary(self.document, resources, b"Font")?;
        let id = fonts.get(name).ok()?.as_reference().ok();
        if let Some(known) = id.and_then(|id| self.faces.get(&id)) {
            return Some(known.clone());
        }
        let face = std::rc::Rc::new(self.read(dictionary(self.document, fonts, name)?));
        if let Some(id) = id {
            self.faces.insert(id, face.clone());
        }
        Some(face)
    }

    fn read(&mut self, font: &'a Dictionary) -> Face<'a> {
        let document = self.document;
        let kind = font.get(b"Subtype").and_then(Object::as_name).unwrap_or_default();
        let descendant = array(document, font, b"DescendantFonts")
            .and_then(|fonts| document.dereference(fonts.first()?).ok()?.1.as_dict().ok());
        let own = descendant.unwrap_or(font);
        let descriptor = dictionary(document, own, b"FontDescriptor");
        let files: [&[u8]; 3] = [b"FontFile", b"FontFile2", b"FontFile3"];
        let embedded = kind == b"Type3" || descriptor.is_some_and(|d| files.iter().any(|file| d.has(file)));
        let name = own.get(b"BaseFont").and_then(Object::as_name).unwrap_or(b"Type3");
        let name = String::from_utf8_lossy(name).into_owned();
        let name = match name.split_once('+') {
            Some((prefix, rest)) if prefix.len() == 6 => rest.to_owned(),
            _ => name,
        };
        let listed = super::Font { name, embedded };
        let index = self.list.iter().position(|known| *known == listed).unwrap_or_else(|| {
            self.list.push(listed);
            self.list.len() - 1
        });
        let (mut widths, mut default_width) = (BTreeMap::new(), 0.0);
        if descendant.is_some() {
            default_width = own.get(b"DW").ok().and_then(|width| number(document, width)).unwrap_or(1000.0);
            of_cid(document, array(document, own, b"W").map_or(&[], Vec::as_slice), &mut widths);
        } else {
            let first = font.get(b"FirstChar").ok().and_then(|first| number(document, first)).unwrap_or(0.0);
            let listed = array(document, font, b"Widths").map_or(&[][..], Vec::as_slice).iter();
            widths.extend((first.max(0.0) as u32..).zip(listed.map(|width| number(document, width).unwrap_or(0.0))));
            if widths.is_empty() {
                // One of the fourteen standard fonts: about as wide as its characters are on average.
                default_width = 500.0;
            }
        }
        let matrix = array(document, font, b"FontMatrix").filter(|_| kind == b"Type3");
        let unit = matrix.and_then(|m| number(document, m.first()?)).map_or(1.0, |a| 1000.0 * a);
        Face {
            index,
            encoding: font.get_font_encoding_with_limit(document, LARGEST_STREAM).ok(),
            bytes: if descendant.is_some() { 2 } else { 1 },
            widths,
            default_width,
            unit,
        }
    }
}

/// `c [w1 w2 ...]` and `first last w`.
fn of_cid(document: &Document, listed: &[Object], widths: &mut BTreeMap<u32, f64>) {
    let mut rest = listed;
    while let [first, second, tail @ ..] = rest {
        let Some(first) = number(document, first) else { return };
        match document.dereference(second) {
            Ok((_, Object::Array(each))) => {
                let each = each.iter().map(|width| number(document, width).unwrap_or(0.0));
                widths.extend((first as u32..).zip(each));
                rest = tail;
            }
            _ => {
                let (Some(last), [width, tail @ ..]) = (number(document, second), tail) else { return };
                let width = number(document, width).unwrap_or(0.0);
                // Codes have two bytes.
                widths.extend((first as u32..=(last as u32).min(0xffff)).map(|code| (code, width)));
                rest = tail;
            }
        }
    }
}
