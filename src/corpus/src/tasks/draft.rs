//! A first recipe for data files: their format from their names, what is scored from the shape of their records. A shape
//! that is not known is drafted where its fields leave one reading only, and refused otherwise: a recipe that scores
//! something else gives numbers that look right. What cannot be known (licence, citation, title) is left to be filled in.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Component, Path};

use harness_core::digest::Digest;
use harness_core::files;
use harness_core::names::{Project, is_inside};
use serde_json::Value;

use super::checked::TaskRecipe;
use super::items::usable_items;
use super::recipe::{RecordFormat, TextRecords, word};
use super::records::{Record, cut};
use super::shapes::{Asks, Parts, shape_of};
use super::templates::reference;
use crate::unpack::Packing;
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
    pub hint: String,
}

/// A data file, unpacked.
#[derive(Debug)]
pub struct DataFile {
    /// Its name, as it was given.
    pub shown: String,
    /// Its path from the folder of the project, if it lies there.
    pub path: Option<String>,
    /// How its bytes are packed.
    pub packing: Packing,
    /// What it holds.
    pub content: String,
}

impl DataFile {
    /// Reads and unpacks a file.
    pub fn read(project: &Project, path: &Path) -> Result<Self, DraftError> {
        let shown = path.display().to_string();
        let wrong = |problem: String, hint: &str| DraftError { file: shown.clone(), problem, hint: hint.to_owned() };
        let packed = files::read(path).map_err(|e| wrong(e.to_string(), "name a file that is there"))?;
        let packing = Packing::of(&packed);
        let mut content = Vec::new();
        let unpacked = packing.reader(&packed[..]).read_to_end(&mut content);
        unpacked.map_err(|e| wrong(format!("it cannot be unpacked: {e}"), "look whether it is whole"))?;
        let content = String::from_utf8(content).map_err(|_| {
            wrong("it is not UTF-8 text".to_owned(), "convert it (iconv -t UTF-8), or export it as .jsonl")
        })?;
        Ok(DataFile { path: inside(project, path), packing, content, shown: shown.clone() })
    }

    /// Its name without the endings of format and packing.
    fn stem(&self) -> &str {
        let name = self.shown.rsplit(['/', '\\']).next().unwrap_or_default();
        name.split('.').find(|part| !part.is_empty()).unwrap_or(name)
    }

    /// What its name says that its bytes are, and what parts the columns.
    fn format(&self) -> Option<(RecordFormat, char)> {
        let mut endings = self.shown.rsplit('.');
        let last = endings.next()?;
        let ending = if self.packing != Packing::None && Packing::of_name(&self.shown) != Packing::None {
            endings.next()?
        } else {
            last
        };
        Some(match ending {
            "jsonl" | "ndjson" | "json" => (RecordFormat::Jsonl, ','),
            "csv" => (RecordFormat::Csv, ','),
            "tsv" => (RecordFormat::Csv, '\t'),
            "txt" | "md" | "tokens" => (RecordFormat::Text, ','),
            _ => return None,
        })
    }
}

/// The path from the folder of the project, if the file lies there.
fn inside(project: &Project, path: &Path) -> Option<String> {
    let whole = std::path::absolute(path).ok()?;
    let parts: Option<Vec<&str>> = whole
        .strip_prefix(project.root())
        .ok()?
        .components()
        .map(|part| if let Component::Normal(part) = part { part.to_str() } else { None })
        .collect();
    parts.map(|parts| parts.join("/")).filter(|path| is_inside(path))
}

/// What is asked of records of one kind, as far as a recipe says it.
struct Form {
    kind: Kind,
    metric: &'static str,
    /// Names, and what stands in `[items]` below `format`.
    parts: Vec<(&'static str, String)>,
    /// Whether the right choices are to come from a file of their own.
    lacks_answers: bool,
}

/// What is wrong, and what can be done.
struct Refusal {
    problem: String,
    hint: String,
}

/// What can be done where the fields do not say enough.
const BY_HAND: &str = "copy the nearest recipe in experiments/tasks/ and name the fields in its templates";

fn refused<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { problem: problem.into(), hint: hint.into() })
}

