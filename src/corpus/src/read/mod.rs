//! Cuts a source into documents, line by line and so in constant memory (but for the document at hand).
//!
//! A byte order mark is dropped and line ends become `\n`. Bytes that are not UTF-8 are refused with their line, or
//! repaired and counted, as the recipe says. The records of JSON lines, CSV and Parquet files are their documents.

mod parquet_file;
use parquet_file::ParquetTexts;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::recipe::{DocumentRule, DocumentSplit, Format, InvalidUtf8};
use crate::text::is_heading;

/// Why a source could not be cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError<E> {
    #[error(transparent)]
    Io(io::Error),
    #[error("{unit} {number} is not UTF-8 text")]
    NotUtf8 { unit: &'static str, number: u64 },
    #[error("line {line} is longer than {LONGEST_LINE} bytes")]
    LongLine { line: u64 },
    #[error("there is no line `{0}`, which should end the head of the file")]
    NoHead(String),
    #[error("record {record}: {problem}")]
    Record { record: u64, problem: String, hint: &'static str },
    #[error("{problem}")]
    Table { problem: String, hint: &'static str },
    #[error(transparent)]
    Emit(E),
}

/// A longer line is refused, so that a damaged file cannot take all memory.
const LONGEST_LINE: u64 = 1 << 28;

/// What to do about fields that are not where the recipe has them.
const FIELDS: &str = "look whether `format` and `text_field` in the recipe are right";
/// What to do about half of a surrogate pair.
const REPAIR: &str = "say invalid_utf8 = \"repair\" in the recipe's [documents]: it becomes U+FFFD and is counted";
/// What to do about a record that nothing can be made of.
const DAMAGED: &str = "look whether `format` in the recipe is right, and whether the file is whole";

impl<E> ReadError<E> {
    /// What can be done about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            ReadError::NotUtf8 { .. } => {
                "convert the file to UTF-8, or say invalid_utf8 = \"repair\" in the recipe's [documents]"
            }
            ReadError::NoHead(_) => "look at `head_ends_with` in the recipe's [documents]",
            ReadError::LongLine { .. } => "look whether `format` in the recipe is right",
            ReadError::Record { hint, .. } | ReadError::Table { hint, .. } => hint,
            ReadError::Io(_) | ReadError::Emit(_) => "",
        }
    }
}

/// What was read apart from the documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadCounts {
    /// Bytes of the head that was left out, one for each line end.
    pub head_bytes: u64,
    /// Lines (of CSV and Parquet: texts) that were not Unicode text and were repaired.
    pub lines_repaired: u64,
}

/// Hands each document of the file to `emit`, in order. Documents without a visible character are not handed on.
pub(crate) fn each_document<E>(
    file: File,
    format: Format,
    text_field: &str,
    rule: &DocumentRule,
    mut emit: impl FnMut(String) -> Result<(), E>,
) -> Result<ReadCounts, ReadError<E>> {
    let mut emit_visible = |text: &str| {
        if text.trim().is_empty() { Ok(()) } else { emit(text.replace("\r\n", "\n")).map_err(ReadError::Emit) }
    };
    match format {
        Format::Text | Format::Markdown => each_of_text(BufReader::new(file), rule, emit),
        Format::Jsonl => {
            let mut halves = 0;
            let mut counts = each_line(BufReader::new(file), rule.invalid_utf8, |number, line, _| {
                if line.trim().is_empty() {
                    return Ok(());
                }
                let wrong = |(problem, hint)| ReadError::Record { record: number, problem, hint };
                let (found, repaired) = text_of_record(line, text_field, rule.invalid_utf8).map_err(wrong)?;
                halves += u64::from(repaired);
                match found {
                    Found::Text(text) => emit_visible(&text),
                    Found::Null => Ok(()),
                    Found::Nothing => Err(wrong((format!("it has no text in `{text_field}`"), FIELDS))),
                }
            })?;
            counts.lines_repaired += halves;
            Ok(counts)
        }
        Format::Csv => each_of_csv(file, text_field, rule.invalid_utf8, emit_visible),
        Format::Parquet => {
            let mut counts = ReadCounts::default();
            let damaged = |record, problem| ReadError::Record { record, problem, hint: DAMAGED };
            let opened = ParquetTexts::open(file, text_field);
            opened.map_err(|problem| ReadError::Table { problem, hint: FIELDS })?.each(damaged, |record, bytes| {
                emit_visible(&repaired(bytes, rule.invalid_utf8, "record", record, &mut counts)?)
            })?;
            Ok(counts)
        }
    }
}

