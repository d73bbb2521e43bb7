//! Items of a task as text, from the records of a file: one context and its choices.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::recipe::{ItemRule, Kind, RecordFormat};

/// One item of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Item {
    /// What stands before the choices; empty for whole sentences.
    pub context: String,
    /// The choices, without the blank that joins them to the context.
    pub choices: Vec<String>,
    /// Index of the right choice.
    pub gold: usize,
}

/// A record that is not as the recipe says.
#[derive(Debug, thiserror::Error)]
#[error(
    "record {record} of `{id}` cannot be used: {problem}\nhint: look at [items] in experiments/tasks/ and at the file"
)]
pub struct ItemsError {
    /// The task or subtask.
    pub id: String,
    /// The record, from 1.
    pub record: usize,
    /// What is wrong.
    pub problem: String,
}

/// The items of a file; `answers` holds one index a line, where they are in a file of their own.
pub fn items(
    id: &str,
    kind: Kind,
    rule: &ItemRule,
    file: &str,
    answers: Option<&str>,
) -> Result<Vec<Item>, ItemsError> {
    let at = |record: usize, problem: String| ItemsError { id: id.to_owned(), record: record + 1, problem };
    let records = match rule.format {
        RecordFormat::Jsonl => json_lines(file),
        RecordFormat::SixLines => six_lines(file),
    };
    let answers: Option<Vec<&str>> = answers.map(|text| text.lines().map(str::trim).collect());
    let mut items = Vec::new();
    for (index, record) in records.into_iter().enumerate() {
        let record = record.map_err(|problem| at(index, problem))?;
        let answer = answers.as_ref().map(|lines| lines.get(index).copied().unwrap_or(""));
        items.push(item(kind, rule, &record, answer).map_err(|problem| at(index, problem))?);
    }
    match answers {
        Some(lines) if lines.len() != items.len() => {
            Err(at(items.len(), format!("there are {} records and {} answers", items.len(), lines.len())))
        }
        _ => Ok(items),
    }
}

type Record = Map<String, Value>;

fn json_lines(file: &str) -> Vec<Result<Record, String>> {
    file.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| serde_json::from_str(line).map_err(|e| format!("it is not a JSON object: {e}")))
        .collect()
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

fn item(kind: Kind, rule: &ItemRule, record: &Record, answer: Option<&str>) -> Result<Item, String> {
    let mut context = fill(&rule.context, record)?;
    if rule.capitalize_last_sentence {
        context = with_last_sentence_capitalized(&context);
    }
    if kind == Kind::LastWord {
        let (before, word) = context.rsplit_once(' ').ok_or("it has one word only")?;
        if word.is_empty() {
            return Err("it ends in a blank".to_owned());
        }
        return Ok(Item { context: before.to_owned(), choices: vec![word.to_owned()], gold: 0 });
    }
    let choices = if rule.choices_from.is_empty() {
        rule.choices.iter().map(|template| fill(template, record)).collect::<Result<Vec<_>, _>>()?
    } else {
        let list = field(record, &rule.choices_from)?.as_array();
        let texts = list.map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>());
        let texts = texts.filter(|texts| list.is_some_and(|list| list.len() == texts.len()));
        texts.ok_or_else(|| format!("`{}` is not a list of texts", rule.choices_from))?
    };
    if choices.len() < 2 {
        return Err("it has fewer than two choices".to_owned());
    }
    if choices.iter().any(String::is_empty) {
        return Err("a choice is empty".to_owned());
    }
    let gold = match answer {
        Some(line) => index(line)?,
        None if rule.answer.is_empty() => 0,
        None => match field(record, &rule.answer)? {
            Value::String(text) => index(text)?,
            Value::Number(number) => number.as_u64().ok_or_else(|| format!("{number} is not an index"))? as usize,
            other => return Err(format!("{other} is not an index")),
        },
    };
    if gold >= choices.len() {
        return Err(format!("the answer is choice {gold}, counted from 0, of {}", choices.len()));
    }
    Ok(Item { context, choices, gold })
}

fn index(text: &str) -> Result<usize, String> {
    text.trim().parse().map_err(|_| format!("`{text}` is not an index"))
}