/// The text of a recipe for data files of one form; each of several becomes a part of the task. `answers` holds the right
/// choices of the first, one a line.
pub fn draft(
    name: &str,
    files: &[DataFile],
    answers: Option<&DataFile>,
    kind: Option<Kind>,
) -> Result<String, DraftError> {
    let of = |file: &DataFile, problem: String, hint: &str| DraftError {
        file: file.shown.clone(),
        problem,
        hint: hint.to_owned(),
    };
    let mut records = Vec::new();
    for file in files {
        let Some((format, delimiter)) = file.format() else {
            let hint = "take .jsonl, .csv, .tsv or .txt, plain or packed as .gz, .bz2, .zst or .xz; a Parquet file becomes \
                        one with `pandas.read_parquet(path).to_json(out, orient=\"records\", lines=True)`";
            return Err(of(file, "its name does not end in a format that task files have".to_owned(), hint));
        };
        if Some((format, delimiter)) != files[0].format() {
            return Err(of(file, format!("it has another format than `{}`", files[0].shown), "draft a task for each"));
        }
        for record in cut(format, delimiter, &TextRecords::BlankLines, &file.content) {
            records.push(record.map_err(|problem| of(file, problem, "every record has to be readable"))?);
        }
    }
    let first = &files[0];
    let (format, delimiter) = first.format().expect("that was looked at");
    if records.is_empty() {
        return Err(of(first, "it holds no record".to_owned(), "name the right file"));
    }
    let form = form_of(&records, format, kind).map_err(|r| of(first, r.problem, &r.hint))?;
    if form.lacks_answers && answers.is_none() {
        let hint = "name the file with the answers, one a line, with --answers";
        return Err(of(first, "its records do not say which choice is right".to_owned(), hint));
    }
    if answers.is_some() && files.len() > 1 {
        return Err(of(
            first,
            "answers belong to one file".to_owned(),
            "draft it alone, and add the other parts by hand",
        ));
    }
    let write = |chance: f64| recipe_text(name, files, answers, &records[0], &form, (format, delimiter), chance);
    let draft = write(0.0);
    let unusable = |problem: String| {
        let hidden = ["`-1`", "``", "null", "`?`"].iter().any(|answer| problem.contains(answer));
        let hint = if hidden {
            "the answers seem to be hidden: take a part with answers, such as validation"
        } else {
            BY_HAND
        };
        of(first, problem, hint)
    };
    let recipe = TaskRecipe::parse(name, "the draft", &draft).map_err(|e| unusable(e.to_string()))?;
    // What guessing gives, over all items; and a part without any item is no draft.
    let mut shares = Vec::new();
    for (at, subtask) in recipe.subtasks.iter().enumerate() {
        let file = &files[at / form.parts.len()];
        let rule = recipe.rule(subtask).expect("each has its rule");
        let lines = answers.map(|file| file.content.as_str());
        let (items, bad) =
            usable_items(name, form.kind, rule, &file.content, lines).map_err(|e| unusable(e.problem))?;
        if items.is_empty() {
            let problem = bad.into_iter().next().map_or("it holds no item".to_owned(), |e| e.problem);
            return Err(unusable(problem));
        }
        shares.extend(items.iter().filter(|item| item.choices.len() > 1).map(|item| 1.0 / item.choices.len() as f64));
    }
    let chance = if shares.is_empty() { 0.0 } else { shares.iter().sum::<f64>() / shares.len() as f64 };
    Ok(write((chance * 1e4).round() / 1e4))
}