/// The bytes as text, as the recipe says.
fn repaired<'a, E>(
    bytes: &'a [u8],
    invalid: InvalidUtf8,
    unit: &'static str,
    number: u64,
    counts: &mut ReadCounts,
) -> Result<Cow<'a, str>, ReadError<E>> {
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, Cow::Owned(_)) {
        if invalid == InvalidUtf8::Refuse {
            return Err(ReadError::NotUtf8 { unit, number });
        }
        counts.lines_repaired += 1;
    }
    Ok(text)
}

fn each_of_csv<E>(
    source: impl Read,
    text_field: &str,
    invalid: InvalidUtf8,
    mut emit: impl FnMut(&str) -> Result<(), ReadError<E>>,
) -> Result<ReadCounts, ReadError<E>> {
    let problem = |record: u64, problem: String, hint| ReadError::Record { record, problem, hint };
    let mut source = BufReader::new(source);
    if source.fill_buf().map_err(ReadError::Io)?.starts_with("\u{feff}".as_bytes()) {
        source.consume("\u{feff}".len());
    }
    let left = Cell::new(LONGEST_LINE);
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(Rationed { source, left: &left });
    let header = rows.byte_headers().map_err(|e| problem(0, e.to_string(), DAMAGED))?;
    let names: Vec<String> = header.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
    let column = names.iter().position(|name| name == text_field).ok_or_else(|| {
        let names: Vec<String> = names.iter().take(50).map(|name| format!("`{name}`")).collect();
        problem(0, format!("the header has no column `{text_field}`; its columns are {}", names.join(", ")), FIELDS)
    })?;
    let mut counts = ReadCounts::default();
    let mut row = csv::ByteRecord::new();
    for number in 1.. {
        left.set(LONGEST_LINE);
        if !rows.read_byte_record(&mut row).map_err(|e| problem(number, e.to_string(), DAMAGED))? {
            break;
        }
        let missing = || problem(number, format!("it has no column `{text_field}`"), FIELDS);
        let text = row.get(column).ok_or_else(missing)?;
        emit(&repaired(text, invalid, "record", number, &mut counts)?)?;
    }
    Ok(counts)
}

/// A source of which only so many bytes are read until more are allowed: a quote that is never closed would make
/// the rest of the file one record.
struct Rationed<'a, R> {
    source: R,
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Rationed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64);
        self.left.set(left.ok_or_else(|| io::Error::other(format!("it is longer than {LONGEST_LINE} bytes")))?);
        Ok(read)
    }
}

/// What the record has at `path`, and whether that took a repair. The numbers `NaN` and `Infinity`, which Python writes
/// and JSON does not know, are read; half of a surrogate pair in the text is refused or repaired, as the recipe says.
/// The error is a problem and what can be done about it.
fn text_of_record(record: &str, path: &str, invalid: InvalidUtf8) -> Result<(Found, bool), (String, &'static str)> {
    let error = match text_at(record, path) {
        Ok(found) => return Ok((found, false)),
        Err(error) => error,
    };
    if let Ok(found) = text_at(&mended(record, false), path) {
        return Ok((found, false));
    }
    match (text_at(&mended(record, true), path), invalid) {
        (Ok(found), InvalidUtf8::Repair) => Ok((found, true)),
        (Ok(_), InvalidUtf8::Refuse) => {
            Err((format!("the text in `{path}` holds half of a surrogate pair, which is no character"), REPAIR))
        }
        (Err(_), _) => Err((format!("it is not JSON: {error}"), DAMAGED)),
    }
}

