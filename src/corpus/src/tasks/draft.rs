//! A first recipe for a data file: its format from its name, its fields from its records, the kind of task from both.
//! What cannot be known (licence, citation, title) is left to be filled in, with a comment that says so.

use harness_core::digest::Digest;
use serde_json::Value;

use super::recipe::{RecordFormat, TextRecords, word};
use super::records::{Record, cut, names};
use harness_core::task_kind::Kind;

/// Why there is no draft.
#[derive(Debug, thiserror::Error)]
#[error("no recipe can be drafted from `{file}`: {problem}\nhint: {hint}")]
pub struct DraftError {
    /// The file.
    pub file: String,
    /// What is wrong.
    pub problem: String,
    /// What can be done.
    pub hint: &'static str,
}

/// What the draft says of the items.
struct Items {
    kind: Kind,
    metric: &'static str,
    chance: f64,
    /// Lines of `[items]` below `format`.
    lines: Vec<String>,
}

/// The text of a recipe for a data file, by the file's name and content.
pub fn draft(name: &str, file: &str, content: &str, kind: Option<Kind>) -> Result<String, DraftError> {
    let wrong = |problem: String, hint| DraftError { file: file.to_owned(), problem, hint };
    let (format, delimiter) = match file.rsplit('.').next().unwrap_or_default() {
        "jsonl" | "ndjson" => ("jsonl", ','),
        "csv" => ("csv", ','),
        "tsv" => ("csv", '\t'),
        "txt" | "md" | "tokens" => ("text", ','),
        other => {
            let hint =
                "name it .jsonl, .csv, .tsv or .txt, unpacked; a packed file can be named in the recipe by `packing`";
            return Err(wrong(format!("`.{other}` is not a format it knows"), hint));
        }
    };
    let as_read = match format {
        "jsonl" => RecordFormat::Jsonl,
        "csv" => RecordFormat::Csv,
        _ => RecordFormat::Text,
    };
    let first = cut(as_read, delimiter, &TextRecords::BlankLines, content).into_iter().next();
    let record = match first {
        Some(Ok(record)) => record,
        Some(Err(problem)) => return Err(wrong(problem, "the first record has to be readable")),
        None => return Err(wrong("it holds no record".to_owned(), "name the right file")),
    };
    let items = guess(&record, format, kind).map_err(|problem| {
        wrong(problem, "name the kind with --kind, or take the nearest recipe in experiments/tasks/ and change it")
    })?;
    let kind = word(&items.kind);
    let fields: Vec<String> = record.iter().map(|(name, value)| format!("#   {name}: {}", shown(value))).collect();
    let delimiter = if delimiter == '\t' { "delimiter = \"\\t\"\n" } else { "" };
    let records = if format == "text" {
        "records = \"blank_lines\"   # or \"file\", \"lines\", { begin_with = '^# ' }\n"
    } else {
        ""
    };
    Ok(format!(
        "title = \"{name}\"\n\
         description = \"\"   # what it measures, in a sentence or two\n\
         version = 1        # raise it when items or their form change\n\
         licence = \"\"       # of the data, as its authors state it\n\
         citation = \"\"      # who made the data\n\
         kind = \"{kind}\"\n\
         metric = \"{}\"\n\
         chance = {:?}       # what guessing gives\n\n\
         # Templates are Tera: {{{{ field }}}}, with filters as in {{{{ field | trim | capitalize }}}}. The first record:\n\
         {}\n\
         [items]\n\
         format = \"{format}\"\n{delimiter}{records}{}\n\n\
         [[subtask]]\n\
         # file.url = \"https://...\"   # where others can have the same bytes\n\
         file.sha256 = \"{}\"\n\
         file.bytes = {}\n",
        items.metric,
        items.chance,
        fields.join("\n"),
        items.lines.join("\n"),
        Digest::of(content.as_bytes()),
        content.len(),
    ))
}