fn field<'a>(record: &'a Record, name: &str) -> Result<&'a Value, String> {
    record.get(name).ok_or_else(|| {
        let known: Vec<&str> = record.keys().map(String::as_str).collect();
        format!("it has no field `{name}`; its fields are {}", known.join(", "))
    })
}

/// Puts the text of fields where `{field}` stands.
fn fill(template: &str, record: &Record) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("a `{` of the template has no `}`")?;
        out.push_str(before);
        match field(record, name)? {
            Value::String(text) => out.push_str(text),
            Value::Number(number) => drop(write!(out, "{number}")),
            _ => return Err(format!("`{name}` is not a text")),
        }
        rest = after;
    }
    Ok(out + rest)
}

/// The text with a capital after its last sentence end, as `str.capitalize()` of Python would give that sentence.
fn with_last_sentence_capitalized(text: &str) -> String {
    let mut ends =
        text.char_indices().filter(|(at, c)| matches!(c, '.' | '!' | '?') && text[at + 1..].starts_with(' '));
    let Some((at, _)) = ends.next_back() else {
        return text.to_owned();
    };
    let (before, last) = text.split_at(at + 2);
    let mut characters = last.chars();
    match characters.next() {
        Some(first) if first.is_lowercase() => {
            format!("{before}{}{}", first.to_uppercase(), characters.as_str().to_lowercase())
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(format: RecordFormat) -> ItemRule {
        ItemRule {
            format,
            context: String::new(),
            choices: Vec::new(),
            choices_from: String::new(),
            answer: String::new(),
            capitalize_last_sentence: false,
        }
    }

    #[test]
    fn templates_are_filled_and_answers_aligned() {
        let rule = ItemRule {
            context: "Question: {goal}\nAnswer:".into(),
            choices: vec!["{sol1}".into(), "{sol2}".into()],
            ..rule(RecordFormat::Jsonl)
        };
        let file = "{\"goal\": \"g\", \"sol1\": \"a \", \"sol2\": \"b\"}\n";
        let found = items("piqa", Kind::MultipleChoice, &rule, file, Some("1\n")).unwrap();
        let expected = Item { context: "Question: g\nAnswer:".into(), choices: vec!["a ".into(), "b".into()], gold: 1 };
        assert_eq!(found, [expected]);
        let error = items("piqa", Kind::MultipleChoice, &rule, file, Some("1\n0\n")).unwrap_err().to_string();
        assert!(error.contains("1 records and 2 answers"), "{error}");
        let error = items("piqa", Kind::MultipleChoice, &rule, "{\"gaol\": 1}", None).unwrap_err().to_string();
        assert!(error.contains("record 1 of `piqa`") && error.contains("no field `goal`"), "{error}");
    }

    #[test]
    fn the_last_word_is_what_follows_the_last_blank() {
        let rule = ItemRule { context: "{text}".into(), ..rule(RecordFormat::Jsonl) };
        let found = items("lambada", Kind::LastWord, &rule, "{\"text\": \"a b.\\nc d\"}", None).unwrap();
        assert_eq!(found, [Item { context: "a b.\nc".into(), choices: vec!["d".into()], gold: 0 }]);
    }

    #[test]
    fn six_lines_are_an_item_and_get_their_capital_back() {
        let rule = ItemRule {
            context: "{context}".into(),
            choices_from: "choices".into(),
            answer: "answer".into(),
            capitalize_last_sentence: true,
            ..rule(RecordFormat::SixLines)
        };
        let file = "Roof: A man sits. he\n3\na\nb\nc\nd\nRoof: A man. He Sits\n0\na\nb\nc\nd\n";
        let found = items("hellaswag", Kind::MultipleChoice, &rule, file, None).unwrap();
        assert_eq!((found[0].context.as_str(), found[0].gold), ("Roof: A man sits. He", 3));
        assert_eq!(found[1].context, "Roof: A man. He Sits");
        let cut = items("hellaswag", Kind::MultipleChoice, &rule, "a\n0\nb\nc\n", None).unwrap_err().to_string();
        assert!(cut.contains("2 endings"), "{cut}");
    }
}
