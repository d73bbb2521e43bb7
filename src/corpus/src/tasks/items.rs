//! Items of a task as text, from the records of a file: one context and its choices, or one document.

use std::borrow::Cow;
use std::collections::HashMap;

use regex::Regex;
use serde_json::Value;

use super::recipe::ItemRule;
use super::records::{Record, field, records, without_mark};
use super::templates::Templates;
use crate::item::{Item, ItemsError};
use harness_core::task_kind::Kind;

/// The items of a file, and each record that cannot be used; `answers` holds one answer a line, where they are in a
/// file of their own.
pub(super) fn usable_items(
    id: &str,
    kind: Kind,
    rule: &ItemRule,
    file: &str,
    answers: Option<&str>,
) -> Result<(Vec<Item>, Vec<ItemsError>), ItemsError> {
    let at = |record: usize, problem: String| ItemsError { id: id.to_owned(), record: record + 1, problem };
    let maker = Maker::new(kind, rule).map_err(|problem| at(0, problem))?;
    let records = records(rule, file);
    let answers: Option<Vec<&str>> = answers.map(|text| without_mark(text).lines().map(str::trim).collect());
    if let Some(lines) = answers.as_ref().filter(|lines| lines.len() != records.len()) {
        return Err(at(records.len(), format!("there are {} records and {} answers", records.len(), lines.len())));
    }
    let (mut items, mut unusable, mut clusters) = (Vec::new(), Vec::new(), HashMap::new());
    for (index, record) in records.into_iter().enumerate() {
        let answer = answers.as_ref().map(|lines| lines[index]);
        match record.and_then(|record| Ok((maker.item(&record, answer)?, maker.cluster(&record)?))) {
            Ok((item, named)) => {
                let next = clusters.len() as u64;
                let cluster = named.map(|name| *clusters.entry(name).or_insert(next));
                items.push(Item { cluster, ..item });
            }
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
        let all = [&rule.context, &rule.continuation, &rule.cluster].into_iter().chain(&rule.choices);
        let templates = Templates::new(all.map(String::as_str))?;
        let replace = rule.replace.iter().map(|[pattern, with]| Ok((Regex::new(pattern)?, with.as_str())));
        let replace = replace.collect::<Result<_, regex::Error>>().map_err(|e| e.to_string())?;
        Ok(Maker { kind, rule, templates, replace })
    }

    fn item(&self, record: &Record, answer: Option<&str>) -> Result<Item, String> {
        let rule = self.rule;
        let filler = self.templates.filler(record)?;
        if self.kind == Kind::Documents {
            return self.document(filler.fill(CHOICES)?);
        }
        let (mut context, continuation) =
            (self.replaced(filler.fill(CONTEXT)?), self.replaced(filler.fill(CONTINUATION)?));
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
        let choices: Vec<String> = match (rule.choices_from.as_str(), rule.choices.len()) {
            ("", count) => (CHOICES..CHOICES + count).map(|at| filler.fill(at)).collect::<Result<_, _>>()?,
            (listed, 0) => texts(record, listed)?,
            (listed, _) => {
                let each = elements(record, listed)?.into_iter();
                each.map(|choice| filler.fill_with(CHOICES, "choice", choice)).collect::<Result<_, _>>()?
            }
        };
        let choices: Vec<String> = choices.into_iter().map(|choice| self.replaced(choice)).collect();
        if choices.iter().any(String::is_empty) {
            return Err("a choice is empty".to_owned());
        }
        if choices.len() < 2 {
            return Err("it has fewer than two choices".to_owned());
        }
        if self.kind == Kind::TwoContexts && continuation.is_empty() {
            return Err("its continuation is empty".to_owned());
        }
        let gold = match answer {
            Some(line) => self.index(line, record)?,
            None if rule.answer.is_empty() => 0,
            None => match field(record, &rule.answer)? {
                Value::String(text) => self.index(text, record)?,
                Value::Number(number) => self.index(&number.to_string(), record)?,
                Value::Bool(truth) => self.index(&truth.to_string(), record)?,
                other => return Err(format!("{other} is not an answer")),
            },
        };
        if gold >= choices.len() {
            return Err(format!("the answer is choice {gold}, counted from 0, of {}", choices.len()));
        }
        Ok(Item { context, choices, gold, continuation, ..Item::default() })
    }

    /// What names the cluster of the record's item.
    fn cluster(&self, record: &Record) -> Result<Option<String>, String> {
        if self.rule.cluster.is_empty() {
            return Ok(None);
        }
        let name = self.templates.filler(record)?.fill(CLUSTER)?;
        if name.trim().is_empty() { Err("its cluster has no name".to_owned()) } else { Ok(Some(name)) }
    }

    fn document(&self, original: String) -> Result<Item, String> {
        if original.is_empty() {
            return Err("the document is empty".to_owned());
        }
        let replaced = self.replaced(original.clone());
        let original = if replaced == original { String::new() } else { original };
        Ok(Item { choices: vec![replaced], original, ..Item::default() })
    }

    fn replaced(&self, text: String) -> String {
        self.replace.iter().fold(text, |text, (pattern, with)| pattern.replace_all(&text, *with).into_owned())
    }

    /// The choice that an answer stands for.
    fn index(&self, answer: &str, record: &Record) -> Result<usize, String> {
        let answer = answer.trim();
        let labels = match self.rule.labels_from.as_str() {
            "" => Cow::Borrowed(&self.rule.labels),
            listed => Cow::Owned(texts(record, listed)?),
        };
        if labels.is_empty() {
            return answer
                .parse()
                .map_err(|_| format!("`{answer}` is not an index; `labels` says what answers stand for"));
        }
        let found = labels.iter().position(|label| label.trim() == answer);
        found.ok_or_else(|| format!("the answer `{answer}` is none of {}", labels.join(", ")))
    }
}

/// Places of the templates of a rule.
const CONTEXT: usize = 0;
const CONTINUATION: usize = 1;
const CLUSTER: usize = 2;
const CHOICES: usize = 3;

/// The elements of a list that a field holds, or that is found in each element of one.
fn elements<'a>(record: &'a Record, name: &str) -> Result<Vec<&'a Value>, String> {
    let found = field(record, name);
    if let Ok(Value::Array(list)) = found {
        return Ok(list.iter().collect());
    }
    let inside = name.rsplit_once('.').and_then(|(list, part)| Some((field(record, list).ok()?.as_array()?, part)));
    let each = inside.and_then(|(list, part)| list.iter().map(|element| element.get(part)).collect::<Option<Vec<_>>>());
    each.ok_or_else(|| found.err().unwrap_or_else(|| format!("`{name}` is not a list")))
}

