//! Corpus recipes: `experiments/corpora/<name>.toml`, as written and then checked. A [`Recipe`] is one that can be
//! prepared: each of its files is known by its digest, those of patterns from the lock file.

mod hub;
mod language;
mod lock;
mod rules;
mod source;
mod steps;

pub(crate) use hub::Hub;
pub(crate) use hub::compiled;
pub(crate) use language::language_of;
pub(crate) use language::{Language, Unsure};
pub use lock::LockFile;
use lock::lock_shown;
pub(crate) use lock::{ListedSource, LockedFile, Pattern};
pub(crate) use rules::{ContaminationAction, Decontaminate, ParagraphRule, PassageRule};
pub use rules::{NearRule, NearUnit};
pub(crate) use source::{DocumentRule, DocumentSplit, Format, InvalidUtf8, Source, SourceText};
pub(crate) use steps::{C4Lines, GopherQuality, GopherRepetition, Step};

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use harness_core::config::{Wrong, nearest};
use harness_core::digest::Digest;
use harness_core::names::Project;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::recipe_error::RecipeError;
use crate::remote::Remote;
use crate::tasks::TaskRecipe;
use crate::toml_text::{TomlText, recipe_text};
use crate::unpack::Packing;

/// A corpus recipe as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipeText {
    /// A short title for tables.
    pub title: String,
    /// What the corpus is, in a sentence or two.
    #[serde(default)]
    pub description: String,
    /// Language of the text, as an ISO 639 code.
    pub language: String,
    /// Licence of the corpus as a whole.
    pub licence: String,
    /// How to cite it.
    pub citation: String,
    /// What a reader of results has to know: gaps, slants, leakage.
    #[serde(default)]
    pub limitations: String,
    /// Files that the corpus is made of.
    #[serde(default, rename = "source")]
    pub sources: Vec<SourceText>,
    /// A corpus that is generated instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<Generate>,
    /// How sources are cut into documents, unless they say otherwise.
    #[serde(default)]
    pub documents: DocumentRule,
    /// Cleaning steps, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Which repeated documents are left out.
    #[serde(default)]
    pub duplicates: Duplicates,
    /// Validation tasks whose items must not be in the corpus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decontaminate: Option<Decontaminate>,
    /// How documents are divided.
    pub split: Split,
    /// How much each source weighs in training. Unless stated, each training document is used once an epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixture: Option<Mixture>,
    /// The vocabulary.
    pub tokenizer: TokenizerChoice,
    /// The files written.
    #[serde(default)]
    pub output: Output,
}

/// A corpus that is generated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// The generator.
    pub kind: GeneratorKind,
    /// Its seed.
    pub seed: u64,
    /// How many documents it writes.
    pub documents: u64,
}

/// The generators there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GeneratorKind {
    /// The English-like grammar of [`crate::grammar`].
    Grammar,
}

/// Which repeated documents are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Duplicates {
    /// Documents whose cleaned text is the same, byte for byte, as that of an earlier one.
    pub exact: bool,
    /// Documents that share most of their n-grams with an earlier one. Not looked for unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<NearRule>,
    /// Paragraphs that stood earlier in the corpus are cut out. Not looked for unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paragraphs: Option<ParagraphRule>,
    /// Passages that stood earlier in the corpus are cut out. Not looked for unless stated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passages: Option<PassageRule>,
}

impl Default for Duplicates {
    fn default() -> Self {
        Duplicates { exact: true, near: None, paragraphs: None, passages: None }
    }
}

/// How documents are divided into training and validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// The share of validation. Without `by_source`: of the documents, each decided by its own digest alone.
    /// With it: of the bytes of each source.
    pub validation: f64,
    /// The share of test, a second held-out side that only `harness evaluate --test-side` scores.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub test: f64,
    /// Takes the documents of lowest digest from each source until they hold the share of its bytes, so that every
    /// source is represented. Other sources never matter; a document added to the source can change the last one taken.
    #[serde(default)]
    pub by_source: bool,
    /// Leaves training documents out that share most of their n-grams with a held-out one. Not looked for unless
    /// stated; a lower `jaccard` than that of `duplicates.near` makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leakage: Option<NearRule>,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