fn recipe_text(
    name: &str,
    files: &[DataFile],
    answers: Option<&DataFile>,
    record: &Record,
    form: &Form,
    (format, delimiter): (RecordFormat, char),
    chance: f64,
) -> String {
    let format_lines = format!(
        "format = \"{}\"\n{}{}",
        word(&format),
        if delimiter == '\t' { "delimiter = \"\\t\"\n" } else { "" },
        if format == RecordFormat::Text {
            "records = \"blank_lines\"   # or \"file\", \"lines\", { begin_with = '^# ' }\n"
        } else {
            ""
        },
    );
    let shown: Vec<String> = record.iter().map(|(name, value)| format!("#   {name}: {}", shown(value))).collect();
    let mut text = format!(
        "title = {}\n\
         description = \"\"   # what it measures, in a sentence or two\n\
         version = 1        # raise it when items or their form change\n\
         licence = \"\"       # of the data, as its authors state it\n\
         citation = \"\"      # who made the data\n\
         kind = \"{}\"\n\
         metric = \"{}\"\n\
         chance = {chance:?}       # what guessing gives\n\n\
         # Templates are Tera: {{{{ field }}}}, with filters as in {{{{ field | trim | capitalize }}}}. The first record:\n\
         {}\n",
        quoted(name),
        word(&form.kind),
        form.metric,
        shown.join("\n"),
    );
    let items = |table: &str, lines: &str| format!("\n[{table}]\n{format_lines}{lines}\n");
    let one = form.parts.len() == 1;
    if one {
        text += &items("items", &form.parts[0].1);
    }
    let listed = |what: &str, file: &DataFile| {
        let line = |key: &str, value: String| format!("{what}.{key} = {value}\n");
        let path = file.path.as_ref().map_or(String::new(), |path| line("path", quoted(path)));
        let packed = (file.packing != Packing::None).then(|| line("packing", format!("\"{}\"", word(&file.packing))));
        format!(
            "# {what}.url = \"https://...\"   # where others can have the same bytes\n{path}{}{}{}",
            line("sha256", format!("\"{}\"", Digest::of(file.content.as_bytes()))),
            line("bytes", file.content.len().to_string()),
            packed.unwrap_or_default(),
        )
    };
    for file in files {
        for (part, lines) in &form.parts {
            let stem: String =
                file.stem().chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
            let part = match (files.len(), *part) {
                (1, part) => part.to_owned(),
                (_, "") => stem,
                (_, part) => format!("{stem}-{part}"),
            };
            text += "\n[[subtask]]\n";
            if !part.is_empty() {
                let _ = writeln!(text, "name = \"{part}\"");
            }
            text += &listed("file", file);
            text += &answers.map_or(String::new(), |file| listed("answers", file));
            if !one {
                text += &items("subtask.items", lines);
            }
        }
    }
    text
}

/// How the records are asked: as their shape is known, else as their fields say.
fn form_of(records: &[Record], format: RecordFormat, wanted: Option<Kind>) -> Result<Form, Refusal> {
    let (form, lacks_answers) = match shape_of(&records[0]).map(|shape| &shape.asks) {
        Some(Asks::Nothing { problem, hint }) => return refused(*problem, *hint),
        Some(Asks::Items(form)) if wanted.is_none_or(|kind| kind == form.kind) => (form, false),
        Some(Asks::ItemsWithoutAnswers(form)) if wanted.is_none_or(|kind| kind == form.kind) => (form, true),
        _ => return Fields::of(records).form(format, wanted),
    };
    let parts = match form.items {
        Parts::One(items) => vec![("", items.to_owned())],
        Parts::Several(parts) => parts.iter().map(|(name, items)| (*name, (*items).to_owned())).collect(),
    };
    Ok(Form { kind: form.kind, metric: form.metric, parts, lacks_answers })
}

/// The fields of records whose shape is not known.
struct Fields<'a> {
    records: &'a [Record],
    /// Those with text in the first record that say something of the item, not of where it comes from.
    texts: Vec<&'a str>,
}