/// The record with a number for each `NaN` and `Infinity` outside of strings and, with `halves`, with U+FFFD for each
/// escape of half of a surrogate pair (`\ud83d`) that stands alone.
fn mended(record: &str, halves: bool) -> String {
    /// The escape that the text begins with.
    fn code(text: &str) -> Option<u16> {
        text.strip_prefix("\\u").and_then(|digits| u16::from_str_radix(digits.get(..4)?, 16).ok())
    }
    let mut mended = String::with_capacity(record.len());
    let (mut rest, mut in_string) = (record, false);
    while let Some(first) = rest.chars().next() {
        let (length, instead) = match first {
            '\\' if in_string => match (code(rest), rest.get(6..).and_then(code)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, None),
                (Some(0xd800..=0xdfff), _) if halves => (6, Some("\\ufffd")),
                // A backslash and what it escapes: a quote does not end the string.
                _ => (1 + rest[1..].chars().next().map_or(0, char::len_utf8), None),
            },
            'N' if !in_string && rest.starts_with("NaN") => (3, Some("0")),
            'I' if !in_string && rest.starts_with("Infinity") => (8, Some("0")),
            other => {
                in_string ^= other == '"';
                (other.len_utf8(), None)
            }
        };
        mended.push_str(instead.unwrap_or(&rest[..length]));
        rest = &rest[length..];
    }
    mended
}

/// What a JSON record has at a place.
enum Found {
    Text(String),
    Null,
    Nothing,
}

/// What the record has under the name `path`, or in nested objects under its parts between dots. The rest of the
/// record is checked but never held.
fn text_at(record: &str, path: &str) -> serde_json::Result<Found> {
    let mut json = serde_json::Deserializer::from_str(record);
    let found = At(Some(path)).deserialize(&mut json)?;
    json.end()?;
    Ok(found)
}