/// The same, of texts.
fn texts(record: &Record, name: &str) -> Result<Vec<String>, String> {
    let texts = elements(record, name)?.into_iter().map(|value| value.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().ok_or_else(|| format!("`{name}` is not a list of texts"))
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

    #[test]
    fn templates_are_filled_and_answers_aligned() {
        let rule = ItemRule {
            context: "Question: {{ goal }}\nAnswer:".into(),
            choices: vec!["{{ sol1 }}".into(), "{{ sol2 }}".into()],
            ..ItemRule::of(RecordFormat::Jsonl)
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
        let rule = ItemRule { context: "{{ text }}".into(), ..ItemRule::of(RecordFormat::Jsonl) };
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
            ..ItemRule::of(RecordFormat::SixLines)
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
            ..ItemRule::of(RecordFormat::Csv)
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
            ..ItemRule::of(RecordFormat::Text)
        };
        let file = " \n = One = \n a @-@ b ( c )\n = = Part = = \n = Two = \n d\n";
        let found = items("wiki", Kind::Documents, &rule, file, None).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].choices, [" = One = \n a-b (c)\n = = Part = = "]);
        assert_eq!(found[0].original, " = One = \n a @-@ b ( c )\n = = Part = = ");
        assert_eq!((found[1].choices[0].as_str(), found[1].original.as_str()), (" = Two = \n d\n", ""));
    }

    #[test]
    fn items_that_share_a_passage_share_their_cluster() {
        let rule = ItemRule {
            context: "{{ passage }} {{ q }}".into(),
            choices: vec!["no".into(), "yes".into()],
            cluster: "{{ passage }}".into(),
            ..ItemRule::of(RecordFormat::Jsonl)
        };
        let record = |passage: &str| format!("{{\"passage\": \"{passage}\", \"q\": \"?\"}}\n");
        let file: String = ["b", "a", "b", "c", "a"].map(record).concat();
        let found = items("boolq", Kind::MultipleChoice, &rule, &file, None).unwrap();
        let clusters: Vec<_> = found.iter().map(|item| item.cluster).collect();
        assert_eq!(clusters, [0, 1, 0, 2, 1].map(Some));
        let error = items("boolq", Kind::MultipleChoice, &rule, &record(""), None).unwrap_err().to_string();
        assert!(error.contains("its cluster has no name"), "{error}");
        let alone = ItemRule { cluster: String::new(), ..rule };
        let found = items("boolq", Kind::MultipleChoice, &alone, &file, None).unwrap();
        assert!(found.iter().all(|item| item.cluster.is_none()));
    }

    #[test]
    fn unusable_records_are_told_apart_and_nested_fields_found() {
        let rule = ItemRule {
            context: "{{ q }}".into(),
            choices_from: "choices.text".into(),
            answer: "key".into(),
            labels: vec!["A".into(), "B".into()],
            ..ItemRule::of(RecordFormat::Jsonl)
        };
        let file = "{\"q\": \"?\", \"choices\": {\"text\": [\"x\", \"y\"]}, \"key\": \"B\"}\nnonsense\n";
        let (found, unusable) = usable_items("arc", Kind::MultipleChoice, &rule, file, None).unwrap();
        assert_eq!((found.len(), found[0].gold, unusable.len(), unusable[0].record), (1, 1, 1, 2));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_file_in_any_format() {
        let context =
            |format| ItemRule { context: "{{ context }}".into(), choices_from: "c".into(), ..ItemRule::of(format) };
        let text = ItemRule {
            records: Some(TextRecords::Lines),
            choices: vec!["{{ text }}".into()],
            ..ItemRule::of(RecordFormat::Text)
        };
        let six = ItemRule { choices_from: "choices".into(), ..context(RecordFormat::SixLines) };
        let csv = ItemRule {
            choices: vec!["{{ context }}".into(), "{{ b }}".into()],
            choices_from: String::new(),
            ..context(RecordFormat::Csv)
        };
        let cases = [
            (Kind::MultipleChoice, context(RecordFormat::Jsonl), "{\"context\": \"x\", \"c\": [\"a\", \"b\"]}\n"),
            (Kind::MultipleChoice, csv, "context,b\nx,y\n"),
            (Kind::MultipleChoice, six, "x\n1\na\nb\nc\nd\n"),
            (Kind::Documents, text, "x\ny\n"),
        ];
        for (kind, rule, file) in cases {
            let plain = items("t", kind, &rule, file, None).unwrap();
            assert_eq!(items("t", kind, &rule, &format!("\u{feff}{file}"), None).unwrap(), plain, "{:?}", rule.format);
        }
        let rule = ItemRule {
            context: "{{ q }}".into(),
            choices: vec!["a".into(), "b".into()],
            ..ItemRule::of(RecordFormat::Jsonl)
        };
        let found = items("t", Kind::MultipleChoice, &rule, "{\"q\": \"x\"}", Some("\u{feff}1\r\n")).unwrap();
        assert_eq!(found[0].gold, 1);
    }

    #[test]
    fn choices_and_labels_may_come_from_lists_and_be_put_into_a_template() {
        let rule = ItemRule {
            choices_from: "options.text".into(),
            choices: vec!["{{ text | characters(to=at) }}{{ choice | lower }}".into()],
            continuation: "{{ text | characters(from=at + 1) | trim }}".into(),
            answer: "The Answer".into(),
            labels_from: "options.label".into(),
            ..ItemRule::of(RecordFormat::Jsonl)
        };
        let file = "{\"text\": \"So é _ fell.\", \"at\": 5, \"options\": [{\"label\": \"A\", \"text\": \"It\"}, {\"label\": \"B\", \"text\": \"He\"}], \"The Answer\": \"B\"}\n\
                    {\"text\": \"_ sat.\", \"at\": 0, \"options\": {\"label\": [1, 2], \"text\": [\"It\", \"He\"]}, \"The Answer\": \"B\"}\n";
        let (found, unusable) = usable_items("x", Kind::TwoContexts, &rule, file, None).unwrap();
        let texts: Vec<String> = found[0].texts().collect();
        assert_eq!(texts, ["So é it fell.", "So é he fell."]);
        assert_eq!((found.len(), found[0].gold), (1, 1));
        assert!(unusable[0].problem.contains("`options.label` is not a list of texts"), "{}", unusable[0].problem);
    }
}