/// Names of what stands before choices; of several, which comes first cannot be known.
const CONTEXTS: [&str; 25] = [
    "article",
    "background",
    "body",
    "context",
    "ctx",
    "goal",
    "hint",
    "input",
    "instruction",
    "obs1",
    "obs2",
    "paragraph",
    "passage",
    "prefix",
    "premise",
    "problem",
    "prompt",
    "query",
    "question",
    "questionstem",
    "sentence",
    "stem",
    "story",
    "support",
    "text",
];

/// Names of the right choice.
const ANSWERS: [&str; 10] = [
    "answerkey",
    "answer",
    "label",
    "gold",
    "correct",
    "correctanswer",
    "answeridx",
    "answerindex",
    "target",
    "correctoption",
];

/// Names of what says where an item comes from.
const ABOUT: [&str; 22] = [
    "category",
    "concept",
    "difficulty",
    "domain",
    "explanation",
    "field",
    "id",
    "idx",
    "lang",
    "language",
    "level",
    "metadata",
    "pairid",
    "phenomenon",
    "source",
    "split",
    "subject",
    "title",
    "topic",
    "type",
    "uid",
    "url",
];

/// A name without its case, blanks and signs.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn braced(name: &str) -> String {
    format!("{{{{ {} }}}}", reference(name))
}

fn text_of<'a>(record: &'a Record, name: &str) -> &'a str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A text as it stands in TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list_of(templates: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", templates.into_iter().map(|template| quoted(&template)).collect::<Vec<_>>().join(", "))
}

impl<'a> Fields<'a> {
    fn of(records: &'a [Record]) -> Self {
        let says = |name: &&str| !ABOUT.contains(&plain(name).as_str());
        let texts = records[0].iter().filter(|(_, value)| value.is_string()).map(|(name, _)| name.as_str());
        Fields { records, texts: texts.filter(says).collect() }
    }

