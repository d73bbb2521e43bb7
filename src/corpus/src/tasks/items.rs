//! Items of a task as text, from the records of a file: one context and its choices, or one document.

use crate::item::Item;
use regex::Regex;
use serde_json::Value;

use super::recipe::ItemRule;
use super::records::{Record, field, records};
use super::templates::Templates;
use harness_core::task_kind::Kind;

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

/// The items of a file, and each record that cannot be used; `answers` holds one answer a line, where they are in a
/// file of their own.
pub fn usable_items(
    id: &str,
    kind: Kind,
    rule: &ItemRule,
    file: &str,
    answers: Option<&str>,
) -> Result<(Vec<Item>, Vec<ItemsError>), ItemsError> {
    let at = |record: usize, problem: String| ItemsError { id: id.to_owned(), record: record + 1, problem };
    let maker = Maker::new(kind, rule).map_err(|problem| at(0, problem))?;
    let records = records(rule, file);
    let answers: Option<Vec<&str>> = answers.map(|text| text.lines().map(str::trim).collect());
    if let Some(lines) = answers.as_ref().filter(|lines| lines.len() != records.len()) {
        return Err(at(records.len(), format!("there are {} records and {} answers", records.len(), lines.len())));
    }
    let (mut items, mut unusable) = (Vec::new(), Vec::new());
    for (index, record) in records.into_iter().enumerate() {
        let answer = answers.as_ref().map(|lines| lines[index]);
        match record.and_then(|record| maker.item(&record, answer)) {
            Ok(item) => items.push(item),
            Err(problem) => unusable.push(at(index, problem)),
        }
    }
    Ok((items, unusable))
}

/// Makes items by one rule.
struct Maker<'a> {
    kind: Kind,
    rule: &'a ItemRule,
    templates: Templates,
    replace: Vec<(Regex, &'a str)>,
}

impl<'a> Maker<'a> {
    fn new(kind: Kind, rule: &'a ItemRule) -> Result<Self, String> {
        let all = [&rule.context, &rule.continuation].into_iter().chain(&rule.choices);
        let templates = Templates::new(all.map(String::as_str))?;
        let replace = rule.replace.iter().map(|[pattern, with]| Ok((Regex::new(pattern)?, with.as_str())));
        let replace = replace.collect::<Result<_, regex::Error>>().map_err(|e| e.to_string())?;
        Ok(Maker { kind, rule, templates, replace })
    }

    fn item(&self, record: &Record, answer: Option<&str>) -> Result<Item, String> {
        let rule = self.rule;
        let mut filled = self.templates.fill(record)?.into_iter();
        let (mut context, continuation) = (filled.next().unwrap_or_default(), filled.next().unwrap_or_default());
        if rule.capitalize_last_sentence {
            context = with_last_sentence_capitalized(&context);
        }
        if self.kind == Kind::LastWord {
            let (before, word) = context.rsplit_once(' ').ok_or("it has one word only")?;
            if word.is_empty() {
                return Err("it ends in a blank".to_owned());
            }
            return Ok(Item { context: before.to_owned(), choices: vec![word.to_owned()], ..Item::default() });
        }
        let choices: Vec<String> =
            if rule.choices_from.is_empty() { filled.collect() } else { list(record, &rule.choices_from)? };
        if choices.iter().any(String::is_empty) {
            return Err("a choice is empty".to_owned());
        }
        if self.kind == Kind::Documents {
            return Ok(self.document(choices));
        }
        if choices.len() < 2 {
            return Err("it has fewer than two choices".to_owned());
        }
        if self.kind == Kind::TwoContexts && continuation.is_empty() {
            return Err("its continuation is empty".to_owned());
        }
        let gold = match answer {
            Some(line) => self.index(line)?,
            None if rule.answer.is_empty() => 0,
            None => match field(record, &rule.answer)? {
                Value::String(text) => self.index(text)?,
                Value::Number(number) => self.index(&number.to_string())?,
                Value::Bool(truth) => self.index(&truth.to_string())?,
                other => return Err(format!("{other} is not an answer")),
            },
        };
        if gold >= choices.len() {
            return Err(format!("the answer is choice {gold}, counted from 0, of {}", choices.len()));
        }
        Ok(Item { context, choices, gold, continuation, ..Item::default() })
    }

    fn document(&self, choices: Vec<String>) -> Item {
        let original = choices.concat();
        let replaced = self
            .replace
            .iter()
            .fold(original.clone(), |text, (pattern, with)| pattern.replace_all(&text, *with).into_owned());
        let original = if replaced == original { String::new() } else { original };
        Item { choices: vec![replaced], original, ..Item::default() }
    }

    /// The choice that an answer stands for.
    fn index(&self, answer: &str) -> Result<usize, String> {
        let answer = answer.trim();
        if self.rule.labels.is_empty() {
            return answer
                .parse()
                .map_err(|_| format!("`{answer}` is not an index; `labels` says what answers stand for"));
        }
        let found = self.rule.labels.iter().position(|label| label == answer);
        found.ok_or_else(|| format!("the answer `{answer}` is none of {}", self.rule.labels.join(", ")))
    }
}

