//! A PDF as an audit reads it: what its pages say and draw, what is attached, and in what two of them differ. What a PDF holds
//! may be a few bytes that stand for gigabytes, so that every part of it has a bound, and reading it has an end.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use harness_core::Digest;
use lopdf::{Dictionary, Document, LoadOptions, Object, Stream};

/// The most of one stream that is read when it is decompressed, in bytes: a page of text has some 20 kB.
const STREAM_BYTES: usize = 8 << 20;
/// The most that is read of the attachments together, in bytes.
const ATTACHED_BYTES: usize = 128 << 20;
/// The most pages that are read.
const PAGES: usize = 1_000;
/// How long reading may take. The paper of ten pages takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A PDF that was read.
#[derive(Debug)]
pub(crate) struct Pdf {
    pub(crate) pages: Vec<Page>,
    /// By their names, in the order of the file.
    pub(crate) attached: Vec<(String, Vec<u8>)>,
    /// What each font draws and says, sorted.
    fonts: Vec<(String, Digest)>,
    /// What it says of itself, by the key of its dictionary; the description in XML under `XMP`.
    pub(crate) about: BTreeMap<String, String>,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its text with single blanks.
    pub(crate) text: String,
    /// Of all that it draws.
    drawing: Digest,
}

impl Pdf {
    /// Reads a PDF, or says why it cannot be read.
    pub(crate) fn read(bytes: Vec<u8>) -> Result<Self, String> {
        let (done, read) = mpsc::channel();
        let reader = thread::Builder::new().name("PDF".to_owned()).stack_size(64 << 20);
        // Whoever gave up waiting is not told any more.
        let spawned = reader.spawn(move || drop(done.send(Self::parse(&bytes))));
        spawned.map_err(|e| e.to_string())?;
        read.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            Err(match error {
                mpsc::RecvTimeoutError::Timeout => format!("it takes longer than {} s to read", PATIENCE.as_secs()),
                mpsc::RecvTimeoutError::Disconnected => "it cannot be read".to_owned(),
            })
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let options = LoadOptions { max_decompressed_size: Some(STREAM_BYTES), ..LoadOptions::default() };
        let document = Document::load_mem_with_options(bytes, options).map_err(|e| e.to_string())?;
        let ids = document.get_pages();
        if ids.len() > PAGES {
            return Err(format!("it has {} pages, and no more than {PAGES} are read", ids.len()));
        }
        let page = |(number, id): (&u32, &lopdf::ObjectId)| -> Result<Page, String> {
            let wrong = |e: lopdf::Error| format!("page {number}: {e}");
            let text = document.extract_text_with_limit(&[*number], STREAM_BYTES).map_err(wrong)?;
            let drawing = document.get_page_content_with_limit(*id, STREAM_BYTES).map_err(wrong)?;
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            Ok(Page { text, drawing: Digest::of(&drawing) })
        };
        let pages = ids.iter().map(page).collect::<Result<Vec<_>, _>>()?;
        Ok(Pdf { pages, attached: attached(&document)?, fonts: fonts(&document), about: about(&document) })
    }

    /// The attachment of this name; none if there is none, or if there are two.
    pub(crate) fn attachment(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.attached.iter().filter(|(own, _)| own == name);
        let (_, bytes) = found.next()?;
        found.next().is_none().then_some(bytes.as_slice())
    }

    /// In what it differs from what the sources give, in words; empty if in nothing that a reader could see.
    pub(crate) fn differences(&self, made: &Pdf) -> Vec<String> {
        let mut found = Vec::new();
        if self.pages.len() != made.pages.len() {
            found.push(format!("it has {} pages, the sources give {}", self.pages.len(), made.pages.len()));
        }
        for (at, (own, other)) in self.pages.iter().zip(&made.pages).enumerate() {
            if own.text != other.text {
                let (says, gives) = apart(&own.text, &other.text);
                found.push(format!("page {} says `{says}`, the sources give `{gives}`", at + 1));
            } else if own.drawing != other.drawing {
                found.push(format!("page {} has the same text, and something else is drawn on it", at + 1));
            }
        }
        let names = |pdf: &Pdf| pdf.attached.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        for name in names(self).iter().chain(&names(made)).collect::<std::collections::BTreeSet<_>>() {
            let of = |pdf: &Pdf| -> Vec<Digest> {
                pdf.attached.iter().filter(|(own, _)| own == name).map(|(_, bytes)| Digest::of(bytes)).collect()
            };
            match (of(self), of(made)) {
                (own, other) if own == other => {}
                (own, _) if own.is_empty() => found.push(format!("its attachment `{name}` is missing")),
                (_, other) if other.is_empty() => {
                    found.push(format!("its attachment `{name}` does not come from the sources"));
                }
                _ => found.push(format!("its attachment `{name}` is not what the sources give")),
            }
        }
        if self.fonts != made.fonts {
            let others = self.fonts.iter().filter(|font| !made.fonts.contains(font)).map(|(name, _)| name.as_str());
            let others: Vec<&str> = others.collect();
            found.push(format!("its fonts draw other letters than they say, or are others: {}", others.join(", ")));
        }
        let keys: std::collections::BTreeSet<&String> = self.about.keys().chain(made.about.keys()).collect();
        let other: Vec<&str> =
            keys.into_iter().filter(|key| self.about.get(*key) != made.about.get(*key)).map(String::as_str).collect();
        if !other.is_empty() {
            found.push(format!("what it says of itself is not what the sources give: {}", other.join(", ")));
        }
        found
    }
}