/// The kind and the fields that make an item of it.
fn guess(record: &Record, format: &str, wanted: Option<Kind>) -> Result<Items, String> {
    let texts: Vec<&String> = record.iter().filter(|(_, v)| v.is_string()).map(|(name, _)| name).collect();
    let list = record.iter().find(|(_, v)| v.as_array().is_some_and(|list| list.len() > 1)).map(|(name, _)| name);
    let named = |words: &[&str]| {
        record.keys().find(|name| words.iter().any(|word| name.to_lowercase().contains(word))).cloned()
    };
    let numbered = |stems: &[&str]| -> Vec<String> {
        let of = |stem: &str| {
            let is_one = |name: &&String| {
                name.to_lowercase()
                    .strip_prefix(stem)
                    .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()) && !rest.is_empty())
            };
            record.keys().filter(is_one).cloned().collect::<Vec<_>>()
        };
        stems.iter().map(|stem| of(stem)).find(|found| found.len() > 1).unwrap_or_default()
    };
    let options = numbered(&["option", "choice", "ending", "sol", "answer", "opt"]);
    let (good, bad) = (named(&["good", "grammatical", "positive"]), named(&["bad", "ungrammatical", "negative"]));
    let gap = record.iter().find(|(_, v)| v.as_str().is_some_and(|text| text.contains('_'))).map(|(name, _)| name);
    let kind = match wanted {
        Some(kind) => kind,
        None if format == "text" => Kind::Documents,
        None if good.is_some() && bad.is_some() => Kind::MinimalPairs,
        None if gap.is_some() && options.len() == 2 => Kind::TwoContexts,
        None if list.is_some() || !options.is_empty() => Kind::MultipleChoice,
        None if texts.len() == 1 => Kind::LastWord,
        None => return Err(format!("its fields ({}) do not show what kind of task it is", names(record))),
    };
    let absent = |what: &str| format!("a `{}` task needs {what}", word(&kind));
    let braced = |name: &String| format!("{{{{ {name} }}}}");
    let answer = || {
        let found = record.keys().find(|name| {
            ["answer", "label", "gold", "correct", "answer_index"].contains(&name.to_lowercase().as_str())
        });
        found.map_or("# answer = \"...\"   # the field with the index of the right choice".to_owned(), |name| {
            let is_index = record[name].as_u64().is_some_and(|n| n == 0) || record[name].as_str() == Some("0");
            let labels =
                if is_index { "" } else { "\n# labels = [\"1\", \"2\"]   # if answers are not indices from 0" };
            format!("answer = \"{name}\"{labels}")
        })
    };
    Ok(match kind {
        Kind::MinimalPairs => {
            let (good, bad) = good.zip(bad).ok_or_else(|| absent("a good and a bad sentence"))?;
            let lines = vec![format!("choices = [\"{}\", \"{}\"]   # the good one first", braced(&good), braced(&bad))];
            Items { kind, metric: "accuracy", chance: 0.5, lines }
        }
        Kind::TwoContexts => {
            let gap =
                gap.filter(|_| options.len() == 2).ok_or_else(|| absent("a sentence with `_` and two options"))?;
            let before = format!("{{{{ {gap} | split(pat=\\\"_\\\") | first }}}}");
            let choices: Vec<String> = options.iter().map(|o| format!("\"{before}{}\"", braced(o))).collect();
            let lines = vec![
                format!("choices = [{}]", choices.join(", ")),
                format!("continuation = \"{{{{ {gap} | split(pat=\\\"_\\\") | last | trim }}}}\""),
                answer().replace("# labels", "labels"),
            ];
            Items { kind, metric: "accuracy", chance: 0.5, lines }
        }
        Kind::MultipleChoice => {
            let (choices, count) = match (list, options.as_slice()) {
                (Some(list), _) => (format!("choices_from = \"{list}\""), record[list].as_array().map_or(0, Vec::len)),
                (None, []) => return Err(absent("a field with a list of choices, or numbered ones")),
                (None, options) => {
                    let each: Vec<String> = options.iter().map(|o| format!("\"{}\"", braced(o))).collect();
                    (format!("choices = [{}]", each.join(", ")), options.len())
                }
            };
            let is_context = |name: &&&String| {
                !options.contains(name) && !["id", "answer", "label", "gold"].contains(&name.to_lowercase().as_str())
            };
            let context = texts.iter().filter(is_context).map(|name| braced(name)).collect::<Vec<_>>().join(" ");
            let lines = vec![format!("context = \"{context}\"   # a blank joins it to each choice"), choices, answer()];
            Items { kind, metric: "accuracy", chance: 1.0 / count.max(1) as f64, lines }
        }
        Kind::LastWord => {
            let text = texts.first().ok_or_else(|| absent("a text"))?;
            let lines = vec![format!("context = \"{}\"   # what follows its last blank is scored", braced(text))];
            Items { kind, metric: "greedy_accuracy", chance: 0.0, lines }
        }
        Kind::Documents => {
            let text = texts.first().ok_or_else(|| absent("a text"))?;
            let lines = vec![format!("choices = [\"{}\"]", braced(text))];
            Items { kind, metric: "bits_per_byte", chance: 0.0, lines }
        }
    })
}

/// A value on one line, short.
fn shown(value: &Value) -> String {
    const SHOWN: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['.', '.', '.']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::TaskRecipe;
    use crate::tasks::items::usable_items;

    #[test]
    fn every_draft_is_a_recipe_that_reads_its_file() {
        let cases = [
            ("a.jsonl", "{\"sentence_good\": \"x y\", \"sentence_bad\": \"y x\"}\n", Kind::MinimalPairs),
            ("b.jsonl", "{\"query\": \"q\", \"choices\": [\"a\", \"b\", \"c\"], \"gold\": 0}\n", Kind::MultipleChoice),
            ("c.csv", "goal,sol1,sol2,label\nboil,\"heat, it\",cool it,0\n", Kind::MultipleChoice),
            ("d.tsv", "sentence\toption1\toption2\tanswer\nthe _ fell.\tcup\tbag\t2\n", Kind::TwoContexts),
            ("e.jsonl", "{\"text\": \"one two\"}\n", Kind::LastWord),
            ("f.txt", "one\ntwo\n\nthree\n", Kind::Documents),
        ];
        for (file, content, kind) in cases {
            let text = draft("mine", file, content, None).unwrap();
            let recipe =
                TaskRecipe::parse("mine", "mine.toml", &text).unwrap_or_else(|e| panic!("{file}: {e}\n{text}"));
            assert_eq!(recipe.kind, kind, "{text}");
            let rule = recipe.items.as_ref().unwrap();
            let (items, unusable) = usable_items("mine", kind, rule, content, None).unwrap();
            assert!(unusable.is_empty() && !items.is_empty(), "{file}: {unusable:?}\n{text}");
            if kind == Kind::TwoContexts {
                assert_eq!((items[0].gold, items[0].choices[1].as_str()), (1, "the bag"));
            }
        }
        let error = draft("mine", "x.parquet", "", None).unwrap_err().to_string();
        assert!(error.contains("`.parquet`") && error.contains("hint: "), "{error}");
        let error = draft("mine", "x.jsonl", "{\"a\": \"x\", \"b\": \"y\"}", None).unwrap_err().to_string();
        assert!(error.contains("a, b") && error.contains("--kind"), "{error}");
    }
}