/// How much each source weighs in training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mixture {
    /// For each source its share of the training bytes, in any unit. The training side keeps its size: a source is
    /// repeated, or used in part, until its share is right. The manifest states the epochs.
    pub weights: BTreeMap<String, f64>,
}

/// The vocabulary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerChoice {
    /// Where it comes from.
    pub kind: TokenizerKind,
    /// For `bpe` and `unigram`: tokens in all, the separator and the 256 bytes included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary_size: Option<u32>,
    /// For `bpe` and `unigram`: bytes of training text that it learns from, taken evenly; all, unless stated. The memory that
    /// learning takes grows with the different words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_bytes: Option<u64>,
    /// For `gpt2`: `encoder.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<TokenizerFile>,
    /// For `gpt2`: `vocab.bpe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merges: Option<TokenizerFile>,
    /// For `file`: a `tokenizer.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<TokenizerFile>,
    /// The token that stands before every document.
    #[serde(default = "default_separator")]
    pub separator: String,
}

fn default_separator() -> String {
    "<|endoftext|>".to_owned()
}

/// Where a vocabulary comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerKind {
    /// A byte-level BPE (Sennrich et al. 2016; Radford et al. 2019), trained on the training documents.
    Bpe,
    /// A unigram vocabulary over bytes (Kudo 2018), trained on the training documents.
    Unigram,
    /// GPT-2's own two files.
    Gpt2,
    /// A `tokenizer.json`.
    File,
}

/// A file of an existing tokenizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerFile {
    /// Where it can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Digest of its content.
    pub sha256: Digest,
    /// Size of its content.
    pub bytes: u64,
    /// How the bytes at `url` are packed.
    #[serde(default)]
    pub packing: Packing,
    /// Its licence.
    #[serde(default)]
    pub licence: String,
    /// How to cite it.
    #[serde(default)]
    pub citation: String,
}

impl TokenizerFile {
    fn remote(&self, name: &str) -> Remote {
        let (url, packing) = (self.url.clone(), self.packing);
        Remote { name: name.to_owned(), url, path: None, sha256: self.sha256, bytes: self.bytes, packing }
    }
}

impl TokenizerChoice {
    /// The files it needs: none for what is trained, vocabulary and merges for `gpt2`, one for `file`.
    pub fn remotes(&self) -> Vec<Remote> {
        let named = [(&self.vocabulary, "vocabulary"), (&self.merges, "merges"), (&self.file, "tokenizer")];
        named.iter().filter_map(|(file, name)| file.as_ref().map(|f| f.remote(name))).collect()
    }
}

/// The files written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// A shard is closed when it holds at least this many tokens; documents are never cut.
    pub shard_tokens: u64,
}

impl Default for Output {
    fn default() -> Self {
        Output { shard_tokens: 1 << 24 }
    }
}

/// A recipe that was checked, as far as that can be done without its files.
#[derive(Clone, Debug, PartialEq)]
pub struct UnlockedRecipe {
    name: String,
    text: RecipeText,
    tasks: Vec<TaskRecipe>,
    root: PathBuf,
}

/// A checked corpus recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    name: String,
    text: RecipeText,
    /// Every file of the sources, in the order of the recipe; those of a pattern in the order of their paths.
    files: Vec<Source>,
    /// What the patterns of the recipe stand for, by source.
    locked: LockFile,
    /// The recipes that `decontaminate` names, in its order.
    tasks: Vec<TaskRecipe>,
    /// The folder of the project, from which paths begin.
    root: PathBuf,
}

impl Deref for Recipe {
    type Target = RecipeText;

    fn deref(&self) -> &RecipeText {
        &self.text
    }
}

impl UnlockedRecipe {
    /// Loads `experiments/corpora/<name>.toml`.
    pub fn load(project: &Project, name: &str) -> Result<Self, RecipeError> {
        let text = recipe_text(project, &project.corpus_recipe(name), "corpora", "corpus", name)?;
        let path_shown = format!("experiments/corpora/{name}.toml");
        let recipe = Self::parse_with(name, &path_shown, &text, &|task| TaskRecipe::load(project, task))?;
        Ok(UnlockedRecipe { root: project.home().to_owned(), ..recipe })
    }