fn list(record: &Record, name: &str) -> Result<Vec<String>, String> {
    let list = field(record, name)?.as_array();
    let texts = list.map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>());
    let texts = texts.filter(|texts| list.is_some_and(|list| list.len() == texts.len()));
    texts.ok_or_else(|| format!("`{name}` is not a list of texts"))
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
    use crate::tasks::recipe::{RecordFormat, TextRecords};

    fn items(
        id: &str,
        kind: Kind,
        rule: &ItemRule,
        file: &str,
        answers: Option<&str>,
    ) -> Result<Vec<Item>, ItemsError> {
        let (items, unusable) = usable_items(id, kind, rule, file, answers)?;
        unusable.into_iter().next().map_or(Ok(items), Err)
    }

    fn rule(format: RecordFormat) -> ItemRule {
        ItemRule {
            format,
            records: None,
            delimiter: None,
            context: String::new(),
            choices: Vec::new(),
            choices_from: String::new(),
            continuation: String::new(),
            answer: String::new(),
            labels: Vec::new(),
            replace: Vec::new(),
            capitalize_last_sentence: false,
        }
    }

    #[test]
    fn templates_are_filled_and_answers_aligned() {
        let rule = ItemRule {
            context: "Question: {{ goal }}\nAnswer:".into(),
            choices: vec!["{{ sol1 }}".into(), "{{ sol2 }}".into()],
            ..rule(RecordFormat::Jsonl)
        };
        let file = "{\"goal\": \"g\", \"sol1\": \"a \", \"sol2\": \"b\"}\n";
        let found = items("piqa", Kind::MultipleChoice, &rule, file, Some("1\n")).unwrap();
        let expected = Item {
            context: "Question: g\nAnswer:".into(),
            choices: vec!["a ".into(), "b".into()],
            gold: 1,
            ..Item::default()
        };
        assert_eq!(found, [expected]);
        let error = items("piqa", Kind::MultipleChoice, &rule, file, Some("1\n0\n")).unwrap_err().to_string();
        assert!(error.contains("1 records and 2 answers"), "{error}");
        let error = items("piqa", Kind::MultipleChoice, &rule, "{\"gaol\": 1}", None).unwrap_err().to_string();
        assert!(
            error.contains("record 1 of `piqa`") && error.contains("`goal`") && error.contains("its fields are gaol"),
            "{error}"
        );
    }

    #[test]
    fn the_last_word_is_what_follows_the_last_blank() {
        let rule = ItemRule { context: "{{ text }}".into(), ..rule(RecordFormat::Jsonl) };
        let found = items("lambada", Kind::LastWord, &rule, "{\"text\": \"a b.\\nc d\"}", None).unwrap();
        assert_eq!(found, [Item { context: "a b.\nc".into(), choices: vec!["d".into()], ..Item::default() }]);
    }

    #[test]
    fn six_lines_are_an_item_and_get_their_capital_back() {
        let rule = ItemRule {
            context: "{{ context }}".into(),
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

    #[test]
    fn two_contexts_share_their_continuation() {
        let rule = ItemRule {
            choices: vec![
                "{{ sentence | split(pat=\"_\") | first }}{{ option1 }}".into(),
                "{{ sentence | split(pat=\"_\") | first }}{{ option2 }}".into(),
            ],
            continuation: "{{ sentence | split(pat=\"_\") | last | trim }}".into(),
            answer: "answer".into(),
            labels: vec!["1".into(), "2".into()],
            ..rule(RecordFormat::Csv)
        };
        let file =
            "sentence,option1,option2,answer\n\"The cup did not fit in the bag, so _ was left.\",the cup,the bag,1\n";
        let found = items("pairs", Kind::TwoContexts, &rule, file, None).unwrap();
        let texts: Vec<String> = found[0].texts().collect();
        assert_eq!(texts[1], "The cup did not fit in the bag, so the bag was left.");
        assert_eq!((found[0].gold, found[0].continuation.as_str()), (0, "was left."));
        let other = file.replace(",1\n", ",3\n");
        let error = items("pairs", Kind::TwoContexts, &rule, &other, None).unwrap_err().to_string();
        assert!(error.contains("`3` is none of 1, 2"), "{error}");
    }

    #[test]
    fn documents_keep_what_they_were_before_parts_are_replaced() {
        let rule = ItemRule {
            records: Some(TextRecords::BeginWith("^ = [^=].* = $".into())),
            choices: vec!["{{ text }}".into()],
            replace: vec![[" @-@ ".into(), "-".into()], ["\\( *([^)]*?) *\\)".into(), "($1)".into()]],
            ..rule(RecordFormat::Text)
        };
        let file = " \n = One = \n a @-@ b ( c )\n = = Part = = \n = Two = \n d\n";
        let found = items("wiki", Kind::Documents, &rule, file, None).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].choices, [" = One = \n a-b (c)\n = = Part = = "]);
        assert_eq!(found[0].original, " = One = \n a @-@ b ( c )\n = = Part = = ");
        assert_eq!((found[1].choices[0].as_str(), found[1].original.as_str()), (" = Two = \n d\n", ""));
    }

    #[test]
    fn unusable_records_are_told_apart_and_nested_fields_found() {
        let rule = ItemRule {
            context: "{{ q }}".into(),
            choices_from: "choices.text".into(),
            answer: "key".into(),
            labels: vec!["A".into(), "B".into()],
            ..rule(RecordFormat::Jsonl)
        };
        let file = "{\"q\": \"?\", \"choices\": {\"text\": [\"x\", \"y\"]}, \"key\": \"B\"}\nnonsense\n";
        let (found, unusable) = usable_items("arc", Kind::MultipleChoice, &rule, file, None).unwrap();
        assert_eq!((found.len(), found[0].gold, unusable.len(), unusable[0].record), (1, 1, 1, 2));
    }
}
