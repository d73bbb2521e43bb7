//! The records of a task file: JSON objects, rows of a table, or pieces of plain text, each a map of fields.

use regex::Regex;
use serde_json::{Map, Value};

use super::recipe::{ItemRule, RecordFormat, TextRecords};

/// Fields by name.
pub(super) type Record = Map<String, Value>;

/// The records of a file in order, each as it is or with what is wrong about it.
pub(super) fn records(rule: &ItemRule, file: &str) -> Vec<Result<Record, String>> {
    cut(rule.format, rule.delimiter.unwrap_or(','), rule.records.as_ref().unwrap_or(&TextRecords::File), file)
}

/// The same, by what a rule says of the file.
pub(super) fn cut(
    format: RecordFormat,
    delimiter: char,
    text: &TextRecords,
    file: &str,
) -> Vec<Result<Record, String>> {
    let file = without_mark(file);
    match format {
        RecordFormat::Jsonl => json_lines(file),
        RecordFormat::Csv => rows(file, delimiter),
        RecordFormat::Text => pieces(file, text),
        RecordFormat::SixLines => six_lines(file),
    }
}

/// A file without the byte order mark that tools of Windows begin it with.
pub(super) fn without_mark(file: &str) -> &str {
    file.trim_start_matches('\u{feff}')
}

/// The value of a field; dots lead into nested objects, unless a field has this very name.
pub(super) fn field<'a>(record: &'a Record, name: &str) -> Result<&'a Value, String> {
    let nested = || {
        let mut parts = name.split('.');
        let first = parts.next().and_then(|part| record.get(part));
        parts.fold(first, |value, part| value.and_then(|value| value.get(part)))
    };
    let found = record.get(name).or_else(nested);
    found.ok_or_else(|| format!("it has no field `{name}`; its fields are {}", names(record)))
}

/// The names of the fields, for messages.
pub(super) fn names(record: &Record) -> String {
    record.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn json_lines(file: &str) -> Vec<Result<Record, String>> {
    file.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(|e| format!("it is not a JSON object: {e}")))
        .collect()
}

fn rows(file: &str, delimiter: char) -> Vec<Result<Record, String>> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter as u8).from_reader(file.as_bytes());
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => return vec![Err(error.to_string())],
    };
    let record = |row: csv::StringRecord| {
        let field = |(name, text): (&str, &str)| (name.trim().to_owned(), Value::from(text.replace("\r\n", "\n")));
        header.iter().zip(row.iter()).map(field).collect()
    };
    reader.records().map(|row| row.map(record).map_err(|e| e.to_string())).collect()
}

fn pieces(file: &str, cut: &TextRecords) -> Vec<Result<Record, String>> {
    let file = file.replace("\r\n", "\n");
    let texts: Vec<String> = match cut {
        TextRecords::File => vec![file],
        TextRecords::Lines => file.lines().map(str::to_owned).collect(),
        TextRecords::BlankLines => file
            .split('\n')
            .collect::<Vec<_>>()
            .split(|line| line.trim().is_empty())
            .map(|lines| lines.join("\n"))
            .collect(),
        TextRecords::BeginWith(pattern) => match Regex::new(pattern) {
            Ok(begins) => begun(&file, &begins),
            Err(error) => return vec![Err(error.to_string())],
        },
    };
    let visible = texts.into_iter().filter(|text| !text.trim().is_empty());
    visible.map(|text| Ok(Record::from_iter([("text".to_owned(), Value::from(text))]))).collect()
}

/// Pieces that begin with a line of that form; what stands before the first of them is one too.
fn begun(file: &str, begins: &Regex) -> Vec<String> {
    let mut pieces: Vec<Vec<&str>> = vec![Vec::new()];
    for line in file.split('\n') {
        if begins.is_match(line) {
            pieces.push(Vec::new());
        }
        pieces.last_mut().expect("there is a piece from the start").push(line);
    }
    pieces.iter().map(|lines| lines.join("\n")).collect()
}

fn six_lines(file: &str) -> Vec<Result<Record, String>> {
    let lines: Vec<&str> = file.lines().collect();
    lines
        .chunks(6)
        .map(|lines| {
            let [context, answer, endings @ ..] = lines else {
                return Err("it has no second line".to_owned());
            };
            if endings.len() != 4 {
                return Err(format!("it has {} endings, not 4", endings.len()));
            }
            let fields = [
                ("context", Value::from(*context)),
                ("answer", Value::from(*answer)),
                ("choices", Value::from(endings.to_vec())),
            ];
            Ok(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        })
        .collect()
}