    /// Checks a recipe's text; `path` is what errors call it, `task` finds the recipes of tasks.
    pub fn parse_with(
        name: &str,
        path: &str,
        text: &str,
        task: &dyn Fn(&str) -> Result<TaskRecipe, RecipeError>,
    ) -> Result<Self, RecipeError> {
        let source = TomlText { path: path.to_owned(), text: text.to_owned() };
        let text: RecipeText = source.parse()?;
        check(&source, &text)?;
        let mut tasks = Vec::new();
        for (index, name) in text.decontaminate.iter().flat_map(|d| &d.tasks).enumerate() {
            tasks.push(task(name).map_err(|e| match e {
                RecipeError::Wrong(wrong) if wrong.place.is_none() => {
                    source.wrong(&format!("decontaminate.tasks.{index}"), wrong.problem, wrong.hint.as_deref()).into()
                }
                other => other,
            })?);
        }
        Ok(UnlockedRecipe { name: name.to_owned(), text, tasks, root: PathBuf::new() })
    }

    /// The name of its file, without `.toml`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says.
    pub fn text(&self) -> &RecipeText {
        &self.text
    }

    /// The folder of the project.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Its patterns by source, in the order of the recipe.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, Pattern)> {
        self.text.sources.iter().filter_map(|source| Some((source.name.as_str(), source.pattern()?)))
    }

    /// The recipe with the files that `lock` names for its patterns. An error if it does not name them, or those of
    /// another pattern.
    pub fn locked(self, lock: &LockFile) -> Result<Recipe, RecipeError> {
        let mut locked = LockFile::default();
        let mut files = Vec::new();
        for source in &self.text.sources {
            let Some(pattern) = source.pattern() else {
                files.extend(source.as_file());
                continue;
            };
            let listed = lock.sources.get(&source.name).filter(|listed| listed.pattern == pattern);
            let listed = listed.ok_or_else(|| RecipeError::NotLocked {
                corpus: self.name.clone(),
                source_name: source.name.clone(),
                lock: lock_shown(&self.name),
            })?;
            files.extend(source.files(listed));
            locked.sources.insert(source.name.clone(), listed.clone());
        }
        let UnlockedRecipe { name, text, tasks, root } = self;
        Ok(Recipe { name, text, files, locked, tasks, root })
    }
}

impl Recipe {
    /// The JSON Schema of the file, by which editors complete and check it.
    pub fn schema() -> schemars::Schema {
        harness_core::config::schema_of::<RecipeText>()
    }

    /// Loads `experiments/corpora/<name>.toml`, and its lock file if it has patterns.
    pub fn load(project: &Project, name: &str) -> Result<Self, RecipeError> {
        let recipe = UnlockedRecipe::load(project, name)?;
        let lock = LockFile::load(project, name)?;
        recipe.locked(&lock)
    }

    /// Checks a recipe's text; `path` is what errors call it. It can name neither tasks nor patterns: only
    /// [`Recipe::load`] finds those.
    pub fn parse(name: &str, path: &str, text: &str) -> Result<Self, RecipeError> {
        Self::parse_with(name, path, text, &|task| {
            let problem = format!("there is no task recipe `{task}` here");
            Err(Box::new(Wrong { path: path.to_owned(), place: None, problem, hint: None }).into())
        })
    }

    /// As [`Recipe::parse`], with a way to find the recipes of tasks.
    pub fn parse_with(
        name: &str,
        path: &str,
        text: &str,
        task: &dyn Fn(&str) -> Result<TaskRecipe, RecipeError>,
    ) -> Result<Self, RecipeError> {
        UnlockedRecipe::parse_with(name, path, text, task)?.locked(&LockFile::default())
    }

    /// The name of its file, without `.toml`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every file to fetch: the sources, those of the tokenizer, and those of the tasks to decontaminate from.
    pub fn remotes(&self) -> Vec<Remote> {
        let sources = self.files.iter().map(|file| file.remote(&self.root)).chain(self.tokenizer.remotes());
        sources.chain(self.tasks.iter().flat_map(TaskRecipe::remotes)).collect()
    }