    fn names(&self) -> String {
        self.records[0].keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The first reading that the fields allow, of the kind that is wanted.
    fn form(&self, format: RecordFormat, wanted: Option<Kind>) -> Result<Form, Refusal> {
        type Reading<'a> = fn(&Fields<'a>, bool) -> Option<Result<(&'static str, String), Refusal>>;
        let readings: [(Kind, Reading); 6] = [
            (Kind::MultipleChoice, Self::right_and_wrong),
            (Kind::MinimalPairs, Self::pair),
            (Kind::TwoContexts, Self::gap),
            (Kind::MultipleChoice, Self::choices),
            (Kind::LastWord, Self::last_word),
            (Kind::Documents, Self::document),
        ];
        let wanted = wanted.or((format == RecordFormat::Text).then_some(Kind::Documents));
        for (kind, reading) in readings {
            if wanted.is_some_and(|wanted| wanted != kind) || (wanted.is_none() && kind == Kind::Documents) {
                continue;
            }
            if let Some(read) = reading(self, wanted.is_some()) {
                let (metric, items) = read?;
                return Ok(Form { kind, metric, parts: vec![("", items)], lacks_answers: false });
            }
        }
        let names = self.names();
        let Some(kind) = wanted else {
            let hint = format!("name the kind with --kind, or {BY_HAND}");
            return refused(format!("its fields ({names}) do not show what kind of task it is"), hint);
        };
        let needs = match kind {
            Kind::MinimalPairs => "a good and a bad sentence, in fields named so",
            Kind::TwoContexts => {
                "a sentence with `_` and two numbered options, or `context_options`, `continuation` and `gold`"
            }
            Kind::MultipleChoice => "a list of choices, or numbered ones, or a right and wrong ones in fields named so",
            Kind::LastWord | Kind::Documents => "one text",
        };
        refused(format!("a `{}` task needs {needs}; its fields are {names}", word(&kind)), BY_HAND)
    }

    /// The template of what stands before the choices, which are in the fields `used`.
    fn context(&self, used: &[&str]) -> Result<String, Refusal> {
        let left: Vec<&str> = self.texts.iter().copied().filter(|name| !used.contains(name)).collect();
        let mut named =
            left.iter().filter(|name| CONTEXTS.contains(&plain(name).as_str())).copied().collect::<Vec<_>>();
        if named.is_empty() {
            named = left.iter().filter(|name| !ANSWERS.contains(&plain(name).as_str())).copied().collect();
        }
        match named[..] {
            [one] if plain(one) == "question" => Ok(format!("Question: {}\nAnswer:", braced(one))),
            [one] => Ok(braced(one)),
            [] => refused("no field holds what stands before the choices", BY_HAND),
            _ => refused(
                format!("it is not clear in which order {} stand before the choices", named.join(", ")),
                BY_HAND,
            ),
        }
    }

    /// A right answer, and wrong ones in fields of their own.
    fn right_and_wrong(&self, _: bool) -> Option<Result<(&'static str, String), Refusal>> {
        let wrong = |name: &str| {
            let name = plain(name);
            let name = name.strip_prefix("best").unwrap_or(&name);
            let rest = ["incorrect", "wrong", "distractor"].iter().find_map(|stem| name.strip_prefix(stem))?;
            let rest = ["answer", "option", "choice"].iter().find_map(|stem| rest.strip_prefix(stem)).unwrap_or(rest);
            rest.bytes().all(|b| b.is_ascii_digit()).then_some(())
        };
        let wrongs: Vec<&str> = self.texts.iter().copied().filter(|name| wrong(name).is_some()).collect();
        let is_right = |name: &&&str| {
            ["correctanswer", "correct", "rightanswer", "bestanswer", "answer"].contains(&plain(name).as_str())
        };
        let right = self.texts.iter().find(is_right).filter(|_| !wrongs.is_empty())?;
        let choices = [&[*right], &wrongs[..]].concat();
        let items = self.context(&choices).map(|context| {
            let templates = list_of(choices.iter().map(|name| braced(name)));
            format!("context = {}\nchoices = {templates}   # the right one first", quoted(&context))
        });
        Some(items.map(|items| ("accuracy", items)))
    }

    /// Two sentences whose fields are named alike but for what they are.
    fn pair(&self, wanted: bool) -> Option<Result<(&'static str, String), Refusal>> {
        const OPPOSITES: [(&str, &str); 6] = [
            ("good", "bad"),
            ("grammatical", "ungrammatical"),
            ("acceptable", "unacceptable"),
            ("correct", "incorrect"),
            ("plausible", "implausible"),
            ("positive", "negative"),
        ];
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for name in &self.texts {
            for (good, bad) in OPPOSITES {
                let other = plain(name).replace(good, bad);
                if let Some(bad) = self.texts.iter().find(|bad| other != plain(name) && plain(bad) == other) {
                    pairs.push((name, bad));
                }
            }
        }
        let before = self.texts.iter().any(|name| CONTEXTS.contains(&plain(name).as_str()));
        Some(match pairs[..] {
            [] => return None,
            [(good, bad)] if wanted || !before => {
                Ok(("accuracy", format!("choices = {}   # the good one first", list_of([braced(good), braced(bad)]))))
            }
            [_] => refused(
                format!("its fields ({}) hold a pair and something that may stand before it", self.names()),
                format!("if the pair is all that is scored, say --kind minimal_pairs; else {BY_HAND}"),
            ),
            _ => refused(format!("its fields ({}) hold several pairs", self.names()), BY_HAND),
        })
    }

    /// Fields that are numbered from one stem, such as `option1`, `option2`.
    fn numbered(&self) -> Vec<&'a str> {
        let of = |stem: &str| {
            let is_one = |name: &&str| {
                let name = plain(name);
                let number = name.strip_prefix(stem).unwrap_or_default();
                number.parse::<u8>().is_ok() || matches!(number.as_bytes(), [b'a'..=b'e'])
            };
            self.texts.iter().copied().filter(is_one).collect::<Vec<_>>()
        };
        let stems = ["option", "choice", "ending", "sol", "answer", "opt", "candidate"];
        stems.iter().map(|stem| of(stem)).find(|found| found.len() > 1).unwrap_or_default()
    }