/// The rest of the path, or `None` where it ends.
struct At<'a>(Option<&'a str>);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Found, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Found;

    fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.write_str("a JSON value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Found, E> {
        Ok(if self.0.is_none() { Found::Text(text.to_owned()) } else { Found::Nothing })
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Found::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Found, A::Error> {
        let mut found = Found::Nothing;
        while let Some(key) = object.next_key::<String>()? {
            let rest = self.0.and_then(|path| path.strip_prefix(&*key));
            match rest {
                Some("") => found = object.next_value_seed(At(None))?,
                Some(rest) if rest.starts_with('.') => found = object.next_value_seed(At(Some(&rest[1..])))?,
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Hands over each line with its number from 1, without its line end, and whether it had one.
fn each_line<E>(
    mut source: impl BufRead,
    invalid: InvalidUtf8,
    mut take: impl FnMut(u64, &str, bool) -> Result<(), ReadError<E>>,
) -> Result<ReadCounts, ReadError<E>> {
    let mut counts = ReadCounts::default();
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        let read = source.by_ref().take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes).map_err(ReadError::Io)?;
        if read == 0 {
            return Ok(counts);
        }
        number += 1;
        if read as u64 > LONGEST_LINE {
            return Err(ReadError::LongLine { line: number });
        }
        let text = repaired(&bytes, invalid, "line", number, &mut counts)?;
        let mut line = &*text;
        if number == 1 {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        let ended = line.ends_with('\n');
        line = line.strip_suffix('\n').unwrap_or(line);
        take(number, line.strip_suffix('\r').unwrap_or(line), ended)?;
    }
}

fn each_of_text<E>(
    source: impl BufRead,
    rule: &DocumentRule,
    emit: impl FnMut(String) -> Result<(), E>,
) -> Result<ReadCounts, ReadError<E>> {
    // Lines end with `\n` here, whatever they end with in the file and in the recipe.
    let separator = rule.separator.as_deref().unwrap_or_default().replace("\r\n", "\n");
    let mut cutter = Cutter { rule, separator, text: String::new(), has_body: false, emit };
    let mut in_head = rule.head_ends_with.is_some();
    let mut head_bytes = 0;
    let mut counts = each_line(source, rule.invalid_utf8, |_, line, ended| {
        if in_head {
            in_head = rule.head_ends_with.as_deref() != Some(line.trim());
            head_bytes += line.len() as u64 + u64::from(ended);
            return Ok(());
        }
        cutter.line(line, ended).map_err(ReadError::Emit)
    })?;
    if in_head {
        return Err(ReadError::NoHead(rule.head_ends_with.clone().unwrap_or_default()));
    }
    cutter.end_document().map_err(ReadError::Emit)?;
    counts.head_bytes = head_bytes;
    Ok(counts)
}

struct Cutter<'a, F> {
    rule: &'a DocumentRule,
    /// That of the rule; never empty where it is used.
    separator: String,
    text: String,
    /// Whether the document at hand has visible text that is not a heading.
    has_body: bool,
    emit: F,
}

impl<E, F: FnMut(String) -> Result<(), E>> Cutter<'_, F> {
    fn line(&mut self, line: &str, ended: bool) -> Result<(), E> {
        let blank = line.trim().is_empty();
        match self.rule.split {
            DocumentSplit::File => self.add(line, ended),
            DocumentSplit::Headings => {
                let heading = is_heading(line);
                if heading && self.has_body {
                    self.end_document()?;
                }
                self.has_body |= !heading && !blank;
                self.add(line, ended);
            }
            DocumentSplit::Separator => {
                // It can begin in an earlier line: no part of it before this line was a whole one.
                let begin = (self.text.len() + 1).saturating_sub(self.separator.len());
                let mut from = (0..=begin).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0);
                self.add(line, ended);
                let text = std::mem::take(&mut self.text);
                let mut done = 0;
                while let Some(at) = text[from..].find(&self.separator) {
                    text[done..from + at].clone_into(&mut self.text);
                    self.end_document()?;
                    done = from + at + self.separator.len();
                    from = done;
                }
                self.text = if done == 0 { text } else { text[done..].to_owned() };
            }
            DocumentSplit::BlankLines if blank => self.end_document()?,
            DocumentSplit::BlankLines => self.add(line, ended),
            DocumentSplit::Lines => {
                self.add(line, false);
                self.end_document()?;
            }
        }
        Ok(())
    }

    fn add(&mut self, text: &str, ended: bool) {
        self.text.push_str(text);
        if ended {
            self.text.push('\n');
        }
    }

    fn end_document(&mut self) -> Result<(), E> {
        self.has_body = false;
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() { Ok(()) } else { (self.emit)(text) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};
    use std::sync::Arc;

    use parquet::basic::{Compression, GzipLevel, ZstdLevel};
    use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
    use parquet::file::properties::{WriterProperties, WriterVersion};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn cut(text: &str, rule: &DocumentRule) -> Vec<String> {
        let mut documents = Vec::new();
        each_document(file_of(text.as_bytes()), Format::Text, "", rule, |document| {
            documents.push(document);
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap();
        documents
    }

    fn rule(split: DocumentSplit) -> DocumentRule {
        DocumentRule { split, ..DocumentRule::default() }
    }

    #[test]
    fn headings_begin_documents_and_empty_parts_join_the_next() {
        let text = "\u{feff}# Title: T\r\n\r\n---\r\nmotto\r\n## Part I\r\n\r\n## One \r\na\r\n\r\nb\r\n### Two\r\nc";
        let rule = DocumentRule { head_ends_with: Some("---".into()), ..rule(DocumentSplit::Headings) };
        assert_eq!(cut(text, &rule), ["motto\n", "## Part I\n\n## One \na\n\nb\n", "### Two\nc"]);
        assert!(!is_heading("#hashtag") && !is_heading("####### seven") && is_heading("#"));
    }

    #[test]
    fn separators_blank_lines_and_lines() {
        let separator = DocumentRule { separator: Some("<|e|>".into()), ..rule(DocumentSplit::Separator) };
        assert_eq!(cut("a\nb<|e|>c\n<|e|>\n<|e|>d", &separator), ["a\nb", "c\n", "d"]);
        assert_eq!(cut("a\nb\n \n\nc", &rule(DocumentSplit::BlankLines)), ["a\nb\n", "c"]);
        assert_eq!(cut("a\n\nb", &rule(DocumentSplit::Lines)), ["a", "b"]);
        assert_eq!(cut("a\n\nb", &rule(DocumentSplit::File)), ["a\n\nb"]);
    }

    #[test]
    fn separators_can_hold_line_ends_and_files_can_have_either() {
        let by = |separator: &str| DocumentRule { separator: Some(separator.into()), ..rule(DocumentSplit::Separator) };
        let lines: Vec<String> = (0..30).map(|n| format!("document {n}\nof two lines")).collect();
        let text = lines.join("\n====\n");
        for end in ["\n", "\r\n"] {
            let file = text.replace('\n', end);
            assert_eq!(cut(&file, &by("\n====\n")), lines);
            assert_eq!(cut(&file, &by("\r\n====\r\n")), lines);
        }
        assert_eq!(cut("a\n\n\nb\n\nc\n\n\n\n\nd", &by("\n\n\n")), ["a", "b\n\nc", "\n\nd"]);
    }

    proptest::proptest! {
        #[test]
        fn separators_cut_as_a_search_over_the_whole_text(text in "[ab\u{e9}\n]{0,60}", separator in "[ab\u{e9}\n]{1,4}") {
            let rule = DocumentRule { separator: Some(separator.clone()), ..rule(DocumentSplit::Separator) };
            let expected: Vec<&str> = text.split(&separator).filter(|part| !part.trim().is_empty()).collect();
            proptest::prop_assert_eq!(cut(&text, &rule), expected);
        }
    }

    fn problem(bytes: &[u8], format: Format, rule: &DocumentRule) -> String {
        each_document(file_of(bytes), format, "text", rule, |_| Ok::<(), String>(())).unwrap_err().to_string()
    }

    #[test]
    fn bytes_that_are_not_text_are_refused_at_their_line_or_repaired() {
        assert_eq!(problem(b"a\n\xff\n", Format::Text, &DocumentRule::default()), "line 2 is not UTF-8 text");
        let head = DocumentRule { head_ends_with: Some("---".into()), ..DocumentRule::default() };
        assert!(problem(b"a\n", Format::Text, &head).contains("`---`"));
        let repair = DocumentRule { invalid_utf8: InvalidUtf8::Repair, ..DocumentRule::default() };
        let mut documents = Vec::new();
        let counts = each_document(file_of(b"a\xff\nb"), Format::Text, "", &repair, |text| {
            documents.push(text);
            Ok::<(), String>(())
        });
        assert_eq!((counts.unwrap().lines_repaired, documents), (1, vec!["a\u{fffd}\nb".to_owned()]));
    }

    fn records(bytes: &[u8], format: Format) -> Vec<String> {
        let mut documents = Vec::new();
        let done = each_document(file_of(bytes), format, "text", &DocumentRule::default(), |text| {
            documents.push(text);
            Ok::<(), String>(())
        });
        done.unwrap();
        documents
    }

    #[test]
    fn records_are_documents() {
        let jsonl = "\u{feff}{\"text\": \"a\\r\\nb\", \"n\": 1}\r\n\n{\"text\": \" \"}\n{\"text\": \"c\"}";
        assert_eq!(records(jsonl.as_bytes(), Format::Jsonl), ["a\nb", "c"]);
        assert_eq!(records("\u{feff}\"text\"\na\n".as_bytes(), Format::Csv), ["a"]);
        let csv = "\u{feff}id,text\n1,\"a, \"\"b\"\"\nc\"\n2,d\n";
        assert_eq!(records(csv.as_bytes(), Format::Csv), ["a, \"b\"\nc", "d"]);
        let rule = DocumentRule::default();
        assert_eq!(problem(b"{\"txt\": 1}", Format::Jsonl, &rule), "record 1: it has no text in `text`");
        assert!(problem(b"{\"text\": \"a\"}\n{", Format::Jsonl, &rule).starts_with("record 2: "));
        assert_eq!(
            problem(b"id,txt\n", Format::Csv, &rule),
            "record 0: the header has no column `text`; its columns are `id`, `txt`"
        );
    }

    #[test]
    fn line_ends_and_byte_order_marks_are_the_same_in_every_format() {
        for mark in ["", "\u{feff}"] {
            for end in ["\n", "\r\n"] {
                let file = |lines: &[&str]| format!("{mark}{}{end}", lines.join(end)).into_bytes();
                assert_eq!(records(&file(&["a", "b"]), Format::Text), ["a\nb\n"]);
                assert_eq!(records(&file(&["# a", "b"]), Format::Markdown), ["# a\nb\n"]);
                assert_eq!(records(&file(&["{\"text\": \"a\\r\\nb\"}"]), Format::Jsonl), ["a\nb"]);
                assert_eq!(records(&file(&["text", "\"a", "b\"", "c"]), Format::Csv), ["a\nb", "c"]);
            }
        }
        assert_eq!(records(&parquet_of(&[Some(b"a\r\nb")], None), Format::Parquet), ["a\nb"]);
    }

    #[test]
    fn fields_of_nested_objects_are_found_and_nulls_are_left_out() {
        let read = |json: &str| text_at(json, "a.b").unwrap();
        assert!(matches!(read(r#"{"x": [{"b": "no"}], "a": {"c": 1, "b": "yes"}}"#), Found::Text(t) if t == "yes"));
        assert!(matches!(read(r#"{"a.b": "yes"}"#), Found::Text(t) if t == "yes"));
        assert!(matches!(read(r#"{"a": {"b": null}}"#), Found::Null));
        assert!(matches!(read(r#"{"ab": "no", "a": {"b": {"b": "no"}}}"#), Found::Nothing));
        assert!(text_at("{} {}", "a").is_err());
    }

    /// What `json.dumps` of Python writes of a cut text and of a missing number.
    #[test]
    fn half_a_surrogate_pair_is_refused_or_repaired_and_nan_does_no_harm_where_it_is_not_read() {
        let file = b"{\"text\": \"cut \\ud83d\", \"score\": NaN}\n{\"text\": \"\\ud83e\\udd86 \\\\ud83d NaN\", \"n\": [-Infinity]}\n";
        let refused =
            each_document(file_of(file), Format::Jsonl, "text", &DocumentRule::default(), |_| Ok::<(), String>(()));
        let refused = refused.unwrap_err();
        let problem_of_pair = "record 1: the text in `text` holds half of a surrogate pair, which is no character";
        assert_eq!((refused.to_string().as_str(), refused.hint()), (problem_of_pair, REPAIR));
        let repair = DocumentRule { invalid_utf8: InvalidUtf8::Repair, ..DocumentRule::default() };
        let mut documents = Vec::new();
        let counts = each_document(file_of(file), Format::Jsonl, "text", &repair, |text| {
            documents.push(text);
            Ok::<(), String>(())
        });
        assert_eq!(documents, ["cut \u{fffd}", "\u{1f986} \\ud83d NaN"]);
        assert_eq!(counts.unwrap().lines_repaired, 1);

        let rule = DocumentRule::default();
        let unread = b"{\"meta\": \"\\ud83d\", \"score\": NaN, \"text\": \"whole\"}";
        assert_eq!(records(unread, Format::Jsonl), ["whole"]);
        assert_eq!(problem(b"{\"text\": NaN}", Format::Jsonl, &rule), "record 1: it has no text in `text`");
        assert!(problem(b"{\"text\": nan}", Format::Jsonl, &rule).starts_with("record 1: it is not JSON: "));
    }

    #[test]
    fn texts_of_csv_and_parquet_that_are_not_utf8_are_refused_or_repaired_and_counted() {
        let csv = b"text,n\n\"a\xff\",1\nb,\xff\n".to_vec();
        for (file, format) in [(csv, Format::Csv), (parquet_of(&[Some(b"a\xff"), Some(b"b")], None), Format::Parquet)] {
            let message = problem(&file, format, &DocumentRule::default());
            assert_eq!(message, "record 1 is not UTF-8 text");
            let repair = DocumentRule { invalid_utf8: InvalidUtf8::Repair, ..DocumentRule::default() };
            let mut documents = Vec::new();
            let counts = each_document(file_of(&file), format, "text", &repair, |text| {
                documents.push(text);
                Ok::<(), String>(())
            });
            assert_eq!((counts.unwrap().lines_repaired, documents), (1, vec!["a\u{fffd}".to_owned(), "b".to_owned()]));
        }
    }

    /// A file with the columns `text` and `meta.n`, three rows a row group.
    fn parquet_of(texts: &[Option<&[u8]>], compression: Option<Compression>) -> Vec<u8> {
        let schema = "message m { optional binary text; required group meta { required int32 n; } }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let version =
            if texts.len().is_multiple_of(2) { WriterVersion::PARQUET_1_0 } else { WriterVersion::PARQUET_2_0 };
        let properties = WriterProperties::builder().set_writer_version(version);
        let properties = properties.set_compression(compression.unwrap_or(Compression::UNCOMPRESSED)).build();
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
        for rows in texts.chunks(3) {
            let levels: Vec<i16> = rows.iter().map(|text| i16::from(text.is_some())).collect();
            let values: Vec<ByteArray> = rows.iter().flatten().map(|text| text.to_vec().into()).collect();
            let mut group = writer.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<Int32Type>().write_batch(&vec![7; rows.len()], None, None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.into_inner().unwrap()
    }

    #[test]
    fn parquet_is_read_packed_or_not_across_row_groups() {
        let codecs = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::GZIP(GzipLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
        ];
        let texts: [Option<&[u8]>; 7] = [Some(b"a"), None, Some(b" "), Some(b"a"), Some(b"b"), None, Some(b"c")];
        for codec in codecs {
            for rows in [6, 7] {
                let read = records(&parquet_of(&texts[..rows], Some(codec)), Format::Parquet);
                assert_eq!(read, ["a", "a", "b", "c"][..rows - 3], "{codec:?}");
            }
        }
        let problem = |name: &str| ParquetTexts::open(file_of(&parquet_of(&texts, None)), name).err().unwrap();
        assert_eq!(problem("txt"), "it has no column `txt`; its columns are `text`, `meta.n`");
        assert_eq!(problem("meta.n"), "its column `meta.n` does not hold strings; its columns are `text`, `meta.n`");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
        #[test]
        fn damaged_parquet_never_panics(
            changes in proptest::collection::vec((0usize..1 << 16, 0u8..=255), 0..4), cut in 0usize..1 << 12, gzip: bool,
        ) {
            let codec = if gzip { Compression::GZIP(GzipLevel::default()) } else { Compression::SNAPPY };
            let mut bytes = parquet_of(&[Some(b"a text"), None, Some(b"a text"), Some(b"more")], Some(codec));
            let whole = bytes.len();
            changes.iter().for_each(|(at, byte)| bytes[at % whole] = *byte);
            // Half of the files are cut.
            bytes.truncate(cut % (2 * whole));
            let read = each_document(file_of(&bytes), Format::Parquet, "text", &DocumentRule::default(), |_| Ok::<(), String>(()));
            proptest::prop_assert!(bytes.len() == whole || read.is_err());
        }

        /// Records that nearly are some: damaged, cut, nested deeply, with many fields or none. What is read is never
        /// longer than the file.
        #[test]
        fn damaged_json_lines_never_panic(
            changes in proptest::collection::vec((0usize..1 << 16, 0u8..=255), 0..4), depth in 0usize..100_000, list: bool, repair: bool,
        ) {
            let (open, close) = if list { ("[", "]") } else { ("{\"a\":", "}") };
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let mut bytes = format!("{{\"text\": \"a\\u00e9\\ud83e\\udd86\", \"n\": 1e999}}\n{{\"text\": \"b\", \"m\": {nested}}}\n").into_bytes();
            let whole = bytes.len();
            changes.iter().for_each(|(at, byte)| bytes[at % whole] = *byte);
            let invalid_utf8 = if repair { InvalidUtf8::Repair } else { InvalidUtf8::Refuse };
            let rule = DocumentRule { invalid_utf8, ..DocumentRule::default() };
            let mut read = 0;
            let _ = each_document(file_of(&bytes), Format::Jsonl, "text", &rule, |text| {
                read += text.len();
                Ok::<(), String>(())
            });
            proptest::prop_assert!(read <= 3 * whole);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, kind in 0usize..5, split in 0usize..5) {
            let format = [Format::Text, Format::Markdown, Format::Jsonl, Format::Csv, Format::Parquet][kind];
            let splits = [DocumentSplit::File, DocumentSplit::Headings, DocumentSplit::Separator, DocumentSplit::BlankLines, DocumentSplit::Lines];
            let rule = DocumentRule { split: splits[split], separator: Some("#".into()), ..DocumentRule::default() };
            let _ = each_document(file_of(&bytes), format, "text", &rule, |_| Ok::<(), String>(()));
        }
    }
}