    /// Every file of its sources, in order.
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// The recipe and the files that its patterns stand for, as one JSON value: what a corpus is made from.
    pub(crate) fn as_json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(&self.text).expect("plain structs serialize to memory");
        if !self.locked.sources.is_empty() {
            json["locked"] = serde_json::to_value(&self.locked.sources).expect("plain structs serialize to memory");
        }
        json
    }

    /// The tasks that [`RecipeText::decontaminate`] names.
    pub fn tasks(&self) -> &[TaskRecipe] {
        &self.tasks
    }

    /// The rule by which a source is cut into documents.
    pub(crate) fn document_rule<'a>(&'a self, source: &'a Source) -> &'a DocumentRule {
        source.documents.as_ref().unwrap_or(&self.documents)
    }
}

fn check(text: &TomlText, recipe: &RecipeText) -> Result<(), Box<Wrong>> {
    match (&recipe.generate, recipe.sources.is_empty()) {
        (None, true) => {
            return Err(text.wrong(
                "source",
                "there is none",
                Some("add a [[source]] with name, url, sha256 and bytes, or with name and path, or [generate]"),
            ));
        }
        (Some(_), false) => {
            return Err(text.wrong(
                "generate",
                "a corpus is generated or made from sources, not both",
                Some("remove one of them"),
            ));
        }
        (Some(generate), true) if generate.documents == 0 => {
            return Err(text.wrong("generate.documents", "must be at least 1", None));
        }
        _ => {}
    }
    for (index, source) in recipe.sources.iter().enumerate() {
        let key = |field: &str| format!("source.{index}.{field}");
        let well_named = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if source.name.is_empty() || !source.name.bytes().all(well_named) {
            return Err(text.wrong(
                &key("name"),
                format!("`{}` is not letters, digits, `-`, `_` and `.`", source.name),
                None,
            ));
        }
        if recipe.sources[..index].iter().any(|other| other.name == source.name) {
            return Err(text.wrong(&key("name"), format!("`{}` is named twice", source.name), None));
        }
        source.check(text, &key)?;
        let records = matches!(source.format, Format::Jsonl | Format::Csv | Format::Parquet);
        let rule = source.documents.as_ref().unwrap_or(&recipe.documents);
        if records && (rule.split != DocumentSplit::File || rule.head_ends_with.is_some()) {
            let hint = "give the source its own rule: documents = { split = \"file\" }";
            return Err(text.wrong(&key("format"), "its records are its documents and cannot be cut", Some(hint)));
        }
        if let Some(rule) = &source.documents {
            check_documents(text, rule, &key("documents"))?;
        }
    }
    check_documents(text, &recipe.documents, "documents")?;
    for (index, step) in recipe.steps.iter().enumerate() {
        step.check().map_err(|problem| text.wrong(&format!("steps.{index}"), problem, None))?;
    }
    for (key, rule) in [("duplicates.near", &recipe.duplicates.near), ("split.leakage", &recipe.split.leakage)] {
        if let Some(Err((field, problem))) = rule.as_ref().map(NearRule::check) {
            return Err(text.wrong(&format!("{key}.{field}"), problem, None));
        }
    }
    let paragraphs = recipe.duplicates.paragraphs.as_ref().map(|rule| ("paragraphs", rule.check()));
    let passages = recipe.duplicates.passages.as_ref().map(|rule| ("passages", rule.check()));
    for (rule, checked) in paragraphs.into_iter().chain(passages) {
        checked.map_err(|(field, problem)| text.wrong(&format!("duplicates.{rule}.{field}"), problem, None))?;
    }
    if let Some(rule) = &recipe.decontaminate {
        let key = |field: &str| format!("decontaminate.{field}");
        if rule.words == 0 {
            return Err(text.wrong(&key("words"), "must be at least 1", None));
        }
        if rule.words_at_least == 0 || rule.words_at_least > rule.words {
            let problem = format!("must be between 1 and the {} words of an n-gram", rule.words);
            return Err(text.wrong(&key("words_at_least"), problem, None));
        }
    }
    let share = recipe.split.validation;
    if !(share > 0.0 && share <= 0.5) {
        let hint = "0.05 holds one document in twenty out";
        return Err(text.wrong(
            "split.validation",
            format!("must be above 0 and at most 0.5, not {share}"),
            Some(hint),
        ));
    }
    let test = recipe.split.test;
    if !(test >= 0.0 && share + test <= 0.9) {
        let problem = format!("must be at least 0 and leave a tenth for training, not {test}");
        return Err(text.wrong("split.test", problem, None));
    }
    if let Some(mixture) = &recipe.mixture {
        check_mixture(text, recipe, mixture)?;
    }
    if recipe.output.shard_tokens == 0 {
        return Err(text.wrong("output.shard_tokens", "must be at least 1", None));
    }
    check_tokenizer(text, &recipe.tokenizer)
}