    /// A sentence with a gap, and two options for it.
    fn gap(&self, _: bool) -> Option<Result<(&'static str, String), Refusal>> {
        let options = self.numbered();
        let has_gap = |name: &&&str| self.records.iter().all(|r| text_of(r, name).matches('_').count() == 1);
        let gap = self.texts.iter().find(has_gap).filter(|_| options.len() == 2)?;
        let answer = self.answer(&options, |record| options.iter().map(|name| text_of(record, name)).collect());
        let before = format!("{{{{ {} | split(pat='_') | first }}}}", reference(gap));
        let choices = list_of(options.iter().map(|name| format!("{before}{}", braced(name))));
        let after = quoted(&format!("{{{{ {} | split(pat='_') | last | trim }}}}", reference(gap)));
        Some(answer.map(|answer| ("accuracy", format!("choices = {choices}\ncontinuation = {after}\n{answer}"))))
    }

    /// A list of choices, or numbered ones, and which of them is right.
    fn choices(&self, _: bool) -> Option<Result<(&'static str, String), Refusal>> {
        let is_list =
            |value: &Value| matches!(value, Value::Array(list) if list.len() > 1 && list.iter().all(Value::is_string));
        let lists: Vec<&str> =
            self.records[0].iter().filter(|(_, value)| is_list(value)).map(|(name, _)| name.as_str()).collect();
        let options = self.numbered();
        let (used, choices): (&[&str], String) = match (&lists[..], &options[..]) {
            ([], []) => return None,
            ([list], _) => (&lists, format!("choices_from = {}", quoted(list))),
            ([], options) => (options, format!("choices = {}", list_of(options.iter().map(|name| braced(name))))),
            _ => return Some(refused(format!("which of {} are the choices is not clear", lists.join(", ")), BY_HAND)),
        };
        let of = |record: &'a Record| -> Vec<&'a str> {
            let list = lists.first().and_then(|list| record.get(*list)).and_then(Value::as_array);
            match list {
                Some(list) => list.iter().filter_map(Value::as_str).collect(),
                None => options.iter().map(|name| text_of(record, name)).collect(),
            }
        };
        let items = self.answer(used, of).and_then(|answer| {
            let taken: Vec<&str> = used.iter().copied().chain(self.answer_field(used)).collect();
            let context = quoted(&self.context(&taken)?);
            Ok(("accuracy", format!("context = {context}   # a blank joins it to each choice\n{choices}\n{answer}")))
        });
        Some(items)
    }