/// Where two texts part: some letters of each from there on.
fn apart(first: &str, second: &str) -> (String, String) {
    let same = first.chars().zip(second.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(20);
    let of = |text: &str| text.chars().skip(from).take(60).collect();
    (of(first), of(second))
}

fn stream<'a>(document: &'a Document, object: &'a Object) -> Option<&'a Stream> {
    let object = match object.as_reference() {
        Ok(id) => document.get_object(id).ok()?,
        Err(_) => object,
    };
    object.as_stream().ok()
}

fn content(stream: &Stream, most: usize) -> Option<Vec<u8>> {
    stream.get_plain_content_with_limit(most).ok()
}

fn dictionaries(document: &Document) -> impl Iterator<Item = &Dictionary> {
    document.objects.values().filter_map(|object| object.as_dict().ok())
}

fn attached(document: &Document) -> Result<Vec<(String, Vec<u8>)>, String> {
    let (mut found, mut left) = (Vec::new(), ATTACHED_BYTES);
    for specification in dictionaries(document) {
        let Some(files) = specification.get_deref(b"EF", document).ok().and_then(|files| files.as_dict().ok()) else {
            continue;
        };
        let name = specification.get(b"UF").or_else(|_| specification.get(b"F"));
        let name = name.and_then(lopdf::decode_text_string).unwrap_or_default();
        let bytes = files.get(b"F").ok().and_then(|file| stream(document, file)).and_then(|file| content(file, left));
        let Some(bytes) = bytes else { return Err(format!("its attachment `{name}` cannot be read, or is too large")) };
        left -= bytes.len().min(left);
        found.push((name, bytes));
    }
    Ok(found)
}

/// Two fonts of one name are told apart by what they draw and by the letters that they say they draw.
fn fonts(document: &Document) -> Vec<(String, Digest)> {
    let digest = |object: Result<&Object, lopdf::Error>| -> String {
        let stream = object.ok().and_then(|object| stream(document, object));
        stream.and_then(|stream| content(stream, STREAM_BYTES)).map_or_else(String::new, |b| Digest::of(&b).to_string())
    };
    let mut fonts = Vec::new();
    for dictionary in dictionaries(document) {
        let name = ["BaseFont", "FontName"].iter().find_map(|key| dictionary.get(key.as_bytes()).ok()?.as_name().ok());
        let Some(name) = name else { continue };
        let parts: String = ["ToUnicode", "FontFile", "FontFile2", "FontFile3", "CIDToGIDMap"]
            .iter()
            .map(|key| digest(dictionary.get(key.as_bytes())))
            .collect();
        fonts.push((String::from_utf8_lossy(name).into_owned(), Digest::of(parts.as_bytes())));
    }
    fonts.sort();
    fonts
}

fn about(document: &Document) -> BTreeMap<String, String> {
    let mut about = BTreeMap::new();
    let information = document.trailer.get_deref(b"Info", document).ok().and_then(|info| info.as_dict().ok());
    for (key, value) in information.into_iter().flat_map(Dictionary::iter) {
        let value = lopdf::decode_text_string(value).unwrap_or_default();
        about.insert(String::from_utf8_lossy(key).into_owned(), value);
    }
    let catalog = document.catalog().ok().and_then(|catalog| catalog.get(b"Metadata").ok());
    if let Some(xmp) = catalog.and_then(|xmp| stream(document, xmp)).and_then(|xmp| content(xmp, STREAM_BYTES)) {
        about.insert("XMP".to_owned(), String::from_utf8_lossy(&xmp).into_owned());
    }
    about
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_two_texts_part_is_shown_with_what_stands_before() {
        let (first, second) = apart("It needs 2.1 bits per byte.", "It needs 2.2 bits per byte.");
        assert_eq!((first.as_str(), second.as_str()), ("It needs 2.1 bits per byte.", "It needs 2.2 bits per byte."));
        assert_eq!(apart("same", "same").0, "same");
    }

    #[test]
    fn what_is_no_pdf_is_refused_in_words() {
        assert!(Pdf::read(b"%PDF-1.7\n1 0 obj\n<<".to_vec()).is_err());
        assert!(Pdf::read(Vec::new()).is_err());
    }
}