fn check_mixture(text: &TomlText, recipe: &RecipeText, mixture: &Mixture) -> Result<(), Box<Wrong>> {
    let names: Vec<&str> = recipe.sources.iter().map(|source| source.name.as_str()).collect();
    for (name, weight) in &mixture.weights {
        let key = format!("mixture.weights.{name}");
        if !names.contains(&name.as_str()) {
            let hint = nearest(name, &names).map(|near| format!("did you mean `{near}`?"));
            return Err(text.wrong(&key, "there is no such source", hint.as_deref()));
        }
        if !(weight.is_finite() && *weight > 0.0) {
            return Err(text.wrong(
                &key,
                format!("must be above 0, not {weight}"),
                Some("leave the source out instead"),
            ));
        }
    }
    match names.iter().find(|name| !mixture.weights.contains_key(**name)) {
        Some(missing) => Err(text.wrong(
            "mixture.weights",
            format!("source `{missing}` has none"),
            Some("state one for each source"),
        )),
        None => Ok(()),
    }
}

fn check_documents(text: &TomlText, rule: &DocumentRule, key: &str) -> Result<(), Box<Wrong>> {
    let wanted = rule.split == DocumentSplit::Separator;
    match &rule.separator {
        None if wanted => Err(text.wrong(
            key,
            "`split = \"separator\"` needs a `separator`",
            Some("such as separator = \"<|endoftext|>\""),
        )),
        Some(separator) if wanted && separator.is_empty() => {
            Err(text.wrong(&format!("{key}.separator"), "must not be empty", None))
        }
        Some(_) if !wanted => {
            Err(text.wrong(&format!("{key}.separator"), "is used only with `split = \"separator\"`", None))
        }
        _ => Ok(()),
    }
}

fn check_tokenizer(text: &TomlText, choice: &TokenizerChoice) -> Result<(), Box<Wrong>> {
    let needs = |present: bool, field: &str, wanted: bool| match (present, wanted) {
        (false, true) => Err(text.wrong("tokenizer", format!("this kind needs `{field}`"), None)),
        (true, false) => {
            Err(text.wrong(&format!("tokenizer.{field}"), "is not used by this kind", Some("remove the line")))
        }
        _ => Ok(()),
    };
    let kind = choice.kind;
    let trained = matches!(kind, TokenizerKind::Bpe | TokenizerKind::Unigram);
    needs(choice.vocabulary_size.is_some(), "vocabulary_size", trained)?;
    if choice.sample_bytes.is_some() {
        needs(true, "sample_bytes", trained)?;
    }
    needs(choice.vocabulary.is_some(), "vocabulary", kind == TokenizerKind::Gpt2)?;
    needs(choice.merges.is_some(), "merges", kind == TokenizerKind::Gpt2)?;
    needs(choice.file.is_some(), "file", kind == TokenizerKind::File)?;
    if choice.separator.is_empty() {
        return Err(text.wrong("tokenizer.separator", "must not be empty", None));
    }
    // One of the characters that stand for bytes would be that byte.
    if trained && choice.separator.chars().count() == 1 {
        let hint = "such as separator = \"<|endoftext|>\"";
        return Err(text.wrong("tokenizer.separator", "must be of several characters", Some(hint)));
    }
    match choice.vocabulary_size {
        Some(size) if !(257..=1_000_000).contains(&size) => {
            let hint = "256 bytes and the separator are 257 tokens; 8192 suits a few megabytes of text";
            Err(text.wrong(
                "tokenizer.vocabulary_size",
                format!("must be between 257 and 1000000, not {size}"),
                Some(hint),
            ))
        }
        _ => Ok(()),
    }
}