    fn answer_field(&self, used: &[&str]) -> Option<&'a str> {
        let named = |wanted: &&str| self.records[0].keys().find(|name| plain(name) == **wanted);
        ANSWERS.iter().find_map(named).map(String::as_str).filter(|name| !used.contains(name))
    }

    /// The lines that say which choice is right, where the answers of all records leave one reading.
    fn answer(&self, used: &[&str], choices: impl Fn(&'a Record) -> Vec<&'a str>) -> Result<String, Refusal> {
        let Some(name) = self.answer_field(used) else {
            return refused("no field says which choice is right", BY_HAND);
        };
        let answer = |record: &Record| match record.get(name) {
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        let all: Vec<(String, Vec<&str>)> =
            self.records.iter().map(|record| (answer(record), choices(record))).collect();
        let most = all.iter().map(|(_, choices)| choices.len()).max().unwrap_or(0);
        let all_are = |fits: &dyn Fn(&str, &[&str]) -> bool| all.iter().all(|(answer, choices)| fits(answer, choices));
        let number = |answer: &str| answer.parse::<usize>().ok();
        let from_zero = all_are(&|answer, choices| number(answer).is_some_and(|n| n < choices.len()));
        let from_one = all_are(&|answer, choices| number(answer).is_some_and(|n| (1..=choices.len()).contains(&n)));
        let letter = |first: u8| (0..most as u8).map(move |n| char::from(first + n).to_string()).collect::<Vec<_>>();
        let lettered =
            [b'A', b'a'].map(letter).into_iter().find(|letters| all_are(&|a, _| letters.iter().any(|l| l == a)));
        let texts = all_are(&|answer, choices| choices.contains(&answer));
        let line = format!("answer = {}", quoted(name));
        let labels = |labels: Vec<String>| format!("{line}\nlabels = {}", list_of(labels));
        let shown = all.iter().map(|(answer, _)| answer.as_str()).take(3).collect::<Vec<_>>().join(", ");
        match (from_zero, from_one, lettered, texts) {
            (true, false, None, false) => Ok(line),
            (false, true, None, false) => Ok(labels((1..=most).map(|n| n.to_string()).collect())),
            (false, false, Some(letters), false) => Ok(labels(letters)),
            (false, false, None, true) if !used.is_empty() && self.records[0][used[0]].is_array() => {
                Ok(format!("{line}\nlabels_from = {}", quoted(used[0])))
            }
            (true, true, None, false) => {
                refused(format!("whether the answers in `{name}` ({shown}) count from 0 or 1 does not show"), BY_HAND)
            }
            _ => refused(format!("what the answers in `{name}` ({shown}) stand for does not show"), BY_HAND),
        }
    }

    /// A text whose last word is asked for, whole or in two fields.
    fn last_word(&self, wanted: bool) -> Option<Result<(&'static str, String), Refusal>> {
        let is_context = |name: &&str| CONTEXTS.contains(&plain(name).as_str());
        let is_word = |name: &&str| {
            ["completion", "continuation", "target", "targetword", "lastword", "word", "answer"]
                .contains(&plain(name).as_str())
        };
        let items =
            |template: String| format!("context = {}   # what follows its last blank is scored", quoted(&template));
        Some(match self.texts[..] {
            [text] => {
                let open = |r: &&Record| text_of(r, text).trim_end().ends_with(char::is_alphanumeric);
                let unended = self.records.iter().filter(open).count();
                if !wanted && 10 * unended < 9 * self.records.len() {
                    let problem = format!("its texts in `{text}` end as whole sentences do");
                    return Some(refused(
                        problem,
                        "say --kind last_word if their last word is asked for, or --kind documents",
                    ));
                }
                Ok(("greedy_accuracy", items(braced(text))))
            }
            [one, other] if (is_context(&one) && is_word(&other)) || (is_word(&one) && is_context(&other)) => {
                let (context, last) = if is_word(&other) { (one, other) } else { (other, one) };
                let words = |r: &&Record| text_of(r, last).split_whitespace().count() != 1;
                match self.records.iter().find(words) {
                    None => Ok((
                        "greedy_accuracy",
                        items(format!("{} {}", braced(context), format_args!("{{{{ {} | trim }}}}", reference(last)))),
                    )),
                    Some(record) => refused(
                        format!(
                            "`{last}` is not one word in each record, such as {:?}, and only a last word is scored",
                            text_of(record, last)
                        ),
                        BY_HAND,
                    ),
                }
            }
            _ => return None,
        })
    }

    /// One text, scored whole.
    fn document(&self, _: bool) -> Option<Result<(&'static str, String), Refusal>> {
        let [text] = self.texts[..] else { return None };
        Some(Ok(("bits_per_byte", format!("choices = {}", list_of([braced(text)])))))
    }
}

/// A value on one line, short.
fn shown(value: &Value) -> String {
    const SHOWN: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain(['.', '.', '.']).collect() }
}
